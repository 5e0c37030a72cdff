//! What can go wrong with data files. Must never hold code that reads or writes.

use std::io;
use std::path::PathBuf;

/// Why a data file could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum DataFileError {
    /// The file could not be read.
    #[error("cannot read `{}`", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The path is that of a folder.
    #[error("`{}` is a folder, not a file", path.display())]
    Directory {
        /// The folder.
        path: PathBuf,
    },
    /// The file is longer than the limit.
    #[error("`{}` is larger than the limit of {bytes_max} bytes", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// The limit in bytes.
        bytes_max: u64,
    },
    /// The file is not a `.npy` file that can be read.
    #[error("`{}` is not a readable .npy file", path.display())]
    Npy {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: NpyError,
    },
    /// The file is not a PNG file that can be read.
    #[error("`{}` is not a readable PNG file", path.display())]
    PngDecoding {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: Box<png::DecodingError>,
    },
    /// The image could not be encoded.
    #[error("cannot encode `{}` as PNG", path.display())]
    PngEncoding {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: Box<png::EncodingError>,
    },
    /// The bytes of an output are not as many as its shape asks for.
    #[error("output `{output}` needs {expected} bytes, but {found} were given")]
    OutputSize {
        /// The name of the output.
        output: String,
        /// The bytes that the shape asks for.
        expected: u64,
        /// The bytes given.
        found: u64,
    },
    /// The path has no last part to name a file.
    #[error("`{}` does not name a file", path.display())]
    NoFileName {
        /// The path.
        path: PathBuf,
    },
    /// The file could not be written.
    #[error("cannot write `{}`", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// Why bytes are not a `.npy` file that can be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NpyError {
    /// The file does not start as every `.npy` file does.
    #[error("it does not start with the .npy signature")]
    Signature,
    /// Only versions 1 to 3 exist.
    #[error("its format version {major} is unknown")]
    Version {
        /// The major version.
        major: u8,
    },
    /// The header ends before it is complete.
    #[error("its header is cut off")]
    Truncated,
    /// The header is not the dictionary that it should be.
    #[error("its header is malformed at byte {position}")]
    Header {
        /// Where in the header.
        position: usize,
    },
    /// The header lacks an entry.
    #[error("its header has no `{key}`")]
    MissingKey {
        /// The entry.
        key: &'static str,
    },
    /// The element type is none of those that can be read.
    #[error("its element type `{descr}` cannot be read (use f4, f8, i1 to i8, u1 to u8 or b1)")]
    ElementType {
        /// The type as the file names it.
        descr: String,
    },
    /// The product of the shape is larger than any memory.
    #[error("its shape is too large")]
    Shape,
    /// The content is not as long as the shape asks for.
    #[error("its shape asks for {expected} bytes of content, but {found} follow the header")]
    ContentSize {
        /// The bytes that the shape asks for.
        expected: u64,
        /// The bytes that follow the header.
        found: u64,
    },
}

/// Why a part cannot be cut out of an array.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SliceError {
    /// The slice names more dimensions than the array has.
    #[error("the slice has {found} dimensions, but the array has {rank}")]
    TooManyDimensions {
        /// Dimensions of the slice.
        found: usize,
        /// Dimensions of the array.
        rank: usize,
    },
    /// The slice reaches beyond the array.
    #[error("the slice takes {count} from {first} on in dimension {dimension}, which has only {available}")]
    OutOfRange {
        /// The dimension, counted from 0.
        dimension: usize,
        /// The first index.
        first: u64,
        /// The extent of the slice.
        count: u64,
        /// The extent of the array.
        available: u64,
    },
}
