//! What README prints works as printed: its `console` blocks are run in order, as a reader would, beside a farm; the
//! daemons of its `sh` blocks are started as it says, on loopback.

use std::path::Path;
use std::process::Command;

use isochrone_node_agent::opencl::OpenClOptions;
use isochrone_testbed::has_opencl;

use crate::shell::{Shell, readme, root};

/// A shell in a folder with the shipped graphs, samples, studies and clusters.
fn shell_with_graphs() -> Shell {
    let shell = Shell::new();
    for folder in ["graphs", "workload/samples", "sim/studies", "sim/clusters"] {
        let target = shell.path().join(folder);
        std::fs::create_dir_all(target.parent().unwrap()).unwrap();
        let copied = Command::new("cp").arg("-r").arg(root().join(folder)).arg(target).status().unwrap();
        assert!(copied.success());
    }
    shell
}

#[test]
fn commands_and_client_examples_work_as_printed() {
    if !has_opencl(&OpenClOptions::default()) {
        return;
    }
    let mut shell = shell_with_graphs();
    let mut farm = shell
        .daemon("isochrone up --agents 2 --listen 127.0.0.1:0 --json --stop-with-input --directory farm");
    let ready = farm.json_line();
    shell.export("ISOCHRONE_SCHEDULER", ready["scheduler"].as_str().unwrap());
    shell.export("ISOCHRONE_CERTIFICATES", ready["certificates"].as_str().unwrap());
    shell.export("ISOCHRONE_NAME", "local");

    let commands = readme("console");
    assert!(commands.iter().any(|command| command.starts_with("isochrone run ")), "{commands:?}");
    for command in &commands {
        shell.run(command);
    }
    let verified = shell.run("isochrone run graphs/vector-add/graph.toml --verify");
    assert!(verified.contains("verified"), "{verified}");

    // `make unit` builds them; a run of this test alone may find older ones, never none.
    let examples = Path::new(env!("CARGO_BIN_EXE_isochrone")).parent().unwrap().join("examples");
    let sources = std::fs::read_dir(root().join("client/examples")).unwrap();
    let mut count = 0;
    for source in sources {
        let source = source.unwrap().path();
        let example = examples.join(source.file_stem().unwrap());
        assert!(
            example.exists(),
            "{} is not built: run `cargo build --workspace --examples`",
            example.display()
        );
        let printed = shell.run(&example.display().to_string());
        assert!(!printed.trim().is_empty(), "{} prints what it did", example.display());
        count += 1;
    }
    assert!(count >= 7, "every example of the client was run");
    farm.terminate();
}

#[test]
fn a_farm_comes_up_and_prints_how_to_reach_it() {
    if !has_opencl(&OpenClOptions::default()) {
        return;
    }
    let mut shell = shell_with_graphs();
    // Any free port; all else is as printed.
    shell.export("ISOCHRONE_LISTEN", "127.0.0.1:0");
    let command = readme("sh").into_iter().find(|line| line == "isochrone up").expect("README starts a farm");
    let mut farm = shell.daemon(&command);
    let mut exports = Vec::new();
    loop {
        let line = farm.line();
        if let Some((name, value)) = line.trim().strip_prefix("export ").and_then(|line| line.split_once('='))
        {
            exports.push((name.to_owned(), value.to_owned()));
        }
        if line.contains("Ctrl-C stops the farm") {
            break;
        }
    }
    assert_eq!(exports.len(), 3, "{exports:?}");
    for (name, value) in &exports {
        shell.export(name, value);
    }
    let devices = shell.run("isochrone devices");
    assert!(["agent-1", "agent-2", "agent-3"].iter().all(|agent| devices.contains(agent)), "{devices}");
    farm.terminate();
    assert!(shell.fail("isochrone devices --timeout 1").contains("no farm to ask"), "the farm has gone");
}

#[test]
fn daemons_of_real_machines_work_as_printed() {
    if !has_opencl(&OpenClOptions::default()) {
        return;
    }
    let mut shell = Shell::new();
    for command in readme("console").iter().filter(|command| command.starts_with("isochrone cert ")) {
        shell.run(command);
    }
    let find = |start: &str| {
        let lines = readme("sh");
        lines
            .into_iter()
            .find(|line| line.starts_with(start))
            .unwrap_or_else(|| panic!("README has no `{start}`"))
    };
    // One machine stands for all of them: the head is here, on a port that is free.
    let port = std::net::UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let here = |line: String| {
        assert!(line.contains(":7447"), "{line}");
        line.replace("0.0.0.0:7447", &format!("0.0.0.0:{port}"))
            .replace("head:7447", &format!("127.0.0.1:{port}"))
    };
    let scheduler = shell.daemon(&here(find("isochrone scheduler ")));
    shell.export("ISOCHRONE_LISTEN", "127.0.0.1:0");
    let agent = shell.daemon(&here(find("isochrone agent ")));
    let devices = here(find("ISOCHRONE_SCHEDULER="));
    shell.await_output(&devices, |printed| printed.contains("gpu-1"));
    agent.terminate();
    shell.await_output(&devices, |printed| printed.contains("gpu-1") && printed.contains("no"));
    scheduler.terminate();
}
