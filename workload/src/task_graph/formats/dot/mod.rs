//! Graphviz DOT with attributes that say costs; reads and writes.
//!
//! The subset: one `digraph` (`strict` or not), statements for nodes and edges (chains `a -> b -> c` too), attribute
//! lists, defaults (`node [...]`, `edge [...]`, `graph [...]`), `key = value`, comments, names bare or in quotes.
//! Refused: `graph`, `--`, subgraphs, ports, HTML texts. Attributes that are not listed here are for drawing and are
//! not read.
//!
//! | Of | Attribute | Meaning |
//! |---|---|---|
//! | graph | `device_columns` | names of the devices that `durations_ns` has columns for, with commas |
//! | node | `work_ns` | a task: nanoseconds on a device of speed 1 |
//! | node | `durations_ns` | a task: nanoseconds, one for each device column, with commas |
//! | node | `kind` | the kind of a task; its name when left out, which is listed as an assumption |
//! | node | `memory_bytes` | the memory of a task; 0 when left out |
//! | node | `size_bytes` | no task but an item: edges to it and from it say who makes and who reads it |
//! | edge | `size_bytes` | between tasks: an item of its own, `from->to`, goes along; left out: order without data |

mod tokens;

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write as _;

use self::tokens::{Token, TokenKind, Tokens};
use super::{Found, Place, ReadOptions, ReadProblem, UnsaidOption, WriteError, WrittenGraph};
use crate::task_graph::{DataItem, GraphTask, TaskCost, TaskGraph};

/// Attributes and where each value stands.
type Attributes = BTreeMap<String, (String, Place)>;

/// A node as the file has it.
struct DotNode {
    name: String,
    place: Place,
    attributes: Attributes,
}

/// An edge as the file has it.
struct DotEdge {
    from: usize,
    to: usize,
    place: Place,
    attributes: Attributes,
}

/// The statements of a file, without meaning.
#[derive(Default)]
struct Statements {
    name: String,
    graph: Attributes,
    node_defaults: Attributes,
    edge_defaults: Attributes,
    nodes: Vec<DotNode>,
    by_name: HashMap<String, usize>,
    edges: Vec<DotEdge>,
}

struct Parser<'a> {
    tokens: Tokens<'a>,
    next: Token,
}

impl<'a> Parser<'a> {
    fn new(text: &'a str) -> Result<Self, Found> {
        let mut tokens = Tokens::new(text);
        let next = tokens.next()?;
        Ok(Parser { tokens, next })
    }

    fn take(&mut self) -> Result<Token, Found> {
        let next = self.tokens.next()?;
        Ok(std::mem::replace(&mut self.next, next))
    }

    fn take_sign(&mut self, sign: char) -> Result<(), Found> {
        if !self.next.is_sign(sign) {
            return Err(self.unexpected(&format!("`{sign}`")));
        }
        self.take().map(drop)
    }

    fn take_word(&mut self, expected: &str) -> Result<(String, Place), Found> {
        let place = self.next.place();
        match self.next.kind.clone() {
            TokenKind::Word(word, _) => {
                self.take()?;
                Ok((word, place))
            }
            TokenKind::Sign(_) | TokenKind::Arrow | TokenKind::End => Err(self.unexpected(expected)),
        }
    }

    fn unexpected(&self, expected: &str) -> Found {
        let (expected, found) = (expected.to_owned(), self.next.shown());
        (self.next.place(), ReadProblem::Expected { expected, found })
    }

    fn unsupported(&self, what: &str, hint: &'static str) -> Found {
        (self.next.place(), ReadProblem::Unsupported { what: what.to_owned(), hint })
    }

    fn file(mut self) -> Result<Statements, Found> {
        let mut statements = Statements::default();
        if self.next.is_keyword("strict") {
            self.take()?;
        }
        if self.next.is_keyword("graph") {
            return Err(self.unsupported("a graph without directions (`graph`)", "write `digraph`"));
        }
        if !self.next.is_keyword("digraph") {
            return Err(self.unexpected("`digraph`"));
        }
        self.take()?;
        if !self.next.is_sign('{') {
            statements.name = self.take_word("a name or `{`")?.0;
        }
        self.take_sign('{')?;
        while !self.next.is_sign('}') {
            self.statement(&mut statements)?;
        }
        self.take()?;
        if self.next.kind != TokenKind::End {
            return Err(self.unexpected("the end of the file: one graph is in it"));
        }
        Ok(statements)
    }

