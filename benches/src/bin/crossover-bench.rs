//! `crossover-bench`: where `latency-eft` leaves a near slow device for a far fast one, beside where it should.
//!
//! A kernel grows; at each size and each one-way latency to the far agent a write, a launch and a read are timed with the
//! launch forced to either side, then with the policy free to choose. A choice is right when it is the side that was
//! faster. The farm is of processes; latencies are emulated. Must never assert a time: it measures and writes down.

#![expect(clippy::disallowed_methods, reason = "what is measured here is time")]

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use clap::Parser;
use isochrone_benches::links;
use isochrone_benches::report::{self, median};
use isochrone_client::{CommandHandle, Farm as Client, Program, Session, SessionOptions};
use isochrone_metrics::{Alignment, Table};
use isochrone_model::DeviceKind;
use isochrone_model::units::{BytesPerSecond, Span};
use isochrone_node_agent::opencl::OpenClOptions;
use isochrone_node_agent::virtual_devices::{VirtualDevice, VirtualOptions};
use isochrone_testbed::{Devices, Farm};
use serde::Serialize;

/// Measures where work should move from a near device to a far one, and where `latency-eft` moves it.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    /// Where to write crossover.md and crossover.json [default: print only]
    #[arg(long, value_name = "DIR")]
    output: Option<PathBuf>,

    /// The `isochrone` binary [default: beside this one]
    #[arg(long, value_name = "FILE")]
    binary: Option<PathBuf>,

    /// The near agent's devices: cpu, gpu, cpu:THREADS or virtual:ITEMS_PER_US
    #[arg(long, value_name = "DEVICE", default_value = "cpu")]
    near: Side,

    /// The far agent's devices, likewise
    #[arg(long, value_name = "DEVICE", default_value = "gpu")]
    far: Side,

    /// One-way latencies to the far agent, in milliseconds
    #[arg(long, value_name = "MS", value_delimiter = ',', default_values_t = [0.0, 1.0, 5.0, 20.0, 50.0])]
    latency: Vec<f64>,

    /// Runs of each point on each side, and under the policy
    #[arg(long, value_name = "COUNT", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    repeat: u32,

    /// Seconds after which no further latency is begun
    #[arg(long, value_name = "SECONDS", default_value_t = 480)]
    seconds_max: u64,

    /// What the largest kernel should take on the near device, in milliseconds
    #[arg(long, value_name = "MS", default_value_t = 300)]
    longest_ms: u32,

    /// The policy that chooses
    #[arg(long, value_name = "LABEL", default_value = "latency-eft")]
    policy: String,
}

/// Devices of one side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Side {
    OpenCl { kind: DeviceKind, threads: Option<usize> },
    Virtual { items_per_us: u64 },
}

impl FromStr for Side {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, number) = text.split_once(':').map_or((text, None), |(name, number)| (name, Some(number)));
        let parsed = |number: &str| number.parse::<u64>().ok().filter(|number| *number > 0);
        match (name, number) {
            ("cpu", None) => Ok(Self::OpenCl { kind: DeviceKind::Cpu, threads: None }),
            ("cpu", Some(number)) => parsed(number)
                .map(|threads| Self::OpenCl { kind: DeviceKind::Cpu, threads: Some(threads as usize) })
                .ok_or_else(|| "cpu:THREADS takes a number above 0".to_owned()),
            ("gpu", None) => Ok(Self::OpenCl { kind: DeviceKind::Gpu, threads: None }),
            ("virtual", Some(number)) => parsed(number)
                .map(|items_per_us| Self::Virtual { items_per_us })
                .ok_or_else(|| "virtual:ITEMS_PER_US takes a number above 0".to_owned()),
            _ => Err("a side is cpu, cpu:THREADS, gpu or virtual:ITEMS_PER_US".to_owned()),
        }
    }
}

impl fmt::Display for Side {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OpenCl { kind: DeviceKind::Gpu, .. } => formatter.write_str("gpu"),
            Self::OpenCl { threads: None, .. } => formatter.write_str("cpu"),
            Self::OpenCl { threads: Some(threads), .. } => write!(formatter, "cpu:{threads}"),
            Self::Virtual { items_per_us } => write!(formatter, "virtual:{items_per_us}"),
        }
    }
}

