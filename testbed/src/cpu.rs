//! Processor time of the farm's processes, as the system accounts for it.
//!
//! Read from `/proc/PID/task/*/schedstat`, which counts nanoseconds; elsewhere than on Linux nothing is told.

use std::fs;
use std::time::Duration;

use crate::{Farm, Member};

/// Processor time by process.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CpuTimes {
    /// This process: the client.
    pub client: Duration,
    /// The scheduler.
    pub scheduler: Duration,
    /// All agents.
    pub agents: Duration,
}

impl CpuTimes {
    /// What the processes of a farm, and this one, have used so far.
    #[must_use]
    pub fn now(farm: &Farm) -> Self {
        let mut times = Self { client: of_process(std::process::id()), ..Self::default() };
        for (member, id) in farm.members() {
            let used = id.map_or(Duration::ZERO, of_process);
            match member {
                Member::Scheduler => times.scheduler += used,
                Member::Agent(_) => times.agents += used,
            }
        }
        times
    }

    /// What was used since.
    #[must_use]
    pub fn since(&self, before: &Self) -> Self {
        Self {
            client: self.client.saturating_sub(before.client),
            scheduler: self.scheduler.saturating_sub(before.scheduler),
            agents: self.agents.saturating_sub(before.agents),
        }
    }

    /// All of it.
    #[must_use]
    pub fn total(&self) -> Duration {
        self.client + self.scheduler + self.agents
    }
}

/// What the threads of a process that are still there have used.
#[must_use]
pub fn of_process(id: u32) -> Duration {
    // A process or a thread that has ended, and a system without these files, tell nothing.
    let threads = fs::read_dir(format!("/proc/{id}/task")).into_iter().flatten().flatten();
    let nanos = threads.filter_map(|thread| {
        let text = fs::read_to_string(thread.path().join("schedstat")).ok()?;
        text.split_whitespace().next()?.parse::<u64>().ok()
    });
    Duration::from_nanos(nanos.sum())
}

/// What this process and its living children have used.
#[must_use]
pub fn of_family() -> Duration {
    let own = std::process::id();
    let ids = fs::read_dir("/proc").into_iter().flatten().flatten();
    ids.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok())
        .filter(|id| *id == own || parent(*id) == Some(own))
        .map(of_process)
        .sum()
}

/// The parent of a process that is there.
fn parent(id: u32) -> Option<u32> {
    parent_of_line(&fs::read_to_string(format!("/proc/{id}/stat")).ok()?)
}

fn parent_of_line(line: &str) -> Option<u32> {
    // The name stands in parentheses and may hold anything, parentheses too.
    line.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(target_os = "linux")]
    fn work_shows_in_this_process_and_nothing_in_none() {
        let before = of_process(std::process::id());
        let sum: u64 = (0..50_000_000_u64).map(std::hint::black_box).fold(0, u64::wrapping_add);
        assert!(std::hint::black_box(sum) > 0);
        assert!(of_process(std::process::id()) > before);
        assert_eq!(of_process(u32::MAX), Duration::ZERO);
    }

    #[test]
    fn a_parent_is_read_beside_any_name() {
        assert_eq!(parent_of_line("12 (a ) b) S 7 1 1 0 -1 4194304"), Some(7));
        assert_eq!(parent_of_line("12 (a"), None);
    }
}
