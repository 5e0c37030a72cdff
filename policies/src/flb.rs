//! `flb`: Fast Load Balancing (Rădulescu and van Gemund, ICPP 1999; for heterogeneous processors HCW 2000).
//!
//! The ready task that can start first, found by looking at two only. A task whose last input would arrive elsewhere
//! after its enabling slot (where that input comes from) is free starts earliest on that slot; of these the one that
//! starts first is taken. All others start earliest on the slot that is free first; of these the one whose inputs
//! arrive first is taken. The earlier start of the two decides, and when equal the second, whose communication is
//! hidden already.
//!
//! Ties among tasks: the largest upward rank, then the smallest index; among slots the lowest. Heterogeneous reading,
//! as in `fcp`: the task is found as on equal processors, by starts, and goes to whichever of its enabling slot and
//! the one that is free first it *finishes* on first (on equal processors that is the paper's choice). Chosen here:
//! the last input's arrival elsewhere is its finish plus mean communication; a task that may not run on its enabling
//! slot counts among the others; plans are appended to (no insertion).

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use isochrone_model::Span;
use isochrone_sched_core::Policy;

use crate::fcp::{enabling, first_free, free_or_enabling};
use crate::planning::{Partial, PlannedOptions, Planner, Problem, Schedule, planned, upward_ranks};
use crate::{Label, LabelError, PolicyInfo};

pub(crate) const INFO: PolicyInfo = PolicyInfo {
    name: "flb",
    summary: "static: the ready task that can start first, to the slot that is free first or that enables it",
    parameters: &PlannedOptions::PARAMETERS,
    make,
};

fn make(label: &Label) -> Result<Box<dyn Policy>, LabelError> {
    planned(INFO.name, "planned: can start first", Flb, label)
}

/// The planner.
#[derive(Clone, Copy, Debug, Default)]
pub struct Flb;

/// A time, the upward rank, the task: the heaps' first is the earliest, then the highest, then the smallest.
type Key = Reverse<(Span, Reverse<Span>, usize)>;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// Starts earliest on its enabling slot.
    Enabled,
    /// Starts earliest on the slot that is free first.
    Other,
    Assigned,
}

struct Ready {
    kinds: Vec<Kind>,
    ranks: Vec<Span>,
    /// By enabling slot, by arrival of the inputs there; some are of another kind by now.
    enabled: Vec<BinaryHeap<Key>>,
    /// By enabling slot, by arrival of the last input elsewhere.
    turning: Vec<BinaryHeap<Key>>,
    /// By arrival of the last input elsewhere.
    others: BinaryHeap<Key>,
}

impl Planner for Flb {
    fn plan(&self, problem: &Problem) -> Schedule {
        let mut partial = Partial::new(problem);
        let mut ready = Ready {
            kinds: vec![Kind::Other; problem.tasks()],
            ranks: upward_ranks(problem),
            enabled: vec![BinaryHeap::new(); problem.slots()],
            turning: vec![BinaryHeap::new(); problem.slots()],
            others: BinaryHeap::new(),
        };
        let mut arrived = partial.entries();
        loop {
            for task in arrived.drain(..) {
                partial.look_at(task);
                ready.add(&partial, task);
            }
            let Some(task) = ready.first(&mut partial) else { break };
            partial.look_at(task);
            let Some(chosen) = free_or_enabling(&partial, task) else { break };
            partial.assign(task, chosen, |next| arrived.push(next));
            ready.kinds[task] = Kind::Assigned;
            ready.turn(chosen.slot, chosen.finish);
        }
        partial.schedule
    }
}

impl Ready {
    /// Adds the task that was last looked at.
    fn add(&mut self, partial: &Partial<'_>, task: usize) {
        let rank = Reverse(self.ranks[task]);
        match enabling(partial, task) {
            Some((slot, elsewhere))
                if partial.problem.is_legal(task, slot) && elsewhere >= partial.slot_end(slot) =>
            {
                self.kinds[task] = Kind::Enabled;
                self.enabled[slot].push(Reverse((partial.ready(task, slot), rank, task)));
                self.turning[slot].push(Reverse((elsewhere, rank, task)));
            }
            Some((_, elsewhere)) => self.others.push(Reverse((elsewhere, rank, task))),
            None => self.others.push(Reverse((Span::ZERO, rank, task))),
        }
    }

    /// The task that comes next.
    fn first(&mut self, partial: &mut Partial<'_>) -> Option<usize> {
        let mut enabled: Option<(Span, Reverse<Span>, usize)> = None;
        for (slot, heap) in self.enabled.iter_mut().enumerate() {
            while heap.peek().is_some_and(|Reverse((_, _, task))| self.kinds[*task] != Kind::Enabled) {
                heap.pop();
            }
            if let Some(Reverse((arrival, rank, task))) = heap.peek().copied() {
                let here = (arrival.max(partial.slot_end(slot)), rank, task);
                enabled = Some(enabled.map_or(here, |other| other.min(here)));
            }
        }
        while self.others.peek().is_some_and(|Reverse((_, _, task))| self.kinds[*task] != Kind::Other) {
            self.others.pop();
        }
        let Some(Reverse((_, _, other))) = self.others.peek().copied() else {
            return enabled.map(|(_, _, task)| task);
        };
        let Some((start, _, task)) = enabled else { return Some(other) };
        partial.look_at(other);
        let free = first_free(partial, other)?;
        let is_other_first = partial.on_slot(other, free, false).start <= start;
        Some(if is_other_first { other } else { task })
    }

    /// The plan of a slot ends later: tasks that it enables may start earlier elsewhere now.
    fn turn(&mut self, slot: usize, end: Span) {
        while let Some(Reverse((elsewhere, rank, task))) = self.turning[slot].peek().copied() {
            if elsewhere >= end {
                break;
            }
            self.turning[slot].pop();
            if self.kinds[task] == Kind::Enabled {
                self.kinds[task] = Kind::Other;
                self.others.push(Reverse((elsewhere, rank, task)));
            }
        }
    }
}
