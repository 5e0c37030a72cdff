//! Runs a study without the command line's other parts: `cargo run --release -p isochrone-sim --example study -- STUDY.toml OUTPUT [I/N]`,
//! and joins shards: `... --example study -- merge OUTPUT SHARD...`.
//!
//! The same as `isochrone sim study` and `isochrone sim merge`, but it builds with the simulator alone.

#![expect(clippy::disallowed_methods, reason = "progress and decision times need the clock; results do not")]

use std::path::{Path, PathBuf};
use std::time::Instant;

use isochrone_metrics::RunManifest;
use isochrone_model::Span;
use isochrone_sim::study::{Progress, Shard, Study, StudyOptions, merge, run_study};

fn manifest() -> RunManifest {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let seconds = since.map_or(0, |since| since.as_secs());
    RunManifest::new(seconds, env!("CARGO_PKG_VERSION"), std::env::args().collect())
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let manifest = manifest();
    if let [word, output, shards @ ..] = arguments.as_slice()
        && word == "merge"
    {
        let shards: Vec<PathBuf> = shards.iter().map(PathBuf::from).collect();
        let summary = merge(&shards, Path::new(output), &manifest).expect("shards of one study");
        println!(
            "{} of {} runs, {} failed",
            summary.progress.finished, summary.progress.cells, summary.progress.failed
        );
        return;
    }
    let [study, output, rest @ ..] = arguments.as_slice() else {
        eprintln!("study STUDY.toml OUTPUT [I/N] | study merge OUTPUT SHARD...");
        std::process::exit(2);
    };
    let shard = rest.first().map(|text| {
        let (number, of) = text.split_once('/').expect("a shard is I/N");
        Shard { number: number.parse().expect("a number"), of: of.parse().expect("a number") }
    });
    let study = Study::load(Path::new(study)).expect("a study");
    let begun = Instant::now();
    let clock = || Span(u64::try_from(begun.elapsed().as_nanos()).unwrap_or(u64::MAX));
    let mut told = 0;
    let mut on_progress = |progress: &Progress| {
        if progress.elapsed.0 / 20_000_000_000 > told {
            told = progress.elapsed.0 / 20_000_000_000;
            eprintln!(
                "{} of {} runs, {} s",
                progress.finished,
                progress.cells,
                progress.elapsed.0 / 1_000_000_000
            );
        }
    };
    let summary = run_study(
        &study,
        &mut StudyOptions {
            output: PathBuf::from(output),
            threads: std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
            shard,
            is_resumed: true,
            clock: &clock,
            on_progress: &mut on_progress,
            manifest,
        },
    )
    .expect("a study that can be run");
    let Progress { cells, finished, failed, elapsed, .. } = summary.progress;
    println!("{finished} of {cells} runs, {failed} failed, {:.1} s", elapsed.0 as f64 / 1e9);
}
