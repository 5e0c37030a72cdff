//! From options to a running agent: joining the scheduler, and joining again when it was lost.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::pin::Pin;
use std::time::Duration;

use isochrone_model::message::{AgentHello, AgentToScheduler, SchedulerToAgent};
use isochrone_model::{AgentFacts, AgentId, DeviceFacts, Limits};
use isochrone_sched_core::agent::DEVICES_MAX;
use isochrone_sched_core::{Agent, AgentConfig};
use isochrone_transport::{
    BindError, CloseCode, ConnectError, Connection, ControlReceiver, ControlSender, Endpoint, First, Pace,
    ReceiveError, Role,
};
use tokio::sync::{mpsc, watch};

use crate::backend::{Backend, BackendEvent};
use crate::driver::{Ending, Life, LifeParts};
use crate::error_text::described;
use crate::inputs::Readers;
use crate::options::{AgentOptions, BackendError, BackendMaker};
use crate::payloads::Payloads;
use crate::peers::Peers;
use crate::streams::STREAMED_BYTES_MIN;

/// Messages that wait for the scheduler, in bytes: the reports of one turn must not cost the connection.
const CONTROL_QUEUE_BYTES_MAX: usize = 512 << 20;

/// The first and the longest wait between two attempts to join.
const BACKOFF_MIN: Duration = Duration::from_millis(100);
const BACKOFF_MAX: Duration = Duration::from_secs(5);

/// How long the scheduler may take to say welcome.
const WELCOME_TIMEOUT: Duration = Duration::from_secs(10);

/// How long the end waits for peers to be told, and for devices to be let go.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(2);
const RELEASE_TIMEOUT: Duration = Duration::from_secs(10);

/// Why an agent cannot start, or not go on.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    /// The identity is that of another role.
    #[error("the identity is that of {role}, an agent's is needed")]
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
    /// The devices cannot be had.
    #[error("the devices cannot be used")]
    Backend(#[source] BackendError),
    /// The devices are more than an agent can have, or one has no slot.
    #[error("{devices} devices, of which {without_slots} have no slot; at most {DEVICES_MAX} are allowed")]
    Devices {
        /// How many there are.
        devices: usize,
        /// How many of them have no slot.
        without_slots: usize,
    },
    /// The scheduler does not take this agent, and would not later.
    #[error("the scheduler refuses this agent: {reason}")]
    Refused {
        /// The scheduler's word.
        reason: String,
    },
}

