//! Values as the bytes that devices see: little endian, without padding.
//!
//! Must never hold anything about buffers or commands.

use bytes::Bytes;

mod sealed {
    pub trait Sealed {}
}

/// A number that buffers can hold: `f32`, `f64` and the integers from 8 to 64 bits.
///
/// Sealed: other types travel as their bytes ([`Contents::from`] a `Vec<u8>` or `Bytes`).
pub trait Element: sealed::Sealed + Copy + Default + Send + Sync + 'static {
    /// Size of one value in bytes.
    const SIZE_BYTES: usize;

    /// The values as bytes, little endian.
    fn to_bytes(elements: &[Self]) -> Vec<u8>;

    /// The values that the bytes hold; bytes beyond the last whole value are left out.
    fn from_bytes(bytes: &[u8]) -> Vec<Self>;
}

macro_rules! element {
    ($($type:ty),*) => {$(
        impl sealed::Sealed for $type {}

        impl Element for $type {
            const SIZE_BYTES: usize = size_of::<$type>();

            fn to_bytes(elements: &[Self]) -> Vec<u8> {
                // Filling equal chunks compiles to one block copy on little-endian machines.
                let mut bytes = vec![0; size_of_val(elements)];
                let (chunks, _) = bytes.as_chunks_mut::<{ size_of::<$type>() }>();
                for (chunk, element) in chunks.iter_mut().zip(elements) {
                    *chunk = element.to_le_bytes();
                }
                bytes
            }

            fn from_bytes(bytes: &[u8]) -> Vec<Self> {
                let (chunks, _) = bytes.as_chunks::<{ size_of::<$type>() }>();
                chunks.iter().map(|chunk| Self::from_le_bytes(*chunk)).collect()
            }
        }
    )*};
}

element!(f32, f64, i8, i16, i32, i64, u8, u16, u32, u64);

/// A value argument of a kernel: an [`Element`], or an array of 2, 3, 4, 8 or 16 of them for OpenCL's
/// vector types.
///
/// An array of 3 becomes the four places that OpenCL gives a vector of three. Structures are given
/// with [`LaunchBuilder::scalar_bytes`](crate::LaunchBuilder::scalar_bytes).
pub trait Scalar: sealed::Sealed + Sized {
    /// The value as the kernel takes it.
    fn into_argument(self) -> Bytes;
}

impl<T: Element> Scalar for T {
    fn into_argument(self) -> Bytes {
        Bytes::from(T::to_bytes(&[self]))
    }
}

macro_rules! vector {
    ($($lanes:literal)*) => {$(
        impl<T: Element> sealed::Sealed for [T; $lanes] {}

        impl<T: Element> Scalar for [T; $lanes] {
            fn into_argument(self) -> Bytes {
                let mut bytes = T::to_bytes(&self);
                bytes.resize(usize::next_power_of_two($lanes) * T::SIZE_BYTES, 0);
                Bytes::from(bytes)
            }
        }
    )*};
}

vector!(2 3 4 8 16);

/// Bytes on their way into a buffer. `Bytes` and `Vec<u8>` are taken without a copy; slices, vectors
/// and arrays of [`Element`]s are copied once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Contents(pub(crate) Bytes);

impl Contents {
    /// How many bytes.
    #[must_use]
    pub fn size_bytes(&self) -> u64 {
        self.0.len() as u64
    }
}

impl From<Bytes> for Contents {
    fn from(bytes: Bytes) -> Self {
        Self(bytes)
    }
}

impl From<Vec<u8>> for Contents {
    fn from(bytes: Vec<u8>) -> Self {
        Self(Bytes::from(bytes))
    }
}

impl<T: Element> From<&[T]> for Contents {
    fn from(elements: &[T]) -> Self {
        Self(Bytes::from(T::to_bytes(elements)))
    }
}

impl<T: Element> From<&Vec<T>> for Contents {
    fn from(elements: &Vec<T>) -> Self {
        Self::from(elements.as_slice())
    }
}

impl<T: Element, const N: usize> From<&[T; N]> for Contents {
    fn from(elements: &[T; N]) -> Self {
        Self::from(elements.as_slice())
    }
}

impl<T: Element, const N: usize> From<[T; N]> for Contents {
    fn from(elements: [T; N]) -> Self {
        Self::from(elements.as_slice())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_come_back_from_their_bytes() {
        let values = [1.5_f64, -0.0, f64::INFINITY];
        assert_eq!(f64::from_bytes(&f64::to_bytes(&values)), values);
        assert_eq!(i16::to_bytes(&[-2, 0x0102]), [0xfe, 0xff, 0x02, 0x01]);
        assert_eq!(u32::from_bytes(&[1, 0, 0, 0, 9]), [1]);
    }

    #[test]
    fn vectors_of_three_take_four_places() {
        assert_eq!([1_u8, 2, 3].into_argument().as_ref(), [1, 2, 3, 0]);
        assert_eq!([1.0_f32; 16].into_argument().len(), 64);
        assert_eq!(7_u16.into_argument().as_ref(), [7, 0]);
    }
}
