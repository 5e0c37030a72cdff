//! Pegasus' abstract workflows as XML (DAX, `adag` of versions 2.x and 3.x): reads both, writes 2.1.
//!
//! - `job`: the name of a task here is its `id`, the kind its `name`, with `namespace::` before it where there is
//!   one. The duration is the attribute `runtime`, or a `profile` with namespace `pegasus` and key `runtime`, in
//!   seconds.
//! - `uses` in a job: the file is `file` (2.x) or `name` (3.x), `link` is `input` or `output`, and the size is the
//!   attribute `size`, or a `metadata` with key `size`, in bytes. Uses that are `executable` are not data.
//! - `child` and `parent`: where no file goes along, order without data.
//!
//! Jobs that are workflows themselves (`dag`, `dax`) are refused. Everything else is not read.

use std::fmt::Write as _;

use roxmltree::{Document, Node};

use super::assembly::{Assembly, decimal_seconds, nanoseconds, whole_bytes};
use super::{Found, GraphFormat, Place, ReadOptions, ReadProblem, WriteError, WrittenGraph};
use crate::task_graph::{TaskCost, TaskGraph};

/// Reads a graph; not yet validated.
pub(super) fn read(
    text: &str,
    options: &ReadOptions,
    assumptions: &mut Vec<String>,
) -> Result<TaskGraph, Found> {
    // A million jobs with their uses are some tens of millions of nodes.
    let settings =
        roxmltree::ParsingOptions { nodes_limit: u32::MAX, ..roxmltree::ParsingOptions::default() };
    let document = Document::parse_with_options(text, settings).map_err(|error| {
        let position = error.pos();
        let place = Place::Line { line: position.row as usize, column: position.col as usize };
        let message = error.to_string();
        let message = message.rsplit_once(" at ").map_or(message.as_str(), |(message, _)| message).to_owned();
        (place, ReadProblem::Xml { message })
    })?;
    let root = document.root_element();
    if root.tag_name().name() != "adag" {
        let found = format!("`{}`", root.tag_name().name());
        return Err((
            place(root),
            ReadProblem::Expected { expected: "the element `adag`".to_owned(), found },
        ));
    }
    if let Some(version) = root.attribute("version")
        && !(version.starts_with("2.") || version.starts_with("3."))
    {
        let what = format!("version {version} of adag");
        return Err((place(root), ReadProblem::Unsupported { what, hint: "this reader knows 2.x and 3.x" }));
    }
    let mut assembly = Assembly::new(root.attribute("name").unwrap_or(""), options);
    for node in root.children().filter(Node::is_element) {
        match node.tag_name().name() {
            "job" => read_job(node, &mut assembly)?,
            name @ ("dag" | "dax") => {
                let what = format!("a job that is a workflow itself (`{name}`)");
                return Err((
                    place(node),
                    ReadProblem::Unsupported { what, hint: "put its jobs in its place" },
                ));
            }
            // Links come after the jobs that they name; catalogues, metadata and the rest say nothing of the graph.
            _ => {}
        }
    }
    for child in elements(root, "child") {
        let follower = assembly.task(required(child, "ref")?, || place(child))?;
        for parent in elements(child, "parent") {
            let before = assembly.task(required(parent, "ref")?, || place(parent))?;
            assembly.link(before, follower);
        }
    }
    assumptions.push("runtimes were taken as work on a device of speed 1".to_owned());
    assembly.finish(assumptions)
}

