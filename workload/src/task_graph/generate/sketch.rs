//! A graph in relative numbers, and how it gets its times and sizes. Must never hold a family.

use std::collections::HashMap;

use super::GenerateError;
use super::random::Random;
use super::spec::{GeneratorSpec, ParameterInfo, ParameterRange};
use crate::task_graph::{DataItem, GraphTask, TaskCost, TaskGraph};

/// An item of relative size 1 before it is scaled, in bytes: large, so that rounding is small.
const UNIT_BYTES: f64 = 1_000_000.0;

/// A whole number as a parameter.
pub(super) const fn whole(
    name: &'static str,
    default: &'static str,
    min: u64,
    max: u64,
    meaning: &'static str,
) -> ParameterInfo {
    ParameterInfo { name, default, range: ParameterRange::Whole { min, max }, meaning }
}

/// A number as a parameter.
pub(super) const fn real(
    name: &'static str,
    default: &'static str,
    min: f64,
    max: f64,
    meaning: &'static str,
) -> ParameterInfo {
    ParameterInfo { name, default, range: ParameterRange::Real { min, max }, meaning }
}

/// `work`, of all generators.
pub(super) const WORK: ParameterInfo =
    whole("work", "1000000", 1, 1_000_000_000_000_000, "mean work of a task in nanoseconds");
/// `ccr`, of generators whose data are not given in bytes.
pub(super) const CCR: ParameterInfo = real(
    "ccr",
    "1",
    0.0,
    1e6,
    "mean time that the data between two tasks takes over mean duration of a task; without data it has no effect",
);
/// `bandwidth`, for `ccr`.
pub(super) const BANDWIDTH: ParameterInfo = whole(
    "bandwidth",
    "1000000000",
    1,
    1_000_000_000_000_000,
    "the bandwidth at which ccr holds, in bytes per second",
);
/// `spread` where tasks are alike by nature.
pub(super) const SPREAD: ParameterInfo = real(
    "spread",
    "0",
    0.0,
    1.0,
    "work and sizes are drawn from 1-spread to 1+spread times their mean; above 0 each task is of a kind of its own",
);
/// `spread` where every task is of a kind of its own by nature.
pub(super) const SPREAD_OF_ALL: ParameterInfo =
    real("spread", "1", 0.0, 1.0, "work and sizes are drawn from 1-spread to 1+spread times their mean");
/// `spread` where tasks of one kind are the same kernel.
pub(super) const SPREAD_OF_KINDS: ParameterInfo =
    real("spread", "0", 0.0, 1.0, "the work of each kind is drawn from 1-spread to 1+spread times its mean");
/// `devices`, of all generators.
pub(super) const DEVICES: ParameterInfo =
    whole("devices", "0", 0, 10_000, "device columns; 0 gives abstract work instead of durations");
/// `beta`, of all generators.
pub(super) const BETA: ParameterInfo = real(
    "beta",
    "0",
    0.0,
    2.0,
    "heterogeneity: durations are drawn for each kind and device from 1-beta/2 to 1+beta/2 times the work",
);
/// `seed`, of all generators.
pub(super) const SEED: ParameterInfo = whole("seed", "0", 0, u64::MAX, "where the random numbers start");

/// A graph whose work and sizes are relative.
#[derive(Default)]
pub(super) struct Sketch {
    graph: TaskGraph,
    /// The relative work of each task.
    weights: Vec<f64>,
    /// The relative size of each item.
    sizes: Vec<f64>,
    /// Whether tasks of one kind are the same kernel, and stay so whatever is drawn.
    pub has_kernels: bool,
}

impl Sketch {
    /// A sketch whose kinds are kernels.
    pub fn of_kernels() -> Self {
        Sketch { has_kernels: true, ..Sketch::default() }
    }

    /// Adds a task of relative work.
    pub fn task(&mut self, name: String, kind: &str, weight: f64) -> usize {
        self.graph.tasks.push(GraphTask {
            name,
            kind: kind.to_owned(),
            cost: TaskCost::Work(0),
            memory_bytes: 0,
            inputs: Vec::new(),
            outputs: Vec::new(),
            after: Vec::new(),
        });
        self.weights.push(weight);
        self.graph.tasks.len() - 1
    }

    /// Adds an input of the graph of relative size.
    pub fn input(&mut self, name: String, size: f64) -> usize {
        self.graph.items.push(DataItem { name, size_bytes: 0, producer: None });
        self.sizes.push(size);
        self.graph.items.len() - 1
    }

