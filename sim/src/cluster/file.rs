//! Cluster files: what their keys mean. The format is described in `docs/cluster-files.md`.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::io::Read as _;
use std::path::Path as FilePath;

use isochrone_model::{BytesPerSecond, Span};

use super::document::{Node, Reports, Table, with_root};
use super::errors::{ClusterError, ClusterProblem};
use super::{
    Access, Cluster, ClusterAgent, ClusterDevice, InputPlace, KindSpeed, Latency, LinkSpec, Party, Path,
    Topology, UNLIMITED, presets,
};

/// Pairs of parties are kept in dense tables: 16 MiB for this many.
pub(super) const AGENTS_MAX: u64 = 2048;
/// Devices of the whole cluster.
pub(super) const DEVICES_MAX: u64 = 65_536;
/// No cluster of [`AGENTS_MAX`] agents needs more text.
const FILE_BYTES_MAX: u64 = 4 << 20;

const ROOT_KEYS: &[&str] = &[
    "name",
    "description",
    "inputs_at",
    "default_link",
    "presets",
    "scheduler",
    "client",
    "agents",
    "links",
];
const HOST_KEYS: &[&str] = &["site", "access"];
const AGENT_KEYS: &[&str] = &["name", "count", "site", "access", "host_memory_gib", "devices"];
const DEVICE_KEYS: &[&str] =
    &["name", "count", "speed", "slots", "memory_gib", "launch_us", "host_copy_mbit", "column", "kinds"];
const LINK_KEYS: &[&str] = &["preset", "latency_us", "bandwidth_mbit", "loss"];
const ACCESS_KEYS: &[&str] = &["preset", "latency_us", "up_mbit", "down_mbit", "loss"];
const RULE_KEYS: &[&str] = &["between", "from", "to", "link", "shared"];
const LATENCY_KEYS: &[&str] = &["mean_us", "deviation_us", "median_us", "sigma", "quantiles_us", "min_us"];

const EXPECTED_LINK: &str = "the name of a preset, or a table with latency_us and bandwidth_mbit";
const EXPECTED_ACCESS: &str = "the name of a preset, \"unlimited\", or a table with up_mbit and down_mbit";
const EXPECTED_NAME: &str = "a name of letters, digits, dots, dashes and underscores";

/// Nanoseconds of microseconds, to the nearest.
pub(super) fn micros(value: f64) -> Span {
    Span((value * 1_000.0 + 0.5) as u64)
}

/// The rate of megabits each second; `None` when it is not even a byte or not representable.
pub(super) fn rate(megabits: f64) -> Option<BytesPerSecond> {
    let bytes = (megabits * 125_000.0 + 0.5) as u64;
    (bytes > 0 && bytes < u64::MAX).then_some(BytesPerSecond(bytes))
}

pub(super) fn load(path: &FilePath) -> Result<Cluster, ClusterError> {
    let read_error = |source| ClusterError::Read { path: path.to_owned(), source };
    let file = fs::File::open(path).map_err(read_error)?;
    let mut text = String::new();
    file.take(FILE_BYTES_MAX + 1).read_to_string(&mut text).map_err(read_error)?;
    if text.len() as u64 > FILE_BYTES_MAX {
        return Err(ClusterError::TooLarge { path: path.to_owned(), bytes_max: FILE_BYTES_MAX });
    }
    parse(&text, &path.display().to_string())
}

pub(super) fn parse(text: &str, file: &str) -> Result<Cluster, ClusterError> {
    let mut reports = Reports::new(text, file);
    let cluster = with_root(text, &mut reports, |root, reports| read(root, file, reports));
    reports.finish(cluster).map_err(ClusterError::File)
}

/// Where hosts are and what they are called.
struct Host {
    /// Its name, and where it is written.
    site: Option<(String, usize, String)>,
    access: Option<Access>,
}

/// What a name in `[[links]]` stands for: how specific it is, and the hosts by place.
struct Named {
    rank: u8,
    hosts: Vec<usize>,
}

struct Names {
    known: BTreeMap<String, Named>,
    owners: HashMap<String, &'static str>,
}

/// Hosts to hosts by one path.
struct Rule {
    rank: u8,
    from: Vec<usize>,
    to: Vec<usize>,
    path: usize,
}

