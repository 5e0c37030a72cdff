//! Placing: asking policies, validating what they propose, ordering launches and transfers at once.

use std::collections::BTreeSet;

use isochrone_model::message::{AgentToClient, ClientReply};
use isochrone_model::{
    AgentId, Attempt, ByteRange, DeviceId, Lane, Order, Payload, Region, SlotId, Span, TaskId, TaskOrder,
    TaskWait, Timestamp, Work,
};

use super::event::Action;
use super::state::{OutputUse, Replica, ReplicaState, TaskState, TaskWork, VersionIndex, shifted};
use super::{PolicyEntry, Scheduler};
use crate::dag::{DependencyKind, TaskIndex};
use crate::few::Few;
use crate::paths::Warmth;
use crate::policy::{CandidateEstimate, DecisionRecord, Plan, Proposal, Rejection};
use crate::view::View;

/// So many actions and more are handed out before the policies are asked again: of a large graph the first tasks are under
/// way while the last are placed, and what is to be done takes little memory.
const ACTIONS_OF_TURN: usize = 4_096;
/// When a policy is asked again that holds tasks back until a time that has passed.
const HOLD_MIN: Span = Span::from_millis(1);

impl Scheduler {
    /// Counts the predecessors that are not placed.
    pub(super) fn count_waiting(&mut self, task: TaskIndex) {
        let waiting = self
            .state
            .dag
            .predecessors(task)
            .filter(|(predecessor, _)| !self.state.task(*predecessor).is_settled())
            .count();
        self.state.task_mut(task).waiting = waiting as u32;
    }

    /// A task's predecessors are all placed: it floats, waits for its policy, or is placed at once. One that
    /// must run again goes through `place_automatic`, which lets it go when that is safe.
    pub(super) fn predecessors_are_placed(&mut self, task: TaskIndex) {
        if self.state.task(task).attempt > Attempt(1) {
            let id = self.state.task(task).id;
            self.automatic.push(id);
            self.is_placing_due = true;
            return;
        }
        self.let_be_placed(task);
    }

    fn let_be_placed(&mut self, task: TaskIndex) {
        let (mut open, mut next) = (Vec::new(), Some(task));
        while let Some(here) = next {
            self.let_one_be_placed(here, here == task, &mut open);
            next = open.pop();
        }
    }

    /// The same for one task; those that it lets go are added to `open`.
    fn let_one_be_placed(&mut self, task: TaskIndex, is_first: bool, open: &mut Vec<TaskIndex>) {
        let record = self.state.task_mut(task);
        if !is_first && record.attempt > Attempt(1) {
            let id = record.id;
            self.automatic.push(id);
            return;
        }
        match record.work {
            TaskWork::Kernel(_) | TaskWork::Copy { .. } => {
                record.state = TaskState::Placeable;
                let policy = record.policy;
                self.policies[policy].placeable.push(task);
                self.is_placing_due = true;
            }
            TaskWork::Write { .. } | TaskWork::Fill { .. } => {
                record.state = TaskState::Floating;
                let id = record.id;
                self.floating.push(id);
                self.is_placing_due = true;
                self.successors_gain(task, open);
            }
            TaskWork::Read { .. } | TaskWork::Nothing => {
                let id = record.id;
                self.automatic.push(id);
                self.is_placing_due = true;
            }
        }
    }

    /// One predecessor more of each successor is settled; those that were waiting for it alone are added. Where a
    /// failed one was, it is settled too.
    pub(super) fn successors_gain(&mut self, task: TaskIndex, open: &mut Vec<TaskIndex>) {
        let mut gaining = std::mem::take(&mut self.gaining);
        // The graph has the latest first; who was submitted first is to be told first.
        gaining.extend(self.state.dag.successors(task).map(|(next, _)| next));
        gaining.reverse();
        let mut place = 0;
        while let Some(next) = gaining.get(place).copied() {
            place += 1;
            let record = self.state.task_mut(next);
            if record.waiting == 0 {
                continue;
            }
            match record.state {
                TaskState::Blocked => {
                    record.waiting -= 1;
                    if record.waiting == 0 {
                        open.push(next);
                    }
                }
                TaskState::Failed { .. } => {
                    record.waiting -= 1;
                    if record.waiting == 0 {
                        let behind = gaining.len();
                        gaining.extend(self.state.dag.successors(next).map(|(next, _)| next));
                        gaining[behind..].reverse();
                    }
                }
                TaskState::Floating | TaskState::Placeable | TaskState::Dispatched { .. } => {}
            }
        }
        gaining.clear();
        self.gaining = gaining;
    }

