//! The OpenCL backend against whatever device the host has.

mod backends_harness;

use std::sync::Mutex;

use backends_harness::{Harness, allocate, key, launch, launch_over, part, region, scalar, whole};
use bytes::{BufMut, Bytes};
use isochrone_model::order::BuildOutcome;
use isochrone_model::units::ByteRange;
use isochrone_model::{AddressSpace, BoundArgument, DeviceIndex, NdRange, Span};
use isochrone_node_agent::Backend;
use isochrone_node_agent::backend::{Access, Opened};
use isochrone_node_agent::opencl::{CompletionMode, OpenClBackend, OpenClOptions, list_devices};
use isochrone_sched_core::agent::{OperationError, OperationId, OperationKind};
use isochrone_testbed::has_opencl;

const SOURCE: &str = "
    __kernel void add(__global const uint *left, __global const uint *right, __global uint *sum) {
        size_t i = get_global_id(0);
        sum[i] = left[i] + right[i];
    }
    __kernel void no_op(void) {}
    __kernel void scale(__global uint *data, const uint factor, __local uint *room) {
        size_t i = get_global_id(0);
        room[get_local_id(0)] = data[i];
        data[i] = room[get_local_id(0)] * factor;
    }
    __kernel void slow(__global uint *data, uint rounds) {
        uint value = data[get_global_id(0)];
        for (uint round = 0; round < rounds; round++) value = value * 1664525u + 1013904223u;
        data[get_global_id(0)] = value;
    }
";
const ADD: u16 = 0;
const NO_OP: u16 = 1;
const SCALE: u16 = 2;
const SLOW: u16 = 3;

/// Devices are opened by one test of a process at a time.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

fn each_mode(slots: u16, test: impl Fn(Harness<OpenClBackend>)) {
    let _turn = ONE_AT_A_TIME.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    for (completion, device_times) in
        [(CompletionMode::Callback, true), (CompletionMode::Poller, true), (CompletionMode::Poller, false)]
    {
        let (sink, events) = tokio::sync::mpsc::unbounded_channel();
        // The first device of the host, or of those whose name contains this.
        let device = std::env::var("ISOCHRONE_TEST_OPENCL_DEVICE").ok();
        let options = OpenClOptions { slots, completion, device_times, device, ..OpenClOptions::default() };
        if !has_opencl(&options) {
            return;
        }
        match OpenClBackend::open(&options, sink) {
            Ok(backend) => test(Harness::new(backend, events)),
            Err(error) => panic!("{error}: {:?}", std::error::Error::source(&error)),
        }
    }
}

fn words(values: impl Iterator<Item = u32>) -> Bytes {
    values.flat_map(u32::to_le_bytes).collect::<Vec<u8>>().into()
}

fn built(harness: &mut Harness<OpenClBackend>) {
    assert!(matches!(harness.build(SOURCE, ""), BuildOutcome::Built { .. }));
}

fn reason(outcome: Result<Span, OperationError>) -> String {
    outcome.expect_err("must fail").to_string()
}

#[test]
fn vectors_are_added() {
    each_mode(1, |mut harness| {
        built(&mut harness);
        for number in 1..=3 {
            harness.run(allocate(number, 4_000)).unwrap();
        }
        assert!(harness.download(3, 0, 4_000).iter().all(|byte| *byte == 0), "memory starts as zeros");
        harness.upload(1, 0, words(0..1_000)).unwrap();
        harness.upload(2, 0, words((0..1_000).map(|value| value * 7))).unwrap();
        harness.run(launch(ADD, 1_000, vec![whole(1), whole(2), whole(3)])).unwrap();
        assert_eq!(harness.download(3, 0, 4_000), words((0..1_000).map(|value| value * 8)));
        harness.assert_silence();
    });
}

