//! `heft`: Heterogeneous Earliest Finish Time (Topcuoglu, Hariri and Wu, IEEE TPDS 13(3), 2002).
//!
//! Tasks in order of falling upward rank, each to the slot where it would finish first, gaps in a slot's plan
//! used where the task fits (insertion). Equal ranks: the task whose predecessors are all planned and whose
//! index is smallest. Equal finishes: the lowest slot.
//!
//! With `latency=ignored` it plans as if bytes and words took no time to set out, only to pass: what planners do that know bandwidths alone.

use std::str::FromStr;

use isochrone_model::Span;
use isochrone_sched_core::Policy;

use crate::planning::{Planned, PlannedOptions, Planner, Problem, Schedule, by_priority, upward_ranks};
use crate::{Label, LabelError, PolicyInfo};

pub(crate) const INFO: PolicyInfo = PolicyInfo {
    name: "heft",
    summary: "static: by upward rank, to the slot of earliest finish, with insertion",
    parameters: &[
        ("latency", "counted", "counted or ignored: whether plans know that links have a latency"),
        PlannedOptions::PARAMETERS[0],
        PlannedOptions::PARAMETERS[1],
    ],
    make,
};

fn make(label: &Label) -> Result<Box<dyn Policy>, LabelError> {
    let options = PlannedOptions::of(label)?;
    let reason = "planned: earliest finish by upward rank";
    match label.get("latency", Latency::Counted, "counted or ignored")? {
        Latency::Counted => {
            let text = format!("{}({})", INFO.name, options.text());
            Ok(Box::new(Planned::new(text, reason, Heft, options)))
        }
        Latency::Ignored => {
            let text = format!("{}(latency=ignored,{})", INFO.name, options.text());
            Ok(Box::new(Planned::new(text, reason, WithoutLatency(Heft), options)))
        }
    }
}

/// Whether plans know of latency.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Latency {
    Counted,
    Ignored,
}

impl FromStr for Latency {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        match text {
            "counted" => Ok(Self::Counted),
            "ignored" => Ok(Self::Ignored),
            _ => Err(()),
        }
    }
}

/// A planner that is told of no latency.
struct WithoutLatency<P>(P);

impl<P: Planner> Planner for WithoutLatency<P> {
    fn plan(&self, problem: &Problem) -> Schedule {
        self.0.plan(&problem.with_links(|_, _, _, rate| (Span::ZERO, rate)))
    }
}

/// The planner.
#[derive(Clone, Copy, Debug, Default)]
pub struct Heft;

impl Planner for Heft {
    fn plan(&self, problem: &Problem) -> Schedule {
        let ranks = upward_ranks(problem);
        by_priority(problem, |task| ranks[task], |partial, task| partial.earliest_finish(task, true))
    }
}
