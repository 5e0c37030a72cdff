//! What is to happen when: by time, then in the order in which it was put in.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

use isochrone_model::Timestamp;

/// Things to happen. What happens at once, as much does, is never sorted.
pub(super) struct Calendar<T> {
    now: Timestamp,
    /// By time and order, the place of what lies in `waiting`.
    times: BinaryHeap<Reverse<(Timestamp, u64, u32)>>,
    order: u64,
    waiting: Vec<Option<T>>,
    free: Vec<u32>,
    /// What is due now, put in now: all that was put in before for now comes first.
    at_once: VecDeque<T>,
}

impl<T> Default for Calendar<T> {
    fn default() -> Self {
        Self {
            now: Timestamp::ZERO,
            times: BinaryHeap::new(),
            order: 0,
            waiting: Vec::new(),
            free: Vec::new(),
            at_once: VecDeque::new(),
        }
    }
}

impl<T> Calendar<T> {
    /// Puts something in, for now at the earliest.
    pub fn put(&mut self, at: Timestamp, what: T) {
        if at <= self.now {
            self.at_once.push_back(what);
            return;
        }
        let number = self.number();
        self.put_as(at, number, what);
    }

    /// A place in the order, for something that is put in later as if it were now.
    pub fn number(&mut self) -> u64 {
        self.order += 1;
        self.order
    }

    /// Puts something in at its place in the order.
    pub fn put_as(&mut self, at: Timestamp, number: u64, what: T) {
        let place = match self.free.pop() {
            Some(place) => {
                self.waiting[place as usize] = Some(what);
                place
            }
            None => {
                self.waiting.push(Some(what));
                self.waiting.len() as u32 - 1
            }
        };
        self.times.push(Reverse((at, number, place)));
    }

    /// Whether something with this place in the order would be taken next, if it were put in.
    pub fn is_first(&self, at: Timestamp, number: u64) -> bool {
        at <= self.now
            && self.times.peek().is_none_or(|Reverse((first, other, _))| (*first, *other) > (at, number))
    }

    /// When the next thing is due.
    pub fn next(&self) -> Option<Timestamp> {
        if !self.at_once.is_empty() {
            return Some(self.now);
        }
        self.times.peek().map(|Reverse((at, _, _))| *at)
    }

    /// The next thing that is due now.
    pub fn take(&mut self) -> Option<T> {
        match self.times.peek() {
            Some(Reverse((at, _, place))) if *at <= self.now => {
                let place = *place;
                self.times.pop();
                self.free.push(place);
                self.waiting[place as usize].take()
            }
            Some(_) | None => self.at_once.pop_front(),
        }
    }

    /// Goes on to a time; all that was due before has been taken.
    pub fn go_on(&mut self, now: Timestamp) {
        debug_assert!(self.at_once.is_empty() || now == self.now, "nothing is left behind");
        self.now = self.now.max(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Random;

    #[test]
    fn it_agrees_with_a_sorted_list() {
        let mut random = Random::new(11);
        let (mut calendar, mut list) = (Calendar::default(), Vec::new());
        let (mut now, mut number) = (Timestamp::ZERO, 0_u32);
        for _ in 0..20_000 {
            if random.one_in(2) {
                let at = Timestamp(now.0 + random.below(4));
                calendar.put(at, number);
                list.push((at, number));
                number += 1;
                continue;
            }
            let first = list.iter().copied().min();
            assert_eq!(calendar.next(), first.map(|(at, _)| at));
            let Some((at, what)) = first else { continue };
            now = at;
            calendar.go_on(now);
            assert_eq!(calendar.take(), Some(what));
            list.retain(|(_, other)| *other != what);
        }
    }
}
