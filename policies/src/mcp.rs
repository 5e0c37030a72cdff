//! `mcp`: Modified Critical Path (Wu and Gajski, IEEE TPDS 1(3), 1990).
//!
//! Tasks by rising latest possible start (ALAP), each to the slot where it starts first, gaps used (insertion). Of equal
//! ones the task whose successors' latest starts, from the smallest on, are smaller.
//!
//! Further ties: the task with the smallest index; the lowest slot. The paper knows equal processors. Heterogeneous
//! reading chosen here: the latest start follows from mean execution and mean communication (it is the length of the
//! critical path less the upward rank), and the earliest *start* decides between slots, as in the paper. With the earliest
//! finish instead it would be `heft` but for ties; `list(rank=alap,selection=finish,insertion=true)` is that. The paper
//! compares the latest starts of all descendants, which takes time quadratic in tasks; here, as in Kwok and Ahmad (ACM
//! Computing Surveys 31(4), 1999), those of the successors.

use std::cmp::Reverse;

use isochrone_sched_core::Policy;

use crate::planning::{PlannedOptions, Planner, Problem, Schedule, alap_order, by_priority, planned};
use crate::{Label, LabelError, PolicyInfo};

pub(crate) const INFO: PolicyInfo = PolicyInfo {
    name: "mcp",
    summary: "static: by latest possible start, to the slot of earliest start, with insertion",
    parameters: &PlannedOptions::PARAMETERS,
    make,
};

fn make(label: &Label) -> Result<Box<dyn Policy>, LabelError> {
    planned(INFO.name, "planned: earliest start by latest possible start", Mcp, label)
}

/// The planner.
#[derive(Clone, Copy, Debug, Default)]
pub struct Mcp;

impl Planner for Mcp {
    fn plan(&self, problem: &Problem) -> Schedule {
        let order = alap_order(problem);
        by_priority(problem, |task| Reverse(order[task]), |partial, task| partial.earliest_start(task, true))
    }
}
