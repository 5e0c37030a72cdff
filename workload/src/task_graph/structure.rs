//! Who reads what, who waits for whom, and an order that keeps to it. Must never hold costs.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::ops::Index;

use super::{GraphError, TaskGraph};

/// Lists of indices, one list for each task or item, in one allocation.
///
/// `adjacency[index]` is a list, sorted upwards with each index once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Adjacency {
    /// Where the list of each index starts; one more than there are lists.
    starts: Vec<usize>,
    targets: Vec<usize>,
}

impl Adjacency {
    /// From lists that come one after the other, each already sorted with each index once.
    fn from_lists(lists: impl Iterator<Item = Vec<usize>>) -> Self {
        let mut adjacency = Adjacency { starts: vec![0], targets: Vec::new() };
        for list in lists {
            adjacency.targets.extend(list);
            adjacency.starts.push(adjacency.targets.len());
        }
        adjacency
    }

    /// The same pairs seen from the other side, where there are `count` lists.
    fn reversed(&self, count: usize) -> Self {
        let mut starts = vec![0; count + 1];
        for &target in &self.targets {
            starts[target + 1] += 1;
        }
        for index in 0..count {
            starts[index + 1] += starts[index];
        }
        let mut next = starts.clone();
        let mut targets = vec![0; self.targets.len()];
        for (index, list) in self.iter().enumerate() {
            for &target in list {
                targets[next[target]] = index;
                next[target] += 1;
            }
        }
        Adjacency { starts, targets }
    }

    /// The number of lists.
    #[must_use]
    pub fn len(&self) -> usize {
        self.starts.len().saturating_sub(1)
    }

    /// Whether there is no list at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The number of indices in all lists together.
    #[must_use]
    pub fn edge_count(&self) -> usize {
        self.targets.len()
    }

    /// The lists in order.
    pub fn iter(&self) -> impl Iterator<Item = &[usize]> + '_ {
        self.starts.windows(2).map(|bounds| &self.targets[bounds[0]..bounds[1]])
    }
}

impl Index<usize> for Adjacency {
    type Output = [usize];

    fn index(&self, index: usize) -> &[usize] {
        &self.targets[self.starts[index]..self.starts[index + 1]]
    }
}

impl TaskGraph {
    /// For each item the tasks that read it.
    #[must_use]
    pub fn consumers(&self) -> Adjacency {
        Adjacency::from_lists(self.tasks.iter().map(|task| sorted_once(task.inputs.clone())))
            .reversed(self.items.len())
    }

    /// For each task those that have to end before it: the producers of its inputs and those it comes `after`.
    #[must_use]
    pub fn predecessors(&self) -> Adjacency {
        Adjacency::from_lists(self.tasks.iter().map(|task| {
            let producers = task.inputs.iter().filter_map(|&item| self.items[item].producer);
            sorted_once(producers.chain(task.after.iter().copied()).collect())
        }))
    }

    /// For each task those that wait for it: [`TaskGraph::predecessors`] seen from the other side.
    #[must_use]
    pub fn successors(&self) -> Adjacency {
        self.predecessors().reversed(self.tasks.len())
    }

    /// Every task after its predecessors; of the tasks that could come next, always the first of the file.
    ///
    /// # Errors
    /// [`GraphError::Cycle`] with the members of one cycle.
    pub fn topological_order(&self) -> Result<Vec<usize>, GraphError> {
        let predecessors = self.predecessors();
        let successors = predecessors.reversed(self.tasks.len());
        let mut waiting: Vec<usize> = predecessors.iter().map(<[usize]>::len).collect();
        let mut ready: BinaryHeap<Reverse<usize>> =
            (0..self.tasks.len()).filter(|&task| waiting[task] == 0).map(Reverse).collect();
        let mut order = Vec::with_capacity(self.tasks.len());
        while let Some(Reverse(task)) = ready.pop() {
            order.push(task);
            for &successor in &successors[task] {
                waiting[successor] -= 1;
                if waiting[successor] == 0 {
                    ready.push(Reverse(successor));
                }
            }
        }
        if order.len() == self.tasks.len() {
            return Ok(order);
        }
        let members = cycle_among(&predecessors, &waiting);
        Err(GraphError::Cycle {
            members: members.into_iter().map(|task| self.tasks[task].name.clone()).collect(),
        })
    }
}

fn sorted_once(mut list: Vec<usize>) -> Vec<usize> {
    list.sort_unstable();
    list.dedup();
    list
}

/// The members of a cycle in the direction of the data. Whatever still waits, waits for something that still waits:
/// following that backwards must come to a place seen before.
fn cycle_among(predecessors: &Adjacency, waiting: &[usize]) -> Vec<usize> {
    let mut position = vec![usize::MAX; waiting.len()];
    let mut path = Vec::new();
    let mut current = waiting.iter().position(|&count| count > 0).expect("some task still waits");
    while position[current] == usize::MAX {
        position[current] = path.len();
        path.push(current);
        current = *predecessors[current]
            .iter()
            .find(|&&before| waiting[before] > 0)
            .expect("a task that waits has a predecessor that waits");
    }
    let mut members = path.split_off(position[current]);
    members.reverse();
    // The first of the file first, so that the message does not depend on where the search came in.
    let first = (0..members.len()).min_by_key(|&place| members[place]).unwrap_or(0);
    members.rotate_left(first);
    members
}
