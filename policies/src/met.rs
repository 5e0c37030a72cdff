//! `met`: Minimum Execution Time (Armstrong, Hensgen and Kidd, HCW 1998; Braun et al., JPDC 61(6), 2001).
//!
//! Tasks in program order, each to the slot where it takes least, whatever is planned there.
//!
//! Ties: the lowest slot, so of equally fast slots the first gets everything. The papers know independent tasks; here a
//! task follows its predecessors (see `mct`).

use isochrone_sched_core::Policy;

use crate::planning::{PlannedOptions, Planner, Problem, Schedule, by_priority, planned};
use crate::{Label, LabelError, PolicyInfo};

pub(crate) const INFO: PolicyInfo = PolicyInfo {
    name: "met",
    summary: "static: in program order, to the slot of shortest execution",
    parameters: &PlannedOptions::PARAMETERS,
    make,
};

fn make(label: &Label) -> Result<Box<dyn Policy>, LabelError> {
    planned(INFO.name, "planned: shortest execution in program order", Met, label)
}

/// The planner.
#[derive(Clone, Copy, Debug, Default)]
pub struct Met;

impl Planner for Met {
    fn plan(&self, problem: &Problem) -> Schedule {
        by_priority(
            problem,
            |_| (),
            |partial, task| {
                let slot =
                    problem.legal_slots(task).min_by_key(|slot| (problem.execution(task, *slot), *slot))?;
                Some(partial.on_slot(task, slot, false))
            },
        )
    }
}
