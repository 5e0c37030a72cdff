//! Who a process is: its role, name and tenant, and how a certificate states them.
//!
//! Must never hold keys or files.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use x509_parser::extensions::GeneralName;

/// The scheme of the URI in which a certificate states an identity.
const URI_PREFIX: &str = "isochrone://";

/// Longest name of a process, tenant or farm, in bytes: a DNS label's length, with room in logs.
const NAME_BYTES_MAX: usize = 64;

/// What a process is in the farm; decides whom it may dial and who may dial it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Places tasks on slots; one for each farm.
    Scheduler,
    /// Runs tasks on the devices of one host.
    Agent,
    /// Enqueues commands on behalf of a tenant.
    Client,
    /// Looks at and operates the farm on behalf of a tenant.
    Admin,
}

impl Role {
    /// Every role, in the order of declaration.
    pub const ALL: [Self; 4] = [Self::Scheduler, Self::Agent, Self::Client, Self::Admin];

    /// The role as it stands in certificates and file names.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Scheduler => "scheduler",
            Self::Agent => "agent",
            Self::Client => "client",
            Self::Admin => "admin",
        }
    }

    /// Whether identities of this role belong to a tenant.
    #[must_use]
    pub const fn has_tenant(self) -> bool {
        match self {
            Self::Scheduler | Self::Agent => false,
            Self::Client | Self::Admin => true,
        }
    }

    /// The DNS name that certificates of this role carry, and that the dialling side expects.
    pub(crate) const fn server_name(self) -> &'static str {
        match self {
            Self::Scheduler => "scheduler.isochrone",
            Self::Agent => "agent.isochrone",
            Self::Client => "client.isochrone",
            Self::Admin => "admin.isochrone",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(self.as_str())
    }
}

impl FromStr for Role {
    type Err = RoleParseError;

    fn from_str(text: &str) -> Result<Self, RoleParseError> {
        Self::ALL.into_iter().find(|role| role.as_str() == text).ok_or(RoleParseError)
    }
}

/// A text is not a role.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a role (scheduler, agent, client or admin)")]
pub struct RoleParseError;

/// Who a process is, as its certificate states it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct PeerIdentity {
    /// What the process is in the farm.
    pub role: Role,
    /// Its name: 1 to 64 of `a-z`, `0-9`, `.`, `_` and `-`.
    pub name: String,
    /// The tenant that it belongs to (same letters): `Some` for clients and admins, else `None`.
    pub tenant: Option<String>,
}

impl PeerIdentity {
    /// An identity with checked names.
    ///
    /// # Errors
    /// If a name holds other letters or has another length than allowed, or if the role needs a
    /// tenant and none is given, or the other way round.
    pub fn new(role: Role, name: &str, tenant: Option<&str>) -> Result<Self, NameError> {
        match (role.has_tenant(), tenant) {
            (true, None) => return Err(NameError::TenantMissing { role }),
            (false, Some(_)) => return Err(NameError::TenantSurplus { role }),
            (true, Some(_)) | (false, None) => {}
        }
        Ok(Self {
            role,
            name: checked_name(name)?.to_owned(),
            tenant: tenant.map(checked_name).transpose()?.map(str::to_owned),
        })
    }

    /// The URI that states this identity in a certificate.
    pub(crate) fn uri(&self) -> String {
        format!("{URI_PREFIX}{self}")
    }

    /// Reads the identity that a certificate (DER) states. Does not verify who signed it.
    ///
    /// # Errors
    /// If the certificate states none, more than one, or one that is not exactly as issued.
    pub fn from_certificate(certificate: &[u8]) -> Result<Self, IdentityParseError> {
        let (rest, certificate) = x509_parser::parse_x509_certificate(certificate)
            .map_err(|_| IdentityParseError::NotACertificate)?;
        if !rest.is_empty() {
            return Err(IdentityParseError::NotACertificate);
        }
        let names = certificate
            .subject_alternative_name()
            .map_err(|_| IdentityParseError::NotACertificate)?
            .ok_or(IdentityParseError::Missing)?;
        let mut uri = None;
        let mut server_name = None;
        for name in &names.value.general_names {
            let (slot, text) = match name {
                GeneralName::URI(text) => (&mut uri, *text),
                GeneralName::DNSName(text) => (&mut server_name, *text),
                _ => return Err(IdentityParseError::OtherName),
            };
            if slot.replace(text).is_some() {
                return Err(IdentityParseError::Several);
            }
        }
        let identity = Self::from_uri(uri.ok_or(IdentityParseError::Missing)?)?;
        if server_name != Some(identity.role.server_name()) {
            return Err(IdentityParseError::ServerName { role: identity.role });
        }
        Ok(identity)
    }

    fn from_uri(uri: &str) -> Result<Self, IdentityParseError> {
        let malformed = || IdentityParseError::Malformed { uri: uri.chars().take(200).collect() };
        let path = uri.strip_prefix(URI_PREFIX).ok_or_else(malformed)?;
        let mut parts = path.split('/');
        let role: Role = parts.next().and_then(|role| role.parse().ok()).ok_or_else(malformed)?;
        let tenant = if role.has_tenant() { Some(parts.next().ok_or_else(malformed)?) } else { None };
        let name = parts.next().ok_or_else(malformed)?;
        if parts.next().is_some() {
            return Err(malformed());
        }
        Self::new(role, name, tenant).map_err(|_| malformed())
    }
}

impl fmt::Display for PeerIdentity {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { role, name, tenant } = self;
        match tenant {
            Some(tenant) => write!(formatter, "{role}/{tenant}/{name}"),
            None => write!(formatter, "{role}/{name}"),
        }
    }
}

