//! Problems that planners are timed on.

use isochrone_model::{BytesPerSecond, Span};
use isochrone_policies::planning::{Problem, ProblemBuilder};

use super::instances::Draws;

/// Devices of one slot, each on an agent of its own, unrelated times, latency and rates that differ.
fn farm(slots: usize, draws: &mut Draws) -> ProblemBuilder {
    let places: Vec<(usize, usize)> = (0..slots).map(|slot| (slot, slot)).collect();
    let mut builder = ProblemBuilder::new(&places);
    for from in 0..slots {
        for to in 0..slots {
            let latency = Span::from_micros(draws.within(100, 10_000));
            builder.link(from, to, latency, BytesPerSecond(draws.within(10, 1_000) << 20), latency);
        }
    }
    builder
}

fn times(draws: &mut Draws, slots: usize) -> Vec<Span> {
    (0..slots).map(|_| Span::from_micros(draws.within(1_000, 50_000))).collect()
}

/// Layers of twice as many tasks as slots, each task with three inputs from the layer before.
pub fn layered(tasks: usize, slots: usize) -> Problem {
    let mut draws = Draws::new(1);
    let mut builder = farm(slots, &mut draws);
    let layer = 2 * slots;
    for task in 0..tasks {
        builder.task(&times(&mut draws, slots));
        if task >= layer {
            let before = (task / layer - 1) * layer;
            let mut firsts: Vec<usize> =
                (0..3).map(|_| before + draws.within(0, layer as u64 - 1) as usize).collect();
            firsts.sort_unstable();
            firsts.dedup();
            for first in firsts {
                builder.edge(first, task, draws.within(1, 1 << 20));
            }
        }
    }
    builder.build()
}

/// Tasks without edges that differ by their work, on slots that differ by their speed, each time off by at most so many
/// hundredths.
pub fn related(tasks: usize, slots: usize, percent: u64) -> Problem {
    let mut draws = Draws::new(1);
    let mut builder = farm(slots, &mut draws);
    let slowness: Vec<u64> = (0..slots).map(|_| draws.within(100, 800)).collect();
    for _ in 0..tasks {
        let work = draws.within(1_000_000, 50_000_000);
        let mut time = |slowness: u64| {
            let factor = draws.within(100 - percent, 100 + percent);
            Span(work * slowness / 100 * factor / 100)
        };
        let times: Vec<Span> = slowness.iter().map(|slowness| time(*slowness)).collect();
        builder.task(&times);
    }
    builder.build()
}

/// Tasks without edges, of a number of kinds.
pub fn wide(tasks: usize, slots: usize, kinds: usize) -> Problem {
    let mut draws = Draws::new(1);
    let mut builder = farm(slots, &mut draws);
    let times: Vec<Vec<Span>> = (0..kinds).map(|_| times(&mut draws, slots)).collect();
    for task in 0..tasks {
        builder.task(&times[task % kinds]);
    }
    builder.build()
}
