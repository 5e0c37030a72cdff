//! The live scheduler over loopback, with peers written by hand.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use isochrone_model::message::{
    AgentHello, AgentToClient, AgentToScheduler, Answer, BulkHeader, ClientReply, ClientRequest, FarmStatus,
    PeerMessage, Question, RelayTarget, RequestName, SchedulerToAgent,
};
use isochrone_model::{
    AgentFacts, AgentId, BufferId, BufferKey, ByteRange, CommandId, Order, Region, SessionId, Span, TaskId,
    Version,
};
use isochrone_protocol::Limits;
use isochrone_scheduler::{BoundScheduler, ReplayError, SchedulerOptions, StartError, replay};
use isochrone_transport::{
    Authority, CloseCode, CloseReason, ConnectError, Connection, ControlReceiver, ControlSender, Endpoint,
    Identity, Role, TransportOptions,
};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

const DAY: Duration = Duration::from_secs(86_400);
const PATIENCE: Duration = Duration::from_secs(20);
const ANY: &str = "127.0.0.1:0";

struct Farm {
    authority: Authority,
    address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    running: JoinHandle<()>,
}

struct Peer {
    _endpoint: Endpoint,
    connection: Connection,
    sender: ControlSender,
    receiver: ControlReceiver,
}

impl Farm {
    fn start(adjust: impl FnOnce(&mut SchedulerOptions)) -> Self {
        let authority = Authority::create("test").unwrap();
        let identity = issue(&authority, Role::Scheduler, "scheduler");
        let mut options = SchedulerOptions::new(ANY.parse().unwrap(), identity);
        adjust(&mut options);
        let bound = BoundScheduler::bind(options).unwrap();
        let address = bound.local_address();
        let (stop, stopped) = oneshot::channel();
        let running = tokio::spawn(bound.run(async {
            let _ = stopped.await;
        }));
        Self { authority, address, stop: Some(stop), running }
    }

    async fn stop(mut self) {
        drop(self.stop.take());
        within(self.running).await.unwrap();
    }

    async fn dial(&self, role: Role, name: &str) -> Peer {
        self.dial_with(role, name, TransportOptions::new()).await
    }

    async fn dial_with(&self, role: Role, name: &str, options: TransportOptions) -> Peer {
        let identity = issue(&self.authority, role, name);
        let endpoint = Endpoint::bind(ANY.parse().unwrap(), &identity, options).unwrap();
        let connection = endpoint.connect(self.address, Role::Scheduler, None).await.unwrap();
        let (sender, receiver) = connection.take_control();
        Peer { _endpoint: endpoint, connection, sender, receiver }
    }

    async fn agent(&self, name: &str) -> (Peer, AgentId) {
        let mut peer = self.dial(Role::Agent, name).await;
        peer.say(&hello(name));
        let welcome = peer.hear::<SchedulerToAgent>().await;
        let SchedulerToAgent::Welcome { agent, inline_bytes_max } = welcome else {
            panic!("{welcome:?}");
        };
        assert_eq!(inline_bytes_max, 2_048);
        (peer, agent)
    }

    async fn session(&self, name: &str) -> (Peer, SessionId) {
        let mut peer = self.dial(Role::Client, name).await;
        peer.say(&ClientRequest::Open { policy: String::new() });
        let ClientReply::Opened { session, .. } = peer.hear().await else { panic!("not opened") };
        (peer, session)
    }

    async fn status(&self) -> FarmStatus {
        let mut admin = self.dial(Role::Admin, "watcher").await;
        match admin.ask(Question::Status).await {
            Answer::Status(status) => *status,
            answer => panic!("{answer:?}"),
        }
    }
}

impl Peer {
    fn say(&self, message: &impl serde::Serialize) {
        self.sender.send(message).unwrap();
    }

    async fn hear<T: serde::de::DeserializeOwned>(&mut self) -> T {
        within(self.receiver.receive::<T>()).await.unwrap().expect("the connection goes on")
    }

    /// What an agent hears next, apart from orders.
    async fn hear_beside_orders(&mut self) -> SchedulerToAgent {
        loop {
            match self.hear::<SchedulerToAgent>().await {
                SchedulerToAgent::Orders(_) => {}
                message => return message,
            }
        }
    }

    async fn ask(&mut self, question: Question) -> Answer {
        self.say(&ClientRequest::Ask { question_id: 77, question });
        loop {
            if let ClientReply::Answer { question_id, answer } = self.hear().await {
                assert_eq!(question_id, 77);
                return answer;
            }
        }
    }

    /// What the scheduler says when it closes the connection.
    async fn is_closed_with(&self, expected: CloseCode) -> String {
        match within(self.connection.closed()).await {
            CloseReason::Peer { code, reason } if code == expected => reason,
            other => panic!("expected {expected}, got {other:?}"),
        }
    }
}

