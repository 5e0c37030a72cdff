//! A scheduling problem as dense tables: what planners read, and nothing of how it came about.
//!
//! Conventions, for every planner alike: spans are nanoseconds and count from the time of planning; contents
//! that stay on an agent cost nothing to move; between agents they take latency and size over rate, at the
//! same time as others (no contention); an edge without contents takes one notice. Tasks are in program order
//! and that order decides ties; slots are in order of id.

use isochrone_model::{BytesPerSecond, Span};

/// A dependency between two tasks of the problem.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Edge {
    /// The task at the other end.
    pub task: usize,
    /// Contents that move; 0 when only the order matters.
    pub size_bytes: u64,
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
        let mut sorted = vec![Edge { task: 0, size_bytes: 0 }; starts[tasks]];
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
    /// By task, then by slot.
    execution: Vec<Span>,
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
}

#[derive(Clone, Copy, Debug)]
struct LinkCost {
    latency: Span,
    rate: BytesPerSecond,
    notice: Span,
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
        self.execution[task * self.slots + slot]
    }

    /// What a task takes on each slot, in order.
    #[must_use]
    pub fn executions(&self, task: usize) -> &[Span] {
        &self.execution[task * self.slots..(task + 1) * self.slots]
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
        let link = &self.links[from * self.agents + to];
        if size_bytes == 0 { link.notice } else { link.latency + link.rate.span_for(size_bytes) }
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

    /// When a slot is free of what runs there already.
    #[must_use]
    pub fn slot_free(&self, slot: usize) -> Span {
        self.slot_free[slot]
    }

    /// The earliest start of a task on a slot as far as things outside of the problem tell: contents that are
    /// there already or come from tasks that are placed, and the word to the agent.
    #[must_use]
    pub fn outside_ready(&self, task: usize, slot: usize) -> Span {
        let row = self.outside_row_of[task] as usize;
        self.outside_rows[row * self.agents + self.agent_of_slot[slot]]
    }
}

/// Makes a problem. Tasks are added in program order; an edge's tasks must be known.
#[derive(Clone, Debug)]
pub struct ProblemBuilder {
    slots: usize,
    agent_of_slot: Vec<usize>,
    device_of_slot: Vec<usize>,
    agents: usize,
    execution: Vec<Span>,
    edges: Vec<(usize, usize, u64)>,
    links: Vec<LinkCost>,
    slot_free: Vec<Span>,
    outside_rows: Vec<Span>,
    outside_row_of: Vec<u32>,
}

impl ProblemBuilder {
    /// A problem on these slots, each given as (agent, device), both dense. Links cost nothing until stated.
    #[must_use]
    pub fn new(slots: &[(usize, usize)]) -> Self {
        let agents = slots.iter().map(|(agent, _)| agent + 1).max().unwrap_or(0);
        let free = LinkCost { latency: Span::ZERO, rate: BytesPerSecond(u64::MAX), notice: Span::ZERO };
        Self {
            slots: slots.len(),
            agent_of_slot: slots.iter().map(|(agent, _)| *agent).collect(),
            device_of_slot: slots.iter().map(|(_, device)| *device).collect(),
            agents,
            execution: Vec::new(),
            edges: Vec::new(),
            links: vec![free; agents * agents],
            slot_free: vec![Span::ZERO; slots.len()],
            outside_rows: vec![Span::ZERO; agents],
            outside_row_of: Vec::new(),
        }
    }

    /// States one direction between two agents: latency and rate for contents, and a notice's time.
    pub fn link(&mut self, from: usize, to: usize, latency: Span, rate: BytesPerSecond, notice: Span) {
        self.links[from * self.agents + to] = LinkCost { latency, rate, notice };
    }

    /// States when a slot is free.
    pub fn slot_free(&mut self, slot: usize, free: Span) {
        self.slot_free[slot] = free;
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
        self.execution.extend_from_slice(execution);
        self.outside_row_of.push(0);
        self.outside_row_of.len() - 1
    }

    /// States the earliest start by agent of one task.
    pub fn task_outside_ready(&mut self, task: usize, by_agent: &[Span]) {
        self.outside_row_of[task] = (self.outside_rows.len() / self.agents.max(1)) as u32;
        self.outside_rows.extend_from_slice(by_agent);
    }

    /// Says that `first` must end before `second`, and what moves between them; 0 for nothing.
    pub fn edge(&mut self, first: usize, second: usize, size_bytes: u64) {
        self.edges.push((first, second, size_bytes));
    }

