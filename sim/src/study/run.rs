//! Running a study's cells on all cores.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::thread;

use isochrone_metrics::RunManifest;
use isochrone_model::Span;

use super::StudyError;
use super::grid::{Cell, Instance, Study};
use super::html::{Written, write_all};
use super::results::{CellEnd, CellMeasures, CellRecord, ResultsFile, ResultsHeader};
use crate::cluster::Cluster;
use crate::network::network;
use crate::plot::gantt;
use crate::simulation::{Outcome, Simulation, SimulationError, Yardstick, problem};
use crate::sources::{self, GraphSource};

/// A part of a study: every `of`-th instance from the `number`-th on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shard {
    /// From 1.
    pub number: usize,
    /// How many shards there are.
    pub of: usize,
}

/// How to run a study.
pub struct StudyOptions<'a> {
    /// Where results go.
    pub output: PathBuf,
    /// Threads; 1 at least.
    pub threads: usize,
    /// Only a part.
    pub shard: Option<Shard>,
    /// Whether to go on with results that are there.
    pub is_resumed: bool,
    /// The host's clock, for progress and decision times; nothing else depends on it.
    pub clock: &'a (dyn Fn() -> Span + Sync),
    /// Told after each cell.
    pub on_progress: &'a mut dyn FnMut(&Progress),
    /// Written beside the results.
    pub manifest: RunManifest,
}

/// How far a study is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Cells of this study or shard.
    pub cells: usize,
    /// Of them finished, those found finished included.
    pub finished: usize,
    /// Of them failed.
    pub failed: usize,
    /// Since the start.
    pub elapsed: Span,
    /// By the pace so far.
    pub left: Option<Span>,
}

/// What came of it.
#[derive(Clone, Debug)]
pub struct StudySummary {
    /// At the end.
    pub progress: Progress,
    /// Cells that an earlier run had finished.
    pub found: usize,
    /// What was written.
    pub files: Vec<PathBuf>,
    /// The result, a sentence for each condition; empty for a shard.
    pub sentences: Vec<String>,
    /// What was asked for and not done, and why.
    pub notes: Vec<String>,
}

/// Runs what is missing, then writes tables and report; a shard only adds to its results, for [`super::merge`].
///
/// # Errors
/// When a file cannot be used. Cells that fail are recorded and fail nothing.
pub fn run_study(study: &Study, options: &mut StudyOptions<'_>) -> Result<StudySummary, StudyError> {
    let folder = options.output.clone();
    fs::create_dir_all(&folder).map_err(StudyError::file(&folder))?;
    let header = ResultsHeader::new(study);
    let (mut results, mut records) = ResultsFile::open(&folder, &header, options.is_resumed)?;
    let copy = folder.join("study.toml");
    fs::write(&copy, &study.text).map_err(StudyError::file(&copy))?;
    write_manifest(&folder, &options.manifest)?;
    let mine: Vec<Instance> = study
        .instances()
        .filter(|instance| options.shard.is_none_or(|shard| instance.index % shard.of == shard.number - 1))
        .collect();
    let cells = mine.len() * study.policies.len();
    let gantts = study.gantt_cells();
    let mut todo: Vec<(Instance, Vec<usize>)> = Vec::new();
    let (mut found, mut failed) = (0, 0);
    for instance in mine {
        let mut missing = Vec::new();
        for policy in 0..study.policies.len() {
            match records.get(&study.key(Cell { instance, policy })) {
                None => missing.push(policy),
                Some(record) => {
                    found += 1;
                    failed += usize::from(matches!(record.end, CellEnd::Failed(_)));
                }
            }
        }
        if !missing.is_empty() {
            todo.push((instance, missing));
        }
    }
    let mut progress = Progress { cells, finished: found, failed, ..Progress::default() };
    let began = (options.clock)();
    run_instances(study, &folder, &todo, &gantts, options, &mut |record, clock, on_progress| {
        results.add(&record)?;
        progress.finished += 1;
        progress.failed += usize::from(matches!(record.end, CellEnd::Failed(_)));
        progress.elapsed = clock.saturating_sub(began);
        let done = (progress.finished - found) as u128;
        let left = u128::from(progress.elapsed.0) * (cells - progress.finished) as u128 / done.max(1);
        progress.left = Some(Span(u64::try_from(left).unwrap_or(u64::MAX)));
        records.insert(record.key.clone(), record);
        on_progress(&progress);
        Ok(())
    })?;
    let Written { files, sentences } = match options.shard {
        Some(_) => Written { files: vec![folder.join(super::results::RESULTS_FILE)], sentences: Vec::new() },
        None => write_all(study, &records, &folder)?,
    };
    Ok(StudySummary { progress, found, files, sentences, notes: study.notes() })
}

