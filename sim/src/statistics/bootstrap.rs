//! Intervals of a mean ratio, by drawing whole clusters of instances again (Efron 1979; Field and Welsh 2007).

use crate::random::Random;

/// A geometric mean with an interval.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Interval {
    /// Of all that was given.
    pub middle: f64,
    /// The lower end.
    pub low: f64,
    /// The upper end.
    pub high: f64,
}

/// The geometric mean of ratios, given in clusters of which the members are not independent (one graph under many
/// latencies), with the percentile interval of `resamples` draws of as many clusters. `confidence` is that of the
/// interval alone: for m comparisons at once at level a, pass 1 - a / m (Bonferroni). `None` without ratios.
#[must_use]
pub fn ratio_interval(
    clusters: &[Vec<f64>],
    confidence: f64,
    resamples: usize,
    seed: u64,
) -> Option<Interval> {
    let sums: Vec<(f64, f64)> = clusters
        .iter()
        .filter(|cluster| !cluster.is_empty())
        .map(|cluster| (cluster.iter().map(|ratio| libm::log(*ratio)).sum(), cluster.len() as f64))
        .collect();
    let mean = |picked: &mut dyn Iterator<Item = &(f64, f64)>| {
        let (sum, count) = picked.fold((0.0, 0.0), |(sum, count), (s, c)| (sum + s, count + c));
        libm::exp(sum / count)
    };
    if sums.is_empty() {
        return None;
    }
    let middle = mean(&mut sums.iter());
    let mut random = Random::new(seed);
    let mut means: Vec<f64> = (0..resamples.max(1))
        .map(|_| mean(&mut (0..sums.len()).map(|_| &sums[random.below(sums.len() as u64) as usize])))
        .collect();
    means.sort_by(f64::total_cmp);
    let last = means.len() - 1;
    let tail = (1.0 - confidence) / 2.0;
    // Outwards, so that the interval holds at least what it promises.
    let low = libm::floor(tail * last as f64) as usize;
    let high = libm::ceil((1.0 - tail) * last as f64) as usize;
    Some(Interval { middle, low: means[low], high: means[high.min(last)] })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_ratios_have_no_width() {
        let interval = ratio_interval(&vec![vec![2.0, 2.0]; 5], 0.95, 500, 1).unwrap();
        for value in [interval.middle, interval.low, interval.high] {
            assert!((value - 2.0).abs() < 1e-12, "{interval:?}");
        }
        assert_eq!(ratio_interval(&[vec![]], 0.95, 500, 1), None);
    }

    /// Two clusters with means 1 and 4: of the four draws of two, one gives 1, two give 2, one gives 4.
    #[test]
    fn draws_are_of_whole_clusters() {
        let clusters = [vec![1.0, 1.0, 1.0], vec![4.0, 4.0, 4.0]];
        let interval = ratio_interval(&clusters, 0.95, 10_000, 7).unwrap();
        assert!((interval.middle - 2.0).abs() < 1e-12);
        assert!((interval.low - 1.0).abs() < 1e-12 && (interval.high - 4.0).abs() < 1e-12, "{interval:?}");
        let half = ratio_interval(&clusters, 0.40, 10_000, 7).unwrap();
        assert!((half.low - 2.0).abs() < 1e-12 && (half.high - 2.0).abs() < 1e-12, "{half:?}");
        assert_eq!(ratio_interval(&clusters, 0.95, 10_000, 7), Some(interval));
    }

    /// 200 ratios whose logarithms are normal with deviation 0.5: the interval must be near 1.96 * 0.5 / sqrt(200).
    #[test]
    fn intervals_are_as_wide_as_theory_says() {
        let mut random = Random::new(3);
        let clusters: Vec<Vec<f64>> = (0..200).map(|_| vec![random.log_normal(0.5)]).collect();
        let interval = ratio_interval(&clusters, 0.95, 4_000, 5).unwrap();
        let width = libm::log(interval.high) - libm::log(interval.low);
        assert!((width / (2.0 * 1.96 * 0.5 / libm::sqrt(200.0)) - 1.0).abs() < 0.15, "{width}");
    }
}
