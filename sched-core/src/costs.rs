//! The `CostModel`: what kernels and transfers are expected to take, from measurements alone once there
//! are any, from device facts until then. What is measured of paths is in `paths`.

use std::collections::BTreeMap;

use isochrone_model::{
    AgentId, BytesPerSecond, DeviceFacts, DeviceId, LinkEnd, PathSample, SessionId, SharedList, Span,
    Timestamp, TransferParts,
};
use serde::{Deserialize, Serialize};

use crate::distribution::{Distribution, DistributionSnapshot};
use crate::paths::{PRIOR_ROUND_TRIP, Path, PathMatrix, Prior, Warmth};

/// Sizes remembered for one kernel on one device; the one used longest ago gives way.
const SIZES_MAX: usize = 64;
/// A row of the table of kernels, dense.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KernelRow(pub u32);

/// A kernel across restarts: the program's digest and the kernel's name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct KernelName {
    /// Hexadecimal digest of source and options.
    pub program_digest: String,
    /// The kernel's name.
    pub kernel: String,
}

/// What a span is expected to be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Estimate {
    /// What to expect.
    pub expected: Span,
    /// What nine of ten do not exceed.
    pub high: Span,
    /// What it rests on.
    pub basis: Basis,
}

/// What an estimate rests on, best first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Basis {
    /// Stated for this kernel and device.
    Stated,
    /// This kernel, device and size.
    Measured,
    /// This kernel and device at another size.
    OtherSize,
    /// This kernel on another device, scaled by the devices' relative speed.
    OtherDevice,
    /// Only the device's facts.
    #[default]
    Prior,
}

impl Basis {
    /// Whether the kernel has been seen on the device, so that the estimate can be relied on.
    #[must_use]
    pub fn is_seen(self) -> bool {
        match self {
            Self::Stated | Self::Measured | Self::OtherSize => true,
            Self::OtherDevice | Self::Prior => false,
        }
    }
}

/// What kernels and paths are stated to take. It holds in place of what is measured: for farms whose costs
/// are known, and for simulations in which the scheduler is to know them exactly, or wrongly in a known way.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct StatedCosts {
    /// Kernels.
    pub kernels: Vec<StatedKernel>,
    /// Paths between agents, each direction for itself.
    pub links: Vec<StatedLink>,
    /// The one-way time between the scheduler and an agent.
    pub control: Vec<(AgentId, Span)>,
    /// From the scheduler's word to the client until the first byte that it sends is at an agent, and the rate at
    /// which the others follow.
    pub clients: Vec<(AgentId, Span, BytesPerSecond)>,
    /// Transfers pass beside each other without slowing each other down, as most of the literature assumes.
    pub are_links_uncontended: bool,
}

/// What one kernel takes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StatedKernel {
    /// The kernel.
    pub kernel: KernelName,
    /// By device id, from the first on.
    pub durations: SharedList<StatedDuration>,
}

/// A duration that grows with the index space: `base` and `nanos_per_mega_item` nanoseconds for each million
/// work-items, rounded down.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct StatedDuration {
    /// Whatever the size.
    pub base: Span,
    /// Nanoseconds for a million work-items.
    pub nanos_per_mega_item: u64,
}

impl StatedDuration {
    /// The duration of so many work-items.
    #[must_use]
    pub fn of(self, items: u64) -> Span {
        self.base + Span(scale(self.nanos_per_mega_item, items, 1_000_000))
    }
}

/// What the path from one agent to another does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatedLink {
    /// Where from.
    pub from: AgentId,
    /// Where to.
    pub to: AgentId,
    /// From the first byte sent to the first byte there.
    pub latency: Span,
    /// At which the bytes follow.
    pub rate: BytesPerSecond,
    /// What a word without contents takes.
    pub notice: Span,
}

/// One (kernel, device): durations by number of work-items.
#[derive(Clone, Debug, Default)]
struct KernelOnDevice {
    sizes: Vec<(u64, u64, Distribution)>,
}

