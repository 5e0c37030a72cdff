//! `lookahead-heft`: HEFT that looks at the successors before it chooses a slot (Bittencourt, Sakellariou and
//! Madeira, "DAG scheduling using a lookahead variant of the heterogeneous earliest finish time algorithm", PDP 2010).
//!
//! Tasks in order of falling upward rank. For each slot the task is put there on trial, then its successors, by
//! falling rank, each to the slot where it would finish first; the task goes to the slot for which the latest of
//! these finishes is earliest. Gaps are used throughout (insertion). A task without successors goes where it
//! finishes first itself.
//!
//! Ties: the task with the smallest index; the lowest slot. Chosen here: of the paper's four variants the one that
//! minimises the largest finish and leaves the order of tasks alone; successors are put in the plan one after
//! another during the trial; of a successor's other predecessors those that are not planned yet do not count.
//!
//! The definition tries every slot of a task with every slot of each successor: time in proportion to edges times
//! slots squared. A trial ends as soon as it cannot be the best any more.

use isochrone_model::Span;
use isochrone_sched_core::Policy;

use crate::planning::{
    Assignment, Partial, PlannedOptions, Planner, Problem, Schedule, Taken, by_priority, planned,
    upward_ranks,
};
use crate::{Label, LabelError, PolicyInfo};

pub(crate) const INFO: PolicyInfo = PolicyInfo {
    name: "lookahead-heft",
    summary: "static: by upward rank, to the slot from which the successors finish earliest, with insertion",
    parameters: &PlannedOptions::PARAMETERS,
    make,
};

fn make(label: &Label) -> Result<Box<dyn Policy>, LabelError> {
    planned(INFO.name, "planned: earliest finish of the successors", Lookahead, label)
}

/// The planner.
#[derive(Clone, Copy, Debug, Default)]
pub struct Lookahead;

impl Planner for Lookahead {
    fn plan(&self, problem: &Problem) -> Schedule {
        let ranks = upward_ranks(problem);
        let mut trial = Trial::new(problem, &ranks);
        by_priority(
            problem,
            |task| ranks[task],
            |partial, task| {
                let chosen = trial.choose(partial, task)?;
                trial.assigned(task, chosen);
                Some(chosen)
            },
        )
    }
}

struct Trial<'a> {
    problem: &'a Problem,
    ranks: &'a [Span],
    timelines: crate::planning::Timelines,
    can_be_placed: Vec<bool>,
    /// By task and agent, when what the planned predecessors send is there.
    arrivals: Vec<Span>,
    taken: Vec<(usize, Taken)>,
    row: Vec<Span>,
}

impl<'a> Trial<'a> {
    fn new(problem: &'a Problem, ranks: &'a [Span]) -> Self {
        let partial = Partial::new(problem);
        Self {
            problem,
            ranks,
            timelines: crate::planning::Timelines::new(problem),
            can_be_placed: (0..problem.tasks()).map(|task| partial.can_be_placed(task)).collect(),
            arrivals: vec![Span::ZERO; problem.tasks() * problem.agents()],
            taken: Vec::new(),
            row: Vec::new(),
        }
    }

    fn choose(&mut self, partial: &Partial<'_>, task: usize) -> Option<Assignment> {
        let mut successors: Vec<(usize, u64)> = self
            .problem
            .successors(task)
            .iter()
            .filter(|edge| self.can_be_placed[edge.task])
            .map(|edge| (edge.task, edge.size_bytes))
            .collect();
        if successors.is_empty() {
            return partial.earliest_finish(task, true);
        }
        successors.sort_by_key(|(next, _)| (std::cmp::Reverse(self.ranks[*next]), *next));
        let mut best: Option<(Span, Assignment)> = None;
        for slot in self.problem.legal_slots(task) {
            let here = partial.on_slot(task, slot, true);
            let limit = best.map_or(Span(u64::MAX), |(latest, _)| latest);
            if let Some(latest) = self.latest_finish(task, here, &successors, limit) {
                best = Some((latest, here));
            }
            while let Some((slot, taken)) = self.taken.pop() {
                self.timelines.undo(slot, taken);
            }
        }
        best.map(|(_, here)| here)
    }

    /// The latest finish of the successors when a task is put somewhere; `None` when it is not below `limit`.
    fn latest_finish(
        &mut self,
        task: usize,
        here: Assignment,
        successors: &[(usize, u64)],
        limit: Span,
    ) -> Option<Span> {
        let (problem, agents) = (self.problem, self.problem.agents());
        self.take(here, problem.execution(task, here.slot));
        let mut latest = Span::ZERO;
        for (next, size_bytes) in successors.iter().copied() {
            self.row.clear();
            self.row.extend_from_slice(&self.arrivals[next * agents..(next + 1) * agents]);
            problem.raise_arrivals(&mut self.row, size_bytes, problem.agent_of(here.slot), here.finish);
            let mut first: Option<Assignment> = None;
            for slot in problem.legal_slots(next) {
                let execution = problem.execution(next, slot);
                let ready = self.row[problem.agent_of(slot)].max(problem.outside_ready(next, slot));
                if first.is_some_and(|first| ready + execution >= first.finish) {
                    continue;
                }
                let start = self.timelines.slot(slot).earliest_start(ready, execution);
                let finish = start + execution;
                if first.is_none_or(|first| finish < first.finish) {
                    first = Some(Assignment { slot, start, finish });
                }
            }
            let first = first?;
            latest = latest.max(first.finish);
            if latest >= limit {
                return None;
            }
            self.take(first, problem.execution(next, first.slot));
        }
        Some(latest)
    }

    fn take(&mut self, here: Assignment, execution: Span) {
        self.taken.push((here.slot, self.timelines.take(here.slot, here.start, execution)));
    }

    /// Takes over what was chosen.
    fn assigned(&mut self, task: usize, chosen: Assignment) {
        self.timelines.take(chosen.slot, chosen.start, self.problem.execution(task, chosen.slot));
        let agents = self.problem.agents();
        for edge in self.problem.successors(task) {
            let row = &mut self.arrivals[edge.task * agents..(edge.task + 1) * agents];
            let from = self.problem.agent_of(chosen.slot);
            self.problem.raise_arrivals(row, edge.size_bytes, from, chosen.finish);
        }
    }
}
