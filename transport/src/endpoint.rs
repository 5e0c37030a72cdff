//! The endpoint: one UDP socket that accepts and dials connections.
//!
//! Must never hold what runs on an established connection.

use std::fmt;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::sync::Arc;

use isochrone_protocol::{PROTOCOL_VERSION, Preamble, PreambleError, Version};
use rustls::pki_types::CertificateDer;
use serde::Serialize;
use tokio::sync::{mpsc, watch};
use tokio::task::AbortHandle;

use crate::bulk_link::{self, BulkDialler, Pairs, Secrets};
use crate::congestion::Congestion;
use crate::connection::{self, Connection};
use crate::endpoint_error::{AcceptError, BindError, ConnectError, DialContext};
use crate::first::{First, Opening};
use crate::identity::Identity;
use crate::link::{Closing, close};
use crate::options::TransportOptions;
use crate::peer_identity::{IdentityParseError, PeerIdentity, Role};
use crate::resets::LateResets;
use crate::tls::{Resumption, ServerSide, Target};
use crate::{CertificateFault, CloseCode, tls};

/// Accepting sides allow the control stream and one more, so that a second one can be answered
/// with [`CloseCode::ProtocolViolation`].
const ACCEPTED_CONTROL_STREAMS_MAX: u32 = 2;

/// Dialling sides open the control stream themselves; one from the peer is a violation.
const DIALLED_CONTROL_STREAMS_MAX: u32 = 1;

/// Connections that someone dials and nobody has accepted yet; more wait within QUIC.
const INCOMING_MAX: usize = 64;

/// One UDP socket that accepts connections (of the allowed roles) and dials others. Cheap to
/// clone; connections outlive it, but only while it is not closed.
#[derive(Clone)]
pub struct Endpoint {
    shared: Arc<Shared>,
}

struct Shared {
    quinn: quinn::Endpoint,
    our_role: Role,
    options: Arc<TransportOptions>,
    dialling: tls::Dialling,
    dialled_transport: Arc<quinn::TransportConfig>,
    bulk_transport: Arc<quinn::TransportConfig>,
    congestion: Congestion,
    closing: Arc<Closing>,
    pairs: Arc<Pairs>,
    tls: Arc<ServerSide>,
    incoming: tokio::sync::Mutex<mpsc::Receiver<quinn::Incoming>>,
    /// The task that accepts; `accepting` is closed when it has ended.
    acceptor: AbortHandle,
    accepting: watch::Receiver<()>,
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.acceptor.abort();
    }
}

impl Endpoint {
    /// Binds a UDP socket. Port 0 lets the operating system choose; an endpoint that only dials
    /// uses `0.0.0.0:0` or `[::]:0`. Needs a tokio runtime.
    ///
    /// # Errors
    /// If the address cannot be had, or there is no runtime.
    pub fn bind(
        address: SocketAddr,
        identity: &Identity,
        options: TransportOptions,
    ) -> Result<Self, BindError> {
        let runtime = quinn::default_runtime().ok_or(BindError::NoRuntime)?;
        let tls_error = |error: tls::SetupError| BindError::Tls(Box::new(error));
        let address_error = |source| BindError::Address { address, source };
        let congestion = Congestion::default();
        let transport = Arc::new(options.quinn(ACCEPTED_CONTROL_STREAMS_MAX, &congestion));
        let bulk_transport = Arc::new(options.quinn_bulk(&congestion));
        let server = |tls: &ServerSide, transport: &Arc<quinn::TransportConfig>| {
            let mut server = quinn::ServerConfig::with_crypto(tls.config.clone());
            server.transport_config(transport.clone()).migration(true);
            server
        };
        let bulk_tls = ServerSide::new(identity, tls::BULK_ALPN, Resumption::None).map_err(tls_error)?;
        let bulk_server = Arc::new(server(&bulk_tls, &bulk_transport));
        let resumption = if options.takes_early_data { Resumption::Early } else { Resumption::Late };
        let tls = Arc::new(ServerSide::new(identity, tls::ALPN, resumption).map_err(tls_error)?);
        let server = match options.allowed_roles[..] {
            [] => None,
            [..] => Some(server(&tls, &transport)),
        };
        let mut endpoint = quinn::EndpointConfig::default();
        endpoint
            .cid_generator(|| Box::new(LateResets::new()))
            .max_udp_payload_size(options.datagram_bytes_max)
            .map_err(|error| address_error(io::Error::other(error)))?;
        let socket = socket(address, options.socket_buffer_bytes).map_err(address_error)?;
        let quinn = quinn::Endpoint::new(endpoint, server, socket, runtime).map_err(address_error)?;
        let options = Arc::new(options);
        let closing = Arc::new(Closing::new());
        let pairs = Arc::new(Pairs::default());
        let (arrivals, incoming) = mpsc::channel(INCOMING_MAX);
        let (is_accepting, accepting) = watch::channel(());
        let acceptor = Acceptor {
            quinn: quinn.clone(),
            bulk_server,
            pairs: pairs.clone(),
            options: options.clone(),
            closing: closing.clone(),
            arrivals,
            _is_accepting: Arc::new(is_accepting),
        };
        Ok(Self {
            shared: Arc::new(Shared {
                quinn,
                our_role: identity.peer_identity().role,
                dialling: tls::Dialling::new(identity).map_err(tls_error)?,
                dialled_transport: Arc::new(options.quinn(DIALLED_CONTROL_STREAMS_MAX, &congestion)),
                bulk_transport,
                congestion,
                options,
                closing,
                pairs,
                tls,
                incoming: tokio::sync::Mutex::new(incoming),
                acceptor: tokio::spawn(acceptor.run()).abort_handle(),
                accepting,
            }),
        })
    }

