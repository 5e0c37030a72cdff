//! `stencil`: points on a line, each after its neighbours of the step before.
//!
//! The same graph as Task Bench's `stencil_1d` when the radius is 1; here the sizes follow the ratio of communication
//! to computation.

use super::random::Random;
use super::sketch::{BANDWIDTH, BETA, CCR, DEVICES, SEED, SPREAD, Sketch, WORK, whole};
use super::{GenerateError, GeneratorInfo, GeneratorSpec};

pub(super) const INFO: GeneratorInfo = GeneratorInfo {
    name: "stencil",
    summary: "points on a line, each after itself and its neighbours of the step before",
    source: "Slaughter et al. (2020), Task Bench: a parameterized benchmark for evaluating parallel runtime performance",
    parameters: &[
        whole("width", "16", 1, 10_000_000, "the points of a step"),
        whole("steps", "16", 1, 10_000_000, "the number of steps"),
        whole("radius", "1", 0, 10_000_000, "neighbours on each side that a point reads"),
        CCR,
        BANDWIDTH,
        WORK,
        SPREAD,
        DEVICES,
        BETA,
        SEED,
    ],
    size,
    make,
};

fn size(spec: &GeneratorSpec) -> (u128, u128) {
    let (width, steps) = (u128::from(spec.whole("width")), u128::from(spec.whole("steps")));
    let radius = u128::from(spec.whole("radius")).min(width - 1);
    (width * steps, (steps - 1) * ((2 * radius + 1) * width - radius * (radius + 1)))
}

fn make(spec: &GeneratorSpec, _: &mut Random) -> Result<Sketch, GenerateError> {
    let mut sketch = Sketch::default();
    let (width, radius) = (spec.count("width"), spec.count("radius"));
    for step in 0..spec.count("steps") {
        for point in 0..width {
            let task = sketch.task(format!("point_{step}_{point}"), "point", 1.0);
            if step > 0 {
                for neighbour in point.saturating_sub(radius)..=(point + radius).min(width - 1) {
                    sketch.edge((step - 1) * width + neighbour, task);
                }
            }
        }
    }
    Ok(sketch)
}
