//! `eager`: to the slot with the fewest tasks.
//!
//! The least informed of the dynamic policies: it knows neither durations nor transfers, only how many
//! tasks each slot has been given and not finished. Ties go to the lower slot id.

use isochrone_sched_core::{Plan, Policy, PolicyLabel, View};

use crate::accounts::SlotAccounts;
use crate::{Label, LabelError, PolicyInfo};

pub(crate) const INFO: PolicyInfo = PolicyInfo {
    name: "eager",
    summary: "to the slot with the fewest tasks; knows neither durations nor transfers",
    parameters: &[],
    make,
};

fn make(_label: &Label) -> Result<Box<dyn Policy>, LabelError> {
    Ok(Box::new(Eager))
}

/// The policy.
#[derive(Clone, Copy, Debug, Default)]
pub struct Eager;

impl Policy for Eager {
    fn label(&self) -> PolicyLabel {
        INFO.name.to_owned()
    }

    fn place(&mut self, view: &View<'_>, plan: &mut Plan) {
        let mut accounts = SlotAccounts::new(view);
        for task in view.placeable() {
            let chosen = view.legal_slots(*task).min_by_key(|slot| (accounts.queued(*slot), *slot));
            if let Some(slot) = chosen {
                accounts.give(slot, view.now());
                plan.place(*task, slot, "fewest tasks in its queue");
            }
        }
    }
}
