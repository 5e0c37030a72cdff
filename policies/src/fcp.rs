//! `fcp`: Fast Critical Path (Rădulescu and van Gemund, ICS 1999; for heterogeneous processors HCW 2000).
//!
//! Of the ready tasks the one with the largest upward rank, to one of two slots: the one that is free first, and the
//! enabling one, from which the task's last input comes. Ready tasks are kept sorted only up to as many as there are
//! slots; what does not fit waits in order of arrival until there is room.
//!
//! On equal processors the task starts earliest on one of the two (the paper's theorem). Heterogeneous reading: the
//! earlier *finish* of the two decides, as HCW 2000 does for versions of such algorithms; behind all that is planned
//! (no insertion). Ties: the task with the smallest index; the slot that is free first; of several the lowest. Chosen
//! here: the last input is told by finish plus mean communication, ties to the predecessor with the smallest index;
//! the slot that is free first is the first of those that may run the task, and an enabling slot that may not run it
//! is left out.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

use isochrone_model::Span;
use isochrone_sched_core::Policy;

use crate::planning::{
    Assignment, Partial, PlannedOptions, Planner, Problem, Schedule, planned, upward_ranks,
};
use crate::{Label, LabelError, PolicyInfo};

pub(crate) const INFO: PolicyInfo = PolicyInfo {
    name: "fcp",
    summary: "static: by upward rank, to the slot that is free first or that enables the task",
    parameters: &PlannedOptions::PARAMETERS,
    make,
};

fn make(label: &Label) -> Result<Box<dyn Policy>, LabelError> {
    planned(INFO.name, "planned: free first or enabling, by upward rank", Fcp, label)
}

/// The planner.
#[derive(Clone, Copy, Debug, Default)]
pub struct Fcp;

impl Planner for Fcp {
    fn plan(&self, problem: &Problem) -> Schedule {
        let ranks = upward_ranks(problem);
        let mut partial = Partial::new(problem);
        let mut sorted: BinaryHeap<(Span, Reverse<usize>)> = BinaryHeap::new();
        let mut waiting: VecDeque<usize> = partial.entries().into();
        loop {
            while sorted.len() < problem.slots()
                && let Some(task) = waiting.pop_front()
            {
                sorted.push((ranks[task], Reverse(task)));
            }
            let Some((_, Reverse(task))) = sorted.pop() else { break };
            partial.look_at(task);
            let Some(chosen) = free_or_enabling(&partial, task) else { break };
            partial.assign(task, chosen, |next| waiting.push_back(next));
        }
        partial.schedule
    }
}

/// Of the slot that is free first and the enabling one that on which the task that was last looked at ends first.
pub(crate) fn free_or_enabling(partial: &Partial<'_>, task: usize) -> Option<Assignment> {
    let free = first_free(partial, task).map(|slot| partial.on_slot(task, slot, false));
    let enabling = enabling(partial, task)
        .filter(|(slot, _)| partial.problem.is_legal(task, *slot))
        .map(|(slot, _)| partial.on_slot(task, slot, false));
    [free, enabling].into_iter().flatten().min_by_key(|here| here.finish)
}

/// The slot that is free first of those that may run a task.
pub(crate) fn first_free(partial: &Partial<'_>, task: usize) -> Option<usize> {
    partial.problem.legal_slots(task).min_by_key(|slot| (partial.slot_end(*slot), *slot))
}

/// The slot from which a ready task's last input comes, and when that is elsewhere; `None` when it has none.
pub(crate) fn enabling(partial: &Partial<'_>, task: usize) -> Option<(usize, Span)> {
    let inputs = partial.problem.predecessors(task).iter().filter_map(|edge| {
        let first = partial.schedule.assignments[edge.task].as_ref()?;
        Some((first.finish + partial.problem.mean_transfer(edge.size_bytes), Reverse(edge.task), first.slot))
    });
    inputs.max().map(|(arrival, _, slot)| (slot, arrival))
}
