//! Studies: the same results whatever the threads, shards and interruptions; reports that hold together.

use std::fs;
use std::path::{Path, PathBuf};

use isochrone_metrics::RunManifest;
use isochrone_model::Span;
use isochrone_sim::study::{Shard, Study, StudyError, StudyOptions, StudySummary, merge, run_study};

const STUDY: &str = r#"
name = "small & <quick>"
description = """Which is better?

A second paragraph."""
policies = ["heft", "eager", "latency-eft", "random(seed={seed})"]
networks = ["classic"]
knowledge = ["exact", "blind"]
seeds = { from = 1, count = 2 }

[[graphs]]
graph = "cholesky(tiles={tiles},seed={seed})"
for = { tiles = [3, 4] }

[[graphs]]
graph = "six.stg"

[[clusters]]
cluster = "uniform(agents=3,speeds=1:2:4,latency_us={latency_us})"
for = { latency_us = [0, 1000, 20000] }

[report]
reference = "heft"
axis = "latency_us"
axis_label = "one-way latency (us)"
resamples = 500
highlighted = 3

[[report.gantts]]
graph = "cholesky(tiles=4"
policy = "latency-eft"
"#;

fn written(folder: &Path) -> PathBuf {
    let samples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../workload/samples");
    fs::copy(samples.join("six.stg"), folder.join("six.stg")).unwrap();
    let path = folder.join("study.toml");
    fs::write(&path, STUDY).unwrap();
    path
}

struct Wanted {
    threads: usize,
    shard: Option<Shard>,
    is_resumed: bool,
}

const WHOLE: Wanted = Wanted { threads: 1, shard: None, is_resumed: false };

fn run(path: &Path, output: &Path, wanted: &Wanted) -> Result<StudySummary, StudyError> {
    let study = Study::load(path)?;
    run_study(
        &study,
        &mut StudyOptions {
            output: output.to_owned(),
            threads: wanted.threads,
            shard: wanted.shard,
            is_resumed: wanted.is_resumed,
            clock: &|| Span(0),
            on_progress: &mut |_| {},
            manifest: RunManifest::default(),
        },
    )
}

/// Every file that must be the same again, by name.
fn products(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let mut files = Vec::new();
    for directory in [folder.to_owned(), folder.join("figures")] {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            // Lines of results come in the order in which they ended; the manifest is of the run.
            if path.is_file() && name != "results.jsonl" && name != "manifest.json" {
                files.push((name, fs::read(&path).unwrap()));
            }
        }
    }
    files.sort();
    files
}

fn assert_same(left: &Path, right: &Path) {
    let (left, right) = (products(left), products(right));
    let names = |files: &[(String, Vec<u8>)]| files.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>();
    assert_eq!(names(&left), names(&right));
    for ((name, left), (_, right)) in left.iter().zip(&right) {
        assert!(left == right, "{name} differs");
    }
}

#[test]
fn threads_shards_and_interruptions_change_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = written(folder.path());
    let at = |name: &str| folder.path().join(name);
    let summary = run(&path, &at("one"), &WHOLE).unwrap();
    assert_eq!((summary.progress.cells, summary.progress.finished, summary.progress.failed), (144, 144, 0));

    run(&path, &at("three"), &Wanted { threads: 3, ..WHOLE }).unwrap();
    assert_same(&at("one"), &at("three"));

    for number in 1..=3 {
        let shard = Some(Shard { number, of: 3 });
        run(&path, &at(&format!("shard-{number}")), &Wanted { threads: 2, shard, is_resumed: false })
            .unwrap();
    }
    let shards: Vec<PathBuf> = (1..=3).rev().map(|number| at(&format!("shard-{number}"))).collect();
    let summary = merge(&shards, &at("merged"), &RunManifest::default()).unwrap();
    assert_eq!(summary.progress.finished, 144);
    assert_same(&at("one"), &at("merged"));

    // An interruption leaves some lines and half of one.
    let results = fs::read_to_string(at("one").join("results.jsonl")).unwrap();
    let lines: Vec<&str> = results.lines().collect();
    fs::create_dir(at("resumed")).unwrap();
    let kept = lines[..50].join("\n") + "\n" + &lines[50][..lines[50].len() / 2];
    fs::write(at("resumed").join("results.jsonl"), kept).unwrap();
    // The chart of the chosen run was drawn before.
    fs::create_dir(at("resumed").join("figures")).unwrap();
    fs::copy(at("one").join("figures/gantt-1.svg"), at("resumed").join("figures/gantt-1.svg")).unwrap();
    let summary = run(&path, &at("resumed"), &Wanted { threads: 2, shard: None, is_resumed: true }).unwrap();
    assert_eq!((summary.found, summary.progress.finished), (49, 144));
    assert_same(&at("one"), &at("resumed"));
}

