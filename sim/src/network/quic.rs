//! `quic`: `shared`, and what a QUIC connection adds: handshakes, windows, loss, overheads, a control plane with latency.
//!
//! **Connections.** A pair of parties has one connection, used in both directions. What needs it first makes it: it is ready h R + c later
//! (h round trips, c for cryptography; R is the mean latency there and back), and an end that makes several at one time begins them one after the
//! other, `handshake_turn_us` apart. Then it stays, unless `idle_ms` is set and
//! passes without use. Who waits for a handshake waits with everything behind it.
//!
//! **A transfer** of s bytes that starts at t on a connection that is ready at t' is sent from u = max(t, t') + o on (o: `transfer_us`); its first
//! byte arrives at u + L, with L drawn from the pair's distribution. From then on it is a flow as in `shared`, of s + n (q + i) bytes:
//! n = ceil(s / (d - q)) datagrams of d bytes with q bytes that are not contents in them and i around them. All times of the sender
//! are seen L later, so that the flow is what arrives.
//!
//! **The window.** Each direction of a connection is one more link, over which all its flows pass, in steps of a quarter of a
//! round trip, see [`sender`](super::sender): what passes at once, then at a rate of the pacer's or of what acknowledgements make room for.
//! The window grows as its controller has it (`controller`), see [`Window`](super::window::Window). Without use it stays as it is: quinn does not reset it.
//!
//! **Limited by links.** The farm's own controller then keeps W where the links hold a millisecond's queue. Under CUBIC, when flows'
//! fair rate r is below what the window lets pass, the window goes on growing, and a buffer of
//! b r R bytes at the bottleneck fills. When W reaches (1 + b) r R it overflows. What is dropped arrives again (1 + 2b) R later (detected
//! behind a full buffer, and sent through one); the receiver lets w bytes of each stream come after it, so for (1 + 2b) R - w / r nothing new passes.
//! After that W goes up and down between 0.7 of what overflows and all of it. The model puts W to the middle,
//! 0.85 (1 + b) r R, gives the link the capacity W / R, and lets it be. When the flows' rate reaches that (others have left), steps begin again.
//!
//! **Loss.** Each datagram is lost with the path's probability p, independently. How many pass until the next loss is drawn at once
//! (geometric, by inversion), so that losses are events of their own. A loss adds a datagram's bytes to the oldest flow of the connection, which
//! cannot end before the resent datagram is there, 9/8 R after the lost one (quinn-proto's time threshold); and it cuts W, once a round trip.
//!
//! **Latency that varies** goes on from datagram to datagram as on emulated links, correlated over 2 ms and the same for all that a pair sends at one
//! time (see [`Delays`](super::delays::Delays)), and datagrams keep their order: a flow begins to arrive by the least latency and ends when none of
//! its datagrams is under way any more; and round trips of windows grow by how long a window takes to pass, since the later ones wait for
//! the late among the earlier ones.
//!
//! **Stream window.** One stream has at most w = 4 MiB on its way. The receiver gives credit again in eighths of w, so that, w bytes being gone, a
//! stream moves 7/8 w each R: its first w bytes are a flow without that limit, the others one with it. The connection's window bounds W.
//!
//! **Messages** take o' (`message_us`) + L, that of the time, + size / bandwidth, wait for handshakes, keep the order of their pair (a late one
//! delays those behind it), and do not share links: they are small and go first.
//!
//! **Processors** take `scheduler_task_us` and `agent_task_us` a task, one after another (see [`Processing`]).
//!
//! What this leaves out: delay that queues add to round trips, tail
//! losses found only by a timeout, persistent congestion, lost handshakes and messages (p delays no message), and the search for the datagram
//! size datagram by datagram: a connection has the initial size for `discovery_round_trips`, then the final one.
//! Random numbers are drawn in the order of calls and events, so that equal runs are equal.

use isochrone_link::{LATENCY_PERSISTENCE, datagrams_to_loss, normal_after};
use isochrone_model::{BytesPerSecond, Span, Timestamp};

use super::agenda::Agenda;
use super::delays::Delays;
use super::options::{QuicOptions, Warm, micros};
use super::sender::{RoundTrips, Sender, Stage};
use super::sharing::{Rate, Sharing, time_of, units, whole_bytes};
use super::window::Window;
use super::wiring::{Slots, Wiring};
use super::{Network, TransferId};
use crate::cluster::{Cluster, LatencySampler, LinkSpec, Party};
use crate::processing::Processing;
use crate::random::Random;

