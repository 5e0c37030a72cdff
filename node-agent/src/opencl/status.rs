//! Status codes of OpenCL and what they mean to the machine. Must never call a driver.

use std::fmt;

use isochrone_sched_core::agent::OperationError;
use opencl3::error_codes::{
    CL_INVALID_GLOBAL_OFFSET, CL_INVALID_GLOBAL_WORK_SIZE, CL_INVALID_WORK_DIMENSION,
    CL_INVALID_WORK_GROUP_SIZE, CL_INVALID_WORK_ITEM_SIZE, CL_MEM_OBJECT_ALLOCATION_FAILURE,
    CL_OUT_OF_HOST_MEMORY, CL_OUT_OF_RESOURCES, error_text,
};

/// A status code of OpenCL that means failure; prints as its name and number.
#[derive(Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub struct Status(pub i32);

impl fmt::Display for Status {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} ({})", error_text(self.0), self.0)
    }
}

impl fmt::Debug for Status {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

/// What was being done when a call failed; the same code means different things.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// Making room for a buffer: any lack of resources is a lack of memory.
    Allocation,
    /// Anything else.
    Other,
}

/// The machine's error for a failed call.
pub(super) fn refusal(call: &'static str, status: i32, purpose: Purpose) -> OperationError {
    let index_space = |what: &str| OperationError::NdRange { reason: format!("{what}: {}", Status(status)) };
    match status {
        CL_INVALID_WORK_GROUP_SIZE => index_space(
            "the work-group does not suit the kernel on this device, or does not divide the global size",
        ),
        CL_INVALID_WORK_ITEM_SIZE => {
            index_space("a dimension of the work-group is too large for this device")
        }
        CL_INVALID_WORK_DIMENSION => index_space("this device does not take as many dimensions"),
        CL_INVALID_GLOBAL_WORK_SIZE => index_space("the global size is zero or too large for this device"),
        CL_INVALID_GLOBAL_OFFSET => {
            index_space("global size and offset together are too large for this device")
        }
        CL_MEM_OBJECT_ALLOCATION_FAILURE => out_of_memory(call, status),
        CL_OUT_OF_RESOURCES | CL_OUT_OF_HOST_MEMORY => match purpose {
            Purpose::Allocation => out_of_memory(call, status),
            Purpose::Other => failed(call, Status(status).to_string()),
        },
        _ => failed(call, Status(status).to_string()),
    }
}

/// A failure of a call that the driver, or this backend ahead of it, refused.
pub(super) fn failed(call: &str, reason: String) -> OperationError {
    OperationError::Failed { call: call.to_owned(), reason }
}

fn out_of_memory(call: &'static str, status: i32) -> OperationError {
    OperationError::OutOfMemory { reason: format!("{call}: {}", Status(status)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lack_of_resources_is_lack_of_memory_only_when_allocating() {
        let allocating = refusal("clEnqueueFillBuffer", CL_OUT_OF_RESOURCES, Purpose::Allocation);
        assert_eq!(
            allocating,
            OperationError::OutOfMemory {
                reason: "clEnqueueFillBuffer: CL_OUT_OF_RESOURCES (-5)".to_owned()
            }
        );
        let launching = refusal("clEnqueueNDRangeKernel", CL_OUT_OF_RESOURCES, Purpose::Other);
        assert_eq!(launching, failed("clEnqueueNDRangeKernel", "CL_OUT_OF_RESOURCES (-5)".to_owned()));
        let lazily = refusal("clEnqueueNDRangeKernel", CL_MEM_OBJECT_ALLOCATION_FAILURE, Purpose::Other);
        assert!(matches!(lazily, OperationError::OutOfMemory { .. }));
    }

    #[test]
    fn refused_index_spaces_are_told_apart() {
        for status in [-53, -54, -55, -56, -63] {
            let error = refusal("clEnqueueNDRangeKernel", status, Purpose::Other);
            let OperationError::NdRange { reason } = error else { panic!("{status}: {error:?}") };
            assert!(reason.contains(&format!("({status})")), "{reason}");
        }
    }
}
