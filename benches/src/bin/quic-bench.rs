//! `quic-bench`: transfers of bare quinn over emulated links beside what the `quic` network model says of them.
//!
//! Each transfer has a connection of its own, as after a handshake, so that it begins in slow start. Both ends are in this
//! process and read one clock. Must never assert a time: it measures and writes down.

#![expect(clippy::disallowed_methods, reason = "what is measured here is time")]

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;
use bytes::Bytes;
use clap::Parser;
use isochrone_benches::endpoint::{STREAM_WINDOW_BYTES, endpoint};
use isochrone_benches::report::{self, median};
use isochrone_emulator::{Emulator, EmulatorOptions, LinkPlan, LinkSettings};
use isochrone_link::{Latency, LinkSpec};
use isochrone_metrics::{Alignment, Table};
use isochrone_model::units::BytesPerSecond;
use isochrone_model::{Span, Timestamp};
use isochrone_sim::cluster::{Cluster, ClusterAgent, InputPlace, Party, Topology};
use isochrone_sim::network::network;
use quinn::{ClientConfig, Endpoint, MtuDiscoveryConfig, ServerConfig, TransportConfig, VarInt};
use rustls::RootCertStore;
use rustls::pki_types::PrivatePkcs8KeyDer;
use serde::Serialize;

/// Compares transfers of bare quinn over emulated links with the `quic` network model.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    /// Where to write quic.md and quic.json [default: print only]
    #[arg(long, value_name = "DIR")]
    output: Option<PathBuf>,

    /// Rate of the link in Mbit/s
    #[arg(long, value_name = "MBIT", value_delimiter = ',', default_values_t = [400])]
    rate: Vec<u64>,

    /// One-way latencies in milliseconds
    #[arg(long, value_name = "MS", value_delimiter = ',', default_values_t = [1, 5, 20, 50, 100])]
    latency: Vec<u64>,

    /// Sizes in KiB
    #[arg(long, value_name = "KIB", value_delimiter = ',', default_values_t = [16, 64, 256, 1_024, 4_096, 16_384, 65_536])]
    size: Vec<u64>,

    /// Transfers of each size; the median counts
    #[arg(long, value_name = "COUNT", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    repeat: u32,

    /// Parameters of the quic model beside those that are measured here, what hosts and the relay add to a message
    #[arg(
        long,
        value_name = "PARAMETERS",
        default_value = "initial_window_bytes=12000,datagram_bytes=1472,discovery_round_trips=4"
    )]
    model: String,
}

const NAME: &str = "localhost";
/// What a message holds that shows what hosts add to latency.
const MESSAGE_BYTES: u64 = 64;
const MESSAGES: usize = 21;
/// What a path of 1,500 bytes carries: no probe of it is lost.
const DATAGRAM_BYTES: u16 = 1_472;
const CHUNK_BYTES: u64 = 256 << 10;
/// As the farm's transport has them.
const CONNECTION_WINDOW_BYTES: u64 = (65 * (4 << 20)) * 8 / 7 + 8;

#[derive(Clone, Debug, Serialize)]
struct Point {
    rate_mbit: u64,
    latency_ms: u64,
    size_kib: u64,
    /// To the latency of a small message, by hosts and relay.
    added_us: f64,
    live_ms: f64,
    model_ms: f64,
    /// (model - live) / live
    error: f64,
    live_all_ms: Vec<f64>,
}

#[derive(Serialize)]
struct Content {
    points: Vec<Point>,
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    // Only the first call can fail, and there is one.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(measure(&arguments))
}

async fn measure(arguments: &Arguments) -> anyhow::Result<()> {
    let mut command_line = vec!["target/release/quic-bench".to_owned()];
    command_line.extend(std::env::args().skip(1));
    let mut manifest = report::manifest(command_line)?;
    manifest.note("model", &arguments.model);
    let mut points = Vec::new();
    for rate_mbit in &arguments.rate {
        for latency_ms in &arguments.latency {
            let rate = BytesPerSecond(rate_mbit * 125_000);
            let link = LinkSpec::fixed(Span::from_millis(*latency_ms), rate);
            let bench = Bench::start(&link)?;
            let added_us = bench.added(link.latency.mean()).await?.as_secs_f64() * 1e6;
            // A round trip of the window has it twice.
            let model = format!(
                "quic(controller=cubic,warm=all,message_us={added_us:.1},transfer_us={added_us:.1},acknowledgement_us={:.1},{})",
                added_us * 2.0,
                arguments.model
            );
            eprintln!("{rate_mbit} Mbit/s, {latency_ms} ms: {model}");
            for size_kib in &arguments.size {
                let mut live = Vec::new();
                for _ in 0..arguments.repeat {
                    live.push(bench.transfer(size_kib << 10).await?.as_secs_f64() * 1e3);
                }
                let live_ms = median(live.clone());
                let model_ms = modelled(&link, size_kib << 10, &model)?.as_secs_f64() * 1e3;
                let error = (model_ms - live_ms) / live_ms;
                eprintln!(
                    "{rate_mbit} Mbit/s, {latency_ms} ms, {size_kib} KiB: {live_ms:.2} ms, model {model_ms:.2} ms, {:+.1} %",
                    error * 100.0
                );
                points.push(Point {
                    rate_mbit: *rate_mbit,
                    latency_ms: *latency_ms,
                    size_kib: *size_kib,
                    added_us,
                    live_ms,
                    model_ms,
                    error,
                    live_all_ms: live,
                });
            }
        }
    }
    let body = body(&points);
    println!("{body}");
    let Some(directory) = &arguments.output else { return Ok(()) };
    let title = "The quic model beside bare quinn over emulated links";
    report::write(directory, "quic", title, &manifest, &body, &Content { points })
}

