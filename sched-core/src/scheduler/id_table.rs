//! Records by the ids that a client has chosen, without hashing: ids rise, so most lie in a window that moves along.

use std::collections::{BTreeMap, VecDeque};

use super::state::ROOM_MIN;

/// Ids that may be left out between two records of the window; what comes after a larger gap is kept apart.
const GAP_MAX: u64 = 4_096;
/// A window longer than this is kept so full at least that it takes no more than so many places for each record: what stays
/// for long while others come and go is then kept apart.
const WINDOW_SPARSE: usize = 1_024;
const PLACES_OF_RECORD_MAX: usize = 8;

/// The table.
#[derive(Clone, Debug)]
pub(crate) struct IdTable<T> {
    /// The id at the front of the window.
    first: u64,
    window: VecDeque<Option<T>>,
    /// Those whose ids do not fit the window.
    apart: BTreeMap<u64, T>,
    len: usize,
}

impl<T> Default for IdTable<T> {
    fn default() -> Self {
        Self { first: 0, window: VecDeque::new(), apart: BTreeMap::new(), len: 0 }
    }
}

impl<T> IdTable<T> {
    /// How many records there are.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Puts in the record of an id, in place of the one that is there, if any.
    pub fn insert(&mut self, id: u64, record: T) {
        if self.window.is_empty() {
            self.first = id;
        }
        let end = self.first + self.window.len() as u64;
        let before = match id.checked_sub(end) {
            Some(gap) if gap <= GAP_MAX => {
                self.make_room(gap as usize + 1);
                self.window.resize_with(self.window.len() + gap as usize, || None);
                self.window.push_back(Some(record));
                None
            }
            Some(_) | None => match self.place(id) {
                Some(place) => self.window[place].replace(record),
                None => self.apart.insert(id, record),
            },
        };
        self.len += usize::from(before.is_none());
        self.thin();
    }

    /// Makes room for so many places more: a quarter more than there are, where twice as many would leave up to half of them empty.
    fn make_room(&mut self, more: usize) {
        if self.window.len() + more > self.window.capacity() {
            self.window.reserve_exact(more + (self.window.len() / 4).max(ROOM_MIN));
        }
    }

    /// Keeps the front of a window apart that is nearly empty.
    fn thin(&mut self) {
        while self.window.len() > WINDOW_SPARSE
            && self.window.len() / PLACES_OF_RECORD_MAX > self.len - self.apart.len()
        {
            if let Some(record) = self.window.pop_front().flatten() {
                self.apart.insert(self.first, record);
            }
            self.first += 1;
        }
    }

    fn place(&self, id: u64) -> Option<usize> {
        let place = usize::try_from(id.checked_sub(self.first)?).ok()?;
        (place < self.window.len()).then_some(place)
    }

    pub fn get(&self, id: u64) -> Option<&T> {
        match self.place(id) {
            Some(place) => self.window[place].as_ref(),
            None => self.apart.get(&id),
        }
    }

    pub fn get_mut(&mut self, id: u64) -> Option<&mut T> {
        match self.place(id) {
            Some(place) => self.window[place].as_mut(),
            None => self.apart.get_mut(&id),
        }
    }

    pub fn remove(&mut self, id: u64) {
        let removed = match self.place(id) {
            Some(place) => self.window[place].take(),
            None => self.apart.remove(&id),
        };
        self.len -= usize::from(removed.is_some());
        while let Some(None) = self.window.front() {
            self.window.pop_front();
            self.first += 1;
        }
    }

    /// All records, in no particular order.
    pub fn values(&self) -> impl Iterator<Item = &T> {
        self.window.iter().flatten().chain(self.apart.values())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn draw(state: &mut u64) -> u64 {
        *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        *state
    }

    #[test]
    fn behaves_as_a_map_whatever_the_gaps() {
        let mut table = IdTable::default();
        let mut map = BTreeMap::new();
        let mut id = 0;
        let mut state = 7;
        for round in 0..4_000_u64 {
            let drawn = draw(&mut state);
            id += [1, 1, 1, 2, 5_000, 1 << 40][(drawn >> 33) as usize % 6];
            table.insert(id, round);
            map.insert(id, round);
            if drawn >> 62 > 0 {
                let victim = *map.keys().nth((drawn >> 40) as usize % map.len()).unwrap();
                map.remove(&victim);
                table.remove(victim);
                assert!(table.get(victim).is_none());
            }
            assert_eq!((table.len(), table.is_empty()), (map.len(), map.is_empty()));
            if let Some((id, record)) = map.iter().nth((drawn >> 50) as usize % map.len().max(1)) {
                assert_eq!(table.get(*id), Some(record));
                assert_eq!(table.get_mut(*id).copied(), Some(*record));
            }
        }
        let mut all: Vec<u64> = table.values().copied().collect();
        all.sort_unstable();
        let mut expected: Vec<u64> = map.values().copied().collect();
        expected.sort_unstable();
        assert_eq!(all, expected);
    }

    #[test]
    fn what_stays_while_others_come_and_go_does_not_keep_their_places() {
        let mut table = IdTable::default();
        for id in 0..3 {
            table.insert(id, id);
        }
        for id in 3..200_000 {
            table.insert(id, id);
            if id >= 10 {
                table.remove(id - 4);
            }
        }
        assert!(table.window.len() <= WINDOW_SPARSE + 1, "{} places", table.window.len());
        assert!((0..3).all(|id| table.get(id) == Some(&id)), "what stays is found");
        assert_eq!(table.len(), table.values().count());
    }
}
