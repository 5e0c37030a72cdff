//! Values with units as people write them: `10ms`, `1.5%`, `200Mbit`, `64KiB`.

use isochrone_model::{BytesPerSecond, Span};
use thiserror::Error;

use crate::chance::Chance;
use crate::spec::UNLIMITED;

/// Why a value cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("`{text}` is not {expected}")]
pub struct ParseError {
    /// What was written.
    pub text: String,
    /// What it should be.
    pub expected: &'static str,
}

/// A span: a number with `ns`, `us`, `ms` or `s`; `0` needs no unit.
///
/// # Errors
/// When it is none, or negative.
pub fn parse_span(text: &str) -> Result<Span, ParseError> {
    let units = [("ns", 1.0), ("us", 1e3), ("ms", 1e6), ("s", 1e9)];
    scaled(text, &units, 0.0..=9e18, "a time such as 10ms, 250us or 1.5s")
        .map(|nanos| Span(nanos.round() as u64))
}

/// A rate: a number with `bit`, `kbit`, `Mbit` or `Gbit` (thousands of bits a second), or `unlimited`.
///
/// # Errors
/// When it is none, or below a byte a second.
pub fn parse_rate(text: &str) -> Result<BytesPerSecond, ParseError> {
    if text.trim() == "unlimited" {
        return Ok(UNLIMITED);
    }
    let units = [("kbit", 125.0), ("Mbit", 125_000.0), ("Gbit", 125_000_000.0), ("bit", 0.125)];
    scaled(text, &units, 1.0..=1e18, "a rate such as 200Mbit or 1.5Gbit, or unlimited")
        .map(|bytes| BytesPerSecond(bytes.round() as u64))
}

/// A size: a number of bytes, with `B`, `kB`, `MB`, `GB` (thousands) or `KiB`, `MiB`, `GiB` (1,024) or without.
///
/// # Errors
/// When it is none.
pub fn parse_bytes(text: &str) -> Result<u64, ParseError> {
    let units = [
        ("kB", 1e3),
        ("KB", 1e3),
        ("MB", 1e6),
        ("GB", 1e9),
        ("KiB", 1024.0),
        ("MiB", 1024.0 * 1024.0),
        ("GiB", 1024.0 * 1024.0 * 1024.0),
        ("B", 1.0),
        ("", 1.0),
    ];
    scaled(text, &units, 0.0..=1e18, "a size such as 64KiB, 1MB or 1500").map(|bytes| bytes.round() as u64)
}

/// A part: a number with `%`, or one from 0 to 1.
///
/// # Errors
/// When it is none.
pub fn parse_chance(text: &str) -> Result<Chance, ParseError> {
    scaled(text, &[("%", 0.01), ("", 1.0)], 0.0..=1.0, "a part such as 1% or 0.01").map(Chance::new)
}

/// A number with one of these units, the first that fits.
fn scaled(
    text: &str,
    units: &[(&str, f64)],
    range: std::ops::RangeInclusive<f64>,
    expected: &'static str,
) -> Result<f64, ParseError> {
    let trimmed = text.trim();
    let zero = (trimmed == "0").then_some(0.0);
    let value = units.iter().find_map(|(unit, scale)| {
        let number: f64 = trimmed.strip_suffix(unit)?.trim_end().parse().ok()?;
        Some(number * scale)
    });
    zero.or(value)
        .filter(|value| range.contains(value))
        .ok_or_else(|| ParseError { text: text.to_owned(), expected })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_read_with_their_units() {
        assert_eq!(parse_span("10ms"), Ok(Span::from_millis(10)));
        assert_eq!(parse_span(" 1.5 s"), Ok(Span::from_millis(1_500)));
        assert_eq!((parse_span("7ns"), parse_span("0")), (Ok(Span(7)), Ok(Span::ZERO)));
        assert_eq!(parse_rate("200Mbit"), Ok(BytesPerSecond(25_000_000)));
        assert_eq!(
            (parse_rate("8kbit"), parse_rate("8bit")),
            (Ok(BytesPerSecond(1_000)), Ok(BytesPerSecond(1)))
        );
        assert_eq!(parse_rate("unlimited"), Ok(UNLIMITED));
        assert_eq!(
            (parse_bytes("64KiB"), parse_bytes("1MB"), parse_bytes("9")),
            (Ok(65_536), Ok(1_000_000), Ok(9))
        );
        assert_eq!(
            (parse_chance("1%"), parse_chance("0.25")),
            (Ok(Chance::new(0.01)), Ok(Chance::new(0.25)))
        );
    }

    #[test]
    fn what_has_no_meaning_is_refused() {
        for text in ["10", "-1ms", "ms", "1 m", "nan ms", "infs"] {
            assert!(parse_span(text).is_err(), "{text}");
        }
        assert!(parse_rate("0Mbit").is_err() && parse_rate("5MB").is_err() && parse_rate("1bit").is_err());
        assert!(parse_chance("101%").is_err() && parse_chance("-0.1").is_err());
        let error = parse_chance("often").unwrap_err().to_string();
        assert_eq!(error, "`often` is not a part such as 1% or 0.01");
    }
}
