//! `isochrone sim explain`: one task's placement.

use anyhow::Context;
use isochrone_model::Span;
use isochrone_model::message::{PlannedTransfer, WEIGHED_BY_SCHEDULER};
use isochrone_sim::explanation::{StoryDecision, TaskStory, story};
use isochrone_sim::plot::{bytes, span};
use isochrone_sim::simulation::Simulation;

use super::Chosen;
use super::arguments::SimExplainArguments;
use crate::output;

/// Runs the graph and tells of the task.
pub fn explain(arguments: &SimExplainArguments) -> anyhow::Result<()> {
    let choice = &arguments.choice;
    let Chosen { source, cluster, knowledge } = Chosen::new(choice)?;
    let graph = &source.graph;
    let task = graph.tasks.iter().position(|task| task.name == arguments.task).with_context(|| {
        let some: Vec<&str> = graph.tasks.iter().take(5).map(|task| task.name.as_str()).collect();
        format!(
            "the graph has no task `{}`; among its {} are {}",
            arguments.task,
            graph.tasks.len(),
            some.join(", ")
        )
    })?;
    let outcome = Simulation::new(graph, &cluster, &arguments.policy)
        .network(&choice.network)
        .knowledge(knowledge)
        .seed(choice.seed)
        .explaining(task)
        .run()?;
    let story = story(graph, &cluster, &outcome, task);
    if arguments.json {
        return output::json(&story);
    }
    output::print(&told(&story));
    Ok(())
}

fn told(story: &TaskStory) -> String {
    let at = |nanos: u64| span(Span(nanos));
    let mut text = String::new();
    for decision in &story.decisions {
        text.push_str(&format!(
            "{}: `{}` placed `{}` on {} ({})\n",
            at(decision.at_ns),
            decision.policy,
            story.task,
            decision.chosen,
            decision.reason.trim_end_matches(WEIGHED_BY_SCHEDULER)
        ));
        if decision.is_weighed_by_scheduler {
            text.push_str(&format!("  {}\n", weighed_by_scheduler(&decision.policy)));
        }
        text.push_str(&candidates(decision));
        for transfer in &decision.transfers {
            text.push_str(&planned(transfer));
        }
    }
    text.push_str(&format!(
        "\nWhat happened: ordered {}, began {}, ended {} on {} (took {})\n",
        at(story.ordered_ns),
        at(story.start_ns),
        at(story.finish_ns),
        story.device,
        at(story.finish_ns.saturating_sub(story.start_ns))
    ));
    text.push_str(&format!("It waited last for {}.\n", story.held_by));
    for before in &story.predecessors {
        text.push_str(&format!(
            "  after `{}` on {}, ended {}\n",
            before.task,
            before.device,
            at(before.finish_ns)
        ));
    }
    for arrival in &story.arrivals {
        text.push_str(&format!(
            "  got `{}` ({}) from {}: {} to {}\n",
            arrival.item,
            bytes(arrival.size_bytes),
            arrival.from,
            at(arrival.start_ns),
            at(arrival.finish_ns)
        ));
    }
    text
}

/// Whose estimates follow, where they are not the policy's.
fn weighed_by_scheduler(label: &str) -> String {
    let name = label.split('(').next().unwrap_or(label);
    let why = match isochrone_policies::info(label) {
        Some(info) if info.is_planned() => "plans the whole graph at once and keeps no candidates",
        Some(_) | None => "names no candidates",
    };
    format!("`{name}` {why}; this is what the scheduler expected of each when it took the choice:")
}

fn candidates(decision: &StoryDecision) -> String {
    let rows: Vec<Vec<String>> = decision
        .candidates
        .iter()
        .map(|candidate| {
            let is_chosen = decision.chosen.starts_with(&format!("{}/", candidate.name));
            vec![
                format!("  {}{}", candidate.name, if is_chosen { " *" } else { "" }),
                span(candidate.queueing),
                span(candidate.transfer),
                span(candidate.execution),
                span(candidate.finish),
            ]
        })
        .collect();
    output::table(&["  candidate", "queueing", "transfer", "execution", "finish in"], &rows)
}

/// A transfer that was ordered with the placement, and what its estimate rests on.
fn planned(transfer: &PlannedTransfer) -> String {
    let parts = &transfer.parts;
    let rests_on = match transfer.age {
        Some(age) => format!("{} round trips, the last {} ago", transfer.samples, span(age)),
        None => "no measurement".to_owned(),
    };
    format!(
        "  orders {} from {} to {}: queue {}, handshake {}, one way {}, slow start {}, bytes {} \
         (round trip {}, {}/s; {rests_on})\n",
        bytes(transfer.size_bytes),
        transfer.from,
        transfer.to,
        span(parts.queueing),
        span(parts.handshake),
        span(parts.latency),
        span(parts.slow_start),
        span(parts.carrying),
        span(transfer.round_trip),
        bytes(transfer.rate.0),
    )
}
