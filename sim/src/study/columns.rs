//! Results as a tidy table: a row for each cell in the order of the grid, a column for each variable.

use std::collections::BTreeSet;

use super::grid::{Cell, Point, Study};
use super::results::{CellEnd, CellMeasures};
use super::run::Records;

/// A column.
#[derive(Clone, Debug, PartialEq)]
pub struct Column {
    /// Its name, with the unit last.
    pub name: String,
    /// Its values, by row.
    pub values: Values,
}

/// Values of one type; `None` where there is none.
#[derive(Clone, Debug, PartialEq)]
pub enum Values {
    /// Text.
    Text(Vec<Option<String>>),
    /// Whole numbers.
    Whole(Vec<Option<i64>>),
    /// Numbers.
    Real(Vec<Option<f64>>),
}

impl Values {
    /// How many rows there are.
    #[must_use]
    pub fn len(&self) -> usize {
        match self {
            Self::Text(values) => values.len(),
            Self::Whole(values) => values.len(),
            Self::Real(values) => values.len(),
        }
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn cell(&self, row: usize) -> String {
        match self {
            Self::Text(values) => values[row].as_deref().map(quoted).unwrap_or_default(),
            Self::Whole(values) => values[row].map(|value| value.to_string()).unwrap_or_default(),
            Self::Real(values) => values[row].map(|value| value.to_string()).unwrap_or_default(),
        }
    }
}

/// As RFC 4180 has it.
fn quoted(text: &str) -> String {
    if text.contains([',', '"', '\n', '\r']) {
        format!("\"{}\"", text.replace('"', "\"\""))
    } else {
        text.to_owned()
    }
}

/// The table of all cells that have a record.
#[must_use]
pub fn columns(study: &Study, records: &Records) -> Vec<Column> {
    let names = study.policy_names();
    let mut rows: Vec<(Cell, &CellEnd)> = Vec::with_capacity(records.len());
    for instance in study.instances() {
        for policy in 0..names.len() {
            let cell = Cell { instance, policy };
            if let Some(record) = records.get(&study.key(cell)) {
                rows.push((cell, &record.end));
            }
        }
    }
    let text =
        |of: &dyn Fn(&Cell) -> String| Values::Text(rows.iter().map(|(cell, _)| Some(of(cell))).collect());
    let graph = |cell: &Cell| &study.graphs[cell.instance.graph];
    let cluster = |cell: &Cell| &study.clusters[cell.instance.cluster];
    let mut table = vec![
        column("graph_family", text(&|cell| graph(cell).family.clone())),
        column("graph", text(&|cell| study.graph_text(cell.instance))),
    ];
    add_parameters(&mut table, "graph", &study.graphs, &rows.iter().map(|(cell, _)| graph(cell)));
    table.push(column("cluster_family", text(&|cell| cluster(cell).family.clone())));
    table.push(column("cluster", text(&|cell| study.cluster_text(cell.instance))));
    add_parameters(&mut table, "cluster", &study.clusters, &rows.iter().map(|(cell, _)| cluster(cell)));
    table.push(column("network", text(&|cell| study.file.networks[cell.instance.network].clone())));
    table.push(column("knowledge", text(&|cell| study.knowledge[cell.instance.knowledge].to_string())));
    let seeds = rows.iter().map(|(cell, _)| Some(whole(cell.instance.seed)));
    table.push(column("seed", Values::Whole(seeds.collect())));
    table.push(column("policy", text(&|cell| names[cell.policy].clone())));
    table.push(column("policy_label", text(&|cell| study.policy_label(*cell))));
    let failures = rows.iter().map(|(_, end)| match end {
        CellEnd::Done(_) => None,
        CellEnd::Failed(reason) => Some(reason.clone()),
    });
    table.push(column("failure", Values::Text(failures.collect())));
    add_measures(&mut table, &rows.iter().map(|(_, end)| *end).collect::<Vec<_>>());
    table
}

/// Numbers beyond 63 bits do not occur in what is measured; seeds beyond are shown as the largest.
fn whole(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

fn column(name: &str, values: Values) -> Column {
    Column { name: name.to_owned(), values }
}

/// A column for each name of `for`: numbers where all its values are.
fn add_parameters<'a>(
    table: &mut Vec<Column>,
    prefix: &str,
    points: &[Point],
    rows: &(impl Iterator<Item = &'a Point> + Clone),
) {
    let names: BTreeSet<&String> = points.iter().flat_map(|point| point.parameters.keys()).collect();
    for name in names {
        let given = rows.clone().map(|point| point.parameters.get(name));
        let is_number = |text: &String| text.parse::<f64>().is_ok_and(f64::is_finite);
        let values = if points.iter().filter_map(|point| point.parameters.get(name)).all(is_number) {
            Values::Real(given.map(|text| text.and_then(|text| text.parse().ok())).collect())
        } else {
            Values::Text(given.map(Option::<&String>::cloned).collect())
        };
        table.push(Column { name: format!("{prefix}_{name}"), values });
    }
}

fn add_measures(table: &mut Vec<Column>, ends: &[&CellEnd]) {
    let done = || {
        ends.iter().map(|end| match end {
            CellEnd::Done(measures) => Some(measures),
            CellEnd::Failed(_) => None,
        })
    };
    type Part = fn(&CellMeasures) -> Option<u64>;
    let wholes: [(&str, Part); 11] = [
        ("tasks", |of| Some(of.tasks)),
        ("slots", |of| Some(of.slots)),
        ("makespan_ns", |of| Some(of.makespan_ns)),
        ("turnaround_ns", |of| Some(of.turnaround_ns)),
        ("lower_bound_ns", |of| Some(of.lower_bound_ns)),
        ("critical_path_ns", |of| Some(of.critical_path_ns)),
        ("area_bound_ns", CellMeasures::area_bound),
        ("moved_bytes", |of| Some(of.moved_bytes)),
        ("transfers", |of| Some(of.transfers)),
        ("steps", |of| Some(of.steps)),
        ("rejections", |of| Some(of.rejections)),
    ];
    for (name, part) in wholes {
        let values = done().map(|measures| measures.and_then(|measures| part(measures).map(whole)));
        table.push(column(name, Values::Whole(values.collect())));
    }
    let ratio = |above: u64, below: u64| above as f64 / below.max(1) as f64;
    let slr = done().map(|of| of.map(|of| ratio(of.makespan_ns, of.critical_path_ns)));
    table.push(column("slr", Values::Real(slr.collect())));
    let speedup = done().map(|of| of.and_then(|of| Some(ratio(of.alone_ns?, of.makespan_ns))));
    let speedup: Vec<Option<f64>> = speedup.collect();
    let efficiency =
        speedup.iter().zip(done()).map(|(speedup, of)| Some((*speedup)? / of?.slots.max(1) as f64));
    let efficiency = Values::Real(efficiency.collect());
    table.push(column("speedup", Values::Real(speedup)));
    table.push(column("efficiency", efficiency));
    let utilisation =
        done().map(|of| of.map(|of| ratio(of.busy_ns, of.makespan_ns) / of.slots.max(1) as f64));
    table.push(column("utilisation", Values::Real(utilisation.collect())));
    let digests = done().map(|of| of.map(|of| of.digest.clone()));
    table.push(column("digest", Values::Text(digests.collect())));
}

/// The table as text (RFC 4180, but with line feeds alone).
#[must_use]
pub fn csv(table: &[Column]) -> String {
    let mut text = table.iter().map(|column| quoted(&column.name)).collect::<Vec<_>>().join(",") + "\n";
    let rows = table.first().map_or(0, |column| column.values.len());
    for row in 0..rows {
        for (index, column) in table.iter().enumerate() {
            if index > 0 {
                text.push(',');
            }
            text.push_str(&column.values.cell(row));
        }
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_are_quoted_where_they_must_be() {
        let table = [
            column(
                "a",
                Values::Text(vec![Some("x(y=1,z=2)".to_owned()), Some("say \"no\"".to_owned()), None]),
            ),
            column("b", Values::Real(vec![Some(0.1), None, Some(1e21)])),
        ];
        let expected = "a,b\n\"x(y=1,z=2)\",0.1\n\"say \"\"no\"\"\",\n,1000000000000000000000\n";
        assert_eq!(csv(&table), expected);
    }
}
