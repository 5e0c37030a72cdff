//! `fidelity-bench`: graphs on live farms whose links are emulated, under many policies, beside what the simulator says.
//!
//! For each cluster and policy a farm of processes runs every graph some times; the scheduler's journal tells how long the
//! farm had something open for each run. The simulator has one recording of the same runs under a reference policy, the
//! cluster's links, and a calibration; it says what each policy would have taken. Must never assert a time: it measures
//! and writes down.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, ensure};
use clap::Parser;
use isochrone_benches::links;
use isochrone_benches::report::{self, median};
use isochrone_client::SessionOptions;
use isochrone_metrics::{Alignment, RunManifest, Table};
use isochrone_model::Span;
use isochrone_policies::POLICIES;
use isochrone_sim::cluster::Cluster;
use isochrone_sim::replay::{Recording, Rerun, RerunError};
use isochrone_sim::sources;
use isochrone_testbed::{PreparedGraph, RunOptions, read_recording, run_task_graph};
use isochrone_workload::graph_file::Settings;
use isochrone_workload::inputs::{InputOptions, write_inputs};
use isochrone_workload::task_graph::{ReadOptions, TaskGraph};
use serde::Serialize;

/// Runs graphs live over emulated links under many policies, and compares with the simulator.
#[derive(Clone, Debug, Parser)]
#[command(version)]
struct Arguments {
    /// Where to write policies.md and policies.json, the live makespans [default: print only]
    #[arg(long, value_name = "DIR")]
    output: Option<PathBuf>,

    /// Where to write fidelity.md and fidelity.json, the comparison [default: print only]
    #[arg(long, value_name = "DIR")]
    fidelity: Option<PathBuf>,

    /// The `isochrone` binary [default: beside this one]
    #[arg(long, value_name = "FILE")]
    binary: Option<PathBuf>,

    /// The repository, for its graphs and clusters
    #[arg(long, value_name = "DIR", default_value = ".")]
    repository: PathBuf,

    /// Clusters of four agents
    #[arg(long, value_name = "CLUSTER", default_values = [
        "preset(campus,agents=4,speeds=1:2:4:2)",
        "preset(continent,agents=4,speeds=1:2:4:2)",
        "sim/clusters/home-and-office.toml",
    ])]
    cluster: Vec<String>,

    /// Graphs: folders of `graphs/`, graph files or generators
    #[arg(long, value_name = "GRAPH", default_values = [
        "vector-add",
        "cholesky",
        "image-pipeline",
        "sim/studies/instances/blast.wfcommons-1.6.json",
        "sim/studies/instances/epigenomics.wfcommons-1.6.json",
        "sim/studies/instances/genome.wfcommons-1.6.json",
        "sim/studies/instances/montage.wfcommons-1.6.json",
        "sim/studies/instances/soykb.wfcommons-1.6.json",
    ])]
    graph: Vec<String>,

    /// Policies [default: all dynamic ones, and heft]
    #[arg(long, value_name = "LABEL")]
    policy: Vec<String>,

    /// The policy whose runs the simulator is given
    #[arg(long, value_name = "LABEL", default_value = "round-robin")]
    reference: String,

    /// What the items of a task graph have at most in all, in bytes: larger ones are scaled down, so that slow links
    /// carry them in a second or so
    #[arg(long, value_name = "BYTES", default_value_t = 2 << 20)]
    bytes_max: u64,

    /// Runs of each graph that count, after one that does not; the median is told
    #[arg(long, value_name = "COUNT", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    repeat: u32,

    /// Measure all clusters at the same time, each with farms of its own; for machines of many processors
    #[arg(long)]
    at_once: bool,

    /// Keep the schedulers' journals here, as CLUSTER-POLICY with CLUSTER's number, for `isochrone sim replay`
    #[arg(long, value_name = "DIR")]
    journals: Option<PathBuf>,

    /// Compare with live runs that were recorded before with `--journals`, and run none; `--repeat` must be as it was
    #[arg(long, value_name = "DIR", conflicts_with_all = ["journals", "binary", "at_once"])]
    recorded: Option<PathBuf>,

    /// Simulated runs of each row with latencies and losses of their own; the median of all is told
    #[arg(long, value_name = "COUNT", default_value_t = 9, value_parser = clap::value_parser!(u64).range(1..))]
    seeds: u64,

    /// The network model; `isochrone calibrate --emulated` writes the file of a calibration
    #[arg(long, value_name = "MODEL", default_value = "quic(warm=all)")]
    network: String,
}

