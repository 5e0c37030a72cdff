//! The three shipped graphs, computed one command after the other on the first OpenCL device, and verified.
//!
//! Where there is no OpenCL the tests say so and pass: whether a farm computes the graphs rightly is tested where the
//! farm is.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::c_void;
use std::path::{Path, PathBuf};
use std::ptr;
use std::sync::{Mutex, MutexGuard, PoisonError};

use isochrone_workload::data_files::write_output;
use isochrone_workload::graph_file::{
    Access, Argument, Buffer, BufferArgument, ByteRange, Command, CommandKind, GraphFile, Launch, Output,
    Settings,
};
use isochrone_workload::inputs::{InputOptions, write_inputs};
use isochrone_workload::reference::{self, Verification};
use opencl3::command_queue::CommandQueue;
use opencl3::context::Context;
use opencl3::device::{CL_DEVICE_TYPE_ALL, Device};
use opencl3::kernel::{CL_KERNEL_ARG_TYPE_CONST, Kernel, set_kernel_arg};
use opencl3::memory::{CL_MEM_READ_WRITE, ClMem};
use opencl3::program::Program;
use opencl3::types::{CL_BLOCKING, cl_mem};

type DeviceBuffer = opencl3::memory::Buffer<u8>;

/// Loading OpenCL from several threads at once finds no platform in some of them.
static TURN: Mutex<()> = Mutex::new(());

/// One device with an in-order queue, for one test at a time.
struct Machine {
    _turn: MutexGuard<'static, ()>,
    device: Device,
    context: Context,
    queue: CommandQueue,
}

impl Machine {
    /// The first device of the first platform that has one, or nothing, said aloud.
    fn find() -> Option<Machine> {
        let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        let platforms = opencl3::platform::get_platforms().unwrap_or_default();
        let device = platforms
            .iter()
            .find_map(|platform| platform.get_devices(CL_DEVICE_TYPE_ALL).ok()?.first().copied());
        let Some(device) = device else {
            let is_needed = std::env::var_os("ISOCHRONE_NEEDS_OPENCL").is_some();
            assert!(!is_needed, "no OpenCL device here, and ISOCHRONE_NEEDS_OPENCL is set");
            println!("skipped: no OpenCL device here");
            return None;
        };
        let device = Device::new(device);
        let context = Context::from_device(&device).unwrap();
        let queue = CommandQueue::create_default_with_properties(&context, 0, 0).unwrap();
        Some(Machine { _turn: turn, device, context, queue })
    }

    fn has_doubles(&self) -> bool {
        self.device.double_fp_config().unwrap_or(0) != 0
    }

    /// Runs all commands in an order that `seed` decides, and reads the outputs.
    fn run(&self, graph_file: &GraphFile, seed: u64) -> Vec<(Output, Vec<u8>)> {
        let programs: Vec<Program> = graph_file
            .programs
            .iter()
            .map(|program| {
                let options = format!("{} -cl-kernel-arg-info", program.options);
                Program::create_and_build_from_source(&self.context, &program.source, &options).unwrap()
            })
            .collect();
        let mut buffers: Vec<DeviceBuffer> =
            graph_file.buffers.iter().map(|buffer| self.create(buffer)).collect();
        let mut kernels = BTreeMap::new();
        for command in &graph_file.commands {
            if let CommandKind::Launch(launch) = &command.kind {
                let key = (launch.program, launch.kernel.clone());
                kernels
                    .entry(key)
                    .or_insert_with(|| Kernel::create(&programs[launch.program], &launch.kernel).unwrap());
            }
        }
        for index in shuffled(graph_file, &kernels, seed) {
            match &graph_file.commands[index].kind {
                CommandKind::Launch(launch) => {
                    self.launch(&kernels[&(launch.program, launch.kernel.clone())], launch, &buffers);
                }
                CommandKind::Fill { buffer, offset_bytes, size_bytes, pattern } => {
                    let bytes = pattern.repeat(*size_bytes as usize / pattern.len());
                    self.write(&mut buffers[*buffer], *offset_bytes, &bytes);
                }
                CommandKind::Copy {
                    source,
                    source_offset_bytes,
                    target,
                    target_offset_bytes,
                    size_bytes,
                } => {
                    let bytes = self.read(&buffers[*source], *source_offset_bytes, *size_bytes);
                    self.write(&mut buffers[*target], *target_offset_bytes, &bytes);
                }
                CommandKind::Barrier | CommandKind::Marker => {}
            }
        }
        let outputs = graph_file.outputs.iter().map(|output| {
            let parts = output.parts.iter();
            let parts: Vec<Vec<u8>> = parts
                .map(|part| self.read(&buffers[part.buffer], part.range.offset_bytes, part.range.size_bytes))
                .collect();
            (output.clone(), output.assemble(&parts).unwrap())
        });
        outputs.collect()
    }

