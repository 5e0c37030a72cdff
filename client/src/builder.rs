//! Builders of commands: what a caller states, made into a command without asking anyone.
//!
//! Must never judge what the farm judges. What cannot even be said in a command is replaced by
//! something that the farm surely refuses, so that all that depends on the command fails with it, and
//! the handle tells what was wrong.

use std::ops::RangeBounds;
use std::sync::Arc;

use bytes::Bytes;
use isochrone_model::{
    Access, Argument, BufferArgument, BufferId, ByteRange, CommandError, CommandKind, Launch, NdRange,
    Payload, ProgramId,
};

use crate::assembly::Assembly;
use crate::buffer::Buffer;
use crate::cell::CommandCell;
use crate::element::{Contents, Scalar};
use crate::graph::Graph;
use crate::handle::{CommandHandle, ReadHandle};
use crate::program::Program;
use crate::shared::{Draft, Open, Purpose, Shared};

/// Longest fill pattern that OpenCL takes, in bytes.
const PATTERN_BYTES_MAX: usize = 128;
/// Bytes that lie outside every buffer.
const NOWHERE: ByteRange = ByteRange { start: u64::MAX - 1, end: u64::MAX };

/// Where a command goes: out at once, or into a graph.
#[derive(Debug)]
pub(crate) enum Target<'a> {
    Session(&'a Arc<Shared>),
    Graph(&'a mut Graph),
}

/// What a draft names; kept until the command is on its way, so that nothing of it is released before.
#[derive(Debug, Default)]
pub(crate) struct Keeps {
    program: Option<Program>,
    buffers: Vec<Buffer>,
}

/// What every builder has.
#[derive(Debug)]
pub(crate) struct Base<'a> {
    target: Target<'a>,
    after: Vec<Arc<CommandCell>>,
    label: String,
    refusal: Option<Box<CommandError>>,
    keeps: Keeps,
}

impl<'a> Base<'a> {
    pub fn new(target: Target<'a>) -> Self {
        Self { target, after: Vec::new(), label: String::new(), refusal: None, keeps: Keeps::default() }
    }

    fn shared(&self) -> &Arc<Shared> {
        match &self.target {
            Target::Session(shared) => shared,
            Target::Graph(graph) => graph.shared(),
        }
    }

    fn refuse(&mut self, what: &str) {
        self.refusal.get_or_insert_with(|| Box::new(CommandError::Malformed { what: what.to_owned() }));
    }

    fn after(&mut self, handle: &CommandHandle) {
        if Arc::ptr_eq(self.shared(), &handle.shared) {
            self.after.push(Arc::clone(&handle.cell));
        } else {
            self.refuse("`after` names a command of another session; a session orders its own only");
            // No command has this cell, so that the farm refuses the id that it gets.
            self.after.push(Arc::new(CommandCell::in_graph(usize::MAX)));
        }
    }

    fn buffer(&mut self, buffer: &Buffer) -> BufferId {
        if buffer.is_of(self.shared()) {
            self.keeps.buffers.push(buffer.clone());
            buffer.id()
        } else {
            self.refuse("a buffer of another session; buffers belong to the session that made them");
            BufferId(u64::MAX)
        }
    }

    fn program(&mut self, program: &Program) -> ProgramId {
        if program.is_of(self.shared()) {
            self.keeps.program = Some(program.clone());
            program.id()
        } else {
            self.refuse("a program of another session; programs belong to the session that made them");
            ProgramId(u64::MAX)
        }
    }

    fn range(&mut self, buffer: &Buffer, bounds: &impl RangeBounds<u64>) -> ByteRange {
        buffer.range(bounds).unwrap_or_else(|| {
            self.refuse("the range of bytes ends before it starts");
            NOWHERE
        })
    }

