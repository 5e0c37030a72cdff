//! The connections of one session to the farm's agents, and what comes and goes on them.
//!
//! Must never hold up the session: dialling goes on in the background, and what cannot go to an agent
//! directly goes through the scheduler.

use std::collections::BTreeMap;
use std::net::{AddrParseError, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use isochrone_model::message::{AgentAddress, AgentToClient, BulkHeader, ClientToAgent, RelayTarget};
use isochrone_model::{AgentId, CommandId, SessionId, TaskId};
use isochrone_transport::{
    self as transport, Connection, ControlReceiver, ControlSender, Endpoint, First, OpenBulkError,
    ReceiveError, Role, SendBulkError,
};
use thiserror::Error;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::shared::{Shared, Terms};

/// Pause before dialling an agent again, doubled after each failure.
const PAUSE_MIN: Duration = Duration::from_millis(50);
/// Longest pause before dialling an agent again: an agent that is back is found within this.
const PAUSE_MAX: Duration = Duration::from_secs(5);

/// How long contents wait for the first attempt to dial their agent; two or three round trips of any
/// path that is worth waiting for.
const DIRECT_WAIT: Duration = Duration::from_secs(1);
/// Bytes handed to QUIC at a time.
const PIECE_BYTES: usize = 1 << 20;

/// How an agent can be reached now.
#[derive(Clone, Debug)]
enum Reach {
    /// The first attempt is under way; worth waiting for.
    Dialling,
    Direct(Connection),
    /// Only through the scheduler, until an attempt succeeds.
    Relayed,
}

/// One agent.
#[derive(Debug)]
struct Link {
    address: AgentAddress,
    reach: watch::Receiver<Reach>,
    /// Holds the task that dials; dropping the link ends it, and its connection.
    _task: JoinSet<()>,
}

/// All agents of the farm, as one session reaches them.
#[derive(Debug)]
pub(crate) struct Links {
    shared: Arc<Shared>,
    terms: Terms,
    endpoint: Endpoint,
    scheduler: Connection,
    dial_timeout: Duration,
    by_agent: BTreeMap<AgentId, Link>,
    transfers: JoinSet<()>,
}

impl Links {
    pub fn new(
        shared: Arc<Shared>,
        terms: Terms,
        endpoint: Endpoint,
        scheduler: Connection,
        dial_timeout: Duration,
    ) -> Self {
        let by_agent = BTreeMap::new();
        Self { shared, terms, endpoint, scheduler, dial_timeout, by_agent, transfers: JoinSet::new() }
    }

    /// Begins to dial an agent, unless it is known at that address.
    pub fn join(&mut self, address: AgentAddress) {
        if self.by_agent.get(&address.agent).is_some_and(|link| link.address == address) {
            return;
        }
        let (sender, reach) = watch::channel(Reach::Dialling);
        let mut task = JoinSet::new();
        let dialler = Dialler {
            shared: Arc::clone(&self.shared),
            terms: self.terms,
            endpoint: self.endpoint.clone(),
            address: address.clone(),
            timeout: self.dial_timeout,
            reach: sender,
        };
        task.spawn(dialler.run());
        self.by_agent.insert(address.agent, Link { address, reach, _task: task });
    }

    /// Forgets an agent.
    pub fn leave(&mut self, agent: AgentId) {
        self.by_agent.remove(&agent);
    }

    /// Sends a write's bytes to an agent, in the background.
    pub fn send_payload(&mut self, command: CommandId, task: TaskId, agent: AgentId) {
        while self.transfers.try_join_next().is_some() {}
        let Some(bytes) = self.shared.kept(command) else {
            tracing::debug!(%command, %task, "bytes were asked for that are no longer kept");
            return;
        };
        let header =
            BulkHeader::Payload { session: self.terms.session, task, size_bytes: bytes.len() as u64 };
        let reach = self.by_agent.get(&agent).map(|link| link.reach.clone());
        let scheduler = self.scheduler.clone();
        self.transfers.spawn(async move {
            if let Some(connection) = direct(reach).await {
                match send(&connection, &header, bytes.clone()).await {
                    Ok(()) => return,
                    Err(error) => {
                        tracing::debug!(%command, %agent, error = %error, "sending through the scheduler instead");
                    }
                }
            }
            let relayed =
                BulkHeader::Relay { to: RelayTarget::Agent(agent), header: Box::new(header) };
            if let Err(error) = send(&scheduler, &relayed, bytes).await {
                // The scheduler asks again when another attempt needs the bytes.
                tracing::warn!(%command, %agent, error = %error, "a write's bytes could not be sent");
            }
        });
    }
}

/// The direct connection to an agent, once the first attempt to dial it has ended; `None` also when
/// it takes too long.
async fn direct(reach: Option<watch::Receiver<Reach>>) -> Option<Connection> {
    let mut reach = reach?;
    let settled = reach.wait_for(|reach| !matches!(reach, Reach::Dialling));
    let settled = tokio::time::timeout(DIRECT_WAIT, settled).await.ok()?.ok()?;
    match &*settled {
        Reach::Direct(connection) => Some(connection.clone()),
        Reach::Dialling | Reach::Relayed => None,
    }
}

/// Keeps a connection to one agent.
struct Dialler {
    shared: Arc<Shared>,
    terms: Terms,
    endpoint: Endpoint,
    address: AgentAddress,
    timeout: Duration,
    reach: watch::Sender<Reach>,
}

impl Dialler {
    async fn run(self) {
        let agent = self.address.agent;
        let mut pause = PAUSE_MIN;
        loop {
            match self.dial().await {
                // The sender stays: dropping it would end the stream.
                Ok((connection, control, _sender)) => {
                    pause = PAUSE_MIN;
                    self.reach.send_replace(Reach::Direct(connection.clone()));
                    tokio::select! {
                        () = receive_messages(control, &self.shared) => {}
                        () = receive_contents(connection, Arc::clone(&self.shared), self.terms.session) => {}
                    }
                    tracing::debug!(%agent, "the connection to an agent was lost");
                }
                Err(error) => {
                    tracing::debug!(%agent, address = self.address.address, %error, "cannot reach an agent");
                }
            }
            self.reach.send_replace(Reach::Relayed);
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(PAUSE_MAX);
        }
    }
}

impl Dialler {
    async fn dial(&self) -> Result<(Connection, ControlReceiver, ControlSender), DialError> {
        tokio::time::timeout(self.timeout, self.dial_untimed()).await.map_err(|_| DialError::TimedOut)?
    }

    async fn dial_untimed(&self) -> Result<(Connection, ControlReceiver, ControlSender), DialError> {
        let AgentAddress { address, name, .. } = &self.address;
        let target: SocketAddr =
            address.parse().map_err(|source| DialError::Address { address: address.clone(), source })?;
        let Terms { session, secret, .. } = self.terms;
        let hello = [ClientToAgent::Hello { session, secret }];
        let connection =
            self.endpoint.connect_saying(target, Role::Agent, Some(name), First::of(&hello)).await?;
        connection.prepare_bulk();
        let (sender, mut receiver) = connection.take_control();
        // Only an agent that has welcomed the session takes its contents.
        while let Some(message) = receiver.receive::<AgentToClient>().await? {
            let is_welcome = message == AgentToClient::Welcome;
            take_message(&self.shared, message);
            if is_welcome {
                return Ok((connection, receiver, sender));
            }
        }
        Err(DialError::NotWelcome)
    }
}

/// Why an agent cannot be reached directly.
#[derive(Debug, Error)]
enum DialError {
    #[error("`{address}` is no address")]
    Address { address: String, source: AddrParseError },
    #[error(transparent)]
    Connect(#[from] transport::ConnectError),
    #[error(transparent)]
    Receive(#[from] ReceiveError),
    #[error("the agent ended the connection without a welcome")]
    NotWelcome,
    #[error("no welcome in time")]
    TimedOut,
}

/// Why contents were not sent.
#[derive(Debug, Error)]
enum TransferError {
    #[error(transparent)]
    Open(#[from] OpenBulkError),
    #[error(transparent)]
    Send(#[from] SendBulkError),
}

async fn send(connection: &Connection, header: &BulkHeader, mut bytes: Bytes) -> Result<(), TransferError> {
    let mut stream = connection.open_bulk(header).await?;
    while !bytes.is_empty() {
        stream.send(bytes.split_to(bytes.len().min(PIECE_BYTES))).await?;
    }
    stream.finish().await?;
    Ok(())
}

/// Takes in what an agent says, directly or through the scheduler.
pub(crate) fn take_message(shared: &Shared, message: AgentToClient) {
    match message {
        AgentToClient::Welcome => {}
        AgentToClient::Done { command, execution } => shared.done(command, execution),
        AgentToClient::Data { command, offset_bytes, bytes } => {
            shared.data(command, offset_bytes, &bytes);
        }
    }
}

async fn receive_messages(mut control: ControlReceiver, shared: &Shared) {
    let mut messages = Vec::new();
    // Either end means that the agent is to be dialled again.
    while let Ok(1..) = control.receive_many(&mut messages).await {
        for message in messages.drain(..) {
            take_message(shared, message);
        }
    }
    for message in messages {
        take_message(shared, message);
    }
}

/// Takes in bulk streams with bytes of reads until the connection ends.
pub(crate) async fn receive_contents(connection: Connection, shared: Arc<Shared>, own: SessionId) {
    let mut transfers = JoinSet::new();
    while let Ok(Some((header, stream))) = connection.accept_bulk::<BulkHeader>().await {
        while transfers.try_join_next().is_some() {}
        let header = match header {
            BulkHeader::Relay { to: RelayTarget::Session(_), header } => *header,
            other @ (BulkHeader::Data { .. }
            | BulkHeader::Payload { .. }
            | BulkHeader::Replica { .. }
            | BulkHeader::Relay { .. }) => other,
        };
        let BulkHeader::Data { session, command, offset_bytes, size_bytes } = header else {
            tracing::warn!("a bulk stream that is no part of a read was dropped");
            continue;
        };
        // No memory is taken for bytes that nobody asked for.
        if session == own && shared.wants(command, offset_bytes, size_bytes) {
            let shared = Arc::clone(&shared);
            transfers.spawn(async move {
                match stream.receive_exact(size_bytes).await {
                    Ok(bytes) => shared.data(command, offset_bytes, &bytes),
                    // The scheduler has the read done again.
                    Err(error) => tracing::debug!(%command, %error, "a piece of a read was lost"),
                }
            });
        }
    }
    // Streams that have come whole are still of use when the connection has ended.
    while transfers.join_next().await.is_some() {}
}
