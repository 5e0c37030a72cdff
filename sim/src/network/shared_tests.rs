//! `shared` against cases computed by hand, against a naive reference that computes everything anew at each event, and its
//! own invariants.

use isochrone_model::{BytesPerSecond, Span, Timestamp};
use proptest::prelude::*;

use super::sharing::{Rate, Sharing};
use super::{Network, Shared, TransferId};
use crate::cluster::{Access, Cluster, InputPlace, Latency, LinkSpec, Party, Path, Topology, UNLIMITED};
use crate::random::Random;

const SECOND: u64 = 1_000_000_000;

fn cluster(topology: Topology) -> Cluster {
    Cluster {
        name: String::new(),
        agents: agents(topology.parties() - 2),
        inputs_at: InputPlace::Everywhere,
        topology,
    }
}

fn agents(count: usize) -> Vec<crate::cluster::ClusterAgent> {
    let agent = |index| crate::cluster::ClusterAgent {
        name: format!("agent-{index}"),
        host_memory_bytes: u64::MAX,
        devices: Vec::new(),
    };
    (0..count).map(agent).collect()
}

fn access(up: u64, down: u64) -> Access {
    Access { up: BytesPerSecond(up), down: BytesPerSecond(down), ..Access::UNLIMITED }
}

fn path(latency: Span, rate: BytesPerSecond, is_shared: bool) -> Path {
    Path { link: LinkSpec { latency: Latency::Fixed(latency), bandwidth: rate, loss: 0.0 }, is_shared }
}

/// All ends in order.
fn run(network: &mut dyn Network, starts: &[(u64, Party, Party, u64)]) -> Vec<u64> {
    let mut ends = vec![0; starts.len()];
    let mut ids = Vec::new();
    let (mut next, mut done) = (0, Vec::new());
    loop {
        let start = starts.get(next).map(|start| Timestamp(start.0));
        let Some(at) = [start, network.next_event()].into_iter().flatten().min() else {
            return ends;
        };
        network.advance(at, &mut done);
        for (id, _) in done.drain(..) {
            ends[ids.iter().position(|other| *other == id).unwrap()] = at.0;
        }
        while let Some(&(time, from, to, size)) = starts.get(next)
            && time == at.0
        {
            ids.push(network.start(at, from, to, size));
            next += 1;
        }
    }
}

const A: Party = Party::Agent(0);
const B: Party = Party::Agent(1);
const C: Party = Party::Agent(2);
const D: Party = Party::Agent(3);

#[test]
fn two_flows_share_one_bottleneck_and_the_longer_speeds_up() {
    let topology = Topology::uniform(3, LinkSpec::fixed(Span(100), BytesPerSecond(SECOND)));
    let mut network = Shared::new(&cluster(topology));
    // Both from A: 0.5 bytes a nanosecond each until the first has its 1,000; then the other's last 1,000 at full rate.
    let ends = run(&mut network, &[(0, A, B, 1_000), (0, A, C, 2_000)]);
    assert_eq!(ends, [100 + 2_000, 100 + 2_000 + 1_000]);
}

#[test]
fn flows_that_start_and_end_at_different_times_share_only_meanwhile() {
    let topology = Topology::uniform(3, LinkSpec::fixed(Span(0), BytesPerSecond(SECOND)));
    let mut network = Shared::new(&cluster(topology));
    // A alone for 1,000 ns; then both at half rate into C: the second has its 500 after 1,000 ns; A's rest alone.
    let ends = run(&mut network, &[(0, A, C, 3_000), (1_000, B, C, 500)]);
    assert_eq!(ends, [3_500, 2_000]);
}

