//! A session: buffers, programs and commands of one client.
//!
//! Must never hold up the caller: everything but waiting returns at once.

use std::sync::Arc;
use std::time::Duration;

use isochrone_model::message::{Answer, ClientRequest, Explanation, Question};
use isochrone_model::{CommandError, SessionId};

use crate::buffer::Buffer;
use crate::builder::{
    BarrierBuilder, CopyBuilder, FillBuilder, LaunchBuilder, MarkerBuilder, ReadBuilder, Target, WriteBuilder,
};
use crate::cell::Wait;
use crate::element::{Contents, Element, Scalar};
use crate::error::AskError;
use crate::graph::Graph;
use crate::handle::CommandHandle;
use crate::program::{Program, ProgramBuilder};
use crate::shared::Shared;

/// What a session asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SessionOptions {
    pub(crate) policy: String,
}

impl SessionOptions {
    /// A session with the farm's own policy.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The label of the policy that places this session's commands; default the farm's.
    #[must_use]
    pub fn policy(mut self, label: impl Into<String>) -> Self {
        self.policy = label.into();
        self
    }
}

/// An open session. Commands are sent at once in the order in which they are enqueued; what is
/// enqueued while the connection is busy travels together. They run as soon as their data and
/// [`after`](LaunchBuilder::after) allow, on whichever devices the farm chooses.
///
/// Clones are the same session, and may be used from several tasks. Dropping the last one closes the
/// session: what has not started is cancelled, and everything is released. To wait for the commands
/// first, use [`Session::close`].
#[derive(Clone, Debug)]
pub struct Session {
    owner: Arc<Owner>,
}

#[derive(Debug)]
struct Owner {
    shared: Arc<Shared>,
    answer_timeout: Duration,
}

impl Drop for Owner {
    fn drop(&mut self) {
        self.shared.request_close();
    }
}

impl Session {
    pub(crate) fn new(shared: Arc<Shared>, answer_timeout: Duration) -> Self {
        Self { owner: Arc::new(Owner { shared, answer_timeout }) }
    }

    fn shared(&self) -> &Arc<Shared> {
        &self.owner.shared
    }

    /// Its id at the farm; `None` until the farm has opened it, which only
    /// [`Farm::begin_session`](crate::Farm::begin_session) does not wait for.
    #[must_use]
    pub fn id(&self) -> Option<SessionId> {
        self.shared().session()
    }

    /// Why the session is over; `None` while it is open.
    #[must_use]
    pub fn closed_reason(&self) -> Option<String> {
        self.shared().closed_reason()
    }

    /// Commands enqueued and not ended.
    #[must_use]
    pub fn open_commands(&self) -> u64 {
        self.shared().open_count()
    }

    // ---- programs and buffers ----

