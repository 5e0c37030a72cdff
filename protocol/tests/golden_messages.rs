//! The bytes of real messages, pinned: compact encoding writes fields by position, so that a moved field
//! would change the protocol silently. When this fails, either undo the change or raise
//! `PROTOCOL_VERSION` and pin the new bytes.

//!
//! Every variant of everything that travels is here: the compiler asks for new ones.

use bytes::{Bytes, BytesMut};
use isochrone_model::error::BuildLog;
use isochrone_model::message::{
    AgentAddress, AgentHello, AgentStatus, AgentToClient, AgentToScheduler, Answer, BulkHeader, Candidate,
    ClientReply, ClientRequest, ClientToAgent, Decision, DeviceStatus, Explanation, FarmStatus, OrderBatch,
    PeerMessage, PlannedTransfer, ProgramFacts, Question, RelayTarget, RequestName, SchedulerToAgent,
    SessionStatus,
};
use isochrone_model::order::{BuildOutcome, BuiltKernel, SessionSecret};
use isochrone_model::units::BytesPerSecond;
use isochrone_model::{
    Access, AddressSpace, AgentFacts, AgentId, Argument, ArgumentInfo, Attempt, BoundArgument,
    BufferArgument, BufferId, BufferKey, ByteRange, Command, CommandError, CommandId, CommandKind,
    DeviceFacts, DeviceId, DeviceIndex, DeviceKind, KernelIndex, KernelSignature, Lane, Launch, LinkEnd,
    LinkStatus, NdRange, Order, PathSample, Payload, ProgramId, ProgramKey, Region, Report, RoundTripStatus,
    SessionId, SlotIndex, Span, TaskId, TaskOrder, TaskOutcome, TaskWait, TransferParts, Version, Work,
};
use isochrone_protocol::{FrameDecoder, Limits, encode_frame};
use serde::Serialize;
use serde::de::DeserializeOwned;

fn hex<T: Serialize + DeserializeOwned + PartialEq + std::fmt::Debug>(message: &T) -> String {
    let limits = Limits::default();
    let mut bytes = BytesMut::new();
    encode_frame(message, &mut bytes, &limits).unwrap();
    let mut decoder = FrameDecoder::new(limits);
    decoder.extend(&bytes);
    assert_eq!(decoder.next::<T>().unwrap().as_ref(), Some(message), "comes back as it was");
    bytes.iter().skip(4).map(|byte| format!("{byte:02x}")).collect()
}

fn region() -> Region {
    Region {
        buffer: BufferKey { session: SessionId(1), buffer: BufferId(2) },
        range: ByteRange::new(3, 260),
        version: Version(5),
    }
}

fn launch() -> Command {
    let buffer = BufferArgument {
        buffer: BufferId(2),
        part: None,
        access: Some(Access::ReadWrite),
        touches: Some(ByteRange::new(0, 16)),
    };
    Command {
        id: CommandId(9),
        after: vec![CommandId(4)],
        label: "k".to_owned(),
        kind: CommandKind::Launch(Launch {
            program: ProgramId(1),
            kernel: "f".to_owned(),
            range: NdRange::new(&[64]).unwrap().with_local(&[8]).unwrap(),
            arguments: vec![
                Argument::Buffer(buffer),
                Argument::Scalar(Bytes::from_static(&[1, 2])),
                Argument::Local(32),
            ],
        }),
    }
}

fn write() -> Command {
    let payload = Payload::Inline(Bytes::from_static(b"abc"));
    let kind = CommandKind::Write { buffer: BufferId(2), offset_bytes: 0, payload };
    Command { id: CommandId(1), after: Vec::new(), label: String::new(), kind }
}

