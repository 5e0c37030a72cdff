//! What devices an agent is to have, as something that can be told to another process.
//!
//! Must never open a device before an agent asks for it.

use std::ffi::OsString;
use std::path::Path;

use isochrone_model::Span;
use isochrone_model::units::BytesPerSecond;
use isochrone_node_agent::opencl::{OpenClBackend, OpenClOptions};
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

    /// The same as arguments of `isochrone agent`, with all that can be chosen written to `file`.
    pub(crate) fn to_arguments(&self, file: &Path) -> std::io::Result<Vec<OsString>> {
        let (flag, text) = match self {
            Self::OpenCl(options) => ("--opencl", toml::to_string(options)),
            Self::Virtual(options) => ("--virtual", toml::to_string(options)),
        };
        std::fs::write(file, text.map_err(std::io::Error::other)?)?;
        Ok(vec![flag.into(), file.into()])
    }
}

#[cfg(test)]
mod tests {
    use isochrone_model::DeviceKind;

    use super::*;

    #[test]
    fn devices_come_back_from_their_file() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("devices.toml");
        let text = |devices: &Devices| {
            let arguments = devices.to_arguments(&file).unwrap();
            (arguments, std::fs::read_to_string(&file).unwrap())
        };
        let modelled = Devices::modelled(3);
        let (arguments, written) = text(&modelled);
        assert_eq!(arguments, ["--virtual".as_ref(), file.as_os_str()]);
        assert_eq!(Devices::Virtual(toml::from_str(&written).unwrap()), modelled);
        let filtered = Devices::OpenCl(OpenClOptions {
            platform: Some("Portable".to_owned()),
            kinds: vec![DeviceKind::Cpu],
            ..OpenClOptions::default()
        });
        let (arguments, written) = text(&filtered);
        assert_eq!(arguments[0], "--opencl");
        assert_eq!(Devices::OpenCl(toml::from_str(&written).unwrap()), filtered);
    }
}
