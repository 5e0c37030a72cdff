//! Why the devices of a host could not be opened.

use super::status::Status;

/// Why an `OpenClBackend` could not be opened or devices could not be listed.
#[derive(Debug, thiserror::Error)]
pub enum OpenClError {
    /// The host has no OpenCL, or none that a loader finds.
    #[error(
        "no OpenCL platform on this host: install a driver (the vendor's for a graphics processor; PoCL for \
         processors, on Debian `pocl-opencl-icd` with `ocl-icd-libopencl1`), or name the library in \
         OPENCL_DYLIB_PATH"
    )]
    NoPlatform {
        /// What the loader answered.
        source: Status,
    },
    /// There are platforms, but no device that is usable and passes the filters.
    #[error("no OpenCL device fits the options; usable devices here: {}", listed(.seen))]
    NoDevice {
        /// The usable devices of the host, as `name (platform, kind)`.
        seen: Vec<String>,
    },
    /// The options give no slot to a device.
    #[error("a device needs at least one slot")]
    NoSlot,
    /// A device refused what every device must grant.
    #[error("{call} on {device}")]
    Call {
        /// The OpenCL call.
        call: &'static str,
        /// The device's name.
        device: String,
        /// The driver's answer.
        source: Status,
    },
    /// The system gives no thread.
    #[error("no thread for {device}")]
    Thread {
        /// The device's name.
        device: String,
        /// Why.
        source: std::io::Error,
    },
}

fn listed(seen: &[String]) -> String {
    if seen.is_empty() { "none".to_owned() } else { seen.join(", ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_say_what_is_there_and_what_to_do() {
        let none = OpenClError::NoDevice { seen: Vec::new() };
        assert!(none.to_string().ends_with("none"), "{none}");
        let platform = OpenClError::NoPlatform { source: Status(-1001) };
        assert!(platform.to_string().contains("OPENCL_DYLIB_PATH"), "{platform}");
        assert_eq!(
            std::error::Error::source(&platform).map(ToString::to_string).as_deref(),
            Some("CL_PLATFORM_NOT_FOUND_KHR (-1001)")
        );
    }
}