impl Side {
    fn devices(self) -> Devices {
        match self {
            Self::OpenCl { kind, .. } => {
                Devices::OpenCl(OpenClOptions { kinds: vec![kind], ..OpenClOptions::default() })
            }
            Self::Virtual { items_per_us } => {
                let rate = BytesPerSecond(10_000_000_000);
                let mut device = VirtualDevice::new("modelled", items_per_us, 2 << 30, rate);
                device.launch_overhead = Span::from_micros(10);
                Devices::Virtual(VirtualOptions { devices: vec![device], spin: false, seed: 0 })
            }
        }
    }

    fn threads(self) -> Option<usize> {
        match self {
            Self::OpenCl { threads, .. } => threads,
            Self::Virtual { .. } => None,
        }
    }
}

/// The kernel: every work-item counts, and none ever writes.
const SOURCE: &str = "
kernel void grow(global float *data)
{
    float value = (float)get_global_id(0) * 1e-9f + 0.5f;
    for (int round = 0; round < ROUNDS; ++round)
        value = value * 0.999999f + 1e-7f;
    if (value > 1e6f)
        data[0] = value;
}
";
/// Work-items of the largest kernel, and by which power of two the smallest is smaller. Sizes come in half powers.
const ITEMS_MAX: u64 = 1 << 20;
const POWERS: u32 = 12;
const ROUNDS_FIRST: u64 = 256;
/// Contents where they do not grow with the kernel.
const FIXED_BYTES: u64 = 1 << 10;
/// Work-items of a group: the same for all sizes, so that no driver compiles for each.
const GROUP_ITEMS: u64 = 64;
/// How long both devices may take to build the kernel.
const BUILD_TIMEOUT: Duration = Duration::from_secs(120);
/// Launches that a placement file lists.
const PLACES: usize = 4_000;
/// Points whose sides differ by less count for neither.
const CLEAR: f64 = 0.1;

/// What a kernel's contents are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Contents {
    /// 1 KiB in and out, whatever the kernel.
    Fixed,
    /// 4 bytes in and out for each work-item.
    Growing,
}

impl Contents {
    fn bytes(self, items: u64) -> u64 {
        match self {
            Self::Fixed => FIXED_BYTES,
            Self::Growing => items * 4,
        }
    }
}

#[derive(Clone, Debug, Serialize)]
struct Point {
    latency_ms: f64,
    contents: Contents,
    items: u64,
    near_us: f64,
    far_us: f64,
    /// Under the policy.
    chosen_us: f64,
    /// What the policy expected of either side in each of its runs; none where it weighed but one.
    expected: Vec<Expected>,
    /// Runs that the policy sent to the far side.
    chosen_far: u32,
    runs: u32,
}

/// What a policy expected of the launch on either side, from its decision on.
#[derive(Clone, Copy, Debug, Serialize)]
struct Expected {
    near_us: f64,
    far_us: f64,
    /// Of it, what is waited for until contents are there, and what the kernel takes.
    far_transfer_us: f64,
    far_execution_us: f64,
    near_execution_us: f64,
}

impl Point {
    fn is_clear(&self) -> bool {
        (self.near_us - self.far_us).abs() > CLEAR * self.near_us.min(self.far_us)
    }

    fn right(&self) -> u32 {
        if self.far_us < self.near_us { self.chosen_far } else { self.runs - self.chosen_far }
    }
}

#[derive(Serialize)]
struct Content {
    points: Vec<Point>,
    rounds: u64,
    right_runs: u32,
    clear_runs: u32,
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    // On a thread of the runtime, so that completions wake it without a hop between threads.
    runtime.block_on(async { tokio::spawn(measure(arguments)).await? })
}

async fn measure(arguments: Arguments) -> anyhow::Result<()> {
    let arguments = &arguments;
    let begun = Instant::now();
    let binary = match &arguments.binary {
        Some(binary) => binary.clone(),
        None => std::env::current_exe()?.with_file_name("isochrone"),
    };
    let mut command_line = vec!["target/release/crossover-bench".to_owned()];
    command_line.extend(std::env::args().skip(1));
    let mut manifest = report::manifest(command_line)?;
    let folder = tempfile::tempdir()?;
    let mut bench = Bench { arguments, binary, folder: folder.path().to_owned(), rounds: ROUNDS_FIRST };
    manifest.note("devices", bench.calibrate().await?);
    manifest.note("rounds of a work-item", bench.rounds.to_string());
    let mut points = Vec::new();
    for latency_ms in &arguments.latency {
        if begun.elapsed() > Duration::from_secs(arguments.seconds_max) {
            manifest.note("given up", format!("from {latency_ms} ms on: no time left"));
            break;
        }
        eprintln!("measuring {latency_ms} ms one way");
        points.extend(bench.latency(*latency_ms).await.with_context(|| format!("at {latency_ms} ms"))?);
    }
    let clear = points.iter().filter(|point| point.is_clear());
    let (right_runs, clear_runs) =
        clear.fold((0, 0), |(right, runs), point| (right + point.right(), runs + point.runs));
    let body = body(&points, right_runs, clear_runs, arguments);
    println!("{body}");
    let Some(directory) = &arguments.output else { return Ok(()) };
    let content = Content { points, rounds: bench.rounds, right_runs, clear_runs };
    report::write(directory, "crossover", "Offload crossover: near or far?", &manifest, &body, &content)
}

