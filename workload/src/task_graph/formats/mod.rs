//! Files of task graphs: one module for each format, each with a reader and a writer.
//!
//! A reader guesses nothing: what a file leaves out is an error, or an option of [`ReadOptions`] says what to take,
//! and whatever was taken is listed in [`ReadGraph::assumptions`]. A writer refuses a graph that the format cannot
//! say, and lists what got lost of it in [`WrittenGraph::losses`] where the graph is still the same without.

mod errors;
mod native;

use std::collections::HashMap;
use std::path::Path;

pub use errors::{Place, ReadError, ReadProblem, WriteError};

use super::TaskGraph;
use crate::data_files::{read_bounded, write_atomically};

/// The endings of file names by which [`write_graph`] knows the format.
pub(crate) const WRITTEN_SUFFIXES: [&str; 1] = [".json"];

/// A format of graph files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum GraphFormat {
    /// The project's own JSON, `isochrone-task-graph` version 1; says all that a graph holds.
    Native,
}

impl GraphFormat {
    /// All formats.
    pub const ALL: [GraphFormat; 1] = [GraphFormat::Native];

    /// The name of the format, for people and options.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            GraphFormat::Native => "isochrone-task-graph",
        }
    }

    /// The format of that name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<GraphFormat> {
        GraphFormat::ALL.into_iter().find(|format| format.name() == name)
    }
}

/// How to read a graph.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReadOptions {
    /// The format; `None`, the default, goes by the ending of the name and the content.
    pub format: Option<GraphFormat>,
    /// The largest file that is read, in bytes. Default 4 GiB.
    pub file_bytes_max: u64,
}

impl Default for ReadOptions {
    fn default() -> Self {
        ReadOptions { format: None, file_bytes_max: 4 << 30 }
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
    let assumptions = Vec::new();
    let graph = match format {
        GraphFormat::Native => native::read(text),
    }
    .map_err(failed)?;
    graph.validate().map_err(|source| failed((Place::WholeFile, ReadProblem::Graph { source })))?;
    Ok(ReadGraph { graph, format, assumptions })
}

/// The format by the ending of the name, and by the content where several formats share it.
fn detect(_path: &Path, text: &str) -> Option<GraphFormat> {
    text.contains("\"isochrone-task-graph\"").then_some(GraphFormat::Native)
}

/// The text of a graph in a format.
///
/// # Errors
/// When the graph is not valid, or the format cannot say it.
pub fn format_graph(graph: &TaskGraph, format: GraphFormat) -> Result<WrittenGraph, WriteError> {
    graph.validate().map_err(|source| WriteError::Graph { source })?;
    match format {
        GraphFormat::Native => Ok(WrittenGraph { text: native::write(graph), losses: Vec::new() }),
    }
}

/// Writes a graph to a file, whole or not at all. Returns what got lost ([`WrittenGraph::losses`]).
///
/// # Errors
/// When the graph is not valid, the format cannot say it, or the file cannot be written.
pub fn write_graph(path: &Path, graph: &TaskGraph, format: GraphFormat) -> Result<Vec<String>, WriteError> {
    let written = format_graph(graph, format)?;
    write_atomically(path, written.text.as_bytes()).map_err(|source| WriteError::File { source })?;
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
