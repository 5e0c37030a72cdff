//! `isochrone links`: what the scheduler knows of every path, printed.
//!
//! Must never compute what the scheduler tells.

use isochrone_client::{LinkStatus, Role};

use crate::arguments::LinksArguments;
use crate::config::Config;
use crate::values::ByteSize;
use crate::{ask, output, signals};

/// `isochrone links`
pub async fn links(arguments: LinksArguments, config: Config) -> anyhow::Result<()> {
    signals::unless_asked_to_stop(async {
        let farm = ask::connect(Role::Client, &arguments.connect, &config.client).await?;
        let links = farm.links().await?;
        farm.close().await;
        if arguments.json {
            return output::json(&links);
        }
        output::print(&shown(&links));
        Ok(())
    })
    .await
}

const HEADINGS: &[&str] = &[
    "from",
    "to",
    "rtt p50",
    "rtt p99",
    "counted",
    "samples",
    "changes",
    "bandwidth",
    "of",
    "loss",
    "age",
    "confidence",
    "queued",
];

fn shown(links: &[LinkStatus]) -> String {
    let none = || "-".to_owned();
    let rows: Vec<Vec<String>> = links
        .iter()
        .map(|link| {
            let of = |show: fn(&isochrone_client::RoundTripStatus) -> String| {
                link.round_trip.as_ref().map_or_else(none, show)
            };
            vec![
                link.from.clone(),
                link.to.clone(),
                of(|round_trip| round_trip.p50.to_string()),
                of(|round_trip| round_trip.p99.to_string()),
                of(|round_trip| round_trip.level.to_string()),
                of(|round_trip| round_trip.samples.to_string()),
                of(|round_trip| round_trip.changes.to_string()),
                link.rate.map_or_else(none, |rate| format!("{}/s", ByteSize(rate.0))),
                link.rate_samples.to_string(),
                link.lost_per_million.map_or_else(none, percent),
                link.age.map_or_else(none, |age| age.to_string()),
                format!("{} %", link.confidence_percent),
                ByteSize(link.queued_bytes).to_string(),
            ]
        })
        .collect();
    output::table(HEADINGS, &rows)
}

/// Millionths as hundredths, with the digits that they have.
fn percent(millionths: u32) -> String {
    format!("{}.{:02} %", millionths / 10_000, millionths % 10_000 / 100)
}

#[cfg(test)]
mod tests {
    use isochrone_client::{RoundTripStatus, Span};

    use super::*;

    #[test]
    fn a_path_is_a_row_and_what_is_not_known_a_dash() {
        let known = LinkStatus {
            from: "a".to_owned(),
            to: "b".to_owned(),
            tenant: String::new(),
            round_trip: Some(RoundTripStatus {
                least: Span(19_000_000),
                p50: Span(20_000_000),
                p99: Span(31_000_000),
                level: Span(20_500_000),
                samples: 40,
                changes: 2,
            }),
            rate: Some(isochrone_client::BytesPerSecond(3 << 20)),
            rate_samples: 7,
            lost_per_million: Some(12_345),
            age: Some(Span(300_000_000)),
            confidence_percent: 96,
            queued_bytes: 2_048,
        };
        let unknown = LinkStatus {
            to: "c".to_owned(),
            round_trip: None,
            rate: None,
            rate_samples: 0,
            lost_per_million: None,
            age: None,
            confidence_percent: 0,
            queued_bytes: 0,
            ..known.clone()
        };
        let text = shown(&[known, unknown]);
        let rows: Vec<Vec<&str>> = text.lines().map(|line| line.split_whitespace().collect()).collect();
        assert_eq!(rows.len(), 3);
        let first = rows[1].join(" ");
        let fields =
            ["a b", &Span(20_000_000).to_string(), "40 2", "3.0 MiB/s", "7 1.23 %", "96 %", "2.0 KiB"];
        for field in fields {
            assert!(first.contains(field), "{field} in {first}");
        }
        assert_eq!(rows[2].join(" "), "a c - - - - - - 0 - - 0 % 0 B");
    }
}
