//! Devices by OpenCL: the one place that names opencl3.
//!
//! Each device has a context of its own and one in-order queue for each slot. What must be in order
//! between slots is the machine's business; here nothing is decided and nothing waits for a device.

mod build;
mod completion;
mod device;
mod discover;
mod error;
mod mapping;
mod raw;
pub(crate) mod signature;
mod status;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use isochrone_model::{DeviceFacts, DeviceIndex, DeviceKind, ProgramKey};
use isochrone_sched_core::agent::Operation;
use serde::{Deserialize, Serialize};

pub use self::completion::CompletionMode;
use self::completion::Outlet;
use self::device::Device;
pub use self::error::OpenClError;
pub use self::status::Status;
use self::status::failed;
use crate::backend::{Backend, BackendSink, Opening};
use crate::clock;

/// Which devices to use, and how.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct OpenClOptions {
    /// Only platforms whose name contains this, whatever the case; all when `None`, the default.
    pub platform: Option<String>,
    /// Only devices whose name contains this, whatever the case; all when `None`, the default.
    pub device: Option<String>,
    /// Only devices of these kinds; all when empty, the default.
    pub kinds: Vec<DeviceKind>,
    /// In-order lanes of each device, at least 1, the default. More let transfers and launches overlap.
    pub slots: u16,
    /// How the ends of commands are noticed.
    pub completion: CompletionMode,
    /// Whether durations come from the device's own clock, as is the default. Without, they are the times
    /// between ends as the host sees them, some 10 us less exact; a launch on NVIDIA takes 7 us less.
    pub device_times: bool,
    /// Whether large contents go straight to and from devices whose memory is the host's (processors, and graphics within them), as is
    /// the default. Without, they are copied as for devices with memory of their own.
    pub unified_memory: bool,
    /// How long dropping the backend waits for commands under way and for compilers, in seconds; 10 by
    /// default. A kernel that still runs then is left to the driver.
    pub close_seconds_max: u32,
}

impl Default for OpenClOptions {
    fn default() -> Self {
        Self {
            platform: None,
            device: None,
            kinds: Vec::new(),
            slots: 1,
            completion: CompletionMode::default(),
            device_times: true,
            unified_memory: true,
            close_seconds_max: 10,
        }
    }
}

impl OpenClOptions {
    fn admits(&self, facts: &DeviceFacts) -> bool {
        let fits = |wanted: &Option<String>, name: &str| {
            wanted.as_ref().is_none_or(|wanted| name.to_lowercase().contains(&wanted.to_lowercase()))
        };
        fits(&self.platform, &facts.platform)
            && fits(&self.device, &facts.name)
            && (self.kinds.is_empty() || self.kinds.contains(&facts.kind))
    }
}

/// The OpenCL devices of this host that fit the options, without opening them.
///
/// # Errors
/// When there is no OpenCL here, or no device fits.
pub fn list_devices(options: &OpenClOptions) -> Result<Vec<DeviceFacts>, OpenClError> {
    Ok(discover::find(options)?.into_iter().map(|found| found.facts).collect())
}

/// The OpenCL devices of this host.
///
/// Dropping it waits for commands under way, up to `OpenClOptions::close_seconds_max`.
pub struct OpenClBackend {
    devices: Vec<Device>,
    facts: Vec<DeviceFacts>,
    outlet: Arc<Outlet>,
    close_span_max: Duration,
}

impl OpenClBackend {
    /// Opens every device that fits the options; events go to `sink`.
    ///
    /// # Errors
    /// When there is no OpenCL here, no device fits, or one refuses a context or a queue.
    pub fn open(options: &OpenClOptions, sink: BackendSink) -> Result<Self, OpenClError> {
        let found = discover::find(options)?;
        let outlet = Outlet::new(sink);
        let facts: Vec<DeviceFacts> = found.iter().map(|found| found.facts.clone()).collect();
        let devices = found
            .into_iter()
            .enumerate()
            .map(|(place, found)| Device::open(found, DeviceIndex::from_index(place), options, &outlet))
            .collect::<Result<Vec<_>, _>>()?;
        let close_span_max = Duration::from_secs(u64::from(options.close_seconds_max));
        Ok(Self { devices, facts, outlet, close_span_max })
    }
}

impl Backend for OpenClBackend {
    fn devices(&self) -> &[DeviceFacts] {
        &self.facts
    }

    fn build(&mut self, program: ProgramKey, source: &str, options: &str) {
        let (source, options): (Arc<str>, Arc<str>) = (Arc::from(source), Arc::from(options));
        for device in &mut self.devices {
            device.build(program, Arc::clone(&source), Arc::clone(&options));
        }
    }

    fn drop_program(&mut self, program: ProgramKey) {
        for device in &mut self.devices {
            device.drop_program(program);
        }
    }

    fn perform(&mut self, operation: Operation, upload: Option<Bytes>) {
        match self.devices.get_mut(operation.device.index()) {
            Some(device) => device.perform(operation, upload),
            None => {
                let reason = format!("there is no {} here", operation.device);
                self.outlet.fail(operation.id, failed("device", reason));
            }
        }
    }

    fn shares_memory(&self, device: DeviceIndex) -> bool {
        self.devices.get(device.index()).is_some_and(Device::shares_memory)
    }

    fn open(&mut self, opening: Opening) {
        match self.devices.get_mut(opening.device.index()) {
            Some(device) => device.open_region(opening),
            None => {
                let reason = format!("there is no {} here", opening.device);
                self.outlet.fail(opening.id, failed("device", reason));
            }
        }
    }

    fn flush(&mut self) {
        for device in &mut self.devices {
            device.flush();
        }
    }
}

impl Drop for OpenClBackend {
    fn drop(&mut self) {
        self.flush();
        // clFinish has no time limit, and a kernel that never ends must not keep the agent from ending.
        let deadline = clock::now() + self.close_span_max;
        while self.outlet.in_flight() > 0 && clock::now() < deadline {
            std::thread::sleep(Duration::from_micros(200));
        }
        let mut is_idle = self.outlet.in_flight() == 0;
        for device in &mut self.devices {
            is_idle &= device.close_builder(deadline);
        }
        if !is_idle {
            tracing::warn!("commands or compilers still run; their devices are left to the driver");
            // Releasing a queue may wait for its commands, and their memory must stay.
            std::mem::forget(std::mem::take(&mut self.devices));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::BackendEvent;

    #[test]
    fn options_read_from_a_file_with_defaults() {
        let options: OpenClOptions = toml::from_str("kinds = ['Gpu']\ncompletion = 'poller'").unwrap();
        assert_eq!(options.slots, 1);
        assert_eq!(options.completion, CompletionMode::Poller);
        assert!(toml::from_str::<OpenClOptions>("slot = 2").is_err());
    }

    #[test]
    fn a_device_without_slots_is_refused() {
        let options = OpenClOptions { slots: 0, ..OpenClOptions::default() };
        let (sink, _events) = tokio::sync::mpsc::unbounded_channel::<BackendEvent>();
        assert!(matches!(OpenClBackend::open(&options, sink), Err(OpenClError::NoSlot)));
    }
}
