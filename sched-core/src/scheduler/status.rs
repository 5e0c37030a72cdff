//! What the machine tells of itself; nothing here changes it.

use isochrone_model::message::{
    AgentStatus, Candidate, Decision, DeviceStatus, Explanation, FarmStatus, SessionStatus,
    WEIGHED_BY_SCHEDULER,
};
use isochrone_model::{AgentId, CommandId, DeviceId, SessionId, Span};

use super::Scheduler;
use super::state::{TaskState, TaskWork};
use crate::costs::CostSnapshot;
use crate::policy::DecisionRecord;

/// Backups of tasks that were late.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BackupCounts {
    /// Ordered to agents.
    pub ordered: u64,
    /// Of those, the ones that ended before the first attempt was known to have.
    pub used: u64,
}

impl Scheduler {
    /// Every device of every agent that is or was there.
    #[must_use]
    pub fn devices(&self) -> Vec<DeviceStatus> {
        self.state
            .devices
            .iter()
            .enumerate()
            .map(|(index, device)| {
                let agent = &self.state.agents[device.agent.index()];
                let id = DeviceId::from_index(index);
                DeviceStatus {
                    device: id,
                    agent: agent.facts.name.clone(),
                    facts: device.facts.clone(),
                    is_present: agent.is_present && agent.devices.contains(&id),
                    queued_tasks: device
                        .slots
                        .iter()
                        .map(|slot| self.state.slots[slot.index()].dispatched)
                        .sum(),
                    finished_tasks: device.finished,
                    busy: device.busy,
                    memory_used_bytes: device.memory_used_bytes,
                }
            })
            .collect()
    }

    /// The farm at a glance; version and uptime are the driver's to fill in.
    #[must_use]
    pub fn status(&self) -> FarmStatus {
        let agents = self
            .state
            .agents
            .iter()
            .enumerate()
            .filter(|(_, agent)| agent.is_present)
            .map(|(index, agent)| AgentStatus {
                name: agent.facts.name.clone(),
                address: agent.facts.address.clone(),
                devices: agent.devices.len() as u32,
                round_trip: self
                    .state
                    .costs
                    .control_round_trip(AgentId::from_index(index))
                    .unwrap_or(Span::ZERO),
                queued_tasks: agent.dispatched,
                host_memory_used_bytes: agent.host_used_bytes,
            })
            .collect();
        let sessions = self
            .state
            .sessions
            .iter()
            .map(|(session, record)| SessionStatus {
                session: *session,
                tenant: record.tenant_name.clone(),
                policy: self.policies[record.policy].label.clone(),
                commands_open: record.commands.len() as u64,
                commands_finished: record.commands_finished,
                buffers: record.live_buffers,
            })
            .collect();
        let attempts: u64 = self.state.agents.iter().map(|agent| u64::from(agent.dispatched)).sum();
        let dispatched = attempts - self.state.spares.len() as u64;
        FarmStatus {
            version: String::new(),
            policy: self.default_policy.clone(),
            uptime: Span::ZERO,
            agents,
            sessions,
            tasks_unplaced: self.state.dag.len() as u64 - dispatched,
            tasks_dispatched: dispatched,
            tasks_finished: self.state.counters.finished,
            tasks_failed: self.state.counters.failed,
            moved_bytes: self.state.counters.moved_bytes,
            rejections: self
                .state
                .counters
                .rejections
                .iter()
                .map(|(reason, count)| (reason.name().to_owned(), *count))
                .collect(),
        }
    }