/// The model.
#[derive(Clone, Debug, Default)]
pub struct CostModel {
    rows: BTreeMap<KernelName, KernelRow>,
    names: Vec<KernelName>,
    /// By row, what has run of it: by device, in order of id. A graph may have as many kernels as tasks, each run once.
    kernels: Vec<Vec<(DeviceId, KernelOnDevice)>>,
    devices: Vec<DeviceCosts>,
    paths: PathMatrix,
    /// What was learnt in earlier lives and whose device or agent has not come back yet.
    remembered: CostSnapshot,
    uses: u64,
    stated: Stated,
}

/// What was stated, where look-up is fast.
#[derive(Clone, Debug, Default)]
struct Stated {
    /// Of kernels that have no row yet.
    kernels: BTreeMap<KernelName, SharedList<StatedDuration>>,
    /// By row; empty where nothing is stated.
    rows: Vec<SharedList<StatedDuration>>,
    /// By sender, then by receiver.
    links: Vec<Vec<Option<StatedLink>>>,
    /// By agent.
    control: Vec<Option<Span>>,
    /// By agent.
    clients: Vec<Option<(Span, BytesPerSecond)>>,
    are_links_uncontended: bool,
}

impl Stated {
    fn link(&self, from: AgentId, to: AgentId) -> Option<&StatedLink> {
        self.links.get(from.index())?.get(to.index())?.as_ref()
    }
}

#[derive(Clone, Debug)]
struct DeviceCosts {
    key: String,
    items_per_us: u64,
    launch: Span,
    /// How much faster or slower than its prior it has proved: nanoseconds measured for each 1024
    /// nanoseconds of prior.
    prior_correction: Distribution,
}

/// Durations of one kernel on one device: by work-items, in rising order.
pub type BySize = Vec<(u64, DistributionSnapshot)>;

/// What a restarted farm keeps.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct CostSnapshot {
    /// Durations in nanoseconds by (kernel, device as `agent/device name`), then by work-items.
    pub kernels: Vec<(KernelName, String, BySize)>,
    /// Nanoseconds for 1 MiB by (agent name, agent name).
    pub links: Vec<(String, String, DistributionSnapshot)>,
}

impl CostModel {
    /// A model that starts from what an earlier life learnt.
    #[must_use]
    pub fn new(remembered: CostSnapshot) -> Self {
        Self { remembered, ..Self::default() }
    }

    /// Takes in what is stated, in place of what was stated before of the same kernels and paths.
    pub fn state(&mut self, stated: StatedCosts) {
        for StatedKernel { kernel, durations } in stated.kernels {
            if let Some(row) = self.rows.get(&kernel) {
                self.stated.rows[row.0 as usize] = durations;
            } else {
                self.stated.kernels.insert(kernel, durations);
            }
        }
        for link in stated.links {
            let (from, to) = (link.from.index(), link.to.index());
            if self.stated.links.len() <= from {
                self.stated.links.resize(from + 1, Vec::new());
            }
            let row = &mut self.stated.links[from];
            if row.len() <= to {
                row.resize(to + 1, None);
            }
            row[to] = Some(link);
        }
        for (agent, one_way) in stated.control {
            if self.stated.control.len() <= agent.index() {
                self.stated.control.resize(agent.index() + 1, None);
            }
            self.stated.control[agent.index()] = Some(one_way);
        }
        for (agent, latency, rate) in stated.clients {
            if self.stated.clients.len() <= agent.index() {
                self.stated.clients.resize(agent.index() + 1, None);
            }
            self.stated.clients[agent.index()] = Some((latency, rate));
        }
        self.stated.are_links_uncontended = stated.are_links_uncontended;
    }

