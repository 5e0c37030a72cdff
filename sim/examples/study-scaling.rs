//! How much faster a study is on several threads: `cargo run --release -p isochrone-sim --example study-scaling -- [STUDY.toml] [THREADS] [ROUNDS]`.
//!
//! The study is run on one thread and on so many (2) in turns, so many rounds (3); what is told are medians by the clock and their ratio,
//! of the runs alone and of the whole with its report and figures. What else runs on the machine decides as much as the program
//! does: so processor time is told too. If it does not grow with threads, nothing but cores is missing. Prints; asserts nothing of
//! times, but that runs are the same.

#![expect(clippy::disallowed_methods, reason = "a benchmark reads the clock: that is what it is for")]

use std::path::Path;
use std::time::Instant;

use isochrone_metrics::RunManifest;
use isochrone_model::Span;
use isochrone_sim::study::{Progress, Study, StudyOptions, run_study};

/// Seconds.
struct Taken {
    runs: f64,
    whole: f64,
    /// Of the processor, over all threads.
    busy: f64,
    cells: usize,
    makespans: Vec<u8>,
}

fn main() {
    let mut arguments = std::env::args().skip(1);
    let mut next = |default: &str| arguments.next().unwrap_or_else(|| default.to_owned());
    let file = next("sim/studies/quick.toml");
    let threads: usize = next("2").parse().expect("a number of threads");
    let rounds: usize = next("3").parse().expect("a number of rounds");
    let study = Study::load(Path::new(&file)).expect("a study");
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    println!(
        "{file} on {cores} cores, load before {}",
        load.split(' ').take(3).collect::<Vec<_>>().join(" ")
    );
    let (mut one, mut several) = (Vec::new(), Vec::new());
    for round in 1..=rounds {
        one.push(run_once(&study, 1));
        several.push(run_once(&study, threads));
        let (one, several) = (&one[round - 1], &several[round - 1]);
        assert!(one.makespans == several.makespans, "the same study gives the same runs");
        println!(
            "round {round}: {} runs; 1 thread {:.2} s ({:.2} s whole, {:.2} s of the processor), {threads} threads {:.2} s ({:.2} s whole, {:.2} s of the processor)",
            one.cells, one.runs, one.whole, one.busy, several.runs, several.whole, several.busy
        );
    }
    let ratio = |of: fn(&Taken) -> f64| median(one.iter().map(of)) / median(several.iter().map(of));
    println!(
        "{threads} threads are {:.2} times as fast as one ({:.2} times with report and figures), and take {:.2} times its processor time",
        ratio(|taken| taken.runs),
        ratio(|taken| taken.whole),
        1.0 / ratio(|taken| taken.busy)
    );
}

fn run_once(study: &Study, threads: usize) -> Taken {
    let folder = tempfile::tempdir().expect("a folder");
    let busy_before = processor_seconds();
    let begun = Instant::now();
    let clock = || Span(u64::try_from(begun.elapsed().as_nanos()).unwrap_or(u64::MAX));
    let mut runs = Span::ZERO;
    let mut on_progress = |progress: &Progress| runs = progress.elapsed;
    let summary = run_study(
        study,
        &mut StudyOptions {
            output: folder.path().to_owned(),
            threads,
            shard: None,
            is_resumed: false,
            clock: &clock,
            on_progress: &mut on_progress,
            manifest: RunManifest::new(0, env!("CARGO_PKG_VERSION"), Vec::new()),
        },
    )
    .expect("a study that can be run");
    let whole = begun.elapsed().as_secs_f64();
    let busy = processor_seconds() - busy_before;
    assert_eq!(summary.progress.failed, 0, "every run of the study ends");
    let makespans = std::fs::read(folder.path().join("makespans.csv")).expect("a table of makespans");
    Taken { runs: runs.0 as f64 / 1e9, whole, busy, cells: summary.progress.cells, makespans }
}

/// What this process has taken so far, in user and kernel mode; Linux counts in hundredths.
fn processor_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields = stat.rsplit(')').next().unwrap_or_default().split_ascii_whitespace();
    let ticks: u64 = fields.skip(11).take(2).filter_map(|field| field.parse::<u64>().ok()).sum();
    ticks as f64 / 100.0
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_unstable_by(f64::total_cmp);
    values[values.len() / 2]
}
