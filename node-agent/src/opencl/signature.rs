//! What kernels take: type names as every compiler here tells them, and whether a launch's arguments
//! suit. Plain data; must never call a driver, so that devices without one use it too.

use isochrone_model::kernel::value_bytes_of;
use isochrone_model::{AddressSpace, ArgumentInfo, BoundArgument, KernelSignature};
use isochrone_sched_core::agent::OperationError;

/// What a launch must give for one argument.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ArgumentShape {
    /// A buffer or a part of one.
    Buffer,
    /// A size of work-group memory.
    Local,
    /// A value, of a known size or of one that only the compiler knows.
    Value {
        /// The size where OpenCL C defines it.
        size_bytes: Option<u32>,
    },
    /// Nothing that a launch can name: images, samplers, pipes, queues.
    Unsupported,
}

/// Types whose values are objects of the driver. Passed as bytes they would be taken for addresses.
const OBJECT_TYPES: [&str; 7] =
    ["sampler_t", "event_t", "queue_t", "clk_event_t", "reserve_id_t", "ndrange_t", "pipe"];

/// An argument as it is told to the farm: the same whatever the compiler.
pub(crate) fn argument_info(
    name: String,
    raw_type_name: &str,
    address_space: AddressSpace,
    is_const: bool,
) -> ArgumentInfo {
    let type_name = normalised_type(raw_type_name);
    let (is_const, value_bytes) = match address_space {
        AddressSpace::Global => (is_const, None),
        // Compilers differ in whether they call these `const`; nothing can be written to them.
        AddressSpace::Constant => (true, None),
        // For these `const` says nothing about buffers, and compilers differ again.
        AddressSpace::Local => (false, None),
        AddressSpace::Private => (false, value_bytes_of(&type_name)),
    };
    ArgumentInfo { name, type_name, address_space, is_const, value_bytes }
}

/// A type name without qualifiers, with one spelling for each type: `const unsigned int *` is `uint*`.
pub(crate) fn normalised_type(raw: &str) -> String {
    let stars = raw.matches('*').count();
    let mut is_unsigned = false;
    let mut is_signed = false;
    let mut words: Vec<&str> = Vec::new();
    for word in raw.split(|letter: char| letter.is_whitespace() || letter == '*') {
        match word {
            "" | "const" | "volatile" | "restrict" | "__restrict" | "__restrict__" | "__global"
            | "global" | "__constant" | "constant" | "__local" | "local" | "__private" | "private"
            | "__generic" | "generic" | "register" => {}
            "unsigned" => is_unsigned = true,
            "signed" => is_signed = true,
            other => words.push(other),
        }
    }
    let base = match words.as_slice() {
        [] if is_unsigned || is_signed => "int".to_owned(),
        ["long", "int" | "long"] | ["int", "long"] => "long".to_owned(),
        ["short", "int"] | ["int", "short"] => "short".to_owned(),
        words => words.join(" "),
    };
    let prefix = if is_unsigned { "u" } else { "" };
    format!("{prefix}{base}{}", "*".repeat(stars))
}

/// What launches of a kernel must give.
pub(crate) fn shapes_of(signature: &KernelSignature) -> Vec<ArgumentShape> {
    signature.arguments.iter().map(shape_of).collect()
}

fn shape_of(argument: &ArgumentInfo) -> ArgumentShape {
    let is_pointer = argument.type_name.ends_with('*');
    match argument.address_space {
        AddressSpace::Global | AddressSpace::Constant if is_pointer => ArgumentShape::Buffer,
        AddressSpace::Local if is_pointer => ArgumentShape::Local,
        AddressSpace::Private if !is_pointer && !is_object(&argument.type_name) => {
            ArgumentShape::Value { size_bytes: argument.value_bytes }
        }
        AddressSpace::Global | AddressSpace::Constant | AddressSpace::Local | AddressSpace::Private => {
            ArgumentShape::Unsupported
        }
    }
}

fn is_object(type_name: &str) -> bool {
    type_name.starts_with("image") && type_name.ends_with("_t")
        || type_name.split(' ').any(|word| OBJECT_TYPES.contains(&word))
}

/// Checks that a launch gives what the kernel takes. A driver is not asked: given bytes where it
/// expects an object, it would take them for an address.
pub(crate) fn check_arguments(
    signature: &KernelSignature,
    shapes: &[ArgumentShape],
    given: &[BoundArgument],
) -> Result<(), OperationError> {
    if shapes.len() != given.len() {
        return Err(refused(format!(
            "CL_INVALID_KERNEL_ARGS (-52): kernel {} takes {} arguments, {} given",
            signature.name,
            shapes.len(),
            given.len()
        )));
    }
    for (index, (shape, argument)) in shapes.iter().zip(given).enumerate() {
        let wanted = match (shape, argument) {
            (ArgumentShape::Buffer, BoundArgument::Buffer { .. })
            | (ArgumentShape::Local, BoundArgument::Local(_))
            | (ArgumentShape::Value { size_bytes: None }, BoundArgument::Scalar(_)) => continue,
            (ArgumentShape::Value { size_bytes: Some(size_bytes) }, BoundArgument::Scalar(bytes)) => {
                if bytes.len() as u64 == u64::from(*size_bytes) {
                    continue;
                }
                return Err(refused(format!(
                    "CL_INVALID_ARG_SIZE (-51): {} takes {size_bytes} bytes, {} given",
                    described(signature, index),
                    bytes.len()
                )));
            }
            (ArgumentShape::Buffer, BoundArgument::Scalar(_) | BoundArgument::Local(_)) => "a buffer",
            (ArgumentShape::Local, BoundArgument::Scalar(_) | BoundArgument::Buffer { .. }) => {
                "a size of local memory"
            }
            (ArgumentShape::Value { .. }, BoundArgument::Local(_) | BoundArgument::Buffer { .. }) => {
                "a value"
            }
            (
                ArgumentShape::Unsupported,
                BoundArgument::Buffer { .. } | BoundArgument::Scalar(_) | BoundArgument::Local(_),
            ) => "something that launches here cannot give",
        };
        return Err(refused(format!(
            "CL_INVALID_ARG_VALUE (-50): {} takes {wanted}",
            described(signature, index)
        )));
    }
    Ok(())
}

