//! Makespans that the literature gives, and those that trying everything gives, met through the live farm's own
//! machines: `classic` network, exact knowledge.

use std::path::Path;

use isochrone_model::{BytesPerSecond, Span};
use isochrone_sim::cluster::{Cluster, InputPlace};
use isochrone_sim::random::Random;
use isochrone_sim::simulation::Simulation;
use isochrone_workload::task_graph::{ReadOptions, TaskCost, TaskGraph, read_graph};

use crate::instances::{Builder, MILLISECOND, cluster, device};
use crate::{durations, predecessors};

fn sample(name: &str) -> TaskGraph {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../workload/samples").join(name);
    read_graph(&path, &ReadOptions::default()).unwrap().graph
}

/// Agents of one device each, all pairs joined by links of a latency and 1 GB/s.
fn processors(count: usize, latency: Span) -> Cluster {
    let agents = (0..count).map(|_| vec![device("processor", 1.0, 1)]);
    cluster(agents.collect(), latency, BytesPerSecond(1_000_000_000))
}

fn makespan(graph: &TaskGraph, cluster: &Cluster, label: &str) -> Span {
    let outcome = Simulation::new(graph, cluster, label).checked().run();
    outcome.unwrap_or_else(|error| panic!("{label}: {error}")).makespan
}

/// Topcuoglu, Hariri and Wu 2002, figures 2 to 4; the optimum was found by search.
#[test]
fn the_example_of_topcuoglu_et_al() {
    let (graph, cluster) = (sample("topcuoglu-2002.json"), processors(3, Span::ZERO));
    for (label, published) in [("heft", 80), ("cpop", 86), ("dls", 91), ("optimal", 73)] {
        assert_eq!(makespan(&graph, &cluster, label), Span(published * MILLISECOND), "{label}");
    }
}

/// Arabnejad and Barbosa 2014, figure 2 and section 5; the optimum was found by search.
#[test]
fn the_example_of_arabnejad_and_barbosa() {
    let (graph, cluster) = (sample("peft-2014.json"), processors(3, Span::ZERO));
    for (label, published) in [("heft", 133), ("peft", 122), ("optimal", 113)] {
        assert_eq!(makespan(&graph, &cluster, label), Span(published * MILLISECOND), "{label}");
    }
}

/// A chain of two on two distant processors, each fast at one of them, by hand: 10 here, then 5 ms + 2 MB over 1 GB/s,
/// then 10; or 30 for the second where the first is.
#[test]
fn a_chain_over_latency_by_hand() {
    let mut builder = Builder::default();
    builder.0.device_columns = vec!["one".to_owned(), "two".to_owned()];
    let times = |times: [u64; 2]| TaskCost::PerDevice(times.map(|time| time * MILLISECOND).to_vec());
    let first = builder.task("first", times([10, 40]), &[], &[]);
    let item = builder.item(Some(first), 2_000_000);
    builder.task("second", times([30, 10]), &[item], &[]);
    for (latency, best) in [(5, 27), (17, 39), (18, 40), (19, 40), (500, 40)] {
        let cluster = processors(2, Span::from_millis(latency));
        for label in ["heft", "peft", "lookahead-heft", "bil", "optimal"] {
            let found = makespan(&builder.0, &cluster, label);
            assert_eq!(found, Span::from_millis(best), "{label} over {latency} ms");
        }
    }
}

/// What is placed so far: by task, its device and its end.
struct Search<'a> {
    graph: &'a TaskGraph,
    cluster: &'a Cluster,
    placed: Vec<Option<(usize, Span)>>,
    /// By device.
    free: Vec<Span>,
    best: Span,
}

impl Search<'_> {
    /// Every order in which the graph allows the tasks, each task on every device.
    fn go_on(&mut self) {
        if self.placed.iter().all(Option::is_some) {
            let end = self.placed.iter().flatten().map(|(_, end)| *end).max().unwrap();
            self.best = self.best.min(end);
            return;
        }
        for task in 0..self.placed.len() {
            let before = predecessors(self.graph, task);
            if self.placed[task].is_some() || before.iter().any(|(first, _)| self.placed[*first].is_none()) {
                continue;
            }
            for (place, duration) in durations(self.graph, self.cluster, task).into_iter().enumerate() {
                let Some(duration) = duration else { continue };
                let mut start = self.free[place];
                for (first, size_bytes) in &before {
                    let (from, end) = self.placed[*first].unwrap();
                    start = start.max(end + self.moving(from, place, *size_bytes));
                }
                let was_free = std::mem::replace(&mut self.free[place], start + duration);
                self.placed[task] = Some((place, start + duration));
                self.go_on();
                self.placed[task] = None;
                self.free[place] = was_free;
            }
        }
    }

    /// Latency and size over bandwidth; a mere order costs nothing, since the control plane is free.
    fn moving(&self, from: usize, to: usize, size_bytes: u64) -> Span {
        use isochrone_sim::cluster::Party::Agent;
        let agents: Vec<usize> = self.cluster.devices().map(|(agent, _, _)| agent).collect();
        if agents[from] == agents[to] || size_bytes == 0 {
            return Span::ZERO;
        }
        let link = self.cluster.topology.link(Agent(agents[from]), Agent(agents[to]));
        link.latency.mean() + link.bandwidth.span_for(size_bytes)
    }
}

fn shortest(graph: &TaskGraph, cluster: &Cluster) -> Span {
    let devices = cluster.devices().count();
    let mut search = Search {
        graph,
        cluster,
        placed: vec![None; graph.tasks.len()],
        free: vec![Span::ZERO; devices],
        best: Span(u64::MAX),
    };
    search.go_on();
    search.best
}

/// Small graphs on few devices, with latency and without.
#[test]
fn the_optimum_is_that_of_trying_everything() {
    let mut with_latency = 0;
    for seed in 0..150 {
        let mut random = Random::new(seed);
        let mut cluster = crate::instances::random_cluster(&mut random);
        cluster.inputs_at = InputPlace::Everywhere;
        for agent in &mut cluster.agents {
            agent.devices.truncate(1);
            agent.devices[0].slots = 1;
        }
        let mut graph = crate::instances::random_graph(&mut random, cluster.devices().count());
        keep_first(&mut graph, 5);
        if graph.validate().is_err() {
            continue;
        }
        let best = shortest(&graph, &cluster);
        assert_eq!(makespan(&graph, &cluster, "optimal"), best, "seed {seed}");
        for label in ["heft", "cpop", "peft", "dls", "hbmct", "foresight"] {
            assert!(makespan(&graph, &cluster, label) >= best, "seed {seed}, {label}");
        }
        let does_move = graph.items.iter().any(|item| item.producer.is_some() && item.size_bytes > 0);
        with_latency += u32::from(does_move && cluster.agents.len() > 1);
    }
    assert!(with_latency > 30, "only {with_latency} of them were about moving contents");
}

/// Leaves out all tasks but the first ones, and what only the others touch.
fn keep_first(graph: &mut TaskGraph, tasks: usize) {
    graph.tasks.truncate(tasks);
    let kept = graph.items.iter().take_while(|item| item.producer.is_none_or(|task| task < tasks)).count();
    graph.items.truncate(kept);
}
