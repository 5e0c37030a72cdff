//! The figures of a report.
//!
//! Must never hold how figures look in general; that is `plot`.

use std::collections::{BTreeMap, BTreeSet};

use super::axis::{AxisGroups, axis_label, by_axis};
use super::comparison::{Comparison, Row, TIE};
use super::grid::Study;
use crate::plot::{
    Axis, Chart, DifferenceDiagram, Forest, ForestRow, RankedName, Scale, Series, Stroke, counted, duration,
    fixed, significant,
};
use crate::statistics::{friedman, geometric_mean, nemenyi_difference, profile, ratio_interval};

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

/// What a report of one graph says in place of intervals.
pub(super) const ONE_GRAPH: &str =
    "One graph: no interval can be drawn, since intervals draw whole graphs anew. Add graphs to get one.";

/// A policy's makespan over that of the reference.
pub(super) struct Against {
    /// Its geometric mean.
    pub mean: f64,
    /// The ends of the interval, where there are graphs to draw.
    pub interval: Option<(f64, f64)>,
}

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

    /// Each policy's ratio to the reference, with an interval wide enough for all of them together (Bonferroni).
    pub fn against_reference(&self, study: &Study, comparison: &Comparison) -> Vec<Option<Against>> {
        let report = &study.file.report;
        let others = (comparison.policies.len() - 1).max(1) as f64;
        let confidence = 1.0 - (1.0 - report.confidence) / others;
        (0..comparison.policies.len())
            .map(|policy| {
                if policy == self.reference {
                    return None;
                }
                let graphs = comparison.ratios_by_graph(policy, self.reference);
                let found = ratio_interval(&graphs, confidence, report.resamples, BOOTSTRAP_SEED)?;
                // One graph drawn anew is the same graph: its interval would have no width.
                let interval = (graphs.len() > 1).then_some((found.low, found.high));
                Some(Against { mean: found.middle, interval })
            })
            .collect()
    }
}

/// How many graphs there are in what is compared.
pub(super) fn graph_count(comparison: &Comparison) -> usize {
    comparison.rows.iter().map(|row| row.instance.graph).collect::<BTreeSet<usize>>().len()
}

/// `95 % interval`
pub(super) fn interval_name(study: &Study) -> String {
    format!("{} % interval", significant(study.file.report.confidence * 100.0, 4))
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

/// The figures along the axis, in the order of the report: ratio and makespan for each condition.
pub(super) fn axis_figures(study: &Study, comparison: &Comparison, standing: &Standing) -> Vec<Figure> {
    let mut figures = Vec::new();
    for (network, knowledge, name) in &conditions(study) {
        let rows = rows_of(comparison, *network, *knowledge);
        let file = format!("axis-{}-{}", network + 1, knowledge + 1);
        let along = Along { study, comparison, standing, groups: by_axis(study, &rows), condition: name };
        if along.groups.len() > 1 {
            figures.push(along.ratios(&file));
            figures.push(along.makespans(&format!("makespan-{}-{}", network + 1, knowledge + 1)));
        }
    }
    figures
}

/// The figures of all instances, in the order of the report.
pub(super) fn whole_figures(study: &Study, comparison: &Comparison, standing: &Standing) -> Vec<Figure> {
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
        subtitle: format!("n = {}; higher and further left is better", counted(rows.len(), "instance")),
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
            "Performance profile (Dolan and Moré 2002), {condition}: the part of {} on which a policy's makespan \
             is at most the given factor above the best makespan of any policy of the study.",
            counted(rows.len(), "instance")
        ),
        svg: chart.svg(),
    }
}

/// One condition along the axis.
struct Along<'a> {
    study: &'a Study,
    comparison: &'a Comparison,
    standing: &'a Standing,
    groups: AxisGroups<'a>,
    condition: &'a str,
}

