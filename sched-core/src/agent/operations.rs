//! The operations that an agent's devices have been given and have not ended, by number, without hashing: numbers rise
//! by one, so most lie in a window that moves along.

use std::collections::{BTreeMap, VecDeque};

use isochrone_model::{BufferKey, DeviceIndex, Region, TaskId};

use super::event::{OperationId, StreamSource};
use super::streams::Sent;

/// The window is no longer than this: what is still under way after so many others is kept apart.
const WINDOW_MAX: usize = 1_024;

/// Why an operation was made.
#[derive(Clone, Debug)]
pub(super) enum Purpose {
    Allocate { buffer: BufferKey, device: DeviceIndex, task: TaskId },
    Upload { region: Region, device: DeviceIndex, task: TaskId },
    Download { region: Region, device: DeviceIndex },
    StreamOut { region: Region, device: DeviceIndex, sent: Sent },
    StreamIn { region: Region, device: DeviceIndex, source: StreamSource },
    Run { task: TaskId },
}

/// The operations.
#[derive(Debug, Default)]
pub(super) struct Operations {
    /// How many have been numbered.
    made: u64,
    /// The last ones made, up to that number; without a purpose those that have ended or are not awaited.
    window: VecDeque<Option<Purpose>>,
    apart: BTreeMap<OperationId, Purpose>,
}

impl Operations {
    /// Numbers an operation, and keeps its purpose until it ends.
    pub fn begin(&mut self, purpose: Purpose) -> OperationId {
        self.number(Some(purpose))
    }

    /// Numbers an operation whose end changes nothing.
    pub fn begin_unawaited(&mut self) -> OperationId {
        self.number(None)
    }

    fn number(&mut self, purpose: Option<Purpose>) -> OperationId {
        if self.window.len() >= WINDOW_MAX {
            let first = OperationId(self.made + 1 - self.window.len() as u64);
            if let Some(oldest) = self.window.pop_front().flatten() {
                self.apart.insert(first, oldest);
            }
        }
        self.made += 1;
        self.window.push_back(purpose);
        self.drop_ended();
        OperationId(self.made)
    }

    /// The window begins with what is awaited.
    fn drop_ended(&mut self) {
        while let Some(None) = self.window.front() {
            self.window.pop_front();
        }
    }

    /// The place of an operation in the window.
    fn place(&self, operation: OperationId) -> Option<usize> {
        let first = self.made + 1 - self.window.len() as u64;
        let place = usize::try_from(operation.0.checked_sub(first)?).ok()?;
        (place < self.window.len()).then_some(place)
    }

    /// Ends an operation: its purpose, if it was awaited and is not over.
    pub fn end(&mut self, operation: OperationId) -> Option<Purpose> {
        let Some(place) = self.place(operation) else { return self.apart.remove(&operation) };
        let purpose = self.window[place].take();
        self.drop_ended();
        purpose
    }

    /// Whether an operation is awaited.
    pub fn contains(&self, operation: OperationId) -> bool {
        match self.place(operation) {
            Some(place) => self.window[place].is_some(),
            None => self.apart.contains_key(&operation),
        }
    }

    /// The purposes of all that are awaited, the oldest first.
    pub fn purposes_mut(&mut self) -> impl Iterator<Item = &mut Purpose> {
        self.apart.values_mut().chain(self.window.iter_mut().flatten())
    }

    /// Whether none is awaited.
    pub fn is_empty(&self) -> bool {
        self.window.is_empty() && self.apart.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn behaves_as_a_map_however_long_an_operation_takes() {
        let mut operations = Operations::default();
        let mut map = BTreeMap::new();
        let mut state = 7_u64;
        for round in 0..20_000_u64 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            match state >> 61 {
                0 => {
                    let id = operations.begin_unawaited();
                    assert!(operations.end(id).is_none());
                }
                1..=3 => {
                    let id = operations.begin(Purpose::Run { task: TaskId(round) });
                    map.insert(id, round);
                }
                4..=6 => {
                    let place = (state >> 40) as usize % map.len().max(1);
                    // The oldest stays for long.
                    let Some((id, task)) = map.iter().nth(place.max(1)).map(|(id, task)| (*id, *task)) else {
                        continue;
                    };
                    map.remove(&id);
                    assert!(operations.contains(id));
                    let Some(Purpose::Run { task: ended }) = operations.end(id) else {
                        panic!("it was there")
                    };
                    assert_eq!(ended.0, task);
                    assert!(!operations.contains(id) && operations.end(id).is_none());
                }
                _ => {
                    let pending = map.keys().filter(|id| !operations.contains(**id)).count();
                    assert_eq!((pending, operations.is_empty()), (0, map.is_empty()));
                }
            }
            assert!(operations.window.len() <= WINDOW_MAX);
        }
    }
}
