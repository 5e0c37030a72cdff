//! The `Scheduler` machine: takes in commands, keeps the graph, lets policies propose, validates, and
//! orders launches and transfers.
//!
//! `ingest` makes tasks from commands that `check` found good, `place` orders them, `ends` takes them out
//! again, `failures` with those that depend on them; `losses` gives back what a lost agent held, `backups` runs a second
//! time what is late, `programs` knows what builds where, `measurements` takes in what paths are like, `status` tells of it
//! all. This machine never reads a clock and never sees a byte of a buffer beyond what travels inside a command.

mod backups;
mod check;
pub(crate) mod ends;
pub mod event;
mod failures;
mod id_table;
mod ingest;
mod losses;
mod measurements;
mod place;
pub(crate) mod programs;
pub(crate) mod state;
mod status;
mod transfers;

use std::collections::{BTreeMap, VecDeque};

use isochrone_model::message::{AgentAddress, ClientReply, RequestName};
use isochrone_model::order::SessionSecret;
use isochrone_model::{
    AgentFacts, AgentId, BufferId, CommandError, CommandId, DeviceId, DeviceIndex, Limits, LinkEnd, Order,
    ProgramId, ProgramKey, SessionId, SlotId, SlotIndex, Span, TaskId, Timestamp,
};

pub use event::{Action, Event, Timer};
pub use programs::program_digest;
use state::{
    AgentRecord, BuildState, Counters, DeviceRecord, SessionRecord, SlotRecord, State, Table, TaskState,
};
pub use status::BackupCounts;

use crate::costs::{CostModel, CostSnapshot};
use crate::dag::{Dag, TaskIndex};
use crate::policy::{Change, Policy, PolicyRegistry, TransferRecord};
use crate::view::View;

/// What a scheduler is made of.
#[derive(Clone, Debug, Default)]
pub struct SchedulerConfig {
    /// The bounds it keeps.
    pub limits: Limits,
    /// The label of the farm's policy.
    pub policy: String,
    /// What an earlier life learnt.
    pub costs: Option<CostSnapshot>,
}

/// A label that makes no policy.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("policy `{label}`: {reason}")]
pub struct PolicyError {
    /// The label.
    pub label: String,
    /// Why, with the labels there are.
    pub reason: String,
}

/// The machine.
pub struct Scheduler {
    state: State,
    policies: Vec<PolicyEntry>,
    registry: Box<dyn PolicyRegistry>,
    default_policy: String,
    actions: Vec<Action>,
    is_placing_due: bool,
    is_ingesting: bool,
    /// Sources of contents whose first reader is not placed.
    floating: Vec<TaskId>,
    /// Reads, barriers and markers whose predecessors are placed.
    automatic: Vec<TaskId>,
    /// Of those, the ones for which there was no agent.
    stranded: Vec<TaskId>,
    /// The task being dispatched, if it floated before: its successors have counted it already.
    was_floating: Option<TaskIndex>,
    /// The task whose failure an agent reported: that agent holds it no more, and frees those that come after it.
    reported_failure: Option<TaskIndex>,
    /// How many failed tasks keep their place in the order.
    places_kept: usize,
    /// How often transfers of a version to an agent have failed.
    push_failures: BTreeMap<(AgentId, u32), u32>,
    /// Who was told to send a notice of which task's end for which dependent; may hold some that have ended. What
    /// an agent that is lost should have sent, the scheduler says itself.
    notices: BTreeMap<AgentId, Notices>,
    /// What was ordered to be moved with the placement under way.
    transfers_ordered: Vec<TransferRecord>,
    /// Of the plan that is being taken: how many slots may still be weighed for decisions without candidates.
    slots_to_weigh: u32,
    /// Empty between calls, and kept for its memory: successors of the task that is looked at.
    gaining: Vec<TaskIndex>,
    /// What has come in of one session since its policy was last told anything.
    submitted: Submitted,
}

/// Tasks that have come in, of which their policy is still to be told.
#[derive(Debug, Default)]
struct Submitted {
    session: SessionId,
    policy: usize,
    tasks: Vec<TaskIndex>,
}

struct PolicyEntry {
    label: String,
    policy: Box<dyn Policy>,
    placeable: PlaceableTasks,
    hold_until: Option<Timestamp>,
    /// When it was last asked.
    asked_at: Option<Timestamp>,
    /// Sessions that use it.
    users: u32,
}

