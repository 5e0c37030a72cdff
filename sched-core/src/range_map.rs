//! A map from byte ranges to values: what the machines know of each part of a buffer.

use std::collections::BTreeMap;

use isochrone_model::ByteRange;

/// Values for disjoint byte ranges, in order. Bytes without a value are a gap.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RangeMap<T> {
    entries: Entries<T>,
}

/// Most buffers are read and written whole: one range takes no memory of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Entries<T> {
    None,
    One(ByteRange, T),
    /// By start, then end and value; two at least, so that equal maps are equal here.
    Several(BTreeMap<u64, (u64, T)>),
}

impl<T> Default for RangeMap<T> {
    fn default() -> Self {
        Self { entries: Entries::None }
    }
}

impl<T: Clone + PartialEq> RangeMap<T> {
    /// Whether no byte has a value.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        matches!(self.entries, Entries::None)
    }

    /// How many ranges carry a value.
    #[must_use]
    pub fn len(&self) -> usize {
        match &self.entries {
            Entries::None => 0,
            Entries::One(..) => 1,
            Entries::Several(several) => several.len(),
        }
    }

    /// Gives every byte of `range` this value.
    pub fn set(&mut self, range: ByteRange, value: T) {
        if range.is_empty() {
            return;
        }
        match &self.entries {
            Entries::None => self.entries = Entries::One(range, value),
            Entries::One(here, _) if range.contains(*here) => self.entries = Entries::One(range, value),
            Entries::One(..) | Entries::Several(_) => {
                self.as_several(|several| set_in(several, range, value));
            }
        }
    }

    /// Makes `range` a gap.
    pub fn remove(&mut self, range: ByteRange) {
        if range.is_empty() {
            return;
        }
        match &self.entries {
            Entries::None => {}
            Entries::One(here, _) if range.contains(*here) => self.entries = Entries::None,
            Entries::One(here, _) if !range.overlaps(*here) => {}
            Entries::One(..) | Entries::Several(_) => {
                self.as_several(|several| remove_from(several, range));
            }
        }
    }

    /// Changes each value within `range`, splitting at its borders; gaps stay gaps.
    pub fn update(&mut self, range: ByteRange, mut change: impl FnMut(ByteRange, &mut T)) {
        if range.is_empty() {
            return;
        }
        match &mut self.entries {
            Entries::None => {}
            Entries::One(here, value) if range.contains(*here) => change(*here, value),
            Entries::One(here, _) if !range.overlaps(*here) => {}
            Entries::One(..) | Entries::Several(_) => self.as_several(|several| {
                split(several, range.start);
                split(several, range.end);
                for (&start, (end, value)) in several.range_mut(range.start..range.end) {
                    change(ByteRange::new(start, *end), value);
                }
            }),
        }
    }

    /// The value of the one range that all of `range` lies in, where it takes no search: most are read and written whole.
    #[must_use]
    pub fn whole(&self, range: ByteRange) -> Option<&T> {
        match &self.entries {
            Entries::One(here, value) if here.contains(range) && !range.is_empty() => Some(value),
            Entries::None | Entries::One(..) | Entries::Several(_) => None,
        }
    }

    /// The parts of `range` in order, each with its value or `None` for a gap.
    pub fn over(&self, range: ByteRange) -> Over<'_, T> {
        let next = match &self.entries {
            Entries::None => Next::None,
            Entries::One(here, value) if here.end > range.start && here.start < range.end => {
                Next::One(*here, value)
            }
            Entries::One(..) => Next::None,
            Entries::Several(several) => {
                let before = several.range(..range.start).next_back();
                let first = before.filter(|(_, (end, _))| *end > range.start);
                let first = first.map_or(range.start, |(start, _)| *start);
                let entries =
                    if range.is_empty() { several.range(0..0) } else { several.range(first..range.end) };
                Next::of(entries)
            }
        };
        Over { range, next }
    }

    /// Every range with a value, in order.
    pub fn iter(&self) -> impl Iterator<Item = (ByteRange, &T)> {
        let (one, several) = match &self.entries {
            Entries::None => (None, None),
            Entries::One(range, value) => (Some((*range, value)), None),
            Entries::Several(several) => (None, Some(several.iter())),
        };
        let several = several.into_iter().flatten();
        one.into_iter().chain(several.map(|(&start, (end, value))| (ByteRange::new(start, *end), value)))
    }

    /// Does something with the entries as a map, whatever they are, and keeps them in the form that they should have.
    fn as_several(&mut self, change: impl FnOnce(&mut BTreeMap<u64, (u64, T)>)) {
        if !matches!(self.entries, Entries::Several(_)) {
            let mut several = BTreeMap::new();
            if let Entries::One(range, value) = std::mem::replace(&mut self.entries, Entries::None) {
                several.insert(range.start, (range.end, value));
            }
            self.entries = Entries::Several(several);
        }
        let Entries::Several(several) = &mut self.entries else { return };
        change(several);
        if several.len() < 2 {
            self.entries = match several.pop_first() {
                Some((start, (end, value))) => Entries::One(ByteRange::new(start, end), value),
                None => Entries::None,
            };
        }
    }
}

