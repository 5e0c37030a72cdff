//! The run itself: messages, transfers and operations in the order of a virtual clock.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

use isochrone_model::message::{AgentToClient, ClientReply, ClientRequest, OrderBatch};
use isochrone_model::order::{BuildOutcome, BuiltKernel, SessionSecret};
use isochrone_model::{
    AgentId, BoundArgument, CommandId, DeviceIndex, Limits, Order, ProgramKey, Region, Report, SessionId,
    Span, TaskId, TenantId, Timestamp,
};
use isochrone_policies::PolicyInfo;
use isochrone_sched_core::agent::{
    AgentAction, AgentConfig, AgentEvent, Operation, OperationDone, OperationKind,
};
use isochrone_sched_core::{Action, Event, PolicyError, Scheduler, SchedulerConfig};
use isochrone_workload::task_graph::{GraphError, GraphRequests, KernelShape, TaskGraph, task_of_scalar};

use super::farm_facts::facts;
use super::knowledge::{Knowledge, shown, stated};
use super::outcome::{DeviceRun, Outcome, TaskRun, TransferRun};
use super::site::Site;
use super::truth::Truth;
use crate::cluster::{Cluster, InputPlace, Party};
use crate::network::{Network, NetworkError, TransferId, network};
use crate::random::Random;

/// Reads the host's clock, for the time that decisions take; nothing in a run depends on it.
pub type Stopwatch<'a> = &'a dyn Fn() -> Span;

const SESSION: SessionId = SessionId(1);
/// What a message takes on the wire beside what is counted for its parts.
const MESSAGE_BYTES: u64 = 64;
/// What each order, report or command takes in it.
const PART_BYTES: u64 = 96;

/// A run to be made.
pub struct Simulation<'a> {
    graph: &'a TaskGraph,
    cluster: &'a Cluster,
    policy: String,
    more_policies: Vec<PolicyInfo>,
    network: String,
    knowledge: Knowledge,
    seed: u64,
    is_checked: bool,
    stopwatch: Option<Stopwatch<'a>>,
    steps_max: u64,
    explained: Option<usize>,
}

