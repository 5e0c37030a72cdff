//! The report's means as text for a README: `tables.md`, and every makespan in one small table: `makespans.csv`.

use std::fmt::Write as _;

use super::comparison::{Comparison, Row};
use super::figures::{Standing, axis_label, by_axis, by_family, conditions, rows_of};
use super::grid::Study;
use crate::plot::{counted, fixed};
use crate::statistics::geometric_mean;

/// Policies that the narrower tables show: the first of the study.
const FIRST: usize = 8;
/// What counts as faster: one part in a hundred.
const FASTER: f64 = 0.99;

/// Means in Markdown.
pub(super) fn tables(study: &Study, comparison: &Comparison, standing: &Standing) -> String {
    let mut text = format!("# {}: tables\n", study.file.name);
    if comparison.rows.is_empty() {
        text.push_str("\nNo instance is complete.\n");
        return text;
    }
    let _ = writeln!(
        text,
        "\n{}, each under {}; {} of them {}; {} not complete, {} failed. Numbers are geometric means of the makespan over the best \
         policy's of the same instance, unless said.",
        counted(comparison.rows.len(), "instance"),
        policies_counted(comparison.policies.len()),
        comparison.distinct,
        if comparison.distinct == 1 { "differs" } else { "differ" },
        comparison.incomplete,
        counted(comparison.failures.len(), "run")
    );
    let groups = wide_groups(study, comparison);
    text.push_str("\n## By knowledge, network and ");
    let _ = writeln!(text, "{}\n", axis_label(study));
    text.push_str(&by_policy(comparison, &standing.order, &groups));
    text.push_str("\n## By condition and axis\n\n");
    text.push_str(&leaders(study, comparison));
    text.push_str("\n## By family of graphs\n\n");
    text.push_str(&by_group(comparison, standing, &by_family(study, comparison), "graphs"));
    text.push_str("\n## By cluster\n\n");
    text.push_str(&by_group(comparison, standing, &by_cluster(study, comparison), "cluster"));
    text.push_str("\n## By cluster: makespans in milliseconds\n\n");
    text.push_str(&milliseconds(comparison, standing, &by_cluster(study, comparison)));
    text.push_str("\n## Where the first loses\n\n");
    text.push_str(&losses(comparison, standing));
    text
}

/// `1 policy`, `2 policies`
pub(super) fn policies_counted(count: usize) -> String {
    if count == 1 { "1 policy".to_owned() } else { format!("{count} policies") }
}

type Groups<'a> = Vec<(String, Vec<&'a Row>)>;

fn wide_groups<'a>(study: &Study, comparison: &'a Comparison) -> Groups<'a> {
    let all: Vec<&Row> = comparison.rows.iter().collect();
    let of = |is_of: &dyn Fn(&Row) -> bool| all.iter().copied().filter(|row| is_of(row)).collect::<Vec<_>>();
    let mut groups = vec![("all".to_owned(), all.clone())];
    for (place, knowledge) in study.knowledge.iter().enumerate() {
        groups.push((knowledge.to_string(), of(&|row| row.instance.knowledge == place)));
    }
    for (place, network) in study.file.networks.iter().enumerate() {
        groups.push((network.clone(), of(&|row| row.instance.network == place)));
    }
    groups.extend(by_axis(study, &all).into_iter().map(|(_, value, rows)| (value, rows)));
    groups.retain(|(_, rows)| !rows.is_empty());
    groups
}

fn by_cluster<'a>(study: &Study, comparison: &'a Comparison) -> Groups<'a> {
    let mut groups: Groups<'_> =
        study.clusters.iter().map(|cluster| (cluster.text.clone(), Vec::new())).collect();
    for row in &comparison.rows {
        groups[row.instance.cluster].1.push(row);
    }
    groups.retain(|(_, rows)| !rows.is_empty());
    groups
}

fn header(first: &str, columns: impl Iterator<Item = String>) -> String {
    let columns: Vec<String> = columns.collect();
    format!("| {first} | {} |\n|---|{}\n", columns.join(" | "), "---:|".repeat(columns.len()))
}

/// A row for each policy.
fn by_policy(comparison: &Comparison, order: &[usize], groups: &Groups<'_>) -> String {
    let mut text = header("policy", groups.iter().map(|(name, _)| name.clone()));
    let columns: Vec<Vec<f64>> = groups.iter().map(|(_, rows)| comparison.mean_ratios(rows)).collect();
    for policy in order {
        let cells: Vec<String> = columns.iter().map(|column| fixed(column[*policy], 2)).collect();
        let _ = writeln!(text, "| `{}` | {} |", comparison.policies[*policy], cells.join(" | "));
    }
    text
}

/// A row for each group, a column for each of the first policies.
fn by_group(comparison: &Comparison, standing: &Standing, groups: &Groups<'_>, what: &str) -> String {
    let first = &standing.order[..FIRST.min(standing.order.len())];
    let mut text = header(what, first.iter().map(|policy| format!("`{}`", comparison.policies[*policy])));
    for (name, rows) in groups {
        let ratios = comparison.mean_ratios(rows);
        let cells: Vec<String> = first.iter().map(|policy| fixed(ratios[*policy], 2)).collect();
        let _ = writeln!(text, "| {name} | {} |", cells.join(" | "));
    }
    text
}

