//! Problems: published examples, and random ones from seeds.

use isochrone_model::{BytesPerSecond, Span};
use isochrone_policies::planning::{Batch, Planner, Problem, ProblemBuilder};
use rand_chacha::ChaCha8Rng;
use rand_core::{Rng, SeedableRng};

/// Every planner there is, by the name of its policy, with parameters that keep tests quick.
pub fn planners() -> Vec<(&'static str, Box<dyn Planner>)> {
    planners_in(Batch::default())
}

/// The same, with a bound on ready tasks that are considered at one time where planners have one.
pub fn planners_in(batch: Batch) -> Vec<(&'static str, Box<dyn Planner>)> {
    use isochrone_policies as policies;
    let limits = policies::planning::optimal::OptimalLimits { nodes: 300, tasks: 12 };
    vec![
        ("bil", Box::new(policies::Bil)),
        ("cpop", Box::new(policies::Cpop)),
        ("dls", Box::new(policies::Dls)),
        ("duplex", Box::new(policies::Duplex { batch })),
        ("etf", Box::new(policies::Etf)),
        ("fastest-device", Box::new(policies::FastestDevice)),
        ("fcp", Box::new(policies::Fcp)),
        ("fixed", Box::new(policies::Fixed::default())),
        ("flb", Box::new(policies::Flb)),
        ("foresight", Box::new(policies::Foresight)),
        ("hbmct", Box::new(policies::Hbmct)),
        ("heft", Box::new(policies::Heft)),
        ("hlfet", Box::new(policies::Hlfet)),
        ("list", Box::new(policies::List::default())),
        ("lookahead-heft", Box::new(policies::Lookahead)),
        ("max-min", Box::new(policies::MaxMin { batch })),
        ("mcp", Box::new(policies::Mcp)),
        ("mct", Box::new(policies::Mct)),
        ("met", Box::new(policies::Met)),
        ("min-min", Box::new(policies::MinMin { batch })),
        ("olb", Box::new(policies::Olb)),
        ("optimal", Box::new(policies::Optimal { limits })),
        ("peft", Box::new(policies::Peft)),
        ("sufferage", Box::new(policies::Sufferage { batch })),
        ("wba", Box::new(policies::Wba::default())),
    ]
}

/// A published problem: three processors on agents of their own, no latency, costs as given times `unit`
/// nanoseconds.
fn published(times: &[[u64; 3]], edges: &[(usize, usize, u64)], unit: u64) -> Problem {
    let mut builder = ProblemBuilder::new(&[(0, 0), (1, 1), (2, 2)]);
    for from in 0..3 {
        for to in 0..3 {
            builder.link(from, to, Span::ZERO, BytesPerSecond(1_000_000_000), Span::ZERO);
        }
    }
    for row in times {
        builder.task(&row.map(|time| Span(time * unit)));
    }
    for (first, second, size) in edges {
        builder.edge(first - 1, second - 1, size * unit);
    }
    builder.build()
}

/// The ten tasks of Topcuoglu, Hariri and Wu (2002), figure 2 and table 1.
pub fn topcuoglu(unit: u64) -> Problem {
    let times = [
        [14, 16, 9],
        [13, 19, 18],
        [11, 13, 19],
        [13, 8, 17],
        [12, 13, 10],
        [13, 16, 9],
        [7, 15, 11],
        [5, 11, 14],
        [18, 12, 20],
        [21, 7, 16],
    ];
    let edges = [
        (1, 2, 18),
        (1, 3, 12),
        (1, 4, 9),
        (1, 5, 11),
        (1, 6, 14),
        (2, 8, 19),
        (2, 9, 16),
        (3, 7, 23),
        (4, 8, 27),
        (4, 9, 23),
        (5, 9, 13),
        (6, 8, 15),
        (7, 10, 17),
        (8, 10, 11),
        (9, 10, 13),
    ];
    published(&times, &edges, unit)
}

/// The ten tasks of Arabnejad and Barbosa (2014), figure 2.
pub fn arabnejad(unit: u64) -> Problem {
    let times = [
        [22, 21, 36],
        [22, 18, 18],
        [32, 27, 43],
        [7, 10, 4],
        [29, 27, 35],
        [26, 17, 24],
        [14, 25, 30],
        [29, 23, 36],
        [15, 21, 8],
        [13, 16, 33],
    ];
    let edges = [
        (1, 2, 17),
        (1, 3, 31),
        (1, 4, 29),
        (1, 5, 13),
        (1, 6, 7),
        (2, 8, 3),
        (2, 9, 30),
        (3, 7, 16),
        (4, 8, 11),
        (4, 9, 7),
        (5, 9, 57),
        (6, 8, 5),
        (7, 10, 9),
        (8, 10, 42),
        (9, 10, 7),
    ];
    published(&times, &edges, unit)
}

