//! How TLS is set up: version 1.3 only, certificates on both sides, resumption in memory.
//!
//! A resumed session shows no certificates: each side keeps those of the session before, and they are checked
//! again ([`ServerSide::check_again`], [`Target::check_again`]), as to time above all. Tickets are kept in memory
//! and taken by their first use, so that neither a resumption nor its early data can be replayed: a second use of
//! a ticket is a whole handshake, and so is every use after a restart. Must never hold a way around a certificate
//! check.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms, ring};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{ServerSessionMemoryCache, WebPkiClientVerifier};
use rustls::sign::SingleCertAndKey;
use rustls::{CertificateError, DigitallySignedStruct, SignatureScheme};

use crate::identity::Identity;
use crate::peer_identity::{PeerIdentity, Role};

/// The application protocol that both sides must name.
pub(crate) const ALPN: &[u8] = b"isochrone/1";

/// What both name instead on the second connection of a pair, which carries bulk streams alone.
pub(crate) const BULK_ALPN: &[u8] = b"isochrone-bulk/1";

/// ring, with the faster of the two AES ciphers preferred: 128 bits are enough for any farm.
static PROVIDER: LazyLock<Arc<CryptoProvider>> = LazyLock::new(|| {
    let mut provider = ring::default_provider();
    provider.cipher_suites = vec![
        ring::cipher_suite::TLS13_AES_128_GCM_SHA256,
        ring::cipher_suite::TLS13_AES_256_GCM_SHA384,
        ring::cipher_suite::TLS13_CHACHA20_POLY1305_SHA256,
    ];
    Arc::new(provider)
});

pub(crate) fn provider() -> Arc<CryptoProvider> {
    PROVIDER.clone()
}