const UNMADE: u32 = u32::MAX;
/// How many stretches of latency before a datagram can hold it up: what was sent earlier is there in any case, or very late.
const LATE_STEPS: u64 = 16;
/// Datagrams that follow each other faster are looked at this often.
const SPACING_MIN: Span = Span::from_micros(125);
/// For means that no formula gives.
const MEAN_FLOWS: u64 = 128;
/// How long the part of a window that the pacer lets pass at once takes.
const BURST_SPAN: Span = Span::from_micros(1);

/// Sharing of links by QUIC connections.
pub struct Quic {
    options: QuicOptions,
    wiring: Wiring,
    sharing: Sharing,
    slots: Slots,
    /// By slot.
    transfers: Vec<Transfer>,
    /// When flows begin, or the last datagrams that were sent again arrive, by slot.
    begins: Agenda,
    /// By slot, made when one is first needed.
    stream_links: Vec<u32>,
    pairs: Vec<Pair>,
    /// When a party can begin another handshake.
    free_at: Vec<Timestamp>,
    /// By ordered pair.
    delays: Vec<Delays>,
    kinds: Vec<Kind>,
    senders: Vec<Sender>,
    /// What senders do next.
    turns: Agenda,
    random: Random,
}

/// What pairs with the same link have in common.
pub(super) struct Kind {
    pub(super) sampler: LatencySampler,
    is_fixed: bool,
    least: Span,
    pub(super) mean: Span,
    /// Between datagrams that follow each other.
    pub(super) spacing: Span,
    /// The mean delay of a datagram alone, and of one that follows others for one stretch of [`LATENCY_PERSISTENCE`], two, and so on.
    means_in_flow: Vec<Span>,
    bandwidth: BytesPerSecond,
    loss: f64,
}

/// An ordered pair.
#[derive(Clone, Copy)]
struct Pair {
    kind: u32,
    sender: u32,
    last_arrival: Timestamp,
    /// Of the connection; kept with the lower party's pair.
    ready_at: Option<Timestamp>,
    used_at: Timestamp,
}

#[derive(Clone, Copy)]
struct Transfer {
    id: TransferId,
    from: Party,
    to: Party,
    size_bytes: u64,
    /// On the wire: what waits for credit of the stream's window.
    rest_bytes: u64,
    /// When its first byte leaves.
    sent: Timestamp,
    first_byte: Timestamp,
    /// When it begins to flow: were its latency the least there is.
    begins: Timestamp,
    /// Before this what was lost has not come again.
    not_before: Timestamp,
    phase: Phase,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    Waiting,
    Flowing,
    /// All is sent; a datagram that was lost is on its way again.
    Resending,
}

impl Quic {
    /// The network of a cluster. Draws come from the seed alone.
    #[must_use]
    pub fn new(cluster: &Cluster, options: QuicOptions, seed: u64) -> Self {
        let mut sharing = Sharing::default();
        let wiring = Wiring::new(cluster, &mut sharing);
        let parties = wiring.parties();
        let mut kinds: Vec<(*const LinkSpec, Kind)> = Vec::new();
        let mut pairs = Vec::with_capacity(parties * parties);
        for index in 0..parties * parties {
            let (from, to) = (Party::at(index / parties), Party::at(index % parties));
            let link = cluster.topology.link(from, to);
            let found = kinds.iter().rposition(|(other, _)| std::ptr::eq(*other, link));
            let kind = found.unwrap_or_else(|| {
                kinds.push((link, Kind::new(link, &options)));
                kinds.len() - 1
            });
            let is_warm = match options.warm {
                Warm::All => true,
                Warm::None => false,
                Warm::Control => from == Party::Scheduler || to == Party::Scheduler,
            };
            pairs.push(Pair {
                kind: kind as u32,
                sender: UNMADE,
                last_arrival: Timestamp::ZERO,
                ready_at: is_warm.then_some(Timestamp::ZERO),
                used_at: Timestamp::ZERO,
            });
        }
        Self {
            options,
            wiring,
            sharing,
            slots: Slots::default(),
            transfers: Vec::new(),
            begins: Agenda::default(),
            stream_links: Vec::new(),
            delays: vec![Delays::default(); pairs.len()],
            pairs,
            free_at: vec![Timestamp::ZERO; parties],
            kinds: kinds.into_iter().map(|(_, kind)| kind).collect(),
            senders: Vec::new(),
            turns: Agenda::default(),
            random: Random::new(seed),
        }
    }

