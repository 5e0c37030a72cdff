//! Starting tasks: what holds one up, and what is enqueued for it when nothing does.

use std::cmp::Reverse;
use std::sync::Arc;

use isochrone_model::{
    BufferKey, CommandError, Lane, Region, Span, TaskId, TaskOrder, TaskOutcome, Version, Work,
};

use super::buffer::{Cell, LaneKey, Pending, Residence};
use super::event::{AgentAction, OperationKind, StreamTarget};
use super::memory::Room;
use super::operations::Purpose;
use super::{Agent, HeldState, Waiter, share_slot, touched_buffers};
use crate::few::Few;

/// Uploads up to this size go on the launch's own lane, in order before it: waiting for them to end would
/// cost more than they take. Larger ones go beside the lane, so that they overlap what runs there.
const LANE_UPLOAD_BYTES_MAX: u64 = 256 << 10;

/// How a task's outputs stand with what is here.
enum OutputsStand {
    /// Some of it is older, none newer: the task is to run.
    Older,
    /// All of it is here, or was.
    Made,
    /// A part is newer, and a part was never here.
    Superseded(Region),
}

/// What holds a task up.
enum Hindrance {
    /// Contents of this buffer.
    Contents(BufferKey),
    /// Memory of its device.
    Memory,
    /// The task ended without running.
    Failed(CommandError),
}

impl Agent {
    /// Looks at every woken task, in the order of their orders.
    pub(super) fn start_woken(&mut self) {
        while let Some(Reverse((arrival, task))) = self.wake.pop() {
            while self.wake.peek() == Some(&Reverse((arrival, task))) {
                self.wake.pop();
            }
            // One that was given back may have been ordered anew.
            if self.tasks.get(&task).is_some_and(|held| held.arrival == arrival) {
                self.try_start(task);
            }
        }
    }

    fn try_start(&mut self, task: TaskId) {
        let Some(held) = self.tasks.get(&task) else {
            return;
        };
        if held.state != HeldState::Waiting || !held.waits.is_empty() {
            return;
        }
        let lane = held.order.lane;
        let fits = match lane {
            Lane::Host => true,
            Lane::Slot { device, slot } => {
                self.devices.get(device.index()).is_some_and(|device| slot.index() < device.in_flight.len())
            }
        };
        if self.ends_unstarted(task) {
            // If it was woken to take the lane's room, another may.
            if let Lane::Slot { device, slot } = lane
                && fits
            {
                self.wake_backlog(LaneKey { device, slot });
            }
            return;
        }
        match lane {
            Lane::Host => self.try_host(task),
            Lane::Slot { device, slot } if fits => self.try_lane(task, LaneKey { device, slot }),
            Lane::Slot { device, slot } => {
                let reason = format!("agent {} has no {slot} on {device}", self.facts.name);
                self.finish(task, TaskOutcome::Failed(CommandError::NoDevice { reason }));
            }
        }
    }

    /// Whether a task is not to run, since it has failed or what it makes is here; then it ends, or will once its
    /// contents have come.
    fn ends_unstarted(&mut self, task: TaskId) -> bool {
        let failure = self.tasks.get(&task).and_then(|held| held.failure.clone());
        let stand = self.outputs_stand(task);
        if self.tasks[&task].is_backup && !matches!(stand, OutputsStand::Older) {
            // The other attempt has made them; whether all of them are here already is not this one's to say.
            self.retract(task);
            return true;
        }
        if (failure.is_some() || !matches!(stand, OutputsStand::Older)) && self.awaits_its_slot(task) {
            return true;
        }
        if let Some(failure) = failure {
            self.fail_in_place(task, *failure);
            return true;
        }
        match stand {
            OutputsStand::Older => false,
            OutputsStand::Made => {
                if self.payloads.remove(&task).is_some() {
                    self.actions.push(AgentAction::DropPayload { task });
                }
                self.finish_now(task);
                true
            }
            OutputsStand::Superseded(region) => {
                self.finish(task, superseded(region));
                true
            }
        }
    }

