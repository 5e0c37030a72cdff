use std::path::PathBuf;

use super::*;
use crate::data_files::{encode_npy, write_atomically};
use crate::graph_file::{ByteRange, DataFile, Encoding, OutputPart};
use crate::inputs::{InputOptions, write_inputs};

/// A graph of nothing but data files, with the element type that they were converted to.
fn graph_file(data: &[(&str, PathBuf)], element_type: ElementType) -> GraphFile {
    let data = data.iter().map(|(name, path)| DataFile {
        name: (*name).to_owned(),
        path: path.clone(),
        element_type,
        shape: Vec::new(),
    });
    GraphFile {
        path: PathBuf::new(),
        name: String::new(),
        description: String::new(),
        verify: None,
        parameters: std::collections::BTreeMap::new(),
        data: data.collect(),
        programs: Vec::new(),
        buffers: Vec::new(),
        commands: Vec::new(),
        outputs: Vec::new(),
    }
}

fn npy_output(name: &str, element_type: ElementType, shape: &[u64], bytes: Vec<u8>) -> (Output, Vec<u8>) {
    let range = ByteRange { offset_bytes: 0, size_bytes: bytes.len() as u64 };
    let part = OutputPart { buffer: 0, range, start: vec![0; shape.len()], extent: shape.to_vec() };
    let encoding = Encoding::Npy { element_type, shape: shape.to_vec() };
    (Output { name: name.to_owned(), path: PathBuf::new(), encoding, parts: vec![part] }, bytes)
}

fn bytes64(numbers: &[f64]) -> Vec<u8> {
    numbers.iter().flat_map(|number| number.to_le_bytes()).collect()
}

fn write_matrix(folder: &tempfile::TempDir, order: u64, numbers: &[f64]) -> PathBuf {
    let path = folder.path().join("m.npy");
    write_atomically(&path, &encode_npy(ElementType::Float64, &[order, order], &bytes64(numbers))).unwrap();
    path
}

