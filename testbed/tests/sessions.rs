//! What a session holds and what it lets go, on a whole farm of modelled devices; its own policy; what a farm keeps
//! of what it has measured.

use std::collections::BTreeMap;
use std::time::Duration;

use isochrone_client::{Farm as Client, Session, SessionOptions, Span};
use isochrone_model::units::BytesPerSecond;
use isochrone_node_agent::virtual_devices::{VirtualDevice, VirtualOptions};
use isochrone_testbed::{Devices, Farm, FarmOptions};

const TIMEOUT: Duration = Duration::from_secs(60);

const SOURCE: &str = "kernel void wait(global int *values) {}";

async fn within<F: IntoFuture>(future: F) -> F::Output {
    tokio::time::timeout(TIMEOUT, future.into_future()).await.expect("not within a minute")
}

/// Looks again until what must come to be has.
async fn until(mut is_so: impl AsyncFnMut() -> bool) {
    within(async {
        while !is_so().await {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
}

/// One modelled device of 32 MiB: agents report changes of a hundredth and more.
fn small() -> Devices {
    let device = VirtualDevice::new("small", 1_000, 32 << 20, BytesPerSecond(10_000_000_000));
    Devices::Virtual(VirtualOptions { devices: vec![device], spin: false, seed: 0 })
}

async fn used_bytes(client: &Client) -> u64 {
    client.devices().await.unwrap().iter().map(|device| device.memory_used_bytes).sum()
}

async fn live_buffers(client: &Client) -> u32 {
    client.status().await.unwrap().sessions.iter().map(|session| session.buffers).sum()
}

/// Launches on `count` buffers of 1 MiB, each of which is then in the memory of a device.
async fn filled(session: &Session, count: usize) -> Vec<isochrone_client::Buffer> {
    let program = session.program(SOURCE).build();
    let buffers: Vec<_> = (0..count).map(|_| session.buffer(1 << 20)).collect();
    for buffer in &buffers {
        within(session.launch(&program, "wait").range([16]).buffer(buffer).enqueue()).await.unwrap();
    }
    buffers
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dropping_buffers_and_sessions_releases_what_they_held() {
    let farm = within(Farm::start(FarmOptions::in_process().agents(2, &small()))).await.unwrap();
    let client = within(farm.connect()).await.unwrap();
    let first = within(client.session(SessionOptions::new())).await.unwrap();
    let second = within(client.session(SessionOptions::new())).await.unwrap();
    let mut of_first = filled(&first, 4).await;
    let of_second = filled(&second, 2).await;
    until(async || used_bytes(&client).await >= 6 << 20).await;
    assert_eq!(live_buffers(&client).await, 6);

    // A buffer that a command still uses is let go after it.
    let last = of_first.pop().unwrap();
    let fill = first.fill(&last, 7_u8).enqueue();
    let read = first.read(&last).range(0..4).enqueue();
    drop(last);
    within(fill).await.unwrap();
    assert_eq!(within(read).await.unwrap(), vec![7_u8; 4]);
    until(async || live_buffers(&client).await == 5).await;
    drop(of_first);
    until(async || live_buffers(&client).await == 2).await;
    until(async || used_bytes(&client).await <= 2 << 20).await;

    // Dropped with commands under way: they are given up, and nothing of it is left.
    let program = second.program(SOURCE).build();
    for buffer in &of_second {
        second.launch(&program, "wait").range([1 << 30]).buffer(buffer).enqueue();
        second.launch(&program, "wait").range([1 << 30]).buffer(buffer).enqueue();
    }
    drop((program, of_second));
    drop(second);
    until(async || client.status().await.unwrap().sessions.len() == 1).await;
    until(async || used_bytes(&client).await == 0).await;

    // The other session has noticed nothing.
    let again = first.buffer_from([1_u32, 2, 3]);
    assert_eq!(within(first.read(&again).enqueue().to_vec::<u32>()).await, Ok(vec![1, 2, 3]));
    drop(again);
    within(first.close()).await.unwrap();
    within(client.close()).await;
    within(farm.stop()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_session_is_placed_by_its_own_policy() {
    let options = FarmOptions::in_process().policy("eager").agents(3, &Devices::modelled(1));
    let farm = within(Farm::start(options)).await.unwrap();
    let client = within(farm.connect()).await.unwrap();
    let labels = ["round-robin", "random(seed=5)", "eager", "locality", "heft", "latency-eft"];
    for label in labels {
        let session = within(client.session(SessionOptions::new().policy(label))).await.unwrap();
        let program = session.program(SOURCE).build();
        let mut places = Vec::new();
        for _ in 0..3 {
            let buffer = session.buffer(64);
            let launch = session.launch(&program, "wait").range([16]).buffer(&buffer).enqueue();
            within(&launch).await.unwrap();
            let decision = within(session.explain(&launch)).await.unwrap().decision.expect("it was placed");
            assert!(decision.policy.starts_with(label), "{}", decision.policy);
            places.push(decision.chosen);
        }
        places.sort();
        places.dedup();
        if label == "round-robin" {
            assert_eq!(places.len(), 3, "{places:?}");
        }
        let shown = within(client.status()).await.unwrap();
        assert_eq!(shown.policy, "eager", "the farm's own stays");
        assert!(shown.sessions.iter().any(|session| session.policy.starts_with(label)), "{shown:?}");
        drop(program);
        within(session.close()).await.unwrap();
    }
    within(client.close()).await;
    within(farm.stop()).await;
}

/// What a new farm in `folder` expects of a launch that it has not run, and how long it took.
async fn expected_and_taken(folder: &std::path::Path, launches: usize) -> (Span, Span) {
    // A thousand times slower than it says of itself.
    let mut device = VirtualDevice::new("optimist", 1_000, 1 << 30, BytesPerSecond(10_000_000_000));
    device.costs = BTreeMap::from([("wait".to_owned(), 1)]);
    let devices = Devices::Virtual(VirtualOptions { devices: vec![device], spin: false, seed: 0 });
    let options = FarmOptions::in_process().agents(1, &devices).directory(folder).keep_costs();
    let farm = within(Farm::start(options)).await.unwrap();
    let client = within(farm.connect()).await.unwrap();
    let session = within(client.session(SessionOptions::new())).await.unwrap();
    let program = session.program(SOURCE).build();
    let buffer = session.buffer(64);
    let first = session.launch(&program, "wait").range([10_000]).buffer(&buffer).enqueue();
    let taken = within(&first).await.unwrap();
    let decision = within(session.explain(&first)).await.unwrap().decision.expect("it was placed");
    for _ in 1..launches {
        within(session.launch(&program, "wait").range([10_000]).buffer(&buffer).enqueue()).await.unwrap();
    }
    drop((program, buffer));
    within(session.close()).await.unwrap();
    within(client.close()).await;
    within(farm.stop()).await;
    (decision.candidates[0].execution, taken)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_farm_that_comes_back_knows_what_it_had_measured() {
    let folder = tempfile::tempdir().unwrap();
    let (expected, taken) = expected_and_taken(folder.path(), 10).await;
    assert!(taken >= Span::from_millis(10), "{taken}");
    assert!(expected < Span::from_millis(1), "all it has is the device's word: {expected}");
    let (expected, _) = expected_and_taken(folder.path(), 1).await;
    assert!(expected >= Span::from_millis(9) && expected <= Span::from_millis(20), "{expected}");
}
