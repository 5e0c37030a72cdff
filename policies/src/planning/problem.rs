//! A scheduling problem as dense tables: what planners read, and nothing of how it came about.
//!
//! Conventions, for every planner alike: spans are nanoseconds and count from the time of planning; contents
//! that stay on an agent cost nothing to move; between agents they take latency and size over rate, at the
//! same time as others (no contention); an edge without contents takes one notice. Tasks are in program order
//! and that order decides ties; slots are in order of id.

use isochrone_model::{BytesPerSecond, Span};

use super::client_contents::ClientContents;
use super::kinds::{Kinds, KindsBuilder};

/// A dependency between two tasks of the problem.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Edge {
    /// The task at the other end.
    pub task: usize,
    /// Contents that move; 0 when only the order matters.
    pub size_bytes: u64,
    /// Which contents, where other tasks read the same: dense from 0. They move to an agent once.
    pub shared: Option<u32>,
}

/// Contents that a task reads and that no task of the problem makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutsideInput {
    /// Which contents: dense from 0. They move to an agent once.
    pub contents: u32,
    /// Bytes that move.
    pub size_bytes: u64,
    /// A party that has them: an agent, or as many as there are agents for the client.
    pub holder: usize,
    /// When it has them.
    pub ready: Span,
}

/// Edges of all tasks, those of one task side by side.
#[derive(Clone, Debug, Default)]
struct Edges {
    starts: Vec<usize>,
    edges: Vec<Edge>,
}

impl Edges {
    fn of(&self, task: usize) -> &[Edge] {
        &self.edges[self.starts[task]..self.starts[task + 1]]
    }

    /// From (owner, edge), in any order; each owner's keep their order.
    fn new(tasks: usize, edges: impl Iterator<Item = (usize, Edge)> + Clone) -> Self {
        let mut starts = vec![0; tasks + 1];
        for (owner, _) in edges.clone() {
            starts[owner + 1] += 1;
        }
        for task in 0..tasks {
            starts[task + 1] += starts[task];
        }
        let mut places = starts.clone();
        let mut sorted = vec![Edge { task: 0, size_bytes: 0, shared: None }; starts[tasks]];
        for (owner, edge) in edges {
            sorted[places[owner]] = edge;
            places[owner] += 1;
        }
        Self { starts, edges: sorted }
    }
}

/// The problem.
#[derive(Clone, Debug)]
pub struct Problem {
    tasks: usize,
    slots: usize,
    kinds: Kinds,
    agent_of_slot: Vec<usize>,
    device_of_slot: Vec<usize>,
    predecessors: Edges,
    successors: Edges,
    agents: usize,
    /// By sender, then by receiver.
    links: Vec<LinkCost>,
    mean_link: MeanLink,
    slot_free: Vec<Span>,
    /// Rows of earliest starts by agent; row 0 is that of tasks that nothing from outside holds back.
    outside_rows: Vec<Span>,
    outside_row_of: Vec<u32>,
    /// The same without contents that the client holds.
    other_row_of: Vec<u32>,
    client_contents: Vec<ClientContents>,
    /// By task, the contents of the client that it reads; shorter where the last tasks read none.
    client_reads: Vec<Vec<u32>>,
    places: Vec<u64>,
    names: Vec<SlotName>,
    is_contended: bool,
    shared_contents: usize,
    outside: Outside,
}

/// What is known of the world outside of the problem beyond earliest starts, for judges of plans; planners need none of it.
#[derive(Clone, Debug, Default)]
struct Outside {
    contents: usize,
    /// (task, input), by task; the holders of one input side by side.
    inputs: Vec<(usize, OutsideInput)>,
    /// By task, where its inputs start.
    starts: Vec<usize>,
    /// Rows as of `outside_rows`, of words and notices alone.
    told_rows: Vec<Span>,
    told_row_of: Vec<u32>,
    /// From the client, by agent.
    client_links: Vec<LinkCost>,
    /// By sender, then by receiver: bytes that have gone between two agents; `None` before they have a connection.
    sent: Vec<Option<u64>>,
    /// From the client, by agent: the same.
    sent_by_client: Vec<Option<u64>>,
    /// By task: the slot that an earlier plan gave it, and its place in that plan's order.
    earlier: Vec<Option<(usize, u32)>>,
}

