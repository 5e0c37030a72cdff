//! How tasks and transfers end: reports of completions, of arrivals and of pushes that failed.

use std::collections::BTreeSet;

use isochrone_model::{
    AgentId, Attempt, BufferKey, ByteRange, CommandError, LinkEnd, Order, Payload, Region, Report, SlotId,
    Span, TaskId, TaskOutcome, Timestamp,
};

use super::Scheduler;
use super::state::{
    BufferIndex, CommandRecord, Replica, ReplicaState, TaskState, TaskWork, VersionIndex, shifted,
};
use crate::dag::TaskIndex;
use crate::policy::Change;

impl Scheduler {
    pub(super) fn take_report(&mut self, agent: AgentId, report: Report) {
        self.state.agents[agent.index()].reports_taken += 1;
        match report {
            Report::Finished { task, attempt, outcome } => self.take_end(agent, task, attempt, outcome),
            Report::Retracted { task, attempt } => self.take_retraction(agent, task, attempt),
            Report::Built { program, device, outcome } => self.take_build(agent, program, device, outcome),
            Report::Arrived { region, from } => self.take_arrival(agent, region, from),
            Report::PushFailed { region, to, reason } => self.take_push_failure(agent, region, to, &reason),
            Report::PathMeasured { to, sample } => self.take_path(LinkEnd::Agent(agent), to, &sample),
            Report::Carried { from, size_bytes, shared_bytes, span } => {
                self.take_carriage(from, agent, size_bytes, shared_bytes, span);
            }
            Report::Memory { host_bytes, device_bytes } => {
                let record = &mut self.state.agents[agent.index()];
                record.host_used_bytes = host_bytes;
                for (device, used) in record.devices.clone().into_iter().zip(device_bytes) {
                    self.state.devices[device.index()].memory_used_bytes = used;
                }
            }
        }
    }

    fn take_end(&mut self, agent: AgentId, task: TaskId, attempt: Attempt, outcome: TaskOutcome) {
        if self.take_end_of_spare(agent, task, attempt, &outcome) {
            return;
        }
        let Some(index) = self.state.live(task) else {
            return;
        };
        let record = self.state.task(index);
        if record.state.holder() != Some(agent) || record.attempt != attempt {
            return;
        }
        if let TaskState::Failed { .. } = record.state {
            self.is_held_no_more(index);
            return;
        }
        match outcome {
            TaskOutcome::Done { execution, .. } => {
                self.learn(index, execution);
                self.note_read(index, agent);
                for place in 0..self.state.task(index).inputs.len() {
                    let input = self.state.task(index).inputs[place];
                    self.mark_resident(input.version, input.range, agent);
                }
                for place in 0..self.state.task(index).outputs.len() {
                    let output = self.state.task(index).outputs[place];
                    self.mark_resident(output.version, output.range, agent);
                }
                self.finish_proven(index);
                if self.state.task(index).is_backup {
                    self.tell_end_of_backup(index, execution, None);
                }
                self.finish_task(index);
            }
            TaskOutcome::Failed(CommandError::Dependency { .. }) if record.is_retracting => {
                // It was behind an attempt on its lane that failed there after its backup had ended well: of a task that had failed, the
                // scheduler would have heard before, and have failed this one with it.
                self.take_retraction(agent, task, attempt);
            }
            TaskOutcome::Failed(error) => {
                self.reported_failure = Some(index);
                self.fail_task(index, error);
                self.reported_failure = None;
            }
        }
        self.is_placing_due |= self.policies.iter().any(|entry| !entry.placeable.is_empty());
    }

    /// A task that finished proves that those whose success it needed had: one that was to run again because
    /// the agent that had run it was lost need not, unless what it made is still needed and nowhere to be had.
    fn finish_proven(&mut self, task: TaskIndex) {
        if !self.state.task(task).is_retracting {
            return;
        }
        let mut seen = BTreeSet::from([task]);
        let mut open = vec![task];
        let mut proven = Vec::new();
        while let Some(task) = open.pop() {
            for (first, kind) in self.state.dag.predecessors(task) {
                let record = self.state.task(first);
                // A task that only came after it may have done so because it failed.
                let is_proof = kind.carries_failure()
                    && record.attempt > Attempt(1)
                    && record.state == TaskState::Blocked;
                if !is_proof || !seen.insert(first) {
                    continue;
                }
                open.push(first);
                if !matches!(record.work, TaskWork::Read { .. }) && !self.outputs_are_missed(first) {
                    proven.push(first);
                }
            }
        }
        for task in proven {
            self.finish_without_report(task);
        }
    }

