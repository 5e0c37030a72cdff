//! The second connection between two processes: bulk streams and nothing else.
//!
//! It has a congestion window and packets of its own, so that messages on the first connection never wait behind
//! contents. The dialling side dials it. Both sides derive what names and proves it from the first connection's
//! TLS session, so that nothing more is said on that: the name stands in the clear in the first packet, and leads
//! the accepting side to the pair; the proof comes encrypted on the first stream. Its certificate must state what
//! the first one's does. Without a second connection bulk goes on the first. The end of either is the end of both.
//!
//! Must never hold what bulk streams carry.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use crate::CloseCode;
use crate::connection::Shared;
use crate::endpoint::{self, peer_identity};
use crate::link::{Closing, Link, close};
use crate::local::{self, LocalListener, LocalPeer, LocalSecrets};
use crate::options::TransportOptions;
use crate::peer_identity::Role;

const NAME_LABEL: &[u8] = b"EXPORTER-isochrone-bulk-name";
const PROOF_LABEL: &[u8] = b"EXPORTER-isochrone-bulk-proof";

/// As long as QUIC allows for a connection id.
const NAME_BYTES: usize = 20;
const PROOF_BYTES: usize = 32;

/// When a peer closes both connections, how much later the word of the first may come than that of the second.
const FIRST_CLOSES_WITHIN: Duration = Duration::from_secs(2);

/// How bulk streams go.
#[derive(Debug, Clone)]
pub(crate) enum Reach {
    /// On the first connection, beside control.
    First,
    /// They wait for the second connection.
    Dialling,
    /// On the second connection.
    Second(Arc<Link>),
    /// Through sockets within this machine.
    Local(LocalPeer),
}

/// What both sides of a connection know, and nobody else.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Secrets {
    pub(crate) name: [u8; NAME_BYTES],
    proof: [u8; PROOF_BYTES],
    pub(crate) local: LocalSecrets,
}

impl Secrets {
    /// Of an established connection; `None` before the end of its handshake.
    pub(crate) fn of(quinn: &quinn::Connection) -> Option<Self> {
        let local = LocalSecrets::of(quinn)?;
        let mut secrets = Self { name: [0; NAME_BYTES], proof: [0; PROOF_BYTES], local };
        quinn.export_keying_material(&mut secrets.name, NAME_LABEL, &[]).ok()?;
        quinn.export_keying_material(&mut secrets.proof, PROOF_LABEL, &[]).ok()?;
        Some(secrets)
    }

    /// Whether this proof was shown; takes as long wherever the first difference is.
    fn is_proven_by(&self, shown: &[u8; PROOF_BYTES]) -> bool {
        let differences = self.proof.iter().zip(shown).fold(0, |found, (own, shown)| found | (own ^ shown));
        std::hint::black_box(differences) == 0
    }
}

/// What it takes to dial the second connection.
pub(crate) struct BulkDialler {
    pub(crate) endpoint: endpoint::BulkDialling,
    pub(crate) address: SocketAddr,
    pub(crate) role: Role,
    pub(crate) secrets: Secrets,
    /// From which UDP port this process sends, if bulk may stay within the machine.
    pub(crate) local_port: Option<u16>,
    pub(crate) closing: Arc<Closing>,
}

/// Accepted connections whose peer may dial a second one, by the name of that.
#[derive(Default)]
pub(crate) struct Pairs {
    by_name: Mutex<BTreeMap<[u8; NAME_BYTES], Pair>>,
    /// Connections with early data whose handshake is not complete: their names are not known yet.
    unconfirmed: tokio::sync::watch::Sender<usize>,
}

struct Pair {
    secrets: Secrets,
    /// Set once the preambles are exchanged.
    connection: tokio::sync::watch::Sender<Weak<Shared>>,
}

