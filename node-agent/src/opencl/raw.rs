//! OpenCL objects that release themselves, and the few calls that need `unsafe`.
//!
//! opencl3's own wrappers panic when a release fails; these log it, since a driver in trouble must not
//! take the agent down. Must never decide anything.

use std::ffi::c_void;
use std::ptr::{self, NonNull};

use opencl3::command_queue::{
    CL_QUEUE_PROFILING_ENABLE, create_command_queue, enqueue_copy_buffer, enqueue_fill_buffer,
    enqueue_map_buffer, enqueue_marker_with_wait_list, enqueue_nd_range_kernel, enqueue_read_buffer,
    enqueue_unmap_mem_object, enqueue_write_buffer, release_command_queue, retain_command_queue,
};
use opencl3::context::context::{create_context, release_context};
use opencl3::error_codes::CL_MAP_FAILURE;
use opencl3::event::{release_event, retain_event};
use opencl3::kernel::{create_kernels_in_program, release_kernel, set_kernel_arg};
use opencl3::memory::{
    CL_BUFFER_CREATE_TYPE_REGION, CL_MAP_READ, CL_MAP_WRITE_INVALIDATE_REGION, CL_MEM_READ_WRITE,
    create_buffer, create_sub_buffer, release_mem_object, retain_mem_object,
};
use opencl3::program::{create_program_with_source, release_program};
use opencl3::types::{
    CL_NON_BLOCKING, cl_buffer_region, cl_command_queue, cl_context, cl_device_id, cl_event, cl_kernel,
    cl_mem, cl_program,
};

use crate::backend::Access;

/// A root device's id; it lives as long as the process.
#[derive(Clone, Copy, Debug)]
pub(super) struct DeviceHandle(pub(super) cl_device_id);

// SAFETY: a device id is only a name; every OpenCL call that takes one may be made from any thread.
unsafe impl Send for DeviceHandle {}
// SAFETY: as for `Send`.
unsafe impl Sync for DeviceHandle {}

