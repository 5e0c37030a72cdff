//! The farm: a scheduler and agents as processes, this process as the client.

use std::path::Path;
use std::time::Instant;

use anyhow::ensure;
use bytes::Bytes;
use isochrone_benches::links;
use isochrone_client::{Buffer, Farm as Client, Program, Session, SessionOptions};
use isochrone_metrics::{Latencies, Rates, Summary};
use isochrone_model::Span;
use isochrone_model::units::BytesPerSecond;
use isochrone_node_agent::virtual_devices::{VirtualDevice, VirtualOptions};
use isochrone_sim::cluster::Cluster;
use isochrone_testbed::{Devices, Farm, FarmOptions, cpu};

use crate::echo::{Chain, Stream};
use crate::{BURST, Effort, HUGE_BYTES, LARGE_BYTES, NO_LOCAL_BULK, SOURCE, latency, span};

/// What the farm does with small commands.
pub struct Launches {
    /// The floor under a launch's hops, measured by turns with the launches.
    pub chain: Summary,
    pub no_op: Summary,
    /// On a modelled device that takes no time: what the farm alone adds to its hops.
    pub modelled_no_op: Summary,
    pub dependent: Summary,
    pub independent: Summary,
    pub write_launch_read: Summary,
    /// A no-op while large writes move between the same processes.
    pub beside_bulk: Summary,
}

/// What it does with large contents, 64 MiB and 1 GiB.
pub struct Transfers {
    pub write: [Stream; 2],
    pub read: [Stream; 2],
    pub hop: [Stream; 2],
}

/// How often what is compared takes turns: how fast a machine is changes from minute to minute.
const TURNS: u32 = 20;

/// A farm of one agent and a session on it.
struct OneAgent {
    farm: Farm,
    client: Client,
    session: Session,
    program: Program,
}

impl OneAgent {
    async fn start(binary: &Path, devices: &Devices) -> anyhow::Result<Self> {
        let farm = Farm::start(FarmOptions::processes(binary).agents(1, devices)).await?;
        let client = farm.connect().await?;
        let session = client.session(SessionOptions::new()).await?;
        let program = session.program(SOURCE).build();
        Ok(Self { farm, client, session, program })
    }

    async fn stop(self) -> anyhow::Result<()> {
        self.session.close().await?;
        self.client.close().await;
        self.farm.stop().await;
        Ok(())
    }
}

/// Measures small commands on one agent; `this` is the binary that echoes.
pub async fn launches(binary: &Path, this: &Path, effort: Effort) -> anyhow::Result<Launches> {
    let mut chain = Chain::start(this).await?;
    let real = OneAgent::start(binary, &Devices::default()).await?;
    let modelled = OneAgent::start(binary, &modelled()).await?;
    let (session, program) = (&real.session, &real.program);
    let buffer = session.buffer(4);
    let each = Effort { samples: effort.samples.div_ceil(TURNS), ..effort };
    let [mut echoes, mut no_ops, mut modelled_no_ops, mut reads] = [(); 4].map(|()| Latencies::new());
    for _ in 0..TURNS {
        for place in 0..each.with_warm_up() {
            let start = Instant::now();
            chain.echo().await?;
            each.record(place, start, &mut echoes);
        }
        no_op(session, program, each, &mut no_ops).await?;
        write_launch_read(session, program, &buffer, each, &mut reads).await?;
        no_op(&modelled.session, &modelled.program, each, &mut modelled_no_ops).await?;
    }
    chain.stop().await?;
    modelled.stop().await?;
    let (dependent, independent) = bursts(session, program, effort).await?;
    let beside_bulk = beside_bulk(session, program, effort).await?;
    real.stop().await?;
    Ok(Launches {
        chain: latency(&echoes),
        no_op: latency(&no_ops),
        modelled_no_op: latency(&modelled_no_ops),
        dependent,
        independent,
        write_launch_read: latency(&reads),
        beside_bulk,
    })
}

/// A modelled device whose kernels take no time.
pub fn modelled() -> Devices {
    let mut device = VirtualDevice::new("modelled", 1_000, 2 << 30, BytesPerSecond(10_000_000_000));
    device.launch_overhead = Span::ZERO;
    Devices::Virtual(VirtualOptions { devices: vec![device], spin: false, seed: 0 })
}

/// No-op launches over an emulated link, and while a GiB is written over it.
pub struct BesideBulk {
    pub idle: Summary,
    pub busy: Summary,
    pub gib_took: Span,
}

