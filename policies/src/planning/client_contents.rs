//! Contents that the client still holds when a graph is planned, and how they really travel: to the agent of their first
//! reader, from there to the agents of the others.
//!
//! Who reads first is only known when all is planned. Planners therefore take contents for as early at every agent as they
//! could be there; `settle` then puts the planned tasks, in their order, at the times that follow.

use isochrone_model::Span;

use super::problem::Problem;
use super::ranks::topological_order;
use super::schedule::{Assignment, Schedule};

/// Contents that the client holds.
#[derive(Clone, Debug)]
pub(super) struct ClientContents {
    pub size_bytes: u64,
    /// By agent, when they are there if they are sent there first.
    pub direct: Vec<Span>,
}

impl ClientContents {
    /// By agent, when they can be there at the earliest: directly, or by one other agent.
    pub fn earliest(&self, moving: impl Fn(usize, usize) -> Span) -> Vec<Span> {
        let mut homes: Vec<(Span, usize)> =
            self.direct.iter().enumerate().map(|(agent, direct)| (*direct, agent)).collect();
        homes.sort_unstable();
        let mut earliest = self.direct.clone();
        for (to, earliest) in earliest.iter_mut().enumerate() {
            for (direct, home) in &homes {
                if direct >= earliest {
                    break;
                }
                *earliest = (*earliest).min(*direct + moving(*home, to));
            }
        }
        earliest
    }
}

/// A schedule at the times at which its tasks start when contents from outside travel as they do, and by task the time at
/// which what comes from outside is there.
pub(super) struct Settled {
    pub schedule: Schedule,
    pub outside: Vec<Span>,
}

/// The assigned tasks by start, of those that start together first what takes no time, then in topological order: the order
/// in which they are ordered.
pub(crate) fn in_order(problem: &Problem, schedule: &Schedule) -> Vec<usize> {
    let mut order: Vec<(Span, Span, usize, usize)> = topological_order(problem)
        .into_iter()
        .enumerate()
        .filter_map(|(place, task)| {
            let here = schedule.assignments[task].as_ref()?;
            Some((here.start, here.finish, place, task))
        })
        .collect();
    order.sort_unstable();
    order.into_iter().map(|(_, _, _, task)| task).collect()
}

/// Slots and the order on them stay. Where transfers slow each other down, nothing is known better than the planner knew it:
/// then the schedule is as it was.
pub(super) fn settle(problem: &Problem, schedule: &Schedule) -> Settled {
    let mut settled = Settled { schedule: schedule.clone(), outside: vec![Span::ZERO; problem.tasks()] };
    let order = in_order(problem, schedule);
    if problem.client_contents().is_empty() || problem.is_contended() {
        for task in order {
            if let Some(here) = &schedule.assignments[task] {
                settled.outside[task] = problem.outside_ready(task, here.slot);
            }
        }
        return settled;
    }
    // By contents, the agent to which they are sent first.
    let mut homes: Vec<Option<usize>> = vec![None; problem.client_contents().len()];
    let mut free: Vec<Span> = (0..problem.slots()).map(|slot| problem.slot_free(slot)).collect();
    for task in order {
        let Some(Assignment { slot, .. }) = schedule.assignments[task] else { continue };
        let agent = problem.agent_of(slot);
        let mut outside = problem.other_outside_ready(task, slot);
        for contents in problem.client_reads(task) {
            let ClientContents { size_bytes, direct } = &problem.client_contents()[*contents as usize];
            let home = *homes[*contents as usize].get_or_insert(agent);
            let arrival = direct[home] + problem.transfer_between_agents(*size_bytes, home, agent);
            outside = outside.max(arrival);
        }
        let mut ready = outside;
        for edge in problem.predecessors(task) {
            if let Some(first) = &settled.schedule.assignments[edge.task] {
                ready = ready.max(first.finish + problem.transfer(edge.size_bytes, first.slot, slot));
            }
        }
        let start = ready.max(free[slot]);
        let finish = start + problem.execution(task, slot);
        free[slot] = finish;
        settled.outside[task] = outside;
        settled.schedule.assignments[task] = Some(Assignment { slot, start, finish });
    }
    settled
}
