//! The command line: every command, flag and variable.
//!
//! Must never hold what a command does. Values left out come from the configuration file, then from
//! the defaults that the help states.

use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::PathBuf;

use clap::{ArgAction, Args, Parser, Subcommand, ValueEnum};
use isochrone_transport::Role;

use crate::link::LinkArguments;
use crate::sim::arguments::SimArguments;
use crate::values::{ByteSize, CompletionName, KindName, Setting};

const EXAMPLES: &str = "\
Examples:
  isochrone demo                                          everything at once, on this machine
  isochrone up                                            a farm on this machine, until Ctrl-C
  isochrone inputs                                        input files of the shipped graphs
  isochrone run graphs/cholesky/graph.toml --verify       run a graph on the farm

Settings are taken from flags, then from ISOCHRONE_* variables, then from the file isochrone.toml (or
--config FILE) with the sections [client], [scheduler], [agent] and [up].";

/// Runs OpenCL work on a farm of machines and places every command where it will finish first.
#[derive(Debug, Parser)]
#[command(name = "isochrone", version, after_help = EXAMPLES, max_term_width = 110)]
pub struct CommandLine {
    /// The configuration file [default: isochrone.toml, if it is there]
    #[arg(long, global = true, value_name = "FILE", env = "ISOCHRONE_CONFIG", hide_env_values = true)]
    pub config: Option<PathBuf>,

    /// Read no configuration file
    #[arg(long, global = true, hide = true, conflicts_with = "config")]
    pub no_config: bool,

    /// Log more to standard error; twice for still more. ISOCHRONE_LOG=debug (or crate=level,...) decides instead
    #[arg(short, long, global = true, action = ArgAction::Count)]
    pub verbose: u8,

    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Start a farm on this machine: a scheduler and agents as processes, until Ctrl-C
    Up(UpArguments),
    /// Run a graph file on a farm
    Run(RunArguments),
    /// Run the shipped graphs on a temporary farm, verify every number, and tell what ran where
    Demo(DemoArguments),
    /// Show the devices of a farm, or of this machine
    Devices(DevicesArguments),
    /// Show agents, sessions and counters of a farm
    Status(StatusArguments),
    /// Show what is known of every path of a farm: round trips, bandwidth, loss
    Links(LinksArguments),
    /// List the policies that place commands, or tell all of one
    Policies(PoliciesArguments),
    /// Write the input files of the shipped graphs
    Inputs(InputArguments),
    /// Run a scheduler
    Scheduler(SchedulerArguments),
    /// Run an agent: offer this machine's devices to a farm
    Agent(AgentArguments),
    /// Emulate a link: relay datagrams with delay, jitter, loss, a rate and more, until Ctrl-C
    Link(Box<LinkArguments>),
    /// Make and show certificates
    Cert(CertArguments),
    /// Step a scheduler's journal again and compare every action
    Replay(ReplayArguments),
    /// Measure what messages, transfers, handshakes and tasks cost on this machine, for simulations
    Calibrate(CalibrateArguments),
    /// Simulate: run graphs on clusters in virtual time and compare policies
    Sim(SimArguments),
    /// Stop a farm once its sessions have ended (needs an administrator's certificate)
    Shutdown(ShutdownArguments),
}

/// How to reach a farm.
#[derive(Clone, Debug, Default, Args)]
pub struct ConnectArguments {
    /// The scheduler's address [default: 127.0.0.1:7447]
    #[arg(long, value_name = "HOST:PORT", env = "ISOCHRONE_SCHEDULER", hide_env_values = true)]
    pub scheduler: Option<String>,

    /// The folder with authority.pem and this client's certificate [default: .isochrone/certificates]
    #[arg(long, value_name = "DIR", env = "ISOCHRONE_CERTIFICATES", hide_env_values = true)]
    pub certificates: Option<PathBuf>,

    /// The name in the certificate: client-NAME.pem [default: local]
    #[arg(long, value_name = "NAME", env = "ISOCHRONE_NAME", hide_env_values = true)]
    pub name: Option<String>,

    /// How long to wait for a connection and for answers, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 10)]
    pub timeout: u64,
}

