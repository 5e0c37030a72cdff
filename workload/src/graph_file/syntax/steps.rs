//! The structure of `[[steps]]`. Must never hold values that depend on parameters.

use super::{
    BufferReference, Expression, Limits, Located, Node, NodeKind, Pair, Place, Problem, Repetition, Reports,
    TableView, Template, document, keys, list, nearest, not_one_of, one_or_many, parse_pair, parse_reference,
    parse_repetition,
};
use crate::data_files::ElementType;
use crate::graph_file::Access;

/// An entry of `steps`.
#[derive(Debug)]
pub(in crate::graph_file) struct Step {
    pub place: Place,
    pub repetition: Repetition,
    pub label: Option<Located<Template>>,
    pub after: Vec<Located<Template>>,
    pub kind: StepKind,
}

#[derive(Debug)]
pub(in crate::graph_file) enum StepKind {
    Launch {
        kernel: Located<Template>,
        program: Option<Located<String>>,
        global: Located<Vec<Located<Expression>>>,
        local: Option<Located<Vec<Located<Expression>>>>,
        offset: Option<Located<Vec<Located<Expression>>>>,
        arguments: Vec<ArgumentSyntax>,
    },
    Copy {
        place: Place,
        source: Located<BufferReference>,
        source_offset: Option<Located<Expression>>,
        target: Located<BufferReference>,
        target_offset: Option<Located<Expression>>,
        size: Option<Located<Expression>>,
    },
    Fill {
        place: Place,
        buffer: Located<BufferReference>,
        offset: Option<Located<Expression>>,
        size: Option<Located<Expression>>,
        pattern: ScalarSyntax,
    },
    Barrier,
    Marker,
    Group(Vec<Step>),
}

#[derive(Debug)]
pub(in crate::graph_file) enum ArgumentSyntax {
    Buffer(Box<BufferArgumentSyntax>),
    Scalar(ScalarSyntax),
    Local(Located<Expression>),
}

/// A buffer, or a part of one, as an argument.
#[derive(Debug)]
pub(in crate::graph_file) struct BufferArgumentSyntax {
    pub place: Place,
    pub buffer: Located<BufferReference>,
    pub offset: Option<Located<Expression>>,
    pub size: Option<Located<Expression>>,
    pub access: Option<Access>,
    pub touches: Option<Located<Pair>>,
}

/// A number, or the numbers of a vector, of a type.
#[derive(Debug)]
pub(in crate::graph_file) struct ScalarSyntax {
    pub place: Place,
    pub scalar_type: ScalarType,
    pub values: Vec<Located<Expression>>,
}

#[derive(Debug)]
pub(in crate::graph_file) enum ScalarType {
    /// The type is written as the key.
    Known(ElementType, usize),
    /// The type is a text to be filled in.
    Computed(Located<Template>),
}

impl ScalarType {
    /// The element type and the number of elements of a type's name, as in `float4`.
    pub(in crate::graph_file) fn from_name(name: &str) -> Option<(ElementType, usize)> {
        let digits = name.len() - name.trim_end_matches(|last: char| last.is_ascii_digit()).len();
        let (base, count) = name.split_at(name.len() - digits);
        if !keys::SCALAR_TYPES.contains(&base) {
            return None;
        }
        let count = match count {
            "" => 1,
            "2" => 2,
            "3" => 3,
            "4" => 4,
            "8" => 8,
            "16" => 16,
            _ => return None,
        };
        ElementType::from_name(base).map(|element_type| (element_type, count))
    }
}

/// Reads a list of steps, `depth` levels deep.
pub(super) fn parse_steps(
    node: &Node,
    place: &Place,
    limits: &Limits,
    depth: usize,
    reports: &mut Reports,
) -> Vec<Step> {
    if depth >= limits.nesting_depth_max {
        let limit = limits.nesting_depth_max as u64;
        reports.report(place, Problem::LimitExceeded { what: "levels of steps within steps", limit });
        return Vec::new();
    }
    let items = list(node, place, "a list of steps ([[steps]])", reports).unwrap_or_default();
    if items.is_empty() && matches!(node.kind, NodeKind::List(_)) {
        reports.report(place, Problem::Empty { what: "the list of steps" });
    }
    items.into_iter().filter_map(|(node, place)| parse_step(node, &place, limits, depth, reports)).collect()
}

