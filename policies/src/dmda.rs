//! `dmda`: StarPU's *deque model data aware* (Augonnet, Clet-Ortega, Thibault and Namyst, ICPADS 2010; StarPU's
//! `deque_modeling_policy_data_aware.c`).
//!
//! A task is pushed to the queue of the slot with the least
//!
//! `alpha * (end - best end) + beta * transfer`
//!
//! where `end` is when the slot's queue would end with the task's execution added, `best end` the soonest of all slots,
//! and `transfer` what moving the inputs costs. The queue is then predicted to end later by the execution and by what
//! of the transfer does not pass while the queue before it runs. Ties go to the lower slot id. Tasks leave a slot's
//! queue in the order in which they were pushed, and are never moved to another.
//!
//! What the source leaves open, or has otherwise:
//!
//! - The term for energy (`gamma`, and the power of idle devices) is not modelled.
//! - StarPU calibrates: a kernel without history on a device is run there first. Here an estimate from other devices
//!   or from facts stands in for history, and nothing is forced.
//! - StarPU pushes a task when those before it have finished, and moves its data from then on. With `ready=placed`,
//!   the default, it is pushed when they are placed; data then count from their expected end.
//! - `transfer` is how much later the inputs are on the slot than where they are there first, queues of links included;
//!   StarPU sums times over links instead. A term that is equal on all slots decides nothing.
//! - A queue is kept in the policy, and its tasks are ordered to the agent only so far ahead as latency asks for
//!   (`ahead`) and as moving their inputs takes, in place of StarPU's workers that pop and prefetch.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use isochrone_model::{SlotId, Span};
use isochrone_sched_core::{Change, Plan, Policy, PolicyLabel, TaskIndex, View};

use crate::accounts::SlotAccounts;
use crate::horizon::{Horizon, is_due};
use crate::inbox::{Held, Inbox, Ready};
use crate::ranks::upward_ranks;
use crate::slot_costs::{SlotCost, slot_costs};
use crate::{Label, LabelError, PolicyInfo};

pub(crate) const INFO: PolicyInfo = PolicyInfo {
    name: "dmda",
    summary: "StarPU's: to the queue of least weighted end and transfer; queues in order of arrival",
    parameters: &[ALPHA, BETA, Ready::PARAMETER, Horizon::AHEAD, Horizon::AHEAD_MIN],
    make,
};

pub(crate) const ALPHA: (&str, &str, &str) =
    ("alpha", "1", "the weight of the end, in steps of a thousandth");
pub(crate) const BETA: (&str, &str, &str) =
    ("beta", "1", "the weight of the transfer, in steps of a thousandth");

fn make(label: &Label) -> Result<Box<dyn Policy>, LabelError> {
    Ok(Box::new(Dmda::from_label(label, INFO.name, Order::Arrival)?))
}

/// A weight in thousandths, so that integers decide.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Weight(u64);

impl Weight {
    fn times(self, span: Span) -> u128 {
        u128::from(self.0) * u128::from(span.0)
    }
}

impl fmt::Display for Weight {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, thousandths) = (self.0 / 1_000, self.0 % 1_000);
        if thousandths == 0 {
            return write!(formatter, "{whole}");
        }
        let text = format!("{thousandths:03}");
        write!(formatter, "{whole}.{}", text.trim_end_matches('0'))
    }
}

impl FromStr for Weight {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (whole, part) = text.split_once('.').unwrap_or((text, "0"));
        if part.is_empty() || part.len() > 3 || !part.bytes().all(|digit| digit.is_ascii_digit()) {
            return Err(());
        }
        let whole: u64 = whole.parse::<u32>().map_err(|_| ())?.into();
        let part: u64 = format!("{part:0<3}").parse().map_err(|_| ())?;
        Ok(Self(whole * 1_000 + part))
    }
}

/// In which order the tasks of a queue leave it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    /// As they were pushed.
    Arrival,
    /// The highest upward rank first, then as they were pushed.
    Rank,
    /// Of so many first ones, the one with the fewest bytes that do not lie at the slot yet.
    Resident { window: usize },
}

/// `dmda` and its variants.
pub(crate) struct Dmda {
    name: &'static str,
    alpha: Weight,
    beta: Weight,
    order: Order,
    horizon: Horizon,
    inbox: Inbox,
    ranks: Vec<Span>,
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
    /// By falling priority, then by arrival.
    tasks: BTreeMap<(Reverse<Span>, u64), Pushed>,
    /// What they take together.
    length: Span,
}

#[derive(Clone, Copy)]
struct Pushed {
    held: Held,
    transfer: Span,
    /// Execution, and what of the transfer was not expected to pass while others run.
    length: Span,
}

