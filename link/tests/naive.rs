//! The machine against a naive model: departures computed one by one from all that was before, with exact fractions.

use isochrone_link::{
    Chance, Counters, Delivery, IP_OVERHEAD_BYTES, Jitter, Loss, Network, QueueSettings, RouteId, Stage,
    WireSettings,
};
use isochrone_model::{BytesPerSecond, Span, Timestamp};
use proptest::prelude::*;

const HOSTS: usize = 3;

#[derive(Clone, Debug)]
struct Plan {
    up: Vec<QueueSettings>,
    down: Vec<QueueSettings>,
    /// By ordered pair.
    latencies: Vec<Span>,
    /// Time since the one before, from, to, size.
    packets: Vec<(u64, usize, usize, u64)>,
}

fn queue() -> impl Strategy<Value = QueueSettings> {
    let rate = prop_oneof![1_000_u64..1_000_000, 1_000_000_u64..3_000_000_000];
    (rate, 0_u64..20_000)
        .prop_map(|(rate, limit_bytes)| QueueSettings { rate: BytesPerSecond(rate), limit_bytes })
}

fn plan() -> impl Strategy<Value = Plan> {
    let gaps = prop_oneof![Just(0_u64), 1_u64..1_000, 1_u64..3_000_000];
    let packets = prop::collection::vec((gaps, 0..HOSTS, 0..HOSTS, 0_u64..1_500), 1..120);
    (
        prop::collection::vec(queue(), HOSTS),
        prop::collection::vec(queue(), HOSTS),
        prop::collection::vec((0_u64..2_000_000).prop_map(Span), HOSTS * HOSTS),
        packets,
    )
        .prop_map(|(up, down, latencies, packets)| Plan { up, down, latencies, packets })
}

/// A datagram at a stage of the model.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct At {
    time: u64,
    number: usize,
}

/// When each leaves the queue; those that find it full are left out.
fn pass_queue(settings: QueueSettings, mut entering: Vec<At>, sizes: &[u64]) -> Vec<At> {
    entering.sort();
    let rate = u128::from(settings.rate.0);
    // In parts of a nanosecond of which `rate` make one.
    let mut free_at: u128 = 0;
    let mut left: Vec<At> = Vec::new();
    for at in entering {
        let wire_bytes = |number: usize| sizes[number] + IP_OVERHEAD_BYTES;
        let inside: Vec<usize> = left.iter().filter(|other| **other > at).map(|other| other.number).collect();
        let waiting: u64 = inside.iter().skip(1).map(|number| wire_bytes(*number)).sum();
        if !inside.is_empty() && waiting + wire_bytes(at.number) > settings.limit_bytes {
            continue;
        }
        let begin = if inside.is_empty() { u128::from(at.time) * rate } else { free_at };
        free_at = begin + u128::from(wire_bytes(at.number)) * 1_000_000_000;
        left.push(At { time: free_at.div_ceil(rate) as u64, number: at.number });
    }
    left
}

fn model(plan: &Plan) -> Vec<(u64, usize)> {
    let sizes: Vec<u64> = plan.packets.iter().map(|packet| packet.3).collect();
    let mut time = 0;
    let offered: Vec<At> = (0..)
        .zip(&plan.packets)
        .map(|(number, packet)| {
            time += packet.0;
            At { time, number }
        })
        .collect();
    let of = |host: usize, at: &At| plan.packets[at.number].1 == host;
    let to = |host: usize, at: &At| plan.packets[at.number].2 == host;
    let sent: Vec<At> = (0..HOSTS)
        .flat_map(|host| {
            pass_queue(plan.up[host], offered.iter().filter(|at| of(host, at)).copied().collect(), &sizes)
        })
        .map(|at| {
            let (_, from, to, _) = plan.packets[at.number];
            At { time: at.time + plan.latencies[from * HOSTS + to].0, ..at }
        })
        .collect();
    let mut arrived: Vec<At> = (0..HOSTS)
        .flat_map(|host| {
            pass_queue(plan.down[host], sent.iter().filter(|at| to(host, at)).copied().collect(), &sizes)
        })
        .collect();
    arrived.sort();
    arrived.into_iter().map(|at| (at.time, at.number)).collect()
}