/// A slot as files name it, the same in every problem of one farm: agent and device stay numbered as they are when
/// others leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SlotName {
    /// The agent's number.
    pub agent: u32,
    /// The device's place within the agent.
    pub device: u32,
    /// The slot's place within the device.
    pub slot: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct LinkCost {
    latency: Span,
    rate: BytesPerSecond,
    notice: Span,
}

impl LinkCost {
    fn moving(&self, size_bytes: u64) -> Span {
        if size_bytes == 0 {
            return self.notice;
        }
        self.latency + self.rate.span_for(size_bytes)
    }
}

/// Means over unordered pairs of different devices.
#[derive(Clone, Copy, Debug, Default)]
struct MeanLink {
    latency: Span,
    notice: Span,
    nanos_per_gibibyte: u64,
}

impl Problem {
    /// Stands for a slot that may not run a task.
    pub const ILLEGAL: Span = Span(u64::MAX);

    /// How many tasks there are.
    #[must_use]
    pub fn tasks(&self) -> usize {
        self.tasks
    }

    /// How many slots there are.
    #[must_use]
    pub fn slots(&self) -> usize {
        self.slots
    }

    /// How many agents there are.
    #[must_use]
    pub fn agents(&self) -> usize {
        self.agents
    }

    /// A slot's agent, dense.
    #[must_use]
    pub fn agent_of(&self, slot: usize) -> usize {
        self.agent_of_slot[slot]
    }

    /// A slot's device, dense.
    #[must_use]
    pub fn device_of(&self, slot: usize) -> usize {
        self.device_of_slot[slot]
    }

    /// What a task takes on a slot, or `Problem::ILLEGAL`.
    #[must_use]
    pub fn execution(&self, task: usize, slot: usize) -> Span {
        self.kinds.executions(self.kinds.kind_of(task))[slot]
    }

    /// What a task takes on each slot, in order.
    #[must_use]
    pub fn executions(&self, task: usize) -> &[Span] {
        self.kinds.executions(self.kinds.kind_of(task))
    }

    /// A task's kind, dense: tasks of one kind take the same on every slot.
    #[must_use]
    pub fn kind_of(&self, task: usize) -> usize {
        self.kinds.kind_of(task)
    }

    /// How many kinds of tasks there are.
    #[must_use]
    pub fn kinds(&self) -> usize {
        self.kinds.count()
    }

    /// What tasks of a kind take on each slot, in order.
    #[must_use]
    pub fn kind_executions(&self, kind: usize) -> &[Span] {
        self.kinds.executions(kind)
    }

    /// Whether a slot may run a task.
    #[must_use]
    pub fn is_legal(&self, task: usize, slot: usize) -> bool {
        self.execution(task, slot) != Self::ILLEGAL
    }

