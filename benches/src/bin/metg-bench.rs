//! `metg-bench`: the minimum effective task granularity after Task Bench (Slaughter et al. 2020) on a live farm.
//!
//! A pattern runs with kernels that get shorter and shorter. METG(50 %) is the smallest granularity (wall time x devices /
//! tasks) at which the farm still keeps half of the devices' peak rate. The farm is of processes on loopback. Must never
//! assert a time: it measures and writes down.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::Parser;
use isochrone_benches::report;
use isochrone_client::SessionOptions;
use isochrone_metrics::{Alignment, RunManifest, Table};
use isochrone_model::DeviceKind;
use isochrone_model::units::{BytesPerSecond, Span};
use isochrone_node_agent::opencl::OpenClOptions;
use isochrone_node_agent::virtual_devices::{VirtualDevice, VirtualOptions};
use isochrone_testbed::cpu::CpuTimes;
use isochrone_testbed::{Devices, Farm, FarmOptions, run_task_graph};
use isochrone_workload::task_graph::{TaskGraph, generate};
use serde::Serialize;

/// Measures the minimum effective task granularity on a farm of processes on this machine.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    /// Where to write metg.md and metg.json [default: print only]
    #[arg(long, value_name = "DIR")]
    output: Option<PathBuf>,

    /// The `isochrone` binary [default: beside this one]
    #[arg(long, value_name = "FILE")]
    binary: Option<PathBuf>,

    /// Points of a step
    #[arg(long, value_name = "COUNT", default_value_t = 16)]
    width: u32,

    /// Runs of each granularity; the median counts
    #[arg(long, value_name = "COUNT", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    repeat: u32,

    /// What devices do while a kernel runs: `timed` (no processor time), `spin` (timed, and the thread that tells the
    /// ends spins for the last 50 us), `pocl` (kernels that count, on the processors that the farm itself needs)
    #[arg(long, value_name = "WORK", default_values = ["timed", "pocl"])]
    work: Vec<Work>,

    /// Only these patterns [default: all]
    #[arg(long, value_name = "NAME")]
    pattern: Vec<String>,

    /// Policies for stencil_1d; the other patterns run under the first
    #[arg(long, value_name = "LABEL", default_values = ["latency-eft", "dmda", "locality", "round-robin", "heft"])]
    policy: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
enum Work {
    Timed,
    Spin,
    Pocl,
}

impl fmt::Display for Work {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Timed => "timed",
            Self::Spin => "timed, spinning",
            Self::Pocl => "PoCL",
        })
    }
}

/// Agents, each with one device of one slot.
const AGENTS: u32 = 2;
/// The longest kernels, in nanoseconds; each step down takes a fraction of them.
const LONGEST_NS: u64 = 4_000_000;
const SHORTEST_NS: u64 = 1_000;
/// So many lengths halve the length.
const STEPS_A_HALVING: u32 = 2;
/// Below this efficiency shorter kernels need not be tried.
const ENOUGH: f64 = 0.3;
/// What the kernels of a run should take on all devices together, and the bounds of its steps.
const RUN_NS: u64 = 400_000_000;
const STEPS_MIN: u64 = 32;
const STEPS_MAX: u64 = 512;
/// How the table's patterns are generated; Task Bench's defaults elsewhere.
const PATTERNS: &[(&str, &str)] = &[
    ("stencil_1d", ""),
    ("trivial", ""),
    ("no_comm", ""),
    ("sweep", ""),
    ("tree", ""),
    ("fft", ""),
    ("nearest", ",radix=5"),
    ("spread", ",radix=5,period=3"),
    ("random_nearest", ",radix=5,fraction=0.25"),
    ("all_to_all", ""),
];

/// Kernels of one length.
#[derive(Clone, Debug, Serialize)]
struct Point {
    kernel_us: f64,
    tasks: usize,
    wall_us: f64,
    granularity_us: f64,
    /// Of the devices' peak rate.
    efficiency: f64,
    scheduler_cpu_us_a_task: f64,
    agents_cpu_us_a_task: f64,
    client_cpu_us_a_task: f64,
}

/// One pattern under one policy.
#[derive(Clone, Debug, Serialize)]
struct Curve {
    pattern: &'static str,
    work: Work,
    policy: String,
    width: u32,
    /// `None`: half the peak was kept everywhere, or nowhere.
    metg_us: Option<f64>,
    points: Vec<Point>,
}

#[derive(Serialize)]
struct Content {
    curves: Vec<Curve>,
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    // On a thread of the runtime, so that completions wake it without a hop between threads.
    runtime.block_on(async { tokio::spawn(measure(arguments)).await? })
}

