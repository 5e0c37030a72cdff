//! What tests that need OpenCL do on a host without it.
//!
//! Must never be asked by anything but tests.

use isochrone_node_agent::opencl::{OpenClOptions, list_devices};

/// Set where a test may not go without OpenCL: `make test` sets it, having installed OpenCL.
const NEEDED: &str = "ISOCHRONE_NEEDS_OPENCL";

/// Whether this host has OpenCL devices as `options` asks for. Where it has none, the test that asks is to
/// return at once: a line says that it was skipped.
///
/// # Panics
/// If there are none and `ISOCHRONE_NEEDS_OPENCL` is set: a test that checks nothing must not pass then.
#[must_use]
pub fn has_opencl(options: &OpenClOptions) -> bool {
    let is_needed = std::env::var_os(NEEDED).is_some_and(|value| !value.is_empty());
    match list_devices(options) {
        Ok(_) => true,
        Err(error) => {
            let lack = lacking(&error.to_string(), is_needed);
            eprintln!("{lack}");
            false
        }
    }
}

/// What is said of a lack of OpenCL.
fn lacking(error: &str, is_needed: bool) -> String {
    assert!(!is_needed, "{NEEDED} is set, and this test cannot run: {error}");
    format!("skipped, as a test that needs OpenCL: {error}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_opencl_a_test_is_skipped_aloud() {
        assert_eq!(lacking("no platform", false), "skipped, as a test that needs OpenCL: no platform");
    }

    #[test]
    #[should_panic(expected = "ISOCHRONE_NEEDS_OPENCL is set, and this test cannot run: no platform")]
    fn where_opencl_is_needed_its_lack_is_a_failure() {
        lacking("no platform", true);
    }
}
