//! Ready tasks with their best and second-best slot, for rules that look at all of a task's slots at once.
//!
//! Such a rule needs the best completion anew of each task whose best or second-best slot has just been given work, so a
//! step takes time in proportion to these, within the ready set. Three things keep that small. Tasks that are alike in times
//! and in the arrival of inputs that matter are one row, of which the smallest index counts. A row keeps its fastest slots in
//! order: nothing completes before the first slot is free and its own time has passed, so a look ends at the first slot for
//! which that is too late, after a few of them. And where that does not suffice the loops over slots are without branches.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::hash::{DefaultHasher, Hash, Hasher};

use isochrone_model::Span;

use super::partial::Partial;
use super::problem::Problem;

/// What decides between ready tasks; the largest is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Measure {
    /// The earliest completion.
    Completion,
    /// What the second-best slot would cost more than the best; a task with one legal slot comes first.
    Sufferage,
}

/// Ready tasks that are alike.
#[derive(Debug)]
struct Row {
    tasks: BinaryHeap<Reverse<u32>>,
    /// Under what `rows_of` knows the row.
    hash: u64,
    best: Span,
    second: Span,
    best_slot: u32,
    second_slot: u32,
    /// When the inputs are everywhere.
    last_arrival: Span,
    /// The step at which it was last looked at.
    seen_at: u32,
}

/// All ready tasks that are not taken.
pub(crate) struct Rows<'a> {
    problem: &'a Problem,
    measure: Measure,
    /// Those without tasks are free.
    rows: Vec<Row>,
    /// By task, its row.
    row_of: Vec<u32>,
    rows_of: HashMap<u64, Vec<u32>>,
    /// By row and slot.
    arrivals: Vec<Span>,
    /// By row, its fastest slots with what it takes there, in order of that and then of the slot: `fast_slots` of them.
    fastest: Vec<(Span, u32)>,
    fast_slots: usize,
    /// By slot, of the task that is added.
    sorting: Vec<(Span, u32)>,
    /// By slot, of the task that is added.
    arriving: Vec<Span>,
    free_rows: Vec<u32>,
    ends: Vec<Span>,
    first_end: Span,
    /// By slot, of the row that is looked at.
    completions: Vec<u64>,
    step: u32,
    /// By slot, the rows whose best slot it is.
    best_on: Vec<Vec<u32>>,
    /// By slot, the rows whose second-best slot it is, among others.
    second_on: Vec<Vec<u32>>,
    /// By slot, the largest of `best_on`.
    first_on: Vec<Option<(Span, Reverse<u32>)>>,
}

const NO_SLOT: u32 = u32::MAX;
/// So many slots of a row are kept in order.
const FAST_SLOTS: usize = 12;

impl<'a> Rows<'a> {
    pub fn new(problem: &'a Problem, measure: Measure) -> Self {
        let ends: Vec<Span> = (0..problem.slots()).map(|slot| problem.slot_free(slot)).collect();
        Self {
            problem,
            measure,
            rows: Vec::new(),
            row_of: vec![0; problem.tasks()],
            rows_of: HashMap::new(),
            arrivals: Vec::new(),
            fastest: Vec::new(),
            fast_slots: if problem.slots() > FAST_SLOTS { FAST_SLOTS } else { 0 },
            sorting: Vec::new(),
            arriving: vec![Span::ZERO; problem.slots()],
            free_rows: Vec::new(),
            first_end: ends.iter().copied().min().unwrap_or(Span::ZERO),
            ends,
            completions: vec![0; problem.slots()],
            step: 0,
            best_on: vec![Vec::new(); problem.slots()],
            second_on: vec![Vec::new(); problem.slots()],
            first_on: vec![None; problem.slots()],
        }
    }

