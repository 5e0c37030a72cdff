//! Orders of one turn for one agent, gathered into frames.
//!
//! It must never reorder them.

use isochrone_model::message::OrderBatch;
use isochrone_model::{BoundArgument, Order, TaskOrder, Work};

/// Orders go out in frames of about this size: a quarter of what a frame may hold, so that the estimate
/// below may be wrong by much, and so that the first are under way while the last are written.
const FRAME_BYTES_AIM: u64 = 1 << 20;

/// What a region, and what a predecessor, takes in a frame at most, in bytes.
const REGION_BYTES: u64 = 48;
const WAIT_BYTES: u64 = 11;

/// Orders that wait for the end of the turn.
#[derive(Debug, Default)]
pub(crate) struct PendingOrders {
    frames: Vec<OrderBatch>,
    last_bytes: u64,
}

impl PendingOrders {
    /// Adds an order that was given when `reports_taken` reports of the agent had been stepped. A
    /// frame states the count at its first order: the agent may forget what those reports said before
    /// it takes in the frame, and an order given earlier may still count on it.
    pub(crate) fn push(&mut self, order: Order, reports_taken: u64) {
        let order_bytes = estimated_bytes(&order);
        match self.frames.last_mut() {
            Some(frame) if self.last_bytes + order_bytes <= FRAME_BYTES_AIM => {
                frame.orders.push(order);
                self.last_bytes += order_bytes;
            }
            Some(_) | None => {
                self.frames.push(OrderBatch { reports_taken, orders: vec![order] });
                self.last_bytes = order_bytes;
            }
        }
    }

    /// Hands out the frames.
    pub(crate) fn take(&mut self) -> Vec<OrderBatch> {
        self.last_bytes = 0;
        std::mem::take(&mut self.frames)
    }
}

/// About what an order takes in a frame.
fn estimated_bytes(order: &Order) -> u64 {
    match order {
        Order::Build { source, options, .. } => 64 + (source.len() + options.len()) as u64,
        Order::Run(task) | Order::RunBackup(task) => task_bytes(task),
        Order::PeerJoined { name, address, .. } => 64 + (name.len() + address.len()) as u64,
        Order::DropProgram { .. }
        | Order::DeclareBuffer { .. }
        | Order::DropBuffer { .. }
        | Order::Push { .. }
        | Order::Notify { .. }
        | Order::Release { .. }
        | Order::Cancel { .. }
        | Order::Retract { .. }
        | Order::OpenSession { .. }
        | Order::CloseSession { .. }
        | Order::PeerLeft { .. } => 96,
    }
}

fn task_bytes(task: &TaskOrder) -> u64 {
    let regions = (task.inputs.len() + task.outputs.len()) as u64;
    let work = match &task.work {
        Work::Kernel { arguments, .. } => {
            100 + arguments
                .iter()
                .map(|argument| match argument {
                    BoundArgument::Buffer { .. } | BoundArgument::Local(_) => 56,
                    BoundArgument::Scalar(bytes) => 16 + bytes.len() as u64,
                })
                .sum::<u64>()
        }
        Work::Write { bytes } => 32 + bytes.as_ref().map_or(0, |bytes| bytes.len() as u64),
        Work::Copy { .. } => 64,
        Work::Fill { pattern } => 32 + pattern.len() as u64,
        Work::Read { .. } | Work::Nothing => 16,
    };
    96 + regions * REGION_BYTES + task.waits.len() as u64 * WAIT_BYTES + work
}

#[cfg(test)]
mod tests {
    use isochrone_model::{AgentId, ProgramKey, TaskId};

    use super::*;

    #[test]
    fn a_frame_states_what_was_taken_at_its_first_order() {
        let mut pending = PendingOrders::default();
        pending.push(Order::Cancel { task: TaskId(1) }, 5);
        pending.push(Order::PeerLeft { agent: AgentId(1) }, 9);
        let frames = pending.take();
        assert_eq!(frames.len(), 1);
        assert_eq!((frames[0].reports_taken, frames[0].orders.len()), (5, 2));
        assert!(pending.take().is_empty());
    }

    #[test]
    fn large_orders_go_in_frames_of_their_own_and_in_order() {
        let build = |key| Order::Build {
            program: ProgramKey(key),
            source: "x".repeat(700_000),
            options: String::new(),
        };
        let mut pending = PendingOrders::default();
        for key in 0..3 {
            pending.push(build(key), u64::from(key));
        }
        let frames = pending.take();
        assert_eq!(frames.iter().map(|frame| frame.reports_taken).collect::<Vec<_>>(), [0, 1, 2]);
        assert!(frames.iter().all(|frame| frame.orders.len() == 1));
    }
}
