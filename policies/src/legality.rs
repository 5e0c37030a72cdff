//! Tasks by the slots that may run them, so that a slot looks only at tasks it can take.

use std::collections::BTreeMap;

use isochrone_model::SlotId;
use isochrone_sched_core::{LegalityKey, TaskIndex, View};

/// A set of slots.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct SlotSet(Vec<u64>);

impl SlotSet {
    pub fn insert(&mut self, slot: SlotId) {
        let (word, bit) = (slot.index() / 64, slot.index() % 64);
        if self.0.len() <= word {
            self.0.resize(word + 1, 0);
        }
        self.0[word] |= 1 << bit;
    }

    pub fn remove(&mut self, slot: SlotId) {
        if let Some(word) = self.0.get_mut(slot.index() / 64) {
            *word &= !(1 << (slot.index() % 64));
        }
    }

    pub fn contains(&self, slot: SlotId) -> bool {
        self.0.get(slot.index() / 64).is_some_and(|word| word >> (slot.index() % 64) & 1 == 1)
    }

    pub fn meets(&self, other: &Self) -> bool {
        self.0.iter().zip(&other.0).any(|(own, other)| own & other != 0)
    }

    pub fn is_empty(&self) -> bool {
        self.0.iter().all(|word| *word == 0)
    }

    pub fn clear(&mut self) {
        self.0.clear();
    }
}

/// The different sets of slots that tasks may run on, each with a number. To be made anew when `View::legality_epoch` changes.
#[derive(Clone, Debug, Default)]
pub(crate) struct LegalSets {
    /// The last kernel asked for, and its set.
    last: Option<(LegalityKey, usize)>,
    numbers: BTreeMap<SlotSet, usize>,
    sets: Vec<SlotSet>,
    scratch: SlotSet,
}

impl LegalSets {
    /// The number of the set of a task's legal slots.
    pub fn of(&mut self, view: &View<'_>, task: TaskIndex) -> usize {
        let key = view.legality_key(task);
        if let (Some(key), Some((last, number))) = (key, self.last)
            && key == last
        {
            return number;
        }
        let number = self.find(view, task);
        self.last = key.map(|key| (key, number));
        number
    }

    fn find(&mut self, view: &View<'_>, task: TaskIndex) -> usize {
        self.scratch.clear();
        for slot in view.legal_slots(task) {
            self.scratch.insert(slot);
        }
        if let Some(number) = self.numbers.get(&self.scratch) {
            return *number;
        }
        self.sets.push(self.scratch.clone());
        self.numbers.insert(self.scratch.clone(), self.sets.len() - 1);
        self.sets.len() - 1
    }

    pub fn set(&self, number: usize) -> &SlotSet {
        &self.sets[number]
    }

    pub fn len(&self) -> usize {
        self.sets.len()
    }
}