/// The cells of a table's column.
fn column(csv: &str, name: &str) -> Vec<Option<u64>> {
    let mut lines = csv.lines().map(|line| {
        // Labels are quoted and have commas.
        let mut is_quoted = false;
        line.split(move |letter: char| {
            is_quoted ^= letter == '"';
            letter == ',' && !is_quoted
        })
    });
    let place = lines.next().unwrap().position(|found| found == name).unwrap_or_else(|| panic!("no {name}"));
    lines.map(|mut cells| cells.nth(place).and_then(|cell| cell.parse().ok())).collect()
}

#[test]
fn both_bounds_are_told_and_results_without_them_can_still_be_used() {
    let folder = tempfile::tempdir().unwrap();
    let path = written(folder.path());
    let at = |name: &str| folder.path().join(name);
    run(&path, &at("whole"), &WHOLE).unwrap();
    let csv = fs::read_to_string(at("whole").join("results.csv")).unwrap();
    let [larger, critical_path, area] =
        ["lower_bound_ns", "critical_path_ns", "area_bound_ns"].map(|name| column(&csv, name));
    assert!(larger.iter().all(Option::is_some));
    let largest = critical_path.iter().zip(&area).map(|(critical_path, area)| *critical_path.max(area));
    assert_eq!(largest.collect::<Vec<_>>(), larger);
    assert!(larger != critical_path && larger != area, "each is the larger one somewhere");

    // A shard of an older version, which kept the larger bound alone.
    for number in 1..=2 {
        let shard = Some(Shard { number, of: 2 });
        run(&path, &at(&format!("shard-{number}")), &Wanted { threads: 2, shard, is_resumed: false })
            .unwrap();
    }
    let results = at("shard-1").join("results.jsonl");
    let text = fs::read_to_string(&results).unwrap();
    let without = |line: &str| {
        let begin = line.find("\"area_bound_ns\"")?;
        let end = begin + line[begin..].find(',')? + 1;
        Some(format!("{}{}", &line[..begin], &line[end..]))
    };
    let older: Vec<String> =
        text.lines().map(|line| without(line).unwrap_or_else(|| line.to_owned())).collect();
    assert!(older.len() > 2 && !older.join("").contains("area_bound_ns"));
    // A cell that both have is no contradiction, and the one that tells more counts.
    let both = [older[..older.len() / 2].join("\n"), String::new()].join("\n");
    fs::create_dir(at("older")).unwrap();
    fs::copy(at("shard-1").join("study.toml"), at("older").join("study.toml")).unwrap();
    fs::create_dir(at("older").join("figures")).unwrap();
    fs::write(at("older").join("results.jsonl"), both).unwrap();
    for folders in [["older", "shard-1", "shard-2"], ["shard-2", "shard-1", "older"]] {
        let output = at(&format!("merged-{}", folders[0]));
        let summary = merge(&folders.map(at), &output, &RunManifest::default()).unwrap();
        assert_eq!(summary.progress.finished, 144);
        assert_eq!(fs::read_to_string(output.join("results.csv")).unwrap(), csv);
    }
    fs::write(&results, older.join("\n") + "\n").unwrap();
    let shard = Some(Shard { number: 1, of: 2 });
    run(&path, &at("shard-1"), &Wanted { threads: 1, shard, is_resumed: true }).unwrap();
    merge(&["shard-1", "shard-2"].map(at), &at("merged"), &RunManifest::default()).unwrap();
    let merged = fs::read_to_string(at("merged").join("results.csv")).unwrap();
    assert_eq!(column(&merged, "lower_bound_ns"), larger);
    for (found, (area, critical_path)) in
        column(&merged, "area_bound_ns").iter().zip(area.iter().zip(&critical_path))
    {
        assert!(found == area || (found.is_none() && critical_path >= area), "{found:?} {area:?}");
    }
}

