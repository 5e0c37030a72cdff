//! What is known of the paths between the parties of a farm: a matrix, each direction for itself.
//!
//! Round trips are measured by the parties themselves, rates come from transfers. `Window` keeps measured values and
//! sees changes, `slow_start` knows what a transfer waits for, `Path` joins the two. This module must never hold what
//! is stated, nor who decides by it.

mod path;
mod slow_start;
pub mod window;

use std::collections::BTreeMap;

use isochrone_model::{AgentId, PathSample, SessionId, Span, Timestamp};

use path::PRIOR_NANOS_PER_MEBIBYTE;
pub use path::{Path, Prior, Warmth};

use crate::distribution::Distribution;

/// Round trip assumed until anything is measured.
pub const PRIOR_ROUND_TRIP: Span = Span::from_micros(500);

/// All paths.
#[derive(Clone, Debug, Default)]
pub struct PathMatrix {
    /// Between agents: by sender, then by receiver.
    agents: Vec<Vec<Option<Box<Path>>>>,
    /// Between the scheduler and an agent.
    control: Vec<Option<Box<Path>>>,
    /// Between the scheduler and a session's client.
    clients: BTreeMap<SessionId, Path>,
    /// From a session's client to an agent.
    uploads: BTreeMap<(SessionId, AgentId), Path>,
    /// Nanoseconds for 1 MiB over whatever paths between agents were measured: what is expected of the others.
    any_nanos: Distribution,
}

impl PathMatrix {
    /// The path from one agent to another.
    #[must_use]
    pub fn between(&self, from: AgentId, to: AgentId) -> Option<&Path> {
        self.agents.get(from.index())?.get(to.index())?.as_deref()
    }

    /// The same, made when it is new.
    pub fn between_mut(&mut self, from: AgentId, to: AgentId) -> &mut Path {
        place(place_row(&mut self.agents, from.index()), to.index())
    }

    /// The path between the scheduler and an agent.
    #[must_use]
    pub fn control(&self, agent: AgentId) -> Option<&Path> {
        self.control.get(agent.index())?.as_deref()
    }

    /// The same, made when it is new.
    pub fn control_mut(&mut self, agent: AgentId) -> &mut Path {
        place(&mut self.control, agent.index())
    }

    /// The path between the scheduler and a session's client.
    #[must_use]
    pub fn client(&self, session: SessionId) -> Option<&Path> {
        self.clients.get(&session)
    }

    /// The same, made when it is new.
    pub fn client_mut(&mut self, session: SessionId) -> &mut Path {
        self.clients.entry(session).or_default()
    }

    /// The path from a session's client to an agent.
    #[must_use]
    pub fn upload(&self, session: SessionId, agent: AgentId) -> Option<&Path> {
        self.uploads.get(&(session, agent))
    }

    /// The same, made when it is new.
    pub fn upload_mut(&mut self, session: SessionId, agent: AgentId) -> &mut Path {
        self.uploads.entry((session, agent)).or_default()
    }

    /// Takes in what an agent has measured of its path to another. The way back has the same round trip; its own
    /// agent measures it too, but may not have begun.
    pub fn agents_measured(
        &mut self,
        now: Timestamp,
        from: AgentId,
        to: AgentId,
        sample: &PathSample,
    ) -> bool {
        let has_moved = self.between_mut(from, to).measured(now, sample);
        let back = self.between_mut(to, from);
        // A path whose own agent measures it hears a change from that one, and must not hear it twice.
        let is_back_told = !back.is_connected() && back.round_trips(now, &sample.round_trips);
        is_back_told || has_moved
    }

    /// Takes in what an agent received from another; says whether the rate that estimates count with has moved.
    pub fn agents_carried(
        &mut self,
        from: AgentId,
        to: AgentId,
        size_bytes: u64,
        shared_bytes: u64,
        span: Span,
    ) -> bool {
        let path = self.between_mut(from, to);
        let has_moved = path.carried(size_bytes, shared_bytes, span);
        if let Some(nanos) = path.nanos_per_mebibyte() {
            self.any_nanos.record(nanos);
        }
        has_moved
    }

    /// An agent is lost, or has come anew: its connections are gone.
    pub fn forget_connections(&mut self, agent: AgentId) {
        for (from, row) in self.agents.iter_mut().enumerate() {
            for (to, path) in row.iter_mut().enumerate() {
                if let Some(path) = path
                    && (from == agent.index() || to == agent.index())
                {
                    path.lost();
                }
            }
        }
        self.uploads.retain(|(_, to), _| *to != agent);
    }

    /// A session is over: its client's paths are of no use any more.
    pub fn forget_session(&mut self, session: SessionId) {
        self.clients.remove(&session);
        self.uploads.retain(|(from, _), _| *from != session);
    }