    /// Adds what a task makes, of relative size, for any number of readers.
    pub fn output(&mut self, task: usize, name: String, size: f64) -> usize {
        let item = self.input(name, size);
        self.graph.items[item].producer = Some(task);
        self.graph.tasks[task].outputs.push(item);
        item
    }

    /// The only output of a task, made with relative size 1 when it has none yet.
    pub fn shared_output(&mut self, task: usize) -> usize {
        match self.graph.tasks[task].outputs.first() {
            Some(&item) => item,
            None => self.output(task, format!("{}:out", self.graph.tasks[task].name), 1.0),
        }
    }

    /// The task reads the item.
    pub fn reads(&mut self, task: usize, item: usize) {
        self.graph.tasks[task].inputs.push(item);
    }

    /// `to` reads the shared output of `from`.
    pub fn edge(&mut self, from: usize, to: usize) {
        let item = self.shared_output(from);
        self.reads(to, item);
    }

    /// `to` reads something of relative size that `from` makes for it alone.
    pub fn own_edge(&mut self, from: usize, to: usize, size: f64) {
        let name = format!("{}:{}", self.graph.tasks[from].name, self.graph.tasks[to].name);
        let item = self.output(from, name, size);
        self.reads(to, item);
    }

    /// Gives tasks and items their times and sizes by the parameters that all generators share.
    pub fn finish(mut self, spec: &GeneratorSpec, random: &mut Random) -> Result<TaskGraph, GenerateError> {
        let (devices, beta) = (spec.count("devices"), spec.real("beta"));
        if beta > 0.0 && devices == 0 {
            return Err(GenerateError::BetaWithoutDevices { beta });
        }
        let spread = spec.real("spread");
        self.graph.name = spec.to_string();
        self.graph.device_columns = (1..=devices).map(|device| format!("D{device}")).collect();
        if spread > 0.0 && !self.has_kernels {
            for (task, weight) in self.graph.tasks.iter_mut().zip(&mut self.weights) {
                task.kind.clone_from(&task.name);
                *weight *= random.around_one(spread);
            }
            self.sizes.iter_mut().for_each(|size| *size *= random.around_one(spread));
        }
        let mean = match spread > 0.0 && !self.has_kernels {
            // Spread about the mean, so that the mean asked for is that of the distribution.
            true => 1.0,
            false => self.weights.iter().sum::<f64>() / self.weights.len().max(1) as f64,
        };
        let kind_spread = if self.has_kernels { spread } else { 0.0 };
        self.draw_durations(spec.whole("work") as f64 / mean, kind_spread, beta, random);
        let fixed_bytes = spec.has("output_bytes").then(|| spec.whole("output_bytes"));
        for (item, size) in self.graph.items.iter_mut().zip(&self.sizes) {
            item.size_bytes = fixed_bytes.unwrap_or_else(|| (size * UNIT_BYTES).round() as u64);
        }
        if spec.has("ccr") && self.graph.communication().1 > 0 {
            self.graph
                .scale_ccr(spec.real("ccr"), spec.whole("bandwidth"))
                .map_err(|source| GenerateError::Scale { source })?;
        }
        Ok(self.graph)
    }

    /// Draws a factor for each kind in the order of the file, and one for each of its devices.
    fn draw_durations(&mut self, unit_ns: f64, kind_spread: f64, beta: f64, random: &mut Random) {
        let devices = self.graph.device_columns.len();
        let mut factors: HashMap<String, (f64, Vec<f64>)> = HashMap::new();
        for (task, weight) in self.graph.tasks.iter_mut().zip(&self.weights) {
            if !factors.contains_key(&task.kind) {
                let own = if kind_spread > 0.0 { random.around_one(kind_spread) } else { 1.0 };
                let columns = (0..devices).map(|_| random.around_one(beta / 2.0)).collect();
                factors.insert(task.kind.clone(), (own, columns));
            }
            let (own, columns) = &factors[&task.kind];
            let work_ns = weight * unit_ns * own;
            // A duration of nothing would leave a task out of every ratio; a nanosecond is as good.
            let rounded = |duration_ns: f64| (duration_ns.round() as u64).max(1);
            task.cost = if devices == 0 {
                TaskCost::Work(rounded(work_ns))
            } else {
                TaskCost::PerDevice(columns.iter().map(|factor| rounded(work_ns * factor)).collect())
            };
        }
    }
}