/// One graph under one policy on one cluster.
#[derive(Clone, Debug, Serialize)]
struct Point {
    cluster: String,
    graph: String,
    policy: String,
    live_ms: f64,
    live_all_ms: Vec<f64>,
    simulated_ms: f64,
    /// (simulated - live) / live
    error: f64,
}

#[derive(Serialize)]
struct Content<'a> {
    points: &'a [Point],
}

/// A graph that a live farm can run.
enum Source {
    File(Box<PreparedGraph>),
    Tasks(Box<TaskGraph>),
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    // On a thread of the runtime, so that completions wake it without a hop between threads.
    runtime.block_on(async { tokio::spawn(measure(arguments)).await? })
}

async fn measure(arguments: Arguments) -> anyhow::Result<()> {
    let arguments = &arguments;
    let mut command_line = vec!["target/release/fidelity-bench".to_owned()];
    command_line.extend(std::env::args().skip(1));
    let mut manifest = report::manifest(command_line)?;
    manifest.note("network model", &arguments.network);
    manifest.note("reference policy", &arguments.reference);
    let folder = tempfile::tempdir()?;
    let runs: Vec<Run> = {
        let graphs = Arc::new(graphs(arguments, folder.path())?);
        let binary = match &arguments.binary {
            Some(binary) => binary.clone(),
            None => std::env::current_exe()?.with_file_name("isochrone"),
        };
        let of = |(place, cluster): (usize, &String)| {
            let (arguments, graphs, binary) = (arguments.clone(), graphs.clone(), binary.clone());
            let folder = folder.path().join(place.to_string());
            std::fs::create_dir(&folder)?;
            anyhow::Ok(Run {
                cluster: sources::cluster(cluster, &arguments.repository)?,
                place,
                text: cluster.clone(),
                arguments,
                graphs,
                binary,
                folder,
            })
        };
        arguments.cluster.iter().enumerate().map(of).collect::<anyhow::Result<_>>()?
    };
    let mut points = Vec::new();
    if arguments.at_once {
        let running: Vec<_> = runs.into_iter().map(|run| tokio::spawn(run.measure())).collect();
        for run in running {
            points.extend(run.await??);
        }
    } else {
        for run in runs {
            points.extend(run.measure().await?);
        }
    }
    let (live, fidelity) = (live_body(arguments, &points), fidelity_body(&points));
    println!("{live}\n{fidelity}");
    write(arguments, &manifest, &live, &fidelity, &points)
}

fn write(
    arguments: &Arguments,
    manifest: &RunManifest,
    live: &str,
    fidelity: &str,
    points: &[Point],
) -> anyhow::Result<()> {
    let content = Content { points };
    if let Some(folder) = &arguments.output {
        let title = "Policies on live farms over emulated links";
        report::write(folder, "policies", title, manifest, live, &content)?;
    }
    if let Some(folder) = &arguments.fidelity {
        let title = "The simulator beside live farms";
        report::write(folder, "fidelity", title, manifest, fidelity, &content)?;
    }
    Ok(())
}

fn policies(arguments: &Arguments) -> Vec<String> {
    if !arguments.policy.is_empty() {
        return arguments.policy.clone();
    }
    let dynamic = POLICIES.iter().filter(|info| !info.summary.starts_with("static"));
    dynamic.map(|info| info.name.to_owned()).chain(["heft".to_owned()]).collect()
}

