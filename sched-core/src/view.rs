//! What a policy may know: the graph so far, replicas, queues, links, and estimates. Never the truth of a
//! simulation.

use isochrone_model::{
    AgentId, ByteRange, BytesPerSecond, DeviceFacts, DeviceId, KernelIndex, ProgramKey, SessionId, SlotId,
    Span, TaskId, Timestamp,
};

use crate::costs::{Basis, Estimate, KernelRow};
use crate::dag::{DependencyKind, TaskIndex};
use crate::few::Few;
use crate::paths::Warmth;
use crate::policy::CandidateEstimate;
use crate::scheduler::state::{
    InputUse, Replica, ReplicaState, State, TaskState, TaskWork, VersionIndex, shifted,
};

/// Where contents that a task reads lie, or will soon.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InputReplica {
    /// Which contents, as in [`TaskInput::contents`].
    pub contents: u32,
    /// Bytes of them that the task reads and that are here.
    pub size_bytes: u64,
    /// Where; `None` while they are with the client.
    pub agent: Option<AgentId>,
    /// When they are expected to be there.
    pub ready: Timestamp,
}

/// The machine as a policy sees it.
pub struct View<'a> {
    pub(crate) state: &'a State,
    pub(crate) policy: usize,
    pub(crate) placeable: &'a [TaskIndex],
    /// How many of them the policy has been asked about.
    pub(crate) known: usize,
}

/// What decides, beside the farm, where a kernel may run: tasks with equal keys may run on the same devices as long as
/// `View::legality_epoch` stays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LegalityKey {
    program: ProgramKey,
    kernel: KernelIndex,
    group_items: Option<u64>,
    largest_buffer_bytes: u64,
    all_buffer_bytes: u64,
}

/// What a task does, as far as placement cares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TaskShape {
    /// Runs a kernel of this many work-items.
    Kernel {
        /// Work-items.
        items: u64,
    },
    /// Copies this many bytes on a device.
    Copy {
        /// Bytes.
        size_bytes: u64,
    },
    /// Puts contents into a buffer; the machine places it with its first reader.
    Source,
    /// Brings contents to the client; the machine places it where they are.
    Read,
    /// Only waits; the machine places it.
    Nothing,
}

/// Contents that a task reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TaskInput {
    /// Tells contents apart, as long as someone needs them.
    pub contents: u32,
    /// The task that makes them, unless it has ended.
    pub producer: Option<TaskIndex>,
    /// Bytes that are read.
    pub size_bytes: u64,
    /// Zeros that a buffer started with: they are everywhere.
    pub is_zero: bool,
}

