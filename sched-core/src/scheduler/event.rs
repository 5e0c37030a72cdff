//! What goes into and comes out of the `Scheduler` machine: plain data. The live journal is the list of
//! these events with their times.

use isochrone_model::message::{ClientReply, ClientRequest};
use isochrone_model::order::SessionSecret;
use isochrone_model::{AgentFacts, AgentId, LinkEnd, Order, PathSample, Report, SessionId, TenantId};
use serde::{Deserialize, Serialize};

use crate::costs::StatedCosts;

/// Input of the machine.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Event {
    /// An agent connected. The driver gives an agent that comes back under its name its old id, after
    /// an `AgentLeft`.
    AgentJoined {
        /// Its id: the next unused one, or its old one.
        agent: AgentId,
        /// Who it is and what it has.
        facts: AgentFacts,
    },
    /// An agent's connection ended.
    AgentLeft {
        /// The agent.
        agent: AgentId,
        /// Why, in words.
        reason: String,
    },
    /// An agent reports.
    Reports {
        /// The agent.
        agent: AgentId,
        /// In order.
        reports: Vec<Report>,
    },
    /// A client opened a session.
    SessionOpened {
        /// Its id, never used before.
        session: SessionId,
        /// Whose it is.
        tenant: TenantId,
        /// That tenant's name.
        tenant_name: String,
        /// The label of its policy; empty for the farm's.
        policy: String,
        /// What its client presents to agents; the driver drew it at random.
        secret: SessionSecret,
    },
    /// A client asks for something within its session (`Open`, `Close` and `Ask` are the driver's own).
    Request {
        /// Its session.
        session: SessionId,
        /// What.
        request: ClientRequest,
    },
    /// A client closed its session, or its connection ended.
    SessionLeft {
        /// The session.
        session: SessionId,
        /// Why, in words.
        reason: String,
    },
    /// The scheduler's path to an agent or to a session's client was measured.
    PathMeasured {
        /// The other party.
        to: LinkEnd,
        /// What was measured.
        sample: PathSample,
    },
    /// Costs are stated, in place of what is measured. Devices and agents are known already.
    CostsStated(Box<StatedCosts>),
    /// The time that `deadline` named has come.
    Timer(Timer),
}

/// What a deadline is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Timer {
    /// Let the policies place what has become placeable. Due at once; a driver takes in all waiting
    /// events first, so that a burst is placed as one batch.
    Place,
    /// A policy held tasks until now.
    Hold,
    /// Devices that are slow to build a program have had their grace.
    Build,
}

/// Output of the machine; the driver performs them in order.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Action {
    /// Tell an agent.
    Order {
        /// The agent.
        agent: AgentId,
        /// What.
        order: Order,
    },
    /// Tell a session's client.
    Reply {
        /// The session.
        session: SessionId,
        /// What.
        reply: ClientReply,
    },
    /// The session is gone from the machine; its connection may close.
    SessionEnded {
        /// The session.
        session: SessionId,
    },
}
