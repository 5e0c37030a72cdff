//! `map-reduce`: every reduction reads a part of its own of what every map made.

use super::random::Random;
use super::sketch::{BANDWIDTH, BETA, CCR, DEVICES, SEED, SPREAD, Sketch, WORK, whole};
use super::{GenerateError, GeneratorInfo, GeneratorSpec};

pub(super) const INFO: GeneratorInfo = GeneratorInfo {
    name: "map-reduce",
    summary: "maps, and reductions that each read a part of its own of every map",
    source: "Dean and Ghemawat (2004), MapReduce: simplified data processing on large clusters",
    parameters: &[
        whole("maps", "16", 1, 10_000_000, "the number of maps"),
        whole("reduces", "4", 1, 10_000_000, "the number of reductions"),
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
    let (maps, reduces) = (u128::from(spec.whole("maps")), u128::from(spec.whole("reduces")));
    (maps + reduces, maps * reduces)
}

/// What goes in is as large as what goes between maps and reductions in all, and what comes out too.
fn make(spec: &GeneratorSpec, _: &mut Random) -> Result<Sketch, GenerateError> {
    let mut sketch = Sketch::default();
    let (maps, reduces) = (spec.count("maps"), spec.count("reduces"));
    for map in 0..maps {
        let task = sketch.task(format!("map_{map}"), "map", 1.0);
        let split = sketch.input(format!("split_{map}"), reduces as f64);
        sketch.reads(task, split);
    }
    for reduce in 0..reduces {
        let task = sketch.task(format!("reduce_{reduce}"), "reduce", 1.0);
        for map in 0..maps {
            sketch.own_edge(map, task, 1.0);
        }
        sketch.output(task, format!("result_{reduce}"), maps as f64);
    }
    Ok(sketch)
}
