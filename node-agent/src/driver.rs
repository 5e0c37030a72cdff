//! The one loop that owns the `Agent` machine, its devices and its host memory, for as long as one
//! connection to the scheduler lasts.
//!
//! A turn takes in what waits, reads the clock once, steps the machine with each event and performs
//! what it answers, hands the operations to the devices, and sends the reports. It must never decide
//! anything about tasks, and never wait for a peer or a device.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;
use isochrone_model::message::{
    AgentToClient, AgentToScheduler, BulkHeader, OrderBatch, PeerMessage, RelayTarget, SchedulerToAgent,
};
use isochrone_model::{AgentId, Order, Region, Report, SessionId, Span, TaskId, Timestamp, Work};
use isochrone_sched_core::agent::{
    Operation, OperationDone, OperationError, OperationId, OperationKind, StreamSource, StreamTarget,
};
use isochrone_sched_core::{Agent, AgentAction, AgentEvent};
use isochrone_transport::{Connection, ControlSender, Pace};
use tokio::sync::{mpsc, oneshot, watch};

use crate::backend::{Backend, BackendEvent};
use crate::clients::{Clients, Hello};
use crate::clock::Clock;
use crate::error_text::described;
use crate::host_store::HostStore;
use crate::inputs::{Input, Readers};
use crate::payloads::Payloads;
use crate::peers::Peers;
use crate::reports::Reports;
use crate::sends::{Transfer, send_stream};
use crate::streams::{PieceOperation, Place, STREAMED_BYTES_MIN, Streams, Way, is_piece};

/// Inputs of one turn, and as many events of devices: few enough that sending is not held up.
const TURN_INPUTS_MAX: usize = 1_024;

/// How often what has a deadline is looked at.
const TICK_INTERVAL: Duration = Duration::from_millis(250);

/// Old messages are let go every so many ticks.
const TICKS_PER_SWEEP: u64 = 4;

/// Paths are measured often until so long after the last order or operation.
const BUSY_FOR: Span = Span::from_secs(5);

/// A payload whose stream broke may come on another one for this long.
const PAYLOAD_GRACE: Span = Span::from_secs(5);

/// A replica whose stream broke with its connection comes another way, unless its sender believes that
/// it came; then the agent begins anew after this long, since nobody would ever send it again.
const REPLICA_GRACE: Span = Span::from_secs(20);

/// Closed sessions that are remembered, so that what comes late for them is thrown away.
const DISMISSED_MAX: usize = 4_096;

/// How long an agent that was told to stop finishes what it has started.
const DRAIN_FOR: Span = Span::from_secs(30);

/// Debug builds check the machine's invariants this often at most: it takes time in proportion to state.
const CHECK_INTERVAL: Span = Span::from_millis(100);

/// One life of an agent: from joining a scheduler to losing it.
pub(crate) struct Life {
    machine: Agent,
    backend: Box<dyn Backend>,
    store: HostStore,
    payloads: Payloads,
    peers: Peers,
    clients: Clients,
    reports: Reports,
    readers: Readers,
    scheduler: Connection,
    sender: ControlSender,
    inline_bytes_max: u64,
    own: AgentId,
    clock: Clock,
    now: Timestamp,
    follow_ups: VecDeque<AgentEvent>,
    streams: Streams,
    /// Who reads the contents that the machine is asked about: it is told where they are to go.
    offered: Option<oneshot::Sender<Way>>,
    open_operations: u64,
    open_transfers: u64,
    broken_replicas: BTreeMap<Region, (AgentId, Timestamp)>,
    dismissed: BTreeSet<SessionId>,
    stop_by: Option<Timestamp>,
    ending: Option<Ending>,
    ticks: u64,
    pace: watch::Sender<Pace>,
    busy_at: Timestamp,
    checked_at: Timestamp,
}

/// What a life is made of.
pub(crate) struct LifeParts {
    pub(crate) machine: Agent,
    pub(crate) backend: Box<dyn Backend>,
    pub(crate) payloads: Payloads,
    pub(crate) peers: Peers,
    pub(crate) readers: Readers,
    pub(crate) scheduler: Connection,
    pub(crate) sender: ControlSender,
    pub(crate) inline_bytes_max: u64,
    pub(crate) own: AgentId,
    pub(crate) pace: watch::Sender<Pace>,
}