/// Why one attempt to join failed.
#[derive(Debug, thiserror::Error)]
enum JoinError {
    #[error("cannot find {scheduler}")]
    Resolve { scheduler: String, source: std::io::Error },
    #[error("{scheduler} has no address")]
    NoAddress { scheduler: String },
    #[error("cannot connect to the scheduler")]
    Connect(#[from] ConnectError),
    #[error("cannot find the address toward the scheduler")]
    Route(#[source] std::io::Error),
    #[error("the scheduler did not answer")]
    Receive(#[from] ReceiveError),
    #[error("the scheduler said no welcome")]
    NoWelcome,
}

/// An agent that listens and has not joined yet.
pub struct BoundAgent {
    joiner: Joiner,
    maker: BackendMaker,
    devices: Option<Devices>,
}

/// What stays the same over an agent's lives.
struct Joiner {
    endpoint: Endpoint,
    local_address: SocketAddr,
    name: String,
    scheduler: String,
    advertise: Option<SocketAddr>,
    limits: Limits,
    host_memory_bytes: u64,
}

/// A backend that no life has used.
struct Devices {
    backend: Box<dyn Backend>,
    events: mpsc::UnboundedReceiver<BackendEvent>,
}

/// A scheduler that said welcome.
struct Joined {
    connection: Connection,
    sender: ControlSender,
    receiver: ControlReceiver,
    agent: AgentId,
    inline_bytes_max: u64,
    facts: AgentFacts,
}

impl BoundAgent {
    /// Makes everything ready, the devices included. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// `AgentError` when the address, the identity or the devices are unfit.
    pub fn bind(options: AgentOptions) -> Result<Self, AgentError> {
        let role = options.identity.peer_identity().role;
        if role != Role::Agent {
            return Err(AgentError::Role { role });
        }
        let mut transport = options.transport;
        transport
            .allowed_roles(&[Role::Agent, Role::Client, Role::Admin])
            .control_queue_bytes_max(CONTROL_QUEUE_BYTES_MAX)
            .bulk_transfer_bytes_max(options.host_memory_bytes);
        let endpoint = Endpoint::bind(options.listen, &options.identity, transport)
            .map_err(|source| AgentError::Bind { address: options.listen, source })?;
        let local_address = endpoint
            .local_address()
            .map_err(|source| AgentError::Address { address: options.listen, source })?;
        let mut maker = options.backend;
        let devices = Some(make_devices(&mut maker)?);
        let joiner = Joiner {
            endpoint,
            local_address,
            name: options.identity.peer_identity().name.clone(),
            scheduler: options.scheduler,
            advertise: options.advertise,
            limits: options.limits,
            host_memory_bytes: options.host_memory_bytes,
        };
        Ok(Self { joiner, maker, devices })
    }

    /// Where it listens, with the port that was chosen.
    #[must_use]
    pub fn local_address(&self) -> SocketAddr {
        self.joiner.local_address
    }

    /// Runs until `shutdown` is ready or the scheduler stops the farm. A scheduler that is lost is
    /// looked for again, and joined as if for the first time.
    ///
    /// # Errors
    /// `AgentError` when the devices cannot be had again, or the scheduler refuses this agent.
    pub async fn run(self, shutdown: impl Future<Output = ()>) -> Result<(), AgentError> {
        let Self { joiner, mut maker, mut devices } = self;
        let mut shutdown = std::pin::pin!(shutdown);
        let mut backoff = BACKOFF_MIN;
        let result = loop {
            let fresh = match devices.take() {
                Some(fresh) => fresh,
                None => match make_devices(&mut maker) {
                    Ok(fresh) => fresh,
                    Err(error) => break Err(error),
                },
            };
            let joining = tokio::select! {
                biased;
                () = &mut shutdown => break Ok(()),
                joined = joiner.join(fresh.backend.devices().to_vec()) => joined,
            };
            match joining {
                Ok(joined) => {
                    backoff = BACKOFF_MIN;
                    match joiner.live(joined, fresh, shutdown.as_mut()).await {
                        Ending::Signal | Ending::Stopped => break Ok(()),
                        Ending::Lost(reason) => tracing::warn!(reason, "scheduler lost; joining again"),
                        Ending::Fault(reason) => tracing::warn!(reason, "joining again as new"),
                    }
                }
                Err(error) => {
                    devices = Some(fresh);
                    if let Some(reason) = refusal(&error) {
                        break Err(AgentError::Refused { reason });
                    }
                    tracing::warn!("not joined: {}", described(&error));
                }
            }
            tokio::select! {
                biased;
                () = &mut shutdown => break Ok(()),
                () = tokio::time::sleep(backoff) => {}
            }
            backoff = (backoff * 2).min(BACKOFF_MAX);
        };
        joiner.endpoint.close(CloseCode::Draining, "the agent stops");
        // A peer that has vanished is not waited for.
        let _ = tokio::time::timeout(DRAIN_TIMEOUT, joiner.endpoint.drained()).await;
        result
    }
}

impl Joiner {
    async fn join(&self, devices: Vec<DeviceFacts>) -> Result<Joined, JoinError> {
        let scheduler = resolve(&self.scheduler).await?;
        let facts = AgentFacts {
            name: self.name.clone(),
            address: self.advertised(scheduler).map_err(JoinError::Route)?.to_string(),
            devices,
            host_memory_bytes: self.host_memory_bytes,
        };
        let hello = [AgentToScheduler::Hello(AgentHello { facts: facts.clone() })];
        let connection =
            self.endpoint.connect_saying(scheduler, Role::Scheduler, None, First::of(&hello)).await?;
        connection.prepare_bulk();
        let (sender, mut receiver) = connection.take_control();
        match tokio::time::timeout(WELCOME_TIMEOUT, receiver.receive::<SchedulerToAgent>()).await {
            Ok(Ok(Some(SchedulerToAgent::Welcome { agent, inline_bytes_max }))) => {
                Ok(Joined { connection, sender, receiver, agent, inline_bytes_max, facts })
            }
            Ok(Err(error)) => Err(error.into()),
            Ok(Ok(_)) | Err(_) => Err(JoinError::NoWelcome),
        }
    }

    /// The address that others are told to dial.
    fn advertised(&self, scheduler: SocketAddr) -> std::io::Result<SocketAddr> {
        let mut address = self.advertise.unwrap_or(self.local_address);
        if address.ip().is_unspecified() {
            address.set_ip(local_ip_toward(scheduler)?);
        }
        if address.port() == 0 {
            address.set_port(self.local_address.port());
        }
        Ok(address)
    }

    /// One life: from here to the loss of the scheduler.
    async fn live(
        &self,
        joined: Joined,
        devices: Devices,
        shutdown: Pin<&mut impl Future<Output = ()>>,
    ) -> Ending {
        let Joined { connection, sender, receiver, agent, inline_bytes_max, facts } = joined;
        tracing::info!(name = facts.name, address = facts.address, %agent, "joined the farm");
        let (inputs, received) = mpsc::unbounded_channel();
        let (pace, measuring) = watch::channel(Pace::for_paths(0, false));
        let readers = Readers {
            inputs: inputs.clone(),
            host_memory_bytes: self.host_memory_bytes,
            pace: measuring.clone(),
        };
        let mut tasks = tokio::task::JoinSet::new();
        tasks.spawn(readers.clone().read_scheduler(receiver));
        tasks.spawn(readers.clone().accept_relayed(connection.clone()));
        tasks.spawn(readers.clone().accept_connections(self.endpoint.clone()));
        let life = Life::new(LifeParts {
            machine: Agent::new(AgentConfig { facts, limits: self.limits.clone() })
                .streaming_from(STREAMED_BYTES_MIN),
            backend: devices.backend,
            payloads: Payloads::new(self.limits.early_bytes_max),
            peers: Peers::new(agent, self.endpoint.clone(), inputs, measuring),
            readers,
            scheduler: connection.clone(),
            sender: sender.clone(),
            inline_bytes_max,
            own: agent,
            pace,
        });
        let (ending, backend) = life.run(received, devices.events, shutdown).await;
        match &ending {
            Ending::Signal | Ending::Stopped => {
                // The last reports are worth a moment, no more.
                let _ = tokio::time::timeout(DRAIN_TIMEOUT, sender.finish()).await;
                connection.close(CloseCode::Draining, "the agent stops");
            }
            Ending::Lost(_) => connection.close(CloseCode::Done, ""),
            Ending::Fault(reason) => connection.close(CloseCode::Internal, reason),
        }
        drop(tasks);
        release(backend).await;
        ending
    }
}

/// Binds and runs an agent until `shutdown` is ready or the scheduler stops the farm.
///
/// # Errors
/// `AgentError` when the address, the identity or the devices are unfit, or the scheduler refuses this
/// agent.
pub async fn run_agent(options: AgentOptions, shutdown: impl Future<Output = ()>) -> Result<(), AgentError> {
    BoundAgent::bind(options)?.run(shutdown).await
}

fn make_devices(maker: &mut BackendMaker) -> Result<Devices, AgentError> {
    let (sink, events) = mpsc::unbounded_channel();
    let backend = maker(sink).map_err(AgentError::Backend)?;
    let devices = backend.devices();
    let without_slots = devices.iter().filter(|device| device.slots == 0).count();
    if devices.len() > DEVICES_MAX || without_slots > 0 {
        return Err(AgentError::Devices { devices: devices.len(), without_slots });
    }
    Ok(Devices { backend, events })
}

/// Lets go of the devices, so that their memory is free when they are taken again. What runs on them
/// may take its time, and a kernel that hangs must not hang the agent.
async fn release(backend: Box<dyn Backend>) {
    let releasing = tokio::task::spawn_blocking(move || drop(backend));
    if tokio::time::timeout(RELEASE_TIMEOUT, releasing).await.is_err() {
        tracing::warn!("the devices are still busy with what they were given before");
    }
}

async fn resolve(scheduler: &str) -> Result<SocketAddr, JoinError> {
    let found = tokio::net::lookup_host(scheduler)
        .await
        .map_err(|source| JoinError::Resolve { scheduler: scheduler.to_owned(), source })?
        .next();
    found.ok_or_else(|| JoinError::NoAddress { scheduler: scheduler.to_owned() })
}

/// The address of this host on the way to another. Nothing is sent.
fn local_ip_toward(address: SocketAddr) -> std::io::Result<IpAddr> {
    let any: IpAddr = match address {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind((any, 0))?;
    socket.connect(address)?;
    Ok(socket.local_addr()?.ip())
}

/// The scheduler's word when trying again would not help.
fn refusal(error: &JoinError) -> Option<String> {
    let JoinError::Receive(ReceiveError::Closed(reason)) = error else { return None };
    match reason.code() {
        Some(CloseCode::ProtocolViolation | CloseCode::RoleRefused | CloseCode::VersionMismatch) => {
            Some(reason.to_string())
        }
        Some(
            CloseCode::Done
            | CloseCode::LimitExceeded
            | CloseCode::Draining
            | CloseCode::SessionRefused
            | CloseCode::Internal,
        )
        | None => None,
    }
}
