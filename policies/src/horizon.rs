//! How far ahead of its end the queue of a slot is filled.
//!
//! A word to an agent and its answer take a round trip, so that a slot runs dry unless its next task is there before
//! the one that runs has ended. Whatever is placed further ahead cannot be moved any more when estimates prove wrong.
//! So a slot is given tasks until its queue covers `ahead` round trips between the scheduler and its agent, and at
//! least `ahead_min_us`; the rest is held back. No constant stands for latency: the round trip is the view's.

use isochrone_model::{SlotId, Span, Timestamp};
use isochrone_sched_core::{Plan, View};

use crate::{Label, LabelError};

/// The two parameters, as every policy that holds tasks back takes them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Horizon {
    pub ahead: u64,
    pub ahead_min: Span,
}

impl Horizon {
    pub const AHEAD: (&'static str, &'static str, &'static str) =
        ("ahead", "4", "how many round trips to an agent its slots' queues cover");
    pub const AHEAD_MIN: (&'static str, &'static str, &'static str) =
        ("ahead_min_us", "20000", "the least time in microseconds that they cover");

    pub fn from_label(label: &Label) -> Result<Self, LabelError> {
        let ahead = label.get("ahead", 4, "a whole number from 0")?;
        let ahead_min_us: u64 = label.get("ahead_min_us", 20_000, "a whole number of microseconds")?;
        Ok(Self { ahead, ahead_min: Span(ahead_min_us.saturating_mul(1_000)) })
    }

    /// As a label writes them, without brackets.
    pub fn text(self) -> String {
        format!("ahead={},ahead_min_us={}", self.ahead, self.ahead_min.0 / 1_000)
    }

    /// The time that a slot's queue is to cover.
    pub fn of_slot(self, view: &View<'_>, slot: SlotId) -> Span {
        let agent = view.agent_of(view.device_of(slot));
        view.control_one_way(agent).saturating_mul(self.ahead.saturating_mul(2)).max(self.ahead_min)
    }
}

/// Whether a slot that is free at `free_at` is due for a task that is to be placed `lead` ahead.
///
/// If not, the policy is asked again when it is, unless the end of the slot's first task comes before that: what lies
/// behind it covers the lead alone. A slot with nothing to do is always due, so that nothing is held back for ever.
pub(crate) fn is_due(view: &View<'_>, plan: &mut Plan, slot: SlotId, free_at: Timestamp, lead: Span) -> bool {
    if free_at.since(view.now()) <= lead {
        return true;
    }
    if view.slot_queued_behind(slot) <= lead {
        plan.hold_until(Timestamp(free_at.0.saturating_sub(lead.0)));
    }
    false
}
