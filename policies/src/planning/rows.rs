//! Ready tasks of which the one with the largest measure is wanted, for rules that look at all of a task's slots at once.
//!
//! **Rows.** Tasks that are alike in times and in the arrival of inputs that matter are one row, of which the smallest index
//! counts. Slots of one agent with the same times are one class: of these only the one that is free first matters, and for
//! sufferage the next; each is a place.
//!
//! **Watches.** A placement changes the measure of very many rows, and none but the largest is wanted. So a row is not kept
//! under its measure but under an upper bound of it that grows as little as can be: what it would complete at in one place, for
//! the earliest completion is no later; for sufferage what it would complete at in two places, less an earliest completion
//! that was once found, for that only grows. A place keeps the rows that watch it in the order of what they add to its end, and
//! that order stays. When a place is given work, rows under it whose bound is now above a measure that is known watch another
//! place if they have one whose bound is below, without a look at the rest; only otherwise is their measure found.
//!
//! **Near places.** Whenever all places of a row are looked at, those where it completes first are kept, and what it completes at in none of the
//! others before: ends only grow, so that stays true. Most of the time the near places show the measure, which is a look at
//! two lines of the cache.
//!
//! **Chains.** Of the rows that come together, those that can be put in an order in which each takes at least as long as the one
//! before in every place are not watched but searched by halving, see `chains.rs`: amounts of work on slots of different speeds.
//!
//! **What it takes.** With n rows over m places, those in chains take in the order of m log n a step for the earliest completion, whatever
//! there is, and for sufferage up to m times that where they lie on a straight line (durations that grow evenly with an amount of
//! work); off such a line a part is halved until its rows differ less than the measures do. For the others a step looks at each place and at a
//! few rows, and glances at the rows under the place that was given work: with n rows that all differ that is about n / m of them, where
//! tasks agree on which slots are good, more. So a plan that considers n rows at once takes in the order of n^2, and one that considers at most a fixed
//! number of them (`batch.rs`) is linear in tasks; that is what planners do by default.
//! Rows that are alike count once, slots of one device too. Nobody knows a way to ask for the row whose
//! smallest sum with the ends of m slots is largest in much less than n steps when m is more than a few times the logarithm of n: with
//! times that are short or long it is to find a vector that is orthogonal to another. That says what one question
//! costs, not that a plan has to ask n such questions one by one.

mod chain_search;
#[cfg(test)]
mod tests;

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::hash::{DefaultHasher, Hash, Hasher};

use isochrone_model::Span;

use super::chains::{Chain, Part, Worth};
use super::optimal::like_slots;
use super::pairs::signed;
use super::partial::Partial;
use super::problem::Problem;
use chain_search::ChainSearch;

/// What decides between ready tasks; the largest is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Measure {
    /// The earliest completion.
    Completion,
    /// What the second-best slot would cost more than the best; a task with one legal slot comes first.
    Sufferage,
}

/// All ready tasks that are not taken.
pub(crate) struct Rows<'a> {
    problem: &'a Problem,
    measure: Measure,
    /// Those without tasks are free.
    rows: Vec<Row>,
    /// By row.
    members: Vec<Members>,
    /// By task.
    row_of: Vec<u32>,
    rows_of: HashMap<u64, Vec<u32>>,
    free_rows: Vec<u32>,
    /// Tasks with one legal slot, under `Sufferage`.
    alone: BinaryHeap<Reverse<u32>>,
    ends: Vec<Span>,
    first_end: Span,
    class_of: Vec<u32>,
    classes: Vec<Class>,
    places: Vec<Place>,
    /// By place.
    place_ends: Vec<Span>,
    /// By place, a slot of its class.
    place_slots: Vec<u32>,
    watches: usize,
    /// Rows that came since one was last asked for.
    added: Vec<u32>,
    chains: Vec<Chain>,
    /// Empty between calls.
    parts: BinaryHeap<(Worth, Part)>,
    /// Rows whose measure was found, the largest of them kept.
    contenders: Vec<Found>,
    /// By place, when the first row and the last of a part of a chain complete.
    early: Vec<i64>,
    late: Vec<i64>,
    /// By class, of the task that is added.
    arriving: Vec<Span>,
    /// Of so many rows at least chains are made.
    chained_min: usize,
    /// Places and watches that were looked at: what planning takes, on every machine alike. For tests.
    looks: u64,
}

