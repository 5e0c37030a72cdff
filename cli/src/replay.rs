//! `isochrone replay`: a journal stepped again.
//!
//! Must never write to the journal.

use anyhow::{Context, bail};
use serde::Serialize;

use crate::arguments::ReplayArguments;
use crate::output;

/// What `--json` prints.
#[derive(Serialize)]
struct Shown {
    policy: String,
    events: u64,
    actions: u64,
    span_seconds: f64,
    truncated_at_bytes: Option<u64>,
    reproduced: bool,
    mismatch: Option<ShownMismatch>,
}

#[derive(Serialize)]
struct ShownMismatch {
    event_number: u64,
    at_seconds: f64,
    event: String,
    actions: String,
}

/// Steps a journal again; an error when any action differs.
pub fn replay(arguments: &ReplayArguments) -> anyhow::Result<()> {
    let report = isochrone_scheduler::replay(&arguments.journal)
        .with_context(|| format!("cannot replay {}", arguments.journal.display()))?;
    if arguments.json {
        output::json(&Shown {
            policy: report.policy.clone(),
            events: report.events,
            actions: report.actions,
            span_seconds: report.span.as_secs_f64(),
            truncated_at_bytes: report.truncated_at_bytes,
            reproduced: report.mismatch.is_none(),
            mismatch: report.mismatch.as_ref().map(|mismatch| ShownMismatch {
                event_number: mismatch.event_number,
                at_seconds: mismatch.now.0 as f64 / 1e9,
                event: mismatch.event.clone(),
                actions: mismatch.actions.clone(),
            }),
        })?;
    }
    if let Some(mismatch) = report.mismatch {
        bail!(
            "event {} at {} gives other actions than in the live run, after {} events that agreed\n\
             event: {}\nactions now: {}",
            mismatch.event_number,
            mismatch.now,
            report.events,
            mismatch.event,
            mismatch.actions
        );
    }
    if !arguments.json {
        output::line(format!(
            "{}: {} events over {} under `{}` gave the same {} actions again",
            arguments.journal.display(),
            report.events,
            report.span,
            report.policy,
            report.actions
        ));
        if let Some(at_bytes) = report.truncated_at_bytes {
            output::line(format!(
                "the last record, at byte {at_bytes}, is incomplete and was left out: the scheduler was killed"
            ));
        }
    }
    Ok(())
}
