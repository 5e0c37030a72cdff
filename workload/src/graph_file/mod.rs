//! Graph files: a graph of OpenCL commands written as TOML, with no Rust.
//!
//! Holds the public types of an expanded graph file and the way to load one. A loaded [`GraphFile`] is plain data:
//! every loop is unrolled, every expression evaluated, every input read, every reference checked. Must never hold:
//! OpenCL calls, identifiers of a farm, or anything that orders commands by the data they share (the client does that).

mod document;
mod errors;
mod expansion;
mod expression;
mod limits;
mod order;
mod syntax;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::{Path, PathBuf};

pub use errors::{GraphFileError, GraphFileErrors, Problem};
pub use expression::{ExpressionError, ExpressionProblem};
pub use limits::Limits;

use crate::data_files::ElementType;

/// What a user or a farm adds to a graph file when it is loaded.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Settings {
    /// Values that replace the defaults of `[parameters]`, as written by the user (`--set name=value`).
    pub parameters: BTreeMap<String, String>,
    /// What every device of the farm can do, for example `fp64`; decides `choose` parameters.
    pub capabilities: BTreeSet<String>,
    /// Where relative output paths start; `None` is the current directory. Inputs and programs are always relative
    /// to the folder of the graph file.
    pub output_directory: Option<PathBuf>,
    /// The bounds that loading keeps to.
    pub limits: Limits,
}

/// A graph file, fully expanded and checked.
///
/// All references between parts are indices into the vectors of this struct and are in range.
#[derive(Debug, Clone, PartialEq)]
pub struct GraphFile {
    /// Where the file was read from.
    pub path: PathBuf,
    /// The name of the graph.
    pub name: String,
    /// What the graph computes, for people; may be empty.
    pub description: String,
    /// The reference computation that can verify the outputs (see [`crate::reference`]).
    pub verify: Option<String>,
    /// The value of every parameter after choices and settings, as text.
    pub parameters: BTreeMap<String, String>,
    /// The data files that were read, in file order.
    pub data: Vec<DataFile>,
    /// The programs, in file order.
    pub programs: Vec<Program>,
    /// The buffers, in file order; the members of a family in loop order.
    pub buffers: Vec<Buffer>,
    /// The commands, in the order of the file: the order in which a client should enqueue them.
    pub commands: Vec<Command>,
    /// What to read back and write to files once the graph has run.
    pub outputs: Vec<Output>,
}

/// A data file that was read to fill buffers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DataFile {
    /// Its name in the graph file.
    pub name: String,
    /// The file that was read.
    pub path: PathBuf,
    /// The element type after conversion.
    pub element_type: ElementType,
    /// The extent of each dimension, slowest first; an image is `[height, width, channels]`.
    pub shape: Vec<u64>,
}

/// An OpenCL C program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Program {
    /// Its name in the graph file.
    pub name: String,
    /// The source text.
    pub source: String,
    /// The file that the source was read from.
    pub source_path: PathBuf,
    /// The build options, parameters filled in.
    pub options: String,
}

/// A buffer of the graph.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Buffer {
    /// Its name; a member of a family is written with its indices, as in `tile[2,1]`.
    pub name: String,
    /// Its size in bytes, at least 1.
    pub size_bytes: u64,
    /// The initial content, exactly `size_bytes` long; `None` when the graph never reads it before writing it.
    pub content: Option<Vec<u8>>,
}

/// One command of the graph.
#[derive(Debug, Clone, PartialEq)]
pub struct Command {
    /// Its label, unique in the graph; made from the kind and the position when the file gives none.
    pub label: String,
    /// The indices of the commands that must finish first, sorted, each once. Only what the file states with
    /// `after`; may name commands that stand later in the file. There is no cycle among these.
    pub after: Vec<usize>,
    /// The line of the graph file that made this command, counted from 1.
    pub line: usize,
    /// What the command does.
    pub kind: CommandKind,
}

/// What a command does.
#[derive(Debug, Clone, PartialEq)]
pub enum CommandKind {
    /// Run a kernel over an index space.
    Launch(Launch),
    /// Copy bytes from one buffer to another, or within one without overlap.
    Copy {
        /// Index of the buffer that is read.
        source: usize,
        /// First byte read.
        source_offset_bytes: u64,
        /// Index of the buffer that is written.
        target: usize,
        /// First byte written.
        target_offset_bytes: u64,
        /// Bytes copied, at least 1.
        size_bytes: u64,
    },
    /// Repeat a pattern over a range of a buffer.
    Fill {
        /// Index of the buffer that is written.
        buffer: usize,
        /// First byte written, a multiple of the length of the pattern.
        offset_bytes: u64,
        /// Bytes written, a multiple of the length of the pattern.
        size_bytes: u64,
        /// 1 to 128 bytes, a power of two.
        pattern: Vec<u8>,
    },
    /// Wait for everything before; everything later waits for it.
    Barrier,
    /// Complete when `after` is complete (or everything before, if `after` is empty); holds nothing up.
    Marker,
}

