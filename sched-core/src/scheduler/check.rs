//! Checking commands: what each touches and does, and what speaks against it.

use isochrone_model::{
    Access, AddressSpace, Argument, BoundArgument, BoundArguments, BufferId, BufferKey, ByteRange,
    CommandError, CommandKind, KernelIndex, KernelSignature, Launch, Payload, SessionId,
};

use super::Scheduler;
use super::state::{BufferIndex, BuildState, KernelTask, TaskWork};

/// What a command touches and does, checked.
pub(super) struct Checked {
    pub work: TaskWork,
    pub reads: Vec<(BufferIndex, ByteRange)>,
    pub writes: Vec<(BufferIndex, ByteRange)>,
    pub buffers: Vec<BufferIndex>,
}

impl Scheduler {
    pub(super) fn buffer(&self, session: SessionId, buffer: BufferId) -> Result<BufferIndex, CommandError> {
        self.live_buffer(session, buffer).ok_or(CommandError::UnknownBuffer { buffer })
    }

    /// A buffer that its session has not released.
    pub(super) fn live_buffer(&self, session: SessionId, buffer: BufferId) -> Option<BufferIndex> {
        let index = self.state.buffer_at(BufferKey { session, buffer })?;
        (!self.state.buffers[index].is_released).then_some(index)
    }

    pub(super) fn range_within(
        &self,
        buffer: BufferIndex,
        offset_bytes: u64,
        size_bytes: u64,
    ) -> Result<ByteRange, CommandError> {
        let record = &self.state.buffers[buffer];
        let range = ByteRange { start: offset_bytes, end: offset_bytes.saturating_add(size_bytes) };
        if range.end > record.size_bytes {
            return Err(CommandError::OutOfRange {
                buffer: record.key.buffer,
                range,
                size_bytes: record.size_bytes,
            });
        }
        Ok(range)
    }

    pub(super) fn check(&self, session: SessionId, kind: &CommandKind) -> Result<Checked, CommandError> {
        match kind {
            CommandKind::Launch(launch) => self.check_launch(session, launch),
            CommandKind::Write { buffer, offset_bytes, payload } => {
                let index = self.buffer(session, *buffer)?;
                let range = self.range_within(index, *offset_bytes, payload.size_bytes())?;
                if let Payload::Inline(bytes) = payload
                    && bytes.len() as u64 > self.state.limits.inline_bytes_max
                {
                    return Err(CommandError::LimitExceeded {
                        what: "contents inside a command".to_owned(),
                        limit: self.state.limits.inline_bytes_max,
                    });
                }
                let work = TaskWork::Write { payload: payload.clone() };
                Ok(Checked { work, reads: Vec::new(), writes: vec![(index, range)], buffers: vec![index] })
            }
            CommandKind::Copy { source, source_offset_bytes, target, target_offset_bytes, size_bytes } => {
                let (from, to) = (self.buffer(session, *source)?, self.buffer(session, *target)?);
                let source_range = self.range_within(from, *source_offset_bytes, *size_bytes)?;
                let target_range = self.range_within(to, *target_offset_bytes, *size_bytes)?;
                if from == to && source_range.overlaps(target_range) {
                    return Err(CommandError::CopyOverlap { buffer: *source });
                }
                let mut buffers = vec![from, to];
                buffers.dedup();
                Ok(Checked {
                    work: TaskWork::Copy { source: from, source_range },
                    reads: vec![(from, source_range)],
                    writes: vec![(to, target_range)],
                    buffers,
                })
            }
            CommandKind::Fill { buffer, offset_bytes, size_bytes, pattern } => {
                let index = self.buffer(session, *buffer)?;
                let range = self.range_within(index, *offset_bytes, *size_bytes)?;
                let length = pattern.len() as u64;
                if !length.is_power_of_two() || length > 128 {
                    let what = format!(
                        "a pattern of {length} bytes; OpenCL fills with 1, 2, 4, 8, 16, 32, 64 or 128"
                    );
                    return Err(CommandError::Malformed { what });
                }
                if !offset_bytes.is_multiple_of(length) || !size_bytes.is_multiple_of(length) {
                    let what = format!(
                        "offset and size of a fill must be multiples of the pattern's {length} bytes"
                    );
                    return Err(CommandError::Malformed { what });
                }
                let work = TaskWork::Fill { pattern: pattern.clone() };
                Ok(Checked { work, reads: Vec::new(), writes: vec![(index, range)], buffers: vec![index] })
            }
            CommandKind::Read { .. } | CommandKind::Barrier | CommandKind::Marker => Ok(Checked::nothing()),
        }
    }