/// Why a life ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// The process was asked to stop.
    Signal,
    /// The scheduler stops the farm, and what had started has finished.
    Stopped,
    /// The scheduler was lost.
    Lost(String),
    /// State and bytes disagree: what the agent holds cannot be trusted any more.
    Fault(String),
}

impl Life {
    pub(crate) fn new(parts: LifeParts) -> Self {
        Self {
            machine: parts.machine,
            backend: parts.backend,
            store: HostStore::default(),
            payloads: parts.payloads,
            peers: parts.peers,
            clients: Clients::default(),
            reports: Reports::default(),
            readers: parts.readers,
            scheduler: parts.scheduler,
            sender: parts.sender,
            inline_bytes_max: parts.inline_bytes_max,
            own: parts.own,
            clock: Clock::start(),
            now: Timestamp::ZERO,
            follow_ups: VecDeque::new(),
            streams: Streams::default(),
            offered: None,
            open_operations: 0,
            open_transfers: 0,
            broken_replicas: BTreeMap::new(),
            dismissed: BTreeSet::new(),
            stop_by: None,
            ending: None,
            ticks: 0,
            pace: parts.pace,
            busy_at: Timestamp::ZERO,
            checked_at: Timestamp::ZERO,
        }
    }

    /// Runs until the scheduler is lost or says stop, or until the signal; gives the backend back.
    pub(crate) async fn run(
        mut self,
        mut inputs: mpsc::UnboundedReceiver<Input>,
        mut device_events: mpsc::UnboundedReceiver<BackendEvent>,
        mut signal: Pin<&mut impl Future<Output = ()>>,
    ) -> (Ending, Box<dyn Backend>) {
        let mut tick = tokio::time::interval(TICK_INTERVAL);
        loop {
            let mut input = None;
            let mut device_event = None;
            let mut is_tick = false;
            tokio::select! {
                biased;
                () = &mut signal => return (Ending::Signal, self.backend),
                Some(event) = device_events.recv() => device_event = Some(event),
                Some(received) = inputs.recv() => input = Some(received),
                _ = tick.tick() => is_tick = true,
            }
            self.now = self.clock.now();
            let rest = std::iter::from_fn(|| device_events.try_recv().ok()).take(TURN_INPUTS_MAX);
            for event in device_event.into_iter().chain(rest) {
                self.take_device_event(event);
            }
            let rest = std::iter::from_fn(|| inputs.try_recv().ok()).take(TURN_INPUTS_MAX);
            for input in input.into_iter().chain(rest) {
                self.take(input);
            }
            if is_tick {
                self.tick();
            }
            self.end_turn();
            if let Some(ending) = self.ending.take() {
                return (ending, self.backend);
            }
        }
    }