/// The graphs, with the inputs of the shipped ones written into a folder.
fn graphs(arguments: &Arguments, folder: &Path) -> anyhow::Result<Vec<(String, Source)>> {
    let mut graphs = Vec::new();
    for text in &arguments.graph {
        let shipped = arguments.repository.join("graphs").join(text);
        let source = if shipped.join("graph.toml").is_file() {
            let copy = folder.join(text);
            std::fs::create_dir_all(&copy)?;
            for entry in std::fs::read_dir(&shipped)? {
                let entry = entry?;
                if entry.file_type()?.is_file() {
                    std::fs::copy(entry.path(), copy.join(entry.file_name()))?;
                }
            }
            write_inputs(text, &copy, &small_inputs())?;
            let settings =
                Settings { capabilities: ["fp64".to_owned()].into_iter().collect(), ..Settings::default() };
            Source::File(Box::new(PreparedGraph::load(&copy.join("graph.toml"), &settings)?))
        } else {
            let options = ReadOptions::default();
            let mut graph = sources::graph(text, &arguments.repository, &options)?.graph;
            make_small(&mut graph, arguments.bytes_max);
            Source::Tasks(Box::new(graph))
        };
        let name = Path::new(text).file_name().and_then(|name| name.to_str()).unwrap_or(text);
        graphs.push((name.split('.').next().unwrap_or(name).to_owned(), source));
    }
    Ok(graphs)
}

/// Scales the sizes of all items by one factor, so that all of them together have no more than so many bytes.
fn make_small(graph: &mut TaskGraph, bytes_max: u64) {
    let factor = (bytes_max as f64 / graph.total_bytes().max(1) as f64).min(1.0);
    for item in &mut graph.items {
        item.size_bytes = (item.size_bytes as f64 * factor).ceil() as u64;
    }
}

/// Inputs of a mebibyte or so in all: slow links carry them in a second or so.
fn small_inputs() -> InputOptions {
    InputOptions {
        vector_length: 1 << 16,
        matrix_order: 256,
        image_width: 256,
        image_height: 256,
        ..InputOptions::default()
    }
}

/// Everything on one cluster.
struct Run {
    arguments: Arguments,
    binary: PathBuf,
    place: usize,
    text: String,
    cluster: Cluster,
    graphs: Arc<Vec<(String, Source)>>,
    /// Its own.
    folder: PathBuf,
}

impl Run {
    async fn measure(self) -> anyhow::Result<Vec<Point>> {
        let text = &self.text;
        let mut live = Vec::new();
        for policy in policies(&self.arguments) {
            eprintln!("measuring {policy} on {text}");
            let recorded = self.live(&policy, false).await.with_context(|| format!("{policy} on {text}"))?;
            live.push((policy, recorded));
        }
        // The last, since the first run of all on a machine is slower: nothing of the binary is in memory yet.
        let mut reference = self.live(&self.arguments.reference, true).await?;
        reference.use_links_of(&self.cluster)?;
        // Farms of other clusters may still run beside this: what they wait for must not wait for a simulation.
        tokio::task::block_in_place(|| self.compare(&reference, &live))
    }

    /// What the simulator makes of the reference run, beside what was measured.
    fn compare(&self, reference: &Recording, live: &[(String, Recording)]) -> anyhow::Result<Vec<Point>> {
        let text = &self.text;
        let mut points = Vec::new();
        for (policy, recorded) in live {
            let simulate = |seed| reference.run(Some(policy), &self.arguments.network, seed);
            let simulated: Result<Vec<Rerun>, RerunError> = (0..self.arguments.seeds).map(simulate).collect();
            let simulated = simulated.with_context(|| format!("simulating {policy} on {text}"))?;
            let of_policy = self.points(policy, recorded, &simulated)?;
            for point in &of_policy {
                eprintln!(
                    "  {}: {:.1} ms live, {:.1} ms simulated ({:+.1} %)",
                    point.graph,
                    point.live_ms,
                    point.simulated_ms,
                    point.error * 100.0
                );
            }
            points.extend(of_policy);
        }
        Ok(points)
    }

