//! Measured values since the last change of what is measured, and the level that estimates count with.
//!
//! A value far from the level is held for a while: three in a row on the same side are a change, and what was
//! measured before it no longer counts. So a change is seen with its third value, and one or two spikes move
//! nothing. A change for the better must hold longer than one for the worse, and the level follows the median only
//! when that has left it by an eighth: what swings does not make decisions swing.

use std::collections::VecDeque;

/// Values kept since the last change.
pub const VALUES_MAX: usize = 32;
/// Values in a row above the level that are a change.
pub const RISE_VALUES: usize = 3;
/// Values in a row below the level that are a change, once the level is settled.
pub const FALL_VALUES: usize = 8;
/// Until so many values have come, a change for the better takes no longer than one for the worse: the first values
/// carry one-off costs.
const SETTLED_VALUES: u64 = 8;

/// The values of one path.
#[derive(Clone, Debug)]
pub struct Window {
    /// Since the last change, oldest first.
    values: VecDeque<u64>,
    level: u64,
    /// The median distance from the median.
    deviation: u64,
    /// Differences below this are never a change.
    difference_min: u64,
    /// How many of the last values lie on one side far from the level.
    suspects: usize,
    are_suspects_above: bool,
    count: u64,
    changes: u64,
}

impl Window {
    /// No values yet. Differences below `difference_min` are noise, whatever the values.
    #[must_use]
    pub fn new(difference_min: u64) -> Self {
        Self {
            values: VecDeque::new(),
            level: 0,
            deviation: 0,
            difference_min,
            suspects: 0,
            are_suspects_above: false,
            count: 0,
            changes: 0,
        }
    }

    /// Takes in a value; says whether the level has moved.
    pub fn record(&mut self, value: u64) -> bool {
        self.count += 1;
        if self.values.len() == VALUES_MAX {
            self.values.pop_front();
        }
        self.values.push_back(value);
        if self.values.len() == 1 {
            self.level = value;
            return true;
        }
        if self.count < 3 {
            // First values carry one-off costs, which are not expected again.
            let least = self.level.min(value);
            self.deviation = self.middle().1;
            return std::mem::replace(&mut self.level, least) != least;
        }
        let tolerance = self.tolerance();
        let is_above = value > self.level.saturating_add(tolerance);
        let is_below = value < self.level.saturating_sub(tolerance);
        if !is_above && !is_below {
            self.suspects = 0;
        } else if self.suspects > 0 && self.are_suspects_above == is_above {
            self.suspects += 1;
        } else {
            self.suspects = 1;
            self.are_suspects_above = is_above;
        }
        let is_new = self.count <= SETTLED_VALUES;
        let needed = if self.are_suspects_above || is_new { RISE_VALUES } else { FALL_VALUES };
        if self.suspects >= needed {
            self.values.drain(..self.values.len() - self.suspects);
            self.suspects = 0;
            self.changes += 1;
            let (median, deviation) = self.middle();
            self.deviation = deviation;
            self.level = median;
            return true;
        }
        self.follow()
    }

    /// The level follows the median, unless that is close.
    fn follow(&mut self) -> bool {
        let (median, deviation) = self.middle();
        self.deviation = deviation;
        let is_far = median.abs_diff(self.level) > (self.level / 8).max(self.difference_min / 4);
        let does_move = is_far && self.suspects == 0;
        if does_move {
            self.level = median;
        }
        does_move
    }

    /// How far from the level is no surprise.
    fn tolerance(&self) -> u64 {
        (self.level / 4).max(self.deviation.saturating_mul(4)).max(self.difference_min)
    }

    /// The median and the median distance from it.
    fn middle(&self) -> (u64, u64) {
        let mut sorted = [0; VALUES_MAX];
        let sorted = &mut sorted[..self.values.len()];
        for (place, value) in sorted.iter_mut().zip(&self.values) {
            *place = *value;
        }
        let Some(median) = median_of(sorted) else { return (0, 0) };
        for value in sorted.iter_mut() {
            *value = value.abs_diff(median);
        }
        (median, median_of(sorted).unwrap_or(0))
    }

    /// What estimates count with; `None` before the first value.
    #[must_use]
    pub fn level(&self) -> Option<u64> {
        (!self.values.is_empty()).then_some(self.level)
    }

    /// The value that `percent` of 100 of those since the last change do not exceed.
    #[must_use]
    pub fn quantile(&self, percent: usize) -> Option<u64> {
        let mut sorted: Vec<u64> = self.values.iter().copied().collect();
        sorted.sort_unstable();
        let rank = (sorted.len() * percent.min(100)).div_ceil(100).max(1);
        sorted.get(rank - 1).copied()
    }

    /// The least of those since the last change.
    #[must_use]
    pub fn least(&self) -> Option<u64> {
        self.values.iter().min().copied()
    }

    /// The values since the last change, oldest first.
    pub fn values(&self) -> impl Iterator<Item = u64> + '_ {
        self.values.iter().copied()
    }

    /// How many count: those since the last change, as far as they are kept.
    #[must_use]
    pub fn kept(&self) -> u64 {
        self.values.len() as u64
    }

    /// How many have come in all.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.count
    }

    /// How often the level was found to have changed.
    #[must_use]
    pub fn changes(&self) -> u64 {
        self.changes
    }
}

