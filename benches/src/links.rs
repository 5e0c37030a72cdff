//! Farms with emulated links between their members: the one place where measuring programs start them.

use std::path::{Path, PathBuf};
use std::time::Duration;

use isochrone_model::Span;
use isochrone_model::units::BytesPerSecond;
use isochrone_node_agent::virtual_devices::{VirtualDevice, VirtualOptions};
use isochrone_sim::cluster::{
    Access, Cluster, ClusterDevice, LinkSpec, Party, Path as ClusterPath, Topology, UNLIMITED,
};
use isochrone_testbed::{AgentSpecification, Devices, Farm, FarmError, FarmOptions};

/// What an agent of [`with_far_agent`] is made of: its name, its devices, and its threads for OpenCL on processors.
pub type AgentParts<'a> = (&'a str, Devices, Option<usize>);

/// A farm of processes; every path to and from the agent called `far` takes `latency`, all others nothing. No latency at
/// all is no emulation.
///
/// # Errors
/// As [`Farm::start`].
pub async fn with_far_agent(
    binary: &Path,
    agents: &[AgentParts<'_>],
    far: &str,
    latency: Duration,
) -> Result<Farm, FarmError> {
    let mut options = FarmOptions::processes(binary);
    for (name, devices, threads) in agents {
        options = options.agent(AgentSpecification {
            name: (*name).to_owned(),
            devices: devices.clone(),
            environment: threads.map(processor_threads).unwrap_or_default(),
        });
    }
    if latency > Duration::ZERO {
        let far = agents.iter().position(|(name, ..)| *name == far).map(Party::Agent);
        let path = |span: Span| ClusterPath { link: LinkSpec::fixed(span, UNLIMITED), is_shared: false };
        let paths = vec![path(Span::ZERO), path(latency.into())];
        let hosts = vec![Access::UNLIMITED; agents.len() + 2];
        let topology =
            Topology::new(hosts, paths, |from, to| usize::from(Some(from) == far || Some(to) == far));
        options = options.links(topology, 1);
    }
    Farm::start(options).await
}

/// A farm of processes that is a cluster: its agents with modelled devices as fast as the cluster's, its links emulated.
/// The scheduler writes its journal to `journal`.
///
/// # Errors
/// As [`Farm::start`].
pub async fn on_cluster(
    binary: &Path,
    cluster: &Cluster,
    policy: &str,
    journal: PathBuf,
    seed: u64,
) -> Result<Farm, FarmError> {
    let mut options =
        FarmOptions::processes(binary).policy(policy).journal(journal).links(cluster.topology.clone(), seed);
    for agent in &cluster.agents {
        let devices = agent.devices.iter().map(modelled).collect();
        options = options
            .agent(AgentSpecification {
                name: agent.name.clone(),
                devices: Devices::Virtual(VirtualOptions { devices, spin: false, seed }),
                environment: Vec::new(),
            })
            .host_memory_bytes(agent.host_memory_bytes.min(2 << 30));
    }
    Farm::start(options).await
}

/// A modelled device as fast as a cluster's: a work-item is a nanosecond of work.
fn modelled(device: &ClusterDevice) -> VirtualDevice {
    let items_per_us = (device.speed * 1e3).round().max(1.0) as u64;
    let rate = if device.host_rate == UNLIMITED { BytesPerSecond(10_000_000_000) } else { device.host_rate };
    let mut modelled = VirtualDevice::new(&device.name, items_per_us, device.memory_bytes.min(2 << 30), rate);
    modelled.launch_overhead = device.launch;
    modelled.slots = device.slots;
    modelled
}

/// What tells PoCL how many threads to take.
fn processor_threads(threads: usize) -> Vec<(String, String)> {
    ["POCL_MAX_PTHREAD_COUNT", "POCL_CPU_MAX_CU_COUNT"]
        .map(|variable| (variable.to_owned(), threads.to_string()))
        .to_vec()
}
