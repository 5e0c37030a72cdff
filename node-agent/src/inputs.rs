//! The tasks that read what the scheduler, peers and clients say and send, and hand it to the loop.
//!
//! What a connection has handed over and the loop has not taken yet is bounded, so that a peer which
//! says too much only waits itself. A peer that breaks the protocol loses its own connection and
//! nothing else. It must never decide anything about tasks.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use isochrone_model::message::{BulkHeader, ClientToAgent, PeerMessage, SchedulerToAgent};
use isochrone_model::order::SessionSecret;
use isochrone_model::{AgentId, LinkEnd, PathSample, Region, SessionId, Span, TaskId};
use isochrone_sched_core::agent::OperationId;
use isochrone_transport::{
    BulkReceiver, CloseCode, Connection, ControlReceiver, ControlSender, Endpoint, Incoming, Pace, PathMeter,
    ReceiveBulkError, Role,
};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot, watch};

use crate::backend::Room;
use crate::clock;
use crate::error_text::described;
use crate::streams::{PIECE_BYTES, STREAMED_BYTES_MIN, Way};

/// Frames of one peer that the loop has not taken yet; enough that it never waits for the reader.
const FRAMES_WAITING_MAX: usize = 16;

/// How long a peer or client may take to introduce itself, and a peer to be known here.
const HELLO_TIMEOUT: Duration = Duration::from_secs(5);

/// Smaller contents tell more of the path's latency than of its rate.
const CARRIED_BYTES_MIN: u64 = 64 << 10;

/// Handshakes under way at one time: bounds what strangers can make this process hold.
const HANDSHAKES_MAX: usize = 256;

/// An accepted connection, for as long as this process runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct LinkId(pub(crate) u64);

/// What tasks tell the loop.
#[derive(Debug)]
pub(crate) enum Input {
    /// The scheduler says something.
    Scheduler { message: SchedulerToAgent, permit: OwnedSemaphorePermit },
    /// The scheduler's connection ended.
    SchedulerLost { reason: String },
    /// A peer dialled and says who it is; `verified` is sent once the scheduler has said so too.
    PeerHello {
        link: LinkId,
        agent: AgentId,
        name: String,
        connection: Connection,
        verified: oneshot::Sender<()>,
    },
    /// A verified peer says something.
    Peer { message: PeerMessage, permit: OwnedSemaphorePermit },
    /// The connection of a peer that dialled ended.
    PeerEnded { link: LinkId },
    /// A peer was reached.
    PeerReached { agent: AgentId, dial: u64, connection: Connection, sender: ControlSender },
    /// The connection to a peer was lost.
    PeerLost { agent: AgentId, dial: u64, reason: String },
    /// A client dialled; `admitted` is sent once its session is known and its secret right.
    ClientHello {
        link: LinkId,
        session: SessionId,
        secret: SessionSecret,
        connection: Connection,
        sender: ControlSender,
        admitted: oneshot::Sender<()>,
    },
    /// A client's connection ended.
    ClientEnded { link: LinkId, session: SessionId },
    /// A write's stream begins.
    PayloadBegins { session: SessionId, task: TaskId, size_bytes: u64, admit: oneshot::Sender<Way> },
    /// A write's bytes are whole.
    PayloadWhole { session: SessionId, task: TaskId, bytes: Bytes },
    /// A write's stream broke; with `is_final` no other will do better.
    PayloadBroke { session: SessionId, task: TaskId, reason: String, is_final: bool },
    /// A large replica's stream begins.
    ReplicaBegins { region: Region, from: AgentId, admit: oneshot::Sender<Way> },
    /// A piece came that is for a device.
    PieceCame { stream: OperationId, offset: u64, bytes: Bytes, permit: OwnedSemaphorePermit },
    /// All pieces for a device have come.
    StreamCame { stream: OperationId },
    /// The pieces for a device did not all come.
    StreamBroke { stream: OperationId, reason: String },
    /// A piece of a stream from a device has been sent.
    PieceSent { stream: OperationId },
    /// A stream from a device has been sent, or cannot be.
    StreamSent { stream: OperationId, outcome: Result<(), String> },
    /// A replica came on a stream of its own.
    ReplicaWhole { region: Region, from: AgentId, bytes: Bytes },
    /// A replica did not come whole.
    ReplicaBroke { region: Region, from: AgentId, reason: String },
    /// A replica or a read's piece has been sent, or cannot be.
    Sent { region: Region, to: Option<AgentId>, outcome: Result<(), String> },
    /// A path was measured.
    PathMeasured { to: LinkEnd, sample: PathSample },
    /// Contents came over a path, with others meanwhile.
    Carried { from: LinkEnd, size_bytes: u64, shared_bytes: u64, span: Span },
}