    pub fn enqueue(self, kind: CommandKind, purpose: Purpose) -> CommandHandle {
        let Self { target, after, label, refusal, keeps } = self;
        match target {
            Target::Session(shared) => {
                let cell = Arc::new(CommandCell::default());
                let open = Open { cell: Arc::clone(&cell), refusal, purpose };
                shared.enqueue(Draft { kind, label, after, open });
                CommandHandle { cell, shared: Arc::clone(shared) }
            }
            Target::Graph(graph) => {
                let cell = Arc::new(CommandCell::in_graph(graph.len()));
                let open = Open { cell: Arc::clone(&cell), refusal, purpose };
                graph.add(Draft { kind, label, after, open }, keeps);
                CommandHandle { cell, shared: Arc::clone(graph.shared()) }
            }
        }
    }
}

/// Methods that every builder has.
macro_rules! common {
    () => {
        /// Runs the command after that one has finished, beyond what the data says. May be called
        /// more than once.
        pub fn after(mut self, handle: &impl AsRef<CommandHandle>) -> Self {
            self.base.after(handle.as_ref());
            self
        }

        /// Runs the command after all of these have finished.
        pub fn after_all<H: AsRef<CommandHandle>>(mut self, handles: impl IntoIterator<Item = H>) -> Self {
            for handle in handles {
                self.base.after(handle.as_ref());
            }
            self
        }

        /// A name for people, shown in explanations and traces; cut after 1,024 bytes. Default none.
        pub fn label(mut self, label: impl Into<String>) -> Self {
            self.base.label = label.into();
            self
        }
    };
}

mod sealed {
    pub trait Sealed {}
}

/// Sizes or indices in one to three dimensions: an array of `u64`, `u32`, `i32` or `usize`.
///
/// Sealed. A negative size counts as zero, which the farm refuses.
pub trait Dimensions: sealed::Sealed + Sized {
    /// How many dimensions: 1 to 3.
    const DIMENSIONS: u8;
    /// The sizes, with `rest` in the dimensions beyond.
    fn sizes(self, rest: u64) -> [u64; 3];
}

macro_rules! dimensions {
    ($($number:ty),*) => {$(
        dimensions!($number; 1, 2, 3);
    )*};
    ($number:ty; $($count:literal),*) => {$(
        impl sealed::Sealed for [$number; $count] {}

        impl Dimensions for [$number; $count] {
            const DIMENSIONS: u8 = $count;

            fn sizes(self, rest: u64) -> [u64; 3] {
                let mut sizes = [rest; 3];
                for (size, given) in sizes.iter_mut().zip(self) {
                    *size = u64::try_from(given).unwrap_or(0);
                }
                sizes
            }
        }
    )*};
}

dimensions!(u64, u32, i32, usize);

/// A kernel launch being made: index space, then the arguments in the order of the kernel's own.
///
/// ```no_run
/// # fn example(session: &isochrone_client::Session, program: &isochrone_client::Program,
/// #            input: &isochrone_client::Buffer, output: &isochrone_client::Buffer) {
/// let scaled = session
///     .launch(program, "scale")
///     .range([1_024])
///     .local([64])
///     .read(input)
///     .write(output)
///     .scalar(2.5_f32)
///     .enqueue();
/// # }
/// ```
#[derive(Debug)]
#[must_use = "nothing runs until `enqueue`"]
pub struct LaunchBuilder<'a> {
    base: Base<'a>,
    launch: Launch,
    /// The buffer of the last argument, for `part` and `touching`.
    last: Option<Buffer>,
    local: Option<(u8, [u64; 3])>,
    offset: Option<(u8, [u64; 3])>,
    /// Whether what was stated makes no sense, and the farm is to refuse the launch.
    is_void: bool,
}

impl<'a> LaunchBuilder<'a> {
    pub(crate) fn new(target: Target<'a>, program: &Program, kernel: &str) -> Self {
        let mut base = Base::new(target);
        let program = base.program(program);
        let launch =
            Launch { program, kernel: kernel.to_owned(), range: NdRange::linear(1), arguments: Vec::new() };
        Self { base, launch, last: None, local: None, offset: None, is_void: false }
    }

