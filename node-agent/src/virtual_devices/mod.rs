//! Modelled devices: they move bytes as real ones do, but only wait for their kernels.
//!
//! For teaching and for tests of large farms on small hosts. A launch changes no byte; its duration comes
//! from the number of its work-items. There is no compiler: see `scanner` for what is understood of a
//! program. Must never be mistaken for a device that computes: its kind is `DeviceKind::Virtual`.

mod contents;
mod scanner;
mod spread;
mod timeline;

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use isochrone_model::order::{BuildOutcome, BuiltKernel};
use isochrone_model::units::{ByteRange, BytesPerSecond, Span};
use isochrone_model::{
    BoundArgument, BufferKey, DeviceFacts, DeviceIndex, DeviceKind, KernelIndex, KernelSignature, NdRange,
    ProgramKey,
};
use isochrone_sched_core::agent::{Operation, OperationDone, OperationError, OperationKind};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use self::contents::{Contents, Movement, Mover};
use self::spread::Spread;
use self::timeline::{Timeline, TimelineThread};
use crate::backend::{Backend, BackendEvent, BackendSink, Opening};
use crate::opencl::signature::{ArgumentShape, check_arguments, misaligned_part, shapes_of};

/// Largest work-group of a virtual device.
const WORK_GROUP_SIZE_MAX: u64 = 1_024;
/// Work-group memory of a virtual device.
const LOCAL_MEMORY_BYTES: u64 = 64 << 10;
/// Alignment of sub-buffers on a virtual device: that of many real ones, so that programs that work
/// here work there.
const SUB_BUFFER_ALIGNMENT_BYTES: u64 = 128;

/// The devices of a virtual backend.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VirtualOptions {
    /// The devices, in the order of their indices.
    pub devices: Vec<VirtualDevice>,
    /// Whether the timing thread spins for the last 50 us before each end: ends are then told within
    /// about a microsecond, for up to a whole core. Off by default: ends are told 15 to 60 us late.
    #[serde(default)]
    pub spin: bool,
    /// Seed of all random durations; 0 by default.
    #[serde(default)]
    pub seed: u64,
}

/// One modelled device, or several that are alike.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VirtualDevice {
    /// The name; with `count` above 1, numbers are appended.
    pub name: String,
    /// How many such devices there are; 1 by default.
    #[serde(default = "one")]
    pub count: u16,
    /// Speed in work-items each microsecond, at least 1.
    pub items_per_us: u64,
    /// Speeds of single kernels, by name, in work-items each microsecond, at least 1; others run at
    /// `items_per_us`.
    #[serde(default)]
    pub costs: BTreeMap<String, u64>,
    /// Time of a launch whatever its size; in a file `launch_overhead_us`, in microseconds.
    #[serde(rename = "launch_overhead_us", serialize_with = "to_micros", deserialize_with = "from_micros")]
    pub launch_overhead: Span,
    /// Memory in bytes; allocations beyond it fail.
    pub memory_bytes: u64,
    /// Rate of uploads, downloads, copies and fills; in a file `host_rate_bytes_per_second`.
    #[serde(rename = "host_rate_bytes_per_second")]
    pub host_rate: BytesPerSecond,
    /// In-order lanes, at least 1, the default.
    #[serde(default = "one")]
    pub slots: u16,
    /// Whether kernels may have `double` arguments; true by default.
    #[serde(default = "yes")]
    pub fp64: bool,
    /// Standard deviation of durations relative to their mean, 0 to 10; 0, the default, for exact ones.
    #[serde(default)]
    pub spread: f64,
}

impl VirtualDevice {
    /// A device with the speed, memory and rate given; 8 us for a launch, one slot, exact durations.
    #[must_use]
    pub fn new(name: &str, items_per_us: u64, memory_bytes: u64, host_rate: BytesPerSecond) -> Self {
        Self {
            name: name.to_owned(),
            count: 1,
            items_per_us,
            costs: BTreeMap::new(),
            launch_overhead: Span::from_micros(8),
            memory_bytes,
            host_rate,
            slots: 1,
            fp64: true,
            spread: 0.0,
        }
    }