fn build(plan: &Plan) -> (Network<usize>, Vec<RouteId>) {
    let mut network = Network::new(1, IP_OVERHEAD_BYTES);
    let up: Vec<_> = plan.up.iter().map(|queue| network.add_queue(*queue)).collect();
    let down: Vec<_> = plan.down.iter().map(|queue| network.add_queue(*queue)).collect();
    let mut routes = Vec::new();
    for pair in 0..HOSTS * HOSTS {
        let wire = network.add_wire(WireSettings::new(Jitter::fixed(plan.latencies[pair])));
        let stages =
            vec![Stage::Queue(up[pair / HOSTS]), Stage::Wire(wire), Stage::Queue(down[pair % HOSTS])];
        routes.push(network.add_route(stages));
    }
    (network, routes)
}

/// Offers all; `eager` advances after each, else only at the end.
fn machine(plan: &Plan, eager: bool) -> (Vec<Delivery<usize>>, Vec<Counters>) {
    let (mut network, routes) = build(plan);
    let mut delivered = Vec::new();
    let mut now = Timestamp::ZERO;
    for (number, (gap, from, to, size_bytes)) in plan.packets.iter().enumerate() {
        now += Span(*gap);
        if eager {
            // Nothing is due before the deadline that it names.
            if let Some(deadline) = network.deadline()
                && deadline > now
            {
                let before = delivered.len();
                network.advance(now, &mut delivered);
                assert_eq!(before, delivered.len());
            }
        }
        network.offer(now, routes[from * HOSTS + to], *size_bytes, number);
        if eager && number % 3 == 0 {
            // Datagrams of the same moment that are still to come must not be overtaken by the time.
            let next_is_later = plan.packets.get(number + 1).is_none_or(|next| next.0 > 0);
            if next_is_later {
                network.advance(now, &mut delivered);
            }
        }
    }
    while let Some(deadline) = network.deadline() {
        network.advance(deadline, &mut delivered);
    }
    assert_eq!(network.held(), 0);
    (delivered, routes.into_iter().map(|route| network.counters(route)).collect())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn queues_and_wires_do_what_a_naive_model_says(plan in plan()) {
        let expected = model(&plan);
        for eager in [false, true] {
            let (delivered, counters) = machine(&plan, eager);
            let mut found: Vec<(u64, usize)> = delivered.iter().map(|one| (one.at.0, one.packet)).collect();
            prop_assert!(found.is_sorted_by_key(|one| one.0));
            found.sort_unstable();
            prop_assert_eq!(&found, &expected);
            let (offered, ended) = counters.iter().fold((0, 0), |(offered, ended), one| {
                (offered + one.offered, ended + one.delivered + one.dropped)
            });
            prop_assert_eq!((offered, ended), (plan.packets.len() as u64, plan.packets.len() as u64));
        }
    }

    #[test]
    fn what_is_lost_or_doubled_is_counted_and_order_is_kept(
        seed: u64, loss in 0.0..0.5_f64, doubled in 0.0..0.5_f64, late in 0.0..0.3_f64, count in 1_u64..300,
    ) {
        let mut network = Network::new(seed, IP_OVERHEAD_BYTES);
        let latency = isochrone_link::Latency::uniform(Span::from_millis(10), Span::from_millis(9));
        let mut settings = WireSettings::new(Jitter { latency, correlation: isochrone_link::Correlation::None });
        settings.loss = Loss::bursts(Chance::new(loss), 3.0);
        settings.duplication = Chance::new(doubled);
        settings.reordering = isochrone_link::Reordering { chance: Chance::new(late), by: Span::from_millis(50) };
        let wire = network.add_wire(settings);
        let route = network.add_route(vec![Stage::Wire(wire)]);
        for number in 0..count {
            network.offer(Timestamp(number * 100_000), route, 100, number);
        }
        let mut delivered = Vec::new();
        network.advance(Timestamp::NEVER, &mut delivered);
        let counters = network.counters(route);
        prop_assert_eq!(counters.offered + counters.duplicated, counters.delivered + counters.lost);
        prop_assert_eq!(counters.delivered, delivered.len() as u64);
        let overtaken = delivered.windows(2).filter(|pair| pair[1].packet < pair[0].packet).count() as u64;
        prop_assert!(overtaken <= counters.held_back);
        for one in &delivered {
            prop_assert!(one.at >= Timestamp(one.packet * 100_000) + Span::from_millis(1));
        }
    }
}
