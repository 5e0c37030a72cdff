//! `live-bench`: the live farm's latencies and rates, each beside its floors measured in the same run.
//!
//! The farm is of processes on loopback, as `isochrone up` starts it. Floors are bare quinn between processes and
//! the same kernels given to OpenCL directly. Must never assert a time: it measures and writes down.

#![expect(clippy::disallowed_methods, reason = "what is measured here is time")]

mod bursts;
mod direct;
mod echo;
mod farm;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::Context;
use clap::Parser;
use isochrone_metrics::{Figure, Latencies, RunManifest, Summary};
use isochrone_model::Span;
use serde::Serialize;

/// Measures a farm of processes on this machine beside its floors.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    /// Where to write live.md and live.json [default: print only]
    #[arg(long, value_name = "DIR")]
    output: Option<PathBuf>,

    /// The `isochrone` binary [default: beside this one]
    #[arg(long, value_name = "FILE")]
    binary: Option<PathBuf>,

    /// Samples of each short latency
    #[arg(long, value_name = "COUNT", default_value_t = 2_000, value_parser = clap::value_parser!(u32).range(1..))]
    samples: u32,

    /// Repetitions of each burst and of each large transfer
    #[arg(long, value_name = "COUNT", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..))]
    repeat: u32,

    /// Only this part
    #[arg(long, value_enum, value_name = "PART")]
    only: Option<Part>,

    /// Be the far end of a bare QUIC connection; write the certificate to this file.
    #[arg(long, value_name = "FILE", hide = true)]
    echo: Option<PathBuf>,

    /// Pass messages on to the far end whose port and certificate these are.
    #[arg(long, num_args = 2, value_names = ["PORT", "FILE"], hide = true)]
    next: Option<Vec<String>>,
}

/// A part of what is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Part {
    /// Small commands.
    Launches,
    /// 10,000 commands at a time.
    Bursts,
    /// Large contents.
    Transfers,
    /// Small commands beside large contents over an emulated link; a minute and a half, only when asked for.
    Link,
}

/// How much is measured.
#[derive(Clone, Copy, Debug)]
pub struct Effort {
    /// Samples of each short latency.
    pub samples: u32,
    /// Repetitions of each burst and of each large transfer.
    pub repeat: u32,
}

impl Effort {
    /// Repetitions of each transfer of 1 GiB.
    #[must_use]
    pub const fn huge_repeat(self) -> u32 {
        self.repeat.div_ceil(5)
    }

    /// Samples, and a tenth before them that does not count.
    #[must_use]
    pub const fn with_warm_up(self) -> u32 {
        self.samples + self.samples / 10
    }

    /// Records what began then, unless it is one of those that do not count.
    pub fn record(self, place: u32, start: Instant, latencies: &mut Latencies) {
        if place >= self.samples / 10 {
            latencies.record(span(start.elapsed()));
        }
    }
}

/// Bytes of a large transfer.
pub const LARGE_BYTES: usize = 64 << 20;
/// No-op launches over an emulated link without anything else.
const LINK_SAMPLES: u32 = 500;
/// Bytes of a transfer for which any start counts for nothing.
pub const HUGE_BYTES: usize = 1 << 30;
/// The variable that keeps bulk on QUIC within a machine.
pub const NO_LOCAL_BULK: &str = "ISOCHRONE_NO_LOCAL_BULK";
/// Launches in a burst.
pub const BURST: u32 = 1_000;
/// The kernels of all measurements, with and without a farm.
pub const SOURCE: &str = "
kernel void no_op(void) {}
kernel void touch(global uchar *bytes) { bytes[get_global_id(0)] += 1; }
";

/// What `live.json` holds.
#[derive(Serialize)]
struct Report {
    manifest: RunManifest,
    figures: Vec<Figure>,
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    // Only the first call can fail, and there is one.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    if let Some(certificate) = &arguments.echo {
        return runtime.block_on(echo::serve(certificate, arguments.next.as_deref()));
    }
    runtime.block_on(measure(&arguments))
}

