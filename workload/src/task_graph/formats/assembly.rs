//! What the readers of formats with files and parents share: tasks, items and links by name, put together to a graph.
//! Must never hold the syntax of a format.

use std::collections::{HashMap, HashSet};

use super::{Found, Place, ReadOptions, ReadProblem, UnsaidOption};
use crate::task_graph::{DataItem, GraphTask, TaskCost, TaskGraph};

/// What a task does with an item.
#[derive(Clone, Copy)]
enum Use {
    Read,
    Made,
}

/// A graph in the making.
pub(super) struct Assembly<'a> {
    pub graph: TaskGraph,
    options: &'a ReadOptions,
    tasks: HashMap<String, usize>,
    items: HashMap<String, usize>,
    /// The known sizes of the items in bytes.
    sizes: Vec<Option<u64>>,
    /// What each task does with each of its items; for look-up only.
    uses: HashMap<(usize, usize), Use>,
    /// Tasks and those that have to end before them, whether data goes between them or not.
    links: Vec<(usize, usize)>,
    durations_unsaid: usize,
    memory_unsaid: usize,
}

impl<'a> Assembly<'a> {
    pub fn new(name: &str, options: &'a ReadOptions) -> Self {
        Assembly {
            graph: TaskGraph { name: name.to_owned(), ..TaskGraph::default() },
            options,
            tasks: HashMap::new(),
            items: HashMap::new(),
            sizes: Vec::new(),
            uses: HashMap::new(),
            links: Vec::new(),
            durations_unsaid: 0,
            memory_unsaid: 0,
        }
    }

    /// Adds a task without data; what is `None` is not said by the file.
    pub fn add_task(
        &mut self,
        name: &str,
        kind: &str,
        duration_ns: Option<u64>,
        memory_bytes: Option<u64>,
        place: impl Fn() -> Place,
    ) -> Result<usize, Found> {
        let index = self.graph.tasks.len();
        if self.tasks.insert(name.to_owned(), index).is_some() {
            return Err((place(), ReadProblem::Duplicate { what: "task", name: name.to_owned() }));
        }
        let work_ns = match (duration_ns, self.options.duration_unsaid_ns) {
            (Some(duration_ns), _) => duration_ns,
            (None, Some(taken_ns)) => {
                self.durations_unsaid += 1;
                taken_ns
            }
            (None, None) => {
                let of = format!("task `{name}`");
                let problem =
                    ReadProblem::Unsaid { what: "the duration", of, option: UnsaidOption::DurationNs };
                return Err((place(), problem));
            }
        };
        self.memory_unsaid += usize::from(memory_bytes.is_none());
        self.graph.tasks.push(GraphTask {
            name: name.to_owned(),
            kind: kind.to_owned(),
            cost: TaskCost::Work(work_ns),
            memory_bytes: memory_bytes.unwrap_or(0),
            inputs: Vec::new(),
            outputs: Vec::new(),
            after: Vec::new(),
        });
        Ok(index)
    }

    /// The task of that name.
    pub fn task(&self, name: &str, place: impl Fn() -> Place) -> Result<usize, Found> {
        let unknown = || (place(), ReadProblem::Unknown { what: "task", name: name.to_owned() });
        self.tasks.get(name).copied().ok_or_else(unknown)
    }

    /// The item of that name, made when it is new; a size that contradicts what was said before is refused.
    pub fn item(
        &mut self,
        name: &str,
        size_bytes: Option<u64>,
        place: impl Fn() -> Place,
    ) -> Result<usize, Found> {
        let next = self.sizes.len();
        let item = *self.items.entry(name.to_owned()).or_insert(next);
        if item == next {
            self.sizes.push(size_bytes);
            self.graph.items.push(DataItem { name: name.to_owned(), size_bytes: 0, producer: None });
        } else if let Some(size_bytes) = size_bytes {
            let known = self.sizes[item].get_or_insert(size_bytes);
            if *known != size_bytes {
                let (first, second) = (format!("{known} bytes"), format!("{size_bytes} bytes"));
                let name = name.to_owned();
                return Err((place(), ReadProblem::Contradiction { what: "file", name, first, second }));
            }
        }
        Ok(item)
    }

    /// The task reads the item; saying so twice changes nothing.
    pub fn reads(&mut self, task: usize, item: usize, place: impl Fn() -> Place) -> Result<(), Found> {
        match self.uses.insert((task, item), Use::Read) {
            None => self.graph.tasks[task].inputs.push(item),
            Some(Use::Read) => {}
            Some(Use::Made) => return Err((place(), self.in_place(task, item))),
        }
        Ok(())
    }

