//! What each setting does, with numbers that can be checked by hand or by statistics for a fixed seed.

use isochrone_link::{
    Chance, Change, Correlation, Delivery, Jitter, Latency, LinkSpec, Loss, Network, QueueSettings,
    Reordering, RouteId, Stage, UNLIMITED, WireSettings,
};
use isochrone_model::{BytesPerSecond, Span, Timestamp};

const MILLI: fn(u64) -> Span = Span::from_millis;

fn over(settings: WireSettings, seed: u64) -> (Network<u64>, RouteId) {
    let mut network = Network::new(seed, 0);
    let wire = network.add_wire(settings);
    let route = network.add_route(vec![Stage::Wire(wire)]);
    (network, route)
}

/// Datagrams at a regular gap, and how long each was on its way.
fn latencies(settings: &WireSettings, seed: u64, count: u64, gap: Span) -> Vec<Span> {
    let (mut network, route) = over(settings.clone(), seed);
    let mut delivered = Vec::new();
    for number in 0..count {
        network.offer(Timestamp(number * gap.0), route, 100, number);
        network.advance(Timestamp(number * gap.0), &mut delivered);
    }
    network.advance(Timestamp::NEVER, &mut delivered);
    delivered.sort_by_key(|one| one.packet);
    delivered.iter().map(|one| one.at.since(Timestamp(one.packet * gap.0))).collect()
}

fn free(latency: Latency, correlation: Correlation) -> WireSettings {
    let mut settings = WireSettings::new(Jitter { latency, correlation });
    settings.keeps_order = false;
    settings
}

fn mean(spans: &[Span]) -> f64 {
    spans.iter().map(|span| span.0 as f64).sum::<f64>() / spans.len() as f64
}

/// The coefficient of each with the one `lag` behind it.
fn correlation(spans: &[Span], lag: usize) -> f64 {
    let mean = mean(spans);
    let product = |lag: usize| -> f64 {
        spans.windows(lag + 1).map(|pair| (pair[0].0 as f64 - mean) * (pair[lag].0 as f64 - mean)).sum()
    };
    product(lag) / product(0)
}

fn quantile(spans: &[Span], part: f64) -> f64 {
    let mut sorted: Vec<u64> = spans.iter().map(|span| span.0).collect();
    sorted.sort_unstable();
    sorted[(part * (sorted.len() - 1) as f64) as usize] as f64
}

#[test]
fn correlated_latencies_keep_their_distribution() {
    let normal = Latency::Normal { mean: MILLI(20), deviation: MILLI(2), min: Span::ZERO };
    let spans = |correlation| latencies(&free(normal.clone(), correlation), 9, 60_000, MILLI(1));
    for (kind, expected) in [
        (Correlation::None, 0.0),
        (Correlation::BetweenDatagrams(0.25), 0.25),
        (Correlation::BetweenDatagrams(0.9), 0.9),
        (Correlation::OverTime(MILLI(2)), (-0.5_f64).exp()),
    ] {
        let spans = spans(kind);
        assert!((mean(&spans) - 20e6).abs() < 0.15e6, "{kind:?}: {}", mean(&spans));
        for (part, deviations) in [(0.1587, -1.0), (0.5, 0.0), (0.8413, 1.0), (0.9772, 2.0)] {
            let found = quantile(&spans, part);
            assert!((found - (20e6 + deviations * 2e6)).abs() < 0.2e6, "{kind:?}: {part}: {found}");
        }
        let found = correlation(&spans, 1);
        assert!((found - expected).abs() < 0.03, "{kind:?}: {found}");
    }
    // Over time the same distance in time has the same coefficient, however many datagrams there are in it.
    let dense = latencies(&free(normal, Correlation::OverTime(MILLI(2))), 9, 60_000, Span::from_micros(250));
    assert!((correlation(&dense, 4) - (-0.5_f64).exp()).abs() < 0.05, "{}", correlation(&dense, 4));
}

