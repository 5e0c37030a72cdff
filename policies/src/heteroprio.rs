//! `heteroprio`: buckets of tasks of one kind, of which each device takes first those that it is best at (Agullo, Bramas,
//! Coulaud, Darve, Messner and Takahashi, *Task-based FMM for heterogeneous architectures*, Concurrency and
//! Computation: Practice and Experience 28(9), 2016; Agullo, Beaumont, Eyraud-Dubois and Kumar, *Are static schedules so
//! bad?*, IPDPS 2016; StarPU's `heteroprio.c`).
//!
//! **Order.** The source gives each class of devices a list of priorities, CPUs from one end and GPUs from the other, by the
//! ratio of the durations. Priorities are automatic here, after Flint, Paillat and Bramas (*Automated prioritizing
//! heuristics for parallel task graph scheduling in heterogeneous computing*, PeerJ Computer Science 2022): a device
//! takes first the bucket with the highest
//!
//! `affinity = mean duration over the devices that may run it / duration on the device`
//!
//! With two classes of devices this is the order of the ratio, from either end; it holds for any number of classes. Equal
//! affinities: the bucket that came first. Within a bucket tasks leave as they came. Slots that are free soonest choose
//! first, then those with the lower id.
//!
//! **Slow devices.** As in StarPU, a device that is not the fastest for a bucket takes from it only when it holds at least
//! `duration here / duration on the fastest` tasks for each slot of the fastest devices: with fewer, these would have ended
//! all of them before this one ended its own.
//!
//! What the sources leave open, or is otherwise here:
//!
//! - Spoliation (Agullo et al., IPDPS 2016: an idle GPU aborts a CPU's task and runs it) is left out: what is ordered is
//!   not taken back.
//! - A kind is a kernel; copies are one kind. There are at most `BUCKETS_MAX` buckets for each set of legal devices; a
//!   further kind joins the bucket whose durations are the most alike in proportion.
//! - Durations are the cost model's for the bucket's first task, looked at again after every 32 measurements (StarPU's
//!   interval) and when devices come or go.
//! - A slot takes tasks until its queue ends beyond its horizon (`ahead`), and at least `prefetch`, as StarPU's workers do.
//! - StarPU pushes a task when those before it have finished; that is `ready=finished`.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, VecDeque};

use isochrone_model::{DeviceId, SlotId, Span, Timestamp};
use isochrone_sched_core::{Change, KernelRow, Plan, Policy, PolicyLabel, View};

use crate::accounts::SlotAccounts;
use crate::horizon::{Horizon, is_due};
use crate::inbox::{Held, Inbox, Ready};
use crate::legality::LegalSets;
use crate::{Label, LabelError, PolicyInfo};

pub(crate) const INFO: PolicyInfo = PolicyInfo {
    name: "heteroprio",
    summary: "each device takes first the kinds of tasks that it is best at, compared with the others",
    parameters: &[
        ("prefetch", "2", "how many tasks a slot's queue holds at least, however long they take"),
        Ready::PARAMETER,
        Horizon::AHEAD,
        Horizon::AHEAD_MIN,
    ],
    make,
};

/// Buckets for one set of legal devices.
const BUCKETS_MAX: usize = 64;
/// Measurements after which durations are looked at again.
const MEASUREMENTS_MAX: u32 = 32;
/// An affinity of one.
const ONE: u64 = 1 << 16;

fn make(label: &Label) -> Result<Box<dyn Policy>, LabelError> {
    Ok(Box::new(Heteroprio {
        prefetch: label.get("prefetch", 2, "a whole number from 0")?,
        horizon: Horizon::from_label(label)?,
        inbox: Inbox::new(Ready::from_label(label)?),
        legal_sets: LegalSets::default(),
        bucket_of: BTreeMap::new(),
        buckets: Vec::new(),
        held: 0,
        orders: Vec::new(),
        measurements: 0,
        legality_epoch: 0,
    }))
}

