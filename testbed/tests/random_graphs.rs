//! Any random graph gives the same bytes as running its commands one by one in order (the reference model),
//! live, on real OpenCL kernels, with 1 to 4 agents.
//!
//! One seed derives every option and is printed when a run fails. `ISOCHRONE_SEEDS=N` runs N seeds,
//! `ISOCHRONE_SEED=S` one.

use std::time::Duration;

use isochrone_client::{Buffer, CommandHandle, Program, ReadHandle, Session, SessionOptions};
use isochrone_model::DeviceKind;
use isochrone_node_agent::opencl::OpenClOptions;
use isochrone_sim::random::Random;
use isochrone_testbed::{Devices, Farm, FarmOptions, has_opencl};

const SOURCE: &str = "
__kernel void blend(const __global uchar *source, __global uchar *target, uint from, uint to, uint salt) {
    size_t i = get_global_id(0);
    target[to + i] = (uchar)(target[to + i] * 7 + source[from + i] + salt);
}
__kernel void blend_within(__global uchar *buffer, uint from, uint to, uint salt) {
    size_t i = get_global_id(0);
    buffer[to + i] = (uchar)(buffer[to + i] * 7 + buffer[from + i] + salt);
}
__kernel void store(__global uchar *target, uint offset, uint salt) {
    size_t i = get_global_id(0);
    target[offset + i] = (uchar)(salt + i);
}
__kernel void noop(void) {}
";

const POLICIES: [&str; 6] = ["round-robin", "random(seed=3)", "eager", "locality", "heft", "latency-eft"];

/// What the reference model says of one enqueued command.
struct Expected {
    handle: CommandHandle,
    read: Option<(ReadHandle, Vec<u8>)>,
}

struct Run<'a> {
    session: &'a Session,
    program: Program,
    buffers: Vec<Buffer>,
    model: Vec<Vec<u8>>,
    random: Random,
    expected: Vec<Expected>,
}

impl<'a> Run<'a> {
    fn new(session: &'a Session, mut random: Random) -> Self {
        let program = session.program(SOURCE).build();
        let model: Vec<Vec<u8>> =
            (0..1 + random.below(4)).map(|_| vec![0; 1 + random.below(9_000) as usize]).collect();
        let buffers = model.iter().map(|bytes| session.buffer(bytes.len() as u64)).collect();
        Self { session, program, buffers, model, random, expected: Vec::new() }
    }

    fn part(&mut self, buffer: usize) -> (usize, usize) {
        let size = self.model[buffer].len() as u64;
        let offset = if self.random.one_in(3) { 0 } else { self.random.below(size) };
        (offset as usize, 1 + self.random.below(size - offset) as usize)
    }

    fn enqueue_one(&mut self) {
        let buffer = self.random.below(self.buffers.len() as u64) as usize;
        let (offset, size) = self.part(buffer);
        let range = offset as u64..(offset + size) as u64;
        let handle = match self.random.below(9) {
            0 | 1 => {
                let bytes: Vec<u8> = (0..size).map(|_| self.random.below(256) as u8).collect();
                self.model[buffer][offset..offset + size].copy_from_slice(&bytes);
                self.session.write(&self.buffers[buffer], offset as u64, bytes).enqueue()
            }
            2 => {
                let read = self.session.read(&self.buffers[buffer]).range(range).enqueue();
                let bytes = self.model[buffer][offset..offset + size].to_vec();
                let handle = read.handle().clone();
                self.expected.push(Expected { handle, read: Some((read, bytes)) });
                return;
            }
            3 => {
                let value = self.random.below(256) as u8;
                self.model[buffer][offset..offset + size].fill(value);
                self.session.fill(&self.buffers[buffer], value).range(range).enqueue()
            }
            4 => {
                let other = self.random.below(self.buffers.len() as u64) as usize;
                if other == buffer {
                    self.session.barrier().enqueue()
                } else {
                    self.copy(buffer, other, offset, size)
                }
            }
            5 => {
                let salt = self.random.below(256) as u32;
                for (place, byte) in self.model[buffer][offset..offset + size].iter_mut().enumerate() {
                    *byte = (salt as u8).wrapping_add(place as u8);
                }
                self.session
                    .launch(&self.program, "store")
                    .range([size as u64])
                    .write(&self.buffers[buffer])
                    .touching(range)
                    .scalar(offset as u32)
                    .scalar(salt)
                    .enqueue()
            }
            6 => self.session.launch(&self.program, "noop").range([1]).enqueue(),
            _ => self.mix(buffer, offset, size),
        };
        self.expected.push(Expected { handle, read: None });
    }

