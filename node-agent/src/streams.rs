//! Streams between devices and connections: which pieces are under way, what comes next, and when a stream has ended.
//!
//! Of each stream only so many pieces are on the host at a time: those that a device is moving, and those that wait
//! for the network. It must never do what it says: the driver gives the operations to devices, and tasks read and
//! send the bytes.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use isochrone_model::{ByteRange, DeviceIndex, Region, SessionId, SlotIndex, Span, TaskId};
use isochrone_sched_core::agent::{
    Operation, OperationDone, OperationError, OperationId, OperationKind, StreamSource,
};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

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
}

/// What a sending task is given.
#[derive(Debug)]
pub(crate) enum Next {
    /// The next bytes.
    Piece(Bytes),
    /// That was all.
    End,
}

/// What a reading task is told about contents that begin to come.
#[derive(Debug)]
pub(crate) enum Way {
    /// Take them in whole.
    Host,
    /// Hand them over piece by piece, each with a permit.
    Device { stream: OperationId, permits: Arc<Semaphore> },
}

/// An operation for a device, and its bytes when it is an upload.
pub(crate) type PieceOperation = (Operation, Option<Bytes>);

/// All streams of an agent.
#[derive(Debug, Default)]
pub(crate) struct Streams {
    outgoing: BTreeMap<OperationId, Outgoing>,
    incoming: BTreeMap<OperationId, Incoming>,
    pieces: BTreeMap<OperationId, Piece>,
    pieces_made: u64,
    operations: Vec<PieceOperation>,
    ended: Vec<Ended>,
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
    /// Pieces that a device is reading.
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
    /// Pieces that a device is writing.
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
    offset: u64,
    /// Given back when a device has taken the bytes.
    _permit: Option<OwnedSemaphorePermit>,
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

    /// Expects pieces for a device; gives what their reader needs.
    pub(crate) fn begin_in(&mut self, stream: OperationId, place: Place, source: StreamSource) -> Way {
        let permits = Arc::new(Semaphore::new(PIECES_MAX));
        let incoming = Incoming {
            place,
            source,
            permits: Arc::clone(&permits),
            writing: 0,
            span: Span::ZERO,
            error: None,
            is_whole: false,
            is_broken: false,
        };
        self.incoming.insert(stream, incoming);
        Way::Device { stream, permits }
    }

    /// The way for another stream that brings a write's bytes once more from their beginning, if the first one broke.
    pub(crate) fn begin_again(&mut self, task: TaskId) -> Option<Way> {
        let (stream, incoming) = self.of_payload(task)?;
        if !incoming.is_broken {
            return None;
        }
        incoming.is_broken = false;
        Some(Way::Device { stream, permits: Arc::clone(&incoming.permits) })
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
        let Place { region, device, lane } = outgoing.place;
        while outgoing.sender.is_some() && outgoing.held < PIECES_MAX && outgoing.asked < region.range.end {
            let end = region.range.end.min(outgoing.asked + PIECE_BYTES);
            let part = Region { range: ByteRange::new(outgoing.asked, end), ..region };
            self.pieces_made += 1;
            let id = OperationId(FIRST_PIECE + self.pieces_made);
            self.pieces.insert(id, Piece { stream, offset: outgoing.asked, _permit: None });
            let kind = OperationKind::Download { region: part };
            self.operations.push((Operation { id, device, slot: lane, kind }, None));
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
        let Place { region, device, lane } = incoming.place;
        let start = region.range.start + offset;
        let part = Region { range: ByteRange::new(start, start + bytes.len() as u64), ..region };
        self.pieces_made += 1;
        let id = OperationId(FIRST_PIECE + self.pieces_made);
        self.pieces.insert(id, Piece { stream, offset, _permit: Some(permit) });
        let kind = OperationKind::Upload { region: part };
        self.operations.push((Operation { id, device, slot: lane, kind }, Some(bytes)));
        incoming.writing += 1;
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
        }
        self.end_in(stream);
    }

