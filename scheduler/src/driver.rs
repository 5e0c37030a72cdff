//! The one loop that owns the `Scheduler` machine.
//!
//! A turn takes in what waits, reads the clock once, steps the machine with each event, fires what is
//! due, and then sends what the machine said. It must never decide anything about tasks, and never
//! wait for a peer: what a peer does not take is queued up to a bound and then costs it its connection.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use isochrone_model::message::{
    AgentToClient, AgentToScheduler, ClientReply, ClientRequest, OrderBatch, PeerMessage, RequestName,
    SchedulerToAgent,
};
use isochrone_model::order::SessionSecret;
use isochrone_model::{
    AgentFacts, AgentId, CommandError, LinkEnd, PathSample, SessionId, Span, TenantId, Timestamp,
};
use isochrone_sched_core::{Action, Event, Scheduler};
use isochrone_transport::{CloseCode, Pace, PeerIdentity};
use serde::Serialize;
use tokio::sync::{mpsc, watch};

use crate::clock::{Clock, calendar_millis};
use crate::connections::{Input, LinkId, Wire, described, refuse};
use crate::costs;
use crate::journal::Journal;
use crate::orders::PendingOrders;
use crate::relay::Routes;
use crate::validate::{self, Sender, Violation};

/// Inputs of one turn: above what a busy farm brings between two turns, so that a burst is one batch,
/// and few enough that timers and sending are not held up.
const TURN_INPUTS_MAX: usize = 1_024;

/// Timers of one turn; a machine that always has one due must not keep the loop from its inputs.
const TURN_TIMERS_MAX: usize = 64;

/// Debug builds check the machine's invariants this often at most: it takes time in proportion to state.
const CHECK_INTERVAL: Span = Span::from_millis(100);

/// How long the farewells of a shutdown may take.
const FAREWELL_TIMEOUT: Duration = Duration::from_secs(2);

/// Drives the machine.
pub(crate) struct Driver {
    pub(crate) machine: Scheduler,
    pub(crate) clock: Clock,
    pub(crate) now: Timestamp,
    pub(crate) policy: String,
    pub(crate) inline_bytes_max: u64,
    journal: Option<Journal>,
    costs: Option<CostsFile>,
    routes: Arc<Routes>,
    links: BTreeMap<LinkId, Link>,
    agents: Vec<AgentPlace>,
    agent_ids: BTreeMap<String, AgentId>,
    sessions: BTreeMap<SessionId, LinkId>,
    tenants: BTreeMap<String, TenantId>,
    next_session: SessionId,
    is_draining: bool,
    checked_at: Timestamp,
    counters: Counters,
    status_interval: Duration,
    pace: watch::Sender<Pace>,
}

/// What a driver is made of.
pub(crate) struct DriverParts {
    pub(crate) machine: Scheduler,
    pub(crate) policy: String,
    pub(crate) inline_bytes_max: u64,
    pub(crate) journal: Option<Journal>,
    pub(crate) costs: Option<CostsFile>,
    pub(crate) routes: Arc<Routes>,
    pub(crate) status_interval: Duration,
    pub(crate) pace: watch::Sender<Pace>,
}

/// Where measured costs are kept.
pub(crate) struct CostsFile {
    pub(crate) path: PathBuf,
    pub(crate) interval: Duration,
    /// What the file holds.
    pub(crate) saved: Vec<u8>,
}

/// An agent that is or was there; its place is its id.
#[derive(Debug)]
pub(crate) struct AgentPlace {
    pub(crate) name: String,
    link: Option<LinkId>,
    orders: PendingOrders,
    /// Reports of the present connection that were stepped.
    reports_taken: u64,
}

#[derive(Debug)]
struct Link {
    wire: Wire,
    peer: Peer,
}

#[derive(Debug)]
enum Peer {
    Agent(AgentId),
    Client { identity: PeerIdentity, session: ClientSession },
}

