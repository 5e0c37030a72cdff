//! Max-min fair rates of flows over links, kept up as flows come and go.
//!
//! An allocation is max-min fair when it is feasible and each flow has a *bottleneck*: a link that is full and on which no
//! flow is faster. There is exactly one such allocation (Bertsekas and Gallager, Data Networks, 1987, section 6.5.2), so a
//! change need only be followed as far as it breaks that condition:
//!
//! 1. Flows on changed links are set free; all others keep their rates.
//! 2. Progressive filling gives the free flows their rates on what the others leave: again and again the link with the
//!    lowest share (what is left / free flows on it) is full, and its free flows have that rate.
//! 3. Each flow that was not free and touches a link of a free one is checked: it must still have its bottleneck, and must not
//!    be faster than a free flow that has its bottleneck on that link. Those that fail are set free, and 2 is repeated; after a few
//!    rounds the whole connected component is.
//!
//! All is integers: rates in 2^-16 bytes a second, what is left of a flow in 2^-16 bytes times 10^-9, times in
//! nanoseconds, so that rate x time is exact. Shares are rounded down: a full link keeps fewer than as many units as it has
//! flows. Must never hold latency, or who talks to whom.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use isochrone_model::{BytesPerSecond, Timestamp};

use super::agenda::Agenda;

/// Most links of one flow: up, path, down, connection, stream.
pub(super) const LINKS_MAX: usize = 5;
/// Rates are in this part of a byte a second.
const RATE_SHIFT: u32 = 16;
/// A rate from which on a link never limits: 2^46 bytes a second.
const UNLIMITED_FROM: u64 = 1 << 46;
/// Units by which rates may differ that would be equal without rounding.
const TOLERANCE: u64 = 4;
/// After so many rounds, or when one in so many flows is free, the whole component is computed at once.
const ROUNDS_MAX: usize = 6;
const FREE_PART: usize = 3;
const NONE: u32 = u32::MAX;

/// A rate in units of 2^-16 bytes a second.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Rate(pub u64);

impl Rate {
    pub const ZERO: Self = Self(0);
    /// One that never limits.
    pub const MAX: Self = Self(UNLIMITED_FROM << RATE_SHIFT);

    pub fn new(rate: BytesPerSecond) -> Self {
        Self(rate.0.min(UNLIMITED_FROM) << RATE_SHIFT)
    }

    /// Rounded down.
    pub fn bytes_per_second(self) -> BytesPerSecond {
        BytesPerSecond(self.0 >> RATE_SHIFT)
    }

    pub fn is_unlimited(self) -> bool {
        self >= Self::MAX
    }
}

/// Bytes in the units in which flows count.
pub(super) fn units(bytes: u64) -> u128 {
    (u128::from(bytes) * 1_000_000_000) << RATE_SHIFT
}

/// When so many units have passed at a rate, if ever.
pub(super) fn time_of(now: Timestamp, units: u128, rate: Rate) -> Option<Timestamp> {
    let nanos = units.div_ceil(u128::from(Some(rate.0).filter(|rate| *rate > 0)?));
    Some(Timestamp(now.0.saturating_add(u64::try_from(nanos).unwrap_or(u64::MAX))))
}

/// Whole bytes of such units, rounded down.
pub(super) fn whole_bytes(units: u128) -> u64 {
    u64::try_from((units >> RATE_SHIFT) / 1_000_000_000).unwrap_or(u64::MAX)
}

/// Links and the flows over them.
#[derive(Default)]
pub(super) struct Sharing {
    links: Vec<Link>,
    /// By the caller's slot.
    flows: Vec<Flow>,
    /// How many flows there are.
    flowing: usize,
    ends: Agenda,
    /// Links whose flows or capacity have changed since the rates were computed.
    dirty: Vec<u32>,
    /// Metered links whose flow has changed since [`Sharing::take_changed_meter`].
    changed_meters: Vec<u32>,
    // What follows is empty between calls, and kept for its memory.
    free: Vec<u32>,
    touched: Vec<u32>,
    shares: BinaryHeap<Reverse<(u64, u32)>>,
    /// How many flow rates were computed, for tests and measurements.
    #[cfg(test)]
    computed: u64,
}

