//! Links by name, each with the source of its figures. What is an estimate says so.
//!
//! Latency is one way and half of a measured round trip unless said. Sources:
//!
//! - `same-rack`: **estimate**. One switch between two kernels' UDP stacks; 25 Gbit/s Ethernet. For scale: 64 bytes to
//!   another process on the same host and back take 21 us with quinn, half of that is one way.
//! - `campus`: E. Jones, "Network Latencies in the Data Center" (2021, evanjones.ca/network-latencies-2021.html): the
//!   80th percentile of the round trip between machines of one cloud region is about 500 us, as in J. Dean's "Numbers
//!   Everyone Should Know"; the median of 150 us one way and the shape are **estimates** that meet it. 10 Gbit/s
//!   Ethernet.
//! - `metro`: Google Distributed Cloud, "Zone latency and bandwidth requirements": round trip below 1 ms at the 95th
//!   percentile over at most 50 km of fibre; J. Hamilton (AWS re:Invent 2014, SPOT301): availability zones less than
//!   2 ms apart, usually less than 1. Loss and rate are **estimates**.
//! - `continent`: Verizon's service level for the contiguous United States: 45 ms round trip between hub routers at
//!   most (verizon.com, weekly latency statistics). 20 ms one way, loss and rate are **estimates** below it.
//! - `transatlantic`: 73 ms from New York to London and back, the difference of two hops of one provider in a published
//!   trace (he.net, 2018: 66.0 ms to core1.nyc4, 139.4 ms to core1.lon2); Verizon's service level is 90 ms. Loss and
//!   rate are **estimates**.
//! - `5g`: M. Kottkamp, "Measurements show 5G improves latency in public networks" (Rohde & Schwarz, 2022): one way from
//!   below 7 ms (down, best case) to about 18 ms (up, worst case) in a public network of the non-standalone kind;
//!   Cellsmart's survey of 2023 (techblog.comsoc.org): 210 Mbit/s down on average, uploads 17 % of that. The same
//!   distribution for both directions and the loss are **estimates**.
//! - `starlink`: F. Michel and others, "A First Look at Starlink Performance" (IMC 2022; and
//!   blog.apnic.net, 2022-11-28): round trip to European servers 20 ms at least, quartiles 40, 50 and 60 ms; Ookla, second
//!   quarter of 2023: medians of 100 Mbit/s down and 10 to 15 Mbit/s up in European countries. Loss of 0.4 % and the
//!   upper tail are **estimates**; M. M. Kassem and others (IMC 2022) saw bursts up to 50 %, which independent losses do not
//!   show.
//! - `wifi`: C. Pei and others, "WiFi can be the weakest link of round trip network latency in the wild" (INFOCOM 2016):
//!   more than half of the packets wait more than 20 ms, a tenth more than 100 ms, for the hop and back on busy campus
//!   access points, and 10 ms are reached where they are well set up. Taken here: a home at 5 ms one way in the median,
//!   sigma 0.9, so that a tenth exceeds 16 ms; an **estimate** between the two. Rate and loss are **estimates**; R. Sharma and
//!   others (2023, arXiv 2311.05499) found the home's WiFi to be the bottleneck of every access line above 800 Mbit/s.

use std::sync::Arc;

use isochrone_model::{BytesPerSecond, Span};

use super::{Access, Latency, LinkSpec};

/// A link by name.
#[derive(Clone, Debug, PartialEq)]
pub struct Preset {
    /// Its name.
    pub name: &'static str,
    /// What it is, and where its figures come from, in one line.
    pub source: &'static str,
    /// Whether it is a host's own access (a radio) and not a path between hosts.
    pub is_access: bool,
    /// One way.
    pub latency: Latency,
    /// From the host; for a path the same as `down`.
    pub up: BytesPerSecond,
    /// To the host.
    pub down: BytesPerSecond,
    /// The part of datagrams that are lost.
    pub loss: f64,
}

impl Preset {
    /// As the link between two hosts. Of an access preset the lower of both rates holds in both directions.
    #[must_use]
    pub fn link(&self) -> LinkSpec {
        LinkSpec { latency: self.latency.clone(), bandwidth: self.up.min(self.down), loss: self.loss }
    }

