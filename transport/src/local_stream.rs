//! The two ends of a bulk stream within this machine.
//!
//! A stream is a socket: pieces, each a head (`u32`, little endian) and what it says, and a head of zero at the end.
//! A head below `IN_SLOT` is a length, and that many bytes follow. `IN_SLOT` and a length: that many bytes lie in the
//! next slot of the sender's ring. `RING`: the ring comes with this head, once. For each slot that the receiver has
//! read it sends a byte back, and the sender uses the slot again.
//!
//! A ring is memory that the sender writes and the receiver reads. It is small, so that it stays in the processor's
//! caches and costs no fresh page however long a stream is, and it is used for one stream after the other, always to
//! the same peer: what a peer can see in it was sent to that peer. Must never hold what a stream carries.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::{Buf, BufMut, Bytes};
use tokio::io::{AsyncReadExt, AsyncWriteExt, Interest};
use tokio::net::UnixStream;

use crate::shared_memory::{ReadMemory, WrittenMemory, receive_with};

const LENGTH_BYTES: usize = 4;

/// A head with this bit says that bytes lie in a slot.
const IN_SLOT: u32 = 1 << 31;
/// The head with which the ring comes.
const RING: u32 = u32::MAX;

/// What a slot holds at most: long enough that waking the other side costs little beside the copy.
const SLOT_BYTES: usize = 512 << 10;
/// Enough that neither side waits for the other while it copies.
const SLOTS: usize = 8;
const RING_BYTES: usize = SLOT_BYTES * SLOTS;

/// Shorter pieces go through the socket itself: it copies twice, and needs no word back.
const SHARED_BYTES_MIN: usize = 128 << 10;

/// Rings kept for later streams to a peer.
const RINGS_KEPT_MAX: usize = 4;

/// Most bytes that one piece of a receiver holds.
const PIECE_BYTES_MAX: usize = 256 << 10;

/// A peer's rings that no stream uses. Clones are the same.
#[derive(Clone, Default)]
pub(crate) struct Rings(Arc<Mutex<Vec<WrittenMemory>>>);

impl Rings {
    fn take(&self) -> io::Result<WrittenMemory> {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner).pop();
        match kept {
            Some(memory) => Ok(memory),
            None => WrittenMemory::create(RING_BYTES),
        }
    }

    fn give_back(&self, memory: WrittenMemory) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() < RINGS_KEPT_MAX {
            kept.push(memory);
        }
    }
}

/// The sending end of a stream. Dropped before the end, it breaks the stream off.
pub(crate) struct LocalSender {
    socket: UnixStream,
    rings: Rings,
    sharing: Sharing,
}

/// What a sender has of a ring.
enum Sharing {
    /// None yet.
    Untried,
    /// There is none to be had.
    Impossible,
    Ring(SentRing),
}

struct SentRing {
    memory: WrittenMemory,
    next_slot: usize,
    free_slots: usize,
}

impl LocalSender {
    /// A stream on a socket whose first words have been said.
    pub(crate) fn new(socket: UnixStream, rings: Rings) -> Self {
        Self { socket, rings, sharing: Sharing::Untried }
    }

    /// Sends the next bytes. If this is cancelled, the stream can only be broken off.
    pub(crate) async fn send(&mut self, mut contents: Bytes) -> io::Result<()> {
        while !contents.is_empty() {
            if contents.len() >= SHARED_BYTES_MIN && self.has_ring().await? {
                let part = contents.split_to(contents.len().min(SLOT_BYTES));
                self.send_in_slot(&part).await?;
                continue;
            }
            let piece = contents.split_to(contents.len().min(SLOT_BYTES));
            let head = word(piece.len());
            let mut both = Buf::chain(&head[..], piece);
            self.socket.write_all_buf(&mut both).await?;
        }
        Ok(())
    }

    /// Whether there is a ring; sends one at first.
    async fn has_ring(&mut self) -> io::Result<bool> {
        match self.sharing {
            Sharing::Ring(_) => return Ok(true),
            Sharing::Impossible => return Ok(false),
            Sharing::Untried => {}
        }
        let memory = match self.rings.take() {
            Ok(memory) => memory,
            Err(error) => {
                tracing::debug!(%error, "no memory to share; bytes go through the socket");
                self.sharing = Sharing::Impossible;
                return Ok(false);
            }
        };
        let head = RING.to_le_bytes();
        let socket = &self.socket;
        let sent = socket.async_io(Interest::WRITABLE, || memory.send_with(socket, &head)).await?;
        self.sharing = Sharing::Ring(SentRing { memory, next_slot: 0, free_slots: SLOTS });
        self.socket.write_all(head.get(sent..).unwrap_or_default()).await?;
        Ok(true)
    }

    async fn send_in_slot(&mut self, part: &[u8]) -> io::Result<()> {
        let Sharing::Ring(ring) = &mut self.sharing else { return Err(io::ErrorKind::InvalidInput.into()) };
        while ring.free_slots == 0 {
            ring.wait_for_slots(&mut self.socket).await?;
        }
        ring.memory.write(ring.next_slot * SLOT_BYTES, part);
        ring.next_slot = (ring.next_slot + 1) % SLOTS;
        ring.free_slots -= 1;
        let mut head = word(part.len());
        head[LENGTH_BYTES - 1] |= (IN_SLOT >> 24) as u8;
        self.socket.write_all(&head).await
    }

