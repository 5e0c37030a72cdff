//! The Standard Task Graph Set of Kasahara Laboratory (<https://www.kasahara.cs.waseda.ac.jp/schedule/>): reads and
//! writes graphs with and without communication costs.
//!
//! The first line is the number of tasks, with or without the two dummy tasks that start and end every graph of the
//! set. Then there is a line for each task: its number, its processing time, how many predecessors it has, and
//! their numbers. With communication costs, a line `predecessor cost` for each of them follows instead, or the pairs
//! stand on the line of the task. Lines that start with `#`, and what follows a `#`, are information.
//!
//! Task `5` is called `T5` here. Times and costs are in units that the set does not say: [`ReadOptions`] does, or a
//! line of information that this writer adds: `# isochrone units: time_unit_ns=1 data_unit_bytes=1`. A cost above 0
//! becomes an item of its own; predecessors without one become order without data.

use std::fmt::Write as _;

use super::{Found, GraphFormat, Place, ReadOptions, ReadProblem, WriteError, WrittenGraph};
use crate::task_graph::{DataItem, GraphTask, TaskCost, TaskGraph};

/// What the line with the units starts with.
const UNITS: &str = "# isochrone units:";
/// One unit of time when nothing says otherwise, in nanoseconds.
const TIME_UNIT_NS: u64 = 1_000_000;
/// One unit of communication when nothing says otherwise, in bytes: at 1 GB/s it takes one unit of time.
const DATA_UNIT_BYTES: u64 = 1_000_000;

/// A line of numbers, with its number counted from 1.
struct Row<'a> {
    line: usize,
    text: &'a str,
    numbers: Vec<u64>,
}

impl Row<'_> {
    /// The place of a number of the row, counted from 0; past the end, the end of the line.
    fn place(&self, position: usize) -> Place {
        let mut offset = 0;
        for _ in 0..position {
            offset += self.text[offset..].len() - self.text[offset..].trim_start().len();
            offset += self.text[offset..].find(char::is_whitespace).unwrap_or(self.text.len() - offset);
        }
        offset += self.text[offset..].len() - self.text[offset..].trim_start().len();
        Place::Line { line: self.line, column: offset + 1 }
    }

    fn expected(&self, position: usize, expected: &str, found: &dyn std::fmt::Display) -> Found {
        let (expected, found) = (expected.to_owned(), found.to_string());
        (self.place(position), ReadProblem::Expected { expected, found })
    }
}

/// A predecessor of a task as the file has it, and where.
struct Edge<'a> {
    from: u64,
    to: usize,
    cost: Option<u64>,
    row: &'a Row<'a>,
    position: usize,
}

/// Reads a graph; not yet validated.
pub(super) fn read(
    name: &str,
    text: &str,
    options: &ReadOptions,
    assumptions: &mut Vec<String>,
) -> Result<TaskGraph, Found> {
    let (time_unit_ns, data_unit_bytes) = units(text, options)?;
    let rows = rows(text)?;
    let mut rows = rows.iter();
    let empty = || {
        let expected = "the number of tasks".to_owned();
        (Place::WholeFile, ReadProblem::Expected { expected, found: "an empty file".to_owned() })
    };
    let head = rows.next().ok_or_else(empty)?;
    let [said] = head.numbers[..] else {
        let found = format!("{} numbers", head.numbers.len());
        return Err(head.expected(0, "the number of tasks alone on the first line", &found));
    };
    let mut graph = TaskGraph { name: name.to_owned(), ..TaskGraph::default() };
    let mut edges = Vec::new();
    while let Some(row) = rows.next() {
        let work_ns = read_task(graph.tasks.len(), row, &mut rows, time_unit_ns, &mut edges)?;
        graph.tasks.push(task(graph.tasks.len(), work_ns));
    }
    let found = graph.tasks.len() as u64;
    if found != said && Some(found) != said.checked_add(2) {
        let expected = format!("{said} tasks as the first line says, or two more for the dummy tasks");
        return Err(head.expected(0, &expected, &found));
    }
    let has_costs = edges.iter().any(|edge| edge.cost.is_some());
    if let Some(edge) = edges.iter().find(|edge| has_costs && edge.cost.is_none()) {
        let expected = "a communication cost, as other tasks have them";
        return Err(edge.row.expected(edge.position, expected, &"predecessors alone"));
    }
    for edge in &edges {
        connect(&mut graph, edge, data_unit_bytes, options)?;
    }
    assume(text, options, has_costs, assumptions);
    Ok(graph)
}

