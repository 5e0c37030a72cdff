//! On how many slots the tasks of a plan could run when it was made: an agent that joins has to build a program first, and
//! until then a plan gives it nothing.

use isochrone_sched_core::{TaskIndex, View};

use super::problem::Problem;

/// What slots could run, by kind of task. Empty where every slot could run all: then none can become able to.
#[derive(Debug, Default)]
pub(super) struct Reach {
    /// By task of the problem.
    kind_of: Vec<u32>,
    /// By kind.
    slots_of: Vec<usize>,
    epoch: u64,
}

impl Reach {
    /// Of a problem, posed at this legality epoch.
    pub fn of(problem: &Problem, epoch: u64) -> Self {
        let is_legal = |execution: &&_| **execution != Problem::ILLEGAL;
        let legal = |kind| problem.kind_executions(kind).iter().filter(is_legal).count();
        let slots_of: Vec<usize> = (0..problem.kinds()).map(legal).collect();
        if slots_of.iter().all(|slots| *slots == problem.slots()) {
            return Self { epoch, ..Self::default() };
        }
        let kind_of = (0..problem.tasks()).map(|task| problem.kind_of(task) as u32).collect();
        Self { kind_of, slots_of, epoch }
    }

    /// Whether some task that is still to be placed can run on more slots by now, or on fewer; `open` are the problem's tasks.
    pub fn has_changed(&mut self, view: &View<'_>, open: &[TaskIndex]) -> bool {
        let epoch = view.legality_epoch();
        if self.kind_of.is_empty() || std::mem::replace(&mut self.epoch, epoch) == epoch {
            return false;
        }
        let mut is_looked_at = vec![false; self.slots_of.len()];
        open.iter().zip(&self.kind_of).any(|(task, kind)| {
            let kind = *kind as usize;
            let is_waiting =
                view.is_mine(*task) && view.is_for_policy(*task) && view.placed_on(*task).is_none();
            is_waiting
                && !std::mem::replace(&mut is_looked_at[kind], true)
                && view.legal_slots(*task).count() != self.slots_of[kind]
        })
    }
}
