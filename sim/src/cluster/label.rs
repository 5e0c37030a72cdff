//! The short form of a cluster for the command line.

use std::collections::BTreeMap;
use std::str::FromStr;

use super::errors::{ClusterError, LabelProblem};
use super::{
    Access, Cluster, ClusterAgent, ClusterDevice, InputPlace, Latency, LinkSpec, Path, Topology, UNLIMITED,
    file, presets,
};

const COMMON: &[&str] = &["agents", "devices", "speed", "speeds", "slots", "launch_us", "inputs_at"];
const UNIFORM: &[&str] = &["latency_us", "bandwidth_mbit", "loss"];

/// The cluster of a short form such as `uniform(agents=4,latency_us=100)` or `preset(campus,agents=8)`.
pub(super) fn parse(text: &str) -> Result<Cluster, ClusterError> {
    read(text).map_err(|problem| ClusterError::Label { label: text.trim().to_owned(), problem })
}

fn read(text: &str) -> Result<Cluster, LabelProblem> {
    let text = text.trim();
    let (form, rest) = text.split_once('(').unwrap_or((text, ")"));
    let rest = rest.strip_suffix(')').ok_or(LabelProblem::Malformed)?;
    let mut words = rest.split(',').map(str::trim).filter(|word| !word.is_empty()).peekable();
    let (access, path, extra) = match form.trim() {
        "uniform" => (None, None, UNIFORM),
        "preset" => {
            let name = words.next().ok_or(LabelProblem::Malformed)?;
            if name.contains('=') {
                return Err(LabelProblem::Malformed);
            }
            let preset =
                presets::preset(name).ok_or_else(|| LabelProblem::UnknownPreset { name: name.to_owned() })?;
            if preset.is_access {
                // The radio is each agent's own; beyond it all are close.
                let near = LinkSpec { latency: Latency::ZERO, bandwidth: UNLIMITED, loss: 0.0 };
                (Some(preset.access()), Some(near), &[][..])
            } else {
                (None, Some(preset.link()), &[][..])
            }
        }
        name if presets::preset(name).is_some() => {
            return Err(LabelProblem::BarePreset { name: name.to_owned() });
        }
        name => return Err(LabelProblem::UnknownForm { name: name.to_owned() }),
    };
    let parameters = parameters(words, extra)?;
    let path = match path {
        Some(path) => path,
        None => uniform_link(&parameters)?,
    };
    let agents = agents(&parameters)?;
    let wired = Access { up: path.bandwidth, down: path.bandwidth, ..Access::UNLIMITED };
    let mut hosts = vec![wired.clone(); 2];
    hosts.resize(agents.len() + 2, access.unwrap_or(wired));
    let inputs_at = match parameters.get("inputs_at").map(String::as_str) {
        None | Some("everywhere") => InputPlace::Everywhere,
        Some("client") => InputPlace::Client,
        Some(value) => return Err(wrong("inputs_at", value, "everywhere or client")),
    };
    let topology = Topology::new(hosts, vec![Path { link: path, is_shared: false }], |_, _| 0);
    Ok(Cluster { name: text.to_owned(), agents, inputs_at, topology })
}

fn parameters<'a>(
    words: impl Iterator<Item = &'a str>,
    extra: &[&str],
) -> Result<BTreeMap<String, String>, LabelProblem> {
    let mut parameters = BTreeMap::new();
    for word in words {
        let (key, value) = word.split_once('=').ok_or(LabelProblem::Malformed)?;
        let (key, value) = (key.trim(), value.trim());
        if !COMMON.contains(&key) && !extra.contains(&key) {
            let known: Vec<&str> = COMMON.iter().chain(extra).copied().collect();
            return Err(LabelProblem::UnknownParameter {
                parameter: key.to_owned(),
                known: known.join(", "),
            });
        }
        if parameters.insert(key.to_owned(), value.to_owned()).is_some() {
            return Err(LabelProblem::Malformed);
        }
    }
    Ok(parameters)
}

fn uniform_link(parameters: &BTreeMap<String, String>) -> Result<LinkSpec, LabelProblem> {
    let latency_us =
        number(parameters, "latency_us", 100.0, "microseconds, not negative", |value| value >= 0.0)?;
    let loss = number(parameters, "loss", 0.0, "a part from 0 up to but not including 1", |value| {
        (0.0..1.0).contains(&value)
    })?;
    let bandwidth = if parameters.get("bandwidth_mbit").is_some_and(|value| value == "unlimited") {
        UNLIMITED
    } else {
        let expected = "a positive number of Mbit/s, or unlimited";
        let rate = number(parameters, "bandwidth_mbit", 1000.0, expected, |value| value > 0.0)?;
        file::rate(rate).ok_or_else(|| wrong("bandwidth_mbit", &rate.to_string(), expected))?
    };
    Ok(LinkSpec { latency: Latency::Fixed(file::micros(latency_us)), bandwidth, loss })
}