    fn check_launch(&self, session: SessionId, launch: &Launch) -> Result<Checked, CommandError> {
        let program = launch.program;
        let key = *self.state.sessions[&session]
            .programs
            .get(&program)
            .ok_or(CommandError::UnknownProgram { program })?;
        let record = &self.state.programs[key.index()];
        self.program_error(key).map_or(Ok(()), Err)?;
        let kernel = record.kernel(&launch.kernel).ok_or_else(|| CommandError::UnknownKernel {
            kernel: launch.kernel.clone(),
            known: record.kernels.iter().map(|kernel| kernel.signature.name.clone()).collect(),
        })?;
        let range = launch.range;
        if range.dimensions == 0 || range.dimensions > 3 || range.global.contains(&0) {
            let what = "an index space has 1 to 3 dimensions and no size of zero".to_owned();
            return Err(CommandError::Malformed { what });
        }
        if range.has_local() && range.local.contains(&0) {
            let what = "a work-group size is given for all dimensions or for none".to_owned();
            return Err(CommandError::Malformed { what });
        }
        let signature = &record.kernels[kernel.index()].signature;
        let mut checked = self.check_arguments(session, signature, &launch.arguments)?;
        let sizes = checked.buffers.iter().map(|buffer| self.state.buffers[*buffer].size_bytes);
        let (largest_buffer_bytes, all_buffer_bytes) =
            sizes.fold((0, 0_u64), |(largest, all), size| (size.max(largest), all.saturating_add(size)));
        checked.work = TaskWork::Kernel(Box::new(KernelTask {
            program: key,
            kernel,
            row: record.rows[kernel.index()],
            range: range.into(),
            arguments: self.bind(session, &launch.arguments),
            largest_buffer_bytes,
            all_buffer_bytes,
        }));
        self.check_devices(key, kernel, &checked)?;
        Ok(checked)
    }

    fn bind(&self, session: SessionId, arguments: &[Argument]) -> BoundArguments {
        arguments
            .iter()
            .map(|argument| match argument {
                Argument::Buffer(given) => BoundArgument::Buffer {
                    buffer: BufferKey { session, buffer: given.buffer },
                    part: given.part,
                },
                Argument::Scalar(bytes) => BoundArgument::Scalar(bytes.clone()),
                Argument::Local(size_bytes) => BoundArgument::Local(*size_bytes),
            })
            .collect()
    }

