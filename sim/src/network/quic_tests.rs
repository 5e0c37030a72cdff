//! `quic` against its closed forms, and every model on random traffic.

use isochrone_model::{BytesPerSecond, Span, Timestamp};
use proptest::prelude::*;

use super::{Network, NetworkError, Quic, Shared, TransferId, network};
use crate::cluster::{Cluster, Latency, LinkSpec, Party, Topology, UNLIMITED};

const A: Party = Party::Agent(0);
const B: Party = Party::Agent(1);
const C: Party = Party::Agent(2);
/// A round trip of 20 ms.
const ONE_WAY: Span = Span::from_millis(10);
const ROUND_TRIP: u64 = 20_000_000;
/// Nothing but windows.
const BARE: &str = "quic(controller=cubic,warm=all,message_us=0,transfer_us=0,quic_overhead_bytes=0,ip_overhead_bytes=0,pacing=0,\
    stream_window_bytes=1000000000000,datagram_bytes=1200,initial_window_bytes=12000";

fn cluster(link: LinkSpec) -> Cluster {
    let mut cluster = Cluster::from_label("uniform(agents=3)").unwrap();
    cluster.topology = Topology::uniform(3, link);
    cluster
}

fn quic(options: &str, link: LinkSpec) -> Box<dyn Network> {
    network(options, &cluster(link), 1).unwrap()
}

fn bare(options: &str, link: LinkSpec) -> Box<dyn Network> {
    quic(&format!("{BARE}{options})"), link)
}

/// When all transfers under way have ended, by id.
fn ends(network: &mut dyn Network) -> Vec<(TransferId, u64)> {
    let (mut ends, mut done) = (Vec::new(), Vec::new());
    while let Some(at) = network.next_event() {
        network.advance(at, &mut done);
        ends.extend(done.drain(..).map(|(id, _)| (id, at.0)));
    }
    ends.sort_unstable();
    ends
}

/// How long a transfer takes that starts now and is alone.
fn takes(network: &mut dyn Network, now: u64, bytes: u64) -> u64 {
    let id = network.start(Timestamp(now), A, B, bytes);
    let ends = ends(network);
    assert_eq!(ends.len(), 1);
    assert_eq!(ends[0].0, id);
    ends[0].1 - now
}

#[test]
fn slow_start_takes_the_round_trips_of_its_closed_form() {
    // 2^n - 1 initial windows need n - 1 round trips more than the latency, but for a microsecond each window.
    for n in 1..=9_u32 {
        let bytes = 12_000 * ((1 << n) - 1);
        let took = takes(bare("", LinkSpec::fixed(ONE_WAY, UNLIMITED)).as_mut(), 0, bytes);
        let expected = ONE_WAY.0 + u64::from(n - 1) * ROUND_TRIP + 1_000;
        assert!(took.abs_diff(expected) <= 10, "{n}: {took} for {expected}");
        // A byte more needs one round trip more.
        let more = takes(bare("", LinkSpec::fixed(ONE_WAY, UNLIMITED)).as_mut(), 0, bytes + 1);
        assert!(more > took + ROUND_TRIP - 2_000, "{n}: {more}");
    }
    let half = takes(
        quic(
            &(BARE.replace("initial_window_bytes=12000", "initial_window_bytes=24000") + ")"),
            LinkSpec::fixed(ONE_WAY, UNLIMITED),
        )
        .as_mut(),
        0,
        72_000,
    );
    assert!(half.abs_diff(ONE_WAY.0 + ROUND_TRIP + 1_000) <= 10, "{half}");
}

#[test]
fn the_pacer_spreads_what_its_bucket_does_not_hold() {
    let options = BARE.replace("pacing=0", "pacing=1.25,timer_us=0") + ")";
    let mut network = quic(&options, LinkSpec::fixed(ONE_WAY, UNLIMITED));
    // The second window of 24,000: 12,000 at once, 12,000 at 1.25 x 24,000 a round trip.
    let took = takes(network.as_mut(), 0, 36_000);
    let expected = ONE_WAY.0 + ROUND_TRIP + 1_000 + ROUND_TRIP * 12_000 / 30_000;
    assert!(took.abs_diff(expected) <= 1_000, "{took} for {expected}");
}