impl View<'_> {
    /// The time of this turn.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.state.now
    }

    /// Tasks that this policy may place now, in the order in which they became placeable.
    #[must_use]
    pub fn placeable(&self) -> &[TaskIndex] {
        self.placeable
    }

    /// Those of `placeable` that the policy has not been asked about since they became so. A task that was taken
    /// back from a slot, or was blocked again, is new once more.
    #[must_use]
    pub fn newly_placeable(&self) -> &[TaskIndex] {
        &self.placeable[self.known..]
    }

    /// Whether this policy may place a task now.
    #[must_use]
    pub fn is_placeable(&self, task: TaskIndex) -> bool {
        self.get(task)
            .is_some_and(|record| record.state == TaskState::Placeable && record.policy == self.policy)
    }

    /// Whether a task is of a session that uses this policy.
    #[must_use]
    pub fn is_mine(&self, task: TaskIndex) -> bool {
        self.get(task).is_some_and(|record| record.policy == self.policy)
    }

    /// One more than the largest task index in use: the length for vectors kept alongside.
    #[must_use]
    pub fn task_index_end(&self) -> usize {
        self.state.tasks.len()
    }

    /// Whether this task is still in the graph.
    #[must_use]
    pub fn is_live(&self, task: TaskIndex) -> bool {
        self.get(task).is_some()
    }

    /// The task's id.
    #[must_use]
    pub fn task_id(&self, task: TaskIndex) -> Option<TaskId> {
        self.get(task).map(|record| record.id)
    }

    /// Place in program order over all sessions; what decides ties.
    #[must_use]
    pub fn sequence(&self, task: TaskIndex) -> u64 {
        self.get(task).map_or(u64::MAX, |record| record.sequence)
    }

    /// The session that a task belongs to.
    #[must_use]
    pub fn session(&self, task: TaskIndex) -> Option<SessionId> {
        self.get(task).map(|record| record.session)
    }

    /// What a task does.
    #[must_use]
    pub fn shape(&self, task: TaskIndex) -> TaskShape {
        match self.get(task).map(|record| &record.work) {
            Some(TaskWork::Kernel(kernel)) => TaskShape::Kernel { items: kernel.range.items() },
            Some(TaskWork::Copy { source_range, .. }) => TaskShape::Copy { size_bytes: source_range.len() },
            Some(TaskWork::Fill { .. } | TaskWork::Write { .. }) => TaskShape::Source,
            Some(TaskWork::Read { .. }) => TaskShape::Read,
            Some(TaskWork::Nothing) | None => TaskShape::Nothing,
        }
    }

    /// Whether a policy places this task (kernels and copies), rather than the machine.
    #[must_use]
    pub fn is_for_policy(&self, task: TaskIndex) -> bool {
        match self.shape(task) {
            TaskShape::Kernel { .. } | TaskShape::Copy { .. } => true,
            TaskShape::Source | TaskShape::Read | TaskShape::Nothing => false,
        }
    }

    /// Whether a task is ordered already, and where.
    #[must_use]
    pub fn placed_on(&self, task: TaskIndex) -> Option<AgentId> {
        self.get(task)?.state.agent()
    }

    /// The slot that a task is ordered to.
    #[must_use]
    pub fn slot_of(&self, task: TaskIndex) -> Option<SlotId> {
        match self.get(task)?.state {
            TaskState::Dispatched { slot, .. } => slot,
            TaskState::Blocked | TaskState::Floating | TaskState::Placeable | TaskState::Failed { .. } => {
                None
            }
        }
    }

    /// When a task that is ordered to a slot was or is expected to end, as things stood when it was ordered and with how late its slot
    /// has been since; that may have passed. `None` for what has no slot.
    #[must_use]
    pub fn due(&self, task: TaskIndex) -> Option<Timestamp> {
        let slot = self.slot_of(task)?;
        let record = self.get(task)?;
        Some(shifted(record.expected_finish, self.state.slots[slot.index()].drift))
    }

    /// Whether a backup of a task is under way that may end first.
    #[must_use]
    pub fn has_backup(&self, task: TaskIndex) -> bool {
        self.get(task).is_some() && self.state.backup_of(task).is_some()
    }

    /// Whether `Plan::hedge` would be taken for a task and a slot.
    #[must_use]
    pub fn may_have_backup(&self, task: TaskIndex, slot: SlotId) -> bool {
        self.state.check_backup(self.policy, task, slot).is_ok()
    }

    /// Whether a task must not go to an agent for now, since an attempt under way there uses other contents of the same bytes, or
    /// is one that was outrun of the task that makes what this one reads.
    #[must_use]
    pub fn is_kept_off(&self, task: TaskIndex, agent: AgentId) -> bool {
        !self.state.spares.is_empty() && self.get(task).is_some() && self.state.is_in_use_at(task, agent)
    }

    /// What a task waits for that has not ended.
    pub fn predecessors(&self, task: TaskIndex) -> impl Iterator<Item = (TaskIndex, DependencyKind)> + '_ {
        self.state.dag.predecessors(task)
    }

    /// What waits for a task.
    pub fn successors(&self, task: TaskIndex) -> impl Iterator<Item = (TaskIndex, DependencyKind)> + '_ {
        self.state.dag.successors(task)
    }

    /// Slots of all devices that are there, in order of id.
    pub fn slots(&self) -> impl Iterator<Item = SlotId> + '_ {
        self.devices().flat_map(|device| self.state.devices[device.index()].slots.iter().copied())
    }

    /// Devices that are there, in order of id.
    pub fn devices(&self) -> impl Iterator<Item = DeviceId> + '_ {
        (0..self.state.devices.len()).map(DeviceId::from_index).filter(|device| {
            let agent = &self.state.agents[self.state.devices[device.index()].agent.index()];
            agent.is_present && agent.devices.contains(device)
        })
    }

    /// Slots on which a task may run, in order of id.
    pub fn legal_slots(&self, task: TaskIndex) -> impl Iterator<Item = SlotId> + '_ {
        self.legal_devices(task).flat_map(|device| self.state.devices[device.index()].slots.iter().copied())
    }

    /// Devices on which a task may run, in order of id.
    pub fn legal_devices(&self, task: TaskIndex) -> impl Iterator<Item = DeviceId> + '_ {
        let record = self.get(task);
        (0..self.state.devices.len())
            .map(DeviceId::from_index)
            .filter(move |device| record.is_some_and(|record| self.state.is_legal(record, *device)))
    }

    /// Whether a task may run on a slot.
    #[must_use]
    pub fn is_legal(&self, task: TaskIndex, slot: SlotId) -> bool {
        self.get(task).is_some_and(|record| self.state.is_legal(record, self.device_of(slot)))
    }

    /// Changes whenever a task may have gained or lost a legal device.
    #[must_use]
    pub fn legality_epoch(&self) -> u64 {
        self.state.legality_epoch
    }

    /// What decides, beside the farm, where a task may run; `None` for what launches no kernel.
    #[must_use]
    pub fn legality_key(&self, task: TaskIndex) -> Option<LegalityKey> {
        match &self.get(task)?.work {
            TaskWork::Kernel(kernel) => Some(LegalityKey {
                program: kernel.program,
                kernel: kernel.kernel,
                group_items: kernel.range.group_items(),
                largest_buffer_bytes: kernel.largest_buffer_bytes,
                all_buffer_bytes: kernel.all_buffer_bytes,
            }),
            TaskWork::Copy { .. }
            | TaskWork::Fill { .. }
            | TaskWork::Write { .. }
            | TaskWork::Read { .. }
            | TaskWork::Nothing => None,
        }
    }

    /// What tells kernels apart for the cost model; `None` for what launches none.
    #[must_use]
    pub fn kernel(&self, task: TaskIndex) -> Option<KernelRow> {
        match &self.get(task)?.work {
            TaskWork::Kernel(kernel) => Some(kernel.row),
            TaskWork::Copy { .. }
            | TaskWork::Fill { .. }
            | TaskWork::Write { .. }
            | TaskWork::Read { .. }
            | TaskWork::Nothing => None,
        }
    }

    /// A slot's device.
    #[must_use]
    pub fn device_of(&self, slot: SlotId) -> DeviceId {
        self.state.slots[slot.index()].device
    }

    /// A device's slots.
    #[must_use]
    pub fn slots_of(&self, device: DeviceId) -> &[SlotId] {
        &self.state.devices[device.index()].slots
    }

    /// A device's agent.
    #[must_use]
    pub fn agent_of(&self, device: DeviceId) -> AgentId {
        self.state.devices[device.index()].agent
    }

    /// A device's facts.
    #[must_use]
    pub fn facts(&self, device: DeviceId) -> &DeviceFacts {
        &self.state.devices[device.index()].facts
    }

    /// Tasks ordered to a slot that have not ended.
    #[must_use]
    pub fn slot_queue(&self, slot: SlotId) -> u32 {
        self.state.slots[slot.index()].dispatched
    }

    /// When a slot is expected to be free of what is ordered to it.
    #[must_use]
    pub fn slot_free_at(&self, slot: SlotId) -> Timestamp {
        self.state.slot_free_at(slot)
    }

    /// What is queued on a slot behind its first task: what it has left to do when that ends, however late.
    #[must_use]
    pub fn slot_queued_behind(&self, slot: SlotId) -> Span {
        self.state.queued_behind(slot)
    }

    /// What a task is expected to take on a device, without waiting and moving.
    #[must_use]
    pub fn execution(&self, task: TaskIndex, device: DeviceId) -> Estimate {
        match self.get(task).map(|record| &record.work) {
            Some(TaskWork::Kernel(kernel)) => {
                self.state.costs.execution(kernel.row, device, kernel.range.items())
            }
            Some(TaskWork::Copy { source_range, .. }) => {
                let facts = self.facts(device);
                let span = facts.prior_launch + facts.prior_host_rate.span_for(source_range.len());
                Estimate { expected: span, high: span.saturating_mul(2), basis: Basis::OtherSize }
            }
            Some(
                TaskWork::Fill { .. } | TaskWork::Write { .. } | TaskWork::Read { .. } | TaskWork::Nothing,
            )
            | None => Estimate::default(),
        }
    }

    /// What moving bytes between two agents is expected to take, without what is queued before: where the path is
    /// measured, with a handshake if there is no connection yet, and with slow start.
    #[must_use]
    pub fn transfer(&self, from: AgentId, to: AgentId, size_bytes: u64) -> Span {
        self.state.costs.transfer(from, to, size_bytes)
    }

    /// What contents that are still with a task's client take to an agent, the word to the client included.
    #[must_use]
    pub fn from_client(&self, task: TaskIndex, agent: AgentId, size_bytes: u64) -> Span {
        let session = self.get(task).map(|record| record.session).unwrap_or_default();
        self.state.costs.from_client(session, agent, size_bytes, self.state.now, Warmth::AsItIs)
    }

    /// Bytes of what follows a task, when that is nothing but reads by its client: with them its work is done. `None` when
    /// nothing reads from it, or others have work to do after it.
    #[must_use]
    pub fn read_bytes(&self, task: TaskIndex) -> Option<u64> {
        let mut bytes = None;
        for (next, _) in self.state.dag.successors(task) {
            match self.shape(next) {
                TaskShape::Read => {
                    let inputs = self.inputs(next).map(|input| input.size_bytes);
                    bytes = Some(inputs.fold(bytes.unwrap_or(0), u64::saturating_add));
                }
                TaskShape::Kernel { .. } | TaskShape::Copy { .. } => return None,
                TaskShape::Source | TaskShape::Nothing => {}
            }
        }
        bytes
    }

    /// What so many bytes take from an agent to the client of a task.
    #[must_use]
    pub fn to_client(&self, task: TaskIndex, agent: AgentId, size_bytes: u64, warmth: Warmth) -> Span {
        let session = self.get(task).map(|record| record.session).unwrap_or_default();
        self.state.costs.to_client(session, agent, size_bytes, warmth)
    }

    /// The time from the scheduler to an agent.
    #[must_use]
    pub fn control_one_way(&self, agent: AgentId) -> Span {
        self.state.costs.control_one_way(agent)
    }

    /// Latency and rate of a path between two agents, where they are stated or measured: what a transfer takes
    /// without a handshake, and once its congestion window holds what the path does.
    #[must_use]
    pub fn link(&self, from: AgentId, to: AgentId) -> Option<(Span, BytesPerSecond)> {
        let stated = self.state.costs.stated_link(from, to).map(|link| (link.latency, link.rate));
        stated.or_else(|| self.state.costs.measured_link(from, to))
    }

    /// The time from one agent to another for a word without contents.
    #[must_use]
    pub fn notice(&self, from: AgentId, to: AgentId) -> Span {
        self.state.costs.one_way(from, to)
    }

    /// Whether transfers between the same parties are expected to slow each other down.
    #[must_use]
    pub fn do_transfers_add_up(&self) -> bool {
        self.state.costs.do_transfers_add_up()
    }

    /// The contents that a task reads, each once: who will make them, unless that has ended, and their size.
    pub fn inputs(&self, task: TaskIndex) -> impl Iterator<Item = TaskInput> + '_ {
        let inputs = self.get(task).map_or(&[][..], |record| &record.inputs);
        inputs.iter().map(|input| TaskInput {
            contents: input.version.0,
            producer: self.state.versions[input.version].producer.and_then(|task| self.state.live(task)),
            size_bytes: input.range.len(),
            is_zero: self.state.versions[input.version].is_zero(),
        })
    }

    /// Bytes of all that a task makes.
    #[must_use]
    pub fn output_bytes(&self, task: TaskIndex) -> u64 {
        self.get(task).map_or(0, |record| record.outputs.iter().map(|output| output.range.len()).sum())
    }

    /// Bytes of a task's inputs that lie on an agent already.
    #[must_use]
    pub fn resident_bytes(&self, task: TaskIndex, agent: AgentId) -> u64 {
        let Some(record) = self.get(task) else {
            return 0;
        };
        let on_agent = |input: &InputUse| -> u64 {
            self.state.versions[input.version]
                .replicas
                .iter()
                .filter(|replica| replica.agent == agent && replica.state == ReplicaState::Resident)
                .filter_map(|replica| replica.range.intersection(input.range))
                .map(ByteRange::len)
                .sum()
        };
        record.inputs.iter().map(on_agent).sum()
    }

    /// Bytes that a task makes for one that reads them; 0 when it reads none.
    #[must_use]
    pub fn edge_bytes(&self, first: TaskIndex, second: TaskIndex) -> u64 {
        let (Some(first), Some(second)) = (self.get(first), self.get(second)) else {
            return 0;
        };
        second
            .inputs
            .iter()
            .filter(|input| first.outputs.iter().any(|output| output.version == input.version))
            .map(|input| input.range.len())
            .sum()
    }

    /// Bytes of a task's inputs that are neither on an agent nor on their way there.
    #[must_use]
    pub fn missing_bytes(&self, task: TaskIndex, agent: AgentId) -> u64 {
        let Some(record) = self.get(task) else {
            return 0;
        };
        record
            .inputs
            .iter()
            .map(|input| {
                self.state
                    .missing(input.version, input.range, agent)
                    .iter()
                    .map(|part| part.len())
                    .sum::<u64>()
            })
            .sum()
    }

    /// When all that a task waits for, contents and predecessors, is expected to be at an agent.
    #[must_use]
    pub fn inputs_ready_at(&self, task: TaskIndex, agent: AgentId) -> Timestamp {
        self.state.inputs_ready_at(task, agent, Warmth::AsItIs)
    }

    /// The same if all paths were at their best, as later transfers may find them.
    #[must_use]
    pub fn inputs_ready_at_best(&self, task: TaskIndex, agent: AgentId) -> Timestamp {
        self.state.inputs_ready_at(task, agent, Warmth::AtBest)
    }

    /// Whether a task's successors may be placed: it is ordered, or goes where its first reader goes.
    #[must_use]
    pub fn is_settled(&self, task: TaskIndex) -> bool {
        self.get(task).is_none_or(super::scheduler::state::TaskRecord::is_settled)
    }

    /// The same as `inputs_ready_at` without what tasks make for which `is_planned` holds, and without their
    /// ends; `None` when nothing else holds the task back.
    pub fn outside_ready_at(
        &self,
        task: TaskIndex,
        agent: AgentId,
        is_planned: impl Fn(TaskIndex) -> bool,
    ) -> Option<Timestamp> {
        let record = self.get(task)?;
        let mut ready = None;
        for input in &record.inputs {
            let version = &self.state.versions[input.version];
            let producer = version.producer.and_then(|producer| self.state.live(producer));
            if !version.is_zero() && !producer.is_some_and(&is_planned) {
                let at = self.state.input_ready_at(input.version, input.range, agent, Warmth::AsItIs);
                ready = ready.max(Some(at));
            }
        }
        ready.max(self.told_at(task, agent))
    }

    /// Where the contents lie that a task reads and that no task will make for which `is_planned` holds; each replica of each.
    pub fn input_replicas(
        &self,
        task: TaskIndex,
        is_planned: impl Fn(TaskIndex) -> bool,
    ) -> Vec<InputReplica> {
        let Some(record) = self.get(task) else {
            return Vec::new();
        };
        let mut found = Vec::new();
        for input in &record.inputs {
            let version = &self.state.versions[input.version];
            let producer = version.producer.and_then(|producer| self.state.live(producer));
            if version.is_zero() || producer.is_some_and(&is_planned) {
                continue;
            }
            let contents = input.version.0;
            let known = found.len();
            for replica in &version.replicas {
                let Some(common) = replica.range.intersection(input.range) else { continue };
                let ready = self.state.replica_ready_at(input.version, replica);
                let (size_bytes, agent) = (common.len(), Some(replica.agent));
                found.push(InputReplica { contents, size_bytes, agent, ready });
            }
            if found.len() == known {
                let (size_bytes, ready) = (input.range.len(), self.state.now);
                found.push(InputReplica { contents, size_bytes, agent: None, ready });
            }
        }
        found
    }

    /// When an agent is expected to hear of the ends of the placed tasks that a task comes after without reading from them;
    /// `None` when there are none.
    #[must_use]
    pub fn told_at(&self, task: TaskIndex, agent: AgentId) -> Option<Timestamp> {
        let mut told = None;
        for (first, kind) in self.state.dag.predecessors(task) {
            if kind != DependencyKind::Data
                && let TaskState::Dispatched { agent: from, .. } = self.state.task(first).state
            {
                let at = self.state.expected_finish(first) + self.state.costs.one_way(from, agent);
                told = told.max(Some(at));
            }
        }
        told
    }

    /// Weighs a slot for a task: earliest finish from queueing, transfer and execution. `free_at` is when
    /// the slot is free, which a policy that places several tasks in one plan knows better than the view.
    #[must_use]
    pub fn weigh(&self, task: TaskIndex, slot: SlotId, free_at: Timestamp) -> CandidateEstimate {
        let device = self.device_of(slot);
        let agent = self.agent_of(device);
        let now = self.now();
        let ready = self.inputs_ready_at(task, agent).max(now + self.control_one_way(agent));
        let execution = self.execution(task, device).expected;
        let finish = ready.max(free_at) + execution;
        CandidateEstimate {
            slot,
            queueing: free_at.since(now),
            transfer: ready.since(now),
            execution,
            finish: finish.since(now),
        }
    }

    fn get(&self, task: TaskIndex) -> Option<&crate::scheduler::state::TaskRecord> {
        self.state.tasks.get(task.index())?.as_ref()
    }
}

