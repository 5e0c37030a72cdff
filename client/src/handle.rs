//! Handles: what a caller holds of a command that it has enqueued.
//!
//! Must never hold up a command: dropping a handle changes nothing at the farm.

use std::future::IntoFuture;
use std::sync::Arc;

use bytes::Bytes;
use isochrone_model::message::ClientRequest;
use isochrone_model::{CommandError, CommandId, Span};

use crate::cell::{CommandCell, ReadWait, Wait};
use crate::element::Element;
use crate::shared::Shared;

/// A command that has been enqueued.
///
/// Await it (or a reference to it) for the command's end; awaiting gives the time on the device.
/// Clones name the same command. Dropping a handle does not cancel the command.
#[derive(Clone, Debug)]
pub struct CommandHandle {
    pub(crate) cell: Arc<CommandCell>,
    pub(crate) shared: Arc<Shared>,
}

impl CommandHandle {
    /// Its id within the session; `None` while it is a member of a graph that was not submitted.
    #[must_use]
    pub fn id(&self) -> Option<CommandId> {
        self.cell.id()
    }

    /// Waits for the command's end, like awaiting the handle.
    pub fn wait(&self) -> Wait {
        Wait { cell: Arc::clone(&self.cell) }
    }

    /// Whether the command has ended, well or not.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.cell.outcome().is_some()
    }

    /// How the command ended: its time on the device, or why it failed; `None` while it has not.
    #[must_use]
    pub fn outcome(&self) -> Option<Result<Span, CommandError>> {
        self.cell.outcome().map(|outcome| outcome.map(|outcome| outcome.execution).map_err(Clone::clone))
    }

    /// The time that the command took on the device; `None` until it has finished well.
    #[must_use]
    pub fn execution(&self) -> Option<Span> {
        self.cell.outcome()?.ok().map(|outcome| outcome.execution)
    }

    /// Asks the farm to give the command up if it has not started. It then fails with
    /// [`CommandError::Cancelled`], and those that depend on it fail with it; what has started
    /// finishes.
    pub fn cancel(&self) {
        if let Some(id) = self.id()
            && !self.is_finished()
        {
            self.shared.request(ClientRequest::Cancel { commands: vec![id] });
        }
    }
}

impl AsRef<Self> for CommandHandle {
    fn as_ref(&self) -> &Self {
        self
    }
}

impl IntoFuture for CommandHandle {
    type Output = Result<Span, CommandError>;
    type IntoFuture = Wait;

    fn into_future(self) -> Wait {
        Wait { cell: self.cell }
    }
}

impl IntoFuture for &CommandHandle {
    type Output = Result<Span, CommandError>;
    type IntoFuture = Wait;

    fn into_future(self) -> Wait {
        self.wait()
    }
}

/// A read that has been enqueued; awaiting it gives the bytes.
///
/// The bytes are kept as long as a handle is.
#[derive(Clone, Debug)]
pub struct ReadHandle {
    pub(crate) handle: CommandHandle,
}

impl ReadHandle {
    /// The same command as a plain handle.
    #[must_use]
    pub fn handle(&self) -> &CommandHandle {
        &self.handle
    }

    /// Its id within the session; `None` while it is a member of a graph that was not submitted.
    #[must_use]
    pub fn id(&self) -> Option<CommandId> {
        self.handle.id()
    }

    /// Waits for the bytes, like awaiting the handle.
    pub fn wait(&self) -> ReadWait {
        ReadWait { cell: Arc::clone(&self.handle.cell) }
    }

    /// Waits for the bytes and gives them as values; bytes beyond the last whole value are left out.
    ///
    /// # Errors
    /// Why the read failed.
    pub async fn to_vec<T: Element>(&self) -> Result<Vec<T>, CommandError> {
        self.wait().await.map(|bytes| T::from_bytes(&bytes))
    }

    /// Whether the read has ended, well or not.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.handle.is_finished()
    }

    /// Asks the farm to give the read up if it has not started.
    pub fn cancel(&self) {
        self.handle.cancel();
    }
}

impl AsRef<CommandHandle> for ReadHandle {
    fn as_ref(&self) -> &CommandHandle {
        &self.handle
    }
}

impl IntoFuture for ReadHandle {
    type Output = Result<Bytes, CommandError>;
    type IntoFuture = ReadWait;

    fn into_future(self) -> ReadWait {
        ReadWait { cell: self.handle.cell }
    }
}

impl IntoFuture for &ReadHandle {
    type Output = Result<Bytes, CommandError>;
    type IntoFuture = ReadWait;

    fn into_future(self) -> ReadWait {
        self.wait()
    }
}
