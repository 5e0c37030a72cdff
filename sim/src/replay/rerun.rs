//! The run once more: the machines of a recorded farm over virtual time.
//!
//! The very machines, and what is around them as in `simulation`, but with commands as clients wrote them in place of a task
//! graph. Must never look at what the recorded policy decided.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, VecDeque};

use isochrone_model::message::{AgentToClient, ClientReply, ClientRequest, OrderBatch};
use isochrone_model::order::{BuildOutcome, TaskOutcome};
use isochrone_model::{
    AgentId, Command, CommandId, CommandKind, DeviceFacts, DeviceIndex, Lane, LinkEnd, Order, ProgramKey,
    Region, Report, SessionId, Span, TaskId, TaskOrder, Timestamp, Work,
};
use isochrone_sched_core::agent::{
    AgentAction, AgentConfig, AgentEvent, Operation, OperationDone, OperationKind,
};
use isochrone_sched_core::{Action, Event, PolicyError, Scheduler, SchedulerConfig};

use super::durations::LaunchKey;
use super::recording::{Input, RATE_SAMPLE_BYTES_MIN, Recording, When, program_name};
use crate::cluster::Party;
use crate::network::{Network, NetworkError, TransferId, network};
use crate::processing::{Processing, Processor};
use crate::simulation::Site;

/// What a message takes on the wire beside what is counted for its parts, and what each part takes.
const MESSAGE_BYTES: u64 = 64;
const PART_BYTES: u64 = 96;

/// What a policy made of a recording.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rerun {
    /// The time in which the farm had something open, as the scheduler sees it: to compare with [`Recording::busy`].
    pub busy: Span,
    /// The same, one by one: to compare with [`Recording::periods`].
    pub periods: Vec<Span>,
    /// Tasks that ended well.
    pub tasks: u64,
    /// Bytes between agents.
    pub moved_bytes: u64,
    /// By device over all agents.
    pub devices: Vec<RerunDevice>,
    /// Proposals of the policy that were refused.
    pub rejections: u64,
}

/// What a device did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RerunDevice {
    /// `agent/device`.
    pub name: String,
    /// Launches.
    pub launches: u64,
    /// Time in them.
    pub busy: Span,
}

