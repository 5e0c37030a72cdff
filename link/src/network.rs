//! The machine: queues and wires, and routes that lead through them.

use isochrone_model::{Span, Timestamp};

use crate::agenda::{Agenda, Turn};
use crate::queue::{Queue, QueueSettings};
use crate::spec::UNLIMITED;
use crate::wire::{Arrival, Fate, Wire, WireSettings};

/// Datagrams that may be on their way at one time; more are lost.
const DATAGRAMS_MAX: usize = 1 << 20;
/// Bytes of them.
const BYTES_MAX: u64 = 1 << 30;

/// A queue of a network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct QueueId(u32);

/// A wire of a network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WireId(u32);

/// A route of a network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RouteId(u32);

impl RouteId {
    /// Its place among the routes of its network, in the order in which they were added, from 0.
    #[must_use]
    pub fn place(self) -> usize {
        self.0 as usize
    }
}

/// One step of a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Stage {
    /// Through a queue, which other routes may pass too.
    Queue(QueueId),
    /// Over a wire.
    Wire(WireId),
}

/// Other settings for a part of the network.
#[derive(Clone, Debug, PartialEq)]
pub enum Change {
    /// A queue's rate and limit.
    Queue(QueueId, QueueSettings),
    /// What a wire does.
    Wire(WireId, WireSettings),
}

/// What has happened on a route since the start. Bytes are UDP payload.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Datagrams that were offered.
    pub offered: u64,
    /// Their bytes.
    pub offered_bytes: u64,
    /// Datagrams that arrived, copies included.
    pub delivered: u64,
    /// Their bytes.
    pub delivered_bytes: u64,
    /// Lost on a wire.
    pub lost: u64,
    /// Lost because they found a queue full.
    pub dropped: u64,
    /// Lost because they were larger than the wire carries.
    pub too_large: u64,
    /// Lost because the machine holds no more.
    pub refused: u64,
    /// Second copies made.
    pub duplicated: u64,
    /// Held back so that others could overtake them.
    pub held_back: u64,
}

/// A datagram that has arrived.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivery<P> {
    /// When it was to arrive; not later than the time of the call that gives it.
    pub at: Timestamp,
    /// The route that it took.
    pub route: RouteId,
    /// What was offered.
    pub packet: P,
}

/// Queues, wires and routes, with the datagrams that are on their way. `P` is what a datagram is to the driver.
#[derive(Clone, Debug)]
pub struct Network<P> {
    seed: u64,
    overhead_bytes: u64,
    queues: Vec<Queue>,
    wires: Vec<Wire>,
    routes: Vec<Route>,
    changes: Vec<Change>,
    agenda: Agenda,
    datagrams: Vec<Option<Datagram<P>>>,
    free: Vec<u32>,
    held_bytes: u64,
    offered: u64,
    now: Timestamp,
}

#[derive(Clone, Debug)]
struct Route {
    stages: Vec<Stage>,
    counters: Counters,
}

#[derive(Clone, Debug)]
struct Datagram<P> {
    route: RouteId,
    /// The stage that it comes to next.
    stage: usize,
    order: u64,
    size_bytes: u64,
    packet: P,
}

impl<P: Clone> Network<P> {
    /// A network without routes. What is random comes from `seed`; rates count `overhead_bytes` for each datagram beside
    /// its payload.
    #[must_use]
    pub fn new(seed: u64, overhead_bytes: u64) -> Self {
        Self {
            seed,
            overhead_bytes,
            queues: Vec::new(),
            wires: Vec::new(),
            routes: Vec::new(),
            changes: Vec::new(),
            agenda: Agenda::default(),
            datagrams: Vec::new(),
            free: Vec::new(),
            held_bytes: 0,
            offered: 0,
            now: Timestamp::ZERO,
        }
    }

    /// Adds a queue.
    pub fn add_queue(&mut self, settings: QueueSettings) -> QueueId {
        self.queues.push(Queue::new(settings));
        QueueId(self.queues.len() as u32 - 1)
    }

    /// Adds a wire. Each has random numbers of its own, by its place.
    pub fn add_wire(&mut self, settings: WireSettings) -> WireId {
        let wire = self.wires.len();
        self.wires.push(Wire::new(settings, self.seed, wire as u64));
        WireId(wire as u32)
    }

