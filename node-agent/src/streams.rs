//! Streams between devices and connections: which pieces are under way, what comes next, and when a stream has ended.
//!
//! Of each stream only so many pieces are on the host at a time: those that a device is moving, and those that wait
//! for the network. Where a device's memory is the host's, there are no pieces: the whole region is opened, sent or
//! received where it lies, and closed again; should it not open, it goes in pieces after all. It must never do what it
//! says: the driver gives the operations to devices, and tasks read and send the bytes.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Arc;

use bytes::Bytes;
use isochrone_model::{ByteRange, DeviceIndex, Region, SessionId, SlotIndex, Span, TaskId};
use isochrone_sched_core::agent::{
    Operation, OperationDone, OperationError, OperationId, OperationKind, StreamSource,
};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};

use crate::backend::{Access, Opened, Opening, Room};

/// What a piece holds, in bytes: long enough that what each costs is little beside copying it, short enough that a
/// few of them stay in a processor's cache.
pub(crate) const PIECE_BYTES: u64 = 1 << 20;

/// Contents of at least so many bytes go by streams: with fewer than two pieces nothing would overlap.
pub(crate) const STREAMED_BYTES_MIN: u64 = 2 * PIECE_BYTES;

/// Pieces of one stream that are on the host at a time.
pub(crate) const PIECES_MAX: usize = 8;

/// Operations from this number on are pieces of streams; the machine's own never come so far.
const FIRST_PIECE: u64 = 1 << 63;

/// Where a stream lies on its device.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    pub(crate) region: Region,
    pub(crate) device: DeviceIndex,
    pub(crate) lane: SlotIndex,
    /// Whether the device's memory is the host's.
    pub(crate) is_shared: bool,
}

/// What a sending task is given.
#[derive(Debug)]
pub(crate) enum Next {
    /// The next bytes.
    Piece(Bytes),
    /// That was all.
    End,
    /// All bytes, where they lie on the device. They are wanted only for as long as nobody closes the channel.
    Whole(Bytes),
}

/// What a reading task is told about contents that begin to come.
#[derive(Debug)]
pub(crate) enum Way {
    /// Take them in whole.
    Host,
    /// Hand them over piece by piece, each with a permit.
    Device { stream: OperationId, permits: Arc<Semaphore> },
    /// Put them there, for as long as they are `wanted`: until the other end of that is dropped.
    Room { stream: OperationId, room: Room, wanted: oneshot::Receiver<Infallible> },
}

/// What a device is to do.
#[derive(Debug)]
pub(crate) enum PieceOperation {
    /// Move a piece; with its bytes when it is an upload.
    Move(Operation, Option<Bytes>),
    /// Open a region to the host.
    Open(Opening),
}

/// All streams of an agent.
#[derive(Debug, Default)]
pub(crate) struct Streams {
    outgoing: BTreeMap<OperationId, Outgoing>,
    incoming: BTreeMap<OperationId, Incoming>,
    pieces: BTreeMap<OperationId, Piece>,
    pieces_made: u64,
    operations: Vec<PieceOperation>,
    ended: Vec<Ended>,
    /// Incoming streams whose readers have gone.
    unread: Vec<OperationId>,
}

/// A stream that has ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) done: OperationDone,
    /// Where it came from, when it came in.
    pub(crate) source: Option<(Region, StreamSource)>,
}

#[derive(Debug)]
struct Outgoing {
    place: Place,
    /// First byte that no device was asked for.
    asked: u64,
    /// First byte that the sending task has not been given.
    given: u64,
    /// Pieces that came before an earlier one.
    early: BTreeMap<u64, Bytes>,
    /// Pieces that a device is reading; 1 while the region is or will be open.
    reading: usize,
    /// Pieces that are read or being read, and not sent.
    held: usize,
    /// Gone when nothing more is to be sent.
    sender: Option<mpsc::UnboundedSender<Next>>,
    span: Span,
    error: Option<OperationError>,
    /// How the sending task ended.
    outcome: Option<Result<(), String>>,
}

