//! Who gets in and who does not, and what both sides are told.

use std::time::{Duration, SystemTime};

use isochrone_transport::authority::IDENTITY_VALIDITY;
use isochrone_transport::{
    AcceptError, Authority, AuthorityError, CertificateFault, CloseCode, CloseReason, ConnectError, Endpoint,
    Identity, IdentityError, Role, TransportOptions,
};

use crate::farm::{Farm, RawClient, Shown, accept, any_port, join, within};

#[tokio::test]
async fn both_sides_know_each_other() {
    let farm = Farm::new();
    let scheduler = farm.endpoint(Role::Scheduler, "main", &[Role::Client]);
    let client = farm.endpoint(Role::Client, "notebook", &[]);
    let (dialled, accepted) = join(&client, &scheduler, Role::Scheduler, Some("main")).await;
    let (dialled, accepted) = (dialled.expect("connected"), accepted.expect("accepted"));
    assert_eq!(dialled.peer().to_string(), "scheduler/main");
    assert_eq!(accepted.peer().to_string(), "client/tenant/notebook");
    assert_eq!(dialled.remote_address(), scheduler.local_address().expect("bound"));
    assert!(dialled.round_trip() < Duration::from_secs(1));
    assert!(dialled.statistics().sent_bytes > 0);
    assert!(accepted.statistics().received_bytes > 0);
}

#[tokio::test]
async fn no_certificate_is_refused() {
    let farm = Farm::new();
    let server = farm.endpoint(Role::Scheduler, "main", &[Role::Client]);
    let raw = RawClient::new(&farm, &Shown::None);
    let (connection, accepted) = tokio::join!(raw.dial(&server), accept(&server));
    assert!(matches!(
        accepted.expect_err("no certificate"),
        AcceptError::TheirCertificate { fault: CertificateFault::Missing, .. }
    ));
    // The code that `ConnectError` makes `CertificateFault::Missing` of.
    let quinn::ConnectionError::ConnectionClosed(close) = within(connection.closed()).await else {
        panic!("not closed by TLS");
    };
    assert_eq!(close.error_code, quinn::TransportErrorCode::crypto(116));
}

#[tokio::test]
async fn other_authority_is_refused_on_both_sides() {
    let (farm, other) = (Farm::new(), Farm::new());
    let server = farm.endpoint(Role::Scheduler, "main", &[Role::Client]);
    let client = other.endpoint(Role::Client, "c", &[]);
    let (dialled, accepted) = join(&client, &server, Role::Scheduler, None).await;
    let error = dialled.expect_err("other authority");
    assert!(
        matches!(&error, ConnectError::TheirCertificate { fault: CertificateFault::OtherAuthority, .. }),
        "{error:?}"
    );
    let error = accepted.expect_err("other authority");
    assert!(
        matches!(&error, AcceptError::OurCertificate { fault: CertificateFault::OtherAuthority, .. }),
        "{error:?}"
    );
}

#[tokio::test]
async fn certificate_of_another_authority_does_not_get_in() {
    // This peer trusts the right farm and shows a certificate of another one.
    let (farm, other) = (Farm::new(), Farm::new());
    let server = farm.endpoint(Role::Scheduler, "main", &[Role::Client]);
    let raw = RawClient::new(&farm, &Shown::Client(&other));
    let (connection, accepted) = tokio::join!(raw.dial(&server), accept(&server));
    let error = accepted.expect_err("other authority");
    assert!(
        matches!(&error, AcceptError::TheirCertificate { fault: CertificateFault::OtherAuthority, .. }),
        "{error:?}"
    );
    assert!(matches!(within(connection.closed()).await, quinn::ConnectionError::ConnectionClosed(_)));
}

#[tokio::test]
async fn role_that_is_not_served_is_refused_and_told() {
    let farm = Farm::new();
    let server = farm.endpoint(Role::Scheduler, "main", &[Role::Client, Role::Admin]);
    let agent = farm.endpoint(Role::Agent, "a", &[]);
    let (dialled, accepted) = join(&agent, &server, Role::Scheduler, None).await;
    let error = dialled.expect_err("agents are not served");
    assert!(matches!(&error, ConnectError::RoleRefused { role: Role::Agent, .. }), "{error:?}");
    assert!(error.to_string().ends_with("served here: client, admin"));
    assert!(matches!(
        accepted.expect_err("agents are not served"),
        AcceptError::RoleRefused { identity, .. } if identity.to_string() == "agent/a"
    ));
}

#[tokio::test]
async fn impostor_of_another_role_is_found_out() {
    let farm = Farm::new();
    let impostor = farm.endpoint(Role::Agent, "evil", &[Role::Client]);
    let client = farm.endpoint(Role::Client, "c", &[]);
    let (dialled, accepted) = join(&client, &impostor, Role::Scheduler, None).await;
    let error = dialled.expect_err("an agent is no scheduler");
    assert!(
        matches!(
            &error,
            ConnectError::WrongRole { expected: Role::Scheduler, found, .. }
                if found.to_string() == "agent/evil"
        ),
        "{error:?}"
    );
    assert!(accepted.is_err());
}

