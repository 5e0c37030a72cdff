//! What the driver asks of devices, whatever they are.

use std::fmt;

use bytes::{BufMut, Bytes};
use isochrone_model::order::BuildOutcome;
use isochrone_model::{DeviceFacts, DeviceIndex, ProgramKey, Region, SlotIndex};
use isochrone_sched_core::agent::{Operation, OperationDone, OperationId};
use tokio::sync::mpsc;

/// What a backend tells the driver, from any thread.
#[derive(Debug)]
pub enum BackendEvent {
    /// An operation ended. `downloaded` holds the bytes of a download that succeeded.
    Done {
        /// Which operation, and how it ended.
        done: OperationDone,
        /// The region and its bytes, for a download.
        downloaded: Option<(Region, Bytes)>,
    },
    /// A region is open to the host. The operation's `Done` follows once what is given here has been dropped.
    Opened {
        /// Which operation.
        operation: OperationId,
        /// What the host may use.
        opened: Opened,
    },
    /// A device ended a build.
    Built {
        /// The program.
        program: ProgramKey,
        /// The device.
        device: DeviceIndex,
        /// How.
        outcome: BuildOutcome,
    },
}

/// Where a backend sends its events. Unbounded, because what can be in flight is bounded already by
/// `Limits::slot_depth_max` and by the operations that the machine has open.
pub type BackendSink = mpsc::UnboundedSender<BackendEvent>;

/// What the host does with a region of a device that is open to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// It reads what is there. Launches may read it meanwhile.
    Read,
    /// It writes all of it anew. Nothing else may use it meanwhile.
    Overwrite,
}

/// A request to open a region of a device to the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Opening {
    /// The operation's number; it ends when the region is closed again.
    pub id: OperationId,
    /// The device.
    pub device: DeviceIndex,
    /// The lane: what was given to it before comes first.
    pub lane: SlotIndex,
    /// Which bytes; not none.
    pub region: Region,
    /// What for.
    pub access: Access,
}

/// Memory of a device in the hands of the host, which gives it back by dropping it.
#[derive(Debug)]
pub enum Opened {
    /// For `Access::Read`: the device's own bytes. Given back when the last of their clones and slices has gone.
    Contents(Bytes),
    /// For `Access::Overwrite`.
    Room(Room),
}

/// A region of a device that the host writes from its start. What it does not write is undefined.
pub struct Room(Box<dyn BufMut + Send>);

impl Room {
    /// Has room for exactly the region.
    #[must_use]
    pub fn new(room: impl BufMut + Send + 'static) -> Self {
        Self(Box::new(room))
    }

    /// Where to put the bytes.
    pub fn bytes_mut(&mut self) -> &mut (dyn BufMut + Send) {
        &mut *self.0
    }
}

impl fmt::Debug for Room {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Room").field("missing_bytes", &self.0.remaining_mut()).finish()
    }
}

/// The devices of one agent.
///
/// No call blocks for the length of a device operation: calls enqueue, events tell the end. Every
/// operation given ends in exactly one `BackendEvent::Done`, whatever happens.
pub trait Backend: Send {
    /// The devices; a device's place is its `DeviceIndex`.
    fn devices(&self) -> &[DeviceFacts];

    /// Starts building a program on every device; each device answers with one `BackendEvent::Built`.
    /// Building takes seconds and must not hold up operations.
    fn build(&mut self, program: ProgramKey, source: &str, options: &str);

    /// Lets go of a program once the launches given before have ended.
    fn drop_program(&mut self, program: ProgramKey);

    /// Enqueues an operation. Beside its slots a device has one more lane, numbered `DeviceFacts::slots`, for
    /// moving bytes while launches run. `upload` holds the bytes of an upload, and is `None` for all others.
    fn perform(&mut self, operation: Operation, upload: Option<Bytes>);

    /// Whether the memory of a device is the host's, so that `open` suits better than uploads and downloads. Default no.
    fn shares_memory(&self, _device: DeviceIndex) -> bool {
        false
    }

    /// Opens a region of a device that shares the host's memory: `BackendEvent::Opened` follows, and `Done` when it was
    /// given back; or `Done` alone, with an error, as it is for every other device.
    fn open(&mut self, opening: Opening);

    /// Called when the driver has given all that it has for now: work is handed to the devices.
    fn flush(&mut self);
}
