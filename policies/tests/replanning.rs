//! Plans are made anew when a kernel takes other than was expected, when an agent joins and when one leaves, and what is late may have a backup: on
//! the scheduler's machine, with devices that take as long as a test says.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, VecDeque};

use isochrone_model::message::ClientRequest;
use isochrone_model::order::{BuildOutcome, BuiltKernel, SessionSecret, TaskOutcome};
use isochrone_model::{
    AgentFacts, AgentId, BytesPerSecond, Command, CommandId, CommandKind, DeviceFacts, DeviceIndex,
    DeviceKind, KernelSignature, Launch, Limits, NdRange, Order, ProgramId, Report, SessionId, SharedList,
    Span, TaskOrder, TenantId, Timestamp,
};
use isochrone_sched_core::{Action, Event, Scheduler, SchedulerConfig};

const SESSION: SessionId = SessionId(1);
/// What every kernel is expected to take before any has run.
const EXPECTED: Span = Span::from_millis(10);
/// From an order to build until it is built.
const BUILD: Span = Span::from_millis(3);
/// Items that take that long by what the devices say of themselves.
const ITEMS: u64 = 10_000;

/// Agents with one device each, in virtual time; words take none.
struct Farm {
    scheduler: Scheduler,
    now: Timestamp,
    /// By time, then by number.
    events: BinaryHeap<Reverse<(Timestamp, u64)>>,
    event_of: BTreeMap<u64, Event>,
    numbers: u64,
    /// By agent, what a kernel takes there.
    execution: Vec<Span>,
    /// By agent, what it has to run, the first running.
    lanes: Vec<VecDeque<TaskOrder>>,
    /// By agent, how many tasks have ended there.
    ended_on: Vec<usize>,
    /// Commands that have been submitted.
    submitted: u64,
    /// When the scheduler had nothing left.
    ended_at: Timestamp,
}

impl Farm {
    fn new(policy: &str, execution: &[Span]) -> Self {
        let config = SchedulerConfig { limits: Limits::default(), policy: policy.to_owned(), costs: None };
        let scheduler = Scheduler::new(config, isochrone_policies::registry()).unwrap();
        let mut farm = Self {
            scheduler,
            now: Timestamp::ZERO,
            events: BinaryHeap::new(),
            event_of: BTreeMap::new(),
            numbers: 0,
            execution: Vec::new(),
            lanes: Vec::new(),
            ended_on: Vec::new(),
            submitted: 0,
            ended_at: Timestamp::ZERO,
        };
        for span in execution {
            farm.join_at(Timestamp::ZERO, *span);
        }
        farm.at(
            Timestamp::ZERO,
            Event::SessionOpened {
                session: SESSION,
                tenant: TenantId(0),
                tenant_name: "test".to_owned(),
                policy: String::new(),
                secret: SessionSecret([0; 16]),
            },
        );
        let request = ClientRequest::CreateProgram {
            program: ProgramId(1),
            source: "kernel".to_owned(),
            options: String::new(),
        };
        farm.at(Timestamp::ZERO, Event::Request { session: SESSION, request });
        farm.run();
        farm
    }

    fn at(&mut self, time: Timestamp, event: Event) {
        self.numbers += 1;
        self.events.push(Reverse((time, self.numbers)));
        self.event_of.insert(self.numbers, event);
    }

    /// An agent joins so long from now.
    fn join_in(&mut self, after: Span, execution: Span) {
        self.join_at(self.now + after, execution);
    }

    fn join_at(&mut self, time: Timestamp, execution: Span) {
        let agent = self.lanes.len();
        self.execution.push(execution);
        self.lanes.push(VecDeque::new());
        self.ended_on.push(0);
        self.at(time, Event::AgentJoined { agent: AgentId::from_index(agent), facts: facts(agent) });
    }

    fn leave_in(&mut self, after: Span, agent: usize) {
        let event = Event::AgentLeft { agent: AgentId::from_index(agent), reason: "left".to_owned() };
        self.at(self.now + after, event);
    }

    /// So many tasks that do not depend on each other.
    fn submit(&mut self, tasks: u64) {
        let launch = Launch {
            program: ProgramId(1),
            kernel: "kernel".to_owned(),
            range: NdRange::linear(ITEMS),
            arguments: Vec::new(),
        };
        let command = |id| Command {
            id: CommandId(id),
            after: Vec::new(),
            label: String::new(),
            kind: CommandKind::Launch(launch.clone()),
        };
        let commands = (self.submitted + 1..=self.submitted + tasks).map(command).collect();
        self.submitted += tasks;
        let request = ClientRequest::Submit { commands };
        self.at(self.now, Event::Request { session: SESSION, request });
    }

