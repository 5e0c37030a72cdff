//! The farm of an experiment: agents, their devices, and the paths between all who talk.
//!
//! Holds what is true of a cluster and never changes in a run; must never hold what moves (transfers, queues) or
//! what a scheduler believes.

mod document;
mod errors;
mod file;
mod label;
pub mod presets;
#[cfg(test)]
mod tests;
mod topology;

use std::collections::BTreeMap;
use std::path::Path as FilePath;

use isochrone_model::{BytesPerSecond, Span};

use crate::sources::missing_file;

pub use errors::{ClusterError, ClusterFileError, ClusterFileErrors, ClusterProblem, LabelProblem};
pub(crate) use isochrone_link::mathematics;
pub use isochrone_link::{Latency, LatencySampler, LinkSpec, UNLIMITED};
pub use topology::{Access, Path, Topology};

/// A party that talks. Order: the scheduler, the client, agents by place in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Party {
    /// The scheduler.
    Scheduler,
    /// The client that submits graphs and holds their inputs.
    Client,
    /// An agent, by its place in the file.
    Agent(usize),
}

impl Party {
    /// Its place among all parties: 0 the scheduler, 1 the client, 2 the first agent.
    #[must_use]
    pub fn place(self) -> usize {
        match self {
            Self::Scheduler => 0,
            Self::Client => 1,
            Self::Agent(place) => place + 2,
        }
    }

    /// The party at a place.
    #[must_use]
    pub fn at(place: usize) -> Self {
        match place {
            0 => Self::Scheduler,
            1 => Self::Client,
            _ => Self::Agent(place - 2),
        }
    }
}

/// Where the inputs of a graph lie at the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum InputPlace {
    /// On every agent, so that they are never sent.
    #[default]
    Everywhere,
    /// At the client only.
    Client,
}

/// A cluster: agents with their devices, and the paths between the parties.
#[derive(Clone, Debug, PartialEq)]
pub struct Cluster {
    /// Its name, for people.
    pub name: String,
    /// The agents in the order of the file.
    pub agents: Vec<ClusterAgent>,
    /// Where the inputs of a graph lie at the start.
    pub inputs_at: InputPlace,
    /// The paths between the parties.
    pub topology: Topology,
}

/// An agent.
#[derive(Clone, Debug, PartialEq)]
pub struct ClusterAgent {
    /// Its name, unique in the cluster.
    pub name: String,
    /// Memory of the host for contents.
    pub host_memory_bytes: u64,
    /// Its devices in the order of the file.
    pub devices: Vec<ClusterDevice>,
}

/// A device of an agent.
#[derive(Clone, Debug, PartialEq)]
pub struct ClusterDevice {
    /// Its name, unique in its agent.
    pub name: String,
    /// Relative speed: work of w ns takes w / speed. Positive and finite.
    pub speed: f64,
    /// Tasks that run at once.
    pub slots: u16,
    /// Memory of the device.
    pub memory_bytes: u64,
    /// Overhead of each launch.
    pub launch: Span,
    /// Copies between host and device; [`UNLIMITED`] is free.
    pub host_rate: BytesPerSecond,
    /// The graph's column of durations that it stands for; without one, the column at the device's place in the
    /// file.
    pub column: Option<String>,
    /// The cost matrix: what holds for a kind of task in place of `speed`.
    pub kinds: BTreeMap<String, KindSpeed>,
}

/// How fast a device runs one kind of task.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum KindSpeed {
    /// With this speed in place of the device's own.
    Speed(f64),
    /// Not at all.
    CannotRun,
}

/// What a task costs, as its graph states it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cost<'a> {
    /// Nanoseconds at speed 1.
    Work(u64),
    /// Nanoseconds on each of the graph's columns.
    PerDevice {
        /// By column.
        nanos: &'a [u64],
        /// The columns' names; may be fewer when the graph does not name them.
        columns: &'a [String],
    },
}

