//! The report's means as text for a README: `tables.md`, and every makespan in one small table: `makespans.csv`.

use std::fmt::Write as _;

use super::axis::{axis_label, by_axis};
use super::comparison::{Comparison, Row};
use super::figures::{Standing, by_family};
use super::findings::Finding;
use super::grid::Study;
use crate::plot::{counted, duration, fixed};
use crate::statistics::geometric_mean;

/// Policies that the narrower tables show: the first of the study.
const FIRST: usize = 8;
/// What counts as faster: one part in a hundred.
const FASTER: f64 = 0.99;

/// Means in Markdown.
pub(super) fn tables(
    study: &Study,
    comparison: &Comparison,
    standing: &Standing,
    findings: &[Finding],
) -> String {
    let mut text = format!("# {}: tables\n", study.file.name);
    if comparison.rows.is_empty() {
        text.push_str("\nNo instance is complete.\n");
        return text;
    }
    text.push('\n');
    for finding in findings {
        let _ = writeln!(text, "- {}", finding.line());
    }
    let repeats = match comparison.rows.len() - comparison.distinct {
        0 => String::new(),
        count => format!(" {count} of them repeat the runs of another seed;"),
    };
    let _ = writeln!(
        text,
        "\n{}, each under {};{repeats} {} not complete, {} failed. Numbers are geometric means of the makespan over the best \
         policy's of the same instance, unless said.",
        counted(comparison.rows.len(), "instance"),
        policies_counted(comparison.policies.len()),
        comparison.incomplete,
        counted(comparison.failures.len(), "run")
    );
    let groups = wide_groups(study, comparison);
    let axis = axis_label(study);
    let and_axis = if axis.is_empty() { String::new() } else { format!(" and {axis}") };
    let _ = writeln!(text, "\n## By knowledge, network{and_axis}\n");
    text.push_str(&by_policy(comparison, &standing.order, &groups));
    text.push_str("\n## By condition and axis\n\nBetween those that tie stands =.\n\n");
    text.push_str(&leaders(comparison, findings));
    text.push_str("\n## By family of graphs\n\n");
    text.push_str(&by_group(comparison, standing, &by_family(study, comparison), "graphs"));
    text.push_str("\n## By cluster\n\n");
    text.push_str(&by_group(comparison, standing, &by_cluster(study, comparison), "cluster"));
    text.push_str("\n## By cluster: makespans\n\n");
    text.push_str(&cluster_makespans(comparison, standing, &by_cluster(study, comparison)));
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

fn cluster_makespans(comparison: &Comparison, standing: &Standing, groups: &Groups<'_>) -> String {
    let first = &standing.order[..FIRST.min(standing.order.len())];
    let names = first.iter().map(|policy| format!("`{}`", comparison.policies[*policy]));
    let mut text = header("cluster", std::iter::once("best of all".to_owned()).chain(names));
    for (name, rows) in groups {
        let mean =
            |values: &mut dyn Iterator<Item = f64>| geometric_mean(values.filter(|value| value.is_finite()));
        let best = mean(&mut rows.iter().map(|row| row.best()));
        let means = first.iter().map(|policy| mean(&mut rows.iter().map(|row| row.makespans[*policy])));
        let cells: Vec<String> =
            std::iter::once(best).chain(means).map(|nanos| duration(nanos, best, 4)).collect();
        let _ = writeln!(text, "| {name} | {} |", cells.join(" | "));
    }
    text
}

fn leaders(comparison: &Comparison, findings: &[Finding]) -> String {
    let titles = leader_titles(comparison.policies.len());
    let mut text = header("condition", titles.iter().map(|title| (*title).to_owned()));
    for finding in findings {
        for place in &finding.places {
            let told = |title: usize| {
                leader(&place.ranks, title).map_or(String::new(), |rank| {
                    place.told(rank, |policy| format!("`{}`", comparison.policies[policy]))
                })
            };
            let cells: Vec<String> = (0..titles.len()).map(told).collect();
            let parts = [finding.condition.as_str(), place.value.as_str()];
            let parts: Vec<&str> = parts.into_iter().filter(|part| !part.is_empty()).collect();
            let name = if parts.is_empty() { "all".to_owned() } else { parts.join(", ") };
            let _ = writeln!(text, "| {name} | {} |", cells.join(" | "));
        }
    }
    text
}

/// What a table of leaders shows of so many policies: the first three and, where there are more, the last.
pub(super) fn leader_titles(policies: usize) -> &'static [&'static str] {
    &["first", "second", "third", "last"][..policies.min(4)]
}

/// The policies under a title, of the ranks from the best to the worst.
pub(super) fn leader(ranks: &[Vec<usize>], title: usize) -> Option<&[usize]> {
    let rank = if title < 3 { ranks.get(title) } else { ranks.get(3..)?.last() };
    rank.map(Vec::as_slice)
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
        let ranks: Vec<Vec<usize>> = [4, 2, 0, 1, 3].map(|policy| vec![policy]).to_vec();
        let under = [0, 1, 2, 3].map(|title| leader(&ranks, title).map(|rank| rank[0]));
        assert_eq!(under, [Some(4), Some(2), Some(0), Some(3)]);
        assert_eq!(leader(&ranks[..3], 3), None);
    }
}
