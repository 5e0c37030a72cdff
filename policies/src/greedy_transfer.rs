//! What `blevel-gt` and `tlevel-gt` share: the greedy schedulers with transfer costs of Estee (Beránek, Böhm and
//! Cima, *Analysis of workflow schedulers in simulated distributed environments*, The Journal of Supercomputing 78,
//! 2022; `estee/schedulers/queue.py`).
//!
//! Ready tasks are taken in the order of their level, then of their sequence (Estee: at random among equal levels).
//! Each goes, among the slots that are free, to the one to which the fewest bytes must be moved: inputs count that
//! are not there, are not being made there, and are not on their way there. Ties go to the slot that is free soonest,
//! then to the lower slot id (Estee: at random). A task whose slots are all taken waits, and those behind it that have
//! a free slot pass it.
//!
//! Levels are of durations alone, as in Estee: the mean over the devices that may run a task, where Estee has one
//! duration.
//!
//! What Estee leaves open, or has otherwise:
//!
//! - In Estee a slot is free when nothing is assigned to it, so that every task pays for a round trip. Here a slot is
//!   free as long as its queue ends within its horizon (`ahead`), and slots with fewer tasks in their queue come
//!   before all others, as if Estee were asked again when they had got one each.
//! - Estee counts a tenth of what is to be moved to a worker for another task that has not started; here that is on
//!   its way and costs nothing.
//! - Estee places tasks whose predecessors have finished; that is `ready=finished`.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use isochrone_model::Span;
use isochrone_sched_core::{Change, Plan, Policy, PolicyLabel, View};

use crate::accounts::SlotAccounts;
use crate::horizon::{Horizon, is_due};
use crate::inbox::{Held, Inbox, Ready};
use crate::legality::{LegalSets, SlotSet};
use crate::ranks::{bottom_levels, top_levels};
use crate::{Label, LabelError};

/// The parameters of both.
pub(crate) const PARAMETERS: [(&str, &str, &str); 3] = [Ready::PARAMETER, Horizon::AHEAD, Horizon::AHEAD_MIN];

/// By which level tasks are taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Level {
    /// The longest way to the end of the graph, longest first.
    Bottom,
    /// The longest way from its beginning, shortest first.
    Top,
}

/// The policy.
pub(crate) struct GreedyTransfer {
    name: &'static str,
    level: Level,
    horizon: Horizon,
    inbox: Inbox,
    levels: Vec<Span>,
    legal_sets: LegalSets,
    /// By set of legal slots.
    ready: Vec<BinaryHeap<Reverse<Entry>>>,
    legality_epoch: u64,
}

/// What comes first is smallest.
type Entry = (u64, Held);

impl GreedyTransfer {
    pub fn from_label(label: &Label, name: &'static str, level: Level) -> Result<Self, LabelError> {
        Ok(Self {
            name,
            level,
            horizon: Horizon::from_label(label)?,
            inbox: Inbox::new(Ready::from_label(label)?),
            levels: Vec::new(),
            legal_sets: LegalSets::default(),
            ready: Vec::new(),
            legality_epoch: 0,
        })
    }

    fn take_in(&mut self, view: &View<'_>) {
        let mut taken: Vec<Held> = Vec::new();
        if self.legality_epoch != view.legality_epoch() {
            self.legality_epoch = view.legality_epoch();
            taken.extend(self.ready.drain(..).flatten().map(|Reverse((_, held))| held));
            taken.retain(|held| held.is_placeable(view));
            self.legal_sets = LegalSets::default();
        }
        taken.extend(self.inbox.take(view));
        for held in taken {
            let level = self.levels.get(held.task.index()).copied().unwrap_or(Span::ZERO);
            let key = match self.level {
                Level::Bottom => u64::MAX - level.0,
                Level::Top => level.0,
            };
            let set = self.legal_sets.of(view, held.task);
            if self.ready.len() < self.legal_sets.len() {
                self.ready.resize_with(self.legal_sets.len(), BinaryHeap::new);
            }
            self.ready[set].push(Reverse((key, held)));
        }
    }

    /// The first task of those that may run on one of these slots, with the number of its set of legal slots.
    fn first(&mut self, view: &View<'_>, free: &SlotSet) -> Option<(usize, Held)> {
        let mut best: Option<(Entry, usize)> = None;
        for (set, heap) in self.ready.iter_mut().enumerate() {
            if !self.legal_sets.set(set).meets(free) {
                continue;
            }
            while heap.peek().is_some_and(|Reverse((_, held))| !held.is_placeable(view)) {
                heap.pop();
            }
            if let Some(Reverse(entry)) = heap.peek()
                && best.is_none_or(|(least, _)| *entry < least)
            {
                best = Some((*entry, set));
            }
        }
        let ((_, held), set) = best?;
        self.ready[set].pop();
        Some((set, held))
    }
}

impl Policy for GreedyTransfer {
    fn label(&self) -> PolicyLabel {
        format!("{}(ready={},{})", self.name, self.inbox.ready(), self.horizon.text())
    }

    fn remembers_tasks(&self) -> bool {
        true
    }

    fn observe(&mut self, change: &Change<'_>, view: &View<'_>) {
        self.inbox.observe(change, view);
        if let Change::Submitted { tasks } = change {
            match self.level {
                Level::Bottom => bottom_levels(view, tasks, &mut self.levels),
                Level::Top => top_levels(view, tasks, &mut self.levels),
            }
        }
    }

    fn place(&mut self, view: &View<'_>, plan: &mut Plan) {
        self.take_in(view);
        if self.ready.iter().all(BinaryHeap::is_empty) {
            return;
        }
        let mut accounts = SlotAccounts::new(view);
        let mut free = SlotSet::default();
        for slot in accounts.slots() {
            if is_due(view, plan, *slot, accounts.free_at(*slot), self.horizon.of_slot(view, *slot)) {
                free.insert(*slot);
            }
        }
        while !free.is_empty() {
            let Some((set, held)) = self.first(view, &free) else { break };
            let legal = self.legal_sets.set(set);
            let candidates = || {
                accounts.slots().iter().copied().filter(|slot| free.contains(*slot) && legal.contains(*slot))
            };
            let fewest = candidates().map(|slot| accounts.queued(slot)).min();
            let (mut last_agent, mut missing) = (None, 0);
            let chosen =
                candidates().filter(|slot| Some(accounts.queued(*slot)) == fewest).min_by_key(|slot| {
                    let agent = view.agent_of(view.device_of(*slot));
                    if last_agent != Some(agent) {
                        last_agent = Some(agent);
                        missing = view.missing_bytes(held.task, agent);
                    }
                    (missing, accounts.free_at(*slot), *slot)
                });
            let Some(slot) = chosen else { break };
            let weighed = view.weigh(held.task, slot, accounts.free_at(slot));
            accounts.give(slot, view.now() + weighed.finish);
            plan.place_weighed(held.task, slot, "fewest bytes to a free slot", vec![weighed]);
            if !is_due(view, plan, slot, accounts.free_at(slot), self.horizon.of_slot(view, slot)) {
                free.remove(slot);
            }
        }
    }
}