    /// Whether someone still needs what a task makes and it is nowhere.
    fn outputs_are_missed(&self, task: TaskIndex) -> bool {
        let outputs = &self.state.task(task).outputs;
        let is_needed = outputs.iter().any(|output| {
            let version = &self.state.versions[output.version];
            version.frontier_bytes > 0 || version.uses > 1
        });
        is_needed && !self.outputs_are_had(task)
    }

    /// Contents that an agent has sent to a client have opened the window between the two.
    fn note_read(&mut self, task: TaskIndex, agent: AgentId) {
        let record = self.state.task(task);
        if let TaskWork::Read { .. } = record.work {
            let bytes = record.inputs.iter().map(|input| input.range.len()).sum();
            let session = record.session;
            self.state.costs.note_read(session, agent, bytes);
        }
    }

    /// Takes a measured duration into the cost model and the slot's account.
    pub(super) fn learn(&mut self, task: TaskIndex, execution: Span) {
        let record = self.state.task(task);
        let TaskState::Dispatched { slot: Some(slot), .. } = record.state else {
            return;
        };
        if execution == Span::ZERO {
            // Its contents were there from an earlier attempt; nothing ran.
            return;
        }
        let device = self.state.slots[slot.index()].device;
        if let TaskWork::Kernel(kernel) = &record.work {
            let (row, items) = (kernel.row, kernel.range.items());
            self.state.costs.record_execution(row, device, items, execution);
        }
        let held = &mut self.state.devices[device.index()];
        held.finished += 1;
        held.busy += execution;
        let (policy, expected) = (self.state.task(task).policy, self.state.task(task).expected);
        self.observe(policy, &Change::Measured { task, expected, execution });
    }

    /// Takes a dispatched task off the accounts of its agent and slot, and corrects the slot's drift by how
    /// much its end differs from what was expected.
    pub(super) fn unaccount(&mut self, task: TaskIndex, way_back: Span) {
        let record = self.state.task(task);
        let TaskState::Dispatched { agent, slot } = record.state else {
            return;
        };
        let (expected, expected_finish) = (record.expected, record.expected_finish);
        if let TaskWork::Write { payload: Payload::Stream { size_bytes } } = record.work {
            let session = record.session;
            self.state.costs.note_upload_end(self.state.now, session, agent, size_bytes);
        }
        self.take_off(agent, slot, expected, expected_finish, way_back);
    }

    /// Takes an attempt off the accounts of its agent and slot.
    pub(super) fn take_off(
        &mut self,
        agent: AgentId,
        slot: Option<SlotId>,
        expected: Span,
        expected_finish: Timestamp,
        way_back: Span,
    ) {
        self.state.agents[agent.index()].dispatched -= 1;
        if let Some(slot) = slot {
            let ended = self.state.now - way_back;
            let held = &mut self.state.slots[slot.index()];
            held.dispatched -= 1;
            held.queued = held.queued.saturating_sub(expected);
            let due = shifted(expected_finish, held.drift);
            let late = i64::try_from(ended.0.abs_diff(due.0)).unwrap_or(i64::MAX);
            held.drift =
                if ended >= due { held.drift.saturating_add(late) } else { held.drift.saturating_sub(late) };
        }
    }

    /// Removes a task that ended well.
    pub(super) fn finish_task(&mut self, task: TaskIndex) {
        self.outrun_backup(task);
        let way_back = self
            .state
            .task(task)
            .state
            .agent()
            .map_or(Span::ZERO, |agent| self.state.costs.control_one_way(agent));
        self.unaccount(task, way_back);
        self.state.counters.finished += 1;
        let mut open = Vec::new();
        if !self.state.task(task).is_settled() {
            // It ended without having been placed (a barrier with nothing to wait for).
            self.successors_gain(task, &mut open);
        }
        self.end_of_command(task, None);
        self.remove_task(task);
        for next in open {
            self.predecessors_are_placed(next);
        }
    }

    /// Counts one task of a command as ended, and the command with its last.
    pub(super) fn end_of_command(&mut self, task: TaskIndex, error: Option<&CommandError>) {
        let (session, command) = (self.state.task(task).session, self.state.task(task).command);
        if let Some(error) = error {
            self.note_failed_command(session, command, error);
        }
        let Some(record) = self.state.sessions.get_mut(&session) else {
            return;
        };
        if let Some(CommandRecord { open, .. }) = record.commands.get_mut(command.0) {
            *open -= 1;
            if *open == 0 {
                record.commands.remove(command.0);
                record.commands_finished += 1;
            }
        }
    }

