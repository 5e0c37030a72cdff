//! What can be wrong with a graph file, where, and the list that collects it. Must never hold a check.

use std::collections::HashSet;
use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use super::expression::ExpressionError;
use crate::data_files::{ConvertError, DataFileError, ElementType, SliceError, read_bounded};

/// Errors beyond this many are counted, not kept.
const ERRORS_MAX: usize = 50;

/// All that is wrong with a graph file; never empty. Its `Display` is one line for each error.
#[derive(Debug)]
pub struct GraphFileErrors {
    /// The errors in the order of the file, at most 50.
    pub errors: Vec<GraphFileError>,
    /// How many more there were.
    pub further: usize,
}

/// One error and its place.
#[derive(Debug, thiserror::Error)]
pub struct GraphFileError {
    /// The graph file.
    pub path: PathBuf,
    /// The line, counted from 1; `None` when the error is about the whole file.
    pub line: Option<usize>,
    /// The key, as in `buffers.image.file`; empty when there is none.
    pub key: String,
    /// The values of the loop variables at that moment, as in `i = 2, j = 0`; empty outside of loops.
    pub bindings: String,
    /// What is wrong.
    #[source]
    pub problem: Box<Problem>,
}

/// What is wrong with a graph file.
#[derive(Debug, thiserror::Error)]
pub enum Problem {
    /// The text is no TOML.
    #[error("not valid TOML: {message}")]
    Toml {
        /// What the TOML parser says.
        message: String,
    },
    /// The graph file is not UTF-8.
    #[error("the text of the file is not UTF-8; save it as UTF-8")]
    NotUtf8,
    /// There is no such key.
    #[error("unknown key `{name}`{}", did_you_mean(suggestion.as_deref(), known))]
    UnknownKey {
        /// The key as written.
        name: String,
        /// The key that was probably meant.
        suggestion: Option<String>,
        /// The keys that exist here.
        known: &'static [&'static str],
    },
    /// A key that must be there is not.
    #[error("key `{name}` is missing; {hint}")]
    MissingKey {
        /// The key.
        name: &'static str,
        /// What to write.
        hint: &'static str,
    },
    /// A value is of the wrong kind.
    #[error("expected {expected}, found {found}")]
    WrongType {
        /// What belongs here.
        expected: &'static str,
        /// What is here.
        found: &'static str,
    },
    /// A list has the wrong length.
    #[error("expected {expected}, found {found}")]
    WrongCount {
        /// What belongs here.
        expected: String,
        /// How many there are.
        found: usize,
    },
    /// Of several keys exactly one must be present.
    #[error("exactly one of {} must be given, found {}", listed(choices), listed(found))]
    ExactlyOne {
        /// The keys to choose from.
        choices: &'static [&'static str],
        /// The keys that are there.
        found: Vec<String>,
    },
    /// A key makes no sense together with another.
    #[error("key `{name}` does not go with `{other}`; remove one of them")]
    Conflict {
        /// The key.
        name: &'static str,
        /// The key that excludes it.
        other: &'static str,
    },
    /// A name is not an identifier.
    #[error("`{name}` is not a usable name; use letters, digits and underscores, with no digit first")]
    BadName {
        /// The name.
        name: String,
    },
    /// A name is already in use.
    #[error("the name `{name}` is already in use by {by}; choose another")]
    NameTaken {
        /// The name.
        name: String,
        /// What uses it.
        by: &'static str,
    },
    /// A reference leads nowhere.
    #[error("there is no {what} `{name}`{}", did_you_mean(suggestion.as_deref(), &[]))]
    Unknown {
        /// What was looked for.
        what: &'static str,
        /// Its name.
        name: String,
        /// The name that was probably meant.
        suggestion: Option<String>,
    },
    /// A word is none of those allowed here.
    #[error("`{found}` is not one of {}{}", listed(allowed), did_you_mean(suggestion.as_deref(), &[]))]
    NotOneOf {
        /// The word.
        found: String,
        /// The words that are allowed.
        allowed: &'static [&'static str],
        /// The word that was probably meant.
        suggestion: Option<String>,
    },
    /// A parameter given from outside does not exist.
    #[error("`{name}` was set, but the graph has no such parameter{}", did_you_mean(suggestion.as_deref(), &[]))]
    UnknownParameter {
        /// The parameter.
        name: String,
        /// The parameter that was probably meant.
        suggestion: Option<String>,
    },
    /// A parameter given from outside has an unusable value.
    #[error("the value `{value}` set for it is not {expected}")]
    ParameterValue {
        /// The value as set.
        value: String,
        /// What it has to be.
        expected: String,
    },
    /// No alternative of a `choose` applies.
    #[error(
        "no alternative applies: the farm offers {}; add one without `when` at the end",
        listed_owned(capabilities)
    )]
    NoChoice {
        /// What the farm can do.
        capabilities: Vec<String>,
    },
    /// An expression cannot be read or computed.
    #[error(transparent)]
    Expression(#[from] ExpressionError),
    /// A value is outside of what is possible here.
    #[error("the value {value} is out of range: {allowed}")]
    OutOfRange {
        /// The value.
        value: String,
        /// What is possible.
        allowed: &'static str,
    },
    /// A requirement of the graph does not hold.
    #[error("requirement not met: {message}")]
    Requirement {
        /// The author's message, or the expression.
        message: String,
    },
    /// A bound of [`super::Limits`] is exceeded.
    #[error("too many {what}: at most {limit}")]
    LimitExceeded {
        /// What there is too much of.
        what: &'static str,
        /// The bound.
        limit: u64,
    },
    /// A file cannot be used.
    #[error("{source}{}", reason(source))]
    File {
        /// What is wrong with it.
        source: DataFileError,
    },
    /// A program is not text.
    #[error("`{}` is not UTF-8 text", path.display())]
    ProgramText {
        /// The program source.
        path: PathBuf,
    },
    /// Numbers cannot become the type asked for.
    #[error(transparent)]
    Convert(#[from] ConvertError),
    /// A part cannot be cut out of a data file.
    #[error(transparent)]
    Slice(#[from] SliceError),
    /// The bytes of a raw file do not make up its shape.
    #[error("the file holds {found} bytes, but its shape and type ask for {expected}")]
    RawSize {
        /// Bytes asked for.
        expected: u64,
        /// Bytes in the file.
        found: u64,
    },
    /// A range reaches beyond its buffer or holds nothing.
    #[error("bytes {offset} to {offset} + {size} do not lie in {within}, which is {available} bytes long")]
    Range {
        /// First byte.
        offset: u64,
        /// Number of bytes.
        size: u64,
        /// What they should lie in.
        within: String,
        /// Its length in bytes.
        available: u64,
    },
    /// The touched range is not part of the bound one.
    #[error("`touches` reaches outside of the part of `{buffer}` that is bound")]
    TouchesOutsideBound {
        /// The buffer.
        buffer: String,
    },
    /// A range has no bytes.
    #[error("{what} is empty; give at least one byte")]
    Empty {
        /// What is empty.
        what: &'static str,
    },
    /// A buffer's content has another size than asked for.
    #[error("the content is {found} bytes long, but the buffer {expected}")]
    ContentSize {
        /// The size of the buffer.
        expected: u64,
        /// The size of the content.
        found: u64,
    },
    /// A work-group does not divide the index space.
    #[error(
        "the global size {global} is not a multiple of the local size {local}; use round_up({global}, {local}) and let the kernel skip the rest"
    )]
    NotDivisible {
        /// Work-items.
        global: u64,
        /// Work-items of a work-group.
        local: u64,
    },
    /// A fill's range does not consist of whole patterns.
    #[error("{what} {value} is not a multiple of the {pattern} bytes of the pattern")]
    Pattern {
        /// `offset` or `size`.
        what: &'static str,
        /// Its value.
        value: u64,
        /// The length of the pattern.
        pattern: usize,
    },
    /// A copy within a buffer onto itself.
    #[error("source and target of the copy overlap")]
    CopyOverlap,
    /// A value does not fit the type of a scalar.
    #[error("{value} does not fit in {element_type}")]
    ScalarRange {
        /// The value.
        value: String,
        /// The type.
        element_type: ElementType,
    },
    /// A label is used twice.
    #[error(
        "the label `{label}` is already used in line {line}; labels must be unique (put loop variables into them)"
    )]
    DuplicateLabel {
        /// The label.
        label: String,
        /// Where it was used first.
        line: usize,
    },
    /// Commands wait for each other.
    #[error("these commands wait for each other through `after`: {}", members.join(" -> "))]
    Cycle {
        /// Their labels; the first again at the end.
        members: Vec<String>,
    },
    /// Two outputs write the same file.
    #[error("another output writes `{}` too", path.display())]
    OutputPath {
        /// The file.
        path: PathBuf,
    },
    /// A part of an output is not as long as its buffer range.
    #[error("the part has {part} bytes, but the range of the buffer {range}")]
    PartSize {
        /// Bytes of the part.
        part: u64,
        /// Bytes of the range.
        range: u64,
    },
    /// A part of an output reaches beyond it.
    #[error(
        "the part takes {count} from {first} on in dimension {dimension} of the output, which has only {available}"
    )]
    PartRange {
        /// The dimension, counted from 0.
        dimension: usize,
        /// First index.
        first: u64,
        /// Extent of the part.
        count: u64,
        /// Extent of the output.
        available: u64,
    },
}

