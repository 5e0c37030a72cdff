//! Adds two vectors on the farm.
//!
//! Start a farm with `isochrone up` and run `cargo run -p isochrone-client --example hello`.

use std::error::Error;

use isochrone_client::{ConnectOptions, Farm, SessionOptions};

const SOURCE: &str = "
kernel void add(global const float *left, global const float *right, global float *sum) {
    size_t i = get_global_id(0);
    sum[i] = left[i] + right[i];
}";

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    // Where the farm is and who asks: ISOCHRONE_SCHEDULER, ISOCHRONE_CERTIFICATES, ISOCHRONE_NAME.
    let farm = Farm::connect(ConnectOptions::from_environment()?).await?;
    let session = farm.session(SessionOptions::new()).await?;

    // None of this waits: the program builds, the contents travel and the launch is placed while the
    // next line runs.
    let program = session.program(SOURCE).build();
    let count = 1_000_000;
    let left: Vec<f32> = (0..count).map(|i| i as f32).collect();
    let right = vec![0.5_f32; count];
    let left = session.buffer_from(&left);
    let right = session.buffer_from(&right);
    let sum = session.buffer_of::<f32>(count as u64);
    let launch = session
        .launch(&program, "add")
        .range([count])
        .buffer(&left) // `const` in the kernel: only read
        .buffer(&right)
        .write(&sum) // every byte is written: the zeros need not be brought to the device
        .enqueue();

    // The read waits for the launch, since it reads what the launch writes.
    let sum: Vec<f32> = session.read(&sum).enqueue().to_vec().await?;
    println!("sum[999] = {} (expected 999.5)", sum[999]);
    println!("{} ran for {}", launch.id().map_or_else(String::new, |id| id.to_string()), launch.await?);

    session.close().await?;
    farm.close().await;
    Ok(())
}
