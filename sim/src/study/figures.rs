//! The figures of a report.
//!
//! Must never hold how figures look in general; that is `plot`.

use std::collections::{BTreeMap, BTreeSet};

use super::comparison::{Comparison, Row};
use super::grid::Study;
use crate::plot::{
    Axis, Chart, DifferenceDiagram, Forest, ForestRow, RankedName, Scale, Series, Stroke, fixed, significant,
};
use crate::statistics::{Interval, friedman, nemenyi_difference, profile, ratio_interval};

/// A figure of its own file.
pub(super) struct Figure {
    /// The file's name.
    pub file: String,
    /// What it shows.
    pub caption: String,
    /// The document.
    pub svg: String,
}

/// Seed of every bootstrap, so that a report is the same again.
pub(super) const BOOTSTRAP_SEED: u64 = 2_026;
/// Axes of ratios end here: what is worse is worse.
const FACTOR_MAX: f64 = 50.0;

/// What figures and tables share.
pub(super) struct Standing {
    /// Policies by rising mean ratio to the best.
    pub order: Vec<usize>,
    /// By policy.
    pub mean_ratios: Vec<f64>,
    /// The policy that all are compared with.
    pub reference: usize,
    /// By policy, how it is drawn.
    strokes: Vec<Stroke>,
}

impl Standing {
    pub fn new(study: &Study, comparison: &Comparison) -> Self {
        let all: Vec<&Row> = comparison.rows.iter().collect();
        let mean_ratios = comparison.mean_ratios(&all);
        let mut order: Vec<usize> = (0..comparison.policies.len()).collect();
        // What is not a number comes last.
        order.sort_by(|left, right| mean_ratios[*left].total_cmp(&mean_ratios[*right]));
        let named = study.file.report.reference.as_ref();
        let reference = named
            .and_then(|name| comparison.policies.iter().position(|policy| policy == name))
            .unwrap_or(order.first().copied().unwrap_or(0));
        let mut strokes = vec![Stroke::Background; order.len()];
        let shown = order.iter().copied().take(study.file.report.highlighted);
        let mut shown: Vec<usize> = shown.collect();
        if !shown.contains(&reference) {
            shown.push(reference);
        }
        for (number, policy) in shown.into_iter().enumerate() {
            strokes[policy] = Stroke::Own(number);
        }
        Self { order, mean_ratios, reference, strokes }
    }

    /// The interval of each policy's ratio to the reference, wide enough for all of them together (Bonferroni).
    pub fn intervals(&self, study: &Study, comparison: &Comparison) -> Vec<Option<Interval>> {
        let report = &study.file.report;
        let others = (comparison.policies.len() - 1).max(1) as f64;
        let confidence = 1.0 - (1.0 - report.confidence) / others;
        (0..comparison.policies.len())
            .map(|policy| {
                if policy == self.reference {
                    return None;
                }
                let clusters = comparison.ratios_by_graph(policy, self.reference);
                ratio_interval(&clusters, confidence, report.resamples, BOOTSTRAP_SEED)
            })
            .collect()
    }
}

/// Instances of one network and knowledge.
pub(super) fn conditions(study: &Study) -> Vec<(usize, usize, String)> {
    let networks = study.file.networks.iter().enumerate();
    networks
        .flat_map(|(network, name)| {
            study
                .knowledge
                .iter()
                .enumerate()
                .map(move |(place, knowledge)| (network, place, format!("{name}, {knowledge} knowledge")))
        })
        .collect()
}

pub(super) fn rows_of(comparison: &Comparison, network: usize, knowledge: usize) -> Vec<&Row> {
    let is_of = |row: &&Row| (row.instance.network, row.instance.knowledge) == (network, knowledge);
    comparison.rows.iter().filter(is_of).collect()
}

/// All figures, in the order of the report.
pub(super) fn figures(study: &Study, comparison: &Comparison, standing: &Standing) -> Vec<Figure> {
    let all: Vec<&Row> = comparison.rows.iter().collect();
    let mut figures = vec![profile_figure(comparison, standing, &all, "profile", "all conditions")];
    let conditions = conditions(study);
    if conditions.len() > 1 {
        for (network, knowledge, name) in &conditions {
            let rows = rows_of(comparison, *network, *knowledge);
            let file = format!("profile-{}-{}", network + 1, knowledge + 1);
            figures.push(profile_figure(comparison, standing, &rows, &file, name));
        }
    }
    for (network, knowledge, name) in &conditions {
        let rows = rows_of(comparison, *network, *knowledge);
        let file = format!("axis-{}-{}", network + 1, knowledge + 1);
        figures.extend(axis_figure(study, comparison, standing, &rows, &file, name));
    }
    figures.extend(difference_figure(study, comparison));
    figures.push(forest_figure(study, comparison, standing));
    figures
}

