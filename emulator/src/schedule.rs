//! Changes of a link at stated times, from a file.

use std::ops::Range;

use isochrone_link::{
    Chance, LinkDescription, ParseError, parse_bytes, parse_chance, parse_rate, parse_span,
};
use isochrone_model::Span;
use serde::Deserialize;
use toml::Spanned;

/// Which way a change is for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Direction {
    /// Both.
    #[default]
    Both,
    /// To the target.
    There,
    /// From the target.
    Back,
}

/// A change.
#[derive(Clone, Debug, PartialEq)]
pub struct ScheduledChange {
    /// How long after the start.
    pub after: Span,
    /// Which way.
    pub direction: Direction,
    /// What is other than before; the rest stays.
    pub change: LinkDescription,
}

/// Why a schedule cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ScheduleError {
    /// It is no TOML, or has keys that there are not.
    #[error("not of the form of a schedule")]
    Form(#[from] toml::de::Error),
    /// A value cannot be read.
    #[error("line {line}: `{key}`")]
    Value {
        /// Where, from 1.
        line: usize,
        /// The key.
        key: &'static str,
        /// What is wrong with it.
        #[source]
        source: ParseError,
    },
    /// Changes are not in order of their times.
    #[error("line {line}: earlier than the change before it")]
    Order {
        /// Where, from 1.
        line: usize,
    },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    #[serde(default, rename = "change")]
    changes: Vec<Entry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    after: Spanned<String>,
    #[serde(default)]
    direction: Direction,
    delay: Option<Spanned<String>>,
    jitter: Option<Spanned<String>>,
    distribution: Option<Spanned<String>>,
    correlation: Option<Spanned<String>>,
    may_overtake: Option<bool>,
    loss: Option<Spanned<String>>,
    loss_burst: Option<f64>,
    rate: Option<Spanned<String>>,
    queue: Option<Spanned<String>>,
    reorder: Option<Spanned<String>>,
    reorder_by: Option<Spanned<String>>,
    duplicate: Option<Spanned<String>>,
    mtu: Option<Spanned<String>>,
}

/// Reads a schedule: `[[change]]` tables in order of their `after`, each with values as the command line takes them.
///
/// ```toml
/// [[change]]
/// after = "10s"
/// delay = "80ms"
///
/// [[change]]
/// after = "20s"
/// direction = "back"
/// loss = "2%"
/// loss_burst = 5.0
/// ```
///
/// # Errors
/// When it is not of this form.
pub fn parse_schedule(text: &str) -> Result<Vec<ScheduledChange>, ScheduleError> {
    let document: Document = toml::from_str(text)?;
    let mut changes: Vec<ScheduledChange> = Vec::new();
    for entry in document.changes {
        let line = line_of(text, entry.after.span());
        let after = read(text, "after", Some(entry.after), parse_span)?.unwrap_or_default();
        if changes.last().is_some_and(|before| before.after > after) {
            return Err(ScheduleError::Order { line });
        }
        let coefficient = |text: &str| parse_chance(text).map(Chance::probability);
        let change = LinkDescription {
            delay: read(text, "delay", entry.delay, parse_span)?,
            jitter: read(text, "jitter", entry.jitter, parse_span)?,
            distribution: read(text, "distribution", entry.distribution, str::parse)?,
            correlation: read(text, "correlation", entry.correlation, coefficient)?,
            may_overtake: entry.may_overtake,
            loss: read(text, "loss", entry.loss, parse_chance)?,
            loss_burst: entry.loss_burst,
            rate: read(text, "rate", entry.rate, parse_rate)?,
            queue_bytes: read(text, "queue", entry.queue, parse_bytes)?,
            reorder: read(text, "reorder", entry.reorder, parse_chance)?,
            reorder_by: read(text, "reorder_by", entry.reorder_by, parse_span)?,
            duplicate: read(text, "duplicate", entry.duplicate, parse_chance)?,
            datagram_bytes_max: read(text, "mtu", entry.mtu, parse_bytes)?,
        };
        changes.push(ScheduledChange { after, direction: entry.direction, change });
    }
    Ok(changes)
}

fn read<T>(
    text: &str,
    key: &'static str,
    value: Option<Spanned<String>>,
    parse: impl FnOnce(&str) -> Result<T, ParseError>,
) -> Result<Option<T>, ScheduleError> {
    let Some(value) = value else { return Ok(None) };
    let line = line_of(text, value.span());
    parse(value.get_ref()).map(Some).map_err(|source| ScheduleError::Value { line, key, source })
}

fn line_of(text: &str, span: Range<usize>) -> usize {
    1 + text.as_bytes().iter().take(span.start).filter(|byte| **byte == b'\n').count()
}

#[cfg(test)]
mod tests {
    use isochrone_model::BytesPerSecond;

    use super::*;

    #[test]
    fn a_schedule_is_read_with_what_changes() {
        let text = "[[change]]\nafter = \"10s\"\ndelay = \"80ms\"\n\n[[change]]\nafter = \"20s\"\n\
                    direction = \"back\"\nloss = \"2%\"\nloss_burst = 5.0\nrate = \"8Mbit\"\n";
        let changes = parse_schedule(text).unwrap();
        assert_eq!(changes.len(), 2);
        assert_eq!((changes[0].after, changes[0].direction), (Span::from_secs(10), Direction::Both));
        assert_eq!(changes[0].change.delay, Some(Span::from_millis(80)));
        assert_eq!((changes[1].direction, changes[1].change.loss_burst), (Direction::Back, Some(5.0)));
        assert_eq!(changes[1].change.rate, Some(BytesPerSecond(1_000_000)));
        assert!(parse_schedule("").unwrap().is_empty());
    }

    #[test]
    fn what_is_wrong_is_said_with_its_line() {
        let error = |text: &str| parse_schedule(text).unwrap_err().to_string();
        assert_eq!(error("[[change]]\nafter = \"1s\"\ndelay = \"8\"\n"), "line 3: `delay`");
        let order = "[[change]]\nafter = \"2s\"\n[[change]]\nafter = \"1s\"\n";
        assert_eq!(error(order), "line 4: earlier than the change before it");
        assert!(matches!(
            parse_schedule("[[change]]\nafter = \"1s\"\nspeed = 1\n"),
            Err(ScheduleError::Form(_))
        ));
        assert!(matches!(parse_schedule("[[change]]\ndelay = \"1s\"\n"), Err(ScheduleError::Form(_))));
    }
}