    /// As a host's access.
    #[must_use]
    pub fn access(&self) -> Access {
        Access { latency: self.latency.clone(), up: self.up, down: self.down, loss: self.loss }
    }
}

const fn megabits(rate: u64) -> BytesPerSecond {
    BytesPerSecond(rate * 125_000)
}

/// Every preset.
#[must_use]
pub fn presets() -> Vec<Preset> {
    let log_normal = |median_us, sigma, min_us| Latency::LogNormal {
        median: Span::from_micros(median_us),
        sigma,
        min: Span::from_micros(min_us),
    };
    let path = |name, source, latency, rate, loss| Preset {
        name,
        source,
        is_access: false,
        latency,
        up: megabits(rate),
        down: megabits(rate),
        loss,
    };
    let access = |name, source, latency, up, down, loss| Preset {
        name,
        source,
        is_access: true,
        latency,
        up: megabits(up),
        down: megabits(down),
        loss,
    };
    let starlink: Vec<Span> = [10_000, 20_000, 25_000, 30_000, 60_000].map(Span::from_micros).into();
    vec![
        path("same-rack", "one switch, 25 Gbit/s; estimate", log_normal(25, 0.2, 10), 25_000, 0.0),
        path(
            "campus",
            "machines of one data centre or campus, 10 Gbit/s; Jones 2021, shape estimated",
            log_normal(150, 0.6, 50),
            10_000,
            0.000_001,
        ),
        path(
            "metro",
            "sites of one city; Google Distributed Cloud's and AWS's zones, rate and loss estimated",
            log_normal(400, 0.25, 250),
            10_000,
            0.000_01,
        ),
        path(
            "continent",
            "across a continent; below Verizon's level of 45 ms round trip, rate and loss estimated",
            log_normal(20_000, 0.05, 18_000),
            1_000,
            0.000_1,
        ),
        path(
            "transatlantic",
            "New York to London; 73 ms round trip on one provider's trace, rate and loss estimated",
            log_normal(36_500, 0.03, 35_000),
            1_000,
            0.000_1,
        ),
        access(
            "5g",
            "public 5G; Rohde & Schwarz 2022, Cellsmart 2023, loss estimated",
            log_normal(11_000, 0.35, 6_000),
            36,
            210,
            0.001,
        ),
        access(
            "starlink",
            "low orbit satellites; IMC 2022, Ookla 2023, loss and upper tail estimated",
            Latency::Empirical(Arc::from(starlink)),
            12,
            100,
            0.004,
        ),
        access(
            "wifi",
            "a home's wireless network; INFOCOM 2016, scaled to a home by estimate",
            log_normal(5_000, 0.9, 1_000),
            300,
            300,
            0.001,
        ),
    ]
}

/// The preset of a name.
#[must_use]
pub fn preset(name: &str) -> Option<Preset> {
    presets().into_iter().find(|preset| preset.name == name)
}

/// The names of all presets.
#[must_use]
pub fn names() -> Vec<&'static str> {
    presets().into_iter().map(|preset| preset.name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn presets_meet_the_figures_that_they_cite() {
        let quantile = |name: &str, millionths| preset(name).unwrap().latency.quantile(millionths);
        // Round trips are twice this.
        assert!(quantile("campus", 800_000).0.abs_diff(250_000) < 10_000);
        assert!(quantile("metro", 950_000).0 < 650_000);
        assert!(quantile("continent", 999_000).0 < 2 * 22_500_000);
        assert!(quantile("transatlantic", 999_000).0 < 45_000_000);
        assert_eq!(quantile("starlink", 500_000), Span::from_millis(25));
        assert!(quantile("wifi", 900_000) > Span::from_millis(15));
        let fifth = preset("5g").unwrap().latency;
        assert!(
            fifth.quantile(50_000) < Span::from_millis(7) && fifth.quantile(950_000) > Span::from_millis(18)
        );
        assert!(fifth.quantile(900_000) < Span::from_millis(18));
    }

    #[test]
    fn an_access_preset_as_a_path_takes_the_lower_rate() {
        let starlink = preset("starlink").unwrap();
        assert_eq!(starlink.link().bandwidth, megabits(12));
        assert_eq!(starlink.access().down, megabits(100));
        assert!(preset("carrier-pigeon").is_none());
        assert_eq!(names().len(), 8);
    }
}
