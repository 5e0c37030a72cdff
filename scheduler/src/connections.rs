//! The tasks that read what agents, clients and administrators say, and hand it to the loop.
//!
//! Each connection has a task; what it has handed over and the loop has not taken yet is bounded, so
//! that a peer which says too much only waits itself. It must never decide anything about the farm.

use std::sync::Arc;
use std::time::Duration;

use isochrone_model::message::{AgentHello, AgentToScheduler, ClientRequest, Question};
use isochrone_model::{AgentFacts, PathSample, Span};
use isochrone_transport::{
    CloseCode, Connection, ControlReceiver, ControlSender, Endpoint, Incoming, Pace, PathMeter, PeerIdentity,
    Role,
};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch};

use crate::relay::{Known, Routes, relay_streams};
use crate::validate::{self, Violation};

/// Frames of one peer that the loop has not taken yet; enough that it never waits for the reader.
const FRAMES_WAITING_MAX: usize = 16;

/// How long an agent may take to introduce itself.
const HELLO_TIMEOUT: Duration = Duration::from_secs(5);

/// Handshakes under way at one time: bounds what strangers can make this process hold.
const HANDSHAKES_MAX: usize = 256;

/// One connection, for as long as this process runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct LinkId(pub(crate) u64);

/// What connections tell the loop.
#[derive(Debug)]
pub(crate) enum Input {
    /// An agent introduced itself.
    AgentConnected { link: LinkId, wire: Wire, facts: AgentFacts },
    /// It says something.
    AgentSaid { link: LinkId, message: AgentToScheduler, permit: OwnedSemaphorePermit },
    /// A client or administrator connected.
    ClientConnected { link: LinkId, wire: Wire, identity: PeerIdentity },
    /// It asks something.
    ClientAsked { link: LinkId, request: ClientRequest, permit: OwnedSemaphorePermit },
    /// The path of a connection was measured.
    PathMeasured { link: LinkId, sample: PathSample },
    /// A connection ended.
    Ended { link: LinkId, reason: String },
}

/// The loop's end of a connection.
#[derive(Debug)]
pub(crate) struct Wire {
    pub(crate) connection: Connection,
    pub(crate) sender: ControlSender,
    /// To be filled by the loop when it knows which agent or session this is.
    pub(crate) known: Known,
}

/// Where connections send their inputs. Unbounded, because each connection's share is bounded by its
/// permits and the number of connections by the farm's certificates.
pub(crate) type Inputs = mpsc::UnboundedSender<Input>;

/// Accepts connections until the endpoint is closed.
pub(crate) async fn accept_connections(
    endpoint: Endpoint,
    inputs: Inputs,
    routes: Arc<Routes>,
    pace: watch::Receiver<Pace>,
) {
    let handshakes = Arc::new(Semaphore::new(HANDSHAKES_MAX));
    let mut next = 0;
    while let Some(incoming) = endpoint.accept().await {
        let Ok(permit) = Arc::clone(&handshakes).acquire_owned().await else { return };
        let link = LinkId(next);
        next += 1;
        tokio::spawn(serve(incoming, link, permit, inputs.clone(), Arc::clone(&routes), pace.clone()));
    }
}

async fn serve(
    incoming: Incoming,
    link: LinkId,
    handshake: OwnedSemaphorePermit,
    inputs: Inputs,
    routes: Arc<Routes>,
    pace: watch::Receiver<Pace>,
) {
    let connection = match incoming.establish().await {
        Ok(connection) => connection,
        Err(error) => return tracing::debug!("not established: {}", described(&error)),
    };
    drop(handshake);
    let (sender, receiver) = connection.take_control();
    let known = Known::default();
    tokio::spawn(relay_streams(connection.clone(), Arc::clone(&known), routes));
    tokio::spawn(measure(connection.meter(), link, pace, inputs.clone()));
    let identity = connection.peer().clone();
    let wire = Wire { connection: connection.clone(), sender, known };
    let reason = match identity.role {
        Role::Agent if !connection.confirmed().await => return,
        Role::Agent => read_agent(receiver, wire, link, &identity, &inputs).await,
        Role::Client | Role::Admin => read_client(receiver, wire, link, identity, &inputs).await,
        // The endpoint does not let schedulers in.
        Role::Scheduler => return connection.close(CloseCode::RoleRefused, "one scheduler is enough"),
    };
    // The loop ends with the process.
    let _ = inputs.send(Input::Ended { link, reason });
}