#[test]
fn a_window_stays_warm_and_a_lost_connection_starts_anew() {
    let bytes = 12_000 * 15;
    let link = || LinkSpec::fixed(ONE_WAY, UNLIMITED);
    let mut network = bare("", link());
    let cold = takes(network.as_mut(), 0, bytes);
    let warm = takes(network.as_mut(), 60_000_000_000, bytes);
    // Four rounds, then W = 8 x 12,000, grown once more only if the last round was full: two rounds at most.
    assert!(cold > 3 * ROUND_TRIP && warm < 2 * ROUND_TRIP, "{cold} {warm}");
    let mut network = bare(",idle_ms=10000,handshake_us=0", link());
    assert_eq!(takes(network.as_mut(), 0, bytes), cold);
    let again = takes(network.as_mut(), 60_000_000_000, bytes);
    assert_eq!(again, cold + 3 * ROUND_TRIP);
}

#[test]
fn an_end_makes_handshakes_one_after_the_other() {
    let options = "quic(message_us=0,transfer_us=0,handshake_us=1000,handshake_turn_us=400)";
    let mut network = quic(options, LinkSpec::fixed(ONE_WAY, UNLIMITED));
    let start = Timestamp(1_000_000);
    network.connect(start, A, B);
    network.connect(start, A, C);
    network.connect(start, C, B);
    let done = start + Span(3 * ROUND_TRIP + 1_000_000) + ONE_WAY;
    let turn = Span(400_000);
    assert_eq!(network.message(start, B, A, 0), done);
    assert_eq!(network.message(start, C, A, 0), done + turn);
    // Both ends must be free.
    assert_eq!(network.message(start, B, C, 0), done + turn + turn);
    // A pair of which neither is busy does not wait.
    network.connect(start, Party::Client, Party::Scheduler);
    assert_eq!(network.message(start, Party::Client, Party::Scheduler, 0), done);
}

#[test]
fn a_handshake_is_made_once_and_all_wait_for_it() {
    let options =
        "quic(message_us=0,transfer_us=0,handshake_us=1000,quic_overhead_bytes=0,ip_overhead_bytes=0)";
    let mut network = quic(options, LinkSpec::fixed(ONE_WAY, UNLIMITED));
    let handshake = 3 * ROUND_TRIP + 1_000_000;
    // The scheduler's connections exist.
    assert_eq!(network.message(Timestamp(0), Party::Scheduler, A, 100), Timestamp(ONE_WAY.0));
    let first = takes(network.as_mut(), 0, 1_000);
    assert!(first.abs_diff(handshake + ONE_WAY.0) < 1_100, "{first}");
    // In both directions and for messages.
    let second = takes(network.as_mut(), 100_000_000, 1_000);
    assert!(second.abs_diff(ONE_WAY.0) < 1_100, "{second}");
    assert_eq!(network.message(Timestamp(200_000_000), B, A, 100), Timestamp(200_000_000 + ONE_WAY.0));
    // While one is made, who comes later waits for the rest only.
    let start = Timestamp(300_000_000);
    assert_eq!(network.message(start, A, C, 0), start + Span(handshake) + ONE_WAY);
    let later = start + Span(5_000_000);
    assert_eq!(network.message(later, C, A, 0), start + Span(handshake) + ONE_WAY);
    // One that takes the place of another begins at once.
    let again = Timestamp(900_000_000);
    network.connect(again, A, B);
    assert_eq!(network.message(again + Span(5), B, A, 0), again + Span(handshake) + ONE_WAY);
}

#[test]
fn a_long_transfer_on_a_clean_link_reaches_its_rate() {
    let link = LinkSpec::fixed(ONE_WAY, BytesPerSecond(125_000_000));
    let bytes = 2_000_000_000;
    let took = takes(bare("", link.clone()).as_mut(), 0, bytes) as f64 / 1e9;
    let ideal = bytes as f64 / 125e6;
    assert!(took > ideal && took < 1.03 * ideal, "{took} for {ideal}");
    // The window of a stream: 7/8 MB each 20 ms, since credit comes in eighths.
    let options = BARE.replace("stream_window_bytes=1000000000000", "stream_window_bytes=1000000") + ")";
    let took = takes(quic(&options, link).as_mut(), 0, bytes) as f64 / 1e9;
    assert!((took / (bytes as f64 / 43.75e6) - 1.0).abs() < 0.02, "{took}");
}

