//! What the words of a command line or a study stand for: a graph's file or generator, a cluster's file or short form.
//!
//! Must never hold a format, a generator, or what a cluster is.

use std::path::{Path, PathBuf};

use isochrone_workload::task_graph::{
    GenerateError, GeneratorSpec, ReadError, ReadOptions, ReadProblem, TaskGraph, UnsaidOption, generate,
    read_graph,
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
    /// It can only be a file, and there is none.
    #[error("there is no file {}", path.display())]
    NoFile {
        /// The whole path.
        path: PathBuf,
    },
    /// The file leaves something out, and no option says what to take.
    #[error("{source}")]
    Unsaid {
        /// What of what.
        source: Box<ReadError>,
        /// What would fill in.
        option: UnsaidOption,
    },
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

/// What people call a graph: the generator's label, or the name that the file gives it, or the file's own without its folders.
#[must_use]
pub fn graph_name(text: &str, directory: &Path, graph: &TaskGraph) -> String {
    if !is_file(text, directory) {
        return text.to_owned();
    }
    if graph.name.trim().is_empty() { file_name(text) } else { graph.name.trim().to_owned() }
}

/// A path without its folders; what is a generator or a short form stays whole.
#[must_use]
pub fn file_name(text: &str) -> String {
    if text.trim_end().ends_with(')') {
        return text.to_owned();
    }
    Path::new(text).file_name().map_or_else(|| text.to_owned(), |name| name.to_string_lossy().into_owned())
}

/// The graph of a file, or of a generator such as `cholesky(tiles=8,ccr=0.5,seed=3)`. Files start at `directory`.
///
/// # Errors
/// When it is neither, or does not make a valid graph.
pub fn graph(text: &str, directory: &Path, options: &ReadOptions) -> Result<GraphSource, SourceError> {
    if is_file(text, directory) {
        let read = read_graph(&directory.join(text), options).map_err(unread)?;
        return Ok(GraphSource { graph: read.graph, assumptions: read.assumptions });
    }
    let spec: GeneratorSpec = text.parse().map_err(|error| match missing_file(text, directory) {
        Some(path) => SourceError::NoFile { path },
        None => SourceError::Graph { text: text.to_owned(), reason: format!("{error}") },
    })?;
    let graph = generate(&spec)
        .map_err(|source| SourceError::Generate { text: text.to_owned(), source: Box::new(source) })?;
    Ok(GraphSource { graph, assumptions: Vec::new() })
}

/// The cluster of a file, or of a short form such as `uniform(agents=4,latency_us=500)`. Files start at `directory`.
///
/// # Errors
/// When it is neither, or holds an error.
pub fn cluster(text: &str, directory: &Path) -> Result<Cluster, SourceError> {
    Cluster::named(text, directory).map_err(|error| match error {
        ClusterError::NoFile { path } => SourceError::NoFile { path },
        source @ (ClusterError::Read { .. }
        | ClusterError::TooLarge { .. }
        | ClusterError::File(_)
        | ClusterError::Label { .. }) => {
            SourceError::Cluster { text: text.to_owned(), source: Box::new(source) }
        }
    })
}

fn unread(error: ReadError) -> SourceError {
    match error.problem.as_ref() {
        ReadProblem::Unsaid { option, .. } => {
            SourceError::Unsaid { option: *option, source: Box::new(error) }
        }
        ReadProblem::File { .. }
        | ReadProblem::NotUtf8
        | ReadProblem::UnknownFormat
        | ReadProblem::Json { .. }
        | ReadProblem::Xml { .. }
        | ReadProblem::Expected { .. }
        | ReadProblem::Unknown { .. }
        | ReadProblem::Duplicate { .. }
        | ReadProblem::Contradiction { .. }
        | ReadProblem::Unsupported { .. }
        | ReadProblem::OutOfRange { .. }
        | ReadProblem::Graph { .. } => SourceError::Read(Box::new(error)),
    }
}

/// The whole path of a text that can only be a file's; `None` of one that may be a generator's or a short form.
pub(crate) fn missing_file(text: &str, directory: &Path) -> Option<PathBuf> {
    let is_path = text.contains(['.', '/']) && !text.contains(['(', ')']);
    let path = directory.join(text);
    let whole = |path: &Path| {
        // Where the folder is there, its path without `..` reads better.
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
        let folder = folder.unwrap_or(Path::new(".")).canonicalize().ok()?;
        Some(folder.join(path.file_name()?))
    };
    is_path.then(|| whole(&path).or_else(|| std::path::absolute(&path).ok()).unwrap_or(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_can_only_be_a_file_is_missed_by_its_whole_path() {
        let here = Path::new(env!("CARGO_MANIFEST_DIR"));
        let missed = |text: &str| graph(text, here, &ReadOptions::default()).unwrap_err().to_string();
        let wanted = here.join("studies/mosaik.json");
        assert_eq!(missed("src/../studies/mosaik.json"), format!("there is no file {}", wanted.display()));
        assert!(missed("choleski(tiles=4)").contains("did you mean `cholesky`?"), "{}", missed("choleski"));
        assert!(missed("cholesky(ccr=0.5").contains("not a generator"));
        let missed = |text: &str| cluster(text, here).unwrap_err();
        let wanted = format!("there is no file {}", here.join("clusters/edge.toml").display());
        assert_eq!(missed("clusters/edge.toml").to_string(), wanted);
        let reason = |text: &str| std::error::Error::source(&missed(text)).unwrap().to_string();
        assert!(reason("campus").contains("`campus` is a preset: write 'preset(campus,agents=4)'"));
        assert!(reason("unifrom(agents=2)").contains("did you mean `uniform`?"));
        assert!(reason("preset(campsu)").contains("did you mean `campus`?"));
        assert!(reason("uniform(agent=2)").contains("did you mean `agents`?"));
    }
}