#[tokio::test]
async fn agent_of_another_name_is_found_out() {
    let farm = Farm::new();
    let server = farm.endpoint(Role::Agent, "gpu1", &[Role::Client]);
    let client = farm.endpoint(Role::Client, "c", &[]);
    let (dialled, accepted) = join(&client, &server, Role::Agent, Some("gpu2")).await;
    let error = dialled.expect_err("another agent");
    assert!(
        matches!(
            &error,
            ConnectError::WrongName { expected, found, .. }
                if expected == "gpu2" && found.name == "gpu1"
        ),
        "{error:?}"
    );
    assert!(matches!(
        accepted.expect_err("given up"),
        AcceptError::Closed { source: CloseReason::Peer { code: CloseCode::Done, .. }, .. }
    ));
}

#[tokio::test]
async fn client_certificate_cannot_accept() {
    let farm = Farm::new();
    let server = farm.endpoint(Role::Client, "c", &[Role::Agent]);
    let agent = farm.endpoint(Role::Agent, "a", &[]);
    let (dialled, accepted) = join(&agent, &server, Role::Client, None).await;
    let error = dialled.expect_err("no server's certificate");
    assert!(
        matches!(&error, ConnectError::TheirCertificate { fault: CertificateFault::OtherPurpose, .. }),
        "{error:?}"
    );
    assert!(accepted.is_err());
}

#[tokio::test]
async fn expired_certificate_is_refused_on_both_sides() {
    let farm = Farm::new();
    let expired = |role, name, tenant| -> Identity {
        let issued = farm.authority.issue(role, name, tenant, Duration::ZERO);
        issued.expect("issued").identity().expect("usable")
    };
    let mut options = TransportOptions::new();
    options.allowed_roles(&[Role::Client]);
    let expired_server =
        Endpoint::bind(any_port(), &expired(Role::Scheduler, "s", None), options.clone()).expect("bound");
    let expired_client =
        Endpoint::bind(any_port(), &expired(Role::Client, "c", Some("t")), TransportOptions::new())
            .expect("bound");
    // A certificate is still valid in the second in which it expires.
    tokio::time::sleep(Duration::from_millis(1_100)).await;

    let server = farm.endpoint(Role::Scheduler, "main", &[Role::Client]);
    let (dialled, accepted) = join(&expired_client, &server, Role::Scheduler, None).await;
    let error = dialled.expect_err("expired");
    assert!(
        matches!(&error, ConnectError::OurCertificate { fault: CertificateFault::OutOfTime, .. }),
        "{error:?}"
    );
    assert!(matches!(
        accepted.expect_err("expired"),
        AcceptError::TheirCertificate { fault: CertificateFault::OutOfTime, .. }
    ));

    let client = farm.endpoint(Role::Client, "c", &[]);
    let (dialled, _) = join(&client, &expired_server, Role::Scheduler, None).await;
    assert!(matches!(
        dialled.expect_err("expired"),
        ConnectError::TheirCertificate { fault: CertificateFault::OutOfTime, .. }
    ));
}

#[tokio::test]
async fn nobody_there_refusing_and_unreachable_are_told_apart() {
    let farm = Farm::new();
    let quick = |options: &mut TransportOptions| {
        options.handshake_timeout(Duration::from_millis(200));
    };
    let client = farm.endpoint_with(Role::Client, "c", &[], quick);

    // A socket that answers nothing.
    let silent = std::net::UdpSocket::bind(any_port()).expect("bound");
    let address = silent.local_addr().expect("bound");
    let error = client.connect(address, Role::Scheduler, None).await;
    assert!(matches!(error, Err(ConnectError::TimedOut { .. })));

    let server = farm.endpoint(Role::Scheduler, "main", &[Role::Client]);
    let address = server.local_address().expect("bound");
    let (error, ()) = tokio::join!(client.connect(address, Role::Scheduler, None), async {
        within(server.accept()).await.expect("open").refuse();
    });
    assert!(matches!(error, Err(ConnectError::Refused { .. })));

    // An address of a family that has no route from this socket.
    let error = client.connect("255.255.255.255:9".parse().expect("address"), Role::Scheduler, None).await;
    assert!(matches!(error, Err(ConnectError::Unreachable { .. })), "{error:?}");

    let error = client
        .connect("127.0.0.1:0".parse().expect("address"), Role::Scheduler, None)
        .await
        .expect_err("port 0");
    assert!(matches!(&error, ConnectError::Dial { .. } | ConnectError::Unreachable { .. }), "{error:?}");
}