#[test]
fn many_streams_of_one_connection_keep_its_window() {
    // 30 transfers of 40 kB on one connection take no longer than one of 1.2 MB: a full window that is shared among many, and so by
    // rounding not quite used, is not a link that limits.
    let link = LinkSpec::fixed(ONE_WAY, BytesPerSecond(125_000_000));
    let options = BARE.replace("pacing=0", "pacing=1.25") + ")";
    let one = takes(quic(&options, link.clone()).as_mut(), 0, 1_200_000);
    let mut network = quic(&options, link);
    for _ in 0..30 {
        network.start(Timestamp(0), A, B, 40_000);
    }
    let last = ends(network.as_mut()).into_iter().map(|(_, end)| end).max().unwrap();
    assert!(last.abs_diff(one) < ROUND_TRIP / 2, "{last} and {one}");
}

#[test]
fn what_begins_while_a_whole_window_is_under_way_waits_for_it() {
    let mut network = bare("", LinkSpec::fixed(ONE_WAY, UNLIMITED));
    network.start(Timestamp(0), A, B, 12_000);
    // A step and more later, and less than a round trip.
    let second = network.start(Timestamp(9_000_000), A, B, 1_000);
    let ends = ends(network.as_mut());
    assert_eq!(ends[1].0, second);
    assert!(ends[1].1 >= ROUND_TRIP && ends[1].1 <= 2 * ROUND_TRIP, "{}", ends[1].1);
}

#[test]
fn a_long_flow_waits_for_the_latest_of_its_datagrams() {
    // 200 kB at 1 MB/s: 0.2 s of flow, whose end has the largest of several delays.
    let latency = Latency::LogNormal { median: ONE_WAY, sigma: 0.9, min: Span(0) };
    let ends_after = |latency: Latency, bytes: u64| {
        let link = LinkSpec { latency, bandwidth: BytesPerSecond(1_000_000), loss: 0.0 };
        let options = BARE.replace("initial_window_bytes=12000", "initial_window_bytes=1000000000") + ")";
        let mut network = quic(&options, link);
        let mut sum = 0;
        for round in 0..40 {
            sum += takes(network.as_mut(), round * 10_000_000_000, bytes) / 40;
        }
        sum
    };
    let mean = latency.mean();
    let varying = ends_after(latency, 200_000);
    let fixed = ends_after(Latency::Fixed(mean), 200_000);
    assert!(varying > fixed + 8_000_000, "{varying} and {fixed}");
}

#[test]
fn loss_lowers_throughput_the_more_of_it_there_is() {
    let rate = |loss: f64| {
        let link = LinkSpec { loss, ..LinkSpec::fixed(ONE_WAY, BytesPerSecond(125_000_000)) };
        let bytes = 200_000_000;
        bytes as f64 / (takes(bare("", link).as_mut(), 0, bytes) as f64 / 1e9)
    };
    let rates: Vec<f64> = [0.0, 0.000_1, 0.001, 0.01, 0.05].into_iter().map(rate).collect();
    assert!(rates.windows(2).all(|pair| pair[1] < pair[0]), "{rates:?}");
    // Mathis and others (1997): MSS / R x sqrt(3 / 2 / p) for Reno; CUBIC in its Reno-friendly region at beta 0.7 is near.
    let mathis = 1_200.0 / 0.02 * (1.5_f64 / 0.01).sqrt();
    assert!(rates[3] > 0.5 * mathis && rates[3] < 2.0 * mathis, "{} for {mathis}", rates[3]);
}

#[test]
fn a_lost_datagram_delays_the_end_by_a_round_trip() {
    let link = LinkSpec { loss: 0.5, ..LinkSpec::fixed(ONE_WAY, UNLIMITED) };
    let took = takes(bare("", link).as_mut(), 0, 12_000);
    assert!(took >= ONE_WAY.0 + ROUND_TRIP, "{took}");
}

