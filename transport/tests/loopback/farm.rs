//! A farm's certificates, endpoints on loopback, and peers that speak raw QUIC.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use isochrone_transport::authority::IDENTITY_VALIDITY;
use isochrone_transport::{
    AcceptError, Authority, ConnectError, Connection, Endpoint, Identity, Role, TransportOptions,
};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde::{Deserialize, Serialize};

/// No test waits longer than this for what must come.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// A message or header of the tests.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Message {
    Number(u64),
    Text(String),
}

pub struct Farm {
    pub authority: Authority,
}

impl Farm {
    pub fn new() -> Self {
        Self { authority: Authority::create("test").expect("authority") }
    }

    pub fn identity(&self, role: Role, name: &str) -> Identity {
        let tenant = role.has_tenant().then_some("tenant");
        self.authority
            .issue(role, name, tenant, IDENTITY_VALIDITY)
            .expect("issued")
            .identity()
            .expect("usable")
    }

    /// An endpoint that serves `allowed`, or only dials.
    pub fn endpoint(&self, role: Role, name: &str, allowed: &[Role]) -> Endpoint {
        self.endpoint_with(role, name, allowed, |_| {})
    }

    pub fn endpoint_with(
        &self,
        role: Role,
        name: &str,
        allowed: &[Role],
        adjust: impl FnOnce(&mut TransportOptions),
    ) -> Endpoint {
        let mut options = TransportOptions::new();
        // Tests of QUIC; those of local sockets say otherwise.
        options.allowed_roles(allowed).local_bulk(false);
        adjust(&mut options);
        Endpoint::bind(any_port(), &self.identity(role, name), options).expect("bound")
    }

    /// A scheduler and a client with the given options, connected: (client's, scheduler's).
    pub async fn pair_with(
        &self,
        adjust: impl Fn(&mut TransportOptions),
    ) -> (Connection, Connection, Endpoint, Endpoint) {
        let server = self.endpoint_with(Role::Scheduler, "main", &[Role::Client], &adjust);
        let client = self.endpoint_with(Role::Client, "c", &[], &adjust);
        let (dialled, accepted) = join(&client, &server, Role::Scheduler, None).await;
        (dialled.expect("connected"), accepted.expect("accepted"), client, server)
    }

    pub async fn pair(&self) -> (Connection, Connection, Endpoint, Endpoint) {
        self.pair_with(|_| {}).await
    }
}

pub fn any_port() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 0))
}

/// Dials `server` and establishes the one connection that comes in there.
pub async fn join(
    client: &Endpoint,
    server: &Endpoint,
    expected_role: Role,
    expected_name: Option<&str>,
) -> (Result<Connection, ConnectError>, Result<Connection, AcceptError>) {
    let address = server.local_address().expect("bound");
    tokio::join!(client.connect(address, expected_role, expected_name), accept(server))
}

pub async fn accept(server: &Endpoint) -> Result<Connection, AcceptError> {
    let incoming = within(server.accept()).await.expect("endpoint is open");
    within(incoming.establish()).await
}

/// Waits for what must come.
pub async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.expect("nothing came in time")
}

/// A peer of role client that speaks QUIC with the farm's certificates and nothing else: breaks
/// whatever rule a test wants broken.
pub struct RawClient {
    pub endpoint: quinn::Endpoint,
    /// As the endpoint's own, without a protocol.
    tls: rustls::ClientConfig,
}

/// Which certificate a raw peer shows.
pub enum Shown<'a> {
    None,
    Client(&'a Farm),
}

impl RawClient {
    pub fn new(trusted: &Farm, shown: &Shown<'_>) -> Self {
        Self::make(trusted, shown, "raw")
    }

    /// One whose certificate is for a client of that name.
    pub fn named(farm: &Farm, name: &str) -> Self {
        Self::make(farm, &Shown::Client(farm), name)
    }

    fn make(trusted: &Farm, shown: &Shown<'_>, name: &str) -> Self {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut roots = rustls::RootCertStore::empty();
        roots.add(certificate(trusted.authority.certificate_pem())).expect("authority");
        let builder = rustls::ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])
            .expect("TLS 1.3")
            .with_root_certificates(roots);
        let mut config = match shown {
            Shown::None => builder.with_no_client_auth(),
            Shown::Client(farm) => {
                let issued = farm
                    .authority
                    .issue(Role::Client, name, Some("tenant"), IDENTITY_VALIDITY)
                    .expect("issued");
                let key = PrivateKeyDer::from_pem_slice(issued.key_pem().as_bytes()).expect("key");
                builder
                    .with_client_auth_cert(vec![certificate(issued.certificate_pem())], key)
                    .expect("usable")
            }
        };
        let tls = config.clone();
        config.alpn_protocols = vec![b"isochrone/1".to_vec()];
        let crypto = quinn::crypto::rustls::QuicClientConfig::try_from(config).expect("ciphers");
        let mut endpoint = quinn::Endpoint::client(any_port()).expect("bound");
        endpoint.set_default_client_config(quinn::ClientConfig::new(Arc::new(crypto)));
        Self { endpoint, tls }
    }

    /// A raw connection that claims to be the second one of a pair.
    pub async fn dial_second(&self, server: &Endpoint, name: [u8; 20]) -> quinn::Connection {
        let mut tls = self.tls.clone();
        tls.alpn_protocols = vec![b"isochrone-bulk/1".to_vec()];
        let crypto = quinn::crypto::rustls::QuicClientConfig::try_from(tls).expect("ciphers");
        let mut config = quinn::ClientConfig::new(Arc::new(crypto));
        config.initial_dst_cid_provider(Arc::new(move || quinn::ConnectionId::new(&name)));
        let address = server.local_address().expect("bound");
        let connecting =
            self.endpoint.connect_with(config, address, "scheduler.isochrone").expect("dialling");
        within(connecting).await.expect("handshake")
    }

    /// The raw connection; the peer may still refuse it.
    pub async fn dial(&self, server: &Endpoint) -> quinn::Connection {
        let address = server.local_address().expect("bound");
        let connecting = self.endpoint.connect(address, "scheduler.isochrone").expect("dialling");
        within(connecting).await.expect("handshake")
    }

    /// A raw connection that has sent `preamble` on the control stream.
    pub async fn dial_with_preamble(
        &self,
        server: &Endpoint,
        preamble: &[u8],
    ) -> (quinn::Connection, quinn::SendStream, quinn::RecvStream) {
        let connection = self.dial(server).await;
        let (mut send, receive) = connection.open_bi().await.expect("stream");
        send.write_all(preamble).await.expect("written");
        (connection, send, receive)
    }
}

pub fn certificate(pem: &str) -> CertificateDer<'static> {
    CertificateDer::from_pem_slice(pem.as_bytes()).expect("a certificate")
}

/// The application close code with which the other side ended a raw connection.
pub async fn application_code(connection: &quinn::Connection) -> u64 {
    match within(connection.closed()).await {
        quinn::ConnectionError::ApplicationClosed(close) => close.error_code.into_inner(),
        other => panic!("closed otherwise: {other:?}"),
    }
}
