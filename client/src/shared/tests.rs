//! What goes out, and how ends reach the handles, without a connection.

#![expect(clippy::disallowed_methods, reason = "it tells how long things took")]

use std::time::{Duration, Instant};

use isochrone_model::{Argument, Payload};

use super::*;
use crate::session::Session;

fn session() -> (Session, Arc<Shared>) {
    let shared = Arc::new(Shared::new());
    shared.opened(Terms { session: SessionId(1), secret: SessionSecret([1; 16]), inline_bytes_max: 64 });
    (Session::new(Arc::clone(&shared), Duration::from_secs(1)), shared)
}

fn commands(request: &ClientRequest) -> &[Command] {
    match request {
        ClientRequest::Submit { commands } => commands,
        other => panic!("not a batch: {other:?}"),
    }
}

#[tokio::test]
async fn what_is_enqueued_together_travels_together_and_in_order() {
    let (session, shared) = session();
    let program = session.program("source").options("-O").build();
    let buffer = session.buffer(16);
    let first = session.write(&buffer, 0, [1_u8; 16]).enqueue();
    let second = session
        .launch(&program, "k")
        .range([4, 2])
        .local([2, 1])
        .read_write(&buffer)
        .part(0..8)
        .scalar(1_u32)
        .after(&first)
        .label("second")
        .enqueue();
    drop(buffer);
    let requests = shared.take_requests().await;
    assert_eq!(requests.len(), 4, "{requests:?}");
    assert!(matches!(requests[0], ClientRequest::CreateProgram { program: ProgramId(1), .. }));
    assert_eq!(requests[1], ClientRequest::CreateBuffer { buffer: BufferId(1), size_bytes: 16 });
    let batch = commands(&requests[2]);
    assert_eq!(batch.len(), 2);
    assert_eq!(Some(batch[0].id), first.id());
    assert_eq!((batch[1].after.as_slice(), batch[1].label.as_str()), (&[CommandId(1)][..], "second"));
    let CommandKind::Launch(launch) = &batch[1].kind else { panic!("no launch") };
    assert_eq!((launch.range.global, launch.range.local), ([4, 2, 1], [2, 1, 1]));
    assert_eq!(launch.arguments.len(), 2);
    assert_eq!(requests[3], ClientRequest::ReleaseBuffer { buffer: BufferId(1) });
    assert_eq!(second.id(), Some(CommandId(2)));
}

#[tokio::test]
async fn predecessors_that_finished_are_not_named() {
    let (session, shared) = session();
    let first = session.marker().enqueue();
    shared.take_requests().await;
    shared.done(CommandId(1), Span(9));
    assert_eq!(first.execution(), Some(Span(9)));
    session.marker().after(&first).enqueue();
    let requests = shared.take_requests().await;
    assert_eq!(commands(&requests[0])[0].after, []);
}

#[tokio::test]
async fn a_graph_is_one_batch_whose_members_may_come_after_later_ones() {
    let (session, shared) = session();
    let buffer = session.buffer(8);
    let alone = session.marker().enqueue();
    let mut graph = session.graph();
    let write = graph.write(&buffer, 0, [0_u8; 8]).enqueue();
    let nothing = graph.read(&buffer).range(4..4).enqueue();
    let read = graph.read(&buffer).after(&nothing).enqueue();
    graph.run_after(&write, &read);
    assert_eq!((write.id(), graph.len()), (None, 3));
    drop(buffer);
    let submitted = graph.submit().unwrap();
    assert_eq!(nothing.await, Ok(Bytes::new()));
    let requests = shared.take_requests().await;
    assert_eq!(requests.len(), 4, "{requests:?}");
    assert_eq!(commands(&requests[1])[0].id, alone.id().unwrap());
    let batch = commands(&requests[2]);
    assert_eq!(batch.len(), 2);
    assert_eq!(batch[0].after, [read.id().unwrap()]);
    assert_eq!(batch[1].after, []);
    assert!(matches!(requests[3], ClientRequest::ReleaseBuffer { .. }));
    shared.done(batch[0].id, Span(1));
    shared.data(batch[1].id, 0, &Bytes::from(vec![0; 8]));
    submitted.await.unwrap();
}

