//! Memory of the `Agent` machine: what lies on the host and on devices, and how it makes room.

use std::cmp::Reverse;

use isochrone_model::{BufferKey, ByteRange, DeviceIndex, Lane, Region, Report, TaskId};

use super::buffer::{self, Allocation, Buffer, Cell, LaneKey, Removed};
use super::event::{AgentAction, OperationError, OperationId, OperationKind};
use super::operations::Purpose;
use super::{Agent, touched_buffers};
use crate::few::Few;

/// Whether memory could be had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Room {
    /// There is memory for every buffer.
    Made,
    /// Others must leave first, and are on their way.
    Awaited,
    /// There will never be: the buffers together exceed the device.
    Never { needed_bytes: u64, capacity_bytes: u64 },
}

impl Agent {
    /// Makes device memory for all these buffers, evicting those that were used longest ago.
    pub(super) fn make_room(
        &mut self,
        buffers: &[BufferKey],
        inputs: &[Region],
        lane: LaneKey,
        task: TaskId,
    ) -> Room {
        let device = lane.device;
        let (mut missing, mut missing_bytes) = (0, 0);
        let mut all_bytes = 0;
        for key in buffers {
            let held = self.buffers.make(*key);
            let size_bytes = held.size_bytes.unwrap_or(0);
            all_bytes += size_bytes;
            match held.allocation(device) {
                None => {
                    missing += 1;
                    missing_bytes += size_bytes;
                }
                Some(allocation) if allocation.is_leaving => return Room::Awaited,
                Some(_) => {}
            }
        }
        let capacity_bytes = self.devices[device.index()].capacity_bytes;
        if all_bytes > capacity_bytes {
            return Room::Never { needed_bytes: all_bytes, capacity_bytes };
        }
        while self.devices[device.index()].used_bytes + missing_bytes > capacity_bytes {
            match self.evict_one(buffers, device) {
                Evicted::Freed => {}
                Evicted::Leaving | Evicted::AllPinned => return Room::Awaited,
            }
        }
        if missing > 0 {
            let input_lane = self.input_lane(lane);
            for key in buffers {
                let is_input = inputs.iter().any(|region| region.buffer == *key);
                self.allocate(*key, if is_input { input_lane } else { lane }, task);
            }
        }
        Room::Made
    }

    /// Keeps the room that a task has been given until it is enqueued or ends: two tasks that do not fit together would
    /// otherwise take it from each other for ever, each before the other's inputs have been brought.
    pub(super) fn claim_room(&mut self, task: TaskId, buffers: &[BufferKey], device: DeviceIndex) {
        let Some(held) = self.tasks.get_mut(&task).filter(|held| !held.has_room) else { return };
        held.has_room = true;
        for key in buffers {
            if let Some(allocation) = self.buffers.get_mut(key).and_then(|held| held.allocation_mut(device)) {
                allocation.claims += 1;
            }
        }
    }

    /// Gives up the room that a task has been given, if it has.
    pub(super) fn give_up_room(&mut self, task: TaskId) {
        let Some(held) = self.tasks.get_mut(&task).filter(|held| held.has_room) else { return };
        held.has_room = false;
        let mut buffers = Vec::new();
        touched_buffers(&held.order, &mut buffers);
        let Lane::Slot { device, .. } = held.order.lane else { return };
        for key in buffers {
            if let Some(allocation) = self.buffers.get_mut(&key).and_then(|held| held.allocation_mut(device))
            {
                allocation.claims = allocation.claims.saturating_sub(1);
            }
        }
        self.wake_memory_waiters(device);
    }

    fn wake_memory_waiters(&mut self, device: DeviceIndex) {
        if self.devices[device.index()].memory_waiters.is_empty() {
            return;
        }
        for task in std::mem::take(&mut self.devices[device.index()].memory_waiters) {
            if let Some(held) = self.tasks.get(&task) {
                self.wake.push(Reverse((held.arrival, task)));
            }
        }
    }

