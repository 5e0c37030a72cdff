//! Peers that break the rules.

use std::time::Duration;

use bytes::BytesMut;
use isochrone_protocol::{Limits, Preamble, Version, encode_bulk_header, encode_frame};
use isochrone_transport::{
    AcceptBulkError, AcceptError, CloseCode, ConnectError, Connection, Endpoint, ReceiveError, Role,
};

use crate::farm::{Farm, Message, RawClient, Shown, accept, application_code, within};

/// A scheduler, and a raw client that it has accepted.
struct Accepted {
    farm: Farm,
    server: Endpoint,
    _raw: RawClient,
    connection: Connection,
    quinn: quinn::Connection,
    send: quinn::SendStream,
    _receive: quinn::RecvStream,
}

impl Accepted {
    async fn new() -> Self {
        let farm = Farm::new();
        let server = farm.endpoint_with(Role::Scheduler, "main", &[Role::Client], |options| {
            options.bulk_header_timeout(Duration::from_millis(300));
        });
        let raw = RawClient::new(&farm, &Shown::Client(&farm));
        let preamble = Preamble::encode();
        let ((quinn, send, receive), connection) =
            tokio::join!(raw.dial_with_preamble(&server, &preamble), accept(&server));
        Self {
            farm,
            server,
            _raw: raw,
            connection: connection.expect("accepted"),
            quinn,
            send,
            _receive: receive,
        }
    }

    /// Others are served whatever this peer did.
    async fn assert_others_are_served(&self) {
        let client = self.farm.endpoint(Role::Client, "other", &[]);
        let (dialled, accepted) = crate::farm::join(&client, &self.server, Role::Scheduler, None).await;
        dialled.expect("connected");
        accepted.expect("accepted");
    }
}

fn header(number: u64) -> BytesMut {
    let mut bytes = BytesMut::new();
    encode_bulk_header(&Message::Number(number), &mut bytes, &Limits::default()).expect("small");
    bytes
}

#[tokio::test]
async fn other_version_is_refused_naming_both() {
    let farm = Farm::new();
    let server = farm.endpoint(Role::Scheduler, "main", &[Role::Client]);
    let raw = RawClient::new(&farm, &Shown::Client(&farm));
    let theirs = Version { major: 9, minor: 4 };
    let preamble = Preamble::encode_version(theirs);
    let ((connection, _send, _receive), accepted) =
        tokio::join!(raw.dial_with_preamble(&server, &preamble), accept(&server));
    let error = accepted.expect_err("other version");
    let AcceptError::Preamble { source, .. } = error else {
        panic!("{error:?}");
    };
    assert_eq!(source.to_string(), "peer speaks protocol version 9.4, this process speaks 2.0");
    let quinn::ConnectionError::ApplicationClosed(close) = within(connection.closed()).await else {
        panic!("closed otherwise");
    };
    assert_eq!(close.error_code.into_inner(), CloseCode::VersionMismatch.to_wire().into());
    assert_eq!(&close.reason[..], b"2.0");
}

#[tokio::test]
async fn what_is_no_preamble_is_refused() {
    let farm = Farm::new();
    let server = farm.endpoint_with(Role::Scheduler, "main", &[Role::Client], |options| {
        options.handshake_timeout(Duration::from_millis(500));
    });
    let raw = RawClient::new(&farm, &Shown::Client(&farm));
    let ((connection, _send, _receive), accepted) =
        tokio::join!(raw.dial_with_preamble(&server, b"GET / HT"), accept(&server));
    assert!(matches!(accepted, Err(AcceptError::Preamble { .. })));
    assert_eq!(application_code(&connection).await, 3);

    // Half a preamble, then silence.
    let ((_connection, _send, _receive), accepted) =
        tokio::join!(raw.dial_with_preamble(&server, b"ISOC"), accept(&server));
    assert!(matches!(accepted, Err(AcceptError::TimedOut { .. })));

    // Half a preamble, then the end.
    let (_connection, accepted) = tokio::join!(
        async {
            let (connection, mut send, receive) = raw.dial_with_preamble(&server, b"ISOC").await;
            send.finish().expect("open");
            (connection, receive)
        },
        accept(&server)
    );
    assert!(matches!(accepted, Err(AcceptError::Truncated { .. })), "{accepted:?}");
}

