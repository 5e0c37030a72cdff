//! What holds for every policy, over random graphs, clusters and knowledge; and what sets each dynamic policy apart.
//!
//! The checks know nothing of the planners or of the engine: they are written down naively from the graph, the cluster
//! and the outcome. `ISOCHRONE_SEEDS` says how many seeds are tried.

mod definitions;
mod foresight;
mod instances;
mod latency_eft;
mod plans;
mod published;

use std::collections::BTreeMap;

use instances::{Builder, MILLISECOND, cluster, device, limit_memory, random_cluster, random_graph};
use isochrone_model::{BytesPerSecond, Span, Timestamp};
use isochrone_policies::{POLICIES, PolicyInfo};
use isochrone_sim::cluster::{Cluster, ClusterDevice, Cost, KindSpeed, Party, UNLIMITED};
use isochrone_sim::network::{MODELS, Network, network};
use isochrone_sim::random::Random;
use isochrone_sim::simulation::{Knowledge, Outcome, Simulation, TaskRun};
use isochrone_workload::task_graph::{TaskCost, TaskGraph};

const SEEDS_DEFAULT: u64 = 1_000;
/// Policies that each seed tries, in turn.
const POLICIES_EACH: u64 = 4;
const STEPS_MAX: u64 = 1_000_000;

fn seeds() -> u64 {
    std::env::var("ISOCHRONE_SEEDS").ok().and_then(|text| text.parse().ok()).unwrap_or(SEEDS_DEFAULT)
}

fn knowledge(random: &mut Random) -> Knowledge {
    match random.below(4) {
        0 => Knowledge::Exact,
        1 => Knowledge::Noisy { percent: 1 + random.below(100) as u32 },
        2 => Knowledge::Mean,
        _ => Knowledge::Blind,
    }
}

/// The policy's label, sometimes with other parameters than its own.
fn label(info: &PolicyInfo, random: &mut Random) -> String {
    let mut parameters = Vec::new();
    for (name, values) in [
        ("ready", &["placed", "finished"][..]),
        ("ahead", &["0", "4"]),
        ("ahead_min_us", &["0", "20000", "1000000"]),
        ("beta", &["0", "1", "2.5"]),
        ("window", &["1", "64"]),
        ("prefetch", &["0", "2"]),
        ("queue", &["1", "3"]),
    ] {
        let value = values[random.below(values.len() as u64) as usize];
        if info.parameters.iter().any(|(known, _, _)| *known == name) && random.one_in(2) {
            parameters.push(format!("{name}={value}"));
        }
    }
    format!("{}({})", info.name, parameters.join(","))
}

/// By device, what a task takes there.
fn durations(graph: &TaskGraph, cluster: &Cluster, task: usize) -> Vec<Option<Span>> {
    let task = &graph.tasks[task];
    let cost = match &task.cost {
        TaskCost::Work(work) => Cost::Work(*work),
        TaskCost::PerDevice(nanos) => Cost::PerDevice { nanos, columns: &graph.device_columns },
    };
    let devices = cluster.devices().enumerate();
    devices
        .map(|(place, (_, _, device))| Some(device.duration(place, &task.kind, cost)? + device.launch))
        .collect()
}

/// Those that come before a task, each with the size of the largest item that it reads of them.
fn predecessors(graph: &TaskGraph, task: usize) -> Vec<(usize, u64)> {
    let task = &graph.tasks[task];
    let data = task.inputs.iter().filter_map(|item| {
        let item = &graph.items[*item];
        Some((item.producer?, item.size_bytes))
    });
    data.chain(task.after.iter().map(|first| (*first, 0))).collect()
}

