//! Other agents: the connections dialled to them ahead of need, and those that they dialled.
//!
//! A connection carries only its dialler's traffic. What cannot go directly goes through the scheduler.
//! It must never wait: dialling is done by tasks.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use isochrone_model::message::PeerMessage;
use isochrone_model::{AgentId, LinkEnd, Timestamp};
use isochrone_transport::{CloseCode, Connection, ControlSender, Endpoint, First, Pace, Role};
use tokio::sync::{oneshot, watch};
use tokio::task::AbortHandle;

use crate::error_text::described;
use crate::inputs::{Input, Inputs, LinkId, measure};
use crate::recent::Recent;

/// The first and the longest wait between two attempts to reach a peer.
const BACKOFF_MIN: Duration = Duration::from_millis(100);
const BACKOFF_MAX: Duration = Duration::from_secs(5);

/// Peers that dialled and that the scheduler has not named yet.
const UNVERIFIED_MAX: usize = 1_024;

/// All other agents.
pub(crate) struct Peers {
    own: AgentId,
    endpoint: Endpoint,
    inputs: Inputs,
    pace: watch::Receiver<Pace>,
    dialled: BTreeMap<AgentId, Dialled>,
    /// Connections that peers dialled, once verified.
    accepted: BTreeMap<LinkId, (AgentId, Connection)>,
    unverified: BTreeMap<LinkId, Unverified>,
    dials: u64,
}

struct Dialled {
    name: String,
    /// Tells this dialling task from earlier ones.
    dial: u64,
    dialler: AbortHandle,
    link: Option<DialledLink>,
    recent: Recent<PeerMessage>,
}

struct DialledLink {
    connection: Connection,
    sender: ControlSender,
}

struct Unverified {
    agent: AgentId,
    name: String,
    connection: Connection,
    verified: oneshot::Sender<()>,
}

impl Peers {
    pub(crate) fn new(own: AgentId, endpoint: Endpoint, inputs: Inputs, pace: watch::Receiver<Pace>) -> Self {
        Self {
            own,
            endpoint,
            inputs,
            pace,
            dialled: BTreeMap::new(),
            accepted: BTreeMap::new(),
            unverified: BTreeMap::new(),
            dials: 0,
        }
    }

    /// Another agent is there: begins to dial it, and lets in what it dialled.
    pub(crate) fn joined(&mut self, agent: AgentId, name: String, address: &str) {
        self.left(agent);
        if agent == self.own {
            return;
        }
        let Ok(address) = address.parse::<SocketAddr>() else {
            tracing::warn!(name, address, "a peer's address is none; it is reached by relay");
            return;
        };
        self.dials += 1;
        let dialler = tokio::spawn(dial(Dial {
            endpoint: self.endpoint.clone(),
            address,
            name: name.clone(),
            own: self.own,
            agent,
            dial: self.dials,
            inputs: self.inputs.clone(),
            pace: self.pace.clone(),
        }));
        self.dialled.insert(
            agent,
            Dialled {
                name,
                dial: self.dials,
                dialler: dialler.abort_handle(),
                link: None,
                recent: Recent::default(),
            },
        );
        let waiting: Vec<LinkId> = self
            .unverified
            .iter()
            .filter(|(_, unverified)| unverified.agent == agent)
            .map(|(link, _)| *link)
            .collect();
        for link in waiting {
            if let Some(unverified) = self.unverified.remove(&link) {
                self.verify(link, unverified);
            }
        }
    }

    /// An agent left: what it dialled is no longer heard, what was dialled is closed.
    pub(crate) fn left(&mut self, agent: AgentId) {
        self.dialled.remove(&agent);
        self.accepted.retain(|_, (accepted, connection)| {
            if *accepted == agent {
                connection.close(CloseCode::Done, "the scheduler says that you left");
            }
            *accepted != agent
        });
    }

    /// A peer dialled and says who it is.
    pub(crate) fn said_hello(
        &mut self,
        link: LinkId,
        agent: AgentId,
        name: String,
        connection: Connection,
        verified: oneshot::Sender<()>,
    ) {
        let unverified = Unverified { agent, name, connection, verified };
        if self.dialled.contains_key(&agent) {
            self.verify(link, unverified);
        } else if self.unverified.len() < UNVERIFIED_MAX {
            self.unverified.insert(link, unverified);
        } else {
            unverified.connection.close(CloseCode::LimitExceeded, "too many unknown agents");
        }
    }