    fn statement(&mut self, statements: &mut Statements) -> Result<(), Found> {
        if self.next.is_sign(';') {
            return self.take().map(drop);
        }
        if self.next.is_keyword("subgraph") || self.next.is_sign('{') {
            return Err(self.unsupported("a subgraph", "put its statements in its place"));
        }
        for keyword in ["node", "edge", "graph"] {
            if self.next.is_keyword(keyword) {
                self.take()?;
                if !self.next.is_sign('[') {
                    return Err(self.unexpected("`[` after `node`, `edge` or `graph`"));
                }
                let defaults = match keyword {
                    "node" => &mut statements.node_defaults,
                    "edge" => &mut statements.edge_defaults,
                    _ => &mut statements.graph,
                };
                return self.attributes(defaults);
            }
        }
        let (name, place) = self.take_word("a node, an edge or `}`")?;
        if self.next.is_sign('=') {
            self.take()?;
            let value = self.take_word("a value")?;
            statements.graph.insert(name, value);
            return Ok(());
        }
        self.refuse_port()?;
        let mut chain = vec![(statements.node(name, place.clone()), place)];
        while self.next.kind == TokenKind::Arrow {
            self.take()?;
            if self.next.is_keyword("subgraph") || self.next.is_sign('{') {
                return Err(self.unsupported("a subgraph", "write an edge for each of its nodes"));
            }
            let (name, place) = self.take_word("a node")?;
            self.refuse_port()?;
            chain.push((statements.node(name, place.clone()), place));
        }
        if let [(node, _)] = chain[..] {
            return self.attributes(&mut statements.nodes[node].attributes);
        }
        let mut attributes = statements.edge_defaults.clone();
        self.attributes(&mut attributes)?;
        for pair in chain.windows(2) {
            let (from, to, place) = (pair[0].0, pair[1].0, pair[1].1.clone());
            statements.edges.push(DotEdge { from, to, place, attributes: attributes.clone() });
        }
        Ok(())
    }

    fn refuse_port(&self) -> Result<(), Found> {
        if self.next.is_sign(':') {
            return Err(self.unsupported("a port (`:`)", "put names with colons in quotes"));
        }
        Ok(())
    }

    /// Any number of lists in brackets.
    fn attributes(&mut self, attributes: &mut Attributes) -> Result<(), Found> {
        while self.next.is_sign('[') {
            self.take()?;
            while !self.next.is_sign(']') {
                let (key, _) = self.take_word("an attribute or `]`")?;
                self.take_sign('=')?;
                let value = self.take_word("a value")?;
                attributes.insert(key, value);
                if self.next.is_sign(',') || self.next.is_sign(';') {
                    self.take()?;
                }
            }
            self.take()?;
        }
        Ok(())
    }
}

impl Statements {
    /// The node of that name, made with the defaults so far when it is new.
    fn node(&mut self, name: String, place: Place) -> usize {
        let next = self.nodes.len();
        let node = *self.by_name.entry(name.clone()).or_insert(next);
        if node == next {
            self.nodes.push(DotNode { name, place, attributes: self.node_defaults.clone() });
        }
        node
    }
}

/// A whole number in an attribute.
fn number(attributes: &Attributes, key: &str) -> Result<Option<u64>, Found> {
    let Some((value, place)) = attributes.get(key) else { return Ok(None) };
    let expected = || format!("a whole number from 0 for `{key}`");
    let problem = || ReadProblem::Expected { expected: expected(), found: format!("`{value}`") };
    value.trim().parse().map(Some).map_err(|_| (place.clone(), problem()))
}

/// What a node is in the graph.
#[derive(Clone, Copy)]
enum Meaning {
    Task(usize),
    Item(usize),
}