    /// A program from OpenCL C source.
    pub fn program(&self, source: impl Into<String>) -> ProgramBuilder<'_> {
        ProgramBuilder { shared: self.shared(), source: source.into(), options: String::new() }
    }

    /// A buffer of `size_bytes` zeros, above zero. It takes memory where and when it is used.
    #[must_use = "dropping a buffer releases it"]
    pub fn buffer(&self, size_bytes: u64) -> Buffer {
        Buffer::new(self.shared(), size_bytes)
    }

    /// A buffer of `count` zeros of a type.
    #[must_use = "dropping a buffer releases it"]
    pub fn buffer_of<T: Element>(&self, count: u64) -> Buffer {
        self.buffer(count.saturating_mul(T::SIZE_BYTES as u64))
    }

    /// A buffer with these contents.
    #[must_use = "dropping a buffer releases it"]
    pub fn buffer_from(&self, contents: impl Into<Contents>) -> Buffer {
        let contents = contents.into();
        let buffer = self.buffer(contents.size_bytes());
        self.write(&buffer, 0, contents).enqueue();
        buffer
    }

    // ---- commands ----

    /// A launch of a kernel.
    pub fn launch(&self, program: &Program, kernel: &str) -> LaunchBuilder<'_> {
        LaunchBuilder::new(Target::Session(self.shared()), program, kernel)
    }

    /// A write of contents to the buffer from `offset_bytes` on.
    pub fn write(
        &self,
        buffer: &Buffer,
        offset_bytes: u64,
        contents: impl Into<Contents>,
    ) -> WriteBuilder<'_> {
        WriteBuilder::new(Target::Session(self.shared()), buffer, offset_bytes, contents.into())
    }

    /// A read of the buffer.
    pub fn read(&self, buffer: &Buffer) -> ReadBuilder<'_> {
        ReadBuilder::new(Target::Session(self.shared()), buffer)
    }

    /// A copy between buffers, or within one where the ranges do not overlap.
    pub fn copy(&self, source: &Buffer, target: &Buffer) -> CopyBuilder<'_> {
        CopyBuilder::new(Target::Session(self.shared()), source, target)
    }

    /// A fill of the buffer with a number, or a vector of numbers, repeated.
    pub fn fill(&self, buffer: &Buffer, pattern: impl Scalar) -> FillBuilder<'_> {
        FillBuilder::new(Target::Session(self.shared()), buffer, pattern.into_argument())
    }

    /// A barrier: finishes when all earlier commands have; later ones wait for it.
    pub fn barrier(&self) -> BarrierBuilder<'_> {
        BarrierBuilder::new(Target::Session(self.shared()))
    }

    /// A marker: finishes when those that it comes after have, or all earlier commands.
    pub fn marker(&self) -> MarkerBuilder<'_> {
        MarkerBuilder::new(Target::Session(self.shared()))
    }

    /// A graph, to submit many commands as one.
    pub fn graph(&self) -> Graph {
        Graph::new(self.shared())
    }

    // ---- waiting ----

    /// Waits until every command enqueued so far has ended.
    ///
    /// # Errors
    /// The earliest failure since the session began or `finish` was last called, cancelled commands
    /// aside: no failure goes unnoticed because its handle was dropped.
    pub async fn finish(&self) -> Result<(), CommandError> {
        for cell in self.shared().open_cells() {
            // The failure, if any, is noted with all others.
            let _ = Wait { cell }.await;
        }
        if let Some(error) = self.shared().take_first_failure() {
            return Err(error);
        }
        match self.closed_reason() {
            Some(reason) => Err(CommandError::SessionClosed { reason }),
            None => Ok(()),
        }
    }

    /// Waits until commands no longer gather in this process faster than the connection takes them.
    ///
    /// Enqueuing never waits; a loop that enqueues without end awaits this now and then. A session
    /// that has 4,000,000 unfinished commands refuses further ones with
    /// [`CommandError::LimitExceeded`] until this has been awaited.
    pub async fn room(&self) {
        self.shared().room().await;
    }

    /// Waits for all commands, closes the session and waits until the farm has closed it. Other
    /// clones of the session are closed too.
    ///
    /// # Errors
    /// As [`Session::finish`]; the session is closed in any case.
    pub async fn close(self) -> Result<(), CommandError> {
        let finished = self.finish().await;
        self.shared().request_close();
        self.shared().wait_ended().await;
        finished
    }

    /// Why the command runs where it runs, or why it does not run yet.
    ///
    /// # Errors
    /// When the scheduler does not know, or does not answer.
    pub async fn explain(&self, handle: &impl AsRef<CommandHandle>) -> Result<Explanation, AskError> {
        let command = handle.as_ref().id().ok_or(AskError::NotSubmitted)?;
        let (question_id, answer) = self.shared().questions.register();
        let question = Question::Explain { command };
        if !self.shared().request(ClientRequest::Ask { question_id, question }) {
            return Err(AskError::Lost);
        }
        let timeout = self.owner.answer_timeout;
        match tokio::time::timeout(timeout, answer).await {
            Err(_) => Err(AskError::TimedOut { timeout }),
            Ok(Err(_)) => Err(AskError::Lost),
            Ok(Ok(Answer::Explanation(explanation))) => Ok(explanation),
            Ok(Ok(Answer::Refused { reason })) => Err(AskError::Refused { reason }),
            Ok(Ok(Answer::Devices(_) | Answer::Status(_) | Answer::Links(_) | Answer::Accepted)) => {
                Err(AskError::Unexpected)
            }
        }
    }
}
