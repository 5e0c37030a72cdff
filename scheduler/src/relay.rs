//! Streams between two peers that cannot connect: the scheduler passes them on.
//!
//! It holds one chunk of a stream at a time; a receiver that does not read stops its sender by flow
//! control. It must never look into contents.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock, PoisonError, RwLock};

use isochrone_model::message::{BulkHeader, RelayTarget};
use isochrone_model::{AgentId, SessionId};
use isochrone_transport::{
    BulkReceiver, CloseCode, Connection, OpenBulkError, ReceiveBulkError, SendBulkError,
};

use crate::validate::{self, Sender, Violation};

/// The connections to which streams can be passed on; the loop keeps it, relays read it.
#[derive(Debug, Default)]
pub(crate) struct Routes {
    table: RwLock<Table>,
    relayed_bytes: AtomicU64,
}

#[derive(Debug, Default)]
struct Table {
    agents: BTreeMap<AgentId, Connection>,
    sessions: BTreeMap<SessionId, Connection>,
}

/// Who a connection's peer is, once the loop has said so.
pub(crate) type Known = Arc<OnceLock<Sender>>;

#[derive(Debug, thiserror::Error)]
enum RelayError {
    #[error("the receiver is not connected")]
    Absent,
    #[error("cannot open a stream to the receiver")]
    Open(#[source] OpenBulkError),
    #[error("cannot read from the sender")]
    Receive(#[source] ReceiveBulkError),
    #[error("cannot write to the receiver")]
    Send(#[source] SendBulkError),
}

impl Routes {
    pub(crate) fn add_agent(&self, agent: AgentId, connection: Connection) {
        self.write(|table| table.agents.insert(agent, connection));
    }

    pub(crate) fn remove_agent(&self, agent: AgentId) {
        self.write(|table| table.agents.remove(&agent));
    }

    pub(crate) fn add_session(&self, session: SessionId, connection: Connection) {
        self.write(|table| table.sessions.insert(session, connection));
    }

    pub(crate) fn remove_session(&self, session: SessionId) {
        self.write(|table| table.sessions.remove(&session));
    }

    /// Bytes passed on since the start.
    pub(crate) fn relayed_bytes(&self) -> u64 {
        self.relayed_bytes.load(Ordering::Relaxed)
    }

    fn find(&self, target: RelayTarget) -> Option<Connection> {
        // Nothing is left half done by a panic while the lock is held.
        let table = self.table.read().unwrap_or_else(PoisonError::into_inner);
        match target {
            RelayTarget::Agent(agent) => table.agents.get(&agent).cloned(),
            RelayTarget::Session(session) => table.sessions.get(&session).cloned(),
        }
    }

    fn write<T>(&self, change: impl FnOnce(&mut Table) -> T) -> T {
        change(&mut self.table.write().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Passes on the streams that a peer opens, until its connection ends.
pub(crate) async fn relay_streams(connection: Connection, known: Known, routes: Arc<Routes>) {
    if !connection.confirmed().await {
        return;
    }
    while let Ok(Some((header, stream))) = connection.accept_bulk::<BulkHeader>().await {
        let checked = match known.get() {
            Some(sender) => validate::relay(header, *sender),
            None => Err(Violation::Relay),
        };
        match checked {
            Ok((target, header)) => {
                let routes = Arc::clone(&routes);
                tokio::spawn(async move {
                    if let Err(error) = pass_on(stream, target, &header, &routes).await {
                        tracing::debug!(?target, %error, "a relayed stream ended early");
                    }
                });
            }
            Err(violation) => {
                connection.close(CloseCode::ProtocolViolation, &violation.to_string());
                return;
            }
        }
    }
}

/// Passes on one stream. When it ends early both sides notice: their streams are reset and stopped.
async fn pass_on(
    mut from: BulkReceiver,
    target: RelayTarget,
    header: &BulkHeader,
    routes: &Routes,
) -> Result<(), RelayError> {
    let receiver = routes.find(target).ok_or(RelayError::Absent)?;
    let mut to = receiver.open_bulk(header).await.map_err(RelayError::Open)?;
    while let Some(chunk) = from.receive().await.map_err(RelayError::Receive)? {
        let chunk_bytes = chunk.len() as u64;
        to.send(chunk).await.map_err(RelayError::Send)?;
        routes.relayed_bytes.fetch_add(chunk_bytes, Ordering::Relaxed);
    }
    to.finish().await.map_err(RelayError::Send)
}
