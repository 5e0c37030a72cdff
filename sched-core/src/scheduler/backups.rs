//! Backups: a second attempt of a kernel that is late, on another agent; the attempt that ends first counts.
//!
//! What holds of them:
//!
//! - The consumers of a task stay tied to the attempt in its record. Of a backup's end only the scheduler is told, and it tells the
//!   others: those that wait for the task get a `Release`, contents are sent from where they are now, what was placed behind the first attempt on its own agent is asked
//!   back.
//! - An attempt that is cancelled may be running. Until its agent has answered, nothing is ordered to that agent that uses other contents of the bytes
//!   that the attempt reads and writes: it would be overwritten, or overwrite what the attempt reads. The buffers are kept as long.
//! - A backup that fails is forgotten. When the first attempt fails, the task has failed. When its agent is lost, the backup is the task's only attempt.

use isochrone_model::message::{AgentToClient, ClientReply};
use isochrone_model::{
    AgentId, Attempt, ByteRange, CommandError, DeviceId, Order, SlotId, Span, TaskId, TaskOutcome, Timestamp,
    Version,
};

use super::Scheduler;
use super::event::Action;
use super::state::{
    BufferIndex, Replica, ReplicaState, State, TaskRecord, TaskState, TaskWork, VersionIndex, shifted,
};
use crate::costs::KernelRow;
use crate::dag::{DependencyKind, TaskIndex};
use crate::policy::Rejection;

/// An attempt beside the one in its task's record, or of a task that has ended.
pub(crate) struct SpareAttempt {
    pub task: TaskId,
    pub attempt: Attempt,
    pub agent: AgentId,
    pub slot: SlotId,
    pub standing: Standing,
    pub expected: Span,
    /// Before its slot's drift.
    pub expected_finish: Timestamp,
    row: KernelRow,
    items: u64,
    /// What it reads and writes.
    uses: Box<[Use]>,
    /// Each once; kept until it is over.
    buffers: Box<[BufferIndex]>,
}

/// What becomes of a spare attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// It may end first.
    Backup,
    /// A backup that was cancelled, of which its agent has said nothing yet.
    OutrunBackup,
    /// The same of a first attempt whose backup has ended: what is made there may be taken for the task's by what follows on its lane.
    OutrunFirst,
}

/// Bytes that an attempt uses.
#[derive(Clone, Copy, Debug)]
struct Use {
    buffer: BufferIndex,
    version: Version,
    range: ByteRange,
    is_output: bool,
}

/// So many versions of a buffer are looked through for tasks that use them; where there are more, no backup is made.
const VERSIONS_LOOKED_THROUGH_MAX: usize = 256;

impl Scheduler {
    /// Orders a placed task to another agent as well.
    pub(super) fn start_backup(&mut self, task: TaskIndex, agent: AgentId, slot: SlotId) {
        self.declare_buffers(task, agent);
        self.order_transfers(task, agent);
        let expected = self.expected_execution(task, slot);
        let expected_finish = self.account(task, agent, Some(slot), expected);
        let mut order = self.task_order(task, Some(slot), Vec::new());
        order.attempt = order.attempt.next();
        let record = self.state.task(task);
        let TaskWork::Kernel(kernel) = &record.work else { return };
        let spare = SpareAttempt {
            task: record.id,
            attempt: order.attempt,
            agent,
            slot,
            standing: Standing::Backup,
            expected,
            expected_finish,
            row: kernel.row,
            items: kernel.range.items(),
            uses: self.state.uses_of(record).collect(),
            buffers: record.buffers.clone(),
        };
        for buffer in &spare.buffers {
            self.state.buffers[*buffer].users += 1;
        }
        self.state.spares.push(spare);
        self.state.counters.backups += 1;
        self.order(agent, Order::RunBackup(Box::new(order)));
    }