#[tokio::test]
async fn a_large_graph_is_split_and_dropping_a_graph_cancels_it() {
    let (session, shared) = session();
    let mut graph = session.graph();
    for _ in 0..10_000 {
        graph.marker().label("x".repeat(1_000)).enqueue();
    }
    graph.submit().unwrap();
    let requests = shared.take_requests().await;
    assert!(requests.len() > 1);
    assert_eq!(requests.iter().map(|request| commands(request).len()).sum::<usize>(), 10_000);

    let mut graph = session.graph();
    let first = graph.marker().enqueue();
    for _ in 0..10_000 {
        graph.marker().label("x".repeat(1_000)).enqueue();
    }
    let last = graph.marker().enqueue();
    graph.run_after(&first, &last);
    assert!(graph.submit().is_err());
    assert_eq!(first.await, Err(CommandError::Cancelled));
}

#[tokio::test]
async fn what_cannot_be_said_is_refused_by_the_farm_and_told_by_the_handle() {
    let (session, shared) = session();
    let (other, _other_shared) = self::session();
    let program = session.program("source").build();
    let buffer = session.buffer(8);
    let foreign = other.buffer(8);
    let mismatch = session.launch(&program, "k").range([4]).local([2, 2]).buffer(&buffer).enqueue();
    let strange = session.launch(&program, "k").part(0..4).range([4]).buffer(&foreign).enqueue();
    #[expect(clippy::reversed_empty_ranges, reason = "what a caller may do by mistake")]
    let reversed = session.read(&buffer).range(4..2).enqueue();
    let graph_member = session.graph().marker().enqueue();
    let stray = session.marker().after(&other.marker().enqueue()).after(&graph_member).enqueue();
    let requests = shared.take_requests().await;
    let batch = commands(&requests[2]);
    let CommandKind::Launch(launch) = &batch[0].kind else { panic!("no launch") };
    assert_eq!(launch.range.dimensions, 0);
    let CommandKind::Launch(launch) = &batch[1].kind else { panic!("no launch") };
    assert_eq!(launch.range.dimensions, 0);
    assert!(matches!(launch.arguments[0], Argument::Buffer(argument) if argument.buffer.0 == u64::MAX));
    assert_eq!(batch[3].after, [CommandId(u64::MAX); 2]);
    for command in batch {
        shared.failed(command.id, CommandError::Cancelled);
    }
    for handle in [&mismatch, &strange, reversed.handle(), &stray] {
        assert!(matches!(handle.await, Err(CommandError::Malformed { .. })), "{handle:?}");
    }
}

#[tokio::test]
async fn contents_are_kept_until_the_write_has_ended() {
    let (session, shared) = session();
    let buffer = session.buffer(65);
    let write = session.write(&buffer, 0, vec![5; 65]).enqueue();
    let requests = shared.take_requests().await;
    let command = &commands(&requests[1])[0];
    assert!(matches!(&command.kind, CommandKind::Write { payload: Payload::Stream { size_bytes: 65 }, .. }));
    assert_eq!(shared.kept(command.id).unwrap().len(), 65);
    shared.done(command.id, Span::ZERO);
    assert!(shared.kept(command.id).is_none());
    assert!(write.is_finished());
}

#[tokio::test]
async fn failures_are_explained_and_none_goes_unnoticed() {
    let (session, shared) = session();
    let buffer = session.buffer(1 << 60);
    let write = session.write(&buffer, 0, [1_u8]).enqueue();
    session.read(&buffer).enqueue();
    shared.take_requests().await;
    let too_large =
        CommandError::BufferTooLarge { buffer: buffer.id(), size_bytes: 1 << 60, largest_bytes: 1 << 30 };
    shared.request_failed(RequestName::CreateBuffer(buffer.id()), too_large.clone());
    let unknown = CommandError::UnknownBuffer { buffer: buffer.id() };
    shared.failed(CommandId(2), CommandError::of_dependent(CommandId(1), &unknown));
    shared.failed(CommandId(1), unknown);
    assert_eq!(write.await, Err(too_large.clone()));
    assert_eq!(session.finish().await, Err(too_large));
    assert_eq!(session.finish().await, Ok(()));
}