impl Cluster {
    /// Reads a cluster file.
    ///
    /// # Errors
    /// When it cannot be read, or with all that is wrong in it.
    pub fn load(path: impl AsRef<FilePath>) -> Result<Self, ClusterError> {
        file::load(path.as_ref())
    }

    /// The cluster of a cluster file's text; `file` is what errors call it.
    ///
    /// # Errors
    /// With all that is wrong in it.
    pub fn parse(text: &str, file: &str) -> Result<Self, ClusterError> {
        file::parse(text, file)
    }

    /// The cluster of a short form: `uniform(agents=4,devices=1,speed=1,latency_us=100,bandwidth_mbit=1000)` or
    /// `preset(campus,agents=8,speeds=1:2:4)`.
    ///
    /// # Errors
    /// When it is no such form.
    pub fn from_label(label: &str) -> Result<Self, ClusterError> {
        label::parse(label)
    }

    /// What a user names: a file that starts at `directory`, or a short form.
    ///
    /// # Errors
    /// As [`Cluster::from_label`] or [`Cluster::load`], and [`ClusterError::NoFile`].
    pub fn named(text: &str, directory: &FilePath) -> Result<Self, ClusterError> {
        let path = directory.join(text);
        if !text.trim_end().ends_with(')') && path.exists() {
            return Self::load(path);
        }
        match missing_file(text, directory) {
            Some(path) => Err(ClusterError::NoFile { path }),
            None => Self::from_label(text),
        }
    }

    /// All devices in the order of the file, each with its agent's place and its place in the agent. What
    /// [`Cluster::duration`] calls a device's place is its position in this list.
    pub fn devices(&self) -> impl Iterator<Item = (usize, usize, &ClusterDevice)> {
        self.agents.iter().enumerate().flat_map(|(agent, entry)| {
            entry.devices.iter().enumerate().map(move |(device, spec)| (agent, device, spec))
        })
    }

    /// All parties in order.
    pub fn parties(&self) -> impl Iterator<Item = Party> + use<> {
        (0..self.topology.parties()).map(Party::at)
    }

    /// The true duration of a task on the device with this place in [`Cluster::devices`]: nanoseconds rounded
    /// down, without the overhead of the launch. `None` when it cannot run there, or there is no such device or
    /// column.
    #[must_use]
    pub fn duration(&self, device_place: usize, kind: &str, cost: Cost<'_>) -> Option<Span> {
        let (_, _, device) = self.devices().nth(device_place)?;
        device.duration(device_place, kind, cost)
    }

    /// What the path from one party to another does.
    #[must_use]
    pub fn link(&self, from: Party, to: Party) -> LinkSpec {
        self.topology.link(from, to).clone()
    }
}

impl ClusterDevice {
    /// What a million nanoseconds of work of a kind take here, in whole nanoseconds: the one place where a speed becomes
    /// a duration. `None` when tasks of the kind cannot run here.
    #[must_use]
    pub fn nanos_per_mega_work(&self, kind: &str) -> Option<u64> {
        let speed = match self.kinds.get(kind) {
            Some(KindSpeed::CannotRun) => return None,
            Some(KindSpeed::Speed(speed)) => *speed,
            None => self.speed,
        };
        // Saturates: a speed of almost nothing takes for ever.
        Some((1e6 / speed).round() as u64)
    }

    /// [`Cluster::duration`] for a device that is at hand.
    #[must_use]
    pub fn duration(&self, device_place: usize, kind: &str, cost: Cost<'_>) -> Option<Span> {
        let nanos_per_mega_work = self.nanos_per_mega_work(kind)?;
        match cost {
            Cost::Work(work) => {
                let nanos = u128::from(work) * u128::from(nanos_per_mega_work) / 1_000_000;
                Some(Span(u64::try_from(nanos).unwrap_or(u64::MAX)))
            }
            Cost::PerDevice { nanos, columns } => {
                let column = match &self.column {
                    None => device_place,
                    Some(name) => columns.iter().position(|column| column == name)?,
                };
                nanos.get(column).map(|nanos| Span(*nanos))
            }
        }
    }
}
