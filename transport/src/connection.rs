//! An established connection.
//!
//! Must never hold how it was established, nor what its streams carry.

use std::fmt;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use isochrone_protocol::Version;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::{mpsc, watch};

use crate::bulk::{
    self, AcceptBulkError, ArrivedBulk, BulkPriority, BulkReceiver, BulkSender, OpenBulkError,
    ReceiveBulkError, SendBulkError,
};
use crate::bulk_link::{self, BulkDialler, PairPlace, Reach};
use crate::close::{CloseCode, CloseReason};
use crate::control::{self, ControlQueue, ControlReceiver, ControlSender};
use crate::link::{Closing, Link};
use crate::local::{self, LocalPeer};
use crate::meter::{self, PathMeter, Probes};
use crate::options::TransportOptions;
use crate::peer_identity::PeerIdentity;

/// A connection to an identified peer. Cheap to clone; it closes with [`CloseCode::Done`] when
/// the last clone, control half and bulk stream of it is dropped.
#[derive(Clone)]
pub struct Connection {
    shared: Arc<Shared>,
}

/// What all handles of a connection keep alive; tasks must not hold it.
pub(crate) struct Shared {
    pub(crate) link: Arc<Link>,
    pub(crate) options: Arc<TransportOptions>,
    probes: Arc<Probes>,
    peer: PeerIdentity,
    version: Version,
    control: Mutex<Option<(Arc<ControlQueue>, quinn::RecvStream)>>,
    /// The control stream of a receiver that was dropped: dropping the stream itself would tell
    /// the peer to stop sending, which is no way to end a connection.
    pub(crate) parked_control: Mutex<Option<quinn::RecvStream>>,
    arrived_bulk: tokio::sync::Mutex<mpsc::Receiver<ArrivedBulk>>,
    /// Where streams of all links arrive; the tasks that accept them keep it open.
    arrivals: mpsc::WeakSender<ArrivedBulk>,
    /// How bulk streams go now.
    reach: watch::Sender<Reach>,
    /// The place to which a second connection comes, once the handshake is complete; never on the dialling side.
    pair: OnceLock<PairPlace>,
    /// Whether the handshake is complete.
    is_confirmed: watch::Sender<bool>,
    /// What it takes to dial the second connection, until that is begun; never on the accepting side.
    bulk_dialler: Mutex<Option<BulkDialler>>,
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.close(CloseCode::Done, "");
    }
}

impl Shared {
    fn close(&self, code: CloseCode, reason: &str) {
        self.link.close(code, reason);
        if let Reach::Second(link) = &*self.reach.borrow() {
            link.close(code, reason);
        }
    }

    pub(crate) fn peer(&self) -> &PeerIdentity {
        &self.peer
    }

    /// Why the peer's connections ended, when one of them ended with `error`.
    pub(crate) fn reason(&self, link: &Link, error: quinn::ConnectionError) -> CloseReason {
        self.link.close_reason().unwrap_or_else(|| link.reason(error))
    }

    /// Begins to dial the second connection, unless that has been done before.
    pub(crate) fn prepare_bulk(self: &Arc<Self>) {
        let dialler = self.bulk_dialler.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(dialler) = dialler {
            self.reach.send_replace(Reach::Dialling);
            tokio::spawn(bulk_link::dial(dialler, self.link.clone(), Arc::downgrade(self)));
        }
    }

    /// How a bulk stream is to go.
    pub(crate) async fn bulk_way(self: &Arc<Self>) -> BulkWay {
        self.prepare_bulk();
        let mut reach = self.reach.subscribe();
        // Fails only when the sender is gone, which is in `self`.
        match reach.wait_for(|reach| !matches!(reach, Reach::Dialling)).await.as_deref() {
            Ok(Reach::Second(link)) => BulkWay { local: None, link: link.clone() },
            Ok(Reach::Local(peer)) => BulkWay { local: Some(peer.clone()), link: self.link.clone() },
            Ok(Reach::First | Reach::Dialling) | Err(_) => BulkWay { local: None, link: self.link.clone() },
        }
    }

