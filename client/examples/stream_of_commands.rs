//! A long stream of commands: enqueue without waiting, look at results as they come.
//!
//! Start a farm with `isochrone up` and run
//! `cargo run -p isochrone-client --example stream_of_commands`.

#![expect(clippy::disallowed_methods, reason = "it tells how long things took")]

use std::error::Error;
use std::time::Instant;

use isochrone_client::{ConnectOptions, Farm, SessionOptions};

const SOURCE: &str = "
kernel void step_once(global float *state, float rate) {
    size_t i = get_global_id(0);
    state[i] += rate * (1.0f - state[i]);
}";

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let farm = Farm::connect(ConnectOptions::from_environment()?).await?;
    let session = farm.session(SessionOptions::new()).await?;
    let program = session.program(SOURCE).build();

    let items = 4_096_u64;
    let state = session.buffer_of::<f32>(items);
    let begun = Instant::now();
    let mut snapshots = Vec::new();
    for step in 0..1_000 {
        // Each step uses what the one before wrote, so that they run in order; no handle is awaited,
        // so that no step pays for the way to the farm and back.
        session
            .launch(&program, "step_once")
            .range([items])
            .read_write(&state)
            .scalar(0.01_f32)
            .label(format!("step {step}"))
            .enqueue();
        if step % 250 == 249 {
            // A read sees the state at this place of the stream, whatever is enqueued later.
            snapshots.push((step, session.read(&state).range(0..4).enqueue()));
        }
        if step % 100 == 99 {
            // A stream that goes on for ever waits here when the connection cannot keep up.
            session.room().await;
        }
    }
    println!("enqueued after {:?}", begun.elapsed());
    for (step, snapshot) in snapshots {
        let value: Vec<f32> = snapshot.to_vec().await?;
        println!("after step {step}: {} at {:?}", value[0], begun.elapsed());
    }
    // Failures of commands whose handles were dropped turn up here.
    session.finish().await?;
    println!("1,000 dependent launches took {:?}", begun.elapsed());

    session.close().await?;
    farm.close().await;
    Ok(())
}