/// Why a run could not be made, or did not end well.
#[derive(Debug, thiserror::Error)]
pub enum SimulationError {
    /// The graph does not hold together.
    #[error("the graph is not valid")]
    Graph(#[source] GraphError),
    /// The policy's label makes none.
    #[error("no such policy")]
    Policy(#[source] PolicyError),
    /// The network model's label makes none.
    #[error("no such network model")]
    Network(#[source] NetworkError),
    /// A task ended in an error.
    #[error("task {task} failed: {reason}")]
    TaskFailed {
        /// Its name.
        task: String,
        /// The scheduler's word.
        reason: String,
    },
    /// Nothing is left to happen and some tasks have not run.
    #[error("{unfinished} of {tasks} tasks were never finished; the first is {first}: {hint}")]
    Stalled {
        /// How many.
        unfinished: usize,
        /// Of how many.
        tasks: usize,
        /// The name of the first.
        first: String,
        /// What may be the matter.
        hint: &'static str,
    },
    /// The run took more steps than it was allowed.
    #[error("the run was given up after {steps} steps")]
    TooLong {
        /// How many.
        steps: u64,
    },
}

impl<'a> Simulation<'a> {
    /// A run of a graph on a cluster under a policy: `classic` network, exact knowledge, seed 0.
    #[must_use]
    pub fn new(graph: &'a TaskGraph, cluster: &'a Cluster, policy: &str) -> Self {
        Self {
            graph,
            cluster,
            policy: policy.to_owned(),
            more_policies: Vec::new(),
            network: "classic".to_owned(),
            knowledge: Knowledge::Exact,
            seed: 0,
            is_checked: false,
            stopwatch: None,
            steps_max: u64::MAX,
            explained: None,
        }
    }

    /// Uses another network model, by its label.
    #[must_use]
    pub fn network(mut self, label: &str) -> Self {
        label.clone_into(&mut self.network);
        self
    }

    /// Knows further policies beside those of the registry.
    #[must_use]
    pub fn policies(mut self, policies: &[PolicyInfo]) -> Self {
        self.more_policies = policies.to_vec();
        self
    }

    /// Tells the scheduler less.
    #[must_use]
    pub fn knowledge(mut self, knowledge: Knowledge) -> Self {
        self.knowledge = knowledge;
        self
    }

    /// Draws everything random from another seed.
    #[must_use]
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// Checks every invariant of the machines after every step.
    #[must_use]
    pub fn checked(mut self) -> Self {
        self.is_checked = true;
        self
    }

    /// Measures what the scheduler's turns take.
    #[must_use]
    pub fn stopwatch(mut self, stopwatch: Stopwatch<'a>) -> Self {
        self.stopwatch = Some(stopwatch);
        self
    }

    /// Gives up after so many steps of the machines; never by default.
    #[must_use]
    pub fn steps_max(mut self, steps: u64) -> Self {
        self.steps_max = steps;
        self
    }

    /// Keeps why a task was placed where it was, in [`Outcome::explanations`]; `task` is its place in the graph.
    #[must_use]
    pub fn explaining(mut self, task: usize) -> Self {
        self.explained = Some(task);
        self
    }

    /// Makes the run.
    ///
    /// # Errors
    /// When the graph is not valid, a label makes nothing, or not all tasks could be run.
    pub fn run(&self) -> Result<Outcome, SimulationError> {
        self.graph.validate().map_err(SimulationError::Graph)?;
        let network = network(&self.network, self.cluster, self.seed).map_err(SimulationError::Network)?;
        let mut engine = Engine::new(self, network)?;
        engine.set_up();
        engine.submit();
        engine.run()?;
        engine.outcome()
    }
}

enum Message {
    ToScheduler(Event, Option<usize>),
    Orders(usize, OrderBatch),
    ToAgent(usize, AgentEvent),
    ToClient(ClientReply),
    OperationEnds { agent: usize, operation: Operation, work: Span },
}

struct Queued {
    at: Timestamp,
    order: u64,
    message: Message,
}

impl PartialEq for Queued {
    fn eq(&self, other: &Self) -> bool {
        (self.at, self.order) == (other.at, other.order)
    }
}
impl Eq for Queued {}
impl PartialOrd for Queued {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Queued {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at, self.order).cmp(&(other.at, other.order))
    }
}

/// What a transfer brings when it ends.
enum Cargo {
    Replica { from: usize, to: usize, region: Region },
    Payload { to: usize, task: TaskId, size_bytes: u64 },
    Read,
}

struct Engine<'a> {
    run: &'a Simulation<'a>,
    now: Timestamp,
    order: u64,
    queue: BinaryHeap<Reverse<Queued>>,
    network: Box<dyn Network>,
    /// By transfer id.
    cargo: Vec<Option<(Cargo, usize)>>,
    scheduler: Scheduler,
    sites: Vec<Site>,
    truth: Truth,
    requests: GraphRequests,
    /// Before the graph is submitted, words take no time.
    is_setting_up: bool,
    /// By program, one of its tasks.
    task_of_program: Vec<usize>,
    outcome: Outcome,
    ended: usize,
    failed: Option<(CommandId, String)>,
    reports: Vec<Report>,
    done: Vec<(TransferId, Timestamp)>,
    decision_time: Span,
}

impl<'a> Engine<'a> {
    fn new(run: &'a Simulation<'a>, network: Box<dyn Network>) -> Result<Self, SimulationError> {
        let mut limits = Limits {
            commands_per_session_max: u32::MAX,
            buffers_per_session_max: u32::MAX,
            ..Limits::default()
        };
        // Many tasks may be placed in the step that places the one to be explained.
        if run.explained.is_some() {
            limits.decisions_kept_max = u32::MAX;
        }
        let config = SchedulerConfig { limits: limits.clone(), policy: run.policy.clone(), costs: None };
        let registry = isochrone_policies::registry_with(&run.more_policies);
        let scheduler = Scheduler::new(config, registry).map_err(SimulationError::Policy)?;
        let truth = Truth::new(run.graph, run.cluster);
        let mut random = Random::new(run.seed ^ 0x6b6e_6f77_6c65_6467);
        let mut shown = shown(run.graph, &truth, run.knowledge, &mut random);
        shown.appearance.are_inputs_written = match run.cluster.inputs_at {
            InputPlace::Client => true,
            InputPlace::Everywhere => false,
        };
        let requests = GraphRequests::new(run.graph, &shown.appearance);
        let mut task_of_program = vec![0; shown.appearance.sources.len()];
        for (place, class) in shown.appearance.class_of.iter().enumerate().rev() {
            task_of_program[shown.appearance.program_of[*class]] = place;
        }
        let mut first_device = 0;
        let mut sites = Vec::new();
        for facts in facts(run.cluster) {
            let devices = facts.devices.len();
            sites.push(Site::new(AgentConfig { facts, limits: limits.clone() }, first_device));
            first_device += devices;
        }
        let costs = stated(&shown, &requests, run.cluster, network.as_ref(), run.knowledge, &mut random);
        let mut engine = Self {
            run,
            now: Timestamp::ZERO,
            order: 0,
            queue: BinaryHeap::new(),
            network,
            cargo: Vec::new(),
            scheduler,
            sites,
            truth,
            requests,
            is_setting_up: true,
            task_of_program,
            outcome: Outcome { tasks: vec![TaskRun::default(); run.graph.tasks.len()], ..Outcome::default() },
            ended: 0,
            failed: None,
            reports: Vec::new(),
            done: Vec::new(),
            decision_time: Span::ZERO,
        };
        for (agent, facts) in facts(run.cluster).into_iter().enumerate() {
            engine.tell_scheduler(Event::AgentJoined { agent: AgentId::from_index(agent), facts });
        }
        match costs {
            Some(costs) => engine.tell_scheduler(Event::CostsStated(Box::new(costs))),
            None => engine.tell_round_trips(),
        }
        Ok(engine)
    }

