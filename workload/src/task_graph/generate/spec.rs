//! Generators with their parameters as people write them, as in `cholesky(tiles=8,ccr=0.5,seed=3)`.

use std::fmt;
use std::str::FromStr;

use isochrone_model::suggestion::did_you_mean;

use super::{GENERATORS, GeneratorInfo};

/// One parameter of a generator.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ParameterInfo {
    /// Its name.
    pub name: &'static str,
    /// Its value when it is not given.
    pub default: &'static str,
    /// What may be given.
    pub range: ParameterRange,
    /// What it means, with its unit.
    pub meaning: &'static str,
}

/// What may be given for a parameter.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum ParameterRange {
    /// A whole number, both ends included.
    Whole {
        /// The smallest.
        min: u64,
        /// The largest.
        max: u64,
    },
    /// A number, both ends included.
    Real {
        /// The smallest.
        min: f64,
        /// The largest.
        max: f64,
    },
    /// One of these words.
    Word(&'static [&'static str]),
}

impl fmt::Display for ParameterRange {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ParameterRange::Whole { min, max } => write!(formatter, "a whole number from {min} to {max}"),
            ParameterRange::Real { min, max } => write!(formatter, "a number from {min} to {max}"),
            ParameterRange::Word(words) => write!(formatter, "one of {}", words.join(", ")),
        }
    }
}

/// The value of a parameter.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Value {
    Whole(u64),
    Real(f64),
    Word(&'static str),
}

impl fmt::Display for Value {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Whole(value) => value.fmt(formatter),
            Value::Real(value) => value.fmt(formatter),
            Value::Word(value) => value.fmt(formatter),
        }
    }
}

impl ParameterInfo {
    fn parse(&self, text: &str) -> Option<Value> {
        match self.range {
            ParameterRange::Whole { min, max } => {
                text.parse().ok().filter(|value| (min..=max).contains(value)).map(Value::Whole)
            }
            ParameterRange::Real { min, max } => {
                text.parse().ok().filter(|value| (min..=max).contains(value)).map(Value::Real)
            }
            ParameterRange::Word(words) => {
                words.iter().find(|word| **word == text).map(|word| Value::Word(word))
            }
        }
    }
}

/// Why a text names no generator with parameters.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SpecError {
    /// It is not of the form `name` or `name(parameter=value,...)`.
    #[error("`{text}` is not of the form name or name(parameter=value,...)")]
    Malformed {
        /// The text.
        text: String,
    },
    /// No generator has this name.
    #[error("there is no generator `{name}`{} {}", instead(name), names())]
    Unknown {
        /// The name.
        name: String,
    },
    /// The generator takes no such parameter.
    #[error("`{generator}` has no parameter `{parameter}`; it takes {known}")]
    UnknownParameter {
        /// The generator.
        generator: &'static str,
        /// The parameter.
        parameter: String,
        /// Those it takes.
        known: String,
    },
    /// A parameter is given twice.
    #[error("`{generator}`: {parameter} is given twice")]
    Repeated {
        /// The generator.
        generator: &'static str,
        /// The parameter.
        parameter: &'static str,
    },
    /// A parameter's value is not what it takes.
    #[error("`{generator}`: {parameter}={value} is not {expected}")]
    Value {
        /// The generator.
        generator: &'static str,
        /// The parameter.
        parameter: &'static str,
        /// Its value.
        value: String,
        /// What it should be.
        expected: String,
    },
}

fn instead(name: &str) -> String {
    match did_you_mean(name, GENERATORS.iter().map(|info| info.name)) {
        suggestion if suggestion.is_empty() => "; there are".to_owned(),
        suggestion => format!("{suggestion} There are"),
    }
}

fn names() -> String {
    GENERATORS.iter().map(|info| info.name).collect::<Vec<_>>().join(", ")
}

/// A generator with its parameters, each in its range.
///
/// Its `Display` is the generator and the parameters that were given, in the order of the registry; it parses back to
/// an equal one.
#[derive(Clone, Debug)]
pub struct GeneratorSpec {
    info: &'static GeneratorInfo,
    /// What was given, in the order of the generator's parameters.
    given: Vec<Option<Value>>,
}

impl PartialEq for GeneratorSpec {
    fn eq(&self, other: &Self) -> bool {
        self.info.name == other.info.name && self.given == other.given
    }
}

impl GeneratorSpec {
    /// The generator of that name with all parameters at their defaults.
    ///
    /// # Errors
    /// When there is none.
    pub fn new(name: &str) -> Result<Self, SpecError> {
        let info = GENERATORS
            .iter()
            .find(|info| info.name == name)
            .ok_or_else(|| SpecError::Unknown { name: name.to_owned() })?;
        Ok(GeneratorSpec { info, given: vec![None; info.parameters.len()] })
    }

