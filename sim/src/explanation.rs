//! Why a task ran where it ran: what its policy weighed, and what came of it.

use isochrone_model::message::{Candidate, PlannedTransfer};
use isochrone_workload::task_graph::TaskGraph;
use serde::Serialize;

use crate::cluster::{Cluster, Party};
use crate::run_report::device_name;
use crate::simulation::{Outcome, TaskDecision, TransferRun};

/// The story of one task. Times count from the submission.
#[derive(Clone, Debug, Serialize)]
pub struct TaskStory {
    /// The task.
    pub task: String,
    /// Each decision about it; more than one where it had to be placed again.
    pub decisions: Vec<StoryDecision>,
    /// Where it ran, `agent/device`.
    pub device: String,
    /// When the agent had the order.
    pub ordered_ns: u64,
    /// What it waited for: the tasks before it, with where and when they ended.
    pub predecessors: Vec<StoryPredecessor>,
    /// Contents that came to its agent for it, or before it for others.
    pub arrivals: Vec<StoryArrival>,
    /// When it began.
    pub start_ns: u64,
    /// When it ended.
    pub finish_ns: u64,
    /// What it waited for last: in words.
    pub held_by: String,
}

/// A decision.
#[derive(Clone, Debug, Serialize)]
pub struct StoryDecision {
    /// When.
    pub at_ns: u64,
    /// The policy.
    pub policy: String,
    /// `agent/device/slot`.
    pub chosen: String,
    /// In words.
    pub reason: String,
    /// Whether the candidates are what the scheduler weighed, since the policy named none.
    pub is_weighed_by_scheduler: bool,
    /// What was weighed.
    pub candidates: Vec<Candidate>,
    /// What was ordered to be moved for it, with what was known of the paths.
    pub transfers: Vec<PlannedTransfer>,
}

/// A task before it.
#[derive(Clone, Debug, Serialize)]
pub struct StoryPredecessor {
    /// Its name.
    pub task: String,
    /// Where it ran.
    pub device: String,
    /// When it ended.
    pub finish_ns: u64,
}

/// Contents that came.
#[derive(Clone, Debug, Serialize)]
pub struct StoryArrival {
    /// The item.
    pub item: String,
    /// Where from.
    pub from: String,
    /// How many bytes.
    pub size_bytes: u64,
    /// When they left.
    pub start_ns: u64,
    /// When they were there.
    pub finish_ns: u64,
}

/// The story of a task of a run that was made with [`crate::simulation::Simulation::explaining`] it.
#[must_use]
pub fn story(graph: &TaskGraph, cluster: &Cluster, outcome: &Outcome, task: usize) -> TaskStory {
    let run = &outcome.tasks[task];
    let decisions = outcome.decisions.iter().filter(|kept| kept.task == task);
    let decisions = decisions.map(|TaskDecision { at, decision, .. }| StoryDecision {
        at_ns: at.0,
        policy: decision.policy.clone(),
        chosen: decision.chosen.clone(),
        reason: decision.reason.clone(),
        is_weighed_by_scheduler: decision.is_weighed_by_scheduler(),
        candidates: decision.candidates.clone(),
        transfers: decision.transfers.clone(),
    });
    let adjacency = graph.predecessors();
    let predecessors = adjacency[task].iter().map(|before| StoryPredecessor {
        task: graph.tasks[*before].name.clone(),
        device: device_name(cluster, outcome.tasks[*before].device),
        finish_ns: outcome.tasks[*before].finish.0,
    });
    let agent = cluster.devices().nth(run.device).map(|(agent, _, _)| agent);
    let inputs = &graph.tasks[task].inputs;
    let is_mine = |transfer: &&TransferRun| {
        transfer.item().is_some_and(|item| inputs.contains(&item))
            && Some(transfer.to()) == agent.map(Party::Agent)
    };
    let arrivals = outcome.transfers.iter().filter(is_mine).map(|transfer| StoryArrival {
        item: transfer.item().map(|item| graph.items[item].name.clone()).unwrap_or_default(),
        from: party_name(cluster, transfer.from()),
        size_bytes: transfer.size_bytes,
        start_ns: transfer.start.0,
        finish_ns: transfer.finish.0,
    });
    let mut story = TaskStory {
        task: graph.tasks[task].name.clone(),
        decisions: decisions.collect(),
        device: device_name(cluster, run.device),
        ordered_ns: run.ordered.0,
        predecessors: predecessors.collect(),
        arrivals: arrivals.collect(),
        start_ns: run.start.0,
        finish_ns: run.finish.0,
        held_by: String::new(),
    };
    story.held_by = held_by(&story, graph, outcome, task);
    story
}

/// The latest of all that had to be: that is what a better placement would have to change.
fn held_by(story: &TaskStory, graph: &TaskGraph, outcome: &Outcome, task: usize) -> String {
    let mut latest = (story.ordered_ns, "the order from the scheduler".to_owned());
    let mut consider = |at: u64, what: String| {
        if at > latest.0 {
            latest = (at, what);
        }
    };
    for before in &story.predecessors {
        consider(before.finish_ns, format!("the end of `{}` on {}", before.task, before.device));
    }
    for arrival in &story.arrivals {
        consider(arrival.finish_ns, format!("`{}` from {}", arrival.item, arrival.from));
    }
    let run = &outcome.tasks[task];
    for (other, name) in outcome.tasks.iter().zip(&graph.tasks) {
        let is_before = (other.device, other.slot) == (run.device, run.slot) && other.finish <= run.start;
        if is_before {
            consider(other.finish.0, format!("its slot, busy with `{}`", name.name));
        }
    }
    if latest.0 < story.start_ns { format!("{}, and the word of it", latest.1) } else { latest.1 }
}

/// What a party is called.
#[must_use]
pub fn party_name(cluster: &Cluster, party: Party) -> String {
    match party {
        Party::Scheduler => "scheduler".to_owned(),
        Party::Client => "client".to_owned(),
        Party::Agent(place) => cluster.agents.get(place).map(|agent| agent.name.clone()).unwrap_or_default(),
    }
}