/// Two ends with a relay between them.
struct Bench {
    _relay: Emulator,
    server: Endpoint,
    client: Endpoint,
    config: ClientConfig,
    front: SocketAddr,
}

impl Bench {
    fn start(link: &LinkSpec) -> anyhow::Result<Self> {
        let round_trip = link.latency.mean() + link.latency.mean();
        let queue = LinkSpec::queue(link.bandwidth, round_trip);
        let settings = || LinkSettings { wire: link.wire(), queue };
        let address: IpAddr = Ipv4Addr::new(127, 2, 0, 1).into();
        let relay = Emulator::start(
            EmulatorOptions::new(LinkPlan::between_two(1, settings(), settings()), 0).party(address, 1),
        )?;
        let key = rcgen::generate_simple_self_signed([NAME.to_owned()])?;
        let private = PrivatePkcs8KeyDer::from(key.signing_key.serialize_der());
        let mut server_config = ServerConfig::with_single_cert(vec![key.cert.der().clone()], private.into())?;
        server_config.transport_config(transport());
        let server = endpoint((address, 0).into(), Some(server_config))?;
        let front = relay.front((Ipv4Addr::LOCALHOST, 0).into(), 1, server.local_addr()?)?;
        let mut roots = RootCertStore::empty();
        roots.add(key.cert.der().clone())?;
        let mut config = ClientConfig::with_root_certificates(Arc::new(roots))?;
        config.transport_config(transport());
        let client = endpoint((Ipv4Addr::LOCALHOST, 0).into(), None)?;
        Ok(Self { _relay: relay, server, client, config, front })
    }

    /// What hosts and relay add to the latency of a message, the median.
    async fn added(&self, latency: Span) -> anyhow::Result<Duration> {
        let mut seconds = Vec::new();
        for _ in 0..MESSAGES {
            seconds.push(self.transfer(MESSAGE_BYTES).await?.as_secs_f64());
        }
        Ok(Duration::from_secs_f64((median(seconds) - latency.as_secs_f64()).max(0.0)))
    }

    /// From the first byte given to a fresh connection until the last has come.
    async fn transfer(&self, size_bytes: u64) -> anyhow::Result<Duration> {
        let dialling = self.client.connect_with(self.config.clone(), self.front, NAME)?;
        let accepting = async {
            let incoming = self.server.accept().await.context("the server is there")?;
            anyhow::Ok(incoming.await?)
        };
        let (dialled, accepted) = tokio::join!(dialling, accepting);
        let (dialled, accepted) = (dialled?, accepted?);
        // What the handshake leaves behind is over.
        tokio::time::sleep(dialled.rtt() * 2).await;
        let receiving = tokio::spawn(async move {
            let mut stream = accepted.accept_uni().await?;
            let mut received = 0;
            while let Some(chunk) = stream.read_chunk(usize::MAX, true).await? {
                received += chunk.bytes.len() as u64;
            }
            anyhow::Ok((received, Instant::now(), accepted))
        });
        let start = Instant::now();
        let mut stream = dialled.open_uni().await?;
        let watch = dialled.clone();
        if std::env::var_os("WATCH").is_some() {
            let w = watch;
            tokio::spawn(async move {
                let t0 = Instant::now();
                loop {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                    if w.close_reason().is_some() {
                        break;
                    }
                    let st = w.stats();
                    eprintln!(
                        "      {:>5} cwnd {} sent {} lost {} cong {} rtt {:?} mtu {}",
                        t0.elapsed().as_millis(),
                        st.path.cwnd,
                        st.udp_tx.bytes,
                        st.path.lost_packets,
                        st.path.congestion_events,
                        st.path.rtt,
                        st.path.current_mtu
                    );
                }
            });
        }
        let chunk = Bytes::from(vec![7; CHUNK_BYTES as usize]);
        let mut left = size_bytes;
        while left > 0 {
            let part = left.min(CHUNK_BYTES);
            stream.write_chunk(chunk.slice(..part as usize)).await?;
            left -= part;
        }
        stream.finish()?;
        let (received, end, accepted) = receiving.await??;
        let st = dialled.stats();
        eprintln!(
            "   {:?} {:?} sdb {} db {} sent {}",
            end - start,
            st.path,
            st.frame_tx.stream_data_blocked,
            st.frame_tx.data_blocked,
            st.udp_tx.datagrams
        );
        anyhow::ensure!(received == size_bytes, "{received} of {size_bytes} bytes came");
        dialled.close(VarInt::from_u32(0), b"");
        drop(accepted);
        Ok(end - start)
    }
}

