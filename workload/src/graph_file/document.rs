//! The TOML text as a tree with places. Must never hold the meaning of a key.

use std::ops::Range;
use std::rc::Rc;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::errors::{Located, Place, Problem, Reports};
use super::expression::{Expression, Template};
use isochrone_model::suggestion::nearest;

/// A value of the file.
#[derive(Debug, Clone)]
pub(super) struct Node {
    pub line: usize,
    pub kind: NodeKind,
}

/// The kinds of values.
#[derive(Debug, Clone)]
pub(super) enum NodeKind {
    Text(String),
    Integer(i128),
    Float(f64),
    Boolean(bool),
    Date,
    List(Vec<Node>),
    /// In the order of the file.
    Table(Vec<Entry>),
}

/// A key and its value.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub key: String,
    pub line: usize,
    pub node: Node,
}

impl Node {
    /// What the value is, for messages.
    pub(super) fn kind_name(&self) -> &'static str {
        match self.kind {
            NodeKind::Text(_) => "a string",
            NodeKind::Integer(_) => "an integer",
            NodeKind::Float(_) => "a float",
            NodeKind::Boolean(_) => "a boolean",
            NodeKind::Date => "a date",
            NodeKind::List(_) => "a list",
            NodeKind::Table(_) => "a table",
        }
    }
}

/// Parses the text; `None` when it is no TOML, which is then reported.
pub(super) fn parse(text: &str, reports: &mut Reports) -> Option<Node> {
    let (root, errors) = DeTable::parse_recoverable(text);
    for error in &errors {
        let line = error.span().map_or(1, |span| reports.line_of(&span));
        let place = Place { line, key: Rc::from("") };
        reports.report(&place, Problem::Toml { message: error.message().to_owned() });
    }
    if !errors.is_empty() {
        return None;
    }
    let mut reader = TreeReader { reports, line_hint: 1 };
    Some(Node { line: 1, kind: reader.table(root.into_inner(), "") })
}

/// Turns the parser's tree into ours. The recursion is bounded by the parser, which refuses deep nesting.
struct TreeReader<'a> {
    reports: &'a mut Reports,
    line_hint: usize,
}

impl TreeReader<'_> {
    fn table(&mut self, table: DeTable<'_>, path: &str) -> NodeKind {
        let mut entries: Vec<(Range<usize>, _, _)> =
            table.into_iter().map(|(key, value)| (key.span(), key.into_inner(), value)).collect();
        entries.sort_by_key(|(span, _, _)| span.start);
        let mut read = Vec::with_capacity(entries.len());
        for (span, key, value) in entries {
            let line = self.reports.line_of(&span);
            let path = if path.is_empty() { key.to_string() } else { format!("{path}.{key}") };
            self.line_hint = line;
            let node = self.value(value, &path);
            read.push(Entry { key: key.into_owned(), line, node });
        }
        NodeKind::Table(read)
    }

    fn value(&mut self, value: Spanned<DeValue<'_>>, path: &str) -> Node {
        let line = self.reports.line_of(&value.span());
        let unusable = |reader: &mut Self, expected| {
            let place = Place { line, key: Rc::from(path) };
            reader.reports.report(&place, Problem::WrongType { expected, found: "a number out of range" });
        };
        let kind = match value.into_inner() {
            DeValue::String(text) => NodeKind::Text(text.into_owned()),
            DeValue::Integer(number) => {
                let parsed = i128::from_str_radix(number.as_str(), number.radix());
                if parsed.is_err() {
                    unusable(self, "an integer of at most 128 bits");
                }
                NodeKind::Integer(parsed.unwrap_or(0))
            }
            DeValue::Float(number) => match number.as_str().parse::<f64>() {
                Ok(parsed) if parsed.is_finite() => NodeKind::Float(parsed),
                Ok(_) | Err(_) => {
                    unusable(self, "a finite number");
                    NodeKind::Float(0.0)
                }
            },
            DeValue::Boolean(value) => NodeKind::Boolean(value),
            DeValue::Datetime(_) => NodeKind::Date,
            DeValue::Array(list) => {
                let nodes = list
                    .into_iter()
                    .enumerate()
                    .map(|(index, value)| self.value(value, &format!("{path}[{index}]")));
                NodeKind::List(nodes.collect())
            }
            DeValue::Table(table) => self.table(table, path),
        };
        Node { line, kind }
    }
}

/// A table whose keys have been checked.
pub(super) struct TableView<'a> {
    /// Where the table is, for errors about missing keys.
    pub place: Place,
    entries: &'a [Entry],
}

