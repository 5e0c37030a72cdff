//! What one run is told as: report, trace, Gantt chart, story.

use std::path::Path;

use isochrone_model::message::{Candidate, WEIGHED_BY_SCHEDULER};
use isochrone_sim::cluster::Cluster;
use isochrone_sim::explanation::story;
use isochrone_sim::network::network;
use isochrone_sim::plot::gantt;
use isochrone_sim::run_report::{RunReport, RunSettings};
use isochrone_sim::simulation::{Outcome, Simulation, Yardstick, problem};
use isochrone_sim::sources;
use isochrone_sim::trace::chrome_trace;
use isochrone_workload::task_graph::{ReadOptions, TaskCost, TaskGraph};

fn run(policy: &str, explained: usize) -> (TaskGraph, Cluster, Outcome) {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let graph =
        sources::graph("../workload/samples/topcuoglu-2002.json", here, &ReadOptions::default()).unwrap();
    let cluster = sources::cluster("uniform(agents=3,latency_us=0,bandwidth_mbit=8000)", here).unwrap();
    let outcome = Simulation::new(&graph.graph, &cluster, policy).explaining(explained).run().unwrap();
    (graph.graph, cluster, outcome)
}

#[test]
fn measures_are_those_of_the_paper() {
    let (graph, cluster, outcome) = run("heft", 0);
    let problem = problem(&graph, &cluster, network("classic", &cluster, 0).unwrap().as_ref());
    let yardstick = Yardstick::new(&problem);
    let measures = yardstick.measure(&outcome);
    // Alone, the first processor takes 127 for all tasks, the others more; no schedule is shorter than 73.
    assert_eq!(measures.makespan_ns, 80_000_000);
    assert!((measures.speedup.unwrap() - 127.0 / 80.0).abs() < 1e-12, "{measures:?}");
    assert!((measures.efficiency.unwrap() - 127.0 / 240.0).abs() < 1e-12, "{measures:?}");
    assert!(measures.lower_bound_ns <= 73_000_000 && measures.slr >= 80.0 / 73.0, "{measures:?}");
    let bounds = (measures.critical_path_ns, measures.area_bound_ns);
    assert_eq!(measures.lower_bound_ns, bounds.0.max(bounds.1));
    // All tasks at their fastest, on three slots.
    let shortest = |place: usize| match &graph.tasks[place].cost {
        TaskCost::PerDevice(nanos) => nanos.iter().copied().min().unwrap(),
        TaskCost::Work(work) => *work,
    };
    let sum: u64 = (0..graph.tasks.len()).map(shortest).sum();
    assert!(bounds.1 >= sum / 3 && bounds.1 < sum, "{bounds:?} {sum}");
    assert!((measures.slr - 80_000_000.0 / bounds.0 as f64).abs() < 1e-12, "{measures:?}");
    let report = RunReport::new(RunSettings::default(), &graph, &outcome, measures);
    let json = serde_json::to_value(&report).unwrap();
    assert_eq!(json["tasks"].as_array().unwrap().len(), 10);
    assert_eq!(json["tasks"][0]["start_ns"], 0);
    assert_eq!(json["devices"].as_array().unwrap().len(), 3);
    assert_eq!(json["decision_time_ns"], serde_json::Value::Null);
}

#[test]
fn traces_have_every_task_and_arrows_in_pairs() {
    let (graph, cluster, outcome) = run("heft", 0);
    let trace = chrome_trace(&graph, &cluster, &outcome);
    let events = trace["traceEvents"].as_array().unwrap();
    let count = |phase: &str| events.iter().filter(|event| event["ph"] == phase).count();
    assert_eq!((count("X"), count("i")), (10, 10));
    assert_eq!((count("b"), count("s")), (count("e"), count("f")));
    assert!(count("s") > 0 && count("s") <= outcome.transfers.len());
    let last = events
        .iter()
        .filter(|event| event["ph"] == "X")
        .map(|event| event["ts"].as_f64().unwrap() + event["dur"].as_f64().unwrap());
    assert!((last.fold(0.0, f64::max) - 80_000.0).abs() < 1e-6);
}

