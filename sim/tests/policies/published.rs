//! Makespans that the literature gives, met through the live farm's own machines.

use std::path::Path;

use isochrone_model::{BytesPerSecond, Span};
use isochrone_sim::cluster::{
    Cluster, ClusterAgent, ClusterDevice, InputPlace, LinkSpec, Topology, UNLIMITED,
};
use isochrone_sim::simulation::Simulation;
use isochrone_workload::task_graph::{ReadOptions, TaskGraph, read_graph};

fn sample(name: &str) -> TaskGraph {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../workload/samples").join(name);
    read_graph(&path, &ReadOptions::default()).unwrap().graph
}

/// Agents of one device each, all pairs joined by links of a latency and 1 GB/s.
fn processors(count: usize, latency: Span) -> Cluster {
    let device = ClusterDevice {
        name: "processor".to_owned(),
        speed: 1.0,
        slots: 1,
        memory_bytes: 1 << 40,
        launch: Span::ZERO,
        host_rate: UNLIMITED,
        column: None,
        kinds: std::collections::BTreeMap::new(),
    };
    let agents = (0..count).map(|place| ClusterAgent {
        name: format!("p{}", place + 1),
        host_memory_bytes: 1 << 40,
        devices: vec![device.clone()],
    });
    Cluster {
        name: "processors".to_owned(),
        agents: agents.collect(),
        inputs_at: InputPlace::Everywhere,
        topology: Topology::uniform(count, LinkSpec::fixed(latency, BytesPerSecond(1_000_000_000))),
    }
}

const MILLISECOND: u64 = 1_000_000;

#[test]
fn topcuoglu() {
    let graph = sample("topcuoglu-2002.json");
    let cluster = processors(3, Span::ZERO);
    let outcome = Simulation::new(&graph, &cluster, "heft").checked().run().unwrap();
    assert_eq!(outcome.makespan, Span(80 * MILLISECOND));
}
