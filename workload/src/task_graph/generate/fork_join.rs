//! `fork-join`: a task, many that may run at once, a task that waits for all of them, and again.

use super::random::Random;
use super::sketch::{BANDWIDTH, BETA, CCR, DEVICES, SEED, SPREAD, Sketch, WORK, whole};
use super::{GenerateError, GeneratorInfo, GeneratorSpec};

pub(super) const INFO: GeneratorInfo = GeneratorInfo {
    name: "fork-join",
    summary: "stages of tasks that may run at once, between tasks that wait for all of a stage and serve all of the next",
    source: "Kwok and Ahmad (1999), Benchmarking and comparison of the task graph scheduling algorithms",
    parameters: &[
        whole("width", "16", 1, 10_000_000, "the tasks of a stage"),
        whole("stages", "4", 1, 10_000_000, "the number of stages"),
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
    let (width, stages) = (u128::from(spec.whole("width")), u128::from(spec.whole("stages")));
    (stages * (width + 1) + 1, 2 * width * stages)
}

fn make(spec: &GeneratorSpec, _: &mut Random) -> Result<Sketch, GenerateError> {
    let mut sketch = Sketch::default();
    let mut fork = sketch.task("join_0".to_owned(), "join", 1.0);
    for stage in 0..spec.count("stages") {
        let branches: Vec<usize> = (0..spec.count("width"))
            .map(|position| sketch.task(format!("branch_{stage}_{position}"), "branch", 1.0))
            .collect();
        let join = sketch.task(format!("join_{}", stage + 1), "join", 1.0);
        for branch in branches {
            sketch.edge(fork, branch);
            sketch.edge(branch, join);
        }
        fork = join;
    }
    Ok(sketch)
}