    /// All graphs in a row on a farm of this policy; what its journal tells.
    async fn live(&self, policy: &str, is_reference: bool) -> anyhow::Result<Recording> {
        if let Some(folder) = &self.arguments.recorded {
            // The reference policy has two, of which the scheduler kept the first under this name.
            let first = folder.join(format!("{}-{policy}.previous", self.place));
            let last = folder.join(format!("{}-{policy}", self.place));
            let journal = if !is_reference && first.is_file() { first } else { last };
            return read_recording(&journal).with_context(|| format!("cannot use {}", journal.display()));
        }
        let journal = match &self.arguments.journals {
            Some(folder) => {
                std::fs::create_dir_all(folder)?;
                folder.join(format!("{}-{policy}", self.place))
            }
            None => self.folder.join("journal"),
        };
        let farm = links::on_cluster(&self.binary, &self.cluster, policy, journal.clone(), 1).await?;
        let client = farm.connect().await?;
        let devices = client.devices().await?;
        for (name, source) in self.graphs.iter() {
            eprintln!("  {policy}: {name}");
            for _ in 0..=self.arguments.repeat {
                let session = client.session(SessionOptions::new()).await?;
                let context = || format!("running {name}");
                match source {
                    Source::File(graph) => {
                        let options =
                            RunOptions { builds_awaited: devices.len() as u32, ..RunOptions::default() };
                        graph.run(&session, options, &mut |_| {}).await.with_context(context)?;
                    }
                    Source::Tasks(graph) => {
                        run_task_graph(graph, &session, &devices, &mut |_| {}).await.with_context(context)?;
                    }
                }
                session.close().await?;
            }
        }
        client.close().await;
        farm.stop().await;
        let recording = read_recording(&journal)?;
        if self.arguments.journals.is_none() {
            std::fs::remove_file(&journal)?;
        }
        Ok(recording)
    }

    fn points(&self, policy: &str, recorded: &Recording, simulated: &[Rerun]) -> anyhow::Result<Vec<Point>> {
        let runs = self.arguments.repeat as usize + 1;
        let count = runs * self.graphs.len();
        ensure!(recorded.periods.len() == count, "{} live runs of {count}", recorded.periods.len());
        for rerun in simulated {
            ensure!(rerun.periods.len() == count, "{} simulated runs of {count}", rerun.periods.len());
        }
        // The first of each graph teaches the scheduler.
        let millis =
            |spans: &[Span]| spans[1..].iter().map(|span| span.as_secs_f64() * 1e3).collect::<Vec<_>>();
        let of_graph = self.graphs.iter().enumerate().map(|(place, (graph, _))| {
            let range = place * runs..(place + 1) * runs;
            let live_all_ms = millis(&recorded.periods[range.clone()]);
            let simulated_all_ms = simulated.iter().flat_map(|rerun| millis(&rerun.periods[range.clone()]));
            let (live_ms, simulated_ms) = (median(live_all_ms.clone()), median(simulated_all_ms.collect()));
            Point {
                cluster: self.text.clone(),
                graph: graph.clone(),
                policy: policy.to_owned(),
                live_ms,
                live_all_ms,
                simulated_ms,
                error: (simulated_ms - live_ms) / live_ms,
            }
        });
        Ok(of_graph.collect())
    }
}

/// In order of appearance, each once.
fn distinct(values: impl Iterator<Item = String>) -> Vec<String> {
    let mut seen: Vec<String> = Vec::new();
    for value in values {
        if !seen.contains(&value) {
            seen.push(value);
        }
    }
    seen
}

