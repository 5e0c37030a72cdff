//! The control stream: messages in both directions, in order.
//!
//! Sending never waits: a message is encoded into a bounded queue, and one task writes all that
//! is queued at a time, so that messages sent in one go share packets without any delay added.
//! Must never hold a timer.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::{Bytes, BytesMut};
use isochrone_protocol::{DecodeError, EncodeError, FrameDecoder, Limits, encode_frame};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::Notify;

use crate::close::{CloseCode, CloseReason};
use crate::connection::Shared;
use crate::link::Link;

/// Control goes before every bulk stream.
const CONTROL_PRIORITY: i32 = 1_000;

/// Most pieces that are read from the stream at a time.
const READ_CHUNKS_MAX: usize = 32;

/// What the senders of a connection share with the task that writes.
pub(crate) struct ControlQueue {
    state: Mutex<QueueState>,
    bytes_max: usize,
    limits: Limits,
    /// Wakes the writing task.
    wake: Notify,
    /// Wakes whoever waits for the queue to be written, finished or closed.
    progress: Notify,
}

struct QueueState {
    buffer: BytesMut,
    /// Bytes that were taken for writing and are not yet written.
    writing_bytes: usize,
    /// Bytes queued and written since the start.
    queued_total: u64,
    written_total: u64,
    ending: Ending,
}

/// How far the stream is towards its end.
enum Ending {
    Open,
    /// No more messages are taken.
    Finishing,
    /// The peer has acknowledged everything.
    Finished,
    Closed(CloseReason),
}

/// What the writing task is to do next.
enum Step {
    Write(Bytes),
    Finish,
    Wait,
}

impl ControlQueue {
    pub(crate) fn new(bytes_max: usize, limits: Limits) -> Self {
        Self {
            state: Mutex::new(QueueState {
                buffer: BytesMut::new(),
                writing_bytes: 0,
                queued_total: 0,
                written_total: 0,
                ending: Ending::Open,
            }),
            bytes_max,
            limits,
            wake: Notify::new(),
            progress: Notify::new(),
        }
    }

    fn state(&self) -> MutexGuard<'_, QueueState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn push<T: Serialize + ?Sized>(&self, message: &T) -> Result<(), SendError> {
        let mut state = self.state();
        match &state.ending {
            Ending::Open => {}
            Ending::Finishing | Ending::Finished => return Err(SendError::Finished),
            Ending::Closed(reason) => return Err(SendError::Closed(reason.clone())),
        }
        let before = state.buffer.len();
        encode_frame(message, &mut state.buffer, &self.limits)?;
        let queued_bytes = state.buffer.len() + state.writing_bytes;
        if queued_bytes > self.bytes_max {
            state.buffer.truncate(before);
            return Err(SendError::Full {
                queued_bytes: before + state.writing_bytes,
                bytes_max: self.bytes_max,
            });
        }
        state.queued_total += (state.buffer.len() - before) as u64;
        drop(state);
        self.wake.notify_one();
        Ok(())
    }

    /// To be called when everything that was taken before is written.
    fn step(&self) -> Step {
        let mut state = self.state();
        if state.writing_bytes > 0 {
            state.written_total += state.writing_bytes as u64;
            state.writing_bytes = 0;
            // Whoever waits looks at the state only when this lock is released.
            self.progress.notify_waiters();
        }
        if !state.buffer.is_empty() {
            let bytes = state.buffer.split().freeze();
            state.writing_bytes = bytes.len();
            return Step::Write(bytes);
        }
        match state.ending {
            Ending::Finishing => Step::Finish,
            Ending::Open | Ending::Finished | Ending::Closed(_) => Step::Wait,
        }
    }

    fn finish(&self) {
        let mut state = self.state();
        if matches!(state.ending, Ending::Open) {
            state.ending = Ending::Finishing;
        }
        drop(state);
        self.wake.notify_one();
    }

    fn end(&self, ending: Ending) {
        let mut state = self.state();
        state.buffer = BytesMut::new();
        state.writing_bytes = 0;
        state.ending = ending;
        drop(state);
        self.progress.notify_waiters();
    }

    /// Waits until `reached` gives a result; it is asked again after each progress.
    async fn wait<R>(&self, mut reached: impl FnMut(&QueueState) -> Option<R>) -> R {
        loop {
            let progress = self.progress.notified();
            tokio::pin!(progress);
            // Before looking, so that no progress goes unnoticed in between.
            progress.as_mut().enable();
            if let Some(result) = reached(&self.state()) {
                return result;
            }
            progress.await;
        }
    }
}

