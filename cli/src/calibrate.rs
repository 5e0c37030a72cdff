//! `isochrone calibrate`: what messages, transfers, handshakes and tasks cost on this machine, for the `quic` network model.
//!
//! Must never hold what the model does with it.

use std::fmt::Write as _;
use std::time::Duration;

use anyhow::{Context, ensure};
use isochrone_client::{Farm as Client, Program, Session, SessionOptions};
use isochrone_metrics::RunManifest;
use isochrone_model::{BytesPerSecond, Span};
use isochrone_node_agent::virtual_devices::{VirtualDevice, VirtualOptions};
use isochrone_sim::cluster::{LinkSpec, Topology};
use isochrone_testbed::cpu::CpuTimes;
use isochrone_testbed::{Devices, Farm};

use crate::arguments::CalibrateArguments;
use crate::clock::{now, unix_seconds};
use crate::{local_farm, output};

const SOURCE: &str = "
kernel void no_op(void) {}
kernel void touch(global uchar *bytes) { bytes[get_global_id(0)] += 1; }
";
/// Latencies are medians of so many.
const SAMPLES: usize = 400;
const HANDSHAKES: usize = 20;
/// Agents of the farm in which messages and transfers are measured, and of the one in which a client dials many at one time.
const FEW_AGENTS: usize = 2;
const MANY_AGENTS: usize = 6;
/// Hops of a chain between two agents.
const HOPS: u32 = 100;
const CHAINS: usize = 5;
/// Too large to ride in a message, too small to take long.
const SMALL_BYTES: u64 = 8 << 10;
const LARGE_BYTES: u64 = 16 << 20;
const LARGE_HOPS: u32 = 8;
/// Chains of launches on one agent each, submitted whole: so many, of so many launches.
const PROCESSED_CHAINS: usize = 100;
const PROCESSED_LAUNCHES: usize = 10;
const PROCESSED_TIMES: u32 = 10;
/// Processes that a no-op launch goes between: client, scheduler, agent, client.
const LAUNCH_MESSAGES: f64 = 3.0;

/// What was measured, in microseconds.
struct Measured {
    no_op: f64,
    connect: f64,
    /// A session's first contents to all of so many agents, beside later ones.
    dial_few: f64,
    dial_many: f64,
    small_hop: f64,
    large_hop: f64,
    /// What processors of the scheduler and of an agent take for a task; nothing where the system does not tell.
    scheduler_task: f64,
    agent_task: f64,
}

impl Measured {
    fn message(&self) -> f64 {
        self.no_op / LAUNCH_MESSAGES
    }

    /// How long an end is taken by a handshake before it can begin another.
    fn handshake_turn(&self) -> f64 {
        ((self.dial_many - self.dial_few) / (MANY_AGENTS - FEW_AGENTS) as f64).max(0.0)
    }

    /// A handshake alone. While the agents were dialled the first commands were on their way already, to the scheduler and back.
    fn handshake(&self) -> f64 {
        let dialled = self.dial_few + 2.0 * self.message();
        (dialled - self.handshake_turn() * (FEW_AGENTS - 1) as f64).max(0.0)
    }

    /// Bytes a second at which contents follow each other.
    fn rate(&self) -> f64 {
        (LARGE_BYTES - SMALL_BYTES) as f64 / (self.large_hop - self.small_hop).max(1.0) * 1e6
    }

    /// Beside its bytes.
    fn transfer(&self) -> f64 {
        (self.small_hop - SMALL_BYTES as f64 / self.rate() * 1e6).max(0.0)
    }
}

/// Measures farms of processes on this machine and writes the file.
pub async fn calibrate(arguments: CalibrateArguments) -> anyhow::Result<()> {
    let farm = start(MANY_AGENTS, arguments.emulated).await?;
    let dial_many = dial_alone(&farm).await;
    farm.stop().await;
    let dial_many = dial_many?;
    let farm = start(FEW_AGENTS, arguments.emulated).await?;
    let measured = measure(&farm, dial_many).await;
    farm.stop().await;
    let measured = measured?;
    let text = text(&measured, arguments.emulated);
    std::fs::write(&arguments.file, &text)
        .with_context(|| format!("cannot write {}", arguments.file.display()))?;
    output::print(&text);
    output::line(format!("\nUse it with --network 'quic(calibration={})'", arguments.file.display()));
    Ok(())
}

