//! A farm in this process really runs: bytes move, kernels compute where there is OpenCL.

use std::time::Duration;

use isochrone_client::{CommandError, SessionOptions};
use isochrone_model::DeviceKind;
use isochrone_node_agent::opencl::OpenClOptions;
use isochrone_testbed::{Counters, Devices, Farm, FarmError, FarmOptions, Member, has_opencl};

const TIMEOUT: Duration = Duration::from_secs(60);

async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(TIMEOUT, future).await.expect("not within a minute")
}

/// Processors by OpenCL, where this host has one.
fn processors() -> Option<Devices> {
    let options = OpenClOptions { kinds: vec![DeviceKind::Cpu], ..OpenClOptions::default() };
    has_opencl(&options).then_some(Devices::OpenCl(options))
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_move_through_a_farm_of_modelled_devices() {
    within(async {
        let farm = Farm::start(FarmOptions::in_process().agents(3, &Devices::modelled(1))).await.unwrap();
        let client = farm.connect().await.unwrap();
        assert_eq!(client.devices().await.unwrap().len(), 3);
        let session = client.session(SessionOptions::new()).await.unwrap();

        let contents: Vec<u8> = (0..1_000_000_u32).map(|value| (value % 251) as u8).collect();
        let first = session.buffer_from(&contents);
        let second = session.buffer(contents.len() as u64);
        session.copy(&first, &second).range(1_000..900_000).to_offset(2_000).enqueue();
        session.fill(&second, 0xa5_u8).range(500..700).enqueue();
        session.write(&second, 999_990, [1_u8, 2, 3]).enqueue();
        let read = session.read(&second).enqueue().await.unwrap();

        let mut expected = vec![0; contents.len()];
        expected[2_000..901_000].copy_from_slice(&contents[1_000..900_000]);
        expected[500..700].fill(0xa5);
        expected[999_990..999_993].copy_from_slice(&[1, 2, 3]);
        assert!(*read == expected[..]);
        assert_eq!(session.read(&first).range(250..252).enqueue().to_vec::<u8>().await.unwrap(), [250, 0]);

        session.close().await.unwrap();
        client.close().await;
        farm.stop().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn vectors_are_added_on_three_agents() {
    let Some(devices) = processors() else { return };
    within(async {
        let options = FarmOptions::in_process().policy("round-robin").agents(3, &devices);
        let farm = Farm::start(options).await.unwrap();
        let client = farm.connect().await.unwrap();
        let before = Counters::now(&client).await.unwrap();
        let session = client.session(SessionOptions::new()).await.unwrap();
        let program = session
            .program(
                "kernel void add(global const float *a, global const float *b, global float *c) {
                     size_t i = get_global_id(0);
                     c[i] = a[i] + b[i];
                 }",
            )
            .build();
        let count = 10_000_u64;
        let mut sums = Vec::new();
        for part in 0..6_u8 {
            let numbers = |scale: f32| (0..count).map(|value| value as f32 * scale).collect::<Vec<f32>>();
            let a = session.buffer_from(&numbers(1.0));
            let b = session.buffer_from(&numbers(f32::from(part)));
            let c = session.buffer_of::<f32>(count);
            session.launch(&program, "add").range([count]).buffer(&a).buffer(&b).buffer(&c).enqueue();
            sums.push(session.read(&c).enqueue());
        }
        for (part, sum) in (0_u8..).zip(&sums) {
            let sum = sum.to_vec::<f32>().await.unwrap();
            let scale = 1.0 + f32::from(part);
            assert!((0..count).zip(&sum).all(|(value, sum)| *sum == value as f32 * scale), "part {part}");
        }
        session.close().await.unwrap();
        let used = before.until(&Counters::when_quiet(&client).await.unwrap());
        assert!(used.devices.iter().all(|device| device.commands > 0), "{used:?}");
        client.close().await;
        farm.stop().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_agent_leaves_and_the_rest_goes_on() {
    within(async {
        let options = FarmOptions::in_process().agents(2, &Devices::modelled(1));
        let mut farm = Farm::start(options).await.unwrap();
        let client = farm.connect().await.unwrap();
        farm.kill_agent(0).await.unwrap();
        assert!(matches!(farm.kill_agent(9).await, Err(FarmError::NoAgent { number: 9, agents: 2 })));
        while client.status().await.unwrap().agents.len() > 1 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let session = client.session(SessionOptions::new()).await.unwrap();
        let buffer = session.buffer_from([7_u32; 4]);
        assert_eq!(session.read(&buffer).enqueue().to_vec::<u32>().await.unwrap(), [7; 4]);
        session.close().await.unwrap();
        client.close().await;
        farm.stop().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_that_builds_nowhere_fails_its_launch_and_what_depends_on_it_alone() {
    let Some(devices) = processors() else { return };
    within(async {
        let farm = Farm::start(FarmOptions::in_process().agents(2, &devices)).await.unwrap();
        let client = farm.connect().await.unwrap();
        let session = client.session(SessionOptions::new()).await.unwrap();
        let broken = session.program("kernel void broken(global int *x) { x[0] = missing; }").build();
        let (target, other) = (session.buffer_of::<i32>(1), session.buffer_from([5_i32]));
        let launch = session.launch(&broken, "broken").buffer(&target).enqueue();
        let dependent = session.read(&target).enqueue();
        let unrelated = session.read(&other).enqueue();
        match launch.await {
            Err(CommandError::BuildFailed { logs }) => {
                assert!(logs.iter().any(|log| log.log.contains("missing")), "{logs:?}");
            }
            other => panic!("not a failed build: {other:?}"),
        }
        assert!(matches!(dependent.await, Err(CommandError::Dependency { .. })));
        assert_eq!(unrelated.to_vec::<i32>().await.unwrap(), [5]);
        drop(session);
        client.close().await;
        farm.stop().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_binary_that_ends_at_once_is_named_with_its_log() {
    let error = within(Farm::start(FarmOptions::processes("/bin/false"))).await.unwrap_err();
    assert!(matches!(error, FarmError::Ended { member: Member::Scheduler, .. }), "{error}");
    let error = within(Farm::start(FarmOptions::processes("/nowhere/isochrone"))).await.unwrap_err();
    assert!(matches!(error, FarmError::Spawn { .. }), "{error}");
}
