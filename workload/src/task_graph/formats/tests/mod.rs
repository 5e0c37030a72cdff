mod dax;
mod dot;
mod native;
mod schema;
mod stg;
mod wfcommons;

use std::path::PathBuf;

use super::*;
use crate::task_graph::TaskCost;
use crate::task_graph::generate::{GENERATORS, generate};

/// A file of `workload/samples`.
fn sample(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("samples").join(name)
}

fn read_text(name: &str, text: &str) -> Result<ReadGraph, ReadError> {
    parse_graph(Path::new(name), text, &ReadOptions::default())
}

fn refusal(name: &str, text: &str) -> String {
    match read_text(name, text) {
        Ok(read) => panic!("accepted: {read:?}"),
        Err(error) => error.to_string(),
    }
}

#[test]
fn unknown_and_missing_files_are_named() {
    assert!(refusal("x.txt", "hello").starts_with("x.txt: no format is known by this name and content; say"));
    let message = read_graph(Path::new("/nowhere/x.json"), &ReadOptions::default()).unwrap_err().to_string();
    assert!(message.starts_with("/nowhere/x.json: cannot read `/nowhere/x.json`: "), "{message}");
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.json");
    std::fs::write(&path, b"\xff").unwrap();
    let message = read_graph(&path, &ReadOptions::default()).unwrap_err().to_string();
    assert!(message.ends_with("x.json: the text of the file is not UTF-8; save it as UTF-8"), "{message}");
    let options = ReadOptions { file_bytes_max: 0, ..ReadOptions::default() };
    let message = read_graph(&path, &options).unwrap_err().to_string();
    assert!(message.ends_with("is larger than the limit of 0 bytes"), "{message}");
}

fn read_with(name: &str, text: &str, change: impl Fn(&mut ReadOptions)) -> ReadGraph {
    let mut options = ReadOptions::default();
    change(&mut options);
    parse_graph(Path::new(name), text, &options).unwrap()
}

fn sample_text(name: &str) -> String {
    std::fs::read_to_string(sample(name)).unwrap()
}

fn read_sample(name: &str) -> ReadGraph {
    read_graph(&sample(name), &ReadOptions::default()).unwrap()
}

/// The message about a sample in which `from` was changed to `to`.
fn refusal_of_changed(name: &str, from: &str, to: &str) -> String {
    let text = sample_text(name);
    assert!(text.contains(from), "{name} has no {from}");
    refusal(name, &text.replacen(from, to, 1))
}

fn losses(graph: &TaskGraph, format: GraphFormat) -> Vec<String> {
    format_graph(graph, format).unwrap().losses
}

/// The diamond that most samples hold: split makes halves.dat for left and right, whose outputs join reads; join
/// comes after split without data.
fn check_diamond(graph: &TaskGraph, has_memory: bool) {
    let tasks: Vec<(&str, &str, &TaskCost, u64)> = (graph.tasks.iter())
        .map(|task| (task.name.as_str(), task.kind.as_str(), &task.cost, task.memory_bytes))
        .collect();
    let memory_bytes = if has_memory { 8_000_000 } else { 0 };
    let expected = [
        ("split_1", "split", &TaskCost::Work(250_000_000), 0),
        ("left_1", "work", &TaskCost::Work(2_000_000_000), memory_bytes),
        ("right_1", "work", &TaskCost::Work(3_500_000_000), memory_bytes),
        ("join_1", "join", &TaskCost::Work(1_000_000_000), 0),
    ];
    assert_eq!(tasks, expected);
    assert_eq!(graph.name, "diamond");
    let mut sizes: Vec<(u64, Option<usize>)> =
        graph.items.iter().map(|item| (item.size_bytes, item.producer)).collect();
    sizes.sort_unstable();
    let expected = [(1_000_000, Some(1)), (1_500_000, Some(2)), (4_000_000, None), (4_000_000, Some(0))];
    assert_eq!(sizes, expected);
    assert_eq!(graph.predecessors().iter().collect::<Vec<_>>(), [&[][..], &[0], &[0], &[0, 1, 2]]);
    assert_eq!(graph.tasks[3].after, [0]);
    assert_eq!(graph.tasks[..3].iter().map(|task| task.after.len()).sum::<usize>(), 0);
}

/// Writing and reading back gives the same graph.
fn check_round_trip(graph: &TaskGraph, name: &str, format: GraphFormat) {
    let written = format_graph(graph, format).unwrap();
    let read = read_text(name, &written.text).unwrap();
    assert_eq!(read.format, format);
    assert_eq!(&read.graph, graph, "{}", written.text);
    assert_eq!(format_graph(&read.graph, format).unwrap().text, written.text);
}

#[test]
fn formats_have_names() {
    for format in GraphFormat::ALL {
        assert_eq!(GraphFormat::from_name(format.name()), Some(format));
    }
    assert_eq!(GraphFormat::from_name("x"), None);
}

/// Every generated graph survives the formats that can say it whole, and keeps its shape, work and bytes in the others.
#[test]
fn generated_graphs_go_through_every_format() {
    for info in GENERATORS {
        let graph = generate(&info.name.parse().unwrap()).unwrap();
        check_round_trip(&graph, "x.json", GraphFormat::Native);
        check_round_trip(&graph, "x.dot", GraphFormat::Dot);
        check_round_trip(&graph, "x.wfcommons.json", GraphFormat::WfCommons);
        for (name, format) in [("x.dax", GraphFormat::Dax), ("x.stg", GraphFormat::Stg)] {
            let text = format_graph(&graph, format).unwrap().text;
            let read = read_text(name, &text).unwrap().graph;
            assert_eq!(read.predecessors(), graph.predecessors(), "{name} of {}", info.name);
            assert_eq!(read.total_work_ns(), graph.total_work_ns(), "{name} of {}", info.name);
            assert_eq!(read.communication(), graph.communication(), "{name} of {}", info.name);
        }
    }
}
