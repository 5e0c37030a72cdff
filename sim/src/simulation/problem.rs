//! A graph on a cluster as an exact planner sees it: for bounds, and to hold plans against runs.

use std::collections::BTreeMap;

use isochrone_model::Span;
use isochrone_policies::planning::{Problem, ProblemBuilder};
use isochrone_workload::task_graph::{DataItem, TaskGraph};

use super::truth::Truth;
use crate::cluster::{Cluster, InputPlace, Party};
use crate::network::Network;

/// The problem with all that is true of it. Between two tasks moves the largest item where links are uncontended,
/// else all items together, as for the planners of the farm.
#[must_use]
pub fn problem(graph: &TaskGraph, cluster: &Cluster, network: &dyn Network) -> Problem {
    let truth = Truth::new(graph, cluster);
    let mut slots = Vec::new();
    for (device, (agent, _, facts)) in cluster.devices().enumerate() {
        slots.extend((0..facts.slots).map(|_| (agent, device)));
    }
    let memory: Vec<u64> = cluster.devices().map(|(_, _, facts)| facts.memory_bytes).collect();
    let mut builder = ProblemBuilder::new(&slots);
    let agents = cluster.agents.len();
    for from in 0..agents {
        for to in (0..agents).filter(|to| *to != from) {
            let (latency, rate, notice) = network.stated(Party::Agent(from), Party::Agent(to));
            builder.link(from, to, latency, rate, notice);
        }
    }
    let word = |agent| network.stated(Party::Scheduler, Party::Agent(agent)).2;
    let words: Vec<Span> = (0..agents).map(word).collect();
    builder.outside_ready(&words);
    let mut executions = vec![Problem::ILLEGAL; slots.len()];
    let mut at_client = BTreeMap::new();
    let mut before = None;
    for place in 0..graph.tasks.len() {
        let needs = Needs::of(graph, place);
        // Of tasks of one kind often all take the same.
        let like = truth.work_of(place).map(|work| (truth.row_of(place), work, needs));
        if like.is_some() && before == like {
            builder.task_like(place - 1);
        } else {
            for (execution, (_, device)) in executions.iter_mut().zip(&slots) {
                let is_legal = truth.legal_of(place)[*device] && needs.fit(memory[*device]);
                *execution = if is_legal { truth.duration(place, *device) } else { Problem::ILLEGAL };
            }
            builder.task(&executions);
        }
        before = like;
        add_inputs(&mut builder, graph, cluster, network, place, &mut at_client);
    }
    for (place, task) in graph.tasks.iter().enumerate() {
        let produced = task.inputs.iter().filter_map(|place| {
            let item = &graph.items[*place];
            Some((item.producer?, item.size_bytes, Some(*place as u32)))
        });
        let mut edges: Vec<(usize, u64, Option<u32>)> =
            produced.chain(task.after.iter().map(|first| (*first, 0, None))).collect();
        edges.sort_unstable();
        let is_uncontended = network.is_uncontended();
        edges.dedup_by(|later, kept| {
            let is_same = later.0 == kept.0;
            if is_same {
                kept.2 = if kept.1 == 0 { later.2 } else { None };
                kept.1 = if is_uncontended { kept.1.max(later.1) } else { kept.1 + later.1 };
            }
            is_same
        });
        for (first, size_bytes, contents) in edges {
            match contents {
                Some(contents) => builder.edge_of(first, place, size_bytes, contents),
                None => builder.edge(first, place, size_bytes),
            }
        }
    }
    builder.build()
}

/// What a task has in its device's memory while it runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Needs {
    largest_bytes: u64,
    all_bytes: u64,
}

impl Needs {
    fn of(graph: &TaskGraph, place: usize) -> Self {
        let task = &graph.tasks[place];
        let mut items: Vec<usize> = task.inputs.iter().chain(&task.outputs).copied().collect();
        items.sort_unstable();
        items.dedup();
        let sizes = items.into_iter().map(|item| graph.items[item].size_bytes).chain([task.memory_bytes]);
        let (mut largest_bytes, mut all_bytes) = (0, 0_u64);
        for size_bytes in sizes {
            largest_bytes = size_bytes.max(largest_bytes);
            all_bytes = all_bytes.saturating_add(size_bytes);
        }
        Self { largest_bytes, all_bytes }
    }

    /// As the farm has it: a tenth of a device's memory is its driver's.
    fn fit(&self, memory_bytes: u64) -> bool {
        self.largest_bytes <= memory_bytes && self.all_bytes <= memory_bytes / 10 * 9
    }
}

/// Inputs of the graph that the client must send; `at_client` has the number of each.
fn add_inputs(
    builder: &mut ProblemBuilder,
    graph: &TaskGraph,
    cluster: &Cluster,
    network: &dyn Network,
    place: usize,
    at_client: &mut BTreeMap<usize, u32>,
) {
    match cluster.inputs_at {
        InputPlace::Everywhere => return,
        InputPlace::Client => {}
    }
    let (_, _, ask) = network.stated(Party::Scheduler, Party::Client);
    for item in &graph.tasks[place].inputs {
        let DataItem { producer, size_bytes, .. } = graph.items[*item];
        if producer.is_some() || size_bytes == 0 {
            continue;
        }
        let contents = *at_client.entry(*item).or_insert_with(|| {
            let direct = |agent| {
                let (latency, rate, _) = network.stated(Party::Client, Party::Agent(agent));
                ask + latency + rate.span_for(size_bytes)
            };
            builder.client_contents(size_bytes, &(0..cluster.agents.len()).map(direct).collect::<Vec<_>>())
        });
        builder.reads_from_client(place, contents);
    }
}