    fn take(&mut self, input: Input) {
        match input {
            Input::Scheduler { message, permit } => {
                self.scheduler_said(message);
                drop(permit);
            }
            Input::SchedulerLost { .. } if self.stop_by.is_some() => self.end(Ending::Stopped),
            Input::SchedulerLost { reason } => self.end(Ending::Lost(reason)),
            Input::PeerHello { link, agent, name, connection, verified } => {
                self.peers.said_hello(link, agent, name, connection, verified);
            }
            Input::Peer { message, permit } => {
                self.peer_said(message);
                drop(permit);
            }
            Input::PeerEnded { link } => self.peers.ended(link),
            Input::PeerReached { agent, dial, connection, sender } => {
                self.peers.reached(agent, dial, connection, sender);
            }
            Input::PeerLost { agent, dial, reason } => {
                for message in self.peers.lost(agent, dial, &reason) {
                    self.tell_scheduler(&AgentToScheduler::RelayToPeer { to: agent, message });
                }
            }
            Input::ClientHello { link, session, secret, connection, sender, admitted } => {
                let hello = Hello { link, session, secret, connection, sender, admitted };
                let undelivered = self.clients.said_hello(self.now, hello);
                self.relay_to_client(session, undelivered);
            }
            Input::ClientEnded { link, session } => {
                let undelivered = self.clients.ended(link, session);
                self.relay_to_client(session, undelivered);
            }
            Input::PayloadBegins { session, task, size_bytes, admit } => {
                if !self.dismissed.contains(&session) {
                    self.payload_begins(session, task, size_bytes, admit);
                }
            }
            Input::PayloadWhole { session, task, bytes } => {
                let size_bytes = bytes.len() as u64;
                if self.payloads.complete(session, task, bytes) {
                    self.step(AgentEvent::PayloadArrived { task, size_bytes });
                }
            }
            Input::PayloadBroke { session, task, reason, is_final } => {
                let until = if is_final { self.now } else { self.now + PAYLOAD_GRACE };
                self.payloads.broke(session, task, until, reason);
            }
            Input::ReplicaWhole { region, from, bytes } => self.replica_came(region, from, bytes),
            Input::ReplicaBroke { region, from, reason } => {
                tracing::debug!(%from, ?region, reason, "a replica did not come whole");
                self.broken_replicas.insert(region, (from, self.now + REPLICA_GRACE));
            }
            Input::ReplicaBegins { region, from, admit } => {
                if !self.dismissed.contains(&region.buffer.session) {
                    self.replica_begins(region, from, admit);
                }
            }
            Input::PieceCame { stream, offset, bytes, permit } => {
                self.streams.came(stream, offset, bytes, permit);
                self.advance_streams();
            }
            Input::StreamCame { stream } => {
                self.streams.is_whole(stream);
                self.advance_streams();
            }
            Input::StreamBroke { stream, reason } => self.stream_broke(stream, reason),
            Input::PieceSent { stream } => {
                self.streams.sent(stream);
                self.advance_streams();
            }
            Input::StreamSent { stream, outcome } => {
                if let Err(reason) = &outcome {
                    tracing::debug!(reason, "a stream was not sent; its contents go over the host");
                }
                self.streams.sending_ended(stream, outcome);
                self.advance_streams();
            }
            Input::Sent { region, to, outcome } => self.transfer_ended(region, to, outcome),
            Input::PathMeasured { to, sample } => {
                self.reports.push_own(Report::PathMeasured { to, sample });
            }
            Input::Carried { from, size_bytes, shared_bytes, span } => {
                self.reports.push_own(Report::Carried { from, size_bytes, shared_bytes, span });
            }
        }
    }

    fn scheduler_said(&mut self, message: SchedulerToAgent) {
        match message {
            SchedulerToAgent::Welcome { agent, .. } => {
                self.end(Ending::Lost(format!("the scheduler said welcome twice, now to {agent}")));
            }
            SchedulerToAgent::Orders(OrderBatch { reports_taken, orders }) => {
                for order in &orders {
                    self.expect_payload(order);
                }
                let reports_taken = self.reports.machine_taken(reports_taken);
                self.set_pace(true);
                self.step(AgentEvent::Orders(OrderBatch { reports_taken, orders }));
            }
            SchedulerToAgent::RelayedPeer(message) => self.peer_said(message),
            SchedulerToAgent::Shutdown => {
                tracing::info!(operations = self.open_operations, "the farm stops");
                self.stop_by = Some(self.now + DRAIN_FOR);
            }
        }
    }

    fn expect_payload(&mut self, order: &Order) {
        if let Order::Run(task) = order
            && matches!(task.work, Work::Write { bytes: None })
        {
            self.payloads.expect(task.session, task.task);
        }
    }

    /// What a peer says, directly or through the scheduler.
    fn peer_said(&mut self, message: PeerMessage) {
        match message {
            PeerMessage::Notice { task, dependent } => {
                self.step(AgentEvent::Notice { task, dependent });
            }
            PeerMessage::Replica { from, region, bytes } => {
                if self.readers.is_sane(region) {
                    self.replica_came(region, from, bytes);
                }
            }
            // The readers and the scheduler let none through.
            PeerMessage::Hello { agent } => tracing::warn!(%agent, "a hello in mid-connection"),
        }
    }

