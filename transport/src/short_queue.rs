//! A congestion controller that keeps the queue at the bottleneck short.
//!
//! CUBIC fills whatever queue a path has before it slows down, and every message on the same path waits behind
//! that queue. Here the window follows from the delay instead: with a round trip of `base` on the empty path
//! and of `now` under way, a window `w` moves `w / now` a second, and `w * (base + allowed) / now` is what moves as
//! much with `allowed` of queueing. A loss cuts the window as ever. `base` is the smallest round trip of the
//! last two epochs; once in each, half a window for one round trip empties the queue, so that it is seen. Where round trips
//! vary by themselves (radio, busy hosts), what they vary by from round to round is allowed as well: otherwise a path whose luckiest
//! packet was much faster than the others would be held for full, and the window would shrink to nothing. What that allows on a steady path is too much, since the queue makes changes
//! of its own (`results/latency/README.md`, beside a GiB). Must never read a clock: quinn tells the time.

use std::any::Any;
use std::time::{Duration, Instant};

use quinn::congestion::{Controller, ControllerMetrics};
use quinn_proto::RttEstimator;

/// How long messages may wait behind bulk at the bottleneck. On a path without any delay of its own this also
/// bounds what is under way: 1 MB at 1 GB/s, about what it takes to keep two processes busy.
const QUEUEING_MAX: Duration = Duration::from_millis(1);

/// How many times the mean change of a round's smallest round trip is allowed beyond that. The smallest of many rounds is some two and a half
/// times that change below the usual one, where changes are normally distributed.
const NOISE_FACTOR: u64 = 3;
/// The same, in halves, for a round that counts as one without a queue.
const CALM_NOISE_HALVES: u64 = 5;
/// Changes up to this are the controller's own doing.
const OWN_NOISE: u64 = 250_000;
/// The part of a new change in the mean.
const NOISE_GAIN_SHIFT: u32 = 2;

/// A queue that ends the doubling of the first windows: half of what is allowed, or on long paths an eighth of the round trip, up to
/// 4 ms. Smaller ones are hosts that were busy: taking one of them for a queue would have the window grow by steps for seconds.
/// (TCP's HyStart has an eighth too, of 4 ms at least.)
const START_QUEUEING_MAX: Duration = Duration::from_millis(4);

/// A round that has delivered so much more a second than the one before, in percent, has met no bottleneck, whatever its delay says: doubling
/// goes on. (BBR leaves its startup by delivery rates as well.)
const FASTER_PERCENT: u64 = 150;

/// Rounds with a full window and no queue after which it grows by a quarter, and by a half.
const CALM_ROUNDS: [u32; 2] = [2, 3];

/// Windows in datagrams: the first, and the smallest after losses. RFC 9002 has 10 for any path; a farm's are known to be of 10 Mbit/s and
/// more, where 48 wait 46 ms at most, on 200 Mbit/s 2.3 ms, and contents of 100 KB spare two round trips of their five.
const INITIAL_DATAGRAMS: u64 = 48;
const DATAGRAMS_MIN: u64 = 4;

/// Far beyond what any path carries; keeps products within 64 bits.
const WINDOW_BYTES_MAX: u64 = 1 << 32;

/// How long a smallest round trip counts at least.
const EPOCH: Duration = Duration::from_secs(5);

/// Rounds in which the delay stays too long although the window shrinks, before that is taken to be the path.
const LONG_ROUNDS_MAX: u32 = 6;

/// The window's part that is left after a loss.
const LOSS_PERCENT: u64 = 70;

/// How fast the window grows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Doubling each round trip until a queue is seen.
    Start,
    /// By half at most each round trip, and only while no queue is seen.
    Steady,
    /// Half a window, for one round trip that begins with the first packet sent since.
    Drain,
}

