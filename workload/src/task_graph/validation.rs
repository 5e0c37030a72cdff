//! Whether a graph holds together. Must never hold anything about the files it came from.

use std::collections::HashSet;

use super::{TaskCost, TaskGraph};

/// Members of a cycle beyond this many are counted, not named.
const CYCLE_NAMES_MAX: usize = 20;

/// What is wrong with a graph.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GraphError {
    /// A task, item or column has no name, or a task no kind.
    #[error("{what} {index} has an empty {field}; give it one")]
    EmptyName {
        /// `task`, `item` or `device column`.
        what: &'static str,
        /// Its index, counted from 0.
        index: usize,
        /// `name` or `kind`.
        field: &'static str,
    },
    /// Two tasks, items or columns have the same name.
    #[error("there are two {what}s named `{name}`; names are unique")]
    DuplicateName {
        /// `task`, `item` or `device column`.
        what: &'static str,
        /// The name.
        name: String,
    },
    /// A task names an item or a task that is not there.
    #[error("task `{task}` has {what} {index} among its {list}, but there are only {count}")]
    Dangling {
        /// The task.
        task: String,
        /// `item` or `task`.
        what: &'static str,
        /// `inputs`, `outputs` or `after`.
        list: &'static str,
        /// The index that leads nowhere.
        index: usize,
        /// How many there are.
        count: usize,
    },
    /// A task names an item or a task twice in one list.
    #[error("task `{task}` has {what} `{name}` twice among its {list}")]
    Repeated {
        /// The task.
        task: String,
        /// `item` or `task`.
        what: &'static str,
        /// The item or task.
        name: String,
        /// `inputs`, `outputs` or `after`.
        list: &'static str,
    },
    /// An item's producer is not there.
    #[error("item `{item}` is made by task {producer}, but there are only {count} tasks")]
    DanglingProducer {
        /// The item.
        item: String,
        /// The index that leads nowhere.
        producer: usize,
        /// How many tasks there are.
        count: usize,
    },
    /// Two tasks make one item.
    #[error("item `{item}` is made by two tasks, `{first}` and `{second}`; an item is made once")]
    TwoProducers {
        /// The item.
        item: String,
        /// One task.
        first: String,
        /// The other.
        second: String,
    },
    /// An item's producer and the outputs of tasks do not agree.
    #[error("item `{item}` and its task `{task}` do not agree: {}", if *is_output { "the task has it among its outputs, the item has no producer" } else { "the item has that producer, the task does not have it among its outputs" })]
    ProducerMismatch {
        /// The item.
        item: String,
        /// The task.
        task: String,
        /// Whether the task says that it makes the item.
        is_output: bool,
    },
    /// A task has durations for more or fewer columns than there are.
    #[error("task `{task}` has {found} durations, but there are {expected} device columns")]
    ColumnCount {
        /// The task.
        task: String,
        /// The number of its durations.
        found: usize,
        /// The number of columns.
        expected: usize,
    },
    /// There are device columns, but a task has abstract work.
    #[error(
        "task `{task}` has abstract work although the graph has device columns; costs are all of one kind"
    )]
    MixedCosts {
        /// The task.
        task: String,
    },
    /// Tasks wait for each other in a circle.
    #[error("tasks wait for each other in a circle: {}", circle(members))]
    Cycle {
        /// The names of the members, each before the one that waits for it.
        members: Vec<String>,
    },
}

fn circle(members: &[String]) -> String {
    let mut text = String::new();
    for name in members.iter().take(CYCLE_NAMES_MAX) {
        text.push_str(&format!("`{name}` -> "));
    }
    if members.len() > CYCLE_NAMES_MAX {
        text.push_str(&format!("({} more) -> ", members.len() - CYCLE_NAMES_MAX));
    }
    text + &format!("`{}`", members[0])
}

impl TaskGraph {
    /// Checks that names are unique, indices lead somewhere, producers and outputs agree, costs fit the device
    /// columns, and no task waits for itself. A graph without tasks is valid.
    ///
    /// # Errors
    /// The first thing found wrong, in the order of the file; cycles last.
    pub fn validate(&self) -> Result<(), GraphError> {
        check_names("device column", self.device_columns.iter().map(String::as_str))?;
        check_names("task", self.tasks.iter().map(|task| task.name.as_str()))?;
        check_names("item", self.items.iter().map(|item| item.name.as_str()))?;
        self.check_tasks()?;
        self.check_producers()?;
        self.topological_order().map(drop)
    }