impl Pairs {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<[u8; NAME_BYTES], Pair>> {
        // Nothing is left half done by a panic while the lock is held.
        self.by_name.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Expects a second connection from here to the end of the place that is given.
    pub(crate) fn expect(self: &Arc<Self>, secrets: Secrets, may_be_local: bool) -> PairPlace {
        let local = if may_be_local { local::bind_accepting(&secrets.local) } else { None };
        let local = local.map(|listener| (listener, secrets.local.clone()));
        let place = PairPlace { pairs: self.clone(), name: secrets.name, local };
        self.lock().insert(secrets.name, Pair { secrets, connection: tokio::sync::watch::Sender::default() });
        place
    }

    /// Counts a connection whose handshake is not complete, until that is dropped.
    pub(crate) fn unconfirmed(self: &Arc<Self>) -> Unconfirmed {
        self.unconfirmed.send_modify(|count| *count += 1);
        Unconfirmed(self.clone())
    }

    pub(crate) fn any_unconfirmed(&self) -> bool {
        *self.unconfirmed.borrow() > 0
    }

    /// Waits until all handshakes are complete, or this name is known; whether it is.
    pub(crate) async fn will_know(&self, name: &[u8]) -> bool {
        let mut unconfirmed = self.unconfirmed.subscribe();
        // Fails only when the sender is gone, which is in `self`.
        let _ = unconfirmed.wait_for(|count| *count == 0 || self.knows(name)).await;
        self.knows(name)
    }

    /// Whether a connection that was dialled under this name belongs to a pair.
    pub(crate) fn knows(&self, name: &[u8]) -> bool {
        <[u8; NAME_BYTES]>::try_from(name).is_ok_and(|name| self.lock().contains_key(&name))
    }
}

/// A connection whose handshake is not complete.
pub(crate) struct Unconfirmed(Arc<Pairs>);

impl Drop for Unconfirmed {
    fn drop(&mut self) {
        self.0.unconfirmed.send_modify(|count| *count -= 1);
    }
}

/// A pair's place among those whose second connection is expected, until it is dropped.
pub(crate) struct PairPlace {
    pairs: Arc<Pairs>,
    name: [u8; NAME_BYTES],
    /// Where the other side finds this one if it is on the same machine.
    local: Option<(LocalListener, LocalSecrets)>,
}

impl PairPlace {
    /// The end for ways within this machine, once.
    pub(crate) fn take_local(&mut self) -> Option<(LocalListener, LocalSecrets)> {
        self.local.take()
    }

