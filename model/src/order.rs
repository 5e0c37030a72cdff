//! What the scheduler tells an agent, and what an agent tells the scheduler.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::command::NdRange;
use crate::error::CommandError;
use crate::ids::{
    AgentId, Attempt, BufferKey, CommandId, DeviceIndex, KernelIndex, ProgramKey, SessionId, SlotIndex,
    TaskId, Version,
};
use crate::kernel::KernelSignature;
use crate::links::{LinkEnd, PathSample};
use crate::shared_list::SharedList;
use crate::units::{ByteRange, Span};

/// Bytes of one version of a buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Region {
    /// The buffer.
    pub buffer: BufferKey,
    /// Which bytes.
    pub range: ByteRange,
    /// Which contents.
    pub version: Version,
}

/// Where in an agent a task runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Lane {
    /// On no device: contents from and to clients, barriers, markers.
    Host,
    /// In order after what was enqueued there before.
    Slot {
        /// The device.
        device: DeviceIndex,
        /// The lane of it.
        slot: SlotIndex,
    },
}

/// One attempt to run a task on one agent.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TaskOrder {
    /// The task.
    pub task: TaskId,
    /// Which attempt.
    pub attempt: Attempt,
    /// The session it belongs to; its client is told of the completion.
    pub session: SessionId,
    /// The command it belongs to.
    pub command: CommandId,
    /// Where it runs.
    pub lane: Lane,
    /// What it does.
    pub work: Work,
    /// Tasks that must have finished first: those on this agent are known to it, for those on other
    /// agents a notice will come, for those that have failed a release.
    pub waits: Vec<TaskWait>,
    /// What must be resident first; all of it arrives by itself or is made here.
    pub inputs: Vec<Region>,
    /// What it makes.
    pub outputs: Vec<Region>,
}

/// A predecessor that the data does not imply.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct TaskWait {
    /// The predecessor.
    pub task: TaskId,
    /// Whether a notice or a release will come; if not, it is known to the agent.
    pub is_remote: bool,
    /// Whether its failure fails the waiting task; if not, only their order matters.
    pub carries_failure: bool,
}

/// What a task does.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Work {
    /// Run a kernel.
    Kernel {
        /// The program.
        program: ProgramKey,
        /// The kernel of it.
        kernel: KernelIndex,
        /// The index space.
        range: NdRange,
        /// The arguments in order.
        arguments: BoundArguments,
    },
    /// Take the client's bytes as the one output; `None` when they come on a stream.
    Write {
        /// The bytes, when they came with the command.
        bytes: Option<Bytes>,
    },
    /// Send the one input to the client.
    Read {
        /// Where in the read command's bytes this piece begins.
        offset_bytes: u64,
    },
    /// Copy the inputs, in order and without gaps, to the one output.
    Copy {
        /// Where from.
        source: BufferKey,
        /// Which bytes.
        source_range: ByteRange,
    },
    /// Repeat the pattern over the one output.
    Fill {
        /// The pattern.
        pattern: Bytes,
    },
    /// Only wait for the predecessors.
    Nothing,
}

/// The arguments of a launch, in order.
pub type BoundArguments = SharedList<BoundArgument>;

/// One argument of a launch, with the farm's names.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum BoundArgument {
    /// A buffer, or a part of it as a sub-buffer.
    Buffer {
        /// The buffer.
        buffer: BufferKey,
        /// The part, or `None` for the whole.
        part: Option<ByteRange>,
    },
    /// A value.
    Scalar(Bytes),
    /// Work-group memory in bytes.
    Local(u64),
}

