use super::*;

fn array(element_type: ElementType, shape: &[u64]) -> Array {
    let bytes = (0..shape.iter().product::<u64>() * element_type.size_bytes())
        .map(|byte| (byte % 100) as u8)
        .collect();
    Array { element_type, shape: shape.to_vec(), bytes }
}

#[test]
fn npy_round_trip_for_every_type_and_rank() {
    for element_type in ElementType::ALL {
        for shape in [&[][..], &[5], &[2, 3], &[2, 3, 4], &[0, 3]] {
            let original = array(element_type, shape);
            let file = encode_npy(element_type, shape, &original.bytes);
            assert_eq!((file.len() - original.bytes.len()) % 64, 0);
            assert_eq!(decode_npy(&file), Ok(original));
        }
    }
}

fn npy_file(header: &str, content: &[u8]) -> Vec<u8> {
    let mut file = b"\x93NUMPY\x01\x00".to_vec();
    file.extend_from_slice(&(header.len() as u16).to_le_bytes());
    file.extend_from_slice(header.as_bytes());
    file.extend_from_slice(content);
    file
}

#[test]
fn fortran_order_and_big_endian_are_converted() {
    let header = "{'descr': '>i2', 'fortran_order': True, 'shape': (2, 3), }";
    let file = npy_file(header, &[0, 1, 0, 4, 0, 2, 0, 5, 0, 3, 0, 6]);
    let read = decode_npy(&file).unwrap();
    assert_eq!(read.bytes, [1, 0, 2, 0, 3, 0, 4, 0, 5, 0, 6, 0]);
    assert_eq!(read.shape, [2, 3]);
}

#[test]
fn broken_npy_files_are_refused() {
    let good = "{'descr': '<f4', 'fortran_order': False, 'shape': (1,), }";
    assert_eq!(decode_npy(b"no"), Err(NpyError::Signature));
    assert_eq!(decode_npy(b"\x93NUMPY\x01"), Err(NpyError::Truncated));
    assert_eq!(decode_npy(b"\x93NUMPY\x09\x00\x00\x00"), Err(NpyError::Version { major: 9 }));
    assert_eq!(decode_npy(&npy_file(good, &[0; 3])), Err(NpyError::ContentSize { expected: 4, found: 3 }));
    let complex = good.replace("<f4", "<c8");
    assert_eq!(decode_npy(&npy_file(&complex, &[0; 8])), Err(NpyError::ElementType { descr: "<c8".into() }));
    let huge = good.replace("(1,)", "(18446744073709551615, 9)");
    assert_eq!(decode_npy(&npy_file(&huge, &[])), Err(NpyError::Shape));
    let no_shape = "{'descr': '<f4', 'fortran_order': False}";
    assert_eq!(decode_npy(&npy_file(no_shape, &[])), Err(NpyError::MissingKey { key: "shape" }));
    assert_eq!(decode_npy(&npy_file("{'descr': 4}", &[])), Err(NpyError::Header { position: 10 }));
}

#[test]
fn png_round_trip_for_every_channel_count_and_depth() {
    for channels in 1..=4_u8 {
        for bits in [8_u8, 16] {
            let element_type = if bits == 16 { ElementType::UInt16 } else { ElementType::UInt8 };
            let original = array(element_type, &[3, 5, u64::from(channels)]);
            let file = encode_png(5, 3, channels, bits, &original.bytes).unwrap();
            assert_eq!(decode_png(&file, 1 << 20).unwrap(), original);
        }
    }
}

#[test]
fn png_larger_than_the_limit_is_refused() {
    let file = encode_png(64, 64, 3, 8, &[7; 64 * 64 * 3]).unwrap();
    assert!(matches!(decode_png(&file, 1000), Err(png::DecodingError::LimitsExceeded)));
    assert!(decode_png(&file[..file.len() / 2], 1 << 20).is_err());
}

#[test]
fn conversions_round_or_refuse() {
    let doubles =
        Array { element_type: ElementType::Float64, shape: vec![1], bytes: 0.1_f64.to_le_bytes().to_vec() };
    let floats = doubles.clone().convert(ElementType::Float32).unwrap();
    assert_eq!(floats.bytes, 0.1_f32.to_le_bytes());
    assert_eq!(
        doubles.convert(ElementType::Int32),
        Err(ConvertError::FloatToInteger { from: ElementType::Float64, to: ElementType::Int32 })
    );
    let negative = Array { element_type: ElementType::Int16, shape: vec![2], bytes: vec![3, 0, 0xfe, 0xff] };
    assert_eq!(
        negative.clone().convert(ElementType::Int32).unwrap().bytes,
        [3, 0, 0, 0, 0xfe, 0xff, 0xff, 0xff]
    );
    assert_eq!(
        negative.convert(ElementType::UInt8),
        Err(ConvertError::OutOfRange { index: 1, value: -2, to: ElementType::UInt8 })
    );
}

#[test]
fn slices_take_rectangles() {
    let whole = Array { element_type: ElementType::UInt8, shape: vec![3, 4], bytes: (0..12).collect() };
    assert_eq!(whole.slice(&[(1, 2), (1, 2)]).unwrap(), [5, 6, 9, 10]);
    assert_eq!(whole.slice(&[(2, 1)]).unwrap(), [8, 9, 10, 11]);
    assert_eq!(whole.slice(&[]).unwrap(), whole.bytes);
    let cube = Array { element_type: ElementType::UInt16, shape: vec![2, 2, 2], bytes: (0..16).collect() };
    assert_eq!(cube.slice(&[(0, 2), (1, 1)]).unwrap(), [4, 5, 6, 7, 12, 13, 14, 15]);
    assert_eq!(
        whole.slice(&[(2, 2)]),
        Err(SliceError::OutOfRange { dimension: 0, first: 2, count: 2, available: 3 })
    );
    assert_eq!(whole.slice(&[(0, 1); 3]), Err(SliceError::TooManyDimensions { found: 3, rank: 2 }));
    assert!(whole.slice(&[(u64::MAX, 2)]).is_err());
}

#[test]
fn files_appear_whole_and_leave_nothing_behind() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("deep/er/x.bin");
    write_atomically(&path, b"one").unwrap();
    write_atomically(&path, b"two").unwrap();
    assert_eq!(fs::read(&path).unwrap(), b"two");
    assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
    assert!(matches!(
        read_array(&path, DataFormat::Raw, 2),
        Err(DataFileError::TooLarge { bytes_max: 2, .. })
    ));
    assert!(matches!(read_array(folder.path(), DataFormat::Raw, 2), Err(DataFileError::Directory { .. })));
    assert!(matches!(write_atomically(&path.join("y"), b""), Err(DataFileError::Write { .. })));
}
