use super::*;

#[test]
fn items_are_nodes_or_stand_at_edges() {
    let read = read_sample("diamond.dot");
    check_diamond(&read.graph, true);
    assert!(read.assumptions.is_empty());
    assert_eq!(read.graph.items[2].name, "left_1->join_1");
}

#[test]
fn it_reads_back_what_it_writes() {
    let mut graph = read_sample("diamond.dot").graph;
    check_round_trip(&graph, "diamond.dot", GraphFormat::Dot);
    assert!(losses(&graph, GraphFormat::Dot).is_empty());
    graph.tasks[0].name = "the \"first\"\nnode: {é}".to_owned();
    graph.tasks[1].name = "node".to_owned();
    check_round_trip(&graph, "diamond.gv", GraphFormat::Dot);
    check_round_trip(&read_sample("peft-2014.json").graph, "peft.dot", GraphFormat::Dot);
    check_round_trip(&TaskGraph::default(), "empty.dot", GraphFormat::Dot);
}

#[test]
fn a_graph_it_cannot_say_is_refused() {
    let refused = |change: &dyn Fn(&mut TaskGraph)| {
        let mut graph = read_sample("peft-2014.json").graph;
        change(&mut graph);
        format_graph(&graph, GraphFormat::Dot).unwrap_err().to_string()
    };
    let hint = "; rename it, or write the graph in the project's own format";
    let cases = [
        (refused(&|g| g.items[0].name = "T1".to_owned()), "a task and an item are both called `T1`"),
        (refused(&|g| g.device_columns[0] = "a,b".to_owned()), "a device column is called `a,b`"),
        (refused(&|g| g.tasks[0].kind = "a\\b".to_owned()), "something is called `a\\b`, with a backslash"),
    ];
    for (found, expected) in cases {
        assert_eq!(found, format!("the format dot cannot say that {expected}{hint}"));
    }
}

#[test]
fn defaults_hold_for_what_comes_after_them() {
    let text = "strict DIGRAPH { a [work_ns=1 kind=k]; node [work_ns=5, kind=d] b edge [size_bytes=3] a->b->c; \
                b->a2 [size_bytes=4][color=red] }";
    let graph = read_text("x.dot", text).unwrap().graph;
    let costs: Vec<(&str, u64)> =
        graph.tasks.iter().map(|task| (task.name.as_str(), task.cost.mean_ns())).collect();
    assert_eq!(costs, [("a", 1), ("b", 5), ("c", 5), ("a2", 5)]);
    let sizes: Vec<(&str, u64)> =
        graph.items.iter().map(|item| (item.name.as_str(), item.size_bytes)).collect();
    assert_eq!(sizes, [("a->b", 3), ("b->c", 3), ("b->a2", 4)]);
}

#[test]
fn options_say_what_the_file_does_not() {
    let text = "digraph g { a -> b }";
    assert_eq!(
        refusal("x.dot", text),
        "x.dot:1:13: the duration of task `a` (attribute `work_ns`) is not said in the file; add it, or say what to take instead"
    );
    let read = read_with("x.dot", text, |options| options.duration_unsaid_ns = Some(4));
    assert_eq!((read.graph.tasks[1].after.as_slice(), read.graph.items.len()), (&[0][..], 0));
    let read = read_with("x.dot", text, |options| {
        options.duration_unsaid_ns = Some(4);
        options.edge_bytes_unsaid = Some(6);
    });
    assert_eq!(read.graph.items[0].size_bytes, 6);
    let expected = [
        "the durations of 2 tasks are not said; 4 ns were taken for each",
        "the kinds of 2 tasks are not said; the name was taken for each",
        "the sizes of 1 edges are not said; an item of 6 bytes was taken for each",
    ];
    assert_eq!(read.assumptions, expected);
}

#[test]
fn what_is_wrong_is_named_with_its_place() {
    let cases = [
        ("graph g {}", "x.dot:1:1: a graph without directions (`graph`) is not supported; write `digraph`"),
        (
            "digraph g {\n a -- b }",
            "x.dot:2:4: an edge without direction (`--`) is not supported; write `->`",
        ),
        (
            "digraph g { subgraph c { a } }",
            "x.dot:1:13: a subgraph is not supported; put its statements in its place",
        ),
        (
            "digraph g { a -> { b } }",
            "x.dot:1:18: a subgraph is not supported; write an edge for each of its nodes",
        ),
        (
            "digraph g { a:n -> b }",
            "x.dot:1:14: a port (`:`) is not supported; put names with colons in quotes",
        ),
        (
            "digraph g { a [label=<b>] }",
            "x.dot:1:22: an HTML text (`<...>`) is not supported; write it in quotes",
        ),
        ("digraph g { a [work_ns] }", "x.dot:1:23: expected `=`, found `]`"),
        (
            "digraph g { a [work_ns=-1] }",
            "x.dot:1:24: expected a whole number from 0 for `work_ns`, found `-1`",
        ),
        (
            "digraph g { a [work_ns=1, durations_ns=1] }",
            "x.dot:1:40: expected one of work_ns and durations_ns, found both",
        ),
        (
            "digraph g { a [durations_ns=\"1,b\"] }",
            "x.dot:1:29: expected whole numbers with commas for `durations_ns`, found `1,b`",
        ),
        (
            "digraph g { a [work_ns=1, size_bytes=1] }",
            "x.dot:1:24: node `a` is an item (`size_bytes`) in one place and a task in another",
        ),
        (
            "digraph g { a [size_bytes=1] b [size_bytes=1] a -> b }",
            "x.dot:1:52: an edge from item `a` to item `b` is not supported; a task goes between them",
        ),
        (
            "digraph g { a [size_bytes=1] b [work_ns=1] a -> b [size_bytes=1] }",
            "x.dot:1:49: a size on an edge to or from an item is not supported; the item has the size",
        ),
    ];
    for (text, expected) in cases {
        assert_eq!(refusal("x.dot", text), expected, "{text}");
    }
}

#[test]
fn what_does_not_hold_together_is_named() {
    let cases = [
        (
            "digraph g { node [work_ns=1] a -> b -> c -> a }",
            "x.dot: tasks wait for each other in a circle: `a` -> `b` -> `c` -> `a`",
        ),
        (
            "digraph g { node [work_ns=1] a -> b a -> b }",
            "x.dot: task `b` has task `a` twice among its after",
        ),
        (
            "digraph g { device_columns=\"P, Q\" a [durations_ns=1] }",
            "x.dot: task `a` has 1 durations, but there are 2 device columns",
        ),
        (
            "digraph g { a [work_ns=1]",
            "x.dot:1:26: expected a node, an edge or `}`, found the end of the file",
        ),
        ("digraph g { \"a", "x.dot:1:13: expected `\"` at the end of the text, found the end of the file"),
        (
            "digraph g { /* a",
            "x.dot:1:13: expected `*/` at the end of the comment, found the end of the file",
        ),
        (
            "digraph g { } digraph h { }",
            "x.dot:1:15: expected the end of the file: one graph is in it, found `digraph`",
        ),
        ("digraph g { a = ; }", "x.dot:1:17: expected a value, found `;`"),
        ("digraph g { ? }", "x.dot:1:13: expected a name, a text in quotes or a sign, found `?`"),
        ("digraph g { node }", "x.dot:1:18: expected `[` after `node`, `edge` or `graph`, found `}`"),
    ];
    for (text, expected) in cases {
        assert_eq!(refusal("x.dot", text), expected, "{text}");
    }
}
