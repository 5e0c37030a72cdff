//! Taking commands in: checking them, finding their hazards, making tasks.

use std::collections::HashMap;

use isochrone_model::message::{ClientReply, ClientRequest, RequestName};
use isochrone_model::{
    BufferId, BufferKey, ByteRange, Command, CommandError, CommandId, CommandKind, SessionId, TaskId, Version,
};

use super::Scheduler;
use super::check::Checked;
use super::event::Action;
use super::state::{
    BufferIndex, BufferRecord, CommandRecord, CommandTasks, InputUse, OutputUse, TaskRecord, TaskState,
    TaskWork, VersionIndex, VersionRecord, make_room,
};
use crate::dag::{DependencyKind, TaskIndex, find_cycle};
use crate::few::Few;
use crate::range_map::RangeMap;

impl Scheduler {
    pub(super) fn take_request(&mut self, session: SessionId, request: ClientRequest) {
        let Some(record) = self.state.sessions.get_mut(&session) else {
            return;
        };
        record.ingest.push_back(request);
        if record.ingest.len() == 1 {
            self.advance_ingest(session);
        }
    }

    /// Takes in what waits, up to the first batch whose programs are still being built.
    pub(super) fn advance_ingest(&mut self, session: SessionId) {
        loop {
            let Some(record) = self.state.sessions.get(&session) else {
                return;
            };
            let Some(request) = record.ingest.front() else {
                return;
            };
            if let ClientRequest::Submit { commands } = request
                && !self.programs_are_decided(session, commands)
            {
                return;
            }
            let Some(request) =
                self.state.sessions.get_mut(&session).and_then(|record| record.ingest.pop_front())
            else {
                return;
            };
            self.take_in_order(session, request);
        }
    }

    fn take_in_order(&mut self, session: SessionId, request: ClientRequest) {
        match request {
            ClientRequest::CreateBuffer { buffer, size_bytes } => {
                let outcome = self.create_buffer(session, buffer, size_bytes);
                self.reply_if_failed(session, RequestName::CreateBuffer(buffer), outcome);
            }
            ClientRequest::ReleaseBuffer { buffer } => {
                let outcome = self.release_buffer(session, buffer);
                self.reply_if_failed(session, RequestName::ReleaseBuffer(buffer), outcome);
            }
            ClientRequest::CreateProgram { program, source, options } => {
                let outcome = self.create_program(session, program, source, options);
                self.reply_if_failed(session, RequestName::CreateProgram(program), outcome);
            }
            ClientRequest::ReleaseProgram { program } => {
                let outcome = self.release_program(session, program);
                self.reply_if_failed(session, RequestName::ReleaseProgram(program), outcome);
            }
            ClientRequest::Submit { commands } => self.submit(session, commands),
            ClientRequest::Cancel { commands } => {
                for command in commands {
                    self.cancel_command(session, command);
                }
            }
            // The driver's own: they change nothing here.
            ClientRequest::Open { .. } | ClientRequest::Close | ClientRequest::Ask { .. } => {}
        }
    }

    fn reply_if_failed(
        &mut self,
        session: SessionId,
        request: RequestName,
        outcome: Result<(), CommandError>,
    ) {
        if let Err(error) = outcome {
            let reply = ClientReply::RequestFailed { request, error };
            self.actions.push(Action::Reply { session, reply });
        }
    }