fn milliseconds(comparison: &Comparison, standing: &Standing, groups: &Groups<'_>) -> String {
    let first = &standing.order[..FIRST.min(standing.order.len())];
    let names = first.iter().map(|policy| format!("`{}`", comparison.policies[*policy]));
    let mut text = header("cluster", std::iter::once("best of all".to_owned()).chain(names));
    for (name, rows) in groups {
        let mean = |values: &mut dyn Iterator<Item = f64>| {
            fixed(geometric_mean(values.filter(|value| value.is_finite())) / 1e6, 1)
        };
        let mut cells = vec![mean(&mut rows.iter().map(|row| row.best()))];
        cells.extend(first.iter().map(|policy| mean(&mut rows.iter().map(|row| row.makespans[*policy]))));
        let _ = writeln!(text, "| {name} | {} |", cells.join(" | "));
    }
    text
}

fn leaders(study: &Study, comparison: &Comparison) -> String {
    let titles = leader_titles(comparison.policies.len());
    let mut text = header("condition", titles.iter().map(|title| (*title).to_owned()));
    for (network, knowledge, name) in conditions(study) {
        for (_, value, rows) in by_axis(study, &rows_of(comparison, network, knowledge)) {
            let (ratios, order) = led(comparison, &rows);
            let told = |place: usize| {
                leader(&order, place).map_or(String::new(), |policy| {
                    format!("`{}` {}", comparison.policies[policy], fixed(ratios[policy], 2))
                })
            };
            let cells: Vec<String> = (0..titles.len()).map(told).collect();
            let _ = writeln!(text, "| {name}, {value} | {} |", cells.join(" | "));
        }
    }
    text
}

/// What a table of leaders shows of so many policies: the first three and, where there are more, the last.
pub(super) fn leader_titles(policies: usize) -> &'static [&'static str] {
    &["first", "second", "third", "last"][..policies.min(4)]
}

/// The policy under a title, of those from the best to the worst.
pub(super) fn leader(order: &[usize], title: usize) -> Option<usize> {
    if title < 3 { order.get(title).copied() } else { order.get(3..)?.last().copied() }
}

/// Mean ratios by policy, and the policies that have one from the best to the worst.
pub(super) fn led(comparison: &Comparison, rows: &[&Row]) -> (Vec<f64>, Vec<usize>) {
    let ratios = comparison.mean_ratios(rows);
    let mut order: Vec<usize> = (0..ratios.len()).filter(|place| ratios[*place].is_finite()).collect();
    order.sort_by(|left, right| ratios[*left].total_cmp(&ratios[*right]));
    (ratios, order)
}

/// How often another policy is faster than the first by more than one part in a hundred.
fn losses(comparison: &Comparison, standing: &Standing) -> String {
    let Some(first) = standing.order.first().copied() else { return String::new() };
    let mut counts: Vec<(usize, usize)> = (0..comparison.policies.len())
        .filter(|policy| *policy != first)
        .map(|policy| {
            let is_faster = |row: &&Row| row.makespans[policy] < FASTER * row.makespans[first];
            (comparison.rows.iter().filter(is_faster).count(), policy)
        })
        .collect();
    counts.sort_by_key(|(count, policy)| (std::cmp::Reverse(*count), *policy));
    let told: Vec<String> =
        counts.iter().map(|(count, policy)| format!("`{}` {count}", comparison.policies[*policy])).collect();
    format!(
        "Instances of {} on which another is more than 1 % faster than `{}`: {}.\n",
        comparison.rows.len(),
        comparison.policies[first],
        told.join(", ")
    )
}

/// A line for each complete instance: what it is, and every policy's makespan in microseconds; empty where the run failed.
pub(super) fn makespans(study: &Study, comparison: &Comparison) -> String {
    let quoted = |text: &str| format!("\"{}\"", text.replace('"', "\"\""));
    let mut text = "graph,cluster,network,knowledge,seed".to_owned();
    for policy in &comparison.policies {
        let _ = write!(text, ",{}", quoted(&format!("{policy}_us")));
    }
    text.push('\n');
    for row in &comparison.rows {
        let of = row.instance;
        let _ = write!(
            text,
            "{},{},{},{},{}",
            quoted(&study.graph_text(of)),
            quoted(&study.cluster_text(of)),
            quoted(&study.file.networks[of.network]),
            quoted(&study.knowledge[of.knowledge].to_string()),
            of.seed
        );
        for makespan in &row.makespans {
            if makespan.is_finite() {
                let _ = write!(text, ",{:.0}", makespan / 1e3);
            } else {
                text.push(',');
            }
        }
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_is_told_where_it_is_not_among_the_first_three() {
        assert_eq!(leader_titles(2), ["first", "second"]);
        assert_eq!(leader_titles(3), ["first", "second", "third"]);
        assert_eq!(leader_titles(9), ["first", "second", "third", "last"]);
        let order = [4, 2, 0, 1, 3];
        assert_eq!([0, 1, 2, 3].map(|title| leader(&order, title)), [Some(4), Some(2), Some(0), Some(3)]);
        assert_eq!(leader(&order[..3], 3), None);
    }
}
