//! Shards joined.

use std::fs;
use std::path::{Path, PathBuf};

use isochrone_metrics::RunManifest;

use super::grid::Study;
use super::html::write_all;
use super::results::{RESULTS_FILE, ResultsFile, read};
use super::run::{Progress, Records, StudySummary, gantt_file, write_manifest};
use super::{CellEnd, CellRecord, StudyError};

/// Joins the results of folders into another and writes tables and report, as one run of the whole would have.
///
/// # Errors
/// When a file cannot be used, or the folders do not hold results of one and the same study.
pub fn merge(folders: &[PathBuf], output: &Path, manifest: &RunManifest) -> Result<StudySummary, StudyError> {
    let first = folders.first().ok_or(StudyError::NoFolders)?;
    let (header, _, _) = read(&first.join(RESULTS_FILE))?;
    let mut records = Records::new();
    for folder in folders {
        let path = folder.join(RESULTS_FILE);
        let (found, read, _) = read(&path)?;
        if found != header {
            return Err(StudyError::OtherStudy { path });
        }
        for (key, record) in read {
            if let Some(known) = records.get(&key)
                && !known.end.agrees_with(&record.end)
            {
                return Err(StudyError::Conflict { key });
            }
            // Of two that agree, the one that tells more.
            let is_fuller = |known: &CellRecord| known.end == record.end || tells_area(&record);
            if records.get(&key).is_none_or(is_fuller) {
                records.insert(key, record);
            }
        }
    }
    let path = first.join("study.toml");
    let text = fs::read_to_string(&path).map_err(StudyError::file(&path))?;
    let study = Study::recorded(&path, text, header.inputs.clone())?;
    if study.digest() != header.study_digest {
        return Err(StudyError::OtherStudy { path });
    }
    fs::create_dir_all(output).map_err(StudyError::file(output))?;
    let (mut results, known) = ResultsFile::open(output, &header, true)?;
    for (key, record) in &records {
        if !known.contains_key(key) {
            results.add(record)?;
        }
    }
    let copy = output.join("study.toml");
    fs::write(&copy, &study.text).map_err(StudyError::file(&copy))?;
    write_manifest(output, manifest)?;
    copy_gantts(&study, folders, output)?;
    let written = write_all(&study, &records, output)?;
    let failed = records.values().filter(|record| matches!(record.end, CellEnd::Failed(_))).count();
    let cells = study.instance_count() * study.policies.len();
    let progress = Progress { cells, finished: records.len(), failed, ..Progress::default() };
    Ok(StudySummary {
        progress,
        found: records.len(),
        files: written.files,
        sentences: written.sentences,
        notes: study.notes(),
    })
}

fn tells_area(record: &CellRecord) -> bool {
    match &record.end {
        CellEnd::Done(measures) => measures.area_bound_ns.is_some(),
        CellEnd::Failed(_) => false,
    }
}

fn copy_gantts(study: &Study, folders: &[PathBuf], output: &Path) -> Result<(), StudyError> {
    for number in 0..study.gantt_cells().len() {
        let name = Path::new("figures").join(gantt_file(number));
        let Some(from) = folders.iter().map(|folder| folder.join(&name)).find(|path| path.is_file()) else {
            continue;
        };
        let to = output.join(&name);
        if from != to {
            let figures = output.join("figures");
            fs::create_dir_all(&figures).map_err(StudyError::file(&figures))?;
            fs::copy(&from, &to).map_err(StudyError::file(&from))?;
        }
    }
    Ok(())
}