impl State {
    /// The parts of a range of a version that an agent neither has nor awaits.
    pub(crate) fn missing(&self, version: VersionIndex, range: ByteRange, agent: AgentId) -> Few<ByteRange> {
        let record = &self.versions[version];
        if record.is_zero() || range.is_empty() {
            return Few::None;
        }
        let mut here = record.replicas.iter().filter(|replica| replica.agent == agent).peekable();
        if here.peek().is_some_and(|replica| replica.range.contains(range)) {
            return Few::None;
        }
        let mut missing = Few::One(range);
        for replica in here {
            let mut rest = Few::None;
            for part in missing {
                match part.intersection(replica.range) {
                    None => rest.push(part),
                    Some(common) => {
                        let (before, after) =
                            (ByteRange::new(part.start, common.start), ByteRange::new(common.end, part.end));
                        rest.extend([before, after].into_iter().filter(|part| !part.is_empty()));
                    }
                }
            }
            missing = rest;
            if missing.is_empty() {
                break;
            }
        }
        missing
    }

    /// When a replica will hold its bytes.
    pub(crate) fn replica_ready_at(&self, version: VersionIndex, replica: &Replica) -> Timestamp {
        match replica.state {
            ReplicaState::Resident => self.now,
            ReplicaState::Coming { expected, .. } => expected.max(self.now),
            ReplicaState::Making => self.versions[version]
                .producer
                .and_then(|producer| self.live(producer))
                .map_or(self.now, |producer| self.expected_finish(producer)),
        }
    }

