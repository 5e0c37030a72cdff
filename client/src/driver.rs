//! One session's connection to the scheduler: opening it, the two tasks that keep it, its end.
//!
//! Must never hold what handles need: that is in [`Shared`], so that the ends of commands reach those
//! who wait for them without passing through here.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use isochrone_model::SessionId;
use isochrone_model::message::{AgentAddress, ClientReply, ClientRequest, RequestName};
use isochrone_transport::{
    CloseCode, Connection, ControlReceiver, ControlSender, First, FlushError, SendError,
};
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio::time::Sleep;

use crate::error::OpenError;
use crate::farm::Dialler;
use crate::links::{self, Links};
use crate::session::{Session, SessionOptions};
use crate::shared::{Shared, Terms};

/// How long the scheduler's word on the end of a session is waited for; it may have to cancel much.
const CLOSED_TIMEOUT: Duration = Duration::from_secs(10);

/// Opens a session on a new connection, and tells when it is open. What is enqueued by the time at which the connection
/// stands travels with the request for the session.
pub(crate) fn begin(
    dialler: &Dialler,
    options: SessionOptions,
) -> (Session, oneshot::Receiver<Result<(), OpenError>>) {
    let shared = Arc::new(Shared::new());
    let (tell, opened) = oneshot::channel();
    // Made before the task so that the session ends even if the runtime never polls the task.
    let end = End(Arc::clone(&shared));
    tokio::spawn(open_and_run(end, dialler.clone(), options.policy, tell));
    (Session::new(shared, dialler.options.answer_timeout), opened)
}

async fn open_and_run(
    end: End,
    dialler: Dialler,
    policy: String,
    tell: oneshot::Sender<Result<(), OpenError>>,
) {
    // Whoever began the session need not wait for word of it.
    match open(end, &dialler, policy).await {
        Ok((run, sender, receiver)) => {
            let _ = tell.send(Ok(()));
            run.run(sender, receiver).await;
        }
        Err(error) => {
            let _ = tell.send(Err(error));
        }
    }
}

async fn open(
    end: End,
    dialler: &Dialler,
    policy: String,
) -> Result<(Run, ControlSender, ControlReceiver), OpenError> {
    let shared = Arc::clone(&end.0);
    let opened = dial(&shared, dialler, policy).await.inspect_err(|error| {
        shared.end(&described("the session was not opened", error));
    });
    let (terms, agents, connection, sender, receiver) = opened?;
    let mut links = Links::new(
        shared,
        terms,
        dialler.endpoint.clone(),
        connection.clone(),
        dialler.options.connect_timeout,
    );
    for agent in agents {
        links.join(agent);
    }
    Ok((Run { end, session: terms.session, connection, links }, sender, receiver))
}

type Dialled = (Terms, Vec<AgentAddress>, Connection, ControlSender, ControlReceiver);

async fn dial(shared: &Shared, dialler: &Dialler, policy: String) -> Result<Dialled, OpenError> {
    let open = [ClientRequest::Open { policy }];
    let said = Mutex::new(Arc::new(Vec::new()));
    // Kept for the next of the scheduler's addresses, should this one not answer.
    let gather = || {
        let mut said = said.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::make_mut(&mut said).extend(shared.drain());
        Arc::clone(&said)
    };
    let first = First::harmless(&open).then(&gather);
    let (connection, sender, mut receiver) = dialler.connect(first).await?;
    connection.prepare_bulk();
    let timeout = dialler.options.connect_timeout;
    let (terms, agents) = tokio::time::timeout(timeout, opened(&mut receiver))
        .await
        .map_err(|_| OpenError::TimedOut { timeout })??;
    Ok((shared.opened(terms), agents, connection, sender, receiver))
}

async fn opened(receiver: &mut ControlReceiver) -> Result<(Terms, Vec<AgentAddress>), OpenError> {
    match receiver.receive::<ClientReply>().await {
        Ok(Some(ClientReply::Opened { session, secret, agents, inline_bytes_max })) => {
            Ok((Terms { session, secret, inline_bytes_max }, agents))
        }
        Ok(Some(ClientReply::RequestFailed { request: RequestName::Open, error })) => {
            Err(OpenError::Refused(error))
        }
        Ok(Some(ClientReply::Closed { reason })) => Err(OpenError::Closed { reason }),
        Ok(Some(reply)) => Err(OpenError::Unexpected { reply: format!("{reply:?}") }),
        Ok(None) => Err(OpenError::Ended),
        Err(error) => Err(OpenError::Lost(error)),
    }
}

/// Ends the session when its task ends, however it does.
struct End(Arc<Shared>);

