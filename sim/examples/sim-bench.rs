//! What one simulated run takes: `cargo run --release -p isochrone-sim --example sim-bench -- [GRAPH] [CLUSTER] [POLICY] [NETWORK] [COMMANDS]`;
//! the last is how many commands the client has open at most.
//!
//! Prints wall time, steps and memory; asserts nothing of them.

#![expect(clippy::disallowed_methods, reason = "a benchmark reads the clock: that is what it is for")]

use std::path::Path;
use std::time::Instant;

use isochrone_sim::simulation::Simulation;
use isochrone_sim::sources;
use isochrone_workload::task_graph::ReadOptions;

fn main() {
    let mut arguments = std::env::args().skip(1);
    let mut next = |default: &str| arguments.next().unwrap_or_else(|| default.to_owned());
    let graph = next("task-bench(pattern=stencil_1d,width=500,steps=200,work=1000000)");
    let cluster = next("uniform(agents=64,latency_us=100,bandwidth_mbit=10000)");
    let (policy, network) = (next("eager"), next("shared"));
    let commands_open_max = next("4000000").parse().expect("a number of commands");
    let here = Path::new(".");
    let begun = Instant::now();
    let graph = sources::graph(&graph, here, &ReadOptions::default()).expect("a graph").graph;
    let cluster = sources::cluster(&cluster, here).expect("a cluster");
    let made = begun.elapsed();
    let begun = Instant::now();
    let simulation =
        Simulation::new(&graph, &cluster, &policy).network(&network).commands_open_max(commands_open_max);
    let outcome = simulation.run().expect("a whole run");
    let ran = begun.elapsed();
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let peak = status.lines().find(|line| line.starts_with("VmHWM")).unwrap_or("VmHWM: not known").to_owned();
    println!(
        "{} tasks, {} transfers on {} devices under {policy}, {network}: {:.2} s ({:.2} s to make the graph), {} steps, {:.1} us a task, {peak}; makespan {}, turnaround {}, digest {}",
        graph.tasks.len(),
        outcome.transfers.len(),
        cluster.devices().count(),
        ran.as_secs_f64(),
        made.as_secs_f64(),
        outcome.steps,
        ran.as_secs_f64() * 1e6 / graph.tasks.len() as f64,
        outcome.makespan,
        outcome.turnaround,
        outcome.digest(),
    );
}
