//! `heft`: Heterogeneous Earliest Finish Time (Topcuoglu, Hariri and Wu, IEEE TPDS 13(3), 2002).
//!
//! Tasks in order of falling upward rank, each to the slot where it would finish first, gaps in a slot's plan
//! used where the task fits (insertion). Equal ranks: the task whose predecessors are all planned and whose
//! index is smallest. Equal finishes: the lowest slot.

use isochrone_sched_core::Policy;

use crate::planning::{PlannedOptions, Planner, Problem, Schedule, by_priority, planned, upward_ranks};
use crate::{Label, LabelError, PolicyInfo};

pub(crate) const INFO: PolicyInfo = PolicyInfo {
    name: "heft",
    summary: "static: by upward rank, to the slot of earliest finish, with insertion",
    parameters: &PlannedOptions::PARAMETERS,
    make,
};

fn make(label: &Label) -> Result<Box<dyn Policy>, LabelError> {
    planned(INFO.name, "planned: earliest finish by upward rank", Heft, label)
}

/// The planner.
#[derive(Clone, Copy, Debug, Default)]
pub struct Heft;

impl Planner for Heft {
    fn plan(&self, problem: &Problem) -> Schedule {
        let ranks = upward_ranks(problem);
        by_priority(problem, |task| ranks[task], |partial, task| partial.earliest_finish(task, true))
    }
}
