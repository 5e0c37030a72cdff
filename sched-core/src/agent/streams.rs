//! Streams of the `Agent` machine: contents that go between a device and a peer or client piece by piece, and never
//! lie on the host as a whole.
//!
//! The machine says from or to which device; the driver moves the pieces, and tells the end as that of an operation.
//! What is being sent is not written over until it has been received, and what is being received counts only once
//! all of it is on the device: it is like what a launch makes. Where a stream breaks, or does not suit, contents go
//! over the host store as small ones do.

use std::cmp::Reverse;

use isochrone_model::{
    AgentId, BufferKey, DeviceIndex, Lane, Region, Report, TaskId, TaskOutcome, Version, Work,
};

use super::buffer::{self, Cell, Streaming, WaitingPush};
use super::event::{AgentAction, OperationError, OperationId, StreamSource, StreamTarget};
use super::memory::Room;
use super::{Agent, HeldState, Purpose};

/// For whom a stream goes out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sent {
    Push {
        to: AgentId,
    },
    Read {
        task: TaskId,
    },
    /// Its receiver has left.
    ToNobody,
}

impl Agent {
    /// Lets contents of at least so many bytes go straight between devices and peers or clients; for drivers that
    /// perform `StreamOut` and `StreamIn`. Without, all contents go over the host store.
    #[must_use]
    pub fn streaming_from(mut self, bytes_min: u64) -> Self {
        self.streamed_bytes_min = Some(bytes_min);
        self
    }

    /// The device from which a region can be sent as it is: all of it lies settled there.
    pub(super) fn device_to_send_from(&self, region: Region) -> Option<DeviceIndex> {
        self.streamed_bytes_min.filter(|bytes_min| region.range.len() >= *bytes_min)?;
        let held = self.buffers.get(&region.buffer)?;
        let mut on_devices = u64::MAX;
        for (_, cell) in held.cells.over(region.range) {
            let cell = cell?;
            let is_settled = cell.pending.is_empty() && cell.fetching.is_none() && !cell.is_spoiled;
            if cell.version != region.version || !is_settled {
                return None;
            }
            on_devices &= cell.on_devices;
        }
        let allocations = held.allocations.iter().filter(|allocation| !allocation.is_leaving);
        allocations.map(|allocation| allocation.device).find(|device| on_devices & buffer::bit(*device) != 0)
    }

    /// Begins to send a region from a device.
    pub(super) fn stream_out(
        &mut self,
        region: Region,
        device: DeviceIndex,
        sent: Sent,
        target: StreamTarget,
    ) {
        let stream = self.operations.begin(Purpose::StreamOut { region, device, sent });
        self.pin(region.buffer, device);
        self.buffers.make(region.buffer).streams.push(Streaming { region, device, stream });
        let lane = self.transfer_lane(device).slot;
        self.actions.push(AgentAction::StreamOut { stream, device, lane, region, target });
    }

    /// Sends a waiting push as a stream, if it suits; several of the same contents are fetched to the host once.
    pub(super) fn stream_push(&mut self, push: WaitingPush, is_only_one: bool) -> bool {
        if push.is_by_host || !is_only_one {
            return false;
        }
        let Some(device) = self.device_to_send_from(push.region) else { return false };
        let (sent, target) = (Sent::Push { to: push.to }, StreamTarget::Agent { to: push.to });
        self.stream_out(push.region, device, sent, target);
        true
    }

    /// Answers a read by a stream, if it suits. Where something is known to come after the read, its contents are
    /// brought to the host instead: the device takes less long for that than the network for all.
    pub(super) fn stream_read(&mut self, task: TaskId, region: Region, target: StreamTarget) -> bool {
        let Some(held) = self.tasks.get(&task) else { return false };
        if held.is_by_host || !held.waiters.is_empty() || !held.notifies.is_empty() {
            return false;
        }
        let Some(device) = self.device_to_send_from(region) else { return false };
        if let Some(held) = self.tasks.get_mut(&task) {
            held.state = HeldState::Enqueued;
        }
        self.stream_out(region, device, Sent::Read { task }, target);
        true
    }

