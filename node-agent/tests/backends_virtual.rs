//! The virtual backend: modelled time, real bytes.

#![expect(clippy::disallowed_methods, reason = "what is measured here is time")]

mod backends_harness;

use std::time::{Duration, Instant};

use backends_harness::{Harness, allocate, key, launch, launch_over, part, region, scalar, whole};
use bytes::Bytes;
use isochrone_model::order::BuildOutcome;
use isochrone_model::units::{ByteRange, BytesPerSecond, Span};
use isochrone_model::{BoundArgument, DeviceIndex, DeviceKind, NdRange};
use isochrone_node_agent::Backend;
use isochrone_node_agent::backend::Access;
use isochrone_node_agent::virtual_devices::{VirtualBackend, VirtualDevice, VirtualOptions};
use isochrone_sched_core::agent::{OperationError, OperationId, OperationKind};

const SOURCE: &str = "
    __kernel void busy(__global float *data, uint n) { data[0] = n; }
    __kernel void idle(void) {}
";
const BUSY: u16 = 0;
const IDLE: u16 = 1;

fn open(change: impl Fn(&mut VirtualOptions)) -> Harness<VirtualBackend> {
    let (sink, events) = tokio::sync::mpsc::unbounded_channel();
    let device = VirtualDevice::new("modelled", 100, 1 << 30, BytesPerSecond(1_000_000_000));
    let mut options = VirtualOptions { devices: vec![device], ..VirtualOptions::default() };
    change(&mut options);
    let mut harness = Harness::new(VirtualBackend::open(&options, sink).unwrap(), events);
    assert!(matches!(harness.build(SOURCE, ""), BuildOutcome::Built { .. }));
    harness
}

#[test]
fn launches_take_the_modelled_time() {
    for spin in [false, true] {
        let mut harness = open(|options| {
            options.spin = spin;
            options.devices[0].costs.insert("idle".to_owned(), 1);
        });
        assert_eq!(harness.backend.devices()[0].kind, DeviceKind::Virtual);
        harness.run(allocate(1, 64)).unwrap();
        let start = Instant::now();
        let span = harness.run(launch(BUSY, 100_000, vec![whole(1), scalar(1)])).unwrap();
        let elapsed = start.elapsed();
        assert_eq!(span, Span::from_micros(8 + 1_000));
        assert!(elapsed >= Duration::from(span), "{elapsed:?}");
        // `idle` has a speed of its own.
        assert_eq!(harness.run(launch(IDLE, 500, vec![])).unwrap(), Span::from_micros(508));
        harness.assert_silence();
    }
}

#[test]
fn memory_that_is_modelled_is_not_lent() {
    let mut harness = open(|_| {});
    assert!(!harness.backend.shares_memory(DeviceIndex(0)), "what moves takes modelled time");
    harness.run(allocate(1, 64)).unwrap();
    for access in [Access::Read, Access::Overwrite] {
        let id = harness.open(0, region(1, 0, 64), access);
        let Err(error) = harness.opened(id) else { panic!("it was lent") };
        assert!(error.to_string().contains("its own"), "{error}");
    }
    harness.assert_silence();
}

#[test]
fn a_lane_is_in_order_and_lateness_does_not_add_up() {
    let mut harness = open(|_| {});
    let start = Instant::now();
    let ids: Vec<_> = (0..200).map(|_| harness.give(0, launch(IDLE, 10_000, vec![]), None)).collect();
    for id in &ids {
        assert_eq!(harness.end(*id).0, Ok(Span::from_micros(108)));
    }
    let elapsed = start.elapsed();
    assert_eq!(harness.order, ids);
    assert!(elapsed >= Duration::from_micros(200 * 108), "{elapsed:?}");
    // A sleep for each that is late by itself would take half as long again; leave room for a busy host.
    assert!(elapsed < Duration::from_millis(200), "{elapsed:?}");
    harness.assert_silence();
}

#[test]
fn lanes_and_devices_run_side_by_side() {
    let mut harness = open(|options| {
        options.devices[0].slots = 2;
        options.devices[0].count = 50;
    });
    let start = Instant::now();
    let ids: Vec<OperationId> = (0..50)
        .flat_map(|device| (0..2).map(move |slot| (DeviceIndex(device), slot)))
        .map(|(device, slot)| harness.give_to(device, slot, launch(IDLE, 5_000_000, vec![]), None))
        .collect();
    for id in ids {
        harness.end(id).0.unwrap();
    }
    let elapsed = start.elapsed();
    assert!(elapsed >= Duration::from_millis(50), "{elapsed:?}");
    assert!(
        elapsed < Duration::from_millis(2_500),
        "a hundred lanes one after another take 5 s: {elapsed:?}"
    );
    harness.assert_silence();
}

