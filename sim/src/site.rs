//! One agent's surroundings: the host store, the devices' memory and the lanes' timing. What the live
//! driver and its backend are to the `Agent` machine, this is in virtual time.

use std::collections::{BTreeMap, HashMap};

use bytes::Bytes;
use isochrone_model::{
    AgentFacts, BoundArgument, BufferKey, ByteRange, DeviceIndex, Region, SlotIndex, Span, TaskId, Timestamp,
    Version,
};
use isochrone_sched_core::agent::{Agent, AgentConfig, Operation, OperationError, OperationKind};

use crate::kernels::{self, KERNELS, Kernel};

/// Immutable pieces by buffer and start.
#[derive(Default)]
pub(crate) struct HostStore {
    pieces: BTreeMap<(BufferKey, u64), (u64, Version, Bytes)>,
}

impl HostStore {
    /// Puts bytes in, but never over newer ones.
    pub fn insert(&mut self, region: Region, bytes: &Bytes) {
        assert_eq!(region.range.len(), bytes.len() as u64, "as many bytes as the region says");
        let mut free = vec![region.range];
        for (range, version) in self.over(region.buffer, region.range) {
            if version > region.version {
                free = free.into_iter().flat_map(|part| without(part, range)).collect();
            }
        }
        for part in free {
            self.remove(region.buffer, part);
            let from = (part.start - region.range.start) as usize;
            let slice = bytes.slice(from..from + part.len() as usize);
            self.pieces.insert((region.buffer, part.start), (part.end, region.version, slice));
        }
    }

    pub fn remove(&mut self, buffer: BufferKey, range: ByteRange) {
        let overlapping: Vec<(u64, u64, Version, Bytes)> = self
            .pieces
            .range((buffer, 0)..(buffer, range.end))
            .filter(|(_, (end, _, _))| *end > range.start)
            .map(|((_, start), (end, version, bytes))| (*start, *end, *version, bytes.clone()))
            .collect();
        for (start, end, version, bytes) in overlapping {
            self.pieces.remove(&(buffer, start));
            for part in without(ByteRange::new(start, end), range) {
                let (from, to) = ((part.start - start) as usize, (part.end - start) as usize);
                self.pieces.insert((buffer, part.start), (part.end, version, bytes.slice(from..to)));
            }
        }
    }

    /// The bytes of a region; zeros where there is no piece.
    ///
    /// # Panics
    /// When a piece is of another version: the machine asked for what is not there.
    pub fn read(&self, region: Region) -> Bytes {
        let mut bytes = vec![0; region.range.len() as usize];
        for ((_, start), (end, version, piece)) in
            self.pieces.range((region.buffer, 0)..(region.buffer, region.range.end))
        {
            let Some(common) = ByteRange::new(*start, *end).intersection(region.range) else { continue };
            assert_eq!(*version, region.version, "the host store holds the version asked for in {region:?}");
            let (from, to) = ((common.start - start) as usize, (common.end - start) as usize);
            let at = (common.start - region.range.start) as usize;
            bytes[at..at + common.len() as usize].copy_from_slice(&piece[from..to]);
        }
        Bytes::from(bytes)
    }

    fn over(&self, buffer: BufferKey, range: ByteRange) -> Vec<(ByteRange, Version)> {
        self.pieces
            .range((buffer, 0)..(buffer, range.end))
            .filter(|(_, (end, _, _))| *end > range.start)
            .map(|((_, start), (end, version, _))| (ByteRange::new(*start, *end), *version))
            .collect()
    }

    pub fn len_bytes(&self) -> u64 {
        self.pieces.iter().map(|((_, start), (end, _, _))| end - start).sum()
    }
}

fn without(part: ByteRange, hole: ByteRange) -> Vec<ByteRange> {
    if !part.overlaps(hole) {
        return vec![part];
    }
    [ByteRange::new(part.start, hole.start.max(part.start)), ByteRange::new(hole.end.min(part.end), part.end)]
        .into_iter()
        .filter(|rest| !rest.is_empty())
        .collect()
}

/// An agent with all that is around it.
pub(crate) struct Site {
    pub machine: Agent,
    pub facts: AgentFacts,
    pub store: HostStore,
    pub payloads: HashMap<TaskId, Bytes>,
    /// What begins to come, while the machine is asked where it is to go.
    pub arriving: Option<Bytes>,
    memory: HashMap<(DeviceIndex, BufferKey), Vec<u8>>,
    lane_free_at: HashMap<(DeviceIndex, SlotIndex), Timestamp>,
    /// Grows with each connection, so that what was sent to an earlier life is dropped.
    pub life: u32,
}

impl Site {
    pub fn new(config: AgentConfig, streamed_bytes_min: Option<u64>, life: u32) -> Self {
        let facts = config.facts.clone();
        let machine = Agent::new(config);
        Self {
            facts,
            machine: match streamed_bytes_min {
                Some(bytes_min) => machine.streaming_from(bytes_min),
                None => machine,
            },
            arriving: None,
            store: HostStore::default(),
            payloads: HashMap::new(),
            memory: HashMap::new(),
            lane_free_at: HashMap::new(),
            life,
        }
    }

