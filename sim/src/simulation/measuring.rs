//! What a live farm would measure of its paths, for a scheduler that is told nothing: round trips at the pace of
//! `transport`'s meters, and what transfers carried.
//!
//! A farm that has been running for a while knows its round trips when a graph comes; after that each path is measured
//! in rounds. Must never tell more than the parties themselves could see.

use std::collections::BTreeMap;

use isochrone_model::{AgentId, LinkEnd, PathSample, Report, SessionId, Span, Timestamp};

use super::outcome::TransferRun;
use crate::cluster::Party;
use crate::network::Network;

/// Round trips that are known of each path when the graph comes.
const KNOWN_BEFORE: usize = 3;
/// Time between two rounds: the live meters' while there is work, and what it adds for each path of a party.
const INTERVAL: Span = Span::from_millis(250);
const INTERVAL_PER_PATH: Span = Span::from_millis(5);
/// Smaller contents are not reported.
const CARRIED_BYTES_MIN: u64 = 64 << 10;

/// What one party reports to the scheduler, and when it leaves there.
pub(super) struct Measured {
    pub from: Party,
    pub at: Timestamp,
    pub paths: Vec<(LinkEnd, PathSample)>,
}

/// The measuring of one run.
pub(super) struct Measuring {
    session: SessionId,
    agents: usize,
    interval: Span,
    next: Option<Timestamp>,
    /// By sender and receiver, transfers that were under way together, and whether they still are.
    flows: BTreeMap<(usize, usize), Vec<(usize, bool)>>,
}

impl Measuring {
    pub fn new(session: SessionId, agents: usize, network: &dyn Network) -> Self {
        let interval = INTERVAL.max(INTERVAL_PER_PATH.saturating_mul(agents as u64 + 1));
        let next = (!network.is_steady()).then_some(Timestamp::ZERO + interval);
        Self { session, agents, interval, next, flows: BTreeMap::new() }
    }

    /// When the next round begins, as long as there is anything to measure that may change.
    pub fn next_round(&self) -> Option<Timestamp> {
        self.next
    }

    /// What was known before the graph came.
    pub fn before(&self, network: &mut dyn Network) -> Vec<Measured> {
        self.measure(Timestamp::ZERO, network, KNOWN_BEFORE)
    }

    /// One round.
    pub fn round(&mut self, now: Timestamp, network: &mut dyn Network) -> Vec<Measured> {
        self.next = Some(now + self.interval);
        self.measure(now, network, 1)
    }

    fn measure(&self, now: Timestamp, network: &mut dyn Network, samples: usize) -> Vec<Measured> {
        let mut all = Vec::new();
        let agents = (0..self.agents).map(Party::Agent);
        for from in std::iter::once(Party::Scheduler).chain(agents.clone()) {
            let others = agents.clone().filter(|to| *to != from).chain([Party::Client]);
            let mut measured = Measured { from, at: now, paths: Vec::new() };
            for to in others {
                let end = match to {
                    Party::Agent(agent) => LinkEnd::Agent(AgentId::from_index(agent)),
                    Party::Client | Party::Scheduler => LinkEnd::Session(self.session),
                };
                let mut sample = PathSample { sent_packets: samples as u64, ..PathSample::default() };
                for _ in 0..samples {
                    let round_trip = round_trip(now, network, from, to);
                    measured.at = measured.at.max(now + round_trip);
                    sample.round_trips.push(round_trip);
                }
                measured.paths.push((end, sample));
            }
            all.push(measured);
        }
        all
    }

    /// A transfer begins; `place` is its place among all.
    pub fn begin(&mut self, place: usize, transfer: &TransferRun) {
        self.flows.entry((transfer.from().place(), transfer.to().place())).or_default().push((place, true));
    }

    /// A transfer has ended whose first byte came at `first_byte`: what its receiver reports. Those beside it on the
    /// same path had the same rate as long as both were under way.
    pub fn end(
        &mut self,
        now: Timestamp,
        place: usize,
        first_byte: Timestamp,
        transfers: &[TransferRun],
    ) -> Option<Report> {
        let transfer = &transfers[place];
        let pair = (transfer.from().place(), transfer.to().place());
        let flows = self.flows.get_mut(&pair)?;
        let span = now.since(first_byte);
        if let Some((_, is_under_way)) = flows.iter_mut().find(|(own, _)| *own == place) {
            *is_under_way = false;
        }
        let beside = flows.iter().filter(|(other, _)| *other != place).map(|(other, is_under_way)| {
            let until = if *is_under_way { now } else { transfers[*other].finish };
            let together = until.since(transfers[*other].start.max(first_byte));
            let carried =
                u128::from(transfer.size_bytes) * u128::from(together.0) / u128::from(span.0.max(1));
            u64::try_from(carried).unwrap_or(u64::MAX).min(transfers[*other].size_bytes)
        });
        let shared_bytes = beside.sum();
        if flows.iter().all(|(_, is_under_way)| !is_under_way) {
            self.flows.remove(&pair);
        }
        let from = match transfer.from() {
            Party::Agent(agent) => LinkEnd::Agent(AgentId::from_index(agent)),
            Party::Client => LinkEnd::Session(self.session),
            Party::Scheduler => LinkEnd::Scheduler,
        };
        let size_bytes = transfer.size_bytes;
        (size_bytes >= CARRIED_BYTES_MIN).then_some(Report::Carried { from, size_bytes, shared_bytes, span })
    }
}

/// There and back. Between agents bytes and words are told apart, since there are networks on which words are free.
fn round_trip(now: Timestamp, network: &mut dyn Network, from: Party, to: Party) -> Span {
    let mut way = |from: Party, to: Party| match (from, to) {
        (Party::Scheduler, _) | (_, Party::Scheduler) => network.message(now, from, to, 0).since(now),
        (Party::Agent(_) | Party::Client, Party::Agent(_) | Party::Client) => {
            network.probe(now, from, to).since(now)
        }
    };
    way(from, to) + way(to, from)
}
