//! Bad input through a whole farm: the caller's handle says what is wrong, what depends on it fails with that
//! cause, and the session goes on.

use std::time::Duration;

use isochrone_client::{
    Buffer, CommandError, CommandHandle, Farm as Client, Program, Session, SessionOptions,
};
use isochrone_model::units::BytesPerSecond;
use isochrone_model::{ByteRange, DeviceKind};
use isochrone_node_agent::opencl::OpenClOptions;
use isochrone_node_agent::virtual_devices::{VirtualDevice, VirtualOptions};
use isochrone_testbed::{Devices, Farm, FarmOptions, has_opencl};

const TIMEOUT: Duration = Duration::from_secs(60);

const SOURCE: &str = "
kernel void scale(global float *values, float factor) { values[get_global_id(0)] *= factor; }
kernel void pick(global const int *from, global int *to, local int *room) {
    room[0] = from[0]; to[0] = room[0];
}
kernel void no_op(void) {}
";

async fn within<F: IntoFuture>(future: F) -> F::Output {
    tokio::time::timeout(TIMEOUT, future.into_future()).await.expect("not within a minute")
}

/// A farm with one session, and what its tests use.
struct Bench {
    farm: Farm,
    client: Client,
    session: Session,
    program: Program,
}

impl Bench {
    async fn start(options: FarmOptions) -> Self {
        let farm = within(Farm::start(options)).await.unwrap();
        let client = within(farm.connect()).await.unwrap();
        let session = within(client.session(SessionOptions::new())).await.unwrap();
        let program = session.program(SOURCE).build();
        Self { farm, client, session, program }
    }

    /// Two agents with a modelled device of 1 MiB each.
    async fn modelled() -> Self {
        let device = VirtualDevice::new("small", 1_000, 1 << 20, BytesPerSecond(10_000_000_000));
        let devices = Devices::Virtual(VirtualOptions { devices: vec![device], spin: false, seed: 0 });
        Self::start(FarmOptions::in_process().agents(2, &devices)).await
    }

    /// Two agents with the processors of this host; `None` without OpenCL.
    async fn processors() -> Option<Self> {
        let options = OpenClOptions { kinds: vec![DeviceKind::Cpu], ..OpenClOptions::default() };
        if !has_opencl(&options) {
            return None;
        }
        Some(Self::start(FarmOptions::in_process().agents(2, &Devices::OpenCl(options))).await)
    }

    fn marked(&self) -> Buffer {
        self.session.buffer_from([7_i32, 8, 9, 10])
    }

    /// The command fails as it should, a read of what it was to write fails with it and names it, and what has
    /// nothing to do with either is done.
    async fn fails_alone(&self, failing: &CommandHandle, target: Option<&Buffer>) -> CommandError {
        let dependent = match target {
            Some(target) => self.session.read(target).enqueue().handle().clone(),
            None => self.session.marker().after(failing).enqueue(),
        };
        let last = self.session.marker().after(&dependent).enqueue();
        self.goes_on().await;
        let error = within(failing).await.expect_err("must fail");
        let expected = CommandError::of_dependent(failing.id().unwrap(), &error);
        assert_eq!(within(dependent).await, Err(expected.clone()));
        assert_eq!(within(last).await, Err(expected), "the first failure is named, however long the way");
        error
    }

    /// The session works: bytes move and kernels run.
    async fn goes_on(&self) {
        let buffer = self.marked();
        let launch = self.session.launch(&self.program, "no_op").range([4]).enqueue();
        let read = self.session.read(&buffer).range(4..12).after(&launch).enqueue();
        assert_eq!(within(read.to_vec::<i32>()).await, Ok(vec![8, 9]));
        assert_eq!(self.session.closed_reason(), None);
    }

