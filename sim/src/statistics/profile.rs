//! Performance profiles (Dolan and Moré 2002).

/// A point of a profile: on this part of the instances the policy is at most this factor above the best.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ProfilePoint {
    /// The factor, from 1.
    pub factor: f64,
    /// The part, from 0 to 1.
    pub part: f64,
}

/// The profile of each column: steps, by rising factor, starting at factor 1. A value of infinity stands for a run
/// that failed: it never counts. Rows in which all failed are left out.
#[must_use]
pub fn profile(rows: &[Vec<f64>]) -> Vec<Vec<ProfilePoint>> {
    let columns = rows.first().map_or(0, Vec::len);
    let mut factors: Vec<Vec<f64>> = vec![Vec::new(); columns];
    let mut counted = 0_usize;
    for row in rows {
        let best = row.iter().copied().fold(f64::INFINITY, f64::min);
        if !best.is_finite() {
            continue;
        }
        counted += 1;
        for (factors, value) in factors.iter_mut().zip(row) {
            if value.is_finite() {
                factors.push(value / best);
            }
        }
    }
    let step_through = |mut factors: Vec<f64>| {
        factors.sort_by(f64::total_cmp);
        let mut points = vec![ProfilePoint { factor: 1.0, part: 0.0 }];
        for (index, factor) in factors.into_iter().enumerate() {
            let part = (index + 1) as f64 / counted as f64;
            match points.last_mut() {
                Some(last) if last.factor == factor => last.part = part,
                _ => points.push(ProfilePoint { factor, part }),
            }
        }
        points
    };
    factors.into_iter().map(step_through).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn profiles_by_hand() {
        let rows = [vec![10.0, 20.0], vec![10.0, 10.0], vec![30.0, 10.0], vec![5.0, f64::INFINITY]];
        let profiles = profile(&rows);
        let point = |factor, part| ProfilePoint { factor, part };
        assert_eq!(profiles[0], [point(1.0, 0.75), point(3.0, 1.0)]);
        assert_eq!(profiles[1], [point(1.0, 0.5), point(2.0, 0.75)]);
        assert_eq!(profile(&[vec![f64::INFINITY]])[0], [point(1.0, 0.0)]);
    }
}
