//! Memory that two processes of this machine share, and the handing over of it: the one place of this crate with
//! unsafe code.
//!
//! The memory is a file without a name, sealed before anyone else has it: it never shrinks, so that reading it
//! cannot fault, and whoever gets it can only read, so that its maker can rely on what it wrote. A reader takes its
//! bytes for what a stranger sent: it copies them out through pointers, and no reference to them exists, since their
//! maker may change them at any time. Must never hold what the bytes mean.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::ptr::NonNull;

use bytes::BufMut;
use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, fcntl_get_seals, fstat, ftruncate, memfd_create};
use rustix::mm::{Advice, MapFlags, ProtFlags, madvise, mmap, munmap};
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, recvmsg, sendmsg,
};

/// What makes a file safe to read from: its size stays.
const SIZE_STAYS: SealFlags = SealFlags::SHRINK.union(SealFlags::GROW);

/// A page that the processor maps at once, in bytes.
const HUGE_PAGE_BYTES: usize = 2 << 20;

/// Memory of a fixed size, mapped for as long as this lives.
struct Mapping {
    start: NonNull<u8>,
    bytes: usize,
}

// SAFETY: the mapping belongs to no thread; it is only ever accessed by copies through `start`, within `bytes`.
unsafe impl Send for Mapping {}
// SAFETY: as for `Send`; those who write take `&mut self`.
unsafe impl Sync for Mapping {}

impl Mapping {
    fn new(file: &OwnedFd, bytes: usize, protection: ProtFlags) -> io::Result<Self> {
        // Present at once: a fault for each page later costs more.
        let flags = MapFlags::SHARED | MapFlags::POPULATE;
        // SAFETY: a new mapping at an address that the system chooses touches no memory in use.
        let start = unsafe { mmap(std::ptr::null_mut(), bytes, protection, flags, file, 0) }?;
        let start = NonNull::new(start.cast()).ok_or(io::ErrorKind::OutOfMemory)?;
        Ok(Self { start, bytes })
    }

    fn holds(&self, at: usize, length: usize) -> bool {
        at.checked_add(length).is_some_and(|end| end <= self.bytes)
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: this is the whole of a mapping that `new` made, and nothing refers to it any more.
        if let Err(error) = unsafe { munmap(self.start.as_ptr().cast(), self.bytes) } {
            tracing::debug!(%error, "shared memory was not unmapped");
        }
    }
}

/// Memory that this process writes and another reads.
pub(crate) struct WrittenMemory {
    mapping: Mapping,
    file: OwnedFd,
}

impl WrittenMemory {
    pub(crate) fn create(bytes: usize) -> io::Result<Self> {
        let file = memfd_create("isochrone-bulk", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?;
        ftruncate(&file, bytes as u64)?;
        let mapping = Mapping::new(&file, bytes, ProtFlags::READ | ProtFlags::WRITE)?;
        fcntl_add_seals(&file, SIZE_STAYS | SealFlags::FUTURE_WRITE | SealFlags::SEAL)?;
        Ok(Self { mapping, file })
    }

    /// Puts bytes at a place.
    ///
    /// # Panics
    /// When they do not fit there: a bug of the caller.
    pub(crate) fn write(&mut self, at: usize, bytes: &[u8]) {
        assert!(self.mapping.holds(at, bytes.len()), "what is written lies within the memory");
        // SAFETY: the range was checked just now; no reference into the mapping exists, so that `bytes` is not in it.
        unsafe {
            let target = self.mapping.start.as_ptr().add(at);
            std::ptr::copy_nonoverlapping(bytes.as_ptr(), target, bytes.len());
        }
    }

    /// Sends words, and with the first of them the memory. Gives how many were sent; with 0 bytes of words nothing is.
    pub(crate) fn send_with(&self, socket: impl AsFd, words: &[u8]) -> io::Result<usize> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut ancillary = SendAncillaryBuffer::new(&mut space);
        let files = [self.file.as_fd()];
        if !ancillary.push(SendAncillaryMessage::ScmRights(&files)) {
            return Err(io::ErrorKind::OutOfMemory.into());
        }
        Ok(sendmsg(socket, &[IoSlice::new(words)], &mut ancillary, SendFlags::NOSIGNAL)?)
    }
}

/// Memory that another process writes and this one reads.
pub(crate) struct ReadMemory(Mapping);

impl ReadMemory {
    /// Takes what another process sent.
    ///
    /// # Errors
    /// When it is not memory of exactly this size whose size stays, or cannot be mapped.
    pub(crate) fn open(file: &OwnedFd, bytes: usize) -> io::Result<Self> {
        // Only memory has seals at all.
        let seals = fcntl_get_seals(file)?;
        let size = fstat(file)?.st_size;
        if !seals.contains(SIZE_STAYS) || u64::try_from(size) != Ok(bytes as u64) {
            return Err(io::ErrorKind::InvalidData.into());
        }
        Mapping::new(file, bytes, ProtFlags::READ).map(Self)
    }