    fn replica_came(&mut self, region: Region, from: AgentId, bytes: Bytes) {
        self.broken_replicas.remove(&region);
        if self.dismissed.contains(&region.buffer.session) {
            return;
        }
        match self.store.insert(region, bytes) {
            Ok(()) => self.step(AgentEvent::Arrived { region, from }),
            Err(error) => tracing::warn!(%from, ?region, %error, "a replica was thrown away"),
        }
    }

    fn transfer_ended(&mut self, region: Region, to: Option<AgentId>, outcome: Result<(), String>) {
        self.open_transfers -= 1;
        match (outcome, to) {
            (Err(reason), Some(to)) => self.step(AgentEvent::PushFailed { region, to, reason }),
            (Err(reason), None) => {
                // Its session is ending, or the scheduler is lost; either is told elsewhere.
                tracing::debug!(?region, reason, "a client did not get its bytes");
                self.step(AgentEvent::SendDone { region });
            }
            (Ok(()), _) => self.step(AgentEvent::SendDone { region }),
        }
    }

    fn take_device_event(&mut self, event: BackendEvent) {
        match event {
            BackendEvent::Done { mut done, downloaded } => {
                self.open_operations = self.open_operations.saturating_sub(1);
                if is_piece(done.operation) {
                    self.streams.moved(done, downloaded.map(|(_, bytes)| bytes));
                    return self.advance_streams();
                }
                // The bytes must be there before the machine may send them.
                if let Some((region, bytes)) = downloaded
                    && done.outcome.is_ok()
                    && let Err(error) = self.store.insert(region, bytes)
                {
                    tracing::error!(?region, %error, "a device gave other bytes than asked for");
                    done.outcome = Err(failed("download", &error));
                }
                if let Ok(span) = &mut done.outcome {
                    // A coarse clock may say that it took no time, which would mean that nothing ran.
                    *span = (*span).max(Span(1));
                }
                self.step(AgentEvent::OperationDone(done));
            }
            BackendEvent::Opened { operation, opened } => {
                self.streams.opened(operation, opened);
                self.advance_streams();
            }
            BackendEvent::Built { program, device, outcome } => {
                self.step(AgentEvent::Built { program, device, outcome });
            }
        }
    }

    /// Steps the machine, performs what it answers, and steps it with what follows from that.
    fn step(&mut self, event: AgentEvent) {
        self.follow_ups.push_back(event);
        self.follow_up();
    }

    fn follow_up(&mut self) {
        while let Some(event) = self.follow_ups.pop_front() {
            for action in self.machine.step(self.now, event) {
                self.perform(action);
            }
        }
    }

    fn perform(&mut self, action: AgentAction) {
        match action {
            AgentAction::Operate(operation) => self.operate(operation),
            AgentAction::Build { program, source, options } => {
                self.backend.build(program, &source, &options);
            }
            AgentAction::DropProgram { program } => self.backend.drop_program(program),
            AgentAction::StoreBytes { region, bytes } => self.store_bytes(region, bytes),
            AgentAction::StorePayload { task, region } => match self.payloads.take(task) {
                Some(bytes) => self.store_bytes(region, bytes),
                None => self.fault(format!("the bytes of {task} are not there")),
            },
            AgentAction::DropPayload { task } => self.payloads.cancel(task),
            AgentAction::DropHost { buffer, range } => self.store.remove(buffer, range),
            AgentAction::StreamOut { stream, device, lane, region, target } => {
                let is_shared = self.backend.shares_memory(device);
                self.stream_out(stream, Place { region, device, lane, is_shared }, target);
            }
            AgentAction::StreamIn { stream, device, lane, region, source } => {
                let is_shared = self.backend.shares_memory(device);
                self.stream_in(stream, Place { region, device, lane, is_shared }, source);
            }
            AgentAction::SendReplica { region, to } => self.send_replica(region, to),
            AgentAction::SendData { session, command, offset_bytes, region } => {
                self.send_data(session, command, offset_bytes, region);
            }
            AgentAction::SendNotice { to, task, dependent } => self.send_notice(to, task, dependent),
            AgentAction::SendDone { session, command, execution } => {
                self.tell_client(session, AgentToClient::Done { command, execution });
            }
            AgentAction::Report(report) => self.reports.push(report),
            AgentAction::AdmitSession { session, secret } => {
                let undelivered = self.clients.admit(session, secret);
                self.relay_to_client(session, undelivered);
            }
            AgentAction::DismissSession { session } => self.dismiss(session),
            AgentAction::PeerJoined { agent, name, address } => {
                self.peers.joined(agent, name, &address);
            }
            AgentAction::PeerLeft { agent } => {
                self.peers.left(agent);
                self.broken_replicas.retain(|_, (from, _)| *from != agent);
            }
        }
    }

