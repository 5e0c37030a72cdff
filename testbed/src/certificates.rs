//! The certificates of a farm on one machine: an authority and every identity, in one folder.
//!
//! Must never be used for farms of several machines: here the authority's key lies beside the
//! identities.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use isochrone_transport::authority::IDENTITY_VALIDITY;
use isochrone_transport::{Authority, AuthorityError, Identity, IdentityError, Role};

/// The name of the farm, of its tenant, and of every identity but the agents'.
pub const LOCAL_NAME: &str = "local";

/// An identity that is valid for less than this is renewed before it is used.
const RENEWED_BEFORE: Duration = Duration::from_secs(24 * 60 * 60);

/// A folder of certificates with the authority that issues them.
#[derive(Debug)]
pub struct Certificates {
    directory: PathBuf,
    authority: Authority,
}

/// Why certificates could not be had.
#[derive(Debug, thiserror::Error)]
pub enum CertificatesError {
    /// The authority cannot be made, loaded or written.
    #[error("cannot use the farm's authority in {}", directory.display())]
    Authority {
        /// The folder.
        directory: PathBuf,
        /// Why.
        source: AuthorityError,
    },
    /// An identity cannot be issued or written.
    #[error("cannot issue the certificate of {role} `{name}` in {}", directory.display())]
    Issue {
        /// The folder.
        directory: PathBuf,
        /// Whose.
        role: Role,
        /// Whose.
        name: String,
        /// Why.
        source: AuthorityError,
    },
    /// An identity that was just issued cannot be read back.
    #[error("cannot load the certificate of {role} `{name}` from {}", directory.display())]
    Load {
        /// The folder.
        directory: PathBuf,
        /// Whose.
        role: Role,
        /// Whose.
        name: String,
        /// Why.
        source: IdentityError,
    },
}

impl Certificates {
    /// The certificates in `directory`; a new authority is made when the folder has none.
    ///
    /// # Errors
    /// When the folder holds half an authority, another thing, or cannot be written.
    pub fn prepare(directory: &Path) -> Result<Self, CertificatesError> {
        let failed = |source| CertificatesError::Authority { directory: directory.to_owned(), source };
        let is_there = ["authority.pem", "authority.key"].iter().any(|file| directory.join(file).exists());
        let authority = if is_there {
            Authority::load(directory).map_err(failed)?
        } else {
            let authority = Authority::create(LOCAL_NAME).map_err(failed)?;
            authority.save(directory).map_err(failed)?;
            authority
        };
        Ok(Self { directory: directory.to_owned(), authority })
    }

    /// Where the files are.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// The identity of a role and name; issued when it is not there, unusable, or about to run out.
    /// Clients and administrators are of the tenant [`LOCAL_NAME`].
    ///
    /// # Errors
    /// When the name is not allowed or a file cannot be written.
    #[expect(clippy::disallowed_methods, reason = "validity is told in calendar time")]
    pub fn identity(&self, role: Role, name: &str) -> Result<Identity, CertificatesError> {
        let load = || Identity::load_named(&self.directory, role, name);
        if let Ok(identity) = load()
            && identity.not_after() > SystemTime::now() + RENEWED_BEFORE
        {
            return Ok(identity);
        }
        let tenant = role.has_tenant().then_some(LOCAL_NAME);
        self.authority
            .issue(role, name, tenant, IDENTITY_VALIDITY)
            .and_then(|issued| issued.save_replacing(&self.directory))
            .map_err(|source| CertificatesError::Issue {
                directory: self.directory.clone(),
                role,
                name: name.to_owned(),
                source,
            })?;
        load().map_err(|source| CertificatesError::Load {
            directory: self.directory.clone(),
            role,
            name: name.to_owned(),
            source,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identities_are_issued_once_and_replaced_when_they_are_of_no_use() {
        let folder = tempfile::tempdir().unwrap();
        let certificates = Certificates::prepare(folder.path()).unwrap();
        certificates.identity(Role::Agent, "agent-1").unwrap();
        let file = folder.path().join("agent-agent-1.pem");
        let first = std::fs::read(&file).unwrap();

        let again = Certificates::prepare(folder.path()).unwrap();
        again.identity(Role::Agent, "agent-1").unwrap();
        assert_eq!(std::fs::read(&file).unwrap(), first);

        std::fs::write(&file, "no certificate").unwrap();
        let identity = again.identity(Role::Agent, "agent-1").unwrap();
        assert_eq!(identity.peer_identity().name, "agent-1");
        let client = again.identity(Role::Client, LOCAL_NAME).unwrap();
        assert_eq!(client.peer_identity().tenant.as_deref(), Some(LOCAL_NAME));
    }

    #[test]
    fn half_an_authority_is_an_error_and_is_not_overwritten() {
        let folder = tempfile::tempdir().unwrap();
        Certificates::prepare(folder.path()).unwrap();
        std::fs::remove_file(folder.path().join("authority.key")).unwrap();
        assert!(matches!(Certificates::prepare(folder.path()), Err(CertificatesError::Authority { .. })));
    }
}
