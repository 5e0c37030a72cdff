use super::*;

const NEW: &str = "diamond.wfcommons-1.5.json";
const OLD: &str = "diamond.wfcommons-1.4.json";

#[test]
fn both_versions_hold_the_same_graph() {
    let (new, old) = (read_sample(NEW), read_sample(OLD));
    assert_eq!(new.format, GraphFormat::WfCommons);
    check_diamond(&new.graph, true);
    assert_eq!(new, old);
    let latest = sample_text(NEW).replace("\"1.5\"", "\"1.6\"");
    assert_eq!(read_text("x.json", &latest).unwrap(), new);
    let expected = [
        "runtimes were measured on the machines of that run; they were taken as work on a device of speed 1",
        "1 tasks ran on more than one core; their runtimes were taken as they are",
        "the memory of 2 tasks is not said; 0 bytes were taken",
    ];
    assert_eq!(new.assumptions, expected);
}

#[test]
fn it_reads_back_what_it_writes() {
    let graph = read_sample(NEW).graph;
    check_round_trip(&graph, "diamond.wfcommons.json", GraphFormat::WfCommons);
    assert!(losses(&graph, GraphFormat::WfCommons).is_empty());
    let additions = format_graph(&graph, GraphFormat::WfCommons).unwrap().additions;
    let expected = [
        "the format asks for the makespan and the date of a run: the sum of the runtimes and 1970 were written",
    ];
    assert_eq!(additions, expected);
}

#[test]
fn a_graph_it_cannot_say_is_refused() {
    let refused = |graph: &TaskGraph| format_graph(graph, GraphFormat::WfCommons).unwrap_err().to_string();
    let durations = read_sample("peft-2014.json").graph;
    assert_eq!(
        refused(&durations),
        "the format wfcommons cannot say that task `T1` has durations for each device; write it in the project's own format"
    );
    let mut spaces = read_sample(NEW).graph;
    spaces.items[0].name = "my file".to_owned();
    assert!(refused(&spaces).contains("something is called `my file`; identifiers there are of letters"));
    assert!(refused(&TaskGraph::default()).contains("there is no task"));
}

#[test]
fn what_is_left_out_is_an_error_or_an_option() {
    let without = sample_text(NEW).replace("{\"id\": \"left_1\", \"runtimeInSeconds\": 2, \"coreCount\": 4, \"memoryInBytes\": 8000000, \"machines\": [\"one\"]},", "");
    assert_eq!(
        refusal("x.json", &without),
        "x.json: workflow.specification.tasks[1].id: the duration of task `left_1` is not said in the file; add it, or say what to take instead"
    );
    let read = read_with("x.json", &without, |options| options.duration_unsaid_ns = Some(7));
    assert_eq!(read.graph.tasks[1].cost, TaskCost::Work(7));
    assert!(
        read.assumptions
            .contains(&"the durations of 1 tasks are not said; 7 ns were taken for each".to_owned())
    );
    let without =
        sample_text(NEW).replace(",\n        {\"id\": \"right.dat\", \"sizeInBytes\": 1500000}", "");
    assert_eq!(
        refusal("x.json", &without),
        "x.json: the size of file `right.dat` is not said in the file; add it, or say what to take instead"
    );
    let read = read_with("x.json", &without, |options| options.item_bytes_unsaid = Some(9));
    assert!(
        read.assumptions
            .contains(&"the sizes of 1 files are not said; 9 bytes were taken for each".to_owned())
    );
}

/// The entry is there, but not the number.
#[test]
fn a_task_without_its_runtime_and_a_file_without_its_size_are_named() {
    let without =
        sample_text(NEW).replace("\"id\": \"left_1\", \"runtimeInSeconds\": 2,", "\"id\": \"left_1\",");
    assert_eq!(
        refusal("x.json", &without),
        "x.json: workflow.specification.tasks[1].id: the duration of task `left_1` is not said in the file; add it, or say what to take instead"
    );
    let read = read_with("x.json", &without, |options| options.duration_unsaid_ns = Some(7));
    assert_eq!(read.graph.tasks[1].cost, TaskCost::Work(7));
    let without = sample_text(NEW).replace("\"right.dat\", \"sizeInBytes\": 1500000", "\"right.dat\"");
    assert_eq!(
        refusal("x.json", &without),
        "x.json: the size of file `right.dat` is not said in the file; add it, or say what to take instead"
    );
    let read = read_with("x.json", &without, |options| options.item_bytes_unsaid = Some(9));
    assert!(read.graph.items.iter().any(|item| item.name == "right.dat" && item.size_bytes == 9));
}

#[test]
fn a_description_without_a_run_has_no_durations() {
    let text = r#"{"name": "w", "schemaVersion": "1.5", "workflow": {"specification": {"tasks": [
        {"name": "a", "id": "a", "parents": [], "children": ["b"]}, {"name": "b", "id": "b", "parents": [], "children": []}]}}}"#;
    assert!(refusal("x.json", text).contains("the duration of task `a` is not said"));
    let read = read_with("x.json", text, |options| options.duration_unsaid_ns = Some(1));
    assert_eq!(read.graph.tasks[1].after, [0], "a link that only the parent says counts");
}

