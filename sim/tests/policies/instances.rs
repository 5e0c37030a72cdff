//! Clusters and graphs for tests of simulations: made by hand, or random from a seed.

use std::collections::BTreeMap;

use isochrone_model::{BytesPerSecond, Span};
use isochrone_sim::cluster::{
    Access, Cluster, ClusterAgent, ClusterDevice, InputPlace, KindSpeed, LinkSpec, Path, Topology, UNLIMITED,
};
use isochrone_sim::random::Random;
use isochrone_workload::task_graph::{DataItem, GraphTask, TaskCost, TaskGraph};

pub const MILLISECOND: u64 = 1_000_000;

pub fn device(name: &str, speed: f64, slots: u16) -> ClusterDevice {
    ClusterDevice {
        name: name.to_owned(),
        speed,
        slots,
        memory_bytes: 1 << 40,
        launch: Span::ZERO,
        host_rate: UNLIMITED,
        column: None,
        kinds: BTreeMap::new(),
    }
}

/// Agents with these devices, all pairs joined alike.
pub fn cluster(agents: Vec<Vec<ClusterDevice>>, latency: Span, rate: BytesPerSecond) -> Cluster {
    let topology = Topology::uniform(agents.len(), LinkSpec::fixed(latency, rate));
    let agents = agents.into_iter().enumerate().map(|(place, devices)| ClusterAgent {
        name: format!("agent-{place}"),
        host_memory_bytes: 1 << 40,
        devices,
    });
    Cluster { name: "test".to_owned(), agents: agents.collect(), inputs_at: InputPlace::Everywhere, topology }
}

/// A graph that is built task by task.
#[derive(Default)]
pub struct Builder(pub TaskGraph);

impl Builder {
    pub fn task(&mut self, kind: &str, cost: TaskCost, inputs: &[usize], after: &[usize]) -> usize {
        let task = GraphTask {
            name: format!("task-{}", self.0.tasks.len()),
            kind: kind.to_owned(),
            cost,
            memory_bytes: 0,
            inputs: inputs.to_vec(),
            outputs: Vec::new(),
            after: after.to_vec(),
        };
        self.0.tasks.push(task);
        self.0.tasks.len() - 1
    }

    pub fn item(&mut self, producer: Option<usize>, size_bytes: u64) -> usize {
        let item = self.0.items.len();
        self.0.items.push(DataItem { name: format!("item-{item}"), size_bytes, producer });
        if let Some(producer) = producer {
            self.0.tasks[producer].outputs.push(item);
        }
        item
    }

    /// Work that takes so many milliseconds at speed 1.
    pub fn work(&mut self, kind: &str, milliseconds: u64, inputs: &[usize], after: &[usize]) -> usize {
        self.task(kind, TaskCost::Work(milliseconds * MILLISECOND), inputs, after)
    }
}

pub const KINDS: [&str; 3] = ["a", "b", "c"];

pub fn random_cluster(random: &mut Random) -> Cluster {
    let mut agents = Vec::new();
    for _ in 0..1 + random.below(4) {
        let devices = (0..1 + random.below(3)).map(|place| {
            let speed = [0.25, 1.0, 2.0, 8.0][random.below(4) as usize];
            let mut device = device(&format!("device-{place}"), speed, 1 + random.below(3) as u16);
            device.launch = Span([0, 5_000][random.below(2) as usize]);
            for kind in KINDS {
                match random.below(8) {
                    0 => device.kinds.insert(kind.to_owned(), KindSpeed::CannotRun),
                    1 | 2 => device.kinds.insert(kind.to_owned(), KindSpeed::Speed(4.0)),
                    _ => None,
                };
            }
            device
        });
        agents.push(devices.collect::<Vec<_>>());
    }
    // Someone can run everything.
    agents[0][0].kinds.retain(|_, speed| *speed != KindSpeed::CannotRun);
    let mut link = || {
        let latency = Span([0, 50_000, 3_000_000, 80_000_000][random.below(4) as usize]);
        (latency, BytesPerSecond([1_000_000, 125_000_000, 10_000_000_000][random.below(3) as usize]))
    };
    let (latency, rate) = link();
    let mut cluster = cluster(agents, latency, rate);
    if random.one_in(3) {
        cluster.topology = random_topology(random, cluster.agents.len());
    }
    cluster.inputs_at = [InputPlace::Everywhere, InputPlace::Client][random.below(2) as usize];
    cluster
}

/// Devices that hold little, but for the first, which anything fits; tasks that need memory to work in.
pub fn limit_memory(random: &mut Random, cluster: &mut Cluster, graph: &mut TaskGraph) {
    for agent in &mut cluster.agents {
        for device in &mut agent.devices {
            device.memory_bytes = [2_000_000, 8_000_000, 30_000_000][random.below(3) as usize];
            device.host_rate = [UNLIMITED, BytesPerSecond(1_000_000_000)][random.below(2) as usize];
        }
    }
    cluster.agents[0].devices[0].memory_bytes = 40_000_000;
    for task in &mut graph.tasks {
        task.memory_bytes = [0, 1, 5_000_000][random.below(3) as usize];
    }
}

/// Every ordered pair its own link, each host with its own bandwidth up and down.
fn random_topology(random: &mut Random, agents: usize) -> Topology {
    let hosts = agents + 2;
    let rate = |random: &mut Random| BytesPerSecond(1_000_000 << random.below(14));
    let access = (0..hosts).map(|_| Access { up: rate(random), down: rate(random), ..Access::UNLIMITED });
    let access = access.collect();
    let paths = (0..hosts * hosts).map(|_| {
        let latency = Span(random.below(2) * random.below(20_000_000));
        Path { link: LinkSpec::fixed(latency, rate(random)), is_shared: false }
    });
    Topology::new(access, paths.collect(), |from, to| from.place() * hosts + to.place())
}

pub fn random_graph(random: &mut Random, devices: usize) -> TaskGraph {
    let mut builder = Builder::default();
    let per_device = random.one_in(2);
    if per_device {
        builder.0.device_columns = (0..devices).map(|place| format!("column-{place}")).collect();
    }
    let scale = [1_000, 100_000, 10_000_000, 300_000_000][random.below(4) as usize];
    for _ in 0..random.below(4) {
        let size = random.below(1_000_000);
        builder.item(None, size);
    }
    let tasks = 1 + random.below(40);
    let reach = 1 + random.below(10);
    for place in 0..tasks {
        let cost = if per_device {
            TaskCost::PerDevice((0..devices).map(|_| 1 + random.below(scale)).collect())
        } else {
            // A multiple of 8, so that it is whole at every speed.
            TaskCost::Work(8 * (1 + random.below(scale)))
        };
        let mut inputs: Vec<usize> = Vec::new();
        for _ in 0..random.below(4) {
            let items = builder.0.items.len() as u64;
            if items > 0 {
                inputs.push((items - 1 - random.below(items.min(reach))) as usize);
            }
        }
        inputs.sort_unstable();
        inputs.dedup();
        let after: Vec<usize> =
            if place > 0 && random.one_in(5) { vec![random.below(place) as usize] } else { Vec::new() };
        let kind = KINDS[random.below(3) as usize];
        let task = builder.task(kind, cost, &inputs, &after);
        for _ in 0..random.below(3) {
            let size = [0, 1, 1_000, 3_000_000][random.below(4) as usize];
            builder.item(Some(task), size);
        }
    }
    builder.0
}
