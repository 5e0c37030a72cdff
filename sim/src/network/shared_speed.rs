//! How fast `shared` and `quic` are: run with
//! `cargo test --release -p isochrone-sim --lib shared_speed -- --ignored --nocapture`.

use isochrone_model::{BytesPerSecond, Span, Timestamp};

use super::{Network, Quic, QuicOptions, Shared};
use crate::cluster::{Cluster, LinkSpec, Party, Topology};
use crate::random::Random;

/// What this thread has had of a processor: on a busy machine the clock says little.
fn processor_nanos() -> f64 {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").expect("Linux says it");
    text.split(' ').next().and_then(|nanos| nanos.parse().ok()).expect("a number")
}

/// Transfers between 64 agents, so many under way at once; transfers in a second of a processor, and rates computed for each.
fn measure(network: &mut dyn Network, at_once: usize, is_fan_in: bool) -> (f64, usize) {
    let transfers = 200_000 * 64 / at_once.max(64);
    let mut random = Random::new(11);
    let mut done = Vec::new();
    let (mut started, mut ended, mut now) = (0, 0, Timestamp::ZERO);
    let began = processor_nanos();
    while ended < transfers {
        while started < transfers && started - ended < at_once {
            let from = random.below(64);
            let to = if is_fan_in { random.below(4) } else { random.below(64) };
            let to = if to == from { (to + 1) % 64 } else { to };
            let size = 1_000 + random.below(2_000_000);
            network.start(now, Party::Agent(from as usize), Party::Agent(to as usize), size);
            started += 1;
        }
        now = network.next_event().unwrap();
        network.advance(now, &mut done);
        ended += done.len();
        done.clear();
    }
    (transfers as f64 * 1e9 / (processor_nanos() - began), transfers)
}

#[test]
#[ignore = "a measurement, not a check; takes seconds without optimisation"]
fn shared_speed() {
    let link = LinkSpec::fixed(Span::from_micros(100), BytesPerSecond(1_250_000_000));
    let mut cluster = Cluster::from_label("uniform(agents=64)").unwrap();
    cluster.topology = Topology::uniform(64, link);
    for at_once in [16, 64, 256, 1024] {
        for (is_fan_in, shape) in [(false, "any to any"), (true, "into 4 agents")] {
            let mut shared = Shared::new(&cluster);
            let (rate, transfers) = measure(&mut shared, at_once, is_fan_in);
            let computed = shared.sharing.computed() as f64 / transfers as f64;
            let mut quic = Quic::new(&cluster, QuicOptions::default(), 1);
            let (quic_rate, _) = measure(&mut quic, at_once, is_fan_in);
            println!(
                "{at_once:4} at once, {shape:13}: shared {rate:9.0} transfers/s, {:9.0} events/s, {computed:6.1} rates \
                 computed a transfer; quic {quic_rate:9.0} transfers/s",
                // Each transfer begins to flow and ends.
                2.0 * rate,
            );
        }
    }
}
