//! The cells of a study: what each is, in which order, and the key by which its result is known.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use isochrone_policies::{LabelError, POLICIES};
use isochrone_workload::task_graph::ReadOptions;
use sha2::{Digest, Sha256};

use super::StudyError;
use super::checks::{Wrong, check, check_sources, unmatched};
use super::definition::{Lists, Seeds, StudyFile, Values};
use crate::simulation::{Knowledge, KnowledgeError};
use crate::sources;

/// Raised when results of older versions must not be mixed with new ones.
const CELL_VERSION: u32 = 1;

/// A study with its lists written out.
#[derive(Clone, Debug)]
pub struct Study {
    /// As it was written.
    pub file: StudyFile,
    /// Its text.
    pub text: String,
    /// Where the files that it names start.
    pub directory: PathBuf,
    /// The graphs.
    pub graphs: Vec<Point>,
    /// The clusters.
    pub clusters: Vec<Point>,
    /// Labels of policies; `{seed}` stands for the seed.
    pub policies: Vec<String>,
    /// What the scheduler knows.
    pub knowledge: Vec<Knowledge>,
    /// The seeds.
    pub seeds: Vec<u64>,
    /// Digests of the files that it names.
    pub inputs: BTreeMap<String, String>,
}

/// A graph or a cluster of the grid.
#[derive(Clone, Debug)]
pub struct Point {
    /// A file, generator or short form; `{seed}` stands for the seed.
    pub text: String,
    /// What the report groups it under.
    pub family: String,
    /// The values of `for` that made it.
    pub parameters: BTreeMap<String, String>,
    /// How to read it, where it is a graph.
    pub options: ReadOptions,
}

/// All of a cell but the policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Instance {
    /// Its place in the grid.
    pub index: usize,
    /// Into `Study::graphs`.
    pub graph: usize,
    /// Into `Study::clusters`.
    pub cluster: usize,
    /// Into the file's networks.
    pub network: usize,
    /// Into `Study::knowledge`.
    pub knowledge: usize,
    /// The seed.
    pub seed: u64,
}

/// A run to make.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cell {
    /// What is run where.
    pub instance: Instance,
    /// Into `Study::policies`.
    pub policy: usize,
}

/// A text with the seed in place.
pub(super) fn seeded(text: &str, seed: u64) -> String {
    text.replace("{seed}", &seed.to_string())
}

impl Study {
    /// Reads a study. Everything it names is looked at, so that nothing is found wrong halfway.
    ///
    /// # Errors
    /// With what is wrong first.
    pub fn load(path: &Path) -> Result<Self, StudyError> {
        let text = fs::read_to_string(path).map_err(StudyError::file(path))?;
        let directory = path.parent().unwrap_or(Path::new("")).to_owned();
        let mut study = Self::parse(path, text, directory)?;
        study.inputs = study.digests()?;
        check_sources(&study, path)?;
        Ok(study)
    }

    /// A study whose results are there: the files that it names need not be.
    ///
    /// # Errors
    /// When the text is no study.
    pub fn recorded(path: &Path, text: String, inputs: BTreeMap<String, String>) -> Result<Self, StudyError> {
        let study = Self::parse(path, text, PathBuf::new())?;
        Ok(Self { inputs, ..study })
    }

    fn parse(path: &Path, text: String, directory: PathBuf) -> Result<Self, StudyError> {
        let file: StudyFile = toml::from_str(&text)
            .map_err(|source| StudyError::Syntax { path: path.to_owned(), source: Box::new(source) })?;
        let made = Self::written_out(file, text, directory);
        made.and_then(|study| check(&study).map(|()| study)).map_err(|wrong| wrong.in_file(path))
    }