    fn index(&self, from: Party, to: Party) -> usize {
        from.place() * self.wiring.parties() + to.place()
    }

    fn kind(&self, from: Party, to: Party) -> &Kind {
        &self.kinds[self.pairs[self.index(from, to)].kind as usize]
    }

    fn round_trip(&self, from: Party, to: Party) -> Span {
        self.kind(from, to).mean + self.kind(to, from).mean
    }

    /// Round trips of datagrams that follow others, by how long.
    fn round_trips_in_flow(&self, from: Party, to: Party) -> Vec<Span> {
        let (there, back) = (&self.kind(from, to).means_in_flow, &self.kind(to, from).means_in_flow);
        let at = |means: &[Span], place: usize| means[place.min(means.len() - 1)];
        (0..there.len().max(back.len())).map(|place| at(there, place) + at(back, place)).collect()
    }

    /// Of a datagram that is sent at a time.
    fn latency(&mut self, sent: Timestamp, from: Party, to: Party) -> Span {
        let index = self.index(from, to);
        let kind = &self.kinds[self.pairs[index].kind as usize];
        if kind.is_fixed { kind.mean } else { self.delays[index].at(kind, sent, &mut self.random) }
    }

    /// When the connection can be used that is asked for now.
    fn ready(&mut self, now: Timestamp, from: Party, to: Party) -> Timestamp {
        let idle = Span::from_millis(self.options.idle_ms);
        let index = self.index(from.min(to), from.max(to));
        let connection = &self.pairs[index];
        let is_gone = idle > Span::ZERO && now.since(connection.used_at) > idle;
        let ready = match connection.ready_at {
            Some(ready) if !is_gone => ready,
            Some(_) | None => self.make(now, from, to),
        };
        self.pairs[index].used_at = now.max(ready);
        now.max(ready)
    }

    /// Makes a connection; says when it can be used.
    fn make(&mut self, now: Timestamp, from: Party, to: Party) -> Timestamp {
        let ends = [from.place(), to.place()];
        let begun = ends.iter().map(|end| self.free_at[*end]).fold(now, Timestamp::max);
        for end in ends {
            self.free_at[end] = begun + micros(self.options.handshake_turn_us);
        }
        let ready = begun + self.options.handshake(self.round_trip(from, to));
        let index = self.index(from.min(to), from.max(to));
        self.pairs[index].ready_at = Some(ready);
        for index in [self.index(from, to), self.index(to, from)] {
            let sender = self.pairs[index].sender;
            if sender != UNMADE && self.senders[sender as usize].stage == Stage::Idle {
                self.senders[sender as usize].restart(ready, &self.options);
            }
        }
        ready
    }

    /// The sender of a pair; `None` where a window never limits.
    fn sender(&mut self, now: Timestamp, from: Party, to: Party) -> Option<u32> {
        if from == to || self.round_trip(from, to) == Span::ZERO {
            return None;
        }
        let index = self.index(from, to);
        if self.pairs[index].sender == UNMADE {
            let link = self.sharing.add_link(Rate::ZERO, true);
            let since = self.pairs[self.index(from.min(to), from.max(to))].ready_at.unwrap_or(now);
            let loss = self.kind(from, to).loss;
            let round_trips = RoundTrips {
                by_stretch: self.round_trips_in_flow(from, to),
                bandwidth: self.kind(from, to).bandwidth,
            };
            let sender = Sender::new(link, round_trips, loss, since, &self.options);
            self.pairs[index].sender = self.senders.len() as u32;
            self.senders.push(sender);
            self.sharing.set_owner(link, self.pairs[index].sender);
        }
        Some(self.pairs[index].sender)
    }

