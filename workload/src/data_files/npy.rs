//! NumPy's `.npy` format. Must never hold file access; bytes in, bytes out.
//!
//! Written here rather than taken from a crate because the crates bring a grammar engine and big integers for a header
//! of three entries.

use super::{Array, ElementType, NpyError};

const SIGNATURE: &[u8] = b"\x93NUMPY";
/// Content starts at a multiple of this, as NumPy has it.
const ALIGNMENT_BYTES: usize = 64;

/// The three entries of a header.
#[derive(Debug, Default)]
struct Header {
    descr: Option<String>,
    fortran_order: Option<bool>,
    shape: Option<Vec<u64>>,
}

/// Reads the bytes of a `.npy` file. Fortran order becomes C order, big-endian becomes little-endian, and `b1` becomes
/// `uchar`.
pub fn decode_npy(bytes: &[u8]) -> Result<Array, NpyError> {
    let after_signature = bytes.strip_prefix(SIGNATURE).ok_or(NpyError::Signature)?;
    let (&[major, _minor], rest) = after_signature.split_first_chunk::<2>().ok_or(NpyError::Truncated)?;
    let (header_bytes, rest) = match major {
        1 => {
            let (length, rest) = rest.split_first_chunk::<2>().ok_or(NpyError::Truncated)?;
            (usize::from(u16::from_le_bytes(*length)), rest)
        }
        2 | 3 => {
            let (length, rest) = rest.split_first_chunk::<4>().ok_or(NpyError::Truncated)?;
            (u32::from_le_bytes(*length) as usize, rest)
        }
        major => return Err(NpyError::Version { major }),
    };
    let (header, content) = rest.split_at_checked(header_bytes).ok_or(NpyError::Truncated)?;
    let header = HeaderParser { text: header, position: 0 }.parse()?;
    let descr = header.descr.ok_or(NpyError::MissingKey { key: "descr" })?;
    let fortran_order = header.fortran_order.ok_or(NpyError::MissingKey { key: "fortran_order" })?;
    let shape = header.shape.ok_or(NpyError::MissingKey { key: "shape" })?;
    let (element_type, big_endian) = parse_descr(&descr)?;

    let expected = shape
        .iter()
        .try_fold(element_type.size_bytes(), |product, &extent| product.checked_mul(extent))
        .filter(|&product| product <= isize::MAX as u64)
        .ok_or(NpyError::Shape)?;
    if content.len() as u64 != expected {
        return Err(NpyError::ContentSize { expected, found: content.len() as u64 });
    }
    let element_bytes = element_type.size_bytes() as usize;
    let mut bytes = if fortran_order && shape.len() > 1 {
        to_c_order(content, &shape, element_bytes)
    } else {
        content.to_vec()
    };
    if big_endian && element_bytes > 1 {
        bytes.chunks_exact_mut(element_bytes).for_each(<[u8]>::reverse);
    }
    Ok(Array { element_type, shape, bytes })
}

/// The bytes of a `.npy` file (version 1, C order) with these elements.
pub fn encode_npy(element_type: ElementType, shape: &[u64], bytes: &[u8]) -> Vec<u8> {
    let order = if element_type.size_bytes() == 1 { '|' } else { '<' };
    let extents = match shape {
        [] => String::new(),
        [single] => format!("{single},"),
        several => several.iter().map(u64::to_string).collect::<Vec<_>>().join(", "),
    };
    let mut header = format!(
        "{{'descr': '{order}{}', 'fortran_order': False, 'shape': ({extents}), }}",
        element_type.numpy_code()
    );
    let prefix_bytes = SIGNATURE.len() + 4;
    let padding =
        (prefix_bytes + header.len() + 1).next_multiple_of(ALIGNMENT_BYTES) - prefix_bytes - header.len() - 1;
    header.push_str(&" ".repeat(padding));
    header.push('\n');
    // Version 1 counts the header in 16 bits; only thousands of dimensions need more.
    let (version, length) = match u16::try_from(header.len()) {
        Ok(length) => ([1, 0], length.to_le_bytes().to_vec()),
        Err(_) => ([2, 0], (header.len() as u32).to_le_bytes().to_vec()),
    };
    let mut file = Vec::with_capacity(prefix_bytes + header.len() + bytes.len());
    file.extend_from_slice(SIGNATURE);
    file.extend_from_slice(&version);
    file.extend_from_slice(&length);
    file.extend_from_slice(header.as_bytes());
    file.extend_from_slice(bytes);
    file
}

