//! One seed, one sequence: ChaCha8, named so that it stays the same for ever.

use rand_chacha::ChaCha8Rng;
use rand_core::{Rng, SeedableRng};

/// Random numbers from a seed.
#[derive(Clone, Debug)]
pub struct Random(ChaCha8Rng);

impl Random {
    /// The sequence of a seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(ChaCha8Rng::seed_from_u64(seed))
    }

    /// One of many independent sequences of a seed.
    #[must_use]
    pub fn stream(seed: u64, stream: u64) -> Self {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        random.set_stream(stream);
        Self(random)
    }

    /// 32 random bits.
    pub fn bits(&mut self) -> u32 {
        self.0.next_u32()
    }

    /// A number below `bound`; 0 when the bound is 0. Its bias is below `bound` in 2^64.
    pub fn below(&mut self, bound: u64) -> u64 {
        ((u128::from(self.0.next_u64()) * u128::from(bound)) >> 64) as u64
    }

    /// A number from 0 up to but not including 1, of 53 random bits.
    pub fn unit(&mut self) -> f64 {
        (self.0.next_u64() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// A number of the standard normal distribution (Marsaglia's polar method). Its logarithm and exponential come from
    /// `libm`, so that they are the same on every machine.
    pub fn normal(&mut self) -> f64 {
        loop {
            let (first, second) = (2.0 * self.unit() - 1.0, 2.0 * self.unit() - 1.0);
            let square = first * first + second * second;
            if square > 0.0 && square < 1.0 {
                return first * (-2.0 * libm::log(square) / square).sqrt();
            }
        }
    }

    /// A factor whose logarithm is normal with mean 0 and this standard deviation.
    pub fn log_normal(&mut self, deviation: f64) -> f64 {
        libm::exp(self.normal() * deviation)
    }

    /// True once in `of` times on average.
    pub fn one_in(&mut self, of: u64) -> bool {
        self.below(of) == 0
    }
}
