//! Agents with virtual devices and a live scheduler over loopback, with a client written by hand.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use isochrone_model::message::{
    AgentAddress, AgentToClient, Answer, BulkHeader, ClientReply, ClientRequest, ClientToAgent, DeviceStatus,
    PeerMessage, Question, RelayTarget,
};
use isochrone_model::order::SessionSecret;
use isochrone_model::{
    AgentId, BufferId, BufferKey, ByteRange, BytesPerSecond, Command, CommandId, CommandKind, Payload,
    Region, SessionId, TaskId, Version,
};
use isochrone_node_agent::virtual_devices::{VirtualBackend, VirtualDevice, VirtualOptions};
use isochrone_node_agent::{AgentError, AgentOptions, Backend, BackendMaker, BoundAgent};
use isochrone_scheduler::{BoundScheduler, SchedulerOptions, StartError};
use isochrone_transport::{
    Authority, CloseCode, CloseReason, Connection, ControlReceiver, ControlSender, Endpoint, Identity, Role,
    TransportOptions,
};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

const DAY: Duration = Duration::from_secs(86_400);
const PATIENCE: Duration = Duration::from_secs(30);
const ANY: &str = "127.0.0.1:0";
const MIB: u64 = 1 << 20;

struct Running<T> {
    address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    task: JoinHandle<T>,
}

impl<T> Running<T> {
    async fn stop(mut self) -> T {
        drop(self.stop.take());
        within(self.task).await.unwrap()
    }
}

fn start_scheduler(authority: &Authority, listen: SocketAddr) -> Running<()> {
    let mut options = SchedulerOptions::new(listen, issue(authority, Role::Scheduler, "scheduler"));
    options.policy("round-robin");
    // The socket of a scheduler before this one is let go of a moment after its end.
    let bound = (0..200)
        .find_map(|_| match BoundScheduler::bind(options.clone()) {
            Err(StartError::Bind { .. }) => {
                std::thread::sleep(Duration::from_millis(20));
                None
            }
            bound => Some(bound.unwrap()),
        })
        .expect("the address becomes free");
    let address = bound.local_address();
    let (stop, stopped) = oneshot::channel();
    let task = tokio::spawn(bound.run(async {
        let _ = stopped.await;
    }));
    Running { address, stop: Some(stop), task }
}

fn start_agent(
    authority: &Authority,
    name: &str,
    scheduler: SocketAddr,
    adjust: impl FnOnce(&mut AgentOptions),
) -> Running<Result<(), AgentError>> {
    let identity = issue(authority, Role::Agent, name);
    let mut options = AgentOptions::new(scheduler.to_string(), ANY.parse().unwrap(), identity, devices());
    options.host_memory_bytes(256 * MIB);
    adjust(&mut options);
    let bound = BoundAgent::bind(options).unwrap();
    let address = bound.local_address();
    let (stop, stopped) = oneshot::channel();
    let task = tokio::spawn(bound.run(async {
        let _ = stopped.await;
    }));
    Running { address, stop: Some(stop), task }
}

fn devices() -> BackendMaker {
    let rate = BytesPerSecond(20_000_000_000);
    let options = VirtualOptions {
        devices: vec![VirtualDevice::new("device", 1_000, 512 * MIB, rate)],
        ..VirtualOptions::default()
    };
    Box::new(move |sink| {
        let backend: Box<dyn Backend> = Box::new(VirtualBackend::open(&options, sink)?);
        Ok(backend)
    })
}

struct Client {
    endpoint: Endpoint,
    connection: Connection,
    sender: ControlSender,
    heard: mpsc::UnboundedReceiver<Heard>,
    session: SessionId,
    secret: SessionSecret,
    agents: Vec<AgentAddress>,
    links: BTreeMap<AgentId, Connection>,
    payloads: BTreeMap<CommandId, Bytes>,
    /// How many messages and streams came directly from agents.
    direct: u64,
    /// How many streams came.
    streams: u64,
}

enum Heard {
    Reply(ClientReply),
    FromAgent(AgentToClient),
    Bytes { command: CommandId, offset_bytes: u64, bytes: Bytes, is_direct: bool },
}