async fn start(agents: usize, is_emulated: bool) -> anyhow::Result<Farm> {
    let mut device = VirtualDevice::new("modelled", 1_000, 2 << 30, BytesPerSecond(u64::MAX / 2));
    device.launch_overhead = Span::ZERO;
    let devices = Devices::Virtual(VirtualOptions { devices: vec![device], spin: false, seed: 0 });
    let mut options = local_farm::of_this_binary()?.agents(agents, &devices).policy("round-robin");
    if is_emulated {
        options = options.links(Topology::uniform(agents, LinkSpec::LOCAL), 1);
    }
    Ok(Farm::start(options).await?)
}

async fn measure(farm: &Farm, dial_many: f64) -> anyhow::Result<Measured> {
    let mut connects = Vec::new();
    for _ in 0..HANDSHAKES {
        let begun = now();
        let client = farm.connect().await?;
        connects.push(begun.elapsed());
        client.close().await;
    }
    let client = farm.connect().await?;
    let dial_few = dial(&client, FEW_AGENTS).await?;
    let session = client.session(SessionOptions::new()).await?;
    let program = session.program(SOURCE).build();
    program.built().await?;
    let mut launches = Vec::new();
    for _ in 0..SAMPLES {
        let begun = now();
        session.launch(&program, "no_op").range([1]).enqueue().await?;
        launches.push(begun.elapsed());
    }
    let (scheduler_task, agent_task) = processing(farm, &client).await?;
    let small_hop = hop(&client, &session, &program, SMALL_BYTES, HOPS).await?;
    let large_hop = hop(&client, &session, &program, LARGE_BYTES, LARGE_HOPS).await?;
    session.close().await?;
    client.close().await;
    Ok(Measured {
        no_op: median(launches),
        connect: median(connects),
        dial_few,
        dial_many,
        small_hop,
        large_hop,
        scheduler_task,
        agent_task,
    })
}

async fn dial_alone(farm: &Farm) -> anyhow::Result<f64> {
    let client = farm.connect().await?;
    let dial = dial(&client, MANY_AGENTS).await?;
    client.close().await;
    Ok(dial)
}

/// What a session's first contents to all of its agents take longer than later ones, since the agents are still being dialled: by a client
/// that has been connected with them before, as most are.
async fn dial(client: &Client, agents: usize) -> anyhow::Result<f64> {
    const LATER: usize = 6;
    let mut times = Vec::new();
    for _ in 0..=HANDSHAKES {
        let session = client.session(SessionOptions::new()).await?;
        let program = session.program(SOURCE).build();
        let buffers: Vec<_> = (0..agents).map(|_| session.buffer(SMALL_BYTES)).collect();
        let mut rounds = Vec::new();
        for _ in 0..=LATER {
            let begun = now();
            let mut graph = session.graph();
            for buffer in &buffers {
                graph.write(buffer, 0, vec![0_u8; SMALL_BYTES as usize]).enqueue();
                graph.launch(&program, "touch").range([1]).read_write(buffer).enqueue();
            }
            graph.submit()?.await?;
            rounds.push(begun.elapsed());
        }
        let first = rounds.remove(0);
        rounds.sort_unstable();
        times.push(first.saturating_sub(rounds[LATER / 2]));
        session.close().await?;
    }
    // The first session's client has not been connected with the agents before.
    times.remove(0);
    Ok(median(times))
}

/// What a task takes of the scheduler's processor and of an agent's, in microseconds: many that are submitted whole, on the agents where their
/// contents are.
async fn processing(farm: &Farm, client: &Client) -> anyhow::Result<(f64, f64)> {
    let session = client.session(SessionOptions::new().policy("locality")).await?;
    let program = session.program(SOURCE).build();
    let buffers: Vec<_> = (0..PROCESSED_CHAINS).map(|_| session.buffer(8)).collect();
    let mut before = CpuTimes::now(farm);
    for time in 0..=PROCESSED_TIMES {
        let mut graph = session.graph();
        for buffer in &buffers {
            for _ in 0..PROCESSED_LAUNCHES {
                graph.launch(&program, "touch").range([1]).read_write(buffer).enqueue();
            }
        }
        graph.submit()?.await?;
        if time == 0 {
            // The first allocates and builds.
            before = CpuTimes::now(farm);
        }
    }
    let used = CpuTimes::now(farm).since(&before);
    session.close().await?;
    let tasks = f64::from(PROCESSED_TIMES) * (PROCESSED_CHAINS * PROCESSED_LAUNCHES) as f64;
    let each = |used: Duration| used.as_secs_f64() * 1e6 / tasks;
    Ok((each(used.scheduler), each(used.agents)))
}

