//! How tasks fail: with those that depend on them, and with the session that they belong to.

use isochrone_model::message::ClientReply;
use isochrone_model::{AgentId, BufferKey, CommandError, CommandId, Order, SessionId, Span, TaskId};

use super::Scheduler;
use super::event::Action;
use super::state::{BufferIndex, TaskState, TaskWork};
use crate::dag::TaskIndex;
use crate::few::Few;
use crate::policy::Change;

impl Scheduler {
    /// Fails a task and exactly those that depend on it, each with the cause. Each keeps its place in the order
    /// until those before it have ended, so that nothing behind it overtakes them.
    pub(super) fn fail_task(&mut self, task: TaskIndex, error: CommandError) {
        let mut open = vec![(task, error)];
        let mut failed = Vec::new();
        let mut placeable = Vec::new();
        while let Some((task, error)) = open.pop() {
            if self.state.is_open(task) {
                self.fail_one(task, &error, &mut open, &mut placeable);
                failed.push(task);
            }
        }
        for task in failed {
            if self.state.tasks[task.index()]
                .as_ref()
                .is_some_and(|record| record.state == TaskState::Failed { agent: None })
            {
                self.is_held_no_more(task);
            }
        }
        for next in placeable {
            if self.state.tasks[next.index()]
                .as_ref()
                .is_some_and(|record| record.state == TaskState::Blocked && record.waiting == 0)
            {
                self.predecessors_are_placed(next);
            }
        }
        // Contents whose reader has failed go where they like, and there may be room on a slot.
        self.is_placing_due |=
            !self.floating.is_empty() || self.policies.iter().any(|entry| !entry.placeable.is_empty());
    }

    /// Fails one task; those that fail with it are added to `open`, those that now wait for nobody to be placed to
    /// `placeable`.
    fn fail_one(
        &mut self,
        task: TaskIndex,
        error: &CommandError,
        open: &mut Vec<(TaskIndex, CommandError)>,
        placeable: &mut Vec<TaskIndex>,
    ) {
        // To its policy it is gone: it is not to wait for it, nor to place it.
        let policy = self.state.task(task).policy;
        self.observe(policy, &Change::Removed { task });
        self.outrun_backup(task);
        let holder = self.cancel_at_agent(task);
        let cause = CommandError::of_dependent(self.state.task(task).command, error);
        for output in self.state.task(task).outputs.clone() {
            let version = &mut self.state.versions[output.version];
            version.poison = Some(Box::new(cause.clone()));
            version.replicas = Few::None;
        }
        for (next, kind) in self.state.dag.successors(task) {
            if kind.carries_failure() {
                open.push((next, cause.clone()));
            }
        }
        self.unaccount(task, Span::ZERO);
        self.state.counters.failed += 1;
        self.end_of_command(task, Some(error));
        self.fail_siblings(task, error, open);
        let was_settled = self.state.task(task).is_settled();
        self.keep_place(task, holder);
        match (was_settled, self.state.task(task).is_settled()) {
            (false, true) => self.successors_gain(task, placeable),
            // It was ordered, but one before it has been asked back since.
            (true, false) => self.unsettle(&[task]),
            (true, true) | (false, false) => {}
        }
    }

    /// Makes a task one that only keeps its place.
    fn keep_place(&mut self, task: TaskIndex, holder: Option<AgentId>) {
        self.state.dag.only_order_before(task);
        self.places_kept += 1;
        if self.state.task(task).is_retracting {
            // Those behind it are asked back with it, and counted when it is given back.
            self.state.task_mut(task).waiting = 0;
        } else {
            self.count_waiting(task);
        }
        let record = self.state.task_mut(task);
        record.state = TaskState::Failed { agent: holder };
        record.work = TaskWork::Nothing;
        for input in std::mem::take(&mut record.inputs) {
            self.state.versions[input.version].uses -= 1;
            self.drop_version_if_unused(input.version);
        }
    }

