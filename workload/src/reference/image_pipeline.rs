//! Luminance, Gaussian blur, Sobel magnitude and histogram equalisation of a whole image, in whole numbers.
//!
//! Written from the definitions: the blur as one two-dimensional sum, the edges from their formula, the histogram of
//! the whole image at once; nothing is separable, tiled or merged here.

use super::{Verification, VerificationError, input, output};
use crate::data_files::ElementType;
use crate::graph_file::{GraphFile, Output};

/// The weights of the blur in one direction; those in two are the products, which sum to 256.
const BINOMIAL: [u32; 5] = [1, 4, 6, 4, 1];

pub(super) fn verify(
    graph_file: &GraphFile,
    outputs: &[(Output, Vec<u8>)],
) -> Result<Verification, VerificationError> {
    let (image, _) = input(graph_file, "image")?;
    let (height, width) = match image.shape[..] {
        [height, width, 3] if image.element_type == ElementType::UInt8 => (height as usize, width as usize),
        _ => {
            let expected = "8-bit RGB";
            return Err(VerificationError::InputShape { name: "image", shape: image.shape, expected });
        }
    };
    let found = output(outputs, "result", ElementType::UInt8, &[height as u64, width as u64, 1])?;
    let edges = Plane { width, height, samples: luminance(&image.bytes) }.blurred().edges();
    let expected = equalised(&edges.samples);
    let differences =
        expected.iter().zip(found).enumerate().filter(|(_, (expected, found))| expected != found);
    let mut wrong = 0;
    let mut first = None;
    for (index, (&expected, &found)) in differences {
        wrong += 1;
        first.get_or_insert((index, expected, found));
    }
    if let Some((index, expected, found)) = first {
        return Err(VerificationError::Mismatch {
            what: "the pixel",
            position: vec![(index / width) as u64, (index % width) as u64],
            expected: f64::from(expected),
            found: f64::from(found),
            tolerance: 0.0,
            wrong,
        });
    }
    Ok(Verification {
        numbers_checked: expected.len() as u64,
        max_error: 0.0,
        tolerance: 0.0,
        what: "every pixel equals the one computed on the CPU".to_owned(),
    })
}

fn luminance(rgb: &[u8]) -> Vec<u8> {
    let pixels = rgb.as_chunks::<3>().0.iter();
    pixels
        .map(|&[red, green, blue]| {
            ((77 * u32::from(red) + 150 * u32::from(green) + 29 * u32::from(blue) + 128) / 256) as u8
        })
        .collect()
}

/// One sample for each pixel.
struct Plane {
    width: usize,
    height: usize,
    samples: Vec<u8>,
}

impl Plane {
    /// The sample at a place; beyond the border that of the nearest pixel.
    fn at(&self, x: i64, y: i64) -> u8 {
        let x = x.clamp(0, self.width as i64 - 1) as usize;
        let y = y.clamp(0, self.height as i64 - 1) as usize;
        self.samples[y * self.width + x]
    }

    fn map(&self, pixel: impl Fn(i64, i64) -> u8) -> Plane {
        let places = (0..self.height as i64).flat_map(|y| (0..self.width as i64).map(move |x| (x, y)));
        let samples = places.map(|(x, y)| pixel(x, y)).collect();
        Plane { width: self.width, height: self.height, samples }
    }

    fn blurred(&self) -> Plane {
        self.map(|x, y| {
            let mut sum = 0;
            for (dy, vertical) in (-2..=2).zip(BINOMIAL) {
                for (dx, horizontal) in (-2..=2).zip(BINOMIAL) {
                    sum += vertical * horizontal * u32::from(self.at(x + dx, y + dy));
                }
            }
            ((sum + 128) / 256) as u8
        })
    }

    fn edges(&self) -> Plane {
        self.map(|x, y| {
            let at = |dx: i64, dy: i64| i64::from(self.at(x + dx, y + dy));
            let across = at(1, -1) + 2 * at(1, 0) + at(1, 1) - at(-1, -1) - 2 * at(-1, 0) - at(-1, 1);
            let down = at(-1, 1) + 2 * at(0, 1) + at(1, 1) - at(-1, -1) - 2 * at(0, -1) - at(1, -1);
            (across * across + down * down).isqrt().min(255) as u8
        })
    }
}

/// Spreads the samples so that their cumulative distribution becomes a line.
fn equalised(samples: &[u8]) -> Vec<u8> {
    let mut counts = [0_u64; 256];
    for &sample in samples {
        counts[usize::from(sample)] += 1;
    }
    let total = samples.len() as u64;
    let darkest = samples.iter().min().copied().unwrap_or(0);
    let base = counts[usize::from(darkest)];
    if base == total {
        return samples.to_vec();
    }
    let spread = total - base;
    let table: Vec<u8> = (0..=255_u8)
        .map(|level| {
            let up_to: u64 = counts[..=usize::from(level)].iter().sum();
            ((up_to.saturating_sub(base) * 255 + spread / 2) / spread) as u8
        })
        .collect();
    samples.iter().map(|&sample| table[usize::from(sample)]).collect()
}
