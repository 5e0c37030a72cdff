//! What is measured of a path: while it is idle, while traffic flows, and when it changes.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use isochrone_transport::{Connection, Endpoint, Pace, PathMeasurement, PathMeter, Role, TransportOptions};
use tokio::net::UdpSocket;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::farm::{Farm, Message, accept, any_port, within};

/// Larger than any datagram.
const DATAGRAM_BYTES_MAX: usize = 1 << 16;

/// Passes datagrams on between one client and a server, each way some milliseconds later.
struct Delayed {
    address: SocketAddr,
    one_way_ms: Arc<AtomicU64>,
    _tasks: JoinSet<()>,
}

impl Delayed {
    async fn to(server: SocketAddr, one_way_ms: u64) -> Self {
        let near = Arc::new(UdpSocket::bind(any_port()).await.expect("bound"));
        let far = Arc::new(UdpSocket::bind(any_port()).await.expect("bound"));
        far.connect(server).await.expect("connected");
        let address = near.local_addr().expect("bound");
        let one_way_ms = Arc::new(AtomicU64::new(one_way_ms));
        let (client, clients) = watch::channel(None);
        let mut tasks = JoinSet::new();
        let (from, to, delay) = (near.clone(), far.clone(), one_way_ms.clone());
        tasks.spawn(async move {
            let mut datagram = vec![0; DATAGRAM_BYTES_MAX];
            loop {
                let (bytes, address) = from.recv_from(&mut datagram).await.expect("received");
                client.send_replace(Some(address));
                let (datagram, to) = (datagram[..bytes].to_vec(), to.clone());
                let delay = Duration::from_millis(delay.load(Ordering::Relaxed));
                tokio::spawn(async move {
                    tokio::time::sleep(delay).await;
                    let _ = to.send(&datagram).await;
                });
            }
        });
        let delay = one_way_ms.clone();
        tasks.spawn(async move {
            let mut datagram = vec![0; DATAGRAM_BYTES_MAX];
            loop {
                let bytes = far.recv(&mut datagram).await.expect("received");
                let Some(client) = *clients.borrow() else { continue };
                let (datagram, to) = (datagram[..bytes].to_vec(), near.clone());
                let delay = Duration::from_millis(delay.load(Ordering::Relaxed));
                tokio::spawn(async move {
                    tokio::time::sleep(delay).await;
                    let _ = to.send_to(&datagram, client).await;
                });
            }
        });
        Self { address, one_way_ms, _tasks: tasks }
    }

    fn set(&self, one_way_ms: u64) {
        self.one_way_ms.store(one_way_ms, Ordering::Relaxed);
    }
}

/// A client and a server with a delayed path between them: (client's, server's, what keeps them).
async fn pair(one_way_ms: u64) -> (Connection, Connection, Delayed, (Endpoint, Endpoint)) {
    let farm = Farm::new();
    // Without the search for larger datagrams, so that what probes cost can be counted.
    let adjust = |options: &mut TransportOptions| {
        options.datagram_bytes_max(1_200);
    };
    let server = farm.endpoint_with(Role::Scheduler, "main", &[Role::Client], adjust);
    let client = farm.endpoint_with(Role::Client, "c", &[], adjust);
    let path = Delayed::to(server.local_address().expect("bound"), one_way_ms).await;
    let (dialled, accepted) =
        tokio::join!(client.connect(path.address, Role::Scheduler, None), accept(&server));
    (dialled.expect("connected"), accepted.expect("accepted"), path, (client, server))
}

fn pace(probe_ms: u64, report_ms: u64) -> (watch::Sender<Pace>, watch::Receiver<Pace>) {
    watch::channel(Pace {
        probe_interval: Duration::from_millis(probe_ms),
        report_interval: Duration::from_millis(report_ms),
    })
}

