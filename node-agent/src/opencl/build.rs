//! Building programs, on one thread for each device, and the programs that were built.
//!
//! Compilers take seconds and are not always fit to run twice at a time for one device. Must never run
//! on the thread that enqueues.

use std::collections::{BTreeMap, VecDeque};
use std::ffi::CString;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use isochrone_model::order::{BuildOutcome, BuiltKernel};
use isochrone_model::{AddressSpace, ArgumentInfo, DeviceIndex, KernelSignature, ProgramKey, SharedList};
use opencl3::kernel::{
    CL_KERNEL_ARG_ADDRESS_CONSTANT, CL_KERNEL_ARG_ADDRESS_GLOBAL, CL_KERNEL_ARG_ADDRESS_LOCAL,
    CL_KERNEL_ARG_ADDRESS_QUALIFIER, CL_KERNEL_ARG_NAME, CL_KERNEL_ARG_TYPE_CONST, CL_KERNEL_ARG_TYPE_NAME,
    CL_KERNEL_ARG_TYPE_QUALIFIER, CL_KERNEL_FUNCTION_NAME, CL_KERNEL_NUM_ARGS, CL_KERNEL_WORK_GROUP_SIZE,
    get_kernel_arg_data, get_kernel_arg_info, get_kernel_data, get_kernel_info, get_kernel_work_group_info,
};
use opencl3::program::{CL_PROGRAM_BUILD_LOG, build_program, get_program_build_info};

use super::completion::Outlet;
use super::discover::text;
use super::raw::{Context, DeviceHandle, Kernel, Program};
use super::signature::{ArgumentShape, argument_info, shapes_of};
use super::status::Status;
use crate::backend::BackendEvent;
use crate::clock;

/// Built programs kept for their next use after the farm has dropped them: sessions that come back
/// bring the same sources.
const PROGRAMS_KEPT_MAX: usize = 32;

/// A program that a device has built. Its kernels are set up and launched by one thread only, the one
/// that owns the device.
pub(super) struct BuiltProgram {
    /// Ordered by name.
    pub(super) kernels: Vec<LoadedKernel>,
    log: String,
    /// After the kernels, which were made from it.
    _program: Program,
}

/// One kernel of a built program.
pub(super) struct LoadedKernel {
    /// The object that launches are made from.
    pub(super) kernel: Kernel,
    /// What it takes, for people.
    pub(super) signature: KernelSignature,
    /// What it takes, for checks.
    pub(super) shapes: Vec<ArgumentShape>,
    work_group_size_max: u64,
}

impl BuiltProgram {
    fn outcome(&self) -> BuildOutcome {
        let kernels = self.kernels.iter().map(|kernel| BuiltKernel {
            signature: kernel.signature.clone(),
            work_group_size_max: kernel.work_group_size_max,
        });
        BuildOutcome::Built { kernels: kernels.collect(), log: self.log.clone() }
    }
}

/// The programs of one device and the thread that builds them.
pub(super) struct Builder {
    bench: Arc<Bench>,
    requests: Option<mpsc::Sender<Request>>,
    thread: Option<JoinHandle<()>>,
    next_ticket: u64,
}

/// What the building thread works with.
struct Bench {
    device: DeviceHandle,
    index: DeviceIndex,
    outlet: Arc<Outlet>,
    is_closing: AtomicBool,
    table: Mutex<Table>,
    context: Arc<Context>,
}

#[derive(Default)]
struct Table {
    programs: BTreeMap<ProgramKey, Entry>,
    /// Most recently used last.
    kept: VecDeque<Kept>,
}

enum Entry {
    /// Being built. A program dropped and asked for again meanwhile has another ticket.
    Building {
        ticket: u64,
    },
    Built(Arc<BuiltProgram>),
}

struct Kept {
    source: Arc<str>,
    options: Arc<str>,
    program: Arc<BuiltProgram>,
}

struct Request {
    program: ProgramKey,
    ticket: u64,
    source: Arc<str>,
    options: Arc<str>,
}

