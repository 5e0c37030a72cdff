//! Reports on their way to the scheduler, and the count of those that it has taken.
//!
//! The driver adds reports of its own (measured links), of which the machine knows nothing; counts of
//! the scheduler are translated, so that the machine sees its own alone. It must never reorder reports.

use std::collections::VecDeque;

use isochrone_model::order::BuildOutcome;
use isochrone_model::{Report, TaskOutcome};

/// Reports go out in frames of about this size, a quarter of what a frame may hold.
const FRAME_BYTES_AIM: usize = 1 << 20;

/// A compiler's log is cut to this: people read its beginning, and it must fit a frame.
const LOG_BYTES_MAX: usize = 256 << 10;

/// Reports of one connection to the scheduler.
#[derive(Debug, Default)]
pub(crate) struct Reports {
    waiting: Vec<Report>,
    made: u64,
    /// Numbers, from 1, of the driver's own reports that the scheduler has not taken.
    own: VecDeque<u64>,
    own_taken: u64,
}

impl Reports {
    /// Adds a report of the machine.
    pub(crate) fn push(&mut self, mut report: Report) {
        shorten(&mut report);
        self.made += 1;
        self.waiting.push(report);
    }

    /// Adds a report of the driver.
    pub(crate) fn push_own(&mut self, report: Report) {
        self.push(report);
        self.own.push_back(self.made);
    }

    /// How many of the machine's reports are among the first `taken`.
    pub(crate) fn machine_taken(&mut self, taken: u64) -> u64 {
        while self.own.front().is_some_and(|number| *number <= taken) {
            self.own.pop_front();
            self.own_taken += 1;
        }
        taken.saturating_sub(self.own_taken)
    }

    /// Hands out what waits, in parts that each fit a frame.
    pub(crate) fn take(&mut self) -> Vec<Vec<Report>> {
        let mut parts = Vec::new();
        let mut part_bytes = FRAME_BYTES_AIM;
        for report in self.waiting.drain(..) {
            let report_bytes = estimated_bytes(&report);
            part_bytes += report_bytes;
            if part_bytes > FRAME_BYTES_AIM {
                parts.push(Vec::new());
                part_bytes = report_bytes;
            }
            if let Some(part) = parts.last_mut() {
                part.push(report);
            }
        }
        parts
    }
}

fn shorten(report: &mut Report) {
    if let Report::Built { outcome: BuildOutcome::Built { log, .. } | BuildOutcome::Failed { log }, .. } =
        report
        && log.len() > LOG_BYTES_MAX
    {
        let mut end = LOG_BYTES_MAX;
        while !log.is_char_boundary(end) {
            end -= 1;
        }
        log.truncate(end);
        log.push_str("\n(cut here)");
    }
}

/// About what a report takes in a frame.
fn estimated_bytes(report: &Report) -> usize {
    match report {
        Report::Built { outcome: BuildOutcome::Built { kernels, log }, .. } => {
            let arguments: usize = kernels.iter().map(|kernel| kernel.signature.arguments.len()).sum();
            64 + log.len() + 256 * kernels.len() + 128 * arguments
        }
        Report::Built { outcome: BuildOutcome::Failed { log }, .. } => 64 + log.len(),
        Report::Finished { outcome: TaskOutcome::Failed(error), .. } => 128 + error.to_string().len(),
        Report::Finished { outcome: TaskOutcome::Done { .. }, .. } => 64,
        Report::PushFailed { reason, .. } => 96 + reason.len(),
        Report::Memory { device_bytes, .. } => 32 + 9 * device_bytes.len(),
        Report::Arrived { .. } | Report::Carried { .. } | Report::Retracted { .. } => 96,
        Report::PathMeasured { sample, .. } => 96 + 9 * sample.round_trips.len(),
    }
}

#[cfg(test)]
mod tests {
    use isochrone_model::{AgentId, DeviceIndex, LinkEnd, PathSample, ProgramKey};

    use super::*;

    fn measured() -> Report {
        Report::PathMeasured { to: LinkEnd::Agent(AgentId(1)), sample: PathSample::default() }
    }

    fn built(log_bytes: usize) -> Report {
        let outcome = BuildOutcome::Failed { log: "é".repeat(log_bytes / 2) };
        Report::Built { program: ProgramKey(1), device: DeviceIndex(0), outcome }
    }

    #[test]
    fn the_machine_counts_its_own_reports_only() {
        let mut reports = Reports::default();
        reports.push(built(2));
        reports.push_own(measured());
        reports.push(built(2));
        reports.push_own(measured());
        reports.push(built(2));
        let taken: Vec<u64> = (0..=5).map(|taken| reports.machine_taken(taken)).collect();
        assert_eq!(taken, [0, 1, 1, 2, 2, 3]);
    }

    #[test]
    fn many_reports_go_in_several_frames_in_order_and_long_logs_are_cut() {
        let mut reports = Reports::default();
        for _ in 0..9 {
            reports.push(built(2 * LOG_BYTES_MAX + 1));
        }
        reports.push(measured());
        let parts = reports.take();
        assert!(parts.len() >= 3 && parts.iter().all(|part| (1..=4).contains(&part.len())));
        assert_eq!(parts.iter().map(Vec::len).sum::<usize>(), 10);
        assert_eq!(parts.last().and_then(|part| part.last()), Some(&measured()));
        let Report::Built { outcome: BuildOutcome::Failed { log }, .. } = &parts[0][0] else {
            panic!("another report came first");
        };
        assert!(log.len() < LOG_BYTES_MAX + 20 && log.ends_with("(cut here)"));
        assert!(reports.take().is_empty());
    }
}
