//! A congestion controller that keeps the queue at the bottleneck short.
//!
//! CUBIC fills whatever queue a path has before it slows down, and every message on the same path waits behind
//! that queue. Here the window follows from the delay instead. In a round trip of `mean` on average a window `w` moves `w / mean` a
//! second, and `w * (empty + allowed) / mean` is what moves as much with `allowed` of queueing, where `empty` is the mean round trip while
//! nothing queues. That is measured: every few seconds less than the path carries is sent for some rounds. It is a mean and not
//! a minimum so that a path whose round trips vary by themselves (radio, busy hosts) is not held for full because its luckiest packet
//! was faster than the others; and what a path varies by is taken from those rounds alone, since a queue of the controller's own varies too.
//! A loss cuts the window as ever. BBR (draft-ietf-ccwg-bbr) and Copa (Arun and Balakrishnan, NSDI 2018) empty the queue from time to time as well.
//!
//! [`ShortQueue`] is pure: it is told what was acknowledged and lost, and when. Must never read a clock.

use std::any::Any;
use std::time::Instant;

use isochrone_model::Timestamp;
use quinn::congestion::{Controller, ControllerMetrics};
use quinn_proto::RttEstimator;

/// How long messages may wait behind bulk at the bottleneck. On a path without any delay of its own this also
/// bounds what is under way: 1 MB at 1 GB/s, about what it takes to keep two processes busy.
const QUEUEING_MAX: u64 = 1_000_000;

/// A queue that ends the doubling of the first windows: half of what is allowed, or on long paths an eighth of the round trip, up to
/// 4 ms. Smaller ones are hosts that were busy: taking one of them for a queue would have the window grow by steps for seconds.
/// (TCP's HyStart has an eighth too, of 4 ms at least.)
const START_QUEUEING_MAX: u64 = 4_000_000;

/// A round that has delivered so much more a second than the one before, in percent, has met no bottleneck, whatever its delay says: doubling
/// goes on. (BBR leaves its startup by delivery rates as well.)
const FASTER_PERCENT: u64 = 150;

/// Windows in datagrams: the first, and the smallest after losses. RFC 9002 has 10 for any path; a farm's are known to be of 10 Mbit/s and
/// more, where 48 wait 46 ms at most, on 200 Mbit/s 2.3 ms, and contents of 100 KB spare two round trips of their five.
const INITIAL_DATAGRAMS: u64 = 48;
const DATAGRAMS_MIN: u64 = 4;

/// Far beyond what any path carries; keeps products within 64 bits.
const WINDOW_BYTES_MAX: u64 = 1 << 32;

/// How long the empty path's round trip counts: so many nanoseconds, and so many round trips.
const EPOCH: u64 = 5_000_000_000;
const EPOCH_ROUNDS: u64 = 50;
/// After so many round trips it is measured again if single ones were far below it.
const DOUBT_ROUNDS: u64 = 20;

/// The part of what the path carries that is sent while it is measured, in percent.
const MEASURE_PERCENT: u64 = 92;
/// How many rounds in a row tell a steady path by following one like them (more where round trips have swayed, since some are alike by
/// chance), and for how long it is measured else: the longer of so many nanoseconds and so many round trips.
const MEASURE_AGREEING: u32 = 1;
const MEASURE_AGREEING_SWAYING: u32 = 3;
const MEASURE_NANOS_MAX: u64 = 200_000_000;
const MEASURE_ROUNDS_MAX: u64 = 7;
/// Rounds are alike when their means differ by no more.
const MEASURE_ERROR: u64 = QUEUEING_MAX / 4;

/// Most rounds that are taken together where single ones vary.
const PERIOD_ROUNDS_MAX: u32 = 16;
const PERIOD_NANOS_MAX: u64 = 100_000_000;

/// Periods in which the delay stays too long although the window shrinks, before that is taken to be the path.
const LONG_PERIODS_MAX: u32 = 5;

/// Periods in a row without a queue after which more than the aim is dared, and after which a queue that was met before counts no more.
const CALM_PERIODS: u32 = 2;
const CALM_PERIODS_BEYOND: u32 = 4;
const CALM_PERIODS_FAR: u32 = 6;

/// The window's part that is left after a loss, in percent, and after one that no queue came before.
const LOSS_PERCENT: u64 = 70;
const STRAY_LOSS_PERCENT: u64 = 85;

