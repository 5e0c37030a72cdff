//! Random scenarios: a farm, a network, a policy and a graph from one seed, beside a reference model.

use bytes::Bytes;
use isochrone_model::message::ClientRequest;
use isochrone_model::{
    Access, Argument, BufferArgument, BufferId, ByteRange, BytesPerSecond, Command, CommandError, CommandId,
    CommandKind, Launch, Limits, NdRange, Payload, ProgramId, SessionId, Span, Timestamp,
};
use isochrone_sim::random::Random;
use isochrone_sim::{Farm, FarmOptions, LinkTruth, Outcome, kernels};

const SESSION: SessionId = SessionId(1);
const PROGRAM: ProgramId = ProgramId(1);
const STEPS_MAX: u64 = 2_000_000;

pub fn policies() -> Vec<&'static str> {
    vec!["round-robin", "random(seed=5)", "eager", "locality", "heft", "latency-eft"]
}

/// The buffers as they are after each command, in order.
struct Model {
    buffers: Vec<Vec<u8>>,
}

/// A command, with what the reference model says a read brings.
struct Step {
    command: Command,
    payload: Option<Bytes>,
    read: Option<Vec<u8>>,
}

pub struct Scenario {
    seed: u64,
    policy: &'static str,
    farm: Farm,
    sizes: Vec<u64>,
    steps: Vec<Step>,
    batches: Vec<usize>,
    agents: usize,
}

impl Scenario {
    pub fn random(seed: u64) -> Self {
        Self::new(seed, 0)
    }

    pub fn with_losses(seed: u64) -> Self {
        Self::new(seed, 1)
    }