/// Where tasks send their inputs. Unbounded, because each connection's share is bounded by its permits
/// or its streams.
pub(crate) type Inputs = mpsc::UnboundedSender<Input>;

/// What the reading tasks share.
#[derive(Clone, Debug)]
pub(crate) struct Readers {
    pub(crate) inputs: Inputs,
    /// A replica or payload larger than this is refused: it could never be held.
    pub(crate) host_memory_bytes: u64,
    /// How often paths are measured.
    pub(crate) pace: watch::Receiver<Pace>,
}

/// Hands what is measured of a path to the loop, until its connection ends.
pub(crate) async fn measure(
    mut meter: PathMeter,
    to: LinkEnd,
    mut pace: watch::Receiver<Pace>,
    inputs: Inputs,
) {
    while let Some(measured) = meter.next(&mut pace).await {
        let sample = PathSample {
            round_trips: measured.round_trips.into_iter().map(Span::from).collect(),
            sent_packets: measured.sent_packets,
            lost_packets: measured.lost_packets,
            window_bytes: measured.congestion_window_bytes,
        };
        if inputs.send(Input::PathMeasured { to, sample }).is_err() {
            return;
        }
    }
}

/// What a connection had carried when contents began to come over it.
struct Carriage {
    connection: Connection,
    from: LinkEnd,
    begun: std::time::Instant,
    received_bytes: u64,
}

impl Carriage {
    fn begin(connection: Connection, from: LinkEnd) -> Self {
        let received_bytes = received_bytes(&connection);
        Self { connection, from, begun: clock::now(), received_bytes }
    }

    /// What it has carried, when that is enough to tell a rate from.
    fn end(&self, size_bytes: u64) -> Option<Input> {
        if size_bytes < CARRIED_BYTES_MIN {
            return None;
        }
        let span = Span::from(self.begun.elapsed());
        let received_bytes = received_bytes(&self.connection).saturating_sub(self.received_bytes);
        // Of what was received, the contents and their packets' heads are its own.
        let shared_bytes = received_bytes.saturating_sub(size_bytes + size_bytes / 16);
        Some(Input::Carried { from: self.from, size_bytes, shared_bytes, span })
    }
}

/// What has come over both QUIC connections of a peer.
fn received_bytes(connection: &Connection) -> u64 {
    let of_bulk = connection.bulk_statistics().map_or(0, |statistics| statistics.received_bytes);
    connection.statistics().received_bytes + of_bulk
}

impl Readers {
    /// Reads the scheduler's messages until its connection ends.
    pub(crate) async fn read_scheduler(self, mut receiver: ControlReceiver) {
        let permits = Arc::new(Semaphore::new(FRAMES_WAITING_MAX));
        let reason = loop {
            let Ok(permit) = Arc::clone(&permits).acquire_owned().await else { return };
            match receiver.receive::<SchedulerToAgent>().await {
                Ok(Some(message)) => self.tell(Input::Scheduler { message, permit }),
                Ok(None) => break "it finished".to_owned(),
                Err(error) => break described(&error),
            }
        };
        self.tell(Input::SchedulerLost { reason });
    }

    /// Takes the streams that the scheduler passes on.
    pub(crate) async fn accept_relayed(self, connection: Connection) {
        while let Ok(Some((header, stream))) = connection.accept_bulk::<BulkHeader>().await {
            match header {
                // What they took to come is no measure of any one path.
                BulkHeader::Payload { session, task, size_bytes } => {
                    tokio::spawn(self.clone().read_payload(stream, session, task, size_bytes, None));
                }
                BulkHeader::Replica { from, region } if self.is_sane(region) => {
                    tokio::spawn(self.clone().read_replica(stream, from, region, None));
                }
                BulkHeader::Replica { .. } | BulkHeader::Data { .. } | BulkHeader::Relay { .. } => {
                    tracing::warn!(?header, "the scheduler passed on what is not for an agent");
                }
            }
        }
    }