/// Losses of so little of a window are the path's own: radio, or a busy host. (BBR's second version has 2 % as well.)
const STRAY_LOSS_PERCENT_MAX: u64 = 2;

/// Bursts of this sender make round trips fall by so much from the last packet of one to the first of the next: 2 ms of pacing at 5/4 of
/// the rate.
const OWN_BURST: u64 = 2_500_000;

/// Windows so many times the first one's are small beside what a farm's paths carry: what round trips sway by then is the path's.
const SURELY_FREE_WINDOWS: u64 = 4;

/// Losses that end the first growth.
const START_LOSSES_MAX: u32 = 2;

/// How fast the window grows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Doubling each round trip until a queue is seen.
    Start,
    /// Less than the path carries, until the queue that there was has left it.
    Drain,
    /// As much, while the path is measured.
    Measure,
    /// Half of the way back, so that what was left out does not come as one burst.
    Refill,
    /// By the delay.
    Cruise,
}

/// What a round or some of them have told.
#[derive(Debug, Clone, Copy, Default)]
struct Told {
    bytes: u64,
    /// Those of them whose acknowledgement was not late.
    timed_bytes: u64,
    /// Round trips times such bytes.
    weighted: u128,
    smallest: Option<u64>,
    /// Bytes that were acknowledged while the sender left room in the window.
    spare_bytes: u64,
    /// The most that was under way at one time.
    under_way_bytes: u64,
}

impl Told {
    fn add(&mut self, other: &Self) {
        self.bytes += other.bytes;
        self.timed_bytes += other.timed_bytes;
        self.weighted += other.weighted;
        self.spare_bytes += other.spare_bytes;
        self.under_way_bytes = self.under_way_bytes.max(other.under_way_bytes);
        self.smallest = match (self.smallest, other.smallest) {
            (Some(own), Some(other)) => Some(own.min(other)),
            (own, other) => own.or(other),
        };
    }

    /// The mean round trip, in nanoseconds.
    fn mean(&self) -> Option<u64> {
        let mean = self.weighted.checked_div(u128::from(self.timed_bytes))?;
        Some(u64::try_from(mean).unwrap_or(u64::MAX).max(1))
    }

    fn is_limited_by_sender(&self) -> bool {
        self.spare_bytes > self.bytes / 2
    }
}

/// What round trips sway by, after a round in which they fell by so much from one to the next: a queue of this sender alone falls slowly.
fn swayed(sway: u64, fall: u64) -> u64 {
    let beyond = fall.saturating_sub(OWN_BURST);
    if beyond > sway { sway.midpoint(beyond) } else { sway - sway / 4 + beyond / 4 }
}

/// The controller of one path. Round trips and rates are in nanoseconds and bytes a second.
#[derive(Debug, Clone)]
pub(crate) struct ShortQueue {
    window_bytes: u64,
    datagram_bytes: u64,
    phase: Phase,
    /// What follows once the path is measured.
    after_measure: Phase,
    /// The window of a path that is being drained and measured.
    low_bytes: u64,
    /// The acknowledgement that is being taken in: when its latest packet was sent, and its bytes.
    latest_sent: Option<Timestamp>,
    acked: Told,
    /// Packets sent before this are of an earlier round.
    round_start: Option<Timestamp>,
    round: Told,
    /// Rounds taken together, and how many.
    period: Told,
    period_rounds: u32,
    /// What the last full round has delivered.
    last_rate: u64,
    /// The smallest round trip since the path was last measured, and the one before that.
    smallest: u64,
    previous_smallest: u64,
    /// The mean round trip of the empty path, once that was measured, and the mean deviation of single rounds from it.
    empty: Option<u64>,
    deviation: u64,
    measure: Measure,
    measured_at: Timestamp,
    /// The last acknowledgement's round trip, and the largest fall from one to the next in this round.
    last_round_trip: u64,
    fall: u64,
    /// What single round trips sway by on the empty path, beyond what bursts of this sender do.
    sway: u64,
    /// Rounds of the first growth that met no bottleneck.
    free: Told,
    long_periods: u32,
    calm_periods: u32,
    /// The last window with which there was a queue or a loss.
    knee_bytes: u64,
    /// What the last period was delayed by beyond the empty path.
    queueing: u64,
    /// The last measurement found the path shorter than the one before: there may be a queue still.
    is_unsettled: bool,
    /// The last round of the first growth seemed to meet a bottleneck.
    is_suspected: bool,
    /// Losses in the first growth.
    start_losses: u32,
    /// Packets sent before this were lost from a window that has been cut already.
    cut_at: Option<Timestamp>,
}