/// Ready tasks that are alike: what a glance needs.
#[derive(Clone, Debug)]
#[repr(C, align(64))]
struct Row {
    /// What it takes in the places where it completed first when all of them were last looked at; the rest `ILLEGAL`.
    near_costs: [Span; NEAR],
    near_places: [u32; NEAR],
    /// Watches of an earlier one do not count.
    era: u32,
    /// In no other place it completes earlier than this: ends only grow.
    beyond: Span,
    /// In no other place it takes less.
    far_cost: Span,
    /// No completion is earlier; 0 if the measure does not count from it.
    first: Span,
    /// When the inputs are everywhere.
    last_arrival: Span,
    watched: [u32; 2],
}

/// Ready tasks that are alike: the rest.
#[derive(Debug, Default)]
struct Members {
    tasks: BinaryHeap<Reverse<u32>>,
    /// Its chain, if it is in one, and its place there.
    chained: Option<(u32, u32)>,
    /// Whether it came since a row was last asked for.
    is_new: bool,
    /// Under what `rows_of` knows the row.
    hash: u64,
    /// By class; nothing if all was there when the row was made.
    arrivals: Option<Box<[Span]>>,
}

/// Slots of one agent with the same times, by index, and the first of their places.
#[derive(Debug)]
struct Class {
    slots: Vec<usize>,
    place: usize,
}

/// The slot of a class that is free first, or the next.
#[derive(Debug)]
struct Place {
    class: usize,
    /// Some may be old.
    watches: Vec<Watch>,
    /// None of the watches is larger.
    largest: Worth,
}

/// Bounds a row's measure by the place's end and this.
#[derive(Clone, Copy, Debug)]
struct Watch {
    more: i64,
    /// No task of the row has a smaller index.
    task: Reverse<u32>,
    row: u32,
    era: u32,
}

#[derive(Clone, Copy, Debug)]
struct Found {
    worth: Worth,
    row: u32,
    earliest: Span,
}

const NONE: u32 = u32::MAX;
/// So many places of a row are looked at in a glance: what two lines of a cache hold.
const NEAR: usize = 7;
/// So many rows are fetched together.
const AT_ONCE: usize = 16;
/// So many rows are kept that were next to the first.
const CONTENDERS: usize = 8;
const NOTHING: Worth = (i64::MIN, Reverse(NONE));

impl<'a> Rows<'a> {
    pub fn new(problem: &'a Problem, measure: Measure) -> Self {
        let ends: Vec<Span> = (0..problem.slots()).map(|slot| problem.slot_free(slot)).collect();
        let mut class_of = vec![0; problem.slots()];
        let mut classes: Vec<Class> = Vec::new();
        let (mut places, mut place_slots) = (Vec::new(), Vec::new());
        for (slot, like) in like_slots(problem).into_iter().enumerate() {
            if like == slot {
                class_of[slot] = classes.len() as u32;
                classes.push(Class { slots: vec![slot], place: 0 });
            } else {
                class_of[slot] = class_of[like];
                classes[class_of[like] as usize].slots.push(slot);
            }
        }
        for (class, of_class) in classes.iter_mut().enumerate() {
            of_class.place = places.len();
            for _ in 0..measure.places().min(of_class.slots.len()) {
                places.push(Place { class, watches: Vec::new(), largest: NOTHING });
                place_slots.push(of_class.slots[0] as u32);
            }
        }
        let mut rows = Self {
            problem,
            measure,
            rows: Vec::new(),
            members: Vec::new(),
            row_of: vec![NONE; problem.tasks()],
            rows_of: HashMap::new(),
            free_rows: Vec::new(),
            alone: BinaryHeap::new(),
            first_end: Span::ZERO,
            ends,
            class_of,
            early: Vec::new(),
            late: Vec::new(),
            arriving: vec![Span::ZERO; classes.len()],
            classes,
            place_ends: vec![Span::ZERO; places.len()],
            place_slots,
            places,
            watches: 0,
            added: Vec::new(),
            chains: Vec::new(),
            parts: BinaryHeap::new(),
            contenders: Vec::new(),
            chained_min: measure.chained_min(),
            looks: 0,
        };
        (0..rows.classes.len()).for_each(|class| rows.note_ends(class));
        rows
    }