    /// The address of the socket, with the port that the operating system chose.
    ///
    /// # Errors
    /// If the operating system does not say.
    pub fn local_address(&self) -> io::Result<SocketAddr> {
        self.shared.quinn.local_addr()
    }

    /// The next connection that someone dials, or `None` once the endpoint is closed. Cancel
    /// safe. Establish each in a task of its own: a handshake takes round trips.
    pub async fn accept(&self) -> Option<Incoming> {
        let incoming = self.shared.incoming.lock().await.recv().await?;
        Some(Incoming {
            incoming,
            options: self.shared.options.clone(),
            closing: self.shared.closing.clone(),
            pairs: self.shared.pairs.clone(),
            tls: self.shared.tls.clone(),
        })
    }

    /// Dials `address`, where a process of role `expected_role` (and name `expected_name`, if
    /// given) of the same farm must answer. Comes back when the other side has accepted this
    /// process's certificate, role and version; after the handshake timeout at the latest.
    ///
    /// # Errors
    /// See [`ConnectError`].
    pub async fn connect(
        &self,
        address: SocketAddr,
        expected_role: Role,
        expected_name: Option<&str>,
    ) -> Result<Connection, ConnectError> {
        self.connect_saying::<()>(address, expected_role, expected_name, First::NOTHING).await
    }

    /// As [`Endpoint::connect`], and sends first messages with the first packet that may carry any, so that
    /// their answers are there when this comes back: two round trips, or one where a session is resumed and
    /// the other side takes early data. What [`First::then`] gives goes out with the end of the handshake.
    ///
    /// # Errors
    /// See [`ConnectError`].
    pub async fn connect_saying<T: Serialize + Sync>(
        &self,
        address: SocketAddr,
        expected_role: Role,
        expected_name: Option<&str>,
        first: First<'_, T>,
    ) -> Result<Connection, ConnectError> {
        let shared = &self.shared;
        probe_route(address).map_err(|source| ConnectError::Unreachable { address, source })?;
        let encoding = |source| ConnectError::Message { address, source };
        let words = first.words(&shared.options.limits).map_err(encoding)?;
        let target = shared
            .dialling
            .target((address, expected_role, expected_name.map(str::to_owned)))
            .map_err(|error| ConnectError::Tls { address, source: Box::new(error) })?;
        let context = DialContext {
            address,
            our_role: shared.our_role,
            expected_role,
            expected_name,
            timeout: shared.options.handshake_timeout,
            check: &target.check,
            closing: &shared.closing,
        };
        let later = || first.later(&shared.options.limits).map_err(encoding);
        let opening = Opening { words: &words, may_be_early: first.may_be_early(), later: &later };
        let dial = self.dial(&target, &context, &opening);
        match tokio::time::timeout(shared.options.handshake_timeout, dial).await {
            Ok(result) => result,
            Err(_) => Err(ConnectError::TimedOut { address, after: shared.options.handshake_timeout }),
        }
    }