fn profile_figure(
    comparison: &Comparison,
    standing: &Standing,
    rows: &[&Row],
    file: &str,
    condition: &str,
) -> Figure {
    let profiles = profile(&comparison.table(rows));
    let factors = profiles.iter().flatten().map(|point| point.factor);
    let most = factors.fold(1.1, f64::max).min(FACTOR_MAX);
    let series = standing.order.iter().filter_map(|policy| {
        let points = profiles.get(*policy)?;
        Some(Series {
            name: comparison.policies[*policy].clone(),
            points: points.iter().map(|point| (point.factor, point.part)).collect(),
            band: Vec::new(),
            stroke: standing.strokes[*policy],
        })
    });
    let chart = Chart {
        title: format!("Performance profile: {condition}"),
        subtitle: format!("n = {} instances; higher and further left is better", rows.len()),
        x: Axis {
            label: "makespan over the best of the instance (at most)".to_owned(),
            scale: Scale::logarithmic(1.0, most),
            ticks: None,
        },
        y: Axis { label: "part of the instances".to_owned(), scale: Scale::linear(0.0, 1.0), ticks: None },
        series: series.collect(),
        is_stepped: true,
    };
    Figure {
        file: format!("{file}.svg"),
        caption: format!(
            "Performance profile (Dolan and Moré 2002), {condition}: the part of the {} instances on which a policy's \
             makespan is at most the given factor above the best makespan of any policy of the study.",
            rows.len()
        ),
        svg: chart.svg(),
    }
}

/// The values of the axis and the rows at each, by rising value.
pub(super) fn by_axis<'a>(study: &Study, rows: &[&'a Row]) -> Vec<(f64, String, Vec<&'a Row>)> {
    let Some(axis) = &study.file.report.axis else { return Vec::new() };
    let mut groups: Vec<(f64, String, Vec<&Row>)> = Vec::new();
    for row in rows {
        let Some(text) = study.clusters[row.instance.cluster].parameters.get(axis) else { continue };
        let Ok(value) = text.parse::<f64>() else { continue };
        match groups.iter_mut().find(|(known, _, _)| *known == value) {
            Some((_, _, rows)) => rows.push(row),
            None => groups.push((value, text.clone(), vec![row])),
        }
    }
    groups.sort_by(|left, right| left.0.total_cmp(&right.0));
    groups
}

/// What the axis is called.
pub(super) fn axis_label(study: &Study) -> String {
    let report = &study.file.report;
    report.axis_label.clone().or_else(|| report.axis.clone()).unwrap_or_default()
}

fn axis_figure(
    study: &Study,
    comparison: &Comparison,
    standing: &Standing,
    rows: &[&Row],
    file: &str,
    condition: &str,
) -> Option<Figure> {
    let groups = by_axis(study, rows);
    if groups.len() < 2 {
        return None;
    }
    let positive = groups.iter().map(|(value, _, _)| *value).filter(|value| *value > 0.0);
    let least = positive.clone().fold(f64::INFINITY, f64::min);
    let most = positive.fold(0.0, f64::max);
    // There is no zero on a logarithmic axis: it stands to the left of all others.
    let place = |value: f64| if value > 0.0 { value } else { least / 4.0 };
    let ratios: Vec<Vec<f64>> = groups.iter().map(|(_, _, rows)| comparison.mean_ratios(rows)).collect();
    let series = standing.order.iter().map(|policy| Series {
        name: comparison.policies[*policy].clone(),
        points: groups
            .iter()
            .zip(&ratios)
            .map(|((value, _, _), ratios)| (place(*value), ratios[*policy]))
            .filter(|(_, ratio)| ratio.is_finite())
            .collect(),
        band: Vec::new(),
        stroke: standing.strokes[*policy],
    });
    let series: Vec<Series> = series.collect();
    let shown = series.iter().filter(|series| series.stroke != Stroke::Background);
    let highest = shown.flat_map(|series| &series.points).map(|(_, ratio)| *ratio).fold(1.05, f64::max);
    let chart = Chart {
        title: format!("Makespan ratio: {condition}"),
        subtitle: format!(
            "geometric mean over {} instances at each value; lower is better",
            groups.iter().map(|(_, _, rows)| rows.len()).min().unwrap_or(0)
        ),
        x: Axis {
            label: axis_label(study),
            scale: Scale::logarithmic(place(groups[0].0), most),
            ticks: Some(groups.iter().map(|(value, text, _)| (place(*value), text.clone())).collect()),
        },
        y: Axis {
            label: "makespan over the best of the instance".to_owned(),
            scale: Scale::logarithmic(1.0, (highest * 1.1).min(FACTOR_MAX)),
            ticks: None,
        },
        series,
        is_stepped: false,
    };
    Some(Figure {
        file: format!("{file}.svg"),
        caption: format!(
            "{condition}: geometric mean of makespan over the best makespan of the same instance, along {}. What lies \
             above the axis is drawn at its upper end.",
            axis_label(study)
        ),
        svg: chart.svg(),
    })
}

