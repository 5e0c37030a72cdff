//! What can be chosen about an agent.
//!
//! Must never hold an option that nothing reads.

use std::net::SocketAddr;

use isochrone_model::Limits;
use isochrone_transport::{Identity, TransportOptions};

use crate::backend::{Backend, BackendSink};

/// Why a backend cannot be made.
pub type BackendError = Box<dyn std::error::Error + Send + Sync>;

/// Makes the agent's devices. Called again after the scheduler was lost, when all that the devices held
/// is void; the backend before has been dropped then.
pub type BackendMaker = Box<dyn FnMut(BackendSink) -> Result<Box<dyn Backend>, BackendError> + Send>;

/// Options of an agent.
pub struct AgentOptions {
    pub(crate) scheduler: String,
    pub(crate) listen: SocketAddr,
    pub(crate) advertise: Option<SocketAddr>,
    pub(crate) identity: Identity,
    pub(crate) limits: Limits,
    pub(crate) host_memory_bytes: u64,
    pub(crate) backend: BackendMaker,
    pub(crate) transport: TransportOptions,
}

/// Host memory for replicas when nothing else is said.
const HOST_MEMORY_BYTES: u64 = 4 << 30;

impl AgentOptions {
    /// An agent that joins the scheduler at `scheduler` (`host:port`), listens for its peers and for
    /// clients on `listen` (port 0 for any free one) under `identity`, whose role must be that of an
    /// agent, and runs the devices that `backend` makes.
    #[must_use]
    pub fn new(
        scheduler: impl Into<String>,
        listen: SocketAddr,
        identity: Identity,
        backend: BackendMaker,
    ) -> Self {
        Self {
            scheduler: scheduler.into(),
            listen,
            advertise: None,
            identity,
            limits: Limits::default(),
            host_memory_bytes: HOST_MEMORY_BYTES,
            backend,
            transport: TransportOptions::new(),
        }
    }

    /// The address that peers and clients are told to dial; default the one listened on, or, when that
    /// is every address of the host, the one used toward the scheduler. Port 0 stands for the port
    /// listened on.
    pub fn advertise(&mut self, address: SocketAddr) -> &mut Self {
        self.advertise = Some(address);
        self
    }

    /// The farm's bounds; default [`Limits::default`]. Should be the scheduler's.
    pub fn limits(&mut self, limits: Limits) -> &mut Self {
        self.limits = limits;
        self
    }

    /// Bytes of host memory that replicas may take; default 4 GiB.
    pub fn host_memory_bytes(&mut self, bytes: u64) -> &mut Self {
        self.host_memory_bytes = bytes;
        self
    }

    /// Options of the transport; its allowed roles are set by the agent.
    pub fn transport(&mut self, options: TransportOptions) -> &mut Self {
        self.transport = options;
        self
    }
}
