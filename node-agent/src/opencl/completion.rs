//! From the end of a command on a device to the event for the driver of the agent.
//!
//! No thread waits for one command each: the OpenCL driver calls back, or one thread for each queue
//! waits for that queue's oldest command. Either sends straight to the sink. Must never enqueue.

use std::ffi::c_void;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread::JoinHandle;
use std::time::Instant;

use bytes::Bytes;
use isochrone_model::units::Span;
use isochrone_model::{DeviceKind, Region};
use isochrone_sched_core::agent::{OperationDone, OperationError, OperationId};
use isochrone_transport::Rooms;
use opencl3::event::{
    CL_COMPLETE, CL_EVENT_COMMAND_EXECUTION_STATUS, CL_PROFILING_COMMAND_END, CL_PROFILING_COMMAND_START,
    get_event_info, get_event_profiling_info, set_event_callback, wait_for_events,
};
use opencl3::types::cl_event;
use serde::{Deserialize, Serialize};

use super::mapping::{self, Mapping, Told};
use super::raw::{Event, Memory};
use super::status::{Purpose, refusal};
use crate::backend::{BackendEvent, BackendSink};
use crate::clock;

/// How the end of a command is noticed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CompletionMode {
    /// Whichever was measured to be faster: `Poller` on graphics processors, `Callback` on others.
    #[default]
    Automatic,
    /// The OpenCL driver calls back from a thread of its own. NVIDIA's takes 10 to 20 us for it.
    Callback,
    /// One thread for each slot waits for the slot's oldest command. Drivers of graphics processors
    /// may spin in it, at the cost of a core while commands run.
    Poller,
}

impl CompletionMode {
    /// Whether a thread is to wait on a device of this kind.
    fn polls(self, kind: DeviceKind) -> bool {
        match (self, kind) {
            (Self::Poller, _) | (Self::Automatic, DeviceKind::Gpu) => true,
            (Self::Callback, _)
            | (Self::Automatic, DeviceKind::Cpu | DeviceKind::Accelerator | DeviceKind::Virtual) => false,
        }
    }
}

/// What completions of all devices need: where to tell, and how many are still to come.
pub(super) struct Outlet {
    sink: BackendSink,
    in_flight: AtomicUsize,
    /// Memory for downloads.
    pub(super) rooms: Rooms,
}

impl Outlet {
    pub(super) fn new(sink: BackendSink) -> Arc<Self> {
        Arc::new(Self { sink, in_flight: AtomicUsize::new(0), rooms: Rooms::default() })
    }

    /// Tells the driver; a driver that has gone no longer wants to know.
    pub(super) fn send(&self, event: BackendEvent) {
        let _gone = self.sink.send(event);
    }

    /// Tells that an operation failed before it reached a queue.
    pub(super) fn fail(&self, operation: OperationId, error: OperationError) {
        self.send(BackendEvent::Done {
            done: OperationDone { operation, outcome: Err(error) },
            downloaded: None,
        });
    }

    /// Commands whose end has not been told yet.
    pub(super) fn in_flight(&self) -> usize {
        self.in_flight.load(Ordering::Acquire)
    }
}

/// Counts a command until it is dropped.
pub(super) struct Flight(Arc<Outlet>);

impl Flight {
    /// Tells the driver of this command.
    pub(super) fn send(&self, event: BackendEvent) {
        self.0.send(event);
    }

    fn new(outlet: &Arc<Outlet>) -> Self {
        outlet.in_flight.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(outlet))
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Ordering::Release);
    }
}

/// Memory of the host that a command uses until it has ended.
pub(super) enum Kept {
    /// None.
    Nothing,
    /// An upload.
    Upload {
        /// What the device reads.
        _bytes: Bytes,
    },
    /// Room for a download: its length is zero until the device has written all of its capacity asked for.
    Download {
        /// The region that will be in it.
        region: Region,
        /// The room, with at least the region's length reserved.
        room: Vec<u8>,
    },
    /// Device memory that is let go at the end, before that is told.
    Memory {
        /// Sub-buffers before their whole.
        memory: Vec<Memory>,
        /// Where it is let go.
        releaser: Releaser,
    },
    /// A region that is open to the host from the end on: the operation ends later.
    Mapping(Mapping),
}

/// Lets go of device memory on a thread of its own: drivers unmap pages, or wait for all that runs on
/// the device, and neither the thread that enqueues nor one that tells completions may be held up.
#[derive(Clone)]
pub(super) struct Releaser(mpsc::Sender<Release>);

enum Release {
    Memory {
        memory: Vec<Memory>,
        done: OperationDone,
        /// Last, so that the count falls when all else has been let go.
        flight: Flight,
    },
    Mapping(Mapping, Told),
}