#[test]
fn results_are_neither_overwritten_nor_mixed() {
    let folder = tempfile::tempdir().unwrap();
    let path = written(folder.path());
    let output = folder.path().join("output");
    let shard = Some(Shard { number: 1, of: 9 });
    run(&path, &output, &Wanted { threads: 1, shard, is_resumed: false }).unwrap();
    let error = run(&path, &output, &WHOLE).unwrap_err();
    assert!(matches!(error, StudyError::ResultsExist { .. }), "{error}");
    // One byte more in a file that the study names makes another study of it.
    let graph = fs::read_to_string(folder.path().join("six.stg")).unwrap();
    fs::write(folder.path().join("six.stg"), graph + "\n").unwrap();
    let error = run(&path, &output, &Wanted { is_resumed: true, ..WHOLE }).unwrap_err();
    assert!(matches!(error, StudyError::OtherStudy { .. }), "{error}");
}

#[test]
fn an_incomplete_merge_says_so_and_failures_are_told() {
    let folder = tempfile::tempdir().unwrap();
    let path = written(folder.path());
    fs::write(&path, STUDY.replace("seeds = {", "steps_max = 60\nseeds = {")).unwrap();
    let (part, merged) = (folder.path().join("part"), folder.path().join("merged"));
    run(&path, &part, &Wanted { threads: 2, shard: Some(Shard { number: 2, of: 4 }), is_resumed: false })
        .unwrap();
    let summary = merge(&[part], &merged, &RunManifest::default()).unwrap();
    assert_eq!((summary.progress.finished, summary.progress.cells), (36, 144));
    assert!(summary.progress.failed > 0 && summary.progress.failed < 36, "{:?}", summary.progress);
    let report = fs::read_to_string(merged.join("report.html")).unwrap();
    assert!(report.contains("27 more instances are not complete"), "{report}");
    assert!(report.contains("given up after"), "{report}");
    let csv = fs::read_to_string(merged.join("results.csv")).unwrap();
    assert_eq!(csv.lines().count(), 37);
    assert_eq!(csv.lines().filter(|line| line.contains("given up after")).count(), summary.progress.failed);
}

