//! Real quinn over the emulator's links in virtual time: what a controller makes of a path, without a socket, a clock or a busy host.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use isochrone_link::{Change, IP_OVERHEAD_BYTES, LinkSpec, Network, QueueId, RouteId, Stage, WireId};
use isochrone_model::{Span, Timestamp};
use quinn_proto::{
    ClientConfig, Connection, ConnectionHandle, DatagramEvent, Dir, Endpoint, EndpointConfig, Event,
    ServerConfig, StreamId,
};

use crate::TransportOptions;
use crate::congestion::Congestion;

/// tokio's timers fire at whole milliseconds.
const TICK: Duration = Duration::from_millis(1);
/// What quinn gives to one call of the operating system.
const SEGMENTS_MAX: usize = 10;
/// How often a small datagram is sent along, to see how long messages would wait.
const WITNESS_INTERVAL: Span = Span(1_700_000);
const WITNESS_BYTES: u64 = 100;

enum Packet {
    Quic { to: usize, bytes: Bytes },
    Witness { sent: Timestamp },
}

impl Clone for Packet {
    fn clone(&self) -> Self {
        match self {
            Self::Quic { to, bytes } => Self::Quic { to: *to, bytes: bytes.clone() },
            Self::Witness { sent } => Self::Witness { sent: *sent },
        }
    }
}

struct Side {
    endpoint: Endpoint,
    connection: Option<(ConnectionHandle, Connection)>,
    wakes_at: Option<Instant>,
    route: RouteId,
}

/// A sender of contents, endless ones unless told otherwise, its receiver, and the path between them.
struct VirtualPath {
    start: Instant,
    now: Timestamp,
    network: Network<Packet>,
    queue: Option<QueueId>,
    wires: [WireId; 2],
    sides: [Side; 2],
    /// The sender's end and the receiver's of the one stream.
    streams: [Option<StreamId>; 2],
    unsent_bytes: u64,
    received_bytes: u64,
    witness_at: Timestamp,
    /// How long small datagrams were under way.
    witnesses: Vec<Span>,
}

fn address(side: usize) -> SocketAddr {
    (Ipv4Addr::LOCALHOST, 1_000 + side as u16).into()
}

fn configurations(options: &TransportOptions) -> (ClientConfig, ServerConfig) {
    let key = rcgen::KeyPair::generate().expect("key");
    let certificate = rcgen::CertificateParams::new(vec!["peer".to_owned()])
        .expect("parameters")
        .self_signed(&key)
        .expect("certificate");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut roots = rustls::RootCertStore::empty();
    roots.add(certificate.der().clone()).expect("root");
    let client = rustls::ClientConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .expect("versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    let key = rustls::pki_types::PrivateKeyDer::try_from(key.serialize_der()).expect("key");
    let server = rustls::ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], key)
        .expect("certificate");
    let transport = Arc::new(options.quinn_bulk(&Congestion::default()));
    let client = quinn_proto::crypto::rustls::QuicClientConfig::try_from(client).expect("suite");
    let mut client = ClientConfig::new(Arc::new(client));
    client.transport_config(transport.clone());
    let server = quinn_proto::crypto::rustls::QuicServerConfig::try_from(server).expect("suite");
    let mut server = ServerConfig::with_crypto(Arc::new(server));
    server.transport_config(transport);
    (client, server)
}

impl VirtualPath {
    /// A path of the rate and one-way latency of `link` in both directions, over which the sender has begun to connect.
    fn new(link: &LinkSpec, seed: u64) -> Self {
        let options = TransportOptions::default();
        let (client, server) = configurations(&options);
        let mut network = Network::new(seed, IP_OVERHEAD_BYTES);
        let mean = link.latency.mean();
        let mut queues = [(); 2].map(|()| {
            LinkSpec::queue(link.bandwidth, Span(mean.0 * 2)).map(|settings| network.add_queue(settings))
        });
        let wires = [(); 2].map(|()| network.add_wire(link.wire()));
        let mut config = EndpointConfig::default();
        config.rng_seed(Some([seed as u8; 32]));
        config.max_udp_payload_size(options.datagram_bytes_max).expect("size");
        let mut sides = [0, 1].map(|side| {
            let stages = queues[side].map(Stage::Queue).into_iter().chain([Stage::Wire(wires[side])]);
            let server = (side == 1).then(|| Arc::new(server.clone()));
            Side {
                endpoint: Endpoint::new(Arc::new(config.clone()), server, true, None),
                connection: None,
                wakes_at: None,
                route: network.add_route(stages.collect()),
            }
        });
        #[expect(clippy::disallowed_methods, reason = "any time will do for a start")]
        let start = Instant::now();
        let connection = sides[0].endpoint.connect(start, client, address(1), "peer").expect("connect");
        sides[0].connection = Some(connection);
        Self {
            start,
            now: Timestamp::ZERO,
            network,
            queue: queues[0].take(),
            wires,
            sides,
            streams: [None; 2],
            unsent_bytes: u64::MAX,
            received_bytes: 0,
            witness_at: Timestamp::ZERO,
            witnesses: Vec::new(),
        }
    }

