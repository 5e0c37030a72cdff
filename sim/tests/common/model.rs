//! The reference model: runs commands one by one in order, and says how each must end.

use std::collections::BTreeMap;

use bytes::Bytes;
use isochrone_model::{
    Access, Argument, BufferArgument, BufferId, ByteRange, Command, CommandId, CommandKind, Launch, Limits,
    NdRange, Payload,
};
use isochrone_sim::kernels;
use isochrone_sim::random::Random;

use super::PROGRAM;

/// How a command must end, or what must be of a byte; the worse, the later.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fate {
    /// It ends well; the byte is as the model has it.
    Done,
    /// It fails if a cancellation came in time.
    MayFail,
    /// It fails; nobody sees the byte.
    Fails,
}

/// The buffers as they are after each command, in order.
pub struct Model {
    pub buffers: Vec<Vec<u8>>,
    fates_of_bytes: Vec<Vec<Fate>>,
    fates: BTreeMap<CommandId, Fate>,
    /// Draw graphs in which many kernels may run at once: most write where nothing has written.
    is_wide: bool,
    is_written: Vec<bool>,
}

/// Parts of buffers.
type Parts = Vec<(usize, std::ops::Range<usize>)>;

pub fn buffer_id(place: usize) -> BufferId {
    BufferId(place as u64 + 1)
}

fn scalar(value: u64) -> Argument {
    Argument::Scalar(Bytes::copy_from_slice(&(value as u32).to_le_bytes()))
}

impl Model {
    pub fn new(sizes: &[u64], is_wide: bool) -> Self {
        Self {
            is_wide,
            is_written: vec![false; sizes.len()],
            buffers: sizes.iter().map(|size| vec![0; *size as usize]).collect(),
            fates_of_bytes: sizes.iter().map(|size| vec![Fate::Done; *size as usize]).collect(),
            fates: BTreeMap::new(),
        }
    }

    /// The fate of a command, of which `own` is known; it is that of what it reads and comes `after`, if
    /// worse, and becomes that of what it writes.
    pub fn take(&mut self, command: &Command, own: Fate) -> Fate {
        let (reads, writes) = self.touched(&command.kind);
        let of_reads = reads
            .iter()
            .flat_map(|(buffer, range)| &self.fates_of_bytes[*buffer][range.clone()])
            .copied()
            .max();
        let of_after = command.after.iter().map(|after| self.fates[after]).max();
        let fate = [Some(own), of_reads, of_after].into_iter().flatten().max().unwrap_or(own);
        for (buffer, range) in writes {
            if own == Fate::Fails {
                // Whoever sees what it left behind sees other bytes than these.
                self.buffers[buffer][range.clone()].iter_mut().for_each(|byte| *byte = !*byte);
            }
            self.fates_of_bytes[buffer][range].fill(fate);
        }
        self.fates.insert(command.id, fate);
        fate
    }

    /// What a command says that it reads and writes.
    fn touched(&self, kind: &CommandKind) -> (Parts, Parts) {
        let part = |buffer: BufferId, offset_bytes: u64, size_bytes: u64| {
            let start = offset_bytes as usize;
            (buffer.0 as usize - 1, start..start + size_bytes as usize)
        };
        match kind {
            CommandKind::Launch(launch) => {
                let touched: Parts = launch
                    .arguments
                    .iter()
                    .filter_map(|argument| match argument {
                        Argument::Buffer(given) => Some(given),
                        Argument::Scalar(_) | Argument::Local(_) => None,
                    })
                    .map(|given| {
                        let whole = ByteRange::new(0, self.buffers[given.buffer.0 as usize - 1].len() as u64);
                        let range = given.touches.unwrap_or(whole);
                        part(given.buffer, range.start, range.len())
                    })
                    .collect();
                match (launch.kernel.as_str(), touched.as_slice()) {
                    ("mix" | "spoil", [source, target]) => {
                        (vec![source.clone(), target.clone()], vec![target.clone()])
                    }
                    ("store", [target]) => (Vec::new(), vec![target.clone()]),
                    _ => (Vec::new(), Vec::new()),
                }
            }
            CommandKind::Write { buffer, offset_bytes, payload } => {
                (Vec::new(), vec![part(*buffer, *offset_bytes, payload.size_bytes())])
            }
            CommandKind::Read { buffer, offset_bytes, size_bytes } => {
                (vec![part(*buffer, *offset_bytes, *size_bytes)], Vec::new())
            }
            CommandKind::Copy { source, source_offset_bytes, target, target_offset_bytes, size_bytes } => (
                vec![part(*source, *source_offset_bytes, *size_bytes)],
                vec![part(*target, *target_offset_bytes, *size_bytes)],
            ),
            CommandKind::Fill { buffer, offset_bytes, size_bytes, .. } => {
                (Vec::new(), vec![part(*buffer, *offset_bytes, *size_bytes)])
            }
            CommandKind::Barrier | CommandKind::Marker => (Vec::new(), Vec::new()),
        }
    }