    /// Whether a task that is to end without running has to wait for those on its slot that it need not have waited for otherwise; then it does.
    /// Its end tells tasks elsewhere that all before it have ended.
    fn awaits_its_slot(&mut self, task: TaskId) -> bool {
        let Some(held) = self.tasks.get_mut(&task) else { return false };
        let behind = std::mem::take(&mut held.behind);
        let mut awaited: Vec<TaskId> =
            behind.into_iter().filter(|predecessor| self.tasks.contains_key(predecessor)).collect();
        awaited.sort_unstable();
        awaited.dedup();
        for predecessor in &awaited {
            if let Some(before) = self.tasks.get_mut(predecessor) {
                before.waiters.push(Waiter { task, carries_failure: false });
            }
        }
        let is_any = !awaited.is_empty();
        if let Some(held) = self.tasks.get_mut(&task) {
            held.waits = awaited;
        }
        is_any
    }

    /// Ends a task that has failed before it started, once its contents have come: they prove that their makers have
    /// ended, whom those that come after this one must not overtake.
    fn fail_in_place(&mut self, task: TaskId, failure: CommandError) {
        let absent = self.tasks[&task].order.inputs.iter().find_map(|region| {
            let buffer = self.buffers.get(&region.buffer);
            let stands = buffer.map_or(Residence::Absent, |buffer| buffer.on_host(*region));
            (stands == Residence::Absent && region.version != Version(0)).then_some(region.buffer)
        });
        match absent {
            Some(key) => self.buffers.make(key).waiters.push(task),
            None => self.finish(task, TaskOutcome::Failed(failure)),
        }
    }

    /// Whether a task is to run: some of what it is to make is not here, and nothing newer is.
    pub(super) fn is_to_be_made(&self, task: TaskId) -> bool {
        matches!(self.outputs_stand(task), OutputsStand::Older)
    }

    /// Whether what a task is to make is here already, or newer contents are: then an earlier attempt on an agent
    /// that was lost had finished, and running it again would write old contents over new ones.
    fn outputs_stand(&self, task: TaskId) -> OutputsStand {
        let mut all_made = true;
        let mut newer = None;
        let outputs = &self.tasks[&task].order.outputs;
        for region in outputs {
            let Some(buffer) = self.buffers.get(&region.buffer) else {
                return OutputsStand::Older;
            };
            for (_, cell) in buffer.cells.over(region.range) {
                let version = cell.filter(|cell| !cell.is_spoiled).map_or(Version(0), |cell| cell.version);
                all_made &= version >= region.version;
                if version > region.version {
                    newer = newer.or(Some(*region));
                }
            }
        }
        match newer {
            _ if all_made && !outputs.is_empty() => OutputsStand::Made,
            Some(region) => OutputsStand::Superseded(region),
            None => OutputsStand::Older,
        }
    }

    fn try_host(&mut self, task: TaskId) {
        let order = &self.tasks[&task].order;
        match &order.work {
            Work::Nothing => self.finish_now(task),
            Work::Write { bytes } => {
                let bytes = bytes.clone();
                self.try_write(task, bytes);
            }
            Work::Read { offset_bytes } => {
                let offset_bytes = *offset_bytes;
                self.try_read(task, offset_bytes);
            }
            Work::Kernel { .. } | Work::Copy { .. } | Work::Fill { .. } => {
                let reason = "this work needs a device's slot".to_owned();
                self.finish(task, TaskOutcome::Failed(CommandError::NoDevice { reason }));
            }
        }
    }

    pub(super) fn finish_now(&mut self, task: TaskId) {
        let turnaround = self.now.since(self.tasks[&task].ready_at);
        self.finish(task, TaskOutcome::Done { execution: Span::ZERO, turnaround });
    }

