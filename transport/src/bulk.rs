//! Bulk streams: one way, one transfer each, a header and then contents as they are.
//!
//! Must never hold what a header means, nor copy contents more than a receiver asks for.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;

use bytes::{BufMut, Bytes, BytesMut};
use isochrone_protocol::{
    DecodeError, EncodeError, FrameDecoder, Limits, decode_payload, encode_bulk_header,
};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

use crate::close::{CloseCode, CloseReason};
use crate::connection::Shared;
use crate::link::Link;
use crate::local;
use crate::local_stream::{LocalReceiver, LocalSender};
use crate::options::TransportOptions;

/// Most bytes of contents that are read at a time while looking for a header.
const HEADER_READ_BYTES_MAX: usize = 16 << 10;

/// Most pieces that are read from a stream at a time.
const READ_CHUNKS_MAX: usize = 32;

/// Which bulk streams of a connection go first; all go after the control stream. Streams of one
/// priority share the connection evenly; a lower one gets what higher ones leave.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BulkPriority(i8);

impl BulkPriority {
    /// For what tasks wait for.
    pub const URGENT: Self = Self(32);
    /// For most transfers.
    pub const NORMAL: Self = Self(0);
    /// For what nobody waits for yet: prefetches and spare replicas.
    pub const BACKGROUND: Self = Self(-32);

    /// Any priority; larger goes first.
    #[must_use]
    pub const fn new(priority: i8) -> Self {
        Self(priority)
    }

    /// The number given to [`BulkPriority::new`].
    #[must_use]
    pub const fn get(self) -> i8 {
        self.0
    }
}

impl Default for BulkPriority {
    fn default() -> Self {
        Self::NORMAL
    }
}

/// A bulk stream whose header has arrived.
pub(crate) struct ArrivedBulk {
    header: Bytes,
    contents: Bytes,
    carrier: ReceiveCarrier,
    _slot: OwnedSemaphorePermit,
}

/// What brings a bulk stream.
pub(crate) enum ReceiveCarrier {
    /// A stream, and which of the peer's connections it came on.
    Quic(quinn::RecvStream, Arc<Link>),
    Local(LocalReceiver),
}

impl ArrivedBulk {
    pub(crate) fn new(
        header: Bytes,
        contents: Bytes,
        carrier: ReceiveCarrier,
        slot: OwnedSemaphorePermit,
    ) -> Self {
        Self { header, contents, carrier, _slot: slot }
    }

    pub(crate) fn into_receiver<H: DeserializeOwned>(
        self,
        connection: Arc<Shared>,
    ) -> Result<(H, BulkReceiver), AcceptBulkError> {
        let header = decode_payload(&self.header, &connection.options.limits).map_err(|source| {
            connection.link.close(CloseCode::ProtocolViolation, "header of a bulk stream is malformed");
            AcceptBulkError::Header(source)
        })?;
        let waiting = Some(self.contents).filter(|contents| !contents.is_empty()).into_iter().collect();
        let receiver = BulkReceiver { carrier: self.carrier, waiting, connection };
        Ok((header, receiver))
    }
}

/// Accepts the streams that a peer opens until the connection ends. Each header is read in a task
/// of its own, so that one that does not come keeps no other waiting.
pub(crate) async fn accept_streams(
    link: Arc<Link>,
    options: Arc<TransportOptions>,
    arrivals: mpsc::Sender<ArrivedBulk>,
) {
    // Headers being read, and streams that nobody has accepted yet.
    let slots = Arc::new(Semaphore::new(options.bulk_streams_max.max(1) as usize));
    loop {
        let next = async {
            let slot = slots.clone().acquire_owned().await.ok()?;
            let stream = link.quinn.accept_uni().await.ok()?;
            Some((slot, stream))
        };
        tokio::select! {
            extra = link.quinn.accept_bi() => {
                if extra.is_ok() {
                    link.close(
                        CloseCode::ProtocolViolation,
                        "a connection has one bidirectional stream",
                    );
                }
                return;
            }
            next = next => {
                let Some((slot, stream)) = next else { return };
                tokio::spawn(arrive(
                    stream,
                    slot,
                    link.clone(),
                    options.clone(),
                    arrivals.clone(),
                ));
            }
        }
    }
}