/// Rounds of the empty path.
#[derive(Debug, Clone, Copy, Default)]
struct Measure {
    told: Told,
    rounds: u32,
    /// Of the rounds' means from one to the next.
    changes: u64,
    /// Of them, the last ones in a row that were small.
    agreeing: u32,
    last: Option<u64>,
}

impl ShortQueue {
    pub(crate) fn new(datagram_bytes: u16) -> Self {
        let datagram_bytes = u64::from(datagram_bytes);
        Self {
            window_bytes: INITIAL_DATAGRAMS * datagram_bytes,
            datagram_bytes,
            phase: Phase::Start,
            after_measure: Phase::Cruise,
            low_bytes: 0,
            latest_sent: None,
            acked: Told::default(),
            round_start: None,
            round: Told::default(),
            period: Told::default(),
            period_rounds: 0,
            last_rate: 0,
            smallest: u64::MAX,
            previous_smallest: u64::MAX,
            empty: None,
            deviation: 0,
            measure: Measure::default(),
            measured_at: Timestamp::ZERO,
            last_round_trip: 0,
            fall: 0,
            sway: 0,
            free: Told::default(),
            long_periods: 0,
            calm_periods: 0,
            knee_bytes: u64::MAX,
            queueing: 0,
            is_unsettled: false,
            is_suspected: false,
            start_losses: 0,
            cut_at: None,
        }
    }

    /// Bytes that may be under way.
    pub(crate) fn window(&self) -> u64 {
        match self.phase {
            Phase::Drain | Phase::Measure => self.low_bytes.min(self.window_bytes).max(self.window_min()),
            Phase::Refill => {
                self.low_bytes.midpoint(self.window_bytes).min(self.window_bytes).max(self.window_min())
            }
            Phase::Start | Phase::Cruise => self.window_bytes,
        }
    }

    pub(crate) fn initial_window(&self) -> u64 {
        INITIAL_DATAGRAMS * self.datagram_bytes
    }

    /// Datagrams have another size from now on.
    pub(crate) fn set_datagram_bytes(&mut self, bytes: u16) {
        self.datagram_bytes = u64::from(bytes);
        self.set_window(self.window_bytes.max(self.initial_window()));
    }

    /// A packet of an acknowledgement that is being taken in.
    pub(crate) fn acked(&mut self, sent: Timestamp, bytes: u64, is_limited_by_sender: bool) {
        self.acked.bytes += bytes;
        if is_limited_by_sender {
            self.acked.spare_bytes += bytes;
        }
        self.latest_sent = self.latest_sent.max(Some(sent));
    }

    /// The acknowledgement was taken in whole; so much is still under way.
    pub(crate) fn end_acks(&mut self, now: Timestamp, in_flight_bytes: u64) {
        let mut acked = std::mem::take(&mut self.acked);
        acked.under_way_bytes = in_flight_bytes + acked.bytes;
        let Some(sent) = self.latest_sent.take() else { return };
        let round_trip = now.since(sent).0.max(1);
        self.smallest = self.smallest.min(round_trip);
        // That of one datagram alone may have waited for another, up to 25 ms.
        if acked.bytes > self.datagram_bytes {
            acked.timed_bytes = acked.bytes;
            acked.weighted = u128::from(round_trip) * u128::from(acked.bytes);
            acked.smallest = Some(round_trip);
            self.fall = self.fall.max(self.last_round_trip.saturating_sub(round_trip));
            self.last_round_trip = round_trip;
        }
        let round_start = *self.round_start.get_or_insert(sent);
        self.round.add(&acked);
        if sent >= round_start {
            self.end_round(now);
        }
    }