fn task_order() -> TaskOrder {
    TaskOrder {
        task: TaskId::new(1, 1),
        attempt: Attempt(1),
        session: SessionId(1),
        command: CommandId(9),
        lane: Lane::Slot { device: DeviceIndex(0), slot: SlotIndex(1) },
        work: Work::Kernel {
            program: ProgramKey(0),
            kernel: KernelIndex(2),
            range: NdRange::linear(64),
            arguments: vec![BoundArgument::Buffer { buffer: region().buffer, part: None }].into(),
        },
        waits: vec![TaskWait { task: TaskId(7), is_remote: true, carries_failure: false }],
        inputs: vec![region()],
        outputs: Vec::new(),
    }
}

#[test]
fn messages_have_the_bytes_of_this_version() {
    let orders = vec![Order::Run(Box::new(task_order())), Order::Push { region: region(), to: AgentId(2) }];
    let outcome = TaskOutcome::Done { execution: Span(1_000), turnaround: Span(2_000) };
    let finished = Report::Finished { task: TaskId(1), attempt: Attempt(1), outcome };
    let replica = BulkHeader::Replica { from: AgentId(0), region: region() };
    let secret = SessionSecret([0xab; 16]);
    let bytes = Bytes::from_static(b"xy");
    let seen = [
        ("submit", hex(&ClientRequest::Submit { commands: vec![launch(), write()] })),
        ("failed", hex(&ClientReply::Failed { command: CommandId(1), error: CommandError::Cancelled })),
        ("orders", hex(&SchedulerToAgent::Orders(OrderBatch { reports_taken: 3, orders }))),
        ("reports", hex(&AgentToScheduler::Reports(vec![finished]))),
        ("hello", hex(&ClientToAgent::Hello { session: SessionId(1), secret })),
        ("data", hex(&AgentToClient::Data { command: CommandId(1), offset_bytes: 2, bytes })),
        ("notice", hex(&PeerMessage::Notice { task: TaskId(1), dependent: TaskId(2) })),
        ("relay", hex(&BulkHeader::Relay { to: RelayTarget::Agent(AgentId(1)), header: Box::new(replica) })),
    ];
    let shown: String = seen.iter().map(|(name, hex)| format!("{name} {hex}\n")).collect();
    assert_eq!(shown, include_str!("golden_messages.txt"));
}

/// Lines for values of one type, one for each variant; a pattern that is missing does not compile.
macro_rules! every {
    ($lines:ident, $type:ident { $($pattern:pat => $value:expr),+ $(,)? }) => {{
        fn assert_known(value: &$type) {
            match value {
                $($pattern => {})+
            }
        }
        for value in [$($value),+] {
            assert_known(&value);
            let shown = format!("{value:?}");
            let name = shown.split(|letter: char| !letter.is_ascii_alphanumeric()).next().unwrap_or("");
            $lines.push(format!("{}::{name} {}\n", stringify!($type), hex(&value)));
        }
    }};
}

fn text(text: &str) -> String {
    text.to_owned()
}

fn signature() -> KernelSignature {
    let argument = |name: &str, address_space, value_bytes| ArgumentInfo {
        name: text(name),
        type_name: text("t"),
        address_space,
        is_const: true,
        value_bytes,
    };
    let arguments = vec![
        argument("g", AddressSpace::Global, None),
        argument("c", AddressSpace::Constant, None),
        argument("l", AddressSpace::Local, None),
        argument("p", AddressSpace::Private, Some(4)),
    ];
    KernelSignature { name: text("f"), arguments: arguments.into() }
}

fn device(kind: DeviceKind) -> DeviceFacts {
    DeviceFacts {
        name: text("n"),
        platform: text("p"),
        driver: text("d"),
        kind,
        compute_units: 1,
        clock_mhz: 2,
        memory_bytes: 3,
        buffer_bytes_max: 4,
        local_memory_bytes: 5,
        work_group_size_max: 6,
        sub_buffer_alignment_bytes: 7,
        has_fp64: true,
        slots: 8,
        prior_items_per_us: 9,
        prior_launch: Span(10),
        prior_host_rate: BytesPerSecond(11),
    }
}

