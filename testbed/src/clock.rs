//! The one place that reads the clock: how long farms and graphs take, and when to give up waiting.

use std::time::Instant;

/// The time now.
#[expect(
    clippy::disallowed_methods,
    reason = "what is measured and waited for here is for people, not for the farm"
)]
pub(crate) fn now() -> Instant {
    Instant::now()
}
