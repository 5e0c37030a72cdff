//! Spans of time as a histogram.

use std::fmt;

use hdrhistogram::Histogram;
use isochrone_model::Span;
use serde::{Deserialize, Serialize};

/// Spans, kept as a histogram: three significant digits from 1 ns to an hour.
#[derive(Clone)]
pub struct Latencies {
    histogram: Histogram<u64>,
}

/// What is told of many spans. In JSON each is in nanoseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LatencySummary {
    /// How many there were.
    pub count: u64,
    /// The shortest.
    #[serde(rename = "min_ns")]
    pub min: Span,
    /// Half are no longer.
    #[serde(rename = "median_ns")]
    pub median: Span,
    /// Nine of ten are no longer.
    #[serde(rename = "p90_ns")]
    pub p90: Span,
    /// All but one of a hundred are no longer; of fewer than 100 the longest.
    #[serde(rename = "p99_ns")]
    pub p99: Span,
    /// The longest.
    #[serde(rename = "max_ns")]
    pub max: Span,
}

/// Spans beyond this count as this long.
const LONGEST: Span = Span::from_secs(3_600);

impl Default for Latencies {
    fn default() -> Self {
        Self {
            // Never fails: the bounds are constants that hdrhistogram takes.
            histogram: Histogram::new_with_bounds(1, LONGEST.0, 3).expect("bounds that a histogram may have"),
        }
    }
}

impl Latencies {
    /// No spans.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a span; below 1 ns counts as 1 ns, beyond an hour as an hour.
    pub fn record(&mut self, span: Span) {
        self.histogram.saturating_record(span.0.max(1));
    }

    /// Adds the mean of `parts` equal parts of a span, once; nothing when there are none. For what
    /// cannot be measured one by one.
    pub fn record_each(&mut self, whole: Span, parts: u64) {
        if let Some(each) = whole.0.checked_div(parts) {
            self.record(Span(each));
        }
    }

    /// How many there are.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.histogram.len()
    }

    /// What is told of them; all zero when there are none.
    #[must_use]
    pub fn summary(&self) -> LatencySummary {
        if self.histogram.is_empty() {
            return LatencySummary::default();
        }
        let at = |quantile| Span(self.histogram.value_at_quantile(quantile).min(self.histogram.max()));
        LatencySummary {
            count: self.histogram.len(),
            min: Span(self.histogram.min()),
            median: at(0.5),
            p90: at(0.9),
            p99: at(0.99),
            max: Span(self.histogram.max()),
        }
    }
}

impl Extend<Span> for Latencies {
    fn extend<I: IntoIterator<Item = Span>>(&mut self, spans: I) {
        for span in spans {
            self.record(span);
        }
    }
}

impl FromIterator<Span> for Latencies {
    fn from_iter<I: IntoIterator<Item = Span>>(spans: I) -> Self {
        let mut latencies = Self::new();
        latencies.extend(spans);
        latencies
    }
}

impl fmt::Debug for Latencies {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_tuple("Latencies").field(&self.summary()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_of_a_known_set() {
        let latencies: Latencies = (1..=1_000).map(Span::from_micros).collect();
        let summary = latencies.summary();
        assert_eq!(summary.count, 1_000);
        let near = |span: Span, micros: u64| span.0.abs_diff(micros * 1_000) <= micros * 2;
        assert!(near(summary.min, 1) && near(summary.median, 500), "{summary:?}");
        assert!(near(summary.p90, 900) && near(summary.p99, 990) && near(summary.max, 1_000), "{summary:?}");
    }

    #[test]
    fn nothing_gives_zeros_and_extremes_are_kept_in_range() {
        let mut latencies = Latencies::new();
        assert_eq!(latencies.summary(), LatencySummary::default());
        latencies.record_each(Span(7), 0);
        assert_eq!(latencies.count(), 0);
        latencies.record(Span::ZERO);
        latencies.record(Span(u64::MAX));
        let summary = latencies.summary();
        assert_eq!((summary.count, summary.min), (2, Span(1)));
        assert!(summary.max >= LONGEST && summary.max.0 < LONGEST.0 + LONGEST.0 / 500, "{summary:?}");
    }

    #[test]
    fn the_p99_of_a_few_is_the_longest() {
        let latencies: Latencies = [10, 20, 30].map(Span).into_iter().collect();
        assert_eq!(latencies.summary().p99, Span(30));
    }

    #[test]
    fn parts_are_recorded_as_their_mean() {
        let mut latencies = Latencies::new();
        latencies.record_each(Span(1_000), 10);
        assert_eq!(latencies.summary().median, Span(100));
    }

    #[test]
    fn units_are_in_the_names_of_json() {
        let json = serde_json::to_value(Latencies::from_iter([Span(5)]).summary()).unwrap();
        let expected = serde_json::json!({
            "count": 1, "min_ns": 5, "median_ns": 5, "p90_ns": 5, "p99_ns": 5, "max_ns": 5
        });
        assert_eq!(json, expected);
    }
}
