//! The `shared` network against flow completion times that SimGrid computed.
//!
//! The fixture `fixtures/simgrid-flows.json` holds platforms, flows and SimGrid's times, so that no SimGrid is needed. Where it is
//! installed (Debian: `libsimgrid-dev`, and a C++ compiler) further random cases are computed on the spot. To make the fixture
//! anew: `ISOCHRONE_WRITE_FIXTURE=1 cargo test -p isochrone-sim --test simgrid_flows`.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path as FilePath, PathBuf};
use std::process::{Command, Stdio};

use isochrone_model::{BytesPerSecond, Span, Timestamp};
use isochrone_sim::cluster::{Access, Cluster, Latency, LinkSpec, Party, Path, Topology};
use isochrone_sim::network::network;
use isochrone_sim::random::Random;
use serde::{Deserialize, Serialize};

/// Times may differ by this part of themselves: SimGrid counts in floating point.
const RELATIVE: f64 = 1e-7;
const ABSOLUTE_SECONDS: f64 = 1e-7;

#[derive(Serialize, Deserialize)]
struct Fixture {
    made_by: String,
    cases: Vec<Case>,
}

/// A platform, flows over it, and when SimGrid says that they end.
#[derive(Serialize, Deserialize)]
struct Case {
    latency_nanos: u64,
    /// Up and down rates of hosts, bytes a second.
    hosts: Vec<(u64, u64)>,
    /// Rates of cables that pairs share.
    cables: Vec<u64>,
    /// From, to, rate of its own, and the cable in its place.
    paths: Vec<(usize, usize, u64, Option<usize>)>,
    /// From, to, bytes, start in nanoseconds.
    flows: Vec<(usize, usize, u64, u64)>,
    end_seconds: Vec<f64>,
}

fn random_case(random: &mut Random) -> Case {
    let hosts = 2 + random.below(7) as usize;
    let rate = |random: &mut Random| 10_000 * (1 + random.below(5_000));
    let cables: Vec<u64> = (0..random.below(3)).map(|_| rate(random)).collect();
    let mut paths = Vec::new();
    for (from, to) in (0..hosts).flat_map(|from| (0..hosts).map(move |to| (from, to))) {
        if from != to {
            let cable = random.below(2 * cables.len() as u64 + 1) as usize;
            paths.push((from, to, rate(random), Some(cable).filter(|cable| *cable < cables.len())));
        }
    }
    let flows = (0..1 + random.below(30))
        .map(|_| {
            let from = random.below(hosts as u64) as usize;
            let to = (from + 1 + random.below(hosts as u64 - 1) as usize) % hosts;
            // Whole microseconds, which floating point seconds hold well enough.
            let bytes = 1 + random.below(5_000_000);
            let latest = 1 + random.below(2_000_000);
            (from, to, bytes, 1_000 * random.below(latest))
        })
        .collect();
    Case {
        latency_nanos: [0, 1_000, 5_000_000, 40_000_000][random.below(4) as usize],
        hosts: (0..hosts).map(|_| (rate(random), rate(random))).collect(),
        cables,
        paths,
        flows,
        end_seconds: Vec::new(),
    }
}

/// What the C++ program reads.
fn text(case: &Case) -> String {
    let seconds = |nanos: u64| nanos as f64 / 1e9;
    let mut text = format!("{} {} {}\n", case.hosts.len(), seconds(case.latency_nanos), case.cables.len());
    for (up, down) in &case.hosts {
        let _ = writeln!(text, "{up} {down}");
    }
    for rate in &case.cables {
        let _ = writeln!(text, "{rate}");
    }
    let _ = writeln!(text, "{}", case.paths.len());
    for (from, to, rate, cable) in &case.paths {
        let cable = cable.map_or(-1, |cable| cable as i64);
        let _ = writeln!(text, "{from} {to} {rate} {cable}");
    }
    let _ = writeln!(text, "{}", case.flows.len());
    for (from, to, bytes, start) in &case.flows {
        let _ = writeln!(text, "{from} {to} {bytes} {}", seconds(*start));
    }
    text
}