const UP_EXAMPLES: &str = "\
Examples:
  isochrone up                                  three agents on this machine's OpenCL devices
  isochrone up --agents 8 --virtual-devices 2   eight agents with two modelled devices each
  isochrone up --cluster preset(continent)      modelled devices, and the links of that cluster between all
  isochrone up --listen 127.0.0.1:0 --json      any free port; one line of JSON when ready";

/// `isochrone up`
#[derive(Debug, Args)]
#[command(after_help = UP_EXAMPLES)]
pub struct UpArguments {
    /// How many agents [default: 3]
    #[arg(long, value_name = "COUNT")]
    pub agents: Option<usize>,

    /// The agents and modelled devices of a cluster (a file, or a short form such as preset(campus,agents=8)), with its
    /// links emulated between all members and clients; see docs/cluster-files.md
    #[arg(long, value_name = "CLUSTER", conflicts_with_all = ["agents", "virtual_devices", "virtual_count"])]
    pub cluster: Option<String>,

    /// Give an agent of the cluster this machine's OpenCL devices instead of modelled ones: AGENT, or AGENT=TEXT for
    /// devices whose name contains the text; may be repeated
    #[arg(long = "opencl", value_name = "AGENT[=TEXT]", requires = "cluster")]
    pub opencl: Vec<String>,

    /// Decides everything that is random on the emulated links of --cluster
    #[arg(long, value_name = "NUMBER", default_value_t = 1, requires = "cluster")]
    pub link_seed: u64,

    /// Where the scheduler listens; port 0 for any free one [default: 127.0.0.1:7447]
    #[arg(long, value_name = "IP:PORT", env = "ISOCHRONE_LISTEN", hide_env_values = true)]
    pub listen: Option<SocketAddr>,

    /// The farm's policy: a label such as heft or random(seed=7) [default: latency-eft]
    #[arg(long, value_name = "LABEL", env = "ISOCHRONE_POLICY", hide_env_values = true)]
    pub policy: Option<String>,

    /// The farm's folder: certificates (made if missing), logs, measured costs [default: .isochrone]
    #[arg(long, value_name = "DIR")]
    pub directory: Option<PathBuf>,

    /// Write the scheduler's journal, for `isochrone replay`
    #[arg(long, value_name = "FILE", env = "ISOCHRONE_JOURNAL", hide_env_values = true)]
    pub journal: Option<PathBuf>,

    /// Threads of each agent for OpenCL on processors (PoCL) [default: cores / agents, at least 1]
    #[arg(long, value_name = "COUNT")]
    pub threads: Option<usize>,

    /// Give each agent the modelled devices of this file instead of OpenCL's
    #[arg(long = "virtual", value_name = "FILE", conflicts_with = "virtual_count")]
    pub virtual_devices: Option<PathBuf>,

    /// Give each agent this many modelled devices instead of OpenCL's: they move bytes but compute nothing
    #[arg(long = "virtual-devices", value_name = "COUNT")]
    pub virtual_count: Option<u16>,

    /// Print one line of JSON when the farm is ready
    #[arg(long)]
    pub json: bool,

    /// End when standard input does.
    #[arg(long, hide = true)]
    pub stop_with_input: bool,
}

const RUN_EXAMPLES: &str = "\
Examples:
  isochrone run graphs/vector-add/graph.toml --verify
  isochrone run graphs/cholesky/graph.toml --set tiles=16 --policy heft --verify
  isochrone run graphs/image-pipeline/graph.toml --local-farm 3 --json
  isochrone run 'chains(length=4)' --explain link_0_2

Exit status 0 only if every command ran, every output was written, and with --verify every number held.";

/// `isochrone run`
#[derive(Debug, Args)]
#[command(after_help = RUN_EXAMPLES)]
pub struct RunArguments {
    /// A graph file (TOML; see graphs/graph-file.schema.json), or a task graph (JSON, WfCommons, DAX, STG, DOT, or a
    /// generator such as cholesky(tiles=8)), whose tasks keep devices busy and whose data is real bytes
    #[arg(value_name = "GRAPH")]
    pub graph: PathBuf,

    /// Set a parameter of the graph; may be repeated
    #[arg(long = "set", value_name = "NAME=VALUE")]
    pub settings: Vec<Setting>,

    /// The policy for this run [default: the farm's]
    #[arg(long, value_name = "LABEL", env = "ISOCHRONE_POLICY", hide_env_values = true)]
    pub policy: Option<String>,