    /// Takes a task out of the graph and lets go of what it held; with it go failed ones that have kept their place
    /// behind it alone.
    pub(super) fn remove_task(&mut self, task: TaskIndex) {
        let mut over = Vec::new();
        self.remove_one(task, &mut over);
        while let Some(next) = over.pop() {
            self.release_dependents(next);
            self.remove_one(next, &mut over);
        }
    }

    fn remove_one(&mut self, task: TaskIndex, over: &mut Vec<TaskIndex>) {
        let behind = if self.places_kept > 0 { self.failed_behind(task) } else { Vec::new() };
        if self.state.is_open(task) {
            let policy = self.state.task(task).policy;
            self.observe(policy, &Change::Removed { task });
        }
        self.state.dag.remove_task(task);
        let Some(record) = self.state.tasks[task.index()].take() else {
            return;
        };
        if let TaskState::Failed { .. } = record.state {
            self.places_kept -= 1;
        }
        over.extend(behind.into_iter().filter(|next| self.state.dag.predecessors(*next).next().is_none()));
        self.state.generations[task.index()] = self.state.generations[task.index()].wrapping_add(1);
        if record.is_retracting {
            // Those before it that must run again wait for this.
            self.is_placing_due = true;
        }
        for input in &record.inputs {
            self.state.versions[input.version].uses -= 1;
            self.drop_version_if_unused(input.version);
        }
        for output in &record.outputs {
            let version = &mut self.state.versions[output.version];
            version.uses -= 1;
            version.producer = None;
            self.drop_version_if_unused(output.version);
        }
        for buffer in &record.buffers {
            self.state.buffers[*buffer].users -= 1;
            self.drop_buffer_if_unused(*buffer);
        }
    }

    pub(super) fn drop_version_if_unused(&mut self, version: VersionIndex) {
        let record = &self.state.versions[version];
        if record.uses == 0 && record.frontier_bytes == 0 {
            let buffer = record.buffer;
            self.state.versions.remove(version.0);
            if let Some(record) = self.state.buffers.get_mut(buffer.0) {
                record.versions.retain(|other| *other != version);
            }
        }
    }

    pub(super) fn drop_buffer_if_unused(&mut self, buffer: BufferIndex) {
        let record = &self.state.buffers[buffer];
        if record.users > 0 || !record.is_released {
            return;
        }
        let Some(record) = self.state.buffers.remove(buffer.0) else {
            return;
        };
        self.state.forget_place(record.key);
        for agent in record.declared {
            if self.state.agents[agent.index()].is_present {
                self.order(agent, Order::DropBuffer { buffer: record.key });
            }
        }
        for version in record.versions {
            self.state.versions.remove(version.0);
        }
    }

    pub(super) fn mark_resident(&mut self, version: VersionIndex, range: ByteRange, agent: AgentId) {
        for replica in &mut self.state.versions[version].replicas {
            if replica.agent == agent && range.contains(replica.range) {
                replica.state = ReplicaState::Resident;
            }
        }
    }

    fn take_arrival(&mut self, agent: AgentId, region: Region, from: AgentId) {
        self.state.counters.moved_bytes += region.range.len();
        self.state.costs.note_arrival(self.state.now, from, agent, region.range.len());
        if let Some(version) = self.version_of(region) {
            self.mark_resident(version, region.range, agent);
            // It may come although nobody counts on it any more: its maker was to run again.
            for range in self.state.missing(version, region.range, agent) {
                let replica = Replica { agent, range, state: ReplicaState::Resident };
                self.state.versions[version].replicas.push(replica);
            }
        }
    }

    /// The record of a region, if it is still known.
    fn version_of(&self, region: Region) -> Option<VersionIndex> {
        let index = self.buffer_of(region.buffer)?;
        let record = &self.state.buffers[index];
        if let Some(version) = record.frontier.whole(region.range)
            && self.state.versions[*version].version == region.version
        {
            return Some(*version);
        }
        let of_frontier = record
            .frontier
            .over(region.range)
            .filter_map(|(_, version)| version.copied())
            .find(|version| self.state.versions[*version].version == region.version);
        of_frontier.or_else(|| {
            record
                .versions
                .iter()
                .copied()
                .find(|version| self.state.versions[*version].version == region.version)
        })
    }