fn read(root: &Node<'_>, file: &str, reports: &mut Reports<'_>) -> Option<Cluster> {
    let root = root.table(ROOT_KEYS, "a table", reports)?;
    let stem = || {
        FilePath::new(file).file_stem().map_or_else(String::new, |stem| stem.to_string_lossy().into_owned())
    };
    let name = root.text("name", "a string", reports).map_or_else(stem, str::to_owned);
    root.text("description", "a string", reports);
    let inputs_at = match root.get("inputs_at").map(|node| (node, node.text())) {
        None | Some((_, Some("everywhere"))) => InputPlace::Everywhere,
        Some((_, Some("client"))) => InputPlace::Client,
        Some((node, _)) => {
            node.wrong("\"everywhere\" or \"client\"", reports);
            InputPlace::Everywhere
        }
    };
    let named_links = read_named_links(&root, reports);
    let default = root
        .require(
            "default_link",
            "write default_link = \"campus\", or a table with latency_us and bandwidth_mbit",
            reports,
        )
        .and_then(|node| read_link(node, &named_links, reports));
    let mut names = Names { known: BTreeMap::new(), owners: HashMap::new() };
    let mut hosts = vec![
        read_host("scheduler", 0, &root, &mut names, reports),
        read_host("client", 1, &root, &mut names, reports),
    ];
    let agents = read_agents(&root, &mut hosts, &mut names, reports);
    add_sites(&hosts, &mut names, reports);
    let mut paths = vec![Path { link: default?, is_shared: false }];
    let rules = read_rules(&root, &names, &named_links, &mut paths, reports);
    let topology = build(&hosts, paths, &rules);
    (!agents.is_empty()).then_some(Cluster { name, agents, inputs_at, topology })
}

fn read_named_links(root: &Table<'_>, reports: &mut Reports<'_>) -> BTreeMap<String, LinkSpec> {
    let mut named = BTreeMap::new();
    let Some(table) = root.get("presets").and_then(|node| node.open_table("a table of links", reports))
    else {
        return named;
    };
    for (name, node) in table.entries() {
        if presets::preset(name).is_some() {
            let problem = ClusterProblem::NameTaken { name: name.clone(), by: "a preset that is built in" };
            reports.report(node.line, &node.key, problem);
        } else if let Some(link) = read_link(node, &named, reports) {
            named.insert(name.clone(), link);
        }
    }
    named
}

fn unknown_preset(
    node: &Node<'_>,
    name: &str,
    named: &BTreeMap<String, LinkSpec>,
    reports: &mut Reports<'_>,
) {
    let known = presets::names().into_iter().map(str::to_owned).chain(named.keys().cloned()).collect();
    let problem = ClusterProblem::Unknown { what: "preset", name: name.to_owned(), known };
    reports.report(node.line, &node.key, problem);
}

fn read_link(
    node: &Node<'_>,
    named: &BTreeMap<String, LinkSpec>,
    reports: &mut Reports<'_>,
) -> Option<LinkSpec> {
    let preset = |node: &Node<'_>, name: &str, reports: &mut Reports<'_>| {
        let found = presets::preset(name).map(|preset| preset.link()).or_else(|| named.get(name).cloned());
        if found.is_none() {
            unknown_preset(node, name, named, reports);
        }
        found
    };
    if let Some(name) = node.text() {
        return preset(node, name, reports);
    }
    let table = node.table(LINK_KEYS, EXPECTED_LINK, reports)?;
    let base = match table.get("preset") {
        None => None,
        Some(node) => match node.text() {
            Some(name) => Some(preset(node, name, reports)?),
            None => {
                node.wrong("the name of a preset", reports);
                return None;
            }
        },
    };
    let (base_latency, base_rate, base_loss) = match base {
        Some(base) => (Some(base.latency), Some(base.bandwidth), base.loss),
        None => (None, None, 0.0),
    };
    let latency = read_latency(&table, base_latency, reports);
    let bandwidth = read_rate(&table, "bandwidth_mbit", base_rate, reports);
    let loss = read_loss(&table, base_loss, reports);
    Some(LinkSpec { latency: latency?, bandwidth: bandwidth?, loss: loss? })
}

