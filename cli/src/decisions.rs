//! Placements told to people: the candidates, their estimates, the reason, and what is moved.

use isochrone_client::Explanation;
use isochrone_model::message::{Candidate, PlannedTransfer, WEIGHED_BY_SCHEDULER};
use isochrone_sim::plot::{bytes, span};
use serde::Serialize;

use crate::output;

/// Why one task of a run is where it is.
#[derive(Clone, Debug, Serialize)]
pub struct ExplanationSummary {
    /// The task or step.
    pub task: String,
    /// What the scheduler knows of it.
    pub explanation: Explanation,
}

impl ExplanationSummary {
    /// All of a run.
    pub fn of(explanations: Vec<(String, Explanation)>) -> Vec<Self> {
        explanations.into_iter().map(|(task, explanation)| Self { task, explanation }).collect()
    }

    /// For people.
    pub fn shown(&self) -> String {
        match &self.explanation.decision {
            Some(decision) => told_decision(
                &self.task,
                &decision.policy,
                &decision.chosen,
                &decision.reason,
                &decision.candidates,
                &decision.transfers,
            ),
            None => format!(
                "`{}` was placed by no policy, or so long ago that the scheduler has forgotten; it is {}\n",
                self.task, self.explanation.state
            ),
        }
    }
}

/// One placement, some lines.
pub fn told_decision(
    task: &str,
    policy: &str,
    chosen: &str,
    reason: &str,
    candidates: &[Candidate],
    transfers: &[PlannedTransfer],
) -> String {
    let own_reason = reason.trim_end_matches(WEIGHED_BY_SCHEDULER);
    let mut text = format!("`{policy}` placed `{task}` on {chosen} ({own_reason})\n");
    if own_reason.len() < reason.len() {
        text.push_str(&format!("  {}\n", weighed_by_scheduler(policy)));
    }
    text.push_str(&table(chosen, candidates));
    for transfer in transfers {
        text.push_str(&planned(transfer));
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

fn table(chosen: &str, candidates: &[Candidate]) -> String {
    let rows: Vec<Vec<String>> = candidates
        .iter()
        .map(|candidate| {
            let is_chosen = chosen.starts_with(&format!("{}/", candidate.name));
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
