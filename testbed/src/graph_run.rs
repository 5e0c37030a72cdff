//! A graph file run on a farm through the client's interface.
//!
//! Must never know where a farm's members run, and must never order commands by the data they share:
//! the farm does.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use bytes::Bytes;
use isochrone_client::{
    AskError, Buffer, CommandError, CommandHandle, DeviceStatus, Explanation, FillBuilder, Graph, GraphError,
    GraphHandle, LaunchBuilder, Program, ReadHandle, Session,
};
use isochrone_workload::graph_file::{
    Access, Argument, AssembleError, BufferArgument, ByteRange, CommandKind, GraphFile, GraphFileErrors,
    Launch, Output, Settings,
};

use crate::clock;

/// How often progress is told.
const PROGRESS_INTERVAL: Duration = Duration::from_millis(100);

/// How often builds are looked at when they are waited for.
const BUILD_LOOK_INTERVAL: Duration = Duration::from_millis(2);

/// Failures that are told one by one; the rest are counted.
const FAILURES_TOLD_MAX: usize = 20;

/// Labels that are named where one is not found.
const LABELS_TOLD_MAX: usize = 8;

/// A graph file that can be run, once or many times.
#[derive(Clone, Debug)]
pub struct PreparedGraph {
    file: GraphFile,
    contents: Vec<Option<Bytes>>,
}

/// How to run a graph.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RunOptions {
    /// Wait until this many devices have built every program before anything is submitted, so that no
    /// time of the run is a compiler's; 0, the default, submits at once, and launches go to devices as
    /// they finish building.
    pub builds_awaited: u32,
    /// Labels of steps whose placement is to be told once the graph has ended.
    pub explain: Vec<String>,
}

/// How far a run is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Commands that have ended, writes of inputs and reads of outputs included.
    pub finished: usize,
    /// All commands.
    pub total: usize,
    /// Time since the graph was submitted.
    pub elapsed: Duration,
}

/// What a run gave.
#[derive(Clone, Debug)]
pub struct RunReport {
    /// Each output with its assembled bytes, in the order of the file.
    pub outputs: Vec<(Output, Vec<u8>)>,
    /// Commands that ran, writes of inputs and reads of outputs included.
    pub commands: usize,
    /// Bytes written to the farm.
    pub written_bytes: u64,
    /// Bytes read back.
    pub read_bytes: u64,
    /// Time spent waiting for builds before anything was submitted.
    pub build: Duration,
    /// Time from submitting the graph to the end of its last command, inputs and outputs included.
    pub makespan: Duration,
    /// What was to be told of placements, by label.
    pub explanations: Vec<(String, Explanation)>,
}

/// What a failure is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// A program of the file.
    Program {
        /// Its name.
        name: String,
        /// Its source.
        path: PathBuf,
    },
    /// A step of the file.
    Step {
        /// Its label.
        label: String,
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
    },
    /// The initial content of a buffer.
    Input {
        /// The buffer's name.
        buffer: String,
    },
    /// A part of an output.
    Output {
        /// The output's name.
        output: String,
    },
}

impl fmt::Display for Place {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Program { name, path } => write!(formatter, "{}: program `{name}`", path.display()),
            Self::Step { label, path, line } => {
                write!(formatter, "{}:{line}: step `{label}`", path.display())
            }
            Self::Input { buffer } => write!(formatter, "content of buffer `{buffer}`"),
            Self::Output { output } => write!(formatter, "output `{output}`"),
        }
    }
}

/// One failure that is not the consequence of another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// What failed.
    pub place: Place,
    /// Why.
    pub error: CommandError,
}

impl fmt::Display for Failure {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.error {
            CommandError::BuildFailed { logs } if !logs.is_empty() => {
                write!(formatter, "{}: does not build on any device", self.place)?;
                // Devices of one kind say the same.
                let mut told: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
                for log in logs {
                    told.entry(&log.log).or_default().push(&log.device);
                }
                for (log, devices) in told {
                    write!(formatter, "\n{}:\n{}", devices.join(", "), log.trim_end())?;
                }
                Ok(())
            }
            error => write!(formatter, "{}: {error}", self.place),
        }
    }
}