    /// Whether no session has anything open: no task that has not ended, no request that waits for a build.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.state.dag.is_empty() && self.state.sessions.values().all(|session| session.ingest.is_empty())
    }

    /// What the cost model has learnt, for a file.
    #[must_use]
    pub fn cost_snapshot(&self) -> CostSnapshot {
        self.state
            .costs
            .snapshot(|agent| self.state.agents.get(agent.index()).map(|record| record.facts.name.clone()))
    }

    /// How many backups there were, from the beginning on.
    #[must_use]
    pub fn backups(&self) -> BackupCounts {
        BackupCounts { ordered: self.state.counters.backups, used: self.state.counters.backups_used }
    }

    /// Reports of this agent's present connection that have been taken in.
    #[must_use]
    pub fn reports_taken(&self, agent: AgentId) -> u64 {
        self.state.agents.get(agent.index()).map_or(0, |record| record.reports_taken)
    }

    /// Why a command runs where it runs, or why it does not run yet; `None` when the session never had it.
    #[must_use]
    pub fn explain(&self, session: SessionId, command: CommandId) -> Option<Explanation> {
        let record = self.state.sessions.get(&session)?;
        if command > record.last_command {
            let is_waiting = !record.ingest.is_empty();
            return is_waiting.then(|| Explanation {
                command,
                state: "waits to be taken in: a program before it is still being built".to_owned(),
                decision: None,
            });
        }
        let decision = self
            .state
            .decisions
            .iter()
            .rev()
            .find(|decision| decision.session == session && decision.command == command)
            .map(|decision| self.decision(decision));
        let state = match record.commands.get(command.0) {
            Some(tasks) => self.describe(tasks.tasks.as_slice()),
            None => match record.failed.get(&command) {
                Some(error) => format!("failed: {error}"),
                None => "finished".to_owned(),
            },
        };
        Some(Explanation { command, state, decision })
    }

    fn describe(&self, tasks: &[isochrone_model::TaskId]) -> String {
        let Some(task) = tasks.iter().find_map(|task| self.state.live(*task)) else {
            return "finished".to_owned();
        };
        let record = self.state.task(task);
        let what = if record.label.is_empty() { String::new() } else { format!(" `{}`", record.label) };
        match record.state {
            TaskState::Blocked => {
                format!("task{what} waits for {} predecessors to be placed", record.waiting)
            }
            TaskState::Floating => {
                format!("contents{what} wait for the first task that reads them to be placed")
            }
            TaskState::Placeable => {
                let places = self.why_not_placed(task);
                format!("task{what} waits for its policy to place it{places}")
            }
            TaskState::Failed { .. } => format!("task{what} has failed"),
            TaskState::Dispatched { agent, .. } => {
                let waits = self.state.dag.predecessors(task).count();
                let name = &self.state.agents[agent.index()].facts.name;
                let beside = match self.state.backup_of(task) {
                    Some(backup) => format!(
                        "; a backup of it is ordered to {}",
                        self.state.agents[backup.agent.index()].facts.name
                    ),
                    None => String::new(),
                };
                format!(
                    "task{what} is ordered to {name} and waits there for {waits} predecessors and its contents{beside}"
                )
            }
        }
    }

    fn why_not_placed(&self, task: crate::dag::TaskIndex) -> String {
        let record = self.state.task(task);
        let legal = (0..self.state.devices.len())
            .filter(|device| self.state.is_legal(record, DeviceId::from_index(*device)))
            .count();
        match (&record.work, legal) {
            (TaskWork::Kernel(_), 0) => ": no device that is there can run it".to_owned(),
            (_, legal) => format!(", on one of {legal} devices"),
        }
    }

    fn decision(&self, record: &DecisionRecord) -> Decision {
        let slot = &self.state.slots[record.slot.index()];
        let by_whom = if record.is_weighed_by_scheduler { WEIGHED_BY_SCHEDULER } else { "" };
        Decision {
            task: record.task,
            policy: self.policies[record.policy].label.clone(),
            chosen: format!("{}/{}", self.state.device_name(record.device), slot.index),
            reason: format!("{}{by_whom}", record.reason),
            candidates: record
                .candidates
                .iter()
                .map(|candidate| {
                    let device = self.state.slots[candidate.slot.index()].device;
                    Candidate {
                        device,
                        name: self.state.device_name(device),
                        queueing: candidate.queueing,
                        transfer: candidate.transfer,
                        execution: candidate.execution,
                        finish: candidate.finish,
                    }
                })
                .collect(),
            transfers: record.transfers.iter().map(|record| self.planned_transfer(record)).collect(),
        }
    }
}