#[test]
fn traces_tell_of_links_queues_and_what_was_weighed() {
    let (graph, cluster, kept) = run("heft", 0);
    for (policy, is_own) in [("latency-eft", true), ("heft", false), ("eager", false)] {
        let outcome = Simulation::new(&graph, &cluster, policy).keeping_decisions().run().unwrap();
        let trace = chrome_trace(&graph, &cluster, &outcome);
        let events = trace["traceEvents"].as_array().unwrap();
        let of = |phase: &str| events.iter().filter(|event| event["ph"] == phase).collect::<Vec<_>>();
        let decisions = of("i");
        assert_eq!(decisions.len(), graph.tasks.len(), "{policy}");
        for decision in decisions {
            let arguments = &decision["args"];
            let candidates = arguments["candidates"].as_array().unwrap();
            assert_eq!(candidates.len(), 3, "{policy}: {decision}");
            assert!(candidates.iter().all(|one| one["finish_us"].as_f64() >= one["execution_us"].as_f64()));
            let reason = arguments["reason"].as_str().unwrap();
            assert_eq!(reason.ends_with(WEIGHED_BY_SCHEDULER), !is_own, "{policy}: {reason}");
            assert!(reason.len() > WEIGHED_BY_SCHEDULER.len() || is_own, "{policy}: {reason}");
            let chosen = decision["name"].as_str().unwrap().split(" to ").nth(1).unwrap();
            let is_chosen = |one: &&serde_json::Value| chosen.starts_with(one["device"].as_str().unwrap());
            assert_eq!(candidates.iter().filter(is_chosen).count(), 1, "{policy}: {decision}");
        }
        let names = |phase: &str| of(phase).into_iter().map(|event| event["name"].as_str().unwrap());
        for device in 0..3 {
            assert!(
                names("C").any(|name| name.starts_with(&format!("waiting at agent-{device}/"))),
                "{policy}"
            );
        }
        let tracks = of("M").into_iter().filter_map(|event| event["args"]["name"].as_str());
        let links = tracks.filter(|name| name.starts_with("from agent-")).count();
        assert!(
            links > 0 && of("b").iter().all(|event| event["args"]["bytes"].as_u64() > Some(0)),
            "{policy}"
        );
    }
    // Where none are kept, decisions are told by name alone.
    let plain = Simulation::new(&graph, &cluster, "heft").run().unwrap();
    assert_eq!(plain.digest(), kept.digest(), "to keep decisions changes nothing");
    let trace = chrome_trace(&graph, &cluster, &plain);
    let events = trace["traceEvents"].as_array().unwrap();
    let decisions: Vec<_> = events.iter().filter(|event| event["ph"] == "i").collect();
    assert!(decisions.len() == graph.tasks.len() && decisions.iter().all(|one| one["args"].is_null()));
}

#[test]
fn gantt_charts_are_valid_and_show_every_task() {
    let (graph, cluster, outcome) = run("heft", 0);
    let svg = gantt("HEFT <on> \"three\" & more", &graph, &cluster, &outcome);
    assert_eq!(svg, gantt("HEFT <on> \"three\" & more", &graph, &cluster, &outcome));
    let document = roxmltree::Document::parse(&svg).unwrap();
    let tooltips: Vec<&str> = document
        .descendants()
        .filter(|node| node.has_tag_name("title"))
        .filter_map(|node| node.text())
        .collect();
    for task in &graph.tasks {
        let shown = tooltips.iter().filter(|text| text.starts_with(&format!("{} (", task.name))).count();
        assert_eq!(shown, 1, "{}", task.name);
    }
    assert!(svg.contains("makespan 80 ms"), "{svg}");
}

#[test]
fn stories_tell_what_was_weighed_and_what_held_a_task() {
    let last = 9;
    let (graph, cluster, outcome) = run("latency-eft", last);
    let story = story(&graph, &cluster, &outcome, last);
    assert_eq!(story.decisions.len(), 1);
    let decision = &story.decisions[0];
    assert_eq!(decision.candidates.len(), 3, "{story:?}");
    assert!(!decision.is_weighed_by_scheduler && !decision.reason.ends_with(WEIGHED_BY_SCHEDULER));
    assert!(decision.chosen.starts_with(&story.device), "{story:?}");
    let best = decision.candidates.iter().min_by_key(|candidate| candidate.finish).unwrap();
    assert!(decision.chosen.starts_with(&best.name), "{story:?}");
    assert_eq!(story.predecessors.len(), 3);
    assert!(story.arrivals.iter().all(|arrival| arrival.finish_ns <= story.start_ns));
    assert!(!story.held_by.is_empty());
    let json = serde_json::to_value(&story).unwrap();
    assert_eq!(json["task"], graph.tasks[last].name.as_str());
}