#[test]
fn reports_are_valid_documents_with_the_numbers_in_them() {
    let folder = tempfile::tempdir().unwrap();
    let path = written(folder.path());
    let output = folder.path().join("output");
    run(&path, &output, &Wanted { threads: 2, ..WHOLE }).unwrap();
    let report = fs::read_to_string(output.join("report.html")).unwrap();
    let options = roxmltree::ParsingOptions { allow_dtd: true, ..roxmltree::ParsingOptions::default() };
    let document = roxmltree::Document::parse_with_options(&report, options).unwrap();
    let count = |name: &str| document.descendants().filter(|node| node.has_tag_name(name)).count();
    assert_eq!(count("script"), 0);
    let text = |wanted: &str| {
        document.descendants().any(|node| node.text().is_some_and(|text| text.contains(wanted)))
    };
    assert!(text("small & <quick>") && text("A second paragraph.") && text("144 runs"), "{report}");
    assert!(text("n = 36 instances") && text("critical difference"));
    // Values of the axis have their unit, so its name has none.
    assert!(text("one-way latency, logarithmic") && text("makespan, logarithmic"));
    assert!(text("20 ms") && !report.contains(">20000<"));
    // `six.stg` has nothing random: its second seed repeats the first, but for the policy that draws.
    assert!(text("36 instances are compared. 0 runs failed."), "{report}");
    for (heading, cell) in [
        ("95 % interval", "static: by upward rank, to the slot of earliest finish, with insertion"),
        ("last", "to any slot, each as likely as the others"),
    ] {
        assert!(text(heading) && text(cell), "{heading}: {report}");
    }
    assert!(text(": a transfer takes its latency") && text("the scheduler knows round trips alone"));
    assert!(text("The best is taken anew at each value") && text("Median makespans"));
    assert!(!text("One graph:"), "{report}");
    let names: Vec<String> = products(&output).into_iter().map(|(name, _)| name).collect();
    for name in [
        "axis-1-1.svg",
        "axis-1-2.svg",
        "critical-difference.svg",
        "decision-times.csv",
        "gantt-1.svg",
        "makespan-1-1.svg",
        "makespan-1-2.svg",
        "makespans.csv",
        "profile-1-2.svg",
        "profile.svg",
        "ratios.svg",
        "report.html",
        "results.csv",
        "results.parquet",
        "tables.md",
    ] {
        assert!(names.iter().any(|found| found == name), "{name} is not among {names:?}");
    }
    for entry in fs::read_dir(output.join("figures")).unwrap() {
        let svg = fs::read_to_string(entry.unwrap().path()).unwrap();
        let document = roxmltree::Document::parse(&svg).unwrap();
        assert!(document.root_element().has_tag_name(("http://www.w3.org/2000/svg", "svg")));
        assert!(!svg.contains("NaN") && !svg.contains("inf"), "{svg}");
        assert!(
            document
                .descendants()
                .filter(|node| node.has_tag_name(("http://www.w3.org/2000/svg", "text")))
                .count()
                > 8
        );
    }
    // The table's mean ratio is that of the tidy file.
    let csv = fs::read_to_string(output.join("results.csv")).unwrap();
    assert!(
        csv.starts_with("graph_family,graph,graph_tiles,cluster_family,cluster,cluster_latency_us,network,"),
        "{csv}"
    );
    assert_eq!(csv.lines().count(), 145);
    let makespans = fs::read_to_string(output.join("makespans.csv")).unwrap();
    assert_eq!(makespans.lines().count(), 37, "a line for each instance");
    let tables = fs::read_to_string(output.join("tables.md")).unwrap();
    for part in [
        "36 instances, each under 4 policies; 0 not complete, 0 runs failed.",
        "## By family of graphs",
        "more than 1 % faster than",
    ] {
        assert!(tables.contains(part), "{part} is not in {tables}");
    }
    assert!(csv.contains("stg,six.stg,,uniform,") || csv.contains("six,six.stg,,uniform,"), "{csv}");
}

/// The report of a study of one graph and of seeds that decide nothing.
#[test]
fn one_graph_has_no_intervals_and_seeds_that_repeat_are_told() {
    let folder = tempfile::tempdir().unwrap();
    let path = written(folder.path());
    let text = STUDY
        .replace(
            "[[graphs]]\ngraph = \"cholesky(tiles={tiles},seed={seed})\"\nfor = { tiles = [3, 4] }\n",
            "",
        )
        .replace("\"latency-eft\", \"random(seed={seed})\"", "\"latency-eft\"")
        .replace("graph = \"cholesky(tiles=4\"\n", "")
        .replace("networks = [\"classic\"]", "networks = [\"shared\"]");
    fs::write(&path, text).unwrap();
    let output = folder.path().join("output");
    run(&path, &output, &WHOLE).unwrap();
    let report = fs::read_to_string(output.join("report.html")).unwrap();
    let sentence =
        "One graph: no interval can be drawn, since intervals draw whole graphs anew. Add graphs to get one.";
    assert_eq!(report.matches(sentence).count(), 3, "table, figure and methods: {report}");
    assert!(
        report.contains("12 instances are compared; 6 of them repeat the runs of another seed"),
        "{report}"
    );
    assert!(!report.contains("95 % interval") && !report.contains(">last<"), "{report}");
    let ratios = fs::read_to_string(output.join("figures/ratios.svg")).unwrap();
    assert!(!ratios.contains("#0072b2") && !ratios.contains('['), "{ratios}");
    assert!(ratios.contains("n = 12 instances of 1 graph;"), "{ratios}");
    // The medians are those of the tidy file.
    let makespans = fs::read_to_string(output.join("makespans.csv")).unwrap();
    let nanos: Vec<Vec<f64>> = makespans
        .lines()
        .filter(|line| line.contains("latency_us=20000") && line.contains("\"exact\""))
        .map(|line| line.rsplit(',').take(3).map(|cell| cell.parse::<f64>().unwrap() * 1e3).collect())
        .collect();
    assert_eq!(nanos.len(), 2);
    let least = nanos[0].iter().copied().fold(f64::INFINITY, f64::min);
    let heft = isochrone_sim::plot::duration(nanos[0][2], least, 4);
    assert!(report.contains(&format!("{heft}</td>")) || report.contains(&format!("{heft}</b>")), "{heft}");
}