#[test]
fn the_line_network_gives_the_long_flow_the_lower_share() {
    // Two cables in line, A - x - y: the long flow shares the first (rate 2) with one flow and the second (rate 1) with two.
    // Made of paths: A's up link is the first, D's down link the second.
    let hosts = vec![
        Access::UNLIMITED,
        Access::UNLIMITED,
        access(2 * SECOND, 1 << 60),
        access(1 << 60, 1 << 60),
        access(1 << 60, 1 << 60),
        access(1 << 60, SECOND),
    ];
    let topology = Topology::new(hosts, vec![path(Span(0), UNLIMITED, false)], |_, _| 0);
    let mut network = Shared::new(&cluster(topology));
    // Long A to D, A to B (first only), B to D and C to D (second only): second full at 1/3 each, first gives A to B 5/3.
    let ends = run(&mut network, &[(0, A, D, 1_000), (0, A, B, 5_000), (0, B, D, 1_000), (0, C, D, 1_000)]);
    // A third is rounded down, so that the next nanosecond ends it.
    assert_eq!(ends, [3_001, 3_000, 3_001, 3_001]);
}

#[test]
fn up_and_down_are_separate_and_may_differ() {
    let hosts =
        vec![Access::UNLIMITED, Access::UNLIMITED, access(SECOND / 4, SECOND), access(SECOND, SECOND)];
    let topology = Topology::new(hosts, vec![path(Span(7), UNLIMITED, false)], |_, _| 0);
    let mut network = Shared::new(&cluster(topology));
    // Opposite directions do not meet.
    let ends = run(&mut network, &[(0, A, B, 1_000), (0, B, A, 1_000)]);
    assert_eq!(ends, [4_007, 1_007]);
}

#[test]
fn a_cable_between_sites_is_shared_and_a_path_of_a_pair_is_not() {
    for (is_shared, expected) in [(true, 2_000), (false, 1_000)] {
        let paths = vec![path(Span(0), BytesPerSecond(SECOND), is_shared)];
        let topology = Topology::new(vec![Access::UNLIMITED; 6], paths, |_, _| 0);
        let mut network = Shared::new(&cluster(topology));
        assert_eq!(run(&mut network, &[(0, A, B, 1_000), (0, C, D, 1_000)]), [expected; 2]);
    }
}

#[test]
fn cancelling_gives_the_bandwidth_to_the_others() {
    let topology = Topology::uniform(3, LinkSpec::fixed(Span(10), BytesPerSecond(SECOND)));
    let mut network = Shared::new(&cluster(topology));
    let mut done = Vec::new();
    let stays = network.start(Timestamp(0), A, B, 1_000);
    let gone = network.start(Timestamp(0), A, C, 1_000);
    let early = network.start(Timestamp(0), A, C, 1_000);
    network.cancel(Timestamp(5), early);
    network.advance(Timestamp(510), &mut done);
    network.cancel(Timestamp(510), gone);
    network.cancel(Timestamp(510), gone);
    network.cancel(Timestamp(510), TransferId(99));
    assert_eq!(network.next_event(), Some(Timestamp(510 + 750)));
    network.advance(Timestamp(5_000), &mut done);
    assert_eq!(done, [(stays, Timestamp(10))]);
    assert_eq!(network.next_event(), None);
}

#[test]
fn what_is_local_empty_or_unlimited_needs_no_time_beyond_latency() {
    let topology = Topology::uniform(2, LinkSpec::fixed(Span(10), UNLIMITED));
    let mut network = Shared::new(&cluster(topology));
    let ends = run(&mut network, &[(3, A, A, u64::MAX), (3, A, B, u64::MAX), (3, B, A, 0)]);
    assert_eq!(ends, [3, 13, 13]);
    let topology = Topology::uniform(2, LinkSpec::fixed(Span(10), BytesPerSecond(1)));
    let mut network = Shared::new(&cluster(topology));
    assert_eq!(run(&mut network, &[(0, A, B, 0), (0, A, B, 1)]), [10, 10 + SECOND]);
    assert_eq!(network.message(Timestamp(1), A, B, 5), Timestamp(11));
    assert_eq!(network.stated(A, B), (Span(10), BytesPerSecond(1), Span(10)));
}

