//! Sessions against a scripted scheduler and scripted agents over real connections.

#![expect(clippy::disallowed_methods, reason = "it tells how long things took")]

mod farm;

use std::time::{Duration, Instant};

use bytes::Bytes;
use farm::{FakeFarm, INLINE_BYTES_MAX, Peer, data_header, welcome};
use isochrone_client::{AskError, CommandError, Farm, OpenError, SessionOptions};
use isochrone_model::message::{
    AgentAddress, AgentToClient, Answer, BulkHeader, ClientReply, ClientRequest, Explanation, FarmStatus,
    ProgramFacts, Question, RelayTarget, RequestName,
};
use isochrone_model::{
    AgentId, BufferId, CommandId, CommandKind, Payload, ProgramId, SessionId, Span, TaskId,
};

/// Long enough for loopback, short enough for a test that fails.
async fn soon<F: IntoFuture>(future: F) -> F::Output {
    tokio::time::timeout(Duration::from_secs(10), future.into_future()).await.expect("too late")
}

fn done(command: CommandId) -> AgentToClient {
    AgentToClient::Done { command, execution: Span(5) }
}

#[tokio::test]
async fn a_session_opens_runs_and_closes() {
    let mut fake = FakeFarm::start().await;
    let (agent, address) = fake.agent(1);
    let (session, mut scheduler) = fake.open(1, vec![address]).await;
    let agent = welcome(&agent, 1).await;
    assert_eq!(session.id(), Some(SessionId(1)));

    let program = session.program("source").build();
    let launch = session.launch(&program, "k").range([8]).scalar(1_u32).enqueue();
    let request = scheduler.request().await;
    assert!(matches!(request, ClientRequest::CreateProgram { program: ProgramId(1), .. }));
    let facts = ProgramFacts { kernels: Vec::new(), devices: 1, failures: Vec::new() };
    scheduler.reply(&ClientReply::Program { program: ProgramId(1), outcome: Ok(facts.clone()) });
    assert_eq!(soon(program.built()).await, Ok(facts));
    let commands = scheduler.commands().await;
    agent.say(&done(commands[0].id));
    assert_eq!(soon(&launch).await, Ok(Span(5)));
    agent.say(&done(commands[0].id));

    let explaining = tokio::spawn({
        let session = session.clone();
        async move { session.explain(&launch).await }
    });
    let explanation = Explanation { command: CommandId(1), state: "finished".to_owned(), decision: None };
    let question = Question::Explain { command: CommandId(1) };
    scheduler.answer(question, Answer::Explanation(explanation.clone())).await;
    assert_eq!(soon(explaining).await.unwrap().unwrap(), explanation);

    drop(program);
    let closing = tokio::spawn(session.close());
    assert_eq!(scheduler.request().await, ClientRequest::ReleaseProgram { program: ProgramId(1) });
    assert_eq!(scheduler.request().await, ClientRequest::Close);
    scheduler.reply(&ClientReply::Closed { reason: "closed".to_owned() });
    assert_eq!(soon(closing).await.unwrap(), Ok(()));

    let farm = fake.farm.clone();
    let asking = tokio::spawn(async move { (farm.status().await, farm.shutdown().await) });
    fake.asker.answer(Question::Status, Answer::Status(Box::default())).await;
    fake.asker.answer(Question::Shutdown, Answer::Refused { reason: "no".to_owned() }).await;
    let (status, shutdown) = soon(asking).await.unwrap();
    assert_eq!(status.unwrap(), FarmStatus::default());
    assert!(matches!(shutdown, Err(AskError::Refused { .. })));
    soon(fake.farm.close()).await;
}

#[tokio::test]
async fn a_refused_session_says_why() {
    let fake = FakeFarm::start().await;
    let refusing = async {
        let mut peer = Peer::accept(&fake.scheduler).await;
        peer.request().await;
        let error = CommandError::Policy { reason: "none is called so".to_owned() };
        peer.reply(&ClientReply::RequestFailed { request: RequestName::Open, error });
        peer
    };
    let (opened, _peer) = tokio::join!(fake.farm.session(SessionOptions::new()), refusing);
    assert!(matches!(opened, Err(OpenError::Refused(CommandError::Policy { .. }))), "{opened:?}");
}

