//! `isochrone sim explain`: one task's placement.

use anyhow::Context;
use isochrone_model::Span;
use isochrone_sim::explanation::{TaskStory, story};
use isochrone_sim::plot::{bytes, span};
use isochrone_sim::simulation::Simulation;

use super::Chosen;
use super::arguments::SimExplainArguments;
use crate::decisions::told_decision;
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
        text.push_str(&format!("{}: ", at(decision.at_ns)));
        text.push_str(&told_decision(
            &story.task,
            &decision.policy,
            &decision.chosen,
            &decision.reason,
            &decision.candidates,
            &decision.transfers,
        ));
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