/// The places of these texts in a document, each after the one before.
fn assert_in_order(document: &str, texts: &[&str]) {
    let mut from = 0;
    for text in texts {
        let at = document[from..].find(text);
        from += at.unwrap_or_else(|| panic!("`{text}` is not where it should be in {document}"));
    }
}

/// The study of the README answers its question, and says so before anything else.
#[test]
fn the_first_study_says_first_who_is_best_at_which_latency() {
    let folder = tempfile::tempdir().unwrap();
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("studies/first.toml");
    let output = folder.path().join("output");
    let summary = run(&path, &output, &Wanted { threads: 2, ..WHOLE }).unwrap();
    assert_eq!((summary.progress.failed, summary.notes.len()), (0, 0));
    let [shared, quic] = summary.sentences.as_slice() else { panic!("{:?}", summary.sentences) };
    // With all that a connection costs it pays to stay on one machine, from some latency on; without, never.
    assert!(quic.starts_with("quic, exact knowledge: heft leads up to "), "{quic}");
    assert!(quic.contains("; fastest-device leads "), "{quic}");
    assert!(
        shared.starts_with("shared, exact knowledge: heft lead") && !shared.contains("fastest-device leads")
    );
    let report = fs::read_to_string(output.join("report.html")).unwrap();
    assert_in_order(
        &report,
        &[
            "<h2>Result</h2>",
            "<b>quic, exact knowledge</b>: heft leads up to ",
            "Network <b>quic</b>: ",
            "Knowledge <b>exact</b>: ",
            "<h2>Along one-way latency between all machines</h2>",
            "figures/axis-1-1.svg",
            "figures/makespan-2-1.svg",
            "<h2>Leaders along",
            "<h2>Policies</h2>",
            "figures/profile.svg",
        ],
    );
    // Nothing is a mean of one.
    assert!(!report.contains("over 1 instance at") && !report.contains("n = 1<"), "{report}");
    assert!(!report.contains("100000</th>") && report.contains("100 ms</th>"), "{report}");
    let tables = fs::read_to_string(output.join("tables.md")).unwrap();
    assert!(tables.contains(&format!("- {quic}\n")) && tables.contains(" = `"), "{tables}");
    // The chart has the graph's name, not its path.
    let gantt = fs::read_to_string(output.join("figures/gantt-1.svg")).unwrap();
    assert!(gantt.contains(">heft on mosaic (quic)<") && !gantt.contains("../"), "{gantt}");
}

#[test]
fn charts_of_what_the_study_has_not_are_noted_and_the_rest_is_done() {
    let folder = tempfile::tempdir().unwrap();
    let path = written(folder.path());
    let text = STUDY.replace("graph = \"cholesky(tiles=4\"\npolicy", "graph = \"six\"\npolicy");
    fs::write(&path, text + "\n[[report.gantts]]\npolicy = \"dls\"\n").unwrap();
    let output = folder.path().join("output");
    let summary = run(&path, &output, &WHOLE).unwrap();
    let [note] = summary.notes.as_slice() else { panic!("{:?}", summary.notes) };
    assert!(
        note.starts_with(
            "report.gantts[1] is not drawn: no policy of the study begins with `dls`; there is eager, "
        ),
        "{note}"
    );
    let report = fs::read_to_string(output.join("report.html")).unwrap();
    assert!(report.contains(note) && report.contains("figures/gantt-1.svg"), "{report}");
    let gantt = fs::read_to_string(output.join("figures/gantt-1.svg")).unwrap();
    assert!(gantt.contains(">latency-eft on six"), "{gantt}");
}

