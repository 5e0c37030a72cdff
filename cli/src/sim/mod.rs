//! `isochrone sim`: policies compared on the scheduler's own code, in virtual time.
//!
//! Must never hold what the simulator could: here is only printing, and the host's clock, which `sim` does not read.

mod adversary;
pub mod arguments;
mod convert;
mod explain;
mod optimal;
mod replay;
mod run;
mod study;

use std::path::Path;

use anyhow::{Context, anyhow};
use isochrone_model::Span;
use isochrone_sim::cluster::Cluster;
use isochrone_sim::simulation::Knowledge;
use isochrone_sim::sources::{self, GraphSource, SourceError};
use isochrone_workload::task_graph::{ReadOptions, UnsaidOption};

use crate::clock::now;
use arguments::{RunChoice, SimArguments, SimCommand};

/// Does what was asked for.
pub fn sim(arguments: &SimArguments) -> anyhow::Result<()> {
    match &arguments.command {
        SimCommand::Run(arguments) => run::run(arguments),
        SimCommand::Convert(arguments) => convert::convert(arguments),
        SimCommand::Optimal(arguments) => optimal::optimal(arguments),
        SimCommand::Explain(arguments) => explain::explain(arguments),
        SimCommand::Replay(arguments) => replay::replay(arguments),
        SimCommand::Study(arguments) => study::study(arguments),
        SimCommand::Merge(arguments) => study::merge(arguments),
        SimCommand::Adversary(arguments) => adversary::adversary(arguments),
    }
}

/// What a choice stands for.
struct Chosen {
    source: GraphSource,
    cluster: Cluster,
    knowledge: Knowledge,
}

impl Chosen {
    fn new(choice: &RunChoice) -> anyhow::Result<Self> {
        let options = read_options(choice.duration_unsaid, choice.bytes_unsaid);
        let (source, cluster) = sources_of(&choice.graph, &choice.cluster, &options)?;
        Ok(Self { source, cluster, knowledge: choice.knowledge.parse()? })
    }
}

fn read_options(duration_unsaid_ns: Option<u64>, item_bytes_unsaid: Option<u64>) -> ReadOptions {
    ReadOptions { duration_unsaid_ns, item_bytes_unsaid, ..ReadOptions::default() }
}

fn sources_of(graph: &str, cluster: &str, options: &ReadOptions) -> anyhow::Result<(GraphSource, Cluster)> {
    let here = Path::new("");
    Ok((sources::graph(graph, here, options).map_err(hinted)?, sources::cluster(cluster, here)?))
}

/// An error with the option of the command line that helps.
fn hinted(error: SourceError) -> anyhow::Error {
    match &error {
        SourceError::Unsaid { option: UnsaidOption::DurationNs, .. } => {
            anyhow!("{error}: --duration-unsaid NANOSECONDS")
        }
        SourceError::Unsaid { option: UnsaidOption::ItemBytes, .. } => {
            anyhow!("{error}: --bytes-unsaid BYTES")
        }
        SourceError::NoFile { .. }
        | SourceError::Graph { .. }
        | SourceError::Read(_)
        | SourceError::Generate { .. }
        | SourceError::Cluster { .. } => error.into(),
    }
}

/// The host's clock from now on.
fn clock() -> impl Fn() -> Span + Sync {
    let begun = now();
    move || Span(u64::try_from(begun.elapsed().as_nanos()).unwrap_or(u64::MAX))
}

fn write(path: &Path, text: &str) -> anyhow::Result<()> {
    std::fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
}
