//! `sufferage`: Sufferage (Maheswaran, Ali, Siegel, Hensgen and Freund, JPDC 59(2), 1999).
//!
//! Of the ready tasks the one that would suffer most from not getting its best slot: the largest difference between its
//! second-earliest and its earliest completion; to the slot of the earliest, behind all that is planned there.
//!
//! Ties: the task with the smallest index; of slots the lowest. The paper goes through a batch and lets tasks contend for
//! a slot until all slots have one; here, as is usual for graphs, the ready tasks are looked at anew after each placement,
//! those that it made ready among them. Slots of one device count as slots, so a device with two idle ones makes nobody
//! suffer. A task with one legal slot comes before all others.
//!
//! A step looks at few tasks, and glances at those whose best or second-best slot was taken; see `planning/rows.rs` for
//! what that takes.

use isochrone_sched_core::Policy;

use crate::planning::{Measure, Partial, PlannedOptions, Planner, Problem, Rows, Schedule, planned};
use crate::{Label, LabelError, PolicyInfo};

pub(crate) const INFO: PolicyInfo = PolicyInfo {
    name: "sufferage",
    summary: "static: the ready task that loses most without its best slot",
    parameters: &PlannedOptions::PARAMETERS,
    make,
};

fn make(label: &Label) -> Result<Box<dyn Policy>, LabelError> {
    planned(INFO.name, "planned: largest sufferage", Sufferage, label)
}

/// The planner.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sufferage;

impl Planner for Sufferage {
    fn plan(&self, problem: &Problem) -> Schedule {
        let mut partial = Partial::new(problem);
        let mut rows = Rows::new(problem, Measure::Sufferage);
        let mut ready = partial.entries();
        loop {
            for task in ready.drain(..) {
                partial.look_at(task);
                rows.add(&partial, task);
            }
            let Some((task, slot)) = rows.first() else { break };
            partial.look_at(task);
            let assignment = partial.on_slot(task, slot, false);
            partial.assign(task, assignment, |next| ready.push(next));
            rows.take(task, slot, assignment.finish);
        }
        partial.schedule
    }
}
