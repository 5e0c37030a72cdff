//! A recorded live run once more, under the recorded policy or another: what would that one have done?
//!
//! [`Recorder`] watches a journal being stepped again and keeps what no policy decides: who joined, what clients asked for
//! and when, what kernels took, what links were measured to do. [`Recording::run`] gives all of that to the very same
//! machines over virtual time. Must never know of files: who reads journals shows their steps.
//!
//! **Clients** are as eager as they were: what a client asked for while the farm had nothing open it asks for so long after
//! the farm's last end as it did then (it waited for something), everything else so long after what it asked for before.
//!
//! **Durations.** A launch takes on the device where it ran what it took there. Elsewhere it takes the median of the launches of
//! its kernel with as many work-items there; else its kernel's time there, scaled with the work-items; else what it took,
//! scaled by what other kernels say of the two devices, and if none does, by the devices' own facts. Builds end as they did,
//! and take as long.
//!
//! **Links** have half the median of the round trips that were measured between scheduler and agents, between agents, and
//! between scheduler and client, and the rates at which larger contents came. Where nothing was measured, the way goes
//! over the scheduler. What peers did outside the scheduler's sight is not in a journal: the time of a launch on its way through a
//! driver, and what a message costs, are the network model's.

mod durations;
mod recording;
mod rerun;

pub use durations::{Durations, LaunchKey};
pub use recording::{Recorder, Recording, RecordingError};
pub use rerun::{Rerun, RerunDevice, RerunError};