    fn facts(&self, name: String) -> DeviceFacts {
        DeviceFacts {
            name,
            platform: "Isochrone virtual devices".to_owned(),
            driver: env!("CARGO_PKG_VERSION").to_owned(),
            kind: DeviceKind::Virtual,
            compute_units: 1,
            clock_mhz: 0,
            memory_bytes: self.memory_bytes,
            buffer_bytes_max: self.memory_bytes,
            local_memory_bytes: LOCAL_MEMORY_BYTES,
            work_group_size_max: WORK_GROUP_SIZE_MAX,
            sub_buffer_alignment_bytes: SUB_BUFFER_ALIGNMENT_BYTES,
            has_fp64: self.fp64,
            slots: self.slots,
            prior_items_per_us: self.items_per_us,
            prior_launch: self.launch_overhead,
            prior_host_rate: self.host_rate,
        }
    }

    fn check(&self) -> Result<(), VirtualError> {
        let name = || self.name.clone();
        if self.slots == 0 || self.count == 0 {
            return Err(VirtualError::NoSlot { device: name() });
        }
        if self.items_per_us == 0 || self.host_rate.0 == 0 || self.costs.values().any(|speed| *speed == 0) {
            return Err(VirtualError::NoSpeed { device: name() });
        }
        if !(0.0..=10.0).contains(&self.spread) {
            return Err(VirtualError::Spread { device: name() });
        }
        Ok(())
    }
}

/// Why a virtual backend could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum VirtualError {
    /// There is no device in the options.
    #[error("a virtual backend needs at least one device")]
    NoDevice,
    /// More devices than an agent can number.
    #[error("{count} virtual devices are too many for one agent")]
    TooManyDevices {
        /// How many were asked for.
        count: usize,
    },
    /// `slots` or `count` is zero.
    #[error("virtual device {device} needs at least one slot, and a count of at least one")]
    NoSlot {
        /// The device.
        device: String,
    },
    /// A speed or rate is zero.
    #[error("virtual device {device} needs speeds and a rate above zero")]
    NoSpeed {
        /// The device.
        device: String,
    },
    /// The spread is not from 0 to 10.
    #[error("the spread of virtual device {device} must be from 0 to 10")]
    Spread {
        /// The device.
        device: String,
    },
    /// The system gives no thread.
    #[error("no thread for virtual devices")]
    Thread {
        /// Why.
        #[source]
        source: std::io::Error,
    },
}

/// Modelled devices. Dropping it fails what is still under way.
pub struct VirtualBackend {
    devices: Vec<Device>,
    facts: Vec<DeviceFacts>,
    programs: BTreeMap<ProgramKey, Vec<ScannedKernel>>,
    timeline: Timeline,
    /// Before the timeline's thread, which tells the ends of what it moved.
    mover: Mover,
    _thread: TimelineThread,
}

struct Device {
    model: VirtualDevice,
    spread: Spread,
    /// The first of its lanes in the timeline.
    first_lane: usize,
    buffers: BTreeMap<BufferKey, Buffer>,
    allocated_bytes: u64,
}

struct Buffer {
    size_bytes: u64,
    contents: Contents,
}

struct ScannedKernel {
    signature: KernelSignature,
    shapes: Vec<ArgumentShape>,
}

/// An operation that is allowed: how long it takes, and what it moves.
struct Modelled {
    duration: Span,
    movement: Option<Movement>,
}

