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
//! At most `batch` ready tasks are looked at; the others wait in the order in which they became ready, until all fit or half of those
//! that are looked at have been placed. So what a long wide graph takes is linear in its tasks, and the rule chooses among half the bound
//! at least as long as there are so many.
//!
//! A step looks at few tasks, and glances at those whose best or second-best slot was taken; see `planning/rows.rs` for
//! what that takes.

use std::collections::VecDeque;

use isochrone_sched_core::Policy;

use crate::planning::{
    Batch, Measure, Partial, PlannedOptions, Planner, Problem, Rows, Schedule, planned_in_batches,
};
use crate::{Label, LabelError, PolicyInfo};

pub(crate) const INFO: PolicyInfo = PolicyInfo {
    name: "sufferage",
    summary: "static: the ready task that loses most without its best slot",
    parameters: &[Batch::PARAMETER, PlannedOptions::PARAMETERS[0], PlannedOptions::PARAMETERS[1]],
    make,
};

fn make(label: &Label) -> Result<Box<dyn Policy>, LabelError> {
    planned_in_batches(INFO.name, "planned: largest sufferage", |batch| Sufferage { batch }, label)
}

/// The planner.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sufferage {
    /// How many ready tasks are considered at one time.
    pub batch: Batch,
}

impl Planner for Sufferage {
    fn plan(&self, problem: &Problem) -> Schedule {
        self.plan_by(&mut Rows::new(problem, Measure::Sufferage), problem)
    }
}

impl Sufferage {
    /// Plans with rows to which nothing was added yet.
    pub(crate) fn plan_by<'a>(self, rows: &mut Rows<'a>, problem: &'a Problem) -> Schedule {
        let mut partial = Partial::new(problem);
        let mut ready = VecDeque::from(partial.entries());
        let mut considered = 0;
        loop {
            let admitted = self.batch.admitted(considered, ready.len());
            considered += admitted;
            for task in ready.drain(..admitted) {
                partial.look_at(task);
                rows.add(&partial, task);
            }
            let Some((task, slot)) = rows.first() else { break };
            partial.look_at(task);
            let assignment = partial.on_slot(task, slot, false);
            partial.assign(task, assignment, |next| ready.push_back(next));
            rows.take(task, slot, assignment.finish);
            considered -= 1;
        }
        partial.schedule
    }
}