    fn check_tasks(&self) -> Result<(), GraphError> {
        let mut item_seen = vec![usize::MAX; self.items.len()];
        let mut task_seen = vec![usize::MAX; self.tasks.len()];
        for (index, task) in self.tasks.iter().enumerate() {
            if task.kind.is_empty() {
                return Err(GraphError::EmptyName { what: "task", index, field: "kind" });
            }
            match &task.cost {
                TaskCost::Work(_) if self.device_columns.is_empty() => {}
                TaskCost::Work(_) => return Err(GraphError::MixedCosts { task: task.name.clone() }),
                TaskCost::PerDevice(durations_ns) => {
                    let (found, expected) = (durations_ns.len(), self.device_columns.len());
                    if found != expected || found == 0 {
                        return Err(GraphError::ColumnCount { task: task.name.clone(), found, expected });
                    }
                }
            }
            // Each list leaves a mark of its own, so that one vector serves all of them.
            self.check_list(index, "item", "inputs", &task.inputs, &mut item_seen, 2 * index)?;
            self.check_list(index, "item", "outputs", &task.outputs, &mut item_seen, 2 * index + 1)?;
            self.check_list(index, "task", "after", &task.after, &mut task_seen, index)?;
        }
        Ok(())
    }

    fn check_list(
        &self,
        task: usize,
        what: &'static str,
        list: &'static str,
        indices: &[usize],
        seen: &mut [usize],
        mark: usize,
    ) -> Result<(), GraphError> {
        let task = || self.tasks[task].name.clone();
        let count = seen.len();
        for &index in indices {
            let Some(place) = seen.get_mut(index) else {
                return Err(GraphError::Dangling { task: task(), what, list, index, count });
            };
            if std::mem::replace(place, mark) == mark {
                let name = if what == "task" {
                    self.tasks[index].name.clone()
                } else {
                    self.items[index].name.clone()
                };
                return Err(GraphError::Repeated { task: task(), what, name, list });
            }
        }
        Ok(())
    }

    fn check_producers(&self) -> Result<(), GraphError> {
        let mut makers: Vec<Option<usize>> = vec![None; self.items.len()];
        for (index, task) in self.tasks.iter().enumerate() {
            for &item in &task.outputs {
                if let Some(first) = makers[item].replace(index) {
                    return Err(GraphError::TwoProducers {
                        item: self.items[item].name.clone(),
                        first: self.tasks[first].name.clone(),
                        second: task.name.clone(),
                    });
                }
            }
        }
        for (item, maker) in self.items.iter().zip(makers) {
            let task_name = |task: usize| self.tasks[task].name.clone();
            match (item.producer, maker) {
                (Some(producer), _) if producer >= self.tasks.len() => {
                    let (item, count) = (item.name.clone(), self.tasks.len());
                    return Err(GraphError::DanglingProducer { item, producer, count });
                }
                (Some(producer), Some(maker)) if producer != maker => {
                    let (first, second) = (task_name(producer), task_name(maker));
                    return Err(GraphError::TwoProducers { item: item.name.clone(), first, second });
                }
                (Some(task), None) => {
                    let (item, task) = (item.name.clone(), task_name(task));
                    return Err(GraphError::ProducerMismatch { item, task, is_output: false });
                }
                (None, Some(task)) => {
                    let (item, task) = (item.name.clone(), task_name(task));
                    return Err(GraphError::ProducerMismatch { item, task, is_output: true });
                }
                (Some(_), Some(_)) | (None, None) => {}
            }
        }
        Ok(())
    }
}

fn check_names<'a>(what: &'static str, names: impl Iterator<Item = &'a str>) -> Result<(), GraphError> {
    let mut seen = HashSet::with_capacity(names.size_hint().0);
    for (index, name) in names.enumerate() {
        if name.is_empty() {
            return Err(GraphError::EmptyName { what, index, field: "name" });
        }
        if !seen.insert(name) {
            return Err(GraphError::DuplicateName { what, name: name.to_owned() });
        }
    }
    Ok(())
}
