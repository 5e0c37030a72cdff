//! What a path's one-way latency is: a constant or a distribution, always with integers as the outcome; and how the
//! latencies of datagrams that follow each other hang together.

use std::sync::Arc;

use isochrone_model::{Span, Timestamp};

use crate::mathematics::{exp, ln, normal_quantile};
use crate::random::Random;

/// Steps of the table that stands for a normal or log-normal distribution. Its ends lie at probabilities of an
/// eighth of a step, 3.7 standard deviations out: nothing beyond is ever drawn.
const TABLE_STEPS: usize = 1024;

/// Quantile points of each side when two distributions are added.
const SUM_POINTS: usize = 64;

/// The one-way latency of a path.
#[derive(Clone, Debug, PartialEq)]
pub enum Latency {
    /// Always the same.
    Fixed(Span),
    /// Normal, but never below `min`: what would be lower is `min`.
    Normal {
        /// Mean of the normal distribution.
        mean: Span,
        /// Its standard deviation.
        deviation: Span,
        /// The floor.
        min: Span,
    },
    /// Log-normal, but never below `min`.
    LogNormal {
        /// Half are below.
        median: Span,
        /// Standard deviation of the logarithm.
        sigma: f64,
        /// The floor.
        min: Span,
    },
    /// Measured: quantiles at equal steps of probability, from the smallest to the largest value, with straight
    /// lines between. At least one, ascending.
    Empirical(Arc<[Span]>),
}

impl Latency {
    /// None.
    pub const ZERO: Self = Self::Fixed(Span::ZERO);

    /// Anything from `mean - spread` to `mean + spread`, evenly; what would be negative is zero.
    #[must_use]
    pub fn uniform(mean: Span, spread: Span) -> Self {
        Self::Empirical(Arc::from([mean.saturating_sub(spread), mean, mean + spread]))
    }

    /// `min` plus a Pareto (Lomax) distribution of this scale and shape: most are little above `min`, a few far above. The
    /// shape must be above 1; the mean is `min + scale / (shape - 1)`. At most 1 in 8,192 would be above the largest that
    /// is drawn.
    #[must_use]
    pub fn pareto(min: Span, scale: Span, shape: f64) -> Self {
        let steps = TABLE_STEPS as f64;
        let at = |step: usize| {
            let above = (1.0 - step as f64 / steps).max(0.125 / steps);
            let times = exp(-ln(above) / shape) - 1.0;
            min + Span((scale.0 as f64 * times + 0.5) as u64)
        };
        Self::Empirical((0..=TABLE_STEPS).map(at).collect())
    }

    /// The mean of what is drawn.
    #[must_use]
    pub fn mean(&self) -> Span {
        match self {
            Self::Fixed(span) => *span,
            Self::Normal { .. } | Self::LogNormal { .. } | Self::Empirical(_) => {
                let table = self.table();
                if table.len() == 1 {
                    return table[0];
                }
                let doubled: u128 =
                    table.windows(2).map(|pair| u128::from(pair[0].0) + u128::from(pair[1].0)).sum();
                let steps = table.len() as u128 - 1;
                Span(u64::try_from((doubled + steps) / (2 * steps)).unwrap_or(u64::MAX))
            }
        }
    }

    /// What it does not exceed with a probability given in millionths.
    #[must_use]
    pub fn quantile(&self, millionths: u32) -> Span {
        let table = self.table();
        let position = u128::from(millionths.min(1_000_000)) * (table.len() as u128 - 1);
        interpolate(&table, (position / 1_000_000) as usize, ((position % 1_000_000) << 32) / 1_000_000)
    }

    /// The smallest that is ever drawn.
    #[must_use]
    pub fn smallest(&self) -> Span {
        self.quantile(0)
    }

    /// Whether it never varies.
    #[must_use]
    pub fn is_fixed(&self) -> bool {
        let table = self.table();
        table[0] == table[table.len() - 1]
    }

    /// The same as a table of quantiles, which clones share.
    #[must_use]
    pub fn tabulated(&self) -> Self {
        match self {
            Self::Fixed(span) => Self::Fixed(*span),
            Self::Normal { .. } | Self::LogNormal { .. } | Self::Empirical(_) => {
                Self::Empirical(self.table())
            }
        }
    }

    /// What draws from it.
    #[must_use]
    pub fn sampler(&self) -> LatencySampler {
        LatencySampler { table: self.table() }
    }

