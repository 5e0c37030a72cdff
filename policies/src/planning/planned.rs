//! A policy of a planner: plans when a graph arrives, places what is due, plans again when the farm changes or
//! an estimate proves wrong.
//!
//! A task is placed so long before its planned start that its word and its contents are there in time, and
//! `ahead` more; what is later is kept back, so that a new plan can still move it. On a slot the planned order
//! holds even when a later task's inputs come first. Barriers and markers count as tasks that take no time.

use std::collections::{BTreeMap, BTreeSet};

use isochrone_model::{AgentId, DeviceId, SessionId, SlotId, Span, Timestamp};
use isochrone_sched_core::{Change, Plan, Policy, PolicyLabel, TaskIndex, View};

use super::Planner;
use super::batch::Batch;
use super::client_contents::{in_order, settle};
use super::guesses::Guesses;
use super::hedges::Hedges;
use super::pose::{Posed, has_place, is_at_client, problem_of};
use super::problem::Problem;
use super::reach::Reach;
use super::schedule::Schedule;
use crate::{Label, LabelError};

/// A planner that judges plans again at most about so many times while a plan runs.
const REPLANS_MAX: u64 = 32;
/// Where nothing has run yet, a task for each of these of the way there and back is sent at once.
const COVERED_EXECUTION: Span = Span::from_millis(4);

/// What all static policies take as parameters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PlannedOptions {
    /// A kernel that takes this many times what was expected, or is this many times faster, makes the rest be
    /// planned again; 0 never.
    pub replan: u64,
    /// How long before they are due tasks are placed, at least; four round trips to the farthest agent otherwise.
    pub ahead: Span,
}

impl PlannedOptions {
    /// The parameters, for `PolicyInfo`.
    pub const PARAMETERS: [(&'static str, &'static str, &'static str); 2] = [
        (
            "replan",
            "2",
            "plan the rest again when a kernel takes this many times more or less than expected; 0 never",
        ),
        ("ahead_ms", "20", "the least time in milliseconds by which tasks are placed before they are due"),
    ];

    /// From a label.
    pub fn of(label: &Label) -> Result<Self, LabelError> {
        Ok(Self {
            replan: label.get("replan", 2, "a whole number from 0")?,
            ahead: Span::from_millis(label.get("ahead_ms", 20, "a whole number of milliseconds")?),
        })
    }

    /// As a label writes them, without brackets.
    pub fn text(self) -> String {
        format!("replan={},ahead_ms={}", self.replan, self.ahead.0 / 1_000_000)
    }
}

/// The policy of a planner that takes no parameters of its own.
pub(crate) fn planned<P: Planner + 'static>(
    name: &str,
    reason: &'static str,
    planner: P,
    label: &Label,
) -> Result<Box<dyn Policy>, LabelError> {
    let options = PlannedOptions::of(label)?;
    let text = format!("{name}({})", options.text());
    Ok(Box::new(Planned::new(text, reason, planner, options)))
}

/// The policy of a planner whose one parameter is how many ready tasks it considers at one time.
pub(crate) fn planned_in_batches<P: Planner + 'static>(
    name: &str,
    reason: &'static str,
    planner: impl FnOnce(Batch) -> P,
    label: &Label,
) -> Result<Box<dyn Policy>, LabelError> {
    let (batch, options) = (Batch::of_label(label)?, PlannedOptions::of(label)?);
    let text = format!("{name}({batch},{})", options.text());
    Ok(Box::new(Planned::new(text, reason, planner(batch), options)))
}

