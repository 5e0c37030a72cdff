//! A map from byte ranges to values: what the machines know of each part of a buffer.

use std::collections::BTreeMap;

use isochrone_model::ByteRange;
use serde::{Deserialize, Serialize};

/// Values for disjoint byte ranges, in order. Bytes without a value are a gap.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RangeMap<T> {
    entries: BTreeMap<u64, (u64, T)>,
}

impl<T> Default for RangeMap<T> {
    fn default() -> Self {
        Self { entries: BTreeMap::new() }
    }
}

impl<T: Clone + PartialEq> RangeMap<T> {
    /// Whether no byte has a value.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// How many ranges carry a value.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Gives every byte of `range` this value.
    pub fn set(&mut self, range: ByteRange, value: T) {
        if range.is_empty() {
            return;
        }
        self.remove(range);
        let (mut start, mut end) = (range.start, range.end);
        if let Some((&before, (before_end, before_value))) = self.entries.range(..start).next_back()
            && *before_end == start
            && *before_value == value
        {
            start = before;
        }
        if let Some((after_end, after_value)) = self.entries.get(&end)
            && *after_value == value
        {
            let after_end = *after_end;
            self.entries.remove(&end);
            end = after_end;
        }
        self.entries.insert(start, (end, value));
    }

    /// Makes `range` a gap.
    pub fn remove(&mut self, range: ByteRange) {
        if range.is_empty() {
            return;
        }
        self.split(range.start);
        self.split(range.end);
        while let Some((&start, _)) = self.entries.range(range.start..range.end).next() {
            self.entries.remove(&start);
        }
    }

    /// Changes each value within `range`, splitting at its borders; gaps stay gaps.
    pub fn update(&mut self, range: ByteRange, mut change: impl FnMut(ByteRange, &mut T)) {
        if range.is_empty() {
            return;
        }
        self.split(range.start);
        self.split(range.end);
        for (&start, (end, value)) in self.entries.range_mut(range.start..range.end) {
            change(ByteRange::new(start, *end), value);
        }
    }

    /// The parts of `range` in order, each with its value or `None` for a gap.
    pub fn over(&self, range: ByteRange) -> impl Iterator<Item = (ByteRange, Option<&T>)> {
        let first = self
            .entries
            .range(..range.start)
            .next_back()
            .filter(|(_, (end, _))| *end > range.start)
            .map(|(&start, entry)| (start, entry));
        let rest = self.entries.range(range.start..range.end).map(|(&start, entry)| (start, entry));
        let mut entries = first.into_iter().chain(rest).peekable();
        let mut position = range.start;
        std::iter::from_fn(move || {
            if position >= range.end {
                return None;
            }
            let gap_end = match entries.peek() {
                Some((start, _)) if *start <= position => {
                    let (_, (end, value)) = entries.next()?;
                    let part = ByteRange::new(position, (*end).min(range.end));
                    position = part.end;
                    return Some((part, Some(value)));
                }
                Some((start, _)) => (*start).min(range.end),
                None => range.end,
            };
            let part = ByteRange::new(position, gap_end);
            position = gap_end;
            Some((part, None))
        })
    }

    /// Every range with a value, in order.
    pub fn iter(&self) -> impl Iterator<Item = (ByteRange, &T)> {
        self.entries.iter().map(|(&start, (end, value))| (ByteRange::new(start, *end), value))
    }

    /// Makes `position` a border if it lies inside a range.
    fn split(&mut self, position: u64) {
        let Some((_, entry)) = self.entries.range_mut(..position).next_back() else {
            return;
        };
        if entry.0 <= position {
            return;
        }
        let tail = (entry.0, entry.1.clone());
        entry.0 = position;
        self.entries.insert(position, tail);
    }
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