    /// Adds the task that was last looked at.
    pub fn add(&mut self, partial: &Partial<'_>, task: usize) {
        if self.measure == Measure::Sufferage && self.problem.legal_slots(task).nth(1).is_none() {
            self.alone.push(Reverse(task as u32));
            return;
        }
        let mut last_arrival = Span::ZERO;
        for (class, arriving) in self.classes.iter().zip(&mut self.arriving) {
            // What is there before any slot is free might as well be there then.
            *arriving = partial.ready(task, class.slots[0]).max(self.first_end);
            last_arrival = last_arrival.max(*arriving);
        }
        let is_waiting = last_arrival > self.first_end;
        let mut hasher = DefaultHasher::new();
        self.problem.kind_of(task).hash(&mut hasher);
        if is_waiting {
            self.arriving.hash(&mut hasher);
        }
        let hash = hasher.finish();
        let arrivals = is_waiting.then_some(&self.arriving[..]);
        let known = self.rows_of.entry(hash).or_default();
        let like = known.iter().copied().find(|row| {
            let members = &self.members[*row as usize];
            let other = members.tasks.peek().map_or(task, |other| other.0 as usize);
            self.problem.kind_of(other) == self.problem.kind_of(task)
                && members.arrivals.as_deref() == arrivals
        });
        if let Some(row) = like {
            self.row_of[task] = row;
            let tasks = &mut self.members[row as usize].tasks;
            let is_smallest = tasks.peek().is_none_or(|Reverse(smallest)| task as u32 <= *smallest);
            tasks.push(Reverse(task as u32));
            if is_smallest && !self.members[row as usize].is_new && !self.note_smallest(row) {
                self.measure(row);
            }
            return;
        }
        let row = self.free_rows.pop().unwrap_or(self.rows.len() as u32);
        known.push(row);
        let members = Members {
            tasks: BinaryHeap::from([Reverse(task as u32)]),
            chained: None,
            is_new: true,
            hash,
            arrivals: arrivals.map(Box::from),
        };
        if row as usize == self.rows.len() {
            self.rows.push(Row::default());
            self.members.push(members);
        } else {
            self.members[row as usize] = members;
        }
        self.row_of[task] = row;
        let era = self.rows[row as usize].era;
        self.rows[row as usize] = Row { era, last_arrival, ..Row::default() };
        self.keep_near(row as usize);
        self.added.push(row);
    }

    /// If a row is in a chain, tells the chain which of its tasks is the first; whether it is.
    fn note_smallest(&mut self, row: u32) -> bool {
        let members = &self.members[row as usize];
        let Some((chain, place)) = members.chained else { return false };
        let smallest = members.tasks.peek().map(|Reverse(task)| *task);
        self.chains[chain as usize].note_smallest(place as usize, smallest);
        true
    }

    /// Puts a row under watches.
    fn take_in(&mut self, row: u32) {
        self.members[row as usize].is_new = false;
        self.measure(row);
    }

    /// Takes in the rows that came: those that make chains into chains, the others under watches.
    fn take_in_added(&mut self) {
        let added = std::mem::take(&mut self.added);
        if added.len() < self.chained_min {
            for row in added {
                self.take_in(row);
            }
            return;
        }
        // What waits for its inputs takes now more, now less.
        let (mut steady, mut loose) = (Vec::new(), Vec::new());
        for row in added {
            match (self.members[row as usize].tasks.peek(), &self.members[row as usize].arrivals) {
                (Some(Reverse(task)), None) => steady.push((row, *task)),
                (Some(_) | None, _) => loose.push(row),
            }
        }
        steady.sort_by_cached_key(|(_, task)| {
            let executions = self.problem.executions(*task as usize).iter();
            (executions.fold(0_u128, |sum, execution| sum + u128::from(execution.0)), *task)
        });
        let (chains, in_none) = Chain::of(self.problem, &steady, self.chained_min);
        for chain in chains {
            let free = self.chains.iter().position(Chain::is_over).unwrap_or(self.chains.len());
            for (place, row) in chain.rows().iter().enumerate() {
                let members = &mut self.members[*row as usize];
                (members.chained, members.is_new) = (Some((free as u32, place as u32)), false);
            }
            if free == self.chains.len() {
                self.chains.push(chain);
            } else {
                self.chains[free] = chain;
            }
        }
        for row in loose.into_iter().chain(in_none) {
            self.take_in(row);
        }
    }