impl Releaser {
    /// The thread ends when the last clone has gone.
    pub(super) fn start() -> std::io::Result<Self> {
        let (releases, queue) = mpsc::channel::<Release>();
        std::thread::Builder::new().name("opencl-release".to_owned()).spawn(move || {
            for release in queue {
                release.perform();
            }
        })?;
        Ok(Self(releases))
    }

    /// Gives a mapped region back.
    pub(super) fn unmap(&self, mapping: Mapping, told: Told) {
        self.release(Release::Mapping(mapping, told));
    }

    fn release(&self, release: Release) {
        if let Err(error) = self.0.send(release) {
            error.0.perform();
        }
    }
}

impl Release {
    fn perform(self) {
        match self {
            Self::Memory { memory, done, flight } => {
                drop(memory);
                flight.send(BackendEvent::Done { done, downloaded: None });
            }
            Self::Mapping(mapping, told) => mapping::unmap(mapping, told),
        }
    }
}

/// A command that a queue has taken.
pub(super) struct Enqueued {
    /// The OpenCL call, for errors.
    pub(super) call: &'static str,
    /// What a lack of resources would mean.
    pub(super) purpose: Purpose,
    /// Its event.
    pub(super) event: Event,
    /// What it uses until it ends.
    pub(super) kept: Kept,
}

/// A command on its way.
pub(super) struct Pending {
    /// The operation that it is, or ends.
    pub(super) operation: OperationId,
    /// When.
    pub(super) enqueued_at: Instant,
    /// Its lane's clock.
    pub(super) lane_end: LaneEnd,
    /// What was enqueued.
    pub(super) command: Enqueued,
    /// Last, so that the count falls when all else has been let go.
    pub(super) flight: Flight,
}

impl Pending {
    /// Tells the end. `status` is `CL_COMPLETE` or negative.
    fn finish(self, status: i32) {
        let Self { operation, enqueued_at, lane_end, command, flight } = self;
        let Enqueued { call, purpose, event, kept } = command;
        let outcome = if status < 0 {
            Err(refusal(call, status, purpose))
        } else {
            Ok(profiled(&event).unwrap_or_else(|| lane_end.advance(enqueued_at)))
        };
        let downloaded = match kept {
            Kept::Memory { memory, releaser } => {
                let done = OperationDone { operation, outcome };
                return releaser.release(Release::Memory { memory, done, flight });
            }
            Kept::Mapping(mapping) if outcome.is_ok() => {
                let outlet = Arc::clone(&flight.0);
                let told = Told { operation, enqueued_at, lane_end, flight };
                let opened = mapping::open(mapping, told);
                return outlet.send(BackendEvent::Opened { operation, opened });
            }
            Kept::Download { region, mut room } if outcome.is_ok() => {
                // The length was checked against `usize` when the room was made.
                let length = usize::try_from(region.range.len()).unwrap_or(0).min(room.capacity());
                // SAFETY: the room has that capacity, and the read that ended well wrote all of it.
                unsafe { room.set_len(length) };
                Some((region, flight.0.rooms.filled(room)))
            }
            Kept::Nothing | Kept::Upload { .. } | Kept::Download { .. } | Kept::Mapping(_) => None,
        };
        flight.0.send(BackendEvent::Done { done: OperationDone { operation, outcome }, downloaded });
        drop(event);
        drop(flight);
    }

    /// Has the OpenCL driver call back, or waits for the end on this thread.
    pub(super) fn call_back_or_wait(self) {
        if let Err(pending) = call_back(self) {
            pending.finish_after_wait();
        }
    }

    /// Waits for the end on this thread, then tells it.
    fn finish_after_wait(self) {
        let status = match wait_for_events(&[self.command.event.get()]) {
            Ok(()) => CL_COMPLETE,
            // The wait only tells that the command failed; its own status tells why.
            Err(waited) => {
                match get_event_info(self.command.event.get(), CL_EVENT_COMMAND_EXECUTION_STATUS) {
                    Ok(status) => match i32::from(status) {
                        status if status < 0 => status,
                        _ => waited,
                    },
                    Err(_) => waited,
                }
            }
        };
        self.finish(status);
    }
}

/// The time on the device by its own clock; `None` where the device does not tell.
fn profiled(event: &Event) -> Option<Span> {
    let told = |parameter| get_event_profiling_info(event.get(), parameter).ok().map(u64::from);
    let start = told(CL_PROFILING_COMMAND_START)?;
    let end = told(CL_PROFILING_COMMAND_END)?;
    (start != 0 && end >= start).then(|| Span(end - start))
}

/// When a lane's last command was seen to end. Where a device tells no times, a command of an in-order
/// lane took from then, or from when it was given, to its own end.
#[derive(Clone, Default)]
pub(super) struct LaneEnd(Arc<Mutex<Option<Instant>>>);

