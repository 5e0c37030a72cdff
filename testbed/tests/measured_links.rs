//! What a live farm measures of its paths when these are slow, when they change in mid-run, and what that moves.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use isochrone_client::{ConnectOptions, Farm, LinkStatus, Session, SessionOptions, Span};
use isochrone_model::units::BytesPerSecond;
use isochrone_node_agent::virtual_devices::{VirtualDevice, VirtualOptions};
use isochrone_node_agent::{AgentOptions, BoundAgent};
use isochrone_scheduler::{BoundScheduler, SchedulerOptions};
use isochrone_testbed::Devices;
use isochrone_transport::{Authority, Identity, Role};
use tokio::net::UdpSocket;
use tokio::task::JoinSet;

const TIMEOUT: Duration = Duration::from_secs(60);
const DAY: Duration = Duration::from_secs(86_400);
const DATAGRAM_BYTES_MAX: usize = 1 << 16;
const SOURCE: &str = "kernel void wait(global int *values) {}";

async fn within<F: IntoFuture>(future: F) -> F::Output {
    tokio::time::timeout(TIMEOUT, future.into_future()).await.expect("not within a minute")
}

fn any() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 0))
}

/// Passes datagrams on between any number of dialling sockets and one other, each way some milliseconds later.
struct Relay {
    address: SocketAddr,
    target: Arc<OnceLock<SocketAddr>>,
    one_way_ms: Arc<AtomicU64>,
    _tasks: JoinSet<()>,
}

impl Relay {
    /// To a place that is told later.
    async fn new(one_way_ms: u64) -> Self {
        let near = Arc::new(UdpSocket::bind(any()).await.unwrap());
        let address = near.local_addr().unwrap();
        let one_way_ms = Arc::new(AtomicU64::new(one_way_ms));
        let target = Arc::new(OnceLock::new());
        let mut tasks = JoinSet::new();
        tasks.spawn(pass(near, target.clone(), one_way_ms.clone()));
        Self { address, target, one_way_ms, _tasks: tasks }
    }

    fn set(&self, one_way_ms: u64) {
        self.one_way_ms.store(one_way_ms, Ordering::Relaxed);
    }
}

async fn pass(near: Arc<UdpSocket>, target: Arc<OnceLock<SocketAddr>>, delay: Arc<AtomicU64>) {
    let mut far: BTreeMap<SocketAddr, Arc<UdpSocket>> = BTreeMap::new();
    let mut backs = JoinSet::new();
    let mut datagram = vec![0; DATAGRAM_BYTES_MAX];
    loop {
        let Ok((bytes, from)) = near.recv_from(&mut datagram).await else { continue };
        let Some(target) = target.get() else { continue };
        if !far.contains_key(&from) {
            let socket = Arc::new(UdpSocket::bind(any()).await.unwrap());
            socket.connect(target).await.unwrap();
            backs.spawn(pass_back(socket.clone(), near.clone(), from, delay.clone()));
            far.insert(from, socket);
        }
        let (datagram, socket) = (datagram[..bytes].to_vec(), far[&from].clone());
        let delay = Duration::from_millis(delay.load(Ordering::Relaxed));
        tokio::spawn(async move {
            tokio::time::sleep(delay).await;
            let _ = socket.send(&datagram).await;
        });
    }
}

async fn pass_back(far: Arc<UdpSocket>, near: Arc<UdpSocket>, to: SocketAddr, delay: Arc<AtomicU64>) {
    let mut datagram = vec![0; DATAGRAM_BYTES_MAX];
    loop {
        let Ok(bytes) = far.recv(&mut datagram).await else { continue };
        let (datagram, near) = (datagram[..bytes].to_vec(), near.clone());
        let delay = Duration::from_millis(delay.load(Ordering::Relaxed));
        tokio::spawn(async move {
            tokio::time::sleep(delay).await;
            let _ = near.send_to(&datagram, to).await;
        });
    }
}

/// A farm with the agents `left` and `right`, each behind a path of its own to the scheduler and one from everybody
/// else.
struct SlowFarm {
    farm: Farm,
    /// From each agent to the scheduler, and to each agent from its peers and clients.
    to_scheduler: [Relay; 2],
    to_agents: [Relay; 2],
    _tasks: JoinSet<()>,
}

fn issue(authority: &Authority, role: Role, name: &str) -> Identity {
    let tenant = role.has_tenant().then_some("tenant");
    authority.issue(role, name, tenant, DAY).unwrap().identity().unwrap()
}

fn devices() -> Devices {
    let device = VirtualDevice::new("device", 1_000, 64 << 20, BytesPerSecond(10_000_000_000));
    Devices::Virtual(VirtualOptions { devices: vec![device], spin: false, seed: 0 })
}

