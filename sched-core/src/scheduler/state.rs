//! The records of the `Scheduler` machine: everything but the policies themselves.

use std::collections::{BTreeMap, VecDeque};

use isochrone_model::message::ClientRequest;
use isochrone_model::order::{BuildOutcome, BuiltKernel, SessionSecret};
use isochrone_model::{
    AgentFacts, AgentId, Attempt, BoundArguments, BufferId, BufferKey, ByteRange, CommandError, CommandId,
    DeviceFacts, DeviceId, DeviceIndex, KernelIndex, Limits, NdRange, Payload, ProgramId, ProgramKey,
    SessionId, SharedList, SlotId, SlotIndex, Span, TaskId, Timestamp, Version,
};

use super::backups::SpareAttempt;
use super::id_table::IdTable;
use crate::costs::{CostModel, KernelRow};
use crate::dag::{Dag, TaskIndex};
use crate::few::Few;
use crate::hashing::IdMap;
use crate::policy::DecisionRecord;
use crate::range_map::RangeMap;

/// A place in the table of buffers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct BufferIndex(pub u32);

/// A place in the table of versions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct VersionIndex(pub u32);

/// Everything but the policies.
pub(crate) struct State {
    pub limits: Limits,
    pub now: Timestamp,
    pub agents: Vec<AgentRecord>,
    pub devices: Vec<DeviceRecord>,
    pub slots: Vec<SlotRecord>,
    pub sessions: BTreeMap<SessionId, SessionRecord>,
    pub programs: Vec<ProgramRecord>,
    pub program_keys: BTreeMap<(String, String), ProgramKey>,
    pub buffers: Table<BufferRecord>,
    /// Where the buffers are that have not been dropped, released ones included.
    pub buffer_places: IdMap<SessionId, IdTable<BufferIndex>>,
    pub versions: Table<VersionRecord>,
    pub dag: Dag,
    pub tasks: Vec<Option<TaskRecord>>,
    /// How often each place of `tasks` has been used.
    pub generations: Vec<u32>,
    pub sequence: u64,
    /// Grows whenever other devices may have become able to run a task.
    pub legality_epoch: u64,
    pub costs: CostModel,
    pub decisions: VecDeque<DecisionRecord>,
    pub counters: Counters,
    /// Attempts beside those in the records of their tasks; few.
    pub spares: Vec<SpareAttempt>,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Counters {
    pub dispatched: u64,
    /// Of those, backups.
    pub backups: u64,
    /// Of those, the ones that ended first.
    pub backups_used: u64,
    pub finished: u64,
    pub failed: u64,
    pub moved_bytes: u64,
    pub rejections: BTreeMap<crate::policy::Rejection, u64>,
}

pub(crate) struct AgentRecord {
    pub facts: AgentFacts,
    pub is_present: bool,
    pub devices: Vec<DeviceId>,
    pub dispatched: u32,
    pub host_used_bytes: u64,
    /// Individual reports taken in on its present connection.
    pub reports_taken: u64,
}

pub(crate) struct DeviceRecord {
    pub agent: AgentId,
    pub index: DeviceIndex,
    pub facts: DeviceFacts,
    pub slots: Vec<SlotId>,
    pub finished: u64,
    pub busy: Span,
    pub memory_used_bytes: u64,
}

pub(crate) struct SlotRecord {
    pub device: DeviceId,
    pub index: SlotIndex,
    pub dispatched: u32,
    /// Expected execution of what is dispatched and not finished.
    pub queued: Span,
    /// When it is expected to be free, before `drift`.
    pub free_at: Timestamp,
    /// How much later (or earlier) than expected it runs, in nanoseconds.
    pub drift: i64,
}

pub(crate) struct SessionRecord {
    pub tenant_name: String,
    pub policy: usize,
    pub secret: SessionSecret,
    pub commands: IdTable<CommandRecord>,
    /// The largest id submitted so far.
    pub last_command: CommandId,
    pub last_buffer: BufferId,
    pub last_program: ProgramId,
    /// Requests that wait for a program to build.
    pub ingest: VecDeque<ClientRequest>,
    pub failed: BTreeMap<CommandId, CommandError>,
    /// How many buffers it has not released.
    pub live_buffers: u32,
    pub programs: BTreeMap<ProgramId, ProgramKey>,
    pub last_barrier: Option<TaskId>,
    /// Tasks since the last barrier; may hold some that have ended.
    pub open: Vec<TaskId>,
    pub open_swept_at: usize,
    pub commands_finished: u64,
    /// Where its last device task went: where contents without a reader go.
    pub home: Option<AgentId>,
}

#[derive(Clone, Debug)]
pub(crate) struct CommandRecord {
    pub tasks: CommandTasks,
    /// Of its tasks, how many have not ended.
    pub open: u32,
}

/// Most commands are one task; only reads of several versions are more.
#[derive(Clone, Debug)]
pub(crate) enum CommandTasks {
    One(TaskId),
    Several(Vec<TaskId>),
}

impl CommandTasks {
    pub fn as_slice(&self) -> &[TaskId] {
        match self {
            Self::One(task) => std::slice::from_ref(task),
            Self::Several(tasks) => tasks,
        }
    }
}

pub(crate) struct ProgramRecord {
    pub source: String,
    pub options: String,
    pub digest: String,
    /// By device.
    pub builds: Vec<BuildState>,
    /// As the first device that built it lists them.
    pub kernels: SharedList<BuiltKernel>,
    /// Places in `kernels`, by name.
    pub by_name: Vec<KernelIndex>,
    pub rows: Vec<KernelRow>,
    /// Sessions that hold it.
    pub users: u32,
    pub started_at: Timestamp,
    pub first_built_at: Option<Timestamp>,
    /// Told to whom once decided.
    pub waiting: Vec<(SessionId, ProgramId)>,
    pub is_live: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum BuildState {
    Absent,
    Building,
    Built {
        /// By kernel, the largest work-group.
        work_group_size_max: SharedList<u64>,
    },
    Failed {
        log: String,
    },
}

pub(crate) struct BufferRecord {
    pub key: BufferKey,
    pub size_bytes: u64,
    pub frontier: RangeMap<VersionIndex>,
    pub last_version: Version,
    /// Agents that were told of it.
    pub declared: Few<AgentId>,
    /// Unfinished tasks that use it.
    pub users: u32,
    pub is_released: bool,
    /// All that are still known, in order.
    pub versions: Few<VersionIndex>,
}

pub(crate) struct VersionRecord {
    pub buffer: BufferIndex,
    pub version: Version,
    /// The task that makes it, until it has ended.
    pub producer: Option<TaskId>,
    /// Tasks that read it; may hold some that have ended.
    pub readers: Vec<TaskId>,
    pub readers_swept_at: usize,
    pub replicas: Few<Replica>,
    /// Bytes of the frontier that are this version.
    pub frontier_bytes: u64,
    /// Unfinished tasks that read or make it.
    pub uses: u32,
    /// Why its contents will never be.
    pub poison: Option<Box<CommandError>>,
}

impl VersionRecord {
    /// The zeros that a buffer starts with are everywhere.
    pub fn is_zero(&self) -> bool {
        self.version == Version(0)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Replica {
    pub agent: AgentId,
    pub range: ByteRange,
    pub state: ReplicaState,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ReplicaState {
    Resident,
    /// Made here by a task that has not ended.
    Making,
    /// On its way from another agent.
    Coming {
        from: AgentId,
        expected: Timestamp,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct InputUse {
    pub version: VersionIndex,
    pub range: ByteRange,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct OutputUse {
    pub version: VersionIndex,
    pub range: ByteRange,
}

pub(crate) struct TaskRecord {
    pub id: TaskId,
    pub sequence: u64,
    pub session: SessionId,
    pub command: CommandId,
    pub policy: usize,
    pub work: TaskWork,
    pub state: TaskState,
    /// Predecessors that are not settled; kept while it is blocked or has failed.
    pub waiting: u32,
    pub attempt: Attempt,
    pub inputs: Box<[InputUse]>,
    pub outputs: Few<OutputUse>,
    /// Each once.
    pub buffers: Box<[BufferIndex]>,
    /// Its agent was asked to give it back, since a predecessor must run again.
    pub is_retracting: bool,
    /// What is under way was ordered as a backup: its agent does not tell the client of its end.
    pub is_backup: bool,
    pub expected: Span,
    /// Before its slot's drift.
    pub expected_finish: Timestamp,
    pub label: Box<str>,
}

pub(crate) enum TaskWork {
    Kernel(Box<KernelTask>),
    Copy {
        source: BufferIndex,
        source_range: ByteRange,
    },
    Fill {
        pattern: bytes::Bytes,
    },
    Write {
        payload: Payload,
    },
    Read {
        offset_bytes: u64,
    },
    /// A barrier or a marker.
    Nothing,
}

pub(crate) struct KernelTask {
    pub program: ProgramKey,
    pub kernel: KernelIndex,
    pub row: KernelRow,
    pub range: IndexSpace,
    pub arguments: BoundArguments,
    pub largest_buffer_bytes: u64,
    pub all_buffer_bytes: u64,
}

/// An index space. Most have one dimension, begin at 0 and leave the work-groups to the device: those take little memory.
pub(crate) enum IndexSpace {
    Linear(u64),
    Other(Box<NdRange>),
}

impl From<NdRange> for IndexSpace {
    fn from(range: NdRange) -> Self {
        let [items, ..] = range.global;
        if range == NdRange::linear(items) { Self::Linear(items) } else { Self::Other(Box::new(range)) }
    }
}

impl IndexSpace {
    pub fn get(&self) -> NdRange {
        match self {
            Self::Linear(items) => NdRange::linear(*items),
            Self::Other(range) => **range,
        }
    }

    /// Work-items in all.
    pub fn items(&self) -> u64 {
        match self {
            Self::Linear(items) => *items,
            Self::Other(range) => range.items(),
        }
    }

    /// Work-items in a work-group, or `None` when the device chooses.
    pub fn group_items(&self) -> Option<u64> {
        match self {
            Self::Linear(_) => None,
            Self::Other(range) => range.group_items(),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TaskState {
    /// Some predecessor is not placed.
    Blocked,
    /// A source of contents whose predecessors are placed: it goes where its first reader goes.
    Floating,
    /// Its policy may place it.
    Placeable,
    /// Ordered.
    Dispatched { agent: AgentId, slot: Option<SlotId> },
    /// It has failed, and only keeps its place in the order: until those before it have ended and the agent that
    /// had been ordered to run it, if any, has said that it does not.
    Failed { agent: Option<AgentId> },
}

impl TaskRecord {
    /// Whether successors may be placed. A failed task is where those before it are. One that is asked to be given back is nowhere: its agent may have
    /// forgotten it when it is asked to say when it ends, and then says that it has.
    pub fn is_settled(&self) -> bool {
        match self.state {
            TaskState::Blocked | TaskState::Placeable => false,
            TaskState::Floating => true,
            TaskState::Dispatched { .. } => !self.is_retracting,
            TaskState::Failed { .. } => self.waiting == 0,
        }
    }
}

impl TaskState {
    pub fn agent(self) -> Option<AgentId> {
        match self {
            Self::Dispatched { agent, .. } => Some(agent),
            Self::Blocked | Self::Floating | Self::Placeable | Self::Failed { .. } => None,
        }
    }

    /// The agent that may be running it, even if it is not to any more.
    pub fn holder(self) -> Option<AgentId> {
        match self {
            Self::Dispatched { agent, .. } => Some(agent),
            Self::Failed { agent } => agent,
            Self::Blocked | Self::Floating | Self::Placeable => None,
        }
    }

    /// Whether it is still to be given to an agent.
    pub fn is_to_be_placed(self) -> bool {
        match self {
            Self::Blocked | Self::Floating | Self::Placeable => true,
            Self::Dispatched { .. } | Self::Failed { .. } => false,
        }
    }
}

/// The least number of places that a table grows by.
pub(super) const ROOM_MIN: usize = 32;

/// Makes room in a table of one large record a task: a quarter more than there is. Twice as much, as is usual, would leave up to half of the
/// table empty, which for a graph of any size is more than all else that a task takes.
pub(super) fn make_room<T>(table: &mut Vec<T>, len: usize) {
    if len > table.capacity() {
        table.reserve_exact(len - table.len() + (table.len() / 4).max(ROOM_MIN));
    }
}

/// Records at places that are used again.
pub(crate) struct Table<T> {
    records: Vec<Option<T>>,
    free: Vec<u32>,
}

impl<T> Default for Table<T> {
    fn default() -> Self {
        Self { records: Vec::new(), free: Vec::new() }
    }
}

impl<T> Table<T> {
    pub fn insert(&mut self, record: T) -> u32 {
        if let Some(place) = self.free.pop() {
            self.records[place as usize] = Some(record);
            return place;
        }
        self.records.push(Some(record));
        (self.records.len() - 1) as u32
    }

    pub fn remove(&mut self, place: u32) -> Option<T> {
        let record = self.records.get_mut(place as usize)?.take();
        if record.is_some() {
            self.free.push(place);
        }
        record
    }

    pub fn iter(&self) -> impl Iterator<Item = (u32, &T)> {
        self.records.iter().enumerate().filter_map(|(place, record)| Some((place as u32, record.as_ref()?)))
    }

    pub fn get_mut(&mut self, place: u32) -> Option<&mut T> {
        self.records.get_mut(place as usize)?.as_mut()
    }

    pub fn len(&self) -> usize {
        self.records.len() - self.free.len()
    }
}

impl std::ops::Index<BufferIndex> for Table<BufferRecord> {
    type Output = BufferRecord;

    fn index(&self, index: BufferIndex) -> &BufferRecord {
        self.records[index.0 as usize].as_ref().expect("a buffer index is held only while its buffer lives")
    }
}

impl std::ops::IndexMut<BufferIndex> for Table<BufferRecord> {
    fn index_mut(&mut self, index: BufferIndex) -> &mut BufferRecord {
        self.records[index.0 as usize].as_mut().expect("a buffer index is held only while its buffer lives")
    }
}

impl std::ops::Index<VersionIndex> for Table<VersionRecord> {
    type Output = VersionRecord;

    fn index(&self, index: VersionIndex) -> &VersionRecord {
        self.records[index.0 as usize].as_ref().expect("a version index is held only while its version lives")
    }
}

impl std::ops::IndexMut<VersionIndex> for Table<VersionRecord> {
    fn index_mut(&mut self, index: VersionIndex) -> &mut VersionRecord {
        self.records[index.0 as usize].as_mut().expect("a version index is held only while its version lives")
    }
}

impl State {
    pub fn task(&self, task: TaskIndex) -> &TaskRecord {
        self.tasks[task.index()].as_ref().expect("a task index is held only while its task lives")
    }

    pub fn task_mut(&mut self, task: TaskIndex) -> &mut TaskRecord {
        self.tasks[task.index()].as_mut().expect("a task index is held only while its task lives")
    }

    /// The place of a buffer that is known.
    pub fn buffer_at(&self, key: BufferKey) -> Option<BufferIndex> {
        self.buffer_places.get(&key.session)?.get(key.buffer.0).copied()
    }

    /// Forgets the place of a buffer.
    pub fn forget_place(&mut self, key: BufferKey) {
        let Some(of_session) = self.buffer_places.get_mut(&key.session) else { return };
        of_session.remove(key.buffer.0);
        if of_session.is_empty() {
            self.buffer_places.remove(&key.session);
        }
    }

    /// Whether a task is there and has not failed.
    pub fn is_open(&self, task: TaskIndex) -> bool {
        self.tasks[task.index()]
            .as_ref()
            .is_some_and(|record| !matches!(record.state, TaskState::Failed { .. }))
    }

    /// The place of a task that has not ended.
    pub fn live(&self, task: TaskId) -> Option<TaskIndex> {
        let record = self.tasks.get(task.index())?.as_ref()?;
        (record.id == task).then_some(TaskIndex(task.index() as u32))
    }

    /// When the slot of a dispatched task (or the task itself, off slots) is expected to end it.
    pub fn expected_finish(&self, task: TaskIndex) -> Timestamp {
        let record = self.task(task);
        let finish = match record.state {
            TaskState::Dispatched { slot: Some(slot), .. } => {
                shifted(record.expected_finish, self.slots[slot.index()].drift)
            }
            TaskState::Dispatched { slot: None, .. }
            | TaskState::Blocked
            | TaskState::Floating
            | TaskState::Placeable
            | TaskState::Failed { .. } => record.expected_finish,
        };
        finish.max(self.now)
    }

    /// When a slot is expected to be free. However late its first task is, the others behind it still take their
    /// time.
    pub fn slot_free_at(&self, slot: SlotId) -> Timestamp {
        let record = &self.slots[slot.index()];
        if record.dispatched == 0 {
            return self.now;
        }
        let free_at = shifted(record.free_at, record.drift).max(self.now + self.queued_behind(slot));
        if self.spares.is_empty() { free_at } else { free_at.max(self.now + self.lateness(slot)) }
    }

    /// What is queued on a slot behind its first task. How much of the queue is the first task's is not kept, and
    /// taken to be an equal part.
    pub fn queued_behind(&self, slot: SlotId) -> Span {
        let record = &self.slots[slot.index()];
        let first = Span(record.queued.0 / u64::from(record.dispatched.max(1)));
        record.queued.saturating_sub(first)
    }

    /// Whether a device may run a task.
    pub fn is_legal(&self, task: &TaskRecord, device: DeviceId) -> bool {
        let record = &self.devices[device.index()];
        if !self.agents[record.agent.index()].is_present
            || !self.agents[record.agent.index()].devices.contains(&device)
        {
            return false;
        }
        match &task.work {
            TaskWork::Kernel(kernel) => {
                kernel.largest_buffer_bytes <= record.facts.buffer_bytes_max
                    && kernel.all_buffer_bytes <= record.facts.memory_bytes / 10 * 9
                    && self.builds_for(kernel, device)
            }
            TaskWork::Copy { .. }
            | TaskWork::Fill { .. }
            | TaskWork::Write { .. }
            | TaskWork::Read { .. }
            | TaskWork::Nothing => task
                .buffers
                .iter()
                .all(|buffer| self.buffers[*buffer].size_bytes <= record.facts.buffer_bytes_max),
        }
    }

    fn builds_for(&self, kernel: &KernelTask, device: DeviceId) -> bool {
        match self.programs[kernel.program.index()].builds.get(device.index()) {
            Some(BuildState::Built { work_group_size_max }) => {
                let most = work_group_size_max.get(kernel.kernel.index()).copied().unwrap_or(0);
                kernel.range.group_items().is_none_or(|items| items <= most)
            }
            Some(BuildState::Absent | BuildState::Building | BuildState::Failed { .. }) | None => false,
        }
    }

    /// `agent/device name`.
    pub fn device_name(&self, device: DeviceId) -> String {
        let record = &self.devices[device.index()];
        format!("{}/{}", self.agents[record.agent.index()].facts.name, record.facts.name)
    }

    /// Agents that are there, in order of id.
    pub fn present_agents(&self) -> impl Iterator<Item = AgentId> + '_ {
        self.agents
            .iter()
            .enumerate()
            .filter(|(_, agent)| agent.is_present)
            .map(|(index, _)| AgentId::from_index(index))
    }
}

impl ProgramRecord {
    /// The place of a kernel in the list.
    pub fn kernel(&self, name: &str) -> Option<KernelIndex> {
        let name_of = |place: &KernelIndex| self.kernels[place.index()].signature.name.as_str();
        let place = self.by_name.binary_search_by(|place| name_of(place).cmp(name)).ok()?;
        Some(self.by_name[place])
    }

    /// Takes in the kernels that the first device to build it lists. Of two of one name the first counts.
    pub fn list_kernels(&mut self, kernels: SharedList<BuiltKernel>) {
        self.by_name = (0..kernels.len()).map(KernelIndex::from_index).collect();
        let name_of = |place: &KernelIndex| &kernels[place.index()].signature.name;
        self.by_name.sort_by(|a, b| name_of(a).cmp(name_of(b)));
        self.by_name.dedup_by(|later, first| name_of(later) == name_of(first));
        self.kernels = kernels;
    }

    /// How a build ended. Most devices of a farm can have as large work-groups as the ones before, and then share the list.
    pub fn build_state(&self, outcome: &BuildOutcome) -> BuildState {
        let state = BuildState::from_outcome(outcome);
        let alike = self.builds.iter().find(|known| **known == state);
        alike.cloned().unwrap_or(state)
    }
}

impl BuildState {
    pub fn from_outcome(outcome: &BuildOutcome) -> Self {
        match outcome {
            BuildOutcome::Built { kernels, .. } => Self::Built {
                work_group_size_max: kernels.iter().map(|kernel| kernel.work_group_size_max).collect(),
            },
            BuildOutcome::Failed { log } => Self::Failed { log: log.clone() },
        }
    }
}

/// A time moved by a signed number of nanoseconds.
pub(crate) fn shifted(time: Timestamp, nanos: i64) -> Timestamp {
    Timestamp(time.0.saturating_add_signed(nanos))
}
