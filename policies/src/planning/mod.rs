//! What static policies share: the problem as dense tables, timelines with their gaps, schedules, and the
//! adapter that makes a policy of a planner. A planner is a pure function from a problem to a schedule.

mod planned;
mod problem;
mod ranks;
mod timeline;

pub(crate) use planned::{Planned, PlannedOptions};
pub use problem::{Assignment, Edge, Problem, ProblemBuilder, Schedule};
pub use ranks::{downward_ranks, static_levels, topological_order, upward_ranks};
pub use timeline::{Timeline, Timelines};

/// Plans a whole problem at once. Must be deterministic: the same problem gives the same schedule.
///
/// Ties are broken by the smaller task index, then by the smaller slot index. No planner may take time
/// quadratic in tasks.
pub trait Planner: Send {
    /// Places every task that has a legal slot, each after its predecessors.
    fn plan(&self, problem: &Problem) -> Schedule;
}