    fn operate(&mut self, operation: Operation) {
        let upload = match &operation.kind {
            OperationKind::Upload { region } => match self.store.slice(*region) {
                Ok(bytes) => Some(bytes),
                Err(error) => {
                    tracing::error!(?region, %error, "an upload of what is not there");
                    let done = not_done(operation.id, failed("upload", &error));
                    return self.follow_ups.push_back(AgentEvent::OperationDone(done));
                }
            },
            OperationKind::Allocate { .. }
            | OperationKind::Free { .. }
            | OperationKind::Download { .. }
            | OperationKind::Launch { .. }
            | OperationKind::Copy { .. }
            | OperationKind::Fill { .. } => None,
        };
        self.open_operations += 1;
        self.backend.perform(operation, upload);
    }

    fn store_bytes(&mut self, region: Region, bytes: Bytes) {
        if let Err(error) = self.store.insert(region, bytes) {
            self.fault(error.to_string());
        }
    }

    fn send_replica(&mut self, region: Region, to: AgentId) {
        if region.range.len() <= self.inline_bytes_max {
            let follow_up = match self.store.slice(region) {
                Ok(bytes) => {
                    self.tell_peer(to, PeerMessage::Replica { from: self.own, region, bytes });
                    AgentEvent::SendDone { region }
                }
                Err(error) => AgentEvent::PushFailed { region, to, reason: error.to_string() },
            };
            return self.follow_ups.push_back(follow_up);
        }
        match self.store.chunks(region) {
            Ok(chunks) => self.begin_transfer(Transfer {
                region,
                to: Some(to),
                target: RelayTarget::Agent(to),
                header: BulkHeader::Replica { from: self.own, region },
                chunks,
                direct: self.peers.connection(to),
                scheduler: self.scheduler.clone(),
            }),
            Err(error) => {
                let reason = error.to_string();
                self.follow_ups.push_back(AgentEvent::PushFailed { region, to, reason });
            }
        }
    }

    fn send_data(
        &mut self,
        session: SessionId,
        command: isochrone_model::CommandId,
        offset_bytes: u64,
        region: Region,
    ) {
        let size_bytes = region.range.len();
        if size_bytes <= self.inline_bytes_max {
            match self.store.slice(region) {
                Ok(bytes) => {
                    self.tell_client(session, AgentToClient::Data { command, offset_bytes, bytes });
                }
                // The read has been reported as finished: there is no other way to say that it is not.
                Err(error) => self.fault(error.to_string()),
            }
            return self.follow_ups.push_back(AgentEvent::SendDone { region });
        }
        match self.store.chunks(region) {
            Ok(chunks) => self.begin_transfer(Transfer {
                region,
                to: None,
                target: RelayTarget::Session(session),
                header: BulkHeader::Data { session, command, offset_bytes, size_bytes },
                chunks,
                direct: self.clients.connection(session),
                scheduler: self.scheduler.clone(),
            }),
            Err(error) => self.fault(error.to_string()),
        }
    }

