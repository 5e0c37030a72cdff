//! One seed, one sequence: ChaCha8, named so that it stays the same for ever, and only arithmetic whose every operation
//! is exactly defined, so that it is the same on every machine.

use rand_chacha::ChaCha8Rng;
use rand_core::{Rng, SeedableRng};

/// Random numbers from a seed.
pub(super) struct Random(ChaCha8Rng);

impl Random {
    pub fn new(seed: u64) -> Self {
        Random(ChaCha8Rng::seed_from_u64(seed))
    }

    /// A number below `bound`, which is above 0; its bias is below `bound` in 2^64.
    pub fn below(&mut self, bound: usize) -> usize {
        let wide = u128::from(self.0.next_u64()) * bound as u128;
        (wide >> 64) as usize
    }

    /// A number from 0 to below 1, a multiple of 2^-53.
    pub fn unit(&mut self) -> f64 {
        (self.0.next_u64() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// A number from `1 - spread` to below `1 + spread`.
    pub fn around_one(&mut self, spread: f64) -> f64 {
        1.0 + spread * (2.0 * self.unit() - 1.0)
    }

    /// How many trials that succeed with `probability` (above 0) fail before the first success.
    pub fn failures(&mut self, probability: f64) -> u64 {
        if probability >= 1.0 {
            return 0;
        }
        // Inversion of the geometric distribution; 1 - unit() is above 0.
        let failures = natural_log(1.0 - self.unit()) / natural_log(1.0 - probability);
        if failures < 9e18 { failures as u64 } else { 9_000_000_000_000_000_000 }
    }
}

/// The natural logarithm of a normal number above 0. The one of the system's library differs between libraries in its
/// last bit; this one takes additions, multiplications and divisions only.
fn natural_log(value: f64) -> f64 {
    let bits = value.to_bits();
    let exponent = ((bits >> 52) & 0x7ff) as i64 - 1023;
    let mantissa = f64::from_bits((bits & ((1 << 52) - 1)) | (1023 << 52));
    // ln m = 2 artanh z with z at most 1/3: 18 terms are exact to the last bits.
    let z = (mantissa - 1.0) / (mantissa + 1.0);
    let square = z * z;
    let sum = (0..18).rev().fold(0.0, |sum, term| sum * square + 1.0 / f64::from(2 * term + 1));
    exponent as f64 * std::f64::consts::LN_2 + 2.0 * z * sum
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_logarithm_is_that_of_the_library() {
        for value in [1.0, 0.5, 0.999_999_999, 1e-16, 0.3, 2.0, 7.25, 1e300] {
            let difference = (natural_log(value) - value.ln()).abs();
            assert!(difference <= 1e-15 * value.ln().abs().max(1.0), "{value}: {difference}");
        }
    }

    #[test]
    fn numbers_are_where_they_should_be() {
        let mut random = Random::new(5);
        let mut sum = 0.0;
        let mut failures = 0;
        for _ in 0..10_000 {
            assert!(random.below(3) < 3);
            let around = random.around_one(0.5);
            assert!((0.5..1.5).contains(&around));
            sum += around;
            failures += random.failures(0.25);
        }
        assert!((sum / 10_000.0 - 1.0).abs() < 0.02, "{sum}");
        assert!((failures as f64 / 10_000.0 - 3.0).abs() < 0.1, "{failures}");
        assert_eq!(random.failures(1.0), 0);
    }
}
