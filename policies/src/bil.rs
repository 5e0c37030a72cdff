//! `bil`: Best Imaginary Level (Oh and Ha, "A static scheduling heuristic for heterogeneous processors", Euro-Par 1996).
//!
//! The best imaginary level of a task on a slot is its time there and the longest way behind, each successor being
//! on the same slot or, communication counted, on the best other one. Start on the slot plus level is the basic
//! imaginary makespan. With k ready tasks, the one whose k-th smallest imaginary makespan is largest comes next; if it
//! has fewer, its largest counts. It goes to the slot with the smallest revised makespan: the basic one plus its
//! time there times the excess of k over the slots, as a fraction of the slots, when k is larger.
//!
//! Ties: the task with the smallest index (the paper goes on to the next smaller makespan); the lowest slot (the paper
//! prefers the slot that hurts the others most). Chosen here: communication in levels is the mean, and nothing where
//! it stays on an agent; starts are behind all that is planned on the slot (no insertion).
//!
//! With at most as many ready tasks as slots a step looks at all of their pairs, which is the definition's own cost;
//! with more the largest makespan decides, and what a placement changes is kept per slot.

use isochrone_model::Span;
use isochrone_sched_core::Policy;

use crate::planning::{
    LatestPair, Partial, PlannedOptions, Planner, Problem, Schedule, optimistic_costs, planned,
};
use crate::{Label, LabelError, PolicyInfo};

pub(crate) const INFO: PolicyInfo = PolicyInfo {
    name: "bil",
    summary: "static: by best imaginary makespan of the ready tasks, to the slot where it is smallest",
    parameters: &PlannedOptions::PARAMETERS,
    make,
};

fn make(label: &Label) -> Result<Box<dyn Policy>, LabelError> {
    planned(INFO.name, "planned: best imaginary makespan", Bil, label)
}

/// The planner.
#[derive(Clone, Copy, Debug, Default)]
pub struct Bil;

impl Planner for Bil {
    fn plan(&self, problem: &Problem) -> Schedule {
        let mut partial = Partial::new(problem);
        let behind = optimistic_costs(problem);
        let agents = problem.agents();
        let level = |task: usize, slot: usize| {
            problem.execution(task, slot) + behind[task * agents + problem.agent_of(slot)]
        };
        let mut ready = Ready::new(problem);
        let mut arrived = partial.entries();
        loop {
            for task in arrived.drain(..) {
                partial.look_at(task);
                ready.add(&partial, task, level);
            }
            let Some(task) = ready.first(&partial, level) else { break };
            let (count, slots) = (ready.open.len() as u64, problem.slots() as u64);
            partial.look_at(task);
            let chosen =
                problem.legal_slots(task).map(|slot| partial.on_slot(task, slot, false)).min_by_key(|here| {
                    let crowding = u128::from(problem.execution(task, here.slot).0)
                        * u128::from(count.saturating_sub(slots))
                        / u128::from(slots);
                    let makespan = u128::from((here.start + level(task, here.slot)).0);
                    (makespan + crowding, here.slot)
                });
            let Some(chosen) = chosen else { break };
            partial.assign(task, chosen, |next| arrived.push(next));
            ready.take(task, chosen.slot, chosen.finish);
        }
        partial.schedule
    }
}

/// The ready tasks, each with when its inputs are at each agent.
struct Ready {
    pairs: LatestPair,
    open: Vec<usize>,
    /// By task, its place in `open`.
    places: Vec<usize>,
    /// By place in `open` and slot.
    inputs: Vec<Span>,
    slots: usize,
}

impl Ready {
    fn new(problem: &Problem) -> Self {
        let ends = (0..problem.slots()).map(|slot| problem.slot_free(slot));
        Self {
            pairs: LatestPair::new(ends, problem.tasks()),
            open: Vec::new(),
            places: vec![0; problem.tasks()],
            inputs: Vec::new(),
            slots: problem.slots(),
        }
    }

    fn add(&mut self, partial: &Partial<'_>, task: usize, level: impl Fn(usize, usize) -> Span) {
        self.places[task] = self.open.len();
        self.open.push(task);
        for slot in 0..self.slots {
            let inputs = partial.ready(task, slot);
            self.inputs.push(inputs);
            if partial.problem.is_legal(task, slot) {
                self.pairs.add(task, slot, inputs, level(task, slot));
            }
        }
    }

    /// The task that comes next.
    fn first(&mut self, partial: &Partial<'_>, level: impl Fn(usize, usize) -> Span) -> Option<usize> {
        let count = self.open.len();
        if count >= self.slots {
            return self.pairs.latest().map(|(_, task, _)| task);
        }
        let mut makespans = Vec::with_capacity(self.slots);
        let mut best: Option<(Span, std::cmp::Reverse<usize>)> = None;
        for (place, task) in self.open.iter().copied().enumerate() {
            makespans.clear();
            makespans.extend(partial.problem.legal_slots(task).map(|slot| {
                self.inputs[place * self.slots + slot].max(partial.slot_end(slot)) + level(task, slot)
            }));
            let rank = count.min(makespans.len()) - 1;
            let (_, counts, _) = makespans.select_nth_unstable(rank);
            best = best.max(Some((*counts, std::cmp::Reverse(task))));
        }
        best.map(|(_, std::cmp::Reverse(task))| task)
    }

    fn take(&mut self, task: usize, slot: usize, end: Span) {
        self.pairs.take(task, slot, end);
        let place = self.places[task];
        self.open.swap_remove(place);
        let last = self.open.len() * self.slots;
        self.inputs.copy_within(last..last + self.slots, place * self.slots);
        self.inputs.truncate(last);
        if let Some(moved) = self.open.get(place) {
            self.places[*moved] = place;
        }
    }
}