    /// Takes a way within this machine into use; `false` when there is a second connection or such a way already.
    pub(crate) fn attach_local(&self, peer: LocalPeer) -> bool {
        self.reach.send_if_modified(|reach| match reach {
            Reach::First | Reach::Dialling => {
                *reach = Reach::Local(peer);
                true
            }
            Reach::Local(_) | Reach::Second(_) => false,
        })
    }

    /// Where streams arrive; `None` when the connection has ended.
    pub(crate) fn arrivals(&self) -> Option<mpsc::Sender<ArrivedBulk>> {
        self.arrivals.upgrade()
    }

    /// Why a local stream takes no more.
    pub(crate) fn sender_lost(&self) -> SendBulkError {
        self.link.close_reason().map_or(SendBulkError::Stopped, SendBulkError::Closed)
    }

    /// Why a local stream brings no more.
    pub(crate) fn receiver_lost(&self) -> ReceiveBulkError {
        self.link.close_reason().map_or(ReceiveBulkError::BrokenOff, ReceiveBulkError::Closed)
    }

    /// Takes the second connection into use; `false` when there is one, or the first has ended.
    pub(crate) fn attach_bulk(&self, link: Arc<Link>) -> bool {
        let Some(arrivals) = self.arrivals.upgrade() else { return false };
        let is_new = self.reach.send_if_modified(|reach| {
            let is_new = matches!(reach, Reach::First | Reach::Dialling);
            if is_new {
                *reach = Reach::Second(link.clone());
            }
            is_new
        });
        if is_new {
            tokio::spawn(bulk::accept_streams(link, self.options.clone(), arrivals));
        }
        is_new
    }

    /// There is no second connection: bulk goes beside control.
    pub(crate) fn bulk_unreachable(&self) {
        self.reach.send_replace(Reach::First);
    }
}

/// How a bulk stream is to go.
pub(crate) struct BulkWay {
    /// Within this machine, if that can be.
    pub(crate) local: Option<LocalPeer>,
    /// With QUIC.
    pub(crate) link: Arc<Link>,
}

/// What a connection is made of once the preambles are exchanged.
pub(crate) struct Parts {
    pub(crate) quinn: quinn::Connection,
    pub(crate) peer: PeerIdentity,
    pub(crate) version: Version,
    pub(crate) send: quinn::SendStream,
    pub(crate) receive: quinn::RecvStream,
    pub(crate) options: Arc<TransportOptions>,
    pub(crate) endpoint_closing: Arc<Closing>,
    /// For dialled connections.
    pub(crate) bulk_dialler: Option<BulkDialler>,
    /// Whether the handshake is complete; if not, [`confirm`] is called when it is.
    pub(crate) is_confirmed: bool,
}

/// Starts what runs on a connection.
pub(crate) fn start(parts: Parts) -> Connection {
    let Parts { quinn, peer, version, send, receive, options, endpoint_closing, bulk_dialler, is_confirmed } =
        parts;
    let link = Arc::new(Link::new(quinn, endpoint_closing));
    let queue = Arc::new(ControlQueue::new(options.control_queue_bytes(), options.limits));
    tokio::spawn(control::write_queue(queue.clone(), send, link.clone()));
    let streams_max = options.bulk_streams_max.max(1) as usize;
    let (arrivals, arrived_bulk) = mpsc::channel(streams_max);
    let weak_arrivals = arrivals.downgrade();
    tokio::spawn(bulk::accept_streams(link.clone(), options.clone(), arrivals));
    let probes = Arc::new(Probes::default());
    tokio::spawn(meter::answer_probes(link.clone(), probes.clone()));
    let shared = Arc::new(Shared {
        link,
        options,
        probes,
        peer,
        version,
        control: Mutex::new(Some((queue, receive))),
        parked_control: Mutex::new(None),
        arrived_bulk: tokio::sync::Mutex::new(arrived_bulk),
        arrivals: weak_arrivals,
        reach: watch::Sender::new(Reach::First),
        pair: OnceLock::new(),
        is_confirmed: watch::Sender::new(is_confirmed),
        bulk_dialler: Mutex::new(bulk_dialler),
    });
    Connection { shared }
}