async fn measure(arguments: Arguments) -> anyhow::Result<()> {
    let arguments = &arguments;
    let binary = match &arguments.binary {
        Some(binary) => binary.clone(),
        None => std::env::current_exe()?.with_file_name("isochrone"),
    };
    let mut command_line = vec!["target/release/metg-bench".to_owned()];
    command_line.extend(std::env::args().skip(1));
    let manifest = report::manifest(command_line)?;
    let mut curves = Vec::new();
    for work in &arguments.work {
        let farm = Farm::start(farm_options(&binary, *work)).await?;
        for (pattern, more) in PATTERNS {
            if !arguments.pattern.is_empty() && !arguments.pattern.iter().any(|name| name == pattern) {
                continue;
            }
            let policies = if *pattern == "stencil_1d" { arguments.policy.len() } else { 1 };
            for policy in &arguments.policy[..policies] {
                eprintln!("measuring {pattern} under {policy}, {work}");
                let curve = Curve::measure(&farm, pattern, more, *work, policy, arguments).await;
                curves.push(curve.with_context(|| format!("{pattern} under {policy}, {work}"))?);
            }
        }
        farm.stop().await;
    }
    let body = body(&curves);
    println!("{body}");
    let Some(directory) = &arguments.output else { return Ok(()) };
    write(directory, &manifest, &body, curves)
}

fn write(directory: &Path, manifest: &RunManifest, body: &str, curves: Vec<Curve>) -> anyhow::Result<()> {
    let title = "Minimum effective task granularity, METG(50 %)";
    report::write(directory, "metg", title, manifest, body, &Content { curves })
}

fn farm_options(binary: &Path, work: Work) -> FarmOptions {
    let devices = match work {
        Work::Timed | Work::Spin => {
            let mut device = VirtualDevice::new("modelled", 1_000, 2 << 30, BytesPerSecond(10_000_000_000));
            device.launch_overhead = Span::ZERO;
            Devices::Virtual(VirtualOptions { devices: vec![device], spin: work == Work::Spin, seed: 0 })
        }
        Work::Pocl => {
            Devices::OpenCl(OpenClOptions { kinds: vec![DeviceKind::Cpu], ..OpenClOptions::default() })
        }
    };
    FarmOptions::processes(binary).agents(AGENTS as usize, &devices).processor_threads(1)
}

impl Curve {
    async fn measure(
        farm: &Farm,
        pattern: &'static str,
        more: &str,
        work: Work,
        policy: &str,
        arguments: &Arguments,
    ) -> anyhow::Result<Self> {
        let width = arguments.width;
        let mut points: Vec<Point> = Vec::new();
        for step in 0_i32.. {
            let nanos =
                (LONGEST_NS as f64 * 0.5_f64.powf(f64::from(step) / f64::from(STEPS_A_HALVING))) as u64;
            if nanos < SHORTEST_NS || points.last().is_some_and(|point| point.efficiency < ENOUGH) {
                break;
            }
            let steps = (RUN_NS * u64::from(AGENTS) / nanos / u64::from(width)).clamp(STEPS_MIN, STEPS_MAX);
            let spec = format!(
                "task-bench(pattern={pattern},width={width},steps={steps},work={nanos}{more},spread=0)"
            );
            let graph = generate(&spec.parse()?)?;
            points.push(run(farm, &graph, nanos, policy, arguments.repeat).await?);
        }
        if work == Work::Pocl {
            // The peak is what the devices were seen to do at best: calibration is of one device alone.
            let best = points.iter().map(|point| point.efficiency).fold(f64::MIN_POSITIVE, f64::max);
            for point in &mut points {
                point.efficiency /= best;
            }
        }
        let metg_us = crossing(&points);
        Ok(Self { pattern, work, policy: policy.to_owned(), width, metg_us, points })
    }
}

