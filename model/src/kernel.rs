//! What a built program tells of its kernels.

use serde::{Deserialize, Serialize};

use crate::shared_list::SharedList;

/// Where an argument's memory lies, as OpenCL names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum AddressSpace {
    /// `__global`: a buffer.
    Global,
    /// `__constant`: a buffer that is only read.
    Constant,
    /// `__local`: work-group memory, given by size.
    Local,
    /// A value.
    Private,
}

/// One argument of a kernel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ArgumentInfo {
    /// The name in the source.
    pub name: String,
    /// The type as the compiler prints it, such as `float*` or `uint`.
    pub type_name: String,
    /// Where the argument's memory lies.
    pub address_space: AddressSpace,
    /// Whether the type it points to is `const`.
    pub is_const: bool,
    /// The size of a value in bytes where the type is one that OpenCL C defines, else `None`.
    pub value_bytes: Option<u32>,
}

/// One kernel of a built program.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KernelSignature {
    /// The kernel's name.
    pub name: String,
    /// Its arguments in order.
    pub arguments: SharedList<ArgumentInfo>,
}

/// Sizes in bytes of the value types that OpenCL C defines, with vector suffixes 2, 3, 4, 8, 16.
///
/// Returns `None` for types of the program's own and for those whose size depends on the device.
#[must_use]
pub fn value_bytes_of(type_name: &str) -> Option<u32> {
    let name = type_name.trim();
    let base_length = name.find(|letter: char| letter.is_ascii_digit()).unwrap_or(name.len());
    let (base, lanes) = name.split_at(base_length);
    let lane_bytes = match base {
        "char" | "uchar" | "unsigned char" => 1,
        "short" | "ushort" | "unsigned short" | "half" => 2,
        "int" | "uint" | "unsigned int" | "float" => 4,
        "long" | "ulong" | "unsigned long" | "double" => 8,
        _ => return None,
    };
    let lanes = match lanes {
        "" => 1,
        "2" => 2,
        "3" | "4" => 4,
        "8" => 8,
        "16" => 16,
        _ => return None,
    };
    Some(lane_bytes * lanes)
}

#[cfg(test)]
mod tests {
    use super::value_bytes_of;

    #[test]
    fn vectors_of_three_take_the_room_of_four() {
        assert_eq!(value_bytes_of("float3"), Some(16));
        assert_eq!(value_bytes_of("uchar16"), Some(16));
        assert_eq!(value_bytes_of("double"), Some(8));
        assert_eq!(value_bytes_of("size_t"), None);
        assert_eq!(value_bytes_of("struct point"), None);
        assert_eq!(value_bytes_of("float5"), None);
    }
}
