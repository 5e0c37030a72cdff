//! What the relay adds to what it is asked for: delay, spread, and the highest rates that it passes; beside the same
//! without a relay, in one run. Prints Markdown: `cargo run --release -p isochrone-emulator --example emulator-error`.

#![expect(clippy::disallowed_methods, reason = "the relay's own error is measured with the clock")]

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use isochrone_emulator::{Emulator, EmulatorOptions, LinkPlan, LinkSettings, Waiting};
use isochrone_link::{Jitter, WireSettings};
use isochrone_metrics::{Alignment, Table};
use isochrone_model::Span;
use quinn::{ClientConfig, Endpoint, ServerConfig, TransportConfig, VarInt};
use rustls::RootCertStore;
use rustls::pki_types::PrivatePkcs8KeyDer;

const LOCAL: (Ipv4Addr, u16) = (Ipv4Addr::LOCALHOST, 0);
const SAMPLES: usize = 2_000;
const STREAM_BYTES: usize = 256 << 20;

fn relay(delay: Span, waiting: Waiting, target: SocketAddr) -> (Emulator, SocketAddr) {
    let link = LinkSettings { wire: WireSettings::new(Jitter::fixed(delay)), queue: None };
    let plan = LinkPlan::between_two(1, link.clone(), link);
    let emulator = Emulator::start(EmulatorOptions::new(plan, 0).waiting(waiting)).unwrap();
    let front = emulator.front(LOCAL.into(), 1, target).unwrap();
    (emulator, front)
}

/// Microseconds by which each datagram was later than asked for, sorted.
fn one_way_errors(delay: Span, waiting: Option<Waiting>, gap: Duration) -> Vec<f64> {
    let (sender, receiver) = (UdpSocket::bind(LOCAL).unwrap(), UdpSocket::bind(LOCAL).unwrap());
    let target = receiver.local_addr().unwrap();
    let link = waiting.map(|waiting| relay(delay, waiting, target));
    let to = link.as_ref().map_or(target, |(_, front)| *front);
    let origin = Instant::now();
    let receiving = std::thread::spawn(move || {
        let mut buffer = [0; 64];
        let mut errors = Vec::with_capacity(SAMPLES);
        for _ in 0..SAMPLES {
            receiver.recv(&mut buffer).unwrap();
            let arrived = origin.elapsed().as_nanos() as u64;
            let sent = u64::from_le_bytes(buffer[..8].try_into().unwrap());
            errors.push((arrived as f64 - (sent + delay.0) as f64) / 1e3);
        }
        errors
    });
    for _ in 0..SAMPLES {
        let mut contents = [0; 64];
        contents[..8].copy_from_slice(&(origin.elapsed().as_nanos() as u64).to_le_bytes());
        sender.send_to(&contents, to).unwrap();
        std::thread::sleep(gap);
    }
    let mut errors = receiving.join().unwrap();
    // The first ones pay for what is made on first use.
    errors.drain(..SAMPLES / 20);
    errors.sort_by(f64::total_cmp);
    errors
}