impl Client {
    async fn open(authority: &Authority, scheduler: SocketAddr) -> Self {
        let (endpoint, connection) =
            dial(authority, Role::Client, "client", scheduler, Role::Scheduler).await;
        let (sender, mut receiver) = connection.take_control();
        sender.send(&ClientRequest::Open { policy: String::new() }).unwrap();
        let reply = within(receiver.receive::<ClientReply>()).await.unwrap().unwrap();
        let ClientReply::Opened { session, secret, agents, .. } = reply else { panic!("{reply:?}") };
        let (tell, heard) = mpsc::unbounded_channel();
        tokio::spawn(read_bulk(connection.clone(), tell.clone(), false));
        tokio::spawn(async move {
            while let Ok(Some(reply)) = receiver.receive::<ClientReply>().await {
                let _ = tell.send(Heard::Reply(reply));
            }
        });
        let (links, payloads) = (BTreeMap::new(), BTreeMap::new());
        Self {
            endpoint,
            connection,
            sender,
            heard,
            session,
            secret,
            agents,
            links,
            payloads,
            direct: 0,
            streams: 0,
        }
    }

    /// Connects to every agent.
    async fn connect(&mut self) {
        let (tell, mut heard) = mpsc::unbounded_channel();
        std::mem::swap(&mut heard, &mut self.heard);
        let forward = tell.clone();
        tokio::spawn(async move {
            while let Some(message) = heard.recv().await {
                let _ = forward.send(message);
            }
        });
        for agent in self.agents.clone() {
            let address = agent.address.parse().unwrap();
            let dialling = self.endpoint.connect(address, Role::Agent, Some(&agent.name));
            let connection = within(dialling).await.unwrap();
            let (sender, mut receiver) = connection.take_control();
            let hello = ClientToAgent::Hello { session: self.session, secret: self.secret };
            sender.send(&hello).unwrap();
            let welcome = within(receiver.receive::<AgentToClient>()).await.unwrap();
            assert_eq!(welcome, Some(AgentToClient::Welcome));
            tokio::spawn(read_bulk(connection.clone(), tell.clone(), true));
            let tell = tell.clone();
            tokio::spawn(async move {
                // The sender is kept: dropping it would end the stream.
                let _sender = sender;
                while let Ok(Some(message)) = receiver.receive::<AgentToClient>().await {
                    let _ = tell.send(Heard::FromAgent(message));
                }
            });
            self.links.insert(agent.agent, connection);
        }
    }

    /// Submits commands and gives what was read, by command.
    async fn submit(&mut self, kinds: Vec<CommandKind>, payloads: &[(u64, Bytes)]) -> BTreeMap<u64, Vec<u8>> {
        let mut open: BTreeMap<CommandId, Option<(Vec<u8>, u64)>> = BTreeMap::new();
        let mut commands = Vec::new();
        for (number, kind) in (1..).zip(kinds) {
            let id = CommandId(number);
            let read = match &kind {
                CommandKind::Read { size_bytes, .. } => Some((vec![0; *size_bytes as usize], *size_bytes)),
                _ => None,
            };
            open.insert(id, read);
            commands.push(Command { id, after: Vec::new(), label: String::new(), kind });
        }
        self.payloads = payloads.iter().map(|(id, bytes)| (CommandId(*id), bytes.clone())).collect();
        self.sender.send(&ClientRequest::Submit { commands }).unwrap();
        let mut finished = BTreeMap::new();
        while !open.is_empty() {
            let (command, piece) = match within(self.heard.recv()).await.unwrap() {
                Heard::FromAgent(message) => {
                    self.direct += 1;
                    match message {
                        AgentToClient::Done { command, .. } => (command, None),
                        AgentToClient::Data { command, offset_bytes, bytes } => {
                            (command, Some((offset_bytes, bytes)))
                        }
                        AgentToClient::Welcome => continue,
                    }
                }
                Heard::Reply(ClientReply::Relayed(message)) => match message {
                    AgentToClient::Done { command, .. } => (command, None),
                    AgentToClient::Data { command, offset_bytes, bytes } => {
                        (command, Some((offset_bytes, bytes)))
                    }
                    AgentToClient::Welcome => continue,
                },
                Heard::Reply(ClientReply::SendPayload { command, task, agent }) => {
                    self.send_payload(command, task, agent).await;
                    continue;
                }
                Heard::Reply(ClientReply::Failed { command, error }) => panic!("{command} failed: {error}"),
                Heard::Reply(_) => continue,
                Heard::Bytes { command, offset_bytes, bytes, is_direct } => {
                    self.direct += u64::from(is_direct);
                    self.streams += 1;
                    (command, Some((offset_bytes, bytes)))
                }
            };
            match (open.get_mut(&command), piece) {
                (Some(Some((contents, missing))), Some((offset, bytes))) => {
                    contents[offset as usize..offset as usize + bytes.len()].copy_from_slice(&bytes);
                    *missing -= bytes.len() as u64;
                    if *missing > 0 {
                        continue;
                    }
                }
                (Some(None), None) => {}
                (Some(Some(_)), None) | (Some(None), Some(_)) | (None, _) => continue,
            }
            if let Some(Some((contents, _))) = open.remove(&command) {
                finished.insert(command.0, contents);
            }
        }
        finished
    }