    /// Takes in how a spare attempt ended; `false` when the report is of none.
    pub(super) fn take_end_of_spare(
        &mut self,
        agent: AgentId,
        task: TaskId,
        attempt: Attempt,
        outcome: &TaskOutcome,
    ) -> bool {
        let Some(place) = self.spare_of(agent, task, attempt) else { return false };
        let spare = &self.state.spares[place];
        match (spare.standing, outcome) {
            (Standing::Backup, TaskOutcome::Done { execution, .. }) => self.adopt(place, *execution),
            (Standing::Backup, TaskOutcome::Failed(_)) => self.forget_spare(place),
            (Standing::OutrunBackup | Standing::OutrunFirst, TaskOutcome::Done { execution, .. }) => {
                let (row, slot, items) = (spare.row, spare.slot, spare.items);
                if *execution > Span::ZERO {
                    let device = self.state.slots[slot.index()].device;
                    self.state.costs.record_execution(row, device, items, *execution);
                    self.state.devices[device.index()].busy += *execution;
                }
                self.forget_spare(place);
            }
            (Standing::OutrunBackup | Standing::OutrunFirst, TaskOutcome::Failed(_)) => {
                self.forget_spare(place);
            }
        }
        self.is_placing_due = true;
        true
    }

    /// A spare attempt was given back: it had not started, or what it was to make has come there. `false` when the report is of none.
    pub(super) fn take_return_of_spare(&mut self, agent: AgentId, task: TaskId, attempt: Attempt) -> bool {
        let Some(place) = self.spare_of(agent, task, attempt) else { return false };
        self.forget_spare(place);
        self.is_placing_due = true;
        true
    }

    fn spare_of(&self, agent: AgentId, task: TaskId, attempt: Attempt) -> Option<usize> {
        let is_it =
            |spare: &SpareAttempt| spare.agent == agent && spare.task == task && spare.attempt == attempt;
        self.state.spares.iter().position(is_it)
    }

    /// A spare attempt is over: its slot and the buffers that it used are let go of.
    fn forget_spare(&mut self, place: usize) {
        let spare = self.state.spares.remove(place);
        let way_back = self.state.costs.control_one_way(spare.agent);
        self.take_off(spare.agent, Some(spare.slot), spare.expected, spare.expected_finish, way_back);
        self.let_go(&spare.buffers);
    }

    fn let_go(&mut self, buffers: &[BufferIndex]) {
        for buffer in buffers {
            self.state.buffers[*buffer].users -= 1;
            self.drop_buffer_if_unused(*buffer);
        }
    }

    /// A backup ended first: it is the task's attempt, and the task has ended.
    fn adopt(&mut self, place: usize, execution: Span) {
        let backup = self.state.spares.remove(place);
        let Some(task) = self.state.live(backup.task) else { return };
        let record = self.state.task_mut(task);
        let TaskState::Dispatched { agent: first, slot: Some(slot) } = record.state else { return };
        let (agent, buffers) = (backup.agent, backup.buffers);
        let outrun = SpareAttempt {
            attempt: record.attempt,
            agent: first,
            slot,
            standing: Standing::OutrunFirst,
            expected: record.expected,
            expected_finish: record.expected_finish,
            buffers,
            ..backup
        };
        record.attempt = backup.attempt;
        record.state = TaskState::Dispatched { agent, slot: Some(backup.slot) };
        record.expected = backup.expected;
        record.expected_finish = backup.expected_finish;
        record.is_backup = true;
        self.state.spares.push(outrun);
        self.state.counters.backups_used += 1;
        self.order(first, Order::Cancel { task: backup.task });
        self.ask_back(task, first);
        self.learn(task, execution);
        for place in 0..self.state.task(task).inputs.len() {
            let input = self.state.task(task).inputs[place];
            self.mark_resident(input.version, input.range, agent);
        }
        self.move_outputs(task, first, agent, ReplicaState::Resident);
        self.tell_end_of_backup(task, execution, Some(first));
        self.finish_task(task);
    }

