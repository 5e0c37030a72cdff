//! `isochrone sim` as a user calls it.

use std::path::Path;
use std::process::{Command, Output};

fn isochrone(folder: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_isochrone"));
    command.current_dir(folder).args(arguments).output().unwrap()
}

fn printed(folder: &Path, arguments: &[&str]) -> String {
    let output = isochrone(folder, arguments);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {errors}");
    String::from_utf8(output.stdout).unwrap()
}

const CHOICE: &[&str] =
    &["--graph", "cholesky(tiles=4,seed=1)", "--cluster", "uniform(agents=3,speeds=1:2:4,latency_us=500)"];

#[test]
fn a_run_is_told_drawn_and_traced() {
    let folder = tempfile::tempdir().unwrap();
    let with = |more: &[&'static str]| [&["sim", "run"], CHOICE, &["--policy", "heft"], more].concat();
    let text = printed(folder.path(), &with(&["--trace", "trace.json", "--gantt", "run.svg"]));
    assert!(text.contains("makespan") && text.contains("agent-2/device-0"), "{text}");
    let trace: serde_json::Value =
        serde_json::from_slice(&std::fs::read(folder.path().join("trace.json")).unwrap()).unwrap();
    assert!(trace["traceEvents"].as_array().unwrap().len() > 40);
    assert!(std::fs::read_to_string(folder.path().join("run.svg")).unwrap().starts_with("<svg "));
    let report: serde_json::Value =
        serde_json::from_str(&printed(folder.path(), &with(&["--json"]))).unwrap();
    assert_eq!(report["tasks"].as_array().unwrap().len(), 20);
    assert!(report["decision_time_ns"].as_u64().unwrap() > 0);
    let wrong = isochrone(folder.path(), &with(&["--network", "token-ring"]));
    let errors = String::from_utf8_lossy(&wrong.stderr).into_owned();
    assert!(!wrong.status.success() && errors.contains("token-ring"), "{errors}");
}

#[test]
fn a_placement_is_explained() {
    let folder = tempfile::tempdir().unwrap();
    let with = |task: &'static str| {
        [&["sim", "explain"], CHOICE, &["--policy", "latency-eft", "--json", "--task", task]].concat()
    };
    let wrong = isochrone(folder.path(), &with("no-such-task"));
    let errors = String::from_utf8_lossy(&wrong.stderr).into_owned();
    let name =
        errors.split("are ").nth(1).unwrap_or_default().split(',').next().unwrap_or_default().to_owned();
    assert!(!name.is_empty(), "{errors}");
    let name: &'static str = Box::leak(name.into_boxed_str());
    let story: serde_json::Value = serde_json::from_str(&printed(folder.path(), &with(name))).unwrap();
    assert_eq!(story["task"], name);
    assert_eq!(story["decisions"][0]["candidates"].as_array().unwrap().len(), 3);
}

#[test]
fn policies_that_name_no_candidates_are_weighed_for() {
    let folder = tempfile::tempdir().unwrap();
    let told = |policy: &str| {
        let task = "potrf_1";
        let with = [&["sim", "explain"], CHOICE, &["--policy", policy, "--task", task]].concat();
        printed(folder.path(), &with)
    };
    let scheduler = "this is what the scheduler expected of each when it took the choice";
    let text = told("heft");
    let sentence = format!("`heft` plans the whole graph at once and keeps no candidates; {scheduler}:");
    assert!(text.contains(&sentence) && text.contains("finish in"), "{text}");
    assert!((0..3).all(|agent| text.contains(&format!("  agent-{agent}/device-0"))), "{text}");
    let text = told("eager");
    assert!(text.contains(&format!("`eager` names no candidates; {scheduler}:")), "{text}");
    let text = told("latency-eft");
    assert!(text.contains("finish in") && !text.contains(scheduler), "{text}");
}

