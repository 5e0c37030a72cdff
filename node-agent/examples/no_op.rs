//! The time from giving an empty kernel to a device until its end is told, for both ways of noticing it;
//! then how long giving a large transfer holds up the driver's thread, and how long the transfer takes.
//!
//! Arguments: how many launches (10,000 by default), and a part of the device's name.

#![expect(clippy::disallowed_methods, reason = "what is measured here is time")]

use std::time::{Duration, Instant};

use bytes::Bytes;
use isochrone_model::order::BuildOutcome;
use isochrone_model::units::ByteRange;
use isochrone_model::{BufferKey, DeviceIndex, KernelIndex, NdRange, ProgramKey, Region, SlotIndex, Version};
use isochrone_node_agent::opencl::{CompletionMode, OpenClBackend, OpenClOptions};
use isochrone_node_agent::{Backend, BackendEvent};
use isochrone_sched_core::agent::{Operation, OperationId, OperationKind};
use tokio::sync::mpsc::UnboundedReceiver;

type Failure = Box<dyn std::error::Error>;

fn main() -> Result<(), Failure> {
    let mut arguments = std::env::args().skip(1);
    let count = arguments.next().map_or(Ok(10_000), |count| count.parse())?;
    let device = arguments.next();
    for (completion, device_times) in [
        (CompletionMode::Callback, true),
        (CompletionMode::Callback, false),
        (CompletionMode::Poller, true),
        (CompletionMode::Poller, false),
    ] {
        let (sink, mut events) = tokio::sync::mpsc::unbounded_channel();
        let options =
            OpenClOptions { completion, device_times, device: device.clone(), ..OpenClOptions::default() };
        let mut backend = OpenClBackend::open(&options, sink)?;
        backend.build(ProgramKey(0), "__kernel void no_op(void) {}", "");
        for _ in 0..backend.devices().len() {
            wait_for_build(&mut events)?;
        }
        for has_spinning_driver in [false, true] {
            let (mut spans, mut enqueues) = measure(&mut backend, &mut events, count, has_spinning_driver)?;
            let name = &backend.devices()[0].name;
            let driver = if has_spinning_driver { "spins" } else { "sleeps" };
            println!(
                "{name}, {completion:?}, device times {device_times}, driver {driver}: to the event p50 {:.1} us, p99 {:.1} us; enqueue and flush p50 {:.1} us",
                quantile(&mut spans, 0.5),
                quantile(&mut spans, 0.99),
                quantile(&mut enqueues, 0.5),
            );
        }
        let start = Instant::now();
        for id in 0..count {
            launch(&mut backend, id);
        }
        backend.flush();
        for _ in 0..count {
            wait_for_end(&mut events, false)?;
        }
        let each = start.elapsed().as_secs_f64() * 1e6 / count as f64;
        println!("{completion:?}: {count} in a row, {each:.2} us each");
        if device_times {
            measure_transfers(&mut backend, &mut events)?;
        }
    }
    Ok(())
}

fn measure(
    backend: &mut OpenClBackend,
    events: &mut UnboundedReceiver<BackendEvent>,
    count: u64,
    has_spinning_driver: bool,
) -> Result<(Vec<Duration>, Vec<Duration>), Failure> {
    let (mut spans, mut enqueues) = (Vec::new(), Vec::new());
    // The first launches compile and warm up.
    for id in 0..count + 100 {
        let start = Instant::now();
        launch(backend, id);
        backend.flush();
        let enqueued = start.elapsed();
        wait_for_end(events, has_spinning_driver)?;
        if id >= 100 {
            spans.push(start.elapsed());
            enqueues.push(enqueued);
        }
    }
    Ok((spans, enqueues))
}

fn measure_transfers(
    backend: &mut OpenClBackend,
    events: &mut UnboundedReceiver<BackendEvent>,
) -> Result<(), Failure> {
    let size_bytes = 64 << 20;
    let buffer = BufferKey::default();
    let region = Region { buffer, range: ByteRange::new(0, size_bytes), version: Version(0) };
    let bytes = Bytes::from(vec![1; 64 << 20]);
    for _ in 0..3 {
        for (name, kind, upload) in [
            ("allocate", OperationKind::Allocate { buffer, size_bytes }, None),
            ("upload", OperationKind::Upload { region }, Some(bytes.clone())),
            ("download", OperationKind::Download { region }, None),
            ("free", OperationKind::Free { buffer }, None),
        ] {
            let start = Instant::now();
            let (device, slot) = (DeviceIndex(0), SlotIndex(0));
            backend.perform(Operation { id: OperationId(0), device, slot, kind }, upload);
            let given = start.elapsed();
            backend.flush();
            let flushed = start.elapsed();
            wait_for_end(events, false)?;
            println!(
                "{name} of 64 MiB: given in {given:.1?}, flushed at {flushed:.1?}, ended at {:.1?}",
                start.elapsed()
            );
        }
    }
    Ok(())
}

fn launch(backend: &mut OpenClBackend, id: u64) {
    let kind = OperationKind::Launch {
        program: ProgramKey(0),
        kernel: KernelIndex(0),
        range: NdRange::linear(1),
        arguments: Vec::new().into(),
    };
    let operation = Operation { id: OperationId(id), device: DeviceIndex(0), slot: SlotIndex(0), kind };
    backend.perform(operation, None);
}

fn wait_for_build(events: &mut UnboundedReceiver<BackendEvent>) -> Result<(), Failure> {
    match events.blocking_recv() {
        Some(BackendEvent::Built { outcome: BuildOutcome::Built { .. }, .. }) => Ok(()),
        other => Err(format!("the kernel does not build: {other:?}").into()),
    }
}

fn wait_for_end(events: &mut UnboundedReceiver<BackendEvent>, has_spin: bool) -> Result<(), Failure> {
    let mut event = events.try_recv().ok();
    while event.is_none() {
        event = if has_spin { events.try_recv().ok() } else { Some(events.blocking_recv().ok_or("closed")?) };
    }
    match event {
        Some(BackendEvent::Done { done, .. }) => Ok(done.outcome.map(|_| ())?),
        other => Err(format!("not the end of a launch: {other:?}").into()),
    }
}

fn quantile(spans: &mut [Duration], quantile: f64) -> f64 {
    spans.sort_unstable();
    let place = ((spans.len() as f64 * quantile) as usize).min(spans.len().saturating_sub(1));
    spans.get(place).map_or(0.0, |span| span.as_secs_f64() * 1e6)
}
