//! What the agents of a simulated cluster tell of themselves.

use isochrone_model::{AgentFacts, DeviceFacts, DeviceKind, Span};

use crate::cluster::{Cluster, ClusterDevice};

/// The facts of every agent, in the cluster's order. Speeds are no facts: they are stated or learnt.
pub(super) fn facts(cluster: &Cluster) -> Vec<AgentFacts> {
    cluster
        .agents
        .iter()
        .enumerate()
        .map(|(place, agent)| AgentFacts {
            name: agent.name.clone(),
            address: format!("simulated:{place}"),
            devices: agent.devices.iter().map(device_facts).collect(),
            host_memory_bytes: agent.host_memory_bytes,
        })
        .collect()
}

fn device_facts(device: &ClusterDevice) -> DeviceFacts {
    DeviceFacts {
        name: device.name.clone(),
        platform: "simulated".to_owned(),
        driver: "1".to_owned(),
        kind: DeviceKind::Virtual,
        compute_units: 1,
        clock_mhz: 0,
        memory_bytes: device.memory_bytes,
        buffer_bytes_max: device.memory_bytes,
        local_memory_bytes: 32 << 10,
        work_group_size_max: 256,
        sub_buffer_alignment_bytes: 128,
        has_fp64: true,
        slots: device.slots,
        prior_items_per_us: 1,
        prior_launch: Span::from_millis(1),
        prior_host_rate: device.host_rate,
    }
}
