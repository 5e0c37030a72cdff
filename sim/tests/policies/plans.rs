//! What a static policy plans is what happens: `classic` network, exact knowledge, to the nanosecond.

use isochrone_model::{Span, Timestamp};
use isochrone_policies as policies;
use isochrone_policies::planning::optimal::OptimalLimits;
use isochrone_policies::planning::{Planner, Schedule};
use isochrone_policies::{List, POLICIES, Rank, Selection};
use isochrone_sim::cluster::{
    Access, Cluster, ClusterDevice, InputPlace, KindSpeed, LinkSpec, Party, Path, Topology, UNLIMITED,
};
use isochrone_sim::network::network;
use isochrone_sim::random::Random;
use isochrone_sim::simulation::{Outcome, Simulation, problem};

use isochrone_workload::task_graph::{TaskCost, TaskGraph};

use crate::instances::{Builder, MILLISECOND, cluster, device, random_cluster, random_graph};
use crate::{STEPS_MAX, seeds};

/// Every planner there is, by a label of its policy.
fn planners() -> Vec<(&'static str, Box<dyn Planner>)> {
    let limits = OptimalLimits { nodes: 300, tasks: 12 };
    vec![
        ("bil", Box::new(policies::Bil)),
        ("cpop", Box::new(policies::Cpop)),
        ("dls", Box::new(policies::Dls)),
        ("duplex", Box::new(policies::Duplex::default())),
        ("etf", Box::new(policies::Etf)),
        ("fastest-device", Box::new(policies::FastestDevice)),
        ("fcp", Box::new(policies::Fcp)),
        ("fixed", Box::new(policies::Fixed::default())),
        ("flb", Box::new(policies::Flb)),
        ("foresight", Box::new(policies::Foresight)),
        ("hbmct", Box::new(policies::Hbmct)),
        ("heft", Box::new(policies::Heft)),
        ("hlfet", Box::new(policies::Hlfet)),
        ("list", Box::new(List::default())),
        (
            "list(rank=optimistic,selection=start,insertion=false,reserve=true)",
            Box::new(List {
                rank: Rank::Optimistic,
                selection: Selection::Start,
                does_insert: false,
                does_reserve: true,
            }),
        ),
        ("lookahead-heft", Box::new(policies::Lookahead)),
        ("max-min", Box::new(policies::MaxMin::default())),
        ("mcp", Box::new(policies::Mcp)),
        ("mct", Box::new(policies::Mct)),
        ("met", Box::new(policies::Met)),
        ("min-min", Box::new(policies::MinMin::default())),
        ("olb", Box::new(policies::Olb)),
        ("optimal(nodes=300,tasks=12)", Box::new(policies::Optimal { limits })),
        ("peft", Box::new(policies::Peft)),
        ("sufferage", Box::new(policies::Sufferage::default())),
        ("wba", Box::new(policies::Wba::default())),
    ]
}

#[test]
fn every_static_policy_is_here() {
    let mut here: Vec<&str> =
        planners().iter().map(|(label, _)| label.split('(').next().unwrap_or(label)).collect();
    here.dedup();
    let is_static = |info: &&policies::PolicyInfo| info.summary.starts_with("static: ");
    let registered: Vec<&str> = POLICIES.iter().filter(is_static).map(|info| info.name).collect();
    assert_eq!(here, registered);
}

/// Each task on its slot at its times. Plans leave no gap that a run would close, so that not the makespan alone is as
/// planned.
fn assert_as_planned(plan: &Schedule, outcome: &Outcome, cluster: &Cluster, what: &str) {
    let slots: Vec<(usize, usize)> = cluster
        .devices()
        .enumerate()
        .flat_map(|(place, (_, _, device))| (0..usize::from(device.slots)).map(move |slot| (place, slot)))
        .collect();
    assert_eq!(outcome.makespan, plan.makespan(), "{what}: not as planned");
    for (task, (run, here)) in outcome.tasks.iter().zip(&plan.assignments).enumerate() {
        let here = here.unwrap_or_else(|| panic!("{what}: task {task} is not in the plan"));
        let ran = (run.device, run.slot, run.start, run.finish);
        let (device, slot) = slots[here.slot];
        let planned = (device, slot, Timestamp(here.start.0), Timestamp(here.finish.0));
        assert_eq!(ran, planned, "{what}: task {task}");
    }
}

#[test]
fn what_is_planned_is_what_happens() {
    for seed in 0..seeds() / 5 {
        let mut random = Random::new(seed);
        let cluster = random_cluster(&mut random);
        let graph = random_graph(&mut random, cluster.devices().count());
        let network = network("classic", &cluster, seed).unwrap();
        let problem = problem(&graph, &cluster, network.as_ref());
        for (label, planner) in planners() {
            let plan = planner.plan(&problem).settled(&problem);
            let what = format!("seed {seed}, {label}");
            let outcome = Simulation::new(&graph, &cluster, label).steps_max(STEPS_MAX).run();
            let outcome = outcome.unwrap_or_else(|error| panic!("{what}: {error}"));
            assert_as_planned(&plan, &outcome, &cluster, &what);
        }
    }
}

