//! The structure of a graph file: what each table means, before any expression is computed.
//!
//! Must never hold values that depend on parameters, or file access.

pub(crate) mod keys;
mod steps;

use std::rc::Rc;

use super::document::{self, Entry, Node, NodeKind, TableView, join, list};
use super::errors::{Located, Place, Problem, Reports};
use super::expression::{BufferReference, Expression, ExpressionError, RangeExpression, Template, Value};
use super::limits::Limits;
use crate::data_files::DataFormat;
use isochrone_model::suggestion::nearest;

pub(super) use steps::{ArgumentSyntax, BufferArgumentSyntax, ScalarSyntax, ScalarType, Step, StepKind};

/// A whole graph file.
#[derive(Debug, Default)]
pub(super) struct Document {
    pub name: String,
    pub description: String,
    pub verify: Option<Located<String>>,
    pub requirements: Vec<Requirement>,
    pub parameters: Vec<Parameter>,
    pub data: Vec<Data>,
    pub values: Vec<(String, Located<Expression>)>,
    pub programs: Vec<ProgramSyntax>,
    pub buffers: Vec<BufferSyntax>,
    pub steps: Vec<Step>,
    pub outputs: Vec<OutputSyntax>,
}

#[derive(Debug)]
pub(super) struct Requirement {
    pub check: Located<Expression>,
    pub message: Option<Located<Template>>,
}

#[derive(Debug)]
pub(super) struct Parameter {
    pub name: String,
    pub place: Place,
    pub default: ParameterDefault,
}

#[derive(Debug)]
pub(super) enum ParameterDefault {
    Value(Value),
    /// Values with the capability that each needs; the first that applies is taken.
    Choose(Vec<(Value, Option<String>)>),
}

/// A file to read.
#[derive(Debug)]
pub(super) struct Data {
    pub name: String,
    pub file: Located<Template>,
    pub format: Option<DataFormat>,
    pub dtype: Option<Located<Template>>,
    pub shape: Option<Located<Vec<Located<Expression>>>>,
}

#[derive(Debug)]
pub(super) struct ProgramSyntax {
    pub name: String,
    pub file: Located<Template>,
    pub options: Option<Located<Template>>,
}

/// Loops, local names and a condition around anything that can be repeated.
#[derive(Debug, Default)]
pub(super) struct Repetition {
    pub loops: Vec<(Rc<str>, Located<RangeExpression>)>,
    pub names: Vec<(Rc<str>, Located<Expression>)>,
    pub condition: Option<Located<Expression>>,
}

#[derive(Debug)]
pub(super) struct BufferSyntax {
    pub name: String,
    pub place: Place,
    pub repetition: Repetition,
    pub origin: BufferOrigin,
}

#[derive(Debug)]
pub(super) enum BufferOrigin {
    /// A file, or a part of it; the name is that of a [`Data`].
    Data { name: Located<String>, slice: Vec<Pair> },
    /// A number of bytes.
    Size(Located<Expression>),
    /// A number of elements.
    Shape { shape: Vec<Located<Expression>>, dtype: Located<Template> },
}

/// The first and the count of a range.
pub(super) type Pair = (Located<Expression>, Located<Expression>);

#[derive(Debug)]
pub(super) struct OutputSyntax {
    pub name: String,
    pub place: Place,
    pub repetition: Repetition,
    pub file: Located<Template>,
    pub encoding: EncodingSyntax,
    pub buffer: Located<BufferReference>,
    pub offset: Option<Located<Expression>>,
    pub size: Option<Located<Expression>>,
    pub at: Option<Located<Vec<Located<Expression>>>>,
    pub part: Option<Located<Vec<Located<Expression>>>>,
}

#[derive(Debug)]
pub(super) enum EncodingSyntax {
    Npy { dtype: Located<Template>, shape: Option<Located<Vec<Located<Expression>>>> },
    Raw,
    Png(Box<PngSyntax>),
}

#[derive(Debug)]
pub(super) struct PngSyntax {
    pub width: Located<Expression>,
    pub height: Located<Expression>,
    pub channels: Option<Located<Expression>>,
    pub bits: Option<Located<Expression>>,
}

