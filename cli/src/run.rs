//! `isochrone run`: a graph file on a farm.
//!
//! Must never hold how a graph is run: `testbed` does.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow, bail};
use isochrone_client::{DeviceStatus, Farm, Role, SessionOptions};
use isochrone_testbed::{Counters, Devices, PreparedGraph, Progress, RunOptions};
use isochrone_workload::graph_file::{GraphFileErrors, Output, Settings};
use isochrone_workload::{data_files, reference};

use crate::arguments::RunArguments;
use crate::config::Config;
use crate::report::{RunSummary, VerificationSummary};
use crate::values::Setting;
use crate::{ask, clock, local_farm, output, run_tasks, signals};

/// Runs shorter than this show no progress.
const PROGRESS_AFTER: Duration = Duration::from_millis(500);

/// How to run one graph on a farm that is connected.
#[derive(Clone, Debug)]
pub struct GraphPlan {
    /// The graph file.
    pub path: PathBuf,
    /// Its parameters.
    pub settings: Vec<Setting>,
    /// A policy's label; `None` for the farm's.
    pub policy: Option<String>,
    /// Where relative output paths start.
    pub output_directory: Option<PathBuf>,
    /// Whether to compare the outputs with the reference.
    pub verify: bool,
    /// Whether to wait for all builds before submitting.
    pub build_first: bool,
    /// Steps whose placement is to be told.
    pub explain: Vec<String>,
}

/// `isochrone run`
pub async fn run(arguments: RunArguments, config: Config) -> anyhow::Result<()> {
    if run_tasks::is_task_graph(&arguments.graph) {
        return run_tasks::run(arguments, config).await;
    }
    let plan = GraphPlan {
        path: arguments.graph,
        settings: arguments.settings,
        policy: arguments.policy.or(config.client.policy.clone()),
        output_directory: arguments.output_directory,
        verify: arguments.verify,
        build_first: arguments.build_first,
        explain: arguments.explain,
    };
    let summary = signals::unless_asked_to_stop(async {
        match arguments.local_farm {
            None => {
                let farm = ask::connect(Role::Client, &arguments.connect, &config.client)
                    .await
                    .context("no farm to run on; start one with `isochrone up`, or add --local-farm 3")?;
                run_and_close(farm, &plan).await
            }
            Some(agents) => {
                let options = local_farm::of_this_binary()?
                    .agents(agents, &Devices::default())
                    .processor_threads(local_farm::threads(None, agents));
                let local = isochrone_testbed::Farm::start(options).await?;
                let result = run_and_close(local.connect().await?, &plan).await;
                local.stop().await;
                result
            }
        }
    })
    .await?;
    if arguments.json {
        output::json(&summary)
    } else {
        output::print(&summary.shown());
        Ok(())
    }
}

async fn run_and_close(farm: Farm, plan: &GraphPlan) -> anyhow::Result<RunSummary> {
    let result = run_graph(&farm, plan).await;
    farm.close().await;
    result
}

/// Loads a graph for the devices of a farm.
pub fn load(plan: &GraphPlan, devices: &[DeviceStatus]) -> anyhow::Result<PreparedGraph> {
    let settings = Settings {
        parameters: plan
            .settings
            .iter()
            .map(|setting| (setting.name.clone(), setting.value.clone()))
            .collect(),
        capabilities: PreparedGraph::capabilities(devices),
        output_directory: plan.output_directory.clone(),
        ..Settings::default()
    };
    PreparedGraph::load(&plan.path, &settings).map_err(|errors| graph_errors(&errors))
}

fn graph_errors(errors: &GraphFileErrors) -> anyhow::Error {
    // Each line names file, line and key already.
    anyhow!("the graph file cannot be used\n{}", errors.to_string().trim_end())
}

/// Loads a graph, runs it, writes its outputs and verifies them as planned.
pub async fn run_graph(farm: &Farm, plan: &GraphPlan) -> anyhow::Result<RunSummary> {
    let started = clock::now();
    let devices = farm.devices().await?;
    let graph = load(plan, &devices)?;
    run_loaded(farm, plan, &graph, started).await
}

/// As [`run_graph`], with the graph loaded already, at the time given.
pub async fn run_loaded(
    farm: &Farm,
    plan: &GraphPlan,
    graph: &PreparedGraph,
    started: Instant,
) -> anyhow::Result<RunSummary> {
    let file = graph.file();
    let reference = match (&file.verify, plan.verify) {
        (_, false) => None,
        (Some(name), true) => Some(name.clone()),
        (None, true) => bail!(
            "{} names no reference computation (key graph.verify), so --verify has nothing to compare with",
            file.path.display()
        ),
    };
    let before = Counters::now(farm).await?;
    let mut options = SessionOptions::new();
    let policy = match &plan.policy {
        Some(label) => {
            options = options.policy(label);
            label.clone()
        }
        None => farm.status().await?.policy,
    };
    let session = farm.session(options).await?;
    let present = before.devices.iter().filter(|device| device.is_present).count();
    let builds_awaited = if plan.build_first { u32::try_from(present).unwrap_or(u32::MAX) } else { 0 };
    let run_options = RunOptions { builds_awaited, explain: plan.explain.clone() };
    let name = file.name.clone();
    let mut progress = |progress: Progress| show_progress(&name, progress);
    let ran = graph.run(&session, run_options, &mut progress).await;
    output::clear_progress();
    let report = ran.with_context(|| format!("{name} failed"))?;
    session.close().await.with_context(|| format!("{name} failed"))?;
    let used = before.until(&Counters::when_quiet(farm).await?);
    let mut summary = RunSummary::new(&name, &policy, &report, &used);
    // Files and numbers take their time, and connections must be kept alive meanwhile.
    let (outputs, verification) =
        tokio::task::block_in_place(|| conclude(graph, reference.as_deref(), &report.outputs))?;
    summary.outputs = outputs;
    summary.verification = verification;
    summary.total_seconds = started.elapsed().as_secs_f64();
    Ok(summary)
}

fn conclude(
    graph: &PreparedGraph,
    reference: Option<&str>,
    outputs: &[(Output, Vec<u8>)],
) -> anyhow::Result<(Vec<PathBuf>, Option<VerificationSummary>)> {
    let mut paths = Vec::new();
    for (output, bytes) in outputs {
        data_files::write_output(output, bytes)
            .with_context(|| format!("cannot write output `{}`", output.name))?;
        paths.push(output.path.clone());
    }
    let verification = match reference {
        None => None,
        Some(name) => {
            let verified = reference::verify(name, graph.file(), outputs)
                .with_context(|| format!("the outputs of {} are not verified", graph.file().name))?;
            Some(verified.into())
        }
    };
    Ok((paths, verification))
}

pub fn show_progress(name: &str, progress: Progress) {
    if progress.elapsed >= PROGRESS_AFTER {
        output::progress(&format!(
            "{name}: {} of {} commands, {:.1} s",
            progress.finished,
            progress.total,
            progress.elapsed.as_secs_f64()
        ));
    }
}