    fn buffer_of(&self, key: BufferKey) -> Option<BufferIndex> {
        self.state.buffer_at(key)
    }

    /// A transfer failed: try another holder; when there is none, fail those that wait for it.
    fn take_push_failure(&mut self, from: AgentId, region: Region, to: AgentId, reason: &str) {
        let Some(version) = self.version_of(region) else {
            return;
        };
        let is_it = |replica: &Replica| {
            replica.agent == to
                && replica.range.overlaps(region.range)
                && matches!(replica.state, ReplicaState::Coming { from: known, .. } if known == from)
        };
        let replicas = &mut self.state.versions[version].replicas;
        let before = replicas.len();
        replicas.retain(|replica| !is_it(replica));
        if replicas.len() == before {
            // A push of which nobody knows any more.
            return;
        }
        self.state.costs.note_arrival(self.state.now, from, to, region.range.len());
        let failures = self.push_failures.entry((to, version.0)).or_default();
        *failures += 1;
        let may_retry = *failures < self.state.limits.attempts_max;
        // Whoever else has it sends it; the one that failed only if there is no other.
        let (held_by_sender, others): (Vec<Replica>, Vec<Replica>) =
            std::mem::take(&mut self.state.versions[version].replicas)
                .into_iter()
                .partition(|replica| replica.agent == from && replica.range.overlaps(region.range));
        self.state.versions[version].replicas = others.into_iter().collect();
        let mut is_ordered = may_retry && self.order_transfer(version, region.range, to);
        self.state.versions[version].replicas.extend(held_by_sender);
        if may_retry && !is_ordered {
            is_ordered = self.order_transfer(version, region.range, to);
        }
        if !is_ordered {
            let error = error_of_push(reason);
            self.give_up_backups(version, region.range, to);
            for task in self.tasks_awaiting(version, region.range, to) {
                if self.state.tasks[task.index()].is_some() {
                    self.fail_task(task, error.clone());
                }
            }
        }
        if self.state.versions.get_mut(version.0).is_some() {
            self.mend_transfers(version, &error_of_push(reason));
        }
    }

    /// Orders again what was to come from a replica that is gone, or that will itself not come; fails those that
    /// wait for what nobody can send.
    pub(super) fn mend_transfers(&mut self, version: VersionIndex, error: &CommandError) {
        let mut again = Vec::new();
        loop {
            let gone: Vec<Replica> = self.state.versions[version]
                .replicas
                .iter()
                .copied()
                .filter(|replica| match replica.state {
                    ReplicaState::Coming { from, .. } => {
                        !self.state.missing(version, replica.range, from).is_empty()
                    }
                    ReplicaState::Resident | ReplicaState::Making => false,
                })
                .collect();
            if gone.is_empty() {
                break;
            }
            self.state.versions[version].replicas.retain(|replica| !gone.contains(replica));
            again.extend(gone);
        }
        for replica in again {
            let producer =
                self.state.versions[version].producer.and_then(|producer| self.state.live(producer));
            let is_to_be_made =
                producer.is_some_and(|producer| self.state.task(producer).state.agent().is_none());
            if is_to_be_made || self.order_transfer(version, replica.range, replica.agent) {
                // When it is still to be made, those that wait for it are being given back.
                continue;
            }
            self.give_up_backups(version, replica.range, replica.agent);
            for task in self.tasks_awaiting(version, replica.range, replica.agent) {
                if self.state.tasks[task.index()].is_some() {
                    self.fail_task(task, error.clone());
                }
            }
            if self.state.versions.get_mut(version.0).is_none() {
                return;
            }
        }
    }

    /// Tasks dispatched to an agent that read a part of a version.
    fn tasks_awaiting(&self, version: VersionIndex, range: ByteRange, at: AgentId) -> Vec<TaskIndex> {
        self.state
            .tasks
            .iter()
            .enumerate()
            .filter_map(|(index, record)| Some((TaskIndex(index as u32), record.as_ref()?)))
            .filter(|(_, record)| record.state.agent() == Some(at))
            .filter(|(_, record)| {
                record.inputs.iter().any(|input| input.version == version && input.range.overlaps(range))
            })
            .map(|(index, _)| index)
            .collect()
    }
}

fn error_of_push(reason: &str) -> CommandError {
    CommandError::PayloadLost { reason: reason.to_owned() }
}