/// The longest way at the fastest executions, and all fastest executions shared evenly by all slots.
fn lower_bound(graph: &TaskGraph, cluster: &Cluster) -> Span {
    let fastest: Vec<Span> = (0..graph.tasks.len())
        .map(|task| durations(graph, cluster, task).into_iter().flatten().min().unwrap())
        .collect();
    let mut ends: Vec<Span> = Vec::new();
    for (task, fastest) in fastest.iter().enumerate() {
        let ready = predecessors(graph, task).into_iter().map(|(first, _)| ends[first]).max();
        ends.push(ready.unwrap_or(Span::ZERO) + *fastest);
    }
    let slots: u64 = cluster.devices().map(|(_, _, device)| u64::from(device.slots)).sum();
    let area = Span(fastest.iter().map(|span| span.0).sum::<u64>() / slots);
    ends.into_iter().max().unwrap_or(Span::ZERO).max(area)
}

/// What contents, or a notice, take from one agent to another at the very least: the way by others counts only where the
/// scheduler does not know the links.
fn moving(network: &dyn Network, agents: usize, knowledge: Knowledge, size_bytes: u64) -> Vec<Vec<Span>> {
    let direct = |from: usize, to: usize| {
        let (latency, rate, notice) = network.stated(Party::Agent(from), Party::Agent(to));
        match size_bytes {
            _ if from == to => Span::ZERO,
            0 => notice,
            _ => latency + rate.span_for(size_bytes),
        }
    };
    let mut all: Vec<Vec<Span>> =
        (0..agents).map(|from| (0..agents).map(|to| direct(from, to)).collect()).collect();
    if knowledge == Knowledge::Blind {
        for (over, from, to) in
            (0..agents.pow(3)).map(|n| (n / agents / agents, n / agents % agents, n % agents))
        {
            all[from][to] = all[from][to].min(all[from][over] + all[over][to]);
        }
    }
    all
}

fn check(graph: &TaskGraph, cluster: &Cluster, run: (&str, Knowledge), outcome: &Outcome, what: &str) {
    let (model, knowledge) = run;
    let network = network(model, cluster, 0).unwrap();
    let agents: Vec<usize> = cluster.devices().map(|(agent, _, _)| agent).collect();
    assert_eq!(outcome.tasks.len(), graph.tasks.len(), "{what}");
    assert_eq!(outcome.rejections, 0, "{what}: proposals were refused");
    let mut on_slot: BTreeMap<(usize, usize), Vec<(Timestamp, Timestamp)>> = BTreeMap::new();
    for (task, run) in outcome.tasks.iter().enumerate() {
        assert_eq!(run.attempts, 1, "{what}: task {task} ran once");
        let duration = durations(graph, cluster, task)[run.device];
        assert_eq!(Some(run.finish.since(run.start)), duration, "{what}: task {task} on {}", run.device);
        on_slot.entry((run.device, run.slot)).or_default().push((run.start, run.finish));
        for (first, size_bytes) in predecessors(graph, task) {
            let before = &outcome.tasks[first];
            let (from, to) = (agents[before.device], agents[run.device]);
            let mut ready = before.finish;
            if from != to && network.is_uncontended() {
                ready += moving(network.as_ref(), cluster.agents.len(), knowledge, size_bytes)[from][to];
            }
            assert!(
                run.start >= ready,
                "{what}: task {task} starts at {:?}, {first} ends {ready:?}",
                run.start
            );
        }
    }
    for ((device, slot), mut runs) in on_slot {
        runs.sort_unstable();
        for pair in runs.windows(2) {
            assert!(pair[0].1 <= pair[1].0, "{what}: {pair:?} at once on slot {slot} of device {device}");
        }
    }
    check_memory(graph, cluster, outcome, what);
    let last = outcome.tasks.iter().map(|run| run.finish).max().unwrap();
    assert_eq!(outcome.makespan, last.since(Timestamp::ZERO), "{what}");
    assert!(outcome.makespan >= lower_bound(graph, cluster), "{what}: below the lower bound");
}

