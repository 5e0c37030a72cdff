use super::*;

/// A graph of tasks `0`, `1`, ... with work of 1,000 ns; each edge carries an item of 500 bytes of its own.
fn graph(count: usize, edges: &[(usize, usize)]) -> TaskGraph {
    let task = |index: usize| GraphTask {
        name: index.to_string(),
        kind: "k".to_owned(),
        cost: TaskCost::Work(1000),
        memory_bytes: 0,
        inputs: Vec::new(),
        outputs: Vec::new(),
        after: Vec::new(),
    };
    let mut graph = TaskGraph { tasks: (0..count).map(task).collect(), ..TaskGraph::default() };
    for &(from, to) in edges {
        let item = graph.items.len();
        let twin = if graph.tasks[from].outputs.iter().any(|i| graph.tasks[to].inputs.contains(i)) {
            "'"
        } else {
            ""
        };
        let name = format!("{from}-{to}{twin}");
        graph.items.push(DataItem { name, size_bytes: 500, producer: Some(from) });
        graph.tasks[from].outputs.push(item);
        graph.tasks[to].inputs.push(item);
    }
    graph
}

fn message(graph: &TaskGraph) -> String {
    graph.validate().unwrap_err().to_string()
}

#[test]
fn structure_is_read_from_items_and_after() {
    let mut graph = graph(4, &[(0, 1), (0, 2), (0, 2), (2, 3)]);
    graph.tasks[3].after.push(1);
    graph.validate().unwrap();
    let predecessors = graph.predecessors();
    assert_eq!(predecessors.iter().collect::<Vec<_>>(), [&[][..], &[0], &[0], &[1, 2]]);
    let successors = graph.successors();
    assert_eq!(successors.iter().collect::<Vec<_>>(), [&[1, 2][..], &[3], &[3], &[]]);
    assert_eq!((successors.len(), successors.edge_count()), (4, 4));
    assert_eq!(graph.consumers().iter().collect::<Vec<_>>(), [[1], [2], [2], [3]]);
    assert_eq!(graph.topological_order().unwrap(), [0, 1, 2, 3]);
}

#[test]
fn the_order_of_the_file_decides_ties() {
    let graph = graph(5, &[(4, 0), (4, 3)]);
    assert_eq!(graph.topological_order().unwrap(), [1, 2, 4, 0, 3]);
}

#[test]
fn an_empty_graph_is_valid() {
    let graph = TaskGraph::default();
    graph.validate().unwrap();
    assert!(graph.successors().is_empty() && Adjacency::default().is_empty());
    assert_eq!((graph.total_work_ns(), graph.total_bytes(), graph.ccr(1)), (0, 0, None));
}

#[test]
fn what_is_wrong_is_named() {
    let valid = graph(3, &[(0, 1), (1, 2)]);
    valid.validate().unwrap();
    let broken = |change: &dyn Fn(&mut TaskGraph)| {
        let mut graph = valid.clone();
        change(&mut graph);
        message(&graph)
    };
    let cases = [
        (broken(&|g| g.tasks[1].name = "0".to_owned()), "there are two tasks named `0`; names are unique"),
        (
            broken(&|g| g.items[1].name = "0-1".to_owned()),
            "there are two items named `0-1`; names are unique",
        ),
        (broken(&|g| g.tasks[2].name.clear()), "task 2 has an empty name; give it one"),
        (broken(&|g| g.tasks[2].kind.clear()), "task 2 has an empty kind; give it one"),
        (
            broken(&|g| g.tasks[2].inputs.push(7)),
            "task `2` has item 7 among its inputs, but there are only 2",
        ),
        (broken(&|g| g.tasks[2].after.push(3)), "task `2` has task 3 among its after, but there are only 3"),
        (broken(&|g| g.tasks[2].inputs.push(1)), "task `2` has item `1-2` twice among its inputs"),
        (
            broken(&|g| g.tasks[2].outputs.push(0)),
            "item `0-1` is made by two tasks, `0` and `2`; an item is made once",
        ),
        (
            broken(&|g| g.items[0].producer = Some(2)),
            "item `0-1` is made by two tasks, `2` and `0`; an item is made once",
        ),
        (
            broken(&|g| g.items[0].producer = Some(9)),
            "item `0-1` is made by task 9, but there are only 3 tasks",
        ),
        (
            broken(&|g| g.items[0].producer = None),
            "item `0-1` and its task `0` do not agree: the task has it among its outputs, the item has no producer",
        ),
        (
            broken(&|g| g.tasks[0].outputs.clear()),
            "item `0-1` and its task `0` do not agree: the item has that producer, the task does not have it among its outputs",
        ),
        (
            broken(&|g| g.tasks[0].cost = TaskCost::PerDevice(vec![1])),
            "task `0` has 1 durations, but there are 0 device columns",
        ),
        (
            broken(&|g| g.device_columns = vec!["P".to_owned()]),
            "task `0` has abstract work although the graph has device columns; costs are all of one kind",
        ),
        (
            broken(&|g| g.tasks[0].after.push(2)),
            "tasks wait for each other in a circle: `0` -> `1` -> `2` -> `0`",
        ),
        (broken(&|g| g.tasks[2].after.push(2)), "tasks wait for each other in a circle: `2` -> `2`"),
    ];
    for (found, expected) in cases {
        assert_eq!(found, expected);
    }
}

