//! The journal: what the `Scheduler` machine was given and a digest of what it answered, in a file.
//!
//! A file is a magic, then frames of a length (`u32`, little endian) and that many bytes: first one
//! [`Header`], then one record for each step, `(Timestamp, Event)` in compact MessagePack followed by
//! eight bytes of digest. Events hold what clients submitted, sources of programs, inline contents and
//! session secrets included, so the file is made readable by its owner alone. Nothing here may decide
//! anything: replaying steps a fresh machine and compares.

use std::fs::{File, OpenOptions};
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, sync_channel};
use std::thread::JoinHandle;

use isochrone_model::{Limits, Timestamp};
use isochrone_sched_core::{Action, CostSnapshot, Event, PolicyError, Scheduler};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::machine::{MachineConfig, new_machine};

const MAGIC: [u8; 8] = *b"ISOJOURN";
const FORMAT: u32 = 2;
const DIGEST_BYTES: usize = 8;
const LENGTH_BYTES: usize = 4;

/// Turns of the loop that may wait for the disk. A disk that falls further behind slows the loop down,
/// since a journal with holes could not be replayed.
const TURNS_WAITING_MAX: usize = 1_024;

/// The first frame of a journal.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Header {
    format: u32,
    machine: MachineConfig,
}

/// Why a journal cannot be begun.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// The file cannot be made.
    #[error("cannot write journal {}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The system's word.
        source: io::Error,
    },
    /// The header does not serialise.
    #[error("cannot encode the header of journal {}", path.display())]
    Encode {
        /// The file.
        path: PathBuf,
        /// The encoder's word.
        source: rmp_serde::encode::Error,
    },
}

/// A journal being written, by a thread of its own.
#[derive(Debug)]
pub(crate) struct Journal {
    buffer: Vec<u8>,
    actions: Vec<u8>,
    record_start: usize,
    sender: Option<SyncSender<Vec<u8>>>,
    thread: Option<JoinHandle<()>>,
}

impl Journal {
    /// Begins a journal. A file that is there already is kept under its name with `.previous` added,
    /// in place of the one before it.
    pub(crate) fn create(path: &Path, machine: MachineConfig) -> Result<Self, JournalError> {
        let io_error = |source| JournalError::Io { path: path.to_owned(), source };
        if path.metadata().is_ok_and(|metadata| metadata.len() > 0) {
            let mut previous = path.as_os_str().to_owned();
            previous.push(".previous");
            std::fs::rename(path, previous).map_err(io_error)?;
        }
        let mut file = BufWriter::with_capacity(1 << 20, private_file(path).map_err(io_error)?);
        let header = rmp_serde::to_vec(&Header { format: FORMAT, machine })
            .map_err(|source| JournalError::Encode { path: path.to_owned(), source })?;
        file.write_all(&MAGIC)
            .and_then(|()| file.write_all(&(header.len() as u32).to_le_bytes()))
            .and_then(|()| file.write_all(&header))
            .and_then(|()| file.flush())
            .map_err(io_error)?;
        let (sender, receiver) = sync_channel(TURNS_WAITING_MAX);
        let shown = path.to_owned();
        let thread = std::thread::Builder::new()
            .name("journal".to_owned())
            .spawn(move || write_turns(&mut file, &receiver, &shown))
            .map_err(io_error)?;
        Ok(Self {
            buffer: Vec::new(),
            actions: Vec::new(),
            record_start: 0,
            sender: Some(sender),
            thread: Some(thread),
        })
    }

    /// Notes an event that is about to be stepped.
    pub(crate) fn record(&mut self, now: Timestamp, event: &Event) {
        self.record_start = self.buffer.len();
        self.buffer.extend_from_slice(&[0; LENGTH_BYTES]);
        if let Err(error) = rmp_serde::encode::write(&mut self.buffer, &(now, event)) {
            self.stop(&error);
        }
    }

    /// Notes what the machine answered to the event of the last `record`.
    pub(crate) fn answer(&mut self, actions: &[Action]) {
        if self.sender.is_none() {
            return;
        }
        match digest(actions, &mut self.actions) {
            Ok(digest) => self.buffer.extend_from_slice(&digest),
            Err(error) => return self.stop(&error),
        }
        let length = self.buffer.len() - self.record_start - LENGTH_BYTES;
        let Ok(length) = u32::try_from(length) else {
            return self.stop(&"an event of more than 4 GiB");
        };
        let place = self.record_start..self.record_start + LENGTH_BYTES;
        self.buffer[place].copy_from_slice(&length.to_le_bytes());
    }