/// Reads the header of one stream and hands the stream on.
async fn arrive(
    mut stream: quinn::RecvStream,
    slot: OwnedSemaphorePermit,
    link: Arc<Link>,
    options: Arc<TransportOptions>,
    arrivals: mpsc::Sender<ArrivedBulk>,
) {
    let header = read_header(&mut stream, options.limits);
    match tokio::time::timeout(options.bulk_header_timeout, header).await {
        Ok(Ok(Some((header, contents)))) => {
            let carrier = ReceiveCarrier::Quic(stream, link);
            let arrived = ArrivedBulk::new(header, contents, carrier, slot);
            // Fails only when the connection is no longer in use.
            let _ = arrivals.send(arrived).await;
        }
        // The peer gave the stream up, or the connection has ended.
        Ok(Ok(None)) => {}
        Ok(Err(error)) => link.close(CloseCode::LimitExceeded, &error.to_string()),
        Err(_) => {
            tracing::warn!(
                peer = %link.quinn.remote_address(),
                "bulk stream stopped: its header did not come in time"
            );
            // Fails only on a stream that has ended already.
            let _ = stream.stop(CloseCode::LimitExceeded.to_wire().into());
        }
    }
}

/// The header's payload and what was read beyond it; `None` if the stream ends before.
async fn read_header(
    stream: &mut quinn::RecvStream,
    limits: Limits,
) -> Result<Option<(Bytes, Bytes)>, DecodeError> {
    let mut decoder = FrameDecoder::for_bulk_header(limits);
    loop {
        let Ok(Some(chunk)) = stream.read_chunk(HEADER_READ_BYTES_MAX, true).await else {
            return Ok(None);
        };
        decoder.extend(&chunk.bytes);
        if let Some(header) = decoder.next_payload()? {
            return Ok(Some((header, decoder.into_rest())));
        }
    }
}

/// The sending end of a bulk stream. Dropped before [`BulkSender::finish`], it breaks the
/// transfer off, and the receiver gets an error instead of an end.
pub struct BulkSender {
    carrier: SendCarrier,
    state: SenderState,
    connection: Arc<Shared>,
}

/// What takes a bulk stream.
enum SendCarrier {
    /// A stream, and on which of the connections to the peer.
    Quic(quinn::SendStream, Arc<Link>),
    Local(LocalSender),
    /// Nothing any more: the stream was finished.
    Gone,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum SenderState {
    /// Between two pieces.
    Whole,
    /// A piece was not written to its end: what follows would not be what the sender meant.
    Interrupted,
    /// Finished; the stream looks after itself.
    Finished,
}

impl BulkSender {
    pub(crate) async fn open<H: Serialize + ?Sized>(
        connection: Arc<Shared>,
        header: &H,
        priority: BulkPriority,
    ) -> Result<Self, OpenBulkError> {
        let mut bytes = BytesMut::new();
        encode_bulk_header(header, &mut bytes, &connection.options.limits)?;
        let way = connection.bulk_way().await;
        if let Some(peer) = &way.local {
            match local::open_stream(peer, &bytes).await {
                Ok(sender) => {
                    let carrier = SendCarrier::Local(sender);
                    return Ok(Self { carrier, state: SenderState::Whole, connection });
                }
                // QUIC has a reason if there is one.
                Err(error) => tracing::debug!(%error, "no local stream; one of QUIC instead"),
            }
        }
        let link = way.link;
        let mut stream = link
            .quinn
            .open_uni()
            .await
            .map_err(|error| OpenBulkError::Closed(connection.reason(&link, error)))?;
        // Fails only on a stream that is closed already, which the write finds.
        let _ = stream.set_priority(priority.0.into());
        let written = stream.write_chunk(bytes.freeze()).await;
        let carrier = SendCarrier::Quic(stream, link.clone());
        let mut sender = Self { carrier, state: SenderState::Interrupted, connection };
        match written {
            Ok(()) => {
                sender.state = SenderState::Whole;
                Ok(sender)
            }
            Err(quinn::WriteError::ConnectionLost(error)) => {
                Err(OpenBulkError::Closed(sender.connection.reason(&link, error)))
            }
            Err(
                quinn::WriteError::Stopped(_)
                | quinn::WriteError::ClosedStream
                | quinn::WriteError::ZeroRttRejected,
            ) => Err(OpenBulkError::Stopped),
        }
    }