    fn part(&self, random: &mut Random, buffer: usize) -> (u64, u64) {
        let size = self.buffers[buffer].len() as u64;
        if random.one_in(3) {
            return (0, size);
        }
        let offset = random.below(size);
        (offset, 1 + random.below(size - offset))
    }

    fn slice(&mut self, buffer: usize, offset: u64, size: u64) -> &mut [u8] {
        &mut self.buffers[buffer][offset as usize..(offset + size) as usize]
    }

    pub fn draw(
        &mut self,
        random: &mut Random,
        limits: &Limits,
    ) -> (CommandKind, Option<Bytes>, Option<Vec<u8>>) {
        let buffer = random.below(self.buffers.len() as u64) as usize;
        let (offset, size) = self.part(random, buffer);
        let drawn = random.below(12);
        // Barriers and the like leave little to run at once.
        let drawn = if self.is_wide && [3, 4, 5].contains(&drawn) && !random.one_in(4) { 8 } else { drawn };
        match drawn {
            0 | 1 => {
                let bytes: Bytes = (0..size).map(|_| random.below(256) as u8).collect();
                self.slice(buffer, offset, size).copy_from_slice(&bytes);
                let is_inline = size <= limits.inline_bytes_max && random.one_in(2);
                let (payload, offered) = if is_inline {
                    (Payload::Inline(bytes), None)
                } else {
                    (Payload::Stream { size_bytes: size }, Some(bytes))
                };
                (
                    CommandKind::Write { buffer: buffer_id(buffer), offset_bytes: offset, payload },
                    offered,
                    None,
                )
            }
            2 => {
                let bytes = self.slice(buffer, offset, size).to_vec();
                let kind =
                    CommandKind::Read { buffer: buffer_id(buffer), offset_bytes: offset, size_bytes: size };
                (kind, None, Some(bytes))
            }
            3 => {
                let value = random.below(256) as u8;
                self.slice(buffer, offset, size).fill(value);
                let pattern = Bytes::copy_from_slice(&[value]);
                let kind = CommandKind::Fill {
                    buffer: buffer_id(buffer),
                    offset_bytes: offset,
                    size_bytes: size,
                    pattern,
                };
                (kind, None, None)
            }
            4 => {
                let target = random.below(self.buffers.len() as u64) as usize;
                let size = size.min(self.buffers[target].len() as u64);
                if target == buffer {
                    return (CommandKind::Marker, None, None);
                }
                let to = random.below(self.buffers[target].len() as u64 - size + 1);
                let bytes = self.slice(buffer, offset, size).to_vec();
                self.slice(target, to, size).copy_from_slice(&bytes);
                let kind = CommandKind::Copy {
                    source: buffer_id(buffer),
                    source_offset_bytes: offset,
                    target: buffer_id(target),
                    target_offset_bytes: to,
                    size_bytes: size,
                };
                (kind, None, None)
            }
            5 => (if random.one_in(2) { CommandKind::Barrier } else { CommandKind::Marker }, None, None),
            6 => {
                let salt = random.below(256);
                kernels::store(self.slice(buffer, offset, size), salt as u32);
                let target = argument(buffer, Some(Access::Write), Some((offset, size)));
                let arguments = vec![target, scalar(offset), scalar(size), scalar(salt)];
                (launch("store", 1 + random.below(2_000), arguments), None, None)
            }
            7 => (launch("noop", 1, Vec::new()), None, None),
            _ => self.draw_mix(random, buffer),
        }
    }

    fn draw_mix(
        &mut self,
        random: &mut Random,
        source: usize,
    ) -> (CommandKind, Option<Bytes>, Option<Vec<u8>>) {
        let mut target = random.below(self.buffers.len() as u64) as usize;
        if self.is_wide
            && !random.one_in(4)
            && let Some(fresh) = self.is_written.iter().position(|is_written| !is_written)
        {
            target = fresh;
        }
        self.is_written[target] = true;
        let (from, size) = self.part(random, source);
        let size = size.min(self.buffers[target].len() as u64);
        let to = random.below(self.buffers[target].len() as u64 - size + 1);
        let salt = random.below(256);
        let bytes = self.slice(source, from, size).to_vec();
        kernels::mix(&bytes, self.slice(target, to, size), salt as u32);
        let says_touches = random.one_in(2);
        let touched = |offset| says_touches.then_some((offset, size));
        let access = random.one_in(2).then_some(Access::ReadWrite);
        let arguments = vec![
            argument(source, None, touched(from)),
            argument(target, access, touched(to)),
            scalar(from),
            scalar(to),
            scalar(size),
            scalar(salt),
        ];
        (launch("mix", 1 + random.below(5_000), arguments), None, None)
    }
}

fn argument(buffer: usize, access: Option<Access>, touches: Option<(u64, u64)>) -> Argument {
    let touches = touches.map(|(offset, size)| ByteRange::new(offset, offset + size));
    Argument::Buffer(BufferArgument { buffer: buffer_id(buffer), part: None, access, touches })
}

fn launch(kernel: &str, items: u64, arguments: Vec<Argument>) -> CommandKind {
    let range = NdRange::linear(items);
    CommandKind::Launch(Launch { program: PROGRAM, kernel: kernel.to_owned(), range, arguments })
}
