//! The run itself: messages, transfers and operations in the order of a virtual clock.

mod attempts;
mod finish;
mod measure;
mod submission;

use std::collections::VecDeque;

use isochrone_model::message::{AgentToClient, ClientReply, OrderBatch};
use isochrone_model::order::{BuildOutcome, BuiltKernel};
use isochrone_model::{
    AgentId, BoundArgument, CommandId, DeviceIndex, Limits, Order, ProgramKey, Region, Report, SessionId,
    SharedList, Span, TaskId, Timestamp,
};
use isochrone_policies::PolicyInfo;
use isochrone_sched_core::agent::{
    AgentAction, AgentConfig, AgentEvent, Operation, OperationDone, OperationId, OperationKind,
};
use isochrone_sched_core::{Action, Event, PolicyError, Scheduler, SchedulerConfig, Timer};
use isochrone_workload::task_graph::{GraphError, GraphRequests, TaskGraph, task_of_scalar};

use attempts::Marks;

use super::calendar::Calendar;
use super::farm_facts::facts;
use super::knowledge::{Knowledge, shown, stated};
use super::measuring::Measuring;
use super::outcome::{Outcome, TaskRun, TransferRun};
use super::site::{Ending, Site};
use super::truth::Truth;
use crate::cluster::{Cluster, InputPlace, Party};
use crate::network::{Changing, LinkChange, Network, NetworkError, TransferId, network};
use crate::processing::{Processing, Processor};
use crate::random::Random;

/// Reads the host's clock, for the time that decisions take; nothing in a run depends on it.
pub type Stopwatch<'a> = &'a dyn Fn() -> Span;

const SESSION: SessionId = SessionId(1);
/// What a message takes on the wire beside what is counted for its parts.
const MESSAGE_BYTES: u64 = 64;
/// What each order, report or command takes in it.
const PART_BYTES: u64 = 96;
/// Room is made for so many orders to an agent at once.
const ORDERS_OF_BATCH: usize = 8;

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
    kept: Kept,
    changes: Vec<LinkChange>,
    commands_open_max: usize,
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
            kept: Kept::Nothing,
            changes: Vec::new(),
            commands_open_max: Limits::default().commands_per_session_max as usize,
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

    /// Changes paths in mid-run; what is stated to the scheduler is how they begin.
    #[must_use]
    pub fn link_changes(mut self, changes: &[LinkChange]) -> Self {
        self.changes = changes.to_vec();
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

    /// Lets the client have so many commands open at most, and send more when half of them have ended: as a live one that
    /// waits for room does. By default the bound of a live farm, 4,000,000. Of the rest of the graph the scheduler knows
    /// nothing yet.
    #[must_use]
    pub fn commands_open_max(mut self, commands: usize) -> Self {
        self.commands_open_max = commands.max(1);
        self
    }

    /// Keeps why a task was placed where it was, in [`Outcome::decisions`]; `task` is its place in the graph.
    #[must_use]
    pub fn explaining(mut self, task: usize) -> Self {
        self.kept = Kept::Of(task);
        self
    }

    /// Keeps why each task was placed where it was, in [`Outcome::decisions`]: some 150 bytes for each task and slot.
    #[must_use]
    pub fn keeping_decisions(mut self) -> Self {
        self.kept = Kept::All;
        self
    }

    /// Makes the run.
    ///
    /// # Errors
    /// When the graph is not valid, a label makes nothing, or not all tasks could be run.
    pub fn run(&self) -> Result<Outcome, SimulationError> {
        self.graph.validate().map_err(SimulationError::Graph)?;
        let mut network =
            network(&self.network, self.cluster, self.seed).map_err(SimulationError::Network)?;
        if !self.changes.is_empty() {
            network = Box::new(Changing::new(network, self.changes.clone()));
        }
        let mut engine = Engine::new(self, network)?;
        engine.set_up();
        engine.submit();
        engine.run()?;
        engine.outcome()
    }
}

/// Of which tasks decisions are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kept {
    Nothing,
    /// Of the task at this place in the graph.
    Of(usize),
    All,
}

impl Kept {
    fn has(self, task: usize) -> bool {
        match self {
            Self::Nothing => false,
            Self::Of(kept) => kept == task,
            Self::All => true,
        }
    }
}