    /// The first connection is in use now.
    pub(crate) fn fill(&self, connection: &Arc<Shared>) {
        if let Some(pair) = self.pairs.lock().get(&self.name) {
            pair.connection.send_replace(Arc::downgrade(connection));
        }
    }
}

impl Drop for PairPlace {
    fn drop(&mut self) {
        self.pairs.lock().remove(&self.name);
    }
}

/// Dials the second connection of a pair, and takes it into use.
pub(crate) async fn dial(dialler: BulkDialler, first: Arc<Link>, connection: Weak<Shared>) {
    if let Some(port) = dialler.local_port {
        match local::attach(&dialler.secrets.local, port, &connection).await {
            Ok(()) => return,
            Err(error) => tracing::trace!(%error, "not on this machine"),
        }
    }
    let established = tokio::select! {
        established = establish(&dialler, &connection) => established,
        _ = first.closed() => Err("the first connection has ended".to_owned()),
    };
    let Some(connection) = connection.upgrade() else {
        if let Ok(quinn) = established {
            close(&quinn, CloseCode::Done, "");
        }
        return;
    };
    match established {
        Ok(quinn) => attach(quinn, &connection, first, dialler.closing),
        Err(reason) => {
            tracing::debug!(peer = %dialler.address, reason, "bulk goes beside control");
            connection.bulk_unreachable();
        }
    }
}

async fn establish(dialler: &BulkDialler, connection: &Weak<Shared>) -> Result<quinn::Connection, String> {
    let quinn = dialler.endpoint.dial(dialler.address, dialler.role, &dialler.secrets.name).await?;
    let is_same = match (peer_identity(&quinn), connection.upgrade()) {
        (Ok(peer), Some(connection)) => peer == *connection.peer(),
        (Ok(_) | Err(_), _) => false,
    };
    if !is_same {
        close(&quinn, CloseCode::ProtocolViolation, "another process answered");
        return Err("another process answered".to_owned());
    }
    let mut proof = quinn.open_uni().await.map_err(|error| error.to_string())?;
    proof.write_all(&dialler.secrets.proof).await.map_err(|error| error.to_string())?;
    // Fails only on a stream that is closed already, which the accepting side finds.
    let _ = proof.finish();
    Ok(quinn)
}

/// Completes a connection that was dialled under the name of a pair, and takes it into use.
pub(crate) async fn accept(
    incoming: quinn::Incoming,
    server: Arc<quinn::ServerConfig>,
    pairs: Arc<Pairs>,
    options: Arc<TransportOptions>,
    closing: Arc<Closing>,
) {
    let address = incoming.remote_address();
    let name = incoming.orig_dst_cid();
    let joined = tokio::time::timeout(options.handshake_timeout, join(incoming, server, &name, &pairs));
    match joined.await {
        Ok(Ok((quinn, connection))) => {
            let first = connection.link.clone();
            attach(quinn, &connection, first, closing);
        }
        Ok(Err(reason)) => tracing::debug!(%address, reason, "a second connection was refused"),
        Err(_) => tracing::debug!(%address, "a second connection was not completed in time"),
    }
}

async fn join(
    incoming: quinn::Incoming,
    server: Arc<quinn::ServerConfig>,
    name: &[u8],
    pairs: &Pairs,
) -> Result<(quinn::Connection, Arc<Shared>), String> {
    let text = |error: quinn::ConnectionError| error.to_string();
    let quinn = incoming.accept_with(server).map_err(text)?.await.map_err(text)?;
    let refuse = |reason: &str| {
        close(&quinn, CloseCode::ProtocolViolation, reason);
        reason.to_owned()
    };
    let mut stream = quinn.accept_uni().await.map_err(text)?;
    let mut proof = [0; PROOF_BYTES];
    stream.read_exact(&mut proof).await.map_err(|_| refuse("no proof of the first connection"))?;
    let found = <[u8; NAME_BYTES]>::try_from(name).ok().and_then(|name| {
        let pairs = pairs.lock();
        let pair = pairs.get(&name)?;
        Some((pair.secrets.is_proven_by(&proof), pair.connection.subscribe()))
    });
    let Some((is_proven, mut connection)) = found else {
        return Err(refuse("the first connection has ended"));
    };
    if !is_proven {
        return Err(refuse("a wrong proof of the first connection"));
    }
    // The sender goes with the pair's place.
    let connection = match connection.wait_for(|connection| connection.strong_count() > 0).await {
        Ok(connection) => connection.upgrade(),
        Err(_) => None,
    };
    let connection = connection.ok_or_else(|| refuse("the first connection has ended"))?;
    if peer_identity(&quinn).ok().as_ref() != Some(connection.peer()) {
        return Err(refuse("another identity than on the first connection"));
    }
    Ok((quinn, connection))
}

/// Takes a second connection into use.
fn attach(quinn: quinn::Connection, connection: &Arc<Shared>, first: Arc<Link>, closing: Arc<Closing>) {
    let second = Arc::new(Link::new(quinn, closing));
    if connection.attach_bulk(second.clone()) {
        tokio::spawn(end_together(first, second));
    } else {
        second.close(CloseCode::ProtocolViolation, "there is a second connection already");
    }
}

/// Ends one connection of a pair when the other has ended.
async fn end_together(first: Arc<Link>, second: Arc<Link>) {
    tokio::select! {
        reason = first.closed() => {
            second.close(reason.code().unwrap_or(CloseCode::Done), "the first connection has ended");
        }
        reason = second.closed() => {
            // Whoever closes both is heard on either first.
            if tokio::time::timeout(FIRST_CLOSES_WITHIN, first.closed()).await.is_err() {
                tracing::debug!(%reason, "a second connection was lost");
                first.close(CloseCode::Internal, "the connection for bulk was lost");
            }
        }
    }
}
