//! A farm's certificate authority: makes it, keeps it in a folder, issues identities.
//!
//! The folder holds `authority.pem`, `authority.key`, and `<role>-<name>.pem` with
//! `<role>-<name>.key` for each identity. Only the key files are secret; `authority.key` belongs
//! on no machine but the one that issues. Must never hold anything that talks to a network.

use std::fmt;
use std::fs::OpenOptions;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, KeyUsagePurpose, SanType, SerialNumber,
};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;

use crate::identity::{self, AUTHORITY_CERTIFICATE_FILE, Identity, IdentityError, file_names};
use crate::peer_identity::{NameError, PeerIdentity, Role, checked_name};
use crate::tls;

const AUTHORITY_KEY_FILE: &str = "authority.key";

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// How long identities are valid unless stated otherwise: 825 days.
pub const IDENTITY_VALIDITY: Duration = Duration::from_secs(825 * DAY.as_secs());

/// How long an authority is valid: 10 years of 365 days.
pub const AUTHORITY_VALIDITY: Duration = Duration::from_secs(3650 * DAY.as_secs());

/// Certificates are valid from this long before they are made: the clocks of a farm's machines
/// differ.
const BACKDATED: Duration = Duration::from_secs(60 * 60);

/// Bytes of a serial number; 16 random ones never meet again.
const SERIAL_BYTES: usize = 16;

/// The certificate authority of one farm, with its key.
pub struct Authority {
    farm_name: String,
    certificate_pem: String,
    issuer: Issuer<'static, KeyPair>,
    not_after: SystemTime,
}

impl Authority {
    /// Makes the authority of a new farm, in memory; valid for [`AUTHORITY_VALIDITY`].
    ///
    /// # Errors
    /// If `farm_name` is not 1 to 64 of `a-z`, `0-9`, `.`, `_` and `-`, or if no key can be made.
    pub fn create(farm_name: &str) -> Result<Self, AuthorityError> {
        let farm_name = checked_name(farm_name)?;
        let key = KeyPair::generate().map_err(AuthorityError::Make)?;
        let mut parameters = parameters(AUTHORITY_VALIDITY)?;
        parameters.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        parameters.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        parameters.distinguished_name.push(DnType::OrganizationName, farm_name);
        parameters.distinguished_name.push(DnType::CommonName, "Isochrone authority");
        let certificate = parameters.self_signed(&key).map_err(AuthorityError::Make)?;
        let not_after = identity::not_after(certificate.der()).ok_or(AuthorityError::Time)?;
        Ok(Self {
            farm_name: farm_name.to_owned(),
            certificate_pem: certificate.pem(),
            issuer: Issuer::new(parameters, key),
            not_after,
        })
    }

    /// Loads the authority that [`Authority::save`] wrote to `directory`.
    ///
    /// # Errors
    /// If a file cannot be read or holds something else; the error names the file.
    pub fn load(directory: &Path) -> Result<Self, AuthorityError> {
        let certificate_path = directory.join(AUTHORITY_CERTIFICATE_FILE);
        let key_path = directory.join(AUTHORITY_KEY_FILE);
        let certificate_pem = read(&certificate_path)?;
        let key_pem = read(&key_path)?;
        let unusable = || AuthorityError::Unusable { path: certificate_path.clone() };
        let certificate =
            CertificateDer::from_pem_slice(certificate_pem.as_bytes()).map_err(|_| unusable())?;
        let key = KeyPair::from_pem(&key_pem)
            .map_err(|source| AuthorityError::Key { path: key_path.clone(), source })?;
        let private = PrivateKeyDer::from_pem_slice(key_pem.as_bytes())
            .map_err(|_| AuthorityError::Unusable { path: key_path.clone() })?;
        CertifiedKey::from_der(vec![certificate.clone()], private, &tls::provider()).map_err(|source| {
            AuthorityError::KeyMismatch {
                certificate_path: certificate_path.clone(),
                key_path: key_path.clone(),
                source,
            }
        })?;
        let farm_name = farm_name(&certificate).ok_or_else(unusable)?;
        let not_after = identity::not_after(&certificate).ok_or_else(unusable)?;
        let issuer = Issuer::from_ca_cert_der(&certificate, key).map_err(AuthorityError::Make)?;
        Ok(Self { farm_name, certificate_pem, issuer, not_after })
    }