fn parse_step(
    node: &Node,
    place: &Place,
    limits: &Limits,
    depth: usize,
    reports: &mut Reports,
) -> Option<Step> {
    let view = TableView::checked(node, &place.key, place.line, keys::STEP, reports)?;
    let kinds: Vec<&str> = keys::STEP_KINDS.iter().copied().filter(|kind| view.has(kind)).collect();
    let [kind_name] = kinds[..] else {
        let found = kinds.into_iter().map(str::to_owned).collect();
        reports.report(place, Problem::ExactlyOne { choices: keys::STEP_KINDS, found });
        return None;
    };
    let kind_name = keys::STEP_KINDS.iter().copied().find(|kind| *kind == kind_name)?;
    let mut foreign: Vec<&'static str> = Vec::new();
    if kind_name != "launch" {
        foreign.extend(keys::LAUNCH_ONLY);
    }
    if kind_name == "steps" {
        foreign.extend(["label", "after"]);
    }
    for name in foreign {
        if let Some((_, place)) = view.get(name) {
            reports.report(&place, Problem::Conflict { name, other: kind_name });
        }
    }
    let repetition = parse_repetition(&view, limits, reports);
    let label = view.template("label", reports);
    let after = parse_after(&view, reports);
    let (body, body_place) = view.get(kind_name)?;
    let kind = match kind_name {
        "launch" => parse_launch(&view, limits, reports)?,
        "copy" => parse_copy(body, &body_place, reports)?,
        "fill" => parse_fill(body, body_place, reports)?,
        "steps" => StepKind::Group(parse_steps(body, &body_place, limits, depth + 1, reports)),
        name => {
            if !matches!(body.kind, NodeKind::Boolean(true)) {
                reports.report(&body_place, Problem::WrongType { expected: "true", found: body.kind_name() });
            }
            if name == "barrier" { StepKind::Barrier } else { StepKind::Marker }
        }
    };
    Some(Step { place: place.clone(), repetition, label, after, kind })
}

fn parse_after(view: &TableView<'_>, reports: &mut Reports) -> Vec<Located<Template>> {
    let Some((node, place)) = view.get("after") else {
        return Vec::new();
    };
    let mut labels = Vec::new();
    for text in one_or_many(node, &place, reports) {
        match Template::parse(&text.value) {
            Ok(template) => labels.push(Located { place: text.place, value: template }),
            Err(error) => reports.report(&text.place, error.into()),
        }
    }
    labels
}

fn parse_launch(view: &TableView<'_>, limits: &Limits, reports: &mut Reports) -> Option<StepKind> {
    view.require("global", "give the work-items of each dimension, as in global = [1024]", reports);
    let kernel = view.template("launch", reports);
    let program = view.text("program", reports);
    let global = view.expressions("global", reports);
    let local = view.expressions("local", reports);
    let offset = view.expressions("offset", reports);
    let mut arguments = Vec::new();
    if let Some((node, place)) = view.get("arguments") {
        let items = list(node, &place, "a list of arguments", reports)?;
        if items.len() > limits.arguments_max {
            let limit = limits.arguments_max as u64;
            reports.report(&place, Problem::LimitExceeded { what: "arguments", limit });
            return None;
        }
        arguments.extend(items.into_iter().filter_map(|(node, place)| parse_argument(node, place, reports)));
    }
    Some(StepKind::Launch { kernel: kernel?, program, global: global?, local, offset, arguments })
}

fn parse_argument(node: &Node, place: Place, reports: &mut Reports) -> Option<ArgumentSyntax> {
    if matches!(node.kind, NodeKind::Text(_)) {
        let text = document::text(node, place.clone(), reports)?;
        let buffer = parse_reference(text, reports)?;
        return Some(ArgumentSyntax::Buffer(Box::new(BufferArgumentSyntax {
            place,
            buffer,
            offset: None,
            size: None,
            access: None,
            touches: None,
        })));
    }
    let NodeKind::Table(entries) = &node.kind else {
        let expected = "the name of a buffer, { TYPE = value } or { local = bytes }";
        reports.report(&place, Problem::WrongType { expected, found: node.kind_name() });
        return None;
    };
    if entries.iter().any(|entry| entry.key == "buffer") {
        return parse_buffer_argument(node, &place, reports);
    }
    if let [entry] = &entries[..]
        && entry.key == "local"
    {
        return document::expression(&entry.node, place, reports).map(ArgumentSyntax::Local);
    }
    let view = TableView::open(node, &place.key, place.line, reports)?;
    parse_scalar(&view, reports).map(ArgumentSyntax::Scalar)
}

