//! What may be said of many runs: ranks, tests, intervals, profiles.
//!
//! Plain functions over tables of positive numbers (makespans) with a row for each instance and a column for each
//! policy; smaller is better. Logarithms and powers are `libm`'s, so that results are the same on every machine.

mod bootstrap;
mod distributions;
mod friedman;
mod profile;

pub use bootstrap::{Interval, ratio_interval};
pub use distributions::{chi_square_above, f_above, normal_below, studentized_range_quantile};
pub use friedman::{Friedman, friedman, mean_ranks, nemenyi_difference, ranks};
pub use profile::{ProfilePoint, profile};

/// The geometric mean; `NaN` of nothing.
#[must_use]
pub fn geometric_mean(values: impl IntoIterator<Item = f64>) -> f64 {
    let (mut sum, mut count) = (0.0, 0_usize);
    for value in values {
        sum += libm::log(value);
        count += 1;
    }
    if count == 0 { f64::NAN } else { libm::exp(sum / count as f64) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn geometric_means() {
        assert!((geometric_mean([1.0, 4.0, 16.0]) - 4.0).abs() < 1e-12);
        assert!(geometric_mean([]).is_nan());
    }
}
