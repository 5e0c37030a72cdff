//! `optimal`: the shortest schedule by branch and bound, for small graphs.
//!
//! The search stops after `nodes` steps, never by the clock, since a policy must decide the same every time; `seconds`
//! is therefore no parameter. When it stops early, or when there are more than `tasks` tasks (it then does not begin),
//! the plan is the best that was found, at worst that of the best of several heuristics.
//! `planning::optimal::optimal` says which it was, and how far it may be from the optimum.

use isochrone_sched_core::Policy;

use crate::planning::optimal::{OptimalLimits, optimal};
use crate::planning::{Planned, PlannedOptions, Planner, Problem, Schedule};
use crate::{Label, LabelError, PolicyInfo};

pub(crate) const INFO: PolicyInfo = PolicyInfo {
    name: "optimal",
    summary: "static: the shortest schedule by branch and bound, or the best found within a number of steps",
    parameters: &[
        ("nodes", "200000", "steps after which the search stops with the best schedule found"),
        PlannedOptions::PARAMETERS[0],
        PlannedOptions::PARAMETERS[1],
        ("tasks", "64", "a problem of more tasks is not searched"),
    ],
    make,
};

fn make(label: &Label) -> Result<Box<dyn Policy>, LabelError> {
    let default = Optimal::default().limits;
    let limits = OptimalLimits {
        nodes: label.get("nodes", default.nodes, "a whole number from 0")?,
        tasks: label.get("tasks", default.tasks, "a whole number from 0")?,
    };
    let options = PlannedOptions::of(label)?;
    let text = format!("{}(nodes={},{},tasks={})", INFO.name, limits.nodes, options.text(), limits.tasks);
    Ok(Box::new(Planned::new(text, "planned: the shortest schedule found", Optimal { limits }, options)))
}

/// The planner.
#[derive(Clone, Copy, Debug)]
pub struct Optimal {
    /// When the search stops.
    pub limits: OptimalLimits,
}

impl Default for Optimal {
    fn default() -> Self {
        Self { limits: OptimalLimits { nodes: 200_000, ..OptimalLimits::default() } }
    }
}

impl Planner for Optimal {
    fn plan(&self, problem: &Problem) -> Schedule {
        optimal(problem, self.limits).schedule
    }
}