#[derive(Debug)]
struct Incoming {
    place: Place,
    source: StreamSource,
    permits: Arc<Semaphore>,
    /// Waits for the region to be open.
    reader: Option<oneshot::Sender<Way>>,
    /// Gone when what its reader puts into the open region is no longer wanted.
    wanted: Option<oneshot::Sender<Infallible>>,
    /// Pieces that a device is writing, and times that the region is or will be open.
    writing: usize,
    span: Span,
    error: Option<OperationError>,
    /// Whether all pieces have come.
    is_whole: bool,
    /// Whether what brought them broke, and another may begin.
    is_broken: bool,
}

#[derive(Debug)]
struct Piece {
    stream: OperationId,
    kind: PieceKind,
}

#[derive(Debug)]
enum PieceKind {
    /// A device reads it, for this place in the stream.
    Read { offset: u64 },
    /// A device writes it; the permit is given back when it has taken the bytes.
    Written { _permit: OwnedSemaphorePermit },
    /// The whole region is opened, used and closed.
    Open { has_opened: bool },
}

/// Whether an operation is a piece of a stream.
pub(crate) fn is_piece(operation: OperationId) -> bool {
    operation.0 >= FIRST_PIECE
}

impl Streams {
    pub(crate) fn is_empty(&self) -> bool {
        self.outgoing.is_empty() && self.incoming.is_empty()
    }

    /// Begins to read a region from its device for a task that sends it.
    pub(crate) fn begin_out(
        &mut self,
        stream: OperationId,
        place: Place,
        sender: mpsc::UnboundedSender<Next>,
    ) {
        let start = place.region.range.start;
        let outgoing = Outgoing {
            place,
            asked: start,
            given: start,
            early: BTreeMap::new(),
            reading: 0,
            held: 0,
            sender: Some(sender),
            span: Span::ZERO,
            error: None,
            outcome: None,
        };
        self.outgoing.insert(stream, outgoing);
        self.ask(stream);
    }

    /// Expects contents for a device. Their reader is told which way they go, at once or when the region is open.
    pub(crate) fn begin_in(
        &mut self,
        stream: OperationId,
        place: Place,
        source: StreamSource,
        reader: Option<oneshot::Sender<Way>>,
    ) {
        let incoming = Incoming {
            place,
            source,
            permits: Arc::new(Semaphore::new(PIECES_MAX)),
            reader: None,
            wanted: None,
            writing: 0,
            span: Span::ZERO,
            error: None,
            is_whole: false,
            is_broken: false,
        };
        self.incoming.insert(stream, incoming);
        match reader {
            Some(reader) => self.admit(stream, reader),
            None => self.unread.push(stream),
        }
    }

    /// Takes another stream that brings a write's bytes once more from their beginning, if the first one broke; gives its
    /// reader back otherwise.
    pub(crate) fn begin_again(
        &mut self,
        task: TaskId,
        reader: oneshot::Sender<Way>,
    ) -> Result<(), oneshot::Sender<Way>> {
        match self.of_payload(task) {
            Some((stream, incoming)) if incoming.is_broken => {
                incoming.is_broken = false;
                self.admit(stream, reader);
                Ok(())
            }
            Some(_) | None => Err(reader),
        }
    }

    fn admit(&mut self, stream: OperationId, reader: oneshot::Sender<Way>) {
        let Some(incoming) = self.incoming.get_mut(&stream) else { return };
        let place = incoming.place;
        if place.is_shared {
            incoming.reader = Some(reader);
            incoming.writing += 1;
            self.open(stream, place, Access::Overwrite);
        } else if reader.send(Way::Device { stream, permits: Arc::clone(&incoming.permits) }).is_err() {
            self.unread.push(stream);
        }
    }

    fn open(&mut self, stream: OperationId, place: Place, access: Access) {
        let Place { region, device, lane, is_shared: _ } = place;
        let id = self.next_piece(stream, PieceKind::Open { has_opened: false });
        self.operations.push(PieceOperation::Open(Opening { id, device, lane, region, access }));
    }