/// Datagrams that are sent as fast as they can be, and megabytes a second that arrive.
fn blast(datagram_bytes: usize, through: bool) -> (f64, f64) {
    let receiver = UdpSocket::bind(LOCAL).unwrap();
    let target = receiver.local_addr().unwrap();
    let link = through.then(|| relay(Span::ZERO, Waiting::default(), target));
    let to = link.as_ref().map_or(target, |(_, front)| *front);
    let state = quinn_udp::UdpSocketState::new((&receiver).into()).unwrap();
    let _ = state.set_recv_buffer_size((&receiver).into(), 8 << 20);
    let (is_over, received) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let receiving = {
        let (is_over, received) = (Arc::clone(&is_over), Arc::clone(&received));
        std::thread::spawn(move || {
            let mut buffers = vec![vec![0_u8; 64 << 10]; quinn_udp::BATCH_SIZE];
            let mut metas = vec![quinn_udp::RecvMeta::default(); quinn_udp::BATCH_SIZE];
            while !is_over.load(Ordering::Relaxed) {
                let mut slices: Vec<std::io::IoSliceMut<'_>> =
                    buffers.iter_mut().map(|buffer| std::io::IoSliceMut::new(buffer)).collect();
                match state.recv((&receiver).into(), &mut slices, &mut metas) {
                    Ok(count) => {
                        let bytes: usize = metas[..count].iter().map(|meta| meta.len).sum();
                        received.fetch_add(bytes as u64, Ordering::Relaxed);
                    }
                    Err(_) => std::thread::yield_now(),
                }
            }
        })
    };
    let sender = UdpSocket::bind(LOCAL).unwrap();
    let sending = quinn_udp::UdpSocketState::new((&sender).into()).unwrap();
    let segments = sending.max_gso_segments().min((60 << 10) / datagram_bytes).max(1);
    let contents = vec![1_u8; segments * datagram_bytes];
    let transmit = quinn_udp::Transmit {
        destination: to,
        ecn: None,
        contents: &contents,
        segment_size: (segments > 1).then_some(datagram_bytes),
        src_ip: None,
    };
    let (mut sent, started) = (0_u64, Instant::now());
    while started.elapsed() < Duration::from_secs(2) {
        match sending.try_send((&sender).into(), &transmit) {
            Ok(()) => sent += contents.len() as u64,
            Err(_) => std::thread::yield_now(),
        }
    }
    let seconds = started.elapsed().as_secs_f64();
    std::thread::sleep(Duration::from_millis(100));
    let arrived = received.load(Ordering::Relaxed);
    is_over.store(true, Ordering::Relaxed);
    receiving.join().unwrap();
    (sent as f64 / 1e6 / seconds, arrived as f64 / 1e6 / seconds)
}

fn transport(datagram_bytes_max: u16) -> Arc<TransportConfig> {
    let mut discovery = quinn::MtuDiscoveryConfig::default();
    discovery.upper_bound(datagram_bytes_max);
    let mut transport = TransportConfig::default();
    transport
        .stream_receive_window(VarInt::from_u32(32 << 20))
        .receive_window(VarInt::from_u32(32 << 20))
        .send_window(32 << 20)
        .mtu_discovery_config(Some(discovery));
    Arc::new(transport)
}

/// A socket with buffers as the farm's transport asks for.
fn socket() -> UdpSocket {
    let socket = UdpSocket::bind(LOCAL).unwrap();
    let state = quinn_udp::UdpSocketState::new((&socket).into()).unwrap();
    let _ = state.set_recv_buffer_size((&socket).into(), 4 << 20);
    let _ = state.set_send_buffer_size((&socket).into(), 4 << 20);
    socket
}

/// Megabytes a second of one quinn stream.
async fn stream(datagram_bytes_max: u16, delay: Option<Span>) -> f64 {
    let key = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let private = PrivatePkcs8KeyDer::from(key.signing_key.serialize_der());
    let mut config = ServerConfig::with_single_cert(vec![key.cert.der().clone()], private.into()).unwrap();
    config.transport_config(transport(datagram_bytes_max));
    let endpoint_config = || {
        let mut config = quinn::EndpointConfig::default();
        config.max_udp_payload_size(datagram_bytes_max).unwrap();
        config
    };
    let runtime = || quinn::default_runtime().unwrap();
    let server = Endpoint::new(endpoint_config(), Some(config), socket(), runtime()).unwrap();
    let target = server.local_addr().unwrap();
    let link = delay.map(|delay| relay(delay, Waiting::default(), target));
    let to = link.as_ref().map_or(target, |(_, front)| *front);
    let mut roots = RootCertStore::empty();
    roots.add(key.cert.der().clone()).unwrap();
    let mut config = ClientConfig::with_root_certificates(Arc::new(roots)).unwrap();
    config.transport_config(transport(datagram_bytes_max));
    let client = Endpoint::new(endpoint_config(), None, socket(), runtime()).unwrap();
    let receiving = tokio::spawn(async move {
        let connection = server.accept().await.unwrap().await.unwrap();
        let mut receiver = connection.accept_uni().await.unwrap();
        let mut received = 0;
        while let Some(chunk) = receiver.read_chunk(usize::MAX, true).await.unwrap() {
            received += chunk.bytes.len();
        }
        connection.close(0_u32.into(), b"");
        received
    });
    let connection = client.connect_with(config, to, "localhost").unwrap().await.unwrap();
    // Time to find the size of datagrams.
    tokio::time::sleep(Duration::from_millis(300) + Duration::from(delay.unwrap_or_default()) * 60).await;
    let mut sender = connection.open_uni().await.unwrap();
    let piece = bytes::Bytes::from(vec![7_u8; 1 << 20]);
    let started = Instant::now();
    for _ in 0..STREAM_BYTES >> 20 {
        sender.write_chunk(piece.clone()).await.unwrap();
    }
    sender.finish().unwrap();
    assert_eq!(receiving.await.unwrap(), STREAM_BYTES);
    STREAM_BYTES as f64 / 1e6 / started.elapsed().as_secs_f64()
}