/// The error for a sub-buffer whose origin the device does not take.
pub(crate) fn misaligned_part(start: u64, alignment_bytes: u64) -> OperationError {
    OperationError::Failed {
        call: "clCreateSubBuffer".to_owned(),
        reason: format!(
            "CL_MISALIGNED_SUB_BUFFER_OFFSET (-13): this device takes sub-buffers that start at multiples of \
             {alignment_bytes} bytes, not at byte {start}; the whole buffer with an offset as an argument works \
             anywhere"
        ),
    }
}

fn described(signature: &KernelSignature, index: usize) -> String {
    match signature.arguments.get(index) {
        Some(argument) => {
            format!("argument {index} of {} ({} {})", signature.name, argument.type_name, argument.name)
        }
        None => format!("argument {index} of {}", signature.name),
    }
}

fn refused(reason: String) -> OperationError {
    OperationError::Failed { call: "clSetKernelArg".to_owned(), reason }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use isochrone_model::{BufferId, BufferKey, SessionId};

    use super::*;

    #[test]
    fn types_have_one_spelling() {
        for (raw, expected) in [
            ("float*", "float*"),
            ("const float *", "float*"),
            ("unsigned int", "uint"),
            ("unsigned", "uint"),
            ("signed char", "char"),
            ("unsigned long long", "ulong"),
            ("__global const uchar4 * restrict", "uchar4*"),
            ("struct point", "struct point"),
            ("float * const *", "float**"),
            ("long int", "long"),
        ] {
            assert_eq!(normalised_type(raw), expected, "{raw}");
        }
    }

    #[test]
    fn objects_of_the_driver_are_never_taken_from_bytes() {
        let shape = |space, name: &str| shape_of(&argument_info("a".to_owned(), name, space, false));
        assert_eq!(shape(AddressSpace::Private, "sampler_t"), ArgumentShape::Unsupported);
        assert_eq!(shape(AddressSpace::Global, "image2d_t"), ArgumentShape::Unsupported);
        assert_eq!(shape(AddressSpace::Private, "image2d_t"), ArgumentShape::Unsupported);
        assert_eq!(shape(AddressSpace::Global, "pipe int"), ArgumentShape::Unsupported);
        assert_eq!(shape(AddressSpace::Private, "float*"), ArgumentShape::Unsupported);
        assert_eq!(shape(AddressSpace::Private, "size_t"), ArgumentShape::Value { size_bytes: None });
        assert_eq!(shape(AddressSpace::Constant, "int*"), ArgumentShape::Buffer);
    }

    #[test]
    fn arguments_must_suit_in_number_kind_and_size() {
        let signature = KernelSignature {
            name: "scale".to_owned(),
            arguments: vec![
                argument_info("data".to_owned(), "float*", AddressSpace::Global, false),
                argument_info("factor".to_owned(), "float", AddressSpace::Private, true),
                argument_info("room".to_owned(), "float*", AddressSpace::Local, true),
            ]
            .into(),
        };
        let shapes = shapes_of(&signature);
        let buffer = BoundArgument::Buffer {
            buffer: BufferKey { session: SessionId(1), buffer: BufferId(1) },
            part: None,
        };
        let value = |length: usize| BoundArgument::Scalar(Bytes::from(vec![0; length]));
        let check = |given: &[BoundArgument]| {
            check_arguments(&signature, &shapes, given).map_err(|error| error.to_string())
        };
        assert_eq!(check(&[buffer.clone(), value(4), BoundArgument::Local(64)]), Ok(()));
        let error = check(&[buffer.clone(), value(8), BoundArgument::Local(64)]).unwrap_err();
        assert!(error.contains("CL_INVALID_ARG_SIZE") && error.contains("factor"), "{error}");
        let error = check(&[value(8), value(4), BoundArgument::Local(64)]).unwrap_err();
        assert!(error.contains("takes a buffer"), "{error}");
        let error = check(&[buffer]).unwrap_err();
        assert!(error.contains("takes 3 arguments, 1 given"), "{error}");
    }

    #[test]
    fn what_compilers_disagree_on_is_settled() {
        assert!(argument_info(String::new(), "int*", AddressSpace::Constant, false).is_const);
        assert!(!argument_info(String::new(), "int", AddressSpace::Private, true).is_const);
        assert!(!argument_info(String::new(), "int*", AddressSpace::Local, true).is_const);
    }
}