impl VirtualBackend {
    /// Opens the devices; events go to `sink`.
    ///
    /// # Errors
    /// When the options have no device or one that could never run anything, or there is no thread.
    pub fn open(options: &VirtualOptions, sink: BackendSink) -> Result<Self, VirtualError> {
        let (mut devices, mut facts, mut lane_count) = (Vec::new(), Vec::new(), 0_usize);
        for model in &options.devices {
            model.check()?;
            for number in 1..=model.count {
                let name =
                    if model.count == 1 { model.name.clone() } else { format!("{} {number}", model.name) };
                let seed = options.seed.wrapping_add(devices.len() as u64);
                facts.push(model.facts(name));
                devices.push(Device {
                    model: model.clone(),
                    spread: Spread::new(model.spread, seed),
                    first_lane: lane_count,
                    buffers: BTreeMap::new(),
                    allocated_bytes: 0,
                });
                lane_count += usize::from(model.slots) + 1;
            }
        }
        if devices.is_empty() {
            return Err(VirtualError::NoDevice);
        }
        if devices.len() > usize::from(u16::MAX) {
            return Err(VirtualError::TooManyDevices { count: devices.len() });
        }
        let no_thread = |source| VirtualError::Thread { source };
        let (timeline, thread) = Timeline::start(lane_count, sink, options.spin).map_err(no_thread)?;
        let mover = Mover::start(timeline.clone()).map_err(no_thread)?;
        Ok(Self { devices, facts, programs: BTreeMap::new(), timeline, mover, _thread: thread })
    }

    fn model(
        &mut self,
        device: DeviceIndex,
        kind: OperationKind,
        upload: Option<Bytes>,
    ) -> Result<Modelled, OperationError> {
        let device = self
            .devices
            .get_mut(device.index())
            .ok_or_else(|| refused("device", format!("there is no {device} here")))?;
        match kind {
            OperationKind::Allocate { buffer, size_bytes } => device.allocate(buffer, size_bytes),
            OperationKind::Free { buffer } => device.free(buffer),
            OperationKind::Upload { region } => {
                let bytes = upload
                    .filter(|bytes| bytes.len() as u64 == region.range.len())
                    .ok_or_else(|| refused("upload", format!("not the bytes for {}", region.range)))?;
                let (target, offset, _) = device.ranged("upload", region.buffer, region.range)?;
                Ok(device.moving(region.range.len(), Movement::Upload { target, offset, bytes }))
            }
            OperationKind::Download { region } => {
                let (source, offset, size) = device.ranged("download", region.buffer, region.range)?;
                Ok(device.moving(region.range.len(), Movement::Download { source, offset, size, region }))
            }
            OperationKind::Copy { source, source_range, target, target_offset_bytes } => {
                device.copy((source, source_range), (target, target_offset_bytes))
            }
            OperationKind::Fill { buffer, range, pattern } => device.fill(buffer, range, pattern),
            OperationKind::Launch { program, kernel, range, arguments } => {
                let kernel = self
                    .programs
                    .get(&program)
                    .and_then(|kernels| kernels.get(kernel.index()))
                    .ok_or_else(|| no_kernel(program, kernel))?;
                device.launch(kernel, &range, &arguments)
            }
        }
    }
}

impl Backend for VirtualBackend {
    fn devices(&self) -> &[DeviceFacts] {
        &self.facts
    }

    fn build(&mut self, program: ProgramKey, source: &str, options: &str) {
        // Scanning takes microseconds for each kilobyte: no thread is worth it.
        let scanned = scanner::scan(source, options).map_err(|error| error.to_string());
        for (place, device) in self.devices.iter().enumerate() {
            let outcome = match &scanned {
                Ok(kernels) => device.built(kernels),
                Err(log) => BuildOutcome::Failed { log: log.clone() },
            };
            let device = DeviceIndex::from_index(place);
            self.timeline.send(BackendEvent::Built { program, device, outcome });
        }
        if let Ok(kernels) = scanned {
            let kernels = kernels.into_iter().map(|signature| {
                let shapes = shapes_of(&signature);
                ScannedKernel { signature, shapes }
            });
            self.programs.insert(program, kernels.collect());
        }
    }

    fn drop_program(&mut self, program: ProgramKey) {
        self.programs.remove(&program);
    }

