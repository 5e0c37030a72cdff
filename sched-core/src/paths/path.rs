//! One path: what was measured of it, and what a transfer over it is expected to take.

use isochrone_model::{BytesPerSecond, PathSample, RoundTripStatus, Span, Timestamp, TransferParts};

use super::slow_start::{apparent_nanos, fit_nanos, waits};
use super::window::Window;
use crate::distribution::DistributionSnapshot;

/// Transfers below this many bytes tell of latency, not of rate.
const RATE_SAMPLE_BYTES_MIN: u64 = 64 << 10;
/// Rate assumed until one is measured, as nanoseconds for 1 MiB: what one QUIC connection carries on a fast network.
pub const PRIOR_NANOS_PER_MEBIBYTE: u64 = 1_048_576;
/// The congestion window that a connection begins with: ten datagrams of 1,200 bytes (quinn's CUBIC).
pub const INITIAL_WINDOW_BYTES: u64 = 12_000;
/// A window never counts as larger than this; what a path holds is far less.
const WINDOW_BYTES_MAX: u64 = 1 << 30;
/// Round trips until the first byte of contents can be sent on a connection that is still to be made: the handshake,
/// then the two sides' preambles.
const HANDSHAKE_ROUND_TRIPS: u64 = 2;
/// Round trips that differ by less are the hosts' noise: what it takes to wake a thread.
const ROUND_TRIP_DIFFERENCE_MIN: Span = Span::from_micros(500);
/// The confidence in a measurement halves with each of these without another.
const CONFIDENCE_HALF_LIFE: Span = Span::from_secs(30);
/// Counts of datagrams are halved when they reach this many: what was lost long ago fades.
const PACKETS_MAX: u64 = 1 << 16;

/// Rates are told apart by the size of what told them: classes of which each is four times the one before. What a transfer waits
/// for beside its bytes (threads that wake, a window that grows) makes small ones look slow, and says nothing of large ones.
const CLASS_BYTES: u64 = 256 << 10;
/// The class of 16 MiB and more.
const CLASS_MAX: u32 = 4;
/// So many transfers of a size or larger must have told a path's rate before it is believed to be slower than is assumed
/// of any path.
const RATES_SURE: u64 = 3;

/// Which transfer over a path is asked about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Warmth {
    /// One that begins with what there is: the connection or none, its window, the rate that was measured.
    AsItIs,
    /// One over a connection whose window holds it, on a path that is as fast as is assumed until enough transfers have
    /// shown otherwise. Those that come later are like it when earlier ones have opened the window.
    AtBest,
}

/// What is assumed of a path for what was not measured of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Prior {
    /// Its round trip.
    pub round_trip: Span,
    /// Nanoseconds for 1 MiB.
    pub nanos_per_mebibyte: u64,
}

impl Default for Prior {
    fn default() -> Self {
        Self { round_trip: Span::ZERO, nanos_per_mebibyte: PRIOR_NANOS_PER_MEBIBYTE }
    }
}

/// A path in one direction.
#[derive(Clone, Debug)]
pub struct Path {
    round_trips: Window,
    /// Nanoseconds for 1 MiB, so that high means slow as for round trips; by class of size, in order, those that were measured.
    rates: Vec<(u32, Window)>,
    measured_at: Option<Timestamp>,
    sent_packets: u64,
    lost_packets: u64,
    window_bytes: u64,
    /// The window of the other end, where that does not measure the path itself.
    back_window_bytes: u64,
    is_connected: bool,
    /// When what was ordered over it so far should have arrived.
    busy_until: Timestamp,
    queued_bytes: u64,
}

impl Default for Path {
    fn default() -> Self {
        Self {
            round_trips: Window::new(ROUND_TRIP_DIFFERENCE_MIN.0),
            rates: Vec::new(),
            measured_at: None,
            sent_packets: 0,
            lost_packets: 0,
            window_bytes: INITIAL_WINDOW_BYTES,
            back_window_bytes: INITIAL_WINDOW_BYTES,
            is_connected: false,
            busy_until: Timestamp::ZERO,
            queued_bytes: 0,
        }
    }
}