    /// Completes the handshake and sends the first words, as early data where that may be and can be, and then what is to
    /// follow them.
    async fn begin(
        &self,
        target: &Target,
        context: &DialContext<'_>,
        opening: &Opening<'_>,
    ) -> Result<(quinn::Connection, PeerIdentity, quinn::SendStream, quinn::RecvStream), ConnectError> {
        let Opening { words, may_be_early, later } = *opening;
        let address = context.address;
        let lost = |error| ConnectError::new(context, error);
        let mut config = quinn::ClientConfig::new(target.config.clone());
        config.transport_config(self.shared.dialled_transport.clone());
        let connecting = self
            .shared
            .quinn
            .connect_with(config, address, context.expected_role.server_name())
            .map_err(|source| ConnectError::Dial { address, source })?;
        let (quinn, early) = match connecting.into_0rtt() {
            Ok((quinn, is_accepted)) => {
                let mut early = None;
                if may_be_early && let Ok((mut send, receive)) = quinn.open_bi().await {
                    // A stream that is refused says so below.
                    let _ = send.write_chunk(words.clone()).await;
                    early = Some((send, receive));
                }
                let is_accepted = is_accepted.await;
                (quinn, early.filter(|_| is_accepted))
            }
            Err(connecting) => (connecting.await.map_err(lost)?, None),
        };
        let peer = check_peer(target, context, &quinn)?;
        let (pieces, (mut send, receive)) = match early {
            Some(streams) => (Vec::new(), streams),
            None => (vec![words.clone()], quinn.open_bi().await.map_err(lost)?),
        };
        let later =
            later().inspect_err(|_| close(&quinn, CloseCode::Done, "a first message is too large"))?;
        for piece in pieces.into_iter().chain(later) {
            send.write_chunk(piece).await.map_err(|error| match error {
                quinn::WriteError::ConnectionLost(error) => lost(error),
                quinn::WriteError::Stopped(_)
                | quinn::WriteError::ClosedStream
                | quinn::WriteError::ZeroRttRejected => ConnectError::NotIsochrone { address },
            })?;
        }
        Ok((quinn, peer, send, receive))
    }

    async fn dial(
        &self,
        target: &Target,
        context: &DialContext<'_>,
        opening: &Opening<'_>,
    ) -> Result<Connection, ConnectError> {
        let shared = &self.shared;
        let address = context.address;
        let lost = |error| ConnectError::new(context, error);
        let (quinn, peer, send, mut receive) = self.begin(target, context, opening).await?;
        let version = read_preamble(&mut receive).await.map_err(|error| match error {
            PreambleExchangeError::Refused(error) => {
                refuse_preamble(&quinn, error);
                ConnectError::preamble(address, error)
            }
            PreambleExchangeError::Lost(error) => lost(error),
            PreambleExchangeError::Truncated => {
                close(&quinn, CloseCode::ProtocolViolation, "no whole preamble");
                ConnectError::NotIsochrone { address }
            }
        })?;
        let bulk_dialler = Secrets::of(&quinn).map(|secrets| BulkDialler {
            endpoint: BulkDialling { shared: shared.clone() },
            address,
            role: context.expected_role,
            secrets,
            local_port: self
                .local_address()
                .ok()
                .filter(|_| shared.options.may_be_local)
                .map(|address| address.port()),
            closing: shared.closing.clone(),
        });
        Ok(connection::start(connection::Parts {
            quinn,
            peer,
            version,
            send,
            receive,
            options: shared.options.clone(),
            endpoint_closing: shared.closing.clone(),
            bulk_dialler,
            is_confirmed: true,
        }))
    }

    /// Moves to a new socket at `address` (a change of network, say) without losing a connection;
    /// gives the new local address. Peers follow when the next datagram reaches them.
    ///
    /// # Errors
    /// If the address cannot be had; the old socket stays in use then.
    pub fn rebind(&self, address: SocketAddr) -> Result<SocketAddr, BindError> {
        let address_error = |source| BindError::Address { address, source };
        let socket = socket(address, self.shared.options.socket_buffer_bytes).map_err(address_error)?;
        self.shared.quinn.rebind(socket).map_err(address_error)?;
        self.local_address().map_err(address_error)
    }

    /// Closes every connection and takes no more; what was not delivered is lost. Await
    /// [`Endpoint::drained`] before the process ends, so that the peers hear of it.
    pub fn close(&self, code: CloseCode, reason: &str) {
        // The first call decides.
        let _ = self.shared.closing.set((code, reason.to_owned()));
        self.shared.congestion.open_all();
        self.shared.quinn.close(code.to_wire().into(), reason.as_bytes());
    }

