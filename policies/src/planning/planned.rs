//! A policy of a planner: plans when a graph arrives, places what is due, plans again when the farm changes or
//! an estimate proves wrong.
//!
//! A task is placed so long before its planned start that its word and its contents are there in time, and
//! `ahead` more; what is later is kept back, so that a new plan can still move it. On a slot the planned order
//! holds even when a later task's inputs come first. Barriers and markers count as tasks that take no time.

use std::collections::{BTreeMap, BTreeSet};

use isochrone_model::{AgentId, DeviceId, SessionId, SlotId, Span, Timestamp};
use isochrone_sched_core::{Change, Plan, Policy, PolicyLabel, TaskIndex, TaskInput, TaskShape, View};

use super::Planner;
use super::outside::{in_order, settle};
use super::problem::{Problem, ProblemBuilder, Schedule, SlotName};
use crate::{Label, LabelError};

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
    /// By slot, the last task placed there by this policy.
    last_on_slot: Vec<Option<TaskIndex>>,
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
            last_on_slot: Vec::new(),
        }
    }

    fn plan(&mut self, view: &View<'_>) {
        self.is_plan_due = false;
        self.is_replan_wanted = false;
        self.queue.clear();
        self.placed = 0;
        self.homeless_at = None;
        self.open
            .retain(|task| has_place(view, *task) && view.is_mine(*task) && view.placed_on(*task).is_none());
        self.open.sort_unstable_by_key(|task| view.sequence(*task));
        self.open.dedup();
        let slots: Vec<SlotId> = view.slots().collect();
        if slots.is_empty() {
            return;
        }
        let problem = problem_of(view, &self.open, &self.places, &slots);
        let schedule = self.planner.plan(&problem);
        self.queue = self.queue_of(view, &problem, &schedule, &slots);
        let end = slots.iter().map(|slot| slot.index() + 1).max().unwrap_or(0);
        self.last_on_slot.resize(end.max(self.last_on_slot.len()), None);
        let to_be_placed = self.open.iter().filter(|task| view.is_for_policy(**task)).count();
        self.homeless_at = (self.queue.len() < to_be_placed).then(|| view.legality_epoch());
        let apart = Span(schedule.makespan().0 / 64).max(self.ahead(view));
        self.replan_from = view.now() + apart;
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

    fn observe(&mut self, change: &Change<'_>, view: &View<'_>) {
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
                for last in self.last_on_slot.iter_mut().filter(|last| **last == Some(*task)) {
                    *last = None;
                }
            }
            Change::Unplaced { task } => {
                self.open.push(*task);
                self.is_plan_due = true;
            }
            Change::Measured { expected, execution, .. } => {
                let (low, high) = (expected.min(execution), expected.max(execution));
                self.is_replan_wanted |=
                    self.options.replan > 0 && high.0 > low.0.saturating_mul(self.options.replan);
            }
            Change::FarmChanged => self.is_plan_due = true,
        }
    }

    fn place(&mut self, view: &View<'_>, plan: &mut Plan) {
        let is_late_enough = view.now() >= self.replan_from;
        self.is_plan_due |= self.homeless_at.is_some_and(|epoch| epoch != view.legality_epoch());
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
        let mut is_proposed = BTreeSet::new();
        let mut is_stuck = BTreeSet::new();
        for entry in &self.queue[self.placed..] {
            if entry.release > view.now() {
                plan.hold_until(entry.release);
                break;
            }
            let Entry { task, slot, .. } = *entry;
            if !view.is_mine(task) || view.placed_on(task).is_some() {
                continue;
            }
            let can_be_placed = !is_stuck.contains(&slot)
                && view
                    .predecessors(task)
                    .all(|(first, _)| view.is_settled(first) || is_proposed.contains(&first));
            if !can_be_placed {
                is_stuck.insert(slot);
                continue;
            }
            is_proposed.insert(task);
            plan.place_behind(task, slot, self.reason, self.last_on_slot[slot.index()]);
            self.last_on_slot[slot.index()] = Some(task);
        }
    }
}

/// Whether policies place a task: launches, copies, barriers and markers.
fn has_place(view: &View<'_>, task: TaskIndex) -> bool {
    match view.shape(task) {
        TaskShape::Kernel { .. } | TaskShape::Copy { .. } | TaskShape::Nothing => true,
        TaskShape::Source | TaskShape::Read => false,
    }
}

