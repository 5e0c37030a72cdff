//! What a live run leaves behind that no policy decided.

use std::collections::BTreeMap;

use isochrone_model::message::ClientRequest;
use isochrone_model::order::{BuildOutcome, TaskOutcome};
use isochrone_model::{
    AgentFacts, AgentId, Attempt, BytesPerSecond, CommandId, DeviceFacts, DeviceIndex, Lane, Limits, LinkEnd,
    Order, PathSample, ProgramKey, Report, SessionId, Span, TaskId, TenantId, Timestamp, Work,
};
use isochrone_sched_core::{Action, CostSnapshot, Event, Scheduler};

use super::durations::{Durations, LaunchKey};
use crate::cluster::{
    Access, Cluster, ClusterAgent, ClusterDevice, InputPlace, LinkSpec, Party, Path, Topology,
};

/// Round trip where nothing was measured anywhere.
const ROUND_TRIP_UNSAID: Span = Span::from_micros(100);
/// Rate where no large contents came.
const RATE_UNSAID: BytesPerSecond = BytesPerSecond(1_000_000_000);
/// Contents below this many bytes tell of latency, not of rate.
pub(super) const RATE_SAMPLE_BYTES_MIN: u64 = 64 << 10;

/// Why a journal holds no run.
#[derive(Debug, thiserror::Error)]
pub enum RecordingError {
    /// No agent ever joined.
    #[error("no agent joined in this journal")]
    NoAgent,
    /// An agent that joined is not in a cluster.
    #[error("the cluster has no agent {name}")]
    UnknownAgent {
        /// Its name.
        name: String,
    },
    /// No client ever submitted anything that ran.
    #[error("nothing ran in this journal")]
    NothingRan,
}

/// What a client did.
#[derive(Clone, Debug)]
pub(super) enum Input {
    Request(ClientRequest),
    /// That it opened or left, and what the way to it was measured to be when it opened.
    Event(Event),
}

/// When it did so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum When {
    /// So long after its input before.
    After(Span),
    /// So long after the farm had nothing open any more.
    Idle(Span),
}

/// A session's inputs in order; the first comes at a time of its own, or after another session has left.
#[derive(Clone, Debug)]
pub(super) struct Script {
    pub starts_at: Timestamp,
    /// The tenant's session that left last before this one came, and how long before. A tenant that had nothing open is taken to
    /// have waited for its end.
    pub follows: Option<(SessionId, Span)>,
    pub inputs: Vec<(When, Input)>,
}

/// How a program was built on a device.
pub(super) type Builds = BTreeMap<(String, AgentId, DeviceIndex), (BuildOutcome, Span)>;

/// A live run that can be simulated.
#[derive(Clone, Debug)]
pub struct Recording {
    /// The policy of the farm.
    pub policy: String,
    /// The time in which the farm had something open, as the scheduler saw it.
    pub busy: Span,
    /// The same, one by one: each begins when the farm has something open, and ends with the last end.
    pub periods: Vec<Span>,
    /// Tasks that ended well.
    pub tasks: u64,
    /// What could not be kept, for people.
    pub notes: Vec<String>,
    pub(super) limits: Limits,
    pub(super) costs: Option<CostSnapshot>,
    pub(super) agents: Vec<AgentFacts>,
    /// What comes by itself.
    pub(super) facts: Vec<(Timestamp, Event)>,
    pub(super) scripts: BTreeMap<SessionId, Script>,
    pub(super) durations: Durations,
    pub(super) builds: Builds,
    pub(super) cluster: Cluster,
}

