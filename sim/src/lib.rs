//! The very machines of the live farm, `Scheduler` and `Agent`, joined over a virtual clock, a virtual
//! network and virtual devices that hold real bytes.
//!
//! Time passes only from event to event, and everything random comes from one seed, so that a run can be
//! repeated bit for bit. What a device or a link really does (the truth) is known here and never shown to
//! the machines; this crate must never reach into their state to decide anything.

pub mod adversary;
pub mod cluster;
pub mod explanation;
pub mod farm;
mod flaky;
pub mod kernels;
pub mod network;
pub mod plot;
pub mod processing;
pub mod replay;
pub mod run_report;
pub mod simulation;
mod site;
pub mod sources;
pub mod statistics;
mod streams;
pub mod study;
pub mod trace;

pub use isochrone_link::random;

pub use farm::{Farm, FarmOptions, LinkTruth, Outcome};

/// The guide's example is compiled and run as it is printed.
#[cfg(doctest)]
#[doc = include_str!("../../docs/writing-a-policy.md")]
struct WritingAPolicy;