/// The parts of a range; see [`RangeMap::over`].
#[derive(Debug)]
pub struct Over<'a, T> {
    /// What is left of it.
    range: ByteRange,
    next: Next<'a, T>,
}

/// The entry that comes next.
#[derive(Debug)]
enum Next<'a, T> {
    None,
    One(ByteRange, &'a T),
    Several(ByteRange, &'a T, std::collections::btree_map::Range<'a, u64, (u64, T)>),
}

impl<'a, T> Next<'a, T> {
    fn of(mut entries: std::collections::btree_map::Range<'a, u64, (u64, T)>) -> Self {
        match entries.next() {
            Some((&start, (end, value))) => Self::Several(ByteRange::new(start, *end), value, entries),
            None => Self::None,
        }
    }
}

impl<'a, T> Iterator for Over<'a, T> {
    type Item = (ByteRange, Option<&'a T>);

    fn next(&mut self) -> Option<Self::Item> {
        if self.range.is_empty() {
            return None;
        }
        let position = self.range.start;
        let (here, value) = match &self.next {
            Next::None => {
                let part = self.range;
                self.range.start = self.range.end;
                return Some((part, None));
            }
            Next::One(here, value) | Next::Several(here, value, _) => (*here, *value),
        };
        if here.start > position {
            let part = ByteRange::new(position, here.start.min(self.range.end));
            self.range.start = part.end;
            return Some((part, None));
        }
        let part = ByteRange::new(position, here.end.min(self.range.end));
        self.range.start = part.end;
        self.next = match std::mem::replace(&mut self.next, Next::None) {
            Next::None | Next::One(..) => Next::None,
            Next::Several(_, _, rest) => Next::of(rest),
        };
        Some((part, Some(value)))
    }
}

fn set_in<T: PartialEq + Clone>(entries: &mut BTreeMap<u64, (u64, T)>, range: ByteRange, value: T) {
    remove_from(entries, range);
    let (mut start, mut end) = (range.start, range.end);
    if let Some((&before, (before_end, before_value))) = entries.range(..start).next_back()
        && *before_end == start
        && *before_value == value
    {
        start = before;
    }
    if let Some((after_end, after_value)) = entries.get(&end)
        && *after_value == value
    {
        let after_end = *after_end;
        entries.remove(&end);
        end = after_end;
    }
    entries.insert(start, (end, value));
}

fn remove_from<T: Clone>(entries: &mut BTreeMap<u64, (u64, T)>, range: ByteRange) {
    split(entries, range.start);
    split(entries, range.end);
    while let Some((&start, _)) = entries.range(range.start..range.end).next() {
        entries.remove(&start);
    }
}

/// Makes `position` a border if it lies inside a range.
fn split<T: Clone>(entries: &mut BTreeMap<u64, (u64, T)>, position: u64) {
    let Some((_, entry)) = entries.range_mut(..position).next_back() else {
        return;
    };
    if entry.0 <= position {
        return;
    }
    let tail = (entry.0, entry.1.clone());
    entry.0 = position;
    entries.insert(position, tail);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn flat(map: &RangeMap<u8>, size: u64) -> Vec<Option<u8>> {
        let mut bytes = Vec::new();
        for (range, value) in map.over(ByteRange::new(0, size)) {
            assert_eq!(range.start, bytes.len() as u64, "parts follow each other");
            bytes.extend((0..range.len()).map(|_| value.copied()));
        }
        bytes
    }

    proptest! {
        #[test]
        fn behaves_as_one_value_a_byte(steps in prop::collection::vec((0u8..3, 0u64..32, 0u64..32, 0u8..3), 0..40)) {
            let mut map = RangeMap::default();
            let mut model = vec![None; 32];
            for (what, a, b, value) in steps {
                let range = ByteRange::new(a.min(b), a.max(b));
                let span = range.start as usize..range.end as usize;
                match what {
                    0 => { map.set(range, value); model[span].fill(Some(value)); }
                    1 => { map.remove(range); model[span].fill(None); }
                    _ => {
                        map.update(range, |_, old| *old = old.wrapping_add(1));
                        for byte in &mut model[span] { *byte = byte.map(|old: u8| old.wrapping_add(1)); }
                    }
                }
                prop_assert_eq!(flat(&map, 32), model.clone());
                let part = ByteRange::new(range.start, (range.start + 7).min(32));
                let seen: u64 = map.over(part).map(|(range, _)| range.len()).sum();
                prop_assert_eq!(seen, part.len());
            }
        }
    }

    #[test]
    fn equal_neighbours_become_one() {
        let mut map = RangeMap::default();
        map.set(ByteRange::new(0, 4), 1);
        map.set(ByteRange::new(8, 12), 1);
        map.set(ByteRange::new(4, 8), 1);
        assert_eq!(map.iter().collect::<Vec<_>>(), [(ByteRange::new(0, 12), &1)]);
    }
}
