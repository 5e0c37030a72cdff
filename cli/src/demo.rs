//! `isochrone demo`: the shipped graphs on a temporary farm, every number verified.
//!
//! Must never call a run good that did not hold.

use anyhow::{Context, bail};
use isochrone_client::DeviceKind;
use isochrone_node_agent::opencl::OpenClOptions;
use isochrone_policies::POLICIES;
use isochrone_testbed::{AgentSpecification, Devices, Farm, FarmOptions, PreparedGraph};
use isochrone_workload::inputs::SHIPPED_INPUTS;
use serde::Serialize;

use crate::arguments::{DemoArguments, DemoBackend};
use crate::report::{RunSummary, seconds};
use crate::run::{GraphPlan, run_loaded};
use crate::values::{Setting, kind_name};
use crate::{clock, inputs, local_farm, output, run, signals};

/// What `--json` prints.
#[derive(Serialize)]
struct DemoSummary {
    devices: Vec<DemoDevice>,
    medians: Vec<Median>,
    runs: Vec<RunSummary>,
}

#[derive(Serialize)]
struct DemoDevice {
    agent: String,
    device: String,
    kind: &'static str,
    platform: String,
}

/// All runs of one graph under one policy.
#[derive(Serialize)]
struct Median {
    graph: String,
    policy: String,
    runs: usize,
    makespan_median_seconds: f64,
    makespan_min_seconds: f64,
    makespan_max_seconds: f64,
}

/// One graph of the demo.
struct DemoGraph {
    name: String,
    plan: GraphPlan,
    prepared: PreparedGraph,
}

/// Runs the demo; an error when anything did not hold.
pub async fn demo(arguments: DemoArguments) -> anyhow::Result<()> {
    signals::unless_asked_to_stop(async {
        let policies = policies(&arguments.policy)?;
        let names = names(&arguments.names)?;
        for name in &names {
            for line in inputs::write(name, &arguments.graphs, &arguments.sizes)? {
                say(&arguments, &format!("input {line}"));
            }
        }
        let farm = Farm::start(farm_options(&arguments)?).await?;
        let result = on_farm(&arguments, &farm, &policies, &names).await;
        farm.stop().await;
        let summary = result?;
        if arguments.json {
            return output::json(&summary);
        }
        if summary.runs.len() > names.len() {
            output::print(&shown_medians(&summary.medians, &names, &policies));
        }
        let checked: u64 = summary
            .runs
            .iter()
            .filter_map(|run| run.verification.as_ref())
            .map(|verification| verification.numbers_checked)
            .sum();
        output::line(match arguments.backend {
            DemoBackend::Opencl => {
                format!(
                    "all {} runs held: {checked} numbers verified; the farm has stopped",
                    summary.runs.len()
                )
            }
            DemoBackend::Virtual => format!(
                "all {} runs ended; modelled devices compute nothing, so no number was verified",
                summary.runs.len()
            ),
        });
        Ok(())
    })
    .await
}

fn policies(wanted: &str) -> anyhow::Result<Vec<String>> {
    if wanted == "all" {
        return Ok(POLICIES.iter().map(|info| info.name.to_owned()).collect());
    }
    isochrone_policies::create(wanted).context("no such policy")?;
    Ok(vec![wanted.to_owned()])
}

/// The graphs asked for, in the order shipped.
fn names(wanted: &[String]) -> anyhow::Result<Vec<&'static str>> {
    let shipped: Vec<&str> = SHIPPED_INPUTS.iter().map(|input| input.graph).collect();
    if let Some(unknown) = wanted.iter().find(|name| !shipped.contains(&name.as_str())) {
        bail!("no graph named `{unknown}` is shipped; there are {}", shipped.join(", "));
    }
    Ok(shipped
        .into_iter()
        .filter(|name| wanted.is_empty() || wanted.iter().any(|other| other == name))
        .collect())
}

