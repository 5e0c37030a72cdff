//! The `Agent` machine: holds launches until their inputs are resident and a lane takes them, moves
//! bytes between host and devices, and pushes what it makes to whoever needs it.
//!
//! It knows regions and versions, never bytes: the driver keeps those. What holds it up is always one of
//! an unfinished predecessor, absent contents, a full lane or full memory, and each of these wakes the
//! tasks that wait for it.

mod buffer;
pub mod event;
mod memory;
mod operations;
mod pushes;
mod start;
mod streams;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap, VecDeque};
use std::sync::Arc;

use isochrone_model::message::OrderBatch;
use isochrone_model::{
    AgentFacts, AgentId, Attempt, BufferKey, CommandError, DeviceIndex, Lane, Limits, Order, Region, Report,
    SessionId, SlotIndex, TaskId, TaskOrder, TaskOutcome, Timestamp, Work,
};

use buffer::{Buffers, Cell, LaneKey, WaitingPush};
pub use event::{
    AgentAction, AgentEvent, Operation, OperationDone, OperationError, OperationId, OperationKind,
    StreamSource, StreamTarget,
};

use crate::few::Few;
use crate::hashing::IdMap;
use operations::{Operations, Purpose};

/// More devices than this in one agent are refused: residence is kept as one bit a device.
pub const DEVICES_MAX: usize = 64;

/// What an agent is made of.
#[derive(Clone, Debug)]
pub struct AgentConfig {
    /// Who it is and what it has; at most `DEVICES_MAX` devices.
    pub facts: AgentFacts,
    /// The bounds it keeps.
    pub limits: Limits,
}

/// The machine.
pub struct Agent {
    facts: AgentFacts,
    limits: Limits,
    /// Contents of at least so many bytes go by streams.
    streamed_bytes_min: Option<u64>,
    now: Timestamp,
    actions: Vec<AgentAction>,
    buffers: Buffers,
    tasks: IdMap<TaskId, Box<Held>>,
    /// Notices whose waiting task is not known yet: (waiting task, finished task).
    early_notices: BTreeSet<(TaskId, TaskId)>,
    /// Contents that came for writes, by task, with their size.
    payloads: IdMap<TaskId, Result<u64, String>>,
    /// Failed tasks, with the number of the report that said so, until the scheduler has taken it.
    failed: BTreeMap<TaskId, u64>,
    reports_made: u64,
    devices: Vec<Device>,
    operations: Operations,
    uses: u64,
    arrivals: u64,
    host_used_bytes: u64,
    /// Tasks to look at, in order of their orders; some may be in it twice, or have gone.
    wake: BinaryHeap<Reverse<(u64, TaskId)>>,
    /// Empty between calls: the buffers of the task that is looked at.
    touched: Vec<BufferKey>,
    memory_reported: (u64, Vec<u64>),
}

/// A task that has been ordered and has not ended.
struct Held {
    /// All but its waits.
    order: Arc<TaskOrder>,
    /// Place in the order of orders; decides among tasks that could start at the same time.
    arrival: u64,
    /// Predecessors still to come, each once.
    waits: Vec<TaskId>,
    /// Predecessors on its slot that it need not wait for, since the slot keeps order, unless it ends without ever being on it.
    behind: Vec<TaskId>,
    /// Tasks here that wait for it.
    waiters: Vec<Waiter>,
    /// Tasks that were enqueued behind it on the same lane and fail with it.
    enqueued_behind: Vec<TaskId>,
    /// Tasks elsewhere to tell when it has ended.
    notifies: Vec<(AgentId, Waiter)>,
    state: HeldState,
    /// Whether its device's memory has been made ready for it and kept so.
    has_room: bool,
    /// A read of which a stream has failed.
    is_by_host: bool,
    /// Another agent has an attempt of it under way, or had when this one was ordered.
    is_backup: bool,
    /// When it could have been enqueued.
    ready_at: Timestamp,
    /// What an operation before it on its lane, or a predecessor, failed with.
    failure: Option<Box<CommandError>>,
}

