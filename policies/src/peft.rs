//! `peft`: Predict Earliest Finish Time (Arabnejad and Barbosa, IEEE TPDS 25(3), 2014).
//!
//! The optimistic cost table says, for each task and slot, how long everything behind the task takes at least when
//! the task runs there and each successor is where that is shortest (mean communication, none where it stays). Of
//! the ready tasks the one with the largest mean of its row, to the slot with the smallest finish plus table entry;
//! gaps are used (insertion).
//!
//! Ties: the task with the smallest index; the lowest slot. Chosen here: contents that stay on an agent cost nothing
//! in the table, as they cost nothing in the plan, so slots of one agent share entries; the mean of a row is over
//! the slots that may run the task, rounded down to nanoseconds; slots that may not run a successor are left out of
//! its minimum.

use isochrone_model::Span;
use isochrone_sched_core::Policy;

use crate::planning::{PlannedOptions, Planner, Problem, Schedule, by_priority, optimistic_costs, planned};
use crate::{Label, LabelError, PolicyInfo};

pub(crate) const INFO: PolicyInfo = PolicyInfo {
    name: "peft",
    summary: "static: by optimistic cost table, to the slot of earliest finish plus table entry, with insertion",
    parameters: &PlannedOptions::PARAMETERS,
    make,
};

fn make(label: &Label) -> Result<Box<dyn Policy>, LabelError> {
    planned(INFO.name, "planned: earliest finish with what comes behind", Peft, label)
}

/// The planner.
#[derive(Clone, Copy, Debug, Default)]
pub struct Peft;

impl Planner for Peft {
    fn plan(&self, problem: &Problem) -> Schedule {
        let table = optimistic_costs(problem);
        let agents = problem.agents();
        let ranks = ranks(problem, &table);
        by_priority(
            problem,
            |task| ranks[task],
            |partial, task| {
                let behind = &table[task * agents..(task + 1) * agents];
                problem
                    .legal_slots(task)
                    .map(|slot| partial.on_slot(task, slot, true))
                    .min_by_key(|here| (here.finish + behind[problem.agent_of(here.slot)], here.slot))
            },
        )
    }
}

/// By task, the mean of its row of the table.
pub(crate) fn ranks(problem: &Problem, table: &[Span]) -> Vec<Span> {
    let mean = |task: usize| {
        let (mut sum, mut count) = (0_u128, 0_u128);
        for slot in problem.legal_slots(task) {
            sum += u128::from(table[task * problem.agents() + problem.agent_of(slot)].0);
            count += 1;
        }
        Span(u64::try_from(sum / count.max(1)).unwrap_or(u64::MAX))
    };
    (0..problem.tasks()).map(mean).collect()
}