/// The failures of a run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RunFailures {
    /// Those that are not the consequence of another, in the order of the file; 20 at most.
    pub failures: Vec<Failure>,
    /// Further ones of the same sort.
    pub further: usize,
    /// Commands that failed since one of the above did.
    pub dependents: usize,
    /// All commands.
    pub commands: usize,
}

impl fmt::Display for RunFailures {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for failure in &self.failures {
            writeln!(formatter, "{failure}")?;
        }
        if self.further > 0 {
            writeln!(formatter, "and {} more failures", self.further)?;
        }
        let failed = self.failures.len() + self.further;
        write!(
            formatter,
            "{failed} failures; {} of {} commands failed as a consequence",
            self.dependents, self.commands
        )
    }
}

impl std::error::Error for RunFailures {}

/// Why a graph did not run to its end.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The graph cannot be submitted as one.
    #[error("cannot submit the graph")]
    Submit(#[from] GraphError),
    /// Programs do not build, or commands failed.
    #[error(transparent)]
    Failed(#[from] RunFailures),
    /// The bytes read back do not make the output.
    #[error("cannot assemble an output")]
    Assemble(#[from] AssembleError),
    /// A placement is to be told of a step that is not there.
    #[error("no step has the label `{label}`; there are {some}")]
    NoStep {
        /// The label.
        label: String,
        /// Some that are there.
        some: String,
    },
    /// The scheduler does not tell of a placement.
    #[error("cannot learn why step `{label}` ran where it ran")]
    Explain {
        /// The label.
        label: String,
        /// Why.
        #[source]
        error: AskError,
    },
}

/// What was submitted.
struct Submitted {
    handle: GraphHandle,
    writes: Vec<(usize, CommandHandle)>,
    steps: Vec<CommandHandle>,
    reads: Vec<Vec<ReadHandle>>,
}

impl PreparedGraph {
    /// What every device that is there can do, as graph files name it.
    #[must_use]
    pub fn capabilities(devices: &[DeviceStatus]) -> BTreeSet<String> {
        let mut present = devices.iter().filter(|device| device.is_present).peekable();
        let has_fp64 = present.peek().is_some() && present.all(|device| device.facts.has_fp64);
        has_fp64.then(|| "fp64".to_owned()).into_iter().collect()
    }

    /// Loads a graph file and everything that it names.
    ///
    /// # Errors
    /// Every error found, with file, line and key.
    pub fn load(path: &Path, settings: &Settings) -> Result<Self, GraphFileErrors> {
        GraphFile::load(path, settings).map(Self::new)
    }

    /// A graph file loaded before; contents of its buffers move out of it.
    #[must_use]
    pub fn new(mut file: GraphFile) -> Self {
        let contents = file.buffers.iter_mut().map(|buffer| buffer.content.take().map(Bytes::from)).collect();
        Self { file, contents }
    }

    /// The graph file; its buffers no longer hold their contents.
    #[must_use]
    pub fn file(&self) -> &GraphFile {
        &self.file
    }

    /// Runs the graph as one batch: inputs are written, all commands run, outputs are read back.
    /// `progress` is called ten times a second and once at the end.
    ///
    /// # Errors
    /// `RunError`; with failed commands all others have ended too.
    pub async fn run(
        &self,
        session: &Session,
        options: RunOptions,
        progress: &mut (dyn FnMut(Progress) + Send),
    ) -> Result<RunReport, RunError> {
        self.check_labels(&options.explain)?;
        let programs: Vec<Program> = self
            .file
            .programs
            .iter()
            .map(|program| session.program(&program.source).options(&program.options).build())
            .collect();
        let buffers: Vec<Buffer> =
            self.file.buffers.iter().map(|buffer| session.buffer(buffer.size_bytes)).collect();
        let building = clock::now();
        if options.builds_awaited > 0 {
            self.await_builds(&programs, options.builds_awaited).await?;
        }
        let build = building.elapsed();
        let started = clock::now();
        let submitted = self.submit(session.graph(), &programs, &buffers)?;
        let outcome = await_end(&submitted.handle, started, progress).await;
        let makespan = started.elapsed();
        if outcome.is_err() {
            return Err(self.failures(&programs, &submitted).into());
        }
        let mut report = self.report(&submitted, build, makespan).await?;
        let steps = self.file.commands.iter().zip(&submitted.steps);
        for (command, handle) in steps.filter(|(command, _)| options.explain.contains(&command.label)) {
            let label = command.label.clone();
            match session.explain(handle).await {
                Ok(explanation) => report.explanations.push((label, explanation)),
                Err(error) => return Err(RunError::Explain { label, error }),
            }
        }
        Ok(report)
    }

    fn check_labels(&self, labels: &[String]) -> Result<(), RunError> {
        let has = |label: &String| self.file.commands.iter().any(|command| command.label == *label);
        match labels.iter().find(|label| !has(label)) {
            None => Ok(()),
            Some(label) => {
                let some =
                    self.file.commands.iter().take(LABELS_TOLD_MAX).map(|command| command.label.as_str());
                let some = some.collect::<Vec<_>>().join(", ");
                Err(RunError::NoStep { label: label.clone(), some })
            }
        }
    }

    async fn await_builds(&self, programs: &[Program], devices: u32) -> Result<(), RunFailures> {
        for (place, program) in programs.iter().enumerate() {
            program.built().await.map_err(|error| RunFailures {
                failures: vec![Failure { place: self.program_place(place), error }],
                ..RunFailures::default()
            })?;
            while let Some(Ok(facts)) = program.outcome()
                && (facts.devices as usize + facts.failures.len()) < devices as usize
            {
                tokio::time::sleep(BUILD_LOOK_INTERVAL).await;
            }
        }
        Ok(())
    }

    fn submit(
        &self,
        mut graph: Graph,
        programs: &[Program],
        buffers: &[Buffer],
    ) -> Result<Submitted, GraphError> {
        let mut writes = Vec::new();
        for (place, content) in self.contents.iter().enumerate() {
            if let Some(content) = content {
                let label = format!("write {}", self.file.buffers[place].name);
                let write = graph.write(&buffers[place], 0, content.clone()).label(label).enqueue();
                writes.push((place, write));
            }
        }
        let mut steps: Vec<CommandHandle> = Vec::new();
        let mut afterwards = Vec::new();
        for (place, command) in self.file.commands.iter().enumerate() {
            let label = command.label.as_str();
            let (earlier, later): (Vec<usize>, Vec<usize>) =
                command.after.iter().copied().partition(|predecessor| *predecessor < place);
            let after = earlier.iter().map(|predecessor| &steps[*predecessor]);
            let handle = match &command.kind {
                CommandKind::Launch(launch) => {
                    let builder = graph.launch(&programs[launch.program], &launch.kernel);
                    launched(builder, launch, buffers).label(label).after_all(after).enqueue()
                }
                CommandKind::Copy {
                    source,
                    source_offset_bytes,
                    target,
                    target_offset_bytes,
                    size_bytes,
                } => graph
                    .copy(&buffers[*source], &buffers[*target])
                    .range(*source_offset_bytes..source_offset_bytes + size_bytes)
                    .to_offset(*target_offset_bytes)
                    .label(label)
                    .after_all(after)
                    .enqueue(),
                CommandKind::Fill { buffer, offset_bytes, size_bytes, pattern } => {
                    filled(&mut graph, &buffers[*buffer], pattern)
                        .range(*offset_bytes..offset_bytes + size_bytes)
                        .label(label)
                        .after_all(after)
                        .enqueue()
                }
                CommandKind::Barrier => graph.barrier().label(label).after_all(after).enqueue(),
                CommandKind::Marker => graph.marker().label(label).after_all(after).enqueue(),
            };
            steps.push(handle);
            afterwards.extend(later.into_iter().map(|predecessor| (place, predecessor)));
        }
        for (member, predecessor) in afterwards {
            graph.run_after(&steps[member], &steps[predecessor]);
        }
        let reads = self.file.outputs.iter().map(|output| self.read(&mut graph, output, buffers)).collect();
        let handle = graph.submit()?;
        Ok(Submitted { handle, writes, steps, reads })
    }

    fn read(&self, graph: &mut Graph, output: &Output, buffers: &[Buffer]) -> Vec<ReadHandle> {
        let parts = output.parts.iter().map(|part| {
            let label = format!("read {}", self.file.buffers[part.buffer].name);
            graph.read(&buffers[part.buffer]).range(bounds(part.range)).label(label).enqueue()
        });
        parts.collect()
    }

    async fn report(
        &self,
        submitted: &Submitted,
        build: Duration,
        makespan: Duration,
    ) -> Result<RunReport, RunError> {
        let mut outputs = Vec::new();
        let mut read_bytes = 0;
        for (output, reads) in self.file.outputs.iter().zip(&submitted.reads) {
            let mut parts = Vec::with_capacity(reads.len());
            for read in reads {
                let bytes = read.await.map_err(|error| RunFailures {
                    failures: vec![Failure { place: output_place(output), error }],
                    commands: submitted.handle.len(),
                    ..RunFailures::default()
                })?;
                read_bytes += bytes.len() as u64;
                parts.push(bytes.to_vec());
            }
            outputs.push((output.clone(), output.assemble(&parts)?));
        }
        let written_bytes = self.contents.iter().flatten().map(|content| content.len() as u64).sum();
        let commands = submitted.handle.len();
        let explanations = Vec::new();
        Ok(RunReport { outputs, commands, written_bytes, read_bytes, build, makespan, explanations })
    }

    /// What failed first, in the order of the file; what failed in consequence is counted.
    fn failures(&self, programs: &[Program], submitted: &Submitted) -> RunFailures {
        let mut told = RunFailures { commands: submitted.handle.len(), ..RunFailures::default() };
        for (place, program) in programs.iter().enumerate() {
            if let Some(Err(error)) = program.outcome() {
                told.add(self.program_place(place), error);
            }
        }
        let has_unbuilt = !told.failures.is_empty();
        let places = submitted
            .writes
            .iter()
            .map(|(buffer, handle)| {
                (Place::Input { buffer: self.file.buffers[*buffer].name.clone() }, handle)
            })
            .chain(submitted.steps.iter().enumerate().map(|(step, handle)| (self.step_place(step), handle)))
            .chain(
                self.file.outputs.iter().zip(&submitted.reads).flat_map(|(output, reads)| {
                    reads.iter().map(|read| (output_place(output), read.handle()))
                }),
            );
        for (place, handle) in places {
            match handle.outcome() {
                Some(Err(CommandError::Dependency { .. })) => told.dependents += 1,
                Some(Err(CommandError::BuildFailed { .. })) if has_unbuilt => told.dependents += 1,
                Some(Err(error)) => told.add(place, error),
                Some(Ok(_)) | None => {}
            }
        }
        told
    }

    fn program_place(&self, program: usize) -> Place {
        let program = &self.file.programs[program];
        Place::Program { name: program.name.clone(), path: program.source_path.clone() }
    }

    fn step_place(&self, step: usize) -> Place {
        let command = &self.file.commands[step];
        Place::Step { label: command.label.clone(), path: self.file.path.clone(), line: command.line }
    }
}

impl RunFailures {
    fn add(&mut self, place: Place, error: CommandError) {
        if self.failures.len() < FAILURES_TOLD_MAX {
            self.failures.push(Failure { place, error });
        } else {
            self.further += 1;
        }
    }
}

pub(crate) async fn await_end(
    handle: &GraphHandle,
    started: Instant,
    progress: &mut (dyn FnMut(Progress) + Send),
) -> Result<(), CommandError> {
    let members: Vec<CommandHandle> = handle.handles().collect();
    let mut tell = |finished| {
        progress(Progress { finished, total: members.len(), elapsed: started.elapsed() });
    };
    let mut ticks = tokio::time::interval(PROGRESS_INTERVAL);
    let mut ended = std::pin::pin!(handle.wait());
    loop {
        tokio::select! {
            biased;
            outcome = &mut ended => {
                tell(members.len());
                return outcome;
            }
            _ = ticks.tick() => tell(members.iter().filter(|member| member.is_finished()).count()),
        }
    }
}

fn launched<'a>(mut builder: LaunchBuilder<'a>, launch: &Launch, buffers: &[Buffer]) -> LaunchBuilder<'a> {
    builder = match dimensions(&launch.global) {
        Sizes::One(sizes) => builder.range(sizes),
        Sizes::Two(sizes) => builder.range(sizes),
        Sizes::Three(sizes) => builder.range(sizes),
    };
    if let Some(local) = &launch.local {
        builder = match dimensions(local) {
            Sizes::One(sizes) => builder.local(sizes),
            Sizes::Two(sizes) => builder.local(sizes),
            Sizes::Three(sizes) => builder.local(sizes),
        };
    }
    if let Some(offset) = &launch.offset {
        builder = match dimensions(offset) {
            Sizes::One(sizes) => builder.offset(sizes),
            Sizes::Two(sizes) => builder.offset(sizes),
            Sizes::Three(sizes) => builder.offset(sizes),
        };
    }
    for argument in &launch.arguments {
        builder = match argument {
            Argument::Buffer(argument) => bound(builder, argument, &buffers[argument.buffer]),
            Argument::Scalar(value) => builder.scalar_bytes(value.clone()),
            Argument::Local { size_bytes } => builder.local_memory(*size_bytes),
        };
    }
    builder
}

