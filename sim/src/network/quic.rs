//! `quic`: `shared`, and what a QUIC connection adds: handshakes, windows, loss, overheads, a control plane with latency.
//!
//! **Connections.** A pair of parties has one connection, used in both directions. What needs it first makes it: it is ready h R + c later
//! (h round trips, c for cryptography; R is the mean latency there and back). Then it stays, unless `idle_ms` is set and
//! passes without use. Who waits for a handshake waits with everything behind it.
//!
//! **A transfer** of s bytes that starts at t on a connection that is ready at t' is sent from u = max(t, t') + o on (o: `transfer_us`); its first
//! byte arrives at u + L, with L drawn from the pair's distribution. From then on it is a flow as in `shared`, of s + n (q + i) bytes:
//! n = ceil(s / (d - q)) datagrams of d bytes with q bytes that are not contents in them and i around them. All times of the sender
//! are seen L later, so that the flow is what arrives.
//!
//! **The window.** Each direction of a connection is one more link, over which all its flows pass. A *round* of it lasts a round trip R:
//! - the first B bytes pass in a microsecond, B = W bounded by W x 2 ms / R, itself at least 10 and at most 256 datagrams (the pacer's bucket);
//! - then the link's capacity is 1.25 W / R (the pacer's rate);
//! - when W bytes have passed it is 0, until the round is over. Then W grows, see [`Cubic`](super::cubic::Cubic): by what has passed in slow start.
//!
//! So n windows' worth of bytes 1, 2, 4, ... pass in as many rounds, and the k = 2^n - 1 first windows have arrived n - 1 round trips (and the last
//! window's own time by the pacer) after the first byte. A round that began while nothing was under way leaves what it has not
//! used to those that follow within the same round trip. Without use W stays as it is: quinn does not reset it.
//!
//! **Limited by links.** When a round is over and the flows' fair rate r needs no more than the window (r R <= W) the window is not what limits. In truth it
//! grows until the bottleneck's buffer of b r R bytes overflows, falls to 0.7 of that, and grows again. The model puts W to the middle,
//! 0.85 (1 + b) r R, gives the link the capacity W / R, and lets it be. When the flows' rate reaches that (others have left), rounds begin again.
//!
//! **Loss.** Each datagram is lost with the path's probability p, independently. How many pass until the next loss is drawn at once
//! (geometric, by inversion), so that losses are events of their own. A loss adds a datagram's bytes to the oldest flow of the connection, which
//! cannot end before the resent datagram is there, 9/8 R after the lost one (quinn-proto's time threshold); and it cuts W, once a round trip.
//!
//! **Stream window.** One stream has at most w = 4 MiB on its way, so that s bytes take (s / w - 1) R at least: the flow's rate is at most
//! s / that. The connection's window bounds W.
//!
//! **Messages** take o' (`message_us`) + L, drawn for each, + size / bandwidth, wait for handshakes, keep the order of their pair (a late one
//! delays those behind it), and do not share links: they are small and go first.
//!
//! What this leaves out: acknowledgements that come spread out (rounds begin at once with the whole window), delay in queues, tail
//! losses found only by a timeout, persistent congestion, lost handshakes and messages (p delays no message), and the search for the datagram
//! size datagram by datagram: a connection has the initial size for `discovery_round_trips`, then the final one.
//! Random numbers are drawn in the order of calls and events, so that equal runs are equal.

use isochrone_link::datagrams_to_loss;
use isochrone_model::{BytesPerSecond, Span, Timestamp};

use super::agenda::Agenda;
use super::cubic::Cubic;
use super::options::{QuicOptions, Warm, micros};
use super::sharing::{Rate, Sharing, time_of, units, whole_bytes};
use super::wiring::{Slots, Wiring};
use super::{Network, TransferId};
use crate::cluster::{Cluster, LatencySampler, LinkSpec, Party};
use crate::random::Random;

const UNMADE: u32 = u32::MAX;
/// How long the part of a window that the pacer lets pass at once takes.
const BURST_SPAN: Span = Span::from_micros(1);
/// The pacer's bucket: quinn-proto `src/connection/pacing.rs`.
const BURST_INTERVAL_NANOS: u128 = 2_000_000;
const BURST_DATAGRAMS_MIN: u64 = 10;
const BURST_DATAGRAMS_MAX: u64 = 256;

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
    kinds: Vec<Kind>,
    senders: Vec<Sender>,
    /// What senders do next.
    turns: Agenda,
    random: Random,
}

