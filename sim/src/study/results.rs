//! Finished cells: a file to which a line is added for each, so that an interruption loses at most one.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::StudyError;
use super::grid::Study;

/// The first line of a file of results.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ResultsHeader {
    /// `isochrone-study-results`.
    pub format: String,
    /// Of the file.
    pub version: u32,
    /// The study's.
    pub study_digest: String,
    /// Digests of the files that the study names.
    pub inputs: BTreeMap<String, String>,
}

impl ResultsHeader {
    /// Of a study.
    #[must_use]
    pub fn new(study: &Study) -> Self {
        Self {
            format: "isochrone-study-results".to_owned(),
            version: 1,
            study_digest: study.digest(),
            inputs: study.inputs.clone(),
        }
    }
}

/// A finished cell.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CellRecord {
    /// The cell's key.
    pub key: String,
    /// How it ended.
    pub end: CellEnd,
    /// What the scheduler's turns took on the host's clock: no part of the result.
    pub decision_ns: Option<u64>,
}

/// How a cell ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CellEnd {
    /// With these measures.
    Done(CellMeasures),
    /// It did not: why.
    Failed(String),
}

/// What was measured; whole numbers, so that nothing is lost on the way through a file.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct CellMeasures {
    /// Tasks of the graph.
    pub tasks: u64,
    /// Slots of the cluster.
    pub slots: u64,
    /// Makespan.
    pub makespan_ns: u64,
    /// Until the client knew.
    pub turnaround_ns: u64,
    /// The longest path with every task at its fastest.
    pub critical_path_ns: u64,
    /// No run can be shorter: the larger of the critical path's and the area's bound.
    pub lower_bound_ns: u64,
    /// All work, shared out over all slots. Older results had the larger bound alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub area_bound_ns: Option<u64>,
    /// All tasks on the best single slot.
    pub alone_ns: Option<u64>,
    /// Busy time over all slots.
    pub busy_ns: u64,
    /// Bytes between hosts.
    pub moved_bytes: u64,
    /// Transfers.
    pub transfers: u64,
    /// Steps of all machines.
    pub steps: u64,
    /// Proposals refused.
    pub rejections: u64,
    /// Of the whole run.
    pub digest: String,
}

impl CellMeasures {
    /// The area's bound; `None` where an older file does not tell it.
    #[must_use]
    pub fn area_bound(&self) -> Option<u64> {
        // The larger of the two is told: it is the area's unless it is the critical path's.
        let larger = (self.lower_bound_ns > self.critical_path_ns).then_some(self.lower_bound_ns);
        self.area_bound_ns.or(larger)
    }
}

impl CellEnd {
    /// Whether two runs of a cell ended alike, as far as both files tell.
    #[must_use]
    pub fn agrees_with(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Done(here), Self::Done(there)) => {
                let told = here.area_bound_ns.and(there.area_bound_ns);
                let area_of = |of: &CellMeasures| told.and(of.area_bound_ns);
                let (here, there) = (
                    CellMeasures { area_bound_ns: area_of(here), ..here.clone() },
                    CellMeasures { area_bound_ns: area_of(there), ..there.clone() },
                );
                here == there
            }
            (Self::Failed(here), Self::Failed(there)) => here == there,
            (Self::Done(_), Self::Failed(_)) | (Self::Failed(_), Self::Done(_)) => false,
        }
    }
}

/// The file's name in a folder of results.
pub(super) const RESULTS_FILE: &str = "results.jsonl";

/// A file of results under way.
pub(super) struct ResultsFile {
    path: PathBuf,
    file: File,
}

impl ResultsFile {
    /// Begins one, or goes on with one: with the records that it holds.
    pub fn open(
        folder: &Path,
        header: &ResultsHeader,
        is_resumed: bool,
    ) -> Result<(Self, BTreeMap<String, CellRecord>), StudyError> {
        let path = folder.join(RESULTS_FILE);
        let mut records = BTreeMap::new();
        let is_there = fs::metadata(&path).is_ok_and(|metadata| metadata.len() > 0);
        if is_there {
            if !is_resumed {
                return Err(StudyError::ResultsExist { path: folder.to_owned() });
            }
            let (found, read, whole_bytes) = read(&path)?;
            if found != *header {
                return Err(StudyError::OtherStudy { path });
            }
            records = read;
            // Half a line at the end is what an interruption leaves.
            let file = OpenOptions::new().write(true).open(&path).map_err(StudyError::file(&path))?;
            file.set_len(whole_bytes).map_err(StudyError::file(&path))?;
        }
        let file =
            OpenOptions::new().create(true).append(true).open(&path).map_err(StudyError::file(&path))?;
        let mut results = Self { path, file };
        if !is_there {
            results.add(header)?;
        }
        Ok((results, records))
    }

    /// Adds a line.
    pub fn add(&mut self, value: &impl Serialize) -> Result<(), StudyError> {
        let mut line = serde_json::to_vec(value).map_err(StudyError::Json)?;
        line.push(b'\n');
        self.file.write_all(&line).map_err(StudyError::file(&self.path))
    }
}

/// A file of results: its header, its records, and how many bytes are whole lines.
pub(super) fn read(path: &Path) -> Result<(ResultsHeader, BTreeMap<String, CellRecord>, u64), StudyError> {
    let text = fs::read_to_string(path).map_err(StudyError::file(path))?;
    let whole = text.rfind('\n').map_or(0, |end| end + 1);
    let damaged = |line: usize| StudyError::Damaged { path: path.to_owned(), line };
    let mut lines = text[..whole].lines().enumerate();
    let (_, first) = lines.next().ok_or_else(|| damaged(1))?;
    let header: ResultsHeader = serde_json::from_str(first).map_err(|_| damaged(1))?;
    let mut records = BTreeMap::new();
    for (index, line) in lines {
        let record: CellRecord = serde_json::from_str(line).map_err(|_| damaged(index + 1))?;
        records.insert(record.key.clone(), record);
    }
    Ok((header, records, whole as u64))
}
