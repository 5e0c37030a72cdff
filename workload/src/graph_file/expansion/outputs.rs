//! Outputs and how their parts are joined. Must never hold file access.

use super::super::errors::{Located, Place, Problem};
use super::super::expression::Expression;
use super::super::syntax::{EncodingSyntax, OutputSyntax, PngSyntax};
use super::super::{AssembleError, ByteRange, Encoding, Output, OutputPart};
use super::Expander;
use crate::data_files::for_each_run;

/// See [`Output::assemble`].
pub(crate) fn assemble(output: &Output, parts: &[Vec<u8>]) -> Result<Vec<u8>, AssembleError> {
    if parts.len() != output.parts.len() {
        let (expected, found) = (output.parts.len(), parts.len());
        return Err(AssembleError::PartCount { output: output.name.clone(), expected, found });
    }
    let shape = output.shape();
    let element_bytes = output.element_type().size_bytes() as usize;
    let mut whole = vec![0; output.size_bytes() as usize];
    for (index, (part, bytes)) in output.parts.iter().zip(parts).enumerate() {
        let expected = part.range.size_bytes;
        if bytes.len() as u64 != expected {
            let found = bytes.len() as u64;
            return Err(AssembleError::PartSize {
                output: output.name.clone(),
                part: index,
                expected,
                found,
            });
        }
        for_each_run(&shape, &part.start, &part.extent, element_bytes, |target, source| {
            whole[target].copy_from_slice(&bytes[source]);
        });
    }
    Ok(whole)
}

/// The shape of an output before its parts are known.
struct Plan {
    encoding: Encoding,
    /// `None`: the parts follow each other and their sum is the extent.
    shape: Option<Vec<u64>>,
    element_bytes: u64,
}

/// Where a part ends in the first dimension.
fn end_of(part: &OutputPart) -> u64 {
    part.start.first().zip(part.extent.first()).map_or(0, |(start, extent)| start + extent)
}