    /// Slots that may run a task, in order.
    pub fn legal_slots(&self, task: usize) -> impl Iterator<Item = usize> + '_ {
        (0..self.slots).filter(move |slot| self.is_legal(task, *slot))
    }

    /// Mean over the slots that may run a task, rounded down; zero when there are none.
    #[must_use]
    pub fn mean_execution(&self, task: usize) -> Span {
        let (mut sum, mut count) = (0_u128, 0_u128);
        for execution in self.executions(task).iter().filter(|execution| **execution != Self::ILLEGAL) {
            sum += u128::from(execution.0);
            count += 1;
        }
        Span(u64::try_from(sum / count.max(1)).unwrap_or(u64::MAX))
    }

    /// Median over the slots that may run a task (of an even number the mean of the middle two, rounded down);
    /// zero when there are none.
    #[must_use]
    pub fn median_execution(&self, task: usize) -> Span {
        let mut legal: Vec<u64> =
            self.executions(task).iter().map(|span| span.0).filter(|span| *span != u64::MAX).collect();
        legal.sort_unstable();
        let middle = legal.len() / 2;
        match legal.len() {
            0 => Span::ZERO,
            count if count % 2 == 1 => Span(legal[middle]),
            _ => Span(legal[middle - 1].midpoint(legal[middle])),
        }
    }

    /// The tasks before a task, in program order.
    #[must_use]
    pub fn predecessors(&self, task: usize) -> &[Edge] {
        self.predecessors.of(task)
    }

    /// The tasks behind a task, in program order.
    #[must_use]
    pub fn successors(&self, task: usize) -> &[Edge] {
        self.successors.of(task)
    }

    /// What an edge takes between two slots: zero on one agent.
    #[must_use]
    pub fn transfer(&self, size_bytes: u64, from: usize, to: usize) -> Span {
        self.transfer_between_agents(size_bytes, self.agent_of_slot[from], self.agent_of_slot[to])
    }

    /// What an edge takes between two agents.
    #[must_use]
    pub fn transfer_between_agents(&self, size_bytes: u64, from: usize, to: usize) -> Span {
        if from == to {
            return Span::ZERO;
        }
        self.links[from * self.agents + to].moving(size_bytes)
    }

    /// What the first byte takes between two agents.
    #[must_use]
    pub fn latency_between_agents(&self, from: usize, to: usize) -> Span {
        if from == to { Span::ZERO } else { self.links[from * self.agents + to].latency }
    }

    /// By agent, the latest of what stands there and the arrival of what a task sends that ends at `finish` on
    /// agent `from`.
    pub fn raise_arrivals(&self, arrivals: &mut [Span], size_bytes: u64, from: usize, finish: Span) {
        let links = &self.links[from * self.agents..(from + 1) * self.agents];
        let mut latest = (links[0], links[0].moving(size_bytes));
        for (to, (link, arrival)) in links.iter().zip(arrivals).enumerate() {
            if *link != latest.0 {
                latest = (*link, link.moving(size_bytes));
            }
            let moving = if to == from { Span::ZERO } else { latest.1 };
            *arrival = (*arrival).max(finish + moving);
        }
    }

    /// What an edge takes in the mean over unordered pairs of different devices.
    #[must_use]
    pub fn mean_transfer(&self, size_bytes: u64) -> Span {
        if size_bytes == 0 {
            return self.mean_link.notice;
        }
        let carrying = (u128::from(self.mean_link.nanos_per_gibibyte) * u128::from(size_bytes)) >> 30;
        self.mean_link.latency + Span(u64::try_from(carrying).unwrap_or(u64::MAX))
    }

    /// A task's place in its graph, in program order; its index unless stated. Unlike the index it stays the same when
    /// a part of the graph is planned again.
    #[must_use]
    pub fn place(&self, task: usize) -> u64 {
        self.places[task]
    }

    /// A slot's name.
    #[must_use]
    pub fn name(&self, slot: usize) -> SlotName {
        self.names[slot]
    }

    /// Whether transfers of one host are expected to slow each other down.
    #[must_use]
    pub fn is_contended(&self) -> bool {
        self.is_contended
    }

    /// How many contents several tasks read.
    #[must_use]
    pub fn shared_contents(&self) -> usize {
        self.shared_contents
    }

    /// The same problem on some of the slots; `None` when a task could then run nowhere though it can now.
    #[must_use]
    pub fn restricted(&self, is_kept: &[bool]) -> Option<Self> {
        let mut restricted = self.clone();
        for row in restricted.kinds.executions_mut() {
            let could_run = row.iter().any(|execution| *execution != Self::ILLEGAL);
            for (execution, _) in row.iter_mut().zip(is_kept).filter(|(_, is_kept)| !**is_kept) {
                *execution = Self::ILLEGAL;
            }
            if could_run && row.iter().all(|execution| *execution == Self::ILLEGAL) {
                return None;
            }
        }
        Some(restricted)
    }

    /// When a slot is free of what runs there already.
    #[must_use]
    pub fn slot_free(&self, slot: usize) -> Span {
        self.slot_free[slot]
    }

    /// When an agent can start a task that nothing holds back: the time of a word to it.
    #[must_use]
    pub fn word(&self, agent: usize) -> Span {
        self.outside_rows[agent]
    }

    /// Contents that a task reads and that are outside of the problem, the holders of each side by side; only what was stated.
    pub fn outside_inputs(&self, task: usize) -> impl Iterator<Item = &OutsideInput> {
        let outside = &self.outside;
        let (start, end) = match outside.starts.get(task..task + 2) {
            Some(bounds) => (bounds[0], bounds[1]),
            None => (0, 0),
        };
        outside.inputs[start..end].iter().map(|(_, input)| input)
    }

    /// How many contents there are outside.
    #[must_use]
    pub fn outside_contents(&self) -> usize {
        self.outside.contents
    }

    /// The earliest start of a task on an agent as far as words and notices from outside tell; where nothing was stated of
    /// them, as far as anything outside tells.
    #[must_use]
    pub fn told(&self, task: usize, agent: usize) -> Span {
        let outside = &self.outside;
        match outside.told_row_of.get(task) {
            Some(row) => outside.told_rows[*row as usize * self.agents + agent],
            None => self.outside_rows[self.outside_row_of[task] as usize * self.agents + agent],
        }
    }

    /// Latency of what the client sends to an agent, the word that asks for it included, and the time of the bytes.
    #[must_use]
    pub fn from_client(&self, size_bytes: u64, agent: usize) -> (Span, Span) {
        let Some(link) = self.outside.client_links.get(agent) else { return (Span::ZERO, Span::ZERO) };
        (link.latency, link.moving(size_bytes).saturating_sub(link.latency))
    }

    /// Bytes that have gone from one agent to another; `None` when they have no connection yet.
    #[must_use]
    pub fn sent_between(&self, from: usize, to: usize) -> Option<u64> {
        self.outside.sent.get(from * self.agents + to).copied().flatten()
    }

    /// Bytes that have gone from the client to an agent; `None` when none have.
    #[must_use]
    pub fn sent_by_client(&self, agent: usize) -> Option<u64> {
        self.outside.sent_by_client.get(agent).copied().flatten()
    }

    /// The slot that an earlier plan gave a task, and the task's place in its order.
    #[must_use]
    pub fn earlier(&self, task: usize) -> Option<(usize, u32)> {
        self.outside.earlier.get(task).copied().flatten()
    }

    /// The same problem with other latencies and rates between agents; notices take as much more or less as the latency does.
    #[must_use]
    pub fn with_links(
        &self,
        mut link: impl FnMut(usize, usize, Span, BytesPerSecond) -> (Span, BytesPerSecond),
    ) -> Self {
        let mut changed = self.clone();
        for from in 0..self.agents {
            for to in (0..self.agents).filter(|to| *to != from) {
                let cost = &mut changed.links[from * self.agents + to];
                let before = cost.latency;
                (cost.latency, cost.rate) = link(from, to, cost.latency, cost.rate);
                cost.notice = (cost.notice + cost.latency).saturating_sub(before);
            }
        }
        changed.mean_link = mean_link(&changed.device_of_slot, &changed.agent_of_slot, &changed.links);
        changed
    }

    /// The earliest start of a task on a slot as far as things outside of the problem tell: contents that are
    /// there already, come from tasks that are placed or from the client, and the word to the agent.
    #[must_use]
    pub fn outside_ready(&self, task: usize, slot: usize) -> Span {
        let row = self.outside_row_of[task] as usize;
        self.outside_rows[row * self.agents + self.agent_of_slot[slot]]
    }

    /// Tasks with the same number start on every slot at the same time at the earliest, as far as `outside_ready` tells.
    pub(super) fn outside_kind_of(&self, task: usize) -> u32 {
        self.outside_row_of[task]
    }

    /// The same without contents that the client holds.
    pub(super) fn other_outside_ready(&self, task: usize, slot: usize) -> Span {
        let row = self.other_row_of[task] as usize;
        self.outside_rows[row * self.agents + self.agent_of_slot[slot]]
    }

    pub(super) fn client_contents(&self) -> &[ClientContents] {
        &self.client_contents
    }

    pub(super) fn client_reads(&self, task: usize) -> &[u32] {
        self.client_reads.get(task).map_or(&[], Vec::as_slice)
    }
}