struct Heteroprio {
    prefetch: u32,
    horizon: Horizon,
    inbox: Inbox,
    legal_sets: LegalSets,
    /// By set of legal slots, then by kind.
    bucket_of: BTreeMap<(usize, Option<KernelRow>), usize>,
    buckets: Vec<Bucket>,
    /// Tasks in all buckets.
    held: usize,
    /// By device, the buckets that it may take from, best first; empty when they are to be sorted.
    orders: Vec<Vec<usize>>,
    measurements: u32,
    legality_epoch: u64,
}

struct Bucket {
    /// The number of its set of legal slots.
    legal: usize,
    tasks: VecDeque<Held>,
    /// By device; `None` where its tasks cannot run.
    durations: Vec<Option<Span>>,
    /// The least of them.
    fastest: Span,
    /// How many slots have it.
    fastest_slots: u64,
    mean: Span,
}

impl Bucket {
    fn weigh(&mut self, view: &View<'_>, task: isochrone_sched_core::TaskIndex) {
        self.durations.clear();
        for device in view.legal_devices(task) {
            self.durations.resize(device.index() + 1, None);
            self.durations[device.index()] = Some(view.execution(task, device).expected.max(Span(1)));
        }
        let durations = || self.durations.iter().flatten().copied();
        let sum: u128 = durations().map(|duration| u128::from(duration.0)).sum();
        self.mean = Span(u64::try_from(sum / durations().count().max(1) as u128).unwrap_or(u64::MAX));
        self.fastest = durations().min().unwrap_or(Span(1));
        let is_fastest = |place: &usize| self.durations[*place] == Some(self.fastest);
        let slots = |place: usize| view.slots_of(DeviceId::from_index(place)).len() as u64;
        self.fastest_slots = (0..self.durations.len()).filter(is_fastest).map(slots).sum();
    }

    fn duration(&self, device: DeviceId) -> Option<Span> {
        self.durations.get(device.index()).copied().flatten()
    }

    fn affinity(&self, device: DeviceId) -> u64 {
        self.duration(device).map_or(0, |duration| ratio(self.mean, duration))
    }

    /// Whether the device is the fastest for these tasks, or there are enough of them.
    fn may_be_taken_by(&self, device: DeviceId) -> bool {
        let Some(duration) = self.duration(device) else { return false };
        let tasks = self.tasks.len() as u128;
        duration == self.fastest
            || tasks * u128::from(self.fastest.0) >= u128::from(self.fastest_slots) * u128::from(duration.0)
    }

    /// How unlike two buckets' durations are in proportion: the sum over the devices of the differences of affinity.
    fn unlike(&self, other: &Self) -> u64 {
        let devices = (0..self.durations.len()).map(DeviceId::from_index);
        devices
            .map(|device| self.affinity(device).abs_diff(other.affinity(device)))
            .fold(0, u64::saturating_add)
    }
}

fn ratio(of: Span, to: Span) -> u64 {
    let ratio = u128::from(of.0) * u128::from(ONE) / u128::from(to.0.max(1));
    u64::try_from(ratio).unwrap_or(u64::MAX)
}

impl Heteroprio {
    fn take_in(&mut self, view: &View<'_>) {
        let mut taken = Vec::new();
        if self.legality_epoch != view.legality_epoch() {
            self.legality_epoch = view.legality_epoch();
            taken.extend(self.buckets.drain(..).flat_map(|bucket| bucket.tasks));
            taken.retain(|held| held.is_placeable(view));
            taken.sort_unstable();
            self.legal_sets = LegalSets::default();
            self.bucket_of.clear();
            self.orders.clear();
            self.held = 0;
        }
        taken.extend(self.inbox.take(view));
        for held in taken {
            let bucket = self.bucket(view, held);
            self.buckets[bucket].tasks.push_back(held);
            self.held += 1;
        }
    }

