//! How fast `shared` is: run with
//! `cargo test --release -p isochrone-sim --lib shared_speed -- --ignored --nocapture`.

use std::time::Instant;

use isochrone_model::{BytesPerSecond, Span, Timestamp};

use super::{Network, Shared};
use crate::cluster::{Cluster, LinkSpec, Party, Topology};
use crate::random::Random;

/// 200,000 transfers between 64 agents, so many under way at once; the time, and the rates computed for each transfer.
fn measure(at_once: usize, is_fan_in: bool) -> (f64, f64) {
    let link = LinkSpec::fixed(Span::from_micros(100), BytesPerSecond(1_250_000_000));
    let mut cluster = Cluster::from_label("uniform(agents=64)").unwrap();
    cluster.topology = Topology::uniform(64, link);
    let mut network = Shared::new(&cluster);
    let mut random = Random::new(11);
    let mut done = Vec::new();
    const TRANSFERS: usize = 200_000;
    let (mut started, mut ended, mut now) = (0, 0, Timestamp::ZERO);
    let began = Instant::now();
    while ended < TRANSFERS {
        while started < TRANSFERS && started - ended < at_once {
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
    (began.elapsed().as_secs_f64(), network.sharing.computed() as f64 / TRANSFERS as f64)
}

#[test]
#[ignore = "a measurement, not a check; takes seconds without optimisation"]
fn shared_speed() {
    for at_once in [16, 64, 256, 1024] {
        for is_fan_in in [false, true] {
            let (seconds, computed) = measure(at_once, is_fan_in);
            println!(
                "{at_once:4} at once{}: {:9.0} transfers/s, {:9.0} events/s, {computed:5.1} rates computed a transfer",
                if is_fan_in { ", into 4 agents" } else { "                " },
                200_000.0 / seconds,
                // Each transfer begins to flow and ends.
                400_000.0 / seconds,
            );
        }
    }
}
