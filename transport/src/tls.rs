//! How TLS is set up: version 1.3 only, certificates on both sides, no early data.
//!
//! Must never hold a way around a certificate check.

use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms, ring};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::sign::SingleCertAndKey;
use rustls::{CertificateError, DigitallySignedStruct, SignatureScheme};

use crate::identity::Identity;
use crate::peer_identity::PeerIdentity;

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

/// The accepting side's configuration for `protocol`: asks for a certificate of the farm's authority.
pub(crate) fn server(identity: &Identity, protocol: &[u8]) -> Result<QuicServerConfig, SetupError> {
    let verifier = WebPkiClientVerifier::builder_with_provider(identity.roots(), provider()).build()?;
    let mut config = rustls::ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_client_cert_verifier(verifier)
        .with_cert_resolver(Arc::new(SingleCertAndKey::from(identity.certified())));
    config.alpn_protocols = vec![protocol.to_vec()];
    // A resumed session would skip the check of the certificate, and with it its expiry.
    config.send_tls13_tickets = 0;
    Ok(QuicServerConfig::try_from(config)?)
}

/// What the dialling side needs for each connection, made once for each endpoint.
#[derive(Debug)]
pub(crate) struct Dialling {
    identity: Identity,
    verifier: Arc<WebPkiServerVerifier>,
}

impl Dialling {
    pub(crate) fn new(identity: &Identity) -> Result<Self, SetupError> {
        Ok(Self {
            identity: identity.clone(),
            verifier: WebPkiServerVerifier::builder_with_provider(identity.roots(), provider()).build()?,
        })
    }

    /// The configuration for one connection that speaks `protocol`, and the check through which its outcome can be
    /// seen.
    pub(crate) fn client(&self, protocol: &[u8]) -> Result<(QuicClientConfig, Arc<ServerCheck>), SetupError> {
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
        config.resumption = rustls::client::Resumption::disabled();
        Ok((QuicClientConfig::try_from(config)?, check))
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