impl Path {
    /// Takes in what one end has measured; says whether what estimates count with has moved.
    pub fn measured(&mut self, now: Timestamp, sample: &PathSample) -> bool {
        let mut has_moved = self.round_trips(now, &sample.round_trips);
        if sample.sent_packets > 0 || !sample.round_trips.is_empty() {
            has_moved |= !self.is_connected;
            self.is_connected = true;
        }
        if sample.window_bytes > 0 {
            self.window_bytes = sample.window_bytes.min(WINDOW_BYTES_MAX);
        }
        self.sent_packets = self.sent_packets.saturating_add(sample.sent_packets);
        self.lost_packets = self.lost_packets.saturating_add(sample.lost_packets);
        while self.sent_packets > PACKETS_MAX {
            self.sent_packets /= 2;
            self.lost_packets /= 2;
        }
        has_moved
    }

    /// Takes in round trips, whoever measured them.
    pub fn round_trips(&mut self, now: Timestamp, round_trips: &[Span]) -> bool {
        let mut has_moved = false;
        for round_trip in round_trips {
            has_moved |= self.round_trips.record(round_trip.0);
            self.measured_at = Some(now);
        }
        has_moved
    }

    /// Takes in a transfer, from its first byte at the receiver to its last, with what else came meanwhile; says
    /// whether the rate has moved.
    pub fn carried(&mut self, size_bytes: u64, shared_bytes: u64, span: Span) -> bool {
        let all_bytes = size_bytes.saturating_add(shared_bytes);
        let (window_bytes, round_trip) = (self.window_bytes, self.round_trip().unwrap_or(Span::ZERO));
        self.window_bytes = window_bytes.saturating_add(size_bytes).min(WINDOW_BYTES_MAX);
        if size_bytes < RATE_SAMPLE_BYTES_MIN || span == Span::ZERO {
            return false;
        }
        let apparent = apparent_nanos(all_bytes, span);
        let level = self.rates_of(size_bytes).and_then(Window::level);
        match fit_nanos(all_bytes, span, window_bytes, round_trip) {
            Some(nanos) => self.record_rate(class_of(size_bytes), nanos),
            // It waited for acknowledgements most of the time: the path carries this at least.
            None if level.is_some_and(|level| apparent < level) => {
                self.record_rate(class_of(size_bytes), apparent)
            }
            None => false,
        }
    }

    fn record_rate(&mut self, class: u32, nanos: u64) -> bool {
        let place = self.rates.partition_point(|(known, _)| *known < class);
        if self.rates.get(place).is_none_or(|(known, _)| *known != class) {
            self.rates.insert(place, (class, Window::new(0)));
        }
        self.rates[place].1.record(nanos)
    }

    /// What tells the rate of a transfer of so many bytes: transfers as large, else larger ones, else the largest there were.
    fn rates_of(&self, size_bytes: u64) -> Option<&Window> {
        let class = class_of(size_bytes);
        let found = self.rates.iter().find(|(known, _)| *known >= class).or(self.rates.last());
        found.map(|(_, window)| window)
    }

    /// Whether enough transfers as large or larger have told the rate.
    fn is_rate_sure(&self, size_bytes: u64) -> bool {
        let class = class_of(size_bytes);
        let told = self.rates.iter().filter(|(known, _)| *known >= class);
        told.map(|(_, window)| window.count()).sum::<u64>() >= RATES_SURE
    }

    /// Nanoseconds for 1 MiB of a transfer of so many bytes.
    fn nanos_of(&self, size_bytes: u64, prior: Prior) -> u64 {
        self.rates_of(size_bytes).and_then(Window::level).unwrap_or(prior.nanos_per_mebibyte)
    }

    /// The round trip that estimates count with.
    #[must_use]
    pub fn round_trip(&self) -> Option<Span> {
        self.round_trips.level().map(Span)
    }