    /// When an operation that is enqueued now will end, in order on its lane.
    pub fn schedule(&mut self, now: Timestamp, operation: &Operation, work: Span) -> Timestamp {
        let free_at = self.lane_free_at.entry((operation.device, operation.slot)).or_default();
        *free_at = (*free_at).max(now) + work;
        *free_at
    }

    /// What takes effect when it is enqueued: memory is made and let go in the order of the calls, as drivers
    /// do, however long zeroing takes.
    pub fn begin(&mut self, operation: &Operation) {
        let device = operation.device;
        match &operation.kind {
            OperationKind::Allocate { buffer, size_bytes } => {
                let old = self.memory.insert((device, *buffer), vec![0; *size_bytes as usize]);
                assert!(old.is_none(), "{buffer} is allocated once");
            }
            OperationKind::Free { buffer } => {
                assert!(self.memory.remove(&(device, *buffer)).is_some(), "{buffer} was allocated");
            }
            OperationKind::Upload { .. }
            | OperationKind::Download { .. }
            | OperationKind::Launch { .. }
            | OperationKind::Copy { .. }
            | OperationKind::Fill { .. } => {}
        }
    }

    /// Does an operation; for a download, gives its bytes. `upload` holds what the store had when it was
    /// enqueued.
    pub fn perform(
        &mut self,
        operation: &Operation,
        upload: Option<&Bytes>,
    ) -> Result<Option<Bytes>, OperationError> {
        let device = operation.device;
        match &operation.kind {
            OperationKind::Allocate { .. } | OperationKind::Free { .. } => Ok(None),
            OperationKind::Upload { region } => {
                let bytes = upload.expect("an upload has its bytes");
                self.slice(device, region.buffer, region.range).copy_from_slice(bytes);
                Ok(None)
            }
            OperationKind::Download { region } => {
                Ok(Some(Bytes::copy_from_slice(self.slice(device, region.buffer, region.range))))
            }
            OperationKind::Copy { source, source_range, target, target_offset_bytes } => {
                let bytes = self.slice(device, *source, *source_range).to_vec();
                let range = ByteRange::new(*target_offset_bytes, target_offset_bytes + source_range.len());
                self.slice(device, *target, range).copy_from_slice(&bytes);
                Ok(None)
            }
            OperationKind::Fill { buffer, range, pattern } => {
                for (place, byte) in self.slice(device, *buffer, *range).iter_mut().enumerate() {
                    *byte = pattern[place % pattern.len()];
                }
                Ok(None)
            }
            OperationKind::Launch { kernel, arguments, .. } => {
                self.launch(device, KERNELS[kernel.index()], arguments).map(|()| None)
            }
        }
    }

    fn launch(
        &mut self,
        device: DeviceIndex,
        kernel: Kernel,
        arguments: &[BoundArgument],
    ) -> Result<(), OperationError> {
        let buffer = |place: usize| match &arguments[place] {
            BoundArgument::Buffer { buffer, .. } => *buffer,
            BoundArgument::Scalar(_) | BoundArgument::Local(_) => panic!("argument {place} is a buffer"),
        };
        let value = |place: usize| match &arguments[place] {
            BoundArgument::Scalar(bytes) => {
                u32::from_le_bytes(bytes.as_ref().try_into().expect("a value of four bytes"))
            }
            BoundArgument::Buffer { .. } | BoundArgument::Local(_) => panic!("argument {place} is a value"),
        };
        match kernel {
            Kernel::Noop => Ok(()),
            Kernel::Fail => Err(made_to_fail()),
            Kernel::Mix | Kernel::Spoil => {
                let (from, to, size) = (u64::from(value(2)), u64::from(value(3)), u64::from(value(4)));
                let source = self.slice(device, buffer(0), ByteRange::new(from, from + size)).to_vec();
                let salt = value(5);
                kernels::mix(&source, self.slice(device, buffer(1), ByteRange::new(to, to + size)), salt);
                if kernel == Kernel::Spoil { Err(made_to_fail()) } else { Ok(()) }
            }
            Kernel::Store => {
                let (offset, size, salt) = (u64::from(value(1)), u64::from(value(2)), value(3));
                kernels::store(self.slice(device, buffer(0), ByteRange::new(offset, offset + size)), salt);
                Ok(())
            }
        }
    }

    /// What a device holds, if it has memory for it.
    pub fn peek(&self, device: DeviceIndex, region: Region) -> Option<Bytes> {
        let memory = self.memory.get(&(device, region.buffer))?;
        memory.get(region.range.start as usize..region.range.end as usize).map(Bytes::copy_from_slice)
    }

    /// Puts bytes on a device, unless its memory has been let go.
    pub fn poke(&mut self, device: DeviceIndex, region: Region, bytes: &[u8]) {
        if let Some(memory) = self.memory.get_mut(&(device, region.buffer)) {
            memory[region.range.start as usize..region.range.end as usize].copy_from_slice(bytes);
        }
    }

    fn slice(&mut self, device: DeviceIndex, buffer: BufferKey, range: ByteRange) -> &mut [u8] {
        let memory = self.memory.get_mut(&(device, buffer)).expect("the buffer is allocated on the device");
        &mut memory[range.start as usize..range.end as usize]
    }
}

fn made_to_fail() -> OperationError {
    OperationError::Failed {
        call: "clEnqueueNDRangeKernel".to_owned(),
        reason: "the kernel was made to fail".to_owned(),
    }
}