    fn try_write(&mut self, task: TaskId, bytes: Option<bytes::Bytes>) {
        let Some(region) = self.tasks[&task].order.outputs.first().copied() else {
            self.finish_now(task);
            return;
        };
        let size_bytes = match (&bytes, self.payloads.get(&task)) {
            (Some(bytes), _) => bytes.len() as u64,
            (None, Some(Ok(size_bytes))) => *size_bytes,
            (None, Some(Err(reason))) => {
                let reason = reason.clone();
                self.payloads.remove(&task);
                self.finish(task, TaskOutcome::Failed(CommandError::PayloadLost { reason }));
                return;
            }
            (None, None) => return,
        };
        self.payloads.remove(&task);
        if size_bytes != region.range.len() {
            let reason = format!("{size_bytes} bytes came where {} are due", region.range.len());
            self.actions.push(AgentAction::DropPayload { task });
            self.finish(task, TaskOutcome::Failed(CommandError::PayloadLost { reason }));
            return;
        }
        if self.host_used_bytes + size_bytes > self.facts.host_memory_bytes {
            self.trim_host_to(size_bytes);
        }
        if self.host_used_bytes + size_bytes > self.facts.host_memory_bytes {
            self.actions.push(AgentAction::DropPayload { task });
            let error = CommandError::OutOfMemory {
                place: format!("{}/host", self.facts.name),
                needed_bytes: size_bytes,
                limit_bytes: self.facts.host_memory_bytes,
            };
            self.finish(task, TaskOutcome::Failed(error));
            return;
        }
        self.host_copy_is_stale(region);
        self.actions.push(match bytes {
            Some(bytes) => AgentAction::StoreBytes { region, bytes },
            None => AgentAction::StorePayload { task, region },
        });
        self.host_used_bytes += size_bytes;
        let buffer = self.buffers.make(region.buffer);
        buffer.cells.set(region.range, Cell::on_host(region.version));
        self.finish_now(task);
        self.contents_changed(region.buffer);
    }

    /// Drops host copies that a device holds too until `size_bytes` more fit, where that is possible.
    fn trim_host_to(&mut self, size_bytes: u64) {
        let bound = self.facts.host_memory_bytes;
        self.facts.host_memory_bytes = bound.saturating_sub(size_bytes);
        self.trim_host();
        self.facts.host_memory_bytes = bound;
    }

    fn try_read(&mut self, task: TaskId, offset_bytes: u64) {
        let order = &self.tasks[&task].order;
        let (session, command) = (order.session, order.command);
        let Some(region) = order.inputs.first().copied() else {
            self.finish_now(task);
            return;
        };
        match self.buffers.make(region.buffer).on_host(region) {
            Residence::Ready => {
                self.actions.push(AgentAction::SendData { session, command, offset_bytes, region });
                self.finish_now(task);
            }
            Residence::Elsewhere => {
                let target = StreamTarget::Session { session, command, offset_bytes };
                if !self.stream_read(task, region, target) {
                    self.buffers.make(region.buffer).waiters.push(task);
                    self.fetch(region);
                }
            }
            Residence::Absent => self.buffers.make(region.buffer).waiters.push(task),
            Residence::Superseded => self.finish(task, superseded(region)),
        }
    }

    /// Enqueues a task on its lane if its contents, the memory and the lane's depth allow.
    fn try_lane(&mut self, task: TaskId, lane: LaneKey) {
        let order = Arc::clone(&self.tasks[&task].order);
        let mut touched = std::mem::take(&mut self.touched);
        self.try_lane_with(&order, lane, &mut touched);
        self.touched = touched;
    }

    /// `touched` is only lent for its memory.
    fn try_lane_with(&mut self, order: &TaskOrder, lane: LaneKey, touched: &mut Vec<BufferKey>) {
        let task = order.task;
        let prepared = self.find_inputs(order, lane).and_then(|()| {
            touched_buffers(order, touched);
            self.prepare(task, lane, touched, &order.inputs)
        });
        match prepared {
            Ok(()) => {}
            Err(hindrance) => {
                match hindrance {
                    Hindrance::Contents(key) => self.buffers.make(key).waiters.push(task),
                    Hindrance::Memory => self.devices[lane.device.index()].memory_waiters.push(task),
                    Hindrance::Failed(_) if self.awaits_its_slot(task) => {}
                    Hindrance::Failed(error) => self.finish(task, TaskOutcome::Failed(error)),
                }
                // If it was woken to take the lane's room, another may.
                self.wake_backlog(lane);
                return;
            }
        }
        let device = &mut self.devices[lane.device.index()];
        if device.in_flight[lane.slot.index()] >= self.limits.slot_depth_max {
            device.backlog[lane.slot.index()].push_back(task);
            self.claim_room(task, touched, lane.device);
            return;
        }
        device.in_flight[lane.slot.index()] += 1;
        self.enqueue(order, lane, touched);
    }