/// Reads the structure; what cannot be read is reported and left out.
pub(super) fn parse_document(root: &Node, limits: &Limits, reports: &mut Reports) -> Document {
    let mut document = Document::default();
    let Some(view) = TableView::checked(root, "", 1, keys::DOCUMENT, reports) else {
        return document;
    };
    if let Some((node, place)) = view.require("graph", "start the file with [graph] and a name", reports) {
        parse_header(node, &place, &mut document, reports);
    }
    for entry in section(&view, "parameters", reports) {
        document.parameters.extend(parse_parameter(entry, reports));
    }
    for entry in section(&view, "data", reports) {
        document.data.extend(parse_data(entry, reports));
    }
    for entry in section(&view, "values", reports) {
        let place = entry_place("values", entry);
        if is_name(&entry.key, &place, reports)
            && let Some(expression) = document::expression(&entry.node, place, reports)
        {
            document.values.push((entry.key.clone(), expression));
        }
    }
    for entry in section(&view, "programs", reports) {
        document.programs.extend(parse_program(entry, reports));
    }
    for entry in section(&view, "buffers", reports) {
        parse_buffer(entry, limits, &mut document, reports);
    }
    if let Some((node, place)) = view.require("steps", "add at least one [[steps]]", reports) {
        document.steps = steps::parse_steps(node, &place, limits, 0, reports);
    }
    for entry in section(&view, "outputs", reports) {
        document.outputs.extend(parse_output(entry, limits, reports));
    }
    document
}

fn section<'a>(view: &TableView<'a>, name: &str, reports: &mut Reports) -> &'a [Entry] {
    let opened = view.get(name).and_then(|(node, place)| TableView::open(node, name, place.line, reports));
    opened.map(|view| view.entries()).unwrap_or_default()
}

fn entry_place(section: &str, entry: &Entry) -> Place {
    Place { line: entry.line, key: Rc::from(join(section, &entry.key)) }
}

/// Whether a name chosen by the author can stand in an expression; reported if not.
fn is_name(name: &str, place: &Place, reports: &mut Reports) -> bool {
    let mut characters = name.chars();
    let good = characters.next().is_some_and(|first| first.is_ascii_alphabetic() || first == '_')
        && characters.all(|next| next.is_ascii_alphanumeric() || next == '_')
        && !["true", "false"].contains(&name);
    if !good {
        reports.report(place, Problem::BadName { name: name.to_owned() });
    }
    good
}

fn parse_header(node: &Node, place: &Place, document: &mut Document, reports: &mut Reports) {
    let Some(view) = TableView::checked(node, "graph", place.line, keys::GRAPH, reports) else {
        return;
    };
    view.require("name", "give the graph a short name", reports);
    document.name = view.text("name", reports).map(|text| text.value).unwrap_or_default();
    document.description = view.text("description", reports).map(|text| text.value).unwrap_or_default();
    document.verify = view.text("verify", reports);
    let Some((node, place)) = view.get("require") else {
        return;
    };
    for (node, place) in list(node, &place, "a list of conditions", reports).unwrap_or_default() {
        if !matches!(node.kind, NodeKind::Table(_)) {
            let check = document::expression(node, place, reports);
            document.requirements.extend(check.map(|check| Requirement { check, message: None }));
            continue;
        }
        let Some(view) = TableView::checked(node, &place.key, place.line, keys::REQUIREMENT, reports) else {
            continue;
        };
        view.require("check", "write the condition, as in check = \"n % tiles == 0\"", reports);
        let message = view.template("message", reports);
        let check = view.expression("check", reports);
        document.requirements.extend(check.map(|check| Requirement { check, message }));
    }
}

fn parse_parameter(entry: &Entry, reports: &mut Reports) -> Option<Parameter> {
    let place = entry_place("parameters", entry);
    if !is_name(&entry.key, &place, reports) {
        return None;
    }
    let default = if matches!(entry.node.kind, NodeKind::Table(_)) {
        let view = TableView::checked(&entry.node, &place.key, entry.line, keys::PARAMETER, reports)?;
        let (node, list_place) =
            view.require("choose", "list the alternatives: choose = [{ value = ... }]", reports)?;
        let mut choices = Vec::new();
        for (node, place) in list(node, &list_place, "a list of alternatives", reports)? {
            let Some(view) = TableView::checked(node, &place.key, place.line, keys::CHOICE, reports) else {
                continue;
            };
            let when = view.text("when", reports).map(|text| text.value);
            if let Some((node, place)) = view.require("value", "say what to take when it applies", reports)
                && let Some(value) = plain_value(node, &place, reports)
            {
                choices.push((value, when));
            }
        }
        ParameterDefault::Choose(choices)
    } else {
        ParameterDefault::Value(plain_value(&entry.node, &place, reports)?)
    };
    Some(Parameter { name: entry.key.clone(), place, default })
}

