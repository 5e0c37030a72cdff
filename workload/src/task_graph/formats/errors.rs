//! What can be wrong with a graph in a file, and where. Must never hold a check.

use std::fmt;
use std::path::PathBuf;

use super::GraphFormat;
use crate::data_files::DataFileError;
use crate::task_graph::GraphError;

/// Where in a file something is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// Nowhere in particular.
    WholeFile,
    /// A line and a column, each counted from 1.
    Line {
        /// The line.
        line: usize,
        /// The column, in characters as the parser counts them.
        column: usize,
    },
    /// A place in a JSON document, as in `tasks[3].inputs[0]`.
    JsonPath(String),
}

impl fmt::Display for Place {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::WholeFile => Ok(()),
            Place::Line { line, column } => write!(formatter, ":{line}:{column}"),
            Place::JsonPath(path) => write!(formatter, ": {path}"),
        }
    }
}

/// Why a graph could not be read: the file, the place and the cause.
#[derive(Debug, thiserror::Error)]
#[error("{}{place}: {problem}", path.display())]
pub struct ReadError {
    /// The file.
    pub path: PathBuf,
    /// Where in the file.
    pub place: Place,
    /// What is wrong.
    pub problem: Box<ReadProblem>,
}

/// The option that says what to take for what a file leaves out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UnsaidOption {
    /// [`super::ReadOptions::duration_unsaid_ns`].
    DurationNs,
    /// [`super::ReadOptions::item_bytes_unsaid`].
    ItemBytes,
}

/// What is wrong with a graph in a file.
#[derive(Debug, thiserror::Error)]
pub enum ReadProblem {
    /// The file could not be read.
    #[error("{source}{}", source.source().map(|cause| format!(": {cause}")).unwrap_or_default())]
    File {
        /// Why not.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The file is not UTF-8.
    #[error("the text of the file is not UTF-8; save it as UTF-8")]
    NotUtf8,
    /// The format is not known from the name or the content.
    #[error("no format is known by this name and content; say which it is: {}", format_names())]
    UnknownFormat,
    /// The text is no JSON, or a value in it is of the wrong kind.
    #[error("{message}")]
    Json {
        /// What the JSON parser says.
        message: String,
    },
    /// The text is no XML.
    #[error("not valid XML: {message}")]
    Xml {
        /// What the XML parser says.
        message: String,
    },
    /// Something else was expected here.
    #[error("expected {expected}, found {found}")]
    Expected {
        /// What belongs here.
        expected: String,
        /// What is here.
        found: String,
    },
    /// A reference leads nowhere.
    #[error("there is no {what} `{name}`")]
    Unknown {
        /// What was looked for.
        what: &'static str,
        /// Its name.
        name: String,
    },
    /// The same thing is said twice.
    #[error("{what} `{name}` is there twice")]
    Duplicate {
        /// What it is.
        what: &'static str,
        /// Its name.
        name: String,
    },
    /// The same thing is said in two ways.
    #[error("{what} `{name}` is {first} in one place and {second} in another")]
    Contradiction {
        /// What it is about.
        what: &'static str,
        /// The name of the thing.
        name: String,
        /// What one place says.
        first: String,
        /// What the other says.
        second: String,
    },
    /// The file leaves out what a graph needs, and no option says what to take instead.
    #[error("{what} of {of} is not said in the file; add it, or say what to take instead")]
    Unsaid {
        /// What is left out.
        what: &'static str,
        /// Whose it is.
        of: String,
        /// The option that fills in.
        option: UnsaidOption,
    },
    /// The file uses something that this reader does not support.
    #[error("{what} is not supported; {hint}")]
    Unsupported {
        /// What it is.
        what: String,
        /// What to do.
        hint: &'static str,
    },
    /// A time or a size is beyond what 64 bits hold.
    #[error(
        "{value} {unit} does not fit: times and sizes are whole numbers of nanoseconds and bytes below 2^64"
    )]
    OutOfRange {
        /// The value as written.
        value: String,
        /// Its unit.
        unit: &'static str,
    },
    /// The graph does not hold together.
    #[error("{source}")]
    Graph {
        /// Why not.
        source: GraphError,
    },
}

fn format_names() -> String {
    GraphFormat::ALL.map(GraphFormat::name).join(", ")
}

/// Why a graph could not be written.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// The graph does not hold together.
    #[error("the graph is not valid")]
    Graph {
        /// Why not.
        source: GraphError,
    },
    /// The format has no way to say something without which the graph would be another.
    #[error("the format {} cannot say that {what}; {hint}", format.name())]
    NotExpressible {
        /// The format.
        format: GraphFormat,
        /// What it cannot say.
        what: String,
        /// What to do.
        hint: &'static str,
    },
    /// The file could not be written.
    #[error(transparent)]
    File(DataFileError),
}
