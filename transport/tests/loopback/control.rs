//! The control stream between peers that keep the rules.

use std::time::Duration;

use bytes::Bytes;
use isochrone_protocol::Limits;
use isochrone_transport::{CloseCode, SendError};

use crate::farm::{Farm, Message, within};

#[tokio::test]
async fn messages_arrive_in_order_in_both_directions() {
    let farm = Farm::new();
    let (dialled, accepted, _client, _server) = farm.pair().await;
    let (to_server, mut from_server) = dialled.take_control();
    let (to_client, mut from_client) = accepted.take_control();
    for number in 0..1_000 {
        to_server.send(&Message::Number(number)).expect("queued");
        to_client.send(&Message::Number(number + 7)).expect("queued");
    }
    for number in 0..1_000 {
        let message = within(from_client.receive()).await.expect("received");
        assert_eq!(message, Some(Message::Number(number)));
        let message = within(from_server.receive()).await.expect("received");
        assert_eq!(message, Some(Message::Number(number + 7)));
    }
}

#[tokio::test]
async fn messages_that_are_there_come_together() {
    let farm = Farm::new();
    let (dialled, accepted, _client, _server) = farm.pair().await;
    let (sender, _) = dialled.take_control();
    let (_, mut receiver) = accepted.take_control();
    for number in 0..100 {
        sender.send(&Message::Number(number)).expect("queued");
    }
    within(sender.finish()).await.expect("acknowledged");
    let mut messages: Vec<Message> = Vec::new();
    let mut calls = 0;
    while within(receiver.receive_many(&mut messages)).await.expect("received") > 0 {
        calls += 1;
    }
    assert_eq!(messages, (0..100).map(Message::Number).collect::<Vec<_>>());
    assert!(calls < 10, "{calls} calls for one batch");
    assert!(matches!(sender.send(&Message::Number(0)), Err(SendError::Finished)));
}

#[tokio::test]
async fn cancelled_receiving_loses_nothing() {
    let farm = Farm::new();
    let (dialled, accepted, _client, _server) = farm.pair().await;
    let (sender, _) = dialled.take_control();
    let (_, mut receiver) = accepted.take_control();
    let sending = tokio::spawn(async move {
        for number in 0..200_u64 {
            let text = number.to_string().repeat(3_000);
            sender.send(&Message::Text(text)).expect("queued");
            tokio::task::yield_now().await;
        }
        within(sender.finish()).await.expect("acknowledged");
    });
    let mut received = 0_u64;
    let mut cancelled = 0;
    loop {
        // Asked once, and dropped if the message is not there yet.
        tokio::select! {
            biased;
            result = receiver.receive::<Message>() => {
                let Some(message) = result.expect("received") else {
                    break;
                };
                assert_eq!(message, Message::Text(received.to_string().repeat(3_000)));
                received += 1;
            }
            () = std::future::ready(()) => {
                cancelled += 1;
                tokio::task::yield_now().await;
            }
        }
    }
    assert_eq!(received, 200);
    assert!(cancelled > 0);
    sending.await.expect("sent");
}

#[tokio::test]
async fn large_message_and_oversized_message() {
    let farm = Farm::new();
    let (dialled, accepted, _client, _server) = farm.pair().await;
    let (sender, _) = dialled.take_control();
    let (_, mut receiver) = accepted.take_control();
    let large = Message::Text("x".repeat(4_000_000));
    sender.send(&large).expect("queued");
    assert_eq!(within(receiver.receive()).await.expect("received"), Some(large));
    assert!(matches!(sender.send(&Message::Text("x".repeat(5_000_000))), Err(SendError::Encode(_))));
    // A message that was refused leaves the stream as it was.
    sender.send(&Message::Number(1)).expect("queued");
    let message = within(receiver.receive()).await.expect("received");
    assert_eq!(message, Some(Message::Number(1)));
}

#[tokio::test]
async fn queue_for_a_slow_peer_is_bounded() {
    let farm = Farm::new();
    let limits = Limits { control_frame_bytes_max: 10_000, ..Limits::default() };
    let (dialled, accepted, _client, _server) = farm
        .pair_with(|options| {
            options.limits(limits).stream_window_bytes(20_000).control_queue_bytes_max(50_000);
        })
        .await;
    let (sender, _) = dialled.take_control();
    let (_, mut receiver) = accepted.take_control();
    let text = "x".repeat(1_000);
    let mut queued = 0;
    let full = loop {
        match sender.send(&Message::Text(text.clone())) {
            Ok(()) => queued += 1,
            Err(error) => break error,
        }
        assert!(queued < 1_000, "never full");
        tokio::task::yield_now().await;
    };
    assert!(
        matches!(full, SendError::Full { queued_bytes, bytes_max: 50_000 } if queued_bytes > 48_000),
        "{full:?}"
    );
    assert!(sender.queued_bytes() <= 50_000);
    // Nothing that was taken is lost, and the queue opens again.
    for _ in 0..queued {
        let message = within(receiver.receive()).await.expect("received");
        assert_eq!(message, Some(Message::Text(text.clone())));
    }
    within(sender.flushed()).await.expect("flushed");
    assert_eq!(sender.queued_bytes(), 0);
    sender.send(&Message::Number(1)).expect("room again");
    let message = within(receiver.receive()).await.expect("received");
    assert_eq!(message, Some(Message::Number(1)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn control_passes_bulk_that_nobody_reads() {
    let farm = Farm::new();
    let (dialled, accepted, _client, _server) = farm
        .pair_with(|options| {
            options.stream_window_bytes(256 << 10).bulk_streams_max(8);
        })
        .await;
    let (sender, mut from_server) = dialled.take_control();
    let (to_client, mut receiver) = accepted.take_control();
    // All streams that are allowed, each with far more than its window, and nobody reads.
    let mut blocked = Vec::new();
    for number in 0..8 {
        let mut bulk = within(dialled.open_bulk(&Message::Number(number))).await.expect("opened");
        blocked.push(tokio::spawn(async move {
            loop {
                if bulk.send(Bytes::from(vec![0; 1 << 20])).await.is_err() {
                    return;
                }
            }
        }));
    }
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert!(blocked.iter().all(|task| !task.is_finished()));
    // Many times the window of a stream: credit must keep coming.
    let text = Message::Text("x".repeat(64 << 10));
    for number in 0..100 {
        sender.send(&text).expect("queued");
        let message = within(receiver.receive()).await.expect("received");
        assert_eq!(message.as_ref(), Some(&text), "{number}");
        to_client.send(&text).expect("queued");
        let message = within(from_server.receive()).await.expect("received");
        assert_eq!(message.as_ref(), Some(&text), "{number}");
    }
    accepted.close(CloseCode::Done, "");
    for task in blocked {
        within(task).await.expect("ended");
    }
}
