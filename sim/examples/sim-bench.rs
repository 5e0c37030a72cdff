//! What one simulated run takes as a process that does nothing else: `cargo run --release -p isochrone-sim --example sim-bench --
//! [GRAPH] [CLUSTER] [POLICY] [NETWORK] [COMMANDS]`; the last is how many commands the client has open at most.
//!
//! What `isochrone sim run` does: the graph, its bounds, the run, the measures. Prints wall time, steps and the largest resident set;
//! asserts nothing of them. `cargo bench -p isochrone-sim --bench simulation` measures time alone.

#![expect(clippy::disallowed_methods, reason = "a benchmark reads the clock: that is what it is for")]

use std::path::Path;
use std::time::Instant;

use isochrone_sim::network::network as network_model;
use isochrone_sim::simulation::{Simulation, Yardstick, problem};
use isochrone_sim::sources;
use isochrone_workload::task_graph::ReadOptions;

fn main() {
    let mut arguments = std::env::args().skip(1);
    let mut next = |default: &str| arguments.next().unwrap_or_else(|| default.to_owned());
    let graph = next("task-bench(pattern=stencil_1d,width=500,steps=200,work=1000000)");
    let cluster = next("uniform(agents=64,latency_us=100,bandwidth_mbit=10000)");
    let (policy, network) = (next("eager(queue=4)"), next("shared"));
    let commands_open_max = next("16384").parse().expect("a number of commands");
    let here = Path::new(".");
    let whole = Instant::now();
    let graph = sources::graph(&graph, here, &ReadOptions::default()).expect("a graph").graph;
    let cluster = sources::cluster(&cluster, here).expect("a cluster");
    let made = whole.elapsed();
    // Before the run, as the command does, so that the two do not need their memory at the same time.
    let model = network_model(&network, &cluster, 0).expect("a network");
    let yardstick = Yardstick::new(&problem(&graph, &cluster, model.as_ref()));
    let begun = Instant::now();
    let simulation =
        Simulation::new(&graph, &cluster, &policy).network(&network).commands_open_max(commands_open_max);
    let outcome = simulation.run().expect("a whole run");
    let ran = begun.elapsed();
    let measures = yardstick.measure(&outcome);
    let whole = whole.elapsed();
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB"));
    let peak_mb = peak.and_then(|kib| kib.parse().ok()).map_or(f64::NAN, |kib: f64| kib * 1_024.0 / 1e6);
    println!(
        "{} tasks, {} transfers on {} devices under {policy}, {network}, {commands_open_max} commands open: {:.3} s whole ({:.2} s to make the graph, {:.3} s the run), {peak_mb:.0} MB; {} steps, {:.1} us a task; makespan {}, {:.2} times the lower bound, turnaround {}, digest {}",
        graph.tasks.len(),
        outcome.transfers.len(),
        cluster.devices().count(),
        whole.as_secs_f64(),
        made.as_secs_f64(),
        ran.as_secs_f64(),
        outcome.steps,
        ran.as_secs_f64() * 1e6 / graph.tasks.len() as f64,
        outcome.makespan,
        measures.makespan_ns as f64 / measures.lower_bound_ns.max(1) as f64,
        outcome.turnaround,
        outcome.digest(),
    );
}
