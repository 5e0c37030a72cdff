//! The command line of `isochrone sim`.
//!
//! Must never hold what a command does.

use std::path::PathBuf;

use clap::{Args, Subcommand};

/// `isochrone sim`
#[derive(Debug, Args)]
pub struct SimArguments {
    /// What to do.
    #[command(subcommand)]
    pub command: SimCommand,
}

/// What to simulate.
#[derive(Debug, Subcommand)]
pub enum SimCommand {
    /// Run one graph on one simulated cluster under one policy
    Run(SimRunArguments),
    /// Tell why one task of a run is placed where it is, and what came of it
    Explain(SimExplainArguments),
}

/// What to run, on what, and how.
#[derive(Clone, Debug, Args)]
pub struct RunChoice {
    /// A graph file (JSON, WfCommons, DAX, STG, DOT) or a generator such as cholesky(tiles=8,ccr=0.5,seed=3)
    #[arg(long, value_name = "GRAPH")]
    pub graph: String,

    /// A cluster file, or a short form such as uniform(agents=4,latency_us=500) or preset(campus,agents=8)
    #[arg(long, value_name = "CLUSTER")]
    pub cluster: String,

    /// The network model's label
    #[arg(long, value_name = "MODEL", default_value = "classic")]
    pub network: String,

    /// What the scheduler knows beforehand: exact, noisy(percent=30), mean or blind
    #[arg(long, value_name = "KNOWLEDGE", default_value = "exact")]
    pub knowledge: String,

    /// Decides everything that is random
    #[arg(long, value_name = "NUMBER", default_value_t = 0)]
    pub seed: u64,

    /// The duration, in nanoseconds of work, of tasks whose duration the file does not say
    #[arg(long, value_name = "NANOSECONDS")]
    pub duration_unsaid: Option<u64>,

    /// The size of files whose size the graph does not say
    #[arg(long, value_name = "BYTES")]
    pub bytes_unsaid: Option<u64>,
}

const RUN_EXAMPLES: &str = "\
Examples:
  isochrone sim run --graph cholesky(tiles=8) --cluster uniform(agents=4,latency_us=500) --policy latency-eft
  isochrone sim run --graph workflow.json --cluster farm.toml --policy heft --network shared --gantt run.svg
  isochrone sim run --graph workflow.json --cluster farm.toml --policy heft --trace run.json   (ui.perfetto.dev)

(In a shell, put what has parentheses in quotes. docs/studies.md says more, docs/run-report.schema.json what --json prints.)";

/// `isochrone sim run`
#[derive(Debug, Args)]
#[command(after_help = RUN_EXAMPLES)]
pub struct SimRunArguments {
    /// What to run, on what, and how.
    #[command(flatten)]
    pub choice: RunChoice,

    /// The policy: a label such as heft or random(seed=7)
    #[arg(long, value_name = "LABEL")]
    pub policy: String,

    /// Print one document of JSON
    #[arg(long)]
    pub json: bool,

    /// Write a trace for Perfetto or chrome://tracing
    #[arg(long, value_name = "FILE")]
    pub trace: Option<PathBuf>,

    /// Write a Gantt chart
    #[arg(long, value_name = "FILE.svg")]
    pub gantt: Option<PathBuf>,
}

/// `isochrone sim explain`
#[derive(Debug, Args)]
pub struct SimExplainArguments {
    /// What to run, on what, and how.
    #[command(flatten)]
    pub choice: RunChoice,

    /// The policy: a label such as heft or random(seed=7)
    #[arg(long, value_name = "LABEL")]
    pub policy: String,

    /// The task's name in the graph
    #[arg(long, value_name = "NAME")]
    pub task: String,

    /// Print one document of JSON
    #[arg(long)]
    pub json: bool,
}