#[test]
fn connections_of_a_host_share_its_link_fairly() {
    let link = LinkSpec::fixed(Span::from_micros(100), BytesPerSecond(125_000_000));
    let mut network = bare("", link);
    let bytes = 100_000_000;
    network.start(Timestamp(0), A, B, bytes);
    network.start(Timestamp(0), A, C, bytes);
    for (_, end) in ends(network.as_mut()) {
        assert!((end as f64 / 1.6e9 - 1.0).abs() < 0.01, "{end}");
    }
}

#[test]
fn overheads_add_bytes_and_time() {
    let link = LinkSpec::fixed(Span(0), BytesPerSecond(1_494_000_000));
    // Without latency no window limits; the datagrams of 1,466 bytes carry 1,429 and are 1,494 on the wire.
    let options = "quic(warm=all,transfer_us=5)";
    let took = takes(quic(options, link.clone()).as_mut(), 0, 1_429_000);
    assert_eq!(took, 5_000 + 1_000_000);
    let (latency, rate, notice) = quic(options, link).stated(A, B);
    assert_eq!((latency, notice), (Span(5_000), Span(76_000)));
    assert_eq!(rate, BytesPerSecond(1_429_000_000));
}

#[test]
fn messages_jitter_but_keep_their_order() {
    let latency = Latency::LogNormal { median: ONE_WAY, sigma: 1.0, min: Span(0) };
    let link = LinkSpec { latency, bandwidth: UNLIMITED, loss: 0.0 };
    let arrivals = |seed: u64| -> Vec<Timestamp> {
        let mut network = network("quic", &cluster(link.clone()), seed).unwrap();
        (0..1_000).map(|step| network.message(Timestamp(step * 1_000_000), Party::Scheduler, A, 64)).collect()
    };
    let one = arrivals(1);
    assert!(one.is_sorted());
    assert!(one.iter().enumerate().all(|(step, at)| at.0 > step as u64 * 1_000_000 + 76_000));
    assert_eq!(one, arrivals(1));
    assert_ne!(one, arrivals(2));
}

#[test]
fn without_windows_it_is_shared() {
    // Windows larger than anything: latency and sharing are left, but for a microsecond of each round.
    let link = LinkSpec::fixed(Span(1_000), BytesPerSecond(125_000_000));
    let cluster = cluster(link);
    let label = BARE.replace("initial_window_bytes=12000", "initial_window_bytes=1000000000") + ")";
    let mut quic = network(&label, &cluster, 1).unwrap();
    let mut shared = Shared::new(&cluster);
    for network in [quic.as_mut(), &mut shared as &mut dyn Network] {
        network.start(Timestamp(0), A, B, 5_000_000);
        network.start(Timestamp(7), A, C, 6_000_000);
        network.start(Timestamp(9), B, C, 7_000_000);
    }
    for ((_, one), (_, other)) in ends(quic.as_mut()).into_iter().zip(ends(&mut shared)) {
        assert!(one.abs_diff(other) <= 3_000, "{one} and {other}");
    }
}

#[test]
fn cancelled_transfers_leave_in_every_phase() {
    let link = LinkSpec { loss: 0.3, ..LinkSpec::fixed(ONE_WAY, BytesPerSecond(1_000_000)) };
    let mut network = quic("quic", link);
    let (mut done, mut reported) = (Vec::new(), 0);
    let mut random = crate::random::Random::new(5);
    let mut live = Vec::new();
    for step in 0..2_000_u64 {
        let now = Timestamp(step * 3_000_000);
        network.advance(now, &mut done);
        reported += done.len();
        live.retain(|id| !done.iter().any(|(other, _)| other == id));
        done.clear();
        if random.one_in(2) {
            live.push(network.start(now, A, if random.one_in(2) { B } else { C }, random.below(20_000)));
        }
        if live.len() > 3 {
            network.cancel(now, live.swap_remove(random.below(live.len() as u64) as usize));
        }
    }
    while let Some(at) = network.next_event() {
        network.advance(at, &mut done);
    }
    assert_eq!(done.len(), live.len());
    assert!(reported > 50, "{reported}");
}