    /// A transfer begins to flow.
    fn begin(&mut self, now: Timestamp, slot: u32) {
        let Transfer { from, to, size_bytes, .. } = self.transfers[slot as usize];
        self.transfers[slot as usize].phase = Phase::Flowing;
        let sender = self.sender(now, from, to);
        // Without a round trip the datagrams' final size is found at once.
        let datagram = sender.map_or(self.options.datagram_bytes, |sender| {
            self.senders[sender as usize].datagram(now, &self.options)
        });
        let bytes = if from == to { size_bytes } else { self.options.wire_bytes(size_bytes, datagram) };
        let credit = self.options.on_the_wire(self.options.stream_window_bytes, datagram);
        let is_limited = sender.is_some_and(|sender| {
            let round_trip = self.senders[sender as usize].round_trip;
            bytes > credit && self.credit_rate(credit, round_trip) < self.kind(from, to).bandwidth
        });
        let first = if is_limited { credit } else { bytes };
        self.transfers[slot as usize].rest_bytes = bytes - first;
        self.insert(now, slot, first, self.options.rate_max());
    }

    /// What a stream moves whose receiver gives credit again in eighths of its window.
    fn credit_rate(&self, credit: u64, round_trip: Span) -> BytesPerSecond {
        BytesPerSecond::from_transfer(credit / 8 * 7, round_trip)
    }

    /// The first window of a transfer has passed: the rest waits for credit.
    fn begin_rest(&mut self, now: Timestamp, slot: u32) {
        let Transfer { from, to, .. } = self.transfers[slot as usize];
        let rest = std::mem::take(&mut self.transfers[slot as usize].rest_bytes);
        let mut rate = self.options.rate_max();
        if let Some(sender) = self.sender(now, from, to) {
            let entry = &self.senders[sender as usize];
            let datagram = entry.datagram(now, &self.options);
            let credit = self.options.on_the_wire(self.options.stream_window_bytes, datagram);
            rate = rate.min(self.credit_rate(credit, entry.round_trip));
        }
        self.insert(now, slot, rest, rate);
    }

    /// Lets bytes flow over all that they pass, at a rate at most.
    fn insert(&mut self, now: Timestamp, slot: u32, bytes: u64, rate: BytesPerSecond) {
        let Transfer { id, from, to, .. } = self.transfers[slot as usize];
        let (mut links, mut count) = self.wiring.links(&mut self.sharing, from, to);
        let sender = self.sender(now, from, to);
        let link = sender.map(|sender| self.senders[sender as usize].link);
        let own = if from == to { None } else { self.own_link(slot, rate) };
        for link in [link, own].into_iter().flatten() {
            links[count] = link;
            count += 1;
        }
        self.sharing.insert(now, slot, id.0, bytes, &links[..count]);
        if let Some(sender) = sender
            && self.senders[sender as usize].stage == Stage::Idle
        {
            self.senders[sender as usize].catch_up(now, &self.options);
            self.begin_step(now, sender);
            // It may have nothing to send yet, so that no rate changes, and must be asked again all the same.
            self.sharing.touch_meter(self.senders[sender as usize].link);
        }
    }

    /// A link of the flow's own that keeps to a rate, unless others limit more anyway.
    fn own_link(&mut self, slot: u32, rate: BytesPerSecond) -> Option<u32> {
        let Transfer { from, to, .. } = self.transfers[slot as usize];
        if rate >= self.kind(from, to).bandwidth {
            return None;
        }
        while self.stream_links.len() <= slot as usize {
            self.stream_links.push(UNMADE);
        }
        if self.stream_links[slot as usize] == UNMADE {
            self.stream_links[slot as usize] = self.sharing.add_link(Rate::ZERO, false);
        }
        let link = self.stream_links[slot as usize];
        self.sharing.set_capacity(link, Rate::new(rate));
        Some(link)
    }

    fn begin_step(&mut self, now: Timestamp, sender: u32) {
        let entry = &mut self.senders[sender as usize];
        entry.step_mark = self.sharing.passed(now, entry.link);
        if entry.loss > 0.0 && entry.loss_mark.is_none() {
            let datagram = self.options.on_the_wire(entry.datagram(now, &self.options), 0);
            entry.loss_mark =
                Some(entry.step_mark + units(datagram * datagrams_to_loss(entry.loss, &mut self.random)));
        }
        let plan = entry.begin_step(now, &self.options);
        let rate = match entry.stage {
            Stage::Burst => Rate::new(BytesPerSecond::from_transfer(plan.burst, BURST_SPAN)),
            Stage::Paced => Rate::new(plan.pace),
            Stage::Stalled | Stage::Idle | Stage::Blocked { .. } | Stage::Open => Rate::ZERO,
        };
        self.sharing.set_capacity(entry.link, rate);
    }

