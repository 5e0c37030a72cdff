//! `hbmct`: Hybrid Balanced Minimum Completion Time (Sakellariou and Zhao, "A hybrid heuristic for DAG scheduling on
//! heterogeneous systems", HCW 2004).
//!
//! Tasks in order of falling upward rank are cut into groups of independent ones: a group ends before the first task
//! that follows one of it. Group by group, each task first goes to the slot where it takes least; then, while that
//! makes the slot that ends last end earlier or lose a task, one of that slot's tasks moves to another slot where
//! everything ends earlier than that.
//!
//! Ties: the smallest index in the group's order; the lowest slot. Chosen here: on a slot a group's tasks run in order
//! of the arrival of their inputs, behind earlier groups (no insertion). Of the tasks of the slot that ends last two are
//! considered for each other slot, the one that takes least there and the last in line, and the move that ends
//! first is made if it ends before the slot that ends last does; the paper tries more, which would take time quadratic
//! in a group. For the same reason a group has at most 8,192 tasks, and one of n tasks makes at most 4 n moves.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use isochrone_model::Span;
use isochrone_sched_core::Policy;

use crate::planning::{
    Assignment, Partial, PlannedOptions, Planner, Problem, Schedule, planned, upward_ranks,
};
use crate::{Label, LabelError, PolicyInfo};

pub(crate) const INFO: PolicyInfo = PolicyInfo {
    name: "hbmct",
    summary: "static: groups of independent tasks by upward rank, each balanced from the fastest slots",
    parameters: &PlannedOptions::PARAMETERS,
    make,
};

fn make(label: &Label) -> Result<Box<dyn Policy>, LabelError> {
    planned(INFO.name, "planned: balanced in its group", Hbmct, label)
}

/// The planner.
#[derive(Clone, Copy, Debug, Default)]
pub struct Hbmct;

/// Tasks of a group: moving one takes time in proportion to them, if little.
const GROUP_MAX: usize = 8_192;

impl Planner for Hbmct {
    fn plan(&self, problem: &Problem) -> Schedule {
        let ranks = upward_ranks(problem);
        let mut partial = Partial::new(problem);
        let mut group_of = vec![0_usize; problem.tasks()];
        let mut group: Vec<usize> = Vec::new();
        let mut number = 1;
        let mut waiting: Vec<usize> =
            (0..problem.tasks()).map(|task| problem.predecessors(task).len()).collect();
        let mut ready: BinaryHeap<(Span, Reverse<usize>)> =
            partial.entries().into_iter().map(|task| (ranks[task], Reverse(task))).collect();
        while let Some((_, Reverse(task))) = ready.pop() {
            let follows = problem.predecessors(task).iter().any(|edge| group_of[edge.task] == number);
            if follows || group.len() == GROUP_MAX {
                Group::new(&mut partial, &group).balance().assign(&mut partial);
                group.clear();
                number += 1;
            }
            group_of[task] = number;
            group.push(task);
            for edge in problem.successors(task) {
                waiting[edge.task] -= 1;
                if waiting[edge.task] == 0 && partial.can_be_placed(edge.task) {
                    ready.push((ranks[edge.task], Reverse(edge.task)));
                }
            }
        }
        Group::new(&mut partial, &group).balance().assign(&mut partial);
        partial.schedule
    }
}

/// Tasks of a slot, the one that takes least on another slot first.
type ByExecution = BinaryHeap<Reverse<(Span, u32)>>;

/// A group while it is balanced; tasks go by their place in it.
struct Group<'a, 'g> {
    problem: &'a Problem,
    tasks: &'g [usize],
    /// By place and slot, when the inputs are there.
    ready: Vec<Span>,
    slot_of: Vec<usize>,
    lines: Vec<Line>,
    /// By slot, then by other slot, the tasks by what they take there; some have left.
    by_execution: Vec<Vec<ByExecution>>,
}