#[test]
fn bytes_are_moved_for_real_and_in_order() {
    let mut harness = open(|options| options.devices[0].slots = 2);
    let size = 8 << 20;
    let bytes: Bytes = (0..size).map(|place: u64| (place % 251) as u8).collect::<Vec<u8>>().into();
    let (large, small) = (key(1), key(2));
    let mut ids = vec![harness.give(0, allocate(1, size), None), harness.give(0, allocate(2, 1_000), None)];
    // Small movements given behind a large one must wait for it; its time runs from when it was given.
    let start = Instant::now();
    ids.push(harness.give(0, OperationKind::Upload { region: region(1, 0, size) }, Some(bytes.clone())));
    let copy = OperationKind::Copy {
        source: large,
        source_range: ByteRange::new(size - 500, size),
        target: small,
        target_offset_bytes: 100,
    };
    ids.push(harness.give(0, copy, None));
    let range = ByteRange::new(0, 100);
    ids.push(harness.give(
        0,
        OperationKind::Fill { buffer: small, range, pattern: Bytes::from_static(b"ab") },
        None,
    ));
    let within = OperationKind::Copy {
        source: small,
        source_range: ByteRange::new(0, 2),
        target: small,
        target_offset_bytes: 998,
    };
    ids.push(harness.give(0, within, None));
    for id in &ids {
        harness.end(*id).0.unwrap();
    }
    assert!(start.elapsed() >= Duration::from_millis(7), "8 MiB at 1 GB/s take 8 ms");
    assert_eq!(harness.order, ids);
    assert_eq!(harness.download(2, 100, 600), bytes.slice(bytes.len() - 500..));
    assert_eq!(harness.download(2, 98, 100), Bytes::from_static(b"ab"));
    assert_eq!(harness.download(2, 600, 1_000), [vec![0; 398], b"ab".to_vec()].concat());
    assert_eq!(harness.download(1, 0, size), bytes);
    // Memory that nothing was written to reads as zeros.
    harness.run(allocate(3, 16)).unwrap();
    assert_eq!(harness.download(3, 0, 16), Bytes::from_static(&[0; 16]));
    harness.upload(3, 4, Bytes::from_static(b"stay")).unwrap();
    harness.run(launch(BUSY, 1, vec![whole(3), scalar(1)])).unwrap();
    assert_eq!(&harness.download(3, 0, 12)[..], b"\0\0\0\0stay\0\0\0\0", "a launch changes no byte");
    harness.assert_silence();
}

#[test]
fn what_a_driver_would_refuse_is_refused() {
    let mut harness = open(|options| {
        options.devices[0].memory_bytes = 1_000;
        options.devices[0].fp64 = false;
    });
    harness.run(allocate(1, 600)).unwrap();
    assert!(matches!(harness.run(allocate(2, 600)), Err(OperationError::OutOfMemory { .. })));
    let wide = BoundArgument::Scalar(Bytes::from_static(&[0; 8]));
    let uneven = NdRange::linear(100).with_local(&[64]).unwrap();
    let refused = [
        launch(BUSY, 1, vec![whole(1), wide]),
        launch(BUSY, 1, vec![whole(2), scalar(1)]),
        launch(BUSY, 1, vec![part(1, 64, 128), scalar(1)]),
        launch(BUSY, 1, vec![part(1, 0, 1_000), scalar(1)]),
        launch(7, 1, vec![]),
        launch_over(IDLE, uneven, vec![]),
        OperationKind::Download { region: region(1, 500, 700) },
        OperationKind::Upload { region: region(1, 0, 4) },
        OperationKind::Free { buffer: key(2) },
        OperationKind::Fill {
            buffer: key(1),
            range: ByteRange::new(0, 3),
            pattern: Bytes::from_static(b"ab"),
        },
        OperationKind::Copy {
            source: key(1),
            source_range: ByteRange::new(0, 10),
            target: key(1),
            target_offset_bytes: 5,
        },
    ];
    for kind in refused {
        assert!(harness.run(kind.clone()).is_err(), "{kind:?}");
    }
    harness.run(OperationKind::Free { buffer: key(1) }).unwrap();
    harness.run(allocate(2, 600)).unwrap();
    let BuildOutcome::Failed { log } = harness.build("kernel void f(double x) {}", "") else {
        panic!("builds")
    };
    assert!(log.contains("double"), "{log}");
    let BuildOutcome::Failed { log } = harness.build("\nkernel void f(float *x) {}", "") else {
        panic!("builds")
    };
    assert!(log.starts_with("line 2:"), "{log}");
    harness.assert_silence();
}

#[test]
fn spread_durations_vary_around_their_mean_and_repeat_by_seed() {
    let spans = |seed| {
        let mut harness = open(|options| {
            options.seed = seed;
            options.devices[0].spread = 0.2;
        });
        let ids: Vec<_> = (0..300).map(|_| harness.give(0, launch(IDLE, 1_000, vec![]), None)).collect();
        ids.into_iter().map(|id| harness.end(id).0.unwrap().0).collect::<Vec<u64>>()
    };
    let first = spans(1);
    let mean = first.iter().sum::<u64>() / 300;
    assert!((17_000..19_000).contains(&mean), "{mean}");
    assert!(first.iter().any(|span| *span < 16_000) && first.iter().any(|span| *span > 20_000));
    assert_eq!(first, spans(1));
    assert_ne!(first, spans(2));
}

#[test]
fn dropping_the_backend_fails_what_is_open() {
    let (sink, mut events) = tokio::sync::mpsc::unbounded_channel();
    let device = VirtualDevice::new("modelled", 1, 1 << 20, BytesPerSecond(1));
    let options = VirtualOptions { devices: vec![device], ..VirtualOptions::default() };
    let mut backend = VirtualBackend::open(&options, sink).unwrap();
    for id in 1..=3 {
        let kind = if id == 1 {
            allocate(1, 1_000)
        } else {
            OperationKind::Download { region: region(1, 0, 1_000) }
        };
        let operation = isochrone_sched_core::agent::Operation {
            id: OperationId(id),
            device: DeviceIndex(0),
            slot: isochrone_model::SlotIndex(0),
            kind,
        };
        backend.perform(operation, None);
    }
    let start = Instant::now();
    drop(backend);
    assert!(start.elapsed() < Duration::from_secs(5), "1,000 bytes at 1 B/s would take 1,000 s");
    let mut outcomes = Vec::new();
    while let Some(isochrone_node_agent::BackendEvent::Done { done, .. }) = events.blocking_recv() {
        outcomes.push((done.operation.0, done.outcome.is_ok()));
    }
    assert!(outcomes.len() == 3 && outcomes[1..] == [(2, false), (3, false)], "{outcomes:?}");
}
