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
