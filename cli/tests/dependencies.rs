//! Every crate that is built comes from the registry under a licence that `deny.toml` accepts, and no advisory that
//! `advisories.toml` knows holds for it. Works offline; `advisories.toml` says of what date its knowledge is, and
//! `cargo deny check` knows more where its database can be fetched.

use std::path::Path;
use std::process::Command;

use serde_json::Value;

/// Whether a licence expression can be met with the accepted licences. SPDX expressions of crates are flat, or
/// have one pair of parentheses at most; `/` is an old way to write OR.
fn is_met(expression: &str, accepted: &[String]) -> bool {
    let expression = expression.replace('/', " OR ");
    let expression = expression.trim();
    if let Some(inner_end) = expression.strip_prefix('(').and_then(|rest| rest.find(')')) {
        let inner = is_met(&expression[1..=inner_end], accepted);
        let rest = expression[inner_end + 2..].trim();
        return match (rest.strip_prefix("AND "), rest.strip_prefix("OR ")) {
            (Some(rest), _) => inner && is_met(rest, accepted),
            (_, Some(rest)) => inner || is_met(rest, accepted),
            (None, None) => inner && rest.is_empty(),
        };
    }
    expression.split(" OR ").any(|choice| {
        choice.split(" AND ").all(|licence| accepted.iter().any(|accepted| accepted == licence.trim()))
    })
}

#[test]
fn expressions_are_read() {
    let accepted = ["MIT".to_owned(), "ISC".to_owned()];
    for met in ["MIT", "MIT OR Apache-2.0", "Apache-2.0/MIT", "MIT AND ISC", "(MIT OR Apache-2.0) AND ISC"] {
        assert!(is_met(met, &accepted), "{met}");
    }
    for unmet in ["GPL-3.0", "MIT AND GPL-3.0", "(MIT OR Apache-2.0) AND GPL-3.0", "", "(MIT"] {
        assert!(!is_met(unmet, &accepted), "{unmet}");
    }
}

/// What cargo says of the packages that are built on this sort of machine.
fn metadata(root: &Path) -> Value {
    let host = if cfg!(target_arch = "aarch64") { "aarch64" } else { "x86_64" };
    let output = Command::new(env!("CARGO"))
        .current_dir(root)
        .args(["metadata", "--format-version=1", "--locked", "--offline", "--filter-platform"])
        .arg(format!("{host}-unknown-linux-gnu"))
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// The three numbers of a version; what follows them (a pre-release) is left out.
fn numbers(version: &str) -> [u64; 3] {
    let mut numbers = [0; 3];
    let release = version.split(['-', '+']).next().unwrap();
    for (number, part) in numbers.iter_mut().zip(release.trim().split('.')) {
        *number = part.parse().unwrap_or_else(|_| panic!("{version} is not a version"));
    }
    numbers
}

/// Whether a version is in a range as advisories write them: comparisons with commas between, `^` and exact ones.
fn is_in(version: [u64; 3], range: &str) -> bool {
    range.split(',').map(str::trim).all(|part| {
        let bound = |prefix: &str| part.strip_prefix(prefix).map(numbers);
        if let Some(least) = bound(">=") {
            version >= least
        } else if let Some(most) = bound("<=") {
            version <= most
        } else if let Some(below) = bound(">") {
            version > below
        } else if let Some(above) = bound("<") {
            version < above
        } else if let Some(least) = bound("^") {
            let same = |upto: usize| version[..upto] == least[..upto];
            version >= least
                && if least[0] > 0 {
                    same(1)
                } else if least[1] > 0 {
                    same(2)
                } else {
                    same(3)
                }
        } else if let Some(least) = bound("~") {
            version >= least && version[..2] == least[..2]
        } else {
            version == numbers(part.trim_start_matches('='))
        }
    })
}

#[test]
fn ranges_are_read() {
    for (version, range) in [
        ("1.2.3", ">= 1.2.3"),
        ("0.11.19", ">= 0.11.15"),
        ("0.2.9", ">= 0.2.4, < 0.3.0"),
        ("1.9.0", "^1.2"),
        ("0.3.7", "^0.3.1"),
        ("0.9.0", "= 0.9.0"),
        ("1.0.1", "~1.0.0"),
    ] {
        assert!(is_in(numbers(version), range), "{version} is in {range}");
    }
    for (version, range) in [
        ("1.2.2", ">= 1.2.3"),
        ("0.3.0", ">= 0.2.4, < 0.3.0"),
        ("2.0.0", "^1.2"),
        ("0.4.0", "^0.3.1"),
        ("1.1.0", "~1.0.0"),
    ] {
        assert!(!is_in(numbers(version), range), "{version} is not in {range}");
    }
}

#[test]
fn no_known_advisory_holds() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let known: toml::Table = std::fs::read_to_string(root.join("advisories.toml")).unwrap().parse().unwrap();
    let metadata = metadata(&root);
    let packages = metadata["packages"].as_array().unwrap();
    let advisories = known["advisory"].as_array().unwrap();
    assert!(advisories.len() > 20, "the advisories are there");
    let mut holding = Vec::new();
    for advisory in advisories {
        let text = |key: &str| advisory[key].as_str().unwrap();
        let ranges = |key: &str| -> Vec<&str> {
            advisory[key].as_array().unwrap().iter().map(|range| range.as_str().unwrap()).collect()
        };
        let safe = [ranges("patched"), ranges("unaffected")].concat();
        for package in packages.iter().filter(|package| package["name"] == text("package")) {
            let version = package["version"].as_str().unwrap();
            let is_ignored = advisory.get("ignored").is_some();
            if !is_ignored && !safe.iter().any(|range| is_in(numbers(version), range)) {
                holding.push(format!("{} {version}: {} ({})", text("package"), text("id"), text("title")));
            }
        }
    }
    assert!(holding.is_empty(), "advisories hold for crates that are built:\n{}", holding.join("\n"));
}

#[test]
fn licences_and_sources_are_accepted() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let rules: toml::Table = std::fs::read_to_string(root.join("deny.toml")).unwrap().parse().unwrap();
    let accepted: Vec<String> = rules["licenses"]["allow"]
        .as_array()
        .unwrap()
        .iter()
        .map(|licence| licence.as_str().unwrap().to_owned())
        .collect();
    let metadata = metadata(&root);
    let packages = metadata["packages"].as_array().unwrap();
    assert!(packages.len() > 50, "the whole tree is listed");
    let mut refused = Vec::new();
    for package in packages {
        let licence = package["license"].as_str().unwrap_or("");
        let is_from_registry =
            package["source"].as_str().is_none_or(|source| source.starts_with("registry+"));
        if !is_met(licence, &accepted) || !is_from_registry {
            refused.push(format!(
                "{} {}: `{licence}`, {}",
                package["name"], package["version"], package["source"]
            ));
        }
    }
    assert!(refused.is_empty(), "not accepted by deny.toml:\n{}", refused.join("\n"));
}
