//! `work-stealing`: Dask's (`dask/distributed`, `scheduler.py: decide_worker, worker_objective`, `stealing.py`).
//!
//! **Placing.** A task goes to the slot where it would start first: the least `occupancy + transfer`, where the occupancy
//! of a slot is all that it has been given and not finished, transfers included. Only slots of agents that hold some of
//! the task's inputs, or will, are considered; all slots if there are none. Ties go to the lower slot id (Dask: the worker
//! that stores fewer bytes).
//!
//! **Stealing.** Whenever a slot is idle, tasks are moved to it from the most occupied ones, those first whose transfer
//! is smallest beside their execution: tasks are kept by the level `round(log2(transfer / execution)) + 6`, from 1 to 14,
//! 0 without inputs; beyond they are never stolen. A task is moved if the thief would have ended it before the victim
//! were half through with it:
//!
//! `occupancy(thief) + transfer(thief) + execution <= occupancy(victim) - (transfer(victim) + execution) / 2`
//!
//! The thief is the idle slot where the task would start first. It stays one until it is no longer idle.
//!
//! What Dask leaves open, or has otherwise:
//!
//! - Dask steals from its workers' own queues, and asks them whether the task has begun. Here a task is stolen only
//!   before it is ordered to an agent: queues are kept in the policy, and tasks ordered only so far ahead as latency
//!   asks for (`ahead`) and as moving their inputs takes.
//! - Dask balances every 100 ms and calls a worker idle that has no more tasks than threads, or less than half of the
//!   mean occupancy. Here the balance is struck whenever the policy is asked, and a slot is idle when what it has been
//!   given ends within its horizon (it would run dry before word of that came), or is less than half of the mean.
//! - Dask's constants for latency and bandwidth, and its threshold of 0.2 s for victims, have no place here: transfers
//!   are what the view expects, link queues and the wait for producers included.
//! - Dask goes through all tasks of a level in no order. Here they are taken from the tail, the last one pushed first,
//!   and at most `LOOKS_MAX` of a victim and level are tried, so that a balance that moves nothing costs little.
//! - A worker is a slot; root tasks are pushed like any other (Dask without queuing).

use std::collections::{BTreeMap, BTreeSet};

use isochrone_model::{SlotId, Span};
use isochrone_sched_core::{Change, Plan, Policy, PolicyLabel, View};

use crate::accounts::SlotAccounts;
use crate::horizon::{Horizon, is_due};
use crate::inbox::{Held, Inbox, Ready};
use crate::slot_costs::{SlotCost, slot_costs};
use crate::{Label, LabelError, PolicyInfo};

pub(crate) const INFO: PolicyInfo = PolicyInfo {
    name: "work-stealing",
    summary: "Dask's: to the earliest start near the inputs, then from long queues to idle slots by cost ratio",
    parameters: &[Ready::PARAMETER, Horizon::AHEAD, Horizon::AHEAD_MIN],
    make,
};

/// Levels of the ratio of transfer to execution, as in Dask: up to 2^8.
const LEVELS: usize = 15;
/// Victims that are tried in one balance, as in Dask.
const VICTIMS_MAX: usize = 10;
/// Tasks of one victim and level that are tried in vain before the next victim's turn.
const LOOKS_MAX: usize = 4;

fn make(label: &Label) -> Result<Box<dyn Policy>, LabelError> {
    let (ready, horizon) = (Ready::from_label(label)?, Horizon::from_label(label)?);
    Ok(Box::new(WorkStealing {
        horizon,
        inbox: Inbox::new(ready),
        queues: Vec::new(),
        pushed: 0,
        nowhere: Vec::new(),
        legality_epoch: 0,
        costs: Vec::new(),
    }))
}

struct WorkStealing {
    horizon: Horizon,
    inbox: Inbox,
    /// By slot.
    queues: Vec<Queue>,
    pushed: u64,
    /// Tasks that no slot can run.
    nowhere: Vec<Held>,
    legality_epoch: u64,
    costs: Vec<SlotCost>,
}

#[derive(Default)]
struct Queue {
    /// By arrival.
    tasks: BTreeMap<u64, Queued>,
    /// By level, which of them may be stolen.
    stealable: [BTreeSet<u64>; LEVELS],
    /// What they take together, transfers included.
    length: Span,
}

#[derive(Clone, Copy)]
struct Queued {
    held: Held,
    transfer: Span,
    execution: Span,
    level: Option<usize>,
}

impl Queue {
    fn insert(&mut self, place: u64, queued: Queued) {
        self.length += queued.transfer + queued.execution;
        if let Some(level) = queued.level {
            self.stealable[level].insert(place);
        }
        self.tasks.insert(place, queued);
    }

    fn remove(&mut self, place: u64) -> Option<Queued> {
        let queued = self.tasks.remove(&place)?;
        self.length = self.length.saturating_sub(queued.transfer + queued.execution);
        if let Some(level) = queued.level {
            self.stealable[level].remove(&place);
        }
        Some(queued)
    }
}

