//! What a dialling side says before it has heard anything.
//!
//! Must never hold a connection.

use std::fmt;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use isochrone_protocol::{EncodeError, Limits, Preamble, encode_frame};
use serde::Serialize;

use crate::endpoint_error::ConnectError;

/// Bytes that are handed to QUIC at a time.
const PIECE_BYTES: usize = 256 << 10;

/// Messages as frames, in pieces of some size.
fn encode_pieces<T: Serialize>(messages: &[T], limits: &Limits) -> Result<Vec<Bytes>, EncodeError> {
    let mut pieces = Vec::new();
    let mut piece = BytesMut::new();
    for message in messages {
        encode_frame(message, &mut piece, limits)?;
        if piece.len() >= PIECE_BYTES {
            pieces.push(piece.split().freeze());
        }
    }
    if !piece.is_empty() {
        pieces.push(piece.freeze());
    }
    Ok(pieces)
}

/// [`First`] as bytes.
#[derive(Clone, Copy)]
pub(crate) struct Opening<'a> {
    pub words: &'a Bytes,
    pub may_be_early: bool,
    /// Frames in pieces.
    pub later: &'a (dyn Fn() -> Result<Vec<Bytes>, ConnectError> + Send + Sync),
}

/// What is said on a connection before anything is heard on it.
pub struct First<'a, T> {
    messages: &'a [T],
    may_be_early: bool,
    then: Option<&'a Gather<'a, T>>,
}

/// Gives the messages that there are by now, those that it gave before among them.
pub type Gather<'a, T> = dyn Fn() -> Arc<Vec<T>> + Send + Sync + 'a;

impl<T: fmt::Debug> fmt::Debug for First<'_, T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("First")
            .field("messages", &self.messages)
            .field("may_be_early", &self.may_be_early)
            .finish_non_exhaustive()
    }
}

impl<T> Clone for First<'_, T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for First<'_, T> {}

impl<'a, T> First<'a, T> {
    /// Nothing but the preamble.
    pub const NOTHING: Self = Self { messages: &[], may_be_early: false, then: None };

    /// Messages that are sent when the handshake is complete on this side.
    #[must_use]
    pub const fn of(messages: &'a [T]) -> Self {
        Self { messages, may_be_early: false, then: None }
    }

    /// Messages that change nothing that matters, however often they are received: they may go as early data,
    /// before the other side has shown that it is there.
    #[must_use]
    pub const fn harmless(messages: &'a [T]) -> Self {
        Self { messages, may_be_early: true, then: None }
    }

    /// And what there is to say by the time at which the handshake is complete on this side; it follows at once, in the
    /// same flight where the others could not go before, and is never early data. It is asked once an attempt.
    #[must_use]
    pub const fn then(self, gather: &'a Gather<'a, T>) -> Self {
        Self { then: Some(gather), ..self }
    }

    pub(crate) const fn may_be_early(&self) -> bool {
        self.may_be_early
    }

    /// The preamble and the messages.
    pub(crate) fn words(&self, limits: &Limits) -> Result<Bytes, EncodeError>
    where
        T: Serialize,
    {
        let mut words = BytesMut::from(&Preamble::encode()[..]);
        for message in self.messages {
            encode_frame(message, &mut words, limits)?;
        }
        Ok(words.freeze())
    }

    /// What there is to say by now, in pieces.
    pub(crate) fn later(&self, limits: &Limits) -> Result<Vec<Bytes>, EncodeError>
    where
        T: Serialize,
    {
        self.then.map_or(Ok(Vec::new()), |gather| encode_pieces(&gather(), limits))
    }
}