/// A policy that watches what is placed is asked again after this at the earliest, so that one that is never content cannot stop
/// the clock.
const WATCH_SPAN_MIN: Span = Span::from_micros(1);

impl PolicyEntry {
    /// When it wants to be asked even if it has nothing to place.
    fn wakes_at(&self) -> Option<Timestamp> {
        let at = self.policy.wake_at()?;
        Some(self.asked_at.map_or(at, |asked_at| at.max(asked_at + WATCH_SPAN_MIN)))
    }
}

/// The tasks that a policy may place, in the order in which they became placeable.
#[derive(Debug, Default)]
struct PlaceableTasks {
    tasks: Vec<TaskIndex>,
    /// How many of them the policy has been asked about.
    known: usize,
    swept_at: usize,
}

impl PlaceableTasks {
    fn is_empty(&self) -> bool {
        self.tasks.is_empty()
    }

    fn push(&mut self, task: TaskIndex) {
        self.tasks.push(task);
    }

    fn retain(&mut self, mut is_kept: impl FnMut(TaskIndex) -> bool) {
        let (mut place, mut known) = (0, 0);
        let known_before = self.known;
        self.tasks.retain(|task| {
            let is_kept = is_kept(*task);
            known += usize::from(is_kept && place < known_before);
            place += 1;
            is_kept
        });
        self.known = known;
        self.swept_at = self.tasks.len();
    }

    /// Takes out those that are not placeable any more: all before a policy is asked that looks through the whole
    /// list; for one that remembers tasks, only when there may be many of them, so that to be asked again costs
    /// nothing for each task that it holds back.
    fn sweep(&mut self, does_policy_remember: bool, is_kept: impl FnMut(TaskIndex) -> bool) {
        if !does_policy_remember || self.tasks.len() > 2 * self.swept_at + 64 {
            self.retain(is_kept);
        }
    }
}

/// The notices that one agent is to send.
#[derive(Debug, Default)]
struct Notices {
    /// (task, dependent).
    ordered: Vec<(TaskId, TaskId)>,
    swept_at: usize,
}

impl Scheduler {
    /// A machine with no agents and no sessions.
    ///
    /// # Errors
    /// When the policy's label makes none.
    pub fn new(config: SchedulerConfig, registry: Box<dyn PolicyRegistry>) -> Result<Self, PolicyError> {
        let mut machine = Self {
            state: State {
                limits: config.limits,
                now: Timestamp::ZERO,
                agents: Vec::new(),
                devices: Vec::new(),
                slots: Vec::new(),
                sessions: BTreeMap::new(),
                programs: Vec::new(),
                program_keys: BTreeMap::new(),
                buffers: Table::default(),
                buffer_places: crate::hashing::IdMap::default(),
                versions: Table::default(),
                dag: Dag::default(),
                tasks: Vec::new(),
                generations: Vec::new(),
                sequence: 0,
                legality_epoch: 0,
                costs: CostModel::new(config.costs.unwrap_or_default()),
                decisions: VecDeque::new(),
                counters: Counters::default(),
                spares: Vec::new(),
            },
            policies: Vec::new(),
            registry,
            default_policy: String::new(),
            actions: Vec::new(),
            is_placing_due: false,
            is_ingesting: false,
            floating: Vec::new(),
            automatic: Vec::new(),
            stranded: Vec::new(),
            was_floating: None,
            reported_failure: None,
            places_kept: 0,
            push_failures: BTreeMap::new(),
            notices: BTreeMap::new(),
            transfers_ordered: Vec::new(),
            slots_to_weigh: 0,
            gaining: Vec::new(),
            submitted: Submitted::default(),
        };
        let entry = machine.policy_entry(&config.policy)?;
        machine.default_policy = machine.policies[entry].label.clone();
        Ok(machine)
    }

    /// Takes in one event and says what is to be done, in order.
    pub fn step(&mut self, now: Timestamp, event: Event) -> Vec<Action> {
        let mut actions = Vec::new();
        self.step_into(now, event, &mut actions);
        actions
    }