    /// A device has moved a piece; `bytes` are those of one that was read.
    pub(crate) fn moved(&mut self, done: OperationDone, bytes: Option<Bytes>) {
        let Some(Piece { stream, offset, .. }) = self.pieces.remove(&done.operation) else { return };
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
mod tests {
    use isochrone_model::{AgentId, BufferId, BufferKey, Version};

    use super::*;

    const OUT: OperationId = OperationId(7);
    const IN: OperationId = OperationId(8);
    const FROM_AGENT: StreamSource = StreamSource::Agent { from: AgentId(3) };
    const OF_WRITE: StreamSource = StreamSource::Payload { task: TaskId(9) };

    fn place(size_bytes: u64) -> Place {
        let buffer = BufferKey { session: SessionId(1), buffer: BufferId(2) };
        let region =
            Region { buffer, range: ByteRange::from_offset(100, size_bytes).unwrap(), version: Version(4) };
        Place { region, device: DeviceIndex(1), lane: SlotIndex(2) }
    }

    fn done(operation: OperationId) -> OperationDone {
        OperationDone { operation, outcome: Ok(Span(10)) }
    }

    fn failed(operation: OperationId) -> OperationDone {
        let error = OperationError::Failed { call: "read".to_owned(), reason: "broken".to_owned() };
        OperationDone { operation, outcome: Err(error) }
    }

    fn range(operation: &PieceOperation) -> ByteRange {
        match &operation.0.kind {
            OperationKind::Download { region } | OperationKind::Upload { region } => region.range,
            other => panic!("{other:?} is no piece"),
        }
    }

    /// The device reads a piece.
    fn read(streams: &mut Streams, operation: &PieceOperation) {
        let bytes = Bytes::from(vec![7; range(operation).len() as usize]);
        streams.moved(done(operation.0.id), Some(bytes));
    }

    /// How many bytes a task has been given, and whether that was all.
    fn given(pieces: &mut mpsc::UnboundedReceiver<Next>) -> (u64, bool) {
        let (mut bytes, mut is_end) = (0, false);
        while let Ok(next) = pieces.try_recv() {
            match next {
                Next::Piece(piece) => bytes += piece.len() as u64,
                Next::End => is_end = true,
            }
        }
        (bytes, is_end)
    }

    #[test]
    fn pieces_are_sent_while_later_ones_are_not_even_read_and_few_are_held() {
        let count = 3 * PIECES_MAX as u64;
        for size_bytes in [PIECE_BYTES - 1, PIECE_BYTES, PIECE_BYTES + 1, count * PIECE_BYTES + 5] {
            let mut streams = Streams::default();
            let (sender, mut pieces) = mpsc::unbounded_channel();
            streams.begin_out(OUT, place(size_bytes), sender);
            let (mut asked, mut sent, mut is_end) = (100, 0, false);
            let mut first_sent_at = None;
            while !is_end {
                let operations = streams.take_operations();
                assert!(operations.len() <= PIECES_MAX, "what is on the host is bounded");
                assert!(!operations.is_empty(), "something is under way until the end");
                for operation in &operations {
                    assert!(is_piece(operation.0.id) && operation.1.is_none());
                    assert_eq!(range(operation).start, asked, "pieces follow each other");
                    asked = range(operation).end;
                }
                for operation in &operations {
                    read(&mut streams, operation);
                }
                let (bytes, ended) = given(&mut pieces);
                assert!(bytes <= PIECES_MAX as u64 * PIECE_BYTES);
                first_sent_at.get_or_insert(asked);
                assert!(streams.take_operations().is_empty(), "nothing is read before something is sent");
                for _ in &operations {
                    streams.sent(OUT);
                }
                (sent, is_end) = (sent + bytes, ended);
            }
            assert_eq!((sent, asked), (size_bytes, 100 + size_bytes));
            let is_large = size_bytes > PIECES_MAX as u64 * PIECE_BYTES;
            assert_eq!(first_sent_at < Some(asked), is_large, "the first goes before the last is read");
            assert!(streams.take_ended().is_empty(), "the receiver has the last word");
            streams.sending_ended(OUT, Ok(()));
            let ended = streams.take_ended();
            let pieces = size_bytes.div_ceil(PIECE_BYTES);
            assert_eq!(ended[0].done, OperationDone { operation: OUT, outcome: Ok(Span(10 * pieces)) });
            assert!(streams.is_empty() && streams.pieces.is_empty());
        }
    }

    #[test]
    fn pieces_that_a_device_reads_out_of_order_are_sent_in_order() {
        let mut streams = Streams::default();
        let (sender, mut pieces) = mpsc::unbounded_channel();
        streams.begin_out(OUT, place(3 * PIECE_BYTES), sender);
        let operations = streams.take_operations();
        read(&mut streams, &operations[2]);
        read(&mut streams, &operations[1]);
        assert_eq!(given(&mut pieces), (0, false));
        read(&mut streams, &operations[0]);
        assert_eq!(given(&mut pieces), (3 * PIECE_BYTES, true));
    }

    #[test]
    fn a_device_that_fails_in_the_middle_breaks_the_stream_off() {
        let mut streams = Streams::default();
        let (sender, mut pieces) = mpsc::unbounded_channel();
        streams.begin_out(OUT, place(20 * PIECE_BYTES), sender);
        let operations = streams.take_operations();
        read(&mut streams, &operations[0]);
        streams.moved(failed(operations[1].0.id), None);
        assert_eq!(given(&mut pieces), (PIECE_BYTES, false), "no end");
        assert!(pieces.is_closed(), "the sending task is told");
        streams.sending_ended(OUT, Err("cut".to_owned()));
        assert!(streams.take_ended().is_empty(), "the device still reads");
        for operation in &operations[2..] {
            read(&mut streams, operation);
        }
        assert_eq!(streams.take_ended()[0].done, OperationDone { operation: OUT, ..failed(OUT) });
        assert!(streams.is_empty() && streams.take_operations().is_empty());
    }

    #[test]
    fn a_receiver_that_goes_ends_the_stream_once_the_device_is_at_rest() {
        let mut streams = Streams::default();
        let (sender, pieces) = mpsc::unbounded_channel();
        streams.begin_out(OUT, place(20 * PIECE_BYTES), sender);
        let operations = streams.take_operations();
        drop(pieces);
        streams.sending_ended(OUT, Err("the peer is gone".to_owned()));
        streams.sent(OUT);
        assert!(streams.take_operations().is_empty(), "nothing more is read");
        for operation in &operations {
            read(&mut streams, operation);
        }
        let ended = streams.take_ended();
        assert_eq!(
            ended[0].done.outcome,
            Err(OperationError::Lost { reason: "the peer is gone".to_owned() })
        );
    }

    /// Hands over a piece as a reading task does; `None` when it is to stop or to wait.
    fn hand_over(streams: &mut Streams, way: &Way, offset: u64, size_bytes: u64) -> Option<()> {
        let Way::Device { stream, permits } = way else { panic!("not for a device") };
        let permit = Arc::clone(permits).try_acquire_owned().ok()?;
        streams.came(*stream, offset, Bytes::from(vec![1; size_bytes as usize]), permit);
        Some(())
    }

    #[test]
    fn pieces_go_to_the_device_as_they_come_and_no_more_than_a_few_wait() {
        let mut streams = Streams::default();
        let total = 2 * PIECES_MAX as u64;
        let way = streams.begin_in(IN, place(total * PIECE_BYTES), FROM_AGENT);
        let mut offset = 0;
        while hand_over(&mut streams, &way, offset, PIECE_BYTES).is_some() {
            offset += PIECE_BYTES;
        }
        assert_eq!(offset, PIECES_MAX as u64 * PIECE_BYTES, "then the reader waits");
        let operations = streams.take_operations();
        assert_eq!(range(&operations[0]), ByteRange::new(100, 100 + PIECE_BYTES));
        streams.moved(done(operations[0].0.id), None);
        assert!(hand_over(&mut streams, &way, offset, PIECE_BYTES).is_some(), "one has room");
        let mut open = operations;
        open.remove(0);
        open.extend(streams.take_operations());
        streams.is_whole(IN);
        for operation in open {
            assert!(streams.take_ended().is_empty(), "all of it is to be on the device");
            streams.moved(done(operation.0.id), None);
        }
        let ended = streams.take_ended();
        assert!(ended[0].done.outcome.is_ok());
        assert_eq!(ended[0].source, Some((place(total * PIECE_BYTES).region, FROM_AGENT)));
        assert!(streams.is_empty());
    }

    #[test]
    fn a_replica_that_breaks_is_lost_and_a_write_may_come_once_more() {
        let mut streams = Streams::default();
        let way = streams.begin_in(IN, place(4 * PIECE_BYTES), FROM_AGENT);
        hand_over(&mut streams, &way, 0, PIECE_BYTES).unwrap();
        assert!(streams.broke(IN, "cut".to_owned()).is_some());
        assert!(streams.take_ended().is_empty(), "the device still writes");
        let operation = streams.take_operations().remove(0);
        streams.moved(done(operation.0.id), None);
        let lost = Err(OperationError::Lost { reason: "cut".to_owned() });
        assert_eq!(streams.take_ended()[0].done.outcome, lost);
        assert!(hand_over(&mut streams, &way, 0, 1).is_none(), "its reader is to stop");

        let way = streams.begin_in(IN, place(2 * PIECE_BYTES), OF_WRITE);
        hand_over(&mut streams, &way, 0, PIECE_BYTES).unwrap();
        assert!(streams.begin_again(TaskId(9)).is_none(), "it comes already");
        streams.broke(IN, "cut".to_owned());
        assert!(streams.take_ended().is_empty() && streams.has_payload(TaskId(9)));
        let again = streams.begin_again(TaskId(9)).unwrap();
        for offset in [0, PIECE_BYTES] {
            hand_over(&mut streams, &again, offset, PIECE_BYTES).unwrap();
        }
        streams.is_whole(IN);
        for operation in streams.take_operations() {
            streams.moved(done(operation.0.id), None);
        }
        assert!(streams.take_ended()[0].done.outcome.is_ok());

        streams.begin_in(IN, place(2 * PIECE_BYTES), OF_WRITE);
        streams.broke(IN, "cut".to_owned());
        streams.lost(TaskId(9), "cut".to_owned());
        assert_eq!(streams.take_ended()[0].done.outcome, lost);
    }

    #[test]
    fn a_device_that_fails_and_a_session_that_ends_stop_what_comes() {
        let mut streams = Streams::default();
        let way = streams.begin_in(IN, place(4 * PIECE_BYTES), FROM_AGENT);
        hand_over(&mut streams, &way, 0, PIECE_BYTES).unwrap();
        let operation = streams.take_operations().remove(0);
        streams.moved(failed(operation.0.id), None);
        assert_eq!(streams.take_ended()[0].done.outcome, failed(IN).outcome);
        assert!(hand_over(&mut streams, &way, PIECE_BYTES, 1).is_none());

        let way = streams.begin_in(IN, place(4 * PIECE_BYTES), OF_WRITE);
        streams.dismiss(SessionId(2));
        assert!(streams.take_ended().is_empty());
        streams.dismiss(SessionId(1));
        assert!(streams.take_ended()[0].done.outcome.is_err());
        assert!(hand_over(&mut streams, &way, 0, 1).is_none());
        assert!(streams.is_empty());
    }
}
