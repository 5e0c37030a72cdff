//! What a client enqueues.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::ids::{BufferId, CommandId, ProgramId};
use crate::units::ByteRange;

/// A command: immutable once submitted.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Command {
    /// Chosen by the client; larger than that of every command it submitted before.
    pub id: CommandId,
    /// Commands that must have finished first, beyond what the data says. Within one batch they may
    /// come later in the batch; a cycle is refused.
    pub after: Vec<CommandId>,
    /// For people; empty when the client gave none.
    pub label: String,
    /// What to do.
    pub kind: CommandKind,
}

/// What a command does.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum CommandKind {
    /// Run a kernel over an index space.
    Launch(Launch),
    /// Put bytes of the client into a buffer.
    Write {
        /// The buffer.
        buffer: BufferId,
        /// First byte written.
        offset_bytes: u64,
        /// The bytes, or how they will come.
        payload: Payload,
    },
    /// Bring bytes of a buffer to the client.
    Read {
        /// The buffer.
        buffer: BufferId,
        /// First byte read.
        offset_bytes: u64,
        /// How many.
        size_bytes: u64,
    },
    /// Copy bytes from one buffer to another, or within one where the ranges do not overlap.
    Copy {
        /// Where from.
        source: BufferId,
        /// First byte read.
        source_offset_bytes: u64,
        /// Where to.
        target: BufferId,
        /// First byte written.
        target_offset_bytes: u64,
        /// How many.
        size_bytes: u64,
    },
    /// Repeat a pattern over a part of a buffer.
    Fill {
        /// The buffer.
        buffer: BufferId,
        /// First byte written; a multiple of the pattern's length.
        offset_bytes: u64,
        /// How many bytes; a multiple of the pattern's length.
        size_bytes: u64,
        /// 1, 2, 4, 8, 16, 32, 64 or 128 bytes.
        pattern: Bytes,
    },
    /// Finishes when all earlier commands of the session have; later ones wait for it.
    Barrier,
    /// Finishes when the commands in `after`, or all earlier ones if it names none, have finished;
    /// later ones do not wait for it.
    Marker,
}

/// How a write's bytes travel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Payload {
    /// Inside the command; at most `Limits::inline_bytes_max`.
    Inline(Bytes),
    /// On a stream of their own, from the client to the agent that the scheduler names.
    Stream {
        /// How many bytes.
        size_bytes: u64,
    },
}

impl Payload {
    /// How many bytes.
    #[must_use]
    pub fn size_bytes(&self) -> u64 {
        match self {
            Self::Inline(bytes) => bytes.len() as u64,
            Self::Stream { size_bytes } => *size_bytes,
        }
    }
}

/// A kernel launch.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Launch {
    /// The program.
    pub program: ProgramId,
    /// The kernel's name.
    pub kernel: String,
    /// The index space.
    pub range: NdRange,
    /// The arguments in order.
    pub arguments: Vec<Argument>,
}

/// An index space of one to three dimensions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NdRange {
    /// How many dimensions: 1, 2 or 3. Entries beyond are 1 (sizes) or 0 (offset).
    pub dimensions: u8,
    /// Work-items in each dimension.
    pub global: [u64; 3],
    /// Work-group size in each dimension, or all zero to let the device choose.
    pub local: [u64; 3],
    /// First index in each dimension.
    pub offset: [u64; 3],
}

impl NdRange {
    /// A one-dimensional space of `items` whose work-group size the device chooses.
    #[must_use]
    pub fn linear(items: u64) -> Self {
        Self { dimensions: 1, global: [items, 1, 1], local: [0; 3], offset: [0; 3] }
    }

    /// A space of the given sizes; `None` unless one to three sizes are given, all above zero.
    #[must_use]
    pub fn new(global: &[u64]) -> Option<Self> {
        if global.is_empty() || global.len() > 3 || global.contains(&0) {
            return None;
        }
        let mut sizes = [1; 3];
        sizes[..global.len()].copy_from_slice(global);
        Some(Self { dimensions: global.len() as u8, global: sizes, local: [0; 3], offset: [0; 3] })
    }

