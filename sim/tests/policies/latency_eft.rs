//! `latency-eft` where nothing has been measured yet. In virtual time, so that the numbers are the same on every machine.

use std::path::Path;

use isochrone_sim::simulation::{Knowledge, Simulation};
use isochrone_sim::sources;
use isochrone_workload::task_graph::ReadOptions;

use crate::STEPS_MAX;

/// A workflow, two fast servers at hand, and boxes behind radio links: whoever sends each kernel's second task to a box, since a
/// server is finding out about the first, waits for what it makes there to come back over narrow uplinks. Before, this took 17 to
/// 19 s, 300 times what `heft` takes.
#[test]
fn nothing_goes_behind_a_slow_link_to_learn_what_a_near_server_tells_soon() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR"));
    let graph =
        sources::graph("studies/instances/montage.wfcommons-1.6.json", directory, &ReadOptions::default());
    let graph = graph.expect("a graph").graph;
    let cluster = sources::cluster("clusters/edge-5g-starlink.toml", directory).expect("a cluster");
    for seed in 1..6 {
        let makespan = |policy| {
            let simulation =
                Simulation::new(&graph, &cluster, policy).network("quic").knowledge(Knowledge::Blind);
            simulation.seed(seed).steps_max(STEPS_MAX).run().expect("a run that ends").makespan
        };
        let (latency_eft, heft) = (makespan("latency-eft"), makespan("heft"));
        assert!(latency_eft.0 <= 4 * heft.0, "{latency_eft} beside {heft} of heft, seed {seed}");
    }
}