fn plain_value(node: &Node, place: &Place, reports: &mut Reports) -> Option<Value> {
    match &node.kind {
        NodeKind::Text(text) => Some(Value::Text(Rc::from(text.as_str()))),
        NodeKind::Integer(value) => Some(Value::Integer(*value)),
        NodeKind::Float(value) => Some(Value::Float(*value)),
        NodeKind::Boolean(value) => Some(Value::Boolean(*value)),
        NodeKind::Date | NodeKind::List(_) | NodeKind::Table(_) => {
            let expected = "an integer, a float, a string or a boolean";
            reports.report(place, Problem::WrongType { expected, found: node.kind_name() });
            None
        }
    }
}

fn parse_data(entry: &Entry, reports: &mut Reports) -> Option<Data> {
    let place = entry_place("data", entry);
    if !is_name(&entry.key, &place, reports) {
        return None;
    }
    let view = TableView::checked(&entry.node, &place.key, entry.line, keys::DATA, reports)?;
    data_from(&view, entry, reports)
}

/// The file keys that `[data.NAME]` and `[buffers.NAME]` share.
fn data_from(view: &TableView<'_>, entry: &Entry, reports: &mut Reports) -> Option<Data> {
    view.require("file", "name the file, relative to the folder of the graph file", reports);
    let format = parse_format(view, reports);
    let dtype = view.template("dtype", reports);
    let shape = view.expressions("shape", reports);
    let file = view.template("file", reports)?;
    Some(Data { name: entry.key.clone(), file, format, dtype, shape })
}

fn parse_format(view: &TableView<'_>, reports: &mut Reports) -> Option<DataFormat> {
    let text = view.text("format", reports)?;
    let format = DataFormat::from_name(&text.value);
    if format.is_none() {
        reports.report(&text.place, not_one_of(&text.value, DataFormat::NAMES));
    }
    format
}

fn not_one_of(found: &str, allowed: &'static [&'static str]) -> Problem {
    let suggestion = nearest(found, allowed.iter().copied());
    Problem::NotOneOf { found: found.to_owned(), allowed, suggestion }
}

fn parse_program(entry: &Entry, reports: &mut Reports) -> Option<ProgramSyntax> {
    let place = entry_place("programs", entry);
    let view = TableView::checked(&entry.node, &place.key, entry.line, keys::PROGRAM, reports)?;
    view.require("file", "name the .cl file, relative to the folder of the graph file", reports);
    let options = view.template("options", reports);
    let file = view.template("file", reports)?;
    Some(ProgramSyntax { name: entry.key.clone(), file, options })
}

fn parse_buffer(entry: &Entry, limits: &Limits, document: &mut Document, reports: &mut Reports) {
    let place = entry_place("buffers", entry);
    if !is_name(&entry.key, &place, reports) {
        return;
    }
    let Some(view) = TableView::checked(&entry.node, &place.key, entry.line, keys::BUFFER, reports) else {
        return;
    };
    let repetition = parse_repetition(&view, limits, reports);
    let Some(origin) = parse_origin(&view, entry, document, reports) else {
        return;
    };
    document.buffers.push(BufferSyntax { name: entry.key.clone(), place, repetition, origin });
}

