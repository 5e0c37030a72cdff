//! The types of array elements and the conversions between them. Must never hold file formats.

use std::fmt;

/// The type of one element of an array; always little-endian in memory.
///
/// Integers convert to any type that can hold their value, integers and floats to a float (rounded to nearest), but a
/// float never to an integer: which rounding would be meant is not ours to guess.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ElementType {
    /// OpenCL's `char`.
    Int8,
    /// OpenCL's `uchar`.
    UInt8,
    /// OpenCL's `short`.
    Int16,
    /// OpenCL's `ushort`.
    UInt16,
    /// OpenCL's `int`.
    Int32,
    /// OpenCL's `uint`.
    UInt32,
    /// OpenCL's `long`.
    Int64,
    /// OpenCL's `ulong`.
    UInt64,
    /// OpenCL's `float`.
    Float32,
    /// OpenCL's `double`.
    Float64,
}

/// Why numbers cannot become another type.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConvertError {
    /// A float would have to become an integer.
    #[error("{from} does not convert to {to}; convert the file, or use a float type")]
    FloatToInteger {
        /// The type of the file.
        from: ElementType,
        /// The type asked for.
        to: ElementType,
    },
    /// A value has no place in the target type.
    #[error("element {index} is {value}, which does not fit in {to}")]
    OutOfRange {
        /// The position of the element.
        index: usize,
        /// Its value.
        value: i128,
        /// The type asked for.
        to: ElementType,
    },
}

impl ElementType {
    /// All types.
    pub const ALL: [ElementType; 10] = [
        ElementType::Int8,
        ElementType::UInt8,
        ElementType::Int16,
        ElementType::UInt16,
        ElementType::Int32,
        ElementType::UInt32,
        ElementType::Int64,
        ElementType::UInt64,
        ElementType::Float32,
        ElementType::Float64,
    ];

    /// OpenCL's name of the type.
    pub fn name(self) -> &'static str {
        match self {
            ElementType::Int8 => "char",
            ElementType::UInt8 => "uchar",
            ElementType::Int16 => "short",
            ElementType::UInt16 => "ushort",
            ElementType::Int32 => "int",
            ElementType::UInt32 => "uint",
            ElementType::Int64 => "long",
            ElementType::UInt64 => "ulong",
            ElementType::Float32 => "float",
            ElementType::Float64 => "double",
        }
    }

    /// NumPy's name of the type, as in `float32`.
    pub fn numpy_name(self) -> &'static str {
        match self {
            ElementType::Int8 => "int8",
            ElementType::UInt8 => "uint8",
            ElementType::Int16 => "int16",
            ElementType::UInt16 => "uint16",
            ElementType::Int32 => "int32",
            ElementType::UInt32 => "uint32",
            ElementType::Int64 => "int64",
            ElementType::UInt64 => "uint64",
            ElementType::Float32 => "float32",
            ElementType::Float64 => "float64",
        }
    }

    /// NumPy's short code without the byte order, as in `f4`.
    pub fn numpy_code(self) -> &'static str {
        match self {
            ElementType::Int8 => "i1",
            ElementType::UInt8 => "u1",
            ElementType::Int16 => "i2",
            ElementType::UInt16 => "u2",
            ElementType::Int32 => "i4",
            ElementType::UInt32 => "u4",
            ElementType::Int64 => "i8",
            ElementType::UInt64 => "u8",
            ElementType::Float32 => "f4",
            ElementType::Float64 => "f8",
        }
    }

    /// The type with this name: OpenCL's (`float`), NumPy's (`float32`) or NumPy's short one (`f4`).
    pub fn from_name(name: &str) -> Option<ElementType> {
        ElementType::ALL.into_iter().find(|candidate| {
            [candidate.name(), candidate.numpy_name(), candidate.numpy_code()].contains(&name)
        })
    }

    /// The size of one element in bytes.
    pub fn size_bytes(self) -> u64 {
        match self {
            ElementType::Int8 | ElementType::UInt8 => 1,
            ElementType::Int16 | ElementType::UInt16 => 2,
            ElementType::Int32 | ElementType::UInt32 | ElementType::Float32 => 4,
            ElementType::Int64 | ElementType::UInt64 | ElementType::Float64 => 8,
        }
    }

    /// Whether the type is a float.
    pub fn is_float(self) -> bool {
        matches!(self, ElementType::Float32 | ElementType::Float64)
    }

    /// The bytes of an integer as this type, `None` if it does not fit. Integers round to nearest as floats.
    pub fn encode_integer(self, value: i128) -> Option<Vec<u8>> {
        Some(match self {
            ElementType::Int8 => i8::try_from(value).ok()?.to_le_bytes().to_vec(),
            ElementType::UInt8 => u8::try_from(value).ok()?.to_le_bytes().to_vec(),
            ElementType::Int16 => i16::try_from(value).ok()?.to_le_bytes().to_vec(),
            ElementType::UInt16 => u16::try_from(value).ok()?.to_le_bytes().to_vec(),
            ElementType::Int32 => i32::try_from(value).ok()?.to_le_bytes().to_vec(),
            ElementType::UInt32 => u32::try_from(value).ok()?.to_le_bytes().to_vec(),
            ElementType::Int64 => i64::try_from(value).ok()?.to_le_bytes().to_vec(),
            ElementType::UInt64 => u64::try_from(value).ok()?.to_le_bytes().to_vec(),
            ElementType::Float32 => (value as f32).to_le_bytes().to_vec(),
            ElementType::Float64 => (value as f64).to_le_bytes().to_vec(),
        })
    }

    /// The bytes of a float as this type, `None` if the type is an integer.
    pub fn encode_float(self, value: f64) -> Option<Vec<u8>> {
        match self {
            ElementType::Float32 => Some((value as f32).to_le_bytes().to_vec()),
            ElementType::Float64 => Some(value.to_le_bytes().to_vec()),
            ElementType::Int8
            | ElementType::UInt8
            | ElementType::Int16
            | ElementType::UInt16
            | ElementType::Int32
            | ElementType::UInt32
            | ElementType::Int64
            | ElementType::UInt64 => None,
        }
    }
}