/// The policy of a planner.
pub(crate) struct Planned<P> {
    label: PolicyLabel,
    reason: &'static str,
    planner: P,
    options: PlannedOptions,
    /// Tasks that came in and may not be placed yet; some may have ended since.
    open: Vec<TaskIndex>,
    is_plan_due: bool,
    is_replan_wanted: bool,
    /// Not before this is the rest planned again because of estimates.
    replan_from: Timestamp,
    /// What is planned and not placed, by start.
    queue: Vec<Entry>,
    /// How many of the queue are placed.
    placed: usize,
    /// How many tasks that get a place each session has submitted.
    submitted: BTreeMap<Option<SessionId>, u64>,
    /// By task, how many such tasks its session had submitted before.
    places: Vec<u64>,
    /// When some tasks had no slot in the plan, what the view said of legality then: more devices may run them since.
    homeless_at: Option<u64>,
    /// Where the planned tasks could run.
    reach: Reach,
    /// By slot, the last task placed there by this policy.
    last_on_slot: Vec<Option<TaskIndex>>,
    /// What planners that judge are told besides.
    guesses: Guesses,
    /// Bytes that tasks of this policy have sent or will, by sender and receiver.
    sent: BTreeMap<(AgentId, AgentId), u64>,
    /// Bytes that clients have sent to agents or will.
    sent_by_clients: BTreeMap<AgentId, u64>,
    /// Placed tasks whose durations were guesses, and where they were placed.
    guessed: BTreeMap<TaskIndex, DeviceId>,
    /// Watches what is placed, where backups are wanted.
    hedges: Option<Hedges>,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    task: TaskIndex,
    slot: SlotId,
    release: Timestamp,
}

impl<P: Planner> Planned<P> {
    /// `reason` is what `explain` says of each placement.
    pub fn new(label: PolicyLabel, reason: &'static str, planner: P, options: PlannedOptions) -> Self {
        Self {
            label,
            reason,
            planner,
            options,
            open: Vec::new(),
            is_plan_due: false,
            is_replan_wanted: false,
            replan_from: Timestamp::ZERO,
            queue: Vec::new(),
            placed: 0,
            submitted: BTreeMap::new(),
            places: Vec::new(),
            homeless_at: None,
            reach: Reach::default(),
            last_on_slot: Vec::new(),
            guesses: Guesses::default(),
            sent: BTreeMap::new(),
            sent_by_clients: BTreeMap::new(),
            guessed: BTreeMap::new(),
            hedges: None,
        }
    }

    /// Runs on a second agent what is late by `factor` times what it was expected to take; never by default, and with 0.
    pub fn hedging(mut self, factor: u64) -> Self {
        self.hedges = (factor > 0).then(|| Hedges::new(factor));
        self
    }

    /// Looks for late tasks among those that are placed.
    fn hedge(&mut self, view: &View<'_>, plan: &mut Plan) {
        let Some(hedges) = &mut self.hedges else { return };
        let planned = &self.queue[self.placed.min(self.queue.len())..];
        let idle_until = |slot: SlotId| {
            let mut next =
                planned.iter().filter(|entry| entry.slot == slot && view.placed_on(entry.task).is_none());
            next.next().map_or(Timestamp::NEVER, |entry| entry.release)
        };
        hedges.look(view, idle_until, plan);
    }

    fn plan(&mut self, view: &View<'_>) {
        self.is_plan_due = false;
        self.is_replan_wanted = false;
        let earlier = std::mem::take(&mut self.queue);
        self.placed = 0;
        self.homeless_at = None;
        self.reach = Reach::default();
        self.open
            .retain(|task| has_place(view, *task) && view.is_mine(*task) && view.placed_on(*task).is_none());
        self.open.sort_unstable_by_key(|task| view.sequence(*task));
        self.open.dedup();
        let slots: Vec<SlotId> = view.slots().collect();
        if slots.is_empty() {
            return;
        }
        let problem = if self.planner.is_judge() {
            self.guesses.fit(view, &self.open);
            let had: BTreeMap<TaskIndex, (SlotId, u32)> = earlier
                .iter()
                .enumerate()
                .map(|(place, entry)| (entry.task, (entry.slot, place as u32)))
                .collect();
            let earlier = self.open.iter().map(|task| had.get(task).copied()).collect();
            let (sent, sent_by_clients) = (&self.sent, &self.sent_by_clients);
            let posed = Posed { guesses: &self.guesses, sent, sent_by_clients, earlier };
            problem_of(view, &self.open, &self.places, &slots, Some(&posed))
        } else {
            problem_of(view, &self.open, &self.places, &slots, None)
        };
        let schedule = self.planner.plan(&problem);
        self.reach = Reach::of(&problem, view.legality_epoch());
        self.queue = self.queue_of(view, &problem, &schedule, &slots);
        let end = slots.iter().map(|slot| slot.index() + 1).max().unwrap_or(0);
        self.last_on_slot.resize(end.max(self.last_on_slot.len()), None);
        let to_be_placed = self.open.iter().filter(|task| view.is_for_policy(**task)).count();
        self.homeless_at = (self.queue.len() < to_be_placed).then(|| view.legality_epoch());
        let apart = if self.planner.is_judge() {
            Span(schedule.makespan().0 / REPLANS_MAX)
        } else {
            Span(schedule.makespan().0 / 64).max(self.ahead(view))
        };
        self.replan_from = view.now() + apart;
    }