    /// Nanoseconds for 1 MiB that estimates of the largest transfers count with.
    #[must_use]
    pub fn nanos_per_mebibyte(&self) -> Option<u64> {
        self.rates.last().and_then(|(_, window)| window.level())
    }

    /// The time that bytes take to pass, without latency.
    #[must_use]
    pub fn carrying(&self, size_bytes: u64, prior: Prior) -> Span {
        carrying(self.nanos_of(size_bytes, prior), size_bytes)
    }

    /// What a transfer is expected to take once it may start, with what is queued before it at `ready`.
    #[must_use]
    pub fn parts(&self, size_bytes: u64, ready: Timestamp, prior: Prior) -> TransferParts {
        let round_trip = self.round_trip().unwrap_or(prior.round_trip);
        let nanos = self.nanos_of(size_bytes, prior);
        TransferParts {
            queueing: self.busy_until.since(ready),
            handshake: if self.is_connected {
                Span::ZERO
            } else {
                round_trip.saturating_mul(HANDSHAKE_ROUND_TRIPS)
            },
            latency: Span(round_trip.0 / 2),
            slow_start: waits(size_bytes, self.window_bytes, round_trip, nanos),
            carrying: self.carrying(size_bytes, prior),
        }
    }

    /// The same at its best.
    #[must_use]
    pub fn parts_at_best(&self, size_bytes: u64, ready: Timestamp, prior: Prior) -> TransferParts {
        let mut nanos = self.nanos_of(size_bytes, prior);
        if !self.is_rate_sure(size_bytes) {
            nanos = nanos.min(prior.nanos_per_mebibyte);
        }
        TransferParts {
            queueing: self.busy_until.since(ready),
            latency: Span(self.round_trip().unwrap_or(prior.round_trip).0 / 2),
            carrying: carrying(nanos, size_bytes),
            ..TransferParts::default()
        }
    }

    /// What a transfer from the other end is expected to take over the connection that there will be by then. It is assumed to
    /// have this direction's rate.
    #[must_use]
    pub fn back_parts(&self, size_bytes: u64, prior: Prior, warmth: Warmth) -> TransferParts {
        let at_best = self.parts_at_best(size_bytes, Timestamp::NEVER, prior);
        match warmth {
            Warmth::AtBest => at_best,
            Warmth::AsItIs => {
                let round_trip = self.round_trip().unwrap_or(prior.round_trip);
                let nanos = self.nanos_of(size_bytes, prior);
                let slow_start = waits(size_bytes, self.back_window_bytes, round_trip, nanos);
                TransferParts { slow_start, carrying: self.carrying(size_bytes, prior), ..at_best }
            }
        }
    }

    /// The other end has this window.
    pub fn back_window(&mut self, window_bytes: u64) {
        if window_bytes > 0 {
            self.back_window_bytes = window_bytes.min(WINDOW_BYTES_MAX);
        }
    }

    /// The other end has sent so much, which has opened its window.
    pub fn carried_back(&mut self, size_bytes: u64) {
        self.back_window_bytes = self.back_window_bytes.max(size_bytes).min(WINDOW_BYTES_MAX);
    }

    /// Notes that a transfer was ordered that keeps the path for `carrying`, so that the next one is expected behind it.
    pub fn ordered(&mut self, size_bytes: u64, ready: Timestamp, carrying: Span) {
        self.busy_until = ready.max(self.busy_until) + carrying;
        self.queued_bytes = self.queued_bytes.saturating_add(size_bytes);
    }

    /// Notes that an ordered transfer has ended, one way or the other; says whether it was the last.
    pub fn ended(&mut self, size_bytes: u64) -> bool {
        self.queued_bytes = self.queued_bytes.saturating_sub(size_bytes);
        self.queued_bytes == 0
    }

    /// Nothing is queued on it, whatever was expected.
    pub fn is_now_free(&mut self, now: Timestamp) {
        self.busy_until = self.busy_until.min(now);
    }

