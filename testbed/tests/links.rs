//! A farm whose members are joined by emulated links.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use isochrone_client::SessionOptions;
use isochrone_model::{BytesPerSecond, Span};
use isochrone_sim::cluster::{Cluster, LinkSpec, Topology};
use isochrone_testbed::{Devices, Farm, FarmError, FarmOptions};

#[tokio::test(flavor = "multi_thread")]
async fn all_parties_of_a_farm_talk_over_its_links() {
    let link = LinkSpec::fixed(Span::from_millis(5), BytesPerSecond(100_000_000));
    let options = FarmOptions::in_process()
        .policy("round-robin")
        .agents(2, &Devices::modelled(1))
        .links(Topology::uniform(2, link), 1)
        .log_links(100_000);
    let farm = Farm::start(options).await.unwrap();
    let client = farm.connect().await.unwrap();
    let session = client.session(SessionOptions::new()).await.unwrap();
    let contents: Vec<u8> = (0..100_000_u32).map(|value| (value % 251) as u8).collect();
    let mut reads = Vec::new();
    for _ in 0..4 {
        let (first, second) = (session.buffer_from(&contents), session.buffer(contents.len() as u64));
        session.copy(&first, &second).enqueue();
        reads.push(session.read(&second).enqueue());
    }
    #[expect(clippy::disallowed_methods, reason = "what a test waits for is measured")]
    let started = Instant::now();
    for read in reads {
        assert!(*read.await.unwrap() == contents[..]);
    }
    // There and back, at least.
    assert!(started.elapsed() >= Duration::from_millis(10));
    let emulator = farm.emulator().unwrap();
    let counters = emulator.counters().unwrap();
    let talked = |from: usize, to: usize| {
        counters.iter().any(|pair| (pair.from, pair.to) == (from, to) && pair.counters.delivered > 0)
    };
    for (from, to) in
        [(0, 1), (1, 0), (0, 2), (2, 0), (0, 3), (3, 0), (1, 2), (2, 1), (1, 3), (3, 1), (2, 3), (3, 2)]
    {
        assert!(talked(from, to), "{from} to {to}: {counters:?}");
    }
    assert!(!emulator.take_log().is_empty());
    session.close().await.unwrap();
    client.close().await;
    farm.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn links_of_another_farm_are_refused() {
    let topology = Topology::uniform(3, LinkSpec::LOCAL);
    let options = FarmOptions::in_process().agents(2, &Devices::modelled(1)).links(topology.clone(), 1);
    let error = Farm::start(options).await.unwrap_err();
    assert!(matches!(error, FarmError::LinkParties { parties: 5, agents: 2 }), "{error}");
    let options = FarmOptions::in_process()
        .listen("[::1]:0".parse().unwrap())
        .agents(3, &Devices::modelled(1))
        .links(topology, 1);
    assert!(matches!(Farm::start(options).await, Err(FarmError::LinkAddress { .. })));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_is_had_live_with_its_agents_and_links() {
    let cluster = Cluster::from_label("preset(continent,agents=3,speeds=1:2)").unwrap();
    let options = FarmOptions::in_process().cluster(&cluster, &BTreeMap::new(), 1).unwrap();
    let farm = Farm::start(options).await.unwrap();
    let client = farm.connect().await.unwrap();
    let agents = client.status().await.unwrap().agents;
    assert_eq!(agents.len(), 3);
    // 18 ms at least each way.
    assert!(agents.iter().all(|agent| agent.round_trip >= Span::from_millis(36)), "{agents:?}");
    let session = client.session(SessionOptions::new()).await.unwrap();
    let buffer = session.buffer_from([7_u32; 4]);
    assert_eq!(session.read(&buffer).enqueue().to_vec::<u32>().await.unwrap(), [7; 4]);
    session.close().await.unwrap();
    client.close().await;
    farm.stop().await;
}