    /// Refuses new connections from now on and keeps those that are there.
    pub fn stop_accepting(&self) {
        self.shared.quinn.set_server_config(None);
    }

    /// Waits until every connection has ended and the peers were told.
    pub async fn drained(&self) {
        self.shared.quinn.wait_idle().await;
        if self.shared.closing.get().is_some() {
            // Never changes: ends with the task that holds the other end, and the socket with it.
            let _ = self.shared.accepting.clone().changed().await;
        }
    }
}

/// Takes in what is dialled: completes the second connections of pairs, and hands on all others.
#[derive(Clone)]
struct Acceptor {
    quinn: quinn::Endpoint,
    bulk_server: Arc<quinn::ServerConfig>,
    pairs: Arc<Pairs>,
    options: Arc<TransportOptions>,
    closing: Arc<Closing>,
    arrivals: mpsc::Sender<quinn::Incoming>,
    _is_accepting: Arc<watch::Sender<()>>,
}

impl Acceptor {
    async fn run(self) {
        while let Some(incoming) = self.quinn.accept().await {
            let name = incoming.orig_dst_cid();
            if self.pairs.knows(&name) {
                tokio::spawn(self.complete_second(incoming));
            } else if self.pairs.any_unconfirmed() {
                // It may be the second connection of one whose handshake is about to be complete.
                let (pairs, arrivals) = (self.pairs.clone(), self.arrivals.clone());
                let acceptor = self.clone();
                tokio::spawn(async move {
                    if pairs.will_know(&name).await {
                        acceptor.complete_second(incoming).await;
                    } else {
                        // Fails only when the endpoint is gone.
                        let _ = arrivals.send(incoming).await;
                    }
                });
            } else if self.arrivals.send(incoming).await.is_err() {
                return;
            }
        }
    }

    fn complete_second(&self, incoming: quinn::Incoming) -> impl Future<Output = ()> + use<> {
        bulk_link::accept(
            incoming,
            self.bulk_server.clone(),
            self.pairs.clone(),
            self.options.clone(),
            self.closing.clone(),
        )
    }
}

/// What it takes to dial the second connection of a pair.
pub(crate) struct BulkDialling {
    shared: Arc<Shared>,
}

impl BulkDialling {
    /// Dials the second connection of this name; its certificate is one of the farm's for that role. Gives up
    /// after the handshake timeout.
    pub(crate) async fn dial(
        &self,
        address: SocketAddr,
        role: Role,
        name: &[u8],
    ) -> Result<quinn::Connection, String> {
        let tls = self.shared.dialling.bulk().map_err(|error| error.to_string())?;
        let mut config = quinn::ClientConfig::new(tls);
        let name = quinn::ConnectionId::new(name);
        config
            .transport_config(self.shared.bulk_transport.clone())
            .initial_dst_cid_provider(Arc::new(move || name));
        let connecting = self
            .shared
            .quinn
            .connect_with(config, address, role.server_name())
            .map_err(|error| error.to_string())?;
        match tokio::time::timeout(self.shared.options.handshake_timeout, connecting).await {
            Ok(established) => established.map_err(|error| error.to_string()),
            Err(_) => Err("nobody answers".to_owned()),
        }
    }
}

/// A connection that someone dials, not yet established. Dropping it refuses it.
pub struct Incoming {
    incoming: quinn::Incoming,
    options: Arc<TransportOptions>,
    closing: Arc<Closing>,
    pairs: Arc<Pairs>,
    tls: Arc<ServerSide>,
}

impl Incoming {
    /// Where it comes from. Not verified: anyone can write any address on a datagram.
    #[must_use]
    pub fn remote_address(&self) -> SocketAddr {
        self.incoming.remote_address()
    }

    /// Refuses it; the dialling side is told at once.
    pub fn refuse(self) {
        self.incoming.refuse();
    }

    /// Completes the handshake: checks the certificate, its identity and role, and the version.
    /// Takes no longer than the handshake timeout.
    ///
    /// # Errors
    /// See [`AcceptError`]. The dialling side was told.
    pub async fn establish(self) -> Result<Connection, AcceptError> {
        let address = self.remote_address();
        let after = self.options.handshake_timeout;
        match tokio::time::timeout(after, self.establish_untimed(address)).await {
            Ok(result) => result,
            Err(_) => Err(AcceptError::TimedOut { address, after }),
        }
    }