    /// Adds a route through these stages.
    ///
    /// # Panics
    /// When a stage is not of this network.
    pub fn add_route(&mut self, stages: Vec<Stage>) -> RouteId {
        for stage in &stages {
            match stage {
                Stage::Queue(queue) => {
                    assert!((queue.0 as usize) < self.queues.len(), "a queue of this network");
                }
                Stage::Wire(wire) => assert!((wire.0 as usize) < self.wires.len(), "a wire of this network"),
            }
        }
        self.routes.push(Route { stages, counters: Counters::default() });
        RouteId(self.routes.len() as u32 - 1)
    }

    /// The present settings of a wire.
    ///
    /// # Panics
    /// When it is not of this network.
    #[must_use]
    pub fn wire(&self, wire: WireId) -> &WireSettings {
        self.wires[wire.0 as usize].settings()
    }

    /// The present settings of a queue.
    ///
    /// # Panics
    /// When it is not of this network.
    #[must_use]
    pub fn queue(&self, queue: QueueId) -> QueueSettings {
        self.queues[queue.0 as usize].settings()
    }

    /// What has happened on a route.
    ///
    /// # Panics
    /// When it is not of this network.
    #[must_use]
    pub fn counters(&self, route: RouteId) -> Counters {
        self.routes[route.0 as usize].counters
    }

    /// Changes a part of the network at a time; at once when that has passed.
    pub fn schedule(&mut self, at: Timestamp, change: Change) {
        self.changes.push(change);
        let place = self.changes.len() as u32 - 1;
        self.agenda.add(at.max(self.now), 0, Turn::Change(place));
    }

    /// A datagram begins its way now. Times never go back: an earlier one counts as the last that was told.
    ///
    /// # Panics
    /// When the route is not of this network.
    pub fn offer(&mut self, now: Timestamp, route: RouteId, size_bytes: u64, packet: P) {
        self.offered += 1;
        let counters = &mut self.routes[route.0 as usize].counters;
        counters.offered += 1;
        counters.offered_bytes += size_bytes;
        let order = self.offered * 2;
        let datagram = Datagram { route, stage: 0, order, size_bytes, packet };
        if let Some(slot) = self.keep(datagram) {
            self.agenda.add(now.max(self.now), order, Turn::Next(slot));
        }
    }

    /// When something happens next.
    #[must_use]
    pub fn deadline(&self) -> Option<Timestamp> {
        self.agenda.next_at()
    }

    /// Goes on to `now` and appends what has arrived by then, in order of arrival.
    pub fn advance(&mut self, now: Timestamp, delivered: &mut Vec<Delivery<P>>) {
        while let Some((at, turn)) = self.agenda.take_due(now) {
            self.now = at;
            match turn {
                Turn::Change(place) => self.change(at, place),
                Turn::Next(slot) => self.go_on(at, slot, delivered),
                Turn::Leaves { queue, epoch } => self.leave(at, queue, epoch, delivered),
            }
        }
        self.now = self.now.max(now);
    }

    fn change(&mut self, at: Timestamp, place: u32) {
        match self.changes[place as usize].clone() {
            Change::Queue(queue, settings) => {
                self.queues[queue.0 as usize].change(at, settings);
                self.await_leaving(queue.0);
            }
            Change::Wire(wire, settings) => self.wires[wire.0 as usize].change(settings),
        }
    }

