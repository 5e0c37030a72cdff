//! The configuration file: what flags and environment leave open.
//!
//! Flags come first, then variables of the environment (both are clap's), then this file, then
//! defaults. Paths in the file start at the file's folder. Must never hold a key that nothing reads.

use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use anyhow::Context;
use serde::Deserialize;

use crate::values::{ByteSize, CompletionName, KindName};

/// The file that is read when none is named and it is there.
pub const DEFAULT_FILE: &str = "isochrone.toml";

/// A configuration file.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// For commands that talk to a farm.
    pub client: ClientSection,
    /// For `isochrone scheduler`.
    pub scheduler: SchedulerSection,
    /// For `isochrone agent`.
    pub agent: AgentSection,
    /// For `isochrone up`.
    pub up: UpSection,
}

/// `[client]`
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ClientSection {
    /// `host:port`.
    pub scheduler: Option<String>,
    /// The folder of certificates.
    pub certificates: Option<PathBuf>,
    /// The client's name in its certificate.
    pub name: Option<String>,
    /// A label for sessions.
    pub policy: Option<String>,
}

/// `[scheduler]`
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SchedulerSection {
    /// Where to listen.
    pub listen: Option<SocketAddr>,
    /// The folder of certificates.
    pub certificates: Option<PathBuf>,
    /// The scheduler's name in its certificate.
    pub name: Option<String>,
    /// The farm's policy.
    pub policy: Option<String>,
    /// The journal.
    pub journal: Option<PathBuf>,
    /// Measured costs.
    pub costs_file: Option<PathBuf>,
    /// Threads for messages.
    pub network_threads: Option<NonZeroUsize>,
}

/// `[agent]`
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AgentSection {
    /// `host:port`.
    pub scheduler: Option<String>,
    /// Where to listen.
    pub listen: Option<SocketAddr>,
    /// What peers dial.
    pub advertise: Option<SocketAddr>,
    /// The folder of certificates.
    pub certificates: Option<PathBuf>,
    /// The agent's name in its certificate.
    pub name: Option<String>,
    /// Host memory for replicas.
    pub host_memory: Option<ByteSize>,
    /// Modelled devices instead of OpenCL's.
    #[serde(rename = "virtual")]
    pub virtual_devices: Option<PathBuf>,
    /// Part of the platform's name.
    pub platform_filter: Option<String>,
    /// Part of the device's name.
    pub device_filter: Option<String>,
    /// Kinds of devices.
    pub device_kinds: Option<Vec<KindName>>,
    /// In-order lanes of each device.
    pub slots: Option<u16>,
    /// How ends are noticed.
    pub completion: Option<CompletionName>,
    /// Whether durations come from the device's own clock.
    pub device_times: Option<bool>,
    /// How long the end waits for devices, in seconds.
    pub close_seconds_max: Option<u32>,
    /// Threads for messages and contents.
    pub network_threads: Option<NonZeroUsize>,
}

/// `[up]`
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct UpSection {
    /// A cluster whose agents and links the farm has.
    pub cluster: Option<String>,
    /// How many agents.
    pub agents: Option<usize>,
    /// Where the scheduler listens.
    pub listen: Option<SocketAddr>,
    /// The farm's policy.
    pub policy: Option<String>,
    /// The farm's folder.
    pub directory: Option<PathBuf>,
    /// The journal.
    pub journal: Option<PathBuf>,
    /// Threads of each agent for OpenCL on processors.
    pub threads: Option<usize>,
    /// Modelled devices for each agent.
    #[serde(rename = "virtual")]
    pub virtual_devices: Option<PathBuf>,
}

impl Config {
    /// Reads the named file, or [`DEFAULT_FILE`] if it is there and `is_off` is not.
    pub fn load(path: Option<&Path>, is_off: bool) -> anyhow::Result<Self> {
        if is_off {
            return Ok(Self::default());
        }
        let default = Path::new(DEFAULT_FILE);
        let path = match path {
            Some(path) => path,
            None if default.exists() => default,
            None => return Ok(Self::default()),
        };
        let text = std::fs::read_to_string(path)
            .with_context(|| format!("cannot read the configuration {}", path.display()))?;
        let folder = path.parent().unwrap_or(Path::new(""));
        Self::parse(&text, folder).with_context(|| format!("the configuration {} is wrong", path.display()))
    }

    fn parse(text: &str, folder: &Path) -> Result<Self, toml::de::Error> {
        let mut config: Self = toml::from_str(text)?;
        let paths = [
            &mut config.client.certificates,
            &mut config.scheduler.certificates,
            &mut config.scheduler.journal,
            &mut config.scheduler.costs_file,
            &mut config.agent.certificates,
            &mut config.agent.virtual_devices,
            &mut config.up.directory,
            &mut config.up.journal,
            &mut config.up.virtual_devices,
        ];
        for path in paths.into_iter().flatten() {
            *path = folder.join(&*path);
        }
        // A short form is no path.
        if let Some(cluster) = &mut config.up.cluster
            && !cluster.trim_end().ends_with(')')
        {
            *cluster = folder.join(&*cluster).to_string_lossy().into_owned();
        }
        Ok(config)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_start_at_the_folder_of_the_file() {
        let text = "[agent]\ncertificates = 'certificates'\nhost_memory = '2GiB'\ndevice_kinds = ['gpu']\n\
                    [up]\ndirectory = '/srv/farm'";
        let config = Config::parse(text, Path::new("etc")).unwrap();
        assert_eq!(config.agent.certificates.unwrap(), Path::new("etc/certificates"));
        assert_eq!(config.agent.host_memory, Some(ByteSize(2 << 30)));
        assert_eq!(config.up.directory.unwrap(), Path::new("/srv/farm"));
    }

    #[test]
    fn an_unknown_key_is_named_with_its_line() {
        let error = Config::parse("[up]\nagents = 3\n\n[scheduler]\npolcy = 'heft'\n", Path::new(""));
        let message = error.unwrap_err().to_string();
        assert!(message.contains("line 5") && message.contains("polcy"), "{message}");
        assert!(message.contains("policy"), "{message}");
    }
}
