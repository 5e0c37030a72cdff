//! `isochrone sim replay`: a recorded live run under other policies.
//!
//! Must never write to the journal.

use anyhow::Context;
use isochrone_sim::plot::{bytes, fixed, span};
use isochrone_sim::replay::{Recording, Rerun};
use isochrone_testbed::read_recording;
use serde::Serialize;

use super::arguments::SimReplayArguments;
use crate::output;

/// What `--json` prints.
#[derive(Serialize)]
struct Shown {
    journal: String,
    network: String,
    tasks: u64,
    /// The time in which the farm had something open, as its scheduler saw it.
    recorded_ns: u64,
    notes: Vec<String>,
    runs: Vec<ShownRun>,
}

/// One simulated run.
#[derive(Serialize)]
struct ShownRun {
    policy: String,
    /// Whether it is the recorded one: then `to_recorded` says how well the simulation meets the live run.
    is_recorded: bool,
    busy_ns: u64,
    to_recorded: f64,
    tasks: u64,
    moved_bytes: u64,
    rejections: u64,
    devices: Vec<ShownDevice>,
}

#[derive(Serialize)]
struct ShownDevice {
    name: String,
    launches: u64,
    busy_ns: u64,
}

/// Reads the journal, runs it again, and tells.
pub fn replay(arguments: &SimReplayArguments) -> anyhow::Result<()> {
    let path = &arguments.journal;
    let recording = read_recording(path).with_context(|| format!("cannot use {}", path.display()))?;
    let mut runs = vec![run(&recording, None, arguments)?];
    for policy in &arguments.policy {
        runs.push(run(&recording, Some(policy), arguments)?);
    }
    let shown = Shown {
        journal: path.display().to_string(),
        network: arguments.network.clone(),
        tasks: recording.tasks,
        recorded_ns: recording.busy.0,
        notes: recording.notes,
        runs,
    };
    if arguments.json {
        return output::json(&shown);
    }
    output::print(&told(&shown));
    Ok(())
}

fn run(
    recording: &Recording,
    policy: Option<&str>,
    arguments: &SimReplayArguments,
) -> anyhow::Result<ShownRun> {
    let label = policy.unwrap_or(&recording.policy);
    let Rerun { busy, tasks, moved_bytes, devices, rejections, periods: _ } = recording
        .run(policy, &arguments.network, arguments.seed)
        .with_context(|| format!("under {label}"))?;
    Ok(ShownRun {
        policy: label.to_owned(),
        is_recorded: policy.is_none(),
        busy_ns: busy.0,
        to_recorded: busy.0 as f64 / recording.busy.0.max(1) as f64,
        tasks,
        moved_bytes,
        rejections,
        devices: devices
            .into_iter()
            .map(|device| ShownDevice {
                name: device.name,
                launches: device.launches,
                busy_ns: device.busy.0,
            })
            .collect(),
    })
}

fn told(shown: &Shown) -> String {
    let time = |nanos: u64| span(isochrone_model::Span(nanos));
    let mut text = format!(
        "{}: {} tasks, the farm had something open for {}\n\n",
        shown.journal,
        shown.tasks,
        time(shown.recorded_ns)
    );
    let rows: Vec<Vec<String>> = shown
        .runs
        .iter()
        .map(|run| {
            let launches: Vec<String> =
                run.devices.iter().map(|device| device.launches.to_string()).collect();
            vec![
                format!("{}{}", run.policy, if run.is_recorded { " (recorded)" } else { "" }),
                time(run.busy_ns),
                fixed(run.to_recorded, 3),
                bytes(run.moved_bytes),
                launches.join(" "),
            ]
        })
        .collect();
    text.push_str(&output::table(
        &["policy", "simulated", "to recorded", "moved", "launches by device"],
        &rows,
    ));
    let names = shown
        .runs
        .first()
        .map(|run| run.devices.iter().map(|device| device.name.clone()).collect::<Vec<_>>().join(", "));
    text.push_str(&format!("\ndevices: {}\nnetwork: {}\n", names.unwrap_or_default(), shown.network));
    for note in &shown.notes {
        text.push_str(&format!("note: {note}\n"));
    }
    text
}
