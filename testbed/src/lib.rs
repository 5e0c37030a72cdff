//! A whole farm on one machine: scheduler and agents as processes or as tasks, with certificates of
//! their own; and graph files run on a farm, wherever it is.
//!
//! For `isochrone up` and `isochrone demo`, for tests and for benches. Must never decide anything that
//! a farm of real machines would decide otherwise: what runs here are the same drivers.

#![expect(clippy::result_large_err, reason = "farms start seldom: the size of an error costs nothing")]

mod certificates;
mod clock;
mod cluster_farm;
mod counters;
pub mod cpu;
mod devices;
mod error;
mod farm;
mod graph_run;
mod in_process;
mod links;
mod opencl_tests;
mod options;
mod process;
mod recorded;
mod task_graph_run;

pub use certificates::{Certificates, CertificatesError, LOCAL_NAME};
pub use cluster_farm::ClusterFarmError;
pub use counters::{Counters, DeviceUse, FarmUse};
pub use devices::Devices;
pub use error::{FarmError, Member};
pub use farm::Farm;
pub use graph_run::{Failure, Place, PreparedGraph, Progress, RunError, RunFailures, RunOptions, RunReport};
pub use isochrone_emulator as emulator;
pub use links::link_plan;
pub use opencl_tests::has_opencl;
pub use options::{AgentSpecification, FarmOptions, Hosting};
pub use process::{READY_LISTENING, ReadyLine};
pub use recorded::{ReadRecordingError, read_recording};
pub use task_graph_run::{
    TaskGraphReport, TaskGraphRunError, TaskWork, run_task_graph, run_task_graph_and_explain,
};
