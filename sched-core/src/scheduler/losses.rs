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
    pub(super) fn take_retraction(&mut self, agent: AgentId, task: TaskId, attempt: Attempt) {
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
}
