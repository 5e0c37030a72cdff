//! What a live farm measures of its paths over emulated links, when they change in mid-run, and what that moves.

use std::time::Duration;

use isochrone_client::{Farm as Client, LinkStatus, Program, Session, SessionOptions, Span};
use isochrone_emulator::LinkSettings;
use isochrone_model::BytesPerSecond;
use isochrone_sim::cluster::{Access, LinkSpec, Party, Path, Topology};
use isochrone_testbed::{Devices, Farm, FarmOptions};

const TIMEOUT: Duration = Duration::from_secs(60);
const RATE: BytesPerSecond = BytesPerSecond(12_500_000);
const SOURCE: &str = "kernel void wait(global int *values) {}";
const LEFT: &str = "agent-1";
const RIGHT: &str = "agent-2";

async fn within<F: IntoFuture>(future: F) -> F::Output {
    tokio::time::timeout(TIMEOUT, future.into_future()).await.expect("not within a minute")
}

fn one_way(milliseconds: u64) -> LinkSpec {
    LinkSpec::fixed(Span::from_millis(milliseconds), RATE)
}

/// Two agents; every path of the second one takes 40 ms each way, all others 10.
async fn start() -> (Farm, Client) {
    let path = |milliseconds| Path { link: one_way(milliseconds), is_shared: false };
    let is_far = |party: Party| party == Party::Agent(1);
    let topology = Topology::new(vec![Access::UNLIMITED; 4], vec![path(10), path(40)], |from, to| {
        usize::from(is_far(from) || is_far(to))
    });
    let options =
        FarmOptions::in_process().policy("latency-eft").agents(2, &Devices::modelled(1)).links(topology, 1);
    let farm = within(Farm::start(options)).await.unwrap();
    let client = within(farm.connect()).await.unwrap();
    (farm, client)
}

/// Looks until what is known of the paths is as it must come to be.
async fn until(client: &Client, is_so: impl Fn(&[LinkStatus]) -> bool) -> Vec<LinkStatus> {
    within(async {
        loop {
            let links = client.links().await.unwrap();
            if is_so(&links) {
                return links;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await
}

fn link<'a>(links: &'a [LinkStatus], from: &str, to: &str) -> Option<&'a LinkStatus> {
    links.iter().find(|link| link.from == from && link.to == to)
}

/// The round trip that estimates count with.
fn level(links: &[LinkStatus], from: &str, to: &str) -> Option<Span> {
    Some(link(links, from, to)?.round_trip?.level)
}

/// Launches once, waits, and gives the agent that it was placed on.
async fn launch(session: &Session, program: &Program) -> String {
    let buffer = session.buffer(16);
    let launch = session.launch(program, "wait").range([4]).buffer(&buffer).enqueue();
    within(&launch).await.unwrap();
    let explanation = within(session.explain(&launch)).await.unwrap();
    let chosen = explanation.decision.expect("a policy placed it").chosen;
    chosen.split('/').next().expect("agent/device/slot").to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_path_that_becomes_slow_in_mid_run_is_seen_and_work_goes_elsewhere() {
    let (farm, client) = start().await;
    let session = within(client.session(SessionOptions::new())).await.unwrap();
    let program = session.program(SOURCE).build();
    for _ in 0..20 {
        launch(&session, &program).await;
    }
    for _ in 0..5 {
        assert_eq!(launch(&session, &program).await, LEFT, "the nearer one");
    }
    let links = within(client.links()).await.unwrap();
    assert!(level(&links, "scheduler", LEFT) >= Some(Span::from_millis(20)));
    assert!(level(&links, "scheduler", RIGHT) >= Some(Span::from_millis(80)));
    let slow = one_way(80);
    let settings = LinkSettings { wire: slow.wire(), queue: LinkSpec::queue(RATE, Span::from_millis(160)) };
    let left = Party::Agent(0).place();
    for other in (0..4).filter(|other| *other != left) {
        for (from, to) in [(left, other), (other, left)] {
            farm.emulator().unwrap().change(from, to, settings.clone()).unwrap();
        }
    }
    let mut launches = 0;
    while launch(&session, &program).await == LEFT {
        launches += 1;
    }
    // Each of these took 90 ms or more to be told of: one second, and some slack.
    assert!(launches <= 15, "{launches} launches went to where they take long");
    println!("{launches} launches until the change was seen");
    for _ in 0..5 {
        assert_eq!(launch(&session, &program).await, RIGHT, "and no more to the slow one");
    }
    let links = within(client.links()).await.unwrap();
    let changed = link(&links, "scheduler", LEFT).unwrap();
    let round_trip = changed.round_trip.unwrap();
    assert!(round_trip.level >= Span::from_millis(150) && round_trip.changes >= 1, "{changed:?}");
    within(session.close()).await.unwrap();
    client.close().await;
    farm.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_pair_that_talks_is_in_the_matrix_with_what_its_transfers_tell() {
    let (farm, client) = start().await;
    let session = within(client.session(SessionOptions::new())).await.unwrap();
    let program = session.program(SOURCE).build();
    for _ in 0..8 {
        let buffer = session.buffer_from(vec![7_u8; 2 << 20]);
        within(session.launch(&program, "wait").range([4]).buffer(&buffer).enqueue()).await.unwrap();
    }
    let own = format!("client {}", session.id().unwrap().0);
    let links = until(&client, |links| {
        let uploads = || links.iter().filter(|link| link.from == own);
        let pairs = [("scheduler", LEFT), ("scheduler", RIGHT), (LEFT, RIGHT), (RIGHT, LEFT)];
        pairs.iter().all(|(from, to)| level(links, from, to).is_some())
            && level(links, "scheduler", &own).is_some()
            && uploads().filter(|link| link.round_trip.is_some()).count() == 2
            && uploads().any(|link| link.rate.is_some() && link.rate_samples >= 3)
    })
    .await;
    for (from, to, trip) in [
        ("scheduler", LEFT, 20),
        (LEFT, RIGHT, 80),
        (RIGHT, LEFT, 80),
        (&own, LEFT, 20),
        ("scheduler", &own, 20),
    ] {
        let link = link(&links, from, to).unwrap();
        assert!(link.round_trip.unwrap().least >= Span::from_millis(trip), "{link:?}");
        assert!(link.confidence_percent > 0 && link.age.is_some(), "{link:?}");
    }
    let measured = links.iter().filter(|link| link.from == own && link.rate_samples >= 3);
    for rate in measured.filter_map(|link| link.rate) {
        println!("{} of {} bytes a second", rate.0, RATE.0);
        // Never above what the link carries, by more than a fit's error; below it there is no telling how busy the
        // machine is.
        assert!(rate.0 > RATE.0 / 10 && rate.0 < RATE.0 * 3 / 2, "{rate:?}");
    }
    within(session.close()).await.unwrap();
    until(&client, |links| links.iter().all(|link| link.from != own && link.to != own)).await;
    client.close().await;
    farm.stop().await;
}
