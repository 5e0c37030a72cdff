//! WfCommons' WfFormat (<https://wfcommons.org>): reads the schema versions 1.4, 1.5 and 1.6, writes 1.5.
//!
//! - 1.5 and 1.6: `workflow.specification` has tasks and files, `workflow.execution` the runtimes. The name of a task
//!   here is its `id` there, its kind the `name`.
//! - 1.4: `workflow.tasks` has all of it. The name is `name`, or `name_id` when there is an `id` that the name does not
//!   hold already (as WfCommons' own migration does); the kind is `category` where there is one, else `name`.
//!   Parents and children are names, or ids. The name of a file is `path` and `name` put together.
//!
//! `runtimeInSeconds` becomes work, `memoryInBytes` memory. Parents and children along which no file goes become order
//! without data; either side may say it. Machines, cores and everything else that a run was measured with are not read.

use std::fmt::Write as _;

use serde::Deserialize;
use serde_json::Number;

use super::assembly::{Assembly, decimal_seconds, nanoseconds};
use super::native::{json_error, list, quoted};
use super::{Found, GraphFormat, Place, ReadOptions, ReadProblem, WriteError, WrittenGraph};
use crate::task_graph::{TaskCost, TaskGraph};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Instance {
    name: String,
    schema_version: String,
    workflow: Workflow,
}

#[derive(Deserialize)]
struct Workflow {
    specification: Option<Specification>,
    execution: Option<Execution>,
    tasks: Option<Vec<OldTask>>,
}

