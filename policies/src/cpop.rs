//! `cpop`: Critical Path on a Processor (Topcuoglu, Hariri and Wu, IEEE TPDS 13(3), 2002).
//!
//! Ready tasks by falling sum of upward and downward rank. Those on the critical path go to the one slot on which they
//! together take least; the others to the slot where they finish first. Both use gaps (insertion).
//!
//! Ties: the task with the smallest index; the lowest slot. Left open by the paper, and chosen here: of several entry
//! tasks the path starts at the one with the largest sum; a slot that may not run all of the path is taken only when none
//! may, and then the one that may run the most of it, the rest of the path being placed as other tasks are. The downward
//! rank counts the predecessor's cost, as in the paper's definition.

use isochrone_sched_core::Policy;

use crate::planning::{
    PlannedOptions, Planner, Problem, Schedule, by_priority, critical_path, critical_slot, downward_ranks,
    planned, upward_ranks,
};
use crate::{Label, LabelError, PolicyInfo};

pub(crate) const INFO: PolicyInfo = PolicyInfo {
    name: "cpop",
    summary: "static: the critical path on one slot, the rest by earliest finish, with insertion",
    parameters: &PlannedOptions::PARAMETERS,
    make,
};

fn make(label: &Label) -> Result<Box<dyn Policy>, LabelError> {
    planned(INFO.name, "planned: critical path on one slot", Cpop, label)
}

/// The planner.
#[derive(Clone, Copy, Debug, Default)]
pub struct Cpop;

impl Planner for Cpop {
    fn plan(&self, problem: &Problem) -> Schedule {
        let (upward, downward) = (upward_ranks(problem), downward_ranks(problem));
        let path = critical_path(problem, &upward, &downward);
        let mut is_critical = vec![false; problem.tasks()];
        for task in &path {
            is_critical[*task] = true;
        }
        let critical = critical_slot(problem, &path);
        by_priority(
            problem,
            |task| upward[task] + downward[task],
            |partial, task| match critical {
                Some(slot) if is_critical[task] && problem.is_legal(task, slot) => {
                    Some(partial.on_slot(task, slot, true))
                }
                _ => partial.earliest_finish(task, true),
            },
        )
    }
}
