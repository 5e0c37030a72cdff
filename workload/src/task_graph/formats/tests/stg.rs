use super::*;

fn work(graph: &TaskGraph) -> Vec<u64> {
    graph.tasks.iter().map(|task| task.cost.mean_ns()).collect()
}

#[test]
fn without_costs_predecessors_are_order() {
    let read = read_sample("six.stg");
    assert_eq!(read.graph.name, "six");
    assert_eq!(work(&read.graph), [0, 20, 5, 7, 12, 0].map(|units| units * 1_000_000));
    assert!(read.graph.items.is_empty());
    let predecessors: [&[usize]; 6] = [&[], &[0], &[0], &[1, 2], &[2], &[3, 4]];
    assert_eq!(read.graph.predecessors().iter().collect::<Vec<_>>(), predecessors);
    let expected = [
        "the unit of time is not said; 1000000 ns were taken by default",
        "no data are said; predecessors were taken as order without data",
        "kinds are not said; each task was taken to be of a kind of its own",
        "the memory of tasks is not said; 0 bytes were taken",
    ];
    assert_eq!(read.assumptions, expected);
}

#[test]
fn options_say_what_the_set_does_not() {
    let read = read_with("six.stg", &sample_text("six.stg"), |options| {
        options.stg_time_unit_ns = Some(3);
        options.edge_bytes_unsaid = Some(100);
    });
    assert_eq!(work(&read.graph), [0, 60, 15, 21, 36, 0]);
    assert_eq!(read.graph.items.len(), 5, "one for each task with successors");
    let consumers = read.graph.consumers();
    assert_eq!(consumers.iter().collect::<Vec<_>>(), [&[1, 2][..], &[3], &[3, 4], &[5], &[5]]);
    assert_eq!(read.assumptions[0], "the unit of time is not said; 3 ns were taken by the option");
    assert_eq!(
        read.assumptions[1],
        "no data are said; each task with successors was taken to make 100 bytes that all of them read"
    );
}

#[test]
fn with_costs_data_goes_along() {
    let read = read_sample("six-costs.stg");
    let graph = &read.graph;
    let items: Vec<(&str, u64)> =
        graph.items.iter().map(|item| (item.name.as_str(), item.size_bytes / 1_000_000)).collect();
    assert_eq!(items, [("T1-T3", 9), ("T2-T3", 4), ("T2-T4", 4)]);
    assert_eq!((graph.tasks[1].after.as_slice(), graph.tasks[3].after.len()), (&[0][..], 0));
    assert_eq!(
        read.assumptions[1],
        "the unit of communication is not said; 1000000 bytes were taken by default"
    );
    let same =
        "4\n0 0 0\n1 20 1 0 0\n2 5 1 0 0\n3 7 2 1 9 2 4\n4 12 1 2 4\n5 0 2 3 0 4 0 # pairs on the line\n";
    assert_eq!(&read_text("six-costs.stg", same).unwrap().graph, graph);
}

#[test]
fn it_reads_back_what_it_writes() {
    for name in ["six.stg", "six-costs.stg"] {
        let mut graph = read_sample(name).graph;
        assert_eq!(losses(&graph, GraphFormat::Stg), ["the name of the graph"]);
        check_round_trip(&graph, name, GraphFormat::Stg);
        graph.name.clear();
        assert!(losses(&graph, GraphFormat::Stg).is_empty());
    }
    let diamond = read_sample("diamond.dot").graph;
    let expected = [
        "the name of the graph",
        "the names of tasks",
        "the kinds of tasks",
        "the memory of tasks",
        "the inputs of the graph",
        "that tasks read the same item: each has one of its own",
    ];
    assert_eq!(losses(&diamond, GraphFormat::Stg), expected);
    let written = format_graph(&diamond, GraphFormat::Stg).unwrap().text;
    let read = read_text("diamond.stg", &written).unwrap();
    assert_eq!(read.graph.predecessors(), diamond.predecessors());
    assert_eq!(work(&read.graph), work(&diamond));
    assert_eq!(read.graph.communication().1, diamond.communication().1);
    let durations = read_sample("peft-2014.json").graph;
    assert!(format_graph(&durations, GraphFormat::Stg).is_err());
}

#[test]
fn what_is_wrong_is_named_with_its_place() {
    let plain = |from, to| refusal_of_changed("six.stg", from, to);
    let costs = |from, to| refusal_of_changed("six-costs.stg", from, to);
    let cases = [
        (refusal("x.stg", "# nothing\n"), "x.stg: expected the number of tasks, found an empty file"),
        (
            refusal("x.stg", "2 3\n"),
            "x.stg:1:1: expected the number of tasks alone on the first line, found 2 numbers",
        ),
        (
            refusal("x.stg", "1\n0 5\n"),
            "x.stg:2:1: expected a task: number, time, number of predecessors, found fewer numbers",
        ),
        (plain("         20", "       20.5"), "six.stg:3:19: expected a whole number from 0, found `20.5`"),
        (
            plain("          4\n", "          9\n"),
            "six.stg:1:11: expected 9 tasks as the first line says, or two more for the dummy tasks, found 6",
        ),
        (
            plain("          3          7", "          4          7"),
            "six.stg:5:11: expected task number 3, found 4",
        ),
        (plain("1          2\n", "1          8\n"), "six.stg:5:55: there is no task `8`"),
        (
            plain("1          2\n", "1\n"),
            "six.stg:5:44: expected 2 predecessors, alone or each with a cost, found 1 numbers",
        ),
        (
            plain("          0\n          2", "          3\n          2"),
            "six.stg: tasks wait for each other in a circle: `T1` -> `T3` -> `T1`",
        ),
        (plain("1          2\n", "1          1\n"), "six.stg: task `T3` has task `T1` twice among its after"),
        (
            costs("1          9", "1"),
            "six-costs.stg:8:22: expected a predecessor of task 3 and its communication cost, found 1 numbers",
        ),
        (costs("1          9", "7          9"), "six-costs.stg:8:22: there is no task `7`"),
        (
            costs("1          9", "1 18446744073709551615"),
            "six-costs.stg:8:24: 18446744073709551615 units of communication does not fit: times and sizes are whole numbers of nanoseconds and bytes below 2^64",
        ),
        (
            refusal("x.stg", "3\n0 1 0\n1 1 1 0\n2 1 1 1 5\n"),
            "x.stg:3:7: expected a communication cost, as other tasks have them, found predecessors alone",
        ),
        (
            refusal("x.stg", "1\n0 1 0\n# isochrone units: time_unit_ms=1\n"),
            "x.stg:3:19: expected time_unit_ns=N and data_unit_bytes=N, found `time_unit_ms=1`",
        ),
    ];
    let (found, expected): (Vec<String>, Vec<&str>) = cases.into_iter().unzip();
    assert_eq!(found, expected);
}
