//! A run as a trace that Perfetto and Chrome open: Trace Event Format, JSON.
//!
//! Processes are the scheduler and the agents; an agent's tracks are its slots, what arrives from each sender, and how
//! many tasks wait at each device. Decisions of a run that kept them have their reason and candidates with them. Transfers are arrows from the task that made the contents to those that read them.

use std::collections::BTreeMap;

use isochrone_model::message::Decision;
use isochrone_model::{Span, Timestamp};
use isochrone_workload::task_graph::TaskGraph;
use serde_json::{Value, json};

use crate::cluster::{Cluster, Party};
use crate::explanation::party_name;
use crate::simulation::{Outcome, OutrunRun, TaskDecision, TaskRun, TransferRun};

/// The trace of a run.
#[must_use]
pub fn chrome_trace(graph: &TaskGraph, cluster: &Cluster, outcome: &Outcome) -> Value {
    let mut writer = Writer { graph, cluster, outcome, events: Vec::new(), track_of_slot: Vec::new() };
    writer.name_tracks();
    writer.tasks();
    writer.decisions();
    writer.queues();
    writer.transfers();
    json!({
        "displayTimeUnit": "ms",
        "otherData": { "makespan_ns": outcome.makespan.0, "digest": outcome.digest() },
        "traceEvents": writer.events,
    })
}

/// Tracks of what arrives come behind those of slots.
const ARRIVALS: usize = 1_000_000;
const SCHEDULER: usize = 1;

struct Writer<'a> {
    graph: &'a TaskGraph,
    cluster: &'a Cluster,
    outcome: &'a Outcome,
    events: Vec<Value>,
    /// By device: the process, and the first slot's track.
    track_of_slot: Vec<(usize, usize)>,
}

/// Microseconds, as the format wants them; three digits are nanoseconds.
fn micros(nanos: u64) -> f64 {
    nanos as f64 / 1e3
}

fn at(time: Timestamp) -> f64 {
    micros(time.0)
}

fn lasting(span: Span) -> f64 {
    micros(span.0)
}

fn process_of(party: Party) -> usize {
    match party {
        Party::Scheduler => SCHEDULER,
        Party::Client => 2,
        Party::Agent(place) => place + 3,
    }
}

/// Why, and what each candidate was expected to take, in microseconds from the decision on.
fn weighed(decision: &Decision) -> Value {
    let candidates = decision.candidates.iter().map(|candidate| {
        json!({
            "device": candidate.name,
            "queueing_us": lasting(candidate.queueing), "transfer_us": lasting(candidate.transfer),
            "execution_us": lasting(candidate.execution), "finish_us": lasting(candidate.finish),
        })
    });
    json!({
        "policy": decision.policy, "reason": decision.reason, "candidates": candidates.collect::<Vec<_>>(),
    })
}