    /// The sum of two independent latencies. Exact when one of them is fixed; else made from all sums of 64
    /// quantiles of each.
    #[must_use]
    pub fn plus(&self, other: &Self) -> Self {
        match (self, other) {
            (Self::Fixed(left), Self::Fixed(right)) => Self::Fixed(*left + *right),
            (Self::Fixed(Span::ZERO), varying) | (varying, Self::Fixed(Span::ZERO)) => varying.clone(),
            (Self::Fixed(shift), varying) | (varying, Self::Fixed(shift)) => {
                Self::Empirical(varying.table().iter().map(|point| *point + *shift).collect())
            }
            (_, _) => {
                let points = |latency: &Self| -> Vec<Span> {
                    let at = |point: usize| (2 * point as u32 + 1) * 1_000_000 / (2 * SUM_POINTS as u32);
                    (0..SUM_POINTS).map(|point| latency.quantile(at(point))).collect()
                };
                let (left, right) = (points(self), points(other));
                let mut sums: Vec<Span> =
                    left.iter().flat_map(|one| right.iter().map(move |two| *one + *two)).collect();
                sums.sort_unstable();
                let last = sums.len() - 1;
                Self::Empirical((0..=SUM_POINTS).map(|point| sums[point * last / SUM_POINTS]).collect())
            }
        }
    }

    /// Quantiles at equal steps, one at least.
    fn table(&self) -> Arc<[Span]> {
        let from_normal = |value: &dyn Fn(f64) -> f64, min: Span| -> Arc<[Span]> {
            let steps = TABLE_STEPS as f64;
            (0..=TABLE_STEPS)
                .map(|step| {
                    let probability = (step as f64 / steps).clamp(0.125 / steps, 1.0 - 0.125 / steps);
                    Span((value(normal_quantile(probability)) + 0.5) as u64).max(min)
                })
                .collect()
        };
        match self {
            Self::Fixed(span) => Arc::from([*span]),
            Self::Normal { mean, deviation, min } => {
                from_normal(&|normal| mean.0 as f64 + deviation.0 as f64 * normal, *min)
            }
            Self::LogNormal { median, sigma, min } => {
                from_normal(&|normal| median.0 as f64 * exp(sigma * normal), *min)
            }
            Self::Empirical(quantiles) => {
                if quantiles.is_empty() {
                    Arc::from([Span::ZERO])
                } else {
                    quantiles.clone()
                }
            }
        }
    }
}

/// Draws latencies by inversion of a table of quantiles.
#[derive(Clone, Debug)]
pub struct LatencySampler {
    table: Arc<[Span]>,
}

impl LatencySampler {
    /// The next one. Draws nothing from `random` when the latency is fixed.
    pub fn draw(&self, random: &mut Random) -> Span {
        let steps = self.table.len() as u64 - 1;
        if steps == 0 {
            return self.table[0];
        }
        let drawn = random.below(steps << 32);
        interpolate(&self.table, (drawn >> 32) as usize, u128::from(drawn & 0xffff_ffff))
    }
}

/// How the latencies of datagrams that follow each other hang together. What is drawn keeps its distribution whatever
/// the correlation.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Correlation {
    /// Not at all.
    #[default]
    None,
    /// Each with the one before it by this coefficient, from 0 up to but not including 1.
    BetweenDatagrams(f64),
    /// The closer in time the more: by e^-1 at this distance.
    OverTime(Span),
}

/// Latencies of datagrams: their distribution, and how they hang together.
#[derive(Clone, Debug, PartialEq)]
pub struct Jitter {
    /// The one-way latency.
    pub latency: Latency,
    /// How one depends on those before it.
    pub correlation: Correlation,
}

impl Jitter {
    /// Always the same latency.
    #[must_use]
    pub fn fixed(latency: Span) -> Self {
        Self { latency: Latency::Fixed(latency), correlation: Correlation::None }
    }
}

/// Draws correlated latencies. A normal variable follows an autoregressive process of first order and is looked up in the
/// table of quantiles by its probability (a Gaussian copula), so that the distribution is kept exactly.
#[derive(Clone, Debug)]
pub(crate) struct JitterSampler {
    sampler: LatencySampler,
    correlation: Correlation,
    normal: Option<f64>,
    drawn_at: Timestamp,
}

impl JitterSampler {
    pub(crate) fn new(jitter: &Jitter) -> Self {
        Self {
            sampler: jitter.latency.sampler(),
            correlation: jitter.correlation,
            normal: None,
            drawn_at: Timestamp::ZERO,
        }
    }

    /// The latency of a datagram that begins its way now.
    pub(crate) fn draw(&mut self, now: Timestamp, random: &mut Random) -> Span {
        if self.sampler.table.len() == 1 {
            return self.sampler.table[0];
        }
        let coefficient = match self.correlation {
            Correlation::None => return self.sampler.draw(random),
            Correlation::BetweenDatagrams(coefficient) => coefficient.clamp(0.0, 1.0),
            Correlation::OverTime(span) => over_time(now.since(self.drawn_at), span),
        };
        self.drawn_at = now;
        let normal = match self.normal {
            None => random.normal(),
            Some(last) => next_normal(last, coefficient, random),
        };
        self.normal = Some(normal);
        self.sampler.of_normal(normal)
    }
}

