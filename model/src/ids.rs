//! Newtype ids. Dense ids index vectors; sparse ids are chosen by whoever creates the thing.

use std::fmt;

use serde::{Deserialize, Serialize};

macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $inner:ty, $prefix:literal) => {
        $(#[$doc])*
        #[derive(
            Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
        )]
        #[serde(transparent)]
        pub struct $name(pub $inner);

        impl fmt::Display for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(formatter, concat!($prefix, "{}"), self.0)
            }
        }
    };
}

macro_rules! dense {
    ($name:ident, $inner:ty) => {
        impl $name {
            /// The id as an index into a dense vector.
            #[must_use]
            #[inline]
            pub fn index(self) -> usize {
                self.0 as usize
            }

            /// The id for a position in a dense vector.
            ///
            /// # Panics
            /// When the position does not fit the id; the `Limits` keep vectors far below that.
            #[must_use]
            #[inline]
            pub fn from_index(index: usize) -> Self {
                Self(<$inner>::try_from(index).expect("dense id exceeds its width"))
            }
        }
    };
}

id!(
    /// One client's connection life; survives reconnects. Unique for the life of a scheduler.
    SessionId, u64, "session "
);
id!(
    /// The identity that owns sessions, dense in the scheduler.
    TenantId, u32, "tenant "
);
id!(
    /// An agent, dense in the scheduler; an agent that comes back under its name keeps its id.
    AgentId, u32, "agent "
);
id!(
    /// A device, dense over the whole farm.
    DeviceId, u32, "device "
);
id!(
    /// A device's place within its agent.
    DeviceIndex, u16, "device #"
);
id!(
    /// A slot, dense over the whole farm.
    SlotId, u32, "slot "
);
id!(
    /// A slot's place within its device.
    SlotIndex, u16, "slot #"
);
id!(
    /// A command, chosen by the client; increases within a session.
    CommandId, u64, "command "
);
id!(
    /// A buffer, chosen by the client; unique within its session.
    BufferId, u64, "buffer "
);
id!(
    /// A program as the client names it; unique within its session.
    ProgramId, u64, "program "
);
id!(
    /// A program as the farm knows it: one key for each distinct (source, options), dense.
    ProgramKey, u32, "program key "
);
id!(
    /// A kernel's place among the kernels of its program, ordered by name.
    KernelIndex, u32, "kernel #"
);
id!(
    /// A number that grows by one with each write to a buffer; 0 is the zeroed buffer as created.
    Version, u64, "v"
);
id!(
    /// How often a task has been launched; late reports of old attempts are dropped.
    Attempt, u32, "attempt "
);

dense!(TenantId, u32);
dense!(AgentId, u32);
dense!(DeviceId, u32);
dense!(DeviceIndex, u16);
dense!(SlotId, u32);
dense!(SlotIndex, u16);
dense!(ProgramKey, u32);
dense!(KernelIndex, u32);

/// The scheduler's record of one command (or of one piece of a read).
///
/// The low half is the place in the scheduler's table, the high half counts reuses of that place, so
/// that an id is never used twice.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct TaskId(pub u64);

impl TaskId {
    /// Joins a table place and its reuse count.
    #[must_use]
    #[inline]
    pub fn new(index: u32, generation: u32) -> Self {
        Self((u64::from(generation) << 32) | u64::from(index))
    }

    /// The place in the scheduler's table.
    #[must_use]
    #[inline]
    pub fn index(self) -> usize {
        (self.0 & u64::from(u32::MAX)) as usize
    }

    /// How often that place had been used before.
    #[must_use]
    pub fn generation(self) -> u32 {
        (self.0 >> 32) as u32
    }
}

impl fmt::Display for TaskId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "task {}.{}", self.index(), self.generation())
    }
}

/// A buffer as the farm knows it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct BufferKey {
    /// The session that created it.
    pub session: SessionId,
    /// The client's name for it.
    pub buffer: BufferId,
}

impl fmt::Display for BufferKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} of {}", self.buffer, self.session)
    }
}

impl Version {
    /// The version that the next write makes.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

impl Attempt {
    /// The attempt after this one.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn task_id_keeps_both_halves() {
        let task = TaskId::new(7, 3);
        assert_eq!((task.index(), task.generation()), (7, 3));
        assert_eq!(task.to_string(), "task 7.3");
        let last = TaskId::new(u32::MAX, u32::MAX);
        assert_eq!((last.index(), last.generation()), (u32::MAX as usize, u32::MAX));
    }
}