impl Drop for End {
    fn drop(&mut self) {
        self.0.end("the tasks of the session were stopped, as when a runtime shuts down");
    }
}

/// Ready when the time is up; never without one.
async fn elapsed(timer: Pin<&mut Option<Sleep>>) {
    match timer.as_pin_mut() {
        Some(timer) => timer.await,
        None => std::future::pending().await,
    }
}

struct Run {
    end: End,
    session: SessionId,
    connection: Connection,
    links: Links,
}

impl Run {
    async fn run(mut self, sender: ControlSender, mut receiver: ControlReceiver) {
        let shared = Arc::clone(&self.end.0);
        let mut tasks = JoinSet::new();
        let (close_sent, mut close_was_sent) = oneshot::channel();
        tasks.spawn(send_requests(Arc::clone(&shared), sender, close_sent));
        tasks.spawn(links::receive_contents(self.connection.clone(), Arc::clone(&shared), self.session));
        let mut closing = std::pin::pin!(None::<Sleep>);
        let mut replies = Vec::new();
        let reason = loop {
            tokio::select! {
                received = receiver.receive_many::<ClientReply>(&mut replies) => {
                    // Replies that came before the end of the connection count.
                    if let Some(reason) = replies.drain(..).find_map(|reply| self.take(reply)) {
                        break reason;
                    }
                    match received {
                        Ok(1..) => {}
                        Ok(0) => break "the scheduler ended the connection".to_owned(),
                        Err(error) => break lost(&error),
                    }
                }
                sent = &mut close_was_sent, if closing.is_none() => match sent {
                    Ok(Ok(())) => closing.set(Some(tokio::time::sleep(CLOSED_TIMEOUT))),
                    Ok(Err(error)) => break lost(&error),
                    Err(_) => break "the sending task of the session stopped".to_owned(),
                },
                () = elapsed(closing.as_mut()), if closing.is_some() => {
                    break "it was closed by this client; the scheduler did not confirm".to_owned();
                }
            }
        };
        shared.end(&reason);
        self.connection.close(CloseCode::Done, "");
    }

    /// Takes a reply in; gives the reason when it ends the session.
    fn take(&mut self, reply: ClientReply) -> Option<String> {
        let shared = &self.end.0;
        match reply {
            ClientReply::AgentJoined { agent } => self.links.join(agent),
            ClientReply::AgentLeft { agent } => self.links.leave(agent),
            ClientReply::Program { program, outcome } => shared.program(program, outcome),
            ClientReply::SendPayload { command, task, agent } => {
                self.links.send_payload(command, task, agent);
            }
            ClientReply::Failed { command, error } => shared.failed(command, error),
            ClientReply::RequestFailed { request, error } => shared.request_failed(request, error),
            ClientReply::Relayed(message) => links::take_message(shared, message),
            ClientReply::Answer { question_id, answer } => {
                shared.questions.answer(question_id, answer);
            }
            ClientReply::Closed { reason } => return Some(reason),
            ClientReply::Opened { .. } => {
                tracing::warn!("the scheduler opened a session that is already open");
            }
        }
        None
    }
}

/// Sends what is enqueued until the session is to be closed. Tells when that has been sent, or why
/// nothing can be sent.
async fn send_requests(
    shared: Arc<Shared>,
    sender: ControlSender,
    close_sent: oneshot::Sender<Result<(), SendError>>,
) {
    let outcome = loop {
        let requests = shared.take_requests().await;
        let is_last = requests.last() == Some(&ClientRequest::Close);
        if let Err(error) = send_all(&sender, &requests).await {
            break Err(error);
        }
        if is_last {
            break Ok(());
        }
    };
    // The other side is gone only when the session has ended already.
    let _ = close_sent.send(outcome);
    // The sender stays until the session has ended: dropping it would end the stream.
    shared.wait_ended().await;
}

async fn send_all(sender: &ControlSender, requests: &[ClientRequest]) -> Result<(), SendError> {
    for request in requests {
        loop {
            match sender.send(request) {
                Ok(()) => break,
                Err(SendError::Full { .. }) => {
                    // A queue that has been written takes any one frame.
                    if let Err(FlushError::Closed(reason)) = sender.flushed().await {
                        return Err(SendError::Closed(reason));
                    }
                }
                Err(error @ (SendError::Encode(_) | SendError::Finished | SendError::Closed(_))) => {
                    return Err(error);
                }
            }
        }
    }
    Ok(())
}

/// The loss of the scheduler's connection with its causes, for people.
fn lost(error: &dyn std::error::Error) -> String {
    described("the connection to the scheduler was lost", error)
}

/// An error with its causes, for people.
fn described(what: &str, error: &dyn std::error::Error) -> String {
    let mut text = format!("{what}: {error}");
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}