/// What it takes to go from one agent to the other with contents, as part of a chain that was submitted whole: a message
/// there and back is taken off.
async fn hop(
    client: &Client,
    session: &Session,
    program: &Program,
    bytes: u64,
    hops: u32,
) -> anyhow::Result<f64> {
    let state = session.buffer(bytes);
    let before = client.status().await?.moved_bytes;
    let mut times = Vec::new();
    for _ in 0..=CHAINS {
        let mut graph = session.graph();
        for _ in 0..hops {
            graph.launch(program, "touch").range([1]).read_write(&state).enqueue();
        }
        let begun = now();
        graph.submit()?.await?;
        times.push(begun.elapsed());
    }
    // The first connects the agents.
    times.remove(0);
    let moved = client.status().await?.moved_bytes - before;
    ensure!(
        moved >= bytes * u64::from(hops - 2) * CHAINS as u64,
        "the chain did not go between the agents: {moved} bytes moved"
    );
    let whole = median(times);
    let mut ends = Vec::new();
    for _ in 0..SAMPLES / 4 {
        let begun = now();
        session.launch(program, "no_op").range([1]).enqueue().await?;
        ends.push(begun.elapsed());
    }
    Ok(((whole - median(ends)) / f64::from(hops - 1)).max(0.0))
}

/// In microseconds.
fn median(mut times: Vec<Duration>) -> f64 {
    times.sort_unstable();
    times.get(times.len() / 2).map_or(0.0, |time| time.as_secs_f64() * 1e6)
}

fn text(measured: &Measured, is_emulated: bool) -> String {
    let manifest = RunManifest::new(unix_seconds(), env!("CARGO_PKG_VERSION"), Vec::new());
    let mut text = String::from("# What peers cost on one machine, measured by `isochrone calibrate`");
    text.push_str(if is_emulated {
        " --emulated: over the relay\n# of emulated links, without latency.\n"
    } else {
        ".\n"
    });
    for line in manifest.table().to_string().lines().skip(2) {
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        if let [_, name, value, _] = cells[..] {
            let _ = writeln!(text, "# {name}: {value}");
        }
    }
    let _ = write!(
        text,
        "\n[quic]\nmessage_us = {:.1}\ntransfer_us = {:.1}\nhandshake_us = {:.1}\nhandshake_turn_us = {:.1}\nscheduler_task_us = {:.2}\nagent_task_us = {:.2}\nrate_bytes_per_second = {:.0}\n\n\
         [measured]\nno_op_launch_us = {:.1}\nhop_{SMALL_BYTES}_bytes_us = {:.1}\nhop_{LARGE_BYTES}_bytes_us = {:.1}\nconnect_us = {:.1}\ndial_{FEW_AGENTS}_agents_us = {:.1}\ndial_{MANY_AGENTS}_agents_us = {:.1}\n",
        measured.message(),
        measured.transfer(),
        measured.handshake(),
        measured.handshake_turn(),
        measured.scheduler_task,
        measured.agent_task,
        measured.rate(),
        measured.no_op,
        measured.small_hop,
        measured.large_hop,
        measured.connect,
        measured.dial_few,
        measured.dial_many
    );
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_what_the_network_model_reads() {
        let measured = Measured {
            no_op: 300.0,
            connect: 2_000.0,
            dial_few: 2_400.0,
            dial_many: 4_400.0,
            small_hop: 200.0,
            large_hop: 20_200.0,
            scheduler_task: 7.0,
            agent_task: 6.5,
        };
        assert!((measured.handshake_turn() - 500.0).abs() < 1e-9);
        assert!((measured.handshake() - 2_100.0).abs() < 1e-9);
        assert!((measured.message() - 100.0).abs() < 1e-9);
        assert!((measured.rate() - 838_451_200.0).abs() < 1.0, "{}", measured.rate());
        assert!((measured.transfer() - 190.2).abs() < 0.1, "{}", measured.transfer());
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("here.toml");
        std::fs::write(&path, text(&measured, true)).unwrap();
        let label = format!("quic(calibration={})", path.display());
        let cluster = isochrone_sim::cluster::Cluster::from_label("uniform(agents=2)").unwrap();
        let network = isochrone_sim::network::network(&label, &cluster, 0).unwrap();
        assert_eq!(network.processing().scheduler_task, Span::from_micros(7));
        assert_eq!(network.processing().agent_task, Span(6_500));
    }
}