    /// The agent from which the bytes at `position` of a version come soonest to another agent, and how
    /// far its replica reaches. Where links are stated to be uncontended, it is the agent that made them: so the
    /// literature has it, which knows no way by a third.
    pub(crate) fn best_source(
        &self,
        version: VersionIndex,
        part: ByteRange,
        to: AgentId,
    ) -> Option<(AgentId, Timestamp, ByteRange)> {
        let reach_of = |replica: &Replica| ByteRange::new(part.start, part.end.min(replica.range.end));
        let sources = self.versions[version]
            .replicas
            .iter()
            .filter(|replica| {
                replica.agent != to && replica.range.start <= part.start && replica.range.end > part.start
            })
            .filter(|replica| self.agents[replica.agent.index()].is_present);
        let mut others = sources.clone();
        if let (Some(only), None) = (others.next(), others.next()) {
            return Some((only.agent, self.replica_ready_at(version, only), reach_of(only)));
        }
        sources
            .enumerate()
            .map(|(age, replica)| {
                let reach = reach_of(replica);
                let ready = self.replica_ready_at(version, replica);
                let arrival = self.costs.arrival(replica.agent, to, reach.len(), ready);
                let preference = if self.costs.do_transfers_add_up() { arrival.0 } else { age as u64 };
                (std::cmp::Reverse(reach.len()), preference, replica.agent, ready, reach)
            })
            .min()
            .map(|(_, _, agent, ready, reach)| (agent, ready, reach))
    }

