//! The input files of the shipped graphs, made by rule from a seed so that none of them has to be stored.
//!
//! Must never hold anything that differs between machines: whole-number arithmetic, or floats whose every operation
//! is exactly defined.

use std::path::{Path, PathBuf};

use crate::data_files::{DataFileError, ElementType, encode_npy, encode_png, write_atomically};

/// The input files of one shipped graph.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ShippedInput {
    /// The name of the graph, which is that of its folder.
    pub graph: &'static str,
    /// The files, relative to the folder of the graph file.
    pub files: &'static [&'static str],
    /// What they hold, for people.
    pub description: &'static str,
}

/// The inputs of all shipped graphs.
pub const SHIPPED_INPUTS: &[ShippedInput] = &[
    ShippedInput {
        graph: "vector-add",
        files: &["inputs/a.npy", "inputs/b.npy"],
        description: "two vectors of float32",
    },
    ShippedInput {
        graph: "cholesky",
        files: &["inputs/spd.npy"],
        description: "a symmetric positive definite matrix of float64",
    },
    ShippedInput {
        graph: "image-pipeline",
        files: &["inputs/photo.png"],
        description: "a landscape as an RGB image",
    },
];

/// Seed and sizes of the inputs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InputOptions {
    /// Decides every number; the same seed and sizes make the same bytes on every machine. Default 1.
    pub seed: u64,
    /// Elements of each vector, at least 1. Default 1,000,000.
    pub vector_length: u32,
    /// Rows and columns of the matrix, at least 1. Default 1024.
    pub matrix_order: u32,
    /// Width of the image in pixels, at least 1. Default 3000.
    pub image_width: u32,
    /// Height of the image in pixels, at least 1. Default 2000.
    pub image_height: u32,
}

impl Default for InputOptions {
    fn default() -> Self {
        InputOptions {
            seed: 1,
            vector_length: 1_000_000,
            matrix_order: 1024,
            image_width: 3000,
            image_height: 2000,
        }
    }
}

