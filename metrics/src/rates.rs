//! Rates of transfers as a histogram.

use std::fmt;

use hdrhistogram::Histogram;
use isochrone_model::Span;
use isochrone_model::units::BytesPerSecond;
use serde::{Deserialize, Serialize};

/// Rates, kept as a histogram: three significant digits from 1 B/s to 1 PB/s.
#[derive(Clone)]
pub struct Rates {
    histogram: Histogram<u64>,
}

/// What is told of many rates.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RateSummary {
    /// How many there were.
    pub count: u64,
    /// The slowest.
    #[serde(rename = "min_bytes_per_second")]
    pub min: BytesPerSecond,
    /// All but one of a hundred are at least as fast; of fewer than 100 the slowest.
    #[serde(rename = "p1_bytes_per_second")]
    pub p1: BytesPerSecond,
    /// Half are no faster.
    #[serde(rename = "median_bytes_per_second")]
    pub median: BytesPerSecond,
    /// The fastest.
    #[serde(rename = "max_bytes_per_second")]
    pub max: BytesPerSecond,
}

/// Rates beyond this count as this fast.
const FASTEST: BytesPerSecond = BytesPerSecond(1_000_000_000_000_000);

impl Default for Rates {
    fn default() -> Self {
        Self {
            // Never fails: the bounds are constants that hdrhistogram takes.
            histogram: Histogram::new_with_bounds(1, FASTEST.0, 3).expect("bounds that a histogram may have"),
        }
    }
}

impl Rates {
    /// No rates.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a transfer of so many bytes in so long.
    pub fn record(&mut self, bytes: u64, span: Span) {
        self.histogram.saturating_record(BytesPerSecond::from_transfer(bytes, span).0.max(1));
    }

    /// How many there are.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.histogram.len()
    }

    /// What is told of them; all zero when there are none.
    #[must_use]
    pub fn summary(&self) -> RateSummary {
        if self.histogram.is_empty() {
            return RateSummary::default();
        }
        // The lowest value that has this share at or below it, not the top of its bucket.
        let at = |quantile| {
            let value = self.histogram.value_at_quantile(quantile);
            BytesPerSecond(self.histogram.lowest_equivalent(value).max(self.histogram.min()))
        };
        RateSummary {
            count: self.histogram.len(),
            min: BytesPerSecond(self.histogram.min()),
            p1: at(0.01),
            median: at(0.5),
            max: BytesPerSecond(self.histogram.max()),
        }
    }
}

impl fmt::Debug for Rates {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_tuple("Rates").field(&self.summary()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_transfer_becomes_its_rate() {
        let mut rates = Rates::new();
        assert_eq!(rates.summary(), RateSummary::default());
        for milliseconds in [10, 20, 40] {
            rates.record(64 << 20, Span::from_millis(milliseconds));
        }
        let summary = rates.summary();
        let near = |rate: BytesPerSecond, expected: u64| rate.0.abs_diff(expected) <= expected / 500;
        assert_eq!(summary.count, 3);
        assert!(near(summary.median, 3_355_443_200), "{summary:?}");
        assert!(near(summary.p1, 1_677_721_600) && near(summary.max, 6_710_886_400), "{summary:?}");
        assert!(summary.min <= summary.p1, "{summary:?}");
    }

    #[test]
    fn no_time_at_all_is_the_fastest_rate_that_is_kept() {
        let mut rates = Rates::new();
        rates.record(u64::MAX, Span::ZERO);
        assert!(rates.summary().max >= FASTEST);
        rates.record(0, Span::from_secs(1));
        assert_eq!(rates.summary().min, BytesPerSecond(1));
    }
}
