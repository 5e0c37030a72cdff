//! The `isochrone` command: reads arguments, calls the library crates, prints.
//!
//! Must never hold what a library could: every command here is one call away from a crate that tests
//! can call too.

mod arguments;
mod ask;
mod calibrate;
mod certificates;
mod clock;
mod config;
mod daemons;
mod decisions;
mod demo;
mod inputs;
mod link;
mod links;
mod local_farm;
mod output;
mod policies;
mod replay;
mod report;
mod run;
mod run_tasks;
mod signals;
mod sim;
mod up;
mod values;

use std::num::NonZeroUsize;
use std::process::ExitCode;

use clap::Parser;
use tracing_subscriber::EnvFilter;

use crate::arguments::{Command, CommandLine};
use crate::config::Config;

fn main() -> ExitCode {
    let line = CommandLine::parse();
    start_log(&line);
    match perform(line) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            output::error(&error);
            ExitCode::FAILURE
        }
    }
}

fn perform(line: CommandLine) -> anyhow::Result<()> {
    let config = Config::load(line.config.as_deref(), line.no_config)?;
    match line.command {
        Command::Up(arguments) => live(up::up(arguments, config)),
        Command::Scheduler(arguments) => {
            let threads = arguments.network_threads.or(config.scheduler.network_threads);
            serve(threads, daemons::scheduler(arguments, config))
        }
        Command::Agent(arguments) => {
            let threads = arguments.network_threads.or(config.agent.network_threads);
            serve(threads, daemons::agent(arguments, config))
        }
        Command::Devices(arguments) => live(ask::devices(arguments, config)),
        Command::Status(arguments) => live(ask::status(arguments, config)),
        Command::Links(arguments) => live(links::links(arguments, config)),
        Command::Shutdown(arguments) => live(ask::shutdown(arguments, config)),
        Command::Run(arguments) => live(run::run(arguments, config)),
        Command::Demo(arguments) => live(demo::demo(arguments)),
        Command::Policies(arguments) => policies::policies(&arguments),
        Command::Inputs(arguments) => inputs::inputs(&arguments),
        Command::Replay(arguments) => replay::replay(&arguments),
        Command::Calibrate(arguments) => live(calibrate::calibrate(arguments)),
        Command::Sim(arguments) => sim::sim(&arguments),
        Command::Link(arguments) => live(link::link(*arguments)),
        Command::Cert(arguments) => certificates::cert(arguments, config),
    }
}

fn live(command: impl Future<Output = anyhow::Result<()>>) -> anyhow::Result<()> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(command)
}

/// Threads of a daemon's runtime unless told otherwise. Each message wakes whoever handles it, and every other idle thread that there is to
/// look for more work, which takes longer than the work; two, so that messages go on while one thread plans for long.
const NETWORK_THREADS: NonZeroUsize = NonZeroUsize::new(2).unwrap();

/// As [`live`], on a thread of the runtime: a daemon's loop then wakes and is woken by the tasks that read and write
/// without a hop between threads, which would cost each message 10 us and more on every process of its way.
fn serve(
    threads: Option<NonZeroUsize>,
    command: impl Future<Output = anyhow::Result<()>> + Send + 'static,
) -> anyhow::Result<()> {
    let threads = threads.unwrap_or(NETWORK_THREADS).get();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(threads).enable_all().build()?;
    runtime.block_on(async { tokio::spawn(command).await? })
}

/// Logs to standard error: warnings for commands, a little more for daemons, more with `-v`;
/// `ISOCHRONE_LOG` decides when it is set.
fn start_log(line: &CommandLine) {
    let is_daemon = matches!(line.command, Command::Scheduler(_) | Command::Agent(_));
    let level = match (line.verbose, is_daemon) {
        (0, false) => "warn",
        (0, true) => "info",
        (1, false) => "info,isochrone=info",
        (1, true) | (2, _) => "info,isochrone=debug",
        _ => "debug,isochrone=trace",
    };
    let filter = std::env::var("ISOCHRONE_LOG")
        .ok()
        .filter(|text| !text.is_empty())
        .and_then(|text| EnvFilter::try_new(text).ok())
        .unwrap_or_else(|| EnvFilter::new(expanded(level)));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr()))
        .init();
}

/// Filters name crates one by one.
fn expanded(level: &str) -> String {
    let Some((rest, ours)) = level.split_once(",isochrone=") else { return level.to_owned() };
    let crates = [
        "isochrone",
        "isochrone_client",
        "isochrone_emulator",
        "isochrone_node_agent",
        "isochrone_scheduler",
        "isochrone_testbed",
        "isochrone_transport",
    ];
    crates.iter().fold(rest.to_owned(), |filter, name| format!("{filter},{name}={ours}"))
}
