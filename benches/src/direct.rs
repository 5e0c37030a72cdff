//! The floor under devices: the same kernels and transfers given to OpenCL in this process.

use std::ptr::null_mut;
use std::time::Instant;

use anyhow::{Context as _, anyhow};
use isochrone_metrics::{Latencies, Rates, Summary};
use isochrone_transport::Rooms;
use opencl3::command_queue::CommandQueue;
use opencl3::context::Context;
use opencl3::device::{CL_DEVICE_TYPE_ALL, Device, get_all_devices};
use opencl3::kernel::{ExecuteKernel, Kernel};
use opencl3::memory::{Buffer, CL_MEM_READ_WRITE};
use opencl3::program::Program;
use opencl3::types::CL_BLOCKING;

use crate::{BURST, Effort, HUGE_BYTES, LARGE_BYTES, SOURCE, latency, sample, span};

/// What one device does without a farm.
pub struct Direct {
    pub device: String,
    pub no_op: Summary,
    pub dependent: Summary,
    pub independent: Summary,
    pub write_launch_read: Summary,
    pub write: Summary,
    pub read: Summary,
}

/// Measures the first device of this host.
pub fn measure(effort: Effort) -> anyhow::Result<Direct> {
    let devices =
        get_all_devices(CL_DEVICE_TYPE_ALL).map_err(|error| anyhow!("no OpenCL device: {error}"))?;
    let device = Device::new(*devices.first().context("no OpenCL device; `make opencl` installs PoCL")?);
    let context = Context::from_device(&device)?;
    let queue = CommandQueue::create_default_with_properties(&context, 0, 0)?;
    let program = Program::create_and_build_from_source(&context, SOURCE, "").map_err(|log| anyhow!(log))?;
    let no_op = Kernel::create(&program, "no_op")?;
    let touch = Kernel::create(&program, "touch")?;
    let create = |bytes: usize| {
        // SAFETY: without a host pointer there is nothing that must outlive the buffer.
        unsafe { Buffer::<u8>::create(&context, CL_MEM_READ_WRITE, bytes, null_mut()) }
    };
    let mut small = create(4)?;
    let mut large = create(LARGE_BYTES)?;

    let launch = |kernel: &Kernel, buffer: Option<&Buffer<u8>>| -> anyhow::Result<()> {
        let mut execute = ExecuteKernel::new(kernel);
        // SAFETY: the arguments are those that the kernels of `SOURCE` declare, and the buffers outlive the queue's
        // work: each measurement ends by finishing it.
        unsafe {
            if let Some(buffer) = buffer {
                execute.set_arg(buffer);
            }
            execute.set_global_work_size(1).enqueue_nd_range(&queue)?;
        }
        Ok(())
    };
    let no_op_times = sample(effort.samples, || {
        launch(&no_op, None)?;
        Ok(queue.finish()?)
    })?;
    let burst = |kernel: &Kernel, buffer: Option<&Buffer<u8>>| -> anyhow::Result<Latencies> {
        let mut each = Latencies::new();
        for place in 0..=effort.repeat {
            let start = Instant::now();
            for _ in 0..BURST {
                launch(kernel, buffer)?;
            }
            queue.finish()?;
            if place > 0 {
                each.record_each(span(start.elapsed()), u64::from(BURST));
            }
        }
        Ok(each)
    };
    let dependent = burst(&touch, Some(&small))?;
    let independent = burst(&no_op, None)?;
    let mut four = [1_u8; 4];
    let write_launch_read = sample(effort.samples, || {
        // SAFETY: the slice outlives the calls, which block.
        unsafe { queue.enqueue_write_buffer(&mut small, CL_BLOCKING, 0, &four, &[])? };
        launch(&touch, Some(&small))?;
        // SAFETY: as above.
        unsafe { queue.enqueue_read_buffer(&small, CL_BLOCKING, 0, &mut four, &[])? };
        Ok(())
    })?;

    let (mut write, mut read) = (Rates::new(), Rates::new());
    let mut contents = vec![7_u8; LARGE_BYTES];
    for place in 0..=effort.repeat {
        let start = Instant::now();
        // SAFETY: the slice outlives the call, which blocks.
        unsafe { queue.enqueue_write_buffer(&mut large, CL_BLOCKING, 0, &contents, &[])? };
        let written = start.elapsed();
        let start = Instant::now();
        // SAFETY: as above.
        unsafe { queue.enqueue_read_buffer(&large, CL_BLOCKING, 0, &mut contents, &[])? };
        if place > 0 {
            write.record(LARGE_BYTES as u64, span(written));
            read.record(LARGE_BYTES as u64, span(start.elapsed()));
        }
    }
    Ok(Direct {
        device: device.name()?,
        no_op: latency(&no_op_times),
        dependent: latency(&dependent),
        independent: latency(&independent),
        write_launch_read: latency(&write_launch_read),
        write: Summary::Rate(write.summary()),
        read: Summary::Rate(read.summary()),
    })
}

/// How fast memory that the process does not have yet takes a GiB: what contents that are kept nowhere cost on top of all else. The
/// rooms are those in which the farm puts contents.
pub fn fresh_memory(effort: Effort) -> anyhow::Result<Summary> {
    let mut rates = Rates::new();
    for _ in 0..effort.huge_repeat().max(4) {
        let start = Instant::now();
        let mut room = Rooms::default().take(HUGE_BYTES).context("no memory for a GiB")?;
        room.resize(HUGE_BYTES, 1);
        std::hint::black_box(room.as_mut_slice());
        rates.record(HUGE_BYTES as u64, span(start.elapsed()));
    }
    Ok(Summary::Rate(rates.summary()))
}