    /// Accepts peers and clients until the endpoint is closed.
    pub(crate) async fn accept_connections(self, endpoint: Endpoint) {
        let handshakes = Arc::new(Semaphore::new(HANDSHAKES_MAX));
        let mut next = 0;
        while let Some(incoming) = endpoint.accept().await {
            let Ok(permit) = Arc::clone(&handshakes).acquire_owned().await else { return };
            let link = LinkId(next);
            next += 1;
            tokio::spawn(self.clone().serve(incoming, link, permit));
        }
    }

    async fn serve(self, incoming: Incoming, link: LinkId, handshake: OwnedSemaphorePermit) {
        let connection = match incoming.establish().await {
            Ok(connection) => connection,
            Err(error) => return tracing::debug!("not established: {}", described(&error)),
        };
        drop(handshake);
        let (sender, receiver) = connection.take_control();
        match connection.peer().role {
            Role::Agent => self.read_peer(link, connection, receiver).await,
            Role::Client | Role::Admin => self.read_client(link, connection, sender, receiver).await,
            Role::Scheduler => connection.close(CloseCode::RoleRefused, "agents dial the scheduler"),
        }
    }

    async fn read_peer(self, link: LinkId, connection: Connection, mut receiver: ControlReceiver) {
        let hello = tokio::time::timeout(HELLO_TIMEOUT, receiver.receive::<PeerMessage>()).await;
        let Ok(Ok(Some(PeerMessage::Hello { agent }))) = hello else {
            return connection.close(CloseCode::ProtocolViolation, "the first message is not a hello");
        };
        let (verified, is_verified) = oneshot::channel();
        let name = connection.peer().name.clone();
        let handle = connection.clone();
        self.tell(Input::PeerHello { link, agent, name, connection: handle, verified });
        match tokio::time::timeout(HELLO_TIMEOUT, is_verified).await {
            Ok(Ok(())) => {}
            Ok(Err(_)) | Err(_) => {
                self.tell(Input::PeerEnded { link });
                return connection.close(CloseCode::RoleRefused, "the scheduler names no such agent");
            }
        }
        tokio::spawn(self.clone().accept_replicas(connection.clone(), agent));
        let permits = Arc::new(Semaphore::new(FRAMES_WAITING_MAX));
        loop {
            let Ok(permit) = Arc::clone(&permits).acquire_owned().await else { break };
            let Ok(Some(message)) = receiver.receive::<PeerMessage>().await else { break };
            if !self.may_say(&message, agent) {
                connection.close(CloseCode::ProtocolViolation, "no agent says that");
                break;
            }
            self.tell(Input::Peer { message, permit });
        }
        self.tell(Input::PeerEnded { link });
    }

    /// Whether an agent may say this on its own connection.
    fn may_say(&self, message: &PeerMessage, sender: AgentId) -> bool {
        match message {
            PeerMessage::Hello { .. } => false,
            PeerMessage::Notice { .. } => true,
            PeerMessage::Replica { from, region, bytes } => {
                *from == sender && self.is_sane(*region) && region.range.len() == bytes.len() as u64
            }
        }
    }

    /// Whether this is a region that could be held.
    pub(crate) fn is_sane(&self, region: Region) -> bool {
        region.range.start <= region.range.end && region.range.len() <= self.host_memory_bytes
    }

    async fn accept_replicas(self, connection: Connection, sender: AgentId) {
        while let Ok(Some((header, stream))) = connection.accept_bulk::<BulkHeader>().await {
            match header {
                BulkHeader::Replica { from, region } if from == sender && self.is_sane(region) => {
                    let carriage = Carriage::begin(connection.clone(), LinkEnd::Agent(sender));
                    tokio::spawn(self.clone().read_replica(stream, from, region, Some(carriage)));
                }
                BulkHeader::Replica { .. }
                | BulkHeader::Payload { .. }
                | BulkHeader::Data { .. }
                | BulkHeader::Relay { .. } => {
                    return connection.close(CloseCode::ProtocolViolation, "no agent sends that");
                }
            }
        }
    }

