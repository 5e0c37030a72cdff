//! What the flagship does where it once lost: nothing known of devices, estimates that are poor, machines that are far away. All in virtual
//! time, so that the numbers are the same on every machine; bounds are far from what is seen, and from what was seen before.

use std::collections::BTreeSet;
use std::path::Path;

use isochrone_sim::simulation::{Knowledge, Outcome, Simulation};
use isochrone_sim::sources;
use isochrone_workload::task_graph::ReadOptions;

use crate::STEPS_MAX;

/// A run over new connections.
fn run(graph: &str, cluster: &str, policy: &str, knowledge: Knowledge) -> Outcome {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("studies");
    let graph = sources::graph(graph, &directory, &ReadOptions::default()).expect("a graph").graph;
    let cluster = sources::cluster(cluster, &directory).expect("a cluster");
    let simulation = Simulation::new(&graph, &cluster, policy).network("quic").knowledge(knowledge);
    simulation.seed(1).steps_max(STEPS_MAX).run().expect("a run that ends")
}

/// The geometric mean over graphs of `foresight`'s makespan over another policy's.
fn ratio(graphs: &[String], cluster: &str, knowledge: Knowledge, other: &str) -> f64 {
    let logarithm = |graph: &String| {
        let of = |policy| run(graph, cluster, policy, knowledge).makespan.0 as f64;
        (of("foresight") / of(other)).ln()
    };
    (graphs.iter().map(logarithm).sum::<f64>() / graphs.len() as f64).exp()
}

fn layered(seeds: std::ops::Range<u64>) -> Vec<String> {
    let text = |seed| format!("layered(tasks=40,work=20000000,ccr=0.5,bandwidth=125000000,seed={seed})");
    seeds.map(text).collect()
}

#[test]
fn knowing_nothing_it_does_not_always_begin_with_the_first_machine() {
    // The first is the slowest. Far apart, all is done by one machine; by which is drawn for each graph.
    let cluster = "uniform(agents=4,speeds=1:2:3:4,latency_us=80000,bandwidth_mbit=1000)";
    let graphs = layered(1..17);
    let busiest = graphs.iter().map(|graph| {
        let outcome = run(graph, cluster, "foresight", Knowledge::Blind);
        let on = |device: usize| outcome.tasks.iter().filter(|task| task.device == device).count();
        (0..4).max_by_key(|device| on(*device)).unwrap()
    });
    assert_eq!(busiest.collect::<BTreeSet<usize>>().len(), 4, "each is drawn by one of sixteen graphs");
    let ratio = ratio(&graphs, cluster, Knowledge::Blind, "fastest-device");
    assert!(ratio < 0.75, "{ratio} of what the first machine takes; it was 1.0");
}

#[test]
fn wrong_latencies_do_not_lure_it_to_many_machines() {
    // Sixty-four machines have 4,032 links, of which some always look faster than they are.
    let cluster = "uniform(agents=64,speeds=1:2:3:4,latency_us=5000,bandwidth_mbit=1000)";
    let graphs: Vec<String> = [1, 2]
        .map(|seed| {
            format!("cholesky(tiles=6,work=20000000,ccr=1,bandwidth=125000000,spread=0.5,seed={seed})")
        })
        .to_vec();
    let ratio = ratio(&graphs, cluster, Knowledge::Noisy { percent: 40 }, "fastest-device");
    assert!(ratio < 1.2, "{ratio} of what the fastest machine takes; it was 1.8");
}

#[test]
fn it_foresees_what_new_connections_of_the_client_cost() {
    // One near machine of speed 1, seven of speed 4 that are 200 ms away; the client has the inputs.
    let graph = "cholesky(tiles=6,work=20000000,ccr=1,bandwidth=125000000,spread=0.5,seed=1)";
    let alone = run(graph, "clusters/offload-none.toml", "foresight", Knowledge::Exact).makespan;
    let all = run(graph, "clusters/offload-200000.toml", "foresight", Knowledge::Exact).makespan;
    assert!(all.0 < 2 * alone.0, "{all} with the far machines, {alone} without; it was 6.5 times as long");
}