    fn written_out(file: StudyFile, text: String, directory: PathBuf) -> Result<Self, Wrong> {
        let mut graphs = Vec::new();
        for entry in &file.graphs {
            let options = ReadOptions {
                duration_unsaid_ns: entry.duration_unsaid_ns,
                item_bytes_unsaid: entry.bytes_unsaid,
                ..ReadOptions::default()
            };
            graphs.extend(points("graphs", &entry.graph, entry.family.as_deref(), &entry.lists, &options)?);
        }
        let mut clusters = Vec::new();
        for entry in &file.clusters {
            let options = ReadOptions::default();
            clusters.extend(points(
                "clusters",
                &entry.cluster,
                entry.family.as_deref(),
                &entry.lists,
                &options,
            )?);
        }
        let seeds = match &file.seeds {
            Seeds::List(list) => list.clone(),
            Seeds::Range(range) => (range.from..range.from.saturating_add(range.count)).collect(),
        };
        let mut knowledge = Vec::new();
        for label in &file.knowledge {
            knowledge.push(label.parse().map_err(|error: KnowledgeError| Wrong::new("knowledge", error))?);
        }
        let policies = policies(&file)?;
        Ok(Self {
            text,
            directory,
            graphs,
            clusters,
            policies,
            knowledge,
            seeds,
            inputs: BTreeMap::new(),
            file,
        })
    }

    fn digests(&self) -> Result<BTreeMap<String, String>, StudyError> {
        let mut digests = BTreeMap::new();
        for point in self.graphs.iter().chain(&self.clusters) {
            for text in self.seeds.iter().map(|seed| seeded(&point.text, *seed)) {
                if digests.contains_key(&text) || !sources::is_file(&text, &self.directory) {
                    continue;
                }
                let path = self.directory.join(&text);
                let bytes = fs::read(&path).map_err(StudyError::file(path))?;
                digests.insert(text, digest(&bytes));
            }
        }
        Ok(digests)
    }

