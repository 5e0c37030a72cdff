//! Bulk streams between peers that keep the rules.

use bytes::{Bytes, BytesMut};
use isochrone_transport::{
    BulkPriority, CloseCode, Connection, Endpoint, ReceiveBulkError, Role, SendBulkError,
};

use crate::farm::{Farm, Message, accept, any_port, within};

/// Contents in which every part differs from every other.
fn contents(bytes: usize) -> Bytes {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut contents = BytesMut::with_capacity(bytes + 8);
    while contents.len() < bytes {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        contents.extend_from_slice(&state.to_le_bytes());
    }
    contents.truncate(bytes);
    contents.freeze()
}

async fn send_all(connection: &Connection, number: u64, contents: &Bytes, piece_bytes: usize) {
    let mut bulk = connection.open_bulk(&Message::Number(number)).await.expect("opened");
    let mut rest = contents.clone();
    while !rest.is_empty() {
        let piece = rest.split_to(piece_bytes.min(rest.len()));
        bulk.send(piece).await.expect("sent");
    }
    bulk.finish().await.expect("acknowledged");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn large_transfer_arrives_whole() {
    let farm = Farm::new();
    let (dialled, accepted, _client, _server) = farm.pair().await;
    let contents = contents(64 << 20);
    let sending = tokio::spawn({
        let contents = contents.clone();
        async move { send_all(&dialled, 7, &contents, 1 << 20).await }
    });
    let (header, bulk) = within(accepted.accept_bulk::<Message>()).await.expect("accepted").expect("open");
    assert_eq!(header, Message::Number(7));
    let received = within(bulk.receive_exact(64 << 20)).await.expect("received");
    assert!(received == contents);
    within(sending).await.expect("sent");
    let second = accepted.bulk_statistics().expect("there is a second connection");
    assert!(second.received_bytes > 64 << 20, "bulk goes there");
    assert!(accepted.statistics().received_bytes < 1 << 20, "and nowhere else");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_transfers_in_both_directions_with_pieces() {
    let farm = Farm::new();
    let (dialled, accepted, _client, _server) = farm.pair().await;
    let contents = contents(300_000);
    for (from, to) in [(&dialled, &accepted), (&accepted, &dialled)] {
        // More than may be open at once: the rest wait their turn.
        let sending: Vec<_> = (0..100)
            .map(|number| {
                let (from, contents) = (from.clone(), contents.clone());
                tokio::spawn(async move { send_all(&from, number, &contents, 70_001).await })
            })
            .collect();
        let mut numbers = Vec::new();
        for _ in 0..100 {
            let (header, mut bulk) =
                within(to.accept_bulk::<Message>()).await.expect("accepted").expect("open");
            let Message::Number(number) = header else {
                panic!("{header:?}");
            };
            numbers.push(number);
            let mut received = BytesMut::new();
            while let Some(piece) = within(bulk.receive()).await.expect("received") {
                received.extend_from_slice(&piece);
            }
            assert!(received == contents);
        }
        numbers.sort_unstable();
        assert_eq!(numbers, (0..100).collect::<Vec<_>>());
        for task in sending {
            within(task).await.expect("sent");
        }
    }
}

#[tokio::test]
async fn empty_transfer_has_an_end() {
    let farm = Farm::new();
    let (dialled, accepted, _client, _server) = farm.pair().await;
    let bulk = dialled.open_bulk_with(&Message::Number(0), BulkPriority::URGENT).await.expect("opened");
    within(bulk.finish()).await.expect("acknowledged");
    let (_, bulk) = within(accepted.accept_bulk::<Message>()).await.expect("accepted").expect("open");
    let received = within(bulk.receive_exact(0)).await.expect("received");
    assert!(received.is_empty());
}

#[tokio::test]
async fn lengths_are_checked() {
    let farm = Farm::new();
    let (dialled, accepted, _client, _server) = farm
        .pair_with(|options| {
            options.bulk_transfer_bytes_max(1_000);
        })
        .await;
    let contents = contents(500);
    let mut results = Vec::new();
    for announced in [499, 501, 1_001, u64::MAX, 500] {
        let mut bulk = dialled.open_bulk(&Message::Number(announced)).await.expect("opened");
        bulk.send(contents.clone()).await.expect("sent");
        // Stopped by the receiver or not, according to what it found.
        let finishing = tokio::spawn(bulk.finish());
        let (_, bulk) = within(accepted.accept_bulk::<Message>()).await.expect("accepted").expect("open");
        results.push(within(bulk.receive_exact(announced)).await);
        let _ = within(finishing).await.expect("ended");
    }
    assert!(matches!(results[0], Err(ReceiveBulkError::Surplus { .. })));
    assert!(matches!(results[1], Err(ReceiveBulkError::Truncated { received_bytes: 500, .. })));
    assert!(matches!(results[2], Err(ReceiveBulkError::TooLarge { .. })));
    assert!(matches!(results[3], Err(ReceiveBulkError::TooLarge { .. })));
    assert!(matches!(&results[4], Ok(received) if *received == contents));
}

#[tokio::test]
async fn dropped_sender_breaks_the_transfer_off() {
    let farm = Farm::new();
    let (dialled, accepted, _client, _server) = farm.pair().await;
    let mut bulk = dialled.open_bulk(&Message::Number(1)).await.expect("opened");
    bulk.send(Bytes::from_static(b"part")).await.expect("sent");
    let (_, mut received) = within(accepted.accept_bulk::<Message>()).await.expect("accepted").expect("open");
    assert_eq!(within(received.receive()).await.expect("received"), Some(Bytes::from_static(b"part")));
    drop(bulk);
    assert!(matches!(within(received.receive()).await, Err(ReceiveBulkError::BrokenOff)));
    assert_eq!(dialled.close_reason(), None);
}

#[tokio::test]
async fn dropped_receiver_stops_the_sender() {
    let farm = Farm::new();
    let (dialled, accepted, _client, _server) = farm.pair().await;
    let mut bulk = dialled.open_bulk(&Message::Number(1)).await.expect("opened");
    drop(within(accepted.accept_bulk::<Message>()).await.expect("accepted"));
    let error = within(async {
        loop {
            if let Err(error) = bulk.send(Bytes::from(vec![0; 1 << 20])).await {
                break error;
            }
        }
    })
    .await;
    assert!(matches!(error, SendBulkError::Stopped), "{error:?}");
    assert!(matches!(bulk.send(Bytes::from_static(b"more")).await, Err(SendBulkError::Interrupted)));
    assert_eq!(dialled.close_reason(), None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn moving_to_another_socket_loses_nothing() {
    let farm = Farm::new();
    let (dialled, accepted, client, _server) = farm.pair().await;
    let contents = contents(32 << 20);
    let sending = tokio::spawn({
        let (dialled, contents) = (dialled.clone(), contents.clone());
        async move { send_all(&dialled, 0, &contents, 256 << 10).await }
    });
    let (sender, _) = dialled.take_control();
    let (_, mut receiver) = accepted.take_control();
    let (_, mut bulk) = within(accepted.accept_bulk::<Message>()).await.expect("accepted").expect("open");
    let before = accepted.remote_address();
    let mut received = BytesMut::new();
    let mut moved = None;
    while let Some(piece) = within(bulk.receive()).await.expect("received") {
        received.extend_from_slice(&piece);
        if moved.is_none() && received.len() > contents.len() / 4 {
            sender.send(&Message::Number(1)).expect("queued");
            moved = Some(client.rebind(any_port()).expect("moved"));
            sender.send(&Message::Number(2)).expect("queued");
        }
    }
    assert!(received == contents);
    within(sending).await.expect("sent");
    for number in [1, 2] {
        let message = within(receiver.receive()).await.expect("received");
        assert_eq!(message, Some(Message::Number(number)));
    }
    assert_ne!(accepted.remote_address(), before);
    assert_eq!(Some(accepted.remote_address()), moved);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn eight_peers_at_once() {
    let farm = Farm::new();
    let server = farm.endpoint(Role::Scheduler, "main", &[Role::Agent]);
    let address = server.local_address().expect("bound");
    let serving = tokio::spawn(async move {
        let mut names = Vec::new();
        let mut tasks = Vec::new();
        for _ in 0..8 {
            let connection = accept(&server).await.expect("accepted");
            names.push(connection.peer().name.clone());
            tasks.push(tokio::spawn(echo_one(connection)));
        }
        for task in tasks {
            within(task).await.expect("served");
        }
        server.close(CloseCode::Draining, "over");
        within(server.drained()).await;
        names.sort();
        names
    });
    let peers: Vec<_> = (0..8)
        .map(|number| farm.endpoint(Role::Agent, &format!("agent{number}"), &[]))
        .map(|endpoint: Endpoint| {
            tokio::spawn(async move {
                let connection =
                    endpoint.connect(address, Role::Scheduler, Some("main")).await.expect("connected");
                let contents = contents(3 << 20);
                send_all(&connection, 5, &contents, 1 << 20).await;
                let (_sender, mut receiver) = connection.take_control();
                let message = within(receiver.receive()).await.expect("received");
                assert_eq!(message, Some(Message::Number(3 << 20)));
                connection.close(CloseCode::Done, "");
                within(endpoint.drained()).await;
            })
        })
        .collect();
    for peer in peers {
        within(peer).await.expect("done");
    }
    let names = within(serving).await.expect("served");
    assert_eq!(names.len(), 8);
    assert!(names.windows(2).all(|pair| pair[0] < pair[1]));
}

/// Receives one transfer and answers with its length.
async fn echo_one(connection: Connection) {
    let (sender, mut receiver) = connection.take_control();
    let (_, bulk) = within(connection.accept_bulk::<Message>()).await.expect("accepted").expect("open");
    let received = within(bulk.receive_exact(3 << 20)).await.expect("received");
    sender.send(&Message::Number(received.len() as u64)).expect("queued");
    let end = within(receiver.receive::<Message>()).await.expect("in order");
    assert_eq!(end, None);
}