/// Keeps what a journal's steps show.
#[derive(Debug)]
pub struct Recorder {
    policy: String,
    limits: Limits,
    costs: Option<CostSnapshot>,
    agents: BTreeMap<AgentId, AgentFacts>,
    facts: Vec<(Timestamp, Event)>,
    scripts: BTreeMap<SessionId, (Timestamp, Script)>,
    /// By tenant, how many sessions are open, and which left last, and when.
    tenants: BTreeMap<TenantId, (u32, Option<(SessionId, Timestamp)>)>,
    tenant_of: BTreeMap<SessionId, TenantId>,
    /// By attempt: a task may have two under way.
    running: BTreeMap<(TaskId, Attempt), Running>,
    programs: BTreeMap<ProgramKey, (String, Timestamp)>,
    launches: Vec<(SessionId, CommandId, LaunchKey, AgentId, DeviceIndex, Span)>,
    builds: Builds,
    round_trips: BTreeMap<(Party, Party), Vec<u64>>,
    rates: BTreeMap<(Party, Party), Vec<u64>>,
    /// Since when nothing is open, or something is.
    changed_at: Timestamp,
    is_idle: bool,
    periods: Vec<Span>,
    tasks: u64,
    left: u64,
    last_finish: Timestamp,
}

#[derive(Debug)]
struct Running {
    session: SessionId,
    command: CommandId,
    key: Option<(LaunchKey, DeviceIndex)>,
}

impl Recorder {
    /// Of a machine that begins under this policy with these bounds and these costs remembered.
    #[must_use]
    pub fn new(policy: String, limits: Limits, costs: Option<CostSnapshot>) -> Self {
        Self {
            policy,
            limits,
            costs,
            agents: BTreeMap::new(),
            facts: Vec::new(),
            scripts: BTreeMap::new(),
            tenants: BTreeMap::new(),
            tenant_of: BTreeMap::new(),
            running: BTreeMap::new(),
            programs: BTreeMap::new(),
            launches: Vec::new(),
            builds: Builds::new(),
            round_trips: BTreeMap::new(),
            rates: BTreeMap::new(),
            changed_at: Timestamp::ZERO,
            is_idle: true,
            periods: Vec::new(),
            tasks: 0,
            left: 0,
            last_finish: Timestamp::ZERO,
        }
    }

    /// Notes a step; `machine` is as the step left it.
    pub fn step(&mut self, now: Timestamp, event: &Event, actions: &[Action], machine: &Scheduler) {
        match event {
            Event::AgentJoined { agent, facts } => {
                // One that comes back joins once: here nobody leaves.
                if self.agents.insert(*agent, facts.clone()).is_none() {
                    self.facts.push((now, event.clone()));
                }
            }
            Event::AgentLeft { .. } => self.left += 1,
            Event::Reports { agent, reports } => {
                for report in reports {
                    self.report(now, *agent, report);
                }
            }
            Event::SessionOpened { session, tenant, .. } => {
                self.input(now, *session, Input::Event(event.clone()));
                self.open(now, *session, *tenant);
            }
            Event::Request { session, request } => {
                self.input(now, *session, Input::Request(request.clone()));
            }
            Event::SessionLeft { session, .. } => {
                self.input(now, *session, Input::Event(event.clone()));
                if let Some((open, last)) =
                    self.tenant_of.remove(session).and_then(|tenant| self.tenants.get_mut(&tenant))
                {
                    *open -= 1;
                    *last = Some((*session, now));
                }
            }
            Event::PathMeasured { to, sample } => {
                self.path(Party::Scheduler, *to, sample);
                match to {
                    LinkEnd::Scheduler | LinkEnd::Agent(_) => self.facts.push((now, event.clone())),
                    // Later ones are of their own times: a client that waits would wait for them.
                    LinkEnd::Session(session) => {
                        if self.scripts.get(session).is_some_and(|(_, script)| script.inputs.len() == 1) {
                            self.input(now, *session, Input::Event(event.clone()));
                        }
                    }
                }
            }
            Event::CostsStated(_) => self.facts.push((now, event.clone())),
            Event::Timer(_) => {}
        }
        for action in actions {
            match action {
                Action::Order { order, .. } => self.order(now, order),
                Action::Reply { .. } | Action::SessionEnded { .. } => {}
            }
        }
        if machine.is_idle() != self.is_idle {
            // Busy until the last end: what is let go of later is nobody's wait.
            let changed_at = if self.is_idle { now } else { self.last_finish.max(self.changed_at) };
            if !self.is_idle {
                self.periods.push(changed_at.since(self.changed_at));
            }
            self.is_idle = !self.is_idle;
            self.changed_at = changed_at;
        }
    }

