//! The project's own JSON, `isochrone-task-graph` version 1. The schema is `workload/schemas/task-graph.schema.json`.
//!
//! Tasks and items refer to each other by name; the producer of an item is the task that has it among its outputs.
//! What `inputs`, `outputs`, `after` and `items` leave out is empty, and `memory_bytes` 0; `extra` may hold anything
//! and is not read.

use std::fmt::Write as _;

use serde::Deserialize;
use serde::de::IgnoredAny;

use super::{Found, Place, ReadProblem, index_names};
use crate::task_graph::{DataItem, GraphTask, TaskCost, TaskGraph};

/// What `format` has to say.
pub(super) const FORMAT: &str = "isochrone-task-graph";
/// What `version` has to say.
pub(super) const VERSION: u64 = 1;

/// The keys of a document, of a task and of an item, for the test that compares them with the schema.
#[cfg(test)]
pub(super) const KEYS: [&[&str]; 3] = [
    &["format", "version", "name", "device_columns", "tasks", "items", "extra"],
    &["name", "kind", "work_ns", "durations_ns", "memory_bytes", "inputs", "outputs", "after", "extra"],
    &["name", "size_bytes", "extra"],
];

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    format: String,
    version: u64,
    name: String,
    #[serde(default)]
    device_columns: Vec<String>,
    tasks: Vec<Task>,
    #[serde(default)]
    items: Vec<Item>,
    #[serde(default, rename = "extra")]
    _extra: IgnoredAny,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Task {
    name: String,
    kind: String,
    work_ns: Option<u64>,
    durations_ns: Option<Vec<u64>>,
    #[serde(default)]
    memory_bytes: u64,
    #[serde(default)]
    inputs: Vec<String>,
    #[serde(default)]
    outputs: Vec<String>,
    #[serde(default)]
    after: Vec<String>,
    #[serde(default, rename = "extra")]
    _extra: IgnoredAny,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Item {
    name: String,
    size_bytes: u64,
    #[serde(default, rename = "extra")]
    _extra: IgnoredAny,
}

/// Where and what a JSON error is.
pub(super) fn json_error(error: &serde_json::Error) -> Found {
    let place = match error.line() {
        0 => Place::WholeFile,
        line => Place::Line { line, column: error.column() },
    };
    let message = error.to_string();
    // The place is said once, in front.
    let message = match message.rfind(" at line ") {
        Some(end) => message[..end].to_owned(),
        None => message,
    };
    (place, ReadProblem::Json { message })
}

/// Reads a graph; names are resolved, the graph is not yet validated.
pub(super) fn read(text: &str) -> Result<TaskGraph, Found> {
    let document: Document = serde_json::from_str(text).map_err(|error| json_error(&error))?;
    let at = |path: &str| Place::JsonPath(path.to_owned());
    if document.format != FORMAT {
        let expected = format!("\"{FORMAT}\"");
        let found = format!("\"{}\"", document.format);
        return Err((at("format"), ReadProblem::Expected { expected, found }));
    }
    if document.version != VERSION {
        let what = format!("version {} of {FORMAT}", document.version);
        return Err((at("version"), ReadProblem::Unsupported { what, hint: "this reader knows version 1" }));
    }
    let tasks_by_name = index_names("task", document.tasks.iter().map(|task| task.name.as_str()), |index| {
        Place::JsonPath(format!("tasks[{index}].name"))
    })?;
    let items_by_name = index_names("item", document.items.iter().map(|item| item.name.as_str()), |index| {
        Place::JsonPath(format!("items[{index}].name"))
    })?;
    let mut graph = TaskGraph { name: document.name, ..TaskGraph::default() };
    let mut producers = vec![None; document.items.len()];
    for (index, task) in document.tasks.iter().enumerate() {
        let resolve = |list: &str, what: &'static str, names: &[String]| {
            let known = if what == "task" { &tasks_by_name } else { &items_by_name };
            let find = |(position, name): (usize, &String)| {
                known.get(name.as_str()).copied().ok_or_else(|| {
                    let place = Place::JsonPath(format!("tasks[{index}].{list}[{position}]"));
                    (place, ReadProblem::Unknown { what, name: name.clone() })
                })
            };
            names.iter().enumerate().map(find).collect::<Result<Vec<usize>, Found>>()
        };
        let task = GraphTask {
            name: task.name.clone(),
            kind: task.kind.clone(),
            cost: cost(index, task)?,
            memory_bytes: task.memory_bytes,
            inputs: resolve("inputs", "item", &task.inputs)?,
            outputs: resolve("outputs", "item", &task.outputs)?,
            after: resolve("after", "task", &task.after)?,
        };
        for &item in &task.outputs {
            // Where two tasks make an item, validation names both.
            producers[item] = Some(index);
        }
        graph.tasks.push(task);
    }
    drop(items_by_name);
    graph.items = (document.items.into_iter().zip(producers))
        .map(|(item, producer)| DataItem { name: item.name, size_bytes: item.size_bytes, producer })
        .collect();
    graph.device_columns = document.device_columns;
    Ok(graph)
}

