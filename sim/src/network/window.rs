//! The congestion window of a sender, by what controls it: quinn's CUBIC, or the farm's own controller of bulk.
//!
//! **The farm's** (`transport/src/short_queue.rs`) doubles its window once a round trip until a queue of an eighth of that is seen, 4 ms at most, and
//! then keeps the queue at a millisecond, so that no buffer overflows; the few datagrams that a path loses do not cut it. A window that is not filled
//! grows to no more than twice what was under way. When others leave it room it
//! grows by a quarter a round trip. A path whose round trips vary by a part v is filled to 1 - 0.6 v: a fit to what the controller reached over links
//! in virtual time (`transport/src/virtual_path.rs`; v of 0, 0.04, 0.17 and about 0.45: 95, 94, 87 and 73 % of the rate with headers), and it grows
//! by periods of 100 ms there. Left out: that it measures the empty path now and then with less than that carries.

use std::str::FromStr;

use isochrone_model::{Span, Timestamp};

use super::cubic::Cubic;

/// A queue that is aimed at.
const QUEUEING: Span = Span::from_millis(1);
/// One that ends the doubling, at most.
const START_QUEUEING_MAX: Span = Span::from_millis(4);

/// The part of a path's variation that it is not filled by.
const UNFILLED: f64 = 0.6;
/// Where round trips vary by more, several are taken together, for this long.
const VARIATION_MIN: f64 = 0.02;
const PERIOD: Span = Span::from_millis(100);

/// What controls the windows of connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Controller {
    /// The farm's own controller of bulk.
    ShortQueue,
    /// quinn's CUBIC.
    Cubic,
}

impl FromStr for Controller {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        match text {
            "short-queue" => Ok(Self::ShortQueue),
            "cubic" => Ok(Self::Cubic),
            _ => Err(()),
        }
    }
}

/// A sender's window.
#[derive(Clone, Debug)]
pub(super) enum Window {
    ShortQueue(ShortQueue),
    Cubic(Cubic),
}

/// That of the farm's own controller.
#[derive(Clone, Debug)]
pub(super) struct ShortQueue {
    bytes: u64,
    bytes_max: u64,
    is_starting: bool,
    round_ends: Timestamp,
    /// By what part of them round trips vary.
    variation: f64,
}

impl Window {
    pub fn new(controller: Controller, initial: u64, most: u64, variation: f64) -> Self {
        match controller {
            Controller::ShortQueue => Self::ShortQueue(ShortQueue {
                bytes: initial.min(most),
                bytes_max: most,
                is_starting: true,
                round_ends: Timestamp::ZERO,
                variation,
            }),
            Controller::Cubic => Self::Cubic(Cubic::new(initial, most)),
        }
    }

    /// Bytes that may be on their way.
    pub fn bytes(&self) -> u64 {
        match self {
            Self::ShortQueue(window) => window.bytes,
            Self::Cubic(window) => window.window(),
        }
    }

    /// Whether each acknowledged byte makes room for two, at once.
    pub fn grows_with_each(&self) -> bool {
        match self {
            Self::ShortQueue(_) => false,
            Self::Cubic(window) => window.is_slow_start(),
        }
    }

    /// Whether the first acknowledgement of a round makes all the room there will be.
    pub fn grows_by_rounds(&self) -> bool {
        match self {
            Self::ShortQueue(_) => true,
            Self::Cubic(_) => false,
        }
    }

    /// So many bytes were acknowledged, of so many that were under way.
    pub fn grow(
        &mut self,
        now: Timestamp,
        acknowledged: u64,
        under_way: u64,
        round_trip: Span,
        datagram: u64,
    ) {
        match self {
            Self::ShortQueue(window) => {
                if now >= window.round_ends {
                    // Steps of a quarter do not make a whole round trip to the nanosecond.
                    let takes_periods = !window.is_starting && window.variation > VARIATION_MIN;
                    let round = if takes_periods { round_trip.max(PERIOD) } else { round_trip };
                    window.round_ends = now + Span(round.0 / 8 * 7);
                    let more = if window.is_starting { window.bytes } else { window.bytes / 4 };
                    // A window that is not filled does not grow beyond twice what is under way.
                    let most = window.bytes_max.min(under_way.saturating_mul(2)).max(window.bytes);
                    window.bytes = window.bytes.saturating_add(more).min(most);
                }
            }
            Self::Cubic(window) => window.grow(now, acknowledged, round_trip, datagram),
        }
    }

