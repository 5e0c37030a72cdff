//! Generators of task graphs: one module for each family, and the registry that finds them by name.
//!
//! A family is named after the paper that defines it. Consumers of one output share one item, unless the family says
//! that each edge carries data of its own. The same [`GeneratorSpec`] gives the same graph, byte by byte, on every
//! machine and in every version: random numbers come from ChaCha8. Must never hold policies or clusters.

mod chains;
mod cholesky;
mod diamond;
mod erdos_renyi;
mod fft;
mod fork_join;
mod gaussian_elimination;
mod laplace;
mod layered;
mod lu;
mod map_reduce;
mod random;
mod sketch;
mod spec;
mod stencil;
mod task_bench;
mod trees;

use random::Random;
use sketch::Sketch;
pub use spec::{GeneratorSpec, ParameterInfo, ParameterRange, SpecError};

use super::{ScaleError, TaskGraph};

/// The largest graph that is generated, in tasks: some gigabytes.
pub const TASKS_MAX: u128 = 10_000_000;
/// The largest graph that is generated, in edges.
pub const EDGES_MAX: u128 = 100_000_000;

/// One generator of the registry, for people.
#[derive(Clone, Copy, Debug)]
pub struct GeneratorInfo {
    /// Its name in specs.
    pub name: &'static str,
    /// What it makes, in one line.
    pub summary: &'static str,
    /// The paper that defines it.
    pub source: &'static str,
    /// Its parameters.
    pub parameters: &'static [ParameterInfo],
    /// The number of tasks and of edges by formula; where they are random, what is expected.
    size: fn(&GeneratorSpec) -> (u128, u128),
    make: fn(&GeneratorSpec, &mut Random) -> Result<Sketch, GenerateError>,
}

/// Every generator there is. Adding one is one file and one line here.
pub const GENERATORS: &[GeneratorInfo] = &[
    chains::INFO,
    cholesky::INFO,
    diamond::INFO,
    erdos_renyi::INFO,
    fft::INFO,
    fork_join::INFO,
    gaussian_elimination::INFO,
    trees::IN_TREE,
    laplace::INFO,
    layered::INFO,
    lu::INFO,
    map_reduce::INFO,
    trees::OUT_TREE,
    stencil::INFO,
    task_bench::INFO,
];

/// Why a graph cannot be generated although its parameters are in their ranges.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum GenerateError {
    /// The graph would be too large.
    #[error(
        "the graph would have {tasks} tasks and {edges} edges; at most {TASKS_MAX} and {EDGES_MAX} are generated"
    )]
    TooLarge {
        /// Its tasks.
        tasks: u128,
        /// Its edges.
        edges: u128,
    },
    /// Heterogeneity is between devices, and there are none.
    #[error("beta={beta} is between devices; give devices=N too")]
    BetaWithoutDevices {
        /// The heterogeneity.
        beta: f64,
    },
    /// A number has to be a power of two.
    #[error("{parameter}={value} is not a power of two")]
    NotPowerOfTwo {
        /// The parameter.
        parameter: &'static str,
        /// Its value.
        value: u64,
    },
    /// Task Bench's `spread` would name a point twice.
    #[error(
        "spread takes a radix from 1 to width={width} and a period up to width / radix rounded up; radix={radix} and period={period} were given"
    )]
    SpreadShape {
        /// The points of a step.
        width: u64,
        /// The dependencies of a point.
        radix: u64,
        /// The steps after which the pattern comes again.
        period: u64,
    },
    /// The sizes cannot be brought to the ratio of communication to computation.
    #[error("the sizes cannot be scaled")]
    Scale {
        /// Why not.
        source: ScaleError,
    },
}

/// The number of tasks and of edges (pairs of a task and an item it reads from another) that a graph will have; where
/// they are random, the number expected.
#[must_use]
pub fn expected_size(spec: &GeneratorSpec) -> (u128, u128) {
    (spec.info().size)(spec)
}

/// The graph of a spec. Its name is the spec as text.
///
/// # Errors
/// When it would be larger than [`TASKS_MAX`] or [`EDGES_MAX`], or parameters do not go together.
pub fn generate(spec: &GeneratorSpec) -> Result<TaskGraph, GenerateError> {
    let (tasks, edges) = expected_size(spec);
    if tasks > TASKS_MAX || edges > EDGES_MAX {
        return Err(GenerateError::TooLarge { tasks, edges });
    }
    let mut random = Random::new(spec.whole("seed"));
    let sketch = (spec.info().make)(spec, &mut random)?;
    let graph = sketch.finish(spec, &mut random)?;
    debug_assert_eq!(graph.validate(), Ok(()), "{spec}");
    Ok(graph)
}

#[cfg(test)]
mod tests;