    pub(crate) fn inputs_ready_at(&self, task: TaskIndex, agent: AgentId, warmth: Warmth) -> Timestamp {
        let Some(record) = self.tasks.get(task.index()).and_then(Option::as_ref) else {
            return self.now;
        };
        let mut ready = self.now;
        for input in &record.inputs {
            ready = ready.max(self.input_ready_at(input.version, input.range, agent, warmth));
        }
        for (predecessor, kind) in self.dag.predecessors(task) {
            if kind != DependencyKind::Data
                && let TaskState::Dispatched { agent: from, .. } = self.task(predecessor).state
            {
                ready = ready.max(self.expected_finish(predecessor) + self.costs.one_way(from, agent));
            }
        }
        ready
    }

    fn input_ready_at(
        &self,
        version: VersionIndex,
        range: ByteRange,
        agent: AgentId,
        warmth: Warmth,
    ) -> Timestamp {
        let record = &self.versions[version];
        if record.is_zero() {
            return self.now;
        }
        let mut ready = self.now;
        for replica in &record.replicas {
            if replica.agent == agent && replica.range.overlaps(range) {
                ready = ready.max(self.replica_ready_at(version, replica));
            }
        }
        for part in self.missing(version, range, agent) {
            let mut position = part;
            while !position.is_empty() {
                match self.best_source(version, position, agent) {
                    Some((from, source_ready, reach)) => {
                        ready = ready.max(match warmth {
                            Warmth::AsItIs => self.costs.arrival(from, agent, reach.len(), source_ready),
                            Warmth::AtBest => {
                                self.costs.arrival_at_best(from, agent, reach.len(), source_ready)
                            }
                        });
                        position = ByteRange::new(reach.end, position.end);
                    }
                    None => {
                        let session = self.buffers[record.buffer].key.session;
                        let takes = self.costs.from_client(session, agent, position.len(), self.now, warmth);
                        return ready.max(self.now + takes);
                    }
                }
            }
        }
        ready
    }
}
