//! Round trips of a connection's path: from acknowledgements while traffic flows, from probes where it does not.
//!
//! A probe is a datagram of nine bytes that the peer's QUIC layer hands to a task which sends it back at once. It
//! goes before the bytes of streams and is never sent again, so that it waits for nothing but the path. Must never
//! hold up a stream, nor keep a connection in use.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::{BufMut, Bytes, BytesMut};
use tokio::sync::{Notify, watch};

use crate::bulk_link::Reach;
use crate::congestion::{AckLog, Congestion};
use crate::link::Link;

/// First bytes of a probe and of its answer.
const PROBE: u8 = 0;
const ANSWER: u8 = 1;
/// Either with its number.
const PROBE_BYTES: usize = 9;
/// Probes under way at a time; more would only tell of a path that is down.
const PROBES_MAX: usize = 16;
/// Round trips that wait to be reported; older ones give way.
const WAITING_MAX: usize = 64;
/// Unusual round trips in a row that are worth telling at once.
const NEWS_AT: u32 = 3;
/// Round trips that differ by less are the hosts' noise.
const DIFFERENCE_MIN: Duration = Duration::from_micros(500);

/// How often a path is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    /// A path on which nothing was measured for this long is probed. A round trip that is unlike those before it is
    /// followed by the next probe at once, so that a change is known three round trips later.
    pub probe_interval: Duration,
    /// What was measured is handed out this often; what has changed, at once.
    pub report_interval: Duration,
}

impl Pace {
    /// The pace of a process that measures so many paths.
    ///
    /// A probe, its answer and their acknowledgements are about 200 bytes on the wire. While work is under way an
    /// otherwise idle path is probed four times a second (0.8 kB/s), so that a change is known within a second;
    /// without work every 5 s (40 B/s). A process with more than 50 paths probes each of them less often: it sends 200
    /// probes a second at most (40 kB/s).
    #[must_use]
    pub fn for_paths(paths: usize, is_busy: bool) -> Self {
        let (probe, report) = if is_busy { (250, 1_000) } else { (5_000, 10_000) };
        let paths = u64::try_from(paths).unwrap_or(u64::MAX);
        Self {
            probe_interval: Duration::from_millis(paths.saturating_mul(5).max(probe)),
            report_interval: Duration::from_millis(report),
        }
    }
}

/// What was measured of a path since the last time.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PathMeasurement {
    /// In the order in which they were measured; at most 64.
    pub round_trips: Vec<Duration>,
    /// Packets sent.
    pub sent_packets: u64,
    /// Packets found to be lost.
    pub lost_packets: u64,
    /// What may be on its way unacknowledged now, in bytes: of bulk, once that has its own connection.
    pub congestion_window_bytes: u64,
}

/// Probes of one connection that are under way.
#[derive(Debug, Default)]
pub(crate) struct Probes {
    state: Mutex<ProbeState>,
    is_answered: Notify,
}

#[derive(Debug, Default)]
struct ProbeState {
    last_number: u64,
    under_way: VecDeque<(u64, Instant)>,
    measured: Vec<Duration>,
}

impl Probes {
    fn locked(&self) -> std::sync::MutexGuard<'_, ProbeState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A new probe.
    fn begin(&self, now: Instant) -> Bytes {
        let mut state = self.locked();
        state.last_number += 1;
        let number = state.last_number;
        if state.under_way.len() == PROBES_MAX {
            state.under_way.pop_front();
        }
        state.under_way.push_back((number, now));
        encoded(PROBE, number)
    }

    /// An answer has come. One to a probe that is not under way is of no interest.
    fn end(&self, number: u64, now: Instant) {
        let mut state = self.locked();
        let Some(place) = state.under_way.iter().position(|(known, _)| *known == number) else { return };
        if let Some((_, sent)) = state.under_way.remove(place) {
            state.measured.push(now.saturating_duration_since(sent));
        }
        drop(state);
        self.is_answered.notify_one();
    }

    fn take(&self) -> Vec<Duration> {
        std::mem::take(&mut self.locked().measured)
    }
}

fn encoded(kind: u8, number: u64) -> Bytes {
    let mut bytes = BytesMut::with_capacity(PROBE_BYTES);
    bytes.put_u8(kind);
    bytes.put_u64(number);
    bytes.freeze()
}

