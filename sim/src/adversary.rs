//! Searching for the instance on which one policy loses most to another: simulated annealing over small graphs and
//! clusters, after PISA (Coleman and Krishnamachari, "Comparing task graph scheduling algorithms: an adversarial
//! approach", 2024).
//!
//! As there, an instance changes by one task's cost, one item's size, one device's speed, one link's rate, or one edge
//! more or less. Otherwise than there, latencies change too, weights are drawn anew over one or two orders of magnitude
//! rather than shifted, and a worse candidate is taken with the probability exp(change of the ratio's logarithm /
//! temperature), which makes no difference between a ratio of 1 to 2 and one of 2 to 4.

use std::fmt::Write as _;

use isochrone_model::Span;
use isochrone_workload::task_graph::{
    DataItem, GraphFormat, GraphTask, TaskCost, TaskGraph, WriteError, format_graph,
};

use crate::cluster::{Cluster, ClusterError};
use crate::random::Random;
use crate::simulation::{Simulation, SimulationError};

/// What to search for.
#[derive(Clone, Debug)]
pub struct Adversary {
    /// The policy that is to lose.
    pub worse: String,
    /// The policy that it is to lose to.
    pub than: String,
    /// The network model.
    pub network: String,
    /// Changes to try.
    pub steps: u64,
    /// Decides everything.
    pub seed: u64,
    /// Tasks of every instance.
    pub tasks: usize,
    /// Agents of every instance, with one device each.
    pub agents: usize,
}

/// What was found.
#[derive(Clone, Debug)]
pub struct Found {
    /// Makespan of the one over that of the other.
    pub ratio: f64,
    /// Of the instance that the search began with.
    pub first_ratio: f64,
    /// Makespan of the policy that loses.
    pub worse: Span,
    /// Makespan of the other.
    pub than: Span,
    /// The graph.
    pub graph: TaskGraph,
    /// The cluster.
    pub cluster: Cluster,
    /// Candidates that did not run under both policies.
    pub failed: u64,
    instance: Instance,
}

/// Why there is nothing.
#[derive(Debug, thiserror::Error)]
pub enum AdversaryError {
    /// The first instance does not run.
    #[error("`{policy}` cannot run the first instance")]
    First {
        /// The policy.
        policy: String,
        /// Why not.
        source: Box<SimulationError>,
    },
    /// The cluster as it would be written does not read: a bug.
    #[error("the cluster cannot be made")]
    Cluster(#[source] Box<ClusterError>),
}

/// Runs of more steps are no candidates: small instances end in some hundreds.
const STEPS_MAX: u64 = 2_000_000;
/// Temperatures at both ends, of the ratio's logarithm.
const HOT: f64 = 0.3;
const COLD: f64 = 0.003;
/// The search goes back to the best after so many steps without a better one.
const PATIENCE: u64 = 400;

/// Costs in nanoseconds, sizes in bytes, speeds in percent, rates in Mbit/s, latencies in microseconds: whole numbers,
/// so that what is written is what was run.
#[derive(Clone, Debug, PartialEq)]
struct Instance {
    work_us: Vec<u64>,
    /// (from, to, bytes), from before to.
    edges: Vec<(usize, usize, u64)>,
    speed_percent: Vec<u64>,
    /// By unordered pair of agents: latency and rate.
    links: Vec<(u64, u64)>,
}

struct Measured {
    ratio: f64,
    worse: Span,
    than: Span,
}

impl Adversary {
    /// Searches; `on_better` is told the step and the ratio whenever a better instance is found.
    ///
    /// # Errors
    /// When one of the policies cannot run at all.
    pub fn search(&self, on_better: &mut dyn FnMut(u64, f64)) -> Result<Found, AdversaryError> {
        let mut random = Random::new(self.seed);
        let mut current = Instance::new(self.tasks.max(2), self.agents.max(1), &mut random);
        let mut at = self
            .measured(&current)?
            .map_err(|(policy, source)| AdversaryError::First { policy, source: Box::new(source) })?;
        let first_ratio = at.ratio;
        let (mut best, mut most) = (current.clone(), Measured { ..at });
        let (mut failed, mut since_better) = (0, 0);
        for step in 1..=self.steps {
            if since_better >= PATIENCE {
                (current, at.ratio, since_better) = (best.clone(), most.ratio, 0);
            }
            let mut candidate = current.clone();
            candidate.change(&mut random);
            let chance = random.unit();
            let Ok(measured) = self.measured(&candidate)? else {
                failed += 1;
                continue;
            };
            since_better += 1;
            let part = step as f64 / self.steps as f64;
            let temperature = HOT * libm::pow(COLD / HOT, part);
            let gain = libm::log(measured.ratio / at.ratio);
            if measured.ratio > most.ratio {
                (best, since_better) = (candidate.clone(), 0);
                on_better(step, measured.ratio);
                most = Measured { ..measured };
            }
            if gain >= 0.0 || chance < libm::exp(gain / temperature) {
                (current, at) = (candidate, measured);
            }
        }
        Ok(Found {
            ratio: most.ratio,
            first_ratio,
            worse: most.worse,
            than: most.than,
            graph: best.graph(),
            cluster: best.cluster()?,
            failed,
            instance: best,
        })
    }

