//! Paths between the parties of a farm, and what is measured of them.

use serde::{Deserialize, Serialize};

use crate::ids::{AgentId, SessionId};
use crate::units::{BytesPerSecond, Span};

/// Round trips in one [`PathSample`] at most; older ones are left out.
pub const ROUND_TRIPS_MAX: usize = 64;

/// A party at the end of a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum LinkEnd {
    /// The scheduler.
    Scheduler,
    /// An agent.
    Agent(AgentId),
    /// The client of a session.
    Session(SessionId),
}

/// What one party has measured of its path to another since it last said so.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PathSample {
    /// Round trips in the order in which they were measured; [`ROUND_TRIPS_MAX`] at most.
    pub round_trips: Vec<Span>,
    /// Datagrams sent.
    pub sent_packets: u64,
    /// Of those, and of earlier ones, how many were found to be lost.
    pub lost_packets: u64,
    /// Bytes that may be under way at a time now (the congestion window); 0 when that is not known.
    pub window_bytes: u64,
}

/// A path as the scheduler knows it. Round trips are the same both ways; rates are those of transfers
/// from `from` to `to`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LinkStatus {
    /// Where from: `scheduler`, an agent's name, or `client SESSION`.
    pub from: String,
    /// Where to, likewise.
    pub to: String,
    /// Whose client an end is; empty between agents and the scheduler.
    pub tenant: String,
    /// Round trips, once there are any.
    pub round_trip: Option<RoundTripStatus>,
    /// What transfers were carried at; `None` before the first that tells.
    pub rate: Option<BytesPerSecond>,
    /// Transfers that the rate rests on.
    pub rate_samples: u64,
    /// Datagrams lost of a million sent; `None` before any was sent.
    pub lost_per_million: Option<u32>,
    /// Since the last measurement.
    pub age: Option<Span>,
    /// How far the round trip can be relied on, 0 to 100: it grows with the number of measurements and
    /// halves with each half minute without one.
    pub confidence_percent: u32,
    /// Bytes that are ordered over it and have not arrived.
    pub queued_bytes: u64,
}

/// Round trips since the path last changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoundTripStatus {
    /// The least.
    pub least: Span,
    /// The median.
    pub p50: Span,
    /// What 99 of 100 do not exceed.
    pub p99: Span,
    /// What estimates count with: it follows the median, but not each of its moves.
    pub level: Span,
    /// Round trips measured since the two parties met.
    pub samples: u64,
    /// How often the path was found to have changed.
    pub changes: u64,
}

/// The parts of what a transfer is expected to take, in their order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TransferParts {
    /// Behind what is queued on the path.
    pub queueing: Span,
    /// Making the connection, where there is none.
    pub handshake: Span,
    /// One way, for the first byte.
    pub latency: Span,
    /// Waiting for acknowledgements while the congestion window is smaller than the path.
    pub slow_start: Span,
    /// Bytes at the path's rate.
    pub carrying: Span,
}

impl TransferParts {
    /// All of it.
    #[must_use]
    pub fn total(&self) -> Span {
        self.queueing + self.handshake + self.latency + self.slow_start + self.carrying
    }
}
