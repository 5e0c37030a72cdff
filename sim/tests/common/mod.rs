//! Random scenarios: a farm, a network, a policy and a graph from one seed, beside a reference model.

mod model;

use bytes::Bytes;
use isochrone_model::message::ClientRequest;
use isochrone_model::{
    BytesPerSecond, Command, CommandError, CommandId, CommandKind, Limits, ProgramId, SessionId, Span,
    Timestamp,
};
use isochrone_sim::random::Random;
use isochrone_sim::{Farm, FarmOptions, LinkTruth, Outcome, kernels};

use model::{Fate, Model, buffer_id};

const SESSION: SessionId = SessionId(1);
const PROGRAM: ProgramId = ProgramId(1);
const STEPS_MAX: u64 = 2_000_000;

pub fn policies() -> Vec<&'static str> {
    vec![
        "round-robin",
        "random(seed=5)",
        "eager",
        "locality",
        "heft",
        "latency-eft",
        "work-stealing",
        "dmda(ready=finished)",
        "dmdas",
        "dmdar",
        "heteroprio",
        "blevel-gt",
        "tlevel-gt(ready=finished)",
    ]
}

/// A command, with what the reference model says a read brings.
struct Step {
    command: Command,
    payload: Option<Bytes>,
    read: Option<Vec<u8>>,
    fate: Fate,
}

pub struct Scenario {
    seed: u64,
    policy: &'static str,
    farm: Farm,
    sizes: Vec<u64>,
    steps: Vec<Step>,
    batches: Vec<usize>,
    agents: usize,
    /// When, after the submission, the client cancels which commands.
    cancels: Vec<(Span, CommandId)>,
}

/// What else happens in a scenario.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Mishaps {
    /// Kernels that fail, and commands that the client cancels.
    failures: bool,
    /// What tells this kind of scenario from the others with the same seed.
    salt: u64,
    /// More agents and buffers, and slower devices: more tasks that may have a backup.
    backups: bool,
}

impl Scenario {
    pub fn random(seed: u64) -> Self {
        Self::new(seed, Mishaps { failures: false, salt: 0, backups: false }, None)
    }

    pub fn with_losses(seed: u64) -> Self {
        Self::new(seed, Mishaps { failures: false, salt: 1, backups: false }, None)
    }

    /// The same as `with_losses` under a policy that is given.
    pub fn with_losses_under(seed: u64, policy: &'static str) -> Self {
        Self::new(seed, Mishaps { failures: false, salt: 1, backups: false }, Some(policy))
    }

    /// Some kernels fail at run time, and the client cancels some commands.
    pub fn with_failures(seed: u64) -> Self {
        Self::new(seed, Mishaps { failures: true, salt: 0, backups: false }, None)
    }

    /// The same while agents are lost.
    pub fn with_failures_and_losses(seed: u64) -> Self {
        Self::new(seed, Mishaps { failures: true, salt: 1, backups: false }, None)
    }

    /// Any of the above under a policy that asks for backups of what is under way, late or not.
    pub fn with_backups(seed: u64, failures: bool, losses: bool) -> Self {
        let policy = ["random(seed=5,hedge=20)", "random(seed=5,hedge=90)"][(seed % 2) as usize];
        Self::new(seed, Mishaps { failures, salt: u64::from(losses), backups: true }, Some(policy))
    }