    /// What contents that are still with a client take to an agent: the scheduler's word to the client, then the bytes.
    #[must_use]
    pub fn from_client(
        &self,
        session: SessionId,
        agent: AgentId,
        size_bytes: u64,
        now: Timestamp,
        warmth: Warmth,
    ) -> Span {
        if let Some(Some((latency, rate))) = self.stated.clients.get(agent.index()) {
            return *latency + rate.span_for(size_bytes);
        }
        let word = self.paths.client(session).and_then(Path::round_trip);
        let (unknown, prior) = (Path::default(), self.client_prior(session, agent));
        let path = self.paths.upload(session, agent).unwrap_or(&unknown);
        let parts = match warmth {
            Warmth::AsItIs => path.parts(size_bytes, now, prior),
            Warmth::AtBest => path.parts_at_best(size_bytes, now, prior),
        };
        Span(word.unwrap_or(PRIOR_ROUND_TRIP).0 / 2) + parts.total()
    }

    /// What contents take from an agent to a client that reads them. Nothing where the paths of clients are stated: there, ends count
    /// where they happen.
    #[must_use]
    pub fn to_client(&self, session: SessionId, agent: AgentId, size_bytes: u64, warmth: Warmth) -> Span {
        if self.stated.clients.get(agent.index()).is_some_and(Option::is_some) {
            return Span::ZERO;
        }
        let (unknown, prior) = (Path::default(), self.client_prior(session, agent));
        let path = self.paths.upload(session, agent).unwrap_or(&unknown);
        path.back_parts(size_bytes, prior, warmth).total()
    }

    /// Notes that an agent has sent contents to a client.
    pub fn note_read(&mut self, session: SessionId, agent: AgentId, size_bytes: u64) {
        self.paths.upload_mut(session, agent).carried_back(size_bytes);
    }

    /// What is assumed of the path between a client and an agent: the longer of their round trips to the scheduler.
    fn client_prior(&self, session: SessionId, agent: AgentId) -> Prior {
        let word = self.paths.client(session).and_then(Path::round_trip);
        let leg = self.paths.control(agent).and_then(Path::round_trip);
        Prior { round_trip: word.max(leg).unwrap_or(PRIOR_ROUND_TRIP), ..Prior::default() }
    }

    /// What is stated of a path between two agents.
    #[must_use]
    pub fn stated_link(&self, from: AgentId, to: AgentId) -> Option<&StatedLink> {
        self.stated.link(from, to)
    }

    /// Whether transfers between the same parties are expected to slow each other down.
    #[must_use]
    pub fn do_transfers_add_up(&self) -> bool {
        !self.stated.are_links_uncontended
    }

    /// Takes in a device; devices come in the order of their ids, and again when their agent comes back.
    pub fn add_device(&mut self, device: DeviceId, agent: &str, facts: &DeviceFacts) {
        let key = format!("{agent}/{}", facts.name);
        let costs = DeviceCosts {
            key,
            items_per_us: facts.prior_items_per_us.max(1),
            launch: facts.prior_launch,
            prior_correction: Distribution::default(),
        };
        if device.index() < self.devices.len() {
            if self.devices[device.index()].key != costs.key {
                for cells in &mut self.kernels {
                    cells.retain(|(on, _)| *on != device);
                }
                self.devices[device.index()] = costs;
            }
        } else {
            self.devices.push(costs);
        }
        for row in 0..self.names.len() {
            self.recall(KernelRow(row as u32), device);
        }
    }

    /// The row of a kernel, made when it is new.
    pub fn row(&mut self, name: &KernelName) -> KernelRow {
        if let Some(row) = self.rows.get(name) {
            return *row;
        }
        let row = KernelRow(self.names.len() as u32);
        self.rows.insert(name.clone(), row);
        self.names.push(name.clone());
        self.kernels.push(Vec::new());
        self.stated.rows.push(self.stated.kernels.remove(name).unwrap_or_default());
        for device in 0..self.devices.len() {
            self.recall(row, DeviceId::from_index(device));
        }
        row
    }

    /// Fills a cell from what an earlier life learnt, if the cell is empty.
    fn recall(&mut self, row: KernelRow, device: DeviceId) {
        let name = &self.names[row.0 as usize];
        let key = &self.devices[device.index()].key;
        let found = self.remembered.kernels.iter().find(|(kernel, on, _)| kernel == name && on == key);
        let Some((_, _, sizes)) = found else { return };
        let cell = cell_mut(&mut self.kernels[row.0 as usize], device);
        if cell.sizes.is_empty() {
            cell.sizes = sizes
                .iter()
                .map(|(items, snapshot)| (*items, 0, Distribution::from_snapshot(snapshot)))
                .collect();
        }
    }

