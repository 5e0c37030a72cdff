//! What travels between processes, besides orders and reports.
//!
//! Compact encoding writes fields by position: the order of fields and variants here is the protocol,
//! and a change is a change of its version (golden bytes in `protocol` watch over it).

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::command::Command;
use crate::error::{BuildLog, CommandError};
use crate::facts::{AgentFacts, DeviceFacts};
use crate::ids::{AgentId, BufferId, CommandId, DeviceId, ProgramId, SessionId, TaskId};
use crate::kernel::KernelSignature;
use crate::links::{LinkStatus, TransferParts};
use crate::order::{Order, Region, Report, SessionSecret};
use crate::units::{BytesPerSecond, Span};

/// Client or administrator to scheduler, each a batch in one frame.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum ClientRequest {
    /// Open a session; the first request on a connection unless it only asks questions.
    Open {
        /// A policy's label for this session alone; empty for the farm's.
        policy: String,
    },
    /// Make a buffer of zeros.
    CreateBuffer {
        /// Its id.
        buffer: BufferId,
        /// Its size, above zero.
        size_bytes: u64,
    },
    /// Free it once the commands enqueued before have finished.
    ReleaseBuffer {
        /// The buffer.
        buffer: BufferId,
    },
    /// Build a program wherever it builds.
    CreateProgram {
        /// Its id.
        program: ProgramId,
        /// OpenCL C source.
        source: String,
        /// Compiler options.
        options: String,
    },
    /// Forget it once the launches enqueued before have finished.
    ReleaseProgram {
        /// The program.
        program: ProgramId,
    },
    /// Commands that came together: a whole graph, or what was ready to go.
    Submit {
        /// In program order.
        commands: Vec<Command>,
    },
    /// Give up commands that have not started; their dependents fail with them.
    Cancel {
        /// The commands.
        commands: Vec<CommandId>,
    },
    /// Close the session: what has not started is cancelled.
    Close,
    /// Ask a question; the reply carries the same number.
    Ask {
        /// Chosen by the asker.
        question_id: u64,
        /// The question.
        question: Question,
    },
}

/// Questions about the farm.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Question {
    /// Every device.
    Devices,
    /// Counters and queues.
    Status,
    /// Why a command runs where it runs, or why it does not run yet.
    Explain {
        /// A command of the asker's own session.
        command: CommandId,
    },
    /// Stop the scheduler once sessions have ended; administrators only.
    Shutdown,
    /// What is known of every path.
    Links,
}

/// Scheduler to client.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum ClientReply {
    /// The session is open.
    Opened {
        /// Its id.
        session: SessionId,
        /// What to present to agents.
        secret: SessionSecret,
        /// The agents there are.
        agents: Vec<AgentAddress>,
        /// Contents up to this size go inside a command.
        inline_bytes_max: u64,
    },
    /// An agent joined.
    AgentJoined {
        /// How to reach it.
        agent: AgentAddress,
    },
    /// An agent left.
    AgentLeft {
        /// The agent.
        agent: AgentId,
    },
    /// A program built somewhere, or nowhere.
    Program {
        /// The program.
        program: ProgramId,
        /// Its kernels, or the logs.
        outcome: Result<ProgramFacts, CommandError>,
    },
    /// Send a write's bytes to this agent.
    SendPayload {
        /// The command.
        command: CommandId,
        /// Its task.
        task: TaskId,
        /// The agent.
        agent: AgentId,
    },
    /// The command failed.
    Failed {
        /// The command.
        command: CommandId,
        /// Why.
        error: CommandError,
    },
    /// A request other than a command failed.
    RequestFailed {
        /// What was asked, for people.
        request: RequestName,
        /// Why.
        error: CommandError,
    },
    /// What an agent would have said directly, had it reached the client.
    Relayed(AgentToClient),
    /// The answer to a question.
    Answer {
        /// The asker's number.
        question_id: u64,
        /// The answer.
        answer: Answer,
    },
    /// The session is over.
    Closed {
        /// Why.
        reason: String,
    },
}

/// A request that is no command.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum RequestName {
    /// Opening a session.
    Open,
    /// Making this buffer.
    CreateBuffer(BufferId),
    /// Releasing this buffer.
    ReleaseBuffer(BufferId),
    /// Making this program.
    CreateProgram(ProgramId),
    /// Releasing this program.
    ReleaseProgram(ProgramId),
}

/// What is known of a built program.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProgramFacts {
    /// Its kernels by name.
    pub kernels: Vec<KernelSignature>,
    /// How many devices built it so far.
    pub devices: u32,
    /// Devices that could not.
    pub failures: Vec<BuildLog>,
}

