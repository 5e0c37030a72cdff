//! The Cholesky factor by the plain left-looking algorithm in double precision, with a bound for each number of how
//! far a computation in the precision of the output may be off.
//!
//! The bound is a running error analysis to first order. With u the unit roundoff of the output's type, a sum of m
//! products is off by at most (m + 2) u times the sum of their absolute values whatever the order of summation and
//! whether or not products are fused; the errors of the factors that enter are carried along; division and square
//! root, which OpenCL lets be off by 3 units in the last place, count for 4 u. The whole is doubled for the terms of
//! second order and for the reference's own errors.

use super::{Verification, VerificationError, floats32, floats64, input, output};
use crate::data_files::ElementType;
use crate::graph_file::{GraphFile, Output};

pub(super) fn verify(
    graph_file: &GraphFile,
    outputs: &[(Output, Vec<u8>)],
) -> Result<Verification, VerificationError> {
    let (array, element_type) = input(graph_file, "a")?;
    let order = match array.shape[..] {
        [rows, columns] if rows == columns => rows as usize,
        _ => {
            let expected = "a square matrix";
            return Err(VerificationError::InputShape { name: "a", shape: array.shape, expected });
        }
    };
    let shape = array.shape.clone();
    let matrix: Vec<f64> = floats64(&array.convert(ElementType::Float64)?.bytes).collect();
    let roundoff =
        if element_type == ElementType::Float32 { f64::from(f32::EPSILON) / 2.0 } else { f64::EPSILON / 2.0 };
    let found = output(outputs, "l", element_type, &shape)?;
    let found: Vec<f64> = match element_type {
        ElementType::Float32 => floats32(found).map(f64::from).collect(),
        _ => floats64(found).collect(),
    };
    let factor = factorise(&matrix, order, roundoff)?;
    let (max_error, tolerance) = compare(&found, &factor, order)?;
    let residual = residual(&matrix, &found, order);
    // The classical bound for the factor times its transpose, row by row, summed over the matrix.
    let residual_max = 2.0 * (order as f64 + 6.0) * roundoff * trace(&matrix, order) / norm(&matrix, order);
    if residual.is_nan() || residual > residual_max {
        return Err(VerificationError::Mismatch {
            what: "the relative residual |A - L L^T| / |A|",
            position: Vec::new(),
            expected: 0.0,
            found: residual,
            tolerance: residual_max,
            wrong: 1,
        });
    }
    Ok(Verification {
        numbers_checked: found.len() as u64,
        max_error,
        tolerance,
        what: format!(
            "every number of L against an unblocked factorisation in double precision, each held to its own error \
             bound for {element_type}; relative residual |A - L L^T| / |A| = {residual:.2e}, allowed {residual_max:.2e}"
        ),
    })
}

/// A lower triangular factor and a bound of the error of each of its numbers, both square and in rows.
struct Factor {
    values: Vec<f64>,
    bounds: Vec<f64>,
}

fn factorise(matrix: &[f64], order: usize, roundoff: f64) -> Result<Factor, VerificationError> {
    let mut values = vec![0.0; order * order];
    let mut bounds = vec![0.0; order * order];
    for row in 0..order {
        for column in 0..=row {
            let left = &values[row * order..][..column];
            let right = &values[column * order..][..column];
            let left_bounds = &bounds[row * order..][..column];
            let right_bounds = &bounds[column * order..][..column];
            let (mut sum, mut magnitude, mut carried) = (0.0_f64, 0.0_f64, 0.0_f64);
            for index in 0..column {
                let (one, other): (f64, f64) = (left[index], right[index]);
                sum += one * other;
                magnitude += (one * other).abs();
                carried += left_bounds[index] * other.abs() + one.abs() * right_bounds[index];
            }
            let entry = matrix[row * order + column];
            let rest = entry - sum;
            // One roundoff of the entry itself is its conversion to the type of the output.
            let rest_bound = carried + (column as f64 + 2.0) * roundoff * (magnitude + entry.abs());
            let position = row * order + column;
            if row == column {
                if rest.is_nan() || rest <= 0.0 {
                    return Err(VerificationError::NotPositiveDefinite { column });
                }
                values[position] = rest.sqrt();
                bounds[position] = rest_bound / (2.0 * values[position]) + 4.0 * roundoff * values[position];
            } else {
                let pivot = values[column * order + column];
                let value: f64 = rest / pivot;
                values[position] = value;
                let pivot_bound = bounds[column * order + column];
                bounds[position] =
                    (rest_bound + value.abs() * pivot_bound) / pivot + 4.0 * roundoff * value.abs();
            }
        }
    }
    bounds.iter_mut().for_each(|bound| *bound *= 2.0);
    Ok(Factor { values, bounds })
}

/// The largest difference and the largest bound; numbers above the diagonal must be zero.
fn compare(found: &[f64], factor: &Factor, order: usize) -> Result<(f64, f64), VerificationError> {
    let (mut max_error, mut tolerance) = (0.0_f64, 0.0_f64);
    let mut wrong = 0;
    let mut first = None;
    for (index, (&found, (&expected, &bound))) in
        found.iter().zip(factor.values.iter().zip(&factor.bounds)).enumerate()
    {
        let error = (found - expected).abs();
        // Written so that a result that is no number counts as wrong.
        if error <= bound {
            max_error = max_error.max(error);
            tolerance = tolerance.max(bound);
        } else {
            wrong += 1;
            first.get_or_insert((index, expected, found, bound));
        }
    }
    let Some((index, expected, found, tolerance)) = first else {
        return Ok((max_error, tolerance));
    };
    let position = vec![(index / order) as u64, (index % order) as u64];
    Err(VerificationError::Mismatch { what: "the factor L", position, expected, found, tolerance, wrong })
}

/// The Frobenius norm of A - L L^T relative to that of A; A is read from its lower triangle.
fn residual(matrix: &[f64], factor: &[f64], order: usize) -> f64 {
    let mut squares = 0.0;
    for row in 0..order {
        for column in 0..=row {
            let left = &factor[row * order..][..=column];
            let right = &factor[column * order..][..=column];
            let product: f64 = left.iter().zip(right).map(|(one, other)| one * other).sum();
            let difference = matrix[row * order + column] - product;
            squares += difference * difference * if row == column { 1.0 } else { 2.0 };
        }
    }
    squares.sqrt() / norm(matrix, order)
}

fn norm(matrix: &[f64], order: usize) -> f64 {
    let lower = (0..order).flat_map(|row| (0..=row).map(move |column| (row, column)));
    let squares = lower.map(|(row, column)| {
        let number = matrix[row * order + column];
        number * number * if row == column { 1.0 } else { 2.0 }
    });
    squares.sum::<f64>().sqrt()
}

fn trace(matrix: &[f64], order: usize) -> f64 {
    (0..order).map(|index| matrix[index * order + index]).sum()
}
