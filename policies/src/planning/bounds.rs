//! Lower bounds: no schedule of the problem is shorter. They speak of the tasks that can be placed at all.

use isochrone_model::Span;

use super::partial::Partial;
use super::problem::Problem;
use super::ranks::topological_order;

/// The larger of `critical_path` and `area`.
#[must_use]
pub fn lower_bound(problem: &Problem) -> Span {
    critical_path(problem).max(area(problem))
}

/// The longest way through the graph when every task runs where it would end first and nothing has to be moved
/// between tasks. What slots are busy with and what comes from outside counts.
#[must_use]
pub fn critical_path(problem: &Problem) -> Span {
    let partial = Partial::new(problem);
    let mut finishes = vec![Span::ZERO; problem.tasks()];
    let mut fastest = Fastest::default();
    for task in topological_order(problem).into_iter().filter(|task| partial.can_be_placed(*task)) {
        let before = problem.predecessors(task).iter().map(|edge| finishes[edge.task]);
        finishes[task] = fastest.finish(problem, task, before.max().unwrap_or(Span::ZERO));
    }
    finishes.into_iter().max().unwrap_or(Span::ZERO)
}

/// The slots on which tasks like the last one may end first, each with the earliest start there and the execution: most
/// tasks are like the one before them.
#[derive(Default)]
struct Fastest {
    like: Option<(usize, u32)>,
    slots: Vec<(Span, Span)>,
}

impl Fastest {
    /// When a task ends at the earliest if those before it have ended at `before`.
    fn finish(&mut self, problem: &Problem, task: usize, before: Span) -> Span {
        let like = Some((problem.kind_of(task), problem.outside_kind_of(task)));
        if self.like != like {
            self.like = like;
            let start = |slot: usize| problem.outside_ready(task, slot).max(problem.slot_free(slot));
            let slots = problem.legal_slots(task).map(|slot| (start(slot), problem.execution(task, slot)));
            self.slots.clear();
            for (start, execution) in slots {
                // One that is slower than another and free no earlier never ends first.
                if self.slots.last().is_none_or(|last| last.0 > start || last.1 > execution) {
                    self.slots.push((start, execution));
                }
            }
        }
        let finishes = self.slots.iter().map(|(start, execution)| before.max(*start) + *execution);
        finishes.min().unwrap_or(Span::ZERO)
    }
}

/// How much work there is for how many slots.
///
/// Give each slot a weight. In a schedule that ends at C, slot s works at most C less the time at which it can
/// start. So the sum over slots of weight times that is at least the sum over tasks of weight times execution where
/// each task runs, and that at least the sum over tasks of the smallest weight times execution over its slots. This
/// holds for any weights, so the largest C that some weights demand is a bound: the dual of the linear relaxation in
/// which a task may be divided among slots. Equal weights give "sum of the shortest executions over slots"; weights
/// in proportion to speed are exact for slots whose times differ by a factor. From these two the weights are
/// improved for a fixed number of rounds: a slot that the smallest products would load beyond the bound gets a
/// larger weight. Integers throughout.
#[must_use]
pub fn area(problem: &Problem) -> Span {
    area_weights(problem).0
}

/// The bound and the weights that demand it, one for each slot.
pub(crate) fn area_weights(problem: &Problem) -> (Span, Vec<u64>) {
    let partial = Partial::new(problem);
    let tasks: Vec<usize> = (0..problem.tasks()).filter(|task| partial.can_be_placed(*task)).collect();
    let free = earliest_work(problem, &tasks);
    let kinds = counted(problem, &tasks);
    let mut best = (Span::ZERO, vec![WEIGHT; problem.slots()]);
    for mut weights in [best.1.clone(), speeds(problem, &kinds, tasks.len())] {
        for _ in 0..ROUNDS {
            let (work, loads) = weighted_work(problem, &kinds, &weights);
            let bound = shortest(&free, &weights, work);
            if bound > best.0 {
                best = (bound, weights.clone());
            }
            let target = u128::from(bound.0.max(1));
            for ((weight, load), free) in weights.iter_mut().zip(loads).zip(&free) {
                // By at most half up and a third down, toward a load that fits.
                let room = target.saturating_sub(u128::from(free.0)).max(1);
                let ratio = (load * 64 / room).clamp(0, 256) as u64;
                *weight = (*weight * (192 + ratio) / 256).clamp(1, WEIGHT << 20);
            }
        }
    }
    best
}

