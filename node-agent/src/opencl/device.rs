//! One device: its context, its queues, the buffers on it, and the operations that it is given.
//!
//! All of it belongs to the one thread that enqueues. Must never wait for the device.

use std::collections::{BTreeMap, HashMap};
use std::ffi::c_void;
use std::ptr;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use isochrone_model::units::ByteRange;
use isochrone_model::{
    BoundArgument, BufferKey, DeviceFacts, DeviceIndex, KernelIndex, NdRange, ProgramKey, Region,
};
use isochrone_sched_core::agent::{Operation, OperationError, OperationKind};
use opencl3::command_queue::flush;
use opencl3::types::cl_mem;

use super::OpenClOptions;
use super::build::{Builder, BuiltProgram, LoadedKernel};
use super::completion::{Enqueued, Kept, Outlet, Releaser, Watcher};
use super::discover::Found;
use super::error::OpenClError;
use super::mapping::Mapping;
use super::raw::{Context, Memory, Queue};
use super::signature::{check_arguments, misaligned_part};
use super::status::{Purpose, Status, failed, refusal};
use crate::backend::Opening;
use crate::clock;

/// Sub-buffers kept for each buffer; a program that walks over more makes them anew.
const PARTS_KEPT_MAX: usize = 64;
/// Zeros for filling; as long as patterns may be, since drivers fill faster with longer ones.
const ZEROS: [u8; 128] = [0; 128];

/// One device in use.
pub(super) struct Device {
    facts: DeviceFacts,
    outlet: Arc<Outlet>,
    lanes: Vec<Lane>,
    buffers: HashMap<BufferKey, DeviceBuffer>,
    /// Programs launched from before; the builder's table needs a lock.
    programs: BTreeMap<ProgramKey, Arc<BuiltProgram>>,
    builder: Builder,
    releaser: Releaser,
    /// Whether its memory is the host's, and is to be used so.
    shares_memory: bool,
    /// Last: everything above was made in it.
    context: Arc<Context>,
}

/// A slot's queue.
struct Lane {
    /// Before the queue, so that its thread has ended when the queue goes.
    watcher: Watcher,
    queue: Queue,
    /// Whether the queue got work since it was last flushed.
    is_dirty: bool,
}

struct DeviceBuffer {
    /// Sub-buffers by start and end; before the whole, which they are parts of.
    parts: BTreeMap<(u64, u64), Memory>,
    whole: Memory,
    size_bytes: u64,
}

impl Device {
    pub(super) fn open(
        found: Found,
        index: DeviceIndex,
        options: &OpenClOptions,
        outlet: &Arc<Outlet>,
    ) -> Result<Self, OpenClError> {
        let Found { device: handle, facts, has_unified_memory } = found;
        let refused = |call| {
            let device = facts.name.clone();
            move |status| OpenClError::Call { call, device, source: Status(status) }
        };
        let context = Arc::new(Context::new(handle).map_err(refused("clCreateContext"))?);
        // One queue for each slot, and one beside them for moving bytes.
        let lanes = (0..=facts.slots)
            .map(|_| {
                let queue = context
                    .create_queue(handle, options.device_times)
                    .map_err(refused("clCreateCommandQueue"))?;
                let watcher = Watcher::new(options.completion, facts.kind, Arc::clone(outlet));
                Ok(Lane { watcher, queue, is_dirty: false })
            })
            .collect::<Result<Vec<_>, OpenClError>>()?;
        let builder = Builder::new(Arc::clone(&context), handle, index, Arc::clone(outlet));
        let releaser =
            Releaser::start().map_err(|source| OpenClError::Thread { device: facts.name.clone(), source })?;
        Ok(Self {
            facts,
            outlet: Arc::clone(outlet),
            lanes,
            buffers: HashMap::new(),
            programs: BTreeMap::new(),
            builder,
            releaser,
            shares_memory: has_unified_memory && options.unified_memory,
            context,
        })
    }

    pub(super) fn build(&mut self, program: ProgramKey, source: Arc<str>, options: Arc<str>) {
        self.programs.remove(&program);
        self.builder.build(program, source, options);
    }

    pub(super) fn drop_program(&mut self, program: ProgramKey) {
        // Kernels of launches under way are kept by the driver.
        self.programs.remove(&program);
        self.builder.forget(program);
    }

