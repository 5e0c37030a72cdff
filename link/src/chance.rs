//! Probabilities as integers.

use std::fmt;

use crate::random::Random;

/// A probability in units of 2^-32: 32 random bits decide it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Chance(u64);

impl Chance {
    /// Never.
    pub const NEVER: Self = Self(0);
    /// Always.
    pub const ALWAYS: Self = Self(1 << 32);

    /// The nearest to a probability; below 0, or no number, is never, above 1 always. One that is above zero never becomes
    /// zero.
    #[must_use]
    pub fn new(probability: f64) -> Self {
        let units = (probability.clamp(0.0, 1.0) * (1_u64 << 32) as f64 + 0.5) as u64;
        Self(units.max(u64::from(probability > 0.0)))
    }

    /// As a number from 0 to 1.
    #[must_use]
    pub fn probability(self) -> f64 {
        self.0 as f64 / (1_u64 << 32) as f64
    }

    /// Decides once. Draws nothing when the outcome is certain.
    pub fn happens(self, random: &mut Random) -> bool {
        match self.0 {
            0 => false,
            units if units >= 1 << 32 => true,
            units => u64::from(random.bits()) < units,
        }
    }
}

impl fmt::Display for Chance {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} %", self.probability() * 100.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chances_come_true_as_often_as_they_say() {
        let mut random = Random::new(3);
        for probability in [0.001, 0.25, 0.9] {
            let chance = Chance::new(probability);
            let hits = (0..200_000).filter(|_| chance.happens(&mut random)).count() as f64 / 200_000.0;
            assert!((hits - probability).abs() < 5.0 * (probability / 200_000.0).sqrt(), "{hits}");
        }
        assert!(!Chance::NEVER.happens(&mut random) && Chance::ALWAYS.happens(&mut random));
        assert_eq!((Chance::new(f64::NAN), Chance::new(7.0)), (Chance::NEVER, Chance::ALWAYS));
        assert!(Chance::new(1e-300) > Chance::NEVER);
    }
}