/// Measures no-op launches on an agent behind links of 10 ms and 200 Mbit/s, alone and while one write of a GiB moves between the same two
/// processes.
pub async fn beside_bulk_on_a_link(binary: &Path, samples: u32) -> anyhow::Result<BesideBulk> {
    let cluster = Cluster::from_label("uniform(agents=1,latency_us=10000,bandwidth_mbit=200)")?;
    let folder = tempfile::tempdir()?;
    let journal = folder.path().join("journal");
    let farm = links::on_cluster(binary, &cluster, "latency-eft", journal, 1).await?;
    let client = farm.connect().await?;
    let session = client.session(SessionOptions::new()).await?;
    let program = session.program(SOURCE).build();
    let mut idle = Latencies::new();
    no_op(&session, &program, Effort { samples, repeat: 1 }, &mut idle).await?;
    let buffer = session.buffer(HUGE_BYTES as u64);
    let start = Instant::now();
    let bulk = {
        let (session, contents) = (session.clone(), Bytes::from(vec![5; HUGE_BYTES]));
        tokio::spawn(async move { session.write(&buffer, 0, contents).enqueue().await })
    };
    let mut latencies = Latencies::new();
    while !bulk.is_finished() {
        let start = Instant::now();
        session.launch(&program, "no_op").range([1]).enqueue().await?;
        latencies.record(span(start.elapsed()));
    }
    bulk.await??;
    let gib_took = span(start.elapsed());
    session.close().await?;
    client.close().await;
    farm.stop().await;
    Ok(BesideBulk { idle: latency(&idle), busy: latency(&latencies), gib_took })
}

/// Agents keep bulk on QUIC when this process was told to.
fn told_of_bulk(options: FarmOptions) -> FarmOptions {
    match std::env::var(NO_LOCAL_BULK) {
        Ok(value) => options.environment(NO_LOCAL_BULK, &value),
        Err(_) => options,
    }
}

/// Measures large contents on one agent, then between two.
pub async fn transfers(binary: &Path, effort: Effort) -> anyhow::Result<Transfers> {
    let sizes = [(LARGE_BYTES, effort.repeat), (HUGE_BYTES, effort.huge_repeat())];
    let options = told_of_bulk(FarmOptions::processes(binary).agents(1, &Devices::default()));
    let farm = Farm::start(options).await?;
    let client = farm.connect().await?;
    let session = client.session(SessionOptions::new()).await?;
    let program = session.program(SOURCE).build();
    let (large_write, large_read) = large(&session, &program, sizes[0]).await?;
    let (huge_write, huge_read) = large(&session, &program, sizes[1]).await?;
    session.close().await?;
    client.close().await;
    farm.stop().await;

    let options = FarmOptions::processes(binary).policy("round-robin").agents(2, &Devices::default());
    let options = told_of_bulk(options);
    let farm = Farm::start(options).await?;
    let client = farm.connect().await?;
    let session = client.session(SessionOptions::new()).await?;
    let program = session.program(SOURCE).build();
    let hop = [hops(&session, &program, sizes[0]).await?, hops(&session, &program, sizes[1]).await?];
    session.close().await?;
    client.close().await;
    farm.stop().await;
    Ok(Transfers { write: [large_write, huge_write], read: [large_read, huge_read], hop })
}

async fn no_op(
    session: &Session,
    program: &Program,
    effort: Effort,
    latencies: &mut Latencies,
) -> anyhow::Result<()> {
    for place in 0..effort.with_warm_up() {
        let start = Instant::now();
        session.launch(program, "no_op").range([1]).enqueue().await?;
        effort.record(place, start, latencies);
    }
    Ok(())
}

async fn bursts(session: &Session, program: &Program, effort: Effort) -> anyhow::Result<(Summary, Summary)> {
    let (mut dependent, mut independent) = (Latencies::new(), Latencies::new());
    let state = session.buffer(4);
    for place in 0..=effort.repeat {
        let start = Instant::now();
        for _ in 0..BURST {
            session.launch(program, "touch").range([1]).read_write(&state).enqueue();
        }
        session.finish().await?;
        let chain = start.elapsed();
        let start = Instant::now();
        for _ in 0..BURST {
            session.launch(program, "no_op").range([1]).enqueue();
        }
        session.finish().await?;
        if place > 0 {
            dependent.record_each(span(chain), u64::from(BURST));
            independent.record_each(span(start.elapsed()), u64::from(BURST));
        }
    }
    let count = (effort.repeat + 1).wrapping_mul(BURST) as u8;
    let state = session.read(&state).enqueue().await?;
    ensure!(state[0] == count, "every launch of every chain ran: {} of {count} modulo 256", state[0]);
    Ok((latency(&dependent), latency(&independent)))
}

