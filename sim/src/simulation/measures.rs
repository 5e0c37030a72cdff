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
    /// The critical path's bound: the longest way through the graph with every task at its fastest and nothing moved.
    pub critical_path_ns: u64,
    /// The area's: all work, shared out over all slots as if tasks could be cut.
    pub area_bound_ns: u64,
    /// Schedule length ratio: makespan over the critical path at the fastest executions, communication left out
    /// (Topcuoglu et al. 2002).
    pub slr: f64,
    /// The shortest time of all tasks one after another on a single slot, over the makespan; `None` when no slot can
    /// run them all.
    pub speedup: Option<f64>,
    /// Speedup over the number of slots.
    pub efficiency: Option<f64>,
    /// Mean over the slots of busy time over makespan.
    pub utilisation: f64,
    /// Bytes that passed between hosts.
    pub moved_bytes: u64,
}

/// What can be said of every run of a problem: its bounds, and how long it takes on one slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Yardstick {
    critical_path: Span,
    area: Span,
    alone: Option<Span>,
    slots: usize,
}

impl Yardstick {
    /// Of a graph on a cluster, as an exact planner sees it.
    #[must_use]
    pub fn new(problem: &Problem) -> Self {
        let mut counts = vec![0_u64; problem.kinds()];
        (0..problem.tasks()).for_each(|task| counts[problem.kind_of(task)] += 1);
        let alone = (0..problem.slots()).filter_map(|slot| {
            counts.iter().enumerate().try_fold(Span::ZERO, |sum, (kind, count)| {
                let execution = problem.kind_executions(kind)[slot];
                (execution != Problem::ILLEGAL).then(|| sum + Span(execution.0.saturating_mul(*count)))
            })
        });
        let critical_path = bounds::critical_path(problem);
        Self { critical_path, area: bounds::area(problem), alone: alone.min(), slots: problem.slots().max(1) }
    }

    /// The longest way through the graph with every task at its fastest.
    #[must_use]
    pub fn critical_path(&self) -> Span {
        self.critical_path
    }

    /// All tasks on the best single slot, if there is one that runs them all.
    #[must_use]
    pub fn alone(&self) -> Option<Span> {
        self.alone
    }

    /// All work, shared out over all slots.
    #[must_use]
    pub fn area(&self) -> Span {
        self.area
    }

    /// No run can be shorter: the larger of the two bounds.
    #[must_use]
    pub fn lower_bound(&self) -> Span {
        self.critical_path.max(self.area)
    }

    /// The measures of a run.
    #[must_use]
    pub fn measure(&self, outcome: &Outcome) -> Measures {
        let makespan = outcome.makespan.0.max(1) as f64;
        let speedup = self.alone.map(|alone| alone.0 as f64 / makespan);
        let busy = outcome.devices.iter().fold(0_u64, |sum, device| sum.saturating_add(device.busy.0));
        let slots = self.slots as f64;
        Measures {
            makespan_ns: outcome.makespan.0,
            turnaround_ns: outcome.turnaround.0,
            lower_bound_ns: self.lower_bound().0,
            critical_path_ns: self.critical_path.0,
            area_bound_ns: self.area.0,
            slr: makespan / self.critical_path.0.max(1) as f64,
            speedup,
            efficiency: speedup.map(|speedup| speedup / slots),
            utilisation: busy as f64 / makespan / slots,
            moved_bytes: outcome.moved_bytes,
        }
    }
}