#[test]
fn cholesky_knows_a_factor_worked_out_by_hand() {
    let folder = tempfile::tempdir().unwrap();
    // The textbook's example: its factor is whole.
    let path = write_matrix(&folder, 3, &[4.0, 12.0, -16.0, 12.0, 37.0, -43.0, -16.0, -43.0, 98.0]);
    let graph = graph_file(&[("a", path)], ElementType::Float64);
    let factor = [2.0, 0.0, 0.0, 6.0, 1.0, 0.0, -8.0, 5.0, 3.0];
    let right = npy_output("l", ElementType::Float64, &[3, 3], bytes64(&factor));
    let verified = verify("cholesky", &graph, &[right]).unwrap();
    assert_eq!((verified.numbers_checked, verified.max_error), (9, 0.0));

    for (index, change) in [(4, 1e-9), (2, 1e-12), (8, f64::NAN), (0, -4.0)] {
        let mut wrong = factor;
        wrong[index] += change;
        let output = npy_output("l", ElementType::Float64, &[3, 3], bytes64(&wrong));
        match verify("cholesky", &graph, &[output]) {
            Err(VerificationError::Mismatch { position, wrong: 1, .. }) => {
                assert_eq!(position, [index as u64 / 3, index as u64 % 3]);
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn cholesky_holds_single_precision_to_its_own_bound() {
    let folder = tempfile::tempdir().unwrap();
    let path = write_matrix(&folder, 2, &[4.0, 2.0, 2.0, 3.0]);
    let graph = graph_file(&[("a", path)], ElementType::Float32);
    let factor = |last: f64| -> Vec<u8> {
        [2.0, 0.0, 1.0, last].iter().flat_map(|&number: &f64| (number as f32).to_le_bytes()).collect()
    };
    let exact = 2.0_f64.sqrt();
    let good = npy_output("l", ElementType::Float32, &[2, 2], factor(exact));
    let verified = verify("cholesky", &graph, &[good]).unwrap();
    assert!(verified.max_error > 0.0 && verified.tolerance < 1e-5, "{verified:?}");
    let bad = npy_output("l", ElementType::Float32, &[2, 2], factor(exact + 1e-4));
    assert!(matches!(verify("cholesky", &graph, &[bad]), Err(VerificationError::Mismatch { .. })));
}

#[test]
fn cholesky_refuses_what_has_no_factor() {
    let folder = tempfile::tempdir().unwrap();
    let path = write_matrix(&folder, 2, &[1.0, 2.0, 2.0, 1.0]);
    let graph = graph_file(&[("a", path.clone())], ElementType::Float64);
    let output = npy_output("l", ElementType::Float64, &[2, 2], vec![0; 32]);
    assert!(matches!(
        verify("cholesky", &graph, std::slice::from_ref(&output)),
        Err(VerificationError::NotPositiveDefinite { column: 1 })
    ));
    assert!(matches!(verify("cholesky", &graph, &[]), Err(VerificationError::MissingOutput { name: "l" })));
    let renamed = graph_file(&[("b", path)], ElementType::Float64);
    let missing = verify("cholesky", &renamed, std::slice::from_ref(&output));
    assert!(matches!(missing, Err(VerificationError::MissingData { name: "a" })));
    let wrong_type = npy_output("l", ElementType::Float32, &[2, 2], vec![0; 16]);
    let refused = verify("cholesky", &graph, &[wrong_type]);
    assert!(matches!(refused, Err(VerificationError::OutputShape { name: "l", .. })));
    assert!(matches!(verify("nothing", &graph, &[]), Err(VerificationError::UnknownName { .. })));
}

#[test]
fn vector_add_is_exact() {
    let folder = tempfile::tempdir().unwrap();
    let options = InputOptions { vector_length: 100, ..InputOptions::default() };
    let files = write_inputs("vector-add", folder.path(), &options).unwrap();
    let graph = graph_file(&[("a", files[0].clone()), ("b", files[1].clone())], ElementType::Float32);
    let read = |path| data_files::read_array(path, DataFormat::Npy, 1 << 20).unwrap().bytes;
    let (a, b) = (read(&files[0]), read(&files[1]));
    let sum: Vec<u8> = floats32(&a).zip(floats32(&b)).flat_map(|(a, b)| (a + b).to_le_bytes()).collect();
    let right = npy_output("c", ElementType::Float32, &[100], sum.clone());
    assert_eq!(verify("vector-add", &graph, &[right]).unwrap().numbers_checked, 100);
    let mut wrong = sum;
    wrong[4 * 70] ^= 1;
    wrong[4 * 80] ^= 1;
    let found = verify("vector-add", &graph, &[npy_output("c", ElementType::Float32, &[100], wrong)]);
    match found {
        Err(VerificationError::Mismatch { position, wrong: 2, .. }) => assert_eq!(position, [70]),
        other => panic!("{other:?}"),
    }
}

#[test]
fn image_pipeline_of_a_step_worked_out_by_hand() {
    // A black half and a white half, one row: luminance 0 0 0 255 255 255; the blur spreads the step over four pixels;
    // the edge is strongest in its middle.
    let folder = tempfile::tempdir().unwrap();
    let rgb: Vec<u8> = [0, 0, 0, 255, 255, 255].into_iter().flat_map(|grey| [grey; 3]).collect();
    let path = folder.path().join("step.png");
    write_atomically(&path, &data_files::encode_png(6, 1, 3, 8, &rgb).unwrap()).unwrap();
    let graph = graph_file(&[("image", path)], ElementType::UInt8);
    // Blurred: 0, 16, 80, 175, 239, 255 (255 times 0, 1, 5, 11, 15, 16 sixteenths). One row repeats above and below, so
    // the gradient is four times the central difference: 64, 320, 636, 636, 320, 64, cut to 64, 255, 255, 255, 255,
    // 64. Equalised: the darkest level becomes 0, all of the others are the brightest.
    let expected = [0, 255, 255, 255, 255, 0];
    let encoding = Encoding::Png { width: 6, height: 1, channels: 1, bits: 8 };
    let range = ByteRange { offset_bytes: 0, size_bytes: 6 };
    let part = OutputPart { buffer: 0, range, start: vec![0; 3], extent: vec![1, 6, 1] };
    let output = Output { name: "result".to_owned(), path: PathBuf::new(), encoding, parts: vec![part] };
    assert_eq!(
        verify("image-pipeline", &graph, &[(output.clone(), expected.to_vec())]).unwrap().numbers_checked,
        6
    );
    let wrong = vec![0, 255, 255, 254, 255, 0];
    match verify("image-pipeline", &graph, &[(output, wrong)]) {
        Err(VerificationError::Mismatch { position, wrong: 1, .. }) => assert_eq!(position, [0, 3]),
        other => panic!("{other:?}"),
    }
}