async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.expect("in time")
}

fn issue(authority: &Authority, role: Role, name: &str) -> Identity {
    let tenant = role.has_tenant().then_some(name);
    authority.issue(role, name, tenant, DAY).unwrap().identity().unwrap()
}

fn hello(name: &str) -> AgentToScheduler {
    let facts = AgentFacts {
        name: name.to_owned(),
        address: "127.0.0.1:9".to_owned(),
        devices: Vec::new(),
        host_memory_bytes: 1 << 30,
    };
    AgentToScheduler::Hello(AgentHello { facts })
}

fn region(size_bytes: u64) -> Region {
    let buffer = BufferKey { session: SessionId(1), buffer: BufferId(1) };
    Region { buffer, range: ByteRange::new(0, size_bytes), version: Version(1) }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn agents_that_break_the_protocol_are_closed_alone() {
    let farm = Farm::start(|_| {});
    let (mut good, _) = farm.agent("good").await;

    let bad = farm.dial(Role::Agent, "bad").await;
    bad.say(&hello("good"));
    assert!(bad.is_closed_with(CloseCode::ProtocolViolation).await.contains("certificate"));

    let bad = farm.dial(Role::Agent, "bad").await;
    bad.say(&AgentToScheduler::Reports(Vec::new()));
    assert!(bad.is_closed_with(CloseCode::ProtocolViolation).await.contains("hello"));

    let (bad, _) = farm.agent("bad").await;
    bad.say(&hello("bad"));
    assert!(bad.is_closed_with(CloseCode::ProtocolViolation).await.contains("second hello"));

    let (bad, _) = farm.agent("bad").await;
    bad.say(&"what no process of this farm says");
    bad.is_closed_with(CloseCode::ProtocolViolation).await;

    // The certificate says agent: what a client would say does not even decode.
    let bad = farm.dial(Role::Agent, "bad").await;
    bad.say(&ClientRequest::Open { policy: String::new() });
    bad.is_closed_with(CloseCode::ProtocolViolation).await;

    good.say(&AgentToScheduler::RelayToPeer {
        to: AgentId(0),
        message: PeerMessage::Notice { task: TaskId(1), dependent: TaskId(2) },
    });
    let relayed =
        SchedulerToAgent::RelayedPeer(PeerMessage::Notice { task: TaskId(1), dependent: TaskId(2) });
    assert_eq!(good.hear_beside_orders().await, relayed);
    farm.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_need_a_session_for_all_but_questions() {
    let farm = Farm::start(|_| {});
    let mut asker = farm.dial(Role::Client, "asker").await;
    assert_eq!(asker.ask(Question::Devices).await, Answer::Devices(Vec::new()));
    let Answer::Refused { reason } = asker.ask(Question::Shutdown).await else { panic!("accepted") };
    assert!(reason.contains("administrator"), "{reason}");
    let Answer::Refused { .. } = asker.ask(Question::Explain { command: CommandId(1) }).await else {
        panic!("explained");
    };
    asker.say(&ClientRequest::CreateBuffer { buffer: BufferId(1), size_bytes: 4 });
    assert!(asker.is_closed_with(CloseCode::ProtocolViolation).await.contains("before `Open`"));

    let (twice, _) = farm.session("twice").await;
    twice.say(&ClientRequest::Open { policy: String::new() });
    assert!(twice.is_closed_with(CloseCode::ProtocolViolation).await.contains("second `Open`"));
    farm.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn frames_beyond_the_farms_limit_close_their_sender_alone() {
    let farm = Farm::start(|_| {});
    let (mut good, _) = farm.session("good").await;
    let mut options = TransportOptions::new();
    // This peer allows itself more than the farm does.
    let control_frame_bytes_max = 64 << 20;
    options
        .limits(Limits { control_frame_bytes_max, ..Limits::default() })
        .control_queue_bytes_max(control_frame_bytes_max);
    let bad = farm.dial_with(Role::Client, "bad", options).await;
    bad.say(&ClientRequest::Open { policy: "x".repeat(Limits::default().control_frame_bytes_max) });
    let reason = bad.is_closed_with(CloseCode::LimitExceeded).await;
    assert!(reason.contains("bytes"), "{reason}");
    let Answer::Status(status) = good.ask(Question::Status).await else { panic!("no status") };
    assert_eq!(status.sessions.len(), 1, "the session of another goes on");
    farm.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn strangers_are_told_why_they_do_not_get_in_and_others_go_on() {
    let farm = Farm::start(|_| {});
    let (mut good, _) = farm.session("good").await;

    // Of another farm's authority: each side finds the other's certificate wanting.
    let other = Authority::create("other").unwrap();
    let identity = issue(&other, Role::Client, "stranger");
    let endpoint = Endpoint::bind(ANY.parse().unwrap(), &identity, TransportOptions::new()).unwrap();
    let error = within(endpoint.connect(farm.address, Role::Scheduler, None)).await.unwrap_err();
    assert!(matches!(error, ConnectError::TheirCertificate { .. }), "{error:?}");

    // Of this farm, in a role that is not served.
    let identity = issue(&farm.authority, Role::Scheduler, "second");
    let endpoint = Endpoint::bind(ANY.parse().unwrap(), &identity, TransportOptions::new()).unwrap();
    let error = within(endpoint.connect(farm.address, Role::Scheduler, None)).await.unwrap_err();
    assert!(matches!(error, ConnectError::RoleRefused { .. }), "{error:?}");
    assert!(error.to_string().contains("agent, client, admin"), "{error}");

    let Answer::Status(status) = good.ask(Question::Status).await else { panic!("no status") };
    assert_eq!(status.sessions.len(), 1);
    farm.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sessions_are_counted_and_end_with_their_connection() {
    let farm = Farm::start(|_| {});
    let (first, first_id) = farm.session("one").await;
    let (mut second, second_id) = farm.session("two").await;
    assert_ne!(first_id, second_id);
    let Answer::Status(seen) = second.ask(Question::Status).await else { panic!("no status") };
    let tenants: Vec<&str> = seen.sessions.iter().map(|session| session.tenant.as_str()).collect();
    assert_eq!(tenants, ["two"], "other tenants' sessions are not shown");
    assert_eq!(farm.status().await.sessions.len(), 2);

    first.connection.close(CloseCode::Done, "");
    second.say(&ClientRequest::Close);
    loop {
        match within(second.receiver.receive::<ClientReply>()).await.unwrap() {
            Some(ClientReply::Closed { .. }) | None => break,
            Some(_) => {}
        }
    }
    within(async {
        while !farm.status().await.sessions.is_empty() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
    farm.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unknown_policy_is_refused_with_its_reason() {
    let farm = Farm::start(|_| {});
    let mut peer = farm.dial(Role::Client, "client").await;
    peer.say(&ClientRequest::Open { policy: "no-such-policy".to_owned() });
    let reply = peer.hear::<ClientReply>().await;
    let ClientReply::RequestFailed { request: RequestName::Open, error } = reply else { panic!("{reply:?}") };
    assert!(error.to_string().contains("no-such-policy"), "{error}");
    farm.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_said_to_a_session_that_is_refused_hides_no_reason() {
    let farm = Farm::start(|_| {});
    let mut peer = farm.dial(Role::Client, "client").await;
    peer.say(&ClientRequest::Open { policy: "no-such-policy".to_owned() });
    // As a client may that does not wait for its session.
    for number in 1..=100 {
        // The connection may be over by now.
        let _ = peer.sender.send(&ClientRequest::CreateBuffer { buffer: BufferId(number), size_bytes: 4 });
    }
    let reply = peer.hear::<ClientReply>().await;
    assert!(matches!(reply, ClientReply::RequestFailed { request: RequestName::Open, .. }), "{reply:?}");
    peer.is_closed_with(CloseCode::Done).await;
    farm.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_that_comes_back_keeps_its_id() {
    let farm = Farm::start(|_| {});
    let (first, first_id) = farm.agent("a").await;
    let (mut other, other_id) = farm.agent("b").await;
    assert_ne!(first_id, other_id);
    // Without a word: the old connection is still thought to be there.
    let (_again, again_id) = farm.agent("a").await;
    assert_eq!(again_id, first_id);
    assert!(first.is_closed_with(CloseCode::Done).await.contains("anew"));
    let mut heard = Vec::new();
    while heard.len() < 3 {
        let SchedulerToAgent::Orders(batch) = other.hear().await else { continue };
        heard.extend(batch.orders.into_iter().filter_map(|order| match order {
            Order::PeerJoined { agent, .. } => Some((agent, true)),
            Order::PeerLeft { agent } => Some((agent, false)),
            _ => None,
        }));
    }
    assert_eq!(heard, [(first_id, true), (first_id, false), (first_id, true)]);
    let names: Vec<String> = farm.status().await.agents.into_iter().map(|agent| agent.name).collect();
    assert_eq!(names, ["a", "b"]);
    farm.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn streams_are_passed_on_whole_and_refused_in_anothers_name() {
    let farm = Farm::start(|_| {});
    let (a, a_id) = farm.agent("a").await;
    let (b, b_id) = farm.agent("b").await;
    let contents = Bytes::from((0..9_000_000_u32).map(|byte| byte as u8).collect::<Vec<u8>>());
    let replica = BulkHeader::Replica { from: a_id, region: region(contents.len() as u64) };
    let relayed = |to, header: &BulkHeader| BulkHeader::Relay { to, header: Box::new(header.clone()) };
    let sending = async {
        let header = relayed(RelayTarget::Agent(b_id), &replica);
        let mut stream = a.connection.open_bulk(&header).await.unwrap();
        stream.send(contents.clone()).await.unwrap();
        stream.finish().await.unwrap();
    };
    let receiving = async {
        let (header, stream) = b.connection.accept_bulk::<BulkHeader>().await.unwrap().unwrap();
        assert_eq!(header, replica);
        assert_eq!(stream.receive_exact(contents.len() as u64).await.unwrap(), contents);
    };
    within(async { tokio::join!(sending, receiving) }).await;

    // An agent that is not there: the sender is told, and keeps its connection.
    let header = relayed(RelayTarget::Agent(AgentId(40)), &replica);
    let mut stream = a.connection.open_bulk(&header).await.unwrap();
    let stopped = within(async {
        loop {
            if let Err(error) = stream.send(contents.slice(..65_536)).await {
                return error;
            }
        }
    });
    assert!(stopped.await.to_string().contains("stopped"));
    assert_eq!(a.connection.close_reason(), None);

    let header = relayed(RelayTarget::Agent(a_id), &replica);
    let _stream = b.connection.open_bulk(&header).await.unwrap();
    b.is_closed_with(CloseCode::ProtocolViolation).await;
    farm.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_for_a_client_are_passed_on() {
    let farm = Farm::start(|_| {});
    let (agent, _) = farm.agent("a").await;
    let (mut client, session) = farm.session("client").await;
    let message = AgentToClient::Done { command: CommandId(3), execution: Span(5) };
    agent.say(&AgentToScheduler::RelayToClient { session, message: message.clone() });
    loop {
        if let ClientReply::Relayed(relayed) = client.hear().await {
            assert_eq!(relayed, message);
            break;
        }
    }
    farm.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_administrator_stops_the_farm_once_sessions_have_ended() {
    let farm = Farm::start(|_| {});
    let (mut agent, _) = farm.agent("a").await;
    let (client, _) = farm.session("client").await;
    let mut admin = farm.dial(Role::Admin, "admin").await;
    assert_eq!(admin.ask(Question::Shutdown).await, Answer::Accepted);
    let mut late = farm.dial(Role::Client, "late").await;
    late.say(&ClientRequest::Open { policy: String::new() });
    let ClientReply::RequestFailed { request: RequestName::Open, .. } = late.hear().await else {
        panic!("opened");
    };
    assert!(!farm.running.is_finished());
    client.say(&ClientRequest::Close);
    assert_eq!(agent.hear_beside_orders().await, SchedulerToAgent::Shutdown);
    within(farm.running).await.unwrap();
    drop(farm.stop);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_live_runs_journal_replays_without_a_difference_and_costs_are_kept() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| -> PathBuf { folder.path().join(name) };
    let farm = Farm::start(|options| {
        options.journal(file("journal")).costs_file(file("costs"));
    });
    let (_agent, _) = farm.agent("a").await;
    let (mut client, _) = farm.session("client").await;
    client.say(&ClientRequest::CreateBuffer { buffer: BufferId(1), size_bytes: 4 });
    client.ask(Question::Status).await;
    farm.stop().await;
    let report = replay(&file("journal")).unwrap();
    assert_eq!((report.mismatch, report.truncated_at_bytes), (None, None));
    assert!(report.events >= 4 && report.actions >= 1, "{} events", report.events);

    // The next scheduler takes the costs up, and refuses what is none.
    let authority = Authority::create("test").unwrap();
    let mut options =
        SchedulerOptions::new(ANY.parse().unwrap(), issue(&authority, Role::Scheduler, "scheduler"));
    options.costs_file(file("costs"));
    assert!(BoundScheduler::bind(options.clone()).is_ok());
    options.costs_file(file("journal"));
    assert!(matches!(BoundScheduler::bind(options), Err(StartError::Costs(_))));
    assert!(matches!(replay(&file("costs")), Err(ReplayError::NotAJournal { .. })));
}

#[tokio::test]
async fn unfit_options_are_refused_with_what_is_wrong() {
    let authority = Authority::create("test").unwrap();
    let as_agent = SchedulerOptions::new(ANY.parse().unwrap(), issue(&authority, Role::Agent, "a"));
    assert!(matches!(BoundScheduler::bind(as_agent), Err(StartError::Role { role: Role::Agent })));
    let mut odd = SchedulerOptions::new(ANY.parse().unwrap(), issue(&authority, Role::Scheduler, "s"));
    odd.policy("no-such-policy");
    let Err(StartError::Policy(error)) = BoundScheduler::bind(odd) else { panic!("bound") };
    assert!(error.to_string().contains("no-such-policy"), "{error}");
}
