//! `diamond`: a square grid in which every cell waits for the one above and the one to the left.

use super::random::Random;
use super::sketch::{BANDWIDTH, BETA, CCR, DEVICES, SEED, SPREAD, Sketch, WORK, whole};
use super::{GenerateError, GeneratorInfo, GeneratorSpec};

pub(super) const INFO: GeneratorInfo = GeneratorInfo {
    name: "diamond",
    summary: "a square grid, each cell after the one above and the one to the left: a wavefront",
    source: "Papadimitriou and Ullman (1987), A communication-time tradeoff",
    parameters: &[
        whole("order", "8", 1, 10_000, "rows and columns of the grid"),
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
    let order = u128::from(spec.whole("order"));
    (order * order, 2 * order * (order - 1))
}

fn make(spec: &GeneratorSpec, _: &mut Random) -> Result<Sketch, GenerateError> {
    let mut sketch = Sketch::default();
    let order = spec.count("order");
    for row in 0..order {
        for column in 0..order {
            let task = sketch.task(format!("cell_{row}_{column}"), "cell", 1.0);
            if row > 0 {
                sketch.edge(task - order, task);
            }
            if column > 0 {
                sketch.edge(task - 1, task);
            }
        }
    }
    Ok(sketch)
}