#[tokio::test]
async fn what_is_enqueued_while_a_session_begins_travels_with_its_opening() {
    let fake = FakeFarm::start().await;
    let farm = soon(Farm::connect_lazy(fake.options.clone())).await.unwrap();
    let session = farm.begin_session(SessionOptions::new());
    assert_eq!(session.id(), None);
    let buffer = session.buffer(4);
    let write = session.write(&buffer, 0, [7_u8; 4]).enqueue();
    let mut peer = soon(Peer::accept(&fake.scheduler)).await;
    // All of it is here before the farm has said a word.
    assert_eq!(soon(peer.request()).await, ClientRequest::Open { policy: String::new() });
    assert!(matches!(soon(peer.request()).await, ClientRequest::CreateBuffer { size_bytes: 4, .. }));
    let commands = soon(peer.commands()).await;
    assert_eq!(Some(commands[0].id), write.id());
    peer.opened(1, Vec::new());
    // And what comes later follows.
    let marker = session.marker().enqueue();
    assert_eq!(Some(soon(peer.commands()).await[0].id), marker.id());
    peer.reply(&ClientReply::Relayed(done(commands[0].id)));
    assert_eq!(soon(&write).await, Ok(Span(5)));
    assert_eq!(session.id(), Some(SessionId(1)));
}

#[tokio::test]
async fn commands_of_a_session_that_is_refused_say_why() {
    let fake = FakeFarm::start().await;
    let session = fake.farm.begin_session(SessionOptions::new().policy("odd"));
    let marker = session.marker().enqueue();
    let mut peer = soon(Peer::accept(&fake.scheduler)).await;
    assert_eq!(soon(peer.request()).await, ClientRequest::Open { policy: "odd".to_owned() });
    let error = CommandError::Policy { reason: "none is called so".to_owned() };
    peer.reply(&ClientReply::RequestFailed { request: RequestName::Open, error });
    let Err(CommandError::SessionClosed { reason }) = soon(&marker).await else { panic!("it succeeded") };
    assert!(reason.contains("none is called so"), "{reason}");
    assert_eq!(session.closed_reason(), Some(reason));
    // Later ones too.
    assert!(matches!(soon(session.marker().enqueue()).await, Err(CommandError::SessionClosed { .. })));
}

#[tokio::test]
async fn contents_go_inline_or_to_the_agent_that_is_named_and_again_to_another() {
    let fake = FakeFarm::start().await;
    let (first, first_address) = fake.agent(1);
    let (second, second_address) = fake.agent(2);
    let (session, mut scheduler) = fake.open(1, vec![first_address]).await;
    let first = welcome(&first, 1).await;
    scheduler.reply(&ClientReply::AgentJoined { agent: second_address });
    let second = welcome(&second, 1).await;

    let small = vec![1_u8; INLINE_BYTES_MAX as usize];
    let large = vec![2_u8; 3 << 20];
    let buffer = session.buffer(4 << 20);
    session.write(&buffer, 0, small.clone()).enqueue();
    let write = session.write(&buffer, 4_096, large.clone()).enqueue();
    let mut commands = Vec::new();
    while commands.len() < 2 {
        commands.extend(scheduler.commands().await);
    }
    assert_eq!(
        commands[0].kind,
        CommandKind::Write {
            buffer: BufferId(1),
            offset_bytes: 0,
            payload: Payload::Inline(Bytes::from(small)),
        }
    );
    let size_bytes = large.len() as u64;
    assert_eq!(
        commands[1].kind,
        CommandKind::Write {
            buffer: BufferId(1),
            offset_bytes: 4_096,
            payload: Payload::Stream { size_bytes },
        }
    );
    for (attempt, agent) in [(0, &first), (1, &second)] {
        let task = TaskId::new(5, attempt);
        let command = commands[1].id;
        let agent_id = AgentId(attempt + 1);
        scheduler.reply(&ClientReply::SendPayload { command, task, agent: agent_id });
        let (header, bytes) = soon(agent.contents()).await;
        assert_eq!(header, BulkHeader::Payload { session: SessionId(1), task, size_bytes });
        assert_eq!(bytes, large);
        assert!(!write.is_finished());
    }
    second.say(&done(commands[1].id));
    soon(write).await.unwrap();
}

