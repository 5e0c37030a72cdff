//! The farm of a cluster file, live: its agents with modelled devices as fast as the file says, and its links.

use std::collections::BTreeMap;

use isochrone_model::units::BytesPerSecond;
use isochrone_node_agent::opencl::OpenClOptions;
use isochrone_node_agent::virtual_devices::{VirtualDevice, VirtualOptions};
use isochrone_sim::cluster::{Cluster, ClusterAgent, ClusterDevice};

use crate::devices::Devices;
use crate::options::{AgentSpecification, FarmOptions};

/// Work-items in a microsecond of a device of speed 1, of which a task graph's task claims one for each nanosecond of work.
const ITEMS_PER_MICROSECOND: f64 = 1_000.0;

/// Sizes, rates and speeds without a bound: as large as a scheduler takes from an agent.
const UNBOUNDED: u64 = 1 << 60;

/// Why a cluster cannot be had live.
#[derive(Debug, thiserror::Error)]
pub enum ClusterFarmError {
    /// A modelled device knows kernels by the names of a program, not kinds of tasks.
    #[error(
        "device `{device}` of agent `{agent}` has speeds by kind of task, which only a simulation knows; leave `kinds` out"
    )]
    Kinds {
        /// The agent.
        agent: String,
        /// The device.
        device: String,
    },
    /// There is no such agent to have OpenCL devices.
    #[error("the cluster has no agent `{agent}`; it has {}", known.join(", "))]
    NoAgent {
        /// The name.
        agent: String,
        /// Some that there are.
        known: Vec<String>,
    },
    /// A live device takes what a kernel's launch claims, not a column of a graph.
    #[error(
        "device `{device}` of agent `{agent}` stands for a column of a graph, which only a simulation knows; leave `column` out"
    )]
    Column {
        /// The agent.
        agent: String,
        /// The device.
        device: String,
    },
}

impl FarmOptions {
    /// Adds the agents of a cluster and its links. Devices are modelled: they keep a task graph's work busy for as long as
    /// the simulation says, and move bytes at their rate. Agents that `real` names have OpenCL devices of this machine
    /// instead, those whose name contains the text that stands there. What is random on the links comes from `seed`.
    ///
    /// # Errors
    /// When the cluster says what only a simulation can do, or `real` names an agent that it does not have.
    pub fn cluster(
        mut self,
        cluster: &Cluster,
        real: &BTreeMap<String, String>,
        seed: u64,
    ) -> Result<Self, ClusterFarmError> {
        if let Some(agent) = real.keys().find(|name| cluster.agents.iter().all(|agent| agent.name != **name))
        {
            let known = cluster.agents.iter().take(20).map(|agent| agent.name.clone()).collect();
            return Err(ClusterFarmError::NoAgent { agent: agent.clone(), known });
        }
        for agent in &cluster.agents {
            let devices = match real.get(&agent.name) {
                Some(text) => opencl(text),
                None => Devices::Virtual(modelled(agent)?),
            };
            let name = agent.name.to_lowercase();
            let memory = Some(agent.host_memory_bytes).filter(|bytes| *bytes < UNBOUNDED);
            self = self.agent(AgentSpecification { name, devices, environment: Vec::new() });
            self.agent_host_memory.push(memory);
        }
        Ok(self.links(cluster.topology.clone(), seed))
    }
}

fn opencl(text: &str) -> Devices {
    let device = Some(text.to_owned()).filter(|text| !text.is_empty());
    Devices::OpenCl(OpenClOptions { device, ..OpenClOptions::default() })
}

fn modelled(agent: &ClusterAgent) -> Result<VirtualOptions, ClusterFarmError> {
    let device = |device: &ClusterDevice| {
        let names = || (agent.name.clone(), device.name.clone());
        if !device.kinds.is_empty() {
            let (agent, device) = names();
            return Err(ClusterFarmError::Kinds { agent, device });
        }
        if device.column.is_some() {
            let (agent, device) = names();
            return Err(ClusterFarmError::Column { agent, device });
        }
        let items_per_us = ((device.speed * ITEMS_PER_MICROSECOND).round() as u64).clamp(1, UNBOUNDED);
        let rate = BytesPerSecond(device.host_rate.0.min(UNBOUNDED));
        let memory_bytes = device.memory_bytes.min(UNBOUNDED);
        let mut model = VirtualDevice::new(&device.name, items_per_us, memory_bytes, rate);
        model.launch_overhead = device.launch;
        model.slots = device.slots;
        Ok(model)
    };
    let devices = agent.devices.iter().map(device).collect::<Result<_, _>>()?;
    Ok(VirtualOptions { devices, spin: false, seed: 0 })
}

#[cfg(test)]
mod tests {
    use isochrone_model::Span;

    use super::*;

    fn farm(device: &str, agent: &str, real: &[(&str, &str)]) -> Result<FarmOptions, ClusterFarmError> {
        let text = format!(
            "default_link = \"campus\"\n[[agents]]\nname = \"Fast\"\n{agent}\n[[agents.devices]]\n{device}\n"
        );
        let cluster = Cluster::parse(&text, "test").unwrap();
        let real = real.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect();
        FarmOptions::in_process().cluster(&cluster, &real, 1)
    }

    #[test]
    fn devices_are_as_fast_as_the_cluster_says() {
        let options = farm("speed = 2.5\nslots = 3\nlaunch_us = 7", "host_memory_gib = 2", &[]).unwrap();
        assert_eq!(options.agents[0].name, "fast");
        assert_eq!(options.agent_host_memory, [Some(2 << 30)]);
        let Devices::Virtual(devices) = &options.agents[0].devices else { panic!("modelled") };
        let device = &devices.devices[0];
        assert_eq!((device.items_per_us, device.slots), (2_500, 3));
        assert_eq!(device.launch_overhead, Span::from_micros(7));
        // What an agent's process reads from its file.
        assert!(toml::to_string(devices).is_ok());
        assert!(options.links.is_some());
    }

    #[test]
    fn an_agent_can_have_real_devices() {
        let options = farm("speed = 1", "", &[("Fast", "pthread")]).unwrap();
        let Devices::OpenCl(found) = &options.agents[0].devices else { panic!("OpenCL") };
        assert_eq!(found.device.as_deref(), Some("pthread"));
        let error = farm("speed = 1", "", &[("slow", "")]).unwrap_err();
        assert_eq!(error.to_string(), "the cluster has no agent `slow`; it has Fast");
    }

    #[test]
    fn what_only_a_simulation_knows_is_refused() {
        let refused = |device: &str| farm(device, "", &[]).unwrap_err();
        assert!(matches!(refused("kinds = { gemm = 2 }"), ClusterFarmError::Kinds { .. }));
        assert!(matches!(refused("column = \"gpu\""), ClusterFarmError::Column { .. }));
    }
}