    /// A packet that was sent at this time is lost.
    pub(crate) fn lost(&mut self, now: Timestamp, sent: Timestamp, bytes: u64, is_persistent: bool) {
        if is_persistent {
            // Everything under way for a long time was lost: whatever was known of the path is of another one.
            let datagram_bytes = self.datagram_bytes;
            *self = Self::new(u16::try_from(datagram_bytes).unwrap_or(u16::MAX));
            self.set_window(0);
            self.cut_at = Some(now);
            return;
        }
        if self.cut_at.is_some_and(|cut_at| sent <= cut_at) {
            return;
        }
        let is_stray = self.phase == Phase::Start || self.queueing <= self.allowed() * 3 / 2;
        let few = (self.window() * STRAY_LOSS_PERCENT_MAX / 100)
            .max(self.datagram_bytes * 2)
            .min(self.window() / 8);
        // What there is of a queue is this controller's to shorten, and it does so every round.
        if bytes <= few {
            return;
        }
        self.cut_at = Some(now);
        self.after_measure = Phase::Cruise;
        self.calm_periods = 0;
        let mut percent = LOSS_PERCENT;
        if self.phase == Phase::Start {
            // One alone says little of the path: doubling goes on from less.
            self.start_losses += 1;
            if self.start_losses >= START_LOSSES_MAX {
                self.begin_measuring(now, Phase::Cruise);
            }
        } else if is_stray {
            percent = STRAY_LOSS_PERCENT;
        }
        self.knee_bytes = self.window_bytes;
        self.set_window(self.window_bytes * percent / 100);
    }

    fn base(&self) -> u64 {
        self.smallest.min(self.previous_smallest)
    }

    fn window_min(&self) -> u64 {
        DATAGRAMS_MIN * self.datagram_bytes
    }

    fn set_window(&mut self, bytes: u64) {
        self.window_bytes = bytes.clamp(self.window_min(), WINDOW_BYTES_MAX);
    }

    /// All packets of a round have been acknowledged, or one sent after it.
    fn end_round(&mut self, now: Timestamp) {
        let began = self.round_start.replace(now);
        let round = std::mem::take(&mut self.round);
        let fall = std::mem::take(&mut self.fall);
        // A sender that has little to send learns nothing of a path that carries much.
        if round.is_limited_by_sender() && round.bytes < self.window() / 4 {
            return;
        }
        let Some(mean) = round.mean() else {
            // The first acknowledgement ends the first round, which says nothing against a larger window.
            if self.phase == Phase::Start && !round.is_limited_by_sender() {
                self.set_window(self.window_bytes * 2);
            }
            return;
        };
        let took = began.map_or(1, |began| now.since(began).0).max(1);
        let rate = u128::from(round.bytes) * 1_000_000_000 / u128::from(took);
        let rate = u64::try_from(rate).unwrap_or(u64::MAX);
        match self.phase {
            Phase::Start => self.double(now, &round, rate, fall),
            Phase::Drain => {
                self.phase = Phase::Measure;
                self.measure = Measure::default();
            }
            Phase::Measure => self.measure(now, &round, mean, fall),
            Phase::Refill => self.phase = self.after_measure,
            Phase::Cruise => self.cruise(now, &round),
        }
        if !round.is_limited_by_sender() {
            self.last_rate = rate;
        }
    }

    /// One round of the first ones.
    fn double(&mut self, now: Timestamp, round: &Told, rate: u64, fall: u64) {
        let (Some(mean), Some(smallest)) = (round.mean(), round.smallest) else { return };
        let is_limited = round.is_limited_by_sender();
        let is_faster = u128::from(rate) * 100 >= u128::from(self.last_rate) * u128::from(FASTER_PERCENT);
        let enough = (self.base() / 8).min(START_QUEUEING_MAX).max(self.allowed() / 2) + self.sway;
        let usual = self.free.mean().unwrap_or(mean);
        // A sender that waits for credit now and then lets the queue run empty, so that the smallest says nothing.
        let is_queueing =
            smallest.saturating_sub(self.base()) > enough || mean.saturating_sub(usual) > enough * 2;
        if is_queueing && !is_faster && self.sways() && !self.is_suspected {
            // One round says little where round trips sway; the rate stays that of the rounds before it.
            self.is_suspected = true;
            self.last_rate = rate.max(self.last_rate);
            if !is_limited {
                self.set_window(self.window_bytes + self.window_bytes / 2);
            }
            return;
        }
        self.is_suspected = false;
        if is_queueing && !is_faster {
            self.last_rate = rate.max(self.last_rate);
            self.set_window(self.carried().max(round.bytes / 4).max(self.initial_window() / 2));
            self.knee_bytes = self.window_bytes;
            self.begin_measuring(now, Phase::Cruise);
            return;
        }
        self.free.add(round);
        if !is_limited {
            if !is_queueing || self.window_bytes <= SURELY_FREE_WINDOWS * self.initial_window() {
                self.sway = swayed(self.sway, fall);
            }
            self.set_window(self.window_bytes * 2);
        } else if !is_queueing {
            // Contents a little larger than the window leave most of a round with room, and would take a round trip more for ever. (Linux
            // doubles what was under way, too.)
            let used = round.under_way_bytes.min(self.window_bytes);
            self.set_window(self.window_bytes.max(used * 2));
        }
    }