    fn instant(&self, at: Timestamp) -> Instant {
        self.start + Duration::from_nanos(at.0)
    }

    /// Goes on for as long; gives the bytes a second that arrived meanwhile.
    fn run(&mut self, seconds: f64) -> f64 {
        let end = Timestamp(self.now.0 + (seconds * 1e9) as u64);
        let before = self.received_bytes;
        let mut delivered = Vec::new();
        while self.now < end {
            for side in 0..2 {
                self.drive(side);
            }
            while self.witness_at <= self.now {
                let sent = self.witness_at;
                self.network.offer(self.now, self.sides[0].route, WITNESS_BYTES, Packet::Witness { sent });
                self.witness_at = Timestamp(self.witness_at.0 + WITNESS_INTERVAL.0);
            }
            let wakes = self.sides.iter().filter_map(|side| side.wakes_at);
            let wakes = wakes.map(|at| Timestamp(at.saturating_duration_since(self.start).as_nanos() as u64));
            let next = wakes.chain(self.network.deadline()).chain([self.witness_at]).min().unwrap_or(end);
            self.now = next.max(self.now).min(end);
            self.network.advance(self.now, &mut delivered);
            for delivery in delivered.drain(..) {
                match delivery.packet {
                    Packet::Quic { to, bytes } => self.receive(to, &bytes),
                    Packet::Witness { sent } => self.witnesses.push(delivery.at.since(sent)),
                }
            }
        }
        (self.received_bytes - before) as f64 / seconds
    }

    /// Sends contents of so many bytes, and gives how long they were under way.
    fn contents(&mut self, bytes: u64) -> Duration {
        let (began, until) = (self.now, self.received_bytes + bytes);
        self.unsent_bytes = bytes;
        while self.received_bytes < until {
            self.run(0.000_2);
        }
        Duration::from_nanos(self.now.since(began).0)
    }

    fn receive(&mut self, to: usize, bytes: &[u8]) {
        let now = self.instant(self.now);
        let side = &mut self.sides[to];
        let mut answer = Vec::new();
        match side.endpoint.handle(now, address(1 - to), None, None, BytesMut::from(bytes), &mut answer) {
            Some(DatagramEvent::NewConnection(incoming)) => {
                let accepted = side.endpoint.accept(incoming, now, &mut answer, None);
                side.connection = Some(accepted.map_err(|error| error.cause).expect("accepted"));
            }
            Some(DatagramEvent::ConnectionEvent(_, event)) => {
                if let Some((_, connection)) = &mut side.connection {
                    connection.handle_event(event);
                }
            }
            Some(DatagramEvent::Response(_)) | None => {}
        }
    }

    /// Timers, events, contents and datagrams of one side, as quinn's driver takes them.
    fn drive(&mut self, place: usize) {
        let now = self.instant(self.now);
        let side = &mut self.sides[place];
        let Some((handle, connection)) = &mut side.connection else { return };
        if side.wakes_at.is_some_and(|at| at <= now) {
            side.wakes_at = None;
            connection.handle_timeout(now);
        }
        while let Some(event) = connection.poll_endpoint_events() {
            if let Some(event) = side.endpoint.handle_event(*handle, event) {
                connection.handle_event(event);
            }
        }
        while let Some(event) = connection.poll() {
            match event {
                Event::Connected if place == 0 => self.streams[0] = connection.streams().open(Dir::Uni),
                Event::ConnectionLost { reason } => panic!("{reason}"),
                Event::Connected
                | Event::HandshakeDataReady
                | Event::Stream(_)
                | Event::DatagramReceived
                | Event::DatagramsUnblocked => {}
            }
        }
        if place == 0 {
            if let Some(stream) = self.streams[0] {
                let contents = Bytes::from_static(&[0; 65_536]);
                while self.unsent_bytes > 0 {
                    let bytes = contents.slice(..contents.len().min(self.unsent_bytes as usize));
                    let Ok(written) = connection.send_stream(stream).write_chunks(&mut [bytes]) else {
                        break;
                    };
                    self.unsent_bytes -= written.bytes as u64;
                }
            }
        } else {
            self.streams[1] = self.streams[1].or_else(|| connection.streams().accept(Dir::Uni));
            if let Some(stream) = self.streams[1]
                && let Ok(mut chunks) = connection.recv_stream(stream).read(true)
            {
                while let Ok(Some(chunk)) = chunks.next(usize::MAX) {
                    self.received_bytes += chunk.bytes.len() as u64;
                }
                // What it wants sent is sent below anyway.
                let _ = chunks.finalize();
            }
        }
        let mut buffer = Vec::new();
        while let Some(transmit) = connection.poll_transmit(now, SEGMENTS_MAX, &mut buffer) {
            let bytes = Bytes::from(std::mem::take(&mut buffer)).slice(..transmit.size);
            let segment = transmit.segment_size.unwrap_or(transmit.size);
            let mut rest = bytes;
            while !rest.is_empty() {
                let bytes = rest.split_to(segment.min(rest.len()));
                let size = bytes.len() as u64;
                self.network.offer(self.now, side.route, size, Packet::Quic { to: 1 - place, bytes });
            }
        }
        side.wakes_at = connection.poll_timeout().map(|at| {
            let ticks = at.saturating_duration_since(self.start).as_nanos().div_ceil(TICK.as_nanos());
            self.start + TICK * ticks as u32
        });
    }

