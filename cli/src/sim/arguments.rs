//! The command line of `isochrone sim`.
//!
//! Must never hold what a command does.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use isochrone_sim::study::Shard;

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
    /// Search for the shortest schedule of a graph, and prove that there is none shorter
    Optimal(SimOptimalArguments),
    /// Tell why one task of a run is placed where it is, and what came of it
    Explain(SimExplainArguments),
    /// Tell what other policies would have done with a recorded live run
    Replay(SimReplayArguments),
    /// Run a study: a grid of graphs, clusters, networks, policies, knowledge and seeds; writes tables and a report
    Study(SimStudyArguments),
    /// Join the shards of a study
    Merge(SimMergeArguments),
    /// Write a graph in another format
    Convert(SimConvertArguments),
    /// Search for the instance on which one policy loses most to another
    Adversary(SimAdversaryArguments),
}

/// What to run, on what, and how.
#[derive(Clone, Debug, Args)]
pub struct RunChoice {
    /// A graph file (JSON, WfCommons, DAX, STG, DOT) or a generator such as 'cholesky(tiles=8,ccr=0.5,seed=3)'
    #[arg(long, value_name = "GRAPH")]
    pub graph: String,

    /// A cluster file, or a short form such as 'uniform(agents=4,latency_us=500)' or 'preset(campus,agents=8)'
    #[arg(long, value_name = "CLUSTER")]
    pub cluster: String,

    /// The network model: classic (as in papers), shared, or quic (for forecasts)
    #[arg(long, value_name = "MODEL", default_value = "classic")]
    pub network: String,

    /// What the scheduler knows beforehand: exact, 'noisy(percent=30)', mean or blind
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
Examples, from the repository's root:
  isochrone sim run --graph 'cholesky(tiles=8)' --cluster 'uniform(agents=4,latency_us=500)' --policy latency-eft
  isochrone sim run --graph workload/samples/mosaic.wfcommons-1.5.json --cluster sim/clusters/two-sites-continent.toml \\
      --policy heft --network quic --gantt run.svg --trace run.json

run.svg opens in a browser, run.json in ui.perfetto.dev. docs/studies.md says more, docs/run-report.schema.json what --json
prints.";

/// `isochrone sim run`
#[derive(Debug, Args)]
#[command(after_help = RUN_EXAMPLES)]
pub struct SimRunArguments {
    /// What to run, on what, and how.
    #[command(flatten)]
    pub choice: RunChoice,

    /// The policy: a label such as heft or 'random(seed=7)'
    #[arg(long, value_name = "LABEL")]
    pub policy: String,

    /// How many commands the client has open at most; it sends more when half of them have ended
    #[arg(long, value_name = "NUMBER", default_value_t = 4_000_000)]
    pub commands_open: usize,

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

const OPTIMAL_EXAMPLES: &str = "\
Examples:
  isochrone sim optimal --graph gaussian-elimination(order=5,seed=1) --cluster uniform(agents=3,speeds=1:2:4)
  isochrone sim optimal --graph workflow.json --cluster farm.toml --seconds 600 --schedule best.json
  isochrone sim run --graph workflow.json --cluster farm.toml --policy fixed(file=best.json) --gantt best.svg

When the search ends without a proof it says how far from the optimum the best schedule may be, and fails.";

/// `isochrone sim optimal`
#[derive(Debug, Args)]
#[command(after_help = OPTIMAL_EXAMPLES)]
pub struct SimOptimalArguments {
    /// A graph file (JSON, WfCommons, DAX, STG, DOT) or a generator such as cholesky(tiles=3,ccr=0.5,seed=3)
    #[arg(long, value_name = "GRAPH")]
    pub graph: String,

    /// A cluster file, or a short form such as uniform(agents=4,latency_us=500); the network model is classic
    #[arg(long, value_name = "CLUSTER")]
    pub cluster: String,

    /// End the search after this time
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    pub seconds: u64,

    /// End the search after so many steps, which gives the same on every machine
    #[arg(long, value_name = "COUNT")]
    pub nodes: Option<u64>,