#[tokio::test]
async fn a_read_is_put_together_from_pieces_of_two_agents() {
    let fake = FakeFarm::start().await;
    let (first, first_address) = fake.agent(1);
    let (second, second_address) = fake.agent(2);
    let (session, mut scheduler) = fake.open(1, vec![first_address, second_address]).await;
    let (first, second) = tokio::join!(welcome(&first, 1), welcome(&second, 1));

    let buffer = session.buffer_of::<u32>(100_000);
    let read = session.read(&buffer).enqueue();
    let nothing = session.read(&buffer).range(8..8).enqueue();
    assert_eq!(soon(nothing).await, Ok(Bytes::new()));
    let command = scheduler.commands().await[0].id;
    let expected: Vec<u32> = (0..100_000).collect();
    let bytes: Vec<u8> = expected.iter().flat_map(|value| value.to_le_bytes()).collect();
    let bytes = Bytes::from(bytes);

    // The end first, a piece twice, a completion that means nothing, pieces that fit no read.
    second.send_contents(&data_header(command, 200_000, 200_000), bytes.slice(200_000..)).await;
    second.send_unwanted(&data_header(command, 300_000, 200_000), bytes.slice(200_000..)).await;
    second.send_unwanted(&data_header(CommandId(77), 0, 1_000), bytes.slice(..1_000)).await;
    first.say(&done(command));
    let piece = AgentToClient::Data { command, offset_bytes: 0, bytes: bytes.slice(..1_000) };
    first.say(&piece);
    first.say(&piece);
    assert!(!read.is_finished());
    first.send_contents(&data_header(command, 500, 199_500), bytes.slice(500..200_000)).await;
    assert_eq!(soon(read.to_vec::<u32>()).await.unwrap(), expected);
    assert_eq!(read.handle().execution(), Some(Span(5)));
    first.say(&piece);
}

#[tokio::test]
async fn failures_reach_their_handles() {
    let fake = FakeFarm::start().await;
    let (session, mut scheduler) = fake.open(1, Vec::new()).await;
    let buffer = session.buffer(8);
    let fill = session.fill(&buffer, 0_u8).enqueue();
    let read = session.read(&buffer).enqueue();
    let mut commands = Vec::new();
    while commands.len() < 2 {
        commands.extend(scheduler.commands().await);
    }
    fill.cancel();
    assert_eq!(scheduler.request().await, ClientRequest::Cancel { commands: vec![CommandId(1)] });
    let error = CommandError::Cancelled;
    scheduler.reply(&ClientReply::Failed { command: CommandId(1), error: error.clone() });
    let dependent = CommandError::of_dependent(CommandId(1), &error);
    scheduler.reply(&ClientReply::Failed { command: CommandId(2), error: dependent.clone() });
    assert_eq!(soon(fill).await, Err(error));
    assert_eq!(soon(read).await, Err(dependent));
    assert_eq!(soon(session.finish()).await, Ok(()));
}

#[tokio::test]
async fn an_agent_out_of_reach_is_reached_through_the_scheduler() {
    let fake = FakeFarm::start().await;
    let nobody = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = AgentAddress {
        agent: AgentId(3),
        name: "agent-3".to_owned(),
        address: nobody.local_addr().unwrap().to_string(),
    };
    let (session, mut scheduler) = fake.open(1, vec![address]).await;
    let buffer = session.buffer(100_000);
    let contents = vec![9_u8; 100_000];
    let write = session.write(&buffer, 0, contents.clone()).enqueue();
    let read = session.read(&buffer).enqueue();
    let mut commands = Vec::new();
    while commands.len() < 2 {
        commands.extend(scheduler.commands().await);
    }
    let task = TaskId::new(1, 0);
    scheduler.reply(&ClientReply::SendPayload { command: commands[0].id, task, agent: AgentId(3) });
    let (header, bytes) = soon(scheduler.contents()).await;
    let direct = BulkHeader::Payload { session: SessionId(1), task, size_bytes: 100_000 };
    let to = RelayTarget::Agent(AgentId(3));
    assert_eq!(header, BulkHeader::Relay { to, header: Box::new(direct) });
    assert_eq!(bytes, contents);

    scheduler.reply(&ClientReply::Relayed(done(commands[0].id)));
    soon(write).await.unwrap();
    let half = Bytes::from(contents).slice(..50_000);
    let header = data_header(commands[1].id, 0, 50_000);
    scheduler.send_contents(&header, half.clone()).await;
    let header = BulkHeader::Relay {
        to: RelayTarget::Session(SessionId(1)),
        header: Box::new(data_header(commands[1].id, 50_000, 50_000)),
    };
    scheduler.send_contents(&header, half).await;
    assert_eq!(soon(read).await.unwrap(), vec![9_u8; 100_000]);
}

