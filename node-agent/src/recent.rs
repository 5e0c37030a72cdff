//! Control messages sent on a connection of late, to be sent another way should it be lost.
//!
//! QUIC does not say which messages of a lost connection were received. A message older than the idle
//! timeout was: the connection would have been given up otherwise. Younger ones are sent again, which is
//! harmless, since receivers count what they got. It must never hold more than its bounds.

use std::collections::VecDeque;

use isochrone_model::{Span, Timestamp};

/// Longer than the transport's idle timeout by a margin for what waits in its queue.
const KEPT_FOR: Span = Span::from_secs(20);

/// At most this much is kept, oldest let go first: well above what a connection carries in a round trip.
const KEPT_BYTES_MAX: u64 = 32 << 20;

/// What a message costs beyond its contents.
const MESSAGE_OVERHEAD_BYTES: u64 = 128;

/// Messages sent of late.
#[derive(Debug)]
pub(crate) struct Recent<T> {
    messages: VecDeque<(Timestamp, u64, T)>,
    held_bytes: u64,
}

impl<T> Default for Recent<T> {
    fn default() -> Self {
        Self { messages: VecDeque::new(), held_bytes: 0 }
    }
}

impl<T> Recent<T> {
    /// Keeps a message with `contents_bytes` of contents for a while.
    pub(crate) fn keep(&mut self, now: Timestamp, message: T, contents_bytes: u64) {
        let cost_bytes = contents_bytes + MESSAGE_OVERHEAD_BYTES;
        self.messages.push_back((now, cost_bytes, message));
        self.held_bytes += cost_bytes;
        self.forget_old(now);
    }

    /// Lets go of what is old.
    pub(crate) fn forget_old(&mut self, now: Timestamp) {
        while let Some((sent, cost_bytes, _)) = self.messages.front()
            && (now.since(*sent) > KEPT_FOR || self.held_bytes > KEPT_BYTES_MAX)
        {
            self.held_bytes -= cost_bytes;
            self.messages.pop_front();
        }
    }

    /// Hands out what may not have been received, in order.
    pub(crate) fn take(&mut self) -> Vec<T> {
        self.held_bytes = 0;
        std::mem::take(&mut self.messages).into_iter().map(|(_, _, message)| message).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_messages_and_those_beyond_the_bound_go_first() {
        let mut recent = Recent::default();
        recent.keep(Timestamp::ZERO, 1, 10);
        recent.keep(Timestamp::ZERO + Span::from_secs(10), 2, 10);
        recent.keep(Timestamp::ZERO + Span::from_secs(21), 3, 10);
        assert_eq!(recent.take(), [2, 3]);
        recent.keep(Timestamp::ZERO, 4, KEPT_BYTES_MAX / 2);
        recent.keep(Timestamp::ZERO, 5, KEPT_BYTES_MAX / 2);
        assert_eq!(recent.take(), [5]);
        assert_eq!(recent.held_bytes, 0);
    }
}