fn read_access(node: &Node<'_>, reports: &mut Reports<'_>) -> Option<Access> {
    let preset = |node: &Node<'_>, name: &str, reports: &mut Reports<'_>| {
        let found = presets::preset(name).map(|preset| preset.access());
        if found.is_none() {
            unknown_preset(node, name, &BTreeMap::new(), reports);
        }
        found
    };
    match node.text() {
        Some("unlimited") => return Some(Access::UNLIMITED),
        Some(name) => return preset(node, name, reports),
        None => {}
    }
    let table = node.table(ACCESS_KEYS, EXPECTED_ACCESS, reports)?;
    let base = match table.get("preset").map(|node| (node, node.text())) {
        None => None,
        Some((node, Some(name))) => Some(preset(node, name, reports)?),
        Some((node, None)) => {
            node.wrong("the name of a preset", reports);
            return None;
        }
    };
    let (latency, up, down, loss) = match base {
        Some(base) => (base.latency, Some(base.up), Some(base.down), base.loss),
        None => (Latency::ZERO, None, None, 0.0),
    };
    let latency = read_latency(&table, Some(latency), reports);
    let up = read_rate(&table, "up_mbit", up, reports);
    let down = read_rate(&table, "down_mbit", down, reports);
    let loss = read_loss(&table, loss, reports);
    Some(Access { latency: latency?, up: up?, down: down?, loss: loss? })
}

fn read_rate(
    table: &Table<'_>,
    name: &'static str,
    default: Option<BytesPerSecond>,
    reports: &mut Reports<'_>,
) -> Option<BytesPerSecond> {
    let Some(node) = table.get(name) else {
        if default.is_none() {
            let hint = "write a number of Mbit/s, or \"unlimited\"";
            reports.report(table.line, &table.key_of(name), ClusterProblem::Missing { hint });
        }
        return default;
    };
    if node.text() == Some("unlimited") {
        return Some(UNLIMITED);
    }
    let found = node.number().filter(|number| *number > 0.0).and_then(rate);
    if found.is_none() {
        node.wrong("a positive number of Mbit/s, or \"unlimited\"", reports);
    }
    found
}

fn read_loss(table: &Table<'_>, default: f64, reports: &mut Reports<'_>) -> Option<f64> {
    let Some(node) = table.get("loss") else {
        return Some(default);
    };
    let expected = "a part of the datagrams, from 0 up to but not including 1";
    node.number_that(expected, |loss| (0.0..1.0).contains(&loss), reports)
}

fn read_span(table: &Table<'_>, name: &str, reports: &mut Reports<'_>) -> Option<Span> {
    table
        .get(name)?
        .number_that("a number of microseconds, not negative and at most an hour", is_latency, reports)
        .map(micros)
}

fn is_latency(value: f64) -> bool {
    (0.0..=3.6e9).contains(&value)
}

fn read_latency(table: &Table<'_>, default: Option<Latency>, reports: &mut Reports<'_>) -> Option<Latency> {
    let Some(node) = table.get("latency_us") else {
        if default.is_none() {
            let hint = "write a number of microseconds, one way, or a table for a distribution";
            reports.report(table.line, &table.key_of("latency_us"), ClusterProblem::Missing { hint });
        }
        return default;
    };
    if !node.is_table() {
        return read_span(table, "latency_us", reports).map(Latency::Fixed);
    }
    let table = node.table(LATENCY_KEYS, "a number or a table", reports)?;
    table.exclude("median_us", "mean_us", reports);
    table.exclude("quantiles_us", "mean_us", reports);
    table.exclude("quantiles_us", "median_us", reports);
    table.exclude("sigma", "mean_us", reports);
    table.exclude("deviation_us", "median_us", reports);
    let min = if table.get("min_us").is_some() { read_span(&table, "min_us", reports)? } else { Span::ZERO };
    if table.get("mean_us").is_some() {
        table.require("deviation_us", "a normal distribution has mean_us and deviation_us", reports)?;
        let deviation = read_span(&table, "deviation_us", reports);
        return Some(Latency::Normal {
            mean: read_span(&table, "mean_us", reports)?,
            deviation: deviation?,
            min,
        });
    }
    if table.get("median_us").is_some() {
        let sigma = table
            .require("sigma", "a log-normal distribution has median_us and sigma", reports)?
            .number_that("a number from 0 to 5", |sigma| (0.0..=5.0).contains(&sigma), reports);
        return Some(Latency::LogNormal {
            median: read_span(&table, "median_us", reports)?,
            sigma: sigma?,
            min,
        });
    }
    let hint = "write mean_us and deviation_us, median_us and sigma, or quantiles_us = [...]";
    let node = table.require("quantiles_us", hint, reports)?;
    let expected = "at least two numbers of microseconds in ascending order";
    let quantiles: Option<Vec<Span>> = node
        .list(expected, reports)
        .iter()
        .map(|node| node.number().filter(|value| is_latency(*value)).map(|value| micros(value).max(min)))
        .collect();
    let quantiles = quantiles.filter(|list| list.len() >= 2 && list.is_sorted());
    if quantiles.is_none() {
        node.wrong(expected, reports);
    }
    Some(Latency::Empirical(quantiles?.into()))
}