/// What pairs with the same link have in common.
struct Kind {
    sampler: LatencySampler,
    mean: Span,
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
    first_byte: Timestamp,
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

/// One direction of a connection.
struct Sender {
    link: u32,
    round_trip: Span,
    cubic: Cubic,
    loss: f64,
    since: Timestamp,
    stage: Stage,
    round_began: Timestamp,
    /// What had passed the link then.
    round_mark: u128,
    /// What passes until the next loss.
    loss_mark: Option<u128>,
    /// Losses before count no more.
    recovery_until: Timestamp,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// Nothing under way.
    Idle,
    /// The first part of the window.
    Burst,
    /// The rest.
    Paced,
    /// The window is used up.
    Stalled,
    /// Links limit.
    Open,
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
                let kind = Kind {
                    sampler: link.latency.sampler(),
                    mean: link.latency.mean(),
                    bandwidth: link.bandwidth,
                    loss: link.loss,
                };
                kinds.push((link, kind));
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
            pairs,
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

    fn draw_latency(&mut self, from: Party, to: Party) -> Span {
        let kind = self.pairs[self.index(from, to)].kind as usize;
        self.kinds[kind].sampler.draw(&mut self.random)
    }

    /// When the connection can be used that is asked for now.
    fn ready(&mut self, now: Timestamp, from: Party, to: Party) -> Timestamp {
        let handshake = self.options.handshake(self.round_trip(from, to));
        let idle = Span::from_millis(self.options.idle_ms);
        let index = self.index(from.min(to), from.max(to));
        let connection = &mut self.pairs[index];
        let is_gone = idle > Span::ZERO && now.since(connection.used_at) > idle;
        let ready = match connection.ready_at {
            Some(ready) if !is_gone => ready,
            Some(_) | None => {
                let ready = now + handshake;
                connection.ready_at = Some(ready);
                for index in [self.index(from, to), self.index(to, from)] {
                    let sender = self.pairs[index].sender;
                    if sender != UNMADE && self.senders[sender as usize].stage == Stage::Idle {
                        self.senders[sender as usize].restart(ready, &self.options);
                    }
                }
                ready
            }
        };
        self.pairs[index].used_at = now.max(ready);
        now.max(ready)
    }

    /// The sender of a pair; `None` where a window never limits.
    fn sender(&mut self, now: Timestamp, from: Party, to: Party) -> Option<u32> {
        let round_trip = self.round_trip(from, to);
        if from == to || round_trip == Span::ZERO {
            return None;
        }
        let index = self.index(from, to);
        if self.pairs[index].sender == UNMADE {
            let link = self.sharing.add_link(Rate::ZERO, true);
            let sender = Sender {
                link,
                round_trip,
                cubic: self.options.window(),
                loss: self.kind(from, to).loss,
                since: self.pairs[self.index(from.min(to), from.max(to))].ready_at.unwrap_or(now),
                stage: Stage::Idle,
                round_began: now,
                round_mark: 0,
                loss_mark: None,
                recovery_until: Timestamp::ZERO,
            };
            self.pairs[index].sender = self.senders.len() as u32;
            self.senders.push(sender);
            self.sharing.set_owner(link, self.pairs[index].sender);
        }
        Some(self.pairs[index].sender)
    }

    /// A transfer's first byte is there.
    fn begin(&mut self, now: Timestamp, slot: u32) {
        let Transfer { id, from, to, size_bytes, .. } = self.transfers[slot as usize];
        self.transfers[slot as usize].phase = Phase::Flowing;
        let (mut links, mut count) = self.wiring.links(&mut self.sharing, from, to);
        let sender = self.sender(now, from, to);
        // Without a round trip the datagrams' final size is found at once.
        let datagram = sender.map_or(self.options.datagram_bytes, |sender| {
            self.senders[sender as usize].datagram(now, &self.options)
        });
        let bytes = if from == to { size_bytes } else { self.options.wire_bytes(size_bytes, datagram) };
        if from != to {
            let entry = sender.map(|sender| &self.senders[sender as usize]);
            let (link, round_trip) =
                entry.map_or((None, Span::ZERO), |entry| (Some(entry.link), entry.round_trip));
            let stream = self.stream_link(slot, bytes, round_trip, datagram);
            for link in [link, stream].into_iter().flatten() {
                links[count] = link;
                count += 1;
            }
        }
        self.sharing.insert(now, slot, id.0, bytes, &links[..count]);
        if let Some(sender) = sender
            && self.senders[sender as usize].stage == Stage::Idle
        {
            self.begin_round(now, sender);
        }
    }