    fn next_piece(&mut self, stream: OperationId, kind: PieceKind) -> OperationId {
        self.pieces_made += 1;
        let id = OperationId(FIRST_PIECE + self.pieces_made);
        self.pieces.insert(id, Piece { stream, kind });
        id
    }

    /// A region is open. What nobody wants any more is dropped, and so given back.
    pub(crate) fn opened(&mut self, operation: OperationId, opened: Opened) {
        let Some(Piece { stream, kind: PieceKind::Open { has_opened } }) = self.pieces.get_mut(&operation)
        else {
            return;
        };
        *has_opened = true;
        let stream = *stream;
        match opened {
            Opened::Contents(bytes) => {
                if let Some(sender) = self.outgoing.get(&stream).and_then(|outgoing| outgoing.sender.as_ref())
                {
                    // A task that has gone says how it ended.
                    let _ = sender.send(Next::Whole(bytes));
                }
            }
            Opened::Room(room) => {
                let Some(incoming) = self.incoming.get_mut(&stream) else { return };
                // Without a reader the stream has failed meanwhile.
                let Some(reader) = incoming.reader.take() else { return };
                let (keep, wanted) = oneshot::channel();
                incoming.wanted = Some(keep);
                if reader.send(Way::Room { stream, room, wanted }).is_err() {
                    self.unread.push(stream);
                }
            }
        }
    }

    /// A region is closed again, or did not open.
    fn closed(&mut self, stream: OperationId, has_opened: bool, outcome: Result<Span, OperationError>) {
        if let Some(incoming) = self.incoming.get_mut(&stream) {
            incoming.writing -= 1;
            match outcome {
                Ok(span) => incoming.span = incoming.span.saturating_add(span),
                Err(error) if has_opened => return self.fail_in(stream, error),
                Err(error) => {
                    tracing::debug!(?error, "a region does not open; it is written in pieces");
                    incoming.place.is_shared = false;
                    if let Some(reader) = incoming.reader.take() {
                        self.admit(stream, reader);
                    }
                }
            }
            return self.end_in(stream);
        }
        let Some(outgoing) = self.outgoing.get_mut(&stream) else { return };
        outgoing.reading -= 1;
        match outcome {
            Ok(span) => outgoing.span = outgoing.span.saturating_add(span),
            Err(error) if has_opened => outgoing.fail(error),
            Err(error) => {
                tracing::debug!(?error, "a region does not open; it is read in pieces");
                outgoing.place.is_shared = false;
                outgoing.asked = outgoing.place.region.range.start;
                self.ask(stream);
            }
        }
        self.end_out(stream);
    }

    /// Whether a write's bytes go to a device as they come.
    pub(crate) fn has_payload(&mut self, task: TaskId) -> bool {
        self.of_payload(task).is_some()
    }

    fn of_payload(&mut self, task: TaskId) -> Option<(OperationId, &mut Incoming)> {
        let source = StreamSource::Payload { task };
        let found = self.incoming.iter_mut().find(|(_, incoming)| incoming.source == source);
        found.map(|(stream, incoming)| (*stream, incoming))
    }

    /// Asks the device for as many pieces as may be held.
    fn ask(&mut self, stream: OperationId) {
        let Some(outgoing) = self.outgoing.get_mut(&stream) else { return };
        let Place { region, device, lane, is_shared } = outgoing.place;
        if is_shared {
            if outgoing.asked < region.range.end {
                outgoing.asked = region.range.end;
                outgoing.reading = 1;
                let place = outgoing.place;
                self.open(stream, place, Access::Read);
            }
            return;
        }
        while outgoing.sender.is_some() && outgoing.held < PIECES_MAX && outgoing.asked < region.range.end {
            let end = region.range.end.min(outgoing.asked + PIECE_BYTES);
            let part = Region { range: ByteRange::new(outgoing.asked, end), ..region };
            self.pieces_made += 1;
            let id = OperationId(FIRST_PIECE + self.pieces_made);
            self.pieces.insert(id, Piece { stream, kind: PieceKind::Read { offset: outgoing.asked } });
            let kind = OperationKind::Download { region: part };
            self.operations.push(PieceOperation::Move(Operation { id, device, slot: lane, kind }, None));
            outgoing.asked = end;
            outgoing.reading += 1;
            outgoing.held += 1;
        }
    }