struct Link {
    capacity: u64,
    used: u64,
    flows: Vec<u32>,
    /// All flows must be looked at, not only those with their bottleneck here.
    has_lost: bool,
    is_dirty: bool,
    is_touched: bool,
    /// While the component is collected.
    is_all_free: bool,
    /// Of the computation under way.
    left: u64,
    free_flows: u32,
    free_count: usize,
    /// The share at which it was full.
    level: u64,
    /// The highest rate of a free flow.
    fastest: u64,
    meter: Option<Meter>,
}

/// What has passed a link.
struct Meter {
    passed: u128,
    as_of: Timestamp,
    is_changed: bool,
    owner: u32,
}

struct Flow {
    id: u64,
    links: [u32; LINKS_MAX],
    /// Its places in the lists of its links.
    places: [u32; LINKS_MAX],
    link_count: usize,
    rate: u64,
    left: u128,
    as_of: Timestamp,
    bottleneck: u32,
    is_free: bool,
    is_frozen: bool,
    new_rate: u64,
    new_bottleneck: u32,
}

impl Flow {
    const EMPTY: Self = Self {
        id: 0,
        links: [NONE; LINKS_MAX],
        places: [NONE; LINKS_MAX],
        link_count: 0,
        rate: 0,
        left: 0,
        as_of: Timestamp::ZERO,
        bottleneck: NONE,
        is_free: false,
        is_frozen: false,
        new_rate: 0,
        new_bottleneck: NONE,
    };

    fn links(&self) -> &[u32] {
        &self.links[..self.link_count]
    }

    /// When it ends at its rate, if ever.
    fn end(&self, now: Timestamp) -> Option<Timestamp> {
        if self.left == 0 { Some(now) } else { time_of(now, self.left, Rate(self.rate)) }
    }
}

impl Sharing {
    pub fn add_link(&mut self, capacity: Rate, is_metered: bool) -> u32 {
        let meter =
            is_metered.then_some(Meter { passed: 0, as_of: Timestamp::ZERO, is_changed: false, owner: NONE });
        self.links.push(Link {
            capacity: capacity.0,
            used: 0,
            flows: Vec::new(),
            has_lost: false,
            is_dirty: false,
            is_touched: false,
            is_all_free: false,
            left: 0,
            free_flows: 0,
            free_count: 0,
            level: 0,
            fastest: 0,
            meter,
        });
        self.links.len() as u32 - 1
    }

    /// Changes what a link carries; [`Sharing::settle`] must follow.
    pub fn set_capacity(&mut self, link: u32, capacity: Rate) {
        let entry = &mut self.links[link as usize];
        if entry.capacity != capacity.0 {
            let is_lower = capacity.0 < entry.capacity;
            entry.capacity = capacity.0;
            self.mark(link, is_lower);
        }
    }

    /// Adds a flow in a free slot of the caller's; [`Sharing::settle`] must follow. Ids decide ties.
    pub fn insert(&mut self, now: Timestamp, slot: u32, id: u64, size_bytes: u64, links: &[u32]) {
        while self.flows.len() <= slot as usize {
            self.flows.push(Flow::EMPTY);
        }
        let mut flow =
            Flow { id, left: units(size_bytes), as_of: now, link_count: links.len(), ..Flow::EMPTY };
        for (index, &link) in links.iter().enumerate() {
            let list = &mut self.links[link as usize].flows;
            flow.links[index] = link;
            flow.places[index] = list.len() as u32;
            list.push(slot);
            self.mark(link, true);
        }
        if links.is_empty() || size_bytes == 0 {
            self.ends.set(slot, now, id);
        }
        self.flows[slot as usize] = flow;
        self.flowing += 1;
    }

