//! What the `Scheduler` machine itself takes: `cargo bench -p isochrone-policies --bench machine`.
//!
//! 1,000,000 no-op tasks are submitted, placed and finished through `step` under `eager` on 64 devices: once in pieces of
//! 10,000, each of which ends before the next is submitted, and once with all submitted before the first is placed and all placed
//! before the first ends. Only the time inside `step` counts. 100,000 beside them show how it grows.
//! `--example machine-memory` says what memory that takes.

#![expect(clippy::disallowed_methods, reason = "a benchmark reads the clock: that is what it is for")]

use std::time::Duration;

use criterion::{BenchmarkId, Criterion, SamplingMode, Throughput};

#[expect(dead_code, reason = "what memory is taken is asked by an example")]
mod farm;

use farm::Farm;

const DEVICES: usize = 64;
const PIECE: u64 = 10_000;

/// How the tasks come: what it is called, and the run.
type Manner = (&'static str, fn(&mut Farm, u64, u64));

fn main() {
    let mut criterion = Criterion::default().without_plots().configure_from_args();
    let mut group = criterion.benchmark_group("machine");
    group.sample_size(10).sampling_mode(SamplingMode::Flat);
    group.warm_up_time(Duration::from_millis(500));
    let manners: [Manner; 2] = [("pieces", Farm::run_in_pieces), ("at-once", Farm::run_at_once)];
    for (name, run) in manners {
        for tasks in [100_000, 1_000_000_u64] {
            group.throughput(Throughput::Elements(tasks));
            group.measurement_time(Duration::from_secs(if tasks < 1_000_000 { 5 } else { 16 }));
            group.bench_with_input(BenchmarkId::new(name, tasks), &tasks, |bencher, tasks| {
                bencher.iter_custom(|runs| (0..runs).map(|_| one_run(run, *tasks)).sum());
            });
        }
    }
    group.finish();
    criterion.final_summary();
}

fn one_run(run: fn(&mut Farm, u64, u64), tasks: u64) -> Duration {
    let mut farm = Farm::new(DEVICES, "eager", false);
    run(&mut farm, tasks, PIECE);
    assert_eq!(farm.unfinished_tasks(), 0, "every task has ended");
    farm.spent
}