    /// Asks an agent to give back what it has of tasks directly behind one that has ended elsewhere: what waits there for the attempt
    /// that was outrun would wait for long. What has started goes on.
    fn ask_back(&mut self, task: TaskIndex, agent: AgentId) {
        let mut behind: Vec<TaskIndex> = self.state.dag.successors(task).map(|(next, _)| next).collect();
        behind.retain(|next| {
            let record = self.state.task(*next);
            record.state.agent() == Some(agent) && !record.is_retracting
        });
        for next in &behind {
            let record = self.state.task_mut(*next);
            record.is_retracting = true;
            let id = record.id;
            self.order(agent, Order::Retract { task: id });
        }
        self.unsettle(&behind);
    }

    /// What a task makes is made on another agent than was thought: those to whom the first was to send it get it from there.
    fn move_outputs(&mut self, task: TaskIndex, from: AgentId, to: AgentId, state: ReplicaState) {
        let error = CommandError::PayloadLost { reason: "its maker was outrun".to_owned() };
        for place in 0..self.state.task(task).outputs.len() {
            let output = self.state.task(task).outputs[place];
            let replicas = &mut self.state.versions[output.version].replicas;
            let mut given_up = Vec::new();
            for replica in replicas.iter() {
                if let ReplicaState::Coming { from: sender, .. } = replica.state
                    && (sender == from || replica.agent == to)
                {
                    given_up.push((sender, replica.agent, replica.range.len()));
                }
            }
            replicas.retain(|replica| replica.agent != to && replica.agent != from);
            replicas.push(Replica { agent: to, range: output.range, state });
            for (sender, at, size_bytes) in given_up {
                self.state.costs.note_arrival(self.state.now, sender, at, size_bytes);
            }
            self.mend_transfers(output.version, &error);
        }
    }

    /// Of the end of what began as a backup its agent has told nobody else: neither the client nor those that wait for it without reading
    /// from it. Those on the agent of the other attempt are asked back instead.
    pub(super) fn tell_end_of_backup(&mut self, task: TaskIndex, execution: Span, but: Option<AgentId>) {
        let record = self.state.task(task);
        let (id, session, command) = (record.id, record.session, record.command);
        let done = AgentToClient::Done { command, execution };
        self.actions.push(Action::Reply { session, reply: ClientReply::Relayed(done) });
        let waiting: Vec<(AgentId, TaskId)> = self
            .state
            .dag
            .successors(task)
            .filter(|(_, kind)| *kind != DependencyKind::Data)
            .filter_map(|(next, _)| {
                let next = self.state.task(next);
                Some((next.state.agent().filter(|at| Some(*at) != but)?, next.id))
            })
            .collect();
        for (at, dependent) in waiting {
            self.order(at, Order::Release { task: id, dependent });
        }
    }

    /// A task has ended, failed or is to be placed anew: its backup is not needed.
    pub(super) fn outrun_backup(&mut self, task: TaskIndex) {
        if self.state.spares.is_empty() {
            return;
        }
        let id = self.state.task(task).id;
        let is_it = |spare: &&mut SpareAttempt| spare.task == id && spare.standing == Standing::Backup;
        if let Some(spare) = self.state.spares.iter_mut().find(is_it) {
            spare.standing = Standing::OutrunBackup;
            let agent = spare.agent;
            self.order(agent, Order::Cancel { task: id });
        }
    }

    /// Nobody can send a part of a version to an agent: backups there that read it are given up.
    pub(super) fn give_up_backups(&mut self, version: VersionIndex, range: ByteRange, at: AgentId) {
        let held = &self.state.versions[version];
        let (buffer, version) = (held.buffer, held.version);
        let tasks: Vec<TaskId> = self
            .state
            .spares
            .iter()
            .filter(|spare| spare.agent == at && spare.standing == Standing::Backup)
            .filter(|spare| {
                spare.uses.iter().any(|used| {
                    !used.is_output
                        && used.buffer == buffer
                        && used.version == version
                        && used.range.overlaps(range)
                })
            })
            .map(|spare| spare.task)
            .collect();
        for task in tasks {
            if let Some(task) = self.state.live(task) {
                self.outrun_backup(task);
            }
        }
    }

