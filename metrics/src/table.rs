//! Tables in Markdown, aligned so that they also read well as plain text.

use std::fmt;

/// On which side a column's cells begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Alignment {
    /// Words.
    Left,
    /// Numbers.
    Right,
}

/// A table; `Display` writes it as Markdown.
#[derive(Clone, Debug)]
pub struct Table {
    columns: Vec<(String, Alignment)>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table with these columns and no rows.
    #[must_use]
    pub fn new(columns: &[(&str, Alignment)]) -> Self {
        let columns = columns.iter().map(|(name, alignment)| (cell(name), *alignment)).collect();
        Self { columns, rows: Vec::new() }
    }

    /// Adds a row. Cells that are missing are empty, cells beyond the columns are left out.
    pub fn row<C: AsRef<str>>(&mut self, cells: impl IntoIterator<Item = C>) {
        let mut row: Vec<String> = cells.into_iter().map(|text| cell(text.as_ref())).collect();
        row.resize(self.columns.len(), String::new());
        self.rows.push(row);
    }

    /// Whether it has no rows.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }
}

/// What would end a cell or a row is replaced.
fn cell(text: &str) -> String {
    text.replace('|', "\\|").replace(['\n', '\r'], " ")
}

impl fmt::Display for Table {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let length = |text: &String| text.chars().count();
        let widths: Vec<usize> = (0..self.columns.len())
            .map(|column| {
                let cells = self.rows.iter().map(|row| length(&row[column]));
                cells.chain([length(&self.columns[column].0), 3]).max().unwrap_or(3)
            })
            .collect();
        let write_row = |formatter: &mut fmt::Formatter<'_>, cells: &mut dyn Iterator<Item = &String>| {
            for ((text, width), (_, alignment)) in cells.zip(&widths).zip(&self.columns) {
                match alignment {
                    Alignment::Left => write!(formatter, "| {text:<width$} ")?,
                    Alignment::Right => write!(formatter, "| {text:>width$} ")?,
                }
            }
            writeln!(formatter, "|")
        };
        write_row(formatter, &mut self.columns.iter().map(|(name, _)| name))?;
        for (width, (_, alignment)) in widths.iter().zip(&self.columns) {
            match alignment {
                Alignment::Left => write!(formatter, "|{:-<1$}", "", width + 2)?,
                Alignment::Right => write!(formatter, "|{:-<1$}:", "", width + 1)?,
            }
        }
        writeln!(formatter, "|")?;
        for row in &self.rows {
            write_row(formatter, &mut row.iter())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up_and_cells_stay_in_their_row() {
        let mut table = Table::new(&[("figure", Alignment::Left), ("us", Alignment::Right)]);
        assert!(table.is_empty());
        table.row(["no-op|launch", "81.4"]);
        table.row(["two\nlines"]);
        let expected = "\
| figure        |   us |
|---------------|-----:|
| no-op\\|launch | 81.4 |
| two lines     |      |
";
        assert_eq!(table.to_string(), expected);
    }
}
