//! How long datagrams of an ordered pair are under way, at each time that somebody asks about.
//!
//! The same course for all that the pair sends, as of one wire: flows and messages side by side are late together. It is made where it is
//! asked about, in steps of what datagrams are apart, each value from the one before it (an Ornstein-Uhlenbeck process under the
//! distribution of the link). Must never hold what was sent.

use std::collections::BTreeMap;

use isochrone_link::{LATENCY_PERSISTENCE, normal_after};
use isochrone_model::{Span, Timestamp};

use super::quic::Kind;
use crate::random::Random;

/// Older values are forgotten.
const KEPT_MAX: usize = 1_024;
/// From so many times the persistence on one value says nothing of the next.
const RELATED_MAX: u64 = 8;

/// The course of one pair's delays.
#[derive(Clone, Debug, Default)]
pub(super) struct Delays {
    /// Standard normal variables by step.
    normals: BTreeMap<u64, f64>,
}

impl Delays {
    /// Of a datagram that is sent at a time.
    pub fn at(&mut self, kind: &Kind, sent: Timestamp, random: &mut Random) -> Span {
        let normal = self.normal(sent.0 / kind.spacing.0, kind.spacing, random);
        kind.sampler.of_normal(normal)
    }

    /// When the last of datagrams arrives that are sent between two times: of them all the latest, since they keep their order.
    pub fn last_arrival(
        &mut self,
        kind: &Kind,
        first: Timestamp,
        last: Timestamp,
        random: &mut Random,
    ) -> Timestamp {
        let mut latest = first + self.at(kind, first, random);
        let (begin, end) = (first.0 / kind.spacing.0 + 1, last.0 / kind.spacing.0);
        for step in begin..=end {
            let normal = self.normal(step, kind.spacing, random);
            latest = latest.max(Timestamp(step * kind.spacing.0) + kind.sampler.of_normal(normal));
        }
        latest.max(last + self.at(kind, last, random))
    }

    fn normal(&mut self, step: u64, spacing: Span, random: &mut Random) -> f64 {
        if let Some(normal) = self.normals.get(&step) {
            return *normal;
        }
        let before = self.normals.range(..step).next_back();
        let gap = before.map(|(before, last)| (spacing.saturating_mul(step - before), *last));
        let related = gap.filter(|(gap, _)| gap.0 <= RELATED_MAX * LATENCY_PERSISTENCE.0);
        let normal = match related {
            Some((gap, last)) => normal_after(last, gap, LATENCY_PERSISTENCE, random),
            None => random.normal(),
        };
        self.normals.insert(step, normal);
        if self.normals.len() > KEPT_MAX {
            self.normals.pop_first();
        }
        normal
    }
}

#[cfg(test)]
mod tests {
    use isochrone_link::{Latency, LinkSpec};
    use isochrone_model::BytesPerSecond;

    use super::*;
    use crate::network::options::QuicOptions;

    fn kind() -> Kind {
        let latency =
            Latency::LogNormal { median: Span::from_millis(5), sigma: 0.8, min: Span::from_millis(1) };
        let link = LinkSpec { latency, bandwidth: BytesPerSecond(5_000_000), loss: 0.0 };
        Kind::new(&link, &QuicOptions::default())
    }

    fn at(micros: u64) -> Timestamp {
        Timestamp(micros * 1_000)
    }

    #[test]
    fn what_is_sent_at_one_time_is_late_together_and_what_is_far_apart_is_not() {
        let (kind, mut delays, mut random) = (kind(), Delays::default(), Random::new(3));
        let first = delays.at(&kind, at(10_000), &mut random);
        assert_eq!(delays.at(&kind, at(10_050), &mut random), first, "less than two datagrams apart");
        assert_eq!(delays.at(&kind, at(10_000), &mut random), first, "asked again");
        assert_ne!(delays.at(&kind, at(90_000), &mut random), first);
        // A datagram's time apart they are much alike.
        let pairs: Vec<(f64, f64)> = (1..2_000)
            .map(|place| {
                let sent = at(place * 50_000);
                let one = delays.at(&kind, sent, &mut random);
                let next = delays.at(&kind, sent + kind.spacing, &mut random);
                (one.as_secs_f64(), next.as_secs_f64())
            })
            .collect();
        let mean = pairs.iter().map(|(one, _)| one).sum::<f64>() / pairs.len() as f64;
        let stated = kind.mean.as_secs_f64();
        assert!((mean / stated - 1.0).abs() < 0.08, "{mean} s on average, {stated} stated");
        let apart = pairs.iter().map(|(one, next)| (one - next).abs()).sum::<f64>() / pairs.len() as f64;
        assert!(apart < 0.5 * mean, "{apart} s from one datagram to the next, {mean} s on average");
    }

    #[test]
    fn the_last_of_many_waits_for_the_latest() {
        let (kind, mut delays, mut random) = (kind(), Delays::default(), Random::new(5));
        let (mut alone, mut behind) = (0.0, 0.0);
        for place in 1..400 {
            let (first, last) = (at(place * 100_000), at(place * 100_000 + 20_000));
            let arrival = delays.last_arrival(&kind, first, last, &mut random);
            let of_last = last + delays.at(&kind, last, &mut random);
            assert!(arrival >= of_last && arrival >= first + delays.at(&kind, first, &mut random));
            alone += of_last.since(last).as_secs_f64();
            behind += arrival.since(last).as_secs_f64();
        }
        assert!(behind > 1.3 * alone, "{behind} s in all behind others, {alone} alone");
    }
}