    /// An agent is gone, and its spare attempts with it.
    pub(super) fn lose_spares(&mut self, agent: AgentId) {
        while let Some(place) = self.state.spares.iter().position(|spare| spare.agent == agent) {
            self.forget_spare(place);
        }
    }

    /// The agent of a task's first attempt is lost: its backup, if there is one, is its only attempt from now on.
    pub(super) fn promote_backup(&mut self, task: TaskIndex, lost: AgentId) -> bool {
        let id = self.state.task(task).id;
        let is_it = |spare: &SpareAttempt| spare.task == id && spare.standing == Standing::Backup;
        let Some(place) = self.state.spares.iter().position(is_it) else { return false };
        if self.state.task(task).is_retracting {
            // It counts as given back.
            return false;
        }
        self.unaccount(task, Span::ZERO);
        let backup = self.state.spares.remove(place);
        let record = self.state.task_mut(task);
        record.attempt = backup.attempt;
        record.state = TaskState::Dispatched { agent: backup.agent, slot: Some(backup.slot) };
        record.expected = backup.expected;
        record.expected_finish = backup.expected_finish;
        record.is_backup = true;
        self.let_go(&backup.buffers);
        self.move_outputs(task, lost, backup.agent, ReplicaState::Making);
        let mut notifies = Vec::new();
        for (next, kind) in self.state.dag.successors(task) {
            let next = self.state.task(next);
            if kind != DependencyKind::Data
                && let Some(to) = next.state.agent().filter(|to| *to != lost && *to != backup.agent)
            {
                let carries_failure = kind.carries_failure();
                notifies.push((next.id, Order::Notify { task: id, dependent: next.id, to, carries_failure }));
            }
        }
        for (dependent, order) in notifies {
            self.note_notice(backup.agent, id, dependent);
            self.order(backup.agent, order);
        }
        true
    }

    /// Whether a task, or contents that would be ordered with it, must not go to an agent for now, since an attempt of another task that
    /// is or may be under way there uses other contents of the same bytes.
    pub(super) fn is_kept_off(&self, task: TaskIndex, agent: AgentId) -> bool {
        if self.state.spares.is_empty() {
            return false;
        }
        let mut open = vec![task];
        let mut next = 0;
        while let Some(here) = open.get(next).copied() {
            next += 1;
            if self.state.is_in_use_at(here, agent) {
                return true;
            }
            for first in self.floating_before(here) {
                if !open.contains(&first) {
                    open.push(first);
                }
            }
        }
        false
    }

    /// Checks the spare attempts, for `check_invariants`, and adds them to what is dispatched.
    pub(super) fn check_spares(&self, dispatched: &mut [u32], on_slot: &mut [u32]) {
        for (place, spare) in self.state.spares.iter().enumerate() {
            dispatched[spare.agent.index()] += 1;
            on_slot[spare.slot.index()] += 1;
            assert!(
                self.state.agents[spare.agent.index()].is_present,
                "a spare attempt is on an agent that is there"
            );
            for buffer in &spare.buffers {
                assert!(self.state.buffers[*buffer].users > 0, "the buffers of a spare attempt are kept");
            }
            let is_of_same = |other: &SpareAttempt| other.task == spare.task;
            assert!(
                !self.state.spares[place + 1..].iter().any(is_of_same),
                "{} has one spare attempt at most",
                spare.task
            );
            if spare.standing != Standing::Backup {
                continue;
            }
            let record = self.state.live(spare.task).map(|task| self.state.task(task));
            let record = record.expect("a backup is of a task that has not ended");
            let is_elsewhere = record.state.agent().is_some_and(|agent| agent != spare.agent);
            assert!(is_elsewhere, "{} has its backup on another agent", spare.task);
            assert!(record.attempt < spare.attempt, "a backup of {} is the later attempt", spare.task);
        }
    }
}