    /// The task with the largest measure, ties to the smallest index, and its best slot, ties to the lowest.
    pub fn first(&mut self) -> Option<(usize, usize)> {
        if let Some(Reverse(task)) = self.alone.peek() {
            let task = *task as usize;
            return self.problem.legal_slots(task).next().map(|slot| (task, slot));
        }
        self.take_in_added();
        let found = self.best_contender();
        let found = self.search_chains(found);
        let found = self.search(found)?;
        let (_, Reverse(task)) = found.worth;
        let completes_then = |slot: &usize| {
            let class = self.class_of[*slot] as usize;
            let execution = self.problem.execution(task as usize, *slot);
            self.completion(found.row as usize, class, self.ends[*slot], execution) == found.earliest
        };
        self.problem.legal_slots(task as usize).find(completes_then).map(|slot| (task as usize, slot))
    }

    /// Takes out the first task, which went to its best slot, whose plan now ends at `end`.
    pub fn take(&mut self, task: usize, slot: usize, end: Span) {
        let row = self.row_of[task];
        if row == NONE {
            self.alone.pop();
        } else {
            let members = &mut self.members[row as usize];
            members.tasks.pop();
            let is_empty = members.tasks.is_empty();
            self.note_smallest(row);
            if is_empty {
                let members = &mut self.members[row as usize];
                members.chained = None;
                self.free_rows.push(row);
                self.rows[row as usize].era += 1;
                if let Some(known) = self.rows_of.get_mut(&members.hash) {
                    known.retain(|other| *other != row);
                    if known.is_empty() {
                        self.rows_of.remove(&members.hash);
                    }
                }
            }
        }
        self.ends[slot] = end;
        self.note_ends(self.class_of[slot] as usize);
        if self.watches > 4 * self.rows.len() + 64 {
            self.forget_old_watches();
        }
    }

    /// Finds when the places of a class are free.
    fn note_ends(&mut self, class: usize) {
        let Class { slots, place } = &self.classes[class];
        let (mut first, mut second) = (Span(u64::MAX), Span(u64::MAX));
        for slot in slots {
            let end = self.ends[*slot];
            second = second.min(first.max(end));
            first = first.min(end);
        }
        for (place, end) in (*place..self.places.len()).zip([first, second]) {
            if self.places[place].class == class && self.place_ends[place] != end {
                self.place_ends[place] = end;
            }
        }
        self.first_end = self.place_ends.iter().copied().min().unwrap_or(Span::ZERO);
    }

    /// Looks at all places of a row, and keeps those where it completes first.
    fn keep_near(&mut self, index: usize) {
        self.looks += self.places.len() as u64;
        let Some(Reverse(task)) = self.members[index].tasks.peek() else { return };
        let executions = self.problem.executions(*task as usize);
        // Where it completed first before, it does so by then.
        let (before, _) = self.glance(index);
        let mut nearest = Nearest::by(before.into_iter().max().unwrap_or(Problem::ILLEGAL));
        let is_waiting = self.rows[index].last_arrival > self.first_end;
        if !is_waiting && self.classes.len() == executions.len() {
            for (place, (end, cost)) in self.place_ends.iter().zip(executions).enumerate() {
                nearest.offer(end.saturating_add(*cost), *cost, place);
            }
        } else {
            for (place, (end, slot)) in self.place_ends.iter().zip(&self.place_slots).enumerate() {
                let cost = executions[*slot as usize];
                nearest.offer(self.completion(index, self.places[place].class, *end, cost), cost, place);
            }
        }
        let row = &mut self.rows[index];
        for (near, (_, cost, place)) in nearest.first.into_iter().enumerate() {
            (row.near_costs[near], row.near_places[near]) = (cost, place);
        }
        (row.beyond, row.far_cost) = (nearest.beyond, nearest.far_cost);
    }