    /// Where relative output paths start [default: the current folder]
    #[arg(long, value_name = "DIR")]
    pub output_directory: Option<PathBuf>,

    /// Compare the outputs with an independent computation on this machine's processor
    #[arg(long)]
    pub verify: bool,

    /// Tell afterwards why this task (of a task graph) or step (by its label in a graph file) ran where it ran; may be
    /// repeated
    #[arg(long, value_name = "TASK")]
    pub explain: Vec<String>,

    /// Wait for all devices to build the programs before anything is submitted, so that the makespan holds no
    /// compiler's time
    #[arg(long)]
    pub build_first: bool,

    /// Run on a temporary farm of this many agents on this machine
    #[arg(long, value_name = "AGENTS", conflicts_with_all = ["scheduler", "certificates", "name"])]
    pub local_farm: Option<usize>,

    /// Print one document of JSON
    #[arg(long)]
    pub json: bool,

    /// How to reach the farm.
    #[command(flatten)]
    pub connect: ConnectArguments,
}

const DEMO_EXAMPLES: &str = "\
Examples:
  isochrone demo                                   what `make demo` runs
  isochrone demo --policy all                      each policy in turn
  isochrone demo --gpu-and-cpu --policy all --repeat 9 --graph cholesky
  isochrone demo --backend virtual --agents 16     modelled devices; numbers cannot be verified

Exit status 0 only if every graph ran and every number held.";

/// What executes the demo's commands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum DemoBackend {
    /// The OpenCL devices of this machine.
    Opencl,
    /// Modelled devices.
    Virtual,
}

/// `isochrone demo`
#[derive(Debug, Args)]
#[command(after_help = DEMO_EXAMPLES)]
pub struct DemoArguments {
    /// How many agents
    #[arg(long, value_name = "COUNT", default_value_t = 3, conflicts_with = "gpu_and_cpu")]
    pub agents: usize,

    /// A policy's label, or `all` for each in turn
    #[arg(long, value_name = "LABEL", default_value = "latency-eft")]
    pub policy: String,

    /// What executes the commands
    #[arg(long, value_name = "KIND", default_value = "opencl")]
    pub backend: DemoBackend,

    /// Two agents: one with the graphics processors, the other with the processors
    #[arg(long)]
    pub gpu_and_cpu: bool,

    /// Threads of each agent for OpenCL on processors (PoCL) [default: cores / agents, at least 1]
    #[arg(long, value_name = "COUNT")]
    pub threads: Option<usize>,

    /// Run each graph this often under each policy and print medians
    #[arg(long, value_name = "COUNT", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub repeat: u32,

    /// Only this graph; may be repeated [default: all that are shipped]
    #[arg(long = "graph", value_name = "NAME")]
    pub names: Vec<String>,

    /// The folder of the shipped graphs
    #[arg(long, value_name = "DIR", default_value = "graphs")]
    pub graphs: PathBuf,

    /// Set a parameter of the graphs that have it; may be repeated
    #[arg(long = "set", value_name = "NAME=VALUE")]
    pub settings: Vec<Setting>,

    /// Where outputs go: DIR/GRAPH/outputs [default: the folder of the graphs]
    #[arg(long, value_name = "DIR")]
    pub output_directory: Option<PathBuf>,

    /// Write the scheduler's journal, for `isochrone replay`
    #[arg(long, value_name = "FILE")]
    pub journal: Option<PathBuf>,

    /// Print one document of JSON
    #[arg(long)]
    pub json: bool,

    /// Sizes of the inputs.
    #[command(flatten)]
    pub sizes: InputSizes,
}

/// `isochrone devices`
#[derive(Debug, Args)]
pub struct DevicesArguments {
    /// Show the OpenCL devices of this machine; needs no farm
    #[arg(long)]
    pub local: bool,

    /// Print JSON; spans are nanoseconds
    #[arg(long)]
    pub json: bool,

    /// How to reach the farm.
    #[command(flatten)]
    pub connect: ConnectArguments,
}

/// `isochrone status`
#[derive(Debug, Args)]
pub struct StatusArguments {
    /// Print JSON; spans are nanoseconds
    #[arg(long)]
    pub json: bool,