/// A kernel launch.
#[derive(Debug, Clone, PartialEq)]
pub struct Launch {
    /// Index of the program.
    pub program: usize,
    /// The name of the kernel in the program.
    pub kernel: String,
    /// Work-items in each of 1 to 3 dimensions, each at least 1.
    pub global: Vec<u64>,
    /// Work-items of a work-group in each dimension; divides `global` in each. `None`: the device chooses.
    pub local: Option<Vec<u64>>,
    /// The first global identifier in each dimension; `None` is zero.
    pub offset: Option<Vec<u64>>,
    /// The arguments in the order of the kernel's parameters.
    pub arguments: Vec<Argument>,
}

/// One argument of a kernel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Argument {
    /// A buffer or a part of one.
    Buffer(BufferArgument),
    /// A number or a vector of numbers as the device expects it, little-endian.
    Scalar(Vec<u8>),
    /// Work-group local memory.
    Local {
        /// Its size in bytes, at least 1.
        size_bytes: u64,
    },
}

/// A buffer as the argument of a kernel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BufferArgument {
    /// Index of the buffer.
    pub buffer: usize,
    /// The range that is bound. The whole buffer unless the file asks for a part; a part is to be bound as a
    /// sub-buffer, and devices demand that its offset is aligned.
    pub bound: ByteRange,
    /// Whether the kernel reads or writes it; `None`: the kernel's own argument information tells.
    pub access: Option<Access>,
    /// The range of the buffer (counted from the start of the buffer, not of `bound`) that this launch may touch;
    /// lies within `bound`; `None`: all of `bound`.
    pub touches: Option<ByteRange>,
}

impl BufferArgument {
    /// The range of the buffer that the launch may touch.
    pub fn touched(&self) -> ByteRange {
        self.touches.unwrap_or(self.bound)
    }
}

/// A range of the bytes of a buffer; never empty, never beyond the end of its buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ByteRange {
    /// The first byte.
    pub offset_bytes: u64,
    /// The number of bytes, at least 1.
    pub size_bytes: u64,
}

/// How a launch uses a buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Only reads it.
    Read,
    /// Only writes it.
    Write,
    /// Reads and writes it.
    ReadWrite,
}

/// A file to write from the contents of buffers once the graph has run.
///
/// Read each part's range of its buffer, hand the bytes to [`Output::assemble`] in the order of `parts`, and the
/// result to [`crate::data_files::write_output`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Output {
    /// Its name in the graph file.
    pub name: String,
    /// The file to write.
    pub path: PathBuf,
    /// How the assembled bytes are encoded.
    pub encoding: Encoding,
    /// The pieces, at least one. Elements that no part covers are zero.
    pub parts: Vec<OutputPart>,
}

/// A range of one buffer and its place in an output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutputPart {
    /// Index of the buffer.
    pub buffer: usize,
    /// The bytes of the buffer to read back.
    pub range: ByteRange,
    /// Where the part starts in the output, one index for each dimension of [`Output::shape`].
    pub start: Vec<u64>,
    /// The extent of the part in each dimension; `start` plus `extent` lies within the shape.
    pub extent: Vec<u64>,
}

/// How an output is encoded in its file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Encoding {
    /// NumPy's `.npy`, C order.
    Npy {
        /// The type of one element.
        element_type: ElementType,
        /// The extent of each dimension, slowest first.
        shape: Vec<u64>,
    },
    /// The bytes as they are.
    Raw {
        /// The length of the file in bytes.
        size_bytes: u64,
    },
    /// A PNG image.
    Png {
        /// Pixels in a row.
        width: u32,
        /// Rows.
        height: u32,
        /// 1 grey, 2 grey and alpha, 3 RGB, 4 RGB and alpha.
        channels: u8,
        /// Bits of one sample, 8 or 16; samples of 16 bits are little-endian in the buffer.
        bits: u8,
    },
}

impl Output {
    /// The type of one element of the assembled bytes.
    pub fn element_type(&self) -> ElementType {
        match &self.encoding {
            Encoding::Npy { element_type, .. } => *element_type,
            Encoding::Raw { .. } => ElementType::UInt8,
            Encoding::Png { bits: 16, .. } => ElementType::UInt16,
            Encoding::Png { .. } => ElementType::UInt8,
        }
    }

    /// The extent of each dimension of the assembled elements, slowest first.
    pub fn shape(&self) -> Vec<u64> {
        match &self.encoding {
            Encoding::Npy { shape, .. } => shape.clone(),
            Encoding::Raw { size_bytes } => vec![*size_bytes],
            Encoding::Png { width, height, channels, .. } => {
                vec![u64::from(*height), u64::from(*width), u64::from(*channels)]
            }
        }
    }

