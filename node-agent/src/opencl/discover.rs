//! The devices of this host: which there are, which are asked for, and the facts about each.
//!
//! Must never make a context: listing devices is free of side effects.

use isochrone_model::units::{BytesPerSecond, Span};
use isochrone_model::{DeviceFacts, DeviceKind};
use opencl3::device::{
    CL_DEVICE_AVAILABLE, CL_DEVICE_COMPILER_AVAILABLE, CL_DEVICE_DOUBLE_FP_CONFIG, CL_DEVICE_ENDIAN_LITTLE,
    CL_DEVICE_GLOBAL_MEM_SIZE, CL_DEVICE_HOST_UNIFIED_MEMORY, CL_DEVICE_LOCAL_MEM_SIZE,
    CL_DEVICE_MAX_CLOCK_FREQUENCY, CL_DEVICE_MAX_COMPUTE_UNITS, CL_DEVICE_MAX_MEM_ALLOC_SIZE,
    CL_DEVICE_MAX_WORK_GROUP_SIZE, CL_DEVICE_MEM_BASE_ADDR_ALIGN, CL_DEVICE_NAME,
    CL_DEVICE_NATIVE_VECTOR_WIDTH_FLOAT, CL_DEVICE_TYPE, CL_DEVICE_TYPE_ALL, CL_DEVICE_TYPE_CPU,
    CL_DEVICE_TYPE_GPU, CL_DRIVER_VERSION, get_device_data, get_device_ids,
};
use opencl3::error_codes::CL_PLATFORM_NOT_FOUND_KHR;
use opencl3::platform::platform::{CL_PLATFORM_NAME, get_platform_data, get_platform_ids};

use super::OpenClOptions;
use super::error::OpenClError;
use super::raw::DeviceHandle;
use super::status::Status;

/// A usable device that was asked for.
pub(super) struct Found {
    /// Its id.
    pub(super) device: DeviceHandle,
    /// What is known of it.
    pub(super) facts: DeviceFacts,
    /// Whether its memory is the host's.
    pub(super) has_unified_memory: bool,
}

/// Cycles that one lane is taken to spend on one work-item: small kernels cost tens. Only a prior.
const ITEM_CYCLES: u64 = 16;
/// Taken where a driver does not tell the clock.
const CLOCK_MHZ_UNKNOWN: u64 = 1_000;

/// The devices that fit the options, platforms and devices in the loader's order.
pub(super) fn find(options: &OpenClOptions) -> Result<Vec<Found>, OpenClError> {
    if options.slots == 0 {
        return Err(OpenClError::NoSlot);
    }
    // The loader answers with a code of its own where there is no library (-2000) or no platform (-1001).
    let platforms =
        get_platform_ids().map_err(|status| OpenClError::NoPlatform { source: Status(status) })?;
    if platforms.is_empty() {
        return Err(OpenClError::NoPlatform { source: Status(CL_PLATFORM_NOT_FOUND_KHR) });
    }
    let mut seen = Vec::new();
    let mut found = Vec::new();
    for platform in platforms {
        let name = get_platform_data(platform, CL_PLATFORM_NAME).map_or_else(|_| String::new(), text);
        let devices = match get_device_ids(platform, CL_DEVICE_TYPE_ALL) {
            Ok(devices) => devices,
            Err(status) => {
                // One broken driver must not hide the devices of the others.
                tracing::warn!(platform = name, status = %Status(status), "a platform does not list its devices");
                continue;
            }
        };
        for device in devices.into_iter().map(DeviceHandle) {
            if let Some(reason) = unusable(device) {
                tracing::info!(platform = name, reason, "a device is passed over");
                continue;
            }
            let facts = facts_of(device, &name, options.slots);
            seen.push(format!("{} ({}, {:?})", facts.name, facts.platform, facts.kind));
            if options.admits(&facts) {
                let has_unified_memory =
                    number(device, CL_DEVICE_HOST_UNIFIED_MEMORY).is_some_and(|told| told != 0);
                found.push(Found { device, facts, has_unified_memory });
            }
        }
    }
    if found.is_empty() { Err(OpenClError::NoDevice { seen }) } else { Ok(found) }
}

fn unusable(device: DeviceHandle) -> Option<&'static str> {
    if number(device, CL_DEVICE_AVAILABLE) == Some(0) {
        return Some("it is not available");
    }
    if number(device, CL_DEVICE_COMPILER_AVAILABLE) == Some(0) {
        return Some("it has no compiler");
    }
    // Values of arguments travel as little-endian bytes.
    (number(device, CL_DEVICE_ENDIAN_LITTLE) == Some(0)).then_some("it is big-endian")
}