    /// Until nothing is left to happen.
    fn run(&mut self) {
        loop {
            let next = self.events.peek().map(|Reverse((time, _))| *time);
            let due = self.scheduler.deadline();
            if let Some(time) = next.filter(|time| due.is_none_or(|(due, _)| *time <= due.max(self.now))) {
                self.now = self.now.max(time);
                let Some(Reverse((_, number))) = self.events.pop() else { return };
                if let Some(event) = self.event_of.remove(&number) {
                    self.take(event);
                }
            } else if let Some((time, timer)) = due {
                self.now = self.now.max(time);
                self.step(Event::Timer(timer));
            } else {
                return;
            }
        }
    }

    fn take(&mut self, event: Event) {
        if let Event::AgentLeft { agent, .. } = &event {
            self.lanes[agent.index()].clear();
        }
        if let Event::Reports { agent, reports } = &event
            && let [Report::Finished { task, attempt, .. }] = reports.as_slice()
        {
            // What an agent would have ended that has left since.
            let lane = &mut self.lanes[agent.index()];
            if lane.front().is_none_or(|first| (first.task, first.attempt) != (*task, *attempt)) {
                return;
            }
            lane.pop_front();
            self.ended_on[agent.index()] += 1;
            self.begin(*agent);
        }
        self.step(event);
    }

    fn step(&mut self, event: Event) {
        let was_busy = self.scheduler.unfinished_tasks() > 0;
        let actions = self.scheduler.step(self.now, event);
        self.scheduler.check_invariants();
        if was_busy && self.scheduler.unfinished_tasks() == 0 {
            self.ended_at = self.now;
        }
        for action in actions {
            match action {
                Action::Order { agent, order } => self.obey(agent, order),
                Action::Reply { .. } | Action::SessionEnded { .. } => {}
            }
        }
    }

    fn obey(&mut self, agent: AgentId, order: Order) {
        match order {
            // What is on a lane is not taken back.
            Order::Run(order) | Order::RunBackup(order) => {
                let lane = &mut self.lanes[agent.index()];
                lane.push_back(*order);
                if lane.len() == 1 {
                    self.begin(agent);
                }
            }
            Order::Build { program, .. } => {
                let signature =
                    KernelSignature { name: "kernel".to_owned(), arguments: SharedList::default() };
                let kernels = vec![BuiltKernel { signature, work_group_size_max: 256 }].into();
                let outcome = BuildOutcome::Built { kernels, log: String::new() };
                let reports = vec![Report::Built { program, device: DeviceIndex(0), outcome }];
                self.at(self.now + BUILD, Event::Reports { agent, reports });
            }
            _ => {}
        }
    }

    /// The first of a lane runs from now on.
    fn begin(&mut self, agent: AgentId) {
        let Some(order) = self.lanes[agent.index()].front() else { return };
        let execution = self.execution[agent.index()];
        let outcome = TaskOutcome::Done { execution, turnaround: execution };
        let reports = vec![Report::Finished { task: order.task, attempt: order.attempt, outcome }];
        self.at(self.now + execution, Event::Reports { agent, reports });
    }

    /// How many tasks have ended on each agent; none is left.
    fn ended(&self) -> Vec<usize> {
        assert_eq!(self.scheduler.unfinished_tasks(), 0);
        self.ended_on.clone()
    }
}

fn facts(agent: usize) -> AgentFacts {
    let device = DeviceFacts {
        name: "device".to_owned(),
        platform: "test".to_owned(),
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
        prior_items_per_us: ITEMS / (EXPECTED.0 / 1_000),
        prior_launch: Span::ZERO,
        prior_host_rate: BytesPerSecond(1_000_000_000),
    };
    AgentFacts {
        name: format!("agent-{agent}"),
        address: "127.0.0.1:1".to_owned(),
        devices: vec![device],
        host_memory_bytes: 1 << 30,
    }
}

/// Planners that count with all tasks and slots, each another kind of one.
const PLANNERS: [&str; 4] = ["heft", "min-min", "peft", "etf"];

