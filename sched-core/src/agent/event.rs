//! What goes into and comes out of the `Agent` machine: plain data.

use bytes::Bytes;
use isochrone_model::message::OrderBatch;
use isochrone_model::order::{BuildOutcome, SessionSecret};
use isochrone_model::units::{ByteRange, Span};
use isochrone_model::{
    AgentId, BoundArguments, BufferKey, CommandError, CommandId, DeviceIndex, KernelIndex, NdRange,
    ProgramKey, Region, Report, SessionId, SlotIndex, TaskId,
};
use serde::{Deserialize, Serialize};

/// One operation given to a device; grows by one with each. A completion names it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct OperationId(pub u64);

/// Input of the machine.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum AgentEvent {
    /// The scheduler's orders.
    Orders(OrderBatch),
    /// Another agent's task finished, and one of ours waits for it.
    Notice {
        /// The finished task.
        task: TaskId,
        /// The waiting task here.
        dependent: TaskId,
    },
    /// A replica has come in whole; the driver holds its bytes in the host store under `region`.
    Arrived {
        /// Which bytes.
        region: Region,
        /// Who sent it.
        from: AgentId,
    },
    /// A replica begins to come. Answered by `StreamIn` in the same step where it is to go to a device as it comes;
    /// otherwise the driver takes it in and says `Arrived`.
    ReplicaBegins {
        /// Which bytes.
        region: Region,
        /// Who sends it.
        from: AgentId,
    },
    /// A write's bytes begin to come. Answered by `StreamIn` in the same step where they are to go to a device as
    /// they come; otherwise the driver takes them in and says `PayloadArrived`.
    PayloadBegins {
        /// The write.
        task: TaskId,
        /// How many bytes will come.
        size_bytes: u64,
    },
    /// A write's bytes have come in whole; the driver holds them under the task until `StorePayload`.
    PayloadArrived {
        /// The write.
        task: TaskId,
        /// How many bytes.
        size_bytes: u64,
    },
    /// A write's bytes will not come whole.
    PayloadFailed {
        /// The write.
        task: TaskId,
        /// Why.
        reason: String,
    },
    /// A device ended an operation. For a download the driver has put the bytes in the host store.
    OperationDone(OperationDone),
    /// A device ended a build.
    Built {
        /// The program.
        program: ProgramKey,
        /// The device.
        device: DeviceIndex,
        /// How.
        outcome: BuildOutcome,
    },
    /// The driver could not deliver a replica to a peer, not even through the scheduler.
    PushFailed {
        /// Which bytes.
        region: Region,
        /// To whom.
        to: AgentId,
        /// Why.
        reason: String,
    },
    /// The driver has let go of the bytes it was sending (a push or a read's piece). Changes nothing yet.
    SendDone {
        /// Which bytes.
        region: Region,
    },
}

/// An operation ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct OperationDone {
    /// Which.
    pub operation: OperationId,
    /// The time it took on the device, or why it failed.
    pub outcome: Result<Span, OperationError>,
}

/// Why a device could not do an operation; the machine turns it into the command's error.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum OperationError {
    /// The driver refused the index space or the work-group.
    #[error("index space refused: {reason}")]
    NdRange {
        /// The driver's word.
        reason: String,
    },
    /// The device has no room for an allocation; the machine evicts and tries again where it can.
    #[error("device memory exhausted: {reason}")]
    OutOfMemory {
        /// The driver's word.
        reason: String,
    },
    /// A stream's bytes did not come, or could not be delivered.
    #[error("{reason}")]
    Lost {
        /// Why.
        reason: String,
    },
    /// Any other failure, with the call that failed.
    #[error("{call}: {reason}")]
    Failed {
        /// The OpenCL call.
        call: String,
        /// The driver's word.
        reason: String,
    },
}

/// An operation for one device.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Operation {
    /// Its number.
    pub id: OperationId,
    /// The device.
    pub device: DeviceIndex,
    /// The in-order lane: an operation starts when those before it on its lane have ended. Beside the
    /// device's slots there is one lane more, numbered as the count of slots, for moving bytes.
    pub slot: SlotIndex,
    /// What to do.
    pub kind: OperationKind,
}

/// What a device can be asked to do. Every operation ends with an `OperationDone`, which may be left out for `Free`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum OperationKind {
    /// Make device memory for a buffer, filled with zeros.
    Allocate {
        /// The buffer.
        buffer: BufferKey,
        /// Its size.
        size_bytes: u64,
    },
    /// Let go of a buffer's device memory once the operations before have ended. The machine waits for no end of
    /// it.
    Free {
        /// The buffer.
        buffer: BufferKey,
    },
    /// Copy a region from the host store to the device.
    Upload {
        /// Which bytes; wholly inside one piece of the host store.
        region: Region,
    },
    /// Copy a region from the device into the host store.
    Download {
        /// Which bytes.
        region: Region,
    },
    /// Run a kernel.
    Launch {
        /// The program.
        program: ProgramKey,
        /// The kernel of it.
        kernel: KernelIndex,
        /// The index space.
        range: NdRange,
        /// The arguments in order; buffers are allocated.
        arguments: BoundArguments,
    },
    /// Copy between two allocated buffers, or within one without overlap.
    Copy {
        /// Where from.
        source: BufferKey,
        /// Which bytes.
        source_range: ByteRange,
        /// Where to.
        target: BufferKey,
        /// First byte written.
        target_offset_bytes: u64,
    },
    /// Repeat a pattern over a part of an allocated buffer.
    Fill {
        /// The buffer.
        buffer: BufferKey,
        /// Which bytes.
        range: ByteRange,
        /// The pattern.
        pattern: Bytes,
    },
}

