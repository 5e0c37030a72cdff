//! Values that people write: sizes, kinds of devices, settings.
//!
//! Must never hold a default.

use std::fmt;
use std::str::FromStr;

use clap::ValueEnum;
use isochrone_model::DeviceKind;
use isochrone_node_agent::opencl::CompletionMode;
use serde::{Deserialize, Deserializer};

/// A number of bytes, written as `512`, `64MiB` or `4 GB`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ByteSize(pub u64);

impl FromStr for ByteSize {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text}` is not a size; write for example 1073741824, 512MiB or 4GiB");
        let text = text.trim();
        let digits = text.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(text.len());
        let (number, unit) = text.split_at(digits);
        let number: u64 = number.parse().map_err(|_| wrong())?;
        let factor: u64 = match unit.trim().to_lowercase().as_str() {
            "" | "b" => 1,
            "k" | "kib" => 1 << 10,
            "m" | "mib" => 1 << 20,
            "g" | "gib" => 1 << 30,
            "t" | "tib" => 1 << 40,
            "kb" => 1_000,
            "mb" => 1_000_000,
            "gb" => 1_000_000_000,
            "tb" => 1_000_000_000_000,
            _ => return Err(wrong()),
        };
        number.checked_mul(factor).map(Self).ok_or_else(wrong)
    }
}

impl<'de> Deserialize<'de> for ByteSize {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Written {
            Number(u64),
            Text(String),
        }
        match Written::deserialize(deserializer)? {
            Written::Number(bytes) => Ok(Self(bytes)),
            Written::Text(text) => text.parse().map_err(serde::de::Error::custom),
        }
    }
}

impl fmt::Display for ByteSize {
    /// With a binary unit and one decimal.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        const UNITS: [&str; 5] = ["KiB", "MiB", "GiB", "TiB", "PiB"];
        if self.0 < 1 << 10 {
            return write!(formatter, "{} B", self.0);
        }
        let mut value = self.0 as f64;
        let mut unit = "B";
        for next in UNITS {
            if value < 1024.0 {
                break;
            }
            value /= 1024.0;
            unit = next;
        }
        write!(formatter, "{value:.1} {unit}")
    }
}

/// A kind of device, as people write it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum KindName {
    /// Host processors.
    Cpu,
    /// Graphics processors.
    Gpu,
    /// Other accelerators.
    Accelerator,
}

impl From<KindName> for DeviceKind {
    fn from(name: KindName) -> Self {
        match name {
            KindName::Cpu => Self::Cpu,
            KindName::Gpu => Self::Gpu,
            KindName::Accelerator => Self::Accelerator,
        }
    }
}

/// The kind for people.
pub fn kind_name(kind: DeviceKind) -> &'static str {
    match kind {
        DeviceKind::Cpu => "cpu",
        DeviceKind::Gpu => "gpu",
        DeviceKind::Accelerator => "accelerator",
        DeviceKind::Virtual => "virtual",
    }
}

/// How the ends of commands on a device are noticed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CompletionName {
    /// The driver calls back.
    Callback,
    /// A thread for each slot waits.
    Poller,
}

impl From<CompletionName> for CompletionMode {
    fn from(name: CompletionName) -> Self {
        match name {
            CompletionName::Callback => Self::Callback,
            CompletionName::Poller => Self::Poller,
        }
    }
}

/// `NAME=VALUE`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting {
    /// Before the first `=`.
    pub name: String,
    /// After it.
    pub value: String,
}

impl FromStr for Setting {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once('=') {
            Some((name, value)) if !name.is_empty() => {
                Ok(Self { name: name.to_owned(), value: value.to_owned() })
            }
            Some(_) | None => Err(format!("`{text}` is not of the form NAME=VALUE")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_with_and_without_units() {
        let bytes = |text: &str| text.parse::<ByteSize>().map(|size| size.0);
        assert_eq!(bytes("12"), Ok(12));
        assert_eq!(bytes("4 GiB"), Ok(4 << 30));
        assert_eq!(bytes("64MB"), Ok(64_000_000));
        assert!(bytes("GiB").is_err() && bytes("1 parsec").is_err() && bytes("99999999999TiB").is_err());
    }

    #[test]
    fn sizes_are_shown_with_a_fitting_unit() {
        let shown = [1_000, 1 << 20, (3 << 30) + (1 << 29)].map(|bytes| ByteSize(bytes).to_string());
        assert_eq!(shown, ["1000 B", "1.0 MiB", "3.5 GiB"]);
    }

    #[test]
    fn settings_split_at_the_first_equals_sign() {
        let setting: Setting = "input=a=b".parse().unwrap();
        assert_eq!((setting.name.as_str(), setting.value.as_str()), ("input", "a=b"));
        assert!("=b".parse::<Setting>().is_err() && "tiles".parse::<Setting>().is_err());
    }
}
