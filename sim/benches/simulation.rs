//! How long one whole simulated run takes: `cargo bench -p isochrone-sim --bench simulation`.
//!
//! What `isochrone sim run` does, through the library: 100,000 tasks (`stencil_1d`, 500 wide, 200 long) on 64 devices under `shared` with
//! `eager(queue=4)`: the graph is made, bounds are found, the run is simulated, the report is written. A tenth of the length beside it
//! shows how it grows. Single thread. What memory it takes a process says that does nothing else: `--example sim-bench`.

use std::hint::black_box;
use std::path::Path;
use std::time::Duration;

use criterion::{BenchmarkId, Criterion, SamplingMode, Throughput};
use isochrone_sim::network::network;
use isochrone_sim::run_report::{RunReport, RunSettings};
use isochrone_sim::simulation::{Simulation, Yardstick, problem};
use isochrone_sim::sources;
use isochrone_workload::task_graph::ReadOptions;

const CLUSTER: &str = "uniform(agents=64,latency_us=100,bandwidth_mbit=10000)";
const NETWORK: &str = "shared";
const POLICY: &str = "eager(queue=4)";
const WIDTH: u64 = 500;
/// With this bound on the client's open commands the run keeps to 150 MB.
const BOUND: usize = 16_384;
/// The default of `isochrone sim run`, which bounds nothing here.
const DEFAULT: usize = 4_000_000;

fn main() {
    let mut criterion = Criterion::default().without_plots().configure_from_args();
    let mut group = criterion.benchmark_group("sim-run");
    group.sample_size(10).sampling_mode(SamplingMode::Flat);
    group.warm_up_time(Duration::from_millis(500)).measurement_time(Duration::from_secs(15));
    for (name, commands_open_max) in [("bound", BOUND), ("default", DEFAULT)] {
        for steps in [20, 200] {
            let tasks = WIDTH * steps;
            group.throughput(Throughput::Elements(tasks));
            group.bench_with_input(BenchmarkId::new(name, tasks), &steps, |bencher, steps| {
                bencher.iter(|| black_box(whole_run(*steps, commands_open_max)));
            });
        }
    }
    group.finish();
    criterion.final_summary();
}

/// From the names of things to the report.
fn whole_run(steps: u64, commands_open_max: usize) -> String {
    let name = format!("task-bench(pattern=stencil_1d,width={WIDTH},steps={steps},work=1000000)");
    let here = Path::new(".");
    let source = sources::graph(&name, here, &ReadOptions::default()).expect("a graph");
    let cluster = sources::cluster(CLUSTER, here).expect("a cluster");
    let model = network(NETWORK, &cluster, 0).expect("a network");
    let yardstick = Yardstick::new(&problem(&source.graph, &cluster, model.as_ref()));
    let simulation = Simulation::new(&source.graph, &cluster, POLICY).network(NETWORK);
    let outcome = simulation.commands_open_max(commands_open_max).run().expect("a whole run");
    let measures = yardstick.measure(&outcome);
    let settings = RunSettings { graph: name, assumptions: source.assumptions, ..RunSettings::default() };
    RunReport::new(settings, &source.graph, &outcome, measures).digest
}