/// Where an agent listens.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AgentAddress {
    /// The agent.
    pub agent: AgentId,
    /// Its name, which its certificate must carry.
    pub name: String,
    /// `ip:port`.
    pub address: String,
}

/// Answers to `Question`s.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Answer {
    /// Every device.
    Devices(Vec<DeviceStatus>),
    /// Counters and queues.
    Status(Box<FarmStatus>),
    /// Why a command runs where it runs.
    Explanation(Explanation),
    /// It will be done.
    Accepted,
    /// It will not.
    Refused {
        /// Why.
        reason: String,
    },
    /// What is known of every path: of clients, those of the asker's tenant.
    Links(Vec<LinkStatus>),
}

/// A device and what it does now.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DeviceStatus {
    /// The device.
    pub device: DeviceId,
    /// Its agent's name.
    pub agent: String,
    /// Its facts.
    pub facts: DeviceFacts,
    /// Whether its agent is there.
    pub is_present: bool,
    /// Tasks dispatched to it and not finished.
    pub queued_tasks: u32,
    /// Tasks it has finished.
    pub finished_tasks: u64,
    /// Time it has spent on them.
    pub busy: Span,
    /// Bytes of replicas on it.
    pub memory_used_bytes: u64,
}

/// The farm at a glance.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct FarmStatus {
    /// The scheduler's version.
    pub version: String,
    /// The farm's policy.
    pub policy: String,
    /// Time since the scheduler started.
    pub uptime: Span,
    /// Agents that are there.
    pub agents: Vec<AgentStatus>,
    /// Open sessions.
    pub sessions: Vec<SessionStatus>,
    /// Tasks that wait for a placement.
    pub tasks_unplaced: u64,
    /// Tasks dispatched and not finished.
    pub tasks_dispatched: u64,
    /// Tasks finished since the start.
    pub tasks_finished: u64,
    /// Tasks failed since the start, dependents included.
    pub tasks_failed: u64,
    /// Bytes moved between agents since the start.
    pub moved_bytes: u64,
    /// Proposals of policies that were refused, by reason.
    pub rejections: Vec<(String, u64)>,
}

/// One agent at a glance.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AgentStatus {
    /// Its name.
    pub name: String,
    /// Where it listens.
    pub address: String,
    /// How many devices.
    pub devices: u32,
    /// Round trip between it and the scheduler.
    pub round_trip: Span,
    /// Tasks dispatched to it and not finished.
    pub queued_tasks: u32,
    /// Bytes of replicas in its host memory.
    pub host_memory_used_bytes: u64,
}

/// One session at a glance.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SessionStatus {
    /// The session.
    pub session: SessionId,
    /// Whose it is.
    pub tenant: String,
    /// Its policy.
    pub policy: String,
    /// Commands not finished.
    pub commands_open: u64,
    /// Commands finished.
    pub commands_finished: u64,
    /// Live buffers.
    pub buffers: u32,
}

/// Why a task is where it is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Explanation {
    /// The command.
    pub command: CommandId,
    /// What it is doing or waiting for, in words.
    pub state: String,
    /// The decision, once there is one.
    pub decision: Option<Decision>,
}

/// The record of one placement.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Decision {
    /// The task.
    pub task: TaskId,
    /// The policy.
    pub policy: String,
    /// Where it went, as `agent/device name/slot`.
    pub chosen: String,
    /// The reason, in words; ends in [`WEIGHED_BY_SCHEDULER`] where the policy named no candidates.
    pub reason: String,
    /// What was weighed, the chosen one included.
    pub candidates: Vec<Candidate>,
    /// What was ordered to be moved for it, with what was known of the paths.
    pub transfers: Vec<PlannedTransfer>,
}

/// How the reason of a decision ends whose candidates are the scheduler's: it weighed all slots that could have run the task as they were when
/// the policy's choice was taken, and knows nothing of what the policy looked at.
pub const WEIGHED_BY_SCHEDULER: &str = "; the estimates are the scheduler's, not the policy's own";

impl Decision {
    /// Whether the candidates are what the scheduler weighed, since the policy named none.
    #[must_use]
    pub fn is_weighed_by_scheduler(&self) -> bool {
        self.reason.ends_with(WEIGHED_BY_SCHEDULER)
    }
}

/// A transfer that was ordered with a placement.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PlannedTransfer {
    /// Where from, an agent's name.
    pub from: String,
    /// Where to.
    pub to: String,
    /// Bytes.
    pub size_bytes: u64,
    /// What it was expected to take from when its contents are there.
    pub parts: TransferParts,
    /// The round trip that was counted with.
    pub round_trip: Span,
    /// The rate that was counted with.
    pub rate: BytesPerSecond,
    /// Round trips that had been measured on the path since it last changed; 0 when it was a guess.
    pub samples: u64,
    /// Since the last of them.
    pub age: Option<Span>,
}