    /// Enqueues an operation; exactly one `Done` will be sent for it.
    pub(super) fn perform(&mut self, operation: Operation, upload: Option<Bytes>) {
        let Operation { id, device: _, slot, kind } = operation;
        let lane = slot.index();
        if lane >= self.lanes.len() {
            let reason = format!("{} has {} slots, no {slot}", self.facts.name, self.facts.slots);
            self.outlet.fail(id, failed("slot", reason));
            return;
        }
        // The one reading of the clock here: the start of the time that stands in for a duration on
        // devices that tell none.
        let enqueued_at = clock::now();
        match self.enqueue(lane, kind, upload) {
            Ok(command) => {
                let lane = &mut self.lanes[lane];
                lane.is_dirty = true;
                lane.watcher.watch(id, enqueued_at, command);
            }
            Err(error) => self.outlet.fail(id, error),
        }
    }

    /// Enqueues the mapping of a region; `Opened` will be sent, and `Done` later, or `Done` alone.
    pub(super) fn open_region(&mut self, opening: Opening) {
        let lane = opening.lane.index();
        if lane >= self.lanes.len() {
            let reason = format!("{} has {} slots, no {}", self.facts.name, self.facts.slots, opening.lane);
            self.outlet.fail(opening.id, failed("slot", reason));
            return;
        }
        let enqueued_at = clock::now();
        match self.map(lane, opening) {
            Ok(command) => {
                let lane = &mut self.lanes[lane];
                lane.is_dirty = true;
                lane.watcher.watch(opening.id, enqueued_at, command);
            }
            Err(error) => self.outlet.fail(opening.id, error),
        }
    }

    /// Hands the queues' work to the device.
    pub(super) fn flush(&mut self) {
        for lane in self.lanes.iter_mut().filter(|lane| lane.is_dirty) {
            lane.is_dirty = false;
            if let Err(status) = flush(lane.queue.get()) {
                tracing::warn!(device = self.facts.name, status = %Status(status), "clFlush failed");
            }
        }
    }

    /// Whether regions are to be opened to the host, rather than copied.
    pub(super) fn shares_memory(&self) -> bool {
        self.shares_memory
    }

    /// Ends the compiler's thread; `false` when it has not come back in time.
    pub(super) fn close_builder(&mut self, deadline: Instant) -> bool {
        self.builder.close(deadline)
    }

    fn enqueue(
        &mut self,
        lane: usize,
        kind: OperationKind,
        upload: Option<Bytes>,
    ) -> Result<Enqueued, OperationError> {
        match kind {
            OperationKind::Allocate { buffer, size_bytes } => self.allocate(lane, buffer, size_bytes),
            OperationKind::Free { buffer } => self.free(lane, buffer),
            OperationKind::Upload { region } => self.upload(lane, region, upload),
            OperationKind::Download { region } => self.download(lane, region),
            OperationKind::Launch { program, kernel, range, arguments } => {
                self.launch(lane, (program, kernel), &range, &arguments)
            }
            OperationKind::Copy { source, source_range, target, target_offset_bytes } => {
                self.copy(lane, (source, source_range), (target, target_offset_bytes))
            }
            OperationKind::Fill { buffer, range, pattern } => self.fill(lane, buffer, range, &pattern),
        }
    }

    fn allocate(&mut self, lane: usize, key: BufferKey, size_bytes: u64) -> Result<Enqueued, OperationError> {
        // A second try after a first that failed on the device starts afresh.
        self.buffers.remove(&key);
        let refused = |call| move |status| refusal(call, status, Purpose::Allocation);
        let size = host_size(size_bytes, "clCreateBuffer")?;
        let whole = self.context.create_buffer(size).map_err(refused("clCreateBuffer"))?;
        let pattern = zeros_for(size);
        let event = self.lanes[lane]
            .queue
            .enqueue_fill(&whole, pattern, 0, size)
            .map_err(refused("clEnqueueFillBuffer"))?;
        self.buffers.insert(key, DeviceBuffer { parts: BTreeMap::new(), whole, size_bytes });
        Ok(Enqueued { call: "clEnqueueFillBuffer", purpose: Purpose::Allocation, event, kept: Kept::Nothing })
    }

    fn free(&mut self, lane: usize, key: BufferKey) -> Result<Enqueued, OperationError> {
        let DeviceBuffer { parts, whole, .. } =
            self.buffers.remove(&key).ok_or_else(|| unknown_buffer("clReleaseMemObject", key))?;
        let mut command = self.marker(lane)?;
        let memory = parts.into_values().chain(std::iter::once(whole)).collect();
        command.kept = Kept::Memory { memory, releaser: self.releaser.clone() };
        Ok(command)
    }

