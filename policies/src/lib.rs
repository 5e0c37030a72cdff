//! The policies, one file each, and the registry that makes them from labels.
//!
//! A policy looks and proposes; it never acts, and never sees the truth of a simulation.

// So that a policy reads the same in here as outside, in the guide to writing one for example.
extern crate self as isochrone_policies;

mod accounts;
mod bil;
mod blevel_gt;
mod cpop;
mod dls;
mod dmda;
mod dmdar;
mod dmdas;
mod duplex;
mod eager;
mod etf;
mod fastest_device;
mod fcp;
mod fixed;
mod flb;
mod foresight;
mod greedy_transfer;
mod hbmct;
mod heft;
mod heteroprio;
mod hlfet;
mod horizon;
mod inbox;
mod label;
mod latency_eft;
mod legality;
mod list;
mod locality;
mod lookahead;
mod max_min;
mod mcp;
mod mct;
mod met;
mod min_min;
mod olb;
mod optimal;
mod peft;
pub mod planning;
mod random;
mod ranks;
mod round_robin;
mod slot_costs;
mod sufferage;
mod tlevel_gt;
mod trials;
mod wba;
mod work_stealing;

pub use bil::Bil;
pub use cpop::Cpop;
pub use dls::Dls;
pub use duplex::Duplex;
pub use eager::Eager;
pub use etf::Etf;
pub use fastest_device::FastestDevice;
pub use fcp::Fcp;
pub use fixed::{Fixed, PlacementFileError, placement_file};
pub use flb::Flb;
pub use foresight::Foresight;
pub use hbmct::Hbmct;
pub use heft::Heft;
pub use hlfet::Hlfet;
use isochrone_sched_core::{Policy, PolicyRegistry};
pub use label::{Label, LabelError};
pub use latency_eft::LatencyEft;
pub use list::{List, Rank, Selection};
pub use locality::Locality;
pub use lookahead::Lookahead;
pub use max_min::MaxMin;
pub use mcp::Mcp;
pub use mct::Mct;
pub use met::Met;
pub use min_min::MinMin;
pub use olb::Olb;
pub use optimal::Optimal;
pub use peft::Peft;
use planning::PlannedOptions;
pub use random::Random;
pub use round_robin::RoundRobin;
pub use sufferage::Sufferage;
pub use wba::Wba;

/// One policy of the registry, for people.
#[derive(Clone, Copy, Debug)]
pub struct PolicyInfo {
    /// Its name in labels.
    pub name: &'static str,
    /// What it does, in one line.
    pub summary: &'static str,
    /// Its parameters: (name, default, meaning).
    pub parameters: &'static [(&'static str, &'static str, &'static str)],
    /// Makes one of a label whose name and parameters have been checked.
    pub make: fn(&Label) -> Result<Box<dyn Policy>, LabelError>,
}

/// What a policy is, for people who choose one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum PolicyGroup {
    /// Plans the whole graph at once, and again where things turn out otherwise.
    Static,
    /// Places tasks one after another as they can be placed, by what is known then.
    TaskByTask,
    /// Looks at one thing alone, or at nothing: what others are compared with.
    Baseline,
}

/// Policies to begin with: a plan, one that places by measured latency, the best of many plans, and one that knows nothing.
pub const FIRST_POLICIES: [&str; 4] = ["heft", "latency-eft", "foresight", "eager"];

/// Policies that look at one thing alone, or at nothing.
const BASELINES: &[&str] =
    &["eager", "fastest-device", "fixed", "locality", "met", "olb", "random", "round-robin"];

impl PolicyInfo {
    /// What it is.
    #[must_use]
    pub fn group(&self) -> PolicyGroup {
        if BASELINES.contains(&self.name) {
            PolicyGroup::Baseline
        } else if self.is_planned() {
            PolicyGroup::Static
        } else {
            PolicyGroup::TaskByTask
        }
    }

    /// Whether it plans the whole graph at once: it then takes what all such policies take.
    #[must_use]
    pub fn is_planned(&self) -> bool {
        self.parameters.contains(&PlannedOptions::PARAMETERS[0])
    }
}

/// What a label's policy is; `None` where no policy has its name.
#[must_use]
pub fn info(label: &str) -> Option<&'static PolicyInfo> {
    let name = label.split('(').next().unwrap_or(label).trim();
    POLICIES.iter().find(|info| info.name == name)
}