fn run_as_planned(planner: &dyn Planner, label: &str, graph: &TaskGraph, cluster: &Cluster) -> Outcome {
    let network = network("classic", cluster, 0).unwrap();
    let problem = problem(graph, cluster, network.as_ref());
    let plan = planner.plan(&problem).settled(&problem);
    let outcome = Simulation::new(graph, cluster, label).checked().steps_max(STEPS_MAX).run().unwrap();
    assert_as_planned(&plan, &outcome, cluster, label);
    outcome
}

/// A task that waits for its slot reads what a task on another slot of the device is about to start with: what is
/// brought for the first must not queue behind what runs on its slot.
#[test]
fn a_busy_slot_does_not_hold_back_the_inputs_of_another() {
    let only_there = |mut device: ClusterDevice, kind: &str| {
        device.kinds.insert(kind.to_owned(), KindSpeed::CannotRun);
        device
    };
    let near = only_there(device("near", 1.0, 2), "far");
    let far = only_there(device("far", 1.0, 1), "near");
    let cluster = cluster(vec![vec![near, far]], Span::ZERO, UNLIMITED);
    let mut builder = Builder::default();
    let mut work = |kind: &str, micros: u64, inputs: &[usize]| {
        builder.task(kind, TaskCost::Work(micros * 1_000), inputs, &[])
    };
    work("near", 100, &[]);
    let maker = work("far", 10, &[]);
    let early = work("near", 20, &[0, 1]);
    work("near", 150, &[]);
    let late = work("near", 5, &[1]);
    for size_bytes in [3_000_000, 1_000] {
        builder.item(Some(maker), size_bytes);
    }
    let outcome = run_as_planned(&policies::Mct, "mct", &builder.0, &cluster);
    assert_eq!(outcome.tasks[early].start, Timestamp(10_000));
    assert_eq!(outcome.tasks[late].start, Timestamp(100_000));
    assert_ne!(outcome.tasks[early].slot, outcome.tasks[late].slot);
}

/// The way by a third agent would be faster, but a plan knows none.
#[test]
fn contents_come_from_where_they_were_made() {
    let mut devices = vec![device("one", 1.0, 1), device("two", 1.0, 1), device("three", 1.0, 1)];
    for (place, device) in devices.iter_mut().enumerate() {
        for kind in (0..3).filter(|kind| *kind != place) {
            device.kinds.insert(kind.to_string(), KindSpeed::CannotRun);
        }
    }
    let mut cluster =
        cluster(devices.into_iter().map(|device| vec![device]).collect(), Span::ZERO, UNLIMITED);
    let link =
        |latency| Path { link: LinkSpec::fixed(Span(latency * MILLISECOND), UNLIMITED), is_shared: false };
    let is_far = |from, to| (from, to) == (Party::Agent(0), Party::Agent(2));
    cluster.topology = Topology::new(vec![Access::UNLIMITED; 5], vec![link(1), link(50)], |from, to| {
        usize::from(is_far(from, to))
    });
    let mut builder = Builder::default();
    let first = builder.work("0", 10, &[], &[]);
    let item = builder.item(Some(first), 1_000);
    builder.work("1", 10, &[item], &[]);
    let last = builder.work("2", 10, &[item], &[]);
    let outcome = run_as_planned(&policies::Heft, "heft", &builder.0, &cluster);
    assert_eq!(outcome.tasks[last].start, Timestamp(60 * MILLISECOND));
    assert!(outcome.transfers.iter().all(|transfer| transfer.from() == Party::Agent(0)));
}

/// Contents of the client go to their first reader, and on from there: sooner than they would come directly, or later than
/// the planner could count on.
#[test]
fn inputs_of_the_client_are_forwarded() {
    let mut devices = vec![device("one", 1.0, 1), device("two", 1.0, 1)];
    for (device, kind) in devices.iter_mut().zip(["right", "left"]) {
        device.kinds.insert(kind.to_owned(), KindSpeed::CannotRun);
    }
    let mut cluster =
        cluster(devices.into_iter().map(|device| vec![device]).collect(), Span::ZERO, UNLIMITED);
    cluster.inputs_at = InputPlace::Client;
    for (to_right, arrives) in [(50, 6), (2, 6)] {
        let link = |latency: u64| Path {
            link: LinkSpec::fixed(Span(latency * MILLISECOND), UNLIMITED),
            is_shared: false,
        };
        let paths = vec![link(1), link(5), link(to_right)];
        cluster.topology = Topology::new(vec![Access::UNLIMITED; 4], paths, |from, to| match (from, to) {
            (Party::Client, Party::Agent(1)) => 2,
            (Party::Agent(_), Party::Agent(_)) => 1,
            _ => 0,
        });
        let mut builder = Builder::default();
        let item = builder.item(None, 1_000);
        builder.work("left", 10, &[item], &[]);
        builder.work("right", 20, &[item], &[]);
        let outcome = run_as_planned(&policies::Mct, "mct", &builder.0, &cluster);
        assert_eq!(outcome.tasks[0].start, Timestamp(MILLISECOND), "{to_right} ms");
        assert_eq!(outcome.tasks[1].start, Timestamp(arrives * MILLISECOND), "{to_right} ms");
    }
}
