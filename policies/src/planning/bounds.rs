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
    for task in topological_order(problem).into_iter().filter(|task| partial.can_be_placed(*task)) {
        let before = problem.predecessors(task).iter().map(|edge| finishes[edge.task]);
        let before = before.max().unwrap_or(Span::ZERO);
        let on_slot = |slot: usize| {
            let ready = before.max(problem.outside_ready(task, slot)).max(problem.slot_free(slot));
            ready + problem.execution(task, slot)
        };
        finishes[task] = problem.legal_slots(task).map(on_slot).min().unwrap_or(Span::ZERO);
    }
    finishes.into_iter().max().unwrap_or(Span::ZERO)
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
    let mut best = (Span::ZERO, vec![WEIGHT; problem.slots()]);
    for mut weights in [best.1.clone(), speeds(problem, &tasks)] {
        for _ in 0..ROUNDS {
            let (work, loads) = weighted_work(problem, &tasks, &weights);
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

/// By slot, a time before which it works on none of these tasks.
fn earliest_work(problem: &Problem, tasks: &[usize]) -> Vec<Span> {
    let mut earliest = vec![Span(u64::MAX); problem.slots()];
    for task in tasks {
        for (slot, earliest) in earliest.iter_mut().enumerate() {
            *earliest = (*earliest).min(problem.outside_ready(*task, slot));
        }
    }
    earliest.iter().enumerate().map(|(slot, ready)| (*ready).max(problem.slot_free(slot))).collect()
}

/// Weights in proportion to speed: the mean over tasks of shortest execution over execution here.
fn speeds(problem: &Problem, tasks: &[usize]) -> Vec<u64> {
    let mut sums = vec![0_u128; problem.slots()];
    for task in tasks {
        let executions = problem.executions(*task);
        let shortest = executions.iter().map(|span| span.0).min().unwrap_or(0);
        for (sum, execution) in sums.iter_mut().zip(executions) {
            if *execution != Problem::ILLEGAL {
                *sum += (u128::from(shortest) + 1) * u128::from(WEIGHT) / (u128::from(execution.0) + 1);
            }
        }
    }
    sums.iter().map(|sum| ((sum / tasks.len().max(1) as u128) as u64).max(1)).collect()
}

/// The sum over tasks of the smallest weight times execution, and the load of each slot if tasks ran there.
fn weighted_work(problem: &Problem, tasks: &[usize], weights: &[u64]) -> (u128, Vec<u128>) {
    let (mut work, mut loads) = (0_u128, vec![0_u128; weights.len()]);
    for task in tasks {
        let smallest = problem
            .executions(*task)
            .iter()
            .zip(weights)
            .enumerate()
            .filter(|(_, (execution, _))| **execution != Problem::ILLEGAL)
            .map(|(slot, (execution, weight))| (u128::from(execution.0) * u128::from(*weight), slot))
            .min();
        if let Some((product, slot)) = smallest {
            work += product;
            loads[slot] += u128::from(problem.execution(*task, slot).0);
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