    async fn stop(self) {
        let Self { farm, client, session, program } = self;
        drop(program);
        // Its earliest failure comes back; the session is closed all the same.
        let _ = within(session.close()).await;
        within(client.close()).await;
        within(farm.stop()).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn source_that_does_not_compile_brings_every_devices_whole_log() {
    let Some(bench) = Bench::processors().await else { return };
    let faults: Vec<String> =
        (0..15).map(|number| format!("    x[{number}] = missing_{number};\n")).collect();
    let broken = format!("kernel void broken(global int *x) {{\n{}}}\n", faults.concat());
    let broken = bench.session.program(broken).build();
    let target = bench.session.buffer_of::<i32>(16);
    let launch = bench.session.launch(&broken, "broken").buffer(&target).enqueue();
    let error = bench.fails_alone(&launch, Some(&target)).await;
    assert_eq!(within(broken.built()).await.as_ref().unwrap_err(), &error);
    let CommandError::BuildFailed { logs } = error else { panic!("{error}") };
    let devices = within(bench.client.devices()).await.unwrap();
    assert_eq!(logs.len(), devices.len(), "{logs:?}");
    for log in logs {
        assert!(log.device.starts_with("agent-"), "{log:?}");
        for number in 0..15 {
            assert!(
                log.log.contains(&format!("missing_{number}")),
                "fault {number} is in the log: {}",
                log.log
            );
        }
    }
    bench.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unknown_kernel_is_refused_with_the_names_there_are() {
    let bench = Bench::modelled().await;
    let target = bench.marked();
    let launch = bench.session.launch(&bench.program, "scael").write(&target).scalar(1_f32).enqueue();
    let error = bench.fails_alone(&launch, None).await;
    let known = ["no_op", "pick", "scale"].map(str::to_owned).to_vec();
    assert_eq!(error, CommandError::UnknownKernel { kernel: "scael".to_owned(), known });
    bench.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn arguments_are_checked_by_count_size_and_kind() {
    let bench = Bench::modelled().await;
    let (values, other) = (bench.marked(), bench.marked());
    let scale = || bench.session.launch(&bench.program, "scale").range([4]);
    let pick = || bench.session.launch(&bench.program, "pick");

    let too_few = scale().buffer(&values).enqueue();
    let error = bench.fails_alone(&too_few, None).await;
    let kernel = || "scale".to_owned();
    assert_eq!(error, CommandError::ArgumentCount { kernel: kernel(), expected: 2, given: 1 });
    let too_many = scale().buffer(&values).scalar(1_f32).scalar(1_f32).enqueue();
    let error = bench.fails_alone(&too_many, None).await;
    assert_eq!(error, CommandError::ArgumentCount { kernel: kernel(), expected: 2, given: 3 });

    let wide = scale().buffer(&values).scalar(1_f64).enqueue();
    let error = bench.fails_alone(&wide, None).await;
    let expected = CommandError::ArgumentSize {
        kernel: kernel(),
        index: 1,
        name: "factor".to_owned(),
        type_name: "float".to_owned(),
        expected_bytes: 4,
        given_bytes: 8,
    };
    assert_eq!(error, expected);

    for launch in [
        scale().scalar(1_f32).scalar(1_f32),
        scale().buffer(&values).buffer(&other),
        scale().buffer(&values).local_memory(4),
        pick().buffer(&values).buffer(&other).scalar(1_i32),
        pick().buffer(&values).buffer(&other).local_memory(0),
    ] {
        let error = bench.fails_alone(&launch.enqueue(), None).await;
        assert!(matches!(error, CommandError::ArgumentKind { .. }), "{error}");
    }

    let written = pick().write(&values).buffer(&other).local_memory(4).enqueue();
    let error = bench.fails_alone(&written, None).await;
    assert!(matches!(error, CommandError::AccessContradiction { index: 0, .. }), "{error}");
    // What was refused has touched nothing.
    let read = bench.session.read(&values).enqueue();
    let error = within(read).await.expect_err("what a refused launch would have written cannot be read");
    assert!(matches!(error, CommandError::Dependency { .. }), "{error}");
    let rewritten = bench.session.write(&values, 0, [1_i32, 2, 3, 4]).enqueue();
    within(rewritten).await.unwrap();
    assert_eq!(within(bench.session.read(&values).enqueue().to_vec::<i32>()).await, Ok(vec![1, 2, 3, 4]));
    bench.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bytes_outside_a_buffer_are_refused_for_every_command() {
    let bench = Bench::modelled().await;
    let session = &bench.session;
    let (buffer, other) = (bench.marked(), bench.marked());
    let scale = || session.launch(&bench.program, "scale");
    let outside = |buffer: &Buffer, start, end| CommandError::OutOfRange {
        buffer: buffer.id(),
        range: ByteRange { start, end },
        size_bytes: 16,
    };
    let commands: Vec<(CommandHandle, CommandError)> = vec![
        (session.write(&buffer, 12, [1_i32, 2]).enqueue(), outside(&buffer, 12, 20)),
        (session.read(&buffer).range(8..17).enqueue().handle().clone(), outside(&buffer, 8, 17)),
        (session.read(&buffer).range(16..20).enqueue().handle().clone(), outside(&buffer, 16, 20)),
        (session.copy(&buffer, &other).range(8..32).enqueue(), outside(&buffer, 8, 32)),
        (session.copy(&buffer, &other).to_offset(4).enqueue(), outside(&other, 4, 20)),
        (session.fill(&buffer, 0_i32).range(0..20).enqueue(), outside(&buffer, 0, 20)),
        (scale().buffer(&buffer).part(0..20).scalar(1_f32).enqueue(), outside(&buffer, 0, 20)),
        (scale().buffer(&buffer).touching(12..24).scalar(1_f32).enqueue(), outside(&buffer, 12, 24)),
    ];
    for (handle, expected) in commands {
        assert_eq!(bench.fails_alone(&handle, None).await, expected);
    }
    // Larger than any address.
    let error = within(session.write(&buffer, u64::MAX, [1_i32]).enqueue()).await.unwrap_err();
    assert!(matches!(error, CommandError::OutOfRange { .. } | CommandError::Malformed { .. }), "{error}");
    bench.goes_on().await;
    bench.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_buffer_larger_than_any_device_fails_what_uses_it_alone() {
    let bench = Bench::modelled().await;
    let large = bench.session.buffer((1 << 20) + 1);
    let too_large = CommandError::BufferTooLarge {
        buffer: large.id(),
        size_bytes: (1 << 20) + 1,
        largest_bytes: 1 << 20,
    };
    let fill = bench.session.fill(&large, 0_u8).enqueue();
    assert_eq!(within(&fill).await, Err(too_large.clone()));
    let read = bench.session.read(&large).enqueue();
    assert_eq!(within(read).await, Err(too_large));
    let empty = bench.session.buffer(0);
    let error = within(bench.session.read(&empty).range(0..1).enqueue()).await.unwrap_err();
    assert!(error.to_string().contains("0 bytes"), "{error}");
    bench.goes_on().await;
    bench.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_index_space_that_devices_refuse_is_told_with_their_reason() {
    let bench = Bench::modelled().await;
    let no_op = || bench.session.launch(&bench.program, "no_op");
    // Known before it is placed, and found by the device itself.
    for (launch, reason) in
        [(no_op().range([4_096]).local([2_048]), "2048"), (no_op().range([10]).local([4]), "do not divide")]
    {
        let error = bench.fails_alone(&launch.enqueue(), None).await;
        let CommandError::NdRangeRefused { device, reason: told } = &error else { panic!("{error}") };
        assert!(device.ends_with("/small") && told.contains(reason), "{error}");
    }
    for launch in [no_op().range([0]), no_op().range([4, 4]).local([2]), no_op().range([4]).local([0])] {
        let error = bench.fails_alone(&launch.enqueue(), None).await;
        assert!(matches!(error, CommandError::Malformed { .. }), "{error}");
    }
    bench.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_index_space_that_a_driver_refuses_is_told_with_its_reason() {
    let Some(bench) = Bench::processors().await else { return };
    let source = "kernel __attribute__((reqd_work_group_size(8, 1, 1))) void eights(global int *x) {
        x[get_global_id(0)] = 8;
    }";
    let program = bench.session.program(source).build();
    let target = bench.session.buffer_of::<i32>(16);
    let launch = bench.session.launch(&program, "eights").range([16]).local([4]).buffer(&target).enqueue();
    let error = bench.fails_alone(&launch, Some(&target)).await;
    let CommandError::NdRangeRefused { device, reason } = &error else { panic!("{error}") };
    assert!(device.starts_with("agent-") && reason.contains("CL_INVALID_WORK_GROUP_SIZE"), "{error}");
    let suits = bench.session.launch(&program, "eights").range([16]).local([8]).write(&target).enqueue();
    within(suits).await.unwrap();
    assert_eq!(within(bench.session.read(&target).enqueue().to_vec::<i32>()).await, Ok(vec![8; 16]));
    bench.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_launch_that_fits_no_device_is_told_why_of_each() {
    let bench = Bench::modelled().await;
    let program = bench.session.program("kernel void join(global int *a, global int *b) {}").build();
    let (first, second) = (bench.session.buffer(700_000), bench.session.buffer(700_000));
    let launch = bench.session.launch(&program, "join").buffer(&first).buffer(&second).enqueue();
    let error = bench.fails_alone(&launch, Some(&second)).await;
    let CommandError::NoDevice { reason } = &error else { panic!("{error}") };
    assert!(reason.contains("agent-1/small") && reason.contains("agent-2/small"), "{reason}");
    assert!(reason.contains("1048576 bytes of memory"), "{reason}");
    bench.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_farm_without_devices_says_so_and_keeps_the_session() {
    let farm = within(Farm::start(FarmOptions::in_process())).await.unwrap();
    let client = within(farm.connect()).await.unwrap();
    let session = within(client.session(SessionOptions::new())).await.unwrap();
    let program = session.program(SOURCE).build();
    let error = within(session.launch(&program, "no_op").enqueue()).await.unwrap_err();
    assert!(
        matches!(error, CommandError::NoDevice { .. } | CommandError::BuildFailed { .. })
            && error.to_string().contains("the farm has no"),
        "{error}"
    );
    assert_eq!(session.closed_reason(), None);
    assert!(within(session.marker().enqueue()).await.is_ok());
    drop((program, session));
    within(client.close()).await;
    within(farm.stop()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_failure_fails_exactly_its_dependents_each_with_the_cause() {
    let bench = Bench::modelled().await;
    let session = &bench.session;
    let (a, b, c, apart) = (bench.marked(), bench.marked(), bench.marked(), bench.marked());
    // Refused by the device itself, when it is started: all others have been placed by then.
    let failing =
        session.launch(&bench.program, "scale").range([10]).local([4]).buffer(&a).scalar(1_f32).enqueue();
    let through_data = session.copy(&a, &b).enqueue();
    let further = session.read(&b).enqueue();
    let through_after = session.fill(&c, 1_i32).after(&failing).enqueue();
    let at_the_end = session.marker().after_all([&through_data, &through_after]).enqueue();
    // In no relation, or only overwriting: they finish.
    let beside = session.read(&apart).enqueue();
    let overwriting = session.write(&a, 0, [1_i32, 2, 3, 4]).enqueue();
    let healed = session.read(&a).enqueue();

    let error = within(&failing).await.unwrap_err();
    assert!(matches!(error, CommandError::NdRangeRefused { .. }), "{error}");
    let expected = CommandError::Dependency { failed: failing.id().unwrap(), cause: Box::new(error) };
    for dependent in [&through_data, further.handle(), &through_after, &at_the_end] {
        assert_eq!(within(dependent).await, Err(expected.clone()));
    }
    assert_eq!(within(beside.to_vec::<i32>()).await, Ok(vec![7, 8, 9, 10]));
    within(overwriting).await.unwrap();
    assert_eq!(within(healed.to_vec::<i32>()).await, Ok(vec![1, 2, 3, 4]));
    bench.goes_on().await;
    bench.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn things_of_another_session_are_refused() {
    let bench = Bench::modelled().await;
    let other = within(bench.client.session(SessionOptions::new())).await.unwrap();
    let (theirs, program) = (other.buffer_from([1_i32; 4]), other.program(SOURCE).build());
    let marker = other.marker().enqueue();
    within(&marker).await.unwrap();
    for foreign in [
        bench.session.read(&theirs).enqueue().handle().clone(),
        bench.session.launch(&program, "no_op").enqueue(),
        bench.session.marker().after(&marker).enqueue(),
    ] {
        let error = within(&foreign).await.unwrap_err();
        assert!(error.to_string().contains("another session"), "{error}");
    }
    bench.goes_on().await;
    assert_eq!(within(other.read(&theirs).enqueue().to_vec::<i32>()).await, Ok(vec![1; 4]));
    drop((theirs, program));
    within(other.close()).await.unwrap();
    bench.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cycle_is_refused_with_its_members_named() {
    let bench = Bench::modelled().await;
    let mut graph = bench.session.graph();
    let first = graph.launch(&bench.program, "no_op").range([1]).enqueue();
    let second = graph.launch(&bench.program, "no_op").range([1]).after(&first).enqueue();
    let third = graph.launch(&bench.program, "no_op").range([1]).after(&second).enqueue();
    graph.run_after(&first, &third);
    let behind = graph.launch(&bench.program, "no_op").range([1]).after(&third).enqueue();
    let free = graph.launch(&bench.program, "no_op").range([1]).enqueue();
    let submitted = graph.submit().unwrap();
    assert!(within(submitted.wait()).await.is_err());
    let circle = [first.id(), second.id(), third.id()].map(Option::unwrap);
    for member in [&first, &second, &third] {
        let Err(CommandError::Cycle { mut members }) = within(member.wait()).await else {
            panic!("{:?} is no member of a cycle", member.outcome());
        };
        members.sort_unstable();
        assert_eq!(members, circle);
    }
    let Err(CommandError::Dependency { .. }) = within(behind.wait()).await else {
        panic!("{:?} depends on a member of a cycle", behind.outcome());
    };
    within(free.wait()).await.unwrap();
    let later = bench.session.launch(&bench.program, "no_op").range([1]).enqueue();
    within(later.wait()).await.unwrap();
    bench.farm.stop().await;
}
