//! Farms on this machine, as `up`, `demo` and `run --local-farm` start them.
//!
//! Must never hold how a farm is run: `testbed` does.

use std::path::Path;

use anyhow::Context;
use isochrone_node_agent::virtual_devices::VirtualOptions;
use isochrone_testbed::{Devices, FarmOptions};

/// Options of a farm of processes of this binary.
pub fn of_this_binary() -> anyhow::Result<FarmOptions> {
    let binary = std::env::current_exe().context("cannot tell where this program is")?;
    Ok(FarmOptions::processes(binary))
}

/// Threads for OpenCL on processors, for each of `agents`: all cores together, unless stated.
pub fn threads(wanted: Option<usize>, agents: usize) -> usize {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    wanted.unwrap_or(cores / agents.max(1)).max(1)
}

/// The modelled devices that a file describes.
pub fn virtual_file(path: &Path) -> anyhow::Result<Devices> {
    let text = std::fs::read_to_string(path)
        .with_context(|| format!("cannot read the modelled devices in {}", path.display()))?;
    let options: VirtualOptions = toml::from_str(&text)
        .with_context(|| format!("the modelled devices in {} are wrong", path.display()))?;
    Ok(Devices::Virtual(options))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_agent_has_a_thread() {
        assert_eq!(threads(None, 100_000), 1);
        assert_eq!(threads(Some(0), 1), 1);
        assert_eq!(threads(Some(5), 9), 5);
        assert!(threads(None, 0) >= 1);
    }
}
