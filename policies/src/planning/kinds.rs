//! What tasks take on each slot, kept once for all tasks that take the same: a graph of many tasks often has few kinds.

use std::collections::HashMap;

use isochrone_model::Span;

/// What each kind of task takes on each slot, and the kind of each task. Tasks of one kind take the same everywhere.
#[derive(Clone, Debug, Default)]
pub(super) struct Kinds {
    slots: usize,
    count: usize,
    /// By kind, then by slot.
    executions: Vec<Span>,
    /// By task.
    kind_of: Vec<u32>,
}

impl Kinds {
    pub fn tasks(&self) -> usize {
        self.kind_of.len()
    }

    pub fn kind_of(&self, task: usize) -> usize {
        self.kind_of[task] as usize
    }

    pub fn count(&self) -> usize {
        self.count
    }

    pub fn executions(&self, kind: usize) -> &[Span] {
        &self.executions[kind * self.slots..(kind + 1) * self.slots]
    }

    pub fn executions_mut(&mut self) -> impl Iterator<Item = &mut [Span]> {
        self.executions.chunks_exact_mut(self.slots.max(1))
    }

    /// What the task after the last takes.
    fn push(&mut self, executions: &[Span]) -> u32 {
        self.executions.extend_from_slice(executions);
        self.count += 1;
        self.count as u32 - 1
    }
}

/// Makes [`Kinds`]. Two tasks that take the same are of one kind, but for what a table of hashes misses: nothing depends on
/// it beyond memory and time.
#[derive(Clone, Debug)]
pub(super) struct KindsBuilder {
    kinds: Kinds,
    /// By hash, the last kind that has it.
    known: HashMap<u64, u32>,
}

impl KindsBuilder {
    pub fn new(slots: usize) -> Self {
        Self { kinds: Kinds { slots, ..Kinds::default() }, known: HashMap::new() }
    }

    pub fn tasks(&self) -> usize {
        self.kinds.tasks()
    }

    /// Adds a task.
    pub fn task(&mut self, executions: &[Span]) {
        if let Some(last) = self.kinds.kind_of.last().copied()
            && self.kinds.executions(last as usize) == executions
        {
            self.kinds.kind_of.push(last);
            return;
        }
        let hash = hash_of(executions);
        let known = self.known.get(&hash).copied();
        let kind = match known.filter(|kind| self.kinds.executions(*kind as usize) == executions) {
            Some(kind) => kind,
            None => {
                let kind = self.kinds.push(executions);
                self.known.insert(hash, kind);
                kind
            }
        };
        self.kinds.kind_of.push(kind);
    }

    /// Adds a task that takes what an earlier one takes.
    pub fn task_like(&mut self, task: usize) {
        self.kinds.kind_of.push(self.kinds.kind_of[task]);
    }

    pub fn build(self) -> Kinds {
        self.kinds
    }
}

fn hash_of(executions: &[Span]) -> u64 {
    executions
        .iter()
        .fold(0, |hash: u64, span| (hash.rotate_left(23) ^ span.0).wrapping_mul(0x9e37_79b9_7f4a_7c15))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tasks_that_take_the_same_share_a_row_and_read_what_was_stated() {
        let mut builder = KindsBuilder::new(3);
        let rows: Vec<[Span; 3]> =
            (0..200_u64).map(|task| [Span(task % 7), Span(task % 3), Span(task % 7)]).collect();
        for row in &rows {
            builder.task(row);
        }
        builder.task_like(5);
        let kinds = builder.build();
        assert_eq!((kinds.tasks(), kinds.count()), (201, 21));
        for (task, row) in rows.iter().enumerate() {
            assert_eq!(kinds.executions(kinds.kind_of(task)), row);
        }
        assert_eq!(kinds.kind_of(200), kinds.kind_of(5));
    }
}
