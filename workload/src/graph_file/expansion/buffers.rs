//! Buffers and references to them. Must never hold commands.

use super::super::errors::{Located, Place, Problem};
use super::super::expression::{BufferReference, Expression, member_name};
use super::super::syntax::{BufferOrigin, BufferSyntax};
use super::super::{Buffer, ByteRange};
use super::Expander;
use crate::graph_file::expression::Value;
use isochrone_model::suggestion::nearest;

impl Expander<'_> {
    pub(super) fn expand_buffer(&mut self, syntax: &BufferSyntax) {
        self.repeat(&syntax.repetition, &mut |expander, indices| {
            let name = member_name(&syntax.name, indices);
            if let Some((size_bytes, content)) = expander.buffer_content(syntax) {
                expander.add_buffer(syntax, Buffer { name, size_bytes, content });
            }
        });
    }

    fn add_buffer(&mut self, syntax: &BufferSyntax, buffer: Buffer) {
        if buffer.size_bytes == 0 {
            return self.report(&syntax.place, Problem::Empty { what: "the buffer" });
        }
        let limits = &self.settings.limits;
        if buffer.size_bytes > limits.buffer_bytes_max {
            let value = buffer.size_bytes.to_string();
            return self
                .report(&syntax.place, Problem::OutOfRange { value, allowed: "no buffer may be so large" });
        }
        if self.buffers.len() >= limits.buffers_max {
            return self.exceed(&syntax.place, "buffers", limits.buffers_max as u64);
        }
        self.content_bytes += buffer.content.as_ref().map_or(0, |content| content.len() as u64);
        if self.content_bytes > limits.content_bytes_max {
            return self.exceed(&syntax.place, "bytes of buffer contents", limits.content_bytes_max);
        }
        let property = format!("{}.bytes", syntax.name);
        if syntax.repetition.loops.is_empty() && !self.scope.contains(&property) {
            self.scope.set_global(property, Value::Integer(i128::from(buffer.size_bytes)));
        }
        self.buffer_by_name.insert(buffer.name.clone(), self.buffers.len());
        self.buffers.push(buffer);
    }

    /// The size and the initial content of a buffer.
    fn buffer_content(&mut self, syntax: &BufferSyntax) -> Option<(u64, Option<Vec<u8>>)> {
        match &syntax.origin {
            BufferOrigin::Data { name, slice } => {
                let ranges: Vec<Option<(u64, u64)>> =
                    slice.iter().map(|(first, count)| self.count(first).zip(self.count(count))).collect();
                let ranges: Vec<(u64, u64)> = ranges.into_iter().collect::<Option<_>>()?;
                let Some(array) = self.arrays.get(&name.value) else {
                    let suggestion = nearest(&name.value, self.arrays.keys().map(String::as_str));
                    let problem = Problem::Unknown { what: "data", name: name.value.clone(), suggestion };
                    self.report(&name.place, problem);
                    return None;
                };
                let content = array.slice(&ranges);
                let place = slice.first().map_or(&name.place, |(first, _)| &first.place);
                let content = self.accept(place, content)?;
                Some((content.len() as u64, Some(content)))
            }
            BufferOrigin::Size(size) => Some((self.count(size)?, None)),
            BufferOrigin::Shape { shape, dtype } => {
                let element_type = self.element_type(dtype)?;
                let extents = self.counts(shape)?;
                let size = extents
                    .iter()
                    .try_fold(element_type.size_bytes(), |product, extent| product.checked_mul(*extent));
                // What overflows is larger than any limit, and reported as such.
                Some((size.unwrap_or(u64::MAX), None))
            }
        }
    }

    /// The index of the buffer that is meant.
    pub(super) fn find_buffer(&mut self, reference: &Located<BufferReference>) -> Option<usize> {
        let name = reference.value.evaluate(&self.scope);
        let name = self.accept(&reference.place, name)?;
        if let Some(&index) = self.buffer_by_name.get(&name) {
            return Some(index);
        }
        let candidates = self.buffers.iter().take(10_000).map(|buffer| buffer.name.as_str());
        let suggestion = nearest(&name, candidates).or_else(|| {
            // The name of a family without its indices.
            let member = self.buffers.iter().find(|buffer| buffer.name.starts_with(&format!("{name}[")));
            member.map(|buffer| buffer.name.clone())
        });
        self.report(&reference.place, Problem::Unknown { what: "buffer", name, suggestion });
        None
    }

    /// A range of a buffer: from the start and up to the end unless said otherwise.
    pub(super) fn buffer_range(
        &mut self,
        place: &Place,
        buffer: usize,
        offset: Option<&Located<Expression>>,
        size: Option<&Located<Expression>>,
    ) -> Option<ByteRange> {
        let offset_bytes = self.optional_count(offset)?.unwrap_or(0);
        let available = self.buffers[buffer].size_bytes;
        let size_bytes = self.optional_count(size)?.unwrap_or(available.saturating_sub(offset_bytes));
        let range = ByteRange { offset_bytes, size_bytes };
        self.check_range(place, buffer, range).then_some(range)
    }

    pub(super) fn check_range(&mut self, place: &Place, buffer: usize, range: ByteRange) -> bool {
        let Buffer { name, size_bytes: available, .. } = &self.buffers[buffer];
        let available = *available;
        let fits = range.offset_bytes.checked_add(range.size_bytes).is_some_and(|end| end <= available);
        if fits && range.size_bytes > 0 {
            return true;
        }
        let within = format!("buffer `{name}`");
        let problem =
            Problem::Range { offset: range.offset_bytes, size: range.size_bytes, within, available };
        self.report(place, if fits { Problem::Empty { what: "the range" } } else { problem });
        false
    }
}