    /// Writes `authority.pem` and `authority.key` (readable by the owner only) to `directory`,
    /// which is made if it is not there.
    ///
    /// # Errors
    /// If there is an authority already, or a file cannot be written.
    pub fn save(&self, directory: &Path) -> Result<(), AuthorityError> {
        make_directory(directory)?;
        let key_pem = self.issuer.key().serialize_pem();
        write_new(&directory.join(AUTHORITY_KEY_FILE), &key_pem, Secrecy::Secret)?;
        write_new(&directory.join(AUTHORITY_CERTIFICATE_FILE), &self.certificate_pem, Secrecy::Public)
    }

    /// Issues a certificate with a new key, valid from an hour ago until `validity` from now, but
    /// not longer than the authority itself. [`IDENTITY_VALIDITY`] is the usual validity.
    ///
    /// Scheduler and agents can accept and dial; clients and admins can only dial.
    ///
    /// # Errors
    /// If a name is not allowed or the tenant does not suit the role (see
    /// [`PeerIdentity::new`]), or if no certificate can be made.
    #[expect(clippy::disallowed_methods, reason = "validity is told in calendar time")]
    pub fn issue(
        &self,
        role: Role,
        name: &str,
        tenant: Option<&str>,
        validity: Duration,
    ) -> Result<IssuedIdentity, AuthorityError> {
        let peer = PeerIdentity::new(role, name, tenant)?;
        let left = self
            .not_after
            .duration_since(SystemTime::now())
            .map_err(|_| AuthorityError::Expired { farm_name: self.farm_name.clone() })?;
        let mut parameters = parameters(validity.min(left))?;
        let text = |text: String| text.try_into().map_err(AuthorityError::Make);
        parameters.subject_alt_names =
            vec![SanType::URI(text(peer.uri())?), SanType::DnsName(text(role.server_name().to_owned())?)];
        parameters.is_ca = IsCa::ExplicitNoCa;
        parameters.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        parameters.extended_key_usages = match role {
            Role::Scheduler | Role::Agent => {
                vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth]
            }
            Role::Client | Role::Admin => vec![ExtendedKeyUsagePurpose::ClientAuth],
        };
        parameters.use_authority_key_identifier_extension = true;
        parameters.distinguished_name.push(DnType::CommonName, peer.to_string());
        let key = KeyPair::generate().map_err(AuthorityError::Make)?;
        let certificate = parameters.signed_by(&key, &self.issuer).map_err(AuthorityError::Make)?;
        Ok(IssuedIdentity {
            not_after: identity::not_after(certificate.der()).ok_or(AuthorityError::Time)?,
            peer,
            certificate_pem: certificate.pem(),
            key_pem: key.serialize_pem(),
            authority_pem: self.certificate_pem.clone(),
        })
    }

    /// The name of the farm.
    #[must_use]
    pub fn farm_name(&self) -> &str {
        &self.farm_name
    }

    /// The authority's certificate in PEM; not secret.
    #[must_use]
    pub fn certificate_pem(&self) -> &str {
        &self.certificate_pem
    }

    /// Until when the authority and all that it issues is valid.
    #[must_use]
    pub fn not_after(&self) -> SystemTime {
        self.not_after
    }
}

impl fmt::Debug for Authority {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Authority")
            .field("farm_name", &self.farm_name)
            .field("not_after", &self.not_after)
            .finish_non_exhaustive()
    }
}