    /// When what is queued on it should have arrived.
    #[must_use]
    pub fn busy_until(&self) -> Timestamp {
        self.busy_until
    }

    /// Whether its sender has said that there is a connection.
    #[must_use]
    pub fn is_connected(&self) -> bool {
        self.is_connected
    }

    /// Its connection is gone, and with it what was queued on it.
    pub fn lost(&mut self) {
        self.is_connected = false;
        self.window_bytes = INITIAL_WINDOW_BYTES;
        self.back_window_bytes = INITIAL_WINDOW_BYTES;
        self.busy_until = Timestamp::ZERO;
        self.queued_bytes = 0;
    }

    /// Bytes that are ordered and have not arrived.
    #[must_use]
    pub fn queued_bytes(&self) -> u64 {
        self.queued_bytes
    }

    /// Round trips that count, and the time since the last of them.
    #[must_use]
    pub fn standing(&self, now: Timestamp) -> (u64, Option<Span>) {
        (self.round_trips.kept(), self.measured_at.map(|at| now.since(at)))
    }

    /// How far the round trip can be relied on, 0 to 100.
    #[must_use]
    pub fn confidence_percent(&self, now: Timestamp) -> u32 {
        let (kept, Some(age)) = self.standing(now) else { return 0 };
        let full = 100 * kept / (kept + 1);
        let half_lives = (age.0 / CONFIDENCE_HALF_LIFE.0).min(63);
        // At most 100, so that it fits.
        (full >> half_lives) as u32
    }

    /// Datagrams lost of a million sent.
    #[must_use]
    pub fn lost_per_million(&self) -> Option<u32> {
        (self.sent_packets > 0).then(|| {
            let lost = u128::from(self.lost_packets.min(self.sent_packets)) * 1_000_000;
            u32::try_from(lost / u128::from(self.sent_packets)).unwrap_or(1_000_000)
        })
    }

    /// The distribution of round trips, for people.
    #[must_use]
    pub fn round_trip_status(&self) -> Option<RoundTripStatus> {
        Some(RoundTripStatus {
            least: Span(self.round_trips.least()?),
            p50: Span(self.round_trips.quantile(50)?),
            p99: Span(self.round_trips.quantile(99)?),
            level: Span(self.round_trips.level()?),
            samples: self.round_trips.count(),
            changes: self.round_trips.changes(),
        })
    }

    /// What transfers were carried at, and how many tell so.
    #[must_use]
    pub fn rate(&self) -> (Option<BytesPerSecond>, u64) {
        let rate = self.nanos_per_mebibyte().map(|nanos| BytesPerSecond::from_transfer(1 << 20, Span(nanos)));
        (rate, self.rates.iter().map(|(_, window)| window.count()).sum())
    }

    /// Its rates as the largest transfers told them, for a file; `None` when there are none.
    #[must_use]
    pub fn rates_snapshot(&self) -> Option<DistributionSnapshot> {
        let (_, rates) = self.rates.last()?;
        let least = rates.least()?;
        let mut values: Vec<u64> = rates.values().collect();
        values.sort_unstable();
        let mut buckets: Vec<(u64, u32)> = Vec::new();
        for value in values {
            match buckets.last_mut() {
                Some((last, count)) if *last == value => *count += 1,
                Some(_) | None => buckets.push((value, 1)),
            }
        }
        Some(DistributionSnapshot { least, buckets })
    }

    /// Takes back rates from a file, unless some were measured since; of which sizes they tell is forgotten, so that they count until
    /// larger transfers tell better.
    pub fn recall_rates(&mut self, snapshot: &DistributionSnapshot) {
        if !self.rates.is_empty() {
            return;
        }
        for (value, count) in &snapshot.buckets {
            for _ in 0..(*count).min(super::window::VALUES_MAX as u32) {
                self.record_rate(0, *value);
            }
        }
    }
}

/// The class of a transfer's size.
fn class_of(size_bytes: u64) -> u32 {
    (size_bytes / CLASS_BYTES).checked_ilog2().map_or(0, |log| log / 2 + 1).min(CLASS_MAX)
}

