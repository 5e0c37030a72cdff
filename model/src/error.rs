//! Why a command did not finish: what reaches the caller's handle.

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::ids::{BufferId, CommandId, ProgramId};
use crate::units::ByteRange;

/// One device's word on a program that it could not build.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BuildLog {
    /// The device, as `agent/device name`.
    pub device: String,
    /// The compiler's log, whole.
    pub log: String,
}

/// Why a command did not finish.
#[derive(Clone, Debug, PartialEq, Eq, Error, Serialize, Deserialize)]
pub enum CommandError {
    /// No device of the farm could build the program.
    #[error("program does not build on any device: {}", first_log(.logs))]
    BuildFailed {
        /// Each device's log, whole.
        logs: Vec<BuildLog>,
    },
    /// The program has no such kernel.
    #[error("program has no kernel `{kernel}`; it has {}", .known.join(", "))]
    UnknownKernel {
        /// The name asked for.
        kernel: String,
        /// The names there are.
        known: Vec<String>,
    },
    /// The session has no such program, or released it.
    #[error("{program} is not known to this session; create it first")]
    UnknownProgram {
        /// The program.
        program: ProgramId,
    },
    /// The session has no such buffer, or released it.
    #[error("{buffer} is not known to this session; create it first")]
    UnknownBuffer {
        /// The buffer.
        buffer: BufferId,
    },
    /// An id was used before.
    #[error("{what} was used before; ids are chosen once and grow")]
    IdReused {
        /// The id, with its kind.
        what: String,
    },
    /// The launch gives more or fewer arguments than the kernel takes.
    #[error("kernel `{kernel}` takes {expected} arguments, {given} were given")]
    ArgumentCount {
        /// The kernel.
        kernel: String,
        /// How many it takes.
        expected: u32,
        /// How many came.
        given: u32,
    },
    /// A value has another size than the kernel's argument.
    #[error(
        "kernel `{kernel}`, argument {index} `{name}` of type {type_name} takes {expected_bytes} bytes, {given_bytes} were given"
    )]
    ArgumentSize {
        /// The kernel.
        kernel: String,
        /// The argument's place, from 0.
        index: u32,
        /// Its name in the source.
        name: String,
        /// Its type.
        type_name: String,
        /// Its size.
        expected_bytes: u64,
        /// The size that came.
        given_bytes: u64,
    },
    /// A buffer where a value is due, or the like.
    #[error("kernel `{kernel}`, argument {index} `{name}` takes {expected}, {given} was given")]
    ArgumentKind {
        /// The kernel.
        kernel: String,
        /// The argument's place, from 0.
        index: u32,
        /// Its name in the source.
        name: String,
        /// What it takes.
        expected: String,
        /// What came.
        given: String,
    },
    /// The caller says that a `const` argument is written.
    #[error("kernel `{kernel}`, argument {index} `{name}` is const in the kernel but stated as written")]
    AccessContradiction {
        /// The kernel.
        kernel: String,
        /// The argument's place, from 0.
        index: u32,
        /// Its name in the source.
        name: String,
    },
    /// Bytes outside the buffer.
    #[error("{range} lie outside {buffer} of {size_bytes} bytes")]
    OutOfRange {
        /// The buffer.
        buffer: BufferId,
        /// The bytes asked for.
        range: ByteRange,
        /// The buffer's size.
        size_bytes: u64,
    },
    /// The two ranges of a copy within one buffer overlap.
    #[error("copy within {buffer}: source and target overlap")]
    CopyOverlap {
        /// The buffer.
        buffer: BufferId,
    },
    /// No device can hold the buffer.
    #[error(
        "{buffer} of {size_bytes} bytes is larger than any device takes; the largest takes {largest_bytes}"
    )]
    BufferTooLarge {
        /// The buffer.
        buffer: BufferId,
        /// Its size.
        size_bytes: u64,
        /// The largest buffer of any device.
        largest_bytes: u64,
    },
    /// The index space, fill pattern or another part of the command is malformed.
    #[error("malformed command: {what}")]
    Malformed {
        /// What is wrong and what is right.
        what: String,
    },
    /// A device refused the index space.
    #[error("{device} refuses the index space: {reason}")]
    NdRangeRefused {
        /// The device, as `agent/device name`.
        device: String,
        /// The driver's reason.
        reason: String,
    },
    /// No device of the farm fits the command.
    #[error("no device fits: {reason}")]
    NoDevice {
        /// Why each is ruled out.
        reason: String,
    },
    /// The device's driver failed the command.
    #[error("{device} failed the command in {call}: {reason}")]
    Device {
        /// The device, as `agent/device name`.
        device: String,
        /// The OpenCL call.
        call: String,
        /// The driver's word.
        reason: String,
    },
    /// The agent's memory cannot hold what the command needs.
    #[error("{place} cannot hold {needed_bytes} more bytes of {limit_bytes}")]
    OutOfMemory {
        /// The device or host, as `agent/device name`.
        place: String,
        /// What it needs.
        needed_bytes: u64,
        /// What there is.
        limit_bytes: u64,
    },
    /// A command that this one depends on failed.
    #[error("{failed} failed before it: {cause}")]
    Dependency {
        /// The command where it began.
        failed: CommandId,
        /// Its own error.
        cause: Box<CommandError>,
    },
    /// `after` makes a circle.
    #[error("`after` makes a cycle: {}", cycle(.members))]
    Cycle {
        /// The members, in order around the circle.
        members: Vec<CommandId>,
    },
    /// `after` names a command that was never submitted.
    #[error("`after` names {command}, which was never submitted")]
    UnknownCommand {
        /// The command.
        command: CommandId,
    },
    /// The only copy of the bytes was on an agent that left.
    #[error("contents of {buffer} were lost with agent {agent}")]
    ContentLost {
        /// The buffer.
        buffer: BufferId,
        /// The agent's name.
        agent: String,
    },
    /// The command had to run again after the loss of an agent, and what it reads was overwritten since.
    #[error("{range} of {buffer} as they were cannot be had any more: newer contents have taken their place")]
    ContentSuperseded {
        /// The buffer.
        buffer: BufferId,
        /// Which bytes.
        range: ByteRange,
    },
    /// Every attempt ended with the loss of its agent.
    #[error("given up after {attempts} attempts; the last agent, {agent}, left")]
    AgentLost {
        /// How many attempts.
        attempts: u32,
        /// The last agent's name.
        agent: String,
    },
    /// The client's bytes did not come.
    #[error("contents did not arrive: {reason}")]
    PayloadLost {
        /// Why.
        reason: String,
    },
    /// The caller or an administrator cancelled it.
    #[error("cancelled")]
    Cancelled,
    /// The session ended first.
    #[error("session closed: {reason}")]
    SessionClosed {
        /// Why.
        reason: String,
    },
    /// A bound of the farm.
    #[error("{what} exceeds the farm's limit of {limit}")]
    LimitExceeded {
        /// What.
        what: String,
        /// The limit.
        limit: u64,
    },
    /// The policy's label does not parse or names none.
    #[error("policy: {reason}")]
    Policy {
        /// Why, with the labels there are.
        reason: String,
    },
}

