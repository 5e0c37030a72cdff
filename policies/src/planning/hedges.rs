//! Watching what is placed: a kernel that is late is run on another agent as well.
//!
//! A task is watched from when its last predecessor has ended. It is due when its slot's account says so, but not before
//! its contents have come and it has run. Two things are waited for beyond that, whichever takes longer:
//!
//! - an allowance for estimates: `factor - 1` times what it was expected to take from when it was free to run, the distance
//!   of the execution's ninth decile from what is expected (`Estimate::high`), and the way of a word to the agent and back;
//! - as long as a new attempt would take elsewhere, with its contents' way there, and that of what it makes to where it was
//!   expected. Nobody knows when a task ends that is late; who first waits for as long as the other way costs loses at most
//!   that much (the ski rental problem: Karlin et al., Algorithmica 3, 1988).
//!
//! What has not got its contents waits for the network, which a backup would only load more. Where a duration is a guess
//! nobody is late, and a backup is no way to try a device: blind, backups lured the planner across a satellite link.
//!
//! LATE (Zaharia et al., OSDI 2008) ranks by progress rates, which OpenCL does not tell. A backup goes to a slot that has
//! nothing to do and, by the plan, will have nothing to do meanwhile; to the one where it ends first, of equal ones that
//! with the smallest id.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};

use isochrone_model::{AgentId, DeviceId, SlotId, Span, TaskId, Timestamp};
use isochrone_sched_core::{Change, Plan, TaskIndex, View};

/// So many late tasks are looked at in one turn at most.
const LOOKS_MAX: usize = 64;
/// A task that nothing can be done for is looked at again after this at the earliest.
const LOOK_AGAIN_MIN: Span = Span::from_millis(1);

/// What is known of the placed tasks of a policy.
#[derive(Debug)]
pub(super) struct Hedges {
    factor: u64,
    /// Proposed since the last look.
    fresh: Vec<TaskIndex>,
    /// Placed, behind tasks that have not ended.
    waiting: BTreeSet<TaskIndex>,
    free: BTreeMap<TaskIndex, Free>,
    /// When to look at which; may hold some that have ended.
    alarms: BinaryHeap<Reverse<(Timestamp, TaskIndex, TaskId)>>,
}

/// A task that only its contents and its slot hold up.
#[derive(Clone, Copy, Debug)]
struct Free {
    since: Timestamp,
    /// It cannot be expected to end before.
    not_before: Timestamp,
    /// Its contents had come when it was last looked at.
    has_contents: bool,
}

impl Hedges {
    /// `factor` is 1 at least.
    pub fn new(factor: u64) -> Self {
        Self {
            factor,
            fresh: Vec::new(),
            waiting: BTreeSet::new(),
            free: BTreeMap::new(),
            alarms: BinaryHeap::new(),
        }
    }

    /// A task has been proposed.
    pub fn note_placed(&mut self, task: TaskIndex) {
        self.fresh.push(task);
    }

    /// When it wants to look.
    pub fn wake_at(&self) -> Option<Timestamp> {
        if !self.fresh.is_empty() {
            return Some(Timestamp::ZERO);
        }
        self.alarms.peek().map(|Reverse((at, _, _))| *at)
    }

    pub fn observe(&mut self, change: &Change<'_>, view: &View<'_>) {
        match change {
            Change::Removed { task } => {
                self.forget(*task);
                if self.waiting.is_empty() {
                    return;
                }
                let behind: Vec<TaskIndex> = view
                    .successors(*task)
                    .map(|(next, _)| next)
                    .filter(|next| self.waiting.contains(next))
                    .filter(|next| view.predecessors(*next).all(|(first, _)| first == *task))
                    .collect();
                for next in behind {
                    self.waiting.remove(&next);
                    self.begin(view, next);
                }
            }
            Change::Unplaced { task } => self.forget(*task),
            Change::Submitted { .. } | Change::Measured { .. } | Change::FarmChanged => {}
        }
    }

    fn forget(&mut self, task: TaskIndex) {
        self.waiting.remove(&task);
        self.free.remove(&task);
    }

    /// Nothing is before a placed task any more.
    fn begin(&mut self, view: &View<'_>, task: TaskIndex) {
        let Some(slot) = view.slot_of(task) else { return };
        let device = view.device_of(slot);
        let agent = view.agent_of(device);
        let not_before = view.inputs_ready_at(task, agent) + view.execution(task, device).expected;
        let has_contents = has_contents(view, task, agent);
        self.free.insert(task, Free { since: view.now(), not_before, has_contents });
        if let Some((due, allowance)) = self.due(view, task, slot) {
            self.alarm(view, due + allowance, task);
        }
    }

