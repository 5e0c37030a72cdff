//! Task graphs on a live farm: tasks that keep devices busy, data as real bytes.

use std::time::Duration;

use isochrone_client::SessionOptions;
use isochrone_model::DeviceKind;
use isochrone_model::units::BytesPerSecond;
use isochrone_node_agent::opencl::OpenClOptions;
use isochrone_node_agent::virtual_devices::{VirtualDevice, VirtualOptions};
use isochrone_testbed::{Devices, Farm, FarmOptions, TaskGraphReport, TaskWork, has_opencl, run_task_graph};
use isochrone_workload::task_graph::{TaskGraph, generate};

fn graph(spec: &str) -> TaskGraph {
    generate(&spec.parse().unwrap()).unwrap()
}

async fn run(graph: &TaskGraph, devices: &Devices, agents: usize) -> TaskGraphReport {
    let farm = Farm::start(FarmOptions::in_process().agents(agents, devices)).await.unwrap();
    let client = farm.connect().await.unwrap();
    let session = client.session(SessionOptions::new()).await.unwrap();
    let present = client.devices().await.unwrap();
    let report = run_task_graph(graph, &session, &present, &mut |_| {}).await.unwrap();
    session.close().await.unwrap();
    client.close().await;
    farm.stop().await;
    report
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn virtual_devices_take_a_tasks_work() {
    let device = VirtualDevice::new("modelled", 1_000, 1 << 30, BytesPerSecond(10_000_000_000));
    let devices = Devices::Virtual(VirtualOptions { devices: vec![device], spin: false, seed: 0 });
    let graph = graph("cholesky(tiles=3,work=2000000,ccr=0.1,seed=1)");
    let report = run(&graph, &devices, 2).await;
    assert_eq!(report.work, TaskWork::Items);
    assert_eq!(report.tasks, graph.tasks.len());
    assert_eq!(report.verified_bytes, None, "virtual devices compute nothing");
    let work: u128 = graph.total_work_ns();
    let busy: Duration = report.executions.iter().sum();
    assert!(busy.as_nanos() >= work, "{busy:?} of at least {work} ns");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn opencl_devices_leave_the_right_bytes_in_every_item() {
    let options = OpenClOptions { kinds: vec![DeviceKind::Cpu], ..OpenClOptions::default() };
    if !has_opencl(&options) {
        return;
    }
    for spec in [
        "cholesky(tiles=4,work=200000,ccr=0.5,seed=1)",
        "layered(tasks=30,work=200000,ccr=1,seed=2)",
        "map-reduce(maps=8,reduces=4,work=200000,ccr=0.3,seed=3)",
    ] {
        let graph = graph(spec);
        let report = run(&graph, &Devices::OpenCl(options.clone()), 3).await;
        assert!(matches!(report.work, TaskWork::Rounds { per_microsecond } if per_microsecond > 1.0));
        assert!(report.verified_bytes.unwrap() > 0, "{spec}: items that no task reads were read back");
    }
}