    /// Whether all inputs are in the agent, and nothing of another version streams where the task reads or writes.
    fn find_inputs(&mut self, order: &TaskOrder, lane: LaneKey) -> Result<(), Hindrance> {
        let (task, inputs) = (order.task, &order.inputs);
        if self.does_stream() {
            for region in inputs.iter().chain(&order.outputs) {
                if self.is_streaming_other_than(*region, lane.device) {
                    self.give_up_room(task);
                    return Err(Hindrance::Contents(region.buffer));
                }
            }
        }
        for region in inputs {
            let buffer = self.buffers.make(region.buffer);
            match buffer.on_lane(*region, lane) {
                Residence::Ready | Residence::Elsewhere => {}
                Residence::Absent => {
                    self.give_up_room(task);
                    return Err(Hindrance::Contents(region.buffer));
                }
                Residence::Superseded => return Err(Hindrance::Failed(superseded_error(*region))),
            }
        }
        Ok(())
    }

    /// Makes memory and moves inputs, which are in the agent, toward the lane; `Ok` when all that is left is in order
    /// before it.
    fn prepare(
        &mut self,
        task: TaskId,
        lane: LaneKey,
        touched: &[BufferKey],
        inputs: &[Region],
    ) -> Result<(), Hindrance> {
        match self.make_room(touched, inputs, lane, task) {
            Room::Made => {}
            Room::Awaited => return Err(Hindrance::Memory),
            Room::Never { needed_bytes, capacity_bytes } => {
                return Err(Hindrance::Failed(CommandError::OutOfMemory {
                    place: self.device_name(lane.device),
                    needed_bytes,
                    limit_bytes: capacity_bytes,
                }));
            }
        }
        for key in touched {
            // Zeroing on another lane must have ended.
            let pending = self.buffers.get(key).and_then(|buffer| buffer.allocation(lane.device)?.pending);
            if pending.is_some_and(|pending| pending.lane != lane) {
                self.claim_room(task, touched, lane.device);
                return Err(Hindrance::Contents(*key));
            }
        }
        let mut hindered = None;
        for region in inputs {
            if !self.bring_to_lane(task, *region, lane) {
                hindered = hindered.or(Some(region.buffer));
            }
        }
        match hindered {
            None => Ok(()),
            Some(key) => {
                self.claim_room(task, touched, lane.device);
                Err(Hindrance::Contents(key))
            }
        }
    }

    /// The lane on which small inputs of a launch are brought to its device. Behind launches that are under way, tasks on
    /// the device's other slots that read the same would have to wait for those.
    pub(super) fn input_lane(&self, lane: LaneKey) -> LaneKey {
        let in_flight = &self.devices[lane.device.index()].in_flight;
        if in_flight.len() > 1 && in_flight.get(lane.slot.index()).is_some_and(|launches| *launches > 0) {
            self.transfer_lane(lane.device)
        } else {
            lane
        }
    }

    /// Starts the uploads and downloads that a region needs; whether it now lies in order on the lane.
    fn bring_to_lane(&mut self, task: TaskId, region: Region, lane: LaneKey) -> bool {
        let device = lane.device;
        let mut is_in_order = true;
        let mut needs_fetch = false;
        let mut uploads = Few::default();
        let Some(buffer) = self.buffers.get(&region.buffer) else {
            return false;
        };
        for (range, cell) in buffer.cells.over(region.range) {
            let Some(cell) = cell else { continue };
            if cell.is_on(device, Some(lane)) {
                continue;
            }
            if cell.on_devices & super::buffer::bit(device) != 0 {
                is_in_order = false;
            } else if cell.on_host {
                uploads.push(Region { range, ..region });
            } else {
                needs_fetch = true;
                is_in_order = false;
            }
        }
        if uploads.is_empty() {
            if needs_fetch {
                self.fetch(region);
            }
            return is_in_order;
        }
        let (small_lane, large_lane) = (self.input_lane(lane), self.transfer_lane(device));
        for part in uploads {
            let Some(buffer) = self.buffers.get_mut(&part.buffer) else { continue };
            let zeroed_on = buffer.allocation(device).and_then(|held| held.pending);
            // Zeroing must come before the upload: on its lane if it is under way there.
            let upload_lane = match zeroed_on {
                Some(pending) => pending.lane,
                None if part.range.len() <= LANE_UPLOAD_BYTES_MAX => small_lane,
                None => large_lane,
            };
            let operation = self.operations.begin(Purpose::Upload { region: part, device, task });
            self.uses += 1;
            if let Some(allocation) = buffer.allocation_mut(device) {
                allocation.pins += 1;
                allocation.last_used = self.uses;
            }
            buffer.cells.update(part.range, |_, cell| {
                cell.on_devices |= super::buffer::bit(device);
                cell.pending.push(Pending { lane: upload_lane, operation });
            });
            self.operate(operation, upload_lane, OperationKind::Upload { region: part });
            is_in_order &= upload_lane == lane;
        }
        if needs_fetch {
            self.fetch(region);
        }
        is_in_order
    }