/// The element type that NumPy's `descr` names, and whether it is big-endian.
fn parse_descr(descr: &str) -> Result<(ElementType, bool), NpyError> {
    let unknown = || NpyError::ElementType { descr: descr.to_owned() };
    let (order, code) = descr.split_at_checked(1).ok_or_else(unknown)?;
    let big_endian = match order {
        "<" | "|" | "=" => false,
        ">" => true,
        _ => return Err(unknown()),
    };
    let code = if code == "b1" { "u1" } else { code };
    let element_type = ElementType::ALL.into_iter().find(|candidate| candidate.numpy_code() == code);
    element_type.map(|element_type| (element_type, big_endian)).ok_or_else(unknown)
}

/// Reorders elements whose first dimension is contiguous so that the last one is. At least two dimensions.
fn to_c_order(content: &[u8], shape: &[u64], element_bytes: usize) -> Vec<u8> {
    let mut strides = Vec::with_capacity(shape.len());
    let mut stride = element_bytes;
    for &extent in shape {
        strides.push(stride);
        stride *= extent as usize;
    }
    let mut ordered = Vec::with_capacity(content.len());
    let mut index = vec![0_u64; shape.len()];
    let mut source = 0_usize;
    while ordered.len() < content.len() {
        ordered.extend_from_slice(&content[source..source + element_bytes]);
        for dimension in (0..shape.len()).rev() {
            index[dimension] += 1;
            source += strides[dimension];
            if index[dimension] < shape[dimension] {
                break;
            }
            source -= strides[dimension] * shape[dimension] as usize;
            index[dimension] = 0;
        }
    }
    ordered
}

/// Reads the Python dictionary of a header: strings, booleans and tuples of numbers, nothing else.
struct HeaderParser<'a> {
    text: &'a [u8],
    position: usize,
}

impl HeaderParser<'_> {
    fn parse(mut self) -> Result<Header, NpyError> {
        let mut header = Header::default();
        self.expect(b'{')?;
        while self.peek() != Some(b'}') {
            let key = self.string()?;
            self.expect(b':')?;
            match key.as_str() {
                "descr" => header.descr = Some(self.string()?),
                "fortran_order" => header.fortran_order = Some(self.boolean()?),
                "shape" => header.shape = Some(self.extents()?),
                _ => return Err(self.malformed()),
            }
            if self.peek() != Some(b'}') {
                self.expect(b',')?;
            }
        }
        self.expect(b'}')?;
        Ok(header)
    }

    fn malformed(&self) -> NpyError {
        NpyError::Header { position: self.position }
    }

    fn peek(&mut self) -> Option<u8> {
        while self.text.get(self.position).is_some_and(u8::is_ascii_whitespace) {
            self.position += 1;
        }
        self.text.get(self.position).copied()
    }

    fn expect(&mut self, wanted: u8) -> Result<(), NpyError> {
        if self.peek() != Some(wanted) {
            return Err(self.malformed());
        }
        self.position += 1;
        Ok(())
    }

    fn string(&mut self) -> Result<String, NpyError> {
        let quote =
            self.peek().filter(|quote| matches!(quote, b'\'' | b'"')).ok_or_else(|| self.malformed())?;
        self.position += 1;
        let rest = &self.text[self.position..];
        let length = rest.iter().position(|&byte| byte == quote).ok_or_else(|| self.malformed())?;
        self.position += length + 1;
        Ok(String::from_utf8_lossy(&rest[..length]).into_owned())
    }

    fn boolean(&mut self) -> Result<bool, NpyError> {
        self.peek();
        for (word, value) in [("True", true), ("False", false)] {
            if self.text[self.position..].starts_with(word.as_bytes()) {
                self.position += word.len();
                return Ok(value);
            }
        }
        Err(self.malformed())
    }

    fn extents(&mut self) -> Result<Vec<u64>, NpyError> {
        let mut extents = Vec::new();
        self.expect(b'(')?;
        while self.peek() != Some(b')') {
            let digits = self.text[self.position..].iter().take_while(|byte| byte.is_ascii_digit()).count();
            let text = String::from_utf8_lossy(&self.text[self.position..self.position + digits]);
            extents.push(text.parse().map_err(|_| self.malformed())?);
            self.position += digits;
            // Python 2 marked long numbers so.
            if self.peek() == Some(b'L') {
                self.position += 1;
            }
            if self.peek() != Some(b')') {
                self.expect(b',')?;
            }
        }
        self.expect(b')')?;
        Ok(extents)
    }
}
