//! What a report says of how it was made: what its words mean, and what its statistics are.

use std::fmt::Write as _;

use super::comparison::Comparison;
use super::figures::{BOOTSTRAP_SEED, ONE_GRAPH, graph_count};
use super::grid::Study;
use crate::network;
use crate::plot::{counted, escaped, significant};

/// A line for each network and knowledge of the study: what the words of conditions mean.
pub(super) fn terms(study: &Study) -> String {
    let mut text = String::new();
    for label in &study.file.networks {
        if let Some(summary) = network::summary(label) {
            let _ = writeln!(text, "<li>Network <b>{}</b>: {}.</li>", escaped(label), escaped(summary));
        }
    }
    for knowledge in &study.knowledge {
        let (label, summary) = (knowledge.to_string(), knowledge.summary());
        let _ = writeln!(text, "<li>Knowledge <b>{}</b>: {}.</li>", escaped(&label), escaped(summary));
    }
    format!("<ul class=\"terms\">\n{text}</ul>\n")
}

/// The section.
pub(super) fn methods(study: &Study, comparison: &Comparison) -> String {
    let mut text = "<h2>Methods</h2>\n<ul>\n\
         <li>An instance is a graph on a cluster under a network model, a state of knowledge and a seed; the same \
         instance is run under every policy, so that all comparisons are paired. Seeds decide what is random: graphs, \
         errors in what is known, draws of the network and of policies. Where nothing is, another seed is the same instance \
         again.</li>\n\
         <li>Makespan is from the submission of the graph to the end of its last task.</li>\n"
        .to_owned();
    text.push_str(
        "<li>Ratios to the best are to the shortest makespan of any policy of this study on the same instance; means \
         are geometric. Runs that failed are left out of means and medians, count as worst in ranks and profiles, and are \
         counted in the column `failed`.</li>\n\
         <li>Makespans that differ by less than half a percent tie, in sentences, wins, `best on` and tables of leaders; ranks and \
         profiles take every difference.</li>\n",
    );
    text.push_str(&intervals(study, comparison));
    let _ = write!(
        text,
        "<li>Ranks: Friedman's test with Iman and Davenport's correction and the Nemenyi test (Demšar 2006), over \
         blocks in which seeds are averaged geometrically.</li>\n\
         <li>Numbers come from the study file, the files that it names and Isochrone {} alone; results.csv and \
         results.parquet have every run, manifest.json the machine and the command.</li>\n</ul>\n",
        env!("CARGO_PKG_VERSION")
    );
    text
}

fn intervals(study: &Study, comparison: &Comparison) -> String {
    if graph_count(comparison) < 2 {
        return format!("<li>{ONE_GRAPH}</li>\n");
    }
    let report = &study.file.report;
    format!(
        "<li>Intervals: percentile bootstrap of the geometric mean of paired ratios, {}, seed {BOOTSTRAP_SEED}. \
         Graphs are drawn whole, with all their clusters, networks, knowledge and seeds, since those are not \
         independent; graphs of one family are treated as if they were. Together the intervals hold with a confidence \
         of {} (Bonferroni over {}). They speak of graphs drawn like those of this study, not of graphs in general.</li>\n",
        counted(report.resamples, "draw"),
        significant(report.confidence, 4),
        counted(study.policies.len().saturating_sub(1), "comparison")
    )
}