/// A task that waits for another.
#[derive(Clone, Copy, Debug)]
struct Waiter {
    task: TaskId,
    /// Whether it fails with the other.
    carries_failure: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum HeldState {
    Waiting,
    Enqueued,
    /// Cancelled after it was enqueued: let finish, and its client not told.
    Abandoned,
}

struct Device {
    /// Bytes that allocations may take: nine tenths of what the device says, since drivers keep some.
    capacity_bytes: u64,
    used_bytes: u64,
    /// Launches in flight on each slot.
    in_flight: Vec<u32>,
    /// Tasks that found their slot full, in order.
    backlog: Vec<VecDeque<TaskId>>,
    /// Tasks that found the memory full.
    memory_waiters: Vec<TaskId>,
}

impl Agent {
    /// A machine that holds nothing yet.
    ///
    /// # Panics
    /// When the facts name more than `DEVICES_MAX` devices or a device without slots; the driver checks.
    #[must_use]
    pub fn new(config: AgentConfig) -> Self {
        let facts = config.facts;
        assert!(facts.devices.len() <= DEVICES_MAX, "an agent has at most {DEVICES_MAX} devices");
        let devices = facts
            .devices
            .iter()
            .map(|device| {
                assert!(device.slots > 0, "a device has at least one slot");
                Device {
                    capacity_bytes: device.memory_bytes / 10 * 9,
                    used_bytes: 0,
                    in_flight: vec![0; usize::from(device.slots)],
                    backlog: vec![VecDeque::new(); usize::from(device.slots)],
                    memory_waiters: Vec::new(),
                }
            })
            .collect();
        let device_count = facts.devices.len();
        Self {
            facts,
            limits: config.limits,
            streamed_bytes_min: None,
            now: Timestamp::ZERO,
            actions: Vec::new(),
            buffers: Buffers::default(),
            tasks: IdMap::default(),
            early_notices: BTreeSet::new(),
            payloads: IdMap::default(),
            failed: BTreeMap::new(),
            reports_made: 0,
            devices,
            operations: Operations::default(),
            uses: 0,
            arrivals: 0,
            host_used_bytes: 0,
            wake: BinaryHeap::new(),
            touched: Vec::new(),
            memory_reported: (0, vec![0; device_count]),
        }
    }

    /// Takes in one event and says what is to be done, in order.
    pub fn step(&mut self, now: Timestamp, event: AgentEvent) -> Vec<AgentAction> {
        let mut actions = Vec::new();
        self.step_into(now, event, &mut actions);
        actions
    }

    /// The same, for drivers that keep the memory of one step's actions for the next: what is to be done is appended.
    pub fn step_into(&mut self, now: Timestamp, event: AgentEvent, actions: &mut Vec<AgentAction>) {
        std::mem::swap(&mut self.actions, actions);
        self.now = self.now.max(now);
        match event {
            AgentEvent::Orders(batch) => self.take_orders(batch),
            AgentEvent::Notice { task, dependent } => self.take_notice(task, dependent),
            AgentEvent::Arrived { region, from } => self.take_replica(region, from),
            AgentEvent::ReplicaBegins { region, from } => self.take_replica_begin(region, from),
            AgentEvent::PayloadBegins { task, size_bytes } => self.take_payload_begin(task, size_bytes),
            AgentEvent::PayloadArrived { task, size_bytes } => self.take_payload(task, Ok(size_bytes)),
            AgentEvent::PayloadFailed { task, reason } => self.take_payload(task, Err(reason)),
            AgentEvent::OperationDone(done) => self.take_operation(done),
            AgentEvent::Built { program, device, outcome } => {
                self.report(Report::Built { program, device, outcome });
            }
            AgentEvent::PushFailed { region, to, reason } => {
                self.report(Report::PushFailed { region, to, reason });
            }
            AgentEvent::SendDone { region: _ } => {}
        }
        self.start_woken();
        self.report_memory();
        std::mem::swap(&mut self.actions, actions);
    }

    /// Tasks that have been ordered and have not ended.
    #[must_use]
    pub fn held_tasks(&self) -> usize {
        self.tasks.len()
    }

    /// Whether nothing is held, pending or on its way: what a quiet farm must come to.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.tasks.is_empty() && self.operations.is_empty() && self.wake.is_empty()
    }

    /// What each device's buffers take, in bytes.
    #[must_use]
    pub fn device_used_bytes(&self) -> Vec<u64> {
        self.devices.iter().map(|device| device.used_bytes).collect()
    }