    /// The row with the largest measure of those that came next to the largest before: few others are above it.
    fn best_contender(&mut self) -> Option<Found> {
        let mut contenders = std::mem::take(&mut self.contenders);
        contenders.sort_unstable_by_key(|found| Reverse((found.worth, found.row)));
        contenders.dedup_by_key(|found| found.row);
        contenders.retain(|found| !self.members[found.row as usize].tasks.is_empty());
        contenders.truncate(CONTENDERS);
        for found in &mut contenders {
            *found = self.found(found.row).0;
        }
        let best = contenders.iter().max_by_key(|found| found.worth).copied();
        self.contenders = contenders;
        best
    }

    /// Looks for a row in a chain with a larger measure.
    fn search_chains(&mut self, mut found: Option<Found>) -> Option<Found> {
        let chains = std::mem::take(&mut self.chains);
        let mut parts = std::mem::take(&mut self.parts);
        for chain in &chains {
            let mut search = ChainSearch { rows: self, found };
            chain.search(&mut search, &mut parts);
            found = search.found;
        }
        (self.chains, self.parts) = (chains, parts);
        if let Some(found) = found {
            self.contenders.push(found);
        }
        found
    }

    /// Looks for a row with a larger measure.
    fn search(&mut self, mut found: Option<Found>) -> Option<Found> {
        loop {
            let ends = self.place_ends.iter().map(|end| signed(*end));
            let bounds =
                self.places.iter().zip(ends).enumerate().filter(|(_, (place, _))| place.largest != NOTHING);
            let largest =
                bounds.map(|(index, (place, end))| ((end + place.largest.0, place.largest.1), index)).max();
            match (largest, &found) {
                (None, _) => return found,
                (Some((bound, _)), Some(found)) if bound <= found.worth => return Some(*found),
                (Some((_, place)), _) => self.renew(place, &mut found),
            }
        }
    }

    /// Finds better bounds for the rows under a place whose bound is above what was found.
    fn renew(&mut self, place: usize, found: &mut Option<Found>) {
        let end = self.place_ends[place];
        let mut watches = std::mem::take(&mut self.places[place].watches);
        let before = watches.len();
        self.looks += before as u64;
        let (mut kept, mut largest) = (0, NOTHING);
        self.places[place].largest = NOTHING;
        for start in (0..before).step_by(AT_ONCE) {
            let next = start..before.min(start + AT_ONCE);
            // Rows lie anywhere: they are fetched together, so that the waits for them overlap.
            let known = found.map_or(NOTHING, |found| found.worth);
            let above = watches[next.clone()].iter().filter(|watch| watch.bound(end) > known);
            let touched = above.map(|watch| {
                let row = &self.rows[watch.row as usize];
                u64::from(row.era) ^ row.near_costs[0].0
            });
            std::hint::black_box(touched.fold(0, |sum, part| sum ^ part));
            for index in next {
                let watch = watches[index];
                if found.as_ref().is_some_and(|found| watch.bound(end) <= found.worth) {
                    watches[kept] = watch;
                    kept += 1;
                    largest = largest.max((watch.more, watch.task));
                } else {
                    self.renew_watch(place as u32, watch, found);
                }
            }
        }
        watches.truncate(kept);
        let there = &mut self.places[place];
        watches.append(&mut there.watches);
        there.watches = watches;
        there.largest = there.largest.max(largest);
        self.watches -= before - kept;
    }

    fn watch(&mut self, place: u32, watch: Watch) {
        let place = &mut self.places[place as usize];
        place.watches.push(watch);
        place.largest = place.largest.max((watch.more, watch.task));
        self.watches += 1;
    }

