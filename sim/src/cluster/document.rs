//! The TOML text of a cluster file with the lines of its keys, and the list of what is wrong with it.
//!
//! Must never hold the meaning of a key.

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::errors::{ClusterFileError, ClusterFileErrors, ClusterProblem};

/// Collects errors with their places.
pub(super) struct Reports<'a> {
    file: &'a str,
    /// Where each line starts.
    lines: Vec<usize>,
    errors: Vec<ClusterFileError>,
}

impl<'a> Reports<'a> {
    pub fn new(text: &str, file: &'a str) -> Self {
        let after_breaks = text.bytes().enumerate().filter(|&(_, byte)| byte == b'\n').map(|(at, _)| at + 1);
        Self { file, lines: std::iter::once(0).chain(after_breaks).collect(), errors: Vec::new() }
    }

    pub fn line_of(&self, offset: usize) -> usize {
        self.lines.partition_point(|start| *start <= offset)
    }

    pub fn report(&mut self, line: usize, key: &str, problem: ClusterProblem) {
        self.errors.push(ClusterFileError { file: self.file.to_owned(), line, key: key.to_owned(), problem });
    }

    /// The value, unless something was reported.
    pub fn finish<T>(mut self, value: Option<T>) -> Result<T, ClusterFileErrors> {
        match value {
            Some(value) if self.errors.is_empty() => Ok(value),
            Some(_) | None => {
                assert!(!self.errors.is_empty(), "without a value there is an error");
                self.errors.sort_by_key(|error| error.line);
                Err(ClusterFileErrors { errors: self.errors })
            }
        }
    }
}

/// A value with its place.
#[derive(Clone)]
pub(super) struct Node<'a> {
    pub line: usize,
    /// The whole key, as in `agents[0].devices`.
    pub key: String,
    value: &'a DeValue<'a>,
}

/// A table of which only known keys may be used.
pub(super) struct Table<'a> {
    pub line: usize,
    pub key: String,
    entries: Vec<(String, Node<'a>)>,
}

/// Parses the text and hands its root to `read`.
pub(super) fn with_root<T>(
    text: &str,
    reports: &mut Reports<'_>,
    read: impl FnOnce(&Node<'_>, &mut Reports<'_>) -> Option<T>,
) -> Option<T> {
    let (root, errors) = DeTable::parse_recoverable(text);
    for error in &errors {
        let line = error.span().map_or(1, |span| reports.line_of(span.start));
        reports.report(line, "", ClusterProblem::Toml { message: error.message().to_owned() });
    }
    if !errors.is_empty() {
        return None;
    }
    let root = DeValue::Table(root.into_inner());
    read(&Node { line: 1, key: String::new(), value: &root }, reports)
}

impl<'a> Node<'a> {
    /// What the value is, for messages.
    pub fn found(&self) -> String {
        match self.value {
            DeValue::String(text) => format!("\"{text}\""),
            DeValue::Integer(number) => number.to_string(),
            DeValue::Float(number) => number.to_string(),
            DeValue::Boolean(value) => value.to_string(),
            DeValue::Datetime(_) => "a date".to_owned(),
            DeValue::Array(_) => "a list".to_owned(),
            DeValue::Table(_) => "a table".to_owned(),
        }
    }

    pub fn wrong(&self, expected: &'static str, reports: &mut Reports<'_>) {
        reports.report(self.line, &self.key, ClusterProblem::Wrong { expected, found: self.found() });
    }

