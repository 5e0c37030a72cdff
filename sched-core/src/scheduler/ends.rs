//! How tasks, transfers and agents end: completions, failures with their dependents, losses and retries.

use std::collections::BTreeSet;

use isochrone_model::message::ClientReply;
use isochrone_model::{
    AgentId, Attempt, BufferKey, ByteRange, CommandError, CommandId, Order, Region, Report, SessionId, Span,
    TaskId, TaskOutcome,
};

use super::Scheduler;
use super::event::Action;
use super::state::{
    BufferIndex, CommandRecord, Replica, ReplicaState, TaskState, TaskWork, VersionIndex, shifted,
};
use crate::dag::{DependencyKind, TaskIndex};
use crate::policy::Change;

impl Scheduler {
    pub(super) fn take_report(&mut self, agent: AgentId, report: Report) {
        self.state.agents[agent.index()].reports_taken += 1;
        match report {
            Report::Finished { task, attempt, outcome } => self.take_end(agent, task, attempt, outcome),
            Report::Retracted { task, attempt } => self.take_retraction(agent, task, attempt),
            Report::Built { program, device, outcome } => self.take_build(agent, program, device, outcome),
            Report::Arrived { region, from, span } => self.take_arrival(agent, region, from, span),
            Report::PushFailed { region, to, reason } => self.take_push_failure(agent, region, to, &reason),
            Report::LinkMeasured { to, round_trip } => {
                if to.index() < self.state.agents.len() {
                    self.state.costs.record_round_trip(agent, to, round_trip);
                }
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
        let Some(index) = self.state.live(task) else {
            return;
        };
        let record = self.state.task(index);
        if record.state.agent() != Some(agent) || record.attempt != attempt {
            return;
        }
        match outcome {
            TaskOutcome::Done { execution, .. } => {
                self.learn(index, execution);
                for input in self.state.task(index).inputs.clone() {
                    self.mark_resident(input.version, input.range, agent);
                }
                for output in self.state.task(index).outputs.clone() {
                    self.mark_resident(output.version, output.range, agent);
                }
                self.finish_proven(index);
                self.finish_task(index);
            }
            TaskOutcome::Failed(error) => {
                self.unaccount(index, Span::ZERO);
                self.state.task_mut(index).state = TaskState::Blocked;
                self.reported_failure = Some(index);
                self.fail_task(index, error);
                self.reported_failure = None;
            }
        }
        if self.policies.iter().any(|entry| !entry.placeable.is_empty()) {
            self.is_placing_due = true;
        }
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

    /// Takes a measured duration into the cost model and the slot's account.
    fn learn(&mut self, task: TaskIndex, execution: Span) {
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
    fn unaccount(&mut self, task: TaskIndex, way_back: Span) {
        let record = self.state.task(task);
        let TaskState::Dispatched { agent, slot } = record.state else {
            return;
        };
        let (expected, expected_finish) = (record.expected, record.expected_finish);
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
        let way_back = self
            .state
            .task(task)
            .state
            .agent()
            .map_or(Span::ZERO, |agent| self.state.costs.control_one_way(agent));
        self.unaccount(task, way_back);
        self.state.counters.finished += 1;
        let mut open = Vec::new();
        if !self.state.task(task).state.is_settled() {
            // It ended without having been placed (a barrier with nothing to wait for).
            let successors: Vec<TaskIndex> = self.state.dag.successors(task).map(|(next, _)| next).collect();
            self.no_longer_waits(&successors, &mut open);
        }
        self.end_of_command(task, None);
        self.remove_task(task);
        for next in open {
            self.predecessors_are_placed(next);
        }
    }

    fn no_longer_waits(&mut self, successors: &[TaskIndex], open: &mut Vec<TaskIndex>) {
        for next in successors {
            let Some(record) = self.state.tasks[next.index()].as_mut() else {
                continue;
            };
            if record.state == TaskState::Blocked && record.waiting > 0 {
                record.waiting -= 1;
                if record.waiting == 0 {
                    open.push(*next);
                }
            }
        }
    }

    /// Counts one task of a command as ended, and the command with its last.
    fn end_of_command(&mut self, task: TaskIndex, error: Option<&CommandError>) {
        let (session, command) = (self.state.task(task).session, self.state.task(task).command);
        if let Some(error) = error {
            self.note_failed_command(session, command, error);
        }
        let Some(record) = self.state.sessions.get_mut(&session) else {
            return;
        };
        if let Some(CommandRecord { open, .. }) = record.commands.get_mut(&command) {
            *open -= 1;
            if *open == 0 {
                record.commands.remove(&command);
                record.commands_finished += 1;
            }
        }
    }

    /// Tells the client once that a command failed, and remembers it for commands that come later.
    pub(super) fn note_failed_command(
        &mut self,
        session: SessionId,
        command: CommandId,
        error: &CommandError,
    ) {
        let kept_max = self.state.limits.failures_kept_max as usize;
        let Some(record) = self.state.sessions.get_mut(&session) else {
            return;
        };
        if record.failed.contains_key(&command) {
            return;
        }
        if record.failed.len() >= kept_max {
            record.failed.pop_first();
        }
        record.failed.insert(command, error.clone());
        let reply = ClientReply::Failed { command, error: error.clone() };
        self.actions.push(Action::Reply { session, reply });
    }

    /// Takes a task out of the graph and lets go of what it held.
    fn remove_task(&mut self, task: TaskIndex) {
        let policy = self.state.task(task).policy;
        self.observe(policy, &Change::Removed { task });
        self.state.dag.remove_task(task);
        let Some(record) = self.state.tasks[task.index()].take() else {
            return;
        };
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
            self.state.versions.remove(version.0);
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
        for agent in record.declared {
            if self.state.agents[agent.index()].is_present {
                self.order(agent, Order::DropBuffer { buffer: record.key });
            }
        }
        let mut versions: Vec<VersionIndex> = record.frontier.iter().map(|(_, version)| *version).collect();
        versions.sort_unstable();
        versions.dedup();
        for version in versions {
            self.state.versions.remove(version.0);
        }
    }

    /// Fails a task and exactly those that depend on it, each with the cause.
    pub(super) fn fail_task(&mut self, task: TaskIndex, error: CommandError) {
        let mut open = vec![(task, error)];
        let mut placeable = Vec::new();
        while let Some((task, error)) = open.pop() {
            if self.state.tasks[task.index()].is_none() {
                continue;
            }
            self.cancel_at_agent(task);
            let dependent_error = CommandError::of_dependent(self.state.task(task).command, &error);
            let was_settled = self.state.task(task).state.is_settled() || self.reported_failure == Some(task);
            let successors: Vec<(TaskIndex, DependencyKind)> = self.state.dag.successors(task).collect();
            for output in self.state.task(task).outputs.clone() {
                self.state.versions[output.version].poison = Some(Box::new(dependent_error.clone()));
            }
            let mut freed = Vec::new();
            for (next, kind) in successors {
                if kind.carries_failure() {
                    open.push((next, dependent_error.clone()));
                } else if !was_settled {
                    freed.push(next);
                }
            }
            self.no_longer_waits(&freed, &mut placeable);
            self.unaccount(task, Span::ZERO);
            self.state.counters.failed += 1;
            self.end_of_command(task, Some(&error));
            self.fail_siblings(task, &error, &mut open);
            self.remove_task(task);
        }
        for next in placeable {
            if self.state.tasks[next.index()]
                .as_ref()
                .is_some_and(|record| record.state == TaskState::Blocked)
            {
                self.predecessors_are_placed(next);
            }
        }
    }

    /// When one piece of a read fails, the whole read has failed.
    fn fail_siblings(
        &self,
        task: TaskIndex,
        error: &CommandError,
        open: &mut Vec<(TaskIndex, CommandError)>,
    ) {
        let record = self.state.task(task);
        let Some(command) = self
            .state
            .sessions
            .get(&record.session)
            .and_then(|session| session.commands.get(&record.command))
        else {
            return;
        };
        for sibling in command.tasks.as_slice() {
            if *sibling != record.id
                && let Some(sibling) = self.state.live(*sibling)
            {
                open.push((sibling, error.clone()));
            }
        }
    }

    /// Tells a dispatched task's agent to forget it, and frees those that only had to come after it.
    fn cancel_at_agent(&mut self, task: TaskIndex) {
        let record = self.state.task(task);
        let TaskState::Dispatched { agent, .. } = record.state else {
            return;
        };
        let id = record.id;
        if self.state.agents[agent.index()].is_present {
            self.order(agent, Order::Cancel { task: id });
        }
        let waiting: Vec<(AgentId, TaskId)> = self
            .state
            .dag
            .successors(task)
            .filter(|(_, kind)| !kind.carries_failure())
            .filter_map(|(next, _)| {
                let next = self.state.task(next);
                Some((next.state.agent()?, next.id))
            })
            .collect();
        for (at, dependent) in waiting {
            self.order(at, Order::Release { task: id, dependent });
        }
    }

    pub(super) fn cancel_command(&mut self, session: SessionId, command: CommandId) {
        let Some(record) = self.state.sessions.get(&session).and_then(|record| record.commands.get(&command))
        else {
            return;
        };
        for task in record.tasks.as_slice().to_vec() {
            if let Some(task) = self.state.live(task) {
                self.fail_task(task, CommandError::Cancelled);
            }
        }
    }

    fn mark_resident(&mut self, version: VersionIndex, range: ByteRange, agent: AgentId) {
        for replica in &mut self.state.versions[version].replicas {
            if replica.agent == agent && range.contains(replica.range) {
                replica.state = ReplicaState::Resident;
            }
        }
    }

    fn take_arrival(&mut self, agent: AgentId, region: Region, from: AgentId, span: Span) {
        self.state.counters.moved_bytes += region.range.len();
        if from.index() < self.state.agents.len() {
            self.state.costs.record_transfer(from, agent, region.range.len(), span);
        }
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
        let of_frontier = self.state.buffers[index]
            .frontier
            .over(region.range)
            .filter_map(|(_, version)| version.copied())
            .find(|version| self.state.versions[*version].version == region.version);
        of_frontier.or_else(|| {
            self.state
                .versions
                .iter()
                .find(|(_, record)| record.buffer == index && record.version == region.version)
                .map(|(place, _)| VersionIndex(place))
        })
    }

    fn buffer_of(&self, key: BufferKey) -> Option<BufferIndex> {
        let session = self.state.sessions.get(&key.session)?;
        session.buffers.get(&key.buffer).copied().or_else(|| {
            self.state
                .buffers
                .iter()
                .find(|(_, record)| record.key == key)
                .map(|(place, _)| BufferIndex(place))
        })
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
        let failures = self.push_failures.entry((to, version.0)).or_default();
        *failures += 1;
        let may_retry = *failures < self.state.limits.attempts_max;
        // Whoever else has it sends it; the one that failed only if there is no other.
        let (held_by_sender, others): (Vec<Replica>, Vec<Replica>) = self.state.versions[version]
            .replicas
            .drain(..)
            .partition(|replica| replica.agent == from && replica.range.overlaps(region.range));
        self.state.versions[version].replicas = others;
        let mut is_ordered = may_retry && self.order_transfer(version, region.range, to);
        self.state.versions[version].replicas.extend(held_by_sender);
        if may_retry && !is_ordered {
            is_ordered = self.order_transfer(version, region.range, to);
        }
        if !is_ordered {
            let error = error_of_push(reason);
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
    fn mend_transfers(&mut self, version: VersionIndex, error: &CommandError) {
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

    /// An agent is gone: what ran there runs elsewhere if its contents can still be had.
    pub(super) fn lose_agent(&mut self, agent: AgentId) {
        let Some(record) = self.state.agents.get_mut(agent.index()) else {
            return;
        };
        if !record.is_present {
            return;
        }
        record.is_present = false;
        let name = record.facts.name.clone();
        for index in 0..self.state.devices.len() {
            if self.state.devices[index].agent == agent {
                for program in &mut self.state.programs {
                    if let Some(build) = program.builds.get_mut(index) {
                        *build = super::state::BuildState::Absent;
                    }
                }
            }
        }
        for other in self.state.present_agents().collect::<Vec<_>>() {
            self.order(other, Order::PeerLeft { agent });
        }
        let sessions: Vec<SessionId> = self.state.sessions.keys().copied().collect();
        for session in sessions {
            self.actions.push(Action::Reply { session, reply: ClientReply::AgentLeft { agent } });
        }
        let affected = self.retract_from(agent, &name);
        self.send_notices_of(agent);
        for buffer in self.buffers_declared_on(agent) {
            self.state.buffers[buffer].declared.retain(|declared| *declared != agent);
        }
        self.lose_replicas(agent, &name);
        self.replace_retracted(&affected);
        self.observe_all(&Change::FarmChanged);
        self.programs_may_be_decided();
        self.is_placing_due = true;
    }

    /// Tells those that wait for a notice of the lost agent about tasks that had ended there: the order to send it,
    /// or the notice, may have been lost with the agent. Of tasks that had not ended, the dependents are given back.
    fn send_notices_of(&mut self, agent: AgentId) {
        let notices = self.notices.remove(&agent).unwrap_or_default();
        for (task, dependent) in notices.ordered {
            if self.state.live(task).is_none()
                && let Some(index) = self.state.live(dependent)
                && let Some(at) = self.state.task(index).state.agent()
            {
                self.order(at, Order::Release { task, dependent });
            }
        }
    }

    fn buffers_declared_on(&self, agent: AgentId) -> Vec<BufferIndex> {
        self.state
            .buffers
            .iter()
            .filter(|(_, record)| record.declared.contains(&agent))
            .map(|(place, _)| BufferIndex(place))
            .collect()
    }

    /// Takes back every task on the lost agent, and asks for those elsewhere that wait for one of them. One of
    /// the latter may have started already: agents tell each other directly.
    fn retract_from(&mut self, agent: AgentId, name: &str) -> Vec<TaskIndex> {
        let lost: Vec<TaskIndex> = self
            .state
            .tasks
            .iter()
            .enumerate()
            .filter(|(_, record)| record.as_ref().is_some_and(|record| record.state.agent() == Some(agent)))
            .map(|(index, _)| TaskIndex(index as u32))
            .collect();
        for task in &lost {
            self.unplace(*task);
        }
        for task in &lost {
            self.retract_dependents(*task);
        }
        // Those that counted a lost task as placed must not be let go by its failure while they wait for others.
        let successors: BTreeSet<TaskIndex> =
            lost.iter().flat_map(|task| self.state.dag.successors(*task)).map(|(next, _)| next).collect();
        for next in successors {
            if self.state.task(next).state == TaskState::Blocked {
                self.count_waiting(next);
            }
        }
        let attempts_max = self.state.limits.attempts_max;
        for task in &lost {
            if self.state.tasks[task.index()].is_none() {
                continue;
            }
            let attempts = self.state.task(*task).attempt.0 - 1;
            if attempts >= attempts_max {
                self.fail_task(*task, CommandError::AgentLost { attempts, agent: name.to_owned() });
            }
        }
        lost.into_iter().filter(|task| self.state.tasks[task.index()].is_some()).collect()
    }

    /// Undoes a task's dispatch.
    fn unplace(&mut self, task: TaskIndex) {
        let at = self.state.task(task).state.agent();
        self.unaccount(task, Span::ZERO);
        let outputs = self.state.task(task).outputs.clone();
        for output in outputs {
            // What is resident elsewhere shows that it had run after all; the rest will be made again.
            self.state.versions[output.version].replicas.retain(|replica| match replica.state {
                ReplicaState::Resident => Some(replica.agent) != at,
                ReplicaState::Making | ReplicaState::Coming { .. } => false,
            });
        }
        let record = self.state.task_mut(task);
        record.state = TaskState::Blocked;
        record.is_retracting = false;
        record.attempt = record.attempt.next();
    }

    /// Asks agents to give back what waits, near or far, for a task that must run again.
    fn retract_dependents(&mut self, task: TaskIndex) {
        let mut open = vec![task];
        while let Some(task) = open.pop() {
            let waiting: Vec<TaskIndex> = self.state.dag.successors(task).map(|(next, _)| next).collect();
            for next in waiting {
                let record = self.state.task_mut(next);
                if let TaskState::Dispatched { agent, .. } = record.state
                    && !record.is_retracting
                {
                    record.is_retracting = true;
                    let id = record.id;
                    self.order(agent, Order::Retract { task: id });
                    open.push(next);
                }
            }
        }
    }

    /// An agent gave a task back: it is placed again when its predecessors are.
    fn take_retraction(&mut self, agent: AgentId, task: TaskId, attempt: Attempt) {
        let Some(index) = self.state.live(task) else { return };
        let record = self.state.task(index);
        if record.state.agent() != Some(agent) || record.attempt != attempt {
            return;
        }
        self.unplace(index);
        self.retract_dependents(index);
        self.replace_retracted(&[index]);
        self.is_placing_due = true;
    }

    /// Forgets the lost agent's replicas; contents that were nowhere else are lost to those who need them.
    fn lose_replicas(&mut self, agent: AgentId, name: &str) {
        let places: Vec<u32> = self.state.versions.iter().map(|(place, _)| place).collect();
        for place in places {
            let index = VersionIndex(place);
            let Some(record) = self.state.versions.get_mut(place) else { continue };
            let had = record.replicas.len();
            record.replicas.retain(|replica| replica.agent != agent);
            if record.replicas.len() == had || record.is_zero() {
                continue;
            }
            let buffer = self.state.buffers[self.state.versions[index].buffer].key.buffer;
            let error = CommandError::ContentLost { buffer, agent: name.to_owned() };
            self.mend_transfers(index, &error);
            let Some(record) = self.state.versions.get_mut(place) else { continue };
            let range = ByteRange::new(0, u64::MAX);
            if record.replicas.is_empty() && record.producer.is_none() {
                record.poison = Some(Box::new(error.clone()));
                self.fail_readers(index, range, &error);
            }
        }
    }

    fn fail_readers(&mut self, version: VersionIndex, range: ByteRange, error: &CommandError) {
        let readers: Vec<TaskIndex> = self
            .state
            .tasks
            .iter()
            .enumerate()
            .filter_map(|(index, record)| Some((TaskIndex(index as u32), record.as_ref()?)))
            .filter(|(_, record)| {
                record.inputs.iter().any(|input| input.version == version && input.range.overlaps(range))
            })
            .map(|(task, _)| task)
            .collect();
        for reader in readers {
            if self.state.tasks[reader.index()].is_some() {
                self.fail_task(reader, error.clone());
            }
        }
    }

    /// Lets retracted tasks be placed again.
    fn replace_retracted(&mut self, affected: &[TaskIndex]) {
        let affected: Vec<TaskIndex> =
            affected.iter().copied().filter(|task| self.state.tasks[task.index()].is_some()).collect();
        let successors: BTreeSet<TaskIndex> = affected
            .iter()
            .flat_map(|task| self.state.dag.successors(*task).map(|(next, _)| next))
            .chain(affected.iter().copied())
            .collect();
        for task in &successors {
            match self.state.task(*task).state {
                TaskState::Blocked => self.count_waiting(*task),
                TaskState::Placeable | TaskState::Floating => {
                    self.state.task_mut(*task).state = TaskState::Blocked;
                }
                TaskState::Dispatched { .. } => {}
            }
        }
        // Tasks that went back to blocked above may have successors that counted them as settled.
        let mut recount: Vec<TaskIndex> = successors.into_iter().collect();
        let mut seen: BTreeSet<TaskIndex> = recount.iter().copied().collect();
        while let Some(task) = recount.pop() {
            if self.state.task(task).state != TaskState::Blocked {
                continue;
            }
            let next: Vec<TaskIndex> = self.state.dag.successors(task).map(|(next, _)| next).collect();
            for next in next {
                let record = self.state.task_mut(next);
                let goes_back = matches!(record.state, TaskState::Placeable | TaskState::Floating);
                if goes_back {
                    record.state = TaskState::Blocked;
                }
                if seen.insert(next) {
                    recount.push(next);
                }
            }
        }
        let blocked: Vec<TaskIndex> =
            seen.into_iter().filter(|task| self.state.task(*task).state == TaskState::Blocked).collect();
        for task in &blocked {
            self.count_waiting(*task);
        }
        let tasks = &self.state.tasks;
        for entry in &mut self.policies {
            entry.placeable.retain(|task| {
                tasks[task.index()].as_ref().is_some_and(|record| record.state == TaskState::Placeable)
            });
        }
        for task in &affected {
            let policy = self.state.task(*task).policy;
            self.observe(policy, &Change::Unplaced { task: *task });
        }
        for task in blocked {
            let record = self.state.task(task);
            if record.state == TaskState::Blocked && record.waiting == 0 {
                self.predecessors_are_placed(task);
            }
        }
    }

    /// A session is over: its tasks are cancelled, its buffers and programs let go.
    pub(super) fn end_session(&mut self, session: SessionId, reason: &str) {
        let Some(record) = self.state.sessions.get_mut(&session) else {
            return;
        };
        record.ingest.clear();
        let mut tasks: Vec<TaskId> =
            record.commands.values().flat_map(|command| command.tasks.as_slice().to_vec()).collect();
        tasks.sort_unstable();
        let error = CommandError::SessionClosed { reason: reason.to_owned() };
        let replies_from = self.actions.len();
        for task in tasks {
            if let Some(task) = self.state.live(task) {
                self.fail_task(task, error.clone());
            }
        }
        // Nobody is there to be told of each command.
        let mut place = 0;
        self.actions.retain(|action| {
            place += 1;
            place <= replies_from || !matches!(action, Action::Reply { session: to, .. } if *to == session)
        });
        let Some(record) = self.state.sessions.get(&session) else {
            return;
        };
        let (buffers, programs): (Vec<_>, Vec<_>) =
            (record.buffers.values().copied().collect(), record.programs.keys().copied().collect());
        for buffer in buffers {
            self.state.buffers[buffer].is_released = true;
            self.drop_buffer_if_unused(buffer);
        }
        for program in programs {
            let _ = self.release_program(session, program);
        }
        for agent in self.state.present_agents().collect::<Vec<_>>() {
            self.order(agent, Order::CloseSession { session });
        }
        if let Some(record) = self.state.sessions.remove(&session) {
            self.policies[record.policy].users -= 1;
        }
        let reply = ClientReply::Closed { reason: reason.to_owned() };
        self.actions.push(Action::Reply { session, reply });
        self.actions.push(Action::SessionEnded { session });
    }
}

fn error_of_push(reason: &str) -> CommandError {
    CommandError::PayloadLost { reason: reason.to_owned() }
}
