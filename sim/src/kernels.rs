//! Kernels that virtual devices really run, so that a simulated farm's bytes can be checked against a
//! reference model. All of them work on bytes and wrap around.

use isochrone_model::order::{BuildOutcome, BuiltKernel};
use isochrone_model::{AddressSpace, ArgumentInfo, KernelSignature};

/// The source by which a simulated farm knows the kernels here; any other source does not build.
pub const SOURCE: &str = "isochrone simulated kernels 1";

/// A kernel, in the order of names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kernel {
    /// `fail()`: the device reports an error.
    Fail,
    /// `mix(const source, target, source_offset, target_offset, size, salt)`: each target byte becomes
    /// itself times 7 plus the source byte plus the salt.
    Mix,
    /// `noop()`.
    Noop,
    /// As `mix`, and then the device reports an error: what it wrote must never be seen.
    Spoil,
    /// `store(target, offset, size, salt)`: each byte becomes the salt plus its place.
    Store,
}

/// All kernels by name.
pub const KERNELS: [Kernel; 5] = [Kernel::Fail, Kernel::Mix, Kernel::Noop, Kernel::Spoil, Kernel::Store];

impl Kernel {
    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Fail => "fail",
            Self::Mix => "mix",
            Self::Noop => "noop",
            Self::Spoil => "spoil",
            Self::Store => "store",
        }
    }

    fn arguments(self) -> Vec<ArgumentInfo> {
        let buffer = |name: &str, is_const| ArgumentInfo {
            name: name.to_owned(),
            type_name: "uchar*".to_owned(),
            address_space: AddressSpace::Global,
            is_const,
            value_bytes: None,
        };
        let value = |name: &str| ArgumentInfo {
            name: name.to_owned(),
            type_name: "uint".to_owned(),
            address_space: AddressSpace::Private,
            is_const: false,
            value_bytes: Some(4),
        };
        match self {
            Self::Fail | Self::Noop => Vec::new(),
            Self::Mix | Self::Spoil => vec![
                buffer("source", true),
                buffer("target", false),
                value("source_offset"),
                value("target_offset"),
                value("size"),
                value("salt"),
            ],
            Self::Store => vec![buffer("target", false), value("offset"), value("size"), value("salt")],
        }
    }
}

/// What a build of a source gives.
#[must_use]
pub fn build(source: &str) -> BuildOutcome {
    if source != SOURCE {
        return BuildOutcome::Failed { log: format!("no such simulated program: {source}") };
    }
    let kernels = KERNELS
        .iter()
        .map(|kernel| BuiltKernel {
            signature: KernelSignature {
                name: kernel.name().to_owned(),
                arguments: kernel.arguments().into(),
            },
            work_group_size_max: 256,
        })
        .collect();
    BuildOutcome::Built { kernels, log: String::new() }
}

/// `mix` on slices of equal length.
pub fn mix(source: &[u8], target: &mut [u8], salt: u32) {
    for (byte, other) in target.iter_mut().zip(source) {
        *byte = byte.wrapping_mul(7).wrapping_add(*other).wrapping_add(salt as u8);
    }
}

/// `store` on a slice.
pub fn store(target: &mut [u8], salt: u32) {
    for (place, byte) in target.iter_mut().enumerate() {
        *byte = (salt as u8).wrapping_add(place as u8);
    }
}