    /// Whether anything may be streaming here.
    pub(super) fn does_stream(&self) -> bool {
        self.streamed_bytes_min.is_some()
    }

    /// Whether other contents of these bytes are being sent from a device or put there, so that nothing else may be yet.
    pub(super) fn is_streaming_other_than(&self, region: Region, device: DeviceIndex) -> bool {
        self.buffers.get(&region.buffer).is_some_and(|held| {
            held.streams.iter().any(|streaming| {
                streaming.device == device
                    && streaming.region.version != region.version
                    && streaming.region.range.overlaps(region.range)
            })
        })
    }

    pub(super) fn take_stream_out(
        &mut self,
        stream: OperationId,
        region: Region,
        device: DeviceIndex,
        sent: Sent,
        is_whole: bool,
    ) {
        if let Some(held) = self.buffers.get_mut(&region.buffer) {
            held.streams.retain(|streaming| streaming.stream != stream);
            if let Sent::Push { to } = sent
                && !is_whole
            {
                held.pushes.push(WaitingPush { region, to, is_by_host: true });
            }
        }
        self.unpin(region.buffer, device);
        if let Sent::Read { task } = sent {
            match self.tasks.get_mut(&task) {
                Some(held) if !is_whole && held.state == HeldState::Enqueued => {
                    held.state = HeldState::Waiting;
                    held.is_by_host = true;
                    self.wake.push(Reverse((held.arrival, task)));
                }
                Some(_) => self.finish_now(task),
                None => {}
            }
        }
        self.contents_changed(region.buffer);
    }

    /// No stream to this agent is sent again another way.
    pub(super) fn forget_streams_to(&mut self, agent: AgentId) {
        for purpose in self.operations.purposes_mut() {
            if let Purpose::StreamOut { sent, .. } = purpose
                && *sent == (Sent::Push { to: agent })
            {
                *sent = Sent::ToNobody;
            }
        }
    }

    /// A replica begins to come. Where it is for a device here, it goes there as it comes.
    pub(super) fn take_replica_begin(&mut self, region: Region, from: AgentId) {
        let readers: Vec<TaskId> = self
            .buffers
            .get(&region.buffer)
            .map(|held| held.waiters.iter().copied().collect())
            .unwrap_or_default();
        let reader = readers.into_iter().find(|task| {
            self.tasks.get(task).is_some_and(|held| {
                held.order.inputs.iter().any(|input| {
                    input.buffer == region.buffer
                        && input.version == region.version
                        && input.range.overlaps(region.range)
                })
            })
        });
        self.stream_in(region, reader, StreamSource::Agent { from });
    }

    /// A write's bytes begin to come. Where their reader is for a device here, they go there as they come.
    pub(super) fn take_payload_begin(&mut self, task: TaskId, size_bytes: u64) {
        let Some(held) = self.tasks.get(&task) else { return };
        let is_ready = held.state == HeldState::Waiting && held.waits.is_empty() && held.failure.is_none();
        let is_streamed = matches!(held.order.work, Work::Write { bytes: None });
        let Some(region) = held.order.outputs.first().copied() else { return };
        if !is_ready || !is_streamed || size_bytes != region.range.len() || !self.is_to_be_made(task) {
            return;
        }
        let readers = held.waiters.iter().map(|waiter| waiter.task);
        let reader = readers.into_iter().find(|task| {
            self.tasks.get(task).is_some_and(|held| matches!(held.order.lane, Lane::Slot { .. }))
        });
        self.buffers.make(region.buffer);
        if self.stream_in(region, reader, StreamSource::Payload { task })
            && let Some(held) = self.tasks.get_mut(&task)
        {
            held.state = HeldState::Enqueued;
        }
    }

