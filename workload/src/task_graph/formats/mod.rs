//! Files of task graphs: one module for each format, each with a reader and a writer.
//!
//! A reader guesses nothing: what a file leaves out is an error, or an option of [`ReadOptions`] says what to take,
//! and whatever was taken is listed in [`ReadGraph::assumptions`]. A writer refuses a graph that the format cannot
//! say, and lists what got lost of it in [`WrittenGraph::losses`] where the graph is still the same without.

mod assembly;
mod dax;
mod dot;
mod errors;
mod native;
mod stg;
mod wfcommons;

use std::collections::HashMap;
use std::path::Path;

pub use errors::{Place, ReadError, ReadProblem, UnsaidOption, WriteError};

use super::TaskGraph;
use crate::data_files::{read_bounded, write_atomically};

/// A format of graph files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum GraphFormat {
    /// The project's own JSON, `isochrone-task-graph` version 1; says all that a graph holds.
    Native,
    /// WfCommons' WfFormat, JSON of the schema versions 1.4, 1.5 and 1.6; 1.5 is written.
    WfCommons,
    /// Pegasus' abstract workflows, XML of the versions 2.x and 3.x; 2.1 is written.
    Dax,
    /// The Standard Task Graph Set, with and without communication costs.
    Stg,
    /// Graphviz DOT with attributes for costs; says all that a graph holds.
    Dot,
}

impl GraphFormat {
    /// All formats.
    pub const ALL: [GraphFormat; 5] =
        [GraphFormat::Native, GraphFormat::WfCommons, GraphFormat::Dax, GraphFormat::Stg, GraphFormat::Dot];

    /// The name of the format, for people and options.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            GraphFormat::Native => "isochrone-task-graph",
            GraphFormat::WfCommons => "wfcommons",
            GraphFormat::Dax => "dax",
            GraphFormat::Stg => "stg",
            GraphFormat::Dot => "dot",
        }
    }

    /// The format of that name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<GraphFormat> {
        GraphFormat::ALL.into_iter().find(|format| format.name() == name)
    }

    /// The format to write by the ending of a file's name: `.json` is the project's own, `.wfcommons.json`, `.dax`,
    /// `.xml`, `.stg`, `.dot` and `.gv` are as they say.
    #[must_use]
    pub fn from_path(path: &Path) -> Option<GraphFormat> {
        let name = path.file_name()?.to_str()?.to_ascii_lowercase();
        if name.ends_with(".wfcommons.json") {
            return Some(GraphFormat::WfCommons);
        }
        match name.rsplit_once('.')?.1 {
            "json" => Some(GraphFormat::Native),
            "dax" | "xml" => Some(GraphFormat::Dax),
            "stg" => Some(GraphFormat::Stg),
            "dot" | "gv" => Some(GraphFormat::Dot),
            _ => None,
        }
    }
}

/// How to read a graph.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReadOptions {
    /// The format; `None`, the default, goes by the ending of the name and the content.
    pub format: Option<GraphFormat>,
    /// The largest file that is read, in bytes. Default 4 GiB.
    pub file_bytes_max: u64,
    /// The duration of each task whose duration the file does not say, in nanoseconds of work. `None`, the default:
    /// that is an error. For WfCommons, DAX and DOT; the others always say it.
    pub duration_unsaid_ns: Option<u64>,
    /// The size of each file whose size the file does not say, in bytes. `None`, the default: that is an error. For
    /// WfCommons and DAX; the others always say it.
    pub item_bytes_unsaid: Option<u64>,
    /// What goes along edges that carry no data by the file, in bytes: in STG without communication costs each task
    /// makes one item of that size for all its successors, in DOT each edge without a size has one of its own.
    /// `None`, the default: they are order without data.
    pub edge_bytes_unsaid: Option<u64>,
    /// One unit of time in STG, in nanoseconds. `None`, the default: what the file says, else 1 ms.
    pub stg_time_unit_ns: Option<u64>,
    /// One unit of communication in STG, in bytes. `None`, the default: what the file says, else 1,000,000, which
    /// at 1 GB/s take one unit of time.
    pub stg_data_unit_bytes: Option<u64>,
}

impl Default for ReadOptions {
    fn default() -> Self {
        ReadOptions {
            format: None,
            file_bytes_max: 4 << 30,
            duration_unsaid_ns: None,
            item_bytes_unsaid: None,
            edge_bytes_unsaid: None,
            stg_time_unit_ns: None,
            stg_data_unit_bytes: None,
        }
    }
}

/// A graph that was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReadGraph {
    /// The graph; it is valid.
    pub graph: TaskGraph,
    /// The format it was in.
    pub format: GraphFormat,
    /// What was taken because the file does not say it, a sentence each; empty when the file says all.
    pub assumptions: Vec<String>,
}

/// A graph as the text of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WrittenGraph {
    /// The text.
    pub text: String,
    /// What of the graph the format cannot say, a sentence each; empty when nothing got lost.
    pub losses: Vec<String>,
    /// What the format asks for and the graph does not say, with what was written, a sentence each.
    pub additions: Vec<String>,
}

