//! A whole graph at once: many independent pieces, then one that joins them.
//!
//! A policy that sees the whole graph can plan it before anything runs. Start a farm with
//! `isochrone up` and run `cargo run -p isochrone-client --example whole_graph`.

use std::error::Error;

use isochrone_client::{ConnectOptions, Farm, SessionOptions};

const SOURCE: &str = "
kernel void square(global const uint *input, global uint *output) {
    size_t i = get_global_id(0);
    output[i] = input[i] * input[i];
}
kernel void total(global const uint *pieces, global uint *sum, uint count) {
    uint all = 0;
    for (uint i = 0; i < count; i++) all += pieces[i];
    *sum = all;
}";

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let farm = Farm::connect(ConnectOptions::from_environment()?).await?;
    let session = farm.session(SessionOptions::new().policy("heft")).await?;
    let program = session.program(SOURCE).build();

    let pieces = 8_u32;
    let items = 1_024_u32;
    let joined = session.buffer_of::<u32>(u64::from(pieces * items));
    let sum = session.buffer_of::<u32>(1);

    // The builders are those of the session; nothing is sent before `submit`.
    let mut graph = session.graph();
    for piece in 0..pieces {
        let values: Vec<u32> = (0..items).map(|i| (piece + i) % 16).collect();
        let input = session.buffer_of::<u32>(u64::from(items));
        let output = session.buffer_of::<u32>(u64::from(items));
        graph.write(&input, 0, &values).enqueue();
        graph
            .launch(&program, "square")
            .range([items])
            .read(&input)
            .write(&output)
            .label(format!("square {piece}"))
            .enqueue();
        // Copies into different bytes of one buffer do not wait for each other.
        graph.copy(&output, &joined).to_offset(u64::from(piece * items) * 4).enqueue();
        // `input` and `output` are dropped here; the farm frees them when their commands have run.
    }
    let total = graph
        .launch(&program, "total")
        .read(&joined)
        .write(&sum)
        .scalar(pieces * items)
        .label("total")
        .enqueue();
    let result = graph.read(&sum).enqueue();
    println!("submitting {} commands", graph.len());
    let submitted = graph.submit()?;

    // Why does it run where it runs?
    let explanation = session.explain(&total).await?;
    println!("{}: {}", explanation.command, explanation.state);
    if let Some(decision) = explanation.decision {
        println!("  {} chose {}: {}", decision.policy, decision.chosen, decision.reason);
    }

    let expected: u32 = (0..pieces)
        .flat_map(|piece| (0..items).map(move |i| (piece + i) % 16))
        .map(|value| value * value)
        .sum();
    println!("total {} (expected {expected})", result.to_vec::<u32>().await?[0]);
    submitted.wait().await?;

    session.close().await?;
    farm.close().await;
    Ok(())
}