/// How far a client's connection is with its session; it has one at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ClientSession {
    NotAskedFor,
    Open(SessionId),
    /// Refused, or ended by the farm. What the client said before it heard of that is of no account.
    Over,
}

#[derive(Debug, Default)]
struct Counters {
    turns: u64,
    events: u64,
    actions: u64,
    longest_turn: Span,
}

/// Why the loop ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// The process was asked to stop; the farm goes on with the next scheduler.
    Signal,
    /// An administrator stops the farm.
    Administrator,
}

impl Driver {
    pub(crate) fn new(parts: DriverParts) -> Self {
        Self {
            machine: parts.machine,
            clock: Clock::start(),
            now: Timestamp::ZERO,
            policy: parts.policy,
            inline_bytes_max: parts.inline_bytes_max,
            journal: parts.journal,
            costs: parts.costs,
            routes: parts.routes,
            links: BTreeMap::new(),
            agents: Vec::new(),
            agent_ids: BTreeMap::new(),
            sessions: BTreeMap::new(),
            tenants: BTreeMap::new(),
            next_session: first_session(),
            is_draining: false,
            checked_at: Timestamp::ZERO,
            counters: Counters::default(),
            status_interval: parts.status_interval,
            pace: parts.pace,
        }
    }

    /// Runs until the signal, or until an administrator's shutdown is complete.
    pub(crate) async fn run(
        mut self,
        mut inputs: mpsc::UnboundedReceiver<Input>,
        signal: impl Future<Output = ()>,
    ) {
        let mut signal = std::pin::pin!(signal);
        let mut status = tokio::time::interval(self.status_interval);
        let costs_interval = self.costs.as_ref().map(|costs| costs.interval);
        let mut save = tokio::time::interval(costs_interval.unwrap_or(Duration::from_secs(3_600)));
        let ending = loop {
            let wake = self.machine.deadline().map(|(at, _)| self.clock.instant(at));
            let mut first = None;
            tokio::select! {
                biased;
                () = &mut signal => break Ending::Signal,
                input = inputs.recv() => first = input,
                () = wait_until(wake) => {}
                _ = save.tick() => { self.save_costs(); continue; }
                _ = status.tick() => { self.log_status(); continue; }
            }
            self.now = self.clock.now();
            let rest = std::iter::from_fn(|| inputs.try_recv().ok()).take(TURN_INPUTS_MAX);
            for input in first.into_iter().chain(rest) {
                self.take(input);
            }
            self.fire_timers();
            self.end_turn();
            if self.is_draining && self.sessions.is_empty() {
                break Ending::Administrator;
            }
        };
        self.say_farewell(ending).await;
    }

    fn take(&mut self, input: Input) {
        match input {
            Input::AgentConnected { link, wire, facts } => self.agent_connected(link, wire, facts),
            Input::AgentSaid { link, message, permit } => {
                self.agent_said(link, message);
                drop(permit);
            }
            Input::ClientConnected { link, wire, identity } => {
                tracing::debug!(%identity, "connected");
                let peer = Peer::Client { identity, session: ClientSession::NotAskedFor };
                self.links.insert(link, Link { wire, peer });
            }
            Input::ClientAsked { link, request, permit } => {
                self.client_asked(link, request);
                drop(permit);
            }
            Input::PathMeasured { link, sample } => self.path_measured(link, sample),
            Input::Ended { link, reason } => self.link_ended(link, reason),
        }
    }