#[tokio::test]
async fn address_in_use_is_named() {
    let farm = Farm::new();
    let taken = std::net::UdpSocket::bind(any_port()).expect("bound");
    let address = taken.local_addr().expect("bound");
    let identity = farm.identity(Role::Scheduler, "main");
    let error = Endpoint::bind(address, &identity, TransportOptions::new()).expect_err("in use");
    assert!(error.to_string().contains(&address.to_string()), "{error}");
}

#[test]
#[expect(clippy::disallowed_methods, reason = "validity is told in calendar time")]
fn identities_come_back_from_their_files() {
    let folder = tempfile::tempdir().expect("folder");
    let directory = folder.path().join("certificates");
    let authority = Authority::create("farm-1").expect("authority");
    authority.save(&directory).expect("saved");
    let authority = Authority::load(&directory).expect("loaded");
    assert_eq!(authority.farm_name(), "farm-1");

    let issue = |role, name, tenant| authority.issue(role, name, tenant, IDENTITY_VALIDITY).expect("issued");
    let issued = issue(Role::Client, "c", Some("physics"));
    issued.save(&directory).expect("saved");
    let identity = Identity::load_named(&directory, Role::Client, "c").expect("loaded");
    assert_eq!(identity.peer_identity().to_string(), "client/physics/c");
    assert_eq!(identity.not_after(), issued.not_after());
    let left = identity.not_after().duration_since(SystemTime::now()).expect("valid");
    assert!(left <= IDENTITY_VALIDITY && left > IDENTITY_VALIDITY - Duration::from_secs(60));

    assert!(matches!(issued.save(&directory), Err(AuthorityError::AlreadyThere { .. })));
    assert!(matches!(authority.save(&directory), Err(AuthorityError::AlreadyThere { .. })));
    issue(Role::Client, "c", Some("chemistry")).save_replacing(&directory).expect("replaced");
    let identity = Identity::load_named(&directory, Role::Client, "c").expect("loaded");
    assert_eq!(identity.peer_identity().to_string(), "client/chemistry/c");

    #[cfg(unix)]
    for key in ["authority.key", "client-c.key"] {
        use std::os::unix::fs::PermissionsExt;
        let metadata = std::fs::metadata(directory.join(key)).expect("there");
        assert_eq!(metadata.permissions().mode() & 0o777, 0o600, "{key}");
    }
}

#[test]
fn unusable_files_are_named() {
    let folder = tempfile::tempdir().expect("folder");
    let (here, there) = (folder.path().join("here"), folder.path().join("there"));
    for directory in [&here, &there] {
        let authority = Authority::create("farm").expect("authority");
        authority.save(directory).expect("saved");
        for name in ["a", "b"] {
            authority
                .issue(Role::Agent, name, None, IDENTITY_VALIDITY)
                .and_then(|issued| issued.save(directory))
                .expect("saved");
        }
        authority
            .issue(Role::Agent, "short", None, Duration::ZERO)
            .and_then(|issued| issued.save(directory))
            .expect("saved");
    }
    let (a, b) = (here.join("agent-a.pem"), here.join("agent-b.key"));
    let (key, authority) = (here.join("agent-a.key"), here.join("authority.pem"));
    Identity::load(&a, &key, &authority).expect("usable");

    let error = Identity::load_named(&here, Role::Agent, "c").expect_err("missing");
    assert!(matches!(error, IdentityError::Read { .. }), "{error:?}");
    assert!(error.to_string().contains("agent-c.pem"));
    let error = Identity::load(&a, &b, &authority).expect_err("another key");
    assert!(matches!(error, IdentityError::KeyMismatch { .. }), "{error:?}");
    let error = Identity::load(&a, &key, &there.join("authority.pem")).expect_err("another farm");
    assert!(matches!(error, IdentityError::OtherAuthority { .. }), "{error:?}");
    let error = Identity::load(&key, &key, &authority).expect_err("no certificate");
    assert!(matches!(error, IdentityError::Pem { .. }), "{error:?}");
    let error =
        Identity::load(&authority, &here.join("authority.key"), &authority).expect_err("states no identity");
    assert!(matches!(error, IdentityError::Stated { .. }), "{error:?}");
    std::thread::sleep(Duration::from_millis(1_100));
    let error = Identity::load_named(&here, Role::Agent, "short").expect_err("expired");
    assert!(matches!(error, IdentityError::NotValidNow { .. }), "{error:?}");

    std::fs::copy(there.join("authority.key"), here.join("authority.key")).expect("copied");
    assert!(matches!(Authority::load(&here), Err(AuthorityError::KeyMismatch { .. })));
    let stranger = Authority::create("farm").expect("authority");
    let issued = stranger.issue(Role::Agent, "z", None, IDENTITY_VALIDITY);
    assert!(matches!(issued.expect("issued").save(&here), Err(AuthorityError::OtherFarm { .. })));
    assert!(matches!(
        stranger.issue(Role::Agent, "No Name", None, IDENTITY_VALIDITY),
        Err(AuthorityError::Name(_))
    ));
}