    /// The agent that had been ordered to run a failed task does not, or not any more: the task goes if nothing is
    /// left before it.
    pub(super) fn is_held_no_more(&mut self, task: TaskIndex) {
        let record = self.state.task_mut(task);
        record.state = TaskState::Failed { agent: None };
        if record.is_retracting {
            record.is_retracting = false;
            self.retract_dependents(task);
            self.replace_retracted(&[task]);
            // Those before it that must run again wait for this.
            self.is_placing_due = true;
        }
        if self.state.dag.predecessors(task).next().is_none() {
            // The agent of what began as a backup does not know of all of them.
            if self.reported_failure != Some(task) || self.state.task(task).is_backup {
                self.release_dependents(task);
            }
            self.remove_task(task);
        }
    }

    /// Failed tasks directly behind a task that no agent holds.
    pub(super) fn failed_behind(&self, task: TaskIndex) -> Vec<TaskIndex> {
        self.state
            .dag
            .successors(task)
            .map(|(next, _)| next)
            .filter(|next| self.state.task(*next).state == TaskState::Failed { agent: None })
            .collect()
    }

    /// Lets agents know that a failed task keeps its place no more.
    pub(super) fn release_dependents(&mut self, task: TaskIndex) {
        let id = self.state.task(task).id;
        let waiting: Vec<(AgentId, TaskId)> = self
            .state
            .dag
            .successors(task)
            .filter_map(|(next, _)| {
                let next = self.state.task(next);
                Some((next.state.agent()?, next.id))
            })
            .collect();
        for (at, dependent) in waiting {
            self.order(at, Order::Release { task: id, dependent });
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
            .and_then(|session| session.commands.get(record.command.0))
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

    /// Tells a dispatched task's agent to forget it; the agent that then has to say whether it had started.
    fn cancel_at_agent(&mut self, task: TaskIndex) -> Option<AgentId> {
        let record = self.state.task(task);
        let agent = record.state.agent().filter(|_| self.reported_failure != Some(task))?;
        let id = record.id;
        if !self.state.agents[agent.index()].is_present {
            return None;
        }
        self.order(agent, Order::Cancel { task: id });
        Some(agent)
    }

    pub(super) fn cancel_command(&mut self, session: SessionId, command: CommandId) {
        let Some(record) =
            self.state.sessions.get(&session).and_then(|record| record.commands.get(command.0))
        else {
            return;
        };
        for task in record.tasks.as_slice().to_vec() {
            if let Some(task) = self.state.live(task) {
                self.fail_task(task, CommandError::Cancelled);
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

    /// A session that is over has no order to keep: its buffers go.
    fn forget_failed_of(&mut self, session: SessionId) {
        if self.places_kept == 0 {
            return;
        }
        for place in 0..self.state.tasks.len() {
            if self.state.tasks[place].as_ref().is_some_and(|record| record.session == session) {
                self.remove_task(TaskIndex(place as u32));
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
        self.forget_failed_of(session);
        // Nobody is there to be told of each command.
        let mut place = 0;
        self.actions.retain(|action| {
            place += 1;
            place <= replies_from || !matches!(action, Action::Reply { session: to, .. } if *to == session)
        });
        let Some(record) = self.state.sessions.get(&session) else {
            return;
        };
        let programs: Vec<_> = record.programs.keys().copied().collect();
        for buffer in self.buffers_of(session) {
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
        self.state.costs.forget_session(session);
        let reply = ClientReply::Closed { reason: reason.to_owned() };
        self.actions.push(Action::Reply { session, reply });
        self.actions.push(Action::SessionEnded { session });
    }

    /// The buffers that a session has not released, in order of their ids.
    fn buffers_of(&self, session: SessionId) -> Vec<BufferIndex> {
        let buffers = self.state.buffers.iter();
        let mut live: Vec<(BufferKey, BufferIndex)> = buffers
            .filter(|(_, record)| record.key.session == session && !record.is_released)
            .map(|(place, record)| (record.key, BufferIndex(place)))
            .collect();
        live.sort_unstable();
        live.into_iter().map(|(_, index)| index).collect()
    }
}
