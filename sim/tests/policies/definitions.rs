//! `dmda`, `dmdas`, `dmdar`, `blevel-gt` and `tlevel-gt` beside their definitions, written down as plainly as can be: everything is computed
//! anew at every step.
//!
//! Where nothing is held back (`ahead_min_us` without an end), costs are known, links are uncontended and the way to an agent takes no
//! time, all tasks are placed at the beginning, round by round: a round are the tasks whose predecessors are placed. So what the
//! policies decide depends on no event, and can be said from the problem alone. What a shorter horizon holds back, and tasks that are
//! considered when those before them have finished, are not looked at here.

use std::cmp::Reverse;

use isochrone_model::{Span, Timestamp};
use isochrone_policies::planning::{Assignment, Problem, Schedule};
use isochrone_sim::cluster::{Cluster, InputPlace};
use isochrone_sim::network::network;
use isochrone_sim::random::Random;
use isochrone_sim::simulation::{Simulation, problem};
use isochrone_workload::task_graph::TaskGraph;

use crate::instances::{random_cluster, random_graph};
use crate::{STEPS_MAX, seeds};

/// Ranks that are nearer to each other than this, in nanoseconds, and not equal may be told apart by rounding alone.
const ROUNDING: f64 = 200.0;

/// What is known of a graph on a cluster.
struct Definition<'a> {
    problem: &'a Problem,
    graph: &'a TaskGraph,
    schedule: Schedule,
    /// The schedule when the round began.
    known: Schedule,
    /// A choice hung on how ranks are rounded.
    is_close: bool,
}

impl<'a> Definition<'a> {
    fn new(problem: &'a Problem, graph: &'a TaskGraph) -> Self {
        let nothing = Schedule::new(problem.tasks());
        Self { problem, graph, schedule: nothing.clone(), known: nothing, is_close: false }
    }

    fn free(&self, slot: usize) -> Span {
        let here = self.schedule.assignments.iter().flatten().filter(|other| other.slot == slot);
        here.map(|other| other.finish).max().unwrap_or(Span::ZERO)
    }

    fn count(&self, slot: usize) -> usize {
        self.schedule.assignments.iter().flatten().filter(|other| other.slot == slot).count()
    }

    fn ready(&self, task: usize, slot: usize) -> Span {
        self.schedule.ready(self.problem, task, slot).expect("those before it are placed")
    }

    /// Gives a task to a slot behind all that is there; gives those that nothing holds back any more, as they were submitted.
    fn place(&mut self, task: usize, slot: usize) -> Vec<usize> {
        let start = self.ready(task, slot).max(self.free(slot));
        let finish = start + self.problem.execution(task, slot);
        self.schedule.assignments[task] = Some(Assignment { slot, start, finish });
        let mut after: Vec<usize> = self.problem.successors(task).iter().map(|edge| edge.task).collect();
        after.sort_unstable();
        after.retain(|next| {
            let mut before = self.problem.predecessors(*next).iter();
            before.all(|edge| self.schedule.assignments[edge.task].is_some())
        });
        after
    }

    /// Round by round, what `place_round` makes of each; it gives the tasks of the next.
    fn run(mut self, place_round: impl Fn(&mut Self, Vec<usize>) -> Vec<usize>) -> Option<Schedule> {
        let mut round: Vec<usize> =
            (0..self.problem.tasks()).filter(|task| self.problem.predecessors(*task).is_empty()).collect();
        while !round.is_empty() {
            self.known = self.schedule.clone();
            round = place_round(&mut self, round);
        }
        (!self.is_close).then_some(self.schedule)
    }

    /// The mean over the devices that may run a task.
    fn mean_execution(&self, task: usize) -> Span {
        let mut devices: Vec<(usize, u64)> = self
            .problem
            .legal_slots(task)
            .map(|slot| (self.problem.device_of(slot), self.problem.execution(task, slot).0))
            .collect();
        devices.dedup();
        Span(devices.iter().map(|device| device.1).sum::<u64>() / devices.len() as u64)
    }

    /// Sizes of what one task makes and another reads.
    fn edge_sizes(&self, first: usize, second: usize) -> Vec<u64> {
        let items = self.graph.tasks[second].inputs.iter().map(|item| &self.graph.items[*item]);
        items.filter(|item| item.producer == Some(first)).map(|item| item.size_bytes).collect()
    }

    /// The mean over unordered pairs of different devices of what so many bytes take from one to the other.
    fn mean_transfer(&self, size_bytes: u64) -> f64 {
        if size_bytes == 0 {
            return 0.0;
        }
        let mut devices: Vec<(usize, usize)> = (0..self.problem.slots())
            .map(|slot| (self.problem.device_of(slot), self.problem.agent_of(slot)))
            .collect();
        devices.dedup();
        let (mut sum, mut pairs) = (0.0, 0.0_f64);
        for (place, (_, from)) in devices.iter().enumerate() {
            for (_, to) in &devices[place + 1..] {
                sum += self.problem.transfer_between_agents(size_bytes, *from, *to).0 as f64;
                pairs += 1.0;
            }
        }
        sum / pairs.max(1.0)
    }

