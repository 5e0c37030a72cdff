//! One run of a task graph on a simulated cluster: the live farm's own `Scheduler` and `Agent` machines over a virtual
//! clock, a network model and devices that take as long as the cluster file says.
//!
//! Holds the truth of the run (durations, links) and never shows it to a policy, except through what the experiment's
//! [`Knowledge`] states. No bytes are kept: contents are only regions that move.

mod calendar;
mod engine;
mod farm_facts;
mod knowledge;
mod measures;
mod measuring;
mod outcome;
mod problem;
mod site;
mod truth;

pub use engine::{Simulation, SimulationError, Stopwatch};
pub use knowledge::{Knowledge, KnowledgeError};
pub use measures::{Measures, Yardstick};
pub use outcome::{DeviceRun, Outcome, OutrunRun, TaskDecision, TaskRun, TransferRun};
pub use problem::problem;
pub(crate) use site::Site;