    /// The same space with a work-group size; `None` when the number of dimensions differs or one is zero.
    #[must_use]
    pub fn with_local(mut self, local: &[u64]) -> Option<Self> {
        if local.len() != usize::from(self.dimensions) || local.contains(&0) {
            return None;
        }
        self.local = [1; 3];
        self.local[..local.len()].copy_from_slice(local);
        Some(self)
    }

    /// The same space from an offset; `None` when the number of dimensions differs.
    #[must_use]
    pub fn with_offset(mut self, offset: &[u64]) -> Option<Self> {
        if offset.len() != usize::from(self.dimensions) {
            return None;
        }
        self.offset = [0; 3];
        self.offset[..offset.len()].copy_from_slice(offset);
        Some(self)
    }

    /// Whether the caller chose a work-group size.
    #[must_use]
    pub fn has_local(&self) -> bool {
        self.local != [0; 3]
    }

    /// Work-items in all, stopping at `u64::MAX`.
    #[must_use]
    pub fn items(&self) -> u64 {
        self.global.iter().fold(1, |product: u64, size| product.saturating_mul(*size))
    }

    /// Work-items in a work-group, or `None` when the device chooses.
    #[must_use]
    pub fn group_items(&self) -> Option<u64> {
        self.has_local()
            .then(|| self.local.iter().fold(1, |product: u64, size| product.saturating_mul(*size)))
    }
}

/// One argument of a launch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Argument {
    /// A buffer or a part of one.
    Buffer(BufferArgument),
    /// A value, as its bytes in the device's order (little endian).
    Scalar(Bytes),
    /// Work-group memory of this many bytes.
    Local(u64),
}

/// A buffer given to a kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BufferArgument {
    /// The buffer.
    pub buffer: BufferId,
    /// The part that the kernel sees, as a sub-buffer; `None` for the whole. Its start must suit the
    /// device's alignment.
    pub part: Option<ByteRange>,
    /// What the kernel does with it; `None` to go by the kernel's own argument information.
    pub access: Option<Access>,
    /// The bytes of the *whole* buffer that the launch may touch, a promise of the caller; `None` for
    /// all that the kernel sees. Launches that touch different bytes do not wait for each other.
    pub touches: Option<ByteRange>,
}

/// What a launch does with the bytes of a buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Access {
    /// Only reads them.
    Read,
    /// Writes every one of them and reads none.
    Write,
    /// Reads them, writes some or all.
    ReadWrite,
}

impl Access {
    /// Whether old contents matter.
    #[must_use]
    pub fn reads(self) -> bool {
        match self {
            Self::Read | Self::ReadWrite => true,
            Self::Write => false,
        }
    }

    /// Whether contents change.
    #[must_use]
    pub fn writes(self) -> bool {
        match self {
            Self::Read => false,
            Self::Write | Self::ReadWrite => true,
        }
    }

    /// What holds when the same bytes are given twice.
    #[must_use]
    pub fn joined(self, other: Self) -> Self {
        if self == other { self } else { Self::ReadWrite }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn index_spaces_refuse_what_has_no_items() {
        assert_eq!(NdRange::new(&[]), None);
        assert_eq!(NdRange::new(&[4, 0]), None);
        assert_eq!(NdRange::new(&[1, 2, 3, 4]), None);
        let range = NdRange::new(&[8, 4]).unwrap();
        assert_eq!(range.items(), 32);
        assert_eq!(range.with_local(&[4]), None);
        assert_eq!(range.with_local(&[4, 2]).unwrap().group_items(), Some(8));
        assert_eq!(NdRange::new(&[u64::MAX, 2]).unwrap().items(), u64::MAX);
    }

    #[test]
    fn the_same_bytes_given_twice_are_read_and_written_unless_both_agree() {
        assert_eq!(Access::Read.joined(Access::Read), Access::Read);
        assert_eq!(Access::Read.joined(Access::Write), Access::ReadWrite);
        assert!(!Access::Write.reads() && Access::Write.writes());
    }
}
