//! What the first message on a new connection costs in trips, and what resumption may and may not do.

#![expect(clippy::disallowed_methods, reason = "trips are counted by the time that they take")]

use std::time::{Duration, Instant};

use isochrone_transport::{
    AcceptError, CertificateFault, ConnectError, Connection, Endpoint, First, Identity, Role,
    TransportOptions,
};

use crate::farm::{Farm, Message, any_port, within};
use crate::slow_path::{Shape, SlowPath};

/// One way; far more than anything else takes.
const DELAY: Duration = Duration::from_millis(100);

const SHAPE: Shape = Shape { bytes_per_second: 100_000_000, delay: DELAY, queue_bytes: 1 << 20 };

/// How many trips went by, by the clock.
fn trips(since: Instant) -> u128 {
    since.elapsed().as_millis() / DELAY.as_millis()
}

fn scheduler(farm: &Farm, takes_early_data: bool) -> Endpoint {
    farm.endpoint_with(Role::Scheduler, "main", &[Role::Client], |options| {
        options.takes_early_data(takes_early_data);
    })
}

/// Answers every message with itself, and says of each whether it came early.
fn echo(server: Endpoint) -> tokio::sync::mpsc::UnboundedReceiver<(Message, bool)> {
    let (heard, hears) = tokio::sync::mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Some(incoming) = server.accept().await {
            let heard = heard.clone();
            tokio::spawn(async move {
                let Ok(connection) = incoming.establish().await else { return };
                let (sender, mut receiver) = connection.take_control();
                while let Ok(Some(message)) = receiver.receive::<Message>().await {
                    let _ = heard.send((message.clone(), !connection.is_confirmed()));
                    let _ = sender.send(&message);
                }
            });
        }
    });
    hears
}

