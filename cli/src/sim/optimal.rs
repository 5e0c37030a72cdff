//! `isochrone sim optimal`: the shortest schedule of a graph, with proof, or how far the best one found may be from it.
//!
//! Must never hold the search: here is the clock that ends it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::bail;
use isochrone_model::Span;
use isochrone_policies::placement_file;
use isochrone_policies::planning::optimal::{OptimalOutcome, OptimalSearch, SearchState};
use isochrone_policies::planning::{Assignment, Problem};
use isochrone_sim::network::network;
use isochrone_sim::plot::{fixed, span};
use isochrone_sim::run_report::device_name;
use isochrone_sim::simulation::problem;
use isochrone_workload::task_graph::TaskGraph;
use serde::Serialize;

use super::arguments::SimOptimalArguments;
use super::{clock, read_options, sources_of, write};
use crate::{output, signals};

/// The only model in which a plan's times are those of the run, which a proof needs.
const NETWORK: &str = "classic";
/// Between two looks at the clock.
const PIECE: Span = Span::from_millis(20);

/// Why a search ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum End {
    Proven,
    Time,
    Nodes,
    Memory,
    Interrupted,
    /// Proven but for inputs that several agents read: these travel by way of their first reader, which the bound leaves out.
    Inputs,
}

/// What `--json` prints.
#[derive(Debug, Serialize)]
struct Report<'a> {
    graph: &'a str,
    cluster: &'a str,
    network: &'static str,
    tasks: usize,
    slots: usize,
    makespan_ns: u64,
    lower_bound_ns: u64,
    proven: bool,
    gap_percent: f64,
    end: End,
    nodes: u64,
    search_time_ns: u64,
    schedule: Vec<Scheduled<'a>>,
}

#[derive(Debug, Serialize)]
struct Scheduled<'a> {
    task: &'a str,
    device: String,
    slot: u32,
    start_ns: u64,
    finish_ns: u64,
}

/// Searches, tells, and fails when there is no proof.
pub fn optimal(arguments: &SimOptimalArguments) -> anyhow::Result<()> {
    let options = read_options(arguments.duration_unsaid, arguments.bytes_unsaid);
    let (source, cluster) = sources_of(&arguments.graph, &arguments.cluster, &options)?;
    let model = network(NETWORK, &cluster, 0)?;
    let problem = problem(&source.graph, &cluster, model.as_ref());
    let clock = clock();
    let is_stopped = stopped_by_signal()?;
    let mut search = OptimalSearch::new(&problem);
    refuse_unplaceable(&source.graph, &problem, &search.outcome())?;
    let mut end = search_until(arguments, &mut search, &clock, &is_stopped);
    output::clear_progress();
    let mut outcome = search.outcome();
    // Contents of the client go by the agent of their first reader, which is no earlier than the search counted on.
    outcome.schedule = outcome.schedule.settled(&problem);
    outcome.proven &= outcome.schedule.makespan() <= outcome.lower_bound;
    if end == End::Proven && !outcome.proven {
        end = End::Inputs;
    }
    if let Some(path) = &arguments.schedule {
        write(path, &placement_file(&problem, &outcome.schedule))?;
    }
    let gap_percent = outcome.gap_millionths() as f64 / 10_000.0;
    let name = |task: usize| source.graph.tasks[task].name.as_str();
    let scheduled = |(task, assignment): (usize, &Assignment)| Scheduled {
        task: name(task),
        device: device_name(&cluster, problem.device_of(assignment.slot)),
        slot: problem.name(assignment.slot).slot,
        start_ns: assignment.start.0,
        finish_ns: assignment.finish.0,
    };
    let assignments = outcome.schedule.assignments.iter().enumerate();
    let report = Report {
        graph: &arguments.graph,
        cluster: &arguments.cluster,
        network: NETWORK,
        tasks: problem.tasks(),
        slots: problem.slots(),
        makespan_ns: outcome.schedule.makespan().0,
        lower_bound_ns: outcome.lower_bound.0,
        proven: outcome.proven,
        gap_percent,
        end,
        nodes: outcome.nodes,
        search_time_ns: clock().0,
        schedule: assignments.filter_map(|(task, at)| Some((task, at.as_ref()?))).map(scheduled).collect(),
    };
    if arguments.json {
        output::json(&report)?;
    } else {
        output::print(&told(&report, &source.assumptions));
    }
    if report.proven { Ok(()) } else { bail!(refusal(arguments, &report)) }
}

/// Set by the first signal that asks for an end; the second ends the process.
fn stopped_by_signal() -> anyhow::Result<Arc<AtomicBool>> {
    let is_stopped = Arc::new(AtomicBool::new(false));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let set = Arc::clone(&is_stopped);
    // Handlers are in place before the search begins.
    let asked = {
        let _entered = runtime.enter();
        signals::asked_to_stop()
    };
    std::thread::spawn(move || {
        runtime.block_on(async {
            if asked.await.is_ok() {
                set.store(true, Ordering::Relaxed);
                // The second signal is waited for as long as the process lives.
                std::future::pending::<()>().await;
            }
        });
    });
    Ok(is_stopped)
}

