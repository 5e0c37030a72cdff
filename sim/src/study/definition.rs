//! The study file as it is written.
//!
//! Must never hold what its values stand for.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer};

/// A study.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StudyFile {
    /// Its name.
    pub name: String,
    /// What it asks, for the report.
    #[serde(default)]
    pub description: String,
    /// The graphs.
    pub graphs: Vec<GraphEntry>,
    /// The clusters.
    pub clusters: Vec<ClusterEntry>,
    /// Labels of network models.
    #[serde(default = "classic", deserialize_with = "networks")]
    pub networks: Vec<String>,
    /// Labels of policies; `all` stands for every one that needs no parameter.
    #[serde(deserialize_with = "policies")]
    pub policies: Vec<String>,
    /// Names to leave out of `all`.
    #[serde(default, deserialize_with = "policies")]
    pub without: Vec<String>,
    /// What the scheduler knows.
    #[serde(default = "exact", deserialize_with = "knowledge")]
    pub knowledge: Vec<String>,
    /// The seeds.
    pub seeds: Seeds,
    /// Runs of more steps than this are given up and recorded as failed.
    #[serde(default = "steps_max")]
    pub steps_max: u64,
    /// What the report shows.
    #[serde(default)]
    pub report: ReportSection,
}

fn classic() -> Vec<String> {
    vec!["classic".to_owned()]
}

fn exact() -> Vec<String> {
    vec!["exact".to_owned()]
}

fn steps_max() -> u64 {
    50_000_000
}

/// A list, and what to write where something else is there.
macro_rules! listed {
    ($name:ident, $expecting:literal) => {
        fn $name<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
            #[derive(Deserialize)]
            #[serde(untagged, expecting = $expecting)]
            enum Written {
                List(Vec<String>),
            }
            let Written::List(list) = Written::deserialize(deserializer)?;
            Ok(list)
        }
    };
}

listed!(policies, "write a list of labels, such as [\"heft\", \"eager\"]");
listed!(networks, "write a list such as [\"shared\", \"quic\"]");
listed!(knowledge, "write a list such as [\"exact\", \"blind\"]");

/// Lists of values for the names in braces: every combination is one graph or cluster.
pub type Lists = BTreeMap<String, Values>;

/// Values of one name.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged, expecting = "write a list of values, such as [1, 10, 100]")]
pub enum Values {
    /// These.
    List(Vec<toml::Value>),
}

/// Graphs.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GraphEntry {
    /// A file or a generator, with names in braces for values of `for`, and `{seed}`.
    pub graph: String,
    /// What the report groups it under; by default the generator's or the file's name.
    pub family: Option<String>,
    /// Values.
    #[serde(default, rename = "for")]
    pub lists: Lists,
    /// The duration of tasks whose duration the file does not say, in nanoseconds of work.
    pub duration_unsaid_ns: Option<u64>,
    /// The size of files whose size the graph does not say.
    pub bytes_unsaid: Option<u64>,
}

/// Clusters.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClusterEntry {
    /// A file or a short form, with names in braces for values of `for`, and `{seed}`.
    pub cluster: String,
    /// What the report groups it under; by default the form's or the file's name.
    pub family: Option<String>,
    /// Values.
    #[serde(default, rename = "for")]
    pub lists: Lists,
}

/// Seeds.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged, expecting = "write a list such as [1, 2, 3], or { from = 1, count = 10 }")]
pub enum Seeds {
    /// These.
    List(Vec<u64>),
    /// So many from one on.
    Range(SeedRange),
}

/// Seeds one after another.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SeedRange {
    /// The first.
    pub from: u64,
    /// How many.
    pub count: u64,
}

/// `[report]`
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ReportSection {
    /// The policy that all are compared with; by default the one with the lowest mean ratio.
    pub reference: Option<String>,
    /// A name of the clusters' `for` that figures have along x.
    pub axis: Option<String>,
    /// What the axis is called.
    pub axis_label: Option<String>,
    /// Confidence of all intervals together.
    pub confidence: f64,
    /// Draws of the bootstrap.
    pub resamples: usize,
    /// Lines in colour; the others are grey.
    pub highlighted: usize,
    /// Runs to draw.
    pub gantts: Vec<GanttChoice>,
}

impl Default for ReportSection {
    fn default() -> Self {
        Self {
            reference: None,
            axis: None,
            axis_label: None,
            confidence: 0.95,
            resamples: 10_000,
            highlighted: 8,
            gantts: Vec::new(),
        }
    }
}

/// A run to draw: the first of the grid for which every key that is given begins so.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct GanttChoice {
    /// Beginning of the graph.
    pub graph: String,
    /// Beginning of the cluster.
    pub cluster: String,
    /// Beginning of the network's label.
    pub network: String,
    /// Beginning of the knowledge.
    pub knowledge: String,
    /// Beginning of the policy's label.
    pub policy: String,
}