/// A newly issued certificate with its key, not yet written anywhere.
pub struct IssuedIdentity {
    peer: PeerIdentity,
    not_after: SystemTime,
    certificate_pem: String,
    key_pem: String,
    authority_pem: String,
}

impl IssuedIdentity {
    /// Writes `<role>-<name>.pem`, `<role>-<name>.key` (readable by the owner only) and, if it is
    /// not there, `authority.pem` to `directory`, which is made if it is not there.
    ///
    /// # Errors
    /// If there is such an identity already, if `authority.pem` there is another authority's, or
    /// if a file cannot be written.
    pub fn save(&self, directory: &Path) -> Result<(), AuthorityError> {
        self.write(directory, write_new)
    }

    /// As [`IssuedIdentity::save`], but takes the place of an identity that is there: a renewal.
    ///
    /// # Errors
    /// If `authority.pem` there is another authority's, or if a file cannot be written.
    pub fn save_replacing(&self, directory: &Path) -> Result<(), AuthorityError> {
        self.write(directory, replace)
    }

    fn write(
        &self,
        directory: &Path,
        write: fn(&Path, &str, Secrecy) -> Result<(), AuthorityError>,
    ) -> Result<(), AuthorityError> {
        make_directory(directory)?;
        let authority_path = directory.join(AUTHORITY_CERTIFICATE_FILE);
        if authority_path.exists() {
            if read(&authority_path)? != self.authority_pem {
                return Err(AuthorityError::OtherFarm { path: authority_path });
            }
        } else {
            write_new(&authority_path, &self.authority_pem, Secrecy::Public)?;
        }
        let (certificate_file, key_file) = file_names(self.peer.role, &self.peer.name);
        write(&directory.join(key_file), &self.key_pem, Secrecy::Secret)?;
        write(&directory.join(certificate_file), &self.certificate_pem, Secrecy::Public)
    }

    /// The identity for use in this process.
    ///
    /// # Errors
    /// Never for what [`Authority::issue`] made; the parts are checked all the same.
    pub fn identity(&self) -> Result<Identity, IdentityError> {
        Identity::from_pem(&self.certificate_pem, &self.key_pem, &self.authority_pem)
    }

    /// Whose certificate it is.
    #[must_use]
    pub fn peer_identity(&self) -> &PeerIdentity {
        &self.peer
    }

    /// Until when it is valid.
    #[must_use]
    pub fn not_after(&self) -> SystemTime {
        self.not_after
    }

    /// The certificate in PEM; not secret.
    #[must_use]
    pub fn certificate_pem(&self) -> &str {
        &self.certificate_pem
    }

    /// The key in PEM. Secret.
    #[must_use]
    pub fn key_pem(&self) -> &str {
        &self.key_pem
    }
}

impl fmt::Debug for IssuedIdentity {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("IssuedIdentity")
            .field("peer", &self.peer)
            .field("not_after", &self.not_after)
            .finish_non_exhaustive()
    }
}

/// What all certificates of a farm have in common.
#[expect(clippy::disallowed_methods, reason = "validity is told in calendar time")]
fn parameters(validity: Duration) -> Result<CertificateParams, AuthorityError> {
    let epoch = rcgen::date_time_ymd(1970, 1, 1);
    let since_epoch =
        SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_err(|_| AuthorityError::Time)?;
    // Certificates count in seconds.
    let seconds = |time: Duration| Duration::from_secs(time.as_secs());
    let mut parameters = CertificateParams::default();
    parameters.not_before = epoch + seconds(since_epoch.saturating_sub(BACKDATED));
    parameters.not_after = epoch + seconds(since_epoch + validity.min(AUTHORITY_VALIDITY));
    parameters.serial_number = Some(random_serial()?);
    parameters.distinguished_name = DistinguishedName::new();
    Ok(parameters)
}

