//! `gaussian-elimination`: column by column, without pivoting.
//!
//! In step k a task makes the multipliers of column k, which one task for each later column reads to change that
//! column. Work is in proportion to the operations (m - k divisions; twice as many for an update), sizes to the rows
//! that are left; so tasks of one step and purpose are of one kind.

use super::random::Random;
use super::sketch::{BANDWIDTH, BETA, CCR, DEVICES, SEED, SPREAD_OF_KINDS, Sketch, WORK, whole};
use super::{GenerateError, GeneratorInfo, GeneratorSpec};

pub(super) const INFO: GeneratorInfo = GeneratorInfo {
    name: "gaussian-elimination",
    summary: "Gaussian elimination by columns: multipliers, and updates that all read them",
    source: "Cosnard, Marrakchi, Robert and Trystram (1988), Parallel Gaussian elimination on an MIMD computer; Topcuoglu et al. (2002), section 5.3",
    parameters: &[
        whole("order", "10", 2, 10_000, "rows and columns of the matrix"),
        CCR,
        BANDWIDTH,
        WORK,
        SPREAD_OF_KINDS,
        DEVICES,
        BETA,
        SEED,
    ],
    size,
    make,
};

fn size(spec: &GeneratorSpec) -> (u128, u128) {
    let order = u128::from(spec.whole("order"));
    ((order * order + order - 2) / 2, order * order - order - 1)
}

fn make(spec: &GeneratorSpec, _: &mut Random) -> Result<Sketch, GenerateError> {
    let mut sketch = Sketch::of_kernels();
    let order = spec.count("order");
    let mut columns: Vec<usize> =
        (1..=order).map(|column| sketch.input(format!("a_{column}"), order as f64)).collect();
    for step in 1..order {
        let rows = (order - step) as f64;
        let pivot = sketch.task(format!("pivot_{step}"), &format!("pivot_{step}"), rows);
        sketch.reads(pivot, columns[step - 1]);
        let multipliers = sketch.output(pivot, format!("l_{step}"), rows);
        let kind = format!("update_{step}");
        for column in step + 1..=order {
            let update = sketch.task(format!("update_{step}_{column}"), &kind, 2.0 * rows);
            sketch.reads(update, multipliers);
            sketch.reads(update, columns[column - 1]);
            columns[column - 1] = sketch.output(update, format!("a_{column}:{step}"), rows);
        }
    }
    Ok(sketch)
}
