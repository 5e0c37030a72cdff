//! Data files: arrays of numbers read from and written to `.npy`, PNG and raw files.
//!
//! Holds the array type, its element types, slicing and the file formats. Must never hold: anything about graphs
//! beyond writing one [`Output`], OpenCL, or networking.

mod element;
mod errors;
mod npy;
mod png_image;

use std::fs;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

pub use element::{ConvertError, ElementType};
pub use errors::{DataFileError, NpyError, SliceError};
pub use npy::{decode_npy, encode_npy};
pub use png_image::{decode_png, encode_png};

use crate::graph_file::{Encoding, Output};

/// An array of numbers in C order (the last dimension is contiguous), each little-endian.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Array {
    /// The type of one element.
    pub element_type: ElementType,
    /// The extent of each dimension, slowest first; empty for a single number.
    pub shape: Vec<u64>,
    /// The elements; as long as the product of the shape times the size of an element.
    pub bytes: Vec<u8>,
}

/// The formats of data files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DataFormat {
    /// NumPy's `.npy`.
    Npy,
    /// PNG, 8 or 16 bits a sample; read as `[height, width, channels]`.
    Png,
    /// Bytes without a header.
    Raw,
}

impl DataFormat {
    /// The names accepted in files.
    pub const NAMES: &[&str] = &["npy", "png", "raw"];

    /// The format with this name.
    pub fn from_name(name: &str) -> Option<DataFormat> {
        match name {
            "npy" => Some(DataFormat::Npy),
            "png" => Some(DataFormat::Png),
            "raw" => Some(DataFormat::Raw),
            _ => None,
        }
    }

    /// The format that the ending of a path suggests; anything unknown is raw.
    pub fn from_path(path: &Path) -> DataFormat {
        let ending = path.extension().and_then(|ending| ending.to_str()).unwrap_or_default();
        match ending.to_ascii_lowercase().as_str() {
            "npy" => DataFormat::Npy,
            "png" => DataFormat::Png,
            _ => DataFormat::Raw,
        }
    }
}

impl Array {
    /// The number of elements.
    pub fn elements(&self) -> u64 {
        self.shape.iter().product()
    }

    /// The same numbers as elements of another type; see [`ElementType`] for what converts.
    pub fn convert(self, target: ElementType) -> Result<Array, ConvertError> {
        if target == self.element_type {
            return Ok(self);
        }
        let bytes = element::convert(&self.bytes, self.element_type, target)?;
        Ok(Array { element_type: target, shape: self.shape, bytes })
    }

    /// The bytes of a rectangular part: `ranges` holds the first index and the extent for each of the leading
    /// dimensions, the others are taken whole.
    pub fn slice(&self, ranges: &[(u64, u64)]) -> Result<Vec<u8>, SliceError> {
        if ranges.len() > self.shape.len() {
            return Err(SliceError::TooManyDimensions { found: ranges.len(), rank: self.shape.len() });
        }
        let mut start = vec![0; self.shape.len()];
        let mut extent = self.shape.clone();
        for (dimension, &(first, count)) in ranges.iter().enumerate() {
            let available = self.shape[dimension];
            if first.checked_add(count).is_none_or(|end| end > available) {
                return Err(SliceError::OutOfRange { dimension, first, count, available });
            }
            start[dimension] = first;
            extent[dimension] = count;
        }
        let mut bytes =
            Vec::with_capacity((extent.iter().product::<u64>() * self.element_type.size_bytes()) as usize);
        for_each_run(&self.shape, &start, &extent, self.element_type.size_bytes() as usize, |whole, _| {
            bytes.extend_from_slice(&self.bytes[whole]);
        });
        Ok(bytes)
    }
}

/// Calls `visit` for each contiguous run of a rectangular part of an array, with the bytes of the run in the whole
/// array and in the part. The part must lie within the shape.
pub(crate) fn for_each_run(
    shape: &[u64],
    start: &[u64],
    extent: &[u64],
    element_bytes: usize,
    mut visit: impl FnMut(std::ops::Range<usize>, std::ops::Range<usize>),
) {
    if extent.contains(&0) {
        return;
    }
    // Trailing dimensions that are taken whole belong to one run with the dimension before them.
    let mut split = shape.len();
    let mut run_elements = 1_u64;
    while split > 0 {
        split -= 1;
        run_elements *= extent[split];
        if extent[split] != shape[split] {
            break;
        }
    }
    let inner: u64 = shape[split.min(shape.len())..].iter().skip(1).product();
    let run_bytes = run_elements as usize * element_bytes;
    let mut index = vec![0_u64; split];
    let mut part_offset = 0;
    loop {
        let mut position = 0_u64;
        for dimension in 0..split {
            position = position * shape[dimension] + start[dimension] + index[dimension];
        }
        if let Some(&run_extent) = shape.get(split) {
            position = (position * run_extent + start[split]) * inner;
        }
        let whole_offset = position as usize * element_bytes;
        visit(whole_offset..whole_offset + run_bytes, part_offset..part_offset + run_bytes);
        part_offset += run_bytes;
        let Some(dimension) = (0..split).rev().find(|&dimension| index[dimension] + 1 < extent[dimension])
        else {
            return;
        };
        index[dimension] += 1;
        index[dimension + 1..].fill(0);
    }
}