    fn agent_connected(&mut self, link: LinkId, wire: Wire, facts: AgentFacts) {
        let agent = match self.agent_ids.get(&facts.name) {
            Some(agent) => *agent,
            None => {
                let agent = AgentId::from_index(self.agents.len());
                self.agent_ids.insert(facts.name.clone(), agent);
                self.agents.push(AgentPlace {
                    name: facts.name.clone(),
                    link: None,
                    orders: PendingOrders::default(),
                    reports_taken: 0,
                });
                agent
            }
        };
        if let Some(old) = self.agents[agent.index()].link {
            if let Some(old) = self.links.get(&old) {
                old.wire.connection.close(CloseCode::Done, "the agent connected anew");
            }
            self.link_ended(old, "it connected anew".to_owned());
        }
        tracing::info!(
            name = facts.name,
            address = facts.address,
            devices = facts.devices.len(),
            "agent joined"
        );
        // Filled once only: the connection is new.
        let _ = wire.known.set(Sender::Agent(agent));
        self.routes.add_agent(agent, wire.connection.clone());
        let sample = first_sample(&wire);
        self.links.insert(link, Link { wire, peer: Peer::Agent(agent) });
        let place = &mut self.agents[agent.index()];
        place.link = Some(link);
        place.reports_taken = 0;
        place.orders.take();
        let welcome = SchedulerToAgent::Welcome { agent, inline_bytes_max: self.inline_bytes_max };
        self.send(link, &welcome);
        self.step(Event::AgentJoined { agent, facts });
        self.step(Event::PathMeasured { to: LinkEnd::Agent(agent), sample });
    }

    fn agent_said(&mut self, link: LinkId, message: AgentToScheduler) {
        let Some(Link { peer: Peer::Agent(agent), .. }) = self.links.get(&link) else { return };
        let agent = *agent;
        match message {
            // The reader refuses a second one.
            AgentToScheduler::Hello(_) => {}
            AgentToScheduler::Reports(reports) => {
                self.agents[agent.index()].reports_taken += reports.len() as u64;
                self.step(Event::Reports { agent, reports });
            }
            AgentToScheduler::RelayToClient { session, message } => {
                self.relay_to_client(session, message);
            }
            AgentToScheduler::RelayToPeer { to, message } => {
                self.relay_to_peer(link, agent, to, message);
            }
        }
    }

    fn relay_to_client(&mut self, session: SessionId, message: AgentToClient) {
        match self.sessions.get(&session) {
            Some(link) => self.send(*link, &ClientReply::Relayed(message)),
            None => tracing::debug!(%session, "a message for a session that is over"),
        }
    }

    fn relay_to_peer(&mut self, link: LinkId, from: AgentId, to: AgentId, message: PeerMessage) {
        if let Err(violation) = validate::peer_message(&message, from) {
            self.refuse(link, &violation);
            return;
        }
        match self.agents.get(to.index()).and_then(|place| place.link) {
            Some(link) => self.send(link, &SchedulerToAgent::RelayedPeer(message)),
            None => tracing::debug!(%from, %to, "a message for an agent that left"),
        }
    }

    fn client_asked(&mut self, link: LinkId, request: ClientRequest) {
        let Some(Link { peer: Peer::Client { session, .. }, .. }) = self.links.get(&link) else { return };
        match (request, *session) {
            (ClientRequest::Open { policy }, ClientSession::NotAskedFor) => self.open_session(link, policy),
            (ClientRequest::Open { .. }, ClientSession::Open(_) | ClientSession::Over) => {
                self.refuse(link, &Violation::SecondOpen);
            }
            (ClientRequest::Ask { question_id, question }, session) => {
                let identity = self.client_identity(link).cloned();
                let Some(identity) = identity else { return };
                let session = match session {
                    ClientSession::Open(session) => Some(session),
                    ClientSession::NotAskedFor | ClientSession::Over => None,
                };
                let answer = self.answer(&identity, session, &question);
                self.send(link, &ClientReply::Answer { question_id, answer });
            }
            (ClientRequest::Close, ClientSession::Open(session)) => {
                self.step(Event::SessionLeft { session, reason: "closed by its client".to_owned() });
            }
            (
                request @ (ClientRequest::CreateBuffer { .. }
                | ClientRequest::ReleaseBuffer { .. }
                | ClientRequest::CreateProgram { .. }
                | ClientRequest::ReleaseProgram { .. }
                | ClientRequest::Submit { .. }
                | ClientRequest::Cancel { .. }),
                ClientSession::Open(session),
            ) => self.step(Event::Request { session, request }),
            (
                ClientRequest::CreateBuffer { .. }
                | ClientRequest::ReleaseBuffer { .. }
                | ClientRequest::CreateProgram { .. }
                | ClientRequest::ReleaseProgram { .. }
                | ClientRequest::Submit { .. }
                | ClientRequest::Cancel { .. }
                | ClientRequest::Close,
                session @ (ClientSession::NotAskedFor | ClientSession::Over),
            ) => {
                if session == ClientSession::NotAskedFor {
                    self.refuse(link, &Violation::NoSession);
                }
            }
        }
    }