    /// Another link from now on.
    fn change(&mut self, link: &LinkSpec) {
        for wire in self.wires {
            self.network.schedule(self.now, Change::Wire(wire, link.wire()));
        }
        if let Some(queue) = self.queue
            && let Some(settings) = LinkSpec::queue(link.bandwidth, Span(link.latency.mean().0 * 2))
        {
            self.network.schedule(self.now, Change::Queue(queue, settings));
        }
    }

    /// The quantile of how long small datagrams were under way.
    fn witness(&self, quantile: f64) -> Duration {
        let mut spans: Vec<u64> = self.witnesses.iter().map(|span| span.0).collect();
        spans.sort_unstable();
        let place = ((spans.len() - 1) as f64 * quantile) as usize;
        Duration::from_nanos(spans[place])
    }
}

mod tests {
    use isochrone_link::Latency;
    use isochrone_model::BytesPerSecond;

    use super::*;

    /// 25 MB/s and this latency, with bulk that has gone on for three seconds.
    fn path(latency: Latency, loss: f64) -> VirtualPath {
        let mut path = VirtualPath::new(&link(latency, loss), 7);
        path.run(3.0);
        path.witnesses.clear();
        path
    }

    fn link(latency: Latency, loss: f64) -> LinkSpec {
        LinkSpec { latency, bandwidth: BytesPerSecond(25_000_000), loss }
    }

    fn milliseconds(count: u64) -> Latency {
        Latency::Fixed(Span::from_millis(count))
    }

    #[test]
    fn a_steady_path_is_filled_and_messages_hardly_wait() {
        for latency in [1, 10, 30] {
            let mut path = path(milliseconds(latency), 0.0);
            let rate = path.run(6.0);
            assert!(rate > 22.5e6, "{rate} at {latency} ms");
            let waited = path.witness(0.99) - Duration::from_millis(latency);
            assert!(waited < Duration::from_micros(3_000 + latency * 125), "{waited:?} at {latency} ms");
        }
    }

    #[test]
    fn contents_that_took_two_round_trips_take_less_than_one_once_they_have_been_sent_before() {
        let (mean, deviation) = (Span::from_millis(20), Span::from_millis(1));
        let latency = Latency::Normal { mean, deviation, min: Span::ZERO };
        let spec = LinkSpec { latency, bandwidth: BytesPerSecond(125_000_000), loss: 0.0 };
        let mut path = VirtualPath::new(&spec, 7);
        path.unsent_bytes = 0;
        path.run(1.0);
        let mut spans = Vec::new();
        for _ in 0..12 {
            spans.push(path.contents(300_000));
            path.run(0.1);
        }
        println!("{spans:?}");
        assert!(spans[0] > Duration::from_millis(80), "{spans:?}");
        assert!(spans[4..].iter().all(|span| *span < Duration::from_millis(50)), "{spans:?}");
    }

    #[test]
    fn a_path_that_varies_is_filled_without_a_long_queue() {
        let latency = Latency::uniform(Span::from_millis(20), Span::from_millis(5));
        let mut path = path(latency, 0.0);
        let rate = path.run(6.0);
        assert!(rate > 18e6, "{rate}");
        // Half of a round trip fits into its queue.
        assert!(path.witness(0.5) < Duration::from_millis(28), "{:?}", path.witness(0.5));
    }

    #[test]
    fn a_radio_path_is_used_although_its_delays_hide_any_queue() {
        let latency = Latency::pareto(Span::from_millis(2), Span::from_millis(3), 3.0);
        let mut path = path(latency, 0.001);
        let rate = path.run(6.0);
        assert!(rate > 12e6, "{rate}");
        assert!(path.witness(0.5) < Duration::from_millis(12), "{:?}", path.witness(0.5));
    }

    #[test]
    fn stray_losses_neither_empty_a_path_nor_fill_its_queue() {
        let mut path = path(milliseconds(20), 0.001);
        let rate = path.run(6.0);
        assert!(rate > 17e6, "{rate}");
        assert!(path.witness(0.9) < Duration::from_millis(26), "{:?}", path.witness(0.9));
    }

    #[test]
    fn a_path_that_becomes_longer_is_filled_again_and_one_that_becomes_shorter_has_no_queue() {
        let mut path = path(milliseconds(10), 0.0);
        path.change(&link(milliseconds(60), 0.0));
        path.run(8.0);
        let rate = path.run(4.0);
        assert!(rate > 21e6, "{rate}");
        path.change(&link(milliseconds(5), 0.0));
        path.run(4.0);
        path.witnesses.clear();
        let rate = path.run(4.0);
        assert!(rate > 21e6, "{rate}");
        assert!(path.witness(0.9) < Duration::from_millis(9), "{:?}", path.witness(0.9));
    }
}
