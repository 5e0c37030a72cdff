//! How connections end, and what ends with them.

use std::time::Duration;

use isochrone_transport::{AcceptBulkError, CloseCode, CloseReason, ReceiveError, Role, SendError};

use crate::farm::{Farm, Message, within};

#[tokio::test]
async fn closing_with_done_is_an_end_in_order() {
    let farm = Farm::new();
    let (dialled, accepted, _client, _server) = farm.pair().await;
    let (sender, _keep) = dialled.take_control();
    let (_sender, mut receiver) = accepted.take_control();
    sender.send(&Message::Number(1)).expect("queued");
    within(sender.finish()).await.expect("acknowledged");
    dialled.close(CloseCode::Done, "bye");
    // What was acknowledged is still there to be read.
    let message = within(receiver.receive()).await.expect("received");
    assert_eq!(message, Some(Message::Number(1)));
    assert_eq!(within(receiver.receive::<Message>()).await.expect("in order"), None);
    assert!(within(accepted.accept_bulk::<Message>()).await.expect("in order").is_none());
    assert_eq!(
        within(accepted.closed()).await,
        CloseReason::Peer { code: CloseCode::Done, reason: "bye".to_owned() }
    );
    assert_eq!(
        within(dialled.closed()).await,
        CloseReason::Local { code: CloseCode::Done, reason: "bye".to_owned() }
    );
}

#[tokio::test]
async fn closing_otherwise_is_an_error_that_says_why() {
    let farm = Farm::new();
    let (dialled, accepted, _client, _server) = farm.pair().await;
    let (sender, mut receiver) = dialled.take_control();
    accepted.close(CloseCode::Draining, "maintenance");
    accepted.close(CloseCode::Internal, "second call");
    let expected = CloseReason::Peer { code: CloseCode::Draining, reason: "maintenance".to_owned() };
    assert!(matches!(
        within(receiver.receive::<Message>()).await,
        Err(ReceiveError::Closed(reason)) if reason == expected
    ));
    assert!(matches!(
        within(dialled.accept_bulk::<Message>()).await,
        Err(AcceptBulkError::Closed(reason)) if reason == expected
    ));
    assert!(within(sender.finish()).await.is_err());
    assert!(matches!(
        sender.send(&Message::Number(1)),
        Err(SendError::Closed(reason)) if reason == expected
    ));
    assert!(matches!(
        within(accepted.closed()).await,
        CloseReason::Local { code: CloseCode::Draining, reason } if reason == "maintenance"
    ));
}

#[tokio::test]
async fn last_handle_closes_the_connection_and_no_other() {
    let farm = Farm::new();
    let (dialled, accepted, _client, _server) = farm.pair().await;
    let (sender, receiver) = dialled.take_control();
    let clone = dialled.clone();
    drop(dialled);
    drop(clone);
    drop(receiver);
    // The sender alone keeps the connection.
    let (_sender, mut from_client) = accepted.take_control();
    sender.send(&Message::Number(1)).expect("queued");
    let message = within(from_client.receive()).await.expect("received");
    assert_eq!(message, Some(Message::Number(1)));
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(accepted.close_reason(), None);
    drop(sender);
    assert!(within(accepted.closed()).await.is_done());
}

#[tokio::test]
async fn dropped_senders_end_the_stream_and_keep_the_connection() {
    let farm = Farm::new();
    let (dialled, accepted, _client, _server) = farm.pair().await;
    let (sender, mut receiver) = dialled.take_control();
    let (to_client, mut from_client) = accepted.take_control();
    let clone = sender.clone();
    sender.send(&Message::Number(1)).expect("queued");
    drop(sender);
    clone.send(&Message::Number(2)).expect("queued");
    drop(clone);
    for number in [1, 2] {
        let message = within(from_client.receive()).await.expect("received");
        assert_eq!(message, Some(Message::Number(number)));
    }
    assert_eq!(within(from_client.receive::<Message>()).await.expect("in order"), None);
    to_client.send(&Message::Number(3)).expect("queued");
    let message = within(receiver.receive()).await.expect("received");
    assert_eq!(message, Some(Message::Number(3)));
}

#[tokio::test]
async fn silent_peer_is_given_up() {
    let farm = Farm::new();
    let short = Duration::from_millis(300);
    let (dialled, accepted, client, _server) = farm
        .pair_with(|options| {
            options.idle_timeout(short).keep_alive_interval(Duration::from_millis(50));
        })
        .await;
    // Kept alive while both are there.
    tokio::time::sleep(short * 3).await;
    assert_eq!(accepted.close_reason(), None);
    // A socket to which nobody's datagrams come, and from which they go nowhere.
    client.rebind("[::1]:0".parse().expect("address")).expect("moved");
    assert_eq!(within(accepted.closed()).await, CloseReason::TimedOut);
    assert_eq!(within(dialled.closed()).await, CloseReason::TimedOut);
}

#[tokio::test]
async fn closed_endpoint_takes_and_dials_nothing() {
    let farm = Farm::new();
    let (dialled, accepted, client, server) = farm.pair().await;
    server.close(CloseCode::Draining, "restart");
    assert!(within(server.accept()).await.is_none());
    assert_eq!(
        within(dialled.closed()).await,
        CloseReason::Peer { code: CloseCode::Draining, reason: "restart".to_owned() }
    );
    assert_eq!(
        within(accepted.closed()).await,
        CloseReason::Local { code: CloseCode::Draining, reason: "restart".to_owned() }
    );
    drop((dialled, accepted));
    within(server.drained()).await;
    client.close(CloseCode::Done, "");
    let address = server.local_address().expect("bound");
    assert!(client.connect(address, Role::Scheduler, None).await.is_err());
}

#[tokio::test]
#[should_panic(expected = "taken once")]
async fn control_is_taken_once() {
    let farm = Farm::new();
    let (dialled, _accepted, _client, _server) = farm.pair().await;
    let _first = dialled.take_control();
    let _second = dialled.take_control();
}