    fn open_session(&mut self, link: LinkId, policy: String) {
        let Some(identity) = self.client_identity(link) else { return };
        let tenant_name = identity.tenant.clone().unwrap_or_else(|| identity.name.clone());
        if self.is_draining {
            let error = CommandError::SessionClosed { reason: "the farm is stopping".to_owned() };
            let reply = ClientReply::RequestFailed { request: RequestName::Open, error };
            self.send(link, &reply);
            if let Some(Link { peer: Peer::Client { session, .. }, .. }) = self.links.get_mut(&link) {
                *session = ClientSession::Over;
            }
            return;
        }
        let mut secret = [0; 16];
        if let Err(error) = getrandom::fill(&mut secret) {
            tracing::error!(%error, "no random bytes for a session's secret");
            self.close(link, CloseCode::Internal, "no random bytes");
            return;
        }
        let tenants = self.tenants.len();
        let tenant =
            *self.tenants.entry(tenant_name.clone()).or_insert_with(|| TenantId::from_index(tenants));
        let session = self.next_session;
        self.next_session = SessionId(session.0 + 1);
        tracing::info!(%session, tenant = tenant_name, "session opened");
        let mut sample = None;
        if let Some(Link { wire, peer: Peer::Client { session: own, .. } }) = self.links.get_mut(&link) {
            *own = ClientSession::Open(session);
            // Filled once only: a second `Open` is refused.
            let _ = wire.known.set(Sender::Session(session));
            // Nothing is measured before the handshake is complete; the next measuring tells then.
            sample = wire.connection.is_confirmed().then(|| first_sample(wire));
            self.routes.add_session(session, wire.connection.clone());
        }
        self.sessions.insert(session, link);
        let secret = SessionSecret(secret);
        self.step(Event::SessionOpened { session, tenant, tenant_name, policy, secret });
        if let Some(sample) = sample
            && self.sessions.contains_key(&session)
        {
            self.step(Event::PathMeasured { to: LinkEnd::Session(session), sample });
        }
    }

    fn client_identity(&self, link: LinkId) -> Option<&PeerIdentity> {
        match &self.links.get(&link)?.peer {
            Peer::Client { identity, .. } => Some(identity),
            Peer::Agent(_) => None,
        }
    }

    fn link_ended(&mut self, link: LinkId, reason: String) {
        let Some(ended) = self.links.remove(&link) else { return };
        finish(&ended.wire, CloseCode::Done, "");
        match ended.peer {
            Peer::Agent(agent) => {
                let place = &mut self.agents[agent.index()];
                place.link = None;
                place.orders.take();
                self.routes.remove_agent(agent);
                tracing::info!(name = self.agents[agent.index()].name, reason, "agent left");
                self.step(Event::AgentLeft { agent, reason });
            }
            Peer::Client { session: ClientSession::Open(session), .. } => {
                tracing::info!(%session, reason, "session left");
                self.routes.remove_session(session);
                self.sessions.remove(&session);
                self.step(Event::SessionLeft { session, reason });
            }
            Peer::Client { identity, session: ClientSession::NotAskedFor | ClientSession::Over } => {
                tracing::debug!(%identity, reason, "left");
            }
        }
    }