    /// Hands the records of a turn to the writing thread.
    pub(crate) fn end_turn(&mut self) {
        if self.buffer.is_empty() {
            return;
        }
        let turn = std::mem::take(&mut self.buffer);
        // The thread says why when it ends before its time.
        let is_gone = self.sender.as_ref().is_some_and(|sender| sender.send(turn).is_err());
        if is_gone {
            self.sender = None;
        }
    }

    fn stop(&mut self, reason: &dyn std::fmt::Display) {
        tracing::error!("journal ends here: {reason}");
        self.buffer.truncate(self.record_start);
        self.end_turn();
        self.sender = None;
    }
}

impl Drop for Journal {
    /// Waits until everything is in the file.
    fn drop(&mut self) {
        self.end_turn();
        self.sender = None;
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the journal's thread panicked");
        }
    }
}

fn private_file(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

/// Writes turns as they come, and flushes whenever none waits.
fn write_turns(file: &mut BufWriter<File>, turns: &Receiver<Vec<u8>>, path: &Path) {
    loop {
        let turn = match turns.try_recv() {
            Ok(turn) => Some(turn),
            Err(TryRecvError::Disconnected) => None,
            Err(TryRecvError::Empty) => match file.flush() {
                Ok(()) => turns.recv().ok(),
                Err(error) => return tracing::error!("journal {} ends here: {error}", path.display()),
            },
        };
        let written = match &turn {
            Some(turn) => file.write_all(turn),
            None => file.flush(),
        };
        if let Err(error) = written {
            return tracing::error!("journal {} ends here: {error}", path.display());
        }
        if turn.is_none() {
            return;
        }
    }
}

fn digest(actions: &[Action], scratch: &mut Vec<u8>) -> Result<[u8; DIGEST_BYTES], rmp_serde::encode::Error> {
    scratch.clear();
    rmp_serde::encode::write(scratch, actions)?;
    let mut digest = [0; DIGEST_BYTES];
    digest.copy_from_slice(&Sha256::digest(&*scratch)[..DIGEST_BYTES]);
    Ok(digest)
}

/// What a replay found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReplayReport {
    /// The farm's policy.
    pub policy: String,
    /// Events stepped.
    pub events: u64,
    /// Actions that the machine answered with.
    pub actions: u64,
    /// Time from the first event to the last.
    pub span: isochrone_model::Span,
    /// The first step whose actions differ from those of the live run; the replay ends there.
    pub mismatch: Option<Mismatch>,
    /// Where an incomplete last record begins, in bytes; a scheduler that was killed leaves one.
    pub truncated_at_bytes: Option<u64>,
}

/// A step that went another way than in the live run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mismatch {
    /// Its number, from 0.
    pub event_number: u64,
    /// When it was.
    pub now: Timestamp,
    /// The event, for people.
    pub event: String,
    /// What the replay answered, for people.
    pub actions: String,
}

/// Why a journal cannot be replayed.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// The file cannot be read.
    #[error("cannot read journal {}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The system's word.
        source: io::Error,
    },
    /// The file is something else.
    #[error("{} is not a journal of Isochrone", path.display())]
    NotAJournal {
        /// The file.
        path: PathBuf,
    },
    /// The file is of another format.
    #[error("journal {} has format {found}, this build reads {FORMAT}", path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// Its format.
        found: u32,
    },
    /// A whole frame does not hold what it should.
    #[error("journal {} is damaged at byte {at_bytes}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Where the frame begins, in bytes.
        at_bytes: u64,
        /// The decoder's word; `None` when the frame is too short for its digest.
        source: Option<rmp_serde::decode::Error>,
    },
    /// The journal's policy is not one of this build.
    #[error("journal {}: {reason}", path.display())]
    Policy {
        /// The file.
        path: PathBuf,
        /// Why, with the labels there are.
        reason: PolicyError,
    },
    /// The machine's answer does not serialise.
    #[error("cannot encode actions")]
    Encode(#[source] rmp_serde::encode::Error),
}

/// How the machine of a journal began.
#[derive(Clone, Debug)]
pub struct JournalStart {
    /// The farm's bounds.
    pub limits: Limits,
    /// The farm's policy.
    pub policy: String,
    /// What was remembered of earlier lives.
    pub costs: Option<CostSnapshot>,
}

/// Is shown each step of a replay.
pub trait JournalVisitor {
    /// How the machine begins; comes first, once.
    fn begin(&mut self, start: JournalStart);

    /// A step, after it: the machine is as the step left it.
    fn step(&mut self, now: Timestamp, event: &Event, actions: &[Action], machine: &Scheduler);
}

/// Is shown nothing.
struct Nobody;

