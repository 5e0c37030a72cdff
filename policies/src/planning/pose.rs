//! The problem of placing tasks as a view tells it.

use std::collections::{BTreeMap, BTreeSet};

use isochrone_model::{AgentId, BytesPerSecond, DeviceId, SlotId, Span};
use isochrone_sched_core::{TaskIndex, TaskInput, TaskShape, View};

use super::guesses::Guesses;
use super::likely_links::LikelyLinks;
use super::problem::{OutsideInput, Problem, ProblemBuilder, SlotName};

/// What a planner that judges plans is told beside the problem itself.
pub(super) struct Posed<'a> {
    /// Estimates for pairs of kernel and device that were never measured.
    pub guesses: &'a Guesses,
    /// Bytes that this policy has sent, by sender and receiver.
    pub sent: &'a BTreeMap<(AgentId, AgentId), u64>,
    /// Bytes that clients have sent for it, by receiver.
    pub sent_by_clients: &'a BTreeMap<AgentId, u64>,
    /// By task of the problem, the slot of an earlier plan and its place in it.
    pub earlier: Vec<Option<(SlotId, u32)>>,
}

/// Whether policies place a task: launches, copies, barriers and markers.
pub(super) fn has_place(view: &View<'_>, task: TaskIndex) -> bool {
    match view.shape(task) {
        TaskShape::Kernel { .. } | TaskShape::Copy { .. } | TaskShape::Nothing => true,
        TaskShape::Source | TaskShape::Read => false,
    }
}

/// The problem of placing tasks, in program order, on slots, as the view tells it.
pub(super) fn problem_of(
    view: &View<'_>,
    tasks: &[TaskIndex],
    places: &[u64],
    slots: &[SlotId],
    posed: Option<&Posed<'_>>,
) -> Problem {
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
    let is_doubted = posed.is_some() && view.do_transfers_add_up();
    let likely = is_doubted.then(|| LikelyLinks::new(view, &agents));
    for (from, first) in agents.iter().enumerate() {
        for (to, second) in agents.iter().enumerate().filter(|(to, _)| *to != from) {
            let latency = view.transfer(*first, *second, 1);
            let mebibyte = view.transfer(*first, *second, 1 << 20).saturating_sub(latency);
            let known = view
                .link(*first, *second)
                .unwrap_or_else(|| (latency, BytesPerSecond::from_transfer((1 << 20) - 1, mebibyte)));
            let (latency, rate) = match &likely {
                Some(likely) => likely.link(known, view.link(*second, *first)),
                None => known,
            };
            let notice = (view.notice(*first, *second) + latency).saturating_sub(known.0);
            builder.link(from, to, latency, rate, notice);
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
        executions_of(view, *task, slots, posed.map(|posed| posed.guesses), &mut execution);
        let place = builder.task(&execution);
        builder.place(place, places[task.index()]);
        for input in view.inputs(*task).filter(|input| is_at_client(view, input)) {
            let contents = *at_client.entry((input.contents, input.size_bytes)).or_insert_with(|| {
                let arrival = |agent: &AgentId| view.from_client(*task, *agent, input.size_bytes);
                builder.client_contents(input.size_bytes, &agents.iter().map(arrival).collect::<Vec<_>>())
            });
            builder.reads_from_client(place, contents);
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
    if let Some(posed) = posed {
        state_outside(&mut builder, view, tasks, slots, &agents, posed, is_planned);
    }
    builder.build()
}

/// Whether contents are still with the client, to be sent to the agent of their first reader.
pub(super) fn is_at_client(view: &View<'_>, input: &TaskInput) -> bool {
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

/// What lies outside of the problem, for judges.
fn state_outside(
    builder: &mut ProblemBuilder,
    view: &View<'_>,
    tasks: &[TaskIndex],
    slots: &[SlotId],
    agents: &[AgentId],
    posed: &Posed<'_>,
    is_planned: impl Fn(TaskIndex) -> bool,
) {
    let now = view.now();
    // Tasks that are planned together are of one session, or of several whose clients count as that of the first.
    let Some(first) = tasks.first() else { return };
    for agent in agents {
        let latency = view.from_client(*first, *agent, 0);
        let gibibyte = view.from_client(*first, *agent, 1 << 30).saturating_sub(latency);
        builder.client_link(latency, BytesPerSecond::from_transfer(1 << 30, gibibyte));
    }
    for ((from, to), size_bytes) in posed.sent {
        if let (Ok(from), Ok(to)) = (agents.binary_search(from), agents.binary_search(to)) {
            builder.sent_between(from, to, *size_bytes);
        }
    }
    for (to, size_bytes) in posed.sent_by_clients {
        if let Ok(to) = agents.binary_search(to) {
            builder.sent_by_client(to, *size_bytes);
        }
    }
    let words: Vec<Span> = agents.iter().map(|agent| view.control_one_way(*agent)).collect();
    let mut plain = None;
    let mut told = Vec::with_capacity(words.len());
    for (place, task) in tasks.iter().enumerate() {
        for input in view.input_replicas(*task, &is_planned) {
            let holder = match input.agent {
                None => agents.len(),
                Some(agent) => match agents.binary_search(&agent) {
                    Ok(holder) => holder,
                    Err(_) => continue,
                },
            };
            let (size_bytes, ready) = (input.size_bytes, input.ready.since(now));
            builder
                .outside_input(place, OutsideInput { contents: input.contents, size_bytes, holder, ready });
        }
        if agents.first().is_some_and(|agent| view.told_at(*task, *agent).is_some()) {
            told.clear();
            told.extend(agents.iter().zip(&words).map(|(agent, word)| {
                view.told_at(*task, *agent).map_or(*word, |at| at.since(now).max(*word))
            }));
            builder.task_told(&told);
        } else if let Some(row) = plain {
            builder.task_told_like(row);
        } else {
            plain = Some(place);
            builder.task_told(&words);
        }
        if let Some((slot, order)) = posed.earlier[place]
            && let Ok(slot) = slots.binary_search(&slot)
        {
            builder.earlier(place, slot, order);
        }
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

fn executions_of(
    view: &View<'_>,
    task: TaskIndex,
    slots: &[SlotId],
    guesses: Option<&Guesses>,
    execution: &mut [Span],
) {
    if view.shape(task) == TaskShape::Nothing {
        execution.fill(Span::ZERO);
        return;
    }
    execution.fill(Problem::ILLEGAL);
    let mut next = 0;
    for device in view.legal_devices(task).filter(|device| !view.is_kept_off(task, view.agent_of(*device))) {
        let guessed = guesses.and_then(|guesses| guesses.of(view, task, device));
        let expected = guessed.unwrap_or_else(|| view.execution(task, device).expected);
        let expected = expected.min(Span(u64::MAX - 1));
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
