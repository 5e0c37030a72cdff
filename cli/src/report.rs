//! What a run of a graph was like, for people and as JSON.
//!
//! Must never run anything.

use std::path::PathBuf;

use isochrone_testbed::{FarmUse, RunReport};
use isochrone_workload::reference::Verification;
use serde::Serialize;

use crate::decisions::ExplanationSummary;
use crate::output;
use crate::values::{ByteSize, kind_name};

/// One run of a graph.
#[derive(Clone, Debug, Serialize)]
pub struct RunSummary {
    /// The graph's name.
    pub graph: String,
    /// The policy's label.
    pub policy: String,
    /// Commands, writes of inputs and reads of outputs included.
    pub commands: usize,
    /// From the submission to the last command's end.
    pub makespan_seconds: f64,
    /// Waiting for builds before the submission.
    pub build_seconds: f64,
    /// From loading the file to the last output written.
    pub total_seconds: f64,
    /// From this process to the farm.
    pub written_bytes: u64,
    /// From the farm to this process.
    pub read_bytes: u64,
    /// Between agents.
    pub moved_bytes: u64,
    /// What each device did.
    pub devices: Vec<DeviceSummary>,
    /// The files written.
    pub outputs: Vec<PathBuf>,
    /// What was verified; none when it was not asked for.
    pub verification: Option<VerificationSummary>,
    /// Why steps ran where they ran, as asked for.
    pub explanations: Vec<ExplanationSummary>,
}

/// What one device did.
#[derive(Clone, Debug, Serialize)]
pub struct DeviceSummary {
    /// Its agent.
    pub agent: String,
    /// Its name.
    pub device: String,
    /// Its kind.
    pub kind: &'static str,
    /// Commands that it finished.
    pub commands: u64,
    /// Time spent on them.
    pub busy_seconds: f64,
}

/// What was verified.
#[derive(Clone, Debug, Serialize)]
pub struct VerificationSummary {
    /// Numbers compared.
    pub numbers_checked: u64,
    /// The largest difference.
    pub max_error: f64,
    /// The largest difference allowed for any number.
    pub tolerance: f64,
    /// What was compared with what.
    pub what: String,
}

impl From<Verification> for VerificationSummary {
    fn from(verification: Verification) -> Self {
        let Verification { numbers_checked, max_error, tolerance, what } = verification;
        Self { numbers_checked, max_error, tolerance, what }
    }
}

impl RunSummary {
    /// What is known once the graph has run.
    pub fn new(graph: &str, policy: &str, report: &RunReport, used: &FarmUse) -> Self {
        let devices = used.devices.iter().map(|device| DeviceSummary {
            agent: device.agent.clone(),
            device: device.device.clone(),
            kind: kind_name(device.kind),
            commands: device.commands,
            busy_seconds: device.busy.as_secs_f64(),
        });
        Self {
            graph: graph.to_owned(),
            policy: policy.to_owned(),
            commands: report.commands,
            makespan_seconds: report.makespan.as_secs_f64(),
            build_seconds: report.build.as_secs_f64(),
            total_seconds: 0.0,
            written_bytes: report.written_bytes,
            read_bytes: report.read_bytes,
            moved_bytes: used.moved_bytes,
            devices: devices.collect(),
            outputs: Vec::new(),
            verification: None,
            explanations: ExplanationSummary::of(report.explanations.clone()),
        }
    }

    /// The run for people, several lines.
    pub fn shown(&self) -> String {
        let mut text = format!(
            "{} under {}: {} commands in {} (total {}{})\n\
             moved: {} to the farm, {} between agents, {} back\n",
            self.graph,
            self.policy,
            self.commands,
            seconds(self.makespan_seconds),
            seconds(self.total_seconds),
            if self.build_seconds > 0.0 {
                format!(", of it {} for builds", seconds(self.build_seconds))
            } else {
                String::new()
            },
            ByteSize(self.written_bytes),
            ByteSize(self.moved_bytes),
            ByteSize(self.read_bytes),
        );
        let rows: Vec<Vec<String>> = self
            .devices
            .iter()
            .map(|device| {
                vec![
                    device.agent.clone(),
                    device.device.clone(),
                    device.kind.to_owned(),
                    device.commands.to_string(),
                    seconds(device.busy_seconds),
                ]
            })
            .collect();
        text.push_str(&indented(&output::table(&["agent", "device", "kind", "commands", "busy"], &rows)));
        for path in &self.outputs {
            text.push_str(&format!("wrote {}\n", path.display()));
        }
        if let Some(verification) = &self.verification {
            text.push_str(&format!(
                "verified: {} numbers, largest error {:.3e} (allowed {:.3e}): {}\n",
                verification.numbers_checked,
                verification.max_error,
                verification.tolerance,
                verification.what
            ));
        }
        for told in &self.explanations {
            text.push_str(&format!("\n{}", told.shown()));
        }
        text
    }
}

fn indented(text: &str) -> String {
    text.lines().map(|line| format!("  {line}\n")).collect()
}

/// A time in a fitting unit.
pub fn seconds(seconds: f64) -> String {
    isochrone_client::Span::from_secs_f64(seconds).to_string()
}
