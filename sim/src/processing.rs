//! What tasks take of the processors of those who handle them, scheduler and agents: each takes one thing after another.
//!
//! A message's latency says when what it brings can begin to be handled; a batch of many tasks is handled only after that, and what
//! comes meanwhile waits. (The *gap* of LogP is the same idea: Culler and others, PPoPP 1993.) Must never hold what a task takes on a device.

use isochrone_model::{Span, Timestamp};

/// What handling a task takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Processing {
    /// The scheduler: from its submission to its order.
    pub scheduler_task: Span,
    /// An agent: half of it when the order comes, half when an operation of the task has ended.
    pub agent_task: Span,
}

impl Processing {
    /// Of the scheduler for so many orders to run a task.
    #[must_use]
    pub fn of_placing(&self, tasks: usize) -> Span {
        self.scheduler_task.saturating_mul(tasks as u64)
    }

    /// Of an agent for so many such orders.
    #[must_use]
    pub fn of_orders(&self, tasks: usize) -> Span {
        Span(self.agent_task.0 / 2).saturating_mul(tasks as u64)
    }

    /// Of an agent for the end of an operation.
    #[must_use]
    pub fn of_end(&self) -> Span {
        Span(self.agent_task.0 / 2)
    }
}

/// Who takes one thing after another.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Processor {
    free_at: Timestamp,
}

impl Processor {
    /// When it can take something that comes now.
    pub fn free_at(&self, now: Timestamp) -> Timestamp {
        self.free_at.max(now)
    }

    /// It takes something that comes now, for so long; gives when it is done with it.
    pub fn take(&mut self, now: Timestamp, span: Span) -> Timestamp {
        self.free_at = self.free_at(now) + span;
        self.free_at
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn things_are_taken_one_after_another() {
        let processing =
            Processing { scheduler_task: Span::from_micros(7), agent_task: Span::from_micros(5) };
        let mut processor = Processor::default();
        let at = Timestamp(1_000);
        assert_eq!(processor.take(at, Span::ZERO), at, "what takes nothing is done at once");
        assert_eq!(processor.take(at, processing.of_placing(3)), Timestamp(22_000));
        assert_eq!(processor.free_at(at), Timestamp(22_000));
        assert_eq!(processor.take(at, processing.of_orders(2)), Timestamp(27_000), "waits for the first");
        let later = Timestamp(40_000);
        assert_eq!(processor.take(later, processing.of_end()), Timestamp(42_500));
    }
}
