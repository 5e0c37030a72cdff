//! Better plans near a plan: single tasks move to where their neighbours in the graph are, as long as that makes the plan better.
//!
//! After Wu, Shu and Gu, "Efficient local search for DAG scheduling", IEEE TPDS 12(6), 2001: the order of tasks stays, so that every plan that
//! is looked at is one. Chosen here: tasks from the last to the first, and only slots that hold a task before or behind (a slot that holds
//! neither would add transfers, which judges price worst); the first improvement is kept; rounds go on until one brings nothing.

use super::problem::Problem;
use super::replay::Replay;

/// Looks at no more than so many plans near one.
const PLANS_MAX: usize = 200;
/// Nor at more than so many tasks, edges and paths of them together.
const STEPS_MAX: usize = 400_000;
/// A path between two agents is set back much faster than an edge is timed.
const PATHS_A_STEP: usize = 8;

/// Moves tasks as long as `worth`, which times a plan, becomes lower, and gives the lowest.
pub(crate) fn improve<W: Ord>(
    problem: &Problem,
    replay: &mut Replay,
    mut lowest: W,
    worth: impl Fn(&Problem, &mut Replay) -> W,
) -> W {
    let edges: usize = (0..problem.tasks()).map(|task| problem.predecessors(task).len()).sum();
    let paths = problem.agents() * problem.agents();
    let steps = problem.tasks() + edges + paths / PATHS_A_STEP;
    let mut left = PLANS_MAX.min(STEPS_MAX / steps.max(1));
    let order = replay.order().to_vec();
    let mut slots = Vec::new();
    let mut has_moved = true;
    while has_moved {
        has_moved = false;
        for task in order.iter().rev().copied() {
            slots.clear();
            let neighbours = problem.predecessors(task).iter().chain(problem.successors(task));
            slots.extend(neighbours.map(|edge| replay.slot_of(edge.task)));
            slots.sort_unstable();
            slots.dedup();
            let mut best = replay.slot_of(task);
            for slot in slots.iter().copied().filter(|slot| problem.is_legal(task, *slot)) {
                if slot == best {
                    continue;
                }
                if left == 0 {
                    replay.put(task, best);
                    return lowest;
                }
                left -= 1;
                replay.put(task, slot);
                let there = worth(problem, replay);
                if there < lowest {
                    (lowest, best, has_moved) = (there, slot, true);
                }
            }
            replay.put(task, best);
        }
    }
    lowest
}

#[cfg(test)]
mod tests {
    use isochrone_model::Span;

    use super::super::problem::ProblemBuilder;
    use super::super::replay::Connections;
    use super::super::schedule::{Assignment, Schedule};
    use super::*;

    fn makespan(problem: &Problem, replay: &mut Replay) -> Span {
        replay.time(problem, Connections::Ready)
    }

    #[test]
    fn a_task_moves_to_its_neighbours_and_nothing_moves_for_nothing() {
        let mut builder = ProblemBuilder::new(&[(0, 0), (1, 1)]);
        for (from, to) in [(0, 1), (1, 0)] {
            let rate = isochrone_model::BytesPerSecond(1_000_000_000);
            builder.link(from, to, Span(1_000), rate, Span(1_000));
        }
        builder.contended(true);
        for _ in 0..3 {
            builder.task(&[Span(100); 2]);
        }
        builder.edge(0, 1, 10);
        builder.edge(1, 2, 10);
        let problem = builder.build();
        let mut schedule = Schedule::new(3);
        for (task, slot) in [(0, 0), (1, 1), (2, 0)] {
            let start = Span(task as u64 * 1_200);
            schedule.assignments[task] = Some(Assignment { slot, start, finish: start + Span(100) });
        }
        let mut replay = Replay::of(&problem, &schedule);
        let before = makespan(&problem, &mut replay);
        assert_eq!(before, Span(300 + 2 * 1_010));
        let after = improve(&problem, &mut replay, before, makespan);
        assert_eq!(after, Span(300), "a chain belongs on one slot");
        assert_eq!(makespan(&problem, &mut replay), after, "what is left is what was promised");
        assert_eq!(improve(&problem, &mut replay, after, makespan), after);
    }
}