enum Message {
    ToScheduler(Box<Event>),
    /// The client's programs and buffers.
    SetUp,
    /// So many commands of the graph, and which buffers are not needed beyond them.
    Submission(usize),
    Reports(usize, Vec<Report>),
    Orders(usize, OrderBatch),
    ToAgent(usize, Box<AgentEvent>),
    Notice {
        agent: usize,
        task: TaskId,
        dependent: TaskId,
    },
    ToClient(Box<ClientReply>),
    Done(CommandId),
    /// At once.
    OperationEnds {
        agent: usize,
        operation: OperationId,
        work: Span,
    },
    /// The first operation of a lane.
    LaneEnds {
        agent: usize,
        device: usize,
        slot: usize,
    },
    /// Its agent's processor has come to it.
    Taken(usize, Box<AgentEvent>),
    /// The scheduler's processor is done with what it has decided.
    Decided(Box<Decided>),
}

/// What the scheduler sends once its processor is done.
#[derive(Default)]
struct Decided {
    replies: Vec<ClientReply>,
    /// Agents and their orders.
    orders: Vec<(usize, OrderBatch)>,
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
    queue: Calendar<Message>,
    network: Box<dyn Network>,
    /// When nothing is stated to the scheduler.
    measuring: Option<Measuring>,
    /// By transfer id, from `first_cargo` on.
    cargo: VecDeque<Option<(Cargo, usize)>>,
    first_cargo: u64,
    scheduler: Scheduler,
    sites: Vec<Site>,
    truth: Truth,
    requests: GraphRequests<'a>,
    /// Before the graph is submitted, words take no time.
    is_setting_up: bool,
    /// By program, one of its tasks.
    task_of_program: Vec<usize>,
    /// By program, its kernels, once a device has built it.
    built: Vec<Option<SharedList<BuiltKernel>>>,
    outcome: Outcome,
    ended: usize,
    /// By task, what the client knows, and whether an attempt has begun.
    marks: Vec<Marks>,
    /// Commands that the client has sent, and how many of those it does not know to have ended.
    sent: usize,
    open: usize,
    failed: Option<(CommandId, String)>,
    /// Agents whose machines have reported in this turn, and their reports: as live, those of one turn go together.
    reporting: Vec<usize>,
    reports: Vec<Vec<Report>>,
    /// Agents to which the scheduler has given orders in this turn, and their orders.
    ordering: Vec<usize>,
    orders: Vec<OrderBatch>,
    // What follows is empty between steps, and kept for its memory.
    actions: Vec<Action>,
    agent_actions: Vec<AgentAction>,
    done: Vec<(TransferId, Timestamp)>,
    decision_time: Span,
    processing: Processing,
    processor: Processor,
    /// By agent.
    processors: Vec<Processor>,
    /// What has come to the scheduler while its processor was at something else, in order.
    held: VecDeque<Message>,
    /// Replies of this turn, while the scheduler's processor is at it.
    replies: Vec<ClientReply>,
}