fn facts() -> AgentFacts {
    let kinds = [DeviceKind::Cpu, DeviceKind::Gpu, DeviceKind::Accelerator, DeviceKind::Virtual];
    AgentFacts {
        name: text("a"),
        address: text("h:1"),
        devices: kinds.map(device).to_vec(),
        host_memory_bytes: 12,
    }
}

fn status() -> FarmStatus {
    let agent = AgentStatus {
        name: text("a"),
        address: text("h:1"),
        devices: 1,
        round_trip: Span(2),
        queued_tasks: 3,
        host_memory_used_bytes: 4,
    };
    let session = SessionStatus {
        session: SessionId(1),
        tenant: text("t"),
        policy: text("p"),
        commands_open: 2,
        commands_finished: 3,
        buffers: 4,
    };
    FarmStatus {
        version: text("v"),
        policy: text("p"),
        uptime: Span(1),
        agents: vec![agent],
        sessions: vec![session],
        tasks_unplaced: 2,
        tasks_dispatched: 3,
        tasks_finished: 4,
        tasks_failed: 5,
        moved_bytes: 6,
        rejections: vec![(text("r"), 7)],
    }
}

fn explanation() -> Explanation {
    let candidate = Candidate {
        device: DeviceId(1),
        name: text("c"),
        queueing: Span(2),
        transfer: Span(3),
        execution: Span(4),
        finish: Span(5),
    };
    let decision = Decision {
        task: TaskId(1),
        policy: text("p"),
        chosen: text("c"),
        reason: text("r"),
        candidates: vec![candidate],
        transfers: vec![planned_transfer()],
    };
    Explanation { command: CommandId(1), state: text("s"), decision: Some(decision) }
}

fn planned_transfer() -> PlannedTransfer {
    let parts = TransferParts {
        queueing: Span(1),
        handshake: Span(2),
        latency: Span(3),
        slow_start: Span(4),
        carrying: Span(5),
    };
    PlannedTransfer {
        from: text("f"),
        to: text("t"),
        size_bytes: 6,
        parts,
        round_trip: Span(7),
        rate: BytesPerSecond(8),
        samples: 9,
        age: Some(Span(10)),
    }
}

fn path_sample() -> PathSample {
    PathSample { round_trips: vec![Span(1), Span(300)], sent_packets: 2, lost_packets: 3, window_bytes: 4 }
}

fn link_status() -> LinkStatus {
    let round_trip = RoundTripStatus {
        least: Span(1),
        p50: Span(2),
        p99: Span(3),
        level: Span(4),
        samples: 5,
        changes: 6,
    };
    LinkStatus {
        from: text("f"),
        to: text("t"),
        tenant: text("n"),
        round_trip: Some(round_trip),
        rate: Some(BytesPerSecond(7)),
        rate_samples: 8,
        lost_per_million: Some(9),
        age: Some(Span(10)),
        confidence_percent: 11,
        queued_bytes: 12,
    }
}

