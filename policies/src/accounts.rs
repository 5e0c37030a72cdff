//! What a plan has given to each slot so far, on top of what the view says.

use isochrone_model::{SlotId, Timestamp};
use isochrone_sched_core::View;

/// Free times and queues of the slots that are there.
pub(crate) struct SlotAccounts {
    slots: Vec<SlotId>,
    free_at: Vec<Timestamp>,
    queued: Vec<u32>,
}

impl SlotAccounts {
    pub fn new(view: &View<'_>) -> Self {
        let slots: Vec<SlotId> = view.slots().collect();
        let end = slots.last().map_or(0, |slot| slot.index() + 1);
        let (mut free_at, mut queued) = (vec![Timestamp::NEVER; end], vec![u32::MAX; end]);
        for slot in &slots {
            free_at[slot.index()] = view.slot_free_at(*slot);
            queued[slot.index()] = view.slot_queue(*slot);
        }
        Self { slots, free_at, queued }
    }

    /// Slots that are there, in order of id.
    pub fn slots(&self) -> &[SlotId] {
        &self.slots
    }

    pub fn free_at(&self, slot: SlotId) -> Timestamp {
        self.free_at.get(slot.index()).copied().unwrap_or(Timestamp::NEVER)
    }

    pub fn queued(&self, slot: SlotId) -> u32 {
        self.queued.get(slot.index()).copied().unwrap_or(u32::MAX)
    }

    /// Counts a task that the plan has just given to a slot and expects to end at `finish`.
    pub fn give(&mut self, slot: SlotId, finish: Timestamp) {
        if let Some(free_at) = self.free_at.get_mut(slot.index()) {
            *free_at = finish.max(*free_at);
        }
        if let Some(queued) = self.queued.get_mut(slot.index()) {
            *queued = queued.saturating_add(1);
        }
    }
}