#[tokio::test]
async fn what_the_client_finds_wrong_is_the_cause_that_dependents_are_told() {
    let (session, shared) = session();
    let program = session.program("source").build();
    let wrong = session.launch(&program, "k").range([4, 4]).local([2]).enqueue();
    let (before, after) =
        (session.marker().after(&wrong).enqueue(), session.marker().after(&wrong).enqueue());
    shared.take_requests().await;
    let farms_word = CommandError::Malformed { what: "no dimensions".to_owned() };
    let of_dependent = CommandError::of_dependent(CommandId(1), &farms_word);
    shared.failed(CommandId(2), of_dependent.clone());
    shared.failed(CommandId(1), farms_word);
    shared.failed(CommandId(3), of_dependent);
    let error = wrong.await.unwrap_err();
    assert!(error.to_string().contains("as many dimensions"), "{error}");
    let expected = CommandError::of_dependent(CommandId(1), &error);
    assert_eq!(before.await, Err(expected.clone()));
    assert_eq!(after.await, Err(expected));
}

#[tokio::test]
async fn the_end_reaches_every_handle_wherever_its_command_is() {
    let (session, shared) = session();
    let program = session.program("source").build();
    let sent = session.marker().enqueue();
    shared.take_requests().await;
    let queued = session.marker().enqueue();
    shared.end("the scheduler left");
    let late = session.marker().enqueue();
    let error = CommandError::SessionClosed { reason: "the scheduler left".to_owned() };
    for handle in [&sent, &queued, &late] {
        assert_eq!(handle.await, Err(error.clone()));
    }
    assert_eq!(program.built().await, Err(error.clone()));
    assert_eq!(session.open_commands(), 0);
    assert_eq!(session.finish().await, Err(error));
}

#[tokio::test]
async fn beyond_the_bound_commands_are_refused_until_there_is_room() {
    let shared = Shared { commands_open_max: 4, ..Shared::new() };
    let shared = Arc::new(shared);
    let session = Session::new(Arc::clone(&shared), Duration::from_secs(1));
    let handles: Vec<_> = (0..6).map(|_| session.marker().enqueue()).collect();
    assert_eq!(handles[3].outcome(), None);
    assert!(matches!(handles[4].outcome(), Some(Err(CommandError::LimitExceeded { limit: 4, .. }))));
    shared.take_requests().await;
    let waiting = tokio::spawn({
        let session = session.clone();
        async move { session.room().await }
    });
    tokio::task::yield_now().await;
    shared.done(CommandId(1), Span::ZERO);
    assert!(matches!(session.marker().enqueue().outcome(), Some(Err(_))));
    assert!(!waiting.is_finished());
    shared.done(CommandId(2), Span::ZERO);
    waiting.await.unwrap();
    assert_eq!(session.marker().enqueue().outcome(), None);
}

#[tokio::test]
async fn ten_thousand_launches_cost_little_each() {
    let (session, shared) = session();
    let program = session.program("source").build();
    let buffer = session.buffer(64);
    let begun = Instant::now();
    let handles: Vec<_> = (0..10_000)
        .map(|_| session.launch(&program, "nothing").range([64]).buffer(&buffer).enqueue())
        .collect();
    let enqueued = begun.elapsed();
    let requests = shared.take_requests().await;
    let sent = begun.elapsed();
    for handle in &handles {
        shared.done(handle.id().unwrap(), Span(1));
    }
    session.finish().await.unwrap();
    let ended = begun.elapsed();
    println!("10,000: enqueued {enqueued:?}, batched {:?}, ended {:?}", sent - enqueued, ended - sent);
    assert_eq!(requests.len(), 3);
    // Far above what it takes, so that a busy machine does not fail this.
    assert!(ended < Duration::from_secs(1), "{ended:?}");
}
