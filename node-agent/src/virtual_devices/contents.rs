//! The bytes of virtual devices' buffers, and the thread that moves many of them.
//!
//! Movements happen one at a time in the order in which they were given, whatever their lanes: then each
//! finds what those before it left. Must never wait for modelled time.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::thread::JoinHandle;

use bytes::Bytes;
use isochrone_model::Region;
use isochrone_sched_core::agent::OperationError;

use super::timeline::{Moved, Ticket, Timeline};

/// Bytes that are moved at once by the thread that enqueues: about as long as waking another takes.
const INLINE_BYTES_MAX: usize = 64 << 10;

/// The bytes of one buffer.
#[derive(Clone)]
pub(super) struct Contents(Arc<Mutex<Memory>>);

struct Memory {
    size_bytes: usize,
    /// Empty until something is written: farms of many devices on one host rarely touch all of it.
    bytes: Vec<u8>,
}

impl Contents {
    /// Zeros.
    pub(super) fn new(size_bytes: usize) -> Self {
        Self(Arc::new(Mutex::new(Memory { size_bytes, bytes: Vec::new() })))
    }

    fn lock(&self) -> MutexGuard<'_, Memory> {
        // Copies between slices of checked lengths do not panic.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Memory {
    /// All of the bytes, made at their first use.
    fn written(&mut self) -> Result<&mut [u8], OperationError> {
        if self.bytes.len() < self.size_bytes {
            self.bytes.try_reserve_exact(self.size_bytes).map_err(|error| OperationError::OutOfMemory {
                reason: format!("no host memory for a buffer of {} bytes: {error}", self.size_bytes),
            })?;
            self.bytes.resize(self.size_bytes, 0);
        }
        Ok(&mut self.bytes)
    }
}

/// Bytes to be moved. Ranges have been checked against the buffers.
pub(super) enum Movement {
    /// From the host.
    Upload { target: Contents, offset: usize, bytes: Bytes },
    /// To the host.
    Download { source: Contents, offset: usize, size: usize, region: Region },
    /// Within the device.
    Copy { source: Contents, source_offset: usize, target: Contents, target_offset: usize, size: usize },
    /// A pattern, again and again.
    Fill { target: Contents, offset: usize, size: usize, pattern: Bytes },
}

impl Movement {
    fn run(self) -> Moved {
        match self {
            Self::Upload { target, offset, bytes } => {
                target.lock().written()?[offset..offset + bytes.len()].copy_from_slice(&bytes);
                Ok(None)
            }
            Self::Download { source, offset, size, region } => {
                let source = source.lock();
                let bytes = match source.bytes.get(offset..offset + size) {
                    Some(bytes) => Bytes::copy_from_slice(bytes),
                    None => Bytes::from(vec![0; size]),
                };
                Ok(Some((region, bytes)))
            }
            Self::Copy { source, source_offset, target, target_offset, size } => {
                if Arc::ptr_eq(&source.0, &target.0) {
                    let mut memory = source.lock();
                    memory.written()?.copy_within(source_offset..source_offset + size, target_offset);
                } else {
                    let source = source.lock();
                    let mut target = target.lock();
                    let room = &mut target.written()?[target_offset..target_offset + size];
                    match source.bytes.get(source_offset..source_offset + size) {
                        Some(bytes) => room.copy_from_slice(bytes),
                        None => room.fill(0),
                    }
                }
                Ok(None)
            }
            Self::Fill { target, offset, size, pattern } => {
                let mut target = target.lock();
                for piece in target.written()?[offset..offset + size].chunks_mut(pattern.len().max(1)) {
                    piece.copy_from_slice(&pattern[..piece.len()]);
                }
                Ok(None)
            }
        }
    }

    /// How many bytes the host touches for it.
    fn touched_bytes(&self) -> usize {
        let of = |contents: &Contents, moved: usize| {
            let memory = contents.lock();
            if memory.bytes.is_empty() { memory.size_bytes.max(moved) } else { moved }
        };
        match self {
            Self::Upload { target, bytes, .. } => of(target, bytes.len()),
            Self::Download { size, .. } => *size,
            Self::Copy { target, size, .. } | Self::Fill { target, size, .. } => of(target, *size),
        }
    }
}

/// Moves bytes in the order given.
pub(super) struct Mover {
    timeline: Timeline,
    /// Movements given to the thread that have not ended.
    open: Arc<AtomicUsize>,
    movements: Option<mpsc::Sender<(Ticket, Movement)>>,
    thread: Option<JoinHandle<()>>,
}

impl Mover {
    pub(super) fn start(timeline: Timeline) -> std::io::Result<Self> {
        let open = Arc::new(AtomicUsize::new(0));
        let (movements, queue) = mpsc::channel::<(Ticket, Movement)>();
        let (of_thread, still_open) = (timeline.clone(), Arc::clone(&open));
        let thread = std::thread::Builder::new().name("virtual-memory".to_owned()).spawn(move || {
            for (ticket, movement) in queue {
                let moved = movement.run();
                of_thread.settle(ticket, moved);
                still_open.fetch_sub(1, Ordering::Release);
            }
        })?;
        Ok(Self { timeline, open, movements: Some(movements), thread: Some(thread) })
    }

    /// Moves bytes for an operation of the timeline: here when they are few and none wait, else behind
    /// those that wait.
    pub(super) fn take(&self, ticket: Ticket, movement: Movement) {
        let is_idle = self.open.load(Ordering::Acquire) == 0;
        if is_idle && movement.touched_bytes() <= INLINE_BYTES_MAX {
            self.timeline.settle(ticket, movement.run());
            return;
        }
        self.open.fetch_add(1, Ordering::Relaxed);
        let rejected = match &self.movements {
            Some(movements) => movements.send((ticket, movement)).err().map(|error| error.0),
            None => Some((ticket, movement)),
        };
        if let Some((ticket, _)) = rejected {
            self.open.fetch_sub(1, Ordering::Release);
            let error = OperationError::Failed {
                call: "virtual memory".to_owned(),
                reason: "the thread that moves bytes has ended".to_owned(),
            };
            self.timeline.settle(ticket, Err(error));
        }
    }
}

impl Drop for Mover {
    fn drop(&mut self) {
        self.movements = None;
        if let Some(thread) = self.thread.take() {
            let _panicked = thread.join();
        }
    }
}
