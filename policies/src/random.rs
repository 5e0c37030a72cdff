//! `random`: to any slot, each as likely as the others.
//!
//! The yardstick of the field: rsds (Böhm and Beránek, 2020) found it close to Dask's own policy on many
//! workflows. The generator is named, ChaCha8, so that a seed means the same sequence for ever.

use isochrone_model::SlotId;
use isochrone_sched_core::{Plan, Policy, PolicyLabel, View};
use rand_chacha::ChaCha8Rng;
use rand_core::{Rng, SeedableRng};

use crate::{Label, LabelError, PolicyInfo};

pub(crate) const INFO: PolicyInfo = PolicyInfo {
    name: "random",
    summary: "to any slot, each as likely as the others",
    parameters: &[("seed", "0", "where the sequence of choices starts")],
    make,
};

fn make(label: &Label) -> Result<Box<dyn Policy>, LabelError> {
    Ok(Box::new(Random::new(label.get("seed", 0, "a whole number from 0")?)))
}

/// The policy.
#[derive(Clone, Debug)]
pub struct Random {
    seed: u64,
    generator: ChaCha8Rng,
}

impl Random {
    /// The policy whose choices start at this seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self { seed, generator: ChaCha8Rng::seed_from_u64(seed) }
    }

    /// A number below `bound`; the bias of the reduction is below `bound` in 2^64.
    fn below(&mut self, bound: usize) -> usize {
        let wide = u128::from(self.generator.next_u64()) * bound as u128;
        (wide >> 64) as usize
    }

    fn draw(&mut self, slots: &[SlotId]) -> Option<SlotId> {
        if slots.is_empty() { None } else { Some(slots[self.below(slots.len())]) }
    }
}

impl Policy for Random {
    fn label(&self) -> PolicyLabel {
        format!("{}(seed={})", INFO.name, self.seed)
    }

    fn place(&mut self, view: &View<'_>, plan: &mut Plan) {
        let slots: Vec<SlotId> = view.slots().collect();
        for task in view.placeable() {
            let drawn = self.draw(&slots).filter(|slot| view.is_legal(*task, *slot));
            let chosen = drawn.or_else(|| {
                // Drawn again among those that can run it, it is still as likely to be any of them.
                let legal: Vec<SlotId> = view.legal_slots(*task).collect();
                self.draw(&legal)
            });
            if let Some(slot) = chosen {
                plan.place(*task, slot, "drawn by lot");
            }
        }
    }
}