    /// Lets the machine place what is its own to place, then the policies, until nothing moves or much is to be done; then
    /// placing is due again at once.
    pub(super) fn place_all(&mut self) {
        self.observe_submitted();
        self.is_placing_due = false;
        let stranded = std::mem::take(&mut self.stranded);
        self.automatic.extend(stranded);
        loop {
            let mut has_moved = self.place_automatic();
            for policy in 0..self.policies.len() {
                has_moved |= self.ask_policy(policy);
            }
            if !has_moved && self.automatic.is_empty() {
                break;
            }
            if self.actions.len() >= ACTIONS_OF_TURN {
                self.is_placing_due = true;
                return;
            }
        }
        self.place_floating();
        if !self.automatic.is_empty() {
            self.place_all_again();
        }
    }

    /// Floating tasks were placed and that let others go.
    fn place_all_again(&mut self) {
        loop {
            let mut has_moved = self.place_automatic();
            for policy in 0..self.policies.len() {
                has_moved |= self.ask_policy(policy);
            }
            if !has_moved {
                break;
            }
        }
    }

    fn ask_policy(&mut self, policy: usize) -> bool {
        let entry = &mut self.policies[policy];
        let tasks = &self.state.tasks;
        entry.placeable.sweep(entry.policy.remembers_tasks(), |task| {
            tasks[task.index()]
                .as_ref()
                .is_some_and(|record| record.state == TaskState::Placeable && record.policy == policy)
        });
        // Until it is asked again there is nothing to wake it for.
        entry.hold_until = None;
        let is_to_look = entry.wakes_at().is_some_and(|at| at <= self.state.now);
        if !is_to_look && entry.placeable.is_empty() {
            return false;
        }
        entry.asked_at = Some(self.state.now);
        if self.state.present_agents().next().is_none() {
            return false;
        }
        let mut plan = Plan::default();
        let mut placeable = std::mem::take(&mut entry.placeable);
        let view = View { state: &self.state, policy, placeable: &placeable.tasks, known: placeable.known };
        entry.policy.place(&view, &mut plan);
        placeable.known = placeable.tasks.len();
        entry.placeable = placeable;
        let has_passed = plan.hold_until.is_some_and(|time| time <= self.state.now);
        entry.hold_until = if has_passed { Some(self.state.now + HOLD_MIN) } else { plan.hold_until };
        if has_passed {
            *self.state.counters.rejections.entry(Rejection::HeldUntilThePast).or_default() += 1;
        }
        let mut has_moved = false;
        self.slots_to_weigh = self.state.limits.slots_weighed_per_plan_max;
        for proposal in plan.proposals {
            let checked = if proposal.is_backup {
                self.state.check_backup(policy, proposal.task, proposal.slot)
            } else {
                self.validate(policy, &proposal)
            };
            match checked {
                Ok((agent, device)) => {
                    self.record_decision(policy, device, &proposal);
                    self.queue_behind(&proposal);
                    self.transfers_ordered.clear();
                    if proposal.is_backup {
                        self.start_backup(proposal.task, agent, proposal.slot);
                    } else {
                        self.dispatch(proposal.task, agent, Some(proposal.slot));
                    }
                    self.record_transfers();
                    has_moved = true;
                }
                Err(rejection) => {
                    *self.state.counters.rejections.entry(rejection).or_default() += 1;
                }
            }
        }
        has_moved
    }

    /// Keeps the order on a slot that a policy asked for. What comes first is placed, and with it all that it
    /// waits for, so that no circle can come of it; only a task that is asked to be given back is no longer so.
    fn queue_behind(&mut self, proposal: &Proposal) {
        let Some(first) = proposal.behind else { return };
        let Some(record) = self.state.tasks.get(first.index()).and_then(Option::as_ref) else { return };
        let is_on_slot = match record.state {
            TaskState::Dispatched { slot, .. } => slot == Some(proposal.slot),
            TaskState::Blocked | TaskState::Floating | TaskState::Placeable | TaskState::Failed { .. } => {
                false
            }
        };
        if is_on_slot && !record.is_retracting {
            self.link(first, proposal.task, DependencyKind::Order);
        }
    }

