//! What a policy is: it looks at a `View`, and proposes.

use isochrone_model::{
    AgentId, BytesPerSecond, CommandId, DeviceId, SessionId, SlotId, Span, Timestamp, TransferParts,
};

use crate::dag::TaskIndex;
use crate::view::View;

/// A policy's name with its parameters, such as `random(seed=7)`; parses back to the same policy.
pub type PolicyLabel = String;

/// Decides where tasks run. It proposes; the machine validates and acts, so that a wrong policy can waste
/// time but never corrupt state or lose a task.
///
/// A policy sees all sessions that chose its label. It must be deterministic: the same calls in the same
/// order make the same proposals (draw random numbers from a named generator with a seed of its own).
pub trait Policy: Send {
    /// The label that makes this policy.
    fn label(&self) -> PolicyLabel;

    /// Whether it remembers the tasks that it has been asked about and not proposed, and looks only at
    /// `View::newly_placeable`: the machine then need not go through all that are held back each time it asks.
    /// Of those that it remembers some may have ended or be blocked again; `View::is_placeable` tells.
    fn remembers_tasks(&self) -> bool {
        false
    }

    /// When it wants to be asked even if it has nothing to place, since tasks that are placed may turn out to be late; at once if that has
    /// passed. Read after each step.
    fn wake_at(&self) -> Option<Timestamp> {
        None
    }

    /// Something changed; for policies that keep state of their own. Called after the change is in the
    /// view, except for `Change::Removed`, which comes before.
    fn observe(&mut self, _change: &Change<'_>, _view: &View<'_>) {}

    /// Proposes places for the tasks of `view.placeable()`. Within one plan proposals take effect in
    /// order, so a task may be proposed right after its last unplaced predecessor. Tasks without a
    /// proposal stay placeable; `place` is called again when something has changed.
    fn place(&mut self, view: &View<'_>, plan: &mut Plan);
}

/// What a policy is told of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change<'a> {
    /// Tasks of this policy's sessions came in, in program order.
    Submitted {
        /// All of one session that came in since the policy was last asked or told anything.
        tasks: &'a [TaskIndex],
    },
    /// A task left the graph; its index may be given to another.
    Removed {
        /// The task.
        task: TaskIndex,
    },
    /// A task that had been placed must be placed again, since its agent left.
    Unplaced {
        /// The task.
        task: TaskIndex,
    },
    /// A kernel has run; its task leaves the graph next.
    Measured {
        /// The task.
        task: TaskIndex,
        /// What it was expected to take when it was placed.
        expected: Span,
        /// What it took.
        execution: Span,
    },
    /// Agents or devices came or went.
    FarmChanged,
}

/// What a policy proposes.
#[derive(Debug, Default)]
pub struct Plan {
    pub(crate) proposals: Vec<Proposal>,
    pub(crate) hold_until: Option<Timestamp>,
}

/// One proposal.
#[derive(Clone, Debug)]
pub(crate) struct Proposal {
    pub task: TaskIndex,
    pub slot: SlotId,
    pub reason: &'static str,
    pub candidates: Vec<CandidateEstimate>,
    /// A task that is to start first on the same slot.
    pub behind: Option<TaskIndex>,
    /// The task is placed already, and to run here as well.
    pub is_backup: bool,
}

impl Proposal {
    fn new(task: TaskIndex, slot: SlotId, reason: &'static str) -> Self {
        Self { task, slot, reason, candidates: Vec::new(), behind: None, is_backup: false }
    }
}

/// What a policy weighed for one slot; spans count from the time of the decision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CandidateEstimate {
    /// The slot.
    pub slot: SlotId,
    /// Until the slot is free.
    pub queueing: Span,
    /// Until the inputs are there.
    pub transfer: Span,
    /// On the device.
    pub execution: Span,
    /// Until it is finished; for a task whose contents the client reads next, as far as the policy looks there, until they are with it.
    pub finish: Span,
}

impl Plan {
    /// Proposes to run a task on a slot, for a reason that people will read.
    pub fn place(&mut self, task: TaskIndex, slot: SlotId, reason: &'static str) {
        self.proposals.push(Proposal::new(task, slot, reason));
    }

    /// Proposes to run a task on a slot, and that it must not start before another task that is placed on the same slot: a planned order on
    /// a slot holds even when the inputs of the later task come first.
    pub fn place_behind(
        &mut self,
        task: TaskIndex,
        slot: SlotId,
        reason: &'static str,
        behind: Option<TaskIndex>,
    ) {
        self.proposals.push(Proposal { behind, ..Proposal::new(task, slot, reason) });
    }

