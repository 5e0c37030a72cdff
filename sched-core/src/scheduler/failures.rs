//! How tasks fail: with those that depend on them, and with the session that they belong to.

use isochrone_model::message::ClientReply;
use isochrone_model::{AgentId, CommandError, CommandId, Order, SessionId, Span, TaskId};

use super::Scheduler;
use super::event::Action;
use super::state::TaskState;
use crate::dag::{DependencyKind, TaskIndex};

impl Scheduler {
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
