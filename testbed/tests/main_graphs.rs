//! The shipped graphs give right numbers on three agents under every policy, and the journal of the run can
//! be replayed action by action.

use std::path::{Path, PathBuf};
use std::time::Duration;

use isochrone_client::SessionOptions;
use isochrone_model::DeviceKind;
use isochrone_node_agent::opencl::OpenClOptions;
use isochrone_testbed::{Counters, Devices, Farm, FarmOptions, PreparedGraph, RunOptions, has_opencl};
use isochrone_workload::graph_file::Settings;
use isochrone_workload::inputs::{InputOptions, write_inputs};
use isochrone_workload::reference;

const POLICIES: [&str; 6] = ["round-robin", "random(seed=1)", "eager", "locality", "heft", "latency-eft"];
const GRAPHS: [&str; 3] = ["vector-add", "cholesky", "image-pipeline"];

/// A copy of a shipped graph with small inputs of its own.
fn small(name: &str, into: &Path) -> PathBuf {
    let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("../graphs").join(name);
    let to = into.join(name);
    std::fs::create_dir_all(&to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_file() {
            std::fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
        }
    }
    let sizes = InputOptions {
        vector_length: 20_000,
        matrix_order: 128,
        image_width: 301,
        image_height: 203,
        ..InputOptions::default()
    };
    write_inputs(name, &to, &sizes).unwrap();
    to.join("graph.toml")
}

#[tokio::test(flavor = "multi_thread")]
async fn every_policy_computes_the_shipped_graphs_and_the_journal_replays() {
    let processors = OpenClOptions { kinds: vec![DeviceKind::Cpu], ..OpenClOptions::default() };
    if !has_opencl(&processors) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let journal = folder.path().join("run.journal");
    let options = FarmOptions::in_process().agents(3, &Devices::OpenCl(processors)).journal(&journal);
    let farm = Farm::start(options).await.unwrap();
    let client = farm.connect().await.unwrap();
    let capabilities = PreparedGraph::capabilities(&client.devices().await.unwrap());
    for name in GRAPHS {
        let path = small(name, folder.path());
        let settings = Settings { capabilities: capabilities.clone(), ..Settings::default() };
        let graph = PreparedGraph::load(&path, &settings).unwrap();
        for policy in POLICIES {
            let before = Counters::when_quiet(&client).await.unwrap();
            let session = client.session(SessionOptions::new().policy(policy)).await.unwrap();
            let mut silent = |_| {};
            let run =
                graph.run(&session, RunOptions { builds_awaited: 3, ..RunOptions::default() }, &mut silent);
            let report = tokio::time::timeout(Duration::from_secs(120), run).await.expect("in time");
            let report = report.unwrap_or_else(|error| panic!("{name} under {policy}: {error}"));
            let verified = reference::verify(name, graph.file(), &report.outputs)
                .unwrap_or_else(|error| panic!("{name} under {policy}: {error}"));
            assert!(verified.numbers_checked > 0);
            session.close().await.unwrap();
            let uses = before.until(&Counters::when_quiet(&client).await.unwrap());
            let busy_agents = uses.devices.iter().filter(|device| device.commands > 0).count();
            if policy == "round-robin" && name != "vector-add" {
                assert_eq!(busy_agents, 3, "{name}: round-robin uses every agent");
                assert!(uses.moved_bytes > 0, "{name}: agents send each other what they made");
            }
        }
    }
    client.close().await;
    farm.stop().await;
    let report = isochrone_scheduler::replay(&journal).unwrap();
    assert!(report.mismatch.is_none(), "{:?}", report.mismatch);
    assert!(report.truncated_at_bytes.is_none());
    assert!(report.events > 100 && report.actions > 100, "{report:?}");
}
