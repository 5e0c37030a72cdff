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

    /// Be the far end of a bare QUIC connection; write the certificate to this file.
    #[arg(long, value_name = "FILE", hide = true)]
    echo: Option<PathBuf>,

    /// Pass messages on to the far end whose port and certificate these are.
    #[arg(long, num_args = 2, value_names = ["PORT", "FILE"], hide = true)]
    next: Option<Vec<String>>,
}

/// How much is measured.
#[derive(Clone, Copy, Debug)]
pub struct Effort {
    /// Samples of each short latency.
    pub samples: u32,
    /// Repetitions of each burst and of each large transfer.
    pub repeat: u32,
}

/// Bytes of a large transfer.
pub const LARGE_BYTES: usize = 64 << 20;
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
    say("the farm");
    let farm = farm::measure(&binary, effort).await?;
    say("long bursts");
    let bursts = bursts::measure(&binary, effort).await?;

    let chain = "bare quinn, client - scheduler - agent and back, 64 B";
    let directly = "OpenCL directly";
    let stream = "bare quinn stream, two processes";
    let mut figures = vec![
        Figure::new("no-op launch, submit to completion", farm.no_op)
            .floor(chain, bare.chain)
            .floor("bare quinn, two processes and back, 64 B", bare.pair)
            .floor(directly, direct.no_op),
        Figure::new("1,000 dependent launches, each", farm.dependent).floor(directly, direct.dependent),
        Figure::new("1,000 independent no-op launches, each", farm.independent)
            .floor(directly, direct.independent),
        Figure::new("write 4 B + launch + read 4 B", farm.write_launch_read)
            .floor(chain, bare.chain)
            .floor("the farm's no-op launch", farm.no_op)
            .floor(directly, direct.write_launch_read),
        Figure::new("write 64 MiB", farm.write).floor(stream, bare.upload).floor(directly, direct.write),
        Figure::new("read 64 MiB", farm.read).floor(stream, bare.download).floor(directly, direct.read),
        Figure::new("64 MiB from agent to agent, changed by a launch on each", farm.hop)
            .floor(stream, bare.upload),
    ];
    figures.extend(bursts);
    let table = Figure::table(&figures).to_string();
    println!("{table}");
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