fn live_body(arguments: &Arguments, points: &[Point]) -> String {
    let mut text = format!(
        "Makespans in milliseconds: from the submission's coming to the scheduler until it has heard of the last end, inputs and outputs \
         included; the median of {} runs after one that teaches the scheduler what kernels take. Farms are of processes with modelled devices and \
         emulated links.\n",
        arguments.repeat
    );
    for cluster in distinct(points.iter().map(|point| point.cluster.clone())) {
        let of: Vec<&Point> = points.iter().filter(|point| point.cluster == cluster).collect();
        let graphs = distinct(of.iter().map(|point| point.graph.clone()));
        let mut columns = vec![("policy", Alignment::Left)];
        columns.extend(graphs.iter().map(|graph| (graph.as_str(), Alignment::Right)));
        let mut table = Table::new(&columns);
        for policy in distinct(of.iter().map(|point| point.policy.clone())) {
            let cells = graphs.iter().map(|graph| {
                let point = of.iter().find(|point| point.policy == policy && point.graph == *graph);
                let best = of.iter().filter(|point| point.graph == *graph).map(|point| point.live_ms);
                let best = best.fold(f64::INFINITY, f64::min);
                point.map_or_else(String::new, |point| {
                    format!("{:.1}{}", point.live_ms, if point.live_ms <= best { " *" } else { "" })
                })
            });
            table.row(std::iter::once(policy.clone()).chain(cells));
        }
        text.push_str(&format!("\n## `{cluster}`\n\n{table}"));
    }
    text + "\n`*`: the shortest of the column.\n"
}

/// Pairs of policies that live runs tell apart by more than 5 %, and those that the simulator orders likewise.
fn ranking(points: &[Point]) -> (usize, usize, Vec<String>) {
    let (mut pairs, mut equal, mut wrong) = (0, 0, Vec::new());
    for (place, one) in points.iter().enumerate() {
        for other in &points[place + 1..] {
            let is_comparable = one.cluster == other.cluster && one.graph == other.graph;
            let (less, more) = if one.live_ms < other.live_ms { (one, other) } else { (other, one) };
            if is_comparable && more.live_ms > less.live_ms * 1.05 {
                pairs += 1;
                if less.simulated_ms < more.simulated_ms {
                    equal += 1;
                } else {
                    wrong.push(format!(
                        "{} on {}: {} {:.1} before {} {:.1} live, {:.1} and {:.1} simulated",
                        less.graph,
                        less.cluster,
                        less.policy,
                        less.live_ms,
                        more.policy,
                        more.live_ms,
                        less.simulated_ms,
                        more.simulated_ms
                    ));
                }
            }
        }
    }
    (pairs, equal, wrong)
}

/// How well one live run tells of the others of its case, beside which a simulation is to be judged: a part of any error is that live runs do not
/// repeat. `None` without three runs each.
fn among_live_runs(points: &[Point]) -> Option<String> {
    let runs = points.iter().map(|point| point.live_all_ms.len()).min().filter(|runs| *runs >= 3)?;
    let mut errors = Vec::new();
    let (mut pairs, mut equal) = (0, 0);
    for run in 0..runs {
        let others = |point: &Point| {
            let all = point.live_all_ms.iter().enumerate();
            median(all.filter(|(place, _)| *place != run).map(|(_, live_ms)| *live_ms).collect())
        };
        let one = points.iter().map(|point| Point {
            live_ms: others(point),
            simulated_ms: point.live_all_ms[run],
            ..point.clone()
        });
        let one: Vec<Point> = one.collect();
        errors.extend(one.iter().map(|point| (point.simulated_ms - point.live_ms).abs() / point.live_ms));
        let (of_run, equal_in_run, _) = ranking(&one);
        pairs += of_run;
        equal += equal_in_run;
    }
    let near = errors.iter().filter(|error| **error <= 0.15).count() * 100 / errors.len().max(1);
    let (simulated_pairs, simulated_equal, _) = ranking(points);
    Some(format!(
        "One live run, held against the median of the other {} of its case in the simulation's place: median {:.1} %, {near} % within 15 %; {} % of such pairs in the same order (simulation: {} %).\n\n",
        runs - 1,
        median(errors) * 100.0,
        equal * 100 / pairs.max(1),
        simulated_equal * 100 / simulated_pairs.max(1)
    ))
}