/// The controller of one path.
#[derive(Debug, Clone)]
pub(crate) struct ShortQueue {
    window_bytes: u64,
    datagram_bytes: u64,
    phase: Phase,
    /// What follows after draining.
    after_drain: Phase,
    /// Packets sent before this are of an earlier round.
    round_start: Option<Instant>,
    /// The smallest round trip of this round, in nanoseconds.
    round_min: Option<u64>,
    /// That of the round before.
    last_min: Option<u64>,
    /// The window when that was noted.
    last_window: u64,
    /// The mean change of it from round to round, in nanoseconds.
    noise: u64,
    /// What the last round with a full window has delivered, in bytes a second.
    last_rate: u64,
    /// Bytes acknowledged in this round while the window was full, and while it was not.
    full_bytes: u64,
    spare_bytes: u64,
    /// Smallest round trips of this epoch and of the one before, in nanoseconds.
    epoch_min: u64,
    previous_min: u64,
    epoch_start: Option<Instant>,
    long_rounds: u32,
    /// Rounds in a row that were full and had no queue.
    calm_rounds: u32,
    /// Packets sent before this were lost from a window that has been cut already.
    cut_at: Option<Instant>,
}

impl ShortQueue {
    pub(crate) fn new(datagram_bytes: u16) -> Self {
        let datagram_bytes = u64::from(datagram_bytes);
        Self {
            window_bytes: INITIAL_DATAGRAMS * datagram_bytes,
            datagram_bytes,
            phase: Phase::Start,
            after_drain: Phase::Start,
            round_start: None,
            round_min: None,
            last_min: None,
            last_window: 0,
            noise: 0,
            last_rate: 0,
            full_bytes: 0,
            spare_bytes: 0,
            epoch_min: u64::MAX,
            previous_min: u64::MAX,
            epoch_start: None,
            long_rounds: 0,
            calm_rounds: 0,
            cut_at: None,
        }
    }

    fn base(&self) -> u64 {
        self.epoch_min.min(self.previous_min)
    }

    fn window_min(&self) -> u64 {
        DATAGRAMS_MIN * self.datagram_bytes
    }

    fn set_window(&mut self, bytes: u64) {
        self.window_bytes = bytes.clamp(self.window_min(), WINDOW_BYTES_MAX);
    }

    /// All packets of a round have been acknowledged, or one sent after it.
    fn end_round(&mut self, now: Instant) {
        let began = self.round_start.replace(now);
        let is_limited_by_sender = self.spare_bytes > self.full_bytes;
        let is_faster = !is_limited_by_sender && self.is_faster(began.map(|began| now - began));
        (self.full_bytes, self.spare_bytes) = (0, 0);
        let Some(round_min) = self.round_min.take() else { return };
        // What this round changes counts from the next one on: a queue that has just come must not excuse itself.
        let allowed = self.allowed();
        let start_queueing = self.start_queueing();
        self.note_change(round_min);
        let queueing = round_min.saturating_sub(self.base());
        match self.phase {
            Phase::Drain => {
                self.phase = self.after_drain;
                self.long_rounds = 0;
                return;
            }
            Phase::Start if queueing > start_queueing && !is_faster => self.phase = Phase::Steady,
            Phase::Start | Phase::Steady => {}
        }
        if self.begins_epoch(now) {
            return;
        }
        if queueing > allowed * 3 / 2 {
            self.long_rounds += 1;
            if self.long_rounds >= LONG_ROUNDS_MAX {
                self.doubt_base(now);
                return;
            }
        } else {
            self.long_rounds = 0;
        }
        let aim = u128::from(self.window_bytes) * u128::from(self.base().saturating_add(allowed))
            / u128::from(round_min.max(1));
        let aim = u64::try_from(aim).unwrap_or(u64::MAX);
        let window = self.window_bytes;
        let is_calm = queueing < QUEUEING_MAX.as_nanos() as u64 / 4 && !is_limited_by_sender;
        self.calm_rounds = if is_calm { self.calm_rounds + 1 } else { 0 };
        if self.phase == Phase::Start {
            if !is_limited_by_sender {
                self.set_window(window * 2);
            }
        } else if aim < window {
            self.set_window(aim.max(window / 2));
        } else if !is_limited_by_sender {
            let most =
                if self.calm_rounds >= CALM_ROUNDS[1] { window + window / 2 } else { window + window / 4 };
            // On a long path the aim is hardly above the window while there is no queue at all.
            let least = match self.calm_rounds {
                // No queue that can be told from what the path varies by: as much more as would vary as little.
                0 if queueing < self.path_noise() * CALM_NOISE_HALVES / 2 => {
                    window
                        + (window as f64 * (self.path_noise() * NOISE_FACTOR) as f64
                            / round_min.max(1) as f64) as u64
                }
                0 => window,
                calm if calm >= CALM_ROUNDS[1] => window + window / 2,
                calm if calm >= CALM_ROUNDS[0] => window + window / 4,
                _ => window + window / 8,
            };
            self.set_window(aim.max(least).min(most));
        }
    }

