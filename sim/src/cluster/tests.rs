//! Tests of clusters: durations, files and their errors.

use std::collections::BTreeMap;

use isochrone_model::{BytesPerSecond, Span};

use super::*;

fn device() -> ClusterDevice {
    ClusterDevice {
        name: "gpu".to_owned(),
        speed: 4.0,
        slots: 1,
        memory_bytes: u64::MAX,
        launch: Span::ZERO,
        host_rate: UNLIMITED,
        column: None,
        kinds: BTreeMap::from([
            ("gemm".to_owned(), KindSpeed::Speed(0.5)),
            ("io".to_owned(), KindSpeed::CannotRun),
        ]),
    }
}

#[test]
fn work_is_divided_by_the_speed_of_its_kind_and_rounded_down() {
    let device = device();
    assert_eq!(device.duration(0, "any", Cost::Work(11)), Some(Span(2)));
    assert_eq!(device.duration(0, "gemm", Cost::Work(11)), Some(Span(22)));
    assert_eq!(device.duration(0, "io", Cost::Work(11)), None);
    let whole = ClusterDevice { speed: 1.0, ..device };
    assert_eq!(whole.duration(0, "any", Cost::Work(u64::MAX - 1)), Some(Span(u64::MAX - 1)));
}

#[test]
fn columns_go_by_name_or_else_by_place() {
    let columns = ["slow".to_owned(), "fast".to_owned()];
    let cost = Cost::PerDevice { nanos: &[70, 7], columns: &columns };
    let mut device = device();
    assert_eq!(device.duration(0, "any", cost), Some(Span(70)));
    assert_eq!(device.duration(1, "any", cost), Some(Span(7)));
    assert_eq!(device.duration(2, "any", cost), None);
    assert_eq!(device.duration(1, "io", cost), None);
    device.column = Some("fast".to_owned());
    assert_eq!(device.duration(0, "any", cost), Some(Span(7)));
    device.column = Some("other".to_owned());
    assert_eq!(device.duration(0, "any", cost), None);
}

#[test]
fn places_of_parties_lead_back_to_them() {
    for party in [Party::Scheduler, Party::Client, Party::Agent(0), Party::Agent(9)] {
        assert_eq!(Party::at(party.place()), party);
    }
    assert!(Party::Scheduler < Party::Client && Party::Client < Party::Agent(0));
}

const WHOLE: &str = r#"
name = "two sites"
inputs_at = "client"
default_link = "campus"

[presets]
slow = { latency_us = 500, bandwidth_mbit = 8 }

[client]
site = "home"
access = { preset = "wifi", down_mbit = 200 }

[scheduler]
site = "far"

[[agents]]
name = "laptop"
site = "home"
[[agents.devices]]
speed = 0.5

[[agents]]
name = "gpu"
count = 2
site = "far"
access = { up_mbit = 1000, down_mbit = 2000, latency_us = 10 }
host_memory_gib = 64
[[agents.devices]]
name = "card"
count = 2
speed = 8
slots = 2
memory_gib = 1.5
launch_us = 7.5
host_copy_mbit = 128_000
column = "gpu"
kinds = { gemm = 20.5, io = "cannot run" }

[[links]]
between = ["home", "far"]
link = { preset = "transatlantic", bandwidth_mbit = 400 }
shared = true

[[links]]
from = "laptop"
to = "gpu-1"
link = { latency_us = { mean_us = 900, deviation_us = 30, min_us = 800 }, bandwidth_mbit = "unlimited", loss = 0.25 }

[[links]]
between = ["gpu", "scheduler"]
link = "slow"
"#;

#[test]
fn a_whole_file_means_what_it_says() {
    let cluster = Cluster::parse(WHOLE, "whole.toml").unwrap();
    let names: Vec<&str> = cluster.agents.iter().map(|agent| agent.name.as_str()).collect();
    assert_eq!((cluster.name.as_str(), names), ("two sites", vec!["laptop", "gpu-0", "gpu-1"]));
    assert_eq!((cluster.inputs_at, cluster.devices().count()), (InputPlace::Client, 5));
    let card = &cluster.agents[2].devices[1];
    assert_eq!((card.name.as_str(), card.slots, card.memory_bytes), ("card-1", 2, 3 << 29));
    assert_eq!((card.launch, card.host_rate), (Span(7_500), BytesPerSecond(16_000_000_000)));
    assert_eq!(card.kinds["gemm"], KindSpeed::Speed(20.5));
    assert_eq!(cluster.duration(1, "io", Cost::Work(5)), None);
    let (laptop, gpu, other) = (Party::Agent(0), Party::Agent(1), Party::Agent(2));
    // The site's link, shared; the client's own access on top.
    assert!(cluster.topology.path(laptop, gpu).1.is_shared);
    assert_eq!(cluster.topology.path(laptop, gpu).0, cluster.topology.path(Party::Client, gpu).0);
    assert_ne!(cluster.topology.path(laptop, gpu).0, cluster.topology.path(gpu, laptop).0);
    assert_eq!(cluster.link(laptop, gpu).bandwidth, BytesPerSecond(50_000_000));
    assert_eq!(cluster.topology.access(Party::Client).down, BytesPerSecond(25_000_000));
    assert_eq!(cluster.topology.access(Party::Client).up, BytesPerSecond(37_500_000));
    // The pair's own link wins over the sites', in its direction only.
    let own = cluster.link(laptop, other);
    assert_eq!((own.bandwidth, own.loss), (BytesPerSecond(250_000_000), 0.25));
    assert!(own.latency.mean().0.abs_diff(910_000) < 200);
    assert_eq!(cluster.link(other, laptop).bandwidth, BytesPerSecond(50_000_000));
    // A group's link wins over the default; access latency is added.
    assert_eq!(
        cluster.link(gpu, Party::Scheduler),
        LinkSpec::fixed(Span(510_000), BytesPerSecond(1_000_000))
    );
    // Hosts without access have their fastest path's rate.
    assert_eq!(cluster.topology.access(laptop).down, BytesPerSecond(1_250_000_000));
    assert_eq!(cluster.topology.access(laptop).up, UNLIMITED);
}

