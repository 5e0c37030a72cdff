//! The links of a cluster as what a relay between its parties does, and the relay of a farm.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};

use isochrone_emulator::{Emulator, EmulatorError, EmulatorOptions, LinkPlan, LinkSettings};
use isochrone_link::{LinkSpec, QueueId, WireSettings};
use isochrone_model::Span;
use isochrone_sim::cluster::{Party, Topology};

use crate::error::FarmError;
use crate::options::FarmOptions;

/// The relay between the members and clients of a farm. Members listen on addresses of their own, by which the relay
/// knows them, and are known to others only by the relay's addresses.
#[derive(Debug)]
pub(crate) struct FarmLinks {
    emulator: Emulator,
}

/// Where an agent listens, and what others are told to dial.
#[derive(Clone, Copy, Debug)]
pub(crate) struct AgentAddresses {
    pub(crate) listen: SocketAddr,
    pub(crate) advertise: SocketAddr,
}

impl FarmLinks {
    /// The relay of a farm whose options ask for one.
    pub(crate) fn start(options: &FarmOptions) -> Result<Option<Self>, FarmError> {
        let Some(links) = &options.links else { return Ok(None) };
        let (parties, agents) = (links.parties(), options.agents.len());
        if parties != agents + 2 {
            return Err(FarmError::LinkParties { parties, agents });
        }
        if !options.listen.is_ipv4() {
            return Err(FarmError::LinkAddress { address: options.listen });
        }
        let mut emulator =
            EmulatorOptions::new(links.plan(), Party::Client.place()).log(links.log_entries_max);
        for party in (0..parties).filter(|party| *party != Party::Client.place()) {
            emulator = emulator.party(address_of(party), party);
        }
        Ok(Some(Self { emulator: Emulator::start(emulator)? }))
    }

    /// Where the scheduler listens.
    pub(crate) fn scheduler_listen() -> SocketAddr {
        SocketAddr::new(address_of(Party::Scheduler.place()), 0)
    }

    /// Listens in place of the scheduler; gives the address.
    pub(crate) fn front_scheduler(
        &self,
        listen: SocketAddr,
        target: SocketAddr,
    ) -> Result<SocketAddr, FarmError> {
        Ok(self.emulator.front(listen, Party::Scheduler.place(), target)?)
    }

    /// Listens in place of an agent, which is to listen on a port that was free just now on an address that no other
    /// member uses.
    pub(crate) fn front_agent(&self, agent: usize) -> Result<AgentAddresses, FarmError> {
        let party = Party::Agent(agent).place();
        let any = SocketAddr::new(address_of(party), 0);
        let bind = |source| EmulatorError::Bind { address: any, source };
        let listen = UdpSocket::bind(any).and_then(|socket| socket.local_addr()).map_err(bind)?;
        let advertise = self.emulator.front((Ipv4Addr::LOCALHOST, 0).into(), party, listen)?;
        Ok(AgentAddresses { listen, advertise })
    }

    pub(crate) fn emulator(&self) -> &Emulator {
        &self.emulator
    }
}

/// A loopback address of the party's own: 127.1.0.1 for the first.
fn address_of(party: usize) -> IpAddr {
    let [.., high, low] = (party as u32 + 1).to_be_bytes();
    Ipv4Addr::new(127, 1, high, low).into()
}

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