/// Makes a problem. Tasks are added in program order; an edge's tasks must be known.
#[derive(Clone, Debug)]
pub struct ProblemBuilder {
    slots: usize,
    agent_of_slot: Vec<usize>,
    device_of_slot: Vec<usize>,
    agents: usize,
    kinds: KindsBuilder,
    /// First, second, bytes, which contents.
    edges: Vec<(usize, usize, u64, Option<u32>)>,
    links: Vec<LinkCost>,
    slot_free: Vec<Span>,
    outside_rows: Vec<Span>,
    outside_row_of: Vec<u32>,
    client_contents: Vec<ClientContents>,
    client_reads: Vec<Vec<u32>>,
    places: Vec<u64>,
    names: Vec<SlotName>,
    is_contended: bool,
    outside: Outside,
}

impl ProblemBuilder {
    /// A problem on these slots, each given as (agent, device), both dense. Links cost nothing until stated.
    #[must_use]
    pub fn new(slots: &[(usize, usize)]) -> Self {
        let agents = slots.iter().map(|(agent, _)| agent + 1).max().unwrap_or(0);
        let free = LinkCost { latency: Span::ZERO, rate: BytesPerSecond::UNLIMITED, notice: Span::ZERO };
        Self {
            slots: slots.len(),
            agent_of_slot: slots.iter().map(|(agent, _)| *agent).collect(),
            device_of_slot: slots.iter().map(|(_, device)| *device).collect(),
            agents,
            kinds: KindsBuilder::new(slots.len()),
            edges: Vec::new(),
            links: vec![free; agents * agents],
            slot_free: vec![Span::ZERO; slots.len()],
            outside_rows: vec![Span::ZERO; agents],
            outside_row_of: Vec::new(),
            client_contents: Vec::new(),
            client_reads: Vec::new(),
            places: Vec::new(),
            names: names(slots),
            is_contended: false,
            outside: Outside::default(),
        }
    }