/// Why TLS cannot be set up with an identity. None of it happens with an identity that loaded.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SetupError {
    #[error("TLS cannot be set up")]
    Tls(#[from] rustls::Error),
    #[error("certificate checks cannot be set up")]
    Verifier(#[from] rustls::client::VerifierBuilderError),
    #[error("QUIC needs a cipher that is not there")]
    Cipher(#[from] quinn::crypto::rustls::NoInitialCipherSuite),
}

/// Sessions that the accepting side keeps for resumption, some hundred bytes each.
const SESSIONS_MAX: usize = 4_096;

/// Tickets given after a handshake: one for the next connection, and one in case two are dialled at a time.
const TICKETS: usize = 2;

/// Peers whose sessions a dialling side keeps.
const TARGETS_MAX: usize = 1_024;

/// Whether sessions may be resumed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Resumption {
    /// Every handshake is whole.
    None,
    /// Without early data.
    Late,
    /// With early data.
    Early,
}

/// The accepting side.
pub(crate) struct ServerSide {
    pub(crate) config: Arc<QuicServerConfig>,
    verifier: Arc<dyn ClientCertVerifier>,
}

impl ServerSide {
    /// For `protocol`: asks for a certificate of the farm's authority.
    pub(crate) fn new(
        identity: &Identity,
        protocol: &[u8],
        resumption: Resumption,
    ) -> Result<Self, SetupError> {
        let verifier = WebPkiClientVerifier::builder_with_provider(identity.roots(), provider()).build()?;
        let mut config = rustls::ServerConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .with_client_cert_verifier(verifier.clone())
            .with_cert_resolver(Arc::new(SingleCertAndKey::from(identity.certified())));
        config.alpn_protocols = vec![protocol.to_vec()];
        match resumption {
            Resumption::None => config.send_tls13_tickets = 0,
            Resumption::Late | Resumption::Early => {
                config.send_tls13_tickets = TICKETS;
                config.session_storage = ServerSessionMemoryCache::new(SESSIONS_MAX);
            }
        }
        if resumption == Resumption::Early {
            // QUIC has its own bounds; TLS knows all or nothing.
            config.max_early_data_size = u32::MAX;
        }
        Ok(Self { config: Arc::new(QuicServerConfig::try_from(config)?), verifier })
    }

    /// Whether a dialling side's certificate is good now: that of a resumed session was checked long ago.
    pub(crate) fn check_again(
        &self,
        certificates: &[CertificateDer<'static>],
    ) -> Result<(), CertificateError> {
        let [first, rest @ ..] = certificates else { return Err(CertificateError::BadEncoding) };
        certificate_error(self.verifier.verify_client_cert(first, rest, UnixTime::now()).map(|_| ()))
    }
}

/// The certificate's part of an error of a check.
fn certificate_error(result: Result<(), rustls::Error>) -> Result<(), CertificateError> {
    match result {
        Ok(()) => Ok(()),
        Err(rustls::Error::InvalidCertificate(error)) => Err(error),
        Err(_) => Err(CertificateError::BadEncoding),
    }
}

/// Whom a connection is dialled to: tickets are for exactly one, so that early data reaches nobody else.
pub(crate) type TargetKey = (SocketAddr, Role, Option<String>);

/// What the dialling side needs, made once for each endpoint.
#[derive(Debug)]
pub(crate) struct Dialling {
    identity: Identity,
    verifier: Arc<WebPkiServerVerifier>,
    targets: Mutex<BTreeMap<TargetKey, Arc<Target>>>,
}

/// One peer that is dialled, with the tickets that it gave.
pub(crate) struct Target {
    pub(crate) config: Arc<QuicClientConfig>,
    pub(crate) check: Arc<ServerCheck>,
}

impl std::fmt::Debug for Target {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Target").finish_non_exhaustive()
    }
}

impl Target {
    /// Whether the accepting side's certificate is good now: that of a resumed session was checked long ago.
    pub(crate) fn check_again(
        &self,
        certificates: &[CertificateDer<'static>],
        role: Role,
    ) -> Result<(), CertificateError> {
        let [first, rest @ ..] = certificates else { return Err(CertificateError::BadEncoding) };
        let name = ServerName::try_from(role.server_name()).map_err(|_| CertificateError::BadEncoding)?;
        let checked = self.check.verifier.verify_server_cert(first, rest, &name, &[], UnixTime::now());
        certificate_error(checked.map(|_| ()))
    }
}

impl Dialling {
    pub(crate) fn new(identity: &Identity) -> Result<Self, SetupError> {
        Ok(Self {
            identity: identity.clone(),
            verifier: WebPkiServerVerifier::builder_with_provider(identity.roots(), provider()).build()?,
            targets: Mutex::default(),
        })
    }

    /// A peer that is dialled, with what is known from earlier connections to it.
    pub(crate) fn target(&self, key: TargetKey) -> Result<Arc<Target>, SetupError> {
        let mut targets = self.targets.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(target) = targets.get(&key) {
            target.check.forget();
            return Ok(target.clone());
        }
        let target =
            Arc::new(self.new_target(ALPN, rustls::client::Resumption::in_memory_sessions(TICKETS))?);
        if targets.len() >= TARGETS_MAX {
            targets.pop_first();
        }
        targets.insert(key, target.clone());
        Ok(target)
    }

    /// For the second connection of a pair, which is never resumed.
    pub(crate) fn bulk(&self) -> Result<Arc<QuicClientConfig>, SetupError> {
        Ok(self.new_target(BULK_ALPN, rustls::client::Resumption::disabled())?.config)
    }

    fn new_target(
        &self,
        protocol: &[u8],
        resumption: rustls::client::Resumption,
    ) -> Result<Target, SetupError> {
        let check = Arc::new(ServerCheck {
            verifier: self.verifier.clone(),
            algorithms: provider().signature_verification_algorithms,
            refused: Mutex::new(None),
        });
        let mut config = rustls::ClientConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .dangerous()
            .with_custom_certificate_verifier(check.clone())
            .with_client_cert_resolver(Arc::new(SingleCertAndKey::from(self.identity.certified())));
        config.alpn_protocols = vec![protocol.to_vec()];
        config.resumption = resumption;
        config.enable_early_data = true;
        Ok(Target { config: Arc::new(QuicClientConfig::try_from(config)?), check })
    }
}

/// The certificate that the accepting side presented, and why it was refused.
#[derive(Debug, Clone)]
pub(crate) struct RefusedServer {
    pub(crate) error: CertificateError,
    pub(crate) identity: Option<PeerIdentity>,
}

/// The usual check of a server's certificate, which keeps what it refused, so that an error can
/// say who answered instead of the expected one.
#[derive(Debug)]
pub(crate) struct ServerCheck {
    verifier: Arc<WebPkiServerVerifier>,
    algorithms: WebPkiSupportedAlgorithms,
    refused: Mutex<Option<RefusedServer>>,
}

impl ServerCheck {
    /// Forgets what was refused on an earlier connection.
    fn forget(&self) {
        *self.refused.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// What was refused, if anything was.
    pub(crate) fn refused(&self) -> Option<RefusedServer> {
        self.refused.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl ServerCertVerifier for ServerCheck {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let result =
            self.verifier.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now);
        if let Err(rustls::Error::InvalidCertificate(error)) = &result {
            *self.refused.lock().unwrap_or_else(PoisonError::into_inner) = Some(RefusedServer {
                error: error.clone(),
                identity: PeerIdentity::from_certificate(end_entity).ok(),
            });
        }
        result
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls12_signature(message, certificate, signature, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls13_signature(message, certificate, signature, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

/// Whether a certificate was refused for the time at which it was shown.
pub(crate) fn is_out_of_time(error: &CertificateError) -> bool {
    matches!(
        error,
        CertificateError::Expired
            | CertificateError::ExpiredContext { .. }
            | CertificateError::NotValidYet
            | CertificateError::NotValidYetContext { .. }
    )
}

/// Whether a certificate was refused for the name that it is for.
pub(crate) fn is_other_name(error: &CertificateError) -> bool {
    matches!(error, CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. })
}

/// Whether a certificate was refused for what it may be used for.
pub(crate) fn is_other_purpose(error: &CertificateError) -> bool {
    matches!(error, CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. })
}