    /// Begins a stream from a device. What cannot go directly goes over the host, and through the scheduler.
    fn stream_out(&mut self, stream: OperationId, place: Place, target: StreamTarget) {
        let region = place.region;
        let (header, direct) = match target {
            StreamTarget::Agent { to } => {
                (BulkHeader::Replica { from: self.own, region }, self.peers.connection(to))
            }
            StreamTarget::Session { session, command, offset_bytes } => {
                let size_bytes = region.range.len();
                let header = BulkHeader::Data { session, command, offset_bytes, size_bytes };
                (header, self.clients.connection(session))
            }
        };
        let Some(connection) = direct else {
            let reason = "there is no direct connection".to_owned();
            let done = not_done(stream, OperationError::Lost { reason });
            return self.follow_ups.push_back(AgentEvent::OperationDone(done));
        };
        let (sender, pieces) = mpsc::unbounded_channel();
        tokio::spawn(send_stream(connection, header, stream, pieces, self.readers.inputs.clone()));
        self.streams.begin_out(stream, place, sender);
        self.give_pieces();
    }

    /// What begins to come goes to a device.
    fn stream_in(&mut self, stream: OperationId, place: Place, source: StreamSource) {
        if let StreamSource::Payload { task } = source {
            self.payloads.divert(place.region.buffer.session, task);
        }
        self.streams.begin_in(stream, place, source, self.offered.take());
        self.give_pieces();
        self.end_streams();
    }

    fn replica_begins(&mut self, region: Region, from: AgentId, admit: oneshot::Sender<Way>) {
        self.offered = Some(admit);
        self.step(AgentEvent::ReplicaBegins { region, from });
        if let Some(admit) = self.offered.take() {
            // A reader that has gone reads nothing.
            let _ = admit.send(Way::Host);
        }
    }

    fn payload_begins(
        &mut self,
        session: SessionId,
        task: TaskId,
        size_bytes: u64,
        admit: oneshot::Sender<Way>,
    ) {
        let admit = match self.streams.begin_again(task, admit) {
            Ok(()) => {
                self.payloads.divert(session, task);
                return self.advance_streams();
            }
            Err(admit) => admit,
        };
        self.offered = Some(admit);
        if size_bytes >= STREAMED_BYTES_MIN && self.payloads.is_expected(session, task) {
            self.step(AgentEvent::PayloadBegins { task, size_bytes });
        }
        if let Some(admit) = self.offered.take() {
            self.payloads.begin(session, task, size_bytes, admit);
        }
    }

    fn stream_broke(&mut self, stream: OperationId, reason: String) {
        self.note_broken(stream, reason);
        self.advance_streams();
    }

    fn note_broken(&mut self, stream: OperationId, reason: String) {
        match self.streams.broke(stream, reason.clone()) {
            Some((region, StreamSource::Agent { from })) => {
                tracing::debug!(%from, ?region, reason, "a replica did not come whole");
                self.broken_replicas.insert(region, (from, self.now + REPLICA_GRACE));
            }
            Some((region, StreamSource::Payload { task })) => {
                let until = self.now + PAYLOAD_GRACE;
                self.payloads.broke(region.buffer.session, task, until, reason);
            }
            None => {}
        }
    }

    /// Gives devices the pieces that are next, and tells the machine of streams that have ended.
    fn advance_streams(&mut self) {
        self.give_pieces();
        self.end_streams();
        self.follow_up();
    }

    fn give_pieces(&mut self) {
        for stream in self.streams.take_unread() {
            self.note_broken(stream, "its reader has gone".to_owned());
        }
        for operation in self.streams.take_operations() {
            self.open_operations += 1;
            match operation {
                PieceOperation::Move(operation, upload) => self.backend.perform(operation, upload),
                PieceOperation::Open(opening) => self.backend.open(opening),
            }
        }
    }

    fn end_streams(&mut self) {
        for ended in self.streams.take_ended() {
            match ended.source {
                Some((region, StreamSource::Agent { .. })) if ended.done.outcome.is_ok() => {
                    self.broken_replicas.remove(&region);
                }
                Some((_, StreamSource::Payload { task })) => {
                    // Diverted, they are not there, but known to have been handed out.
                    let _ = self.payloads.take(task);
                }
                Some((_, StreamSource::Agent { .. })) | None => {}
            }
            self.follow_ups.push_back(AgentEvent::OperationDone(ended.done));
        }
    }

    fn begin_transfer(&mut self, transfer: Transfer) {
        self.open_transfers += 1;
        tokio::spawn(transfer.run(self.readers.inputs.clone()));
    }