    /// Lets contents that begin to come go to the device of their reader, or to the only one that has memory for
    /// their buffer, if that suits.
    fn stream_in(&mut self, region: Region, reader: Option<TaskId>, source: StreamSource) -> bool {
        let Some(device) = self.device_to_receive(region, reader) else { return false };
        let key = region.buffer;
        let lane = self.transfer_lane(device);
        if self.buffers[&key].allocation(device).is_none() {
            let Some(reader) = reader else { return false };
            match self.make_room(&[key], &[], lane, reader) {
                Room::Made => {}
                Room::Awaited | Room::Never { .. } => return false,
            }
        }
        let stream = self.operations.begin(Purpose::StreamIn { region, device, source });
        self.host_copy_is_stale(region);
        let held = self.buffers.make(key);
        held.cells.set(region.range, Cell::made_by(region.version, lane, stream));
        held.streams.push(Streaming { region, device, stream });
        self.pin(key, device);
        self.actions.push(AgentAction::StreamIn { stream, device, lane: lane.slot, region, source });
        true
    }

    fn device_to_receive(&self, region: Region, reader: Option<TaskId>) -> Option<DeviceIndex> {
        self.streamed_bytes_min.filter(|bytes_min| region.range.len() >= *bytes_min)?;
        let held = self.buffers.get(&region.buffer)?;
        let fits = held.size_bytes.is_some_and(|size_bytes| region.range.end <= size_bytes);
        if !fits || held.takes_no_streams {
            return None;
        }
        // Only over what nothing uses any more.
        let is_over = held.cells.over(region.range).all(|(_, cell)| match cell {
            Some(cell) => {
                let is_older = cell.version < region.version || cell.is_spoiled;
                is_older && cell.pending.is_empty() && cell.fetching.is_none()
            }
            None => region.version > Version(0),
        });
        let is_streaming = held.streams.iter().any(|other| other.region.range.overlaps(region.range));
        if !is_over || is_streaming {
            return None;
        }
        let of_reader = reader.and_then(|task| match self.tasks.get(&task)?.order.lane {
            Lane::Slot { device, .. } => self.devices.get(device.index()).map(|_| device),
            Lane::Host => None,
        });
        let device = of_reader.or(match held.allocations.as_slice() {
            [only] => Some(only.device),
            _ => None,
        })?;
        let lane = self.transfer_lane(device);
        let is_free = held.allocation(device).is_none_or(|allocation| {
            !allocation.is_leaving && allocation.pending.is_none_or(|pending| pending.lane == lane)
        });
        is_free.then_some(device)
    }

    pub(super) fn take_stream_in(
        &mut self,
        stream: OperationId,
        region: Region,
        device: DeviceIndex,
        source: StreamSource,
        error: Option<OperationError>,
    ) {
        let is_known = match self.buffers.get_mut(&region.buffer) {
            Some(held) => {
                held.settle(region.range, stream);
                held.streams.retain(|streaming| streaming.stream != stream);
                held.takes_no_streams |= error.is_some();
                true
            }
            None => false,
        };
        self.unpin(region.buffer, device);
        if error.is_some() {
            // They may have come another way meanwhile.
            if let Some(held) = self.buffers.get_mut(&region.buffer) {
                held.forget_on_device(region, device);
            }
            self.disown(&[region]);
        }
        match (source, error) {
            (StreamSource::Agent { from }, None) if is_known => self.report(Report::Arrived { region, from }),
            // It comes once more, another way.
            (StreamSource::Agent { .. }, _) => {}
            (StreamSource::Payload { task }, error) => self.end_streamed_write(task, device, error),
        }
        self.contents_changed(region.buffer);
    }

    fn end_streamed_write(&mut self, task: TaskId, device: DeviceIndex, error: Option<OperationError>) {
        if !self.tasks.contains_key(&task) {
            return;
        }
        match error {
            None => self.finish_now(task),
            Some(error) => {
                let error = error.into_command_error(self.device_name(device));
                self.finish(task, TaskOutcome::Failed(error));
            }
        }
    }

    /// Checks the streams of buffers, for `check_invariants`.
    pub(super) fn check_streams(&self, keys: impl Iterator<Item = BufferKey>) {
        for key in keys {
            for streaming in self.buffers[&key].streams.as_slice() {
                let is_under_way = self.operations.contains(streaming.stream);
                assert!(is_under_way, "what streams is under way");
            }
        }
    }
}
