//! Parts of buffers: writes and reads at offsets, copies, fills, sub-buffers and stated ranges.
//!
//! Start a farm with `isochrone up` and run
//! `cargo run -p isochrone-client --example partial_transfers`.

use std::error::Error;

use isochrone_client::{ConnectOptions, Farm, SessionOptions};

const SOURCE: &str = "
kernel void increment(global uint *values) {
    values[get_global_id(0)] += 1;
}";

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let farm = Farm::connect(ConnectOptions::from_environment()?).await?;
    let session = farm.session(SessionOptions::new()).await?;
    let program = session.program(SOURCE).build();

    // 4,096 numbers, 16 KiB; ranges are in bytes throughout.
    let values = session.buffer_of::<u32>(4_096);
    session.fill(&values, 7_u32).enqueue();
    session.fill(&values, 9_u32).range(8_192..).enqueue();
    session.write(&values, 4_096, [100_u32, 101, 102, 103]).enqueue();

    // The kernel sees only the second quarter, as a sub-buffer; its start suits any device here.
    session
        .launch(&program, "increment")
        .range([1_024])
        .read_write(&values)
        .part(4_096..8_192)
        .label("second quarter")
        .enqueue();
    // The kernel sees the whole buffer but promises to touch its first quarter only: the two launches
    // do not wait for each other.
    session
        .launch(&program, "increment")
        .range([1_024])
        .read_write(&values)
        .touching(0..4_096)
        .label("first quarter")
        .enqueue();

    // Within one buffer, too, as long as the ranges do not overlap.
    session.copy(&values, &values).range(4_096..4_112).to_offset(12_288).enqueue();

    // Reads may come in pieces from several machines; the handle puts them together.
    let ends = session.read(&values).range(4_088..4_112).enqueue();
    let copied = session.read(&values).range(12_288..=12_303).enqueue();
    println!("around byte 4,096: {:?}", ends.to_vec::<u32>().await?);
    println!("copied: {:?} (expected [101, 102, 103, 104])", copied.to_vec::<u32>().await?);

    session.close().await?;
    farm.close().await;
    Ok(())
}