    fn check_arguments(
        &self,
        session: SessionId,
        signature: &KernelSignature,
        arguments: &[Argument],
    ) -> Result<Checked, CommandError> {
        let kernel = || signature.name.clone();
        if arguments.len() != signature.arguments.len() {
            return Err(CommandError::ArgumentCount {
                kernel: kernel(),
                expected: signature.arguments.len() as u32,
                given: arguments.len() as u32,
            });
        }
        let buffers = arguments.iter().filter(|argument| matches!(argument, Argument::Buffer(_))).count();
        let mut checked = Checked {
            reads: Vec::with_capacity(buffers),
            buffers: Vec::with_capacity(buffers),
            ..Checked::nothing()
        };
        for (index, (argument, info)) in arguments.iter().zip(&signature.arguments).enumerate() {
            let index = index as u32;
            let wrong_kind = |expected: &str, given: &str| CommandError::ArgumentKind {
                kernel: kernel(),
                index,
                name: info.name.clone(),
                expected: expected.to_owned(),
                given: given.to_owned(),
            };
            let expected = match info.address_space {
                AddressSpace::Global | AddressSpace::Constant => "a buffer",
                AddressSpace::Local => "a size of local memory",
                AddressSpace::Private => "a value",
            };
            match (argument, info.address_space) {
                (Argument::Buffer(given), AddressSpace::Global | AddressSpace::Constant) => {
                    let only_read = info.is_const || info.address_space == AddressSpace::Constant;
                    let access = match given.access {
                        Some(access) if only_read && access.writes() => {
                            return Err(CommandError::AccessContradiction {
                                kernel: kernel(),
                                index,
                                name: info.name.clone(),
                            });
                        }
                        Some(access) => access,
                        None if only_read => Access::Read,
                        None => Access::ReadWrite,
                    };
                    self.check_buffer_argument(session, given, access, &mut checked)?;
                }
                (Argument::Scalar(bytes), AddressSpace::Private) => {
                    if let Some(expected_bytes) = info.value_bytes
                        && u64::from(expected_bytes) != bytes.len() as u64
                    {
                        return Err(CommandError::ArgumentSize {
                            kernel: kernel(),
                            index,
                            name: info.name.clone(),
                            type_name: info.type_name.clone(),
                            expected_bytes: u64::from(expected_bytes),
                            given_bytes: bytes.len() as u64,
                        });
                    }
                }
                (Argument::Local(0), AddressSpace::Local) => {
                    return Err(wrong_kind(expected, "a size of zero"));
                }
                (Argument::Local(_), AddressSpace::Local) => {}
                (Argument::Buffer(_), _) => return Err(wrong_kind(expected, "a buffer")),
                (Argument::Scalar(_), _) => return Err(wrong_kind(expected, "a value")),
                (Argument::Local(_), _) => {
                    return Err(wrong_kind(expected, "a size of local memory"));
                }
            }
        }
        checked.buffers.sort_unstable();
        checked.buffers.dedup();
        checked.reads = joined(std::mem::take(&mut checked.reads));
        checked.writes = joined(std::mem::take(&mut checked.writes));
        Ok(checked)
    }

    fn check_buffer_argument(
        &self,
        session: SessionId,
        given: &isochrone_model::BufferArgument,
        access: Access,
        checked: &mut Checked,
    ) -> Result<(), CommandError> {
        let index = self.buffer(session, given.buffer)?;
        let size_bytes = self.state.buffers[index].size_bytes;
        let whole = ByteRange::new(0, size_bytes);
        let bound = given.part.unwrap_or(whole);
        for range in [Some(bound), given.touches].into_iter().flatten() {
            if range.start > range.end || !whole.contains(range) || range.is_empty() {
                return Err(CommandError::OutOfRange { buffer: given.buffer, range, size_bytes });
            }
        }
        let touched = given.touches.unwrap_or(bound);
        if !bound.contains(touched) {
            return Err(CommandError::OutOfRange {
                buffer: given.buffer,
                range: touched,
                size_bytes: bound.len(),
            });
        }
        if access.reads() {
            checked.reads.push((index, touched));
        }
        if access.writes() {
            checked.writes.push((index, touched));
        }
        checked.buffers.push(index);
        Ok(())
    }