fn parse_buffer_argument(node: &Node, place: &Place, reports: &mut Reports) -> Option<ArgumentSyntax> {
    let view = TableView::checked(node, &place.key, place.line, keys::BUFFER_ARGUMENT, reports)?;
    let offset = view.expression("offset", reports);
    let size = view.expression("size", reports);
    let access = view.text("access", reports).and_then(|text| match text.value.as_str() {
        "read" => Some(Access::Read),
        "write" => Some(Access::Write),
        "read-write" => Some(Access::ReadWrite),
        other => {
            reports.report(&text.place, not_one_of(other, keys::ACCESS));
            None
        }
    });
    let touches = view
        .get("touches")
        .and_then(|(node, place)| parse_pair(node, &place, reports).map(|value| Located { place, value }));
    let buffer = view.text("buffer", reports).and_then(|text| parse_reference(text, reports))?;
    Some(ArgumentSyntax::Buffer(Box::new(BufferArgumentSyntax {
        place: place.clone(),
        buffer,
        offset,
        size,
        access,
        touches,
    })))
}

/// The keys of a table that say a type: one of the scalar types, or `type`.
fn type_keys<'a>(view: &TableView<'a>) -> Vec<&'a str> {
    let names = view.entries().iter().map(|entry| entry.key.as_str());
    names.filter(|name| *name == "type" || ScalarType::from_name(name).is_some()).collect()
}

/// Reads `{ int = value }`, `{ float4 = [..] }` or `{ type = "...", value = ... }`; other keys of the table are left
/// to the caller if it has any.
fn parse_scalar(view: &TableView<'_>, reports: &mut Reports) -> Option<ScalarSyntax> {
    const CHOICES: &[&str] = &["buffer", "local", "type", "int", "uint", "long", "float", "double"];
    let found = type_keys(view);
    let [key] = found[..] else {
        if let Some(entry) = view.entries().iter().find(|entry| !keys::FILL.contains(&entry.key.as_str())) {
            let place = Place { line: entry.line, key: format!("{}.{}", view.place.key, entry.key).into() };
            let all = keys::SCALAR_TYPES.iter().chain(&["buffer", "local", "type", "value"]);
            let suggestion = nearest(&entry.key, all.copied());
            reports
                .report(&place, Problem::UnknownKey { name: entry.key.clone(), suggestion, known: CHOICES });
        } else {
            let found = found.into_iter().map(str::to_owned).collect();
            reports.report(&view.place, Problem::ExactlyOne { choices: CHOICES, found });
        }
        return None;
    };
    let (scalar_type, value_key) = match ScalarType::from_name(key) {
        Some((element_type, count)) => (ScalarType::Known(element_type, count), key),
        None => (ScalarType::Computed(view.template("type", reports)?), "value"),
    };
    if value_key == "value" {
        view.require("value", "give the value beside the type", reports);
    }
    let (node, place) = view.get(value_key)?;
    let values = if matches!(node.kind, NodeKind::List(_)) {
        let items = list(node, &place, "a list of numbers", reports)?;
        items.into_iter().filter_map(|(node, place)| document::expression(node, place, reports)).collect()
    } else {
        vec![document::expression(node, place.clone(), reports)?]
    };
    let allowed: &[&str] = if value_key == "value" { keys::TYPED_SCALAR } else { &[] };
    let others =
        view.entries().iter().filter(|entry| entry.key != key && !allowed.contains(&entry.key.as_str()));
    for entry in others.filter(|entry| !keys::FILL.contains(&entry.key.as_str()) || !view.has("buffer")) {
        let place = Place { line: entry.line, key: format!("{}.{}", view.place.key, entry.key).into() };
        let suggestion = nearest(&entry.key, keys::FILL.iter().copied());
        reports.report(&place, Problem::UnknownKey { name: entry.key.clone(), suggestion, known: CHOICES });
    }
    Some(ScalarSyntax { place, scalar_type, values })
}

fn parse_copy(node: &Node, place: &Place, reports: &mut Reports) -> Option<StepKind> {
    let view = TableView::checked(node, &place.key, place.line, keys::COPY, reports)?;
    view.require("from", "name the buffer to read", reports);
    view.require("to", "name the buffer to write", reports);
    let source = view.text("from", reports).and_then(|text| parse_reference(text, reports));
    let target = view.text("to", reports).and_then(|text| parse_reference(text, reports));
    let source_offset = view.expression("from_offset", reports);
    let target_offset = view.expression("to_offset", reports);
    let size = view.expression("size", reports);
    Some(StepKind::Copy {
        place: place.clone(),
        source: source?,
        source_offset,
        target: target?,
        target_offset,
        size,
    })
}

fn parse_fill(node: &Node, place: Place, reports: &mut Reports) -> Option<StepKind> {
    let view = TableView::open(node, &place.key, place.line, reports)?;
    view.require("buffer", "name the buffer to fill", reports);
    let buffer = view.text("buffer", reports).and_then(|text| parse_reference(text, reports));
    let offset = view.expression("offset", reports);
    let size = view.expression("size", reports);
    let pattern = parse_scalar(&view, reports);
    Some(StepKind::Fill { place, buffer: buffer?, offset, size, pattern: pattern? })
}