/// Writes what is queued until the stream or the connection ends.
pub(crate) async fn write_queue(queue: Arc<ControlQueue>, mut stream: quinn::SendStream, link: Arc<Link>) {
    // Fails only on a stream that is closed already, which the first write finds.
    let _ = stream.set_priority(CONTROL_PRIORITY);
    let closed = link.closed();
    tokio::pin!(closed);
    let reason = loop {
        match queue.step() {
            Step::Write(bytes) => {
                if let Err(error) = stream.write_chunk(bytes).await {
                    break write_error(&link, error);
                }
            }
            Step::Finish => {
                // Fails only on a stream that is closed already, which `stopped` finds.
                let _ = stream.finish();
                match stream.stopped().await {
                    Ok(None) => return queue.end(Ending::Finished),
                    Ok(Some(_)) => break stopped(&link),
                    Err(_) => break link.closed().await,
                }
            }
            Step::Wait => tokio::select! {
                () = queue.wake.notified() => {}
                reason = &mut closed => break reason,
            },
        }
    };
    queue.end(Ending::Closed(reason));
}

fn write_error(link: &Link, error: quinn::WriteError) -> CloseReason {
    match error {
        quinn::WriteError::ConnectionLost(error) => link.reason(error),
        quinn::WriteError::Stopped(_)
        | quinn::WriteError::ClosedStream
        | quinn::WriteError::ZeroRttRejected => stopped(link),
    }
}

/// A peer does not stop reading its control stream while the connection is in use.
fn stopped(link: &Link) -> CloseReason {
    let reason = "control stream stopped";
    link.close(CloseCode::ProtocolViolation, reason);
    link.close_reason().unwrap_or_else(|| CloseReason::Local {
        code: CloseCode::ProtocolViolation,
        reason: reason.to_owned(),
    })
}

/// The sending half of the control stream. Cheap to clone; when the last clone is dropped the
/// stream ends after what is queued, and the peer's receiver gives `None`.
#[derive(Clone)]
pub struct ControlSender {
    inner: Arc<SenderInner>,
}

struct SenderInner {
    queue: Arc<ControlQueue>,
    /// Keeps the connection.
    _connection: Arc<Shared>,
}

impl Drop for SenderInner {
    fn drop(&mut self) {
        self.queue.finish();
    }
}

impl ControlSender {
    pub(crate) fn new(queue: Arc<ControlQueue>, connection: Arc<Shared>) -> Self {
        Self { inner: Arc::new(SenderInner { queue, _connection: connection }) }
    }

    /// Queues a message; it goes out as soon as the connection allows, together with what else
    /// is queued by then. Never waits.
    ///
    /// # Errors
    /// If the message is too large, if the queue is full (the peer is slow: nothing was queued),
    /// or if the stream or connection has ended.
    pub fn send<T: Serialize + ?Sized>(&self, message: &T) -> Result<(), SendError> {
        self.inner.queue.push(message)
    }

    /// Bytes of messages that QUIC has not yet taken; grows when the peer is slow.
    #[must_use]
    pub fn queued_bytes(&self) -> usize {
        let state = self.inner.queue.state();
        state.buffer.len() + state.writing_bytes
    }

    /// Waits until QUIC has taken everything that was queued when this was called. It still sees
    /// to its delivery after that, for as long as the connection is not closed. Cancel safe.
    ///
    /// # Errors
    /// If the connection ended before.
    pub async fn flushed(&self) -> Result<(), FlushError> {
        let queue = &self.inner.queue;
        let target = queue.state().queued_total;
        queue
            .wait(|state| {
                if state.written_total >= target {
                    return Some(Ok(()));
                }
                match &state.ending {
                    Ending::Closed(reason) => Some(Err(FlushError::Closed(reason.clone()))),
                    Ending::Finished => Some(Ok(())),
                    Ending::Open | Ending::Finishing => None,
                }
            })
            .await
    }

    /// Takes no more messages, ends the stream after what is queued, and waits until the peer
    /// has acknowledged all of it: closing loses nothing then. Cancel safe.
    ///
    /// # Errors
    /// If the connection ended before.
    pub async fn finish(&self) -> Result<(), FlushError> {
        let queue = &self.inner.queue;
        queue.finish();
        queue
            .wait(|state| match &state.ending {
                Ending::Closed(reason) => Some(Err(FlushError::Closed(reason.clone()))),
                Ending::Finished => Some(Ok(())),
                Ending::Open | Ending::Finishing => None,
            })
            .await
    }
}

impl fmt::Debug for ControlSender {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("ControlSender")
            .field("queued_bytes", &self.queued_bytes())
            .finish_non_exhaustive()
    }
}

