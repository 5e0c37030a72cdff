//! What an agent knows of one buffer: which version lies where.

use isochrone_model::{BufferKey, ByteRange, DeviceIndex, Region, SessionId, SlotIndex, TaskId, Version};

use super::event::OperationId;
use crate::few::Few;
use crate::hashing::IdMap;
use crate::range_map::RangeMap;

/// An in-order lane of a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct LaneKey {
    pub device: DeviceIndex,
    pub slot: SlotIndex,
}

impl LaneKey {
    /// A lane of the same device on which nothing comes later.
    pub fn apart(self) -> Self {
        Self { slot: SlotIndex(u16::MAX), ..self }
    }
}

/// Contents on a device that an operation is still making: only what comes later on the same lane may
/// count on them before it has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Pending {
    pub lane: LaneKey,
    pub operation: OperationId,
}

/// One version's bytes and where they are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Cell {
    pub version: Version,
    pub on_host: bool,
    /// One bit a device.
    pub on_devices: u64,
    pub pending: Few<Pending>,
    /// The download that is bringing them to the host.
    pub fetching: Option<OperationId>,
    /// Its maker failed: these bytes are nowhere, nor are the older ones that were here before.
    pub is_spoiled: bool,
}

impl Cell {
    pub fn on_host(version: Version) -> Self {
        Self { version, on_host: true, on_devices: 0, pending: Few::None, fetching: None, is_spoiled: false }
    }

    pub fn made_by(version: Version, lane: LaneKey, operation: OperationId) -> Self {
        Self {
            version,
            on_host: false,
            on_devices: bit(lane.device),
            pending: Few::One(Pending { lane, operation }),
            fetching: None,
            is_spoiled: false,
        }
    }

    pub fn spoiled(version: Version) -> Self {
        Self { version, on_host: false, on_devices: 0, pending: Few::None, fetching: None, is_spoiled: true }
    }

    /// Whether the bytes are on the device, for operations of this lane or (with none) for all lanes.
    pub fn is_on(&self, device: DeviceIndex, lane: Option<LaneKey>) -> bool {
        self.on_devices & bit(device) != 0
            && self.pending.iter().all(|pending| pending.lane.device != device || Some(pending.lane) == lane)
    }

    /// A device that holds the bytes for every lane.
    pub fn settled_device(&self) -> Option<DeviceIndex> {
        let mut left = self.on_devices;
        while left != 0 {
            let device = DeviceIndex::from_index(left.trailing_zeros() as usize);
            if self.is_on(device, None) {
                return Some(device);
            }
            left &= left - 1;
        }
        None
    }
}

pub(super) fn bit(device: DeviceIndex) -> u64 {
    1 << device.0
}

/// A device's memory for a buffer.
#[derive(Clone, Debug)]
pub(super) struct Allocation {
    pub device: DeviceIndex,
    /// The zeroing, until it has ended.
    pub pending: Option<Pending>,
    /// Operations in flight that use it.
    pub pins: u32,
    /// Tasks that have been given room, of which this is a part, and are not enqueued yet.
    pub claims: u32,
    /// The machine's use counter when it was last used; the lowest is evicted first.
    pub last_used: u64,
    /// Its contents are on their way to the host; then it is freed.
    pub is_leaving: bool,
}

/// A region to send to another agent once it is resident and settled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct WaitingPush {
    pub region: Region,
    pub to: isochrone_model::AgentId,
    /// A stream of it has failed.
    pub is_by_host: bool,
}

/// A region that is being sent from a device, where it must stay until that has ended, or put there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Streaming {
    pub region: Region,
    pub device: DeviceIndex,
    pub stream: OperationId,
}

/// All of one buffer.
#[derive(Clone, Debug, Default)]
pub(super) struct Buffer {
    /// `None` until the scheduler declares it; contents may come earlier.
    pub size_bytes: Option<u64>,
    pub cells: RangeMap<Cell>,
    /// Where there is memory for it, each device once.
    pub allocations: Few<Allocation>,
    pub pushes: Few<WaitingPush>,
    pub streams: Few<Streaming>,
    /// A stream to a device has failed: contents come over the host from now on.
    pub takes_no_streams: bool,
    /// Tasks to look at again when contents change, in order of arrival.
    pub waiters: Few<TaskId>,
}

/// The buffers of an agent. What is declared and not used yet takes but its size.
#[derive(Debug, Default)]
pub(super) struct Buffers {
    used: IdMap<BufferKey, Box<Buffer>>,
    declared: IdMap<BufferKey, u64>,
    /// What forgotten ones took, to be used again.
    #[expect(clippy::vec_box, reason = "it is the boxes that are used again")]
    spare: Vec<Box<Buffer>>,
}

/// The memory of so many is kept at most.
const SPARE_MAX: usize = 256;

/// What was known of a buffer that is forgotten.
pub(super) enum Removed {
    Unknown,
    Declared,
    Buffer(Box<Buffer>),
}

impl Buffers {
    pub fn declare(&mut self, key: BufferKey, size_bytes: u64) {
        match self.used.get_mut(&key) {
            Some(buffer) => buffer.size_bytes = Some(size_bytes),
            None => {
                self.declared.insert(key, size_bytes);
            }
        }
    }