    /// The same, with what was weighed, kept for `explain`.
    pub fn place_weighed(
        &mut self,
        task: TaskIndex,
        slot: SlotId,
        reason: &'static str,
        candidates: Vec<CandidateEstimate>,
    ) {
        self.proposals.push(Proposal { candidates, ..Proposal::new(task, slot, reason) });
    }

    /// Proposes to run a kernel that is placed and has not ended on a slot of another agent as well: the attempt that ends first counts, the
    /// other is cancelled (backup tasks: Dean and Ghemawat, OSDI 2004; hedged requests: Dean and Barroso, CACM 56(2), 2013). A kernel
    /// that is run twice on the same contents must make equally good ones. `View::may_have_backup` says whether it would be taken.
    pub fn hedge(&mut self, task: TaskIndex, slot: SlotId, reason: &'static str) {
        self.proposals.push(Proposal { is_backup: true, ..Proposal::new(task, slot, reason) });
    }

    /// Asks to be called again at this time at the latest, for tasks that it holds back. A time that has passed is a mistake, which is
    /// counted: it would be asked again for ever before anything else can happen, so that it is asked a millisecond later.
    pub fn hold_until(&mut self, time: Timestamp) {
        self.hold_until = Some(self.hold_until.map_or(time, |held| held.min(time)));
    }
}

/// Why a proposal was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Rejection {
    /// There is no such task.
    UnknownTask,
    /// There is no such slot.
    UnknownSlot,
    /// The task's predecessors are not all placed, or it is placed already.
    NotPlaceable,
    /// The task belongs to a session of another policy.
    NotYours,
    /// The slot's agent is not there.
    AgentAbsent,
    /// The program did not build there, or the buffers or the work-group do not fit.
    IllegalDevice,
    /// Not of a task: tasks are held back until a time that has passed. The policy is asked again a little later.
    HeldUntilThePast,
    /// An attempt of another task is under way there, or may be, that uses other contents of the same bytes; of a task that
    /// ended elsewhere, also the contents that it made.
    BytesInUse,
    /// A backup is asked for of what is no kernel, or of a task that is not placed or waits for others.
    NotUnderWay,
    /// The task has another attempt already.
    HasBackup,
    /// A backup is asked for where the task is placed.
    SameAgent,
    /// A backup could not have its contents: they lie nowhere but where the task is about to overwrite them.
    ContentsInUse,
    /// As many backups as there may be are under way.
    TooManyBackups,
}

impl Rejection {
    /// For people and counters.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::UnknownTask => "unknown task",
            Self::UnknownSlot => "unknown slot",
            Self::NotPlaceable => "not placeable",
            Self::NotYours => "task of another policy",
            Self::AgentAbsent => "agent absent",
            Self::IllegalDevice => "device cannot run it",
            Self::HeldUntilThePast => "held until a time that has passed",
            Self::BytesInUse => "bytes in use by another attempt",
            Self::NotUnderWay => "no kernel under way",
            Self::HasBackup => "backup under way",
            Self::SameAgent => "backup on the same agent",
            Self::ContentsInUse => "contents of a backup in use",
            Self::TooManyBackups => "too many backups",
        }
    }
}

/// Makes policies from labels. `policies` has the one that knows them all.
pub trait PolicyRegistry: Send {
    /// The policy of a label.
    ///
    /// # Errors
    /// When the label does not parse or names none; the text says which labels there are.
    fn create(&self, label: &str) -> Result<Box<dyn Policy>, String>;
}

/// A transfer that was ordered with a placement, and what was known of its path.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TransferRecord {
    pub from: AgentId,
    pub to: AgentId,
    pub size_bytes: u64,
    pub parts: TransferParts,
    pub round_trip: Span,
    pub rate: BytesPerSecond,
    pub samples: u64,
    pub age: Option<Span>,
}

/// A decision as the machine keeps it.
#[derive(Clone, Debug)]
pub(crate) struct DecisionRecord {
    pub session: SessionId,
    pub command: CommandId,
    pub task: isochrone_model::TaskId,
    pub policy: usize,
    pub slot: SlotId,
    pub device: DeviceId,
    pub reason: &'static str,
    pub candidates: Vec<CandidateEstimate>,
    /// The policy named none.
    pub is_weighed_by_scheduler: bool,
    pub transfers: Vec<TransferRecord>,
}