    /// Has a row watch another place than this, one that shows that its measure is less than what was found; if it has none
    /// at hand, finds its measure.
    fn renew_watch(&mut self, place: u32, watch: Watch, found: &mut Option<Found>) {
        let row = &self.rows[watch.row as usize];
        if row.era != watch.era {
            return;
        }
        if let Some(found) = &found {
            self.looks += NEAR as u64;
            let (completions, first) = self.glance(watch.row as usize);
            let (mut earliest, mut there) = (Span(u64::MAX), NONE);
            for (completion, near) in completions.into_iter().zip(row.near_places) {
                let is_other = near != place && row.watched.contains(&near);
                if completion < earliest && !is_other {
                    (earliest, there) = (completion, near);
                }
            }
            let bound = signed(earliest) - signed(first);
            if there != NONE && (bound, watch.task) < found.worth {
                let more = bound - signed(self.place_ends[there as usize]);
                let row = &mut self.rows[watch.row as usize];
                row.first = first;
                row.watched = row.watched.map(|watched| if watched == place { there } else { watched });
                self.watch(there, Watch { more, ..watch });
                return;
            }
        }
        let measured = self.measure(watch.row);
        if found.is_none_or(|found| measured.worth > found.worth) {
            *found = Some(measured);
        }
    }

    /// Finds a row's measure, and has it watch the places that it comes from.
    fn measure(&mut self, row: u32) -> Found {
        let (found, [best, second]) = self.found(row);
        let watching = &mut self.rows[row as usize];
        watching.era += 1;
        let era = watching.era;
        let (from, bounds) = match self.measure {
            Measure::Completion => (Span::ZERO, [Some(best), None]),
            Measure::Sufferage => (best.0, [Some(best), Some(second)]),
        };
        watching.first = from;
        watching.watched = [NONE; 2];
        for (watched, (completion, place)) in bounds.into_iter().flatten().enumerate() {
            self.rows[row as usize].watched[watched] = place;
            let more = signed(completion) - signed(from) - signed(self.place_ends[place as usize]);
            self.watch(place, Watch { more, task: found.worth.1, row, era });
        }
        self.contenders.push(found);
        found
    }

    /// A row's measure, and the places that it comes from.
    fn found(&mut self, row: u32) -> (Found, [(Span, u32); 2]) {
        let [best, second] = self.best_places(row as usize);
        let measure = match self.measure {
            Measure::Completion => signed(best.0),
            Measure::Sufferage => signed(second.0) - signed(best.0),
        };
        let task = self.members[row as usize].tasks.peek().copied().unwrap_or(Reverse(NONE));
        (Found { worth: (measure, task), row, earliest: best.0 }, [best, second])
    }

    /// Completions at the nearest places, and what no completion is earlier than if the measure counts from it.
    fn glance(&self, index: usize) -> ([Span; NEAR], Span) {
        let row = &self.rows[index];
        let mut completions = row.near_costs;
        for (completion, place) in completions.iter_mut().zip(&row.near_places) {
            // There are as many places as near ones at least, if need be some that count as illegal.
            let end = self.place_ends.get(*place as usize).copied().unwrap_or(Span::ZERO);
            *completion = completion.saturating_add(end);
        }
        if row.last_arrival > self.first_end {
            for (near, completion) in completions.iter_mut().enumerate() {
                let place = row.near_places[near] as usize;
                if let Some(there) = self.places.get(place) {
                    let end = self.place_ends[place];
                    *completion = self.completion(index, there.class, end, row.near_costs[near]);
                }
            }
        }
        let first = match self.measure {
            Measure::Completion => Span::ZERO,
            Measure::Sufferage => {
                let near = completions.iter().copied().min().unwrap_or(Span::ZERO);
                near.min(self.elsewhere(row)).max(row.first)
            }
        };
        (completions, first)
    }

    /// In no place that is not near a row completes earlier than this.
    fn elsewhere(&self, row: &Row) -> Span {
        row.beyond.max(self.first_end.saturating_add(row.far_cost))
    }

    /// The earliest completion of a row and the next, each with its place; the next may be none.
    fn best_places(&mut self, index: usize) -> [(Span, u32); 2] {
        let near = self.best_near(index);
        let latest = match self.measure {
            Measure::Completion => near[0].0,
            Measure::Sufferage => near[1].0,
        };
        if latest <= self.elsewhere(&self.rows[index]) {
            return near;
        }
        self.keep_near(index);
        self.best_near(index)
    }