    /// Whether a task may go to a slot now. Where nothing has run yet a slot is given no more tasks than cover the word's way there and back,
    /// one at least: what is learnt from the first decides about the others.
    fn may_explore(
        &self,
        view: &View<'_>,
        task: TaskIndex,
        slot: SlotId,
        proposed: &BTreeMap<SlotId, u32>,
    ) -> bool {
        let device = view.device_of(slot);
        if !self.planner.is_judge() || !self.guesses.is_wild(view, task, device) {
            return true;
        }
        let round_trip = view.control_one_way(view.agent_of(device)).saturating_mul(2);
        let covered = round_trip.0 / COVERED_EXECUTION.0;
        let queued = view.slot_queue(slot) + proposed.get(&slot).copied().unwrap_or(0);
        u64::from(queued) <= covered
    }

    /// Keeps what a placement will send, and whether something is to be learnt from it.
    fn note_placed(
        &mut self,
        view: &View<'_>,
        task: TaskIndex,
        slot: SlotId,
        proposed: &BTreeMap<TaskIndex, AgentId>,
    ) {
        if !self.planner.is_judge() {
            return;
        }
        let device = view.device_of(slot);
        let to = view.agent_of(device);
        if !view.execution(task, device).basis.is_seen() {
            self.guessed.insert(task, device);
        }
        for input in view.inputs(task) {
            if is_at_client(view, &input) {
                *self.sent_by_clients.entry(to).or_default() += input.size_bytes;
            }
            let of = |first| view.placed_on(first).or_else(|| proposed.get(&first).copied());
            let from = input.producer.and_then(of);
            if let Some(from) = from.filter(|from| *from != to) {
                *self.sent.entry((from, to)).or_default() += input.size_bytes;
                self.sent.entry((to, from)).or_default();
            }
        }
    }

    fn ahead(&self, view: &View<'_>) -> Span {
        let farthest = view
            .devices()
            .map(|device| view.control_one_way(view.agent_of(device)))
            .max()
            .unwrap_or(Span::ZERO);
        self.options.ahead.max(farthest.saturating_mul(8))
    }

    /// What a schedule says, in order of starts, each with the time from which it is to be placed.
    fn queue_of(
        &self,
        view: &View<'_>,
        problem: &Problem,
        schedule: &Schedule,
        slots: &[SlotId],
    ) -> Vec<Entry> {
        let order = in_order(problem, schedule);
        let settled = settle(problem, schedule);
        let (now, ahead) = (view.now(), self.ahead(view));
        let mut release = Timestamp::NEVER;
        let mut queue: Vec<Entry> = Vec::with_capacity(order.len());
        for task in order.into_iter().rev() {
            let Some(assignment) = &settled.schedule.assignments[task] else { continue };
            let moving = problem
                .predecessors(task)
                .iter()
                .filter_map(|edge| {
                    let first = schedule.assignments[edge.task].as_ref()?;
                    Some(problem.transfer(edge.size_bytes, first.slot, assignment.slot))
                })
                .max()
                .unwrap_or(Span::ZERO);
            // What comes from outside the plan, from the client for one, is sent only when the task is placed, too.
            let lead = moving.max(settled.outside[task]).saturating_add(ahead);
            release = release.min(now + assignment.start.saturating_sub(lead));
            queue.push(Entry { task: self.open[task], slot: slots[assignment.slot], release });
        }
        queue.reverse();
        queue.retain(|entry| view.is_for_policy(entry.task));
        queue
    }
}

