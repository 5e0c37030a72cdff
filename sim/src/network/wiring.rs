//! A cluster's hosts and paths as links to share, and the places of transfers under way.

use std::collections::VecDeque;

use isochrone_model::BytesPerSecond;

use super::TransferId;
use super::sharing::{LINKS_MAX, Rate, Sharing};
use crate::cluster::{Cluster, Party, Topology};

/// No link: it would never limit.
const NONE: u32 = u32::MAX;
/// A link that nothing has used yet.
const UNMADE: u32 = u32::MAX - 1;

/// Which links a transfer passes.
///
/// The sender's up link, the path, the receiver's down link. A path that each ordered pair has to itself and that is no slower
/// than one of the two others is left out: everything that passes it passes that one too, so it can never be full first.
pub(super) struct Wiring {
    topology: Topology,
    up: Vec<u32>,
    down: Vec<u32>,
    /// By ordered pair.
    pair_links: Vec<u32>,
    /// By path, for those that pairs share.
    path_links: Vec<u32>,
}

impl Wiring {
    pub fn new(cluster: &Cluster, sharing: &mut Sharing) -> Self {
        let topology = cluster.topology.clone();
        let parties = topology.parties();
        let mut add = |rate: BytesPerSecond| {
            let rate = Rate::new(rate);
            if rate.is_unlimited() { NONE } else { sharing.add_link(rate, false) }
        };
        let up = (0..parties).map(Party::at).map(|party| add(topology.access(party).up)).collect();
        let down = (0..parties).map(Party::at).map(|party| add(topology.access(party).down)).collect();
        Self { topology, up, down, pair_links: vec![UNMADE; parties * parties], path_links: Vec::new() }
    }

    pub fn parties(&self) -> usize {
        self.topology.parties()
    }

    /// The links from one party to another; how many of the array are used.
    pub fn links(&mut self, sharing: &mut Sharing, from: Party, to: Party) -> ([u32; LINKS_MAX], usize) {
        let mut links = [NONE; LINKS_MAX];
        if from == to {
            return (links, 0);
        }
        let mut count = 0;
        for link in [self.up[from.place()], self.path_link(sharing, from, to), self.down[to.place()]] {
            if link != NONE {
                links[count] = link;
                count += 1;
            }
        }
        (links, count)
    }

    fn path_link(&mut self, sharing: &mut Sharing, from: Party, to: Party) -> u32 {
        let (index, path) = self.topology.path(from, to);
        let rate = Rate::new(path.link.bandwidth);
        let (up, down) = (self.topology.access(from).up, self.topology.access(to).down);
        let is_shared = path.is_shared;
        let entry = if is_shared {
            if self.path_links.len() <= index {
                self.path_links.resize(index + 1, UNMADE);
            }
            &mut self.path_links[index]
        } else {
            &mut self.pair_links[from.place() * self.topology.parties() + to.place()]
        };
        if *entry == UNMADE {
            let is_idle = rate.is_unlimited() || (!is_shared && rate >= Rate::new(up).min(Rate::new(down)));
            *entry = if is_idle { NONE } else { sharing.add_link(rate, false) };
        }
        *entry
    }
}

/// Ids that rise, and dense slots that are used again.
#[derive(Default)]
pub(super) struct Slots {
    /// The slot of each id from `first_id` on, `NONE` once it has ended.
    slots: VecDeque<u32>,
    first_id: u64,
    free: Vec<u32>,
    made: u32,
}

impl Slots {
    pub fn start(&mut self) -> (TransferId, u32) {
        let id = self.first_id + self.slots.len() as u64;
        let slot = self.free.pop().unwrap_or_else(|| {
            self.made += 1;
            self.made - 1
        });
        self.slots.push_back(slot);
        (TransferId(id), slot)
    }

    pub fn get(&self, id: TransferId) -> Option<u32> {
        let index = id.0.checked_sub(self.first_id)?;
        self.slots.get(usize::try_from(index).ok()?).copied().filter(|slot| *slot != NONE)
    }

    /// Frees the slot of an id that is under way.
    pub fn end(&mut self, id: TransferId) {
        let Some(slot) = self.get(id) else {
            return;
        };
        self.slots[(id.0 - self.first_id) as usize] = NONE;
        self.free.push(slot);
        while self.slots.front() == Some(&NONE) {
            self.slots.pop_front();
            self.first_id += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_are_used_again_and_ids_are_not() {
        let mut slots = Slots::default();
        let started: Vec<_> = (0..3).map(|_| slots.start()).collect();
        assert_eq!(started[2], (TransferId(2), 2));
        slots.end(TransferId(1));
        assert_eq!((slots.get(TransferId(1)), slots.get(TransferId(2))), (None, Some(2)));
        assert_eq!(slots.start(), (TransferId(3), 1));
        slots.end(TransferId(0));
        slots.end(TransferId(0));
        assert_eq!((slots.get(TransferId(0)), slots.first_id), (None, 2));
        assert_eq!(slots.start(), (TransferId(4), 0));
    }
}
