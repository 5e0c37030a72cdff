//! `in-tree` and `out-tree`: complete trees, towards the root and away from it.

use super::random::Random;
use super::sketch::{BANDWIDTH, BETA, CCR, DEVICES, SEED, SPREAD, Sketch, WORK, whole};
use super::spec::ParameterInfo;
use super::{GenerateError, GeneratorInfo, GeneratorSpec};

const SOURCE: &str = "Hu (1961), Parallel sequencing and assembly line problems";

const PARAMETERS: &[ParameterInfo] = &[
    whole("levels", "6", 1, 64, "the levels of the tree, the root's included"),
    whole("arity", "2", 1, 10_000_000, "the children of each inner task"),
    CCR,
    BANDWIDTH,
    WORK,
    SPREAD,
    DEVICES,
    BETA,
    SEED,
];

pub(super) const IN_TREE: GeneratorInfo = GeneratorInfo {
    name: "in-tree",
    summary: "a complete tree from its leaves to its root: a reduction",
    source: SOURCE,
    parameters: PARAMETERS,
    size,
    make: make_in_tree,
};

pub(super) const OUT_TREE: GeneratorInfo = GeneratorInfo {
    name: "out-tree",
    summary: "a complete tree from its root to its leaves: a distribution; children read the same item",
    source: SOURCE,
    parameters: PARAMETERS,
    size,
    make: make_out_tree,
};

fn size(spec: &GeneratorSpec) -> (u128, u128) {
    let arity = u128::from(spec.whole("arity"));
    let (mut tasks, mut width) = (0_u128, 1_u128);
    for _ in 0..spec.whole("levels") {
        tasks = tasks.saturating_add(width);
        width = width.saturating_mul(arity);
    }
    (tasks, tasks - 1)
}

/// The widths of the levels, the root's first.
fn widths(spec: &GeneratorSpec) -> Vec<usize> {
    let arity = spec.count("arity");
    std::iter::successors(Some(1_usize), |width| width.checked_mul(arity))
        .take(spec.count("levels"))
        .collect()
}

fn make_in_tree(spec: &GeneratorSpec, _: &mut Random) -> Result<Sketch, GenerateError> {
    let mut sketch = Sketch::default();
    let arity = spec.count("arity");
    let mut children: Vec<usize> = Vec::new();
    for (level, width) in widths(spec).into_iter().enumerate().rev() {
        let tasks: Vec<usize> =
            (0..width).map(|position| sketch.task(format!("node_{level}_{position}"), "node", 1.0)).collect();
        for (&parent, group) in tasks.iter().zip(children.chunks(arity)) {
            group.iter().for_each(|&child| sketch.edge(child, parent));
        }
        children = tasks;
    }
    Ok(sketch)
}

fn make_out_tree(spec: &GeneratorSpec, _: &mut Random) -> Result<Sketch, GenerateError> {
    let mut sketch = Sketch::default();
    let arity = spec.count("arity");
    let mut parents: Vec<usize> = Vec::new();
    for (level, width) in widths(spec).into_iter().enumerate() {
        let tasks: Vec<usize> =
            (0..width).map(|position| sketch.task(format!("node_{level}_{position}"), "node", 1.0)).collect();
        for (&parent, group) in parents.iter().zip(tasks.chunks(arity)) {
            group.iter().for_each(|&child| sketch.edge(parent, child));
        }
        parents = tasks;
    }
    Ok(sketch)
}
