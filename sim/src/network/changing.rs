//! A network whose paths change in mid-run: another model, with latency added to some paths from a time on.
//!
//! What is added to a transfer is what its path adds when it starts; messages of one ordered pair keep their order.

use std::collections::{BTreeMap, BTreeSet};

use isochrone_model::{BytesPerSecond, Span, Timestamp};

use super::{Network, TransferId};
use crate::cluster::Party;
use crate::processing::Processing;

/// From `at` on, each way between two parties takes `extra` longer than the network itself says. A later change of the
/// same two takes the place of an earlier one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LinkChange {
    /// From when on.
    pub at: Timestamp,
    /// Between whom.
    pub between: (Party, Party),
    /// Added to the latency of each direction.
    pub extra: Span,
}

/// See the module.
pub struct Changing {
    inner: Box<dyn Network>,
    /// In order of time.
    changes: Vec<LinkChange>,
    /// Transfers under way to which something is added.
    added: BTreeMap<TransferId, Span>,
    /// Those that `inner` has ended: their end and first byte.
    late: BTreeSet<(Timestamp, TransferId, Timestamp)>,
    last_message: BTreeMap<(usize, usize), Timestamp>,
}

impl Changing {
    /// `inner` with changes.
    #[must_use]
    pub fn new(inner: Box<dyn Network>, mut changes: Vec<LinkChange>) -> Self {
        changes.sort_by_key(|change| change.at);
        Self { inner, changes, added: BTreeMap::new(), late: BTreeSet::new(), last_message: BTreeMap::new() }
    }

    fn extra(&self, now: Timestamp, from: Party, to: Party) -> Span {
        self.changes
            .iter()
            .take_while(|change| change.at <= now)
            .filter(|change| change.between == (from, to) || change.between == (to, from))
            .last()
            .map_or(Span::ZERO, |change| change.extra)
    }
}

impl Network for Changing {
    fn start(&mut self, now: Timestamp, from: Party, to: Party, size_bytes: u64) -> TransferId {
        let transfer = self.inner.start(now, from, to, size_bytes);
        let extra = self.extra(now, from, to);
        if extra > Span::ZERO {
            self.added.insert(transfer, extra);
        }
        transfer
    }

    fn cancel(&mut self, now: Timestamp, transfer: TransferId) {
        self.inner.cancel(now, transfer);
        self.added.remove(&transfer);
        self.late.retain(|(_, late, _)| *late != transfer);
    }

    fn next_event(&self) -> Option<Timestamp> {
        let late = self.late.first().map(|(end, _, _)| *end);
        match (self.inner.next_event(), late) {
            (Some(inner), Some(late)) => Some(inner.min(late)),
            (inner, late) => inner.or(late),
        }
    }

    fn advance(&mut self, now: Timestamp, done: &mut Vec<(TransferId, Timestamp)>) {
        let mut ended = Vec::new();
        self.inner.advance(now, &mut ended);
        for (transfer, first_byte) in ended {
            match self.added.remove(&transfer) {
                None => done.push((transfer, first_byte)),
                Some(extra) => {
                    self.late.insert((now + extra, transfer, first_byte + extra));
                }
            }
        }
        while let Some((end, transfer, first_byte)) = self.late.first().copied()
            && end <= now
        {
            self.late.pop_first();
            done.push((transfer, first_byte));
        }
    }

    fn message(&mut self, now: Timestamp, from: Party, to: Party, size_bytes: u64) -> Timestamp {
        let at = self.inner.message(now, from, to, size_bytes) + self.extra(now, from, to);
        let last = self.last_message.entry((from.place(), to.place())).or_default();
        *last = at.max(*last);
        *last
    }

    fn probe(&mut self, now: Timestamp, from: Party, to: Party) -> Timestamp {
        self.inner.probe(now, from, to) + self.extra(now, from, to)
    }

    fn connect(&mut self, now: Timestamp, one: Party, other: Party) {
        self.inner.connect(now, one, other);
    }

    fn stated(&self, from: Party, to: Party) -> (Span, BytesPerSecond, Span) {
        self.inner.stated(from, to)
    }

    fn is_uncontended(&self) -> bool {
        self.inner.is_uncontended()
    }

    fn processing(&self) -> Processing {
        self.inner.processing()
    }

    fn is_steady(&self) -> bool {
        self.changes.is_empty() && self.inner.is_steady()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::{Cluster, InputPlace, LinkSpec, Topology};
    use crate::network::Shared;

    #[test]
    fn what_starts_after_a_change_is_as_much_later_as_it_says() {
        let cluster = Cluster {
            name: "two".to_owned(),
            agents: Vec::new(),
            inputs_at: InputPlace::Everywhere,
            topology: Topology::uniform(2, LinkSpec::fixed(Span(10), BytesPerSecond(1_000_000_000))),
        };
        let (a, b) = (Party::Agent(0), Party::Agent(1));
        let changes = vec![
            LinkChange { at: Timestamp(300), between: (b, a), extra: Span::ZERO },
            LinkChange { at: Timestamp(100), between: (b, a), extra: Span(70) },
        ];
        let mut network = Changing::new(Box::new(Shared::new(&cluster)), changes);
        assert_eq!(network.message(Timestamp(99), a, b, 0), Timestamp(109));
        assert_eq!(network.message(Timestamp(299), a, b, 0), Timestamp(379));
        assert_eq!(network.message(Timestamp(300), a, b, 0), Timestamp(379), "in order");
        assert_eq!(network.message(Timestamp(300), a, Party::Scheduler, 0), Timestamp(310));
        let mut changed = Changing::new(
            Box::new(Shared::new(&cluster)),
            vec![LinkChange { at: Timestamp(100), between: (a, b), extra: Span(70) }],
        );
        let (before, after) =
            (changed.start(Timestamp(0), a, b, 50), changed.start(Timestamp(200), b, a, 50));
        let mut ends = Vec::new();
        while let Some(at) = changed.next_event() {
            let mut done = Vec::new();
            changed.advance(at, &mut done);
            ends.extend(done.into_iter().map(|(transfer, first)| (transfer, first, at)));
        }
        assert_eq!(ends.len(), 2);
        assert_eq!(ends[0], (before, Timestamp(10), Timestamp(60)));
        assert_eq!(ends[1], (after, Timestamp(280), Timestamp(330)));
    }
}
