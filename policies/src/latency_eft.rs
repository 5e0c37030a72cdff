//! `latency-eft`: earliest finish from measured round trips, bandwidths, queues and kernel durations.
//!
//! Tasks in order of falling upward rank, each to the slot where queueing, transfer and execution together
//! end first; ties go to the earlier task, then to the lower slot id. Four things set it apart from a plain
//! earliest-finish rule:
//!
//! - It places ahead only as far as latency asks for. A slot is given tasks until its queue covers
//!   `ahead` round trips to its agent and at least `ahead_min_us`; later tasks are held until completions
//!   have sharpened the estimates. With nothing to learn from waiting (a slow link) it places further ahead.
//! - It explores with one task at a time. On a device where a kernel has never run its duration is a guess
//!   from other devices or from facts, and a wrong guess must not fill a slow device's queue. The next task goes
//!   elsewhere only if it ends there hardly later than it would if it waited for what the first one tells: later by its
//!   own duration at most. One that is late is expected to take as long again. In a farm of one device there is nothing
//!   to explore.
//! - Where nothing but reads by the client follows, a task has finished when its contents are with the client.
//! - A path that would be the better one if it were warm is tried once staying away has cost as much (`trials`), and so is
//!   a device on which the kernel has never run and which may be four times as fast as the guess.
//!
//! Each time it is asked it passes over at most `LOOKS_MAX` tasks whose best slot has no room, so that what is held
//! back costs nothing for each task held.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

use isochrone_model::{AgentId, DeviceId, Span, Timestamp};
use isochrone_sched_core::paths::Warmth;
use isochrone_sched_core::{CandidateEstimate, Change, Plan, Policy, PolicyLabel, TaskIndex, View};

use crate::accounts::SlotAccounts;
use crate::horizon::{Horizon, is_due};
use crate::inbox::Held;
use crate::ranks::upward_ranks;
use crate::slot_costs::{SlotCost, slot_costs};
use crate::trials::{Chance, Trials};
use crate::{Label, LabelError, PolicyInfo};

pub(crate) const INFO: PolicyInfo = PolicyInfo {
    name: "latency-eft",
    summary: "earliest finish from measured latency, bandwidth, queues and durations; places ahead by round trips",
    parameters: &[Horizon::AHEAD, Horizon::AHEAD_MIN],
    make,
};

/// Tasks that are passed over in one plan.
const LOOKS_MAX: usize = 16;
/// How many times as fast as the guess a device may be on which a kernel has never run.
const OPTIMISM: u64 = 4;
/// How much longer at least something takes that is late already: who waits for it is asked again then.
const LATE_MIN: Span = Span::from_millis(1);
/// A task that moves less than this finds each path at its best: the first window of a connection holds it.
const TRIAL_BYTES_MIN: u64 = 12_000;

fn make(label: &Label) -> Result<Box<dyn Policy>, LabelError> {
    Ok(Box::new(LatencyEft { horizon: Horizon::from_label(label)?, ..LatencyEft::new(0, Span::ZERO) }))
}

/// The policy.
#[derive(Clone, Debug)]
pub struct LatencyEft {
    horizon: Horizon,
    ranks: Vec<Span>,
    /// By device, tasks out there whose duration was a guess.
    exploring: BTreeMap<DeviceId, Vec<Explorer>>,
    /// The highest rank first, then in program order.
    held: BinaryHeap<(Span, Reverse<Held>)>,
    /// Tasks that no slot can run.
    nowhere: Vec<Held>,
    legality_epoch: u64,
    costs: Vec<SlotCost>,
    trials: Trials,
}

/// A task that finds out how long its kernel takes on a device.
#[derive(Clone, Copy, Debug)]
struct Explorer {
    task: TaskIndex,
    placed_at: Timestamp,
    /// When the device is done with it, by the guess.
    leaves_at: Timestamp,
}

impl Explorer {
    /// When its end is likely to be heard of. What has not been heard of when it should is expected to take as long again.
    fn heard_at(&self, now: Timestamp, one_way: Span) -> Timestamp {
        let guessed = self.leaves_at + one_way;
        if guessed > now { guessed } else { now + now.since(self.placed_at).max(LATE_MIN) }
    }
}

/// A task on one slot, weighed.
#[derive(Clone, Copy, Debug)]
struct Weighed {
    candidate: CandidateEstimate,
    agent: AgentId,
    /// When the device is done with it: earlier than the finish where the way to the client counts.
    leaves_at: Timestamp,
    is_seen: bool,
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
            trials: Trials::default(),
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

    /// Weighs a task on every slot that `self.costs` lists.
    fn weigh(
        &self,
        view: &View<'_>,
        accounts: &SlotAccounts,
        task: TaskIndex,
        read: Option<u64>,
    ) -> Vec<Weighed> {
        let now = view.now();
        let mut way_back: Option<(AgentId, Span)> = None;
        let weigh = |cost: &SlotCost| {
            let agent = view.agent_of(view.device_of(cost.slot));
            let back = match (way_back, read) {
                (_, None) => Span::ZERO,
                (Some((of, back)), Some(_)) if of == agent => back,
                (_, Some(bytes)) => view.to_client(task, agent, bytes, Warmth::AsItIs),
            };
            way_back = Some((agent, back));
            let free_at = accounts.free_at(cost.slot);
            let leaves_at = cost.ready.max(free_at) + cost.execution;
            let candidate = CandidateEstimate {
                slot: cost.slot,
                queueing: free_at.since(now),
                transfer: cost.ready.since(now),
                execution: cost.execution,
                finish: (leaves_at + back).since(now),
            };
            Weighed { candidate, agent, leaves_at, is_seen: cost.is_seen }
        };
        self.costs.iter().map(weigh).collect()
    }