/// Whenever a task starts, all that the tasks on its device touch lies in the device's memory at once.
fn check_memory(graph: &TaskGraph, cluster: &Cluster, outcome: &Outcome, what: &str) {
    for (place, (_, _, device)) in cluster.devices().enumerate() {
        let here = || outcome.tasks.iter().enumerate().filter(|(_, run)| run.device == place);
        for (_, TaskRun { start: now, .. }) in here() {
            let running = here().filter(|(_, run)| run.start <= *now && *now < run.finish);
            let mut items = std::collections::BTreeSet::new();
            let mut bytes = 0;
            for (task, _) in running {
                let task = &graph.tasks[task];
                bytes += task.memory_bytes;
                items.extend(task.inputs.iter().chain(&task.outputs).copied());
            }
            bytes += items.into_iter().map(|item| graph.items[item].size_bytes).sum::<u64>();
            assert!(bytes <= device.memory_bytes, "{what}: {bytes} bytes at once on device {place}");
        }
    }
}

#[test]
fn every_policy_keeps_what_is_promised() {
    let mut runs: BTreeMap<&str, u64> = POLICIES.iter().map(|info| (info.name, 0)).collect();
    for seed in 0..seeds() {
        let mut random = Random::new(seed);
        let mut cluster = random_cluster(&mut random);
        let mut graph = random_graph(&mut random, cluster.devices().count());
        if random.one_in(3) {
            limit_memory(&mut random, &mut cluster, &mut graph);
        }
        graph.validate().unwrap();
        let knowledge = knowledge(&mut random);
        let model = MODELS[random.below(MODELS.len() as u64) as usize];
        for info in
            (0..POLICIES_EACH).map(|place| POLICIES[(seed * POLICIES_EACH + place) as usize % POLICIES.len()])
        {
            let label = label(&info, &mut random);
            *runs.entry(info.name).or_default() += 1;
            let what = format!("seed {seed}, {label}, {model}, {knowledge}");
            let run = || {
                Simulation::new(&graph, &cluster, &label)
                    .network(model)
                    .knowledge(knowledge)
                    .seed(seed)
                    .steps_max(STEPS_MAX)
            };
            let outcome = run().checked().run().unwrap_or_else(|error| panic!("{what}: {error}"));
            check(&graph, &cluster, (model, knowledge), &outcome, &what);
            assert_eq!(outcome.digest(), run().run().unwrap().digest(), "{what}: two runs differ");
        }
    }
    let fair = seeds() * POLICIES_EACH / POLICIES.len() as u64;
    assert!(runs.values().all(|count| *count >= fair), "some policies were hardly tried: {runs:?}");
}

fn run(graph: &TaskGraph, cluster: &Cluster, label: &str) -> Outcome {
    graph.validate().unwrap();
    let outcome = Simulation::new(graph, cluster, label).checked().steps_max(STEPS_MAX).run();
    outcome.unwrap_or_else(|error| panic!("{label}: {error}"))
}

const AT_ONCE: &str = "ahead=0,ahead_min_us=0";

fn only(kinds: &[&str], name: &str) -> ClusterDevice {
    let mut device = device(name, 1.0, 1);
    for kind in ["left", "right"] {
        if !kinds.contains(&kind) {
            device.kinds.insert(kind.to_owned(), KindSpeed::CannotRun);
        }
    }
    device
}

#[test]
fn dmdar_takes_first_what_lies_there() {
    let cluster = cluster(
        vec![vec![only(&["left"], "left")], vec![only(&["right"], "right")]],
        Span::ZERO,
        BytesPerSecond(1_000_000),
    );
    let mut builder = Builder::default();
    let far = builder.work("right", 5, &[], &[]);
    let near = builder.work("left", 10, &[], &[]);
    let (far, near) = (builder.item(Some(far), 1_000_000), builder.item(Some(near), 1_000_000));
    builder.work("left", 100, &[near], &[]);
    let moved = builder.work("left", 10, &[far], &[]);
    let resident = builder.work("left", 10, &[near], &[]);
    let start = |label: &str, task: usize| run(&builder.0, &cluster, label).tasks[task].start;
    let dmda = format!("dmda(ready=finished,{AT_ONCE})");
    let dmdar = format!("dmdar(ready=finished,{AT_ONCE})");
    assert!(start(&dmda, moved) < start(&dmda, resident));
    assert!(start(&dmdar, resident) < start(&dmdar, moved));
}

