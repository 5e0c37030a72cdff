//! What can be chosen about a scheduler.
//!
//! Must never hold an option that nothing reads.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use isochrone_model::Limits;
use isochrone_transport::{Identity, TransportOptions};

/// The policy of a farm that names none.
pub const DEFAULT_POLICY: &str = "latency-eft";

/// Options of a scheduler.
#[derive(Clone, Debug)]
pub struct SchedulerOptions {
    pub(crate) listen: SocketAddr,
    pub(crate) identity: Identity,
    pub(crate) policy: String,
    pub(crate) limits: Limits,
    pub(crate) journal: Option<PathBuf>,
    pub(crate) costs_file: Option<PathBuf>,
    pub(crate) costs_interval: Duration,
    pub(crate) status_interval: Duration,
    pub(crate) transport: TransportOptions,
}

impl SchedulerOptions {
    /// A scheduler that listens on `listen` (port 0 for any free one) under `identity`, whose role must
    /// be that of a scheduler.
    #[must_use]
    pub fn new(listen: SocketAddr, identity: Identity) -> Self {
        Self {
            listen,
            identity,
            policy: DEFAULT_POLICY.to_owned(),
            limits: Limits::default(),
            journal: None,
            costs_file: None,
            costs_interval: Duration::from_secs(30),
            status_interval: Duration::from_secs(60),
            transport: TransportOptions::new(),
        }
    }

    /// The label of the farm's policy; default [`DEFAULT_POLICY`]. Sessions may name another.
    pub fn policy(&mut self, label: impl Into<String>) -> &mut Self {
        self.policy = label.into();
        self
    }

    /// The farm's bounds; default [`Limits::default`].
    pub fn limits(&mut self, limits: Limits) -> &mut Self {
        self.limits = limits;
        self
    }

    /// A file that receives every event, for [`replay`](crate::replay); default none. It holds sources
    /// of programs and inline contents. A file of that name is kept with `.previous` added.
    pub fn journal(&mut self, path: impl Into<PathBuf>) -> &mut Self {
        self.journal = Some(path.into());
        self
    }

    /// A file in which measured costs outlive the scheduler; default none, and then every start
    /// measures anew.
    pub fn costs_file(&mut self, path: impl Into<PathBuf>) -> &mut Self {
        self.costs_file = Some(path.into());
        self
    }

    /// How often measured costs are saved when they have changed; default 30 s.
    pub fn costs_interval(&mut self, interval: Duration) -> &mut Self {
        self.costs_interval = interval;
        self
    }

    /// How often a line of counters is logged; default 60 s.
    pub fn status_interval(&mut self, interval: Duration) -> &mut Self {
        self.status_interval = interval;
        self
    }

    /// Options of the transport; its allowed roles and the bound on its control queues are set by
    /// the scheduler.
    pub fn transport(&mut self, options: TransportOptions) -> &mut Self {
        self.transport = options;
        self
    }
}