/// With a stand-in for Slurm: the first shard of an array submits the job that joins, and says what joins where it cannot.
#[test]
fn the_first_shard_on_slurm_submits_the_job_that_joins() {
    let folder = tempfile::tempdir().unwrap();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/slurm-study.sh");
    let stand_in = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
        let mut permissions = std::fs::metadata(&path).unwrap().permissions();
        std::os::unix::fs::PermissionsExt::set_mode(&mut permissions, 0o755);
        std::fs::set_permissions(&path, permissions).unwrap();
    };
    let log = folder.path().join("log");
    let run = |shard: &str, restarts: &str| {
        let _ = std::fs::remove_file(&log);
        let path = format!("{}:{}", folder.path().display(), std::env::var("PATH").unwrap());
        let output = Command::new("sh")
            .arg(&script)
            .args(["my study.toml", "it's out"])
            .current_dir(folder.path())
            .envs([("PATH", path.as_str()), ("SLURM_ARRAY_JOB_ID", "77"), ("SLURM_ARRAY_TASK_COUNT", "3")])
            .envs([
                ("SLURM_ARRAY_TASK_MIN", "1"),
                ("SLURM_ARRAY_TASK_MAX", "3"),
                ("SLURM_CPUS_PER_TASK", "2"),
            ])
            .envs([("SLURM_ARRAY_TASK_ID", shard), ("SLURM_RESTART_COUNT", restarts)])
            .output()
            .unwrap();
        assert!(output.status.success(), "{output:?}");
        (std::fs::read_to_string(&log).unwrap(), String::from_utf8(output.stderr).unwrap())
    };
    let note =
        |name: &str| format!("{{ printf '{name}'; printf ' <%s>' \"$@\"; echo; }} >> {}", log.display());
    stand_in("isochrone", &note("isochrone"));
    // What Slurm would run later is run at once.
    stand_in("sbatch", &format!("{}\nfor last; do :; done\nsh -c \"${{last#--wrap=}}\"", note("sbatch")));
    let (did, _) = run("2", "0");
    assert!(!did.contains("sbatch") && did.contains("<--shard> <2/3> <--resume> <--threads> <2>"), "{did}");
    let (did, _) = run("1", "1");
    assert!(!did.contains("sbatch"), "the array goes on and has its job already: {did}");
    std::fs::create_dir_all(folder.path().join("it's out/shard-1")).unwrap();
    let (did, _) = run("1", "0");
    let join = "isochrone <sim> <merge> <it's out/shard-1> <--output> <it's out/whole>";
    assert!(did.contains("<--dependency=afterok:77>") && did.contains(join), "{did}");
    assert!(did.ends_with("<--output> <it's out/shard-1>\n"), "the shard itself runs too: {did}");
    stand_in("sbatch", "exit 1");
    let (did, said) = run("1", "0");
    assert!(did.contains("<--shard> <1/3>") && said.contains("isochrone sim merge"), "{did} {said}");
}

#[test]
fn graphs_are_converted_and_nothing_gets_lost_unsaid() {
    let folder = tempfile::tempdir().unwrap();
    let samples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../workload/samples").canonicalize().unwrap();
    let sample = |name: &str| samples.join(name).display().to_string();
    let convert = |arguments: &[&str]| {
        let output = isochrone(folder.path(), &[&["sim", "convert"], arguments].concat());
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (output.status.success(), text(&output.stdout), text(&output.stderr))
    };
    // From each format to each; by way of the other the project's own file is the same again, but for what is said to get lost.
    let inputs = [
        "topcuoglu-2002.json",
        "mosaic.wfcommons-1.5.json",
        "diamond.wfcommons-1.4.json",
        "diamond-3.6.dax",
        "six-costs.stg",
        "diamond.dot",
    ];
    let mut refused = Vec::new();
    for input in inputs {
        let path = sample(input);
        let (is_well, told, errors) = convert(&[&path, "own.json"]);
        assert!(is_well && told.starts_with("own.json: isochrone-task-graph, "), "{input}: {told} {errors}");
        let own = std::fs::read_to_string(folder.path().join("own.json")).unwrap();
        for output in ["out.json", "out.wfcommons.json", "out.dax", "out.stg", "out.dot"] {
            let _ = std::fs::remove_file(folder.path().join(output));
            let (is_well, _, errors) = convert(&[&path, output]);
            assert_eq!(folder.path().join(output).exists(), is_well, "{input} to {output}");
            if is_well {
                let (is_well, _, errors) = convert(&[output, "again.json"]);
                assert!(is_well, "{input} by {output}: {errors}");
                let again = std::fs::read_to_string(folder.path().join("again.json")).unwrap();
                assert_eq!(again, own, "{input} by {output}");
                continue;
            }
            refused.push(format!("{input} {output}"));
            if errors.contains("--lossy writes it all the same") {
                let (is_well, told, errors) = convert(&[&path, output, "--lossy"]);
                assert!(is_well && told.contains("\nlost: "), "{input} to {output}: {told} {errors}");
            } else {
                assert!(errors.contains("cannot say that"), "{input} to {output}: {errors}");
                assert!(!convert(&[&path, output, "--lossy"]).0, "{input} to {output}");
            }
        }
    }
    // What STG cannot say: names, kinds and inputs of the graph; durations for each device it can never.
    assert!(refused.contains(&"mosaic.wfcommons-1.5.json out.stg".to_owned()), "{refused:?}");
    assert!(refused.contains(&"topcuoglu-2002.json out.stg".to_owned()), "{refused:?}");
    assert!(
        !refused.iter().any(|pair| pair.ends_with("out.json") || pair.ends_with("out.dot")),
        "{refused:?}"
    );

    let (is_well, told, _) = convert(&["chains(chains=2,length=3)", "c.txt", "--to", "dot", "--json"]);
    let told: serde_json::Value = serde_json::from_str(&told).unwrap();
    assert!(is_well && told["format"] == "dot" && told["tasks"] == 6 && told["edges"] == 4, "{told}");
    assert!(convert(&["c.txt", "c.json", "--from", "dot"]).0);
    for (arguments, answer) in [
        (&["c.txt", "c2.json"][..], "no format is known"),
        (&["c.json", "c.xlsx"], "say it: --to isochrone-task-graph, wfcommons, dax, stg, dot"),
        (&["c.json", "c2.json", "--to", "csv"], "`csv` is no format; there are isochrone-task-graph"),
        (&["gone.json", "c2.json"], "there is no file "),
        (&["c.json", "c.txt/c2.json"], "cannot write c.txt/c2.json"),
    ] {
        let (is_well, _, errors) = convert(arguments);
        assert!(!is_well && errors.contains(answer), "{arguments:?}: {errors}");
    }
}

