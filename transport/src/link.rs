//! The QUIC connection underneath, with the memory of how this process closed it.
//!
//! Must never hold streams: tasks keep a link, and a link must not keep a connection in use.

use std::sync::{Arc, OnceLock};

use crate::congestion::Congestion;
use crate::{CloseCode, CloseReason};

/// How this process closed something: the code and the text that it sent.
pub(crate) type Closing = OnceLock<(CloseCode, String)>;

/// A QUIC connection, and why this process closed it if it did.
#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) quinn: quinn::Connection,
    closing: Closing,
    /// Set when the whole endpoint is closed, which closes this connection too.
    endpoint_closing: Arc<Closing>,
}

impl Link {
    pub(crate) fn new(quinn: quinn::Connection, endpoint_closing: Arc<Closing>) -> Self {
        Self { quinn, closing: Closing::new(), endpoint_closing }
    }

    /// Closes the connection, unless it is closed already.
    pub(crate) fn close(&self, code: CloseCode, reason: &str) {
        if self.quinn.close_reason().is_none() {
            // Of two concurrent closings the first one is remembered; either may be sent.
            let _ = self.closing.set((code, reason.to_owned()));
        }
        close(&self.quinn, code, reason);
    }

    /// Why the connection ended with `error`.
    pub(crate) fn reason(&self, error: quinn::ConnectionError) -> CloseReason {
        match (error, self.closing.get()) {
            // It was closed here before the peer forgot it: a later reset changes nothing about that.
            (quinn::ConnectionError::Reset, Some((code, reason))) => {
                CloseReason::Local { code: *code, reason: reason.clone() }
            }
            (error, closing) => close_reason(error, closing.or_else(|| self.endpoint_closing.get())),
        }
    }

    /// Why the connection ended, if it has.
    pub(crate) fn close_reason(&self) -> Option<CloseReason> {
        self.quinn.close_reason().map(|error| self.reason(error))
    }

    /// Why the connection ended; waits until it has.
    pub(crate) async fn closed(&self) -> CloseReason {
        let error = self.quinn.closed().await;
        self.reason(error)
    }
}

/// Closes a connection, whatever waits to be sent on it.
pub(crate) fn close(quinn: &quinn::Connection, code: CloseCode, reason: &str) {
    Congestion::open(quinn);
    quinn.close(code.to_wire().into(), reason.as_bytes());
}

/// Why a connection ended with `error`, given how this process closed it.
pub(crate) fn close_reason(
    error: quinn::ConnectionError,
    closing: Option<&(CloseCode, String)>,
) -> CloseReason {
    match error {
        quinn::ConnectionError::ApplicationClosed(close) => {
            let number = close.error_code.into_inner();
            let reason = String::from_utf8_lossy(&close.reason).into_owned();
            match CloseCode::from_wire(number) {
                Some(code) => CloseReason::Peer { code, reason },
                None => CloseReason::PeerUnknown { code: number, reason },
            }
        }
        quinn::ConnectionError::LocallyClosed => {
            let (code, reason) = closing.cloned().unwrap_or((CloseCode::Done, String::new()));
            CloseReason::Local { code, reason }
        }
        quinn::ConnectionError::TimedOut => CloseReason::TimedOut,
        quinn::ConnectionError::Reset => CloseReason::Reset,
        error @ (quinn::ConnectionError::VersionMismatch
        | quinn::ConnectionError::TransportError(_)
        | quinn::ConnectionError::ConnectionClosed(_)
        | quinn::ConnectionError::CidsExhausted) => CloseReason::Transport(error),
    }
}