    /// The queueing, in nanoseconds, that is aimed at: what is allowed, and what the path varies by.
    fn allowed(&self) -> u64 {
        QUEUEING_MAX.as_nanos() as u64 + self.path_noise().saturating_mul(NOISE_FACTOR)
    }

    /// The queueing, in nanoseconds, with which the first windows stop doubling.
    fn start_queueing(&self) -> u64 {
        (self.base() / 8).min(START_QUEUEING_MAX.as_nanos() as u64).max(self.allowed() / 2)
    }

    /// Whether a round of this length has delivered much more a second than the one before.
    fn is_faster(&mut self, took: Option<Duration>) -> bool {
        let nanos = took.map_or(1, |took| took.as_nanos()).max(1);
        let bytes = u128::from(self.full_bytes + self.spare_bytes);
        let rate = u64::try_from(bytes * 1_000_000_000 / nanos).unwrap_or(u64::MAX);
        let last = std::mem::replace(&mut self.last_rate, rate);
        u128::from(rate) * 100 >= u128::from(last) * u128::from(FASTER_PERCENT)
    }

    /// What the path varies by, in nanoseconds.
    fn path_noise(&self) -> u64 {
        self.noise.saturating_sub(OWN_NOISE)
    }

    /// Counts what a round's smallest round trip has changed by while the window has stayed: what changes with the window is a queue. One
    /// change alone counts little.
    fn note_change(&mut self, round_min: u64) {
        let last = self.last_min.replace(round_min);
        let last_window = std::mem::replace(&mut self.last_window, self.window_bytes);
        if let Some(last) = last
            && self.window_bytes.abs_diff(last_window) <= last_window / 32
        {
            let most = QUEUEING_MAX.as_nanos() as u64 + self.noise * 2;
            let change = round_min.abs_diff(last).min(most);
            self.noise = self.noise - (self.noise >> NOISE_GAIN_SHIFT) + (change >> NOISE_GAIN_SHIFT);
        }
    }

    fn ack(&mut self, now: Instant, sent: Instant, bytes: u64, app_limited: bool) {
        let round_trip = now.saturating_duration_since(sent).as_nanos();
        let round_trip = u64::try_from(round_trip).unwrap_or(u64::MAX).max(1);
        let round_start = *self.round_start.get_or_insert(sent);
        if app_limited {
            self.spare_bytes += bytes;
        } else {
            self.full_bytes += bytes;
        }
        self.epoch_min = self.epoch_min.min(round_trip);
        self.round_min = Some(self.round_min.map_or(round_trip, |smallest| smallest.min(round_trip)));
        if sent >= round_start {
            self.end_round(now);
        }
    }

    /// Once in an epoch half a window empties the queue, unless a round of this epoch has found it empty.
    fn begins_epoch(&mut self, now: Instant) -> bool {
        let start = *self.epoch_start.get_or_insert(now);
        if now.saturating_duration_since(start) < EPOCH {
            return false;
        }
        self.previous_min = self.epoch_min;
        self.epoch_min = u64::MAX;
        self.epoch_start = Some(now);
        self.drain(Phase::Steady);
        true
    }

    /// The delay does not come from this window: others fill the queue, or the path has become longer. What one
    /// drained round trip shows is the new base.
    fn doubt_base(&mut self, now: Instant) {
        self.previous_min = u64::MAX;
        self.epoch_min = u64::MAX;
        self.epoch_start = Some(now);
        self.drain(Phase::Start);
    }

