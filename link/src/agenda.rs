//! What happens next: changes first, then datagrams in the order in which they were offered.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use isochrone_model::Timestamp;

/// Something that happens at a time. `order` decides between those of one time: 0 for changes, else the datagram's number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Entry {
    at: Timestamp,
    order: u64,
    turn: Turn,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Turn {
    /// A scheduled change, by its place.
    Change(u32),
    /// The datagram in this slot comes to its next stage.
    Next(u32),
    /// The first of a queue has left it, unless the epoch has passed.
    Leaves { queue: u32, epoch: u32 },
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Agenda {
    heap: BinaryHeap<Reverse<Entry>>,
}

impl Agenda {
    pub(crate) fn add(&mut self, at: Timestamp, order: u64, turn: Turn) {
        self.heap.push(Reverse(Entry { at, order, turn }));
    }

    pub(crate) fn next_at(&self) -> Option<Timestamp> {
        self.heap.peek().map(|Reverse(entry)| entry.at)
    }

    /// The next one if it happens by `now`.
    pub(crate) fn take_due(&mut self, now: Timestamp) -> Option<(Timestamp, Turn)> {
        if self.next_at()? > now {
            return None;
        }
        self.heap.pop().map(|Reverse(entry)| (entry.at, entry.turn))
    }
}
