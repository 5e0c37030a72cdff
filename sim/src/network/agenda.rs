//! What happens when: a heap of entries that can be moved, each by a small dense key.

use isochrone_model::Timestamp;

const NOWHERE: u32 = u32::MAX;
/// Children of a node. Four keep the heap shallow.
const ARITY: usize = 4;

/// At most one time for each key. The earliest first, of equals the one with the lower tie-break.
#[derive(Default)]
pub(super) struct Agenda {
    heap: Vec<Entry>,
    /// Where a key is in the heap.
    places: Vec<u32>,
}

#[derive(Clone, Copy)]
struct Entry {
    at: Timestamp,
    tie: u64,
    key: u32,
}

impl Entry {
    fn is_before(&self, other: &Self) -> bool {
        (self.at, self.tie) < (other.at, other.tie)
    }
}

impl Agenda {
    /// The earliest time and its key.
    pub fn first(&self) -> Option<(Timestamp, u32)> {
        self.heap.first().map(|entry| (entry.at, entry.key))
    }

    /// Sets or moves a key.
    pub fn set(&mut self, key: u32, at: Timestamp, tie: u64) {
        let index = key as usize;
        if index >= self.places.len() {
            self.places.resize(index + 1, NOWHERE);
        }
        let entry = Entry { at, tie, key };
        let place = self.places[index];
        if place == NOWHERE {
            self.heap.push(entry);
            self.up(self.heap.len() - 1, entry);
        } else if entry.is_before(&self.heap[place as usize]) {
            self.up(place as usize, entry);
        } else {
            self.down(place as usize, entry);
        }
    }

    /// Whether moving so many keys is faster by [`Agenda::set_loosely`] and [`Agenda::tighten`].
    pub fn is_bulk(&self, keys: usize) -> bool {
        keys > 16 && keys * 2 > self.heap.len()
    }

    /// As [`Agenda::set`], but the order is right only after [`Agenda::tighten`].
    pub fn set_loosely(&mut self, key: u32, at: Timestamp, tie: u64) {
        match self.places.get(key as usize) {
            Some(&place) if place != NOWHERE => self.heap[place as usize] = Entry { at, tie, key },
            Some(_) | None => self.set(key, at, tie),
        }
    }

    /// Puts the whole in order.
    pub fn tighten(&mut self) {
        for place in (0..self.heap.len().div_ceil(ARITY)).rev() {
            self.down(place, self.heap[place]);
        }
    }

    /// Takes a key out, if it is in.
    pub fn remove(&mut self, key: u32) {
        let Some(&place) = self.places.get(key as usize) else {
            return;
        };
        if place == NOWHERE {
            return;
        }
        self.places[key as usize] = NOWHERE;
        let place = place as usize;
        let Some(last) = self.heap.pop() else {
            return;
        };
        if place == self.heap.len() {
            return;
        }
        if last.is_before(&self.heap[place]) {
            self.up(place, last);
        } else {
            self.down(place, last);
        }
    }

    fn put(&mut self, place: usize, entry: Entry) {
        self.heap[place] = entry;
        self.places[entry.key as usize] = place as u32;
    }

    /// Puts an entry in at a place or above.
    fn up(&mut self, mut place: usize, entry: Entry) {
        while place > 0 {
            let parent = (place - 1) / ARITY;
            if !entry.is_before(&self.heap[parent]) {
                break;
            }
            self.put(place, self.heap[parent]);
            place = parent;
        }
        self.put(place, entry);
    }

    /// Puts an entry in at a place or below.
    fn down(&mut self, mut place: usize, entry: Entry) {
        loop {
            let first = place * ARITY + 1;
            let mut least = place;
            let mut least_entry = entry;
            for child in first..(first + ARITY).min(self.heap.len()) {
                if self.heap[child].is_before(&least_entry) {
                    (least, least_entry) = (child, self.heap[child]);
                }
            }
            if least == place {
                break;
            }
            self.put(place, least_entry);
            place = least;
        }
        self.put(place, entry);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::random::Random;

    #[test]
    fn it_agrees_with_a_sorted_map() {
        let mut random = Random::new(3);
        let (mut agenda, mut reference) = (Agenda::default(), BTreeMap::new());
        for _ in 0..20_000 {
            let key = random.below(60) as u32;
            if random.one_in(20) {
                for _ in 0..random.below(50) {
                    let (key, at) = (random.below(60) as u32, Timestamp(random.below(40)));
                    agenda.set_loosely(key, at, u64::from(100 - key));
                    reference.insert(key, at);
                }
                agenda.tighten();
            } else if random.one_in(3) {
                agenda.remove(key);
                reference.remove(&key);
            } else {
                let at = Timestamp(random.below(40));
                agenda.set(key, at, u64::from(100 - key));
                reference.insert(key, at);
            }
            let expected = reference.iter().min_by_key(|(key, at)| (**at, 100 - **key));
            assert_eq!(agenda.first(), expected.map(|(key, at)| (*at, *key)));
        }
    }
}
