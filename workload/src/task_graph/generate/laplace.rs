//! `laplace`: Gauss-Seidel sweeps over a square of blocks for Laplace's equation.
//!
//! In a sweep each block reads the new values of the blocks above and to the left, and of the sweep before its own
//! and those of the blocks below and to the right. One sweep is the graph of the paper, and that of `diamond`.

use super::random::Random;
use super::sketch::{BANDWIDTH, BETA, CCR, DEVICES, SEED, SPREAD, Sketch, WORK, whole};
use super::{GenerateError, GeneratorInfo, GeneratorSpec};

pub(super) const INFO: GeneratorInfo = GeneratorInfo {
    name: "laplace",
    summary: "Gauss-Seidel sweeps over a square of blocks: wavefronts that follow each other",
    source: "Wu and Gajski (1990), Hypertool: a programming aid for message-passing systems",
    parameters: &[
        whole("order", "8", 1, 10_000, "rows and columns of blocks"),
        whole("sweeps", "2", 1, 1_000_000, "how often the square is gone over"),
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
    let (order, sweeps) = (u128::from(spec.whole("order")), u128::from(spec.whole("sweeps")));
    let sides = 2 * order * (order - 1);
    (order * order * sweeps, sweeps * sides + (sweeps - 1) * (order * order + sides))
}

fn make(spec: &GeneratorSpec, _: &mut Random) -> Result<Sketch, GenerateError> {
    let mut sketch = Sketch::default();
    let order = spec.count("order");
    for sweep in 0..spec.count("sweeps") {
        for row in 0..order {
            for column in 0..order {
                let task = sketch.task(format!("block_{sweep}_{row}_{column}"), "block", 1.0);
                if row > 0 {
                    sketch.edge(task - order, task);
                }
                if column > 0 {
                    sketch.edge(task - 1, task);
                }
                if sweep > 0 {
                    let before = task - order * order;
                    sketch.edge(before, task);
                    if column + 1 < order {
                        sketch.edge(before + 1, task);
                    }
                    if row + 1 < order {
                        sketch.edge(before + order, task);
                    }
                }
            }
        }
    }
    Ok(sketch)
}
