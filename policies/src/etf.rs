//! `etf`: Earliest Task First (Hwang, Chow, Anger and Lee, SIAM J. Comput. 18(2), 1989).
//!
//! Of all pairs of ready task and slot the one that starts first, behind all that is planned on the slot; of several the
//! task with the highest static level.
//!
//! Further ties: the task with the smallest index, then the lowest slot. The paper knows equal processors, so it leaves
//! open what a task counts for in static levels: here the mean of its times, no communication. The start alone decides,
//! so the rule does not see how fast a slot is.
//!
//! A step looks at the best pair of each slot only: what a placement changes is kept per slot.

use isochrone_sched_core::Policy;

use crate::planning::{
    LargestPair, Partial, PlannedOptions, Planner, Problem, Schedule, planned, static_levels,
};
use crate::{Label, LabelError, PolicyInfo};

pub(crate) const INFO: PolicyInfo = PolicyInfo {
    name: "etf",
    summary: "static: the ready task and slot of earliest start",
    parameters: &PlannedOptions::PARAMETERS,
    make,
};

fn make(label: &Label) -> Result<Box<dyn Policy>, LabelError> {
    planned(INFO.name, "planned: earliest start of all ready tasks", Etf, label)
}

/// The planner.
#[derive(Clone, Copy, Debug, Default)]
pub struct Etf;

impl Planner for Etf {
    fn plan(&self, problem: &Problem) -> Schedule {
        let levels = static_levels(problem, |task| problem.mean_execution(task));
        let mut order: Vec<u32> = (0..problem.tasks() as u32).collect();
        order.sort_by_key(|task| std::cmp::Reverse(levels[*task as usize]));
        let mut partial = Partial::new(problem);
        let ends = (0..problem.slots()).map(|slot| problem.slot_free(slot));
        let mut pairs = LargestPair::new(ends, order);
        let mut ready = partial.entries();
        loop {
            for task in ready.drain(..) {
                partial.look_at(task);
                for slot in problem.legal_slots(task) {
                    pairs.add(task, slot, partial.ready(task, slot), 0);
                }
            }
            let Some((task, slot)) = pairs.best() else { break };
            partial.look_at(task);
            let assignment = partial.on_slot(task, slot, false);
            partial.assign(task, assignment, |next| ready.push(next));
            pairs.take(task, slot, assignment.finish);
        }
        partial.schedule
    }
}