impl<'a, 'g> Group<'a, 'g> {
    /// Each task on the slot where it takes least.
    fn new(partial: &mut Partial<'a>, tasks: &'g [usize]) -> Self {
        let problem = partial.problem;
        let slots = problem.slots();
        let mut ready = Vec::with_capacity(tasks.len() * slots);
        for task in tasks {
            partial.look_at(*task);
            ready.extend((0..slots).map(|slot| partial.ready(*task, slot)));
        }
        let fastest = |task: &usize| {
            let slots = problem.legal_slots(*task);
            slots.min_by_key(|slot| (problem.execution(*task, *slot), *slot)).unwrap_or(0)
        };
        let mut group = Self {
            problem,
            tasks,
            ready,
            slot_of: tasks.iter().map(fastest).collect(),
            lines: (0..slots).map(|slot| Line::new(partial.slot_end(slot))).collect(),
            by_execution: vec![Vec::new(); slots],
        };
        for place in 0..tasks.len() {
            let slot = group.slot_of[place];
            let (step, execution) = group.step(place, slot);
            group.lines[slot].insert(step, execution);
        }
        group
    }

    fn step(&self, place: usize, slot: usize) -> ((Span, u32), Span) {
        let ready = self.ready[place * self.problem.slots() + slot];
        ((ready, place as u32), self.problem.execution(self.tasks[place], slot))
    }

    fn balance(mut self) -> Self {
        for _ in 0..4 * self.tasks.len() {
            let last = (0..self.lines.len())
                .filter(|slot| !self.lines[*slot].is_empty())
                .max_by_key(|slot| (self.lines[*slot].end(), Reverse(*slot)));
            let Some(from) = last else { break };
            let end = self.lines[from].end();
            let mut best: Option<(Span, usize, usize)> = None;
            for to in (0..self.lines.len()).filter(|to| *to != from) {
                for place in self.candidates(from, to).into_iter().flatten() {
                    if !self.problem.is_legal(self.tasks[place], to) {
                        continue;
                    }
                    let (step, execution) = self.step(place, to);
                    let move_end = self.lines[to].end_with(step, execution);
                    if move_end < end && best.is_none_or(|best| (move_end, to, place) < best) {
                        best = Some((move_end, to, place));
                    }
                }
            }
            let Some((_, to, place)) = best else { break };
            self.shift(place, from, to);
        }
        self
    }

    /// The task of a slot that takes least on another, and the last of the slot's.
    fn candidates(&mut self, from: usize, to: usize) -> [Option<usize>; 2] {
        let slots = self.problem.slots();
        if self.by_execution[from].is_empty() {
            self.by_execution[from] = vec![BinaryHeap::new(); slots];
            for place in (0..self.tasks.len()).filter(|place| self.slot_of[*place] == from) {
                offer(&mut self.by_execution[from], self.problem, self.tasks[place], place);
            }
        }
        let heap = &mut self.by_execution[from][to];
        while heap.peek().is_some_and(|Reverse((_, place))| self.slot_of[*place as usize] != from) {
            heap.pop();
        }
        let least = heap.peek().map(|Reverse((_, place))| *place as usize);
        [least, self.lines[from].last()]
    }

    fn shift(&mut self, place: usize, from: usize, to: usize) {
        let (step, _) = self.step(place, from);
        self.lines[from].remove(step);
        let (step, execution) = self.step(place, to);
        self.lines[to].insert(step, execution);
        self.slot_of[place] = to;
        if !self.by_execution[to].is_empty() {
            offer(&mut self.by_execution[to], self.problem, self.tasks[place], place);
        }
    }

    fn assign(self, partial: &mut Partial<'_>) {
        for (slot, line) in self.lines.iter().enumerate() {
            for (ready, place) in line.steps() {
                let task = self.tasks[place as usize];
                let start = partial.timelines.slot(slot).start_at_end(ready);
                let finish = start + self.problem.execution(task, slot);
                partial.assign(task, Assignment { slot, start, finish }, |_| {});
            }
        }
    }
}

