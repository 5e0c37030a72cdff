//! `list`: list scheduling put together from parts (after Coleman and Krishnamachari, "Parameterized task graph
//! scheduling algorithm for comparing algorithmic components", 2024).
//!
//! Ready tasks by a rank, each to the slot that a rule selects, behind all that is planned there or into gaps
//! (`insertion`); with `reserve` the tasks of the critical path go to the one slot on which they together take least,
//! where they may run there (see `cpop`).
//!
//! Settings that are other policies: `heft` rank=upward, selection=finish, insertion=true; `cpop` rank=both,
//! selection=finish, insertion=true, reserve=true; `hlfet` rank=level, selection=start, insertion=false; `mcp`
//! rank=alap, selection=start, insertion=true; `mct`, `met`, `olb` rank=order, insertion=false, selection=finish,
//! execution, free.
//!
//! Ties: the task with the smallest index; the lowest slot. The paper also has sufferage as a part, which is a policy
//! of its own here, and neither start, free nor levels.

use std::str::FromStr;

use isochrone_model::Span;
use isochrone_sched_core::Policy;

use crate::planning::{
    Assignment, Partial, Planned, PlannedOptions, Planner, Problem, Schedule, alap_order, by_priority,
    critical_path, critical_slot, downward_ranks, optimistic_costs, static_levels, upward_ranks,
};
use crate::{Label, LabelError, PolicyInfo};

pub(crate) const INFO: PolicyInfo = PolicyInfo {
    name: "list",
    summary: "static: list scheduling put together from rank, selection, insertion and reservation",
    parameters: &[
        ("insertion", "true", "true: gaps are used; false: behind all that is planned"),
        ("rank", "upward", "what decides between ready tasks: upward, both, level, alap, optimistic, order"),
        ("reserve", "false", "true: the critical path goes to one slot"),
        ("selection", "finish", "which slot: of earliest finish or start, shortest execution, or free first"),
        PlannedOptions::PARAMETERS[0],
        PlannedOptions::PARAMETERS[1],
    ],
    make,
};

fn make(label: &Label) -> Result<Box<dyn Policy>, LabelError> {
    let default = List::default();
    let planner = List {
        rank: label.get("rank", default.rank, "one of upward, both, level, alap, optimistic, order")?,
        selection: label.get("selection", default.selection, "one of finish, start, execution, free")?,
        does_insert: label.get("insertion", default.does_insert, "true or false")?,
        does_reserve: label.get("reserve", default.does_reserve, "true or false")?,
    };
    let options = PlannedOptions::of(label)?;
    let text = format!(
        "{}(insertion={},rank={},reserve={},selection={},{})",
        INFO.name,
        planner.does_insert,
        planner.rank.name(),
        planner.does_reserve,
        planner.selection.name(),
        options.text()
    );
    Ok(Box::new(Planned::new(text, "planned: by list", planner, options)))
}

/// The planner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct List {
    /// What decides between ready tasks.
    pub rank: Rank,
    /// What decides between slots.
    pub selection: Selection,
    /// Whether gaps are used.
    pub does_insert: bool,
    /// Whether the critical path goes to one slot.
    pub does_reserve: bool,
}

impl Default for List {
    fn default() -> Self {
        Self { rank: Rank::Upward, selection: Selection::Finish, does_insert: true, does_reserve: false }
    }
}

/// What decides between ready tasks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Rank {
    /// The longest mean way behind, communication counted (HEFT).
    Upward,
    /// That and the longest way before (CPoP).
    Both,
    /// The longest mean way behind without communication (HLFET).
    Level,
    /// The latest possible start, ties by that of the successors (MCP).
    Alap,
    /// The mean of the optimistic cost table (PEFT).
    Optimistic,
    /// Program order.
    Order,
}

/// What decides between slots.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Selection {
    /// Where the task ends first.
    Finish,
    /// Where the task starts first.
    Start,
    /// Where the task takes least.
    Execution,
    /// What is free first.
    Free,
}

impl Rank {
    /// All there are.
    pub const ALL: [Self; 6] =
        [Self::Upward, Self::Both, Self::Level, Self::Alap, Self::Optimistic, Self::Order];

    /// As labels have it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Upward => "upward",
            Self::Both => "both",
            Self::Level => "level",
            Self::Alap => "alap",
            Self::Optimistic => "optimistic",
            Self::Order => "order",
        }
    }
}

impl Selection {
    /// All there are.
    pub const ALL: [Self; 4] = [Self::Finish, Self::Start, Self::Execution, Self::Free];

    /// As labels have it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Finish => "finish",
            Self::Start => "start",
            Self::Execution => "execution",
            Self::Free => "free",
        }
    }
}

impl FromStr for Rank {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        Self::ALL.into_iter().find(|rank| rank.name() == text).ok_or(())
    }
}

impl FromStr for Selection {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        Self::ALL.into_iter().find(|selection| selection.name() == text).ok_or(())
    }
}

impl Planner for List {
    fn plan(&self, problem: &Problem) -> Schedule {
        let ranks = self.ranks(problem);
        let mut is_critical = vec![false; problem.tasks()];
        let mut reserved = None;
        if self.does_reserve {
            let path = critical_path(problem, &upward_ranks(problem), &downward_ranks(problem));
            reserved = critical_slot(problem, &path);
            for task in path {
                is_critical[task] = true;
            }
        }
        by_priority(
            problem,
            |task| ranks[task],
            |partial, task| match reserved {
                Some(slot) if is_critical[task] && problem.is_legal(task, slot) => {
                    Some(partial.on_slot(task, slot, self.does_insert))
                }
                _ => self.select(partial, task),
            },
        )
    }
}

impl List {
    /// By task; the largest comes first.
    fn ranks(&self, problem: &Problem) -> Vec<Span> {
        match self.rank {
            Rank::Upward => upward_ranks(problem),
            Rank::Both => {
                let (upward, downward) = (upward_ranks(problem), downward_ranks(problem));
                upward.into_iter().zip(downward).map(|(upward, downward)| upward + downward).collect()
            }
            Rank::Level => static_levels(problem, |task| problem.mean_execution(task)),
            Rank::Alap => {
                alap_order(problem).into_iter().map(|place| Span(u64::MAX - u64::from(place))).collect()
            }
            Rank::Optimistic => crate::peft::ranks(problem, &optimistic_costs(problem)),
            Rank::Order => vec![Span::ZERO; problem.tasks()],
        }
    }

    fn select(&self, partial: &Partial<'_>, task: usize) -> Option<Assignment> {
        let here = |slot: usize| partial.on_slot(task, slot, self.does_insert);
        let slots = partial.problem.legal_slots(task);
        match self.selection {
            Selection::Finish => partial.earliest_finish(task, self.does_insert),
            Selection::Start => partial.earliest_start(task, self.does_insert),
            Selection::Execution => {
                let slot = slots.min_by_key(|slot| (partial.problem.execution(task, *slot), *slot));
                slot.map(here)
            }
            Selection::Free => slots.min_by_key(|slot| (partial.slot_end(*slot), *slot)).map(here),
        }
    }
}