/// Draws whole numbers.
pub struct Draws(ChaCha8Rng);

impl Draws {
    pub fn new(seed: u64) -> Self {
        Self(ChaCha8Rng::seed_from_u64(seed))
    }

    /// From `low` to `high`, both included.
    pub fn within(&mut self, low: u64, high: u64) -> u64 {
        low + self.0.next_u64() % (high - low + 1)
    }

    pub fn is_one_in(&mut self, count: u64) -> bool {
        self.within(1, count) == 1
    }
}

/// What a random problem may be like.
#[derive(Clone, Copy)]
pub struct Size {
    pub tasks: u64,
    pub agents: u64,
    pub devices_each: u64,
    pub slots_each: u64,
}

/// Any problem: several slots on a device, several devices on an agent, latency or none, links that differ in each
/// direction, tasks with illegal slots, tasks that take no time, order-only edges, inputs from outside, slots that
/// are busy, and an order of indices that does not follow the graph.
pub fn any(seed: u64, size: Size) -> Problem {
    let mut draws = Draws::new(seed);
    let mut slots = Vec::new();
    let mut devices = 0;
    let agents = draws.within(1, size.agents) as usize;
    for agent in 0..agents {
        for _ in 0..draws.within(1, size.devices_each) {
            for _ in 0..draws.within(1, size.slots_each) {
                slots.push((agent, devices));
            }
            devices += 1;
        }
    }
    let mut builder = ProblemBuilder::new(&slots);
    let (latency_max, time_max) =
        ([0, 3, 40][draws.within(0, 2) as usize], [4, 30][draws.within(0, 1) as usize]);
    let are_links_equal = draws.is_one_in(2);
    let mut link = (Span::ZERO, BytesPerSecond(1), Span::ZERO);
    for from in 0..agents {
        for to in 0..agents {
            if !are_links_equal || (from, to) == (0, 0) {
                let latency = Span(draws.within(0, latency_max));
                let notice = Span(draws.within(0, latency.0));
                link = (latency, BytesPerSecond(draws.within(1, 4) * 500_000_000), notice);
            }
            builder.link(from, to, link.0, link.1, link.2);
        }
    }
    if draws.is_one_in(3) {
        for slot in 0..slots.len() {
            builder.slot_free(slot, Span(draws.within(0, 2 * time_max)));
        }
    }
    if draws.is_one_in(3) {
        let words: Vec<Span> = (0..agents).map(|_| Span(draws.within(0, 20))).collect();
        builder.outside_ready(&words);
    }
    let tasks = draws.within(1, size.tasks) as usize;
    // In some problems tasks are of few kinds, alike in all but what they wait for.
    let kinds = if draws.is_one_in(3) { draws.within(1, 3) as usize } else { usize::MAX };
    let mut times: Vec<Vec<Span>> = Vec::new();
    for task in 0..tasks {
        if times.len() < kinds {
            times.push(draw_times(&mut draws, &slots, time_max));
        }
        builder.task(&times[task % kinds]);
        if draws.is_one_in(8) {
            let ready: Vec<Span> = (0..agents).map(|_| Span(draws.within(0, 40))).collect();
            builder.task_outside_ready(task, &ready);
        }
    }
    let density = draws.within(1, 8);
    let is_in_order = !draws.is_one_in(4);
    let mut labels: Vec<usize> = (0..tasks).collect();
    if !is_in_order {
        for place in (1..tasks).rev() {
            labels.swap(place, draws.within(0, place as u64) as usize);
        }
    }
    for second in 0..tasks {
        for first in 0..second {
            if draws.within(1, tasks as u64) <= density && draws.is_one_in(2) {
                let size_bytes = if draws.is_one_in(4) { 0 } else { draws.within(1, 30) };
                builder.edge(labels[first], labels[second], size_bytes);
            }
        }
    }
    builder.build()
}

fn draw_times(draws: &mut Draws, slots: &[(usize, usize)], time_max: u64) -> Vec<Span> {
    let is_barrier = draws.is_one_in(10);
    // One time for each device, as in a farm, or one for each slot.
    let is_by_device = !draws.is_one_in(4);
    let mut times: Vec<Span> = Vec::new();
    for (slot, (_, device)) in slots.iter().enumerate() {
        let time = match slots.get(slot.wrapping_sub(1)) {
            Some((_, before)) if is_by_device && before == device => times[slot - 1],
            _ if is_barrier => Span::ZERO,
            _ if draws.is_one_in(8) => Problem::ILLEGAL,
            _ => Span(draws.within(1, time_max)),
        };
        times.push(time);
    }
    if times.iter().all(|time| *time == Problem::ILLEGAL) {
        times[0] = Span(draws.within(1, time_max));
    }
    times
}