#[test]
fn uniform_and_pareto_have_their_means_and_tails() {
    let uniform =
        latencies(&free(Latency::uniform(MILLI(10), MILLI(4)), Correlation::None), 2, 40_000, MILLI(1));
    assert!((mean(&uniform) - 10e6).abs() < 0.05e6);
    assert!((quantile(&uniform, 0.25) - 8e6).abs() < 0.1e6);
    let range = (uniform.iter().min().unwrap(), uniform.iter().max().unwrap());
    assert!(*range.0 >= MILLI(6) && *range.1 <= MILLI(14));
    // Of shape 3: mean 5 + 2 / 2; a thousandth exceeds 5 + 2 (10 - 1).
    let pareto =
        latencies(&free(Latency::pareto(MILLI(5), MILLI(2), 3.0), Correlation::None), 2, 40_000, MILLI(1));
    assert!((mean(&pareto) - 6e6).abs() < 0.06e6, "{}", mean(&pareto));
    assert!((quantile(&pareto, 0.999) / 23e6 - 1.0).abs() < 0.15, "{}", quantile(&pareto, 0.999));
    assert!(pareto.iter().all(|span| *span >= MILLI(5)));
}

#[test]
fn only_those_held_back_are_overtaken() {
    let mut settings = WireSettings::new(Jitter::fixed(MILLI(5)));
    settings.reordering = Reordering { chance: Chance::new(0.1), by: MILLI(3) };
    let spans = latencies(&settings, 4, 20_000, MILLI(1));
    let late = spans.iter().filter(|span| **span == MILLI(8)).count();
    assert!((late as f64 / 20_000.0 - 0.1).abs() < 0.01, "{late}");
    assert_eq!(spans.iter().filter(|span| **span == MILLI(5)).count() + late, 20_000);
}

#[test]
fn order_is_kept_against_jitter_unless_it_is_not_wanted() {
    let latency = Latency::uniform(MILLI(10), MILLI(10));
    let overtaking = |settings: &WireSettings| {
        let spans = latencies(settings, 6, 2_000, MILLI(1));
        let arrivals: Vec<u64> =
            (0..).zip(&spans).map(|(number, span)| number * 1_000_000 + span.0).collect();
        arrivals.windows(2).filter(|pair| pair[1] < pair[0]).count()
    };
    let mut settings = free(latency, Correlation::None);
    assert!(overtaking(&settings) > 300);
    settings.keeps_order = true;
    assert_eq!(overtaking(&settings), 0);
}

#[test]
fn losses_come_in_bursts_and_copies_arrive_too() {
    let mut settings = WireSettings::new(Jitter::fixed(MILLI(1)));
    settings.loss = Loss::bursts(Chance::new(0.02), 5.0);
    settings.duplication = Chance::new(0.1);
    let (mut network, route) = over(settings, 8);
    let mut delivered = Vec::new();
    for number in 0..100_000 {
        network.offer(Timestamp(number), route, 10, number);
    }
    network.advance(Timestamp::NEVER, &mut delivered);
    let counters = network.counters(route);
    assert!((counters.lost as f64 / 100_000.0 - 0.02).abs() < 0.003, "{counters:?}");
    assert!((counters.duplicated as f64 / 98_000.0 - 0.1).abs() < 0.01, "{counters:?}");
    assert_eq!(counters.delivered_bytes, 10 * counters.delivered);
    delivered.dedup_by_key(|one| one.packet);
    let gaps = delivered.windows(2).filter(|pair| pair[1].packet > pair[0].packet + 1).count();
    let burst = counters.lost as f64 / gaps as f64;
    assert!((burst - 5.0).abs() < 0.6, "{burst}");
}

#[test]
fn equal_seeds_give_equal_runs_and_losses_do_not_move_latencies() {
    let latency = Latency::Normal { mean: MILLI(20), deviation: MILLI(5), min: MILLI(1) };
    let settings = free(latency, Correlation::BetweenDatagrams(0.5));
    let first = latencies(&settings, 1, 500, MILLI(1));
    assert_eq!(first, latencies(&settings, 1, 500, MILLI(1)));
    assert_ne!(first, latencies(&settings, 2, 500, MILLI(1)));
    let mut with_copies = settings;
    with_copies.reordering = Reordering { chance: Chance::new(0.2), by: Span::ZERO };
    assert_eq!(first, latencies(&with_copies, 1, 500, MILLI(1)));
}

fn arrivals(delivered: &[Delivery<u64>]) -> Vec<(u64, u64)> {
    delivered.iter().map(|one| (one.packet, one.at.0)).collect()
}

