//! Facts about agents, devices and links, as they are told, not as they are estimated.

use serde::{Deserialize, Serialize};

use crate::units::{BytesPerSecond, Span};

/// What sort of device it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum DeviceKind {
    /// A host processor.
    Cpu,
    /// A graphics processor.
    Gpu,
    /// Another accelerator.
    Accelerator,
    /// Modelled: it moves bytes but only waits for its kernels.
    Virtual,
}

/// One OpenCL device of an agent.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DeviceFacts {
    /// The device's own name.
    pub name: String,
    /// The platform it belongs to.
    pub platform: String,
    /// The driver's version.
    pub driver: String,
    /// What sort of device it is.
    pub kind: DeviceKind,
    /// Compute units.
    pub compute_units: u32,
    /// Highest clock in MHz; 0 when the driver does not say.
    pub clock_mhz: u32,
    /// Global memory in bytes.
    pub memory_bytes: u64,
    /// The largest single buffer in bytes.
    pub buffer_bytes_max: u64,
    /// Local memory of a work-group in bytes.
    pub local_memory_bytes: u64,
    /// The largest work-group.
    pub work_group_size_max: u64,
    /// Alignment that the origin of a sub-buffer must have, in bytes.
    pub sub_buffer_alignment_bytes: u64,
    /// Whether kernels may use double precision.
    pub has_fp64: bool,
    /// How many in-order lanes the agent runs on it; at least 1.
    pub slots: u16,
    /// Rough speed in work-items each microsecond, a prior until durations are measured; at least 1.
    pub prior_items_per_us: u64,
    /// Time that one launch takes on the device whatever its size, a prior.
    pub prior_launch: Span,
    /// Rate between host memory and the device, a prior.
    pub prior_host_rate: BytesPerSecond,
}

/// An agent as it introduces itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AgentFacts {
    /// The name in its certificate.
    pub name: String,
    /// The address on which peers and clients reach it, as `ip:port`.
    pub address: String,
    /// Its devices; a device's place here is its `DeviceIndex`.
    pub devices: Vec<DeviceFacts>,
    /// Bytes of host memory that replicas may take.
    pub host_memory_bytes: u64,
}

/// What has been measured of the path between two parties.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LinkFacts {
    /// Smoothed round-trip time.
    pub round_trip: Span,
    /// Rate of the last transfer large enough to tell; `None` until there was one.
    pub rate: Option<BytesPerSecond>,
}