impl Writer<'_> {
    fn name(&mut self, process: usize, track: Option<usize>, name: &str) {
        let what = if track.is_some() { "thread_name" } else { "process_name" };
        self.events.push(json!({
            "ph": "M", "name": what, "pid": process, "tid": track.unwrap_or(0), "args": { "name": name },
        }));
    }

    fn name_tracks(&mut self) {
        self.name(SCHEDULER, None, "scheduler");
        self.name(SCHEDULER, Some(1), "decisions");
        self.name(process_of(Party::Client), None, "client");
        for (place, agent) in self.cluster.agents.iter().enumerate() {
            let process = process_of(Party::Agent(place));
            self.name(process, None, &agent.name);
            let mut track = 1;
            for device in &agent.devices {
                self.track_of_slot.push((process, track));
                for slot in 0..device.slots {
                    self.name(process, Some(track), &format!("{} slot {slot}", device.name));
                    track += 1;
                }
            }
        }
    }

    fn track(&self, task: usize) -> (usize, usize) {
        self.track_of(&self.outcome.tasks[task])
    }

    fn track_of(&self, run: &TaskRun) -> (usize, usize) {
        let (process, first) = self.track_of_slot[run.device];
        (process, first + run.slot)
    }

    fn tasks(&mut self) {
        for (place, (task, run)) in self.graph.tasks.iter().zip(&self.outcome.tasks).enumerate() {
            let (process, track) = self.track(place);
            self.events.push(json!({
                "ph": "X", "name": task.name, "cat": task.kind, "pid": process, "tid": track,
                "ts": at(run.start), "dur": lasting(run.finish.since(run.start)),
                "args": {
                    "kind": task.kind, "placed_us": at(run.placed), "ordered_us": at(run.ordered),
                    "attempts": run.attempts,
                },
            }));
        }
        for OutrunRun { task, run } in &self.outcome.outrun {
            let (process, track) = self.track_of(run);
            let task = &self.graph.tasks[*task];
            self.events.push(json!({
                "ph": "X", "name": format!("{} (outrun)", task.name), "cat": task.kind, "pid": process,
                "tid": track, "ts": at(run.start), "dur": lasting(run.finish.since(run.start)),
                "args": { "kind": task.kind, "is_outrun": true },
            }));
        }
    }

    fn decisions(&mut self) {
        let mut is_kept = vec![false; self.graph.tasks.len()];
        for TaskDecision { task, at: time, decision } in &self.outcome.decisions {
            is_kept[*task] = true;
            self.events.push(json!({
                "ph": "i", "s": "t", "name": format!("{} to {}", self.graph.tasks[*task].name, decision.chosen),
                "cat": "decision", "pid": SCHEDULER, "tid": 1, "ts": at(*time), "args": weighed(decision),
            }));
        }
        let tasks = self.graph.tasks.iter().zip(&self.outcome.tasks).zip(is_kept);
        for ((task, run), _) in tasks.filter(|(_, is_kept)| !is_kept) {
            let device = self.outcome.devices.get(run.device).map_or("", |device| device.name.as_str());
            self.events.push(json!({
                "ph": "i", "s": "t", "name": format!("{} to {device}", task.name), "cat": "decision",
                "pid": SCHEDULER, "tid": 1, "ts": at(run.placed),
            }));
        }
    }

    /// How many tasks are ordered to a device and have not begun.
    fn queues(&mut self) {
        let mut changes: BTreeMap<(usize, Timestamp), i64> = BTreeMap::new();
        for run in &self.outcome.tasks {
            *changes.entry((run.device, run.ordered.min(run.start))).or_default() += 1;
            *changes.entry((run.device, run.start)).or_default() -= 1;
        }
        let (mut device_before, mut waiting) = (usize::MAX, 0);
        for ((device, time), change) in changes {
            if device != device_before {
                (device_before, waiting) = (device, 0);
            }
            waiting += change;
            let (process, _) = self.track_of_slot[device];
            let name = self.outcome.devices.get(device).map_or("", |device| device.name.as_str());
            self.events.push(json!({
                "ph": "C", "name": format!("waiting at {name}"), "pid": process, "ts": at(time),
                "args": { "tasks": waiting },
            }));
        }
    }

    fn transfers(&mut self) {
        let consumers = self.graph.consumers();
        let mut named: BTreeMap<(usize, usize), ()> = BTreeMap::new();
        for (number, transfer) in self.outcome.transfers.iter().enumerate() {
            let process = process_of(transfer.to());
            let track = ARRIVALS + process_of(transfer.from());
            if named.insert((process, track), ()).is_none() {
                self.name(
                    process,
                    Some(track),
                    &format!("from {}", party_name(self.cluster, transfer.from())),
                );
            }
            let item = transfer.item().and_then(|item| self.graph.items.get(item));
            let name = item.map_or("memory", |item| item.name.as_str()).to_owned();
            // Asynchronous slices may overlap on one track, as transfers do.
            for (phase, time) in [("b", transfer.start), ("e", transfer.finish)] {
                self.events.push(json!({
                    "ph": phase, "cat": "transfer", "name": name, "id": number, "pid": process, "tid": track,
                    "ts": at(time), "args": { "bytes": transfer.size_bytes },
                }));
            }
            if let Some(item) = transfer.item() {
                self.arrows(number, transfer, item, &consumers[item]);
            }
        }
    }

    fn arrows(&mut self, number: usize, transfer: &TransferRun, item: usize, consumers: &[usize]) {
        let Some(producer) = self.graph.items[item].producer else { return };
        let readers: Vec<usize> = consumers
            .iter()
            .copied()
            .filter(|reader| {
                let run = &self.outcome.tasks[*reader];
                process_of(transfer.to()) == self.track_of_slot[run.device].0 && run.start >= transfer.finish
            })
            .collect();
        let Some(reader) =
            readers.into_iter().min_by_key(|reader| (self.outcome.tasks[*reader].start, *reader))
        else {
            return;
        };
        let ends = [
            ("s", producer, self.outcome.tasks[producer].finish),
            ("f", reader, self.outcome.tasks[reader].start),
        ];
        for (phase, task, time) in ends {
            let (process, track) = self.track(task);
            self.events.push(json!({
                "ph": phase, "bp": "e", "cat": "data", "name": self.graph.items[item].name, "id": number,
                "pid": process, "tid": track, "ts": at(time),
            }));
        }
    }
}