    /// Takes in a measured duration of a kernel.
    pub fn record_execution(&mut self, row: KernelRow, device: DeviceId, items: u64, execution: Span) {
        let prior = self.prior(device, items);
        let corrected = u128::from(execution.0) * 1024 / u128::from(prior.0.max(1));
        self.devices[device.index()].prior_correction.record(u64::try_from(corrected).unwrap_or(u64::MAX));
        self.uses += 1;
        let uses = self.uses;
        let sizes = &mut cell_mut(&mut self.kernels[row.0 as usize], device).sizes;
        if let Some((_, last_used, distribution)) = sizes.iter_mut().find(|(size, _, _)| *size == items) {
            *last_used = uses;
            distribution.record(execution.0);
            return;
        }
        if sizes.len() >= SIZES_MAX
            && let Some(oldest) = sizes
                .iter()
                .enumerate()
                .min_by_key(|(_, (_, last_used, _))| *last_used)
                .map(|(place, _)| place)
        {
            sizes.swap_remove(oldest);
        }
        let mut distribution = Distribution::default();
        distribution.record(execution.0);
        sizes.push((items, uses, distribution));
    }

    /// What a kernel over `items` work-items is expected to take on a device: stated, else measured at this size, else
    /// scaled from the nearest measured size, else scaled from this kernel on another device by the
    /// devices' relative speed, else from the device's facts.
    #[must_use]
    pub fn execution(&self, row: KernelRow, device: DeviceId, items: u64) -> Estimate {
        if let Some(duration) = self.stated.rows[row.0 as usize].get(device.index()) {
            let expected = duration.of(items);
            return Estimate { expected, high: expected, basis: Basis::Stated };
        }
        let cells = &self.kernels[row.0 as usize];
        if let Ok(place) = cells.binary_search_by_key(&device, |(on, _)| *on) {
            let cell = &cells[place].1;
            if let Some((_, _, distribution)) = cell.sizes.iter().find(|(size, _, _)| *size == items) {
                return measured(distribution, Basis::Measured, |nanos| nanos);
            }
            let nearest = cell.sizes.iter().min_by_key(|(size, _, _)| (size.abs_diff(items), *size));
            if let Some((size, _, distribution)) = nearest {
                return measured(distribution, Basis::OtherSize, |nanos| scale(nanos, items, *size));
            }
        }
        let here = self.prior(device, items);
        for (other, cell) in cells {
            let nearest = cell.sizes.iter().min_by_key(|(size, _, _)| (size.abs_diff(items), *size));
            if let Some((size, _, distribution)) = nearest {
                let there = self.prior(*other, *size);
                return measured(distribution, Basis::OtherDevice, |nanos| scale(nanos, here.0, there.0));
            }
        }
        let corrected = match self.devices[device.index()].prior_correction.typical() {
            Some(correction) => Span(scale(here.0, correction, 1024)),
            None => here,
        };
        Estimate { expected: corrected, high: corrected.saturating_mul(4), basis: Basis::Prior }
    }

    /// The device's own prior for an index space.
    fn prior(&self, device: DeviceId, items: u64) -> Span {
        let costs = &self.devices[device.index()];
        costs.launch + Span(items.saturating_mul(1_000) / costs.items_per_us)
    }

