//! How much the scheduler is told of the truth: a parameter of every experiment.

use std::fmt;
use std::str::FromStr;

use isochrone_model::suggestion::did_you_mean;
use isochrone_model::{AgentId, BytesPerSecond, SharedList, Span};
use isochrone_sched_core::scheduler::program_digest;
use isochrone_sched_core::{KernelName, StatedCosts, StatedDuration, StatedKernel, StatedLink};
use isochrone_workload::task_graph::{Appearance, GraphRequests, TaskCost, TaskGraph};

use super::truth::Truth;
use crate::cluster::{Cluster, Party};
use crate::network::Network;
use crate::random::Random;

/// What the scheduler knows of durations and links before the run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Knowledge {
    /// Everything, to the nanosecond.
    #[default]
    Exact,
    /// Every task's duration and every link's latency and rate times a factor of its own, drawn log-normally: a
    /// hundredth of `percent` is the standard deviation of the factor's logarithm.
    Noisy {
        /// Hundredths of the logarithm's standard deviation.
        percent: u32,
    },
    /// For every task the mean of its kind's durations on that device, for every link the mean of all links.
    Mean,
    /// Nothing of durations and rates: tasks of a kind look alike, and what they take is learnt from what has run. Round trips are
    /// known as a live farm knows them: its connections measure them before any task runs.
    Blind,
}

/// Why a name is no knowledge.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{given}` is no knowledge{} exact, noisy(percent=30), mean and blind", instead(given))]
pub struct KnowledgeError {
    given: String,
}

fn instead(given: &str) -> String {
    let name = given.split('(').next().unwrap_or(given);
    match did_you_mean(name, ["exact", "noisy", "mean", "blind"]) {
        suggestion if suggestion.is_empty() => "; there are".to_owned(),
        suggestion => format!("{suggestion} There are"),
    }
}

impl Knowledge {
    /// What the scheduler then knows, in a line for people.
    #[must_use]
    pub fn summary(self) -> &'static str {
        match self {
            Self::Exact => "the scheduler knows every duration and every link exactly",
            Self::Noisy { .. } => {
                "every duration, latency and rate that the scheduler knows is off by a factor of its own, drawn log-normally \
                 with this standard deviation of the logarithm"
            }
            Self::Mean => {
                "the scheduler knows the mean of each kind of task on each device, and the mean of all links"
            }
            Self::Blind => {
                "the scheduler knows round trips alone, as a live farm does, and learns durations and rates from what has run"
            }
        }
    }
}

impl fmt::Display for Knowledge {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact => formatter.write_str("exact"),
            Self::Noisy { percent } => write!(formatter, "noisy(percent={percent})"),
            Self::Mean => formatter.write_str("mean"),
            Self::Blind => formatter.write_str("blind"),
        }
    }
}

impl FromStr for Knowledge {
    type Err = KnowledgeError;

    fn from_str(text: &str) -> Result<Self, KnowledgeError> {
        let error = || KnowledgeError { given: text.to_owned() };
        match text.trim() {
            "exact" => Ok(Self::Exact),
            "mean" => Ok(Self::Mean),
            "blind" => Ok(Self::Blind),
            "noisy" => Ok(Self::Noisy { percent: 30 }),
            other => {
                let percent = other.strip_prefix("noisy(percent=").and_then(|rest| rest.strip_suffix(')'));
                let percent = percent.and_then(|percent| percent.trim().parse().ok()).ok_or_else(error)?;
                Ok(Self::Noisy { percent })
            }
        }
    }
}

/// What the scheduler is shown of a graph: how its tasks look, and by class the durations stated on each device.
pub(super) struct Shown {
    pub appearance: Appearance,
    /// By class, then by device; empty when nothing is stated.
    pub durations: Vec<SharedList<StatedDuration>>,
}