    /// Print one document of JSON
    #[arg(long)]
    pub json: bool,

    /// Write the best schedule, for the policy fixed(file=FILE)
    #[arg(long, value_name = "FILE")]
    pub schedule: Option<PathBuf>,

    /// The duration, in nanoseconds of work, of tasks whose duration the file does not say
    #[arg(long, value_name = "NANOSECONDS")]
    pub duration_unsaid: Option<u64>,

    /// The size of files whose size the graph does not say
    #[arg(long, value_name = "BYTES")]
    pub bytes_unsaid: Option<u64>,
}

/// `isochrone sim explain`
#[derive(Debug, Args)]
pub struct SimExplainArguments {
    /// What to run, on what, and how.
    #[command(flatten)]
    pub choice: RunChoice,

    /// The policy: a label such as heft or 'random(seed=7)'
    #[arg(long, value_name = "LABEL")]
    pub policy: String,

    /// The task's name in the graph
    #[arg(long, value_name = "NAME")]
    pub task: String,

    /// Print one document of JSON
    #[arg(long)]
    pub json: bool,
}

const REPLAY_EXAMPLES: &str = "\
Examples:
  isochrone scheduler --journal run.journal ...       then run graphs, and stop the farm
  isochrone sim replay run.journal --policy heft --policy eager

The recorded policy is simulated too: its ratio to the recorded time says how far to trust the others.";

/// `isochrone sim replay`
#[derive(Debug, Args)]
#[command(after_help = REPLAY_EXAMPLES)]
pub struct SimReplayArguments {
    /// The journal of a scheduler
    #[arg(value_name = "JOURNAL")]
    pub journal: PathBuf,

    /// A policy that takes the place of the recorded one; may be repeated
    #[arg(long, value_name = "LABEL", required = true)]
    pub policy: Vec<String>,

    /// The network model's label; links have the latencies and rates that the journal tells
    #[arg(long, value_name = "MODEL", default_value = "quic(warm=all)")]
    pub network: String,

    /// What latencies and losses are drawn from; runs of one seed are equal
    #[arg(long, value_name = "SEED", default_value_t = 0)]
    pub seed: u64,

    /// Print one document of JSON
    #[arg(long)]
    pub json: bool,
}

const STUDY_EXAMPLES: &str = "\
Examples:
  isochrone sim study sim/studies/quick.toml --output quick          then open quick/report.html
  isochrone sim study STUDY.toml --resume                            go on after Ctrl-C
  isochrone sim study STUDY.toml --shard 3/8 --output shard-3        one of eight parts
  isochrone sim merge shard-* --output whole                         the parts together

docs/studies.md says how to write a study, and how to run its shards on many machines.";

/// `isochrone sim study`
#[derive(Debug, Args)]
#[command(after_help = STUDY_EXAMPLES)]
pub struct SimStudyArguments {
    /// The study
    #[arg(value_name = "STUDY.toml")]
    pub study: PathBuf,

    /// Run only every N-th instance from the I-th on
    #[arg(long, value_name = "I/N", value_parser = shard)]
    pub shard: Option<Shard>,

    /// Go on with the results that are there
    #[arg(long)]
    pub resume: bool,

    /// Where results go [default: the study's file without .toml, in the current folder]
    #[arg(long, value_name = "DIR")]
    pub output: Option<PathBuf>,

    /// Threads [default: one for each core]
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u16).range(1..=4_096))]
    pub threads: Option<u16>,
}

/// `isochrone sim merge`
#[derive(Debug, Args)]
pub struct SimMergeArguments {
    /// Folders of shards
    #[arg(value_name = "DIR", required = true)]
    pub folders: Vec<PathBuf>,

    /// Where the whole goes
    #[arg(long, value_name = "DIR")]
    pub output: PathBuf,
}

const CONVERT_EXAMPLES: &str = "\
Examples:
  isochrone sim convert workflow.dax workflow.dot
  isochrone sim convert 'cholesky(tiles=8,seed=3)' cholesky.wfcommons.json
  isochrone sim convert workload/samples/mosaic.wfcommons-1.5.json mosaic.stg --lossy