fn cost(index: usize, task: &Task) -> Result<TaskCost, Found> {
    match (task.work_ns, &task.durations_ns) {
        (Some(work_ns), None) => Ok(TaskCost::Work(work_ns)),
        (None, Some(durations_ns)) => Ok(TaskCost::PerDevice(durations_ns.clone())),
        (given, _) => {
            let expected = "one of work_ns and durations_ns".to_owned();
            let found = if given.is_some() { "both" } else { "neither" }.to_owned();
            Err((Place::JsonPath(format!("tasks[{index}]")), ReadProblem::Expected { expected, found }))
        }
    }
}

/// Writes a graph, a task or an item on a line, so that changes can be compared.
pub(super) fn write(graph: &TaskGraph) -> String {
    let mut text = String::new();
    let columns = list(graph.device_columns.iter().map(String::as_str));
    // Writing to a string does not fail.
    let _ = write!(
        text,
        "{{\n  \"format\": \"{FORMAT}\",\n  \"version\": {VERSION},\n  \"name\": {},\n",
        quoted(&graph.name)
    );
    if !graph.device_columns.is_empty() {
        let _ = writeln!(text, "  \"device_columns\": {columns},");
    }
    text.push_str("  \"tasks\": [");
    for (index, task) in graph.tasks.iter().enumerate() {
        let separator = if index == 0 { "" } else { "," };
        let _ = write!(
            text,
            "{separator}\n    {{\"name\": {}, \"kind\": {}, ",
            quoted(&task.name),
            quoted(&task.kind)
        );
        match &task.cost {
            TaskCost::Work(work_ns) => {
                let _ = write!(text, "\"work_ns\": {work_ns}");
            }
            TaskCost::PerDevice(durations_ns) => {
                let durations: Vec<String> = durations_ns.iter().map(u64::to_string).collect();
                let _ = write!(text, "\"durations_ns\": [{}]", durations.join(", "));
            }
        }
        if task.memory_bytes > 0 {
            let _ = write!(text, ", \"memory_bytes\": {}", task.memory_bytes);
        }
        let item_names = |items: &[usize]| list(items.iter().map(|&item| graph.items[item].name.as_str()));
        let task_names = |tasks: &[usize]| list(tasks.iter().map(|&task| graph.tasks[task].name.as_str()));
        for (key, indices, names) in [
            ("inputs", &task.inputs, item_names(&task.inputs)),
            ("outputs", &task.outputs, item_names(&task.outputs)),
            ("after", &task.after, task_names(&task.after)),
        ] {
            if !indices.is_empty() {
                let _ = write!(text, ", \"{key}\": {names}");
            }
        }
        text.push('}');
    }
    text.push_str(if graph.tasks.is_empty() { "],\n  \"items\": [" } else { "\n  ],\n  \"items\": [" });
    for (index, item) in graph.items.iter().enumerate() {
        let separator = if index == 0 { "" } else { "," };
        let (name, size_bytes) = (quoted(&item.name), item.size_bytes);
        let _ = write!(text, "{separator}\n    {{\"name\": {name}, \"size_bytes\": {size_bytes}}}");
    }
    text.push_str(if graph.items.is_empty() { "]\n}\n" } else { "\n  ]\n}\n" });
    text
}

/// A text as a JSON string.
pub(super) fn quoted(text: &str) -> String {
    serde_json::to_string(text).expect("a string has a JSON form")
}

/// Texts as a JSON list of strings.
pub(super) fn list<'a>(texts: impl Iterator<Item = &'a str>) -> String {
    format!("[{}]", texts.map(quoted).collect::<Vec<_>>().join(", "))
}
