//! How this crate makes the `Scheduler` machine: for a live run and for a replay alike.
//!
//! It must never hold anything that a replay would not have too.

use isochrone_model::Limits;
use isochrone_sched_core::{CostSnapshot, PolicyError, Scheduler, SchedulerConfig};
use serde::{Deserialize, Serialize};

/// All that decides how a machine begins.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct MachineConfig {
    pub(crate) limits: Limits,
    pub(crate) policy: String,
    pub(crate) costs: Option<CostSnapshot>,
}

/// A machine that has seen nothing yet.
pub(crate) fn new_machine(config: MachineConfig) -> Result<Scheduler, PolicyError> {
    let MachineConfig { limits, policy, costs } = config;
    Scheduler::new(SchedulerConfig { limits, policy, costs }, isochrone_policies::registry())
}
