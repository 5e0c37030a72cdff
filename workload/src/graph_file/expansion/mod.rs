//! From the structure of a graph file to plain data: parameters, files, values, loops.
//!
//! Must never hold the syntax of the file.

mod buffers;
mod commands;
mod outputs;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::rc::Rc;

pub(super) use outputs::assemble;

use super::errors::{Located, Place, Problem, Reports};
use super::expression::{Expression, Scope, Template, Value};
use super::order::{self, PendingDependency};
use super::syntax::{Data, Document, Parameter, ParameterDefault, Repetition, keys};
use super::{Buffer, Command, DataFile, GraphFile, Output, Program, Settings};
use crate::data_files::{self, Array, DataFormat, ElementType};
use isochrone_model::suggestion::nearest;

/// Expands a document; `None` when something was reported that makes going on pointless.
pub(super) fn expand(
    path: &Path,
    document: &Document,
    settings: &Settings,
    reports: &mut Reports,
) -> Option<GraphFile> {
    let folder = path.parent().map(Path::to_owned).unwrap_or_default();
    let mut expander = Expander::new(folder, settings, reports);
    let parameters = expander.parameters(document)?;
    for data in &document.data {
        expander.load_data(data);
    }
    let mut programs = expander.load_programs(document);
    expander.proceed()?;
    for (name, expression) in &document.values {
        expander.set_value(name, expression);
    }
    expander.proceed()?;
    expander.check_requirements(document);
    expander.proceed()?;
    for (program, syntax) in programs.iter_mut().zip(&document.programs) {
        if let Some(options) = &syntax.options {
            program.options = expander.fill_in(options).unwrap_or_default();
        }
    }
    for buffer in &document.buffers {
        expander.expand_buffer(buffer);
    }
    expander.proceed()?;
    expander.program_names = programs.iter().map(|program| program.name.clone()).collect();
    expander.expand_steps(&document.steps);
    for output in &document.outputs {
        if !expander.stopped {
            expander.expand_output(output);
        }
    }
    let verify = document.verify.as_ref().map(|name| expander.check_reference(name));
    expander.proceed()?;
    let Expander { mut commands, buffers, pending, places, data, outputs, reports, .. } = expander;
    order::resolve(&mut commands, pending, reports);
    if let Some(cycle) = order::find_cycle(&commands) {
        let mut members: Vec<String> = cycle.iter().map(|&index| commands[index].label.clone()).collect();
        members.push(members[0].clone());
        let place = Place { line: commands[cycle[0]].line, key: places[cycle[0]].clone() };
        reports.report(&place, Problem::Cycle { members });
    }
    Some(GraphFile {
        path: path.to_owned(),
        name: document.name.clone(),
        description: document.description.clone(),
        verify,
        parameters,
        data,
        programs,
        buffers,
        commands,
        outputs,
    })
}

/// The state of one expansion.
struct Expander<'a> {
    folder: PathBuf,
    settings: &'a Settings,
    reports: &'a mut Reports,
    scope: Scope,
    iterations: u64,
    /// A limit was exceeded: everything that follows would only exceed it again.
    stopped: bool,
    arrays: BTreeMap<String, Array>,
    data: Vec<DataFile>,
    content_bytes: u64,
    buffers: Vec<Buffer>,
    buffer_by_name: HashMap<String, usize>,
    program_names: Vec<String>,
    commands: Vec<Command>,
    /// The key of the step that made each command.
    places: Vec<Rc<str>>,
    line_by_label: HashMap<String, usize>,
    pending: Vec<PendingDependency>,
    outputs: Vec<Output>,
    output_parts: usize,
}