    fn tell_scheduler(&mut self, event: Event) {
        self.push(self.now, Message::ToScheduler(event, None));
    }

    /// What a farm that has been running for a while has measured without running anything: the round trips of its connections.
    fn tell_round_trips(&mut self) {
        let agents = self.sites.len();
        let one_way = |network: &dyn Network, from, to| network.stated(from, to).2;
        for agent in 0..agents {
            let (here, scheduler) = (Party::Agent(agent), Party::Scheduler);
            let network = self.network.as_ref();
            let round_trip = one_way(network, scheduler, here) + one_way(network, here, scheduler);
            let measured = |to: usize| {
                let there = Party::Agent(to);
                let round_trip = one_way(network, here, there) + one_way(network, there, here);
                Report::LinkMeasured { to: AgentId::from_index(to), round_trip }
            };
            // A round trip tells of both directions.
            let reports: Vec<Report> = (agent + 1..agents).map(measured).collect();
            let agent = AgentId::from_index(agent);
            self.tell_scheduler(Event::LinkMeasured { agent, round_trip });
            self.tell_scheduler(Event::Reports { agent, reports });
        }
    }

    /// Brings the session up and lets programs build: a farm that has been running for a while.
    fn set_up(&mut self) {
        self.tell_scheduler(Event::SessionOpened {
            session: SESSION,
            tenant: TenantId(0),
            tenant_name: "simulated".to_owned(),
            policy: String::new(),
            secret: SessionSecret([7; 16]),
        });
        for request in std::mem::take(&mut self.requests.setup) {
            self.tell_scheduler(Event::Request { session: SESSION, request });
        }
        while let Some(Reverse(queued)) = self.queue.pop() {
            self.deliver(queued.message);
        }
        self.is_setting_up = false;
        self.outcome.steps = 0;
        self.decision_time = Span::ZERO;
    }

