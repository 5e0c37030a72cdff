//! Rows of ready tasks of which each takes at least as long as the one before in every place: amounts of work on slots of
//! different speeds.
//!
//! What the rows between two of a chain take lies between what these two take. So the measures of all of them have a bound that is
//! found by a look at two rows, and the row with the largest measure is found by halving the chain: parts whose bound is not
//! above what was found are left out, small ones are looked through. For the earliest completion that is one way down a tree, for sufferage a few. Must never hold what is
//! known of ends: a search asks for it.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::problem::Problem;

/// Parts of so many rows are not halved: a look at a row takes about what the bound of a part takes.
const HALVED_MIN: usize = 8;
/// A row is appended to one of so many chains that were last appended to: kinds of tasks that take turns.
const OPEN_MAX: usize = 8;
/// All whole numbers up to this have a float of their own.
const EXACT_MAX: f64 = (1_u64 << 53) as f64;
const NONE: u32 = u32::MAX;

/// A measure, then the smallest index.
pub(super) type Worth = (i64, Reverse<u32>);

/// The chain.
#[derive(Debug, Default)]
pub(super) struct Chain {
    /// Those of which nothing is left stay.
    rows: Vec<u32>,
    /// By row, one of its tasks.
    tasks: Vec<u32>,
    /// What the rows take lies on a straight line but for so many nanoseconds, as for amounts of work over speeds, rounded; `None`
    /// if there is no such line.
    pub off_line_nanos: Option<i64>,
    /// A tree of halves: the smallest index of the tasks that are left in each; `NONE` for none.
    smallest: Vec<u32>,
    leaves: usize,
}

/// A part of a chain: rows from `start` to before `end`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Part {
    node: usize,
    start: usize,
    end: usize,
}

/// What is to be said of a part in a search.
pub(super) trait Judge {
    /// No measure is larger of rows that take what the first of these tasks takes at least, and what the last takes at most.
    fn bound(&mut self, chain: &Chain, first: usize, last: usize) -> i64;

    /// Looks at a row.
    fn look_at(&mut self, row: u32);

    /// The largest that was found.
    fn found(&self) -> Option<Worth>;
}

impl Chain {
    /// Makes chains of `rows_min` rows at least of rows, each given with one of its tasks, and the smallest. Rows are sorted by how long they take; those that are in
    /// no chain are given back.
    pub fn of(problem: &Problem, rows: &[(u32, u32)], rows_min: usize) -> (Vec<Self>, Vec<u32>) {
        let takes = |task: u32| problem.executions(task as usize);
        let mut made: Vec<Self> = Vec::new();
        let mut open: Vec<usize> = Vec::new();
        for (row, task) in rows.iter().copied() {
            let is_behind = |chain: &usize| {
                let last = made[*chain].tasks.last().copied().unwrap_or(task);
                takes(last).iter().zip(takes(task)).all(|(before, here)| before <= here)
            };
            let place = open.iter().position(is_behind).unwrap_or_else(|| {
                open.insert(0, made.len());
                open.truncate(OPEN_MAX);
                made.push(Self::default());
                0
            });
            open[..=place].rotate_right(1);
            let chain = &mut made[open[0]];
            chain.rows.push(row);
            chain.tasks.push(task);
        }
        let (mut chains, loose): (Vec<Self>, Vec<Self>) =
            made.into_iter().partition(|chain| chain.rows.len() >= rows_min);
        for chain in &mut chains {
            chain.grow_tree();
            chain.off_line_nanos = chain.off_line(problem);
        }
        (chains, loose.into_iter().flat_map(|chain| chain.rows).collect())
    }

    fn grow_tree(&mut self) {
        self.leaves = self.rows.len().next_power_of_two();
        self.smallest = vec![NONE; 2 * self.leaves];
        self.smallest[self.leaves..self.leaves + self.tasks.len()].copy_from_slice(&self.tasks);
        for node in (1..self.leaves).rev() {
            self.smallest[node] = self.smallest[2 * node].min(self.smallest[2 * node + 1]);
        }
    }

    /// How far rows lie from the line between the first and the last.
    fn off_line(&self, problem: &Problem) -> Option<i64> {
        let takes = |task: &u32| problem.executions(*task as usize);
        let sum = |task: &u32| {
            let legal = takes(task).iter().filter(|execution| **execution != Problem::ILLEGAL);
            legal.map(|execution| execution.0 as f64).sum::<f64>()
        };
        let (first, last) = (self.tasks.first()?, self.tasks.last()?);
        let (from, way) = (sum(first), sum(last) - sum(first));
        let mut farthest = 0.0_f64;
        for task in &self.tasks {
            let share = if way > 0.0 { (sum(task) - from) / way } else { 0.0 };
            for ((first, last), here) in takes(first).iter().zip(takes(last)).zip(takes(task)) {
                let (first, last, here) =
                    match [first, last, here].map(|execution| *execution == Problem::ILLEGAL) {
                        [true, true, true] => continue,
                        [false, false, false] => (first.0 as f64, last.0 as f64, here.0 as f64),
                        _ => return None,
                    };
                farthest = farthest.max((first + (last - first) * share - here).abs());
            }
        }
        // Where numbers are so large that they were rounded there is no saying.
        (from + way < EXACT_MAX).then_some(farthest.ceil() as i64 + 1)
    }

    /// The rows, in order.
    pub fn rows(&self) -> &[u32] {
        &self.rows
    }

    /// Whether nothing is left of it.
    pub fn is_over(&self) -> bool {
        self.smallest[1] == NONE
    }

    /// The smallest index of the tasks that are left of a row is this; `None` when none is left.
    pub fn note_smallest(&mut self, place: usize, task: Option<u32>) {
        let mut node = self.leaves + place;
        self.smallest[node] = task.unwrap_or(NONE);
        while node > 1 {
            node /= 2;
            self.smallest[node] = self.smallest[2 * node].min(self.smallest[2 * node + 1]);
        }
    }

    /// Shows the judge every row whose measure may be larger than what it has found, the parts with the largest bounds first. `parts` is
    /// only lent for its memory.
    pub fn search(&self, judge: &mut impl Judge, parts: &mut BinaryHeap<(Worth, Part)>) {
        parts.clear();
        let whole = Part { node: 1, start: 0, end: self.leaves };
        if !self.is_over() {
            parts.push(((i64::MAX, Reverse(self.smallest[1])), whole));
        }
        while let Some((bound, part)) = parts.pop() {
            if judge.found().is_some_and(|found| bound <= found) {
                break;
            }
            if part.end - part.start <= HALVED_MIN {
                let rows = self.rows.iter().enumerate().take(part.end).skip(part.start);
                for (_, row) in rows.filter(|(place, _)| self.smallest[self.leaves + place] != NONE) {
                    judge.look_at(*row);
                }
                continue;
            }
            let middle = part.start.midpoint(part.end);
            let low = Part { node: 2 * part.node, end: middle, ..part };
            let high = Part { node: 2 * part.node + 1, start: middle, ..part };
            for half in [low, high] {
                let smallest = self.smallest[half.node];
                if smallest != NONE {
                    parts.push(((self.bound(judge, half), Reverse(smallest)), half));
                }
            }
        }
    }

    fn bound(&self, judge: &mut impl Judge, part: Part) -> i64 {
        let last = part.end.min(self.tasks.len()) - 1;
        judge.bound(self, self.tasks[part.start] as usize, self.tasks[last] as usize)
    }
}
