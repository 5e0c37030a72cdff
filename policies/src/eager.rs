//! `eager`: to the slot with the fewest tasks.
//!
//! The least informed of the dynamic policies: it knows neither durations nor transfers, only how many
//! tasks each slot has been given and not finished. Ties go to the lower slot id.
//!
//! By default every task is placed as soon as those before it are. With `queue`, a slot is given no more tasks than that, and
//! the others wait in the order in which they became placeable, as for the central queue of StarPU's policy of this name;
//! one whose slots are all full does not keep those behind it from theirs. Then neither agents nor the scheduler hold
//! orders for the whole of a large graph, and what is waiting can still go elsewhere when an agent joins or leaves.

use std::cmp::Reverse;
use std::collections::binary_heap::PeekMut;
use std::collections::{BinaryHeap, VecDeque};

use isochrone_model::SlotId;
use isochrone_sched_core::{Plan, Policy, PolicyLabel, TaskIndex, View};

use crate::inbox::Held;
use crate::legality::{LegalSets, SlotSet};
use crate::{Label, LabelError, PolicyInfo};

pub(crate) const INFO: PolicyInfo = PolicyInfo {
    name: "eager",
    summary: "to the slot with the fewest tasks; knows neither durations nor transfers",
    parameters: &[("queue", "0", "how many tasks a slot is given at most; 0 for any number")],
    make,
};

const REASON: &str = "fewest tasks in its queue";

fn make(label: &Label) -> Result<Box<dyn Policy>, LabelError> {
    match label.get("queue", 0, "a whole number from 0")? {
        0 => Ok(Box::new(Eager::default())),
        queue_max => Ok(Box::new(Bounded { queue_max, ..Bounded::default() })),
    }
}

/// Slots by how many tasks they have.
#[derive(Clone, Debug, Default)]
struct Shortest {
    slots: BinaryHeap<Reverse<(u32, SlotId)>>,
    /// Slots that cannot run the task at hand and have fewer tasks than those that can.
    passed_over: Vec<Reverse<(u32, SlotId)>>,
}

impl Shortest {
    /// Gives a task to the legal slot with the fewest; one that then has `queue_max` is given no more. Whether that is so.
    fn give(&mut self, queue_max: u32, is_legal: impl Fn(SlotId) -> bool) -> Option<(SlotId, bool)> {
        let mut given = None;
        while let Some(mut first) = self.slots.peek_mut() {
            let Reverse((queued, slot)) = *first;
            if is_legal(slot) {
                let queued = queued.saturating_add(1);
                *first = Reverse((queued, slot));
                if queued >= queue_max {
                    PeekMut::pop(first);
                }
                given = Some((slot, queued >= queue_max));
                break;
            }
            self.passed_over.push(PeekMut::pop(first));
        }
        self.slots.extend(self.passed_over.drain(..));
        given
    }
}

/// So many tasks are proposed at one time at most: what a proposal and its order take is then not there for all tasks of a large
/// graph at once. The policy is asked again as long as it has placed any.
const PROPOSALS_MAX: usize = 4_096;

/// The policy without a bound.
#[derive(Clone, Debug, Default)]
pub struct Eager {
    shortest: Shortest,
    /// In the order in which they became placeable.
    waiting: VecDeque<Held>,
    /// Of those that were looked at, the ones that no slot could run.
    nowhere: Vec<Held>,
    legality_epoch: u64,
}

impl Policy for Eager {
    fn label(&self) -> PolicyLabel {
        INFO.name.to_owned()
    }

    fn remembers_tasks(&self) -> bool {
        true
    }