impl JournalVisitor for Nobody {
    fn begin(&mut self, _start: JournalStart) {}

    fn step(&mut self, _now: Timestamp, _event: &Event, _actions: &[Action], _machine: &Scheduler) {}
}

/// Steps a fresh machine through a journal and compares every answer with the live run's.
///
/// An incomplete last record is left out and reported.
///
/// # Errors
/// `ReplayError` when the file cannot be read, is no journal of this format, or is damaged before its
/// end.
pub fn replay(path: &Path) -> Result<ReplayReport, ReplayError> {
    replay_visited(path, &mut Nobody)
}

/// [`replay`], with someone who is shown each step that agrees.
///
/// # Errors
/// As [`replay`].
pub fn replay_visited(path: &Path, visitor: &mut dyn JournalVisitor) -> Result<ReplayReport, ReplayError> {
    let mut frames = Frames::open(path)?;
    let damaged = |at_bytes, source| ReplayError::Damaged { path: path.to_owned(), at_bytes, source };
    let start = frames.at_bytes;
    let Frame::Whole(header) = frames.next()? else {
        return Err(ReplayError::NotAJournal { path: path.to_owned() });
    };
    let format: FormatOnly = read(header).map_err(|source| damaged(start, Some(source)))?;
    if format.0 != FORMAT {
        return Err(ReplayError::Format { path: path.to_owned(), found: format.0 });
    }
    let header: Header = rmp_serde::from_slice(header).map_err(|source| damaged(start, Some(source)))?;
    let mut report = ReplayReport {
        policy: header.machine.policy.clone(),
        events: 0,
        actions: 0,
        span: isochrone_model::Span::ZERO,
        mismatch: None,
        truncated_at_bytes: None,
    };
    let MachineConfig { limits, policy, costs } = header.machine.clone();
    visitor.begin(JournalStart { limits, policy, costs });
    let mut machine = new_machine(header.machine)
        .map_err(|reason| ReplayError::Policy { path: path.to_owned(), reason })?;
    let mut scratch = Vec::new();
    let mut first = None;
    while report.mismatch.is_none() {
        let at_bytes = frames.at_bytes;
        let frame = match frames.next()? {
            Frame::Whole(frame) => frame,
            Frame::End => break,
            Frame::Cut => {
                report.truncated_at_bytes = Some(at_bytes);
                break;
            }
        };
        let Some((record, expected)) = frame.split_last_chunk::<DIGEST_BYTES>() else {
            return Err(damaged(at_bytes, None));
        };
        let (now, event): (Timestamp, Event) =
            rmp_serde::from_slice(record).map_err(|source| damaged(at_bytes, Some(source)))?;
        report.span = now.since(*first.get_or_insert(now));
        let actions = machine.step(now, event.clone());
        if digest(&actions, &mut scratch).map_err(ReplayError::Encode)? == *expected {
            visitor.step(now, &event, &actions, &machine);
        } else {
            report.mismatch = Some(Mismatch {
                event_number: report.events,
                now,
                event: format!("{event:?}"),
                actions: format!("{actions:?}"),
            });
        }
        report.events += 1;
        report.actions += actions.len() as u64;
    }
    Ok(report)
}

/// The one field of a header that every format has, at its front.
struct FormatOnly(u32);

/// Reads the first field of a header, an array of fields, and no more: later ones may differ.
fn read(header: &[u8]) -> Result<FormatOnly, rmp_serde::decode::Error> {
    let fields = header.get(1..).unwrap_or_default();
    rmp_serde::from_read(fields).map(FormatOnly)
}

/// The frames of a file, one at a time.
struct Frames {
    file: BufReader<File>,
    path: PathBuf,
    buffer: Vec<u8>,
    at_bytes: u64,
    size_bytes: u64,
}

enum Frame<'a> {
    Whole(&'a [u8]),
    Cut,
    End,
}

impl Frames {
    fn open(path: &Path) -> Result<Self, ReplayError> {
        let io_error = |source| ReplayError::Io { path: path.to_owned(), source };
        let file = File::open(path).map_err(io_error)?;
        let size_bytes = file.metadata().map_err(io_error)?.len();
        let mut file = BufReader::new(file);
        let mut magic = [0; MAGIC.len()];
        if size_bytes < MAGIC.len() as u64 {
            return Err(ReplayError::NotAJournal { path: path.to_owned() });
        }
        file.read_exact(&mut magic).map_err(io_error)?;
        if magic != MAGIC {
            return Err(ReplayError::NotAJournal { path: path.to_owned() });
        }
        let at_bytes = MAGIC.len() as u64;
        Ok(Self { file, path: path.to_owned(), buffer: Vec::new(), at_bytes, size_bytes })
    }