    /// What is assumed of a path between two agents for what they have not measured. The round trip lies between the
    /// difference and the sum of their round trips to the scheduler; the longer of the two is in the middle of that. The
    /// rate is that of the paths that were measured.
    #[must_use]
    pub fn prior(&self, from: AgentId, to: AgentId) -> Prior {
        let leg = |agent| self.control(agent).and_then(Path::round_trip);
        Prior {
            round_trip: leg(from).max(leg(to)).unwrap_or(PRIOR_ROUND_TRIP),
            nanos_per_mebibyte: self.any_nanos.typical().unwrap_or(PRIOR_NANOS_PER_MEBIBYTE),
        }
    }

    /// Paths between agents, in order.
    pub fn iter_agents(&self) -> impl Iterator<Item = (AgentId, AgentId, &Path)> {
        self.agents.iter().enumerate().flat_map(|(from, row)| {
            row.iter().enumerate().filter_map(move |(to, path)| {
                Some((AgentId::from_index(from), AgentId::from_index(to), path.as_deref()?))
            })
        })
    }

    /// Paths between the scheduler and agents, in order.
    pub fn iter_control(&self) -> impl Iterator<Item = (AgentId, &Path)> {
        self.control
            .iter()
            .enumerate()
            .filter_map(|(agent, path)| Some((AgentId::from_index(agent), path.as_deref()?)))
    }

    /// Paths between the scheduler and clients, in order.
    pub fn iter_clients(&self) -> impl Iterator<Item = (SessionId, &Path)> {
        self.clients.iter().map(|(session, path)| (*session, path))
    }

    /// Paths from clients to agents, in order.
    pub fn iter_uploads(&self) -> impl Iterator<Item = (SessionId, AgentId, &Path)> {
        self.uploads.iter().map(|((session, agent), path)| (*session, *agent, path))
    }
}

fn place_row(rows: &mut Vec<Vec<Option<Box<Path>>>>, index: usize) -> &mut Vec<Option<Box<Path>>> {
    if rows.len() <= index {
        rows.resize_with(index + 1, Vec::new);
    }
    &mut rows[index]
}

fn place(row: &mut Vec<Option<Box<Path>>>, index: usize) -> &mut Path {
    if row.len() <= index {
        row.resize_with(index + 1, || None);
    }
    row[index].get_or_insert_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(round_trip: Span) -> PathSample {
        PathSample { round_trips: vec![round_trip], sent_packets: 1, ..PathSample::default() }
    }

    #[test]
    fn the_way_back_is_known_until_its_own_agent_measures_it() {
        let mut matrix = PathMatrix::default();
        let (a, b) = (AgentId(0), AgentId(2));
        assert_eq!(matrix.prior(a, b).round_trip, PRIOR_ROUND_TRIP);
        matrix.control_mut(b).measured(Timestamp(1), &sample(Span::from_millis(30)));
        assert_eq!(matrix.prior(a, b).round_trip, Span::from_millis(30));
        assert!(matrix.agents_measured(Timestamp(1), a, b, &sample(Span::from_millis(20))));
        assert_eq!(matrix.between(b, a).and_then(Path::round_trip), Some(Span::from_millis(20)));
        for _ in 0..8 {
            matrix.agents_measured(Timestamp(2), b, a, &sample(Span::from_millis(24)));
        }
        assert_eq!(matrix.between(a, b).unwrap().round_trip_status().unwrap().samples, 1);
        assert_eq!(matrix.iter_agents().count(), 2);
    }

    #[test]
    fn a_lost_agent_loses_its_connections_but_not_what_was_measured() {
        let mut matrix = PathMatrix::default();
        let (a, b, session) = (AgentId(0), AgentId(1), SessionId(4));
        matrix.agents_measured(Timestamp(1), a, b, &sample(Span::from_millis(20)));
        matrix.upload_mut(session, b).measured(Timestamp(1), &sample(Span::from_millis(5)));
        matrix.between_mut(a, b).ordered(100, Timestamp(1), Span(9));
        matrix.forget_connections(b);
        let path = matrix.between(a, b).unwrap();
        let parts = path.parts(1, Timestamp(1), Prior::default());
        assert_eq!((parts.handshake, parts.queueing), (Span::from_millis(40), Span::ZERO));
        assert!(matrix.upload(session, b).is_none());
        matrix.client_mut(session).measured(Timestamp(1), &sample(Span::from_millis(5)));
        matrix.forget_session(session);
        assert_eq!(matrix.iter_clients().count() + matrix.iter_uploads().count(), 0);
    }
}