    /// Both makespans, or which policy failed and how.
    fn measured(
        &self,
        instance: &Instance,
    ) -> Result<Result<Measured, (String, SimulationError)>, AdversaryError> {
        let (graph, cluster) = (instance.graph(), instance.cluster()?);
        let makespan = |policy: &str| {
            let simulation = Simulation::new(&graph, &cluster, policy);
            let run = simulation.network(&self.network).seed(self.seed).steps_max(STEPS_MAX).run();
            run.map(|outcome| outcome.makespan).map_err(|error| (policy.to_owned(), error))
        };
        Ok(makespan(&self.worse).and_then(|worse| {
            let than = makespan(&self.than)?;
            let ratio = worse.0.max(1) as f64 / than.0.max(1) as f64;
            Ok(Measured { ratio, worse, than })
        }))
    }
}

impl Found {
    /// The graph in the project's own format.
    ///
    /// # Errors
    /// When it cannot be written: never for what was run.
    pub fn graph_json(&self) -> Result<String, WriteError> {
        format_graph(&self.graph, GraphFormat::Native).map(|written| written.text)
    }

    /// The cluster as a cluster file.
    #[must_use]
    pub fn cluster_toml(&self) -> String {
        self.instance.cluster_toml()
    }
}

// Ranges are those of farms that exist: without them ratios grow with the ranges and say nothing.

/// A number from `from` to `to`, each order of magnitude as likely as another.
fn drawn(random: &mut Random, from: u64, to: u64) -> u64 {
    let span = libm::log(to as f64 / from as f64);
    let value = from as f64 * libm::exp(random.unit() * span);
    (value.round() as u64).clamp(from, to)
}

fn work(random: &mut Random) -> u64 {
    drawn(random, 1_000, 100_000)
}

fn size(random: &mut Random) -> u64 {
    drawn(random, 10_000, 10_000_000)
}

fn speed(random: &mut Random) -> u64 {
    drawn(random, 25, 400)
}

fn link(random: &mut Random) -> (u64, u64) {
    (drawn(random, 50, 20_000), drawn(random, 50, 2_000))
}

impl Instance {
    /// A random graph in which about every third pair has an edge, on a random cluster.
    fn new(tasks: usize, agents: usize, random: &mut Random) -> Self {
        let mut edges = Vec::new();
        for to in 1..tasks {
            for from in 0..to {
                if random.one_in(3) {
                    edges.push((from, to, size(random)));
                }
            }
        }
        Self {
            work_us: (0..tasks).map(|_| work(random)).collect(),
            edges,
            speed_percent: (0..agents).map(|_| speed(random)).collect(),
            links: (0..agents * (agents - 1) / 2).map(|_| link(random)).collect(),
        }
    }

    /// One change, each kind as likely as another.
    fn change(&mut self, random: &mut Random) {
        let place = |length: usize, random: &mut Random| random.below(length as u64) as usize;
        match random.below(6) {
            0 => {
                let task = place(self.work_us.len(), random);
                self.work_us[task] = work(random);
            }
            1 if !self.edges.is_empty() => {
                let edge = place(self.edges.len(), random);
                self.edges[edge].2 = size(random);
            }
            2 => {
                let agent = place(self.speed_percent.len(), random);
                self.speed_percent[agent] = speed(random);
            }
            3 if !self.links.is_empty() => {
                let pair = place(self.links.len(), random);
                self.links[pair] = link(random);
            }
            4 if !self.edges.is_empty() => {
                let edge = place(self.edges.len(), random);
                self.edges.remove(edge);
            }
            _ => {
                let to = 1 + place(self.work_us.len() - 1, random);
                let from = place(to, random);
                let size_bytes = size(random);
                match self.edges.iter_mut().find(|edge| (edge.0, edge.1) == (from, to)) {
                    Some(edge) => edge.2 = size_bytes,
                    None => self.edges.push((from, to, size_bytes)),
                }
                self.edges.sort_unstable();
            }
        }
    }