fn read_host(
    name: &'static str,
    place: usize,
    root: &Table<'_>,
    names: &mut Names,
    reports: &mut Reports<'_>,
) -> Host {
    names.known.insert(name.to_owned(), Named { rank: 3, hosts: vec![place] });
    names.owners.insert(name.to_owned(), "a party of every cluster");
    let table = root.get(name).and_then(|node| node.table(HOST_KEYS, "a table", reports));
    table.map_or(Host { site: None, access: None }, |table| read_place(&table, reports))
}

fn read_place(table: &Table<'_>, reports: &mut Reports<'_>) -> Host {
    let site = read_name(table, "site", reports);
    let line = table.get("site").map_or(table.line, |node| node.line);
    let site = site.map(|site| (site, line, table.key_of("site")));
    Host { site, access: table.get("access").and_then(|node| read_access(node, reports)) }
}

/// A name, reported when it has letters that names cannot have.
fn read_name(table: &Table<'_>, key: &str, reports: &mut Reports<'_>) -> Option<String> {
    let node = table.get(key)?;
    let is_letter = |letter: char| letter.is_ascii_alphanumeric() || "-_.".contains(letter);
    let name = node.text().filter(|name| !name.is_empty() && name.len() <= 64 && name.chars().all(is_letter));
    if name.is_none() {
        node.wrong(EXPECTED_NAME, reports);
    }
    name.map(str::to_owned)
}

fn read_agents(
    root: &Table<'_>,
    hosts: &mut Vec<Host>,
    names: &mut Names,
    reports: &mut Reports<'_>,
) -> Vec<ClusterAgent> {
    let mut agents: Vec<ClusterAgent> = Vec::new();
    let hint = "write [[agents]] once for each kind of agent";
    let entries = root.require("agents", hint, reports).map(|node| node.list("a list of tables", reports));
    let mut devices: u64 = 0;
    for node in entries.into_iter().flatten() {
        let Some(table) = node.table(AGENT_KEYS, "a table", reports) else {
            continue;
        };
        let host = read_place(&table, reports);
        let count = read_count(&table, AGENTS_MAX, reports);
        let memory = read_memory(&table, "host_memory_gib", reports);
        let kinds = read_devices(&table, reports);
        table.require("name", "give the agent a name", reports);
        let Some(name) = read_name(&table, "name", reports) else {
            continue;
        };
        devices = devices.saturating_add(count.saturating_mul(kinds.len() as u64));
        let total = agents.len() as u64 + count;
        let too_many = [("agents", total, AGENTS_MAX), ("devices", devices, DEVICES_MAX)];
        if let Some(&(what, found, most)) = too_many.iter().find(|(_, found, most)| found > most) {
            reports.report(node.line, &node.key, ClusterProblem::TooMany { what, found, most });
            return agents;
        }
        let is_group = table.get("count").is_some();
        let first = hosts.len();
        for replica in 0..count {
            let own = if is_group { format!("{name}-{replica}") } else { name.clone() };
            names.add(&own, "another agent", Named { rank: 3, hosts: vec![hosts.len()] }, &node, reports);
            hosts.push(Host { site: host.site.clone(), access: host.access.clone() });
            agents.push(ClusterAgent { name: own, host_memory_bytes: memory, devices: kinds.clone() });
        }
        if is_group {
            let group = Named { rank: 2, hosts: (first..hosts.len()).collect() };
            names.add(&name, "another group of agents", group, &node, reports);
        }
    }
    if agents.is_empty() && root.get("agents").is_some() {
        let problem = ClusterProblem::Missing { hint };
        reports.report(root.line, "agents", problem);
    }
    agents
}

