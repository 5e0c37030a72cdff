//! A report in two files: Markdown for people, JSON for programs, both with the conditions of the run.

use std::path::Path;

use anyhow::Context;
use isochrone_metrics::RunManifest;
use serde::Serialize;

/// The manifest of a run that begins now; `command_line` is what repeats it.
///
/// # Errors
/// When the host's calendar is before 1970.
#[expect(clippy::disallowed_methods, reason = "a report says when it was made")]
pub fn manifest(command_line: Vec<String>) -> anyhow::Result<RunManifest> {
    let started = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?.as_secs();
    Ok(RunManifest::new(started, env!("CARGO_PKG_VERSION"), command_line))
}

/// Writes `NAME.md` (title, how it came to be, the manifest, then `body`) and `NAME.json` (the manifest and `content`).
///
/// # Errors
/// When the folder or a file cannot be written.
pub fn write(
    directory: &Path,
    name: &str,
    title: &str,
    manifest: &RunManifest,
    body: &str,
    content: &impl Serialize,
) -> anyhow::Result<()> {
    #[derive(Serialize)]
    struct Report<'a, T> {
        manifest: &'a RunManifest,
        #[serde(flatten)]
        content: &'a T,
    }
    let text = format!(
        "# {title}\n\nWritten by `{}`.\n\n{}\n{body}",
        manifest.command_line.join(" "),
        manifest.table()
    );
    let json = serde_json::to_string_pretty(&Report { manifest, content })? + "\n";
    let file = |extension: &str| directory.join(format!("{name}.{extension}"));
    std::fs::create_dir_all(directory)
        .and_then(|()| std::fs::write(file("md"), text))
        .and_then(|()| std::fs::write(file("json"), json))
        .with_context(|| format!("cannot write {name} into {}", directory.display()))
}

/// The median of some numbers; 0 of none.
#[must_use]
pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    match values.len() {
        0 => 0.0,
        count if count % 2 == 1 => values[count / 2],
        count => f64::midpoint(values[count / 2 - 1], values[count / 2]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians_of_odd_even_and_no_numbers() {
        assert_eq!(median(vec![3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(vec![4.0, 1.0, 2.0, 3.0]), 2.5);
        assert_eq!(median(Vec::new()), 0.0);
    }

    #[test]
    fn a_report_has_its_conditions_in_both_files() {
        #[derive(Serialize)]
        struct Content {
            answer: u32,
        }
        let folder = tempfile::tempdir().unwrap();
        let manifest = manifest(vec!["some-bench".to_owned(), "--quick".to_owned()]).unwrap();
        write(folder.path(), "some", "Some", &manifest, "body\n", &Content { answer: 42 }).unwrap();
        let text = std::fs::read_to_string(folder.path().join("some.md")).unwrap();
        assert!(text.starts_with("# Some\n\nWritten by `some-bench --quick`.") && text.ends_with("body\n"));
        let json = std::fs::read_to_string(folder.path().join("some.json")).unwrap();
        let json: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert_eq!((&json["answer"], json["manifest"]["machine"]["cores"].is_u64()), (&42.into(), true));
    }
}