impl<'a> Expander<'a> {
    fn new(folder: PathBuf, settings: &'a Settings, reports: &'a mut Reports) -> Expander<'a> {
        Expander {
            folder,
            settings,
            reports,
            scope: Scope::default(),
            iterations: 0,
            stopped: false,
            arrays: BTreeMap::new(),
            data: Vec::new(),
            content_bytes: 0,
            buffers: Vec::new(),
            buffer_by_name: HashMap::new(),
            program_names: Vec::new(),
            commands: Vec::new(),
            places: Vec::new(),
            line_by_label: HashMap::new(),
            pending: Vec::new(),
            outputs: Vec::new(),
            output_parts: 0,
        }
    }

    /// `None` once anything was reported.
    fn proceed(&self) -> Option<()> {
        self.reports.is_empty().then_some(())
    }

    /// Reports with the values of the loop variables.
    fn report(&mut self, place: &Place, problem: Problem) {
        let bindings = self.scope.describe_locals();
        self.reports.report_with(place, bindings, problem);
    }

    fn exceed(&mut self, place: &Place, what: &'static str, limit: u64) {
        self.stopped = true;
        self.report(place, Problem::LimitExceeded { what, limit });
    }

    fn accept<T>(&mut self, place: &Place, result: Result<T, impl Into<Problem>>) -> Option<T> {
        result.map_err(|problem| self.report(place, problem.into())).ok()
    }

    fn fill_in(&mut self, template: &Located<Template>) -> Option<String> {
        let text = template.value.evaluate(&self.scope);
        self.accept(&template.place, text)
    }

    fn value_of(&mut self, expression: &Located<Expression>) -> Option<Value> {
        let value = expression.value.evaluate(&self.scope);
        self.accept(&expression.place, value)
    }

    /// An integer from 0 on.
    fn count(&mut self, expression: &Located<Expression>) -> Option<u64> {
        let value = expression.value.evaluate_integer(&self.scope);
        let value = self.accept(&expression.place, value)?;
        let count = u64::try_from(value).ok();
        if count.is_none() {
            let allowed = "it must be an integer from 0 to 18446744073709551615";
            self.report(&expression.place, Problem::OutOfRange { value: value.to_string(), allowed });
        }
        count
    }

    fn counts(&mut self, expressions: &[Located<Expression>]) -> Option<Vec<u64>> {
        // Every one is computed before giving up, so that all errors show at once.
        let counts: Vec<Option<u64>> = expressions.iter().map(|expression| self.count(expression)).collect();
        counts.into_iter().collect()
    }

    fn optional_count(&mut self, expression: Option<&Located<Expression>>) -> Option<Option<u64>> {
        match expression {
            Some(expression) => self.count(expression).map(Some),
            None => Some(None),
        }
    }

    fn element_type(&mut self, template: &Located<Template>) -> Option<ElementType> {
        let name = self.fill_in(template)?;
        let element_type = ElementType::from_name(&name);
        if element_type.is_none() {
            let suggestion = nearest(&name, keys::SCALAR_TYPES.iter().copied());
            self.report(
                &template.place,
                Problem::NotOneOf { found: name, allowed: keys::SCALAR_TYPES, suggestion },
            );
        }
        element_type
    }

    /// Decides all parameters and puts them in scope; `None` if any of them has no value.
    fn parameters(&mut self, document: &Document) -> Option<BTreeMap<String, String>> {
        let known: BTreeSet<&str> =
            document.parameters.iter().map(|parameter| parameter.name.as_str()).collect();
        for name in self.settings.parameters.keys().filter(|name| !known.contains(name.as_str())) {
            let place = Place { line: 0, key: Rc::from(format!("parameters.{name}")) };
            let suggestion = nearest(name, known.iter().copied());
            self.reports.report(&place, Problem::UnknownParameter { name: name.clone(), suggestion });
        }
        let mut texts = BTreeMap::new();
        for parameter in &document.parameters {
            if let Some(value) = self.parameter(parameter) {
                texts.insert(parameter.name.clone(), value.to_string());
                self.scope.set_global(parameter.name.clone(), value);
            }
        }
        self.proceed().map(|()| texts)
    }

    fn parameter(&mut self, parameter: &Parameter) -> Option<Value> {
        let set = self.settings.parameters.get(&parameter.name);
        let decided = match (&parameter.default, set) {
            (ParameterDefault::Value(default), None) => Ok(default.clone()),
            (ParameterDefault::Value(default), Some(text)) => parse_as(default, text),
            (ParameterDefault::Choose(choices), Some(text)) => {
                let chosen = choices.iter().find(|(value, _)| value.to_string() == *text);
                chosen.map(|(value, _)| value.clone()).ok_or_else(|| {
                    let values: Vec<String> = choices.iter().map(|(value, _)| format!("`{value}`")).collect();
                    Problem::ParameterValue {
                        value: text.clone(),
                        expected: format!("one of {}", values.join(", ")),
                    }
                })
            }
            (ParameterDefault::Choose(choices), None) => {
                let capabilities = &self.settings.capabilities;
                let applies =
                    |when: &Option<String>| when.as_ref().is_none_or(|when| capabilities.contains(when));
                let chosen = choices.iter().find(|(_, when)| applies(when));
                chosen
                    .map(|(value, _)| value.clone())
                    .ok_or_else(|| Problem::NoChoice { capabilities: capabilities.iter().cloned().collect() })
            }
        };
        self.accept(&parameter.place, decided)
    }

    fn load_data(&mut self, data: &Data) {
        if self.arrays.contains_key(&data.name) {
            let problem = Problem::NameTaken { name: data.name.clone(), by: "other data" };
            return self.report(&data.file.place, problem);
        }
        let Some(file) = self.fill_in(&data.file) else {
            return;
        };
        let path = self.folder.join(&file);
        let format = data.format.unwrap_or_else(|| DataFormat::from_path(&path));
        let bytes_max = self.settings.limits.data_file_bytes_max;
        let array =
            data_files::read_array(&path, format, bytes_max).map_err(|source| Problem::File { source });
        let Some(array) = self.accept(&data.file.place, array) else {
            return;
        };
        let Some(array) = self.shape_data(data, format, array) else {
            return;
        };
        self.set_properties(&data.name, format, &array);
        let (element_type, shape) = (array.element_type, array.shape.clone());
        self.data.push(DataFile { name: data.name.clone(), path, element_type, shape });
        self.arrays.insert(data.name.clone(), array);
    }

    /// Gives a raw file its type and shape, and converts the elements of any other.
    fn shape_data(&mut self, data: &Data, format: DataFormat, array: Array) -> Option<Array> {
        let element_type = match &data.dtype {
            Some(dtype) => Some(self.element_type(dtype)?),
            None => None,
        };
        if format != DataFormat::Raw {
            if let Some(shape) = &data.shape {
                self.report(
                    &shape.place,
                    Problem::Conflict { name: "shape", other: "a file that has its own shape" },
                );
            }
            let converted = array.convert_if(element_type);
            let place = data.dtype.as_ref().map_or(&data.file.place, |dtype| &dtype.place);
            return self.accept(place, converted);
        }
        let element_type = element_type.unwrap_or(ElementType::UInt8);
        let found = array.bytes.len() as u64;
        let (shape, place) = match &data.shape {
            Some(shape) => (self.counts(&shape.value)?, &shape.place),
            None => (vec![found / element_type.size_bytes()], &data.file.place),
        };
        let expected =
            shape.iter().try_fold(element_type.size_bytes(), |product, extent| product.checked_mul(*extent));
        let expected = expected.unwrap_or(u64::MAX);
        if expected != found {
            self.report(place, Problem::RawSize { expected, found });
            return None;
        }
        Some(Array { element_type, shape, bytes: array.bytes })
    }

    /// Puts what expressions may ask about a data file in scope.
    fn set_properties(&mut self, name: &str, format: DataFormat, array: &Array) {
        let mut properties =
            vec![("bytes".to_owned(), array.bytes.len() as u64), ("count".to_owned(), array.elements())];
        for (dimension, &extent) in array.shape.iter().enumerate() {
            properties.push((format!("dim{dimension}"), extent));
        }
        let named: &[&str] = match format {
            DataFormat::Png => &["height", "width", "channels"],
            DataFormat::Npy | DataFormat::Raw => &["rows", "cols"],
        };
        properties.extend(
            named.iter().zip(&array.shape).map(|(property, &extent)| ((*property).to_owned(), extent)),
        );
        for (property, value) in properties {
            self.scope.set_global(format!("{name}.{property}"), Value::Integer(i128::from(value)));
        }
    }

    fn load_programs(&mut self, document: &Document) -> Vec<Program> {
        let mut programs = Vec::new();
        for syntax in &document.programs {
            let Some(file) = self.fill_in(&syntax.file) else {
                continue;
            };
            let source_path = self.folder.join(&file);
            let bytes = data_files::read_bounded(&source_path, self.settings.limits.source_bytes_max);
            let source = bytes.map_err(|source| Problem::File { source }).and_then(|bytes| {
                String::from_utf8(bytes).map_err(|_| Problem::ProgramText { path: source_path.clone() })
            });
            if let Some(source) = self.accept(&syntax.file.place, source) {
                programs.push(Program {
                    name: syntax.name.clone(),
                    source,
                    source_path,
                    options: String::new(),
                });
            }
        }
        programs
    }

    fn set_value(&mut self, name: &str, expression: &Located<Expression>) {
        if self.scope.contains(name) {
            let problem = Problem::NameTaken { name: name.to_owned(), by: "a parameter" };
            return self.report(&expression.place, problem);
        }
        if let Some(value) = self.value_of(expression) {
            self.scope.set_global(name.to_owned(), value);
        }
    }

    fn check_requirements(&mut self, document: &Document) {
        for requirement in &document.requirements {
            let holds = requirement.check.value.evaluate_boolean(&self.scope);
            if self.accept(&requirement.check.place, holds) != Some(false) {
                continue;
            }
            let message = match &requirement.message {
                Some(message) => self.fill_in(message),
                None => Some(format!("`{}` does not hold", requirement.check.value.text())),
            };
            if let Some(message) = message {
                self.report(&requirement.check.place, Problem::Requirement { message });
            }
        }
    }

    fn check_reference(&mut self, name: &Located<String>) -> String {
        if !crate::reference::NAMES.contains(&name.value.as_str()) {
            let allowed = crate::reference::NAMES;
            let suggestion = nearest(&name.value, allowed.iter().copied());
            self.report(&name.place, Problem::NotOneOf { found: name.value.clone(), allowed, suggestion });
        }
        name.value.clone()
    }

    /// Calls `body` for each turn of the loops for which the condition holds, with the values of the loop variables.
    fn repeat(&mut self, repetition: &Repetition, body: &mut dyn FnMut(&mut Self, &[i128])) {
        self.repeat_level(repetition, &mut Vec::new(), body);
    }

    /// The recursion is bounded by the number of variables that one `for` may have.
    fn repeat_level(
        &mut self,
        repetition: &Repetition,
        indices: &mut Vec<i128>,
        body: &mut dyn FnMut(&mut Self, &[i128]),
    ) {
        let Some((name, range)) = repetition.loops.get(indices.len()) else {
            return self.turn(repetition, indices, body);
        };
        let values = range.value.evaluate(&self.scope);
        let Some(values) = self.accept(&range.place, values) else {
            return;
        };
        if !self.is_free(name, &range.place) {
            return;
        }
        for value in values {
            self.iterations += 1;
            if self.iterations > self.settings.limits.iterations_max {
                self.exceed(&range.place, "turns of loops", self.settings.limits.iterations_max);
            }
            if self.stopped {
                return;
            }
            let depth = self.scope.depth();
            self.scope.push(name.clone(), Value::Integer(value));
            indices.push(value);
            self.repeat_level(repetition, indices, body);
            indices.pop();
            self.scope.truncate(depth);
        }
    }

    fn turn(&mut self, repetition: &Repetition, indices: &[i128], body: &mut dyn FnMut(&mut Self, &[i128])) {
        let depth = self.scope.depth();
        let mut complete = true;
        for (name, expression) in &repetition.names {
            complete &= self.is_free(name, &expression.place);
            match self.value_of(expression) {
                Some(value) => self.scope.push(name.clone(), value),
                None => complete = false,
            }
        }
        if complete {
            let applies = match &repetition.condition {
                Some(condition) => {
                    let applies = condition.value.evaluate_boolean(&self.scope);
                    self.accept(&condition.place, applies)
                }
                None => Some(true),
            };
            if applies == Some(true) {
                body(self, indices);
            }
        }
        self.scope.truncate(depth);
    }

    fn is_free(&mut self, name: &str, place: &Place) -> bool {
        let taken = self.scope.contains(name);
        if taken {
            self.report(place, Problem::NameTaken { name: name.to_owned(), by: "another value" });
        }
        !taken
    }
}

impl Array {
    fn convert_if(self, target: Option<ElementType>) -> Result<Array, data_files::ConvertError> {
        match target {
            Some(target) => self.convert(target),
            None => Ok(self),
        }
    }
}

/// Reads a setting as a value of the same kind as the default.
fn parse_as(default: &Value, text: &str) -> Result<Value, Problem> {
    let (parsed, expected) = match default {
        Value::Integer(_) => (text.parse().ok().map(Value::Integer), "an integer"),
        Value::Float(_) => {
            let value = text.parse::<f64>().ok().filter(|value| value.is_finite());
            (value.map(Value::Float), "a finite number")
        }
        Value::Boolean(_) => (text.parse().ok().map(Value::Boolean), "true or false"),
        Value::Text(_) => (Some(Value::Text(Rc::from(text))), "a text"),
    };
    parsed.ok_or_else(|| Problem::ParameterValue { value: text.to_owned(), expected: expected.to_owned() })
}
