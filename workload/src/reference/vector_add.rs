//! The sum of two vectors, exact: one rounded addition has one right result.

use super::{Verification, VerificationError, floats32, input, output};
use crate::data_files::ElementType;
use crate::graph_file::{GraphFile, Output};

pub(super) fn verify(
    graph_file: &GraphFile,
    outputs: &[(Output, Vec<u8>)],
) -> Result<Verification, VerificationError> {
    let (a, _) = input(graph_file, "a")?;
    let (b, _) = input(graph_file, "b")?;
    if a.shape != b.shape {
        let expected = "the same shape as `a`";
        return Err(VerificationError::InputShape { name: "b", shape: b.shape, expected });
    }
    let shape = a.shape.clone();
    let (a, b) = (a.convert(ElementType::Float32)?, b.convert(ElementType::Float32)?);
    let found = output(outputs, "c", ElementType::Float32, &shape)?;
    let mut wrong = 0;
    let mut first = None;
    for (index, ((a, b), found)) in
        floats32(&a.bytes).zip(floats32(&b.bytes)).zip(floats32(found)).enumerate()
    {
        let expected = a + b;
        if expected.to_bits() != found.to_bits() {
            wrong += 1;
            first.get_or_insert((index as u64, expected, found));
        }
    }
    if let Some((index, expected, found)) = first {
        return Err(VerificationError::Mismatch {
            what: "the sum",
            position: vec![index],
            expected: f64::from(expected),
            found: f64::from(found),
            tolerance: 0.0,
            wrong,
        });
    }
    Ok(Verification {
        numbers_checked: shape.iter().product(),
        max_error: 0.0,
        tolerance: 0.0,
        what: "every sum equals the one computed on the CPU, bit for bit".to_owned(),
    })
}
