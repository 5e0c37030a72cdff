//! Large contents through a whole farm: they stream between devices and connections, over local memory and over QUIC,
//! and come whole and right at every size, or not at all.

use std::time::Duration;

use bytes::Bytes;
use isochrone_client::{CommandError, Farm as Client, Program, Session, SessionOptions};
use isochrone_model::units::BytesPerSecond;
use isochrone_model::{DeviceKind, Span};
use isochrone_node_agent::opencl::OpenClOptions;
use isochrone_node_agent::virtual_devices::{VirtualDevice, VirtualOptions};
use isochrone_sim::cluster::{Access, LinkSpec, Path, Topology, UNLIMITED};
use isochrone_testbed::{Devices, Farm, FarmOptions, has_opencl};

const TIMEOUT: Duration = Duration::from_secs(120);

/// Of a piece, as the agents move them.
const PIECE: usize = 1 << 20;
const SIZES: [usize; 7] =
    [PIECE - 1, PIECE + 1, 2 * PIECE - 1, 2 * PIECE, 2 * PIECE + 1, 5 * PIECE + 12_345, 20 * PIECE - 7];

const SOURCE: &str = "
kernel void touch(global uchar *bytes, uint by) { bytes[get_global_id(0)] += by; }
kernel void no_op(global uchar *bytes) {}
";

async fn within<F: IntoFuture>(future: F) -> F::Output {
    tokio::time::timeout(TIMEOUT, future.into_future()).await.expect("not in time")
}

fn contents(bytes: usize) -> Vec<u8> {
    (0..bytes).map(|place| (place * 31 % 251) as u8).collect()
}

fn modelled(host_rate: u64) -> Devices {
    let device = VirtualDevice::new("device", 1_000_000, 1 << 30, BytesPerSecond(host_rate));
    Devices::Virtual(VirtualOptions { devices: vec![device], spin: false, seed: 0 })
}

/// The processors of this host; `None` without OpenCL.
fn processors() -> Option<Devices> {
    let options = OpenClOptions { kinds: vec![DeviceKind::Cpu], ..OpenClOptions::default() };
    has_opencl(&options).then_some(Devices::OpenCl(options))
}

/// The same farm with a relay between its members, so that contents go over QUIC.
fn over_quic(options: FarmOptions, members: usize) -> FarmOptions {
    over_links(options, members, UNLIMITED)
}

/// The same, at so many bytes a second between each two.
fn over_links(options: FarmOptions, members: usize, rate: BytesPerSecond) -> FarmOptions {
    let link = LinkSpec::fixed(Span::ZERO, rate);
    let paths = vec![Path { link, is_shared: false }];
    options.links(Topology::new(vec![Access::UNLIMITED; members + 2], paths, |_, _| 0), 1)
}

struct Bench {
    farm: Farm,
    client: Client,
    session: Session,
    program: Program,
}

impl Bench {
    async fn start(options: FarmOptions) -> Self {
        let farm = within(Farm::start(options.policy("round-robin"))).await.unwrap();
        let client = within(farm.connect()).await.unwrap();
        let session = within(client.session(SessionOptions::new())).await.unwrap();
        let program = session.program(SOURCE).build();
        Self { farm, client, session, program }
    }

    async fn stop(self) {
        within(self.session.close()).await.unwrap();
        self.client.close().await;
        self.farm.stop().await;
    }

