//! Units: points and spans of time in nanoseconds, byte ranges, rates. Integers throughout, so that
//! every decision is the same on every machine.

use std::fmt;
use std::ops::{Add, AddAssign, Sub};

use serde::{Deserialize, Serialize};

/// A point in time: nanoseconds since an origin that the driver chose (its start, or zero in `sim`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Timestamp(pub u64);

/// A length of time in nanoseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Span(pub u64);

impl Timestamp {
    /// The origin.
    pub const ZERO: Self = Self(0);
    /// Later than any time that is reached.
    pub const NEVER: Self = Self(u64::MAX);

    /// The time from `earlier` to here; zero if `earlier` is later.
    #[must_use]
    #[inline]
    pub fn since(self, earlier: Self) -> Span {
        Span(self.0.saturating_sub(earlier.0))
    }
}

impl Span {
    /// No time.
    pub const ZERO: Self = Self(0);

    /// A span of whole microseconds.
    #[must_use]
    pub const fn from_micros(micros: u64) -> Self {
        Self(micros.saturating_mul(1_000))
    }

    /// A span of whole milliseconds.
    #[must_use]
    pub const fn from_millis(millis: u64) -> Self {
        Self(millis.saturating_mul(1_000_000))
    }

    /// A span of whole seconds.
    #[must_use]
    pub const fn from_secs(secs: u64) -> Self {
        Self(secs.saturating_mul(1_000_000_000))
    }

    /// The span in seconds, for people and estimators.
    #[must_use]
    pub fn as_secs_f64(self) -> f64 {
        self.0 as f64 / 1e9
    }

    /// The nearest span to a number of seconds; zero when negative or not a number.
    #[must_use]
    pub fn from_secs_f64(secs: f64) -> Self {
        // The cast saturates at both ends and sends NaN to zero, which is what is promised.
        Self((secs * 1e9) as u64)
    }

    /// The sum, stopping at the largest span.
    #[must_use]
    #[inline]
    pub fn saturating_add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }

    /// The difference, stopping at zero.
    #[must_use]
    #[inline]
    pub fn saturating_sub(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }

    /// The span a number of times, stopping at the largest span.
    #[must_use]
    pub fn saturating_mul(self, times: u64) -> Self {
        Self(self.0.saturating_mul(times))
    }
}

impl From<std::time::Duration> for Span {
    fn from(duration: std::time::Duration) -> Self {
        Self(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX))
    }
}

impl From<Span> for std::time::Duration {
    fn from(span: Span) -> Self {
        Self::from_nanos(span.0)
    }
}

impl Add<Span> for Timestamp {
    type Output = Self;

    fn add(self, span: Span) -> Self {
        Self(self.0.saturating_add(span.0))
    }
}

impl AddAssign<Span> for Timestamp {
    fn add_assign(&mut self, span: Span) {
        *self = *self + span;
    }
}

impl Add for Span {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        self.saturating_add(other)
    }
}

impl AddAssign for Span {
    fn add_assign(&mut self, other: Self) {
        *self = *self + other;
    }
}

impl Sub<Span> for Timestamp {
    type Output = Self;

    fn sub(self, span: Span) -> Self {
        Self(self.0.saturating_sub(span.0))
    }
}

impl std::iter::Sum for Span {
    fn sum<I: Iterator<Item = Self>>(spans: I) -> Self {
        spans.fold(Self::ZERO, Self::saturating_add)
    }
}

impl fmt::Display for Span {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let nanos = self.0;
        if nanos < 10_000 {
            write!(formatter, "{nanos} ns")
        } else if nanos < 10_000_000 {
            write!(formatter, "{:.1} us", nanos as f64 / 1e3)
        } else if nanos < 10_000_000_000 {
            write!(formatter, "{:.1} ms", nanos as f64 / 1e6)
        } else {
            write!(formatter, "{:.2} s", nanos as f64 / 1e9)
        }
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:.6} s", self.0 as f64 / 1e9)
    }
}

/// A rate in bytes each second.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct BytesPerSecond(pub u64);

impl BytesPerSecond {
    /// Bytes take no time at all.
    pub const UNLIMITED: Self = Self(u64::MAX);