docs/studies.md says what each format can hold.";

/// `isochrone sim convert`
#[derive(Debug, Args)]
#[command(after_help = CONVERT_EXAMPLES)]
pub struct SimConvertArguments {
    /// A graph file (JSON, WfCommons, DAX, STG, DOT) or a generator such as 'cholesky(tiles=8,ccr=0.5,seed=3)'
    #[arg(value_name = "IN")]
    pub graph: String,

    /// The file to write; its ending says the format: .json, .wfcommons.json, .dax, .xml, .stg, .dot, .gv
    #[arg(value_name = "OUT")]
    pub output: PathBuf,

    /// The format to write, whatever the ending: isochrone-task-graph, wfcommons, dax, stg or dot
    #[arg(long, value_name = "FORMAT")]
    pub to: Option<String>,

    /// The format that is read, whatever the ending
    #[arg(long, value_name = "FORMAT")]
    pub from: Option<String>,

    /// Write the graph though the format cannot say all of it, and list what got lost
    #[arg(long)]
    pub lossy: bool,

    /// Print one document of JSON
    #[arg(long)]
    pub json: bool,

    /// The duration, in nanoseconds of work, of tasks whose duration the file does not say
    #[arg(long, value_name = "NANOSECONDS")]
    pub duration_unsaid: Option<u64>,

    /// The size of files whose size the graph does not say
    #[arg(long, value_name = "BYTES")]
    pub bytes_unsaid: Option<u64>,

    /// What goes along each edge of which the file says no size (STG without communication costs, DOT); nothing by default
    #[arg(long, value_name = "BYTES")]
    pub edge_bytes_unsaid: Option<u64>,
}

const ADVERSARY_EXAMPLES: &str = "\
Examples:
  isochrone sim adversary --worse heft --than cpop --seed 1
  isochrone sim adversary --worse eager --than 'heft(latency=ignored)' --network shared --output worst

and what it found, as it was run:
  isochrone sim run --graph worst/graph.json --cluster worst/cluster.toml --network shared --policy eager --seed 1 \\
      --gantt worst.svg";

/// `isochrone sim adversary`
#[derive(Debug, Args)]
#[command(after_help = ADVERSARY_EXAMPLES)]
pub struct SimAdversaryArguments {
    /// The policy that is to lose
    #[arg(long, value_name = "LABEL")]
    pub worse: String,

    /// The policy that it is to lose to
    #[arg(long, value_name = "LABEL")]
    pub than: String,

    /// The network model's label
    #[arg(long, value_name = "MODEL", default_value = "classic")]
    pub network: String,

    /// Changes that are tried
    #[arg(long, value_name = "COUNT", default_value_t = 5_000)]
    pub steps: u64,

    /// Decides the search
    #[arg(long, value_name = "NUMBER", default_value_t = 1)]
    pub seed: u64,

    /// Tasks of the instance
    #[arg(long, value_name = "COUNT", default_value_t = 8, value_parser = clap::value_parser!(u16).range(2..=200))]
    pub tasks: u16,

    /// Agents of the instance, with a device each
    #[arg(long, value_name = "COUNT", default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..=64))]
    pub agents: u16,

    /// Write the instance: graph.json and cluster.toml
    #[arg(long, value_name = "DIR")]
    pub output: Option<PathBuf>,

    /// Print one document of JSON
    #[arg(long)]
    pub json: bool,
}

fn shard(text: &str) -> Result<Shard, String> {
    let parsed = text.split_once('/').and_then(|(number, of)| {
        let (number, of) = (number.parse().ok()?, of.parse().ok()?);
        (number >= 1 && number <= of).then_some(Shard { number, of })
    });
    parsed.ok_or_else(|| "a shard is I/N with I from 1 to N".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shards_count_from_one() {
        assert_eq!(shard("1/3"), Ok(Shard { number: 1, of: 3 }));
        for wrong in ["0/3", "4/3", "1", "a/b", "1/0"] {
            assert!(shard(wrong).is_err(), "{wrong}");
        }
    }
}