    fn open(&mut self, now: Timestamp, session: SessionId, tenant: TenantId) {
        // One that resumes is open already.
        if self.tenant_of.insert(session, tenant).is_some() {
            return;
        }
        let (open, last) = self.tenants.entry(tenant).or_default();
        if let (0, Some((before, left_at)), Some((_, script))) =
            (*open, *last, self.scripts.get_mut(&session))
            && before != session
        {
            script.follows = Some((before, now.since(left_at)));
        }
        *open += 1;
    }

    fn path(&mut self, one: Party, to: LinkEnd, sample: &PathSample) {
        let other = party(to);
        let round_trips = self.round_trips.entry((one.min(other), one.max(other))).or_default();
        round_trips.extend(sample.round_trips.iter().map(|round_trip| round_trip.0));
    }

    fn input(&mut self, now: Timestamp, session: SessionId, input: Input) {
        let waited = self.is_idle.then(|| now.since(self.changed_at));
        let new = || (now, Script { starts_at: now, follows: None, inputs: Vec::new() });
        let (last, script) = self.scripts.entry(session).or_insert_with(new);
        let when = match waited {
            // Only who has submitted something can have waited for its end.
            Some(waited) if self.changed_at > script.starts_at => When::Idle(waited),
            Some(_) | None => When::After(now.since(*last)),
        };
        *last = now;
        script.inputs.push((when, input));
    }

    fn report(&mut self, now: Timestamp, agent: AgentId, report: &Report) {
        match report {
            Report::Finished { task, attempt, outcome } => {
                self.last_finish = now;
                let running = self.running.remove(&(*task, *attempt));
                match outcome {
                    TaskOutcome::Done { execution, .. } => {
                        self.tasks += 1;
                        if let Some(Running { session, command, key: Some((key, device)) }) = running {
                            self.launches.push((session, command, key, agent, device, *execution));
                        }
                    }
                    TaskOutcome::Failed(_) => {}
                }
            }
            Report::Built { program, device, outcome } => {
                if let Some((source, ordered)) = self.programs.get(program) {
                    let key = (source.clone(), agent, *device);
                    self.builds.insert(key, (outcome.clone(), now.since(*ordered)));
                }
            }
            Report::Carried { from, size_bytes, shared_bytes, span } => {
                if *size_bytes >= RATE_SAMPLE_BYTES_MIN && *span > Span::ZERO {
                    let bytes = size_bytes.saturating_add(*shared_bytes);
                    let pair = (party(*from), Party::Agent(agent.index()));
                    self.rates.entry(pair).or_default().push(BytesPerSecond::from_transfer(bytes, *span).0);
                }
            }
            Report::PathMeasured { to, sample } => {
                self.path(Party::Agent(agent.index()), *to, sample);
                if is_of_farm(*to) {
                    let reports = vec![report.clone()];
                    self.facts.push((now, Event::Reports { agent, reports }));
                }
            }
            Report::Arrived { .. } => {}
            Report::Retracted { .. } | Report::PushFailed { .. } | Report::Memory { .. } => {}
        }
    }