    /// The instances in order: graphs outermost, then clusters, networks, knowledge, seeds.
    pub fn instances(&self) -> impl Iterator<Item = Instance> + '_ {
        (0..self.instance_count()).map(|index| self.instance(index))
    }

    /// How many there are.
    #[must_use]
    pub fn instance_count(&self) -> usize {
        self.graphs.len()
            * self.clusters.len()
            * self.file.networks.len()
            * self.knowledge.len()
            * self.seeds.len()
    }

    /// The instance at a place of the grid.
    #[must_use]
    pub fn instance(&self, index: usize) -> Instance {
        let mut rest = index;
        let mut take = |length: usize| {
            let place = rest % length;
            rest /= length;
            place
        };
        let seed = self.seeds[take(self.seeds.len())];
        let knowledge = take(self.knowledge.len());
        let network = take(self.file.networks.len());
        let cluster = take(self.clusters.len());
        Instance { index, graph: take(self.graphs.len()), cluster, network, knowledge, seed }
    }

    /// The graph's text for an instance.
    #[must_use]
    pub fn graph_text(&self, instance: Instance) -> String {
        seeded(&self.graphs[instance.graph].text, instance.seed)
    }

    /// What people call the graph of an instance: a file's name without its folders, a generator's label.
    #[must_use]
    pub fn graph_name(&self, instance: Instance) -> String {
        let text = self.graph_text(instance);
        if self.inputs.contains_key(&text) { sources::file_name(&text) } else { text }
    }

    /// The cluster's text for an instance.
    #[must_use]
    pub fn cluster_text(&self, instance: Instance) -> String {
        seeded(&self.clusters[instance.cluster].text, instance.seed)
    }

    /// The policy's label for a cell.
    #[must_use]
    pub fn policy_label(&self, cell: Cell) -> String {
        seeded(&self.policies[cell.policy], cell.instance.seed)
    }

    /// Policies as the report calls them: without the seed.
    #[must_use]
    pub fn policy_names(&self) -> Vec<String> {
        let short = |label: &String| {
            label.replace("(seed={seed})", "").replace(",seed={seed}", "").replace("seed={seed},", "")
        };
        self.policies.iter().map(short).collect()
    }

    /// The key of a cell: a digest of all that its result depends on.
    #[must_use]
    pub fn key(&self, cell: Cell) -> String {
        let instance = cell.instance;
        let (graph, cluster) = (self.graph_text(instance), self.cluster_text(instance));
        let options = &self.graphs[instance.graph].options;
        let input = |text: &String| self.inputs.get(text).cloned().unwrap_or_default();
        let definition = (
            (CELL_VERSION, env!("CARGO_PKG_VERSION"), self.file.steps_max),
            (&graph, input(&graph), options.duration_unsaid_ns, options.item_bytes_unsaid),
            (&cluster, input(&cluster)),
            &self.file.networks[instance.network],
            self.knowledge[instance.knowledge].to_string(),
            instance.seed,
            self.policy_label(cell),
        );
        // Debug of these types is stable, quotes strings, and never fails.
        digest(format!("{definition:?}").as_bytes())
    }

    /// The digest of the study: of its text and of the files that it names.
    #[must_use]
    pub fn digest(&self) -> String {
        digest(format!("{:?} {:?}", self.text, self.inputs).as_bytes())
    }

    /// The cells that are to be drawn, in the order of the file.
    #[must_use]
    pub fn gantt_cells(&self) -> Vec<Cell> {
        self.gantts_found().into_iter().flatten().collect()
    }

    /// What the report is asked for and cannot show, since the study has no such run.
    #[must_use]
    pub fn notes(&self) -> Vec<String> {
        let found = self.gantts_found();
        let choices = self.file.report.gantts.iter().zip(&found).enumerate();
        choices
            .filter(|(_, (_, cell))| cell.is_none())
            .map(|(number, (choice, _))| {
                format!("report.gantts[{number}] is not drawn: {}", unmatched(self, choice))
            })
            .collect()
    }

    /// For each chart that is wanted the first cell of the grid that is so.
    pub(super) fn gantts_found(&self) -> Vec<Option<Cell>> {
        let choices = &self.file.report.gantts;
        let mut found: Vec<Option<Cell>> = vec![None; choices.len()];
        for instance in self.instances() {
            if found.iter().all(Option::is_some) {
                break;
            }
            let graph = self.graph_text(instance);
            let cluster = self.cluster_text(instance);
            let knowledge = self.knowledge[instance.knowledge].to_string();
            for (choice, found) in choices.iter().zip(&mut found) {
                let is_so = found.is_none()
                    && graph.starts_with(&choice.graph)
                    && cluster.starts_with(&choice.cluster)
                    && self.file.networks[instance.network].starts_with(&choice.network)
                    && knowledge.starts_with(&choice.knowledge);
                if is_so {
                    let policy = self.policies.iter().position(|label| label.starts_with(&choice.policy));
                    *found = policy.map(|policy| Cell { instance, policy });
                }
            }
        }
        found
    }
}

pub(super) fn digest(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().take(16).map(|byte| format!("{byte:02x}")).collect()
}

/// Every combination of the lists, the last name's values changing fastest.
fn points(
    key: &str,
    text: &str,
    family: Option<&str>,
    lists: &Lists,
    options: &ReadOptions,
) -> Result<Vec<Point>, Wrong> {
    let mut combinations: Vec<BTreeMap<String, String>> = vec![BTreeMap::new()];
    for (name, Values::List(values)) in lists {
        if !text.contains(&format!("{{{name}}}")) {
            return Err(Wrong::new(key, format!("`for` has `{name}`, but `{text}` has no {{{name}}}")));
        }
        let mut longer = Vec::with_capacity(combinations.len() * values.len());
        for combination in &combinations {
            for value in values {
                let mut combination = combination.clone();
                combination.insert(name.clone(), value_text(key, name, value)?);
                longer.push(combination);
            }
        }
        combinations = longer;
    }
    let made = combinations.into_iter().map(|parameters| {
        let mut made = text.to_owned();
        for (name, value) in &parameters {
            made = made.replace(&format!("{{{name}}}"), value);
        }
        let rest = made.replace("{seed}", "");
        if rest.contains('{') || rest.contains('}') {
            return Err(Wrong::new(key, format!("`{made}` has a name in braces that `for` does not list")));
        }
        let family = family.map_or_else(|| family_of(&made), str::to_owned);
        Ok(Point { text: made, family, parameters, options: options.clone() })
    });
    made.collect()
}

