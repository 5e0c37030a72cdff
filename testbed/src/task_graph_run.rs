//! A task graph run on a live farm: its tasks as kernels that keep devices busy, its data as real bytes.
//!
//! On OpenCL devices a task's kernel counts rounds, as many as a calibration found to take the task's work; on virtual
//! devices it claims as many work-items as it has nanoseconds of work, which take that long on a device of 1,000
//! work-items a microsecond. Must never know where a farm's members run.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use isochrone_client::{
    AskError, Buffer, CommandError, CommandHandle, DeviceKind, DeviceStatus, Explanation, Graph, GraphError,
    Session,
};
use isochrone_workload::task_graph::{
    BUSY_ITEMS, BusyBytes, GraphError as TaskGraphError, GraphTask, KernelShape, TaskCost, TaskGraph,
    busy_source,
};

use crate::clock;
use crate::graph_run::{Progress, await_end};

/// Rounds of the launches that calibrate.
const CALIBRATION_ROUNDS: u64 = 4_000_000;
/// How many launches calibrate; the shortest counts.
const CALIBRATIONS: usize = 5;
/// Tasks that are named where one is not found.
const NAMES_TOLD_MAX: usize = 8;

/// How tasks are run.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum TaskWork {
    /// By counting so many rounds for each thousand nanoseconds of work.
    Rounds {
        /// Rounds for a microsecond of work.
        per_microsecond: f64,
    },
    /// By claiming a work-item for each nanosecond of work.
    Items,
}

/// What a run gave.
#[derive(Clone, Debug)]
pub struct TaskGraphReport {
    /// Tasks that ran.
    pub tasks: usize,
    /// From submission to the last end.
    pub makespan: Duration,
    /// How tasks were run.
    pub work: TaskWork,
    /// By task, the time on its device.
    pub executions: Vec<Duration>,
    /// Bytes read back and found right; `None` on virtual devices, which compute nothing.
    pub verified_bytes: Option<u64>,
    /// What was to be told of placements, by the task's name.
    pub explanations: Vec<(String, Explanation)>,
}

