//! A driver in miniature: gives operations to a backend and waits for their ends.

#![expect(clippy::disallowed_methods, reason = "waiting ends at some time")]

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use bytes::Bytes;
use isochrone_model::order::BuildOutcome;
use isochrone_model::units::{ByteRange, Span};
use isochrone_model::{
    BoundArgument, BufferId, BufferKey, DeviceIndex, KernelIndex, NdRange, ProgramKey, Region, SessionId,
    SlotIndex, Version,
};
use isochrone_node_agent::backend::{Access, Opened, Opening};
use isochrone_node_agent::{Backend, BackendEvent};
use isochrone_sched_core::agent::{Operation, OperationError, OperationId, OperationKind};
use tokio::sync::mpsc::UnboundedReceiver;

/// How an operation ended.
pub type Ending = (Result<Span, OperationError>, Option<(Region, Bytes)>);

pub struct Harness<B: Backend> {
    pub backend: B,
    events: UnboundedReceiver<BackendEvent>,
    given: u64,
    /// Ends that came while waiting for others, and the order in which all came.
    ended: BTreeMap<OperationId, Ending>,
    pub order: Vec<OperationId>,
    opened: BTreeMap<OperationId, Opened>,
    built: Vec<(ProgramKey, DeviceIndex, BuildOutcome)>,
}

pub fn key(number: u64) -> BufferKey {
    BufferKey { session: SessionId(1), buffer: BufferId(number) }
}

pub fn region(number: u64, start: u64, end: u64) -> Region {
    Region { buffer: key(number), range: ByteRange::new(start, end), version: Version(1) }
}

pub fn whole(number: u64) -> BoundArgument {
    BoundArgument::Buffer { buffer: key(number), part: None }
}

pub fn part(number: u64, start: u64, end: u64) -> BoundArgument {
    BoundArgument::Buffer { buffer: key(number), part: Some(ByteRange::new(start, end)) }
}

pub fn scalar(value: u32) -> BoundArgument {
    BoundArgument::Scalar(Bytes::copy_from_slice(&value.to_le_bytes()))
}

pub fn launch(kernel: u16, items: u64, arguments: Vec<BoundArgument>) -> OperationKind {
    launch_over(kernel, NdRange::linear(items), arguments)
}

pub fn launch_over(kernel: u16, range: NdRange, arguments: Vec<BoundArgument>) -> OperationKind {
    OperationKind::Launch {
        program: ProgramKey(1),
        kernel: KernelIndex(u32::from(kernel)),
        range,
        arguments: arguments.into(),
    }
}

pub fn allocate(number: u64, size_bytes: u64) -> OperationKind {
    OperationKind::Allocate { buffer: key(number), size_bytes }
}

impl<B: Backend> Harness<B> {
    pub fn new(backend: B, events: UnboundedReceiver<BackendEvent>) -> Self {
        Self {
            backend,
            events,
            given: 0,
            ended: BTreeMap::new(),
            order: Vec::new(),
            opened: BTreeMap::new(),
            built: Vec::new(),
        }
    }

    /// Gives an operation without waiting.
    pub fn give(&mut self, slot: u16, kind: OperationKind, upload: Option<Bytes>) -> OperationId {
        self.give_to(DeviceIndex(0), slot, kind, upload)
    }

    pub fn give_to(
        &mut self,
        device: DeviceIndex,
        slot: u16,
        kind: OperationKind,
        upload: Option<Bytes>,
    ) -> OperationId {
        self.given += 1;
        let id = OperationId(self.given);
        self.backend.perform(Operation { id, device, slot: SlotIndex(slot), kind }, upload);
        id
    }

    /// Asks for a region of the first device, without waiting.
    pub fn open(&mut self, slot: u16, region: Region, access: Access) -> OperationId {
        self.given += 1;
        let id = OperationId(self.given);
        let (device, lane) = (DeviceIndex(0), SlotIndex(slot));
        self.backend.open(Opening { id, device, lane, region, access });
        id
    }

    /// Waits until a region is open; gives the error when it does not open.
    pub fn opened(&mut self, id: OperationId) -> Result<Opened, OperationError> {
        self.backend.flush();
        let deadline = Instant::now() + Duration::from_secs(60);
        loop {
            if let Some(opened) = self.opened.remove(&id) {
                return Ok(opened);
            }
            if let Some((outcome, _)) = self.ended.remove(&id) {
                return Err(outcome.expect_err("not well without having been open"));
            }
            self.take(deadline);
        }
    }

    /// Waits for the end of an operation.
    pub fn end(&mut self, id: OperationId) -> Ending {
        self.backend.flush();
        let deadline = Instant::now() + Duration::from_secs(60);
        loop {
            if let Some(ending) = self.ended.remove(&id) {
                return ending;
            }
            self.take(deadline);
        }
    }

    /// Gives an operation on slot 0 and waits for it.
    pub fn run(&mut self, kind: OperationKind) -> Result<Span, OperationError> {
        let id = self.give(0, kind, None);
        self.end(id).0
    }

    pub fn upload(&mut self, number: u64, start: u64, bytes: Bytes) -> Result<Span, OperationError> {
        let region = region(number, start, start + bytes.len() as u64);
        let id = self.give(0, OperationKind::Upload { region }, Some(bytes));
        self.end(id).0
    }

    pub fn download(&mut self, number: u64, start: u64, end: u64) -> Bytes {
        let region = region(number, start, end);
        let id = self.give(0, OperationKind::Download { region }, None);
        let (outcome, downloaded) = self.end(id);
        outcome.expect("download");
        let (told, bytes) = downloaded.expect("a download brings bytes");
        assert_eq!(told, region);
        bytes
    }

    /// Builds program 1 on the first device.
    pub fn build(&mut self, source: &str, options: &str) -> BuildOutcome {
        self.backend.build(ProgramKey(1), source, options);
        let devices = self.backend.devices().len();
        let deadline = Instant::now() + Duration::from_secs(60);
        while self.built.len() < devices {
            self.take(deadline);
        }
        let mut built = std::mem::take(&mut self.built);
        built.sort_by_key(|(_, device, _)| *device);
        assert!(built.iter().all(|(program, _, _)| *program == ProgramKey(1)));
        built.swap_remove(0).2
    }

    /// Asserts that nothing more comes, and that nothing came twice.
    pub fn assert_silence(&mut self) {
        std::thread::sleep(Duration::from_millis(5));
        assert!(self.events.try_recv().is_err(), "an event came that nobody waits for");
        assert!(self.ended.is_empty() && self.built.is_empty() && self.opened.is_empty());
        assert_eq!(self.order.len() as u64, self.given, "each operation ends once");
    }

    fn take(&mut self, deadline: Instant) {
        loop {
            match self.events.try_recv() {
                Ok(BackendEvent::Done { done, downloaded }) => {
                    self.order.push(done.operation);
                    let twice = self.ended.insert(done.operation, (done.outcome, downloaded));
                    assert!(twice.is_none(), "{:?} ended twice", done.operation);
                    return;
                }
                Ok(BackendEvent::Opened { operation, opened }) => {
                    assert!(self.opened.insert(operation, opened).is_none(), "{operation:?} opened twice");
                    return;
                }
                Ok(BackendEvent::Built { program, device, outcome }) => {
                    self.built.push((program, device, outcome));
                    return;
                }
                Err(_) => {
                    assert!(Instant::now() < deadline, "a backend stays silent");
                    std::thread::sleep(Duration::from_micros(20));
                }
            }
        }
    }
}