    /// Adds the task that was last looked at.
    pub fn add(&mut self, partial: &Partial<'_>, task: usize) {
        let slots = self.problem.slots();
        let mut hasher = DefaultHasher::new();
        self.problem.executions(task).hash(&mut hasher);
        for slot in 0..slots {
            // What is there before any slot is free might as well be there then.
            self.arriving[slot] = partial.ready(task, slot).max(self.first_end);
            self.arriving[slot].hash(&mut hasher);
        }
        let hash = hasher.finish();
        let known = self.rows_of.entry(hash).or_default();
        let like = known.iter().copied().find(|row| {
            let other = self.rows[*row as usize].tasks.peek().map_or(task, |other| other.0 as usize);
            self.problem.executions(other) == self.problem.executions(task)
                && self.arrivals[*row as usize * slots..][..slots] == self.arriving
        });
        if let Some(row) = like {
            self.row_of[task] = row;
            self.rows[row as usize].tasks.push(Reverse(task as u32));
            self.raise(row as usize);
            return;
        }
        let place = self.free_rows.pop().unwrap_or(self.rows.len() as u32);
        known.push(place);
        self.keep_fastest(task, place as usize);
        let row = Row {
            tasks: BinaryHeap::from([Reverse(task as u32)]),
            hash,
            best: Span::ZERO,
            second: Span::ZERO,
            best_slot: NO_SLOT,
            second_slot: NO_SLOT,
            last_arrival: self.arriving.iter().copied().max().unwrap_or(Span::ZERO),
            seen_at: 0,
        };
        if place as usize == self.rows.len() {
            self.rows.push(row);
            self.arrivals.extend_from_slice(&self.arriving);
        } else {
            self.rows[place as usize] = row;
            self.arrivals[place as usize * slots..][..slots].copy_from_slice(&self.arriving);
        }
        self.row_of[task] = place;
        self.look(place as usize);
        let row = &self.rows[place as usize];
        self.best_on[row.best_slot as usize].push(place);
        if row.second_slot != NO_SLOT {
            self.second_on[row.second_slot as usize].push(place);
        }
        self.raise(place as usize);
    }

    /// Keeps the slots that take a task the least.
    fn keep_fastest(&mut self, task: usize, place: usize) {
        let count = self.fast_slots;
        if count == 0 {
            return;
        }
        self.sorting.clear();
        let executions = self.problem.executions(task).iter().enumerate();
        self.sorting.extend(executions.map(|(slot, execution)| (*execution, slot as u32)));
        self.sorting.select_nth_unstable(count - 1);
        self.sorting.truncate(count);
        self.sorting.sort_unstable();
        if self.fastest.len() < (place + 1) * count {
            self.fastest.extend_from_slice(&self.sorting);
        } else {
            self.fastest[place * count..][..count].copy_from_slice(&self.sorting);
        }
    }

    /// The task with the largest measure, ties to the smallest index, and its best slot.
    pub fn first(&self) -> Option<(usize, usize)> {
        let (_, Reverse(task)) = self.first_on.iter().flatten().max()?;
        let row = self.row_of[*task as usize];
        Some((*task as usize, self.rows[row as usize].best_slot as usize))
    }

    /// Takes out the first task, which went to its best slot, whose plan now ends at `end`.
    pub fn take(&mut self, task: usize, slot: usize, end: Span) {
        let place = self.row_of[task];
        let row = &mut self.rows[place as usize];
        row.tasks.pop();
        if row.tasks.is_empty() {
            self.free_rows.push(place);
            if let Some(known) = self.rows_of.get_mut(&row.hash) {
                known.retain(|other| *other != place);
                if known.is_empty() {
                    self.rows_of.remove(&row.hash);
                }
            }
        }
        self.ends[slot] = end;
        self.first_end = self.ends.iter().copied().min().unwrap_or(end);
        self.first_on[slot] = None;
        self.step += 1;
        let (best_here, second_here) =
            (std::mem::take(&mut self.best_on[slot]), std::mem::take(&mut self.second_on[slot]));
        for other in best_here {
            if !self.rows[other as usize].tasks.is_empty() {
                self.renew(other, slot);
            }
        }
        for other in second_here {
            let row = &mut self.rows[other as usize];
            if !row.tasks.is_empty() && row.second_slot == slot as u32 && row.seen_at != self.step {
                row.seen_at = self.step;
                self.look(other as usize);
                self.second_on[self.rows[other as usize].second_slot as usize].push(other);
                self.raise(other as usize);
            }
        }
    }

