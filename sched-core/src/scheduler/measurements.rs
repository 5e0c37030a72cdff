//! What parties measure of their paths, and what of it goes into the record of a placement.

use isochrone_model::message::PlannedTransfer;
use isochrone_model::{AgentId, BytesPerSecond, LinkEnd, LinkStatus, PathSample, SessionId, Span, Timestamp};

use super::Scheduler;
use crate::paths::Path;
use crate::policy::TransferRecord;

impl Scheduler {
    /// Takes in what a party has measured of its path to another. A path that has changed may change where tasks that
    /// are held back go best.
    pub(super) fn take_path(&mut self, from: LinkEnd, to: LinkEnd, sample: &PathSample) {
        if self.is_end(to) && self.state.costs.path_measured(self.state.now, from, to, sample) {
            self.is_placing_due = true;
        }
    }

    /// Takes in what a path has carried to an agent.
    pub(super) fn take_carriage(
        &mut self,
        from: LinkEnd,
        to: AgentId,
        size_bytes: u64,
        shared_bytes: u64,
        span: Span,
    ) {
        if self.is_end(from) && self.state.costs.carried(from, to, size_bytes, shared_bytes, span) {
            self.is_placing_due = true;
        }
    }

    /// Whether a party is of the farm.
    fn is_end(&self, end: LinkEnd) -> bool {
        match end {
            LinkEnd::Scheduler => false,
            LinkEnd::Agent(agent) => agent.index() < self.state.agents.len(),
            LinkEnd::Session(session) => self.state.sessions.contains_key(&session),
        }
    }

    /// Notes what is known of the path of a transfer that is ordered with a placement.
    pub(super) fn note_order(&mut self, from: AgentId, to: AgentId, size_bytes: u64, ready: Timestamp) {
        if self.state.limits.decisions_kept_max == 0 {
            return;
        }
        let costs = &self.state.costs;
        let path = costs.paths().between(from, to);
        let (samples, age) = path.map_or((0, None), |path| path.standing(self.state.now));
        let stated = costs.stated_link(from, to);
        let record = TransferRecord {
            from,
            to,
            size_bytes,
            parts: costs.transfer_parts(from, to, size_bytes, ready),
            round_trip: costs.one_way(from, to).saturating_mul(2),
            rate: match stated {
                Some(link) => link.rate,
                None => BytesPerSecond::from_transfer(1 << 20, costs.carrying(from, to, 1 << 20)),
            },
            samples,
            age,
        };
        self.transfers_ordered.push(record);
    }

    /// Puts what was ordered to be moved into the record of the placement that ordered it.
    pub(super) fn record_transfers(&mut self) {
        if !self.transfers_ordered.is_empty()
            && let Some(decision) = self.state.decisions.back_mut()
        {
            decision.transfers = std::mem::take(&mut self.transfers_ordered);
        }
    }

    pub(super) fn planned_transfer(&self, record: &TransferRecord) -> PlannedTransfer {
        PlannedTransfer {
            from: self.agent_name(record.from),
            to: self.agent_name(record.to),
            size_bytes: record.size_bytes,
            parts: record.parts,
            round_trip: record.round_trip,
            rate: record.rate,
            samples: record.samples,
            age: record.age,
        }
    }

    /// What is known of every path of parties that are there: of the scheduler to agents and clients, of agents to
    /// each other, of clients to agents.
    #[must_use]
    pub fn links(&self) -> Vec<LinkStatus> {
        let paths = self.state.costs.paths();
        let is_there = |agent: AgentId| self.state.agents[agent.index()].is_present;
        let client = |session: SessionId| format!("client {}", session.0);
        let scheduler = || "scheduler".to_owned();
        let control = paths
            .iter_control()
            .filter(|(agent, _)| is_there(*agent))
            .map(|(agent, path)| self.link_status(scheduler(), self.agent_name(agent), None, path));
        let between = paths
            .iter_agents()
            .filter(|(from, to, _)| is_there(*from) && is_there(*to))
            .map(|(from, to, path)| self.link_status(self.agent_name(from), self.agent_name(to), None, path));
        let clients = paths
            .iter_clients()
            .map(|(session, path)| self.link_status(scheduler(), client(session), Some(session), path));
        let uploads = paths
            .iter_uploads()
            .filter(|(_, to, _)| is_there(*to))
            .map(|(from, to, path)| self.link_status(client(from), self.agent_name(to), Some(from), path));
        control.chain(between).chain(clients).chain(uploads).collect()
    }

    fn link_status(&self, from: String, to: String, session: Option<SessionId>, path: &Path) -> LinkStatus {
        let (rate, rate_samples) = path.rate();
        let tenant = session.and_then(|session| self.state.sessions.get(&session));
        LinkStatus {
            from,
            to,
            tenant: tenant.map(|session| session.tenant_name.clone()).unwrap_or_default(),
            round_trip: path.round_trip_status(),
            rate,
            rate_samples,
            lost_per_million: path.lost_per_million(),
            age: path.standing(self.state.now).1,
            confidence_percent: path.confidence_percent(self.state.now),
            queued_bytes: path.queued_bytes(),
        }
    }

    fn agent_name(&self, agent: AgentId) -> String {
        self.state.agents.get(agent.index()).map(|record| record.facts.name.clone()).unwrap_or_default()
    }
}