impl Builder {
    pub(super) fn new(
        context: Arc<Context>,
        device: DeviceHandle,
        index: DeviceIndex,
        outlet: Arc<Outlet>,
    ) -> Self {
        let bench = Bench {
            device,
            index,
            outlet,
            is_closing: AtomicBool::new(false),
            table: Mutex::new(Table::default()),
            context,
        };
        Self { bench: Arc::new(bench), requests: None, thread: None, next_ticket: 0 }
    }

    /// Starts a build; exactly one `Built` will be sent for it.
    pub(super) fn build(&mut self, program: ProgramKey, source: Arc<str>, options: Arc<str>) {
        self.next_ticket += 1;
        let ticket = self.next_ticket;
        self.bench.lock().programs.insert(program, Entry::Building { ticket });
        let request = Request { program, ticket, source, options };
        if self.requests.is_none() {
            self.start();
        }
        let rejected = match &self.requests {
            Some(requests) => requests.send(request).err().map(|error| error.0),
            None => Some(request),
        };
        if let Some(request) = rejected {
            let log = "this agent has no thread for the compiler".to_owned();
            self.bench.conclude(&request, Err(log));
        }
    }

    /// The program, once built.
    pub(super) fn built(&self, program: ProgramKey) -> Option<Arc<BuiltProgram>> {
        match self.bench.lock().programs.get(&program) {
            Some(Entry::Built(built)) => Some(Arc::clone(built)),
            Some(Entry::Building { .. }) | None => None,
        }
    }

    /// Forgets a program; a build of it that still runs is thrown away.
    pub(super) fn forget(&mut self, program: ProgramKey) {
        self.bench.lock().programs.remove(&program);
    }

