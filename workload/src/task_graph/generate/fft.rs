//! `fft`: the fast Fourier transform as Topcuoglu et al. (2002, section 5.3) take it apart.
//!
//! 2m - 1 recursive calls split the input down to single points, each child with a half of its own; then m log2 m
//! butterflies, each of which reads two points of the stage before. All tasks of a level cost alike: a level is a
//! kind. With `spread=1` the cost of each level is random, as in the paper.

use super::random::Random;
use super::sketch::{BANDWIDTH, BETA, CCR, DEVICES, SEED, SPREAD_OF_KINDS, Sketch, WORK, whole};
use super::{GenerateError, GeneratorInfo, GeneratorSpec};

pub(super) const INFO: GeneratorInfo = GeneratorInfo {
    name: "fft",
    summary: "the fast Fourier transform: recursive calls that split the input, then butterflies",
    source: "Chung and Ranka (1992), Applications and performance analysis of a compile-time optimization approach for list scheduling algorithms; Topcuoglu et al. (2002), section 5.3",
    parameters: &[
        whole("points", "16", 2, 1 << 20, "the points, a power of two"),
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
    let points = u128::from(spec.whole("points"));
    let stages = u128::from(points.ilog2());
    (2 * points - 1 + points * stages, 2 * (points - 1) + 2 * points * stages)
}

fn make(spec: &GeneratorSpec, _: &mut Random) -> Result<Sketch, GenerateError> {
    let points = spec.count("points");
    if !points.is_power_of_two() {
        return Err(GenerateError::NotPowerOfTwo { parameter: "points", value: points as u64 });
    }
    let stages = points.ilog2();
    let mut sketch = Sketch::of_kernels();
    let input = sketch.input("input".to_owned(), points as f64);
    let mut level = vec![sketch.task("split_0_0".to_owned(), "split_0", 1.0)];
    sketch.reads(level[0], input);
    for depth in 1..=stages {
        let kind = format!("split_{depth}");
        let mut next = Vec::with_capacity(2 * level.len());
        for child in 0..2 * level.len() {
            let task = sketch.task(format!("split_{depth}_{child}"), &kind, 1.0);
            sketch.own_edge(level[child / 2], task, (points >> depth) as f64);
            next.push(task);
        }
        level = next;
    }
    for stage in 0..stages {
        let kind = format!("butterfly_{stage}");
        let mut next = Vec::with_capacity(points);
        for point in 0..points {
            let task = sketch.task(format!("butterfly_{stage}_{point}"), &kind, 1.0);
            sketch.edge(level[point], task);
            sketch.edge(level[point ^ (1 << stage)], task);
            next.push(task);
        }
        level = next;
    }
    for task in level {
        sketch.shared_output(task);
    }
    Ok(sketch)
}
