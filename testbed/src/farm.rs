//! The farm itself: starting it, reaching it, and ending it.
//!
//! Must never leave a process behind.

use std::ffi::OsString;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use isochrone_client::ConnectOptions;
use isochrone_emulator::Emulator;
use isochrone_node_agent::AgentOptions;
use isochrone_scheduler::SchedulerOptions;
use isochrone_transport::Role;
use tempfile::TempDir;

use crate::certificates::{Certificates, LOCAL_NAME};
use crate::clock;
use crate::error::{FarmError, Member};
use crate::in_process::MemberTask;
use crate::links::FarmLinks;
use crate::options::{AgentSpecification, FarmOptions, Hosting};
use crate::process::MemberProcess;

/// How often members are looked at while waiting.
const LOOK_INTERVAL: Duration = Duration::from_millis(20);

/// A farm on this machine. Dropping it kills its processes, and tells its tasks to end;
/// [`Farm::stop`] lets them end in order.
#[derive(Debug)]
pub struct Farm {
    scheduler: Running,
    agents: Vec<Running>,
    address: SocketAddr,
    certificates: Certificates,
    directory: PathBuf,
    /// Ends after the members.
    links: Option<FarmLinks>,
    /// Removes the folder when the farm goes; after its members.
    _temporary: Option<TempDir>,
}

/// A member, wherever it runs.
#[derive(Debug)]
enum Running {
    Process(Box<MemberProcess>),
    Task(MemberTask),
    /// Killed on request.
    Killed(Member),
}

impl Farm {
    /// Starts a farm and waits until all its agents have joined. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// When a member does not start, ends, or is not ready in time; what was started is ended then.
    pub async fn start(options: FarmOptions) -> Result<Self, FarmError> {
        let (directory, temporary) = directory(&options)?;
        let certificates = Certificates::prepare(&directory.join("certificates"))?;
        certificates.identity(Role::Client, LOCAL_NAME)?;
        certificates.identity(Role::Admin, LOCAL_NAME)?;
        let links = FarmLinks::start(&options)?;
        let listen = if links.is_some() { FarmLinks::scheduler_listen() } else { options.listen };
        let (scheduler, listens_on) = start_scheduler(&options, listen, &certificates, &directory).await?;
        let listens_on = match &links {
            Some(links) => links.front_scheduler(options.listen, listens_on)?,
            None => listens_on,
        };
        let mut farm = Self {
            scheduler,
            agents: Vec::new(),
            address: reachable(listens_on),
            certificates,
            directory,
            links,
            _temporary: temporary,
        };
        for agent in &options.agents {
            let running = farm.start_agent(&options, agent)?;
            farm.agents.push(running);
            // The scheduler numbers agents as they join, and policies that find two alike take the first: a cluster's agents are to be numbered
            // as its file, and so the simulator, has them.
            if farm.links.is_some() {
                farm.await_agents(&options, farm.agents.len()).await?;
            }
        }
        farm.await_agents(&options, options.agents.len()).await?;
        Ok(farm)
    }

    /// Where the scheduler is reached.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The certificates, those of client and administrator `local` among them.
    #[must_use]
    pub fn certificates(&self) -> &Certificates {
        &self.certificates
    }

    /// The relay of the farm's emulated links, if it has some; parties are numbered by their place: scheduler 0, all
    /// clients 1, then the agents.
    #[must_use]
    pub fn emulator(&self) -> Option<&Emulator> {
        self.links.as_ref().map(FarmLinks::emulator)
    }

    /// The farm's folder.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// The members and their process ids; none in this process, or once they have ended.
    #[must_use]
    pub fn members(&self) -> Vec<(Member, Option<u32>)> {
        std::iter::once(&self.scheduler)
            .chain(&self.agents)
            .map(|running| match running {
                Running::Process(process) => (process.member().clone(), process.process_id()),
                Running::Task(task) => (task.member().clone(), None),
                Running::Killed(member) => (member.clone(), None),
            })
            .collect()
    }

    /// How to connect as the client `local`.
    ///
    /// # Errors
    /// When its certificate is gone and cannot be issued again.
    pub fn connect_options(&self) -> Result<ConnectOptions, FarmError> {
        let identity = self.certificates.identity(Role::Client, LOCAL_NAME)?;
        Ok(ConnectOptions::new(self.address.to_string(), identity))
    }

    /// Connects as the client `local`.
    ///
    /// # Errors
    /// When the farm does not answer.
    pub async fn connect(&self) -> Result<isochrone_client::Farm, FarmError> {
        Ok(isochrone_client::Farm::connect(self.connect_options()?).await?)
    }