fn facts_of(device: DeviceHandle, platform: &str, slots: u16) -> DeviceFacts {
    let kind = match number(device, CL_DEVICE_TYPE).unwrap_or(0) {
        bits if bits & CL_DEVICE_TYPE_GPU != 0 => DeviceKind::Gpu,
        bits if bits & CL_DEVICE_TYPE_CPU != 0 => DeviceKind::Cpu,
        _ => DeviceKind::Accelerator,
    };
    let told = |parameter| number(device, parameter).unwrap_or(0);
    let compute_units = small(told(CL_DEVICE_MAX_COMPUTE_UNITS)).max(1);
    let clock_mhz = small(told(CL_DEVICE_MAX_CLOCK_FREQUENCY));
    let priors = Priors::of(kind, compute_units, clock_mhz, told(CL_DEVICE_NATIVE_VECTOR_WIDTH_FLOAT));
    let words = |parameter| get_device_data(device.0, parameter).map_or_else(|_| String::new(), text);
    DeviceFacts {
        name: words(CL_DEVICE_NAME),
        platform: platform.to_owned(),
        driver: words(CL_DRIVER_VERSION),
        kind,
        compute_units,
        clock_mhz,
        memory_bytes: told(CL_DEVICE_GLOBAL_MEM_SIZE),
        buffer_bytes_max: told(CL_DEVICE_MAX_MEM_ALLOC_SIZE),
        local_memory_bytes: told(CL_DEVICE_LOCAL_MEM_SIZE),
        work_group_size_max: told(CL_DEVICE_MAX_WORK_GROUP_SIZE).max(1),
        // OpenCL tells this one in bits.
        sub_buffer_alignment_bytes: (told(CL_DEVICE_MEM_BASE_ADDR_ALIGN) / 8).max(1),
        has_fp64: told(CL_DEVICE_DOUBLE_FP_CONFIG) != 0,
        slots,
        prior_items_per_us: priors.items_per_us,
        prior_launch: priors.launch,
        prior_host_rate: priors.host_rate,
    }
}

struct Priors {
    items_per_us: u64,
    launch: Span,
    host_rate: BytesPerSecond,
}

impl Priors {
    fn of(kind: DeviceKind, compute_units: u32, clock_mhz: u32, vector_width: u64) -> Self {
        let (lanes, launch, host_rate) = match kind {
            DeviceKind::Gpu => (64, Span::from_micros(8), BytesPerSecond(10_000_000_000)),
            DeviceKind::Cpu | DeviceKind::Virtual => {
                (vector_width.clamp(1, 16), Span::from_micros(20), BytesPerSecond(8_000_000_000))
            }
            DeviceKind::Accelerator => (16, Span::from_micros(50), BytesPerSecond(8_000_000_000)),
        };
        let cycles_per_us = if clock_mhz == 0 { CLOCK_MHZ_UNKNOWN } else { u64::from(clock_mhz) };
        let items_per_us = u64::from(compute_units).saturating_mul(cycles_per_us).saturating_mul(lanes);
        Self { items_per_us: (items_per_us / ITEM_CYCLES).max(1), launch, host_rate }
    }
}

/// A number of 4 or 8 bytes that a device tells; `None` where it does not know the question.
fn number(device: DeviceHandle, parameter: u32) -> Option<u64> {
    let bytes = get_device_data(device.0, parameter).ok()?;
    match bytes.len() {
        4 => Some(u64::from(u32::from_ne_bytes(bytes.try_into().ok()?))),
        8 => Some(u64::from_ne_bytes(bytes.try_into().ok()?)),
        _ => None,
    }
}

fn small(value: u64) -> u32 {
    u32::try_from(value).unwrap_or(u32::MAX)
}

/// The text of a driver's answer, up to its first NUL.
pub(super) fn text(mut bytes: Vec<u8>) -> String {
    if let Some(end) = bytes.iter().position(|byte| *byte == 0) {
        bytes.truncate(end);
    }
    String::from_utf8_lossy(&bytes).trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn priors_grow_with_units_and_clock_and_are_never_zero() {
        let items = |kind, units, clock| Priors::of(kind, units, clock, 8).items_per_us;
        assert_eq!(items(DeviceKind::Cpu, 1, 0), 500);
        assert_eq!(items(DeviceKind::Cpu, 2, 3_000), 3_000);
        assert_eq!(items(DeviceKind::Gpu, 132, 1_980), 132 * 1_980 * 4);
        assert_eq!(Priors::of(DeviceKind::Cpu, 1, 1, 0).items_per_us, 1);
    }

    #[test]
    fn answers_end_at_their_first_nul() {
        assert_eq!(text(b"Tesla \0\0junk".to_vec()), "Tesla");
        assert_eq!(text(Vec::new()), "");
    }
}
