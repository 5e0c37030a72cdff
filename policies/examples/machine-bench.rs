//! `machine-bench`: what the `Scheduler` machine itself takes, without network, agents or devices.
//!
//! Tasks are no-op launches, submitted in batches; agents are made up: they answer every order at once. Only the time
//! inside `step` counts. Must never assert a time: it measures and prints.

#![expect(clippy::disallowed_methods, reason = "a benchmark reads the clock: that is what it is for")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use clap::Parser;
use isochrone_model::message::ClientRequest;
use isochrone_model::order::{BuildOutcome, BuiltKernel, SessionSecret};
use isochrone_model::{
    AgentFacts, AgentId, BytesPerSecond, Command, CommandId, CommandKind, DeviceFacts, DeviceIndex,
    DeviceKind, KernelSignature, Launch, Limits, NdRange, Order, ProgramId, Report, SessionId, SharedList,
    Span, TaskOutcome, TenantId, Timestamp,
};
use isochrone_sched_core::{Action, Event, Scheduler, SchedulerConfig};

/// Measures the scheduler's machine alone.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    /// Tasks
    #[arg(long, default_value_t = 1_000_000)]
    tasks: u64,

    /// Devices, each of an agent of its own
    #[arg(long, default_value_t = 64)]
    devices: usize,

    /// Tasks of one submission
    #[arg(long, default_value_t = 10_000)]
    batch: u64,

    /// The policy
    #[arg(long, default_value = "eager")]
    policy: String,

    /// Slots weighed for each plan of a policy that names no candidates
    #[arg(long, default_value_t = Limits::default().slots_weighed_per_plan_max)]
    slots_weighed: u32,

    /// Each task after the one before it
    #[arg(long)]
    chain: bool,
}

/// Counts what is allocated, so that memory a task can be said.
struct Counting;

static ALLOCATED: AtomicUsize = AtomicUsize::new(0);

// SAFETY: every call is passed on to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATED.fetch_add(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller's promise is passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        ALLOCATED.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller's promise is passed on.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

struct Bench {
    scheduler: Scheduler,
    spent: Duration,
    steps: u64,
    /// By agent, reports that wait.
    reports: Vec<Vec<Report>>,
    now: u64,
}

const SESSION: SessionId = SessionId(1);

impl Bench {
    fn step(&mut self, event: Event) {
        self.now += 1_000;
        let begun = Instant::now();
        let actions = self.scheduler.step(Timestamp(self.now), event);
        self.spent += begun.elapsed();
        self.steps += 1;
        for action in actions {
            if let Action::Order { agent, order } = action {
                self.answer(agent, order);
            }
        }
    }

    fn answer(&mut self, agent: AgentId, order: Order) {
        match order {
            Order::Run(order) => {
                let outcome = TaskOutcome::Done { execution: Span(5_000), turnaround: Span(6_000) };
                let report = Report::Finished { task: order.task, attempt: order.attempt, outcome };
                self.reports[agent.index()].push(report);
            }
            Order::Build { program, .. } => {
                let signature = KernelSignature { name: "noop".to_owned(), arguments: SharedList::default() };
                let kernels = vec![BuiltKernel { signature, work_group_size_max: 256 }].into();
                let outcome = BuildOutcome::Built { kernels, log: String::new() };
                self.reports[agent.index()].push(Report::Built { program, device: DeviceIndex(0), outcome });
            }
            _ => {}
        }
    }

    fn settle(&mut self) {
        loop {
            while let Some((_, timer)) = self.scheduler.deadline() {
                self.step(Event::Timer(timer));
            }
            let mut is_quiet = true;
            for agent in 0..self.reports.len() {
                let reports = std::mem::take(&mut self.reports[agent]);
                if !reports.is_empty() {
                    is_quiet = false;
                    self.step(Event::Reports { agent: AgentId::from_index(agent), reports });
                }
            }
            if is_quiet && self.scheduler.deadline().is_none() {
                return;
            }
        }
    }
}