async fn write_launch_read(
    session: &Session,
    program: &Program,
    buffer: &Buffer,
    effort: Effort,
    latencies: &mut Latencies,
) -> anyhow::Result<()> {
    for place in 0..effort.with_warm_up() {
        let value = (place % 200) as u8;
        let start = Instant::now();
        session.write(buffer, 0, [value; 4]).enqueue();
        session.launch(program, "touch").range([1]).read_write(buffer).enqueue();
        let bytes = session.read(buffer).enqueue().await?;
        effort.record(place, start, latencies);
        ensure!(*bytes == [value + 1, value, value, value], "right numbers: {bytes:?}");
    }
    Ok(())
}

/// No-op launches while the same two processes move one large write after the other.
async fn beside_bulk(session: &Session, program: &Program, effort: Effort) -> anyhow::Result<Summary> {
    let buffer = session.buffer(HUGE_BYTES as u64 / 4);
    let contents = Bytes::from(vec![5; HUGE_BYTES / 4]);
    // Nobody waits for one on the other: the launches have no buffers.
    let bulk = {
        let (session, buffer) = (session.clone(), buffer.clone());
        tokio::spawn(
            async move { while session.write(&buffer, 0, contents.clone()).enqueue().await.is_ok() {} },
        )
    };
    let mut latencies = Latencies::new();
    let measured = no_op(session, program, effort, &mut latencies).await;
    ensure!(!bulk.is_finished(), "large writes went on");
    bulk.abort();
    session.finish().await?;
    measured?;
    Ok(latency(&latencies))
}

async fn large(
    session: &Session,
    program: &Program,
    (size, repeat): (usize, u32),
) -> anyhow::Result<(Stream, Stream)> {
    let (mut write, mut read) = (Rates::new(), Rates::new());
    let buffer = session.buffer(size as u64);
    // The device gets it once, so that reads come from a device.
    session.launch(program, "touch").range([1]).read_write(&buffer).enqueue().await?;
    let mut spent = Vec::new();
    for place in 0..=repeat {
        // Making contents, and letting them go, is the program's own and no part of the transfer.
        let contents = Bytes::from(vec![place as u8; size]);
        let before = cpu::of_family();
        let start = Instant::now();
        session.write(&buffer, 0, contents.clone()).enqueue().await?;
        if place > 0 {
            write.record(size as u64, span(start.elapsed()));
            spent.push(cpu::of_family().saturating_sub(before));
        }
    }
    let write = Stream::new(&write, spent, size);
    let mut spent = Vec::new();
    for place in 0..=repeat {
        session.launch(program, "touch").range([1]).read_write(&buffer).enqueue().await?;
        let before = cpu::of_family();
        let start = Instant::now();
        let bytes = session.read(&buffer).enqueue().await?;
        let taken = start.elapsed();
        if place > 0 {
            spent.push(cpu::of_family().saturating_sub(before));
        }
        let first = (repeat as u8).wrapping_add(place as u8 + 1);
        ensure!(bytes.len() == size && bytes[0] == first, "right numbers: {}", bytes[0]);
        ensure!(bytes[size - 1] == repeat as u8, "right numbers at the end");
        if place > 0 {
            read.record(size as u64, span(taken));
        }
    }
    Ok((write, Stream::new(&read, spent, size)))
}

/// Launches that round-robin puts on one agent after the other, each of which changes the same contents.
async fn hops(session: &Session, program: &Program, (size, repeat): (usize, u32)) -> anyhow::Result<Stream> {
    let mut rates = Rates::new();
    let buffer = session.buffer_from(vec![0_u8; size]);
    let range = [LARGE_BYTES as u64];
    let mut spent = Vec::new();
    for place in 0..repeat + 3 {
        let before = cpu::of_family();
        let start = Instant::now();
        session.launch(program, "touch").range(range).read_write(&buffer).enqueue().await?;
        if place >= 3 {
            rates.record(size as u64, span(start.elapsed()));
            spent.push(cpu::of_family().saturating_sub(before));
        }
    }
    let bytes = session.read(&buffer).enqueue().await?;
    let count = (repeat + 3) as u8;
    let (changed, rest) = bytes.split_at(LARGE_BYTES);
    ensure!(changed.iter().all(|byte| *byte == count), "every launch changed every byte");
    ensure!(rest.iter().all(|byte| *byte == 0), "and no other");
    Ok(Stream::new(&rates, spent, size))
}
