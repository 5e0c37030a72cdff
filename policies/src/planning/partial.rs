//! A schedule while a planner builds it.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use isochrone_model::Span;

use super::problem::Problem;
use super::ranks::topological_order;
use super::schedule::{Assignment, Schedule};
use super::timeline::Timelines;

/// What is assigned so far. Tasks that cannot be placed, for want of a legal slot or behind one that has none, never
/// become ready.
pub(crate) struct Partial<'a> {
    pub problem: &'a Problem,
    pub schedule: Schedule,
    pub timelines: Timelines,
    /// By task, predecessors that are not assigned; `NEVER` for tasks that cannot be placed.
    waiting: Vec<u32>,
    /// By agent, for the task that was last looked at.
    arrivals: Vec<Span>,
}

const NEVER: u32 = u32::MAX;

impl<'a> Partial<'a> {
    pub fn new(problem: &'a Problem) -> Self {
        let mut waiting = vec![0; problem.tasks()];
        for task in topological_order(problem) {
            let predecessors = problem.predecessors(task);
            let is_stuck = problem.legal_slots(task).next().is_none()
                || predecessors.iter().any(|edge| waiting[edge.task] == NEVER);
            waiting[task] = if is_stuck { NEVER } else { predecessors.len() as u32 };
        }
        Self {
            problem,
            schedule: Schedule::new(problem.tasks()),
            timelines: Timelines::new(problem),
            waiting,
            arrivals: vec![Span::ZERO; problem.agents()],
        }
    }

    /// Whether a task will be placed at all.
    pub fn can_be_placed(&self, task: usize) -> bool {
        self.waiting[task] != NEVER
    }

    /// The tasks that wait for nothing, in order.
    pub fn entries(&self) -> Vec<usize> {
        (0..self.problem.tasks()).filter(|task| self.waiting[*task] == 0).collect()
    }

    /// Looks at a ready task: when what its predecessors send is at each agent.
    pub fn look_at(&mut self, task: usize) {
        self.arrivals.fill(Span::ZERO);
        for edge in self.problem.predecessors(task) {
            if let Some(first) = &self.schedule.assignments[edge.task] {
                let from = self.problem.agent_of(first.slot);
                self.problem.raise_arrivals(&mut self.arrivals, edge.size_bytes, from, first.finish);
            }
        }
    }

    /// When the task that was last looked at has all it needs on a slot, whether or not that is free.
    pub fn ready(&self, task: usize, slot: usize) -> Span {
        self.arrivals[self.problem.agent_of(slot)].max(self.problem.outside_ready(task, slot))
    }

    /// When the task that was last looked at could run on a slot.
    pub fn on_slot(&self, task: usize, slot: usize, does_insert: bool) -> Assignment {
        let (ready, execution) = (self.ready(task, slot), self.problem.execution(task, slot));
        let timeline = self.timelines.slot(slot);
        let start = if does_insert {
            timeline.earliest_start(ready, execution)
        } else {
            timeline.start_at_end(ready)
        };
        Assignment { slot, start, finish: start + execution }
    }

    /// Where the task that was last looked at ends first; ties: the lowest slot.
    pub fn earliest_finish(&self, task: usize, does_insert: bool) -> Option<Assignment> {
        let mut best: Option<Assignment> = None;
        for (slot, execution) in self.problem.executions(task).iter().enumerate() {
            if *execution == Problem::ILLEGAL
                || best.is_some_and(|best| self.ready(task, slot) + *execution >= best.finish)
            {
                continue;
            }
            let here = self.on_slot(task, slot, does_insert);
            if best.is_none_or(|best| here.finish < best.finish) {
                best = Some(here);
            }
        }
        best
    }

    /// Where the task that was last looked at starts first; ties: the lowest slot.
    pub fn earliest_start(&self, task: usize, does_insert: bool) -> Option<Assignment> {
        let slots = self.problem.legal_slots(task);
        slots.map(|slot| self.on_slot(task, slot, does_insert)).min_by_key(|here| (here.start, here.slot))
    }

    /// Assigns a ready task and gives `then` each task that thereby became ready.
    pub fn assign(&mut self, task: usize, assignment: Assignment, mut then: impl FnMut(usize)) {
        let execution = self.problem.execution(task, assignment.slot);
        self.timelines.take(assignment.slot, assignment.start, execution);
        self.schedule.assignments[task] = Some(assignment);
        for edge in self.problem.successors(task) {
            let waiting = &mut self.waiting[edge.task];
            if *waiting != NEVER {
                *waiting -= 1;
                if *waiting == 0 {
                    then(edge.task);
                }
            }
        }
    }

    /// When the last task on a slot ends.
    pub fn slot_end(&self, slot: usize) -> Span {
        self.timelines.slot(slot).end()
    }
}

/// Takes ready tasks by falling priority, of equal ones the smallest index, and puts each where `choose` says.
pub(crate) fn by_priority<K: Ord>(
    problem: &Problem,
    priority: impl Fn(usize) -> K,
    mut choose: impl FnMut(&Partial<'_>, usize) -> Option<Assignment>,
) -> Schedule {
    let mut partial = Partial::new(problem);
    let mut ready: BinaryHeap<(K, Reverse<usize>)> =
        partial.entries().into_iter().map(|task| (priority(task), Reverse(task))).collect();
    while let Some((_, Reverse(task))) = ready.pop() {
        partial.look_at(task);
        if let Some(assignment) = choose(&partial, task) {
            partial.assign(task, assignment, |next| ready.push((priority(next), Reverse(next))));
        }
    }
    partial.schedule
}