impl fmt::Display for ElementType {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

/// The integer in `bytes`, which are exactly one element of an integer type.
fn decode_integer(bytes: &[u8], signed: bool) -> i128 {
    let negative = signed && bytes.last().is_some_and(|&last| last >= 0x80);
    let mut wide = [if negative { 0xff } else { 0 }; 16];
    wide[..bytes.len()].copy_from_slice(bytes);
    i128::from_le_bytes(wide)
}

/// Converts little-endian elements; bytes after the last whole element are dropped.
pub(super) fn convert(bytes: &[u8], from: ElementType, to: ElementType) -> Result<Vec<u8>, ConvertError> {
    if from.is_float() && !to.is_float() {
        return Err(ConvertError::FloatToInteger { from, to });
    }
    let count = bytes.len() / from.size_bytes() as usize;
    let mut converted = Vec::with_capacity(count * to.size_bytes() as usize);
    match (from, to) {
        (ElementType::Float64, ElementType::Float32) => {
            for element in bytes.as_chunks::<8>().0 {
                converted.extend_from_slice(&(f64::from_le_bytes(*element) as f32).to_le_bytes());
            }
        }
        (ElementType::Float32, ElementType::Float64) => {
            for element in bytes.as_chunks::<4>().0 {
                converted.extend_from_slice(&f64::from(f32::from_le_bytes(*element)).to_le_bytes());
            }
        }
        (from, to) if from == to => converted.extend_from_slice(bytes),
        (from, to) => {
            let signed = matches!(
                from,
                ElementType::Int8 | ElementType::Int16 | ElementType::Int32 | ElementType::Int64
            );
            for (index, element) in bytes.chunks_exact(from.size_bytes() as usize).enumerate() {
                let value = decode_integer(element, signed);
                let encoded =
                    to.encode_integer(value).ok_or(ConvertError::OutOfRange { index, value, to })?;
                converted.extend_from_slice(&encoded);
            }
        }
    }
    Ok(converted)
}