/// Gives `name` back if it may name a process, tenant or farm.
pub(crate) fn checked_name(name: &str) -> Result<&str, NameError> {
    let allowed =
        |letter: u8| letter.is_ascii_lowercase() || letter.is_ascii_digit() || b"._-".contains(&letter);
    if (1..=NAME_BYTES_MAX).contains(&name.len()) && name.bytes().all(allowed) {
        Ok(name)
    } else {
        Err(NameError::Letters { name: name.chars().take(2 * NAME_BYTES_MAX).collect() })
    }
}

/// Why names are not those of an identity.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// The name has other letters or another length than allowed.
    #[error("name {name:?} is not 1 to 64 letters out of a-z, 0-9, '.', '_' and '-'")]
    Letters {
        /// The name as given, cut to 128 letters.
        name: String,
    },
    /// The role belongs to a tenant and none is given.
    #[error("an identity of role {role} needs a tenant")]
    TenantMissing {
        /// The role.
        role: Role,
    },
    /// The role belongs to no tenant and one is given.
    #[error("an identity of role {role} has no tenant")]
    TenantSurplus {
        /// The role.
        role: Role,
    },
}

/// Why a certificate is not one of a process of a farm.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IdentityParseError {
    /// The bytes are no certificate.
    #[error("not a well-formed certificate")]
    NotACertificate,
    /// No identity is stated.
    #[error("certificate states no Isochrone identity")]
    Missing,
    /// More than one identity is stated.
    #[error("certificate states more than one identity")]
    Several,
    /// A name of another kind is stated (an address, say).
    #[error("certificate states a name that is neither an identity nor a role's DNS name")]
    OtherName,
    /// What is stated is not an identity as this farm issues them.
    #[error("certificate states {uri:?}, which is not an Isochrone identity")]
    Malformed {
        /// What is stated, cut to 200 letters.
        uri: String,
    },
    /// The DNS name is not the one of the role.
    #[error("certificate of role {role} does not carry that role's DNS name")]
    ServerName {
        /// The role that the certificate states.
        role: Role,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identities_read_back_from_their_uri() {
        for (role, tenant) in [
            (Role::Scheduler, None),
            (Role::Agent, None),
            (Role::Client, Some("physics")),
            (Role::Admin, Some("operations")),
        ] {
            let identity = PeerIdentity::new(role, "a-0.b_c", tenant).expect("valid");
            assert_eq!(PeerIdentity::from_uri(&identity.uri()), Ok(identity));
        }
    }

    #[test]
    fn uris_are_read_strictly() {
        for uri in [
            "",
            "isochrone://",
            "isochrone://agent",
            "isochrone://agent/",
            "isochrone://agent/A",
            "isochrone://agent/a/b",
            "isochrone://agent/a?b",
            "isochrone://Agent/a",
            "isochrone://client/a",
            "isochrone://client/a/b/c",
            "isochrone://client//b",
            "isochrone://worker/a",
            "https://agent/a",
        ] {
            assert!(
                matches!(PeerIdentity::from_uri(uri), Err(IdentityParseError::Malformed { .. })),
                "{uri}"
            );
        }
    }

    #[test]
    fn names_and_tenants_are_checked() {
        let long = "x".repeat(65);
        for name in ["", "A", "a b", "a/b", "ä", "..\\", long.as_str()] {
            assert!(PeerIdentity::new(Role::Agent, name, None).is_err(), "{name}");
        }
        assert_eq!(
            PeerIdentity::new(Role::Client, "a", None),
            Err(NameError::TenantMissing { role: Role::Client })
        );
        assert_eq!(
            PeerIdentity::new(Role::Agent, "a", Some("t")),
            Err(NameError::TenantSurplus { role: Role::Agent })
        );
    }

    #[test]
    fn roles_read_back_what_they_print() {
        for role in Role::ALL {
            assert_eq!(role.to_string().parse(), Ok(role));
        }
        assert_eq!("Agent".parse::<Role>(), Err(RoleParseError));
    }

    /// What a certificate with these names is read as.
    fn read(uris: &[&str], server_names: &[&str]) -> Result<PeerIdentity, IdentityParseError> {
        let mut parameters = rcgen::CertificateParams::default();
        let text = |name: &&str| (*name).try_into().expect("ASCII");
        let uris = uris.iter().map(|uri| rcgen::SanType::URI(text(uri)));
        let server_names = server_names.iter().map(|name| rcgen::SanType::DnsName(text(name)));
        parameters.subject_alt_names = uris.chain(server_names).collect();
        let key = rcgen::KeyPair::generate().expect("key");
        let certificate = parameters.self_signed(&key).expect("certificate");
        PeerIdentity::from_certificate(certificate.der())
    }

    #[test]
    fn certificates_state_exactly_one_identity() {
        let agent = "isochrone://agent/a";
        let identity = read(&[agent], &["agent.isochrone"]).expect("one identity");
        assert_eq!(identity.to_string(), "agent/a");
        assert_eq!(read(&[], &[]), Err(IdentityParseError::Missing));
        assert_eq!(read(&[], &["agent.isochrone"]), Err(IdentityParseError::Missing));
        for uris in [[agent, agent], [agent, "isochrone://admin/t/a"], [agent, "https://example"]] {
            assert_eq!(read(&uris, &["agent.isochrone"]), Err(IdentityParseError::Several));
        }
        let wrong_name = Err(IdentityParseError::ServerName { role: Role::Agent });
        assert_eq!(read(&[agent], &[]), wrong_name);
        assert_eq!(read(&[agent], &["scheduler.isochrone"]), wrong_name);
        let two_names = ["agent.isochrone", "scheduler.isochrone"];
        assert_eq!(read(&[agent], &two_names), Err(IdentityParseError::Several));
        assert_eq!(
            PeerIdentity::from_certificate(b"no certificate"),
            Err(IdentityParseError::NotACertificate)
        );
    }
}