/// Where a task is kept for stealing: by what moving its inputs costs beside its execution. The logarithm is that
/// of the integer ratio, rounded to the nearest by comparing squares.
fn level_of(moving: Span, execution: Span, has_inputs: bool) -> Option<usize> {
    if !has_inputs {
        return Some(0);
    }
    let (moving, execution) = (u128::from(moving.0), u128::from(execution.0.max(1)));
    // log2(ratio) < power + 1/2, with both sides squared.
    let is_below = |power: i32| {
        let exponent = 2 * power + 1;
        let (left, right) = (moving * moving, execution * execution);
        if exponent >= 0 {
            left >> exponent < right
        } else {
            left.leading_zeros() as i32 >= -exponent && left << -exponent < right
        }
    };
    (1..LEVELS).find(|level| is_below(*level as i32 - 6))
}

impl WorkStealing {
    fn occupancy(&self, view: &View<'_>, accounts: &SlotAccounts, slot: SlotId) -> Span {
        accounts.free_at(slot).since(view.now()) + self.queues[slot.index()].length
    }

    /// Takes out of the queues what lies on slots that are gone, and what had no slot.
    fn displaced(&mut self, view: &View<'_>) -> Vec<Held> {
        if self.legality_epoch == view.legality_epoch() {
            return Vec::new();
        }
        self.legality_epoch = view.legality_epoch();
        let mut displaced = std::mem::take(&mut self.nowhere);
        let present: Vec<SlotId> = view.slots().collect();
        for (place, queue) in self.queues.iter_mut().enumerate() {
            if present.binary_search(&SlotId::from_index(place)).is_err() {
                displaced.extend(std::mem::take(queue).tasks.into_values().map(|queued| queued.held));
            }
        }
        displaced.retain(|held| held.is_placeable(view));
        displaced.sort_unstable();
        displaced
    }

    /// Dask's `decide_worker`.
    fn push(&mut self, view: &View<'_>, accounts: &SlotAccounts, held: Held) {
        slot_costs(view, held.task, &mut self.costs);
        let inputs = || view.inputs(held.task).filter(|input| !input.is_zero && input.size_bytes > 0);
        let total: u64 = inputs().map(|input| input.size_bytes).sum();
        let holds_some = |slot: SlotId| {
            let agent = view.agent_of(view.device_of(slot));
            view.missing_bytes(held.task, agent) < total
        };
        let is_somewhere = total > 0 && self.costs.iter().any(|cost| holds_some(cost.slot));
        let chosen = self
            .costs
            .iter()
            .filter(|cost| !is_somewhere || holds_some(cost.slot))
            .min_by_key(|cost| (self.occupancy(view, accounts, cost.slot) + cost.transfer, cost.slot));
        let Some(cost) = chosen.copied() else {
            self.nowhere.push(held);
            return;
        };
        // What moving would cost: to the slot where it costs most.
        let moving = self.costs.iter().map(|cost| cost.transfer).max().unwrap_or(Span::ZERO);
        let level = level_of(moving, cost.execution, total > 0);
        let SlotCost { slot, transfer, execution, .. } = cost;
        self.pushed += 1;
        self.queues[slot.index()].insert(self.pushed, Queued { held, transfer, execution, level });
    }

    /// Dask's `balance`.
    fn balance(&mut self, view: &View<'_>, accounts: &SlotAccounts) {
        let slots = accounts.slots();
        if slots.is_empty() || self.queues.iter().all(|queue| queue.tasks.is_empty()) {
            return;
        }
        let occupancies = slots.iter().map(|slot| self.occupancy(view, accounts, *slot));
        let total: u128 = occupancies.map(|occupancy| u128::from(occupancy.0)).sum();
        let half_of_mean = Span(u64::try_from(total / (2 * slots.len() as u128)).unwrap_or(u64::MAX));
        let idle_below = |slot: SlotId| self.horizon.of_slot(view, slot).max(half_of_mean);
        let mut thieves: BTreeMap<SlotId, Span> = slots
            .iter()
            .map(|slot| (*slot, idle_below(*slot)))
            .filter(|(slot, idle_below)| self.occupancy(view, accounts, *slot) <= *idle_below)
            .collect();
        if thieves.is_empty() {
            return;
        }
        let mut victims: Vec<SlotId> = slots
            .iter()
            .copied()
            .filter(|slot| !thieves.contains_key(slot) && !self.queues[slot.index()].tasks.is_empty())
            .collect();
        victims.sort_by_key(|slot| std::cmp::Reverse(self.occupancy(view, accounts, *slot)));
        victims.truncate(VICTIMS_MAX);
        for level in 0..LEVELS {
            for victim in &victims {
                self.steal_from(view, accounts, *victim, level, &mut thieves);
                if thieves.is_empty() {
                    return;
                }
            }
        }
    }