    fn submit(&mut self) {
        let commands = std::mem::take(&mut self.requests.commands);
        let size_bytes = MESSAGE_BYTES + PART_BYTES * commands.len() as u64;
        let at = self.network.message(self.now, Party::Client, Party::Scheduler, size_bytes);
        let request = ClientRequest::Submit { commands };
        self.push(at, Message::ToScheduler(Event::Request { session: SESSION, request }, None));
        for request in std::mem::take(&mut self.requests.releases) {
            self.push(at, Message::ToScheduler(Event::Request { session: SESSION, request }, None));
        }
    }

    fn run(&mut self) -> Result<(), SimulationError> {
        loop {
            let deadline = self.scheduler.deadline();
            let queued = self.queue.peek().map(|Reverse(queued)| queued.at);
            let network = self.network.next_event();
            let next = match (queued, network) {
                (Some(queued), Some(network)) => Some(queued.min(network)),
                (queued, network) => queued.or(network),
            };
            match (deadline, next) {
                (None, None) => break,
                // Waiting events come first, so that a burst is placed as one batch.
                (Some((at, timer)), next) if next.is_none_or(|next| next > at.max(self.now)) => {
                    self.now = self.now.max(at);
                    self.step_scheduler(Event::Timer(timer));
                }
                (_, Some(next)) if queued == Some(next) => {
                    if let Some(Reverse(queued)) = self.queue.pop() {
                        self.now = self.now.max(queued.at);
                        self.deliver(queued.message);
                    }
                }
                (_, Some(next)) => {
                    self.now = self.now.max(next);
                    self.end_transfers();
                }
                (Some(_), None) => {}
            }
            if let Some((command, reason)) = self.failed.take() {
                let place = self.requests.command_of.binary_search(&command).unwrap_or(0);
                let task = self.run.graph.tasks.get(place).map(|task| task.name.clone()).unwrap_or_default();
                return Err(SimulationError::TaskFailed { task, reason });
            }
            if self.outcome.steps > self.run.steps_max {
                return Err(SimulationError::TooLong { steps: self.outcome.steps });
            }
        }
        Ok(())
    }

    fn push(&mut self, at: Timestamp, message: Message) {
        self.order += 1;
        self.queue.push(Reverse(Queued { at: at.max(self.now), order: self.order, message }));
    }

    fn send(&mut self, from: Party, to: Party, size_bytes: u64, message: Message) {
        let at =
            if self.is_setting_up { self.now } else { self.network.message(self.now, from, to, size_bytes) };
        self.push(at, message);
    }

    fn deliver(&mut self, message: Message) {
        match message {
            Message::ToScheduler(event, from) => {
                if let (Event::Reports { reports, .. }, Some(agent)) = (&event, from) {
                    self.sites[agent].reports_taken += reports.len() as u64;
                }
                self.step_scheduler(event);
            }
            Message::Orders(agent, batch) => {
                self.note_orders(agent, &batch);
                self.step_agent(agent, AgentEvent::Orders(batch));
            }
            Message::ToAgent(agent, event) => self.step_agent(agent, event),
            Message::ToClient(reply) => self.take_reply(reply),
            Message::OperationEnds { agent, operation, work } => {
                let done = OperationDone { operation: operation.id, outcome: Ok(work) };
                self.step_agent(agent, AgentEvent::OperationDone(done));
            }
        }
    }

    fn note_orders(&mut self, _agent: usize, batch: &OrderBatch) {
        for order in &batch.orders {
            if let Order::Run(order) = order
                && let Ok(place) = self.requests.command_of.binary_search(&order.command)
            {
                self.outcome.tasks[place].ordered = self.now;
                self.outcome.tasks[place].attempts += 1;
            }
        }
    }