/// Reads a graph; not yet validated.
pub(super) fn read(
    text: &str,
    options: &ReadOptions,
    assumptions: &mut Vec<String>,
) -> Result<TaskGraph, Found> {
    let statements = Parser::new(text)?.file()?;
    let mut graph = TaskGraph { name: statements.name.clone(), ..TaskGraph::default() };
    if let Some((columns, _)) = statements.graph.get("device_columns") {
        graph.device_columns = columns.split(',').map(|column| column.trim().to_owned()).collect();
    }
    let mut unsaid = Unsaid::default();
    let mut meanings = Vec::with_capacity(statements.nodes.len());
    for node in &statements.nodes {
        meanings.push(match number(&node.attributes, "size_bytes")? {
            Some(size_bytes) => {
                refuse_costs(node)?;
                graph.items.push(DataItem { name: node.name.clone(), size_bytes, producer: None });
                Meaning::Item(graph.items.len() - 1)
            }
            None => {
                graph.tasks.push(task(node, options, &mut unsaid)?);
                Meaning::Task(graph.tasks.len() - 1)
            }
        });
    }
    for edge in &statements.edges {
        connect(&mut graph, edge, &meanings, options, &mut unsaid)?;
    }
    if let (1.., Some(taken_ns)) = (unsaid.costs, options.duration_unsaid_ns) {
        assumptions.push(format!(
            "the durations of {} tasks are not said; {taken_ns} ns were taken for each",
            unsaid.costs
        ));
    }
    if unsaid.kinds > 0 {
        let kinds = unsaid.kinds;
        assumptions.push(format!("the kinds of {kinds} tasks are not said; the name was taken for each"));
    }
    if let (1.., Some(taken_bytes)) = (unsaid.sizes, options.edge_bytes_unsaid) {
        let sizes = unsaid.sizes;
        assumptions.push(format!(
            "the sizes of {sizes} edges are not said; an item of {taken_bytes} bytes was taken for each"
        ));
    }
    Ok(graph)
}

/// How often a file left something out.
#[derive(Default)]
struct Unsaid {
    costs: usize,
    kinds: usize,
    sizes: usize,
}

fn refuse_costs(node: &DotNode) -> Result<(), Found> {
    match ["work_ns", "durations_ns"].iter().find_map(|key| node.attributes.get(*key)) {
        None => Ok(()),
        Some((_, place)) => {
            let (what, name) = ("node", node.name.clone());
            let (first, second) = ("an item (`size_bytes`)".to_owned(), "a task".to_owned());
            Err((place.clone(), ReadProblem::Contradiction { what, name, first, second }))
        }
    }
}

fn task(node: &DotNode, options: &ReadOptions, unsaid: &mut Unsaid) -> Result<GraphTask, Found> {
    let durations = node.attributes.get("durations_ns");
    let cost = match (number(&node.attributes, "work_ns")?, durations) {
        (Some(_), Some((_, place))) => {
            let expected = "one of work_ns and durations_ns".to_owned();
            return Err((place.clone(), ReadProblem::Expected { expected, found: "both".to_owned() }));
        }
        (Some(work_ns), None) => TaskCost::Work(work_ns),
        (None, Some((text, place))) => {
            let parsed: Result<Vec<u64>, _> = text.split(',').map(|word| word.trim().parse()).collect();
            TaskCost::PerDevice(parsed.map_err(|_| {
                let expected = "whole numbers with commas for `durations_ns`".to_owned();
                (place.clone(), ReadProblem::Expected { expected, found: format!("`{text}`") })
            })?)
        }
        (None, None) => {
            let of = format!("task `{}` (attribute `work_ns`)", node.name);
            let problem = ReadProblem::Unsaid { what: "the duration", of, option: UnsaidOption::DurationNs };
            unsaid.costs += 1;
            TaskCost::Work(options.duration_unsaid_ns.ok_or_else(|| (node.place.clone(), problem))?)
        }
    };
    let kind = node.attributes.get("kind").map(|(kind, _)| kind.clone());
    unsaid.kinds += usize::from(kind.is_none());
    Ok(GraphTask {
        name: node.name.clone(),
        kind: kind.unwrap_or_else(|| node.name.clone()),
        cost,
        memory_bytes: number(&node.attributes, "memory_bytes")?.unwrap_or(0),
        inputs: Vec::new(),
        outputs: Vec::new(),
        after: Vec::new(),
    })
}