    async fn read_replica(
        self,
        stream: BulkReceiver,
        from: AgentId,
        region: Region,
        carriage: Option<Carriage>,
    ) {
        let size_bytes = region.range.len();
        if size_bytes >= STREAMED_BYTES_MIN {
            let (admit, is_admitted) = oneshot::channel();
            self.tell(Input::ReplicaBegins { region, from, admit });
            match is_admitted.await {
                Ok(Way::Host) => {}
                Ok(Way::Device { stream: id, permits }) => {
                    return self.read_to_device(stream, size_bytes, (id, permits), carriage).await;
                }
                Ok(Way::Room { stream: id, room, wanted }) => {
                    return self.read_to_room(stream, size_bytes, (id, room, wanted), carriage).await;
                }
                // Not wanted (any more).
                Err(_) => return,
            }
        }
        match stream.receive_exact(region.range.len()).await {
            Ok(bytes) => {
                if let Some(carried) = carriage.and_then(|carriage| carriage.end(region.range.len())) {
                    self.tell(carried);
                }
                self.tell(Input::ReplicaWhole { region, from, bytes });
            }
            Err(error) => {
                let reason = described(&error);
                self.tell(Input::ReplicaBroke { region, from, reason });
            }
        }
    }

    async fn read_client(
        self,
        link: LinkId,
        connection: Connection,
        sender: ControlSender,
        mut receiver: ControlReceiver,
    ) {
        let hello = tokio::time::timeout(HELLO_TIMEOUT, receiver.receive::<ClientToAgent>()).await;
        let Ok(Ok(Some(ClientToAgent::Hello { session, secret }))) = hello else {
            return connection.close(CloseCode::ProtocolViolation, "the first message is not a hello");
        };
        let (admitted, is_admitted) = oneshot::channel();
        let handle = connection.clone();
        self.tell(Input::ClientHello { link, session, secret, connection: handle, sender, admitted });
        // The loop bounds the wait, and closes the connection when it refuses.
        if is_admitted.await.is_err() {
            return;
        }
        tokio::spawn(self.clone().accept_payloads(connection.clone(), session));
        let (meter, to) = (connection.meter(), LinkEnd::Session(session));
        tokio::spawn(measure(meter, to, self.pace.clone(), self.inputs.clone()));
        if let Ok(Some(ClientToAgent::Hello { .. })) = receiver.receive::<ClientToAgent>().await {
            connection.close(CloseCode::ProtocolViolation, "a second hello");
        }
        self.tell(Input::ClientEnded { link, session });
    }

    async fn accept_payloads(self, connection: Connection, own: SessionId) {
        while let Ok(Some((header, stream))) = connection.accept_bulk::<BulkHeader>().await {
            match header {
                BulkHeader::Payload { session, task, size_bytes } if session == own => {
                    let direct = Some(connection.clone());
                    tokio::spawn(self.clone().read_payload(stream, session, task, size_bytes, direct));
                }
                BulkHeader::Payload { .. }
                | BulkHeader::Replica { .. }
                | BulkHeader::Data { .. }
                | BulkHeader::Relay { .. } => {
                    return connection.close(CloseCode::ProtocolViolation, "no client sends that");
                }
            }
        }
    }

    /// `direct` is the client's own connection, when the stream comes over it.
    async fn read_payload(
        self,
        stream: BulkReceiver,
        session: SessionId,
        task: TaskId,
        size_bytes: u64,
        direct: Option<Connection>,
    ) {
        let (admit, is_admitted) = oneshot::channel();
        self.tell(Input::PayloadBegins { session, task, size_bytes, admit });
        if size_bytes > self.host_memory_bytes {
            let reason = format!("{size_bytes} bytes do not fit the host memory of the agent");
            return self.tell(Input::PayloadBroke { session, task, reason, is_final: true });
        }
        // Not wanted (any more): dropping the stream tells its sender to stop.
        let Ok(way) = is_admitted.await else { return };
        let carriage = direct.map(|connection| Carriage::begin(connection, LinkEnd::Session(session)));
        match way {
            Way::Host => {}
            Way::Device { stream: id, permits } => {
                return self.read_to_device(stream, size_bytes, (id, permits), carriage).await;
            }
            Way::Room { stream: id, room, wanted } => {
                return self.read_to_room(stream, size_bytes, (id, room, wanted), carriage).await;
            }
        }
        self.tell(match stream.receive_exact(size_bytes).await {
            Ok(bytes) => {
                if let Some(carried) = carriage.and_then(|carriage| carriage.end(size_bytes)) {
                    self.tell(carried);
                }
                Input::PayloadWhole { session, task, bytes }
            }
            Err(error) => {
                let reason = described(&error);
                Input::PayloadBroke { session, task, reason, is_final: false }
            }
        });
    }