    fn drain(&mut self, after: Phase) {
        self.phase = Phase::Drain;
        self.after_drain = after;
        self.long_rounds = 0;
    }
}

impl Controller for ShortQueue {
    fn on_ack(&mut self, now: Instant, sent: Instant, bytes: u64, app_limited: bool, _rtt: &RttEstimator) {
        self.ack(now, sent, bytes, app_limited);
    }

    fn on_congestion_event(
        &mut self,
        now: Instant,
        sent: Instant,
        is_persistent_congestion: bool,
        _lost_bytes: u64,
    ) {
        if is_persistent_congestion {
            self.set_window(0);
            self.phase = Phase::Start;
        }
        if self.cut_at.is_some_and(|cut_at| sent <= cut_at) {
            return;
        }
        self.cut_at = Some(now);
        if self.phase == Phase::Start {
            self.phase = Phase::Steady;
        }
        self.after_drain = Phase::Steady;
        self.set_window(self.window_bytes * LOSS_PERCENT / 100);
    }

    fn on_mtu_update(&mut self, new_mtu: u16) {
        self.datagram_bytes = u64::from(new_mtu);
        self.set_window(self.window_bytes.max(INITIAL_DATAGRAMS * self.datagram_bytes));
    }

    fn window(&self) -> u64 {
        match self.phase {
            Phase::Drain => (self.window_bytes / 2).max(self.window_min()),
            Phase::Start | Phase::Steady => self.window_bytes,
        }
    }

    fn metrics(&self) -> ControllerMetrics {
        let mut metrics = ControllerMetrics::default();
        metrics.congestion_window = self.window();
        metrics
    }

    fn clone_box(&self) -> Box<dyn Controller> {
        Box::new(self.clone())
    }

    fn initial_window(&self) -> u64 {
        INITIAL_DATAGRAMS * self.datagram_bytes
    }