impl Along<'_> {
    fn ratios(&self, file: &str) -> Figure {
        let series = self.series(|rows| self.comparison.mean_ratios(rows));
        let (_, highest) = shown_ends(&series);
        let most = (highest.max(1.05) * 1.1).min(FACTOR_MAX);
        let y = Axis {
            label: "makespan over the best of the instance".to_owned(),
            // A little below 1, so that a line along the best is not on the axis.
            scale: Scale::logarithmic(libm::pow(most, -0.03), most),
            ticks: None,
        };
        let axis = axis_label(self.study);
        let together = on_each_other(&series);
        let chart = self.chart("Makespan ratio", y, series);
        Figure {
            file: format!("{file}.svg"),
            caption: format!(
                "{}: {}makespan over the best makespan of the same instance, along {axis}. The best is taken \
                 anew at each value: a line that falls need not mean a shorter makespan. What lies above the axis is drawn at \
                 its upper end.{together}",
                self.condition,
                self.mean_of()
            ),
            svg: chart.svg(),
        }
    }

    fn makespans(&self, file: &str) -> Figure {
        let policies = 0..self.comparison.policies.len();
        let means = |rows: &[&Row]| -> Vec<f64> {
            let of = |policy: usize| {
                let nanos = rows.iter().map(|row| row.makespans[policy]).filter(|nanos| nanos.is_finite());
                geometric_mean(nanos)
            };
            policies.clone().map(of).collect()
        };
        let series = self.series(means);
        let (lowest, highest) = shown_ends(&series);
        let scale = Scale::logarithmic(lowest / 1.1, highest * 1.1);
        let ticks = scale.ticks().into_iter().map(|(nanos, _)| (nanos, duration(nanos, nanos, 4)));
        let ticks = Some(ticks.collect());
        let y = Axis { label: "makespan".to_owned(), scale, ticks };
        let axis = axis_label(self.study);
        let together = on_each_other(&series);
        let chart = self.chart("Makespan", y, series);
        Figure {
            file: format!("{file}.svg"),
            caption: format!(
                "{}: {}makespan, along {axis}; runs that failed are left out.{together}",
                self.condition,
                self.mean_of()
            ),
            svg: chart.svg(),
        }
    }

    /// What a value is, where it is not one run alone.
    fn mean_of(&self) -> &'static str {
        if self.instances_most() > 1 { "geometric mean of " } else { "" }
    }

    fn instances_most(&self) -> usize {
        self.groups.iter().map(|(_, _, rows)| rows.len()).max().unwrap_or(0)
    }

    fn series(&self, values: impl Fn(&[&Row]) -> Vec<f64>) -> Vec<Series> {
        let values: Vec<Vec<f64>> = self.groups.iter().map(|(_, _, rows)| values(rows)).collect();
        let of = |policy: &usize| Series {
            name: self.comparison.policies[*policy].clone(),
            points: self
                .groups
                .iter()
                .zip(&values)
                .map(|((value, _, _), values)| (self.place(*value), values[*policy]))
                .filter(|(_, value)| value.is_finite())
                .collect(),
            band: Vec::new(),
            stroke: self.standing.strokes[*policy],
        };
        self.standing.order.iter().map(of).collect()
    }

    /// There is no zero on a logarithmic axis: it stands to the left of all others.
    fn place(&self, value: f64) -> f64 {
        let positive = self.groups.iter().map(|(value, _, _)| *value).filter(|value| *value > 0.0);
        if value > 0.0 { value } else { positive.fold(f64::INFINITY, f64::min) / 4.0 }
    }

    fn chart(&self, title: &str, y: Axis, series: Vec<Series>) -> Chart {
        let least = self.groups.iter().map(|(_, _, rows)| rows.len()).min().unwrap_or(0);
        let most = self.groups.iter().map(|(value, _, _)| *value).fold(0.0, f64::max);
        let ticks = self.groups.iter().map(|(value, text, _)| (self.place(*value), text.clone()));
        Chart {
            title: format!("{title}: {}", self.condition),
            subtitle: if self.instances_most() > 1 {
                format!("geometric mean over {} at each value; lower is better", counted(least, "instance"))
            } else {
                "lower is better".to_owned()
            },
            x: Axis {
                label: axis_label(self.study),
                scale: Scale::logarithmic(self.place(self.groups[0].0), most),
                ticks: Some(ticks.collect()),
            },
            y,
            series,
            is_stepped: false,
        }
    }
}

