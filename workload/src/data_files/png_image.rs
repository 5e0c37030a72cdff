//! PNG images as arrays. Must never hold file access; bytes in, bytes out.

use std::io::Cursor;

use super::{Array, ElementType};

/// Reads the bytes of a PNG file as an array `[height, width, channels]` of `uchar` or, with 16 bits a sample,
/// `ushort`. Palettes become RGB, samples of less than 8 bits become 8, transparent colours become an alpha channel.
pub fn decode_png(bytes: &[u8], bytes_max: u64) -> Result<Array, png::DecodingError> {
    let limits = png::Limits { bytes: usize::try_from(bytes_max).unwrap_or(usize::MAX) };
    let mut decoder = png::Decoder::new_with_limits(Cursor::new(bytes), limits);
    decoder.set_transformations(png::Transformations::EXPAND);
    let mut reader = decoder.read_info()?;
    let size_bytes = reader
        .output_buffer_size()
        .filter(|&size_bytes| size_bytes as u64 <= bytes_max)
        .ok_or(png::DecodingError::LimitsExceeded)?;
    let mut content = vec![0; size_bytes];
    let frame = reader.next_frame(&mut content)?;
    content.truncate(frame.buffer_size());
    let element_type = if frame.bit_depth == png::BitDepth::Sixteen {
        // PNG is big-endian.
        content.as_chunks_mut::<2>().0.iter_mut().for_each(|sample| sample.reverse());
        ElementType::UInt16
    } else {
        ElementType::UInt8
    };
    let channels = frame.color_type.samples() as u64;
    Ok(Array {
        element_type,
        shape: vec![u64::from(frame.height), u64::from(frame.width), channels],
        bytes: content,
    })
}

/// The bytes of a PNG file with these samples; `channels` is 1 to 4, `bits` 8 or 16, samples of 16 bits little-endian.
pub fn encode_png(
    width: u32,
    height: u32,
    channels: u8,
    bits: u8,
    bytes: &[u8],
) -> Result<Vec<u8>, png::EncodingError> {
    let mut file = Vec::new();
    let mut encoder = png::Encoder::new(&mut file, width, height);
    encoder.set_color(match channels {
        1 => png::ColorType::Grayscale,
        2 => png::ColorType::GrayscaleAlpha,
        3 => png::ColorType::Rgb,
        _ => png::ColorType::Rgba,
    });
    encoder.set_depth(if bits == 16 { png::BitDepth::Sixteen } else { png::BitDepth::Eight });
    encoder.set_compression(png::Compression::Fast);
    let mut writer = encoder.write_header()?;
    if bits == 16 {
        let mut swapped = bytes.to_vec();
        swapped.as_chunks_mut::<2>().0.iter_mut().for_each(|sample| sample.reverse());
        writer.write_image_data(&swapped)?;
    } else {
        writer.write_image_data(bytes)?;
    }
    writer.finish()?;
    Ok(file)
}
