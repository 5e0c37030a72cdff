//! `hlfet`: Highest Levels First with Estimated Times (Adam, Chandy and Dickson, CACM 17(12), 1974).
//!
//! Ready tasks by falling static level (the longest way to the end, communication left out), each to the slot where it
//! starts first, behind all that is planned there.
//!
//! Ties: the task with the smallest index; the lowest slot. The paper knows equal processors and no communication. Chosen
//! here: a task counts in levels for the mean of its times, and the start includes communication, as in Kwok and Ahmad's
//! comparison (ACM Computing Surveys 31(4), 1999). The start alone decides, so the rule does not see how fast a slot is;
//! `list(rank=level,selection=finish)` does.

use isochrone_sched_core::Policy;

use crate::planning::{PlannedOptions, Planner, Problem, Schedule, by_priority, planned, static_levels};
use crate::{Label, LabelError, PolicyInfo};

pub(crate) const INFO: PolicyInfo = PolicyInfo {
    name: "hlfet",
    summary: "static: by static level, to the slot of earliest start",
    parameters: &PlannedOptions::PARAMETERS,
    make,
};

fn make(label: &Label) -> Result<Box<dyn Policy>, LabelError> {
    planned(INFO.name, "planned: earliest start by static level", Hlfet, label)
}

/// The planner.
#[derive(Clone, Copy, Debug, Default)]
pub struct Hlfet;

impl Planner for Hlfet {
    fn plan(&self, problem: &Problem) -> Schedule {
        let levels = static_levels(problem, |task| problem.mean_execution(task));
        by_priority(problem, |task| levels[task], |partial, task| partial.earliest_start(task, false))
    }
}