    /// Checks what must hold between any two events.
    ///
    /// # Panics
    /// When it does not: a bug of this crate.
    pub fn check_invariants(&self) {
        for (index, device) in self.devices.iter().enumerate() {
            let used: u64 = self
                .buffers
                .values()
                .filter(|buffer| buffer.allocation(DeviceIndex::from_index(index)).is_some())
                .map(|buffer| buffer.size_bytes.unwrap_or(0))
                .sum();
            assert_eq!(used, device.used_bytes, "device memory is accounted for");
            assert!(device.used_bytes <= device.capacity_bytes, "device memory is bounded");
            let of_buffers: u32 = self
                .buffers
                .values()
                .filter_map(|buffer| buffer.allocation(DeviceIndex::from_index(index)))
                .map(|allocation| allocation.claims)
                .sum();
            let is_here = |lane| match lane {
                Lane::Slot { device, .. } => device.index() == index,
                Lane::Host => false,
            };
            let with_room = self.tasks.values().filter(|held| held.has_room && is_here(held.order.lane));
            let mut touched = Vec::new();
            let mut of_tasks = 0;
            for held in with_room {
                touched_buffers(&held.order, &mut touched);
                of_tasks += touched.len();
            }
            assert!(of_buffers as usize <= of_tasks, "room is kept for tasks that have not started");
            for in_flight in &device.in_flight {
                assert!(*in_flight <= self.limits.slot_depth_max, "a slot's depth is bounded");
            }
        }
        for buffer in self.buffers.values() {
            for (_, cell) in buffer.cells.iter() {
                assert!(cell.on_host || cell.on_devices != 0 || cell.is_spoiled, "a cell is somewhere");
                for pending in &cell.pending {
                    assert!(self.operations.contains(pending.operation), "pending means in flight");
                }
                for device in 0..self.devices.len() {
                    let device = DeviceIndex::from_index(device);
                    assert!(
                        cell.on_devices & buffer::bit(device) == 0 || buffer.allocation(device).is_some(),
                        "contents on a device have memory there"
                    );
                }
            }
        }
        let host: u64 = self
            .buffers
            .values()
            .flat_map(|buffer| buffer.cells.iter())
            .filter(|(_, cell)| cell.on_host)
            .map(|(range, _)| range.len())
            .sum();
        assert_eq!(host, self.host_used_bytes, "host memory is accounted for");
        self.check_streams(self.buffers.iter().map(|(key, _)| *key));
    }

    fn take_orders(&mut self, batch: OrderBatch) {
        if !self.failed.is_empty() {
            self.failed.retain(|_, report| *report > batch.reports_taken);
        }
        for order in batch.orders {
            self.take_order(order);
        }
    }

    fn take_order(&mut self, order: Order) {
        match order {
            Order::Build { program, source, options } => {
                self.actions.push(AgentAction::Build { program, source, options });
            }
            Order::DropProgram { program } => self.actions.push(AgentAction::DropProgram { program }),
            Order::DeclareBuffer { buffer, size_bytes } => {
                self.buffers.declare(buffer, size_bytes);
            }
            Order::DropBuffer { buffer } => self.drop_buffer(buffer),
            Order::Run(order) => self.hold(order, false),
            Order::RunBackup(order) => self.hold(order, true),
            Order::Push { region, to } => self.take_push(WaitingPush { region, to, is_by_host: false }),
            Order::Notify { task, dependent, to, carries_failure } => {
                if let Some(held) = self.tasks.get_mut(&task) {
                    held.notifies.push((to, Waiter { task: dependent, carries_failure }));
                } else if !carries_failure || !self.failed.contains_key(&task) {
                    self.actions.push(AgentAction::SendNotice { to, task, dependent });
                }
            }
            // A dependent that is not held has ended: it was ordered before this.
            Order::Release { task, dependent } => self.wait_is_over(dependent, task),
            Order::Cancel { task } => self.cancel(task),
            Order::Retract { task } => self.retract(task),
            Order::OpenSession { session, secret } => {
                self.actions.push(AgentAction::AdmitSession { session, secret });
            }
            Order::CloseSession { session } => self.close_session(session),
            Order::PeerJoined { agent, name, address } => {
                self.actions.push(AgentAction::PeerJoined { agent, name, address });
            }
            Order::PeerLeft { agent } => {
                for buffer in self.buffers.values_mut() {
                    buffer.pushes.retain(|push| push.to != agent);
                }
                for held in self.tasks.values_mut() {
                    held.notifies.retain(|(to, _)| *to != agent);
                }
                self.forget_streams_to(agent);
                self.actions.push(AgentAction::PeerLeft { agent });
            }
        }
    }

