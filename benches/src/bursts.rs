//! Bursts of 10,000 launches on one agent: what a launch takes, and the processor time that each process spends on it.

use std::path::Path;
use std::time::Instant;

use anyhow::ensure;
use isochrone_client::{Buffer, Program, Session, SessionOptions};
use isochrone_metrics::{Figure, Latencies, Summary};
use isochrone_model::Span;
use isochrone_testbed::cpu::CpuTimes;
use isochrone_testbed::{Devices, Farm, FarmOptions};

use crate::farm::modelled;
use crate::{Effort, SOURCE, latency, span};

/// Launches in a long burst.
const LONG_BURST: u32 = 10_000;
/// Repetitions of a long burst at most.
const REPEAT_MAX: u32 = 10;

/// One sort of burst, by launch.
#[derive(Default)]
struct Burst {
    each: Latencies,
    scheduler: Latencies,
    agent: Latencies,
    client: Latencies,
}

impl Burst {
    fn record(&mut self, wall: Span, used: &CpuTimes) {
        for (latencies, whole) in [
            (&mut self.each, wall),
            (&mut self.scheduler, span(used.scheduler)),
            (&mut self.agent, span(used.agents)),
            (&mut self.client, span(used.client)),
        ] {
            latencies.record_each(whole, u64::from(LONG_BURST));
        }
    }

    fn figures(&self, sort: &str, device: &str) -> Vec<Figure> {
        let each: Summary = latency(&self.each);
        let name = |what: &str| format!("10,000 {sort} no-op launches, {device}: {what}");
        vec![
            Figure::new(name("each"), each),
            Figure::new(name("scheduler's processor time, each"), latency(&self.scheduler)),
            Figure::new(name("agent's processor time, each"), latency(&self.agent)),
            Figure::new(name("client's processor time, each"), latency(&self.client)),
        ]
    }
}

/// Measures on PoCL, or whatever OpenCL offers, and on a modelled device whose kernels take no time.
pub async fn measure(binary: &Path, effort: Effort) -> anyhow::Result<Vec<Figure>> {
    let mut figures = Vec::new();
    for (devices, name) in [(Devices::default(), "OpenCL"), (modelled(), "modelled device")] {
        let computes = matches!(devices, Devices::OpenCl(_));
        let farm = Farm::start(FarmOptions::processes(binary).agents(1, &devices)).await?;
        let client = farm.connect().await?;
        let session = client.session(SessionOptions::new()).await?;
        let program = session.program(SOURCE).build();
        let (dependent, independent) = bursts(&farm, &session, &program, computes, effort).await?;
        figures.extend(independent.figures("independent", name));
        figures.extend(dependent.figures("dependent", name));
        session.close().await?;
        client.close().await;
        farm.stop().await;
    }
    Ok(figures)
}

async fn bursts(
    farm: &Farm,
    session: &Session,
    program: &Program,
    computes: bool,
    effort: Effort,
) -> anyhow::Result<(Burst, Burst)> {
    let (mut dependent, mut independent) = (Burst::default(), Burst::default());
    let state = session.buffer(4);
    let repeat = effort.repeat.min(REPEAT_MAX);
    // The first of each warms up.
    for place in 0..=repeat {
        let chain = burst(farm, session, program, Some(&state)).await?;
        let flat = burst(farm, session, program, None).await?;
        if place > 0 {
            dependent.record(chain.0, &chain.1);
            independent.record(flat.0, &flat.1);
        }
    }
    if computes {
        let count = (repeat + 1).wrapping_mul(LONG_BURST) as u8;
        let state = session.read(&state).enqueue().await?;
        ensure!(state[0] == count, "every launch of every chain ran: {} of {count} modulo 256", state[0]);
    }
    Ok((dependent, independent))
}

/// One burst; each launch changes `state`, if there is one, after the launch before it.
async fn burst(
    farm: &Farm,
    session: &Session,
    program: &Program,
    state: Option<&Buffer>,
) -> anyhow::Result<(Span, CpuTimes)> {
    let before = CpuTimes::now(farm);
    let start = Instant::now();
    for _ in 0..LONG_BURST {
        match state {
            Some(state) => session.launch(program, "touch").range([1]).read_write(state).enqueue(),
            None => session.launch(program, "no_op").range([1]).enqueue(),
        };
    }
    session.finish().await?;
    let wall = start.elapsed();
    Ok((span(wall), CpuTimes::now(farm).since(&before)))
}
