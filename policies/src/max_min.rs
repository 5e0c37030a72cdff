//! `max-min`: Max-Min (Ibarra and Kim, JACM 24(2), 1977; Maheswaran et al., JPDC 59(2), 1999).
//!
//! Of a batch of ready tasks the one whose earliest completion is latest, to the slot where it completes then, behind all that is
//! planned there. The ready tasks form a batch, `batch` of them at most, the first to become ready; it is emptied before the next is
//! formed.
//!
//! Ties: the task with the smallest index, then the lowest slot. A step looks at few tasks, and glances at those whose
//! best slot was taken; see `planning/rows.rs` for what that takes: a part of the batch for each task, where times on slots follow no
//! rule. With a bound on the batch, which the paper of 1999 calls the fixed count strategy, the whole is linear in tasks.

use std::collections::VecDeque;

use isochrone_sched_core::Policy;

use crate::planning::{
    Batch, Measure, Partial, PlannedOptions, Planner, Problem, Rows, Schedule, planned_in_batches,
};
use crate::{Label, LabelError, PolicyInfo};

pub(crate) const INFO: PolicyInfo = PolicyInfo {
    name: "max-min",
    summary: "static: of a batch of ready tasks the one whose earliest completion is latest",
    parameters: &[Batch::PARAMETER, PlannedOptions::PARAMETERS[0], PlannedOptions::PARAMETERS[1]],
    make,
};

fn make(label: &Label) -> Result<Box<dyn Policy>, LabelError> {
    planned_in_batches(
        INFO.name,
        "planned: latest earliest completion of the batch",
        |batch| MaxMin { batch },
        label,
    )
}

/// The planner.
#[derive(Clone, Copy, Debug, Default)]
pub struct MaxMin {
    /// How many ready tasks are considered at one time.
    pub batch: Batch,
}

impl Planner for MaxMin {
    fn plan(&self, problem: &Problem) -> Schedule {
        self.plan_by(&mut Rows::new(problem, Measure::Completion), problem)
    }
}

impl MaxMin {
    /// Plans with rows to which nothing was added yet.
    pub(crate) fn plan_by<'a>(self, rows: &mut Rows<'a>, problem: &'a Problem) -> Schedule {
        let mut partial = Partial::new(problem);
        let mut ready = VecDeque::from(partial.entries());
        while !ready.is_empty() {
            let batch = self.batch.admitted(0, ready.len());
            for task in ready.drain(..batch) {
                partial.look_at(task);
                rows.add(&partial, task);
            }
            while let Some((task, slot)) = rows.first() {
                partial.look_at(task);
                let assignment = partial.on_slot(task, slot, false);
                partial.assign(task, assignment, |next| ready.push_back(next));
                rows.take(task, slot, assignment.finish);
            }
        }
        partial.schedule
    }
}