    /// Show it again every second, until Ctrl-C
    #[arg(long)]
    pub watch: bool,

    /// How to reach the farm.
    #[command(flatten)]
    pub connect: ConnectArguments,
}

/// `isochrone links`
#[derive(Debug, Args)]
pub struct LinksArguments {
    /// Print JSON; spans are nanoseconds, rates bytes per second
    #[arg(long)]
    pub json: bool,

    /// How to reach the farm.
    #[command(flatten)]
    pub connect: ConnectArguments,
}

/// `isochrone shutdown`
#[derive(Debug, Args)]
pub struct ShutdownArguments {
    /// How to reach the farm; the certificate is admin-NAME.pem.
    #[command(flatten)]
    pub connect: ConnectArguments,
}

/// `isochrone policies`
#[derive(Debug, Args)]
pub struct PoliciesArguments {
    /// Tell all of this one: what it does and its parameters
    #[arg(value_name = "NAME")]
    pub name: Option<String>,

    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// Seed and sizes of the shipped graphs' inputs.
#[derive(Clone, Debug, Default, Args)]
pub struct InputSizes {
    /// Decides every number of the inputs [default: 1]
    #[arg(long, value_name = "NUMBER")]
    pub seed: Option<u64>,

    /// Numbers in each vector of vector-add [default: 1000000]
    #[arg(long, value_name = "COUNT")]
    pub vector_length: Option<u32>,

    /// Rows and columns of the matrix of cholesky [default: 1024]
    #[arg(long, value_name = "COUNT")]
    pub matrix_order: Option<u32>,

    /// Pixels in a row of the image of image-pipeline [default: 3000]
    #[arg(long, value_name = "PIXELS")]
    pub image_width: Option<u32>,

    /// Rows of that image [default: 2000]
    #[arg(long, value_name = "PIXELS")]
    pub image_height: Option<u32>,
}

/// `isochrone inputs`
#[derive(Debug, Args)]
pub struct InputArguments {
    /// Graphs to write inputs for [default: all that are shipped]
    #[arg(value_name = "GRAPH")]
    pub names: Vec<String>,

    /// The folder of the shipped graphs
    #[arg(long, value_name = "DIR", default_value = "graphs")]
    pub directory: PathBuf,

    /// Seed and sizes.
    #[command(flatten)]
    pub sizes: InputSizes,
}

const SCHEDULER_EXAMPLES: &str = "\
Examples:
  isochrone scheduler --certificates /etc/isochrone
  isochrone scheduler --listen 10.0.0.1:7447 --policy heft --costs-file /var/lib/isochrone/costs

Ctrl-C or SIGTERM stops it; agents then look for the next scheduler. See `isochrone cert --help` for the
certificates.";

/// `isochrone scheduler`
#[derive(Debug, Args)]
#[command(after_help = SCHEDULER_EXAMPLES)]
pub struct SchedulerArguments {
    /// Where to listen; port 0 for any free one [default: 0.0.0.0:7447]
    #[arg(long, value_name = "IP:PORT", env = "ISOCHRONE_LISTEN", hide_env_values = true)]
    pub listen: Option<SocketAddr>,

    /// The folder with authority.pem and scheduler-NAME.pem with its key [default: .isochrone/certificates]
    #[arg(long, value_name = "DIR", env = "ISOCHRONE_CERTIFICATES", hide_env_values = true)]
    pub certificates: Option<PathBuf>,

    /// The name in the certificate [default: that of the only scheduler's certificate in the folder]
    #[arg(long, value_name = "NAME", env = "ISOCHRONE_NAME", hide_env_values = true)]
    pub name: Option<String>,

    /// The farm's policy: a label such as heft or random(seed=7) [default: latency-eft]
    #[arg(long, value_name = "LABEL", env = "ISOCHRONE_POLICY", hide_env_values = true)]
    pub policy: Option<String>,

    /// Write every event to this file, for `isochrone replay`
    #[arg(long, value_name = "FILE", env = "ISOCHRONE_JOURNAL", hide_env_values = true)]
    pub journal: Option<PathBuf>,

    /// Keep measured costs in this file, so that a restarted farm knows them
    #[arg(long, value_name = "FILE", env = "ISOCHRONE_COSTS_FILE", hide_env_values = true)]
    pub costs_file: Option<PathBuf>,

