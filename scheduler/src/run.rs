//! From options to a running scheduler.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use isochrone_sched_core::PolicyError;
use isochrone_transport::{BindError, CloseCode, Endpoint, Pace, Role};
use tokio::sync::{mpsc, watch};

use crate::connections::accept_connections;
use crate::costs::{self, CostsError};
use crate::driver::{CostsFile, Driver, DriverParts};
use crate::journal::{Journal, JournalError};
use crate::machine::{MachineConfig, new_machine};
use crate::options::SchedulerOptions;
use crate::relay::Routes;

/// Messages that wait for one peer, in bytes: one turn can give orders for a graph of a million tasks,
/// or fail as many commands, and must not cost a peer its connection for that.
const CONTROL_QUEUE_BYTES_MAX: usize = 512 << 20;

/// How long the end waits for peers to be told.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(2);

/// Why a scheduler cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The identity is that of another role.
    #[error("the identity is that of {role}, a scheduler's is needed")]
    Role {
        /// The identity's role.
        role: Role,
    },
    /// The address cannot be listened on.
    #[error("cannot listen on {address}")]
    Bind {
        /// The address.
        address: SocketAddr,
        /// Why.
        source: BindError,
    },
    /// The operating system does not say where it listens.
    #[error("no address for {address}")]
    Address {
        /// The address asked for.
        address: SocketAddr,
        /// The system's word.
        source: std::io::Error,
    },
    /// Measured costs cannot be read.
    #[error("cannot take up measured costs")]
    Costs(#[from] CostsError),
    /// The journal cannot be begun.
    #[error("cannot begin the journal")]
    Journal(#[from] JournalError),
    /// The policy's label does not parse or names none.
    #[error("policy: {0}")]
    Policy(PolicyError),
}

/// A scheduler that listens and does not run yet.
pub struct BoundScheduler {
    endpoint: Endpoint,
    local_address: SocketAddr,
    driver: Driver,
    routes: Arc<Routes>,
    measuring: watch::Receiver<Pace>,
}

impl BoundScheduler {
    /// Makes everything ready. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// `StartError` when the address, the identity, the policy or a file is unfit.
    pub fn bind(options: SchedulerOptions) -> Result<Self, StartError> {
        let role = options.identity.peer_identity().role;
        if role != Role::Scheduler {
            return Err(StartError::Role { role });
        }
        let costs = options.costs_file.as_deref().map(costs::load).transpose()?.flatten();
        let saved = costs.as_ref().map(costs::encode).transpose()?.unwrap_or_default();
        let config = MachineConfig { limits: options.limits.clone(), policy: options.policy.clone(), costs };
        let machine = new_machine(config.clone()).map_err(StartError::Policy)?;
        let mut transport = options.transport;
        transport
            .allowed_roles(&[Role::Agent, Role::Client, Role::Admin])
            .takes_early_data(true)
            .control_queue_bytes_max(CONTROL_QUEUE_BYTES_MAX);
        let endpoint = Endpoint::bind(options.listen, &options.identity, transport)
            .map_err(|source| StartError::Bind { address: options.listen, source })?;
        let local_address = endpoint
            .local_address()
            .map_err(|source| StartError::Address { address: options.listen, source })?;
        let journal = options.journal.as_deref().map(|path| Journal::create(path, config)).transpose()?;
        let routes = Arc::new(Routes::default());
        let (pace, measuring) = watch::channel(Pace::for_paths(0, false));
        let driver = Driver::new(DriverParts {
            machine,
            policy: options.policy,
            inline_bytes_max: options.limits.inline_bytes_max,
            journal,
            costs: options.costs_file.map(|path| CostsFile { path, interval: options.costs_interval, saved }),
            routes: Arc::clone(&routes),
            status_interval: options.status_interval,
            pace,
        });
        Ok(Self { endpoint, local_address, driver, routes, measuring })
    }

    /// Where it listens, with the port that was chosen.
    #[must_use]
    pub fn local_address(&self) -> SocketAddr {
        self.local_address
    }

    /// Runs until `shutdown` is ready, or until an administrator has stopped the farm and all sessions
    /// have ended. After the former, agents look for the next scheduler; after the latter, they stop.
    pub async fn run(self, shutdown: impl Future<Output = ()>) {
        let Self { endpoint, local_address, driver, routes, measuring } = self;
        let (sender, inputs) = mpsc::unbounded_channel();
        tracing::info!(address = %local_address, policy = driver.policy, "scheduler runs");
        // The loop's own sender keeps the channel open, whatever becomes of the accepting task.
        let accepting = tokio::spawn(accept_connections(endpoint.clone(), sender.clone(), routes, measuring));
        driver.run(inputs, shutdown).await;
        drop(sender);
        accepting.abort();
        // Aborted just now; the socket is free for the next scheduler once nobody holds the endpoint.
        let _ = accepting.await;
        endpoint.close(CloseCode::Draining, "the scheduler stops");
        // A peer that has vanished is not waited for.
        let _ = tokio::time::timeout(DRAIN_TIMEOUT, endpoint.drained()).await;
    }
}

/// Binds and runs a scheduler until `shutdown` is ready or an administrator stops the farm.
///
/// # Errors
/// `StartError` when the address, the identity, the policy or a file is unfit.
pub async fn run_scheduler(
    options: SchedulerOptions,
    shutdown: impl Future<Output = ()>,
) -> Result<(), StartError> {
    BoundScheduler::bind(options)?.run(shutdown).await;
    Ok(())
}
