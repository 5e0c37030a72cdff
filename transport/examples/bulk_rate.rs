//! How fast bulk goes between two endpoints of one process: by QUIC, by local sockets, and what copying takes.
//!
//! `cargo run --release -p isochrone-transport --example bulk_rate`

#![expect(clippy::disallowed_methods, reason = "what is measured here is time")]

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;
use isochrone_transport::authority::IDENTITY_VALIDITY;
use isochrone_transport::{Authority, Connection, Endpoint, Role, TransportOptions};

const REPEAT: usize = 9;
const PIECE_BYTES: usize = 1 << 20;

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Two ends of a connection, and the endpoints without which bulk would have none of its own.
async fn pair(may_be_local: bool) -> Result<(Connection, Connection, [Endpoint; 2]), Failure> {
    let authority = Authority::create("rates")?;
    let mut options = TransportOptions::new();
    options.allowed_roles(&[Role::Client]).local_bulk(may_be_local);
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    let scheduler = authority.issue(Role::Scheduler, "main", None, IDENTITY_VALIDITY)?.identity()?;
    let client = authority.issue(Role::Client, "c", Some("t"), IDENTITY_VALIDITY)?.identity()?;
    let server = Endpoint::bind(any, &scheduler, options.clone())?;
    let client = Endpoint::bind(any, &client, options)?;
    let accepting = async { server.accept().await.ok_or("closed")?.establish().await.map_err(Failure::from) };
    let dialling = client.connect(server.local_address()?, Role::Scheduler, None);
    let (dialled, accepted) = tokio::join!(dialling, accepting);
    let (dialled, accepted) = (dialled?, accepted?);
    Ok((dialled, accepted, [server, client]))
}

/// Moves contents once, into fresh memory.
async fn transfer(from: &Connection, to: &Connection, contents: &Bytes) -> Result<Duration, Failure> {
    let start = Instant::now();
    let sending = tokio::spawn({
        let (from, mut rest) = (from.clone(), contents.clone());
        async move {
            let mut bulk = from.open_bulk(&0_u8).await?;
            while !rest.is_empty() {
                bulk.send(rest.split_to(rest.len().min(PIECE_BYTES))).await?;
            }
            bulk.finish().await?;
            Ok::<(), Failure>(())
        }
    });
    let (_, bulk) = to.accept_bulk::<u8>().await?.ok_or("closed")?;
    let received = bulk.receive_exact(contents.len() as u64).await?;
    let taken = start.elapsed();
    sending.await??;
    assert!(received == *contents, "right bytes");
    Ok(taken)
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

fn report(what: &str, bytes: usize, taken: Duration) {
    println!("{what:32} {:5} MiB: {:6.0} MB/s", bytes >> 20, bytes as f64 / taken.as_secs_f64() / 1e6);
}

#[tokio::main]
async fn main() -> Result<(), Failure> {
    for bytes in [64 << 20, 1 << 30] {
        let contents: Bytes = (0..bytes).map(|place| (place % 251) as u8).collect();
        let fresh = (0..REPEAT).map(|_| {
            let start = Instant::now();
            let copy = contents.to_vec();
            let taken = start.elapsed();
            assert!(copy == contents, "right bytes");
            taken
        });
        report("memcpy into fresh memory", bytes, median(fresh.collect()));
        let mut room = vec![0; bytes];
        let used = (0..REPEAT).map(|_| {
            let start = Instant::now();
            room.copy_from_slice(&contents);
            start.elapsed()
        });
        report("memcpy into used memory", bytes, median(used.collect()));
        for (name, may_be_local) in [("QUIC", false), ("local sockets", true)] {
            let (dialled, accepted, _endpoints) = pair(may_be_local).await?;
            let mut times = Vec::new();
            for _ in 0..REPEAT {
                times.push(transfer(&dialled, &accepted, &contents).await?);
            }
            report(name, bytes, median(times));
        }
    }
    Ok(())
}
