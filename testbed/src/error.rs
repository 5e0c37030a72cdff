//! Why a farm on one machine does not run (any more).
//!
//! Must never hold what a command of a graph failed with: see `graph_run`.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use isochrone_client::{AskError, ConnectError};
use isochrone_emulator::EmulatorError;
use isochrone_node_agent::AgentError;
use isochrone_scheduler::StartError;

use crate::certificates::CertificatesError;

/// A member of the farm.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Member {
    /// The scheduler.
    Scheduler,
    /// An agent, by name.
    Agent(String),
}

impl fmt::Display for Member {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Scheduler => write!(formatter, "the scheduler"),
            Self::Agent(name) => write!(formatter, "agent `{name}`"),
        }
    }
}

/// Why a farm on one machine does not run (any more).
#[derive(Debug, thiserror::Error)]
pub enum FarmError {
    /// The certificates cannot be had.
    #[error("no certificates for the farm")]
    Certificates(#[from] CertificatesError),
    /// The farm's folder cannot be made or written.
    #[error("cannot use the farm's folder {}", path.display())]
    Directory {
        /// The folder or file.
        path: PathBuf,
        /// The system's word.
        source: std::io::Error,
    },
    /// A process cannot be started.
    #[error("cannot start {member} as {}", binary.display())]
    Spawn {
        /// Which.
        member: Member,
        /// The binary.
        binary: PathBuf,
        /// The system's word.
        source: std::io::Error,
    },
    /// A member ended without being told to.
    #[error("{member} ended ({status}){}", log_lines(.log))]
    Ended {
        /// Which.
        member: Member,
        /// How, in words.
        status: String,
        /// The last lines of its log; empty in this process, where logs go elsewhere.
        log: String,
    },
    /// A member was not ready in time.
    #[error("{member} was not ready within {} s{}", waited.as_secs(), log_lines(.log))]
    NotReady {
        /// Which.
        member: Member,
        /// How long was waited.
        waited: Duration,
        /// The last lines of its log.
        log: String,
    },
    /// The emulated links cannot be had.
    #[error("no emulated links between the members of the farm")]
    Links(#[from] EmulatorError),
    /// The emulated links are those of another farm.
    #[error("the emulated links are for {parties} parties; the farm's scheduler, clients and {agents} agents are {}", agents + 2)]
    LinkParties {
        /// Of the links.
        parties: usize,
        /// Of the farm.
        agents: usize,
    },
    /// Emulated links tell members apart by addresses that only IPv4 has.
    #[error("a farm with emulated links listens on an IPv4 address, not on {address}")]
    LinkAddress {
        /// The address to be listened on.
        address: SocketAddr,
    },
    /// The scheduler cannot start in this process.
    #[error("the scheduler does not start")]
    Scheduler(#[from] StartError),
    /// An agent cannot start in this process.
    #[error("agent `{name}` does not start")]
    Agent {
        /// Its name.
        name: String,
        /// Why.
        source: AgentError,
    },
    /// The farm does not answer.
    #[error("cannot connect to the farm")]
    Connect(#[from] ConnectError),
    /// The farm does not tell its state.
    #[error("the farm does not tell its state")]
    Ask(#[from] AskError),
    /// There is no such agent.
    #[error("the farm has no agent number {number}; it has {agents}, counted from 0")]
    NoAgent {
        /// The number asked for.
        number: usize,
        /// How many there are.
        agents: usize,
    },
}

fn log_lines(log: &str) -> String {
    if log.is_empty() { String::new() } else { format!("; the end of its log:\n{}", log.trim_end()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ended_member_is_named_with_its_log() {
        let error = FarmError::Ended {
            member: Member::Agent("agent-2".to_owned()),
            status: "exit status: 1".to_owned(),
            log: "error: no OpenCL\n".to_owned(),
        };
        let shown = error.to_string();
        assert_eq!(shown, "agent `agent-2` ended (exit status: 1); the end of its log:\nerror: no OpenCL");
    }
}
