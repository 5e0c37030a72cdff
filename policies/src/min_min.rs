//! `min-min`: Min-Min (Ibarra and Kim, JACM 24(2), 1977; Maheswaran et al., JPDC 59(2), 1999).
//!
//! Of a batch of ready tasks the one whose earliest completion is earliest, to the slot where it completes then, behind all that
//! is planned there. The ready tasks form a batch, `batch` of them at most, the first to become ready; it is emptied before the next
//! is formed.
//!
//! Ties: the task with the smallest index, then the lowest slot. The papers know independent tasks only; batches of ready
//! tasks are how Blythe et al. (CCGrid 2005) take them to workflows.
//!
//! A step looks at the best pair of each slot only: what a placement changes is kept per slot. So this rule does not need the bound
//! that `max-min` needs. It has the same, so that the two differ by their rule alone and `duplex` chooses between plans of the same batches;
//! `batch=0` is the rule over all ready tasks.

use std::collections::VecDeque;

use isochrone_sched_core::Policy;

use crate::planning::{
    Batch, LargestPair, Partial, PlannedOptions, Planner, Problem, Schedule, planned_in_batches, signed,
};
use crate::{Label, LabelError, PolicyInfo};

pub(crate) const INFO: PolicyInfo = PolicyInfo {
    name: "min-min",
    summary: "static: of a batch of ready tasks the one of earliest completion",
    parameters: &[Batch::PARAMETER, PlannedOptions::PARAMETERS[0], PlannedOptions::PARAMETERS[1]],
    make,
};

fn make(label: &Label) -> Result<Box<dyn Policy>, LabelError> {
    planned_in_batches(
        INFO.name,
        "planned: earliest completion of the batch",
        |batch| MinMin { batch },
        label,
    )
}

/// The planner.
#[derive(Clone, Copy, Debug, Default)]
pub struct MinMin {
    /// How many ready tasks are considered at one time.
    pub batch: Batch,
}

impl Planner for MinMin {
    fn plan(&self, problem: &Problem) -> Schedule {
        let mut partial = Partial::new(problem);
        let ends = (0..problem.slots()).map(|slot| problem.slot_free(slot));
        let mut pairs = LargestPair::new(ends, (0..problem.tasks() as u32).collect());
        let mut ready = VecDeque::from(partial.entries());
        while !ready.is_empty() {
            let batch = self.batch.admitted(0, ready.len());
            for task in ready.drain(..batch) {
                partial.look_at(task);
                for slot in problem.legal_slots(task) {
                    let cost = signed(problem.execution(task, slot));
                    pairs.add(task, slot, partial.ready(task, slot), -cost);
                }
            }
            while let Some((task, slot)) = pairs.best() {
                partial.look_at(task);
                let assignment = partial.on_slot(task, slot, false);
                partial.assign(task, assignment, |next| ready.push_back(next));
                pairs.take(task, slot, assignment.finish);
            }
        }
        partial.schedule
    }
}