    /// The same of the places that are near.
    fn best_near(&mut self, index: usize) -> [(Span, u32); 2] {
        let none = (Span(u64::MAX), NONE);
        let (mut best, mut second) = (none, none);
        self.looks += NEAR as u64;
        let (completions, _) = self.glance(index);
        for here in completions.into_iter().zip(self.rows[index].near_places) {
            second = second.min(best.max(here));
            best = best.min(here);
        }
        [best, second]
    }

    /// Finds when a row of a chain completes in each place.
    fn complete_into(&mut self, executions: &[Span], of: impl Fn(&mut Self) -> &mut Vec<i64>) {
        self.looks += self.places.len() as u64;
        let mut completions = std::mem::take(of(self));
        completions.clear();
        if self.classes.len() == executions.len() {
            let places = self.place_ends.iter().zip(executions);
            completions.extend(places.map(|(end, cost)| signed(end.saturating_add(*cost))));
        } else {
            let places = self.place_ends.iter().zip(&self.place_slots);
            completions
                .extend(places.map(|(end, slot)| signed(end.saturating_add(executions[*slot as usize]))));
        }
        *of(self) = completions;
    }

    /// When a row completes on a slot of a class.
    fn completion(&self, row: usize, class: usize, end: Span, execution: Span) -> Span {
        let start = if self.rows[row].last_arrival <= end {
            end
        } else {
            let arrivals = self.members[row].arrivals.as_ref();
            arrivals.map_or(end, |arrivals| end.max(arrivals[class]))
        };
        start.saturating_add(execution)
    }

    fn forget_old_watches(&mut self) {
        for place in &mut self.places {
            place.watches.retain(|watch| self.rows[watch.row as usize].era == watch.era);
        }
        self.watches = self.places.iter().map(|place| place.watches.len()).sum();
    }
}

/// The places where a row completes first, as (completion, cost, place): so many are kept of those that are offered.
struct Nearest {
    first: [(Span, Span, u32); NEAR],
    /// In no place that was offered and is not kept it completes earlier, or takes less.
    beyond: Span,
    far_cost: Span,
}

impl Nearest {
    /// None, if as many places will be offered where it completes by `latest`, or that is the largest there is.
    fn by(latest: Span) -> Self {
        let none = (latest.saturating_add(Span(1)), Problem::ILLEGAL, NONE);
        Self { first: [none; NEAR], beyond: Problem::ILLEGAL, far_cost: Problem::ILLEGAL }
    }

    fn offer(&mut self, completion: Span, cost: Span, place: usize) {
        let (last, last_cost, last_place) = self.first[NEAR - 1];
        if completion >= last {
            self.leave_out(completion, cost);
            return;
        }
        if last_place != NONE {
            self.leave_out(last, last_cost);
        }
        let mut rank = NEAR - 1;
        while rank > 0 && self.first[rank - 1].0 > completion {
            self.first[rank] = self.first[rank - 1];
            rank -= 1;
        }
        self.first[rank] = (completion, cost, place as u32);
    }

    fn leave_out(&mut self, completion: Span, cost: Span) {
        self.beyond = self.beyond.min(completion);
        self.far_cost = self.far_cost.min(cost);
    }
}

impl Measure {
    /// Of so many rows at least a chain is worth while. A search for the largest sufferage follows about as many parts as there are
    /// slots, which takes longer than a glance at each of some thousand rows.
    fn chained_min(self) -> usize {
        match self {
            Self::Completion => 16,
            Self::Sufferage => 2_048,
        }
    }

    /// How many slots of a class matter.
    fn places(self) -> usize {
        match self {
            Self::Completion => 1,
            Self::Sufferage => 2,
        }
    }
}

impl Watch {
    fn bound(&self, end: Span) -> Worth {
        (signed(end) + self.more, self.task)
    }
}

impl Default for Row {
    fn default() -> Self {
        Self {
            near_costs: [Problem::ILLEGAL; NEAR],
            near_places: [NONE; NEAR],
            era: 0,
            beyond: Span::ZERO,
            far_cost: Span::ZERO,
            first: Span::ZERO,
            last_arrival: Span::ZERO,
            watched: [NONE; 2],
        }
    }
}