    /// States one direction between two agents: latency and rate for contents, and a notice's time.
    pub fn link(&mut self, from: usize, to: usize, latency: Span, rate: BytesPerSecond, notice: Span) {
        self.links[from * self.agents + to] = LinkCost { latency, rate, notice };
    }

    /// States whether transfers of one host slow each other down; without, they do not.
    pub fn contended(&mut self, is_contended: bool) {
        self.is_contended = is_contended;
    }

    /// States contents from outside that a task reads, told apart by a number of the caller's; several holders in a row
    /// are of one input. Tasks come in order.
    pub fn outside_input(&mut self, task: usize, input: OutsideInput) {
        self.outside.inputs.push((task, input));
    }

    /// States the earliest start by agent of a task, as far as words and notices tell; for all tasks or for none, in order.
    pub fn task_told(&mut self, by_agent: &[Span]) {
        self.outside.told_row_of.push((self.outside.told_rows.len() / self.agents.max(1)) as u32);
        self.outside.told_rows.extend_from_slice(by_agent);
    }

    /// The same where the row is that of the task before.
    pub fn task_told_like(&mut self, row_of: usize) {
        let row = self.outside.told_row_of[row_of];
        self.outside.told_row_of.push(row);
    }

    /// States what the client needs to reach an agent; for all agents, in order.
    pub fn client_link(&mut self, latency: Span, rate: BytesPerSecond) {
        self.outside.client_links.push(LinkCost { latency, rate, notice: latency });
    }

    /// States that two agents have a connection, and what has gone over it in this direction.
    pub fn sent_between(&mut self, from: usize, to: usize, size_bytes: u64) {
        self.outside.sent.resize(self.agents * self.agents, None);
        self.outside.sent[from * self.agents + to] = Some(size_bytes);
    }

    /// States that the client has a connection with an agent, and what has gone over it.
    pub fn sent_by_client(&mut self, agent: usize, size_bytes: u64) {
        self.outside.sent_by_client.resize(self.agents, None);
        self.outside.sent_by_client[agent] = Some(size_bytes);
    }

    /// States where an earlier plan had a task, and its place in that plan's order.
    pub fn earlier(&mut self, task: usize, slot: usize, place: u32) {
        if self.outside.earlier.len() <= task {
            self.outside.earlier.resize(task + 1, None);
        }
        self.outside.earlier[task] = Some((slot, place));
    }

    /// States when a slot is free.
    pub fn slot_free(&mut self, slot: usize, free: Span) {
        self.slot_free[slot] = free;
    }

    /// States a slot's name; otherwise agents, devices of an agent and slots of a device are counted in order.
    pub fn name(&mut self, slot: usize, name: SlotName) {
        self.names[slot] = name;
    }

