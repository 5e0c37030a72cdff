//! One run, told whole: what `isochrone sim run --json` prints (`docs/run-report.schema.json`).

use isochrone_workload::task_graph::TaskGraph;
use serde::{Serialize, Serializer};

use crate::cluster::Cluster;
use crate::simulation::{Measures, Outcome};

/// How a run was made.
#[derive(Clone, Debug, Default, Serialize)]
pub struct RunSettings {
    /// The graph, as it was named.
    pub graph: String,
    /// The cluster, as it was named.
    pub cluster: String,
    /// The policy's label.
    pub policy: String,
    /// The network model's label.
    pub network: String,
    /// What the scheduler knew.
    pub knowledge: String,
    /// The seed.
    pub seed: u64,
    /// How many commands the client had open at most.
    pub commands_open_max: u64,
    /// What the graph's reader took for granted.
    pub assumptions: Vec<String>,
}

/// A run.
#[derive(Clone, Debug, Serialize)]
pub struct RunReport<'a> {
    /// `isochrone-run-report`.
    pub format: &'static str,
    /// Of this document.
    pub version: u32,
    /// How it was made.
    pub settings: RunSettings,
    /// The measures.
    pub measures: Measures,
    /// What the scheduler's turns took on this machine's clock; the only value that differs from run to run.
    pub decision_time_ns: Option<u64>,
    /// Equal digests mean equal runs.
    pub digest: String,
    /// Steps of all machines.
    pub steps: u64,
    /// Proposals that were refused.
    pub rejections: u64,
    /// By device, in the cluster's order.
    pub devices: Vec<DeviceReport<'a>>,
    /// By task, in the graph's order.
    pub tasks: TaskReports<'a>,
}

/// A device in a run.
#[derive(Clone, Debug, Serialize)]
pub struct DeviceReport<'a> {
    /// `agent/device`.
    pub name: &'a str,
    /// Slots.
    pub slots: usize,
    /// Tasks that ran on it.
    pub tasks: usize,
    /// Busy time over all slots.
    pub busy_ns: u64,
    /// Busy time over makespan and slots.
    pub utilisation: f64,
}

/// The tasks of a run, told one by one as they are written.
#[derive(Clone, Copy, Debug)]
pub struct TaskReports<'a> {
    graph: &'a TaskGraph,
    outcome: &'a Outcome,
}

impl<'a> TaskReports<'a> {
    /// By task, in the graph's order.
    pub fn iter(self) -> impl Iterator<Item = TaskReport<'a>> {
        let Self { graph, outcome } = self;
        graph.tasks.iter().zip(&outcome.tasks).map(move |(task, run)| TaskReport {
            name: &task.name,
            kind: &task.kind,
            device: outcome.devices.get(run.device).map_or("", |device| &device.name),
            slot: run.slot,
            placed_ns: run.placed.0,
            ordered_ns: run.ordered.0,
            start_ns: run.start.0,
            finish_ns: run.finish.0,
            attempts: run.attempts,
        })
    }
}

impl Serialize for TaskReports<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.iter())
    }
}

/// A task in a run. Times count from the submission.
#[derive(Clone, Debug, Serialize)]
pub struct TaskReport<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its kind.
    pub kind: &'a str,
    /// `agent/device`.
    pub device: &'a str,
    /// The slot there.
    pub slot: usize,
    /// When the scheduler decided.
    pub placed_ns: u64,
    /// When the agent had its order.
    pub ordered_ns: u64,
    /// When it began.
    pub start_ns: u64,
    /// When it ended.
    pub finish_ns: u64,
    /// How many times it was begun.
    pub attempts: u32,
}

impl<'a> RunReport<'a> {
    /// Of a run of a graph on a cluster.
    #[must_use]
    pub fn new(
        settings: RunSettings,
        graph: &'a TaskGraph,
        outcome: &'a Outcome,
        measures: Measures,
    ) -> Self {
        let makespan = outcome.makespan.0.max(1) as f64;
        let devices = outcome.devices.iter().map(|device| DeviceReport {
            name: &device.name,
            slots: device.slots,
            tasks: device.tasks,
            busy_ns: device.busy.0,
            utilisation: device.busy.0 as f64 / makespan / device.slots.max(1) as f64,
        });
        Self {
            format: "isochrone-run-report",
            version: 1,
            settings,
            measures,
            decision_time_ns: outcome.decision_time.map(|span| span.0),
            digest: outcome.digest(),
            steps: outcome.steps,
            rejections: outcome.rejections,
            devices: devices.collect(),
            tasks: TaskReports { graph, outcome },
        }
    }
}

/// `agent/device` by the device's place in the cluster.
#[must_use]
pub fn device_name(cluster: &Cluster, place: usize) -> String {
    let found = cluster.devices().nth(place);
    found
        .map(|(agent, _, device)| format!("{}/{}", cluster.agents[agent].name, device.name))
        .unwrap_or_default()
}