fn read_job(job: Node<'_, '_>, assembly: &mut Assembly<'_>) -> Result<(), Found> {
    let name = required(job, "name")?;
    let kind = match job.attribute("namespace") {
        Some(namespace) => format!("{namespace}::{name}"),
        None => name.to_owned(),
    };
    let in_profile = || {
        elements(job, "profile")
            .find(|profile| {
                profile.attribute("namespace") == Some("pegasus")
                    && profile.attribute("key") == Some("runtime")
            })
            .and_then(|profile| profile.text())
    };
    let duration_ns = match job.attribute("runtime").or_else(in_profile) {
        Some(text) => {
            let seconds: f64 = text.trim().parse().map_err(|_| {
                let expected = "a runtime in seconds".to_owned();
                (place(job), ReadProblem::Expected { expected, found: format!("`{text}`") })
            })?;
            let out_of_range = || ReadProblem::OutOfRange { value: text.to_owned(), unit: "s" };
            Some(nanoseconds(seconds).ok_or_else(|| (place(job), out_of_range()))?)
        }
        None => None,
    };
    let task = assembly.add_task(required(job, "id")?, &kind, duration_ns, None, || place(job))?;
    for uses in elements(job, "uses") {
        let is_executable = uses.attribute("executable") == Some("true")
            || uses.attribute("type") == Some("executable")
            || uses.attribute("link") == Some("none");
        if is_executable {
            continue;
        }
        let file = match uses.attribute("file") {
            Some(file) => file,
            None => required(uses, "name")?,
        };
        let in_metadata = || {
            elements(uses, "metadata")
                .find(|metadata| metadata.attribute("key") == Some("size"))
                .and_then(|metadata| metadata.text())
        };
        let size_bytes = match uses.attribute("size").or_else(in_metadata) {
            Some(text) => Some(whole_bytes(text).ok_or_else(|| {
                let expected = "a size in whole bytes".to_owned();
                (place(uses), ReadProblem::Expected { expected, found: format!("`{text}`") })
            })?),
            None => None,
        };
        let item = assembly.item(file, size_bytes, || place(uses))?;
        match required(uses, "link")? {
            "input" => assembly.reads(task, item, || place(uses))?,
            "output" => assembly.makes(task, item, || place(uses))?,
            other => {
                let what = format!("link `{other}`");
                let hint = "a file is `input` or `output` of a job";
                return Err((place(uses), ReadProblem::Unsupported { what, hint }));
            }
        }
    }
    Ok(())
}

fn elements<'a, 'input>(
    parent: Node<'a, 'input>,
    name: &'static str,
) -> impl Iterator<Item = Node<'a, 'input>> {
    parent.children().filter(move |node| node.is_element() && node.tag_name().name() == name)
}

fn required<'a>(node: Node<'a, '_>, attribute: &str) -> Result<&'a str, Found> {
    node.attribute(attribute).filter(|value| !value.is_empty()).ok_or_else(|| {
        let expected = format!("attribute `{attribute}` of `{}`", node.tag_name().name());
        (place(node), ReadProblem::Expected { expected, found: "none".to_owned() })
    })
}

/// Where a node starts. Finding out takes time in proportion to the file: for errors only.
fn place(node: Node<'_, '_>) -> Place {
    let position = node.document().text_pos_at(node.range().start);
    Place::Line { line: position.row as usize, column: position.col as usize }
}

/// Writes a graph as version 2.1.
pub(super) fn write(graph: &TaskGraph) -> Result<WrittenGraph, WriteError> {
    let mut losses = Vec::new();
    let used = graph.consumers();
    let unused = (0..graph.items.len())
        .filter(|&item| graph.items[item].producer.is_none() && used[item].is_empty())
        .count();
    if unused > 0 {
        losses.push(format!("{unused} items that no task reads or makes"));
    }
    if graph.tasks.iter().any(|task| task.memory_bytes > 0) {
        losses.push("the memory of tasks".to_owned());
    }
    let mut text = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<adag xmlns=\"http://pegasus.isi.edu/schema/DAX\" version=\"2.1\" name=\"{}\" jobCount=\"{}\">\n",
        escaped(&graph.name),
        graph.tasks.len()
    );
    // Writing to a string does not fail.
    for task in &graph.tasks {
        let TaskCost::Work(work_ns) = task.cost else {
            return Err(WriteError::NotExpressible {
                format: GraphFormat::Dax,
                what: format!("task `{}` has durations for each device", task.name),
                hint: "write it in the project's own format",
            });
        };
        let (id, kind, runtime) = (escaped(&task.name), escaped(&task.kind), decimal_seconds(work_ns));
        let _ = writeln!(text, "  <job id=\"{id}\" name=\"{kind}\" runtime=\"{runtime}\">");
        for (link, items) in [("input", &task.inputs), ("output", &task.outputs)] {
            for &item in items {
                let item = &graph.items[item];
                let (file, size_bytes) = (escaped(&item.name), item.size_bytes);
                let _ = writeln!(text, "    <uses file=\"{file}\" link=\"{link}\" size=\"{size_bytes}\"/>");
            }
        }
        text.push_str("  </job>\n");
    }
    for (task, before) in graph.tasks.iter().zip(graph.predecessors().iter()) {
        if !before.is_empty() {
            let _ = writeln!(text, "  <child ref=\"{}\">", escaped(&task.name));
            for &parent in before {
                let _ = writeln!(text, "    <parent ref=\"{}\"/>", escaped(&graph.tasks[parent].name));
            }
            text.push_str("  </child>\n");
        }
    }
    text.push_str("</adag>\n");
    Ok(WrittenGraph { text, losses, additions: Vec::new() })
}

fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\n' | '\t' | '\r' => {
                let _ = write!(escaped, "&#{};", u32::from(letter));
            }
            other => escaped.push(other),
        }
    }
    escaped
}
