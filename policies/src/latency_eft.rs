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
//!   from other devices or from facts, and a wrong guess must not fill a slow device's queue.

use std::collections::BTreeMap;

use isochrone_model::{DeviceId, SlotId, Span};
use isochrone_sched_core::{CandidateEstimate, Change, Plan, Policy, PolicyLabel, TaskIndex, View};

use crate::accounts::SlotAccounts;
use crate::ranks::upward_ranks;
use crate::{Label, LabelError, PolicyInfo};

pub(crate) const INFO: PolicyInfo = PolicyInfo {
    name: "latency-eft",
    summary: "earliest finish from measured latency, bandwidth, queues and durations; places ahead by round trips",
    parameters: &[
        ("ahead", "4", "how many round trips to an agent its slots' queues cover"),
        ("ahead_min_us", "20000", "the least time in microseconds that they cover"),
    ],
    make,
};

fn make(label: &Label) -> Result<Box<dyn Policy>, LabelError> {
    let ahead = label.get("ahead", 4, "a whole number from 0")?;
    let ahead_min_us = label.get("ahead_min_us", 20_000, "a whole number of microseconds")?;
    Ok(Box::new(LatencyEft::new(ahead, Span::from_micros(ahead_min_us))))
}

/// The policy.
#[derive(Clone, Debug)]
pub struct LatencyEft {
    ahead: u64,
    ahead_min: Span,
    ranks: Vec<Span>,
    /// By device, tasks out there whose duration was a guess.
    exploring: BTreeMap<DeviceId, Vec<TaskIndex>>,
}

impl LatencyEft {
    /// Places ahead by `ahead` round trips and at least `ahead_min`.
    #[must_use]
    pub fn new(ahead: u64, ahead_min: Span) -> Self {
        Self { ahead, ahead_min, ranks: Vec::new(), exploring: BTreeMap::new() }
    }

    /// How far a slot's queue may reach.
    fn horizon(&self, view: &View<'_>, slot: SlotId) -> Span {
        let agent = view.agent_of(view.device_of(slot));
        view.control_one_way(agent).saturating_mul(2 * self.ahead).max(self.ahead_min)
    }

    fn is_guess(view: &View<'_>, task: TaskIndex, slot: SlotId) -> bool {
        !view.execution(task, view.device_of(slot)).basis.is_seen()
    }
}

impl Policy for LatencyEft {
    fn label(&self) -> PolicyLabel {
        format!("{}(ahead={},ahead_min_us={})", INFO.name, self.ahead, self.ahead_min.0 / 1_000)
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
        let mut accounts = SlotAccounts::new(view);
        let horizons: BTreeMap<SlotId, Span> =
            accounts.slots().iter().map(|slot| (*slot, self.horizon(view, *slot))).collect();
        let longest = horizons.values().copied().max().unwrap_or(Span::ZERO);
        let mut tasks: Vec<TaskIndex> = view.placeable().to_vec();
        tasks.sort_by_key(|task| {
            let rank = self.ranks.get(task.index()).copied().unwrap_or(Span::ZERO);
            (std::cmp::Reverse(rank), view.sequence(*task))
        });
        for task in tasks {
            if accounts.soonest_free(view.now()) > longest {
                break;
            }
            let candidates: Vec<CandidateEstimate> =
                view.legal_slots(task).map(|slot| view.weigh(task, slot, accounts.free_at(slot))).collect();
            let best = candidates
                .iter()
                .filter(|candidate| {
                    let device = view.device_of(candidate.slot);
                    let is_exploring = self.exploring.get(&device).is_some_and(|tasks| !tasks.is_empty());
                    !is_exploring || !Self::is_guess(view, task, candidate.slot)
                })
                .min_by_key(|candidate| (candidate.finish, candidate.slot));
            let Some(best) = best.copied() else { continue };
            if best.queueing > horizons.get(&best.slot).copied().unwrap_or(Span::ZERO) {
                continue;
            }
            let is_guess = Self::is_guess(view, task, best.slot);
            if is_guess {
                self.exploring.entry(view.device_of(best.slot)).or_default().push(task);
            }
            accounts.give(best.slot, view.now() + best.finish);
            let reason =
                if is_guess { "earliest finish, by a guess to be measured" } else { "earliest finish" };
            plan.place_weighed(task, best.slot, reason, candidates);
        }
    }
}