    fn create_buffer(
        &mut self,
        session: SessionId,
        buffer: BufferId,
        size_bytes: u64,
    ) -> Result<(), CommandError> {
        let limit = self.state.limits.buffers_per_session_max;
        let largest_bytes = self.exceeded_by(size_bytes);
        let Some(record) = self.state.sessions.get_mut(&session) else {
            return Ok(());
        };
        if buffer <= record.last_buffer {
            return Err(CommandError::IdReused { what: buffer.to_string() });
        }
        record.last_buffer = buffer;
        if size_bytes == 0 {
            return Err(CommandError::Malformed {
                what: format!("{buffer} of 0 bytes; give a size above zero"),
            });
        }
        if record.live_buffers >= limit {
            return Err(CommandError::LimitExceeded {
                what: "the number of live buffers of a session".to_owned(),
                limit: u64::from(limit),
            });
        }
        if let Some(largest_bytes) = largest_bytes {
            return Err(CommandError::BufferTooLarge { buffer, size_bytes, largest_bytes });
        }
        let key = BufferKey { session, buffer };
        let index = BufferIndex(self.state.buffers.insert(BufferRecord {
            key,
            size_bytes,
            frontier: RangeMap::default(),
            last_version: Version(0),
            declared: Few::None,
            users: 0,
            is_released: false,
            versions: Few::None,
        }));
        self.state.buffer_places.entry(session).or_default().insert(buffer.0, index);
        let everything = ByteRange::new(0, size_bytes);
        let zeros = VersionIndex(self.state.versions.insert(VersionRecord {
            buffer: index,
            version: Version(0),
            producer: None,
            readers: Vec::new(),
            readers_swept_at: 0,
            replicas: Few::None,
            frontier_bytes: size_bytes,
            uses: 0,
            poison: None,
        }));
        self.state.buffers[index].frontier.set(everything, zeros);
        self.state.buffers[index].versions.push(zeros);
        if let Some(record) = self.state.sessions.get_mut(&session) {
            record.live_buffers += 1;
        }
        Ok(())
    }

    /// The largest buffer that any device takes, if there is a device and this size is larger.
    fn exceeded_by(&self, size_bytes: u64) -> Option<u64> {
        let largest_of_each = || {
            let agents = self.state.present_agents();
            let devices = agents.flat_map(|agent| self.state.agents[agent.index()].devices.iter());
            devices.map(|device| self.state.devices[device.index()].facts.buffer_bytes_max)
        };
        if largest_of_each().any(|largest_bytes| size_bytes <= largest_bytes) {
            return None;
        }
        largest_of_each().max()
    }

    fn release_buffer(&mut self, session: SessionId, buffer: BufferId) -> Result<(), CommandError> {
        let index = self.buffer(session, buffer)?;
        self.state.buffers[index].is_released = true;
        if let Some(record) = self.state.sessions.get_mut(&session) {
            record.live_buffers -= 1;
        }
        self.drop_buffer_if_unused(index);
        Ok(())
    }

    fn submit(&mut self, session: SessionId, commands: Vec<Command>) {
        let mut made: HashMap<CommandId, (usize, Few<TaskIndex>)> = HashMap::new();
        let mut forward = Vec::new();
        let mut tasks = Vec::new();
        let last_of_batch = commands.iter().map(|command| command.id).max().unwrap_or_default();
        let has_forward =
            commands.iter().any(|command| command.after.iter().any(|after| *after >= command.id));
        for (place, command) in commands.into_iter().enumerate() {
            let id = command.id;
            let later: Vec<CommandId> = command
                .after
                .iter()
                .copied()
                .filter(|after| *after >= id && *after <= last_of_batch)
                .collect();
            match self.take_command(session, &command, last_of_batch) {
                Ok(new) => {
                    tasks.extend_from_slice(&new);
                    forward.extend(later.into_iter().map(|after| (place, after)));
                    if has_forward {
                        made.insert(id, (place, new));
                    }
                }
                Err(error) => self.refuse_command(session, &command, &error),
            }
        }
        if has_forward {
            self.link_forward(session, &made, &forward);
        }
        tasks.retain(|task| self.state.is_open(*task));
        for task in &tasks {
            self.count_waiting(*task);
        }
        self.note_submitted(session, &tasks);
        for task in tasks {
            if self.state.tasks[task.index()]
                .as_ref()
                .is_some_and(|record| record.waiting == 0 && record.state == TaskState::Blocked)
            {
                self.predecessors_are_placed(task);
            }
        }
    }

    /// Their policy is told before it is told anything else or asked.
    fn note_submitted(&mut self, session: SessionId, tasks: &[TaskIndex]) {
        let Some(policy) = self.state.sessions.get(&session).map(|record| record.policy) else { return };
        if self.submitted.session != session {
            self.observe_submitted();
        }
        self.submitted.session = session;
        self.submitted.policy = policy;
        self.submitted.tasks.extend_from_slice(tasks);
    }