fn transport() -> Arc<TransportConfig> {
    let mut discovery = MtuDiscoveryConfig::default();
    discovery.upper_bound(DATAGRAM_BYTES);
    let mut transport = TransportConfig::default();
    let window = VarInt::from_u64(CONNECTION_WINDOW_BYTES).unwrap_or(VarInt::MAX);
    transport
        .stream_receive_window(VarInt::from_u32(STREAM_WINDOW_BYTES))
        .receive_window(window)
        .send_window(CONNECTION_WINDOW_BYTES)
        .mtu_discovery_config(Some(discovery))
        .max_idle_timeout(Some(VarInt::from_u32(60_000).into()));
    Arc::new(transport)
}

/// What the model says: a client and an agent with this link, and a connection that is there.
fn modelled(link: &LinkSpec, size_bytes: u64, label: &str) -> anyhow::Result<Duration> {
    let cluster = Cluster {
        name: "two".to_owned(),
        agents: vec![ClusterAgent { name: "a".to_owned(), host_memory_bytes: u64::MAX, devices: Vec::new() }],
        inputs_at: InputPlace::Client,
        topology: Topology::uniform(
            1,
            LinkSpec { latency: Latency::Fixed(link.latency.mean()), ..link.clone() },
        ),
    };
    let mut network = network(label, &cluster, 0)?;
    // Two round trips after the handshake, as live.
    let start = Timestamp::ZERO + (link.latency.mean() + link.latency.mean()).saturating_mul(2);
    network.start(start, Party::Client, Party::Agent(0), size_bytes);
    let mut done = Vec::new();
    while done.is_empty() {
        let at = network.next_event().context("the model's transfer ends")?;
        network.advance(at, &mut done);
        if !done.is_empty() {
            return Ok(at.since(start).into());
        }
    }
    anyhow::bail!("the model's transfer never ends")
}

fn body(points: &[Point]) -> String {
    let mut table = Table::new(&[
        ("Mbit/s", Alignment::Right),
        ("one way, ms", Alignment::Right),
        ("size, KiB", Alignment::Right),
        ("hosts add, us", Alignment::Right),
        ("quinn, ms", Alignment::Right),
        ("spread, %", Alignment::Right),
        ("model, ms", Alignment::Right),
        ("error, %", Alignment::Right),
    ]);
    for point in points {
        let least = point.live_all_ms.iter().copied().fold(f64::INFINITY, f64::min);
        let most = point.live_all_ms.iter().copied().fold(0.0, f64::max);
        table.row([
            point.rate_mbit.to_string(),
            point.latency_ms.to_string(),
            point.size_kib.to_string(),
            format!("{:.0}", point.added_us),
            format!("{:.2}", point.live_ms),
            format!("{:.0}", (most - least) / point.live_ms * 100.0),
            format!("{:.2}", point.model_ms),
            format!("{:+.1}", point.error * 100.0),
        ]);
    }
    let errors: Vec<f64> = points.iter().map(|point| point.error.abs()).collect();
    let within = errors.iter().filter(|error| **error <= 0.1).count();
    let worst = errors.iter().copied().fold(0.0, f64::max);
    format!(
        "One stream on a fresh connection over an emulated link, from the first byte given to the last one received, the median of {} \
         transfers. The bottleneck's buffer holds the rate times the round trip; datagrams are looked for up to 1,472 bytes. The model is given \
         what hosts and relay add to a message of 64 bytes in the same run. Of {} points {within} are within 10 %; the median \
         error is {:.1} %, the worst {:.1} %.\n\n{table}",
        points.first().map_or(0, |point| point.live_all_ms.len()),
        points.len(),
        median(errors) * 100.0,
        worst * 100.0
    )
}