/// Whatever the policy, the slots that could have run the task are weighed, by the scheduler where the policy names none; and that changes
/// nothing of what happens.
#[test]
fn every_policy_has_candidates_to_show() {
    let last = 9;
    for info in isochrone_policies::POLICIES {
        let (graph, cluster, outcome) = run(info.name, last);
        let story = story(&graph, &cluster, &outcome, last);
        let decision = &story.decisions[0];
        assert!(!decision.candidates.is_empty(), "{}", info.name);
        if decision.is_weighed_by_scheduler {
            assert_eq!(decision.candidates.len(), 3, "{}", info.name);
        }
        let is_chosen = |one: &Candidate| decision.chosen.starts_with(&format!("{}/", one.name));
        assert!(decision.candidates.iter().any(is_chosen), "{}: {decision:?}", info.name);
        let plain = Simulation::new(&graph, &cluster, info.name).run().unwrap();
        assert_eq!(plain.digest(), outcome.digest(), "{}", info.name);
        assert!(plain.decisions.is_empty());
    }
    let (graph, cluster, outcome) = run("heft", last);
    let decision = &story(&graph, &cluster, &outcome, last).decisions[0];
    assert!(decision.is_weighed_by_scheduler, "{decision:?}");
    // The last task waits for all others: its execution is what the graph says, and each candidate begins when its inputs are there.
    let TaskCost::PerDevice(nanos) = &graph.tasks[last].cost else { panic!("durations are given") };
    let executions: Vec<u64> = decision.candidates.iter().map(|one| one.execution.0).collect();
    assert_eq!(&executions, nanos);
    for one in &decision.candidates {
        assert!(one.finish == one.queueing.max(one.transfer) + one.execution, "{one:?}");
    }
}

/// The keys that a schema requires and those that a value has, level by level.
fn assert_described(schema: &serde_json::Value, value: &serde_json::Value, place: &str) {
    if let Some(object) = value.as_object() {
        let required = schema["required"].as_array().unwrap_or_else(|| panic!("{place} requires nothing"));
        let mut required: Vec<&str> = required.iter().filter_map(|key| key.as_str()).collect();
        let mut described: Vec<&String> = schema["properties"].as_object().unwrap().keys().collect();
        let mut found: Vec<&String> = object.keys().collect();
        required.sort_unstable();
        described.sort_unstable();
        found.sort_unstable();
        assert_eq!(found, required, "{place}");
        assert_eq!(found, described, "{place}");
        for (key, value) in object {
            assert_described(&schema["properties"][key], value, &format!("{place}.{key}"));
        }
    } else if let Some(first) = value.as_array().and_then(|list| list.first()) {
        assert_described(&schema["items"], first, &format!("{place}[]"));
    }
}

#[test]
fn the_schema_names_every_key_of_a_report() {
    let (graph, cluster, outcome) = run("heft", 0);
    let problem = problem(&graph, &cluster, network("classic", &cluster, 0).unwrap().as_ref());
    let measures = Yardstick::new(&problem).measure(&outcome);
    let report = RunReport::new(RunSettings::default(), &graph, &outcome, measures);
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/run-report.schema.json");
    let schema: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    assert_described(&schema, &serde_json::to_value(&report).unwrap(), "report");
}

/// The graph has durations for three devices; a fourth has none and so runs nothing.
#[test]
fn a_device_without_a_column_runs_nothing() {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let options = ReadOptions::default();
    let graph = sources::graph("../workload/samples/topcuoglu-2002.json", here, &options).unwrap().graph;
    let cluster = sources::cluster("uniform(agents=4,latency_us=0,bandwidth_mbit=8000)", here).unwrap();
    for policy in ["heft", "eager", "round-robin", "random", "latency-eft"] {
        let outcome = Simulation::new(&graph, &cluster, policy).checked().run().unwrap();
        assert_eq!(outcome.devices[3].tasks, 0, "{policy}");
    }
    let outcome = Simulation::new(&graph, &cluster, "heft").run().unwrap();
    assert_eq!(outcome.makespan.0, 80_000_000);
}