/// Reads a graph from a file.
///
/// # Errors
/// When the file cannot be read, is not of the format, leaves something out, or its graph does not hold together
/// ([`TaskGraph::validate`]).
pub fn read_graph(path: &Path, options: &ReadOptions) -> Result<ReadGraph, ReadError> {
    let failed =
        |problem| ReadError { path: path.to_owned(), place: Place::WholeFile, problem: Box::new(problem) };
    let bytes = read_bounded(path, options.file_bytes_max)
        .map_err(|source| failed(ReadProblem::File { source: Box::new(source) }))?;
    let text = String::from_utf8(bytes).map_err(|_| failed(ReadProblem::NotUtf8))?;
    parse_graph(path, &text, options)
}

/// Reads a graph from the text of a file; `path` is for the choice of the format and for errors.
///
/// # Errors
/// As [`read_graph`].
pub fn parse_graph(path: &Path, text: &str, options: &ReadOptions) -> Result<ReadGraph, ReadError> {
    let failed = |(place, problem)| ReadError { path: path.to_owned(), place, problem: Box::new(problem) };
    let format = options
        .format
        .or_else(|| detect(path, text))
        .ok_or_else(|| failed((Place::WholeFile, ReadProblem::UnknownFormat)))?;
    let mut assumptions = Vec::new();
    let stem = || path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
    let graph = match format {
        GraphFormat::Native => native::read(text),
        GraphFormat::WfCommons => wfcommons::read(text, options, &mut assumptions),
        GraphFormat::Dax => dax::read(text, options, &mut assumptions),
        GraphFormat::Stg => stg::read(&stem(), text, options, &mut assumptions),
        GraphFormat::Dot => dot::read(text, options, &mut assumptions),
    }
    .map_err(failed)?;
    graph.validate().map_err(|source| failed((Place::WholeFile, ReadProblem::Graph { source })))?;
    Ok(ReadGraph { graph, format, assumptions })
}

/// The format by the ending of the name, and by the keys where JSON formats share it.
fn detect(path: &Path, text: &str) -> Option<GraphFormat> {
    match GraphFormat::from_path(path)? {
        GraphFormat::Native | GraphFormat::WfCommons => {
            #[derive(serde::Deserialize)]
            struct Heads {
                format: Option<serde::de::IgnoredAny>,
                #[serde(rename = "schemaVersion")]
                schema_version: Option<serde::de::IgnoredAny>,
            }
            match serde_json::from_str(text) {
                Ok(Heads { format: None, schema_version: Some(_) }) => Some(GraphFormat::WfCommons),
                Ok(Heads { format: None, schema_version: None }) => None,
                Ok(Heads { format: Some(_), .. }) => Some(GraphFormat::Native),
                // What is no JSON at all is refused with its place by either reader.
                Err(_) => Some(GraphFormat::Native),
            }
        }
        format @ (GraphFormat::Dax | GraphFormat::Stg | GraphFormat::Dot) => Some(format),
    }
}

/// The text of a graph in a format.
///
/// # Errors
/// When the graph is not valid, or the format cannot say it.
pub fn format_graph(graph: &TaskGraph, format: GraphFormat) -> Result<WrittenGraph, WriteError> {
    graph.validate().map_err(|source| WriteError::Graph { source })?;
    match format {
        GraphFormat::Native => {
            Ok(WrittenGraph { text: native::write(graph), losses: Vec::new(), additions: Vec::new() })
        }
        GraphFormat::WfCommons => wfcommons::write(graph),
        GraphFormat::Dax => dax::write(graph),
        GraphFormat::Stg => stg::write(graph),
        GraphFormat::Dot => dot::write(graph),
    }
}

/// Writes a graph to a file, whole or not at all. Returns what got lost ([`WrittenGraph::losses`]).
///
/// # Errors
/// When the graph is not valid, the format cannot say it, or the file cannot be written.
pub fn write_graph(path: &Path, graph: &TaskGraph, format: GraphFormat) -> Result<Vec<String>, WriteError> {
    let written = format_graph(graph, format)?;
    write_atomically(path, written.text.as_bytes()).map_err(WriteError::File)?;
    Ok(written.losses)
}

/// A problem and its place, before the file is known.
type Found = (Place, ReadProblem);

/// Names to indices; a name that is there twice is an error at the place that `place` gives.
fn index_names<'a>(
    what: &'static str,
    names: impl Iterator<Item = &'a str>,
    place: impl Fn(usize) -> Place,
) -> Result<HashMap<&'a str, usize>, Found> {
    let mut indices = HashMap::with_capacity(names.size_hint().0);
    for (index, name) in names.enumerate() {
        if indices.insert(name, index).is_some() {
            return Err((place(index), ReadProblem::Duplicate { what, name: name.to_owned() }));
        }
    }
    Ok(indices)
}

#[cfg(test)]
mod tests;