    /// What the scheduler decided, and when.
    fn note_order(&mut self, order: &Order) {
        let Order::Run(order) = order else { return };
        let Ok(place) = self.requests.command_of.binary_search(&order.command) else { return };
        self.outcome.tasks[place].placed = self.now;
        if self.run.explained == Some(place)
            && let Some(explanation) = self.scheduler.explain(SESSION, order.command)
        {
            self.outcome.explanations.push((self.now, explanation));
        }
    }

    fn step_scheduler(&mut self, event: Event) {
        self.outcome.steps += 1;
        let begun = self.run.stopwatch.map(|stopwatch| stopwatch());
        let actions = self.scheduler.step(self.now, event);
        if let (Some(begun), Some(stopwatch)) = (begun, self.run.stopwatch) {
            self.decision_time += stopwatch().saturating_sub(begun);
        }
        if self.run.is_checked {
            self.scheduler.check_invariants();
        }
        let mut batches: BTreeMap<AgentId, Vec<Order>> = BTreeMap::new();
        for action in actions {
            match action {
                Action::Order { agent, order } => {
                    self.note_order(&order);
                    batches.entry(agent).or_default().push(order);
                }
                Action::Reply { session: _, reply } => {
                    self.send(Party::Scheduler, Party::Client, MESSAGE_BYTES, Message::ToClient(reply));
                }
                Action::SessionEnded { session: _ } => {}
            }
        }
        for (agent, orders) in batches {
            let agent = agent.index();
            let size_bytes = MESSAGE_BYTES + PART_BYTES * orders.len() as u64;
            let batch = OrderBatch { reports_taken: self.sites[agent].reports_taken, orders };
            self.send(Party::Scheduler, Party::Agent(agent), size_bytes, Message::Orders(agent, batch));
        }
    }

    fn step_agent(&mut self, agent: usize, event: AgentEvent) {
        self.outcome.steps += 1;
        let actions = self.sites[agent].machine.step(self.now, event);
        if self.run.is_checked {
            self.sites[agent].machine.check_invariants();
        }
        for action in actions {
            self.perform(agent, action);
        }
        if !self.reports.is_empty() {
            let reports = std::mem::take(&mut self.reports);
            let size_bytes = MESSAGE_BYTES + PART_BYTES * reports.len() as u64;
            let event = Event::Reports { agent: AgentId::from_index(agent), reports };
            let message = Message::ToScheduler(event, Some(agent));
            self.send(Party::Agent(agent), Party::Scheduler, size_bytes, message);
        }
    }

    fn perform(&mut self, agent: usize, action: AgentAction) {
        match action {
            AgentAction::Operate(operation) => self.operate(agent, operation),
            AgentAction::Build { program, source, options: _ } => self.build(agent, program, &source),
            AgentAction::SendReplica { region, to } => {
                let to = to.index();
                let cargo = Cargo::Replica { from: agent, to, region };
                let item = self.item_of(region);
                self.carry(Party::Agent(agent), Party::Agent(to), region.range.len(), item, cargo);
                self.push(self.now, Message::ToAgent(agent, AgentEvent::SendDone { region }));
            }
            AgentAction::SendData { session: _, command: _, offset_bytes: _, region } => {
                let item = self.item_of(region);
                self.carry(Party::Agent(agent), Party::Client, region.range.len(), item, Cargo::Read);
            }
            AgentAction::SendNotice { to, task, dependent } => {
                let event = AgentEvent::Notice { task, dependent };
                let (to, size_bytes) = (to.index(), MESSAGE_BYTES);
                self.send(Party::Agent(agent), Party::Agent(to), size_bytes, Message::ToAgent(to, event));
            }
            AgentAction::SendDone { session: _, command, execution } => {
                let reply = ClientReply::Relayed(AgentToClient::Done { command, execution });
                self.send(Party::Agent(agent), Party::Client, MESSAGE_BYTES, Message::ToClient(reply));
            }
            AgentAction::Report(report) => self.reports.push(report),
            // No bytes are kept here.
            AgentAction::StoreBytes { .. }
            | AgentAction::StorePayload { .. }
            | AgentAction::DropPayload { .. }
            | AgentAction::DropHost { .. }
            | AgentAction::DropProgram { .. }
            | AgentAction::AdmitSession { .. }
            | AgentAction::DismissSession { .. }
            | AgentAction::PeerJoined { .. }
            | AgentAction::PeerLeft { .. } => {}
        }
    }

