//! The farm: a scheduler and agents as processes, this process as the client.

use std::path::Path;
use std::time::Instant;

use anyhow::ensure;
use bytes::Bytes;
use isochrone_client::{Program, Session, SessionOptions};
use isochrone_metrics::{Latencies, Rates, Summary};
use isochrone_testbed::{Devices, Farm, FarmOptions};

use crate::{BURST, Effort, LARGE_BYTES, SOURCE, latency, span};

/// What the farm does.
pub struct Measured {
    pub no_op: Summary,
    pub dependent: Summary,
    pub independent: Summary,
    pub write_launch_read: Summary,
    pub write: Summary,
    pub read: Summary,
    pub hop: Summary,
}

/// Measures one agent, then two.
pub async fn measure(binary: &Path, effort: Effort) -> anyhow::Result<Measured> {
    let options = FarmOptions::processes(binary).agents(1, &Devices::default());
    let farm = Farm::start(options).await?;
    let client = farm.connect().await?;
    let session = client.session(SessionOptions::new()).await?;
    let program = session.program(SOURCE).build();
    let no_op = no_op(&session, &program, effort).await?;
    let (dependent, independent) = bursts(&session, &program, effort).await?;
    let write_launch_read = write_launch_read(&session, &program, effort).await?;
    let (write, read) = large(&session, &program, effort).await?;
    session.close().await?;
    client.close().await;
    farm.stop().await;

    let options = FarmOptions::processes(binary).policy("round-robin").agents(2, &Devices::default());
    let farm = Farm::start(options).await?;
    let client = farm.connect().await?;
    let session = client.session(SessionOptions::new()).await?;
    let program = session.program(SOURCE).build();
    let hop = hops(&session, &program, effort).await?;
    session.close().await?;
    client.close().await;
    farm.stop().await;
    Ok(Measured { no_op, dependent, independent, write_launch_read, write, read, hop })
}

async fn no_op(session: &Session, program: &Program, effort: Effort) -> anyhow::Result<Summary> {
    let mut latencies = Latencies::new();
    let warm_up = effort.samples / 10;
    for place in 0..effort.samples + warm_up {
        let start = Instant::now();
        session.launch(program, "no_op").range([1]).enqueue().await?;
        if place >= warm_up {
            latencies.record(span(start.elapsed()));
        }
    }
    Ok(latency(&latencies))
}

async fn bursts(session: &Session, program: &Program, effort: Effort) -> anyhow::Result<(Summary, Summary)> {
    let (mut dependent, mut independent) = (Latencies::new(), Latencies::new());
    let state = session.buffer(4);
    for place in 0..=effort.repeat {
        let start = Instant::now();
        for _ in 0..BURST {
            session.launch(program, "touch").range([1]).read_write(&state).enqueue();
        }
        session.finish().await?;
        let chain = start.elapsed();
        let start = Instant::now();
        for _ in 0..BURST {
            session.launch(program, "no_op").range([1]).enqueue();
        }
        session.finish().await?;
        if place > 0 {
            dependent.record_each(span(chain), u64::from(BURST));
            independent.record_each(span(start.elapsed()), u64::from(BURST));
        }
    }
    let count = (effort.repeat + 1).wrapping_mul(BURST) as u8;
    let state = session.read(&state).enqueue().await?;
    ensure!(state[0] == count, "every launch of every chain ran: {} of {count} modulo 256", state[0]);
    Ok((latency(&dependent), latency(&independent)))
}

async fn write_launch_read(session: &Session, program: &Program, effort: Effort) -> anyhow::Result<Summary> {
    let mut latencies = Latencies::new();
    let buffer = session.buffer(4);
    let warm_up = effort.samples / 10;
    for place in 0..effort.samples + warm_up {
        let value = (place % 200) as u8;
        let start = Instant::now();
        session.write(&buffer, 0, [value; 4]).enqueue();
        session.launch(program, "touch").range([1]).read_write(&buffer).enqueue();
        let bytes = session.read(&buffer).enqueue().await?;
        if place >= warm_up {
            latencies.record(span(start.elapsed()));
        }
        ensure!(*bytes == [value + 1, value, value, value], "right numbers: {bytes:?}");
    }
    Ok(latency(&latencies))
}

async fn large(session: &Session, program: &Program, effort: Effort) -> anyhow::Result<(Summary, Summary)> {
    let (mut write, mut read) = (Rates::new(), Rates::new());
    let buffer = session.buffer(LARGE_BYTES as u64);
    // The device gets it once, so that reads come from a device.
    session.launch(program, "touch").range([1]).read_write(&buffer).enqueue().await?;
    for place in 0..=effort.repeat {
        let contents = Bytes::from(vec![place as u8; LARGE_BYTES]);
        let start = Instant::now();
        session.write(&buffer, 0, contents).enqueue().await?;
        let written = start.elapsed();
        session.launch(program, "touch").range([1]).read_write(&buffer).enqueue().await?;
        let start = Instant::now();
        let bytes = session.read(&buffer).enqueue().await?;
        let taken = start.elapsed();
        ensure!(bytes.len() == LARGE_BYTES && bytes[0] == (place as u8).wrapping_add(1), "right numbers");
        ensure!(bytes[LARGE_BYTES - 1] == place as u8, "right numbers at the end");
        if place > 0 {
            write.record(LARGE_BYTES as u64, span(written));
            read.record(LARGE_BYTES as u64, span(taken));
        }
    }
    Ok((Summary::Rate(write.summary()), Summary::Rate(read.summary())))
}

/// Launches that round-robin puts on one agent after the other, each of which changes the same 64 MiB.
async fn hops(session: &Session, program: &Program, effort: Effort) -> anyhow::Result<Summary> {
    let mut rates = Rates::new();
    let buffer = session.buffer_from(vec![0_u8; LARGE_BYTES]);
    for place in 0..effort.repeat + 2 {
        let start = Instant::now();
        session.launch(program, "touch").range([LARGE_BYTES as u64]).read_write(&buffer).enqueue().await?;
        if place >= 2 {
            rates.record(LARGE_BYTES as u64, span(start.elapsed()));
        }
    }
    let bytes = session.read(&buffer).enqueue().await?;
    let count = (effort.repeat + 2) as u8;
    ensure!(bytes.iter().all(|byte| *byte == count), "every launch changed every byte");
    Ok(Summary::Rate(rates.summary()))
}
