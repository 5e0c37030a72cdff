//! What tasks really take on the devices of a cluster. Never shown to a policy.

use std::collections::HashSet;
use std::hash::Hash;

use isochrone_model::{SharedList, Span};
use isochrone_sched_core::StatedDuration;
use isochrone_workload::task_graph::{TaskCost, TaskGraph};

use crate::cluster::{Cluster, Cost};

/// Durations of every task on every device.
#[derive(Debug)]
pub(super) struct Truth {
    devices: usize,
    /// By task, the row of what it shares with others of its kind.
    row_of: Vec<u32>,
    rows: Vec<Row>,
    /// By task, its work; 0 where it has durations of its own.
    work: Vec<u64>,
    /// By task, the place of its durations in `own`, for tasks with a duration for each device; else `NONE`.
    own_of: Vec<u32>,
    own: Vec<u64>,
}

/// The list that is known and equal: every task may be of a kind of its own, and there are as many entries as devices.
fn shared<T: Clone + Eq + Hash>(known: &mut HashSet<SharedList<T>>, list: SharedList<T>) -> SharedList<T> {
    if let Some(known) = known.get(&list) {
        return known.clone();
    }
    known.insert(list.clone());
    list
}

/// No durations of its own.
const NONE: u32 = u32::MAX;

#[derive(Debug)]
struct Row {
    rates: SharedList<StatedDuration>,
    legal: SharedList<bool>,
}

impl Truth {
    /// Of a graph on a cluster. `columns` have been checked to fit.
    pub fn new(graph: &TaskGraph, cluster: &Cluster) -> Self {
        let devices: Vec<_> = cluster.devices().map(|(_, _, device)| device).collect();
        let mut rows: Vec<Row> = Vec::new();
        let mut row_of_kind = std::collections::HashMap::new();
        let mut truth = Self {
            devices: devices.len(),
            row_of: Vec::with_capacity(graph.tasks.len()),
            rows: Vec::new(),
            work: Vec::with_capacity(graph.tasks.len()),
            own_of: Vec::with_capacity(graph.tasks.len()),
            own: Vec::new(),
        };
        let mut last: Option<(&str, usize)> = None;
        let (mut known_rates, mut known_legal) = (HashSet::new(), HashSet::new());
        for task in &graph.tasks {
            let own = match &task.cost {
                TaskCost::Work(_) => None,
                TaskCost::PerDevice(nanos) => {
                    let cost = Cost::PerDevice { nanos, columns: &graph.device_columns };
                    let durations = devices.iter().enumerate().map(|(place, device)| {
                        let duration = device.duration(place, &task.kind, cost);
                        duration.map_or(u64::MAX, |span| span.saturating_add(device.launch).0)
                    });
                    Some(durations.collect::<Vec<u64>>())
                }
            };
            // A device that has no column of the graph's cannot run the task either.
            let missing =
                own.as_ref().map(|own| own.iter().map(|nanos| *nanos == u64::MAX).collect::<Vec<_>>());
            let missing = missing.filter(|missing| missing.contains(&true));
            // Most tasks are of the kind of the one before.
            let before = last.filter(|(kind, _)| missing.is_none() && *kind == task.kind).map(|(_, row)| row);
            let has_all = missing.is_none();
            let row = before.unwrap_or_else(|| {
                *row_of_kind.entry((task.kind.as_str(), missing)).or_insert_with_key(|(kind, missing)| {
                    let rates = devices.iter().map(|device| StatedDuration {
                        base: device.launch,
                        nanos_per_mega_item: device.nanos_per_mega_work(kind).unwrap_or(0),
                    });
                    let is_missing = |place: usize| missing.as_ref().is_some_and(|missing| missing[place]);
                    let legal = devices.iter().enumerate().map(|(place, device)| {
                        device.nanos_per_mega_work(kind).is_some() && !is_missing(place)
                    });
                    let rates = shared(&mut known_rates, rates.collect());
                    rows.push(Row { rates, legal: shared(&mut known_legal, legal.collect()) });
                    rows.len() - 1
                })
            });
            last = has_all.then_some((task.kind.as_str(), row));
            truth.row_of.push(row as u32);
            truth.work.push(match &task.cost {
                TaskCost::Work(work) => *work,
                TaskCost::PerDevice(_) => 0,
            });
            truth.own_of.push(match own {
                Some(durations) => {
                    truth.own.extend(durations);
                    (truth.own.len() / truth.devices) as u32 - 1
                }
                None => NONE,
            });
        }
        truth.rows = rows;
        truth
    }

    /// What a task takes on a device, launch included.
    pub fn duration(&self, task: usize, device: usize) -> Span {
        match self.own_of[task] {
            NONE => self.rows[self.row_of(task)].rates[device].of(self.work[task].max(1)),
            own => Span(self.own[own as usize * self.devices + device]),
        }
    }

    /// A task's work; `None` where it has durations of its own.
    pub fn work_of(&self, task: usize) -> Option<u64> {
        (self.own_of[task] == NONE).then(|| self.work[task])
    }

    /// What a task shares with others of its kind that can run on the same devices; counted from 0.
    pub fn row_of(&self, task: usize) -> usize {
        self.row_of[task] as usize
    }

    /// On which devices a task may run.
    pub fn legal_of(&self, task: usize) -> &[bool] {
        &self.rows[self.row_of(task)].legal
    }

    /// By device, what a task's kind takes for its work.
    pub fn rates_of(&self, task: usize) -> &SharedList<StatedDuration> {
        &self.rows[self.row_of(task)].rates
    }

    /// By device, the durations of a task that has its own; `u64::MAX` where it cannot run.
    pub fn durations_of(&self, task: usize) -> Vec<u64> {
        (0..self.devices).map(|device| self.duration(task, device).0).collect()
    }
}