/// To whom a region is sent from a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum StreamTarget {
    /// Another agent.
    Agent {
        /// Which.
        to: AgentId,
    },
    /// A client, as part of a read.
    Session {
        /// Whose.
        session: SessionId,
        /// The read.
        command: CommandId,
        /// Where in the read the bytes belong.
        offset_bytes: u64,
    },
}

/// From whom a region comes to a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum StreamSource {
    /// Another agent.
    Agent {
        /// Which.
        from: AgentId,
    },
    /// A client: the bytes of a write.
    Payload {
        /// The write.
        task: TaskId,
    },
}

/// Output of the machine; the driver performs them in order.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum AgentAction {
    /// Give this to the device.
    Operate(Operation),
    /// Build a program on every device; each answers with `AgentEvent::Built`.
    Build {
        /// The program.
        program: ProgramKey,
        /// OpenCL C source.
        source: String,
        /// Compiler options.
        options: String,
    },
    /// Forget a built program.
    DropProgram {
        /// The program.
        program: ProgramKey,
    },
    /// Put these bytes into the host store.
    StoreBytes {
        /// Under this region.
        region: Region,
        /// The bytes.
        bytes: Bytes,
    },
    /// Put the bytes that came for a write into the host store.
    StorePayload {
        /// The write.
        task: TaskId,
        /// Under this region.
        region: Region,
    },
    /// Forget what came or comes for a write that was cancelled.
    DropPayload {
        /// The write.
        task: TaskId,
    },
    /// Remove a region from the host store: whatever of that buffer lies in the range.
    DropHost {
        /// The buffer.
        buffer: BufferKey,
        /// Which bytes.
        range: ByteRange,
    },
    /// Send a region from a device, piece by piece, without keeping it on the host. `OperationDone` follows: well
    /// once the receiver has all of it; otherwise the receiver must have been told that it is not whole. Until then
    /// the region stays as it is.
    StreamOut {
        /// The stream's number, among those of operations.
        stream: OperationId,
        /// The device.
        device: DeviceIndex,
        /// The lane for the operations that fetch the pieces.
        lane: SlotIndex,
        /// Which bytes.
        region: Region,
        /// To whom.
        target: StreamTarget,
    },
    /// Put what begins to come on a device, piece by piece. `OperationDone` follows: well once all of it is there.
    StreamIn {
        /// The stream's number, among those of operations.
        stream: OperationId,
        /// The device, which has memory for the buffer.
        device: DeviceIndex,
        /// The lane for the operations that put the pieces there.
        lane: SlotIndex,
        /// Which bytes.
        region: Region,
        /// From whom.
        source: StreamSource,
    },
    /// Send a region of the host store to another agent; `SendDone` or `PushFailed` follows. The
    /// region may span several pieces, and what no piece covers is zeros.
    SendReplica {
        /// Which bytes.
        region: Region,
        /// To whom.
        to: AgentId,
    },
    /// Send a region of the host store to a client as part of a read; `SendDone` follows.
    SendData {
        /// Whose.
        session: SessionId,
        /// The read.
        command: CommandId,
        /// Where in the read the bytes belong.
        offset_bytes: u64,
        /// Which bytes.
        region: Region,
    },
    /// Tell another agent that a task here has finished.
    SendNotice {
        /// To whom.
        to: AgentId,
        /// The finished task.
        task: TaskId,
        /// The task there that waits.
        dependent: TaskId,
    },
    /// Tell a client that its command has finished.
    SendDone {
        /// Whose.
        session: SessionId,
        /// The command.
        command: CommandId,
        /// Time on the device.
        execution: Span,
    },
    /// Tell the scheduler.
    Report(Report),
    /// A client with this secret may connect for this session.
    AdmitSession {
        /// The session.
        session: SessionId,
        /// The secret.
        secret: SessionSecret,
    },
    /// No client may connect for this session any more; forget its payloads.
    DismissSession {
        /// The session.
        session: SessionId,
    },
    /// Another agent, to be connected to ahead of need.
    PeerJoined {
        /// The agent.
        agent: AgentId,
        /// Its name, which its certificate must carry.
        name: String,
        /// Where it listens.
        address: String,
    },
    /// That agent left.
    PeerLeft {
        /// The agent.
        agent: AgentId,
    },
}

impl OperationError {
    /// The command's error when this ends it.
    #[must_use]
    pub fn into_command_error(self, device: String) -> CommandError {
        match self {
            Self::NdRange { reason } => CommandError::NdRangeRefused { device, reason },
            Self::OutOfMemory { reason } => {
                CommandError::Device { device, call: "allocation".to_owned(), reason }
            }
            Self::Lost { reason } => CommandError::PayloadLost { reason },
            Self::Failed { call, reason } => CommandError::Device { device, call, reason },
        }
    }
}