fn parse_origin(
    view: &TableView<'_>,
    entry: &Entry,
    document: &mut Document,
    reports: &mut Reports,
) -> Option<BufferOrigin> {
    const CHOICES: &[&str] = &["file", "data", "size", "shape"];
    // A raw file may have a shape as well.
    let found: Vec<&str> = CHOICES
        .iter()
        .copied()
        .filter(|choice| view.has(choice) && !(*choice == "shape" && view.has("file")))
        .collect();
    let [origin] = found[..] else {
        let found = found.into_iter().map(str::to_owned).collect();
        reports.report(&view.place, Problem::ExactlyOne { choices: CHOICES, found });
        return None;
    };
    let conflicts: &[&'static str] = match origin {
        "data" => &["dtype", "format"],
        "size" => &["slice", "dtype", "format"],
        "shape" => &["slice", "format"],
        _ => &[],
    };
    for name in conflicts {
        if let Some((_, place)) = view.get(name) {
            let other = CHOICES.iter().copied().find(|choice| *choice == origin).unwrap_or_default();
            reports.report(&place, Problem::Conflict { name, other });
        }
    }
    match origin {
        "file" => {
            let data = data_from(view, entry, reports)?;
            let name = Located { place: data.file.place.clone(), value: data.name.clone() };
            document.data.push(data);
            Some(BufferOrigin::Data { name, slice: parse_slice(view, reports) })
        }
        "data" => {
            Some(BufferOrigin::Data { name: view.text("data", reports)?, slice: parse_slice(view, reports) })
        }
        "size" => Some(BufferOrigin::Size(view.expression("size", reports)?)),
        _ => {
            view.require("dtype", "name the type of one element, as in dtype = \"float\"", reports);
            let dtype = view.template("dtype", reports);
            let shape = view.expressions("shape", reports)?.value;
            Some(BufferOrigin::Shape { shape, dtype: dtype? })
        }
    }
}

fn parse_slice(view: &TableView<'_>, reports: &mut Reports) -> Vec<Pair> {
    let Some((node, place)) = view.get("slice") else {
        return Vec::new();
    };
    let pairs =
        list(node, &place, "a list of [first, count] for each dimension", reports).unwrap_or_default();
    pairs.into_iter().filter_map(|(node, place)| parse_pair(node, &place, reports)).collect()
}

/// Two expressions in a list.
pub(super) fn parse_pair(node: &Node, place: &Place, reports: &mut Reports) -> Option<Pair> {
    let items = list(node, place, "a list of two, [first, count]", reports)?;
    let [(first, first_place), (count, count_place)] = <[_; 2]>::try_from(items)
        .map_err(|items| {
            let expected = "a list of two, [first, count]".to_owned();
            reports.report(place, Problem::WrongCount { expected, found: items.len() });
        })
        .ok()?;
    let first = document::expression(first, first_place, reports);
    let count = document::expression(count, count_place, reports);
    Some((first?, count?))
}

/// Reads `for`, `in`, `let` and `if`.
fn parse_repetition(view: &TableView<'_>, limits: &Limits, reports: &mut Reports) -> Repetition {
    let mut repetition = Repetition { condition: view.expression("if", reports), ..Repetition::default() };
    if view.has("for") || view.has("in") {
        parse_loops(view, limits, &mut repetition, reports);
    }
    if let Some((node, place)) = view.get("let")
        && let Some(view) = TableView::open(node, &place.key, place.line, reports)
    {
        for entry in view.entries() {
            let place = entry_place(&place.key, entry);
            if is_name(&entry.key, &place, reports)
                && let Some(expression) = document::expression(&entry.node, place, reports)
            {
                repetition.names.push((Rc::from(entry.key.as_str()), expression));
            }
        }
    }
    repetition
}

fn parse_loops(view: &TableView<'_>, limits: &Limits, repetition: &mut Repetition, reports: &mut Reports) {
    let names = view.require("for", "name the loop variable, as in for = \"i\"", reports);
    let ranges = view.require("in", "give its range, as in in = \"0..n\"", reports);
    let (Some((names, names_place)), Some((ranges, ranges_place))) = (names, ranges) else {
        return;
    };
    let names = one_or_many(names, &names_place, reports);
    let ranges = one_or_many(ranges, &ranges_place, reports);
    if names.len() != ranges.len() {
        let expected = format!("one range for each of the {} variables of `for`", names.len());
        reports.report(&ranges_place, Problem::WrongCount { expected, found: ranges.len() });
        return;
    }
    if names.len() > limits.loop_variables_max {
        let limit = limits.loop_variables_max as u64;
        reports.report(&names_place, Problem::LimitExceeded { what: "variables in one `for`", limit });
        return;
    }
    for (name, range) in names.into_iter().zip(ranges) {
        let good = is_name(&name.value, &name.place, reports);
        match RangeExpression::parse(&range.value) {
            Ok(parsed) if good => {
                repetition.loops.push((Rc::from(name.value), Located { place: range.place, value: parsed }));
            }
            Ok(_) => {}
            Err(error) => reports.report(&range.place, error.into()),
        }
    }
}

