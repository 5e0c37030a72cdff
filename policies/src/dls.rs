//! `dls`: Dynamic Level Scheduling, of generalised dynamic levels (Sih and Lee, IEEE TPDS 4(2), 1993).
//!
//! Of all pairs of ready task and slot the one with the largest dynamic level: static level, less the start at the end of
//! the slot's plan, plus what the slot saves against the median slot. The static level counts median execution and no
//! communication. The start is the later of the arrival of the inputs and the end of what is planned (no insertion).
//!
//! Ties: the task with the smallest index, then the lowest slot. Of an even number of times the median is the mean of the
//! middle two. Of the paper's extensions this is the one for processors of different speed (its section 4.1); descendant
//! consideration and scarce resources are left out. The paper's median of a task that most slots may not run would be
//! infinite; here it is the median over those that may.
//!
//! A step looks at the best pair of each slot only: what a placement changes is kept per slot.

use isochrone_sched_core::Policy;

use crate::planning::{
    LargestPair, Partial, PlannedOptions, Planner, Problem, Schedule, planned, signed, static_levels,
};
use crate::{Label, LabelError, PolicyInfo};

pub(crate) const INFO: PolicyInfo = PolicyInfo {
    name: "dls",
    summary: "static: the ready task and slot of largest dynamic level",
    parameters: &PlannedOptions::PARAMETERS,
    make,
};

fn make(label: &Label) -> Result<Box<dyn Policy>, LabelError> {
    planned(INFO.name, "planned: largest dynamic level", Dls, label)
}

/// The planner.
#[derive(Clone, Copy, Debug, Default)]
pub struct Dls;

impl Planner for Dls {
    fn plan(&self, problem: &Problem) -> Schedule {
        let medians: Vec<i64> =
            (0..problem.tasks()).map(|task| signed(problem.median_execution(task))).collect();
        let levels = static_levels(problem, |task| problem.median_execution(task));
        let mut partial = Partial::new(problem);
        let ends = (0..problem.slots()).map(|slot| problem.slot_free(slot));
        let mut pairs = LargestPair::new(ends, (0..problem.tasks() as u32).collect());
        let mut ready = partial.entries();
        loop {
            for task in ready.drain(..) {
                partial.look_at(task);
                for slot in problem.legal_slots(task) {
                    let saved = medians[task] - signed(problem.execution(task, slot));
                    pairs.add(task, slot, partial.ready(task, slot), signed(levels[task]) + saved);
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
