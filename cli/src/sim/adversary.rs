//! `isochrone sim adversary`: the instance on which one policy loses most to another.

use anyhow::Context;
use isochrone_model::Span;
use isochrone_sim::adversary::{Adversary, Found};
use isochrone_sim::plot::{fixed, span};
use serde::Serialize;

use super::arguments::SimAdversaryArguments;
use super::write;
use crate::output;

/// What `--json` prints.
#[derive(Serialize)]
struct Shown<'a> {
    worse: &'a str,
    than: &'a str,
    network: &'a str,
    seed: u64,
    steps: u64,
    ratio: f64,
    first_ratio: f64,
    worse_makespan_ns: u64,
    than_makespan_ns: u64,
    failed_candidates: u64,
}

/// Searches, tells, and writes the instance.
pub fn adversary(arguments: &SimAdversaryArguments) -> anyhow::Result<()> {
    let found = Adversary {
        worse: arguments.worse.clone(),
        than: arguments.than.clone(),
        network: arguments.network.clone(),
        steps: arguments.steps,
        seed: arguments.seed,
        tasks: usize::from(arguments.tasks),
        agents: usize::from(arguments.agents),
    }
    .search(&mut |step, ratio| {
        output::progress(&format!(
            "step {step} of {}: {} takes {} times as long as {}",
            arguments.steps,
            arguments.worse,
            fixed(ratio, 3),
            arguments.than
        ));
    })?;
    output::clear_progress();
    if let Some(folder) = &arguments.output {
        std::fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
        write(&folder.join("graph.json"), &found.graph_json()?)?;
        write(&folder.join("cluster.toml"), &found.cluster_toml())?;
    }
    if arguments.json {
        return output::json(&Shown {
            worse: &arguments.worse,
            than: &arguments.than,
            network: &arguments.network,
            seed: arguments.seed,
            steps: arguments.steps,
            ratio: found.ratio,
            first_ratio: found.first_ratio,
            worse_makespan_ns: found.worse.0,
            than_makespan_ns: found.than.0,
            failed_candidates: found.failed,
        });
    }
    output::print(&told(arguments, &found));
    Ok(())
}

fn told(arguments: &SimAdversaryArguments, found: &Found) -> String {
    let time = |makespan: Span| span(makespan);
    let mut text = format!(
        "{} takes {} times as long as {}: {} and {} ({} network, seed {}, {} steps; the search began at {})\n",
        arguments.worse,
        fixed(found.ratio, 4),
        arguments.than,
        time(found.worse),
        time(found.than),
        arguments.network,
        arguments.seed,
        arguments.steps,
        fixed(found.first_ratio, 4)
    );
    if found.failed > 0 {
        text.push_str(&format!(
            "{} candidates could not be run under both and were passed over\n",
            found.failed
        ));
    }
    match &arguments.output {
        Some(folder) => text.push_str(&format!(
            "{} and {} hold the instance\n",
            folder.join("graph.json").display(),
            folder.join("cluster.toml").display()
        )),
        None => text.push_str("--output DIR writes the instance\n"),
    }
    text
}
