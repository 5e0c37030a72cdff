//! What the words of a command line or a study stand for: a graph's file or generator, a cluster's file or short form.
//!
//! Must never hold a format, a generator, or what a cluster is.

use std::path::Path;

use isochrone_workload::task_graph::{
    GenerateError, GeneratorSpec, ReadError, ReadOptions, TaskGraph, generate, read_graph,
};

use crate::cluster::{Cluster, ClusterError};

/// A graph, and what its reader took for granted.
#[derive(Clone, Debug)]
pub struct GraphSource {
    /// The graph; it is valid.
    pub graph: TaskGraph,
    /// A sentence for each thing that the file does not say.
    pub assumptions: Vec<String>,
}

/// Why there is no graph or cluster.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// It is neither a file nor a generator.
    #[error("`{text}` is not a file, and not a generator either: {reason}")]
    Graph {
        /// What was given.
        text: String,
        /// Why it is no generator.
        reason: String,
    },
    /// The file does not read.
    #[error("cannot read the graph")]
    Read(#[source] Box<ReadError>),
    /// The generator makes nothing of it.
    #[error("cannot generate `{text}`")]
    Generate {
        /// What was given.
        text: String,
        /// Why not.
        source: Box<GenerateError>,
    },
    /// No cluster.
    #[error("there is no cluster `{text}`")]
    Cluster {
        /// What was given.
        text: String,
        /// Why not.
        source: Box<ClusterError>,
    },
}

/// Whether the text names a file: one that is there, or one that cannot be a generator or short form.
#[must_use]
pub fn is_file(text: &str, directory: &Path) -> bool {
    !text.trim_end().ends_with(')') && directory.join(text).is_file()
}

/// The graph of a file, or of a generator such as `cholesky(tiles=8,ccr=0.5,seed=3)`. Files start at `directory`.
///
/// # Errors
/// When it is neither, or does not make a valid graph.
pub fn graph(text: &str, directory: &Path, options: &ReadOptions) -> Result<GraphSource, SourceError> {
    if is_file(text, directory) {
        let read =
            read_graph(&directory.join(text), options).map_err(|error| SourceError::Read(Box::new(error)))?;
        return Ok(GraphSource { graph: read.graph, assumptions: read.assumptions });
    }
    let spec: GeneratorSpec = text
        .parse()
        .map_err(|error| SourceError::Graph { text: text.to_owned(), reason: format!("{error}") })?;
    let graph = generate(&spec)
        .map_err(|source| SourceError::Generate { text: text.to_owned(), source: Box::new(source) })?;
    Ok(GraphSource { graph, assumptions: Vec::new() })
}

/// The cluster of a file, or of a short form such as `uniform(agents=4,latency_us=500)`. Files start at `directory`.
///
/// # Errors
/// When it is neither, or holds an error.
pub fn cluster(text: &str, directory: &Path) -> Result<Cluster, SourceError> {
    let made = if text.trim_end().ends_with(')') {
        Cluster::from_label(text)
    } else {
        Cluster::load(directory.join(text))
    };
    made.map_err(|source| SourceError::Cluster { text: text.to_owned(), source: Box::new(source) })
}