    common!();

    /// Work-items in each dimension, all above zero; default one work-item.
    pub fn range<D: Dimensions>(mut self, global: D) -> Self {
        self.launch.range.dimensions = D::DIMENSIONS;
        self.launch.range.global = global.sizes(1);
        self
    }

    /// Work-group size in each dimension of the range; default what the device chooses.
    pub fn local<D: Dimensions>(mut self, local: D) -> Self {
        self.local = Some((D::DIMENSIONS, local.sizes(1)));
        self
    }

    /// First index in each dimension of the range; default zero.
    pub fn offset<D: Dimensions>(mut self, offset: D) -> Self {
        self.offset = Some((D::DIMENSIONS, offset.sizes(0)));
        self
    }

    /// The next argument: a buffer. What the kernel does with it is taken from the kernel itself
    /// (`const` and `__constant` mean that it only reads).
    pub fn buffer(self, buffer: &Buffer) -> Self {
        self.argument(buffer, None)
    }

    /// The next argument: a buffer that the kernel only reads.
    pub fn read(self, buffer: &Buffer) -> Self {
        self.argument(buffer, Some(Access::Read))
    }

    /// The next argument: a buffer of which the kernel writes **every** byte (of what it
    /// [touches](Self::touching)) and reads none: its old contents are not brought to the device.
    pub fn write(self, buffer: &Buffer) -> Self {
        self.argument(buffer, Some(Access::Write))
    }

    /// The next argument: a buffer that the kernel reads, and writes in part or whole.
    pub fn read_write(self, buffer: &Buffer) -> Self {
        self.argument(buffer, Some(Access::ReadWrite))
    }

    fn argument(mut self, buffer: &Buffer, access: Option<Access>) -> Self {
        let id = self.base.buffer(buffer);
        let argument = BufferArgument { buffer: id, part: None, access, touches: None };
        self.launch.arguments.push(Argument::Buffer(argument));
        self.last = Some(buffer.clone());
        self
    }

    /// Gives the kernel only these bytes of the buffer just named, as a sub-buffer. The first must
    /// suit the devices' alignment (`sub_buffer_alignment_bytes` of their facts).
    pub fn part(self, range: impl RangeBounds<u64>) -> Self {
        self.narrow(&range, |argument, range| argument.part = Some(range))
    }

    /// Promises that the launch touches only these bytes of the buffer just named, counted from the
    /// start of the whole buffer. Launches that touch different bytes do not wait for each other, and
    /// only these bytes are brought to the device.
    pub fn touching(self, range: impl RangeBounds<u64>) -> Self {
        self.narrow(&range, |argument, range| argument.touches = Some(range))
    }

    fn narrow(
        mut self,
        bounds: &impl RangeBounds<u64>,
        set: impl FnOnce(&mut BufferArgument, ByteRange),
    ) -> Self {
        let range = self.last.as_ref().map(|buffer| self.base.range(buffer, bounds));
        if let (Some(range), Some(Argument::Buffer(argument))) = (range, self.launch.arguments.last_mut()) {
            set(argument, range);
        } else {
            self.base.refuse("`part` and `touching` follow the buffer that they are about");
            self.is_void = true;
        }
        self
    }

    /// The next argument: a value, as number or vector of numbers.
    pub fn scalar(self, value: impl Scalar) -> Self {
        self.scalar_bytes(value.into_argument())
    }

    /// The next argument: a value of the program's own type, as its bytes on the device (little
    /// endian, with the padding of OpenCL C).
    pub fn scalar_bytes(mut self, bytes: impl Into<Bytes>) -> Self {
        self.launch.arguments.push(Argument::Scalar(bytes.into()));
        self.last = None;
        self
    }

    /// The next argument: work-group memory of this many bytes.
    pub fn local_memory(mut self, size_bytes: u64) -> Self {
        self.launch.arguments.push(Argument::Local(size_bytes));
        self.last = None;
        self
    }