    /// Adds the dependencies on commands that come later in the batch; a cycle fails its members.
    fn link_forward(
        &mut self,
        session: SessionId,
        made: &HashMap<CommandId, (usize, Few<TaskIndex>)>,
        forward: &[(usize, CommandId)],
    ) {
        let mut commands: Vec<(usize, CommandId, &[TaskIndex])> =
            made.iter().map(|(id, (place, tasks))| (*place, *id, tasks.as_slice())).collect();
        commands.sort_unstable_by_key(|(place, _, _)| *place);
        let compact: HashMap<usize, usize> =
            commands.iter().enumerate().map(|(compact, (place, _, _))| (*place, compact)).collect();
        let owner: HashMap<TaskIndex, usize> = commands
            .iter()
            .enumerate()
            .flat_map(|(compact, (_, _, tasks))| tasks.iter().map(move |task| (*task, compact)))
            .collect();
        let mut dependencies = Vec::new();
        for (compact, (_, _, tasks)) in commands.iter().enumerate() {
            for task in *tasks {
                dependencies.extend(
                    self.state
                        .dag
                        .predecessors(*task)
                        .filter_map(|(first, _)| owner.get(&first))
                        .filter(|first| **first != compact)
                        .map(|first| (*first, compact)),
                );
            }
        }
        let mut links = Vec::new();
        for (place, after) in forward {
            if let (Some(second), Some((first_place, _))) = (compact.get(place), made.get(after))
                && let Some(first) = compact.get(first_place)
            {
                dependencies.push((*first, *second));
                links.push((*first, *second));
            }
        }
        while let Some(cycle) = find_cycle(commands.len(), &dependencies) {
            let members: Vec<CommandId> = cycle.iter().map(|member| commands[*member].1).collect();
            let error = CommandError::Cycle { members };
            // All are noted first: the failure of one would fail the next as its dependent.
            for member in &cycle {
                self.note_failed_command(session, commands[*member].1, &error);
            }
            for member in &cycle {
                for task in commands[*member].2 {
                    if self.state.tasks[task.index()].is_some() {
                        self.fail_task(*task, error.clone());
                    }
                }
            }
            let gone: Vec<usize> = cycle;
            dependencies.retain(|(first, second)| !gone.contains(first) && !gone.contains(second));
            links.retain(|(_, second)| !gone.contains(second));
        }
        for (first, second) in links {
            let first_id = commands[first].1;
            let failed =
                self.state.sessions.get(&session).and_then(|record| record.failed.get(&first_id).cloned());
            for second_task in commands[second].2 {
                if !self.state.is_open(*second_task) {
                    continue;
                }
                if let Some(cause) = &failed {
                    self.fail_task(*second_task, CommandError::of_dependent(first_id, cause));
                    continue;
                }
                for first_task in commands[first].2 {
                    self.link(*first_task, *second_task, DependencyKind::After);
                }
            }
        }
    }

    pub(super) fn link(&mut self, first: TaskIndex, second: TaskIndex, kind: DependencyKind) {
        let known = self.state.dag.predecessors(second).any(|(task, known)| task == first && known >= kind);
        if !known && self.state.is_open(first) {
            self.state.dag.add_dependency(first, second, kind);
        }
    }

