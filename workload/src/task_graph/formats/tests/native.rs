use super::*;

const SMALL: &str = r#"{
  "format": "isochrone-task-graph",
  "version": 1,
  "name": "small \"one\"",
  "tasks": [
    {"name": "a", "kind": "load", "work_ns": 10, "memory_bytes": 64, "inputs": ["raw"], "outputs": ["x"]},
    {"name": "b", "kind": "use", "work_ns": 18446744073709551615, "inputs": ["raw", "x"]},
    {"name": "c", "kind": "use", "work_ns": 0, "after": ["a", "b"]}
  ],
  "items": [
    {"name": "raw", "size_bytes": 7},
    {"name": "x", "size_bytes": 0}
  ]
}
"#;

#[test]
fn it_reads_back_what_it_writes() {
    let read = read_text("small.json", SMALL).unwrap();
    assert_eq!((read.format, read.assumptions.len()), (GraphFormat::Native, 0));
    let graph = read.graph;
    assert_eq!(graph.name, "small \"one\"");
    assert_eq!(graph.tasks[1].cost, TaskCost::Work(u64::MAX));
    assert_eq!(
        (graph.tasks[1].inputs.as_slice(), graph.tasks[2].after.as_slice()),
        (&[0, 1][..], &[0, 1][..])
    );
    assert_eq!((graph.items[0].producer, graph.items[1].producer), (None, Some(0)));
    assert_eq!(format_graph(&graph, GraphFormat::Native).unwrap().text, SMALL);

    let empty = TaskGraph::default();
    let text = format_graph(&empty, GraphFormat::Native).unwrap().text;
    assert_eq!(read_text("empty.json", &text).unwrap().graph, empty);
}

#[test]
fn files_are_written_whole() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("made/graph.json");
    let graph = read_text("small.json", SMALL).unwrap().graph;
    assert!(write_graph(&path, &graph, GraphFormat::Native).unwrap().is_empty());
    assert_eq!(read_graph(&path, &ReadOptions::default()).unwrap().graph, graph);
    let mut broken = graph;
    broken.tasks[0].name.clear();
    let error = write_graph(&path, &broken, GraphFormat::Native).unwrap_err();
    let cause = std::error::Error::source(&error).unwrap().to_string();
    assert_eq!(
        (error.to_string().as_str(), cause.as_str()),
        ("the graph is not valid", "task 0 has an empty name; give it one")
    );
}

/// Mean costs and sizes of the published figures, so that a slip of the keyboard is seen.
#[test]
fn the_published_examples_are_those_of_the_papers() {
    let examples: [(&str, u64, u64, usize); 2] =
        [("topcuoglu-2002.json", 127 + 130 + 143, 241, 15), ("peft-2014.json", 209 + 205 + 267, 284, 15)];
    for (name, total_ms, data_units, edges) in examples {
        let graph = read_graph(&sample(name), &ReadOptions::default()).unwrap().graph;
        assert_eq!(graph.device_columns, ["P1", "P2", "P3"]);
        let columns: u64 = (graph.tasks.iter())
            .map(|task| match &task.cost {
                TaskCost::PerDevice(durations_ns) => durations_ns.iter().sum::<u64>(),
                TaskCost::Work(_) => panic!("{name} has durations"),
            })
            .sum();
        assert_eq!((graph.tasks.len(), graph.communication().0 as usize), (10, edges), "{name}");
        assert_eq!(columns / 1_000_000, total_ms, "{name}");
        assert_eq!(graph.total_bytes() / 1_000_000, u128::from(data_units), "{name}");
    }
}

#[test]
fn what_is_wrong_is_named_with_its_place() {
    let changed = |from: &str, to: &str| {
        assert!(SMALL.contains(from), "{from}");
        refusal("small.json", &SMALL.replacen(from, to, 1))
    };
    let cases = [
        (
            changed("\"version\": 1", "\"version\": 2"),
            "small.json: version: version 2 of isochrone-task-graph is not supported; this reader knows version 1",
        ),
        (
            changed("\"work_ns\": 10, ", ""),
            "small.json: tasks[0]: expected one of work_ns and durations_ns, found neither",
        ),
        (
            changed("\"work_ns\": 10, ", "\"work_ns\": 10, \"durations_ns\": [1], "),
            "small.json: tasks[0]: expected one of work_ns and durations_ns, found both",
        ),
        (
            changed("\"work_ns\": 10, ", "\"work_ns\": -10, "),
            "small.json:6:48: invalid value: integer `-10`, expected u64",
        ),
        (changed("\"raw\", \"x\"", "\"raw\", \"y\""), "small.json: tasks[1].inputs[1]: there is no item `y`"),
        (changed("\"a\", \"b\"", "\"a\", \"d\""), "small.json: tasks[2].after[1]: there is no task `d`"),
        (changed("\"name\": \"b\"", "\"name\": \"a\""), "small.json: tasks[1].name: task `a` is there twice"),
        (
            changed("\"name\": \"x\", \"size", "\"name\": \"raw\", \"size"),
            "small.json: items[1].name: item `raw` is there twice",
        ),
        (
            changed("\"a\", \"b\"", "\"a\", \"c\""),
            "small.json: tasks wait for each other in a circle: `c` -> `c`",
        ),
        (
            changed("\"inputs\": [\"raw\", \"x\"]", "\"outputs\": [\"x\"]"),
            "small.json: item `x` is made by two tasks, `a` and `b`; an item is made once",
        ),
        (
            changed("\"kind\": \"load\", ", "\"kind\": \"load\", \"speed\": 1, "),
            "small.json:6:41: unknown field `speed`, expected one of `name`, `kind`, `work_ns`, `durations_ns`, `memory_bytes`, `inputs`, `outputs`, `after`, `extra`",
        ),
        (changed("\"size_bytes\": 7}", "}"), "small.json:11:21: trailing comma"),
        (changed("  ]\n}", "  ]\n"), "small.json:15:0: EOF while parsing an object"),
        (changed(", \"size_bytes\": 7}", "}"), "small.json:11:19: missing field `size_bytes`"),
    ];
    let (found, expected): (Vec<String>, Vec<&str>) = cases.into_iter().unzip();
    assert_eq!(found, expected);
}

#[test]
fn extra_may_hold_anything() {
    let text = SMALL
        .replacen("\"version\": 1,", "\"version\": 1, \"extra\": {\"a\": [1, null]},", 1)
        .replacen("\"size_bytes\": 7", "\"size_bytes\": 7, \"extra\": \"b\"", 1)
        .replacen("\"work_ns\": 0", "\"work_ns\": 0, \"extra\": 1", 1);
    assert_eq!(read_text("x.json", &text).unwrap(), read_text("small.json", SMALL).unwrap());
}
