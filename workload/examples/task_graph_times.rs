//! How long it takes to generate, check, write and read a task graph in each format.
//!
//! `cargo run --release -p isochrone-workload --example task_graph_times [SPEC]`; without a spec, layered random tasks,
//! 100,000 of them.

#![expect(clippy::disallowed_methods, reason = "a benchmark reads the clock: that is what it is for")]

use std::path::Path;
use std::time::Instant;

use isochrone_workload::task_graph::formats::{GraphFormat, ReadOptions, format_graph, parse_graph};
use isochrone_workload::task_graph::{GeneratorSpec, generate};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let spec = std::env::args().nth(1).unwrap_or_else(|| "layered(tasks=100000)".to_owned());
    let spec: GeneratorSpec = spec.parse()?;
    let start = Instant::now();
    let graph = generate(&spec)?;
    println!("{spec}: {} tasks, {} items", graph.tasks.len(), graph.items.len());
    println!("generate {:8.1} ms", milliseconds(start));
    let start = Instant::now();
    graph.validate()?;
    println!("validate {:8.1} ms", milliseconds(start));
    let start = Instant::now();
    let edges = graph.successors().edge_count();
    println!("successors {:6.1} ms, {edges} edges", milliseconds(start));
    for format in GraphFormat::ALL {
        let start = Instant::now();
        let written = match format_graph(&graph, format) {
            Ok(written) => written,
            Err(error) => {
                println!("{:20} not written: {error}", format.name());
                continue;
            }
        };
        let write_ms = milliseconds(start);
        let start = Instant::now();
        let options = ReadOptions { format: Some(format), ..ReadOptions::default() };
        let read = parse_graph(Path::new("graph"), &written.text, &options)?;
        println!(
            "{:20} write {write_ms:7.1} ms, {:6.1} MB, read {:7.1} ms, {} tasks",
            format.name(),
            written.text.len() as f64 / 1e6,
            milliseconds(start),
            read.graph.tasks.len()
        );
    }
    Ok(())
}

fn milliseconds(start: Instant) -> f64 {
    start.elapsed().as_secs_f64() * 1e3
}
