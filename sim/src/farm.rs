//! A farm in virtual time: one scheduler, its agents, and the clients of its sessions.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, HashMap};

use bytes::Bytes;
use isochrone_model::message::{AgentToClient, ClientReply, ClientRequest, OrderBatch};
use isochrone_model::order::SessionSecret;
use isochrone_model::{
    AgentFacts, AgentId, BytesPerSecond, CommandError, CommandId, DeviceFacts, DeviceKind, Limits, Order,
    Region, Report, SessionId, Span, TaskId, TenantId, Timestamp,
};
use isochrone_sched_core::agent::{
    AgentAction, AgentConfig, AgentEvent, Operation, OperationDone, OperationKind, StreamSource, StreamTarget,
};
use isochrone_sched_core::{Action, Event, PolicyError, Scheduler, SchedulerConfig};

use crate::flaky::Flaky;
use crate::kernels;
use crate::random::Random;
use crate::site::Site;
use crate::streams::{Incoming, Outgoing};

/// What a farm is made of.
#[derive(Clone, Debug)]
pub struct FarmOptions {
    /// Everything random comes from here.
    pub seed: u64,
    /// The farm's policy.
    pub policy: String,
    /// The bounds that the machines keep.
    pub limits: Limits,
    /// From how many bytes on contents go straight between devices and peers or clients; none do with `None`. A part
    /// of the streams breaks.
    pub streamed_bytes_min: Option<u64>,
    /// Let a part of the backups fail on their devices, though the tasks would not.
    pub are_backups_flaky: bool,
    /// The true paths.
    pub links: LinkTruth,
    /// Check every invariant after every step.
    pub is_checked: bool,
}

/// What a path truly does: a fixed latency, a random one on top, and a rate.
#[derive(Clone, Copy, Debug)]
pub struct LinkTruth {
    /// One way.
    pub latency: Span,
    /// Up to this much more, drawn for each message; messages of one stream keep their order.
    pub jitter: Span,
    /// Of one transfer.
    pub rate: BytesPerSecond,
}

/// How a command ended for its client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It finished; a read brought these bytes.
    Done(Option<Bytes>),
    /// It failed.
    Failed(CommandError),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Party {
    Scheduler,
    Agent(AgentId),
    Client(SessionId),
}

enum Message {
    ToScheduler(Event, Option<(AgentId, u32)>),
    Orders(AgentId, u32, OrderBatch),
    ToAgent(AgentId, u32, AgentEvent),
    Replica { from: AgentId, to: AgentId, life: u32, region: Region, bytes: Bytes },
    Payload { to: AgentId, life: u32, task: TaskId, bytes: Bytes },
    Joined(AgentId, u32),
    ToClient(SessionId, ClientReply),
    Data { session: SessionId, command: CommandId, offset_bytes: u64, bytes: Bytes },
    OperationEnds { agent: AgentId, life: u32, operation: Operation, upload: Option<Bytes>, work: Span },
    SentFromDevice(Outgoing),
    CameToDevice(Incoming),
    FromClient(SessionId, ClientRequest),
    Crash(AgentId),
    Return(AgentId),
    Wake,
}

/// Of so many streams about one breaks.
const STREAMS_PER_BREAK: u64 = 6;

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

#[derive(Default)]
struct Client {
    payloads: HashMap<CommandId, Bytes>,
    reads: HashMap<CommandId, Read>,
    outcomes: BTreeMap<CommandId, Outcome>,
    ended_at: BTreeMap<CommandId, Timestamp>,
    request_failures: Vec<CommandError>,
    is_closed: bool,
}

struct Read {
    bytes: Vec<u8>,
    /// Which of them have come: a piece may come twice when an agent is lost.
    has_come: Vec<bool>,
}

/// The farm.
pub struct Farm {
    now: Timestamp,
    order: u64,
    queue: BinaryHeap<Reverse<Queued>>,
    random: Random,
    options: FarmOptions,
    scheduler: Scheduler,
    sites: Vec<Option<Site>>,
    facts: Vec<AgentFacts>,
    lives: Vec<u32>,
    /// The life of each agent whose connection the scheduler knows.
    known_lives: Vec<u32>,
    clients: BTreeMap<SessionId, Client>,
    /// When the last message of each ordered stream arrives.
    streams: HashMap<(Party, Party), Timestamp>,
    reports_taken: Vec<u64>,
    orders_sent: u64,
    steps: u64,
    /// From devices, and to devices.
    streamed: [u64; 2],
    flaky: Flaky,
}