    /// A piece has come for a device.
    pub(crate) fn came(
        &mut self,
        stream: OperationId,
        offset: u64,
        bytes: Bytes,
        permit: OwnedSemaphorePermit,
    ) {
        // What comes for a stream that has failed is thrown away.
        let Some(incoming) = self.incoming.get_mut(&stream).filter(|incoming| incoming.error.is_none())
        else {
            return;
        };
        let Place { region, device, lane, is_shared: _ } = incoming.place;
        incoming.writing += 1;
        let start = region.range.start + offset;
        let part = Region { range: ByteRange::new(start, start + bytes.len() as u64), ..region };
        let id = self.next_piece(stream, PieceKind::Written { _permit: permit });
        let kind = OperationKind::Upload { region: part };
        self.operations.push(PieceOperation::Move(Operation { id, device, slot: lane, kind }, Some(bytes)));
    }

    /// All pieces have come.
    pub(crate) fn is_whole(&mut self, stream: OperationId) {
        if let Some(incoming) = self.incoming.get_mut(&stream) {
            incoming.is_whole = true;
        }
        self.end_in(stream);
    }

    /// No more pieces come. Gives from whom they did, unless the stream has ended.
    pub(crate) fn broke(&mut self, stream: OperationId, reason: String) -> Option<(Region, StreamSource)> {
        let incoming = self.incoming.get_mut(&stream)?;
        let found = (incoming.place.region, incoming.source);
        match incoming.source {
            // Another stream may bring them, for a while.
            StreamSource::Payload { .. } => incoming.is_broken = true,
            StreamSource::Agent { .. } => self.fail_in(stream, OperationError::Lost { reason }),
        }
        Some(found)
    }

    /// A write's bytes will not come any more.
    pub(crate) fn lost(&mut self, task: TaskId, reason: String) {
        if let Some((stream, _)) = self.of_payload(task) {
            self.fail_in(stream, OperationError::Lost { reason });
        }
    }

    /// A session is over: nothing more comes for it.
    pub(crate) fn dismiss(&mut self, session: SessionId) {
        let of_session = |incoming: &Incoming| incoming.place.region.buffer.session == session;
        let streams: Vec<OperationId> = self
            .incoming
            .iter()
            .filter(|(_, incoming)| of_session(incoming))
            .map(|(stream, _)| *stream)
            .collect();
        for stream in streams {
            let reason = "the session is over".to_owned();
            self.fail_in(stream, OperationError::Lost { reason });
        }
    }

    fn fail_in(&mut self, stream: OperationId, error: OperationError) {
        if let Some(incoming) = self.incoming.get_mut(&stream) {
            incoming.error.get_or_insert(error);
            // Its reader gives up.
            incoming.permits.close();
            incoming.reader = None;
            incoming.wanted = None;
        }
        self.end_in(stream);
    }