/// Why a recording cannot be run again.
#[derive(Debug, thiserror::Error)]
pub enum RerunError {
    /// The policy's label makes none.
    #[error("no such policy")]
    Policy(#[source] PolicyError),
    /// The network model's label makes none.
    #[error("no such network model")]
    Network(#[source] NetworkError),
    /// Nothing is left to happen and something is still open.
    #[error("{open} tasks were never finished: the policy placed nothing more, or no device can run them")]
    Stalled {
        /// How many.
        open: usize,
    },
}

impl Recording {
    /// Runs it under a policy, which takes the place of every session's own; `None` keeps those. `model` is the label of a network
    /// model, whose draws (latencies, losses) come from `seed` alone.
    ///
    /// # Errors
    /// When a label makes nothing, or the run does not end.
    pub fn run(&self, policy: Option<&str>, model: &str, seed: u64) -> Result<Rerun, RerunError> {
        let network = network(model, &self.cluster, seed).map_err(RerunError::Network)?;
        Engine::new(self, policy, network)?.run()
    }
}

enum Message {
    Input(SessionId),
    ToScheduler(Event, Option<usize>),
    Orders(usize, OrderBatch),
    ToAgent(usize, AgentEvent),
    ToClient(SessionId, ClientReply),
    OperationEnds {
        agent: usize,
        operation: Operation,
        work: Span,
    },
    /// Its agent's processor has come to it.
    Taken(usize, Box<AgentEvent>),
    /// The scheduler's processor is done with what it sends.
    Leaves(Vec<Outgoing>),
}

impl Message {
    fn is_for_the_scheduler(&self) -> bool {
        matches!(self, Self::Input(_) | Self::ToScheduler(..))
    }
}

/// What the scheduler sends: to whom, and of what size.
struct Outgoing(Party, u64, Message);

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

/// A session's client.
struct Client {
    inputs: VecDeque<(When, Input)>,
    /// Its next input waits for the farm to have nothing open.
    waits: Option<Span>,
    /// Bytes of its writes that come on streams.
    payloads: BTreeMap<CommandId, u64>,
}

struct Engine<'a> {
    recording: &'a Recording,
    policy: Option<&'a str>,
    now: Timestamp,
    order: u64,
    queue: BinaryHeap<Reverse<Queued>>,
    network: Box<dyn Network>,
    cargo: Vec<Option<Cargo>>,
    scheduler: Scheduler,
    sites: Vec<Site>,
    facts: Vec<&'a DeviceFacts>,
    clients: BTreeMap<SessionId, Client>,
    /// Sessions that begin so long after one has left.
    followers: BTreeMap<SessionId, (SessionId, Span)>,
    programs: BTreeMap<ProgramKey, String>,
    /// By agent, launches that were ordered and have not begun.
    ordered: Vec<Vec<TaskOrder>>,
    reports: Vec<Report>,
    done: Vec<(TransferId, Timestamp)>,
    is_idle: bool,
    changed_at: Timestamp,
    last_finish: Timestamp,
    processing: Processing,
    processor: Processor,
    /// By agent.
    processors: Vec<Processor>,
    outcome: Rerun,
}

impl<'a> Engine<'a> {
    fn new(
        recording: &'a Recording,
        policy: Option<&'a str>,
        network: Box<dyn Network>,
    ) -> Result<Self, RerunError> {
        let config = SchedulerConfig {
            limits: recording.limits.clone(),
            policy: policy.unwrap_or(&recording.policy).to_owned(),
            costs: recording.costs.clone(),
        };
        let scheduler = Scheduler::new(config, isochrone_policies::registry()).map_err(RerunError::Policy)?;
        let mut sites = Vec::new();
        let mut outcome = Rerun::default();
        for facts in &recording.agents {
            let config = AgentConfig { facts: facts.clone(), limits: recording.limits.clone() };
            sites.push(Site::new(config, outcome.devices.len()));
            outcome.devices.extend(facts.devices.iter().map(|device| RerunDevice {
                name: format!("{}/{}", facts.name, device.name),
                ..RerunDevice::default()
            }));
        }
        let ordered = vec![Vec::new(); sites.len()];
        let processing = network.processing();
        let clients = recording.scripts.iter().map(|(session, script)| {
            let inputs = script.inputs.iter().cloned().collect();
            (*session, Client { inputs, waits: None, payloads: BTreeMap::new() })
        });
        let mut engine = Self {
            recording,
            policy,
            now: Timestamp::ZERO,
            order: 0,
            queue: BinaryHeap::new(),
            network,
            cargo: Vec::new(),
            scheduler,
            sites,
            facts: recording.agents.iter().flat_map(|agent| &agent.devices).collect(),
            clients: clients.collect(),
            followers: BTreeMap::new(),
            programs: BTreeMap::new(),
            ordered,
            reports: Vec::new(),
            done: Vec::new(),
            is_idle: true,
            changed_at: Timestamp::ZERO,
            last_finish: Timestamp::ZERO,
            processing,
            processor: Processor::default(),
            processors: vec![Processor::default(); recording.agents.len()],
            outcome,
        };
        for (at, event) in &recording.facts {
            engine.push(*at, Message::ToScheduler(event.clone(), None));
        }
        for (session, script) in &recording.scripts {
            match script.follows {
                Some((before, gap)) => {
                    engine.followers.insert(before, (*session, gap));
                }
                None => engine.push(script.starts_at, Message::Input(*session)),
            }
        }
        Ok(engine)
    }