impl<'a> Engine<'a> {
    fn new(run: &'a Simulation<'a>, network: Box<dyn Network>) -> Result<Self, SimulationError> {
        let mut limits = Limits {
            commands_per_session_max: u32::MAX,
            buffers_per_session_max: u32::MAX,
            ..Limits::default()
        };
        // Nobody asks for others; and many tasks may be placed in the step that places the one to be explained.
        limits.decisions_kept_max = if run.kept == Kept::Nothing { 0 } else { u32::MAX };
        limits.slots_weighed_per_plan_max = u32::MAX;
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
        shown.appearance.are_commands_named = run.kept != Kept::Nothing;
        let mut task_of_program = vec![0; shown.appearance.sources.len()];
        for (place, class) in shown.appearance.class_of.iter().enumerate().rev() {
            task_of_program[shown.appearance.program_of[*class]] = place;
        }
        let requests = GraphRequests::new(run.graph, shown.appearance);
        let mut first_device = 0;
        let mut sites = Vec::new();
        for facts in facts(run.cluster) {
            let devices = facts.devices.len();
            sites.push(Site::new(AgentConfig { facts, limits: limits.clone() }, first_device));
            first_device += devices;
        }
        let costs =
            stated(&shown.durations, &requests, run.cluster, network.as_ref(), run.knowledge, &mut random);
        let measuring = (run.knowledge == Knowledge::Blind)
            .then(|| Measuring::new(SESSION, run.cluster.agents.len(), network.as_ref()));
        let processing = network.processing();
        let mut engine = Self {
            run,
            now: Timestamp::ZERO,
            queue: Calendar::default(),
            network,
            measuring,
            cargo: VecDeque::new(),
            first_cargo: 0,
            scheduler,
            sites,
            truth,
            requests,
            is_setting_up: true,
            built: vec![None; task_of_program.len()],
            task_of_program,
            outcome: Outcome { tasks: vec![TaskRun::default(); run.graph.tasks.len()], ..Outcome::default() },
            ended: 0,
            marks: vec![Marks::default(); run.graph.tasks.len()],
            sent: 0,
            open: 0,
            failed: None,
            reporting: Vec::new(),
            reports: run.cluster.agents.iter().map(|_| Vec::new()).collect(),
            ordering: Vec::new(),
            orders: run.cluster.agents.iter().map(|_| no_orders()).collect(),
            actions: Vec::new(),
            agent_actions: Vec::new(),
            done: Vec::new(),
            decision_time: Span::ZERO,
            processing,
            processor: Processor::default(),
            processors: vec![Processor::default(); run.cluster.agents.len()],
            held: VecDeque::new(),
            replies: Vec::new(),
        };
        for (agent, facts) in facts(run.cluster).into_iter().enumerate() {
            engine.tell_scheduler(Event::AgentJoined { agent: AgentId::from_index(agent), facts });
        }
        if let Some(costs) = costs {
            engine.tell_scheduler(Event::CostsStated(Box::new(costs)));
        }
        Ok(engine)
    }

    fn tell_scheduler(&mut self, event: Event) {
        self.push(self.now, Message::ToScheduler(Box::new(event)));
    }