    fn order(&mut self, now: Timestamp, order: &Order) {
        match order {
            Order::Run(order) | Order::RunBackup(order) => {
                let key = match (&order.work, order.lane) {
                    (Work::Kernel { program, kernel, range, .. }, Lane::Slot { device, .. }) => {
                        let program = self.programs.get(program).map(|(source, _)| source.clone());
                        let (kernel, items) = (kernel.0, range.items());
                        program.map(|program| (LaunchKey { program, kernel, items }, device))
                    }
                    (
                        Work::Kernel { .. }
                        | Work::Write { .. }
                        | Work::Read { .. }
                        | Work::Copy { .. }
                        | Work::Fill { .. }
                        | Work::Nothing,
                        Lane::Host | Lane::Slot { .. },
                    ) => None,
                };
                let running = Running { session: order.session, command: order.command, key };
                self.running.insert((order.task, order.attempt), running);
            }
            Order::Build { program, source, options } => {
                self.programs.entry(*program).or_insert_with(|| (program_name(source, options), now));
            }
            Order::DropProgram { .. }
            | Order::DeclareBuffer { .. }
            | Order::DropBuffer { .. }
            | Order::Push { .. }
            | Order::Notify { .. }
            | Order::Release { .. }
            | Order::Cancel { .. }
            | Order::Retract { .. }
            | Order::OpenSession { .. }
            | Order::CloseSession { .. }
            | Order::PeerJoined { .. }
            | Order::PeerLeft { .. } => {}
        }
    }

    /// The run, once the journal has been stepped to its end.
    ///
    /// # Errors
    /// When there was no agent, or nothing ran.
    pub fn finish(mut self) -> Result<Recording, RecordingError> {
        if self.agents.is_empty() {
            return Err(RecordingError::NoAgent);
        }
        if self.tasks == 0 {
            return Err(RecordingError::NothingRan);
        }
        if !self.is_idle {
            self.periods.push(self.last_finish.since(self.changed_at));
        }
        let mut notes = Vec::new();
        if self.left > 0 {
            notes.push(format!("{} times an agent left; here all of them stay", self.left));
        }
        if !self.rates.is_empty() || !self.round_trips.is_empty() {
            let pairs = self.rates.len();
            notes.push(format!("rates were seen on {pairs} paths between agents; others have their median"));
        }
        // Ids are dense, in the order of the first joining.
        let agents: Vec<AgentFacts> = std::mem::take(&mut self.agents).into_values().collect();
        let mut first_devices = vec![0];
        for agent in &agents {
            first_devices.push(first_devices[first_devices.len() - 1] + agent.devices.len());
        }
        let mut durations = Durations::default();
        for (session, command, key, agent, device, took) in self.launches {
            durations.record(session, command, key, first_devices[agent.index()] + device.index(), took);
        }
        durations.settle();
        let cluster = cluster(&agents, self.round_trips, self.rates);
        Ok(Recording {
            policy: self.policy,
            busy: self.periods.iter().fold(Span::ZERO, |sum, period| sum + *period),
            periods: self.periods,
            tasks: self.tasks,
            notes,
            limits: self.limits,
            costs: self.costs,
            agents,
            facts: self.facts,
            scripts: self.scripts.into_iter().map(|(session, (_, script))| (session, script)).collect(),
            durations,
            builds: self.builds,
            cluster,
        })
    }
}

impl Recording {
    /// The farm with its links, as far as the journal tells.
    #[must_use]
    pub fn cluster(&self) -> &Cluster {
        &self.cluster
    }

    /// Has the links of a cluster in place of those that the journal tells: for a farm whose links are known.
    ///
    /// # Errors
    /// When the cluster lacks an agent that joined.
    pub fn use_links_of(&mut self, known: &Cluster) -> Result<(), RecordingError> {
        let mut place_of = Vec::new();
        for facts in &self.agents {
            let place = known.agents.iter().position(|agent| agent.name == facts.name);
            place_of.push(place.ok_or_else(|| RecordingError::UnknownAgent { name: facts.name.clone() })?);
        }
        let there = |party: Party| match party {
            Party::Scheduler | Party::Client => party,
            Party::Agent(agent) => Party::Agent(place_of[agent]),
        };
        let parties: Vec<Party> = (0..self.agents.len() + 2).map(Party::at).collect();
        let access = parties.iter().map(|party| known.topology.access(there(*party)).clone()).collect();
        let (mut paths, mut index_of) = (Vec::new(), BTreeMap::new());
        for (from, to) in parties.iter().flat_map(|from| parties.iter().map(move |to| (*from, *to))) {
            if from != to {
                let (index, path) = known.topology.path(there(from), there(to));
                index_of.entry(index).or_insert_with(|| {
                    paths.push(path.clone());
                    paths.len() - 1
                });
            }
        }
        self.cluster.topology =
            Topology::new(access, paths, |from, to| index_of[&known.topology.path(there(from), there(to)).0]);
        Ok(())
    }
}

