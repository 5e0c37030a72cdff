//! Processor time of the farm's processes, as the system accounts for it.
//!
//! Read from `/proc/PID/task/*/schedstat`, which counts nanoseconds; elsewhere than on Linux nothing is told.

use std::fs;
use std::time::Duration;

use isochrone_testbed::{Farm, Member};

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
}