    async fn send_payload(&self, command: CommandId, task: TaskId, agent: AgentId) {
        let bytes = self.payloads[&command].clone();
        let header = BulkHeader::Payload { session: self.session, task, size_bytes: bytes.len() as u64 };
        let mut stream = match self.links.get(&agent) {
            Some(link) => link.open_bulk(&header).await.unwrap(),
            None => {
                let relayed = BulkHeader::Relay { to: RelayTarget::Agent(agent), header: Box::new(header) };
                self.connection.open_bulk(&relayed).await.unwrap()
            }
        };
        stream.send(bytes).await.unwrap();
        stream.finish().await.unwrap();
    }
}

async fn read_bulk(connection: Connection, tell: mpsc::UnboundedSender<Heard>, is_direct: bool) {
    while let Ok(Some((header, stream))) = connection.accept_bulk::<BulkHeader>().await {
        let BulkHeader::Data { command, offset_bytes, size_bytes, .. } = header else { panic!("{header:?}") };
        let bytes = stream.receive_exact(size_bytes).await.unwrap();
        let _ = tell.send(Heard::Bytes { command, offset_bytes, bytes, is_direct });
    }
}

async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.expect("in time")
}

fn issue(authority: &Authority, role: Role, name: &str) -> Identity {
    let tenant = role.has_tenant().then_some("tenant");
    authority.issue(role, name, tenant, DAY).unwrap().identity().unwrap()
}

async fn dial(
    authority: &Authority,
    role: Role,
    name: &str,
    address: SocketAddr,
    expected: Role,
) -> (Endpoint, Connection) {
    let identity = issue(authority, role, name);
    let endpoint = Endpoint::bind(ANY.parse().unwrap(), &identity, TransportOptions::new()).unwrap();
    let connection = within(endpoint.connect(address, expected, None)).await.unwrap();
    (endpoint, connection)
}

