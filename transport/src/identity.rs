//! What a process needs to prove who it is: its certificate, its key, and its farm's authority.
//!
//! Must never hold the authority's own key (that is in [`crate::authority`]), nor print a key.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rustls::RootCertStore;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::sign::CertifiedKey;

use crate::peer_identity::{IdentityParseError, PeerIdentity, Role};
use crate::tls;

/// The name of the authority's certificate in a folder of certificates.
pub(crate) const AUTHORITY_CERTIFICATE_FILE: &str = "authority.pem";

/// The file names of an identity's certificate and key in a folder of certificates.
pub(crate) fn file_names(role: Role, name: &str) -> (String, String) {
    (format!("{role}-{name}.pem"), format!("{role}-{name}.key"))
}

/// A process's certificate with its key, and the authority that it trusts. Cheap to clone.
#[derive(Clone)]
pub struct Identity {
    shared: Arc<Shared>,
}

struct Shared {
    peer: PeerIdentity,
    not_after: SystemTime,
    certified: Arc<CertifiedKey>,
    roots: Arc<RootCertStore>,
}

impl Identity {
    /// Loads an identity from PEM files.
    ///
    /// # Errors
    /// If a file cannot be read or holds something else, if the key is not the certificate's, or
    /// if the certificate is not one of this authority or is not valid now. Each error names the
    /// file.
    pub fn load(
        certificate_path: &Path,
        key_path: &Path,
        authority_path: &Path,
    ) -> Result<Self, IdentityError> {
        let certificate = certificate_from(read(certificate_path)?, certificate_path)?;
        let key = key_from(read(key_path)?, key_path)?;
        let authority = certificate_from(read(authority_path)?, authority_path)?;
        warn_of_readable_key(key_path);
        let paths = Paths { certificate: certificate_path, key: key_path, authority: authority_path };
        let identity = Self::new(certificate, key, authority, &paths)?;
        identity.check_chain(&paths)?;
        Ok(identity)
    }

    /// Loads the identity of a role and name from a folder that
    /// [`IssuedIdentity::save`](crate::IssuedIdentity::save) wrote it to.
    ///
    /// # Errors
    /// As [`Identity::load`].
    pub fn load_named(directory: &Path, role: Role, name: &str) -> Result<Self, IdentityError> {
        let (certificate_file, key_file) = file_names(role, name);
        Self::load(
            &directory.join(certificate_file),
            &directory.join(key_file),
            &directory.join(AUTHORITY_CERTIFICATE_FILE),
        )
    }

    /// An identity from PEM texts. Does not check whether it is valid now.
    pub(crate) fn from_pem(certificate: &str, key: &str, authority: &str) -> Result<Self, IdentityError> {
        let paths = Paths {
            certificate: Path::new("(issued certificate)"),
            key: Path::new("(issued key)"),
            authority: Path::new("(authority certificate)"),
        };
        Self::new(
            certificate_from(certificate.into(), paths.certificate)?,
            key_from(key.into(), paths.key)?,
            certificate_from(authority.into(), paths.authority)?,
            &paths,
        )
    }

    fn new(
        certificate: CertificateDer<'static>,
        key: PrivateKeyDer<'static>,
        authority: CertificateDer<'static>,
        paths: &Paths<'_>,
    ) -> Result<Self, IdentityError> {
        let peer = PeerIdentity::from_certificate(&certificate)
            .map_err(|source| IdentityError::Stated { path: paths.certificate.to_owned(), source })?;
        let not_after = not_after(&certificate).ok_or_else(|| IdentityError::Stated {
            path: paths.certificate.to_owned(),
            source: IdentityParseError::NotACertificate,
        })?;
        let certified =
            CertifiedKey::from_der(vec![certificate], key, &tls::provider()).map_err(|source| {
                IdentityError::KeyMismatch {
                    certificate_path: paths.certificate.to_owned(),
                    key_path: paths.key.to_owned(),
                    source,
                }
            })?;
        let mut roots = RootCertStore::empty();
        roots
            .add(authority)
            .map_err(|source| IdentityError::Authority { path: paths.authority.to_owned(), source })?;
        Ok(Self {
            shared: Arc::new(Shared {
                peer,
                not_after,
                certified: Arc::new(certified),
                roots: Arc::new(roots),
            }),
        })
    }

    /// Refuses a certificate of another authority, or one that is not valid now: here the file
    /// can be named, in a handshake only the peer.
    fn check_chain(&self, paths: &Paths<'_>) -> Result<(), IdentityError> {
        let other_authority = |source| IdentityError::OtherAuthority {
            certificate_path: paths.certificate.to_owned(),
            authority_path: paths.authority.to_owned(),
            source,
        };
        let verifier = WebPkiClientVerifier::builder_with_provider(self.roots(), tls::provider())
            .build()
            .map_err(|error| other_authority(rustls::Error::General(error.to_string())))?;
        let Some(certificate) = self.shared.certified.cert.first() else {
            return Ok(());
        };
        match verifier.verify_client_cert(certificate, &[], UnixTime::now()) {
            Ok(_) => Ok(()),
            Err(source) => Err(match &source {
                rustls::Error::InvalidCertificate(error) if tls::is_out_of_time(error) => {
                    IdentityError::NotValidNow { path: paths.certificate.to_owned(), source }
                }
                _ => other_authority(source),
            }),
        }
    }