struct Bench<'a> {
    arguments: &'a Arguments,
    binary: PathBuf,
    folder: PathBuf,
    rounds: u64,
}

impl Bench<'_> {
    async fn start(&self, latency_ms: f64) -> anyhow::Result<Farm> {
        let Arguments { near, far, .. } = self.arguments;
        let agents =
            [("near", *near), ("far", *far)].map(|(name, side)| (name, side.devices(), side.threads()));
        let latency = Duration::from_secs_f64(latency_ms / 1e3);
        Ok(links::with_far_agent(&self.binary, &agents, "far", latency).await?)
    }

    /// Finds how many rounds make the largest kernel take its time on the near device; tells the devices.
    async fn calibrate(&mut self) -> anyhow::Result<String> {
        let farm = self.start(0.0).await?;
        let client = farm.connect().await?;
        let devices = client.devices().await?;
        let named = |agent: &str| {
            let device = devices.iter().find(|device| device.agent == agent);
            device.map_or_else(|| "none".to_owned(), |device| device.facts.name.clone())
        };
        let text = format!("near: {}; far: {}", named("near"), named("far"));
        for agent in ["near", "far"] {
            let count = devices.iter().filter(|device| device.agent == agent).count();
            ensure!(count == 1, "the {agent} agent has {count} devices; one is needed");
        }
        // A modelled device's time does not depend on the rounds.
        if let Side::OpenCl { .. } = self.arguments.near {
            let near = self.forced(&client, "near").await?;
            let runs = near.times(ITEMS_MAX, Contents::Fixed, 4).await?;
            near.session.close().await?;
            let longest = f64::from(self.arguments.longest_ms) * 1e3;
            // The launch's own cost is small beside the largest kernel.
            self.rounds = ((longest / median(runs) * self.rounds as f64) as u64).clamp(16, 1 << 24);
        }
        client.close().await;
        farm.stop().await;
        Ok(text)
    }

    /// A session whose launches all go to one side.
    async fn forced(&self, client: &Client, side: &str) -> anyhow::Result<Lane> {
        let policy = format!("fixed(file={})", self.placement(client, side).await?.display());
        self.lane(client, &policy).await
    }

    async fn lane(&self, client: &Client, policy: &str) -> anyhow::Result<Lane> {
        let session = client.session(SessionOptions::new().policy(policy)).await?;
        let program = self.program(&session).await?;
        Ok(Lane { session, program })
    }

    /// A file that puts every launch on one side.
    async fn placement(&self, client: &Client, side: &str) -> anyhow::Result<PathBuf> {
        let path = self.folder.join(format!("{side}.json"));
        // Agents are numbered in order of joining, as devices are.
        let devices = client.devices().await?;
        let mut agents: Vec<&str> = Vec::new();
        for device in &devices {
            if !agents.contains(&device.agent.as_str()) {
                agents.push(&device.agent);
            }
        }
        let number = agents.iter().position(|agent| *agent == side).context("both agents are there")?;
        let tasks: Vec<serde_json::Value> = (0..PLACES)
            .map(|place| serde_json::json!({ "place": place, "slot": format!("agent-{number}/device/0") }))
            .collect();
        std::fs::write(&path, serde_json::json!({ "tasks": tasks }).to_string())?;
        Ok(path)
    }

    async fn program(&self, session: &Session) -> anyhow::Result<Program> {
        let program = session.program(SOURCE).options(format!("-D ROUNDS={}", self.rounds)).build();
        program.built().await?;
        // Both have to have it, or there is no choice.
        let begun = Instant::now();
        while begun.elapsed() < BUILD_TIMEOUT {
            match program.outcome() {
                Some(Ok(facts)) if facts.devices == 2 => return Ok(program),
                Some(Ok(facts)) if !facts.failures.is_empty() => bail!("a device cannot build the kernel"),
                Some(Err(error)) => return Err(error.into()),
                Some(Ok(_)) | None => tokio::time::sleep(Duration::from_millis(2)).await,
            }
        }
        bail!("the kernel is not built on both devices")
    }

    /// All sizes at one latency.
    async fn latency(&self, latency_ms: f64) -> anyhow::Result<Vec<Point>> {
        let farm = self.start(latency_ms).await?;
        let client = farm.connect().await?;
        let near = self.forced(&client, "near").await?;
        let far = self.forced(&client, "far").await?;
        let free = self.lane(&client, &self.arguments.policy).await?;
        let mut points = Vec::new();
        for contents in [Contents::Fixed, Contents::Growing] {
            for step in 0..=2 * POWERS {
                let items = (ITEMS_MAX as f64 / 2_f64.powf(f64::from(2 * POWERS - step) / 2.0)) as u64;
                let items = items.next_multiple_of(GROUP_ITEMS);
                let repeat = self.arguments.repeat;
                let near_us = median(near.times(items, contents, repeat).await?);
                let far_us = median(far.times(items, contents, repeat).await?);
                let (mut chosen, mut chosen_far, mut expected) = (Vec::new(), 0, Vec::new());
                for _ in 0..repeat {
                    let (took, launch) = free.run_launch(items, contents).await?;
                    chosen.push(took);
                    let (is_far, weighed) = free.decision(&launch).await?;
                    chosen_far += u32::from(is_far);
                    expected.extend(weighed);
                }
                let chosen_us = median(chosen);
                let runs = repeat;
                points.push(Point {
                    latency_ms,
                    contents,
                    items,
                    near_us,
                    far_us,
                    chosen_us,
                    expected,
                    chosen_far,
                    runs,
                });
            }
        }
        for lane in [near, far, free] {
            lane.session.close().await?;
        }
        client.close().await;
        farm.stop().await;
        Ok(points)
    }
}

