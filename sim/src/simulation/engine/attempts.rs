//! Which attempts of a task were ordered and have begun: it may have two.

use isochrone_model::Order;
use isochrone_model::message::OrderBatch;

use super::{Engine, SESSION};
use crate::simulation::outcome::{OutrunRun, TaskDecision, TaskRun};

/// What has become of a task: it may have two attempts.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Marks {
    pub has_begun: bool,
    pub is_known_to_have_ended: bool,
}

impl Engine<'_> {
    pub(super) fn note_orders(&mut self, batch: &OrderBatch) {
        for order in &batch.orders {
            let (Order::Run(run) | Order::RunBackup(run)) = order else { continue };
            let Some(place) = self.requests.task_of(run.command) else { continue };
            self.outcome.tasks[place].attempts += 1;
            if let Order::Run(_) = order {
                self.outcome.tasks[place].ordered = self.now;
            }
        }
    }

    /// What the scheduler decided, and when.
    pub(super) fn note_order(&mut self, order: &Order) {
        let (Order::Run(run) | Order::RunBackup(run)) = order else { return };
        let (command, is_backup) = (run.command, matches!(order, Order::RunBackup(_)));
        let Some(place) = self.requests.task_of(command) else { return };
        if !is_backup {
            self.outcome.tasks[place].placed = self.now;
        }
        if self.run.kept.has(place)
            && let Some(explanation) = self.scheduler.explain(SESSION, command)
            && let Some(decision) = explanation.decision
        {
            self.outcome.decisions.push(TaskDecision { task: place, at: self.now, decision });
        }
    }

    /// An attempt of a task begins. Of two the one that ends first is the task's run.
    pub(super) fn note_begun(&mut self, task: usize, mut run: TaskRun) {
        let known = &mut self.outcome.tasks[task];
        if std::mem::replace(&mut self.marks[task].has_begun, true) {
            if run.finish < known.finish {
                std::mem::swap(known, &mut run);
            }
            self.outcome.outrun.push(OutrunRun { task, run });
        } else {
            *known = run;
        }
    }
}