    /// Ends an agent in the middle of whatever it does, as a crash would. Agents count from 0.
    ///
    /// # Errors
    /// When there is no such agent.
    pub async fn kill_agent(&mut self, number: usize) -> Result<(), FarmError> {
        let agents = self.agents.len();
        let agent = self.agents.get_mut(number).ok_or(FarmError::NoAgent { number, agents })?;
        let member = match agent {
            Running::Process(process) => {
                process.kill().await;
                process.member().clone()
            }
            Running::Task(task) => {
                task.kill().await;
                task.member().clone()
            }
            Running::Killed(_) => return Ok(()),
        };
        *agent = Running::Killed(member);
        Ok(())
    }

    /// Waits until a member ends that was not killed, and tells which and why. An administrator may
    /// have stopped the farm: then the scheduler's exit status is success.
    pub async fn ended(&mut self) -> FarmError {
        loop {
            if let Some(error) = self.find_ended().await {
                return error;
            }
            tokio::time::sleep(LOOK_INTERVAL).await;
        }
    }

    /// Whether every member ended well by itself, as after an administrator's request; waits a little
    /// for those that are about to.
    pub async fn has_stopped(&mut self) -> bool {
        let deadline = clock::now() + Duration::from_secs(5);
        loop {
            let mut all_ended = true;
            for running in std::iter::once(&mut self.scheduler).chain(&mut self.agents) {
                match running {
                    Running::Process(process) => match process.ended() {
                        Some(status) if !status.success() => return false,
                        Some(_) => {}
                        None => all_ended = false,
                    },
                    Running::Task(task) => all_ended &= task.has_ended(),
                    Running::Killed(_) => {}
                }
            }
            if all_ended || clock::now() > deadline {
                return all_ended;
            }
            tokio::time::sleep(LOOK_INTERVAL).await;
        }
    }

    /// Ends the farm: agents first, then the scheduler. Waits until all are gone.
    pub async fn stop(mut self) {
        // Each waits for its devices; together they take as long as the slowest.
        let mut stopping = tokio::task::JoinSet::new();
        for agent in self.agents.drain(..) {
            stopping.spawn(agent.stop());
        }
        while stopping.join_next().await.is_some() {}
        self.scheduler.stop().await;
    }

    fn start_agent(&self, options: &FarmOptions, agent: &AgentSpecification) -> Result<Running, FarmError> {
        let identity = self.certificates.identity(Role::Agent, &agent.name)?;
        let own_memory = options.agent_host_memory.get(self.agents.len()).copied().flatten();
        let host_memory_bytes = own_memory.or(options.host_memory_bytes);
        let through = self.links.as_ref().map(|links| links.front_agent(self.agents.len())).transpose()?;
        let listen = through.map_or(SocketAddr::new(self.address.ip(), 0), |addresses| addresses.listen);
        match &options.hosting {
            Hosting::InProcess => {
                let maker = agent.devices.clone().into_maker();
                let mut agent_options = AgentOptions::new(self.address.to_string(), listen, identity, maker);
                agent_options.limits(options.limits.clone());
                if let Some(addresses) = through {
                    agent_options.advertise(addresses.advertise);
                }
                if let Some(bytes) = host_memory_bytes {
                    agent_options.host_memory_bytes(bytes);
                }
                Ok(Running::Task(MemberTask::agent(&agent.name, agent_options)?))
            }
            Hosting::Processes { binary } => {
                let mut arguments = daemon_arguments("agent", &self.certificates, &agent.name);
                arguments.extend(["--scheduler".into(), self.address.to_string().into()]);
                arguments.extend(["--listen".into(), listen.to_string().into()]);
                if let Some(addresses) = through {
                    arguments.extend(["--advertise".into(), addresses.advertise.to_string().into()]);
                }
                if let Some(bytes) = host_memory_bytes {
                    arguments.extend(["--host-memory".into(), bytes.to_string().into()]);
                }
                let file = self.directory.join(format!("{}-devices.toml", agent.name));
                let devices = agent.devices.to_arguments(&file);
                arguments.extend(devices.map_err(|source| FarmError::Directory { path: file, source })?);
                let member = Member::Agent(agent.name.clone());
                let logs = logs(&self.directory)?;
                let process = MemberProcess::spawn(member, binary, &arguments, &agent.environment, &logs)?;
                Ok(Running::Process(Box::new(process)))
            }
        }
    }

    /// Waits until the scheduler knows the first so many agents.
    async fn await_agents(&mut self, options: &FarmOptions, count: usize) -> Result<(), FarmError> {
        let started = clock::now();
        let client = self.connect().await?;
        let missing = loop {
            let present = client.status().await?.agents;
            let missing = options.agents[..count]
                .iter()
                .find(|agent| !present.iter().any(|other| other.name == agent.name));
            let Some(missing) = missing else { break None };
            if let Some(error) = self.find_ended().await {
                return Err(error);
            }
            if started.elapsed() > options.ready_timeout {
                break Some(missing.name.clone());
            }
            tokio::time::sleep(LOOK_INTERVAL).await;
        };
        client.close().await;
        match missing {
            None => Ok(()),
            Some(name) => Err(self.not_ready(&name, options.ready_timeout)),
        }
    }