fn of_clients(lines: &mut Vec<String>) {
    let address = || AgentAddress { agent: AgentId(1), name: text("a"), address: text("h:1") };
    let logs = || vec![BuildLog { device: text("d"), log: text("l") }];
    let built = || ProgramFacts { kernels: vec![signature()], devices: 2, failures: logs() };
    let command = |kind| Command { id: CommandId(1), after: Vec::new(), label: String::new(), kind };
    let secret = SessionSecret([7; 16]);
    every!(lines, ClientRequest {
        ClientRequest::Open { .. } => ClientRequest::Open { policy: text("p") },
        ClientRequest::CreateBuffer { .. } => ClientRequest::CreateBuffer { buffer: BufferId(1), size_bytes: 2 },
        ClientRequest::ReleaseBuffer { .. } => ClientRequest::ReleaseBuffer { buffer: BufferId(1) },
        ClientRequest::CreateProgram { .. } =>
            ClientRequest::CreateProgram { program: ProgramId(1), source: text("s"), options: text("o") },
        ClientRequest::ReleaseProgram { .. } => ClientRequest::ReleaseProgram { program: ProgramId(1) },
        ClientRequest::Submit { .. } => ClientRequest::Submit { commands: vec![command(CommandKind::Marker)] },
        ClientRequest::Cancel { .. } => ClientRequest::Cancel { commands: vec![CommandId(1)] },
        ClientRequest::Close => ClientRequest::Close,
        ClientRequest::Ask { .. } => ClientRequest::Ask { question_id: 1, question: Question::Status },
    });
    every!(lines, CommandKind {
        CommandKind::Launch(_) => launch().kind,
        CommandKind::Write { .. } => write().kind,
        CommandKind::Read { .. } =>
            CommandKind::Read { buffer: BufferId(1), offset_bytes: 2, size_bytes: 3 },
        CommandKind::Copy { .. } => CommandKind::Copy {
            source: BufferId(1),
            source_offset_bytes: 2,
            target: BufferId(3),
            target_offset_bytes: 4,
            size_bytes: 5,
        },
        CommandKind::Fill { .. } => CommandKind::Fill {
            buffer: BufferId(1),
            offset_bytes: 2,
            size_bytes: 3,
            pattern: Bytes::from_static(b"p"),
        },
        CommandKind::Barrier => CommandKind::Barrier,
        CommandKind::Marker => CommandKind::Marker,
    });
    every!(lines, Payload {
        Payload::Inline(_) => Payload::Inline(Bytes::from_static(b"xy")),
        Payload::Stream { .. } => Payload::Stream { size_bytes: 3 },
    });
    every!(lines, Access {
        Access::Read => Access::Read,
        Access::Write => Access::Write,
        Access::ReadWrite => Access::ReadWrite,
    });
    every!(lines, Question {
        Question::Devices => Question::Devices,
        Question::Status => Question::Status,
        Question::Explain { .. } => Question::Explain { command: CommandId(1) },
        Question::Shutdown => Question::Shutdown,
        Question::Links => Question::Links,
    });
    every!(lines, ClientReply {
        ClientReply::Opened { .. } => ClientReply::Opened {
            session: SessionId(1),
            secret,
            agents: vec![address()],
            inline_bytes_max: 2,
        },
        ClientReply::AgentJoined { .. } => ClientReply::AgentJoined { agent: address() },
        ClientReply::AgentLeft { .. } => ClientReply::AgentLeft { agent: AgentId(1) },
        ClientReply::Program { .. } => ClientReply::Program { program: ProgramId(1), outcome: Ok(built()) },
        ClientReply::SendPayload { .. } =>
            ClientReply::SendPayload { command: CommandId(1), task: TaskId(2), agent: AgentId(3) },
        ClientReply::Failed { .. } =>
            ClientReply::Failed { command: CommandId(1), error: CommandError::Cancelled },
        ClientReply::RequestFailed { .. } =>
            ClientReply::RequestFailed { request: RequestName::Open, error: CommandError::Cancelled },
        ClientReply::Relayed(_) => ClientReply::Relayed(AgentToClient::Welcome),
        ClientReply::Answer { .. } => ClientReply::Answer { question_id: 1, answer: Answer::Accepted },
        ClientReply::Closed { .. } => ClientReply::Closed { reason: text("r") },
    });
    every!(lines, RequestName {
        RequestName::Open => RequestName::Open,
        RequestName::CreateBuffer(_) => RequestName::CreateBuffer(BufferId(1)),
        RequestName::ReleaseBuffer(_) => RequestName::ReleaseBuffer(BufferId(1)),
        RequestName::CreateProgram(_) => RequestName::CreateProgram(ProgramId(1)),
        RequestName::ReleaseProgram(_) => RequestName::ReleaseProgram(ProgramId(1)),
    });
    let device = DeviceStatus {
        device: DeviceId(1),
        agent: text("a"),
        facts: device(DeviceKind::Cpu),
        is_present: true,
        queued_tasks: 2,
        finished_tasks: 3,
        busy: Span(4),
        memory_used_bytes: 5,
    };
    every!(lines, Answer {
        Answer::Devices(_) => Answer::Devices(vec![device]),
        Answer::Status(_) => Answer::Status(Box::new(status())),
        Answer::Explanation(_) => Answer::Explanation(explanation()),
        Answer::Accepted => Answer::Accepted,
        Answer::Refused { .. } => Answer::Refused { reason: text("r") },
        Answer::Links(_) => Answer::Links(vec![link_status()]),
    });
    every!(lines, LinkEnd {
        LinkEnd::Scheduler => LinkEnd::Scheduler,
        LinkEnd::Agent(_) => LinkEnd::Agent(AgentId(1)),
        LinkEnd::Session(_) => LinkEnd::Session(SessionId(1)),
    });
    every!(lines, ClientToAgent {
        ClientToAgent::Hello { .. } => ClientToAgent::Hello { session: SessionId(1), secret },
    });
    every!(lines, AgentToClient {
        AgentToClient::Welcome => AgentToClient::Welcome,
        AgentToClient::Done { .. } => AgentToClient::Done { command: CommandId(1), execution: Span(2) },
        AgentToClient::Data { .. } => AgentToClient::Data {
            command: CommandId(1),
            offset_bytes: 2,
            bytes: Bytes::from_static(b"xy"),
        },
    });
}