#[test]
fn settings_change_at_their_time_and_what_is_being_sent_goes_on_at_the_new_rate() {
    let mut network = Network::new(0, 0);
    let queue = network.add_queue(QueueSettings { rate: BytesPerSecond(1_000_000), limit_bytes: 10_000 });
    let wire = network.add_wire(WireSettings::new(Jitter::fixed(Span(100))));
    let route = network.add_route(vec![Stage::Queue(queue), Stage::Wire(wire)]);
    // 1,000 bytes take a millisecond at first; from half of the second on, a tenth of the rate.
    let slow = QueueSettings { rate: BytesPerSecond(100_000), limit_bytes: 2_000 };
    network.schedule(Timestamp(1_500_000), Change::Queue(queue, slow));
    network.schedule(Timestamp(6_600_000), Change::Wire(wire, WireSettings::new(Jitter::fixed(Span(700)))));
    for number in 0..3 {
        network.offer(Timestamp::ZERO, route, 1_000, number);
    }
    let mut delivered = Vec::new();
    network.advance(Timestamp(7_000_000), &mut delivered);
    assert_eq!(arrivals(&delivered), [(0, 1_000_100), (1, 6_500_100)]);
    // One is being sent; two may wait.
    for number in 3..6 {
        network.offer(Timestamp(7_000_000), route, 1_000, number);
    }
    delivered.clear();
    network.advance(Timestamp::NEVER, &mut delivered);
    assert_eq!(arrivals(&delivered), [(2, 16_500_700), (3, 26_500_700), (4, 36_500_700)]);
    assert_eq!((network.counters(route).dropped, network.queue(queue).rate), (1, slow.rate));
}

#[test]
fn one_queue_is_shared_by_all_routes_through_it() {
    let mut network = Network::new(0, 28);
    let queue = network.add_queue(QueueSettings { rate: BytesPerSecond(1_000_000), limit_bytes: 100_000 });
    let routes: Vec<RouteId> = [MILLI(1), MILLI(5)]
        .map(|latency| {
            let wire = network.add_wire(WireSettings::new(Jitter::fixed(latency)));
            network.add_route(vec![Stage::Queue(queue), Stage::Wire(wire)])
        })
        .into();
    for number in 0..4_usize {
        network.offer(Timestamp::ZERO, routes[number % 2], 972, number as u64);
    }
    let mut delivered = Vec::new();
    network.advance(Timestamp::NEVER, &mut delivered);
    assert_eq!(arrivals(&delivered), [(0, 2_000_000), (2, 4_000_000), (1, 7_000_000), (3, 9_000_000)]);
}

#[test]
fn datagrams_that_are_too_large_are_lost() {
    let mut settings = WireSettings::new(Jitter::fixed(Span::ZERO));
    settings.datagram_bytes_max = 1_472;
    let (mut network, route) = over(settings, 0);
    network.offer(Timestamp(5), route, 1_472, 0);
    network.offer(Timestamp(5), route, 1_473, 1);
    let mut delivered = Vec::new();
    network.advance(Timestamp(5), &mut delivered);
    assert_eq!(arrivals(&delivered), [(0, 5)]);
    assert_eq!(network.counters(route).too_large, 1);
}

#[test]
fn what_a_cluster_file_says_becomes_a_wire_and_a_queue() {
    let latency = Latency::LogNormal { median: MILLI(5), sigma: 0.4, min: MILLI(1) };
    let spec = LinkSpec { latency: latency.clone(), bandwidth: BytesPerSecond(10_000_000), loss: 0.01 };
    let wire = spec.wire();
    assert_eq!((wire.jitter.latency, wire.loss.part() > 0.0099), (latency, true));
    assert!(matches!(wire.jitter.correlation, Correlation::OverTime(_)));
    assert_eq!(LinkSpec::fixed(MILLI(3), UNLIMITED).wire().jitter, Jitter::fixed(MILLI(3)));
    let queue = LinkSpec::queue(spec.bandwidth, MILLI(40)).unwrap();
    assert_eq!(queue, QueueSettings { rate: spec.bandwidth, limit_bytes: 400_000 });
    assert_eq!(LinkSpec::queue(spec.bandwidth, Span::ZERO).unwrap().limit_bytes, 65_536);
    assert_eq!(LinkSpec::queue(UNLIMITED, MILLI(40)), None);
}