pub(super) fn write_manifest(folder: &Path, manifest: &RunManifest) -> Result<(), StudyError> {
    let path = folder.join("manifest.json");
    let text = serde_json::to_string_pretty(manifest).map_err(StudyError::Json)?;
    fs::write(&path, text + "\n").map_err(StudyError::file(&path))
}

type Taken<'a> = &'a mut dyn FnMut(CellRecord, Span, &mut dyn FnMut(&Progress)) -> Result<(), StudyError>;

/// Threads take the next instance; records come back in whatever order they end in.
fn run_instances(
    study: &Study,
    folder: &Path,
    todo: &[(Instance, Vec<usize>)],
    gantts: &[Cell],
    options: &mut StudyOptions<'_>,
    take: Taken<'_>,
) -> Result<(), StudyError> {
    let next = AtomicUsize::new(0);
    let (sender, receiver) = channel();
    let clock = options.clock;
    let drawn: BTreeSet<usize> = gantts.iter().map(|cell| cell.instance.index).collect();
    if !drawn.is_empty() {
        let figures = folder.join("figures");
        fs::create_dir_all(&figures).map_err(StudyError::file(&figures))?;
    }
    thread::scope(|scope| {
        for _ in 0..options.threads.clamp(1, todo.len().max(1)) {
            let sender = sender.clone();
            let (next, drawn) = (&next, &drawn);
            scope.spawn(move || {
                while let Some((instance, policies)) = todo.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let gantts = if drawn.contains(&instance.index) { gantts } else { &[] };
                    let work = Work { study, folder, instance: *instance, gantts, clock };
                    if !work.run(policies, &sender) {
                        // Nobody takes results any more: they could not be written.
                        return;
                    }
                }
            });
        }
        drop(sender);
        for record in receiver {
            take(record?, clock(), options.on_progress)?;
        }
        Ok(())
    })
}

struct Work<'a> {
    study: &'a Study,
    folder: &'a Path,
    instance: Instance,
    gantts: &'a [Cell],
    clock: &'a (dyn Fn() -> Span + Sync),
}

struct Prepared {
    source: GraphSource,
    cluster: Cluster,
    yardstick: Yardstick,
}

