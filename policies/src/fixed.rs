//! `fixed`: a given placement and order, from a JSON file, so that a schedule from elsewhere can be judged.
//!
//! `fixed(file=PATH)`; the file is read when the policy is made, and the path may hold no comma. The file:
//!
//! ```json
//! {"tasks": [{"place": 0, "slot": "agent-0/device/0"}, {"place": 2, "slot": "agent-1/device/0/1"}]}
//! ```
//!
//! `place` says which task: how many tasks that policies place (launches, copies, barriers and markers; not writes,
//! fills and reads) its session submitted before it. For a graph file that is the task's place in the file.
//! `slot` is `agent-A/device/D` or `agent-A/device/D/S`: the agent's number in order of joining, the device's place
//! within the agent, the slot's within the device. Without a slot the task goes to the device's slot where it starts
//! first, ties to the lowest.
//!
//! On each `slot` value tasks run in the order in which the file lists them, behind each other without use of gaps; of
//! several that could be next the first in the file is taken. Where that order contradicts the graph, the first task in
//! the file that the graph allows is taken. Tasks that the file does not list, or whose slot is not there or may not
//! run them, come behind the listed ones that are ready and go where they finish first. Without a file nothing is
//! listed, and that is `mct`.

use std::collections::{BTreeMap, BTreeSet};

use isochrone_sched_core::Policy;
use serde::Deserialize;
use thiserror::Error;

use crate::planning::{Assignment, Partial, Planned, PlannedOptions, Planner, Problem, Schedule, in_order};
use crate::{Label, LabelError, PolicyInfo};

pub(crate) const INFO: PolicyInfo = PolicyInfo {
    name: "fixed",
    summary: "static: placement and order from a JSON file",
    parameters: &[
        ("file", "", "the file; none means that no task is listed"),
        PlannedOptions::PARAMETERS[0],
        PlannedOptions::PARAMETERS[1],
    ],
    make,
};

fn make(label: &Label) -> Result<Box<dyn Policy>, LabelError> {
    let path: String = label.get("file", String::new(), "a path")?;
    let options = PlannedOptions::of(label)?;
    let (planner, text) = if path.is_empty() {
        (Fixed::default(), format!("{}({})", INFO.name, options.text()))
    } else {
        let refused = |source| LabelError::File { policy: INFO.name.to_owned(), path: path.clone(), source };
        let json = std::fs::read_to_string(&path)
            .map_err(|error| refused(PlacementFileError::Unreadable { kind: error.kind() }))?;
        let planner = Fixed::from_json(&json).map_err(refused)?;
        (planner, format!("{}(file={path},{})", INFO.name, options.text()))
    };
    Ok(Box::new(Planned::new(text, "planned: as given", planner, options)))
}

/// Why a file gives no placement.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum PlacementFileError {
    /// It cannot be read.
    #[error("cannot be read: {kind}")]
    Unreadable {
        /// What the system said.
        kind: std::io::ErrorKind,
    },
    /// It is not JSON of the right form.
    #[error(
        "line {line}, column {column}: not of the form {{\"tasks\": [{{\"place\": 0, \"slot\": \"agent-0/device/0\"}}]}}"
    )]
    Malformed {
        /// Where, from 1.
        line: usize,
        /// Where, from 1.
        column: usize,
    },
    /// A slot is not written as one.
    #[error("task {place}: slot `{slot}` is not of the form agent-A/device/D or agent-A/device/D/S")]
    Slot {
        /// The task.
        place: u64,
        /// What is written.
        slot: String,
    },
    /// A task is listed twice.
    #[error("task {place} is listed twice")]
    Twice {
        /// The task.
        place: u64,
    },
}

/// The planner.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fixed {
    /// By place of the task: its place in the file, and where it goes.
    tasks: BTreeMap<u64, (usize, Target)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Target {
    agent: u32,
    device: u32,
    slot: Option<u32>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    tasks: Vec<Entry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    place: u64,
    slot: String,
}

impl Fixed {
    /// From the text of a file.
    ///
    /// # Errors
    /// When it is not of the form that the module describes, or lists a task twice.
    pub fn from_json(json: &str) -> Result<Self, PlacementFileError> {
        let file: File = serde_json::from_str(json)
            .map_err(|error| PlacementFileError::Malformed { line: error.line(), column: error.column() })?;
        let mut tasks = BTreeMap::new();
        for (rank, Entry { place, slot }) in file.tasks.into_iter().enumerate() {
            let Some(target) = Target::parse(&slot) else {
                return Err(PlacementFileError::Slot { place, slot });
            };
            if tasks.insert(place, (rank, target)).is_some() {
                return Err(PlacementFileError::Twice { place });
            }
        }
        Ok(Self { tasks })
    }
}

