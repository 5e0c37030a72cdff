//! What comes to a policy that remembers the tasks it holds back: each task once, when it is ready.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use isochrone_sched_core::{Change, TaskIndex, TaskShape, View};

use crate::{Label, LabelError};

/// When a task counts as ready. The runtimes that the policies come from push a task when those before it have
/// finished; here a task may also be placed as soon as they are placed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ready {
    /// When its predecessors are placed: no round trip through the scheduler lies between them and it.
    Placed,
    /// When its predecessors have finished, as in the source.
    Finished,
}

impl Ready {
    pub const PARAMETER: (&'static str, &'static str, &'static str) = (
        "ready",
        "placed",
        "when a task is considered: `placed`, when those before it are placed, or `finished`, when they have finished",
    );

    pub fn from_label(label: &Label) -> Result<Self, LabelError> {
        label.get("ready", Self::Placed, "placed or finished")
    }
}

impl fmt::Display for Ready {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Placed => "placed",
            Self::Finished => "finished",
        })
    }
}

impl FromStr for Ready {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        match text {
            "placed" => Ok(Self::Placed),
            "finished" => Ok(Self::Finished),
            _ => Err(()),
        }
    }
}

/// A task that is held back. Its place may be given to another task after its end: its sequence tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Held {
    pub sequence: u64,
    pub task: TaskIndex,
}

impl Held {
    pub fn new(view: &View<'_>, task: TaskIndex) -> Self {
        Self { sequence: view.sequence(task), task }
    }

    /// Whether it may still be placed: it has not been cancelled, nor one before it given back.
    pub fn is_placeable(self, view: &View<'_>) -> bool {
        view.is_placeable(self.task) && view.sequence(self.task) == self.sequence
    }
}

/// Gives out each task once it is ready.
#[derive(Clone, Debug)]
pub(crate) struct Inbox {
    ready: Ready,
    /// Tasks that are placeable and wait for some to finish, with their sequence.
    waiting: BTreeMap<TaskIndex, u64>,
    /// Those of them for which one less is to be waited for.
    nearer: Vec<TaskIndex>,
}

impl Inbox {
    pub fn new(ready: Ready) -> Self {
        Self { ready, waiting: BTreeMap::new(), nearer: Vec::new() }
    }

    pub fn ready(&self) -> Ready {
        self.ready
    }

    pub fn observe(&mut self, change: &Change<'_>, view: &View<'_>) {
        if let Change::Removed { task } = change
            && !self.waiting.is_empty()
        {
            let nearer = view.successors(*task).map(|(next, _)| next);
            self.nearer.extend(nearer.filter(|next| self.waiting.contains_key(next)));
        }
    }

    /// The tasks that have become ready since the last time.
    pub fn take(&mut self, view: &View<'_>) -> Vec<Held> {
        let mut taken = Vec::new();
        match self.ready {
            Ready::Placed => {
                taken.extend(view.newly_placeable().iter().map(|task| Held::new(view, *task)));
            }
            Ready::Finished => {
                for task in std::mem::take(&mut self.nearer) {
                    let Some(sequence) = self.waiting.remove(&task) else { continue };
                    let held = Held { sequence, task };
                    if held.is_placeable(view) {
                        self.consider(view, held, &mut taken);
                    }
                }
                for task in view.newly_placeable() {
                    // One that has been cancelled since is not to hold back those that wait for nothing else.
                    let held = Held::new(view, *task);
                    if held.is_placeable(view) {
                        self.consider(view, held, &mut taken);
                    }
                }
                let is_idle = || view.slots().all(|slot| view.slot_queue(slot) == 0);
                if taken.is_empty() && !self.waiting.is_empty() && is_idle() {
                    // What they wait for will not finish on any slot: it has failed, or comes from the client.
                    let waiting = std::mem::take(&mut self.waiting).into_iter();
                    taken.extend(waiting.map(|(task, sequence)| Held { sequence, task }));
                    taken.retain(|held| held.is_placeable(view));
                    taken.sort_unstable();
                }
            }
        }
        taken
    }

    fn consider(&mut self, view: &View<'_>, held: Held, taken: &mut Vec<Held>) {
        // Contents that the client sends are there for every policy alike.
        let is_waiting =
            view.predecessors(held.task).any(|(first, _)| view.shape(first) != TaskShape::Source);
        if is_waiting {
            self.waiting.insert(held.task, held.sequence);
        } else {
            taken.push(held);
        }
    }
}
