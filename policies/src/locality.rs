//! `locality`: to where the fewest bytes must be moved.
//!
//! Ties go to the slot with the fewest tasks, then to the lower slot id. Knows neither durations nor links,
//! so that it piles tasks onto the agent that holds their inputs.

use isochrone_sched_core::{Plan, Policy, PolicyLabel, View};

use crate::accounts::SlotAccounts;
use crate::{Label, LabelError, PolicyInfo};

pub(crate) const INFO: PolicyInfo = PolicyInfo {
    name: "locality",
    summary: "to where the fewest bytes must be moved",
    parameters: &[],
    make,
};

fn make(_label: &Label) -> Result<Box<dyn Policy>, LabelError> {
    Ok(Box::new(Locality))
}

/// The policy.
#[derive(Clone, Copy, Debug, Default)]
pub struct Locality;

impl Policy for Locality {
    fn label(&self) -> PolicyLabel {
        INFO.name.to_owned()
    }

    fn place(&mut self, view: &View<'_>, plan: &mut Plan) {
        let mut accounts = SlotAccounts::new(view);
        for task in view.placeable() {
            let chosen = view.legal_slots(*task).min_by_key(|slot| {
                let agent = view.agent_of(view.device_of(*slot));
                (view.missing_bytes(*task, agent), accounts.queued(*slot), *slot)
            });
            if let Some(slot) = chosen {
                accounts.give(slot, view.now());
                plan.place(*task, slot, "fewest bytes to move");
            }
        }
    }
}