    /// Takes a flow out; [`Sharing::settle`] must follow.
    pub fn remove(&mut self, now: Timestamp, slot: u32) {
        self.ends.remove(slot);
        self.flowing -= 1;
        let flow = std::mem::replace(&mut self.flows[slot as usize], Flow::EMPTY);
        for (index, &link) in flow.links().iter().enumerate() {
            let place = flow.places[index] as usize;
            let entry = &mut self.links[link as usize];
            entry.flows.swap_remove(place);
            if let Some(&moved) = entry.flows.get(place) {
                let moved = &mut self.flows[moved as usize];
                let index = moved.links().iter().position(|other| *other == link).unwrap_or_default();
                moved.places[index] = place as u32;
            }
            self.use_less_or_more(now, link, flow.rate, 0);
            self.mark(link, false);
        }
    }

    /// More to send for a flow, such as what was lost; [`Sharing::settle`] need not follow.
    pub fn add_bytes(&mut self, now: Timestamp, slot: u32, bytes: u64) {
        self.bring_up(now, slot);
        self.flows[slot as usize].left += units(bytes);
        self.schedule(now, slot);
    }

    /// Whether [`Sharing::settle`] has something to do.
    pub fn is_dirty(&self) -> bool {
        !self.dirty.is_empty()
    }

    /// The next end of a flow at the present rates.
    pub fn next_end(&self) -> Option<(Timestamp, u32)> {
        self.ends.first()
    }

    /// The flows on a link, in no particular (but always the same) order.
    pub fn flows_on(&self, link: u32) -> &[u32] {
        &self.links[link as usize].flows
    }

    pub fn id_of(&self, slot: u32) -> u64 {
        self.flows[slot as usize].id
    }

    /// What flows over a link now.
    pub fn used(&self, link: u32) -> Rate {
        Rate(self.links[link as usize].used)
    }

    /// What has passed a metered link, in the units of [`units`].
    pub fn passed(&self, now: Timestamp, link: u32) -> u128 {
        let entry = &self.links[link as usize];
        let meter = entry.meter.as_ref();
        meter.map_or(0, |meter| meter.passed + u128::from(entry.used) * u128::from(now.since(meter.as_of).0))
    }

    /// Names who asks for the meter of a link.
    pub fn set_owner(&mut self, link: u32, owner: u32) {
        if let Some(meter) = &mut self.links[link as usize].meter {
            meter.owner = owner;
        }
    }

    /// The owner of a meter whose flow has changed, or that was touched.
    pub fn take_changed_meter(&mut self) -> Option<u32> {
        let link = self.changed_meters.pop()?;
        let meter = self.links[link as usize].meter.as_mut()?;
        meter.is_changed = false;
        Some(meter.owner)
    }

    /// Counts a meter as changed.
    pub fn touch_meter(&mut self, link: u32) {
        if let Some(meter) = &mut self.links[link as usize].meter
            && !meter.is_changed
        {
            meter.is_changed = true;
            self.changed_meters.push(link);
        }
    }

    /// Whether a link carries all that it can, but for rounding.
    pub fn is_full(&self, link: u32) -> bool {
        let entry = &self.links[link as usize];
        entry.capacity.saturating_sub(entry.used) <= entry.flows.len() as u64 + TOLERANCE
    }

    /// How many flow rates were computed since the start.
    #[cfg(test)]
    pub fn computed(&self) -> u64 {
        self.computed
    }

    fn mark(&mut self, link: u32, has_lost: bool) {
        let entry = &mut self.links[link as usize];
        entry.has_lost |= has_lost;
        if !entry.is_dirty {
            entry.is_dirty = true;
            self.dirty.push(link);
        }
    }

    /// Replaces one flow's part of what a link carries.
    fn use_less_or_more(&mut self, now: Timestamp, link: u32, old: u64, new: u64) {
        let entry = &mut self.links[link as usize];
        if let Some(meter) = &mut entry.meter {
            meter.passed += u128::from(entry.used) * u128::from(now.since(meter.as_of).0);
            meter.as_of = now;
        }
        entry.used = entry.used - old + new;
        self.touch_meter(link);
    }