fn farm_options(arguments: &DemoArguments) -> anyhow::Result<FarmOptions> {
    let mut options = local_farm::of_this_binary()?;
    if let Some(journal) = &arguments.journal {
        options = options.journal(journal);
    }
    if arguments.gpu_and_cpu {
        if arguments.backend == DemoBackend::Virtual {
            bail!("--gpu-and-cpu needs OpenCL devices; leave --backend virtual out");
        }
        for (name, kind) in [("gpu", DeviceKind::Gpu), ("cpu", DeviceKind::Cpu)] {
            let devices = Devices::OpenCl(OpenClOptions { kinds: vec![kind], ..OpenClOptions::default() });
            let agent = AgentSpecification { name: name.to_owned(), devices, environment: Vec::new() };
            options = options.agent(agent);
        }
        // Only one of the agents uses the processors.
        return Ok(match arguments.threads {
            Some(threads) => options.processor_threads(threads),
            None => options,
        });
    }
    if arguments.agents == 0 {
        bail!("a farm without agents runs nothing; give --agents at least 1");
    }
    let devices = match arguments.backend {
        DemoBackend::Opencl => Devices::default(),
        DemoBackend::Virtual => Devices::modelled(1),
    };
    Ok(options
        .agents(arguments.agents, &devices)
        .processor_threads(local_farm::threads(arguments.threads, arguments.agents)))
}

async fn on_farm(
    arguments: &DemoArguments,
    farm: &Farm,
    policies: &[String],
    names: &[&str],
) -> anyhow::Result<DemoSummary> {
    let client = farm.connect().await?;
    let devices = client.devices().await?;
    say(arguments, &shown_farm(farm));
    let devices_shown: Vec<DemoDevice> = devices
        .iter()
        .map(|device| DemoDevice {
            agent: device.agent.clone(),
            device: device.facts.name.clone(),
            kind: kind_name(device.facts.kind),
            platform: device.facts.platform.clone(),
        })
        .collect();
    for device in &devices_shown {
        say(
            arguments,
            &format!("  {}: {} ({}, {})", device.agent, device.device, device.kind, device.platform),
        );
    }
    let mut graphs = Vec::new();
    for name in names {
        let plan = plan(arguments, name)?;
        let prepared = run::load(&plan, &devices)?;
        graphs.push(DemoGraph { name: (*name).to_owned(), plan, prepared });
    }
    let mut runs = Vec::new();
    for repetition in 0..arguments.repeat {
        for policy in policies {
            for graph in &graphs {
                let plan = GraphPlan { policy: Some(policy.clone()), ..graph.plan.clone() };
                let summary = run_loaded(&client, &plan, &graph.prepared, clock::now())
                    .await
                    .with_context(|| format!("{} under {policy}, run {}", graph.name, repetition + 1))?;
                if arguments.repeat == 1 {
                    say(arguments, &format!("\n{}", summary.shown().trim_end()));
                } else {
                    let time = seconds(summary.makespan_seconds);
                    say(arguments, &format!("run {}: {} under {policy}: {time}", repetition + 1, graph.name));
                }
                runs.push(summary);
            }
        }
    }
    client.close().await;
    let medians = medians(&runs, policies, names);
    Ok(DemoSummary { devices: devices_shown, medians, runs })
}

/// The settings that this graph has; a setting that no graph has is an error.
fn plan(arguments: &DemoArguments, name: &str) -> anyhow::Result<GraphPlan> {
    let path = arguments.graphs.join(name).join("graph.toml");
    let text = std::fs::read_to_string(&path)
        .with_context(|| format!("cannot read {}; say with --graphs where the graphs are", path.display()))?;
    let settings =
        arguments.settings.iter().filter(|setting| is_parameter(&text, setting)).cloned().collect();
    let output_directory = arguments.output_directory.as_ref().unwrap_or(&arguments.graphs).join(name);
    Ok(GraphPlan {
        path,
        settings,
        policy: None,
        output_directory: Some(output_directory),
        verify: arguments.backend == DemoBackend::Opencl,
        build_first: true,
        explain: Vec::new(),
    })
}

fn is_parameter(text: &str, setting: &Setting) -> bool {
    // A file that does not parse is reported when it is loaded.
    let Ok(document) = text.parse::<toml::Table>() else { return true };
    document
        .get("parameters")
        .and_then(toml::Value::as_table)
        .is_some_and(|parameters| parameters.contains_key(&setting.name))
}