    fn upload(&self, lane: usize, region: Region, bytes: Option<Bytes>) -> Result<Enqueued, OperationError> {
        const CALL: &str = "clEnqueueWriteBuffer";
        let bytes = bytes.ok_or_else(|| failed(CALL, "an upload came without its bytes".to_owned()))?;
        if bytes.len() as u64 != region.range.len() {
            let reason = format!("{} bytes came for {}", bytes.len(), region.range);
            return Err(failed(CALL, reason));
        }
        let (buffer, offset) = self.ranged(CALL, region.buffer, region.range)?;
        if bytes.is_empty() {
            return self.marker(lane);
        }
        // SAFETY: `kept` below holds the bytes until the event has ended, and `Bytes` never change.
        let event = unsafe { self.lanes[lane].queue.enqueue_write(&buffer.whole, offset, &bytes) }
            .map_err(|status| refusal(CALL, status, Purpose::Other))?;
        Ok(Enqueued { call: CALL, purpose: Purpose::Other, event, kept: Kept::Upload { _bytes: bytes } })
    }

    fn download(&self, lane: usize, region: Region) -> Result<Enqueued, OperationError> {
        const CALL: &str = "clEnqueueReadBuffer";
        let (buffer, offset) = self.ranged(CALL, region.buffer, region.range)?;
        let size = host_size(region.range.len(), CALL)?;
        let mut room = self
            .outlet
            .rooms
            .take(size)
            .ok_or_else(|| failed(CALL, format!("no host memory for {}", region.range)))?;
        let mut command = if size == 0 {
            self.marker(lane)?
        } else {
            // SAFETY: `kept` below holds the room, whose allocation does not move, until the event has
            // ended; nothing looks into it before.
            let event = unsafe {
                self.lanes[lane].queue.enqueue_read(&buffer.whole, offset, size, room.as_mut_ptr())
            }
            .map_err(|status| refusal(CALL, status, Purpose::Other))?;
            Enqueued { call: CALL, purpose: Purpose::Other, event, kept: Kept::Nothing }
        };
        command.kept = Kept::Download { region, room };
        Ok(command)
    }

    fn map(&self, lane: usize, opening: Opening) -> Result<Enqueued, OperationError> {
        const CALL: &str = "clEnqueueMapBuffer";
        let refused = |status| refusal(CALL, status, Purpose::Other);
        let Opening { region, access, .. } = opening;
        if !self.shares_memory {
            return Err(failed(CALL, format!("the memory of {} is its own", self.facts.name)));
        }
        let (buffer, offset) = self.ranged(CALL, region.buffer, region.range)?;
        let bytes = host_size(region.range.len(), CALL)?;
        let queue = &self.lanes[lane].queue;
        let (memory, unmapping) = (buffer.whole.again().map_err(refused)?, queue.again().map_err(refused)?);
        let (start, event) = queue.enqueue_map(&buffer.whole, offset, bytes, access).map_err(refused)?;
        let releaser = self.releaser.clone();
        let mapping = Mapping { start, bytes, access, memory, queue: unmapping, releaser };
        Ok(Enqueued { call: CALL, purpose: Purpose::Other, event, kept: Kept::Mapping(mapping) })
    }

    fn copy(
        &self,
        lane: usize,
        (source, source_range): (BufferKey, ByteRange),
        (target, target_offset_bytes): (BufferKey, u64),
    ) -> Result<Enqueued, OperationError> {
        const CALL: &str = "clEnqueueCopyBuffer";
        let target_range = ByteRange::from_offset(target_offset_bytes, source_range.len())
            .ok_or_else(|| failed(CALL, "the target range passes the end of all memory".to_owned()))?;
        let (from, from_offset) = self.ranged(CALL, source, source_range)?;
        let (to, to_offset) = self.ranged(CALL, target, target_range)?;
        if source_range.is_empty() {
            return self.marker(lane);
        }
        let size = host_size(source_range.len(), CALL)?;
        let event = self.lanes[lane]
            .queue
            .enqueue_copy((&from.whole, from_offset), (&to.whole, to_offset), size)
            .map_err(|status| refusal(CALL, status, Purpose::Other))?;
        Ok(Enqueued { call: CALL, purpose: Purpose::Other, event, kept: Kept::Nothing })
    }

    fn fill(
        &self,
        lane: usize,
        key: BufferKey,
        range: ByteRange,
        pattern: &Bytes,
    ) -> Result<Enqueued, OperationError> {
        const CALL: &str = "clEnqueueFillBuffer";
        let (buffer, offset) = self.ranged(CALL, key, range)?;
        if range.is_empty() {
            return self.marker(lane);
        }
        let size = host_size(range.len(), CALL)?;
        let event = self.lanes[lane]
            .queue
            .enqueue_fill(&buffer.whole, pattern, offset, size)
            .map_err(|status| refusal(CALL, status, Purpose::Other))?;
        Ok(Enqueued { call: CALL, purpose: Purpose::Other, event, kept: Kept::Nothing })
    }

