//! Several sessions at once: each has its own buffers, commands and policy, and none waits for
//! another.
//!
//! Start a farm with `isochrone up` and run
//! `cargo run -p isochrone-client --example several_sessions`.

use std::error::Error;

use isochrone_client::{CommandError, ConnectOptions, Farm, Session, SessionOptions};

const SOURCE: &str = "
kernel void collatz(global uint *steps, uint first) {
    size_t i = get_global_id(0);
    ulong value = first + i + 1;
    uint count = 0;
    while (value != 1) {
        value = value % 2 == 0 ? value / 2 : 3 * value + 1;
        count++;
    }
    steps[i] = count;
}";

/// The most steps that any of the numbers from `first` on takes.
async fn longest(session: &Session, first: u32) -> Result<u32, CommandError> {
    let items = 65_536_u32;
    let program = session.program(SOURCE).build();
    let steps = session.buffer_of::<u32>(u64::from(items));
    session.launch(&program, "collatz").range([items]).write(&steps).scalar(first).enqueue();
    let steps: Vec<u32> = session.read(&steps).enqueue().to_vec().await?;
    Ok(steps.into_iter().max().unwrap_or(0))
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let farm = Farm::connect(ConnectOptions::from_environment()?).await?;
    let mut searches = Vec::new();
    for part in 0..4_u32 {
        // Sessions share the farm's socket; each has a connection of its own.
        let session = farm.session(SessionOptions::new()).await?;
        searches.push(tokio::spawn(async move {
            let longest = longest(&session, part * 65_536).await;
            // The session is closed when it is dropped; closing it explicitly waits for the farm.
            session.close().await?;
            longest
        }));
    }
    for (part, search) in searches.into_iter().enumerate() {
        println!("part {part}: {} steps at most", search.await??);
    }
    farm.close().await;
    Ok(())
}
