//! Studies: grids of graphs, clusters, networks, policies, knowledge and seeds, run on all cores, and told of in one report.
//!
//! A study is a TOML file (`docs/studies.md`). Its results depend on the file and the files it names alone: never on
//! threads, shards, or where it was interrupted. What a host's clock says is kept apart.

mod axis;
mod checks;
mod columns;
mod comparison;
mod definition;
mod figures;
mod findings;
mod grid;
mod html;
mod merge;
mod methods;
mod parquet_file;
mod results;
mod run;
mod tables;

use std::io;
use std::path::PathBuf;

pub use columns::{Column, Values, columns, csv};
pub use comparison::{Comparison, Row};
pub use definition::{GanttChoice, ReportSection, StudyFile};
pub use grid::{Cell, Instance, Point, Study};
pub use merge::merge;
pub use results::{CellEnd, CellMeasures, CellRecord, ResultsHeader};
pub use run::{Progress, Shard, StudyOptions, StudySummary, run_study};

use crate::sources::SourceError;

/// Why a study was not made.
#[derive(Debug, thiserror::Error)]
pub enum StudyError {
    /// A file cannot be read or written.
    #[error("cannot use {}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The file is not TOML, or has keys or values that a study has not.
    #[error("{} is no study", path.display())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// What is wrong and where.
        source: Box<toml::de::Error>,
    },
    /// A value of the file cannot be used.
    #[error("{}: {key}: {what}", path.display())]
    Value {
        /// The file.
        path: PathBuf,
        /// The value's key.
        key: String,
        /// What is wrong, and what to write.
        what: String,
    },
    /// A graph or cluster that it names is not there, or holds an error.
    #[error("{} names `{text}`", path.display())]
    Source {
        /// The study.
        path: PathBuf,
        /// The graph or cluster.
        text: String,
        /// Why it cannot be used.
        source: Box<SourceError>,
    },
    /// There are results, and nobody said that they are to be gone on with.
    #[error("{} holds results; go on with them by --resume, or choose another --output", path.display())]
    ResultsExist {
        /// The folder.
        path: PathBuf,
    },
    /// There are results of something else.
    #[error("{} holds results of another study, or of this one before it or its files were changed", path.display())]
    OtherStudy {
        /// The file.
        path: PathBuf,
    },
    /// A line of the results does not parse.
    #[error("line {line} of {} is damaged", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Counted from 1.
        line: usize,
    },
    /// No folder was given.
    #[error("there is no folder of results to merge")]
    NoFolders,
    /// Two results of one run differ.
    #[error("two shards differ in the result of run {key}: they are not from the same version")]
    Conflict {
        /// The run.
        key: String,
    },
    /// The table could not be encoded.
    #[error("cannot write the table as Parquet")]
    Parquet(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// A document could not be encoded.
    #[error("cannot encode JSON")]
    Json(#[source] serde_json::Error),
}

impl StudyError {
    fn file(path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::File { path, source }
    }
}