    /// What a sender has to do at this moment.
    fn take_turn(&mut self, now: Timestamp, sender: u32) {
        let entry = &self.senders[sender as usize];
        let (link, passed) = (entry.link, self.sharing.passed(now, entry.link));
        if entry.loss_mark.is_some_and(|mark| passed >= mark) {
            self.lose(now, sender, passed);
        }
        let entry = &mut self.senders[sender as usize];
        let sent = whole_bytes(passed - entry.step_mark);
        match entry.stage {
            Stage::Idle | Stage::Open => return,
            Stage::Blocked { until } => {
                if now >= until {
                    self.open(now, sender);
                }
                return;
            }
            Stage::Burst | Stage::Paced if sent >= entry.plan.most => {
                entry.stage = Stage::Stalled;
                self.sharing.set_capacity(link, Rate::ZERO);
            }
            Stage::Burst if sent >= entry.plan.burst => {
                entry.stage = Stage::Paced;
                self.sharing.set_capacity(link, Rate::new(entry.plan.pace));
            }
            Stage::Burst | Stage::Paced | Stage::Stalled => {}
        }
        if now >= entry.step_ends() {
            self.end_step(now, sender, sent);
        }
    }

    fn end_step(&mut self, now: Timestamp, sender: u32, sent: u64) {
        let entry = &mut self.senders[sender as usize];
        let (link, used) = (entry.link, self.sharing.used(entry.link));
        entry.end_step(sent, entry.stage != Stage::Burst);
        let streams = self.sharing.flows_on(link).len() as u64;
        if streams == 0 {
            entry.stage = Stage::Idle;
            entry.step_began = now;
            self.sharing.set_capacity(link, Rate::ZERO);
            return;
        }
        if entry.stage == Stage::Stalled || self.sharing.is_full(link) {
            self.begin_step(now, sender);
            return;
        }
        // Links limit. What a round trip and the buffer hold at the present rate:
        let datagram = entry.datagram(now, &self.options);
        let held = whole_bytes(u128::from(used.0) * u128::from(entry.round_trip.0));
        let most = (held as f64 * entry.window.held_max(entry.round_trip, self.options.buffer)) as u64;
        let credit =
            self.options.on_the_wire(self.options.stream_window_bytes, datagram).saturating_mul(streams);
        if entry.window_on_the_wire(now, &self.options) < most {
            self.begin_step(now, sender);
        } else if credit < most {
            // The receivers' windows keep it from ever overflowing.
            self.open(now, sender);
        } else {
            let payload = |bytes| self.options.off_the_wire(bytes, datagram).max(2 * datagram);
            let has_overflown = entry.window.level_off(now, payload(held), payload(most), entry.round_trip);
            let repaired = entry.round_trip.as_secs_f64() * (1.0 + 2.0 * self.options.buffer);
            let beyond = units(credit) as f64 / used.0.max(1) as f64;
            let blocked =
                if has_overflown { Span((repaired * 1e9 - beyond).max(0.0) as u64) } else { Span::ZERO };
            if blocked > Span::ZERO {
                entry.stage = Stage::Blocked { until: now + blocked };
                self.sharing.set_capacity(link, Rate::ZERO);
            } else {
                self.open(now, sender);
            }
        }
    }

    /// Lets the links limit, up to the window.
    fn open(&mut self, now: Timestamp, sender: u32) {
        let entry = &mut self.senders[sender as usize];
        entry.stage = Stage::Open;
        entry.step_began = now;
        let rate =
            BytesPerSecond::from_transfer(entry.window_on_the_wire(now, &self.options), entry.round_trip);
        self.sharing.set_capacity(entry.link, Rate::new(rate));
    }