async fn run(farm: &Farm, graph: &TaskGraph, nanos: u64, policy: &str, repeat: u32) -> anyhow::Result<Point> {
    let client = farm.connect().await?;
    let devices = client.devices().await?;
    let (mut walls, mut cpu) = (Vec::new(), CpuTimes::default());
    for _ in 0..repeat {
        let session = client.session(SessionOptions::new().policy(policy)).await?;
        let before = CpuTimes::now(farm);
        let report = run_task_graph(graph, &session, &devices, &mut |_| {}).await?;
        let used = CpuTimes::now(farm).since(&before);
        session.close().await?;
        walls.push(report.makespan.as_secs_f64() * 1e6);
        cpu.scheduler += used.scheduler;
        cpu.agents += used.agents;
        cpu.client += used.client;
    }
    client.close().await;
    let tasks = graph.tasks.len();
    let wall_us = report::median(walls);
    let granularity_us = wall_us * f64::from(AGENTS) / tasks as f64;
    let each = |used: std::time::Duration| used.as_secs_f64() * 1e6 / f64::from(repeat) / tasks as f64;
    let kernel_us = nanos as f64 / 1e3;
    Ok(Point {
        kernel_us,
        tasks,
        wall_us,
        granularity_us,
        efficiency: kernel_us / granularity_us,
        scheduler_cpu_us_a_task: each(cpu.scheduler),
        agents_cpu_us_a_task: each(cpu.agents),
        client_cpu_us_a_task: each(cpu.client),
    })
}

/// The granularity at which the efficiency falls through one half, between the last point above and the first below:
/// on a straight line over the logarithm of the granularity, as Task Bench draws it.
fn crossing(points: &[Point]) -> Option<f64> {
    let below = points.iter().position(|point| point.efficiency < 0.5)?;
    let above = points.get(below.checked_sub(1)?)?;
    let below = &points[below];
    let share = (above.efficiency - 0.5) / (above.efficiency - below.efficiency);
    let (from, to) = (above.granularity_us.ln(), below.granularity_us.ln());
    Some((from + (to - from) * share).exp())
}

fn body(curves: &[Curve]) -> String {
    let mut table = Table::new(&[
        ("pattern", Alignment::Left),
        ("kernels", Alignment::Left),
        ("policy", Alignment::Left),
        ("METG(50 %), us", Alignment::Right),
        ("kernel there, us", Alignment::Right),
        ("scheduler, us a task", Alignment::Right),
        ("agents, us a task", Alignment::Right),
        ("client, us a task", Alignment::Right),
        ("best efficiency", Alignment::Right),
    ]);
    for curve in curves {
        // Of the shortest kernels: what the farm spends when it is the limit.
        let Some(last) = curve.points.last() else { continue };
        let best = curve.points.iter().map(|point| point.efficiency).fold(0.0, f64::max);
        let near = |us: f64| if us < 10.0 { format!("{us:.1}") } else { format!("{us:.0}") };
        table.row([
            curve.pattern.to_owned(),
            curve.work.to_string(),
            curve.policy.clone(),
            curve.metg_us.map_or_else(|| "none".to_owned(), near),
            curve.metg_us.map_or_else(String::new, |us| near(us / 2.0)),
            near(last.scheduler_cpu_us_a_task),
            near(last.agents_cpu_us_a_task),
            near(last.client_cpu_us_a_task),
            format!("{best:.2}"),
        ]);
    }
    let widths: BTreeMap<u32, ()> = curves.iter().map(|curve| (curve.width, ())).collect();
    let widths: Vec<String> = widths.keys().map(u32::to_string).collect();
    format!(
        "The patterns of Task Bench, {} points wide, on a farm of {AGENTS} agents of one device and one slot each: client, scheduler and agents \
         are processes that share this machine. METG(50 %) is the smallest wall time x devices / tasks at which half of the devices' peak rate \
         is kept, between two measured lengths of kernel on a straight line over the logarithm. `timed` kernels are those of a modelled device: \
         a row of them ends in modelled time without using a processor, as on an accelerator; `PoCL` kernels count on the very processors that \
         the farm needs, and their peak is the best rate seen. Processor time is of the shortest kernels tried, where the farm itself is the \
         limit; the agents' includes PoCL's.\n\n{table}",
        widths.join(", ")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn point(granularity_us: f64, efficiency: f64) -> Point {
        Point {
            kernel_us: granularity_us * efficiency,
            tasks: 1,
            wall_us: granularity_us,
            granularity_us,
            efficiency,
            scheduler_cpu_us_a_task: 0.0,
            agents_cpu_us_a_task: 0.0,
            client_cpu_us_a_task: 0.0,
        }
    }

    #[test]
    fn the_crossing_lies_between_the_points_around_it() {
        let curve = [point(400.0, 0.9), point(100.0, 0.6), point(25.0, 0.4)];
        assert!((crossing(&curve).unwrap() - 50.0).abs() < 1e-9);
        assert_eq!(crossing(&curve[..2]), None, "half was kept everywhere");
        assert_eq!(crossing(&curve[2..]), None, "half was kept nowhere");
    }
}
