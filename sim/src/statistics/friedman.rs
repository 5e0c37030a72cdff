//! Whether policies differ at all (Friedman 1937, with Iman and Davenport's correction 1980), and which pairs do
//! (Nemenyi 1963), as Demšar (2006) recommends for many methods on many data sets.

use super::distributions::{f_above, studentized_range_quantile};

/// The test.
#[derive(Clone, Debug, PartialEq)]
pub struct Friedman {
    /// Rows.
    pub instances: usize,
    /// By column; 1 is best.
    pub mean_ranks: Vec<f64>,
    /// Friedman's statistic, corrected for ties.
    pub chi_square: f64,
    /// Iman and Davenport's statistic; infinite when all rows agree.
    pub f: f64,
    /// The probability of one at least as large if no policy differed.
    pub p: f64,
}

/// Ranks of a row's values from the smallest; equal ones share the mean of their ranks.
#[must_use]
pub fn ranks(row: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..row.len()).collect();
    order.sort_by(|left, right| row[*left].total_cmp(&row[*right]));
    let mut ranks = vec![0.0; row.len()];
    let mut first = 0;
    while first < order.len() {
        let mut last = first;
        while last + 1 < order.len() && row[order[last + 1]] == row[order[first]] {
            last += 1;
        }
        for place in &order[first..=last] {
            ranks[*place] = (first + last) as f64 / 2.0 + 1.0;
        }
        first = last + 1;
    }
    ranks
}

/// Means of the ranks over rows.
#[must_use]
pub fn mean_ranks(rows: &[Vec<f64>]) -> Vec<f64> {
    let columns = rows.first().map_or(0, Vec::len);
    let mut sums = vec![0.0; columns];
    for row in rows {
        for (sum, rank) in sums.iter_mut().zip(ranks(row)) {
            *sum += rank;
        }
    }
    sums.into_iter().map(|sum| sum / rows.len() as f64).collect()
}

/// The test over rows; `None` with less than two rows or columns.
#[must_use]
pub fn friedman(rows: &[Vec<f64>]) -> Option<Friedman> {
    let (n, k) = (rows.len() as f64, rows.first().map_or(0, Vec::len) as f64);
    if rows.len() < 2 || k < 2.0 {
        return None;
    }
    let mean_ranks = mean_ranks(rows);
    let middle = (k + 1.0) / 2.0;
    let between: f64 = mean_ranks.iter().map(|rank| (rank - middle) * (rank - middle)).sum::<f64>() * n;
    let within: f64 =
        rows.iter().flat_map(|row| ranks(row)).map(|rank| (rank - middle) * (rank - middle)).sum::<f64>();
    // With every row tied throughout there is nothing to tell apart.
    let chi_square = if within > 0.0 { n * (k - 1.0) * between / within } else { 0.0 };
    let rest = n * (k - 1.0) - chi_square;
    let f = if rest > 1e-9 { (n - 1.0) * chi_square / rest } else { f64::INFINITY };
    let p = f_above(f, k - 1.0, (k - 1.0) * (n - 1.0));
    Some(Friedman { instances: rows.len(), mean_ranks, chi_square, f, p })
}

/// Mean ranks of two policies that differ by at least this differ significantly, at `alpha` over all pairs.
#[must_use]
pub fn nemenyi_difference(policies: usize, instances: usize, alpha: f64) -> f64 {
    let (k, n) = (policies as f64, instances as f64);
    let q = studentized_range_quantile(policies, alpha) / std::f64::consts::SQRT_2;
    q * libm::sqrt(k * (k + 1.0) / (6.0 * n))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ties_share_their_ranks() {
        assert_eq!(ranks(&[3.0, 1.0, 3.0, 2.0]), [3.5, 1.0, 3.5, 2.0]);
        assert_eq!(ranks(&[5.0, 5.0]), [1.5, 1.5]);
    }

    #[test]
    fn a_small_table_by_hand() {
        let rows = [vec![1.0, 2.0, 3.0], vec![1.0, 3.0, 2.0], vec![2.0, 1.0, 1.5]];
        // Ranks: 1 2 3, 1 3 2, 3 1 2: sums 5, 6, 7, and 12 / 36 * (25 + 36 + 49) - 36 = 2 / 3.
        let test = friedman(&rows).unwrap();
        assert!((test.chi_square - 2.0 / 3.0).abs() < 1e-12, "{test:?}");
        // (3 - 1) * 2/3 / (3 * 2 - 2/3) = 0.25.
        assert!((test.f - 0.25).abs() < 1e-12, "{test:?}");
        assert_eq!(test.mean_ranks, [5.0 / 3.0, 2.0, 7.0 / 3.0]);
    }

    /// Demšar 2006, section 3.2.3: four classifiers on 14 data sets; mean ranks 3.143, 2.000, 2.893, 1.964 give
    /// chi-square 9.28, F 3.69; the critical difference is 2.569 * sqrt(4 * 5 / (6 * 14)) = 1.25.
    #[test]
    fn demsars_example() {
        let rows = [
            [0.763, 0.768, 0.771, 0.798],
            [0.599, 0.591, 0.590, 0.569],
            [0.954, 0.971, 0.968, 0.967],
            [0.628, 0.661, 0.654, 0.657],
            [0.882, 0.888, 0.886, 0.898],
            [0.936, 0.931, 0.916, 0.931],
            [0.661, 0.668, 0.609, 0.685],
            [0.583, 0.583, 0.563, 0.625],
            [0.775, 0.838, 0.866, 0.875],
            [1.000, 1.000, 1.000, 1.000],
            [0.940, 0.962, 0.965, 0.962],
            [0.619, 0.666, 0.614, 0.669],
            [0.972, 0.981, 0.9751, 0.975],
            [0.957, 0.978, 0.946, 0.970],
        ];
        // Accuracies: larger is better.
        let rows: Vec<Vec<f64>> = rows.iter().map(|row| row.iter().map(|value| -value).collect()).collect();
        let test = friedman(&rows).unwrap();
        for (found, expected) in test.mean_ranks.iter().zip([3.143, 2.000, 2.893, 1.964]) {
            assert!((found - expected).abs() < 5e-4, "{test:?}");
        }
        // The paper leaves out the correction for ties: a row of four and three pairs, 1 - (60 + 3 * 6) / (14 * 60).
        assert!((test.chi_square * (1.0 - 78.0 / 840.0) - 9.28).abs() < 5e-3, "{test:?}");
        assert!(test.p < 0.05, "{test:?}");
        assert!((nemenyi_difference(4, 14, 0.05) - 1.25).abs() < 5e-3);
    }

    #[test]
    fn what_cannot_be_tested_is_not() {
        assert_eq!(friedman(&[vec![1.0, 2.0]]), None);
        let tied = friedman(&[vec![1.0, 1.0], vec![2.0, 2.0]]).unwrap();
        assert_eq!((tied.chi_square, tied.p), (0.0, 1.0));
        let agreed = friedman(&vec![vec![1.0, 2.0, 3.0]; 5]).unwrap();
        assert!(agreed.f.is_infinite() && agreed.p == 0.0);
    }
}