    /// Takes a task in and notes what it waits for.
    fn hold(&mut self, mut order: Box<TaskOrder>, is_backup: bool) {
        let task = order.task;
        let (mut waits, mut behind): (Vec<TaskId>, Vec<TaskId>) = Default::default();
        for wait in std::mem::take(&mut order.waits) {
            let mut is_awaited = true;
            if wait.is_remote {
                is_awaited = !self.early_notices.remove(&(task, wait.task));
            } else if let Some(predecessor) = self.tasks.get_mut(&wait.task) {
                if predecessor.state != HeldState::Waiting && share_slot(&predecessor.order, &order) {
                    if wait.carries_failure {
                        predecessor.enqueued_behind.push(task);
                    }
                    behind.push(wait.task);
                    is_awaited = false;
                } else {
                    predecessor.waiters.push(Waiter { task, carries_failure: wait.carries_failure });
                }
            } else {
                // If it failed, the scheduler did not know yet: it will cancel this one.
                is_awaited = wait.carries_failure && self.failed.contains_key(&wait.task);
            }
            if is_awaited && !waits.contains(&wait.task) {
                waits.push(wait.task);
            }
        }
        self.arrivals += 1;
        let mut held = Box::new(Held {
            order: Arc::new(*order),
            arrival: self.arrivals,
            waits,
            behind,
            waiters: Vec::new(),
            enqueued_behind: Vec::new(),
            notifies: Vec::new(),
            state: HeldState::Waiting,
            has_room: false,
            is_by_host: false,
            is_backup,
            ready_at: self.now,
            failure: None,
        });
        if held.waits.is_empty() {
            self.wake.push(Reverse((held.arrival, task)));
        }
        if let Some(before) = self.tasks.remove(&task) {
            // Ordered again: those that wait for it still do.
            held.waiters = before.waiters;
            held.enqueued_behind = before.enqueued_behind;
            held.notifies = before.notifies;
        }
        self.tasks.insert(task, held);
    }

    fn take_notice(&mut self, task: TaskId, dependent: TaskId) {
        if self.tasks.contains_key(&dependent) {
            self.wait_is_over(dependent, task);
        } else {
            self.early_notices.insert((dependent, task));
        }
    }

    fn wait_is_over(&mut self, dependent: TaskId, predecessor: TaskId) {
        if let Some(held) = self.tasks.get_mut(&dependent)
            && let Some(place) = held.waits.iter().position(|wait| *wait == predecessor)
        {
            held.waits.swap_remove(place);
            if held.waits.is_empty() {
                self.wake.push(Reverse((held.arrival, dependent)));
            }
        }
    }

    fn take_replica(&mut self, region: Region, from: AgentId) {
        self.report(Report::Arrived { region, from });
        let buffer = self.buffers.make(region.buffer);
        if buffer.cells.is_empty() {
            self.host_used_bytes += region.range.len();
            buffer.cells.set(region.range, Cell::on_host(region.version));
            self.trim_host();
            self.contents_changed(region.buffer);
            return;
        }
        let parts: Few<(isochrone_model::ByteRange, Option<Cell>)> =
            buffer.cells.over(region.range).map(|(range, cell)| (range, cell.cloned())).collect();
        for (range, cell) in parts {
            match cell {
                Some(cell) if cell.version > region.version && !cell.is_spoiled => {
                    // Late bytes of an old version: the store must not keep them in place of nothing.
                    if !cell.on_host {
                        self.actions.push(AgentAction::DropHost { buffer: region.buffer, range });
                    }
                }
                Some(cell) if cell.version == region.version && !cell.is_spoiled => {
                    if !cell.on_host {
                        self.host_used_bytes += range.len();
                        buffer.cells.update(range, |_, cell| cell.on_host = true);
                    }
                }
                Some(_) | None => {
                    if cell.is_none_or(|cell| !cell.on_host) {
                        self.host_used_bytes += range.len();
                    }
                    buffer.cells.set(range, Cell::on_host(region.version));
                }
            }
        }
        self.trim_host();
        self.contents_changed(region.buffer);
    }