    fn copy(&mut self, from: usize, to: usize, offset: usize, size: usize) -> CommandHandle {
        let size = size.min(self.model[to].len());
        let at = self.random.below((self.model[to].len() - size + 1) as u64) as usize;
        let bytes = self.model[from][offset..offset + size].to_vec();
        self.model[to][at..at + size].copy_from_slice(&bytes);
        self.session
            .copy(&self.buffers[from], &self.buffers[to])
            .range(offset as u64..(offset + size) as u64)
            .to_offset(at as u64)
            .enqueue()
    }

    fn mix(&mut self, source: usize, from: usize, size: usize) -> CommandHandle {
        let target = self.random.below(self.buffers.len() as u64) as usize;
        let size = size.min(self.model[target].len());
        let to = self.random.below((self.model[target].len() - size + 1) as u64) as usize;
        // Within one buffer the two parts must not overlap: work-items run in any order.
        if source == target && from < to + size && to < from + size {
            return self.session.marker().enqueue();
        }
        let salt = self.random.below(256) as u32;
        let bytes = self.model[source][from..from + size].to_vec();
        for (byte, other) in self.model[target][to..to + size].iter_mut().zip(bytes) {
            *byte = byte.wrapping_mul(7).wrapping_add(other).wrapping_add(salt as u8);
        }
        let says_touches = self.random.one_in(2);
        if source == target {
            let launch = self.session.launch(&self.program, "blend_within").range([size as u64]);
            return launch
                .buffer(&self.buffers[source])
                .scalar(from as u32)
                .scalar(to as u32)
                .scalar(salt)
                .enqueue();
        }
        let mut launch = self.session.launch(&self.program, "blend").range([size as u64]);
        launch = launch.buffer(&self.buffers[source]);
        if says_touches {
            launch = launch.touching(from as u64..(from + size) as u64);
        }
        launch = launch.buffer(&self.buffers[target]);
        if says_touches {
            launch = launch.touching(to as u64..(to + size) as u64);
        }
        launch.scalar(from as u32).scalar(to as u32).scalar(salt).enqueue()
    }

    async fn compare(self) {
        for (place, buffer) in self.buffers.iter().enumerate() {
            let bytes = self.session.read(buffer).enqueue().await.unwrap();
            assert!(*bytes == self.model[place][..], "buffer {place} at the end");
        }
        for (place, expected) in self.expected.into_iter().enumerate() {
            if let Some((read, bytes)) = expected.read {
                assert!(*read.await.unwrap() == bytes[..], "read, command {place}");
            } else {
                expected.handle.await.unwrap_or_else(|error| panic!("command {place}: {error}"));
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn random_graphs_give_the_bytes_of_the_reference_model_on_opencl() {
    let processors = OpenClOptions { kinds: vec![DeviceKind::Cpu], ..OpenClOptions::default() };
    if !has_opencl(&processors) {
        return;
    }
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let seeds = match (number("ISOCHRONE_SEED"), number("ISOCHRONE_SEEDS")) {
        (Some(seed), _) => seed..seed + 1,
        (None, count) => 0..count.unwrap_or(48),
    };
    for agents in 1..=4 {
        let devices = Devices::OpenCl(processors.clone());
        let farm = Farm::start(FarmOptions::in_process().agents(agents, &devices)).await.unwrap();
        let client = farm.connect().await.unwrap();
        for seed in seeds.clone().filter(|seed| *seed as usize % 4 + 1 == agents) {
            let mut random = Random::new(seed);
            let policy = POLICIES[random.below(6) as usize];
            let count = 5 + random.below(60);
            let session = client.session(SessionOptions::new().policy(policy)).await.unwrap();
            let mut run = Run::new(&session, random);
            for _ in 0..count {
                run.enqueue_one();
            }
            let end = tokio::time::timeout(Duration::from_secs(60), run.compare()).await;
            assert!(end.is_ok(), "seed {seed} under {policy} did not end: ISOCHRONE_SEED={seed}");
            session.close().await.unwrap_or_else(|error| panic!("seed {seed} under {policy}: {error}"));
        }
        client.close().await;
        farm.stop().await;
    }
}
