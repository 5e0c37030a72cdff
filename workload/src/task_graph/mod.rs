//! Task graphs: what is to be run, how long it takes and what data goes from task to task, with no kernel in sight.
//!
//! Holds the type, its checks and what can be counted on it; [`formats`] reads and writes files,
//! [`mod@generate`] makes graphs by rule. Must never hold:
//! OpenCL, placements, devices of a farm. No function here recurses over the graph, and the order of tasks and
//! items is that of the file everywhere: it decides ties.

mod busy;
mod commands;
pub mod formats;
pub mod generate;
mod structure;
mod totals;
mod validation;

pub use busy::{BUSY_ITEMS, BusyBytes, busy_source};
pub use commands::{Appearance, GraphRequests, KernelShape, task_of_scalar};
pub use formats::{
    GraphFormat, ReadError, ReadGraph, ReadOptions, ReadProblem, UnsaidOption, WriteError, WrittenGraph,
    format_graph, parse_graph, read_graph, write_graph,
};
pub use generate::{GenerateError, GeneratorSpec, generate};
pub use structure::Adjacency;
pub use totals::ScaleError;
pub use validation::GraphError;

/// A directed acyclic graph of tasks that hand data to each other.
///
/// The fields are open so that a graph can be built anywhere; [`TaskGraph::validate`] says whether it holds together.
/// Every other method expects a valid graph and may panic on one that is not.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TaskGraph {
    /// The name of the graph, for people; may be empty.
    pub name: String,
    /// The tasks. Their order decides ties.
    pub tasks: Vec<GraphTask>,
    /// The data that tasks read and write.
    pub items: Vec<DataItem>,
    /// The names of the device columns when tasks have [`TaskCost::PerDevice`] durations; else empty.
    pub device_columns: Vec<String>,
}

/// One task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GraphTask {
    /// Its name, unique among the tasks and not empty.
    pub name: String,
    /// Tasks of one kind cost alike (a kernel); used by cost models and cost matrices. Not empty.
    pub kind: String,
    /// How long it takes.
    pub cost: TaskCost,
    /// What it needs on its device beside its inputs and outputs, in bytes.
    pub memory_bytes: u64,
    /// Indices of the items that it reads, each once.
    pub inputs: Vec<usize>,
    /// Indices of the items that it makes, each once; it is the [`DataItem::producer`] of each.
    pub outputs: Vec<usize>,
    /// Indices of the tasks that have to end first although no data comes from them, each once.
    pub after: Vec<usize>,
}

/// How long a task takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TaskCost {
    /// Abstract work: nanoseconds on a device of speed 1.
    Work(u64),
    /// Nanoseconds, one for each of [`TaskGraph::device_columns`].
    PerDevice(Vec<u64>),
}

impl TaskCost {
    /// The work, or the mean of the durations rounded down, in nanoseconds; 0 when there is no column.
    #[must_use]
    pub fn mean_ns(&self) -> u64 {
        match self {
            TaskCost::Work(work_ns) => *work_ns,
            TaskCost::PerDevice(durations_ns) => {
                let total: u128 = durations_ns.iter().map(|duration_ns| u128::from(*duration_ns)).sum();
                let mean = total / (durations_ns.len().max(1) as u128);
                u64::try_from(mean).expect("a mean is not above the largest value")
            }
        }
    }
}

/// A piece of data: written once by its producer, or there from the start, and read by any number of tasks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DataItem {
    /// Its name, unique among the items and not empty.
    pub name: String,
    /// Its size in bytes; 0 is allowed.
    pub size_bytes: u64,
    /// The index of the task that makes it; `None`: an input of the graph.
    pub producer: Option<usize>,
}

#[cfg(test)]
mod tests;