    fn validate(&self, policy: usize, proposal: &Proposal) -> Result<(AgentId, DeviceId), Rejection> {
        let record = self
            .state
            .tasks
            .get(proposal.task.index())
            .and_then(Option::as_ref)
            .ok_or(Rejection::UnknownTask)?;
        if record.policy != policy {
            return Err(Rejection::NotYours);
        }
        if record.state != TaskState::Placeable {
            return Err(Rejection::NotPlaceable);
        }
        let (agent, device) = self.state.legal_place(record, proposal.slot)?;
        if self.is_kept_off(proposal.task, agent) {
            return Err(Rejection::BytesInUse);
        }
        Ok((agent, device))
    }

    fn record_decision(&mut self, policy: usize, device: DeviceId, proposal: &Proposal) {
        if self.state.limits.decisions_kept_max == 0 {
            return;
        }
        let is_weighed_by_scheduler = proposal.candidates.is_empty();
        let candidates = if is_weighed_by_scheduler {
            self.weighed(policy, proposal.task)
        } else {
            proposal.candidates.clone()
        };
        let record = self.state.task(proposal.task);
        let decision = DecisionRecord {
            session: record.session,
            command: record.command,
            task: record.id,
            policy,
            slot: proposal.slot,
            device,
            reason: proposal.reason,
            is_weighed_by_scheduler: is_weighed_by_scheduler && !candidates.is_empty(),
            candidates,
            transfers: Vec::new(),
        };
        if self.state.decisions.len() >= self.state.limits.decisions_kept_max as usize
            && let Some(oldest) = self.state.decisions.pop_front()
        {
            // For its memory.
            self.transfers_ordered = oldest.transfers;
        }
        self.state.decisions.push_back(decision);
    }

    /// All slots that can run a task that is about to be placed, weighed; none where a plan places too many.
    fn weighed(&mut self, policy: usize, task: TaskIndex) -> Vec<CandidateEstimate> {
        let view = View { state: &self.state, policy, placeable: &[], known: 0 };
        let most = self.slots_to_weigh as usize;
        let slots: Vec<SlotId> = view.legal_slots(task).take(most.saturating_add(1)).collect();
        if slots.len() > most {
            self.slots_to_weigh = 0;
            return Vec::new();
        }
        self.slots_to_weigh -= slots.len() as u32;
        slots.into_iter().map(|slot| view.weigh(task, slot, view.slot_free_at(slot))).collect()
    }

    /// Places reads where their contents are, and barriers and markers where a predecessor is; lets tasks that
    /// must run again be placed.
    ///
    /// The latter wait while any task that comes after them is asked to be given back: that one may have
    /// started, which proves that they had finished, and it may have put newer contents where they would write
    /// older ones.
    fn place_automatic(&mut self) -> bool {
        let mut has_moved = false;
        let mut retracting = None;
        for id in std::mem::take(&mut self.automatic) {
            let Some(task) = self.state.live(id) else {
                continue;
            };
            if self.state.task(task).state != TaskState::Blocked || self.state.task(task).waiting > 0 {
                continue;
            }
            if self.state.task(task).attempt > Attempt(1) {
                let before = retracting.get_or_insert_with(|| self.tasks_before_retracting());
                if before.contains(&task) {
                    self.stranded.push(id);
                    continue;
                }
                if self.outputs_are_had(task) {
                    self.finish_without_report(task);
                    has_moved = true;
                    continue;
                }
            }
            match self.state.task(task).work {
                TaskWork::Kernel(_)
                | TaskWork::Copy { .. }
                | TaskWork::Fill { .. }
                | TaskWork::Write { .. } => {
                    self.let_be_placed(task);
                    has_moved = true;
                    continue;
                }
                TaskWork::Nothing => {
                    if self.ends_without_agent(task) {
                        has_moved = true;
                        continue;
                    }
                }
                TaskWork::Read { .. } => {}
            }
            match self.home_of(task) {
                Some(agent) => {
                    self.dispatch(task, agent, None);
                    has_moved = true;
                }
                None => self.stranded.push(id),
            }
        }
        has_moved
    }