    fn create(&self, buffer: &Buffer) -> DeviceBuffer {
        let size = buffer.size_bytes as usize;
        // SAFETY: no host pointer is given.
        let mut created =
            unsafe { DeviceBuffer::create(&self.context, CL_MEM_READ_WRITE, size, ptr::null_mut()) }.unwrap();
        // Whatever a graph forgets to write shows up as nonsense rather than as zero.
        let filling = vec![0xa5; size];
        self.write(&mut created, 0, buffer.content.as_ref().unwrap_or(&filling));
        created
    }

    fn write(&self, buffer: &mut DeviceBuffer, offset: u64, bytes: &[u8]) {
        // SAFETY: the write is blocking, so `bytes` outlives it, and the range lies in the buffer.
        unsafe { self.queue.enqueue_write_buffer(buffer, CL_BLOCKING, offset as usize, bytes, &[]) }.unwrap();
    }

    fn read(&self, buffer: &DeviceBuffer, offset: u64, size: u64) -> Vec<u8> {
        let mut bytes = vec![0; size as usize];
        // SAFETY: the read is blocking, so `bytes` outlives it, and the range lies in the buffer.
        unsafe { self.queue.enqueue_read_buffer(buffer, CL_BLOCKING, offset as usize, &mut bytes, &[]) }
            .unwrap();
        bytes
    }

    fn launch(&self, kernel: &Kernel, launch: &Launch, buffers: &[DeviceBuffer]) {
        for (index, argument) in launch.arguments.iter().enumerate() {
            let memory;
            let (size, value): (usize, *const c_void) = match argument {
                Argument::Buffer(BufferArgument { buffer, bound, .. }) => {
                    assert_eq!(bound.offset_bytes, 0, "the shipped graphs bind whole buffers");
                    memory = buffers[*buffer].get();
                    (size_of::<cl_mem>(), ptr::from_ref(&memory).cast())
                }
                Argument::Scalar(bytes) => (bytes.len(), bytes.as_ptr().cast()),
                Argument::Local { size_bytes } => (*size_bytes as usize, ptr::null()),
            };
            // SAFETY: `value` is null or points to `size` bytes, which the call copies.
            unsafe { set_kernel_arg(kernel.get(), index as u32, size, value) }.unwrap();
        }
        let words = |numbers: &[u64]| numbers.iter().map(|&number| number as usize).collect::<Vec<usize>>();
        let (global, local) = (words(&launch.global), launch.local.as_deref().map(words));
        let local_pointer = local.as_ref().map_or(ptr::null(), Vec::as_ptr);
        let dimensions = global.len() as u32;
        // SAFETY: the sizes are as many as the dimensions, and all arguments are set.
        unsafe {
            self.queue.enqueue_nd_range_kernel(
                kernel.get(),
                dimensions,
                ptr::null(),
                global.as_ptr(),
                local_pointer,
                &[],
            )
        }
        .unwrap();
        self.queue.finish().unwrap();
    }
}

/// The bytes of a buffer that a command uses, and whether it may change them.
type Use = (usize, ByteRange, bool);

fn uses(command: &Command, kernels: &BTreeMap<(usize, String), Kernel>) -> Vec<Use> {
    match &command.kind {
        CommandKind::Launch(launch) => {
            let kernel = &kernels[&(launch.program, launch.kernel.clone())];
            let arguments = launch.arguments.iter().enumerate();
            let used = arguments.filter_map(|(index, argument)| match argument {
                Argument::Buffer(argument) => {
                    let qualifier = kernel.get_arg_type_qualifier(index as u32).unwrap();
                    let is_const = qualifier & u64::from(CL_KERNEL_ARG_TYPE_CONST) != 0;
                    let writes = argument.access.map_or(!is_const, |access| access != Access::Read);
                    Some((argument.buffer, argument.touched(), writes))
                }
                Argument::Scalar(_) | Argument::Local { .. } => None,
            });
            used.collect()
        }
        CommandKind::Fill { buffer, offset_bytes, size_bytes, .. } => {
            vec![(*buffer, ByteRange { offset_bytes: *offset_bytes, size_bytes: *size_bytes }, true)]
        }
        CommandKind::Copy { .. } | CommandKind::Barrier | CommandKind::Marker => {
            panic!("the shipped graphs have no such command; teach this test about it")
        }
    }
}