    fn enqueue(&mut self, order: &TaskOrder, lane: LaneKey, touched: &[BufferKey]) {
        let (task, outputs) = (order.task, &order.outputs);
        let kind = match order.work.clone() {
            Work::Kernel { program, kernel, range, arguments } => {
                OperationKind::Launch { program, kernel, range, arguments }
            }
            Work::Copy { source, source_range } => {
                let Some(target) = outputs.first().copied() else {
                    self.lane_has_room(lane.device, lane.slot);
                    self.finish_now(task);
                    return;
                };
                OperationKind::Copy {
                    source,
                    source_range,
                    target: target.buffer,
                    target_offset_bytes: target.range.start,
                }
            }
            Work::Fill { pattern } => {
                let Some(target) = outputs.first().copied() else {
                    self.lane_has_room(lane.device, lane.slot);
                    self.finish_now(task);
                    return;
                };
                OperationKind::Fill { buffer: target.buffer, range: target.range, pattern }
            }
            Work::Write { .. } | Work::Read { .. } | Work::Nothing => {
                self.lane_has_room(lane.device, lane.slot);
                self.try_host(task);
                return;
            }
        };
        let operation = self.operation(lane, Purpose::Run { task }, kind);
        for key in touched {
            self.pin(*key, lane.device);
        }
        self.give_up_room(task);
        // What comes next on the lane must not count on a backup: when it fails, the task has not.
        let is_backup = self.tasks.get(&task).is_some_and(|held| held.is_backup);
        let made_on = if is_backup { lane.apart() } else { lane };
        for region in outputs {
            self.host_copy_is_stale(*region);
            let buffer = self.buffers.make(region.buffer);
            buffer.cells.set(region.range, Cell::made_by(region.version, made_on, operation));
        }
        if let Some(held) = self.tasks.get_mut(&task) {
            held.state = HeldState::Enqueued;
        }
        self.wake_lane_mates(task);
        for region in outputs {
            self.contents_changed(region.buffer);
        }
    }

    /// Tasks on the same slot that wait for this one need not wait for its end: the lane keeps order.
    fn wake_lane_mates(&mut self, task: TaskId) {
        let Some(held) = self.tasks.get_mut(&task) else {
            return;
        };
        if held.waiters.is_empty() {
            return;
        }
        let (order, waiting) = (Arc::clone(&held.order), std::mem::take(&mut held.waiters));
        let (mut remaining, mut behind) = (Vec::new(), Vec::new());
        for waiter in waiting {
            let is_mate = self.tasks.get(&waiter.task).is_some_and(|held| share_slot(&held.order, &order));
            if is_mate {
                if waiter.carries_failure {
                    behind.push(waiter.task);
                }
                if let Some(mate) = self.tasks.get_mut(&waiter.task) {
                    mate.behind.push(task);
                }
                self.wait_is_over(waiter.task, task);
            } else {
                remaining.push(waiter);
            }
        }
        if let Some(held) = self.tasks.get_mut(&task) {
            held.enqueued_behind.append(&mut behind);
            held.waiters = remaining;
        }
    }
}

fn superseded(region: Region) -> TaskOutcome {
    TaskOutcome::Failed(superseded_error(region))
}

fn superseded_error(region: Region) -> CommandError {
    CommandError::ContentSuperseded { buffer: region.buffer.buffer, range: region.range }
}