macro_rules! owned {
    ($(#[$doc:meta])* $name:ident, $handle:ty, $release:path, $call:literal) => {
        $(#[$doc])*
        pub(super) struct $name($handle);

        // SAFETY: OpenCL objects belong to no thread, and every call on them may be made from any
        // thread. The one call that must not be made twice at a time on one object, clSetKernelArg, is
        // `Kernel::set_argument`, which asks its caller for that.
        unsafe impl Send for $name {}
        // SAFETY: as for `Send`.
        unsafe impl Sync for $name {}

        impl $name {
            /// The object for calls.
            pub(super) fn get(&self) -> $handle {
                self.0
            }
        }

        impl Drop for $name {
            fn drop(&mut self) {
                // SAFETY: the handle is valid and this value holds one reference to it.
                if let Err(status) = unsafe { $release(self.0) } {
                    tracing::warn!(call = $call, status, "an OpenCL object could not be released");
                }
            }
        }
    };
}

owned!(/// One device's context.
    Context, cl_context, release_context, "clReleaseContext");
owned!(/// An in-order queue.
    Queue, cl_command_queue, release_command_queue, "clReleaseCommandQueue");
owned!(/// A buffer or a sub-buffer. The driver keeps it for the commands that use it.
    Memory, cl_mem, release_mem_object, "clReleaseMemObject");
owned!(/// A program; its kernels keep it.
    Program, cl_program, release_program, "clReleaseProgram");
owned!(/// A kernel with its arguments; the driver keeps it for the launches of it.
    Kernel, cl_kernel, release_kernel, "clReleaseKernel");
owned!(/// A command's event.
    Event, cl_event, release_event, "clReleaseEvent");

impl Context {
    /// A context of one device.
    pub(super) fn new(device: DeviceHandle) -> Result<Self, i32> {
        create_context(&[device.0], ptr::null(), None, ptr::null_mut()).map(Self)
    }

    /// An in-order queue of the context's device.
    pub(super) fn create_queue(&self, device: DeviceHandle, has_profiling: bool) -> Result<Queue, i32> {
        let properties = if has_profiling { CL_QUEUE_PROFILING_ENABLE } else { 0 };
        // SAFETY: the context is valid and was made for this device.
        unsafe { create_command_queue(self.get(), device.0, properties) }.map(Queue)
    }

    /// A buffer with undefined contents.
    pub(super) fn create_buffer(&self, size_bytes: usize) -> Result<Memory, i32> {
        // SAFETY: the context is valid; without a host pointer the driver touches no memory of ours.
        unsafe { create_buffer(self.get(), CL_MEM_READ_WRITE, size_bytes, ptr::null_mut()) }.map(Memory)
    }

    /// A program that is not built yet.
    pub(super) fn create_program(&self, source: &str) -> Result<Program, i32> {
        create_program_with_source(self.get(), &[source]).map(Program)
    }
}

impl Program {
    /// The kernels of a built program, in no particular order.
    pub(super) fn create_kernels(&self) -> Result<Vec<Kernel>, i32> {
        Ok(create_kernels_in_program(self.0)?.into_iter().map(Kernel).collect())
    }
}

impl Kernel {
    /// Sets an argument from its bytes, as `clSetKernelArg` takes them.
    ///
    /// # Safety
    /// No other thread sets arguments of, or launches, this kernel meanwhile. `value` is what the
    /// argument's kind asks for: a live `cl_mem` for a buffer, null for local memory, else `size_bytes`
    /// readable bytes of a value whose type holds no object of OpenCL.
    pub(super) unsafe fn set_argument(
        &self,
        index: u32,
        size_bytes: usize,
        value: *const c_void,
    ) -> Result<(), i32> {
        // SAFETY: the kernel is valid; the caller vouches for the value.
        unsafe { set_kernel_arg(self.0, index, size_bytes, value) }
    }
}

impl Memory {
    /// A sub-buffer over `size_bytes` from `origin_bytes`.
    pub(super) fn create_part(&self, origin_bytes: usize, size_bytes: usize) -> Result<Self, i32> {
        let region = cl_buffer_region { origin: origin_bytes, size: size_bytes };
        // SAFETY: the buffer is valid, and `region` is what this kind of creation reads, during the call.
        unsafe {
            create_sub_buffer(
                self.0,
                CL_MEM_READ_WRITE,
                CL_BUFFER_CREATE_TYPE_REGION,
                (&raw const region).cast(),
            )
        }
        .map(Self)
    }
}

impl Memory {
    /// A second reference, so that the buffer outlives a release elsewhere.
    pub(super) fn again(&self) -> Result<Self, i32> {
        // SAFETY: the buffer is valid.
        unsafe { retain_mem_object(self.0) }?;
        Ok(Self(self.0))
    }
}

impl Event {
    /// A second reference, so that the event outlives a release on another thread.
    pub(super) fn again(&self) -> Result<Self, i32> {
        // SAFETY: the event is valid.
        unsafe { retain_event(self.0) }?;
        Ok(Self(self.0))
    }
}

impl Queue {
    /// A second reference, so that the queue outlives a release elsewhere.
    pub(super) fn again(&self) -> Result<Self, i32> {
        // SAFETY: the queue is valid.
        unsafe { retain_command_queue(self.0) }?;
        Ok(Self(self.0))
    }

    /// Enqueues the mapping of `size_bytes` of the buffer, to be read or to be overwritten. The place that is given may be used
    /// once the event has ended well, for just that, until it is unmapped.
    pub(super) fn enqueue_map(
        &self,
        buffer: &Memory,
        offset_bytes: usize,
        size_bytes: usize,
        access: Access,
    ) -> Result<(NonNull<u8>, Event), i32> {
        let flags = match access {
            Access::Read => CL_MAP_READ,
            Access::Overwrite => CL_MAP_WRITE_INVALIDATE_REGION,
        };
        let mut start = ptr::null_mut();
        // SAFETY: queue and buffer are of one context; the driver checks the range, and touches no memory of ours.
        let event = unsafe {
            enqueue_map_buffer(
                self.0,
                buffer.0,
                CL_NON_BLOCKING,
                flags,
                offset_bytes,
                size_bytes,
                &mut start,
                0,
                ptr::null(),
            )
        }
        .map(Event)?;
        let start = NonNull::new(start.cast()).ok_or(CL_MAP_FAILURE)?;
        Ok((start, event))
    }

    /// Enqueues the end of a mapping.
    ///
    /// # Safety
    /// `start` was given for this buffer by `enqueue_map`, was not unmapped since, and nobody uses what lies there any more.
    pub(super) unsafe fn enqueue_unmap(&self, buffer: &Memory, start: NonNull<u8>) -> Result<Event, i32> {
        // SAFETY: queue and buffer are of one context; the caller vouches for the place.
        unsafe { enqueue_unmap_mem_object(self.0, buffer.0, start.as_ptr().cast(), 0, ptr::null()) }
            .map(Event)
    }

    /// Enqueues nothing, which ends when what came before has ended.
    pub(super) fn enqueue_marker(&self) -> Result<Event, i32> {
        // SAFETY: the queue is valid; an empty wait list means all earlier commands.
        unsafe { enqueue_marker_with_wait_list(self.0, 0, ptr::null()) }.map(Event)
    }

    /// Enqueues a copy of `bytes` to the buffer.
    ///
    /// # Safety
    /// `bytes` stays alive and unchanged until the event has ended.
    pub(super) unsafe fn enqueue_write(
        &self,
        target: &Memory,
        offset_bytes: usize,
        bytes: &[u8],
    ) -> Result<Event, i32> {
        // SAFETY: queue and buffer are of one context; the caller keeps the bytes; the driver checks the range.
        unsafe {
            enqueue_write_buffer(
                self.0,
                target.0,
                CL_NON_BLOCKING,
                offset_bytes,
                bytes.len(),
                bytes.as_ptr().cast(),
                0,
                ptr::null(),
            )
        }
        .map(Event)
    }

    /// Enqueues a copy of `size_bytes` of the buffer to `room`.
    ///
    /// # Safety
    /// `room` stays writable for `size_bytes`, and nobody else touches it, until the event has ended.
    pub(super) unsafe fn enqueue_read(
        &self,
        source: &Memory,
        offset_bytes: usize,
        size_bytes: usize,
        room: *mut u8,
    ) -> Result<Event, i32> {
        // SAFETY: queue and buffer are of one context; the caller keeps the room; the driver checks the range.
        unsafe {
            enqueue_read_buffer(
                self.0,
                source.0,
                CL_NON_BLOCKING,
                offset_bytes,
                size_bytes,
                room.cast(),
                0,
                ptr::null(),
            )
        }
        .map(Event)
    }

    /// Enqueues a copy between two buffers, or within one.
    pub(super) fn enqueue_copy(
        &self,
        source: (&Memory, usize),
        target: (&Memory, usize),
        size_bytes: usize,
    ) -> Result<Event, i32> {
        // SAFETY: queue and buffers are of one context; the driver checks the ranges.
        unsafe {
            enqueue_copy_buffer(
                self.0,
                source.0.0,
                target.0.0,
                source.1,
                target.1,
                size_bytes,
                0,
                ptr::null(),
            )
        }
        .map(Event)
    }

    /// Enqueues the repetition of `pattern`, which the driver copies during the call.
    pub(super) fn enqueue_fill(
        &self,
        target: &Memory,
        pattern: &[u8],
        offset_bytes: usize,
        size_bytes: usize,
    ) -> Result<Event, i32> {
        // SAFETY: queue and buffer are of one context; the pattern is readable for the length given; the
        // driver checks pattern and range.
        unsafe {
            enqueue_fill_buffer(
                self.0,
                target.0,
                pattern.as_ptr().cast(),
                pattern.len(),
                offset_bytes,
                size_bytes,
                0,
                ptr::null(),
            )
        }
        .map(Event)
    }

    /// Enqueues a kernel with the arguments that it has now; `None` means null.
    ///
    /// # Safety
    /// All arguments are set and valid, no other thread sets any meanwhile, and `dimensions` is 1 to 3.
    pub(super) unsafe fn enqueue_kernel(
        &self,
        kernel: &Kernel,
        dimensions: u32,
        offset: Option<&[usize; 3]>,
        global: &[usize; 3],
        local: Option<&[usize; 3]>,
    ) -> Result<Event, i32> {
        let pointer = |sizes: Option<&[usize; 3]>| sizes.map_or(ptr::null(), |sizes| sizes.as_ptr());
        // SAFETY: queue and kernel are of one context; each array holds at least `dimensions` entries.
        unsafe {
            enqueue_nd_range_kernel(
                self.0,
                kernel.0,
                dimensions,
                pointer(offset),
                global.as_ptr(),
                pointer(local),
                0,
                ptr::null(),
            )
        }
        .map(Event)
    }
}