    /// A barrier or marker with nothing left to wait for ends here and now.
    fn ends_without_agent(&mut self, task: TaskIndex) -> bool {
        if self.state.dag.predecessors(task).next().is_some() {
            return false;
        }
        self.finish_without_report(task);
        true
    }

    /// Ends a task well that no agent has reported, and tells its client.
    pub(super) fn finish_without_report(&mut self, task: TaskIndex) {
        let (session, command) = (self.state.task(task).session, self.state.task(task).command);
        let done = AgentToClient::Done { command, execution: Span::ZERO };
        self.actions.push(Action::Reply { session, reply: ClientReply::Relayed(done) });
        self.finish_task(task);
    }

    /// Every task that must have ended before some task that is asked to be given back may start.
    fn tasks_before_retracting(&self) -> BTreeSet<TaskIndex> {
        let mut open: Vec<TaskIndex> = self
            .state
            .tasks
            .iter()
            .enumerate()
            .filter(|(_, record)| record.as_ref().is_some_and(|record| record.is_retracting))
            .map(|(index, _)| TaskIndex(index as u32))
            .collect();
        let mut before = BTreeSet::new();
        while let Some(task) = open.pop() {
            for (first, _) in self.state.dag.predecessors(task) {
                if before.insert(first) {
                    open.push(first);
                }
            }
        }
        before
    }

    /// Whether a task makes contents and all of them lie somewhere whole: agents send only what a task that
    /// finished has made.
    pub(super) fn outputs_are_had(&self, task: TaskIndex) -> bool {
        let outputs = &self.state.task(task).outputs;
        !outputs.is_empty()
            && outputs.iter().all(|output| {
                let replicas = &self.state.versions[output.version].replicas;
                replicas.iter().any(|replica| {
                    replica.state == ReplicaState::Resident && replica.range.contains(output.range)
                })
            })
    }

    /// Floating contents that nobody in the graph reads go ahead to where they will most likely be read.
    fn place_floating(&mut self) {
        let mut kept = Vec::new();
        for id in std::mem::take(&mut self.floating) {
            let Some(task) = self.state.live(id) else {
                continue;
            };
            let record = self.state.task(task);
            if record.state != TaskState::Floating {
                continue;
            }
            let more_to_come =
                self.state.sessions.get(&record.session).is_some_and(|session| !session.ingest.is_empty());
            let has_reader = self
                .state
                .dag
                .successors(task)
                .any(|(next, _)| self.state.task(next).state.is_to_be_placed());
            if more_to_come || has_reader {
                kept.push(id);
                continue;
            }
            match self.home_of(task) {
                Some(agent) => self.dispatch(task, agent, None),
                None => kept.push(id),
            }
        }
        kept.append(&mut self.floating);
        self.floating = kept;
    }

    /// The agent for a task that no policy places: where its contents or its predecessors are, else where
    /// its session's tasks run, else the one with the least to do.
    fn home_of(&self, task: TaskIndex) -> Option<AgentId> {
        let record = self.state.task(task);
        let present =
            |agent: &AgentId| self.state.agents[agent.index()].is_present && !self.is_kept_off(task, *agent);
        for input in &record.inputs {
            let replicas = &self.state.versions[input.version].replicas;
            let best = replicas
                .iter()
                .filter(|replica| present(&replica.agent) && replica.range.contains(input.range))
                .map(|replica| {
                    let ready = self.state.replica_ready_at(input.version, replica);
                    (ready + self.state.costs.control_one_way(replica.agent), replica.agent)
                })
                .min();
            if let Some((_, agent)) = best {
                return Some(agent);
            }
        }
        let latest = self
            .state
            .dag
            .predecessors(task)
            .filter_map(|(first, _)| {
                Some((self.state.expected_finish(first), self.state.task(first).state.agent()?))
            })
            .filter(|(_, agent)| present(agent))
            .max();
        if let Some((_, agent)) = latest {
            return Some(agent);
        }
        let neighbours = record.buffers.iter().flat_map(|buffer| {
            self.state.buffers[*buffer].frontier.iter().flat_map(|(range, version)| {
                self.state.versions[*version].replicas.iter().map(move |replica| (replica.agent, range.len()))
            })
        });
        let mut held: std::collections::BTreeMap<AgentId, u64> = std::collections::BTreeMap::new();
        for (agent, size_bytes) in neighbours.filter(|(agent, _)| present(agent)) {
            *held.entry(agent).or_default() += size_bytes;
        }
        if let Some((agent, _)) =
            held.into_iter().max_by_key(|(agent, size)| (*size, std::cmp::Reverse(*agent)))
        {
            return Some(agent);
        }
        let home = self.state.sessions.get(&record.session).and_then(|session| session.home);
        home.filter(present).or_else(|| {
            self.state.present_agents().filter(present).min_by_key(|agent| {
                (
                    self.state.agents[agent.index()].dispatched,
                    self.state.agents[agent.index()].host_used_bytes,
                    *agent,
                )
            })
        })
    }