const WEIGHT: u64 = 1 << 20;
const ROUNDS: usize = 12;

/// The kinds of these tasks, each with how many of them there are.
fn counted(problem: &Problem, tasks: &[usize]) -> Vec<(usize, u64)> {
    let mut counts = vec![0; problem.kinds()];
    for task in tasks {
        counts[problem.kind_of(*task)] += 1;
    }
    counts.into_iter().enumerate().filter(|(_, count)| *count > 0).collect()
}

/// By slot, a time before which it works on none of these tasks.
fn earliest_work(problem: &Problem, tasks: &[usize]) -> Vec<Span> {
    let mut like: Vec<(u32, usize)> =
        tasks.iter().map(|task| (problem.outside_kind_of(*task), *task)).collect();
    like.sort_unstable();
    like.dedup_by_key(|(kind, _)| *kind);
    let mut earliest = vec![Span(u64::MAX); problem.slots()];
    for (_, task) in like {
        for (slot, earliest) in earliest.iter_mut().enumerate() {
            *earliest = (*earliest).min(problem.outside_ready(task, slot));
        }
    }
    earliest.iter().enumerate().map(|(slot, ready)| (*ready).max(problem.slot_free(slot))).collect()
}

/// Weights in proportion to speed: the mean over tasks of shortest execution over execution here.
fn speeds(problem: &Problem, kinds: &[(usize, u64)], tasks: usize) -> Vec<u64> {
    let mut sums = vec![0_u128; problem.slots()];
    for (kind, count) in kinds {
        let executions = problem.kind_executions(*kind);
        let shortest = executions.iter().map(|span| span.0).min().unwrap_or(0);
        for (sum, execution) in sums.iter_mut().zip(executions) {
            if *execution != Problem::ILLEGAL {
                let speed = (u128::from(shortest) + 1) * u128::from(WEIGHT) / (u128::from(execution.0) + 1);
                *sum += speed * u128::from(*count);
            }
        }
    }
    sums.iter().map(|sum| ((sum / tasks.max(1) as u128) as u64).max(1)).collect()
}

/// The sum over tasks of the smallest weight times execution, and the load of each slot if tasks ran there.
fn weighted_work(problem: &Problem, kinds: &[(usize, u64)], weights: &[u64]) -> (u128, Vec<u128>) {
    let (mut work, mut loads) = (0_u128, vec![0_u128; weights.len()]);
    for (kind, count) in kinds {
        let executions = problem.kind_executions(*kind);
        let smallest = executions
            .iter()
            .zip(weights)
            .enumerate()
            .filter(|(_, (execution, _))| **execution != Problem::ILLEGAL)
            .map(|(slot, (execution, weight))| (u128::from(execution.0) * u128::from(*weight), slot))
            .min();
        if let Some((product, slot)) = smallest {
            work += product * u128::from(*count);
            loads[slot] += u128::from(executions[slot].0) * u128::from(*count);
        }
    }
    (work, loads)
}

/// The smallest makespan whose room, weighted, is at least `work`.
pub(crate) fn shortest(free: &[Span], weights: &[u64], work: u128) -> Span {
    if work == 0 {
        return Span::ZERO;
    }
    let mut slots: Vec<(u64, u64)> = free.iter().map(|span| span.0).zip(weights.iter().copied()).collect();
    slots.sort_unstable();
    let (mut weight_sum, mut offset) = (0_u128, 0_u128);
    let mut end = u128::from(u64::MAX);
    for (place, (free, weight)) in slots.iter().enumerate() {
        weight_sum += u128::from(*weight);
        offset += u128::from(*weight) * u128::from(*free);
        end = (work + offset).div_ceil(weight_sum);
        if slots.get(place + 1).is_none_or(|(next, _)| end <= u128::from(*next)) {
            break;
        }
    }
    Span(u64::try_from(end).unwrap_or(u64::MAX))
}