impl Farm {
    /// A farm without agents.
    ///
    /// # Errors
    /// When the policy's label makes none.
    pub fn new(options: FarmOptions) -> Result<Self, PolicyError> {
        let config =
            SchedulerConfig { limits: options.limits.clone(), policy: options.policy.clone(), costs: None };
        Ok(Self {
            now: Timestamp::ZERO,
            order: 0,
            queue: BinaryHeap::new(),
            random: Random::new(options.seed),
            scheduler: Scheduler::new(config, isochrone_policies::registry())?,
            options,
            sites: Vec::new(),
            facts: Vec::new(),
            lives: Vec::new(),
            known_lives: Vec::new(),
            clients: BTreeMap::new(),
            streams: HashMap::new(),
            reports_taken: Vec::new(),
            orders_sent: 0,
            steps: 0,
            streamed: [0; 2],
            flaky: Flaky::default(),
        })
    }

    /// Facts of a device for simulated farms.
    #[must_use]
    pub fn device(name: &str, items_per_us: u64, memory_bytes: u64, slots: u16) -> DeviceFacts {
        DeviceFacts {
            name: name.to_owned(),
            platform: "simulated".to_owned(),
            driver: "1".to_owned(),
            kind: DeviceKind::Virtual,
            compute_units: 1,
            clock_mhz: 1_000,
            memory_bytes,
            buffer_bytes_max: memory_bytes / 2,
            local_memory_bytes: 32 << 10,
            work_group_size_max: 256,
            sub_buffer_alignment_bytes: 128,
            has_fp64: true,
            slots,
            prior_items_per_us: items_per_us,
            prior_launch: Span::from_micros(5),
            prior_host_rate: BytesPerSecond(10_000_000_000),
        }
    }

    /// Adds an agent that connects now.
    pub fn add_agent(&mut self, devices: Vec<DeviceFacts>, host_memory_bytes: u64) -> AgentId {
        let agent = AgentId::from_index(self.sites.len());
        let facts = AgentFacts {
            name: format!("agent-{}", agent.0),
            address: format!("127.0.0.1:{}", 9_000 + agent.0),
            devices,
            host_memory_bytes,
        };
        self.facts.push(facts);
        self.sites.push(None);
        self.lives.push(0);
        self.known_lives.push(0);
        self.reports_taken.push(0);
        self.connect(agent);
        agent
    }

    fn connect(&mut self, agent: AgentId) {
        let facts = self.facts[agent.index()].clone();
        self.lives[agent.index()] += 1;
        let life = self.lives[agent.index()];
        let config = AgentConfig { facts, limits: self.options.limits.clone() };
        self.sites[agent.index()] = Some(Site::new(config, self.options.streamed_bytes_min, life));
        self.reports_taken[agent.index()] = 0;
        self.send(Party::Agent(agent), Party::Scheduler, Message::Joined(agent, life));
    }

    /// Opens a session, now.
    pub fn open_session(&mut self, session: SessionId, policy: &str) {
        self.clients.insert(session, Client::default());
        let event = Event::SessionOpened {
            session,
            tenant: TenantId(0),
            tenant_name: "simulated".to_owned(),
            policy: policy.to_owned(),
            secret: SessionSecret([7; 16]),
        };
        self.send_to_scheduler(Party::Client(session), event, None);
    }

    /// Sends a request of a session's client, now.
    pub fn request(&mut self, session: SessionId, request: ClientRequest) {
        let event = Event::Request { session, request };
        self.send_to_scheduler(Party::Client(session), event, None);
    }

    /// Sends a request of a session's client at a time.
    pub fn request_at(&mut self, at: Timestamp, session: SessionId, request: ClientRequest) {
        self.push(at, Message::FromClient(session, request));
    }

    /// Keeps the bytes of a streamed write until the scheduler asks for them.
    pub fn offer_payload(&mut self, session: SessionId, command: CommandId, bytes: Bytes) {
        if let Some(client) = self.clients.get_mut(&session) {
            client.payloads.insert(command, bytes);
        }
    }