    /// A datagram comes to its next stage.
    fn go_on(&mut self, at: Timestamp, slot: u32, delivered: &mut Vec<Delivery<P>>) {
        let Some(datagram) = &mut self.datagrams[slot as usize] else { return };
        let route = &mut self.routes[datagram.route.0 as usize];
        let Some(stage) = route.stages.get(datagram.stage).copied() else {
            route.counters.delivered += 1;
            route.counters.delivered_bytes += datagram.size_bytes;
            if let Some(Datagram { route, packet, .. }) = self.forget(slot) {
                delivered.push(Delivery { at, route, packet });
            }
            return;
        };
        datagram.stage += 1;
        match stage {
            Stage::Queue(queue) => {
                let wire_bytes = datagram.size_bytes.saturating_add(self.overhead_bytes);
                let entered = &mut self.queues[queue.0 as usize];
                let was_idle = entered.next().is_none();
                if was_idle && entered.settings().rate == UNLIMITED {
                    self.go_on(at, slot, delivered);
                    return;
                }
                if !entered.enter(at, slot, wire_bytes) {
                    route.counters.dropped += 1;
                    self.forget(slot);
                } else if was_idle {
                    self.await_leaving(queue.0);
                }
            }
            Stage::Wire(wire) => {
                let fate = self.wires[wire.0 as usize].pass(at, datagram.size_bytes);
                self.meet(slot, fate);
            }
        }
    }

    /// What a wire does to the datagram in a slot.
    fn meet(&mut self, slot: u32, fate: Fate) {
        let Some(datagram) = &self.datagrams[slot as usize] else { return };
        let order = datagram.order;
        let counters = &mut self.routes[datagram.route.0 as usize].counters;
        match fate {
            Fate::Lost => {
                counters.lost += 1;
                self.forget(slot);
            }
            Fate::TooLarge => {
                counters.too_large += 1;
                self.forget(slot);
            }
            Fate::Arrives(arrival) => {
                counters.held_back += u64::from(arrival.is_held_back);
                self.agenda.add(arrival.at, order, Turn::Next(slot));
            }
            Fate::Twice(first, second) => {
                counters.duplicated += 1;
                counters.held_back += [first, second].iter().filter(|one| one.is_held_back).count() as u64;
                let copy = Datagram { order: order | 1, ..datagram.clone() };
                self.agenda.add(first.at, order, Turn::Next(slot));
                let Arrival { at, .. } = second;
                if let Some(slot) = self.keep(copy) {
                    self.agenda.add(at, order | 1, Turn::Next(slot));
                }
            }
        }
    }

    /// The first of a queue has left it.
    fn leave(&mut self, at: Timestamp, queue: u32, epoch: u32, delivered: &mut Vec<Delivery<P>>) {
        let left = &mut self.queues[queue as usize];
        if left.next().is_none_or(|(end, _, now_epoch)| now_epoch != epoch || end != at) {
            return;
        }
        let slot = left.leave();
        self.await_leaving(queue);
        if let Some(slot) = slot {
            self.go_on(at, slot, delivered);
        }
    }

    fn await_leaving(&mut self, queue: u32) {
        if let Some((end, slot, epoch)) = self.queues[queue as usize].next() {
            let order = self.datagrams[slot as usize].as_ref().map_or(0, |datagram| datagram.order);
            self.agenda.add(end, order, Turn::Leaves { queue, epoch });
        }
    }

    /// Keeps a datagram, unless there are too many.
    fn keep(&mut self, datagram: Datagram<P>) -> Option<u32> {
        let held = self.datagrams.len() - self.free.len();
        if held >= DATAGRAMS_MAX || self.held_bytes.saturating_add(datagram.size_bytes) > BYTES_MAX {
            self.routes[datagram.route.0 as usize].counters.refused += 1;
            return None;
        }
        self.held_bytes += datagram.size_bytes;
        match self.free.pop() {
            Some(slot) => {
                self.datagrams[slot as usize] = Some(datagram);
                Some(slot)
            }
            None => {
                self.datagrams.push(Some(datagram));
                Some(self.datagrams.len() as u32 - 1)
            }
        }
    }

    fn forget(&mut self, slot: u32) -> Option<Datagram<P>> {
        let datagram = self.datagrams[slot as usize].take()?;
        self.held_bytes -= datagram.size_bytes;
        self.free.push(slot);
        Some(datagram)
    }

    /// Datagrams that are on their way.
    #[must_use]
    pub fn held(&self) -> usize {
        self.datagrams.len() - self.free.len()
    }

    /// The time until which it has gone on.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.now
    }

    /// The mean latency of a wire as it is now.
    ///
    /// # Panics
    /// When it is not of this network.
    #[must_use]
    pub fn mean_latency(&self, wire: WireId) -> Span {
        self.wire(wire).jitter.latency.mean()
    }
}
