//! The `Scheduler` machine beside agents that are made up: they answer every order at once. No network, no devices.
//!
//! Tasks are no-op launches. Only the time inside `step` is counted. Must never assert a time.

use std::time::{Duration, Instant};

use isochrone_model::message::ClientRequest;
use isochrone_model::order::{BuildOutcome, BuiltKernel, SessionSecret};
use isochrone_model::{
    AgentFacts, AgentId, Attempt, BytesPerSecond, Command, CommandId, CommandKind, DeviceFacts, DeviceIndex,
    DeviceKind, KernelSignature, Launch, Limits, NdRange, Order, ProgramId, Report, SessionId, Span, TaskId,
    TaskOutcome, TenantId, Timestamp,
};
use isochrone_sched_core::{Action, Event, Scheduler, SchedulerConfig};

const SESSION: SessionId = SessionId(1);
/// Ends that one message of an agent tells at most.
const REPORTS_MAX: usize = 1_024;

/// What was ordered of one agent and is not answered yet. Small, so that it does not disturb what is counted.
#[derive(Default)]
struct MadeUpAgent {
    runs: Vec<(TaskId, Attempt)>,
    others: Vec<Report>,
}

/// A scheduler and its made-up agents.
pub struct Farm {
    scheduler: Scheduler,
    agents: Vec<MadeUpAgent>,
    now: u64,
    last_command: u64,
    /// Each task comes after the one before it.
    is_chain: bool,
    /// The time inside `step`.
    pub spent: Duration,
    /// How many steps that were.
    pub steps: u64,
}

impl Farm {
    /// With so many devices, each of an agent of its own, and one session whose program is built.
    pub fn new(devices: usize, policy: &str, is_chain: bool) -> Self {
        let config = SchedulerConfig { limits: Limits::default(), policy: policy.to_owned(), costs: None };
        let scheduler = Scheduler::new(config, isochrone_policies::registry()).expect("a policy");
        let agents = (0..devices).map(|_| MadeUpAgent::default()).collect();
        let (spent, steps) = (Duration::ZERO, 0);
        let mut farm = Self { scheduler, agents, now: 0, last_command: 0, is_chain, spent, steps };
        for agent in 0..devices {
            farm.step(Event::AgentJoined { agent: AgentId::from_index(agent), facts: facts(agent) });
        }
        farm.step(Event::SessionOpened {
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
        farm.step(Event::Request { session: SESSION, request });
        farm.settle();
        (farm.spent, farm.steps) = (Duration::ZERO, 0);
        farm
    }

    /// Submits so many tasks, in pieces, and ends each piece before the next.
    pub fn run_in_pieces(&mut self, tasks: u64, piece: u64) {
        let mut left = tasks;
        while left > 0 {
            self.submit(left.min(piece));
            left -= left.min(piece);
            self.settle();
        }
    }

    /// Submits so many tasks, then places them all, then ends them all.
    pub fn run_at_once(&mut self, tasks: u64, piece: u64) {
        self.submit_in_pieces(tasks, piece);
        self.place();
        self.settle();
    }

    /// Submits so many tasks and places none.
    pub fn submit_in_pieces(&mut self, tasks: u64, piece: u64) {
        let mut left = tasks;
        while left > 0 {
            self.submit(left.min(piece));
            left -= left.min(piece);
        }
    }

    fn submit(&mut self, count: u64) {
        let commands = (0..count).map(|_| self.next_command()).collect();
        self.step(Event::Request { session: SESSION, request: ClientRequest::Submit { commands } });
    }

    /// Takes the steps that are due by time: everything is placed that can be.
    pub fn place(&mut self) {
        while let Some((_, timer)) = self.scheduler.deadline() {
            self.step(Event::Timer(timer));
        }
    }

    /// Places and ends everything.
    pub fn settle(&mut self) {
        loop {
            self.place();
            let mut is_quiet = true;
            for agent in 0..self.agents.len() {
                is_quiet &= self.answer_all(AgentId::from_index(agent));
            }
            if is_quiet && self.scheduler.deadline().is_none() {
                return;
            }
        }
    }

    /// Makes one agent tell the ends of what it was ordered; whether there was nothing to tell.
    fn answer_all(&mut self, agent: AgentId) -> bool {
        let mut is_quiet = true;
        let mut told = 0;
        loop {
            let place = &mut self.agents[agent.index()];
            let mut reports = std::mem::take(&mut place.others);
            let runs = &place.runs[told..place.runs.len().min(told + REPORTS_MAX)];
            told += runs.len();
            reports.extend(runs.iter().map(|(task, attempt)| Report::Finished {
                task: *task,
                attempt: *attempt,
                outcome: TaskOutcome::Done { execution: Span(5_000), turnaround: Span(6_000) },
            }));
            if reports.is_empty() {
                self.agents[agent.index()].runs.clear();
                return is_quiet;
            }
            is_quiet = false;
            self.step(Event::Reports { agent, reports });
        }
    }

    fn step(&mut self, event: Event) {
        self.now += 1_000;
        let begun = Instant::now();
        let actions = self.scheduler.step(Timestamp(self.now), event);
        self.spent += begun.elapsed();
        self.steps += 1;
        for action in actions {
            if let Action::Order { agent, order } = action {
                self.agents[agent.index()].take(order);
            }
        }
    }

    /// Tasks that have not ended.
    pub fn unfinished_tasks(&self) -> usize {
        self.scheduler.unfinished_tasks()
    }

    /// Bytes that the made-up agents hold themselves.
    pub fn held_bytes(&self) -> usize {
        self.agents.iter().map(|agent| agent.runs.capacity() * size_of::<(TaskId, Attempt)>()).sum()
    }

    fn next_command(&mut self) -> Command {
        self.last_command += 1;
        let id = self.last_command;
        let after = if self.is_chain && id > 1 { vec![CommandId(id - 1)] } else { Vec::new() };
        let launch = Launch {
            program: ProgramId(1),
            kernel: "noop".to_owned(),
            range: NdRange::linear(1),
            arguments: Vec::new(),
        };
        Command { id: CommandId(id), after, label: String::new(), kind: CommandKind::Launch(launch) }
    }
}

impl MadeUpAgent {
    fn take(&mut self, order: Order) {
        match order {
            Order::Run(order) => self.runs.push((order.task, order.attempt)),
            Order::Build { program, .. } => {
                let signature = KernelSignature { name: "noop".to_owned(), arguments: Vec::new().into() };
                let kernels = vec![BuiltKernel { signature, work_group_size_max: 256 }];
                let outcome = BuildOutcome::Built { kernels: kernels.into(), log: String::new() };
                self.others.push(Report::Built { program, device: DeviceIndex(0), outcome });
            }
            _ => {}
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
