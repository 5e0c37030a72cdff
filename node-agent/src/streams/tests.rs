//! Streams without devices or connections.

use bytes::BufMut;
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
    Place { region, device: DeviceIndex(1), lane: SlotIndex(2), is_shared: false }
}

fn done(operation: OperationId) -> OperationDone {
    OperationDone { operation, outcome: Ok(Span(10)) }
}

fn failed(operation: OperationId) -> OperationDone {
    let error = OperationError::Failed { call: "read".to_owned(), reason: "broken".to_owned() };
    OperationDone { operation, outcome: Err(error) }
}

fn moving(operation: &PieceOperation) -> &Operation {
    match operation {
        PieceOperation::Move(operation, _) => operation,
        PieceOperation::Open(opening) => panic!("{opening:?} is no piece"),
    }
}

fn range(operation: &PieceOperation) -> ByteRange {
    match &moving(operation).kind {
        OperationKind::Download { region } | OperationKind::Upload { region } => region.range,
        other => panic!("{other:?} is no piece"),
    }
}

/// The device reads a piece.
fn read(streams: &mut Streams, operation: &PieceOperation) {
    let bytes = Bytes::from(vec![7; range(operation).len() as usize]);
    streams.moved(done(moving(operation).id), Some(bytes));
}

/// How many bytes a task has been given, and whether that was all.
fn given(pieces: &mut mpsc::UnboundedReceiver<Next>) -> (u64, bool) {
    let (mut bytes, mut is_end) = (0, false);
    while let Ok(next) = pieces.try_recv() {
        match next {
            Next::Piece(piece) => bytes += piece.len() as u64,
            Next::End => is_end = true,
            Next::Whole(whole) => panic!("{} bytes at once", whole.len()),
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
                assert!(is_piece(moving(operation).id) && matches!(operation, PieceOperation::Move(_, None)));
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
    streams.moved(failed(moving(&operations[1]).id), None);
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
    assert_eq!(ended[0].done.outcome, Err(OperationError::Lost { reason: "the peer is gone".to_owned() }));
}

/// Begins a stream to a device without shared memory; gives what its reader is told.
fn begin_in(streams: &mut Streams, place: Place, source: StreamSource) -> Way {
    let (reader, mut told) = oneshot::channel();
    streams.begin_in(IN, place, source, Some(reader));
    told.try_recv().expect("at once")
}

/// Begins once more; gives what the reader is told.
fn begin_again(streams: &mut Streams) -> Option<Way> {
    let (reader, mut told) = oneshot::channel();
    streams.begin_again(TaskId(9), reader).ok()?;
    Some(told.try_recv().expect("at once"))
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
    let way = begin_in(&mut streams, place(total * PIECE_BYTES), FROM_AGENT);
    let mut offset = 0;
    while hand_over(&mut streams, &way, offset, PIECE_BYTES).is_some() {
        offset += PIECE_BYTES;
    }
    assert_eq!(offset, PIECES_MAX as u64 * PIECE_BYTES, "then the reader waits");
    let operations = streams.take_operations();
    assert_eq!(range(&operations[0]), ByteRange::new(100, 100 + PIECE_BYTES));
    streams.moved(done(moving(&operations[0]).id), None);
    assert!(hand_over(&mut streams, &way, offset, PIECE_BYTES).is_some(), "one has room");
    let mut open = operations;
    open.remove(0);
    open.extend(streams.take_operations());
    streams.is_whole(IN);
    for operation in open {
        assert!(streams.take_ended().is_empty(), "all of it is to be on the device");
        streams.moved(done(moving(&operation).id), None);
    }
    let ended = streams.take_ended();
    assert!(ended[0].done.outcome.is_ok());
    assert_eq!(ended[0].source, Some((place(total * PIECE_BYTES).region, FROM_AGENT)));
    assert!(streams.is_empty());
}

#[test]
fn a_replica_that_breaks_is_lost_and_a_write_may_come_once_more() {
    let mut streams = Streams::default();
    let way = begin_in(&mut streams, place(4 * PIECE_BYTES), FROM_AGENT);
    hand_over(&mut streams, &way, 0, PIECE_BYTES).unwrap();
    assert!(streams.broke(IN, "cut".to_owned()).is_some());
    assert!(streams.take_ended().is_empty(), "the device still writes");
    let operation = streams.take_operations().remove(0);
    streams.moved(done(moving(&operation).id), None);
    let lost = Err(OperationError::Lost { reason: "cut".to_owned() });
    assert_eq!(streams.take_ended()[0].done.outcome, lost);
    assert!(hand_over(&mut streams, &way, 0, 1).is_none(), "its reader is to stop");

    let way = begin_in(&mut streams, place(2 * PIECE_BYTES), OF_WRITE);
    hand_over(&mut streams, &way, 0, PIECE_BYTES).unwrap();
    assert!(begin_again(&mut streams).is_none(), "it comes already");
    streams.broke(IN, "cut".to_owned());
    assert!(streams.take_ended().is_empty() && streams.has_payload(TaskId(9)));
    let again = begin_again(&mut streams).unwrap();
    for offset in [0, PIECE_BYTES] {
        hand_over(&mut streams, &again, offset, PIECE_BYTES).unwrap();
    }
    streams.is_whole(IN);
    for operation in streams.take_operations() {
        streams.moved(done(moving(&operation).id), None);
    }
    assert!(streams.take_ended()[0].done.outcome.is_ok());

    begin_in(&mut streams, place(2 * PIECE_BYTES), OF_WRITE);
    streams.broke(IN, "cut".to_owned());
    streams.lost(TaskId(9), "cut".to_owned());
    assert_eq!(streams.take_ended()[0].done.outcome, lost);
}

#[test]
fn a_device_that_fails_and_a_session_that_ends_stop_what_comes() {
    let mut streams = Streams::default();
    let way = begin_in(&mut streams, place(4 * PIECE_BYTES), FROM_AGENT);
    hand_over(&mut streams, &way, 0, PIECE_BYTES).unwrap();
    let operation = streams.take_operations().remove(0);
    streams.moved(failed(moving(&operation).id), None);
    assert_eq!(streams.take_ended()[0].done.outcome, failed(IN).outcome);
    assert!(hand_over(&mut streams, &way, PIECE_BYTES, 1).is_none());

    let way = begin_in(&mut streams, place(4 * PIECE_BYTES), OF_WRITE);
    streams.dismiss(SessionId(2));
    assert!(streams.take_ended().is_empty());
    streams.dismiss(SessionId(1));
    assert!(streams.take_ended()[0].done.outcome.is_err());
    assert!(hand_over(&mut streams, &way, 0, 1).is_none());
    assert!(streams.is_empty());
}

/// On a device whose memory is the host's.
fn shared(size_bytes: u64) -> Place {
    Place { is_shared: true, ..place(size_bytes) }
}

/// The one opening that is asked for.
fn opening(streams: &mut Streams) -> Opening {
    let operations = streams.take_operations();
    let [PieceOperation::Open(opening)] = operations[..] else { panic!("{operations:?} is not one opening") };
    assert!(is_piece(opening.id));
    opening
}

/// Memory that tells when the host has given it back.
#[derive(Clone, Default)]
struct Lent(Arc<std::sync::Mutex<Vec<u8>>>);

impl Lent {
    fn is_given_back(&self) -> bool {
        Arc::strong_count(&self.0) == 1
    }

    fn contents(&self) -> Opened {
        struct Owner(Vec<u8>, #[expect(dead_code, reason = "kept for as long as the bytes are")] Lent);
        impl AsRef<[u8]> for Owner {
            fn as_ref(&self) -> &[u8] {
                &self.0
            }
        }
        Opened::Contents(Bytes::from_owner(Owner(vec![7; 3 << 20], self.clone())))
    }

    fn room(&self, bytes: usize) -> Opened {
        struct Written(Vec<u8>, usize, Lent);
        // SAFETY: all is that of the vector, whose room is never beyond its capacity.
        unsafe impl BufMut for Written {
            fn remaining_mut(&self) -> usize {
                self.1 - self.0.len()
            }
            unsafe fn advance_mut(&mut self, count: usize) {
                // SAFETY: as the caller says.
                unsafe { self.0.advance_mut(count) }
            }
            fn chunk_mut(&mut self) -> &mut bytes::buf::UninitSlice {
                self.0.chunk_mut()
            }
        }
        impl Drop for Written {
            fn drop(&mut self) {
                self.2.0.lock().unwrap().extend_from_slice(&self.0);
            }
        }
        Opened::Room(Room::new(Written(Vec::with_capacity(bytes), bytes, self.clone())))
    }
}

#[test]
fn shared_memory_is_sent_where_it_lies_and_closed_before_the_stream_ends() {
    let mut streams = Streams::default();
    let (sender, mut pieces) = mpsc::unbounded_channel();
    streams.begin_out(OUT, shared(3 << 20), sender);
    let opening = opening(&mut streams);
    assert_eq!((opening.region, opening.access), (shared(3 << 20).region, Access::Read));
    let lent = Lent::default();
    streams.opened(opening.id, lent.contents());
    let Ok(Next::Whole(bytes)) = pieces.try_recv() else { panic!("not all at once") };
    assert_eq!(bytes.len(), 3 << 20);
    streams.sending_ended(OUT, Ok(()));
    assert!(streams.take_ended().is_empty() && !lent.is_given_back(), "the region is open still");
    drop(bytes);
    assert!(lent.is_given_back());
    streams.moved(done(opening.id), None);
    assert_eq!(streams.take_ended()[0].done, OperationDone { operation: OUT, outcome: Ok(Span(10)) });
    assert!(streams.is_empty() && streams.pieces.is_empty());
}

#[test]
fn shared_memory_that_is_no_longer_wanted_is_given_back() {
    let mut streams = Streams::default();
    let (sender, pieces) = mpsc::unbounded_channel();
    streams.begin_out(OUT, shared(3 << 20), sender);
    let out = opening(&mut streams);
    drop(pieces);
    streams.sending_ended(OUT, Err("the peer is gone".to_owned()));
    assert!(streams.take_ended().is_empty(), "it is being opened");
    let lent = Lent::default();
    streams.opened(out.id, lent.contents());
    assert!(lent.is_given_back());
    streams.moved(done(out.id), None);
    assert!(streams.take_ended()[0].done.outcome.is_err());

    // One that comes, and whose session ends before the region is open.
    let (reader, mut told) = oneshot::channel();
    streams.begin_in(IN, shared(3 << 20), FROM_AGENT, Some(reader));
    let into = opening(&mut streams);
    streams.dismiss(SessionId(1));
    assert!(streams.take_ended().is_empty() && told.try_recv().is_err());
    let lent = Lent::default();
    streams.opened(into.id, lent.room(3 << 20));
    assert!(lent.is_given_back());
    streams.moved(done(into.id), None);
    assert!(streams.take_ended()[0].done.outcome.is_err());
    assert!(streams.is_empty() && streams.pieces.is_empty());
}

#[test]
fn shared_memory_that_does_not_open_is_moved_in_pieces() {
    let mut streams = Streams::default();
    let (sender, mut pieces) = mpsc::unbounded_channel();
    streams.begin_out(OUT, shared(PIECE_BYTES + 1), sender);
    let out = opening(&mut streams);
    streams.moved(failed(out.id), None);
    let operations = streams.take_operations();
    assert_eq!(operations.len(), 2);
    for operation in &operations {
        read(&mut streams, operation);
    }
    assert_eq!(given(&mut pieces), (PIECE_BYTES + 1, true));
    streams.sending_ended(OUT, Ok(()));
    assert_eq!(streams.take_ended()[0].done.outcome, Ok(Span(20)));

    let (reader, mut told) = oneshot::channel();
    streams.begin_in(IN, shared(PIECE_BYTES), FROM_AGENT, Some(reader));
    let into = opening(&mut streams);
    assert!(told.try_recv().is_err(), "not before it is open");
    streams.moved(failed(into.id), None);
    let way = told.try_recv().unwrap();
    hand_over(&mut streams, &way, 0, PIECE_BYTES).unwrap();
    streams.is_whole(IN);
    let operation = streams.take_operations().remove(0);
    streams.moved(done(moving(&operation).id), None);
    assert!(streams.take_ended()[0].done.outcome.is_ok());
    assert!(streams.is_empty() && streams.pieces.is_empty());
}

#[test]
fn what_comes_into_shared_memory_counts_once_all_is_there_and_the_region_is_closed() {
    let mut streams = Streams::default();
    let (reader, mut told) = oneshot::channel();
    streams.begin_in(IN, shared(5), OF_WRITE, Some(reader));
    let first = opening(&mut streams);
    assert_eq!((first.region, first.access), (shared(5).region, Access::Overwrite));
    let lent = Lent::default();
    streams.opened(first.id, lent.room(5));
    let Way::Room { stream, mut room, mut wanted } = told.try_recv().unwrap() else { panic!("no room") };
    assert_eq!(stream, IN);
    room.bytes_mut().put_slice(b"abc");
    // It breaks in the middle, and comes once more from the beginning.
    drop(room);
    streams.broke(IN, "cut".to_owned());
    assert!(streams.take_ended().is_empty() && lent.is_given_back());
    let (reader, mut told) = oneshot::channel();
    streams.begin_again(TaskId(9), reader).unwrap();
    let second = opening(&mut streams);
    streams.moved(done(first.id), None);
    streams.opened(second.id, lent.room(5));
    let Way::Room { mut room, wanted: mut wanted_again, .. } = told.try_recv().unwrap() else {
        panic!("no room")
    };
    assert_eq!(wanted.try_recv(), Err(oneshot::error::TryRecvError::Closed), "the first reader is to stop");
    assert_eq!(wanted_again.try_recv(), Err(oneshot::error::TryRecvError::Empty), "the second is not");
    room.bytes_mut().put_slice(b"abcde");
    drop(room);
    streams.is_whole(IN);
    assert!(streams.take_ended().is_empty(), "the device has it not back yet");
    streams.moved(done(second.id), None);
    assert!(streams.take_ended()[0].done.outcome.is_ok());
    assert_eq!(*lent.0.lock().unwrap(), b"abcabcde");
    assert!(streams.is_empty() && streams.pieces.is_empty());
}

#[test]
fn a_reader_of_shared_memory_is_stopped_when_its_session_ends_or_the_agent_does() {
    for is_dismissed in [true, false] {
        let mut streams = Streams::default();
        let (reader, mut told) = oneshot::channel();
        streams.begin_in(IN, shared(5), FROM_AGENT, Some(reader));
        let into = opening(&mut streams);
        let lent = Lent::default();
        streams.opened(into.id, lent.room(5));
        let Way::Room { room, mut wanted, .. } = told.try_recv().unwrap() else { panic!("no room") };
        if is_dismissed {
            streams.dismiss(SessionId(1));
            assert!(streams.take_ended().is_empty(), "the region is open still");
        } else {
            drop(std::mem::take(&mut streams));
        }
        assert_eq!(wanted.try_recv(), Err(oneshot::error::TryRecvError::Closed));
        drop(room);
        streams.moved(done(into.id), None);
        assert_eq!(streams.take_ended().len(), usize::from(is_dismissed));
    }
}

#[test]
fn a_stream_whose_reader_has_gone_is_told_of() {
    let mut streams = Streams::default();
    streams.begin_in(IN, place(5), FROM_AGENT, None);
    assert_eq!(streams.take_unread(), [IN]);
    let (reader, told) = oneshot::channel();
    streams.begin_in(IN, shared(5), FROM_AGENT, Some(reader));
    let into = opening(&mut streams);
    drop(told);
    let lent = Lent::default();
    streams.opened(into.id, lent.room(5));
    assert_eq!(streams.take_unread(), [IN]);
    assert!(lent.is_given_back());
}
