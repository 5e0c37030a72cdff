//! Every crate that is built comes from the registry under a licence that `deny.toml` accepts. Works offline; of
//! advisories it knows nothing (`cargo deny check` does, where its database can be fetched).

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
    let host = if cfg!(target_arch = "aarch64") { "aarch64" } else { "x86_64" };
    let output = Command::new(env!("CARGO"))
        .current_dir(&root)
        .args(["metadata", "--format-version=1", "--locked", "--offline", "--filter-platform"])
        .arg(format!("{host}-unknown-linux-gnu"))
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
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
