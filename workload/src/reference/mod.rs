//! Independent computations of what the shipped graphs compute, to verify their outputs.
//!
//! Plain Rust on the CPU, from the input files to the numbers of the outputs; must never share code, or an order of
//! operations that a result could depend on, with the kernels.

mod cholesky;
mod image_pipeline;
mod vector_add;

use crate::data_files::{self, Array, ConvertError, DataFileError, DataFormat, ElementType};
use crate::graph_file::{GraphFile, Output};

/// The names that `[graph] verify` can have.
pub const NAMES: &[&str] = &["vector-add", "cholesky", "image-pipeline"];

/// No input of a reference is larger; the graph that is verified has read the same file already.
const INPUT_BYTES_MAX: u64 = 16 << 30;

/// The result of a verification that found nothing wrong.
#[derive(Debug, Clone, PartialEq)]
pub struct Verification {
    /// How many numbers were compared.
    pub numbers_checked: u64,
    /// The largest difference between an output and its reference.
    pub max_error: f64,
    /// The largest difference that was allowed for any number; many numbers are held to less. 0 when every number had
    /// to be equal.
    pub tolerance: f64,
    /// What was compared with what, for people; one line.
    pub what: String,
}

/// Why outputs are wrong, or could not be verified.
#[derive(Debug, thiserror::Error)]
pub enum VerificationError {
    /// There is no such reference.
    #[error("there is no reference computation `{name}`")]
    UnknownName {
        /// The name.
        name: String,
    },
    /// The graph has no data of the name that the reference reads.
    #[error("the graph has no data named `{name}`, which the reference reads")]
    MissingData {
        /// The name.
        name: &'static str,
    },
    /// The graph has no output of the name that the reference checks.
    #[error("the output `{name}`, which the reference checks, was not given")]
    MissingOutput {
        /// The name.
        name: &'static str,
    },
    /// An input file cannot be read any more.
    #[error("cannot read an input again")]
    Input(#[from] DataFileError),
    /// An input file holds numbers of another type than the reference can use.
    #[error("an input has elements that the reference cannot use")]
    InputType(#[from] ConvertError),
    /// An input file has another shape than the reference can use.
    #[error("`{name}` has the shape {shape:?}, but the reference needs {expected}")]
    InputShape {
        /// The name of the data.
        name: &'static str,
        /// Its shape.
        shape: Vec<u64>,
        /// What the reference needs.
        expected: &'static str,
    },
    /// An output has another type or shape than the reference expects.
    #[error(
        "the output `{name}` holds {found:?} of {found_type}, but the reference expects {expected:?} of {expected_type}"
    )]
    OutputShape {
        /// The name of the output.
        name: &'static str,
        /// The shape expected.
        expected: Vec<u64>,
        /// The shape of the output.
        found: Vec<u64>,
        /// The element type expected.
        expected_type: ElementType,
        /// The element type of the output.
        found_type: ElementType,
    },
    /// The input is not positive definite, so there is no factor to compare with.
    #[error("the matrix is not positive definite (column {column})")]
    NotPositiveDefinite {
        /// The column where the factorisation ends, counted from 0.
        column: usize,
    },
    /// A number is wrong.
    #[error("{what} at {position:?} is {found:e}, but the reference is {expected:e} (difference {}, allowed {tolerance:e}; {wrong} numbers are wrong)", (found - expected).abs())]
    Mismatch {
        /// What was compared.
        what: &'static str,
        /// The position of the first wrong number, slowest dimension first.
        position: Vec<u64>,
        /// The number of the reference.
        expected: f64,
        /// The number of the output.
        found: f64,
        /// The difference allowed there.
        tolerance: f64,
        /// How many numbers are wrong.
        wrong: u64,
    },
}

/// Verifies the assembled `outputs` of a graph against the reference computation `name` (see [`GraphFile::verify`]),
/// which starts anew from the input files of the graph.
pub fn verify(
    name: &str,
    graph_file: &GraphFile,
    outputs: &[(Output, Vec<u8>)],
) -> Result<Verification, VerificationError> {
    match name {
        "vector-add" => vector_add::verify(graph_file, outputs),
        "cholesky" => cholesky::verify(graph_file, outputs),
        "image-pipeline" => image_pipeline::verify(graph_file, outputs),
        _ => Err(VerificationError::UnknownName { name: name.to_owned() }),
    }
}

/// Reads an input file again, with the element type that it has on disk.
fn input(graph_file: &GraphFile, name: &'static str) -> Result<(Array, ElementType), VerificationError> {
    let missing = VerificationError::MissingData { name };
    let data = graph_file.data.iter().find(|data| data.name == name).ok_or(missing)?;
    let array = data_files::read_array(&data.path, DataFormat::from_path(&data.path), INPUT_BYTES_MAX)?;
    Ok((array, data.element_type))
}

/// The bytes of an output, which must have this type and shape.
fn output<'a>(
    outputs: &'a [(Output, Vec<u8>)],
    name: &'static str,
    expected_type: ElementType,
    expected: &[u64],
) -> Result<&'a [u8], VerificationError> {
    let missing = VerificationError::MissingOutput { name };
    let (output, bytes) = outputs.iter().find(|(output, _)| output.name == name).ok_or(missing)?;
    let (found, found_type) = (output.shape(), output.element_type());
    if found != expected || found_type != expected_type || bytes.len() as u64 != output.size_bytes() {
        let expected = expected.to_vec();
        return Err(VerificationError::OutputShape { name, expected, found, expected_type, found_type });
    }
    Ok(bytes)
}

fn floats32(bytes: &[u8]) -> impl Iterator<Item = f32> {
    bytes.as_chunks::<4>().0.iter().map(|number| f32::from_le_bytes(*number))
}

fn floats64(bytes: &[u8]) -> impl Iterator<Item = f64> {
    bytes.as_chunks::<8>().0.iter().map(|number| f64::from_le_bytes(*number))
}

#[cfg(test)]
mod tests;