#[test]
fn wrong_labels_say_what_is_wrong() {
    let message = |label: &str| {
        let made: Result<Box<dyn Network>, NetworkError> = network(label, &cluster(LinkSpec::LOCAL), 0);
        made.err().unwrap().to_string()
    };
    assert!(message("tcp").contains("there are classic, shared, quic"));
    assert!(message("shared(x=1)").contains("has no parameter `x`; it takes none"));
    assert!(message("quic(handshake=1)").contains("handshake_round_trips"));
    assert!(message("quic(pacing=0.5)").contains("pacing=0.5 is not 0, or"));
    assert!(message("quic(pacing").contains("not of the form"));
    let _ = Quic::new(&cluster(LinkSpec::LOCAL), super::QuicOptions::default(), 0);
}

/// Starts, cancellations and messages at random; all that was reported, and how many events there were.
fn random_run(label: &str, cluster: &Cluster, seed: u64) -> (Vec<(TransferId, Timestamp, Timestamp)>, usize) {
    let mut network = network(label, cluster, seed).unwrap();
    let mut random = crate::random::Random::new(seed);
    let parties = cluster.topology.parties() as u64;
    let (mut ended, mut done, mut events) = (Vec::new(), Vec::new(), 0);
    let mut least = Vec::new();
    let mut cancelled = Vec::new();
    let mut now = Timestamp(0);
    for _ in 0..60 {
        let until = now + Span(random.below(50_000_000));
        while let Some(at) = network.next_event().filter(|at| *at <= until) {
            assert!(at >= now, "time does not go back");
            (now, events) = (at, events + 1);
            network.advance(at, &mut done);
            ended.extend(done.drain(..).map(|(id, first_byte)| (id, first_byte, at)));
        }
        now = until;
        let (from, to) =
            (Party::at(random.below(parties) as usize), Party::at(random.below(parties) as usize));
        match random.below(8) {
            0 if !least.is_empty() => {
                let id = TransferId(random.below(least.len() as u64));
                network.cancel(now, id);
                cancelled.push(id);
            }
            1 => assert!(network.message(now, from, to, 100) >= now),
            _ => {
                let bits = random.below(26);
                let size = random.below(1 << bits);
                let link = cluster.link(from, to);
                let mut bound = now.0 as f64 + size as f64 / link.bandwidth.0 as f64 * 1e9;
                // Latencies of `classic` and `shared` are means.
                bound += if label == "quic" { link.latency.smallest() } else { link.latency.mean() }.0 as f64;
                least.push(bound);
                network.start(now, from, to, size);
            }
        }
    }
    while let Some(at) = network.next_event() {
        events += 1;
        network.advance(at, &mut done);
        ended.extend(done.drain(..).map(|(id, first_byte)| (id, first_byte, at)));
        assert!(events < 2_000_000, "it comes to an end");
    }
    for (id, first_byte, end) in &ended {
        assert!(first_byte <= end);
        assert!(end.0 as f64 >= least[id.0 as usize] - 2.0, "{id:?} ends before it can");
    }
    let mut ids: Vec<TransferId> = ended.iter().map(|(id, _, _)| *id).collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), ended.len(), "each is reported once");
    for id in (0..least.len() as u64).map(TransferId) {
        assert!(ids.binary_search(&id).is_ok() || cancelled.contains(&id), "{id:?} ends");
    }
    (ended, events)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    /// On every preset every model ends each transfer once, no sooner than it can, and repeats itself bit for bit.
    #[test]
    fn random_traffic_ends_and_repeats(seed: u64, preset in 0..8_usize, agents in 1..6_u64) {
        let name = crate::cluster::presets::names()[preset];
        let cluster = Cluster::from_label(&format!("preset({name},agents={agents})")).unwrap();
        for label in super::MODELS {
            let one = random_run(label, &cluster, seed);
            prop_assert_eq!(&one, &random_run(label, &cluster, seed));
        }
    }
}
