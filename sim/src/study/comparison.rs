//! Makespans side by side: a row for each instance, a column for each policy.

use std::collections::{BTreeMap, BTreeSet};

use super::grid::{Cell, Instance, Study};
use super::results::CellEnd;
use super::run::Records;
use crate::statistics::geometric_mean;

/// Makespans whose ratio is below this tie: tables and sentences print two digits.
pub(super) const TIE: f64 = 1.005;

/// An instance with all its makespans.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// What was run where.
    pub instance: Instance,
    /// By policy, in nanoseconds; infinite where the run failed.
    pub makespans: Vec<f64>,
}

/// All instances of which every cell has a record.
#[derive(Clone, Debug)]
pub struct Comparison {
    /// Policies, as the report calls them.
    pub policies: Vec<String>,
    /// In the order of the grid.
    pub rows: Vec<Row>,
    /// How many of the rows differ: others repeat the runs of another seed where nothing is random.
    pub distinct: usize,
    /// Instances that are not complete and so left out.
    pub incomplete: usize,
    /// Failed cells: instance, policy, reason.
    pub failures: Vec<(Instance, usize, String)>,
}

impl Comparison {
    /// Of a study's records.
    #[must_use]
    pub fn new(study: &Study, records: &Records) -> Self {
        let policies = study.policy_names();
        let (mut rows, mut failures, mut incomplete) = (Vec::new(), Vec::new(), 0);
        let mut results: BTreeSet<(Block, Vec<&str>)> = BTreeSet::new();
        for instance in study.instances() {
            let ends: Vec<Option<&CellEnd>> = (0..policies.len())
                .map(|policy| records.get(&study.key(Cell { instance, policy })).map(|record| &record.end))
                .collect();
            for (policy, end) in ends.iter().enumerate() {
                if let Some(CellEnd::Failed(reason)) = end {
                    failures.push((instance, policy, reason.clone()));
                }
            }
            if ends.iter().any(Option::is_none) {
                incomplete += 1;
                continue;
            }
            results.insert((block(&instance), ends.iter().flatten().map(|end| result(end)).collect()));
            let makespans = ends.into_iter().map(|end| match end {
                Some(CellEnd::Done(measures)) => measures.makespan_ns.max(1) as f64,
                Some(CellEnd::Failed(_)) | None => f64::INFINITY,
            });
            rows.push(Row { instance, makespans: makespans.collect() });
        }
        Self { policies, rows, distinct: results.len(), incomplete, failures }
    }

    /// Rows of makespans.
    #[must_use]
    pub fn table(&self, rows: &[&Row]) -> Vec<Vec<f64>> {
        rows.iter().map(|row| row.makespans.clone()).collect()
    }

    /// By policy, the median of the makespans in seconds; runs that failed are left out.
    #[must_use]
    pub fn median_seconds(&self, rows: &[&Row]) -> Vec<f64> {
        let median = |policy: usize| {
            let mut values: Vec<f64> =
                rows.iter().map(|row| row.makespans[policy]).filter(|value| value.is_finite()).collect();
            values.sort_by(f64::total_cmp);
            match (values.get(values.len().saturating_sub(1) / 2), values.get(values.len() / 2)) {
                (Some(low), Some(high)) => (low + high) / 2.0 / 1e9,
                (Some(_) | None, None) | (None, Some(_)) => f64::NAN,
            }
        };
        (0..self.policies.len()).map(median).collect()
    }

    /// By policy, the geometric mean of makespan over the instance's best; runs that failed are left out.
    #[must_use]
    pub fn mean_ratios(&self, rows: &[&Row]) -> Vec<f64> {
        (0..self.policies.len())
            .map(|policy| {
                geometric_mean(
                    rows.iter()
                        .map(|row| row.makespans[policy] / row.best())
                        .filter(|ratio| ratio.is_finite()),
                )
            })
            .collect()
    }

    /// Rows without the seed: the geometric mean over the seeds, infinite where any run failed.
    #[must_use]
    pub fn over_seeds(&self) -> Vec<Vec<f64>> {
        let mut blocks: BTreeMap<Block, Vec<&Row>> = BTreeMap::new();
        for row in &self.rows {
            blocks.entry(block(&row.instance)).or_default().push(row);
        }
        blocks
            .into_values()
            .map(|rows| {
                (0..self.policies.len())
                    .map(|policy| geometric_mean(rows.iter().map(|row| row.makespans[policy])))
                    .collect()
            })
            .collect()
    }

    /// Ratios of a policy's makespan to another's in clusters of one graph each: what a graph gives under many
    /// latencies and seeds is not independent. Pairs in which either failed are left out.
    #[must_use]
    pub fn ratios_by_graph(&self, policy: usize, reference: usize) -> Vec<Vec<f64>> {
        let mut clusters: BTreeMap<usize, Vec<f64>> = BTreeMap::new();
        for row in &self.rows {
            let (one, other) = (row.makespans[policy], row.makespans[reference]);
            if one.is_finite() && other.is_finite() {
                clusters.entry(row.instance.graph).or_default().push(one / other);
            }
        }
        clusters.into_values().collect()
    }

    /// How often a policy is better than, as good as (within half a percent), worse than another.
    #[must_use]
    pub fn wins_ties_losses(&self, policy: usize, reference: usize) -> (usize, usize, usize) {
        let mut counts = (0, 0, 0);
        for row in &self.rows {
            let (one, other) = (row.makespans[policy], row.makespans[reference]);
            if one == other || (one < other * TIE && other < one * TIE) {
                counts.1 += 1;
            } else if one < other {
                counts.0 += 1;
            } else {
                counts.2 += 1;
            }
        }
        counts
    }
}

/// An instance without its seed: graph, cluster, network, knowledge.
type Block = (usize, usize, usize, usize);

fn block(of: &Instance) -> Block {
    (of.graph, of.cluster, of.network, of.knowledge)
}

/// What tells a run's end from others.
fn result(end: &CellEnd) -> &str {
    match end {
        CellEnd::Done(measures) => &measures.digest,
        CellEnd::Failed(reason) => reason,
    }
}

impl Row {
    /// The shortest makespan.
    #[must_use]
    pub fn best(&self) -> f64 {
        self.makespans.iter().copied().fold(f64::INFINITY, f64::min)
    }
}