/// A program over all of its keys.
pub(super) fn program_name(source: &str, options: &str) -> String {
    format!("{options}\n{source}")
}

type Samples = BTreeMap<(Party, Party), Vec<u64>>;

fn cluster(agents: &[AgentFacts], round_trips: Samples, rates: Samples) -> Cluster {
    let median = |mut samples: Vec<u64>| {
        samples.sort_unstable();
        samples.get(samples.len() / 2).copied()
    };
    let all_rates = median(rates.values().flatten().copied().collect()).map_or(RATE_UNSAID, BytesPerSecond);
    let rates: BTreeMap<(Party, Party), u64> =
        rates.into_iter().filter_map(|(pair, samples)| Some((pair, median(samples)?))).collect();
    let round_trips: BTreeMap<(Party, Party), u64> =
        round_trips.into_iter().filter_map(|(pair, samples)| Some((pair, median(samples)?))).collect();
    let measured = |one: Party, other: Party| round_trips.get(&(one.min(other), one.max(other))).copied();
    let round_trip = |from: Party, to: Party| {
        let over = |party| measured(Party::Scheduler, party).unwrap_or(ROUND_TRIP_UNSAID.0);
        match (from, to) {
            (Party::Scheduler, party) | (party, Party::Scheduler) => over(party),
            (Party::Client | Party::Agent(_), Party::Client | Party::Agent(_)) => {
                measured(from, to).unwrap_or_else(|| over(from).saturating_add(over(to)))
            }
        }
    };
    let parties: Vec<Party> = (0..agents.len() + 2).map(Party::at).collect();
    let mut paths = Vec::new();
    for (from, to) in parties.iter().flat_map(|from| parties.iter().map(move |to| (*from, *to))) {
        let rate = rates.get(&(from, to)).map_or(all_rates, |rate| BytesPerSecond(*rate));
        let link = LinkSpec::fixed(Span(if from == to { 0 } else { round_trip(from, to) / 2 }), rate);
        paths.push(Path { link, is_shared: false });
    }
    let count = parties.len();
    let topology =
        Topology::new(vec![Access::UNLIMITED; count], paths, |from, to| from.place() * count + to.place());
    Cluster {
        name: "recorded".to_owned(),
        agents: agents.iter().map(agent).collect(),
        inputs_at: InputPlace::Client,
        topology,
    }
}

fn agent(facts: &AgentFacts) -> ClusterAgent {
    let device = |facts: &DeviceFacts| ClusterDevice {
        name: facts.name.clone(),
        speed: 1.0,
        slots: facts.slots,
        memory_bytes: facts.memory_bytes,
        launch: Span::ZERO,
        host_rate: facts.prior_host_rate,
        column: None,
        kinds: BTreeMap::new(),
    };
    ClusterAgent {
        name: facts.name.clone(),
        host_memory_bytes: facts.host_memory_bytes,
        devices: facts.devices.iter().map(device).collect(),
    }
}

fn party(end: LinkEnd) -> Party {
    match end {
        LinkEnd::Scheduler => Party::Scheduler,
        LinkEnd::Agent(agent) => Party::Agent(agent.index()),
        LinkEnd::Session(_) => Party::Client,
    }
}

/// Whether an end is there whatever clients do.
fn is_of_farm(end: LinkEnd) -> bool {
    match end {
        LinkEnd::Scheduler | LinkEnd::Agent(_) => true,
        LinkEnd::Session(_) => false,
    }
}
