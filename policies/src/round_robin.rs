//! `round-robin`: to each slot in turn.
//!
//! Slots that cannot run the task are passed over and keep their turn for the next task.

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
        for task in view.placeable() {
            let mut legal = view.legal_slots(*task);
            let first = legal.next();
            let chosen = first.into_iter().chain(legal).find(|slot| slot.0 >= self.next).or(first);
            if let Some(slot) = chosen {
                self.next = slot.0 + 1;
                plan.place(*task, slot, "its turn");
            }
        }
    }
}