    /// Orders a task to an agent, after the floating tasks that it reads from.
    pub(super) fn dispatch(&mut self, task: TaskIndex, agent: AgentId, slot: Option<SlotId>) {
        if self.floating_before(task).is_empty() {
            self.dispatch_if_had(task, agent, slot);
            return;
        }
        let mut order = vec![task];
        let mut next = 0;
        while next < order.len() {
            let here = order[next];
            next += 1;
            for first in self.floating_before(here) {
                // A task that is reached again must come before all that wait for it: move it to the end.
                if let Some(place) = order.iter().position(|known| *known == first) {
                    if place < next {
                        next -= 1;
                    }
                    order.remove(place);
                }
                order.push(first);
            }
        }
        for task in order.into_iter().rev() {
            self.dispatch_if_had(task, agent, slot);
        }
    }

    /// Orders one task, unless what it reads is lost.
    fn dispatch_if_had(&mut self, task: TaskIndex, agent: AgentId, slot: Option<SlotId>) {
        if !self.state.is_open(task) {
            // What it reads is lost with a task before it in the order.
            return;
        }
        if let Some(error) = self.lost_contents(task, agent) {
            self.fail_task(task, error);
            return;
        }
        let slot = match self.state.task(task).work {
            TaskWork::Kernel(_) | TaskWork::Copy { .. } => slot,
            TaskWork::Fill { .. } => slot.or_else(|| self.first_slot(agent)),
            TaskWork::Write { .. } | TaskWork::Read { .. } | TaskWork::Nothing => None,
        };
        self.dispatch_one(task, agent, slot);
    }

    /// The floating tasks that a task waits for, be it behind failed ones.
    pub(super) fn floating_before(&self, task: TaskIndex) -> Vec<TaskIndex> {
        let mut floating = Vec::new();
        let mut failed = Vec::new();
        let mut here = task;
        let mut next = 0;
        loop {
            for (first, _) in self.state.dag.predecessors(here) {
                match self.state.task(first).state {
                    TaskState::Floating if !floating.contains(&first) => floating.push(first),
                    TaskState::Failed { .. } if !failed.contains(&first) => failed.push(first),
                    TaskState::Floating
                    | TaskState::Failed { .. }
                    | TaskState::Blocked
                    | TaskState::Placeable
                    | TaskState::Dispatched { .. } => {}
                }
            }
            let Some(behind) = failed.get(next) else {
                return floating;
            };
            here = *behind;
            next += 1;
        }
    }

    fn first_slot(&self, agent: AgentId) -> Option<SlotId> {
        let device = self.state.agents[agent.index()].devices.first()?;
        self.state.devices[device.index()].slots.first().copied()
    }