/// A schedule as such a file: each task with its slot, in the order in which they start.
#[must_use]
pub fn placement_file(problem: &Problem, schedule: &Schedule) -> String {
    let entry = |task: usize| {
        let slot = schedule.assignments[task].as_ref()?.slot;
        let name = problem.name(slot);
        let slot = format!("agent-{}/device/{}/{}", name.agent, name.device, name.slot);
        Some(Entry { place: problem.place(task), slot })
    };
    let tasks: Vec<Entry> = in_order(problem, schedule).into_iter().filter_map(entry).collect();
    let lines: Vec<String> = tasks
        .iter()
        .map(|Entry { place, slot }| format!("  {{\"place\": {place}, \"slot\": \"{slot}\"}}"))
        .collect();
    format!("{{\"tasks\": [\n{}\n]}}\n", lines.join(",\n"))
}

impl Target {
    fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split('/');
        let agent = parts.next()?.strip_prefix("agent-")?.parse().ok()?;
        let device =
            parts.next().filter(|word| *word == "device").and_then(|_| parts.next()?.parse().ok())?;
        let slot = match parts.next() {
            None => None,
            Some(slot) => Some(slot.parse().ok()?),
        };
        parts.next().is_none().then_some(Self { agent, device, slot })
    }

    fn slots(self, problem: &Problem, task: usize) -> impl Iterator<Item = usize> + '_ {
        problem.legal_slots(task).filter(move |slot| {
            let name = problem.name(*slot);
            name.agent == self.agent
                && name.device == self.device
                && self.slot.is_none_or(|slot| slot == name.slot)
        })
    }
}

impl Planner for Fixed {
    fn plan(&self, problem: &Problem) -> Schedule {
        let mut partial = Partial::new(problem);
        // By task, its rank in the file (behind all that are listed if it is not), and where it goes.
        let listed: Vec<(usize, Option<Target>)> = (0..problem.tasks())
            .map(|task| match self.tasks.get(&problem.place(task)) {
                Some((rank, target)) if target.slots(problem, task).next().is_some() => {
                    (*rank, Some(*target))
                }
                _ => (self.tasks.len() + task, None),
            })
            .collect();
        let mut lines: BTreeMap<Target, BTreeSet<(usize, usize)>> = BTreeMap::new();
        for (task, (rank, target)) in listed.iter().enumerate() {
            if let Some(target) = target.filter(|_| partial.can_be_placed(task)) {
                lines.entry(target).or_default().insert((*rank, task));
            }
        }
        let mut ready: BTreeSet<(usize, usize)> =
            partial.entries().into_iter().map(|task| (listed[task].0, task)).collect();
        // Those of the ready that are first in their line, or in none.
        let mut next: BTreeSet<(usize, usize)> = BTreeSet::new();
        let is_first = |lines: &BTreeMap<Target, BTreeSet<(usize, usize)>>, task: usize| match listed[task] {
            (rank, Some(target)) => {
                lines.get(&target).is_some_and(|line| line.first() == Some(&(rank, task)))
            }
            (_, None) => true,
        };
        next.extend(ready.iter().filter(|(_, task)| is_first(&lines, *task)));
        while let Some((rank, task)) = next.pop_first().or_else(|| ready.first().copied()) {
            ready.remove(&(rank, task));
            partial.look_at(task);
            let Some(chosen) = choose(&partial, task, listed[task].1) else { break };
            partial.assign(task, chosen, |then| {
                ready.insert((listed[then].0, then));
                if is_first(&lines, then) {
                    next.insert((listed[then].0, then));
                }
            });
            if let Some(line) = listed[task].1.and_then(|target| lines.get_mut(&target)) {
                line.remove(&(rank, task));
                if let Some(first) = line.first().filter(|first| ready.contains(first)) {
                    next.insert(*first);
                }
            }
        }
        partial.schedule
    }
}

fn choose(partial: &Partial<'_>, task: usize, target: Option<Target>) -> Option<Assignment> {
    match target {
        None => partial.earliest_finish(task, false),
        Some(target) => target
            .slots(partial.problem, task)
            .map(|slot| partial.on_slot(task, slot, false))
            .min_by_key(|here| (here.start, here.slot)),
    }
}