    /// A datagram is lost.
    fn lose(&mut self, now: Timestamp, sender: u32, passed: u128) {
        let entry = &mut self.senders[sender as usize];
        let datagram = entry.datagram(now, &self.options);
        let wire = self.options.on_the_wire(datagram, 0);
        entry.loss_mark = Some(passed + units(wire * datagrams_to_loss(entry.loss, &mut self.random)));
        let oldest =
            self.sharing.flows_on(entry.link).iter().copied().min_by_key(|slot| self.sharing.id_of(*slot));
        if let Some(slot) = oldest {
            self.sharing.add_bytes(now, slot, wire);
            let again = now + Span(entry.round_trip.0 / 8 * 9);
            let transfer = &mut self.transfers[slot as usize];
            transfer.not_before = transfer.not_before.max(again);
        }
        if now >= entry.recovery_until {
            entry.recovery_until = now + entry.round_trip;
            entry.window.cut(now, datagram);
            if entry.stage == Stage::Open {
                self.open(now, sender);
            }
        }
    }

    /// Says when a sender is to be asked again, now that its flow has changed.
    fn schedule(&mut self, now: Timestamp, sender: u32) {
        let entry = &mut self.senders[sender as usize];
        let link = entry.link;
        if entry.stage == Stage::Open {
            if self.sharing.flows_on(link).is_empty() {
                entry.stage = Stage::Idle;
                entry.step_began = now;
                self.sharing.set_capacity(link, Rate::ZERO);
            } else if self.sharing.is_full(link) && now >= entry.step_began + entry.round_trip {
                // The window limits again.
                entry.has_passed(self.sharing.used(link).bytes_per_second());
                self.begin_step(now, sender);
            }
        }
        let entry = &self.senders[sender as usize];
        let (used, passed) = (self.sharing.used(link), self.sharing.passed(now, link));
        let at_mark = |mark: u128| time_of(now, mark.saturating_sub(passed), used);
        let part_over = match entry.stage {
            Stage::Burst => at_mark(entry.step_mark + units(entry.plan.burst)),
            Stage::Paced => {
                at_mark(entry.step_mark + units(entry.plan.most)).filter(|at| *at < entry.step_ends())
            }
            Stage::Idle | Stage::Stalled | Stage::Blocked { .. } | Stage::Open => None,
        };
        let timer = match entry.stage {
            Stage::Idle => None,
            Stage::Blocked { until } => Some(until),
            Stage::Open => Some(entry.step_began + entry.round_trip)
                .filter(|end| *end > now && self.sharing.is_full(link)),
            Stage::Burst | Stage::Paced | Stage::Stalled => Some(entry.step_ends()),
        };
        let turns = [timer, part_over, entry.loss_mark.and_then(at_mark)];
        match turns.into_iter().flatten().min() {
            Some(at) => self.turns.set(sender, at, u64::from(sender)),
            None => self.turns.remove(sender),
        }
    }

    /// All that happens at one moment.
    fn advance_to(&mut self, at: Timestamp, done: &mut Vec<(TransferId, Timestamp)>) {
        let first = done.len();
        while self.next_event().is_some_and(|next| next <= at) {
            while let Some((end, slot)) = self.sharing.next_end()
                && end <= at
            {
                self.sharing.remove(at, slot);
                self.finish(at, slot, done);
            }
            while let Some((begin, slot)) = self.begins.first()
                && begin <= at
            {
                self.begins.remove(slot);
                match self.transfers[slot as usize].phase {
                    Phase::Waiting => self.begin(at, slot),
                    Phase::Flowing | Phase::Resending => self.finish(at, slot, done),
                }
            }
            // A sender that looked at rates that are not settled could hold a link that has just got a flow for full.
            self.settle(at);
            while let Some((turn, sender)) = self.turns.first()
                && turn <= at
            {
                self.turns.remove(sender);
                self.take_turn(at, sender);
                self.sharing.touch_meter(self.senders[sender as usize].link);
            }
            self.settle(at);
        }
        done[first..].sort_unstable_by_key(|(id, _)| *id);
    }

    /// Rates first, then what follows from them for the senders, which may change rates again.
    fn settle(&mut self, at: Timestamp) {
        loop {
            self.sharing.settle(at);
            while let Some(sender) = self.sharing.take_changed_meter() {
                self.schedule(at, sender);
            }
            if !self.sharing.is_dirty() {
                break;
            }
        }
    }

