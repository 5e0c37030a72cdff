//! `latency-eft`: earliest finish from measured round trips, bandwidths, queues and kernel durations.
//!
//! Tasks in order of falling upward rank, each to the slot where queueing, transfer and execution together
//! end first; ties go to the earlier task, then to the lower slot id. Two things set it apart from a plain
//! earliest-finish rule:
//!
//! - It places ahead only as far as latency asks for. A slot is given tasks until its queue covers
//!   `ahead` round trips to its agent and at least `ahead_min_us`; later tasks are held until completions
//!   have sharpened the estimates. With nothing to learn from waiting (a slow link) it places further ahead.
//! - It explores with one task at a time. On a device where a kernel has never run its duration is a guess
//!   from other devices or from facts, and a wrong guess must not fill a slow device's queue. In a farm of
//!   one device there is nothing to explore.
//!
//! Each time it is asked it passes over at most `LOOKS_MAX` tasks whose best slot has no room, so that what is held
//! back costs nothing for each task held.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

use isochrone_model::{DeviceId, Span};
use isochrone_sched_core::{CandidateEstimate, Change, Plan, Policy, PolicyLabel, TaskIndex, View};

use crate::accounts::SlotAccounts;
use crate::horizon::{Horizon, is_due};
use crate::inbox::Held;
use crate::ranks::upward_ranks;
use crate::slot_costs::{SlotCost, slot_costs};
use crate::{Label, LabelError, PolicyInfo};

pub(crate) const INFO: PolicyInfo = PolicyInfo {
    name: "latency-eft",
    summary: "earliest finish from measured latency, bandwidth, queues and durations; places ahead by round trips",
    parameters: &[Horizon::AHEAD, Horizon::AHEAD_MIN],
    make,
};

/// Tasks that are passed over in one plan.
const LOOKS_MAX: usize = 16;

fn make(label: &Label) -> Result<Box<dyn Policy>, LabelError> {
    Ok(Box::new(LatencyEft { horizon: Horizon::from_label(label)?, ..LatencyEft::new(0, Span::ZERO) }))
}

/// The policy.
#[derive(Clone, Debug)]
pub struct LatencyEft {
    horizon: Horizon,
    ranks: Vec<Span>,
    /// By device, tasks out there whose duration was a guess.
    exploring: BTreeMap<DeviceId, Vec<TaskIndex>>,
    /// The highest rank first, then in program order.
    held: BinaryHeap<(Span, Reverse<Held>)>,
    /// Tasks that no slot can run.
    nowhere: Vec<Held>,
    legality_epoch: u64,
    costs: Vec<SlotCost>,
}

impl LatencyEft {
    /// Places ahead by `ahead` round trips and at least `ahead_min`.
    #[must_use]
    pub fn new(ahead: u64, ahead_min: Span) -> Self {
        Self {
            horizon: Horizon { ahead, ahead_min },
            ranks: Vec::new(),
            exploring: BTreeMap::new(),
            held: BinaryHeap::new(),
            nowhere: Vec::new(),
            legality_epoch: 0,
            costs: Vec::new(),
        }
    }

    fn take_in(&mut self, view: &View<'_>) {
        let mut taken: Vec<Held> = view.newly_placeable().iter().map(|task| Held::new(view, *task)).collect();
        if self.legality_epoch != view.legality_epoch() {
            self.legality_epoch = view.legality_epoch();
            taken.append(&mut self.nowhere);
        }
        let rank = |held: &Held| self.ranks.get(held.task.index()).copied().unwrap_or(Span::ZERO);
        self.held.extend(taken.into_iter().map(|held| (rank(&held), Reverse(held))));
    }

    /// What is known of a task on a slot, as people read it.
    fn candidate(view: &View<'_>, accounts: &SlotAccounts, cost: &SlotCost) -> CandidateEstimate {
        let now = view.now();
        let free_at = accounts.free_at(cost.slot);
        CandidateEstimate {
            slot: cost.slot,
            queueing: free_at.since(now),
            transfer: cost.ready.since(now),
            execution: cost.execution,
            finish: (cost.ready.max(free_at) + cost.execution).since(now),
        }
    }
}

impl Policy for LatencyEft {
    fn label(&self) -> PolicyLabel {
        format!("{}({})", INFO.name, self.horizon.text())
    }

    fn remembers_tasks(&self) -> bool {
        true
    }

    fn observe(&mut self, change: &Change<'_>, view: &View<'_>) {
        match change {
            Change::Submitted { tasks } => upward_ranks(view, tasks, &mut self.ranks),
            Change::Removed { task } | Change::Unplaced { task } => {
                for tasks in self.exploring.values_mut() {
                    tasks.retain(|exploring| exploring != task);
                }
            }
            Change::Measured { .. } | Change::FarmChanged => {}
        }
    }

    fn place(&mut self, view: &View<'_>, plan: &mut Plan) {
        self.take_in(view);
        if self.held.is_empty() {
            return;
        }
        let mut accounts = SlotAccounts::new(view);
        // In a farm of one device a wrong guess misleads nobody, and waiting for its end would cost a round trip. Where there
        // are others, what follows may go there, by when this is expected to end.
        let is_alone = view.devices().count() == 1;
        let mut passed_over = Vec::new();
        while passed_over.len() < LOOKS_MAX {
            let has_room = accounts.slots().iter().fold(false, |has_room, slot| {
                let horizon = self.horizon.of_slot(view, *slot);
                is_due(view, plan, *slot, accounts.free_at(*slot), horizon) || has_room
            });
            if !has_room {
                break;
            }
            let Some((rank, Reverse(held))) = self.held.pop() else { break };
            if !held.is_placeable(view) {
                continue;
            }
            let task = held.task;
            slot_costs(view, task, &mut self.costs);
            if self.costs.is_empty() {
                self.nowhere.push(held);
                continue;
            }
            let best = self
                .costs
                .iter()
                .filter(|cost| {
                    let exploring = self.exploring.get(&view.device_of(cost.slot));
                    is_alone || cost.is_seen || exploring.is_none_or(Vec::is_empty)
                })
                .map(|cost| (Self::candidate(view, &accounts, cost), cost.is_seen))
                .min_by_key(|(candidate, _)| (candidate.finish, candidate.slot))
                .filter(|(best, _)| best.queueing <= self.horizon.of_slot(view, best.slot));
            let Some((best, is_seen)) = best else {
                passed_over.push((rank, Reverse(held)));
                continue;
            };
            if !is_seen {
                self.exploring.entry(view.device_of(best.slot)).or_default().push(task);
            }
            let candidates = self.costs.iter().map(|cost| Self::candidate(view, &accounts, cost)).collect();
            accounts.give(best.slot, view.now() + best.finish);
            let reason =
                if is_seen { "earliest finish" } else { "earliest finish, by a guess to be measured" };
            plan.place_weighed(task, best.slot, reason, candidates);
        }
        self.held.extend(passed_over);
    }
}