    /// Threads for messages: more serve more agents and clients at one time, fewer answer sooner [default: 2]
    #[arg(long, value_name = "COUNT", env = "ISOCHRONE_SCHEDULER_THREADS", hide_env_values = true)]
    pub network_threads: Option<NonZeroUsize>,

    /// Print one line of JSON when it listens
    #[arg(long)]
    pub json: bool,

    /// End when standard input does.
    #[arg(long, hide = true)]
    pub stop_with_input: bool,
}

const AGENT_EXAMPLES: &str = "\
Examples:
  isochrone agent --scheduler farm.example:7447 --certificates /etc/isochrone
  isochrone agent --device-kind gpu --slots 2
  isochrone agent --virtual devices.toml      modelled devices: they move bytes but compute nothing

Ctrl-C or SIGTERM stops it. See `isochrone cert --help` for the certificates.";

/// `isochrone agent`
#[derive(Debug, Args)]
#[command(after_help = AGENT_EXAMPLES)]
pub struct AgentArguments {
    /// The scheduler's address [default: 127.0.0.1:7447]
    #[arg(long, value_name = "HOST:PORT", env = "ISOCHRONE_SCHEDULER", hide_env_values = true)]
    pub scheduler: Option<String>,

    /// Where to listen for other agents and clients; port 0 for any free one [default: 0.0.0.0:7448]
    #[arg(long, value_name = "IP:PORT", env = "ISOCHRONE_LISTEN", hide_env_values = true)]
    pub listen: Option<SocketAddr>,

    /// What others are told to dial [default: the address listened on, or the one used toward the scheduler]
    #[arg(long, value_name = "IP:PORT", env = "ISOCHRONE_ADVERTISE", hide_env_values = true)]
    pub advertise: Option<SocketAddr>,

    /// The folder with authority.pem and agent-NAME.pem with its key [default: .isochrone/certificates]
    #[arg(long, value_name = "DIR", env = "ISOCHRONE_CERTIFICATES", hide_env_values = true)]
    pub certificates: Option<PathBuf>,

    /// The name in the certificate [default: that of the only agent's certificate in the folder]
    #[arg(long, value_name = "NAME", env = "ISOCHRONE_NAME", hide_env_values = true)]
    pub name: Option<String>,

    /// Host memory for replicas, as in 8GiB [default: 4GiB]
    #[arg(long, value_name = "SIZE", env = "ISOCHRONE_HOST_MEMORY", hide_env_values = true)]
    pub host_memory: Option<ByteSize>,

    /// Offer the modelled devices of this file instead of OpenCL's
    #[arg(long = "virtual", value_name = "FILE", env = "ISOCHRONE_VIRTUAL", hide_env_values = true)]
    pub virtual_devices: Option<PathBuf>,

    /// Everything about OpenCL devices from this file; flags come before it.
    #[arg(long, value_name = "FILE", hide = true, conflicts_with = "virtual_devices")]
    pub opencl: Option<PathBuf>,

    /// Only platforms whose name contains this
    #[arg(long, value_name = "TEXT", env = "ISOCHRONE_PLATFORM_FILTER", hide_env_values = true)]
    pub platform_filter: Option<String>,

    /// Only devices whose name contains this
    #[arg(long, value_name = "TEXT", env = "ISOCHRONE_DEVICE_FILTER", hide_env_values = true)]
    pub device_filter: Option<String>,

    /// Only devices of this kind; may be repeated [default: all kinds]
    #[arg(
        long = "device-kind",
        value_name = "KIND",
        env = "ISOCHRONE_DEVICE_KIND",
        value_delimiter = ',',
        hide_env_values = true
    )]
    pub device_kinds: Vec<KindName>,

    /// In-order lanes of each device; more let transfers and launches overlap [default: 1]
    #[arg(long, value_name = "COUNT", env = "ISOCHRONE_SLOTS", hide_env_values = true)]
    pub slots: Option<u16>,

    /// How the ends of commands are noticed [default: callback]
    #[arg(long, value_name = "MODE", env = "ISOCHRONE_COMPLETION", hide_env_values = true)]
    pub completion: Option<CompletionName>,

    /// Measure durations by the host's clock instead of the device's: a little less exact, a little faster
    #[arg(long)]
    pub no_device_times: bool,

    /// Threads for messages and contents: more move more at one time, fewer answer sooner [default: 2]
    #[arg(long, value_name = "COUNT", env = "ISOCHRONE_AGENT_THREADS", hide_env_values = true)]
    pub network_threads: Option<NonZeroUsize>,

    /// How long stopping waits for commands that still run, in seconds [default: 10]
    #[arg(long, value_name = "SECONDS")]
    pub close_seconds_max: Option<u32>,

    /// End when standard input does.
    #[arg(long, hide = true)]
    pub stop_with_input: bool,
}