#[test]
fn a_transfer_that_is_alone_takes_exactly_what_classic_says() {
    let mut random = Random::new(1);
    for _ in 0..500 {
        let link = LinkSpec::fixed(Span(random.below(1 << 30)), BytesPerSecond(1 + random.below(1 << 40)));
        let cluster = cluster(Topology::uniform(2, link));
        let bits = random.below(40);
        let size = random.below(1 << bits);
        let starts = [(random.below(1 << 40), A, B, size)];
        let ends = run(&mut Shared::new(&cluster), &starts);
        assert_eq!(ends, run(&mut super::Classic::new(&cluster), &starts));
    }
}

/// Max-min fair rates by progressive filling from nothing, in floating point: every flow over its links.
pub(super) fn naive_rates(capacities: &[f64], flows: &[Vec<usize>]) -> Vec<f64> {
    let mut rates = vec![f64::INFINITY; flows.len()];
    let mut is_fixed = vec![false; flows.len()];
    let mut left = capacities.to_vec();
    loop {
        let mut lowest: Option<(f64, usize)> = None;
        for (link, left) in left.iter().enumerate() {
            let count =
                (0..flows.len()).filter(|flow| !is_fixed[*flow] && flows[*flow].contains(&link)).count();
            if count > 0 && lowest.is_none_or(|(share, _)| left / (count as f64) < share) {
                lowest = Some((left / count as f64, link));
            }
        }
        let Some((share, link)) = lowest else {
            return rates;
        };
        for flow in 0..flows.len() {
            if !is_fixed[flow] && flows[flow].contains(&link) {
                (is_fixed[flow], rates[flow]) = (true, share);
                flows[flow].iter().for_each(|link| left[*link] -= share);
            }
        }
    }
}

