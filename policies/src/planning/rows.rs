//! Ready tasks with their best and second-best slot, for rules that look at all of a task's slots at once.
//!
//! Such a rule needs the completion on every slot of each task whose best or second-best slot has just been given
//! work, so a step takes time in proportion to these times the slots, within the ready set.

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

#[derive(Clone, Copy, Debug)]
struct Row {
    best: Span,
    second: Span,
    best_slot: u32,
    second_slot: u32,
    /// Where in `arrivals` the task's begin.
    arrivals: u32,
    is_open: bool,
    /// The step at which it was last looked at.
    seen_at: u32,
}

/// Ready tasks that are not taken.
pub(crate) struct Rows<'a> {
    problem: &'a Problem,
    measure: Measure,
    rows: Vec<Row>,
    /// By agent, of tasks one after another.
    arrivals: Vec<Span>,
    free_rows: Vec<u32>,
    ends: Vec<Span>,
    step: u32,
    /// By slot, the tasks whose best slot it is.
    best_on: Vec<Vec<u32>>,
    /// By slot, the tasks whose second-best slot it is, among others.
    second_on: Vec<Vec<u32>>,
    /// By slot, the largest of `best_on`.
    first_on: Vec<Option<(Span, std::cmp::Reverse<u32>)>>,
}

const NO_SLOT: u32 = u32::MAX;

impl<'a> Rows<'a> {
    pub fn new(problem: &'a Problem, measure: Measure) -> Self {
        let row = Row {
            best: Span::ZERO,
            second: Span::ZERO,
            best_slot: NO_SLOT,
            second_slot: NO_SLOT,
            arrivals: 0,
            is_open: false,
            seen_at: 0,
        };
        Self {
            problem,
            measure,
            rows: vec![row; problem.tasks()],
            arrivals: Vec::new(),
            free_rows: Vec::new(),
            ends: (0..problem.slots()).map(|slot| problem.slot_free(slot)).collect(),
            step: 0,
            best_on: vec![Vec::new(); problem.slots()],
            second_on: vec![Vec::new(); problem.slots()],
            first_on: vec![None; problem.slots()],
        }
    }

    /// Adds the task that was last looked at.
    pub fn add(&mut self, partial: &Partial<'_>, task: usize) {
        let agents = self.problem.agents();
        let arrivals = self.free_rows.pop().unwrap_or_else(|| {
            self.arrivals.resize(self.arrivals.len() + agents, Span::ZERO);
            (self.arrivals.len() / agents - 1) as u32
        });
        let from = arrivals as usize * agents;
        for slot in 0..self.problem.slots() {
            self.arrivals[from + self.problem.agent_of(slot)] = partial.ready(task, slot);
        }
        self.rows[task].arrivals = arrivals;
        self.rows[task].is_open = true;
        self.look(task);
        let row = self.rows[task];
        self.best_on[row.best_slot as usize].push(task as u32);
        if self.measure == Measure::Sufferage && row.second_slot != NO_SLOT {
            self.second_on[row.second_slot as usize].push(task as u32);
        }
        self.raise(task);
    }

    /// The task with the largest measure, ties to the smallest index, and its best slot.
    pub fn first(&self) -> Option<(usize, usize)> {
        let (_, std::cmp::Reverse(task)) = self.first_on.iter().flatten().max()?;
        Some((*task as usize, self.rows[*task as usize].best_slot as usize))
    }

    /// Takes a task out, which went to its best slot, whose plan now ends at `end`.
    pub fn take(&mut self, task: usize, slot: usize, end: Span) {
        self.rows[task].is_open = false;
        self.free_rows.push(self.rows[task].arrivals);
        self.ends[slot] = end;
        self.first_on[slot] = None;
        self.step += 1;
        let (best_here, second_here) =
            (std::mem::take(&mut self.best_on[slot]), std::mem::take(&mut self.second_on[slot]));
        for other in best_here {
            if self.rows[other as usize].is_open {
                self.renew(other as usize, slot);
            }
        }
        for other in second_here {
            let row = &mut self.rows[other as usize];
            if row.is_open && row.second_slot == slot as u32 && row.seen_at != self.step {
                row.seen_at = self.step;
                self.look(other as usize);
                self.second_on[self.rows[other as usize].second_slot as usize].push(other);
                self.raise(other as usize);
            }
        }
    }

    /// Looks again at a task that was taken from the list of its best slot.
    fn renew(&mut self, task: usize, was_best: usize) {
        self.rows[task].seen_at = self.step;
        let second_before = self.rows[task].second_slot;
        self.look(task);
        let row = self.rows[task];
        self.best_on[row.best_slot as usize].push(task as u32);
        let is_listed = row.second_slot == second_before && row.second_slot as usize != was_best;
        if self.measure == Measure::Sufferage && row.second_slot != NO_SLOT && !is_listed {
            self.second_on[row.second_slot as usize].push(task as u32);
        }
        self.raise(task);
    }

    fn look(&mut self, task: usize) {
        let row = &mut self.rows[task];
        let agents = self.problem.agents();
        let arrivals = &self.arrivals[row.arrivals as usize * agents..][..agents];
        (row.best, row.second) = (Span(u64::MAX), Span(u64::MAX));
        (row.best_slot, row.second_slot) = (NO_SLOT, NO_SLOT);
        for (slot, execution) in self.problem.executions(task).iter().enumerate() {
            if *execution == Problem::ILLEGAL {
                continue;
            }
            let completion = arrivals[self.problem.agent_of(slot)].max(self.ends[slot]) + *execution;
            if row.best_slot == NO_SLOT || completion < row.best {
                (row.second, row.second_slot) = (row.best, row.best_slot);
                (row.best, row.best_slot) = (completion, slot as u32);
            } else if row.second_slot == NO_SLOT || completion < row.second {
                (row.second, row.second_slot) = (completion, slot as u32);
            }
        }
    }

    fn raise(&mut self, task: usize) {
        let row = &self.rows[task];
        let measure = match self.measure {
            Measure::Completion => row.best,
            Measure::Sufferage if row.second_slot == NO_SLOT => Span(u64::MAX),
            Measure::Sufferage => row.second.saturating_sub(row.best),
        };
        let here = Some((measure, std::cmp::Reverse(task as u32)));
        let first = &mut self.first_on[row.best_slot as usize];
        *first = (*first).max(here);
    }
}