#[test]
fn builds_tell_signatures_in_order_of_names() {
    each_mode(1, |mut harness| {
        let BuildOutcome::Built { kernels, .. } = harness.build(SOURCE, "-cl-mad-enable") else {
            panic!("does not build")
        };
        let names: Vec<&str> = kernels.iter().map(|kernel| kernel.signature.name.as_str()).collect();
        assert_eq!(names, ["add", "no_op", "scale", "slow"]);
        assert!(kernels.iter().all(|kernel| kernel.work_group_size_max > 0));
        let told: Vec<_> = kernels[usize::from(SCALE)]
            .signature
            .arguments
            .iter()
            .map(|told| (told.name.as_str(), told.type_name.as_str(), told.address_space, told.value_bytes))
            .collect();
        assert_eq!(
            told,
            [
                ("data", "uint*", AddressSpace::Global, None),
                ("factor", "uint", AddressSpace::Private, Some(4)),
                ("room", "uint*", AddressSpace::Local, None),
            ]
        );
        let is_const: Vec<bool> =
            kernels[0].signature.arguments.iter().map(|argument| argument.is_const).collect();
        assert_eq!(is_const, [true, true, false]);
        // Built again, it comes from those kept.
        assert!(matches!(harness.build(SOURCE, "-cl-mad-enable"), BuildOutcome::Built { .. }));
        harness.backend.drop_program(isochrone_model::ProgramKey(1));
        assert!(reason(harness.run(launch(NO_OP, 1, vec![]))).contains("not built"));
    });
}

#[test]
fn failed_builds_bring_the_log() {
    each_mode(1, |mut harness| {
        let BuildOutcome::Failed { log } = harness.build("__kernel void f() { undeclared_name = 1; }", "")
        else {
            panic!("builds")
        };
        assert!(log.contains("undeclared_name"), "{log}");
        let BuildOutcome::Failed { log } = harness.build("__kernel void f(__global unknown_type *x) {}", "")
        else {
            panic!("builds")
        };
        assert!(log.contains("unknown_type"), "{log}");
        let BuildOutcome::Failed { log } = harness.build(SOURCE, "-D \0") else { panic!("builds") };
        assert!(log.contains("NUL"), "{log}");
        // A failure leaves the compiler usable.
        built(&mut harness);
    });
}

#[test]
fn arguments_that_do_not_suit_are_refused() {
    each_mode(1, |mut harness| {
        built(&mut harness);
        harness.run(allocate(1, 64)).unwrap();
        let wide = BoundArgument::Scalar(Bytes::from_static(&[0; 8]));
        let error =
            reason(harness.run(launch(SCALE, 4, vec![whole(1), wide.clone(), BoundArgument::Local(64)])));
        assert!(error.contains("CL_INVALID_ARG_SIZE"), "{error}");
        // Bytes in place of a buffer must never reach the driver.
        let error = reason(harness.run(launch(SCALE, 4, vec![wide, scalar(1), BoundArgument::Local(64)])));
        assert!(error.contains("takes a buffer"), "{error}");
        let error = reason(harness.run(launch(SCALE, 4, vec![whole(1)])));
        assert!(error.contains("takes 3 arguments"), "{error}");
        let error = reason(harness.run(launch(SLOW, 4, vec![whole(9), scalar(1)])));
        assert!(error.contains("not allocated"), "{error}");
        let error = reason(harness.run(launch(40, 4, vec![])));
        assert!(error.contains("no kernel #40"), "{error}");
        // What comes behind failures still runs.
        harness.run(launch(NO_OP, 1, vec![])).unwrap();
        harness.assert_silence();
    });
}

#[test]
fn index_spaces_that_do_not_suit_are_refused() {
    each_mode(1, |mut harness| {
        built(&mut harness);
        let largest = harness.backend.devices()[0].work_group_size_max;
        let too_large = NdRange::linear(largest * 4).with_local(&[largest * 2]).unwrap();
        let mut flat = NdRange::linear(4);
        flat.dimensions = 4;
        for range in [too_large, NdRange::linear(0), flat] {
            let outcome = harness.run(launch_over(NO_OP, range, vec![]));
            assert!(matches!(outcome, Err(OperationError::NdRange { .. })), "{range:?}: {outcome:?}");
        }
        let suits = NdRange::new(&[8, 4]).unwrap().with_local(&[4, 2]).unwrap().with_offset(&[1, 2]).unwrap();
        harness.run(launch_over(NO_OP, suits, vec![])).unwrap();
        harness.assert_silence();
    });
}

