//! What was measured, beside the floors under it.

use isochrone_model::Span;
use isochrone_model::units::BytesPerSecond;
use serde::{Deserialize, Serialize};

use crate::latencies::LatencySummary;
use crate::rates::RateSummary;
use crate::table::{Alignment, Table};

/// A summary of times or of rates.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Summary {
    /// Times: less is better.
    Latency(LatencySummary),
    /// Rates: more is better.
    Rate(RateSummary),
}

impl Summary {
    /// How many samples there were.
    #[must_use]
    pub fn count(&self) -> u64 {
        match self {
            Self::Latency(summary) => summary.count,
            Self::Rate(summary) => summary.count,
        }
    }

    /// How many times worse its median is than that of `floor`: 1 is as good. `None` when one has no
    /// samples, or times would be compared with rates.
    #[must_use]
    pub fn ratio_to(&self, floor: &Self) -> Option<f64> {
        let (worse, better) = match (self, floor) {
            (Self::Latency(own), Self::Latency(floor)) => (own.median.0, floor.median.0),
            (Self::Rate(own), Self::Rate(floor)) => (floor.median.0, own.median.0),
            (Self::Latency(_), Self::Rate(_)) | (Self::Rate(_), Self::Latency(_)) => return None,
        };
        (self.count() > 0 && floor.count() > 0 && better > 0).then(|| worse as f64 / better as f64)
    }

    /// The median for people.
    #[must_use]
    pub fn median_text(&self) -> String {
        match self {
            Self::Latency(summary) => micros(summary.median),
            Self::Rate(summary) => megabytes(summary.median),
        }
    }

    /// The value that one of a hundred is worse than, for people.
    #[must_use]
    pub fn p99_text(&self) -> String {
        match self {
            Self::Latency(summary) => micros(summary.p99),
            Self::Rate(summary) => megabytes(summary.p1),
        }
    }
}

/// Something under which a figure cannot go, or which it is compared with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Floor {
    /// What it is.
    pub name: String,
    /// What was measured.
    pub summary: Summary,
}

/// One figure.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Figure {
    /// What it is, for people.
    pub name: String,
    /// What was measured.
    pub summary: Summary,
    /// What it is compared with, measured in the same run.
    pub floors: Vec<Floor>,
}

impl Figure {
    /// A figure without floors.
    #[must_use]
    pub fn new(name: impl Into<String>, summary: Summary) -> Self {
        Self { name: name.into(), summary, floors: Vec::new() }
    }

    /// Adds a floor.
    #[must_use]
    pub fn floor(mut self, name: impl Into<String>, summary: Summary) -> Self {
        self.floors.push(Floor { name: name.into(), summary });
        self
    }

    /// All figures as one table, a line for each floor.
    #[must_use]
    pub fn table(figures: &[Self]) -> Table {
        let mut table = Table::new(&[
            ("figure", Alignment::Left),
            ("median", Alignment::Right),
            ("p99", Alignment::Right),
            ("samples", Alignment::Right),
            ("beside", Alignment::Left),
            ("its median", Alignment::Right),
            ("its p99", Alignment::Right),
            ("ratio", Alignment::Right),
        ]);
        for figure in figures {
            let own = [
                figure.name.clone(),
                figure.summary.median_text(),
                figure.summary.p99_text(),
                figure.summary.count().to_string(),
            ];
            if figure.floors.is_empty() {
                table.row(&own);
            }
            for (place, floor) in figure.floors.iter().enumerate() {
                let ratio = figure.summary.ratio_to(&floor.summary);
                let beside = [
                    floor.name.clone(),
                    floor.summary.median_text(),
                    floor.summary.p99_text(),
                    ratio.map_or_else(String::new, |ratio| format!("{ratio:.2}")),
                ];
                let own = if place == 0 { own.clone() } else { std::array::from_fn(|_| String::new()) };
                table.row(own.iter().chain(&beside));
            }
        }
        table
    }
}

fn micros(span: Span) -> String {
    let micros = span.0 as f64 / 1e3;
    match micros {
        ..10.0 => format!("{micros:.2} us"),
        ..1_000.0 => format!("{micros:.1} us"),
        _ => format!("{micros:.0} us"),
    }
}

fn megabytes(rate: BytesPerSecond) -> String {
    format!("{} MB/s", rate.0 / 1_000_000)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Latencies, Rates};

    fn latency(micros: u64) -> Summary {
        Summary::Latency(Latencies::from_iter([Span::from_micros(micros)]).summary())
    }

    fn rate(bytes: u64) -> Summary {
        let mut rates = Rates::new();
        rates.record(bytes, Span::from_secs(1));
        Summary::Rate(rates.summary())
    }

    #[test]
    fn ratios_say_how_many_times_worse() {
        let near = |ratio: Option<f64>, expected: f64| (ratio.unwrap() - expected).abs() < 0.01;
        assert!(near(latency(80).ratio_to(&latency(40)), 2.0));
        assert!(near(rate(500_000_000).ratio_to(&rate(1_000_000_000)), 2.0));
        assert_eq!(latency(80).ratio_to(&rate(1)), None);
        assert_eq!(latency(80).ratio_to(&Summary::Latency(LatencySummary::default())), None);
    }

    #[test]
    fn each_floor_has_a_line_and_the_figure_is_named_once() {
        let figures = [
            Figure::new("launch", latency(80)).floor("echo", latency(20)).floor("OpenCL", latency(40)),
            Figure::new("write", rate(900_000_000)),
        ];
        let text = Figure::table(&figures).to_string();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 5, "{text}");
        assert!(lines[2].contains("launch") && lines[2].contains("80.") && lines[2].contains(" 4.0"));
        assert!(!lines[3].contains("launch") && lines[3].contains("OpenCL") && lines[3].contains(" 2.0"));
        assert!(lines[4].contains("write") && lines[4].contains("MB/s"), "{text}");
    }

    #[test]
    fn figures_survive_json() {
        let figure = Figure::new("launch", latency(80)).floor("echo", latency(20));
        let text = serde_json::to_string(&figure).unwrap();
        assert!(text.contains("\"kind\":\"latency\"") && text.contains("median_ns"), "{text}");
        assert_eq!(serde_json::from_str::<Figure>(&text).unwrap(), figure);
    }
}