impl LaneEnd {
    fn advance(&self, enqueued_at: Instant) -> Span {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let now = clock::now();
        let start = last.map_or(enqueued_at, |last| last.max(enqueued_at));
        *last = Some(now);
        now.saturating_duration_since(start).into()
    }
}

/// Notices the ends of one queue's commands.
pub(super) struct Watcher {
    has_poller: bool,
    lane_end: LaneEnd,
    outlet: Arc<Outlet>,
    poller: Option<Poller>,
}

struct Poller {
    /// `None` only while dropping.
    commands: Option<mpsc::Sender<Pending>>,
    thread: Option<JoinHandle<()>>,
}

impl Watcher {
    pub(super) fn new(mode: CompletionMode, kind: DeviceKind, outlet: Arc<Outlet>) -> Self {
        Self { has_poller: mode.polls(kind), lane_end: LaneEnd::default(), outlet, poller: None }
    }

    /// Takes on a command; exactly one `Done` will be sent for it.
    pub(super) fn watch(&mut self, operation: OperationId, enqueued_at: Instant, command: Enqueued) {
        let lane_end = self.lane_end.clone();
        let pending =
            Pending { operation, enqueued_at, lane_end, command, flight: Flight::new(&self.outlet) };
        let pending = if self.has_poller { Err(pending) } else { call_back(pending) };
        if let Err(pending) = pending {
            self.poll(pending);
        }
    }

    fn poll(&mut self, pending: Pending) {
        if self.poller.is_none() {
            self.poller = Poller::start();
        }
        let rejected = match self.poller.as_ref().and_then(|poller| poller.commands.as_ref()) {
            Some(commands) => commands.send(pending).err().map(|error| error.0),
            None => Some(pending),
        };
        if let Some(pending) = rejected {
            // No thread to be had: waiting here is slow, losing the completion would be wrong.
            pending.finish_after_wait();
        }
    }
}

impl Poller {
    fn start() -> Option<Self> {
        let (commands, queue) = mpsc::channel::<Pending>();
        let thread = std::thread::Builder::new().name("opencl-poller".to_owned()).spawn(move || {
            for pending in queue {
                pending.finish_after_wait();
            }
        });
        match thread {
            Ok(thread) => Some(Self { commands: Some(commands), thread: Some(thread) }),
            Err(error) => {
                tracing::warn!(%error, "no thread for completions");
                None
            }
        }
    }
}

impl Drop for Poller {
    fn drop(&mut self) {
        self.commands = None;
        if let Some(thread) = self.thread.take() {
            let _panicked = thread.join();
        }
    }
}

/// Asks the OpenCL driver to call back; gives the command back where it does not want to.
#[expect(
    clippy::result_large_err,
    reason = "the error is the command itself, moved once, on a path never taken"
)]
fn call_back(pending: Pending) -> Result<(), Pending> {
    // The callback may run, and release the event, before the call that sets it has returned.
    let Ok(event) = pending.command.event.again() else { return Err(pending) };
    let pending = Box::into_raw(Box::new(pending));
    match set_event_callback(event.get(), CL_COMPLETE, on_complete, pending.cast()) {
        Ok(()) => Ok(()),
        Err(status) => {
            tracing::warn!(status, "an event takes no callback; a thread waits for it instead");
            // SAFETY: the pointer came from `Box::into_raw`, and the driver refused to call back with it.
            Err(*unsafe { Box::from_raw(pending) })
        }
    }
}

extern "C" fn on_complete(_event: cl_event, status: i32, pending: *mut c_void) {
    // A panic must not unwind into the OpenCL driver.
    let finished = catch_unwind(AssertUnwindSafe(|| {
        // SAFETY: the pointer came from `Box::into_raw` in `call_back`, and OpenCL calls once for each event.
        let pending = unsafe { Box::from_raw(pending.cast::<Pending>()) };
        pending.finish(status);
    }));
    if finished.is_err() {
        tracing::error!("telling the end of a command panicked");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_automatic_mode_goes_by_the_kind() {
        assert!(CompletionMode::Automatic.polls(DeviceKind::Gpu));
        assert!(!CompletionMode::Automatic.polls(DeviceKind::Cpu));
        assert!(CompletionMode::Poller.polls(DeviceKind::Cpu));
        assert!(!CompletionMode::Callback.polls(DeviceKind::Gpu));
    }

    #[test]
    fn without_a_device_clock_commands_of_a_lane_do_not_count_the_wait_for_those_before() {
        let lane_end = LaneEnd::default();
        let enqueued_at = clock::now();
        std::thread::sleep(std::time::Duration::from_millis(20));
        let first = lane_end.advance(enqueued_at);
        let second = lane_end.advance(enqueued_at);
        assert!(first >= Span::from_millis(20), "{first}");
        assert!(second < Span::from_millis(20), "{second}");
    }
}