impl Names {
    fn add(
        &mut self,
        name: &str,
        owner: &'static str,
        named: Named,
        node: &Node<'_>,
        reports: &mut Reports<'_>,
    ) {
        if let Some(by) = self.owners.get(name) {
            let problem = ClusterProblem::NameTaken { name: name.to_owned(), by };
            reports.report(node.line, &format!("{}.name", node.key), problem);
            return;
        }
        self.owners.insert(name.to_owned(), owner);
        self.known.insert(name.to_owned(), named);
    }
}

fn read_count(table: &Table<'_>, most: u64, reports: &mut Reports<'_>) -> u64 {
    let expected = "a whole number from 1 that is not too large";
    table.get("count").and_then(|node| node.integer_in(1..=most, expected, reports)).unwrap_or(1)
}

fn read_memory(table: &Table<'_>, name: &str, reports: &mut Reports<'_>) -> u64 {
    let expected = "a positive number of GiB";
    table
        .get(name)
        .and_then(|node| node.number_that(expected, |gib| gib > 0.0 && gib < 1e9, reports))
        .map_or(u64::MAX, |gib| (gib * (1_u64 << 30) as f64) as u64)
}

fn read_devices(agent: &Table<'_>, reports: &mut Reports<'_>) -> Vec<ClusterDevice> {
    let hint = "write [[agents.devices]] once for each kind of device";
    let entries = agent.require("devices", hint, reports).map(|node| node.list("a list of tables", reports));
    let mut devices: Vec<ClusterDevice> = Vec::new();
    for node in entries.into_iter().flatten() {
        let Some(table) = node.table(DEVICE_KEYS, "a table", reports) else {
            continue;
        };
        let count = read_count(&table, DEVICES_MAX, reports);
        let Some(device) = read_device(&table, devices.len(), reports) else {
            continue;
        };
        for replica in 0..count {
            let name = match table.get("count") {
                Some(_) => format!("{}-{replica}", device.name),
                None => device.name.clone(),
            };
            if devices.iter().any(|other| other.name == name) {
                let problem = ClusterProblem::NameTaken { name, by: "another device of the agent" };
                reports.report(node.line, &table.key_of("name"), problem);
                break;
            }
            devices.push(ClusterDevice { name, ..device.clone() });
        }
    }
    if devices.is_empty() && agent.get("devices").is_some() {
        reports.report(agent.line, &agent.key_of("devices"), ClusterProblem::Missing { hint });
    }
    devices
}

fn read_device(table: &Table<'_>, place: usize, reports: &mut Reports<'_>) -> Option<ClusterDevice> {
    let name = match table.get("name") {
        Some(_) => read_name(table, "name", reports)?,
        None => format!("device-{place}"),
    };
    let is_speed = |speed: f64| (1e-6..=1e9).contains(&speed);
    let expected = "a positive speed, from 0.000001 to 1000000000";
    let speed = match table.get("speed") {
        Some(node) => node.number_that(expected, is_speed, reports)?,
        None => 1.0,
    };
    let expected_slots = "a whole number from 1 to 65535";
    let slots = table
        .get("slots")
        .map_or(Some(1), |node| node.integer_in(1..=u64::from(u16::MAX), expected_slots, reports))?;
    let launch = match table.get("launch_us") {
        Some(_) => read_span(table, "launch_us", reports)?,
        None => Span::ZERO,
    };
    let mut kinds = BTreeMap::new();
    let table_of_kinds =
        table.get("kinds").and_then(|node| node.open_table("a table of speeds by kind", reports));
    for (kind, node) in table_of_kinds.iter().flat_map(Table::entries) {
        let speed = match (node.text(), node.number()) {
            (Some("cannot run"), _) => KindSpeed::CannotRun,
            (_, Some(speed)) if is_speed(speed) => KindSpeed::Speed(speed),
            (_, _) => {
                node.wrong("a positive speed, or \"cannot run\"", reports);
                continue;
            }
        };
        kinds.insert(kind.clone(), speed);
    }
    Some(ClusterDevice {
        name,
        speed,
        slots: slots as u16,
        memory_bytes: read_memory(table, "memory_gib", reports),
        launch,
        host_rate: read_rate(table, "host_copy_mbit", Some(UNLIMITED), reports)?,
        column: table.text("column", "the name of a column of the graph", reports).map(str::to_owned),
        kinds,
    })
}