    /// A program builds where all of its tasks can run; which tasks those are is the same for all of them.
    fn build(&mut self, agent: usize, program: ProgramKey, source: &str) {
        let number: usize =
            source.strip_prefix("task graph ").and_then(|rest| rest.parse().ok()).unwrap_or(0);
        let kernels = &self.requests.kernels_of[number];
        let built: Vec<BuiltKernel> = kernels
            .iter()
            .map(|shape: &KernelShape| BuiltKernel { signature: shape.signature(), work_group_size_max: 256 })
            .collect();
        let task = self.task_of_program.get(number).copied();
        let first = self.sites[agent].first_device;
        for device in 0..self.run.cluster.agents[agent].devices.len() {
            let is_legal = task.is_none_or(|task: usize| self.truth.legal_of(task)[first + device]);
            let outcome = if is_legal {
                BuildOutcome::Built { kernels: built.clone(), log: String::new() }
            } else {
                BuildOutcome::Failed {
                    log: "the cluster file says that these tasks cannot run here".to_owned(),
                }
            };
            let device = DeviceIndex::from_index(device);
            self.push(self.now, Message::ToAgent(agent, AgentEvent::Built { program, device, outcome }));
        }
    }

    /// The item that a region is of; `None` for memory that a task works in.
    fn item_of(&self, region: Region) -> Option<usize> {
        let buffer = (region.buffer.buffer.0 as usize).wrapping_sub(1);
        self.requests.item_of_buffer.get(buffer).copied()
    }

    fn operate(&mut self, agent: usize, operation: Operation) {
        let device = &self.run.cluster.agents[agent].devices[operation.device.index()];
        let mut task = None;
        let work = match &operation.kind {
            OperationKind::Allocate { .. } | OperationKind::Free { .. } | OperationKind::Fill { .. } => {
                Span::ZERO
            }
            OperationKind::Upload { region } | OperationKind::Download { region } => {
                moving(device.host_rate, region.range.len())
            }
            OperationKind::Copy { source_range, .. } => moving(device.host_rate, source_range.len()),
            OperationKind::Launch { arguments, .. } => {
                task = task_of(arguments);
                let place = self.sites[agent].first_device + operation.device.index();
                task.map_or(Span::ZERO, |task| self.truth.duration(task, place))
            }
        };
        let (start, end) = self.sites[agent].schedule(self.now, &operation, work);
        if let Some(task) = task {
            let run = &mut self.outcome.tasks[task];
            run.device = self.sites[agent].first_device + operation.device.index();
            run.slot = operation.slot.index();
            run.start = start;
            run.finish = end;
        }
        self.push(end, Message::OperationEnds { agent, operation, work });
    }

    fn carry(&mut self, from: Party, to: Party, size_bytes: u64, item: Option<usize>, cargo: Cargo) {
        let TransferId(id) = self.network.start(self.now, from, to, size_bytes);
        let id = id as usize;
        if self.cargo.len() <= id {
            self.cargo.resize_with(id + 1, || None);
        }
        let place = self.outcome.transfers.len();
        let now = self.now;
        self.outcome.transfers.push(TransferRun { item, from, to, size_bytes, start: now, finish: now });
        self.outcome.moved_bytes += size_bytes;
        self.cargo[id] = Some((cargo, place));
    }

