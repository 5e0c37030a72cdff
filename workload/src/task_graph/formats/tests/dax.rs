use super::*;

#[test]
fn both_versions_hold_the_same_graph() {
    let (old, new) = (read_sample("diamond-2.1.dax"), read_sample("diamond-3.6.dax"));
    check_diamond(&old.graph, false);
    assert_eq!(old, new);
    let expected = [
        "runtimes were taken as work on a device of speed 1",
        "the memory of 4 tasks is not said; 0 bytes were taken",
    ];
    assert_eq!(old.assumptions, expected);
}

#[test]
fn it_reads_back_what_it_writes() {
    let mut graph = read_sample("diamond-2.1.dax").graph;
    check_round_trip(&graph, "diamond.dax", GraphFormat::Dax);
    assert!(losses(&graph, GraphFormat::Dax).is_empty());
    graph.name = "<\"&\n".to_owned();
    graph.tasks[0].kind = "a::'b'".to_owned();
    check_round_trip(&graph, "diamond.xml", GraphFormat::Dax);
    graph.tasks[0].memory_bytes = 1;
    graph.items.push(crate::task_graph::DataItem { name: "x".to_owned(), size_bytes: 1, producer: None });
    assert_eq!(
        losses(&graph, GraphFormat::Dax),
        ["1 items that no task reads or makes", "the memory of tasks"]
    );
    let durations = read_sample("peft-2014.json").graph;
    let message = format_graph(&durations, GraphFormat::Dax).unwrap_err().to_string();
    assert!(message.starts_with("the format dax cannot say that task `T1` has durations"), "{message}");
}

#[test]
fn namespaces_are_part_of_the_kind() {
    let text = sample_text("diamond-2.1.dax").replace("name=\"work\"", "namespace=\"n\" name=\"work\"");
    assert_eq!(read_text("x.dax", &text).unwrap().graph.tasks[1].kind, "n::work");
}

#[test]
fn what_is_wrong_is_named_with_its_place() {
    let changed = |from, to| refusal_of_changed("diamond-2.1.dax", from, to);
    let cases = [
        (
            changed("runtime=\"0.25\"", ""),
            "diamond-2.1.dax:4:3: the duration of task `split_1` is not said in the file; add it, or say what to take instead",
        ),
        (
            changed("runtime=\"0.25\"", "runtime=\"fast\""),
            "diamond-2.1.dax:4:3: expected a runtime in seconds, found `fast`",
        ),
        (
            changed("runtime=\"0.25\"", "runtime=\"1e11\""),
            "diamond-2.1.dax:4:3: 1e11 s does not fit: times and sizes are whole numbers of nanoseconds and bytes below 2^64",
        ),
        (changed("id=\"left_1\"", "id=\"split_1\""), "diamond-2.1.dax:8:3: task `split_1` is there twice"),
        (changed("id=\"left_1\"", ""), "diamond-2.1.dax:8:3: expected attribute `id` of `job`, found none"),
        (
            changed("size=\"4e6\"", "size=\"4.5\""),
            "diamond-2.1.dax:6:5: expected a size in whole bytes, found `4.5`",
        ),
        (
            changed("size=\"4e6\"", "size=\"4\""),
            "diamond-2.1.dax:9:5: file `halves.dat` is 4 bytes in one place and 4000000 bytes in another",
        ),
        (
            changed("link=\"output\"", "link=\"inout\""),
            "diamond-2.1.dax:6:5: link `inout` is not supported; a file is `input` or `output` of a job",
        ),
        (
            changed("<parent ref=\"split_1\"", "<parent ref=\"nobody\""),
            "diamond-2.1.dax:20:23: there is no task `nobody`",
        ),
        (
            changed(
                "<child ref=\"left_1\"><parent ref=\"split_1\"",
                "<child ref=\"left_1\"><parent ref=\"join_1\"",
            ),
            "diamond-2.1.dax: tasks wait for each other in a circle: `left_1` -> `join_1` -> `left_1`",
        ),
        (
            changed("version=\"2.1\"", "version=\"4.0\""),
            "diamond-2.1.dax:3:1: version 4.0 of adag is not supported; this reader knows 2.x and 3.x",
        ),
        (changed("</job>", "</jab>"), "diamond-2.1.dax:7:3: not valid XML: expected 'job' tag, not 'jab'"),
        (
            changed("<child ref=\"left_1\">", "<dax id=\"d\" file=\"d.dax\"/><child ref=\"left_1\">"),
            "diamond-2.1.dax:20:3: a job that is a workflow itself (`dax`) is not supported; put its jobs in its place",
        ),
        (refusal("x.xml", "<svg/>"), "x.xml:1:1: expected the element `adag`, found `svg`"),
        (
            refusal("x.xml", "<!DOCTYPE a [<!ENTITY b \"c\">]><adag/>"),
            "x.xml:1:1: not valid XML: XML with DTD detected",
        ),
    ];
    let (found, expected): (Vec<String>, Vec<&str>) = cases.into_iter().unzip();
    assert_eq!(found, expected);
}

#[test]
fn sizes_left_out_everywhere_are_an_error_or_an_option() {
    let text = sample_text("diamond-3.6.dax").replace("link=\"output\" size=\"1000000\"", "link=\"output\"");
    assert_eq!(
        refusal("x.dax", &text),
        "x.dax: the size of file `left.dat` is not said in the file; add it, or say what to take instead"
    );
    let read = read_with("x.dax", &text, |options| options.item_bytes_unsaid = Some(1_000_000));
    check_diamond(&read.graph, false);
}
