//! The command against a farm of modelled devices, each member a process.

use std::path::Path;

use crate::shell::{Daemon, Shell};

const UP: &str = "isochrone up --agents 2 --virtual-devices 1 --listen 127.0.0.1:0 --json --stop-with-input";

/// A graph for modelled devices: three launches that follow each other, a second each at 1,000 work-items a
/// microsecond.
const SLOW: &str = "
[graph]
name = \"slow\"

[programs.wait]
file = \"wait.cl\"

[buffers.x]
shape = [1024]
dtype = \"int\"

[[steps]]
for = \"turn\"
in = \"0..3\"
label = \"wait({turn})\"
launch = \"wait\"
global = [500000000]
arguments = [\"x\"]

[outputs.x]
buffer = \"x\"
dtype = \"int\"
file = \"outputs/x.npy\"
";

/// A farm in the folder of a shell whose commands reach it.
fn farm(shell: &mut Shell, more: &str) -> Daemon {
    let mut farm = shell.daemon(&format!("{UP} {more}"));
    let ready = farm.json_line();
    shell.export("ISOCHRONE_SCHEDULER", ready["scheduler"].as_str().unwrap());
    shell.export("ISOCHRONE_CERTIFICATES", ready["certificates"].as_str().unwrap());
    farm
}

fn write(shell: &Shell, name: &str, text: &str) {
    std::fs::write(shell.path().join(name), text).unwrap();
}

fn slow_graph(shell: &Shell) {
    write(shell, "slow.toml", SLOW);
    write(shell, "wait.cl", "kernel void wait(global int *x) {}");
}

#[test]
fn settings_come_from_flags_then_the_environment_then_the_file() {
    let mut shell = Shell::new();
    shell.run("isochrone cert authority lab --directory certificates");
    shell.run("isochrone cert issue scheduler head --authority certificates");
    // Which of the loopback addresses it listens on tells where the setting came from.
    write(
        &shell,
        "isochrone.toml",
        "[scheduler]\nlisten = '127.0.0.2:0'\ncertificates = 'certificates'\npolicy = 'heft'\n",
    );
    write(&shell, "other.toml", "[scheduler]\nlisten = '127.0.0.3:0'\ncertificates = 'certificates'\n");
    let listening = |shell: &Shell, flags: &str| {
        let mut scheduler = shell.daemon(&format!("isochrone scheduler --json {flags}"));
        let address = scheduler.json_line()["address"].as_str().unwrap().to_owned();
        scheduler.terminate();
        address.split_once(':').unwrap().0.to_owned()
    };
    assert_eq!(listening(&shell, ""), "127.0.0.2", "the file");
    assert_eq!(listening(&shell, "--config other.toml"), "127.0.0.3", "the file that is named");
    assert_eq!(listening(&shell, "--listen 127.0.0.5:0"), "127.0.0.5", "the flag before the file");
    shell.export("ISOCHRONE_LISTEN", "127.0.0.4:0");
    assert_eq!(listening(&shell, ""), "127.0.0.4", "the environment before the file");
    assert_eq!(listening(&shell, "--listen 127.0.0.5:0"), "127.0.0.5", "the flag before the environment");
    shell.export("ISOCHRONE_CONFIG", "other.toml");
    shell.export("ISOCHRONE_LISTEN", "127.0.0.6:0");
    assert_eq!(listening(&shell, ""), "127.0.0.6", "the environment before the file that it names");

    write(&shell, "wrong.toml", "[scheduler]\nlisten = '127.0.0.2:0'\npolcy = 'heft'\n");
    let error = shell.fail("isochrone scheduler --config wrong.toml");
    assert!(error.contains("wrong.toml") && error.contains("line 3") && error.contains("polcy"), "{error}");
    let error = shell.fail("isochrone scheduler --config none.toml");
    assert!(error.contains("none.toml"), "{error}");
}

#[test]
fn a_sessions_policy_comes_from_flag_environment_file_and_farm_in_that_order() {
    let mut shell = Shell::new();
    slow_graph(&shell);
    let farm = farm(&mut shell, "--policy eager");
    let policy = |shell: &Shell, flags: &str| {
        let summary = shell.json(&format!("isochrone run slow.toml --json {flags}"));
        summary["policy"].as_str().unwrap().to_owned()
    };
    assert_eq!(policy(&shell, ""), "eager");
    write(&shell, "isochrone.toml", "[client]\npolicy = 'locality'\n");
    assert_eq!(policy(&shell, ""), "locality");
    shell.export("ISOCHRONE_POLICY", "round-robin");
    assert_eq!(policy(&shell, ""), "round-robin");
    assert_eq!(policy(&shell, "--policy heft"), "heft");
    let error = shell.fail("isochrone run slow.toml --policy no-such-policy");
    assert!(error.contains("no-such-policy") && error.contains("latency-eft"), "{error}");
    farm.terminate();
}

#[test]
fn a_live_run_tells_why_its_tasks_ran_where_they_ran() {
    let mut shell = Shell::new();
    slow_graph(&shell);
    let farm = farm(&mut shell, "--policy latency-eft");
    let summary = shell.json("isochrone run 'chains(length=3,work=1000000)' --explain link_0_1 --json");
    let told = &summary["explanations"][0];
    assert_eq!(told["task"], "link_0_1", "{summary}");
    let decision = &told["explanation"]["decision"];
    assert_eq!(decision["candidates"].as_array().unwrap().len(), 2, "one for each device: {decision}");
    assert!(decision["reason"].as_str().unwrap().contains("finish"), "{decision}");
    let text = shell.run("isochrone run slow.toml --explain 'wait(1)' --policy heft");
    assert!(text.contains("placed `wait(1)` on agent-") && text.contains("candidate"), "{text}");
    let error = shell.fail("isochrone run slow.toml --explain 'wait(7)'");
    assert!(error.contains("`wait(7)`") && error.contains("wait(0)"), "{error}");
    let error = shell.fail("isochrone run 'chains(length=3)' --explain nobody");
    assert!(error.contains("`nobody`") && error.contains("link_0_0"), "{error}");
    farm.terminate();
}

#[test]
fn a_recorded_run_is_simulated_under_its_policy_and_under_others() {
    let mut shell = Shell::new();
    let farm = farm(&mut shell, "--policy round-robin --journal run.journal");
    // Two chains of four tasks of 50 ms that exchange nothing.
    let graph = "task-bench(pattern=no_comm,width=2,steps=4,work=50000000)";
    let summary = shell.json(&format!("isochrone run '{graph}' --json"));
    assert_eq!(summary["tasks"], 8, "{summary}");
    farm.terminate();
    let shown = shell.json("isochrone sim replay run.journal --policy locality --policy round-robin --json");
    let recorded = shown["recorded_ns"].as_u64().unwrap();
    assert!(recorded >= 200_000_000, "four tasks of 50 ms on each device: {shown}");
    let runs = shown["runs"].as_array().unwrap();
    let labels: Vec<&str> = runs.iter().map(|run| run["policy"].as_str().unwrap()).collect();
    assert_eq!(labels, ["round-robin", "locality", "round-robin"]);
    for run in runs {
        assert_eq!(run["tasks"], shown["tasks"], "{run}");
        let launches =
            run["devices"].as_array().unwrap().iter().map(|device| device["launches"].as_u64().unwrap());
        assert_eq!(launches.sum::<u64>(), 8, "{run}");
    }
    let busy = |place: usize| runs[place]["busy_ns"].as_u64().unwrap();
    assert_eq!(busy(0), busy(2), "a label that is given counts like the one that was recorded");
    // A loaded machine makes the live run longer, never the simulated one.
    assert!((200_000_000..=recorded * 11 / 10).contains(&busy(0)), "{} of {recorded}", busy(0));
    let error = shell.fail("isochrone sim replay run.journal --policy no-such-policy");
    assert!(error.contains("no-such-policy"), "{error}");
}

#[test]
fn devices_status_and_links_are_shown_to_people_and_as_json() {
    let mut shell = Shell::new();
    let farm = farm(&mut shell, "--policy heft");
    let devices = shell.json("isochrone devices --json");
    let devices = devices.as_array().unwrap();
    assert_eq!(devices.len(), 2);
    for device in devices {
        assert!(device["agent"].as_str().unwrap().starts_with("agent-"), "{device}");
        assert_eq!(device["is_present"], true, "{device}");
        assert_eq!(device["facts"]["name"], "modelled", "{device}");
        assert_eq!(device["facts"]["kind"], "Virtual", "{device}");
        assert!(device["facts"]["memory_bytes"].as_u64().unwrap() > 0, "{device}");
    }
    let status = shell.json("isochrone status --json");
    assert!(status["policy"].as_str().unwrap().starts_with("heft"), "{status}");
    assert_eq!(status["agents"].as_array().unwrap().len(), 2);
    assert!(status["sessions"].as_array().unwrap().is_empty());

    let shown = shell.run("isochrone devices");
    assert!(shown.contains("agent-1") && shown.contains("modelled") && shown.contains("2.0 GiB"), "{shown}");
    let shown = shell.run("isochrone status");
    assert!(shown.contains("agent-2") && shown.contains("heft"), "{shown}");

    let links = shell.json("isochrone links --json");
    let of_agent = |link: &&serde_json::Value| link["from"] == "scheduler" && link["to"] == "agent-1";
    let link = links.as_array().unwrap().iter().find(of_agent).expect("the agent has joined");
    assert!(link["round_trip"]["p50"].as_u64().unwrap() > 0, "{link}");
    assert!(link["round_trip"]["samples"].as_u64().unwrap() > 0, "{link}");
    let shown = shell.run("isochrone links");
    assert!(shown.contains("rtt p99") && shown.contains("scheduler"), "{shown}");
    farm.terminate();
}

#[test]
fn a_long_run_shows_a_line_of_progress_where_people_watch() {
    let mut shell = Shell::new();
    slow_graph(&shell);
    let farm = farm(&mut shell, "");
    // `script` gives the command a terminal.
    let shown = shell.run("script -qec 'isochrone run slow.toml' /dev/null");
    assert!(shown.contains("slow: ") && shown.contains(" of 4 commands"), "{shown}");
    let output = shell.output("isochrone run slow.toml");
    assert!(output.status.success());
    assert!(output.stderr.is_empty(), "no progress in a log: {}", String::from_utf8_lossy(&output.stderr));
    farm.terminate();
}

#[test]
fn a_farms_journal_replays_and_its_costs_are_there_for_the_next() {
    let mut shell = Shell::new();
    slow_graph(&shell);
    let first = farm(&mut shell, "--directory farm --journal run.journal");
    shell.run("isochrone run slow.toml");
    first.terminate();
    let report = shell.json("isochrone replay run.journal --json");
    assert_eq!((&report["reproduced"], &report["mismatch"]), (&true.into(), &serde_json::Value::Null));
    assert!(report["events"].as_u64().unwrap() > 10, "{report}");
    assert!(shell.run("isochrone replay run.journal").contains("the same"), "people are told too");
    let costs = shell.path().join("farm/costs");
    let learnt = std::fs::read(&costs).unwrap();
    assert!(!learnt.is_empty());
    // A farm that learns nothing new leaves what is known.
    farm(&mut shell, "--directory farm").terminate();
    assert_eq!(std::fs::read(&costs).unwrap().len(), learnt.len());
    std::fs::write(&costs, b"what no scheduler wrote").unwrap();
    let error = shell.fail("isochrone up --virtual-devices 1 --listen 127.0.0.1:0 --directory farm");
    assert!(error.contains("costs"), "{error}");
}

#[test]
fn a_graph_that_cannot_be_used_is_told_by_file_line_and_key() {
    let mut shell = Shell::new();
    slow_graph(&shell);
    let farm = farm(&mut shell, "");
    write(&shell, "lost.toml", &SLOW.replace("wait.cl", "lost.cl"));
    let error = shell.fail("isochrone run lost.toml");
    assert!(error.contains("lost.toml:6: programs.wait.file: cannot read `lost.cl`"), "{error}");
    let error = shell.fail("isochrone run none.toml");
    assert!(error.contains("none.toml"), "{error}");
    write(&shell, "wait.cl", "kernel void wait(global int *x, int more) {}");
    let error = shell.fail("isochrone run slow.toml");
    assert!(error.contains("takes 2 arguments, 1 were given"), "{error}");
    assert!(!shell.path().join("outputs").exists(), "nothing is written of a run that failed");
    // The farm is none the worse.
    slow_graph(&shell);
    shell.run("isochrone run slow.toml");
    assert!(Path::new(&shell.path().join("outputs/x.npy")).exists());
    farm.terminate();
}

#[test]
fn an_administrator_alone_stops_the_farm() {
    let mut shell = Shell::new();
    shell.run("isochrone cert authority lab --directory certificates");
    for (role, name) in [("scheduler", "head"), ("agent", "one"), ("client", "local"), ("admin", "root")] {
        shell.run(&format!("isochrone cert issue {role} {name} --authority certificates"));
    }
    write(&shell, "devices.toml", DEVICES);
    shell.export("ISOCHRONE_CERTIFICATES", "certificates");
    let mut scheduler = shell.daemon("isochrone scheduler --json --listen 127.0.0.1:0");
    let address = scheduler.json_line()["address"].as_str().unwrap().to_owned();
    shell.export("ISOCHRONE_SCHEDULER", &address);
    let agent = shell.daemon("isochrone agent --virtual devices.toml --listen 127.0.0.1:0");
    shell.await_output("isochrone devices", |printed| printed.contains("small"));
    let error = shell.fail("isochrone shutdown --name local");
    assert!(error.contains("admin"), "{error}");
    shell.run("isochrone shutdown --name root");
    scheduler.ends();
    agent.ends();
}

const DEVICES: &str = "
[[devices]]
name = \"small\"
items_per_us = 1000
launch_overhead_us = 20
memory_bytes = 1048576
host_rate_bytes_per_second = 10000000000
";