/// Reads the row of a task, and the rows of its predecessors where they follow; returns its work in nanoseconds.
fn read_task<'a>(
    index: usize,
    row: &'a Row<'a>,
    rows: &mut std::slice::Iter<'a, Row<'a>>,
    time_unit_ns: u64,
    edges: &mut Vec<Edge<'a>>,
) -> Result<u64, Found> {
    let [id, time, count, rest @ ..] = row.numbers.as_slice() else {
        return Err(row.expected(0, "a task: number, time, number of predecessors", &"fewer numbers"));
    };
    if *id != index as u64 {
        return Err(row.expected(0, &format!("task number {index}"), id));
    }
    let out_of_range = || ReadProblem::OutOfRange { value: time.to_string(), unit: "units of time" };
    let work_ns = time.checked_mul(time_unit_ns).ok_or_else(|| (row.place(1), out_of_range()))?;
    let count = usize::try_from(*count).unwrap_or(usize::MAX);
    if rest.len() == count {
        edges.extend(rest.iter().enumerate().map(|(position, &from)| Edge {
            from,
            to: index,
            cost: None,
            row,
            position: 3 + position,
        }));
    } else if Some(rest.len()) == count.checked_mul(2) {
        edges.extend(rest.chunks_exact(2).enumerate().map(|(position, pair)| Edge {
            from: pair[0],
            to: index,
            cost: Some(pair[1]),
            row,
            position: 3 + 2 * position,
        }));
    } else if rest.is_empty() {
        for _ in 0..count {
            let next = rows.next().ok_or_else(|| row.expected(2, "that many predecessors", &"the end"))?;
            let [from, cost] = next.numbers[..] else {
                let expected = format!("a predecessor of task {index} and its communication cost");
                return Err(next.expected(0, &expected, &format!("{} numbers", next.numbers.len())));
            };
            edges.push(Edge { from, to: index, cost: Some(cost), row: next, position: 0 });
        }
    } else {
        let expected = format!("{count} predecessors, alone or each with a cost");
        return Err(row.expected(3, &expected, &format!("{} numbers", rest.len())));
    }
    Ok(work_ns)
}

fn connect(
    graph: &mut TaskGraph,
    edge: &Edge<'_>,
    data_unit_bytes: u64,
    options: &ReadOptions,
) -> Result<(), Found> {
    let to = edge.to;
    let unknown = || ReadProblem::Unknown { what: "task", name: edge.from.to_string() };
    let from = usize::try_from(edge.from)
        .ok()
        .filter(|&from| from < graph.tasks.len())
        .ok_or_else(|| (edge.row.place(edge.position), unknown()))?;
    match edge.cost {
        Some(0) => graph.tasks[to].after.push(from),
        Some(cost) => {
            let unit = "units of communication";
            let out_of_range = || ReadProblem::OutOfRange { value: cost.to_string(), unit };
            let size_bytes = cost
                .checked_mul(data_unit_bytes)
                .ok_or_else(|| (edge.row.place(edge.position + 1), out_of_range()))?;
            add_item(graph, from, format!("T{from}-T{to}"), size_bytes, to);
        }
        // Without costs the only output a task can have is the one made here.
        None => match (options.edge_bytes_unsaid, graph.tasks[from].outputs.first()) {
            (Some(_), Some(&item)) => graph.tasks[to].inputs.push(item),
            (Some(size_bytes), None) => add_item(graph, from, format!("T{from}"), size_bytes, to),
            (None, _) => graph.tasks[to].after.push(from),
        },
    }
    Ok(())
}

fn task(index: usize, work_ns: u64) -> GraphTask {
    GraphTask {
        name: format!("T{index}"),
        kind: format!("T{index}"),
        cost: TaskCost::Work(work_ns),
        memory_bytes: 0,
        inputs: Vec::new(),
        outputs: Vec::new(),
        after: Vec::new(),
    }
}

fn add_item(graph: &mut TaskGraph, from: usize, name: String, size_bytes: u64, to: usize) {
    let item = graph.items.len();
    graph.items.push(DataItem { name, size_bytes, producer: Some(from) });
    graph.tasks[from].outputs.push(item);
    graph.tasks[to].inputs.push(item);
}

fn rows(text: &str) -> Result<Vec<Row<'_>>, Found> {
    let mut rows = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let text = line.split('#').next().unwrap_or("");
        let mut row = Row { line: index + 1, text, numbers: Vec::new() };
        for (position, word) in text.split_whitespace().enumerate() {
            match word.parse() {
                Ok(number) => row.numbers.push(number),
                Err(_) => return Err(row.expected(position, "a whole number from 0", &format!("`{word}`"))),
            }
        }
        if !row.numbers.is_empty() {
            rows.push(row);
        }
    }
    Ok(rows)
}

/// The units of time in nanoseconds and of communication in bytes: by the options, else by the file, else the default.
fn units(text: &str, options: &ReadOptions) -> Result<(u64, u64), Found> {
    let (mut time_unit_ns, mut data_unit_bytes) = (TIME_UNIT_NS, DATA_UNIT_BYTES);
    if let Some((index, line)) = text.lines().enumerate().find(|(_, line)| line.starts_with(UNITS)) {
        for word in line[UNITS.len()..].split_whitespace() {
            let parsed =
                word.split_once('=').and_then(|(key, value)| Some((key, value.parse::<u64>().ok()?)));
            match parsed {
                Some(("time_unit_ns", value)) => time_unit_ns = value,
                Some(("data_unit_bytes", value)) => data_unit_bytes = value,
                Some(_) | None => {
                    let place = Place::Line { line: index + 1, column: UNITS.len() + 1 };
                    let expected = "time_unit_ns=N and data_unit_bytes=N".to_owned();
                    return Err((place, ReadProblem::Expected { expected, found: format!("`{word}`") }));
                }
            }
        }
    }
    Ok((
        options.stg_time_unit_ns.unwrap_or(time_unit_ns),
        options.stg_data_unit_bytes.unwrap_or(data_unit_bytes),
    ))
}