    /// What is under way where the last full round's rate meets hardly any queue.
    fn carried(&self) -> u64 {
        let free = self.free.mean().or(self.empty).unwrap_or(self.base());
        let shortest = self.base().saturating_add(QUEUEING_MAX / 4);
        // What the rounds had on average is of the path where it sways, and else a queue of this sender's.
        let empty = if self.sways() { free.max(shortest) } else { free.min(shortest) };
        let bytes = u128::from(self.last_rate) * u128::from(empty);
        u64::try_from(bytes / 1_000_000_000).unwrap_or(u64::MAX)
    }

    fn begin_measuring(&mut self, now: Timestamp, after: Phase) {
        let carried = self.carried().max(self.window_bytes / 4);
        self.low_bytes = carried.min(self.window_bytes) * MEASURE_PERCENT / 100;
        self.phase = Phase::Drain;
        self.after_measure = after;
        self.measured_at = now;
        self.previous_smallest = self.smallest;
        self.smallest = u64::MAX;
        self.long_periods = 0;
        self.period = Told::default();
        self.period_rounds = 0;
    }

    /// One round of the empty path. Rounds that agree are a steady path, whatever those before them were: the rest of a queue. Where none
    /// agree, the path varies, and all of them count.
    fn measure(&mut self, now: Timestamp, round: &Told, mean: u64, fall: u64) {
        // What the first of these rounds finds may be the rest of a queue.
        if self.measure.rounds > 0 && !round.is_limited_by_sender() {
            self.sway = swayed(self.sway, fall);
        }
        let enough = if self.sways() { MEASURE_AGREEING_SWAYING } else { MEASURE_AGREEING };
        let measure = &mut self.measure;
        measure.told.add(round);
        measure.rounds += 1;
        if let Some(last) = measure.last.replace(mean) {
            measure.changes += last.abs_diff(mean);
            measure.agreeing = if last.abs_diff(mean) <= MEASURE_ERROR { measure.agreeing + 1 } else { 0 };
        }
        if measure.agreeing >= enough {
            self.is_unsettled = self.empty.is_some_and(|before| mean + MEASURE_ERROR < before);
            self.empty = Some(mean);
            self.deviation = 0;
            self.sway = 0;
        } else if now.since(self.measured_at).0 >= MEASURE_NANOS_MAX.max(mean * MEASURE_ROUNDS_MAX) {
            self.is_unsettled = false;
            self.empty = measure.told.mean();
            // The mean change of normally distributed values is the square root of two times their mean deviation.
            // A path that becomes longer meanwhile seems to vary by that.
            self.deviation = (measure.changes * 5 / 7 / u64::from(measure.rounds.max(2) - 1)).min(mean / 3);
        } else {
            return;
        }
        self.free = Told::default();
        self.phase = Phase::Refill;
        self.measured_at = now;
    }

    /// Whether single round trips sway by more than what is allowed to queue.
    fn sways(&self) -> bool {
        self.sway > QUEUEING_MAX
    }

    /// How many rounds are taken together: as many as make their mean about as exact as it has to be.
    fn period_rounds(&self) -> u32 {
        let ratio = self.deviation / MEASURE_ERROR;
        let most = PERIOD_NANOS_MAX / self.empty.unwrap_or(PERIOD_NANOS_MAX).max(1);
        let most = u32::try_from(most).unwrap_or(u32::MAX).clamp(1, PERIOD_ROUNDS_MAX);
        u32::try_from(ratio.saturating_mul(ratio)).unwrap_or(u32::MAX).clamp(1, most)
    }

    /// The queueing that is aimed at: what is allowed, and on a path that varies as much as it varies by.
    fn allowed(&self) -> u64 {
        QUEUEING_MAX + self.deviation * 2
    }

