//! `heft`: Heterogeneous Earliest Finish Time (Topcuoglu, Hariri and Wu, IEEE TPDS 13(3), 2002).
//!
//! Plans all that is known of the graph when it arrives: tasks in order of falling upward rank, each to the
//! slot where it would finish first, gaps in a slot's plan used where the task fits (insertion). Ties go to
//! the earlier task in program order, then to the lower slot id. Costs follow the conventions in `ranks`,
//! latency included. A task that comes back because its agent left is planned again with all that is not
//! placed yet.

use std::collections::HashMap;

use isochrone_model::{SlotId, Span, Timestamp};
use isochrone_sched_core::{Change, Plan, Policy, PolicyLabel, TaskIndex, View};

use crate::accounts::SlotAccounts;
use crate::ranks::upward_ranks;
use crate::{Label, LabelError, PolicyInfo};

pub(crate) const INFO: PolicyInfo = PolicyInfo {
    name: "heft",
    summary: "static: by upward rank, to the slot of earliest finish, with insertion",
    parameters: &[],
    make,
};

fn make(_label: &Label) -> Result<Box<dyn Policy>, LabelError> {
    Ok(Box::new(Heft::default()))
}

/// The policy.
#[derive(Clone, Debug, Default)]
pub struct Heft {
    ranks: Vec<Span>,
    /// Tasks that came in and are not planned.
    unplanned: Vec<TaskIndex>,
    planned: HashMap<TaskIndex, Planned>,
    /// What is planned on each slot, by start.
    timelines: HashMap<SlotId, Vec<(Timestamp, Timestamp)>>,
}

#[derive(Clone, Copy, Debug)]
struct Planned {
    slot: SlotId,
    finish: Timestamp,
    /// Place in the order of planning.
    order: u64,
}

impl Heft {
    /// Plans every task that came in since the last time.
    fn plan_ahead(&mut self, view: &View<'_>) {
        let mut tasks: Vec<TaskIndex> = std::mem::take(&mut self.unplanned);
        // The place of a task that ended may belong to another one by now, even to one that came in since.
        tasks.retain(|task| view.is_mine(*task) && view.placed_on(*task).is_none());
        tasks.sort_by_key(|task| view.sequence(*task));
        tasks.dedup();
        tasks.retain(|task| !self.planned.contains_key(task));
        upward_ranks(view, &tasks, &mut self.ranks);
        let accounts = SlotAccounts::new(view);
        if self.planned.is_empty() {
            self.timelines.clear();
        }
        let mut order: Vec<TaskIndex> = tasks.into_iter().filter(|task| view.is_for_policy(*task)).collect();
        order.sort_by_key(|task| (std::cmp::Reverse(self.ranks[task.index()]), view.sequence(*task)));
        let base = self.planned.values().map(|planned| planned.order + 1).max().unwrap_or(0);
        for (place, task) in order.into_iter().enumerate() {
            if let Some((slot, start, finish)) = self.earliest_finish(view, &accounts, task) {
                let timeline = self.timelines.entry(slot).or_default();
                let at = timeline.partition_point(|(other, _)| *other < start);
                timeline.insert(at, (start, finish));
                self.planned.insert(task, Planned { slot, finish, order: base + place as u64 });
            } else {
                self.unplanned.push(task);
            }
        }
    }

    fn earliest_finish(
        &self,
        view: &View<'_>,
        accounts: &SlotAccounts,
        task: TaskIndex,
    ) -> Option<(SlotId, Timestamp, Timestamp)> {
        view.legal_slots(task)
            .map(|slot| {
                let device = view.device_of(slot);
                let execution = view.execution(task, device).expected;
                let ready = self.ready_at(view, task, slot);
                let start = self.gap(slot, ready.max(accounts.free_at(slot)), execution);
                (start + execution, slot, start)
            })
            .min()
            .map(|(finish, slot, start)| (slot, start, finish))
    }

    /// When the task's inputs are there: as the view says for what is placed, as planned for the rest.
    fn ready_at(&self, view: &View<'_>, task: TaskIndex, slot: SlotId) -> Timestamp {
        let agent = view.agent_of(view.device_of(slot));
        let mut ready = view.inputs_ready_at(task, agent).max(view.now() + view.control_one_way(agent));
        for (first, _) in view.predecessors(task) {
            if let Some(planned) = self.planned.get(&first) {
                let from = view.agent_of(view.device_of(planned.slot));
                ready = ready.max(planned.finish + view.transfer(from, agent, view.edge_bytes(first, task)));
            }
        }
        ready
    }

    /// The first start from `ready` on at which the slot's plan has room.
    fn gap(&self, slot: SlotId, ready: Timestamp, execution: Span) -> Timestamp {
        let Some(timeline) = self.timelines.get(&slot) else {
            return ready;
        };
        // What ends before `ready` cannot hold the task up: start looking at the first that ends later.
        let from = timeline.partition_point(|(_, finish)| *finish <= ready);
        let mut start = ready;
        for (other_start, other_finish) in &timeline[from..] {
            if start + execution <= *other_start {
                return start;
            }
            start = start.max(*other_finish);
        }
        start
    }
}

impl Policy for Heft {
    fn label(&self) -> PolicyLabel {
        INFO.name.to_owned()
    }

    fn observe(&mut self, change: &Change<'_>, view: &View<'_>) {
        match change {
            Change::Submitted { tasks } => self.unplanned.extend_from_slice(tasks),
            Change::Removed { task } => {
                self.planned.remove(task);
            }
            Change::Unplaced { task } => {
                self.planned.remove(task);
                self.unplanned.push(*task);
            }
            Change::FarmChanged => {
                let open: Vec<TaskIndex> =
                    self.planned.keys().copied().filter(|task| view.placed_on(*task).is_none()).collect();
                for task in &open {
                    self.planned.remove(task);
                }
                self.unplanned.extend(open);
                self.timelines.clear();
            }
        }
    }

    fn place(&mut self, view: &View<'_>, plan: &mut Plan) {
        if !self.unplanned.is_empty() {
            self.plan_ahead(view);
        }
        let mut ready: Vec<(u64, TaskIndex, SlotId)> = view
            .placeable()
            .iter()
            .filter_map(|task| self.planned.get(task).map(|planned| (planned.order, *task, planned.slot)))
            .collect();
        ready.sort_unstable();
        for (_, task, slot) in ready {
            plan.place(task, slot, "planned: earliest finish by upward rank");
        }
    }
}