const CERT_EXAMPLES: &str = "\
A farm's certificates are issued by its authority, whose key belongs on one machine only:
  isochrone cert authority my-farm --directory authority
  isochrone cert issue scheduler main  --authority authority --directory for-scheduler
  isochrone cert issue agent gpu-7     --authority authority --directory for-gpu-7
  isochrone cert issue client ann --tenant physics --authority authority --directory for-ann
  isochrone cert issue admin root --tenant ops     --authority authority --directory for-root
  isochrone cert show for-gpu-7

Copy each folder to the machine that it is for and name it there with --certificates. `isochrone up` makes
all certificates of a farm on one machine by itself.";

/// `isochrone cert`
#[derive(Debug, Args)]
#[command(after_help = CERT_EXAMPLES)]
pub struct CertArguments {
    /// What to do.
    #[command(subcommand)]
    pub command: CertCommand,
}

/// What to do with certificates.
#[derive(Debug, Subcommand)]
pub enum CertCommand {
    /// Make the authority of a new farm
    Authority {
        /// The farm's name: 1 to 64 of a-z, 0-9, '.', '_' and '-'
        farm: String,
        /// Where to write authority.pem and authority.key
        #[arg(long, value_name = "DIR", default_value = ".isochrone/certificates")]
        directory: PathBuf,
    },
    /// Issue a certificate with a new key
    Issue {
        /// scheduler, agent, client or admin
        role: Role,
        /// The name: 1 to 64 of a-z, 0-9, '.', '_' and '-'
        name: String,
        /// Who owns the sessions of this client or admin [default: the name]
        #[arg(long, value_name = "TENANT")]
        tenant: Option<String>,
        /// Days that it is valid
        #[arg(long, value_name = "COUNT", default_value_t = 825)]
        days: u32,
        /// The folder of the authority
        #[arg(long, value_name = "DIR", default_value = ".isochrone/certificates")]
        authority: PathBuf,
        /// Where to write the certificate, its key and authority.pem [default: the authority's folder]
        #[arg(long, value_name = "DIR")]
        directory: Option<PathBuf>,
        /// Replace a certificate of this role and name
        #[arg(long)]
        replace: bool,
    },
    /// Show the certificates in a folder
    Show {
        /// The folder [default: .isochrone/certificates]
        #[arg(value_name = "DIR", env = "ISOCHRONE_CERTIFICATES", hide_env_values = true)]
        directory: Option<PathBuf>,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
}

/// `isochrone calibrate`
#[derive(Debug, Args)]
pub struct CalibrateArguments {
    /// The file to write, for --network 'quic(calibration=FILE)'
    #[arg(value_name = "FILE.toml")]
    pub file: PathBuf,

    /// Measure over the relay of emulated links, as on farms that have them
    #[arg(long)]
    pub emulated: bool,
}

/// `isochrone replay`
#[derive(Debug, Args)]
pub struct ReplayArguments {
    /// The journal that a scheduler wrote with --journal
    #[arg(value_name = "FILE")]
    pub journal: PathBuf,

    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        CommandLine::command().debug_assert();
    }

    #[test]
    fn flags_of_members_are_known() {
        let line = "isochrone --no-config agent --certificates c --name a --stop-with-input --scheduler h:1 \
                    --listen 127.0.0.1:0 --host-memory 12 --opencl devices.toml --device-kind cpu,gpu";
        let parsed = CommandLine::try_parse_from(line.split_whitespace()).unwrap();
        assert!(parsed.no_config);
        let Command::Agent(arguments) = parsed.command else { panic!("not an agent") };
        assert_eq!(arguments.device_kinds, [KindName::Cpu, KindName::Gpu]);
    }
}
