//! Clients of the sessions that the machine admitted.
//!
//! A client shows the session's secret; one that is earlier than the scheduler's word is held for a
//! while. What cannot go directly goes through the scheduler. It must never wait.

use std::collections::BTreeMap;

use isochrone_model::message::AgentToClient;
use isochrone_model::order::SessionSecret;
use isochrone_model::{SessionId, Span, Timestamp};
use isochrone_transport::{CloseCode, Connection, ControlSender};
use tokio::sync::oneshot;

use crate::inputs::LinkId;
use crate::recent::Recent;

/// How long a client may be earlier than the scheduler's word on its session.
const EARLY_FOR: Span = Span::from_secs(5);

/// Clients that are earlier at one time.
const EARLY_MAX: usize = 256;

/// How long a farewell may take.
const FAREWELL_TIMEOUT: std::time::Duration = std::time::Duration::from_secs(2);

/// All clients and the sessions that they may show.
#[derive(Debug, Default)]
pub(crate) struct Clients {
    sessions: BTreeMap<SessionId, Session>,
    early: Vec<Early>,
}

#[derive(Debug)]
struct Session {
    secret: SessionSecret,
    link: Option<ClientLink>,
    recent: Recent<AgentToClient>,
}

#[derive(Debug)]
struct ClientLink {
    link: LinkId,
    connection: Connection,
    sender: ControlSender,
}

/// A client that said hello.
#[derive(Debug)]
pub(crate) struct Hello {
    pub(crate) link: LinkId,
    pub(crate) session: SessionId,
    pub(crate) secret: SessionSecret,
    pub(crate) connection: Connection,
    pub(crate) sender: ControlSender,
    pub(crate) admitted: oneshot::Sender<()>,
}

#[derive(Debug)]
struct Early {
    hello: Hello,
    until: Timestamp,
}

impl Clients {
    /// A client with this secret may connect for this session. Gives messages that a connection which
    /// it replaces may not have delivered.
    pub(crate) fn admit(&mut self, session: SessionId, secret: SessionSecret) -> Vec<AgentToClient> {
        let held = Session { secret, link: None, recent: Recent::default() };
        self.sessions.entry(session).or_insert(held).secret = secret;
        let (now_known, early) =
            std::mem::take(&mut self.early).into_iter().partition(|early| early.hello.session == session);
        self.early = early;
        let known: Vec<Early> = now_known;
        known.into_iter().flat_map(|early| self.let_in(early.hello)).collect()
    }

    /// A client says hello. Gives messages that a connection which it replaces may not have delivered.
    pub(crate) fn said_hello(&mut self, now: Timestamp, hello: Hello) -> Vec<AgentToClient> {
        if self.sessions.contains_key(&hello.session) {
            return self.let_in(hello);
        }
        if self.early.len() < EARLY_MAX {
            self.early.push(Early { hello, until: now + EARLY_FOR });
        } else {
            hello.connection.close(CloseCode::LimitExceeded, "too many clients of unknown sessions");
        }
        Vec::new()
    }

    /// Refuses the clients whose session did not become known in time.
    pub(crate) fn refuse_late(&mut self, now: Timestamp) {
        self.early.retain(|early| {
            let may_wait = early.until > now;
            if !may_wait {
                refuse(&early.hello.connection);
            }
            may_wait
        });
        for session in self.sessions.values_mut() {
            session.recent.forget_old(now);
        }
    }

    /// No client may connect for this session any more.
    pub(crate) fn dismiss(&mut self, session: SessionId) {
        let Some(link) = self.sessions.remove(&session).and_then(|session| session.link) else {
            return;
        };
        tokio::spawn(async move {
            // A client that does not take it sees the connection close.
            let _ = tokio::time::timeout(FAREWELL_TIMEOUT, link.sender.finish()).await;
            link.connection.close(CloseCode::Done, "the session is over");
        });
    }

    /// A client's connection ended; gives what it may not have received.
    pub(crate) fn ended(&mut self, link: LinkId, session: SessionId) -> Vec<AgentToClient> {
        match self.sessions.get_mut(&session) {
            Some(held) if held.link.as_ref().is_some_and(|held| held.link == link) => {
                held.link = None;
                held.recent.take()
            }
            Some(_) | None => Vec::new(),
        }
    }

    /// Sends a message directly; gives it back when it has to go through the scheduler.
    pub(crate) fn send(
        &mut self,
        now: Timestamp,
        session: SessionId,
        message: AgentToClient,
    ) -> Result<(), AgentToClient> {
        let Some(held) = self.sessions.get_mut(&session) else { return Err(message) };
        let Some(link) = &held.link else { return Err(message) };
        if link.sender.send(&message).is_err() {
            return Err(message);
        }
        let contents_bytes = match &message {
            AgentToClient::Data { bytes, .. } => bytes.len() as u64,
            AgentToClient::Welcome | AgentToClient::Done { .. } => 0,
        };
        held.recent.keep(now, message, contents_bytes);
        Ok(())
    }

    /// The connection of a session's client, when there is one.
    pub(crate) fn connection(&self, session: SessionId) -> Option<Connection> {
        Some(self.sessions.get(&session)?.link.as_ref()?.connection.clone())
    }

    fn let_in(&mut self, hello: Hello) -> Vec<AgentToClient> {
        let Some(held) = self.sessions.get_mut(&hello.session) else { return Vec::new() };
        if !is_same(held.secret, hello.secret) {
            tracing::warn!(session = %hello.session, "a client showed a wrong secret");
            refuse(&hello.connection);
            return Vec::new();
        }
        let mut undelivered = Vec::new();
        if let Some(old) = held.link.take() {
            old.connection.close(CloseCode::Done, "the client connected anew");
            undelivered = held.recent.take();
        }
        // A connection that has ended already is found by its reader.
        let Hello { link, connection, sender, admitted, .. } = hello;
        let _ = sender.send(&AgentToClient::Welcome);
        let _ = admitted.send(());
        held.link = Some(ClientLink { link, connection, sender });
        undelivered
    }
}

impl Drop for Clients {
    fn drop(&mut self) {
        let early = self.early.iter().map(|early| &early.hello.connection);
        let links = self.sessions.values().filter_map(|session| session.link.as_ref());
        for connection in links.map(|link| &link.connection).chain(early) {
            connection.close(CloseCode::Done, "this agent begins anew");
        }
    }
}

fn refuse(connection: &Connection) {
    connection.close(CloseCode::SessionRefused, "no such session for this client");
}

/// Compares in a time that does not depend on where the first difference is.
fn is_same(known: SessionSecret, shown: SessionSecret) -> bool {
    let differences =
        known.0.iter().zip(shown.0).fold(0, |differences, (known, shown)| differences | (known ^ shown));
    std::hint::black_box(differences) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_the_same_only_in_every_byte() {
        let secret = SessionSecret([7; 16]);
        assert!(is_same(secret, secret));
        for place in 0..16 {
            let mut other = secret;
            other.0[place] ^= 0x80;
            assert!(!is_same(secret, other));
        }
    }
}
