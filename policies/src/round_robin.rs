//! `round-robin`: to each slot in turn.
//!
//! Slots that cannot run the task are passed over and keep their turn for the next task.

use isochrone_model::SlotId;
use isochrone_sched_core::{Plan, Policy, PolicyLabel, View};

use crate::{Label, LabelError, PolicyInfo};

pub(crate) const INFO: PolicyInfo =
    PolicyInfo { name: "round-robin", summary: "to each slot in turn", parameters: &[], make };

fn make(_label: &Label) -> Result<Box<dyn Policy>, LabelError> {
    Ok(Box::new(RoundRobin::default()))
}

/// The policy.
#[derive(Clone, Copy, Debug, Default)]
pub struct RoundRobin {
    /// The slot whose turn it is.
    next: u32,
}

impl Policy for RoundRobin {
    fn label(&self) -> PolicyLabel {
        INFO.name.to_owned()
    }

    fn place(&mut self, view: &View<'_>, plan: &mut Plan) {
        let slots: Vec<SlotId> = view.slots().collect();
        for task in view.placeable() {
            let turn = slots.partition_point(|slot| slot.0 < self.next);
            let in_turn = slots[turn..].iter().chain(&slots[..turn]).copied();
            if let Some(slot) = in_turn.into_iter().find(|slot| view.is_legal(*task, *slot)) {
                self.next = slot.0 + 1;
                plan.place(*task, slot, "its turn");
            }
        }
    }
}
