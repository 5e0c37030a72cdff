//! One agent's surroundings: the machine and its devices' lanes.

use isochrone_model::{Span, Timestamp};
use isochrone_sched_core::agent::{Agent, AgentConfig, Operation};

/// An agent with its lanes.
pub(crate) struct Site {
    pub machine: Agent,
    /// By device, then by slot, the lane for moving bytes last: when it is free.
    lanes: Vec<Vec<Timestamp>>,
    /// The place of its first device in the cluster.
    pub first_device: usize,
    /// Individual reports that the scheduler has taken.
    pub reports_taken: u64,
}

impl Site {
    pub fn new(config: AgentConfig, first_device: usize) -> Self {
        let lanes = config
            .facts
            .devices
            .iter()
            .map(|device| vec![Timestamp::ZERO; usize::from(device.slots) + 1])
            .collect();
        Self { machine: Agent::new(config), lanes, first_device, reports_taken: 0 }
    }

    /// When an operation that is enqueued now starts and ends, in order on its lane.
    pub fn schedule(&mut self, now: Timestamp, operation: &Operation, work: Span) -> (Timestamp, Timestamp) {
        let free_at = &mut self.lanes[operation.device.index()][operation.slot.index()];
        let start = (*free_at).max(now);
        *free_at = start + work;
        (start, *free_at)
    }
}