fn shown_farm(farm: &Farm) -> String {
    let members: Vec<String> = farm
        .members()
        .into_iter()
        .map(|(member, process)| match process {
            Some(process) => format!("{member} (process {process})"),
            None => member.to_string(),
        })
        .collect();
    format!("farm at {} with certificates of its own: {}", farm.address(), members.join(", "))
}

/// For people alone.
fn say(arguments: &DemoArguments, text: &str) {
    if !arguments.json {
        output::line(text);
    }
}

fn medians(runs: &[RunSummary], policies: &[String], names: &[&str]) -> Vec<Median> {
    let mut medians = Vec::new();
    for graph in names {
        for policy in policies {
            let mut makespans: Vec<f64> = runs
                .iter()
                .filter(|run| run.graph == *graph && run.policy == *policy)
                .map(|run| run.makespan_seconds)
                .collect();
            makespans.sort_by(f64::total_cmp);
            let (Some(min), Some(max)) = (makespans.first(), makespans.last()) else { continue };
            let middle = makespans.len() / 2;
            let median = if makespans.len() % 2 == 1 {
                makespans[middle]
            } else {
                f64::midpoint(makespans[middle - 1], makespans[middle])
            };
            medians.push(Median {
                graph: (*graph).to_owned(),
                policy: policy.clone(),
                runs: makespans.len(),
                makespan_median_seconds: median,
                makespan_min_seconds: *min,
                makespan_max_seconds: *max,
            });
        }
    }
    medians
}

fn shown_medians(medians: &[Median], names: &[&str], policies: &[String]) -> String {
    let runs = medians.first().map_or(0, |median| median.runs);
    let mut headings = vec!["policy"];
    headings.extend(names);
    let rows: Vec<Vec<String>> = policies
        .iter()
        .map(|policy| {
            let of_graph = |name: &&str| {
                medians
                    .iter()
                    .find(|median| median.policy == *policy && median.graph == **name)
                    .map_or_else(String::new, |median| seconds(median.makespan_median_seconds))
            };
            std::iter::once(policy.clone()).chain(names.iter().map(of_graph)).collect()
        })
        .collect();
    format!("\nmakespan, median of {runs}:\n{}\n", output::table(&headings, &rows))
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    fn summary(policy: &str, makespan_seconds: f64) -> RunSummary {
        RunSummary {
            graph: "cholesky".to_owned(),
            policy: policy.to_owned(),
            commands: 1,
            makespan_seconds,
            build_seconds: 0.0,
            total_seconds: 0.0,
            written_bytes: 0,
            read_bytes: 0,
            moved_bytes: 0,
            devices: Vec::new(),
            outputs: Vec::<PathBuf>::new(),
            verification: None,
            explanations: Vec::new(),
        }
    }

    #[test]
    fn medians_are_of_one_policy_and_graph() {
        let runs = [summary("heft", 3.0), summary("heft", 1.0), summary("eager", 9.0), summary("heft", 8.0)];
        let policies = ["heft".to_owned(), "eager".to_owned()];
        let medians = medians(&runs, &policies, &["vector-add", "cholesky"]);
        let figures: Vec<(usize, f64)> =
            medians.iter().map(|median| (median.runs, median.makespan_median_seconds)).collect();
        assert_eq!(figures, [(3, 3.0), (1, 9.0)]);
        assert!(shown_medians(&medians, &["cholesky"], &policies).contains("heft    3000.0 ms"));
    }

    #[test]
    fn all_policies_are_those_of_the_registry() {
        assert_eq!(policies("all").unwrap().len(), POLICIES.len());
        assert!(policies("fastest").is_err());
        assert_eq!(policies("random(seed=3)").unwrap(), ["random(seed=3)"]);
    }

    #[test]
    fn settings_go_to_the_graphs_that_have_them() {
        let setting: Setting = "tiles=4".parse().unwrap();
        assert!(is_parameter("[parameters]\ntiles = 8", &setting));
        assert!(!is_parameter("[parameters]\nparts = 8", &setting));
    }
}
