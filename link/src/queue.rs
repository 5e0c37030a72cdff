//! A queue with a rate: datagrams leave it one after the other, and those that find it full are lost.

use std::collections::VecDeque;

use isochrone_model::{BytesPerSecond, Timestamp};

const NANOS: u128 = 1_000_000_000;

/// A queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueueSettings {
    /// At which datagrams leave, headers included.
    pub rate: BytesPerSecond,
    /// Bytes that may wait, the datagram that is leaving not counted. One that would exceed it is lost.
    pub limit_bytes: u64,
}

/// Datagrams by a number of the caller's.
#[derive(Clone, Debug)]
pub(crate) struct Queue {
    settings: QueueSettings,
    leaving: Option<Leaving>,
    waiting: VecDeque<(u32, u64)>,
    waiting_bytes: u64,
    /// Rises whenever the end of the one that leaves changes otherwise than by its leaving.
    epoch: u32,
}

/// The datagram that is being sent. Its end is exact: nanoseconds and a fraction of one, in parts of the rate.
#[derive(Clone, Copy, Debug)]
struct Leaving {
    slot: u32,
    nanos: u64,
    parts: u64,
}

impl Queue {
    pub(crate) fn new(settings: QueueSettings) -> Self {
        Self { settings, leaving: None, waiting: VecDeque::new(), waiting_bytes: 0, epoch: 0 }
    }

    pub(crate) fn settings(&self) -> QueueSettings {
        self.settings
    }

    /// Takes in a datagram; false when it is lost.
    pub(crate) fn enter(&mut self, now: Timestamp, slot: u32, wire_bytes: u64) -> bool {
        if self.leaving.is_none() {
            self.leaving = Some(self.sent(slot, now.0, 0, wire_bytes));
            return true;
        }
        let after = self.waiting_bytes.saturating_add(wire_bytes);
        if after > self.settings.limit_bytes {
            return false;
        }
        self.waiting.push_back((slot, wire_bytes));
        self.waiting_bytes = after;
        true
    }

    /// The one that leaves next, when it will have left, and in which epoch this holds.
    pub(crate) fn next(&self) -> Option<(Timestamp, u32, u32)> {
        let leaving = self.leaving?;
        Some((leaving.end(), leaving.slot, self.epoch))
    }

    /// The first has left.
    pub(crate) fn leave(&mut self) -> Option<u32> {
        let left = self.leaving.take()?;
        if let Some((slot, wire_bytes)) = self.waiting.pop_front() {
            self.waiting_bytes -= wire_bytes;
            self.leaving = Some(self.sent(slot, left.nanos, left.parts, wire_bytes));
        }
        Some(left.slot)
    }

    /// Another rate and limit from here on. The rest of the datagram that is being sent goes at the new rate; what waits
    /// beyond the new limit may stay.
    pub(crate) fn change(&mut self, now: Timestamp, settings: QueueSettings) {
        if let Some(leaving) = self.leaving {
            let rate = u128::from(self.settings.rate.0.max(1));
            let end = u128::from(leaving.nanos) * rate + u128::from(leaving.parts);
            let rest = end.saturating_sub(u128::from(now.0) * rate).div_ceil(NANOS);
            self.settings = settings;
            self.leaving = Some(self.sent(leaving.slot, now.0, 0, u64::try_from(rest).unwrap_or(u64::MAX)));
            self.epoch = self.epoch.wrapping_add(1);
        }
        self.settings = settings;
    }

    fn sent(&self, slot: u32, nanos: u64, parts: u64, wire_bytes: u64) -> Leaving {
        let rate = u128::from(self.settings.rate.0.max(1));
        let total = u128::from(parts) + u128::from(wire_bytes) * NANOS;
        let nanos = u128::from(nanos) + total / rate;
        Leaving { slot, nanos: u64::try_from(nanos).unwrap_or(u64::MAX), parts: (total % rate) as u64 }
    }
}

impl Leaving {
    /// Rounded up.
    fn end(&self) -> Timestamp {
        Timestamp(self.nanos.saturating_add(u64::from(self.parts > 0)))
    }
}
