//! What one direction of a path does, in the words of a cluster file; and what that means to the machine.

use isochrone_model::{BytesPerSecond, Span};

use crate::{Chance, Correlation, Jitter, Latency, Loss, QueueSettings, WireSettings};

/// A rate without a bound: what passes at it takes no time.
pub const UNLIMITED: BytesPerSecond = BytesPerSecond::UNLIMITED;

/// Bytes around a datagram's payload that a rate counts too: headers of UDP (8) and IPv4 (20).
pub const IP_OVERHEAD_BYTES: u64 = 28;

/// What a path of Ethernet carries: 1,500 bytes less [`IP_OVERHEAD_BYTES`].
const ETHERNET_DATAGRAM_BYTES_MAX: u64 = 1_472;

/// A queue holds this at least, whatever its rate: a burst of one sender.
const QUEUE_BYTES_MIN: u64 = 64 << 10;

/// For how long a path's latency stays about the same: datagrams this far apart have correlated latencies (e^-1).
pub const LATENCY_PERSISTENCE: Span = Span::from_millis(2);

/// What the path from one party to another does in all, both hosts' access included.
#[derive(Clone, Debug, PartialEq)]
pub struct LinkSpec {
    /// One way.
    pub latency: Latency,
    /// Of a transfer that has it alone.
    pub bandwidth: BytesPerSecond,
    /// The part of datagrams that are lost, from 0 up to but not including 1.
    pub loss: f64,
}

impl LinkSpec {
    /// No latency, no limit, no loss: what a party has with itself.
    pub const LOCAL: Self = Self { latency: Latency::ZERO, bandwidth: UNLIMITED, loss: 0.0 };

    /// A constant latency and a rate, without loss.
    #[must_use]
    pub fn fixed(latency: Span, bandwidth: BytesPerSecond) -> Self {
        Self { latency: Latency::Fixed(latency), bandwidth, loss: 0.0 }
    }

    /// The wire of a path like this: latencies that persist for about 2 ms and keep the order of datagrams,
    /// independent losses, and datagrams of an Ethernet.
    #[must_use]
    pub fn wire(&self) -> WireSettings {
        let mut wire = WireSettings::new(Jitter {
            latency: self.latency.clone(),
            correlation: if self.latency.is_fixed() {
                Correlation::None
            } else {
                Correlation::OverTime(LATENCY_PERSISTENCE)
            },
        });
        wire.loss = Loss::independent(Chance::new(self.loss));
        wire.datagram_bytes_max = ETHERNET_DATAGRAM_BYTES_MAX;
        wire
    }

    /// The queue before a path with this rate, whose buffer holds what passes in `round_trip`; `None` when the rate is
    /// [`UNLIMITED`].
    #[must_use]
    pub fn queue(rate: BytesPerSecond, round_trip: Span) -> Option<QueueSettings> {
        let bytes = u128::from(rate.0) * u128::from(round_trip.0) / 1_000_000_000;
        let limit_bytes = u64::try_from(bytes).unwrap_or(u64::MAX).max(QUEUE_BYTES_MIN);
        (rate != UNLIMITED).then_some(QueueSettings { rate, limit_bytes })
    }
}
