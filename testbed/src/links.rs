//! The links of a cluster as what a relay between its parties does.

use std::collections::HashMap;

use isochrone_emulator::{LinkPlan, LinkSettings};
use isochrone_link::{LinkSpec, QueueId, WireSettings};
use isochrone_model::Span;
use isochrone_sim::cluster::{Party, Topology};

/// The links of a cluster, its parties by their place (scheduler, client, agents): each pair has its latency and losses;
/// all that a host sends passes one queue with the rate of its access, all that it receives another one; and paths that
/// are slower than both ends, or that pairs share, have queues of their own. A queue holds what its rate passes in the
/// longest round trip through it.
#[must_use]
pub fn link_plan(topology: &Topology, seed: u64) -> LinkPlan {
    let parties = topology.parties();
    let mut plan = LinkPlan::new(parties, seed);
    let mut wires = Wires::new(topology);
    let mut round_trip = |from: usize, to: usize| wires.of(from, to).1 + wires.of(to, from).1;
    let longest: Vec<Span> = (0..parties)
        .map(|host| (0..parties).map(|peer| round_trip(host, peer)).max().unwrap_or_default())
        .collect();
    let ends: Vec<(Option<QueueId>, Option<QueueId>)> = (0..parties)
        .map(|host| {
            let rates = topology.access(Party::at(host));
            let mut queue = |rate| LinkSpec::queue(rate, longest[host]).map(|queue| plan.add_queue(queue));
            (queue(rates.up), queue(rates.down))
        })
        .collect();
    let mut shared: HashMap<usize, QueueId> = HashMap::new();
    for (from, to) in (0..parties).flat_map(|from| (0..parties).map(move |to| (from, to))) {
        if from == to {
            continue;
        }
        let (index, path) = topology.path(Party::at(from), Party::at(to));
        let narrowest = topology.access(Party::at(from)).up.min(topology.access(Party::at(to)).down);
        let queue = LinkSpec::queue(path.link.bandwidth, wires.of(from, to).1 + wires.of(to, from).1);
        let between = match queue {
            Some(queue) if path.is_shared => {
                Some(*shared.entry(index).or_insert_with(|| plan.add_queue(queue)))
            }
            Some(_) | None => None,
        };
        let own = queue.filter(|queue| !path.is_shared && queue.rate < narrowest);
        let settings = LinkSettings { wire: wires.of(from, to).0, queue: own };
        plan.connect(from, to, settings, ends[from].0.into_iter().chain(between), ends[to].1);
    }
    plan
}

/// Wires and their mean latencies. Pairs share few links, whose tables are costly: each is made once.
struct Wires<'a> {
    topology: &'a Topology,
    known: HashMap<*const LinkSpec, (WireSettings, Span)>,
}

impl<'a> Wires<'a> {
    fn new(topology: &'a Topology) -> Self {
        Self { topology, known: HashMap::new() }
    }

    fn of(&mut self, from: usize, to: usize) -> (WireSettings, Span) {
        let link = self.topology.link(Party::at(from), Party::at(to));
        let made = self.known.entry(std::ptr::from_ref(link)).or_insert_with(|| {
            let tabulated = LinkSpec { latency: link.latency.tabulated(), ..link.clone() };
            (tabulated.wire(), link.latency.mean())
        });
        made.clone()
    }
}