/// Where in the graph file something is.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Place {
    pub line: usize,
    pub key: Rc<str>,
}

/// A part of the graph file with its place.
#[derive(Debug, Clone)]
pub(super) struct Located<T> {
    pub place: Place,
    pub value: T,
}

/// Collects errors while a file is read.
pub(super) struct Reports {
    path: PathBuf,
    line_starts: Vec<usize>,
    errors: Vec<GraphFileError>,
    further: usize,
    /// A loop would repeat the same complaint in each turn.
    seen: HashSet<Place>,
}

impl Reports {
    pub(super) fn new(path: &Path, text: &str) -> Reports {
        let line_starts = std::iter::once(0)
            .chain(text.bytes().enumerate().filter(|&(_, byte)| byte == b'\n').map(|(at, _)| at + 1));
        Reports {
            path: path.to_owned(),
            line_starts: line_starts.collect(),
            errors: Vec::new(),
            further: 0,
            seen: HashSet::new(),
        }
    }

    /// The line of a byte of the text, counted from 1.
    pub(super) fn line_of(&self, span: &Range<usize>) -> usize {
        self.line_starts.partition_point(|&start| start <= span.start)
    }

    pub(super) fn report(&mut self, place: &Place, problem: Problem) {
        self.report_with(place, String::new(), problem);
    }