fn random_serial() -> Result<SerialNumber, AuthorityError> {
    let mut bytes = [0; SERIAL_BYTES];
    tls::provider().secure_random.fill(&mut bytes).map_err(|_| AuthorityError::Random)?;
    // A serial number is positive and has no leading zeros.
    bytes[0] = bytes[0] & 0x7f | 0x40;
    Ok(SerialNumber::from_slice(&bytes))
}

/// The farm's name as the authority's certificate (DER) states it.
fn farm_name(certificate: &[u8]) -> Option<String> {
    let (_, certificate) = x509_parser::parse_x509_certificate(certificate).ok()?;
    if !certificate.is_ca() {
        return None;
    }
    let name = certificate.subject().iter_organization().next()?;
    checked_name(name.as_str().ok()?).ok().map(str::to_owned)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Secrecy {
    Public,
    Secret,
}

fn read(path: &Path) -> Result<String, AuthorityError> {
    std::fs::read_to_string(path).map_err(|source| AuthorityError::Read { path: path.to_owned(), source })
}

fn make_directory(directory: &Path) -> Result<(), AuthorityError> {
    std::fs::create_dir_all(directory)
        .map_err(|source| AuthorityError::Write { path: directory.to_owned(), source })
}

/// Writes a file that must not be there yet.
fn write_new(path: &Path, text: &str, secrecy: Secrecy) -> Result<(), AuthorityError> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt;
        options.mode(match secrecy {
            Secrecy::Public => 0o644,
            Secrecy::Secret => 0o600,
        });
    }
    #[cfg(not(unix))]
    let _ = secrecy;
    let result = options.open(path).and_then(|mut file| {
        file.write_all(text.as_bytes())?;
        file.sync_all()
    });
    result.map_err(|source| match source.kind() {
        io::ErrorKind::AlreadyExists => AuthorityError::AlreadyThere { path: path.to_owned() },
        _ => AuthorityError::Write { path: path.to_owned(), source },
    })
}

/// Writes a file in one step, in place of one that may be there.
fn replace(path: &Path, text: &str, secrecy: Secrecy) -> Result<(), AuthorityError> {
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(".new");
    let temporary = PathBuf::from(temporary);
    // Left over from a replacement that was cut short, if it is there.
    let _ = std::fs::remove_file(&temporary);
    write_new(&temporary, text, secrecy)?;
    std::fs::rename(&temporary, path)
        .map_err(|source| AuthorityError::Write { path: path.to_owned(), source })
}

/// Why an authority cannot be made, loaded or saved, or cannot issue.
#[derive(Debug, thiserror::Error)]
pub enum AuthorityError {
    /// A name is not allowed.
    #[error("name not allowed")]
    Name(#[from] NameError),
    /// A file cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// A file cannot be written.
    #[error("cannot write {}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// A file is there already.
    #[error("{} is there already; remove it or choose another place", path.display())]
    AlreadyThere {
        /// The file.
        path: PathBuf,
    },
    /// The folder belongs to another farm.
    #[error("{} is the certificate of another farm", path.display())]
    OtherFarm {
        /// The file.
        path: PathBuf,
    },
    /// A file holds no certificate or key of an authority.
    #[error("{} is not a file of an Isochrone authority", path.display())]
    Unusable {
        /// The file.
        path: PathBuf,
    },
    /// A file holds no key that can sign.
    #[error("{} is not the key of an authority", path.display())]
    Key {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: rcgen::Error,
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
    /// The authority has expired.
    #[error("the authority of farm {farm_name} has expired; make a new one and issue anew")]
    Expired {
        /// The farm.
        farm_name: String,
    },
    /// A key or certificate cannot be made.
    #[error("cannot make the certificate")]
    Make(#[source] rcgen::Error),
    /// The operating system gives no random numbers.
    #[error("no random numbers to be had")]
    Random,
    /// This machine's clock stands before 1970 or far beyond our days.
    #[error("this machine's clock is far off")]
    Time,
}