    /// States a task's place in its graph.
    pub fn place(&mut self, task: usize, place: u64) {
        self.places[task] = place;
    }

    /// States the earliest start by agent of tasks that nothing else holds back.
    pub fn outside_ready(&mut self, by_agent: &[Span]) {
        self.outside_rows[..self.agents].copy_from_slice(by_agent);
    }

    /// Adds a task with what it takes on each slot (`Problem::ILLEGAL` where it may not run) and gives its index.
    ///
    /// # Panics
    /// When there is not one span for each slot.
    pub fn task(&mut self, execution: &[Span]) -> usize {
        assert_eq!(execution.len(), self.slots, "one span for each slot");
        self.kinds.task(execution);
        self.note_task()
    }

    /// Adds a task that takes on each slot what an earlier one takes, and gives its index.
    pub fn task_like(&mut self, task: usize) -> usize {
        self.kinds.task_like(task);
        self.note_task()
    }

    fn note_task(&mut self) -> usize {
        self.outside_row_of.push(0);
        self.places.push(self.places.len() as u64);
        self.kinds.tasks() - 1
    }

    /// Adds contents that the client holds, with the time by agent at which they are there if they are sent there first,
    /// and gives their number. They go to the agent of their first reader, and from there to others.
    pub fn client_contents(&mut self, size_bytes: u64, direct: &[Span]) -> u32 {
        self.client_contents.push(ClientContents { size_bytes, direct: direct.to_vec() });
        self.client_contents.len() as u32 - 1
    }

    /// Says that a task reads such contents.
    pub fn reads_from_client(&mut self, task: usize, contents: u32) {
        self.client_reads.resize_with(self.client_reads.len().max(task + 1), Vec::new);
        self.client_reads[task].push(contents);
    }

    /// States the earliest start by agent of one task, without contents that the client holds.
    pub fn task_outside_ready(&mut self, task: usize, by_agent: &[Span]) {
        self.outside_row_of[task] = (self.outside_rows.len() / self.agents.max(1)) as u32;
        self.outside_rows.extend_from_slice(by_agent);
    }

    /// Says that `first` must end before `second`, and what moves between them; 0 for nothing.
    pub fn edge(&mut self, first: usize, second: usize, size_bytes: u64) {
        self.edges.push((first, second, size_bytes, None));
    }

    /// The same for contents that other tasks read too, told apart by a number of the caller's.
    pub fn edge_of(&mut self, first: usize, second: usize, size_bytes: u64, contents: u32) {
        self.edges.push((first, second, size_bytes, Some(contents)));
    }

    /// Numbers the contents that several tasks read from 0 on, and gives their count; what one task reads is its own.
    fn number_contents(&mut self) -> usize {
        let mut contents: Vec<u32> = self.edges.iter().filter_map(|(_, _, _, contents)| *contents).collect();
        contents.sort_unstable();
        let mut shared: Vec<u32> =
            contents.windows(2).filter(|pair| pair[0] == pair[1]).map(|pair| pair[0]).collect();
        shared.dedup();
        for (_, _, _, contents) in &mut self.edges {
            *contents =
                contents.and_then(|contents| shared.binary_search(&contents).ok()).map(|at| at as u32);
        }
        shared.len()
    }

    /// Numbers the contents outside from 0 on, and finds where each task's begin.
    fn number_outside(&mut self, tasks: usize) {
        let outside = &mut self.outside;
        let mut contents: Vec<u32> = outside.inputs.iter().map(|(_, input)| input.contents).collect();
        contents.sort_unstable();
        contents.dedup();
        outside.starts = vec![0; tasks + 1];
        for (task, input) in &mut outside.inputs {
            input.contents = contents.binary_search(&input.contents).unwrap_or(0) as u32;
            outside.starts[*task + 1] += 1;
        }
        for task in 0..tasks {
            outside.starts[task + 1] += outside.starts[task];
        }
        outside.contents = contents.len();
    }