    /// Sends the launch and does not wait for it.
    pub fn enqueue(mut self) -> CommandHandle {
        let dimensions = self.launch.range.dimensions;
        let is_consistent = [self.local, self.offset].iter().flatten().all(|(given, _)| *given == dimensions);
        if is_consistent {
            if let Some((_, local)) = self.local {
                self.launch.range.local = local;
                if local == [0; 3] {
                    // All zero would mean that the device chooses.
                    self.base.refuse("a work-group size of zero; leave it out to let the device choose");
                    self.is_void = true;
                }
            }
            if let Some((_, offset)) = self.offset {
                self.launch.range.offset = offset;
            }
        } else {
            self.base.refuse("`local` and `offset` take as many dimensions as `range`");
            self.is_void = true;
        }
        if self.is_void {
            // No index space has no dimensions: the farm refuses it.
            self.launch.range.dimensions = 0;
        }
        self.base.enqueue(CommandKind::Launch(self.launch), Purpose::Plain)
    }
}

/// A write being made.
#[derive(Debug)]
#[must_use = "nothing is written until `enqueue`"]
pub struct WriteBuilder<'a> {
    base: Base<'a>,
    buffer: BufferId,
    offset_bytes: u64,
    contents: Contents,
}

impl<'a> WriteBuilder<'a> {
    pub(crate) fn new(target: Target<'a>, buffer: &Buffer, offset_bytes: u64, contents: Contents) -> Self {
        let mut base = Base::new(target);
        let buffer = base.buffer(buffer);
        Self { base, buffer, offset_bytes, contents }
    }

    common!();

    /// Sends the write and does not wait for it. Contents that do not fit inside a command are kept,
    /// without a copy, until it has ended.
    pub fn enqueue(self) -> CommandHandle {
        let Self { base, buffer, offset_bytes, contents } = self;
        let Contents(bytes) = contents;
        let size_bytes = bytes.len() as u64;
        let (payload, purpose) = if size_bytes <= base.shared().inline_bytes_max() {
            (Payload::Inline(bytes), Purpose::Plain)
        } else {
            (Payload::Stream { size_bytes }, Purpose::Write(bytes))
        };
        base.enqueue(CommandKind::Write { buffer, offset_bytes, payload }, purpose)
    }
}

/// A read being made; of the whole buffer unless a range is given.
#[derive(Debug)]
#[must_use = "nothing is read until `enqueue`"]
pub struct ReadBuilder<'a> {
    base: Base<'a>,
    source: Buffer,
    buffer: BufferId,
    range: ByteRange,
}

impl<'a> ReadBuilder<'a> {
    pub(crate) fn new(target: Target<'a>, source: &Buffer) -> Self {
        let mut base = Base::new(target);
        let buffer = base.buffer(source);
        let range = ByteRange { start: 0, end: source.size_bytes() };
        Self { base, source: source.clone(), buffer, range }
    }

    common!();

    /// Which bytes; default all. A read of no bytes is over at once.
    pub fn range(mut self, range: impl RangeBounds<u64>) -> Self {
        self.range = self.base.range(&self.source, &range);
        self
    }

    /// Sends the read and does not wait for it.
    pub fn enqueue(self) -> ReadHandle {
        let Self { base, source: _, buffer, range } = self;
        let size_bytes = range.len();
        let kind = CommandKind::Read { buffer, offset_bytes: range.start, size_bytes };
        ReadHandle { handle: base.enqueue(kind, Purpose::Read(Assembly::new(size_bytes))) }
    }
}

/// A copy being made: the whole source to the start of the target unless stated otherwise.
#[derive(Debug)]
#[must_use = "nothing is copied until `enqueue`"]
pub struct CopyBuilder<'a> {
    base: Base<'a>,
    from: Buffer,
    source: BufferId,
    target: BufferId,
    range: ByteRange,
    target_offset_bytes: u64,
}