    fn into_any(self: Box<Self>) -> Box<dyn Any> {
        self
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::disallowed_methods, reason = "any time will do for a start")]

    use super::*;

    /// A path on which what is under way beyond its rate waits in a queue; one step is one round.
    struct Path {
        now: Instant,
        base: Duration,
        bytes_per_second: u64,
    }

    impl Path {
        /// Sends a window and takes its acknowledgement; gives the time that its packets queued.
        fn round(&mut self, controller: &mut ShortQueue, is_full: bool) -> Duration {
            let window = Duration::from_nanos(controller.window() * 1_000_000_000 / self.bytes_per_second);
            let queueing = window.saturating_sub(self.base);
            let sent = self.now;
            self.now += self.base + queueing;
            controller.ack(self.now, sent, controller.window(), !is_full);
            queueing
        }
    }

    fn path(base_millis: u64, bytes_per_second: u64) -> (Path, ShortQueue) {
        let base = Duration::from_millis(base_millis);
        (Path { now: Instant::now(), base, bytes_per_second }, ShortQueue::new(1_500))
    }

    #[test]
    fn the_path_is_filled_and_its_queue_stays_short() {
        let (mut path, mut controller) = path(20, 25_000_000);
        for _ in 0..30 {
            path.round(&mut controller, true);
        }
        let (mut queued, mut windows) = (Duration::ZERO, 0);
        for _ in 0..2_000 {
            queued = queued.max(path.round(&mut controller, true));
            windows += controller.window();
        }
        assert!(queued <= QUEUEING_MAX * 2, "{queued:?}");
        assert!(windows / 2_000 > 25_000_000 / 50 * 9 / 10, "{}", windows / 2_000);
    }

    #[test]
    fn a_path_whose_delay_varies_is_not_held_for_full() {
        // 10 MB/s and 10 to 25 ms by turns, as over a radio link, so that 100 to 250 kB fill it; its luckiest packet took 10 ms.
        let (mut path, mut controller) = path(10, 10_000_000);
        let (mut delay, mut windows) = (0_u64, 0);
        for round in 0..400 {
            delay = (delay + 7) % 16;
            path.base = Duration::from_millis(10 + delay);
            path.round(&mut controller, true);
            if round >= 100 {
                windows += controller.window() / 300;
            }
        }
        assert!(windows > 100_000, "{windows}");
        assert!(windows < 500_000, "and no long queue either: {windows}");
    }

    #[test]
    fn delays_that_vary_do_not_end_the_first_growth() {
        // 37 to 44 ms by turns at 100 MB/s: 4 MB. The first round is the luckiest.
        let (mut path, mut controller) = path(37, 100_000_000);
        let mut rounds = 0;
        while controller.window() < 2_000_000 {
            path.base = Duration::from_millis(37 + rounds * 5 % 8);
            path.round(&mut controller, true);
            rounds += 1;
        }
        assert!(rounds <= 7, "{rounds}");
    }

    #[test]
    fn an_early_loss_is_made_up_for_where_delays_vary() {
        // 37 to 44 ms at 100 MB/s, and a loss in the second round.
        let (mut path, mut controller) = path(37, 100_000_000);
        let mut rounds = 0;
        while controller.window() < 2_000_000 && rounds < 200 {
            path.base = Duration::from_millis(37 + rounds * 5 % 8);
            path.round(&mut controller, true);
            if rounds == 1 {
                controller.on_congestion_event(path.now, path.now, false, 1_500);
            }
            rounds += 1;
        }
        assert!(rounds <= 50, "{rounds}");
    }

    #[test]
    fn a_longer_path_and_a_faster_one_are_found() {
        let (mut path, mut controller) = path(10, 25_000_000);
        for _ in 0..200 {
            path.round(&mut controller, true);
        }
        path.base = Duration::from_millis(80);
        for _ in 0..60 {
            path.round(&mut controller, true);
        }
        assert!(controller.window() > 25_000_000 / 1_000 * 80 * 8 / 10, "{}", controller.window());
        path.bytes_per_second *= 4;
        for _ in 0..60 {
            path.round(&mut controller, true);
        }
        assert!(controller.window() > 100_000_000 / 1_000 * 80 * 8 / 10, "{}", controller.window());
    }

    #[test]
    fn a_busy_host_does_not_end_the_first_growth_and_a_wrong_end_is_made_up_for() {
        // 20 ms, 100 MB/s: 2 MB. A host that adds 2 ms to every round trip but the first of them.
        let (mut path, mut controller) = path(20, 100_000_000);
        path.round(&mut controller, true);
        path.base = Duration::from_millis(22);
        let mut rounds = 0;
        while controller.window() < 1_000_000 {
            path.round(&mut controller, true);
            rounds += 1;
        }
        assert!(rounds <= 8, "{rounds}");
        // One that has left the first growth too early.
        let mut early = ShortQueue::new(1_500);
        early.phase = Phase::Steady;
        path.base = Duration::from_millis(20);
        let mut rounds = 0;
        while early.window() < 1_000_000 {
            path.round(&mut early, true);
            rounds += 1;
        }
        assert!(rounds <= 15, "{rounds}");
    }

    #[test]
    fn a_window_that_is_not_used_does_not_grow() {
        let (mut path, mut controller) = path(10, 25_000_000);
        let before = controller.window();
        for _ in 0..10 {
            path.round(&mut controller, false);
        }
        assert_eq!(controller.window(), before);
    }

    #[test]
    fn losses_of_one_window_count_once() {
        let (mut path, mut controller) = path(10, 25_000_000);
        for _ in 0..20 {
            path.round(&mut controller, true);
        }
        let (before, sent) = (controller.window(), path.now);
        path.now += path.base;
        for _ in 0..5 {
            controller.on_congestion_event(path.now, sent, false, 1_500);
        }
        assert_eq!(controller.window(), before * LOSS_PERCENT / 100);
        controller.on_congestion_event(path.now + path.base, path.now, true, 1_500);
        assert_eq!(controller.window(), DATAGRAMS_MIN * 1_500);
    }
}