    fn allocate(&mut self, key: BufferKey, lane: LaneKey, task: TaskId) {
        let device = lane.device;
        let Some(held) = self.buffers.get_mut(&key) else {
            return;
        };
        if held.allocation(device).is_some() {
            return;
        }
        let size_bytes = held.size_bytes.unwrap_or(0);
        let operation = self.operations.begin(Purpose::Allocate { buffer: key, device, task });
        held.allocations.push(Allocation {
            device,
            pending: Some(buffer::Pending { lane, operation }),
            pins: 1,
            claims: 0,
            last_used: self.uses,
            is_leaving: false,
        });
        self.devices[device.index()].used_bytes += size_bytes;
        self.operate(operation, lane, OperationKind::Allocate { buffer: key, size_bytes });
    }

    fn evict_one(&mut self, spared: &[BufferKey], device: DeviceIndex) -> Evicted {
        let victim = self
            .buffers
            .iter()
            .filter(|(key, _)| !spared.contains(key))
            .filter_map(|(key, held)| held.allocation(device).map(|allocation| (key, allocation)))
            .filter(|(_, allocation)| {
                (allocation.pins == 0 && allocation.claims == 0) || allocation.is_leaving
            })
            .min_by_key(|(key, allocation)| (!allocation.is_leaving, allocation.last_used, **key))
            .map(|(key, allocation)| (*key, allocation.is_leaving));
        let Some((key, is_leaving)) = victim else {
            return Evicted::AllPinned;
        };
        if is_leaving {
            return Evicted::Leaving;
        }
        let only_here: Vec<Region> = self.buffers[&key]
            .cells
            .iter()
            .filter(|(_, cell)| !cell.on_host && cell.on_devices == buffer::bit(device))
            .map(|(range, cell)| Region { buffer: key, range, version: cell.version })
            .collect();
        if only_here.is_empty() {
            self.free(key, device);
            return Evicted::Freed;
        }
        if let Some(allocation) = self.buffers.get_mut(&key).and_then(|held| held.allocation_mut(device)) {
            allocation.is_leaving = true;
        }
        for region in only_here {
            self.fetch(region);
        }
        Evicted::Leaving
    }

    /// Lets go of a buffer's memory on a device; its contents are elsewhere, or not wanted any more.
    fn free(&mut self, key: BufferKey, device: DeviceIndex) {
        let Some(held) = self.buffers.get_mut(&key) else {
            return;
        };
        if held.allocation(device).is_none() {
            return;
        }
        held.allocations.retain(|allocation| allocation.device != device);
        let size_bytes = held.size_bytes.unwrap_or(0);
        let everything = ByteRange::new(0, u64::MAX);
        held.cells.update(everything, |_, cell| {
            cell.on_devices &= !buffer::bit(device);
            cell.pending.retain(|pending| pending.lane.device != device);
        });
        self.give_back(key, size_bytes, device);
    }

    /// Memory of a device is let go of that no contents lie in any more.
    fn give_back(&mut self, key: BufferKey, size_bytes: u64, device: DeviceIndex) {
        self.devices[device.index()].used_bytes -= size_bytes;
        let lane = self.transfer_lane(device);
        let id = self.operations.begin_unawaited();
        self.operate(id, lane, OperationKind::Free { buffer: key });
        self.wake_memory_waiters(device);
    }

    /// Starts bringing those parts of a region to the host that lie settled on some device.
    pub(super) fn fetch(&mut self, region: Region) {
        let Some(held) = self.buffers.get(&region.buffer) else {
            return;
        };
        let source_of = |cell: &Cell| {
            let is_wanted = cell.version == region.version && !cell.on_host && cell.fetching.is_none();
            if is_wanted { cell.settled_device() } else { None }
        };
        let parts: Few<(ByteRange, DeviceIndex)> = match held.cells.whole(region.range) {
            Some(cell) => source_of(cell).map_or(Few::None, |device| Few::One((region.range, device))),
            None => {
                let parts = held.cells.over(region.range);
                parts.filter_map(|(range, cell)| Some((range, source_of(cell?)?))).collect()
            }
        };
        for (range, device) in parts {
            let part = Region { range, ..region };
            let lane = self.transfer_lane(device);
            let operation = self.operation(
                lane,
                Purpose::Download { region: part, device },
                OperationKind::Download { region: part },
            );
            self.pin(region.buffer, device);
            if let Some(held) = self.buffers.get_mut(&region.buffer) {
                held.cells.update(range, |_, cell| cell.fetching = Some(operation));
            }
        }
    }