    fn send_notice(&mut self, to: AgentId, task: TaskId, dependent: TaskId) {
        self.tell_peer(to, PeerMessage::Notice { task, dependent });
    }

    fn tell_peer(&mut self, to: AgentId, message: PeerMessage) {
        if let Err(message) = self.peers.send(self.now, to, message) {
            self.tell_scheduler(&AgentToScheduler::RelayToPeer { to, message });
        }
    }

    fn tell_client(&mut self, session: SessionId, message: AgentToClient) {
        if let Err(message) = self.clients.send(self.now, session, message) {
            self.tell_scheduler(&AgentToScheduler::RelayToClient { session, message });
        }
    }

    fn relay_to_client(&mut self, session: SessionId, messages: Vec<AgentToClient>) {
        for message in messages {
            self.tell_scheduler(&AgentToScheduler::RelayToClient { session, message });
        }
    }

    fn tell_scheduler(&mut self, message: &AgentToScheduler) {
        if let Err(error) = self.sender.send(message) {
            self.end(Ending::Lost(described(&error)));
        }
    }

    fn dismiss(&mut self, session: SessionId) {
        self.clients.dismiss(session);
        self.payloads.dismiss(session);
        self.streams.dismiss(session);
        self.end_streams();
        self.broken_replicas.retain(|region, _| region.buffer.session != session);
        self.dismissed.insert(session);
        if self.dismissed.len() > DISMISSED_MAX {
            // Sessions count upward: the first is the oldest.
            self.dismissed.pop_first();
        }
    }

    fn tick(&mut self) {
        self.ticks += 1;
        self.clients.refuse_late(self.now);
        for (task, reason) in self.payloads.take_lost(self.now) {
            if self.streams.has_payload(task) {
                self.streams.lost(task, reason);
                self.advance_streams();
            } else {
                self.step(AgentEvent::PayloadFailed { task, reason });
            }
        }
        let lost = self.broken_replicas.iter().find(|(_, (_, until))| *until <= self.now);
        if let Some((region, (from, _))) = lost {
            self.fault(format!("{} of {} never came from {from}", region.range, region.buffer));
        }
        if self.ticks.is_multiple_of(TICKS_PER_SWEEP) {
            self.peers.forget_old(self.now);
        }
        self.set_pace(self.has_work());
    }

    fn has_work(&self) -> bool {
        self.open_operations > 0 || self.open_transfers > 0 || !self.streams.is_empty()
    }

    /// Lets paths be measured often while there is work, and for a while after.
    fn set_pace(&mut self, has_work: bool) {
        if has_work {
            self.busy_at = self.now;
        }
        let is_busy = self.busy_at > Timestamp::ZERO && self.now.since(self.busy_at) < BUSY_FOR;
        let pace = Pace::for_paths(self.peers.len(), is_busy);
        self.pace.send_if_modified(|known| std::mem::replace(known, pace) != pace);
    }

    /// Hands the turn's operations to the devices, and sends its reports.
    fn end_turn(&mut self) {
        self.backend.flush();
        for reports in self.reports.take() {
            self.tell_scheduler(&AgentToScheduler::Reports(reports));
        }
        if cfg!(debug_assertions) && self.now.since(self.checked_at) >= CHECK_INTERVAL {
            self.checked_at = self.now;
            self.machine.check_invariants();
        }
        if self.stop_by.is_some_and(|stop_by| !self.has_work() || stop_by <= self.now) {
            self.end(Ending::Stopped);
        }
    }

    fn fault(&mut self, reason: String) {
        tracing::error!(reason, "the agent's state is at fault; it begins anew");
        self.end(Ending::Fault(reason));
    }

    /// The first reason counts.
    fn end(&mut self, ending: Ending) {
        self.ending.get_or_insert(ending);
    }
}

fn not_done(operation: OperationId, error: OperationError) -> OperationDone {
    OperationDone { operation, outcome: Err(error) }
}

fn failed(call: &str, reason: &dyn std::fmt::Display) -> OperationError {
    OperationError::Failed { call: call.to_owned(), reason: reason.to_string() }
}
