//! `stay-near`: earliest finish, but near the data unless moving away saves more than a margin.
use isochrone_policies::{Label, LabelError, PolicyInfo};
use isochrone_sched_core::{CandidateEstimate, Change, Plan, Policy, PolicyLabel, View};

/// What `isochrone policies` says of it, and how a label makes one.
pub const INFO: PolicyInfo = PolicyInfo {
    name: "stay-near",
    summary: "earliest finish, near the data unless moving away saves more than a margin",
    parameters: &[("margin", "20", "percent that another place must save")],
    make,
};

fn make(label: &Label) -> Result<Box<dyn Policy>, LabelError> {
    let margin = label.get("margin", 20, "a whole number of percent")?;
    Ok(Box::new(StayNear { margin, failures: 0 }))
}

/// The policy, with what it keeps between calls.
pub struct StayNear {
    margin: u64,
    failures: u64,
}

impl Policy for StayNear {
    /// Must parse back to the same policy.
    fn label(&self) -> PolicyLabel {
        format!("{}(margin={})", INFO.name, self.margin)
    }

    /// Optional: for policies that keep state of their own.
    fn observe(&mut self, change: &Change<'_>, _view: &View<'_>) {
        if let Change::Unplaced { .. } = change {
            self.failures += 1;
        }
    }

    fn place(&mut self, view: &View<'_>, plan: &mut Plan) {
        // What this plan has given to each slot so far; the view only knows what was placed before.
        let mut free_at: Vec<_> = view.slots().map(|slot| (slot, view.slot_free_at(slot))).collect();
        for &task in view.placeable() {
            let candidates: Vec<CandidateEstimate> = free_at
                .iter()
                .filter(|(slot, _)| view.legal_slots(task).any(|legal| legal == *slot))
                .map(|(slot, free)| view.weigh(task, *slot, *free))
                .collect();
            let lacking = |slot| view.missing_bytes(task, view.agent_of(view.device_of(slot)));
            let nearest = candidates.iter().min_by_key(|one| (lacking(one.slot), one.finish, one.slot));
            let fastest = candidates.iter().min_by_key(|one| (one.finish, one.slot));
            let (Some(nearest), Some(fastest)) = (nearest, fastest) else { continue };
            let saves_enough =
                fastest.finish.saturating_mul(100 + self.margin) < nearest.finish.saturating_mul(100);
            let chosen = if saves_enough { *fastest } else { *nearest };
            if let Some((_, free)) = free_at.iter_mut().find(|(slot, _)| *slot == chosen.slot) {
                *free = (view.now() + chosen.finish).max(*free);
            }
            plan.place_weighed(task, chosen.slot, "near its data, or much sooner elsewhere", candidates);
        }
    }
}
