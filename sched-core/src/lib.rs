//! The machines of Isochrone: pure state machines that decide, for the live farm and the simulator alike.
//!
//! Time is an argument, input is an event, output is a list of actions. This crate must never hold
//! input or output, a clock, a thread, anything async, or anything that differs between live and
//! simulated runs.

pub mod agent;
pub mod costs;
pub mod dag;
pub mod distribution;
mod few;
mod hashing;
pub mod paths;
pub mod policy;
pub mod range_map;
pub mod scheduler;
pub mod view;

pub use agent::{Agent, AgentAction, AgentConfig, AgentEvent};
pub use costs::{
    Basis, CostModel, CostSnapshot, Estimate, KernelName, KernelRow, StatedCosts, StatedDuration,
    StatedKernel, StatedLink,
};
pub use dag::{Dag, DependencyKind, TaskIndex};
pub use policy::{CandidateEstimate, Change, Plan, Policy, PolicyLabel, PolicyRegistry, Rejection};
pub use scheduler::{Action, BackupCounts, Event, PolicyError, Scheduler, SchedulerConfig, Timer};
pub use view::{InputReplica, LegalityKey, TaskInput, TaskShape, View};