fn assume(text: &str, options: &ReadOptions, has_costs: bool, assumptions: &mut Vec<String>) {
    let says_units = text.lines().any(|line| line.starts_with(UNITS));
    let given = |unit: Option<u64>| if unit.is_some() { "by the option" } else { "by default" };
    if !says_units || options.stg_time_unit_ns.is_some() {
        let unit_ns = options.stg_time_unit_ns.unwrap_or(TIME_UNIT_NS);
        assumptions.push(format!(
            "the unit of time is not said; {unit_ns} ns were taken {}",
            given(options.stg_time_unit_ns)
        ));
    }
    if has_costs && (!says_units || options.stg_data_unit_bytes.is_some()) {
        let unit_bytes = options.stg_data_unit_bytes.unwrap_or(DATA_UNIT_BYTES);
        assumptions.push(format!(
            "the unit of communication is not said; {unit_bytes} bytes were taken {}",
            given(options.stg_data_unit_bytes)
        ));
    }
    if !has_costs {
        assumptions.push(match options.edge_bytes_unsaid {
            Some(size_bytes) => format!(
                "no data are said; each task with successors was taken to make {size_bytes} bytes that all of them read"
            ),
            None => "no data are said; predecessors were taken as order without data".to_owned(),
        });
    }
    assumptions.push("kinds are not said; each task was taken to be of a kind of its own".to_owned());
    assumptions.push("the memory of tasks is not said; 0 bytes were taken".to_owned());
}

/// Writes a graph in units of 1 ns and 1 byte, with communication costs where data goes between tasks.
pub(super) fn write(graph: &TaskGraph) -> Result<WrittenGraph, WriteError> {
    let has_costs = graph.communication().1 > 0;
    // Writing to a string does not fail.
    let mut text = format!("{}\n", graph.tasks.len());
    let mut costs: Vec<(usize, u64)> = Vec::new();
    for (index, task) in graph.tasks.iter().enumerate() {
        let refused = |what, hint| WriteError::NotExpressible { format: GraphFormat::Stg, what, hint };
        let TaskCost::Work(work_ns) = task.cost else {
            let what = format!("task `{}` has durations for each device", task.name);
            return Err(refused(what, "write it in the project's own format"));
        };
        costs.clear();
        costs.extend(task.after.iter().map(|&before| (before, 0)));
        for &item in &task.inputs {
            let item = &graph.items[item];
            costs.extend(item.producer.map(|producer| (producer, item.size_bytes)));
        }
        costs.sort_unstable();
        let mut merged: Vec<(usize, u64)> = Vec::with_capacity(costs.len());
        for &(before, size_bytes) in &costs {
            match merged.last_mut() {
                Some((last, sum_bytes)) if *last == before => {
                    *sum_bytes = sum_bytes.checked_add(size_bytes).ok_or_else(|| {
                        let what = format!("more than 2^64 bytes go to task `{}`", task.name);
                        refused(what, "make the items smaller")
                    })?;
                }
                _ => merged.push((before, size_bytes)),
            }
        }
        let _ = write!(text, "{index} {work_ns} {}", merged.len());
        for (before, size_bytes) in merged {
            let _ =
                if has_costs { write!(text, "\n  {before} {size_bytes}") } else { write!(text, " {before}") };
        }
        text.push('\n');
    }
    let _ = writeln!(text, "{UNITS} time_unit_ns=1 data_unit_bytes=1");
    Ok(WrittenGraph { text, losses: losses(graph), additions: Vec::new() })
}

fn losses(graph: &TaskGraph) -> Vec<String> {
    let mut losses = Vec::new();
    let consumers = graph.consumers();
    let mut lose = |is_lost: bool, what: &str| {
        if is_lost {
            losses.push(what.to_owned());
        }
    };
    lose(!graph.name.is_empty(), "the name of the graph");
    let named = |(index, task): (usize, &GraphTask)| task.name != format!("T{index}");
    lose(graph.tasks.iter().enumerate().any(named), "the names of tasks");
    lose(graph.tasks.iter().any(|task| task.kind != task.name), "the kinds of tasks");
    lose(graph.tasks.iter().any(|task| task.memory_bytes > 0), "the memory of tasks");
    lose(graph.items.iter().any(|item| item.producer.is_none()), "the inputs of the graph");
    lose(
        graph
            .items
            .iter()
            .zip(consumers.iter())
            .any(|(item, readers)| item.producer.is_some() && (readers.is_empty() || item.size_bytes == 0)),
        "items that nobody reads, and items of 0 bytes",
    );
    lose(
        consumers.iter().any(|readers| readers.len() > 1),
        "that tasks read the same item: each has one of its own",
    );
    losses
}
