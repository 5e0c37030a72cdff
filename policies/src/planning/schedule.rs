//! What a planner makes of a problem.

use isochrone_model::Span;

use super::client_contents::settle;
use super::problem::Problem;

/// Where and when a task is to run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Assignment {
    /// The slot.
    pub slot: usize,
    /// From the time of planning.
    pub start: Span,
    /// From the time of planning.
    pub finish: Span,
}

/// What a planner made of a problem: by task; `None` for a task without a legal slot and all behind it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Schedule {
    /// By task.
    pub assignments: Vec<Option<Assignment>>,
}

impl Schedule {
    /// One without assignments.
    #[must_use]
    pub fn new(tasks: usize) -> Self {
        Self { assignments: vec![None; tasks] }
    }

    /// The latest finish.
    #[must_use]
    pub fn makespan(&self) -> Span {
        self.assignments.iter().flatten().map(|assignment| assignment.finish).max().unwrap_or(Span::ZERO)
    }

    /// The earliest start of a task on a slot, its predecessors being assigned: contents, notices and word there.
    /// `None` when a predecessor is not assigned.
    #[must_use]
    pub fn ready(&self, problem: &Problem, task: usize, slot: usize) -> Option<Span> {
        let mut ready = problem.outside_ready(task, slot);
        for edge in problem.predecessors(task) {
            let first = self.assignments[edge.task].as_ref()?;
            ready = ready.max(first.finish + problem.transfer(edge.size_bytes, first.slot, slot));
        }
        Some(ready)
    }

    /// The same slots and the same order on them, at the times that follow when contents that the client holds travel as they
    /// do: to the agent of their first reader, and from there to others. Planners count on the earliest that is possible.
    /// The same schedule where there are no such contents, or where transfers slow each other down.
    #[must_use]
    pub fn settled(&self, problem: &Problem) -> Self {
        settle(problem, self).schedule
    }

    /// Checks that every task is on a legal slot for as long as it takes, after its predecessors and what they
    /// send, and beside no other on its slot.
    ///
    /// # Errors
    /// What is wrong, with the tasks.
    pub fn check(&self, problem: &Problem) -> Result<(), String> {
        let mut by_slot: Vec<Vec<(Span, Span, usize)>> = vec![Vec::new(); problem.slots()];
        for (task, assignment) in self.assignments.iter().enumerate() {
            let Some(assignment) = assignment else {
                return Err(format!("task {task} is not assigned"));
            };
            let execution = problem.execution(task, assignment.slot);
            if execution == Problem::ILLEGAL {
                return Err(format!("task {task} may not run on slot {}", assignment.slot));
            }
            if assignment.finish != assignment.start + execution {
                return Err(format!("task {task} does not end when its execution says"));
            }
            let Some(ready) = self.ready(problem, task, assignment.slot) else {
                return Err(format!("task {task} is assigned without its predecessors"));
            };
            if assignment.start < ready.max(problem.slot_free(assignment.slot)) {
                return Err(format!("task {task} starts before it can"));
            }
            by_slot[assignment.slot].push((assignment.start, assignment.finish, task));
        }
        for timeline in &mut by_slot {
            timeline.sort_unstable();
            if let Some(pair) = timeline.windows(2).find(|pair| pair[0].1 > pair[1].0) {
                return Err(format!("tasks {} and {} run at once on one slot", pair[0].2, pair[1].2));
            }
        }
        Ok(())
    }
}