/// A session with the kernel.
struct Lane {
    session: Session,
    program: Program,
}

impl Lane {
    /// Microseconds of each run, without the first, which warms up.
    async fn times(&self, items: u64, contents: Contents, repeat: u32) -> anyhow::Result<Vec<f64>> {
        let mut times = Vec::new();
        for place in 0..=repeat {
            let time = self.run(items, contents).await?;
            if place > 0 {
                times.push(time);
            }
        }
        Ok(times)
    }

    /// A write, a launch and a read, from submission to the bytes; in microseconds.
    async fn run(&self, items: u64, contents: Contents) -> anyhow::Result<f64> {
        Ok(self.run_launch(items, contents).await?.0)
    }

    /// The same, with the launch.
    async fn run_launch(&self, items: u64, contents: Contents) -> anyhow::Result<(f64, CommandHandle)> {
        let bytes = contents.bytes(items);
        let buffer = self.session.buffer(bytes);
        let given = vec![3_u8; bytes as usize];
        let mut graph = self.session.graph();
        let start = Instant::now();
        graph.write(&buffer, 0, given).enqueue();
        let launch = graph.launch(&self.program, "grow").range([items]).local([GROUP_ITEMS]);
        let launch = launch.read_write(&buffer).enqueue();
        let read = graph.read(&buffer).enqueue();
        graph.submit()?;
        let got = read.await?;
        let took = start.elapsed();
        ensure!(got.len() as u64 == bytes && got.iter().all(|byte| *byte == 3), "the contents come back");
        Ok((took.as_secs_f64() * 1e6, launch))
    }

    /// Whether the policy sent a launch to the far side, and what it expected of either.
    async fn decision(&self, launch: &CommandHandle) -> anyhow::Result<(bool, Option<Expected>)> {
        let decision = self.session.explain(launch).await?.decision.context("the launch was placed")?;
        let is_far = decision.chosen.starts_with("far/");
        let on = |side: &str| decision.candidates.iter().find(|candidate| candidate.name.starts_with(side));
        let (Some(near), Some(far)) = (on("near/"), on("far/")) else { return Ok((is_far, None)) };
        let micros = |span: Span| span.0 as f64 / 1e3;
        let expected = Expected {
            near_us: micros(near.finish),
            far_us: micros(far.finish),
            far_transfer_us: micros(far.transfer),
            far_execution_us: micros(far.execution),
            near_execution_us: micros(near.execution),
        };
        Ok((is_far, Some(expected)))
    }
}