    fn dispatch_one(&mut self, task: TaskIndex, agent: AgentId, slot: Option<SlotId>) {
        self.declare_buffers(task, agent);
        let waits = self.order_waits(task, agent);
        self.order_transfers(task, agent);
        let expected = slot.map_or(Span::ZERO, |slot| self.expected_execution(task, slot));
        self.account_dispatch(task, agent, slot, expected);
        let order = self.task_order(task, slot, waits);
        for place in 0..self.state.task(task).outputs.len() {
            let output = self.state.task(task).outputs[place];
            self.note_making(output, agent);
        }
        self.send_payload_order(task, agent);
        self.order(agent, Order::Run(Box::new(order)));
        let mut open = Vec::new();
        self.successors_gain_from(task, &mut open);
        for next in open {
            self.predecessors_are_placed(next);
        }
    }

    /// Notes that a replica of a version is being made by its producer.
    pub(super) fn note_making(&mut self, output: OutputUse, agent: AgentId) {
        self.state.versions[output.version].replicas =
            Few::One(Replica { agent, range: output.range, state: ReplicaState::Making });
    }

    /// Successors that had not counted this task as settled do so now.
    fn successors_gain_from(&mut self, task: TaskIndex, open: &mut Vec<TaskIndex>) {
        let was_settled = self.was_floating.take().is_some();
        if !was_settled {
            self.successors_gain(task, open);
        }
    }

    pub(super) fn expected_execution(&self, task: TaskIndex, slot: SlotId) -> Span {
        let policy = self.state.task(task).policy;
        let view = View { state: &self.state, policy, placeable: &[], known: 0 };
        view.execution(task, self.state.slots[slot.index()].device).expected
    }

    /// Notes where the task is and when it is expected to end.
    fn account_dispatch(&mut self, task: TaskIndex, agent: AgentId, slot: Option<SlotId>, expected: Span) {
        let expected_finish = self.account(task, agent, slot, expected);
        let session = self.state.task(task).session;
        if slot.is_some()
            && let Some(session) = self.state.sessions.get_mut(&session)
        {
            session.home = Some(agent);
        }
        let record = self.state.task_mut(task);
        self.was_floating = (record.state == TaskState::Floating).then_some(task);
        record.state = TaskState::Dispatched { agent, slot };
        record.expected = expected;
        record.expected_finish = expected_finish;
    }

    /// Puts an attempt on the accounts of its agent and slot; gives when it is expected to end, before the slot's drift.
    pub(super) fn account(
        &mut self,
        task: TaskIndex,
        agent: AgentId,
        slot: Option<SlotId>,
        expected: Span,
    ) -> Timestamp {
        let inputs_ready = self.state.inputs_ready_at(task, agent, Warmth::AsItIs);
        let ready = inputs_ready.max(self.state.now + self.state.costs.control_one_way(agent));
        let start = slot.map_or(ready, |slot| ready.max(self.state.slot_free_at(slot)));
        let finish = start + expected;
        let mut raw_finish = finish;
        if let Some(slot) = slot {
            let record = &mut self.state.slots[slot.index()];
            if record.dispatched == 0 {
                record.drift = 0;
                record.queued = Span::ZERO;
            }
            raw_finish = shifted(finish, record.drift.saturating_neg());
            record.free_at = if record.dispatched == 0 { raw_finish } else { record.free_at.max(raw_finish) };
            record.dispatched += 1;
            record.queued += expected;
        }
        self.state.agents[agent.index()].dispatched += 1;
        self.state.counters.dispatched += 1;
        raw_finish
    }

    pub(super) fn declare_buffers(&mut self, task: TaskIndex, agent: AgentId) {
        for place in 0..self.state.task(task).buffers.len() {
            let buffer = self.state.task(task).buffers[place];
            let record = &mut self.state.buffers[buffer];
            if !record.declared.contains(&agent) {
                record.declared.push(agent);
                let order = Order::DeclareBuffer { buffer: record.key, size_bytes: record.size_bytes };
                self.order(agent, order);
            }
        }
    }