impl<'a> CopyBuilder<'a> {
    pub(crate) fn new(destination: Target<'a>, from: &Buffer, to: &Buffer) -> Self {
        let mut base = Base::new(destination);
        let source = base.buffer(from);
        let target = base.buffer(to);
        let range = ByteRange { start: 0, end: from.size_bytes() };
        Self { base, from: from.clone(), source, target, range, target_offset_bytes: 0 }
    }

    common!();

    /// Which bytes of the source; default all.
    pub fn range(mut self, range: impl RangeBounds<u64>) -> Self {
        self.range = self.base.range(&self.from, &range);
        self
    }

    /// First byte of the target; default 0.
    pub fn to_offset(mut self, offset_bytes: u64) -> Self {
        self.target_offset_bytes = offset_bytes;
        self
    }

    /// Sends the copy and does not wait for it.
    pub fn enqueue(self) -> CommandHandle {
        let kind = CommandKind::Copy {
            source: self.source,
            source_offset_bytes: self.range.start,
            target: self.target,
            target_offset_bytes: self.target_offset_bytes,
            size_bytes: self.range.len(),
        };
        self.base.enqueue(kind, Purpose::Plain)
    }
}

/// A fill being made: of the whole buffer unless a range is given.
#[derive(Debug)]
#[must_use = "nothing is filled until `enqueue`"]
pub struct FillBuilder<'a> {
    base: Base<'a>,
    filled: Buffer,
    buffer: BufferId,
    range: ByteRange,
    pattern: Bytes,
}

impl<'a> FillBuilder<'a> {
    pub(crate) fn new(target: Target<'a>, filled: &Buffer, pattern: Bytes) -> Self {
        let mut base = Base::new(target);
        let buffer = base.buffer(filled);
        let range = ByteRange { start: 0, end: filled.size_bytes() };
        let mut pattern = pattern;
        if pattern.len() > PATTERN_BYTES_MAX {
            base.refuse("fill patterns have 1, 2, 4, 8, 16, 32, 64 or 128 bytes");
            pattern.truncate(PATTERN_BYTES_MAX + 1);
        }
        Self { base, filled: filled.clone(), buffer, range, pattern }
    }

    common!();

    /// Which bytes; start and length are multiples of the pattern's length. Default all.
    pub fn range(mut self, range: impl RangeBounds<u64>) -> Self {
        self.range = self.base.range(&self.filled, &range);
        self
    }

    /// Sends the fill and does not wait for it.
    pub fn enqueue(self) -> CommandHandle {
        let kind = CommandKind::Fill {
            buffer: self.buffer,
            offset_bytes: self.range.start,
            size_bytes: self.range.len(),
            pattern: self.pattern,
        };
        self.base.enqueue(kind, Purpose::Plain)
    }
}

/// A marker being made: finishes when those that it comes after have finished, or all earlier
/// commands if it names none; nothing waits for it unless told to.
#[derive(Debug)]
#[must_use = "nothing is marked until `enqueue`"]
pub struct MarkerBuilder<'a> {
    base: Base<'a>,
}

impl<'a> MarkerBuilder<'a> {
    pub(crate) fn new(target: Target<'a>) -> Self {
        Self { base: Base::new(target) }
    }

    common!();

    /// Sends the marker and does not wait for it.
    pub fn enqueue(self) -> CommandHandle {
        self.base.enqueue(CommandKind::Marker, Purpose::Plain)
    }
}

/// A barrier being made: finishes when all earlier commands of the session have; later ones wait for
/// it.
#[derive(Debug)]
#[must_use = "nothing waits until `enqueue`"]
pub struct BarrierBuilder<'a> {
    base: Base<'a>,
}

impl<'a> BarrierBuilder<'a> {
    pub(crate) fn new(target: Target<'a>) -> Self {
        Self { base: Base::new(target) }
    }

    common!();

    /// Sends the barrier and does not wait for it.
    pub fn enqueue(self) -> CommandHandle {
        self.base.enqueue(CommandKind::Barrier, Purpose::Plain)
    }
}