impl State {
    fn uses_of<'a>(&'a self, record: &'a TaskRecord) -> impl Iterator<Item = Use> + 'a {
        let used = move |version: VersionIndex, range: ByteRange, is_output: bool| {
            let held = &self.versions[version];
            Use { buffer: held.buffer, version: held.version, range, is_output }
        };
        let inputs = record.inputs.iter().map(move |input| used(input.version, input.range, false));
        inputs.chain(record.outputs.iter().map(move |output| used(output.version, output.range, true)))
    }

    /// Whether an attempt that is or may be under way on an agent would be disturbed by a task there, or disturb it.
    pub(crate) fn is_in_use_at(&self, task: TaskIndex, agent: AgentId) -> bool {
        self.spares.iter().any(|spare| {
            let is_here = spare.agent == agent || self.first_of(spare) == Some(agent);
            if is_here && spare.task == self.task(task).id {
                return true;
            }
            let is_outrun_first = spare.standing == Standing::OutrunFirst;
            is_here
                && self.uses_of(self.task(task)).any(|mine| {
                    spare.uses.iter().any(|theirs| {
                        mine.buffer == theirs.buffer
                            && mine.range.overlaps(theirs.range)
                            && (mine.version != theirs.version || (is_outrun_first && theirs.is_output))
                    })
                })
        })
    }

    /// How late the attempts on a slot are of which a policy or the end of another attempt has said that they are late: as long, for want of better
    /// knowledge, may they take still.
    pub(crate) fn lateness(&self, slot: SlotId) -> Span {
        let drift = self.slots[slot.index()].drift;
        let outrun =
            self.spares.iter().filter(|spare| spare.slot == slot && spare.standing == Standing::OutrunFirst);
        let outrun = outrun.map(|spare| spare.expected_finish);
        let backed_up =
            self.spares.iter().filter(|spare| spare.standing == Standing::Backup).filter_map(|spare| {
                let record = self.task(self.live(spare.task)?);
                matches!(record.state, TaskState::Dispatched { slot: Some(at), .. } if at == slot)
                    .then_some(record.expected_finish)
            });
        let latest = outrun.chain(backed_up).map(|finish| self.now.since(shifted(finish, drift))).max();
        latest.unwrap_or(Span::ZERO)
    }

    /// The backup of a task, if one may still end first.
    pub(crate) fn backup_of(&self, task: TaskIndex) -> Option<&SpareAttempt> {
        let id = self.task(task).id;
        self.spares.iter().find(|spare| spare.task == id && spare.standing == Standing::Backup)
    }

    /// The agent of the first attempt beside a backup that may still end first.
    fn first_of(&self, spare: &SpareAttempt) -> Option<AgentId> {
        match spare.standing {
            Standing::Backup => self.task(self.live(spare.task)?).state.agent(),
            Standing::OutrunBackup | Standing::OutrunFirst => None,
        }
    }

    /// Where a slot is, if a task may run there.
    pub(crate) fn legal_place(
        &self,
        record: &TaskRecord,
        slot: SlotId,
    ) -> Result<(AgentId, DeviceId), Rejection> {
        let device = self.slots.get(slot.index()).ok_or(Rejection::UnknownSlot)?.device;
        let agent = self.devices[device.index()].agent;
        if !self.agents[agent.index()].is_present {
            return Err(Rejection::AgentAbsent);
        }
        if !self.is_legal(record, device) {
            return Err(Rejection::IllegalDevice);
        }
        Ok((agent, device))
    }