fn errors() -> Table {
    let columns = [
        ("link", Alignment::Left),
        ("waiting", Alignment::Left),
        ("p1 us", Alignment::Right),
        ("p50 us", Alignment::Right),
        ("p90 us", Alignment::Right),
        ("p99 us", Alignment::Right),
        ("most us", Alignment::Right),
    ];
    let mut table = Table::new(&columns);
    let mut row = |link: &str, waiting: &str, errors: &[f64]| {
        let at = |part: f64| format!("{:.1}", errors[(part * (errors.len() - 1) as f64) as usize]);
        let numbers = [at(0.01), at(0.5), at(0.9), at(0.99), at(1.0)];
        let words = [link.to_owned(), waiting.to_owned()];
        table.row(words.iter().chain(&numbers));
    };
    let gap = Duration::from_micros(500);
    row("none (receiver alone)", "", &one_way_errors(Span::ZERO, None, gap));
    let ways = [
        ("sleeps", Waiting::SpinLast(Duration::ZERO)),
        ("spins for the last 60 us", Waiting::default()),
        ("spins always", Waiting::SpinAlways),
    ];
    for (name, waiting) in ways {
        for millis in [0, 1, 10, 100] {
            let errors = one_way_errors(Span::from_millis(millis), Some(waiting), gap);
            row(&format!("{millis} ms"), name, &errors);
        }
    }
    table
}

#[tokio::main]
async fn main() {
    println!("One way, 64 bytes, one every 0.5 ms: how much later than asked for\n\n{}", errors());
    let columns = [
        ("datagrams", Alignment::Left),
        ("through", Alignment::Left),
        ("sent MB/s", Alignment::Right),
        ("arrived MB/s", Alignment::Right),
    ];
    let mut table = Table::new(&columns);
    for datagram_bytes in [1_472, 6_500] {
        for (name, through) in [("nothing", false), ("the relay", true)] {
            let (sent, arrived) = blast(datagram_bytes, through);
            let size = format!("{datagram_bytes} bytes");
            table.row([size.as_str(), name, &format!("{sent:.0}"), &format!("{arrived:.0}")]);
        }
    }
    println!("Raw UDP, sent without regard for what is lost\n\n{table}");
    let mut table = Table::new(&[
        ("datagrams up to", Alignment::Left),
        ("through", Alignment::Left),
        ("MB/s", Alignment::Right),
    ]);
    for datagram_bytes in [1_472, 6_500] {
        for (name, delay) in [
            ("nothing", None),
            ("0 ms", Some(Span::ZERO)),
            ("1 ms", Some(Span::from_millis(1))),
            ("10 ms", Some(Span::from_millis(10))),
        ] {
            let mut rates = [
                stream(datagram_bytes, delay).await,
                stream(datagram_bytes, delay).await,
                stream(datagram_bytes, delay).await,
            ];
            rates.sort_by(f64::total_cmp);
            table.row([format!("{datagram_bytes} bytes").as_str(), name, &format!("{:.0}", rates[1])]);
        }
    }
    println!("One quinn stream of 256 MiB, windows of 32 MiB, median of 3\n\n{table}");
}