    /// The problem.
    #[must_use]
    pub fn build(mut self) -> Problem {
        self.edges.sort_unstable();
        let tasks = self.outside_row_of.len();
        let by_second = {
            let mut sorted: Vec<(usize, usize, u64)> =
                self.edges.iter().map(|(first, second, size_bytes)| (*second, *first, *size_bytes)).collect();
            sorted.sort_unstable();
            sorted
        };
        let edges = |list: &[(usize, usize, u64)]| {
            let pairs = list
                .iter()
                .map(|(owner, task, size_bytes)| (*owner, Edge { task: *task, size_bytes: *size_bytes }));
            Edges::new(tasks, pairs)
        };
        Problem {
            tasks,
            slots: self.slots,
            predecessors: edges(&by_second),
            successors: edges(&self.edges),
            mean_link: self.mean_link(),
            execution: self.execution,
            agent_of_slot: self.agent_of_slot,
            device_of_slot: self.device_of_slot,
            agents: self.agents,
            links: self.links,
            slot_free: self.slot_free,
            outside_rows: self.outside_rows,
            outside_row_of: self.outside_row_of,
        }
    }

    fn mean_link(&self) -> MeanLink {
        let mut devices: Vec<(usize, usize)> =
            self.device_of_slot.iter().copied().zip(self.agent_of_slot.iter().copied()).collect();
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
                    let link = &self.links[from * self.agents + to];
                    latency += u128::from(link.latency.0);
                    notice += u128::from(link.notice.0);
                    carrying += u128::from(link.rate.span_for(1 << 30).0);
                }
            }
        }
        let mean = |sum: u128| u64::try_from(sum / pairs.max(1)).unwrap_or(u64::MAX);
        MeanLink {
            latency: Span(mean(latency)),
            notice: Span(mean(notice)),
            nanos_per_gibibyte: mean(carrying),
        }
    }
}

/// Where and when a task is to run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Assignment {
    /// The slot.
    pub slot: usize,
    /// From the time of planning.
    pub start: Span,
    /// From the time of planning.
    pub finish: Span,
}

/// What a planner made of a problem: by task; `None` for a task without a legal slot and all behind it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Schedule {
    /// By task.
    pub assignments: Vec<Option<Assignment>>,
}

impl Schedule {
    /// One without assignments.
    #[must_use]
    pub fn new(tasks: usize) -> Self {
        Self { assignments: vec![None; tasks] }
    }

    /// The latest finish.
    #[must_use]
    pub fn makespan(&self) -> Span {
        self.assignments.iter().flatten().map(|assignment| assignment.finish).max().unwrap_or(Span::ZERO)
    }

    /// The earliest start of a task on a slot, its predecessors being assigned: contents, notices and word there.
    /// `None` when a predecessor is not assigned.
    #[must_use]
    pub fn ready(&self, problem: &Problem, task: usize, slot: usize) -> Option<Span> {
        let mut ready = problem.outside_ready(task, slot);
        for edge in problem.predecessors(task) {
            let first = self.assignments[edge.task].as_ref()?;
            ready = ready.max(first.finish + problem.transfer(edge.size_bytes, first.slot, slot));
        }
        Some(ready)
    }

    /// Checks that every task is on a legal slot for as long as it takes, after its predecessors and what they
    /// send, and beside no other on its slot.
    ///
    /// # Errors
    /// What is wrong, with the tasks.
    pub fn check(&self, problem: &Problem) -> Result<(), String> {
        let mut by_slot: Vec<Vec<(Span, Span, usize)>> = vec![Vec::new(); problem.slots()];
        for (task, assignment) in self.assignments.iter().enumerate() {
            let Some(assignment) = assignment else {
                return Err(format!("task {task} is not assigned"));
            };
            let execution = problem.execution(task, assignment.slot);
            if execution == Problem::ILLEGAL {
                return Err(format!("task {task} may not run on slot {}", assignment.slot));
            }
            if assignment.finish != assignment.start + execution {
                return Err(format!("task {task} does not end when its execution says"));
            }
            let Some(ready) = self.ready(problem, task, assignment.slot) else {
                return Err(format!("task {task} is assigned without its predecessors"));
            };
            if assignment.start < ready.max(problem.slot_free(assignment.slot)) {
                return Err(format!("task {task} starts before it can"));
            }
            by_slot[assignment.slot].push((assignment.start, assignment.finish, task));
        }
        for timeline in &mut by_slot {
            timeline.sort_unstable();
            if let Some(pair) = timeline.windows(2).find(|pair| pair[0].1 > pair[1].0) {
                return Err(format!("tasks {} and {} run at once on one slot", pair[0].2, pair[1].2));
            }
        }
        Ok(())
    }
}