    /// The longest way from a task to the end of the graph, itself included, with what moves on it.
    fn rank(&self, task: usize) -> f64 {
        let behind = self.problem.successors(task).iter().map(|edge| {
            let size_bytes = self.edge_sizes(task, edge.task).iter().sum();
            self.rank(edge.task) + self.mean_transfer(size_bytes)
        });
        self.mean_execution(task).0 as f64 + behind.fold(0.0, f64::max)
    }

    /// The same without what moves.
    fn bottom_level(&self, task: usize) -> Span {
        let behind = self.problem.successors(task).iter().map(|edge| self.bottom_level(edge.task));
        self.mean_execution(task) + behind.max().unwrap_or(Span::ZERO)
    }

    /// The longest way from the beginning of the graph to a task, without itself and without what moves.
    fn top_level(&self, task: usize) -> Span {
        let before = self.problem.predecessors(task).iter();
        let before = before.map(|edge| self.top_level(edge.task) + self.mean_execution(edge.task));
        before.max().unwrap_or(Span::ZERO)
    }
}

/// How tasks leave a slot's queue.
#[derive(Clone, Copy)]
enum Leave {
    /// As they came.
    Arrival,
    /// The highest rank first.
    Rank,
    /// Of so many first ones, the one with the fewest bytes to be brought. Nothing lies anywhere yet, so those are all it reads.
    Bytes { window: usize },
}

/// StarPU's deques: each task of a round is pushed to the slot with the least weighted end and transfer, then the queues are emptied.
struct Deques {
    /// In thousandths.
    alpha: u128,
    beta: u128,
    leave: Leave,
}

impl Deques {
    /// When a slot has done all that is placed there and then what is queued.
    fn end(of: &Definition<'_>, slot: usize, queue: &[usize]) -> Span {
        queue.iter().fold(of.free(slot), |end, task| {
            of.ready(*task, slot).max(end) + of.problem.execution(*task, slot)
        })
    }

    /// The slot with the least `alpha * (end - best end) + beta * transfer`.
    fn choose(&self, of: &Definition<'_>, task: usize, queues: &[Vec<usize>]) -> usize {
        let slots: Vec<usize> = of.problem.legal_slots(task).collect();
        let end = |slot: usize| Self::end(of, slot, &queues[slot]) + of.problem.execution(task, slot);
        let best_end = slots.iter().map(|slot| end(*slot)).min().expect("a slot");
        let soonest = slots.iter().map(|slot| of.ready(task, *slot)).min().expect("a slot");
        let penalty = |slot: usize| {
            let later = end(slot).saturating_sub(best_end);
            let transfer = of.ready(task, slot).saturating_sub(soonest);
            self.alpha * u128::from(later.0) + self.beta * u128::from(transfer.0)
        };
        slots.into_iter().min_by_key(|slot| (penalty(*slot), *slot)).expect("a slot")
    }

    /// The place in a queue of the task that leaves it next.
    fn next(&self, of: &mut Definition<'_>, queue: &[usize]) -> usize {
        let places = 0..queue.len();
        let next = match self.leave {
            Leave::Arrival => places.min(),
            Leave::Rank => {
                let ranks: Vec<f64> = queue.iter().map(|task| of.rank(*task)).collect();
                let highest = ranks.iter().copied().fold(0.0, f64::max);
                let is_near = |rank: &f64| *rank != highest && highest - rank < ROUNDING;
                of.is_close |= ranks.iter().any(is_near);
                ranks.iter().position(|rank| *rank == highest)
            }
            Leave::Bytes { window } => places.take(window).min_by_key(|place| {
                let before = of.problem.predecessors(queue[*place]).iter();
                let sizes = before.flat_map(|edge| of.edge_sizes(edge.task, queue[*place]));
                (sizes.sum::<u64>(), *place)
            }),
        };
        next.expect("a queue with tasks")
    }

    fn place_round(&self, of: &mut Definition<'_>, round: Vec<usize>) -> Vec<usize> {
        let mut queues: Vec<Vec<usize>> = vec![Vec::new(); of.problem.slots()];
        for task in round {
            let slot = self.choose(of, task, &queues);
            queues[slot].push(task);
        }
        let mut next = Vec::new();
        for (slot, mut queue) in queues.into_iter().enumerate() {
            while !queue.is_empty() {
                let task = queue.remove(self.next(of, &queue));
                next.extend(of.place(task, slot));
            }
        }
        next
    }
}