#[derive(Deserialize)]
struct Specification {
    tasks: Vec<SpecifiedTask>,
    #[serde(default)]
    files: Vec<SpecifiedFile>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct SpecifiedTask {
    name: String,
    id: String,
    parents: Vec<String>,
    children: Vec<String>,
    #[serde(default)]
    input_files: Vec<String>,
    #[serde(default)]
    output_files: Vec<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct SpecifiedFile {
    id: String,
    size_in_bytes: Option<u64>,
}

#[derive(Deserialize)]
struct Execution {
    tasks: Vec<ExecutedTask>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ExecutedTask {
    id: String,
    runtime_in_seconds: Option<f64>,
    core_count: Option<f64>,
    memory_in_bytes: Option<Number>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct OldTask {
    name: String,
    id: Option<String>,
    category: Option<String>,
    #[serde(default)]
    parents: Vec<String>,
    #[serde(default)]
    children: Vec<String>,
    #[serde(default)]
    files: Vec<OldFile>,
    runtime_in_seconds: Option<f64>,
    cores: Option<f64>,
    memory_in_bytes: Option<Number>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct OldFile {
    name: String,
    path: Option<String>,
    size_in_bytes: Option<u64>,
    link: Link,
}

#[derive(Clone, Copy, Deserialize, PartialEq)]
#[serde(rename_all = "lowercase")]
enum Link {
    Input,
    Output,
}

/// Reads a graph; not yet validated.
pub(super) fn read(
    text: &str,
    options: &ReadOptions,
    assumptions: &mut Vec<String>,
) -> Result<TaskGraph, Found> {
    let instance: Instance = serde_json::from_str(text).map_err(|error| json_error(&error))?;
    let version = instance.schema_version.as_str();
    let mut assembly = Assembly::new(&instance.name, options);
    let missing = |key: &str| {
        let expected = format!("key `{key}` as schema version {version} has it");
        (Place::JsonPath("workflow".to_owned()), ReadProblem::Expected { expected, found: "none".to_owned() })
    };
    let cores = match version {
        "1.4" => {
            let tasks = instance.workflow.tasks.as_deref().ok_or_else(|| missing("tasks"))?;
            assemble_old(tasks, &mut assembly)?
        }
        "1.5" | "1.6" => {
            let specification =
                instance.workflow.specification.as_ref().ok_or_else(|| missing("specification"))?;
            let executed = instance.workflow.execution.as_ref().map_or(&[][..], |execution| &execution.tasks);
            assemble(specification, executed, &mut assembly)?
        }
        other => {
            let what = format!("schema version {other} of WfFormat");
            let hint = "this reader knows 1.4, 1.5 and 1.6; WfCommons has a tool that migrates older files";
            return Err((
                Place::JsonPath("schemaVersion".to_owned()),
                ReadProblem::Unsupported { what, hint },
            ));
        }
    };
    assumptions.push(
        "runtimes were measured on the machines of that run; they were taken as work on a device of speed 1"
            .to_owned(),
    );
    if cores > 0 {
        assumptions
            .push(format!("{cores} tasks ran on more than one core; their runtimes were taken as they are"));
    }
    assembly.finish(assumptions)
}

fn runtime_ns(seconds: f64, place: impl Fn() -> Place) -> Result<u64, Found> {
    let out_of_range = || ReadProblem::OutOfRange { value: seconds.to_string(), unit: "s" };
    nanoseconds(seconds).ok_or_else(|| (place(), out_of_range()))
}

/// The schema has it as any number; a part of a byte takes a whole one.
fn memory_bytes(said: Option<&Number>, place: impl Fn() -> Place) -> Result<Option<u64>, Found> {
    let Some(said) = said else { return Ok(None) };
    let rounded = || said.as_f64().map(f64::ceil).filter(|bytes| (0.0..u64::MAX as f64).contains(bytes));
    let out_of_range = || ReadProblem::OutOfRange { value: said.to_string(), unit: "bytes" };
    let bytes = said.as_u64().or_else(|| rounded().map(|bytes| bytes as u64));
    bytes.map(Some).ok_or_else(|| (place(), out_of_range()))
}

/// Puts a 1.5 instance together; returns how many tasks ran on several cores.
fn assemble(
    specification: &Specification,
    executed: &[ExecutedTask],
    assembly: &mut Assembly<'_>,
) -> Result<usize, Found> {
    let runs = super::index_names("executed task", executed.iter().map(|task| task.id.as_str()), |index| {
        Place::JsonPath(format!("workflow.execution.tasks[{index}].id"))
    })?;
    let mut cores = 0;
    let mut used = 0;
    for (index, task) in specification.tasks.iter().enumerate() {
        let run = runs.get(task.id.as_str()).map(|&run| (run, &executed[run]));
        used += usize::from(run.is_some());
        let duration_ns = run
            .and_then(|(run, executed)| Some((run, executed.runtime_in_seconds?)))
            .map(|(run, seconds)| {
                runtime_ns(seconds, || {
                    Place::JsonPath(format!("workflow.execution.tasks[{run}].runtimeInSeconds"))
                })
            })
            .transpose()?;
        cores += usize::from(run.is_some_and(|(_, run)| run.core_count.is_some_and(|count| count > 1.0)));
        let memory_bytes = memory_bytes(run.and_then(|(_, run)| run.memory_in_bytes.as_ref()), || {
            let run = run.map_or(0, |(run, _)| run);
            Place::JsonPath(format!("workflow.execution.tasks[{run}].memoryInBytes"))
        })?;
        let place = || Place::JsonPath(format!("workflow.specification.tasks[{index}].id"));
        assembly.add_task(&task.id, &task.name, duration_ns, memory_bytes, place)?;
    }
    if used < executed.len() {
        for (index, run) in executed.iter().enumerate() {
            assembly.task(&run.id, || Place::JsonPath(format!("workflow.execution.tasks[{index}].id")))?;
        }
    }
    super::index_names("file", specification.files.iter().map(|file| file.id.as_str()), |index| {
        Place::JsonPath(format!("workflow.specification.files[{index}].id"))
    })?;
    for (index, file) in specification.files.iter().enumerate() {
        let place = || Place::JsonPath(format!("workflow.specification.files[{index}]"));
        assembly.item(&file.id, file.size_in_bytes, place)?;
    }
    for (index, task) in specification.tasks.iter().enumerate() {
        // Made only when there is something to say: there are millions of places.
        let place = |list: &'static str, position: usize| {
            move || Place::JsonPath(format!("workflow.specification.tasks[{index}].{list}[{position}]"))
        };
        for (position, parent) in task.parents.iter().enumerate() {
            let before = assembly.task(parent, place("parents", position))?;
            assembly.link(before, index);
        }
        for (position, child) in task.children.iter().enumerate() {
            let follower = assembly.task(child, place("children", position))?;
            assembly.link(index, follower);
        }
        for (position, file) in task.input_files.iter().enumerate() {
            let item = assembly.item(file, None, place("inputFiles", position))?;
            assembly.reads(index, item, place("inputFiles", position))?;
        }
        for (position, file) in task.output_files.iter().enumerate() {
            let item = assembly.item(file, None, place("outputFiles", position))?;
            assembly.makes(index, item, place("outputFiles", position))?;
        }
    }
    Ok(cores)
}

/// Puts a 1.4 instance together; returns how many tasks ran on several cores.
fn assemble_old(tasks: &[OldTask], assembly: &mut Assembly<'_>) -> Result<usize, Found> {
    let mut cores = 0;
    // References are names in the schema, ids in some files; where both exist the first of the file counts.
    let mut references = std::collections::HashMap::new();
    for (index, task) in tasks.iter().enumerate() {
        let name = match &task.id {
            Some(id) if !task.name.contains(id.as_str()) => format!("{}_{id}", task.name),
            Some(_) | None => task.name.clone(),
        };
        let duration_ns = task
            .runtime_in_seconds
            .map(|seconds| {
                runtime_ns(seconds, || Place::JsonPath(format!("workflow.tasks[{index}].runtimeInSeconds")))
            })
            .transpose()?;
        cores += usize::from(task.cores.is_some_and(|count| count > 1.0));
        let kind = task.category.as_ref().unwrap_or(&task.name);
        let memory_bytes = memory_bytes(task.memory_in_bytes.as_ref(), || {
            Place::JsonPath(format!("workflow.tasks[{index}].memoryInBytes"))
        })?;
        assembly.add_task(&name, kind, duration_ns, memory_bytes, || {
            Place::JsonPath(format!("workflow.tasks[{index}].name"))
        })?;
        for reference in [Some(&task.name), task.id.as_ref(), Some(&name)].into_iter().flatten() {
            references.entry(reference.clone()).or_insert(index);
        }
    }
    for (index, task) in tasks.iter().enumerate() {
        let find = |list: &str, position: usize, name: &String| {
            let place = Place::JsonPath(format!("workflow.tasks[{index}].{list}[{position}]"));
            let unknown = || (place, ReadProblem::Unknown { what: "task", name: name.clone() });
            references.get(name).copied().ok_or_else(unknown)
        };
        for (position, parent) in task.parents.iter().enumerate() {
            assembly.link(find("parents", position, parent)?, index);
        }
        for (position, child) in task.children.iter().enumerate() {
            assembly.link(index, find("children", position, child)?);
        }
        for (position, file) in task.files.iter().enumerate() {
            let place = || Place::JsonPath(format!("workflow.tasks[{index}].files[{position}]"));
            let name = format!("{}{}", file.path.as_deref().unwrap_or(""), file.name);
            let item = assembly.item(&name, file.size_in_bytes, place)?;
            match file.link {
                Link::Input => assembly.reads(index, item, place)?,
                Link::Output => assembly.makes(index, item, place)?,
            }
        }
    }
    Ok(cores)
}

/// Whether the schema accepts an identifier.
fn is_identifier(name: &str) -> bool {
    name.chars().all(|letter| letter.is_ascii_alphanumeric() || "_.#:/-".contains(letter))
}

/// Writes a graph as version 1.5.
pub(super) fn write(graph: &TaskGraph) -> Result<WrittenGraph, WriteError> {
    let refused =
        |what: String, hint| WriteError::NotExpressible { format: GraphFormat::WfCommons, what, hint };
    if graph.tasks.is_empty() {
        return Err(refused("there is no task".to_owned(), "write it in the project's own format"));
    }
    let names = graph.tasks.iter().map(|task| &task.name).chain(graph.items.iter().map(|item| &item.name));
    if let Some(name) = names.into_iter().find(|name| !is_identifier(name)) {
        let hint = "identifiers there are of letters, digits and `_.#:/-`; rename it";
        return Err(refused(format!("something is called `{name}`"), hint));
    }
    let mut additions = vec![
        "the format asks for the makespan and the date of a run: the sum of the runtimes and 1970 were written"
            .to_owned(),
    ];
    if graph.name.is_empty() {
        additions.push("the format asks for a name: `unnamed` was written".to_owned());
    }
    let (predecessors, successors) = (graph.predecessors(), graph.successors());
    let task_names = |tasks: &[usize]| list(tasks.iter().map(|&task| graph.tasks[task].name.as_str()));
    let item_names = |items: &[usize]| list(items.iter().map(|&item| graph.items[item].name.as_str()));
    let (mut specified, mut executed, mut total_ns) = (Vec::new(), Vec::new(), 0_u64);
    for (index, task) in graph.tasks.iter().enumerate() {
        let TaskCost::Work(work_ns) = task.cost else {
            let what = format!("task `{}` has durations for each device", task.name);
            return Err(refused(what, "write it in the project's own format"));
        };
        total_ns = total_ns.saturating_add(work_ns);
        specified.push(format!(
            "        {{\"name\": {}, \"id\": {}, \"parents\": {}, \"children\": {}, \"inputFiles\": {}, \"outputFiles\": {}}}",
            quoted(&task.kind),
            quoted(&task.name),
            task_names(&predecessors[index]),
            task_names(&successors[index]),
            item_names(&task.inputs),
            item_names(&task.outputs),
        ));
        let mut run = format!(
            "        {{\"id\": {}, \"runtimeInSeconds\": {}",
            quoted(&task.name),
            decimal_seconds(work_ns)
        );
        if task.memory_bytes > 0 {
            // Writing to a string does not fail.
            let _ = write!(run, ", \"memoryInBytes\": {}", task.memory_bytes);
        }
        executed.push(run + "}");
    }
    let files: Vec<String> = (graph.items.iter())
        .map(|item| {
            format!("        {{\"id\": {}, \"sizeInBytes\": {}}}", quoted(&item.name), item.size_bytes)
        })
        .collect();
    let files = if files.is_empty() { "[]".to_owned() } else { format!("[\n{}\n      ]", files.join(",\n")) };
    let text = format!(
        "{{\n  \"name\": {},\n  \"schemaVersion\": \"1.5\",\n  \"workflow\": {{\n    \"specification\": {{\n      \"tasks\": [\n{}\n      ],\n      \"files\": {files}\n    }},\n    \"execution\": {{\n      \"makespanInSeconds\": {},\n      \"executedAt\": \"1970-01-01T00:00:00Z\",\n      \"tasks\": [\n{}\n      ]\n    }}\n  }}\n}}\n",
        quoted(if graph.name.is_empty() { "unnamed" } else { &graph.name }),
        specified.join(",\n"),
        decimal_seconds(total_ns),
        executed.join(",\n"),
    );
    Ok(WrittenGraph { text, losses: Vec::new(), additions })
}