    /// Ends the thread; `false` when a compiler has not come back in time, and the thread goes on.
    pub(super) fn close(&mut self, deadline: Instant) -> bool {
        self.bench.is_closing.store(true, Ordering::Relaxed);
        self.requests = None;
        let Some(thread) = self.thread.take() else { return true };
        while !thread.is_finished() {
            if clock::now() >= deadline {
                return false;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        let _panicked = thread.join();
        true
    }

    fn start(&mut self) {
        let (requests, queue) = mpsc::channel::<Request>();
        let bench = Arc::clone(&self.bench);
        let name = format!("opencl-build-{}", bench.index.0);
        let thread = std::thread::Builder::new().name(name).spawn(move || {
            for request in queue {
                let result = if bench.is_closing.load(Ordering::Relaxed) {
                    Err("the agent is stopping".to_owned())
                } else {
                    bench.make(&request)
                };
                bench.conclude(&request, result);
            }
        });
        match thread {
            Ok(thread) => {
                self.thread = Some(thread);
                self.requests = Some(requests);
            }
            Err(error) => tracing::warn!(%error, "no thread for the compiler"),
        }
    }
}

impl Bench {
    fn lock(&self) -> MutexGuard<'_, Table> {
        // No code that holds the lock can panic half-way through a change.
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the program from those kept, or builds it.
    fn make(&self, request: &Request) -> Result<Arc<BuiltProgram>, String> {
        if let Some(program) = self.lock().take_kept(request) {
            return Ok(program);
        }
        compile(&self.context, self.device, &request.source, &request.options).map(Arc::new)
    }

    /// Records the result, then tells it: a launch may follow at once.
    fn conclude(&self, request: &Request, result: Result<Arc<BuiltProgram>, String>) {
        let outcome = match result {
            Ok(built) => {
                let outcome = built.outcome();
                self.lock().record(request, built);
                outcome
            }
            Err(log) => BuildOutcome::Failed { log },
        };
        self.outlet.send(BackendEvent::Built { program: request.program, device: self.index, outcome });
    }
}

impl Table {
    fn take_kept(&mut self, request: &Request) -> Option<Arc<BuiltProgram>> {
        let is_it = |kept: &Kept| kept.source == request.source && kept.options == request.options;
        let place = self.kept.iter().position(is_it)?;
        self.kept.remove(place).map(|kept| kept.program)
    }

    fn record(&mut self, request: &Request, built: Arc<BuiltProgram>) {
        if let Some(entry) = self.programs.get_mut(&request.program) {
            let is_awaited = match entry {
                Entry::Building { ticket } => *ticket == request.ticket,
                Entry::Built(_) => false,
            };
            if is_awaited {
                *entry = Entry::Built(Arc::clone(&built));
            }
        }
        if self.kept.len() == PROGRAMS_KEPT_MAX {
            self.kept.pop_front();
        }
        let (source, options) = (Arc::clone(&request.source), Arc::clone(&request.options));
        self.kept.push_back(Kept { source, options, program: built });
    }
}

/// Builds a program for one device; the error is the compiler's log.
fn compile(
    context: &Context,
    device: DeviceHandle,
    source: &str,
    options: &str,
) -> Result<BuiltProgram, String> {
    // Without this option no compiler keeps the argument information that the farm goes by.
    let informed_options = format!("{options} -cl-kernel-arg-info");
    match compile_once(context, device, source, &informed_options) {
        Ok((program, log)) => match load_kernels(&program, device, None) {
            Ok(kernels) => Ok(BuiltProgram { kernels, log, _program: program }),
            Err(reason) => Err(format!("{log}\nthe program built, but its kernels cannot be used: {reason}")),
        },
        Err(log) => compile_apart(context, device, source, (options, &informed_options)).unwrap_or(Err(log)),
    }
}

/// Builds a program twice: once as it is, for its kernels, and once for what they take.
///
/// NVIDIA's compiler (seen with driver 580) makes PTX that its own assembler refuses for every kernel
/// without arguments when it is to keep argument information. So in the second build those kernels get an
/// argument that nobody uses. `None` when this is not why the program does not build.
fn compile_apart(
    context: &Context,
    device: DeviceHandle,
    source: &str,
    (plain_options, informed_options): (&str, &str),
) -> Option<Result<BuiltProgram, String>> {
    let (program, log) = compile_once(context, device, source, plain_options).ok()?;
    let kernels = program.create_kernels().ok()?;
    let bare: Vec<String> = kernels
        .iter()
        .filter(|kernel| {
            get_kernel_info(kernel.get(), CL_KERNEL_NUM_ARGS).is_ok_and(|count| u32::from(count) == 0)
        })
        .filter_map(|kernel| get_kernel_data(kernel.get(), CL_KERNEL_FUNCTION_NAME).ok().map(text))
        .collect();
    if bare.is_empty() {
        return None;
    }
    drop(kernels);
    let (twin, _) = compile_once(context, device, &clothed(&bare, source), informed_options).ok()?;
    let loaded = load_kernels(&twin, device, None)
        .map(|described| {
            described
                .into_iter()
                .map(|kernel| (kernel.signature.name, kernel.signature.arguments))
                .filter(|(name, _)| !bare.contains(name))
                .chain(bare.iter().map(|name| (name.clone(), SharedList::default())))
                .collect::<BTreeMap<_, _>>()
        })
        .and_then(|described| load_kernels(&program, device, Some(&described)));
    Some(match loaded {
        Ok(kernels) => Ok(BuiltProgram { kernels, log, _program: program }),
        Err(reason) => Err(format!("{log}\nthe program built, but its kernels cannot be used: {reason}")),
    })
}

/// The source with an argument for each of the kernels named; line numbers stay.
fn clothed(bare: &[String], source: &str) -> String {
    let macros: String =
        bare.iter().map(|name| format!("#define {name}(...) {name}(int isochrone_unused)\n")).collect();
    format!("{macros}#line 1\n{source}")
}

/// One run of the compiler: the program and the warnings, or the log of the failure.
fn compile_once(
    context: &Context,
    device: DeviceHandle,
    source: &str,
    options: &str,
) -> Result<(Program, String), String> {
    let options = CString::new(options.trim())
        .map_err(|_| "the compiler options contain a NUL character".to_owned())?;
    let program =
        context.create_program(source).map_err(|status| explained("clCreateProgramWithSource", status))?;
    let result = build_program(program.get(), &[device.0], &options, None, std::ptr::null_mut());
    let log = get_program_build_info(program.get(), device.0, CL_PROGRAM_BUILD_LOG)
        .map(|log| text(log.into()))
        .unwrap_or_default();
    match result {
        Ok(()) => Ok((program, log)),
        Err(status) => {
            let explained = explained("clBuildProgram", status);
            Err(if log.is_empty() { explained } else { format!("{log}\n{explained}") })
        }
    }
}

fn explained(call: &str, status: i32) -> String {
    format!("{call}: {}", Status(status))
}

/// What kernels take, by their names.
type Described = BTreeMap<String, SharedList<ArgumentInfo>>;

/// The kernels of a program by name; what they take is asked of them unless it is known.
fn load_kernels(
    program: &Program,
    device: DeviceHandle,
    described: Option<&Described>,
) -> Result<Vec<LoadedKernel>, String> {
    let kernels = program.create_kernels().map_err(|status| explained("clCreateKernelsInProgram", status))?;
    let mut loaded = kernels
        .into_iter()
        .map(|kernel| load_kernel(kernel, device, described))
        .collect::<Result<Vec<_>, _>>()?;
    loaded.sort_by(|left, right| left.signature.name.cmp(&right.signature.name));
    Ok(loaded)
}

fn load_kernel(
    kernel: Kernel,
    device: DeviceHandle,
    described: Option<&Described>,
) -> Result<LoadedKernel, String> {
    let asked = |status| explained("clGetKernelInfo", status);
    let name = text(get_kernel_data(kernel.get(), CL_KERNEL_FUNCTION_NAME).map_err(asked)?);
    let count = u32::from(get_kernel_info(kernel.get(), CL_KERNEL_NUM_ARGS).map_err(asked)?);
    let arguments = match described {
        None => (0..count)
            .map(|index| load_argument(&kernel, index))
            .collect::<Result<SharedList<_>, _>>()
            .map_err(|status| format!("kernel {name}: {}", explained("clGetKernelArgInfo", status)))?,
        Some(described) => described
            .get(&name)
            .filter(|arguments| arguments.len() as u64 == u64::from(count))
            .cloned()
            .ok_or_else(|| format!("kernel {name}: this compiler does not tell what it takes"))?,
    };
    let work_group_size_max = get_kernel_work_group_info(kernel.get(), device.0, CL_KERNEL_WORK_GROUP_SIZE)
        .map(usize::from)
        .map_err(|status| format!("kernel {name}: {}", explained("clGetKernelWorkGroupInfo", status)))?;
    let signature = KernelSignature { name, arguments };
    let shapes = shapes_of(&signature);
    Ok(LoadedKernel { kernel, signature, shapes, work_group_size_max: work_group_size_max as u64 })
}

fn load_argument(kernel: &Kernel, index: u32) -> Result<ArgumentInfo, i32> {
    let told = |parameter| get_kernel_arg_data(kernel.get(), index, parameter).map(text);
    let space = u32::from(get_kernel_arg_info(kernel.get(), index, CL_KERNEL_ARG_ADDRESS_QUALIFIER)?);
    let address_space = match space {
        CL_KERNEL_ARG_ADDRESS_GLOBAL => AddressSpace::Global,
        CL_KERNEL_ARG_ADDRESS_CONSTANT => AddressSpace::Constant,
        CL_KERNEL_ARG_ADDRESS_LOCAL => AddressSpace::Local,
        _ => AddressSpace::Private,
    };
    let qualifiers = u64::from(get_kernel_arg_info(kernel.get(), index, CL_KERNEL_ARG_TYPE_QUALIFIER)?);
    let is_const = qualifiers & u64::from(CL_KERNEL_ARG_TYPE_CONST) != 0;
    Ok(argument_info(told(CL_KERNEL_ARG_NAME)?, &told(CL_KERNEL_ARG_TYPE_NAME)?, address_space, is_const))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kernels_without_arguments_are_given_one_above_the_first_line() {
        let source = clothed(&["idle".to_owned(), "wait".to_owned()], "kernel void idle() {}");
        let lines: Vec<&str> = source.lines().collect();
        assert_eq!(lines[0], "#define idle(...) idle(int isochrone_unused)");
        assert_eq!(lines[2..], ["#line 1", "kernel void idle() {}"]);
    }
}