    /// Writes, lets one device after the other have the contents, and reads, all in one go and then one by one.
    async fn cross(&self, is_computed: bool) {
        for size in SIZES {
            let mut expected = contents(size);
            let buffer = self.session.buffer(size as u64);
            self.session.write(&buffer, 0, Bytes::from(expected.clone())).enqueue();
            let launch = |by: u32| {
                let launch = self.session.launch(&self.program, "touch").range([size as u64]);
                launch.read_write(&buffer).scalar(by).enqueue()
            };
            for by in [1, 2] {
                launch(by);
            }
            let read = within(self.session.read(&buffer).enqueue()).await.unwrap();
            if is_computed {
                expected.iter_mut().for_each(|byte| *byte = byte.wrapping_add(3));
            }
            assert!(read == expected, "{size} bytes in one go");
            // The device has memory for it now: this write goes there as it comes.
            let mut expected = contents(size + 1)[1..].to_vec();
            within(self.session.write(&buffer, 0, Bytes::from(expected.clone())).enqueue()).await.unwrap();
            assert!(
                within(self.session.read(&buffer).enqueue()).await.unwrap() == expected,
                "{size} written"
            );
            for by in [4, 5, 6] {
                within(launch(by)).await.unwrap();
            }
            if is_computed {
                expected.iter_mut().for_each(|byte| *byte = byte.wrapping_add(15));
            }
            assert!(
                within(self.session.read(&buffer).enqueue()).await.unwrap() == expected,
                "{size} one by one"
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn contents_of_all_sizes_cross_modelled_devices_over_local_memory() {
    let bench = Bench::start(FarmOptions::in_process().agents(2, &modelled(20_000_000_000))).await;
    bench.cross(false).await;
    bench.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn contents_of_all_sizes_cross_modelled_devices_over_quic() {
    let options = FarmOptions::in_process().agents(2, &modelled(20_000_000_000));
    let bench = Bench::start(over_quic(options, 2)).await;
    bench.cross(false).await;
    bench.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn contents_of_all_sizes_cross_processors_over_local_memory_and_over_quic() {
    let Some(devices) = processors() else { return };
    let bench = Bench::start(FarmOptions::in_process().agents(2, &devices)).await;
    bench.cross(true).await;
    bench.stop().await;
    let bench = Bench::start(over_quic(FarmOptions::in_process().agents(2, &devices), 2)).await;
    bench.cross(true).await;
    bench.stop().await;
}

/// A device that gives 20 MB a second: what streams from it or to it takes a second and more.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_cancelled_or_loses_its_agent_in_the_middle_ends_and_the_session_goes_on() {
    let bench = Bench::start(FarmOptions::in_process().agents(2, &modelled(20_000_000))).await;
    end_in_the_middle(bench).await;
}

/// Links of 20 MB a second between devices whose memory is the host's: what is sent and received where it lies takes as long.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_ends_in_the_middle_on_processors_is_never_taken_for_whole() {
    let Some(devices) = processors() else { return };
    let options = FarmOptions::in_process().agents(2, &devices);
    end_in_the_middle(Bench::start(over_links(options, 2, BytesPerSecond(20_000_000))).await).await;
}

async fn end_in_the_middle(mut bench: Bench) {
    let size = 20 * PIECE;
    let buffer = bench.session.buffer(size as u64);
    let launch = || bench.session.launch(&bench.program, "no_op").range([1]).read_write(&buffer).enqueue();
    bench.session.write(&buffer, 0, Bytes::from(contents(size))).enqueue();
    within(launch()).await.unwrap();

    // A read that is given up in the middle ends either way, and what comes after it sees the contents.
    let read = bench.session.read(&buffer).enqueue();
    tokio::time::sleep(Duration::from_millis(300)).await;
    read.cancel();
    match within(read).await {
        Ok(bytes) => assert!(bytes == contents(size)),
        Err(error) => assert_eq!(error, CommandError::Cancelled),
    }
    assert!(within(bench.session.read(&buffer).enqueue()).await.unwrap() == contents(size));

    // On its way from one agent to the other one of them goes.
    let hop = launch();
    let read = bench.session.read(&buffer).enqueue();
    tokio::time::sleep(Duration::from_millis(300)).await;
    within(bench.farm.kill_agent(0)).await.unwrap();
    let _ = within(hop).await;
    if let Ok(bytes) = within(read).await {
        assert!(bytes == contents(size), "never a part of it");
    }
    let other = bench.session.buffer(size as u64);
    bench.session.write(&other, 0, Bytes::from(contents(size))).enqueue();
    bench.session.launch(&bench.program, "no_op").range([1]).read_write(&other).enqueue();
    assert!(within(bench.session.read(&other).enqueue()).await.unwrap() == contents(size));
    // It tells of what was lost.
    let _ = within(bench.session.close()).await;
    bench.client.close().await;
    bench.farm.stop().await;
}