    /// Whether the kernel may go to a slot's device now: at most one task at a time goes where its duration is a guess.
    fn may_go(&self, view: &View<'_>, weighed: &Weighed) -> bool {
        let exploring = self.exploring.get(&view.device_of(weighed.candidate.slot));
        weighed.is_seen || exploring.is_none_or(Vec::is_empty)
    }

    /// When a task would be done, and until when it would be held, if it waited until it is known how long its kernel takes on a device
    /// where one explores.
    fn after_exploration(&self, view: &View<'_>, weighed: &Weighed) -> Option<(Timestamp, Timestamp)> {
        let explorers = self.exploring.get(&view.device_of(weighed.candidate.slot))?;
        let (now, one_way) = (view.now(), view.control_one_way(weighed.agent));
        let heard_at = explorers.iter().map(|explorer| explorer.heard_at(now, one_way)).min()?;
        let Weighed { candidate: CandidateEstimate { transfer, execution, finish, .. }, leaves_at, .. } =
            *weighed;
        let back = (now + finish).since(leaves_at);
        let starts_at = (heard_at + one_way).max(now + transfer);
        Some((starts_at + execution + back, heard_at))
    }

    /// Another agent's slot that would be the best one if paths were at their best, and its device as fast as may be hoped, when it is
    /// time to try it.
    fn trial(
        &mut self,
        view: &View<'_>,
        task: TaskIndex,
        read: Option<u64>,
        weighed: &[Weighed],
        best: &Weighed,
    ) -> Option<Weighed> {
        let inputs = view.inputs(task).filter(|input| !input.is_zero);
        let moved = inputs.fold(read.unwrap_or(0), |sum, input| sum.saturating_add(input.size_bytes));
        // What staying costs must be known.
        if !best.is_seen {
            return None;
        }
        let now = view.now();
        let mut known: Option<(AgentId, Timestamp, Span)> = None;
        let at_best = |other: &&Weighed| {
            let (ready, back) = match known {
                Some((agent, ready, back)) if agent == other.agent => (ready, back),
                Some(_) | None => {
                    let word = now + view.control_one_way(other.agent);
                    let back = read
                        .map_or(Span::ZERO, |bytes| view.to_client(task, other.agent, bytes, Warmth::AtBest));
                    (view.inputs_ready_at_best(task, other.agent).max(word), back)
                }
            };
            known = Some((other.agent, ready, back));
            let CandidateEstimate { slot, queueing, execution, .. } = other.candidate;
            let execution = if other.is_seen { execution } else { Span(execution.0 / OPTIMISM) };
            ((ready.max(now + queueing) + execution + back).since(now), slot)
        };
        let is_one = |other: &&Weighed| {
            let has_to_tell = moved >= TRIAL_BYTES_MIN || !other.is_seen;
            has_to_tell && other.agent != best.agent && self.may_go(view, other)
        };
        let others = weighed.iter().filter(is_one);
        let mut at_best = at_best;
        let (other, (finish, _)) = others
            .map(|other| (other, at_best(&other)))
            .min_by_key(|(_, at_best)| *at_best)
            .filter(|(_, (finish, _))| *finish < best.candidate.finish)?;
        let gain = best.candidate.finish.saturating_sub(finish);
        let price = other.candidate.finish.saturating_sub(best.candidate.finish);
        let is_due = self.trials.is_due(Chance { agent: other.agent, gain, price })
            && other.candidate.queueing <= self.horizon.of_slot(view, other.candidate.slot);
        is_due.then(|| {
            self.trials.begin(other.agent, task);
            *other
        })
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
                    tasks.retain(|explorer| explorer.task != *task);
                }
                self.trials.end(*task);
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
        let now = view.now();
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
            let read = view.read_bytes(task);
            let weighed = self.weigh(view, &accounts, task, read);
            let best = weighed
                .iter()
                .filter(|weighed| is_alone || self.may_go(view, weighed))
                .min_by_key(|weighed| (weighed.candidate.finish, weighed.candidate.slot))
                .filter(|best| best.candidate.queueing <= self.horizon.of_slot(view, best.candidate.slot))
                .copied();
            let Some(best) = best else {
                passed_over.push((rank, Reverse(held)));
                continue;
            };
            let barred = weighed.iter().filter(|weighed| !is_alone && !self.may_go(view, weighed));
            let waiting = barred.filter_map(|weighed| self.after_exploration(view, weighed)).min();
            // To learn may cost as much as what is learnt about takes.
            let bearable = now + best.candidate.finish.saturating_sub(best.candidate.execution);
            if let Some((_, until)) = waiting.filter(|(finish, _)| *finish < bearable) {
                plan.hold_until(until);
                passed_over.push((rank, Reverse(held)));
                continue;
            }
            let trial = self.trial(view, task, read, &weighed, &best);
            let chosen = trial.unwrap_or(best);
            let reason = match (trial, chosen.is_seen) {
                (Some(_), true) => "to warm a path: staying away from it has cost as much",
                (Some(_), false) => "to learn of a device: staying away from it may have cost as much",
                (None, true) => "earliest finish",
                (None, false) => "earliest finish, by a guess to be measured",
            };
            let slot = chosen.candidate.slot;
            if !chosen.is_seen {
                let explorer = Explorer { task, placed_at: now, leaves_at: chosen.leaves_at };
                self.exploring.entry(view.device_of(slot)).or_default().push(explorer);
            }
            accounts.give(slot, chosen.leaves_at);
            let candidates = weighed.iter().map(|weighed| weighed.candidate).collect();
            plan.place_weighed(task, slot, reason, candidates);
        }
        self.held.extend(passed_over);
    }
}
