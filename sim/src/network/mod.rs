//! What the network of a simulation truly does: when transfers end and messages arrive.
//!
//! Holds the models behind one trait; must never hold what a scheduler believes, or a scheduler's code.
//!
//! | Model | What it does |
//! |---|---|
//! | [`classic`](Classic) | the literature's: latency + size / bandwidth, nothing contends, messages are free |
//! | [`shared`](Shared) | max-min fair sharing of access links and paths, messages take the latency |
//! | [`quic`](Quic) | `shared` with handshakes, slow start and CUBIC, loss, overheads, and messages with jitter |

mod agenda;
mod changing;
mod classic;
mod cubic;
mod delays;
mod options;
mod quic;
#[cfg(test)]
mod quic_tests;
mod sender;
mod shared;
#[cfg(test)]
mod shared_speed;
#[cfg(test)]
mod shared_tests;
mod sharing;
mod window;
mod wiring;

use isochrone_model::suggestion::did_you_mean;
use isochrone_model::{BytesPerSecond, Span, Timestamp};
use thiserror::Error;

pub use changing::{Changing, LinkChange};
pub use classic::Classic;
pub use options::{QuicOptions, Warm};
pub use quic::Quic;
pub use shared::Shared;
pub use window::Controller;

use crate::cluster::{Cluster, Party};
use crate::processing::Processing;

/// A transfer of a network; ids rise in the order of the starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TransferId(pub u64);

/// A network in virtual time. Times given to it never go back.
pub trait Network: Send {
    /// A transfer begins now: its bytes are all there.
    fn start(&mut self, now: Timestamp, from: Party, to: Party, size_bytes: u64) -> TransferId;

    /// Takes a transfer back: the receiver or sender is gone. It is never reported; one that has ended or is unknown
    /// stays as it is.
    fn cancel(&mut self, now: Timestamp, transfer: TransferId);

    /// When the next transfer ends, or a change inside must be processed, if nothing else happens.
    fn next_event(&self) -> Option<Timestamp>;

    /// Goes on to `now` and appends the transfers that have ended by then, each with when its first byte arrived, in
    /// order of their end, then id.
    fn advance(&mut self, now: Timestamp, done: &mut Vec<(TransferId, Timestamp)>);

    /// When a control message of this size that is sent now arrives; messages of one ordered pair keep their order.
    fn message(&mut self, now: Timestamp, from: Party, to: Party, size_bytes: u64) -> Timestamp;

    /// When a datagram that only measures the path arrives, if it is sent now. It takes what a message takes, unless the
    /// model has words travel for free.
    fn probe(&mut self, now: Timestamp, from: Party, to: Party) -> Timestamp {
        self.message(now, from, to, 0)
    }

    /// A new connection between two parties takes the place of the one that they have: it can be used once its handshakes are over. For
    /// models that have connections.
    fn connect(&mut self, _now: Timestamp, _one: Party, _other: Party) {}

    /// The true costs of a pair, for a scheduler that is to know them exactly: latency and rate of a transfer that has
    /// the path to itself, and how long a message takes.
    fn stated(&self, from: Party, to: Party) -> (Span, BytesPerSecond, Span);

    /// Whether transfers never slow each other down.
    fn is_uncontended(&self) -> bool;

    /// What handling a task takes of processors, for models that know.
    fn processing(&self) -> Processing {
        Processing::default()
    }

    /// Whether a message between two parties always takes the same time.
    fn is_steady(&self) -> bool {
        false
    }
}

/// Why there is no network.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum NetworkError {
    /// It is not of the form `name` or `name(key=value, ...)`.
    #[error("`{label}` is not of the form name or name(key=value, ...)")]
    Malformed {
        /// The label.
        label: String,
    },
    /// No model has this name.
    #[error("there is no network model `{name}`{} {}", instead(name), MODELS.join(", "))]
    Unknown {
        /// The name.
        name: String,
    },
    /// The model takes no such parameter.
    #[error("`{model}` has no parameter `{parameter}`; it takes {known}")]
    UnknownParameter {
        /// The model.
        model: String,
        /// The parameter.
        parameter: String,
        /// Those it takes.
        known: String,
    },
    /// The file of a calibration cannot be read.
    #[error("cannot read calibration {path}: {kind}")]
    CalibrationUnreadable {
        /// The file.
        path: String,
        /// The system's word.
        kind: std::io::ErrorKind,
    },
    /// The file of a calibration is not one.
    #[error("{path} is no calibration")]
    Calibration {
        /// The file.
        path: String,
        /// What is wrong with it.
        source: Box<toml::de::Error>,
    },
    /// A parameter's value does not parse or is out of range.
    #[error("`{model}`: {parameter}={value} is not {expected}")]
    Value {
        /// The model.
        model: String,
        /// The parameter.
        parameter: String,
        /// Its value.
        value: String,
        /// What it should be.
        expected: &'static str,
    },
}

/// The names of the models.
pub const MODELS: &[&str] = &["classic", "shared", "quic"];

fn instead(name: &str) -> String {
    match did_you_mean(name, MODELS.iter().copied()) {
        suggestion if suggestion.is_empty() => "; there are".to_owned(),
        suggestion => format!("{suggestion} There are"),
    }
}

/// What the model of a label does, in a line for people; `None` where no model has its name.
#[must_use]
pub fn summary(label: &str) -> Option<&'static str> {
    match label.split('(').next().unwrap_or(label).trim() {
        "classic" => Some(
            "a transfer takes its latency and its size over the link's rate, whatever else moves; messages with the scheduler \
             take no time, as in papers on scheduling",
        ),
        "shared" => Some(
            "transfers that meet on a link share its rate (max-min fair); each transfer and each message with the scheduler takes \
             the latency of its path, and nothing more",
        ),
        "quic" => Some(
            "transfers share links, over connections that behave as QUIC's do: handshakes, slow start by round trips, loss; each \
             message and transfer also costs its hosts time",
        ),
        _ => None,
    }
}

/// The network of a label such as `classic`, over a cluster. What is random comes from `seed` alone.
///
/// # Errors
/// When the label does not parse, names no model, or gives a parameter that the model does not take.
pub fn network(label: &str, cluster: &Cluster, seed: u64) -> Result<Box<dyn Network>, NetworkError> {
    let label = options::Label::parse(label)?;
    match label.name.as_str() {
        "classic" => {
            label.only(&[])?;
            Ok(Box::new(Classic::new(cluster)))
        }
        "shared" => {
            label.only(&[])?;
            Ok(Box::new(Shared::new(cluster)))
        }
        "quic" => Ok(Box::new(Quic::new(cluster, QuicOptions::read(&label.calibrated()?)?, seed))),
        name => Err(NetworkError::Unknown { name: name.to_owned() }),
    }
}