    fn launch(
        &mut self,
        lane: usize,
        (program, index): (ProgramKey, KernelIndex),
        range: &NdRange,
        arguments: &[BoundArgument],
    ) -> Result<Enqueued, OperationError> {
        const CALL: &str = "clEnqueueNDRangeKernel";
        let program = self.program(program)?;
        let loaded = program
            .kernels
            .get(index.index())
            .ok_or_else(|| failed(CALL, format!("the program has no {index}")))?;
        let space = IndexSpace::new(range)?;
        check_arguments(&loaded.signature, &loaded.shapes, arguments)?;
        for (place, argument) in arguments.iter().enumerate() {
            self.set_argument(loaded, place, argument)?;
        }
        // SAFETY: all arguments were set just now, checked against what the kernel takes; this thread
        // alone has the device, and so its kernels; the index space has 1 to 3 dimensions.
        let event = unsafe {
            self.lanes[lane].queue.enqueue_kernel(
                &loaded.kernel,
                space.dimensions,
                space.offset.as_ref(),
                &space.global,
                space.local.as_ref(),
            )
        }
        .map_err(|status| refusal(CALL, status, Purpose::Other));
        self.trim_parts(arguments);
        Ok(Enqueued { call: CALL, purpose: Purpose::Other, event: event?, kept: Kept::Nothing })
    }

    /// Lets go of sub-buffers where there are too many. Only after an enqueue: the driver keeps those of
    /// commands under way, but not those that a kernel was merely given.
    fn trim_parts(&mut self, arguments: &[BoundArgument]) {
        for argument in arguments {
            let BoundArgument::Buffer { buffer, part: Some(_) } = argument else { continue };
            if let Some(buffer) = self.buffers.get_mut(buffer)
                && buffer.parts.len() > PARTS_KEPT_MAX
            {
                buffer.parts.clear();
            }
        }
    }

    fn program(&mut self, key: ProgramKey) -> Result<Arc<BuiltProgram>, OperationError> {
        if let Some(program) = self.programs.get(&key) {
            return Ok(Arc::clone(program));
        }
        let program = self
            .builder
            .built(key)
            .ok_or_else(|| failed("clEnqueueNDRangeKernel", format!("{key} is not built here")))?;
        self.programs.insert(key, Arc::clone(&program));
        Ok(program)
    }

    fn set_argument(
        &mut self,
        loaded: &LoadedKernel,
        place: usize,
        argument: &BoundArgument,
    ) -> Result<(), OperationError> {
        const CALL: &str = "clSetKernelArg";
        let alignment_bytes = self.facts.sub_buffer_alignment_bytes;
        let object: cl_mem;
        let (size_bytes, value): (usize, *const c_void) = match argument {
            BoundArgument::Buffer { buffer: key, part } => {
                let buffer = self.buffers.get_mut(key).ok_or_else(|| unknown_buffer(CALL, *key))?;
                object = match part {
                    Some(part) => buffer.part(*part, alignment_bytes)?.get(),
                    None => buffer.whole.get(),
                };
                (size_of::<cl_mem>(), (&raw const object).cast())
            }
            BoundArgument::Scalar(bytes) => (bytes.len(), bytes.as_ptr().cast()),
            BoundArgument::Local(size_bytes) => (host_size(*size_bytes, CALL)?, ptr::null()),
        };
        let index = u32::try_from(place).map_err(|_| failed(CALL, "too many arguments".to_owned()))?;
        // SAFETY: this thread alone has the device, and so its kernels. `check_arguments` has matched the
        // kind of the argument with the kernel's; buffers live in `self.buffers` past the enqueue.
        unsafe { loaded.kernel.set_argument(index, size_bytes, value) }.map_err(|status| {
            let name = loaded.signature.arguments.get(place).map_or("", |argument| argument.name.as_str());
            failed(
                CALL,
                format!("argument {place} of {} ({name}): {}", loaded.signature.name, Status(status)),
            )
        })
    }

    fn marker(&self, lane: usize) -> Result<Enqueued, OperationError> {
        const CALL: &str = "clEnqueueMarkerWithWaitList";
        let event = self.lanes[lane]
            .queue
            .enqueue_marker()
            .map_err(|status| refusal(CALL, status, Purpose::Other))?;
        Ok(Enqueued { call: CALL, purpose: Purpose::Other, event, kept: Kept::Nothing })
    }