    pub fn policy(&self) -> &'static str {
        self.policy
    }

    fn new(seed: u64, mishaps: Mishaps, policy: Option<&'static str>) -> Self {
        let mut random = Random::new(seed.wrapping_mul(2).wrapping_add(mishaps.salt));
        let policies = policies();
        let drawn = policies[random.below(policies.len() as u64) as usize];
        let policy = policy.unwrap_or(drawn);
        let links = LinkTruth {
            latency: Span::from_micros(
                [10, 200, 5_000, 40_000][random.below(if mishaps.backups { 3 } else { 4 }) as usize],
            ),
            jitter: Span::from_micros([0, 50, 3_000][random.below(3) as usize]),
            rate: BytesPerSecond([1_000_000, 100_000_000, 10_000_000_000][random.below(3) as usize]),
        };
        let limits = Limits {
            inline_bytes_max: [0, 16, 2_048][random.below(3) as usize],
            slot_depth_max: [1, 2, 256][random.below(3) as usize],
            // Of its own, as below.
            backups_per_hundred_slots_max: [25, 100, 400][Random::new(seed ^ 0xbac).below(3) as usize],
            ..Limits::default()
        };
        // Of its own, so that the rest of a scenario is the same with and without streams.
        let streamed_bytes_min = [None, Some(1), Some(100)][Random::new(seed ^ 0x57).below(3) as usize];
        let options = FarmOptions {
            seed,
            policy: policy.to_owned(),
            limits: limits.clone(),
            streamed_bytes_min,
            links,
            // Where agents are lost, a backup may be the only attempt that is left.
            are_backups_flaky: mishaps.backups && mishaps.failures && mishaps.salt == 0,
            is_checked: true,
        };
        let mut farm = Farm::new(options).unwrap();
        let buffers = if mishaps.backups { 2 + random.below(14) } else { 1 + random.below(5) };
        let sizes: Vec<u64> = (0..buffers).map(|_| 1 + random.below(512)).collect();
        let largest = *sizes.iter().max().unwrap();
        // From memory for hardly more than what one launch needs to plenty: eviction must be exercised.
        let memory = [(2 * largest + 2) * 10 / 9 + 10, 3 * largest + 600, 1 << 20][random.below(3) as usize];
        let agents = if mishaps.backups { 2 + random.below(4) } else { 1 + random.below(4) };
        for _ in 0..agents {
            let devices = 1 + random.below(2);
            let devices = (0..devices)
                .map(|device| {
                    let slowest_first = if mishaps.backups { [1, 1, 50] } else { [1, 50, 1_000] };
                    let speed = slowest_first[random.below(3) as usize];
                    let slots = 1 + random.below(2) as u16;
                    Farm::device(&format!("device-{device}"), speed, memory.max(2 * largest + 20), slots)
                })
                .collect();
            farm.add_agent(devices, 1 << 30);
        }
        let mut scenario = Self {
            seed,
            policy,
            farm,
            sizes,
            steps: Vec::new(),
            batches: Vec::new(),
            agents: agents as usize,
            cancels: Vec::new(),
        };
        scenario.draw_graph(&mut random, &limits, mishaps);
        scenario
    }

    fn draw_graph(&mut self, random: &mut Random, limits: &Limits, mishaps: Mishaps) {
        let mut model = Model::new(&self.sizes, mishaps.backups);
        // Of its own, so that the graph is the same with and without failures.
        let mut failures = Random::new(self.seed ^ 0xfa11);
        let count = 1 + random.below(40);
        for id in 1..=count {
            let id = CommandId(id);
            let (mut kind, payload, read) = model.draw(random, limits);
            let mut after = Vec::new();
            if id.0 > 1 && random.one_in(if mishaps.backups { 12 } else { 4 }) {
                after.extend((0..=random.below(2)).map(|_| CommandId(1 + random.below(id.0 - 1))));
            }
            let own =
                if mishaps.failures { self.draw_failure(&mut failures, id, &mut kind) } else { Fate::Done };
            let command = Command { id, after, label: String::new(), kind };
            let fate = model.take(&command, own);
            self.steps.push(Step { command, payload, read, fate });
        }
        // Every buffer is read at the end.
        for (place, bytes) in model.buffers.clone().into_iter().enumerate() {
            let kind = CommandKind::Read {
                buffer: buffer_id(place),
                offset_bytes: 0,
                size_bytes: bytes.len() as u64,
            };
            let id = CommandId(self.steps.len() as u64 + 1);
            let command = Command { id, after: Vec::new(), label: String::new(), kind };
            let fate = model.take(&command, Fate::Done);
            self.steps.push(Step { command, payload: None, read: Some(bytes), fate });
        }
        let mut left = self.steps.len();
        while left > 0 {
            let take = if random.one_in(2) { left } else { 1 + random.below(left as u64) as usize };
            self.batches.push(take);
            left -= take;
        }
    }

    /// Makes a kernel one that fails, or has a command cancelled, now and then.
    fn draw_failure(&mut self, random: &mut Random, id: CommandId, kind: &mut CommandKind) -> Fate {
        if random.one_in(20) {
            let bound_us = [10, 3_000, 200_000][random.below(3) as usize];
            self.cancels.push((Span::from_micros(random.below(bound_us)), id));
            return Fate::MayFail;
        }
        let CommandKind::Launch(launch) = kind else { return Fate::Done };
        if !random.one_in(6) {
            return Fate::Done;
        }
        launch.kernel = match launch.kernel.as_str() {
            "mix" => "spoil".to_owned(),
            "noop" => "fail".to_owned(),
            _ => return Fate::Done,
        };
        Fate::Fails
    }

    fn submit(&mut self) {
        self.farm.open_session(SESSION, "");
        let source = kernels::SOURCE.to_owned();
        let options = String::new();
        self.farm.request(SESSION, ClientRequest::CreateProgram { program: PROGRAM, source, options });
        for (place, size_bytes) in self.sizes.iter().enumerate() {
            let buffer = buffer_id(place);
            self.farm.request(SESSION, ClientRequest::CreateBuffer { buffer, size_bytes: *size_bytes });
        }
        let mut steps = self.steps.iter();
        for batch in &self.batches {
            let mut commands = Vec::new();
            for step in steps.by_ref().take(*batch) {
                if let Some(payload) = &step.payload {
                    self.farm.offer_payload(SESSION, step.command.id, payload.clone());
                }
                if let Some(read) = &step.read {
                    self.farm.expect_read(SESSION, step.command.id, read.len());
                }
                commands.push(step.command.clone());
            }
            self.farm.request(SESSION, ClientRequest::Submit { commands });
        }
        for (delay, command) in &self.cancels {
            let request = ClientRequest::Cancel { commands: vec![*command] };
            self.farm.request_at(self.farm.now() + *delay, SESSION, request);
        }
    }

    /// Runs the graph; every command must end as the model says and every read bring the model's bytes. Gives
    /// what must be the same in every run of one seed.
    pub fn run_and_compare(self) -> (Timestamp, u64, u64) {
        let (end, steps, orders, _) = self.run_and_count();
        (end, steps, orders)
    }

    /// How many backups were ordered, and how many of them ended first.
    pub fn run_and_count_backups(mut self) -> (u64, u64) {
        self.run_to_rest();
        let status = self.farm.scheduler().backups();
        (status.ordered, status.used)
    }

    /// The same, and how often contents came straight from a device, and to one.
    pub fn run_and_count(mut self) -> (Timestamp, u64, u64, [u64; 2]) {
        self.run_to_rest();
        let end = self.farm.now();
        self.farm.close_session(SESSION);
        assert!(self.farm.run(STEPS_MAX));
        assert!(self.farm.is_closed(SESSION));
        for agent in 0..self.agents {
            let held = self.farm.held_bytes(isochrone_model::AgentId::from_index(agent));
            assert_eq!(held, 0, "a closed session leaves nothing on agent {agent}");
        }
        (end, self.farm.steps(), self.farm.orders_sent(), self.farm.streamed())
    }

    fn run_to_rest(&mut self) {
        self.farm.run(STEPS_MAX);
        self.submit();
        assert!(self.farm.run(STEPS_MAX), "the farm comes to rest ({}, seed {})", self.policy, self.seed);
        self.compare(false);
        self.farm.assert_silence();
    }

    /// Runs the graph while agents crash and come back: every command ends, and what a read brings is right.
    pub fn run_with_losses(mut self) {
        let mut random = Random::new(self.seed ^ 0xfa);
        self.farm.run(STEPS_MAX);
        let begin = self.farm.now();
        self.submit();
        for agent in 0..self.agents {
            let agent = isochrone_model::AgentId::from_index(agent);
            let mut at = begin;
            for _ in 0..random.below(3) {
                at += Span::from_micros(1 + random.below(150_000));
                self.farm.crash_at(agent, at);
                at += Span::from_micros(1 + random.below(100_000));
                self.farm.return_at(agent, at);
            }
        }
        assert!(self.farm.run(STEPS_MAX), "the farm comes to rest ({}, seed {})", self.policy, self.seed);
        self.compare(true);
        self.farm.assert_silence();
    }

    /// Every command has ended as the model says. Where agents were lost, a command may also end with an error that
    /// says so; and one that failed there, and whose contents have all been overwritten since, is taken to have
    /// ended well when it is to run again.
    fn compare(&self, is_lossy: bool) {
        for step in &self.steps {
            let outcome = self.farm.outcome(SESSION, step.command.id);
            let name = format!("{} {:?}", self.policy, step.command);
            match (outcome, step.fate) {
                (Some(Outcome::Done(_)), Fate::Fails) if !is_lossy => panic!("{name} should have failed"),
                (Some(Outcome::Done(bytes)), Fate::Done | Fate::MayFail | Fate::Fails) => {
                    assert_eq!(bytes.as_deref(), step.read.as_deref(), "{name}");
                }
                (Some(Outcome::Failed(error)), Fate::Fails | Fate::MayFail) => {
                    assert!(is_drawn(error) || (is_lossy && is_loss(error)), "{name}: {error}");
                }
                (Some(Outcome::Failed(error)), Fate::Done) => {
                    assert!(is_lossy && is_loss(error), "{name}: {error}");
                }
                (None, _) => panic!(
                    "{:?} never ended ({}): {:?}",
                    step.command,
                    self.policy,
                    self.farm.scheduler().explain(SESSION, step.command.id)
                ),
            }
        }
    }
}

/// Whether the first cause is a failure that was drawn.
fn is_drawn(error: &CommandError) -> bool {
    match error {
        CommandError::Device { call, .. } => call == "clEnqueueNDRangeKernel",
        CommandError::Cancelled => true,
        CommandError::Dependency { cause, .. } => is_drawn(cause),
        _ => false,
    }
}

fn is_loss(error: &CommandError) -> bool {
    match error {
        CommandError::ContentLost { .. }
        | CommandError::ContentSuperseded { .. }
        | CommandError::AgentLost { .. }
        | CommandError::NoDevice { .. }
        | CommandError::PayloadLost { .. } => true,
        CommandError::Dependency { cause, .. } => is_loss(cause),
        _ => false,
    }
}
