//! How long planners take to plan, the problem being given: `cargo bench -p isochrone-policies --bench planning`.
//!
//! `heft` on graphs of 1,000, 10,000 and 100,000 tasks for 16 and 64 devices, and every other planner on 10,000 x 64. Layered graphs, unrelated times, links that differ; single thread.
//! `--example planning-growth` has other families, sizes and bounds, and says how good plans are.

use std::hint::black_box;
use std::time::Duration;

use criterion::{BenchmarkId, Criterion, SamplingMode, Throughput};
use isochrone_policies::planning::{Batch, Planner};

#[expect(dead_code, reason = "the example uses the rest")]
mod families;
#[path = "../../tests/planners/instances.rs"]
#[expect(dead_code, reason = "the tests use the rest")]
mod instances;

/// `optimal` searches no graph of this size, `fixed` has a file to plan from.
const LEFT_OUT: [&str; 2] = ["fixed", "optimal"];

fn main() {
    let mut criterion = Criterion::default().without_plots().configure_from_args();
    let mut group = criterion.benchmark_group("heft");
    group.sample_size(10).sampling_mode(SamplingMode::Flat);
    group.warm_up_time(Duration::from_millis(500)).measurement_time(Duration::from_secs(3));
    for tasks in [1_000, 10_000, 100_000] {
        for slots in [16, 64] {
            let problem = families::layered(tasks, slots);
            group.throughput(Throughput::Elements(tasks as u64));
            group.bench_function(BenchmarkId::from_parameter(format!("{tasks}x{slots}")), |bencher| {
                bencher.iter(|| black_box(isochrone_policies::Heft.plan(black_box(&problem))));
            });
        }
    }
    group.finish();
    let mut group = criterion.benchmark_group("planners-10000x64");
    group.sample_size(10).sampling_mode(SamplingMode::Flat);
    group.warm_up_time(Duration::from_millis(100)).measurement_time(Duration::from_secs(1));
    let problem = families::layered(10_000, 64);
    for (name, planner) in instances::planners_in(Batch::default()) {
        if !LEFT_OUT.contains(&name) {
            group.bench_function(name, |bencher| {
                bencher.iter(|| black_box(planner.plan(black_box(&problem))));
            });
        }
    }
    group.finish();
    criterion.final_summary();
}
