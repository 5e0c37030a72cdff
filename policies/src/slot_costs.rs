//! What a task costs on each slot that may run it.

use isochrone_model::{SlotId, Span, Timestamp};
use isochrone_sched_core::{TaskIndex, View};

/// A task on one slot.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SlotCost {
    pub slot: SlotId,
    /// When its inputs and the scheduler's word are there.
    pub ready: Timestamp,
    /// How much later that is than on the slot where they are there first: what moving them costs.
    pub transfer: Span,
    pub execution: Span,
    /// Whether the kernel has been seen on the device, so that the execution is no guess.
    pub is_seen: bool,
}

/// Weighs a task on every slot that may run it, in order of slots. Agents and devices are each asked about once.
pub(crate) fn slot_costs(view: &View<'_>, task: TaskIndex, costs: &mut Vec<SlotCost>) {
    costs.clear();
    let now = view.now();
    let (mut last_agent, mut ready) = (None, now);
    for device in view.legal_devices(task) {
        let agent = view.agent_of(device);
        if last_agent != Some(agent) {
            last_agent = Some(agent);
            ready = view.inputs_ready_at(task, agent).max(now + view.control_one_way(agent));
        }
        let estimate = view.execution(task, device);
        let (execution, is_seen) = (estimate.expected, estimate.basis.is_seen());
        let slots = view.slots_of(device).iter();
        costs.extend(slots.map(|slot| SlotCost {
            slot: *slot,
            ready,
            transfer: Span::ZERO,
            execution,
            is_seen,
        }));
    }
    let first = costs.iter().map(|cost| cost.ready).min().unwrap_or(now);
    for cost in costs {
        cost.transfer = cost.ready.since(first);
    }
}
