//! What a peer learns of an end when the word of it comes late or never.

use std::time::Duration;

use isochrone_transport::{BulkSender, CloseCode, CloseReason, Connection, Endpoint, Role};

use crate::farm::{Farm, Message, accept, within};
use crate::path::Path;

/// A client and a scheduler that meet on a path: (client's, scheduler's).
async fn pair_on_path(farm: &Farm) -> (Connection, Connection, Path, (Endpoint, Endpoint)) {
    let server = farm.endpoint(Role::Scheduler, "main", &[Role::Client]);
    let client = farm.endpoint_with(Role::Client, "c", &[], |options| {
        // Beyond the patience of a test: no silence ends these connections.
        options.idle_timeout(Duration::from_secs(60)).keep_alive_interval(Duration::from_millis(100));
    });
    let path = Path::to(server.local_address().expect("bound")).await;
    let (dialled, accepted) =
        tokio::join!(client.connect(path.address, Role::Scheduler, None), accept(&server));
    (dialled.expect("connected"), accepted.expect("accepted"), path, (client, server))
}

fn broken() -> CloseReason {
    CloseReason::Peer { code: CloseCode::ProtocolViolation, reason: "two hellos".to_owned() }
}

#[tokio::test]
async fn a_reason_that_comes_after_the_closer_forgot_stays_the_reason() {
    let farm = Farm::new();
    let (dialled, accepted, path, (_client, server)) = pair_on_path(&farm).await;
    path.hold();
    accepted.close(CloseCode::ProtocolViolation, "two hellos");
    within(server.drained()).await;
    path.pass();
    assert_eq!(within(dialled.closed()).await, broken());
    // QUIC answers the closing, and the closer does not know the connection any more.
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(dialled.close_reason(), Some(broken()));
}

#[tokio::test]
async fn a_reason_that_comes_together_with_answers_to_later_words_stays_the_reason() {
    let farm = Farm::new();
    let (dialled, accepted, path, (_client, server)) = pair_on_path(&farm).await;
    let (sender, _receiver) = dialled.take_control();
    path.hold();
    accepted.close(CloseCode::ProtocolViolation, "two hellos");
    within(server.drained()).await;
    for number in 0..20 {
        sender.send(&Message::Number(number)).expect("queued");
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
    path.pass();
    assert_eq!(within(dialled.closed()).await, broken());
}

#[tokio::test]
async fn a_connection_whose_end_was_never_heard_of_is_found_lost_before_the_idle_timeout() {
    let farm = Farm::new();
    let (dialled, accepted, path, (_client, server)) = pair_on_path(&farm).await;
    path.lose();
    accepted.close(CloseCode::ProtocolViolation, "two hellos");
    within(server.drained()).await;
    // The closing is repeated to the last; that is lost too.
    tokio::time::sleep(Duration::from_millis(200)).await;
    path.pass();
    assert_eq!(within(dialled.closed()).await, CloseReason::Reset);
}

/// Sends more than the congestion window holds on a path that brings no acknowledgement; gives the stream, which is
/// not to be broken off.
async fn fill_window(connection: &Connection, path: &Path) -> BulkSender {
    path.hold();
    let mut bulk = connection.open_bulk(&Message::Number(1)).await.expect("opened");
    // Takes it all, since what waits for acknowledgement may be larger by far than what is on its way.
    within(bulk.send(bytes::Bytes::from(vec![0; 2 << 20]))).await.expect("taken");
    // What the window lets go has gone.
    tokio::time::sleep(Duration::from_millis(100)).await;
    bulk
}

#[tokio::test]
async fn a_closing_passes_what_waits_for_the_congestion_window() {
    let farm = Farm::new();
    let (dialled, accepted, path, _endpoints) = pair_on_path(&farm).await;
    let _bulk = fill_window(&accepted, &path).await;
    accepted.close(CloseCode::ProtocolViolation, "two hellos");
    path.pass();
    assert_eq!(within(dialled.closed()).await, broken());
}

#[tokio::test]
async fn the_end_of_an_endpoint_passes_what_waits_for_the_congestion_window() {
    let farm = Farm::new();
    let (dialled, accepted, path, (_client, server)) = pair_on_path(&farm).await;
    let _bulk = fill_window(&accepted, &path).await;
    server.close(CloseCode::Draining, "the scheduler stops");
    path.pass();
    let expected = CloseReason::Peer { code: CloseCode::Draining, reason: "the scheduler stops".to_owned() };
    assert_eq!(within(dialled.closed()).await, expected);
}