    /// Takes in what a party has measured of its path to another, as far as both are of the farm; says whether what
    /// estimates count with has moved.
    pub fn path_measured(&mut self, now: Timestamp, from: LinkEnd, to: LinkEnd, sample: &PathSample) -> bool {
        match (from, to) {
            (LinkEnd::Agent(from), LinkEnd::Agent(to)) if from != to => {
                self.paths.agents_measured(now, from, to, sample)
            }
            (LinkEnd::Scheduler, LinkEnd::Agent(agent)) => {
                self.paths.control_mut(agent).measured(now, sample)
            }
            (LinkEnd::Scheduler, LinkEnd::Session(session)) => {
                self.paths.client_mut(session).measured(now, sample)
            }
            // Measured by the agent, since it is the agent that reports. Its congestion window is that of the way back.
            (LinkEnd::Agent(agent), LinkEnd::Session(session)) => {
                let path = self.paths.upload_mut(session, agent);
                path.back_window(sample.window_bytes);
                path.measured(now, &PathSample { window_bytes: 0, ..sample.clone() })
            }
            (LinkEnd::Agent(_), LinkEnd::Agent(_) | LinkEnd::Scheduler)
            | (LinkEnd::Scheduler, LinkEnd::Scheduler)
            | (LinkEnd::Session(_), LinkEnd::Agent(_) | LinkEnd::Session(_) | LinkEnd::Scheduler) => false,
        }
    }

    /// Takes in what an agent received over a path, from the first byte there to the last; says whether the rate that
    /// estimates count with has moved.
    pub fn carried(
        &mut self,
        from: LinkEnd,
        to: AgentId,
        size_bytes: u64,
        shared_bytes: u64,
        span: Span,
    ) -> bool {
        match from {
            LinkEnd::Agent(from) if from != to => {
                self.paths.agents_carried(from, to, size_bytes, shared_bytes, span)
            }
            LinkEnd::Session(session) => {
                self.paths.upload_mut(session, to).carried(size_bytes, shared_bytes, span)
            }
            LinkEnd::Agent(_) | LinkEnd::Scheduler => false,
        }
    }

    /// Takes back the rates that an earlier life measured between two agents.
    pub fn recall_link(&mut self, from: AgentId, from_name: &str, to: AgentId, to_name: &str) {
        let found = self.remembered.links.iter().find(|(a, b, _)| a == from_name && b == to_name);
        if let Some((_, _, snapshot)) = found {
            self.paths.between_mut(from, to).recall_rates(snapshot);
        }
    }

    /// What is known of all paths.
    #[must_use]
    pub fn paths(&self) -> &PathMatrix {
        &self.paths
    }

    /// An agent is lost, or has come anew: its connections are gone.
    pub fn forget_connections(&mut self, agent: AgentId) {
        self.paths.forget_connections(agent);
    }

    /// A session is over.
    pub fn forget_session(&mut self, session: SessionId) {
        self.paths.forget_session(session);
    }

    /// The time from one agent to another for a message, half the round trip.
    #[must_use]
    pub fn one_way(&self, from: AgentId, to: AgentId) -> Span {
        if from == to {
            return Span::ZERO;
        }
        if let Some(link) = self.stated.link(from, to) {
            return link.notice;
        }
        Span(self.round_trip(from, to).0 / 2)
    }

    /// The round trip between two agents that estimates count with.
    fn round_trip(&self, from: AgentId, to: AgentId) -> Span {
        let measured = self.paths.between(from, to).and_then(Path::round_trip);
        measured.unwrap_or_else(|| self.paths.prior(from, to).round_trip)
    }

    /// The time from the scheduler to an agent, half the round trip.
    #[must_use]
    pub fn control_one_way(&self, agent: AgentId) -> Span {
        if let Some(Some(one_way)) = self.stated.control.get(agent.index()) {
            return *one_way;
        }
        Span(self.control_round_trip(agent).unwrap_or(PRIOR_ROUND_TRIP).0 / 2)
    }

    /// The measured round trip between the scheduler and an agent.
    #[must_use]
    pub fn control_round_trip(&self, agent: AgentId) -> Option<Span> {
        self.paths.control(agent).and_then(Path::round_trip)
    }

    /// What a transfer is expected to take once it may start, without what is queued before it.
    #[must_use]
    pub fn transfer(&self, from: AgentId, to: AgentId, size_bytes: u64) -> Span {
        if from == to || size_bytes == 0 {
            return Span::ZERO;
        }
        if let Some(link) = self.stated.link(from, to) {
            return link.latency + link.rate.span_for(size_bytes);
        }
        self.transfer_parts(from, to, size_bytes, Timestamp::NEVER).total()
    }

