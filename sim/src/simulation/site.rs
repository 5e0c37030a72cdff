//! One agent's surroundings: the machine and its devices' lanes.

use std::collections::VecDeque;

use isochrone_model::{Span, Timestamp};
use isochrone_sched_core::agent::{Agent, AgentConfig, Operation, OperationId};

/// An agent with its lanes.
pub(crate) struct Site {
    pub machine: Agent,
    /// By device, then by slot, the lane for moving bytes last: when it is free.
    lanes: Vec<Vec<Lane>>,
    /// The place of its first device in the cluster.
    pub first_device: usize,
    /// Individual reports that the scheduler has taken.
    pub reports_taken: u64,
}

/// An in-order lane: only its first operation need be in the calendar.
#[derive(Clone, Default)]
pub struct Lane {
    free_at: Timestamp,
    pub ending: VecDeque<Ending>,
}

/// An operation that is to end.
#[derive(Clone, Copy)]
pub struct Ending {
    pub at: Timestamp,
    /// Its place in the order of the calendar.
    pub number: u64,
    pub operation: OperationId,
    pub work: Span,
}

impl Site {
    pub fn new(config: AgentConfig, first_device: usize) -> Self {
        let lanes = config
            .facts
            .devices
            .iter()
            .map(|device| vec![Lane::default(); usize::from(device.slots) + 1])
            .collect();
        Self { machine: Agent::new(config), lanes, first_device, reports_taken: 0 }
    }

    /// When an operation that is enqueued now starts and ends, in order on its lane.
    pub fn schedule(&mut self, now: Timestamp, operation: &Operation, work: Span) -> (Timestamp, Timestamp) {
        let lane = self.lane(operation.device.index(), operation.slot.index());
        let start = lane.free_at.max(now);
        lane.free_at = start + work;
        (start, lane.free_at)
    }

    /// A lane of a device.
    pub fn lane(&mut self, device: usize, slot: usize) -> &mut Lane {
        &mut self.lanes[device][slot]
    }
}
