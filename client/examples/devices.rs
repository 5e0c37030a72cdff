//! Lists the farm's devices and what they do now.
//!
//! Start a farm with `isochrone up` and run `cargo run -p isochrone-client --example devices`.

use std::error::Error;

use isochrone_client::{ConnectOptions, Farm};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    // Asking needs no session.
    let farm = Farm::connect(ConnectOptions::from_environment()?).await?;

    let status = farm.status().await?;
    println!(
        "isochrone {} under {}, up for {}: {} agents, {} tasks finished",
        status.version,
        status.policy,
        status.uptime,
        status.agents.len(),
        status.tasks_finished,
    );
    for device in farm.devices().await? {
        println!(
            "{}/{} ({:?}, {} compute units, {} MiB): {}, {} queued, {} finished, busy for {}",
            device.agent,
            device.facts.name,
            device.facts.kind,
            device.facts.compute_units,
            device.facts.memory_bytes >> 20,
            if device.is_present { "present" } else { "gone" },
            device.queued_tasks,
            device.finished_tasks,
            device.busy,
        );
    }
    farm.close().await;
    Ok(())
}
