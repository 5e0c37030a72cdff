//! `duplex`: the better of Min-Min and Max-Min (Armstrong, Hensgen and Kidd, HCW 1998; Braun et al., JPDC 61(6), 2001).
//!
//! Both are planned and the one with the shorter makespan is kept; of equal ones that of Min-Min.

use isochrone_sched_core::Policy;

use crate::max_min::MaxMin;
use crate::min_min::MinMin;
use crate::planning::{PlannedOptions, Planner, Problem, Schedule, planned};
use crate::{Label, LabelError, PolicyInfo};

pub(crate) const INFO: PolicyInfo = PolicyInfo {
    name: "duplex",
    summary: "static: the better of min-min and max-min",
    parameters: &PlannedOptions::PARAMETERS,
    make,
};

fn make(label: &Label) -> Result<Box<dyn Policy>, LabelError> {
    planned(INFO.name, "planned: the better of min-min and max-min", Duplex, label)
}

/// The planner.
#[derive(Clone, Copy, Debug, Default)]
pub struct Duplex;

impl Planner for Duplex {
    fn plan(&self, problem: &Problem) -> Schedule {
        let (min_min, max_min) = (MinMin.plan(problem), MaxMin.plan(problem));
        if max_min.makespan() < min_min.makespan() { max_min } else { min_min }
    }
}