    fn cruise(&mut self, now: Timestamp, round: &Told) {
        self.period.add(round);
        self.period_rounds += 1;
        if self.period_rounds < self.period_rounds() {
            return;
        }
        let period = std::mem::take(&mut self.period);
        self.period_rounds = 0;
        let Some(mean) = period.mean() else { return };
        let is_limited = period.is_limited_by_sender();
        let empty = match self.empty {
            // A queue only ever adds to a round trip: so the path has become shorter, or was measured too long.
            Some(empty) if mean + self.deviation + MEASURE_ERROR < empty => empty.midpoint(mean),
            Some(empty) => empty,
            None => mean,
        };
        self.empty = Some(empty);
        let allowed = self.allowed();
        self.queueing = mean.saturating_sub(empty);
        if self.queueing > allowed * 3 / 2 {
            self.long_periods += 1;
            if self.long_periods >= LONG_PERIODS_MAX {
                self.doubt_base(now);
                return;
            }
        } else {
            self.long_periods = 0;
        }
        let since = now.since(self.measured_at).0;
        // The path has become shorter while it was measured, or just after.
        let is_too_long = empty > self.base() + self.base() / 8 + self.sway * 3 / 2 + QUEUEING_MAX;
        if (since > EPOCH.max(mean * EPOCH_ROUNDS) && !is_limited)
            || ((is_too_long || self.is_unsettled) && since > mean * DOUBT_ROUNDS)
        {
            self.begin_measuring(now, Phase::Cruise);
            return;
        }
        let window = self.window_bytes;
        let aim = u128::from(window) * u128::from(empty + allowed) / u128::from(mean);
        let aim = u64::try_from(aim).unwrap_or(u64::MAX);
        // Half of what one round alone has measured is of the window before.
        let aim = if self.period_rounds() > 1 { aim } else { window.midpoint(aim) };
        let is_calm = self.queueing < allowed / 4 && !is_limited;
        self.calm_periods = if is_calm { self.calm_periods + 1 } else { 0 };
        if self.queueing > allowed {
            self.knee_bytes = window;
        }
        if aim < window {
            self.set_window(aim.max(window / 2));
        } else if !is_limited {
            let dared = match self.calm_periods {
                0..CALM_PERIODS => window,
                CALM_PERIODS..CALM_PERIODS_BEYOND => (window + window / 4).min(self.knee_bytes.max(window)),
                CALM_PERIODS_BEYOND..CALM_PERIODS_FAR => window + window / 8,
                _ => window + window / 4,
            };
            self.set_window(aim.min(window + window / 2).max(dared));
        }
    }

    /// The delay does not come from this window: others fill the queue, or the path has become longer. What is
    /// measured with less than the path seems to carry is the new base.
    fn doubt_base(&mut self, now: Timestamp) {
        self.begin_measuring(now, Phase::Start);
        self.start_losses = 0;
        self.previous_smallest = u64::MAX;
        self.empty = None;
        self.knee_bytes = u64::MAX;
    }
}

/// The controller as quinn drives it.
#[derive(Debug, Clone)]
pub(crate) struct BulkController {
    /// The times of the controller count from here.
    start: Instant,
    controller: ShortQueue,
}

impl BulkController {
    pub(crate) fn new(start: Instant, datagram_bytes: u16) -> Self {
        Self { start, controller: ShortQueue::new(datagram_bytes) }
    }

    fn at(&self, at: Instant) -> Timestamp {
        let nanos = at.saturating_duration_since(self.start).as_nanos();
        Timestamp(u64::try_from(nanos).unwrap_or(u64::MAX))
    }
}

impl Controller for BulkController {
    fn on_ack(&mut self, _now: Instant, sent: Instant, bytes: u64, app_limited: bool, _rtt: &RttEstimator) {
        self.controller.acked(self.at(sent), bytes, app_limited);
    }

    fn on_end_acks(&mut self, now: Instant, in_flight: u64, _app_limited: bool, _largest: Option<u64>) {
        self.controller.end_acks(self.at(now), in_flight);
    }

    fn on_congestion_event(
        &mut self,
        now: Instant,
        sent: Instant,
        is_persistent_congestion: bool,
        lost_bytes: u64,
    ) {
        self.controller.lost(self.at(now), self.at(sent), lost_bytes, is_persistent_congestion);
    }

    fn on_mtu_update(&mut self, new_mtu: u16) {
        self.controller.set_datagram_bytes(new_mtu);
    }

    fn window(&self) -> u64 {
        self.controller.window()
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
        self.controller.initial_window()
    }

    fn into_any(self: Box<Self>) -> Box<dyn Any> {
        self
    }
}

#[cfg(test)]
mod tests;