    /// A device has moved a piece; `bytes` are those of one that was read.
    pub(crate) fn moved(&mut self, done: OperationDone, bytes: Option<Bytes>) {
        let Some(Piece { stream, kind }) = self.pieces.remove(&done.operation) else { return };
        let offset = match kind {
            PieceKind::Open { has_opened } => return self.closed(stream, has_opened, done.outcome),
            PieceKind::Read { offset } => offset,
            PieceKind::Written { .. } => 0,
        };
        if let Some(incoming) = self.incoming.get_mut(&stream) {
            incoming.writing -= 1;
            match done.outcome {
                Ok(span) => incoming.span = incoming.span.saturating_add(span),
                Err(error) => return self.fail_in(stream, error),
            }
            return self.end_in(stream);
        }
        let Some(outgoing) = self.outgoing.get_mut(&stream) else { return };
        outgoing.reading -= 1;
        match (done.outcome, bytes) {
            (Ok(span), Some(bytes)) => {
                outgoing.span = outgoing.span.saturating_add(span);
                outgoing.early.insert(offset, bytes);
                outgoing.give();
            }
            (Err(error), _) => outgoing.fail(error),
            (Ok(_), None) => {
                let reason = "a device read nothing".to_owned();
                outgoing.fail(OperationError::Failed { call: "download".to_owned(), reason });
            }
        }
        self.end_out(stream);
    }

    /// A piece has been sent.
    pub(crate) fn sent(&mut self, stream: OperationId) {
        if let Some(outgoing) = self.outgoing.get_mut(&stream) {
            outgoing.held -= 1;
        }
        self.ask(stream);
    }

    /// A sending task has ended.
    pub(crate) fn sending_ended(&mut self, stream: OperationId, outcome: Result<(), String>) {
        if let Some(outgoing) = self.outgoing.get_mut(&stream) {
            outgoing.sender = None;
            outgoing.early.clear();
            outgoing.outcome = Some(outcome);
        }
        self.end_out(stream);
    }

    /// Ends an outgoing stream once its task has ended and no device reads for it any more.
    fn end_out(&mut self, stream: OperationId) {
        let Some(outgoing) = self.outgoing.get_mut(&stream) else { return };
        if outgoing.reading > 0 {
            return;
        }
        let Some(outcome) = outgoing.outcome.take() else { return };
        let span = outgoing.span;
        let outcome = match (outgoing.error.take(), outcome) {
            (Some(error), _) => Err(error),
            (None, Ok(())) => Ok(span),
            (None, Err(reason)) => Err(OperationError::Lost { reason }),
        };
        self.outgoing.remove(&stream);
        self.ended.push(Ended { done: OperationDone { operation: stream, outcome }, source: None });
    }

    /// Ends an incoming stream once all of it is on the device, or it has failed and no device writes for it.
    fn end_in(&mut self, stream: OperationId) {
        let Some(incoming) = self.incoming.get(&stream) else { return };
        if incoming.writing > 0 || (incoming.error.is_none() && !incoming.is_whole) {
            return;
        }
        let Some(incoming) = self.incoming.remove(&stream) else { return };
        let outcome = incoming.error.map_or(Ok(incoming.span), Err);
        let source = Some((incoming.place.region, incoming.source));
        self.ended.push(Ended { done: OperationDone { operation: stream, outcome }, source });
    }

    /// What devices are to do now.
    pub(crate) fn take_operations(&mut self) -> Vec<PieceOperation> {
        std::mem::take(&mut self.operations)
    }

    /// Incoming streams that nobody reads, since this was last asked.
    pub(crate) fn take_unread(&mut self) -> Vec<OperationId> {
        std::mem::take(&mut self.unread)
    }

    /// Streams that have ended since this was last asked.
    pub(crate) fn take_ended(&mut self) -> Vec<Ended> {
        std::mem::take(&mut self.ended)
    }
}

impl Outgoing {
    /// Gives the sending task what is next, in order.
    fn give(&mut self) {
        let Some(sender) = &self.sender else { return self.early.clear() };
        while let Some(bytes) = self.early.remove(&self.given) {
            self.given += bytes.len() as u64;
            // A task that has gone says how it ended.
            let _ = sender.send(Next::Piece(bytes));
        }
        if self.given == self.place.region.range.end {
            let _ = sender.send(Next::End);
            self.sender = None;
        }
    }

    /// Lets the sending task break the stream off.
    fn fail(&mut self, error: OperationError) {
        self.error.get_or_insert(error);
        self.sender = None;
        self.early.clear();
    }
}

#[cfg(test)]
mod tests;