fn facts(agent: usize) -> AgentFacts {
    let device = DeviceFacts {
        name: "device".to_owned(),
        platform: "bench".to_owned(),
        driver: "1".to_owned(),
        kind: DeviceKind::Virtual,
        compute_units: 1,
        clock_mhz: 1,
        memory_bytes: 1 << 30,
        buffer_bytes_max: 1 << 28,
        local_memory_bytes: 1 << 15,
        work_group_size_max: 256,
        sub_buffer_alignment_bytes: 128,
        has_fp64: true,
        slots: 1,
        prior_items_per_us: 1_000,
        prior_launch: Span(5_000),
        prior_host_rate: BytesPerSecond(1_000_000_000),
    };
    AgentFacts {
        name: format!("agent-{agent}"),
        address: "127.0.0.1:1".to_owned(),
        devices: vec![device],
        host_memory_bytes: 1 << 30,
    }
}

fn command(id: u64, is_chain: bool) -> Command {
    let after = if is_chain && id > 1 { vec![CommandId(id - 1)] } else { Vec::new() };
    let launch = Launch {
        program: ProgramId(1),
        kernel: "noop".to_owned(),
        range: NdRange::linear(1),
        arguments: Vec::new(),
    };
    Command { id: CommandId(id), after, label: String::new(), kind: CommandKind::Launch(launch) }
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let limits = Limits { slots_weighed_per_plan_max: arguments.slots_weighed, ..Limits::default() };
    let config = SchedulerConfig { limits, policy: arguments.policy.clone(), costs: None };
    let scheduler = Scheduler::new(config, isochrone_policies::registry())?;
    let reports = vec![Vec::new(); arguments.devices];
    let mut bench = Bench { scheduler, spent: Duration::ZERO, steps: 0, reports, now: 0 };
    for agent in 0..arguments.devices {
        bench.step(Event::AgentJoined { agent: AgentId::from_index(agent), facts: facts(agent) });
    }
    bench.step(Event::SessionOpened {
        session: SESSION,
        tenant: TenantId(0),
        tenant_name: "bench".to_owned(),
        policy: String::new(),
        secret: SessionSecret([0; 16]),
    });
    let request = ClientRequest::CreateProgram {
        program: ProgramId(1),
        source: "noop".to_owned(),
        options: String::new(),
    };
    bench.step(Event::Request { session: SESSION, request });
    bench.settle();

    // Memory: all tasks submitted and none finished, in a batch small enough to hold.
    let (mut id, held) = (0, arguments.tasks.min(100_000));
    let commands: Vec<Command> = (0..held).map(|_| next(&mut id, arguments.chain)).collect();
    let before = ALLOCATED.load(Ordering::Relaxed);
    let of_commands = commands.capacity() * size_of::<Command>()
        + commands.iter().map(|command| command.after.capacity() * size_of::<CommandId>() + 4).sum::<usize>();
    bench.step(Event::Request { session: SESSION, request: ClientRequest::Submit { commands } });
    let grown = (ALLOCATED.load(Ordering::Relaxed) + of_commands).saturating_sub(before);
    println!("memory: {:.0} bytes a task, {held} tasks submitted and not placed", grown as f64 / held as f64);
    bench.settle();

    (bench.spent, bench.steps) = (Duration::ZERO, 0);
    let begun = Instant::now();
    let mut left = arguments.tasks;
    while left > 0 {
        let batch = left.min(arguments.batch);
        left -= batch;
        let commands = (0..batch).map(|_| next(&mut id, arguments.chain)).collect();
        bench.step(Event::Request { session: SESSION, request: ClientRequest::Submit { commands } });
        bench.settle();
    }
    let each = bench.spent.as_nanos() as f64 / arguments.tasks as f64;
    println!(
        "{} tasks on {} devices under {}: {:.3} s in {} steps, {each:.0} ns a task ({:.3} s with the made-up agents)",
        arguments.tasks,
        arguments.devices,
        arguments.policy,
        bench.spent.as_secs_f64(),
        bench.steps,
        begun.elapsed().as_secs_f64(),
    );
    anyhow::ensure!(bench.scheduler.unfinished_tasks() == 0, "every task has ended");
    Ok(())
}

fn next(id: &mut u64, is_chain: bool) -> Command {
    *id += 1;
    command(*id, is_chain)
}