    /// Who this identity is.
    #[must_use]
    pub fn peer_identity(&self) -> &PeerIdentity {
        &self.shared.peer
    }

    /// Until when the certificate is valid.
    #[must_use]
    pub fn not_after(&self) -> SystemTime {
        self.shared.not_after
    }

    pub(crate) fn certified(&self) -> Arc<CertifiedKey> {
        self.shared.certified.clone()
    }

    pub(crate) fn roots(&self) -> Arc<RootCertStore> {
        self.shared.roots.clone()
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Identity")
            .field("peer", &self.shared.peer)
            .field("not_after", &self.shared.not_after)
            .finish_non_exhaustive()
    }
}

/// Where the parts of an identity came from, for errors.
struct Paths<'a> {
    certificate: &'a Path,
    key: &'a Path,
    authority: &'a Path,
}

fn read(path: &Path) -> Result<Vec<u8>, IdentityError> {
    std::fs::read(path).map_err(|source| IdentityError::Read { path: path.to_owned(), source })
}

#[expect(clippy::needless_pass_by_value, reason = "takes what was read, so that keys are not kept around")]
fn certificate_from(pem: Vec<u8>, path: &Path) -> Result<CertificateDer<'static>, IdentityError> {
    let pem_error = |source| IdentityError::Pem { path: path.to_owned(), source };
    let mut certificates = CertificateDer::pem_slice_iter(&pem);
    let certificate = certificates.next().unwrap_or(Err(pem::Error::NoItemsFound)).map_err(pem_error)?;
    match certificates.next() {
        None => Ok(certificate),
        Some(_) => Err(IdentityError::SeveralCertificates { path: path.to_owned() }),
    }
}

#[expect(clippy::needless_pass_by_value, reason = "takes what was read, so that keys are not kept around")]
fn key_from(pem: Vec<u8>, path: &Path) -> Result<PrivateKeyDer<'static>, IdentityError> {
    PrivateKeyDer::from_pem_slice(&pem).map_err(|source| IdentityError::Pem { path: path.to_owned(), source })
}

/// Until when a certificate (DER) is valid.
pub(crate) fn not_after(certificate: &[u8]) -> Option<SystemTime> {
    let (_, certificate) = x509_parser::parse_x509_certificate(certificate).ok()?;
    let seconds = u64::try_from(certificate.validity().not_after.timestamp()).ok()?;
    SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(seconds))
}

#[cfg(unix)]
fn warn_of_readable_key(path: &Path) {
    use std::os::unix::fs::PermissionsExt;
    if let Ok(metadata) = std::fs::metadata(path)
        && metadata.permissions().mode() & 0o077 != 0
    {
        tracing::warn!(path = %path.display(), "private key can be read by other users");
    }
}

#[cfg(not(unix))]
fn warn_of_readable_key(_path: &Path) {}

/// Why an identity cannot be loaded.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// A file cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// A file does not hold what it should, in PEM.
    #[error("{} does not hold the certificate or key that it should", path.display())]
    Pem {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: pem::Error,
    },
    /// A file holds more than one certificate.
    #[error("{} holds more than one certificate", path.display())]
    SeveralCertificates {
        /// The file.
        path: PathBuf,
    },
    /// The certificate is not one of a process of a farm.
    #[error("{} is not the certificate of an Isochrone process", path.display())]
    Stated {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: IdentityParseError,
    },
    /// The key is not the certificate's.
    #[error("{} is not the key of {}", key_path.display(), certificate_path.display())]
    KeyMismatch {
        /// The certificate's file.
        certificate_path: PathBuf,
        /// The key's file.
        key_path: PathBuf,
        /// What is wrong.
        source: rustls::Error,
    },
    /// The authority's certificate cannot be used as one.
    #[error("{} is not the certificate of an authority", path.display())]
    Authority {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: rustls::Error,
    },
    /// The certificate was issued by another authority.
    #[error(
        "{} was not issued by the authority {}; have a certificate issued for this farm",
        certificate_path.display(),
        authority_path.display()
    )]
    OtherAuthority {
        /// The certificate's file.
        certificate_path: PathBuf,
        /// The authority's file.
        authority_path: PathBuf,
        /// What the verification said.
        source: rustls::Error,
    },
    /// The certificate has expired or is not valid yet.
    #[error(
        "{} is not valid at this time; issue a new certificate or set this machine's clock",
        path.display()
    )]
    NotValidNow {
        /// The file.
        path: PathBuf,
        /// From and until when it is valid.
        source: rustls::Error,
    },
}
