//! `isochrone sim study` and `isochrone sim merge`.

use std::path::{Path, PathBuf};
use std::thread::available_parallelism;

use anyhow::bail;
use isochrone_metrics::RunManifest;
use isochrone_model::Span;
use isochrone_sim::plot::counted;
use isochrone_sim::study::{self, Progress, Study, StudyOptions, StudySummary, run_study};

use super::arguments::{SimMergeArguments, SimStudyArguments};
use super::clock;
use crate::clock::unix_seconds;
use crate::output;

/// Runs a study or a shard of it.
pub fn study(arguments: &SimStudyArguments) -> anyhow::Result<()> {
    let study = Study::load(&arguments.study)?;
    let stem = arguments.study.file_stem().map(PathBuf::from).unwrap_or_default();
    let folder = arguments.output.clone().unwrap_or(stem);
    let threads = arguments.threads.map(usize::from);
    let threads = threads.unwrap_or_else(|| available_parallelism().map_or(1, usize::from));
    let mut manifest = manifest();
    manifest.note("study", study.file.name.clone());
    manifest.note("study digest", study.digest());
    manifest.note("threads", threads.to_string());
    if let Some(shard) = arguments.shard {
        manifest.note("shard", format!("{}/{}", shard.number, shard.of));
    }
    let clock = clock();
    let mut shown_at = Span::ZERO;
    let mut on_progress = |progress: &Progress| {
        // A line for each of a million cells would be slower than the cells.
        let is_due = progress.elapsed.saturating_sub(shown_at) >= Span::from_millis(200);
        if is_due || progress.finished == progress.cells {
            shown_at = progress.elapsed;
            output::progress(&progress_line(progress));
        }
    };
    let summary = run_study(
        &study,
        &mut StudyOptions {
            output: folder.clone(),
            threads,
            shard: arguments.shard,
            is_resumed: arguments.resume,
            clock: &clock,
            on_progress: &mut on_progress,
            manifest,
        },
    )?;
    output::clear_progress();
    if summary.found > 0 {
        output::line(format!("{} had been finished before", counted(summary.found, "run")));
    }
    tell(&summary);
    match arguments.shard {
        Some(_) => {
            output::line("This was a shard: join all of them with `isochrone sim merge DIR... --output DIR`");
        }
        None => open(&folder),
    }
    Ok(())
}

/// Joins shards.
pub fn merge(arguments: &SimMergeArguments) -> anyhow::Result<()> {
    let summary = study::merge(&arguments.folders, &arguments.output, &manifest())?;
    tell(&summary);
    open(&arguments.output);
    let missing = summary.progress.cells - summary.progress.finished;
    if missing > 0 {
        bail!("{missing} of {} are in none of these folders", counted(summary.progress.cells, "run"));
    }
    Ok(())
}

fn manifest() -> RunManifest {
    RunManifest::new(unix_seconds(), env!("CARGO_PKG_VERSION"), std::env::args().collect())
}

fn tell(summary: &StudySummary) {
    let progress = &summary.progress;
    output::line(format!(
        "{} of {} finished, {} of them failed",
        progress.finished,
        counted(progress.cells, "run"),
        progress.failed
    ));
    for sentence in &summary.sentences {
        output::line(sentence);
    }
    for note in &summary.notes {
        output::line(format!("note: {note}"));
    }
}

/// The line that says where to look.
fn open(folder: &Path) {
    output::line(format!("open {}", folder.join("report.html").display()));
}

fn progress_line(progress: &Progress) -> String {
    let percent = progress.finished * 100 / progress.cells.max(1);
    let left = progress.left.map_or(String::new(), |left| format!(", {} left", seconds(left)));
    let failed = if progress.failed > 0 { format!(", {} failed", progress.failed) } else { String::new() };
    format!(
        "{percent:>3} % ({} of {}{failed}), {} so far{left}",
        progress.finished,
        counted(progress.cells, "run"),
        seconds(progress.elapsed)
    )
}

/// Hours, minutes and seconds, as far as they matter.
fn seconds(span: Span) -> String {
    let seconds = span.0.div_ceil(1_000_000_000);
    match seconds {
        ..60 => format!("{seconds} s"),
        60..3_600 => format!("{} min {:02} s", seconds / 60, seconds % 60),
        _ => format!("{} h {:02} min", seconds / 3_600, seconds / 60 % 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_reads_well() {
        let progress = Progress {
            cells: 400,
            finished: 100,
            failed: 2,
            elapsed: Span::from_millis(61_500),
            left: Some(Span::from_millis(3_700_000)),
        };
        let line = progress_line(&progress);
        assert_eq!(line, " 25 % (100 of 400 runs, 2 failed), 1 min 02 s so far, 1 h 01 min left");
    }
}