    /// The end of a flow waits for the latest of its datagrams.
    fn hold_for_late(&mut self, at: Timestamp, slot: u32) {
        let Transfer { from, to, sent, begins, .. } = self.transfers[slot as usize];
        if from == to || self.kind(from, to).is_fixed {
            return;
        }
        let index = self.index(from, to);
        let kind = &self.kinds[self.pairs[index].kind as usize];
        // What was sent long before the end is there by then.
        let last = sent + at.since(begins);
        let first = sent.max(Timestamp(last.0.saturating_sub(LATE_STEPS * LATENCY_PERSISTENCE.0)));
        let until = self.delays[index].last_arrival(kind, first, last, &mut self.random);
        let transfer = &mut self.transfers[slot as usize];
        transfer.not_before = transfer.not_before.max(until);
        self.pairs[index].last_arrival = self.pairs[index].last_arrival.max(until);
    }

    /// All bytes of a transfer are there, but perhaps for one that was lost.
    fn finish(&mut self, at: Timestamp, slot: u32, done: &mut Vec<(TransferId, Timestamp)>) {
        if self.transfers[slot as usize].rest_bytes > 0 {
            self.begin_rest(at, slot);
            return;
        }
        if self.transfers[slot as usize].phase == Phase::Flowing {
            self.hold_for_late(at, slot);
        }
        let transfer = &mut self.transfers[slot as usize];
        if transfer.not_before > at {
            transfer.phase = Phase::Resending;
            self.begins.set(slot, transfer.not_before, transfer.id.0);
            return;
        }
        let (id, from, to, first_byte) = (transfer.id, transfer.from, transfer.to, transfer.first_byte);
        self.slots.end(id);
        done.push((id, first_byte));
        let connection = self.index(from.min(to), from.max(to));
        self.pairs[connection].used_at = at;
    }
}

impl Kind {
    pub(super) fn new(link: &LinkSpec, options: &QuicOptions) -> Self {
        let mut kind = Self {
            sampler: link.latency.sampler(),
            is_fixed: link.latency.is_fixed(),
            least: link.latency.smallest(),
            mean: link.latency.mean(),
            spacing: link.bandwidth.span_for(options.on_the_wire(options.datagram_bytes, 0)).max(SPACING_MIN),
            means_in_flow: vec![link.latency.mean()],
            bandwidth: link.bandwidth,
            loss: link.loss,
        };
        if !kind.is_fixed {
            kind.means_in_flow.extend(kind.means_behind_others());
        }
        kind
    }

    /// The mean delay of datagrams in the middle of the first stretch of a flow, of the second, and so on.
    fn means_behind_others(&self) -> Vec<Span> {
        let mut random = Random::new(0);
        let mut sums = vec![0_u64; LATE_STEPS as usize];
        for _ in 0..MEAN_FLOWS {
            let (mut sent, mut normal) = (Span::ZERO, random.normal());
            let mut latest = self.sampler.of_normal(normal);
            for (stretch, sum) in sums.iter_mut().enumerate() {
                let middle = Span((2 * stretch as u64 + 1) * LATENCY_PERSISTENCE.0 / 2);
                while sent < middle {
                    let step = self.spacing.min(middle.saturating_sub(sent));
                    normal = normal_after(normal, step, LATENCY_PERSISTENCE, &mut random);
                    sent += step;
                    latest = latest.max(sent + self.sampler.of_normal(normal));
                }
                *sum += latest.saturating_sub(sent).0;
            }
        }
        sums.into_iter().map(|sum| Span(sum / MEAN_FLOWS)).collect()
    }
}

impl Network for Quic {
    fn start(&mut self, now: Timestamp, from: Party, to: Party, size_bytes: u64) -> TransferId {
        let (sent, first_byte, begins) = if from == to {
            (now, now, now)
        } else {
            let sent = self.ready(now, from, to) + micros(self.options.transfer_us);
            (sent, sent + self.latency(sent, from, to), sent + self.kind(from, to).least)
        };
        let (id, slot) = self.slots.start();
        let (not_before, phase) = (Timestamp::ZERO, Phase::Waiting);
        let rest_bytes = 0;
        let transfer =
            Transfer { id, from, to, size_bytes, rest_bytes, sent, first_byte, begins, not_before, phase };
        match self.transfers.get_mut(slot as usize) {
            Some(place) => *place = transfer,
            None => self.transfers.push(transfer),
        }
        self.begins.set(slot, begins, id.0);
        id
    }