/// Each mistake is answered with what to write.
#[test]
fn mistakes_are_answered_with_what_to_write() {
    let folder = tempfile::tempdir().unwrap();
    let samples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../workload/samples");
    let mosaic = std::fs::read_to_string(samples.join("mosaic.wfcommons-1.5.json")).unwrap();
    let left_out = |key: &str| mosaic.replacen(&format!("\"{key}\""), "\"leftOut\"", 1);
    std::fs::write(folder.path().join("runtime.json"), left_out("runtimeInSeconds")).unwrap();
    std::fs::write(folder.path().join("size.json"), left_out("sizeInBytes")).unwrap();
    let run = |graph: &str, cluster: &str, more: &[&str]| {
        let choice = ["sim", "run", "--policy", "heft", "--graph", graph, "--cluster", cluster];
        let output = isochrone(folder.path(), &[&choice[..], more].concat());
        (output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let (graph, cluster) = ("chains(chains=2,length=2)", "uniform(agents=2)");
    let missing = folder.path().canonicalize().unwrap().join("flow.json").display().to_string();
    for (graph, cluster, more, answer) in [
        ("flow.json", cluster, &[][..], format!("there is no file {missing}")),
        (graph, "farms/flow.toml", &[], "there is no file ".to_owned()),
        (graph, "campus", &[], "`campus` is a preset: write 'preset(campus,agents=4)'".to_owned()),
        (graph, cluster, &["--network", "quick"], "did you mean `quic`?".to_owned()),
        (graph, cluster, &["--knowledge", "blnd"], "did you mean `blind`?".to_owned()),
        ("runtime.json", cluster, &[], "--duration-unsaid NANOSECONDS".to_owned()),
        ("size.json", cluster, &[], "--bytes-unsaid BYTES".to_owned()),
    ] {
        let (is_well, errors) = run(graph, cluster, more);
        assert!(!is_well && errors.contains(&answer), "{graph} {cluster} {more:?}: {errors}");
    }
    for (graph, option) in [("runtime.json", "--duration-unsaid"), ("size.json", "--bytes-unsaid")] {
        let (is_well, errors) = run(graph, cluster, &[option, "1000"]);
        assert!(is_well, "{graph}: {errors}");
    }
    let policies = printed(folder.path(), &["policies", "heft"]);
    assert!(policies.starts_with("heft: ") && policies.contains("replan=2"), "{policies}");
    let unknown = isochrone(folder.path(), &["policies", "hefd"]);
    let errors = String::from_utf8_lossy(&unknown.stderr).into_owned();
    assert!(!unknown.status.success() && errors.contains("did you mean `heft`?"), "{errors}");
}

#[test]
fn shards_of_a_study_are_joined() {
    let folder = tempfile::tempdir().unwrap();
    let study = "name = \"two\"\npolicies = [\"heft\", \"eager\"]\nseeds = [1, 2]\n\
                 [[graphs]]\ngraph = \"chains(chains=3,length=4)\"\n[[clusters]]\ncluster = \"uniform(agents=2)\"\n";
    std::fs::write(folder.path().join("two.toml"), study).unwrap();
    for shard in ["1/2", "2/2"] {
        let output = format!("shard-{}", &shard[..1]);
        printed(folder.path(), &["sim", "study", "two.toml", "--shard", shard, "--output", &output]);
    }
    let text = printed(folder.path(), &["sim", "merge", "shard-1", "shard-2", "--output", "whole"]);
    let [finished, result, open] = text.lines().collect::<Vec<_>>()[..] else { panic!("{text}") };
    assert_eq!([finished, open], ["4 of 4 runs finished, 0 of them failed", "open whole/report.html"]);
    assert!(result.starts_with("heft is best on average over 2 instances (eager "), "{result}");
    assert!(folder.path().join("whole/report.html").is_file());
    let part = isochrone(folder.path(), &["sim", "merge", "shard-1", "--output", "part"]);
    assert!(!part.status.success());
}

#[test]
fn an_adversary_writes_what_it_found() {
    let folder = tempfile::tempdir().unwrap();
    let search = [
        "sim",
        "adversary",
        "--worse",
        "eager",
        "--than",
        "heft",
        "--steps",
        "60",
        "--output",
        "worst",
        "--json",
    ];
    let found: serde_json::Value = serde_json::from_str(&printed(folder.path(), &search)).unwrap();
    let run = [
        "sim",
        "run",
        "--graph",
        "worst/graph.json",
        "--cluster",
        "worst/cluster.toml",
        "--json",
        "--policy",
    ];
    for (policy, makespan) in [("eager", "worse_makespan_ns"), ("heft", "than_makespan_ns")] {
        let report = printed(folder.path(), &[&run[..], &[policy, "--seed", "1"]].concat());
        let report: serde_json::Value = serde_json::from_str(&report).unwrap();
        assert_eq!(report["measures"]["makespan_ns"], found[makespan], "{policy}");
    }
}

#[test]
fn the_optimum_is_proven_or_refused_with_a_gap() {
    let folder = tempfile::tempdir().unwrap();
    let choice = [
        "--graph",
        "gaussian-elimination(order=4,seed=1)",
        "--cluster",
        "uniform(agents=2,speeds=1:3,latency_us=500)",
    ];
    let search = [&["sim", "optimal"], &choice[..], &["--json", "--schedule", "best.json"]].concat();
    let found: serde_json::Value = serde_json::from_str(&printed(folder.path(), &search)).unwrap();
    assert_eq!((found["proven"].as_bool(), found["end"].as_str()), (Some(true), Some("proven")));
    assert_eq!((&found["makespan_ns"], found["gap_percent"].as_f64()), (&found["lower_bound_ns"], Some(0.0)));
    assert_eq!(found["schedule"].as_array().unwrap().len(), 9);
    for policy in ["fixed(file=best.json)", "heft", "optimal"] {
        let run = [&["sim", "run"], &choice[..], &["--json", "--policy", policy]].concat();
        let report: serde_json::Value = serde_json::from_str(&printed(folder.path(), &run)).unwrap();
        let makespan = &report["measures"]["makespan_ns"];
        if policy == "heft" {
            assert!(makespan.as_u64() >= found["makespan_ns"].as_u64());
        } else {
            assert_eq!(makespan, &found["makespan_ns"], "{policy}");
        }
    }
    let large = ["--graph", "layered(tasks=300,seed=3)", "--cluster", "uniform(agents=3,speeds=1:2:4)"];
    for (limit, end) in [(["--nodes", "40"], "nodes"), (["--seconds", "0"], "time")] {
        let search = [&["sim", "optimal", "--json"], &large[..], &limit].concat();
        let refused = isochrone(folder.path(), &search);
        let errors = String::from_utf8_lossy(&refused.stderr).into_owned();
        let found: serde_json::Value = serde_json::from_slice(&refused.stdout).unwrap();
        assert!(!refused.status.success());
        assert_eq!((found["proven"].as_bool(), found["end"].as_str()), (Some(false), Some(end)));
        assert!(found["gap_percent"].as_f64().unwrap() > 0.0, "{found}");
        assert!(errors.contains("a gap of ") && errors.contains("layered(tasks=300"), "{errors}");
        assert!(errors.contains("--nodes") || errors.contains("--seconds"), "{errors}");
    }
}