    /// A loss that counts: the first of a round trip.
    pub fn cut(&mut self, now: Timestamp, datagram: u64) {
        match self {
            Self::ShortQueue(_) => {}
            Self::Cubic(window) => window.cut(now, datagram),
        }
    }

    /// What the links may hold, in parts of what a round trip holds, before a window that goes on growing takes notice of it, with a
    /// buffer of so many of these parts.
    pub fn held_max(&self, round_trip: Span, buffer: f64) -> f64 {
        match self {
            Self::ShortQueue(window) if window.is_starting => {
                1.0 + START_QUEUEING_MAX.min(Span(round_trip.0 / 8)).max(Span(QUEUEING.0 / 2)).as_secs_f64()
                    / round_trip.as_secs_f64()
            }
            Self::ShortQueue(_) => 1.0 + QUEUEING.as_secs_f64() / round_trip.as_secs_f64(),
            Self::Cubic(_) => 1.0 + buffer,
        }
    }

    /// Links limit, and hold `held` in a round trip and `held_max` with their buffer; whether that has overflown.
    pub fn level_off(&mut self, now: Timestamp, held: u64, held_max: u64, round_trip: Span) -> bool {
        match self {
            Self::ShortQueue(window) => {
                window.is_starting = false;
                window.round_ends = now + round_trip.max(PERIOD);
                let held = (held as f64 * (1.0 - UNFILLED * window.variation)) as u64;
                let queue = u128::from(held) * u128::from(QUEUEING.0) / u128::from(round_trip.0.max(1));
                let bytes = held.saturating_add(u64::try_from(queue).unwrap_or(u64::MAX));
                window.bytes = bytes.clamp(1, window.bytes_max);
                false
            }
            Self::Cubic(window) => {
                window.level_off(now, held_max);
                true
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_farms_window_doubles_once_a_round_trip_and_then_keeps_a_millisecond() {
        let round_trip = Span::from_millis(40);
        let mut window = Window::new(Controller::ShortQueue, 57_600, 1 << 30, 0.0);
        let mut sizes = Vec::new();
        for step in 4..16 {
            let filled = window.bytes();
            window.grow(Timestamp(step * 10_000_000), 10_000, filled, round_trip, 1_200);
            sizes.push(window.bytes() / 57_600);
        }
        assert_eq!(sizes, [2, 2, 2, 2, 4, 4, 4, 4, 8, 8, 8, 8]);
        window.cut(Timestamp(0), 1_200);
        assert_eq!(window.bytes(), 8 * 57_600, "a few losses do not count");
        assert!((window.held_max(round_trip, 1.0) - 1.1).abs() < 1e-9, "4 of 40 ms");
        assert!(!window.level_off(Timestamp(0), 400_000, 800_000, round_trip), "nothing overflows");
        assert_eq!(window.bytes(), 410_000);
        assert!((window.held_max(round_trip, 1.0) - 1.025).abs() < 1e-9);
        window.grow(Timestamp(100_000_000), 10_000, 300_000, round_trip, 1_200);
        assert_eq!(window.bytes(), 512_500);
        window.grow(Timestamp(200_000_000), 10_000, 300_000, round_trip, 1_200);
        assert_eq!(window.bytes(), 600_000, "twice what is under way");
        window.grow(Timestamp(300_000_000), 10_000, 10_000, round_trip, 1_200);
        assert_eq!(window.bytes(), 600_000, "and never less than before");
        let mut varying = Window::new(Controller::ShortQueue, 57_600, 1 << 30, 0.5);
        varying.level_off(Timestamp(0), 400_000, 800_000, round_trip);
        assert_eq!(varying.bytes(), 287_000, "0.7 of it and a millisecond's");
    }
}
