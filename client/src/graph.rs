//! Whole graphs: commands gathered first and submitted together, so that a policy can plan them as
//! one.
//!
//! Must never hold an id: members get theirs when the graph is submitted.

use std::future::{Future, IntoFuture};
use std::pin::Pin;
use std::sync::Arc;

use isochrone_model::message::ClientRequest;
use isochrone_model::{CommandError, CommandId};
use thiserror::Error;

use crate::buffer::Buffer;
use crate::builder::{
    BarrierBuilder, CopyBuilder, FillBuilder, Keeps, LaunchBuilder, MarkerBuilder, ReadBuilder, Target,
    WriteBuilder,
};
use crate::cell::{CommandCell, Wait};
use crate::element::{Contents, Scalar};
use crate::handle::CommandHandle;
use crate::program::Program;
use crate::shared::{Draft, Shared};

/// A graph being made. Its builders are those of [`Session`](crate::Session); `enqueue` adds the
/// command to the graph, and [`Graph::submit`] sends all of them at once, in the order in which they
/// were added. Data dependencies follow that order.
///
/// Handles of members wait until the graph has been submitted and the member has ended. Dropping the
/// graph instead fails them with [`CommandError::Cancelled`].
#[derive(Debug)]
#[must_use = "nothing runs until `submit`"]
pub struct Graph {
    shared: Arc<Shared>,
    drafts: Vec<Draft>,
    keeps: Vec<Keeps>,
}

/// Why a graph was not submitted. Its members fail with [`CommandError::Cancelled`].
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum GraphError {
    /// The graph takes more than one frame (4 MiB, some 30,000 launches), and wherever it could be
    /// split a member comes after one of a later part.
    #[error(
        "graph of {members} commands is larger than one message and members come after later ones \
         throughout; add the commands in an order in which few come after later ones"
    )]
    CannotSplit {
        /// How many commands the graph has.
        members: usize,
    },
}

impl Graph {
    pub(crate) fn new(shared: &Arc<Shared>) -> Self {
        Self { shared: Arc::clone(shared), drafts: Vec::new(), keeps: Vec::new() }
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    pub(crate) fn add(&mut self, draft: Draft, keeps: Keeps) {
        self.drafts.push(draft);
        self.keeps.push(keeps);
    }

    /// How many commands it has so far.
    #[must_use]
    pub fn len(&self) -> usize {
        self.drafts.len()
    }

    /// Whether it has no commands yet.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.drafts.is_empty()
    }