    /// Looks again at a row that was taken from the list of its best slot.
    fn renew(&mut self, place: u32, was_best: usize) {
        let second_before = self.rows[place as usize].second_slot;
        self.rows[place as usize].seen_at = self.step;
        self.look(place as usize);
        let row = &self.rows[place as usize];
        self.best_on[row.best_slot as usize].push(place);
        let is_listed = row.second_slot == second_before && row.second_slot as usize != was_best;
        if row.second_slot != NO_SLOT && !is_listed {
            self.second_on[row.second_slot as usize].push(place);
        }
        self.raise(place as usize);
    }

    fn look(&mut self, place: usize) {
        if !self.look_at_fastest(place) {
            self.look_at_all(place);
        }
    }

    /// Looks at a row's fastest slots; whether the others cannot count.
    fn look_at_fastest(&mut self, place: usize) -> bool {
        let slots = self.problem.slots();
        let row = &mut self.rows[place];
        let has_inputs = row.last_arrival <= self.first_end;
        let none = (Span(u64::MAX), NO_SLOT);
        let (mut best, mut second) = (none, none);
        let mut is_enough = false;
        for (execution, slot) in &self.fastest[place * self.fast_slots..][..self.fast_slots] {
            let latest = match self.measure {
                Measure::Completion => best.0,
                Measure::Sufferage => second.0,
            };
            // Equal ones may still have a lower slot.
            is_enough = self.first_end + *execution > latest;
            if is_enough {
                break;
            }
            let end = self.ends[*slot as usize];
            let start = if has_inputs { end } else { end.max(self.arrivals[place * slots + *slot as usize]) };
            let here = (start + *execution, *slot);
            second = second.min(best.max(here));
            best = best.min(here);
        }
        if !is_enough {
            return false;
        }
        (row.best, row.best_slot) = best;
        row.second = second.0;
        row.second_slot = match self.measure {
            Measure::Sufferage => second.1,
            Measure::Completion => NO_SLOT,
        };
        true
    }

    fn look_at_all(&mut self, place: usize) {
        let slots = self.problem.slots();
        let row = &mut self.rows[place];
        let Some(Reverse(task)) = row.tasks.peek() else { return };
        let task = *task as usize;
        let executions = &self.problem.executions(task)[..slots];
        let ends = &self.ends[..slots];
        let completions = &mut self.completions[..slots];
        // What may not run stays at the largest number.
        if row.last_arrival <= self.first_end {
            for slot in 0..slots {
                completions[slot] = ends[slot].0.saturating_add(executions[slot].0);
            }
        } else {
            let arrivals = &self.arrivals[place * slots..][..slots];
            for slot in 0..slots {
                completions[slot] = ends[slot].0.max(arrivals[slot].0).saturating_add(executions[slot].0);
            }
        }
        let (mut best, mut second) = (u64::MAX, u64::MAX);
        for completion in completions.iter().copied() {
            second = second.min(best.max(completion));
            best = best.min(completion);
        }
        let slot_with = |wanted: u64, but: u32| {
            let is_it = |(slot, completion): (usize, &u64)| *completion == wanted && slot as u32 != but;
            completions.iter().enumerate().position(is_it).map_or(NO_SLOT, |slot| slot as u32)
        };
        (row.best, row.best_slot) = (Span(best), slot_with(best, NO_SLOT));
        row.second = Span(second);
        row.second_slot = match self.measure {
            Measure::Sufferage if second < u64::MAX => slot_with(second, row.best_slot),
            Measure::Sufferage | Measure::Completion => NO_SLOT,
        };
    }

    fn raise(&mut self, place: usize) {
        let row = &self.rows[place];
        let measure = match self.measure {
            Measure::Completion => row.best,
            Measure::Sufferage if row.second_slot == NO_SLOT => Span(u64::MAX),
            Measure::Sufferage => row.second.saturating_sub(row.best),
        };
        let here = row.tasks.peek().map(|task| (measure, *task));
        let first = &mut self.first_on[row.best_slot as usize];
        *first = (*first).max(here);
    }
}
