//! `task-bench`: the patterns of Task Bench. In each step there is a row of points; a point depends on points of the
//! step before. Every task makes one output of `output_bytes`, which all that depend on it read.
//!
//! | Pattern | Point i of step t reads, of step t - 1 |
//! |---|---|
//! | `trivial` | nothing |
//! | `no_comm` | i |
//! | `stencil_1d` | i - 1, i, i + 1 |
//! | `dom` (the paper's sweep) | i - 1, i; live are min(width, t + 1, steps - t) points from max(0, t + width - steps) |
//! | `tree` | i / 2 rounded down; live are min(width, 2^t) points |
//! | `fft` | i, i - 2^k, i + 2^k, with n = log2 width rounded up and k = (t + n - 1) mod n |
//! | `all_to_all` | all |
//! | `nearest` | from i - radix / 2 to i + (radix - 1) / 2, rounded down |
//! | `spread` | (i + j width / radix rounded down + (t mod period where j > 0)) mod width, for j below radix |
//! | `random_nearest` | those of `nearest`, each with probability `fraction`, i always; again after `period` steps |
//!
//! All are clipped to live points.

use std::ops::Range;

use super::random::Random;
use super::sketch::{BETA, DEVICES, SEED, SPREAD_OF_KINDS, Sketch, WORK, real, whole};
use super::spec::{ParameterInfo, ParameterRange};
use super::{GenerateError, GeneratorInfo, GeneratorSpec};

/// The patterns by name; `sweep` is another name of `dom`.
const PATTERNS: &[&str] = &[
    "trivial",
    "no_comm",
    "stencil_1d",
    "dom",
    "sweep",
    "tree",
    "fft",
    "all_to_all",
    "nearest",
    "spread",
    "random_nearest",
];

pub(super) const INFO: GeneratorInfo = GeneratorInfo {
    name: "task-bench",
    summary: "the patterns of Task Bench: rows of points, each after points of the row before",
    source: "Slaughter et al. (2020), Task Bench: a parameterized benchmark for evaluating parallel runtime performance",
    parameters: &[
        ParameterInfo {
            name: "pattern",
            default: "stencil_1d",
            range: ParameterRange::Word(PATTERNS),
            meaning: "what a point reads",
        },
        whole("width", "16", 1, 10_000_000, "the points of a step"),
        whole("steps", "16", 1, 10_000_000, "the number of steps"),
        whole(
            "radix",
            "3",
            0,
            10_000_000,
            "the points that a point reads, for nearest, spread and random_nearest",
        ),
        whole("period", "3", 1, 10_000_000, "the steps after which spread and random_nearest come again"),
        real("fraction", "0.25", 0.0, 1.0, "how likely random_nearest keeps a point"),
        whole("output_bytes", "16", 0, 1_000_000_000_000_000, "the output of each task in bytes"),
        WORK,
        SPREAD_OF_KINDS,
        DEVICES,
        BETA,
        SEED,
    ],
    size,
    make,
};

/// A pattern with the parameters that belong to it.
enum Pattern {
    Trivial,
    NoComm,
    Stencil1d,
    Dom,
    Tree,
    Fft,
    AllToAll,
    Nearest,
    Spread,
    RandomNearest,
}

/// A row of points after another.
struct Shape {
    pattern: Pattern,
    width: u64,
    steps: u64,
    radix: u64,
    period: u64,
}

impl Shape {
    fn new(spec: &GeneratorSpec) -> Self {
        let pattern = match spec.word("pattern") {
            "trivial" => Pattern::Trivial,
            "no_comm" => Pattern::NoComm,
            "stencil_1d" => Pattern::Stencil1d,
            "dom" | "sweep" => Pattern::Dom,
            "tree" => Pattern::Tree,
            "fft" => Pattern::Fft,
            "all_to_all" => Pattern::AllToAll,
            "nearest" => Pattern::Nearest,
            "spread" => Pattern::Spread,
            "random_nearest" => Pattern::RandomNearest,
            other => unreachable!("`{other}` is no pattern"),
        };
        Shape {
            pattern,
            width: spec.whole("width"),
            steps: spec.whole("steps"),
            radix: spec.whole("radix"),
            period: spec.whole("period"),
        }
    }