    fn place(&mut self, view: &View<'_>, plan: &mut Plan) {
        if self.legality_epoch != view.legality_epoch() {
            self.legality_epoch = view.legality_epoch();
            for held in self.nowhere.drain(..).rev() {
                self.waiting.push_front(held);
            }
        }
        self.waiting.extend(view.newly_placeable().iter().map(|task| Held::new(view, *task)));
        self.shortest.slots.clear();
        self.shortest.slots.extend(view.slots().map(|slot| Reverse((view.slot_queue(slot), slot))));
        let mut proposed = 0;
        while proposed < PROPOSALS_MAX {
            let Some(held) = self.waiting.pop_front() else { break };
            if !held.is_placeable(view) {
                continue;
            }
            match self.shortest.give(u32::MAX, |slot| view.is_legal(held.task, slot)) {
                Some((slot, _)) => {
                    plan.place(held.task, slot, REASON);
                    proposed += 1;
                }
                None => self.nowhere.push(held),
            }
        }
        if self.waiting.is_empty() {
            self.waiting.shrink_to(PROPOSALS_MAX);
        }
    }
}

/// The policy with a bound.
#[derive(Clone, Debug, Default)]
struct Bounded {
    queue_max: u32,
    shortest: Shortest,
    /// Slots that may be given more.
    free: SlotSet,
    legal_sets: LegalSets,
    /// By set of legal slots, tasks in the order in which they became placeable, which the number tells.
    waiting: Vec<VecDeque<(u64, Held)>>,
    arrivals: u64,
    legality_epoch: u64,
}

impl Bounded {
    fn take_in(&mut self, view: &View<'_>) {
        if self.legality_epoch != view.legality_epoch() {
            self.legality_epoch = view.legality_epoch();
            self.legal_sets = LegalSets::default();
            let mut known: Vec<(u64, Held)> = self.waiting.drain(..).flatten().collect();
            known.sort_unstable();
            known.retain(|(_, held)| held.is_placeable(view));
            for (arrival, held) in known {
                self.wait(view, arrival, held);
            }
        }
        for task in view.newly_placeable() {
            self.arrivals += 1;
            self.wait(view, self.arrivals, Held::new(view, *task));
        }
    }

    fn wait(&mut self, view: &View<'_>, arrival: u64, held: Held) {
        let set = self.legal_sets.of(view, held.task);
        if self.waiting.len() <= set {
            self.waiting.resize_with(set + 1, VecDeque::new);
        }
        self.waiting[set].push_back((arrival, held));
    }

    fn find_free(&mut self, view: &View<'_>) {
        self.shortest.slots.clear();
        self.free.clear();
        for slot in view.slots() {
            let queued = view.slot_queue(slot);
            if queued < self.queue_max {
                self.shortest.slots.push(Reverse((queued, slot)));
                self.free.insert(slot);
            }
        }
    }

    /// The first task that may run on a slot which may be given more, with the number of its set of slots.
    fn first(&mut self, view: &View<'_>) -> Option<(usize, TaskIndex)> {
        let mut first: Option<(u64, usize, TaskIndex)> = None;
        for (set, waiting) in self.waiting.iter_mut().enumerate() {
            if !self.legal_sets.set(set).meets(&self.free) {
                continue;
            }
            while waiting.front().is_some_and(|(_, held)| !held.is_placeable(view)) {
                waiting.pop_front();
            }
            if let Some((arrival, held)) = waiting.front()
                && first.is_none_or(|(least, _, _)| *arrival < least)
            {
                first = Some((*arrival, set, held.task));
            }
        }
        let (_, set, task) = first?;
        self.waiting[set].pop_front();
        Some((set, task))
    }
}

impl Policy for Bounded {
    fn label(&self) -> PolicyLabel {
        format!("{}(queue={})", INFO.name, self.queue_max)
    }

    fn remembers_tasks(&self) -> bool {
        true
    }

    fn place(&mut self, view: &View<'_>, plan: &mut Plan) {
        self.take_in(view);
        if self.waiting.iter().all(VecDeque::is_empty) {
            return;
        }
        self.find_free(view);
        while !self.free.is_empty() {
            let Some((set, task)) = self.first(view) else { break };
            let legal = self.legal_sets.set(set);
            let given = self.shortest.give(self.queue_max, |slot| legal.contains(slot));
            let Some((slot, is_full)) = given else { break };
            plan.place(task, slot, REASON);
            if is_full {
                self.free.remove(slot);
            }
        }
    }
}
