//! Host memory for contents, used again: fresh memory costs a page fault for every 4 KiB, which takes
//! longer than the transfer itself.
//!
//! Must never hand out memory that someone may still read.

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;

use crate::shared_memory::prefer_huge_pages;

/// Smaller rooms come from the allocator, which keeps such memory itself.
const POOLED_BYTES_MIN: usize = 256 << 10;
/// From here on huge pages are asked for: what lies before the first and behind the last whole one is little then.
const HUGE_BYTES_MIN: usize = 8 << 20;
/// Memory kept for later contents.
const KEPT_BYTES_MAX: usize = 256 << 20;

/// Memory kept for later use. Clones are the same memory.
#[derive(Clone, Default)]
pub struct Rooms(Arc<Mutex<Vec<Vec<u8>>>>);

impl Rooms {
    /// Empty memory with room for `size` bytes; `None` where the host has none.
    #[must_use]
    pub fn take(&self, size: usize) -> Option<Vec<u8>> {
        if size >= POOLED_BYTES_MIN {
            let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            // Not a much larger one, which would keep memory from those who need it.
            let fits = |room: &Vec<u8>| room.capacity() >= size && room.capacity() / 2 <= size;
            if let Some(place) = kept.iter().position(fits) {
                return Some(kept.swap_remove(place));
            }
        }
        let mut room = Vec::new();
        room.try_reserve_exact(size).ok()?;
        if size >= HUGE_BYTES_MIN {
            prefer_huge_pages(&mut room);
        }
        Some(room)
    }

    /// The bytes of a room; once nobody has them any more, the room is kept.
    #[must_use]
    pub fn filled(&self, room: Vec<u8>) -> Bytes {
        if room.capacity() < POOLED_BYTES_MIN {
            return Bytes::from(room);
        }
        Bytes::from_owner(Lent { room, rooms: self.clone() })
    }

    fn give_back(&self, mut room: Vec<u8>) {
        room.clear();
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut kept_bytes: usize = kept.iter().map(Vec::capacity).sum();
        if room.capacity() > KEPT_BYTES_MAX {
            return;
        }
        // Those kept longest go first: sizes that are no longer asked for.
        while kept_bytes + room.capacity() > KEPT_BYTES_MAX {
            kept_bytes -= kept.remove(0).capacity();
        }
        kept.push(room);
    }
}

impl std::fmt::Debug for Rooms {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Rooms").finish_non_exhaustive()
    }
}

struct Lent {
    room: Vec<u8>,
    rooms: Rooms,
}

impl AsRef<[u8]> for Lent {
    fn as_ref(&self) -> &[u8] {
        &self.room
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        self.rooms.give_back(std::mem::take(&mut self.room));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_room_is_used_again_only_when_nobody_has_its_bytes() {
        let rooms = Rooms::default();
        let size = POOLED_BYTES_MIN;
        let mut room = rooms.take(size).unwrap();
        room.resize(size, 7);
        let place = room.as_ptr();
        let bytes = rooms.filled(room);
        let part = bytes.slice(3..10);
        drop(bytes);
        let other = rooms.take(size).unwrap();
        assert_ne!(other.as_ptr(), place, "a part is still read");
        assert_eq!(part[..], [7; 7]);
        drop(part);
        let again = rooms.take(size).unwrap();
        assert_eq!((again.as_ptr(), again.len()), (place, 0));
    }

    #[test]
    fn what_is_kept_is_bounded_and_fits() {
        let rooms = Rooms::default();
        let kept = |rooms: &Rooms| rooms.0.lock().unwrap().iter().map(Vec::capacity).sum::<usize>();
        for _ in 0..3 {
            rooms.give_back(Vec::with_capacity(KEPT_BYTES_MAX / 2));
        }
        assert!(kept(&rooms) <= KEPT_BYTES_MAX && kept(&rooms) > 0);
        assert!(rooms.take(POOLED_BYTES_MIN).unwrap().capacity() < KEPT_BYTES_MAX / 2);
        rooms.give_back(Vec::with_capacity(KEPT_BYTES_MAX + 1));
        assert!(kept(&rooms) <= KEPT_BYTES_MAX);
        assert!(rooms.take(usize::MAX).is_none());
    }
}
