//! The floor under messages and transfers: bare quinn streams between processes of this binary.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use bytes::Bytes;
use isochrone_benches::endpoint::{DATAGRAM_BYTES_MAX, STREAM_WINDOW_BYTES, endpoint};
use isochrone_metrics::{Latencies, Rates, Summary};
use isochrone_testbed::cpu;
use quinn::{
    ClientConfig, Connection, Endpoint, RecvStream, SendStream, ServerConfig, TransportConfig, VarInt,
};
use rustls::RootCertStore;
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

use crate::{Effort, HUGE_BYTES, LARGE_BYTES, latency, span};

const MESSAGE_BYTES: usize = 64;
const CHUNK_BYTES: usize = 256 << 10;
const NAME: &str = "localhost";

/// What a stream is for: its first byte.
const ECHO: u8 = 0;
const UPLOAD: u8 = 1;
const DOWNLOAD: u8 = 2;

/// What bare QUIC does between processes.
pub struct Bare {
    /// A message to another process and back.
    pub pair: Summary,
    pub upload: Stream,
    pub download: Stream,
    pub huge_upload: Stream,
    pub huge_download: Stream,
}

/// What one stream after the other does.
#[derive(Clone, Copy)]
pub struct Stream {
    pub rate: Summary,
    /// Seconds of processor time of both ends for each GiB, of the median transfer.
    pub cpu_per_gib: f64,
}

fn transport() -> Arc<TransportConfig> {
    let mut transport = TransportConfig::default();
    let mut discovery = quinn::MtuDiscoveryConfig::default();
    discovery.upper_bound(DATAGRAM_BYTES_MAX);
    transport
        .mtu_discovery_config(Some(discovery))
        .stream_receive_window(VarInt::from_u32(STREAM_WINDOW_BYTES))
        .max_idle_timeout(Some(VarInt::from_u32(60_000).into()))
        .keep_alive_interval(Some(Duration::from_secs(5)));
    Arc::new(transport)
}

/// Is the far end until the parent's end of standard input closes.
pub async fn serve(certificate: &Path, next: Option<&[String]>) -> anyhow::Result<()> {
    let key = rcgen::generate_simple_self_signed([NAME.to_owned()])?;
    let private = PrivatePkcs8KeyDer::from(key.signing_key.serialize_der());
    let mut config = ServerConfig::with_single_cert(vec![key.cert.der().clone()], private.into())?;
    config.transport_config(transport());
    let endpoint = endpoint((Ipv4Addr::LOCALHOST, 0).into(), Some(config))?;
    let next = match next {
        Some([port, file]) => Some(dial(port.parse()?, Path::new(file)).await?),
        Some(_) => bail!("--next takes a port and a file"),
        None => None,
    };
    std::fs::write(certificate, key.cert.der())?;
    println!("{}", endpoint.local_addr()?.port());
    tokio::spawn(async move {
        while let Some(incoming) = endpoint.accept().await {
            let Ok(connection) = incoming.await else { continue };
            let next = next.as_ref().map(|(_, connection)| connection.clone());
            tokio::spawn(async move {
                while let Ok((sender, receiver)) = connection.accept_bi().await {
                    tokio::spawn(serve_stream(sender, receiver, next.clone()));
                }
            });
        }
    });
    tokio::task::spawn_blocking(|| std::io::copy(&mut std::io::stdin().lock(), &mut std::io::sink()))
        .await??;
    Ok(())
}

async fn serve_stream(
    mut sender: SendStream,
    mut receiver: RecvStream,
    next: Option<Connection>,
) -> anyhow::Result<()> {
    let mut purpose = [0];
    receiver.read_exact(&mut purpose).await?;
    match purpose[0] {
        ECHO => {
            let mut onward = match next {
                Some(connection) => {
                    let (mut sender, receiver) = connection.open_bi().await?;
                    sender.write_all(&[ECHO]).await?;
                    Some((sender, receiver))
                }
                None => None,
            };
            let mut message = [0; MESSAGE_BYTES];
            loop {
                receiver.read_exact(&mut message).await?;
                if let Some((sender, receiver)) = &mut onward {
                    sender.write_all(&message).await?;
                    receiver.read_exact(&mut message).await?;
                }
                sender.write_all(&message).await?;
            }
        }
        UPLOAD => {
            while receiver.read_chunk(usize::MAX, true).await?.is_some() {}
            sender.write_all(&[1]).await?;
        }
        DOWNLOAD => {
            let mut size = [0; 8];
            receiver.read_exact(&mut size).await?;
            send_large(&mut sender, usize::try_from(u64::from_le_bytes(size))?).await?;
        }
        other => bail!("no purpose {other}"),
    }
    sender.finish()?;
    let _ = sender.stopped().await;
    Ok(())
}

async fn send_large(sender: &mut SendStream, size: usize) -> anyhow::Result<()> {
    let chunk = Bytes::from(vec![7; CHUNK_BYTES]);
    for _ in 0..size / CHUNK_BYTES {
        sender.write_chunk(chunk.clone()).await?;
    }
    Ok(())
}

async fn dial(port: u16, certificate: &Path) -> anyhow::Result<(Endpoint, Connection)> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from(std::fs::read(certificate)?))?;
    let mut config = ClientConfig::with_root_certificates(Arc::new(roots))?;
    config.transport_config(transport());
    let endpoint = endpoint((Ipv4Addr::LOCALHOST, 0).into(), None)?;
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let connection = endpoint.connect_with(config, address, NAME)?.await?;
    Ok((endpoint, connection))
}

/// Another process of this binary; ends with this.
struct Process {
    child: Child,
    port: u16,
}

