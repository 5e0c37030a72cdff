//! The report: one HTML file that needs nothing else, and the tables and figures beside it.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use super::StudyError;
use super::columns::{columns, csv};
use super::comparison::{Comparison, Row};
use super::figures::{
    BOOTSTRAP_SEED, Figure, Standing, axis_label, by_axis, by_family, conditions, figures, rows_of,
};
use super::grid::{Cell, Study};
use super::parquet_file::parquet;
use super::run::{Records, gantt_file};
use super::tables::{makespans, tables};
use crate::plot::{escaped, fixed, significant};
use crate::statistics::mean_ranks;

/// Failures that are listed.
const FAILURES_SHOWN_MAX: usize = 30;

const STYLE: &str = "\
body { font: 16px/1.5 Helvetica, Arial, 'Liberation Sans', sans-serif; color: #222; max-width: 1240px; margin: 2em auto; padding: 0 1em; }
h1, h2 { line-height: 1.2; } h2 { margin-top: 2em; }
table { border-collapse: collapse; font-size: 14px; } th, td { padding: 3px 12px 3px 0; text-align: right; }
th { border-bottom: 2px solid #222; vertical-align: bottom; } td { border-bottom: 1px solid #ddd; }
th:first-child, td:first-child, td.text, th.text { text-align: left; }
figure { margin: 1.5em 0; } figcaption { font-size: 14px; max-width: 940px; } svg { max-width: 100%; height: auto; }
tr.reference td { background: #eef5fb; } pre { background: #f6f6f6; padding: 1em; overflow-x: auto; font-size: 13px; }
.scroll { overflow-x: auto; }
";

/// Writes `results.csv`, `results.parquet`, `decision-times.csv`, `tables.md`, `makespans.csv`, `figures/*.svg` and `report.html`.
pub(super) fn write_all(study: &Study, records: &Records, folder: &Path) -> Result<Vec<PathBuf>, StudyError> {
    let table = columns(study, records);
    let mut files = Vec::new();
    let mut write = |name: &str, bytes: &[u8]| {
        let path = folder.join(name);
        fs::write(&path, bytes).map_err(StudyError::file(&path))?;
        files.push(path);
        Ok(())
    };
    write("results.csv", csv(&table).as_bytes())?;
    write("results.parquet", &parquet(&table)?)?;
    write("decision-times.csv", decision_times(study, records).as_bytes())?;
    let comparison = Comparison::new(study, records);
    let standing = Standing::new(study, &comparison);
    write("tables.md", tables(study, &comparison, &standing).as_bytes())?;
    write("makespans.csv", makespans(study, &comparison).as_bytes())?;
    let path = folder.join("figures");
    fs::create_dir_all(&path).map_err(StudyError::file(&path))?;
    let figures =
        if comparison.rows.is_empty() { Vec::new() } else { figures(study, &comparison, &standing) };
    for figure in &figures {
        write(&format!("figures/{}", figure.file), figure.svg.as_bytes())?;
    }
    let gantts = gantts(study, folder)?;
    let report = Report { study, comparison: &comparison, standing: &standing, records, figures: &figures };
    write("report.html", report.html(&gantts).as_bytes())?;
    Ok(files)
}

/// What the scheduler's turns took; apart, since a clock never says the same twice.
fn decision_times(study: &Study, records: &Records) -> String {
    let mut text = "key,graph,cluster,network,knowledge,seed,policy,decision_ns\n".to_owned();
    let quoted = |text: &str| format!("\"{}\"", text.replace('"', "\"\""));
    for instance in study.instances() {
        for policy in 0..study.policies.len() {
            let cell = Cell { instance, policy };
            let key = study.key(cell);
            let Some(nanos) = records.get(&key).and_then(|record| record.decision_ns) else { continue };
            let _ = writeln!(
                text,
                "{key},{},{},{},{},{},{},{nanos}",
                quoted(&study.graph_text(instance)),
                quoted(&study.cluster_text(instance)),
                quoted(&study.file.networks[instance.network]),
                quoted(&study.knowledge[instance.knowledge].to_string()),
                instance.seed,
                quoted(&study.policy_label(cell))
            );
        }
    }
    text
}

/// Charts of chosen runs that were drawn when they were run.
fn gantts(study: &Study, folder: &Path) -> Result<Vec<Figure>, StudyError> {
    let mut figures = Vec::new();
    for (number, cell) in study.gantt_cells().into_iter().enumerate() {
        let file = gantt_file(number);
        let path = folder.join("figures").join(&file);
        if !path.is_file() {
            continue;
        }
        let svg = fs::read_to_string(&path).map_err(StudyError::file(&path))?;
        let instance = cell.instance;
        let caption = format!(
            "{} under {} on {} ({}, {} knowledge, seed {}).",
            study.graph_text(instance),
            study.policy_label(cell),
            study.cluster_text(instance),
            study.file.networks[instance.network],
            study.knowledge[instance.knowledge],
            instance.seed
        );
        figures.push(Figure { file, caption, svg });
    }
    Ok(figures)
}

struct Report<'a> {
    study: &'a Study,
    comparison: &'a Comparison,
    standing: &'a Standing,
    records: &'a Records,
    figures: &'a [Figure],
}

impl Report<'_> {
    fn html(&self, gantts: &[Figure]) -> String {
        let name = escaped(&self.study.file.name);
        let mut text = format!(
            "<!DOCTYPE html>\n<html lang=\"en\" xmlns=\"http://www.w3.org/1999/xhtml\">\n<head>\n\
             <meta charset=\"utf-8\"/>\n<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"/>\n\
             <title>{name}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n<h1>{name}</h1>\n"
        );
        for paragraph in self.study.file.description.split("\n\n").filter(|text| !text.trim().is_empty()) {
            let _ = writeln!(text, "<p>{}</p>", escaped(paragraph.trim()));
        }
        text.push_str(&self.counts());
        if self.comparison.rows.is_empty() {
            text.push_str("<p>No instance is complete: there is nothing to compare yet.</p>\n");
        } else {
            text.push_str("<h2>Policies</h2>\n");
            text.push_str(&self.policies());
            text.push_str("<h2>Figures</h2>\n");
            for figure in self.figures {
                text.push_str(&shown(figure));
            }
            text.push_str(&self.leaders());
            text.push_str("<h2>By family of graphs</h2>\n");
            text.push_str(&self.families());
            text.push_str("<h2>By condition</h2>\n");
            text.push_str(&self.by_condition());
        }
        if !gantts.is_empty() {
            text.push_str("<h2>Chosen runs</h2>\n");
            for figure in gantts {
                text.push_str(&shown(figure));
            }
        }
        text.push_str(&self.failures());
        text.push_str(&self.methods());
        let _ =
            writeln!(text, "<h2>The study</h2>\n<pre>{}</pre>\n</body>\n</html>", escaped(&self.study.text));
        text
    }

    fn counts(&self) -> String {
        let study = self.study;
        let list = |values: &mut dyn Iterator<Item = String>| escaped(&values.collect::<Vec<_>>().join(", "));
        let seeds = match (study.seeds.first(), study.seeds.last()) {
            (Some(first), Some(last)) if study.seeds.len() > 1 => {
                format!("{} seeds ({first} to {last})", study.seeds.len())
            }
            (Some(only), _) => format!("1 seed ({only})"),
            (None, _) => String::new(),
        };
        let incomplete = match self.comparison.incomplete {
            0 => String::new(),
            count => {
                format!(" {count} more instances are not complete yet and left out of everything below.")
            }
        };
        format!(
            "<p>{} runs: {} graphs, {} clusters, networks {}, knowledge {}, {seeds}, {} policies. {} instances are \
             compared; {} runs failed.{incomplete}</p>\n",
            self.records.len(),
            study.graphs.len(),
            study.clusters.len(),
            list(&mut study.file.networks.iter().cloned()),
            list(&mut study.knowledge.iter().map(ToString::to_string)),
            study.policies.len(),
            self.comparison.rows.len(),
            self.comparison.failures.len()
        )
    }

    fn policies(&self) -> String {
        let comparison = self.comparison;
        let intervals = self.standing.intervals(self.study, comparison);
        let ranks = mean_ranks(&comparison.over_seeds());
        let reference = escaped(&comparison.policies[self.standing.reference]);
        let mut text = format!(
            "<div class=\"scroll\"><table>\n<tr><th>policy</th><th>mean ratio to the best</th><th>worst ratio</th>\
             <th>best on</th><th>mean rank</th><th>ratio to {reference}</th><th>interval</th>\
             <th>wins / ties / losses</th><th>failed</th></tr>\n"
        );
        for policy in &self.standing.order {
            let ratios = comparison.rows.iter().map(|row| row.makespans[*policy] / row.best());
            let ratios: Vec<f64> = ratios.filter(|ratio| ratio.is_finite()).collect();
            let worst = ratios.iter().copied().fold(f64::NAN, f64::max);
            let best = ratios.iter().filter(|ratio| **ratio == 1.0).count();
            let failed = comparison.failures.iter().filter(|(_, of, _)| of == policy).count();
            let (ratio, interval) = match &intervals[*policy] {
                Some(of) => (fixed(of.middle, 3), format!("{} to {}", fixed(of.low, 3), fixed(of.high, 3))),
                None => ("1".to_owned(), String::new()),
            };
            let (wins, ties, losses) = comparison.wins_ties_losses(*policy, self.standing.reference);
            let counts = if *policy == self.standing.reference {
                String::new()
            } else {
                format!("{wins} / {ties} / {losses}")
            };
            let class = if *policy == self.standing.reference { " class=\"reference\"" } else { "" };
            let _ = writeln!(
                text,
                "<tr{class}><td>{}</td><td>{}</td><td>{}</td><td>{best}</td><td>{}</td><td>{ratio}</td>\
                 <td>{interval}</td><td>{counts}</td><td>{failed}</td></tr>",
                escaped(&comparison.policies[*policy]),
                fixed(self.standing.mean_ratios[*policy], 3),
                fixed(worst, 2),
                fixed(ranks[*policy], 2)
            );
        }
        text + "</table></div>\n"
    }

    /// Along the axis: who is first, and by how much.
    fn leaders(&self) -> String {
        if self.study.file.report.axis.is_none() {
            return String::new();
        }
        let mut text = format!("<h2>Leaders along {}</h2>\n", escaped(&axis_label(self.study)));
        text.push_str(
            "<div class=\"scroll\"><table>\n<tr><th>condition</th><th>value</th><th class=\"text\">first</th>\
             <th class=\"text\">second</th><th class=\"text\">third</th><th class=\"text\">last</th></tr>\n",
        );
        for (network, knowledge, name) in conditions(self.study) {
            for (_, value, rows) in by_axis(self.study, &rows_of(self.comparison, network, knowledge)) {
                let ratios = self.comparison.mean_ratios(&rows);
                let mut order: Vec<usize> =
                    (0..ratios.len()).filter(|place| ratios[*place].is_finite()).collect();
                order.sort_by(|left, right| ratios[*left].total_cmp(&ratios[*right]));
                let told = |place: Option<&usize>| {
                    place.map_or(String::new(), |place| {
                        let name = escaped(&self.comparison.policies[*place]);
                        format!("{name} ({})", fixed(ratios[*place], 3))
                    })
                };
                let _ = writeln!(
                    text,
                    "<tr><td>{}</td><td>{}</td><td class=\"text\">{}</td><td class=\"text\">{}</td>\
                     <td class=\"text\">{}</td><td class=\"text\">{}</td></tr>",
                    escaped(&name),
                    escaped(&value),
                    told(order.first()),
                    told(order.get(1)),
                    told(order.get(2)),
                    told(order.last())
                );
            }
        }
        text + "</table></div>\n"
    }

    fn families(&self) -> String {
        let groups = by_family(self.study, self.comparison);
        self.ratio_table(&groups)
    }

    fn by_condition(&self) -> String {
        let conditions = conditions(self.study).into_iter();
        let groups: Vec<(String, Vec<&Row>)> = conditions
            .map(|(network, knowledge, name)| (name, rows_of(self.comparison, network, knowledge)))
            .collect();
        self.ratio_table(&groups)
    }

    /// Mean ratios to the best: a row for each policy, a column for each group.
    fn ratio_table(&self, groups: &[(String, Vec<&Row>)]) -> String {
        let mut text = "<div class=\"scroll\"><table>\n<tr><th>mean ratio to the best</th>".to_owned();
        for (name, rows) in groups {
            let _ = write!(text, "<th>{}<br/>n = {}</th>", escaped(name), rows.len());
        }
        text.push_str("</tr>\n");
        let columns: Vec<Vec<f64>> =
            groups.iter().map(|(_, rows)| self.comparison.mean_ratios(rows)).collect();
        for policy in &self.standing.order {
            let _ = write!(text, "<tr><td>{}</td>", escaped(&self.comparison.policies[*policy]));
            for column in &columns {
                let least = column.iter().copied().fold(f64::INFINITY, f64::min);
                let value = fixed(column[*policy], 3);
                let shown = if column[*policy] == least { format!("<b>{value}</b>") } else { value };
                let _ = write!(text, "<td>{shown}</td>");
            }
            text.push_str("</tr>\n");
        }
        text + "</table></div>\n"
    }

    fn failures(&self) -> String {
        let failures = &self.comparison.failures;
        if failures.is_empty() {
            return String::new();
        }
        let mut text = format!("<h2>Failures</h2>\n<p>{} runs failed.</p>\n<ul>\n", failures.len());
        for (instance, policy, reason) in failures.iter().take(FAILURES_SHOWN_MAX) {
            let _ = writeln!(
                text,
                "<li>{} on {} under {} ({}, {}, seed {}): {}</li>",
                escaped(&self.study.graph_text(*instance)),
                escaped(&self.study.cluster_text(*instance)),
                escaped(&self.comparison.policies[*policy]),
                escaped(&self.study.file.networks[instance.network]),
                self.study.knowledge[instance.knowledge],
                instance.seed,
                escaped(reason)
            );
        }
        text.push_str("</ul>\n");
        if failures.len() > FAILURES_SHOWN_MAX {
            let _ = writeln!(text, "<p>The others are in results.csv.</p>");
        }
        text
    }

    fn methods(&self) -> String {
        let report = &self.study.file.report;
        format!(
            "<h2>Methods</h2>\n<ul>\n\
             <li>An instance is a graph on a cluster under a network model, a state of knowledge and a seed; the same \
             instance is run under every policy, so that all comparisons are paired.</li>\n\
             <li>Ratios to the best are to the shortest makespan of any policy of this study on the same instance; means \
             are geometric. Runs that failed are left out of means, count as worst in ranks and profiles, and are \
             counted in the column `failed`.</li>\n\
             <li>Intervals: percentile bootstrap of the geometric mean of paired ratios, {} draws, seed \
             {BOOTSTRAP_SEED}. Graphs are drawn whole, with all their clusters, networks, knowledge and seeds, since \
             those are not independent; graphs of one family are treated as if they were. Together the intervals hold \
             with a confidence of {} (Bonferroni over {} comparisons). They speak of graphs drawn like those of this \
             study, not of graphs in general.</li>\n\
             <li>Ranks: Friedman's test with Iman and Davenport's correction and the Nemenyi test (Demšar 2006), over \
             blocks in which seeds are averaged geometrically.</li>\n\
             <li>Numbers come from the study file, the files that it names and Isochrone {} alone; results.csv and \
             results.parquet have every run, manifest.json the machine and the command.</li>\n</ul>\n",
            report.resamples,
            significant(report.confidence, 4),
            self.comparison.policies.len().saturating_sub(1),
            env!("CARGO_PKG_VERSION")
        )
    }
}

fn shown(figure: &Figure) -> String {
    format!(
        "<figure>\n{}<figcaption>{} <a href=\"figures/{}\">SVG</a></figcaption>\n</figure>\n",
        figure.svg,
        escaped(&figure.caption),
        figure.file
    )
}