fn bound<'a>(builder: LaunchBuilder<'a>, argument: &BufferArgument, buffer: &Buffer) -> LaunchBuilder<'a> {
    let builder = match argument.access {
        None => builder.buffer(buffer),
        Some(Access::Read) => builder.read(buffer),
        Some(Access::Write) => builder.write(buffer),
        Some(Access::ReadWrite) => builder.read_write(buffer),
    };
    let is_whole = argument.bound.offset_bytes == 0 && argument.bound.size_bytes == buffer.size_bytes();
    let builder = if is_whole { builder } else { builder.part(bounds(argument.bound)) };
    match argument.touches {
        Some(touches) => builder.touching(bounds(touches)),
        None => builder,
    }
}

/// A fill with a pattern of bytes: the client takes numbers, and any of the same bytes do.
fn filled<'a>(graph: &'a mut Graph, buffer: &Buffer, pattern: &[u8]) -> FillBuilder<'a> {
    fn numbers<const SIZE: usize, const COUNT: usize>(pattern: &[u8]) -> [[u8; SIZE]; COUNT] {
        let mut numbers = [[0; SIZE]; COUNT];
        for (number, bytes) in numbers.iter_mut().zip(pattern.chunks_exact(SIZE)) {
            number.copy_from_slice(bytes);
        }
        numbers
    }
    match pattern.len() {
        1 => graph.fill(buffer, pattern[0]),
        2 => graph.fill(buffer, u16::from_le_bytes(numbers::<2, 1>(pattern)[0])),
        4 => graph.fill(buffer, u32::from_le_bytes(numbers::<4, 1>(pattern)[0])),
        8 => graph.fill(buffer, u64::from_le_bytes(numbers::<8, 1>(pattern)[0])),
        16 => graph.fill(buffer, numbers::<8, 2>(pattern).map(u64::from_le_bytes)),
        32 => graph.fill(buffer, numbers::<8, 4>(pattern).map(u64::from_le_bytes)),
        64 => graph.fill(buffer, numbers::<8, 8>(pattern).map(u64::from_le_bytes)),
        // Graph files are checked to have none but these lengths and 128.
        _ => graph.fill(buffer, numbers::<8, 16>(pattern).map(u64::from_le_bytes)),
    }
}

enum Sizes {
    One([u64; 1]),
    Two([u64; 2]),
    Three([u64; 3]),
}

/// Graph files are checked to have one to three dimensions.
fn dimensions(sizes: &[u64]) -> Sizes {
    match *sizes {
        [x] => Sizes::One([x]),
        [x, y] => Sizes::Two([x, y]),
        [x, y, z, ..] => Sizes::Three([x, y, z]),
        [] => Sizes::One([0]),
    }
}

fn bounds(range: ByteRange) -> std::ops::Range<u64> {
    range.offset_bytes..range.offset_bytes + range.size_bytes
}

fn output_place(output: &Output) -> Place {
    Place::Output { output: output.name.clone() }
}