#[test]
fn dmdas_takes_the_critical_path_first() {
    let cluster = cluster(vec![vec![device("one", 1.0, 1)]], Span::ZERO, UNLIMITED);
    let mut builder = Builder::default();
    let leaf = builder.work("a", 10, &[], &[]);
    let head = builder.work("a", 10, &[], &[]);
    builder.work("a", 50, &[], &[head]);
    let start = |label: &str, task: usize| run(&builder.0, &cluster, label).tasks[task].start;
    let (dmda, dmdas) = (format!("dmda({AT_ONCE})"), format!("dmdas({AT_ONCE})"));
    assert!(start(&dmda, leaf) < start(&dmda, head));
    assert!(start(&dmdas, head) < start(&dmdas, leaf));
}

#[test]
fn beta_weighs_what_moving_costs_dmda() {
    let (here, there) = (only(&["left", "right"], "here"), only(&["right"], "there"));
    let cluster = cluster(vec![vec![here], vec![there]], Span::ZERO, BytesPerSecond(1_000_000));
    let mut builder = Builder::default();
    builder.work("left", 100, &[], &[]);
    let first = builder.work("left", 10, &[], &[]);
    let item = builder.item(Some(first), 1_000_000);
    let second = builder.work("right", 10, &[item], &[]);
    let device = |label: &str| run(&builder.0, &cluster, label).tasks[second].device;
    assert_eq!(device("dmda"), 0, "a second of transfer outweighs a tenth of queue");
    assert_eq!(device("dmda(beta=0)"), 1, "transfers count for nothing");
    assert_eq!(device("dmda(beta=0.05)"), 1);
}

#[test]
fn work_stealing_empties_a_long_queue() {
    let devices = vec![vec![device("one", 1.0, 1)], vec![device("two", 1.0, 1)]];
    let cluster = cluster(devices, Span::from_micros(100), BytesPerSecond(1_000_000_000));
    let mut builder = Builder::default();
    let first = builder.work("a", 1, &[], &[]);
    let item = builder.item(Some(first), 1_000);
    for _ in 0..20 {
        builder.work("a", 50, &[item], &[]);
    }
    let locality = run(&builder.0, &cluster, "locality");
    assert_eq!(locality.devices[1].tasks, 0, "all go where their input lies");
    let stealing = run(&builder.0, &cluster, "work-stealing");
    assert_eq!(stealing.devices.iter().map(|device| device.tasks).min(), Some(10), "{:?}", stealing.devices);

    // What costs more to move than to wait for stays.
    builder.0.items[item].size_bytes = 2_000_000_000;
    let stealing = run(&builder.0, &cluster, "work-stealing");
    assert_eq!(stealing.devices[1].tasks, 0, "{:?}", stealing.devices);
}

#[test]
fn heteroprio_sends_each_kind_to_its_better_device() {
    let (mut host, mut accelerator) = (device("host", 1.0, 1), device("accelerator", 1.0, 1));
    for (kind, on_host, on_accelerator) in [("dense", 0.125, 1.0), ("sparse", 1.0, 0.5)] {
        host.kinds.insert(kind.to_owned(), KindSpeed::Speed(on_host));
        accelerator.kinds.insert(kind.to_owned(), KindSpeed::Speed(on_accelerator));
    }
    let cluster = cluster(vec![vec![host, accelerator]], Span::ZERO, UNLIMITED);
    let mut builder = Builder::default();
    for place in 0..40 {
        builder.work(["dense", "sparse"][place % 2], 10, &[], &[]);
    }
    let outcome = run(&builder.0, &cluster, "heteroprio");
    for (place, task) in outcome.tasks.iter().enumerate() {
        assert_eq!(task.device, [1, 0][place % 2], "task {place}");
    }
    let eager = run(&builder.0, &cluster, "eager");
    assert!(eager.makespan > outcome.makespan.saturating_mul(2), "{:?}", eager.makespan);

    // The host is 8 times slower at what is left: it must leave the last of them alone.
    let mut builder = Builder::default();
    for _ in 0..5 {
        builder.work("dense", 10, &[], &[]);
    }
    assert_eq!(run(&builder.0, &cluster, "heteroprio").devices[0].tasks, 0);
}

