//! Labels: a policy's name with parameters, as people write it.

use std::collections::BTreeMap;
use std::str::FromStr;

use isochrone_model::suggestion::did_you_mean;
use thiserror::Error;

/// `name` or `name(key=value, ...)`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Label {
    name: String,
    parameters: BTreeMap<String, String>,
}

/// Why a label makes no policy.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum LabelError {
    /// It is not of the form `name` or `name(key=value, ...)`.
    #[error("`{label}` is not of the form name or name(key=value, ...)")]
    Malformed {
        /// The label.
        label: String,
    },
    /// No policy has this name.
    #[error("there is no policy `{name}`{}", instead(name))]
    Unknown {
        /// The name.
        name: String,
    },
    /// The policy takes no such parameter.
    #[error("`{policy}` has no parameter `{parameter}`; it takes {known}")]
    UnknownParameter {
        /// The policy.
        policy: String,
        /// The parameter.
        parameter: String,
        /// Those it takes.
        known: String,
    },
    /// A parameter's value does not parse.
    #[error("`{policy}`: {parameter}={value} is not {expected}")]
    Value {
        /// The policy.
        policy: String,
        /// The parameter.
        parameter: String,
        /// Its value.
        value: String,
        /// What it should be.
        expected: &'static str,
    },
    /// A file that a parameter names cannot be used.
    #[error("`{policy}`: {path}: {source}")]
    File {
        /// The policy.
        policy: String,
        /// The file.
        path: String,
        /// Why.
        source: crate::fixed::PlacementFileError,
    },
}

/// What to write instead: the name that was most likely meant, else all that there are.
fn instead(name: &str) -> String {
    let names = || crate::POLICIES.iter().map(|info| info.name);
    let suggestion = did_you_mean(name, names());
    if suggestion.is_empty() {
        format!("; there are {}", names().collect::<Vec<_>>().join(", "))
    } else {
        format!("{suggestion} `isochrone policies` lists all")
    }
}

impl Label {
    /// The policy's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// A parameter's value, or the default when the label does not give it.
    ///
    /// # Errors
    /// When the value does not parse; `expected` says what it should be.
    pub fn get<T: FromStr>(
        &self,
        parameter: &str,
        default: T,
        expected: &'static str,
    ) -> Result<T, LabelError> {
        match self.parameters.get(parameter) {
            None => Ok(default),
            Some(value) => value.parse().map_err(|_| LabelError::Value {
                policy: self.name.clone(),
                parameter: parameter.to_owned(),
                value: value.clone(),
                expected,
            }),
        }
    }

    /// Refuses parameters beside these.
    ///
    /// # Errors
    /// When there is another.
    pub fn only(&self, known: &[&str]) -> Result<(), LabelError> {
        match self.parameters.keys().find(|parameter| !known.contains(&parameter.as_str())) {
            None => Ok(()),
            Some(parameter) => Err(LabelError::UnknownParameter {
                policy: self.name.clone(),
                parameter: parameter.clone(),
                known: if known.is_empty() { "none".to_owned() } else { known.join(", ") },
            }),
        }
    }
}

impl FromStr for Label {
    type Err = LabelError;

    fn from_str(text: &str) -> Result<Self, LabelError> {
        let malformed = || LabelError::Malformed { label: text.to_owned() };
        let text = text.trim();
        let (name, parameters) = match text.split_once('(') {
            None => (text, None),
            Some((name, rest)) => (name, Some(rest.strip_suffix(')').ok_or_else(malformed)?)),
        };
        let name = name.trim();
        let is_name = |name: &str| {
            !name.is_empty()
                && name.chars().all(|letter| letter.is_ascii_alphanumeric() || "-_".contains(letter))
        };
        if !is_name(name) {
            return Err(malformed());
        }
        let mut map = BTreeMap::new();
        for pair in parameters.unwrap_or("").split(',').filter(|pair| !pair.trim().is_empty()) {
            let (key, value) = pair.split_once('=').ok_or_else(malformed)?;
            let (key, value) = (key.trim(), value.trim());
            if !is_name(key) || value.is_empty() || map.insert(key.to_owned(), value.to_owned()).is_some() {
                return Err(malformed());
            }
        }
        Ok(Self { name: name.to_owned(), parameters: map })
    }
}