    async fn establish_untimed(self, address: SocketAddr) -> Result<Connection, AcceptError> {
        let lost = |error| AcceptError::new(address, error, &self.closing);
        let (quinn, confirming) = match self.incoming.accept().map_err(lost)?.into_0rtt() {
            // Without a resumed session there is no identity before the end of the handshake.
            Ok((quinn, confirming)) if self.options.takes_early_data && !certificates(&quinn).is_empty() => {
                (quinn, Some((confirming, self.pairs.unconfirmed())))
            }
            Ok((quinn, confirming)) => {
                confirming.await;
                if let Some(error) = quinn.close_reason() {
                    return Err(lost(error));
                }
                (quinn, None)
            }
            Err(connecting) => (connecting.await.map_err(lost)?, None),
        };
        if let Err(error) = self.tls.check_again(&certificates(&quinn)) {
            close(&quinn, CloseCode::RoleRefused, "the certificate is not good any more");
            return Err(AcceptError::TheirCertificate { address, fault: CertificateFault::of(&error) });
        }
        let peer = peer_identity(&quinn).map_err(|source| {
            close(&quinn, CloseCode::ProtocolViolation, "certificate states no identity");
            AcceptError::TheirIdentity { address, source }
        })?;
        if !self.options.allowed_roles.contains(&peer.role) {
            let served: Vec<_> = self.options.allowed_roles.iter().map(|role| role.as_str()).collect();
            let reason = format!("served here: {}", served.join(", "));
            close(&quinn, CloseCode::RoleRefused, &reason);
            return Err(AcceptError::RoleRefused { address, identity: peer });
        }
        // Before the dialling side hears anything, so that its second connection never comes too early.
        let may_be_local = self.options.may_be_local;
        let place = |quinn: &quinn::Connection| {
            Secrets::of(quinn).map(|secrets| self.pairs.expect(secrets, may_be_local))
        };
        let pair = if confirming.is_none() { place(&quinn) } else { None };
        let (mut send, mut receive) = quinn.accept_bi().await.map_err(lost)?;
        let exchanged = exchange_preambles(&mut send, &mut receive).await;
        let version = exchanged.map_err(|error| match error {
            PreambleExchangeError::Refused(source) => {
                refuse_preamble(&quinn, source);
                AcceptError::Preamble { address, source }
            }
            PreambleExchangeError::Lost(error) => lost(error),
            PreambleExchangeError::Truncated => {
                close(&quinn, CloseCode::ProtocolViolation, "no whole preamble");
                AcceptError::Truncated { address }
            }
        })?;
        let connection = connection::start(connection::Parts {
            quinn: quinn.clone(),
            peer,
            version,
            send,
            receive,
            options: self.options.clone(),
            endpoint_closing: self.closing.clone(),
            bulk_dialler: None,
            is_confirmed: confirming.is_none(),
        });
        match confirming {
            None => connection::confirm(connection.shared(), pair),
            Some((confirming, unconfirmed)) => {
                let shared = Arc::downgrade(connection.shared());
                let pairs = self.pairs.clone();
                tokio::spawn(async move {
                    confirming.await;
                    let pair = Secrets::of(&quinn).map(|secrets| pairs.expect(secrets, may_be_local));
                    if let (None, Some(shared)) = (quinn.close_reason(), shared.upgrade()) {
                        connection::confirm(&shared, pair);
                    }
                    drop(unconfirmed);
                });
            }
        }
        Ok(connection)
    }
}

impl fmt::Debug for Incoming {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Incoming").field("from", &self.remote_address()).finish_non_exhaustive()
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Endpoint").field("quinn", &self.shared.quinn).finish_non_exhaustive()
    }
}

/// Who the other side is, once its certificate has been looked at again: a session may have begun long ago.
fn check_peer(
    target: &Target,
    context: &DialContext<'_>,
    quinn: &quinn::Connection,
) -> Result<PeerIdentity, ConnectError> {
    let address = context.address;
    if let Err(error) = target.check_again(&certificates(quinn), context.expected_role) {
        if let Some(reason) = quinn.close_reason() {
            return Err(ConnectError::new(context, reason));
        }
        close(quinn, CloseCode::RoleRefused, "the certificate is not good any more");
        return Err(ConnectError::TheirCertificate { address, fault: CertificateFault::of(&error) });
    }
    let peer = peer_identity(quinn).map_err(|source| {
        close(quinn, CloseCode::ProtocolViolation, "certificate states no identity");
        ConnectError::TheirIdentity { address, source }
    })?;
    if peer.role != context.expected_role {
        close(quinn, CloseCode::Done, "another role was expected");
        return Err(ConnectError::WrongRole { address, expected: context.expected_role, found: peer });
    }
    if let Some(expected) = context.expected_name
        && peer.name != expected
    {
        close(quinn, CloseCode::Done, "another name was expected");
        return Err(ConnectError::WrongName { address, expected: expected.to_owned(), found: peer });
    }
    Ok(peer)
}

