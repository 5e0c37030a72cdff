//! What can be wrong with a description of a cluster, and where.

use std::fmt;
use std::path::PathBuf;

use isochrone_model::suggestion::did_you_mean;
use thiserror::Error;

/// Why there is no cluster.
#[derive(Debug, Error)]
pub enum ClusterError {
    /// There is no such file.
    #[error("there is no file {}", path.display())]
    NoFile {
        /// The whole path.
        path: PathBuf,
    },
    /// The file cannot be read.
    #[error("cannot read the cluster file {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The file is larger than any cluster file.
    #[error("the cluster file {} has more than {bytes_max} bytes", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// The bound.
        bytes_max: u64,
    },
    /// The file is wrong.
    #[error("{0}")]
    File(ClusterFileErrors),
    /// The short form is wrong.
    #[error("cluster `{label}`: {problem}")]
    Label {
        /// The short form.
        label: String,
        /// What is wrong with it.
        #[source]
        problem: LabelProblem,
    },
}

/// All that is wrong with a cluster file; never empty. Its `Display` is one line for each error.
#[derive(Debug, PartialEq)]
pub struct ClusterFileErrors {
    /// In the order of the file.
    pub errors: Vec<ClusterFileError>,
}

impl fmt::Display for ClusterFileErrors {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, error) in self.errors.iter().enumerate() {
            if index > 0 {
                formatter.write_str("\n")?;
            }
            write!(formatter, "{error}")?;
        }
        Ok(())
    }
}

/// One error and its place.
#[derive(Debug, PartialEq, Error)]
#[error("{file}:{line}: {}{problem}", if key.is_empty() { String::new() } else { format!("`{key}`: ") })]
pub struct ClusterFileError {
    /// The file, as it was named.
    pub file: String,
    /// The line, counted from 1.
    pub line: usize,
    /// The key, as in `agents[0].devices[1].speed`; empty when there is none.
    pub key: String,
    /// What is wrong.
    pub problem: ClusterProblem,
}

/// What is wrong in a cluster file.
#[derive(Debug, PartialEq, Error)]
pub enum ClusterProblem {
    /// The text is no TOML.
    #[error("not valid TOML: {message}")]
    Toml {
        /// What the TOML parser says.
        message: String,
    },
    /// There is no such key.
    #[error("unknown key; known here are {}", known.join(", "))]
    UnknownKey {
        /// The keys that exist here.
        known: &'static [&'static str],
    },
    /// A key that must be there is not.
    #[error("missing; {hint}")]
    Missing {
        /// What to write.
        hint: &'static str,
    },
    /// A value is of the wrong kind or out of range.
    #[error("expected {expected}, found {found}")]
    Wrong {
        /// What belongs here.
        expected: &'static str,
        /// What is here.
        found: String,
    },
    /// A key makes no sense together with another.
    #[error("does not go with `{other}`; remove one of them")]
    Conflict {
        /// The key that excludes it.
        other: &'static str,
    },
    /// A name is already in use.
    #[error("the name `{name}` is already in use by {by}; choose another")]
    NameTaken {
        /// The name.
        name: String,
        /// What uses it.
        by: &'static str,
    },
    /// A name leads nowhere.
    #[error("there is no {what} `{name}`; there are {}", known.join(", "))]
    Unknown {
        /// What was looked for.
        what: &'static str,
        /// The name.
        name: String,
        /// Those that there are.
        known: Vec<String>,
    },
    /// More than can be simulated.
    #[error("{found} {what} are more than {most}")]
    TooMany {
        /// Of what.
        what: &'static str,
        /// How many there are.
        found: u64,
        /// How many there may be.
        most: u64,
    },
}

/// What is wrong with the short form of a cluster.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum LabelProblem {
    /// It is not of the form.
    #[error("not of the form uniform(key=value, ...) or preset(NAME, key=value, ...)")]
    Malformed,
    /// There is no such form.
    #[error(
        "there is no form `{name}`{} uniform(agents=4) and preset(campus,agents=4), and files",
        instead(name, &["uniform", "preset"])
    )]
    UnknownForm {
        /// The name.
        name: String,
    },
    /// A preset's name stands alone.
    #[error("`{name}` is a preset: write 'preset({name},agents=4)'")]
    BarePreset {
        /// The name.
        name: String,
    },
    /// There is no such preset.
    #[error("there is no preset `{name}`{} {}", instead(name, &super::presets::names()), super::presets::names().join(", "))]
    UnknownPreset {
        /// The name.
        name: String,
    },
    /// There is no such parameter.
    #[error("there is no parameter `{parameter}`{} {known}", instead(parameter, &known.split(", ").collect::<Vec<_>>()))]
    UnknownParameter {
        /// The parameter.
        parameter: String,
        /// Those that there are.
        known: String,
    },
    /// A value does not parse or is out of range.
    #[error("{parameter}={value} is not {expected}")]
    Value {
        /// The parameter.
        parameter: String,
        /// Its value.
        value: String,
        /// What it should be.
        expected: &'static str,
    },
}

/// What leads from a wrong name to those that there are.
fn instead(name: &str, known: &[&str]) -> String {
    match did_you_mean(name, known.iter().copied()) {
        suggestion if suggestion.is_empty() => "; there are".to_owned(),
        suggestion => format!("{suggestion} There are"),
    }
}