/// The problem of placing tasks, in program order, on slots, as the view tells it.
fn problem_of(view: &View<'_>, tasks: &[TaskIndex], places: &[u64], slots: &[SlotId]) -> Problem {
    let mut agents: Vec<AgentId> = slots.iter().map(|slot| view.agent_of(view.device_of(*slot))).collect();
    agents.sort_unstable();
    agents.dedup();
    let mut devices: Vec<DeviceId> = slots.iter().map(|slot| view.device_of(*slot)).collect();
    devices.dedup();
    let dense: Vec<(usize, usize)> = slots
        .iter()
        .map(|slot| {
            let device = view.device_of(*slot);
            let agent = view.agent_of(device);
            (agents.binary_search(&agent).unwrap_or(0), devices.binary_search(&device).unwrap_or(0))
        })
        .collect();
    let mut builder = ProblemBuilder::new(&dense);
    let now = view.now();
    for (from, first) in agents.iter().enumerate() {
        for (to, second) in agents.iter().enumerate().filter(|(to, _)| *to != from) {
            let latency = view.transfer(*first, *second, 1);
            let mebibyte = view.transfer(*first, *second, 1 << 20).saturating_sub(latency);
            let (latency, rate) = view.link(*first, *second).unwrap_or_else(|| {
                (latency, isochrone_model::BytesPerSecond::from_transfer((1 << 20) - 1, mebibyte))
            });
            builder.link(from, to, latency, rate, view.notice(*first, *second));
        }
    }
    for (place, slot) in slots.iter().enumerate() {
        builder.name(place, name_of(view, *slot));
        builder.slot_free(place, view.slot_free_at(*slot).since(now));
    }
    builder.contended(view.do_transfers_add_up());
    let words: Vec<Span> = agents.iter().map(|agent| view.control_one_way(*agent)).collect();
    builder.outside_ready(&words);
    let mut place_of = vec![u32::MAX; view.task_index_end()];
    for (place, task) in tasks.iter().enumerate() {
        place_of[task.index()] = place as u32;
    }
    let is_planned = |task: TaskIndex| place_of[task.index()] != u32::MAX;
    let mut at_client = BTreeMap::new();
    let mut execution = vec![Problem::ILLEGAL; slots.len()];
    for task in tasks {
        executions_of(view, *task, slots, &mut execution);
        let place = builder.task(&execution);
        builder.place(place, places[task.index()]);
        for input in view.inputs(*task).filter(|input| is_at_client(view, input)) {
            let contents = *at_client.entry((input.contents, input.size_bytes)).or_insert_with(|| {
                let arrival = |agent: &AgentId| view.from_client(*task, *agent, input.size_bytes);
                builder.outside_contents(input.size_bytes, &agents.iter().map(arrival).collect::<Vec<_>>())
            });
            builder.reads_outside(place, contents);
        }
        let mut outside = words.clone();
        let mut is_held = false;
        let is_inside = |first: TaskIndex| is_planned(first) || is_held_by_client(view, first);
        for (agent, ready) in agents.iter().zip(&mut outside) {
            let Some(time) = view.outside_ready_at(*task, *agent, is_inside) else { break };
            is_held = true;
            *ready = time.since(now).max(*ready);
        }
        if is_held {
            builder.task_outside_ready(place, &outside);
        }
    }
    for (place, task) in tasks.iter().enumerate() {
        for (first, size_bytes, contents) in edges_into(view, *task, is_planned) {
            let first = place_of[first.index()] as usize;
            match contents {
                Some(contents) => builder.edge_of(first, place, size_bytes, contents),
                None => builder.edge(first, place, size_bytes),
            }
        }
    }
    builder.build()
}

/// Whether contents are still with the client, to be sent to the agent of their first reader.
fn is_at_client(view: &View<'_>, input: &TaskInput) -> bool {
    input.producer.is_some_and(|producer| is_held_by_client(view, producer))
}

fn is_held_by_client(view: &View<'_>, task: TaskIndex) -> bool {
    match view.shape(task) {
        TaskShape::Source => {
            view.placed_on(task).is_none()
                && view.is_settled(task)
                && view.predecessors(task).next().is_none()
        }
        TaskShape::Kernel { .. } | TaskShape::Copy { .. } | TaskShape::Read | TaskShape::Nothing => false,
    }
}

fn name_of(view: &View<'_>, slot: SlotId) -> SlotName {
    let device = view.device_of(slot);
    let agent = view.agent_of(device);
    let devices = view.devices().filter(|other| view.agent_of(*other) == agent);
    SlotName {
        agent: agent.0,
        device: devices.take_while(|other| *other < device).count() as u32,
        slot: view.slots_of(device).iter().take_while(|other| **other < slot).count() as u32,
    }
}

fn executions_of(view: &View<'_>, task: TaskIndex, slots: &[SlotId], execution: &mut [Span]) {
    if view.shape(task) == TaskShape::Nothing {
        execution.fill(Span::ZERO);
        return;
    }
    execution.fill(Problem::ILLEGAL);
    let mut next = 0;
    for device in view.legal_devices(task) {
        let expected = view.execution(task, device).expected.min(Span(u64::MAX - 1));
        while next < slots.len() && view.device_of(slots[next]) <= device {
            if view.device_of(slots[next]) == device {
                execution[next] = expected;
            }
            next += 1;
        }
    }
}

/// The planned tasks that a task waits for, each once, with the bytes that move: all contents together where
/// transfers slow each other down, else the largest; and which contents, when they are one.
fn edges_into(
    view: &View<'_>,
    task: TaskIndex,
    is_planned: impl Fn(TaskIndex) -> bool,
) -> Vec<(TaskIndex, u64, Option<u32>)> {
    let mut edges: Vec<(TaskIndex, u64, Option<u32>)> = view
        .inputs(task)
        .filter_map(|input| Some((input.producer?, input.size_bytes, Some(input.contents))))
        .filter(|(first, _, _)| is_planned(*first))
        .collect();
    // What the machine places by itself is no part of the plan, but what comes before it comes before this task too.
    let mut passed = BTreeSet::new();
    let mut open = vec![task];
    while let Some(next) = open.pop() {
        for (first, _) in view.predecessors(next) {
            if is_planned(first) {
                edges.push((first, 0, None));
            } else if passed.insert(first) && view.placed_on(first).is_none() {
                open.push(first);
            }
        }
    }
    edges.sort_unstable();
    let do_add_up = view.do_transfers_add_up();
    edges.dedup_by(|later, kept| {
        let is_same = later.0 == kept.0;
        if is_same {
            // Sorted by size: the first of a pair may be the mere order. Several contents together are the pair's own.
            kept.2 = if kept.1 == 0 { later.2 } else { None };
            kept.1 = if do_add_up { kept.1 + later.1 } else { kept.1.max(later.1) };
        }
        is_same
    });
    edges
}