    /// The same with a parameter changed.
    ///
    /// # Errors
    /// When the generator has no such parameter, or it does not take the value.
    pub fn with(mut self, parameter: &str, value: &str) -> Result<Self, SpecError> {
        let generator = self.info.name;
        let position = self.info.parameters.iter().position(|known| known.name == parameter);
        let position = position.ok_or_else(|| SpecError::UnknownParameter {
            generator,
            parameter: parameter.to_owned(),
            known: self.info.parameters.iter().map(|known| known.name).collect::<Vec<_>>().join(", "),
        })?;
        let known = &self.info.parameters[position];
        self.given[position] = Some(known.parse(value).ok_or_else(|| SpecError::Value {
            generator,
            parameter: known.name,
            value: value.to_owned(),
            expected: known.range.to_string(),
        })?);
        Ok(self)
    }

    /// The same with every parameter written out, for records.
    #[must_use]
    pub fn complete(mut self) -> Self {
        for (given, known) in self.given.iter_mut().zip(self.info.parameters) {
            given.get_or_insert_with(|| default(known));
        }
        self
    }

    /// The generator.
    #[must_use]
    pub fn info(&self) -> &'static GeneratorInfo {
        self.info
    }

    fn value(&self, parameter: &str) -> Option<Value> {
        let position = self.info.parameters.iter().position(|known| known.name == parameter)?;
        Some(self.given[position].unwrap_or_else(|| default(&self.info.parameters[position])))
    }

    /// A whole number of this generator.
    pub(super) fn whole(&self, parameter: &str) -> u64 {
        match self.value(parameter) {
            Some(Value::Whole(value)) => value,
            other => panic!("{} has no whole number {parameter}: {other:?}", self.info.name),
        }
    }

    /// A whole number that counts or numbers something in memory.
    pub(super) fn count(&self, parameter: &str) -> usize {
        usize::try_from(self.whole(parameter)).expect("ranges of counts are within the address space")
    }

    /// A number of this generator; 0 when it has no such parameter.
    pub(super) fn real(&self, parameter: &str) -> f64 {
        match self.value(parameter) {
            Some(Value::Real(value)) => value,
            None => 0.0,
            other => panic!("{} has no number {parameter}: {other:?}", self.info.name),
        }
    }

    /// A word of this generator.
    pub(super) fn word(&self, parameter: &str) -> &'static str {
        match self.value(parameter) {
            Some(Value::Word(value)) => value,
            other => panic!("{} has no word {parameter}: {other:?}", self.info.name),
        }
    }

    /// Whether the generator has that parameter.
    pub(super) fn has(&self, parameter: &str) -> bool {
        self.value(parameter).is_some()
    }
}

fn default(known: &ParameterInfo) -> Value {
    known.parse(known.default).expect("defaults are in their ranges (tested)")
}

impl fmt::Display for GeneratorSpec {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.info.name)?;
        let mut separator = '(';
        for (known, given) in self.info.parameters.iter().zip(&self.given) {
            if let Some(value) = given {
                write!(formatter, "{separator}{}={value}", known.name)?;
                separator = ',';
            }
        }
        if separator == ',' { formatter.write_str(")") } else { Ok(()) }
    }
}

impl FromStr for GeneratorSpec {
    type Err = SpecError;

    fn from_str(text: &str) -> Result<Self, SpecError> {
        let malformed = || SpecError::Malformed { text: text.to_owned() };
        let trimmed = text.trim();
        let (name, parameters) = match trimmed.split_once('(') {
            None => (trimmed, ""),
            Some((name, rest)) => (name.trim(), rest.strip_suffix(')').ok_or_else(malformed)?),
        };
        let is_name = |name: &str| {
            !name.is_empty()
                && name.chars().all(|letter| letter.is_ascii_alphanumeric() || "-_".contains(letter))
        };
        if !is_name(name) {
            return Err(malformed());
        }
        let mut spec = GeneratorSpec::new(name)?;
        if parameters.trim().is_empty() {
            return Ok(spec);
        }
        for pair in parameters.split(',') {
            let (parameter, value) = pair.split_once('=').ok_or_else(malformed)?;
            let (parameter, value) = (parameter.trim(), value.trim());
            if !is_name(parameter) || value.is_empty() {
                return Err(malformed());
            }
            let before = spec.given.iter().flatten().count();
            spec = spec.with(parameter, value)?;
            if spec.given.iter().flatten().count() == before {
                let known = spec.info.parameters.iter().find(|known| known.name == parameter);
                let parameter = known.map_or("", |known| known.name);
                return Err(SpecError::Repeated { generator: spec.info.name, parameter });
            }
        }
        Ok(spec)
    }
}