/// Why no preambles were exchanged.
enum PreambleExchangeError {
    Refused(PreambleError),
    Lost(quinn::ConnectionError),
    Truncated,
}

/// Sends our preamble on the control stream and gives the peer's version.
async fn exchange_preambles(
    send: &mut quinn::SendStream,
    receive: &mut quinn::RecvStream,
) -> Result<Version, PreambleExchangeError> {
    match send.write_all(&Preamble::encode()).await {
        Ok(()) => {}
        Err(quinn::WriteError::ConnectionLost(error)) => {
            return Err(PreambleExchangeError::Lost(error));
        }
        Err(
            quinn::WriteError::Stopped(_)
            | quinn::WriteError::ClosedStream
            | quinn::WriteError::ZeroRttRejected,
        ) => return Err(PreambleExchangeError::Truncated),
    }
    read_preamble(receive).await
}

/// The peer's version, from its preamble on the control stream.
async fn read_preamble(receive: &mut quinn::RecvStream) -> Result<Version, PreambleExchangeError> {
    let mut theirs = [0; Preamble::BYTES];
    match receive.read_exact(&mut theirs).await {
        Ok(()) => Preamble::check(&theirs).map_err(PreambleExchangeError::Refused),
        Err(quinn::ReadExactError::ReadError(quinn::ReadError::ConnectionLost(error))) => {
            Err(PreambleExchangeError::Lost(error))
        }
        Err(quinn::ReadExactError::ReadError(_) | quinn::ReadExactError::FinishedEarly(_)) => {
            Err(PreambleExchangeError::Truncated)
        }
    }
}

/// Closes a connection whose preamble is refused. The reason is our version, so that the other
/// side can name both.
fn refuse_preamble(quinn: &quinn::Connection, error: PreambleError) {
    match error {
        PreambleError::OtherMajor { .. } => {
            close(quinn, CloseCode::VersionMismatch, &PROTOCOL_VERSION.to_string());
        }
        PreambleError::NotIsochrone { .. } => {
            close(quinn, CloseCode::ProtocolViolation, "not a preamble");
        }
    }
}

/// The certificates that TLS has verified, now or when the session began that was resumed; none before.
fn certificates(quinn: &quinn::Connection) -> Vec<CertificateDer<'static>> {
    quinn
        .peer_identity()
        .and_then(|identity| identity.downcast::<Vec<CertificateDer<'static>>>().ok())
        .map_or_else(Vec::new, |certificates| *certificates)
}

/// The identity in the certificate that TLS has verified.
pub(crate) fn peer_identity(quinn: &quinn::Connection) -> Result<PeerIdentity, IdentityParseError> {
    let certificates = certificates(quinn);
    let certificate = certificates.first().ok_or(IdentityParseError::Missing)?;
    PeerIdentity::from_certificate(certificate)
}

/// A bound UDP socket with buffers of about `buffer_bytes`.
fn socket(address: SocketAddr, buffer_bytes: usize) -> io::Result<UdpSocket> {
    let socket = socket2::Socket::new(
        socket2::Domain::for_address(address),
        socket2::Type::DGRAM,
        Some(socket2::Protocol::UDP),
    )?;
    if address.is_ipv6()
        && let Err(error) = socket.set_only_v6(false)
    {
        tracing::debug!(%error, "socket cannot reach IPv4 peers");
    }
    // Less than asked for is no failure: packets that do not fit are lost and sent again.
    if let Err(error) = socket.set_recv_buffer_size(buffer_bytes) {
        tracing::debug!(%error, buffer_bytes, "receive buffer of the socket stays as it is");
    }
    if let Err(error) = socket.set_send_buffer_size(buffer_bytes) {
        tracing::debug!(%error, buffer_bytes, "send buffer of the socket stays as it is");
    }
    socket.bind(&address.into())?;
    Ok(socket.into())
}

/// Asks the operating system whether there is a way to `address`: QUIC itself would only find
/// that nobody answers. Sends nothing.
fn probe_route(address: SocketAddr) -> io::Result<()> {
    let any: SocketAddr = match address {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    };
    UdpSocket::bind(any)?.connect(address)
}