/// Reads a file of at most `bytes_max` bytes.
pub(crate) fn read_bounded(path: &Path, bytes_max: u64) -> Result<Vec<u8>, DataFileError> {
    let at = |source| DataFileError::Read { path: path.to_owned(), source };
    let file = fs::File::open(path).map_err(at)?;
    let metadata = file.metadata().map_err(at)?;
    if metadata.is_dir() {
        return Err(DataFileError::Directory { path: path.to_owned() });
    }
    let mut bytes = Vec::with_capacity(metadata.len().min(bytes_max) as usize);
    file.take(bytes_max.saturating_add(1)).read_to_end(&mut bytes).map_err(at)?;
    if bytes.len() as u64 > bytes_max {
        return Err(DataFileError::TooLarge { path: path.to_owned(), bytes_max });
    }
    Ok(bytes)
}

/// Reads an array from a file of at most `bytes_max` bytes, both on disk and decoded. A raw file becomes a
/// one-dimensional array of bytes.
pub fn read_array(path: &Path, format: DataFormat, bytes_max: u64) -> Result<Array, DataFileError> {
    let bytes = read_bounded(path, bytes_max)?;
    match format {
        DataFormat::Npy => {
            decode_npy(&bytes).map_err(|source| DataFileError::Npy { path: path.to_owned(), source })
        }
        DataFormat::Png => decode_png(&bytes, bytes_max)
            .map_err(|source| DataFileError::PngDecoding { path: path.to_owned(), source: Box::new(source) }),
        DataFormat::Raw => {
            Ok(Array { element_type: ElementType::UInt8, shape: vec![bytes.len() as u64], bytes })
        }
    }
}

/// Encodes the assembled bytes of an output and writes them to its path: folders are created, and the file appears
/// whole or not at all.
pub fn write_output(output: &Output, bytes: &[u8]) -> Result<(), DataFileError> {
    let expected = output.size_bytes();
    if bytes.len() as u64 != expected {
        return Err(DataFileError::OutputSize {
            output: output.name.clone(),
            expected,
            found: bytes.len() as u64,
        });
    }
    match &output.encoding {
        Encoding::Npy { element_type, shape } => {
            write_atomically(&output.path, &encode_npy(*element_type, shape, bytes))
        }
        Encoding::Raw { .. } => write_atomically(&output.path, bytes),
        Encoding::Png { width, height, channels, bits } => {
            let encoded = encode_png(*width, *height, *channels, *bits, bytes).map_err(|source| {
                DataFileError::PngEncoding { path: output.path.clone(), source: Box::new(source) }
            })?;
            write_atomically(&output.path, &encoded)
        }
    }
}

/// Writes a file through a temporary one beside it, so that no reader ever sees half of it.
pub fn write_atomically(path: &Path, bytes: &[u8]) -> Result<(), DataFileError> {
    static SEQUENCE: AtomicU64 = AtomicU64::new(0);
    let at = |source| DataFileError::Write { path: path.to_owned(), source };
    let Some(file_name) = path.file_name() else {
        return Err(DataFileError::NoFileName { path: path.to_owned() });
    };
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        fs::create_dir_all(folder).map_err(at)?;
    }
    // The process and a count make the name this writer's own, also when two runs write the same output.
    let mut temporary_name = std::ffi::OsString::from(".");
    temporary_name.push(file_name);
    temporary_name.push(format!(".{}.{}.part", std::process::id(), SEQUENCE.fetch_add(1, Ordering::Relaxed)));
    let temporary: PathBuf = path.with_file_name(temporary_name);
    let written = fs::File::create(&temporary)
        .and_then(|mut file| file.write_all(bytes))
        .and_then(|()| fs::rename(&temporary, path));
    written.map_err(|source| {
        // The write has failed already; a temporary file that cannot be removed adds nothing to that.
        let _ = fs::remove_file(&temporary);
        at(source)
    })
}

#[cfg(test)]
mod tests;