/// An order that the uses of data allow, as far from the order of the file as chance makes it.
fn shuffled(graph_file: &GraphFile, kernels: &BTreeMap<(usize, String), Kernel>, seed: u64) -> Vec<usize> {
    let used: Vec<Vec<Use>> = graph_file.commands.iter().map(|command| uses(command, kernels)).collect();
    let overlap = |one: &Use, other: &Use| {
        one.0 == other.0
            && (one.2 || other.2)
            && one.1.offset_bytes < other.1.offset_bytes + other.1.size_bytes
            && other.1.offset_bytes < one.1.offset_bytes + one.1.size_bytes
    };
    let mut waiting_for: Vec<BTreeSet<usize>> = Vec::new();
    for (index, command) in graph_file.commands.iter().enumerate() {
        let conflicts = |earlier: &usize| {
            used[index].iter().any(|one| used[*earlier].iter().any(|other| overlap(one, other)))
        };
        waiting_for.push((0..index).filter(conflicts).chain(command.after.iter().copied()).collect());
    }
    let mut state = seed;
    let mut order = Vec::new();
    let mut left: Vec<usize> = (0..used.len()).collect();
    while !left.is_empty() {
        let ready: Vec<usize> = left.iter().copied().filter(|&index| waiting_for[index].is_empty()).collect();
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let next = ready[(state >> 33) as usize % ready.len()];
        left.retain(|&index| index != next);
        waiting_for.iter_mut().for_each(|set| {
            set.remove(&next);
        });
        order.push(next);
    }
    order
}

fn graph_path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../graphs").join(name).join("graph.toml")
}

/// Copies a shipped graph to a folder of its own, beside small inputs.
fn prepare(name: &str, options: &InputOptions) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for entry in std::fs::read_dir(graph_path(name).parent().unwrap()).unwrap() {
        let path = entry.unwrap().path();
        if path.is_file() {
            std::fs::copy(&path, folder.path().join(path.file_name().unwrap())).unwrap();
        }
    }
    write_inputs(name, folder.path(), options).unwrap();
    folder
}

/// Computes a shipped graph in several orders and verifies each.
fn compute(name: &str, options: &InputOptions, parameters: &[(&str, &str)]) -> Option<Verification> {
    let machine = Machine::find()?;
    let folder = prepare(name, options);
    let mut settings = Settings { output_directory: Some(folder.path().to_owned()), ..Settings::default() };
    settings
        .parameters
        .extend(parameters.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
    if machine.has_doubles() {
        settings.capabilities.insert("fp64".to_owned());
    }
    let graph_file = GraphFile::load(&folder.path().join("graph.toml"), &settings)
        .unwrap_or_else(|errors| panic!("{errors}"));
    println!("{}", graph_file.summary());
    let mut verification = None;
    for seed in 0..3 {
        let outputs = machine.run(&graph_file, seed);
        for (output, bytes) in &outputs {
            write_output(output, bytes).unwrap();
            assert!(output.path.is_file());
        }
        let name = graph_file.verify.as_deref().unwrap();
        let verified =
            reference::verify(name, &graph_file, &outputs).unwrap_or_else(|error| panic!("{error}"));
        println!("{verified:?}");
        // A single wrong bit in each output must be noticed.
        let mut spoiled = outputs.clone();
        let middle = spoiled[0].1.len() / 2;
        spoiled[0].1[middle + 3] ^= 0x40;
        assert!(reference::verify(name, &graph_file, &spoiled).is_err());
        verification = Some(verified);
    }
    verification
}

fn small() -> InputOptions {
    InputOptions { seed: 5, vector_length: 10_007, matrix_order: 240, image_width: 331, image_height: 203 }
}

#[test]
fn vector_add() {
    for parts in ["1", "4", "7"] {
        if let Some(verification) = compute("vector-add", &small(), &[("parts", parts)]) {
            assert_eq!(verification.numbers_checked, 10_007);
        }
    }
}

#[test]
fn cholesky() {
    // Tiles of 60, 48, 30 and 1: multiples of the block and not.
    for tiles in ["1", "4", "5", "8"] {
        if let Some(verification) = compute("cholesky", &small(), &[("tiles", tiles)]) {
            assert_eq!(verification.numbers_checked, 240 * 240);
            assert!(verification.max_error <= verification.tolerance);
        }
    }
    let tiny = InputOptions { matrix_order: 6, ..small() };
    compute("cholesky", &tiny, &[("tiles", "6")]);
}

#[test]
fn cholesky_in_single_precision() {
    for tiles in ["3", "8"] {
        if let Some(verification) = compute("cholesky", &small(), &[("tiles", tiles), ("real", "float")]) {
            assert!(verification.tolerance > 1e-8 && verification.tolerance < 1e-2, "{verification:?}");
        }
    }
}

#[test]
fn image_pipeline() {
    for strips in ["1", "4", "8", "100", "203"] {
        if let Some(verification) = compute("image-pipeline", &small(), &[("strips", strips)]) {
            assert_eq!(verification.numbers_checked, 331 * 203);
        }
    }
    let tiny = InputOptions { image_width: 1, image_height: 1, ..small() };
    let Some(machine) = Machine::find() else {
        return;
    };
    let folder = prepare("image-pipeline", &tiny);
    let mut settings = Settings::default();
    settings.parameters.insert("strips".to_owned(), "1".to_owned());
    let graph_file = GraphFile::load(&folder.path().join("graph.toml"), &settings).unwrap();
    let outputs = machine.run(&graph_file, 0);
    assert_eq!(reference::verify("image-pipeline", &graph_file, &outputs).unwrap().numbers_checked, 1);
}