    fn take_payload(&mut self, task: TaskId, outcome: Result<u64, String>) {
        self.payloads.insert(task, outcome);
        if let Some(held) = self.tasks.get(&task)
            && held.waits.is_empty()
        {
            self.wake.push(Reverse((held.arrival, task)));
        }
    }

    fn take_operation(&mut self, done: OperationDone) {
        let Some(purpose) = self.operations.end(done.operation) else {
            return;
        };
        match purpose {
            Purpose::Allocate { buffer, device, task } => {
                self.note_failure(task, device, done.outcome.err());
                self.use_ends(buffer, device, |buffer| {
                    if let Some(allocation) = buffer.allocation_mut(device) {
                        allocation.pending = None;
                    }
                });
            }
            Purpose::Upload { region, device, task } => {
                let has_failed = done.outcome.is_err();
                self.note_failure(task, device, done.outcome.err());
                self.use_ends(region.buffer, device, |buffer| {
                    buffer.settle(region.range, done.operation);
                    if has_failed {
                        // The device does not hold the bytes after all.
                        buffer.forget_on_device(region, device);
                    }
                });
            }
            Purpose::Download { region, device } => {
                self.take_download(done.operation, region, device, done.outcome.err());
            }
            Purpose::StreamOut { region, device, sent } => {
                self.take_stream_out(done.operation, region, device, sent, done.outcome.is_ok());
            }
            Purpose::StreamIn { region, device, source } => {
                self.take_stream_in(done.operation, region, device, source, done.outcome.err());
            }
            Purpose::Run { task } => self.take_run(task, done),
        }
    }

    /// Notes for a task that an operation before it on its lane failed; the launch behind it would run
    /// on wrong contents, so its own end counts as this failure.
    fn note_failure(&mut self, task: TaskId, device: DeviceIndex, error: Option<OperationError>) {
        let Some(error) = error else { return };
        let device = self.device_name(device);
        if let Some(held) = self.tasks.get_mut(&task)
            && held.failure.is_none()
        {
            held.failure = Some(Box::new(error.into_command_error(device)));
        }
    }

    fn take_run(&mut self, task: TaskId, done: OperationDone) {
        let Some(held) = self.tasks.get(&task) else {
            return;
        };
        let Lane::Slot { device, slot } = held.order.lane else {
            return;
        };
        let order = Arc::clone(&held.order);
        let (failure, ready_at) = (held.failure.clone(), held.ready_at);
        let mut touched = std::mem::take(&mut self.touched);
        touched_buffers(&order, &mut touched);
        for region in &order.outputs {
            if let Some(buffer) = self.buffers.get_mut(&region.buffer) {
                buffer.settle(region.range, done.operation);
            }
        }
        for buffer in &touched {
            self.unpin(*buffer, device);
        }
        let outcome = match (failure, done.outcome) {
            (Some(failure), _) => TaskOutcome::Failed(*failure),
            (None, Ok(execution)) => TaskOutcome::Done { execution, turnaround: self.now.since(ready_at) },
            (None, Err(error)) => TaskOutcome::Failed(error.into_command_error(self.device_name(device))),
        };
        if matches!(outcome, TaskOutcome::Failed(_)) {
            for region in &order.outputs {
                // The same contents may have come from another attempt of the task.
                if let Some(buffer) = self.buffers.get_mut(&region.buffer) {
                    buffer.forget_on_device(*region, device);
                }
            }
            self.disown(&order.outputs);
        }
        self.lane_has_room(device, slot);
        self.finish(task, outcome);
        for buffer in touched.drain(..) {
            self.contents_changed(buffer);
        }
        self.touched = touched;
    }

