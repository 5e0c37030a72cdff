//! Numbers as text, the same on every machine.

use isochrone_model::Span;

/// With so many digits behind the point.
#[must_use]
pub fn fixed(value: f64, digits: usize) -> String {
    if value.is_nan() {
        return "n/a".to_owned();
    }
    let text = format!("{value:.digits$}");
    // There is no zero below zero for people.
    if text.trim_start_matches('-').chars().all(|letter| matches!(letter, '0' | '.')) {
        text.trim_start_matches('-').to_owned()
    } else {
        text
    }
}

/// With so many significant digits, without an exponent and without zeros that say nothing.
#[must_use]
pub fn significant(value: f64, digits: i32) -> String {
    if !value.is_finite() {
        return if value.is_nan() { "n/a".to_owned() } else { format!("{value}") };
    }
    if value == 0.0 {
        return "0".to_owned();
    }
    let magnitude = libm::floor(libm::log10(value.abs())) as i32;
    let text = fixed(value, (digits - 1 - magnitude).max(0) as usize);
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

/// So many of what a noun names: `1 run`, `2 runs`.
#[must_use]
pub fn counted(count: usize, noun: &str) -> String {
    format!("{count} {noun}{}", if count == 1 { "" } else { "s" })
}

/// A span in the unit that reads best, with three significant digits at most.
#[must_use]
pub fn span(span: Span) -> String {
    let nanos = span.0 as f64;
    duration(nanos, nanos, 3)
}

/// Nanoseconds, with so many significant digits, in the unit that reads best for `like`: values side by side that take the same one can be
/// compared.
#[must_use]
pub fn duration(nanos: f64, like: f64, digits: i32) -> String {
    if !nanos.is_finite() {
        return significant(nanos, digits);
    }
    let (unit, name) = unit_of(like);
    format!("{} {name}", significant(nanos / unit, digits))
}

/// The unit for spans up to this one: its nanoseconds and name.
#[must_use]
pub(super) fn unit_of(nanos: f64) -> (f64, &'static str) {
    match nanos {
        nanos if nanos >= 1e9 => (1e9, "s"),
        nanos if nanos >= 1e6 => (1e6, "ms"),
        nanos if nanos >= 1e3 => (1e3, "us"),
        _ => (1.0, "ns"),
    }
}

/// An amount of bytes in decimal units.
#[must_use]
pub fn bytes(amount: u64) -> String {
    let value = amount as f64;
    let (unit, name) = match value {
        value if value >= 1e12 => (1e12, "TB"),
        value if value >= 1e9 => (1e9, "GB"),
        value if value >= 1e6 => (1e6, "MB"),
        value if value >= 1e3 => (1e3, "kB"),
        _ => (1.0, "B"),
    };
    format!("{} {name}", significant(value / unit, 3))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_well() {
        assert_eq!(fixed(-0.0001, 2), "0.00");
        assert_eq!(fixed(f64::NAN, 2), "n/a");
        assert_eq!(significant(1234.5, 3), "1234");
        assert_eq!(significant(0.001_234_5, 3), "0.00123");
        assert_eq!(significant(2.0, 3), "2");
        assert_eq!(significant(999.99, 3), "1000");
        assert_eq!(span(Span(1_500_000)), "1.5 ms");
        assert_eq!(span(Span(0)), "0 ns");
        assert_eq!(duration(1_500_000.0, 999_000.0, 4), "1500 us");
        assert_eq!(duration(f64::NAN, 1.0, 4), "n/a");
        assert_eq!(bytes(1_234_000), "1.23 MB");
    }
}