    fn next(&mut self) -> Result<Frame<'_>, ReplayError> {
        let left = self.size_bytes - self.at_bytes;
        if left == 0 {
            return Ok(Frame::End);
        }
        if left < LENGTH_BYTES as u64 {
            return Ok(Frame::Cut);
        }
        let mut length = [0; LENGTH_BYTES];
        self.read_exact(&mut length)?;
        let length = u32::from_le_bytes(length);
        // A length of zero is what a crash of the machine leaves where bytes were not written.
        if u64::from(length) > left - LENGTH_BYTES as u64 || length == 0 {
            return Ok(Frame::Cut);
        }
        let mut buffer = std::mem::take(&mut self.buffer);
        buffer.resize(length as usize, 0);
        self.read_exact(&mut buffer)?;
        self.buffer = buffer;
        self.at_bytes += LENGTH_BYTES as u64 + u64::from(length);
        Ok(Frame::Whole(&self.buffer))
    }

    fn read_exact(&mut self, bytes: &mut [u8]) -> Result<(), ReplayError> {
        self.file.read_exact(bytes).map_err(|source| ReplayError::Io { path: self.path.clone(), source })
    }
}

#[cfg(test)]
mod tests {
    use isochrone_model::SessionId;

    use super::*;

    fn config() -> MachineConfig {
        MachineConfig { limits: Limits::default(), policy: default_policy(), costs: None }
    }

    fn default_policy() -> String {
        crate::options::DEFAULT_POLICY.to_owned()
    }

    fn write(path: &Path, steps: u64) {
        let mut machine = new_machine(config()).unwrap();
        let mut journal = Journal::create(path, config()).unwrap();
        for number in 0..steps {
            let now = Timestamp(number * 1_000);
            let event = Event::SessionLeft { session: SessionId(number), reason: "never was".to_owned() };
            journal.record(now, &event);
            let actions = machine.step(now, event);
            journal.answer(&actions);
            journal.end_turn();
        }
    }

    #[test]
    fn what_was_written_replays_without_a_difference() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal");
        write(&path, 20);
        let report = replay(&path).unwrap();
        assert_eq!((report.events, report.mismatch, report.truncated_at_bytes), (20, None, None));
        assert_eq!(report.span, isochrone_model::Span(19_000));
    }

    #[test]
    fn a_cut_last_record_is_reported_wherever_it_is_cut() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal");
        write(&path, 2);
        let two = std::fs::read(&path).unwrap();
        write(&path, 3);
        let three = std::fs::read(&path).unwrap();
        assert_eq!(three[..two.len()], two[..]);
        for length in two.len() + 1..three.len() {
            std::fs::write(&path, &three[..length]).unwrap();
            let report = replay(&path).unwrap();
            assert_eq!((report.events, report.truncated_at_bytes), (2, Some(two.len() as u64)));
        }
    }

    #[test]
    fn another_answer_is_found_and_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal");
        write(&path, 3);
        let mut bytes = std::fs::read(&path).unwrap();
        *bytes.last_mut().unwrap() ^= 1;
        std::fs::write(&path, &bytes).unwrap();
        let mismatch = replay(&path).unwrap().mismatch.unwrap();
        assert_eq!((mismatch.event_number, mismatch.now), (2, Timestamp(2_000)));
        assert!(mismatch.event.contains("never was"), "{}", mismatch.event);
    }

    #[test]
    fn damage_and_foreign_files_are_errors_that_say_where() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal");
        write(&path, 1);
        let first = std::fs::read(&path).unwrap().len();
        write(&path, 3);
        let mut bytes = std::fs::read(&path).unwrap();
        bytes[first + LENGTH_BYTES..first + LENGTH_BYTES + 3].fill(0xc1);
        std::fs::write(&path, &bytes).unwrap();
        let error = replay(&path).unwrap_err();
        assert!(matches!(error, ReplayError::Damaged { at_bytes, .. } if at_bytes == first as u64));
        std::fs::write(&path, "another file").unwrap();
        assert!(matches!(replay(&path), Err(ReplayError::NotAJournal { .. })));
        assert!(matches!(replay(&folder.path().join("none")), Err(ReplayError::Io { .. })));
    }

    #[test]
    fn the_journal_before_is_kept() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal");
        write(&path, 5);
        write(&path, 1);
        assert_eq!(replay(&path).unwrap().events, 1);
        assert_eq!(replay(&folder.path().join("journal.previous")).unwrap().events, 5);
    }
}