    fn not_ready(&self, name: &str, waited: Duration) -> FarmError {
        let member = Member::Agent(name.to_owned());
        let process = self.agents.iter().find_map(|running| match running {
            Running::Process(process) if *process.member() == member => Some(process),
            Running::Process(_) | Running::Task(_) | Running::Killed(_) => None,
        });
        match process {
            Some(process) => process.not_ready(waited),
            None => FarmError::NotReady { member, waited, log: String::new() },
        }
    }

    async fn find_ended(&mut self) -> Option<FarmError> {
        for running in std::iter::once(&mut self.scheduler).chain(&mut self.agents) {
            match running {
                Running::Process(process) => {
                    if let Some(status) = process.ended() {
                        return Some(process.ended_error(status));
                    }
                }
                Running::Task(task) if task.has_ended() => {
                    let error = task.ended_error().await;
                    *running = Running::Killed(task.member().clone());
                    return Some(error);
                }
                Running::Task(_) | Running::Killed(_) => {}
            }
        }
        None
    }
}

impl Running {
    async fn stop(self) {
        match self {
            Self::Process(mut process) => process.stop().await,
            Self::Task(mut task) => task.stop().await,
            Self::Killed(_) => {}
        }
    }
}

async fn start_scheduler(
    options: &FarmOptions,
    listen: SocketAddr,
    certificates: &Certificates,
    directory: &Path,
) -> Result<(Running, SocketAddr), FarmError> {
    let identity = certificates.identity(Role::Scheduler, LOCAL_NAME)?;
    let costs = options.keeps_costs.then(|| directory.join("costs"));
    match &options.hosting {
        Hosting::InProcess => {
            let mut scheduler = SchedulerOptions::new(listen, identity);
            scheduler.policy(&options.policy).limits(options.limits.clone());
            if let Some(path) = &options.journal {
                scheduler.journal(path);
            }
            if let Some(path) = costs {
                scheduler.costs_file(path);
            }
            let (task, address) = MemberTask::scheduler(scheduler)?;
            Ok((Running::Task(task), address))
        }
        Hosting::Processes { binary } => {
            let mut arguments = daemon_arguments("scheduler", certificates, LOCAL_NAME);
            arguments.extend(["--listen".into(), listen.to_string().into()]);
            arguments.extend(["--policy".into(), options.policy.clone().into(), "--json".into()]);
            if let Some(path) = &options.journal {
                arguments.extend(["--journal".into(), path.into()]);
            }
            if let Some(path) = costs {
                arguments.extend(["--costs-file".into(), path.into()]);
            }
            let logs = logs(directory)?;
            let mut process = MemberProcess::spawn(Member::Scheduler, binary, &arguments, &[], &logs)?;
            let address = process.listening(options.ready_timeout).await?;
            Ok((Running::Process(Box::new(process)), address))
        }
    }
}

/// What every daemon of a farm is told.
fn daemon_arguments(command: &str, certificates: &Certificates, name: &str) -> Vec<OsString> {
    let mut arguments: Vec<OsString> = vec!["--no-config".into(), command.into()];
    arguments.extend(["--certificates".into(), certificates.directory().into()]);
    arguments.extend(["--name".into(), name.into(), "--stop-with-input".into()]);
    arguments
}

fn directory(options: &FarmOptions) -> Result<(PathBuf, Option<TempDir>), FarmError> {
    match &options.directory {
        Some(path) => {
            let failed = |source| FarmError::Directory { path: path.clone(), source };
            std::fs::create_dir_all(path).map_err(failed)?;
            Ok((path.clone(), None))
        }
        None => {
            let failed = |source| FarmError::Directory { path: std::env::temp_dir(), source };
            let temporary = tempfile::Builder::new().prefix("isochrone-").tempdir().map_err(failed)?;
            Ok((temporary.path().to_owned(), Some(temporary)))
        }
    }
}

fn logs(directory: &Path) -> Result<PathBuf, FarmError> {
    let path = directory.join("logs");
    match std::fs::create_dir_all(&path) {
        Ok(()) => Ok(path),
        Err(source) => Err(FarmError::Directory { path, source }),
    }
}

/// The address by which a listener on every address is reached from this machine.
fn reachable(mut address: SocketAddr) -> SocketAddr {
    if address.ip().is_unspecified() {
        address.set_ip(match address {
            SocketAddr::V4(_) => IpAddr::V4(Ipv4Addr::LOCALHOST),
            SocketAddr::V6(_) => IpAddr::V6(Ipv6Addr::LOCALHOST),
        });
    }
    address
}
