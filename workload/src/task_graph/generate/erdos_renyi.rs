//! `erdos-renyi`: between any two tasks an edge with the same probability, from the earlier to the later.
//!
//! Each edge has data of its own. The edges are found by skipping, in time in proportion to their number (Batagelj and
//! Brandes 2005, Efficient generation of large random networks).

use super::random::Random;
use super::sketch::{BANDWIDTH, BETA, CCR, DEVICES, SEED, SPREAD_OF_ALL, Sketch, WORK, real, whole};
use super::{GenerateError, GeneratorInfo, GeneratorSpec};

pub(super) const INFO: GeneratorInfo = GeneratorInfo {
    name: "erdos-renyi",
    summary: "random tasks, any two of them connected with the same probability",
    source: "Erdos and Renyi (1959), On random graphs I; for tasks Almeida et al. (1992) and the Standard Task Graph Set (`sameprob`)",
    parameters: &[
        whole("tasks", "100", 1, 10_000_000, "the number of tasks"),
        real("probability", "0.1", 0.0, 1.0, "how likely an edge is"),
        CCR,
        BANDWIDTH,
        WORK,
        SPREAD_OF_ALL,
        DEVICES,
        BETA,
        SEED,
    ],
    size,
    make,
};

fn size(spec: &GeneratorSpec) -> (u128, u128) {
    let tasks = u128::from(spec.whole("tasks"));
    (tasks, ((tasks * (tasks - 1) / 2) as f64 * spec.real("probability")) as u128)
}

fn make(spec: &GeneratorSpec, random: &mut Random) -> Result<Sketch, GenerateError> {
    let mut sketch = Sketch::default();
    let (tasks, probability) = (spec.whole("tasks"), spec.real("probability"));
    for task in 0..tasks {
        let name = format!("task_{task}");
        sketch.task(name.clone(), &name, 1.0);
    }
    if probability <= 0.0 {
        return Ok(sketch);
    }
    // The pairs (from, to) with from < to, in the order of `to`, then `from`.
    let (mut to, mut from) = (1, random.failures(probability));
    loop {
        while to < tasks && from >= to {
            from -= to;
            to += 1;
        }
        if to >= tasks {
            return Ok(sketch);
        }
        sketch.own_edge(from as usize, to as usize, 1.0);
        from = from.saturating_add(1).saturating_add(random.failures(probability));
    }
}