    fn graph(&self) -> TaskGraph {
        let mut graph = TaskGraph { name: "adversary".to_owned(), ..TaskGraph::default() };
        for (place, work_us) in self.work_us.iter().enumerate() {
            graph.tasks.push(GraphTask {
                name: format!("task-{place}"),
                kind: format!("kind-{place}"),
                cost: TaskCost::Work(work_us * 1_000),
                memory_bytes: 0,
                inputs: Vec::new(),
                outputs: Vec::new(),
                after: Vec::new(),
            });
        }
        for (from, to, size_bytes) in &self.edges {
            let item = graph.items.len();
            graph.items.push(DataItem {
                name: format!("item-{from}-{to}"),
                size_bytes: *size_bytes,
                producer: Some(*from),
            });
            graph.tasks[*from].outputs.push(item);
            graph.tasks[*to].inputs.push(item);
        }
        graph
    }

    /// Through the file's own reader, so that what is written is what was run.
    fn cluster(&self) -> Result<Cluster, AdversaryError> {
        Cluster::parse(&self.cluster_toml(), "cluster.toml")
            .map_err(|error| AdversaryError::Cluster(Box::new(error)))
    }

    fn cluster_toml(&self) -> String {
        let mut text = "name = \"adversary\"\n\
                        default_link = { latency_us = 10, bandwidth_mbit = 10000 }\n\n\
                        [scheduler]\naccess = \"unlimited\"\n\n[client]\naccess = \"unlimited\"\n"
            .to_owned();
        for (place, percent) in self.speed_percent.iter().enumerate() {
            let _ = write!(
                text,
                "\n[[agents]]\nname = \"agent-{place}\"\naccess = \"unlimited\"\n\
                 [[agents.devices]]\nspeed = {}.{:02}\n",
                percent / 100,
                percent % 100
            );
        }
        let mut links = self.links.iter();
        for second in 1..self.speed_percent.len() {
            for first in 0..second {
                let Some((latency_us, megabits)) = links.next() else { continue };
                let _ = write!(
                    text,
                    "\n[[links]]\nbetween = [\"agent-{first}\", \"agent-{second}\"]\n\
                     link = {{ latency_us = {latency_us}, bandwidth_mbit = {megabits} }}\n"
                );
            }
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use isochrone_model::BytesPerSecond;

    use super::*;
    use crate::cluster::Party;

    fn rate_of(cluster: &Cluster, from: usize, to: usize) -> BytesPerSecond {
        cluster.link(Party::Agent(from), Party::Agent(to)).bandwidth
    }

    fn adversary(steps: u64, seed: u64) -> Adversary {
        Adversary {
            worse: "eager".to_owned(),
            than: "heft".to_owned(),
            network: "classic".to_owned(),
            steps,
            seed,
            tasks: 6,
            agents: 3,
        }
    }

    #[test]
    fn a_known_bad_pair_is_found_again_and_what_is_written_is_what_was_run() {
        let found = adversary(400, 1).search(&mut |_, _| {}).unwrap();
        assert!(found.ratio > 1.2 && found.ratio >= found.first_ratio, "{}", found.ratio);
        let again = adversary(400, 1).search(&mut |_, _| {}).unwrap();
        assert_eq!((again.ratio, &again.instance), (found.ratio, &found.instance));
        assert_ne!(adversary(400, 2).search(&mut |_, _| {}).unwrap().instance, found.instance);

        let cluster = Cluster::parse(&found.cluster_toml(), "c.toml").unwrap();
        let path = std::path::Path::new("graph.json");
        let read = isochrone_workload::task_graph::parse_graph(
            path,
            &found.graph_json().unwrap(),
            &isochrone_workload::task_graph::ReadOptions::default(),
        );
        let graph = read.unwrap().graph;
        let makespan = |policy| Simulation::new(&graph, &cluster, policy).seed(1).run().unwrap().makespan;
        assert_eq!((makespan("eager"), makespan("heft")), (found.worse, found.than));
    }

    #[test]
    fn clusters_have_the_links_that_the_instance_has() {
        let instance = Instance {
            work_us: vec![1, 1],
            edges: Vec::new(),
            speed_percent: vec![105, 20, 1_000],
            links: vec![(10, 8), (20, 16), (30, 24)],
        };
        let cluster = instance.cluster().unwrap();
        assert_eq!(rate_of(&cluster, 0, 1), BytesPerSecond(1_000_000));
        assert_eq!(rate_of(&cluster, 2, 0), BytesPerSecond(2_000_000));
        assert_eq!(rate_of(&cluster, 1, 2), BytesPerSecond(3_000_000));
        assert_eq!(cluster.agents[0].devices[0].speed, 1.05);
        assert_eq!(cluster.agents[1].devices[0].speed, 0.2);
    }
}
