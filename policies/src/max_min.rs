//! `max-min`: Max-Min (Ibarra and Kim, JACM 24(2), 1977; Maheswaran et al., JPDC 59(2), 1999).
//!
//! Of the ready tasks the one whose earliest completion is latest, to the slot where it completes then, behind all that is
//! planned there. Batches as in `min-min`.
//!
//! Ties: the task with the smallest index, then the lowest slot. A step looks at few tasks, and glances at those whose
//! best slot was taken; see `planning/rows.rs` for what that takes.

use isochrone_sched_core::Policy;

use crate::planning::{Measure, Partial, PlannedOptions, Planner, Problem, Rows, Schedule, planned};
use crate::{Label, LabelError, PolicyInfo};

pub(crate) const INFO: PolicyInfo = PolicyInfo {
    name: "max-min",
    summary: "static: of a batch of ready tasks the one whose earliest completion is latest",
    parameters: &PlannedOptions::PARAMETERS,
    make,
};

fn make(label: &Label) -> Result<Box<dyn Policy>, LabelError> {
    planned(INFO.name, "planned: latest earliest completion of the batch", MaxMin, label)
}

/// The planner.
#[derive(Clone, Copy, Debug, Default)]
pub struct MaxMin;

impl Planner for MaxMin {
    fn plan(&self, problem: &Problem) -> Schedule {
        let mut partial = Partial::new(problem);
        let mut rows = Rows::new(problem, Measure::Completion);
        let mut ready = partial.entries();
        while !ready.is_empty() {
            for task in ready.drain(..) {
                partial.look_at(task);
                rows.add(&partial, task);
            }
            while let Some((task, slot)) = rows.first() {
                partial.look_at(task);
                let assignment = partial.on_slot(task, slot, false);
                partial.assign(task, assignment, |next| ready.push(next));
                rows.take(task, slot, assignment.finish);
            }
        }
        partial.schedule
    }
}
