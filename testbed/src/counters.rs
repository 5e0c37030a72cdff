//! What a farm did between two moments, from its own counters.
//!
//! Counters are the whole farm's: other sessions' commands are among them. Must never estimate.

use std::time::Duration;

use isochrone_client::{AskError, DeviceKind, DeviceStatus, Farm, Span};

use crate::clock;

/// How long to wait for the scheduler to hear of everything that has ended: completions reach clients
/// before they reach it.
const QUIET_TIMEOUT: Duration = Duration::from_secs(2);

/// The farm's counters at one moment.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Counters {
    /// Every device.
    pub devices: Vec<DeviceStatus>,
    /// Bytes moved between agents since the scheduler started.
    pub moved_bytes: u64,
}

/// What one device did.
#[derive(Clone, Debug, PartialEq)]
pub struct DeviceUse {
    /// Its agent's name.
    pub agent: String,
    /// Its name.
    pub device: String,
    /// What sort it is.
    pub kind: DeviceKind,
    /// Commands that it finished; reads and writes count too.
    pub commands: u64,
    /// Time spent on them.
    pub busy: Span,
}

/// What a farm did between two moments.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct FarmUse {
    /// Each device that is there.
    pub devices: Vec<DeviceUse>,
    /// Bytes moved between agents.
    pub moved_bytes: u64,
}

impl Counters {
    /// Reads the counters.
    ///
    /// # Errors
    /// When the scheduler does not answer.
    pub async fn now(farm: &Farm) -> Result<Self, AskError> {
        let (devices, status) = (farm.devices().await?, farm.status().await?);
        Ok(Self { devices, moved_bytes: status.moved_bytes })
    }

    /// Reads the counters once nothing is under way, or after two seconds.
    ///
    /// # Errors
    /// When the scheduler does not answer.
    pub async fn when_quiet(farm: &Farm) -> Result<Self, AskError> {
        let deadline = clock::now() + QUIET_TIMEOUT;
        loop {
            let status = farm.status().await?;
            let is_quiet = status.tasks_dispatched == 0 && status.tasks_unplaced == 0;
            if is_quiet || clock::now() > deadline {
                let devices = farm.devices().await?;
                return Ok(Self { devices, moved_bytes: status.moved_bytes });
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// What was done from these counters to `later` ones.
    #[must_use]
    pub fn until(&self, later: &Self) -> FarmUse {
        let devices = later.devices.iter().filter(|device| device.is_present).map(|device| {
            let before = self.devices.iter().find(|other| other.device == device.device);
            DeviceUse {
                agent: device.agent.clone(),
                device: device.facts.name.clone(),
                kind: device.facts.kind,
                commands: device
                    .finished_tasks
                    .saturating_sub(before.map_or(0, |before| before.finished_tasks)),
                busy: device.busy.saturating_sub(before.map_or(Span::ZERO, |before| before.busy)),
            }
        });
        FarmUse {
            devices: devices.collect(),
            moved_bytes: later.moved_bytes.saturating_sub(self.moved_bytes),
        }
    }
}