    /// Says that nothing more comes. The ring is kept for later once the receiver has read all of it.
    pub(crate) async fn finish(mut self) -> io::Result<()> {
        self.socket.write_all(&0_u32.to_le_bytes()).await?;
        self.socket.shutdown().await?;
        let Self { mut socket, rings, sharing } = self;
        if let Sharing::Ring(mut ring) = sharing {
            tokio::spawn(async move {
                while ring.free_slots < SLOTS {
                    // A receiver that has gone may still have the ring mapped, and reads no more of it.
                    if ring.wait_for_slots(&mut socket).await.is_err() {
                        return;
                    }
                }
                rings.give_back(ring.memory);
            });
        }
        Ok(())
    }
}

impl SentRing {
    async fn wait_for_slots(&mut self, socket: &mut UnixStream) -> io::Result<()> {
        let mut freed = [0; SLOTS];
        let count = socket.read(&mut freed).await?;
        if count == 0 {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        self.free_slots += count;
        if self.free_slots > SLOTS { Err(io::ErrorKind::InvalidData.into()) } else { Ok(()) }
    }
}

/// The head of a piece, of at most `SLOT_BYTES`.
fn word(length: usize) -> [u8; LENGTH_BYTES] {
    (length as u32).to_le_bytes()
}

/// The receiving end of a stream.
pub(crate) struct LocalReceiver {
    socket: UnixStream,
    head: [u8; LENGTH_BYTES],
    head_bytes: usize,
    file: Option<std::os::fd::OwnedFd>,
    ring: Option<ReadMemory>,
    next_slot: usize,
    piece: Piece,
}

/// What is to come of the present piece.
enum Piece {
    /// Nothing: a head comes next.
    None,
    /// So many bytes, through the socket.
    Plain(usize),
    /// So many bytes, from here in the ring.
    InSlot { at: usize, bytes: usize },
    /// There are no more pieces.
    End,
}

impl LocalReceiver {
    pub(crate) fn new(socket: UnixStream) -> Self {
        Self {
            socket,
            head: [0; LENGTH_BYTES],
            head_bytes: 0,
            file: None,
            ring: None,
            next_slot: 0,
            piece: Piece::None,
        }
    }

    /// Appends what is there, `room` bytes at most, and waits for something; gives how much that was, and `None` after
    /// the last. An end that was not announced is an error. Cancel safe.
    pub(crate) async fn read<B: BufMut + ?Sized>(
        &mut self,
        into: &mut B,
        room: usize,
    ) -> io::Result<Option<usize>> {
        loop {
            match self.piece {
                Piece::None => self.read_head().await?,
                Piece::End => return Ok(None),
                Piece::Plain(_) | Piece::InSlot { .. } if room == 0 => return Ok(Some(0)),
                Piece::Plain(bytes) => {
                    let read = self.socket.read_buf(&mut into.limit(bytes.min(room))).await?;
                    if read == 0 {
                        return Err(io::ErrorKind::UnexpectedEof.into());
                    }
                    self.piece = if read == bytes { Piece::None } else { Piece::Plain(bytes - read) };
                    return Ok(Some(read));
                }
                Piece::InSlot { at, bytes } => {
                    let copied = bytes.min(room);
                    self.ring.as_ref().ok_or(io::ErrorKind::InvalidData)?.append_to(into, at, copied)?;
                    if copied == bytes {
                        self.piece = Piece::None;
                        self.free_slot()?;
                    } else {
                        self.piece = Piece::InSlot { at: at + copied, bytes: bytes - copied };
                    }
                    return Ok(Some(copied));
                }
            }
        }
    }

    /// The next piece, or `None` after the last. Cancel safe.
    pub(crate) async fn receive(&mut self) -> io::Result<Option<Bytes>> {
        let known = match self.piece {
            Piece::Plain(bytes) | Piece::InSlot { bytes, .. } => bytes,
            Piece::None | Piece::End => 0,
        };
        let room = if known == 0 { PIECE_BYTES_MAX } else { known.min(PIECE_BYTES_MAX) };
        let mut piece = Vec::with_capacity(room);
        Ok(self.read(&mut piece, room).await?.map(|_| Bytes::from(piece)))
    }

