//! `isochrone sim convert`: a graph in another format.

use std::fmt::Write as _;
use std::path::Path;

use anyhow::{Context, bail};
use isochrone_sim::sources;
use isochrone_workload::data_files::write_atomically;
use isochrone_workload::task_graph::{GraphFormat, ReadOptions, TaskGraph, format_graph};
use serde::Serialize;

use super::arguments::SimConvertArguments;
use super::{hinted, read_options};
use crate::output;

/// What was written.
#[derive(Debug, Serialize)]
struct Conversion<'a> {
    graph: &'a str,
    output: String,
    format: &'static str,
    tasks: usize,
    items: usize,
    edges: usize,
    /// What was taken because the input does not say it.
    assumptions: &'a [String],
    /// What of the graph the format cannot say.
    losses: &'a [String],
    /// What the format asks for and the graph does not say.
    additions: &'a [String],
}

/// Reads the graph, and writes it unless something would get lost that may not.
pub fn convert(arguments: &SimConvertArguments) -> anyhow::Result<()> {
    let to = target(arguments)?;
    let options = ReadOptions {
        format: arguments.from.as_deref().map(format_of).transpose()?,
        edge_bytes_unsaid: arguments.edge_bytes_unsaid,
        ..read_options(arguments.duration_unsaid, arguments.bytes_unsaid)
    };
    let source = sources::graph(&arguments.graph, Path::new(""), &options).map_err(hinted)?;
    let written = format_graph(&source.graph, to)?;
    if !written.losses.is_empty() && !arguments.lossy {
        bail!(
            "the format {} cannot say all of this graph; --lossy writes it all the same. Lost would be:{}",
            to.name(),
            listed(&written.losses)
        );
    }
    write_atomically(&arguments.output, written.text.as_bytes())
        .with_context(|| format!("cannot write {}", arguments.output.display()))?;
    let conversion = Conversion {
        graph: &arguments.graph,
        output: arguments.output.display().to_string(),
        format: to.name(),
        tasks: source.graph.tasks.len(),
        items: source.graph.items.len(),
        edges: edges(&source.graph),
        assumptions: &source.assumptions,
        losses: &written.losses,
        additions: &written.additions,
    };
    if arguments.json {
        return output::json(&conversion);
    }
    output::print(&told(&conversion));
    Ok(())
}

/// The format to write: as stated, else by the ending of the name.
fn target(arguments: &SimConvertArguments) -> anyhow::Result<GraphFormat> {
    match &arguments.to {
        Some(name) => format_of(name),
        None => GraphFormat::from_path(&arguments.output).with_context(|| {
            format!(
                "no format is known by the ending of {}; say it: --to {}",
                arguments.output.display(),
                names()
            )
        }),
    }
}

fn format_of(name: &str) -> anyhow::Result<GraphFormat> {
    GraphFormat::from_name(name).with_context(|| format!("`{name}` is no format; there are {}", names()))
}

fn names() -> String {
    GraphFormat::ALL.map(GraphFormat::name).join(", ")
}

fn edges(graph: &TaskGraph) -> usize {
    let predecessors = graph.predecessors();
    (0..graph.tasks.len()).map(|task| predecessors[task].len()).sum()
}

fn listed(sentences: &[String]) -> String {
    sentences.iter().fold(String::new(), |text, sentence| text + "\n  " + sentence)
}

fn told(conversion: &Conversion<'_>) -> String {
    let mut text = format!(
        "{}: {}, {} tasks, {} items, {} edges\n",
        conversion.output, conversion.format, conversion.tasks, conversion.items, conversion.edges
    );
    let lists =
        [("assumed", conversion.assumptions), ("lost", conversion.losses), ("added", conversion.additions)];
    for (what, sentences) in lists {
        for sentence in sentences {
            // Writing to a string does not fail.
            let _ = writeln!(text, "{what}: {sentence}");
        }
    }
    text
}