    /// Latency and rate of a path between two agents, when its round trip was measured.
    #[must_use]
    pub fn measured_link(&self, from: AgentId, to: AgentId) -> Option<(Span, BytesPerSecond)> {
        let path = self.paths.between(from, to)?;
        let rate = BytesPerSecond::from_transfer(1 << 20, self.carrying(from, to, 1 << 20));
        Some((Span(path.round_trip()?.0 / 2), rate))
    }

    /// The time that bytes take to pass a path between two agents whose rate is not stated, without latency.
    #[must_use]
    pub fn carrying(&self, from: AgentId, to: AgentId, size_bytes: u64) -> Span {
        match self.paths.between(from, to) {
            Some(path) => path.carrying(size_bytes, self.paths.prior(from, to)),
            None => Path::default().carrying(size_bytes, self.paths.prior(from, to)),
        }
    }

    /// The parts of what a transfer that may start at `ready` is expected to take, what is queued before it included.
    #[must_use]
    pub fn transfer_parts(
        &self,
        from: AgentId,
        to: AgentId,
        size_bytes: u64,
        ready: Timestamp,
    ) -> TransferParts {
        let path = self.paths.between(from, to);
        if let Some(link) = self.stated.link(from, to) {
            let busy_until = path.map_or(Timestamp::ZERO, Path::busy_until);
            return TransferParts {
                queueing: if self.stated.are_links_uncontended {
                    Span::ZERO
                } else {
                    busy_until.since(ready)
                },
                latency: link.latency,
                carrying: link.rate.span_for(size_bytes),
                ..TransferParts::default()
            };
        }
        let prior = self.paths.prior(from, to);
        match path {
            Some(path) => path.parts(size_bytes, ready, prior),
            None => Path::default().parts(size_bytes, ready, prior),
        }
    }

    /// When a transfer that may start at `ready` is expected to be there, behind what is queued.
    #[must_use]
    pub fn arrival(&self, from: AgentId, to: AgentId, size_bytes: u64, ready: Timestamp) -> Timestamp {
        if from == to {
            return ready;
        }
        if self.stated.are_links_uncontended {
            return ready + self.transfer(from, to, size_bytes);
        }
        let busy_until = self.paths.between(from, to).map_or(Timestamp::ZERO, Path::busy_until);
        ready.max(busy_until) + self.transfer(from, to, size_bytes)
    }

    /// The same with its path at its best.
    #[must_use]
    pub fn arrival_at_best(
        &self,
        from: AgentId,
        to: AgentId,
        size_bytes: u64,
        ready: Timestamp,
    ) -> Timestamp {
        if from == to || self.stated.link(from, to).is_some() {
            return self.arrival(from, to, size_bytes, ready);
        }
        let (unknown, prior) = (Path::default(), self.paths.prior(from, to));
        let path = self.paths.between(from, to).unwrap_or(&unknown);
        ready + path.parts_at_best(size_bytes, ready, prior).total()
    }

    /// Notes that a transfer was ordered, so that the next one is expected behind it.
    pub fn note_transfer(&mut self, from: AgentId, to: AgentId, size_bytes: u64, ready: Timestamp) {
        if self.stated.are_links_uncontended {
            return;
        }
        let stated = self.stated.link(from, to).map(|link| link.rate.span_for(size_bytes));
        let carrying = stated.unwrap_or_else(|| self.carrying(from, to, size_bytes));
        self.paths.between_mut(from, to).ordered(size_bytes, ready, carrying);
    }

    /// Notes that an ordered transfer has arrived, or will not. What is stated of a path is believed to the end.
    pub fn note_arrival(&mut self, now: Timestamp, from: AgentId, to: AgentId, size_bytes: u64) {
        let is_stated = self.stated.link(from, to).is_some();
        if self.paths.between(from, to).is_some() {
            let path = self.paths.between_mut(from, to);
            if path.ended(size_bytes) && !is_stated {
                path.is_now_free(now);
            }
        }
    }

