//! Links as they are likely to be: what is known of each, drawn towards the mean of all as far as it is doubtful.
//!
//! Of many plans that are judged with wrong latencies, the one wins that uses the links whose latency is estimated too low. How wrong estimates
//! are is seen from the two directions of each pair: a path is seldom lopsided, so what they differ by is error. That is held against
//! what pairs differ by among each other. Where pairs differ by no more than their directions do, they are taken to be alike; where
//! directions agree, each pair is believed. This is empirical Bayes as in Efron and Morris, "Stein's estimation rule and its competitors",
//! JASA 68(341), 1973, with the error's variance estimated from pairs of directions.
//!
//! Rates are lopsided in truth (access links), so that the latencies' error stands for theirs.

use isochrone_model::{AgentId, BytesPerSecond, Span};
use isochrone_sched_core::View;

/// Links between the agents of a problem.
pub(super) struct LikelyLinks {
    latency: Towards,
    nanos: Towards,
}

/// What values are drawn to, and how far.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Towards {
    mean: f64,
    /// Of the way there, 0 to 1.
    part: f64,
}

/// A link's latency and rate.
type Link = (Span, BytesPerSecond);

/// For so many bytes the time of a rate is kept, so that means are means of times.
const RATE_BYTES: u64 = 1 << 30;

impl LikelyLinks {
    /// Of all pairs of agents of which both directions are known.
    pub fn new(view: &View<'_>, agents: &[AgentId]) -> Self {
        let mut pairs = Vec::new();
        for (place, first) in agents.iter().enumerate() {
            for second in &agents[..place] {
                if let (Some(there), Some(back)) = (view.link(*first, *second), view.link(*second, *first)) {
                    pairs.push((there, back));
                }
            }
        }
        Self::of(&pairs)
    }

    fn of(pairs: &[(Link, Link)]) -> Self {
        let latencies: Vec<[f64; 2]> =
            pairs.iter().map(|(there, back)| [there.0.0 as f64, back.0.0 as f64]).collect();
        let nanos: Vec<f64> =
            pairs.iter().flat_map(|(there, back)| [nanos(there.1), nanos(back.1)]).collect();
        let means: Vec<f64> = latencies.iter().map(|[there, back]| there.midpoint(*back)).collect();
        // Half of the difference varies as much as the mean of both does around the truth.
        let halves =
            latencies.iter().zip(&means).map(|([there, back], mean)| (there - back) / 2.0 / mean.max(1.0));
        let error = halves.map(|half| half * half).sum::<f64>() / (pairs.len().max(1) as f64);
        // One direction alone is twice as far off, in squares.
        Self { latency: Towards::new(&means, error), nanos: Towards::new(&nanos, 2.0 * error) }
    }

    /// A link's latency and rate, of what is known of it, there and back.
    pub fn link(&self, (latency, rate): Link, back: Option<Link>) -> Link {
        let Some((back, _)) = back else { return (latency, rate) };
        // What is known of one direction alone is more often wrong than a path is lopsided.
        let latency = Span(self.latency.draw(latency.0.midpoint(back.0)));
        if self.nanos.part <= 0.0 {
            return (latency, rate);
        }
        let span = Span(self.nanos.draw(rate.span_for(RATE_BYTES).0).max(1));
        (latency, BytesPerSecond::from_transfer(RATE_BYTES, span))
    }
}

fn nanos(rate: BytesPerSecond) -> f64 {
    rate.span_for(RATE_BYTES).0 as f64
}

impl Towards {
    /// From values whose relative error has this variance.
    fn new(values: &[f64], error: f64) -> Self {
        let count = values.len().max(1) as f64;
        let mean = values.iter().sum::<f64>() / count;
        if mean <= 0.0 || error <= 0.0 {
            return Self::default();
        }
        let spread =
            values.iter().map(|value| (value / mean - 1.0) * (value / mean - 1.0)).sum::<f64>() / count;
        Self { mean, part: error / spread.max(error) }
    }

    fn draw(self, value: u64) -> u64 {
        if self.part <= 0.0 {
            return value;
        }
        // Between two spans, so that the cast loses nothing but the fraction.
        (value as f64 + (self.mean - value as f64) * self.part) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GIGABIT: BytesPerSecond = BytesPerSecond(125_000_000);

    fn known(there: u64, back: u64) -> (Link, Link) {
        ((Span::from_millis(there), GIGABIT), (Span::from_millis(back), GIGABIT))
    }

    fn latency(links: &LikelyLinks, (there, back): (Link, Link)) -> u64 {
        links.link(there, Some(back)).0.0 / 1_000_000
    }

    #[test]
    fn pairs_that_differ_no_more_than_their_directions_are_alike() {
        let pairs = [known(10, 30), known(35, 15), known(14, 28), known(25, 11)];
        let links = LikelyLinks::of(&pairs);
        for pair in pairs {
            assert_eq!(latency(&links, pair), 21, "the mean of all");
        }
    }

    #[test]
    fn pairs_whose_directions_agree_are_believed() {
        let pairs = [known(10, 10), known(80, 80), known(1, 1)];
        let links = LikelyLinks::of(&pairs);
        assert_eq!(pairs.map(|pair| latency(&links, pair)), [10, 80, 1]);
        let pairs = [known(10, 11), known(80, 79), known(1, 1)];
        let links = LikelyLinks::of(&pairs);
        let nearly = pairs.map(|pair| latency(&links, pair));
        assert!(nearly[0].abs_diff(10) <= 1 && nearly[1].abs_diff(80) <= 2 && nearly[2] <= 2, "{nearly:?}");
    }

    #[test]
    fn a_lopsided_rate_stays_where_latencies_agree() {
        let slow = BytesPerSecond(1_000_000);
        let pair = ((Span::from_millis(9), GIGABIT), (Span::from_millis(9), slow));
        let links = LikelyLinks::of(&[pair]);
        assert_eq!(links.link(pair.0, Some(pair.1)).1, GIGABIT);
        assert_eq!(links.link(pair.1, Some(pair.0)).1, slow);
        let doubtful =
            ((Span::from_millis(20), BytesPerSecond(100)), (Span::from_millis(8), BytesPerSecond(300)));
        let links = LikelyLinks::of(&[doubtful]);
        let rate = links.link(doubtful.0, Some(doubtful.1)).1;
        assert!((149..=151).contains(&rate.0), "the mean of a byte's times: {rate:?}");
    }
}
