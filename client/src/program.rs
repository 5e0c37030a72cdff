//! Programs: source that the farm builds wherever it builds.
//!
//! Must never hold a compiler's knowledge; what a program contains is what the farm reports.

use std::sync::Arc;

use isochrone_model::message::ProgramFacts;
use isochrone_model::{CommandError, ProgramId};
use tokio::sync::watch;

use crate::shared::Shared;

/// A program of a session. Building goes on in the background; launches may be enqueued at once and
/// fail with [`CommandError::BuildFailed`] when no device can build it.
///
/// Clones name the same program. When the last one is dropped the farm forgets the program once the
/// launches enqueued before have finished.
#[derive(Clone, Debug)]
pub struct Program {
    pub(crate) owner: Arc<ProgramOwner>,
}

impl Program {
    /// Its id within the session.
    #[must_use]
    pub fn id(&self) -> ProgramId {
        self.owner.cell.id
    }

    /// Waits until the program was built by one device, or by none.
    ///
    /// # Errors
    /// [`CommandError::BuildFailed`] with every device's log when no device can build it, or whatever
    /// else ended the request, such as [`CommandError::SessionClosed`].
    pub async fn built(&self) -> Result<ProgramFacts, CommandError> {
        let mut state = self.owner.cell.state.subscribe();
        let closed = || CommandError::SessionClosed { reason: "the program was forgotten".to_owned() };
        let outcome = state.wait_for(Option::is_some).await.map_err(|_| closed())?;
        outcome.clone().unwrap_or_else(|| Err(closed()))
    }

    /// What is known now, without waiting; `None` while it is being built. Grows as more devices
    /// report.
    #[must_use]
    pub fn outcome(&self) -> Option<Result<ProgramFacts, CommandError>> {
        self.owner.cell.state.borrow().clone()
    }

    pub(crate) fn is_of(&self, shared: &Arc<Shared>) -> bool {
        Arc::ptr_eq(&self.owner.shared, shared)
    }
}

/// A program to be built.
#[derive(Debug)]
#[must_use = "nothing is built until `build`"]
pub struct ProgramBuilder<'a> {
    pub(crate) shared: &'a Arc<Shared>,
    pub(crate) source: String,
    pub(crate) options: String,
}

impl ProgramBuilder<'_> {
    /// Compiler options as OpenCL takes them, such as `-D WIDTH=16 -cl-fast-relaxed-math`; default
    /// none.
    pub fn options(mut self, options: impl Into<String>) -> Self {
        self.options = options.into();
        self
    }

    /// Sends the program to the farm and does not wait for it.
    #[must_use = "dropping a program releases it"]
    pub fn build(self) -> Program {
        let cell = self.shared.create_program(self.source, self.options);
        Program { owner: Arc::new(ProgramOwner { cell, shared: Arc::clone(self.shared) }) }
    }
}

/// Releases the program when its last clone goes.
#[derive(Debug)]
pub(crate) struct ProgramOwner {
    pub cell: Arc<ProgramCell>,
    shared: Arc<Shared>,
}

impl Drop for ProgramOwner {
    fn drop(&mut self) {
        self.shared.release_program(self.cell.id);
    }
}

/// How a build ended, and those who wait for it.
#[derive(Debug)]
pub(crate) struct ProgramCell {
    pub id: ProgramId,
    state: watch::Sender<Option<Result<ProgramFacts, CommandError>>>,
}

impl ProgramCell {
    pub fn new(id: ProgramId) -> Self {
        Self { id, state: watch::Sender::new(None) }
    }

    pub fn settle(&self, outcome: Result<ProgramFacts, CommandError>) {
        self.state.send_replace(Some(outcome));
    }

    pub fn settle_if_open(&self, error: CommandError) {
        self.state.send_if_modified(|state| {
            let is_open = state.is_none();
            if is_open {
                *state = Some(Err(error));
            }
            is_open
        });
    }
}
