//! The words of Isochrone: ids, units, commands, facts and message payloads.
//!
//! Everything here is plain data that can be compared, ordered and serialised. This crate must never
//! hold behaviour of the farm: no clock, no input or output, no policy, no state machine.

pub mod command;
pub mod error;
pub mod facts;
pub mod ids;
pub mod kernel;
pub mod limits;
pub mod links;
pub mod message;
pub mod order;
pub mod shared_list;
pub mod suggestion;
pub mod units;

pub use command::{Access, Argument, BufferArgument, Command, CommandKind, Launch, NdRange, Payload};
pub use error::CommandError;
pub use facts::{AgentFacts, DeviceFacts, DeviceKind, LinkFacts};
pub use ids::{
    AgentId, Attempt, BufferId, BufferKey, CommandId, DeviceId, DeviceIndex, KernelIndex, ProgramId,
    ProgramKey, SessionId, SlotId, SlotIndex, TaskId, TenantId, Version,
};
pub use kernel::{AddressSpace, ArgumentInfo, KernelSignature};
pub use limits::Limits;
pub use links::{LinkEnd, LinkStatus, PathSample, RoundTripStatus, TransferParts};
pub use order::{
    BoundArgument, BoundArguments, Lane, Order, Region, Report, TaskOrder, TaskOutcome, TaskWait, Work,
};
pub use shared_list::SharedList;
pub use units::{ByteRange, BytesPerSecond, Span, Timestamp};
