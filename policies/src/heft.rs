//! `heft`: Heterogeneous Earliest Finish Time (Topcuoglu, Hariri and Wu, IEEE TPDS 13(3), 2002).
//!
//! Tasks in order of falling upward rank, each to the slot where it would finish first, gaps in a slot's plan
//! used where the task fits (insertion). Equal ranks: the task whose predecessors are all planned and whose
//! index is smallest. Equal finishes: the lowest slot.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use isochrone_model::Span;
use isochrone_sched_core::Policy;

use crate::planning::{
    Assignment, Planned, PlannedOptions, Planner, Problem, Schedule, Timelines, upward_ranks,
};
use crate::{Label, LabelError, PolicyInfo};

pub(crate) const INFO: PolicyInfo = PolicyInfo {
    name: "heft",
    summary: "static: by upward rank, to the slot of earliest finish, with insertion",
    parameters: &PlannedOptions::PARAMETERS,
    make,
};

fn make(label: &Label) -> Result<Box<dyn Policy>, LabelError> {
    let options = PlannedOptions::of(label)?;
    let text = format!("{}({})", INFO.name, options.text());
    Ok(Box::new(Planned::new(text, "planned: earliest finish by upward rank", Heft, options)))
}

/// The planner.
#[derive(Clone, Copy, Debug, Default)]
pub struct Heft;

impl Planner for Heft {
    fn plan(&self, problem: &Problem) -> Schedule {
        let ranks = upward_ranks(problem);
        let mut schedule = Schedule::new(problem.tasks());
        let mut timelines = Timelines::new(problem);
        let mut waiting: Vec<usize> =
            (0..problem.tasks()).map(|task| problem.predecessors(task).len()).collect();
        let mut ready: BinaryHeap<(Span, Reverse<usize>)> = (0..problem.tasks())
            .filter(|task| waiting[*task] == 0)
            .map(|task| (ranks[task], Reverse(task)))
            .collect();
        while let Some((_, Reverse(task))) = ready.pop() {
            if let Some(assignment) = earliest_finish(problem, &schedule, &timelines, task) {
                let execution = problem.execution(task, assignment.slot);
                timelines.take(assignment.slot, assignment.start, execution);
                schedule.assignments[task] = Some(assignment);
            }
            for edge in problem.successors(task) {
                waiting[edge.task] -= 1;
                if waiting[edge.task] == 0 {
                    ready.push((ranks[edge.task], Reverse(edge.task)));
                }
            }
        }
        schedule
    }
}

/// The slot on which a task finishes first, gaps used; `None` when it has no legal slot, or a predecessor none.
pub(crate) fn earliest_finish(
    problem: &Problem,
    schedule: &Schedule,
    timelines: &Timelines,
    task: usize,
) -> Option<Assignment> {
    let by_agent = ready_by_agent(problem, schedule, task)?;
    let mut best: Option<Assignment> = None;
    for slot in problem.legal_slots(task) {
        let execution = problem.execution(task, slot);
        let ready = by_agent[problem.agent_of(slot)].max(problem.outside_ready(task, slot));
        let start = timelines.slot(slot).earliest_start(ready, execution);
        let finish = start + execution;
        if best.is_none_or(|best| finish < best.finish) {
            best = Some(Assignment { slot, start, finish });
        }
    }
    best
}

/// By agent, when all that a task's predecessors send is there; `None` when one of them is not assigned.
fn ready_by_agent(problem: &Problem, schedule: &Schedule, task: usize) -> Option<Vec<Span>> {
    let mut ready = vec![Span::ZERO; problem.agents()];
    for edge in problem.predecessors(task) {
        let first = schedule.assignments[edge.task].as_ref()?;
        let from = problem.agent_of(first.slot);
        for (to, ready) in ready.iter_mut().enumerate() {
            let arrival = first.finish + problem.transfer_between_agents(edge.size_bytes, from, to);
            *ready = (*ready).max(arrival);
        }
    }
    Some(ready)
}

#[cfg(test)]
mod tests {
    use isochrone_model::BytesPerSecond;

    use super::*;
    use crate::planning::ProblemBuilder;

    /// The ten tasks of Topcuoglu et al. (2002), figure 2 and table 1, one unit to a nanosecond and to a byte.
    pub(crate) fn topcuoglu() -> Problem {
        let times = [
            [14, 16, 9],
            [13, 19, 18],
            [11, 13, 19],
            [13, 8, 17],
            [12, 13, 10],
            [13, 16, 9],
            [7, 15, 11],
            [5, 11, 14],
            [18, 12, 20],
            [21, 7, 16],
        ];
        let edges = [
            (1, 2, 18),
            (1, 3, 12),
            (1, 4, 9),
            (1, 5, 11),
            (1, 6, 14),
            (2, 8, 19),
            (2, 9, 16),
            (3, 7, 23),
            (4, 8, 27),
            (4, 9, 23),
            (5, 9, 13),
            (6, 8, 15),
            (7, 10, 17),
            (8, 10, 11),
            (9, 10, 13),
        ];
        let mut builder = ProblemBuilder::new(&[(0, 0), (1, 1), (2, 2)]);
        for from in 0..3 {
            for to in 0..3 {
                builder.link(from, to, Span::ZERO, BytesPerSecond(1_000_000_000), Span::ZERO);
            }
        }
        for row in times {
            builder.task(&row.map(Span));
        }
        for (first, second, size) in edges {
            builder.edge(first - 1, second - 1, size);
        }
        builder.build()
    }

    #[test]
    fn the_published_example_ends_at_80() {
        let problem = topcuoglu();
        let schedule = Heft.plan(&problem);
        assert_eq!(schedule.check(&problem), Ok(()));
        assert_eq!(schedule.makespan(), Span(80));
    }
}
