//! Distributions of measured spans and rates: the only place where floats live.

use std::cell::Cell;

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

/// Measured values with their quantiles. One significant digit: an estimate need not be finer, and a
/// distribution must stay small, since there is one for each kernel, device and size.
#[derive(Clone, Debug)]
pub struct Distribution {
    histogram: Histogram<u32>,
    least: u64,
    sum: f64,
    count: u64,
    /// Kept up to date because it is asked far more often than values come.
    typical: u64,
    /// What nine of ten do not exceed, once it was asked for and until another value comes.
    high: Cell<Option<u64>>,
}

/// A distribution as it is kept in a file: (value, how often) in order of value.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct DistributionSnapshot {
    /// The lowest value that was recorded.
    pub least: u64,
    /// Values, each the middle of its bucket, with their counts.
    pub buckets: Vec<(u64, u32)>,
}

/// When this many values have come, all counts are halved: what was measured long ago fades.
const COUNT_MAX: u64 = 512;

/// Until so many values have come, what is typical is told anew with each.
const TYPICAL_EVERY_TIME: u64 = 32;
/// From then on with every eighth: one value among many moves the median little.
const TYPICAL_EVERY: u64 = 8;

/// Larger values count as this one: 146 years in nanoseconds.
const VALUE_MAX: u64 = 1 << 62;

impl Default for Distribution {
    fn default() -> Self {
        let histogram = Histogram::new(1).expect("one significant digit is within the histogram's range");
        Self { histogram, least: u64::MAX, sum: 0.0, count: 0, typical: 0, high: Cell::new(None) }
    }
}

impl Distribution {
    /// Takes in one value.
    pub fn record(&mut self, value: u64) {
        self.high.set(None);
        self.count_value(value, 1);
        self.least = self.least.min(value);
        self.sum += value as f64;
        self.count += 1;
        if self.count >= COUNT_MAX {
            self.fade();
        }
        if self.count < TYPICAL_EVERY_TIME || self.count.is_multiple_of(TYPICAL_EVERY) {
            self.typical = self.compute_typical();
        }
    }

    /// How many values count.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.count
    }

    /// What to expect: the median, or the least while there are fewer than three values, since first runs
    /// carry one-off costs. `None` when nothing was measured.
    #[must_use]
    pub fn typical(&self) -> Option<u64> {
        (self.count > 0).then_some(self.typical)
    }

    /// The value that a share `quantile` (0 to 1) of the values does not exceed.
    #[must_use]
    pub fn quantile(&self, quantile: f64) -> Option<u64> {
        (self.count > 0).then(|| self.histogram.value_at_quantile(quantile.clamp(0.0, 1.0)))
    }

    /// What nine of ten do not exceed; `None` when nothing was measured.
    #[must_use]
    pub fn high(&self) -> Option<u64> {
        if self.high.get().is_none() {
            self.high.set(self.quantile(0.9));
        }
        self.high.get()
    }

    /// The mean.
    #[must_use]
    pub fn mean(&self) -> Option<u64> {
        (self.count > 0).then(|| (self.sum / self.count as f64) as u64)
    }

    /// For a file.
    #[must_use]
    pub fn snapshot(&self) -> DistributionSnapshot {
        let buckets = self
            .histogram
            .iter_recorded()
            .map(|bucket| {
                let value = self.histogram.median_equivalent(bucket.value_iterated_to());
                (value, bucket.count_at_value())
            })
            .collect();
        DistributionSnapshot { least: if self.count == 0 { 0 } else { self.least }, buckets }
    }

    /// From a file.
    #[must_use]
    pub fn from_snapshot(snapshot: &DistributionSnapshot) -> Self {
        let mut distribution = Self::default();
        for (value, count) in &snapshot.buckets {
            let count = (*count).min(COUNT_MAX as u32);
            distribution.count_value(*value, count);
            distribution.sum += *value as f64 * f64::from(count);
            distribution.count += u64::from(count);
        }
        distribution.least = snapshot.least;
        distribution.typical = distribution.compute_typical();
        distribution
    }

    fn count_value(&mut self, value: u64, count: u32) {
        self.histogram
            .record_n(value.min(VALUE_MAX), count)
            .expect("the histogram grows by itself, and the value is within what it can grow to");
    }

    fn compute_typical(&self) -> u64 {
        if self.count < 3 {
            return self.least;
        }
        let median = self.histogram.value_at_quantile(0.5);
        self.histogram.median_equivalent(median).max(self.least)
    }

    fn fade(&mut self) {
        let buckets: Vec<(u64, u32)> = self
            .histogram
            .iter_recorded()
            .map(|bucket| (bucket.value_iterated_to(), (bucket.count_at_value() / 2)))
            .collect();
        self.histogram.clear();
        self.count = 0;
        let mean_sum_scale = self.sum;
        let mut bucket_sum = 0.0;
        for (value, count) in buckets {
            self.count_value(value, count);
            self.count += u64::from(count);
            bucket_sum += value as f64 * f64::from(count);
        }
        self.sum = bucket_sum.min(mean_sum_scale);
        if self.count == 0 {
            let least = self.least;
            self.count_value(least, 1);
            self.count = 1;
            self.sum = least as f64;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_spike_does_not_move_what_is_expected() {
        let mut distribution = Distribution::default();
        assert_eq!(distribution.typical(), None);
        distribution.record(900_000_000);
        distribution.record(1_000);
        assert_eq!(distribution.typical(), Some(1_000), "a first run's one-off cost is not expected again");
        for _ in 0..20 {
            distribution.record(1_000);
        }
        distribution.record(80_000_000);
        let typical = distribution.typical().unwrap();
        assert!((1_000..1_100).contains(&typical), "{typical}");
        assert!(distribution.quantile(0.99).unwrap() > 10_000_000);
    }

    #[test]
    fn old_values_fade() {
        let mut distribution = Distribution::default();
        for _ in 0..400 {
            distribution.record(100);
        }
        for _ in 0..800 {
            distribution.record(10_000);
        }
        assert!(distribution.typical().unwrap() > 9_000);
        assert!(distribution.count() <= COUNT_MAX);
    }

    #[test]
    fn a_snapshot_gives_the_same_estimates() {
        let mut distribution = Distribution::default();
        for value in [500, 510, 700, 90_000, 520, 505] {
            distribution.record(value);
        }
        let again = Distribution::from_snapshot(&distribution.snapshot());
        assert_eq!(again.typical(), distribution.typical());
        assert_eq!(again.quantile(0.9), distribution.quantile(0.9));
        assert_eq!(Distribution::from_snapshot(&DistributionSnapshot::default()).typical(), None);
    }
}