impl Work<'_> {
    /// Runs these policies on the instance; false when nobody listens.
    fn run(&self, policies: &[usize], sender: &Sender<Result<CellRecord, StudyError>>) -> bool {
        let prepared = quietly(|| self.prepare());
        for policy in policies {
            let cell = Cell { instance: self.instance, policy: *policy };
            let record = match &prepared {
                Err(reason) => Ok(self.record(cell, CellEnd::Failed(reason.clone()), None)),
                Ok(prepared) => self.run_cell(prepared, cell),
            };
            if sender.send(record).is_err() {
                return false;
            }
        }
        true
    }

    fn prepare(&self) -> Result<Prepared, String> {
        let study = self.study;
        let options = &study.graphs[self.instance.graph].options;
        let source = sources::graph(&study.graph_text(self.instance), &study.directory, options)
            .map_err(|error| whole_reason(&error))?;
        let cluster = sources::cluster(&study.cluster_text(self.instance), &study.directory)
            .map_err(|error| whole_reason(&error))?;
        let label = &study.file.networks[self.instance.network];
        let model = network(label, &cluster, self.instance.seed).map_err(|error| whole_reason(&error))?;
        source.graph.validate().map_err(|error| whole_reason(&error))?;
        let yardstick = Yardstick::new(&problem(&source.graph, &cluster, model.as_ref()));
        Ok(Prepared { source, cluster, yardstick })
    }

    fn record(&self, cell: Cell, end: CellEnd, decision_ns: Option<u64>) -> CellRecord {
        CellRecord { key: self.study.key(cell), end, decision_ns }
    }

    fn run_cell(&self, prepared: &Prepared, cell: Cell) -> Result<CellRecord, StudyError> {
        let label = self.study.policy_label(cell);
        let stopwatch = || (self.clock)();
        let simulation = Simulation::new(&prepared.source.graph, &prepared.cluster, &label)
            .network(&self.study.file.networks[self.instance.network])
            .knowledge(self.study.knowledge[self.instance.knowledge])
            .seed(self.instance.seed)
            .steps_max(self.study.file.steps_max)
            .stopwatch(&stopwatch);
        let made = quietly(|| simulation.run().map_err(|error: SimulationError| whole_reason(&error)));
        let outcome = match made {
            Err(reason) => return Ok(self.record(cell, CellEnd::Failed(reason), None)),
            Ok(outcome) => outcome,
        };
        if let Some(number) = self.gantts.iter().position(|chosen| *chosen == cell) {
            let text = self.study.graph_text(self.instance);
            let name = sources::graph_name(&text, &self.study.directory, &prepared.source.graph);
            let network = &self.study.file.networks[self.instance.network];
            let title = format!("{label} on {name} ({network})");
            let svg = gantt(&title, &prepared.source.graph, &prepared.cluster, &outcome);
            let path = self.folder.join("figures").join(gantt_file(number));
            fs::write(&path, svg).map_err(StudyError::file(&path))?;
        }
        let measures = measures(prepared, &outcome);
        Ok(self.record(cell, CellEnd::Done(measures), outcome.decision_time.map(|span| span.0)))
    }
}

/// The file of the chart that the study names at this place.
pub(super) fn gantt_file(number: usize) -> String {
    format!("gantt-{}.svg", number + 1)
}

fn measures(prepared: &Prepared, outcome: &Outcome) -> CellMeasures {
    CellMeasures {
        tasks: outcome.tasks.len() as u64,
        slots: outcome.devices.iter().map(|device| device.slots as u64).sum(),
        makespan_ns: outcome.makespan.0,
        turnaround_ns: outcome.turnaround.0,
        critical_path_ns: prepared.yardstick.critical_path().0,
        lower_bound_ns: prepared.yardstick.lower_bound().0,
        area_bound_ns: Some(prepared.yardstick.area().0),
        alone_ns: prepared.yardstick.alone().map(|span| span.0),
        busy_ns: outcome.devices.iter().fold(0, |sum, device| sum.saturating_add(device.busy.0)),
        moved_bytes: outcome.moved_bytes,
        transfers: outcome.transfers.len() as u64,
        steps: outcome.steps,
        rejections: outcome.rejections,
        digest: outcome.digest(),
    }
}

/// A bug in one policy must not end a study of a thousand runs: its panic becomes the cell's failure.
fn quietly<T>(work: impl FnOnce() -> Result<T, String>) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
        Err(format!("panicked: {}", text.unwrap_or_else(|| "without a word".to_owned())))
    })
}

/// An error with what caused it, on one line.
fn whole_reason(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text.replace('\n', " ")
}

/// Records of all cells by key.
pub(super) type Records = BTreeMap<String, CellRecord>;