    /// Moves tasks of one level from the tail of a victim's queue, as long as it pays.
    fn steal_from(
        &mut self,
        view: &View<'_>,
        accounts: &SlotAccounts,
        victim: SlotId,
        level: usize,
        thieves: &mut BTreeMap<SlotId, Span>,
    ) {
        let mut in_vain = 0;
        let mut before = u64::MAX;
        while in_vain < LOOKS_MAX && !thieves.is_empty() {
            let stealable = &self.queues[victim.index()].stealable[level];
            let Some(place) = stealable.range(..before).next_back().copied() else { return };
            before = place;
            let queued = self.queues[victim.index()].tasks[&place];
            if !queued.held.is_placeable(view) {
                self.queues[victim.index()].remove(place);
                continue;
            }
            in_vain += 1;
            slot_costs(view, queued.held.task, &mut self.costs);
            let thief = self
                .costs
                .iter()
                .filter(|cost| thieves.contains_key(&cost.slot))
                .min_by_key(|cost| (self.occupancy(view, accounts, cost.slot) + cost.transfer, cost.slot))
                .copied();
            let Some(SlotCost { slot: thief, transfer, execution, .. }) = thief else { continue };
            let at_thief = self.occupancy(view, accounts, thief) + transfer + execution;
            let of_victim = self.occupancy(view, accounts, victim);
            let half = Span((queued.transfer + queued.execution).0 / 2);
            if at_thief > of_victim.saturating_sub(half) {
                continue;
            }
            in_vain = 0;
            self.queues[victim.index()].remove(place);
            self.pushed += 1;
            let stolen = Queued { transfer, execution, ..queued };
            self.queues[thief.index()].insert(self.pushed, stolen);
            let is_idle_still = thieves
                .get(&thief)
                .is_some_and(|idle_below| self.occupancy(view, accounts, thief) <= *idle_below);
            if !is_idle_still {
                thieves.remove(&thief);
            }
        }
    }

    /// Orders ahead what is due on a slot; gives what cannot run there any more.
    fn pop(
        &mut self,
        view: &View<'_>,
        plan: &mut Plan,
        accounts: &mut SlotAccounts,
        slot: SlotId,
        displaced: &mut Vec<Held>,
    ) {
        let horizon = self.horizon.of_slot(view, slot);
        while let Some((place, queued)) = self.queues[slot.index()].tasks.first_key_value() {
            let (place, Queued { held, transfer, .. }) = (*place, *queued);
            let is_legal = held.is_placeable(view) && view.is_legal(held.task, slot);
            if is_legal && !is_due(view, plan, slot, accounts.free_at(slot), horizon.saturating_add(transfer))
            {
                return;
            }
            self.queues[slot.index()].remove(place);
            if is_legal {
                let weighed = view.weigh(held.task, slot, accounts.free_at(slot));
                accounts.give(slot, view.now() + weighed.finish);
                plan.place_weighed(held.task, slot, "earliest start, or stolen", vec![weighed]);
            } else if held.is_placeable(view) {
                displaced.push(held);
            }
        }
    }
}

impl Policy for WorkStealing {
    fn label(&self) -> PolicyLabel {
        format!("{}(ready={},{})", INFO.name, self.inbox.ready(), self.horizon.text())
    }

    fn remembers_tasks(&self) -> bool {
        true
    }

    fn observe(&mut self, change: &Change<'_>, view: &View<'_>) {
        self.inbox.observe(change, view);
    }

    fn place(&mut self, view: &View<'_>, plan: &mut Plan) {
        let mut accounts = SlotAccounts::new(view);
        let slots: Vec<SlotId> = accounts.slots().to_vec();
        let end = slots.last().map_or(0, |slot| slot.index() + 1);
        if self.queues.len() < end {
            self.queues.resize_with(end, Queue::default);
        }
        let mut due = self.displaced(view);
        due.extend(self.inbox.take(view));
        loop {
            for held in due.drain(..) {
                self.push(view, &accounts, held);
            }
            self.balance(view, &accounts);
            for slot in &slots {
                self.pop(view, plan, &mut accounts, *slot, &mut due);
            }
            if due.is_empty() {
                break;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_are_those_of_dask() {
        assert_eq!(level_of(Span(5), Span(7), false), Some(0));
        // By round(log2(ratio) + 6), at least 1, and nothing from 15 on.
        for (moving, execution, level) in [
            (0, 10, Some(1)),
            (1, 1_000, Some(1)),
            (10, 10, Some(6)),
            (14, 10, Some(6)),
            (15, 10, Some(7)),
            (20, 10, Some(7)),
            (5, 10, Some(5)),
            (256, 1, Some(14)),
            (512, 1, None),
        ] {
            assert_eq!(level_of(Span(moving), Span(execution), true), level, "{moving}/{execution}");
        }
    }
}