/// Every policy there is. Adding one is one file and one line here.
pub const POLICIES: &[PolicyInfo] = &[
    bil::INFO,
    blevel_gt::INFO,
    cpop::INFO,
    dls::INFO,
    dmda::INFO,
    dmdar::INFO,
    dmdas::INFO,
    duplex::INFO,
    eager::INFO,
    etf::INFO,
    fastest_device::INFO,
    fcp::INFO,
    fixed::INFO,
    flb::INFO,
    foresight::INFO,
    hbmct::INFO,
    heft::INFO,
    heteroprio::INFO,
    hlfet::INFO,
    latency_eft::INFO,
    list::INFO,
    locality::INFO,
    lookahead::INFO,
    max_min::INFO,
    mcp::INFO,
    mct::INFO,
    met::INFO,
    min_min::INFO,
    olb::INFO,
    optimal::INFO,
    peft::INFO,
    random::INFO,
    round_robin::INFO,
    sufferage::INFO,
    tlevel_gt::INFO,
    wba::INFO,
    work_stealing::INFO,
];

/// The registry for a `Scheduler`.
#[must_use]
pub fn registry() -> Box<dyn PolicyRegistry> {
    Box::new(Registry { more: Vec::new() })
}

/// The same with further policies, which come before those of their name here.
#[must_use]
pub fn registry_with(more: &[PolicyInfo]) -> Box<dyn PolicyRegistry> {
    Box::new(Registry { more: more.to_vec() })
}

/// The policy of a label such as `heft` or `random(seed=7)`.
///
/// # Errors
/// When the label does not parse, names no policy, or gives a parameter that the policy does not take.
pub fn create(label: &str) -> Result<Box<dyn Policy>, LabelError> {
    create_of(label, &[])
}

fn create_of(label: &str, more: &[PolicyInfo]) -> Result<Box<dyn Policy>, LabelError> {
    let label: Label = label.parse()?;
    let info = more
        .iter()
        .chain(POLICIES)
        .find(|info| info.name == label.name())
        .ok_or_else(|| LabelError::Unknown { name: label.name().to_owned() })?;
    let known: Vec<&str> = info.parameters.iter().map(|(name, _, _)| *name).collect();
    label.only(&known)?;
    (info.make)(&label)
}

struct Registry {
    more: Vec<PolicyInfo>,
}

impl PolicyRegistry for Registry {
    fn create(&self, label: &str) -> Result<Box<dyn Policy>, String> {
        create_of(label, &self.more).map_err(|error| error.to_string())
    }
}

/// The example of the guide, in this crate as the guide says to put it.
#[cfg(test)]
#[path = "../../docs/stay_near.rs"]
mod guides_example;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_guide_shows_a_policy_that_works_in_here() {
        let guide = include_str!("../../docs/writing-a-policy.md");
        assert!(
            guide.contains(include_str!("../../docs/stay_near.rs")),
            "the guide and the file have gone apart"
        );
        let policy = create_of("stay-near(margin=10)", &[guides_example::INFO]).unwrap();
        assert_eq!(policy.label(), "stay-near(margin=10)");
        let after = POLICIES.iter().position(|info| info.name > guides_example::INFO.name);
        assert_eq!(after.map(|place| POLICIES[place].name), Some("sufferage"), "as the guide says");
    }

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
    fn policies_that_plan_say_so_and_groups_are_of_policies() {
        for info in POLICIES {
            assert_eq!(info.is_planned(), info.summary.starts_with("static: "), "{}", info.name);
        }
        for name in BASELINES.iter().chain(&FIRST_POLICIES) {
            assert!(info(name).is_some(), "{name}");
        }
        assert_eq!(info("random(seed=4)").map(PolicyInfo::group), Some(PolicyGroup::Baseline));
        assert_eq!(info("dmdas").map(PolicyInfo::group), Some(PolicyGroup::TaskByTask));
        assert_eq!(info("heft(latency=ignored)").map(PolicyInfo::group), Some(PolicyGroup::Static));
    }

    #[test]
    fn a_wrong_label_says_what_there_is() {
        let message = create("fastest").err().unwrap().to_string();
        assert!(message.contains("latency-eft") && message.contains("round-robin"), "{message}");
        let message = create("hfet").err().unwrap().to_string();
        assert_eq!(message, "there is no policy `hfet`; did you mean `heft`? `isochrone policies` lists all");
        let message = create("random(sead=1)").err().unwrap().to_string();
        assert_eq!(message, "`random` has no parameter `sead`; it takes seed, hedge");
        let message = create("eager(x=1)").err().unwrap().to_string();
        assert_eq!(message, "`eager` has no parameter `x`; it takes queue");
        assert!(create("random(seed=x)").is_err());
        assert!(create("random(seed=1").is_err());
        assert!(create("").is_err());
    }
}