fn refuse_unplaceable(graph: &TaskGraph, problem: &Problem, outcome: &OptimalOutcome) -> anyhow::Result<()> {
    let without = |task: &usize| problem.legal_slots(*task).next().is_none();
    if let Some(task) = (0..problem.tasks()).find(without) {
        bail!(
            "task `{}` has no device that may run it, for its type or its memory: change the cluster's devices or the graph",
            graph.tasks[task].name
        );
    }
    let unassigned = outcome.schedule.assignments.iter().position(Option::is_none);
    match unassigned {
        None => Ok(()),
        Some(task) => bail!("task `{}` could not be placed", graph.tasks[task].name),
    }
}

fn search_until(
    arguments: &SimOptimalArguments,
    search: &mut OptimalSearch<'_>,
    clock: &impl Fn() -> Span,
    is_stopped: &AtomicBool,
) -> End {
    let limit = Span::from_millis(arguments.seconds.saturating_mul(1_000));
    let (mut piece, mut looked_into, mut shown_at) = (1_u64, 0_u64, Span::ZERO);
    loop {
        let begun = clock();
        if is_stopped.load(Ordering::Relaxed) {
            return End::Interrupted;
        }
        if begun >= limit {
            return if search.advance(0) == SearchState::Over { End::Proven } else { End::Time };
        }
        let nodes = arguments.nodes.map_or(piece, |nodes| piece.min(nodes - looked_into));
        match search.advance(nodes) {
            SearchState::Over => return End::Proven,
            SearchState::Full => return End::Memory,
            SearchState::Open => looked_into += nodes,
        }
        if arguments.nodes == Some(looked_into) {
            return End::Nodes;
        }
        let now = clock();
        let took = now.saturating_sub(begun);
        piece = if took < PIECE { piece.saturating_mul(2) } else { (piece / 2).max(1) };
        if now.saturating_sub(shown_at) >= Span::from_millis(200) {
            shown_at = now;
            show(&search.outcome(), limit.saturating_sub(now));
        }
    }
}

fn show(outcome: &OptimalOutcome, left: Span) {
    output::progress(&format!(
        "{} steps looked into: {} found, none below {}, a gap of {} %; {} s left at most, Ctrl-C ends it with what is found",
        outcome.nodes,
        span(outcome.schedule.makespan()),
        span(outcome.lower_bound),
        percent(outcome.gap_millionths() as f64 / 10_000.0),
        left.0.div_ceil(1_000_000_000),
    ));
}

/// Small gaps are told too.
fn percent(gap: f64) -> String {
    fixed(gap, if gap < 0.1 { 4 } else { 2 })
}

fn told(report: &Report<'_>, assumptions: &[String]) -> String {
    let proof = if report.proven { "yes: no schedule is shorter" } else { "no" };
    let rows = [
        ["graph", report.graph].map(str::to_owned),
        ["cluster", report.cluster].map(str::to_owned),
        ["tasks, slots".to_owned(), format!("{}, {}", report.tasks, report.slots)],
        ["makespan".to_owned(), span(Span(report.makespan_ns))],
        ["lower bound".to_owned(), span(Span(report.lower_bound_ns))],
        ["gap".to_owned(), format!("{} %", percent(report.gap_percent))],
        ["proven".to_owned(), proof.to_owned()],
        ["steps looked into".to_owned(), report.nodes.to_string()],
        ["search time".to_owned(), span(Span(report.search_time_ns))],
    ];
    let width = rows.iter().map(|[name, _]| name.len()).max().unwrap_or(0);
    let mut text: String = rows.iter().map(|[name, value]| format!("{name:<width$}  {value}\n")).collect();
    for assumption in assumptions {
        text.push_str(&format!("assumed: {assumption}\n"));
    }
    text
}

/// What ended the search, where it stood, and what to do.
fn refusal(arguments: &SimOptimalArguments, report: &Report<'_>) -> String {
    let (ended, advice) = match report.end {
        End::Time => (
            format!("within {} s", arguments.seconds),
            "give it more time with --seconds, or take a smaller graph or fewer devices",
        ),
        End::Proven => (String::new(), ""),
        End::Nodes => (
            format!("within {} steps", report.nodes),
            "allow more with --nodes, or take a smaller graph or fewer devices",
        ),
        End::Memory => {
            ("within the memory that it may take".to_owned(), "take a smaller graph or fewer devices")
        }
        End::Interrupted => ("before it was interrupted".to_owned(), "let it run longer"),
        End::Inputs => {
            return format!(
                "the best schedule of {} on {} takes {}; none takes less than {}, a gap of {} %, but the inputs that several \
                 agents read go by way of their first reader, which the proof leaves out: for one, state inputs_at = \"everywhere\" in \
                 the cluster file",
                report.graph,
                report.cluster,
                span(Span(report.makespan_ns)),
                span(Span(report.lower_bound_ns)),
                percent(report.gap_percent),
            );
        }
    };
    format!(
        "{} on {} is too large to be proven {ended}: the best schedule found takes {}, none takes less than {}, a gap of \
         {} %; {advice}",
        report.graph,
        report.cluster,
        span(Span(report.makespan_ns)),
        span(Span(report.lower_bound_ns)),
        percent(report.gap_percent),
    )
}