    fn cancel(&mut self, now: Timestamp, transfer: TransferId) {
        let Some(slot) = self.slots.get(transfer) else {
            return;
        };
        match self.transfers[slot as usize].phase {
            Phase::Waiting | Phase::Resending => self.begins.remove(slot),
            Phase::Flowing => {
                self.sharing.remove(now, slot);
                self.settle(now);
            }
        }
        self.slots.end(transfer);
    }

    fn next_event(&self) -> Option<Timestamp> {
        let times = [self.sharing.next_end(), self.begins.first(), self.turns.first()];
        times.into_iter().flatten().map(|(at, _)| at).min()
    }

    fn advance(&mut self, now: Timestamp, done: &mut Vec<(TransferId, Timestamp)>) {
        while let Some(at) = self.next_event()
            && at <= now
        {
            self.advance_to(at, done);
        }
    }

    fn message(&mut self, now: Timestamp, from: Party, to: Party, size_bytes: u64) -> Timestamp {
        if from == to {
            return now;
        }
        let sent = self.ready(now, from, to) + micros(self.options.message_us);
        let arrival =
            sent + self.latency(sent, from, to) + self.kind(from, to).bandwidth.span_for(size_bytes);
        let index = self.index(from, to);
        let pair = &mut self.pairs[index];
        pair.last_arrival = pair.last_arrival.max(arrival);
        pair.last_arrival
    }

    fn connect(&mut self, now: Timestamp, one: Party, other: Party) {
        if one != other {
            let ready = self.make(now, one, other);
            let index = self.index(one.min(other), one.max(other));
            self.pairs[index].used_at = ready;
        }
    }

    fn stated(&self, from: Party, to: Party) -> (Span, BytesPerSecond, Span) {
        if from == to {
            return (Span::ZERO, self.kind(from, to).bandwidth, Span::ZERO);
        }
        let kind = self.kind(from, to);
        let payload = self.options.payload_rate(kind.bandwidth);
        (kind.mean + micros(self.options.transfer_us), payload, kind.mean + micros(self.options.message_us))
    }

    fn is_uncontended(&self) -> bool {
        false
    }

    fn processing(&self) -> Processing {
        Processing {
            scheduler_task: micros(self.options.scheduler_task_us),
            agent_task: micros(self.options.agent_task_us),
        }
    }
}

impl QuicOptions {
    pub(super) fn window(&self, variation: f64) -> Window {
        Window::new(self.controller, self.initial_window_bytes, self.connection_window_bytes, variation)
    }

    /// Bytes of UDP payload in datagrams of a size, with what is around them. A size of 0 means one datagram.
    pub(super) fn on_the_wire(&self, bytes: u64, datagram: u64) -> u64 {
        if datagram == 0 {
            return bytes + self.ip_overhead_bytes;
        }
        let around = u128::from(bytes) * u128::from(self.ip_overhead_bytes) / u128::from(datagram);
        bytes.saturating_add(u64::try_from(around).unwrap_or(u64::MAX))
    }

    pub(super) fn off_the_wire(&self, bytes: u64, datagram: u64) -> u64 {
        let all = datagram + self.ip_overhead_bytes;
        u64::try_from((u128::from(bytes) * u128::from(datagram)).div_ceil(u128::from(all)))
            .unwrap_or(u64::MAX)
    }

    /// Contents with all that they need on the wire.
    fn wire_bytes(&self, contents: u64, datagram: u64) -> u64 {
        let payload = datagram.saturating_sub(self.quic_overhead_bytes).max(1);
        let each = self.quic_overhead_bytes + self.ip_overhead_bytes;
        contents.saturating_add(contents.div_ceil(payload).saturating_mul(each))
    }

    /// The rate of contents at a rate on the wire.
    fn payload_rate(&self, rate: BytesPerSecond) -> BytesPerSecond {
        if rate == crate::cluster::UNLIMITED {
            return rate;
        }
        let payload = self.datagram_bytes.saturating_sub(self.quic_overhead_bytes).max(1);
        let all = self.datagram_bytes + self.ip_overhead_bytes;
        BytesPerSecond(
            u64::try_from(u128::from(rate.0) * u128::from(payload) / u128::from(all)).unwrap_or(u64::MAX),
        )
    }
}