/// A string or a list of strings.
fn one_or_many(node: &Node, place: &Place, reports: &mut Reports) -> Vec<Located<String>> {
    if matches!(node.kind, NodeKind::Text(_)) {
        return document::text(node, place.clone(), reports).into_iter().collect();
    }
    let items = list(node, place, "a string or a list of strings", reports).unwrap_or_default();
    items.into_iter().filter_map(|(node, place)| document::text(node, place, reports)).collect()
}

fn parse_reference(text: Located<String>, reports: &mut Reports) -> Option<Located<BufferReference>> {
    let parsed: Result<BufferReference, ExpressionError> = BufferReference::parse(&text.value);
    match parsed {
        Ok(reference) => Some(Located { place: text.place, value: reference }),
        Err(error) => {
            reports.report(&text.place, error.into());
            None
        }
    }
}

fn parse_output(entry: &Entry, limits: &Limits, reports: &mut Reports) -> Option<OutputSyntax> {
    let place = entry_place("outputs", entry);
    let view = TableView::checked(&entry.node, &place.key, entry.line, keys::OUTPUT, reports)?;
    view.require("file", "name the file to write", reports);
    view.require("buffer", "name the buffer to read back", reports);
    let repetition = parse_repetition(&view, limits, reports);
    let file = view.template("file", reports);
    let buffer = view.text("buffer", reports).and_then(|text| parse_reference(text, reports));
    let offset = view.expression("offset", reports);
    let size = view.expression("size", reports);
    let at = view.expressions("at", reports);
    let part = view.expressions("part", reports);
    let (file, buffer) = (file?, buffer?);
    let format = if view.has("format") { parse_format(&view, reports)? } else { format_of(&view) };
    let encoding = parse_encoding(&view, format, reports)?;
    Some(OutputSyntax {
        name: entry.key.clone(),
        place,
        repetition,
        file,
        encoding,
        buffer,
        offset,
        size,
        at,
        part,
    })
}

/// The format that the ending of the file's name, as written, suggests.
fn format_of(view: &TableView<'_>) -> DataFormat {
    match view.get("file").map(|(node, _)| &node.kind) {
        Some(NodeKind::Text(text)) => DataFormat::from_path(std::path::Path::new(text)),
        _ => DataFormat::Raw,
    }
}

fn parse_encoding(view: &TableView<'_>, format: DataFormat, reports: &mut Reports) -> Option<EncodingSyntax> {
    let foreign: &[&'static str] = match format {
        DataFormat::Npy => &["width", "height", "channels", "bits"],
        DataFormat::Png => &["dtype", "shape"],
        DataFormat::Raw => &["dtype", "shape", "width", "height", "channels", "bits"],
    };
    let other = match format {
        DataFormat::Npy => "format = \"npy\"",
        DataFormat::Png => "format = \"png\"",
        DataFormat::Raw => "format = \"raw\"",
    };
    for name in foreign {
        if let Some((_, place)) = view.get(name) {
            reports.report(&place, Problem::Conflict { name, other });
        }
    }
    match format {
        DataFormat::Npy => {
            view.require("dtype", "name the type of one element, as in dtype = \"float\"", reports);
            let shape = view.expressions("shape", reports);
            Some(EncodingSyntax::Npy { dtype: view.template("dtype", reports)?, shape })
        }
        DataFormat::Raw => Some(EncodingSyntax::Raw),
        DataFormat::Png => {
            view.require("width", "give the width of the image in pixels", reports);
            view.require("height", "give the height of the image in pixels", reports);
            let (width, height) = (view.expression("width", reports), view.expression("height", reports));
            let channels = view.expression("channels", reports);
            let bits = view.expression("bits", reports);
            Some(EncodingSyntax::Png(Box::new(PngSyntax { width: width?, height: height?, channels, bits })))
        }
    }
}