/// Hands what is measured of a path to the loop, until its connection ends.
async fn measure(mut meter: PathMeter, link: LinkId, mut pace: watch::Receiver<Pace>, inputs: Inputs) {
    while let Some(measured) = meter.next(&mut pace).await {
        let sample = PathSample {
            round_trips: measured.round_trips.into_iter().map(Span::from).collect(),
            sent_packets: measured.sent_packets,
            lost_packets: measured.lost_packets,
            window_bytes: measured.congestion_window_bytes,
        };
        if inputs.send(Input::PathMeasured { link, sample }).is_err() {
            return;
        }
    }
}

async fn read_agent(
    mut receiver: ControlReceiver,
    wire: Wire,
    link: LinkId,
    identity: &PeerIdentity,
    inputs: &Inputs,
) -> String {
    let connection = wire.connection.clone();
    let hello = tokio::time::timeout(HELLO_TIMEOUT, receiver.receive::<AgentToScheduler>()).await;
    let facts = match hello {
        Ok(Ok(Some(AgentToScheduler::Hello(AgentHello { facts })))) => facts,
        Ok(Ok(Some(_)) | Err(_)) | Err(_) => return refuse(&connection, &Violation::NoHello),
        Ok(Ok(None)) => return "closed before its hello".to_owned(),
    };
    if let Err(violation) = validate::agent_facts(&facts, &identity.name) {
        return refuse(&connection, &violation);
    }
    let _ = inputs.send(Input::AgentConnected { link, wire, facts });
    let permits = Arc::new(Semaphore::new(FRAMES_WAITING_MAX));
    loop {
        let Ok(permit) = Arc::clone(&permits).acquire_owned().await else {
            return "the loop ended".to_owned();
        };
        let message = match receiver.receive::<AgentToScheduler>().await {
            Ok(Some(message)) => message,
            Ok(None) => return "it finished".to_owned(),
            Err(error) => return described(&error),
        };
        let checked = match &message {
            AgentToScheduler::Hello(_) => Err(Violation::SecondHello),
            AgentToScheduler::Reports(reports) => reports.iter().try_for_each(validate::report),
            AgentToScheduler::RelayToClient { .. } | AgentToScheduler::RelayToPeer { .. } => Ok(()),
        };
        if let Err(violation) = checked {
            return refuse(&connection, &violation);
        }
        let _ = inputs.send(Input::AgentSaid { link, message, permit });
    }
}

async fn read_client(
    mut receiver: ControlReceiver,
    wire: Wire,
    link: LinkId,
    identity: PeerIdentity,
    inputs: &Inputs,
) -> String {
    let connection = wire.connection.clone();
    let _ = inputs.send(Input::ClientConnected { link, wire, identity });
    let permits = Arc::new(Semaphore::new(FRAMES_WAITING_MAX));
    loop {
        let Ok(permit) = Arc::clone(&permits).acquire_owned().await else {
            return "the loop ended".to_owned();
        };
        let request = match receiver.receive::<ClientRequest>().await {
            Ok(Some(request)) => request,
            Ok(None) => return "it finished".to_owned(),
            Err(error) => return described(&error),
        };
        if let Err(violation) = validate::request(&request) {
            return refuse(&connection, &violation);
        }
        // Early data waits for the end of the handshake, and all that comes after it with it.
        if !connection.is_confirmed() && !is_harmless(&request) && !connection.confirmed().await {
            return "it ended in its handshake".to_owned();
        }
        let _ = inputs.send(Input::ClientAsked { link, request, permit });
    }
}

/// Whether a request may be acted on before the handshake is complete, when it may be someone's old words. Tickets
/// are taken once, so that none is in fact; should one be all the same, a question is answered under the keys of
/// its first asker, and a session opens that ends with its connection and in which nothing can be said.
fn is_harmless(request: &ClientRequest) -> bool {
    match request {
        ClientRequest::Open { .. } => true,
        ClientRequest::Ask { question, .. } => match question {
            Question::Devices | Question::Status | Question::Links | Question::Explain { .. } => true,
            Question::Shutdown => false,
        },
        ClientRequest::CreateBuffer { .. }
        | ClientRequest::ReleaseBuffer { .. }
        | ClientRequest::CreateProgram { .. }
        | ClientRequest::ReleaseProgram { .. }
        | ClientRequest::Submit { .. }
        | ClientRequest::Cancel { .. }
        | ClientRequest::Close => false,
    }
}

/// Closes a connection whose peer broke the protocol, and says so in words.
pub(crate) fn refuse(connection: &Connection, violation: &Violation) -> String {
    let reason = violation.to_string();
    connection.close(CloseCode::ProtocolViolation, &reason);
    reason
}

/// An error with its sources, in one line.
pub(crate) fn described(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text = format!("{text}: {error}");
        source = error.source();
    }
    text
}