    fn run(mut self) -> Result<Rerun, RerunError> {
        loop {
            let deadline = self.scheduler.deadline();
            let queued = self.queue.peek().map(|Reverse(queued)| queued.at);
            let next = match (queued, self.network.next_event()) {
                (Some(queued), Some(network)) => Some(queued.min(network)),
                (queued, network) => queued.or(network),
            };
            match (deadline, next) {
                (None, None) => break,
                // Waiting events come first, so that a burst is placed as one batch.
                (Some((at, timer)), next)
                    if next.is_none_or(|next| next > self.processor.free_at(at.max(self.now))) =>
                {
                    self.now = self.processor.free_at(at.max(self.now));
                    self.step_scheduler(Event::Timer(timer));
                }
                (_, Some(next)) if queued == Some(next) => {
                    if let Some(Reverse(queued)) = self.queue.pop() {
                        self.now = self.now.max(queued.at);
                        let at = self.processor.free_at(self.now);
                        if at > self.now && queued.message.is_for_the_scheduler() {
                            // In its place before what comes then.
                            self.queue.push(Reverse(Queued { at, ..queued }));
                        } else {
                            self.deliver(queued.message);
                        }
                    }
                }
                (_, Some(next)) => {
                    self.now = self.now.max(next);
                    self.end_transfers();
                }
                (Some(_), None) => {}
            }
        }
        if !self.is_idle {
            return Err(RerunError::Stalled { open: self.scheduler.unfinished_tasks() });
        }
        self.outcome.rejections = self.scheduler.status().rejections.iter().map(|(_, count)| count).sum();
        Ok(self.outcome)
    }

    fn push(&mut self, at: Timestamp, message: Message) {
        self.order += 1;
        self.queue.push(Reverse(Queued { at: at.max(self.now), order: self.order, message }));
    }

    fn send(&mut self, from: Party, to: Party, size_bytes: u64, message: Message) {
        let at = self.network.message(self.now, from, to, size_bytes);
        self.push(at, message);
    }