/// Why a message was not queued.
#[derive(Debug, thiserror::Error)]
pub enum SendError {
    /// The peer takes messages more slowly than they are made.
    #[error("{queued_bytes} bytes wait for a slow peer already, at most {bytes_max} are allowed")]
    Full {
        /// What is queued, in bytes.
        queued_bytes: usize,
        /// The limit in force, in bytes.
        bytes_max: usize,
    },
    /// The message cannot be encoded.
    #[error("message cannot be sent")]
    Encode(#[from] EncodeError),
    /// The stream was finished by this process.
    #[error("the control stream was finished")]
    Finished,
    /// The connection has ended.
    #[error("the connection has ended")]
    Closed(#[source] CloseReason),
}

/// Why queued messages did not get out.
#[derive(Debug, thiserror::Error)]
pub enum FlushError {
    /// The connection has ended.
    #[error("the connection ended before everything was sent")]
    Closed(#[source] CloseReason),
}

/// The receiving half of the control stream.
pub struct ControlReceiver {
    /// `Some` until dropped.
    stream: Option<quinn::RecvStream>,
    decoder: FrameDecoder,
    connection: Arc<Shared>,
}

impl ControlReceiver {
    pub(crate) fn new(stream: quinn::RecvStream, connection: Arc<Shared>) -> Self {
        Self { stream: Some(stream), decoder: FrameDecoder::new(connection.options.limits), connection }
    }

    /// The next message, or `None` once the peer has finished the stream, or either side has
    /// closed the connection with [`CloseCode::Done`]. Cancel safe: no message is lost.
    ///
    /// # Errors
    /// If the connection ended otherwise, or if what the peer sent is no `T`; the connection is
    /// closed then.
    pub async fn receive<T: DeserializeOwned>(&mut self) -> Result<Option<T>, ReceiveError> {
        loop {
            if let Some(message) = self.decode()? {
                return Ok(Some(message));
            }
            if !self.read().await? {
                return Ok(None);
            }
        }
    }

    /// Appends the next message and all others that are there already to `messages`, and gives
    /// their number; waits only for the first. Zero where [`ControlReceiver::receive`] gives
    /// `None`. Cancel safe: a message is either in `messages` or still to come.
    ///
    /// # Errors
    /// As [`ControlReceiver::receive`]; messages before the error are in `messages`.
    pub async fn receive_many<T: DeserializeOwned>(
        &mut self,
        messages: &mut Vec<T>,
    ) -> Result<usize, ReceiveError> {
        let before = messages.len();
        loop {
            while let Some(message) = self.decode()? {
                messages.push(message);
            }
            if messages.len() > before {
                return Ok(messages.len() - before);
            }
            if !self.read().await? {
                return Ok(0);
            }
        }
    }

    fn decode<T: DeserializeOwned>(&mut self) -> Result<Option<T>, ReceiveError> {
        self.decoder.next().map_err(|source| {
            let code = match &source {
                DecodeError::TooLarge { .. } => CloseCode::LimitExceeded,
                DecodeError::Structure(_) | DecodeError::Deserialize(_) | DecodeError::AlreadyFailed => {
                    CloseCode::ProtocolViolation
                }
            };
            self.connection.link.close(code, &source.to_string());
            ReceiveError::Decode(source)
        })
    }

    /// Reads what is there, or waits for something; `false` if the stream has ended in order.
    async fn read(&mut self) -> Result<bool, ReceiveError> {
        let Some(stream) = &mut self.stream else {
            return Ok(false);
        };
        let mut chunks: [Bytes; READ_CHUNKS_MAX] = std::array::from_fn(|_| Bytes::new());
        let link = &self.connection.link;
        match stream.read_chunks(&mut chunks).await {
            Ok(Some(count)) => {
                for chunk in &chunks[..count] {
                    self.decoder.extend(chunk);
                }
                Ok(true)
            }
            Ok(None) if self.decoder.is_mid_frame() => {
                link.close(CloseCode::ProtocolViolation, "control stream ends in a message");
                Err(ReceiveError::Truncated)
            }
            Ok(None) => Ok(false),
            Err(quinn::ReadError::ConnectionLost(error)) => {
                let reason = link.reason(error);
                if reason.is_done() { Ok(false) } else { Err(ReceiveError::Closed(reason)) }
            }
            Err(
                quinn::ReadError::Reset(_)
                | quinn::ReadError::ClosedStream
                | quinn::ReadError::IllegalOrderedRead
                | quinn::ReadError::ZeroRttRejected,
            ) => {
                link.close(CloseCode::ProtocolViolation, "control stream was reset");
                Err(ReceiveError::Truncated)
            }
        }
    }
}

impl Drop for ControlReceiver {
    fn drop(&mut self) {
        *self.connection.parked_control.lock().unwrap_or_else(PoisonError::into_inner) = self.stream.take();
    }
}

impl fmt::Debug for ControlReceiver {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("ControlReceiver").finish_non_exhaustive()
    }
}

/// Why there is no next message.
#[derive(Debug, thiserror::Error)]
pub enum ReceiveError {
    /// What the peer sent is not a message.
    #[error("the peer sent what is not a message")]
    Decode(#[source] DecodeError),
    /// The peer broke the control stream off.
    #[error("the peer broke the control stream off")]
    Truncated,
    /// The connection has ended.
    #[error("the connection has ended")]
    Closed(#[source] CloseReason),
}