/// Without an axis it is told who is best on average, in all conditions and in each.
#[test]
fn a_study_without_an_axis_tells_who_is_best_on_average() {
    let folder = tempfile::tempdir().unwrap();
    let path = written(folder.path());
    fs::write(&path, STUDY.replace("axis = \"latency_us\"\naxis_label = \"one-way latency (us)\"\n", ""))
        .unwrap();
    let output = folder.path().join("output");
    let summary = run(&path, &output, &WHOLE).unwrap();
    let [all, exact, blind] = summary.sentences.as_slice() else { panic!("{:?}", summary.sentences) };
    assert!(all.contains(" on average over 36 instances (") && all.contains("random "), "{all}");
    assert!(exact.starts_with("classic, exact knowledge: heft "), "{exact}");
    assert!(blind.starts_with("classic, blind knowledge: "), "{blind}");
    let report = fs::read_to_string(output.join("report.html")).unwrap();
    assert_in_order(&report, &["<h2>Result</h2>", all, "<h2>Policies</h2>", "figures/profile.svg"]);
    assert!(!report.contains("Leaders along"), "{report}");
}

/// The example of the guide loads where it says that it is saved.
#[test]
fn the_guides_study_loads() {
    let folder = tempfile::tempdir().unwrap();
    let crate_folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    let guide = fs::read_to_string(crate_folder.join("../docs/studies.md")).unwrap();
    let study = guide.split("```toml\n").nth(1).unwrap().split("```").next().unwrap();
    fs::create_dir(folder.path().join("instances")).unwrap();
    for entry in fs::read_dir(crate_folder.join("studies/instances")).unwrap() {
        let path = entry.unwrap().path();
        fs::copy(&path, folder.path().join("instances").join(path.file_name().unwrap())).unwrap();
    }
    let path = folder.path().join("guide.toml");
    fs::write(&path, study).unwrap();
    let study = Study::load(&path).unwrap();
    assert_eq!((study.graphs.len(), study.gantt_cells().len()), (7, 1));
}

#[test]
fn what_the_study_names_is_missed_before_anything_runs() {
    let folder = tempfile::tempdir().unwrap();
    let path = written(folder.path());
    let refused = |from: &str, to: &str| {
        fs::write(&path, STUDY.replace(from, to)).unwrap();
        Study::load(&path).unwrap_err().to_string()
    };
    let here = folder.path().canonicalize().unwrap();
    assert_eq!(
        refused("\"six.stg\"", "\"seven.stg\""),
        format!(
            "{}: graphs: there is no file {} (paths are from the study's folder)",
            path.display(),
            here.join("seven.stg").display()
        )
    );
    let text = fs::read_to_string(
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../workload/samples/mosaic.wfcommons-1.5.json"),
    );
    let text = text.unwrap().replacen("runtimeInSeconds", "walltimeInSeconds", 1);
    fs::write(folder.path().join("mosaic.json"), text).unwrap();
    let error = refused("\"six.stg\"", "\"mosaic.json\"");
    assert!(
        error.contains("the duration of task `") && error.contains("`duration_unsaid_ns = NANOSECONDS`"),
        "{error}"
    );
    let filled = "\"mosaic.json\"\nduration_unsaid_ns = 1000";
    fs::write(&path, STUDY.replace("\"six.stg\"", filled)).unwrap();
    Study::load(&path).unwrap();
}

/// Their graphs, clusters, policies and networks are all there.
#[test]
fn the_studies_that_are_shipped_load() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("studies");
    for name in
        ["quick.toml", "first.toml", "latency-crossover.toml", "scheduler-distance.toml", "offloading.toml"]
    {
        let study = Study::load(&folder.join(name)).unwrap();
        assert_eq!(study.gantt_cells().len(), study.file.report.gantts.len(), "{name}");
    }
}
