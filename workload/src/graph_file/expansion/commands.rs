//! Steps become commands. Must never hold the order between them.

use super::super::errors::{Located, Place, Problem};
use super::super::expression::{BufferReference, Expression, Value};
use super::super::order::PendingDependency;
use super::super::syntax::{
    ArgumentSyntax, BufferArgumentSyntax, ScalarSyntax, ScalarType, Step, StepKind, keys,
};
use super::super::{Argument, BufferArgument, ByteRange, Command, CommandKind, Launch};
use super::Expander;
use crate::data_files::ElementType;
use isochrone_model::suggestion::nearest;

impl Expander<'_> {
    /// Expands steps in their order; the recursion is bounded by the nesting that the syntax allows.
    pub(super) fn expand_steps(&mut self, steps: &[Step]) {
        for step in steps {
            if self.stopped {
                return;
            }
            self.repeat(&step.repetition, &mut |expander, _| match &step.kind {
                StepKind::Group(steps) => expander.expand_steps(steps),
                StepKind::Launch { .. }
                | StepKind::Copy { .. }
                | StepKind::Fill { .. }
                | StepKind::Barrier
                | StepKind::Marker => {
                    if let Some((kind, name)) = expander.command_kind(step) {
                        expander.add_command(step, kind, &name);
                    }
                }
            });
        }
    }

    fn add_command(&mut self, step: &Step, kind: CommandKind, name: &str) {
        let index = self.commands.len();
        let limits = &self.settings.limits;
        if index >= limits.commands_max {
            return self.exceed(&step.place, "commands", limits.commands_max as u64);
        }
        let label = match &step.label {
            Some(template) => match self.fill_in(template) {
                Some(label) => label,
                None => return,
            },
            None => format!("{name}#{index}"),
        };
        for template in &step.after {
            let Some(label) = self.fill_in(template) else {
                continue;
            };
            if self.pending.len() >= limits.dependencies_max {
                return self.exceed(&template.place, "entries in `after`", limits.dependencies_max as u64);
            }
            self.pending.push(PendingDependency { command: index, label, place: template.place.clone() });
        }
        let line = step.place.line;
        if let Some(line) = self.line_by_label.insert(label.clone(), line) {
            let place = step.label.as_ref().map_or(&step.place, |label| &label.place);
            self.report(place, Problem::DuplicateLabel { label: label.clone(), line });
        }
        self.commands.push(Command { label, after: Vec::new(), line, kind });
        self.places.push(step.place.key.clone());
    }

    /// What the step does in this turn, and a name for it. Groups do nothing of their own.
    fn command_kind(&mut self, step: &Step) -> Option<(CommandKind, String)> {
        match &step.kind {
            StepKind::Launch { .. } => self.launch(step),
            StepKind::Copy { .. } => self.copy(step).map(|kind| (kind, "copy".to_owned())),
            StepKind::Fill { place, buffer, offset, size, pattern } => {
                let kind = self.fill(place, buffer, offset.as_ref(), size.as_ref(), pattern);
                kind.map(|kind| (kind, "fill".to_owned()))
            }
            StepKind::Barrier => Some((CommandKind::Barrier, "barrier".to_owned())),
            StepKind::Marker => Some((CommandKind::Marker, "marker".to_owned())),
            StepKind::Group(_) => None,
        }
    }

    fn launch(&mut self, step: &Step) -> Option<(CommandKind, String)> {
        let StepKind::Launch { kernel, program, global, local, offset, arguments } = &step.kind else {
            return None;
        };
        let program = self.find_program(step, program.as_ref());
        let name = self.fill_in(kernel);
        let extents = self.index_space(global, local.as_ref(), offset.as_ref());
        let arguments: Vec<Option<Argument>> =
            arguments.iter().map(|argument| self.argument(argument)).collect();
        let (program, name, (global, local, offset)) = (program?, name?, extents?);
        let arguments = arguments.into_iter().collect::<Option<Vec<_>>>()?;
        let launch = Launch { program, kernel: name.clone(), global, local, offset, arguments };
        Some((CommandKind::Launch(launch), name))
    }

    fn find_program(&mut self, step: &Step, name: Option<&Located<String>>) -> Option<usize> {
        let Some(name) = name else {
            if self.program_names.len() == 1 {
                return Some(0);
            }
            let hint = "name one of [programs.NAME], since the file does not have exactly one";
            self.report(&step.place, Problem::MissingKey { name: "program", hint });
            return None;
        };
        let found = self.program_names.iter().position(|known| *known == name.value);
        if found.is_none() {
            let suggestion = nearest(&name.value, self.program_names.iter().map(String::as_str));
            let problem = Problem::Unknown { what: "program", name: name.value.clone(), suggestion };
            self.report(&name.place, problem);
        }
        found
    }

    #[expect(clippy::type_complexity, reason = "global, local and offset, as a launch has them")]
    fn index_space(
        &mut self,
        global: &Located<Vec<Located<Expression>>>,
        local: Option<&Located<Vec<Located<Expression>>>>,
        offset: Option<&Located<Vec<Located<Expression>>>>,
    ) -> Option<(Vec<u64>, Option<Vec<u64>>, Option<Vec<u64>>)> {
        let dimensions = global.value.len();
        if !(1..=3).contains(&dimensions) {
            let expected = "1 to 3 dimensions".to_owned();
            self.report(&global.place, Problem::WrongCount { expected, found: dimensions });
            return None;
        }
        for list in [local, offset].into_iter().flatten() {
            if list.value.len() != dimensions {
                let expected = format!("as many dimensions as `global` has ({dimensions})");
                self.report(&list.place, Problem::WrongCount { expected, found: list.value.len() });
                return None;
            }
        }
        let extents = self.extents(&global.value)?;
        let group = match local {
            Some(local) => Some(self.extents(&local.value)?),
            None => None,
        };
        let first = match offset {
            Some(offset) => Some(self.counts(&offset.value)?),
            None => None,
        };
        if let (Some(group), Some(local)) = (&group, local) {
            for (dimension, (&global, &size)) in extents.iter().zip(group).enumerate() {
                if global % size != 0 {
                    let problem = Problem::NotDivisible { global, local: size };
                    self.report(&local.value[dimension].place, problem);
                    return None;
                }
            }
        }
        Some((extents, group, first))
    }

    /// Numbers of work-items, at least 1 each.
    fn extents(&mut self, expressions: &[Located<Expression>]) -> Option<Vec<u64>> {
        let counts = self.counts(expressions)?;
        if let Some(dimension) = counts.iter().position(|&count| count == 0) {
            let allowed = "every dimension needs at least 1 work-item (skip empty launches with `if`)";
            self.report(
                &expressions[dimension].place,
                Problem::OutOfRange { value: "0".to_owned(), allowed },
            );
            return None;
        }
        Some(counts)
    }

    fn argument(&mut self, argument: &ArgumentSyntax) -> Option<Argument> {
        match argument {
            ArgumentSyntax::Scalar(scalar) => self.scalar(scalar).map(Argument::Scalar),
            ArgumentSyntax::Local(size) => {
                let size_bytes = self.count(size)?;
                if size_bytes == 0 {
                    self.report(&size.place, Problem::Empty { what: "the local memory" });
                    return None;
                }
                Some(Argument::Local { size_bytes })
            }
            ArgumentSyntax::Buffer(argument) => {
                let BufferArgumentSyntax { place, buffer: reference, offset, size, access, touches } =
                    &**argument;
                let buffer = self.find_buffer(reference)?;
                let bound = self.buffer_range(place, buffer, offset.as_ref(), size.as_ref())?;
                let touches = match touches {
                    Some(Located { place, value: (first, count) }) => {
                        let (offset_bytes, size_bytes) = self.count(first).zip(self.count(count))?;
                        let range = ByteRange { offset_bytes, size_bytes };
                        Some(self.touched(place, buffer, bound, range)?)
                    }
                    None => None,
                };
                Some(Argument::Buffer(BufferArgument { buffer, bound, access: *access, touches }))
            }
        }
    }

    fn touched(
        &mut self,
        place: &Place,
        buffer: usize,
        bound: ByteRange,
        range: ByteRange,
    ) -> Option<ByteRange> {
        if !self.check_range(place, buffer, range) {
            return None;
        }
        let inside = range.offset_bytes >= bound.offset_bytes
            && range.offset_bytes + range.size_bytes <= bound.offset_bytes + bound.size_bytes;
        if !inside {
            let buffer = self.buffers[buffer].name.clone();
            self.report(place, Problem::TouchesOutsideBound { buffer });
        }
        inside.then_some(range)
    }

    /// The bytes of a number or vector as the device expects it.
    fn scalar(&mut self, scalar: &ScalarSyntax) -> Option<Vec<u8>> {
        let (element_type, count) = match &scalar.scalar_type {
            ScalarType::Known(element_type, count) => (*element_type, *count),
            ScalarType::Computed(template) => {
                let name = self.fill_in(template)?;
                let Some(found) = ScalarType::from_name(&name) else {
                    let suggestion = nearest(&name, keys::SCALAR_TYPES.iter().copied());
                    let allowed = keys::SCALAR_TYPES;
                    self.report(&template.place, Problem::NotOneOf { found: name, allowed, suggestion });
                    return None;
                };
                found
            }
        };
        if scalar.values.len() != count {
            let expected =
                if count == 1 { "a single number".to_owned() } else { format!("a list of {count} numbers") };
            self.report(&scalar.place, Problem::WrongCount { expected, found: scalar.values.len() });
            return None;
        }
        let mut bytes = Vec::new();
        for expression in &scalar.values {
            let value = self.value_of(expression)?;
            let encoded = match (&value, element_type) {
                (Value::Integer(value), element_type) => element_type.encode_integer(*value),
                (Value::Float(value), element_type) => finite(element_type, *value),
                (Value::Boolean(_) | Value::Text(_), _) => None,
            };
            let Some(encoded) = encoded else {
                let problem = Problem::ScalarRange { value: value.to_string(), element_type };
                self.report(&expression.place, problem);
                return None;
            };
            bytes.extend_from_slice(&encoded);
        }
        // OpenCL gives vectors of three the size of four.
        if count == 3 {
            bytes.resize(4 * element_type.size_bytes() as usize, 0);
        }
        Some(bytes)
    }

    fn fill(
        &mut self,
        place: &Place,
        buffer: &Located<BufferReference>,
        offset: Option<&Located<Expression>>,
        size: Option<&Located<Expression>>,
        pattern: &ScalarSyntax,
    ) -> Option<CommandKind> {
        let buffer = self.find_buffer(buffer);
        let pattern = self.scalar(pattern);
        let (buffer, pattern) = (buffer?, pattern?);
        let ByteRange { offset_bytes, size_bytes } = self.buffer_range(place, buffer, offset, size)?;
        for (what, value) in [("the offset", offset_bytes), ("the size", size_bytes)] {
            if value % pattern.len() as u64 != 0 {
                self.report(place, Problem::Pattern { what, value, pattern: pattern.len() });
                return None;
            }
        }
        Some(CommandKind::Fill { buffer, offset_bytes, size_bytes, pattern })
    }

    fn copy(&mut self, step: &Step) -> Option<CommandKind> {
        let StepKind::Copy { place, source, source_offset, target, target_offset, size } = &step.kind else {
            return None;
        };
        let (source, target) = (self.find_buffer(source), self.find_buffer(target));
        let (source, target) = (source?, target?);
        let read = self.buffer_range(place, source, source_offset.as_ref(), size.as_ref())?;
        let offset_bytes = self.optional_count(target_offset.as_ref())?.unwrap_or(0);
        let written = ByteRange { offset_bytes, size_bytes: read.size_bytes };
        if !self.check_range(place, target, written) {
            return None;
        }
        let apart = read.offset_bytes + read.size_bytes <= written.offset_bytes
            || written.offset_bytes + written.size_bytes <= read.offset_bytes;
        if source == target && !apart {
            self.report(place, Problem::CopyOverlap);
            return None;
        }
        Some(CommandKind::Copy {
            source,
            source_offset_bytes: read.offset_bytes,
            target,
            target_offset_bytes: written.offset_bytes,
            size_bytes: read.size_bytes,
        })
    }
}

/// A float as an element, unless the type cannot hold it.
fn finite(element_type: ElementType, value: f64) -> Option<Vec<u8>> {
    if element_type == ElementType::Float32 && !(value as f32).is_finite() {
        return None;
    }
    element_type.encode_float(value)
}