    /// Sends the next piece of contents without copying it; waits until QUIC has taken all of it.
    /// Pieces of 64 KiB to 1 MiB are best. If this is cancelled, the transfer can only be broken
    /// off.
    ///
    /// # Errors
    /// See [`SendBulkError`].
    pub async fn send(&mut self, contents: Bytes) -> Result<(), SendBulkError> {
        if self.state != SenderState::Whole {
            return Err(SendBulkError::Interrupted);
        }
        if contents.is_empty() {
            return Ok(());
        }
        self.state = SenderState::Interrupted;
        match &mut self.carrier {
            SendCarrier::Quic(stream, link) => {
                stream.write_chunk(contents).await.map_err(|error| match error {
                    quinn::WriteError::ConnectionLost(error) => {
                        SendBulkError::Closed(self.connection.reason(link, error))
                    }
                    quinn::WriteError::Stopped(_)
                    | quinn::WriteError::ClosedStream
                    | quinn::WriteError::ZeroRttRejected => SendBulkError::Stopped,
                })?;
            }
            SendCarrier::Local(sender) => tokio::select! {
                sent = sender.send(contents) => sent.map_err(|_| self.connection.sender_lost())?,
                reason = self.connection.link.closed() => return Err(SendBulkError::Closed(reason)),
            },
            SendCarrier::Gone => return Err(SendBulkError::Interrupted),
        }
        self.state = SenderState::Whole;
        Ok(())
    }

    /// Ends the stream and waits until the peer's QUIC has acknowledged all of it (a round trip;
    /// not until it was read). Once called, it need not be awaited for the transfer to complete,
    /// as long as the connection stays in use.
    ///
    /// # Errors
    /// See [`SendBulkError`].
    pub async fn finish(mut self) -> Result<(), SendBulkError> {
        if self.state != SenderState::Whole {
            return Err(SendBulkError::Interrupted);
        }
        self.state = SenderState::Finished;
        match std::mem::replace(&mut self.carrier, SendCarrier::Gone) {
            SendCarrier::Quic(mut stream, _) => {
                // Fails only on a stream that is closed already, which `stopped` finds.
                let _ = stream.finish();
                match stream.stopped().await {
                    Ok(None) => Ok(()),
                    Ok(Some(_)) => Err(SendBulkError::Stopped),
                    Err(_) => Err(SendBulkError::Closed(self.connection.link.closed().await)),
                }
            }
            SendCarrier::Local(sender) => tokio::select! {
                finished = sender.finish() => finished.map_err(|_| self.connection.sender_lost()),
                reason = self.connection.link.closed() => Err(SendBulkError::Closed(reason)),
            },
            SendCarrier::Gone => Err(SendBulkError::Interrupted),
        }
    }

    /// Changes the priority of what is not yet sent. Between processes of one machine all are alike.
    pub fn set_priority(&mut self, priority: BulkPriority) {
        match &mut self.carrier {
            SendCarrier::Quic(stream, _) => {
                // Fails only on a stream that is closed already.
                let _ = stream.set_priority(priority.0.into());
            }
            SendCarrier::Local(_) | SendCarrier::Gone => {}
        }
    }
}

impl Drop for BulkSender {
    fn drop(&mut self) {
        match self.state {
            SenderState::Whole | SenderState::Interrupted => match &mut self.carrier {
                SendCarrier::Quic(stream, _) => {
                    // Fails only on a stream that is closed already.
                    let _ = stream.reset(CloseCode::Internal.to_wire().into());
                }
                // A local socket closes without the mark of an end.
                SendCarrier::Local(_) | SendCarrier::Gone => {}
            },
            SenderState::Finished => {}
        }
    }
}

impl fmt::Debug for BulkSender {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("BulkSender").field("state", &self.state).finish_non_exhaustive()
    }
}

/// The receiving end of a bulk stream. Dropped before the end, it tells the sender to stop.
pub struct BulkReceiver {
    carrier: ReceiveCarrier,
    /// Contents that have been taken from the stream and not given out yet, in order.
    waiting: VecDeque<Bytes>,
    connection: Arc<Shared>,
}