fn connect(
    graph: &mut TaskGraph,
    edge: &DotEdge,
    meanings: &[Meaning],
    options: &ReadOptions,
    unsaid: &mut Unsaid,
) -> Result<(), Found> {
    let size_bytes = number(&edge.attributes, "size_bytes")?;
    let is_between_tasks =
        matches!((meanings[edge.from], meanings[edge.to]), (Meaning::Task(_), Meaning::Task(_)));
    if let (Some(_), false) = (size_bytes, is_between_tasks) {
        let what = "a size on an edge to or from an item".to_owned();
        return Err((edge.place.clone(), ReadProblem::Unsupported { what, hint: "the item has the size" }));
    }
    match (meanings[edge.from], meanings[edge.to]) {
        (Meaning::Task(from), Meaning::Task(to)) => {
            unsaid.sizes += usize::from(size_bytes.is_none());
            match size_bytes.or(options.edge_bytes_unsaid) {
                Some(size_bytes) => {
                    let item = graph.items.len();
                    let name = format!("{}->{}", graph.tasks[from].name, graph.tasks[to].name);
                    graph.items.push(DataItem { name, size_bytes, producer: Some(from) });
                    graph.tasks[from].outputs.push(item);
                    graph.tasks[to].inputs.push(item);
                }
                None => graph.tasks[to].after.push(from),
            }
        }
        (Meaning::Task(from), Meaning::Item(item)) => {
            // Where two tasks make an item, validation names both.
            graph.items[item].producer = Some(from);
            graph.tasks[from].outputs.push(item);
        }
        (Meaning::Item(item), Meaning::Task(to)) => graph.tasks[to].inputs.push(item),
        (Meaning::Item(first), Meaning::Item(second)) => {
            let (first, second) = (&graph.items[first].name, &graph.items[second].name);
            let what = format!("an edge from item `{first}` to item `{second}`");
            return Err((
                edge.place.clone(),
                ReadProblem::Unsupported { what, hint: "a task goes between them" },
            ));
        }
    }
    Ok(())
}

/// Writes a graph; every item is a node.
pub(super) fn write(graph: &TaskGraph) -> Result<WrittenGraph, WriteError> {
    refuse_unsayable(graph)?;
    // Writing to a string does not fail.
    let mut text = format!("digraph {} {{\n", quoted(&graph.name));
    if !graph.device_columns.is_empty() {
        let _ = writeln!(text, "  device_columns = {};", quoted(&graph.device_columns.join(",")));
    }
    for task in &graph.tasks {
        let _ = write!(text, "  {} [kind={}, ", quoted(&task.name), quoted(&task.kind));
        let _ = match &task.cost {
            TaskCost::Work(work_ns) => write!(text, "work_ns={work_ns}"),
            TaskCost::PerDevice(durations_ns) => {
                let durations: Vec<String> = durations_ns.iter().map(u64::to_string).collect();
                write!(text, "durations_ns=\"{}\"", durations.join(","))
            }
        };
        if task.memory_bytes > 0 {
            let _ = write!(text, ", memory_bytes={}", task.memory_bytes);
        }
        text.push_str("];\n");
    }
    for item in &graph.items {
        let (name, size_bytes) = (quoted(&item.name), item.size_bytes);
        let _ = writeln!(text, "  {name} [shape=box, size_bytes={size_bytes}];");
    }
    for task in &graph.tasks {
        let name = quoted(&task.name);
        for &item in &task.inputs {
            let _ = writeln!(text, "  {} -> {name};", quoted(&graph.items[item].name));
        }
        for &item in &task.outputs {
            let _ = writeln!(text, "  {name} -> {};", quoted(&graph.items[item].name));
        }
        for &before in &task.after {
            let _ = writeln!(text, "  {} -> {name};", quoted(&graph.tasks[before].name));
        }
    }
    text.push_str("}\n");
    Ok(WrittenGraph { text, losses: Vec::new(), additions: Vec::new() })
}

fn refuse_unsayable(graph: &TaskGraph) -> Result<(), WriteError> {
    let refused =
        |what, hint| Err(WriteError::NotExpressible { format: super::GraphFormat::Dot, what, hint });
    let hint = "rename it, or write the graph in the project's own format";
    let task_names: std::collections::HashSet<&str> =
        graph.tasks.iter().map(|task| task.name.as_str()).collect();
    if let Some(item) = graph.items.iter().find(|item| task_names.contains(item.name.as_str())) {
        return refused(format!("a task and an item are both called `{}`", item.name), hint);
    }
    let has_comma = |column: &&String| column.contains(',') || column.trim() != column.as_str();
    if let Some(column) = graph.device_columns.iter().find(has_comma) {
        return refused(format!("a device column is called `{column}`"), hint);
    }
    let names = graph.tasks.iter().flat_map(|task| [&task.name, &task.kind]);
    let mut names = names.chain(graph.items.iter().map(|item| &item.name)).chain(&graph.device_columns);
    if let Some(name) = names.find(|name| name.contains('\\')) {
        return refused(format!("something is called `{name}`, with a backslash"), hint);
    }
    Ok(())
}

fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('"', "\\\""))
}