/// The kind and number of a datagram; `None` when it is neither probe nor answer.
fn decoded(bytes: &[u8]) -> Option<(u8, u64)> {
    let (kind, number) = bytes.split_first()?;
    let number = u64::from_be_bytes(number.try_into().ok()?);
    (*kind == PROBE || *kind == ANSWER).then_some((*kind, number))
}

/// Answers the peer's probes and takes the answers to this side's, until the connection ends.
#[expect(clippy::disallowed_methods, reason = "a round trip is measured here, before anyone's turn")]
pub(crate) async fn answer_probes(link: Arc<Link>, probes: Arc<Probes>) {
    while let Ok(bytes) = link.quinn.read_datagram().await {
        match decoded(&bytes) {
            // An answer that does not fit now is a probe lost.
            Some((PROBE, number)) => drop(link.quinn.send_datagram(encoded(ANSWER, number))),
            Some((_, number)) => probes.end(number, Instant::now()),
            None => tracing::debug!(size_bytes = bytes.len(), "a datagram that is no probe"),
        }
    }
}

/// Measures the path of one connection. It does not keep the connection in use.
#[derive(Debug)]
pub struct PathMeter {
    link: Arc<Link>,
    /// How bulk goes: over the same path on another QUIC connection, once there is one.
    reach: watch::Receiver<Reach>,
    probes: Arc<Probes>,
    acknowledged: Option<Arc<AckLog>>,
    bulk_acknowledged: Option<Arc<AckLog>>,
    usual: Usual,
    waiting: VecDeque<Duration>,
    measured_at: Option<Instant>,
    reported_at: Option<Instant>,
    is_following: bool,
    has_news: bool,
    told_sent: u64,
    told_lost: u64,
}

impl PathMeter {
    pub(crate) fn new(link: Arc<Link>, reach: watch::Receiver<Reach>, probes: Arc<Probes>) -> Self {
        let acknowledged = Congestion::ack_log(&link.quinn);
        Self {
            link,
            reach,
            probes,
            acknowledged,
            bulk_acknowledged: None,
            usual: Usual::default(),
            waiting: VecDeque::new(),
            measured_at: None,
            reported_at: None,
            is_following: false,
            has_news: false,
            told_sent: 0,
            told_lost: 0,
        }
    }

    /// Waits for what is worth telling next; `None` once the connection has ended, or nobody sets the pace any more.
    #[expect(
        clippy::disallowed_methods,
        reason = "a path is measured at its own pace, not at anyone's turns"
    )]
    pub async fn next(&mut self, pace: &mut watch::Receiver<Pace>) -> Option<PathMeasurement> {
        loop {
            let now = Instant::now();
            let Pace { probe_interval, report_interval } = *pace.borrow_and_update();
            self.collect(now);
            let is_due =
                self.reported_at.is_none_or(|at| now.saturating_duration_since(at) >= report_interval);
            if !self.waiting.is_empty() && (self.has_news || is_due) {
                return Some(self.take(now));
            }
            let probe_at = self.measured_at.map_or(now, |at| at + probe_interval);
            if self.is_following || probe_at <= now {
                self.is_following = false;
                // Counted as a measurement: the next one is due an interval later, whether or not it is answered.
                self.measured_at = Some(now);
                // Peers that take none are measured by what they acknowledge.
                drop(self.link.quinn.send_datagram(self.probes.begin(now)));
            }
            let probe_at = self.measured_at.map_or(now, |at| at + probe_interval);
            tokio::select! {
                () = tokio::time::sleep_until(probe_at.into()) => {}
                () = self.probes.is_answered.notified() => {}
                changed = pace.changed() => changed.ok()?,
                _ = self.link.closed() => return None,
            }
        }
    }

    /// Takes in what has been measured since the last look.
    fn collect(&mut self, now: Instant) {
        if self.bulk_acknowledged.is_none()
            && let Reach::Second(link) = &*self.reach.borrow()
        {
            self.bulk_acknowledged = Congestion::ack_log(&link.quinn);
        }
        let logs = self.acknowledged.iter().chain(&self.bulk_acknowledged);
        let acknowledged: Vec<Duration> = logs.flat_map(|log| log.take()).collect();
        if !acknowledged.is_empty() {
            self.measured_at = Some(now);
        }
        for round_trip in acknowledged.into_iter().chain(self.probes.take()) {
            match self.usual.observe(round_trip) {
                Seen::Usual => self.is_following = false,
                Seen::Odd => self.is_following = true,
                Seen::Changed => {
                    self.is_following = false;
                    self.has_news = true;
                }
            }
            if self.waiting.len() == WAITING_MAX {
                self.waiting.pop_front();
            }
            self.waiting.push_back(round_trip);
        }
    }

    fn take(&mut self, now: Instant) -> PathMeasurement {
        let mut statistics = self.link.quinn.stats().path;
        if let Reach::Second(link) = &*self.reach.borrow() {
            let bulk = link.quinn.stats().path;
            statistics.sent_packets += bulk.sent_packets;
            statistics.lost_packets += bulk.lost_packets;
            statistics.cwnd = bulk.cwnd;
        }
        let measurement = PathMeasurement {
            round_trips: std::mem::take(&mut self.waiting).into(),
            sent_packets: statistics.sent_packets.saturating_sub(self.told_sent),
            lost_packets: statistics.lost_packets.saturating_sub(self.told_lost),
            congestion_window_bytes: statistics.cwnd,
        };
        (self.told_sent, self.told_lost) = (statistics.sent_packets, statistics.lost_packets);
        self.reported_at = Some(now);
        self.has_news = false;
        measurement
    }
}