/// What the scheduler tells an agent.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Order {
    /// Build a program on every device; each device reports.
    Build {
        /// The program.
        program: ProgramKey,
        /// OpenCL C source.
        source: String,
        /// Compiler options.
        options: String,
    },
    /// No session uses the program any more.
    DropProgram {
        /// The program.
        program: ProgramKey,
    },
    /// A buffer that later orders name.
    DeclareBuffer {
        /// The buffer.
        buffer: BufferKey,
        /// Its size.
        size_bytes: u64,
    },
    /// The buffer is released: forget it once the tasks that use it have finished.
    DropBuffer {
        /// The buffer.
        buffer: BufferKey,
    },
    /// Run a task as soon as its waits and inputs allow.
    Run(Box<TaskOrder>),
    /// Run a task of which another agent has an attempt under way, in case this one ends first. Nobody but the scheduler is
    /// told of its end; what it makes counts only then; and where its outputs have come meanwhile, it is given back.
    RunBackup(Box<TaskOrder>),
    /// Send a region to another agent as soon as it is resident here.
    Push {
        /// The region.
        region: Region,
        /// Where to.
        to: AgentId,
    },
    /// Tell another agent when a task of this one has finished, for one task there that waits.
    Notify {
        /// The task here.
        task: TaskId,
        /// The task there.
        dependent: TaskId,
        /// The agent there.
        to: AgentId,
        /// Whether a failure here fails the task there; if not, it is told of the end in any case.
        carries_failure: bool,
    },
    /// A predecessor failed and no longer keeps its place in the order, or finished on an agent that has left:
    /// stand in for its end.
    Release {
        /// The predecessor.
        task: TaskId,
        /// The task here that waits for it.
        dependent: TaskId,
    },
    /// Give back a task that has not started, and say so with `Report::Retracted`; one that has is let finish and
    /// reported, but its client is not told.
    Cancel {
        /// The task.
        task: TaskId,
    },
    /// Give back a task that has not started, and say so with `Report::Retracted`; one that has started
    /// goes on and is reported as ever.
    Retract {
        /// The task.
        task: TaskId,
    },
    /// A session whose client may connect here with this secret.
    OpenSession {
        /// The session.
        session: SessionId,
        /// What its client presents.
        secret: SessionSecret,
    },
    /// The session is over: cancel its tasks, drop its buffers.
    CloseSession {
        /// The session.
        session: SessionId,
    },
    /// Another agent and how to reach it.
    PeerJoined {
        /// The agent.
        agent: AgentId,
        /// Its name, which its certificate must carry.
        name: String,
        /// Where it listens.
        address: String,
    },
    /// That agent left.
    PeerLeft {
        /// The agent.
        agent: AgentId,
    },
}

impl Order {
    /// The task that it has an agent run, if it is one of those.
    #[must_use]
    pub fn task(&self) -> Option<&TaskOrder> {
        match self {
            Self::Run(task) | Self::RunBackup(task) => Some(task),
            _ => None,
        }
    }
}

/// What a client presents to an agent to show that a session is its own.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct SessionSecret(pub [u8; 16]);

impl std::fmt::Debug for SessionSecret {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("SessionSecret(..)")
    }
}

/// What an agent tells the scheduler.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Report {
    /// A task ended.
    Finished {
        /// The task.
        task: TaskId,
        /// Which attempt.
        attempt: Attempt,
        /// How.
        outcome: TaskOutcome,
    },
    /// A task was given back unstarted.
    Retracted {
        /// The task.
        task: TaskId,
        /// Which attempt.
        attempt: Attempt,
    },
    /// A device built a program, or could not.
    Built {
        /// The program.
        program: ProgramKey,
        /// The device.
        device: DeviceIndex,
        /// The kernels, or the compiler's log.
        outcome: BuildOutcome,
    },
    /// A region came in from another agent.
    Arrived {
        /// The region.
        region: Region,
        /// Where from.
        from: AgentId,
    },
    /// A region could not be sent.
    PushFailed {
        /// The region.
        region: Region,
        /// Where to.
        to: AgentId,
        /// Why.
        reason: String,
    },
    /// The path to another agent, or to a client, was measured.
    PathMeasured {
        /// The other party.
        to: LinkEnd,
        /// What was measured.
        sample: PathSample,
    },
    /// Contents came in on a stream: what the path from their sender carried meanwhile.
    Carried {
        /// Where from.
        from: LinkEnd,
        /// Bytes of the contents.
        size_bytes: u64,
        /// Other bytes that came over the same path meanwhile.
        shared_bytes: u64,
        /// From the first byte here to the last.
        span: Span,
    },
    /// What the agent holds; sent when it changed by more than a hundredth.
    Memory {
        /// Bytes in host memory.
        host_bytes: u64,
        /// Bytes on each device.
        device_bytes: Vec<u64>,
    },
}

/// How a task ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum TaskOutcome {
    /// It finished.
    Done {
        /// Time on the device, or in the host's hands.
        execution: Span,
        /// From when it could have been enqueued to its end, device queue included.
        turnaround: Span,
    },
    /// It failed, and nothing of its outputs counts.
    Failed(CommandError),
}

/// How a build ended on one device.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum BuildOutcome {
    /// It built.
    Built {
        /// The kernels by name, each with the largest work-group that it can have on this device.
        kernels: SharedList<BuiltKernel>,
        /// The compiler's warnings.
        log: String,
    },
    /// It did not.
    Failed {
        /// The compiler's log, whole.
        log: String,
    },
}

/// A kernel as one device built it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BuiltKernel {
    /// The same on every device.
    pub signature: KernelSignature,
    /// Largest work-group on this device.
    pub work_group_size_max: u64,
}