    /// What a failed launch left in its outputs must not be taken, or sent on, for the contents it was to make.
    fn disown(&mut self, outputs: &[Region]) {
        for region in outputs {
            let Some(buffer) = self.buffers.get_mut(&region.buffer) else { continue };
            let parts: Vec<isochrone_model::ByteRange> = buffer
                .cells
                .over(region.range)
                .filter(|(_, cell)| {
                    cell.is_some_and(|cell| {
                        cell.version == region.version && cell.pending.is_empty() && !cell.on_host
                    })
                })
                .map(|(range, _)| range)
                .collect();
            for range in parts {
                buffer.cells.set(range, Cell::spoiled(region.version));
            }
        }
    }

    /// One launch of a slot ended: the next task of its backlog may go.
    fn lane_has_room(&mut self, device: DeviceIndex, slot: SlotIndex) {
        let in_flight = &mut self.devices[device.index()].in_flight[slot.index()];
        *in_flight = in_flight.saturating_sub(1);
        self.wake_backlog(LaneKey { device, slot });
    }

    /// Wakes the first task of a slot's backlog if the slot has room; one that then cannot take the room, for
    /// want of contents or memory, wakes the next.
    fn wake_backlog(&mut self, lane: LaneKey) {
        let device = &mut self.devices[lane.device.index()];
        if device.in_flight[lane.slot.index()] >= self.limits.slot_depth_max {
            return;
        }
        while let Some(task) = device.backlog[lane.slot.index()].pop_front() {
            // It may have been given back since, and ordered anew with other waits or to another slot.
            if let Some(held) = self.tasks.get(&task)
                && held.state == HeldState::Waiting
                && held.waits.is_empty()
                && held.order.lane == (Lane::Slot { device: lane.device, slot: lane.slot })
            {
                self.wake.push(Reverse((held.arrival, task)));
                break;
            }
        }
    }

    /// Ends a task and tells whoever waits for it.
    fn finish(&mut self, task: TaskId, outcome: TaskOutcome) {
        self.give_up_room(task);
        let Some(held) = self.tasks.remove(&task) else {
            return;
        };
        let Held { order, waiters, enqueued_behind, notifies, state, is_backup, .. } = *held;
        match &outcome {
            TaskOutcome::Done { execution, .. } => {
                for waiter in waiters {
                    self.wait_is_over(waiter.task, task);
                }
                // The client of one that was abandoned has been told that it failed, or that another attempt of it has ended;
                // of a backup the scheduler tells it.
                let is_told = state != HeldState::Abandoned && !is_backup;
                if is_told && !matches!(order.work, Work::Read { .. }) {
                    self.actions.push(AgentAction::SendDone {
                        session: order.session,
                        command: order.command,
                        execution: *execution,
                    });
                }
                for (to, waiter) in notifies {
                    self.actions.push(AgentAction::SendNotice { to, task, dependent: waiter.task });
                }
            }
            TaskOutcome::Failed(error) => {
                // Those that fail with it are the scheduler's to cancel, where they have not started; those
                // already enqueued behind it will end, and must not count.
                for waiter in waiters.iter().filter(|waiter| !waiter.carries_failure) {
                    self.wait_is_over(waiter.task, task);
                }
                for (to, waiter) in notifies.iter().filter(|(_, waiter)| !waiter.carries_failure) {
                    self.actions.push(AgentAction::SendNotice { to: *to, task, dependent: waiter.task });
                }
                let failure = CommandError::of_dependent(order.command, error);
                for dependent in enqueued_behind {
                    if let Some(held) = self.tasks.get_mut(&dependent)
                        && held.failure.is_none()
                    {
                        held.failure = Some(Box::new(failure.clone()));
                    }
                }
                self.failed.insert(task, self.reports_made + 1);
            }
        }
        self.report_end(task, order.attempt, outcome);
    }

    fn report_end(&mut self, task: TaskId, attempt: Attempt, outcome: TaskOutcome) {
        self.report(Report::Finished { task, attempt, outcome });
    }

    fn report(&mut self, report: Report) {
        self.reports_made += 1;
        self.actions.push(AgentAction::Report(report));
    }

    /// The scheduler wants a task no more: it hears of it as given back or, once it has started, of its end.
    fn cancel(&mut self, task: TaskId) {
        let Some(held) = self.tasks.get_mut(&task) else {
            return;
        };
        if held.state == HeldState::Waiting {
            self.retract(task);
        } else {
            held.state = HeldState::Abandoned;
            // Those elsewhere that come after it are released by the scheduler.
            held.notifies = Vec::new();
        }
    }

