//! Pairs of ready task and slot, kept so that the best of all is found without looking at all of them again.
//!
//! A task placed on a slot moves the end of that slot's plan, and of what was known about other pairs only those
//! of that slot change. A pair whose inputs come later than the slot's end is worth what it is whatever the end
//! is; one whose inputs are there is worth the same as before less what the end moved by, as are all others of its
//! kind. So each slot keeps both kinds apart, each in an order that stays, and a pair changes kind once.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use isochrone_model::Span;

/// A span with a sign; spans of more than 146 years are cut.
pub(crate) fn signed(span: Span) -> i64 {
    span.0.min(i64::MAX as u64 / 2) as i64
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Waiting {
    worth: i64,
    place: Reverse<u32>,
    ready: Span,
}

/// The pair with the largest of: its advantage less the start that it would have at the end of its slot's plan.
/// Ties: the task that is first in a given order, then the lowest slot.
#[derive(Debug)]
pub(crate) struct LargestPair {
    slots: Vec<SlotPairs>,
    /// Tasks in the order that decides ties, and the place of each in it.
    order: Vec<u32>,
    place_of: Vec<u32>,
    is_taken: Vec<bool>,
}

#[derive(Debug, Default)]
struct SlotPairs {
    end: Span,
    /// By advantage: inputs are there when the slot's plan ends.
    at_end: BinaryHeap<(i64, Reverse<u32>)>,
    /// By advantage less arrival of the inputs.
    waiting: BinaryHeap<Waiting>,
    best: Option<(i64, Reverse<u32>)>,
    is_known: bool,
}

impl LargestPair {
    /// No pairs; slots are free when `ends` says; `order` holds every task.
    pub fn new(ends: impl Iterator<Item = Span>, order: Vec<u32>) -> Self {
        let mut place_of = vec![0; order.len()];
        for (place, task) in order.iter().enumerate() {
            place_of[*task as usize] = place as u32;
        }
        let slots = ends.map(|end| SlotPairs { end, ..SlotPairs::default() }).collect();
        Self { slots, is_taken: vec![false; order.len()], order, place_of }
    }

    /// Adds a pair. `ready` is when the task's inputs are there.
    pub fn add(&mut self, task: usize, slot: usize, ready: Span, advantage: i64) {
        let place = Reverse(self.place_of[task]);
        let pairs = &mut self.slots[slot];
        pairs.is_known = false;
        if ready <= pairs.end {
            pairs.at_end.push((advantage, place));
        } else {
            pairs.waiting.push(Waiting { worth: advantage - signed(ready), place, ready });
        }
    }

    /// The best pair, as (task, slot).
    pub fn best(&mut self) -> Option<(usize, usize)> {
        let mut best: Option<((i64, Reverse<u32>), usize)> = None;
        for (slot, pairs) in self.slots.iter_mut().enumerate() {
            let is_gone = |place: Reverse<u32>| self.is_taken[self.order[place.0 as usize] as usize];
            if !pairs.is_known || pairs.best.is_some_and(|(_, place)| is_gone(place)) {
                pairs.find(is_gone);
            }
            if let Some(here) = pairs.best
                && best.is_none_or(|(best, _)| here > best)
            {
                best = Some((here, slot));
            }
        }
        best.map(|((_, place), slot)| (self.order[place.0 as usize] as usize, slot))
    }

    /// Takes a task out and says that a slot's plan now ends at `end`.
    pub fn take(&mut self, task: usize, slot: usize, end: Span) {
        self.is_taken[task] = true;
        self.slots[slot].end = end;
        self.slots[slot].is_known = false;
    }
}

impl SlotPairs {
    fn find(&mut self, is_gone: impl Fn(Reverse<u32>) -> bool) {
        while self.at_end.peek().is_some_and(|(_, place)| is_gone(*place)) {
            self.at_end.pop();
        }
        // What is in here and should be in the other heap counts for more than it is worth, so once the first is
        // right it is the best.
        while let Some(first) = self.waiting.peek().copied() {
            if is_gone(first.place) {
                self.waiting.pop();
            } else if first.ready <= self.end {
                self.waiting.pop();
                self.at_end.push((first.worth + signed(first.ready), first.place));
            } else {
                break;
            }
        }
        let at_end = self.at_end.peek().map(|(advantage, place)| (advantage - signed(self.end), *place));
        let waiting = self.waiting.peek().map(|first| (first.worth, first.place));
        self.best = at_end.max(waiting);
        self.is_known = true;
    }
}

/// The pair with the largest of: the start that it would have at the end of its slot's plan, and its cost.
/// Ties: the smallest task, then the lowest slot.
#[derive(Debug)]
pub(crate) struct LatestPair {
    slots: Vec<LateSlotPairs>,
    is_taken: Vec<bool>,
}

#[derive(Debug, Default)]
struct LateSlotPairs {
    end: Span,
    /// By cost: inputs are there when the slot's plan ends.
    at_end: BinaryHeap<(Span, Reverse<u32>)>,
    /// By arrival and cost; some may have gone over to the other heap.
    waiting: BinaryHeap<(Span, Reverse<u32>, Span)>,
    /// By arrival, the next to go over: (arrival, task, cost).
    arriving: BinaryHeap<Reverse<(Span, u32, Span)>>,
    latest: Option<(Span, Reverse<u32>)>,
    is_known: bool,
}

impl LatestPair {
    /// No pairs; slots are free when `ends` says.
    pub fn new(ends: impl Iterator<Item = Span>, tasks: usize) -> Self {
        let slots = ends.map(|end| LateSlotPairs { end, ..LateSlotPairs::default() }).collect();
        Self { slots, is_taken: vec![false; tasks] }
    }

    /// Adds a pair. `ready` is when the task's inputs are there.
    pub fn add(&mut self, task: usize, slot: usize, ready: Span, cost: Span) {
        let pairs = &mut self.slots[slot];
        pairs.is_known = false;
        if ready <= pairs.end {
            pairs.at_end.push((cost, Reverse(task as u32)));
        } else {
            pairs.waiting.push((ready + cost, Reverse(task as u32), ready));
            pairs.arriving.push(Reverse((ready, task as u32, cost)));
        }
    }

    /// The latest pair, as (its sum, task, slot).
    pub fn latest(&mut self) -> Option<(Span, usize, usize)> {
        let mut latest: Option<(Span, Reverse<u32>, usize)> = None;
        for (slot, pairs) in self.slots.iter_mut().enumerate() {
            let is_gone = |task: Reverse<u32>| self.is_taken[task.0 as usize];
            if !pairs.is_known || pairs.latest.is_some_and(|(_, task)| is_gone(task)) {
                pairs.find(is_gone);
            }
            if let Some((sum, task)) = pairs.latest
                && latest.is_none_or(|(best, other, _)| (sum, task) > (best, other))
            {
                latest = Some((sum, task, slot));
            }
        }
        latest.map(|(sum, Reverse(task), slot)| (sum, task as usize, slot))
    }

    /// Takes a task out and says that a slot's plan now ends at `end`.
    pub fn take(&mut self, task: usize, slot: usize, end: Span) {
        self.is_taken[task] = true;
        let pairs = &mut self.slots[slot];
        pairs.end = end;
        pairs.is_known = false;
        while let Some(Reverse((ready, task, cost))) = pairs.arriving.peek().copied() {
            if ready > end {
                break;
            }
            pairs.arriving.pop();
            pairs.at_end.push((cost, Reverse(task)));
        }
    }
}

impl LateSlotPairs {
    fn find(&mut self, is_gone: impl Fn(Reverse<u32>) -> bool) {
        while self.at_end.peek().is_some_and(|(_, task)| is_gone(*task)) {
            self.at_end.pop();
        }
        while self.waiting.peek().is_some_and(|(_, task, ready)| is_gone(*task) || *ready <= self.end) {
            self.waiting.pop();
        }
        let at_end = self.at_end.peek().map(|(cost, task)| (self.end + *cost, *task));
        let waiting = self.waiting.peek().map(|(sum, task, _)| (*sum, *task));
        self.latest = at_end.max(waiting);
        self.is_known = true;
    }
}
