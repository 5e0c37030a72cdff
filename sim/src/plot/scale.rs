//! Axes: from values to a place between two ends, and the ticks that people expect.

/// How values lie along an axis.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Scale {
    low: f64,
    high: f64,
    is_logarithmic: bool,
}

impl Scale {
    /// Equal steps for equal differences.
    #[must_use]
    pub fn linear(low: f64, high: f64) -> Self {
        let high = if high > low { high } else { low + 1.0 };
        Self { low, high, is_logarithmic: false }
    }

    /// Equal steps for equal ratios; both ends are positive.
    #[must_use]
    pub fn logarithmic(low: f64, high: f64) -> Self {
        let low = if low > 0.0 { low } else { 1e-9 };
        let high = if high > low * 1.000_001 { high } else { low * 2.0 };
        Self { low, high, is_logarithmic: true }
    }

    /// The label of an axis that lies so: it says where equal steps stand for equal ratios.
    #[must_use]
    pub fn labelled(&self, label: &str) -> String {
        if self.is_logarithmic { format!("{label}, logarithmic") } else { label.to_owned() }
    }

    /// Where a value lies, from 0 to 1 between the ends; values beyond are at the ends.
    #[must_use]
    pub fn part(&self, value: f64) -> f64 {
        let part = if self.is_logarithmic {
            libm::log(value.max(1e-300) / self.low) / libm::log(self.high / self.low)
        } else {
            (value - self.low) / (self.high - self.low)
        };
        part.clamp(0.0, 1.0)
    }

    /// Values to mark, about six, each with its text.
    #[must_use]
    pub fn ticks(&self) -> Vec<(f64, String)> {
        let values = if self.is_logarithmic { self.logarithmic_ticks() } else { self.linear_ticks() };
        values.into_iter().map(|value| (value, super::numbers::significant(value, 4))).collect()
    }

    fn linear_ticks(&self) -> Vec<f64> {
        let rough = (self.high - self.low) / 6.0;
        let power = libm::pow(10.0, libm::floor(libm::log10(rough)));
        let step = [1.0, 2.0, 5.0, 10.0].into_iter().map(|step| step * power).find(|step| *step >= rough);
        let step = step.unwrap_or(power * 10.0);
        let first = libm::ceil(self.low / step - 1e-9) as i64;
        let last = libm::floor(self.high / step + 1e-9) as i64;
        (first..=last).map(|index| index as f64 * step).collect()
    }

    fn logarithmic_ticks(&self) -> Vec<f64> {
        let (first, last) =
            (libm::floor(libm::log10(self.low)) as i32, libm::ceil(libm::log10(self.high)) as i32);
        let digits: &[f64] = match last - first {
            ..=1 => &[1.0, 1.5, 2.0, 3.0, 5.0, 7.0],
            2..=3 => &[1.0, 2.0, 5.0],
            _ => &[1.0],
        };
        let all = (first..=last)
            .flat_map(|power| digits.iter().map(move |digit| digit * libm::pow(10.0, f64::from(power))));
        let mut ticks: Vec<f64> =
            all.filter(|value| *value >= self.low * 0.999_999 && *value <= self.high * 1.000_001).collect();
        if ticks.len() < 3 {
            // Within less than half a decade straight steps read better.
            ticks = Self::linear(self.low, self.high).linear_ticks();
        }
        ticks
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(scale: Scale) -> Vec<String> {
        scale.ticks().into_iter().map(|(_, text)| text).collect()
    }

    #[test]
    fn ticks_are_round() {
        assert_eq!(texts(Scale::linear(0.0, 1.0)), ["0", "0.2", "0.4", "0.6", "0.8", "1"]);
        assert_eq!(texts(Scale::linear(3.0, 47.0)), ["10", "20", "30", "40"]);
        assert_eq!(texts(Scale::logarithmic(0.05, 200.0)), ["0.1", "1", "10", "100"]);
        assert_eq!(texts(Scale::logarithmic(1.0, 8.0)), ["1", "1.5", "2", "3", "5", "7"]);
        assert_eq!(texts(Scale::logarithmic(1.0, 1.2)), ["1", "1.05", "1.1", "1.15", "1.2"]);
    }

    #[test]
    fn logarithmic_axes_say_so() {
        assert_eq!(Scale::logarithmic(1.0, 8.0).labelled("time (s)"), "time (s), logarithmic");
        assert_eq!(Scale::linear(1.0, 8.0).labelled("time (s)"), "time (s)");
    }

    #[test]
    fn values_lie_between_the_ends() {
        assert!((Scale::logarithmic(1.0, 100.0).part(10.0) - 0.5).abs() < 1e-12);
        assert!((Scale::linear(10.0, 20.0).part(12.5) - 0.25).abs() < 1e-12);
        assert_eq!(Scale::linear(0.0, 1.0).part(7.0), 1.0);
        assert_eq!(Scale::logarithmic(1.0, 2.0).part(0.0), 0.0);
    }
}
