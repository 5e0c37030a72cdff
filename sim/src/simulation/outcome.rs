//! What came of a run.

use isochrone_model::message::Decision;
use isochrone_model::{Span, Timestamp};
use serde::Serialize;
use sha2::{Digest, Sha256};

use crate::cluster::Party;

/// A run, told whole. Times count from the moment at which the client submits the graph.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// From submission to the end of the last task on its device.
    pub makespan: Span,
    /// From submission until the client knows of the last end.
    pub turnaround: Span,
    /// By task.
    pub tasks: Vec<TaskRun>,
    /// Attempts beside those in `tasks`, in the order of the starts of the later ones: of tasks that had a backup, the attempt that ended later.
    pub outrun: Vec<OutrunRun>,
    /// In order of start.
    pub transfers: Vec<TransferRun>,
    /// By device, in the cluster's order.
    pub devices: Vec<DeviceRun>,
    /// Bytes that passed between hosts.
    pub moved_bytes: u64,
    /// Steps of all machines.
    pub steps: u64,
    /// Proposals of the policy that were refused.
    pub rejections: u64,
    /// What the scheduler's turns took on the host's clock, if a stopwatch was given.
    pub decision_time: Option<Span>,
    /// Decisions about the tasks of which they are kept, in order of time.
    pub decisions: Vec<TaskDecision>,
}

/// A decision about a task.
#[derive(Clone, Debug, PartialEq)]
pub struct TaskDecision {
    /// The task, by its place in the graph.
    pub task: usize,
    /// When.
    pub at: Timestamp,
    /// What was weighed and chosen.
    pub decision: Decision,
}

/// Where and when one task ran.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct TaskRun {
    /// The device, by its place in the cluster file.
    pub device: usize,
    /// The slot of the device.
    pub slot: usize,
    /// When the scheduler decided.
    pub placed: Timestamp,
    /// When the scheduler's order reached the agent.
    pub ordered: Timestamp,
    /// When it began on the device.
    pub start: Timestamp,
    /// When it ended there.
    pub finish: Timestamp,
    /// How many times it was begun.
    pub attempts: u32,
}

/// An attempt of a task that another one outran.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct OutrunRun {
    /// The task, by its place in the graph.
    pub task: usize,
    /// Where and when; it went on to its end.
    pub run: TaskRun,
}

/// Contents that moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TransferRun {
    /// One more than the item's place; 0 for none.
    item: u32,
    from: u32,
    to: u32,
    /// How many bytes.
    pub size_bytes: u64,
    /// When it began.
    pub start: Timestamp,
    /// When it was there; the time of its start until then.
    pub finish: Timestamp,
}

impl TransferRun {
    /// One that begins: its finish is to be set.
    pub(super) fn begun(
        item: Option<usize>,
        from: Party,
        to: Party,
        size_bytes: u64,
        now: Timestamp,
    ) -> Self {
        let item = item.map_or(0, |item| item as u32 + 1);
        let (from, to) = (from.place() as u32, to.place() as u32);
        Self { item, from, to, size_bytes, start: now, finish: now }
    }

    /// The item, by its place in the graph; `None` for memory that tasks work in.
    #[must_use]
    pub fn item(&self) -> Option<usize> {
        self.item.checked_sub(1).map(|item| item as usize)
    }

    /// Where from.
    #[must_use]
    pub fn from(&self) -> Party {
        Party::at(self.from as usize)
    }

    /// Where to.
    #[must_use]
    pub fn to(&self) -> Party {
        Party::at(self.to as usize)
    }
}

/// What one device did.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct DeviceRun {
    /// `agent/device`.
    pub name: String,
    /// Slots.
    pub slots: usize,
    /// Tasks that ran on it.
    pub tasks: usize,
    /// The time it was busy, summed over its slots.
    pub busy: Span,
}

impl Outcome {
    /// The digest of everything that happened: equal digests mean equal runs.
    #[must_use]
    pub fn digest(&self) -> String {
        let mut hash = Sha256::new();
        let mut take = |value: u64| hash.update(value.to_le_bytes());
        for task in &self.tasks {
            for value in [task.device as u64, task.slot as u64, task.ordered.0, task.start.0, task.finish.0] {
                take(value);
            }
        }
        for OutrunRun { task, run } in &self.outrun {
            for value in [*task as u64, run.device as u64, run.slot as u64, run.start.0, run.finish.0] {
                take(value);
            }
        }
        for transfer in &self.transfers {
            let party = |party| match party {
                Party::Scheduler => 0,
                Party::Client => 1,
                Party::Agent(agent) => agent as u64 + 2,
            };
            for value in [party(transfer.from()), party(transfer.to()), transfer.start.0, transfer.finish.0] {
                take(value);
            }
        }
        take(self.makespan.0);
        take(self.steps);
        hash.finalize().iter().take(8).map(|byte| format!("{byte:02x}")).collect()
    }
}