/// Why inputs could not be made.
#[derive(Debug, thiserror::Error)]
pub enum InputsError {
    /// No shipped graph has this name.
    #[error("no graph named `{graph}` is shipped")]
    UnknownGraph {
        /// The name.
        graph: String,
    },
    /// A size is zero.
    #[error("`{option}` must be at least 1")]
    Size {
        /// The option.
        option: &'static str,
    },
    /// The image could not be encoded.
    #[error("cannot encode the image")]
    Image {
        /// What is wrong.
        source: Box<png::EncodingError>,
    },
    /// A file could not be written.
    #[error("cannot write the inputs")]
    File(#[from] DataFileError),
}

/// Writes the inputs of the shipped graph `graph`; `directory` is the folder of its graph file. Answers with the files
/// written, in the order of [`ShippedInput::files`].
pub fn write_inputs(
    graph: &str,
    directory: &Path,
    options: &InputOptions,
) -> Result<Vec<PathBuf>, InputsError> {
    let unknown = || InputsError::UnknownGraph { graph: graph.to_owned() };
    let shipped = SHIPPED_INPUTS.iter().find(|shipped| shipped.graph == graph).ok_or_else(unknown)?;
    let sizes = [
        ("vector_length", options.vector_length),
        ("matrix_order", options.matrix_order),
        ("image_width", options.image_width),
        ("image_height", options.image_height),
    ];
    if let Some((option, _)) = sizes.into_iter().find(|&(_, size)| size == 0) {
        return Err(InputsError::Size { option });
    }
    let contents = match graph {
        "vector-add" => (0..2).map(|stream| vector(options, stream)).collect(),
        "cholesky" => vec![matrix(options)],
        "image-pipeline" => {
            vec![image(options).map_err(|source| InputsError::Image { source: Box::new(source) })?]
        }
        _ => return Err(unknown()),
    };
    let mut written = Vec::new();
    for (file, content) in shipped.files.iter().zip(contents) {
        let path = directory.join(file);
        write_atomically(&path, &content)?;
        written.push(path);
    }
    Ok(written)
}

/// Mixes the bits of a number (the finaliser of the SplitMix64 generator): near numbers give unrelated results.
fn mix(value: u64) -> u64 {
    let value = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

/// A float of 24 random bits from -1 up to 1, exact in both float types.
fn symmetric_unit(bits: u64) -> f32 {
    ((bits >> 40) as i32 - (1 << 23)) as f32 / (1 << 23) as f32
}

fn vector(options: &InputOptions, stream: u64) -> Vec<u8> {
    let seed = mix(options.seed ^ (stream << 32));
    let numbers = (0..u64::from(options.vector_length)).map(|index| symmetric_unit(mix(seed ^ index)));
    let bytes: Vec<u8> = numbers.flat_map(f32::to_le_bytes).collect();
    encode_npy(ElementType::Float32, &[u64::from(options.vector_length)], &bytes)
}

/// Random numbers between -1 and 1 that mirror at the diagonal, with the order added on the diagonal: each diagonal
/// number exceeds the sum of the others in its row, so the matrix is positive definite.
fn matrix(options: &InputOptions) -> Vec<u8> {
    let order = u64::from(options.matrix_order);
    let seed = mix(options.seed ^ 0x5bd1);
    let mut bytes = Vec::with_capacity((order * order * 8) as usize);
    for row in 0..order {
        for column in 0..order {
            let (low, high) = (row.min(column), row.max(column));
            let off_diagonal = f64::from(symmetric_unit(mix(seed ^ (high << 32 | low))));
            let number = if row == column { off_diagonal.abs() + order as f64 } else { off_diagonal };
            bytes.extend_from_slice(&number.to_le_bytes());
        }
    }
    encode_npy(ElementType::Float64, &[order, order], &bytes)
}

/// A landscape: sky with a sun and clouds, ridges that darken towards the viewer, boulders, grain.
fn image(options: &InputOptions) -> Result<Vec<u8>, png::EncodingError> {
    let (width, height) = (options.image_width, options.image_height);
    let seed = mix(options.seed ^ 0xace1);
    // Feature sizes follow the image, so that a small one looks like a thumbnail of a large one.
    let unit = i64::from((width.max(height) / 24).max(4));
    let ridges: Vec<Vec<i64>> = (0..3)
        .map(|ridge| {
            let base = i64::from(height) * (5 + 2 * ridge as i64) / 12;
            let line =
                |x| base - (clouds(seed ^ (ridge + 7), x, 0, 3 * unit) - 128) * i64::from(height) / 700;
            (0..i64::from(width)).map(line).collect()
        })
        .collect();
    let mut pixels = Vec::with_capacity(width as usize * height as usize * 3);
    for y in 0..i64::from(height) {
        for x in 0..i64::from(width) {
            let mut colour = sky(seed, x, y, i64::from(width), i64::from(height), unit);
            for (depth, ridge) in ridges.iter().enumerate() {
                if y >= ridge[x as usize] {
                    colour = ground(seed, x, y, depth as i64, unit);
                }
            }
            let grain = (mix(seed ^ (y as u64) << 32 ^ x as u64) % 13) as i64 - 6;
            pixels.extend(colour.map(|channel| (channel + grain).clamp(0, 255) as u8));
        }
    }
    encode_png(width, height, 3, 8, &pixels)
}

fn sky(seed: u64, x: i64, y: i64, width: i64, height: i64, unit: i64) -> [i64; 3] {
    let fall = y * 255 / height;
    let (dx, dy) = (x - width * 7 / 10, y - height / 5);
    let distance_squared = dx * dx + dy * dy;
    if distance_squared < unit * unit {
        return [250, 240, 205];
    }
    let glow = 90 * unit * unit / distance_squared.max(1);
    let cloud = (clouds(seed, x, y * 2, 4 * unit) - 120).max(0);
    [90 + fall / 2 + cloud + glow, 130 + fall / 3 + cloud + glow, 205 + fall / 8 + cloud / 2 + glow / 2]
}

fn ground(seed: u64, x: i64, y: i64, depth: i64, unit: i64) -> [i64; 3] {
    let texture = clouds(seed ^ 99, x, y, unit / 2 + 2) - 128;
    let shade = 120 - 32 * depth;
    // One boulder may lie in each cell of a grid.
    let cell = 2 * unit;
    let chance = mix(seed ^ 0xb0 ^ ((x / cell) as u64) << 20 ^ (y / cell) as u64);
    let (dx, dy) = (x % cell - unit, y % cell - unit);
    let radius = unit / 4 + (chance >> 8) as i64 % unit.max(1) / 3;
    if chance.is_multiple_of(5) && dx * dx + 2 * dy * dy < radius * radius {
        let lit = 150 - 60 * (dx + dy) / unit + texture / 4;
        return [lit, lit - 6, lit - 14];
    }
    [shade * 3 / 4 + texture / 3, shade + texture / 2, shade / 2 + texture / 4]
}

/// Smooth noise of four scales, 0 to 255.
fn clouds(seed: u64, x: i64, y: i64, size: i64) -> i64 {
    let octaves = [(size, 8), (size / 2, 4), (size / 4, 2), (size / 8, 1)];
    octaves
        .into_iter()
        .enumerate()
        .map(|(index, (size, weight))| weight * smooth(seed ^ (index as u64) << 56, x, y, size.max(1)))
        .sum::<i64>()
        / 15
}

/// Random numbers on a grid of cells of `size`, interpolated between its corners; 0 to 255.
fn smooth(seed: u64, x: i64, y: i64, size: i64) -> i64 {
    let (column, row) = (x / size, y / size);
    let (right, down) = (x % size, y % size);
    let corner = |column: i64, row: i64| (mix(seed ^ (row as u64) << 28 ^ column as u64) & 255) as i64;
    let upper = corner(column, row) * (size - right) + corner(column + 1, row) * right;
    let lower = corner(column, row + 1) * (size - right) + corner(column + 1, row + 1) * right;
    (upper * (size - down) + lower * down) / (size * size)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data_files::{DataFormat, read_array};

    fn small() -> InputOptions {
        InputOptions { seed: 3, vector_length: 10, matrix_order: 6, image_width: 40, image_height: 30 }
    }

    #[test]
    fn every_shipped_input_is_written_and_repeats() {
        for shipped in SHIPPED_INPUTS {
            let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
            let written = write_inputs(shipped.graph, one.path(), &small()).unwrap();
            assert_eq!(written.len(), shipped.files.len());
            let again = write_inputs(shipped.graph, two.path(), &small()).unwrap();
            for ((first, second), file) in written.iter().zip(&again).zip(shipped.files) {
                assert_eq!(*first, one.path().join(file));
                assert_eq!(std::fs::read(first).unwrap(), std::fs::read(second).unwrap());
            }
            let other =
                write_inputs(shipped.graph, two.path(), &InputOptions { seed: 4, ..small() }).unwrap();
            assert_ne!(std::fs::read(&written[0]).unwrap(), std::fs::read(&other[0]).unwrap());
        }
    }

    #[test]
    fn the_matrix_is_symmetric_and_dominated_by_its_diagonal() {
        let folder = tempfile::tempdir().unwrap();
        let written = write_inputs("cholesky", folder.path(), &small()).unwrap();
        let array = read_array(&written[0], DataFormat::Npy, 1 << 20).unwrap();
        assert_eq!(array.shape, [6, 6]);
        let at = |row: usize, column: usize| {
            f64::from_le_bytes(array.bytes[(row * 6 + column) * 8..][..8].try_into().unwrap())
        };
        for row in 0..6 {
            let others: f64 =
                (0..6).filter(|&column| column != row).map(|column| at(row, column).abs()).sum();
            assert!(at(row, row) > others);
            assert!((0..6).all(|column| at(row, column).to_bits() == at(column, row).to_bits()));
        }
    }

    #[test]
    fn the_image_uses_many_tones() {
        let folder = tempfile::tempdir().unwrap();
        let written = write_inputs("image-pipeline", folder.path(), &small()).unwrap();
        let array = read_array(&written[0], DataFormat::Png, 1 << 20).unwrap();
        assert_eq!(array.shape, [30, 40, 3]);
        let tones: std::collections::BTreeSet<u8> = array.bytes.iter().copied().collect();
        assert!(tones.len() > 64, "{}", tones.len());
    }

    #[test]
    fn wrong_requests_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        assert!(matches!(
            write_inputs("nothing", folder.path(), &small()),
            Err(InputsError::UnknownGraph { .. })
        ));
        let zero = InputOptions { matrix_order: 0, ..small() };
        let refused = write_inputs("cholesky", folder.path(), &zero);
        assert!(matches!(refused, Err(InputsError::Size { option: "matrix_order" })));
    }
}