    fn perform(&mut self, operation: Operation, upload: Option<Bytes>) {
        let Operation { id, device, slot, kind } = operation;
        let lane = self
            .devices
            .get(device.index())
            .and_then(|device| (slot.0 <= device.model.slots).then(|| device.first_lane + slot.index()));
        let modelled = match lane {
            Some(lane) => self.model(device, kind, upload).map(|modelled| (lane, modelled)),
            None => Err(refused("slot", format!("{device} has no {slot}, or is not here"))),
        };
        match modelled {
            Ok((lane, Modelled { duration, movement: None })) => {
                self.timeline.append(lane, id, duration.into(), Some(Ok(None)));
            }
            Ok((lane, Modelled { duration, movement: Some(movement) })) => {
                let ticket = self.timeline.append(lane, id, duration.into(), None);
                self.mover.take(ticket, movement);
            }
            Err(error) => {
                let done = OperationDone { operation: id, outcome: Err(error) };
                self.timeline.send(BackendEvent::Done { done, downloaded: None });
            }
        }
    }

    fn open(&mut self, opening: Opening) {
        // What moves is to take the time that it is modelled to take.
        let error = refused("open", "the memory of a virtual device is its own".to_owned());
        let done = OperationDone { operation: opening.id, outcome: Err(error) };
        self.timeline.send(BackendEvent::Done { done, downloaded: None });
    }

    fn flush(&mut self) {
        // Operations start when they are given.
    }
}

impl Device {
    fn built(&self, kernels: &[KernelSignature]) -> BuildOutcome {
        let uses_double = |kernel: &&KernelSignature| {
            kernel.arguments.iter().any(|argument| argument.type_name.starts_with("double"))
        };
        if let Some(kernel) = kernels.iter().find(uses_double).filter(|_| !self.model.fp64) {
            let log = format!("kernel {} takes double, which this device does not have", kernel.name);
            return BuildOutcome::Failed { log };
        }
        let kernels = kernels.iter().map(|signature| BuiltKernel {
            signature: signature.clone(),
            work_group_size_max: WORK_GROUP_SIZE_MAX,
        });
        BuildOutcome::Built { kernels: kernels.collect(), log: String::new() }
    }

    fn allocate(&mut self, key: BufferKey, size_bytes: u64) -> Result<Modelled, OperationError> {
        if let Some(old) = self.buffers.remove(&key) {
            self.allocated_bytes -= old.size_bytes;
        }
        let size = host_size("allocate", size_bytes)?;
        let allocated_bytes = self.allocated_bytes.saturating_add(size_bytes);
        if allocated_bytes > self.model.memory_bytes {
            let free_bytes = self.model.memory_bytes - self.allocated_bytes;
            let reason = format!("{size_bytes} bytes do not fit into the {free_bytes} that are free");
            return Err(OperationError::OutOfMemory { reason });
        }
        self.allocated_bytes = allocated_bytes;
        self.buffers.insert(key, Buffer { size_bytes, contents: Contents::new(size) });
        Ok(Modelled { duration: Span::ZERO, movement: None })
    }

    fn free(&mut self, key: BufferKey) -> Result<Modelled, OperationError> {
        // Movements under way keep the bytes that they need.
        let buffer = self.buffers.remove(&key).ok_or_else(|| unknown_buffer("free", key))?;
        self.allocated_bytes -= buffer.size_bytes;
        Ok(Modelled { duration: Span::ZERO, movement: None })
    }

    fn copy(
        &mut self,
        (source, source_range): (BufferKey, ByteRange),
        (target, target_offset_bytes): (BufferKey, u64),
    ) -> Result<Modelled, OperationError> {
        const CALL: &str = "copy";
        let target_range = ByteRange::from_offset(target_offset_bytes, source_range.len())
            .ok_or_else(|| refused(CALL, "the target range passes the end of all memory".to_owned()))?;
        if source == target && source_range.overlaps(target_range) {
            return Err(refused(CALL, format!("{source_range} and {target_range} overlap")));
        }
        let (source, source_offset, size) = self.ranged(CALL, source, source_range)?;
        let (target, target_offset, _) = self.ranged(CALL, target, target_range)?;
        let movement = Movement::Copy { source, source_offset, target, target_offset, size };
        Ok(self.moving(source_range.len(), movement))
    }

