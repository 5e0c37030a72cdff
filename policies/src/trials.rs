//! When to take a path that would be the better one if it were warm.
//!
//! A connection's first transfers wait for its window to grow, and what they tell of the path's rate is low. Who looks at the
//! next task alone stays away from such a path for ever, and never learns more of it. So what staying away costs is added up,
//! task by task: what each would have been faster with the path at its best. Once that is as much as one try costs, the path is
//! tried. This is how one decides when to buy skis that could be rented again: both together cost at most twice
//! what knowing the future would (Karlin et al., "Competitive randomized algorithms for nonuniform problems", 1994, call it the
//! ski-rental problem). One try at a time for each agent. Must never look at what is queued: who asks does.

use std::collections::BTreeMap;

use isochrone_model::{AgentId, Span};
use isochrone_sched_core::TaskIndex;

/// What was missed of each agent, and what is being tried there.
#[derive(Clone, Debug, Default)]
pub(crate) struct Trials {
    agents: BTreeMap<AgentId, Trial>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Trial {
    missed: Span,
    under_way: Option<TaskIndex>,
}

/// One way to run a task, beside another that is expected to be faster.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Chance {
    pub agent: AgentId,
    /// How much faster it would be at its best.
    pub gain: Span,
    /// How much slower it is expected to be as it is.
    pub price: Span,
}

impl Trials {
    /// Counts what a task misses; says whether it should try.
    pub fn is_due(&mut self, chance: Chance) -> bool {
        let trial = self.agents.entry(chance.agent).or_default();
        if trial.under_way.is_some() {
            return false;
        }
        trial.missed += chance.gain;
        trial.missed >= chance.price
    }

    /// A task tries.
    pub fn begin(&mut self, agent: AgentId, task: TaskIndex) {
        self.agents.insert(agent, Trial { missed: Span::ZERO, under_way: Some(task) });
    }

    /// A task has ended, or must be placed again.
    pub fn end(&mut self, task: TaskIndex) {
        for trial in self.agents.values_mut() {
            if trial.under_way == Some(task) {
                trial.under_way = None;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_tried_when_staying_away_has_cost_as_much() {
        let (agent, task, mut trials) = (AgentId(3), TaskIndex(7), Trials::default());
        let chance = |gain, price| Chance { agent, gain: Span(gain), price: Span(price) };
        assert!(!trials.is_due(chance(40, 100)));
        assert!(!trials.is_due(chance(40, 100)));
        assert!(trials.is_due(chance(40, 100)));
        trials.begin(agent, task);
        assert!(!trials.is_due(chance(400, 100)), "one at a time");
        trials.end(TaskIndex(8));
        assert!(!trials.is_due(chance(400, 100)));
        trials.end(task);
        assert!(!trials.is_due(chance(99, 100)), "what was missed before has been paid for");
        assert!(trials.is_due(chance(1, 100)));
        let other = Chance { agent: AgentId(4), gain: Span(99), price: Span(100) };
        assert!(!trials.is_due(other), "each agent for itself");
    }
}
