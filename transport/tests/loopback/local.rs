//! Bulk between two processes of one machine.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use isochrone_transport::{
    CloseCode, CloseReason, Connection, Endpoint, ReceiveBulkError, Role, SendBulkError,
};

use crate::farm::{Farm, Message, accept, within};
use crate::slow_path::{Shape, SlowPath};

async fn pair(farm: &Farm) -> (Connection, Connection, Endpoint, Endpoint) {
    let pair = farm
        .pair_with(|options| {
            options.local_bulk(true);
        })
        .await;
    pair.0.prepare_bulk();
    within(async {
        while !(pair.0.is_bulk_local() && pair.1.is_bulk_local()) {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    })
    .await;
    pair
}

fn contents(bytes: usize) -> Bytes {
    (0..bytes).map(|place| (place * 31 % 251) as u8).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn transfers_of_all_sizes_arrive_whole_in_both_directions() {
    let farm = Farm::new();
    let (dialled, accepted, _client, _server) = pair(&farm).await;
    for (from, to) in [(&dialled, &accepted), (&accepted, &dialled)] {
        for size in [0, 1, 70_000, (1 << 20) - 1, 1 << 20, (1 << 20) + 1, 9 << 20] {
            let contents = contents(size);
            let sending = tokio::spawn({
                let (from, contents) = (from.clone(), contents.clone());
                async move {
                    let mut bulk = from.open_bulk(&Message::Number(size as u64)).await.expect("opened");
                    let mut rest = contents;
                    while !rest.is_empty() {
                        bulk.send(rest.split_to(rest.len().min(1_000_001))).await.expect("sent");
                    }
                    bulk.finish().await.expect("finished");
                }
            });
            let (header, mut bulk) =
                within(to.accept_bulk::<Message>()).await.expect("accepted").expect("open");
            assert_eq!(header, Message::Number(size as u64));
            if size == 70_000 {
                let mut received = BytesMut::new();
                while let Some(piece) = within(bulk.receive()).await.expect("received") {
                    received.extend_from_slice(&piece);
                }
                assert!(received == contents);
            } else if size == 9 << 20 {
                let mut received = BytesMut::new();
                for part in 0.. {
                    let part_bytes = [1 << 20, 333_333][part % 2];
                    let part = within(bulk.receive_part(part_bytes)).await.expect("received");
                    received.extend_from_slice(&part);
                    if (part.len() as u64) < part_bytes {
                        break;
                    }
                }
                within(bulk.receive_end(size as u64)).await.expect("ended");
                assert!(received == contents);
            } else {
                assert!(within(bulk.receive_exact(size as u64)).await.expect("received") == contents);
            }
            within(sending).await.expect("sent");
        }
    }
    assert!(dialled.bulk_statistics().is_none(), "there is no second connection");
}

#[tokio::test]
async fn lengths_are_checked_and_what_is_broken_off_is_no_end() {
    let farm = Farm::new();
    let (dialled, accepted, _client, _server) = pair(&farm).await;
    for announced in [499, 501, 500, u64::MAX] {
        let mut bulk = dialled.open_bulk(&Message::Number(announced)).await.expect("opened");
        bulk.send(contents(500)).await.expect("sent");
        bulk.finish().await.expect("finished");
        let (_, bulk) = within(accepted.accept_bulk::<Message>()).await.expect("accepted").expect("open");
        let result = within(bulk.receive_exact(announced)).await;
        match announced {
            499 => assert!(matches!(result, Err(ReceiveBulkError::Surplus { .. }))),
            501 => assert!(matches!(result, Err(ReceiveBulkError::Truncated { received_bytes: 500, .. }))),
            500 => assert!(result.expect("received") == contents(500)),
            _ => assert!(matches!(result, Err(ReceiveBulkError::TooLarge { .. }))),
        }
    }
    let mut bulk = dialled.open_bulk(&Message::Number(0)).await.expect("opened");
    bulk.send(contents(100)).await.expect("sent");
    drop(bulk);
    let (_, bulk) = within(accepted.accept_bulk::<Message>()).await.expect("accepted").expect("open");
    assert!(matches!(within(bulk.receive_exact(100)).await, Err(ReceiveBulkError::BrokenOff)));
}

#[tokio::test]
async fn a_receiver_that_goes_stops_the_sender_and_the_end_of_the_connection_both() {
    let farm = Farm::new();
    let (dialled, accepted, _client, _server) = pair(&farm).await;
    let mut bulk = dialled.open_bulk(&Message::Number(1)).await.expect("opened");
    drop(within(accepted.accept_bulk::<Message>()).await.expect("accepted"));
    let error = within(async {
        loop {
            if let Err(error) = bulk.send(contents(1 << 20)).await {
                break error;
            }
        }
    })
    .await;
    assert!(matches!(error, SendBulkError::Stopped), "{error:?}");

    // One that nobody reads waits, until the connection ends.
    let mut bulk = dialled.open_bulk(&Message::Number(2)).await.expect("opened");
    let waiting = tokio::spawn(async move {
        loop {
            if let Err(error) = bulk.send(contents(1 << 20)).await {
                break error;
            }
        }
    });
    let unread = within(accepted.accept_bulk::<Message>()).await.expect("accepted").expect("open");
    accepted.close(CloseCode::Draining, "over");
    let expected = CloseReason::Peer { code: CloseCode::Draining, reason: "over".to_owned() };
    let error = within(waiting).await.expect("ended");
    assert!(matches!(&error, SendBulkError::Closed(reason) if *reason == expected), "{error:?}");
    drop(unread);
}

#[tokio::test]
async fn what_goes_through_a_relay_stays_there() {
    let farm = Farm::new();
    let local = |options: &mut isochrone_transport::TransportOptions| {
        options.local_bulk(true);
    };
    let server = farm.endpoint_with(Role::Scheduler, "main", &[Role::Client], local);
    let shape = Shape { bytes_per_second: 1 << 30, delay: Duration::from_millis(1), queue_bytes: 1 << 24 };
    let path = SlowPath::to(server.local_address().expect("bound"), shape);
    let client = farm.endpoint_with(Role::Client, "c", &[], local);
    let (dialled, accepted) =
        tokio::join!(client.connect(path.address, Role::Scheduler, None), accept(&server));
    let (dialled, accepted) = (dialled.expect("connected"), accepted.expect("accepted"));
    let mut bulk = dialled.open_bulk(&Message::Number(1)).await.expect("opened");
    bulk.send(contents(1_000)).await.expect("sent");
    let (_, _bulk) = within(accepted.accept_bulk::<Message>()).await.expect("accepted").expect("open");
    assert!(!dialled.is_bulk_local() && !accepted.is_bulk_local());
    assert!(dialled.bulk_statistics().is_some());
}
