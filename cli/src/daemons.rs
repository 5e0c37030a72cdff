//! `isochrone scheduler` and `isochrone agent`: the daemons.
//!
//! Must never hold what they do: `scheduler` and `node-agent` do.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use isochrone_node_agent::opencl::OpenClOptions;
use isochrone_node_agent::{AgentOptions, BoundAgent};
use isochrone_scheduler::{BoundScheduler, SchedulerOptions};
use isochrone_testbed::{Devices, READY_LISTENING, ReadyLine};
use isochrone_transport::{Identity, Role};

use crate::arguments::{AgentArguments, SchedulerArguments};
use crate::config::{AgentSection, Config};
use crate::{local_farm, output, signals};

/// Where certificates are unless stated otherwise; `isochrone up` puts them there.
pub const CERTIFICATES: &str = ".isochrone/certificates";

/// Where the scheduler is unless stated otherwise.
pub const SCHEDULER: &str = "127.0.0.1:7447";

const SCHEDULER_PORT: u16 = 7447;
const AGENT_PORT: u16 = 7448;

/// Runs a scheduler until it is told to stop.
pub async fn scheduler(arguments: SchedulerArguments, config: Config) -> anyhow::Result<()> {
    // Whoever is told that it listens may stop it at once.
    let stop = told_to_stop(arguments.stop_with_input);
    let section = config.scheduler;
    let certificates = arguments.certificates.or(section.certificates);
    let identity = identity(certificates, Role::Scheduler, arguments.name.or(section.name))?;
    let listen =
        arguments.listen.or(section.listen).unwrap_or((Ipv4Addr::UNSPECIFIED, SCHEDULER_PORT).into());
    let mut options = SchedulerOptions::new(listen, identity);
    if let Some(policy) = arguments.policy.or(section.policy) {
        options.policy(policy);
    }
    if let Some(journal) = arguments.journal.or(section.journal) {
        options.journal(journal);
    }
    if let Some(costs_file) = arguments.costs_file.or(section.costs_file) {
        options.costs_file(costs_file);
    }
    let scheduler = BoundScheduler::bind(options).context("the scheduler does not start")?;
    if arguments.json {
        let ready = ReadyLine { event: READY_LISTENING.to_owned(), address: scheduler.local_address() };
        output::line(serde_json::to_string(&ready)?);
    }
    scheduler.run(stop).await;
    Ok(())
}

/// Runs an agent until it is told to stop.
pub async fn agent(arguments: AgentArguments, config: Config) -> anyhow::Result<()> {
    // Before the devices are opened.
    let stop = told_to_stop(arguments.stop_with_input);
    let devices = devices(&arguments, &config.agent)?;
    let section = config.agent;
    let certificates = arguments.certificates.or(section.certificates);
    let identity = identity(certificates, Role::Agent, arguments.name.or(section.name))?;
    let listen: SocketAddr =
        arguments.listen.or(section.listen).unwrap_or((Ipv4Addr::UNSPECIFIED, AGENT_PORT).into());
    let scheduler = arguments.scheduler.or(section.scheduler).unwrap_or(SCHEDULER.to_owned());
    let mut options = AgentOptions::new(scheduler, listen, identity, devices.into_maker());
    if let Some(address) = arguments.advertise.or(section.advertise) {
        options.advertise(address);
    }
    if let Some(size) = arguments.host_memory.or(section.host_memory) {
        options.host_memory_bytes(size.0);
    }
    let agent = BoundAgent::bind(options).context("the agent does not start")?;
    agent.run(stop).await.context("the agent cannot go on")
}

