//! The one place that reads the clock: the relay's thread does so once for each batch of datagrams.

use std::time::Instant;

/// The time now.
#[expect(clippy::disallowed_methods, reason = "a driver reads its clock once a turn")]
pub(crate) fn now() -> Instant {
    Instant::now()
}
