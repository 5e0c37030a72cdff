//! Regions of device memory in the hands of the host: mapped, read or written where they lie, and unmapped when the
//! last who uses them lets go.
//!
//! Only on devices whose memory is the host's, where a mapping copies nothing. Must never decide who uses a region:
//! the machine sees to it that nothing writes what is read, and that nothing uses what is written.

use std::ptr::NonNull;
use std::time::Instant;

use bytes::buf::UninitSlice;
use bytes::{BufMut, Bytes};
use isochrone_sched_core::agent::{OperationDone, OperationId};
use opencl3::command_queue::flush;

use super::completion::{Enqueued, Flight, Kept, LaneEnd, Pending, Releaser};
use super::raw::{Memory, Queue};
use super::status::{Purpose, Status, refusal};
use crate::backend::{Access, BackendEvent, Opened, Room};

const CALL: &str = "clEnqueueUnmapMemObject";

/// A region that is being mapped, or is.
pub(super) struct Mapping {
    /// Where it lies for the host. Valid once the command that maps has ended well, until one that unmaps is enqueued.
    pub(super) start: NonNull<u8>,
    /// Its length.
    pub(super) bytes: usize,
    /// What for.
    pub(super) access: Access,
    /// The buffer.
    pub(super) memory: Memory,
    /// Where it is unmapped.
    pub(super) queue: Queue,
    /// By whom.
    pub(super) releaser: Releaser,
}

// SAFETY: mapped memory belongs to no thread. It is read through shared references and written through an exclusive
// one only, see `Lease`.
unsafe impl Send for Mapping {}
// SAFETY: as for `Send`.
unsafe impl Sync for Mapping {}

/// What tells the end of a mapping.
pub(super) struct Told {
    /// The operation that ends then.
    pub(super) operation: OperationId,
    /// When the mapping was asked for.
    pub(super) enqueued_at: Instant,
    /// The lane's clock.
    pub(super) lane_end: LaneEnd,
    /// Last, so that the count falls when all else has been let go.
    pub(super) flight: Flight,
}

/// A mapped region until it is dropped.
struct Lease {
    start: NonNull<u8>,
    bytes: usize,
    /// `None` only while dropping.
    held: Option<(Mapping, Told)>,
}

// SAFETY: as for `Mapping`.
unsafe impl Send for Lease {}
// SAFETY: as for `Mapping`.
unsafe impl Sync for Lease {}

impl Lease {
    fn new(mapping: Mapping, told: Told) -> Self {
        Self { start: mapping.start, bytes: mapping.bytes, held: Some((mapping, told)) }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        // By another thread: whoever drops this may hold a lock of QUIC's, and drivers take their time.
        if let Some((mapping, told)) = self.held.take() {
            mapping.releaser.clone().unmap(mapping, told);
        }
    }
}

/// A mapped region that is read.
struct ReadLease(Lease);

impl AsRef<[u8]> for ReadLease {
    fn as_ref(&self) -> &[u8] {
        // SAFETY: the region is mapped for reading until the lease is dropped; its buffer was filled when it was made, so
        // that every byte has a value. The machine holds off whatever would write over a region that is being sent. A
        // launch that writes what it was said to read only spoils the contents of its own session: they are copied
        // from here byte by byte, into packets or to another process, and nothing is decided by them.
        unsafe { std::slice::from_raw_parts(self.0.start.as_ptr(), self.0.bytes) }
    }
}

/// A mapped region that is written.
struct WriteLease {
    lease: Lease,
    written: usize,
}

// SAFETY: `chunk_mut` gives what lies behind the `written` bytes, and `advance_mut` never moves beyond the end.
unsafe impl BufMut for WriteLease {
    fn remaining_mut(&self) -> usize {
        self.lease.bytes - self.written
    }

    unsafe fn advance_mut(&mut self, count: usize) {
        assert!(count <= self.remaining_mut(), "no more is written than there is room for");
        self.written += count;
    }

    fn chunk_mut(&mut self) -> &mut UninitSlice {
        // SAFETY: the region is mapped for writing until the lease is dropped, `written` lies within it, and `self` is
        // the only way to it. No launch is given a region that is being received.
        unsafe {
            let start = self.lease.start.as_ptr().add(self.written);
            UninitSlice::from_raw_parts_mut(start, self.lease.bytes - self.written)
        }
    }
}

/// A region whose mapping has ended well, for the host to use.
pub(super) fn open(mapping: Mapping, told: Told) -> Opened {
    let access = mapping.access;
    let lease = Lease::new(mapping, told);
    match access {
        Access::Read => Opened::Contents(Bytes::from_owner(ReadLease(lease))),
        Access::Overwrite => Opened::Room(Room::new(WriteLease { lease, written: 0 })),
    }
}

/// Gives a region back to its device; the end is told when the device has it.
pub(super) fn unmap(mapping: Mapping, told: Told) {
    let Mapping { start, memory, queue, .. } = mapping;
    let Told { operation, enqueued_at, lane_end, flight } = told;
    // SAFETY: the region was mapped on this queue, and its lease has gone: nobody looks at it any more.
    match unsafe { queue.enqueue_unmap(&memory, start) } {
        Ok(event) => {
            if let Err(status) = flush(queue.get()) {
                tracing::warn!(status = %Status(status), "clFlush failed");
            }
            let command = Enqueued { call: CALL, purpose: Purpose::Other, event, kept: Kept::Nothing };
            Pending { operation, enqueued_at, lane_end, command, flight }.call_back_or_wait();
        }
        Err(status) => {
            let outcome = Err(refusal(CALL, status, Purpose::Other));
            let done = OperationDone { operation, outcome };
            flight.send(BackendEvent::Done { done, downloaded: None });
        }
    }
}