#[test]
fn a_long_cycle_is_cut_short() {
    let edges: Vec<(usize, usize)> = (0..30).map(|index| (index, (index + 1) % 30)).collect();
    let text = message(&graph(31, &edges));
    assert!(text.starts_with("tasks wait for each other in a circle: `0` -> `1` ->"), "{text}");
    assert!(text.ends_with("`19` -> (10 more) -> `0`"), "{text}");
}

#[test]
fn totals_and_the_ratio() {
    let mut graph = graph(4, &[(0, 1), (0, 2), (1, 3), (2, 3), (2, 3)]);
    graph.items.push(DataItem { name: "in".to_owned(), size_bytes: 10_000, producer: None });
    graph.tasks[0].inputs.push(5);
    graph.validate().unwrap();
    assert_eq!(graph.total_work_ns(), 4000);
    assert_eq!(graph.total_bytes(), 12_500);
    // Two items between the same tasks are one communication of 1,000 bytes; the input does not count.
    assert_eq!(graph.communication(), (4, 2500));
    let ratio = graph.ccr(1_000_000_000).unwrap();
    assert!((ratio - 0.625).abs() < 1e-12, "{ratio}");
    let reached = graph.scale_ccr(2.0, 1_000_000_000).unwrap();
    assert!((reached - 2.0).abs() < 1e-12, "{reached}");
    assert_eq!(graph.items[0].size_bytes, 1600);
    assert_eq!(graph.items[5].size_bytes, 32_000);
    assert_eq!(graph.scale_ccr(0.0, 1).unwrap(), 0.0);
    assert_eq!(graph.scale_ccr(1.0, 1), Err(ScaleError::NoData));
    assert_eq!(graph.scale_ccr(1.0, 0), Err(ScaleError::Bandwidth));
    assert_eq!(graph.scale_ccr(-1.0, 1), Err(ScaleError::Target { target: -1.0 }));
    assert_eq!(TaskGraph::default().scale_ccr(1.0, 1), Err(ScaleError::NoWork));
}

#[test]
fn sizes_beyond_64_bits_are_refused() {
    let mut graph = graph(2, &[(0, 1)]);
    let before = graph.clone();
    assert!(matches!(graph.scale_ccr(1e30, 1_000_000_000), Err(ScaleError::TooLarge { .. })));
    assert_eq!(graph, before);
}

#[test]
fn a_mean_is_rounded_down() {
    assert_eq!(TaskCost::PerDevice(vec![14, 16, 9]).mean_ns(), 13);
    assert_eq!(TaskCost::PerDevice(vec![u64::MAX; 3]).mean_ns(), u64::MAX);
    assert_eq!(TaskCost::PerDevice(Vec::new()).mean_ns(), 0);
}

#[test]
fn a_million_tasks_in_a_chain_are_no_trouble() {
    let edges: Vec<(usize, usize)> = (1..1_000_000).map(|index| (index - 1, index)).collect();
    let graph = graph(1_000_000, &edges);
    graph.validate().unwrap();
    assert_eq!(graph.successors().edge_count(), 999_999);
}
