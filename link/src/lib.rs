//! What links do to datagrams, as a pure machine: latency with jitter, loss, rates with queues, reordering,
//! duplication, and changes of all that at stated times.
//!
//! [`Network`] is the machine: it is told of datagrams and of the time, and says which are delivered when. It has no
//! clock, socket or thread; `testbed` drives it with real ones. What a link is (latencies as distributions, rates,
//! losses) is said in the same words for `sim`, whose network models take them from here. Integers decide: nanoseconds,
//! bytes, and chances in units of 2^-32. Everything random comes from one seed.

pub mod mathematics;
pub mod random;

mod agenda;
mod chance;
mod description;
mod latency;
mod loss;
mod network;
mod parse;
mod queue;
mod spec;
mod wire;

pub use chance::Chance;
pub use description::{DescriptionError, Distribution, LinkDescription, LinkSettings};
pub use latency::{Correlation, Jitter, Latency, LatencySampler, normal_after};
pub use loss::{Loss, datagrams_to_loss};
pub use network::{Change, Counters, Delivery, Network, QueueId, RouteId, Stage, WireId};
pub use parse::{ParseError, parse_bytes, parse_chance, parse_rate, parse_span};
pub use queue::QueueSettings;
pub use random::Random;
pub use spec::{IP_OVERHEAD_BYTES, LATENCY_PERSISTENCE, LinkSpec, UNLIMITED};
pub use wire::{Reordering, WireSettings};
