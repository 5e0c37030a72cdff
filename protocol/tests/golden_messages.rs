//! The bytes of real messages, pinned: compact encoding writes fields by position, so that a moved field
//! would change the protocol silently. When this fails, either undo the change or raise
//! `PROTOCOL_VERSION` and pin the new bytes.

use bytes::{Bytes, BytesMut};
use isochrone_model::message::{
    AgentToClient, AgentToScheduler, BulkHeader, ClientReply, ClientRequest, ClientToAgent, OrderBatch,
    PeerMessage, RelayTarget, SchedulerToAgent,
};
use isochrone_model::order::SessionSecret;
use isochrone_model::{
    Access, AgentId, Argument, Attempt, BoundArgument, BufferArgument, BufferId, BufferKey, ByteRange,
    Command, CommandError, CommandId, CommandKind, DeviceIndex, KernelIndex, Lane, Launch, NdRange, Order,
    Payload, ProgramId, ProgramKey, Region, Report, SessionId, SlotIndex, Span, TaskId, TaskOrder,
    TaskOutcome, TaskWait, Version, Work,
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
            arguments: vec![BoundArgument::Buffer { buffer: region().buffer, part: None }],
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