/// The time that bytes take to pass at a rate.
fn carrying(nanos_per_mebibyte: u64, size_bytes: u64) -> Span {
    let nanos = u128::from(nanos_per_mebibyte) * u128::from(size_bytes);
    Span(u64::try_from(nanos >> 20).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MEBIBYTE: u64 = 1 << 20;

    fn measured(round_trip: Span) -> Path {
        let mut path = Path::default();
        let round_trips = vec![round_trip; 8];
        path.measured(
            Timestamp(5),
            &PathSample { round_trips, sent_packets: 10, lost_packets: 1, window_bytes: 0 },
        );
        path
    }

    #[test]
    fn a_transfer_counts_its_handshake_latency_slow_start_queue_and_bytes() {
        let round_trip = Span::from_millis(20);
        let prior = Prior { round_trip, ..Prior::default() };
        let unmeasured = Path::default().parts(1, Timestamp(0), prior);
        assert_eq!(unmeasured.handshake, Span::from_millis(40));
        let mut path = measured(round_trip);
        let parts = path.parts(12_000, Timestamp(0), Prior::default());
        assert_eq!((parts.handshake, parts.slow_start), (Span::ZERO, Span::ZERO), "it fits the first window");
        assert_eq!(parts.latency, Span::from_millis(10));
        // 12, 24, then the rest: two waits of nearly a round trip each.
        let parts = path.parts(70_000, Timestamp(0), Prior::default());
        assert!((39_000_000..40_000_000).contains(&parts.slow_start.0), "{parts:?}");
        path.ordered(MEBIBYTE, Timestamp(0), path.carrying(MEBIBYTE, Prior::default()));
        let parts = path.parts(1, Timestamp(0), Prior::default());
        assert_eq!(parts.queueing, Span(PRIOR_NANOS_PER_MEBIBYTE));
        assert!(path.ended(MEBIBYTE));
        path.is_now_free(Timestamp(7));
        assert_eq!(path.parts(1, Timestamp(7), Prior::default()).queueing, Span::ZERO);
    }

    #[test]
    fn a_rate_is_told_from_slow_start_and_from_what_else_was_carried() {
        // 100 MB/s, 20 ms: 10,485,760 ns for a MiB. Each transfer begins with the window that those before have left.
        let (round_trip, nanos) = (Span::from_millis(20), 10_485_760);
        let mut path = measured(round_trip);
        let mut window_bytes = INITIAL_WINDOW_BYTES;
        for _ in 0..6 {
            let size = 4 * MEBIBYTE;
            let span = waits(size, window_bytes, round_trip, nanos) + Span(4 * nanos);
            path.carried(size, 0, span);
            window_bytes += size;
        }
        let told = path.nanos_per_mebibyte().unwrap();
        assert!(told.abs_diff(nanos) < nanos / 20, "{told}");
        // Two at a time take twice as long each, and tell the same of the path.
        path.carried(4 * MEBIBYTE, 4 * MEBIBYTE, Span(8 * nanos));
        assert_eq!(path.nanos_per_mebibyte(), Some(told));
    }

    #[test]
    fn a_transfer_that_only_waited_tells_no_rate() {
        let round_trip = Span::from_millis(100);
        let mut path = measured(round_trip);
        // Seven windows, each a round trip after the one before.
        assert!(!path.carried(MEBIBYTE, 0, round_trip.saturating_mul(6)));
        assert_eq!(path.nanos_per_mebibyte(), None);
    }

    #[test]
    fn a_path_is_at_its_best_until_enough_transfers_have_shown_it_slow() {
        let (round_trip, prior) = (Span::from_millis(10), Prior::default());
        let mut path = measured(round_trip);
        // A transfer that took so long because its window grew slowly: a fifth of a second for a MiB.
        for transfers in 1..=RATES_SURE {
            path.carried(MEBIBYTE, 0, Span::from_millis(200));
            let as_it_is = path.parts(MEBIBYTE, Timestamp(0), prior).total();
            assert!(as_it_is > Span::from_millis(100), "{as_it_is}");
            let at_best = path.parts_at_best(MEBIBYTE, Timestamp(0), prior);
            assert_eq!((at_best.slow_start, at_best.latency), (Span::ZERO, Span::from_millis(5)));
            let is_believed = at_best.carrying > Span(PRIOR_NANOS_PER_MEBIBYTE);
            assert_eq!(is_believed, transfers == RATES_SURE, "{transfers}: {at_best:?}");
        }
    }

    #[test]
    fn small_transfers_say_nothing_of_large_ones() {
        let prior = Prior::default();
        let mut path = measured(Span::from_millis(2));
        // 128 KiB in 8 ms, most of which was spent on waking up: 64 ms a MiB.
        for _ in 0..8 {
            path.carried(MEBIBYTE / 8, 0, Span::from_millis(8));
        }
        let at_best = |path: &Path, bytes| path.parts_at_best(bytes, Timestamp(0), prior).carrying;
        assert!(at_best(&path, MEBIBYTE / 8) > Span::from_millis(4), "of its own size it is believed");
        assert_eq!(at_best(&path, 4 * MEBIBYTE), Span(4 * PRIOR_NANOS_PER_MEBIBYTE));
        assert!(path.carrying(4 * MEBIBYTE, prior) > Span::from_millis(100), "nothing better is known");
        path.carried(4 * MEBIBYTE, 0, Span::from_millis(20));
        assert!(path.carrying(4 * MEBIBYTE, prior) < Span::from_millis(21));
        assert!(path.carrying(MEBIBYTE, prior) < Span::from_millis(6), "the larger ones know better");
        assert!(path.carrying(MEBIBYTE / 8, prior) > Span::from_millis(4));
        assert_eq!(
            [0, 255 << 10, 256 << 10, 1 << 20, 4 << 20, 16 << 20, 1 << 40].map(class_of),
            [0, 0, 1, 2, 3, 4, 4]
        );
    }

    #[test]
    fn the_way_back_has_a_window_of_its_own() {
        let (round_trip, prior) = (Span::from_millis(10), Prior::default());
        let mut path = measured(round_trip);
        path.carried(MEBIBYTE, 0, Span::from_millis(1));
        let back = |path: &Path| path.back_parts(MEBIBYTE, prior, Warmth::AsItIs).slow_start;
        assert!(back(&path) > Span::from_millis(50), "{}", back(&path));
        assert_eq!(path.back_parts(MEBIBYTE, prior, Warmth::AtBest).slow_start, Span::ZERO);
        path.back_window(MEBIBYTE / 2);
        assert!(back(&path) < Span::from_millis(10));
        path.carried_back(MEBIBYTE);
        assert_eq!(back(&path), Span::ZERO);
    }

    #[test]
    fn confidence_grows_with_measurements_and_fades_with_age() {
        let path = measured(Span::from_millis(1));
        let fresh = path.confidence_percent(Timestamp(5));
        assert_eq!(fresh, 88);
        assert_eq!(path.confidence_percent(Timestamp(5) + Span::from_secs(31)), 44);
        assert_eq!(path.confidence_percent(Timestamp::NEVER), 0);
        assert_eq!(Path::default().confidence_percent(Timestamp(0)), 0);
        assert_eq!(path.lost_per_million(), Some(100_000));
    }

    #[test]
    fn rates_outlive_a_restart() {
        let mut path = measured(Span::from_millis(1));
        for _ in 0..5 {
            path.carried(64 * MEBIBYTE, 0, Span::from_millis(640));
        }
        let mut again = Path::default();
        again.recall_rates(&path.rates_snapshot().unwrap());
        assert_eq!(again.nanos_per_mebibyte(), path.nanos_per_mebibyte());
        assert_eq!(again.rates_snapshot(), path.rates_snapshot());
    }
}