    /// The same, for drivers that keep the memory of one step's actions for the next: what is to be done is appended.
    pub fn step_into(&mut self, now: Timestamp, event: Event, actions: &mut Vec<Action>) {
        std::mem::swap(&mut self.actions, actions);
        self.state.now = self.state.now.max(now);
        match event {
            Event::AgentJoined { agent, facts } => self.add_agent(agent, facts),
            Event::AgentLeft { agent, reason: _ } => self.lose_agent(agent),
            Event::Reports { agent, reports } => {
                if self.state.agents.get(agent.index()).is_some_and(|record| record.is_present) {
                    for report in reports {
                        self.take_report(agent, report);
                    }
                }
            }
            Event::SessionOpened { session, tenant: _, tenant_name, policy, secret } => {
                self.open_session(session, tenant_name, &policy, secret);
            }
            Event::Request { session, request } => self.take_request(session, request),
            Event::SessionLeft { session, reason } => self.end_session(session, &reason),
            Event::PathMeasured { to, sample } => self.take_path(LinkEnd::Scheduler, to, &sample),
            Event::CostsStated(stated) => self.state.costs.state(*stated),
            Event::Timer(Timer::Place | Timer::Hold) => self.place_all(),
            Event::Timer(Timer::Build) => {
                self.programs_may_be_decided();
            }
        }
        std::mem::swap(&mut self.actions, actions);
    }

    /// When the driver is to step a `Timer` event, and which. Never earlier than the last step.
    #[must_use]
    pub fn deadline(&self) -> Option<(Timestamp, Timer)> {
        if self.is_placing_due {
            return Some((self.state.now, Timer::Place));
        }
        let hold = self.held_until().map(|time| (time, Timer::Hold));
        let build = self.next_grace_end().map(|time| (time, Timer::Build));
        hold.into_iter().chain(build).min().map(|(time, timer)| (time.max(self.state.now), timer))
    }

