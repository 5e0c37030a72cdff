//! `mct`: Minimum Completion Time (Armstrong, Hensgen and Kidd, HCW 1998; Braun et al., JPDC 61(6), 2001).
//!
//! Tasks in program order, each to the slot where it completes first, behind all that is planned there.
//!
//! Ties: the lowest slot. The papers know independent tasks that arrive; here a task follows its predecessors, and where
//! the program order does not have it so, the smallest index whose predecessors are planned comes next.

use isochrone_sched_core::Policy;

use crate::planning::{PlannedOptions, Planner, Problem, Schedule, by_priority, planned};
use crate::{Label, LabelError, PolicyInfo};

pub(crate) const INFO: PolicyInfo = PolicyInfo {
    name: "mct",
    summary: "static: in program order, to the slot of earliest completion",
    parameters: &PlannedOptions::PARAMETERS,
    make,
};

fn make(label: &Label) -> Result<Box<dyn Policy>, LabelError> {
    planned(INFO.name, "planned: earliest completion in program order", Mct, label)
}

/// The planner.
#[derive(Clone, Copy, Debug, Default)]
pub struct Mct;

impl Planner for Mct {
    fn plan(&self, problem: &Problem) -> Schedule {
        by_priority(problem, |_| (), |partial, task| partial.earliest_finish(task, false))
    }
}
