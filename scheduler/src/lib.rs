//! The live scheduler: the driver of the `Scheduler` machine.
//!
//! One loop owns the machine; connections feed it and are fed by it. This crate keeps sessions and
//! their secrets, the journal, measured costs between runs, and relays what two peers cannot say to
//! each other directly. It must never decide where anything runs: the machine and its policies do.

mod clock;
mod connections;
mod costs;
mod driver;
mod journal;
mod machine;
mod options;
mod orders;
mod questions;
mod relay;
mod run;
mod validate;

pub use costs::CostsError;
pub use journal::{
    JournalError, JournalStart, JournalVisitor, Mismatch, ReplayError, ReplayReport, replay, replay_visited,
};
pub use options::{DEFAULT_POLICY, SchedulerOptions};
pub use run::{BoundScheduler, StartError, run_scheduler};