    pub(super) fn take_download(
        &mut self,
        operation: OperationId,
        region: Region,
        device: DeviceIndex,
        error: Option<OperationError>,
    ) {
        self.unpin(region.buffer, device);
        let Some(held) = self.buffers.get_mut(&region.buffer) else {
            self.actions.push(AgentAction::DropHost { buffer: region.buffer, range: region.range });
            return;
        };
        let mut arrived_bytes = 0;
        let mut late = Vec::new();
        held.cells.update(region.range, |range, cell| {
            if cell.fetching == Some(operation) {
                cell.fetching = None;
                if error.is_none() && !cell.on_host {
                    cell.on_host = true;
                    arrived_bytes += range.len();
                }
            } else if !cell.on_host {
                late.push(range);
            }
        });
        for range in late {
            self.actions.push(AgentAction::DropHost { buffer: region.buffer, range });
        }
        self.host_used_bytes += arrived_bytes;
        if let Some(error) = error {
            self.fail_readers(region, &error, device);
        }
        self.finish_leaving(region.buffer, device);
        self.contents_changed(region.buffer);
        self.trim_host();
    }

    /// A download failed: whoever waits for these bytes on the host cannot have them.
    fn fail_readers(&mut self, region: Region, error: &OperationError, device: DeviceIndex) {
        let reason = error.to_string();
        let Some(held) = self.buffers.get_mut(&region.buffer) else {
            return;
        };
        let (failed, kept): (Vec<_>, Vec<_>) = std::mem::take(&mut held.pushes)
            .into_iter()
            .partition(|push| push.region.range.overlaps(region.range));
        held.pushes = kept.into_iter().collect();
        if let Some(allocation) = held.allocation_mut(device) {
            allocation.is_leaving = false;
        }
        for push in failed {
            self.report(Report::PushFailed { region: push.region, to: push.to, reason: reason.clone() });
        }
        let mut readers: Vec<(u64, TaskId)> = self
            .tasks
            .iter()
            .filter(|(_, task)| {
                task.waits.is_empty()
                    && task
                        .order
                        .inputs
                        .iter()
                        .any(|input| input.buffer == region.buffer && input.range.overlaps(region.range))
            })
            .map(|(id, task)| (task.arrival, *id))
            .collect();
        readers.sort_unstable();
        let name = self.device_name(device);
        for (arrival, task) in readers {
            if let Some(held) = self.tasks.get_mut(&task)
                && held.failure.is_none()
            {
                held.failure = Some(Box::new(error.clone().into_command_error(name.clone())));
                self.wake.push(Reverse((arrival, task)));
            }
        }
    }

    /// Frees a buffer that was leaving a device once all its contents are elsewhere.
    fn finish_leaving(&mut self, key: BufferKey, device: DeviceIndex) {
        let Some(held) = self.buffers.get(&key) else {
            return;
        };
        let is_done =
            held.allocation(device).is_some_and(|allocation| allocation.is_leaving && allocation.pins == 0)
                && held.cells.iter().all(|(_, cell)| cell.on_host || cell.on_devices != buffer::bit(device));
        if is_done {
            self.free(key, device);
        }
    }

    /// Drops host copies that a device holds too, when the host is over its bound.
    pub(super) fn trim_host(&mut self) {
        if self.host_used_bytes <= self.facts.host_memory_bytes {
            return;
        }
        let mut dropped = Vec::new();
        for (key, held) in self.buffers.iter() {
            for (range, cell) in held.cells.iter() {
                if cell.on_host && cell.pending.is_empty() && cell.settled_device().is_some() {
                    dropped.push((*key, range));
                }
            }
        }
        dropped.sort_unstable_by_key(|(key, range)| (*key, range.start));
        for (key, range) in dropped {
            if self.host_used_bytes <= self.facts.host_memory_bytes {
                return;
            }
            if let Some(held) = self.buffers.get_mut(&key) {
                held.cells.update(range, |_, cell| cell.on_host = false);
            }
            self.host_used_bytes -= range.len();
            self.actions.push(AgentAction::DropHost { buffer: key, range });
        }
    }