fn agents(parameters: &BTreeMap<String, String>) -> Result<Vec<ClusterAgent>, LabelProblem> {
    let agents = integer(parameters, "agents", 4, file::AGENTS_MAX)?;
    let devices = integer(parameters, "devices", 1, file::DEVICES_MAX)?;
    if agents * devices > file::DEVICES_MAX {
        return Err(wrong("devices", &devices.to_string(), "few enough in all (65,536)"));
    }
    let slots = integer(parameters, "slots", 1, u64::from(u16::MAX))? as u16;
    let launch_us = number(parameters, "launch_us", 0.0, "microseconds, not negative", |value| value >= 0.0)?;
    let positive = "positive numbers, separated by colons";
    let speeds: Vec<f64> = match (parameters.get("speed"), parameters.get("speeds")) {
        (Some(value), Some(_)) => return Err(wrong("speed", value, "used together with speeds")),
        (Some(one), None) => vec![parsed("speed", one, "a positive number", |value| value > 0.0)?],
        (None, Some(list)) => list
            .split(':')
            .map(|one| parsed("speeds", one.trim(), positive, |value| value > 0.0))
            .collect::<Result<_, _>>()?,
        (None, None) => vec![1.0],
    };
    let device = |agent: u64, device: u64| ClusterDevice {
        name: format!("device-{device}"),
        speed: speeds[((agent * devices + device) % speeds.len() as u64) as usize],
        slots,
        memory_bytes: u64::MAX,
        launch: file::micros(launch_us),
        host_rate: UNLIMITED,
        column: None,
        kinds: BTreeMap::new(),
    };
    let agent = |agent: u64| ClusterAgent {
        name: format!("agent-{agent}"),
        host_memory_bytes: u64::MAX,
        devices: (0..devices).map(|place| device(agent, place)).collect(),
    };
    Ok((0..agents).map(agent).collect())
}

fn wrong(parameter: &str, value: &str, expected: &'static str) -> LabelProblem {
    LabelProblem::Value { parameter: parameter.to_owned(), value: value.to_owned(), expected }
}

fn parsed(
    parameter: &str,
    value: &str,
    expected: &'static str,
    is_right: impl Fn(f64) -> bool,
) -> Result<f64, LabelProblem> {
    let number = f64::from_str(value).ok().filter(|number| number.is_finite() && is_right(*number));
    number.ok_or_else(|| wrong(parameter, value, expected))
}

fn number(
    parameters: &BTreeMap<String, String>,
    parameter: &str,
    default: f64,
    expected: &'static str,
    is_right: impl Fn(f64) -> bool,
) -> Result<f64, LabelProblem> {
    parameters.get(parameter).map_or(Ok(default), |value| parsed(parameter, value, expected, is_right))
}

fn integer(
    parameters: &BTreeMap<String, String>,
    parameter: &str,
    default: u64,
    most: u64,
) -> Result<u64, LabelProblem> {
    let Some(value) = parameters.get(parameter) else {
        return Ok(default);
    };
    let number = u64::from_str(value).ok().filter(|number| (1..=most).contains(number));
    number.ok_or_else(|| wrong(parameter, value, "a whole number from 1 that is not too large"))
}

#[cfg(test)]
mod tests {
    use isochrone_model::{BytesPerSecond, Span};

    use super::*;
    use crate::cluster::Party;

    const fn megabits(rate: u64) -> BytesPerSecond {
        BytesPerSecond(rate * 125_000)
    }

    #[test]
    fn uniform_makes_what_it_says() {
        let cluster =
            parse("uniform( agents=3, devices=2,speeds=1:2:4, latency_us=2.5,bandwidth_mbit=100)").unwrap();
        let speeds: Vec<f64> = cluster.devices().map(|(_, _, device)| device.speed).collect();
        assert_eq!(speeds, [1.0, 2.0, 4.0, 1.0, 2.0, 4.0]);
        let link = cluster.link(Party::Agent(2), Party::Scheduler);
        assert_eq!(link, LinkSpec::fixed(Span(2_500), megabits(100)));
        assert_eq!(cluster.topology.access(Party::Client).down, megabits(100));
        assert_eq!(cluster.agents[2].name, "agent-2");
        assert_eq!(parse("uniform").unwrap().agents.len(), 4);
        assert_eq!(
            parse("uniform(bandwidth_mbit=unlimited)").unwrap().topology.access(Party::Client).up,
            UNLIMITED
        );
    }

    #[test]
    fn a_radio_preset_is_each_agents_own_access() {
        let cluster = parse("preset(starlink,agents=2,inputs_at=client)").unwrap();
        assert_eq!(cluster.inputs_at, InputPlace::Client);
        assert_eq!(cluster.link(Party::Scheduler, Party::Agent(0)).bandwidth, megabits(100));
        assert_eq!(cluster.link(Party::Agent(0), Party::Scheduler).bandwidth, megabits(12));
        assert!(cluster.link(Party::Agent(0), Party::Agent(1)).latency.mean() > Span::from_millis(50));
        let campus = parse("preset(campus,agents=8)").unwrap();
        assert_eq!(campus.link(Party::Agent(0), Party::Agent(7)).bandwidth, megabits(10_000));
    }

    #[test]
    fn wrong_labels_say_what_is_wrong() {
        let message = |text: &str| parse(text).unwrap_err().to_string();
        assert!(message("ring(agents=2)").contains("there is no form `ring`"));
        assert!(message("preset(moon)").contains("starlink"));
        assert!(message("preset(agents=2)").contains("not of the form"));
        assert!(message("uniform(agents=0)").contains("agents=0 is not a whole number"));
        assert!(
            message("uniform(agent=2)")
                .contains("there is no parameter `agent`; did you mean `agents`? There are agents, devices")
        );
        assert!(message("uniform(speed=1,speeds=1:2)").contains("speed=1"));
        assert!(message("uniform(speeds=1:-2)").contains("speeds=-2 is not positive"));
        assert!(message("uniform(loss=1)").contains("loss=1"));
        assert!(message("preset(campus,latency_us=4)").contains("no parameter `latency_us`"));
        assert!(message("uniform(agents=2").contains("not of the form"));
    }
}