fn difference_figure(study: &Study, comparison: &Comparison) -> Option<Figure> {
    let blocks = comparison.over_seeds();
    let test = friedman(&blocks)?;
    let alpha = 1.0 - study.file.report.confidence;
    let difference = nemenyi_difference(comparison.policies.len(), blocks.len(), alpha);
    let mut names: Vec<RankedName> = comparison
        .policies
        .iter()
        .zip(&test.mean_ranks)
        .map(|(name, rank)| RankedName { name: name.clone(), rank: *rank })
        .collect();
    names.sort_by(|left, right| left.rank.total_cmp(&right.rank).then_with(|| left.name.cmp(&right.name)));
    let p = if test.p < 0.001 { "p < 0.001".to_owned() } else { format!("p = {}", fixed(test.p, 3)) };
    let diagram = DifferenceDiagram {
        title: "Mean ranks and critical difference".to_owned(),
        subtitle: format!(
            "Friedman with Iman and Davenport's correction: F = {}, {p}; Nemenyi at {}; n = {} blocks (seeds averaged)",
            significant(test.f, 4),
            significant(alpha, 2),
            test.instances
        ),
        names,
        critical_difference: difference,
    };
    Some(Figure {
        file: "critical-difference.svg".to_owned(),
        caption: format!(
            "Mean ranks over {} blocks of one graph, cluster, network and knowledge each, seeds averaged (Demšar 2006). \
             Policies under one bar are not told apart by the Nemenyi test. Blocks that share a graph are not \
             independent, so the difference shown is smaller than it should be for graphs unlike these.",
            test.instances
        ),
        svg: diagram.svg(),
    })
}

fn forest_figure(study: &Study, comparison: &Comparison, standing: &Standing) -> Figure {
    let intervals = standing.intervals(study, comparison);
    let rows = standing.order.iter().filter_map(|policy| {
        let interval = intervals[*policy]?;
        let (wins, ties, losses) = comparison.wins_ties_losses(*policy, standing.reference);
        Some(ForestRow {
            name: comparison.policies[*policy].clone(),
            middle: interval.middle,
            interval: (interval.low, interval.high),
            note: format!(
                "{} [{}, {}]  {wins}/{ties}/{losses}",
                fixed(interval.middle, 3),
                fixed(interval.low, 3),
                fixed(interval.high, 3)
            ),
        })
    });
    let graphs: BTreeSet<usize> = comparison.rows.iter().map(|row| row.instance.graph).collect();
    let reference = &comparison.policies[standing.reference];
    let forest = Forest {
        title: format!("Makespan against {reference}"),
        subtitle: format!(
            "geometric mean of ratios, {} % intervals for all together; n = {} instances of {} graphs; wins/ties/losses",
            significant(study.file.report.confidence * 100.0, 4),
            comparison.rows.len(),
            graphs.len()
        ),
        label: format!("makespan over that of {reference}; above 1 is worse"),
        rows: rows.collect(),
    };
    Figure {
        file: "ratios.svg".to_owned(),
        caption: format!(
            "Geometric mean of the makespan over that of {reference} on the same instance, with percentile intervals of a \
             bootstrap that draws whole graphs ({} draws, Bonferroni for {} comparisons). Blue intervals leave out 1.",
            study.file.report.resamples,
            comparison.policies.len().saturating_sub(1)
        ),
        svg: forest.svg(),
    }
}

/// Rows by the family of their graph, in the order of the grid.
pub(super) fn by_family<'a>(study: &Study, comparison: &'a Comparison) -> Vec<(String, Vec<&'a Row>)> {
    let mut places: BTreeMap<&str, usize> = BTreeMap::new();
    let mut families: Vec<(String, Vec<&Row>)> = Vec::new();
    for row in &comparison.rows {
        let family = study.graphs[row.instance.graph].family.as_str();
        let place = *places.entry(family).or_insert_with(|| {
            families.push((family.to_owned(), Vec::new()));
            families.len() - 1
        });
        families[place].1.push(row);
    }
    families
}