/// One device that was weighed for a task. All estimates are spans from the time of the decision.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Candidate {
    /// The device.
    pub device: DeviceId,
    /// As `agent/device name`.
    pub name: String,
    /// Until the slot is free.
    pub queueing: Span,
    /// Until the inputs are there.
    pub transfer: Span,
    /// On the device.
    pub execution: Span,
    /// Until it is finished.
    pub finish: Span,
}

/// Agent to scheduler when it connects.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AgentHello {
    /// Who it is and what it has.
    pub facts: AgentFacts,
}

/// Scheduler to agent, each a batch in one frame.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct OrderBatch {
    /// How many reports of this agent the scheduler had taken in before it gave these orders; the
    /// agent may forget how those tasks ended.
    pub reports_taken: u64,
    /// In order.
    pub orders: Vec<Order>,
}

/// Scheduler to agent.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum SchedulerToAgent {
    /// The reply to the hello.
    Welcome {
        /// The agent's id from now on.
        agent: AgentId,
        /// Contents up to this size go inside a message.
        inline_bytes_max: u64,
    },
    /// Orders.
    Orders(OrderBatch),
    /// What another agent would have said directly.
    RelayedPeer(PeerMessage),
    /// The agent is to finish what it has started and stop.
    Shutdown,
}

/// Agent to scheduler.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum AgentToScheduler {
    /// Who it is; the first message.
    Hello(AgentHello),
    /// Reports, in order.
    Reports(Vec<Report>),
    /// For a client that cannot be reached from here.
    RelayToClient {
        /// Its session.
        session: SessionId,
        /// The message.
        message: AgentToClient,
    },
    /// For an agent that cannot be reached from here.
    RelayToPeer {
        /// The agent.
        to: AgentId,
        /// The message.
        message: PeerMessage,
    },
}

/// Client to agent.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum ClientToAgent {
    /// Whose session this is; the first message.
    Hello {
        /// The session.
        session: SessionId,
        /// The scheduler's word for it.
        secret: SessionSecret,
    },
}

/// Agent to client.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum AgentToClient {
    /// The session is known here; completions will come this way.
    Welcome,
    /// A command (or, for a read, one piece of it) finished.
    Done {
        /// The command.
        command: CommandId,
        /// Time on the device.
        execution: Span,
    },
    /// Bytes of a read, small enough to come this way; a piece is done when its bytes are there.
    Data {
        /// The command.
        command: CommandId,
        /// Where in the read they belong.
        offset_bytes: u64,
        /// The bytes.
        bytes: Bytes,
    },
}

/// Agent to agent, on a connection that the sender dialled.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum PeerMessage {
    /// Who speaks; the first message.
    Hello {
        /// The sender.
        agent: AgentId,
    },
    /// A task of the sender finished, and one of the receiver waits for it.
    Notice {
        /// The finished task.
        task: TaskId,
        /// The waiting task.
        dependent: TaskId,
    },
    /// A region small enough to come this way.
    Replica {
        /// Who sent it.
        from: AgentId,
        /// Which bytes.
        region: Region,
        /// The bytes.
        bytes: Bytes,
    },
}

/// The head of a bulk stream; the bytes follow.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum BulkHeader {
    /// A write's bytes, client to agent.
    Payload {
        /// The session.
        session: SessionId,
        /// The write's task.
        task: TaskId,
        /// How many bytes follow.
        size_bytes: u64,
    },
    /// A replica, agent to agent.
    Replica {
        /// Who sent it.
        from: AgentId,
        /// Which bytes.
        region: Region,
    },
    /// Bytes of a read, agent to client.
    Data {
        /// The session.
        session: SessionId,
        /// The command.
        command: CommandId,
        /// Where in the read they belong.
        offset_bytes: u64,
        /// How many bytes follow.
        size_bytes: u64,
    },
    /// Any of the above through the scheduler, for peers that cannot connect.
    Relay {
        /// The receiver.
        to: RelayTarget,
        /// What the receiver gets.
        header: Box<BulkHeader>,
    },
}

/// Whom a relayed stream is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum RelayTarget {
    /// An agent.
    Agent(AgentId),
    /// A session's client.
    Session(SessionId),
}

impl BulkHeader {
    /// How many bytes follow the header.
    #[must_use]
    pub fn size_bytes(&self) -> u64 {
        match self {
            Self::Payload { size_bytes, .. } | Self::Data { size_bytes, .. } => *size_bytes,
            Self::Replica { region, .. } => region.range.len(),
            Self::Relay { header, .. } => header.size_bytes(),
        }
    }
}
