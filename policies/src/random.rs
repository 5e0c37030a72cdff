//! `random`: to any slot, each as likely as the others.
//!
//! The yardstick of the field: rsds (Böhm and Beránek, 2020) found it close to Dask's own policy on many
//! workflows. The generator is named, ChaCha8, so that a seed means the same sequence for ever.
//!
//! With `hedge` it also asks for backups of tasks that are under way, late or not: that costs time, and is for tests.

use isochrone_model::{SlotId, Span, Timestamp};
use isochrone_sched_core::{Plan, Policy, PolicyLabel, TaskIndex, View};
use rand_chacha::ChaCha8Rng;
use rand_core::{Rng, SeedableRng};

use crate::{Label, LabelError, PolicyInfo};

pub(crate) const INFO: PolicyInfo = PolicyInfo {
    name: "random",
    summary: "to any slot, each as likely as the others",
    parameters: &[
        ("seed", "0", "where the sequence of choices starts"),
        (
            "hedge",
            "0",
            "in how many of a hundred looks at a task that is under way a backup of it is asked for, anywhere",
        ),
    ],
    make,
};

fn make(label: &Label) -> Result<Box<dyn Policy>, LabelError> {
    let mut policy = Random::new(label.get("seed", 0, "a whole number from 0")?);
    policy.hedge_percent = label.get("hedge", 0, "a whole number from 0")?;
    Ok(Box::new(policy))
}

/// The policy.
#[derive(Clone, Debug)]
pub struct Random {
    seed: u64,
    generator: ChaCha8Rng,
    hedge_percent: u32,
    /// Tasks that were placed, while backups are asked for; some may have ended.
    placed: Vec<TaskIndex>,
    wake_at: Option<Timestamp>,
}

/// Backups are thought of anew after between one microsecond and this many doublings of it.
const WATCH_DOUBLINGS: usize = 16;

impl Random {
    /// The policy whose choices start at this seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        let generator = ChaCha8Rng::seed_from_u64(seed);
        Self { seed, generator, hedge_percent: 0, placed: Vec::new(), wake_at: None }
    }

    /// A number below `bound`; the bias of the reduction is below `bound` in 2^64.
    fn below(&mut self, bound: usize) -> usize {
        let wide = u128::from(self.generator.next_u64()) * bound as u128;
        (wide >> 64) as usize
    }

    fn draw(&mut self, slots: &[SlotId]) -> Option<SlotId> {
        if slots.is_empty() { None } else { Some(slots[self.below(slots.len())]) }
    }

    fn hedge(&mut self, view: &View<'_>, slots: &[SlotId], plan: &mut Plan) {
        self.placed.retain(|task| view.is_mine(*task) && view.slot_of(*task).is_some());
        for place in 0..self.placed.len() {
            if self.below(100) < self.hedge_percent as usize
                && let Some(slot) = self.draw(slots)
            {
                plan.hedge(self.placed[place], slot, "backup drawn by lot");
            }
        }
    }
}

impl Policy for Random {
    fn label(&self) -> PolicyLabel {
        match self.hedge_percent {
            0 => format!("{}(seed={})", INFO.name, self.seed),
            percent => format!("{}(seed={},hedge={percent})", INFO.name, self.seed),
        }
    }

    fn wake_at(&self) -> Option<Timestamp> {
        self.wake_at
    }

    fn place(&mut self, view: &View<'_>, plan: &mut Plan) {
        self.wake_at = None;
        let slots: Vec<SlotId> = view.slots().collect();
        if self.hedge_percent > 0 {
            self.hedge(view, &slots, plan);
        }
        for task in view.placeable() {
            let drawn = self.draw(&slots).filter(|slot| view.is_legal(*task, *slot));
            let chosen = drawn.or_else(|| {
                // Drawn again among those that can run it, it is still as likely to be any of them.
                let legal: Vec<SlotId> = view.legal_slots(*task).collect();
                self.draw(&legal)
            });
            if let Some(slot) = chosen {
                plan.place(*task, slot, "drawn by lot");
                if self.hedge_percent > 0 {
                    self.placed.push(*task);
                }
            }
        }
        if !self.placed.is_empty() {
            let after = Span::from_micros(1 << self.below(WATCH_DOUBLINGS));
            self.wake_at = Some(view.now() + after);
        }
    }
}