    /// The time that `bytes` take at this rate, rounded up; at rate zero, the largest span; none at an unlimited one.
    #[must_use]
    pub fn span_for(self, bytes: u64) -> Span {
        if bytes == 0 || self == Self::UNLIMITED {
            return Span::ZERO;
        }
        if let Some(scaled) = bytes.checked_mul(1_000_000_000)
            && self.0 != 0
        {
            return Span(scaled.div_ceil(self.0));
        }
        let nanos = (u128::from(bytes) * 1_000_000_000).div_ceil(u128::from(self.0.max(1)));
        if self.0 == 0 { Span(u64::MAX) } else { Span(u64::try_from(nanos).unwrap_or(u64::MAX)) }
    }

    /// The rate at which `bytes` pass in `span`; a span of zero counts as one nanosecond.
    #[must_use]
    pub fn from_transfer(bytes: u64, span: Span) -> Self {
        let rate = u128::from(bytes) * 1_000_000_000 / u128::from(span.0.max(1));
        Self(u64::try_from(rate).unwrap_or(u64::MAX))
    }
}

/// The bytes from `start` up to but not including `end`. `start <= end` always.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ByteRange {
    /// First byte.
    pub start: u64,
    /// One past the last byte.
    pub end: u64,
}

impl ByteRange {
    /// The range of `size_bytes` from `offset_bytes`, or `None` when it would pass the end of `u64`.
    #[must_use]
    pub fn from_offset(offset_bytes: u64, size_bytes: u64) -> Option<Self> {
        Some(Self { start: offset_bytes, end: offset_bytes.checked_add(size_bytes)? })
    }

    /// The range from `start` to `end`; empty at `start` when `end` is lower.
    #[must_use]
    #[inline]
    pub fn new(start: u64, end: u64) -> Self {
        Self { start, end: end.max(start) }
    }

    /// How many bytes.
    #[must_use]
    #[inline]
    pub fn len(self) -> u64 {
        self.end - self.start
    }

    /// Whether it holds no byte.
    #[must_use]
    #[inline]
    pub fn is_empty(self) -> bool {
        self.start == self.end
    }

    /// Whether both hold some byte in common.
    #[must_use]
    #[inline]
    pub fn overlaps(self, other: Self) -> bool {
        self.start < other.end && other.start < self.end
    }

    /// Whether every byte of `other` is in here.
    #[must_use]
    #[inline]
    pub fn contains(self, other: Self) -> bool {
        self.start <= other.start && other.end <= self.end
    }

    /// The bytes in both, or `None` when there are none.
    #[must_use]
    #[inline]
    pub fn intersection(self, other: Self) -> Option<Self> {
        let (start, end) = (self.start.max(other.start), self.end.min(other.end));
        (start < end).then_some(Self { start, end })
    }
}

impl fmt::Display for ByteRange {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "bytes {}..{}", self.start, self.end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_round_up_and_never_divide_by_zero() {
        assert_eq!(BytesPerSecond(1_000_000_000).span_for(3), Span(3));
        assert_eq!(BytesPerSecond(3).span_for(1), Span(333_333_334));
        assert_eq!(BytesPerSecond(0).span_for(1), Span(u64::MAX));
        assert_eq!(BytesPerSecond(0).span_for(0), Span::ZERO);
        assert_eq!(BytesPerSecond::UNLIMITED.span_for(u64::MAX), Span::ZERO);
        assert_eq!(BytesPerSecond::from_transfer(10, Span::ZERO), BytesPerSecond(10_000_000_000));
    }

    #[test]
    fn ranges_meet_only_where_bytes_are_shared() {
        let range = ByteRange::new;
        assert!(!range(0, 4).overlaps(range(4, 8)));
        assert_eq!(range(0, 5).intersection(range(4, 8)), Some(range(4, 5)));
        assert!(range(0, 8).contains(range(8, 8)));
        assert!(!range(3, 3).overlaps(range(0, 8)) || range(3, 3).intersection(range(0, 8)).is_none());
        assert_eq!(ByteRange::from_offset(u64::MAX, 1), None);
    }

    #[test]
    fn spans_print_with_a_fitting_unit() {
        let shown: Vec<String> =
            [Span(9_999), Span::from_micros(25), Span::from_millis(40), Span::from_secs(11)]
                .iter()
                .map(ToString::to_string)
                .collect();
        assert_eq!(shown, ["9999 ns", "25.0 us", "40.0 ms", "11.00 s"]);
    }
}