    /// The task makes the item; saying so twice changes nothing.
    pub fn makes(&mut self, task: usize, item: usize, place: impl Fn() -> Place) -> Result<(), Found> {
        match self.uses.insert((task, item), Use::Made) {
            None => {
                // Where two tasks make an item, validation names both.
                self.graph.items[item].producer = Some(task);
                self.graph.tasks[task].outputs.push(item);
            }
            Some(Use::Made) => {}
            Some(Use::Read) => return Err((place(), self.in_place(task, item))),
        }
        Ok(())
    }

    fn in_place(&self, task: usize, item: usize) -> ReadProblem {
        let (item, task) = (&self.graph.items[item].name, &self.graph.tasks[task].name);
        let what = format!("file `{item}`, which task `{task}` both reads and writes,");
        ReadProblem::Unsupported { what, hint: "give the changed file a name of its own" }
    }

    /// The task waits for `before`, with or without data.
    pub fn link(&mut self, before: usize, task: usize) {
        self.links.push((task, before));
    }

    /// The whole graph. Links along which data goes say nothing new; the others become order without data.
    pub fn finish(mut self, assumptions: &mut Vec<String>) -> Result<TaskGraph, Found> {
        let mut sizes_unsaid = 0;
        for (item, size_bytes) in self.graph.items.iter_mut().zip(&self.sizes) {
            item.size_bytes = match (size_bytes, self.options.item_bytes_unsaid) {
                (Some(size_bytes), _) => *size_bytes,
                (None, Some(taken_bytes)) => {
                    sizes_unsaid += 1;
                    taken_bytes
                }
                (None, None) => {
                    let of = format!("file `{}`", item.name);
                    let problem =
                        ReadProblem::Unsaid { what: "the size", of, option: UnsaidOption::ItemBytes };
                    return Err((Place::WholeFile, problem));
                }
            };
        }
        // Links stay in the order of the file; a set is for look-up only.
        let mut known: HashSet<(usize, usize)> = HashSet::new();
        for (index, task) in self.graph.tasks.iter().enumerate() {
            known.extend(
                task.inputs.iter().filter_map(|&item| Some((index, self.graph.items[item].producer?))),
            );
        }
        for (task, before) in self.links {
            if known.insert((task, before)) {
                self.graph.tasks[task].after.push(before);
            }
        }
        if let (1.., Some(taken_ns)) = (self.durations_unsaid, self.options.duration_unsaid_ns) {
            assumptions.push(format!(
                "the durations of {} tasks are not said; {taken_ns} ns were taken for each",
                self.durations_unsaid
            ));
        }
        if let (1.., Some(taken_bytes)) = (sizes_unsaid, self.options.item_bytes_unsaid) {
            assumptions.push(format!(
                "the sizes of {sizes_unsaid} files are not said; {taken_bytes} bytes were taken for each"
            ));
        }
        if self.memory_unsaid > 0 {
            assumptions
                .push(format!("the memory of {} tasks is not said; 0 bytes were taken", self.memory_unsaid));
        }
        Ok(self.graph)
    }
}

/// Seconds as whole nanoseconds, rounded to the nearest; `None` when negative, not finite or too large.
pub(super) fn nanoseconds(seconds: f64) -> Option<u64> {
    let nanoseconds = (seconds * 1e9).round();
    (nanoseconds >= 0.0 && nanoseconds < u64::MAX as f64).then_some(nanoseconds as u64)
}

/// Nanoseconds as seconds in decimal digits, exactly and as short as that goes.
pub(super) fn decimal_seconds(nanoseconds: u64) -> String {
    let text = format!("{}.{:09}", nanoseconds / 1_000_000_000, nanoseconds % 1_000_000_000);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// A count of bytes written as a whole number, or as a float that is one (`2e8`).
pub(super) fn whole_bytes(text: &str) -> Option<u64> {
    let text = text.trim();
    text.parse().ok().or_else(|| {
        let value: f64 = text.parse().ok()?;
        (value >= 0.0 && value < u64::MAX as f64 && value.fract() == 0.0).then_some(value as u64)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_are_exact_in_digits() {
        for (ns, text) in
            [(0, "0"), (1, "0.000000001"), (13_590_000_000, "13.59"), (u64::MAX, "18446744073.709551615")]
        {
            assert_eq!(decimal_seconds(ns), text);
        }
        assert_eq!(nanoseconds("13.59".parse().unwrap()), Some(13_590_000_000));
        // Every whole number of nanoseconds up to 26 days survives the float in between.
        for ns in [1, 999_999_999, 2_251_799_813_685_247, 2_251_799_813_685_246] {
            assert_eq!(nanoseconds(decimal_seconds(ns).parse().unwrap()), Some(ns));
        }
        for wrong in [-1.0, f64::NAN, f64::INFINITY, 1e11] {
            assert_eq!(nanoseconds(wrong), None);
        }
        assert_eq!((whole_bytes("2e8"), whole_bytes(" 7 ")), (Some(200_000_000), Some(7)));
        assert_eq!((whole_bytes("1.5"), whole_bytes("-1"), whole_bytes("x")), (None, None, None));
    }
}