    /// Checks one command and makes its tasks; they are blocked until `count_waiting` says otherwise.
    fn take_command(
        &mut self,
        session: SessionId,
        command: &Command,
        last_of_batch: CommandId,
    ) -> Result<Few<TaskIndex>, CommandError> {
        let (commands_max, after_max) =
            (self.state.limits.commands_per_session_max, self.state.limits.after_max);
        let record = self.state.sessions.get_mut(&session).ok_or(CommandError::Cancelled)?;
        if command.id <= record.last_command {
            return Err(CommandError::IdReused { what: command.id.to_string() });
        }
        record.last_command = command.id;
        if record.commands.len() >= commands_max as usize {
            return Err(CommandError::LimitExceeded {
                what: "the number of unfinished commands of a session".to_owned(),
                limit: u64::from(commands_max),
            });
        }
        if command.after.len() > after_max as usize {
            return Err(CommandError::LimitExceeded {
                what: "the number of commands in `after`".to_owned(),
                limit: u64::from(after_max),
            });
        }
        let mut predecessors = Vec::new();
        if let Err(error) = self.resolve_after(session, command, last_of_batch, &mut predecessors) {
            if command.kind == CommandKind::Barrier {
                self.fail_barrier(session, command, predecessors, error)?;
                return Ok(Few::None);
            }
            return Err(error);
        }
        match &command.kind {
            CommandKind::Read { buffer, offset_bytes, size_bytes } => {
                let (buffer, offset_bytes, size_bytes) = (*buffer, *offset_bytes, *size_bytes);
                self.take_read(session, command, buffer, offset_bytes, size_bytes, &predecessors)
            }
            CommandKind::Barrier => Ok(Few::One(self.make_barrier(session, command, predecessors)?)),
            CommandKind::Marker => {
                if command.after.is_empty() {
                    self.wait_for_all(session, &mut predecessors);
                }
                Ok(Few::One(self.make_task(session, command, Checked::nothing(), predecessors)?))
            }
            CommandKind::Launch(_)
            | CommandKind::Write { .. }
            | CommandKind::Copy { .. }
            | CommandKind::Fill { .. } => {
                let checked = self.check(session, &command.kind)?;
                Ok(Few::One(self.make_task(session, command, checked, predecessors)?))
            }
        }
    }

    fn resolve_after(
        &self,
        session: SessionId,
        command: &Command,
        last_of_batch: CommandId,
        predecessors: &mut Vec<(TaskIndex, DependencyKind)>,
    ) -> Result<(), CommandError> {
        let record = &self.state.sessions[&session];
        if let Some(barrier) = record.last_barrier.and_then(|barrier| self.state.live(barrier)) {
            predecessors.push((barrier, DependencyKind::Order));
        }
        for after in &command.after {
            if *after == command.id {
                return Err(CommandError::Cycle { members: vec![*after] });
            }
            if *after > command.id {
                if *after > last_of_batch {
                    return Err(CommandError::UnknownCommand { command: *after });
                }
                continue;
            }
            if let Some(cause) = record.failed.get(after) {
                return Err(CommandError::of_dependent(*after, cause));
            }
            // A command that is not known any more has finished.
            if let Some(first) = record.commands.get(after.0) {
                let tasks = first.tasks.as_slice().iter();
                predecessors.extend(
                    tasks.filter_map(|task| self.state.live(*task)).map(|task| (task, DependencyKind::After)),
                );
            }
        }
        Ok(())
    }

    fn wait_for_all(&self, session: SessionId, predecessors: &mut Vec<(TaskIndex, DependencyKind)>) {
        let open = &self.state.sessions[&session].open;
        predecessors.extend(
            open.iter().filter_map(|task| self.state.live(*task)).map(|task| (task, DependencyKind::Order)),
        );
    }

    fn make_barrier(
        &mut self,
        session: SessionId,
        command: &Command,
        mut predecessors: Vec<(TaskIndex, DependencyKind)>,
    ) -> Result<TaskIndex, CommandError> {
        self.wait_for_all(session, &mut predecessors);
        let task = self.make_task(session, command, Checked::nothing(), predecessors)?;
        self.set_barrier(session, task);
        Ok(task)
    }

    /// A barrier that cannot become done still keeps what comes after it behind what was before it.
    fn fail_barrier(
        &mut self,
        session: SessionId,
        command: &Command,
        predecessors: Vec<(TaskIndex, DependencyKind)>,
        error: CommandError,
    ) -> Result<(), CommandError> {
        let task = self.make_barrier(session, command, predecessors)?;
        self.fail_task(task, error);
        Ok(())
    }

    fn set_barrier(&mut self, session: SessionId, task: TaskIndex) {
        let id = self.state.task(task).id;
        if let Some(record) = self.state.sessions.get_mut(&session) {
            record.last_barrier = Some(id);
            record.open.clear();
            record.open_swept_at = 0;
        }
    }