#[test]
fn old_tasks_are_told_apart_by_their_ids() {
    let text = r#"{"name": "w", "schemaVersion": "1.4", "workflow": {"tasks": [
        {"name": "same", "id": "1", "runtimeInSeconds": 1, "children": ["2"]},
        {"name": "same", "id": "2", "runtimeInSeconds": 1, "files": [{"name": "f", "path": "/d/", "sizeInBytes": 5, "link": "output"}]}]}}"#;
    let graph = read_text("x.json", text).unwrap().graph;
    assert_eq!((graph.tasks[0].name.as_str(), graph.tasks[1].name.as_str()), ("same_1", "same_2"));
    assert_eq!((graph.tasks[1].after.as_slice(), graph.items[0].name.as_str()), (&[0][..], "/d/f"));
}

#[test]
fn what_is_wrong_is_named_with_its_place() {
    let new = |from, to| refusal_of_changed(NEW, from, to);
    let old = |from, to| refusal_of_changed(OLD, from, to);
    let cases = [
        (
            new("\"1.5\"", "\"1.3\""),
            "diamond.wfcommons-1.5.json: schemaVersion: schema version 1.3 of WfFormat is not supported; this reader knows 1.4, 1.5 and 1.6; WfCommons has a tool that migrates older files",
        ),
        (
            new("\"1.5\"", "\"1.4\""),
            "diamond.wfcommons-1.5.json: workflow: expected key `tasks` as schema version 1.4 has it, found none",
        ),
        (
            new("[\"split_1\"]", "[\"spilt_1\"]"),
            "diamond.wfcommons-1.5.json: workflow.specification.tasks[1].parents[0]: there is no task `spilt_1`",
        ),
        (
            new("\"children\": []", "\"children\": [\"split_1\"]"),
            "diamond.wfcommons-1.5.json: tasks wait for each other in a circle: `split_1` -> `join_1` -> `split_1`",
        ),
        (
            new("\"runtimeInSeconds\": 2", "\"runtimeInSeconds\": -2"),
            "diamond.wfcommons-1.5.json: workflow.execution.tasks[1].runtimeInSeconds: -2 s does not fit: times and sizes are whole numbers of nanoseconds and bytes below 2^64",
        ),
        (
            new("\"id\": \"left_1\", \"runtime", "\"id\": \"lost_1\", \"runtime"),
            "diamond.wfcommons-1.5.json: workflow.specification.tasks[1].id: the duration of task `left_1` is not said in the file; add it, or say what to take instead",
        ),
        (
            new("{\"id\": \"join_1\", \"run", "{\"id\": \"left_1\", \"run"),
            "diamond.wfcommons-1.5.json: workflow.execution.tasks[3].id: executed task `left_1` is there twice",
        ),
        (
            new("\"outputFiles\": [\"left.dat\"]", "\"outputFiles\": [\"halves.dat\"]"),
            "diamond.wfcommons-1.5.json: workflow.specification.tasks[1].outputFiles[0]: file `halves.dat`, which task `left_1` both reads and writes, is not supported; give the changed file a name of its own",
        ),
        (
            new("\"outputFiles\": [\"left.dat\"]", "\"outputFiles\": [\"right.dat\"]"),
            "diamond.wfcommons-1.5.json: item `right.dat` is made by two tasks, `left_1` and `right_1`; an item is made once",
        ),
        (
            new("\"sizeInBytes\": 1000000", "\"sizeInBytes\": \"1\""),
            "diamond.wfcommons-1.5.json:16:45: invalid type: string \"1\", expected u64",
        ),
        (
            old("\"sizeInBytes\": 1000000", "\"sizeInBytes\": 1"),
            "diamond.wfcommons-1.4.json: workflow.tasks[3].files[0]: file `left.dat` is 1 bytes in one place and 1000000 bytes in another",
        ),
        (
            old("[\"left_1\", \"right_1\"]", "[\"nobody\"]"),
            "diamond.wfcommons-1.4.json: workflow.tasks[0].children[0]: there is no task `nobody`",
        ),
        (
            old("\"link\": \"input\"", "\"link\": \"inout\""),
            "diamond.wfcommons-1.4.json:9:222: unknown variant `inout`, expected `input` or `output`",
        ),
    ];
    let (found, expected): (Vec<String>, Vec<&str>) = cases.into_iter().unzip();
    assert_eq!(found, expected);
}

#[test]
fn memory_is_any_number_as_in_the_schema() {
    for name in [NEW, OLD] {
        let text = sample_text(name);
        let with =
            |said: &str| text.replace("\"memoryInBytes\": 8000000", &format!("\"memoryInBytes\": {said}"));
        let memory = |said: &str| read_text("x.json", &with(said)).unwrap().graph.tasks[1].memory_bytes;
        assert_eq!([memory("8000000"), memory("8e6"), memory("8000000.0")], [8_000_000; 3], "{name}");
        assert_eq!((memory("7999999.25"), memory("18446744073709551615")), (8_000_000, u64::MAX), "{name}");
        for wrong in ["-1", "-0.5e1", "1e30"] {
            let refused = refusal("x.json", &with(wrong));
            assert!(refused.contains("memoryInBytes") && refused.contains("bytes"), "{refused}");
        }
    }
}
