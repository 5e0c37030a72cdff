//! What static policies share: the problem as dense tables, timelines with their gaps, schedules, lower bounds, a
//! search for the optimum, and the adapter that makes a policy of a planner. A planner is a pure function from a
//! problem to a schedule.

mod batch;
pub mod bounds;
mod chains;
mod client_contents;
mod guesses;
mod hedges;
mod kinds;
mod likely_links;
mod local_search;
pub mod optimal;
mod pairs;
mod partial;
mod planned;
mod pose;
mod problem;
mod ranks;
mod reach;
mod replay;
mod rows;
mod schedule;
mod timeline;

pub use batch::Batch;
pub(crate) use client_contents::in_order;
pub(crate) use local_search::improve;
pub(crate) use pairs::{LargestPair, LatestPair, signed};
pub(crate) use partial::{Partial, by_priority};
pub(crate) use planned::{Planned, PlannedOptions, planned, planned_in_batches};
pub use problem::{Edge, OutsideInput, Problem, ProblemBuilder, SlotName};
pub use ranks::{
    alap_order, critical_path, critical_slot, downward_ranks, optimistic_costs, static_levels,
    topological_order, upward_ranks,
};
pub(crate) use replay::{Connections, Replay, connection_cost};
pub(crate) use rows::{Measure, Rows};
pub use schedule::{Assignment, Schedule};
pub use timeline::{Taken, Timeline, Timelines};

/// Plans a whole problem at once. Must be deterministic: the same problem gives the same schedule.
///
/// Ties are broken by the smaller task index, then by the smaller slot index. No planner may take time
/// quadratic in tasks.
pub trait Planner: Send {
    /// Places every task that has a legal slot, each after its predecessors.
    fn plan(&self, problem: &Problem) -> Schedule;

    /// Whether it judges plans, and so wants to know what lies outside of the problem and where tasks were planned before; and lets
    /// few tasks go of which nothing is known, until something is.
    fn is_judge(&self) -> bool {
        false
    }
}