    /// Forgets a buffer wherever it lies.
    pub(super) fn drop_buffer(&mut self, key: BufferKey) {
        match self.buffers.remove(key) {
            Removed::Unknown => return,
            Removed::Declared => {}
            Removed::Buffer(held) => {
                for device in (0..self.devices.len()).map(DeviceIndex::from_index) {
                    if held.allocation(device).is_some() {
                        self.give_back(key, held.size_bytes.unwrap_or(0), device);
                    }
                }
                let on_host = held.cells.iter().filter(|(_, cell)| cell.on_host);
                self.host_used_bytes -= on_host.map(|(range, _)| range.len()).sum::<u64>();
                self.buffers.keep_spare(held);
            }
        }
        self.actions.push(AgentAction::DropHost { buffer: key, range: ByteRange::new(0, u64::MAX) });
    }

    /// Contents made on a device replace what the host held.
    pub(super) fn host_copy_is_stale(&mut self, region: Region) {
        let Some(held) = self.buffers.get(&region.buffer) else {
            return;
        };
        let stale: Few<ByteRange> = held
            .cells
            .over(region.range)
            .filter(|(_, cell)| cell.is_some_and(|cell| cell.on_host))
            .map(|(range, _)| range)
            .collect();
        for range in stale {
            self.host_used_bytes -= range.len();
            self.actions.push(AgentAction::DropHost { buffer: region.buffer, range });
        }
    }

    /// An operation has ended that used a buffer's memory on a device and changed what is known of the buffer: whoever
    /// waits for its contents, or for memory, is looked at again.
    pub(super) fn use_ends(&mut self, key: BufferKey, device: DeviceIndex, change: impl FnOnce(&mut Buffer)) {
        let Some(held) = self.buffers.get_mut(&key) else { return };
        change(held);
        let (mut is_unused, mut is_leaving) = (false, false);
        if let Some(allocation) = held.allocation_mut(device) {
            allocation.pins = allocation.pins.saturating_sub(1);
            is_unused = allocation.pins == 0;
            is_leaving = is_unused && allocation.is_leaving;
        }
        if is_leaving {
            self.finish_leaving(key, device);
        }
        if is_unused {
            self.wake_memory_waiters(device);
        }
        if let Some(held) = self.buffers.get(&key)
            && !(held.waiters.is_empty() && held.pushes.is_empty())
        {
            self.contents_changed(key);
        }
    }

    pub(super) fn pin(&mut self, key: BufferKey, device: DeviceIndex) {
        self.uses += 1;
        let uses = self.uses;
        if let Some(allocation) = self.buffers.get_mut(&key).and_then(|held| held.allocation_mut(device)) {
            allocation.pins += 1;
            allocation.last_used = uses;
        }
    }

    pub(super) fn unpin(&mut self, key: BufferKey, device: DeviceIndex) {
        let Some(allocation) = self.buffers.get_mut(&key).and_then(|held| held.allocation_mut(device)) else {
            return;
        };
        allocation.pins = allocation.pins.saturating_sub(1);
        if allocation.pins > 0 {
            return;
        }
        if allocation.is_leaving {
            self.finish_leaving(key, device);
        }
        self.wake_memory_waiters(device);
    }

    /// Reports memory when it has changed by more than a hundredth of what there is.
    pub(super) fn report_memory(&mut self) {
        let changed = |new: u64, old: u64, capacity: u64| new.abs_diff(old) > capacity / 100;
        let (host_reported, devices_reported) = &self.memory_reported;
        let is_news = changed(self.host_used_bytes, *host_reported, self.facts.host_memory_bytes)
            || self
                .devices
                .iter()
                .zip(devices_reported)
                .any(|(device, reported)| changed(device.used_bytes, *reported, device.capacity_bytes));
        if is_news {
            let device_bytes = self.device_used_bytes();
            self.memory_reported = (self.host_used_bytes, device_bytes.clone());
            self.report(Report::Memory { host_bytes: self.host_used_bytes, device_bytes });
        }
    }
}

enum Evicted {
    Freed,
    Leaving,
    AllPinned,
}