    async fn read_head(&mut self) -> io::Result<()> {
        let Self { socket, head, head_bytes, file, .. } = self;
        let missing = &mut head[*head_bytes..];
        let (read, came) = socket.async_io(Interest::READABLE, || receive_with(&*socket, missing)).await?;
        *file = came.or(file.take());
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        *head_bytes += read;
        if *head_bytes < LENGTH_BYTES {
            return Ok(());
        }
        *head_bytes = 0;
        match u32::from_le_bytes(*head) {
            0 => self.piece = Piece::End,
            RING => {
                let file =
                    self.file.take().filter(|_| self.ring.is_none()).ok_or(io::ErrorKind::InvalidData)?;
                self.ring = Some(ReadMemory::open(&file, RING_BYTES)?);
            }
            slot if slot & IN_SLOT != 0 => {
                let bytes = (slot & !IN_SLOT) as usize;
                if bytes == 0 || bytes > SLOT_BYTES || self.ring.is_none() {
                    return Err(io::ErrorKind::InvalidData.into());
                }
                self.piece = Piece::InSlot { at: self.next_slot * SLOT_BYTES, bytes };
                self.next_slot = (self.next_slot + 1) % SLOTS;
            }
            length => self.piece = Piece::Plain(length as usize),
        }
        Ok(())
    }

    /// Tells the sender that it may use the oldest slot again.
    fn free_slot(&self) -> io::Result<()> {
        match self.socket.try_write(&[0]) {
            // A sender that takes no words back lets them pile up.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Err(error),
            // One that has gone needs none: what it sent is there.
            Ok(_) | Err(_) => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn contents(bytes: usize) -> Bytes {
        (0..bytes).map(|place| (place * 31 % 251) as u8).collect()
    }

    fn pair(rings: &Rings) -> (LocalSender, LocalReceiver) {
        let (near, far) = UnixStream::pair().unwrap();
        (LocalSender::new(near, rings.clone()), LocalReceiver::new(far))
    }

    async fn receive_all(mut receiver: LocalReceiver, room: usize) -> Vec<u8> {
        let mut received = Vec::new();
        while receiver.read(&mut received, room).await.unwrap().is_some() {}
        received
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn bytes_of_all_sizes_come_whole_and_the_ring_is_used_again() {
        let rings = Rings::default();
        for size in [
            SHARED_BYTES_MIN - 1,
            SHARED_BYTES_MIN,
            SLOT_BYTES - 1,
            SLOT_BYTES,
            SLOT_BYTES + 1,
            SLOT_BYTES + SHARED_BYTES_MIN,
            3 * RING_BYTES + 12_345,
        ] {
            for room in [1 << 30, 100_003] {
                let (mut sender, receiver) = pair(&rings);
                let sent = contents(size);
                let receiving = tokio::spawn(receive_all(receiver, room));
                sender.send(sent.clone()).await.unwrap();
                sender.finish().await.unwrap();
                assert!(receiving.await.unwrap() == sent, "{size} bytes, {room} at a time");
            }
        }
        // Streams one after the other need one ring, or two when one is not back in time.
        let mut kept = 0;
        for _ in 0..1_000 {
            kept = rings.0.lock().unwrap().len();
            if kept > 0 {
                break;
            }
            tokio::task::yield_now().await;
        }
        assert!((1..=2).contains(&kept), "{kept} rings");
    }

    #[tokio::test]
    async fn a_sender_waits_for_slots_and_not_for_ever() {
        let rings = Rings::default();
        let (mut sender, mut receiver) = pair(&rings);
        sender.send(contents(RING_BYTES)).await.unwrap();
        let more = sender.send(contents(SLOT_BYTES));
        let waited = tokio::time::timeout(std::time::Duration::from_millis(20), more).await;
        assert!(waited.is_err(), "no slot is free");
        let mut received = Vec::new();
        assert_eq!(receiver.read(&mut received, SLOT_BYTES).await.unwrap(), Some(SLOT_BYTES));
        assert!(received == contents(RING_BYTES)[..SLOT_BYTES]);
        sender.send(contents(SLOT_BYTES)).await.unwrap();
        drop(receiver);
        assert!(sender.send(contents(SLOT_BYTES)).await.is_err(), "nobody reads");
        assert!(rings.0.lock().unwrap().is_empty(), "a stream in mid-air keeps its ring");
    }

    /// What a receiver makes of these bytes.
    async fn heard(bytes: &[u8]) -> io::Result<Option<usize>> {
        let (mut near, far) = UnixStream::pair().unwrap();
        near.write_all(bytes).await.unwrap();
        drop(near);
        LocalReceiver::new(far).read(&mut Vec::new(), 1 << 30).await
    }

    #[tokio::test]
    async fn a_peer_that_says_what_cannot_be_gets_an_error() {
        for head in [RING, IN_SLOT, IN_SLOT | 5, IN_SLOT | SLOT_BYTES as u32] {
            let error = heard(&head.to_le_bytes()).await.unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidData, "{head:#x} without a ring");
        }
        assert_eq!(heard(&[9, 0]).await.unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
        assert_eq!(heard(&[9, 0, 0, 0]).await.unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
        assert_eq!(heard(&[0; 4]).await.unwrap(), None, "an end");

        for head in [IN_SLOT, IN_SLOT | (SLOT_BYTES as u32 + 1), RING] {
            let (mut sender, mut receiver) = pair(&Rings::default());
            assert!(sender.has_ring().await.unwrap());
            sender.socket.write_all(&head.to_le_bytes()).await.unwrap();
            let error = receiver.read(&mut Vec::new(), 1 << 30).await.unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidData, "{head:#x} with a ring");
        }
    }
}
