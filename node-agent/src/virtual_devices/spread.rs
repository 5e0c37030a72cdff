//! Random durations around a mean, the same for the same seed on every machine of one kind.

/// Factors with mean 1 and a log-normal distribution.
#[derive(Clone, Debug)]
pub(super) struct Spread {
    state: u64,
    sigma: f64,
}

impl Spread {
    /// `relative` is the standard deviation relative to the mean; zero makes every factor 1.
    pub(super) fn new(relative: f64, seed: u64) -> Self {
        // NaN counts as none.
        let relative = if relative > 0.0 { relative.min(10.0) } else { 0.0 };
        Self { state: seed, sigma: (1.0 + relative * relative).ln().sqrt() }
    }

    /// The next factor, above zero.
    pub(super) fn factor(&mut self) -> f64 {
        if self.sigma == 0.0 {
            return 1.0;
        }
        // Box and Muller's transform; the first number must not be zero.
        let radius = (-2.0 * (1.0 - self.uniform()).ln()).sqrt();
        let normal = radius * (std::f64::consts::TAU * self.uniform()).cos();
        (self.sigma * normal - self.sigma * self.sigma / 2.0).exp()
    }

    /// A number from 0 up to but not including 1.
    fn uniform(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// SplitMix64 by Steele, Lea and Flood.
    fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn factors_have_mean_one_and_the_spread_asked_for() {
        let mut spread = Spread::new(0.3, 7);
        let factors: Vec<f64> = (0..100_000).map(|_| spread.factor()).collect();
        let mean = factors.iter().sum::<f64>() / 1e5;
        let variance = factors.iter().map(|factor| (factor - mean).powi(2)).sum::<f64>() / 1e5;
        assert!((mean - 1.0).abs() < 0.01, "{mean}");
        assert!((variance.sqrt() - 0.3).abs() < 0.01, "{}", variance.sqrt());
        assert!(factors.iter().all(|factor| *factor > 0.0));
    }

    #[test]
    fn one_seed_gives_one_sequence() {
        let sequence = |seed| {
            let mut spread = Spread::new(0.5, seed);
            std::array::from_fn::<u64, 4, _>(|_| spread.factor().to_bits())
        };
        assert_eq!(sequence(1), sequence(1));
        assert_ne!(sequence(1), sequence(2));
        assert_eq!(Spread::new(f64::NAN, 1).factor(), 1.0);
    }

    #[test]
    fn the_generator_is_the_published_one() {
        let mut spread = Spread::new(0.0, 1_234_567);
        assert_eq!(spread.next(), 6_457_827_717_110_365_317);
        assert_eq!(spread.next(), 3_203_168_211_198_807_973);
    }
}