/// The ends by `shared`. The first two hosts take the places of scheduler and client.
fn our_ends(case: &Case) -> Vec<f64> {
    let access = |(up, down): &(u64, u64)| Access {
        up: BytesPerSecond(*up),
        down: BytesPerSecond(*down),
        ..Access::UNLIMITED
    };
    let latency = Latency::Fixed(Span(case.latency_nanos));
    let link = |rate: u64| LinkSpec { latency: latency.clone(), bandwidth: BytesPerSecond(rate), loss: 0.0 };
    let mut paths: Vec<Path> =
        case.cables.iter().map(|rate| Path { link: link(*rate), is_shared: true }).collect();
    let own = paths.len();
    paths.extend(case.paths.iter().map(|(_, _, rate, _)| Path { link: link(*rate), is_shared: false }));
    let topology = Topology::new(case.hosts.iter().map(access).collect(), paths, |from, to| {
        let is_this =
            |path: &(usize, usize, u64, Option<usize>)| (path.0, path.1) == (from.place(), to.place());
        let index = case.paths.iter().position(is_this).expect("a path for each pair");
        case.paths[index].3.unwrap_or(own + index)
    });
    let mut cluster = Cluster::from_label("uniform").expect("a cluster");
    cluster.topology = topology;
    let mut network = network("shared", &cluster, 0).expect("a network");
    let mut order: Vec<usize> = (0..case.flows.len()).collect();
    order.sort_by_key(|flow| case.flows[*flow].3);
    let (mut ends, mut started, mut done) = (vec![f64::NAN; order.len()], Vec::new(), Vec::new());
    loop {
        let start = order.get(started.len()).map(|flow| Timestamp(case.flows[*flow].3));
        let Some(at) = [start, network.next_event()].into_iter().flatten().min() else {
            return ends;
        };
        network.advance(at, &mut done);
        for (id, _) in done.drain(..) {
            let place = started.iter().position(|other| *other == id).expect("a transfer that started");
            ends[order[place]] = at.0 as f64 / 1e9;
        }
        while let Some(&flow) = order.get(started.len())
            && case.flows[flow].3 == at.0
        {
            let (from, to, bytes, _) = case.flows[flow];
            started.push(network.start(at, Party::at(from), Party::at(to), bytes));
        }
    }
}

/// The largest difference, as a part of the time.
fn compare(case: &Case) -> f64 {
    assert_eq!(case.flows.len(), case.end_seconds.len());
    let mut largest = 0.0_f64;
    for (flow, (ours, theirs)) in our_ends(case).iter().zip(&case.end_seconds).enumerate() {
        let difference = (ours - theirs).abs();
        assert!(
            difference <= ABSOLUTE_SECONDS + RELATIVE * theirs,
            "flow {flow} ends at {ours} s, SimGrid says {theirs} s; case:\n{}",
            text(case)
        );
        largest = largest.max(difference / theirs);
    }
    largest
}

fn fixture_path() -> PathBuf {
    FilePath::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/simgrid-flows.json")
}

/// The compiled C++ program, if there is what it takes.
fn simgrid(folder: &FilePath) -> Option<PathBuf> {
    if !FilePath::new("/usr/include/simgrid/s4u.hpp").exists() {
        return None;
    }
    let program = folder.join("simgrid-flows");
    let source = FilePath::new(env!("CARGO_MANIFEST_DIR")).join("tests/simgrid/flows.cpp");
    let compiler = Command::new("c++")
        .args(["-std=c++17", "-O1", "-o"])
        .arg(&program)
        .arg(source)
        .arg("-lsimgrid")
        .output();
    match compiler {
        Ok(output) if output.status.success() => Some(program),
        Ok(output) => panic!("{}", String::from_utf8_lossy(&output.stderr)),
        Err(_) => None,
    }
}

fn solve(program: &FilePath, case: &mut Case) {
    let mut child = Command::new(program)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the program starts");
    child.stdin.take().expect("its input").write_all(text(case).as_bytes()).expect("it reads");
    let output = child.wait_with_output().expect("it ends");
    assert!(output.status.success(), "SimGrid solves the case");
    let lines = String::from_utf8(output.stdout).expect("text");
    case.end_seconds = lines.lines().map(|line| line.parse().expect("a number")).collect();
}

#[test]
fn ends_agree_with_simgrids() {
    let text = std::fs::read_to_string(fixture_path()).expect("the fixture");
    let fixture: Fixture = serde_json::from_str(&text).expect("its format");
    assert!(fixture.cases.len() >= 50);
    let largest = fixture.cases.iter().map(compare).fold(0.0, f64::max);
    println!("{} cases, largest relative difference {largest:.1e}", fixture.cases.len());
}

#[test]
fn ends_agree_with_simgrid_itself() {
    let folder = tempfile::tempdir().expect("a folder");
    let Some(program) = simgrid(folder.path()) else {
        println!("skipped: no SimGrid here (Debian: libsimgrid-dev)");
        return;
    };
    if std::env::var_os("ISOCHRONE_WRITE_FIXTURE").is_some() {
        let mut random = Random::new(20);
        let mut cases: Vec<Case> = (0..60).map(|_| random_case(&mut random)).collect();
        cases.iter_mut().for_each(|case| solve(&program, case));
        let made_by = "SimGrid 3.32, CM02 without TCP corrections, by tests/simgrid/flows.cpp and tests/simgrid_flows.rs";
        let fixture = Fixture { made_by: made_by.to_owned(), cases };
        let text =
            serde_json::to_string(&fixture).expect("it serialises").replace("{\"latency", "\n{\"latency");
        std::fs::write(fixture_path(), text + "\n").expect("it is written");
    }
    let mut random = Random::new(21);
    let mut largest = 0.0_f64;
    for _ in 0..40 {
        let mut case = random_case(&mut random);
        solve(&program, &mut case);
        largest = largest.max(compare(&case));
    }
    println!("40 cases, largest relative difference {largest:.1e}");
}
