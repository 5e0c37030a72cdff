//! `shared`: transfers share access links and paths fairly.
//!
//! A transfer of s bytes from a to b that starts at t sends nothing for the pair's latency L (its mean where it is a
//! distribution): its first byte arrives at t + L, and from then on it is a flow over a's up link, the path from a to b and b's
//! down link. All flows at each moment have their max-min fair rates r(t) over these links, and the transfer ends when the
//! integral of its rate has reached s. So a transfer that is alone ends at t + L + s / B, rounded up, exactly as in `classic`. That the flow
//! begins after the latency is SimGrid's convention (`CM02`), with whose completion times this model is compared in the tests.
//!
//! Messages take the latency and do not share; between a party and itself all ends at once. There is no loss.

use isochrone_model::{BytesPerSecond, Span, Timestamp};

use super::agenda::Agenda;
use super::sharing::Sharing;
use super::wiring::{Slots, Wiring};
use super::{Network, TransferId};
use crate::cluster::{Cluster, Party};

/// Max-min fair sharing of links.
pub struct Shared {
    wiring: Wiring,
    pub(super) sharing: Sharing,
    slots: Slots,
    /// By slot.
    transfers: Vec<Transfer>,
    /// When flows begin, by slot.
    begins: Agenda,
    /// Latency and bandwidth by ordered pair.
    pairs: Vec<(Span, BytesPerSecond)>,
}

#[derive(Clone, Copy)]
struct Transfer {
    id: TransferId,
    from: Party,
    to: Party,
    size_bytes: u64,
    first_byte: Timestamp,
    is_flowing: bool,
}

impl Shared {
    /// The network of a cluster.
    #[must_use]
    pub fn new(cluster: &Cluster) -> Self {
        let mut sharing = Sharing::default();
        let wiring = Wiring::new(cluster, &mut sharing);
        Self {
            pairs: pairs(cluster),
            wiring,
            sharing,
            slots: Slots::default(),
            transfers: Vec::new(),
            begins: Agenda::default(),
        }
    }

    fn pair(&self, from: Party, to: Party) -> (Span, BytesPerSecond) {
        self.pairs[from.place() * self.wiring.parties() + to.place()]
    }

    /// All that happens at one moment.
    fn advance_to(&mut self, at: Timestamp, done: &mut Vec<(TransferId, Timestamp)>) {
        let first = done.len();
        while self.next_event() == Some(at) {
            while let Some((end, slot)) = self.sharing.next_end()
                && end <= at
            {
                self.sharing.remove(at, slot);
                let transfer = self.transfers[slot as usize];
                self.slots.end(transfer.id);
                done.push((transfer.id, transfer.first_byte));
            }
            while let Some((begin, slot)) = self.begins.first()
                && begin <= at
            {
                self.begins.remove(slot);
                let transfer = &mut self.transfers[slot as usize];
                transfer.is_flowing = true;
                let (links, count) = self.wiring.links(&mut self.sharing, transfer.from, transfer.to);
                self.sharing.insert(at, slot, transfer.id.0, transfer.size_bytes, &links[..count]);
            }
            self.sharing.settle(at);
        }
        // What begins and ends at once comes behind what has ended before, and may have started earlier.
        done[first..].sort_unstable_by_key(|(id, _)| *id);
    }
}

impl Network for Shared {
    fn start(&mut self, now: Timestamp, from: Party, to: Party, size_bytes: u64) -> TransferId {
        let (latency, _) = self.pair(from, to);
        let (id, slot) = self.slots.start();
        let first_byte = now + latency;
        let transfer = Transfer { id, from, to, size_bytes, first_byte, is_flowing: false };
        match self.transfers.get_mut(slot as usize) {
            Some(place) => *place = transfer,
            None => self.transfers.push(transfer),
        }
        self.begins.set(slot, first_byte, id.0);
        id
    }

    fn cancel(&mut self, now: Timestamp, transfer: TransferId) {
        let Some(slot) = self.slots.get(transfer) else {
            return;
        };
        if self.transfers[slot as usize].is_flowing {
            self.sharing.remove(now, slot);
            self.sharing.settle(now);
        } else {
            self.begins.remove(slot);
        }
        self.slots.end(transfer);
    }

    fn next_event(&self) -> Option<Timestamp> {
        let times = [self.sharing.next_end(), self.begins.first()];
        times.into_iter().flatten().map(|(at, _)| at).min()
    }

    fn advance(&mut self, now: Timestamp, done: &mut Vec<(TransferId, Timestamp)>) {
        while let Some(at) = self.next_event()
            && at <= now
        {
            self.advance_to(at, done);
        }
    }

    fn message(&mut self, now: Timestamp, from: Party, to: Party, _size_bytes: u64) -> Timestamp {
        now + self.pair(from, to).0
    }

    fn stated(&self, from: Party, to: Party) -> (Span, BytesPerSecond, Span) {
        let (latency, bandwidth) = self.pair(from, to);
        (latency, bandwidth, latency)
    }

    fn is_steady(&self) -> bool {
        true
    }

    fn is_uncontended(&self) -> bool {
        false
    }
}

/// Mean latency and bandwidth of each ordered pair.
pub(super) fn pairs(cluster: &Cluster) -> Vec<(Span, BytesPerSecond)> {
    let mut known: Vec<(*const crate::cluster::LinkSpec, (Span, BytesPerSecond))> = Vec::new();
    let mut pairs = Vec::new();
    let parties = cluster.topology.parties();
    for from in (0..parties).map(Party::at) {
        for to in (0..parties).map(Party::at) {
            let link = cluster.topology.link(from, to);
            // Means of distributions are costly, and pairs share few links: by address.
            let found =
                known.iter().rev().find(|(other, _)| std::ptr::eq(*other, link)).map(|(_, pair)| *pair);
            pairs.push(found.unwrap_or_else(|| {
                let pair = (link.latency.mean(), link.bandwidth);
                known.push((link, pair));
                pair
            }));
        }
    }
    pairs
}
