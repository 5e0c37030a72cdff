//! Which transfers a placement asks for, and from where.

use isochrone_model::{AgentId, ByteRange, CommandError, Order, Region, Timestamp};

use super::Scheduler;
use super::state::{Replica, ReplicaState, VersionIndex};
use crate::dag::TaskIndex;
use crate::few::Few;

impl Scheduler {
    /// Orders every part of the task's inputs that its agent lacks to be sent there.
    pub(super) fn order_transfers(&mut self, task: TaskIndex, agent: AgentId) {
        for place in 0..self.state.task(task).inputs.len() {
            let input = self.state.task(task).inputs[place];
            for part in self.state.missing(input.version, input.range, agent) {
                self.order_transfer(input.version, part, agent);
            }
        }
    }

    /// Why a task's inputs cannot all be had at an agent, if they cannot.
    pub(super) fn lost_contents(&self, task: TaskIndex, agent: AgentId) -> Option<CommandError> {
        self.state.task(task).inputs.iter().find_map(|input| {
            let is_lost = self
                .state
                .missing(input.version, input.range, agent)
                .into_iter()
                .any(|part| !self.can_be_sent(input.version, part, agent));
            is_lost.then(|| self.loss_error(input.version, input.range))
        })
    }

    /// The error of a task that reads contents which no agent holds any more.
    pub(super) fn loss_error(&self, version: VersionIndex, range: ByteRange) -> CommandError {
        let record = &self.state.versions[version];
        match &record.poison {
            Some(poison) => (**poison).clone(),
            None => {
                let buffer = self.state.buffers[record.buffer].key.buffer;
                CommandError::ContentSuperseded { buffer, range }
            }
        }
    }

    /// Whether other agents have, or will have, every byte of a part of a version: `sources_of` finds them then.
    fn can_be_sent(&self, version: VersionIndex, part: ByteRange, to: AgentId) -> bool {
        let replicas = &self.state.versions[version].replicas;
        let mut position = part.start;
        while position < part.end {
            let here = replicas.iter().filter(|replica| {
                let is_source = replica.agent != to && self.state.agents[replica.agent.index()].is_present;
                is_source && replica.range.start <= position && replica.range.end > position
            });
            let Some(reach) = here.map(|replica| replica.range.end).max() else { return false };
            position = reach;
        }
        true
    }

    /// Who can send which piece of a part of a version to an agent, and when; `None` when a byte of it is
    /// nowhere.
    fn sources_of(
        &self,
        version: VersionIndex,
        part: ByteRange,
        to: AgentId,
    ) -> Option<Few<(AgentId, Timestamp, ByteRange)>> {
        let mut sources = Few::None;
        let mut position = part;
        while !position.is_empty() {
            let (from, ready, reach) = self.state.best_source(version, position, to)?;
            sources.push((from, ready, reach));
            position = ByteRange::new(reach.end, position.end);
        }
        Some(sources)
    }

    /// Orders a part of a version to be sent to an agent; `false`, and nothing is ordered, when a byte of it is
    /// nowhere.
    pub(super) fn order_transfer(&mut self, version: VersionIndex, part: ByteRange, to: AgentId) -> bool {
        let Some(sources) = self.sources_of(version, part, to) else {
            return false;
        };
        for (from, ready, reach) in sources {
            let expected = self.state.costs.arrival(from, to, reach.len(), ready);
            self.note_order(from, to, reach.len(), ready);
            self.state.costs.note_transfer(from, to, reach.len(), ready);
            let record = &mut self.state.versions[version];
            record.replicas.push(Replica {
                agent: to,
                range: reach,
                state: ReplicaState::Coming { from, expected },
            });
            let buffer = self.state.buffers[record.buffer].key;
            let region = Region { buffer, range: reach, version: record.version };
            self.order(from, Order::Push { region, to });
        }
        true
    }
}