/// The handshake of an accepted connection is complete, and this is where its second connection comes.
pub(crate) fn confirm(shared: &Arc<Shared>, pair: Option<PairPlace>) {
    if let Some(mut pair) = pair {
        if let Some((listener, secrets)) = pair.take_local() {
            tokio::spawn(local::listen(listener, secrets, shared.link.clone(), Arc::downgrade(shared)));
        }
        pair.fill(shared);
        // Once for each connection.
        let _ = shared.pair.set(pair);
    }
    shared.is_confirmed.send_replace(true);
}

impl Connection {
    /// Who the peer is, as its verified certificate states it.
    #[must_use]
    pub fn peer(&self) -> &PeerIdentity {
        &self.shared.peer
    }

    /// Whether the handshake is complete. Until then what the peer says may have been sent before by
    /// someone else, if only to a process that lost its memory since: act on nothing that does
    /// something. Always on dialled connections, and where
    /// [`takes_early_data`](TransportOptions::takes_early_data) is off.
    #[must_use]
    pub fn is_confirmed(&self) -> bool {
        *self.shared.is_confirmed.borrow()
    }

    /// Waits until the handshake is complete; `false` when the connection ended before.
    pub async fn confirmed(&self) -> bool {
        let mut is_confirmed = self.shared.is_confirmed.subscribe();
        tokio::select! {
            biased;
            // Fails only when the sender is gone, which is in `self`.
            confirmed = is_confirmed.wait_for(|is_confirmed| *is_confirmed) => confirmed.is_ok(),
            _ = self.shared.link.closed() => false,
        }
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// The version of the protocol that the peer speaks; its major number is ours.
    #[must_use]
    pub fn peer_version(&self) -> Version {
        self.shared.version
    }

    /// Where the peer is now; changes when the peer moves to another network.
    #[must_use]
    pub fn remote_address(&self) -> SocketAddr {
        self.shared.link.quinn.remote_address()
    }

    /// A number that tells connections of one endpoint apart while they live.
    #[must_use]
    pub fn stable_id(&self) -> usize {
        self.shared.link.quinn.stable_id()
    }

    /// The smoothed round-trip time of the path. Includes what the peer takes to acknowledge (up
    /// to 25 ms when little is sent); about 333 ms before anything was measured.
    #[must_use]
    pub fn round_trip(&self) -> Duration {
        self.shared.link.quinn.rtt()
    }

    /// What measures the path from here on. There should be one for a connection: two would share what there is to
    /// be told.
    #[must_use]
    pub fn meter(&self) -> PathMeter {
        PathMeter::new(self.shared.link.clone(), self.shared.reach.subscribe(), self.shared.probes.clone())
    }

    /// What QUIC has measured about the path so far, without the second connection for bulk.
    #[must_use]
    pub fn statistics(&self) -> LinkStatistics {
        LinkStatistics::of(&self.shared.link.quinn)
    }

    /// The two halves of the control stream.
    ///
    /// # Panics
    /// If they were taken before, from this or another clone: a bug of the caller, which no peer
    /// can bring about.
    #[must_use]
    pub fn take_control(&self) -> (ControlSender, ControlReceiver) {
        let taken = self.shared.control.lock().unwrap_or_else(PoisonError::into_inner).take();
        let (queue, stream) = taken.expect("the control stream of a connection is taken once");
        (ControlSender::new(queue, self.shared.clone()), ControlReceiver::new(stream, self.shared.clone()))
    }

    /// Opens a bulk stream of normal priority that starts with `header`.
    ///
    /// # Errors
    /// See [`OpenBulkError`].
    pub async fn open_bulk<H: Serialize + ?Sized>(&self, header: &H) -> Result<BulkSender, OpenBulkError> {
        self.open_bulk_with(header, BulkPriority::NORMAL).await
    }

    /// Opens a bulk stream that starts with `header`, on the second connection where there is one. Waits
    /// while that is being dialled, and while the peer has as many streams open as it allows. Cancel safe: the peer hears nothing of a stream whose opening was cancelled.
    ///
    /// # Errors
    /// If the header is too large, or the connection has ended.
    pub async fn open_bulk_with<H: Serialize + ?Sized>(
        &self,
        header: &H,
        priority: BulkPriority,
    ) -> Result<BulkSender, OpenBulkError> {
        BulkSender::open(self.shared.clone(), header, priority).await
    }

    /// The next bulk stream whose header is there, or `None` once either side has closed the
    /// connection with [`CloseCode::Done`]. Cancel safe.
    ///
    /// # Errors
    /// If the connection has ended otherwise, or the header is not an `H` (the connection is
    /// closed then).
    pub async fn accept_bulk<H: DeserializeOwned>(
        &self,
    ) -> Result<Option<(H, BulkReceiver)>, AcceptBulkError> {
        let arrived = self.shared.arrived_bulk.lock().await.recv().await;
        match arrived {
            Some(arrived) => arrived.into_receiver(self.shared.clone()).map(Some),
            None => {
                let reason = self.shared.link.closed().await;
                if reason.is_done() { Ok(None) } else { Err(AcceptBulkError::Closed(reason)) }
            }
        }
    }

    /// Waits until the connection has ended, and says how.
    pub async fn closed(&self) -> CloseReason {
        self.shared.link.closed().await
    }

    /// How the connection has ended, if it has.
    #[must_use]
    pub fn close_reason(&self) -> Option<CloseReason> {
        self.shared.link.close_reason()
    }

    /// Closes the connection at once; what was not delivered is lost. Later calls do nothing.
    pub fn close(&self, code: CloseCode, reason: &str) {
        self.shared.close(code, reason);
    }

    /// Begins to dial the second connection, on which bulk streams go, so that the first of them need
    /// not wait for it (a round trip). Does nothing on the accepting side, or when called again.
    pub fn prepare_bulk(&self) {
        self.shared.prepare_bulk();
    }

    /// Whether bulk streams stay within the machine, since both processes are one user's on one machine.
    #[must_use]
    pub fn is_bulk_local(&self) -> bool {
        matches!(&*self.shared.reach.borrow(), Reach::Local(_))
    }

    /// What QUIC has measured on the second connection; `None` before there is one.
    #[must_use]
    pub fn bulk_statistics(&self) -> Option<LinkStatistics> {
        match &*self.shared.reach.borrow() {
            Reach::Second(link) => Some(LinkStatistics::of(&link.quinn)),
            Reach::First | Reach::Dialling | Reach::Local(_) => None,
        }
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Connection")
            .field("peer", &self.shared.peer)
            .field("remote_address", &self.remote_address())
            .finish_non_exhaustive()
    }
}

/// What QUIC has measured about a connection's path. All counts are since its start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LinkStatistics {
    /// Smoothed round-trip time, see [`Connection::round_trip`].
    pub round_trip: Duration,
    /// Smallest round-trip time seen, without the peer's delay of acknowledgements.
    pub round_trip_min: Duration,
    /// What may be on its way unacknowledged, in bytes.
    pub congestion_window_bytes: u64,
    /// Packets sent.
    pub sent_packets: u64,
    /// Packets of these that were lost (probes of larger datagrams not counted).
    pub lost_packets: u64,
    /// Bytes sent in datagrams, with QUIC's overhead and repetitions.
    pub sent_bytes: u64,
    /// Bytes received in datagrams, with QUIC's overhead and repetitions.
    pub received_bytes: u64,
    /// Largest datagram that the path is known to carry, in bytes of UDP payload.
    pub datagram_bytes: u16,
}

impl LinkStatistics {
    fn of(quinn: &quinn::Connection) -> Self {
        let statistics = quinn.stats();
        Self {
            round_trip: statistics.path.rtt,
            round_trip_min: statistics.path.min_rtt,
            congestion_window_bytes: statistics.path.cwnd,
            sent_packets: statistics.path.sent_packets,
            lost_packets: statistics.path.lost_packets,
            sent_bytes: statistics.udp_tx.bytes,
            received_bytes: statistics.udp_rx.bytes,
            datagram_bytes: statistics.path.current_mtu,
        }
    }
}