    fn run(&mut self) -> Result<(), SimulationError> {
        // A turn, as live: all that has come, then what is due of the scheduler's timers, then what is to be told.
        loop {
            if !self.held.is_empty()
                && self.processor.free_at(self.now) <= self.now
                && let Some(message) = self.held.pop_front()
            {
                self.deliver(message);
            } else if let Some(message) = self.queue.take() {
                self.deliver(message);
            } else if self.network.next_event().is_some_and(|at| at <= self.now) {
                self.end_transfers();
            } else if self.end_turn() {
                // Where words take no time, they have come.
            } else if let Some((at, timer)) = self.scheduler.deadline()
                && self.processor.free_at(at) <= self.now
            {
                self.step_scheduler(Event::Timer(timer));
                // What is placed at one time goes out at one time.
                while self.scheduler.deadline() == Some((self.now, Timer::Place))
                    && self.outcome.steps <= self.run.steps_max
                {
                    self.step_scheduler(Event::Timer(Timer::Place));
                }
            } else {
                let deadline = self.scheduler.deadline().map(|(at, _)| self.processor.free_at(at));
                let held = (!self.held.is_empty()).then(|| self.processor.free_at(self.now));
                let times = [deadline, held, self.queue.next(), self.network.next_event()];
                let Some(next) = times.into_iter().flatten().min() else { break };
                let round = self.measuring.as_ref().and_then(Measuring::next_round);
                // What was measured is under way for longer than until the next round where paths are long: it must not keep
                // the run going.
                let round = round.filter(|round| *round <= next && !self.scheduler.is_idle());
                self.now = self.now.max(round.unwrap_or(next));
                self.queue.go_on(self.now);
                if round.is_some() {
                    self.measure();
                }
            }
            if let Some((command, reason)) = self.failed.take() {
                let place = self.requests.task_of(command).unwrap_or(0);
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
        self.queue.put(at, message);
    }

    fn send(&mut self, from: Party, to: Party, size_bytes: u64, message: Message) {
        let at =
            if self.is_setting_up { self.now } else { self.network.message(self.now, from, to, size_bytes) };
        self.push(at, message);
    }

    fn deliver(&mut self, message: Message) {
        match message {
            message @ (Message::ToScheduler(_) | Message::Submission(_) | Message::Reports(..))
                if self.processor.free_at(self.now) > self.now =>
            {
                self.held.push_back(message);
            }
            Message::ToScheduler(event) => self.step_scheduler(*event),
            Message::SetUp => self.take_setup(),
            Message::Submission(count) => self.take_submission(count),
            Message::Reports(agent, reports) => {
                self.sites[agent].reports_taken += reports.len() as u64;
                self.step_scheduler(Event::Reports { agent: AgentId::from_index(agent), reports });
            }
            Message::Orders(agent, batch) => {
                self.note_orders(&batch);
                let tasks = batch.orders.iter().filter_map(Order::task).count();
                self.take(agent, AgentEvent::Orders(batch), self.processing.of_orders(tasks));
            }
            Message::ToAgent(agent, event) => self.take(agent, *event, Span::ZERO),
            Message::Notice { agent, task, dependent } => {
                self.take(agent, AgentEvent::Notice { task, dependent }, Span::ZERO);
            }
            Message::Taken(agent, event) => self.step_agent(agent, *event),
            Message::Decided(decided) => self.send_decided(*decided),
            Message::ToClient(reply) => self.take_reply(*reply),
            Message::Done(command) => self.take_done(command),
            Message::OperationEnds { agent, operation, work } => self.end_operation(agent, operation, work),
            Message::LaneEnds { agent, device, slot } => self.end_lane(agent, device, slot),
        }
    }

    /// Ends the first operation of a lane, and those behind it that are due before anything else.
    fn end_lane(&mut self, agent: usize, device: usize, slot: usize) {
        loop {
            let lane = self.sites[agent].lane(device, slot);
            let Some(Ending { operation, work, .. }) = lane.ending.pop_front() else { return };
            let next = lane.ending.front().map(|next| (next.at, next.number));
            self.end_operation(agent, operation, work);
            let Some((at, number)) = next else { return };
            if !self.queue.is_first(at, number) {
                self.queue.put_as(at, number, Message::LaneEnds { agent, device, slot });
                return;
            }
        }
    }

    fn end_operation(&mut self, agent: usize, operation: OperationId, work: Span) {
        let done = OperationDone { operation, outcome: Ok(work) };
        self.take(agent, AgentEvent::OperationDone(done), self.processing.of_end());
    }

    /// An agent's processor takes an event, after those that came before.
    fn take(&mut self, agent: usize, event: AgentEvent, span: Span) {
        let at = self.processors[agent].take(self.now, span);
        if at > self.now {
            self.push(at, Message::Taken(agent, Box::new(event)));
        } else {
            self.step_agent(agent, event);
        }
    }

    fn step_scheduler(&mut self, event: Event) {
        self.outcome.steps += 1;
        let begun = self.run.stopwatch.map(|stopwatch| stopwatch());
        let mut actions = std::mem::take(&mut self.actions);
        self.scheduler.step_into(self.now, event, &mut actions);
        if let (Some(begun), Some(stopwatch)) = (begun, self.run.stopwatch) {
            self.decision_time += stopwatch().saturating_sub(begun);
        }
        if self.run.is_checked {
            self.scheduler.check_invariants();
        }
        for action in actions.drain(..) {
            match action {
                Action::Order { agent, order } => {
                    self.note_order(&order);
                    let tasks = usize::from(order.task().is_some());
                    self.processor.take(self.now, self.processing.of_placing(tasks));
                    let batch = &mut self.orders[agent.index()];
                    if batch.orders.is_empty() {
                        // As live: the count at the first order.
                        batch.reports_taken = self.sites[agent.index()].reports_taken;
                        batch.orders.reserve(ORDERS_OF_BATCH);
                        self.ordering.push(agent.index());
                    }
                    batch.orders.push(order);
                }
                Action::Reply { session: _, reply } => {
                    if self.processing.scheduler_task > Span::ZERO {
                        self.replies.push(reply);
                    } else {
                        self.reply(reply);
                    }
                }
                Action::SessionEnded { session: _ } => {}
            }
        }
        self.actions = actions;
    }

    /// Sends what was reported and ordered since the last time; whether there was anything.
    fn end_turn(&mut self) -> bool {
        if self.reporting.is_empty() && self.ordering.is_empty() && self.replies.is_empty() {
            return false;
        }
        for agent in std::mem::take(&mut self.reporting) {
            let reports = std::mem::take(&mut self.reports[agent]);
            let size_bytes = MESSAGE_BYTES + PART_BYTES * reports.len() as u64;
            let message = Message::Reports(agent, reports);
            self.send(Party::Agent(agent), Party::Scheduler, size_bytes, message);
        }
        let mut ordering = std::mem::take(&mut self.ordering);
        ordering.sort_unstable();
        let mut orders = Vec::with_capacity(ordering.len());
        for agent in ordering {
            orders.push((agent, std::mem::replace(&mut self.orders[agent], no_orders())));
        }
        let decided = Decided { replies: std::mem::take(&mut self.replies), orders };
        let at = self.processor.free_at(self.now);
        if at > self.now {
            self.push(at, Message::Decided(Box::new(decided)));
        } else {
            self.send_decided(decided);
        }
        true
    }

    fn send_decided(&mut self, decided: Decided) {
        for reply in decided.replies {
            self.reply(reply);
        }
        for (agent, batch) in decided.orders {
            let size_bytes = MESSAGE_BYTES + PART_BYTES * batch.orders.len() as u64;
            self.send(Party::Scheduler, Party::Agent(agent), size_bytes, Message::Orders(agent, batch));
        }
    }

    fn reply(&mut self, reply: ClientReply) {
        let message = Message::ToClient(Box::new(reply));
        self.send(Party::Scheduler, Party::Client, MESSAGE_BYTES, message);
    }

    fn step_agent(&mut self, agent: usize, event: AgentEvent) {
        self.outcome.steps += 1;
        let mut actions = std::mem::take(&mut self.agent_actions);
        self.sites[agent].machine.step_into(self.now, event, &mut actions);
        if self.run.is_checked {
            self.sites[agent].machine.check_invariants();
        }
        for action in actions.drain(..) {
            self.perform(agent, action);
        }
        self.agent_actions = actions;
    }

    fn perform(&mut self, agent: usize, action: AgentAction) {
        match action {
            AgentAction::Operate(operation) => self.operate(agent, &operation),
            AgentAction::Build { program, source, options: _ } => self.build(agent, program, &source),
            AgentAction::StreamOut { .. } | AgentAction::StreamIn { .. } => {
                unreachable!("simulated agents move contents over their hosts")
            }
            AgentAction::SendReplica { region, to } => {
                let to = to.index();
                let cargo = Cargo::Replica { from: agent, to, region };
                let item = self.item_of(region);
                // That the bytes are let go of when they have been sent means nothing to the machine.
                self.carry(Party::Agent(agent), Party::Agent(to), region.range.len(), item, cargo);
            }
            AgentAction::SendData { session: _, command: _, offset_bytes: _, region } => {
                let item = self.item_of(region);
                self.carry(Party::Agent(agent), Party::Client, region.range.len(), item, Cargo::Read);
            }
            AgentAction::SendNotice { to, task, dependent } => {
                let to = to.index();
                let message = Message::Notice { agent: to, task, dependent };
                self.send(Party::Agent(agent), Party::Agent(to), MESSAGE_BYTES, message);
            }
            AgentAction::SendDone { session: _, command, execution: _ } => {
                self.send(Party::Agent(agent), Party::Client, MESSAGE_BYTES, Message::Done(command));
            }
            AgentAction::Report(report) => {
                let reports = &mut self.reports[agent];
                if reports.is_empty() {
                    self.reporting.push(agent);
                }
                reports.push(report);
            }
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
        let requests = &self.requests;
        // All devices build the same, and a graph may have as many kernels as tasks.
        let built = self.built[number].get_or_insert_with(|| {
            let kernel = |signature| BuiltKernel { signature, work_group_size_max: 256 };
            requests.signatures(number).into_iter().map(kernel).collect()
        });
        let built = built.clone();
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
            let event = AgentEvent::Built { program, device, outcome };
            self.push(self.now, Message::ToAgent(agent, Box::new(event)));
        }
    }

    /// The item that a region is of; `None` for memory that a task works in.
    fn item_of(&self, region: Region) -> Option<usize> {
        self.requests.item_of_buffer(region.buffer.buffer)
    }

    fn operate(&mut self, agent: usize, operation: &Operation) {
        let device = &self.run.cluster.agents[agent].devices[operation.device.index()];
        let mut task = None;
        let work = match &operation.kind {
            // It takes no time, and the machine does not wait for it.
            OperationKind::Free { .. } => return,
            OperationKind::Allocate { .. } | OperationKind::Fill { .. } => Span::ZERO,
            OperationKind::Upload { region } | OperationKind::Download { region } => {
                device.host_rate.span_for(region.range.len())
            }
            OperationKind::Copy { source_range, .. } => device.host_rate.span_for(source_range.len()),
            OperationKind::Launch { arguments, .. } => {
                task = task_of(arguments);
                let place = self.sites[agent].first_device + operation.device.index();
                task.map_or(Span::ZERO, |task| self.truth.duration(task, place))
            }
        };
        let (start, end) = self.sites[agent].schedule(self.now, operation, work);
        if let Some(task) = task {
            let device = self.sites[agent].first_device + operation.device.index();
            self.note_begun(
                task,
                TaskRun {
                    device,
                    slot: operation.slot.index(),
                    start,
                    finish: end,
                    ..self.outcome.tasks[task]
                },
            );
        }
        if end <= self.now {
            self.push(end, Message::OperationEnds { agent, operation: operation.id, work });
            return;
        }
        let (device, slot) = (operation.device.index(), operation.slot.index());
        let ending = Ending { at: end, number: self.queue.number(), operation: operation.id, work };
        let lane = self.sites[agent].lane(device, slot);
        if lane.ending.is_empty() {
            self.queue.put_as(ending.at, ending.number, Message::LaneEnds { agent, device, slot });
        }
        lane.ending.push_back(ending);
    }

    fn carry(&mut self, from: Party, to: Party, size_bytes: u64, item: Option<usize>, cargo: Cargo) {
        let TransferId(id) = self.network.start(self.now, from, to, size_bytes);
        let index = (id - self.first_cargo) as usize;
        if self.cargo.len() <= index {
            self.cargo.resize_with(index + 1, || None);
        }
        let place = self.outcome.transfers.len();
        let now = self.now;
        self.outcome.transfers.push(TransferRun::begun(item, from, to, size_bytes, now));
        self.outcome.moved_bytes += size_bytes;
        if let Some(measuring) = &mut self.measuring {
            measuring.begin(place, &self.outcome.transfers[place]);
        }
        self.cargo[index] = Some((cargo, place));
    }

    fn end_transfers(&mut self) {
        let mut done = std::mem::take(&mut self.done);
        self.network.advance(self.now, &mut done);
        for (TransferId(id), first_byte) in done.drain(..) {
            let index = (id - self.first_cargo) as usize;
            let Some((cargo, place)) = self.cargo.get_mut(index).and_then(Option::take) else {
                continue;
            };
            while let Some(None) = self.cargo.front() {
                self.cargo.pop_front();
                self.first_cargo += 1;
            }
            self.outcome.transfers[place].finish = self.now;
            if let Some(report) = self.carried(place, first_byte)
                && let Party::Agent(agent) = self.outcome.transfers[place].to()
            {
                self.tell_carried(agent, report);
            }
            match cargo {
                Cargo::Replica { from, to, region } => {
                    let event = AgentEvent::Arrived { region, from: AgentId::from_index(from) };
                    self.take(to, event, Span::ZERO);
                }
                Cargo::Payload { to, task, size_bytes } => {
                    self.take(to, AgentEvent::PayloadArrived { task, size_bytes }, Span::ZERO);
                }
                Cargo::Read => {}
            }
        }
        self.done = done;
    }

    fn take_reply(&mut self, reply: ClientReply) {
        match reply {
            ClientReply::Relayed(AgentToClient::Done { command, .. }) => self.take_done(command),
            ClientReply::Failed { command, error } => {
                self.failed.get_or_insert((command, error.to_string()));
            }
            ClientReply::SendPayload { command, task, agent } => {
                let item = self.requests.item_of_write(command);
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

    fn take_done(&mut self, command: CommandId) {
        if let Some(task) = self.requests.task_of(command) {
            if std::mem::replace(&mut self.marks[task].is_known_to_have_ended, true) {
                // Both of its attempts have ended.
                return;
            }
            self.ended += 1;
            self.outcome.turnaround = self.now.since(Timestamp::ZERO);
        }
        self.open = self.open.saturating_sub(1);
        if self.sent < self.requests.commands() && self.open <= self.run.commands_open_max / 2 {
            self.submit();
        }
    }
}

fn no_orders() -> OrderBatch {
    OrderBatch { reports_taken: 0, orders: Vec::new() }
}

/// The task that a launch is of.
fn task_of(arguments: &[BoundArgument]) -> Option<usize> {
    match arguments.last() {
        Some(BoundArgument::Scalar(bytes)) => task_of_scalar(bytes),
        Some(BoundArgument::Buffer { .. } | BoundArgument::Local(_)) | None => None,
    }
}