/// What a round trip is like beside those before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Seen {
    Usual,
    Odd,
    Changed,
}

/// What round trips usually are: a smoothed value and its smoothed deviation. It only decides when to look again and
/// when to tell; who counts with round trips has an estimator of his own.
#[derive(Debug, Default)]
struct Usual {
    smoothed: Option<Duration>,
    deviation: Duration,
    odd: u32,
}

impl Usual {
    fn observe(&mut self, round_trip: Duration) -> Seen {
        let Some(smoothed) = self.smoothed else {
            *self = Self { smoothed: Some(round_trip), ..Self::default() };
            return Seen::Changed;
        };
        let difference = round_trip.abs_diff(smoothed);
        if difference > (smoothed / 4).max(self.deviation * 4).max(DIFFERENCE_MIN) {
            self.odd += 1;
            if self.odd < NEWS_AT {
                return Seen::Odd;
            }
            *self = Self { smoothed: Some(round_trip), ..Self::default() };
            return Seen::Changed;
        }
        self.odd = 0;
        self.smoothed = Some((smoothed * 7 + round_trip) / 8);
        self.deviation = (self.deviation * 3 + difference) / 4;
        Seen::Usual
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn milliseconds(count: u64) -> Duration {
        Duration::from_millis(count)
    }

    #[test]
    fn three_odd_round_trips_in_a_row_are_news() {
        let mut usual = Usual::default();
        assert_eq!(usual.observe(milliseconds(20)), Seen::Changed, "the first is news");
        for _ in 0..20 {
            assert_eq!(usual.observe(milliseconds(21)), Seen::Usual);
        }
        assert_eq!(usual.observe(milliseconds(160)), Seen::Odd);
        assert_eq!(usual.observe(milliseconds(20)), Seen::Usual, "it was a spike");
        assert_eq!(usual.observe(milliseconds(160)), Seen::Odd);
        assert_eq!(usual.observe(milliseconds(161)), Seen::Odd);
        assert_eq!(usual.observe(milliseconds(159)), Seen::Changed);
        assert_eq!(usual.observe(milliseconds(160)), Seen::Usual);
    }

    #[test]
    #[expect(clippy::disallowed_methods, reason = "any start will do")]
    fn an_answer_counts_once_and_only_to_a_probe_under_way() {
        let (probes, start) = (Probes::default(), Instant::now());
        let first = probes.begin(start);
        assert_eq!(decoded(&first), Some((PROBE, 1)));
        probes.end(1, start + milliseconds(5));
        probes.end(1, start + milliseconds(6));
        probes.end(77, start + milliseconds(6));
        assert_eq!(probes.take(), [milliseconds(5)]);
        for _ in 0..PROBES_MAX + 1 {
            probes.begin(start);
        }
        probes.end(2, start + milliseconds(9));
        assert!(probes.take().is_empty(), "too many were under way");
    }

    #[test]
    fn what_is_no_probe_is_not_taken_for_one() {
        for bytes in [&b""[..], b"\0", b"\0\0\0\0\0\0\0\0", b"\0\0\0\0\0\0\0\0\0\0", b"\x02\0\0\0\0\0\0\0\0"]
        {
            assert_eq!(decoded(bytes), None);
        }
        assert_eq!(decoded(&encoded(ANSWER, 7)), Some((ANSWER, 7)));
    }
}