#[test]
fn a_kernel_that_takes_far_longer_than_expected_moves_the_rest() {
    for planner in PLANNERS {
        let tasks_on_slow = |options: &str, slow: Span| {
            let mut farm = Farm::new(&format!("{planner}({options},ahead_ms=5)"), &[EXPECTED, slow]);
            farm.submit(40);
            farm.run();
            farm.ended()[1]
        };
        let ten_times = EXPECTED.saturating_mul(10);
        assert_eq!(tasks_on_slow("replan=0", ten_times), 20, "{planner}: half of them, as planned");
        let moved = tasks_on_slow("replan=2", ten_times);
        // When the first of them ends, ten have been due there; the other ten are moved.
        assert!((1..=12).contains(&moved), "{planner}: {moved} on a device that takes ten times as long");
        // Off by less than the stated factor.
        let one_and_a_half = Span(EXPECTED.0 * 3 / 2);
        assert_eq!(tasks_on_slow("replan=2", one_and_a_half), 20, "{planner}");
        assert!(tasks_on_slow("replan=1", one_and_a_half) < 20, "{planner}");
    }
}

#[test]
fn an_agent_that_joins_in_mid_graph_gets_tasks() {
    for planner in PLANNERS.into_iter().chain(["foresight"]) {
        let mut farm = Farm::new(&format!("{planner}(replan=0,ahead_ms=5)"), &[EXPECTED; 2]);
        farm.submit(40);
        farm.join_in(Span::from_millis(55), EXPECTED);
        farm.run();
        let ended = farm.ended();
        assert_eq!(ended.iter().sum::<usize>(), 40, "{planner}");
        // Of some 28 that are left then it has a third.
        assert!(ended[2] >= 6, "{planner}: {ended:?}");
    }
}

#[test]
fn what_was_planned_on_an_agent_that_leaves_runs_elsewhere() {
    for planner in PLANNERS.into_iter().chain(["foresight"]) {
        let mut farm = Farm::new(&format!("{planner}(replan=0,ahead_ms=5)"), &[EXPECTED; 4]);
        farm.submit(60);
        // What runs on the second that leaves was no longer to be placed when the rest was planned again because of the first.
        farm.leave_in(Span::from_millis(57), 3);
        farm.leave_in(Span::from_millis(58), 2);
        farm.run();
        let ended = farm.ended();
        assert_eq!(ended.iter().sum::<usize>(), 60, "{planner}");
        assert!(ended[2..] == [5, 5], "{planner}: as many as they had time for: {ended:?}");
        assert!(ended[0].abs_diff(ended[1]) <= 2, "{planner}: the rest is shared out anew: {ended:?}");
    }
}

/// Four agents that have all been as fast as each other; then the last takes ten times as long, of which nobody has heard.
fn farm_with_a_slow_agent(policy: &str) -> Farm {
    let mut farm = Farm::new(policy, &[EXPECTED; 4]);
    farm.submit(16);
    farm.run();
    farm.execution[3] = EXPECTED.saturating_mul(10);
    farm.ended_on = vec![0; 4];
    farm.submit(8);
    farm
}

#[test]
fn what_is_late_on_an_agent_that_has_become_slow_is_outrun_by_backups() {
    let run = |policy: &str| {
        let mut farm = farm_with_a_slow_agent(policy);
        let begin = farm.now;
        farm.run();
        farm.ended();
        (farm.ended_at.since(begin), farm.scheduler.backups())
    };
    let (alone, none) = run("foresight");
    let (hedged, backups) = run("foresight(hedge=2)");
    assert_eq!((none.ordered, none.used), (0, 0));
    assert!(backups.ordered >= 2 && backups.used >= 2, "{backups:?}");
    // Two tasks behind each other take twenty times a kernel; with backups the second is late for two, and takes one more.
    assert!(hedged.saturating_mul(3) < alone, "{hedged} with backups, {alone} without");
}

#[test]
fn a_backup_is_a_decision_that_can_be_explained() {
    let mut farm = farm_with_a_slow_agent("foresight(hedge=2)");
    farm.run();
    let explained = (17..=24).filter_map(|command| farm.scheduler.explain(SESSION, CommandId(command)));
    let decisions: Vec<_> = explained.filter_map(|explanation| explanation.decision).collect();
    assert_eq!(decisions.len(), 8);
    let backups = decisions.iter().filter(|decision| decision.reason.starts_with("backup: late"));
    let places: Vec<&str> = backups.map(|decision| decision.chosen.as_str()).collect();
    assert!(!places.is_empty() && places.iter().all(|place| !place.starts_with("agent-3")), "{places:?}");
}

#[test]
fn what_ends_in_time_has_no_backup() {
    let mut farm = Farm::new("foresight(hedge=1)", &[EXPECTED; 4]);
    farm.submit(16);
    farm.run();
    farm.submit(32);
    farm.run();
    assert_eq!(farm.ended(), [12; 4]);
    assert_eq!(farm.scheduler.backups().ordered, 0);
}
