//! Printing: text that may be cut off by its reader, tables, errors, JSON.
//!
//! Must never hold what is to be said.

use std::io::{IsTerminal, Write};
use std::process;

use serde::Serialize;

/// Prints to standard output. A reader that has gone (`| head`) ends the process quietly.
pub fn print(text: &str) {
    let mut output = std::io::stdout().lock();
    let written = output.write_all(text.as_bytes()).and_then(|()| output.flush());
    if let Err(error) = written {
        let is_closed = error.kind() == std::io::ErrorKind::BrokenPipe;
        process::exit(if is_closed { 0 } else { 1 });
    }
}

/// Prints a line to standard output.
pub fn line(text: impl AsRef<str>) {
    print(&format!("{}\n", text.as_ref()));
}

/// Prints a value as one document of JSON.
pub fn json(value: &impl Serialize) -> anyhow::Result<()> {
    line(serde_json::to_string_pretty(value)?);
    Ok(())
}

/// Prints an error and what caused it to standard error.
pub fn error(error: &anyhow::Error) {
    let mut text = format!("error: {error}");
    let mut last = error.to_string();
    for cause in error.chain().skip(1).map(ToString::to_string) {
        // Some errors show their source already.
        if !last.contains(&cause) {
            text.push_str("\n  because: ");
            text.push_str(&cause.replace('\n', "\n    "));
        }
        last = cause;
    }
    clear_progress();
    // Nothing can be told where standard error is closed.
    let _ = writeln!(std::io::stderr(), "{text}");
}

/// Shows a line of progress in place of the last one, where people watch.
pub fn progress(text: &str) {
    let mut stderr = std::io::stderr();
    if stderr.is_terminal() {
        let _ = write!(stderr, "\r\x1b[2K{text}");
        let _ = stderr.flush();
    }
}

/// Takes the line of progress away.
pub fn clear_progress() {
    progress("");
}

/// Columns under their headings; columns of numbers are flush right.
pub fn table(headings: &[&str], rows: &[Vec<String>]) -> String {
    let columns = headings.len();
    let cell = |row: &[String], column: usize| row.get(column).cloned().unwrap_or_default();
    let width = |text: &str| text.chars().count();
    let mut widths: Vec<usize> = headings.iter().map(|heading| width(heading)).collect();
    let mut are_numbers = vec![!rows.is_empty(); columns];
    for row in rows {
        for column in 0..columns {
            let text = cell(row, column);
            widths[column] = widths[column].max(width(&text));
            are_numbers[column] &= text.is_empty() || text.starts_with(|first: char| first.is_ascii_digit());
        }
    }
    let mut text = String::new();
    let headings: Vec<String> = headings.iter().map(|heading| (*heading).to_owned()).collect();
    for row in std::iter::once(&headings).chain(rows) {
        let cells = (0..columns).map(|column| {
            let (content, size) = (cell(row, column), widths[column]);
            if are_numbers[column] { format!("{content:>size$}") } else { format!("{content:<size$}") }
        });
        text.push_str(cells.collect::<Vec<_>>().join("  ").trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_of_numbers_are_flush_right() {
        let rows =
            [["agent-1", "12", "1.5 ms"], ["a", "3", "10.0 ms"]].map(|row| row.map(str::to_owned).to_vec());
        let shown = table(&["agent", "commands", "busy"], &rows);
        assert_eq!(
            shown,
            "agent    commands     busy\nagent-1        12   1.5 ms\na               3  10.0 ms\n"
        );
    }

    #[test]
    fn names_are_flush_left_and_missing_cells_are_empty() {
        assert_eq!(table(&["a", "b"], &[vec!["x".to_owned()]]), "a  b\nx\n");
    }
}
