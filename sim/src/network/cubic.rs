//! The congestion window of a QUIC sender: slow start and CUBIC as in quinn-proto 0.11.19, `src/congestion/cubic.rs`,
//! stepped a few times a round trip in place of once an acknowledgement.
//!
//! quinn's constants: beta = 0.7, C = 0.4 (its `BETA_CUBIC` and `C`, after RFC 8312), initial window
//! 14720 clamped to 2 to 10 datagrams of 1200 bytes = 12,000 bytes, never below 2 datagrams. In slow start the window grows by the bytes
//! acknowledged; in avoidance towards C (t - K)^3 + W_max, or what a Reno sender would have when that is more, by at most a datagram for
//! each acknowledged one. A loss (one a round trip) cuts the window to beta W; quinn applies fast convergence. An idle connection keeps its window:
//! quinn ignores acknowledgements while the application limits, and never resets.

use isochrone_model::{Span, Timestamp};

use crate::cluster::mathematics::cbrt;

const BETA: f64 = 0.7;
const C: f64 = 0.4;

/// A sender's window.
#[derive(Clone, Debug)]
pub(super) struct Cubic {
    window: u64,
    slow_start_until: u64,
    window_max: u64,
    /// Of what the peer and this side buffer.
    w_max: f64,
    k: f64,
    epoch: Option<Timestamp>,
}

impl Cubic {
    pub fn new(initial_window: u64, window_max: u64) -> Self {
        Self {
            window: initial_window.min(window_max),
            slow_start_until: u64::MAX,
            window_max,
            w_max: 0.0,
            k: 0.0,
            epoch: None,
        }
    }

    /// Bytes that may be on their way.
    pub fn window(&self) -> u64 {
        self.window
    }

    /// Whether it grows by what is acknowledged.
    pub fn is_slow_start(&self) -> bool {
        self.window < self.slow_start_until
    }

    /// So many bytes were acknowledged while the window was the limit.
    pub fn grow(&mut self, now: Timestamp, acknowledged: u64, round_trip: Span, datagram: u64) {
        let room = self.window_max.saturating_sub(self.window);
        if self.is_slow_start() {
            self.window += acknowledged.min(room);
            return;
        }
        let epoch = *self.epoch.get_or_insert_with(|| {
            (self.w_max, self.k) = (self.window as f64, 0.0);
            now
        });
        let datagram = datagram as f64;
        let (since, round_trip) = (now.since(epoch).as_secs_f64(), round_trip.as_secs_f64());
        let w_max = self.w_max / datagram;
        let offset = since + round_trip - self.k;
        let cubic = (C * offset * offset * offset + w_max) * datagram;
        let reno = (w_max * BETA + 3.0 * (1.0 - BETA) / (1.0 + BETA) * since / round_trip) * datagram;
        let target = cubic.max(reno) as u64;
        self.window += target.saturating_sub(self.window).min(acknowledged).min(room);
    }

    /// A loss that counts: the first of a round trip.
    pub fn cut(&mut self, now: Timestamp, datagram: u64) {
        let window = self.window as f64;
        self.w_max = if window < self.w_max { window * (1.0 + BETA) / 2.0 } else { window };
        self.window = ((window * BETA) as u64).max(2 * datagram);
        self.slow_start_until = self.window;
        self.k = cbrt(self.w_max / datagram as f64 * (1.0 - BETA) / C);
        self.epoch = Some(now);
    }

    /// The links limit, and what they and their buffer hold is `held_max`: the window goes up and down between beta of it and all
    /// of it, and stays at the middle for the model.
    pub fn level_off(&mut self, now: Timestamp, held_max: u64) {
        self.w_max = held_max as f64;
        self.window = ((self.w_max * (1.0 + BETA) / 2.0) as u64).min(self.window_max).max(1);
        self.slow_start_until = self.window;
        self.k = 0.0;
        self.epoch = Some(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROUND_TRIP: Span = Span::from_millis(100);

    #[test]
    fn slow_start_doubles_and_a_loss_cuts_to_seven_tenths() {
        let mut cubic = Cubic::new(12_000, u64::MAX);
        for _ in 0..5 {
            cubic.grow(Timestamp(0), cubic.window(), ROUND_TRIP, 1_200);
        }
        assert_eq!(cubic.window(), 32 * 12_000);
        cubic.cut(Timestamp(0), 1_200);
        assert_eq!(cubic.window(), 268_800);
        // K = cbrt(320 x 0.3 / 0.4) = 6.2 s later the window is back; 4,000 bytes below, cbrt(4,000 / 1,200 / 0.4) = 2.0 s before.
        let mut now = 0;
        let mut seconds = 0.0;
        while cubic.window() < 380_000 {
            now += ROUND_TRIP.0;
            seconds += 0.1;
            cubic.grow(Timestamp(now), cubic.window(), ROUND_TRIP, 1_200);
        }
        assert!((seconds - 4.1_f64).abs() < 0.15, "{seconds}");
    }

    #[test]
    fn two_losses_converge_fast_and_the_floor_is_two_datagrams() {
        let mut cubic = Cubic::new(12_000, u64::MAX);
        cubic.cut(Timestamp(0), 1_200);
        cubic.cut(Timestamp(1), 1_200);
        assert!((cubic.w_max - 8_400.0 * 0.85).abs() < 1e-6);
        for _ in 0..10 {
            cubic.cut(Timestamp(2), 1_200);
        }
        assert_eq!(cubic.window(), 2_400);
        let mut bounded = Cubic::new(12_000, 20_000);
        bounded.grow(Timestamp(0), 12_000, ROUND_TRIP, 1_200);
        assert_eq!(bounded.window(), 20_000);
    }
}
