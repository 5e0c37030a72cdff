//! Measured costs that outlive a scheduler: a file, written as a whole or not at all.
//!
//! It must never judge the costs themselves; the machine does.

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use isochrone_sched_core::CostSnapshot;

/// What the file begins with; the digit is the format.
const MAGIC: [u8; 8] = *b"ISOCOST1";

/// Why the costs cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum CostsError {
    /// The file cannot be read.
    #[error("cannot read measured costs {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's word.
        source: io::Error,
    },
    /// The file holds something else.
    #[error(
        "{} does not hold measured costs of this format; name another file, or remove it to measure \
         anew", path.display()
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// The decoder's word; `None` when the file begins with something else.
        source: Option<rmp_serde::decode::Error>,
    },
    /// The file cannot be written; what it held before is still there.
    #[error("cannot write measured costs {}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// The system's word.
        source: io::Error,
    },
    /// The costs do not serialise.
    #[error("cannot encode measured costs")]
    Encode(#[source] rmp_serde::encode::Error),
}

/// Reads the costs; `None` when there is no such file.
pub(crate) fn load(path: &Path) -> Result<Option<CostSnapshot>, CostsError> {
    let bytes = match std::fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(CostsError::Read { path: path.to_owned(), source }),
    };
    let Some(contents) = bytes.strip_prefix(&MAGIC) else {
        return Err(CostsError::Damaged { path: path.to_owned(), source: None });
    };
    rmp_serde::from_slice(contents)
        .map(Some)
        .map_err(|source| CostsError::Damaged { path: path.to_owned(), source: Some(source) })
}

/// The bytes of a file with these costs.
pub(crate) fn encode(costs: &CostSnapshot) -> Result<Vec<u8>, CostsError> {
    let mut bytes = MAGIC.to_vec();
    rmp_serde::encode::write(&mut bytes, costs).map_err(CostsError::Encode)?;
    Ok(bytes)
}

/// Puts the bytes in the file's place, whole or not at all.
pub(crate) fn save(path: &Path, bytes: &[u8]) -> Result<(), CostsError> {
    let mut new_name = path.as_os_str().to_owned();
    new_name.push(".new");
    let new_path = PathBuf::from(new_name);
    let write = || {
        let mut file = File::create(&new_path)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        std::fs::rename(&new_path, path)
    };
    write().map_err(|source| CostsError::Write { path: path.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use isochrone_model::Limits;

    use super::*;
    use crate::machine::{MachineConfig, new_machine};

    #[test]
    fn costs_come_back_and_a_missing_file_is_no_error() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("costs");
        assert!(load(&path).unwrap().is_none());
        let policy = crate::options::DEFAULT_POLICY.to_owned();
        let config = MachineConfig { limits: Limits::default(), policy, costs: None };
        let bytes = encode(&new_machine(config).unwrap().cost_snapshot()).unwrap();
        save(&path, &bytes).unwrap();
        let loaded = load(&path).unwrap().unwrap();
        assert_eq!(encode(&loaded).unwrap(), bytes);
    }

    #[test]
    fn a_damaged_file_is_named_with_what_to_do() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("costs");
        for contents in [&b""[..], b"something else", b"ISOCOST1", b"ISOCOST1\xc1\xc1"] {
            std::fs::write(&path, contents).unwrap();
            let shown = load(&path).unwrap_err().to_string();
            assert!(shown.contains("costs") && shown.contains("remove it"), "{shown}");
        }
    }

    #[test]
    fn a_failed_write_leaves_the_old_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("costs");
        save(&path, b"old").unwrap();
        std::fs::create_dir(folder.path().join("costs.new")).unwrap();
        assert!(matches!(save(&path, b"new"), Err(CostsError::Write { .. })));
        assert_eq!(std::fs::read(&path).unwrap(), b"old");
    }
}