fn add_sites(hosts: &[Host], names: &mut Names, reports: &mut Reports<'_>) {
    let mut sites: BTreeMap<&str, (usize, &str, Vec<usize>)> = BTreeMap::new();
    for (place, host) in hosts.iter().enumerate() {
        if let Some((site, line, key)) = &host.site {
            sites.entry(site).or_insert((*line, key, Vec::new())).2.push(place);
        }
    }
    for (site, (line, key, hosts)) in sites {
        if let Some(by) = names.owners.get(site) {
            let problem = ClusterProblem::NameTaken { name: site.to_owned(), by };
            reports.report(line, key, problem);
            continue;
        }
        names.known.insert(site.to_owned(), Named { rank: 1, hosts });
    }
}

fn read_rules(
    root: &Table<'_>,
    names: &Names,
    named_links: &BTreeMap<String, LinkSpec>,
    paths: &mut Vec<Path>,
    reports: &mut Reports<'_>,
) -> Vec<Rule> {
    let mut rules = Vec::new();
    let entries = root.get("links").map(|node| node.list("a list of tables", reports));
    for node in entries.into_iter().flatten() {
        let Some(table) = node.table(RULE_KEYS, "a table", reports) else {
            continue;
        };
        let is_shared = table.get("shared").is_some_and(|node| node.boolean(reports).unwrap_or_default());
        let link = table
            .require(
                "link",
                "write link = \"campus\", or a table with latency_us and bandwidth_mbit",
                reports,
            )
            .and_then(|node| read_link(node, named_links, reports));
        table.exclude("from", "between", reports);
        table.exclude("to", "between", reports);
        let ends: Vec<&Named> = match table.get("between") {
            Some(node) => {
                let expected = "two names of parties, groups or sites";
                let ends = node.list(expected, reports);
                if ends.len() != 2 {
                    node.wrong(expected, reports);
                    continue;
                }
                ends.iter().filter_map(|end| names.find(end, reports)).collect()
            }
            None => ["from", "to"]
                .iter()
                .filter_map(|key| {
                    let hint = "write between = [A, B], or from = A and to = B for one direction";
                    table.require(key, hint, reports).and_then(|end| names.find(end, reports))
                })
                .collect(),
        };
        let (Some(link), [first, second]) = (link, ends.as_slice()) else {
            continue;
        };
        let is_both = table.get("between").is_some();
        for (from, to) in [(first, second), (second, first)].into_iter().take(1 + usize::from(is_both)) {
            // Each direction is a path of its own, as in a cable.
            paths.push(Path { link: link.clone(), is_shared });
            rules.push(Rule {
                rank: from.rank + to.rank,
                from: from.hosts.clone(),
                to: to.hosts.clone(),
                path: paths.len() - 1,
            });
        }
    }
    rules
}

impl Names {
    fn find(&self, node: &Node<'_>, reports: &mut Reports<'_>) -> Option<&Named> {
        let Some(name) = node.text() else {
            node.wrong("the name of a party, a group or a site", reports);
            return None;
        };
        let found = self.known.get(name);
        if found.is_none() {
            let known = self.known.keys().take(20).cloned().collect();
            let problem =
                ClusterProblem::Unknown { what: "party, group or site", name: name.to_owned(), known };
            reports.report(node.line, &node.key, problem);
        }
        found
    }
}

/// The more specific rule wins, the later one of equals; a host without access gets the rate of its fastest path.
fn build(hosts: &[Host], paths: Vec<Path>, rules: &[Rule]) -> Topology {
    let count = hosts.len();
    let mut chosen: Vec<(u8, usize)> = vec![(0, 0); count * count];
    for rule in rules {
        for pair in rule.from.iter().flat_map(|from| rule.to.iter().map(move |to| from * count + to)) {
            if rule.rank >= chosen[pair].0 {
                chosen[pair] = (rule.rank, rule.path);
            }
        }
    }
    let path_of = |from: usize, to: usize| chosen[from * count + to].1;
    let access = (0..count)
        .map(|host| {
            hosts[host].access.clone().unwrap_or_else(|| {
                let others = || (0..count).filter(move |other| *other != host);
                let up = others().map(|to| paths[path_of(host, to)].link.bandwidth).max();
                let down = others().map(|from| paths[path_of(from, host)].link.bandwidth).max();
                let (up, down) = (up.unwrap_or(UNLIMITED), down.unwrap_or(UNLIMITED));
                Access { up, down, ..Access::UNLIMITED }
            })
        })
        .collect();
    Topology::new(access, paths, |from: Party, to: Party| path_of(from.place(), to.place()))
}