    fn deliver(&mut self, message: Message) {
        match message {
            Message::Input(session) => self.input(session),
            Message::ToScheduler(event, from) => {
                if let (Event::Reports { reports, .. }, Some(agent)) = (&event, from) {
                    self.sites[agent].reports_taken += reports.len() as u64;
                }
                self.step_scheduler(event);
            }
            Message::Orders(agent, batch) => {
                for order in &batch.orders {
                    if let Some(task) = order.task() {
                        self.ordered[agent].push(task.clone());
                    }
                }
                let tasks = batch.orders.iter().filter_map(Order::task).count();
                self.take(agent, AgentEvent::Orders(batch), self.processing.of_orders(tasks));
            }
            Message::ToAgent(agent, event) => self.take(agent, event, Span::ZERO),
            Message::Taken(agent, event) => self.step_agent(agent, *event),
            Message::Leaves(outgoing) => self.send_all(outgoing),
            Message::ToClient(session, reply) => self.take_reply(session, &reply),
            Message::OperationEnds { agent, operation, work } => {
                let done = OperationDone { operation: operation.id, outcome: Ok(work) };
                self.take(agent, AgentEvent::OperationDone(done), self.processing.of_end());
            }
        }
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

    fn send_all(&mut self, outgoing: Vec<Outgoing>) {
        for Outgoing(to, size_bytes, message) in outgoing {
            self.send(Party::Scheduler, to, size_bytes, message);
        }
    }

    /// A client's next input is at the scheduler; times in the script are the scheduler's.
    fn input(&mut self, session: SessionId) {
        let Some(client) = self.clients.get_mut(&session) else { return };
        let Some((_, input)) = client.inputs.pop_front() else { return };
        let event = match input {
            Input::Event(mut event) => {
                if let (Event::SessionOpened { policy, .. }, Some(_)) = (&mut event, self.policy) {
                    policy.clear();
                }
                event
            }
            Input::Request(request) => {
                if let ClientRequest::Submit { commands } = &request {
                    client.payloads.extend(commands.iter().filter_map(streamed));
                }
                Event::Request { session, request }
            }
        };
        let next = client.inputs.front().map(|(when, _)| *when);
        if next.is_none()
            && let Some((follower, gap)) = self.followers.remove(&session)
        {
            self.push(self.now + gap, Message::Input(follower));
        }
        let Some(client) = self.clients.get_mut(&session) else { return };
        match next {
            Some(When::After(span)) => self.push(self.now + span, Message::Input(session)),
            Some(When::Idle(span)) => client.waits = Some(span),
            None => {}
        }
        self.step_scheduler(event);
        self.release_waiting();
    }

    /// Lets clients go on that waited for the farm to have nothing open.
    fn release_waiting(&mut self) {
        // What is due at this moment is placed first: it may be work.
        if !self.is_idle || self.scheduler.deadline().is_some_and(|(at, _)| at <= self.now) {
            return;
        }
        let since = self.changed_at;
        let mut due = Vec::new();
        for (session, client) in &mut self.clients {
            if let Some(span) = client.waits.take() {
                due.push((since + span, *session));
            }
        }
        for (at, session) in due {
            self.push(at, Message::Input(session));
        }
    }

    fn step_scheduler(&mut self, event: Event) {
        if let Event::Reports { reports, .. } = &event {
            for report in reports {
                if let Report::Finished { outcome, .. } = report {
                    self.last_finish = self.now;
                    self.outcome.tasks += u64::from(matches!(outcome, TaskOutcome::Done { .. }));
                }
            }
        }
        let actions = self.scheduler.step(self.now, event);
        let mut batches: BTreeMap<AgentId, Vec<Order>> = BTreeMap::new();
        let (mut outgoing, mut tasks) = (Vec::new(), 0);
        for action in actions {
            match action {
                Action::Order { agent, order } => {
                    tasks += usize::from(order.task().is_some());
                    if let Order::Build { program, source, options } = &order {
                        self.programs.insert(*program, program_name(source, options));
                    }
                    batches.entry(agent).or_default().push(order);
                }
                Action::Reply { session, reply } => {
                    outgoing.push(Outgoing(Party::Client, MESSAGE_BYTES, Message::ToClient(session, reply)));
                }
                Action::SessionEnded { session: _ } => {}
            }
        }
        for (agent, orders) in batches {
            let agent = agent.index();
            let size_bytes = MESSAGE_BYTES + PART_BYTES * orders.len() as u64;
            let batch = OrderBatch { reports_taken: self.sites[agent].reports_taken, orders };
            outgoing.push(Outgoing(Party::Agent(agent), size_bytes, Message::Orders(agent, batch)));
        }
        let leaves_at = self.processor.take(self.now, self.processing.of_placing(tasks));
        if leaves_at > self.now {
            self.push(leaves_at, Message::Leaves(outgoing));
        } else {
            self.send_all(outgoing);
        }
        if self.scheduler.is_idle() != self.is_idle {
            let changed_at = if self.is_idle { self.now } else { self.last_finish.max(self.changed_at) };
            if !self.is_idle {
                let period = changed_at.since(self.changed_at);
                self.outcome.periods.push(period);
                self.outcome.busy += period;
            }
            self.is_idle = !self.is_idle;
            self.changed_at = changed_at;
        }
        self.release_waiting();
    }

    fn step_agent(&mut self, agent: usize, event: AgentEvent) {
        let actions = self.sites[agent].machine.step(self.now, event);
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
            AgentAction::Build { program, source, options } => {
                self.build(agent, program, &program_name(&source, &options));
            }
            AgentAction::StreamOut { .. } | AgentAction::StreamIn { .. } => {
                unreachable!("simulated agents move contents over their hosts")
            }
            AgentAction::SendReplica { region, to } => {
                let to = to.index();
                let cargo = Cargo::Replica { from: agent, to, region };
                self.outcome.moved_bytes += region.range.len();
                self.carry(Party::Agent(agent), Party::Agent(to), region.range.len(), cargo);
                self.push(self.now, Message::ToAgent(agent, AgentEvent::SendDone { region }));
            }
            AgentAction::SendData { session: _, command: _, offset_bytes: _, region } => {
                self.carry(Party::Agent(agent), Party::Client, region.range.len(), Cargo::Read);
                self.push(self.now, Message::ToAgent(agent, AgentEvent::SendDone { region }));
            }
            AgentAction::SendNotice { to, task, dependent } => {
                let event = AgentEvent::Notice { task, dependent };
                let to = to.index();
                self.send(Party::Agent(agent), Party::Agent(to), MESSAGE_BYTES, Message::ToAgent(to, event));
            }
            AgentAction::Report(report) => self.reports.push(report),
            // No bytes are kept here, and clients' waits are counted at the scheduler.
            AgentAction::SendDone { .. }
            | AgentAction::StoreBytes { .. }
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

    fn build(&mut self, agent: usize, program: ProgramKey, name: &str) {
        for device in 0..self.recording.agents[agent].devices.len() {
            let device = DeviceIndex::from_index(device);
            let key = (name.to_owned(), AgentId::from_index(agent), device);
            let (outcome, took) = self.recording.builds.get(&key).cloned().unwrap_or_else(|| {
                let log = "this device was never asked to build it in the recorded run".to_owned();
                (BuildOutcome::Failed { log }, Span::ZERO)
            });
            // What was seen at the scheduler has two ways in it, which come here too.
            let ways = self.network.stated(Party::Scheduler, Party::Agent(agent)).2
                + self.network.stated(Party::Agent(agent), Party::Scheduler).2;
            let at = self.now + took.saturating_sub(ways);
            self.push(at, Message::ToAgent(agent, AgentEvent::Built { program, device, outcome }));
        }
    }

    fn operate(&mut self, agent: usize, operation: Operation) {
        let place = self.sites[agent].first_device + operation.device.index();
        let rate = self.facts[place].prior_host_rate;
        let is_launch = matches!(operation.kind, OperationKind::Launch { .. });
        let work = match &operation.kind {
            OperationKind::Allocate { .. } | OperationKind::Free { .. } => Span::ZERO,
            OperationKind::Upload { region } | OperationKind::Download { region } => {
                rate.span_for(region.range.len())
            }
            OperationKind::Copy { source_range, .. } => rate.span_for(source_range.len()),
            OperationKind::Fill { range, .. } => rate.span_for(range.len()),
            OperationKind::Launch { program, kernel, range, .. } => {
                let program = self.programs.get(program).cloned().unwrap_or_default();
                let key = LaunchKey { program, kernel: kernel.0, items: range.items() };
                let (session, command) =
                    self.begun(agent, &operation).unwrap_or((SessionId(0), CommandId(u64::MAX)));
                self.recording.durations.of(session, command, &key, place, &self.facts)
            }
        };
        let (start, end) = self.sites[agent].schedule(self.now, &operation, work);
        if is_launch {
            let device = &mut self.outcome.devices[place];
            device.launches += 1;
            device.busy += end.since(start);
        }
        self.push(end, Message::OperationEnds { agent, operation, work });
    }

    /// The command that a launch is of: the first that was ordered so. Launches that are equal in everything may stand in for
    /// each other.
    fn begun(&mut self, agent: usize, operation: &Operation) -> Option<(SessionId, CommandId)> {
        let lane = Lane::Slot { device: operation.device, slot: operation.slot };
        let position = self.ordered[agent].iter().position(|order| {
            let is_same = match (&order.work, &operation.kind) {
                (
                    Work::Kernel { program, kernel, range, arguments },
                    OperationKind::Launch { program: of, kernel: its, range: over, arguments: given },
                ) => (program, kernel, range, arguments) == (of, its, over, given),
                _ => false,
            };
            is_same && order.lane == lane
        })?;
        let order = self.ordered[agent].remove(position);
        Some((order.session, order.command))
    }

    fn carry(&mut self, from: Party, to: Party, size_bytes: u64, cargo: Cargo) {
        let TransferId(id) = self.network.start(self.now, from, to, size_bytes);
        let id = id as usize;
        if self.cargo.len() <= id {
            self.cargo.resize_with(id + 1, || None);
        }
        self.cargo[id] = Some(cargo);
    }

    fn end_transfers(&mut self) {
        let mut done = std::mem::take(&mut self.done);
        self.network.advance(self.now, &mut done);
        for (TransferId(id), first_byte) in done.drain(..) {
            match self.cargo.get_mut(id as usize).and_then(Option::take) {
                Some(Cargo::Replica { from, to, region }) => {
                    let span = self.now.since(first_byte);
                    let from = AgentId::from_index(from);
                    self.tell_carried(to, from, region.range.len(), span);
                    self.take(to, AgentEvent::Arrived { region, from }, Span::ZERO);
                }
                Some(Cargo::Payload { to, task, size_bytes }) => {
                    self.take(to, AgentEvent::PayloadArrived { task, size_bytes }, Span::ZERO);
                }
                Some(Cargo::Read) | None => {}
            }
        }
        self.done = done;
    }

    /// Sends the scheduler what an agent saw of a transfer. What came beside it over the same path is not counted, so
    /// that paths which carry several at once look slower than they are.
    fn tell_carried(&mut self, agent: usize, from: AgentId, size_bytes: u64, span: Span) {
        if size_bytes < RATE_SAMPLE_BYTES_MIN || span == Span::ZERO {
            return;
        }
        let report = Report::Carried { from: LinkEnd::Agent(from), size_bytes, shared_bytes: 0, span };
        let event = Event::Reports { agent: AgentId::from_index(agent), reports: vec![report] };
        let parties = (Party::Agent(agent), Party::Scheduler);
        self.send(parties.0, parties.1, MESSAGE_BYTES + PART_BYTES, Message::ToScheduler(event, None));
    }

    fn take_reply(&mut self, session: SessionId, reply: &ClientReply) {
        match reply {
            ClientReply::SendPayload { command, task, agent } => {
                let (command, task, agent) = (*command, *task, *agent);
                let client = self.clients.get_mut(&session);
                let size_bytes =
                    client.and_then(|client| client.payloads.get(&command).copied()).unwrap_or(0);
                let to = agent.index();
                let cargo = Cargo::Payload { to, task, size_bytes };
                self.carry(Party::Client, Party::Agent(to), size_bytes, cargo);
            }
            ClientReply::Opened { .. } => {
                // Each session dials the agents anew.
                for agent in 0..self.sites.len() {
                    self.network.connect(self.now, Party::Client, Party::Agent(agent));
                }
            }
            ClientReply::Relayed(
                AgentToClient::Done { .. } | AgentToClient::Welcome | AgentToClient::Data { .. },
            )
            | ClientReply::Failed { .. }
            | ClientReply::RequestFailed { .. }
            | ClientReply::AgentJoined { .. }
            | ClientReply::AgentLeft { .. }
            | ClientReply::Program { .. }
            | ClientReply::Answer { .. }
            | ClientReply::Closed { .. } => {}
        }
    }
}

/// A write whose bytes come on a stream.
fn streamed(command: &Command) -> Option<(CommandId, u64)> {
    match &command.kind {
        CommandKind::Write { payload: isochrone_model::Payload::Stream { size_bytes }, .. } => {
            Some((command.id, *size_bytes))
        }
        CommandKind::Write { payload: isochrone_model::Payload::Inline(_), .. }
        | CommandKind::Launch(_)
        | CommandKind::Read { .. }
        | CommandKind::Copy { .. }
        | CommandKind::Fill { .. }
        | CommandKind::Barrier
        | CommandKind::Marker => None,
    }
}