/// The agents that are there, once there are `count`.
async fn agents(authority: &Authority, scheduler: SocketAddr, count: usize) -> Vec<DeviceStatus> {
    let (_endpoint, connection) = dial(authority, Role::Admin, "watcher", scheduler, Role::Scheduler).await;
    let (sender, mut receiver): (ControlSender, ControlReceiver) = connection.take_control();
    within(async {
        loop {
            sender.send(&ClientRequest::Ask { question_id: 1, question: Question::Devices }).unwrap();
            let reply = receiver.receive::<ClientReply>().await.unwrap().unwrap();
            let ClientReply::Answer { answer: Answer::Devices(devices), .. } = reply else {
                panic!("{reply:?}")
            };
            if devices.iter().filter(|device| device.is_present).count() == count {
                return devices;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await
}

const SIZE: u64 = 8 * MIB;

/// Writes, copies, fills and reads that cross between agents, and what the reads must give.
fn crossing(payload: &Bytes) -> (Vec<CommandKind>, BTreeMap<u64, Vec<u8>>) {
    let (a, b) = (BufferId(1), BufferId(2));
    let half = SIZE / 2;
    let kinds = vec![
        CommandKind::Write { buffer: a, offset_bytes: 0, payload: Payload::Stream { size_bytes: SIZE } },
        CommandKind::Copy {
            source: a,
            source_offset_bytes: half,
            target: b,
            target_offset_bytes: 0,
            size_bytes: half,
        },
        CommandKind::Fill {
            buffer: b,
            offset_bytes: half,
            size_bytes: 4_096,
            pattern: Bytes::from_static(b"abcd"),
        },
        CommandKind::Write {
            buffer: b,
            offset_bytes: 3,
            payload: Payload::Inline(Bytes::from_static(b"inline")),
        },
        CommandKind::Copy {
            source: b,
            source_offset_bytes: 0,
            target: a,
            target_offset_bytes: half + 100,
            size_bytes: 64,
        },
        CommandKind::Read { buffer: b, offset_bytes: 0, size_bytes: SIZE },
        CommandKind::Read { buffer: a, offset_bytes: half + 90, size_bytes: 100 },
        CommandKind::Read { buffer: b, offset_bytes: half + 4_090, size_bytes: 16 },
    ];
    let (half, mut first, mut second) = (half as usize, payload.to_vec(), vec![0; SIZE as usize]);
    second[..half].copy_from_slice(&first[half..]);
    second[half..half + 4_096].copy_from_slice(&b"abcd".repeat(1_024));
    second[3..9].copy_from_slice(b"inline");
    first[half + 100..half + 164].copy_from_slice(&second[..64]);
    let reads = [
        (7, first[half + 90..half + 190].to_vec()),
        (8, second[half + 4_090..half + 4_106].to_vec()),
        (6, second),
    ];
    (kinds, reads.into())
}

async fn check_crossing(client: &mut Client) {
    for buffer in [1, 2] {
        let request = ClientRequest::CreateBuffer { buffer: BufferId(buffer), size_bytes: SIZE };
        client.sender.send(&request).unwrap();
    }
    let payload: Bytes = (0..SIZE).map(|place| (place.wrapping_mul(2_654_435_761) >> 7) as u8).collect();
    let (kinds, expected) = crossing(&payload);
    let finished = client.submit(kinds, &[(1, payload)]).await;
    assert_eq!(finished.keys().collect::<Vec<_>>(), [&6, &7, &8]);
    for (command, contents) in &expected {
        assert!(finished[command] == *contents, "command {command} read other bytes");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn contents_cross_agents_and_come_back_directly() {
    let authority = Authority::create("test").unwrap();
    let scheduler = start_scheduler(&authority, ANY.parse().unwrap());
    let first = start_agent(&authority, "first", scheduler.address, |_| {});
    let second = start_agent(&authority, "second", scheduler.address, |_| {});
    agents(&authority, scheduler.address, 2).await;
    let mut client = Client::open(&authority, scheduler.address).await;
    assert_eq!(client.agents.len(), 2);
    client.connect().await;
    check_crossing(&mut client).await;
    assert!(client.direct >= 8, "{} came directly", client.direct);
    first.stop().await.unwrap();
    second.stop().await.unwrap();
    scheduler.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn small_outputs_need_no_stream_of_their_own() {
    let authority = Authority::create("test").unwrap();
    let scheduler = start_scheduler(&authority, ANY.parse().unwrap());
    let agent = start_agent(&authority, "only", scheduler.address, |_| {});
    agents(&authority, scheduler.address, 1).await;
    let mut client = Client::open(&authority, scheduler.address).await;
    client.connect().await;
    let inline = isochrone_model::Limits::default().inline_bytes_max;
    let request = ClientRequest::CreateBuffer { buffer: BufferId(1), size_bytes: SIZE };
    client.sender.send(&request).unwrap();
    let fill = CommandKind::Fill {
        buffer: BufferId(1),
        offset_bytes: 0,
        size_bytes: SIZE,
        pattern: Bytes::from_static(b"abcd"),
    };
    let read = |size_bytes| CommandKind::Read { buffer: BufferId(1), offset_bytes: 0, size_bytes };
    let finished = client.submit(vec![fill, read(4), read(inline), read(inline + 1)], &[]).await;
    assert!(finished.values().all(|bytes| bytes.starts_with(b"abcd")));
    assert_eq!(finished.values().map(Vec::len).max(), Some(inline as usize + 1));
    assert_eq!(client.streams, 1, "only what is larger than {inline} bytes came on a stream");
    agent.stop().await.unwrap();
    scheduler.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_is_relayed_where_nobody_can_be_dialled() {
    let authority = Authority::create("test").unwrap();
    let scheduler = start_scheduler(&authority, ANY.parse().unwrap());
    let silent = std::net::UdpSocket::bind(ANY).unwrap();
    let nowhere = silent.local_addr().unwrap();
    let first = start_agent(&authority, "first", scheduler.address, |options| {
        options.advertise(nowhere);
    });
    let second = start_agent(&authority, "second", scheduler.address, |options| {
        options.advertise(nowhere);
    });
    agents(&authority, scheduler.address, 2).await;
    let mut client = Client::open(&authority, scheduler.address).await;
    check_crossing(&mut client).await;
    assert_eq!(client.direct, 0);
    first.stop().await.unwrap();
    second.stop().await.unwrap();
    scheduler.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_joins_the_next_scheduler_as_new() {
    let authority = Authority::create("test").unwrap();
    let scheduler = start_scheduler(&authority, ANY.parse().unwrap());
    let address = scheduler.address;
    let agent = start_agent(&authority, "agent", address, |_| {});
    agents(&authority, address, 1).await;
    let mut client = Client::open(&authority, address).await;
    check_crossing(&mut client).await;
    scheduler.stop().await;
    let next = start_scheduler(&authority, address);
    agents(&authority, address, 1).await;
    let mut client = Client::open(&authority, address).await;
    client.connect().await;
    check_crossing(&mut client).await;
    agent.stop().await.unwrap();
    next.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn those_who_show_no_right_are_closed_alone() {
    let authority = Authority::create("test").unwrap();
    let scheduler = start_scheduler(&authority, ANY.parse().unwrap());
    let agent = start_agent(&authority, "agent", scheduler.address, |_| {});
    agents(&authority, scheduler.address, 1).await;
    let mut client = Client::open(&authority, scheduler.address).await;
    client.connect().await;

    let wrong = ClientToAgent::Hello { session: client.session, secret: SessionSecret([0; 16]) };
    is_refused(&authority, Role::Client, agent.address, &wrong, CloseCode::SessionRefused).await;
    // Held for a while, since the scheduler's word might only be late.
    let unknown = ClientToAgent::Hello { session: SessionId(1), secret: client.secret };
    is_refused(&authority, Role::Client, agent.address, &unknown, CloseCode::SessionRefused).await;
    let nonsense = ClientRequest::Close;
    is_refused(&authority, Role::Client, agent.address, &nonsense, CloseCode::ProtocolViolation).await;
    let notice = PeerMessage::Notice { task: TaskId(1), dependent: TaskId(2) };
    is_refused(&authority, Role::Agent, agent.address, &notice, CloseCode::ProtocolViolation).await;
    // An agent that the scheduler does not name.
    let stranger = PeerMessage::Hello { agent: AgentId(7) };
    is_refused(&authority, Role::Agent, agent.address, &stranger, CloseCode::RoleRefused).await;

    // Bytes for another session, on an admitted connection.
    let (_, link) = client.links.pop_first().unwrap();
    let other = BulkHeader::Payload { session: SessionId(1), task: TaskId(1), size_bytes: 4 };
    let _stream = link.open_bulk(&other).await.unwrap();
    closes_with(&link, CloseCode::ProtocolViolation).await;

    check_crossing(&mut client).await;
    agent.stop().await.unwrap();
    scheduler.stop().await;
}

async fn is_refused(
    authority: &Authority,
    role: Role,
    address: SocketAddr,
    message: &impl serde::Serialize,
    expected: CloseCode,
) {
    let (_endpoint, connection) = dial(authority, role, "stranger", address, Role::Agent).await;
    let (sender, _receiver) = connection.take_control();
    sender.send(message).unwrap();
    closes_with(&connection, expected).await;
}

async fn closes_with(connection: &Connection, expected: CloseCode) {
    match within(connection.closed()).await {
        CloseReason::Peer { code, .. } if code == expected => {}
        other => panic!("expected {expected}, got {other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_is_heard_only_in_its_own_name_and_within_bounds() {
    let authority = Authority::create("test").unwrap();
    let scheduler = start_scheduler(&authority, ANY.parse().unwrap());
    let agent = start_agent(&authority, "agent", scheduler.address, |_| {});
    let named = start_agent(&authority, "named", scheduler.address, |_| {});
    let devices = agents(&authority, scheduler.address, 2).await;
    // Device ids follow the order of joining, as agents' ids do.
    let named_id = AgentId(devices.iter().position(|device| device.agent == "named").unwrap() as u32);
    let buffer = BufferKey { session: SessionId(1), buffer: BufferId(1) };
    let region = |start, end| Region { buffer, range: ByteRange { start, end }, version: Version(1) };
    let replica = |from, start, end| PeerMessage::Replica {
        from,
        region: region(start, end),
        bytes: Bytes::from_static(b"abcd"),
    };
    for nonsense in [
        replica(AgentId(9), 0, 4),
        replica(named_id, 4, 0),
        replica(named_id, 0, 5),
        replica(named_id, 0, u64::MAX),
        PeerMessage::Hello { agent: named_id },
    ] {
        let (_endpoint, connection) =
            dial(&authority, Role::Agent, "named", agent.address, Role::Agent).await;
        let (sender, _receiver) = connection.take_control();
        sender.send(&PeerMessage::Hello { agent: named_id }).unwrap();
        sender.send(&replica(named_id, 0, 4)).unwrap();
        sender.send(&nonsense).unwrap();
        closes_with(&connection, CloseCode::ProtocolViolation).await;
    }
    // The right name with another's certificate.
    let (_endpoint, connection) = dial(&authority, Role::Agent, "other", agent.address, Role::Agent).await;
    let (sender, _receiver) = connection.take_control();
    sender.send(&PeerMessage::Hello { agent: named_id }).unwrap();
    closes_with(&connection, CloseCode::ProtocolViolation).await;
    let mut client = Client::open(&authority, scheduler.address).await;
    check_crossing(&mut client).await;
    agent.stop().await.unwrap();
    named.stop().await.unwrap();
    scheduler.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_administrators_shutdown_stops_agents_too() {
    let authority = Authority::create("test").unwrap();
    let scheduler = start_scheduler(&authority, ANY.parse().unwrap());
    let agent = start_agent(&authority, "agent", scheduler.address, |_| {});
    agents(&authority, scheduler.address, 1).await;
    let (_endpoint, connection) =
        dial(&authority, Role::Admin, "admin", scheduler.address, Role::Scheduler).await;
    let (sender, _receiver) = connection.take_control();
    sender.send(&ClientRequest::Ask { question_id: 1, question: Question::Shutdown }).unwrap();
    within(agent.task).await.unwrap().unwrap();
    within(scheduler.task).await.unwrap();
    drop((agent.stop, scheduler.stop));
}

#[tokio::test]
async fn unfit_options_are_refused_with_what_is_wrong() {
    let authority = Authority::create("test").unwrap();
    let options = |role, devices| {
        AgentOptions::new("127.0.0.1:1", ANY.parse().unwrap(), issue(&authority, role, "a"), devices)
    };
    let bound = BoundAgent::bind(options(Role::Scheduler, devices()));
    assert!(matches!(bound, Err(AgentError::Role { role: Role::Scheduler })));
    let bound = BoundAgent::bind(options(Role::Agent, Box::new(|_| Err("no driver".into()))));
    let Err(AgentError::Backend(error)) = bound else { panic!("bound") };
    assert_eq!(error.to_string(), "no driver");
}