/// A server of raw QUIC with a scheduler's certificate, which answers with `preamble`.
async fn dial_raw_server(answer: RawAnswer) -> ConnectError {
    use std::sync::Arc;

    use isochrone_transport::authority::IDENTITY_VALIDITY;
    use rustls::pki_types::PrivateKeyDer;
    use rustls::pki_types::pem::PemObject;

    let farm = Farm::new();
    let issued = farm.authority.issue(Role::Scheduler, "main", None, IDENTITY_VALIDITY).expect("issued");
    let key = PrivateKeyDer::from_pem_slice(issued.key_pem().as_bytes()).expect("key");
    let mut tls =
        rustls::ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_protocol_versions(&[&rustls::version::TLS13])
            .expect("TLS 1.3")
            .with_no_client_auth()
            .with_single_cert(vec![crate::farm::certificate(issued.certificate_pem())], key)
            .expect("usable");
    tls.alpn_protocols = vec![match answer {
        RawAnswer::OtherProtocol => b"h3".to_vec(),
        RawAnswer::Preamble(_) | RawAnswer::Close(..) => b"isochrone/1".to_vec(),
    }];
    let crypto = quinn::crypto::rustls::QuicServerConfig::try_from(tls).expect("ciphers");
    let server =
        quinn::Endpoint::server(quinn::ServerConfig::with_crypto(Arc::new(crypto)), crate::farm::any_port())
            .expect("bound");
    let address = server.local_addr().expect("bound");
    let serving = tokio::spawn(async move {
        let incoming = server.accept().await.expect("open");
        let Ok(connection) = incoming.await else {
            return;
        };
        match answer {
            RawAnswer::OtherProtocol => {}
            RawAnswer::Preamble(preamble) => {
                let (mut send, _receive) = connection.accept_bi().await.expect("stream");
                send.write_all(&preamble).await.expect("written");
                connection.closed().await;
            }
            RawAnswer::Close(code, reason) => connection.close(code.into(), reason),
        }
        server.wait_idle().await;
    });
    let client = farm.endpoint(Role::Client, "c", &[]);
    let error = client.connect(address, Role::Scheduler, None).await.expect_err("refused");
    serving.abort();
    error
}

