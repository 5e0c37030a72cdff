//! When a packet of a connection that this endpoint has forgotten is answered with a reset.
//!
//! A side that closes a connection forgets it soon after, a few round trips at least. A peer that reads the
//! closing later than that answers it, or has said more by then, and QUIC tells it with a stateless reset
//! that there is no such connection. quinn lets that replace the reason that the peer has just been told
//! (quinn-proto 0.11, `Connection::handle_packet`). So packets of a forgotten connection get no answer for a
//! while: who has been told falls silent meanwhile, and only one to whom the closing never came goes on and
//! is reset. Must never hold what a connection carries.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use quinn::{ConnectionId, ConnectionIdGenerator};
use quinn_proto::{HashedConnectionIdGenerator, InvalidCid};

/// How long packets of a forgotten connection get no answer, from the first one on. Far longer than a peer
/// that is told of the end goes on sending, and shorter than any idle timeout.
const SILENCE: Duration = Duration::from_secs(2);

/// How long a forgotten connection is remembered to have been heard of: it is reset within this.
const MEMORY: Duration = Duration::from_secs(60);

/// Forgotten connections that are watched at one time. Only ids that this endpoint made up are; beyond this
/// many, more are not answered, and their peers wait for the idle timeout.
const WATCHED_MAX: usize = 4_096;

/// Makes connection ids as quinn does by itself, and says which packets of connections that are not there
/// may be answered.
pub(crate) struct LateResets {
    ids: HashedConnectionIdGenerator,
    /// When a packet of a forgotten connection came first.
    first_packets: Mutex<BTreeMap<ConnectionId, Instant>>,
}

impl LateResets {
    pub(crate) fn new() -> Self {
        Self { ids: HashedConnectionIdGenerator::new(), first_packets: Mutex::default() }
    }

    /// Whether a packet for `id` that comes `now` may be answered with a reset.
    fn may_reset(&self, id: ConnectionId, now: Instant) -> bool {
        let mut first_packets = self.first_packets.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(first) = first_packets.get(&id) {
            return now.duration_since(*first) >= SILENCE;
        }
        if first_packets.len() >= WATCHED_MAX {
            first_packets.retain(|_, first| now.duration_since(*first) < MEMORY);
        }
        if first_packets.len() < WATCHED_MAX {
            first_packets.insert(id, now);
        }
        false
    }
}

impl ConnectionIdGenerator for LateResets {
    fn generate_cid(&mut self) -> ConnectionId {
        self.ids.generate_cid()
    }

    /// quinn asks for packets that belong to no connection, and answers those for which this is no error.
    #[expect(clippy::disallowed_methods, reason = "quinn tells no time here")]
    fn validate(&self, id: &ConnectionId) -> Result<(), InvalidCid> {
        self.ids.validate(id)?;
        if self.may_reset(*id, Instant::now()) { Ok(()) } else { Err(InvalidCid) }
    }

    fn cid_len(&self) -> usize {
        self.ids.cid_len()
    }

    fn cid_lifetime(&self) -> Option<Duration> {
        self.ids.cid_lifetime()
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::disallowed_methods, reason = "any time will do for a start")]

    use super::*;

    #[test]
    fn only_those_who_go_on_are_reset() {
        let mut resets = LateResets::new();
        let (one, other) = (resets.generate_cid(), resets.generate_cid());
        let start = Instant::now();
        assert!(!resets.may_reset(one, start));
        assert!(!resets.may_reset(one, start + SILENCE / 2));
        assert!(!resets.may_reset(other, start + SILENCE));
        assert!(resets.may_reset(one, start + SILENCE));
    }

    #[test]
    fn what_is_watched_is_bounded_and_made_room_for() {
        let mut resets = LateResets::new();
        let start = Instant::now();
        // Ids are drawn: of thousands, two may be alike.
        while resets.first_packets.lock().unwrap().len() < WATCHED_MAX {
            let id = resets.generate_cid();
            assert!(!resets.may_reset(id, start));
        }
        let late = resets.generate_cid();
        assert!(!resets.may_reset(late, start + SILENCE));
        assert!(!resets.may_reset(late, start + SILENCE * 3), "there was no room for it");
        assert!(!resets.may_reset(late, start + MEMORY));
        assert!(resets.may_reset(late, start + MEMORY + SILENCE));
    }

    #[test]
    fn ids_of_others_are_never_answered() {
        let (mut ours, mut theirs) = (LateResets::new(), LateResets::new());
        let id = theirs.generate_cid();
        assert!(ours.validate(&id).is_err() && ours.first_packets.lock().unwrap().is_empty());
        let id = ours.generate_cid();
        assert!(ours.validate(&id).is_err());
        assert_eq!(ours.first_packets.lock().unwrap().len(), 1);
    }
}