impl Dmda {
    pub fn from_label(label: &Label, name: &'static str, order: Order) -> Result<Self, LabelError> {
        let expected = "a number from 0 with at most three decimals";
        Ok(Self {
            name,
            alpha: label.get("alpha", Weight(1_000), expected)?,
            beta: label.get("beta", Weight(1_000), expected)?,
            order,
            horizon: Horizon::from_label(label)?,
            inbox: Inbox::new(Ready::from_label(label)?),
            ranks: Vec::new(),
            queues: Vec::new(),
            pushed: 0,
            nowhere: Vec::new(),
            legality_epoch: 0,
            costs: Vec::new(),
        })
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
                displaced.extend(std::mem::take(queue).tasks.into_values().map(|pushed| pushed.held));
            }
        }
        displaced.retain(|held| held.is_placeable(view));
        displaced.sort_unstable();
        displaced
    }

    fn push(&mut self, view: &View<'_>, accounts: &SlotAccounts, held: Held) {
        slot_costs(view, held.task, &mut self.costs);
        let queues = &self.queues;
        let end = |slot: SlotId| accounts.free_at(slot) + queues[slot.index()].length;
        let best_end = self.costs.iter().map(|cost| end(cost.slot) + cost.execution).min();
        let Some(best_end) = best_end else {
            self.nowhere.push(held);
            return;
        };
        let chosen = self.costs.iter().min_by_key(|cost| {
            let later = (end(cost.slot) + cost.execution).since(best_end);
            (self.alpha.times(later) + self.beta.times(cost.transfer), cost.slot)
        });
        let Some(cost) = chosen.copied() else { return };
        let exposed = cost.ready.since(end(cost.slot));
        let rank = match self.order {
            Order::Arrival | Order::Resident { .. } => Span::ZERO,
            Order::Rank => self.ranks.get(held.task.index()).copied().unwrap_or(Span::ZERO),
        };
        self.pushed += 1;
        let queue = &mut self.queues[cost.slot.index()];
        let pushed = Pushed { held, transfer: cost.transfer, length: exposed + cost.execution };
        queue.length += pushed.length;
        queue.tasks.insert((Reverse(rank), self.pushed), pushed);
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
        loop {
            let queue = &self.queues[slot.index()];
            let Some(key) = next_of(view, queue, self.order, slot) else { return };
            let Pushed { held, transfer, length } = queue.tasks[&key];
            let is_legal = held.is_placeable(view) && view.is_legal(held.task, slot);
            if is_legal && !is_due(view, plan, slot, accounts.free_at(slot), horizon.saturating_add(transfer))
            {
                return;
            }
            let queue = &mut self.queues[slot.index()];
            queue.tasks.remove(&key);
            queue.length = queue.length.saturating_sub(length);
            if is_legal {
                let weighed = view.weigh(held.task, slot, accounts.free_at(slot));
                accounts.give(slot, view.now() + weighed.finish);
                plan.place_weighed(held.task, slot, "least weighted end and transfer", vec![weighed]);
            } else if held.is_placeable(view) {
                displaced.push(held);
            }
        }
    }
}

/// The task that leaves a queue next.
fn next_of(view: &View<'_>, queue: &Queue, order: Order, slot: SlotId) -> Option<(Reverse<Span>, u64)> {
    let Order::Resident { window } = order else {
        return queue.tasks.keys().next().copied();
    };
    let agent = view.agent_of(view.device_of(slot));
    let missing = |task: TaskIndex| {
        let bytes =
            view.inputs(task).filter(|input| !input.is_zero).map(|input| input.size_bytes).sum::<u64>();
        bytes.saturating_sub(view.resident_bytes(task, agent))
    };
    let mut best = None;
    for (key, pushed) in queue.tasks.iter().take(window) {
        let missing = missing(pushed.held.task);
        if best.is_none_or(|(least, _)| missing < least) {
            best = Some((missing, *key));
        }
        if missing == 0 {
            break;
        }
    }
    best.map(|(_, key)| key)
}

impl Policy for Dmda {
    fn label(&self) -> PolicyLabel {
        let Self { name, alpha, beta, .. } = self;
        let window = match self.order {
            Order::Arrival | Order::Rank => String::new(),
            Order::Resident { window } => format!(",window={window}"),
        };
        let (ready, horizon) = (self.inbox.ready(), self.horizon.text());
        format!("{name}(alpha={alpha},beta={beta}{window},ready={ready},{horizon})")
    }

    fn remembers_tasks(&self) -> bool {
        true
    }

    fn observe(&mut self, change: &Change<'_>, view: &View<'_>) {
        self.inbox.observe(change, view);
        if let Change::Submitted { tasks } = change
            && self.order == Order::Rank
        {
            upward_ranks(view, tasks, &mut self.ranks);
        }
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
            for slot in &slots {
                self.pop(view, plan, &mut accounts, *slot, &mut due);
            }
            if due.is_empty() {
                break;
            }
        }
    }
}