    /// Counts what a flow has sent until now.
    fn bring_up(&mut self, now: Timestamp, slot: u32) {
        let flow = &mut self.flows[slot as usize];
        let sent = u128::from(flow.rate) * u128::from(now.since(flow.as_of).0);
        flow.left = flow.left.saturating_sub(sent);
        flow.as_of = now;
    }

    fn schedule(&mut self, now: Timestamp, slot: u32) {
        let flow = &self.flows[slot as usize];
        match flow.end(now) {
            Some(end) => self.ends.set(slot, end, flow.id),
            None => self.ends.remove(slot),
        }
    }

    /// Computes the rates anew where something has changed.
    pub fn settle(&mut self, now: Timestamp) {
        if self.dirty.is_empty() {
            return;
        }
        self.free_changed();
        let mut round = 0;
        while !self.free.is_empty() {
            self.fill();
            let before = self.free.len();
            self.free_broken();
            if self.free.len() == before {
                break;
            }
            round += 1;
            if round >= ROUNDS_MAX || self.free.len() * FREE_PART >= self.flowing {
                self.free_component();
            }
            self.untouch();
        }
        self.untouch();
        self.commit(now);
    }

    /// Step 1.
    fn free_changed(&mut self) {
        while let Some(link) = self.dirty.pop() {
            let entry = &mut self.links[link as usize];
            entry.is_dirty = false;
            let has_lost = std::mem::take(&mut entry.has_lost);
            for &slot in &entry.flows {
                let flow = &mut self.flows[slot as usize];
                if !flow.is_free && (has_lost || flow.bottleneck == link || flow.bottleneck == NONE) {
                    flow.is_free = true;
                    self.free.push(slot);
                }
            }
        }
    }

    /// Step 2.
    fn fill(&mut self) {
        #[cfg(test)]
        {
            self.computed += self.free.len() as u64;
        }
        for &slot in &self.free {
            let flow = &mut self.flows[slot as usize];
            flow.is_frozen = false;
            for &link in &flow.links[..flow.link_count] {
                let entry = &mut self.links[link as usize];
                if !entry.is_touched {
                    entry.is_touched = true;
                    entry.left = entry.capacity.wrapping_sub(entry.used);
                    entry.free_flows = 0;
                    entry.level = u64::MAX;
                    entry.fastest = 0;
                    self.touched.push(link);
                }
                // Wraps only until all flows of a link whose capacity fell have been added.
                entry.left = entry.left.wrapping_add(flow.rate);
                entry.free_flows += 1;
            }
        }
        for &link in &self.touched {
            let entry = &mut self.links[link as usize];
            entry.free_count = entry.free_flows as usize;
            self.shares.push(Reverse((entry.left / u64::from(entry.free_flows), link)));
        }
        while let Some(Reverse((share, link))) = self.shares.pop() {
            let entry = &self.links[link as usize];
            if entry.free_flows == 0 {
                continue;
            }
            let level = entry.left / u64::from(entry.free_flows);
            if level > share {
                // Others have taken less than their share meanwhile: shares only grow.
                self.shares.push(Reverse((level, link)));
                continue;
            }
            self.freeze(link, level);
        }
    }

    /// Gives the free flows of a link that is full at `level` that rate.
    fn freeze(&mut self, link: u32, level: u64) {
        self.links[link as usize].level = level;
        for place in 0..self.links[link as usize].flows.len() {
            let slot = self.links[link as usize].flows[place];
            let flow = &mut self.flows[slot as usize];
            if !flow.is_free || flow.is_frozen {
                continue;
            }
            flow.is_frozen = true;
            flow.new_rate = level;
            flow.new_bottleneck = link;
            for &other in &flow.links[..flow.link_count] {
                let entry = &mut self.links[other as usize];
                entry.left -= level;
                entry.free_flows -= 1;
                // Links are full in the order of their shares.
                entry.fastest = level;
            }
        }
    }