    /// Rows of tasks that read contents of the client, from when they can be there at the earliest.
    fn add_outside_rows(&mut self) {
        let moving = |size_bytes: u64, from: usize, to: usize| {
            let link = self.links[from * self.agents + to];
            if from == to { Span::ZERO } else { link.moving(size_bytes) }
        };
        let contents = self.client_contents.iter();
        let earliest: Vec<Vec<Span>> = contents
            .map(|outside| outside.earliest(|from, to| moving(outside.size_bytes, from, to)))
            .collect();
        for (task, reads) in self.client_reads.iter().enumerate().filter(|(_, reads)| !reads.is_empty()) {
            let other = self.outside_row_of[task] as usize * self.agents;
            self.outside_row_of[task] = (self.outside_rows.len() / self.agents.max(1)) as u32;
            let mut row = self.outside_rows[other..other + self.agents].to_vec();
            for contents in reads {
                for (ready, there) in row.iter_mut().zip(&earliest[*contents as usize]) {
                    *ready = (*ready).max(*there);
                }
            }
            self.outside_rows.append(&mut row);
        }
    }

    /// The problem.
    #[must_use]
    pub fn build(mut self) -> Problem {
        self.number_outside(self.outside_row_of.len());
        let shared_contents = self.number_contents();
        let other_row_of = self.outside_row_of.clone();
        self.add_outside_rows();
        let tasks = self.outside_row_of.len();
        // By second, then by first: so both the edges of each first and those of each second are in order.
        self.edges.sort_unstable_by_key(|(first, second, size_bytes, shared)| {
            (*second, *first, *size_bytes, *shared)
        });
        let edge = |task, size_bytes, shared| Edge { task, size_bytes, shared };
        let before =
            self.edges.iter().map(|(first, second, size, shared)| (*second, edge(*first, *size, *shared)));
        let behind =
            self.edges.iter().map(|(first, second, size, shared)| (*first, edge(*second, *size, *shared)));
        Problem {
            tasks,
            slots: self.slots,
            predecessors: Edges::new(tasks, before),
            successors: Edges::new(tasks, behind),
            mean_link: mean_link(&self.device_of_slot, &self.agent_of_slot, &self.links),
            kinds: self.kinds.build(),
            agent_of_slot: self.agent_of_slot,
            device_of_slot: self.device_of_slot,
            agents: self.agents,
            links: self.links,
            slot_free: self.slot_free,
            outside_rows: self.outside_rows,
            outside_row_of: self.outside_row_of,
            other_row_of,
            client_contents: self.client_contents,
            client_reads: self.client_reads,
            places: self.places,
            names: self.names,
            is_contended: self.is_contended,
            shared_contents,
            outside: self.outside,
        }
    }
}

/// Means over unordered pairs of different devices.
fn mean_link(device_of_slot: &[usize], agent_of_slot: &[usize], links: &[LinkCost]) -> MeanLink {
    let agents = links.len().isqrt();
    let mut devices: Vec<(usize, usize)> =
        device_of_slot.iter().copied().zip(agent_of_slot.iter().copied()).collect();
    devices.sort_unstable();
    devices.dedup();
    let (mut latency, mut notice, mut carrying, mut pairs) = (0_u128, 0_u128, 0_u128, 0_u128);
    for (place, (_, first)) in devices.iter().enumerate() {
        for (_, second) in &devices[place + 1..] {
            pairs += 2;
            if first == second {
                continue;
            }
            for (from, to) in [(first, second), (second, first)] {
                let link = &links[from * agents + to];
                latency += u128::from(link.latency.0);
                notice += u128::from(link.notice.0);
                carrying += u128::from(link.rate.span_for(1 << 30).0);
            }
        }
    }
    let mean = |sum: u128| u64::try_from(sum / pairs.max(1)).unwrap_or(u64::MAX);
    MeanLink { latency: Span(mean(latency)), notice: Span(mean(notice)), nanos_per_gibibyte: mean(carrying) }
}

fn names(slots: &[(usize, usize)]) -> Vec<SlotName> {
    let mut names: Vec<SlotName> = Vec::with_capacity(slots.len());
    for (place, (agent, device)) in slots.iter().enumerate() {
        let of_agent: std::collections::BTreeSet<usize> =
            slots[..place].iter().filter(|other| other.0 == *agent).map(|other| other.1).collect();
        let before = of_agent.range(..device).count();
        let slot = slots[..place].iter().filter(|other| other.1 == *device).count();
        names.push(SlotName { agent: *agent as u32, device: before as u32, slot: slot as u32 });
    }
    names
}