fn value_text(key: &str, name: &str, value: &toml::Value) -> Result<String, Wrong> {
    match value {
        toml::Value::String(text) => Ok(text.clone()),
        toml::Value::Integer(number) => Ok(number.to_string()),
        toml::Value::Float(number) => Ok(number.to_string()),
        toml::Value::Boolean(truth) => Ok(truth.to_string()),
        toml::Value::Datetime(_) | toml::Value::Array(_) | toml::Value::Table(_) => {
            Err(Wrong::new(key, format!("a value of `{name}` is neither text nor a number: {value}")))
        }
    }
}

fn family_of(text: &str) -> String {
    if text.trim_end().ends_with(')') {
        return text.split('(').next().unwrap_or(text).trim().to_owned();
    }
    let name = Path::new(text).file_name().map(|name| name.to_string_lossy().into_owned());
    name.and_then(|name| name.split('.').next().map(str::to_owned)).unwrap_or_else(|| text.to_owned())
}

fn policies(file: &StudyFile) -> Result<Vec<String>, Wrong> {
    if let Some(name) = file.without.iter().find(|name| !POLICIES.iter().any(|info| info.name == **name)) {
        return Err(Wrong::new("without", LabelError::Unknown { name: name.clone() }));
    }
    let mut policies: Vec<String> = Vec::new();
    for label in &file.policies {
        let all = POLICIES.iter().filter(|info| !file.without.iter().any(|name| name == info.name));
        let labels: Vec<String> = match label.as_str() {
            "all" => all
                .filter(|info| isochrone_policies::create(info.name).is_ok())
                .map(|info| {
                    let is_seeded = info.parameters.iter().any(|(name, _, _)| *name == "seed");
                    if is_seeded { format!("{}(seed={{seed}})", info.name) } else { info.name.to_owned() }
                })
                .collect(),
            one => vec![one.to_owned()],
        };
        for label in labels {
            isochrone_policies::create(&seeded(&label, 0)).map_err(|error| Wrong::new("policies", error))?;
            if !policies.contains(&label) {
                policies.push(label);
            }
        }
    }
    Ok(policies)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn study(text: &str) -> Result<Study, StudyError> {
        Study::parse(Path::new("s.toml"), text.to_owned(), PathBuf::new())
    }

    const SMALL: &str = r#"
name = "small"
policies = ["heft", "random(seed={seed})"]
seeds = { from = 3, count = 2 }
knowledge = ["exact", "blind"]
[[graphs]]
graph = "cholesky(tiles={tiles},seed={seed})"
for = { tiles = [2, 3] }
[[clusters]]
cluster = "uniform(agents={agents},latency_us={latency})"
for = { agents = [2], latency = [0.5, 100] }
"#;

    #[test]
    fn lists_are_combined_and_every_cell_has_its_own_key() {
        let study = study(SMALL).unwrap();
        assert_eq!((study.graphs.len(), study.clusters.len(), study.instance_count()), (2, 2, 16));
        assert_eq!(study.clusters[0].text, "uniform(agents=2,latency_us=0.5)");
        assert_eq!(study.graphs[1].family, "cholesky");
        assert_eq!(study.policy_names(), ["heft", "random"]);
        let cells =
            study.instances().flat_map(|instance| (0..2).map(move |policy| Cell { instance, policy }));
        let keys: std::collections::BTreeSet<String> = cells.map(|cell| study.key(cell)).collect();
        assert_eq!(keys.len(), 32);
        let last = study.instance(15);
        assert_eq!((last.graph, last.cluster, last.knowledge, last.seed), (1, 1, 1, 4));
        assert_eq!(study.graph_text(last), "cholesky(tiles=3,seed=4)");
        assert_eq!(study.policy_label(Cell { instance: last, policy: 1 }), "random(seed=4)");
    }

    #[test]
    fn what_is_wrong_is_said_with_file_and_key() {
        let wrong = |from: &str, to: &str| study(&SMALL.replace(from, to)).unwrap_err().to_string();
        assert!(wrong("{tiles}", "4").contains("no {tiles}"));
        assert!(wrong("{ tiles = [2, 3] }", "{}").contains("does not list"));
        assert_eq!(
            wrong("\"heft\"", "\"hefd\""),
            "s.toml: policies: there is no policy `hefd`; did you mean `heft`? `isochrone policies` lists all"
        );
        assert!(wrong("count = 2", "count = 0").starts_with("s.toml: seeds: is empty"));
        assert_eq!(
            wrong("\"blind\"", "\"blond\""),
            "s.toml: knowledge: `blond` is no knowledge; did you mean `blind`? There are exact, noisy(percent=30), \
             mean and blind"
        );
        assert!(wrong("name =", "nome =").contains("no study"));
        assert!(wrong("seeds =", "without = [\"heff\"]\nseeds =").starts_with("s.toml: without: "));
    }

    #[test]
    fn a_report_of_what_the_grid_has_not_is_refused() {
        let with = |report: &str| study(&format!("{SMALL}[report]\n{report}\n"));
        let wrong = |report: &str| with(report).unwrap_err().to_string();
        assert_eq!(
            wrong("axis = \"lat\""),
            "s.toml: report.axis: no cluster has `lat` in its `for`; there are agents, latency"
        );
        assert_eq!(
            wrong("reference = \"hefty\""),
            "s.toml: report.reference: `hefty` is not among the policies of the study; did you mean `heft`?"
        );
        // A chart that cannot be drawn refuses nothing: the rest of the study is as good without it.
        let noted = with(
            "gantts = [{ policy = \"heft\" }, { graph = \"cholesky(tiles=4\" }, { policy = \"eager\" }]",
        );
        let noted = noted.unwrap();
        assert_eq!(
            noted.notes(),
            [
                "report.gantts[1] is not drawn: no graph of the study begins with `cholesky(tiles=4`; there is \
                 cholesky(tiles=2,seed=3), cholesky(tiles=2,seed=4), cholesky(tiles=3,seed=3), cholesky(tiles=3,seed=4)",
                "report.gantts[2] is not drawn: no policy of the study begins with `eager`; there is heft, random(seed={seed})"
            ]
        );
        assert_eq!(noted.gantt_cells().len(), 1);
        assert!(with("axis = \"latency\"\ngantts = [{ knowledge = \"bl\", policy = \"random\" }]").is_ok());
        let named =
            SMALL.replace("100] }", "100], link = [\"fast\"] }").replace("={latency}", "={latency},{link}=1");
        let error = study(&format!("{named}[report]\naxis = \"link\"\n")).unwrap_err().to_string();
        assert_eq!(error, "s.toml: report.axis: `link` has the value `fast`; an axis needs numbers");
    }

    #[test]
    fn values_of_the_wrong_kind_say_what_to_write() {
        let wrong = |from: &str, to: &str| {
            let error = study(&SMALL.replace(from, to)).unwrap_err();
            std::error::Error::source(&error).unwrap().to_string()
        };
        let seeds = "write a list such as [1, 2, 3], or { from = 1, count = 10 }";
        assert!(wrong("{ from = 3, count = 2 }", "7").contains(seeds));
        assert!(wrong(", count = 2 }", " }").contains(seeds));
        let labels = "write a list of labels, such as [\"heft\", \"eager\"]";
        assert!(wrong("[\"heft\", \"random(seed={seed})\"]", "\"heft\"").contains(labels));
        assert!(
            wrong("[\"exact\", \"blind\"]", "\"exact\"")
                .contains("write a list such as [\"exact\", \"blind\"]")
        );
        assert!(wrong("[2, 3]", "2").contains("write a list of values, such as [1, 10, 100]"));
    }
}