impl<P: Planner> Policy for Planned<P> {
    fn label(&self) -> PolicyLabel {
        self.label.clone()
    }

    fn wake_at(&self) -> Option<Timestamp> {
        self.hedges.as_ref()?.wake_at()
    }

    fn observe(&mut self, change: &Change<'_>, view: &View<'_>) {
        if let Some(hedges) = &mut self.hedges {
            hedges.observe(change, view);
        }
        match change {
            Change::Submitted { tasks } => {
                self.open.extend_from_slice(tasks);
                self.places.resize(view.task_index_end().max(self.places.len()), 0);
                for task in tasks.iter().filter(|task| has_place(view, **task)) {
                    let count = self.submitted.entry(view.session(*task)).or_default();
                    self.places[task.index()] = *count;
                    *count += 1;
                }
                self.is_plan_due = true;
            }
            Change::Removed { task } => {
                self.guessed.remove(task);
                for last in self.last_on_slot.iter_mut().filter(|last| **last == Some(*task)) {
                    *last = None;
                }
            }
            Change::Unplaced { task } => {
                self.open.push(*task);
                self.is_plan_due = true;
            }
            Change::Measured { task, expected, execution } => {
                if let Some(device) = self.guessed.remove(task) {
                    self.is_replan_wanted = true;
                    self.guesses.measure(view, *task, device, *execution);
                }
                let (low, high) = (expected.min(execution), expected.max(execution));
                self.is_replan_wanted |=
                    self.options.replan > 0 && high.0 > low.0.saturating_mul(self.options.replan);
            }
            Change::FarmChanged => self.is_plan_due = true,
        }
    }

    fn place(&mut self, view: &View<'_>, plan: &mut Plan) {
        // When it is asked only to look at what is placed, nothing has been learnt since it last was.
        let is_to_look = self.wake_at().is_some_and(|at| at <= view.now());
        let is_late_enough = !is_to_look && view.now() >= self.replan_from;
        self.is_plan_due |= self.homeless_at.is_some_and(|epoch| epoch != view.legality_epoch());
        self.is_plan_due |= self.placed < self.queue.len() && self.reach.has_changed(view, &self.open);
        if self.is_plan_due || (self.is_replan_wanted && is_late_enough && self.placed < self.queue.len()) {
            self.plan(view);
        }
        while self
            .queue
            .get(self.placed)
            .is_some_and(|entry| !view.is_mine(entry.task) || view.placed_on(entry.task).is_some())
        {
            self.placed += 1;
        }
        // Before more is proposed: what was the last time is placed by now.
        self.hedge(view, plan);
        let mut proposed: BTreeMap<TaskIndex, AgentId> = BTreeMap::new();
        let mut proposed_on: BTreeMap<SlotId, u32> = BTreeMap::new();
        let mut is_stuck = BTreeSet::new();
        for place in self.placed..self.queue.len() {
            let entry = self.queue[place];
            if entry.release > view.now() {
                plan.hold_until(entry.release);
                break;
            }
            let Entry { task, slot, .. } = entry;
            if !view.is_mine(task) || view.placed_on(task).is_some() {
                continue;
            }
            let can_be_placed = !is_stuck.contains(&slot)
                && self.may_explore(view, task, slot, &proposed_on)
                && view
                    .predecessors(task)
                    .all(|(first, _)| view.is_settled(first) || proposed.contains_key(&first));
            if !can_be_placed {
                is_stuck.insert(slot);
                continue;
            }
            proposed.insert(task, view.agent_of(view.device_of(slot)));
            *proposed_on.entry(slot).or_default() += 1;
            self.note_placed(view, task, slot, &proposed);
            plan.place_behind(task, slot, self.reason, self.last_on_slot[slot.index()]);
            self.last_on_slot[slot.index()] = Some(task);
            if let Some(hedges) = &mut self.hedges {
                hedges.note_placed(task);
            }
        }
    }
}