    fn bucket(&mut self, view: &View<'_>, held: Held) -> usize {
        let legal = self.legal_sets.of(view, held.task);
        let kind = view.kernel(held.task);
        if let Some(bucket) = self.bucket_of.get(&(legal, kind)) {
            return *bucket;
        }
        let mut bucket = Bucket {
            legal,
            tasks: VecDeque::new(),
            durations: Vec::new(),
            fastest: Span(1),
            fastest_slots: 0,
            mean: Span(1),
        };
        bucket.weigh(view, held.task);
        let alike = || self.buckets.iter().enumerate().filter(|(_, other)| other.legal == legal);
        let place = if alike().count() < BUCKETS_MAX {
            self.buckets.push(bucket);
            self.orders.clear();
            self.buckets.len() - 1
        } else {
            let nearest = alike().min_by_key(|(place, other)| (bucket.unlike(other), *place));
            nearest.map_or(0, |(place, _)| place)
        };
        self.bucket_of.insert((legal, kind), place);
        place
    }

    /// Sorts the buckets for each device, with durations as they are known now.
    fn sort(&mut self, view: &View<'_>) {
        if self.measurements >= MEASUREMENTS_MAX {
            self.measurements = 0;
            self.orders.clear();
            for bucket in &mut self.buckets {
                if let Some(first) = bucket.tasks.front().filter(|held| held.is_placeable(view)).copied() {
                    bucket.weigh(view, first.task);
                }
            }
        }
        if !self.orders.is_empty() {
            return;
        }
        let devices = view.devices().last().map_or(0, |device| device.index() + 1);
        for device in (0..devices).map(DeviceId::from_index) {
            let can_run = |place: &usize| self.buckets[*place].duration(device).is_some();
            let mut order: Vec<usize> = (0..self.buckets.len()).filter(can_run).collect();
            order.sort_by_key(|place| (Reverse(self.buckets[*place].affinity(device)), *place));
            self.orders.push(order);
        }
    }

    /// The task that a device takes next.
    fn pop(&mut self, view: &View<'_>, device: DeviceId) -> Option<Held> {
        let order = self.orders.get(device.index())?;
        for place in order {
            let bucket = &mut self.buckets[*place];
            while bucket.tasks.front().is_some_and(|held| !held.is_placeable(view)) {
                bucket.tasks.pop_front();
                self.held -= 1;
            }
            if !bucket.tasks.is_empty() && bucket.may_be_taken_by(device) {
                self.held -= 1;
                return bucket.tasks.pop_front();
            }
        }
        None
    }
}

impl Policy for Heteroprio {
    fn label(&self) -> PolicyLabel {
        let (ready, horizon) = (self.inbox.ready(), self.horizon.text());
        format!("{}(prefetch={},ready={ready},{horizon})", INFO.name, self.prefetch)
    }

    fn remembers_tasks(&self) -> bool {
        true
    }

    fn observe(&mut self, change: &Change<'_>, view: &View<'_>) {
        self.inbox.observe(change, view);
        if let Change::Measured { .. } = change {
            self.measurements += 1;
        }
    }

    fn place(&mut self, view: &View<'_>, plan: &mut Plan) {
        self.take_in(view);
        if self.held == 0 {
            return;
        }
        self.sort(view);
        let mut accounts = SlotAccounts::new(view);
        let mut choosing: BinaryHeap<Reverse<(Timestamp, SlotId)>> =
            accounts.slots().iter().map(|slot| Reverse((accounts.free_at(*slot), *slot))).collect();
        while let Some(Reverse((free_at, slot))) = choosing.pop() {
            if self.held == 0 {
                break;
            }
            let has_few = accounts.queued(slot) < self.prefetch;
            if !has_few && !is_due(view, plan, slot, free_at, self.horizon.of_slot(view, slot)) {
                continue;
            }
            let Some(held) = self.pop(view, view.device_of(slot)) else { continue };
            let weighed = view.weigh(held.task, slot, free_at);
            accounts.give(slot, view.now() + weighed.finish);
            plan.place_weighed(held.task, slot, "the kind that the device is best at", vec![weighed]);
            choosing.push(Reverse((accounts.free_at(slot), slot)));
        }
    }
}