    fn end_transfers(&mut self) {
        let mut done = std::mem::take(&mut self.done);
        self.network.advance(self.now, &mut done);
        for (TransferId(id), first_byte) in done.drain(..) {
            let Some((cargo, place)) = self.cargo.get_mut(id as usize).and_then(Option::take) else {
                continue;
            };
            self.outcome.transfers[place].finish = self.now;
            match cargo {
                Cargo::Replica { from, to, region } => {
                    let span = self.now.since(first_byte);
                    let event = AgentEvent::Arrived { region, from: AgentId::from_index(from), span };
                    self.step_agent(to, event);
                }
                Cargo::Payload { to, task, size_bytes } => {
                    self.step_agent(to, AgentEvent::PayloadArrived { task, size_bytes });
                }
                Cargo::Read => {}
            }
        }
        self.done = done;
    }

    fn take_reply(&mut self, reply: ClientReply) {
        match reply {
            ClientReply::Relayed(AgentToClient::Done { command, .. }) => {
                if self.requests.command_of.binary_search(&command).is_ok() {
                    self.ended += 1;
                    self.outcome.turnaround = self.now.since(Timestamp::ZERO);
                }
            }
            ClientReply::Failed { command, error } => {
                self.failed.get_or_insert((command, error.to_string()));
            }
            ClientReply::SendPayload { command, task, agent } => {
                let write = (command.0 as usize).wrapping_sub(1);
                let item = self.requests.item_of_write.get(write).copied();
                let size_bytes = item.map_or(0, |item| self.run.graph.items[item].size_bytes);
                let to = agent.index();
                let cargo = Cargo::Payload { to, task, size_bytes };
                self.carry(Party::Client, Party::Agent(to), size_bytes, item, cargo);
            }
            ClientReply::RequestFailed { error, .. } => {
                self.failed.get_or_insert((CommandId(0), error.to_string()));
            }
            ClientReply::Relayed(AgentToClient::Welcome | AgentToClient::Data { .. })
            | ClientReply::Opened { .. }
            | ClientReply::AgentJoined { .. }
            | ClientReply::AgentLeft { .. }
            | ClientReply::Program { .. }
            | ClientReply::Answer { .. }
            | ClientReply::Closed { .. } => {}
        }
    }

    fn outcome(mut self) -> Result<Outcome, SimulationError> {
        let tasks = self.run.graph.tasks.len();
        if self.ended < tasks {
            let first = self.outcome.tasks.iter().position(|run| run.attempts == 0).unwrap_or(0);
            let hint = if self.outcome.rejections > 0 {
                "the policy's proposals were refused"
            } else {
                "the policy placed nothing more, or no device can run it"
            };
            return Err(SimulationError::Stalled {
                unfinished: tasks - self.ended,
                tasks,
                first: self.run.graph.tasks.get(first).map(|task| task.name.clone()).unwrap_or_default(),
                hint,
            });
        }
        let devices = self.run.cluster.devices().map(|(agent, _, device)| DeviceRun {
            name: format!("{}/{}", self.run.cluster.agents[agent].name, device.name),
            slots: usize::from(device.slots),
            ..DeviceRun::default()
        });
        self.outcome.devices = devices.collect();
        for run in &self.outcome.tasks {
            let device = &mut self.outcome.devices[run.device];
            device.tasks += 1;
            device.busy += run.finish.since(run.start);
        }
        let last = self.outcome.tasks.iter().map(|run| run.finish).max().unwrap_or_default();
        self.outcome.makespan = last.since(Timestamp::ZERO);
        self.outcome.rejections = self.scheduler.status().rejections.iter().map(|(_, count)| count).sum();
        self.outcome.decision_time = self.run.stopwatch.map(|_| self.decision_time);
        Ok(self.outcome)
    }
}

/// The task that a launch is of.
fn task_of(arguments: &[BoundArgument]) -> Option<usize> {
    match arguments.last() {
        Some(BoundArgument::Scalar(bytes)) => task_of_scalar(bytes),
        Some(BoundArgument::Buffer { .. } | BoundArgument::Local(_)) | None => None,
    }
}

/// Host memory and a device: `u64::MAX` stands for no time at all.
fn moving(rate: isochrone_model::BytesPerSecond, size_bytes: u64) -> Span {
    if rate.0 == u64::MAX { Span::ZERO } else { rate.span_for(size_bytes) }
}
