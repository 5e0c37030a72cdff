//! Host memory for contents, used again: fresh memory costs a page fault for every 4 KiB, or 2 MiB where there are huge
//! pages, and is cleared before it is written, which for large contents takes as long as a good part of their transfer.
//!
//! What nobody has used for some seconds goes back to the system. Must never hand out memory that someone may still read.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use bytes::Bytes;

use crate::shared_memory::prefer_huge_pages;

/// Smaller rooms come from the allocator, which keeps such memory itself.
const POOLED_BYTES_MIN: usize = 256 << 10;
/// From here on huge pages are asked for: what lies before the first and behind the last whole one is little then.
const HUGE_BYTES_MIN: usize = 8 << 20;
/// Memory kept for later contents unless something else is said: for two contents of a GiB, since one is often still in use when the
/// next one comes.
pub(crate) const KEPT_BYTES_MAX: usize = 2 << 30;

/// Rooms that nobody has asked for during so many ticks are let go: long enough for a program that computes something between two
/// reads, short enough that nobody misses the memory.
const IDLE_TICKS_MAX: u64 = 3;
const TICK: Duration = Duration::from_secs(2);

/// Memory kept for later use. Clones are the same memory.
#[derive(Clone)]
pub struct Rooms(Arc<Shared>);

struct Shared {
    kept: Mutex<Kept>,
    kept_bytes_max: usize,
}

#[derive(Default)]
struct Kept {
    /// Those given back last come last.
    rooms: Vec<Idle>,
    /// Ticks since there have been rooms.
    ticks: u64,
    /// Whether a thread ticks.
    is_ticking: bool,
}

struct Idle {
    room: Vec<u8>,
    since_tick: u64,
}

impl Default for Rooms {
    fn default() -> Self {
        Self::keeping(KEPT_BYTES_MAX)
    }
}

impl Rooms {
    /// Keeps so many bytes at most.
    pub(crate) fn keeping(kept_bytes_max: usize) -> Self {
        Self(Arc::new(Shared { kept: Mutex::default(), kept_bytes_max }))
    }

