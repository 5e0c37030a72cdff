//! A session's unfinished commands by id, without hashing: ids rise, so most lie in a window that moves along.

use std::collections::{BTreeMap, VecDeque};

use isochrone_model::CommandId;

use super::state::CommandRecord;

/// Ids that may be left out between two commands of the window; what comes after a larger gap is kept apart.
const GAP_MAX: u64 = 4_096;

/// The table.
#[derive(Clone, Debug, Default)]
pub(crate) struct CommandTable {
    /// The id at the front of the window.
    first: u64,
    window: VecDeque<Option<CommandRecord>>,
    /// Those whose ids do not fit the window.
    apart: BTreeMap<CommandId, CommandRecord>,
    len: usize,
}

impl CommandTable {
    /// How many commands there are.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Puts a command in that is not there.
    pub fn insert(&mut self, command: CommandId, record: CommandRecord) {
        self.len += 1;
        if self.window.is_empty() {
            self.first = command.0;
        }
        let end = self.first + self.window.len() as u64;
        match command.0.checked_sub(end) {
            Some(gap) if gap <= GAP_MAX => {
                self.window.resize_with(self.window.len() + gap as usize, || None);
                self.window.push_back(Some(record));
            }
            Some(_) | None => match self.place(command) {
                Some(place) => self.window[place] = Some(record),
                None => {
                    self.apart.insert(command, record);
                }
            },
        }
    }

    fn place(&self, command: CommandId) -> Option<usize> {
        let place = usize::try_from(command.0.checked_sub(self.first)?).ok()?;
        (place < self.window.len()).then_some(place)
    }

    pub fn get(&self, command: &CommandId) -> Option<&CommandRecord> {
        match self.place(*command) {
            Some(place) => self.window[place].as_ref(),
            None => self.apart.get(command),
        }
    }

    pub fn get_mut(&mut self, command: &CommandId) -> Option<&mut CommandRecord> {
        match self.place(*command) {
            Some(place) => self.window[place].as_mut(),
            None => self.apart.get_mut(command),
        }
    }

    pub fn remove(&mut self, command: &CommandId) {
        let removed = match self.place(*command) {
            Some(place) => self.window[place].take(),
            None => self.apart.remove(command),
        };
        self.len -= usize::from(removed.is_some());
        while let Some(None) = self.window.front() {
            self.window.pop_front();
            self.first += 1;
        }
    }

    /// All commands, in no particular order.
    pub fn values(&self) -> impl Iterator<Item = &CommandRecord> {
        self.window.iter().flatten().chain(self.apart.values())
    }
}

#[cfg(test)]
mod tests {
    use isochrone_model::TaskId;

    use super::super::state::CommandTasks;
    use super::*;

    #[test]
    fn behaves_as_a_map_whatever_the_gaps() {
        let mut table = CommandTable::default();
        let mut map = BTreeMap::new();
        let mut id = 0;
        let mut state = 7_u64;
        for round in 0..4_000_u64 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let gap = [1, 1, 1, 2, 5_000, 1 << 40][(state >> 33) as usize % 6];
            id += gap;
            let command = CommandId(id);
            let record = CommandRecord { tasks: CommandTasks::One(TaskId(round)), open: round as u32 };
            table.insert(command, record.clone());
            map.insert(command, record.open);
            if state >> 62 > 0 {
                let victim = *map.keys().nth((state >> 40) as usize % map.len()).unwrap();
                map.remove(&victim);
                table.remove(&victim);
                assert!(table.get(&victim).is_none());
            }
            assert_eq!(table.len(), map.len());
            if let Some((command, open)) = map.iter().nth((state >> 50) as usize % map.len().max(1)) {
                assert_eq!(table.get(command).map(|record| record.open), Some(*open));
                assert_eq!(table.get_mut(command).map(|record| record.open), Some(*open));
            }
        }
        let mut all: Vec<u32> = table.values().map(|record| record.open).collect();
        all.sort_unstable();
        let mut expected: Vec<u32> = map.values().copied().collect();
        expected.sort_unstable();
        assert_eq!(all, expected);
    }
}
