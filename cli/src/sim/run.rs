//! `isochrone sim run`: one simulated run.

use std::path::Path;

use isochrone_model::Span;
use isochrone_sim::network::network;
use isochrone_sim::plot::{bytes, fixed, gantt, span};
use isochrone_sim::run_report::{RunReport, RunSettings};
use isochrone_sim::simulation::{Simulation, Yardstick, problem};
use isochrone_sim::sources::{file_name, graph_name};
use isochrone_sim::trace::chrome_trace;

use super::arguments::SimRunArguments;
use super::{Chosen, clock, write};
use crate::output;

/// Tasks x slots up to which a trace tells what was weighed: each takes some 150 bytes in the file, and as much in memory.
const TRACED_CANDIDATES_MAX: usize = 1_000_000;

/// Runs it and tells of it.
pub fn run(arguments: &SimRunArguments) -> anyhow::Result<()> {
    let choice = &arguments.choice;
    let Chosen { source, cluster, knowledge } = Chosen::new(choice)?;
    // Before the run, so that the two do not need their memory at the same time.
    let model = network(&choice.network, &cluster, choice.seed)?;
    let yardstick = Yardstick::new(&problem(&source.graph, &cluster, model.as_ref()));
    let clock = clock();
    let mut simulation = Simulation::new(&source.graph, &cluster, &arguments.policy)
        .network(&choice.network)
        .knowledge(knowledge)
        .seed(choice.seed)
        .commands_open_max(arguments.commands_open)
        .stopwatch(&clock);
    let slots: usize = cluster.devices().map(|(_, _, device)| usize::from(device.slots)).sum();
    if arguments.trace.is_some() && source.graph.tasks.len().saturating_mul(slots) <= TRACED_CANDIDATES_MAX {
        simulation = simulation.keeping_decisions();
    }
    let outcome = simulation.run()?;
    let settings = RunSettings {
        graph: choice.graph.clone(),
        cluster: choice.cluster.clone(),
        policy: arguments.policy.clone(),
        network: choice.network.clone(),
        knowledge: knowledge.to_string(),
        seed: choice.seed,
        commands_open_max: arguments.commands_open as u64,
        assumptions: source.assumptions,
    };
    if let Some(path) = &arguments.trace {
        write(path, &chrome_trace(&source.graph, &cluster, &outcome).to_string())?;
    }
    if let Some(path) = &arguments.gantt {
        let name = graph_name(&choice.graph, Path::new(""), &source.graph);
        let title = format!("{name} on {} under {}", file_name(&choice.cluster), arguments.policy);
        write(path, &gantt(&title, &source.graph, &cluster, &outcome))?;
    }
    let measures = yardstick.measure(&outcome);
    let report = RunReport::new(settings, &source.graph, &outcome, measures);
    if arguments.json {
        return output::json(&report);
    }
    output::print(&told(&report));
    Ok(())
}

fn told(report: &RunReport<'_>) -> String {
    let (settings, measures) = (&report.settings, &report.measures);
    let ratio = |value: Option<f64>| value.map_or("n/a".to_owned(), |value| fixed(value, 3));
    let mut rows = vec![
        ["graph", &settings.graph].map(str::to_owned),
        ["cluster", &settings.cluster].map(str::to_owned),
        ["policy", &settings.policy].map(str::to_owned),
        [
            "network, knowledge, seed".to_owned(),
            format!("{}, {}, {}", settings.network, settings.knowledge, settings.seed),
        ],
        ["makespan".to_owned(), span(Span(measures.makespan_ns))],
        ["turnaround at the client".to_owned(), span(Span(measures.turnaround_ns))],
        [
            "lower bound".to_owned(),
            format!(
                "{} (makespan is {} times it; critical path {}, area {})",
                span(Span(measures.lower_bound_ns)),
                fixed(measures.makespan_ns as f64 / measures.lower_bound_ns.max(1) as f64, 3),
                span(Span(measures.critical_path_ns)),
                span(Span(measures.area_bound_ns))
            ),
        ],
        ["schedule length ratio".to_owned(), fixed(measures.slr, 3)],
        [
            "speedup, efficiency".to_owned(),
            format!("{}, {}", ratio(measures.speedup), ratio(measures.efficiency)),
        ],
        ["utilisation".to_owned(), format!("{} %", fixed(measures.utilisation * 100.0, 1))],
        ["bytes moved".to_owned(), bytes(measures.moved_bytes)],
        [
            "decision time".to_owned(),
            report.decision_time_ns.map_or("n/a".to_owned(), |nanos| span(Span(nanos))),
        ],
        ["digest".to_owned(), report.digest.clone()],
    ];
    if report.rejections > 0 {
        rows.push(["proposals refused".to_owned(), report.rejections.to_string()]);
    }
    let width = rows.iter().map(|[name, _]| name.len()).max().unwrap_or(0);
    let mut text: String = rows.iter().map(|[name, value]| format!("{name:<width$}  {value}\n")).collect();
    for assumption in &settings.assumptions {
        text.push_str(&format!("assumed: {assumption}\n"));
    }
    let devices: Vec<Vec<String>> = report
        .devices
        .iter()
        .map(|device| {
            vec![
                device.name.to_owned(),
                device.slots.to_string(),
                device.tasks.to_string(),
                span(Span(device.busy_ns)),
                format!("{} %", fixed(device.utilisation * 100.0, 1)),
            ]
        })
        .collect();
    text.push('\n');
    text + &output::table(&["device", "slots", "tasks", "busy", "utilisation"], &devices)
}
