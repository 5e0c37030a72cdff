//! `eager`: to the slot with the fewest tasks.
//!
//! The least informed of the dynamic policies: it knows neither durations nor transfers, only how many
//! tasks each slot has been given and not finished. Ties go to the lower slot id.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::collections::binary_heap::PeekMut;

use isochrone_model::SlotId;
use isochrone_sched_core::{Plan, Policy, PolicyLabel, View};

use crate::{Label, LabelError, PolicyInfo};

pub(crate) const INFO: PolicyInfo = PolicyInfo {
    name: "eager",
    summary: "to the slot with the fewest tasks; knows neither durations nor transfers",
    parameters: &[],
    make,
};

fn make(_label: &Label) -> Result<Box<dyn Policy>, LabelError> {
    Ok(Box::new(Eager::default()))
}

/// The policy.
#[derive(Clone, Debug, Default)]
pub struct Eager {
    /// Slots that cannot run the task at hand and have fewer tasks than those that can.
    passed_over: Vec<Reverse<(u32, SlotId)>>,
}

impl Policy for Eager {
    fn label(&self) -> PolicyLabel {
        INFO.name.to_owned()
    }

    fn place(&mut self, view: &View<'_>, plan: &mut Plan) {
        let mut shortest: BinaryHeap<Reverse<(u32, SlotId)>> =
            view.slots().map(|slot| Reverse((view.slot_queue(slot), slot))).collect();
        for task in view.placeable() {
            while let Some(mut first) = shortest.peek_mut() {
                let Reverse((queued, slot)) = *first;
                if view.is_legal(*task, slot) {
                    *first = Reverse((queued.saturating_add(1), slot));
                    plan.place(*task, slot, "fewest tasks in its queue");
                    break;
                }
                self.passed_over.push(PeekMut::pop(first));
            }
            shortest.extend(self.passed_over.drain(..));
        }
    }
}