impl<'a> TableView<'a> {
    /// A view of `node`, which must be a table with no keys but those in `known`; other keys are reported.
    pub(super) fn checked(
        node: &'a Node,
        path: &str,
        line: usize,
        known: &'static [&'static str],
        reports: &mut Reports,
    ) -> Option<TableView<'a>> {
        let view = TableView::open(node, path, line, reports)?;
        for entry in view.entries.iter().filter(|entry| !known.contains(&entry.key.as_str())) {
            let place = Place { line: entry.line, key: Rc::from(join(path, &entry.key)) };
            let suggestion = nearest(&entry.key, known.iter().copied());
            reports.report(&place, Problem::UnknownKey { name: entry.key.clone(), suggestion, known });
        }
        Some(view)
    }

    /// A view of a table whose keys are names chosen by the author.
    pub(super) fn open(
        node: &'a Node,
        path: &str,
        line: usize,
        reports: &mut Reports,
    ) -> Option<TableView<'a>> {
        let place = Place { line, key: Rc::from(path) };
        let NodeKind::Table(entries) = &node.kind else {
            reports.report(&place, Problem::WrongType { expected: "a table", found: node.kind_name() });
            return None;
        };
        Some(TableView { place, entries })
    }

    pub(super) fn entries(&self) -> &'a [Entry] {
        self.entries
    }

    pub(super) fn has(&self, key: &str) -> bool {
        self.entries.iter().any(|entry| entry.key == key)
    }

    /// The value of a key with its place.
    pub(super) fn get(&self, key: &str) -> Option<(&'a Node, Place)> {
        let entry = self.entries.iter().find(|entry| entry.key == key)?;
        Some((&entry.node, Place { line: entry.line, key: Rc::from(join(&self.place.key, key)) }))
    }

    /// Like `get`, reporting when the key is missing.
    pub(super) fn require(
        &self,
        key: &'static str,
        hint: &'static str,
        reports: &mut Reports,
    ) -> Option<(&'a Node, Place)> {
        let found = self.get(key);
        if found.is_none() {
            reports.report(&self.place_of_missing(key), Problem::MissingKey { name: key, hint });
        }
        found
    }

    /// The table's own line with the key that it lacks, so that each lack is its own error.
    fn place_of_missing(&self, key: &str) -> Place {
        Place { line: self.place.line, key: Rc::from(join(&self.place.key, key)) }
    }

    pub(super) fn text(&self, key: &str, reports: &mut Reports) -> Option<Located<String>> {
        let (node, place) = self.get(key)?;
        text(node, place, reports)
    }

    pub(super) fn template(&self, key: &str, reports: &mut Reports) -> Option<Located<Template>> {
        let (node, place) = self.get(key)?;
        template(node, place, reports)
    }

    pub(super) fn expression(&self, key: &str, reports: &mut Reports) -> Option<Located<Expression>> {
        let (node, place) = self.get(key)?;
        expression(node, place, reports)
    }

    pub(super) fn expressions(
        &self,
        key: &str,
        reports: &mut Reports,
    ) -> Option<Located<Vec<Located<Expression>>>> {
        let (node, place) = self.get(key)?;
        let items = list(node, &place, "a list of integers or expressions", reports)?;
        let read = items.into_iter().filter_map(|(node, place)| expression(node, place, reports)).collect();
        Some(Located { place, value: read })
    }
}

pub(super) fn join(path: &str, key: &str) -> String {
    if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }
}

/// The items of a list with their places.
pub(super) fn list<'a>(
    node: &'a Node,
    place: &Place,
    expected: &'static str,
    reports: &mut Reports,
) -> Option<Vec<(&'a Node, Place)>> {
    let NodeKind::List(items) = &node.kind else {
        reports.report(place, Problem::WrongType { expected, found: node.kind_name() });
        return None;
    };
    let located = items.iter().enumerate().map(|(index, item)| {
        (item, Place { line: item.line, key: Rc::from(format!("{}[{index}]", place.key)) })
    });
    Some(located.collect())
}

pub(super) fn text(node: &Node, place: Place, reports: &mut Reports) -> Option<Located<String>> {
    if let NodeKind::Text(text) = &node.kind {
        return Some(Located { place, value: text.clone() });
    }
    reports.report(&place, Problem::WrongType { expected: "a string", found: node.kind_name() });
    None
}

pub(super) fn template(node: &Node, place: Place, reports: &mut Reports) -> Option<Located<Template>> {
    let text = text(node, place, reports)?;
    match Template::parse(&text.value) {
        Ok(template) => Some(Located { place: text.place, value: template }),
        Err(error) => {
            reports.report(&text.place, error.into());
            None
        }
    }
}

/// A number, a boolean, or a string that holds an expression.
pub(super) fn expression(node: &Node, place: Place, reports: &mut Reports) -> Option<Located<Expression>> {
    let parsed = match &node.kind {
        NodeKind::Integer(value) => Ok(Expression::integer(*value)),
        NodeKind::Float(value) => Ok(Expression::float(*value)),
        NodeKind::Boolean(value) => Ok(Expression::boolean(*value)),
        NodeKind::Text(text) => Expression::parse(text),
        NodeKind::Date | NodeKind::List(_) | NodeKind::Table(_) => {
            let expected = "a number or an expression in quotes";
            reports.report(&place, Problem::WrongType { expected, found: node.kind_name() });
            return None;
        }
    };
    match parsed {
        Ok(expression) => Some(Located { place, value: expression }),
        Err(error) => {
            reports.report(&place, error.into());
            None
        }
    }
}