    /// A buffer and an offset in it, if the range lies within.
    fn ranged(
        &self,
        call: &'static str,
        key: BufferKey,
        range: ByteRange,
    ) -> Result<(&DeviceBuffer, usize), OperationError> {
        let buffer = self.buffers.get(&key).ok_or_else(|| unknown_buffer(call, key))?;
        if range.start > range.end || range.end > buffer.size_bytes {
            let reason = format!("{range} do not lie within {key} of {} bytes", buffer.size_bytes);
            return Err(failed(call, reason));
        }
        Ok((buffer, host_size(range.start, call)?))
    }
}

impl DeviceBuffer {
    /// The sub-buffer over a part, made at its first use.
    fn part(&mut self, part: ByteRange, alignment_bytes: u64) -> Result<&Memory, OperationError> {
        const CALL: &str = "clCreateSubBuffer";
        if part.start == 0 && part.end == self.size_bytes {
            return Ok(&self.whole);
        }
        if part.start >= part.end || part.end > self.size_bytes {
            let reason = format!("{part} do not lie within a buffer of {} bytes", self.size_bytes);
            return Err(failed(CALL, reason));
        }
        if !part.start.is_multiple_of(alignment_bytes) {
            return Err(misaligned_part(part.start, alignment_bytes));
        }
        let key = (part.start, part.end);
        if !self.parts.contains_key(&key) {
            let memory = self
                .whole
                .create_part(host_size(part.start, CALL)?, host_size(part.len(), CALL)?)
                .map_err(|status| refusal(CALL, status, Purpose::Allocation))?;
            self.parts.insert(key, memory);
        }
        self.parts.get(&key).ok_or_else(|| failed(CALL, "the sub-buffer was lost".to_owned()))
    }
}

/// An index space as the driver takes it.
struct IndexSpace {
    dimensions: u32,
    offset: Option<[usize; 3]>,
    global: [usize; 3],
    local: Option<[usize; 3]>,
}

impl IndexSpace {
    fn new(range: &NdRange) -> Result<Self, OperationError> {
        let refused = |reason: String| OperationError::NdRange { reason };
        let dimensions = u32::from(range.dimensions);
        if !(1..=3).contains(&dimensions) {
            return Err(refused(format!("{dimensions} dimensions; there are 1, 2 or 3")));
        }
        let used = &range.global[..usize::from(range.dimensions)];
        if used.contains(&0) {
            return Err(refused("a global size of zero".to_owned()));
        }
        let sizes = |values: [u64; 3]| -> Result<[usize; 3], OperationError> {
            let mut sizes = [0; 3];
            for (size, value) in sizes.iter_mut().zip(values) {
                *size = usize::try_from(value).map_err(|_| refused(format!("a size of {value}")))?;
            }
            Ok(sizes)
        };
        Ok(Self {
            dimensions,
            offset: if range.offset == [0; 3] { None } else { Some(sizes(range.offset)?) },
            global: sizes(range.global)?,
            local: if range.has_local() { Some(sizes(range.local)?) } else { None },
        })
    }
}

/// The longest run of zeros whose length divides `size`.
fn zeros_for(size: usize) -> &'static [u8] {
    let length = if size == 0 { 1 } else { 1 << size.trailing_zeros().min(7) };
    &ZEROS[..length]
}

fn host_size(size_bytes: u64, call: &'static str) -> Result<usize, OperationError> {
    usize::try_from(size_bytes)
        .map_err(|_| failed(call, format!("{size_bytes} bytes are too many for this host")))
}

fn unknown_buffer(call: &'static str, key: BufferKey) -> OperationError {
    failed(call, format!("{key} is not allocated on this device"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zeros_divide_what_they_fill() {
        for (size, length) in [(1, 1), (6, 2), (64, 64), (128, 128), (4_096, 128), (1_000, 8)] {
            assert_eq!(zeros_for(size).len(), length, "{size}");
        }
    }

    #[test]
    fn index_spaces_that_no_driver_may_see_are_refused() {
        let mut range = NdRange::linear(4);
        range.dimensions = 4;
        assert!(matches!(IndexSpace::new(&range), Err(OperationError::NdRange { .. })));
        range.dimensions = 0;
        assert!(matches!(IndexSpace::new(&range), Err(OperationError::NdRange { .. })));
        assert!(matches!(IndexSpace::new(&NdRange::linear(0)), Err(OperationError::NdRange { .. })));
        let space = IndexSpace::new(&NdRange::linear(4)).unwrap();
        assert!(space.offset.is_none() && space.local.is_none() && space.global == [4, 1, 1]);
    }
}
