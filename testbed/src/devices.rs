//! What devices an agent is to have, as something that can be told to another process.
//!
//! Must never open a device before an agent asks for it.

use std::ffi::OsString;
use std::path::Path;

use isochrone_model::units::BytesPerSecond;
use isochrone_model::{DeviceKind, Span};
use isochrone_node_agent::opencl::{CompletionMode, OpenClBackend, OpenClOptions};
use isochrone_node_agent::virtual_devices::{VirtualBackend, VirtualDevice, VirtualOptions};
use isochrone_node_agent::{Backend, BackendMaker};

/// The devices of one agent.
#[derive(Clone, Debug, PartialEq)]
pub enum Devices {
    /// Those of this host that OpenCL offers.
    OpenCl(OpenClOptions),
    /// Modelled ones, which move bytes but only wait for their kernels.
    Virtual(VirtualOptions),
}

impl Default for Devices {
    /// Every OpenCL device of the host.
    fn default() -> Self {
        Self::OpenCl(OpenClOptions::default())
    }
}

impl Devices {
    /// `count` modelled devices that are alike: 1,000 work-items each microsecond, 20 us a launch,
    /// 2 GiB of memory, 10 GB/s to the host.
    #[must_use]
    pub fn modelled(count: u16) -> Self {
        let mut device = VirtualDevice::new("modelled", 1_000, 2 << 30, BytesPerSecond(10_000_000_000));
        device.count = count;
        device.launch_overhead = Span::from_micros(20);
        Self::Virtual(VirtualOptions { devices: vec![device], spin: false, seed: 0 })
    }

    /// What an agent calls to have the devices.
    #[must_use]
    pub fn into_maker(self) -> BackendMaker {
        match self {
            Self::OpenCl(options) => Box::new(move |sink| {
                let backend = OpenClBackend::open(&options, sink)?;
                Ok(Box::new(backend) as Box<dyn Backend>)
            }),
            Self::Virtual(options) => Box::new(move |sink| {
                let backend = VirtualBackend::open(&options, sink)?;
                Ok(Box::new(backend) as Box<dyn Backend>)
            }),
        }
    }

    /// The same as arguments of `isochrone agent`. Modelled devices are written to `file`.
    pub(crate) fn to_arguments(&self, file: &Path) -> std::io::Result<Vec<OsString>> {
        match self {
            Self::OpenCl(options) => Ok(opencl_arguments(options)),
            Self::Virtual(options) => {
                let text = toml::to_string(options).map_err(std::io::Error::other)?;
                std::fs::write(file, text)?;
                Ok(vec!["--virtual".into(), file.into()])
            }
        }
    }
}

fn opencl_arguments(options: &OpenClOptions) -> Vec<OsString> {
    let OpenClOptions { platform, device, kinds, slots, completion, close_seconds_max } = options;
    let mut arguments: Vec<OsString> = Vec::new();
    let mut push = |flag: &str, value: &str| arguments.extend([flag.into(), value.into()]);
    if let Some(platform) = platform {
        push("--platform-filter", platform);
    }
    if let Some(device) = device {
        push("--device-filter", device);
    }
    for kind in kinds {
        push(
            "--device-kind",
            match kind {
                DeviceKind::Cpu => "cpu",
                DeviceKind::Gpu => "gpu",
                DeviceKind::Accelerator => "accelerator",
                DeviceKind::Virtual => "virtual",
            },
        );
    }
    push("--slots", &slots.to_string());
    push(
        "--completion",
        match completion {
            CompletionMode::Callback => "callback",
            CompletionMode::Poller => "poller",
        },
    );
    push("--close-seconds-max", &close_seconds_max.to_string());
    arguments
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modelled_devices_come_back_from_their_file() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("devices.toml");
        let devices = Devices::modelled(3);
        devices.to_arguments(&file).unwrap();
        let read: VirtualOptions = toml::from_str(&std::fs::read_to_string(&file).unwrap()).unwrap();
        assert_eq!(Devices::Virtual(read), devices);
    }

    #[test]
    fn filters_become_arguments() {
        let options = OpenClOptions {
            platform: Some("Portable".to_owned()),
            kinds: vec![DeviceKind::Cpu],
            ..OpenClOptions::default()
        };
        let arguments = Devices::OpenCl(options).to_arguments(Path::new("unused")).unwrap();
        assert_eq!(arguments[..4], ["--platform-filter", "Portable", "--device-kind", "cpu"]);
    }
}
