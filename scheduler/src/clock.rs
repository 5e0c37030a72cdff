//! The one place that reads the clock.

#![expect(clippy::disallowed_methods, reason = "the driver reads the clock here and nowhere else")]

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use isochrone_model::Timestamp;

/// Time since the scheduler started.
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

    /// When it will be `at`; ten years after the start at most, so that no date overflows.
    pub(crate) fn instant(self, at: Timestamp) -> tokio::time::Instant {
        let since_start = Duration::from_nanos(at.0).min(Duration::from_secs(10 * 365 * 86_400));
        tokio::time::Instant::from_std(self.start + since_start)
    }
}

/// Milliseconds since 1970, by the calendar.
pub(crate) fn calendar_millis() -> u64 {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX)
}
