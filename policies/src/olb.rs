//! `olb`: Opportunistic Load Balancing (Armstrong, Hensgen and Kidd, HCW 1998; Braun et al., JPDC 61(6), 2001).
//!
//! Tasks in program order, each to the slot that is free first, whatever the task takes there and wherever its inputs are.
//!
//! Ties: the lowest slot. The papers know independent tasks; here a task follows its predecessors (see `mct`).

use isochrone_sched_core::Policy;

use crate::planning::{PlannedOptions, Planner, Problem, Schedule, by_priority, planned};
use crate::{Label, LabelError, PolicyInfo};

pub(crate) const INFO: PolicyInfo = PolicyInfo {
    name: "olb",
    summary: "static: in program order, to the slot that is free first",
    parameters: &PlannedOptions::PARAMETERS,
    make,
};

fn make(label: &Label) -> Result<Box<dyn Policy>, LabelError> {
    planned(INFO.name, "planned: the slot that is free first", Olb, label)
}

/// The planner.
#[derive(Clone, Copy, Debug, Default)]
pub struct Olb;

impl Planner for Olb {
    fn plan(&self, problem: &Problem) -> Schedule {
        by_priority(
            problem,
            |_| (),
            |partial, task| {
                let slot = problem.legal_slots(task).min_by_key(|slot| (partial.slot_end(*slot), *slot))?;
                Some(partial.on_slot(task, slot, false))
            },
        )
    }
}