#[test]
fn parts_are_sub_buffers_at_aligned_origins() {
    each_mode(1, |mut harness| {
        built(&mut harness);
        let alignment = harness.backend.devices()[0].sub_buffer_alignment_bytes;
        harness.run(allocate(1, alignment * 4)).unwrap();
        let count = (alignment * 4 / 4) as u32;
        harness.upload(1, 0, words(std::iter::repeat_n(1, count as usize))).unwrap();
        let items = alignment / 4;
        for _ in 0..2 {
            let arguments =
                vec![part(1, alignment, alignment * 2), scalar(3), BoundArgument::Local(4 * items)];
            let range = NdRange::linear(items).with_local(&[items]).unwrap();
            harness.run(launch_over(SCALE, range, arguments)).unwrap();
        }
        let expected = (0..count).map(|word| if (u64::from(word) * 4) / alignment == 1 { 9 } else { 1 });
        assert_eq!(harness.download(1, 0, alignment * 4), words(expected));
        if alignment > 4 {
            let error = reason(harness.run(launch(SLOW, 1, vec![part(1, 4, 8), scalar(1)])));
            assert!(error.contains(&alignment.to_string()) && error.contains("offset"), "{error}");
        }
        let error = reason(harness.run(launch(SLOW, 1, vec![part(1, 0, alignment * 8), scalar(1)])));
        assert!(error.contains("do not lie within"), "{error}");
        // More parts than are kept, then the first again.
        harness.run(allocate(2, alignment * 200)).unwrap();
        for place in (0..200).chain(0..2) {
            let piece = part(2, place * alignment, (place + 1) * alignment);
            harness.run(launch(SLOW, 1, vec![piece, scalar(1)])).unwrap();
        }
        let first = harness.download(2, 0, 4);
        let next = |value: u32| value.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        assert_eq!(first, words(std::iter::once(next(next(0)))));
        harness.assert_silence();
    });
}

#[test]
fn bytes_come_back_as_they_went() {
    each_mode(1, |mut harness| {
        let size = 64 << 20;
        let mut state = 1_u64;
        let bytes: Bytes = (0..size / 8)
            .flat_map(|_| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                state.to_le_bytes()
            })
            .collect::<Vec<u8>>()
            .into();
        harness.run(allocate(1, size)).unwrap();
        harness.upload(1, 0, bytes.clone()).unwrap();
        assert_eq!(harness.download(1, 0, size), bytes);
        // Odd places and lengths, within and between buffers.
        harness.run(allocate(2, 1_001)).unwrap();
        let (source, target) = (key(1), key(2));
        let source_range = ByteRange::new(77, 577);
        let copy = OperationKind::Copy { source, source_range, target, target_offset_bytes: 3 };
        harness.run(copy).unwrap();
        assert_eq!(harness.download(2, 3, 503), bytes.slice(77..577));
        let range = ByteRange::new(504, 1_000);
        let fill = OperationKind::Fill { buffer: key(2), range, pattern: Bytes::from_static(b"abcdefgh") };
        harness.run(fill).unwrap();
        assert_eq!(harness.download(2, 504, 513), Bytes::from_static(b"abcdefgha"));
        assert_eq!(harness.download(2, 1_000, 1_001), Bytes::from_static(&[0]));
        assert_eq!(harness.download(2, 5, 5).len(), 0);
        harness.upload(2, 5, Bytes::new()).unwrap();
        // Out of bounds, and an upload without bytes.
        assert!(reason(harness.upload(2, 1_000, Bytes::from_static(b"ab"))).contains("do not lie within"));
        let error = reason(harness.run(OperationKind::Upload { region: region(2, 0, 4) }));
        assert!(error.contains("without its bytes"), "{error}");
        harness.assert_silence();
    });
}