    pub fn policy(&self) -> &'static str {
        self.policy
    }

    fn new(seed: u64, salt: u64) -> Self {
        let mut random = Random::new(seed.wrapping_mul(2).wrapping_add(salt));
        let policies = policies();
        let policy = policies[random.below(policies.len() as u64) as usize];
        let links = LinkTruth {
            latency: Span::from_micros([10, 200, 5_000, 40_000][random.below(4) as usize]),
            jitter: Span::from_micros([0, 50, 3_000][random.below(3) as usize]),
            rate: BytesPerSecond([1_000_000, 100_000_000, 10_000_000_000][random.below(3) as usize]),
        };
        let limits = Limits {
            inline_bytes_max: [0, 16, 2_048][random.below(3) as usize],
            slot_depth_max: [1, 2, 256][random.below(3) as usize],
            ..Limits::default()
        };
        let options =
            FarmOptions { seed, policy: policy.to_owned(), limits: limits.clone(), links, is_checked: true };
        let mut farm = Farm::new(options).unwrap();
        let buffers = 1 + random.below(5);
        let sizes: Vec<u64> = (0..buffers).map(|_| 1 + random.below(512)).collect();
        let largest = *sizes.iter().max().unwrap();
        // From memory for hardly more than what one launch needs to plenty: eviction must be exercised.
        let memory = [(2 * largest + 2) * 10 / 9 + 10, 3 * largest + 600, 1 << 20][random.below(3) as usize];
        let agents = 1 + random.below(4);
        for _ in 0..agents {
            let devices = 1 + random.below(2);
            let devices = (0..devices)
                .map(|device| {
                    let speed = [1, 50, 1_000][random.below(3) as usize];
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
        };
        scenario.draw_graph(&mut random, &limits);
        scenario
    }

    fn draw_graph(&mut self, random: &mut Random, limits: &Limits) {
        let mut model = Model { buffers: self.sizes.iter().map(|size| vec![0; *size as usize]).collect() };
        let count = 1 + random.below(40);
        for id in 1..=count {
            let id = CommandId(id);
            let (kind, payload, read) = model.draw(random, limits);
            let mut after = Vec::new();
            if id.0 > 1 && random.one_in(4) {
                after.extend((0..=random.below(2)).map(|_| CommandId(1 + random.below(id.0 - 1))));
            }
            let command = Command { id, after, label: String::new(), kind };
            self.steps.push(Step { command, payload, read });
        }
        // Every buffer is read at the end.
        for (place, bytes) in model.buffers.iter().enumerate() {
            let kind = CommandKind::Read {
                buffer: buffer_id(place),
                offset_bytes: 0,
                size_bytes: bytes.len() as u64,
            };
            let id = CommandId(self.steps.len() as u64 + 1);
            let command = Command { id, after: Vec::new(), label: String::new(), kind };
            self.steps.push(Step { command, payload: None, read: Some(bytes.clone()) });
        }
        let mut left = self.steps.len();
        while left > 0 {
            let take = if random.one_in(2) { left } else { 1 + random.below(left as u64) as usize };
            self.batches.push(take);
            left -= take;
        }
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
    }

    /// Runs the graph; every command must end well and every read bring the model's bytes. Gives what must
    /// be the same in every run of one seed.
    pub fn run_and_compare(mut self) -> (Timestamp, u64, u64) {
        self.farm.run(STEPS_MAX);
        self.submit();
        assert!(self.farm.run(STEPS_MAX), "the farm comes to rest ({}, seed {})", self.policy, self.seed);
        for step in &self.steps {
            let outcome = self.farm.outcome(SESSION, step.command.id);
            let expected = Outcome::Done(step.read.clone().map(Bytes::from));
            assert_eq!(outcome, Some(&expected), "{} {:?}", self.policy, step.command);
        }
        self.farm.assert_silence();
        let end = self.farm.now();
        self.farm.close_session(SESSION);
        assert!(self.farm.run(STEPS_MAX));
        assert!(self.farm.is_closed(SESSION));
        for agent in 0..self.agents {
            let held = self.farm.held_bytes(isochrone_model::AgentId::from_index(agent));
            assert_eq!(held, 0, "a closed session leaves nothing on agent {agent}");
        }
        (end, self.farm.steps(), self.farm.orders_sent())
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
        for step in &self.steps {
            match self.farm.outcome(SESSION, step.command.id) {
                Some(Outcome::Done(bytes)) => {
                    assert_eq!(bytes.as_deref(), step.read.as_deref(), "{} {:?}", self.policy, step.command);
                }
                Some(Outcome::Failed(error)) => assert!(is_loss(error), "{error}"),
                None => panic!(
                    "{:?} never ended ({}): {:?}",
                    step.command,
                    self.policy,
                    self.farm.scheduler().explain(SESSION, step.command.id)
                ),
            }
        }
        self.farm.assert_silence();
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

fn buffer_id(place: usize) -> BufferId {
    BufferId(place as u64 + 1)
}

fn scalar(value: u64) -> Argument {
    Argument::Scalar(Bytes::copy_from_slice(&(value as u32).to_le_bytes()))
}

impl Model {
    fn part(&self, random: &mut Random, buffer: usize) -> (u64, u64) {
        let size = self.buffers[buffer].len() as u64;
        if random.one_in(3) {
            return (0, size);
        }
        let offset = random.below(size);
        (offset, 1 + random.below(size - offset))
    }

    fn slice(&mut self, buffer: usize, offset: u64, size: u64) -> &mut [u8] {
        &mut self.buffers[buffer][offset as usize..(offset + size) as usize]
    }

    fn draw(
        &mut self,
        random: &mut Random,
        limits: &Limits,
    ) -> (CommandKind, Option<Bytes>, Option<Vec<u8>>) {
        let buffer = random.below(self.buffers.len() as u64) as usize;
        let (offset, size) = self.part(random, buffer);
        match random.below(12) {
            0 | 1 => {
                let bytes: Bytes = (0..size).map(|_| random.below(256) as u8).collect();
                self.slice(buffer, offset, size).copy_from_slice(&bytes);
                let is_inline = size <= limits.inline_bytes_max && random.one_in(2);
                let (payload, offered) = if is_inline {
                    (Payload::Inline(bytes), None)
                } else {
                    (Payload::Stream { size_bytes: size }, Some(bytes))
                };
                (
                    CommandKind::Write { buffer: buffer_id(buffer), offset_bytes: offset, payload },
                    offered,
                    None,
                )
            }
            2 => {
                let bytes = self.slice(buffer, offset, size).to_vec();
                let kind =
                    CommandKind::Read { buffer: buffer_id(buffer), offset_bytes: offset, size_bytes: size };
                (kind, None, Some(bytes))
            }
            3 => {
                let value = random.below(256) as u8;
                self.slice(buffer, offset, size).fill(value);
                let pattern = Bytes::copy_from_slice(&[value]);
                let kind = CommandKind::Fill {
                    buffer: buffer_id(buffer),
                    offset_bytes: offset,
                    size_bytes: size,
                    pattern,
                };
                (kind, None, None)
            }
            4 => {
                let target = random.below(self.buffers.len() as u64) as usize;
                let size = size.min(self.buffers[target].len() as u64);
                if target == buffer {
                    return (CommandKind::Marker, None, None);
                }
                let to = random.below(self.buffers[target].len() as u64 - size + 1);
                let bytes = self.slice(buffer, offset, size).to_vec();
                self.slice(target, to, size).copy_from_slice(&bytes);
                let kind = CommandKind::Copy {
                    source: buffer_id(buffer),
                    source_offset_bytes: offset,
                    target: buffer_id(target),
                    target_offset_bytes: to,
                    size_bytes: size,
                };
                (kind, None, None)
            }
            5 => (if random.one_in(2) { CommandKind::Barrier } else { CommandKind::Marker }, None, None),
            6 => {
                let salt = random.below(256);
                kernels::store(self.slice(buffer, offset, size), salt as u32);
                let target = argument(buffer, Some(Access::Write), Some((offset, size)));
                let arguments = vec![target, scalar(offset), scalar(size), scalar(salt)];
                (launch("store", 1 + random.below(2_000), arguments), None, None)
            }
            7 => (launch("noop", 1, Vec::new()), None, None),
            _ => self.draw_mix(random, buffer),
        }
    }

    fn draw_mix(
        &mut self,
        random: &mut Random,
        source: usize,
    ) -> (CommandKind, Option<Bytes>, Option<Vec<u8>>) {
        let target = random.below(self.buffers.len() as u64) as usize;
        let (from, size) = self.part(random, source);
        let size = size.min(self.buffers[target].len() as u64);
        let to = random.below(self.buffers[target].len() as u64 - size + 1);
        let salt = random.below(256);
        let bytes = self.slice(source, from, size).to_vec();
        kernels::mix(&bytes, self.slice(target, to, size), salt as u32);
        let says_touches = random.one_in(2);
        let touched = |offset| says_touches.then_some((offset, size));
        let access = random.one_in(2).then_some(Access::ReadWrite);
        let arguments = vec![
            argument(source, None, touched(from)),
            argument(target, access, touched(to)),
            scalar(from),
            scalar(to),
            scalar(size),
            scalar(salt),
        ];
        (launch("mix", 1 + random.below(5_000), arguments), None, None)
    }
}

fn argument(buffer: usize, access: Option<Access>, touches: Option<(u64, u64)>) -> Argument {
    let touches = touches.map(|(offset, size)| ByteRange::new(offset, offset + size));
    Argument::Buffer(BufferArgument { buffer: buffer_id(buffer), part: None, access, touches })
}

fn launch(kernel: &str, items: u64, arguments: Vec<Argument>) -> CommandKind {
    let range = NdRange::linear(items);
    CommandKind::Launch(Launch { program: PROGRAM, kernel: kernel.to_owned(), range, arguments })
}