/// More tasks than it proposes at one time, of which some have only one slot to go to.
#[test]
fn eager_places_all_of_a_large_graph_at_once() {
    let devices = vec![vec![only(&["left"], "left"), only(&["left", "right"], "both")]];
    let cluster = cluster(devices, Span::ZERO, UNLIMITED);
    let mut builder = Builder::default();
    for place in 0..10_000 {
        builder.work(if place % 4 == 0 { "right" } else { "left" }, 1, &[], &[]);
    }
    let simulation = Simulation::new(&builder.0, &cluster, "eager");
    let outcome = simulation.steps_max(STEPS_MAX).run().unwrap();
    for (place, task) in outcome.tasks.iter().enumerate() {
        assert_eq!((task.placed, task.attempts), (Timestamp::ZERO, 1), "task {place}");
        assert!(place % 4 != 0 || task.device == 1, "task {place} can run on one device only");
    }
    let tasks: Vec<usize> = outcome.devices.iter().map(|device| device.tasks).collect();
    assert_eq!(tasks, [5_000, 5_000]);
}

#[test]
fn the_levels_of_estee_order_the_tasks() {
    let cluster = cluster(vec![vec![device("one", 1.0, 1)]], Span::ZERO, UNLIMITED);
    let mut builder = Builder::default();
    let leaf = builder.work("a", 10, &[], &[]);
    let head = builder.work("a", 100, &[], &[]);
    let middle = builder.work("a", 100, &[], &[head]);
    let last = builder.work("a", 100, &[], &[middle]);
    let order = |label: &str| {
        let outcome = run(&builder.0, &cluster, label);
        let mut order: Vec<usize> = (0..outcome.tasks.len()).collect();
        order.sort_by_key(|task| outcome.tasks[*task].start);
        order
    };
    assert_eq!(order(&format!("blevel-gt({AT_ONCE})")), [head, middle, last, leaf]);
    assert_eq!(order(&format!("tlevel-gt({AT_ONCE})")), [leaf, head, middle, last]);
}

#[test]
fn greedy_transfer_takes_a_free_slot_before_a_near_one() {
    let devices = vec![vec![device("one", 1.0, 1)], vec![device("two", 1.0, 1)]];
    let cluster = cluster(devices, Span::ZERO, BytesPerSecond(1_000_000_000));
    let mut builder = Builder::default();
    let first = builder.work("a", 1, &[], &[]);
    let item = builder.item(Some(first), 1_000);
    let near = builder.work("a", 50, &[item], &[]);
    let free = builder.work("a", 50, &[item], &[]);
    let outcome = run(&builder.0, &cluster, "blevel-gt(ready=finished)");
    assert_eq!((outcome.tasks[near].device, outcome.tasks[free].device), (0, 1));
}

#[test]
fn a_slot_is_expected_to_be_free_when_its_running_task_ends() {
    let cluster =
        cluster(vec![vec![device("one", 1.0, 1)], vec![device("two", 1.0, 1)]], Span::ZERO, UNLIMITED);
    let mut builder = Builder::default();
    builder.0.device_columns = vec!["one".to_owned(), "two".to_owned()];
    for durations in [[100, 1_000], [1_000, 90], [10, 60]] {
        builder.task("a", TaskCost::PerDevice(durations.map(|span| span * MILLISECOND).to_vec()), &[], &[]);
    }
    // The third is placed when the second ends: nine tenths of the first have passed by then.
    let outcome = run(&builder.0, &cluster, &format!("latency-eft({AT_ONCE})"));
    assert_eq!(outcome.makespan, Span::from_millis(110));
}
