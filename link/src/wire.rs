//! One direction of a wire: loses, delays, reorders and duplicates datagrams. It has no rate: that is a queue's.

use isochrone_model::{Span, Timestamp};

use crate::chance::Chance;
use crate::latency::{Jitter, JitterSampler};
use crate::loss::{Loss, LossState};
use crate::random::Random;

/// Datagrams that come too late.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reordering {
    /// Of a datagram to be held back.
    pub chance: Chance,
    /// For how long, beyond its latency; those behind it do not wait for it.
    pub by: Span,
}

/// What a wire does to each datagram.
#[derive(Clone, Debug, PartialEq)]
pub struct WireSettings {
    /// One-way latency.
    pub jitter: Jitter,
    /// Whether a datagram waits for those before it; else one with a lower latency overtakes.
    pub keeps_order: bool,
    /// Losses.
    pub loss: Loss,
    /// Datagrams that are held back.
    pub reordering: Reordering,
    /// Of a datagram to arrive twice, each with a latency of its own.
    pub duplication: Chance,
    /// Larger datagrams (UDP payload) are lost, as on a path whose routers may not cut them up.
    pub datagram_bytes_max: u64,
}

impl WireSettings {
    /// Latencies alone; datagrams keep their order.
    #[must_use]
    pub fn new(jitter: Jitter) -> Self {
        Self {
            jitter,
            keeps_order: true,
            loss: Loss::NONE,
            reordering: Reordering::default(),
            duplication: Chance::NEVER,
            datagram_bytes_max: u64::MAX,
        }
    }
}

/// What became of a datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    Lost,
    TooLarge,
    Arrives(Arrival),
    Twice(Arrival, Arrival),
}

/// When a copy arrives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Arrival {
    pub at: Timestamp,
    pub is_held_back: bool,
}

#[derive(Clone, Debug)]
pub(crate) struct Wire {
    settings: WireSettings,
    jitter: JitterSampler,
    loss: LossState,
    /// Losses, reordering, duplication: apart from latencies, so that those do not change with them.
    events: Random,
    latencies: Random,
    last_arrival: Timestamp,
}

impl Wire {
    pub(crate) fn new(settings: WireSettings, seed: u64, wire: u64) -> Self {
        Self {
            jitter: JitterSampler::new(&settings.jitter),
            loss: LossState::new(settings.loss),
            events: Random::stream(seed, 2 * wire),
            latencies: Random::stream(seed, 2 * wire + 1),
            last_arrival: Timestamp::ZERO,
            settings,
        }
    }

    /// Other settings from here on; what is on its way stays so.
    pub(crate) fn change(&mut self, settings: WireSettings) {
        if settings.jitter != self.settings.jitter {
            self.jitter = JitterSampler::new(&settings.jitter);
        }
        self.loss.change(settings.loss);
        self.settings = settings;
    }

    pub(crate) fn settings(&self) -> &WireSettings {
        &self.settings
    }

    /// A datagram begins its way.
    pub(crate) fn pass(&mut self, now: Timestamp, size_bytes: u64) -> Fate {
        if size_bytes > self.settings.datagram_bytes_max {
            return Fate::TooLarge;
        }
        if self.loss.is_lost(&mut self.events) {
            return Fate::Lost;
        }
        let first = self.arrival(now);
        if self.settings.duplication.happens(&mut self.events) {
            return Fate::Twice(first, self.arrival(now));
        }
        Fate::Arrives(first)
    }

    fn arrival(&mut self, now: Timestamp) -> Arrival {
        let at = now + self.jitter.draw(now, &mut self.latencies);
        if self.settings.reordering.chance.happens(&mut self.events) {
            return Arrival { at: at + self.settings.reordering.by, is_held_back: true };
        }
        let at = if self.settings.keeps_order { at.max(self.last_arrival) } else { at };
        self.last_arrival = self.last_arrival.max(at);
        Arrival { at, is_held_back: false }
    }
}