    /// The live points of a step.
    fn live(&self, step: u64) -> Range<u64> {
        match self.pattern {
            Pattern::Dom => {
                let first = (step + self.width).saturating_sub(self.steps);
                first..first + self.width.min(step + 1).min(self.steps - step)
            }
            Pattern::Tree => 0..self.width.min(1 << step.min(62)),
            Pattern::Trivial
            | Pattern::NoComm
            | Pattern::Stencil1d
            | Pattern::Fft
            | Pattern::AllToAll
            | Pattern::Nearest
            | Pattern::Spread
            | Pattern::RandomNearest => 0..self.width,
        }
    }

    /// `nearest`'s points, clipped.
    fn window(&self, point: u64) -> Range<u64> {
        match self.radix {
            0 => 0..0,
            radix => point.saturating_sub(radix / 2)..(point + (radix - 1) / 2 + 1).min(self.width),
        }
    }

    /// What a point of a step after the first reads of the step before, upwards, each once. `kept` are those that
    /// `random_nearest` keeps.
    fn reads(&self, step: u64, point: u64, kept: &dyn Fn(u64) -> bool) -> Vec<u64> {
        let before = self.live(step - 1);
        let mut points: Vec<u64> = match self.pattern {
            Pattern::Trivial => Vec::new(),
            Pattern::NoComm => vec![point],
            Pattern::Stencil1d => (point.saturating_sub(1)..=point + 1).collect(),
            Pattern::Dom => (point.saturating_sub(1)..=point).collect(),
            Pattern::Tree => vec![point / 2],
            Pattern::Fft => {
                let stages = u64::from(self.width.next_power_of_two().ilog2()).max(1);
                let distance = 1 << ((step + stages - 1) % stages);
                let below = point.checked_sub(distance);
                below.into_iter().chain([point, point + distance]).collect()
            }
            Pattern::AllToAll => before.clone().collect(),
            Pattern::Nearest => self.window(point).collect(),
            Pattern::Spread => (0..self.radix)
                .map(|part| {
                    let turn = if part > 0 { step % self.period } else { 0 };
                    (point + part * self.width / self.radix + turn) % self.width
                })
                .collect(),
            Pattern::RandomNearest => {
                self.window(point).filter(|&other| other == point || kept(other)).collect()
            }
        };
        points.retain(|other| before.contains(other));
        points.sort_unstable();
        points.dedup();
        points
    }
}

/// The tasks are exact but for `dom` and `tree`, where they are a bound; the edges are a bound for all.
fn size(spec: &GeneratorSpec) -> (u128, u128) {
    let shape = Shape::new(spec);
    let (width, steps, radix) = (u128::from(shape.width), u128::from(shape.steps), u128::from(shape.radix));
    let reads = match shape.pattern {
        Pattern::Trivial => 0,
        Pattern::NoComm | Pattern::Tree => 1,
        Pattern::Dom => 2,
        Pattern::Stencil1d | Pattern::Fft => 3,
        Pattern::AllToAll => width,
        Pattern::Nearest | Pattern::Spread | Pattern::RandomNearest => radix.min(width),
    };
    (width * steps, width * (steps - 1) * reads)
}

fn make(spec: &GeneratorSpec, random: &mut Random) -> Result<Sketch, GenerateError> {
    let shape = Shape::new(spec);
    let (width, radix, period) = (shape.width, shape.radix, shape.period);
    if matches!(shape.pattern, Pattern::Spread)
        && (radix == 0 || radix > width || period > width.div_ceil(radix))
    {
        return Err(GenerateError::SpreadShape { width, radix, period });
    }
    // For each place in the period and each point, which points of its window are kept.
    let mut kept: Vec<Vec<bool>> = Vec::new();
    if matches!(shape.pattern, Pattern::RandomNearest) {
        let fraction = spec.real("fraction");
        for _ in 0..period.min(shape.steps) {
            for point in 0..width {
                kept.push(shape.window(point).map(|_| random.unit() < fraction).collect());
            }
        }
    }
    let mut sketch = Sketch::of_kernels();
    let mut first_before = 0;
    for step in 0..shape.steps {
        let live = shape.live(step);
        let mut first = None;
        for point in live {
            let task = sketch.task(format!("point_{step}_{point}"), "point", 1.0);
            first.get_or_insert(task);
            if step > 0 {
                let place = ((step % period) * width + point) as usize;
                let is_kept = |other: u64| kept[place][(other - shape.window(point).start) as usize];
                let offset = shape.live(step - 1).start;
                for other in shape.reads(step, point, &is_kept) {
                    sketch.edge(first_before + (other - offset) as usize, task);
                }
            }
            sketch.shared_output(task);
        }
        first_before = first.expect("every step has a point");
    }
    Ok(sketch)
}