/// A sentence on lines that cannot be told apart anywhere, since they lie on each other.
fn on_each_other(series: &[Series]) -> String {
    let mut groups: Vec<Vec<&Series>> = Vec::new();
    for line in series.iter().filter(|series| series.stroke != Stroke::Background) {
        match groups.iter_mut().find(|group| is_on(group[0], line)) {
            Some(group) => group.push(line),
            None => groups.push(vec![line]),
        }
    }
    let together = groups.iter().filter(|group| group.len() > 1);
    let names = together.map(|group| {
        let names: Vec<&str> = group.iter().map(|line| line.name.as_str()).collect();
        names.join(" = ")
    });
    let names: Vec<String> = names.collect();
    if names.is_empty() { String::new() } else { format!(" Lines on each other: {}.", names.join("; ")) }
}

fn is_on(one: &Series, other: &Series) -> bool {
    let is_near = |((x, y), (other_x, other_y)): (&(f64, f64), &(f64, f64))| {
        x == other_x && *y < other_y * TIE && *other_y < y * TIE
    };
    one.points.len() == other.points.len() && one.points.iter().zip(&other.points).all(is_near)
}

/// The lowest and the highest value of all lines that are shown by name.
fn shown_ends(series: &[Series]) -> (f64, f64) {
    let shown = series.iter().filter(|series| series.stroke != Stroke::Background);
    let values = shown.flat_map(|series| &series.points).map(|(_, value)| *value);
    values.fold((f64::INFINITY, 0.0), |(low, high), value| (low.min(value), high.max(value)))
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
    let dependence = if graph_count(comparison) > 1 {
        "Blocks that share a graph are not independent, so the difference shown is smaller than it should be for graphs unlike \
         these."
    } else {
        "All blocks share one graph: the test says nothing of others."
    };
    let p = if test.p < 0.001 { "p < 0.001".to_owned() } else { format!("p = {}", fixed(test.p, 3)) };
    let diagram = DifferenceDiagram {
        title: "Mean ranks and critical difference".to_owned(),
        subtitle: format!(
            "Friedman with Iman and Davenport's correction: F = {}, {p}; Nemenyi at {}; n = {} (seeds averaged)",
            significant(test.f, 4),
            significant(alpha, 2),
            counted(test.instances, "block")
        ),
        names,
        critical_difference: difference,
    };
    Some(Figure {
        file: "critical-difference.svg".to_owned(),
        caption: format!(
            "Mean ranks over {} of one graph, cluster, network and knowledge each, seeds averaged (Demšar 2006). \
             Policies under one bar are not told apart by the Nemenyi test. {dependence}",
            counted(test.instances, "block")
        ),
        svg: diagram.svg(),
    })
}

fn forest_figure(study: &Study, comparison: &Comparison, standing: &Standing) -> Figure {
    let ratios = standing.against_reference(study, comparison);
    let rows = standing.order.iter().filter_map(|policy| {
        let ratio = ratios[*policy].as_ref()?;
        let (wins, ties, losses) = comparison.wins_ties_losses(*policy, standing.reference);
        let interval = ratio
            .interval
            .map_or(String::new(), |(low, high)| format!(" [{}, {}]", fixed(low, 3), fixed(high, 3)));
        Some(ForestRow {
            name: comparison.policies[*policy].clone(),
            middle: ratio.mean,
            interval: ratio.interval,
            note: format!("{}{interval}  {wins}/{ties}/{losses}", fixed(ratio.mean, 3)),
        })
    });
    let graphs = graph_count(comparison);
    let reference = &comparison.policies[standing.reference];
    let (intervals, how) = if graphs > 1 {
        let how = format!(
            "with percentile intervals of a bootstrap that draws whole graphs ({} draws, Bonferroni for {}). Blue \
             intervals leave out 1.",
            study.file.report.resamples,
            counted(comparison.policies.len().saturating_sub(1), "comparison")
        );
        (format!("{}s for all together; ", interval_name(study)), how)
    } else {
        (String::new(), format!("without intervals. {ONE_GRAPH}"))
    };
    let forest = Forest {
        title: format!("Makespan against {reference}"),
        subtitle: format!(
            "geometric mean of ratios; {intervals}n = {} of {}; wins/ties/losses",
            counted(comparison.rows.len(), "instance"),
            counted(graphs, "graph")
        ),
        label: format!("makespan over that of {reference}; above 1 is worse"),
        rows: rows.collect(),
    };
    Figure {
        file: "ratios.svg".to_owned(),
        caption: format!(
            "Geometric mean of the makespan over that of {reference} on the same instance, {how}"
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
