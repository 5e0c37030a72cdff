//! The one place that reads the clock: people are told how long things took.

use std::time::Instant;

/// The time now.
#[expect(clippy::disallowed_methods, reason = "what is measured here is for people, not for the farm")]
pub fn now() -> Instant {
    Instant::now()
}