#[expect(clippy::disallowed_methods, reason = "a report says when it was made")]
async fn measure(arguments: &Arguments) -> anyhow::Result<()> {
    let started = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?.as_secs();
    let effort = Effort { samples: arguments.samples, repeat: arguments.repeat };
    let this = std::env::current_exe()?;
    let binary = match &arguments.binary {
        Some(binary) => binary.clone(),
        None => this.with_file_name("isochrone"),
    };
    let command_line = vec![
        "target/release/live-bench".to_owned(),
        format!("--samples={}", effort.samples),
        format!("--repeat={}", effort.repeat),
    ];
    let mut manifest = RunManifest::new(started, env!("CARGO_PKG_VERSION"), command_line);

    say("OpenCL without a farm");
    let direct = tokio::task::spawn_blocking(move || direct::measure(effort)).await??;
    manifest.note("device", &direct.device);
    say("bare QUIC between processes");
    let bare = echo::measure(&this, effort).await?;
    let wants = |part| arguments.only.is_none_or(|only| only == part);
    let mut figures = Vec::new();
    if wants(Part::Launches) {
        say("small commands on the farm");
        figures.extend(launch_figures(&farm::launches(&binary, &this, effort).await?, &direct, &bare));
    }
    if arguments.only == Some(Part::Link) {
        say("small commands beside a GiB over an emulated link");
        let beside = farm::beside_bulk_on_a_link(&binary, LINK_SAMPLES).await?;
        manifest.note("the GiB took", format!("{:.1} s", beside.gib_took.as_secs_f64()));
        figures.push(
            Figure::new("no-op launch while a GiB is written, links of 10 ms and 200 Mbit/s", beside.busy)
                .floor("the same without the GiB", beside.idle),
        );
    }
    if wants(Part::Bursts) {
        say("long bursts");
        figures.extend(bursts::measure(&binary, effort).await?);
    }
    if wants(Part::Transfers) {
        say("large contents on the farm");
        let transfers = farm::transfers(&binary, effort).await?;
        let fresh = tokio::task::spawn_blocking(move || direct::fresh_memory(effort)).await??;
        figures.extend(transfer_figures(&transfers, &direct, &bare, fresh));
        let way = std::env::var_os(NO_LOCAL_BULK).map_or("within the machine", |_| "over QUIC alone");
        manifest.note("large contents go", way);
        for (name, stream) in [
            ("bare quinn stream, 64 MiB", bare.upload),
            ("write 64 MiB", transfers.write[0]),
            ("read 64 MiB", transfers.read[0]),
            ("64 MiB from agent to agent, and a launch over them", transfers.hop[0]),
            ("bare quinn stream, 1 GiB", bare.huge_upload),
            ("write 1 GiB", transfers.write[1]),
            ("read 1 GiB", transfers.read[1]),
            ("1 GiB from agent to agent, and a launch over 64 MiB", transfers.hop[1]),
        ] {
            let value = format!("{:.2}, of all processes", stream.cpu_per_gib);
            manifest.note(format!("CPU seconds per GiB, {name}"), value);
        }
    }
    let table = Figure::table(&figures).to_string();
    println!("{}\n{table}", manifest.table());
    let Some(directory) = &arguments.output else { return Ok(()) };
    let text = format!(
        "# The live farm beside its floors\n\nWritten by `make bench`. Rates of large transfers are of bytes of contents; p99 of a rate is \
         the one that 99 of 100 reach.\n\n{}\n{table}",
        manifest.table()
    );
    write(directory, "live.md", &text)?;
    let json = serde_json::to_string_pretty(&Report { manifest, figures })?;
    write(directory, "live.json", &(json + "\n"))
}

const CHAIN: &str = "bare quinn, client - scheduler - agent and back, 64 B";
const DIRECTLY: &str = "OpenCL directly";
const STREAM: &str = "bare quinn stream, two processes";

fn launch_figures(farm: &farm::Launches, direct: &direct::Direct, bare: &echo::Bare) -> Vec<Figure> {
    vec![
        Figure::new("no-op launch, submit to completion", farm.no_op)
            .floor(CHAIN, farm.chain)
            .floor("bare quinn, two processes and back, 64 B", bare.pair)
            .floor(DIRECTLY, direct.no_op),
        Figure::new("no-op launch on a modelled device, which takes no time", farm.modelled_no_op)
            .floor(CHAIN, farm.chain),
        Figure::new("no-op launch while large writes go to the same agent", farm.beside_bulk)
            .floor("the farm's no-op launch", farm.no_op),
        Figure::new("1,000 dependent launches, each", farm.dependent).floor(DIRECTLY, direct.dependent),
        Figure::new("1,000 independent no-op launches, each", farm.independent)
            .floor(DIRECTLY, direct.independent),
        Figure::new("write 4 B + launch + read 4 B", farm.write_launch_read)
            .floor(CHAIN, farm.chain)
            .floor("the farm's no-op launch", farm.no_op)
            .floor(DIRECTLY, direct.write_launch_read),
    ]
}

const FRESH: &str = "first writing to fresh memory";

fn transfer_figures(
    farm: &farm::Transfers,
    direct: &direct::Direct,
    bare: &echo::Bare,
    fresh: Summary,
) -> Vec<Figure> {
    let [write, huge_write] = farm.write;
    let [read, huge_read] = farm.read;
    let [hop, huge_hop] = farm.hop;
    vec![
        Figure::new("write 64 MiB", write.rate).floor(STREAM, bare.upload.rate).floor(DIRECTLY, direct.write),
        Figure::new("write 1 GiB", huge_write.rate).floor(STREAM, bare.huge_upload.rate).floor(FRESH, fresh),
        Figure::new("read 64 MiB", read.rate).floor(STREAM, bare.download.rate).floor(DIRECTLY, direct.read),
        Figure::new("read 1 GiB", huge_read.rate).floor(STREAM, bare.huge_download.rate).floor(FRESH, fresh),
        Figure::new("64 MiB from agent to agent, changed by a launch on each", hop.rate)
            .floor(STREAM, bare.upload.rate),
        Figure::new("1 GiB from agent to agent, 64 MiB of it changed by a launch on each", huge_hop.rate)
            .floor(STREAM, bare.huge_upload.rate)
            .floor(FRESH, fresh),
    ]
}

fn write(directory: &Path, name: &str, text: &str) -> anyhow::Result<()> {
    std::fs::create_dir_all(directory)
        .and_then(|()| std::fs::write(directory.join(name), text))
        .with_context(|| format!("cannot write {}", directory.join(name).display()))
}

fn say(what: &str) {
    eprintln!("measuring {what}");
}

/// A host's time as the project's.
#[must_use]
pub fn span(duration: Duration) -> Span {
    Span(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX))
}

/// Times something again and again in this thread; the first tenth warms up.
///
/// # Errors
/// The first error of `once`.
pub fn sample(count: u32, mut once: impl FnMut() -> anyhow::Result<()>) -> anyhow::Result<Latencies> {
    let mut latencies = Latencies::new();
    let warm_up = count / 10;
    for place in 0..count + warm_up {
        let start = Instant::now();
        once()?;
        if place >= warm_up {
            latencies.record(span(start.elapsed()));
        }
    }
    Ok(latencies)
}

/// As a summary of latencies.
#[must_use]
pub fn latency(latencies: &Latencies) -> Summary {
    Summary::Latency(latencies.summary())
}