    /// A read becomes one task for each version that it brings.
    fn take_read(
        &mut self,
        session: SessionId,
        command: &Command,
        buffer: BufferId,
        offset_bytes: u64,
        size_bytes: u64,
        predecessors: &[(TaskIndex, DependencyKind)],
    ) -> Result<Few<TaskIndex>, CommandError> {
        let index = self.buffer(session, buffer)?;
        let range = self.range_within(index, offset_bytes, size_bytes)?;
        let parts: Vec<ByteRange> =
            self.state.buffers[index].frontier.over(range).map(|(part, _)| part).collect();
        let mut tasks = Few::None;
        for part in parts {
            let checked = Checked {
                work: TaskWork::Read { offset_bytes: part.start - range.start },
                reads: vec![(index, part)],
                writes: Vec::new(),
                buffers: vec![index],
            };
            match self.make_task(session, command, checked, predecessors.to_vec()) {
                Ok(task) => tasks.push(task),
                Err(error) => {
                    for task in tasks {
                        self.fail_task(task, error.clone());
                    }
                    return Err(error);
                }
            }
        }
        let ids: Vec<TaskId> = tasks.iter().map(|task| self.state.task(*task).id).collect();
        if ids.len() > 1
            && let Some(record) = self.state.sessions.get_mut(&session)
        {
            let open = ids.len() as u32;
            record.commands.insert(command.id.0, CommandRecord { tasks: CommandTasks::Several(ids), open });
        }
        Ok(tasks)
    }

    /// Makes a task from a checked command: hazards become dependencies, writes new versions.
    fn make_task(
        &mut self,
        session: SessionId,
        command: &Command,
        checked: Checked,
        mut predecessors: Vec<(TaskIndex, DependencyKind)>,
    ) -> Result<TaskIndex, CommandError> {
        for (buffer, range) in &checked.reads {
            self.poison_of(*buffer, *range)?;
        }
        let index = self.state.dag.add_task();
        if self.state.tasks.len() <= index.index() {
            make_room(&mut self.state.tasks, index.index() + 1);
            self.state.tasks.resize_with(index.index() + 1, || None);
            self.state.generations.resize(index.index() + 1, 0);
        }
        let id = TaskId::new(index.0, self.state.generations[index.index()]);
        let mut inputs = Vec::with_capacity(checked.reads.len());
        for (buffer, range) in &checked.reads {
            self.read_hazards(*buffer, *range, id, &mut inputs, &mut predecessors);
        }
        let mut outputs = Few::None;
        for (buffer, range) in &checked.writes {
            self.write_hazards(*buffer, *range, id, &mut outputs, &mut predecessors);
        }
        predecessors.sort_unstable();
        predecessors.retain(|(task, _)| *task != index);
        // Sorted by task, then by kind: of each task keep the last, which is the strongest.
        let mut last = None;
        for (task, kind) in predecessors.into_iter().rev() {
            if last != Some(task) {
                self.state.dag.add_dependency(task, index, kind);
                last = Some(task);
            }
        }
        for buffer in &checked.buffers {
            self.state.buffers[*buffer].users += 1;
        }
        self.state.sequence += 1;
        let policy = self.state.sessions[&session].policy;
        self.state.tasks[index.index()] = Some(TaskRecord {
            id,
            sequence: self.state.sequence,
            session,
            command: command.id,
            policy,
            work: checked.work,
            state: TaskState::Blocked,
            waiting: 0,
            attempt: isochrone_model::Attempt(1),
            inputs: inputs.into(),
            outputs,
            buffers: checked.buffers.into(),
            is_retracting: false,
            is_backup: false,
            expected: isochrone_model::Span::ZERO,
            expected_finish: self.state.now,
            label: command.label.as_str().into(),
        });
        let state = &mut self.state;
        if let Some(record) = state.sessions.get_mut(&session) {
            record.commands.insert(command.id.0, CommandRecord { tasks: CommandTasks::One(id), open: 1 });
            record.open.push(id);
            if record.open.len() > 2 * record.open_swept_at + 64 {
                let tasks = &state.tasks;
                record.open.retain(|task| {
                    tasks.get(task.index()).and_then(Option::as_ref).is_some_and(|record| record.id == *task)
                });
                record.open_swept_at = record.open.len();
            }
        }
        Ok(index)
    }