impl Expander<'_> {
    pub(super) fn expand_output(&mut self, syntax: &OutputSyntax) {
        let Some(plan) = self.plan_output(syntax) else {
            return;
        };
        let Some(file) = self.fill_in(&syntax.file) else {
            return;
        };
        let path = match &self.settings.output_directory {
            Some(directory) => directory.join(file),
            None => file.into(),
        };
        if self.outputs.iter().any(|other| other.path == path) {
            return self.report(&syntax.file.place, Problem::OutputPath { path });
        }
        let mut parts = Vec::new();
        let mut turns = 0_u64;
        self.repeat(&syntax.repetition, &mut |expander, _| {
            turns += 1;
            let end = parts.last().map_or(0, end_of);
            if let Some(part) = expander.output_part(syntax, &plan, end) {
                expander.output_parts += 1;
                if expander.output_parts > expander.settings.limits.output_parts_max {
                    let limit = expander.settings.limits.output_parts_max as u64;
                    return expander.exceed(&syntax.place, "parts of outputs", limit);
                }
                parts.push(part);
            }
        });
        if turns == 0 && !self.stopped {
            self.report(&syntax.place, Problem::Empty { what: "the output" });
        }
        if parts.is_empty() {
            return;
        }
        let mut encoding = plan.encoding;
        if plan.shape.is_none() {
            let total = parts.last().map_or(0, end_of);
            match &mut encoding {
                Encoding::Npy { shape, .. } => *shape = vec![total],
                Encoding::Raw { size_bytes } => *size_bytes = total,
                Encoding::Png { .. } => {}
            }
            self.check_output_size(&syntax.place, &[total], plan.element_bytes);
        }
        self.outputs.push(Output { name: syntax.name.clone(), path, encoding, parts });
    }

    fn plan_output(&mut self, syntax: &OutputSyntax) -> Option<Plan> {
        let (encoding, shape, element_bytes) = match &syntax.encoding {
            EncodingSyntax::Raw => (Encoding::Raw { size_bytes: 0 }, None, 1),
            EncodingSyntax::Npy { dtype, shape } => {
                let element_type = self.element_type(dtype)?;
                let shape = match shape {
                    Some(shape) => Some(self.counts(&shape.value)?),
                    None => None,
                };
                let encoding = Encoding::Npy { element_type, shape: shape.clone().unwrap_or_default() };
                (encoding, shape, element_type.size_bytes())
            }
            EncodingSyntax::Png(png) => {
                let PngSyntax { width, height, channels, bits } = &**png;
                let size = "an image is 1 to 2147483647 pixels wide and high";
                let width = self.bounded(width, 1, 0x7fff_ffff, size);
                let height = self.bounded(height, 1, 0x7fff_ffff, size);
                let channels = self.bounded_or(channels.as_ref(), 1, 4, 1, "an image has 1 to 4 channels");
                let bits = self.bounded_or(bits.as_ref(), 8, 16, 8, "a sample has 8 or 16 bits");
                let (width, height, channels, bits) = (width?, height?, channels?, bits?);
                let bits = if bits == 16 { 16 } else { 8 };
                let shape = vec![height, width, channels];
                let channels = channels as u8;
                let encoding = Encoding::Png { width: width as u32, height: height as u32, channels, bits };
                (encoding, Some(shape), u64::from(bits / 8))
            }
        };
        match &shape {
            Some(shape) => self.check_output_size(&syntax.place, shape, element_bytes).then_some(())?,
            None => {
                for (name, list) in [("at", &syntax.at), ("part", &syntax.part)] {
                    if let Some(list) = list {
                        self.report(
                            &list.place,
                            Problem::Conflict { name, other: "an output without `shape`" },
                        );
                    }
                }
            }
        }
        Some(Plan { encoding, shape, element_bytes })
    }

    fn check_output_size(&mut self, place: &Place, shape: &[u64], element_bytes: u64) -> bool {
        let size = shape.iter().try_fold(element_bytes, |product, extent| product.checked_mul(*extent));
        let limit = self.settings.limits.output_bytes_max;
        let fits = size.is_some_and(|size| size <= limit);
        if !fits {
            self.exceed(place, "bytes in one output", limit);
        }
        fits
    }

    fn bounded(
        &mut self,
        expression: &Located<Expression>,
        least: u64,
        most: u64,
        allowed: &'static str,
    ) -> Option<u64> {
        let value = self.count(expression)?;
        if !(least..=most).contains(&value) || (least == 8 && value != 8 && value != 16) {
            self.report(&expression.place, Problem::OutOfRange { value: value.to_string(), allowed });
            return None;
        }
        Some(value)
    }

    fn bounded_or(
        &mut self,
        expression: Option<&Located<Expression>>,
        least: u64,
        most: u64,
        default: u64,
        allowed: &'static str,
    ) -> Option<u64> {
        match expression {
            Some(expression) => self.bounded(expression, least, most, allowed),
            None => Some(default),
        }
    }

    /// One part; `end` is where the part before it ended, for outputs whose parts follow each other.
    fn output_part(&mut self, syntax: &OutputSyntax, plan: &Plan, end: u64) -> Option<OutputPart> {
        let buffer = self.find_buffer(&syntax.buffer)?;
        let range =
            self.buffer_range(&syntax.buffer.place, buffer, syntax.offset.as_ref(), syntax.size.as_ref())?;
        let Some(shape) = &plan.shape else {
            let extent = range.size_bytes / plan.element_bytes;
            if extent * plan.element_bytes != range.size_bytes {
                let problem =
                    Problem::PartSize { part: extent * plan.element_bytes, range: range.size_bytes };
                self.report(&syntax.buffer.place, problem);
                return None;
            }
            return Some(OutputPart { buffer, range, start: vec![end], extent: vec![extent] });
        };
        let start = self.position(syntax.at.as_ref(), shape, vec![0; shape.len()])?;
        let extent = self.position(syntax.part.as_ref(), shape, shape.clone())?;
        for (dimension, &available) in shape.iter().enumerate() {
            let (first, count) = (start[dimension], extent[dimension]);
            if first.checked_add(count).is_none_or(|end| end > available) {
                let place =
                    syntax.at.as_ref().or(syntax.part.as_ref()).map_or(&syntax.place, |list| &list.place);
                self.report(place, Problem::PartRange { dimension, first, count, available });
                return None;
            }
        }
        self.check_part_size(syntax, &extent, plan.element_bytes, range)?;
        Some(OutputPart { buffer, range, start, extent })
    }

    /// The part lies within the output, whose size has been checked, so that the product cannot overflow.
    fn check_part_size(
        &mut self,
        syntax: &OutputSyntax,
        extent: &[u64],
        element_bytes: u64,
        range: ByteRange,
    ) -> Option<()> {
        let part = extent.iter().product::<u64>() * element_bytes;
        if part != range.size_bytes {
            self.report(&syntax.buffer.place, Problem::PartSize { part, range: range.size_bytes });
            return None;
        }
        Some(())
    }

    /// The numbers of `at` or `part`, one for each dimension, or the default.
    fn position(
        &mut self,
        list: Option<&Located<Vec<Located<Expression>>>>,
        shape: &[u64],
        default: Vec<u64>,
    ) -> Option<Vec<u64>> {
        let Some(list) = list else {
            return Some(default);
        };
        if list.value.len() != shape.len() {
            let expected = format!("{} numbers, one for each dimension of the output", shape.len());
            self.report(&list.place, Problem::WrongCount { expected, found: list.value.len() });
            return None;
        }
        self.counts(&list.value)
    }
}