    /// Refuses a launch that no device of the farm could ever run, with each device's reason.
    fn check_devices(
        &self,
        key: isochrone_model::ProgramKey,
        kernel: KernelIndex,
        checked: &Checked,
    ) -> Result<(), CommandError> {
        let TaskWork::Kernel(work) = &checked.work else {
            return Ok(());
        };
        let mut reasons = Vec::new();
        let mut refused = None;
        for agent in self.state.present_agents() {
            for device in &self.state.agents[agent.index()].devices {
                let facts = &self.state.devices[device.index()].facts;
                let name = || self.state.device_name(*device);
                if work.largest_buffer_bytes > facts.buffer_bytes_max {
                    reasons.push(format!(
                        "{} takes buffers of {} bytes at most",
                        name(),
                        facts.buffer_bytes_max
                    ));
                    continue;
                }
                if work.all_buffer_bytes > facts.memory_bytes / 10 * 9 {
                    reasons.push(format!("{} has {} bytes of memory", name(), facts.memory_bytes));
                    continue;
                }
                match self.state.programs[key.index()].builds.get(device.index()) {
                    Some(BuildState::Built { work_group_size_max }) => {
                        let most = work_group_size_max.get(kernel.index()).copied().unwrap_or(0);
                        match work.range.group_items() {
                            Some(items) if items > most => {
                                let reason = format!("work-group of {items} work-items, {most} at most");
                                reasons.push(format!("{}: {reason}", name()));
                                refused = Some((name(), reason));
                            }
                            Some(_) | None => return Ok(()),
                        }
                    }
                    Some(BuildState::Failed { .. }) => {
                        reasons.push(format!("{} did not build the program", name()));
                    }
                    Some(BuildState::Absent | BuildState::Building) | None => {
                        reasons.push(format!("{} has not built the program yet", name()));
                    }
                }
            }
        }
        match refused {
            Some((device, reason)) => Err(CommandError::NdRangeRefused { device, reason }),
            None if reasons.is_empty() => {
                Err(CommandError::NoDevice { reason: "the farm has no agent now".to_owned() })
            }
            None => Err(CommandError::NoDevice { reason: reasons.join("; ") }),
        }
    }

    /// What a refused command would have written: exactly where it can be told, else every buffer that it
    /// names and does not only read.
    pub(super) fn writes_of_refused(
        &self,
        session: SessionId,
        kind: &CommandKind,
    ) -> Vec<(BufferIndex, ByteRange)> {
        if let Ok(checked) = self.check(session, kind) {
            return checked.writes;
        }
        let within = |buffer: &BufferId, offset_bytes: u64, size_bytes: u64| {
            let index = self.live_buffer(session, *buffer)?;
            let whole = ByteRange::new(0, self.state.buffers[index].size_bytes);
            let range = ByteRange::new(offset_bytes, offset_bytes.saturating_add(size_bytes));
            Some((index, range.intersection(whole)?))
        };
        let ranges: Vec<Option<(BufferIndex, ByteRange)>> = match kind {
            CommandKind::Launch(launch) => launch
                .arguments
                .iter()
                .map(|argument| match argument {
                    Argument::Buffer(given) if given.access != Some(Access::Read) => {
                        let range = given.touches.or(given.part).unwrap_or(ByteRange::new(0, u64::MAX));
                        within(&given.buffer, range.start, range.end.saturating_sub(range.start))
                    }
                    Argument::Buffer(_) | Argument::Scalar(_) | Argument::Local(_) => None,
                })
                .collect(),
            CommandKind::Write { buffer, offset_bytes, payload } => {
                vec![within(buffer, *offset_bytes, payload.size_bytes())]
            }
            CommandKind::Fill { buffer, offset_bytes, size_bytes, .. } => {
                vec![within(buffer, *offset_bytes, *size_bytes)]
            }
            CommandKind::Copy { target, target_offset_bytes, size_bytes, .. } => {
                vec![within(target, *target_offset_bytes, *size_bytes)]
            }
            CommandKind::Read { .. } | CommandKind::Barrier | CommandKind::Marker => Vec::new(),
        };
        joined(ranges.into_iter().flatten().collect())
    }
}

impl Checked {
    pub fn nothing() -> Self {
        Self { work: TaskWork::Nothing, reads: Vec::new(), writes: Vec::new(), buffers: Vec::new() }
    }
}

/// Ranges of the same buffer that overlap or touch become one.
fn joined(mut ranges: Vec<(BufferIndex, ByteRange)>) -> Vec<(BufferIndex, ByteRange)> {
    ranges.sort_unstable();
    ranges.dedup_by(|(buffer, range), (last, reach)| {
        let is_one = buffer == last && range.start <= reach.end;
        if is_one {
            reach.end = reach.end.max(range.end);
        }
        is_one
    });
    ranges
}