    /// Notes that a client was asked to send contents to an agent.
    pub fn note_upload(&mut self, now: Timestamp, session: SessionId, agent: AgentId, size_bytes: u64) {
        let path = self.paths.upload_mut(session, agent);
        path.ordered(size_bytes, now, path.carrying(size_bytes, Prior::default()));
    }

    /// Notes that they have come, or will not.
    pub fn note_upload_end(&mut self, now: Timestamp, session: SessionId, agent: AgentId, size_bytes: u64) {
        if self.paths.upload(session, agent).is_some() {
            let path = self.paths.upload_mut(session, agent);
            if path.ended(size_bytes) {
                path.is_now_free(now);
            }
        }
    }

    /// What a restarted farm is to keep. `agent_name` names the agents that links speak of.
    #[must_use]
    pub fn snapshot(&self, agent_name: impl Fn(AgentId) -> Option<String>) -> CostSnapshot {
        let mut snapshot = self.remembered.clone();
        // What was measured takes the place of what is remembered; of devices with the same key the last counts.
        let mut kernels: BTreeMap<_, _> =
            snapshot.kernels.drain(..).map(|(kernel, on, sizes)| ((kernel, on), sizes)).collect();
        for (row, cells) in self.kernels.iter().enumerate() {
            for (device, cell) in cells.iter().filter(|(_, cell)| !cell.sizes.is_empty()) {
                let mut sizes: Vec<(u64, DistributionSnapshot)> =
                    cell.sizes.iter().map(|(items, _, spans)| (*items, spans.snapshot())).collect();
                sizes.sort_by_key(|(items, _)| *items);
                kernels.insert((self.names[row].clone(), self.devices[device.index()].key.clone()), sizes);
            }
        }
        snapshot.kernels = kernels.into_iter().map(|((kernel, on), sizes)| (kernel, on, sizes)).collect();
        let mut links: BTreeMap<_, _> =
            snapshot.links.drain(..).map(|(from, to, rates)| ((from, to), rates)).collect();
        for (from, to, path) in self.paths.iter_agents() {
            if let (Some(from), Some(to)) = (agent_name(from), agent_name(to))
                && let Some(rates) = path.rates_snapshot()
            {
                links.insert((from, to), rates);
            }
        }
        snapshot.links = links.into_iter().map(|((from, to), rates)| (from, to, rates)).collect();
        snapshot
    }
}

/// What is known of one kernel on a device, made when it is new.
fn cell_mut(cells: &mut Vec<(DeviceId, KernelOnDevice)>, device: DeviceId) -> &mut KernelOnDevice {
    let place = cells.binary_search_by_key(&device, |(on, _)| *on).unwrap_or_else(|place| {
        cells.insert(place, (device, KernelOnDevice::default()));
        place
    });
    &mut cells[place].1
}

fn measured(distribution: &Distribution, basis: Basis, scaled: impl Fn(u64) -> u64) -> Estimate {
    let expected = Span(scaled(distribution.typical().unwrap_or(0)));
    let high = Span(scaled(distribution.high().unwrap_or(0))).max(expected);
    Estimate { expected, high, basis }
}