    /// What the task waits for beside its contents; agents that hold a predecessor are told to say when.
    fn order_waits(&mut self, task: TaskIndex, agent: AgentId) -> Vec<TaskWait> {
        let dependent = self.state.task(task).id;
        let mut waits = Vec::new();
        let mut notifies = Vec::new();
        for (predecessor, kind) in self.state.dag.predecessors(task) {
            let record = self.state.task(predecessor);
            if let TaskState::Failed { .. } = record.state {
                // No agent may know of it any more: it is released from here.
                waits.push(TaskWait { task: record.id, is_remote: true, carries_failure: false });
                continue;
            }
            let Some(at) = record.state.agent() else {
                continue;
            };
            let carries_failure = kind.carries_failure();
            if at == agent {
                waits.push(TaskWait { task: record.id, is_remote: false, carries_failure });
            } else if kind != DependencyKind::Data {
                waits.push(TaskWait { task: record.id, is_remote: true, carries_failure });
                let notify = Order::Notify { task: record.id, dependent, to: agent, carries_failure };
                notifies.push((at, record.id, notify));
            }
        }
        waits.sort_unstable();
        for (at, predecessor, order) in notifies {
            self.note_notice(at, predecessor, dependent);
            self.order(at, order);
        }
        waits
    }

    pub(super) fn note_notice(&mut self, at: AgentId, predecessor: TaskId, dependent: TaskId) {
        let notices = self.notices.entry(at).or_default();
        notices.ordered.push((predecessor, dependent));
        if notices.ordered.len() > 2 * notices.swept_at + 64 {
            let state = &self.state;
            notices.ordered.retain(|(_, dependent)| state.live(*dependent).is_some());
            notices.swept_at = notices.ordered.len();
        }
    }

    fn send_payload_order(&mut self, task: TaskIndex, agent: AgentId) {
        let record = self.state.task(task);
        if let TaskWork::Write { payload: Payload::Stream { size_bytes } } = &record.work {
            let (session, size_bytes) = (record.session, *size_bytes);
            self.state.costs.note_upload(self.state.now, session, agent, size_bytes);
            let record = self.state.task(task);
            let reply = ClientReply::SendPayload { command: record.command, task: record.id, agent };
            self.actions.push(Action::Reply { session: record.session, reply });
        }
    }

    pub(super) fn task_order(
        &self,
        task: TaskIndex,
        slot: Option<SlotId>,
        waits: Vec<TaskWait>,
    ) -> TaskOrder {
        let record = self.state.task(task);
        let region = |version: VersionIndex, range: ByteRange| {
            let held = &self.state.versions[version];
            Region { buffer: self.state.buffers[held.buffer].key, range, version: held.version }
        };
        let work = match &record.work {
            TaskWork::Kernel(kernel) => Work::Kernel {
                program: kernel.program,
                kernel: kernel.kernel,
                range: kernel.range.get(),
                arguments: kernel.arguments.clone(),
            },
            TaskWork::Copy { source, source_range } => {
                Work::Copy { source: self.state.buffers[*source].key, source_range: *source_range }
            }
            TaskWork::Fill { pattern } => Work::Fill { pattern: pattern.clone() },
            TaskWork::Write { payload: Payload::Inline(bytes) } => Work::Write { bytes: Some(bytes.clone()) },
            TaskWork::Write { payload: Payload::Stream { .. } } => Work::Write { bytes: None },
            TaskWork::Read { offset_bytes } => Work::Read { offset_bytes: *offset_bytes },
            TaskWork::Nothing => Work::Nothing,
        };
        let lane = match slot {
            Some(slot) => {
                let held = &self.state.slots[slot.index()];
                Lane::Slot { device: self.state.devices[held.device.index()].index, slot: held.index }
            }
            None => Lane::Host,
        };
        TaskOrder {
            task: record.id,
            attempt: record.attempt,
            session: record.session,
            command: record.command,
            lane,
            work,
            waits,
            inputs: record.inputs.iter().map(|input| region(input.version, input.range)).collect(),
            outputs: record.outputs.iter().map(|output| region(output.version, output.range)).collect(),
        }
    }

    pub(super) fn order(&mut self, agent: AgentId, order: Order) {
        self.actions.push(Action::Order { agent, order });
    }

    /// When a policy wants to be asked again.
    pub(super) fn held_until(&self) -> Option<Timestamp> {
        let has_tasks = !self.state.dag.is_empty();
        let watched = self.policies.iter().filter(|_| has_tasks).filter_map(PolicyEntry::wakes_at);
        self.policies
            .iter()
            .filter(|entry| !entry.placeable.is_empty())
            .filter_map(|entry| entry.hold_until)
            .chain(watched)
            .min()
    }
}