    /// Gives a task back if it has not started.
    fn retract(&mut self, task: TaskId) {
        let Some(held) = self.tasks.get(&task).filter(|held| held.state == HeldState::Waiting) else {
            return;
        };
        let attempt = held.order.attempt;
        self.forget(task);
        self.report(Report::Retracted { task, attempt });
    }

    /// Forgets a task of a session that is over, or lets it end for nobody.
    fn abandon(&mut self, task: TaskId) {
        match self.tasks.get_mut(&task) {
            Some(held) if held.state != HeldState::Waiting => held.state = HeldState::Abandoned,
            Some(_) | None => self.forget(task),
        }
    }

    /// Forgets a task that has not started.
    fn forget(&mut self, task: TaskId) {
        self.give_up_room(task);
        let Some(held) = self.tasks.remove(&task) else {
            return;
        };
        for predecessor in &held.waits {
            if let Some(before) = self.tasks.get_mut(predecessor) {
                before.waiters.retain(|waiter| waiter.task != task);
            }
        }
        if matches!(held.order.work, Work::Write { bytes: None }) {
            self.payloads.remove(&task);
            self.actions.push(AgentAction::DropPayload { task });
        }
        let early: Vec<(TaskId, TaskId)> =
            self.early_notices.range((task, TaskId(0))..=(task, TaskId(u64::MAX))).copied().collect();
        for notice in early {
            self.early_notices.remove(&notice);
        }
    }

    fn close_session(&mut self, session: SessionId) {
        let mut tasks: Vec<TaskId> = self
            .tasks
            .iter()
            .filter(|(_, held)| held.order.session == session)
            .map(|(task, _)| *task)
            .collect();
        tasks.sort_unstable();
        for task in tasks {
            self.abandon(task);
        }
        for buffer in self.buffers.of_session(session) {
            self.drop_buffer(buffer);
        }
        self.actions.push(AgentAction::DismissSession { session });
    }

    fn operation(&mut self, lane: LaneKey, purpose: Purpose, kind: OperationKind) -> OperationId {
        let id = self.operations.begin(purpose);
        self.operate(id, lane, kind);
        id
    }

    fn operate(&mut self, id: OperationId, lane: LaneKey, kind: OperationKind) {
        self.actions.push(AgentAction::Operate(Operation { id, device: lane.device, slot: lane.slot, kind }));
    }

    fn device_name(&self, device: DeviceIndex) -> String {
        match self.facts.devices.get(device.index()) {
            Some(facts) => format!("{}/{}", self.facts.name, facts.name),
            None => format!("{}/{device}", self.facts.name),
        }
    }

    /// The lane for moving bytes, beside the slots that run launches.
    fn transfer_lane(&self, device: DeviceIndex) -> LaneKey {
        LaneKey { device, slot: SlotIndex(self.facts.devices[device.index()].slots) }
    }
}

fn share_slot(first: &TaskOrder, second: &TaskOrder) -> bool {
    first.lane == second.lane && first.lane != Lane::Host
}

/// Every buffer that a task's operations use on its device, once each, in order.
fn touched_buffers(order: &TaskOrder, buffers: &mut Vec<BufferKey>) {
    buffers.clear();
    match &order.work {
        Work::Kernel { arguments, .. } => {
            for argument in arguments {
                match argument {
                    isochrone_model::BoundArgument::Buffer { buffer, .. } => buffers.push(*buffer),
                    isochrone_model::BoundArgument::Scalar(_) | isochrone_model::BoundArgument::Local(_) => {}
                }
            }
        }
        Work::Copy { source, .. } => buffers.push(*source),
        Work::Write { .. } | Work::Read { .. } | Work::Fill { .. } | Work::Nothing => {}
    }
    // Most of what a task reads and writes is among its arguments: so there is little to sort.
    let known = buffers.len();
    for region in order.inputs.iter().chain(&order.outputs) {
        if !buffers[..known].contains(&region.buffer) {
            buffers.push(region.buffer);
        }
    }
    buffers.sort_unstable();
    buffers.dedup();
}
