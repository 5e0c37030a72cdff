//! Why connections end.
//!
//! Must never hold a code that is not sent on the wire.

use std::fmt;

/// What a side states when it closes a connection. The numbers are part of the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum CloseCode {
    /// Nothing more to say; also what is sent when the last handle of a connection is dropped.
    Done,
    /// The dialling side's role is not served here.
    RoleRefused,
    /// The other side speaks an incompatible version; the reason is this side's version.
    VersionMismatch,
    /// The other side sent what no correct peer sends.
    ProtocolViolation,
    /// The other side went beyond a limit (a frame's length, or the queue of unread messages).
    LimitExceeded,
    /// This process is shutting down in order; dial again later or elsewhere.
    Draining,
    /// The session that the other side asked for is not granted.
    SessionRefused,
    /// This process failed.
    Internal,
}

impl CloseCode {
    const ALL: [Self; 8] = [
        Self::Done,
        Self::RoleRefused,
        Self::VersionMismatch,
        Self::ProtocolViolation,
        Self::LimitExceeded,
        Self::Draining,
        Self::SessionRefused,
        Self::Internal,
    ];

    /// The number on the wire.
    #[must_use]
    pub const fn to_wire(self) -> u32 {
        match self {
            Self::Done => 0,
            Self::RoleRefused => 1,
            Self::VersionMismatch => 2,
            Self::ProtocolViolation => 3,
            Self::LimitExceeded => 4,
            Self::Draining => 5,
            Self::SessionRefused => 6,
            Self::Internal => 7,
        }
    }

    /// The code with this number on the wire, if this build knows one.
    #[must_use]
    pub fn from_wire(number: u64) -> Option<Self> {
        Self::ALL.into_iter().find(|code| u64::from(code.to_wire()) == number)
    }
}

impl fmt::Display for CloseCode {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Done => "done",
            Self::RoleRefused => "role refused",
            Self::VersionMismatch => "version mismatch",
            Self::ProtocolViolation => "protocol violation",
            Self::LimitExceeded => "limit exceeded",
            Self::Draining => "draining",
            Self::SessionRefused => "session refused",
            Self::Internal => "internal error",
        })
    }
}

/// How a connection ended.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CloseReason {
    /// This process closed it.
    #[error("closed by this process: {code}: {reason}")]
    Local {
        /// The code that was sent.
        code: CloseCode,
        /// The text that was sent.
        reason: String,
    },
    /// The peer closed it.
    #[error("closed by the peer: {code}: {reason}")]
    Peer {
        /// The code that the peer sent.
        code: CloseCode,
        /// The text that the peer sent.
        reason: String,
    },
    /// The peer closed it with a code that this build does not know.
    #[error("closed by the peer with unknown code {code}: {reason}")]
    PeerUnknown {
        /// The number that the peer sent.
        code: u64,
        /// The text that the peer sent.
        reason: String,
    },
    /// Nothing came from the peer for longer than the idle timeout.
    #[error("nothing was received from the peer for longer than the idle timeout")]
    TimedOut,
    /// The peer closed this connection a while ago, and its word of it never came.
    #[error("the peer closed the connection, and its reason for it was lost on the way")]
    Reset,
    /// QUIC itself failed, on this side or on the peer's.
    #[error("connection failed")]
    Transport(#[source] quinn::ConnectionError),
}

impl CloseReason {
    /// Whether either side closed with [`CloseCode::Done`].
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.code() == Some(CloseCode::Done)
    }

    /// The code with which either side closed, if it is one that this build knows.
    #[must_use]
    pub fn code(&self) -> Option<CloseCode> {
        match self {
            Self::Local { code, .. } | Self::Peer { code, .. } => Some(*code),
            Self::PeerUnknown { .. } | Self::TimedOut | Self::Reset | Self::Transport(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_have_fixed_numbers_and_read_back() {
        for (number, code) in CloseCode::ALL.into_iter().enumerate() {
            assert_eq!(code.to_wire() as usize, number);
            assert_eq!(CloseCode::from_wire(number as u64), Some(code));
        }
        assert_eq!(CloseCode::from_wire(8), None);
        assert_eq!(CloseCode::from_wire(u64::MAX), None);
    }
}