fn devices(arguments: &AgentArguments, section: &AgentSection) -> anyhow::Result<Devices> {
    if let Some(path) = arguments.virtual_devices.as_ref().or(section.virtual_devices.as_ref()) {
        return local_farm::virtual_file(path);
    }
    let defaults = arguments.opencl.as_deref().map(opencl_file).transpose()?.unwrap_or_default();
    let kinds = match (arguments.device_kinds.as_slice(), &section.device_kinds) {
        ([], None) => defaults.kinds,
        ([], Some(kinds)) => kinds.iter().copied().map(Into::into).collect(),
        (kinds, _) => kinds.iter().copied().map(Into::into).collect(),
    };
    let completion = arguments.completion.or(section.completion);
    let close_seconds_max = arguments.close_seconds_max.or(section.close_seconds_max);
    let device_times = if arguments.no_device_times { Some(false) } else { section.device_times };
    Ok(Devices::OpenCl(OpenClOptions {
        platform: arguments.platform_filter.clone().or(section.platform_filter.clone()).or(defaults.platform),
        device: arguments.device_filter.clone().or(section.device_filter.clone()).or(defaults.device),
        kinds,
        slots: arguments.slots.or(section.slots).unwrap_or(defaults.slots),
        completion: completion.map_or(defaults.completion, Into::into),
        device_times: device_times.unwrap_or(defaults.device_times),
        unified_memory: defaults.unified_memory,
        close_seconds_max: close_seconds_max.unwrap_or(defaults.close_seconds_max),
    }))
}

fn opencl_file(path: &Path) -> anyhow::Result<OpenClOptions> {
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    toml::from_str(&text).with_context(|| format!("{} is wrong", path.display()))
}

/// The certificate of a role; without a name, the only one of that role in the folder.
fn identity(folder: Option<PathBuf>, role: Role, name: Option<String>) -> anyhow::Result<Identity> {
    let folder = folder.unwrap_or_else(|| CERTIFICATES.into());
    let name = match name {
        Some(name) => name,
        None => sole_name(&folder, role)?,
    };
    Identity::load_named(&folder, role, &name).with_context(|| {
        format!(
            "no usable certificate for {role} `{name}` in {}; make one with `isochrone cert issue {role} {name}`",
            folder.display()
        )
    })
}

fn sole_name(folder: &Path, role: Role) -> anyhow::Result<String> {
    let entries = std::fs::read_dir(folder).with_context(|| {
        format!(
            "no certificates in {}; name their folder with --certificates, or make them (`isochrone cert --help`)",
            folder.display()
        )
    })?;
    let prefix = format!("{role}-");
    let mut names: Vec<String> = entries
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter_map(|file| Some(file.strip_prefix(&prefix)?.strip_suffix(".pem")?.to_owned()))
        .collect();
    names.sort();
    match names.as_slice() {
        [name] => Ok(name.clone()),
        [] => bail!(
            "no certificate of a role {role} in {}; make one with `isochrone cert issue {role} NAME`",
            folder.display()
        ),
        [_, _, ..] => bail!(
            "several certificates of the role {role} in {}: choose one with --name ({})",
            folder.display(),
            names.join(", ")
        ),
    }
}

/// Ready when a signal comes, or standard input ends where that counts. Signals count from the call on.
pub fn told_to_stop(with_input: bool) -> impl Future<Output = ()> {
    let asked = signals::asked_to_stop();
    let input_ended = async move {
        if with_input {
            signals::input_ended().await;
        } else {
            std::future::pending::<()>().await;
        }
    };
    async {
        tokio::select! {
            () = input_ended => {}
            asked = asked => {
                if let Err(error) = asked {
                    tracing::error!(%error, "cannot listen for signals; stopping");
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_only_certificate_of_a_role_is_taken_and_several_are_not_guessed_at() {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str| std::fs::write(folder.path().join(name), "").unwrap();
        let none = sole_name(folder.path(), Role::Agent).unwrap_err().to_string();
        assert!(none.contains("isochrone cert issue agent"), "{none}");
        file("agent-gpu-7.pem");
        file("agent-gpu-7.key");
        file("scheduler-main.pem");
        assert_eq!(sole_name(folder.path(), Role::Agent).unwrap(), "gpu-7");
        file("agent-gpu-8.pem");
        let several = sole_name(folder.path(), Role::Agent).unwrap_err().to_string();
        assert!(several.ends_with("--name (gpu-7, gpu-8)"), "{several}");
    }
}