fn offer(heaps: &mut [ByExecution], problem: &Problem, task: usize, place: usize) {
    for slot in problem.legal_slots(task) {
        heaps[slot].push(Reverse((problem.execution(task, slot), place as u32)));
    }
}

/// What a group puts on one slot, in order of arrival, in blocks that know what they do to the end of what is before
/// them: `end` becomes the larger of `end + takes` and `latest`.
struct Line {
    from: Span,
    blocks: Vec<Block>,
    end: Span,
}

struct Block {
    steps: Vec<((Span, u32), Span)>,
    takes: Span,
    latest: Span,
}

/// Steps a block may hold before it is cut in two.
const BLOCK: usize = 128;

impl Line {
    fn new(from: Span) -> Self {
        Self { from, blocks: Vec::new(), end: from }
    }

    fn is_empty(&self) -> bool {
        self.blocks.is_empty()
    }

    fn end(&self) -> Span {
        self.end
    }

    fn last(&self) -> Option<usize> {
        Some(self.blocks.last()?.steps.last()?.0.1 as usize)
    }

    fn steps(&self) -> impl Iterator<Item = (Span, u32)> + '_ {
        self.blocks.iter().flat_map(|block| block.steps.iter().map(|(step, _)| *step))
    }

    fn block_for(&self, step: (Span, u32)) -> usize {
        let place = self.blocks.partition_point(|block| block.steps.last().is_some_and(|last| last.0 < step));
        place.min(self.blocks.len().saturating_sub(1))
    }

    /// The end if a step were added.
    fn end_with(&self, step: (Span, u32), execution: Span) -> Span {
        let run = |end: Span, step: (Span, u32), execution: Span| end.max(step.0) + execution;
        let mut end = self.from;
        if self.blocks.is_empty() {
            return run(end, step, execution);
        }
        let within = self.block_for(step);
        for (place, block) in self.blocks.iter().enumerate() {
            if place != within {
                end = (end + block.takes).max(block.latest);
                continue;
            }
            let cut = block.steps.partition_point(|other| other.0 < step);
            for (other, takes) in &block.steps[..cut] {
                end = run(end, *other, *takes);
            }
            end = run(end, step, execution);
            for (other, takes) in &block.steps[cut..] {
                end = run(end, *other, *takes);
            }
        }
        end
    }

    fn insert(&mut self, step: (Span, u32), execution: Span) {
        if self.blocks.is_empty() {
            self.blocks.push(Block { steps: Vec::new(), takes: Span::ZERO, latest: Span::ZERO });
        }
        let place = self.block_for(step);
        let block = &mut self.blocks[place];
        let cut = block.steps.partition_point(|other| other.0 < step);
        block.steps.insert(cut, (step, execution));
        if block.steps.len() > BLOCK {
            let steps = block.steps.split_off(BLOCK / 2);
            block.refresh();
            let mut rest = Block { steps, takes: Span::ZERO, latest: Span::ZERO };
            rest.refresh();
            self.blocks.insert(place + 1, rest);
        } else {
            block.refresh();
        }
        self.refresh();
    }

    fn remove(&mut self, step: (Span, u32)) {
        let place = self.block_for(step);
        let block = &mut self.blocks[place];
        block.steps.retain(|other| other.0 != step);
        if block.steps.is_empty() {
            self.blocks.remove(place);
        } else {
            block.refresh();
        }
        self.refresh();
    }

    fn refresh(&mut self) {
        let after = |end: Span, block: &Block| (end + block.takes).max(block.latest);
        self.end = self.blocks.iter().fold(self.from, after);
    }
}

impl Block {
    fn refresh(&mut self) {
        (self.takes, self.latest) = (Span::ZERO, Span::ZERO);
        for ((ready, _), execution) in &self.steps {
            self.takes += *execution;
            self.latest = self.latest.max(*ready) + *execution;
        }
    }
}