enum RawAnswer {
    OtherProtocol,
    Preamble([u8; 8]),
    Close(u32, &'static [u8]),
}

#[tokio::test]
async fn dialling_side_names_both_versions_and_other_protocols() {
    let theirs = Version { major: 3, minor: 5 };
    let error = dial_raw_server(RawAnswer::Preamble(Preamble::encode_version(theirs))).await;
    assert!(
        matches!(error, ConnectError::VersionMismatch { theirs: named, .. } if named == theirs),
        "{error:?}"
    );
    let error = dial_raw_server(RawAnswer::Close(2, b"7.1")).await;
    assert!(error.to_string().contains("speaks protocol version 7.1, this process 2.0"), "{error}");
    let error = dial_raw_server(RawAnswer::Close(2, b"?")).await;
    assert!(matches!(error, ConnectError::Closed { .. }), "{error:?}");
    let error = dial_raw_server(RawAnswer::Close(99, b"")).await;
    assert!(matches!(error, ConnectError::Closed { .. }), "{error:?}");
    let error = dial_raw_server(RawAnswer::Preamble(*b"HTTP/1.1")).await;
    assert!(matches!(error, ConnectError::NotIsochrone { .. }), "{error:?}");
    let error = dial_raw_server(RawAnswer::OtherProtocol).await;
    assert!(matches!(error, ConnectError::NotIsochrone { .. }), "{error:?}");
}

#[tokio::test]
async fn oversized_frame_closes_the_connection() {
    let mut peer = Accepted::new().await;
    let (_sender, mut receiver) = peer.connection.take_control();
    peer.send.write_all(&u32::MAX.to_le_bytes()).await.expect("written");
    assert!(matches!(within(receiver.receive::<Message>()).await, Err(ReceiveError::Decode(_))));
    assert_eq!(application_code(&peer.quinn).await, CloseCode::LimitExceeded.to_wire().into());
    peer.assert_others_are_served().await;
}

#[tokio::test]
async fn malformed_frame_closes_the_connection() {
    let mut peer = Accepted::new().await;
    let (_sender, mut receiver) = peer.connection.take_control();
    let mut bytes = BytesMut::new();
    encode_frame(&Message::Number(1), &mut bytes, &Limits::default()).expect("small");
    bytes.extend_from_slice(&[1, 0, 0, 0, 0xc1]);
    peer.send.write_all(&bytes).await.expect("written");
    // What came before is still received.
    let message = within(receiver.receive()).await.expect("received");
    assert_eq!(message, Some(Message::Number(1)));
    assert!(matches!(within(receiver.receive::<Message>()).await, Err(ReceiveError::Decode(_))));
    assert_eq!(application_code(&peer.quinn).await, CloseCode::ProtocolViolation.to_wire().into());
    peer.assert_others_are_served().await;
}

#[tokio::test]
async fn control_stream_that_ends_in_a_message_is_an_error() {
    let mut peer = Accepted::new().await;
    let (_sender, mut receiver) = peer.connection.take_control();
    peer.send.write_all(&[9, 0, 0, 0, 1]).await.expect("written");
    peer.send.finish().expect("open");
    assert!(matches!(within(receiver.receive::<Message>()).await, Err(ReceiveError::Truncated)));
    assert_eq!(application_code(&peer.quinn).await, 3);
}

#[tokio::test]
async fn control_stream_that_is_reset_or_stopped_is_a_violation() {
    let mut peer = Accepted::new().await;
    let (_sender, mut receiver) = peer.connection.take_control();
    peer.send.reset(0_u32.into()).expect("open");
    assert!(matches!(within(receiver.receive::<Message>()).await, Err(ReceiveError::Truncated)));
    assert_eq!(application_code(&peer.quinn).await, 3);

    let mut peer = Accepted::new().await;
    let (sender, _receiver) = peer.connection.take_control();
    peer._receive.stop(0_u32.into()).expect("open");
    within(async {
        while sender.send(&Message::Number(1)).is_ok() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    })
    .await;
    assert_eq!(application_code(&peer.quinn).await, 3);
}

#[tokio::test]
async fn second_bidirectional_stream_is_a_violation() {
    let peer = Accepted::new().await;
    let (mut send, _receive) = within(peer.quinn.open_bi()).await.expect("opened");
    send.write_all(b"hello").await.expect("written");
    assert_eq!(application_code(&peer.quinn).await, CloseCode::ProtocolViolation.to_wire().into());
    peer.assert_others_are_served().await;
}

#[tokio::test]
async fn stalled_header_keeps_no_other_transfer_waiting() {
    let peer = Accepted::new().await;
    let mut stalled = Vec::new();
    for _ in 0..10 {
        let mut stream = peer.quinn.open_uni().await.expect("opened");
        stream.write_all(&header(0)[..5]).await.expect("written");
        stalled.push(stream);
    }
    let mut whole = peer.quinn.open_uni().await.expect("opened");
    whole.write_all(&header(7)).await.expect("written");
    whole.write_all(b"contents").await.expect("written");
    whole.finish().expect("open");
    let (received, bulk) =
        within(peer.connection.accept_bulk::<Message>()).await.expect("accepted").expect("open");
    assert_eq!(received, Message::Number(7));
    let contents = within(bulk.receive_exact(8)).await.expect("received");
    assert_eq!(contents, &b"contents"[..]);
    // The stalled ones are stopped in the end, and the connection goes on.
    for stream in &stalled {
        let code = within(stream.stopped()).await.expect("connected");
        assert_eq!(code.map(quinn::VarInt::into_inner), Some(4));
    }
    assert_eq!(peer.connection.close_reason(), None);
}

#[tokio::test]
async fn stream_given_up_before_its_header_is_no_transfer() {
    let peer = Accepted::new().await;
    let mut reset = peer.quinn.open_uni().await.expect("opened");
    reset.write_all(&header(1)[..3]).await.expect("written");
    reset.reset(0_u32.into()).expect("open");
    let mut ended = peer.quinn.open_uni().await.expect("opened");
    ended.write_all(&header(2)[..3]).await.expect("written");
    ended.finish().expect("open");
    let mut whole = peer.quinn.open_uni().await.expect("opened");
    whole.write_all(&header(3)).await.expect("written");
    let (received, _bulk) =
        within(peer.connection.accept_bulk::<Message>()).await.expect("accepted").expect("open");
    assert_eq!(received, Message::Number(3));
    assert_eq!(peer.connection.close_reason(), None);
}

#[tokio::test]
async fn wrong_headers_close_the_connection() {
    let peer = Accepted::new().await;
    let mut stream = peer.quinn.open_uni().await.expect("opened");
    stream.write_all(&5_000_u32.to_le_bytes()).await.expect("written");
    assert_eq!(application_code(&peer.quinn).await, CloseCode::LimitExceeded.to_wire().into());
    assert!(matches!(
        within(peer.connection.accept_bulk::<Message>()).await,
        Err(AcceptBulkError::Closed(_))
    ));

    let peer = Accepted::new().await;
    let mut stream = peer.quinn.open_uni().await.expect("opened");
    stream.write_all(&[2, 0, 0, 0, 0xa1, b'x']).await.expect("written");
    assert!(matches!(
        within(peer.connection.accept_bulk::<Message>()).await,
        Err(AcceptBulkError::Header(_))
    ));
    assert_eq!(application_code(&peer.quinn).await, 3);
}

#[tokio::test]
async fn flood_of_streams_is_held_back() {
    let peer = Accepted::new().await;
    let mut streams = Vec::new();
    for number in 0..16 {
        let mut stream = within(peer.quinn.open_uni()).await.expect("opened");
        stream.write_all(&header(number)).await.expect("written");
        streams.push(stream);
    }
    let beyond = tokio::time::timeout(Duration::from_millis(100), peer.quinn.open_uni()).await;
    assert!(beyond.is_err(), "a stream beyond the limit was granted");
    for _ in 0..16 {
        let accepted = within(peer.connection.accept_bulk::<Message>()).await;
        drop(accepted.expect("accepted"));
    }
    drop(streams);
    within(peer.quinn.open_uni()).await.expect("room again");
}