    fn fill(&mut self, key: BufferKey, range: ByteRange, pattern: Bytes) -> Result<Modelled, OperationError> {
        const CALL: &str = "fill";
        let length = pattern.len() as u64;
        let is_pattern = length.is_power_of_two() && length <= 128;
        if !is_pattern || !range.start.is_multiple_of(length) || !range.end.is_multiple_of(length) {
            return Err(refused(CALL, format!("a pattern of {length} bytes does not suit {range}")));
        }
        let (target, offset, size) = self.ranged(CALL, key, range)?;
        Ok(self.moving(range.len(), Movement::Fill { target, offset, size, pattern }))
    }

    fn launch(
        &mut self,
        kernel: &ScannedKernel,
        range: &NdRange,
        arguments: &[BoundArgument],
    ) -> Result<Modelled, OperationError> {
        const CALL: &str = "launch";
        check_range(range)?;
        check_arguments(&kernel.signature, &kernel.shapes, arguments)?;
        let mut local_bytes = 0_u64;
        for argument in arguments {
            match argument {
                BoundArgument::Buffer { buffer, part } => {
                    let known = self.buffers.get(buffer).ok_or_else(|| unknown_buffer(CALL, *buffer))?;
                    let part = part.unwrap_or(ByteRange::new(0, known.size_bytes));
                    self.ranged(CALL, *buffer, part)?;
                    if !part.start.is_multiple_of(SUB_BUFFER_ALIGNMENT_BYTES) {
                        return Err(misaligned_part(part.start, SUB_BUFFER_ALIGNMENT_BYTES));
                    }
                }
                BoundArgument::Local(size_bytes) => local_bytes = local_bytes.saturating_add(*size_bytes),
                BoundArgument::Scalar(_) => {}
            }
        }
        if local_bytes > LOCAL_MEMORY_BYTES {
            let reason = format!("{local_bytes} bytes of local memory; there are {LOCAL_MEMORY_BYTES}");
            return Err(refused(CALL, reason));
        }
        let items_per_us =
            self.model.costs.get(&kernel.signature.name).copied().unwrap_or(self.model.items_per_us);
        let nanos = u128::from(range.items()) * 1_000 / u128::from(items_per_us.max(1));
        let span = Span(u64::try_from(nanos).unwrap_or(u64::MAX));
        let duration = self.varied(self.model.launch_overhead.saturating_add(span));
        Ok(Modelled { duration, movement: None })
    }

    fn moving(&mut self, size_bytes: u64, movement: Movement) -> Modelled {
        let duration = self.varied(self.model.host_rate.span_for(size_bytes));
        Modelled { duration, movement: Some(movement) }
    }

    /// A duration with its random part, at most a year so that deadlines can be told.
    fn varied(&mut self, mean: Span) -> Span {
        const YEAR: Duration = Duration::from_secs(365 * 24 * 3_600);
        let span = if self.model.spread == 0.0 {
            mean
        } else {
            Span::from_secs_f64(mean.as_secs_f64() * self.spread.factor())
        };
        span.min(YEAR.into())
    }

    /// A buffer's bytes, and a range of them as offset and size.
    fn ranged(
        &self,
        call: &'static str,
        key: BufferKey,
        range: ByteRange,
    ) -> Result<(Contents, usize, usize), OperationError> {
        let buffer = self.buffers.get(&key).ok_or_else(|| unknown_buffer(call, key))?;
        if range.start > range.end || range.end > buffer.size_bytes {
            let reason = format!("{range} do not lie within {key} of {} bytes", buffer.size_bytes);
            return Err(refused(call, reason));
        }
        Ok((buffer.contents.clone(), host_size(call, range.start)?, host_size(call, range.len())?))
    }
}

fn check_range(range: &NdRange) -> Result<(), OperationError> {
    let refused = |reason: String| Err(OperationError::NdRange { reason });
    if !(1..=3).contains(&range.dimensions) {
        return refused(format!("{} dimensions; there are 1, 2 or 3", range.dimensions));
    }
    if range.global.contains(&0) {
        return refused("a global size of zero".to_owned());
    }
    let Some(group_items) = range.group_items() else { return Ok(()) };
    if group_items == 0 || group_items > WORK_GROUP_SIZE_MAX {
        return refused(format!("a work-group of {group_items} items; at most {WORK_GROUP_SIZE_MAX} here"));
    }
    for (global, local) in range.global.iter().zip(range.local) {
        if !global.is_multiple_of(local) {
            return refused(format!("work-groups of {local} do not divide a global size of {global}"));
        }
    }
    Ok(())
}

