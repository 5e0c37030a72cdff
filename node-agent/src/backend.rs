//! What the driver asks of devices, whatever they are.

use bytes::Bytes;
use isochrone_model::order::BuildOutcome;
use isochrone_model::{DeviceFacts, DeviceIndex, ProgramKey, Region};
use isochrone_sched_core::agent::{Operation, OperationDone};
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

    /// Called when the driver has given all that it has for now: work is handed to the devices.
    fn flush(&mut self);
}