    /// A launch of a kernel.
    pub fn launch(&mut self, program: &Program, kernel: &str) -> LaunchBuilder<'_> {
        LaunchBuilder::new(Target::Graph(self), program, kernel)
    }

    /// A write of contents to the buffer from `offset_bytes` on.
    pub fn write(
        &mut self,
        buffer: &Buffer,
        offset_bytes: u64,
        contents: impl Into<Contents>,
    ) -> WriteBuilder<'_> {
        WriteBuilder::new(Target::Graph(self), buffer, offset_bytes, contents.into())
    }

    /// A read of the buffer.
    pub fn read(&mut self, buffer: &Buffer) -> ReadBuilder<'_> {
        ReadBuilder::new(Target::Graph(self), buffer)
    }

    /// A copy between buffers, or within one where the ranges do not overlap.
    pub fn copy(&mut self, source: &Buffer, target: &Buffer) -> CopyBuilder<'_> {
        CopyBuilder::new(Target::Graph(self), source, target)
    }

    /// A fill of the buffer with a number, or a vector of numbers, repeated.
    pub fn fill(&mut self, buffer: &Buffer, pattern: impl Scalar) -> FillBuilder<'_> {
        FillBuilder::new(Target::Graph(self), buffer, pattern.into_argument())
    }

    /// A barrier among the commands of the session.
    pub fn barrier(&mut self) -> BarrierBuilder<'_> {
        BarrierBuilder::new(Target::Graph(self))
    }

    /// A marker.
    pub fn marker(&mut self) -> MarkerBuilder<'_> {
        MarkerBuilder::new(Target::Graph(self))
    }

    /// Runs `member` after `predecessor`, which may have been added later than `member`; does nothing
    /// when `member` is not of this graph. A cycle makes its members fail with
    /// [`CommandError::Cycle`].
    pub fn run_after(&mut self, member: &impl AsRef<CommandHandle>, predecessor: &impl AsRef<CommandHandle>) {
        let member = &member.as_ref().cell;
        let predecessor = predecessor.as_ref();
        if let Some(draft) = self.drafts.get_mut(member.place)
            && Arc::ptr_eq(&draft.open.cell, member)
        {
            if Arc::ptr_eq(&predecessor.shared, &self.shared) {
                draft.after.push(Arc::clone(&predecessor.cell));
            } else {
                draft.open.refusal.get_or_insert_with(|| {
                    Box::new(CommandError::Malformed {
                        what: "`run_after` names a command of another session".to_owned(),
                    })
                });
                draft.after.push(Arc::new(CommandCell::in_graph(usize::MAX)));
            }
        }
    }

    /// Sends all commands as one batch. A graph larger than a frame (4 MiB, some 30,000 launches)
    /// goes as several batches in order, split where no member comes after one of a later part.
    ///
    /// # Errors
    /// [`GraphError::CannotSplit`] when there is no such place.
    pub fn submit(mut self) -> Result<GraphHandle, GraphError> {
        let drafts = std::mem::take(&mut self.drafts);
        let cells: Vec<_> = drafts.iter().map(|draft| Arc::clone(&draft.open.cell)).collect();
        if drafts.is_empty() {
            return Ok(GraphHandle { cells, shared: Arc::clone(&self.shared) });
        }
        match self.shared.enqueue_graph(drafts) {
            Ok(()) => Ok(GraphHandle { cells, shared: Arc::clone(&self.shared) }),
            Err(drafts) => {
                // Dropping `self` tells the members.
                self.drafts = drafts;
                Err(GraphError::CannotSplit { members: self.drafts.len() })
            }
        }
    }
}

impl Drop for Graph {
    fn drop(&mut self) {
        for draft in self.drafts.drain(..) {
            draft.open.cell.settle(Err(CommandError::Cancelled));
        }
    }
}

/// A submitted graph; await it for the end of all its members.
#[derive(Clone, Debug)]
pub struct GraphHandle {
    cells: Vec<Arc<CommandCell>>,
    shared: Arc<Shared>,
}

impl GraphHandle {
    /// How many commands it has.
    #[must_use]
    pub fn len(&self) -> usize {
        self.cells.len()
    }

    /// Whether it has no commands.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.cells.is_empty()
    }

    /// Its members in the order in which they were added.
    pub fn handles(&self) -> impl Iterator<Item = CommandHandle> + '_ {
        self.cells
            .iter()
            .map(|cell| CommandHandle { cell: Arc::clone(cell), shared: Arc::clone(&self.shared) })
    }

    /// Whether all members have ended, well or not.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.cells.iter().all(|cell| cell.outcome().is_some())
    }

    /// Waits until all members have ended.
    ///
    /// # Errors
    /// Why the earliest failed member failed.
    pub async fn wait(&self) -> Result<(), CommandError> {
        let mut first_failure = None;
        for cell in &self.cells {
            if let Err(error) = (Wait { cell: Arc::clone(cell) }).await {
                first_failure.get_or_insert(error);
            }
        }
        first_failure.map_or(Ok(()), Err)
    }

    /// Asks the farm to give up all members that have not started.
    pub fn cancel(&self) {
        let commands: Vec<CommandId> =
            self.cells.iter().filter(|cell| cell.outcome().is_none()).filter_map(|cell| cell.id()).collect();
        // Below a quarter of a frame each, whatever the ids.
        for commands in commands.chunks(100_000) {
            self.shared.request(ClientRequest::Cancel { commands: commands.to_vec() });
        }
    }
}

impl IntoFuture for GraphHandle {
    type Output = Result<(), CommandError>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move { self.wait().await })
    }
}
