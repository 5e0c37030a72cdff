//! How to reach a farm: the scheduler's address, and who asks.
//!
//! Must never hold a connection.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use isochrone_transport::{Identity, Role};

use crate::error::ConnectError;

/// How to reach a farm.
#[derive(Clone, Debug)]
pub struct ConnectOptions {
    pub(crate) scheduler: String,
    pub(crate) identity: Identity,
    pub(crate) scheduler_name: Option<String>,
    pub(crate) connect_timeout: Duration,
    pub(crate) answer_timeout: Duration,
}

impl ConnectOptions {
    /// The scheduler at `scheduler` (`host:port`, names are resolved), asked by `identity`.
    #[must_use]
    pub fn new(scheduler: impl Into<String>, identity: Identity) -> Self {
        Self {
            scheduler: scheduler.into(),
            identity,
            scheduler_name: None,
            connect_timeout: Duration::from_secs(10),
            answer_timeout: Duration::from_secs(10),
        }
    }

    /// With the identity `client-NAME.pem` and `client-NAME.key` of a folder that holds
    /// `authority.pem` too.
    ///
    /// # Errors
    /// [`ConnectError::Identity`] when the files are not there or do not fit each other.
    pub fn from_folder(
        scheduler: impl Into<String>,
        folder: impl AsRef<Path>,
        name: &str,
    ) -> Result<Self, ConnectError> {
        Self::from_folder_as(Role::Client, scheduler, folder, name)
    }

    /// As [`ConnectOptions::from_folder`], with the identity `ROLE-NAME.pem`: administrators
    /// ([`Role::Admin`]) may stop a farm.
    ///
    /// # Errors
    /// [`ConnectError::Identity`] when the files are not there or do not fit each other.
    pub fn from_folder_as(
        role: Role,
        scheduler: impl Into<String>,
        folder: impl AsRef<Path>,
        name: &str,
    ) -> Result<Self, ConnectError> {
        let folder = folder.as_ref();
        let identity = Identity::load_named(folder, role, name).map_err(|source| ConnectError::Identity {
            folder: folder.to_owned(),
            source: Box::new(source),
        })?;
        Ok(Self::new(scheduler, identity))
    }

    /// From the environment: `ISOCHRONE_SCHEDULER` (default `127.0.0.1:7447`),
    /// `ISOCHRONE_CERTIFICATES` (a folder as for [`ConnectOptions::from_folder`], default
    /// `.isochrone/certificates`) and `ISOCHRONE_NAME` (default `local`).
    ///
    /// # Errors
    /// [`ConnectError::Identity`] when the folder does not hold the files.
    pub fn from_environment() -> Result<Self, ConnectError> {
        let value = |name: &str, default: &str| {
            std::env::var(name).ok().filter(|value| !value.is_empty()).unwrap_or(default.to_owned())
        };
        Self::from_folder(
            value("ISOCHRONE_SCHEDULER", "127.0.0.1:7447"),
            value("ISOCHRONE_CERTIFICATES", ".isochrone/certificates"),
            &value("ISOCHRONE_NAME", "local"),
        )
    }

    /// The name that the scheduler's certificate must carry; default any scheduler of the farm.
    #[must_use]
    pub fn scheduler_name(mut self, name: impl Into<String>) -> Self {
        self.scheduler_name = Some(name.into());
        self
    }

    /// How long to wait for a connection and for a session; default 10 s.
    #[must_use]
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.connect_timeout = timeout;
        self
    }

    /// How long to wait for the answer to a question; default 10 s.
    #[must_use]
    pub fn answer_timeout(mut self, timeout: Duration) -> Self {
        self.answer_timeout = timeout;
        self
    }

    /// The addresses that the scheduler's name stands for, in order of preference.
    pub(crate) async fn addresses(&self) -> Result<Vec<SocketAddr>, ConnectError> {
        let address = || self.scheduler.clone();
        let addresses: Vec<SocketAddr> = tokio::net::lookup_host(&self.scheduler)
            .await
            .map_err(|source| ConnectError::Resolve { address: address(), source })?
            .collect();
        if addresses.is_empty() {
            return Err(ConnectError::NoAddress { address: address() });
        }
        Ok(addresses)
    }
}