fn of_agents(lines: &mut Vec<String>) {
    let secret = SessionSecret([7; 16]);
    let notice = || PeerMessage::Notice { task: TaskId(1), dependent: TaskId(2) };
    let program = ProgramKey(1);
    let buffer = region().buffer;
    every!(lines, SchedulerToAgent {
        SchedulerToAgent::Welcome { .. } => SchedulerToAgent::Welcome { agent: AgentId(1), inline_bytes_max: 2 },
        SchedulerToAgent::Orders(_) =>
            SchedulerToAgent::Orders(OrderBatch { reports_taken: 1, orders: Vec::new() }),
        SchedulerToAgent::RelayedPeer(_) => SchedulerToAgent::RelayedPeer(notice()),
        SchedulerToAgent::Shutdown => SchedulerToAgent::Shutdown,
    });
    every!(lines, Order {
        Order::Build { .. } => Order::Build { program, source: text("s"), options: text("o") },
        Order::DropProgram { .. } => Order::DropProgram { program },
        Order::DeclareBuffer { .. } => Order::DeclareBuffer { buffer, size_bytes: 1 },
        Order::DropBuffer { .. } => Order::DropBuffer { buffer },
        Order::Run(_) => Order::Run(Box::new(task_order())),
        Order::RunBackup(_) => Order::RunBackup(Box::new(task_order())),
        Order::Push { .. } => Order::Push { region: region(), to: AgentId(1) },
        Order::Notify { .. } => Order::Notify {
            task: TaskId(1),
            dependent: TaskId(2),
            to: AgentId(3),
            carries_failure: true,
        },
        Order::Release { .. } => Order::Release { task: TaskId(1), dependent: TaskId(2) },
        Order::Cancel { .. } => Order::Cancel { task: TaskId(1) },
        Order::Retract { .. } => Order::Retract { task: TaskId(1) },
        Order::OpenSession { .. } => Order::OpenSession { session: SessionId(1), secret },
        Order::CloseSession { .. } => Order::CloseSession { session: SessionId(1) },
        Order::PeerJoined { .. } =>
            Order::PeerJoined { agent: AgentId(1), name: text("a"), address: text("h:1") },
        Order::PeerLeft { .. } => Order::PeerLeft { agent: AgentId(1) },
    });
    every!(lines, Lane {
        Lane::Host => Lane::Host,
        Lane::Slot { .. } => Lane::Slot { device: DeviceIndex(1), slot: SlotIndex(2) },
    });
    every!(lines, Work {
        Work::Kernel { .. } => task_order().work,
        Work::Write { .. } => Work::Write { bytes: Some(Bytes::from_static(b"xy")) },
        Work::Read { .. } => Work::Read { offset_bytes: 1 },
        Work::Copy { .. } => Work::Copy { source: buffer, source_range: ByteRange::new(1, 2) },
        Work::Fill { .. } => Work::Fill { pattern: Bytes::from_static(b"p") },
        Work::Nothing => Work::Nothing,
    });
    every!(lines, BoundArgument {
        BoundArgument::Buffer { .. } => BoundArgument::Buffer { buffer, part: Some(ByteRange::new(1, 2)) },
        BoundArgument::Scalar(_) => BoundArgument::Scalar(Bytes::from_static(b"xy")),
        BoundArgument::Local(_) => BoundArgument::Local(1),
    });
    every!(lines, AgentToScheduler {
        AgentToScheduler::Hello(_) => AgentToScheduler::Hello(AgentHello { facts: facts() }),
        AgentToScheduler::Reports(_) => AgentToScheduler::Reports(Vec::new()),
        AgentToScheduler::RelayToClient { .. } =>
            AgentToScheduler::RelayToClient { session: SessionId(1), message: AgentToClient::Welcome },
        AgentToScheduler::RelayToPeer { .. } =>
            AgentToScheduler::RelayToPeer { to: AgentId(1), message: notice() },
    });
    let (task, attempt) = (TaskId(1), Attempt(2));
    let failed = || BuildOutcome::Failed { log: text("l") };
    every!(lines, Report {
        Report::Finished { .. } =>
            Report::Finished { task, attempt, outcome: TaskOutcome::Failed(CommandError::Cancelled) },
        Report::Retracted { .. } => Report::Retracted { task, attempt },
        Report::Built { .. } => Report::Built { program, device: DeviceIndex(1), outcome: failed() },
        Report::Arrived { .. } => Report::Arrived { region: region(), from: AgentId(1) },
        Report::PushFailed { .. } =>
            Report::PushFailed { region: region(), to: AgentId(1), reason: text("r") },
        Report::PathMeasured { .. } =>
            Report::PathMeasured { to: LinkEnd::Agent(AgentId(1)), sample: path_sample() },
        Report::Carried { .. } => Report::Carried {
            from: LinkEnd::Session(SessionId(1)),
            size_bytes: 2,
            shared_bytes: 3,
            span: Span(4),
        },
        Report::Memory { .. } => Report::Memory { host_bytes: 1, device_bytes: vec![2, 3] },
    });
    every!(lines, TaskOutcome {
        TaskOutcome::Done { .. } => TaskOutcome::Done { execution: Span(1), turnaround: Span(2) },
        TaskOutcome::Failed(_) => TaskOutcome::Failed(CommandError::Cancelled),
    });
    let kernels = || vec![BuiltKernel { signature: signature(), work_group_size_max: 1 }].into();
    every!(lines, BuildOutcome {
        BuildOutcome::Built { .. } => BuildOutcome::Built { kernels: kernels(), log: text("l") },
        BuildOutcome::Failed { .. } => failed(),
    });
    every!(lines, PeerMessage {
        PeerMessage::Hello { .. } => PeerMessage::Hello { agent: AgentId(1) },
        PeerMessage::Notice { .. } => notice(),
        PeerMessage::Replica { .. } =>
            PeerMessage::Replica { from: AgentId(1), region: region(), bytes: Bytes::from_static(b"xy") },
    });
    let payload = || BulkHeader::Payload { session: SessionId(1), task, size_bytes: 2 };
    every!(lines, BulkHeader {
        BulkHeader::Payload { .. } => payload(),
        BulkHeader::Replica { .. } => BulkHeader::Replica { from: AgentId(1), region: region() },
        BulkHeader::Data { .. } => BulkHeader::Data {
            session: SessionId(1),
            command: CommandId(2),
            offset_bytes: 3,
            size_bytes: 4,
        },
        BulkHeader::Relay { .. } =>
            BulkHeader::Relay { to: RelayTarget::Session(SessionId(1)), header: Box::new(payload()) },
    });
    every!(lines, RelayTarget {
        RelayTarget::Agent(_) => RelayTarget::Agent(AgentId(1)),
        RelayTarget::Session(_) => RelayTarget::Session(SessionId(1)),
    });
}

