//! What can be chosen about a farm on one machine.
//!
//! Must never hold an option that nothing reads.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use isochrone_emulator::LinkPlan;
use isochrone_model::Limits;
use isochrone_sim::cluster::Topology;

use crate::devices::Devices;
use crate::links::link_plan;

/// Where the members of the farm run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Hosting {
    /// As tasks of this process' tokio runtime.
    InProcess,
    /// As processes of the `isochrone` binary at this path.
    Processes {
        /// The binary.
        binary: PathBuf,
    },
}

/// One agent of the farm.
#[derive(Clone, Debug, PartialEq)]
pub struct AgentSpecification {
    /// Its name: 1 to 64 of `a-z`, `0-9`, `.`, `_` and `-`.
    pub name: String,
    /// Its devices.
    pub devices: Devices,
    /// Variables added to the environment of its process; unused in this process.
    pub environment: Vec<(String, String)>,
}

/// Options of a farm on one machine.
#[derive(Clone, Debug)]
pub struct FarmOptions {
    pub(crate) hosting: Hosting,
    pub(crate) listen: SocketAddr,
    pub(crate) policy: String,
    pub(crate) agents: Vec<AgentSpecification>,
    pub(crate) directory: Option<PathBuf>,
    pub(crate) journal: Option<PathBuf>,
    pub(crate) keeps_costs: bool,
    pub(crate) limits: Limits,
    pub(crate) host_memory_bytes: Option<u64>,
    pub(crate) ready_timeout: Duration,
    pub(crate) links: Option<Links>,
    /// By agent, as far as stated.
    pub(crate) agent_host_memory: Vec<Option<u64>>,
}

/// The emulated links of a farm.
#[derive(Clone, Debug)]
pub(crate) struct Links {
    topology: Topology,
    seed: u64,
    pub(crate) log_entries_max: usize,
}

impl Links {
    /// How many parties there are: the scheduler, the client, the agents.
    pub(crate) fn parties(&self) -> usize {
        self.topology.parties()
    }

    pub(crate) fn plan(&self) -> LinkPlan {
        link_plan(&self.topology, self.seed)
    }
}

impl FarmOptions {
    /// A farm without agents, under the policy `latency-eft`, on any free port of loopback.
    #[must_use]
    pub fn new(hosting: Hosting) -> Self {
        Self {
            hosting,
            listen: (Ipv4Addr::LOCALHOST, 0).into(),
            policy: "latency-eft".to_owned(),
            agents: Vec::new(),
            directory: None,
            journal: None,
            keeps_costs: false,
            limits: Limits::default(),
            host_memory_bytes: None,
            ready_timeout: Duration::from_secs(60),
            links: None,
            agent_host_memory: Vec::new(),
        }
    }

    /// A farm in this process: for tests and benches.
    #[must_use]
    pub fn in_process() -> Self {
        Self::new(Hosting::InProcess)
    }

    /// A farm of processes of the `isochrone` binary.
    #[must_use]
    pub fn processes(binary: impl Into<PathBuf>) -> Self {
        Self::new(Hosting::Processes { binary: binary.into() })
    }

    /// Where the scheduler listens; default any free port of loopback.
    #[must_use]
    pub fn listen(mut self, address: SocketAddr) -> Self {
        self.listen = address;
        self
    }

    /// The label of the farm's policy; default `latency-eft`.
    #[must_use]
    pub fn policy(mut self, label: impl Into<String>) -> Self {
        self.policy = label.into();
        self
    }

    /// Adds `count` agents with these devices each, named `agent-1` and so on.
    #[must_use]
    pub fn agents(mut self, count: usize, devices: &Devices) -> Self {
        for _ in 0..count {
            let name = format!("agent-{}", self.agents.len() + 1);
            self.agents.push(AgentSpecification { name, devices: devices.clone(), environment: Vec::new() });
        }
        self
    }

    /// Adds one agent.
    #[must_use]
    pub fn agent(mut self, agent: AgentSpecification) -> Self {
        self.agents.push(agent);
        self
    }

    /// Gives the process of every agent added so far a variable of its environment. No effect in this process.
    #[must_use]
    pub fn environment(mut self, name: &str, value: &str) -> Self {
        for agent in &mut self.agents {
            agent.environment.push((name.to_owned(), value.to_owned()));
        }
        self
    }

    /// Gives the process of every agent added so far that many threads for OpenCL on processors
    /// (PoCL); default as many as there are cores, for each agent. No effect in this process.
    #[must_use]
    pub fn processor_threads(mut self, threads: usize) -> Self {
        for variable in ["POCL_MAX_PTHREAD_COUNT", "POCL_CPU_MAX_CU_COUNT"] {
            self = self.environment(variable, &threads.max(1).to_string());
        }
        self
    }

    /// The folder for certificates, logs and measured costs; default a temporary one that is removed
    /// with the farm.
    #[must_use]
    pub fn directory(mut self, directory: impl Into<PathBuf>) -> Self {
        self.directory = Some(directory.into());
        self
    }

    /// A file for the scheduler's journal; default none.
    #[must_use]
    pub fn journal(mut self, path: impl Into<PathBuf>) -> Self {
        self.journal = Some(path.into());
        self
    }

    /// Keeps measured costs in the directory, for the next farm there; default not.
    #[must_use]
    pub fn keep_costs(mut self) -> Self {
        self.keeps_costs = true;
        self
    }

    /// The bounds of scheduler and agents; default [`Limits::default`]. Only in this process.
    #[must_use]
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Bytes of host memory for replicas on each agent; default the agent's own.
    #[must_use]
    pub fn host_memory_bytes(mut self, bytes: u64) -> Self {
        self.host_memory_bytes = Some(bytes);
        self
    }

    /// How long to wait until all agents have joined; default 60 s: drivers of graphics processors
    /// take seconds to open.
    #[must_use]
    pub fn ready_timeout(mut self, timeout: Duration) -> Self {
        self.ready_timeout = timeout;
        self
    }

    /// Puts emulated links between all members and clients: those of a cluster with as many agents as the farm, in their
    /// order. What is random comes from `seed`. All clients together are the cluster's client. Default none. Members
    /// then listen on addresses of their own from 127.1.0.1 on, so that the farm is on Linux and has no IPv6.
    #[must_use]
    pub fn links(mut self, topology: Topology, seed: u64) -> Self {
        self.links = Some(Links { topology, seed, log_entries_max: 0 });
        self
    }

    /// Keeps a log of so many datagrams that emulated links delivered; default none.
    #[must_use]
    pub fn log_links(mut self, entries_max: usize) -> Self {
        if let Some(links) = &mut self.links {
            links.log_entries_max = entries_max;
        }
        self
    }
}
