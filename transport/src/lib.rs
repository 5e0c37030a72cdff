//! QUIC between the processes of a farm.
//!
//! This crate holds the farm's certificates and the identities in them, the endpoint that accepts
//! and dials, and what runs on a connection: one control stream with messages in both directions,
//! and a one-way bulk stream for each transfer of contents. Bulk streams go over a second QUIC connection between
//! the same two processes, so that control never waits behind them, or through shared memory within a machine. It is the only crate that names quinn.
//!
//! It must never hold message types (it moves any `T: Serialize`), nor decide anything about
//! sessions, graphs or placement; it has no timers on the path of a message. How a path is measured, and at
//! what cost, is told by [`PathMeter`].
//!
//! # Who may talk to whom
//! A farm is one certificate authority. Every process has a certificate of it that states its
//! role and name (and tenant), and both sides check the other's during the handshake. The dialling
//! side states the role, and optionally the name, that it expects; the accepting side states the
//! roles that it serves. A client's or admin's certificate can only dial.
//!
//! # What closes a connection
//! Dropping the last of a [`Connection`]'s clones *and* of the halves and streams taken from it
//! closes it at once; what was not yet delivered is lost then. To lose nothing, await
//! [`ControlSender::finish`] and [`BulkSender::finish`] first.

pub mod authority;

mod bulk;
mod bulk_link;
mod close;
mod congestion;
mod connection;
mod control;
mod endpoint;
mod endpoint_error;
mod first;
mod head_start;
mod identity;
mod link;
mod local;
mod local_stream;
mod meter;
mod options;
mod peer_identity;
mod resets;
mod rooms;
#[cfg_attr(not(target_os = "linux"), path = "no_shared_memory.rs")]
mod shared_memory;
mod short_queue;
mod tls;
#[cfg(test)]
mod virtual_path;

pub use authority::{Authority, AuthorityError, IssuedIdentity};
pub use bulk::{
    AcceptBulkError, BulkPriority, BulkReceiver, BulkSender, OpenBulkError, ReceiveBulkError, SendBulkError,
};
pub use close::{CloseCode, CloseReason};
pub use connection::{Connection, LinkStatistics};
pub use control::{ControlReceiver, ControlSender, FlushError, ReceiveError, SendError};
pub use endpoint::{Endpoint, Incoming};

pub use endpoint_error::{AcceptError, BindError, CertificateFault, ConnectError};
pub use first::{First, Gather};
pub use identity::{Identity, IdentityError};
pub use meter::{Pace, PathMeasurement, PathMeter};
pub use options::TransportOptions;
pub use peer_identity::{IdentityParseError, NameError, PeerIdentity, Role, RoleParseError};
pub use rooms::Rooms;
