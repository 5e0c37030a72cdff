//! `duplex`: the better of Min-Min and Max-Min (Armstrong, Hensgen and Kidd, HCW 1998; Braun et al., JPDC 61(6), 2001).
//!
//! Both are planned, in batches of the same bound, and the one with the shorter makespan is kept; of equal ones that of Min-Min.

use isochrone_sched_core::Policy;

use crate::max_min::MaxMin;
use crate::min_min::MinMin;
use crate::planning::{Batch, PlannedOptions, Planner, Problem, Schedule, planned_in_batches};
use crate::{Label, LabelError, PolicyInfo};

pub(crate) const INFO: PolicyInfo = PolicyInfo {
    name: "duplex",
    summary: "static: the better of min-min and max-min",
    parameters: &[Batch::PARAMETER, PlannedOptions::PARAMETERS[0], PlannedOptions::PARAMETERS[1]],
    make,
};

fn make(label: &Label) -> Result<Box<dyn Policy>, LabelError> {
    planned_in_batches(
        INFO.name,
        "planned: the better of min-min and max-min",
        |batch| Duplex { batch },
        label,
    )
}

/// The planner.
#[derive(Clone, Copy, Debug, Default)]
pub struct Duplex {
    /// How many ready tasks are considered at one time.
    pub batch: Batch,
}

impl Planner for Duplex {
    fn plan(&self, problem: &Problem) -> Schedule {
        let batch = self.batch;
        let (min_min, max_min) = (MinMin { batch }.plan(problem), MaxMin { batch }.plan(problem));
        if max_min.makespan() < min_min.makespan() { max_min } else { min_min }
    }
}