fn host_size(call: &'static str, size_bytes: u64) -> Result<usize, OperationError> {
    usize::try_from(size_bytes)
        .map_err(|_| refused(call, format!("{size_bytes} bytes are too many for this host")))
}

fn refused(call: &str, reason: String) -> OperationError {
    OperationError::Failed { call: format!("virtual {call}"), reason }
}

fn unknown_buffer(call: &str, key: BufferKey) -> OperationError {
    refused(call, format!("{key} is not allocated on this device"))
}

fn no_kernel(program: ProgramKey, kernel: KernelIndex) -> OperationError {
    refused("launch", format!("{program} has no {kernel} here"))
}

fn one() -> u16 {
    1
}

fn yes() -> bool {
    true
}

fn to_micros<S: Serializer>(span: &Span, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(span.0 as f64 / 1e3)
}

fn from_micros<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Span, D::Error> {
    let micros = f64::deserialize(deserializer)?;
    if micros.is_finite() && micros >= 0.0 {
        // The cast saturates.
        Ok(Span((micros * 1e3).round() as u64))
    } else {
        Err(serde::de::Error::custom("a launch overhead must be zero or more microseconds"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_farm_is_written_in_a_few_lines() {
        let text = "
            seed = 7
            [[devices]]
            name = 'fast'
            count = 3
            items_per_us = 1000
            launch_overhead_us = 8
            memory_bytes = 1073741824
            host_rate_bytes_per_second = 10000000000
            costs = { slow_kernel = 5 }
            [[devices]]
            name = 'slow'
            items_per_us = 10
            launch_overhead_us = 20.5
            memory_bytes = 1024
            host_rate_bytes_per_second = 1000
            slots = 2
            fp64 = false
            spread = 0.25
        ";
        let options: VirtualOptions = toml::from_str(text).unwrap();
        assert_eq!(options.devices[1].launch_overhead, Span(20_500));
        let again: VirtualOptions = toml::from_str(&toml::to_string(&options).unwrap()).unwrap();
        assert_eq!(again, options);
        let (sink, _events) = tokio::sync::mpsc::unbounded_channel();
        let backend = VirtualBackend::open(&options, sink).unwrap();
        let names: Vec<&str> = backend.devices().iter().map(|facts| facts.name.as_str()).collect();
        assert_eq!(names, ["fast 1", "fast 2", "fast 3", "slow"]);
        assert_eq!(backend.devices()[3].slots, 2);
        assert!(toml::from_str::<VirtualOptions>(&text.replace("20.5", "-1")).is_err());
    }

    #[test]
    fn devices_that_could_never_run_are_refused() {
        let open = |change: fn(&mut VirtualDevice)| {
            let mut device = VirtualDevice::new("a", 1, 1, BytesPerSecond(1));
            change(&mut device);
            let (sink, _events) = tokio::sync::mpsc::unbounded_channel();
            let options = VirtualOptions { devices: vec![device], ..VirtualOptions::default() };
            VirtualBackend::open(&options, sink).map(|_| ())
        };
        assert!(open(|_| {}).is_ok());
        assert!(matches!(open(|device| device.slots = 0), Err(VirtualError::NoSlot { .. })));
        assert!(matches!(open(|device| device.items_per_us = 0), Err(VirtualError::NoSpeed { .. })));
        assert!(matches!(open(|device| device.spread = f64::NAN), Err(VirtualError::Spread { .. })));
    }

    #[test]
    fn index_spaces_are_checked_as_a_driver_would() {
        let space = NdRange::new(&[96, 2]).unwrap();
        assert!(check_range(&space).is_ok());
        assert!(check_range(&space.with_local(&[32, 2]).unwrap()).is_ok());
        assert!(check_range(&space.with_local(&[64, 1]).unwrap()).is_err());
        let large = NdRange::new(&[4_096]).unwrap().with_local(&[2_048]).unwrap();
        assert!(check_range(&large).is_err());
    }
}