#[tokio::test]
async fn a_lost_agent_is_dialled_again() {
    let fake = FakeFarm::start().await;
    let (endpoint, address) = fake.agent(1);
    let (session, mut scheduler) = fake.open(1, vec![address]).await;
    drop(welcome(&endpoint, 1).await);
    let agent = soon(welcome(&endpoint, 1)).await;
    let marker = session.marker().enqueue();
    agent.say(&done(scheduler.commands().await[0].id));
    soon(marker).await.unwrap();
}

#[tokio::test]
async fn the_loss_of_the_scheduler_fails_what_is_open() {
    let fake = FakeFarm::start().await;
    let (session, mut scheduler) = fake.open(1, Vec::new()).await;
    let program = session.program("source").build();
    let marker = session.marker().enqueue();
    scheduler.commands().await;
    drop(scheduler);
    let error = soon(&marker).await.unwrap_err();
    assert!(matches!(&error, CommandError::SessionClosed { .. }), "{error}");
    assert_eq!(soon(program.built()).await, Err(error.clone()));
    assert_eq!(session.marker().enqueue().outcome(), Some(Err(error)));
    assert!(session.closed_reason().is_some());
    assert!(soon(session.close()).await.is_err());
}

#[tokio::test]
async fn the_schedulers_word_on_the_end_is_kept() {
    let fake = FakeFarm::start().await;
    let (session, mut scheduler) = fake.open(1, Vec::new()).await;
    let marker = session.marker().enqueue();
    scheduler.commands().await;
    scheduler.reply(&ClientReply::Closed { reason: "the farm is shutting down".to_owned() });
    let reason = "the farm is shutting down".to_owned();
    assert_eq!(soon(marker).await, Err(CommandError::SessionClosed { reason }));
}

#[tokio::test]
async fn dropping_a_session_closes_it_and_what_finishes_before_still_counts() {
    let fake = FakeFarm::start().await;
    let (session, mut scheduler) = fake.open(1, Vec::new()).await;
    let buffer = session.buffer(8);
    let fill = session.fill(&buffer, 1_u8).enqueue();
    let other = session.marker().enqueue();
    drop(session);
    drop(buffer);
    let mut commands = Vec::new();
    while commands.len() < 2 {
        commands.extend(scheduler.commands().await);
    }
    assert_eq!(scheduler.request().await, ClientRequest::Close);
    scheduler.reply(&ClientReply::Relayed(done(commands[0].id)));
    scheduler.reply(&ClientReply::Closed { reason: "closed".to_owned() });
    soon(fill).await.unwrap();
    assert!(matches!(soon(other).await, Err(CommandError::SessionClosed { .. })));
}

#[tokio::test]
async fn sessions_share_the_farm_and_not_their_ends() {
    let fake = FakeFarm::start().await;
    let (first, first_scheduler) = fake.open(1, Vec::new()).await;
    let (second, mut second_scheduler) = fake.open(2, Vec::new()).await;
    let lost = first.marker().enqueue();
    let kept = second.marker().enqueue();
    drop(first_scheduler);
    assert!(soon(lost).await.is_err());
    let command = second_scheduler.commands().await[0].id;
    second_scheduler.reply(&ClientReply::Relayed(done(command)));
    soon(kept).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_commands_go_out_and_come_back() {
    const COUNT: usize = 10_000;
    let fake = FakeFarm::start().await;
    let (agent, address) = fake.agent(1);
    let (session, mut scheduler) = fake.open(1, vec![address]).await;
    let agent = welcome(&agent, 1).await;
    let answering = tokio::spawn(async move {
        let (mut batches, mut last) = (0, CommandId(0));
        let mut answered = 0;
        while answered < COUNT {
            let commands = scheduler.commands().await;
            batches += 1;
            answered += commands.len();
            for command in commands {
                assert!(command.id > last);
                last = command.id;
                agent.say(&done(command.id));
            }
        }
        (batches, scheduler, agent)
    });
    let program = session.program("source").build();
    let buffer = session.buffer(64);
    let begun = Instant::now();
    let handles: Vec<_> = (0..COUNT)
        .map(|_| session.launch(&program, "nothing").range([64]).buffer(&buffer).enqueue())
        .collect();
    let enqueued = begun.elapsed();
    soon(session.finish()).await.unwrap();
    let finished = begun.elapsed();
    let (batches, ..) = soon(answering).await.unwrap();
    println!("{COUNT} launches: enqueued in {enqueued:?}, finished in {finished:?}, {batches} batches");
    assert!(handles.iter().all(|handle| handle.execution() == Some(Span(5))));
    assert_eq!(session.open_commands(), 0);
}
