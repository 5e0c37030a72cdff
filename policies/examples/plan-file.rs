//! `plan-file`: how long a planner takes on a graph from a file, for comparisons with planners elsewhere
//! (`benches/peers`).
//!
//! The file is JSON: `work_ns` by task (its time at speed 1), `speeds` by device, `edges` as [first, second, bytes] and
//! `bytes_per_second` by ordered pair of devices. Devices have one slot and an agent each; there is no latency. Prints
//! the shortest run and the makespan as JSON.

#![expect(clippy::disallowed_methods, reason = "a benchmark reads the clock: that is what it is for")]

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use clap::Parser;
use isochrone_model::{BytesPerSecond, Span};
use isochrone_policies::planning::{Planner, Problem, ProblemBuilder};
use isochrone_policies::{Cpop, Heft, Peft};
use serde::Deserialize;

/// Times a planner.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    /// The graph and its devices
    file: PathBuf,

    /// heft, cpop or peft
    #[arg(long, default_value = "heft")]
    policy: String,

    /// Runs, of which the shortest counts
    #[arg(long, default_value_t = 5)]
    runs: u32,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    work_ns: Vec<u64>,
    speeds: Vec<u64>,
    edges: Vec<(usize, usize, u64)>,
    bytes_per_second: Vec<Vec<u64>>,
}

impl Case {
    fn problem(&self) -> Problem {
        let slots: Vec<(usize, usize)> = (0..self.speeds.len()).map(|place| (place, place)).collect();
        let mut builder = ProblemBuilder::new(&slots);
        for (from, rates) in self.bytes_per_second.iter().enumerate() {
            for (to, rate) in rates.iter().enumerate().filter(|(to, _)| *to != from) {
                builder.link(from, to, Span::ZERO, BytesPerSecond(*rate), Span::ZERO);
            }
        }
        for work in &self.work_ns {
            let executions: Vec<Span> = self.speeds.iter().map(|speed| Span(work / speed)).collect();
            builder.task(&executions);
        }
        for (first, second, size_bytes) in &self.edges {
            builder.edge(*first, *second, *size_bytes);
        }
        builder.build()
    }
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let planner: &dyn Planner = match arguments.policy.as_str() {
        "heft" => &Heft,
        "cpop" => &Cpop,
        "peft" => &Peft,
        other => anyhow::bail!("`{other}` is not heft, cpop or peft"),
    };
    let text = std::fs::read_to_string(&arguments.file)
        .with_context(|| format!("{} cannot be read", arguments.file.display()))?;
    let case: Case = serde_json::from_str(&text)
        .with_context(|| format!("{} is not such a file", arguments.file.display()))?;
    let problem = case.problem();
    let mut shortest = Duration::MAX;
    let mut schedule = planner.plan(&problem);
    for _ in 0..arguments.runs {
        let begun = Instant::now();
        schedule = planner.plan(&problem);
        shortest = shortest.min(begun.elapsed());
    }
    schedule.check(&problem).map_err(anyhow::Error::msg)?;
    let found = serde_json::json!({
        "shortest_seconds": shortest.as_secs_f64(),
        "makespan_ns": schedule.makespan().0,
    });
    println!("{found}");
    Ok(())
}
