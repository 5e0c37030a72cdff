//! What lies between the parties: queues, wires and routes of the machine.

use isochrone_link::{
    Change, DescriptionError, IP_OVERHEAD_BYTES, LinkDescription, LinkSettings, Network, QueueId,
    QueueSettings, RouteId, Stage, UNLIMITED, WireId,
};
use isochrone_model::{Span, Timestamp};

use super::outbox::Datagram;
use super::schedule::{Direction, ScheduledChange};

/// What lies between the parties, which count from 0.
#[derive(Debug)]
pub struct LinkPlan {
    pub(super) network: Network<Datagram>,
    parties: usize,
    /// By ordered pair; none of a party with itself.
    links: Vec<Option<Link>>,
    /// By route.
    pairs: Vec<(usize, usize)>,
}

#[derive(Clone, Copy, Debug)]
struct Link {
    route: RouteId,
    wire: WireId,
    /// Its own.
    queue: QueueId,
}

/// Passes everything as it comes, for a queue that may get a rate later.
const OPEN: QueueSettings = QueueSettings { rate: UNLIMITED, limit_bytes: u64::MAX };

impl LinkPlan {
    /// A link between party 0 and party 1: `there` from 0 to 1, `back` from 1 to 0. What is random comes from `seed`.
    #[must_use]
    pub fn between_two(seed: u64, there: LinkSettings, back: LinkSettings) -> Self {
        let mut plan = Self::new(2, seed);
        plan.connect(0, 1, there, None, None);
        plan.connect(1, 0, back, None, None);
        plan
    }

    /// The same from descriptions, with changes at stated times: each goes on from what held before.
    ///
    /// # Errors
    /// When a description, or what a change makes of it, contradicts itself.
    pub fn described(
        seed: u64,
        there: &LinkDescription,
        back: &LinkDescription,
        changes: &[ScheduledChange],
    ) -> Result<Self, DescriptionError> {
        let mut plan = Self::between_two(seed, there.settings()?, back.settings()?);
        let mut now = [there.clone(), back.clone()];
        for ScheduledChange { after, direction, change } in changes {
            let is_changed = match direction {
                Direction::Both => [true, true],
                Direction::There => [true, false],
                Direction::Back => [false, true],
            };
            for from in (0..2).filter(|from| is_changed[*from]) {
                now[from] = change.clone().or(&now[from]);
                plan.change_at(*after, from, 1 - from, now[from].settings()?);
            }
        }
        Ok(plan)
    }

    /// No links yet between this many parties. What is random comes from `seed`.
    #[must_use]
    pub fn new(parties: usize, seed: u64) -> Self {
        Self {
            network: Network::new(seed, IP_OVERHEAD_BYTES),
            parties,
            links: vec![None; parties * parties],
            pairs: Vec::new(),
        }
    }

    /// Adds a queue that several links may pass.
    pub fn add_queue(&mut self, settings: QueueSettings) -> QueueId {
        self.network.add_queue(settings)
    }

    /// Links one party to another: through the queue `before` (the sender's access, say), then the link's own queue, the
    /// wire, and the queue `after`.
    ///
    /// # Panics
    /// When there are no such parties, or they are linked already.
    pub fn connect(
        &mut self,
        from: usize,
        to: usize,
        settings: LinkSettings,
        before: impl IntoIterator<Item = QueueId>,
        after: impl IntoIterator<Item = QueueId>,
    ) {
        assert!(from < self.parties && to < self.parties, "parties of this plan");
        let place = from * self.parties + to;
        assert!(self.links[place].is_none(), "one link from one party to another");
        let queue = self.network.add_queue(settings.queue.unwrap_or(OPEN));
        let wire = self.network.add_wire(settings.wire);
        let own = [Stage::Queue(queue), Stage::Wire(wire)];
        let before = before.into_iter().map(Stage::Queue);
        let after = after.into_iter().map(Stage::Queue);
        let route = self.network.add_route(before.chain(own).chain(after).collect());
        self.links[place] = Some(Link { route, wire, queue });
        self.pairs.push((from, to));
    }

    /// Changes what happens from one party to another when this long has passed since the relay's start.
    ///
    /// # Panics
    /// When there are no such parties.
    pub fn change_at(&mut self, after: Span, from: usize, to: usize, settings: LinkSettings) {
        self.change(Timestamp::ZERO + after, from, to, settings);
    }

    pub(super) fn change(&mut self, at: Timestamp, from: usize, to: usize, settings: LinkSettings) {
        let Some(link) = self.links.get(from * self.parties + to).copied().flatten() else { return };
        self.network.schedule(at, Change::Wire(link.wire, settings.wire));
        self.network.schedule(at, Change::Queue(link.queue, settings.queue.unwrap_or(OPEN)));
    }

    /// What happens from one party to another now; `None` when there is no such link.
    #[must_use]
    pub fn settings(&self, from: usize, to: usize) -> Option<LinkSettings> {
        let link = self.links.get(from * self.parties + to).copied().flatten()?;
        let queue = Some(self.network.queue(link.queue)).filter(|queue| *queue != OPEN);
        Some(LinkSettings { wire: self.network.wire(link.wire).clone(), queue })
    }

    pub(super) fn route(&self, from: usize, to: usize) -> Option<RouteId> {
        Some(self.links.get(from * self.parties + to).copied().flatten()?.route)
    }

    pub(super) fn pairs(&self) -> impl Iterator<Item = (usize, usize, RouteId)> {
        self.pairs.iter().filter_map(|(from, to)| Some((*from, *to, self.route(*from, *to)?)))
    }

    /// The parties of a route.
    pub(super) fn pair_of(&self, route: RouteId) -> (usize, usize) {
        self.pairs[route.place()]
    }
}
