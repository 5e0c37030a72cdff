//! `classic`: the model of the scheduling literature.
//!
//! A transfer of s bytes from one party to another that starts at t ends at t + L + s / B, rounded up to a whole
//! nanosecond: L is the pair's latency (its mean where it is a distribution) and B the pair's bandwidth. Its first byte
//! arrives at t + L. Transfers do not see each other, and there is no loss. Between a party and itself a transfer ends
//! at once. Messages arrive when they are sent, since the literature's control plane is free.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

use isochrone_model::{BytesPerSecond, Span, Timestamp};

use super::{Network, TransferId};
use crate::cluster::{Cluster, Party};

/// Latency + size / bandwidth, no contention.
pub struct Classic {
    /// Latency and bandwidth by ordered pair.
    pairs: Vec<(Span, BytesPerSecond)>,
    parties: usize,
    /// (end, id, first byte), next first.
    ends: BinaryHeap<Reverse<(Timestamp, u64, Timestamp)>>,
    /// Whether a transfer is under way, for ids from `first_id` on.
    is_under_way: VecDeque<bool>,
    first_id: u64,
}

impl Classic {
    /// The network of a cluster.
    #[must_use]
    pub fn new(cluster: &Cluster) -> Self {
        let parties = cluster.topology.parties();
        let pairs = super::shared::pairs(cluster);
        Self { pairs, parties, ends: BinaryHeap::new(), is_under_way: VecDeque::new(), first_id: 0 }
    }

    fn pair(&self, from: Party, to: Party) -> (Span, BytesPerSecond) {
        self.pairs[from.place() * self.parties + to.place()]
    }

    /// Ends a transfer; false when it had ended.
    fn end(&mut self, id: u64) -> bool {
        let Some(entry) =
            id.checked_sub(self.first_id).and_then(|index| self.is_under_way.get_mut(index as usize))
        else {
            return false;
        };
        let was_under_way = std::mem::replace(entry, false);
        while self.is_under_way.front() == Some(&false) {
            self.is_under_way.pop_front();
            self.first_id += 1;
        }
        was_under_way
    }

    /// Forgets cancelled transfers at the head, so that `next_event` names a true one.
    fn drop_cancelled(&mut self) {
        while let Some(Reverse((_, id, _))) = self.ends.peek() {
            let is_under_way =
                id.checked_sub(self.first_id).and_then(|index| self.is_under_way.get(index as usize));
            if is_under_way == Some(&true) {
                break;
            }
            self.ends.pop();
        }
    }
}

impl Network for Classic {
    fn start(&mut self, now: Timestamp, from: Party, to: Party, size_bytes: u64) -> TransferId {
        let (latency, bandwidth) = self.pair(from, to);
        let id = self.first_id + self.is_under_way.len() as u64;
        self.is_under_way.push_back(true);
        let first_byte = now + latency;
        let end = first_byte + bandwidth.span_for(size_bytes);
        self.ends.push(Reverse((end, id, first_byte)));
        TransferId(id)
    }

    fn cancel(&mut self, _now: Timestamp, transfer: TransferId) {
        if self.end(transfer.0) {
            self.drop_cancelled();
        }
    }

    fn next_event(&self) -> Option<Timestamp> {
        self.ends.peek().map(|Reverse((end, _, _))| *end)
    }

    fn advance(&mut self, now: Timestamp, done: &mut Vec<(TransferId, Timestamp)>) {
        while let Some(&Reverse((end, id, first_byte))) = self.ends.peek()
            && end <= now
        {
            self.ends.pop();
            if self.end(id) {
                done.push((TransferId(id), first_byte));
            }
        }
        self.drop_cancelled();
    }

    fn message(&mut self, now: Timestamp, _from: Party, _to: Party, _size_bytes: u64) -> Timestamp {
        now
    }

    fn stated(&self, from: Party, to: Party) -> (Span, BytesPerSecond, Span) {
        let (latency, bandwidth) = self.pair(from, to);
        (latency, bandwidth, Span::ZERO)
    }

    fn probe(&mut self, now: Timestamp, from: Party, to: Party) -> Timestamp {
        now + self.pair(from, to).0
    }

    fn is_steady(&self) -> bool {
        true
    }

    fn is_uncontended(&self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::{InputPlace, Latency, LinkSpec, Topology, UNLIMITED};

    fn network(link: LinkSpec) -> Classic {
        Classic::new(&Cluster {
            name: String::new(),
            agents: Vec::new(),
            inputs_at: InputPlace::Everywhere,
            topology: Topology::uniform(2, link),
        })
    }

    const ONE: Party = Party::Agent(0);
    const TWO: Party = Party::Agent(1);

    #[test]
    fn transfers_take_latency_and_size_over_bandwidth_and_do_not_contend() {
        let mut network = network(LinkSpec::fixed(Span(100), BytesPerSecond(3_000_000_000)));
        let first = network.start(Timestamp(10), ONE, TWO, 3_000);
        let second = network.start(Timestamp(10), ONE, TWO, 1_000);
        assert_eq!(network.next_event(), Some(Timestamp(10 + 100 + 334)));
        let mut done = Vec::new();
        network.advance(Timestamp(443), &mut done);
        assert!(done.is_empty());
        network.advance(Timestamp(5_000), &mut done);
        assert_eq!(done, [(second, Timestamp(110)), (first, Timestamp(110))]);
        assert_eq!(network.next_event(), None);
    }

    #[test]
    fn what_stays_with_a_party_ends_at_once_and_equal_ends_go_by_id() {
        let mut network = network(LinkSpec::fixed(Span(100), BytesPerSecond(1_000_000_000)));
        let (now, mut done) = (Timestamp(50), Vec::new());
        let far = network.start(now, ONE, TWO, 0);
        let own = network.start(now, TWO, TWO, u64::MAX);
        let also_far = network.start(now, TWO, ONE, 0);
        network.advance(now, &mut done);
        assert_eq!(done, [(own, now)]);
        network.advance(Timestamp(150), &mut done);
        assert_eq!(done[1..], [(far, Timestamp(150)), (also_far, Timestamp(150))]);
    }

    #[test]
    fn a_cancelled_transfer_is_never_reported_and_holds_up_nothing() {
        let mut network = network(LinkSpec::fixed(Span(1), BytesPerSecond(1_000_000_000)));
        let gone = network.start(Timestamp(0), ONE, TWO, 10);
        let stays = network.start(Timestamp(0), ONE, TWO, 20);
        network.cancel(Timestamp(5), gone);
        network.cancel(Timestamp(5), TransferId(77));
        assert_eq!(network.next_event(), Some(Timestamp(21)));
        let mut done = Vec::new();
        network.advance(Timestamp(100), &mut done);
        assert_eq!(done, [(stays, Timestamp(1))]);
        network.cancel(Timestamp(100), stays);
        assert_eq!(network.start(Timestamp(100), ONE, TWO, 1), TransferId(2));
    }

    #[test]
    fn a_distribution_counts_by_its_mean_and_messages_are_free() {
        let latency = Latency::Empirical([Span(100), Span(300)].into());
        let mut network = network(LinkSpec { latency, bandwidth: UNLIMITED, loss: 0.5 });
        network.start(Timestamp(0), ONE, TWO, 10);
        assert_eq!(network.next_event(), Some(Timestamp(200)));
        assert_eq!(network.message(Timestamp(3), Party::Scheduler, ONE, 10), Timestamp(3));
        assert_eq!(network.stated(ONE, TWO), (Span(200), UNLIMITED, Span::ZERO));
        assert!(network.is_uncontended());
    }
}
