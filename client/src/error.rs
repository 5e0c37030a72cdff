//! What can go wrong besides commands: connecting, opening a session, asking.
//!
//! Must never hold a text where the cause itself can be kept.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use isochrone_model::CommandError;
use isochrone_transport as transport;
use thiserror::Error;

/// Why the scheduler could not be reached.
#[derive(Debug, Error)]
pub enum ConnectError {
    /// The folder with certificates cannot be read.
    #[error(
        "cannot read the certificates in {}; set ISOCHRONE_CERTIFICATES or start a farm with `isochrone up`",
        .folder.display()
    )]
    Identity {
        /// The folder.
        folder: PathBuf,
        /// Why.
        source: Box<transport::IdentityError>,
    },
    /// No socket could be opened.
    #[error("cannot open a socket")]
    Bind(#[source] Box<transport::BindError>),
    /// The name of the scheduler's host is not known.
    #[error("cannot resolve the scheduler's address `{address}`; it is written host:port")]
    Resolve {
        /// The address as given.
        address: String,
        /// Why.
        source: io::Error,
    },
    /// The name stands for no address at all.
    #[error("the scheduler's address `{address}` stands for no address")]
    NoAddress {
        /// The address as given.
        address: String,
    },
    /// Nobody answered, or not the scheduler of this farm.
    #[error("cannot connect to the scheduler at {address}; is it running, and of the same farm?")]
    Dial {
        /// The address as given.
        address: String,
        /// Why, for the last address tried.
        source: Box<transport::ConnectError>,
    },
    /// Nobody answered in time.
    #[error("no answer from the scheduler at {address} within {} ms", .timeout.as_millis())]
    TimedOut {
        /// The address as given.
        address: String,
        /// How long was waited.
        timeout: Duration,
    },
}

/// Why a session was not opened.
#[derive(Debug, Error)]
pub enum OpenError {
    /// The scheduler could not be reached.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// The scheduler refuses the session, for instance its policy.
    #[error("the scheduler refuses the session")]
    Refused(#[source] CommandError),
    /// The scheduler closed the session at once.
    #[error("the scheduler closed the session: {reason}")]
    Closed {
        /// Why.
        reason: String,
    },
    /// The request could not be sent.
    #[error("cannot ask the scheduler for a session")]
    Send(#[source] transport::SendError),
    /// The connection broke before the reply.
    #[error("the connection to the scheduler was lost before the session was open")]
    Lost(#[source] transport::ReceiveError),
    /// The scheduler ended the connection without a reply.
    #[error("the scheduler ended the connection before the session was open")]
    Ended,
    /// No reply in time.
    #[error("no reply to the request for a session within {} ms", .timeout.as_millis())]
    TimedOut {
        /// How long was waited.
        timeout: Duration,
    },
    /// A reply that fits no request for a session.
    #[error("the scheduler's reply was not about the session: {reply}")]
    Unexpected {
        /// What came, for people.
        reply: String,
    },
}

/// Why a question has no answer.
#[derive(Debug, Error)]
pub enum AskError {
    /// The scheduler could not be reached.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// The question could not be sent.
    #[error("cannot send the question")]
    Send(#[source] transport::SendError),
    /// The scheduler does not answer this asker.
    #[error("the scheduler refuses: {reason}")]
    Refused {
        /// Why.
        reason: String,
    },
    /// The connection or session ended before the answer.
    #[error("the connection to the scheduler ended before the answer; ask again")]
    Lost,
    /// No answer in time.
    #[error("no answer from the scheduler within {} ms", .timeout.as_millis())]
    TimedOut {
        /// How long was waited.
        timeout: Duration,
    },
    /// The answer was one to another question.
    #[error("the scheduler's answer was not one to this question")]
    Unexpected,
    /// The command is a member of a graph that has not been submitted.
    #[error("the command has not been submitted; submit its graph first")]
    NotSubmitted,
}