async fn ask(
    client: &Endpoint,
    address: std::net::SocketAddr,
    first: First<'_, Message>,
) -> (Connection, Message) {
    let connection = within(client.connect_saying(address, Role::Scheduler, Some("main"), first)).await;
    let connection = connection.expect("connected");
    let (_sender, mut receiver) = connection.take_control();
    let answer = within(receiver.receive()).await.expect("received").expect("an answer");
    // Tickets come after the answer.
    tokio::time::sleep(DELAY * 3).await;
    (connection, answer)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_first_message_takes_two_round_trips_and_one_when_resumed_early() {
    let farm = Farm::new();
    let server = scheduler(&farm, true);
    let path = SlowPath::to(server.local_address().expect("bound"), SHAPE);
    let mut heard = echo(server);
    let client = farm.endpoint(Role::Client, "c", &[]);
    // A whole handshake takes a round trip and the message another; a resumed session may speak at once.
    for (round, (is_harmless, expected)) in
        [(true, 4), (true, 2), (false, 4), (true, 2)].into_iter().enumerate()
    {
        let message = [Message::Number(round as u64)];
        let first = if is_harmless { First::harmless(&message) } else { First::of(&message) };
        let start = Instant::now();
        let connection =
            within(client.connect_saying(path.address, Role::Scheduler, Some("main"), first)).await;
        let connection = connection.expect("connected");
        let (_sender, mut receiver) = connection.take_control();
        let answer = within(receiver.receive::<Message>()).await.expect("received");
        assert_eq!(trips(start), expected, "round {round}");
        assert_eq!(answer, Some(message[0].clone()));
        let (said, is_early) = heard.recv().await.expect("heard");
        assert_eq!(said, message[0]);
        // What comes with the end of the handshake may be heard before that is noticed.
        assert!(is_early || expected != 2, "round {round}");
        assert_eq!(connection.peer().name, "main");
        tokio::time::sleep(DELAY * 3).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_follows_goes_with_the_first_message_and_never_early() {
    let farm = Farm::new();
    let server = scheduler(&farm, true);
    let path = SlowPath::to(server.local_address().expect("bound"), SHAPE);
    let mut heard = echo(server);
    let client = farm.endpoint(Role::Client, "c", &[]);
    for is_resumed in [false, true] {
        let message = [Message::Number(0)];
        let dialled = Instant::now();
        let gathered_after = std::sync::Mutex::new(None);
        let gather = || {
            *gathered_after.lock().expect("whole") = Some(trips(dialled));
            std::sync::Arc::new((1..100).map(Message::Number).collect())
        };
        let first = First::harmless(&message).then(&gather);
        let connection =
            within(client.connect_saying(path.address, Role::Scheduler, Some("main"), first)).await;
        let connection = connection.expect("connected");
        assert_eq!(*gathered_after.lock().expect("whole"), Some(2), "when the handshake is complete here");
        let (_sender, mut receiver) = connection.take_control();
        for number in 0..100 {
            let answer = within(receiver.receive::<Message>()).await.expect("received");
            assert_eq!(answer, Some(Message::Number(number)));
            let (said, _) = heard.recv().await.expect("heard");
            assert_eq!(said, Message::Number(number));
        }
        assert_eq!(trips(dialled), 4, "resumed: {is_resumed}");
        tokio::time::sleep(DELAY * 3).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_not_the_one_that_was_dialled_hears_nothing() {
    let farm = Farm::new();
    let server = scheduler(&farm, true);
    let address = server.local_address().expect("bound");
    let mut heard = echo(server);
    let client = farm.endpoint(Role::Client, "c", &[]);
    let message = [Message::Number(0)];
    let gather = || std::sync::Arc::new(vec![Message::Number(1)]);
    let first = First::of(&message).then(&gather);
    let refused = within(client.connect_saying(address, Role::Scheduler, Some("other"), first)).await;
    assert!(matches!(refused, Err(ConnectError::WrongName { .. })), "{refused:?}");
    assert!(tokio::time::timeout(DELAY * 3, heard.recv()).await.is_err(), "words for another were heard");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_takes_no_early_data_hears_nothing_before_the_handshake() {
    let farm = Farm::new();
    let server = scheduler(&farm, false);
    let path = SlowPath::to(server.local_address().expect("bound"), SHAPE);
    let mut heard = echo(server);
    let client = farm.endpoint(Role::Client, "c", &[]);
    for round in 0..2 {
        let message = [Message::Number(round)];
        let start = Instant::now();
        let (_connection, answer) = ask(&client, path.address, First::harmless(&message)).await;
        assert_eq!(answer, message[0]);
        assert!(trips(start) >= 4);
        assert_eq!(heard.recv().await, Some((message[0].clone(), false)));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replayed_early_data_is_not_heard_again() {
    let farm = Farm::new();
    let server = scheduler(&farm, true);
    let address = server.local_address().expect("bound");
    let path = SlowPath::to(address, SHAPE);
    let mut heard = echo(server);
    let client = farm.endpoint(Role::Client, "c", &[]);
    let (first, _) = ask(&client, path.address, First::harmless(&[Message::Number(1)])).await;
    assert_eq!(heard.recv().await, Some((Message::Number(1), false)));
    path.record();
    let (second, _) = ask(&client, path.address, First::harmless(&[Message::Number(2)])).await;
    assert_eq!(heard.recv().await, Some((Message::Number(2), true)));
    let recorded = path.recorded();
    assert!(recorded.iter().any(|datagram| datagram.len() >= 1_200), "the first flight is among them");
    for connection in [first, second] {
        connection.close(isochrone_transport::CloseCode::Done, "");
        within(connection.closed()).await;
    }
    // Until the server has forgotten the connection: its packets are no new ones until then.
    tokio::time::sleep(Duration::from_secs(3)).await;
    for _ in 0..3 {
        let attacker = std::net::UdpSocket::bind(any_port()).expect("bound");
        for datagram in &recorded {
            attacker.send_to(datagram, address).expect("sent");
        }
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
    assert!(heard.try_recv().is_err(), "the same words did nothing twice");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_certificate_that_has_expired_is_refused_in_a_resumed_session_too() {
    let farm = Farm::new();
    let short = |role: Role, name: &str| -> Identity {
        let tenant = role.has_tenant().then_some("tenant");
        let validity = Duration::from_secs(4);
        farm.authority.issue(role, name, tenant, validity).expect("issued").identity().expect("usable")
    };
    let long = |role: Role, name: &str| farm.identity(role, name);
    for is_client_short in [true, false] {
        let (server_identity, client_identity) = if is_client_short {
            (long(Role::Scheduler, "main"), short(Role::Client, "c"))
        } else {
            (short(Role::Scheduler, "main"), long(Role::Client, "c"))
        };
        let mut options = TransportOptions::new();
        options.allowed_roles(&[Role::Client]).takes_early_data(true);
        let server = Endpoint::bind(any_port(), &server_identity, options).expect("bound");
        let address = server.local_address().expect("bound");
        let client = Endpoint::bind(any_port(), &client_identity, TransportOptions::new()).expect("bound");
        let message = [Message::Number(1)];
        for is_expired in [false, true] {
            let dialling =
                client.connect_saying(address, Role::Scheduler, Some("main"), First::harmless(&message));
            let accepting = async { within(server.accept()).await.expect("open").establish().await };
            let (dialled, accepted) = within(async { tokio::join!(dialling, accepting) }).await;
            match (is_expired, is_client_short) {
                (false, _) => {
                    let _both = (dialled.expect("connected"), accepted.expect("accepted"));
                    tokio::time::sleep(Duration::from_secs(6)).await;
                }
                (true, true) => {
                    assert!(matches!(
                        accepted,
                        Err(AcceptError::TheirCertificate { fault: CertificateFault::OutOfTime, .. })
                    ));
                    assert!(dialled.is_err());
                }
                (true, false) => assert!(matches!(
                    dialled,
                    Err(ConnectError::TheirCertificate { fault: CertificateFault::OutOfTime, .. })
                )),
            }
        }
    }
}