impl BulkReceiver {
    /// The next piece of contents, as it arrived, or `None` after the last. Cancel safe.
    ///
    /// # Errors
    /// If the sender broke the transfer off, or the connection ended.
    pub async fn receive(&mut self) -> Result<Option<Bytes>, ReceiveBulkError> {
        if let Some(piece) = self.waiting.pop_front() {
            return Ok(Some(piece));
        }
        match &mut self.carrier {
            ReceiveCarrier::Quic(stream, link) => match stream.read_chunk(usize::MAX, true).await {
                Ok(chunk) => Ok(chunk.map(|chunk| chunk.bytes)),
                Err(error) => Err(receive_error(&self.connection, link, error)),
            },
            ReceiveCarrier::Local(receiver) => {
                // What a peer sent before its end is there already.
                tokio::select! {
                    biased;
                    received = receiver.receive() => {
                        received.map_err(|_| self.connection.receiver_lost())
                    }
                    reason = self.connection.link.closed() => Err(ReceiveBulkError::Closed(reason)),
                }
            }
        }
    }

    /// Receives exactly `total_bytes` into one buffer, which is made before anything is read.
    ///
    /// # Errors
    /// If `total_bytes` is beyond
    /// [`bulk_transfer_bytes_max`](TransportOptions::bulk_transfer_bytes_max) or there is no
    /// memory for it, if the sender sends less or more or breaks off, or the connection ends.
    pub async fn receive_exact(mut self, total_bytes: u64) -> Result<Bytes, ReceiveBulkError> {
        self.check_size(total_bytes)?;
        let whole = self.receive_part(total_bytes).await?;
        let received_bytes = whole.len() as u64;
        if received_bytes < total_bytes {
            return Err(ReceiveBulkError::Truncated { total_bytes, received_bytes });
        }
        self.receive_end(total_bytes).await?;
        Ok(whole)
    }

    /// Refuses a transfer that is larger than this process takes.
    ///
    /// # Errors
    /// [`ReceiveBulkError::TooLarge`].
    pub fn check_size(&self, total_bytes: u64) -> Result<(), ReceiveBulkError> {
        let bytes_max = self.connection.options.bulk_transfer_bytes_max;
        if total_bytes > bytes_max {
            return Err(ReceiveBulkError::TooLarge { total_bytes, bytes_max });
        }
        Ok(())
    }

    /// Receives the next `part_bytes` into one buffer, which is made before anything is read; fewer only when the
    /// transfer has ended. Memory of parts of one size is used again.
    ///
    /// # Errors
    /// If there is no memory, if the sender breaks off, or the connection ends.
    pub async fn receive_part(&mut self, part_bytes: u64) -> Result<Bytes, ReceiveBulkError> {
        let no_memory = ReceiveBulkError::OutOfMemory { total_bytes: part_bytes };
        let Ok(length) = usize::try_from(part_bytes) else { return Err(no_memory) };
        let rooms = self.connection.options.rooms.clone();
        let Some(mut buffer) = rooms.take(length) else { return Err(no_memory) };
        self.receive_into(&mut buffer, length).await?;
        Ok(rooms.filled(buffer))
    }

    /// Receives the next `bytes` straight to where they are to be, no more than there is room for; gives how many came,
    /// fewer only when the transfer has ended.
    ///
    /// # Errors
    /// If the sender breaks off, or the connection ends. What came before is in `into` then.
    pub async fn receive_into<B: BufMut + Send + ?Sized>(
        &mut self,
        into: &mut B,
        bytes: usize,
    ) -> Result<usize, ReceiveBulkError> {
        let wanted = bytes.min(into.remaining_mut());
        let mut received = 0;
        while received < wanted {
            if let Some(mut piece) = self.waiting.pop_front() {
                let taken = piece.split_to(piece.len().min(wanted - received));
                into.put_slice(&taken);
                received += taken.len();
                if !piece.is_empty() {
                    self.waiting.push_front(piece);
                }
            } else if let Some(read) = self.read_more(into, wanted - received).await? {
                received += read;
            } else {
                break;
            }
        }
        Ok(received)
    }

    /// Puts what there is where it is to be, up to a length, or among what waits; gives how much came to its place, and
    /// `None` after the last.
    async fn read_more<B: BufMut + Send + ?Sized>(
        &mut self,
        into: &mut B,
        length: usize,
    ) -> Result<Option<usize>, ReceiveBulkError> {
        match &mut self.carrier {
            ReceiveCarrier::Quic(stream, link) => {
                let mut chunks: [Bytes; READ_CHUNKS_MAX] = std::array::from_fn(|_| Bytes::new());
                let read = stream.read_chunks(&mut chunks).await;
                let Some(count) = read.map_err(|error| receive_error(&self.connection, link, error))? else {
                    return Ok(None);
                };
                let mut put = 0;
                for chunk in chunks.iter_mut().take(count) {
                    // Most go straight to where they are to be.
                    if self.waiting.is_empty() && chunk.len() <= length - put {
                        let chunk = std::mem::take(chunk);
                        into.put_slice(&chunk);
                        put += chunk.len();
                    } else {
                        self.waiting.push_back(std::mem::take(chunk));
                    }
                }
                Ok(Some(put))
            }
            ReceiveCarrier::Local(receiver) => tokio::select! {
                biased;
                read = receiver.read(into, length) => read.map_err(|_| self.connection.receiver_lost()),
                reason = self.connection.link.closed() => Err(ReceiveBulkError::Closed(reason)),
            },
        }
    }

