//! The one place that reads the clock.

#![expect(
    clippy::disallowed_methods,
    reason = "the driver and the devices read the clock here and nowhere else"
)]

use std::time::Instant;

use isochrone_model::Timestamp;

/// Time since the agent started.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    start: Instant,
}

impl Clock {
    /// A clock that stands at zero.
    pub(crate) fn start() -> Self {
        Self { start: Instant::now() }
    }

    /// The time now.
    pub(crate) fn now(self) -> Timestamp {
        let nanos = self.start.elapsed().as_nanos();
        Timestamp(u64::try_from(nanos).unwrap_or(u64::MAX))
    }
}

/// The time now for what runs beside the driver's turns and measures or waits: devices, and transfers that come in.
pub(crate) fn now() -> Instant {
    Instant::now()
}
