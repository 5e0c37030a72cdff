//! How agents are lost: what ran there runs again elsewhere, what waits for that is given back.

use std::collections::BTreeSet;

use isochrone_model::message::ClientReply;
use isochrone_model::{AgentId, Attempt, ByteRange, CommandError, Order, SessionId, Span, TaskId};

use super::Scheduler;
use super::event::Action;
use super::state::{BufferIndex, ReplicaState, TaskState, VersionIndex};
use crate::dag::TaskIndex;
use crate::policy::Change;

impl Scheduler {
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
        self.state.costs.forget_connections(agent);
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
        self.retract_from(agent, &name);
        self.send_notices_of(agent);
        for buffer in self.buffers_declared_on(agent) {
            self.state.buffers[buffer].declared.retain(|declared| *declared != agent);
        }
        self.lose_replicas(agent, &name);
        self.state.legality_epoch += 1;
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
    fn retract_from(&mut self, agent: AgentId, name: &str) {
        let held: Vec<TaskIndex> = self
            .state
            .tasks
            .iter()
            .enumerate()
            .filter(|(_, record)| record.as_ref().is_some_and(|record| record.state.holder() == Some(agent)))
            .map(|(index, _)| TaskIndex(index as u32))
            .collect();
        let (failed, mut lost): (Vec<TaskIndex>, Vec<TaskIndex>) =
            held.into_iter().partition(|task| !self.state.is_open(*task));
        self.lose_spares(agent);
        lost.retain(|task| !self.promote_backup(*task, agent));
        for task in &lost {
            self.unplace(*task);
        }
        for task in &lost {
            self.retract_dependents(*task);
        }
        // Before any failure lets those go that had counted a lost task as placed.
        self.replace_retracted(&lost);
        for task in failed {
            self.is_held_no_more(task);
        }
        let attempts_max = self.state.limits.attempts_max;
        for task in &lost {
            if !self.state.is_open(*task) {
                continue;
            }
            let attempts = self.state.task(*task).attempt.0 - 1;
            if attempts >= attempts_max {
                self.fail_task(*task, CommandError::AgentLost { attempts, agent: name.to_owned() });
            }
        }
    }

    /// Undoes a task's dispatch.
    fn unplace(&mut self, task: TaskIndex) {
        self.outrun_backup(task);
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
        record.is_backup = false;
        record.attempt = record.attempt.next();
    }

    /// Asks agents to give back what waits, near or far, for a task that must run again; also behind failed ones,
    /// whose place an agent may have given up.
    pub(super) fn retract_dependents(&mut self, task: TaskIndex) {
        let mut open = vec![task];
        let mut failed = BTreeSet::new();
        let mut asked_back = Vec::new();
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
                    asked_back.push(next);
                    open.push(next);
                } else if let TaskState::Failed { .. } = record.state
                    && failed.insert(next)
                {
                    open.push(next);
                }
            }
        }
        self.unsettle(&asked_back);
    }

    /// Tasks that are asked to be given back are settled no more: those behind them that are not ordered yet wait for the answer.
    pub(super) fn unsettle(&mut self, tasks: &[TaskIndex]) {
        if !tasks.is_empty() {
            self.count_behind(tasks);
            self.forget_unplaceable();
        }
    }

    fn forget_unplaceable(&mut self) {
        let tasks = &self.state.tasks;
        for entry in &mut self.policies {
            entry.placeable.retain(|task: TaskIndex| {
                tasks[task.index()].as_ref().is_some_and(|record| record.state == TaskState::Placeable)
            });
        }
    }

    /// An agent gave a task back: it is placed again when its predecessors are.
    pub(super) fn take_retraction(&mut self, agent: AgentId, task: TaskId, attempt: Attempt) {
        if self.take_return_of_spare(agent, task, attempt) {
            return;
        }
        let Some(index) = self.state.live(task) else { return };
        let record = self.state.task(index);
        if record.state.holder() != Some(agent) || record.attempt != attempt {
            return;
        }
        if let TaskState::Failed { .. } = record.state {
            self.is_held_no_more(index);
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
            if record.replicas.is_empty() && record.producer.is_none() && record.poison.is_none() {
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
    pub(super) fn replace_retracted(&mut self, affected: &[TaskIndex]) {
        let blocked = self.count_behind(affected);
        self.forget_unplaceable();
        for task in affected.iter().filter(|task| blocked.contains(task)) {
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

    /// Takes back to blocked whatever was ready because these tasks were placed, and counts anew; gives all that are
    /// blocked behind them, and they themselves.
    fn count_behind(&mut self, affected: &[TaskIndex]) -> BTreeSet<TaskIndex> {
        let mut seen: BTreeSet<TaskIndex> = affected.iter().copied().collect();
        let mut open = affected.to_vec();
        while let Some(task) = open.pop() {
            let behind: Vec<TaskIndex> = self.state.dag.successors(task).map(|(next, _)| next).collect();
            for next in behind {
                let record = self.state.task_mut(next);
                match record.state {
                    TaskState::Placeable | TaskState::Floating => record.state = TaskState::Blocked,
                    TaskState::Blocked | TaskState::Failed { .. } => {}
                    TaskState::Dispatched { .. } => continue,
                }
                if seen.insert(next) {
                    open.push(next);
                }
            }
        }
        let (failed, blocked): (BTreeSet<TaskIndex>, BTreeSet<TaskIndex>) =
            seen.into_iter().partition(|task| !self.state.is_open(*task));
        self.count_failed(&failed);
        for task in &blocked {
            self.count_waiting(*task);
        }
        blocked
    }

    /// Counts what failed tasks wait for; each is settled when those before it are, failed ones among them.
    fn count_failed(&mut self, failed: &BTreeSet<TaskIndex>) {
        for task in failed {
            self.state.task_mut(*task).waiting = 1;
        }
        let mut unsettled = failed.clone();
        loop {
            let before = unsettled.len();
            for task in &unsettled {
                self.count_waiting(*task);
            }
            unsettled.retain(|task| self.state.task(*task).waiting > 0);
            if unsettled.len() == before {
                return;
            }
        }
    }
}