    /// Like `report`, with the values of loop variables.
    pub(super) fn report_with(&mut self, place: &Place, bindings: String, problem: Problem) {
        if !self.seen.insert(place.clone()) {
            return;
        }
        if self.errors.len() >= ERRORS_MAX {
            self.further += 1;
            return;
        }
        self.errors.push(GraphFileError {
            path: self.path.clone(),
            line: (place.line > 0).then_some(place.line),
            key: place.key.to_string(),
            bindings,
            problem: Box::new(problem),
        });
    }

    pub(super) fn is_empty(&self) -> bool {
        self.errors.is_empty()
    }

    pub(super) fn into_errors(mut self) -> GraphFileErrors {
        self.errors.sort_by_key(|error| error.line);
        GraphFileErrors { errors: self.errors, further: self.further }
    }
}

/// Reads the text of a graph file.
pub(super) fn read_graph_text(path: &Path, bytes_max: u64) -> Result<String, GraphFileErrors> {
    let bytes = read_bounded(path, bytes_max).map_err(|source| Problem::File { source });
    let text = bytes.and_then(|bytes| String::from_utf8(bytes).map_err(|_| Problem::NotUtf8));
    text.map_err(|problem| {
        let error = GraphFileError {
            path: path.to_owned(),
            line: None,
            key: String::new(),
            bindings: String::new(),
            problem: Box::new(problem),
        };
        GraphFileErrors { errors: vec![error], further: 0 }
    })
}

impl fmt::Display for GraphFileError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}", self.path.display())?;
        if let Some(line) = self.line {
            write!(formatter, ":{line}")?;
        }
        write!(formatter, ": ")?;
        if !self.key.is_empty() {
            write!(formatter, "{}: ", self.key)?;
        }
        write!(formatter, "{}", self.problem)?;
        if !self.bindings.is_empty() {
            write!(formatter, " (with {})", self.bindings)?;
        }
        Ok(())
    }
}

impl fmt::Display for GraphFileErrors {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, error) in self.errors.iter().enumerate() {
            if index > 0 {
                writeln!(formatter)?;
            }
            write!(formatter, "{error}")?;
        }
        if self.further > 0 {
            write!(formatter, "\nand {} more", self.further)?;
        }
        Ok(())
    }
}

impl std::error::Error for GraphFileErrors {}

/// `; did you mean ...?`, or the names that exist when none is near.
fn did_you_mean(suggestion: Option<&str>, known: &[&str]) -> String {
    match suggestion {
        Some(name) => format!("; did you mean `{name}`?"),
        None if known.is_empty() => String::new(),
        None => format!("; known here: {}", known.join(", ")),
    }
}

fn listed<T: AsRef<str>>(names: &[T]) -> String {
    if names.is_empty() {
        return "none".to_owned();
    }
    names.iter().map(|name| format!("`{}`", name.as_ref())).collect::<Vec<_>>().join(", ")
}

fn listed_owned(names: &[String]) -> String {
    if names.is_empty() { "no capabilities".to_owned() } else { listed(names) }
}

/// The causes of a file error in the same line, since the list of errors prints no chains.
fn reason(error: &DataFileError) -> String {
    let mut text = String::new();
    let mut cause = std::error::Error::source(error);
    while let Some(current) = cause {
        text.push_str(&format!(": {current}"));
        cause = current.source();
    }
    text
}