    /// Steps the machine and performs what it answers.
    fn step(&mut self, event: Event) {
        if let Some(journal) = &mut self.journal {
            journal.record(self.now, &event);
        }
        let actions = self.machine.step(self.now, event);
        if let Some(journal) = &mut self.journal {
            journal.answer(&actions);
        }
        self.counters.events += 1;
        self.counters.actions += actions.len() as u64;
        for action in actions {
            self.perform(action);
        }
    }

    fn perform(&mut self, action: Action) {
        match action {
            Action::Order { agent, order } => match self.agents.get_mut(agent.index()) {
                Some(place) if place.link.is_some() => place.orders.push(order, place.reports_taken),
                Some(_) | None => tracing::debug!(%agent, "an order for an agent that left"),
            },
            Action::Reply { session, reply } => match self.sessions.get(&session) {
                Some(link) => self.send(*link, &reply),
                None => tracing::debug!(%session, "a reply for a session that is over"),
            },
            Action::SessionEnded { session } => {
                self.routes.remove_session(session);
                let Some(link) = self.sessions.remove(&session) else { return };
                tracing::info!(%session, "session ended");
                // Its end will come as that of a connection without a session.
                if let Some(Link { wire, peer: Peer::Client { session, .. } }) = self.links.get_mut(&link) {
                    *session = ClientSession::Over;
                    finish(wire, CloseCode::Done, "the session is over");
                }
            }
        }
    }

    fn fire_timers(&mut self) {
        for _ in 0..TURN_TIMERS_MAX {
            match self.machine.deadline() {
                Some((at, timer)) if at <= self.now => self.step(Event::Timer(timer)),
                Some(_) | None => return,
            }
        }
    }

    fn path_measured(&mut self, link: LinkId, sample: PathSample) {
        let to = match self.links.get(&link).map(|link| &link.peer) {
            Some(Peer::Agent(agent)) => LinkEnd::Agent(*agent),
            Some(Peer::Client { session: ClientSession::Open(session), .. }) => LinkEnd::Session(*session),
            Some(Peer::Client { session: ClientSession::NotAskedFor | ClientSession::Over, .. }) | None => {
                return;
            }
        };
        self.step(Event::PathMeasured { to, sample });
    }

    /// Sends the turn's orders and hands its records to the journal.
    fn end_turn(&mut self) {
        let mut frames: Vec<(LinkId, OrderBatch)> = Vec::new();
        for place in &mut self.agents {
            if let Some(link) = place.link {
                frames.extend(place.orders.take().into_iter().map(|batch| (link, batch)));
            }
        }
        for (link, batch) in frames {
            self.send(link, &SchedulerToAgent::Orders(batch));
        }
        if let Some(journal) = &mut self.journal {
            journal.end_turn();
        }
        if cfg!(debug_assertions) && self.now.since(self.checked_at) >= CHECK_INTERVAL {
            self.checked_at = self.now;
            self.machine.check_invariants();
        }
        let pace = Pace::for_paths(self.links.len(), self.machine.unfinished_tasks() > 0);
        self.pace.send_if_modified(|known| std::mem::replace(known, pace) != pace);
        self.counters.turns += 1;
        let turn = self.clock.now().since(self.now);
        self.counters.longest_turn = self.counters.longest_turn.max(turn);
    }

    /// Sends at once, or gives the peer up: one that does not read must not fill this process.
    fn send(&self, link: LinkId, message: &impl Serialize) {
        let Some(link) = self.links.get(&link) else { return };
        if let Err(error) = link.wire.sender.send(message) {
            // Its reader tells of the end.
            let reason = described(&error);
            tracing::debug!(reason, "a message cannot be sent");
            link.wire.connection.close(CloseCode::LimitExceeded, &reason);
        }
    }

    fn refuse(&self, link: LinkId, violation: &Violation) {
        if let Some(link) = self.links.get(&link) {
            let reason = refuse(&link.wire.connection, violation);
            tracing::info!(reason, "a peer broke the protocol");
        }
    }