fn of_errors(lines: &mut Vec<String>) {
    use CommandError as Error;
    let (kernel, name, device, reason) = (|| text("k"), || text("n"), || text("d"), || text("r"));
    let (buffer, index, range) = (BufferId(1), 2, ByteRange::new(3, 4));
    every!(lines, CommandError {
        Error::BuildFailed { .. } =>
            Error::BuildFailed { logs: vec![BuildLog { device: device(), log: text("l") }] },
        Error::UnknownKernel { .. } => Error::UnknownKernel { kernel: kernel(), known: vec![name()] },
        Error::UnknownProgram { .. } => Error::UnknownProgram { program: ProgramId(1) },
        Error::UnknownBuffer { .. } => Error::UnknownBuffer { buffer },
        Error::IdReused { .. } => Error::IdReused { what: text("w") },
        Error::ArgumentCount { .. } => Error::ArgumentCount { kernel: kernel(), expected: 1, given: 2 },
        Error::ArgumentSize { .. } => Error::ArgumentSize {
            kernel: kernel(),
            index,
            name: name(),
            type_name: text("t"),
            expected_bytes: 1,
            given_bytes: 2,
        },
        Error::ArgumentKind { .. } => Error::ArgumentKind {
            kernel: kernel(),
            index,
            name: name(),
            expected: text("e"),
            given: text("g"),
        },
        Error::AccessContradiction { .. } =>
            Error::AccessContradiction { kernel: kernel(), index, name: name() },
        Error::OutOfRange { .. } => Error::OutOfRange { buffer, range, size_bytes: 5 },
        Error::CopyOverlap { .. } => Error::CopyOverlap { buffer },
        Error::BufferTooLarge { .. } =>
            Error::BufferTooLarge { buffer, size_bytes: 2, largest_bytes: 1 },
        Error::Malformed { .. } => Error::Malformed { what: text("w") },
        Error::NdRangeRefused { .. } => Error::NdRangeRefused { device: device(), reason: reason() },
        Error::NoDevice { .. } => Error::NoDevice { reason: reason() },
        Error::Device { .. } => Error::Device { device: device(), call: text("c"), reason: reason() },
        Error::OutOfMemory { .. } =>
            Error::OutOfMemory { place: text("p"), needed_bytes: 2, limit_bytes: 1 },
        Error::Dependency { .. } =>
            Error::Dependency { failed: CommandId(1), cause: Box::new(Error::Cancelled) },
        Error::Cycle { .. } => Error::Cycle { members: vec![CommandId(1), CommandId(2)] },
        Error::UnknownCommand { .. } => Error::UnknownCommand { command: CommandId(1) },
        Error::ContentLost { .. } => Error::ContentLost { buffer, agent: text("a") },
        Error::ContentSuperseded { .. } => Error::ContentSuperseded { buffer, range },
        Error::AgentLost { .. } => Error::AgentLost { attempts: 1, agent: text("a") },
        Error::PayloadLost { .. } => Error::PayloadLost { reason: reason() },
        Error::Cancelled => Error::Cancelled,
        Error::SessionClosed { .. } => Error::SessionClosed { reason: reason() },
        Error::LimitExceeded { .. } => Error::LimitExceeded { what: text("w"), limit: 1 },
        Error::Policy { .. } => Error::Policy { reason: reason() },
    });
}

#[test]
fn every_variant_has_the_bytes_of_this_version() {
    let mut lines = Vec::new();
    of_clients(&mut lines);
    of_agents(&mut lines);
    of_errors(&mut lines);
    let shown = lines.concat();
    let pinned = include_str!("golden_variants.txt");
    for (line, pinned) in shown.lines().zip(pinned.lines()) {
        assert_eq!(line, pinned);
    }
    assert_eq!(shown.lines().count(), pinned.lines().count(), "all that is seen:\n{shown}");
}
