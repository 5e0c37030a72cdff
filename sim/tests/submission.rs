//! How a graph comes to the scheduler: in pieces that are one to its policy, and no more of it than the client may have open.

use std::path::Path;

use isochrone_model::Span;
use isochrone_policies::{Label, LabelError, PolicyInfo};
use isochrone_sched_core::{Change, Plan, Policy, PolicyLabel, View};
use isochrone_sim::simulation::{Outcome, Simulation};
use isochrone_sim::sources;
use isochrone_workload::task_graph::{ReadOptions, TaskGraph};

const LATENCY: Span = Span::from_millis(5);

fn graph(label: &str) -> TaskGraph {
    sources::graph(label, Path::new("."), &ReadOptions::default()).unwrap().graph
}

fn run(graph: &TaskGraph, policy: &str, agents: usize, commands_open_max: usize) -> Outcome {
    let label = format!("uniform(agents={agents},latency_us=5000,bandwidth_mbit=1000)");
    let cluster = sources::cluster(&label, Path::new(".")).unwrap();
    let simulation =
        Simulation::new(graph, &cluster, policy).policies(&[ONCE, BEHIND_TIME]).network("shared").checked();
    simulation.commands_open_max(commands_open_max).run().unwrap()
}

const ONCE: PolicyInfo = PolicyInfo {
    name: "once",
    summary: "to the first slot; must be told of all tasks at once",
    parameters: &[("tasks", "0", "how many there are")],
    make: make_once,
};

fn make_once(label: &Label) -> Result<Box<dyn Policy>, LabelError> {
    Ok(Box::new(Once { tasks: label.get("tasks", 0, "a whole number")? }))
}

struct Once {
    tasks: usize,
}

impl Policy for Once {
    fn label(&self) -> PolicyLabel {
        format!("once(tasks={})", self.tasks)
    }

    fn observe(&mut self, change: &Change<'_>, _view: &View<'_>) {
        if let Change::Submitted { tasks } = change {
            assert_eq!(tasks.len(), self.tasks, "all pieces are told of at once");
        }
    }

    fn place(&mut self, view: &View<'_>, plan: &mut Plan) {
        let first = view.slots().next().unwrap();
        for task in view.placeable() {
            plan.place(*task, first, "the first slot");
        }
    }
}

const BEHIND_TIME: PolicyInfo = PolicyInfo {
    name: "behind-time",
    summary: "to the first slot, after it has held everything back three times until a time that has passed",
    parameters: &[],
    make: make_behind_time,
};

fn make_behind_time(_label: &Label) -> Result<Box<dyn Policy>, LabelError> {
    Ok(Box::new(BehindTime { held: 0 }))
}

struct BehindTime {
    held: u32,
}

impl Policy for BehindTime {
    fn label(&self) -> PolicyLabel {
        "behind-time".to_owned()
    }

    fn place(&mut self, view: &View<'_>, plan: &mut Plan) {
        if self.held < 3 {
            self.held += 1;
            return plan.hold_until(view.now());
        }
        let first = view.slots().next().unwrap();
        for task in view.placeable() {
            plan.place(*task, first, "the first slot");
        }
    }
}

#[test]
fn a_policy_that_waits_for_the_past_is_asked_again_a_little_later() {
    let graph = graph("task-bench(pattern=trivial,width=1,steps=1,work=1000)");
    let outcome = run(&graph, "behind-time", 1, usize::MAX);
    assert_eq!(outcome.makespan, Span::from_millis(5 + 5 + 3) + Span(1_000));
}

#[test]
fn tasks_that_become_placeable_together_are_listed_as_they_were_submitted() {
    let graph = graph("fork-join(width=7,stages=1,work=1000)");
    let outcome = run(&graph, "once(tasks=9)", 1, usize::MAX);
    let starts: Vec<_> = outcome.tasks.iter().map(|run| run.start).collect();
    assert!(starts.is_sorted(), "{starts:?}");
}

#[test]
fn pieces_that_come_together_are_one_to_the_policy() {
    let graph = graph("task-bench(pattern=trivial,width=5000,steps=1,work=1000)");
    let outcome = run(&graph, "once(tasks=5000)", 1, usize::MAX);
    assert_eq!(
        outcome.makespan,
        Span::from_millis(5 + 5) + Span(5_000 * 1_000),
        "client, scheduler, agent, tasks"
    );
}

#[test]
fn a_client_that_may_have_one_command_open_waits_for_the_end_of_each() {
    let graph = graph("task-bench(pattern=no_comm,width=1,steps=6,work=1000000)");
    let all = run(&graph, "eager", 1, usize::MAX);
    let each = run(&graph, "eager", 1, 1);
    // Between two tasks: to the client, to the scheduler, to the agent.
    assert_eq!(each.makespan, all.makespan + LATENCY.saturating_mul(5 * 3));
    assert!(each.tasks.iter().all(|run| run.attempts == 1));
}

#[test]
fn a_client_with_room_enough_changes_nothing() {
    let graph = graph("task-bench(pattern=stencil_1d,width=8,steps=100,work=20000000)");
    let (all, some) = (run(&graph, "eager(queue=2)", 4, usize::MAX), run(&graph, "eager(queue=2)", 4, 400));
    assert_eq!((all.tasks, all.transfers), (some.tasks, some.transfers));
}

#[test]
fn eager_gives_a_slot_no_more_than_its_queue_takes() {
    let graph = graph("task-bench(pattern=trivial,width=30,steps=1,work=20000000)");
    let outcome = run(&graph, "eager(queue=3)", 2, usize::MAX);
    for moment in outcome.tasks.iter().map(|run| run.ordered) {
        for device in 0..2 {
            let held = outcome.tasks.iter().filter(|run| run.device == device);
            let held = held.filter(|run| run.ordered <= moment && moment < run.finish).count();
            assert!(held <= 3, "{held} tasks at device {device}");
        }
    }
    // The others wait for an end to be told: there and back each time that the queue has run dry, or not at all.
    assert!(outcome.makespan < run(&graph, "eager(queue=1)", 2, usize::MAX).makespan);
}