    /// A command that never became a task: what it would have written will never be, and whoever reads that
    /// depends on it.
    fn refuse_command(&mut self, session: SessionId, command: &Command, error: &CommandError) {
        self.state.counters.failed += 1;
        let cause = CommandError::of_dependent(command.id, error);
        self.note_failed_command(session, command.id, error);
        for (buffer, range) in self.writes_of_refused(session, &command.kind) {
            let (mut outputs, mut before) = (Few::None, Vec::new());
            self.write_hazards(buffer, range, TaskId::default(), &mut outputs, &mut before);
            for output in outputs {
                // Whoever overwrites this must still come after those that the command would have come after.
                let readers = before.iter().map(|(task, _)| self.state.task(*task).id).collect();
                let version = &mut self.state.versions[output.version];
                version.readers = readers;
                version.producer = None;
                version.uses = 0;
                version.poison = Some(Box::new(cause.clone()));
            }
        }
    }

    fn poison_of(&self, buffer: BufferIndex, range: ByteRange) -> Result<(), CommandError> {
        for (_, version) in self.state.buffers[buffer].frontier.over(range) {
            if let Some(poison) = version.and_then(|version| self.state.versions[*version].poison.as_ref()) {
                return Err((**poison).clone());
            }
        }
        Ok(())
    }

    fn read_hazards(
        &mut self,
        buffer: BufferIndex,
        range: ByteRange,
        reader: TaskId,
        inputs: &mut Vec<InputUse>,
        predecessors: &mut Vec<(TaskIndex, DependencyKind)>,
    ) {
        let parts: Few<(ByteRange, VersionIndex)> = self.state.buffers[buffer]
            .frontier
            .over(range)
            .filter_map(|(part, version)| Some((part, *version?)))
            .collect();
        for (part, version) in parts {
            if let Some(producer) =
                self.state.versions[version].producer.and_then(|producer| self.state.live(producer))
            {
                predecessors.push((producer, DependencyKind::Data));
            }
            let state = &mut self.state;
            let record = &mut state.versions[version];
            record.uses += 1;
            record.readers.push(reader);
            if record.readers.len() > 2 * record.readers_swept_at + 16 {
                let tasks = &state.tasks;
                record.readers.retain(|task| {
                    *task == reader
                        || tasks
                            .get(task.index())
                            .and_then(Option::as_ref)
                            .is_some_and(|record| record.id == *task)
                });
                record.readers_swept_at = record.readers.len();
            }
            inputs.push(InputUse { version, range: part });
        }
    }

    fn write_hazards(
        &mut self,
        buffer: BufferIndex,
        range: ByteRange,
        writer: TaskId,
        outputs: &mut Few<OutputUse>,
        predecessors: &mut Vec<(TaskIndex, DependencyKind)>,
    ) {
        if range.is_empty() {
            return;
        }
        let parts: Few<(ByteRange, VersionIndex)> = self.state.buffers[buffer]
            .frontier
            .over(range)
            .filter_map(|(part, version)| Some((part, *version?)))
            .collect();
        for (part, version) in parts {
            let record = &self.state.versions[version];
            predecessors.extend(
                record
                    .producer
                    .iter()
                    .chain(&record.readers)
                    .filter_map(|task| self.state.live(*task))
                    .map(|task| (task, DependencyKind::Order)),
            );
            self.state.versions[version].frontier_bytes -= part.len();
            self.drop_version_if_unused(version);
        }
        let version = self.state.buffers[buffer].last_version.next();
        self.state.buffers[buffer].last_version = version;
        let index = VersionIndex(self.state.versions.insert(VersionRecord {
            buffer,
            version,
            producer: Some(writer),
            readers: Vec::new(),
            readers_swept_at: 0,
            replicas: Few::None,
            frontier_bytes: range.len(),
            uses: 1,
            poison: None,
        }));
        self.state.buffers[buffer].frontier.set(range, index);
        self.state.buffers[buffer].versions.push(index);
        outputs.push(OutputUse { version: index, range });
    }
}
