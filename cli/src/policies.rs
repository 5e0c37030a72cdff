//! `isochrone policies`: what there is to choose from.
//!
//! Must never hold what a policy does.

use std::collections::BTreeMap;

use isochrone_policies::{FIRST_POLICIES, LabelError, POLICIES, PolicyGroup, PolicyInfo, info};
use serde::Serialize;

use crate::arguments::PoliciesArguments;
use crate::output;

/// So many policies that take a parameter alike are many: it is told once for all of them.
const SHARED_BY_MIN: usize = 3;

#[derive(Serialize)]
struct ShownPolicy {
    name: &'static str,
    summary: &'static str,
    parameters: Vec<ShownParameter>,
}

#[derive(Serialize)]
struct ShownParameter {
    name: &'static str,
    default: &'static str,
    meaning: &'static str,
}

/// `isochrone policies`
pub fn policies(arguments: &PoliciesArguments) -> anyhow::Result<()> {
    let chosen: Vec<&PolicyInfo> = match &arguments.name {
        Some(label) => vec![info(label).ok_or_else(|| LabelError::Unknown { name: label.clone() })?],
        None => POLICIES.iter().collect(),
    };
    if arguments.json {
        return output::json(&chosen.into_iter().map(shown).collect::<Vec<_>>());
    }
    match &arguments.name {
        Some(_) => chosen.into_iter().for_each(|info| output::print(&told(info))),
        None => output::print(&listed()),
    }
    Ok(())
}

fn shown(info: &PolicyInfo) -> ShownPolicy {
    let parameters = info.parameters.iter();
    let parameters = parameters.map(|(name, default, meaning)| ShownParameter { name, default, meaning });
    ShownPolicy { name: info.name, summary: info.summary, parameters: parameters.collect() }
}

/// All of one.
fn told(info: &PolicyInfo) -> String {
    let mut text = format!("{}: {}\n", info.name, info.summary);
    for (name, default, meaning) in info.parameters {
        text.push_str(&format!("  {name}={default}: {meaning}\n"));
    }
    match info.parameters.first() {
        Some((name, default, _)) => {
            text.push_str(&format!("As a label: {}, or '{}({name}={default})'\n", info.name, info.name));
        }
        None => text.push_str(&format!("As a label: {}\n", info.name)),
    }
    text
}

/// A line for each, in groups; what many take is told once.
fn listed() -> String {
    let groups = [
        (
            PolicyGroup::Static,
            "Static plans: the whole graph is planned at once, and again where things turn out otherwise",
        ),
        (PolicyGroup::TaskByTask, "Task by task: each is placed by what is known when its turn comes"),
        (PolicyGroup::Baseline, "Baselines: they look at one thing alone, or at nothing"),
    ];
    let width = POLICIES.iter().map(|info| info.name.len()).max().unwrap_or(0);
    let mut text = String::new();
    for (group, title) in groups {
        text.push_str(&format!("{title}\n"));
        let members: Vec<&PolicyInfo> = POLICIES.iter().filter(|info| info.group() == group).collect();
        for info in &members {
            let summary = info.summary.strip_prefix("static: ").unwrap_or(info.summary);
            text.push_str(&format!("  {:<width$}  {summary}\n", info.name));
        }
        text.push('\n');
    }
    text.push_str(&shared());
    let [first, second, third, last] = FIRST_POLICIES;
    text.push_str(&format!("Start with {first}, {second}, {third} and {last}.\n"));
    text.push_str("`isochrone policies NAME` tells all of one, with its parameters; `--json` of all.\n");
    text
}

/// The parameters that many take.
fn shared() -> String {
    let mut takers: BTreeMap<(&str, &str, &str), usize> = BTreeMap::new();
    for parameter in POLICIES.iter().flat_map(|info| info.parameters) {
        *takers.entry(*parameter).or_default() += 1;
    }
    let mut text = "Parameters that many take\n".to_owned();
    for ((name, default, meaning), count) in takers.into_iter().filter(|(_, count)| *count >= SHARED_BY_MIN) {
        text.push_str(&format!("  {name}={default}: {meaning} (of {count} policies)\n"));
    }
    text + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_policy_has_one_line_and_what_many_take_is_told_once() {
        let text = listed();
        for info in POLICIES {
            let lines = text.lines().filter(|line| line.starts_with(&format!("  {} ", info.name)));
            assert_eq!(lines.count(), 1, "{}: {text}", info.name);
        }
        assert_eq!(text.matches("ahead_ms=20").count(), 1, "{text}");
        assert!(text.contains("Start with heft, latency-eft, foresight and eager."), "{text}");
        let told = told(info("dmdar").unwrap());
        assert!(told.contains("  window=64: ") && told.contains("'dmdar(alpha=1)'"), "{told}");
    }
}
