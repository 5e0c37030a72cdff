//! `isochrone run` of a task graph: its tasks keep the farm's devices busy, its data is real bytes.
//!
//! Must never hold how a task graph is run: `testbed` does.

use std::path::Path;

use anyhow::{Context, bail};
use isochrone_client::{Farm, Role, SessionOptions};
use isochrone_sim::sources;
use isochrone_testbed::{Counters, Devices, Progress, TaskWork, run_task_graph_and_explain};
use isochrone_workload::task_graph::{ReadOptions, TaskGraph};
use serde::Serialize;

use crate::arguments::RunArguments;
use crate::config::Config;
use crate::decisions::ExplanationSummary;
use crate::report::{DeviceSummary, seconds};
use crate::values::{ByteSize, kind_name};
use crate::{ask, local_farm, output, run, signals};

/// One run of a task graph.
#[derive(Clone, Debug, Serialize)]
struct TaskRunSummary {
    /// The graph's name.
    graph: String,
    /// The policy's label.
    policy: String,
    /// Tasks that ran.
    tasks: usize,
    /// From submission to the last end, inputs and outputs included.
    makespan_seconds: f64,
    /// The tasks' time on their devices, summed.
    busy_seconds: f64,
    /// Rounds that a kernel counts for a microsecond of work; none on virtual devices.
    rounds_per_microsecond: Option<f64>,
    /// Between agents.
    moved_bytes: u64,
    /// Bytes read back and found right; none on virtual devices, which compute nothing.
    verified_bytes: Option<u64>,
    /// What each device did.
    devices: Vec<DeviceSummary>,
    /// Why tasks ran where they ran, as asked for.
    explanations: Vec<ExplanationSummary>,
    /// What the graph's file leaves unsaid, and was assumed.
    assumptions: Vec<String>,
}

/// Whether a name is of a task graph rather than of a graph file.
pub fn is_task_graph(graph: &Path) -> bool {
    graph.extension().is_none_or(|extension| extension != "toml")
}

/// `isochrone run` of a task graph.
pub async fn run(arguments: RunArguments, config: Config) -> anyhow::Result<()> {
    if !arguments.settings.is_empty() || arguments.output_directory.is_some() || arguments.build_first {
        bail!(
            "a task graph has no parameters and no outputs: --set, --output-directory and --build-first are for graph files (.toml)"
        );
    }
    let name = arguments.graph.to_string_lossy().into_owned();
    let source = sources::graph(&name, Path::new("."), &ReadOptions::default())
        .with_context(|| format!("cannot use {name} as a task graph"))?;
    let policy = arguments.policy.or(config.client.policy.clone());
    let explain = arguments.explain;
    let summary = signals::unless_asked_to_stop(async {
        match arguments.local_farm {
            None => {
                let farm = ask::connect(Role::Client, &arguments.connect, &config.client)
                    .await
                    .context("no farm to run on; start one with `isochrone up`, or add --local-farm 3")?;
                run_and_close(farm, &source.graph, policy.as_deref(), &explain).await
            }
            Some(agents) => {
                let options = local_farm::of_this_binary()?
                    .agents(agents, &Devices::default())
                    .processor_threads(local_farm::threads(None, agents));
                let local = isochrone_testbed::Farm::start(options).await?;
                let client = local.connect().await?;
                let result = run_and_close(client, &source.graph, policy.as_deref(), &explain).await;
                local.stop().await;
                result
            }
        }
    })
    .await?;
    let summary = TaskRunSummary { assumptions: source.assumptions, ..summary };
    if arguments.verify && summary.verified_bytes.is_none() {
        bail!("{name} ran, but nothing could be verified: virtual devices compute nothing");
    }
    if arguments.json {
        output::json(&summary)
    } else {
        output::print(&summary.shown());
        Ok(())
    }
}

async fn run_and_close(
    farm: Farm,
    graph: &TaskGraph,
    policy: Option<&str>,
    explain: &[String],
) -> anyhow::Result<TaskRunSummary> {
    let result = run_on(&farm, graph, policy, explain).await;
    farm.close().await;
    result
}

async fn run_on(
    farm: &Farm,
    graph: &TaskGraph,
    policy: Option<&str>,
    explain: &[String],
) -> anyhow::Result<TaskRunSummary> {
    let before = Counters::now(farm).await?;
    let mut options = SessionOptions::new();
    let label = match policy {
        Some(label) => {
            options = options.policy(label);
            label.to_owned()
        }
        None => farm.status().await?.policy,
    };
    let session = farm.session(options).await?;
    let mut progress = |progress: Progress| run::show_progress(&graph.name, progress);
    let ran = run_task_graph_and_explain(graph, &session, &before.devices, explain, &mut progress).await;
    output::clear_progress();
    let report = ran.with_context(|| format!("{} failed", graph.name))?;
    session.close().await?;
    let used = before.until(&Counters::when_quiet(farm).await?);
    Ok(TaskRunSummary {
        graph: graph.name.clone(),
        policy: label,
        tasks: report.tasks,
        makespan_seconds: report.makespan.as_secs_f64(),
        busy_seconds: report.executions.iter().map(std::time::Duration::as_secs_f64).sum(),
        rounds_per_microsecond: match report.work {
            TaskWork::Rounds { per_microsecond } => Some(per_microsecond),
            TaskWork::Items => None,
        },
        moved_bytes: used.moved_bytes,
        verified_bytes: report.verified_bytes,
        devices: used
            .devices
            .iter()
            .map(|device| DeviceSummary {
                agent: device.agent.clone(),
                device: device.device.clone(),
                kind: kind_name(device.kind),
                commands: device.commands,
                busy_seconds: device.busy.as_secs_f64(),
            })
            .collect(),
        explanations: ExplanationSummary::of(report.explanations),
        assumptions: Vec::new(),
    })
}

impl TaskRunSummary {
    fn shown(&self) -> String {
        let mut lines = vec![
            format!("{}: {} tasks under {}", self.graph, self.tasks, self.policy),
            format!(
                "  {} from submission to the last end; devices busy for {}; {} between agents",
                seconds(self.makespan_seconds),
                seconds(self.busy_seconds),
                ByteSize(self.moved_bytes)
            ),
        ];
        match self.verified_bytes {
            Some(bytes) => lines.push(format!("  {} read back, every byte right", ByteSize(bytes))),
            None => lines.push("  not verified: virtual devices compute nothing".to_owned()),
        }
        for device in &self.devices {
            lines.push(format!(
                "  {}/{}: {} commands, busy {}",
                device.agent,
                device.device,
                device.commands,
                seconds(device.busy_seconds)
            ));
        }
        lines.extend(self.explanations.iter().map(|told| format!("\n{}", told.shown().trim_end())));
        lines.extend(self.assumptions.iter().map(|assumption| format!("  assumed: {assumption}")));
        lines.join("\n")
    }
}