/// The size at which something turns from near to far: between the last point that is near and the next.
fn turn(points: &[&Point], is_far: impl Fn(&Point) -> bool) -> String {
    match points.iter().rposition(|point| !is_far(point)) {
        None => format!("below {}", points[0].items),
        Some(last) => match points.get(last + 1) {
            Some(next) => format!("{} to {}", points[last].items, next.items),
            None => format!("above {}", points[last].items),
        },
    }
}

fn body(points: &[Point], right_runs: u32, clear_runs: u32, arguments: &Arguments) -> String {
    let mut table = Table::new(&[
        ("one way, ms", Alignment::Right),
        ("contents", Alignment::Left),
        ("faster from, work-items", Alignment::Right),
        ("chosen from, work-items", Alignment::Right),
        ("near there, ms", Alignment::Right),
        ("points", Alignment::Right),
        ("clear", Alignment::Right),
        ("runs right", Alignment::Right),
    ]);
    for latency_ms in &arguments.latency {
        for contents in [Contents::Fixed, Contents::Growing] {
            let of: Vec<&Point> = points
                .iter()
                .filter(|point| point.latency_ms == *latency_ms && point.contents == contents)
                .collect();
            if of.is_empty() {
                continue;
            }
            let clear: Vec<&&Point> = of.iter().filter(|point| point.is_clear()).collect();
            let right: u32 = clear.iter().map(|point| point.right()).sum();
            let runs: u32 = clear.iter().map(|point| point.runs).sum();
            let last_near = of.iter().rposition(|point| point.near_us <= point.far_us);
            table.row([
                latency_ms.to_string(),
                match contents {
                    Contents::Fixed => "1 KiB".to_owned(),
                    Contents::Growing => "4 B a work-item".to_owned(),
                },
                turn(&of, |point| point.far_us < point.near_us),
                turn(&of, |point| 2 * point.chosen_far > point.runs),
                last_near.map_or_else(String::new, |place| format!("{:.2}", of[place].near_us / 1e3)),
                of.len().to_string(),
                clear.len().to_string(),
                format!("{right} of {runs}"),
            ]);
        }
    }
    let share = f64::from(right_runs) / f64::from(clear_runs.max(1)) * 100.0;
    format!(
        "A write, a launch and a read, submitted together, near on `{}` or far on `{}`. Scheduler, client and the near agent are without latency to \
         each other; every path to the far agent has the one-way latency given. Each point is {} runs forced to each side (medians), \
         then as many under `{}`. A point is clear when its sides differ by more than {:.0} %: of {clear_runs} runs at clear points \
         {right_runs} were right ({share:.1} %; 95 % is the target).\n\n{table}",
        arguments.near,
        arguments.far,
        arguments.repeat,
        arguments.policy,
        CLEAR * 100.0
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn point(items: u64, near_us: f64, far_us: f64, chosen_far: u32) -> Point {
        let (latency_ms, contents) = (1.0, Contents::Fixed);
        Point {
            latency_ms,
            contents,
            items,
            near_us,
            far_us,
            chosen_us: 0.0,
            expected: Vec::new(),
            chosen_far,
            runs: 4,
        }
    }

    #[test]
    fn a_choice_is_right_when_it_was_the_faster_side() {
        let points = [point(1, 10.0, 50.0, 1), point(2, 48.0, 50.0, 4), point(4, 100.0, 50.0, 3)];
        assert_eq!(points.each_ref().map(Point::is_clear), [true, false, true]);
        assert_eq!(points.each_ref().map(Point::right), [3, 0, 3]);
        let all: Vec<&Point> = points.iter().collect();
        assert_eq!(turn(&all, |point| point.far_us < point.near_us), "2 to 4");
        assert_eq!(turn(&all, |point| 2 * point.chosen_far > point.runs), "1 to 2");
        assert_eq!(turn(&all[2..], |point| point.far_us < point.near_us), "below 4");
        assert_eq!(turn(&all[..1], |point| point.far_us < point.near_us), "above 1");
    }

    #[test]
    fn sides_are_read_as_they_are_shown() {
        for text in ["cpu", "cpu:3", "gpu", "virtual:50"] {
            assert_eq!(text.parse::<Side>().unwrap().to_string(), text);
        }
        for wrong in ["cpu:0", "gpu:1", "virtual", "tpu", "virtual:x"] {
            assert!(wrong.parse::<Side>().is_err(), "{wrong}");
        }
    }
}
