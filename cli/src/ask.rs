//! `isochrone devices`, `status` and `shutdown`: questions, and their answers printed.
//!
//! Must never compute what the scheduler tells.

use std::time::Duration;

use anyhow::Context;
use isochrone_client::{ConnectOptions, DeviceFacts, DeviceStatus, Farm, FarmStatus, Role};
use isochrone_node_agent::opencl::{OpenClOptions, list_devices};

use crate::arguments::{ConnectArguments, DevicesArguments, ShutdownArguments, StatusArguments};
use crate::config::{ClientSection, Config};
use crate::daemons::{CERTIFICATES, SCHEDULER};
use crate::values::{ByteSize, kind_name};
use crate::{output, signals};

/// How often `status --watch` asks.
const WATCH_INTERVAL: Duration = Duration::from_secs(1);

/// Connects to a farm as a client, or as an administrator.
pub async fn connect(
    role: Role,
    arguments: &ConnectArguments,
    section: &ClientSection,
) -> anyhow::Result<Farm> {
    let scheduler = arguments.scheduler.clone().or(section.scheduler.clone());
    let folder = arguments.certificates.clone().or(section.certificates.clone());
    let name = arguments.name.clone().or(section.name.clone());
    let timeout = Duration::from_secs(arguments.timeout);
    let options = ConnectOptions::from_folder_as(
        role,
        scheduler.unwrap_or_else(|| SCHEDULER.to_owned()),
        folder.unwrap_or_else(|| CERTIFICATES.into()),
        &name.unwrap_or_else(|| "local".to_owned()),
    )?
    .connect_timeout(timeout)
    .answer_timeout(timeout);
    Ok(Farm::connect(options).await?)
}

/// `isochrone devices`
pub async fn devices(arguments: DevicesArguments, config: Config) -> anyhow::Result<()> {
    if arguments.local {
        let devices = list_devices(&OpenClOptions::default())?;
        return if arguments.json {
            output::json(&devices)
        } else {
            show_local(&devices);
            Ok(())
        };
    }
    signals::unless_asked_to_stop(async {
        let farm = connect(Role::Client, &arguments.connect, &config.client)
            .await
            .context("no farm to ask; `isochrone devices --local` shows the devices of this machine")?;
        let devices = farm.devices().await?;
        farm.close().await;
        if arguments.json {
            return output::json(&devices);
        }
        output::print(&device_table(&devices));
        Ok(())
    })
    .await
}

fn show_local(devices: &[DeviceFacts]) {
    let rows: Vec<Vec<String>> = devices.iter().map(fact_cells).collect();
    output::print(&output::table(FACT_HEADINGS, &rows));
}

const FACT_HEADINGS: &[&str] = &["device", "kind", "units", "memory", "fp64", "platform"];

fn fact_cells(facts: &DeviceFacts) -> Vec<String> {
    vec![
        facts.name.clone(),
        kind_name(facts.kind).to_owned(),
        facts.compute_units.to_string(),
        ByteSize(facts.memory_bytes).to_string(),
        if facts.has_fp64 { "yes" } else { "no" }.to_owned(),
        facts.platform.clone(),
    ]
}

/// The devices of a farm and what they do.
pub fn device_table(devices: &[DeviceStatus]) -> String {
    let rows: Vec<Vec<String>> = devices
        .iter()
        .map(|device| {
            let mut cells = vec![device.agent.clone()];
            cells.extend(fact_cells(&device.facts));
            cells.push(if device.is_present { "yes" } else { "no" }.to_owned());
            cells.push(device.queued_tasks.to_string());
            cells.push(device.finished_tasks.to_string());
            cells.push(device.busy.to_string());
            cells
        })
        .collect();
    let mut headings = vec!["agent"];
    headings.extend(FACT_HEADINGS);
    headings.extend(["there", "queued", "finished", "busy"]);
    output::table(&headings, &rows)
}

/// `isochrone status`
pub async fn status(arguments: StatusArguments, config: Config) -> anyhow::Result<()> {
    let asking = async {
        let farm = connect(Role::Client, &arguments.connect, &config.client).await?;
        loop {
            let status = farm.status().await?;
            if arguments.watch && !arguments.json {
                // To the top left, and nothing below.
                output::print("\x1b[H\x1b[2J");
            }
            if arguments.json {
                let line = if arguments.watch {
                    serde_json::to_string(&status)?
                } else {
                    serde_json::to_string_pretty(&status)?
                };
                output::line(line);
            } else {
                output::print(&shown_status(&status));
            }
            if !arguments.watch {
                farm.close().await;
                return Ok(());
            }
            tokio::time::sleep(WATCH_INTERVAL).await;
        }
    };
    if !arguments.watch {
        return signals::unless_asked_to_stop(asking).await;
    }
    // Watching is over when someone says so, and that is well.
    tokio::select! {
        result = asking => result,
        asked = signals::asked_to_stop() => asked.map(drop),
    }
}

fn shown_status(status: &FarmStatus) -> String {
    let mut text = format!(
        "version {}, up {}, policy {}\n\
         tasks: {} wait for a placement, {} dispatched, {} finished, {} failed\n\
         moved between agents: {}\n",
        status.version,
        status.uptime,
        status.policy,
        status.tasks_unplaced,
        status.tasks_dispatched,
        status.tasks_finished,
        status.tasks_failed,
        ByteSize(status.moved_bytes),
    );
    for (reason, count) in &status.rejections {
        text.push_str(&format!("refused proposals of policies, {reason}: {count}\n"));
    }
    let agents: Vec<Vec<String>> = status
        .agents
        .iter()
        .map(|agent| {
            vec![
                agent.name.clone(),
                agent.address.clone(),
                agent.devices.to_string(),
                agent.round_trip.to_string(),
                agent.queued_tasks.to_string(),
                ByteSize(agent.host_memory_used_bytes).to_string(),
            ]
        })
        .collect();
    text.push('\n');
    text.push_str(&output::table(
        &["agent", "address", "devices", "round trip", "queued", "host memory"],
        &agents,
    ));
    let sessions: Vec<Vec<String>> = status
        .sessions
        .iter()
        .map(|session| {
            vec![
                session.session.0.to_string(),
                session.tenant.clone(),
                session.policy.clone(),
                session.commands_open.to_string(),
                session.commands_finished.to_string(),
                session.buffers.to_string(),
            ]
        })
        .collect();
    if !sessions.is_empty() {
        text.push('\n');
        text.push_str(&output::table(
            &["session", "tenant", "policy", "open", "finished", "buffers"],
            &sessions,
        ));
    }
    text
}

/// `isochrone shutdown`
pub async fn shutdown(arguments: ShutdownArguments, config: Config) -> anyhow::Result<()> {
    signals::unless_asked_to_stop(async {
        let farm = connect(Role::Admin, &arguments.connect, &config.client).await?;
        farm.shutdown().await?;
        farm.close().await;
        output::line("the farm stops once its sessions have ended");
        Ok(())
    })
    .await
}
