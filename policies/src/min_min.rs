//! `min-min`: Min-Min (Ibarra and Kim, JACM 24(2), 1977; Maheswaran et al., JPDC 59(2), 1999).
//!
//! Of the ready tasks the one whose earliest completion is earliest, to the slot where it completes then, behind all that
//! is planned there. The ready tasks form a batch that is emptied before the tasks that became ready meanwhile form the
//! next.
//!
//! Ties: the task with the smallest index, then the lowest slot. The papers know independent tasks only; batches of ready
//! tasks are how Blythe et al. (CCGrid 2005) take them to workflows.
//!
//! A step looks at the best pair of each slot only: what a placement changes is kept per slot.

use isochrone_sched_core::Policy;

use crate::planning::{LargestPair, Partial, PlannedOptions, Planner, Problem, Schedule, planned, signed};
use crate::{Label, LabelError, PolicyInfo};

pub(crate) const INFO: PolicyInfo = PolicyInfo {
    name: "min-min",
    summary: "static: of a batch of ready tasks the one of earliest completion",
    parameters: &PlannedOptions::PARAMETERS,
    make,
};

fn make(label: &Label) -> Result<Box<dyn Policy>, LabelError> {
    planned(INFO.name, "planned: earliest completion of the batch", MinMin, label)
}

/// The planner.
#[derive(Clone, Copy, Debug, Default)]
pub struct MinMin;

impl Planner for MinMin {
    fn plan(&self, problem: &Problem) -> Schedule {
        let mut partial = Partial::new(problem);
        let ends = (0..problem.slots()).map(|slot| problem.slot_free(slot));
        let mut pairs = LargestPair::new(ends, (0..problem.tasks() as u32).collect());
        let mut ready = partial.entries();
        while !ready.is_empty() {
            for task in ready.drain(..) {
                partial.look_at(task);
                for slot in problem.legal_slots(task) {
                    let cost = signed(problem.execution(task, slot));
                    pairs.add(task, slot, partial.ready(task, slot), -cost);
                }
            }
            while let Some((task, slot)) = pairs.best() {
                partial.look_at(task);
                let assignment = partial.on_slot(task, slot, false);
                partial.assign(task, assignment, |next| ready.push(next));
                pairs.take(task, slot, assignment.finish);
            }
        }
        partial.schedule
    }
}