    /// The time of the last step.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.state.now
    }

    /// Tasks that have not ended.
    #[must_use]
    pub fn unfinished_tasks(&self) -> usize {
        self.state.dag.len()
    }

    fn policy_entry(&mut self, label: &str) -> Result<usize, PolicyError> {
        let policy =
            self.registry.create(label).map_err(|reason| PolicyError { label: label.to_owned(), reason })?;
        // The label as the policy itself writes it, so that spellings of one policy share its state.
        let label = policy.label();
        if let Some(entry) = self.policies.iter().position(|entry| entry.label == label) {
            return Ok(entry);
        }
        self.policies.push(PolicyEntry {
            label,
            policy,
            placeable: PlaceableTasks::default(),
            hold_until: None,
            asked_at: None,
            users: 0,
        });
        Ok(self.policies.len() - 1)
    }

    /// Tells a policy of what has come in. A client sends a large graph in pieces; those that come together are one to it.
    fn observe_submitted(&mut self) {
        if self.submitted.tasks.is_empty() {
            return;
        }
        let Submitted { policy, tasks, .. } = std::mem::take(&mut self.submitted);
        self.observe(policy, &Change::Submitted { tasks: &tasks });
    }

    fn observe(&mut self, policy: usize, change: &Change<'_>) {
        self.observe_submitted();
        let entry = &mut self.policies[policy];
        let placeable = std::mem::take(&mut entry.placeable);
        let view = View { state: &self.state, policy, placeable: &placeable.tasks, known: placeable.known };
        entry.policy.observe(change, &view);
        entry.placeable = placeable;
    }

    fn observe_all(&mut self, change: &Change<'_>) {
        for policy in 0..self.policies.len() {
            self.observe(policy, change);
        }
    }

    fn add_agent(&mut self, agent: AgentId, facts: AgentFacts) {
        let is_known = agent.index() < self.state.agents.len();
        if is_known {
            // A connection that replaces one whose end was not seen.
            self.lose_agent(agent);
        } else if agent.index() > self.state.agents.len() {
            return;
        }
        let same_devices = is_known && self.state.agents[agent.index()].facts.devices == facts.devices;
        let devices = if same_devices {
            self.state.agents[agent.index()].devices.clone()
        } else {
            self.add_devices(agent, &facts)
        };
        let record = AgentRecord {
            facts,
            is_present: true,
            devices,
            dispatched: 0,
            host_used_bytes: 0,
            reports_taken: 0,
        };
        if is_known {
            self.state.agents[agent.index()] = record;
        } else {
            self.state.agents.push(record);
        }
        self.state.legality_epoch += 1;
        self.introduce(agent);
        for index in 0..self.state.programs.len() {
            if self.state.programs[index].is_live {
                self.order_build(ProgramKey::from_index(index), agent);
            }
        }
        self.observe_all(&Change::FarmChanged);
        let stranded = std::mem::take(&mut self.stranded);
        self.automatic.extend(stranded);
        self.is_placing_due = true;
    }

    fn add_devices(&mut self, agent: AgentId, facts: &AgentFacts) -> Vec<DeviceId> {
        let mut devices = Vec::new();
        for (index, device) in facts.devices.iter().enumerate() {
            let id = DeviceId::from_index(self.state.devices.len());
            let mut slots = Vec::new();
            for slot in 0..device.slots.max(1) {
                slots.push(SlotId::from_index(self.state.slots.len()));
                self.state.slots.push(SlotRecord {
                    device: id,
                    index: SlotIndex(slot),
                    dispatched: 0,
                    queued: Span::ZERO,
                    free_at: Timestamp::ZERO,
                    drift: 0,
                });
            }
            self.state.devices.push(DeviceRecord {
                agent,
                index: DeviceIndex::from_index(index),
                facts: device.clone(),
                slots,
                finished: 0,
                busy: Span::ZERO,
                memory_used_bytes: 0,
            });
            self.state.costs.add_device(id, &facts.name, device);
            for program in &mut self.state.programs {
                program.builds.resize(id.index() + 1, BuildState::Absent);
            }
            devices.push(id);
        }
        devices
    }

    /// Makes an agent, its peers and all clients known to each other.
    fn introduce(&mut self, agent: AgentId) {
        let address = self.agent_address(agent);
        for other in self.state.present_agents().collect::<Vec<_>>() {
            if other == agent {
                continue;
            }
            let peer = self.agent_address(other);
            for (from, from_name, to, to_name) in
                [(agent, &address.name, other, &peer.name), (other, &peer.name, agent, &address.name)]
            {
                self.state.costs.recall_link(from, from_name, to, to_name);
            }
            let (name, listens) = (address.name.clone(), address.address.clone());
            self.order(other, Order::PeerJoined { agent, name, address: listens });
            self.order(agent, Order::PeerJoined { agent: other, name: peer.name, address: peer.address });
        }
        let sessions: Vec<(SessionId, SessionSecret)> =
            self.state.sessions.iter().map(|(session, record)| (*session, record.secret)).collect();
        for (session, secret) in sessions {
            self.order(agent, Order::OpenSession { session, secret });
            let reply = ClientReply::AgentJoined { agent: address.clone() };
            self.actions.push(Action::Reply { session, reply });
        }
    }

    fn agent_address(&self, agent: AgentId) -> AgentAddress {
        let facts = &self.state.agents[agent.index()].facts;
        AgentAddress { agent, name: facts.name.clone(), address: facts.address.clone() }
    }

    fn open_session(&mut self, session: SessionId, tenant_name: String, policy: &str, secret: SessionSecret) {
        let refusal = if self.state.sessions.contains_key(&session) {
            Some(CommandError::IdReused { what: session.to_string() })
        } else if self.state.sessions.len() >= self.state.limits.sessions_max as usize {
            Some(CommandError::LimitExceeded {
                what: "the number of open sessions".to_owned(),
                limit: u64::from(self.state.limits.sessions_max),
            })
        } else {
            None
        };
        let label = if policy.is_empty() { self.default_policy.clone() } else { policy.to_owned() };
        let entry = refusal.map_or_else(
            || self.policy_entry(&label).map_err(|error| CommandError::Policy { reason: error.to_string() }),
            Err,
        );
        let entry = match entry {
            Ok(entry) => entry,
            Err(error) => {
                let reply = ClientReply::RequestFailed { request: RequestName::Open, error };
                self.actions.push(Action::Reply { session, reply });
                self.actions.push(Action::SessionEnded { session });
                return;
            }
        };
        self.policies[entry].users += 1;
        self.state.sessions.insert(
            session,
            SessionRecord {
                tenant_name,
                policy: entry,
                secret,
                commands: id_table::IdTable::default(),
                last_command: CommandId(0),
                last_buffer: BufferId(0),
                last_program: ProgramId(0),
                ingest: VecDeque::new(),
                failed: BTreeMap::new(),
                live_buffers: 0,
                programs: BTreeMap::new(),
                last_barrier: None,
                open: Vec::new(),
                open_swept_at: 0,
                commands_finished: 0,
                home: None,
            },
        );
        let present: Vec<AgentId> = self.state.present_agents().collect();
        for agent in &present {
            self.order(*agent, Order::OpenSession { session, secret });
        }
        let agents = present.into_iter().map(|agent| self.agent_address(agent)).collect();
        let inline_bytes_max = self.state.limits.inline_bytes_max;
        let reply = ClientReply::Opened { session, secret, agents, inline_bytes_max };
        self.actions.push(Action::Reply { session, reply });
    }

    /// Checks what must hold between any two events.
    ///
    /// # Panics
    /// When it does not: a bug of this crate.
    pub fn check_invariants(&self) {
        let state = &self.state;
        let mut dispatched = vec![0_u32; state.agents.len()];
        let mut on_slot = vec![0_u32; state.slots.len()];
        let (mut live, mut failed) = (0, 0);
        for (index, record) in state.tasks.iter().enumerate() {
            let Some(record) = record else { continue };
            live += 1;
            let task = TaskIndex(index as u32);
            assert_eq!(record.id.index(), index, "a task lies at its own place");
            let unplaced =
                state.dag.predecessors(task).filter(|(first, _)| !state.task(*first).is_settled()).count();
            match record.state {
                TaskState::Blocked => {
                    assert_eq!(record.waiting as usize, unplaced, "{} counts its waits", record.id);
                }
                TaskState::Floating | TaskState::Placeable => {
                    assert_eq!(unplaced, 0, "{} is ready only when its predecessors are placed", record.id);
                }
                TaskState::Failed { agent } => {
                    failed += 1;
                    self.check_place(task, agent, unplaced);
                }
                TaskState::Dispatched { agent, slot } => {
                    let is_excused = record.is_retracting;
                    // Those asked back may yet be the first to end, and failed ones are where those before them are.
                    let asked_back = state.dag.predecessors(task).filter(|(first, _)| {
                        let first = state.task(*first);
                        let may_be_unsettled =
                            first.is_retracting || matches!(first.state, TaskState::Failed { .. });
                        may_be_unsettled && !first.is_settled()
                    });
                    let asked_back = asked_back.count();
                    assert!(
                        is_excused || unplaced == asked_back,
                        "{} is dispatched only after its predecessors",
                        record.id
                    );
                    assert!(
                        state.agents[agent.index()].is_present,
                        "{} is on an agent that is there",
                        record.id
                    );
                    dispatched[agent.index()] += 1;
                    if let Some(slot) = slot {
                        on_slot[slot.index()] += 1;
                    }
                    for (first, _) in state.dag.predecessors(task) {
                        let is_floating = state.task(first).state == TaskState::Floating;
                        assert!(
                            is_excused || !is_floating,
                            "{} has its contents ordered before it",
                            record.id
                        );
                    }
                }
            }
            for input in &record.inputs {
                assert!(state.versions[input.version].uses > 0, "a version in use is counted");
            }
            assert!(state.sessions.contains_key(&record.session), "a task belongs to a session");
        }
        self.check_spares(&mut dispatched, &mut on_slot);
        assert_eq!(live, state.dag.len(), "tasks and vertices are the same");
        assert_eq!(failed, self.places_kept, "the places of failed tasks are counted");
        for (index, agent) in state.agents.iter().enumerate() {
            assert_eq!(agent.dispatched, dispatched[index], "an agent's tasks are counted");
        }
        for (index, slot) in state.slots.iter().enumerate() {
            assert_eq!(slot.dispatched, on_slot[index], "a slot's tasks are counted");
        }
        for (_, buffer) in state.buffers.iter() {
            let covered: u64 = buffer.frontier.iter().map(|(range, _)| range.len()).sum();
            assert_eq!(covered, buffer.size_bytes, "every byte of a buffer has a version");
        }
        for (_, version) in state.versions.iter() {
            assert!(version.uses > 0 || version.frontier_bytes > 0, "a version is needed by someone");
        }
        let versions_in_use = state.buffers.len();
        assert!(state.versions.len() >= versions_in_use, "a buffer has at least one version");
    }

    /// What must hold of a failed task that keeps its place.
    fn check_place(&self, task: TaskIndex, agent: Option<AgentId>, unplaced: usize) {
        let record = self.state.task(task);
        let is_counted = record.is_retracting || record.waiting as usize == unplaced;
        assert!(is_counted, "{} counts its waits", record.id);
        let is_behind = self.state.dag.predecessors(task).next().is_some();
        assert!(agent.is_some() || is_behind, "{} keeps its place for a reason", record.id);
        let is_held = agent.is_none_or(|agent| self.state.agents[agent.index()].is_present);
        assert!(is_held, "{} is kept for an agent that is there", record.id);
    }
}