/// Estee's greedy schedulers: by level, to the slot with the fewest tasks, then the fewest bytes to be brought, then the one that is free first.
fn place_greedily(of: &mut Definition<'_>, mut round: Vec<usize>, is_bottom: bool) -> Vec<usize> {
    round.sort_by_key(|task| {
        let level = if is_bottom {
            (Reverse(of.bottom_level(*task)), Span::ZERO)
        } else {
            (Reverse(Span::ZERO), of.top_level(*task))
        };
        (level, *task)
    });
    let mut next = Vec::new();
    for task in round {
        let missing = |slot: usize| {
            let agent = of.problem.agent_of(slot);
            let is_there = |other: usize| {
                of.known.assignments[other].is_some_and(|here| of.problem.agent_of(here.slot) == agent)
            };
            let inputs = of.graph.tasks[task].inputs.iter().copied();
            let inputs = inputs.filter(|item| of.graph.items[*item].producer.is_some());
            let missing = inputs.filter(|item| {
                let reads = |other: &usize| of.graph.tasks[*other].inputs.contains(item);
                let makes = |other: &usize| of.graph.items[*item].producer == Some(*other);
                let mut others = (0..of.graph.tasks.len()).filter(|other| reads(other) || makes(other));
                !others.any(is_there)
            });
            missing.map(|item| of.graph.items[item].size_bytes).sum::<u64>()
        };
        let slots = of.problem.legal_slots(task);
        let slot = slots.min_by_key(|slot| (of.count(*slot), missing(*slot), of.free(*slot), *slot));
        let slot = slot.expect("a slot");
        next.extend(of.place(task, slot));
    }
    next
}

fn check(label: &str, defined: &Schedule, graph: &TaskGraph, cluster: &Cluster, seed: u64) {
    let outcome = Simulation::new(graph, cluster, label).steps_max(STEPS_MAX).run();
    let outcome = outcome.unwrap_or_else(|error| panic!("seed {seed}, {label}: {error}"));
    let slots: Vec<(usize, usize)> = cluster
        .devices()
        .enumerate()
        .flat_map(|(place, (_, _, device))| (0..usize::from(device.slots)).map(move |slot| (place, slot)))
        .collect();
    for (task, run) in outcome.tasks.iter().enumerate() {
        let expected = defined.assignments[task].unwrap_or_else(|| panic!("seed {seed}: task {task}"));
        assert_eq!(run.placed, Timestamp::ZERO, "seed {seed}, {label}: task {task} was held back");
        assert_eq!((run.device, run.slot), slots[expected.slot], "seed {seed}, {label}: task {task}");
    }
}

/// Five definitions of one random instance; `None` where rounding decides.
fn definitions(problem: &Problem, graph: &TaskGraph, random: &mut Random) -> Vec<(String, Option<Schedule>)> {
    let weights = [("1", 1_000), ("0", 0), ("0.25", 250), ("2.5", 2_500)];
    let mut pick = |count: u64| random.below(count) as usize;
    let ((alpha_text, alpha), (beta_text, beta)) = (weights[pick(4)], weights[pick(4)]);
    let window = 1 + pick(5);
    let held = "ahead_min_us=1000000000000";
    let deques = [
        ("dmda", Leave::Arrival, String::new()),
        ("dmdas", Leave::Rank, String::new()),
        ("dmdar", Leave::Bytes { window }, format!(",window={window}")),
    ];
    let deques = deques.into_iter().map(|(name, leave, more)| {
        let deques = Deques { alpha, beta, leave };
        let schedule = Definition::new(problem, graph).run(|of, round| deques.place_round(of, round));
        (format!("{name}(alpha={alpha_text},beta={beta_text},{held}{more})"), schedule)
    });
    let greedy = [("blevel-gt", true), ("tlevel-gt", false)].into_iter().map(|(name, is_bottom)| {
        let schedule = Definition::new(problem, graph).run(|of, round| place_greedily(of, round, is_bottom));
        (format!("{name}({held})"), schedule)
    });
    deques.chain(greedy).collect()
}

#[test]
fn dynamic_policies_are_what_their_definitions_say() {
    let (mut differing, mut close) = (0, 0);
    let seeds = seeds().div_ceil(2);
    for seed in 0..seeds {
        let mut random = Random::new(seed);
        let mut cluster = random_cluster(&mut random);
        // Contents of the client are brought to their first reader, and on from there: a matter of its own.
        cluster.inputs_at = InputPlace::Everywhere;
        let graph = random_graph(&mut random, cluster.devices().count());
        let network = network("classic", &cluster, seed).unwrap();
        let problem = problem(&graph, &cluster, network.as_ref());
        let all = definitions(&problem, &graph, &mut random);
        for (label, defined) in &all {
            match defined {
                Some(defined) => check(label, defined, &graph, &cluster, seed),
                None => close += 1,
            }
        }
        differing += u64::from(all.windows(2).all(|pair| pair[0].1 != pair[1].1));
    }
    assert!(seeds < 50 || differing > seeds / 10, "{differing} of {seeds} tell all five apart");
    assert!(seeds < 50 || close < seeds / 4, "{close} of {seeds} hang on rounding");
}