/// The lower median; sorts.
fn median_of(values: &mut [u64]) -> Option<u64> {
    if values.is_empty() {
        return None;
    }
    let middle = (values.len() - 1) / 2;
    Some(*values.select_nth_unstable(middle).1)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MILLISECOND: u64 = 1_000_000;

    fn filled(values: impl IntoIterator<Item = u64>) -> Window {
        let mut window = Window::new(MILLISECOND / 2);
        for value in values {
            window.record(value);
        }
        window
    }

    #[test]
    fn a_rise_is_seen_with_its_third_value_and_a_fall_with_its_eighth() {
        let mut window = filled([20 * MILLISECOND; 40]);
        assert!(!window.record(160 * MILLISECOND));
        assert!(!window.record(161 * MILLISECOND));
        assert_eq!(window.level(), Some(20 * MILLISECOND));
        assert!(window.record(160 * MILLISECOND));
        assert_eq!(window.level(), Some(160 * MILLISECOND));
        assert_eq!((window.kept(), window.changes()), (3, 1), "what was before no longer counts");
        for _ in 0..FALL_VALUES - 1 {
            assert!(!window.record(20 * MILLISECOND));
        }
        assert!(window.record(20 * MILLISECOND));
        assert_eq!(window.level(), Some(20 * MILLISECOND));
    }

    #[test]
    fn spikes_move_nothing_but_the_tail() {
        let mut window = filled([20 * MILLISECOND; 20]);
        for _ in 0..10 {
            for value in [500, 700, 20, 20] {
                window.record(value * MILLISECOND);
                assert_eq!(window.level(), Some(20 * MILLISECOND));
            }
        }
        assert_eq!(window.changes(), 0);
        assert_eq!(window.quantile(99), Some(700 * MILLISECOND));
    }

    #[test]
    fn a_first_value_with_one_off_costs_is_soon_forgotten() {
        let mut window = filled([300 * MILLISECOND, 20 * MILLISECOND]);
        assert_eq!(window.level(), Some(20 * MILLISECOND));
        window.record(21 * MILLISECOND);
        window.record(20 * MILLISECOND);
        assert_eq!(window.level(), Some(20 * MILLISECOND));
    }

    /// The same rules over the whole history, told anew with each value.
    fn told_anew(history: &[u64], difference_min: u64) -> (Option<u64>, u64) {
        let (mut kept, mut level, mut changes, mut run): (Vec<u64>, u64, u64, Vec<u64>) =
            (Vec::new(), 0, 0, Vec::new());
        let median = |values: &[u64]| {
            let mut sorted = values.to_vec();
            sorted.sort_unstable();
            sorted[(sorted.len() - 1) / 2]
        };
        let mut deviation = 0;
        for (place, value) in history.iter().enumerate() {
            kept.push(*value);
            let first = kept.len().saturating_sub(VALUES_MAX);
            kept.drain(..first);
            if place == 0 {
                level = *value;
                continue;
            }
            if place == 1 {
                level = *kept.iter().min().unwrap();
                // The lower of two is their median, and it has no distance from itself.
                deviation = 0;
                continue;
            }
            let tolerance = (level / 4).max(4 * deviation).max(difference_min);
            let side = |value: u64| {
                if value > level + tolerance {
                    1
                } else if value < level.saturating_sub(tolerance) {
                    -1
                } else {
                    0
                }
            };
            let same_side = run.last().is_none_or(|last: &u64| (*last > level) == (*value > level));
            if side(*value) == 0 {
                run.clear();
            } else if same_side {
                run.push(*value);
            } else {
                run = vec![*value];
            }
            let needed = if side(*value) > 0 || place < 8 { RISE_VALUES } else { FALL_VALUES };
            if !run.is_empty() && run.len() >= needed {
                kept = std::mem::take(&mut run);
                changes += 1;
                level = median(&kept);
                deviation = median(&kept.iter().map(|value| value.abs_diff(level)).collect::<Vec<_>>());
                continue;
            }
            let middle = median(&kept);
            deviation = median(&kept.iter().map(|value| value.abs_diff(middle)).collect::<Vec<_>>());
            if run.is_empty() && middle.abs_diff(level) > (level / 8).max(difference_min / 4) {
                level = middle;
            }
        }
        ((!history.is_empty()).then_some(level), changes)
    }

    proptest! {
        #[test]
        fn it_is_what_is_told_anew(values in proptest::collection::vec(prop_oneof![90..110_u64, 1..1_000_u64, 300..330_u64], 0..200)) {
            for end in [values.len() / 3, values.len() / 2, values.len()] {
                let history = &values[..end];
                let mut window = Window::new(8);
                for value in history {
                    window.record(*value);
                }
                prop_assert_eq!((window.level(), window.changes()), told_anew(history, 8));
            }
        }

        #[test]
        fn jitter_of_a_third_changes_nothing(base in MILLISECOND..200 * MILLISECOND, draws in proptest::collection::vec(0..1_000_u64, 50..400)) {
            // Uniform between two thirds and four thirds of the base.
            let mut window = Window::new(MILLISECOND / 2);
            for draw in draws {
                window.record(base * 2 / 3 + base * 2 / 3 * draw / 1_000);
                if window.count() > 8 {
                    let level = window.level().unwrap();
                    prop_assert!((base * 2 / 3..=base * 4 / 3).contains(&level));
                }
            }
            prop_assert!(window.changes() <= 2, "{} changes", window.changes());
        }

        #[test]
        fn a_real_change_is_always_seen(before in 5..50_u64, after in 80..300_u64, jitter in proptest::collection::vec(0..100_u64, 60)) {
            // Jitter of a tenth of the value.
            let jittered = |base: u64, draw: u64| base * MILLISECOND * (950 + draw) / 1_000;
            let mut window = filled(jitter[..40].iter().map(|draw| jittered(before, *draw)));
            for draw in &jitter[40..43] {
                window.record(jittered(after, *draw));
            }
            let level = window.level().unwrap();
            prop_assert!(level.abs_diff(after * MILLISECOND) <= after * MILLISECOND / 10, "{level}");
        }
    }
}