/// Ends of flows (start, links, bytes), everything computed anew at each event.
fn naive_ends(capacities: &[f64], flows: &[(u64, Vec<usize>, u64)]) -> Vec<f64> {
    let mut left: Vec<f64> = flows.iter().map(|flow| flow.2 as f64).collect();
    let mut ends = vec![f64::NAN; flows.len()];
    let mut now = 0.0;
    loop {
        let running: Vec<usize> =
            (0..flows.len()).filter(|flow| flows[*flow].0 as f64 <= now && ends[*flow].is_nan()).collect();
        let links: Vec<Vec<usize>> = running.iter().map(|flow| flows[*flow].1.clone()).collect();
        let rates = naive_rates(capacities, &links);
        let next_start =
            flows.iter().map(|flow| flow.0 as f64).filter(|start| *start > now).fold(f64::INFINITY, f64::min);
        let mut next = next_start;
        for (flow, rate) in running.iter().zip(&rates) {
            next = next.min(now + left[*flow] / rate * 1e9);
        }
        if next == f64::INFINITY {
            return ends;
        }
        for (flow, rate) in running.iter().zip(&rates) {
            left[*flow] -= rate * (next - now) / 1e9;
            if left[*flow] <= 1e-6 {
                ends[*flow] = next;
            }
        }
        now = next;
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if cfg!(debug_assertions) { 300 } else { 3_000 }))]

    /// Random hosts, a cable for some pairs, random flows: ends agree with the naive reference to a millionth.
    #[test]
    fn ends_agree_with_a_naive_reference(seed: u64) {
        let mut random = Random::new(seed);
        let hosts = 2 + 2 + random.below(5) as usize;
        let rate = |random: &mut Random| 1_000_000 * (1 + random.below(20));
        let rates: Vec<(u64, u64)> = (0..hosts).map(|_| (rate(&mut random), rate(&mut random))).collect();
        let (own, cable) = (rate(&mut random), rate(&mut random));
        let is_far = |from: Party, to: Party| from.place() % 2 != to.place() % 2;
        let topology = Topology::new(
            rates.iter().map(|(up, down)| access(*up, *down)).collect(),
            vec![path(Span(0), BytesPerSecond(own), false), path(Span(0), BytesPerSecond(cable), true)],
            |from, to| usize::from(is_far(from, to)),
        );
        let count = 1 + random.below(24) as usize;
        let mut starts: Vec<(u64, Party, Party, u64)> = (0..count)
            .map(|_| {
                let from = random.below(hosts as u64) as usize;
                let to = (from + 1 + random.below(hosts as u64 - 1) as usize) % hosts;
                (random.below(3) * random.below(SECOND), Party::at(from), Party::at(to), 1 + random.below(9_000_000))
            })
            .collect();
        starts.sort_by_key(|start| start.0);
        let mut capacities: Vec<f64> = rates.iter().flat_map(|(up, down)| [*up as f64, *down as f64]).collect();
        capacities.push(cable as f64);
        capacities.extend(vec![own as f64; hosts * hosts]);
        let flows: Vec<(u64, Vec<usize>, u64)> = starts
            .iter()
            .map(|(start, from, to, size)| {
                let (from_place, to_place) = (from.place(), to.place());
                let path = if is_far(*from, *to) { 0 } else { 1 + from_place * hosts + to_place };
                (*start, vec![2 * from_place, 2 * to_place + 1, 2 * hosts + path], *size)
            })
            .collect();
        let ends = run(&mut Shared::new(&cluster(topology)), &starts);
        for (end, expected) in ends.iter().zip(naive_ends(&capacities, &flows)) {
            let difference = (*end as f64 - expected).abs();
            prop_assert!(difference <= 100.0 + 1e-6 * expected, "{end} for {expected}");
        }
    }

    /// Flows over arbitrary links come and go, capacities change: after each change every flow has a bottleneck.
    #[test]
    fn every_flow_always_has_a_bottleneck(seed: u64) {
        let mut random = Random::new(seed);
        let mut sharing = Sharing::default();
        let links = 1 + random.below(12) as u32;
        for _ in 0..links {
            sharing.add_link(Rate::new(BytesPerSecond(1 + random.below(1 << 34))), false);
        }
        let mut live: Vec<u32> = Vec::new();
        let mut free: Vec<u32> = (0..64).rev().collect();
        for step in 0..400_u64 {
            let now = Timestamp(step);
            match random.below(5) {
                0 | 1 if !free.is_empty() => {
                    let slot = free.pop().unwrap();
                    let mut over: Vec<u32> = (0..links).filter(|_| random.one_in(4)).take(5).collect();
                    if over.is_empty() {
                        over.push(random.below(u64::from(links)) as u32);
                    }
                    sharing.insert(now, slot, step, 1 << 50, &over);
                    live.push(slot);
                }
                2 | 3 if !live.is_empty() => {
                    let slot = live.swap_remove(random.below(live.len() as u64) as usize);
                    sharing.remove(now, slot);
                    free.push(slot);
                }
                _ => {
                    let link = random.below(u64::from(links)) as u32;
                    sharing.set_capacity(link, Rate::new(BytesPerSecond(random.below(1 << 34))));
                }
            }
            if random.one_in(2) {
                sharing.settle(now);
                sharing.check();
            }
        }
    }
}

#[test]
fn only_what_a_change_reaches_is_computed() {
    let topology = Topology::uniform(64, LinkSpec::fixed(Span(0), BytesPerSecond(SECOND)));
    let mut network = Shared::new(&cluster(topology));
    let mut done = Vec::new();
    for pair in 0..32 {
        network.start(Timestamp(0), Party::Agent(2 * pair), Party::Agent(2 * pair + 1), 1 << 40);
    }
    network.advance(Timestamp(0), &mut done);
    let before = network.sharing.computed();
    network.start(Timestamp(1), A, B, 10);
    network.advance(Timestamp(100), &mut done);
    assert_eq!(done.len(), 1);
    // Two flows at the start of the second, one at its end; each pair of hosts is for itself.
    assert_eq!(network.sharing.computed() - before, 3);
}
