//! The report: one HTML file that needs nothing else, and the tables and figures beside it.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use super::StudyError;
use super::axis::{axis_label, by_axis};
use super::columns::{columns, csv};
use super::comparison::{Comparison, Row, TIE};
use super::figures::{
    Figure, ONE_GRAPH, Standing, axis_figures, by_family, conditions, graph_count, interval_name, rows_of,
    whole_figures,
};
use super::findings::{Finding, NEAR, findings};
use super::grid::{Cell, Study};
use super::methods::{methods, terms};
use super::parquet_file::parquet;
use super::run::{Records, gantt_file};
use super::tables::{leader, leader_titles, makespans, policies_counted, tables};
use crate::plot::{counted, duration, escaped, fixed};
use crate::statistics::mean_ranks;

/// Failures that are listed.
const FAILURES_SHOWN_MAX: usize = 30;

const STYLE: &str = "\
body { font: 16px/1.5 Helvetica, Arial, 'Liberation Sans', sans-serif; color: #222; max-width: 1240px; margin: 2em auto; padding: 0 1em; }
h1, h2 { line-height: 1.2; } h2 { margin-top: 2em; }
table { border-collapse: collapse; font-size: 14px; } th, td { padding: 3px 12px 3px 0; text-align: right; }
th { border-bottom: 2px solid #222; vertical-align: bottom; } td { border-bottom: 1px solid #ddd; }
th:first-child, td:first-child, td.text, th.text { text-align: left; }
ul.terms { font-size: 14px; color: #555; }
figure { margin: 1.5em 0; } figcaption { font-size: 14px; max-width: 940px; } svg { max-width: 100%; height: auto; }
tr.reference td { background: #eef5fb; } pre { background: #f6f6f6; padding: 1em; overflow-x: auto; font-size: 13px; }
.scroll { overflow-x: auto; }
";

/// What was written, and the result in sentences.
pub(super) struct Written {
    pub files: Vec<PathBuf>,
    pub sentences: Vec<String>,
}

/// Writes `results.csv`, `results.parquet`, `decision-times.csv`, `tables.md`, `makespans.csv`, `figures/*.svg` and `report.html`.
pub(super) fn write_all(study: &Study, records: &Records, folder: &Path) -> Result<Written, StudyError> {
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
    let findings = findings(study, &comparison);
    write("tables.md", tables(study, &comparison, &standing, &findings).as_bytes())?;
    write("makespans.csv", makespans(study, &comparison).as_bytes())?;
    let path = folder.join("figures");
    fs::create_dir_all(&path).map_err(StudyError::file(&path))?;
    let (along, whole) = if comparison.rows.is_empty() {
        (Vec::new(), Vec::new())
    } else {
        (axis_figures(study, &comparison, &standing), whole_figures(study, &comparison, &standing))
    };
    for figure in along.iter().chain(&whole) {
        write(&format!("figures/{}", figure.file), figure.svg.as_bytes())?;
    }
    let gantts = gantts(study, folder)?;
    let report = Report {
        study,
        comparison: &comparison,
        standing: &standing,
        records,
        findings: &findings,
        along: &along,
        whole: &whole,
    };
    write("report.html", report.html(&gantts).as_bytes())?;
    Ok(Written { files, sentences: findings.iter().map(Finding::line).collect() })
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
            study.graph_name(instance),
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

/// What a column is called, and its rows.
type Group<'a> = (String, Vec<&'a Row>);

struct Report<'a> {
    study: &'a Study,
    comparison: &'a Comparison,
    standing: &'a Standing,
    records: &'a Records,
    findings: &'a [Finding],
    /// Along the axis.
    along: &'a [Figure],
    /// Of all instances.
    whole: &'a [Figure],
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
        text.push_str("<h2>Result</h2>\n");
        text.push_str(&self.result());
        text.push_str(&self.counts());
        if !self.comparison.rows.is_empty() {
            if !self.along.is_empty() {
                let _ = writeln!(text, "<h2>Along {}</h2>", escaped(&axis_label(self.study)));
            }
            for figure in self.along {
                text.push_str(&shown(figure));
            }
            text.push_str(&self.leaders());
            text.push_str("<h2>Policies</h2>\n");
            text.push_str(&self.policies());
            text.push_str("<h2>All instances</h2>\n");
            for figure in self.whole {
                text.push_str(&shown(figure));
            }
            text.push_str("<h2>Median makespans</h2>\n");
            text.push_str(&self.medians());
            text.push_str("<h2>By family of graphs</h2>\n");
            text.push_str(&self.families());
            text.push_str("<h2>By condition</h2>\n");
            text.push_str(&self.by_condition());
        }
        let notes = self.study.notes();
        if !gantts.is_empty() || !notes.is_empty() {
            text.push_str("<h2>Chosen runs</h2>\n");
        }
        for figure in gantts {
            text.push_str(&shown(figure));
        }
        for note in &notes {
            let _ = writeln!(text, "<p>{}</p>", escaped(note));
        }
        text.push_str(&self.failures());
        text.push_str(&methods(self.study, self.comparison));
        let _ =
            writeln!(text, "<h2>The study</h2>\n<pre>{}</pre>\n</body>\n</html>", escaped(&self.study.text));
        text
    }

    /// Who is best where, in sentences, and what their words mean.
    fn result(&self) -> String {
        if self.findings.is_empty() {
            return "<p>No instance is complete: there is nothing to compare yet.</p>\n".to_owned()
                + &terms(self.study);
        }
        let mut text = String::new();
        if !self.along.is_empty() {
            let _ =
                writeln!(text, "<p>Which policy is best, along {}:</p>", escaped(&axis_label(self.study)));
        }
        text.push_str("<ul>\n");
        for finding in self.findings {
            let condition = match finding.condition.as_str() {
                "" => String::new(),
                name => format!("<b>{}</b>: ", escaped(name)),
            };
            let _ = writeln!(text, "<li>{condition}{}</li>", escaped(&finding.sentence));
        }
        text.push_str("</ul>\n");
        let apart = if graph_count(self.comparison) > 1 {
            let percent = fixed((NEAR - 1.0) * 100.0, 0);
            format!(
                ", or by less than {percent} % where the {} of their ratio holds 1",
                interval_name(self.study)
            )
        } else {
            String::new()
        };
        let _ = writeln!(
            text,
            "<p>Policies tie where their makespans differ by less than half a percent{apart}. The words for networks and \
             knowledge:</p>"
        );
        text + &terms(self.study)
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
        let comparison = self.comparison;
        let incomplete = match comparison.incomplete {
            0 => String::new(),
            count => format!(
                " {} not complete yet and left out of everything below.",
                if count == 1 {
                    "1 more instance is".to_owned()
                } else {
                    format!("{count} more instances are")
                }
            ),
        };
        let (rows, distinct) = (comparison.rows.len(), comparison.distinct);
        let repeats = match rows - distinct {
            0 => ".".to_owned(),
            count => format!(
                "; {count} of them {} the runs of another seed, since nothing in them is random, and {} nothing new.",
                if count == 1 { "repeats" } else { "repeat" },
                if count == 1 { "tells" } else { "tell" }
            ),
        };
        format!(
            "<p>{}: {}, {}, networks {}, knowledge {}, {seeds}, {}. {} compared{repeats} {} failed.{incomplete}</p>\n",
            counted(self.records.len(), "run"),
            counted(study.graphs.len(), "graph"),
            counted(study.clusters.len(), "cluster"),
            list(&mut study.file.networks.iter().cloned()),
            list(&mut study.knowledge.iter().map(ToString::to_string)),
            policies_counted(study.policies.len()),
            match rows {
                1 => "1 instance is".to_owned(),
                rows => format!("{rows} instances are"),
            },
            counted(comparison.failures.len(), "run")
        )
    }

    fn policies(&self) -> String {
        let comparison = self.comparison;
        let ratios_to = self.standing.against_reference(self.study, comparison);
        let ranks = mean_ranks(&comparison.over_seeds());
        let reference = escaped(&comparison.policies[self.standing.reference]);
        let has_intervals = graph_count(comparison) > 1;
        let heading =
            if has_intervals { format!("<th>{}</th>", interval_name(self.study)) } else { String::new() };
        let mut text = format!(
            "<div class=\"scroll\"><table>\n<tr><th>policy</th><th>mean ratio to the best</th><th>worst ratio</th>\
             <th>best on, or tied</th><th>mean rank</th><th>ratio to {reference}</th>{heading}\
             <th>wins / ties / losses</th><th>failed</th><th class=\"text\">what it does</th></tr>\n"
        );
        for policy in &self.standing.order {
            let ratios = comparison.rows.iter().map(|row| row.makespans[*policy] / row.best());
            let ratios: Vec<f64> = ratios.filter(|ratio| ratio.is_finite()).collect();
            let worst = ratios.iter().copied().fold(f64::NAN, f64::max);
            let best = ratios.iter().filter(|ratio| **ratio < TIE).count();
            let failed = comparison.failures.iter().filter(|(_, of, _)| of == policy).count();
            let (ratio, interval) = match &ratios_to[*policy] {
                Some(of) => (fixed(of.mean, 3), of.interval),
                None => ("1".to_owned(), None),
            };
            let interval = interval
                .map_or(String::new(), |(low, high)| format!("{} to {}", fixed(low, 3), fixed(high, 3)));
            let interval = if has_intervals { format!("<td>{interval}</td>") } else { String::new() };
            let does =
                isochrone_policies::info(&comparison.policies[*policy]).map_or("", |info| info.summary);
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
                 {interval}<td>{counts}</td><td>{failed}</td><td class=\"text\">{}</td></tr>",
                escaped(&comparison.policies[*policy]),
                fixed(self.standing.mean_ratios[*policy], 3),
                fixed(worst, 2),
                fixed(ranks[*policy], 2),
                escaped(does)
            );
        }
        text.push_str("</table></div>\n");
        if !has_intervals {
            let _ = writeln!(text, "<p>{ONE_GRAPH}</p>");
        }
        text
    }

    /// Along the axis: who is first, and by how much.
    fn leaders(&self) -> String {
        if self.along.is_empty() {
            return String::new();
        }
        let titles = leader_titles(self.comparison.policies.len());
        let mut text = format!("<h2>Leaders along {}</h2>\n", escaped(&axis_label(self.study)));
        text.push_str("<p>Mean ratios to the best; between those that tie stands =.</p>\n");
        text.push_str("<div class=\"scroll\"><table>\n<tr><th>condition</th><th>value</th>");
        for title in titles {
            let _ = write!(text, "<th class=\"text\">{title}</th>");
        }
        text.push_str("</tr>\n");
        for finding in self.findings {
            for place in &finding.places {
                let (condition, value) = (escaped(&finding.condition), escaped(&place.value));
                let _ = write!(text, "<tr><td>{condition}</td><td>{value}</td>");
                for title in 0..titles.len() {
                    let told = leader(&place.ranks, title).map_or(String::new(), |rank| {
                        place.told(rank, |policy| self.comparison.policies[policy].clone())
                    });
                    let _ = write!(text, "<td class=\"text\">{}</td>", escaped(&told));
                }
                text.push_str("</tr>\n");
            }
        }
        text + "</table></div>\n"
    }

    /// How long it takes: a table for each condition with a column for each value of the axis, or one of all conditions.
    fn medians(&self) -> String {
        let medians = |groups: &[Group<'_>]| {
            self.table(
                groups,
                "median makespan",
                |rows| self.comparison.median_seconds(rows),
                |seconds, least| duration(seconds * 1e9, least * 1e9, 4),
            )
        };
        if self.study.file.report.axis.is_none() {
            return medians(&self.condition_groups());
        }
        let mut text = String::new();
        for (network, knowledge, name) in conditions(self.study) {
            let _ = writeln!(text, "<h3>{}, along {}</h3>", escaped(&name), escaped(&axis_label(self.study)));
            let along = by_axis(self.study, &rows_of(self.comparison, network, knowledge));
            let groups: Vec<Group<'_>> = along.into_iter().map(|(_, value, rows)| (value, rows)).collect();
            text.push_str(&medians(&groups));
        }
        text
    }

    fn families(&self) -> String {
        self.ratio_table(&by_family(self.study, self.comparison))
    }

    fn by_condition(&self) -> String {
        self.ratio_table(&self.condition_groups())
    }

    fn condition_groups(&self) -> Vec<Group<'_>> {
        let conditions = conditions(self.study).into_iter();
        conditions
            .map(|(network, knowledge, name)| (name, rows_of(self.comparison, network, knowledge)))
            .collect()
    }

    /// Mean ratios to the best.
    fn ratio_table(&self, groups: &[Group<'_>]) -> String {
        let ratios = |rows: &[&Row]| self.comparison.mean_ratios(rows);
        self.table(groups, "mean ratio to the best", ratios, |value, _| fixed(value, 3))
    }

    /// A row for each policy, a column for each group, the least of each column in bold; `written` is given a value and the least of its
    /// column.
    fn table(
        &self,
        groups: &[Group<'_>],
        first: &str,
        values: impl Fn(&[&Row]) -> Vec<f64>,
        written: impl Fn(f64, f64) -> String,
    ) -> String {
        let mut text = format!("<div class=\"scroll\"><table>\n<tr><th>{first}</th>");
        let is_one_each = groups.iter().all(|(_, rows)| rows.len() == 1);
        for (name, rows) in groups {
            let count = if is_one_each { String::new() } else { format!("<br/>n = {}", rows.len()) };
            let _ = write!(text, "<th>{}{count}</th>", escaped(name));
        }
        text.push_str("</tr>\n");
        let columns: Vec<Vec<f64>> = groups.iter().map(|(_, rows)| values(rows)).collect();
        for policy in &self.standing.order {
            let _ = write!(text, "<tr><td>{}</td>", escaped(&self.comparison.policies[*policy]));
            for column in &columns {
                let least = column.iter().copied().fold(f64::INFINITY, f64::min);
                let value = written(column[*policy], least);
                let shown = if value == written(least, least) { format!("<b>{value}</b>") } else { value };
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
        let failed = counted(failures.len(), "run");
        let mut text = format!("<h2>Failures</h2>\n<p>{failed} failed.</p>\n<ul>\n");
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
}

fn shown(figure: &Figure) -> String {
    format!(
        "<figure>\n{}<figcaption>{} <a href=\"figures/{}\">SVG</a></figcaption>\n</figure>\n",
        figure.svg,
        escaped(&figure.caption),
        figure.file
    )
}
