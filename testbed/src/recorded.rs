//! Live runs read back from their scheduler's journal, as something to simulate.
//!
//! Must never write to a journal.

use std::path::Path;

use isochrone_model::Timestamp;
use isochrone_sched_core::{Action, Event, Scheduler};
use isochrone_scheduler::{JournalStart, JournalVisitor, ReplayError, replay_visited};
use isochrone_sim::replay::{Recorder, Recording, RecordingError};

/// Why a journal is nothing to simulate.
#[derive(Debug, thiserror::Error)]
pub enum ReadRecordingError {
    /// It cannot be replayed.
    #[error("the journal cannot be replayed")]
    Replay(#[source] ReplayError),
    /// The machine of this build does something else than it did then.
    #[error("another build made the journal: event {event_number} gives other actions now")]
    OtherBuild {
        /// The first event that does.
        event_number: u64,
    },
    /// It holds no run.
    #[error("the journal cannot be simulated")]
    Recording(#[source] RecordingError),
}

/// Hands a journal's steps to a recorder.
#[derive(Default)]
struct Watcher {
    recorder: Option<Recorder>,
}

impl JournalVisitor for Watcher {
    fn begin(&mut self, start: JournalStart) {
        self.recorder = Some(Recorder::new(start.policy, start.limits, start.costs));
    }

    fn step(&mut self, now: Timestamp, event: &Event, actions: &[Action], machine: &Scheduler) {
        if let Some(recorder) = &mut self.recorder {
            recorder.step(now, event, actions, machine);
        }
    }
}

/// Reads the journal of a scheduler that has ended.
///
/// # Errors
/// `ReadRecordingError`.
pub fn read_recording(journal: &Path) -> Result<Recording, ReadRecordingError> {
    let mut watcher = Watcher::default();
    let report = replay_visited(journal, &mut watcher).map_err(ReadRecordingError::Replay)?;
    if let Some(mismatch) = report.mismatch {
        return Err(ReadRecordingError::OtherBuild { event_number: mismatch.event_number });
    }
    let empty = || ReadRecordingError::Recording(RecordingError::NoAgent);
    watcher.recorder.ok_or_else(empty)?.finish().map_err(ReadRecordingError::Recording)
}