    /// Sees to it that nothing comes beyond the `total_bytes` that have been received.
    ///
    /// # Errors
    /// If more comes, if the sender breaks off, or the connection ends.
    pub async fn receive_end(&mut self, total_bytes: u64) -> Result<(), ReceiveBulkError> {
        let mut none = Vec::new();
        while self.waiting.is_empty() {
            let read = self.read_more(&mut none, 0).await?;
            match &self.carrier {
                _ if read.is_none() => return Ok(()),
                ReceiveCarrier::Local(_) => break,
                // What was read is empty, or waits.
                ReceiveCarrier::Quic(..) => {}
            }
        }
        Err(ReceiveBulkError::Surplus { total_bytes })
    }
}

fn receive_error(connection: &Shared, link: &Link, error: quinn::ReadError) -> ReceiveBulkError {
    match error {
        quinn::ReadError::ConnectionLost(error) => ReceiveBulkError::Closed(connection.reason(link, error)),
        quinn::ReadError::Reset(_)
        | quinn::ReadError::ClosedStream
        | quinn::ReadError::IllegalOrderedRead
        | quinn::ReadError::ZeroRttRejected => ReceiveBulkError::BrokenOff,
    }
}

impl fmt::Debug for BulkReceiver {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("BulkReceiver").finish_non_exhaustive()
    }
}

/// Why a bulk stream was not opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenBulkError {
    /// The header is too large or does not serialise.
    #[error("header of a bulk stream cannot be sent")]
    Header(#[from] EncodeError),
    /// The peer stopped the stream at once.
    #[error("the peer does not take the transfer")]
    Stopped,
    /// The connection has ended.
    #[error("the connection has ended")]
    Closed(#[source] CloseReason),
}

/// Why there is no next bulk stream.
#[derive(Debug, thiserror::Error)]
pub enum AcceptBulkError {
    /// The header is not the expected one.
    #[error("the peer opened a bulk stream with a malformed header")]
    Header(#[source] DecodeError),
    /// The connection has ended.
    #[error("the connection has ended")]
    Closed(#[source] CloseReason),
}

/// Why contents were not sent.
#[derive(Debug, thiserror::Error)]
pub enum SendBulkError {
    /// The receiver wants no more of it.
    #[error("the peer stopped the transfer")]
    Stopped,
    /// An earlier piece was cancelled or failed.
    #[error("an earlier piece of the transfer was not sent to its end")]
    Interrupted,
    /// The connection has ended.
    #[error("the connection has ended")]
    Closed(#[source] CloseReason),
}

/// Why contents were not received.
#[derive(Debug, thiserror::Error)]
pub enum ReceiveBulkError {
    /// The sender gave the transfer up.
    #[error("the peer broke the transfer off")]
    BrokenOff,
    /// More was announced than this process takes.
    #[error("transfer of {total_bytes} bytes announced, at most {bytes_max} are allowed")]
    TooLarge {
        /// What was announced, in bytes.
        total_bytes: u64,
        /// The limit in force, in bytes.
        bytes_max: u64,
    },
    /// There is no memory for the buffer.
    #[error("no memory for a transfer of {total_bytes} bytes")]
    OutOfMemory {
        /// What was announced, in bytes.
        total_bytes: u64,
    },
    /// Less came than was announced.
    #[error("transfer ended after {received_bytes} of {total_bytes} bytes")]
    Truncated {
        /// What was announced, in bytes.
        total_bytes: u64,
        /// What came, in bytes.
        received_bytes: u64,
    },
    /// More came than was announced.
    #[error("transfer goes on beyond its {total_bytes} bytes")]
    Surplus {
        /// What was announced, in bytes.
        total_bytes: u64,
    },
    /// The connection has ended.
    #[error("the connection has ended")]
    Closed(#[source] CloseReason),
}