    fn verify(&mut self, link: LinkId, unverified: Unverified) {
        let Unverified { agent, name, connection, verified } = unverified;
        if self.dialled.get(&agent).is_some_and(|dialled| dialled.name == name) {
            self.accepted.insert(link, (agent, connection));
            // A reader that gave up has closed the connection.
            let _ = verified.send(());
        } else {
            tracing::warn!(%agent, name, "a peer says that it is an agent which it is not");
            connection.close(CloseCode::ProtocolViolation, "the scheduler knows that agent by another name");
        }
    }

    /// A connection that a peer dialled ended.
    pub(crate) fn ended(&mut self, link: LinkId) {
        self.accepted.remove(&link);
        self.unverified.remove(&link);
    }

    /// A peer was reached.
    pub(crate) fn reached(
        &mut self,
        agent: AgentId,
        dial: u64,
        connection: Connection,
        sender: ControlSender,
    ) {
        if let Some(dialled) = self.dialled.get_mut(&agent)
            && dialled.dial == dial
        {
            tracing::debug!(%agent, name = dialled.name, "peer reached");
            dialled.link = Some(DialledLink { connection, sender });
        }
    }

    /// The connection to a peer was lost; gives what it may not have received.
    pub(crate) fn lost(&mut self, agent: AgentId, dial: u64, reason: &str) -> Vec<PeerMessage> {
        match self.dialled.get_mut(&agent) {
            Some(dialled) if dialled.dial == dial => {
                tracing::info!(name = dialled.name, reason, "peer lost; dialling again");
                dialled.link = None;
                dialled.recent.take()
            }
            Some(_) | None => Vec::new(),
        }
    }

    /// Sends a message directly; gives it back when it has to go through the scheduler.
    pub(crate) fn send(
        &mut self,
        now: Timestamp,
        to: AgentId,
        message: PeerMessage,
    ) -> Result<(), PeerMessage> {
        let Some(dialled) = self.dialled.get_mut(&to) else { return Err(message) };
        let Some(link) = &dialled.link else { return Err(message) };
        if link.sender.send(&message).is_err() {
            return Err(message);
        }
        let contents_bytes = match &message {
            PeerMessage::Replica { bytes, .. } => bytes.len() as u64,
            PeerMessage::Hello { .. } | PeerMessage::Notice { .. } => 0,
        };
        dialled.recent.keep(now, message, contents_bytes);
        Ok(())
    }

    /// The connection to a peer, when there is one.
    pub(crate) fn connection(&self, agent: AgentId) -> Option<Connection> {
        Some(self.dialled.get(&agent)?.link.as_ref()?.connection.clone())
    }

    /// How many others there are.
    pub(crate) fn len(&self) -> usize {
        self.dialled.len()
    }

    /// Lets go of messages that have surely arrived.
    pub(crate) fn forget_old(&mut self, now: Timestamp) {
        for dialled in self.dialled.values_mut() {
            dialled.recent.forget_old(now);
        }
    }
}

impl Drop for Peers {
    fn drop(&mut self) {
        let unverified = self.unverified.values().map(|unverified| &unverified.connection);
        for connection in self.accepted.values().map(|(_, connection)| connection).chain(unverified) {
            connection.close(CloseCode::Done, "this agent begins anew");
        }
    }
}

impl Drop for Dialled {
    fn drop(&mut self) {
        self.dialler.abort();
        if let Some(link) = &self.link {
            link.connection.close(CloseCode::Done, "");
        }
    }
}

/// What a dialling task needs.
struct Dial {
    endpoint: Endpoint,
    address: SocketAddr,
    name: String,
    own: AgentId,
    agent: AgentId,
    dial: u64,
    inputs: Inputs,
    pace: watch::Receiver<Pace>,
}

/// Keeps a connection to a peer, until it is aborted.
async fn dial(dial: Dial) {
    let Dial { endpoint, address, name, own, agent, dial, inputs, pace } = dial;
    let mut backoff = BACKOFF_MIN;
    let hello = [PeerMessage::Hello { agent: own }];
    loop {
        match endpoint.connect_saying(address, Role::Agent, Some(&name), First::of(&hello)).await {
            Ok(connection) => {
                backoff = BACKOFF_MIN;
                connection.prepare_bulk();
                let (sender, receiver) = connection.take_control();
                let handle = connection.clone();
                let _ = inputs.send(Input::PeerReached { agent, dial, connection: handle, sender });
                let measuring =
                    measure(connection.meter(), LinkEnd::Agent(agent), pace.clone(), inputs.clone());
                let ((), reason) = tokio::join!(measuring, connection.closed());
                let reason = described(&reason);
                drop(receiver);
                let _ = inputs.send(Input::PeerLost { agent, dial, reason });
            }
            Err(error) => tracing::debug!(name, "peer not reached: {}", described(&error)),
        }
        tokio::time::sleep(backoff).await;
        backoff = (backoff * 2).min(BACKOFF_MAX);
    }
}