impl SlowFarm {
    async fn start(one_way_ms: [u64; 2]) -> Self {
        let authority = Authority::create("test").unwrap();
        let mut options = SchedulerOptions::new(any(), issue(&authority, Role::Scheduler, "scheduler"));
        options.policy("latency-eft");
        let scheduler = BoundScheduler::bind(options).unwrap();
        let address = scheduler.local_address();
        let mut tasks = JoinSet::new();
        tasks.spawn(async move { scheduler.run(std::future::pending()).await });
        let to_scheduler = [Relay::new(one_way_ms[0]).await, Relay::new(one_way_ms[1]).await];
        let to_agents = [Relay::new(one_way_ms[0]).await, Relay::new(one_way_ms[1]).await];
        for (place, name) in ["left", "right"].into_iter().enumerate() {
            to_scheduler[place].target.set(address).unwrap();
            let identity = issue(&authority, Role::Agent, name);
            let scheduler = to_scheduler[place].address.to_string();
            let mut options = AgentOptions::new(scheduler, any(), identity, devices().into_maker());
            options.advertise(to_agents[place].address).host_memory_bytes(256 << 20);
            let agent = BoundAgent::bind(options).unwrap();
            to_agents[place].target.set(agent.local_address()).unwrap();
            tasks.spawn(async move { agent.run(std::future::pending()).await.unwrap() });
        }
        let identity = issue(&authority, Role::Client, "client");
        let farm = within(Farm::connect(ConnectOptions::new(address.to_string(), identity))).await.unwrap();
        let farm = Self { farm, to_scheduler, to_agents, _tasks: tasks };
        farm.until(|links| {
            [("scheduler", "left"), ("scheduler", "right"), ("left", "right"), ("right", "left")]
                .iter()
                .all(|(from, to)| level(links, from, to).is_some())
        })
        .await;
        farm
    }

    /// Looks until what is known of the paths is as it must come to be.
    async fn until(&self, is_so: impl Fn(&[LinkStatus]) -> bool) {
        within(async {
            while !is_so(&self.farm.links().await.unwrap()) {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        })
        .await;
    }
}

fn link<'a>(links: &'a [LinkStatus], from: &str, to: &str) -> Option<&'a LinkStatus> {
    links.iter().find(|link| link.from == from && link.to == to)
}

/// The round trip that estimates count with.
fn level(links: &[LinkStatus], from: &str, to: &str) -> Option<Span> {
    Some(link(links, from, to)?.round_trip?.level)
}

/// Launches once, waits, and gives the agent that it was placed on.
async fn launch(session: &Session, program: &isochrone_client::Program) -> String {
    let buffer = session.buffer(16);
    let launch = session.launch(program, "wait").range([4]).buffer(&buffer).enqueue();
    within(&launch).await.unwrap();
    let explanation = within(session.explain(&launch)).await.unwrap();
    let chosen = explanation.decision.expect("a policy placed it").chosen;
    chosen.split('/').next().expect("agent/device/slot").to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_path_that_becomes_slow_in_mid_run_is_seen_and_work_goes_elsewhere() {
    let slow = SlowFarm::start([10, 40]).await;
    let session = within(slow.farm.session(SessionOptions::new())).await.unwrap();
    let program = session.program(SOURCE).build();
    for _ in 0..20 {
        launch(&session, &program).await;
    }
    for _ in 0..5 {
        assert_eq!(launch(&session, &program).await, "left", "the nearer one");
    }
    let links = within(slow.farm.links()).await.unwrap();
    assert!(level(&links, "scheduler", "left") >= Some(Span::from_millis(20)));
    assert!(level(&links, "scheduler", "right") >= Some(Span::from_millis(80)));
    slow.to_scheduler[0].set(80);
    slow.to_agents[0].set(80);
    let mut launches = 0;
    while launch(&session, &program).await == "left" {
        launches += 1;
    }
    // Each of these took a round trip of 160 ms at least: a second and some slack.
    assert!(launches <= 15, "{launches} launches went to where they take long");
    for _ in 0..5 {
        assert_eq!(launch(&session, &program).await, "right", "and no more to the slow one");
    }
    let links = within(slow.farm.links()).await.unwrap();
    let changed = link(&links, "scheduler", "left").unwrap();
    let round_trip = changed.round_trip.unwrap();
    assert!(round_trip.level >= Span::from_millis(150) && round_trip.changes >= 1, "{changed:?}");
    within(session.close()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_pair_that_talks_is_in_the_matrix_with_what_its_transfers_tell() {
    let slow = SlowFarm::start([5, 5]).await;
    let session = within(slow.farm.session(SessionOptions::new())).await.unwrap();
    let program = session.program(SOURCE).build();
    for _ in 0..12 {
        let buffer = session.buffer_from(vec![7_u8; 1 << 20]);
        within(session.launch(&program, "wait").range([4]).buffer(&buffer).enqueue()).await.unwrap();
    }
    let client = format!("client {}", session.id().0);
    slow.until(|links| {
        let uploads = || links.iter().filter(|link| link.from == client);
        let has_rate = uploads().any(|link| link.rate.is_some() && link.rate_samples > 0);
        level(links, "scheduler", &client).is_some()
            && uploads().filter(|link| link.round_trip.is_some()).count() == 2
            && has_rate
    })
    .await;
    let links = within(slow.farm.links()).await.unwrap();
    for (from, to) in [("scheduler", "left"), ("left", "right"), ("right", "left"), (client.as_str(), "left")]
    {
        let link = link(&links, from, to).unwrap();
        assert!(link.round_trip.unwrap().least >= Span::from_millis(10), "{link:?}");
        assert!(link.confidence_percent > 0 && link.age.is_some(), "{link:?}");
    }
    within(session.close()).await.unwrap();
    slow.until(|links| links.iter().all(|link| link.from != client && link.to != client)).await;
}
