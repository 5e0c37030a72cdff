//! Streams between devices and peers or clients, under way in a farm in virtual time.

use bytes::Bytes;
use isochrone_model::{AgentId, DeviceIndex, Region};
use isochrone_sched_core::agent::{OperationDone, OperationError, OperationId, StreamSource, StreamTarget};

/// A stream from a device.
pub(crate) struct Outgoing {
    pub agent: AgentId,
    pub life: u32,
    pub stream: OperationId,
    pub device: DeviceIndex,
    pub region: Region,
    pub target: StreamTarget,
    /// The receiving agent's life when it began.
    pub to_life: u32,
    /// What was on the device when it began.
    pub bytes: Bytes,
}

/// A stream to a device.
pub(crate) struct Incoming {
    pub agent: AgentId,
    pub life: u32,
    pub stream: OperationId,
    pub device: DeviceIndex,
    pub region: Region,
    pub source: StreamSource,
    pub bytes: Bytes,
}

impl Outgoing {
    /// The end of a stream that broke.
    pub fn broken(stream: OperationId) -> OperationDone {
        let reason = "the stream broke".to_owned();
        OperationDone { operation: stream, outcome: Err(OperationError::Lost { reason }) }
    }
}