    /// Hands over contents for a device piece by piece, no more at a time than there are permits.
    async fn read_to_device(
        self,
        mut stream: BulkReceiver,
        size_bytes: u64,
        (id, permits): (OperationId, Arc<Semaphore>),
        carriage: Option<Carriage>,
    ) {
        match self.read_pieces(&mut stream, size_bytes, id, &permits).await {
            Ok(true) => {
                if let Some(carried) = carriage.and_then(|carriage| carriage.end(size_bytes)) {
                    self.tell(carried);
                }
                self.tell(Input::StreamCame { stream: id });
            }
            // The device takes no more: dropping the stream tells its sender to stop.
            Ok(false) => {}
            Err(error) => self.tell(Input::StreamBroke { stream: id, reason: described(&error) }),
        }
    }

    /// Whether all pieces were wanted.
    async fn read_pieces(
        &self,
        stream: &mut BulkReceiver,
        total_bytes: u64,
        id: OperationId,
        permits: &Arc<Semaphore>,
    ) -> Result<bool, ReceiveBulkError> {
        stream.check_size(total_bytes)?;
        let mut offset = 0;
        while offset < total_bytes {
            let Ok(permit) = Arc::clone(permits).acquire_owned().await else { return Ok(false) };
            let piece_bytes = PIECE_BYTES.min(total_bytes - offset);
            let bytes = stream.receive_part(piece_bytes).await?;
            let came_bytes = bytes.len() as u64;
            if came_bytes < piece_bytes {
                let received_bytes = offset + came_bytes;
                return Err(ReceiveBulkError::Truncated { total_bytes, received_bytes });
            }
            self.tell(Input::PieceCame { stream: id, offset, bytes, permit });
            offset += came_bytes;
        }
        stream.receive_end(total_bytes).await?;
        Ok(true)
    }

    /// Puts contents into a region of a device that is open to the host.
    async fn read_to_room(
        self,
        mut stream: BulkReceiver,
        size_bytes: u64,
        (id, room, wanted): (OperationId, Room, oneshot::Receiver<Infallible>),
        carriage: Option<Carriage>,
    ) {
        // Whichever is first, the room goes with it: nothing is written there once the loop is told how it ended.
        let filled = tokio::select! {
            filled = fill(&mut stream, size_bytes, room) => filled,
            // Dropping the stream tells its sender to stop.
            _ = wanted => return,
        };
        match filled {
            Ok(()) => {
                if let Some(carried) = carriage.and_then(|carriage| carriage.end(size_bytes)) {
                    self.tell(carried);
                }
                self.tell(Input::StreamCame { stream: id });
            }
            Err(error) => self.tell(Input::StreamBroke { stream: id, reason: described(&error) }),
        }
    }

    fn tell(&self, input: Input) {
        // The loop is gone when this life of the agent has ended: nobody waits for it then.
        let _ = self.inputs.send(input);
    }
}

/// Receives a whole transfer into a region of a device.
async fn fill(stream: &mut BulkReceiver, total_bytes: u64, mut room: Room) -> Result<(), ReceiveBulkError> {
    stream.check_size(total_bytes)?;
    let length = usize::try_from(total_bytes).unwrap_or(usize::MAX);
    let received_bytes = stream.receive_into(room.bytes_mut(), length).await? as u64;
    if received_bytes < total_bytes {
        return Err(ReceiveBulkError::Truncated { total_bytes, received_bytes });
    }
    stream.receive_end(total_bytes).await
}
