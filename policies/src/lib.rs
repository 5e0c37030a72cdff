//! The policies, one file each, and the registry that makes them from labels.
//!
//! A policy looks and proposes; it never acts, and never sees the truth of a simulation.

mod accounts;
mod blevel_gt;
mod dmda;
mod dmdar;
mod dmdas;
mod eager;
mod greedy_transfer;
mod heft;
mod heteroprio;
mod horizon;
mod inbox;
mod label;
mod latency_eft;
mod legality;
mod locality;
pub mod planning;
mod random;
mod ranks;
mod round_robin;
mod slot_costs;
mod tlevel_gt;
mod work_stealing;

pub use eager::Eager;
pub use heft::Heft;
use isochrone_sched_core::{Policy, PolicyRegistry};
pub use label::{Label, LabelError};
pub use latency_eft::LatencyEft;
pub use locality::Locality;
pub use random::Random;
pub use round_robin::RoundRobin;

/// One policy of the registry, for people.
#[derive(Clone, Copy, Debug)]
pub struct PolicyInfo {
    /// Its name in labels.
    pub name: &'static str,
    /// What it does, in one line.
    pub summary: &'static str,
    /// Its parameters: (name, default, meaning).
    pub parameters: &'static [(&'static str, &'static str, &'static str)],
    make: fn(&Label) -> Result<Box<dyn Policy>, LabelError>,
}

/// Every policy there is. Adding one is one file and one line here.
pub const POLICIES: &[PolicyInfo] = &[
    blevel_gt::INFO,
    dmda::INFO,
    dmdar::INFO,
    dmdas::INFO,
    eager::INFO,
    heft::INFO,
    heteroprio::INFO,
    latency_eft::INFO,
    locality::INFO,
    random::INFO,
    round_robin::INFO,
    tlevel_gt::INFO,
    work_stealing::INFO,
];

/// The registry for a `Scheduler`.
#[must_use]
pub fn registry() -> Box<dyn PolicyRegistry> {
    Box::new(Registry)
}

/// The policy of a label such as `heft` or `random(seed=7)`.
///
/// # Errors
/// When the label does not parse, names no policy, or gives a parameter that the policy does not take.
pub fn create(label: &str) -> Result<Box<dyn Policy>, LabelError> {
    let label: Label = label.parse()?;
    let info = POLICIES
        .iter()
        .find(|info| info.name == label.name())
        .ok_or_else(|| LabelError::Unknown { name: label.name().to_owned() })?;
    let known: Vec<&str> = info.parameters.iter().map(|(name, _, _)| *name).collect();
    label.only(&known)?;
    (info.make)(&label)
}

struct Registry;

impl PolicyRegistry for Registry {
    fn create(&self, label: &str) -> Result<Box<dyn Policy>, String> {
        create(label).map_err(|error| error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_label_parses_back_to_the_same_policy() {
        for info in POLICIES {
            let policy = create(info.name).unwrap();
            let label = policy.label();
            assert_eq!(create(&label).unwrap().label(), label);
            assert!(label.starts_with(info.name), "{label}");
        }
        assert_eq!(create("random( seed = 9 )").unwrap().label(), "random(seed=9)");
    }

    #[test]
    fn a_wrong_label_says_what_there_is() {
        let message = create("fastest").err().unwrap().to_string();
        assert!(message.contains("latency-eft") && message.contains("round-robin"), "{message}");
        let message = create("random(sead=1)").err().unwrap().to_string();
        assert_eq!(message, "`random` has no parameter `sead`; it takes seed");
        let message = create("eager(x=1)").err().unwrap().to_string();
        assert_eq!(message, "`eager` has no parameter `x`; it takes none");
        assert!(create("random(seed=x)").is_err());
        assert!(create("random(seed=1").is_err());
        assert!(create("").is_err());
    }
}