    fn close(&self, link: LinkId, code: CloseCode, reason: &str) {
        if let Some(link) = self.links.get(&link) {
            link.wire.connection.close(code, reason);
        }
    }

    /// Begins to stop the farm: no session may open any more.
    pub(crate) fn drain(&mut self) {
        tracing::info!(sessions = self.sessions.len(), "stopping once sessions have ended");
        self.is_draining = true;
    }

    fn log_status(&mut self) {
        let Counters { turns, events, actions, longest_turn } = std::mem::take(&mut self.counters);
        tracing::info!(
            turns,
            events,
            actions,
            longest_turn = %longest_turn,
            agents = self.agents.iter().filter(|place| place.link.is_some()).count(),
            sessions = self.sessions.len(),
            relayed_bytes = self.routes.relayed_bytes(),
            "since the last of these lines"
        );
    }

    /// Saves measured costs if they have changed, without keeping the loop.
    fn save_costs(&mut self) {
        if let Some((path, bytes)) = self.changed_costs() {
            tokio::task::spawn_blocking(move || {
                if let Err(error) = costs::save(&path, &bytes) {
                    tracing::error!("{}", described(&error));
                }
            });
        }
    }

    fn changed_costs(&mut self) -> Option<(PathBuf, Vec<u8>)> {
        let file = self.costs.as_mut()?;
        match costs::encode(&self.machine.cost_snapshot()) {
            Ok(bytes) if bytes == file.saved => None,
            Ok(bytes) => {
                file.saved.clone_from(&bytes);
                Some((file.path.clone(), bytes))
            }
            Err(error) => {
                tracing::error!("{}", described(&error));
                None
            }
        }
    }

    /// Tells everyone, saves the costs and ends the journal.
    async fn say_farewell(&mut self, ending: Ending) {
        tracing::info!(?ending, "scheduler stops");
        for (session, link) in &self.sessions {
            tracing::debug!(%session, "cut off by the scheduler's end");
            let reply = ClientReply::Closed { reason: "the scheduler stops".to_owned() };
            self.send(*link, &reply);
        }
        if ending == Ending::Administrator {
            for place in &self.agents {
                if let Some(link) = place.link {
                    self.send(link, &SchedulerToAgent::Shutdown);
                }
            }
        }
        let finishing: Vec<_> = self
            .links
            .values()
            .map(|link| finish(&link.wire, CloseCode::Draining, "the scheduler stops"))
            .collect();
        for task in finishing {
            // Fails only when the runtime ends.
            let _ = task.await;
        }
        // Blocks on purpose: nothing else is left to do.
        self.journal = None;
        if let Some((path, bytes)) = self.changed_costs()
            && let Err(error) = costs::save(&path, &bytes)
        {
            tracing::error!("{}", described(&error));
        }
    }
}

/// Closes a connection once its peer has what was sent, or has had the time to take it.
fn finish(wire: &Wire, code: CloseCode, reason: &'static str) -> tokio::task::JoinHandle<()> {
    let connection = wire.connection.clone();
    let sender = wire.sender.clone();
    tokio::spawn(async move {
        // A peer that does not take it sees the connection close.
        let _ = tokio::time::timeout(FAREWELL_TIMEOUT, sender.finish()).await;
        connection.close(code, reason);
    })
}

/// What the handshake has told of the path of a new connection.
fn first_sample(wire: &Wire) -> PathSample {
    let round_trips = vec![Span::from(wire.connection.round_trip())];
    PathSample { round_trips, sent_packets: 1, ..PathSample::default() }
}

/// Sessions count from the time of the start in steps of a millionth of a millisecond, so that no
/// scheduler uses the ids of the one before it.
fn first_session() -> SessionId {
    SessionId(calendar_millis().saturating_mul(1 << 20))
}

async fn wait_until(instant: Option<tokio::time::Instant>) {
    match instant {
        Some(instant) => tokio::time::sleep_until(instant).await,
        None => std::future::pending().await,
    }
}
