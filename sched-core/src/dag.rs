//! The dependency graph of unfinished tasks. Only this module and `workload` name petgraph.
//!
//! A task is a vertex from its submission to its end; an edge says that one must end before another may
//! start. Places of tasks that ended are used again, so that a session of any length takes no more memory
//! than its unfinished tasks do.

use petgraph::Direction;
use petgraph::stable_graph::{EdgeIndex, NodeIndex, StableDiGraph};
use petgraph::visit::EdgeRef;
use serde::{Deserialize, Serialize};

/// A task's place in the table of unfinished tasks: dense, and used again after the task's end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct TaskIndex(pub u32);

impl TaskIndex {
    /// As an index into vectors kept alongside.
    #[must_use]
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

/// Why one task waits for another. The stronger reason comes last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum DependencyKind {
    /// It must not overtake (read before overwrite, write before overwrite, barrier): the failure of the
    /// first does not fail the second.
    Order,
    /// The client asked for it with `after`.
    After,
    /// It reads what the first makes.
    Data,
}

impl DependencyKind {
    /// Whether the first's failure fails the second.
    #[must_use]
    pub fn carries_failure(self) -> bool {
        match self {
            Self::Order => false,
            Self::After | Self::Data => true,
        }
    }
}

/// The graph.
#[derive(Clone, Debug, Default)]
pub struct Dag {
    graph: StableDiGraph<(), DependencyKind, u32>,
}

impl Dag {
    /// Adds a task without dependencies and gives its place.
    pub fn add_task(&mut self) -> TaskIndex {
        TaskIndex(self.graph.add_node(()).index() as u32)
    }

    /// Says that `first` must end before `second` may start. Each pair is added at most once.
    pub fn add_dependency(&mut self, first: TaskIndex, second: TaskIndex, kind: DependencyKind) {
        let _: EdgeIndex = self.graph.add_edge(node(first), node(second), kind);
    }

    /// From now on a task only comes after those before it: their failures are no matter to it.
    pub fn only_order_before(&mut self, task: TaskIndex) {
        let mut before = self.graph.neighbors_directed(node(task), Direction::Incoming).detach();
        while let Some(edge) = before.next_edge(&self.graph) {
            self.graph[edge] = DependencyKind::Order;
        }
    }

    /// Removes a task and its dependencies; its place may be given again.
    pub fn remove_task(&mut self, task: TaskIndex) {
        self.graph.remove_node(node(task));
    }

    /// How many tasks there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.graph.node_count()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.graph.node_count() == 0
    }

    /// How many dependencies there are.
    #[must_use]
    pub fn dependencies(&self) -> usize {
        self.graph.edge_count()
    }

    /// What a task waits for, latest added first.
    pub fn predecessors(&self, task: TaskIndex) -> impl Iterator<Item = (TaskIndex, DependencyKind)> + '_ {
        self.graph
            .edges_directed(node(task), Direction::Incoming)
            .map(|edge| (TaskIndex(edge.source().index() as u32), *edge.weight()))
    }

    /// What waits for a task, latest added first.
    pub fn successors(&self, task: TaskIndex) -> impl Iterator<Item = (TaskIndex, DependencyKind)> + '_ {
        self.graph
            .edges_directed(node(task), Direction::Outgoing)
            .map(|edge| (TaskIndex(edge.target().index() as u32), *edge.weight()))
    }
}

fn node(task: TaskIndex) -> NodeIndex<u32> {
    NodeIndex::new(task.index())
}

/// Finds a cycle among `count` items where item `i` comes after each of `predecessors(i)`; its members in
/// order around the circle, or `None` when there is no cycle.
#[must_use]
pub fn find_cycle(count: usize, dependencies: &[(usize, usize)]) -> Option<Vec<usize>> {
    let mut graph: petgraph::graph::DiGraph<(), (), u32> =
        petgraph::graph::DiGraph::with_capacity(count, dependencies.len());
    for _ in 0..count {
        graph.add_node(());
    }
    for (first, second) in dependencies {
        if first == second {
            return Some(vec![*first]);
        }
        graph.add_edge(NodeIndex::new(*first), NodeIndex::new(*second), ());
    }
    let component = petgraph::algo::kosaraju_scc(&graph).into_iter().find(|members| members.len() > 1)?;
    let members: std::collections::BTreeSet<usize> = component.iter().map(|member| member.index()).collect();
    // Inside a strongly connected component every walk along members comes back: walk until it does.
    let first = *members.first()?;
    let mut path = vec![first];
    let mut seen = std::collections::BTreeMap::from([(first, 0)]);
    loop {
        let here = *path.last()?;
        let next = graph
            .neighbors(NodeIndex::new(here))
            .map(NodeIndex::index)
            .filter(|next| members.contains(next))
            .min()?;
        if let Some(&start) = seen.get(&next) {
            return Some(path.split_off(start));
        }
        seen.insert(next, path.len());
        path.push(next);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_used_again_and_dependencies_go_with_their_tasks() {
        let mut dag = Dag::default();
        let (first, second) = (dag.add_task(), dag.add_task());
        dag.add_dependency(first, second, DependencyKind::Data);
        assert_eq!(dag.successors(first).collect::<Vec<_>>(), [(second, DependencyKind::Data)]);
        dag.remove_task(first);
        assert_eq!(dag.predecessors(second).count(), 0);
        assert_eq!(dag.add_task(), first);
        assert_eq!((dag.len(), dag.dependencies()), (2, 0));
    }

    #[test]
    fn a_cycle_is_named_in_order_around_the_circle() {
        assert_eq!(find_cycle(4, &[(0, 1), (1, 2), (2, 3)]), None);
        assert_eq!(find_cycle(1, &[(0, 0)]), Some(vec![0]));
        let cycle = find_cycle(5, &[(0, 1), (1, 3), (3, 2), (2, 1), (3, 4)]).unwrap();
        assert_eq!(cycle, [1, 3, 2]);
    }
}
