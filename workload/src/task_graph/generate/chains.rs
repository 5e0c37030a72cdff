//! `chains`: tasks one after the other, in chains that have nothing to do with each other.

use super::random::Random;
use super::sketch::{BANDWIDTH, BETA, CCR, DEVICES, SEED, SPREAD, Sketch, WORK, whole};
use super::{GenerateError, GeneratorInfo, GeneratorSpec};

pub(super) const INFO: GeneratorInfo = GeneratorInfo {
    name: "chains",
    summary: "independent chains of tasks; one chain by default",
    source: "the smallest case of Graham (1969), Bounds on multiprocessing timing anomalies",
    parameters: &[
        whole("chains", "1", 1, 10_000_000, "the number of chains"),
        whole("length", "100", 1, 10_000_000, "the tasks of a chain"),
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
    let (chains, length) = (u128::from(spec.whole("chains")), u128::from(spec.whole("length")));
    (chains * length, chains * (length - 1))
}

fn make(spec: &GeneratorSpec, _: &mut Random) -> Result<Sketch, GenerateError> {
    let mut sketch = Sketch::default();
    for chain in 0..spec.count("chains") {
        let mut before = None;
        for link in 0..spec.count("length") {
            let task = sketch.task(format!("link_{chain}_{link}"), "link", 1.0);
            if let Some(before) = before.replace(task) {
                sketch.edge(before, task);
            }
        }
    }
    Ok(sketch)
}