    /// Appends bytes from a place.
    ///
    /// # Errors
    /// When they do not lie within the memory, or there is no room to put them in.
    pub(crate) fn append_to<B: BufMut + ?Sized>(
        &self,
        into: &mut B,
        at: usize,
        length: usize,
    ) -> io::Result<()> {
        if !self.0.holds(at, length) || into.remaining_mut() < length {
            return Err(io::ErrorKind::InvalidData.into());
        }
        let mut copied = 0;
        while copied < length {
            let room = into.chunk_mut();
            let count = room.len().min(length - copied);
            // SAFETY: the range was checked just now, and the room is of at least `count` bytes. Should the other
            // process write there meanwhile, the copy holds some of either: it is bytes in any case.
            unsafe {
                let source = self.0.start.as_ptr().add(at + copied);
                std::ptr::copy_nonoverlapping(source, room.as_mut_ptr(), count);
                into.advance_mut(count);
            }
            copied += count;
        }
        Ok(())
    }
}

/// Receives words, and the file that came with them; of several files the last.
pub(crate) fn receive_with(socket: impl AsFd, words: &mut [u8]) -> io::Result<(usize, Option<OwnedFd>)> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let received = recvmsg(socket, &mut [IoSliceMut::new(words)], &mut ancillary, RecvFlags::CMSG_CLOEXEC)?;
    let mut file = None;
    for message in ancillary.drain() {
        if let RecvAncillaryMessage::ScmRights(files) = message {
            file = files.last().or(file);
        }
    }
    Ok((received.bytes, file))
}

/// Asks for huge pages in what a vector has reserved: one fault for 2 MiB instead of 512.
pub(crate) fn prefer_huge_pages(room: &mut Vec<u8>) {
    let spare = room.spare_capacity_mut();
    let range = spare.as_mut_ptr_range();
    let start = (range.start as usize).next_multiple_of(HUGE_PAGE_BYTES);
    let end = range.end as usize / HUGE_PAGE_BYTES * HUGE_PAGE_BYTES;
    if start >= end {
        return;
    }
    let offset = start - range.start as usize;
    // SAFETY: the range lies within the vector's allocation, and this advice changes no byte.
    let advised = unsafe {
        let place = range.start.cast::<u8>().add(offset);
        madvise(place.cast(), end - start, Advice::LinuxHugepage)
    };
    if let Err(error) = advised {
        tracing::trace!(%error, "no huge pages");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BYTES: usize = 3 << 12;

    #[test]
    fn what_is_written_is_read_elsewhere_and_only_within_bounds() {
        let (near, far) = std::os::unix::net::UnixStream::pair().unwrap();
        let mut written = WrittenMemory::create(BYTES).unwrap();
        written.write(BYTES - 5, b"hello");
        assert_eq!(written.send_with(&near, b"word").unwrap(), 4);
        let mut words = [0; 8];
        let (count, file) = receive_with(&far, &mut words).unwrap();
        assert_eq!((&words[..count], file.is_some()), (&b"word"[..], true));
        let file = file.unwrap();
        let read = ReadMemory::open(&file, BYTES).unwrap();
        let mut bytes = b"> ".to_vec();
        read.append_to(&mut bytes, BYTES - 5, 5).unwrap();
        assert_eq!(bytes, b"> hello");
        written.write(BYTES - 5, b"later");
        read.append_to(&mut bytes, BYTES - 5, 5).unwrap();
        assert_eq!(bytes, b"> hellolater");
        for (at, length) in [(BYTES - 4, 5), (usize::MAX, 2), (0, BYTES + 1)] {
            assert!(read.append_to(&mut bytes, at, length).is_err());
        }
    }

    #[test]
    fn who_gets_the_memory_can_neither_write_nor_cut_it() {
        let written = WrittenMemory::create(BYTES).unwrap();
        assert!(ftruncate(&written.file, 0).is_err());
        assert!(rustix::io::write(&written.file, b"x").is_err());
        assert!(Mapping::new(&written.file, BYTES, ProtFlags::READ | ProtFlags::WRITE).is_err());
        assert!(fcntl_add_seals(&written.file, SealFlags::WRITE).is_err());
    }

    #[test]
    fn other_files_are_not_taken() {
        let unsealed = memfd_create("unsealed", MemfdFlags::ALLOW_SEALING).unwrap();
        ftruncate(&unsealed, BYTES as u64).unwrap();
        assert!(ReadMemory::open(&unsealed, BYTES).is_err(), "it could be cut while it is read");
        let written = WrittenMemory::create(BYTES).unwrap();
        assert!(ReadMemory::open(&written.file, 2 * BYTES).is_err(), "another size");
        let (near, _far) = std::os::unix::net::UnixStream::pair().unwrap();
        assert!(ReadMemory::open(&OwnedFd::from(near), BYTES).is_err(), "no memory at all");
    }

    #[test]
    fn huge_pages_are_asked_for_without_touching_bytes() {
        let mut room = Vec::with_capacity(9 << 20);
        room.extend_from_slice(b"kept");
        prefer_huge_pages(&mut room);
        assert_eq!(room, b"kept");
        prefer_huge_pages(&mut Vec::new());
    }
}