fn fidelity_body(points: &[Point]) -> String {
    let mut table = Table::new(&[
        ("cluster", Alignment::Left),
        ("graph", Alignment::Left),
        ("policy", Alignment::Left),
        ("live, ms", Alignment::Right),
        ("spread, %", Alignment::Right),
        ("simulated, ms", Alignment::Right),
        ("error, %", Alignment::Right),
    ]);
    for point in points {
        let least = point.live_all_ms.iter().copied().fold(f64::INFINITY, f64::min);
        let most = point.live_all_ms.iter().copied().fold(0.0, f64::max);
        table.row([
            point.cluster.clone(),
            point.graph.clone(),
            point.policy.clone(),
            format!("{:.1}", point.live_ms),
            format!("{:.0}", (most - least) / point.live_ms * 100.0),
            format!("{:.1}", point.simulated_ms),
            format!("{:+.1}", point.error * 100.0),
        ]);
    }
    let errors: Vec<f64> = points.iter().map(|point| point.error.abs()).collect();
    let worst = errors.iter().copied().fold(0.0, f64::max);
    let (pairs, equal, wrong) = ranking(points);
    let mut text = format!(
        "Makespans as the scheduler sees them, live (the median of the runs that count) and simulated (the median of those of several seeds). The simulator has the requests, kernel durations and builds of one run under the \
         reference policy, the links of the cluster file, and the network model above; nothing of the run that it predicts.\n\n\
         Error of {} makespans: median {:.1} % (target 5), worst {:.1} % (target 15). Of {pairs} pairs of policies that differ live by more \
         than 5 % on one graph and cluster, {equal} are in the same order in simulation.\n\n",
        points.len(),
        median(errors) * 100.0,
        worst * 100.0
    );
    text.push_str(&among_live_runs(points).unwrap_or_default());
    text.push_str(&table.to_string());
    if !wrong.is_empty() {
        text.push_str("\nIn another order:\n\n");
        text.extend(wrong.iter().take(40).map(|line| format!("- {line}\n")));
        if wrong.len() > 40 {
            text.push_str(&format!("- and {} more\n", wrong.len() - 40));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn point(policy: &str, live_ms: f64, simulated_ms: f64) -> Point {
        let error = (simulated_ms - live_ms) / live_ms;
        let (cluster, graph) = ("c".to_owned(), "g".to_owned());
        Point {
            cluster,
            graph,
            policy: policy.to_owned(),
            live_ms,
            live_all_ms: vec![live_ms],
            simulated_ms,
            error,
        }
    }

    #[test]
    fn only_policies_that_differ_are_ranked() {
        let points = [point("a", 100.0, 90.0), point("b", 104.0, 80.0), point("c", 120.0, 85.0)];
        let (pairs, equal, wrong) = ranking(&points);
        assert_eq!((pairs, equal), (2, 1), "{wrong:?}");
        assert!(wrong[0].starts_with("g on c: a 100.0 before c 120.0"), "{wrong:?}");
    }

    #[test]
    fn live_runs_are_held_against_each_other() {
        let runs =
            |policy, live: [f64; 3]| Point { live_all_ms: live.to_vec(), ..point(policy, live[1], live[1]) };
        let text =
            among_live_runs(&[runs("a", [100.0, 100.0, 150.0]), runs("b", [200.0, 200.0, 200.0])]).unwrap();
        // 100 beside 125 twice and 150 beside 100, and three times 200 beside itself.
        assert!(text.contains("median 10.0 %, 50 % within 15 %; 100 % of such pairs"), "{text}");
        assert_eq!(among_live_runs(&[point("a", 100.0, 90.0)]), None);
    }
}
