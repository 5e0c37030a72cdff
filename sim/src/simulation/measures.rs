//! The measures by which the literature compares schedules.

use isochrone_model::Span;
use isochrone_policies::planning::{Problem, bounds};
use serde::Serialize;

use super::outcome::Outcome;

/// Ratios of one run. Times in nanoseconds.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Measures {
    /// From submission to the end of the last task on its device.
    pub makespan_ns: u64,
    /// From submission until the client knows of the last end.
    pub turnaround_ns: u64,
    /// No schedule can end earlier: the larger of the critical path's and the area's bound.
    pub lower_bound_ns: u64,
    /// Schedule length ratio: makespan over the critical path at the fastest executions, communication left out
    /// (Topcuoglu et al. 2002).
    pub slr: f64,
    /// The shortest time of all tasks one after another on a single slot, over the makespan.
    pub speedup: f64,
    /// Speedup over the number of slots.
    pub efficiency: f64,
    /// Mean over the slots of busy time over makespan.
    pub utilisation: f64,
    /// Bytes that passed between hosts.
    pub moved_bytes: u64,
}

/// The measures of a run. `problem` is the run's graph on its cluster, as an exact planner sees it.
#[must_use]
pub fn measures(problem: &Problem, outcome: &Outcome) -> Measures {
    let (critical_path, area) = (bounds::critical_path(problem), bounds::area(problem));
    let makespan = outcome.makespan.0.max(1) as f64;
    let alone = (0..problem.slots())
        .filter_map(|slot| {
            (0..problem.tasks()).try_fold(0_u128, |sum, task| {
                let execution = problem.execution(task, slot);
                (execution != Problem::ILLEGAL).then(|| sum + u128::from(execution.0))
            })
        })
        .min();
    let speedup = alone.map_or(f64::NAN, |alone| alone as f64 / makespan);
    let busy: u64 = outcome.devices.iter().map(|device| device.busy.0).sum();
    let slots = outcome.devices.iter().map(|device| device.slots).sum::<usize>().max(1) as f64;
    Measures {
        makespan_ns: outcome.makespan.0,
        turnaround_ns: outcome.turnaround.0,
        lower_bound_ns: critical_path.max(area).0,
        slr: makespan / critical_path.max(Span(1)).0 as f64,
        speedup,
        efficiency: speedup / slots,
        utilisation: busy as f64 / makespan / slots,
        moved_bytes: outcome.moved_bytes,
    }
}