    /// Step 3.
    fn free_broken(&mut self) {
        for index in 0..self.touched.len() {
            let link = self.touched[index];
            let entry = &self.links[link as usize];
            if entry.free_count == entry.flows.len() {
                continue;
            }
            let is_full = entry.left <= entry.flows.len() as u64 + TOLERANCE;
            for &slot in &entry.flows {
                let flow = &mut self.flows[slot as usize];
                if flow.is_free {
                    continue;
                }
                let must_shrink = entry.level != u64::MAX && flow.rate > entry.level + TOLERANCE;
                let may_grow = flow.bottleneck == link && (!is_full || entry.fastest > flow.rate + TOLERANCE);
                if must_shrink || may_grow {
                    flow.is_free = true;
                    self.free.push(slot);
                }
            }
        }
    }

    /// Sets all flows free that share links with free ones, and so on.
    fn free_component(&mut self) {
        let mut next = 0;
        while next < self.free.len() {
            let flow = &self.flows[self.free[next] as usize];
            let (links, count) = (flow.links, flow.link_count);
            next += 1;
            for &link in &links[..count] {
                let entry = &mut self.links[link as usize];
                if std::mem::replace(&mut entry.is_all_free, true) {
                    continue;
                }
                for &slot in &entry.flows {
                    let flow = &mut self.flows[slot as usize];
                    if !flow.is_free {
                        flow.is_free = true;
                        self.free.push(slot);
                    }
                }
            }
        }
        for &slot in &self.free {
            for &link in self.flows[slot as usize].links() {
                self.links[link as usize].is_all_free = false;
            }
        }
    }

    fn untouch(&mut self) {
        while let Some(link) = self.touched.pop() {
            self.links[link as usize].is_touched = false;
        }
    }

    /// Makes the new rates the present ones.
    fn commit(&mut self, now: Timestamp) {
        let is_bulk = self.ends.is_bulk(self.free.len());
        while let Some(slot) = self.free.pop() {
            let flow = &mut self.flows[slot as usize];
            flow.is_free = false;
            flow.bottleneck = flow.new_bottleneck;
            let (old, new) = (flow.rate, flow.new_rate);
            if old == new {
                continue;
            }
            let (links, count) = (flow.links, flow.link_count);
            let sent = u128::from(old) * u128::from(now.since(flow.as_of).0);
            flow.left = flow.left.saturating_sub(sent);
            flow.as_of = now;
            flow.rate = new;
            for &link in &links[..count] {
                self.use_less_or_more(now, link, old, new);
            }
            let flow = &self.flows[slot as usize];
            match flow.end(now) {
                Some(end) if is_bulk => self.ends.set_loosely(slot, end, flow.id),
                Some(end) => self.ends.set(slot, end, flow.id),
                None => self.ends.remove(slot),
            }
        }
        if is_bulk {
            self.ends.tighten();
        }
    }

    /// Whether every flow has a bottleneck and no link carries too much.
    #[cfg(test)]
    pub fn check(&self) {
        for (index, link) in self.links.iter().enumerate() {
            let sum: u64 = link.flows.iter().map(|slot| self.flows[*slot as usize].rate).sum();
            assert_eq!(sum, link.used, "link {index}");
            assert!(link.used <= link.capacity, "link {index} carries too much");
            for &slot in &link.flows {
                let flow = &self.flows[slot as usize];
                let is_limited = flow.links().iter().any(|link| {
                    let link = &self.links[*link as usize];
                    let most =
                        link.flows.iter().map(|slot| self.flows[*slot as usize].rate).max().unwrap_or(0);
                    // Tolerances of several changes add up.
                    let tolerance = 16 * (link.flows.len() as u64 + TOLERANCE);
                    link.capacity - link.used <= tolerance && most <= flow.rate + tolerance
                });
                assert!(is_limited, "flow {} has a bottleneck", flow.id);
            }
        }
    }
}