    /// The length of the assembled bytes.
    pub fn size_bytes(&self) -> u64 {
        self.shape().iter().product::<u64>() * self.element_type().size_bytes()
    }

    /// Joins the bytes of the parts, one entry for each of `parts` and in their order, into the whole output.
    pub fn assemble(&self, parts: &[Vec<u8>]) -> Result<Vec<u8>, AssembleError> {
        expansion::assemble(self, parts)
    }
}

/// Why the parts of an output could not be joined.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AssembleError {
    /// There must be one entry for each part.
    #[error("output `{output}` has {expected} parts, but the bytes of {found} were given")]
    PartCount {
        /// The name of the output.
        output: String,
        /// The number of parts.
        expected: usize,
        /// The number of entries given.
        found: usize,
    },
    /// The bytes of a part must be as long as its range.
    #[error("part {part} of output `{output}` is {expected} bytes long, but {found} were given")]
    PartSize {
        /// The name of the output.
        output: String,
        /// The position of the part.
        part: usize,
        /// The length of its range in bytes.
        expected: u64,
        /// The length given in bytes.
        found: u64,
    },
}

impl GraphFile {
    /// Reads, checks and expands the graph file at `path`, with every file it refers to.
    ///
    /// Reports as many errors at once as it can find.
    pub fn load(path: &Path, settings: &Settings) -> Result<GraphFile, GraphFileErrors> {
        let text = errors::read_graph_text(path, settings.limits.graph_file_bytes_max)?;
        GraphFile::from_text(path, &text, settings)
    }

    /// Like [`GraphFile::load`] with the text of the file given; `path` names it in errors and its folder is where
    /// relative paths start.
    pub fn from_text(path: &Path, text: &str, settings: &Settings) -> Result<GraphFile, GraphFileErrors> {
        let mut reports = errors::Reports::new(path, text);
        let document = document::parse(text, &mut reports)
            .map(|root| syntax::parse_document(&root, &settings.limits, &mut reports));
        let (Some(document), true) = (document, reports.is_empty()) else {
            return Err(reports.into_errors());
        };
        match expansion::expand(path, &document, settings, &mut reports) {
            Some(graph_file) if reports.is_empty() => Ok(graph_file),
            Some(_) | None => Err(reports.into_errors()),
        }
    }

    /// Counts and sizes, for people.
    pub fn summary(&self) -> Summary {
        let mut summary = Summary {
            name: self.name.clone(),
            programs: self.programs.len(),
            buffers: self.buffers.len(),
            buffer_bytes: self.buffers.iter().map(|buffer| buffer.size_bytes).sum(),
            input_bytes: self
                .buffers
                .iter()
                .filter(|buffer| buffer.content.is_some())
                .map(|buffer| buffer.size_bytes)
                .sum(),
            commands: self.commands.len(),
            outputs: self.outputs.len(),
            output_bytes: self.outputs.iter().map(Output::size_bytes).sum(),
            ..Summary::default()
        };
        for command in &self.commands {
            match &command.kind {
                CommandKind::Launch(_) => summary.launches += 1,
                CommandKind::Copy { .. } => summary.copies += 1,
                CommandKind::Fill { .. } => summary.fills += 1,
                CommandKind::Barrier | CommandKind::Marker => summary.synchronisations += 1,
            }
        }
        summary
    }
}

/// Counts and sizes of a graph file; its `Display` is one line.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Summary {
    /// The name of the graph.
    pub name: String,
    /// Programs to build.
    pub programs: usize,
    /// Buffers, the members of families counted one by one.
    pub buffers: usize,
    /// Sizes of all buffers together, in bytes.
    pub buffer_bytes: u64,
    /// Sizes of all buffers with initial content together, in bytes.
    pub input_bytes: u64,
    /// All commands.
    pub commands: usize,
    /// Kernel launches.
    pub launches: usize,
    /// Copies.
    pub copies: usize,
    /// Fills.
    pub fills: usize,
    /// Barriers and markers.
    pub synchronisations: usize,
    /// Files to write.
    pub outputs: usize,
    /// Sizes of all outputs together before encoding, in bytes.
    pub output_bytes: u64,
}

impl fmt::Display for Summary {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mebibytes = |bytes: u64| bytes as f64 / f64::from(1 << 20);
        write!(
            formatter,
            "{}: {} commands ({} launches, {} copies, {} fills, {} barriers and markers), {} programs, \
             {} buffers ({:.1} MiB, {:.1} MiB of it inputs), {} outputs ({:.1} MiB)",
            self.name,
            self.commands,
            self.launches,
            self.copies,
            self.fills,
            self.synchronisations,
            self.programs,
            self.buffers,
            mebibytes(self.buffer_bytes),
            mebibytes(self.input_bytes),
            self.outputs,
            mebibytes(self.output_bytes),
        )
    }
}