async fn next(meter: &mut PathMeter, pace: &mut watch::Receiver<Pace>) -> PathMeasurement {
    within(meter.next(pace)).await.expect("the connection is up")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_idle_path_is_probed_by_either_side() {
    let (dialled, accepted, _path, _ends) = pair(20).await;
    let (_keep, mut pace) = pace(50, 200);
    for connection in [&dialled, &accepted] {
        let mut meter = connection.meter();
        let first = next(&mut meter, &mut pace).await;
        assert!(!first.round_trips.is_empty() && first.sent_packets > 0, "the first is told at once");
        let before = connection.statistics();
        let (mut round_trips, mut sent_packets) = (Vec::new(), 0);
        while round_trips.len() < 6 {
            let measured = next(&mut meter, &mut pace).await;
            round_trips.extend(measured.round_trips);
            sent_packets += measured.sent_packets;
        }
        // Never below what the path takes; above it there is no telling how busy the machine is.
        assert!(round_trips.iter().all(|round_trip| *round_trip >= Duration::from_millis(40)));
        assert!(sent_packets >= round_trips.len() as u64);
        let bytes = (connection.statistics().sent_bytes - before.sent_bytes) / round_trips.len() as u64;
        println!("{bytes} bytes sent for each round trip");
        assert!(bytes < 400, "{bytes} bytes sent for each round trip");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_is_told_three_round_trips_after_it_was_met() {
    let (dialled, _accepted, path, _ends) = pair(10).await;
    // Left to its report interval, it would be told after a minute.
    let (keep, mut pace) = pace(100, 0);
    let mut meter = dialled.meter();
    for _ in 0..8 {
        next(&mut meter, &mut pace).await;
    }
    keep.send_modify(|pace| pace.report_interval = Duration::from_secs(3_600));
    path.set(80);
    let told = next(&mut meter, &mut pace).await;
    let after =
        told.round_trips.iter().filter(|round_trip| **round_trip >= Duration::from_millis(160)).count();
    assert!((2..=6).contains(&after), "{:?}", told.round_trips);
    let last = told.round_trips.last().expect("measured");
    assert!(*last >= Duration::from_millis(90), "the change is the last that was seen: {told:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn traffic_is_measured_without_probes() {
    let (dialled, accepted, _path, _ends) = pair(10).await;
    let (_keep, mut pace) = pace(3_600_000, 0);
    let mut meter = dialled.meter();
    let first = next(&mut meter, &mut pace).await;
    assert!(!first.round_trips.is_empty());
    let sending = async {
        let mut stream = dialled.open_bulk(&Message::Number(1)).await.expect("opened");
        stream.send(vec![7_u8; 4 << 20].into()).await.expect("sent");
        stream.finish().await.expect("finished");
    };
    let receiving = async {
        let (_, stream) =
            accepted.accept_bulk::<Message>().await.expect("accepted").expect("the connection is up");
        stream.receive_exact(4 << 20).await.expect("received").len()
    };
    let ((), received) = within(async { tokio::join!(sending, receiving) }).await;
    assert_eq!(received, 4 << 20);
    // A change of pace makes it look; the next probe is an hour away.
    let (_again, mut soon) = self::pace(3_600_000, 0);
    let measured = next(&mut meter, &mut soon).await;
    assert!(measured.round_trips.len() >= 2, "{measured:?}");
    assert!(measured.round_trips.iter().all(|round_trip| *round_trip >= Duration::from_millis(20)));
    assert!(measured.sent_packets > 100 && measured.congestion_window_bytes > 0, "{measured:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn acknowledgements_that_waited_for_others_are_no_round_trips() {
    let (dialled, accepted, _path, _ends) = pair(5).await;
    let (_keep, mut pace) = pace(40, 0);
    let (sender, _) = dialled.take_control();
    let (_, mut receiver) = accepted.take_control();
    let mut meter = dialled.meter();
    let talking = async {
        for number in 0..25 {
            // In packets of their own, to a peer that has nothing to say, so that acknowledgements wait for up to 25 ms.
            for _ in 0..3 {
                sender.send(&Message::Number(number)).expect("queued");
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
            tokio::time::sleep(Duration::from_millis(34)).await;
        }
    };
    let hearing = async { while receiver.receive::<Message>().await.is_ok() {} };
    let mut told = Vec::new();
    let measuring = async {
        loop {
            told.extend(next(&mut meter, &mut pace).await.round_trips);
        }
    };
    tokio::select! {
        () = talking => {}
        () = hearing => unreachable!("the connection is up"),
        () = measuring => {}
    }
    // How busy the machine is may make single ones late.
    let late = told.iter().filter(|round_trip| **round_trip > Duration::from_millis(28)).count();
    assert!(told.len() >= 10 && late * 5 <= told.len(), "{late} of {}: {told:?}", told.len());
}

#[tokio::test]
async fn a_meter_ends_with_its_connection_and_does_not_keep_it() {
    let farm = Farm::new();
    let (dialled, accepted, _client, _server) = farm.pair().await;
    let (_keep, mut pace) = pace(5, 5);
    let mut meter = dialled.meter();
    next(&mut meter, &mut pace).await;
    drop(dialled);
    while within(meter.next(&mut pace)).await.is_some() {}
    assert!(within(accepted.closed()).await.is_done());
}
