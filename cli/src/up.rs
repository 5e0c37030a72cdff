//! `isochrone up`: a farm on this machine until someone says stop.
//!
//! Must never leave a process behind.

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use anyhow::Context;
use isochrone_client::DeviceStatus;
use isochrone_sim::cluster::Cluster;
use isochrone_testbed::{Devices, Farm, FarmOptions};
use serde::Serialize;

use crate::arguments::UpArguments;
use crate::config::Config;
use crate::{ask, daemons, local_farm, output};

const AGENTS: usize = 3;
const PORT: u16 = 7447;

/// What `--json` prints when the farm is ready.
#[derive(Serialize)]
struct Ready {
    event: &'static str,
    scheduler: String,
    certificates: PathBuf,
    name: &'static str,
    policy: String,
    agents: usize,
    processes: Vec<ReadyProcess>,
}

#[derive(Serialize)]
struct ReadyProcess {
    member: String,
    process_id: Option<u32>,
}

/// Starts the farm, tells how to reach it, and stops it when asked to.
pub async fn up(arguments: UpArguments, config: Config) -> anyhow::Result<()> {
    let stop = daemons::told_to_stop(arguments.stop_with_input);
    let mut stop = std::pin::pin!(stop);
    let json = arguments.json;
    let options = options(arguments, config)?;
    if !json {
        output::progress("starting the farm");
    }
    let mut farm = tokio::select! {
        farm = Farm::start(options) => farm?,
        () = &mut stop => anyhow::bail!("stopped before the farm was ready"),
    };
    let client = farm.connect().await?;
    let (devices, policy) = (client.devices().await?, client.status().await?.policy);
    client.close().await;
    output::clear_progress();
    if json {
        output::line(serde_json::to_string(&ready(&farm, policy)?)?);
    } else {
        output::print(&welcome(&farm, &policy, &devices)?);
    }
    let ended = tokio::select! {
        error = farm.ended() => Some(error),
        () = &mut stop => None,
    };
    let result = match ended {
        // An administrator's request ends all members well, one soon after the other.
        Some(_) if farm.has_stopped().await => Ok(()),
        Some(error) => Err(error).context("the farm lost a member and was stopped"),
        None => Ok(()),
    };
    farm.stop().await;
    if !json && result.is_ok() {
        output::line("the farm has stopped");
    }
    result
}

fn options(arguments: UpArguments, config: Config) -> anyhow::Result<FarmOptions> {
    let section = config.up;
    let base = local_farm::of_this_binary()?
        .listen(arguments.listen.or(section.listen).unwrap_or((Ipv4Addr::LOCALHOST, PORT).into()))
        .directory(arguments.directory.or(section.directory).unwrap_or_else(|| ".isochrone".into()))
        .keep_costs();
    let threads = arguments.threads.or(section.threads);
    let is_stated = arguments.agents.is_some()
        || arguments.virtual_count.is_some()
        || arguments.virtual_devices.is_some();
    let mut options = match arguments.cluster.or(section.cluster.filter(|_| !is_stated)) {
        Some(named) => {
            let cluster =
                Cluster::named(&named, Path::new("")).with_context(|| format!("no cluster `{named}`"))?;
            let agents = cluster.agents.len();
            let real = arguments.opencl.iter().map(|text| text.split_once('=').unwrap_or((text, "")));
            let real = real.map(|(name, text)| (name.to_owned(), text.to_owned())).collect();
            base.cluster(&cluster, &real, arguments.link_seed)
                .with_context(|| format!("the cluster `{named}` cannot be had live"))?
                .processor_threads(local_farm::threads(threads, agents))
        }
        None => {
            let agents = arguments.agents.or(section.agents).unwrap_or(AGENTS);
            let virtual_file = arguments.virtual_devices.or(section.virtual_devices);
            let devices = match (arguments.virtual_count, virtual_file) {
                (Some(count), _) => Devices::modelled(count),
                (None, Some(path)) => local_farm::virtual_file(&path)?,
                (None, None) => Devices::default(),
            };
            base.agents(agents, &devices).processor_threads(local_farm::threads(threads, agents))
        }
    };
    if let Some(policy) = arguments.policy.or(section.policy) {
        options = options.policy(policy);
    }
    if let Some(journal) = arguments.journal.or(section.journal) {
        options = options.journal(journal);
    }
    Ok(options)
}

fn certificates(farm: &Farm) -> anyhow::Result<PathBuf> {
    let folder = farm.certificates().directory();
    std::path::absolute(folder).with_context(|| format!("no absolute path of {}", folder.display()))
}

fn ready(farm: &Farm, policy: String) -> anyhow::Result<Ready> {
    let members = farm.members();
    Ok(Ready {
        event: "ready",
        scheduler: farm.address().to_string(),
        certificates: certificates(farm)?,
        name: "local",
        policy,
        agents: members.len() - 1,
        processes: members
            .into_iter()
            .map(|(member, process_id)| ReadyProcess { member: member.to_string(), process_id })
            .collect(),
    })
}

fn welcome(farm: &Farm, policy: &str, devices: &[DeviceStatus]) -> anyhow::Result<String> {
    let present: Vec<DeviceStatus> = devices.iter().filter(|device| device.is_present).cloned().collect();
    let agents = farm.members().len() - 1;
    Ok(format!(
        "The farm is up: scheduler at {address}, policy {policy}, {agents} agents\n\n\
         {devices}\n\
         To reach it from another shell:\n  \
         export ISOCHRONE_SCHEDULER={address}\n  \
         export ISOCHRONE_CERTIFICATES={certificates}\n  \
         export ISOCHRONE_NAME=local\n\n\
         Then for example:\n  \
         isochrone status\n  \
         isochrone inputs vector-add && isochrone run graphs/vector-add/graph.toml --verify\n\n\
         Logs are in {logs}. Ctrl-C stops the farm.\n",
        address = farm.address(),
        devices = ask::device_table(&present),
        certificates = certificates(farm)?.display(),
        logs = farm.directory().join("logs").display(),
    ))
}