/// How a graph's tasks look to a scheduler of some knowledge.
///
/// Tasks of abstract work are launches of their kind's kernel over as many work-items as they claim work. Tasks with
/// a duration for each device are launches of one kernel for each different list of durations.
pub(super) fn shown(graph: &TaskGraph, truth: &Truth, knowledge: Knowledge, random: &mut Random) -> Shown {
    let claimed = claimed(graph, truth, knowledge, random);
    let mut classes = Classes::default();
    let mut appearance = Appearance::default();
    let mut durations: Vec<SharedList<StatedDuration>> = Vec::new();
    // By row of the truth: tasks of a row are of one class, unless they claim durations of their own.
    let mut class_of_row: Vec<Option<usize>> = Vec::new();
    for (place, task) in graph.tasks.iter().enumerate() {
        let row = truth.row_of(place);
        class_of_row.resize(class_of_row.len().max(row + 1), None);
        let stated = match (&claimed[place], class_of_row[row]) {
            (claim @ (Claim::Work(_) | Claim::Nothing), Some(class)) => {
                appearance.class_of.push(class);
                appearance.items_of.push(claim.items());
                continue;
            }
            (Claim::Work(_), None) => truth.rates_of(place).clone(),
            (Claim::Nothing, None) => SharedList::default(),
            (Claim::Durations(list), _) => {
                let of = |nanos: &u64| StatedDuration { base: Span(*nanos), nanos_per_mega_item: 0 };
                list.iter().map(of).collect()
            }
        };
        let (class, is_new) = classes.of(&task.kind, truth.legal_of(place), &stated);
        if is_new {
            durations.push(stated);
            let program = classes.program_of(truth.legal_of(place));
            appearance.program_of.push(program);
        }
        match &claimed[place] {
            Claim::Work(_) | Claim::Nothing => class_of_row[row] = Some(class),
            Claim::Durations(_) => {}
        }
        appearance.class_of.push(class);
        appearance.items_of.push(claimed[place].items());
    }
    appearance.sources = (0..classes.programs()).map(|program| format!("task graph {program}")).collect();
    Shown { appearance, durations }
}

enum Claim {
    Work(u64),
    Durations(Vec<u64>),
    Nothing,
}

impl Claim {
    /// The work-items that the task's launch claims.
    fn items(&self) -> u64 {
        match self {
            Self::Work(work) => *work,
            Self::Durations(_) | Self::Nothing => 1,
        }
    }
}

fn claimed(graph: &TaskGraph, truth: &Truth, knowledge: Knowledge, random: &mut Random) -> Vec<Claim> {
    let exact = |place: usize| match &graph.tasks[place].cost {
        TaskCost::Work(work) => Claim::Work(*work),
        TaskCost::PerDevice(_) => Claim::Durations(truth.durations_of(place)),
    };
    let places = 0..graph.tasks.len();
    match knowledge {
        Knowledge::Exact => places.map(exact).collect(),
        Knowledge::Blind => places.map(|_| Claim::Nothing).collect(),
        Knowledge::Noisy { percent } => places
            .map(|place| {
                let factor = random.log_normal(f64::from(percent) / 100.0);
                match exact(place) {
                    Claim::Work(work) => Claim::Work(times(work, factor)),
                    Claim::Durations(list) => {
                        Claim::Durations(list.into_iter().map(|nanos| times(nanos, factor)).collect())
                    }
                    Claim::Nothing => Claim::Nothing,
                }
            })
            .collect(),
        Knowledge::Mean => {
            let means = kind_means(graph, truth);
            places
                .map(|place| {
                    let task = &graph.tasks[place];
                    let mean = &means[task.kind.as_str()];
                    match &task.cost {
                        TaskCost::Work(_) => Claim::Work(mean.work()),
                        TaskCost::PerDevice(_) => {
                            Claim::Durations(mean.durations(&truth.durations_of(place)))
                        }
                    }
                })
                .collect()
        }
    }
}

/// Sums over the tasks of one kind.
#[derive(Default)]
struct KindMean {
    work: u128,
    tasks: u128,
    durations: Vec<u128>,
}

impl KindMean {
    fn work(&self) -> u64 {
        u64::try_from(self.work / self.tasks.max(1)).unwrap_or(u64::MAX)
    }

    /// The mean on each device, where the task can run there.
    fn durations(&self, own: &[u64]) -> Vec<u64> {
        let mean = |sum: &u128| u64::try_from(sum / self.tasks.max(1)).unwrap_or(u64::MAX);
        own.iter()
            .zip(&self.durations)
            .map(|(own, sum)| if *own == u64::MAX { *own } else { mean(sum) })
            .collect()
    }
}

fn kind_means<'a>(graph: &'a TaskGraph, truth: &Truth) -> std::collections::BTreeMap<&'a str, KindMean> {
    let mut means: std::collections::BTreeMap<&str, KindMean> = std::collections::BTreeMap::new();
    for (place, task) in graph.tasks.iter().enumerate() {
        let mean = means.entry(task.kind.as_str()).or_default();
        mean.tasks += 1;
        match &task.cost {
            TaskCost::Work(work) => mean.work += u128::from(*work),
            TaskCost::PerDevice(_) => {
                let durations = truth.durations_of(place);
                mean.durations.resize(durations.len(), 0);
                for (sum, nanos) in mean.durations.iter_mut().zip(durations) {
                    *sum += u128::from(nanos);
                }
            }
        }
    }
    means
}