#[test]
fn errors_name_file_line_and_key() {
    let lines = |text: &str| Cluster::parse(text, "bad.toml").unwrap_err().to_string();
    let text = "name = 3\ndefault_link = \"camp\"\n\n[[agents]]\nname = \"a\"\ncuont = 2\n\
        [[agents.devices]]\nspeed = -1\n";
    let message = lines(text);
    let found: Vec<&str> = message.lines().collect();
    assert_eq!(found[0], "bad.toml:1: `name`: expected a string, found 3");
    assert!(
        found[1].starts_with(
            "bad.toml:2: `default_link`: there is no preset `camp`; there are same-rack, campus"
        )
    );
    assert!(found.iter().any(|line| {
        line.starts_with("bad.toml:6: `agents[0].cuont`: unknown key; known here are name, count")
    }));
    assert!(
        found
            .iter()
            .any(|line| line.starts_with("bad.toml:8: `agents[0].devices[0].speed`: expected a positive"))
    );
    assert!(lines("a = [").starts_with("bad.toml:1: not valid TOML"));
    let missing = lines("");
    assert!(
        missing.contains("`default_link`: missing;") && missing.contains("`agents`: missing;"),
        "{missing}"
    );
}

#[test]
fn names_links_and_distributions_are_checked() {
    let base = "default_link = \"campus\"\n[[agents]]\nname = \"a\"\nsite = \"s\"\n[[agents.devices]]\n";
    let message = |text: &str| Cluster::parse(&format!("{base}{text}"), "f").unwrap_err().to_string();
    let agent = |name: &str| format!("[[agents]]\nname = \"{name}\"\n[[agents.devices]]\n");
    assert!(message(&agent("a")).contains("the name `a` is already in use by another agent"));
    assert!(message(&agent("client")).contains("a party of every cluster"));
    assert!(message(&agent("s")).contains("the name `s` is already in use"));
    assert!(message(&agent("a b")).contains("expected a name"));
    assert!(
        message("[[links]]\nbetween = [\"a\", \"x\"]\nlink = \"campus\"\n")
            .contains("no party, group or site `x`")
    );
    assert!(message("[[links]]\nbetween = [\"a\"]\nlink = \"campus\"\n").contains("two names"));
    assert!(message("[[links]]\nfrom = \"a\"\nlink = \"campus\"\n").contains("`links[0].to`: missing"));
    let latency = |latency: &str| {
        let link = format!("link = {{ bandwidth_mbit = 1, latency_us = {latency} }}\n");
        message(&format!("[[links]]\nbetween = [\"a\", \"client\"]\n{link}"))
    };
    assert!(latency("-1").contains("not negative"));
    assert!(latency("{ mean_us = 4 }").contains("deviation_us"));
    assert!(latency("{ quantiles_us = [4, 3] }").contains("ascending"));
    assert!(
        latency("{ mean_us = 4, deviation_us = 1, median_us = 3 }").contains("does not go with `mean_us`")
    );
    assert!(message("[[agents]]\nname = \"b\"\ncount = 3000\n[[agents.devices]]\n").contains("whole number"));
    assert!(message("[[agents]]\nname = \"b\"\n").contains("`agents[1].devices`: missing"));
}

#[test]
fn the_shipped_clusters_load() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/clusters");
    let mut loaded = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let cluster = Cluster::load(&path).unwrap_or_else(|error| panic!("{error}"));
        assert!(cluster.devices().count() > 0);
        loaded += 1;
    }
    assert!(loaded >= 5, "{loaded}");
}

#[test]
fn the_example_of_the_documentation_loads() {
    let text = include_str!("../../../docs/cluster-files.md");
    let example = text.split("```toml\n").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
    let cluster = Cluster::parse(example, "docs/cluster-files.md").unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(cluster.devices().count(), 9);
    for preset in presets::names() {
        assert!(text.contains(&format!("| `{preset}` |")), "{preset} is described");
    }
}