#[test]
fn regions_are_written_and_read_where_they_lie() {
    each_mode(1, |mut harness| {
        if !harness.backend.shares_memory(DeviceIndex(0)) {
            harness.run(allocate(1, 64)).unwrap();
            let id = harness.open(1, region(1, 0, 64), Access::Read);
            assert!(reason(harness.opened(id).map(|_| Span::ZERO)).contains("its own"));
            return harness.assert_silence();
        }
        built(&mut harness);
        let size = (5 << 20) + 12;
        harness.run(allocate(1, size)).unwrap();
        let pattern = |place: u64| (place * 31 % 251) as u8;
        // Odd places and lengths, a part of the buffer each.
        let ranges = [(0, 1), (3, 10), (4_095, 4_098), (1 << 20, (3 << 20) + 7), (size - 1, size)];
        for (start, end) in ranges {
            let id = harness.open(1, region(1, start, end), Access::Overwrite);
            let Ok(Opened::Room(mut room)) = harness.opened(id) else { panic!("no room") };
            assert_eq!(room.bytes_mut().remaining_mut() as u64, end - start);
            for place in start..end {
                room.bytes_mut().put_slice(&[pattern(place)]);
            }
            assert_eq!(room.bytes_mut().remaining_mut(), 0);
            drop(room);
            harness.end(id).0.unwrap();
        }
        let is_written = |place| ranges.iter().any(|(start, end)| (*start..*end).contains(&place));
        let expected: Vec<u8> =
            (0..size).map(|place| if is_written(place) { pattern(place) } else { 0 }).collect();
        assert!(harness.download(1, 0, size) == expected, "nothing beside the regions is written");
        for (start, end) in ranges.into_iter().chain([(0, size)]) {
            let id = harness.open(1, region(1, start, end), Access::Read);
            let Ok(Opened::Contents(bytes)) = harness.opened(id) else { panic!("no contents") };
            let part = bytes.slice(bytes.len() / 2..);
            assert!(bytes == expected[start as usize..end as usize]);
            drop(bytes);
            assert!(part == expected[(end as usize - part.len())..end as usize], "a part keeps it open");
            drop(part);
            harness.end(id).0.unwrap();
        }
        // What runs next sees it, and what ran before is seen.
        let id = harness.open(1, region(1, 0, 4), Access::Overwrite);
        let Ok(Opened::Room(mut room)) = harness.opened(id) else { panic!("no room") };
        room.bytes_mut().put_slice(&7_u32.to_le_bytes());
        drop(room);
        harness.end(id).0.unwrap();
        harness.run(launch(SLOW, 1, vec![whole(1), scalar(1)])).unwrap();
        let id = harness.open(1, region(1, 0, 4), Access::Read);
        let Ok(Opened::Contents(bytes)) = harness.opened(id) else { panic!("no contents") };
        let next = 7_u32.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        assert_eq!(bytes, words(std::iter::once(next)));
        drop(bytes);
        harness.end(id).0.unwrap();
        harness.assert_silence();
    });
}

#[test]
fn regions_that_cannot_be_opened_say_why() {
    each_mode(1, |mut harness| {
        if !harness.backend.shares_memory(DeviceIndex(0)) {
            return;
        }
        harness.run(allocate(1, 64)).unwrap();
        for (lane, wanted, why) in [
            (1, region(1, 5, 5), ""),
            (1, region(1, 60, 65), "do not lie within"),
            (1, region(2, 0, 4), "not allocated"),
            (9, region(1, 0, 4), "slot"),
        ] {
            let id = harness.open(lane, wanted, Access::Overwrite);
            let error = reason(harness.opened(id).map(|_| Span::ZERO));
            assert!(error.contains(why), "{error}");
        }
        // A region that is open outlives its buffer, and two may be open at one time.
        let (first, second) = (region(1, 0, 32), region(1, 32, 64));
        let first = harness.open(1, first, Access::Overwrite);
        let second = harness.open(1, second, Access::Read);
        let Ok(Opened::Room(mut room)) = harness.opened(first) else { panic!("no room") };
        let Ok(Opened::Contents(contents)) = harness.opened(second) else { panic!("no contents") };
        let freed = harness.give(0, OperationKind::Free { buffer: key(1) }, None);
        harness.end(freed).0.unwrap();
        room.bytes_mut().put_slice(&[1; 32]);
        assert_eq!(contents, Bytes::from_static(&[0; 32]));
        drop((room, contents));
        harness.end(first).0.unwrap();
        harness.end(second).0.unwrap();
        harness.assert_silence();
    });
}

#[test]
fn one_slot_keeps_the_order() {
    each_mode(1, |mut harness| {
        built(&mut harness);
        harness.run(allocate(1, 4)).unwrap();
        let mut given = Vec::new();
        let mut last = OperationId(0);
        for round in 0_u32..200 {
            let bytes = words(std::iter::once(round));
            given.push(harness.give(0, OperationKind::Upload { region: region(1, 0, 4) }, Some(bytes)));
            given.push(harness.give(0, launch(SLOW, 1, vec![whole(1), scalar(round)]), None));
            last = harness.give(0, OperationKind::Download { region: region(1, 0, 4) }, None);
            given.push(last);
        }
        let mut expected = 199_u32;
        for _ in 0..199 {
            expected = expected.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        }
        let (outcome, downloaded) = harness.end(last);
        outcome.unwrap();
        assert_eq!(downloaded.unwrap().1, words(std::iter::once(expected)));
        for id in given.into_iter().filter(|id| *id != last) {
            harness.end(id).0.unwrap();
        }
        harness.assert_silence();
    });
}