    /// Says how many bytes a read will bring.
    pub fn expect_read(&mut self, session: SessionId, command: CommandId, size_bytes: usize) {
        if let Some(client) = self.clients.get_mut(&session) {
            let read = Read { bytes: vec![0; size_bytes], has_come: vec![false; size_bytes] };
            client.reads.insert(command, read);
        }
    }

    /// Ends a session, now.
    pub fn close_session(&mut self, session: SessionId) {
        let event = Event::SessionLeft { session, reason: "closed by its client".to_owned() };
        self.send_to_scheduler(Party::Client(session), event, None);
    }

    /// Stops an agent at a time: all it holds is lost.
    pub fn crash_at(&mut self, agent: AgentId, at: Timestamp) {
        self.push(at, Message::Crash(agent));
    }

    /// Lets an agent connect again at a time, empty.
    pub fn return_at(&mut self, agent: AgentId, at: Timestamp) {
        self.push(at, Message::Return(agent));
    }

    /// The time.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.now
    }

    /// How many steps the machines have made.
    #[must_use]
    pub fn steps(&self) -> u64 {
        self.steps
    }

    /// How a command ended, once it has.
    #[must_use]
    pub fn outcome(&self, session: SessionId, command: CommandId) -> Option<&Outcome> {
        self.clients.get(&session)?.outcomes.get(&command)
    }

    /// When a command's end reached its client.
    #[must_use]
    pub fn ended_at(&self, session: SessionId, command: CommandId) -> Option<Timestamp> {
        self.clients.get(&session)?.ended_at.get(&command).copied()
    }

    /// Errors of requests that were no commands.
    #[must_use]
    pub fn request_failures(&self, session: SessionId) -> &[CommandError] {
        self.clients.get(&session).map_or(&[], |client| &client.request_failures)
    }

    /// Whether the scheduler has said that the session is over.
    #[must_use]
    pub fn is_closed(&self, session: SessionId) -> bool {
        self.clients.get(&session).is_some_and(|client| client.is_closed)
    }

    /// The scheduler's machine, to look at.
    #[must_use]
    pub fn scheduler(&self) -> &Scheduler {
        &self.scheduler
    }

    /// Runs until nothing is left to happen, or `steps_max` steps have been made; whether it came to rest.
    pub fn run(&mut self, steps_max: u64) -> bool {
        let end = self.steps + steps_max;
        loop {
            let deadline = self.scheduler.deadline();
            let next = self.queue.peek().map(|Reverse(queued)| queued.at);
            match (deadline, next) {
                (None, None) => return true,
                // Waiting events come first, so that a burst is placed as one batch.
                (Some((at, timer)), next) if next.is_none_or(|next| next > at.max(self.now)) => {
                    self.now = self.now.max(at);
                    self.step_scheduler(Event::Timer(timer));
                }
                (_, Some(_)) => {
                    if let Some(Reverse(queued)) = self.queue.pop() {
                        self.now = self.now.max(queued.at);
                        self.deliver(queued.message);
                    }
                }
                (Some(_), None) => {}
            }
            if self.steps >= end {
                return false;
            }
        }
    }

    /// Asserts that the farm has come to rest: no task, no operation, nothing held.
    ///
    /// # Panics
    /// When something is left.
    pub fn assert_silence(&self) {
        assert_eq!(self.scheduler.unfinished_tasks(), 0, "the scheduler has no task left");
        for site in self.sites.iter().flatten() {
            assert!(
                site.machine.is_idle(),
                "{} holds nothing: {} tasks",
                site.facts.name,
                site.machine.held_tasks()
            );
        }
    }

    /// Bytes that an agent's host store and devices hold.
    #[must_use]
    pub fn held_bytes(&self, agent: AgentId) -> u64 {
        self.sites[agent.index()]
            .as_ref()
            .map_or(0, |site| site.store.len_bytes() + site.machine.device_used_bytes().iter().sum::<u64>())
    }

    /// How often contents came whole straight from a device, and to one.
    #[must_use]
    pub fn streamed(&self) -> [u64; 2] {
        self.streamed
    }

    /// Orders that the scheduler has given to agents.
    #[must_use]
    pub fn orders_sent(&self) -> u64 {
        self.orders_sent
    }

    fn push(&mut self, at: Timestamp, message: Message) {
        self.order += 1;
        self.queue.push(Reverse(Queued { at: at.max(self.now), order: self.order, message }));
    }

    /// Sends in order on the control stream between two parties.
    fn send(&mut self, from: Party, to: Party, message: Message) {
        let jitter = Span(self.random.below(self.options.links.jitter.0 + 1));
        let arrival = self.now + self.options.links.latency + jitter;
        let last = self.streams.entry((from, to)).or_default();
        *last = (*last).max(arrival);
        let at = *last;
        self.push(at, message);
    }

    /// Sends on a stream of its own.
    fn send_bulk(&mut self, size_bytes: u64, message: Message) {
        let jitter = Span(self.random.below(4 * self.options.links.jitter.0 + 1));
        let span = self.options.links.rate.span_for(size_bytes);
        let at = self.now + self.options.links.latency + jitter + span;
        self.push(at, message);
    }

    fn send_to_scheduler(&mut self, from: Party, event: Event, of_life: Option<(AgentId, u32)>) {
        self.send(from, Party::Scheduler, Message::ToScheduler(event, of_life));
    }

    fn deliver(&mut self, message: Message) {
        match message {
            Message::ToScheduler(event, of_life) => {
                if of_life.is_none_or(|(agent, life)| self.lives[agent.index()] == life) {
                    if let (Event::Reports { reports, .. }, Some((agent, _))) = (&event, of_life) {
                        self.reports_taken[agent.index()] += reports.len() as u64;
                    }
                    self.step_scheduler(event);
                }
            }
            Message::Orders(agent, life, batch) => {
                if self.lives[agent.index()] == life {
                    if self.options.are_backups_flaky {
                        for order in &batch.orders {
                            self.flaky.note(agent, order, &mut self.random);
                        }
                    }
                    self.step_agent(agent, AgentEvent::Orders(batch));
                }
            }
            Message::ToAgent(agent, life, event) => {
                if self.lives[agent.index()] == life {
                    self.step_agent(agent, event);
                }
            }
            Message::Joined(agent, life) => {
                if self.lives[agent.index()] == life {
                    self.known_lives[agent.index()] = life;
                }
                let facts = self.facts[agent.index()].clone();
                self.step_scheduler(Event::AgentJoined { agent, facts });
            }
            Message::Replica { from, to, life, region, bytes } => {
                self.replica_came(from, (to, life), region, bytes);
            }
            Message::Payload { to, life, task, bytes } => {
                self.payload_came((to, life), task, bytes);
            }
            Message::ToClient(session, reply) => self.take_reply(session, reply),
            Message::Data { session, command, offset_bytes, bytes } => {
                self.take_data(session, command, offset_bytes, &bytes);
            }
            Message::OperationEnds { agent, life, operation, upload, work } => {
                if self.lives[agent.index()] == life {
                    self.end_operation(agent, &operation, upload.as_ref(), work);
                }
            }
            Message::SentFromDevice(outgoing) => self.end_stream_out(outgoing),
            Message::CameToDevice(incoming) => self.end_stream_in(incoming),
            Message::FromClient(session, request) => self.request(session, request),
            Message::Crash(agent) => {
                if self.sites[agent.index()].take().is_some() {
                    self.lives[agent.index()] += 1;
                    let reason = "connection lost".to_owned();
                    self.send_to_scheduler(Party::Agent(agent), Event::AgentLeft { agent, reason }, None);
                }
            }
            Message::Return(agent) => {
                if self.sites[agent.index()].is_none() {
                    self.connect(agent);
                }
            }
            Message::Wake => {}
        }
    }

    fn step_scheduler(&mut self, event: Event) {
        self.steps += 1;
        let actions = self.scheduler.step(self.now, event);
        if self.options.is_checked {
            self.scheduler.check_invariants();
        }
        let mut batches: BTreeMap<AgentId, Vec<Order>> = BTreeMap::new();
        for action in actions {
            match action {
                Action::Order { agent, order } => batches.entry(agent).or_default().push(order),
                Action::Reply { session, reply } => {
                    self.send(Party::Scheduler, Party::Client(session), Message::ToClient(session, reply));
                }
                Action::SessionEnded { session: _ } => {}
            }
        }
        for (agent, orders) in batches {
            self.orders_sent += orders.len() as u64;
            // On the connection that the scheduler knows: a later life of the agent has another.
            let life = self.known_lives[agent.index()];
            let batch = OrderBatch { reports_taken: self.reports_taken[agent.index()], orders };
            self.send(Party::Scheduler, Party::Agent(agent), Message::Orders(agent, life, batch));
        }
    }

    fn step_agent(&mut self, agent: AgentId, event: AgentEvent) {
        let Some(site) = &mut self.sites[agent.index()] else { return };
        self.steps += 1;
        let actions = site.machine.step(self.now, event);
        if self.options.is_checked {
            site.machine.check_invariants();
        }
        let mut reports = Vec::new();
        for action in actions {
            self.perform(agent, action, &mut reports);
        }
        if !reports.is_empty() {
            let life = self.lives[agent.index()];
            self.send_to_scheduler(
                Party::Agent(agent),
                Event::Reports { agent, reports },
                Some((agent, life)),
            );
        }
    }

    fn perform(&mut self, agent: AgentId, action: AgentAction, reports: &mut Vec<Report>) {
        let Some(site) = &mut self.sites[agent.index()] else { return };
        let life = site.life;
        match action {
            AgentAction::Operate(operation) => self.start_operation(agent, operation),
            AgentAction::Build { program, source, options: _ } => {
                let devices = site.facts.devices.len();
                for device in 0..devices {
                    let delay = Span::from_micros(1 + self.random.below(3_000));
                    let event = AgentEvent::Built {
                        program,
                        device: isochrone_model::DeviceIndex::from_index(device),
                        outcome: kernels::build(&source),
                    };
                    self.push(self.now + delay, Message::ToAgent(agent, life, event));
                }
            }
            AgentAction::StoreBytes { region, bytes } => site.store.insert(region, &bytes),
            AgentAction::StorePayload { task, region } => {
                let bytes = site.payloads.remove(&task).expect("the payload has come");
                site.store.insert(region, &bytes);
            }
            AgentAction::DropPayload { task } => {
                site.payloads.remove(&task);
            }
            AgentAction::DropHost { buffer, range } => site.store.remove(buffer, range),
            AgentAction::StreamOut { stream, device, lane: _, region, target } => {
                let to_life = match target {
                    StreamTarget::Agent { to } => self.lives[to.index()],
                    StreamTarget::Session { .. } => 0,
                };
                let bytes = site.peek(device, region).unwrap_or_default();
                let outgoing = Outgoing { agent, life, stream, device, region, target, to_life, bytes };
                let span = self.stream_span(region);
                self.push(self.now + span, Message::SentFromDevice(outgoing));
            }
            AgentAction::StreamIn { stream, device, lane: _, region, source } => {
                let bytes = site.arriving.take().expect("what begins to come is there");
                // Until all has come, nobody may take what is there for anything.
                site.poke(device, region, &vec![0xee; bytes.len()]);
                let incoming = Incoming { agent, life, stream, device, region, source, bytes };
                let span = self.stream_span(region);
                self.push(self.now + span, Message::CameToDevice(incoming));
            }
            AgentAction::SendReplica { region, to } => {
                let bytes = site.store.read(region);
                let size_bytes = bytes.len() as u64;
                let life = self.lives[to.index()];
                self.send_bulk(size_bytes, Message::Replica { from: agent, to, life, region, bytes });
                let done = AgentEvent::SendDone { region };
                self.push(self.now, Message::ToAgent(agent, self.lives[agent.index()], done));
            }
            AgentAction::SendData { session, command, offset_bytes, region } => {
                let bytes = site.store.read(region);
                let size_bytes = bytes.len() as u64;
                self.send_bulk(size_bytes, Message::Data { session, command, offset_bytes, bytes });
            }
            AgentAction::SendNotice { to, task, dependent } => {
                let to_life = self.lives[to.index()];
                let event = AgentEvent::Notice { task, dependent };
                self.send(Party::Agent(agent), Party::Agent(to), Message::ToAgent(to, to_life, event));
            }
            AgentAction::SendDone { session, command, execution } => {
                let reply = ClientReply::Relayed(AgentToClient::Done { command, execution });
                self.send(Party::Agent(agent), Party::Client(session), Message::ToClient(session, reply));
            }
            AgentAction::Report(report) => reports.push(report),
            AgentAction::DropProgram { .. }
            | AgentAction::AdmitSession { .. }
            | AgentAction::DismissSession { .. }
            | AgentAction::PeerJoined { .. }
            | AgentAction::PeerLeft { .. } => {}
        }
    }

    fn stream_span(&mut self, region: Region) -> Span {
        let jitter = Span(self.random.below(4 * self.options.links.jitter.0 + 1));
        self.options.links.latency + jitter + self.options.links.rate.span_for(region.range.len())
    }

    fn replica_came(&mut self, from: AgentId, (to, life): (AgentId, u32), region: Region, bytes: Bytes) {
        let Some(site) = self.sites[to.index()].as_mut().filter(|site| site.life == life) else { return };
        site.arriving = Some(bytes);
        self.step_agent(to, AgentEvent::ReplicaBegins { region, from });
        let Some(site) = self.sites[to.index()].as_mut() else { return };
        if let Some(bytes) = site.arriving.take() {
            site.store.insert(region, &bytes);
            self.step_agent(to, AgentEvent::Arrived { region, from });
        }
    }

    fn payload_came(&mut self, (to, life): (AgentId, u32), task: TaskId, bytes: Bytes) {
        let Some(site) = self.sites[to.index()].as_mut().filter(|site| site.life == life) else { return };
        let size_bytes = bytes.len() as u64;
        site.arriving = Some(bytes);
        self.step_agent(to, AgentEvent::PayloadBegins { task, size_bytes });
        let Some(site) = self.sites[to.index()].as_mut() else { return };
        if let Some(bytes) = site.arriving.take() {
            site.payloads.insert(task, bytes);
            self.step_agent(to, AgentEvent::PayloadArrived { task, size_bytes });
        }
    }

    /// The receiver of a stream has all of it, or it broke.
    fn end_stream_out(&mut self, outgoing: Outgoing) {
        let Outgoing { agent, life, stream, device, region, target, to_life, bytes } = outgoing;
        let Some(site) = self.sites[agent.index()].as_mut().filter(|site| site.life == life) else { return };
        let still = site.peek(device, region);
        if let Some(still) = &still {
            assert!(*still == bytes, "what is being sent stays as it is: {region:?}");
        }
        let is_receiver_there = match target {
            StreamTarget::Agent { to } => self.lives[to.index()] == to_life,
            StreamTarget::Session { .. } => true,
        };
        if still.is_none() || !is_receiver_there || self.random.one_in(STREAMS_PER_BREAK) {
            return self.step_agent(agent, AgentEvent::OperationDone(Outgoing::broken(stream)));
        }
        let message = match target {
            StreamTarget::Agent { to } => Message::Replica { from: agent, to, life: to_life, region, bytes },
            StreamTarget::Session { session, command, offset_bytes } => {
                Message::Data { session, command, offset_bytes, bytes }
            }
        };
        self.push(self.now, message);
        self.streamed[0] += 1;
        let done = OperationDone { operation: stream, outcome: Ok(Span(1)) };
        self.step_agent(agent, AgentEvent::OperationDone(done));
    }

    /// All of a stream is on the device, or it broke; a replica then comes another way.
    fn end_stream_in(&mut self, incoming: Incoming) {
        let Incoming { agent, life, stream, device, region, source, bytes } = incoming;
        let Some(site) = self.sites[agent.index()].as_mut().filter(|site| site.life == life) else { return };
        if let StreamSource::Agent { from } = source
            && self.random.one_in(STREAMS_PER_BREAK)
        {
            self.push(self.now, Message::Replica { from, to: agent, life, region, bytes });
            return self.step_agent(agent, AgentEvent::OperationDone(Outgoing::broken(stream)));
        }
        site.poke(device, region, &bytes);
        self.streamed[1] += 1;
        let done = OperationDone { operation: stream, outcome: Ok(Span(1)) };
        self.step_agent(agent, AgentEvent::OperationDone(done));
    }

    fn start_operation(&mut self, agent: AgentId, operation: Operation) {
        let work = self.true_duration(agent, &operation);
        let Some(site) = &mut self.sites[agent.index()] else { return };
        let upload = match &operation.kind {
            OperationKind::Upload { region } => Some(site.store.read(*region)),
            OperationKind::Allocate { .. }
            | OperationKind::Free { .. }
            | OperationKind::Download { .. }
            | OperationKind::Launch { .. }
            | OperationKind::Copy { .. }
            | OperationKind::Fill { .. } => None,
        };
        site.begin(&operation);
        let ends = site.schedule(self.now, &operation, work);
        let life = site.life;
        self.push(ends, Message::OperationEnds { agent, life, operation, upload, work });
    }

    /// What the operation really takes: the device's own speed with a spread of a half.
    fn true_duration(&mut self, agent: AgentId, operation: &Operation) -> Span {
        let facts = &self.facts[agent.index()].devices[operation.device.index()];
        let expected = match &operation.kind {
            OperationKind::Allocate { .. } | OperationKind::Free { .. } => Span(500),
            OperationKind::Upload { region } | OperationKind::Download { region } => {
                facts.prior_host_rate.span_for(region.range.len())
            }
            OperationKind::Launch { range, .. } => {
                facts.prior_launch + Span(range.items() * 1_000 / facts.prior_items_per_us.max(1))
            }
            OperationKind::Copy { source_range, .. } => facts.prior_host_rate.span_for(source_range.len()),
            OperationKind::Fill { range, .. } => facts.prior_host_rate.span_for(range.len()),
        };
        Span(expected.0 + self.random.below(expected.0 / 2 + 1))
    }

    fn end_operation(&mut self, agent: AgentId, operation: &Operation, upload: Option<&Bytes>, work: Span) {
        let Some(site) = &mut self.sites[agent.index()] else { return };
        let outcome = site.perform(operation, upload);
        let outcome = self.flaky.spoil(agent, operation.device, &operation.kind, site).and(outcome);
        if let (Ok(Some(bytes)), OperationKind::Download { region }) = (&outcome, &operation.kind) {
            site.store.insert(*region, bytes);
        }
        let done = OperationDone { operation: operation.id, outcome: outcome.map(|_| work) };
        self.step_agent(agent, AgentEvent::OperationDone(done));
    }

    fn take_reply(&mut self, session: SessionId, reply: ClientReply) {
        let now = self.now;
        let Some(client) = self.clients.get_mut(&session) else { return };
        match reply {
            ClientReply::Relayed(AgentToClient::Done { command, .. }) => {
                client.end(command, Outcome::Done(None), now);
            }
            ClientReply::Failed { command, error } => client.end(command, Outcome::Failed(error), now),
            ClientReply::SendPayload { command, task, agent } => {
                let bytes = client.payloads.get(&command).expect("a streamed write has its bytes").clone();
                let size_bytes = bytes.len() as u64;
                let life = self.lives[agent.index()];
                self.send_bulk(size_bytes, Message::Payload { to: agent, life, task, bytes });
            }
            ClientReply::RequestFailed { error, .. } => client.request_failures.push(error),
            ClientReply::Closed { .. } => client.is_closed = true,
            ClientReply::Relayed(AgentToClient::Welcome | AgentToClient::Data { .. })
            | ClientReply::Opened { .. }
            | ClientReply::AgentJoined { .. }
            | ClientReply::AgentLeft { .. }
            | ClientReply::Program { .. }
            | ClientReply::Answer { .. } => {}
        }
    }

    fn take_data(&mut self, session: SessionId, command: CommandId, offset_bytes: u64, bytes: &Bytes) {
        let now = self.now;
        let Some(client) = self.clients.get_mut(&session) else { return };
        let Some(read) = client.reads.get_mut(&command) else { return };
        let from = offset_bytes as usize;
        read.bytes[from..from + bytes.len()].copy_from_slice(bytes);
        read.has_come[from..from + bytes.len()].fill(true);
        if read.has_come.iter().all(|come| *come)
            && let Some(read) = client.reads.remove(&command)
        {
            client.end(command, Outcome::Done(Some(Bytes::from(read.bytes))), now);
        }
    }

    /// Lets the clock reach a time even if nothing happens until then.
    pub fn wake_at(&mut self, at: Timestamp) {
        self.push(at, Message::Wake);
    }
}

impl Client {
    fn end(&mut self, command: CommandId, outcome: Outcome, now: Timestamp) {
        self.ended_at.entry(command).or_insert(now);
        self.outcomes.entry(command).or_insert(outcome);
    }
}
