//! The second connection of a pair, which carries bulk.

#![expect(clippy::disallowed_methods, reason = "what is compared here is time")]

use std::time::{Duration, Instant};

use bytes::Bytes;
use isochrone_transport::{CloseCode, CloseReason, Connection, Endpoint, OpenBulkError, Role, SendBulkError};

use crate::farm::{Farm, Message, RawClient, Shown, accept, application_code, within};
use crate::slow_path::{Shape, SlowPath};

/// What is sent at a time.
const PIECE_BYTES: usize = 256 << 10;

async fn until_attached(connection: &Connection) {
    while connection.bulk_statistics().is_none() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn both_sides_use_one_second_connection() {
    let farm = Farm::new();
    let (dialled, accepted, _client, _server) = farm.pair().await;
    assert!(dialled.bulk_statistics().is_none(), "not before it is needed");
    dialled.prepare_bulk();
    dialled.prepare_bulk();
    within(until_attached(&accepted)).await;
    for (from, to) in [(&dialled, &accepted), (&accepted, &dialled)] {
        let before = to.bulk_statistics().expect("attached").received_bytes;
        let mut bulk = from.open_bulk(&Message::Number(1)).await.expect("opened");
        bulk.send(Bytes::from(vec![7; 100_000])).await.expect("sent");
        let (_, received) = within(to.accept_bulk::<Message>()).await.expect("accepted").expect("open");
        let finishing = tokio::spawn(bulk.finish());
        assert_eq!(within(received.receive_exact(100_000)).await.expect("received").len(), 100_000);
        within(finishing).await.expect("ended").expect("acknowledged");
        assert!(to.bulk_statistics().expect("attached").received_bytes > before + 100_000);
    }
}

#[tokio::test]
async fn the_accepting_side_does_not_wait_for_a_second_connection() {
    let farm = Farm::new();
    let (dialled, accepted, _client, _server) = farm.pair().await;
    let mut bulk = within(accepted.open_bulk(&Message::Number(1))).await.expect("opened");
    bulk.send(Bytes::from_static(b"first")).await.expect("sent");
    let finishing = tokio::spawn(bulk.finish());
    let (_, received) = within(dialled.accept_bulk::<Message>()).await.expect("accepted").expect("open");
    assert_eq!(&within(received.receive_exact(5)).await.expect("received")[..], b"first");
    within(finishing).await.expect("ended").expect("acknowledged");
    assert!(accepted.bulk_statistics().is_none());
}

#[tokio::test]
async fn closing_is_told_on_bulk_streams_too() {
    let farm = Farm::new();
    let (dialled, accepted, _client, _server) = farm.pair().await;
    let mut bulk = dialled.open_bulk(&Message::Number(1)).await.expect("opened");
    accepted.close(CloseCode::Draining, "maintenance");
    let expected = CloseReason::Peer { code: CloseCode::Draining, reason: "maintenance".to_owned() };
    let error = loop {
        if let Err(error) = within(bulk.send(Bytes::from(vec![0; PIECE_BYTES]))).await {
            break error;
        }
    };
    assert!(matches!(error, SendBulkError::Closed(reason) if reason == expected));
    assert!(matches!(
        dialled.open_bulk(&Message::Number(2)).await,
        Err(OpenBulkError::Closed(reason)) if reason == expected
    ));
}

#[tokio::test]
async fn a_closed_endpoint_frees_its_socket() {
    let farm = Farm::new();
    let (dialled, accepted, client, server) = farm.pair().await;
    dialled.prepare_bulk();
    within(until_attached(&accepted)).await;
    let address = server.local_address().expect("bound");
    server.close(CloseCode::Draining, "over");
    within(server.drained()).await;
    drop((dialled, accepted, server));
    within(async {
        while std::net::UdpSocket::bind(address).is_err() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    drop(client);
}

/// A raw client's first connection, with what names and proves a second one.
struct First {
    raw: RawClient,
    server: Endpoint,
    accepted: Connection,
    name: [u8; 20],
    proof: [u8; 32],
    _first: (quinn::Connection, quinn::SendStream, quinn::RecvStream),
}

impl First {
    async fn new(farm: &Farm) -> Self {
        let server = farm.endpoint(Role::Scheduler, "main", &[Role::Client]);
        let raw = RawClient::new(farm, &Shown::Client(farm));
        let (first, accepted) =
            tokio::join!(raw.dial_with_preamble(&server, b"ISOC\x01\0\0\0"), accept(&server));
        let accepted = accepted.expect("accepted");
        let (mut name, mut proof) = ([0; 20], [0; 32]);
        first.0.export_keying_material(&mut name, b"EXPORTER-isochrone-bulk-name", &[]).expect("exported");
        first.0.export_keying_material(&mut proof, b"EXPORTER-isochrone-bulk-proof", &[]).expect("exported");
        Self { raw, server, accepted, name, proof, _first: first }
    }

    /// Dials the second connection, shows this proof on it, and gives it back.
    async fn dial(&self, raw: &RawClient, proof: [u8; 32]) -> quinn::Connection {
        let second = raw.dial_second(&self.server, self.name).await;
        let mut stream = second.open_uni().await.expect("opened");
        // Whether it is taken is seen elsewhere.
        let _ = stream.write_all(&proof).await;
        let _ = stream.finish();
        second
    }
}

#[tokio::test]
async fn a_second_connection_needs_the_proof_and_the_identity_of_the_first() {
    let farm = Farm::new();
    let first = First::new(&farm).await;
    let second = first.dial(&first.raw, first.proof).await;
    within(until_attached(&first.accepted)).await;
    assert!(second.close_reason().is_none());

    let violation = u64::from(CloseCode::ProtocolViolation.to_wire());
    let first = First::new(&farm).await;
    let second = first.dial(&first.raw, [7; 32]).await;
    assert_eq!(application_code(&second).await, violation);
    assert!(first.accepted.bulk_statistics().is_none() && first.accepted.close_reason().is_none());

    let first = First::new(&farm).await;
    let second = first.dial(&RawClient::named(&farm, "other"), first.proof).await;
    assert_eq!(application_code(&second).await, violation);
    assert!(first.accepted.bulk_statistics().is_none() && first.accepted.close_reason().is_none());
}

/// Round trips of small messages that an echo answers, in microseconds, sorted.
async fn round_trips(connection: &Echo, count: usize) -> Vec<u128> {
    let mut times = Vec::new();
    let mut receiver = connection.receiver.lock().await;
    for number in 0..count {
        let start = Instant::now();
        connection.sender.send(&Message::Number(number as u64)).expect("queued");
        let message = within(receiver.receive::<Message>()).await.expect("received");
        assert_eq!(message, Some(Message::Number(number as u64)));
        times.push(start.elapsed().as_micros());
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    times.sort_unstable();
    times
}

struct Echo {
    sender: isochrone_transport::ControlSender,
    receiver: tokio::sync::Mutex<isochrone_transport::ControlReceiver>,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bulk_does_not_delay_control() {
    // A queue of 200 ms, which a controller that waits for losses fills.
    let shape =
        Shape { bytes_per_second: 25_000_000, delay: Duration::from_millis(5), queue_bytes: 5_000_000 };
    let farm = Farm::new();
    let server = farm.endpoint(Role::Scheduler, "main", &[Role::Client]);
    let path = SlowPath::to(server.local_address().expect("bound"), shape);
    let client = farm.endpoint(Role::Client, "c", &[]);
    let (dialled, accepted) =
        tokio::join!(client.connect(path.address, Role::Scheduler, None), accept(&server));
    let (dialled, accepted) = (dialled.expect("connected"), accepted.expect("accepted"));
    let (echo, mut heard) = accepted.take_control();
    tokio::spawn(async move {
        while let Ok(Some(message)) = heard.receive::<Message>().await {
            echo.send(&message).expect("queued");
        }
    });
    let (sender, receiver) = dialled.take_control();
    let control = Echo { sender, receiver: tokio::sync::Mutex::new(receiver) };
    let idle = round_trips(&control, 100).await;

    let sending = tokio::spawn({
        let dialled = dialled.clone();
        async move {
            let mut bulk = dialled.open_bulk(&Message::Number(0)).await.expect("opened");
            let piece = Bytes::from(vec![1; PIECE_BYTES]);
            while bulk.send(piece.clone()).await.is_ok() {}
        }
    });
    let (_, mut bulk) = within(accepted.accept_bulk::<Message>()).await.expect("accepted").expect("open");
    let received = std::sync::Arc::new(std::sync::atomic::AtomicU64::new(0));
    let counting = received.clone();
    tokio::spawn(async move {
        while let Ok(Some(piece)) = bulk.receive().await {
            counting.fetch_add(piece.len() as u64, std::sync::atomic::Ordering::Relaxed);
        }
    });
    tokio::time::sleep(Duration::from_secs(1)).await;
    let start = Instant::now();
    let before = received.load(std::sync::atomic::Ordering::Relaxed);
    let count = std::env::var("ISOCHRONE_SAMPLES").ok().and_then(|count| count.parse().ok()).unwrap_or(200);
    let busy = round_trips(&control, count).await;
    let bytes = received.load(std::sync::atomic::Ordering::Relaxed) - before;
    let rate = bytes as f64 / start.elapsed().as_secs_f64();
    sending.abort();
    let at = |times: &[u128], part: usize| times[(times.len() * part / 100).min(times.len() - 1)];
    println!(
        "idle p50 {} p99 {} us, with bulk p50 {} p99 {} us; bulk at {:.1} MB/s of 25; {} lost; {:?}",
        at(&idle, 50),
        at(&idle, 99),
        at(&busy, 50),
        at(&busy, 99),
        rate / 1e6,
        path.lost(),
        dialled.bulk_statistics()
    );
    assert!(at(&busy, 50) < at(&idle, 50) + 20_000, "a tenth of what the queue holds");
    assert!(rate > 25e6 / 2.0, "and bulk still gets most of the path: {rate}");
}