/// `value * numerator / denominator` without overflow.
fn scale(value: u64, numerator: u64, denominator: u64) -> u64 {
    let denominator = denominator.max(1);
    if let Some(product) = value.checked_mul(numerator) {
        return product / denominator;
    }
    let scaled = u128::from(value) * u128::from(numerator) / u128::from(denominator);
    u64::try_from(scaled).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use isochrone_model::DeviceKind;

    use super::*;

    pub(crate) fn facts(name: &str, items_per_us: u64) -> DeviceFacts {
        DeviceFacts {
            name: name.to_owned(),
            platform: "test".to_owned(),
            driver: "1".to_owned(),
            kind: DeviceKind::Virtual,
            compute_units: 1,
            clock_mhz: 1,
            memory_bytes: 1 << 30,
            buffer_bytes_max: 1 << 28,
            local_memory_bytes: 1 << 15,
            work_group_size_max: 256,
            sub_buffer_alignment_bytes: 128,
            has_fp64: true,
            slots: 1,
            prior_items_per_us: items_per_us,
            prior_launch: Span(1_000),
            prior_host_rate: BytesPerSecond(1_000_000_000),
        }
    }

    fn model() -> (CostModel, KernelRow) {
        let mut model = CostModel::default();
        model.add_device(DeviceId(0), "a", &facts("slow", 10));
        model.add_device(DeviceId(1), "b", &facts("fast", 1_000));
        let row = model.row(&KernelName { program_digest: "p".to_owned(), kernel: "k".to_owned() });
        (model, row)
    }

    #[test]
    fn an_unmeasured_device_is_judged_by_its_relative_speed() {
        let (mut model, row) = model();
        assert_eq!(model.execution(row, DeviceId(0), 1_000_000).expected, Span(100_001_000));
        for _ in 0..3 {
            model.record_execution(row, DeviceId(0), 1_000_000, Span(200_002_000));
        }
        let there = model.execution(row, DeviceId(1), 1_000_000);
        assert_eq!(there.basis, Basis::OtherDevice);
        assert!((1_800_000..2_300_000).contains(&there.expected.0), "{there:?}");
        let here = model.execution(row, DeviceId(0), 1_000_000);
        assert_eq!(here.basis, Basis::Measured);
        let half = model.execution(row, DeviceId(0), 500_000);
        assert!(half.expected.0.abs_diff(here.expected.0 / 2) < 10, "{half:?}");
    }

    #[test]
    fn transfers_queue_behind_each_other_on_one_link() {
        let mut model = CostModel::default();
        let (a, b) = (AgentId(0), AgentId(1));
        // A window that holds it all, so that nothing is waited for.
        let sample = PathSample {
            round_trips: vec![Span::from_millis(20)],
            sent_packets: 1,
            window_bytes: 1 << 20,
            ..PathSample::default()
        };
        for (from, to) in [(a, b), (b, a)] {
            model.path_measured(Timestamp(0), LinkEnd::Agent(from), LinkEnd::Agent(to), &sample);
        }
        let first = model.arrival(a, b, 1_000_000, Timestamp(0));
        assert_eq!(first, Timestamp(11_000_000));
        model.note_transfer(a, b, 1_000_000, Timestamp(0));
        assert_eq!(model.arrival(a, b, 1_000_000, Timestamp(0)), Timestamp(12_000_000));
        assert_eq!(model.arrival(b, a, 1_000_000, Timestamp(0)), Timestamp(11_000_000));
        assert_eq!(model.arrival(a, a, 1_000_000, Timestamp(5)), Timestamp(5));
        model.note_arrival(Timestamp(400_000), a, b, 1_000_000);
        assert_eq!(model.arrival(a, b, 1_000_000, Timestamp(400_000)), Timestamp(11_400_000));
    }

    #[test]
    fn a_restart_keeps_what_was_learnt() {
        let (mut model, row) = model();
        for _ in 0..4 {
            model.record_execution(row, DeviceId(1), 64, Span(7_000));
        }
        model.carried(LinkEnd::Agent(AgentId(0)), AgentId(1), 1 << 20, 0, Span(2_000_000));
        let snapshot = model.snapshot(|agent| Some(["a", "b"][agent.index()].to_owned()));
        let mut again = CostModel::new(snapshot.clone());
        // The other agent comes first this time.
        again.add_device(DeviceId(0), "b", &facts("fast", 1_000));
        let row = again.row(&KernelName { program_digest: "p".to_owned(), kernel: "k".to_owned() });
        let estimate = again.execution(row, DeviceId(0), 64);
        assert_eq!(estimate.basis, Basis::Measured);
        assert_eq!(estimate.expected, model.execution(KernelRow(0), DeviceId(1), 64).expected);
        again.recall_link(AgentId(3), "a", AgentId(4), "b");
        assert!(again.transfer(AgentId(3), AgentId(4), 1 << 20) > Span::from_millis(1));
        assert_eq!(again.snapshot(|_| None).kernels, snapshot.kernels);
    }
}