    /// Whether a task may have a backup on a slot, and where that is.
    pub(crate) fn check_backup(
        &self,
        policy: usize,
        task: TaskIndex,
        slot: SlotId,
    ) -> Result<(AgentId, DeviceId), Rejection> {
        let record = self.tasks.get(task.index()).and_then(Option::as_ref).ok_or(Rejection::UnknownTask)?;
        if record.policy != policy {
            return Err(Rejection::NotYours);
        }
        let TaskState::Dispatched { agent: first, slot: Some(_) } = record.state else {
            return Err(Rejection::NotUnderWay);
        };
        let TaskWork::Kernel(_) = record.work else { return Err(Rejection::NotUnderWay) };
        // One that is asked back may have started all the same, and wait for long behind another on its lane.
        if self.dag.predecessors(task).next().is_some() {
            return Err(Rejection::NotUnderWay);
        }
        if self.spares.iter().any(|spare| spare.task == record.id) {
            return Err(Rejection::HasBackup);
        }
        let (agent, device) = self.legal_place(record, slot)?;
        if agent == first {
            return Err(Rejection::SameAgent);
        }
        // First attempts that were outrun take no slot that they had not; how many there are is bounded by the depth of slots.
        let backups = self.spares.iter().filter(|spare| spare.standing != Standing::OutrunFirst);
        if backups.count() >= self.backups_max() {
            return Err(Rejection::TooManyBackups);
        }
        if !self.can_have_inputs(record, first, agent) {
            return Err(Rejection::ContentsInUse);
        }
        if self.is_in_use_at(task, agent) || self.is_in_use_by_others(record, [first, agent]) {
            return Err(Rejection::BytesInUse);
        }
        Ok((agent, device))
    }

    fn backups_max(&self) -> usize {
        let slots: usize = self
            .present_agents()
            .flat_map(|agent| &self.agents[agent.index()].devices)
            .map(|device| self.devices[device.index()].slots.len())
            .sum();
        (slots * self.limits.backups_per_hundred_slots_max as usize).div_ceil(100)
    }

    /// Whether all that a task reads lies on an agent, is on its way there, or lies settled elsewhere. What it overwrites both
    /// attempts must have: neither could be sent it by the other.
    fn can_have_inputs(&self, record: &TaskRecord, first: AgentId, agent: AgentId) -> bool {
        record.inputs.iter().all(|input| {
            let held = &self.versions[input.version];
            let is_overwritten = record.outputs.iter().any(|output| {
                self.versions[output.version].buffer == held.buffer && output.range.overlaps(input.range)
            });
            let lies_on = |agent| self.lies_settled(input.version, input.range, |at| at == agent);
            if is_overwritten {
                return held.is_zero() || (lies_on(first) && lies_on(agent));
            }
            let missing = self.missing(input.version, input.range, agent);
            let is_present = |at: AgentId| self.agents[at.index()].is_present;
            missing.iter().all(|part| self.lies_settled(input.version, *part, is_present))
        })
    }

    /// Whether every byte of a part of a version lies on some of these agents.
    fn lies_settled(
        &self,
        version: VersionIndex,
        part: ByteRange,
        is_source: impl Fn(AgentId) -> bool,
    ) -> bool {
        let mut position = part.start;
        while position < part.end {
            let here = self.versions[version].replicas.iter().filter(|replica| {
                replica.state == ReplicaState::Resident
                    && replica.range.start <= position
                    && replica.range.end > position
                    && is_source(replica.agent)
            });
            let Some(reach) = here.map(|replica| replica.range.end).max() else { return false };
            position = reach;
        }
        true
    }

    /// Whether something else that is placed on one of two agents uses other contents of the bytes that a task uses.
    fn is_in_use_by_others(&self, record: &TaskRecord, agents: [AgentId; 2]) -> bool {
        self.uses_of(record).any(|used| {
            let versions = &self.buffers[used.buffer].versions;
            versions.len() > VERSIONS_LOOKED_THROUGH_MAX
                || versions.iter().filter(|version| self.versions[**version].version != used.version).any(
                    |version| {
                        let held = &self.versions[*version];
                        let users = held.producer.iter().chain(&held.readers);
                        users.filter(|user| **user != record.id).filter_map(|user| self.live(*user)).any(
                            |user| {
                                let user = self.task(user);
                                user.state.holder().is_some_and(|holder| agents.contains(&holder))
                                    && self.uses_of(user).any(|other| {
                                        other.buffer == used.buffer
                                            && other.version == held.version
                                            && other.range.overlaps(used.range)
                                    })
                            },
                        )
                    },
                )
        })
    }
}