fn over_time(span: Span, persistence: Span) -> f64 {
    exp(-(span.0 as f64) / persistence.0.max(1) as f64)
}

fn next_normal(last: f64, coefficient: f64, random: &mut Random) -> f64 {
    coefficient * last + (1.0 - coefficient * coefficient).sqrt() * random.normal()
}

/// What a standard normal variable becomes after a span, when its correlation falls by e^-1 in `persistence`: how latencies go on under
/// [`Correlation::OverTime`] (an Ornstein-Uhlenbeck process).
pub fn normal_after(last: f64, span: Span, persistence: Span, random: &mut Random) -> f64 {
    next_normal(last, over_time(span, persistence), random)
}

impl LatencySampler {
    /// The latency that a standard normal variable stands for: of the same probability not to be exceeded.
    #[must_use]
    pub fn of_normal(&self, normal: f64) -> Span {
        self.at(0.5 * libm::erfc(-normal / std::f64::consts::SQRT_2))
    }

    /// What is not exceeded with this probability.
    fn at(&self, probability: f64) -> Span {
        let steps = self.table.len() as u64 - 1;
        let place = (probability.clamp(0.0, 1.0) * (steps << 32) as f64) as u64;
        interpolate(&self.table, (place >> 32) as usize, u128::from(place & 0xffff_ffff))
    }
}

/// The value a fraction (of 2^32) behind a point.
fn interpolate(table: &[Span], index: usize, fraction: u128) -> Span {
    let low = table[index].0;
    let Some(high) = table.get(index + 1) else {
        return Span(low);
    };
    Span(low + ((u128::from(high.0.saturating_sub(low)) * fraction) >> 32) as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MILLI: fn(u64) -> Span = Span::from_millis;

    fn drawn_mean(latency: &Latency) -> f64 {
        let (sampler, mut random) = (latency.sampler(), Random::new(7));
        (0..50_000).map(|_| sampler.draw(&mut random).0 as f64).sum::<f64>() / 50_000.0
    }

    #[test]
    fn what_is_drawn_has_the_stated_mean() {
        let cases = [
            Latency::Fixed(MILLI(3)),
            Latency::Normal { mean: MILLI(10), deviation: MILLI(2), min: MILLI(1) },
            Latency::Normal { mean: MILLI(10), deviation: MILLI(20), min: MILLI(5) },
            Latency::LogNormal { median: MILLI(20), sigma: 0.5, min: MILLI(4) },
            Latency::Empirical(Arc::from([MILLI(1), MILLI(2), MILLI(10)])),
        ];
        for latency in &cases {
            let (stated, drawn) = (latency.mean().0 as f64, drawn_mean(latency));
            assert!((stated - drawn).abs() < 0.01 * stated, "{latency:?}: {stated} and {drawn}");
        }
        assert_eq!(cases[4].mean(), Span(3_750_000));
        assert!((cases[1].mean().0 as i64 - 10_000_000).abs() <= 1);
        // Of a log-normal: median times e^(sigma^2 / 2); the cut tail takes a little.
        assert!((cases[3].mean().0 as f64 / 22_662_969.0 - 1.0).abs() < 0.002);
    }

    #[test]
    fn quantiles_floors_and_constancy_are_kept() {
        let normal = Latency::Normal { mean: MILLI(10), deviation: MILLI(2), min: MILLI(9) };
        assert_eq!((normal.smallest(), normal.quantile(500_000)), (MILLI(9), MILLI(10)));
        assert!(!normal.is_fixed() && Latency::Fixed(MILLI(1)).is_fixed());
        assert!(Latency::Normal { mean: MILLI(1), deviation: Span::ZERO, min: Span::ZERO }.is_fixed());
        let empirical = Latency::Empirical(Arc::from([MILLI(0), MILLI(10)]));
        assert_eq!(empirical.quantile(250_000), Span(2_500_000));
        assert_eq!(empirical.quantile(1_000_000), MILLI(10));
    }

    #[test]
    fn sums_add_means_and_fixed_parts_only_shift() {
        let normal = Latency::Normal { mean: MILLI(10), deviation: MILLI(2), min: Span::ZERO };
        let shifted = normal.plus(&Latency::Fixed(MILLI(5)));
        assert!(shifted.mean().0.abs_diff(normal.mean().0 + 5_000_000) <= 1);
        let both = normal.plus(&Latency::LogNormal { median: MILLI(20), sigma: 0.3, min: Span::ZERO });
        let expected = 30.92e6;
        assert!((both.mean().0 as f64 - expected).abs() < 0.01 * expected, "{:?}", both.mean());
        assert_eq!(normal.plus(&Latency::ZERO), normal);
    }
}
