//! The one place that reads the clock.

use std::time::{Duration, Instant};

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

    /// When it will be `at`; a day ahead at most, so that no date overflows.
    pub(crate) fn instant(self, at: Timestamp) -> tokio::time::Instant {
        let ahead = Duration::from(at.since(self.now())).min(Duration::from_secs(86_400));
        tokio::time::Instant::now() + ahead
    }
}
