//! A congestion controller for messages: what a gigabit path carries may be under way at once, until something is lost.
//!
//! A connection with messages is idle most of its life, so that its window never grows; when a large graph comes, its words would
//! take several round trips to leave. Here the controller below (quinn's CUBIC, from its usual first window) is left to grow by
//! what is acknowledged, and a head start on top of it lets out what a path of `rate` holds in one round trip. The first
//! loss takes the head start away for a while and leaves the window that acknowledgements have proved. "Careful resume"
//! (draft-ietf-tsvwg-careful-resume) retreats likewise; it jumps to a window that an earlier connection has proved,
//! here the farm's operator answers for its paths. QUIC paces what goes out at 5/4 windows for each round trip, so that the
//! network never sees more than 5/4 of `rate`. Must never be used for bulk, which would live off it.

use std::any::Any;
use std::time::{Duration, Instant};

use quinn::congestion::{Controller, ControllerMetrics};
use quinn_proto::RttEstimator;

/// The head start is at least this much: on short paths round trips cost nothing, but bursts are worth one.
const WINDOW_BYTES_MIN: u64 = 64 << 10;
/// And at most this: no more than a stream's usual window, and what a path of 100 MB/s holds in 42 ms.
const WINDOW_BYTES_MAX: u64 = 4 << 20;
/// How long it is away after a loss.
const AWAY: Duration = Duration::from_secs(10);

/// The controller of one path.
pub(crate) struct HeadStart {
    inner: Box<dyn Controller>,
    bytes_per_second: u64,
    /// None until a round trip is known.
    window_bytes: u64,
    lost_at: Option<Instant>,
}

impl HeadStart {
    pub(crate) fn new(inner: Box<dyn Controller>, bytes_per_second: u64) -> Self {
        Self { inner, bytes_per_second, window_bytes: 0, lost_at: None }
    }

    /// What a path of the rate holds with this round trip.
    fn measure(&mut self, now: Instant, round_trip: Duration) {
        if self.lost_at.is_some_and(|at| now.saturating_duration_since(at) < AWAY) {
            return;
        }
        self.lost_at = None;
        if self.bytes_per_second > 0 {
            let bytes = round_trip.as_nanos() * u128::from(self.bytes_per_second) / 1_000_000_000;
            let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
            self.window_bytes = bytes.clamp(WINDOW_BYTES_MIN, WINDOW_BYTES_MAX);
        }
    }
}

impl Controller for HeadStart {
    fn on_sent(&mut self, now: Instant, bytes: u64, last_packet_number: u64) {
        self.inner.on_sent(now, bytes, last_packet_number);
    }

    fn on_ack(&mut self, now: Instant, sent: Instant, bytes: u64, app_limited: bool, rtt: &RttEstimator) {
        self.inner.on_ack(now, sent, bytes, app_limited, rtt);
        // Smoothed, since the shortest ever is not that of a path that has become longer.
        self.measure(now, rtt.get());
    }

    fn on_end_acks(
        &mut self,
        now: Instant,
        in_flight: u64,
        app_limited: bool,
        largest_packet_num_acked: Option<u64>,
    ) {
        self.inner.on_end_acks(now, in_flight, app_limited, largest_packet_num_acked);
    }

    fn on_congestion_event(
        &mut self,
        now: Instant,
        sent: Instant,
        is_persistent_congestion: bool,
        lost_bytes: u64,
    ) {
        self.window_bytes = 0;
        self.lost_at = Some(now);
        self.inner.on_congestion_event(now, sent, is_persistent_congestion, lost_bytes);
    }

    fn on_mtu_update(&mut self, new_mtu: u16) {
        self.inner.on_mtu_update(new_mtu);
    }

    fn window(&self) -> u64 {
        self.inner.window().max(self.window_bytes)
    }

    fn metrics(&self) -> ControllerMetrics {
        let mut metrics = self.inner.metrics();
        metrics.congestion_window = self.window();
        metrics
    }

    fn clone_box(&self) -> Box<dyn Controller> {
        let inner = self.inner.clone_box();
        Box::new(Self { inner, ..*self })
    }

    fn initial_window(&self) -> u64 {
        self.inner.initial_window()
    }

    fn into_any(self: Box<Self>) -> Box<dyn Any> {
        self
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::disallowed_methods, reason = "any time will do for a start")]

    use std::sync::Arc;

    use quinn::congestion::{ControllerFactory, CubicConfig};

    use super::*;

    fn controller(now: Instant) -> HeadStart {
        HeadStart::new(Arc::new(CubicConfig::default()).build(now, 1_200), 100_000_000)
    }

    #[test]
    fn what_a_path_holds_may_be_under_way_until_something_is_lost() {
        let start = Instant::now();
        let mut controller = controller(start);
        let first = controller.window();
        assert!(first < 20_000, "{first}");
        controller.measure(start, Duration::from_millis(20));
        assert_eq!(controller.window(), 2_000_000);
        let lost = start + Duration::from_secs(1);
        controller.on_congestion_event(lost, start, false, 1_200);
        assert!(controller.window() <= first, "{}", controller.window());
        controller.measure(lost + Duration::from_secs(9), Duration::from_millis(20));
        assert!(controller.window() <= first);
        controller.measure(lost + AWAY, Duration::from_millis(20));
        assert_eq!(controller.window(), 2_000_000);
    }

    #[test]
    fn it_is_bounded_and_can_be_left_out() {
        let start = Instant::now();
        let mut controller = controller(start);
        controller.measure(start, Duration::from_micros(50));
        assert_eq!(controller.window(), WINDOW_BYTES_MIN);
        controller.measure(start, Duration::from_secs(3));
        assert_eq!(controller.window(), WINDOW_BYTES_MAX);
        let mut without = HeadStart::new(Arc::new(CubicConfig::default()).build(start, 1_200), 0);
        let first = without.window();
        without.measure(start, Duration::from_millis(20));
        assert_eq!(without.window(), first);
    }
}
