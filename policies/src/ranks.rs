//! Upward ranks: the longest expected way from a task to the end of the graph.
//!
//! After Topcuoglu, Hariri and Wu (2002), with this project's conventions: mean execution over the legal
//! devices, mean communication over unordered pairs of different devices of latency plus size over
//! bandwidth, and zero for what stays on one device.

use std::collections::HashMap;

use isochrone_model::{DeviceId, Span};
use isochrone_sched_core::{TaskIndex, View};

/// Mean cost of moving bytes between two different devices: a constant and a slope.
pub(crate) struct MeanTransfer {
    constant: Span,
    per_mebibyte: Span,
}

impl MeanTransfer {
    pub fn new(view: &View<'_>) -> Self {
        let devices: Vec<DeviceId> = view.devices().collect();
        let (mut constant, mut per_mebibyte, mut pairs) = (0_u128, 0_u128, 0_u128);
        for (place, first) in devices.iter().enumerate() {
            for second in &devices[place + 1..] {
                let (from, to) = (view.agent_of(*first), view.agent_of(*second));
                let (small, large) = (view.transfer(from, to, 1), view.transfer(from, to, 1 << 20));
                constant += u128::from(small.0);
                per_mebibyte += u128::from(large.saturating_sub(small).0);
                pairs += 1;
            }
        }
        let mean = |sum: u128| Span(u64::try_from(sum / pairs.max(1)).unwrap_or(u64::MAX));
        Self { constant: mean(constant), per_mebibyte: mean(per_mebibyte) }
    }

    pub fn of(&self, size_bytes: u64) -> Span {
        if size_bytes == 0 {
            return Span::ZERO;
        }
        let slope = (u128::from(self.per_mebibyte.0) * u128::from(size_bytes)) >> 20;
        self.constant + Span(u64::try_from(slope).unwrap_or(u64::MAX))
    }
}

/// A task's mean execution over the devices that may run it.
pub(crate) fn mean_execution(view: &View<'_>, task: TaskIndex) -> Span {
    let (mut sum, mut count) = (0_u128, 0_u128);
    for device in view.legal_devices(task) {
        sum += u128::from(view.execution(task, device).expected.0);
        count += 1;
    }
    Span(u64::try_from(sum / count.max(1)).unwrap_or(u64::MAX))
}

/// The upward rank of each of these tasks, over the whole graph behind them. Linear in tasks and
/// dependencies (times devices, for the means).
pub(crate) fn upward_ranks(view: &View<'_>, tasks: &[TaskIndex], ranks: &mut Vec<Span>) {
    ranks.resize(view.task_index_end(), Span::ZERO);
    let transfer = MeanTransfer::new(view);
    let place: HashMap<TaskIndex, usize> =
        tasks.iter().enumerate().map(|(place, task)| (*task, place)).collect();
    let mut open: Vec<u32> = vec![0; tasks.len()];
    for (index, task) in tasks.iter().enumerate() {
        open[index] = view.successors(*task).filter(|(next, _)| place.contains_key(next)).count() as u32;
    }
    let mut ready: Vec<usize> = (0..tasks.len()).filter(|index| open[*index] == 0).collect();
    while let Some(index) = ready.pop() {
        let task = tasks[index];
        let behind = view
            .successors(task)
            .map(|(next, _)| ranks[next.index()] + transfer.of(view.edge_bytes(task, next)))
            .max()
            .unwrap_or(Span::ZERO);
        ranks[task.index()] = mean_execution(view, task) + behind;
        for (first, _) in view.predecessors(task) {
            if let Some(first) = place.get(&first) {
                open[*first] -= 1;
                if open[*first] == 0 {
                    ready.push(*first);
                }
            }
        }
    }
}

/// The longest way from each of these tasks, itself included, to the end of the graph, of mean executions alone.
pub(crate) fn bottom_levels(view: &View<'_>, tasks: &[TaskIndex], levels: &mut Vec<Span>) {
    levels.resize(view.task_index_end(), Span::ZERO);
    // In program order each comes after those it waits for.
    for task in tasks.iter().rev() {
        let behind = view.successors(*task).map(|(next, _)| levels[next.index()]).max().unwrap_or(Span::ZERO);
        levels[task.index()] = mean_execution(view, *task) + behind;
    }
}

/// The longest way from the beginning of the graph to each of these tasks, itself left out, of mean executions alone.
/// What has ended before they came counts as nothing.
pub(crate) fn top_levels(view: &View<'_>, tasks: &[TaskIndex], levels: &mut Vec<Span>) {
    levels.resize(view.task_index_end(), Span::ZERO);
    let mut ends: Vec<Option<Span>> = vec![None; view.task_index_end()];
    for task in tasks {
        let end_of = |(first, _): (TaskIndex, _)| {
            ends[first.index()].unwrap_or_else(|| levels[first.index()] + mean_execution(view, first))
        };
        let level = view.predecessors(*task).map(end_of).max().unwrap_or(Span::ZERO);
        levels[task.index()] = level;
        ends[task.index()] = Some(level + mean_execution(view, *task));
    }
}