/// Why a task graph did not run to its end.
#[derive(Debug, thiserror::Error)]
pub enum TaskGraphRunError {
    /// The graph does not hold together.
    #[error("the graph is not valid")]
    Graph(#[source] TaskGraphError),
    /// Some devices are virtual and some are not: their tasks cannot be made to cost alike.
    #[error("the farm has virtual and OpenCL devices; a task graph runs on one sort")]
    MixedDevices,
    /// The farm has no device.
    #[error("the farm has no device")]
    NoDevice,
    /// The graph cannot be submitted.
    #[error("cannot submit the graph")]
    Submit(#[source] GraphError),
    /// A task failed.
    #[error("task {task} failed")]
    Task {
        /// Its name.
        task: String,
        /// Why.
        #[source]
        error: CommandError,
    },
    /// Calibration failed.
    #[error("cannot measure how long a round takes")]
    Calibration(#[source] CommandError),
    /// A placement is to be told of a task that is not there.
    #[error("the graph has no task `{task}`; there are {some}")]
    NoTask {
        /// The name.
        task: String,
        /// Some that are there.
        some: String,
    },
    /// The scheduler does not tell of a placement.
    #[error("cannot learn why task `{task}` ran where it ran")]
    Explain {
        /// Its name.
        task: String,
        /// Why.
        #[source]
        error: AskError,
    },
    /// An item came back with other bytes than its tasks write.
    #[error("item {item} has a wrong byte at {at}: {found} in place of {expected}")]
    Wrong {
        /// Its name.
        item: String,
        /// Where.
        at: usize,
        /// What came.
        found: u8,
        /// What should have.
        expected: u8,
    },
}

/// Runs a graph in a session, and checks the bytes of every item that goes into no other: by what they are made of,
/// these show wrong bytes anywhere before them.
///
/// A task with a duration for each device counts with their mean: a live device is as fast as it is.
///
/// # Errors
/// `TaskGraphRunError`.
pub async fn run_task_graph(
    graph: &TaskGraph,
    session: &Session,
    devices: &[DeviceStatus],
    progress: &mut (dyn FnMut(Progress) + Send),
) -> Result<TaskGraphReport, TaskGraphRunError> {
    run_task_graph_and_explain(graph, session, devices, &[], progress).await
}

/// The same, and asks at the end why the named tasks ran where they ran.
///
/// # Errors
/// `TaskGraphRunError`.
pub async fn run_task_graph_and_explain(
    graph: &TaskGraph,
    session: &Session,
    devices: &[DeviceStatus],
    explain: &[String],
    progress: &mut (dyn FnMut(Progress) + Send),
) -> Result<TaskGraphReport, TaskGraphRunError> {
    graph.validate().map_err(TaskGraphRunError::Graph)?;
    let explained = explain.iter().map(|name| named(graph, name)).collect::<Result<Vec<_>, _>>()?;
    let present: Vec<bool> = devices
        .iter()
        .filter(|device| device.is_present)
        .map(|device| device.facts.kind == DeviceKind::Virtual)
        .collect();
    let work = match (present.contains(&true), present.contains(&false)) {
        (false, false) => return Err(TaskGraphRunError::NoDevice),
        (true, true) => return Err(TaskGraphRunError::MixedDevices),
        (true, false) => TaskWork::Items,
        (false, true) => {
            let per_microsecond = calibrate(session).await.map_err(TaskGraphRunError::Calibration)?;
            TaskWork::Rounds { per_microsecond }
        }
    };
    let shapes = shapes_of(graph);
    let mut distinct = shapes.clone();
    distinct.sort_unstable();
    distinct.dedup();
    let program = session.program(busy_source(&distinct)).build();
    program
        .built()
        .await
        .map_err(|error| TaskGraphRunError::Task { task: graph.tasks[0].name.clone(), error })?;
    let bytes = BusyBytes::new(graph).map_err(TaskGraphRunError::Graph)?;
    let buffers: Vec<Option<Buffer>> = graph
        .items
        .iter()
        .map(|item| (item.size_bytes > 0).then(|| session.buffer(item.size_bytes)))
        .collect();
    let mut batch = session.graph();
    for (place, item) in graph.items.iter().enumerate() {
        if let (None, Some(buffer)) = (item.producer, &buffers[place]) {
            let contents = Bytes::from(bytes.bytes(place, item.size_bytes));
            let _write = batch.write(buffer, 0, contents).label(item.name.clone()).enqueue();
        }
    }
    let tasks = enqueue_tasks(graph, &mut batch, &program, &shapes, &buffers, work, session)?;
    let read = (0..graph.items.len()).filter(|item| graph.items[*item].producer.is_some());
    let consumers = graph.consumers();
    let reads: Vec<(usize, isochrone_client::ReadHandle)> = read
        .filter(|item| {
            work != TaskWork::Items
                && consumers[*item].iter().all(|task| graph.tasks[*task].outputs.is_empty())
        })
        .filter_map(|item| Some((item, batch.read(buffers[item].as_ref()?).enqueue())))
        .collect();
    let started = clock::now();
    let handle = batch.submit().map_err(TaskGraphRunError::Submit)?;
    let ended = await_end(&handle, started, progress).await;
    let makespan = started.elapsed();
    if let Err(error) = ended {
        let failed = tasks.iter().position(|task| {
            matches!(task.outcome(), Some(Err(error)) if !matches!(error, CommandError::Dependency { .. }))
        });
        let task = failed.map_or_else(|| "of the graph".to_owned(), |task| graph.tasks[task].name.clone());
        let error = failed.and_then(|task| tasks[task].outcome()?.err()).unwrap_or(error);
        return Err(TaskGraphRunError::Task { task, error });
    }
    let mut verified_bytes = (work != TaskWork::Items).then_some(0);
    for (item, read) in reads {
        let name = || graph.items[item].name.clone();
        let found = read.await.map_err(|error| TaskGraphRunError::Task { task: name(), error })?;
        let wrong = found.iter().enumerate().find(|(at, byte)| **byte != bytes.byte(item, *at as u64));
        if let Some((at, found)) = wrong {
            let expected = bytes.byte(item, at as u64);
            return Err(TaskGraphRunError::Wrong { item: name(), at, found: *found, expected });
        }
        verified_bytes = verified_bytes.map(|sum| sum + found.len() as u64);
    }
    let execution = |task: &CommandHandle| task.execution().map_or(Duration::ZERO, Duration::from);
    let executions = tasks.iter().map(execution).collect();
    let mut explanations = Vec::new();
    for task in explained {
        let name = graph.tasks[task].name.clone();
        match session.explain(&tasks[task]).await {
            Ok(explanation) => explanations.push((name, explanation)),
            Err(error) => return Err(TaskGraphRunError::Explain { task: name, error }),
        }
    }
    Ok(TaskGraphReport { tasks: tasks.len(), makespan, work, executions, verified_bytes, explanations })
}

fn named(graph: &TaskGraph, name: &str) -> Result<usize, TaskGraphRunError> {
    graph.tasks.iter().position(|task| task.name == name).ok_or_else(|| {
        let some: Vec<&str> =
            graph.tasks.iter().take(NAMES_TOLD_MAX).map(|task| task.name.as_str()).collect();
        TaskGraphRunError::NoTask { task: name.to_owned(), some: some.join(", ") }
    })
}

/// The shapes of the tasks' kernels. All of a kind are of one class, so that the farm learns what a kind takes.
fn shapes_of(graph: &TaskGraph) -> Vec<KernelShape> {
    let mut classes: BTreeMap<&str, usize> = BTreeMap::new();
    let with_bytes = |items: &[usize]| items.iter().filter(|item| graph.items[**item].size_bytes > 0).count();
    let shape = |task: &GraphTask, class| KernelShape {
        class,
        inputs: with_bytes(&task.inputs),
        outputs: with_bytes(&task.outputs),
        has_scratch: task.memory_bytes > 0,
    };
    let tasks = graph.tasks.iter().map(|task| {
        let next = classes.len();
        shape(task, *classes.entry(&task.kind).or_insert(next))
    });
    tasks.collect()
}

fn enqueue_tasks(
    graph: &TaskGraph,
    batch: &mut Graph,
    program: &isochrone_client::Program,
    shapes: &[KernelShape],
    buffers: &[Option<Buffer>],
    work: TaskWork,
    session: &Session,
) -> Result<Vec<CommandHandle>, TaskGraphRunError> {
    let order = graph.topological_order().map_err(TaskGraphRunError::Graph)?;
    let mut handles: Vec<Option<CommandHandle>> = vec![None; graph.tasks.len()];
    for place in order {
        let task = &graph.tasks[place];
        let nanos = match &task.cost {
            TaskCost::Work(nanos) => *nanos,
            TaskCost::PerDevice(_) => task.cost.mean_ns(),
        };
        let (items, rounds) = match work {
            TaskWork::Items => (nanos.max(1), 0),
            TaskWork::Rounds { per_microsecond } => {
                (BUSY_ITEMS, (nanos as f64 / 1e3 * per_microsecond) as u64)
            }
        };
        let mut launch = batch.launch(program, &shapes[place].name()).range([items]).label(task.name.clone());
        let given = |items: &[usize]| -> Vec<Buffer> {
            items.iter().filter_map(|item| buffers[*item].clone()).collect()
        };
        let (inputs, outputs) = (given(&task.inputs), given(&task.outputs));
        for buffer in &inputs {
            launch = launch.read(buffer);
        }
        for buffer in &outputs {
            launch = launch.write(buffer);
        }
        if task.memory_bytes > 0 {
            let buffer = session.buffer(task.memory_bytes);
            // Let go of once the task has ended.
            launch = launch.write(&buffer);
        }
        for buffer in inputs.iter().chain(&outputs) {
            launch = launch.scalar(buffer.size_bytes());
        }
        let empty = task.inputs.iter().filter(|item| buffers[**item].is_none());
        let before: Vec<usize> =
            empty.filter_map(|item| graph.items[*item].producer).chain(task.after.iter().copied()).collect();
        let after = before.iter().filter_map(|first| handles[*first].as_ref());
        let handle = launch.scalar(rounds).scalar(place as u32).after_all(after).enqueue();
        handles[place] = Some(handle);
    }
    Ok(handles.into_iter().flatten().collect())
}

/// How many rounds pass in a microsecond, on the device that the farm picks.
async fn calibrate(session: &Session) -> Result<f64, CommandError> {
    let shape = KernelShape { class: 0, inputs: 0, outputs: 1, has_scratch: false };
    let program = session.program(busy_source(std::slice::from_ref(&shape))).build();
    program.built().await?;
    let buffer = session.buffer(64);
    let mut shortest = Duration::MAX;
    for _ in 0..CALIBRATIONS {
        let handle = session
            .launch(&program, &shape.name())
            .range([BUSY_ITEMS])
            .write(&buffer)
            .scalar(64_u64)
            .scalar(CALIBRATION_ROUNDS)
            .scalar(0_u32)
            .enqueue();
        handle.wait().await?;
        shortest = shortest.min(handle.execution().map_or(Duration::MAX, Duration::from));
    }
    Ok(CALIBRATION_ROUNDS as f64 / (shortest.as_nanos().max(1) as f64 / 1e3))
}