impl Process {
    async fn start(binary: &Path, certificate: &Path, next: Option<(&Self, &Path)>) -> anyhow::Result<Self> {
        let mut command = Command::new(binary);
        command.arg("--echo").arg(certificate);
        if let Some((process, file)) = next {
            command.arg("--next").arg(process.port.to_string()).arg(file);
        }
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true).spawn()?;
        let output = child.stdout.take().context("no standard output")?;
        let mut line = String::new();
        BufReader::new(output).read_line(&mut line).await?;
        let port = line.trim().parse().context("the other process ended")?;
        Ok(Self { child, port })
    }

    async fn stop(&mut self) -> anyhow::Result<()> {
        drop(self.child.stdin.take());
        self.child.wait().await?;
        Ok(())
    }
}

/// Messages through a second process to a third, and back: the hops of a launch.
pub struct Chain {
    sender: SendStream,
    receiver: RecvStream,
    _endpoint: Endpoint,
    processes: [Process; 2],
    _folder: tempfile::TempDir,
}

impl Chain {
    pub async fn start(binary: &Path) -> anyhow::Result<Self> {
        let folder = tempfile::tempdir()?;
        let (far, near) = (folder.path().join("far.der"), folder.path().join("near.der"));
        let last = Process::start(binary, &far, None).await?;
        let between = Process::start(binary, &near, Some((&last, &far))).await?;
        let (endpoint, connection) = dial(between.port, &near).await?;
        let (mut sender, receiver) = connection.open_bi().await?;
        sender.write_all(&[ECHO]).await?;
        Ok(Self { sender, receiver, _endpoint: endpoint, processes: [between, last], _folder: folder })
    }

    /// One message there and back.
    pub async fn echo(&mut self) -> anyhow::Result<()> {
        let mut message = [1; MESSAGE_BYTES];
        self.sender.write_all(&message).await?;
        Ok(self.receiver.read_exact(&mut message).await?)
    }

    pub async fn stop(mut self) -> anyhow::Result<()> {
        for process in &mut self.processes {
            process.stop().await?;
        }
        Ok(())
    }
}

/// Measures everything between this process and another of `binary`.
pub async fn measure(binary: &Path, effort: Effort) -> anyhow::Result<Bare> {
    let folder = tempfile::tempdir()?;
    let far = folder.path().join("far.der");
    let mut last = Process::start(binary, &far, None).await?;
    let (_pair_endpoint, pair) = dial(last.port, &far).await?;
    let bare = Bare {
        pair: latency(&echo(&pair, effort).await?),
        upload: upload(&pair, LARGE_BYTES, effort.repeat).await?,
        download: download(&pair, LARGE_BYTES, effort.repeat).await?,
        huge_upload: upload(&pair, HUGE_BYTES, effort.huge_repeat()).await?,
        huge_download: download(&pair, HUGE_BYTES, effort.huge_repeat()).await?,
    };
    last.stop().await?;
    Ok(bare)
}

async fn echo(connection: &Connection, effort: Effort) -> anyhow::Result<Latencies> {
    let (mut sender, mut receiver) = connection.open_bi().await?;
    sender.write_all(&[ECHO]).await?;
    let mut message = [1; MESSAGE_BYTES];
    let mut latencies = Latencies::new();
    let warm_up = effort.samples / 10;
    for place in 0..effort.samples + warm_up {
        let start = Instant::now();
        sender.write_all(&message).await?;
        receiver.read_exact(&mut message).await?;
        if place >= warm_up {
            latencies.record(span(start.elapsed()));
        }
    }
    Ok(latencies)
}

async fn upload(connection: &Connection, size: usize, repeat: u32) -> anyhow::Result<Stream> {
    let mut rates = Rates::new();
    let mut spent = Vec::new();
    for place in 0..=repeat {
        let before = cpu::of_family();
        let start = Instant::now();
        let (mut sender, mut receiver) = connection.open_bi().await?;
        sender.write_all(&[UPLOAD]).await?;
        send_large(&mut sender, size).await?;
        sender.finish()?;
        receiver.read_exact(&mut [0]).await?;
        if place > 0 {
            rates.record(size as u64, span(start.elapsed()));
            spent.push(cpu::of_family().saturating_sub(before));
        }
    }
    Ok(Stream::new(&rates, spent, size))
}

async fn download(connection: &Connection, size: usize, repeat: u32) -> anyhow::Result<Stream> {
    let mut rates = Rates::new();
    let mut spent = Vec::new();
    for place in 0..=repeat {
        let before = cpu::of_family();
        let start = Instant::now();
        let (mut sender, mut receiver) = connection.open_bi().await?;
        sender.write_all(&[DOWNLOAD]).await?;
        sender.write_all(&(size as u64).to_le_bytes()).await?;
        let mut received = 0;
        while let Some(chunk) = receiver.read_chunk(usize::MAX, true).await? {
            received += chunk.bytes.len();
        }
        if received != size {
            bail!("{received} of {size} bytes came");
        }
        if place > 0 {
            rates.record(size as u64, span(start.elapsed()));
            spent.push(cpu::of_family().saturating_sub(before));
        }
    }
    Ok(Stream::new(&rates, spent, size))
}

impl Stream {
    /// Of transfers of `size` bytes, and the processor time that each of them took.
    pub fn new(rates: &Rates, mut spent: Vec<Duration>, size: usize) -> Self {
        spent.sort_unstable();
        let median = spent.get(spent.len() / 2).copied().unwrap_or_default();
        let cpu_per_gib = median.as_secs_f64() * f64::from(1 << 30) / size as f64;
        Self { rate: Summary::Rate(rates.summary()), cpu_per_gib }
    }
}