    /// A link of the flow's own that keeps to the stream's window and to what hosts move, unless others limit more anyway.
    fn stream_link(&mut self, slot: u32, bytes: u64, round_trip: Span, datagram: u64) -> Option<u32> {
        let Transfer { from, to, .. } = self.transfers[slot as usize];
        let window = self.options.on_the_wire(self.options.stream_window_bytes, datagram);
        let mut rate = self.options.rate_max();
        if bytes > window {
            // The first window waits for nobody: the others take a round trip each.
            let waits = u128::from(round_trip.0) * u128::from(bytes - window) / u128::from(window);
            let waits = Span(u64::try_from(waits).unwrap_or(u64::MAX));
            rate = rate.min(BytesPerSecond::from_transfer(bytes, waits));
        }
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

    fn begin_round(&mut self, now: Timestamp, sender: u32) {
        let entry = &mut self.senders[sender as usize];
        entry.round_began = now;
        entry.round_mark = self.sharing.passed(now, entry.link);
        if entry.loss > 0.0 && entry.loss_mark.is_none() {
            let datagram = self.options.on_the_wire(entry.datagram(now, &self.options), 0);
            entry.loss_mark =
                Some(entry.round_mark + units(datagram * datagrams_to_loss(entry.loss, &mut self.random)));
        }
        entry.stage = Stage::Burst;
        let burst = entry.burst(now, &self.options);
        let rate = Rate::new(BytesPerSecond::from_transfer(burst, BURST_SPAN));
        self.sharing.set_capacity(entry.link, rate);
    }

    /// What a sender has to do at this moment.
    fn take_turn(&mut self, now: Timestamp, sender: u32) {
        let entry = &self.senders[sender as usize];
        let (link, passed) = (entry.link, self.sharing.passed(now, entry.link));
        if entry.loss_mark.is_some_and(|mark| passed >= mark) {
            self.lose(now, sender, passed);
        }
        let is_over = {
            let entry = &self.senders[sender as usize];
            now >= entry.round_began + entry.round_trip
        };
        let entry = &mut self.senders[sender as usize];
        let sent = passed - entry.round_mark;
        let window = self.options.on_the_wire(entry.cubic.window(), entry.datagram(now, &self.options));
        match entry.stage {
            Stage::Idle | Stage::Open => return,
            Stage::Burst | Stage::Paced if sent >= units(window) => {
                entry.stage = Stage::Stalled;
                self.sharing.set_capacity(link, Rate::ZERO);
            }
            Stage::Burst if sent >= units(entry.burst(now, &self.options)) => {
                entry.stage = Stage::Paced;
                let pace = entry.pace(window, &self.options);
                self.sharing.set_capacity(link, pace);
            }
            Stage::Burst | Stage::Paced | Stage::Stalled => {}
        }
        if is_over {
            self.end_round(now, sender, sent, window);
        }
    }

    fn end_round(&mut self, now: Timestamp, sender: u32, sent: u128, window: u64) {
        let entry = &mut self.senders[sender as usize];
        let (link, used) = (entry.link, self.sharing.used(entry.link));
        if self.sharing.flows_on(link).is_empty() {
            entry.stage = Stage::Idle;
            self.sharing.set_capacity(link, Rate::ZERO);
            return;
        }
        let datagram = entry.datagram(now, &self.options);
        // What a round trip holds at the present rate.
        let held = whole_bytes(u128::from(used.0) * u128::from(entry.round_trip.0));
        match entry.stage {
            Stage::Burst | Stage::Paced if held <= window && used < self.sharing.capacity(link) => {
                let most = (held as f64 * (1.0 + self.options.buffer)) as u64;
                entry.cubic.level_off(now, self.options.off_the_wire(most, datagram).max(2 * datagram));
                entry.open(now, &mut self.sharing, &self.options);
            }
            Stage::Burst | Stage::Paced | Stage::Stalled => {
                let acknowledged = self.options.off_the_wire(whole_bytes(sent), datagram);
                entry.cubic.grow(now, acknowledged, entry.round_trip, datagram);
                self.begin_round(now, sender);
            }
            Stage::Idle | Stage::Open => {}
        }
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
            entry.cubic.cut(now, datagram);
            if entry.stage == Stage::Open {
                entry.open(now, &mut self.sharing, &self.options);
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
                self.sharing.set_capacity(link, Rate::ZERO);
            } else if self.sharing.is_full(link) && now >= entry.round_began + entry.round_trip {
                // The window limits again.
                self.begin_round(now, sender);
            }
        }
        let entry = &self.senders[sender as usize];
        let (used, passed) = (self.sharing.used(link), self.sharing.passed(now, link));
        let window = self.options.on_the_wire(entry.cubic.window(), entry.datagram(now, &self.options));
        let mark = match entry.stage {
            Stage::Burst => Some(entry.round_mark + units(entry.burst(now, &self.options).min(window))),
            Stage::Paced => Some(entry.round_mark + units(window)),
            Stage::Idle | Stage::Stalled | Stage::Open => None,
        };
        let at_mark = |mark: u128| time_of(now, mark.saturating_sub(passed), used);
        let round_ends = entry.round_began + entry.round_trip;
        let timer = match entry.stage {
            Stage::Idle => None,
            Stage::Open => Some(round_ends).filter(|end| *end > now && self.sharing.is_full(link)),
            Stage::Burst | Stage::Paced | Stage::Stalled => Some(round_ends),
        };
        let turns = [timer, mark.and_then(at_mark), entry.loss_mark.and_then(at_mark)];
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

    /// All bytes of a transfer are there, but perhaps for one that was lost.
    fn finish(&mut self, at: Timestamp, slot: u32, done: &mut Vec<(TransferId, Timestamp)>) {
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

impl Network for Quic {
    fn start(&mut self, now: Timestamp, from: Party, to: Party, size_bytes: u64) -> TransferId {
        let first_byte = if from == to {
            now
        } else {
            let sent = self.ready(now, from, to) + micros(self.options.transfer_us);
            sent + self.draw_latency(from, to)
        };
        let (id, slot) = self.slots.start();
        let (not_before, phase) = (Timestamp::ZERO, Phase::Waiting);
        let transfer = Transfer { id, from, to, size_bytes, first_byte, not_before, phase };
        match self.transfers.get_mut(slot as usize) {
            Some(place) => *place = transfer,
            None => self.transfers.push(transfer),
        }
        self.begins.set(slot, first_byte, id.0);
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
        let arrival = sent + self.draw_latency(from, to) + self.kind(from, to).bandwidth.span_for(size_bytes);
        let index = self.index(from, to);
        let pair = &mut self.pairs[index];
        pair.last_arrival = pair.last_arrival.max(arrival);
        pair.last_arrival
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
}

impl Sender {
    /// As after a new handshake.
    fn restart(&mut self, ready: Timestamp, options: &QuicOptions) {
        self.cubic = options.window();
        self.since = ready;
        self.recovery_until = Timestamp::ZERO;
    }

    fn datagram(&self, now: Timestamp, options: &QuicOptions) -> u64 {
        let discovery = self.round_trip.saturating_mul(options.discovery_round_trips);
        if now.since(self.since) >= discovery {
            options.datagram_bytes
        } else {
            options.datagram_bytes_initial
        }
    }

    /// The part of a window that passes at once, on the wire.
    fn burst(&self, now: Timestamp, options: &QuicOptions) -> u64 {
        let datagram = self.datagram(now, options);
        let window = self.cubic.window();
        if options.pacing == 0.0 {
            return options.on_the_wire(window, datagram);
        }
        let bucket = u128::from(window) * BURST_INTERVAL_NANOS / u128::from(self.round_trip.0);
        let bucket = u64::try_from(bucket).unwrap_or(u64::MAX);
        let bucket = bucket.clamp(BURST_DATAGRAMS_MIN * datagram, BURST_DATAGRAMS_MAX * datagram);
        options.on_the_wire(window.min(bucket), datagram)
    }

    fn pace(&self, window: u64, options: &QuicOptions) -> Rate {
        let rate = BytesPerSecond::from_transfer(window, self.round_trip);
        Rate::new(BytesPerSecond((rate.0 as f64 * options.pacing.max(1.0)) as u64))
    }

    /// Lets the links limit, up to the window.
    fn open(&mut self, now: Timestamp, sharing: &mut Sharing, options: &QuicOptions) {
        self.stage = Stage::Open;
        self.round_began = now;
        let window = options.on_the_wire(self.cubic.window(), self.datagram(now, options));
        let rate = BytesPerSecond::from_transfer(window, self.round_trip);
        sharing.set_capacity(self.link, Rate::new(rate));
    }
}

impl QuicOptions {
    fn window(&self) -> Cubic {
        Cubic::new(self.initial_window_bytes, self.connection_window_bytes)
    }

    /// Bytes of UDP payload in datagrams of a size, with what is around them. A size of 0 means one datagram.
    fn on_the_wire(&self, bytes: u64, datagram: u64) -> u64 {
        if datagram == 0 {
            return bytes + self.ip_overhead_bytes;
        }
        let around = u128::from(bytes) * u128::from(self.ip_overhead_bytes) / u128::from(datagram);
        bytes.saturating_add(u64::try_from(around).unwrap_or(u64::MAX))
    }

    fn off_the_wire(&self, bytes: u64, datagram: u64) -> u64 {
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