    pub fn text(&self) -> Option<&'a str> {
        match self.value {
            DeValue::String(text) => Some(text.as_ref()),
            DeValue::Integer(_)
            | DeValue::Float(_)
            | DeValue::Boolean(_)
            | DeValue::Datetime(_)
            | DeValue::Array(_)
            | DeValue::Table(_) => None,
        }
    }

    pub fn is_table(&self) -> bool {
        matches!(self.value, DeValue::Table(_))
    }

    pub fn boolean(&self, reports: &mut Reports<'_>) -> Option<bool> {
        if let DeValue::Boolean(value) = self.value {
            return Some(*value);
        }
        self.wrong("true or false", reports);
        None
    }

    pub fn number(&self) -> Option<f64> {
        let number = match self.value {
            DeValue::Integer(number) => i64::from_str_radix(number.as_str(), number.radix()).ok()? as f64,
            DeValue::Float(number) => number.as_str().parse().ok()?,
            DeValue::String(_)
            | DeValue::Boolean(_)
            | DeValue::Datetime(_)
            | DeValue::Array(_)
            | DeValue::Table(_) => return None,
        };
        Some(number).filter(|number: &f64| number.is_finite())
    }

    /// A number that fits, else a report.
    pub fn number_that(
        &self,
        expected: &'static str,
        is_right: impl Fn(f64) -> bool,
        reports: &mut Reports<'_>,
    ) -> Option<f64> {
        let number = self.number().filter(|number| is_right(*number));
        if number.is_none() {
            self.wrong(expected, reports);
        }
        number
    }

    pub fn integer_in(
        &self,
        range: std::ops::RangeInclusive<u64>,
        expected: &'static str,
        reports: &mut Reports<'_>,
    ) -> Option<u64> {
        let number = match self.value {
            DeValue::Integer(number) => u64::from_str_radix(number.as_str(), number.radix()).ok(),
            DeValue::String(_)
            | DeValue::Float(_)
            | DeValue::Boolean(_)
            | DeValue::Datetime(_)
            | DeValue::Array(_)
            | DeValue::Table(_) => None,
        };
        let number = number.filter(|number| range.contains(number));
        if number.is_none() {
            self.wrong(expected, reports);
        }
        number
    }

    pub fn list(&self, expected: &'static str, reports: &mut Reports<'_>) -> Vec<Node<'a>> {
        let DeValue::Array(values) = self.value else {
            self.wrong(expected, reports);
            return Vec::new();
        };
        let node = |(index, value): (usize, &'a Spanned<DeValue<'a>>)| Node {
            line: reports.line_of(value.span().start),
            key: format!("{}[{index}]", self.key),
            value: value.get_ref(),
        };
        values.iter().enumerate().map(node).collect()
    }

    /// The table with exactly these keys allowed; others are reported.
    pub fn table(
        &self,
        known: &'static [&'static str],
        expected: &'static str,
        reports: &mut Reports<'_>,
    ) -> Option<Table<'a>> {
        let table = self.open_table(expected, reports)?;
        for (name, node) in &table.entries {
            if !known.contains(&name.as_str()) {
                reports.report(node.line, &node.key, ClusterProblem::UnknownKey { known });
            }
        }
        Some(table)
    }

    /// The table, whose keys are names that the author chose.
    pub fn open_table(&self, expected: &'static str, reports: &mut Reports<'_>) -> Option<Table<'a>> {
        let DeValue::Table(table) = self.value else {
            self.wrong(expected, reports);
            return None;
        };
        let mut entries: Vec<(usize, String, &'a DeValue<'a>)> = table
            .iter()
            .map(|(key, value)| (key.span().start, key.get_ref().to_string(), value.get_ref()))
            .collect();
        entries.sort_by_key(|(start, _, _)| *start);
        let entries = entries
            .into_iter()
            .map(|(start, name, value)| {
                let key = if self.key.is_empty() { name.clone() } else { format!("{}.{name}", self.key) };
                (name, Node { line: reports.line_of(start), key, value })
            })
            .collect();
        Some(Table { line: self.line, key: self.key.clone(), entries })
    }
}

impl<'a> Table<'a> {
    pub fn entries(&self) -> &[(String, Node<'a>)] {
        &self.entries
    }

    pub fn get(&self, name: &str) -> Option<&Node<'a>> {
        self.entries.iter().find(|(key, _)| key == name).map(|(_, node)| node)
    }

    /// The whole key of an entry, present or not.
    pub fn key_of(&self, name: &str) -> String {
        if self.key.is_empty() { name.to_owned() } else { format!("{}.{name}", self.key) }
    }

    pub fn require(&self, name: &str, hint: &'static str, reports: &mut Reports<'_>) -> Option<&Node<'a>> {
        let node = self.get(name);
        if node.is_none() {
            reports.report(self.line, &self.key_of(name), ClusterProblem::Missing { hint });
        }
        node
    }

    /// Reports when both keys are there.
    pub fn exclude(&self, name: &str, other: &'static str, reports: &mut Reports<'_>) {
        if let (Some(node), Some(_)) = (self.get(name), self.get(other)) {
            reports.report(node.line, &node.key, ClusterProblem::Conflict { other });
        }
    }

    pub fn text(&self, name: &str, expected: &'static str, reports: &mut Reports<'_>) -> Option<&'a str> {
        let node = self.get(name)?;
        let text = node.text();
        if text.is_none() {
            node.wrong(expected, reports);
        }
        text
    }
}
