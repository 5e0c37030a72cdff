//! Processors of the scheduler and of agents take one task after another.

use std::path::Path;

use isochrone_model::Span;
use isochrone_sim::simulation::{Outcome, Simulation};
use isochrone_sim::sources;
use isochrone_workload::task_graph::ReadOptions;

const TASKS: u64 = 100;

/// A hundred tasks on one agent whose device runs one at a time, that all wait for nothing or each for the one before.
fn run(is_chain: bool, network: &str) -> Outcome {
    let (width, steps) = if is_chain { (1, TASKS) } else { (TASKS, 1) };
    let label = format!("task-bench(pattern=no_comm,width={width},steps={steps},work=10000)");
    let graph = sources::graph(&label, Path::new("."), &ReadOptions::default()).unwrap().graph;
    assert_eq!(graph.tasks.len() as u64, TASKS);
    let cluster = sources::cluster("uniform(agents=1,latency_us=1000)", Path::new(".")).unwrap();
    Simulation::new(&graph, &cluster, "eager").network(network).checked().run().unwrap()
}

#[test]
fn a_batch_leaves_the_scheduler_when_all_of_it_is_placed() {
    let free = run(false, "quic");
    let busy = run(false, "quic(scheduler_task_us=50)");
    assert_eq!(busy.makespan.saturating_sub(free.makespan), Span::from_micros(50 * TASKS));
    let chain = run(true, "quic");
    let busy = run(true, "quic(scheduler_task_us=50)");
    assert_eq!(
        busy.makespan.saturating_sub(chain.makespan),
        Span::from_micros(50 * TASKS),
        "a chain is placed whole"
    );
}

#[test]
fn an_agent_takes_in_a_batch_and_then_ends_that_overlap_what_its_device_does() {
    for is_chain in [false, true] {
        let (free, busy) = (run(is_chain, "quic"), run(is_chain, "quic(agent_task_us=16)"));
        // Half when the batch comes.
        let added = busy.makespan.saturating_sub(free.makespan);
        assert_eq!(added, Span::from_micros(8 * TASKS));
        // Half at the end of each: a task takes 10 us, and only the last end is waited for.
        assert_eq!(busy.turnaround.saturating_sub(free.turnaround), added + Span::from_micros(8));
        // Ends that take longer than tasks are what the client waits for.
        let slow = run(is_chain, "quic(agent_task_us=100)");
        assert!(slow.turnaround > free.turnaround + Span::from_micros(75 * TASKS), "{:?}", slow.turnaround);
    }
}

#[test]
fn what_takes_nothing_changes_nothing() {
    let (plain, zero) = (run(false, "quic"), run(false, "quic(scheduler_task_us=0,agent_task_us=0)"));
    assert_eq!((plain.makespan, plain.steps), (zero.makespan, zero.steps));
}

#[test]
fn what_comes_while_the_scheduler_is_busy_is_taken_in_its_turn() {
    let label = "task-bench(pattern=stencil_1d,width=8,steps=60,work=20000)";
    let graph = sources::graph(label, Path::new("."), &ReadOptions::default()).unwrap().graph;
    let cluster = sources::cluster("uniform(agents=4,latency_us=100)", Path::new(".")).unwrap();
    // Reports of four agents and pieces of the graph come faster than a scheduler takes them that needs 200 us a task.
    let simulation = Simulation::new(&graph, &cluster, "eager(queue=2)").checked().commands_open_max(64);
    let outcome = simulation.network("quic(scheduler_task_us=200,agent_task_us=30)").run().unwrap();
    assert!(outcome.tasks.iter().all(|run| run.attempts == 1));
    assert_eq!(outcome.rejections, 0);
    let all = Span::from_micros(200 * graph.tasks.len() as u64);
    assert!(outcome.makespan >= all, "{:?}: one task after another", outcome.makespan);
}
