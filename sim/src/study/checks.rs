//! What a study's file says, held against the grid: sizes, names, files, and what its report is to show.
//!
//! Must never change the study.

use std::collections::BTreeSet;
use std::fmt::Display;
use std::path::Path;

use isochrone_model::suggestion::did_you_mean;
use isochrone_workload::task_graph::{GeneratorSpec, UnsaidOption};

use super::StudyError;
use super::definition::GanttChoice;
use super::grid::{Study, seeded};
use crate::network::network;
use crate::sources::{self, SourceError};

/// A grid of more runs is a mistake.
const RUNS_MAX: usize = 50_000_000;
/// Names that an error lists.
const LISTED_MAX: usize = 8;

/// What is wrong with a value of the file, and under which key.
pub(super) struct Wrong {
    key: String,
    what: String,
}

impl Wrong {
    pub fn new(key: impl Into<String>, what: impl Display) -> Self {
        Self { key: key.into(), what: what.to_string() }
    }

    pub fn in_file(self, path: &Path) -> StudyError {
        StudyError::Value { path: path.to_owned(), key: self.key, what: self.what }
    }
}

/// All that can be looked at without the files that the study names.
pub(super) fn check(study: &Study) -> Result<(), Wrong> {
    check_size(study)?;
    let report = &study.file.report;
    if !(report.confidence > 0.0 && report.confidence < 1.0) {
        let what = format!("{} does not lie between 0 and 1", report.confidence);
        return Err(Wrong::new("report.confidence", what));
    }
    let names = study.policy_names();
    if let Some(reference) = report.reference.as_ref().filter(|name| !names.contains(name)) {
        let instead = did_you_mean(reference, names.iter().map(String::as_str));
        let what = format!("`{reference}` is not among the policies of the study{instead}");
        return Err(Wrong::new("report.reference", what));
    }
    check_axis(study)
}

fn check_size(study: &Study) -> Result<(), Wrong> {
    let lists = [
        ("graphs", study.graphs.len()),
        ("clusters", study.clusters.len()),
        ("networks", study.file.networks.len()),
        ("knowledge", study.knowledge.len()),
        ("seeds", study.seeds.len()),
        ("policies", study.policies.len()),
    ];
    let mut runs: usize = 1;
    for (name, length) in lists {
        if length == 0 {
            return Err(Wrong::new(name, "is empty: the study has no runs"));
        }
        runs = runs.saturating_mul(length);
    }
    if runs > RUNS_MAX {
        return Err(Wrong::new("graphs", format!("the study has {runs} runs; at most {RUNS_MAX} are made")));
    }
    Ok(())
}

fn check_axis(study: &Study) -> Result<(), Wrong> {
    let Some(axis) = &study.file.report.axis else { return Ok(()) };
    let key = "report.axis";
    let names: BTreeSet<&str> =
        study.clusters.iter().flat_map(|cluster| cluster.parameters.keys()).map(String::as_str).collect();
    if !names.contains(axis.as_str()) {
        let there = match names.len() {
            0 => "none has a `for`".to_owned(),
            1 => format!("there is {}", listed(&names)),
            _ => format!("there are {}", listed(&names)),
        };
        return Err(Wrong::new(key, format!("no cluster has `{axis}` in its `for`; {there}")));
    }
    let values = study.clusters.iter().filter_map(|cluster| cluster.parameters.get(axis));
    match values.into_iter().find(|value| !value.parse::<f64>().is_ok_and(f64::is_finite)) {
        Some(value) => {
            Err(Wrong::new(key, format!("`{axis}` has the value `{value}`; an axis needs numbers")))
        }
        None => Ok(()),
    }
}

/// Which key of a choice no run of the grid begins with.
pub(super) fn unmatched(study: &Study, choice: &GanttChoice) -> String {
    let texts = |points: &[super::Point]| {
        let of = |point: &super::Point| {
            study.seeds.iter().map(|seed| seeded(&point.text, *seed)).collect::<Vec<_>>()
        };
        points.iter().flat_map(of).collect::<Vec<_>>()
    };
    let there = [
        ("graph", &choice.graph, texts(&study.graphs)),
        ("cluster", &choice.cluster, texts(&study.clusters)),
        ("network", &choice.network, study.file.networks.clone()),
        ("knowledge", &choice.knowledge, study.knowledge.iter().map(ToString::to_string).collect()),
        ("policy", &choice.policy, study.policies.clone()),
    ];
    for (key, wanted, there) in &there {
        if !there.iter().any(|text| text.starts_with(wanted.as_str())) {
            let there: BTreeSet<&str> = there.iter().map(String::as_str).collect();
            return format!("no {key} of the study begins with `{wanted}`; there is {}", listed(&there));
        }
    }
    "no run of the study has all of this".to_owned()
}

fn listed(names: &BTreeSet<&str>) -> String {
    let shown: Vec<&str> = names.iter().copied().take(LISTED_MAX).collect();
    match names.len().saturating_sub(LISTED_MAX) {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}

/// Everything that the study names is read once, so that nothing is found wrong halfway.
pub(super) fn check_sources(study: &Study, path: &Path) -> Result<(), StudyError> {
    let seed = study.seeds[0];
    for point in &study.graphs {
        let text = seeded(&point.text, seed);
        // What a generator makes is looked at by those that run it: it can be large.
        if study.inputs.contains_key(&text) || text.parse::<GeneratorSpec>().is_err() {
            sources::graph(&text, &study.directory, &point.options)
                .map_err(|error| named(error, "graphs", text, path))?;
        }
    }
    for point in &study.clusters {
        let text = seeded(&point.text, seed);
        let cluster = sources::cluster(&text, &study.directory)
            .map_err(|error| named(error, "clusters", text, path))?;
        for label in &study.file.networks {
            network(label, &cluster, seed).map_err(|error| Wrong::new("networks", error).in_file(path))?;
        }
    }
    Ok(())
}

fn named(error: SourceError, key: &str, text: String, path: &Path) -> StudyError {
    let what = match &error {
        SourceError::NoFile { .. } => format!("{error} (paths are from the study's folder)"),
        SourceError::Unsaid { option: UnsaidOption::DurationNs, .. } => {
            format!("{error}: `duration_unsaid_ns = NANOSECONDS` beside its `graph`")
        }
        SourceError::Unsaid { option: UnsaidOption::ItemBytes, .. } => {
            format!("{error}: `bytes_unsaid = BYTES` beside its `graph`")
        }
        SourceError::Graph { .. } => error.to_string(),
        SourceError::Read(_) | SourceError::Generate { .. } | SourceError::Cluster { .. } => {
            return StudyError::Source { path: path.to_owned(), text, source: Box::new(error) };
        }
    };
    Wrong::new(key, what).in_file(path)
}