    /// Empty memory with room for `size` bytes; `None` where the host has none.
    #[must_use]
    pub fn take(&self, size: usize) -> Option<Vec<u8>> {
        if size >= POOLED_BYTES_MIN {
            let mut kept = self.0.lock();
            // Not a much larger one, which would keep memory from those who need it. The last ones may lie in caches still.
            let fits = |idle: &Idle| idle.room.capacity() >= size && idle.room.capacity() / 2 <= size;
            if let Some(place) = kept.rooms.iter().rposition(fits) {
                return Some(kept.rooms.remove(place).room);
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
        let bytes_max = self.0.kept_bytes_max;
        if room.capacity() > bytes_max {
            return;
        }
        room.clear();
        let mut too_many = Vec::new();
        let mut kept = self.0.lock();
        let mut kept_bytes: usize = kept.rooms.iter().map(|idle| idle.room.capacity()).sum();
        // Those kept longest go first: sizes that are no longer asked for.
        while kept_bytes + room.capacity() > bytes_max {
            let oldest = kept.rooms.remove(0);
            kept_bytes -= oldest.room.capacity();
            too_many.push(oldest);
        }
        let since_tick = kept.ticks;
        kept.rooms.push(Idle { room, since_tick });
        if !std::mem::replace(&mut kept.is_ticking, true) {
            let shared = Arc::downgrade(&self.0);
            let ticking = std::thread::Builder::new().name("rooms".to_owned()).spawn(move || tick(&shared));
            if let Err(error) = ticking {
                // What is kept then is bounded still, and the next one tries again.
                tracing::debug!(%error, "no thread to let memory go");
                kept.is_ticking = false;
            }
        }
        drop(kept);
        // Unmapping takes a while: without the lock.
        drop(too_many);
    }
}

/// Lets rooms go until none are left.
fn tick(shared: &Weak<Shared>) {
    loop {
        std::thread::sleep(TICK);
        let Some(shared) = shared.upgrade() else { return };
        if !shared.let_idle_go() {
            return;
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Kept> {
        // Nothing is left half done by a panic while the lock is held.
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One tick; whether there is anything left to tick for.
    fn let_idle_go(&self) -> bool {
        let mut kept = self.lock();
        kept.ticks += 1;
        let oldest = kept.ticks.saturating_sub(IDLE_TICKS_MAX);
        let (idle, used): (Vec<Idle>, Vec<Idle>) =
            std::mem::take(&mut kept.rooms).into_iter().partition(|idle| idle.since_tick < oldest);
        kept.rooms = used;
        kept.is_ticking = !kept.rooms.is_empty();
        let is_ticking = kept.is_ticking;
        drop(kept);
        // Unmapping takes a while: without the lock.
        drop(idle);
        is_ticking
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

    const SIZE: usize = POOLED_BYTES_MIN;

    fn kept_bytes(rooms: &Rooms) -> usize {
        rooms.0.lock().rooms.iter().map(|idle| idle.room.capacity()).sum()
    }

    #[test]
    fn a_room_is_used_again_only_when_nobody_has_its_bytes() {
        let rooms = Rooms::default();
        let mut room = rooms.take(SIZE).unwrap();
        room.resize(SIZE, 7);
        let place = room.as_ptr();
        let bytes = rooms.filled(room);
        let part = bytes.slice(3..10);
        drop(bytes);
        let other = rooms.take(SIZE).unwrap();
        assert_ne!(other.as_ptr(), place, "a part is still read");
        assert_eq!(part[..], [7; 7]);
        drop(part);
        let again = rooms.take(SIZE).unwrap();
        assert_eq!((again.as_ptr(), again.len()), (place, 0));
    }

    #[test]
    fn what_is_kept_is_bounded_and_fits() {
        let rooms = Rooms::keeping(8 * SIZE);
        for _ in 0..3 {
            rooms.give_back(Vec::with_capacity(4 * SIZE));
        }
        assert_eq!(kept_bytes(&rooms), 8 * SIZE);
        assert!(rooms.take(SIZE).unwrap().capacity() < 4 * SIZE, "none is much too large");
        rooms.give_back(Vec::with_capacity(8 * SIZE + 1));
        assert_eq!(kept_bytes(&rooms), 8 * SIZE);
        rooms.give_back(Vec::with_capacity(8 * SIZE));
        assert!(rooms.take(8 * SIZE).is_some() && kept_bytes(&rooms) == 0, "it took the place of all others");
        assert!(rooms.take(usize::MAX).is_none());
    }

    #[test]
    fn the_room_given_back_last_is_taken_first() {
        let rooms = Rooms::default();
        let places: Vec<*const u8> = (0..3)
            .map(|_| Vec::with_capacity(SIZE))
            .collect::<Vec<_>>()
            .into_iter()
            .map(|room| {
                let place = room.as_ptr();
                rooms.give_back(room);
                place
            })
            .collect();
        let taken: Vec<Vec<u8>> = (0..3).map(|_| rooms.take(SIZE).unwrap()).collect();
        assert!(taken.iter().map(Vec::as_ptr).eq(places.into_iter().rev()));
    }

    #[test]
    fn what_is_not_used_for_a_while_is_let_go_and_the_rest_stays() {
        let rooms = Rooms::default();
        // Nobody but this test ticks.
        rooms.0.lock().is_ticking = true;
        rooms.give_back(Vec::with_capacity(2 * SIZE));
        for _ in 0..IDLE_TICKS_MAX {
            assert!(rooms.0.let_idle_go());
        }
        rooms.give_back(Vec::with_capacity(SIZE));
        assert_eq!(kept_bytes(&rooms), 3 * SIZE);
        assert!(rooms.0.let_idle_go());
        assert_eq!(kept_bytes(&rooms), SIZE, "the first was there all the time");
        let used = rooms.take(SIZE).unwrap();
        rooms.give_back(used);
        for _ in 0..IDLE_TICKS_MAX {
            assert!(rooms.0.let_idle_go(), "it was used just now");
        }
        assert!(!rooms.0.let_idle_go());
        assert_eq!(kept_bytes(&rooms), 0);
    }
}
