//! `wba`: Workflow-Based Application scheduling (Blythe et al., "Task scheduling strategies for workflow-based
//! applications in grids", CCGrid 2005).
//!
//! A greedy randomised search. A schedule is built from nothing: of all pairs of ready task and slot those count
//! whose increase of the makespan is within `alpha` of the way from the smallest to the largest increase, and one of
//! them is drawn by lot. That is repeated, and the schedule with the shortest makespan is kept (the first of equal
//! ones).
//!
//! Left open by the paper and chosen here: `alpha` is 0.5, there are 8 repetitions, ready tasks form batches that are
//! emptied before the next is formed, starts are behind all that is planned on the slot (no insertion), and the
//! draws come from ChaCha8 seeded by `seed`, so that the same problem gives the same schedule.
//!
//! The smallest and the largest increase are kept up per slot; a pair is drawn from all of the batch's and drawn again
//! when it does not count, and only after 64 misses all that count are listed.

use isochrone_model::Span;
use isochrone_sched_core::Policy;
use rand_chacha::ChaCha8Rng;
use rand_core::{Rng, SeedableRng};

use crate::planning::{
    LargestPair, LatestPair, Partial, Planned, PlannedOptions, Planner, Problem, Schedule, signed,
};
use crate::{Label, LabelError, PolicyInfo};

pub(crate) const INFO: PolicyInfo = PolicyInfo {
    name: "wba",
    summary: "static: the best of several schedules drawn from pairs that lengthen the makespan little",
    parameters: &[
        ("alpha_percent", "50", "how far from the smallest to the largest increase pairs count, in percent"),
        ("iterations", "8", "schedules that are drawn; the shortest is kept"),
        ("seed", "0", "where the sequence of draws starts"),
        PlannedOptions::PARAMETERS[0],
        PlannedOptions::PARAMETERS[1],
    ],
    make,
};

fn make(label: &Label) -> Result<Box<dyn Policy>, LabelError> {
    let default = Wba::default();
    let planner = Wba {
        alpha_percent: label.get("alpha_percent", default.alpha_percent, "a whole number of percent")?,
        iterations: label.get("iterations", default.iterations, "a whole number from 0")?,
        seed: label.get("seed", default.seed, "a whole number from 0")?,
    };
    let options = PlannedOptions::of(label)?;
    let text = format!(
        "{}(alpha_percent={},iterations={},seed={},{})",
        INFO.name,
        planner.alpha_percent,
        planner.iterations,
        planner.seed,
        options.text()
    );
    Ok(Box::new(Planned::new(text, "planned: drawn from small increases", planner, options)))
}

/// The planner.
#[derive(Clone, Copy, Debug)]
pub struct Wba {
    /// How far from the smallest to the largest increase pairs count.
    pub alpha_percent: u64,
    /// Schedules that are drawn; one at least.
    pub iterations: u32,
    /// Where the sequence of draws starts.
    pub seed: u64,
}

impl Default for Wba {
    fn default() -> Self {
        Self { alpha_percent: 50, iterations: 8, seed: 0 }
    }
}

impl Planner for Wba {
    fn plan(&self, problem: &Problem) -> Schedule {
        let mut random = ChaCha8Rng::seed_from_u64(self.seed);
        let mut best = self.draw(problem, &mut random);
        for _ in 1..self.iterations {
            let other = self.draw(problem, &mut random);
            if other.makespan() < best.makespan() {
                best = other;
            }
        }
        best
    }
}

impl Wba {
    fn draw(&self, problem: &Problem, random: &mut ChaCha8Rng) -> Schedule {
        let ends = || (0..problem.slots()).map(|slot| problem.slot_free(slot));
        let mut partial = Partial::new(problem);
        let mut earliest = LargestPair::new(ends(), (0..problem.tasks() as u32).collect());
        let mut latest = LatestPair::new(ends(), problem.tasks());
        let mut makespan = Span::ZERO;
        let mut arrived = partial.entries();
        while !arrived.is_empty() {
            let mut batch = Batch { slots: problem.slots(), ..Batch::default() };
            for task in arrived.drain(..) {
                partial.look_at(task);
                batch.tasks.push(task);
                for slot in 0..problem.slots() {
                    let (ready, cost) = (partial.ready(task, slot), problem.execution(task, slot));
                    batch.ready.push(ready);
                    if cost != Problem::ILLEGAL {
                        earliest.add(task, slot, ready, -signed(cost));
                        latest.add(task, slot, ready, cost);
                    }
                }
            }
            while let (Some((task, slot)), Some((largest, _, _))) = (earliest.best(), latest.latest()) {
                partial.look_at(task);
                let smallest = partial.on_slot(task, slot, false).finish;
                let (low, high) = (smallest.saturating_sub(makespan), largest.saturating_sub(makespan));
                let width = u128::from(high.0 - low.0) * u128::from(self.alpha_percent.min(100)) / 100;
                let limit = makespan + low + Span(width as u64);
                let (place, slot) = batch.draw(&partial, limit, random);
                let task = batch.tasks[place];
                partial.look_at(task);
                let chosen = partial.on_slot(task, slot, false);
                partial.assign(task, chosen, |next| arrived.push(next));
                makespan = makespan.max(chosen.finish);
                batch.remove(place);
                earliest.take(task, slot, chosen.finish);
                latest.take(task, slot, chosen.finish);
            }
        }
        partial.schedule
    }
}

/// The tasks of a batch that are left.
#[derive(Default)]
struct Batch {
    tasks: Vec<usize>,
    /// By place in `tasks` and slot, when the inputs are there.
    ready: Vec<Span>,
    slots: usize,
}

/// Draws that are made before the pairs that count are listed.
const DRAWS: usize = 64;

impl Batch {
    /// A place in the batch and a slot, each pair that completes by `limit` being as likely as the others.
    fn draw(&self, partial: &Partial<'_>, limit: Span, random: &mut ChaCha8Rng) -> (usize, usize) {
        let pairs = self.tasks.len() * self.slots;
        let mut below = |bound: usize| {
            let wide = u128::from(random.next_u64()) * bound as u128;
            (wide >> 64) as usize
        };
        for _ in 0..DRAWS {
            let pair = below(pairs);
            if self.counts(partial, pair, limit) {
                return (pair / self.slots, pair % self.slots);
            }
        }
        let counting: Vec<usize> = (0..pairs).filter(|pair| self.counts(partial, *pair, limit)).collect();
        let pair = counting[below(counting.len())];
        (pair / self.slots, pair % self.slots)
    }

    fn counts(&self, partial: &Partial<'_>, pair: usize, limit: Span) -> bool {
        let (task, slot) = (self.tasks[pair / self.slots], pair % self.slots);
        let execution = partial.problem.execution(task, slot);
        execution != Problem::ILLEGAL && self.ready[pair].max(partial.slot_end(slot)) + execution <= limit
    }

    fn remove(&mut self, place: usize) {
        self.tasks.swap_remove(place);
        let last = self.tasks.len() * self.slots;
        self.ready.copy_within(last..last + self.slots, place * self.slots);
        self.ready.truncate(last);
    }
}
