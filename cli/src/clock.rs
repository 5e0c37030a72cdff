//! The one place that reads the clock: people are told how long things took.

use std::time::Instant;

/// The time now.
#[expect(clippy::disallowed_methods, reason = "what is measured here is for people, not for the farm")]
pub fn now() -> Instant {
    Instant::now()
}

/// Seconds since 1970, for records of when something was run.
#[expect(clippy::disallowed_methods, reason = "what is written down is for people, not for the farm")]
pub fn unix_seconds() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::SystemTime::UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs())
}
