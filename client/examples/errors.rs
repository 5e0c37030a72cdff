//! What failures look like: build logs, failed dependencies, wrong arguments, cancelled commands.
//!
//! Start a farm with `isochrone up` and run `cargo run -p isochrone-client --example errors`.

use std::error::Error;

use isochrone_client::{CommandError, ConnectOptions, Farm, SessionOptions};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let farm = Farm::connect(ConnectOptions::from_environment()?).await?;
    let session = farm.session(SessionOptions::new()).await?;

    // A program that builds nowhere: the logs of all devices come with the error.
    let broken = session.program("kernel void broken(global float *x) { x[0] = missing; }").build();
    let target = session.buffer_of::<f32>(16);
    let launch = session.launch(&broken, "broken").buffer(&target).enqueue();
    let dependent = session.read(&target).enqueue();
    match broken.built().await {
        Err(CommandError::BuildFailed { logs }) => {
            for log in logs {
                println!("{} says:\n{}", log.device, log.log);
            }
        }
        other => println!("unexpected: {other:?}"),
    }

    // The launch fails, and so does the read of what it would have written: a read never succeeds
    // without the data. The error names the first failure, however long the chain is.
    println!("launch: {}", failure(launch.await));
    match dependent.await {
        Err(CommandError::Dependency { failed, cause }) => {
            println!("read: failed since {failed} did: {}", first_line(&cause.to_string()));
        }
        other => println!("unexpected: {other:?}"),
    }

    // Arguments are checked against the kernel's own.
    let scale = session
        .program("kernel void scale(global float *x, float by) { x[get_global_id(0)] *= by; }")
        .build();
    let values = session.buffer_of::<f32>(16);
    let too_few = session.launch(&scale, "scale").range([16]).buffer(&values).enqueue();
    println!("too few arguments: {}", failure(too_few.await));
    let wide = session.launch(&scale, "scale").range([16]).buffer(&values).scalar(2.0_f64).enqueue();
    println!("wrong size: {}", failure(wide.await));
    let unknown = session.launch(&scale, "scael").range([16]).buffer(&values).scalar(2_f32).enqueue();
    println!("wrong name: {}", failure(unknown.await));

    // Cancelling gives up what has not started.
    let never = session.marker().enqueue();
    never.cancel();
    println!("cancelled or finished: {}", failure(never.await));

    // Failures whose handles were dropped are reported by `finish`, here the first of all the above.
    println!("finish: {}", failure(session.finish().await));
    session.close().await?;
    farm.close().await;
    Ok(())
}

fn failure<T>(result: Result<T, CommandError>) -> String {
    match result {
        Ok(_) => "finished".to_owned(),
        Err(error) => first_line(&error.to_string()).to_owned(),
    }
}

fn first_line(text: &str) -> &str {
    text.lines().next().unwrap_or("")
}