/// Which tasks are launches of one kernel, and of which program.
#[derive(Default)]
struct Classes<'a> {
    classes: std::collections::HashMap<(&'a str, &'a [bool], SharedList<StatedDuration>), usize>,
    programs: std::collections::HashMap<&'a [bool], usize>,
}

impl<'a> Classes<'a> {
    fn of(&mut self, kind: &'a str, legal: &'a [bool], stated: &SharedList<StatedDuration>) -> (usize, bool) {
        let next = self.classes.len();
        let class = *self.classes.entry((kind, legal, stated.clone())).or_insert(next);
        (class, class == next)
    }

    /// Tasks that can run on the same devices are of one program: it builds there and nowhere else.
    fn program_of(&mut self, legal: &'a [bool]) -> usize {
        let next = self.programs.len();
        *self.programs.entry(legal).or_insert(next)
    }

    fn programs(&self) -> usize {
        self.programs.len()
    }
}

/// What is stated to the scheduler; `None` when nothing is.
pub(super) fn stated(
    durations: &[SharedList<StatedDuration>],
    requests: &GraphRequests<'_>,
    cluster: &Cluster,
    network: &dyn Network,
    knowledge: Knowledge,
    random: &mut Random,
) -> Option<StatedCosts> {
    if knowledge == Knowledge::Blind {
        return None;
    }
    let mut stated =
        StatedCosts { are_links_uncontended: network.is_uncontended(), ..StatedCosts::default() };
    for (program, kernels) in requests.kernels_of().iter().enumerate() {
        let digest = program_digest(&requests.appearance().sources[program], "");
        for kernel in kernels {
            stated.kernels.push(StatedKernel {
                kernel: KernelName { program_digest: digest.clone(), kernel: kernel.name() },
                durations: durations[kernel.class].clone(),
            });
        }
    }
    state_links(&mut stated, cluster, network, knowledge, random);
    Some(stated)
}

fn state_links(
    stated: &mut StatedCosts,
    cluster: &Cluster,
    network: &dyn Network,
    knowledge: Knowledge,
    random: &mut Random,
) {
    let agents = cluster.agents.len();
    let mut factor = || match knowledge {
        Knowledge::Noisy { percent } => random.log_normal(f64::from(percent) / 100.0),
        Knowledge::Exact | Knowledge::Mean | Knowledge::Blind => 1.0,
    };
    let mut control = Vec::new();
    for to in 0..agents {
        let (latency, rate, notice) = network.stated(Party::Scheduler, Party::Agent(to));
        control.push(Span(times(notice.0, factor())));
        let (_, _, word) = network.stated(Party::Scheduler, Party::Client);
        let (client_latency, client_rate, _) = network.stated(Party::Client, Party::Agent(to));
        let _ = (latency, rate);
        stated.clients.push((AgentId::from_index(to), word + client_latency, client_rate));
    }
    for from in 0..agents {
        for to in (0..agents).filter(|to| *to != from) {
            let (latency, rate, notice) = network.stated(Party::Agent(from), Party::Agent(to));
            let factor = factor();
            stated.links.push(StatedLink {
                from: AgentId::from_index(from),
                to: AgentId::from_index(to),
                latency: Span(times(latency.0, factor)),
                rate: BytesPerSecond(times(rate.0, 1.0 / factor).max(1)),
                notice: Span(times(notice.0, factor)),
            });
        }
    }
    if knowledge == Knowledge::Mean && !stated.links.is_empty() {
        let links = stated.links.len() as u128;
        let mean = |sum: u128| u64::try_from(sum / links).unwrap_or(u64::MAX);
        let latency = mean(stated.links.iter().map(|link| u128::from(link.latency.0)).sum());
        let notice = mean(stated.links.iter().map(|link| u128::from(link.notice.0)).sum());
        // The mean of what a byte takes, not of the rates: one slow link must count.
        let gibibyte = mean(stated.links.iter().map(|link| u128::from(link.rate.span_for(1 << 30).0)).sum());
        for link in &mut stated.links {
            link.latency = Span(latency);
            link.notice = Span(notice);
            link.rate = BytesPerSecond::from_transfer(1 << 30, Span(gibibyte));
        }
        let words = control.len().max(1) as u64;
        let word = control.iter().map(|span| span.0).sum::<u64>() / words;
        control.fill(Span(word));
    }
    stated.control =
        control.into_iter().enumerate().map(|(agent, span)| (AgentId::from_index(agent), span)).collect();
}

fn times(value: u64, factor: f64) -> u64 {
    if value == u64::MAX {
        // Stands for what cannot be, or for what is free.
        return value;
    }
    // The cast saturates; factors are positive and finite.
    if factor == 1.0 { value } else { (value as f64 * factor).round() as u64 }
}