    fn alarm(&mut self, view: &View<'_>, at: Timestamp, task: TaskIndex) {
        if let Some(id) = view.task_id(task) {
            self.alarms.push(Reverse((at, task, id)));
        }
    }

    /// When a task is due, and how much later it may end before it is late.
    fn due(&self, view: &View<'_>, task: TaskIndex, slot: SlotId) -> Option<(Timestamp, Span)> {
        let free = self.free.get(&task)?;
        let due = view.due(task)?.max(free.not_before);
        let device = view.device_of(slot);
        let execution = view.execution(task, device);
        let spread = execution.high.saturating_sub(execution.expected);
        let word = view.control_one_way(view.agent_of(device)).saturating_mul(2);
        let expected = due.since(free.since).saturating_mul(self.factor.saturating_sub(1));
        Some((due, expected.saturating_add(spread).saturating_add(word)))
    }

    /// Asks for backups of what is late. `idle_until` says until when a slot has nothing to do by the plan.
    pub fn look(&mut self, view: &View<'_>, idle_until: impl Fn(SlotId) -> Timestamp, plan: &mut Plan) {
        for task in std::mem::take(&mut self.fresh) {
            if view.slot_of(task).is_none() || !view.is_mine(task) {
                continue;
            }
            if view.predecessors(task).next().is_some() {
                self.waiting.insert(task);
            } else {
                self.begin(view, task);
            }
        }
        let mut taken = BTreeSet::new();
        for _ in 0..LOOKS_MAX {
            let Some(Reverse((at, task, id))) = self.alarms.peek().copied() else { return };
            if at > view.now() {
                return;
            }
            self.alarms.pop();
            if view.task_id(task) != Some(id) || !self.free.contains_key(&task) {
                continue;
            }
            let again = self.look_at(view, &idle_until, task, &mut taken, plan);
            if let Some(again) = again {
                self.alarm(view, again.max(view.now() + LOOK_AGAIN_MIN), task);
            }
        }
    }

    /// Asks for a backup of a task if it is late enough; when to look again.
    fn look_at(
        &mut self,
        view: &View<'_>,
        idle_until: &impl Fn(SlotId) -> Timestamp,
        task: TaskIndex,
        taken: &mut BTreeSet<SlotId>,
        plan: &mut Plan,
    ) -> Option<Timestamp> {
        let slot = view.slot_of(task)?;
        let (due, allowance) = self.due(view, task, slot)?;
        let now = view.now();
        let late = now.since(due);
        if late < allowance || view.has_backup(task) {
            return Some((due + allowance).max(now + allowance));
        }
        let device = view.device_of(slot);
        let first = view.agent_of(device);
        let is_seen = |device: DeviceId| view.execution(task, device).basis.is_seen();
        if !is_seen(device) || !has_contents(view, task, first) {
            return Some(now + allowance);
        }
        if let Some(free) = self.free.get_mut(&task).filter(|free| !free.has_contents) {
            // They have come since it was last looked at, nobody knows when.
            free.has_contents = true;
            free.not_before = now + view.execution(task, device).expected;
            return Some(free.not_before + allowance);
        }
        let mut places: Vec<(Span, SlotId)> = view
            .legal_slots(task)
            .filter(|other| view.agent_of(view.device_of(*other)) != first)
            .filter(|other| view.slot_queue(*other) == 0 && !taken.contains(other))
            .filter(|other| is_seen(view.device_of(*other)))
            .map(|other| (takes(view, task, other, first), other))
            .filter(|(takes, other)| now + *takes <= idle_until(*other))
            .collect();
        places.sort_unstable();
        for (takes, other) in places {
            if takes > late {
                return Some(due + takes);
            }
            if view.may_have_backup(task, other) {
                plan.hedge(task, other, "backup: late, and it would have ended here by now");
                taken.insert(other);
                break;
            }
        }
        Some(now + allowance)
    }
}

/// Whether all that a task reads has come to an agent.
fn has_contents(view: &View<'_>, task: TaskIndex, agent: AgentId) -> bool {
    let read = view.inputs(task).filter(|input| !input.is_zero).map(|input| input.size_bytes);
    view.resident_bytes(task, agent) >= read.sum()
}

/// From now until a task would have ended on a slot that has nothing to do, and what it makes would be where it is expected.
fn takes(view: &View<'_>, task: TaskIndex, slot: SlotId, expected_at: AgentId) -> Span {
    let weighed = view.weigh(task, slot, view.slot_free_at(slot));
    let agent = view.agent_of(view.device_of(slot));
    weighed.finish.saturating_add(view.transfer(agent, expected_at, view.output_bytes(task)))
}