    pub fn get(&self, key: &BufferKey) -> Option<&Buffer> {
        self.used.get(key).map(Box::as_ref)
    }

    pub fn get_mut(&mut self, key: &BufferKey) -> Option<&mut Buffer> {
        self.used.get_mut(key).map(Box::as_mut)
    }

    /// The buffer, from now on used.
    pub fn make(&mut self, key: BufferKey) -> &mut Buffer {
        self.used.entry(key).or_insert_with(|| {
            let mut buffer = self.spare.pop().unwrap_or_default();
            buffer.size_bytes = self.declared.remove(&key);
            buffer
        })
    }

    pub fn remove(&mut self, key: BufferKey) -> Removed {
        match self.used.remove(&key) {
            Some(buffer) => Removed::Buffer(buffer),
            None if self.declared.remove(&key).is_some() => Removed::Declared,
            None => Removed::Unknown,
        }
    }

    /// Takes back what was removed, for its memory.
    pub fn keep_spare(&mut self, mut buffer: Box<Buffer>) {
        if self.spare.len() < SPARE_MAX {
            *buffer = Buffer::default();
            self.spare.push(buffer);
        }
    }

    /// Those of a session, in order.
    pub fn of_session(&self, session: SessionId) -> Vec<BufferKey> {
        let keys = self.used.keys().chain(self.declared.keys()).copied();
        let mut keys: Vec<BufferKey> = keys.filter(|key| key.session == session).collect();
        keys.sort_unstable();
        keys
    }

    /// Those that are used, in no order that may be seen.
    pub fn iter(&self) -> impl Iterator<Item = (&BufferKey, &Buffer)> {
        self.used.iter().map(|(key, buffer)| (key, buffer.as_ref()))
    }

    pub fn values(&self) -> impl Iterator<Item = &Buffer> {
        self.used.values().map(Box::as_ref)
    }

    pub fn values_mut(&mut self) -> impl Iterator<Item = &mut Buffer> {
        self.used.values_mut().map(Box::as_mut)
    }
}

impl std::ops::Index<&BufferKey> for Buffers {
    type Output = Buffer;

    fn index(&self, key: &BufferKey) -> &Buffer {
        &self.used[key]
    }
}

/// How a region stands with a lane, a device or the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Residence {
    /// There.
    Ready,
    /// Resident in the agent, but these bytes must be moved (or their maker must end) first.
    Elsewhere,
    /// Not in the agent, or in an older version.
    Absent,
    /// Only newer contents are left.
    Superseded,
}

/// How bytes stand of which all is known alike; without a cell they are the zeros that a buffer begins with.
fn cell_stands(cell: Option<&Cell>, wanted: Version, there: impl Fn(&Cell) -> bool) -> Residence {
    match cell.map_or(Version(0), |cell| cell.version).cmp(&wanted) {
        std::cmp::Ordering::Less => Residence::Absent,
        std::cmp::Ordering::Greater => Residence::Superseded,
        std::cmp::Ordering::Equal if cell.is_some_and(|cell| cell.is_spoiled) => Residence::Absent,
        std::cmp::Ordering::Equal if cell.is_none_or(there) => Residence::Ready,
        std::cmp::Ordering::Equal => Residence::Elsewhere,
    }
}

impl Buffer {
    /// How a region stands for the host.
    pub fn on_host(&self, region: Region) -> Residence {
        self.stands(region, |cell| cell.on_host)
    }

    /// How a region stands for a lane.
    pub fn on_lane(&self, region: Region, lane: LaneKey) -> Residence {
        self.stands(region, |cell| cell.is_on(lane.device, Some(lane)))
    }

    fn stands(&self, region: Region, there: impl Fn(&Cell) -> bool) -> Residence {
        if let Some(cell) = self.cells.whole(region.range) {
            return cell_stands(Some(cell), region.version, there);
        }
        let mut all_there = true;
        for (_, cell) in self.cells.over(region.range) {
            match cell_stands(cell, region.version, &there) {
                Residence::Ready => {}
                Residence::Elsewhere => all_there = false,
                stands @ (Residence::Absent | Residence::Superseded) => return stands,
            }
        }
        if all_there { Residence::Ready } else { Residence::Elsewhere }
    }

    pub fn allocation(&self, device: DeviceIndex) -> Option<&Allocation> {
        self.allocations.iter().find(|allocation| allocation.device == device)
    }

    pub fn allocation_mut(&mut self, device: DeviceIndex) -> Option<&mut Allocation> {
        self.allocations.iter_mut().find(|allocation| allocation.device == device)
    }

    /// A device does not hold bytes after all that the host has.
    pub fn forget_on_device(&mut self, region: Region, device: DeviceIndex) {
        self.cells.update(region.range, |_, cell| {
            if cell.version == region.version && cell.on_host {
                cell.on_devices &= !bit(device);
            }
        });
    }

    /// Takes an operation off the pending lists of a range.
    pub fn settle(&mut self, range: ByteRange, operation: OperationId) {
        self.cells.update(range, |_, cell| cell.pending.retain(|pending| pending.operation != operation));
    }
}