impl CommandError {
    /// The error of a command that waited for one that failed; names the first failure, however long
    /// the way from there.
    #[must_use]
    pub fn of_dependent(failed: CommandId, cause: &Self) -> Self {
        match cause {
            Self::Dependency { .. } => cause.clone(),
            _ => Self::Dependency { failed, cause: Box::new(cause.clone()) },
        }
    }
}

fn first_log(logs: &[BuildLog]) -> String {
    match logs.split_first() {
        None => "the farm has no device".to_owned(),
        Some((first, [])) => format!("{}:\n{}", first.device, first.log),
        Some((first, rest)) => {
            format!("{} (and {} more devices):\n{}", first.device, rest.len(), first.log)
        }
    }
}

fn cycle(members: &[CommandId]) -> String {
    let mut shown: Vec<String> = members.iter().map(ToString::to_string).collect();
    shown.extend(members.first().map(ToString::to_string));
    shown.join(" -> ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dependents_error_names_the_first_failure_only() {
        let root = CommandError::Cancelled;
        let second = CommandError::of_dependent(CommandId(1), &root);
        let third = CommandError::of_dependent(CommandId(2), &second);
        assert_eq!(second, third);
        assert_eq!(third.to_string(), "command 1 failed before it: cancelled");
    }

    #[test]
    fn a_cycle_is_printed_closed() {
        let error = CommandError::Cycle { members: vec![CommandId(3), CommandId(5)] };
        assert_eq!(error.to_string(), "`after` makes a cycle: command 3 -> command 5 -> command 3");
    }
}
