mod native;
mod schema;

use std::path::PathBuf;

use super::*;
use crate::task_graph::TaskCost;

/// A file of `workload/samples`.
fn sample(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("samples").join(name)
}

fn read_text(name: &str, text: &str) -> Result<ReadGraph, ReadError> {
    parse_graph(Path::new(name), text, &ReadOptions::default())
}

fn refusal(name: &str, text: &str) -> String {
    match read_text(name, text) {
        Ok(read) => panic!("accepted: {read:?}"),
        Err(error) => error.to_string(),
    }
}

#[test]
fn unknown_and_missing_files_are_named() {
    assert!(refusal("x.txt", "hello").starts_with("x.txt: no format is known by this name and content; say"));
    let message = read_graph(Path::new("/nowhere/x.json"), &ReadOptions::default()).unwrap_err().to_string();
    assert!(message.starts_with("/nowhere/x.json: cannot read `/nowhere/x.json`: "), "{message}");
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.json");
    std::fs::write(&path, b"\xff").unwrap();
    let message = read_graph(&path, &ReadOptions::default()).unwrap_err().to_string();
    assert!(message.ends_with("x.json: the text of the file is not UTF-8; save it as UTF-8"), "{message}");
    let options = ReadOptions { file_bytes_max: 0, ..ReadOptions::default() };
    let message = read_graph(&path, &options).unwrap_err().to_string();
    assert!(message.ends_with("is larger than the limit of 0 bytes"), "{message}");
}

#[test]
fn formats_have_names() {
    for format in GraphFormat::ALL {
        assert_eq!(GraphFormat::from_name(format.name()), Some(format));
    }
    assert_eq!(GraphFormat::from_name("x"), None);
}