#[test]
fn two_slots_work_side_by_side() {
    each_mode(2, |mut harness| {
        built(&mut harness);
        assert_eq!(harness.backend.devices()[0].slots, 2);
        for number in 1..=2 {
            harness.run(allocate(number, 4_096)).unwrap();
        }
        let mut given = Vec::new();
        for _ in 0..100 {
            for slot in 0..2 {
                let buffer = u64::from(slot) + 1;
                given.push(harness.give(slot, launch(SLOW, 64, vec![whole(buffer), scalar(10)]), None));
            }
        }
        for id in given {
            harness.end(id).0.unwrap();
        }
        assert_eq!(harness.download(1, 0, 4_096), harness.download(2, 0, 4_096));
        // Beside the slots there is a lane for moving bytes, and nothing beyond it.
        let words = words(std::iter::once(7));
        let up = harness.give(2, OperationKind::Upload { region: region(1, 8, 12) }, Some(words.clone()));
        let down = harness.give(2, OperationKind::Download { region: region(1, 8, 12) }, None);
        harness.end(up).0.unwrap();
        assert_eq!(harness.end(down).1.map(|(_, bytes)| bytes), Some(words));
        let beyond = harness.give(3, launch(NO_OP, 1, vec![]), None);
        assert!(reason(harness.end(beyond).0).contains("slot"));
        harness.assert_silence();
    });
}

#[test]
fn buffers_may_be_freed_behind_their_last_use() {
    each_mode(1, |mut harness| {
        built(&mut harness);
        let mut given = Vec::new();
        for _ in 0..20 {
            given.push(harness.give(0, allocate(1, 1 << 20), None));
            given.push(harness.give(0, launch(SLOW, 1 << 18, vec![whole(1), scalar(50)]), None));
            given.push(harness.give(0, launch(SLOW, 4, vec![part(1, 0, 4_096), scalar(50)]), None));
            given.push(harness.give(0, OperationKind::Free { buffer: key(1) }, None));
        }
        for id in given {
            harness.end(id).0.unwrap();
        }
        assert!(reason(harness.run(OperationKind::Free { buffer: key(1) })).contains("not allocated"));
        harness.assert_silence();
    });
}

#[test]
fn ten_thousand_launches_end_once_each() {
    each_mode(1, |mut harness| {
        built(&mut harness);
        let ids: Vec<_> = (0..10_000).map(|_| harness.give(0, launch(NO_OP, 1, vec![]), None)).collect();
        for id in ids {
            harness.end(id).0.unwrap();
        }
        harness.assert_silence();
    });
}

#[test]
fn a_backend_may_go_while_commands_run() {
    each_mode(1, |mut harness| {
        built(&mut harness);
        harness.give(0, allocate(1, 1 << 20), None);
        for _ in 0..20 {
            harness.give(0, launch(SLOW, 1 << 16, vec![whole(1), scalar(200)]), None);
            harness.give(0, OperationKind::Download { region: region(1, 0, 1 << 20) }, None);
        }
        drop(harness);
    });
}

#[test]
fn too_much_memory_is_refused() {
    each_mode(1, |mut harness| {
        let size_bytes = harness.backend.devices()[0].buffer_bytes_max.saturating_mul(64);
        assert!(harness.run(allocate(1, size_bytes)).is_err());
        assert!(harness.run(allocate(2, 0)).is_err());
        harness.run(allocate(3, 16)).unwrap();
        harness.assert_silence();
    });
}

#[test]
fn filters_choose_devices() {
    let _turn = ONE_AT_A_TIME.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    if !has_opencl(&OpenClOptions::default()) {
        return;
    }
    let devices = list_devices(&OpenClOptions::default()).unwrap();
    for device in &devices {
        assert!(!device.name.is_empty() && device.memory_bytes > 0 && device.slots == 1);
        assert!(device.sub_buffer_alignment_bytes.is_power_of_two() && device.prior_items_per_us > 0);
        println!("{device:?}");
    }
    let named = OpenClOptions { device: Some(devices[0].name.to_uppercase()), ..OpenClOptions::default() };
    assert_eq!(list_devices(&named).unwrap()[0], devices[0]);
    let none = OpenClOptions { platform: Some("no such platform".to_owned()), ..OpenClOptions::default() };
    let error = list_devices(&none).unwrap_err();
    assert!(error.to_string().contains(&devices[0].name), "{error}");
}
