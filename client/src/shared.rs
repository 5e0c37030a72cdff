//! What a session's handles, builders and tasks have in common: the commands on their way out and
//! the commands whose end is awaited.
//!
//! Must never hold a connection, nor wait for anything: both locks are held for moments only. Where
//! both are needed, the table's is taken first.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, Weak};

use bytes::Bytes;
use isochrone_model::message::{ClientRequest, ProgramFacts, RequestName};
use isochrone_model::order::SessionSecret;
use isochrone_model::{
    BufferId, Command, CommandError, CommandId, CommandKind, Limits, ProgramId, SessionId, Span,
};
use tokio::sync::{Notify, watch};

use crate::assembly::Assembly;
use crate::batch::{self, Weight};
use crate::cell::{CommandCell, Outcome, locked};
use crate::program::ProgramCell;
use crate::questions::Questions;

/// Commands that may wait for the control stream before [`Shared::room`] waits.
const QUEUED_COMMANDS_ROOM: u64 = 65_536;

/// What a command is for, besides what the farm is told.
#[derive(Debug)]
pub(crate) enum Purpose {
    Plain,
    /// Bytes kept until the command has ended, since more than one attempt may ask for them.
    Write(Bytes),
    Read(Assembly),
}

/// A command that has been enqueued and has not ended.
#[derive(Debug)]
pub(crate) struct Open {
    pub cell: Arc<CommandCell>,
    /// What the client itself found wrong; told instead of what the farm says of the command.
    pub refusal: Option<Box<CommandError>>,
    pub purpose: Purpose,
}

/// A command that has no id yet.
#[derive(Debug)]
pub(crate) struct Draft {
    pub kind: CommandKind,
    pub label: String,
    pub after: Vec<Arc<CommandCell>>,
    pub open: Open,
}

/// What waits to go out, in order.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "nearly all are commands; a box would cost each an allocation")]
enum Item {
    Request(ClientRequest),
    Command(Command, Open),
    /// A graph in the parts that fit a frame each.
    Graph(Vec<Vec<(Command, Open)>>),
}

#[derive(Debug, Default)]
struct Outbox {
    items: Vec<Item>,
    last_command: u64,
    last_buffer: u64,
    last_program: u64,
    /// Why nothing goes out any more.
    closed: Option<String>,
    is_overrun: bool,
}

impl Outbox {
    fn next_command(&mut self, cell: &CommandCell) -> CommandId {
        self.last_command += 1;
        let id = CommandId(self.last_command);
        cell.assign(id);
        id
    }
}

#[derive(Debug, Default)]
struct Table {
    open: HashMap<CommandId, Open>,
    programs: HashMap<ProgramId, Weak<ProgramCell>>,
    /// Why buffers and programs could not be made; commands on them fail for that reason.
    buffer_failures: BTreeMap<BufferId, CommandError>,
    program_failures: BTreeMap<ProgramId, CommandError>,
    /// What the client itself found wrong with commands that have ended; told to their dependents too.
    refusals: BTreeMap<CommandId, CommandError>,
    /// The earliest command whose failure nobody has been told of by `finish`.
    first_failure: Option<(CommandId, CommandError)>,
    ended: Option<String>,
}

/// What the farm says of a session when it opens it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Terms {
    pub session: SessionId,
    pub secret: SessionSecret,
    pub inline_bytes_max: u64,
}

/// A session's state.
#[derive(Debug)]
pub(crate) struct Shared {
    /// Nothing before the farm has opened the session.
    terms: OnceLock<Terms>,
    pub questions: Questions,
    outbox: Mutex<Outbox>,
    table: Mutex<Table>,
    /// Commands enqueued and not ended.
    open_commands: AtomicU64,
    /// Those of them that are still in the outbox.
    queued_commands: AtomicU64,
    commands_open_max: u64,
    filled: Notify,
    room: Notify,
    ended: watch::Sender<bool>,
}

impl Shared {
    /// Of a session that is still to be opened.
    pub fn new() -> Self {
        Self {
            terms: OnceLock::new(),
            questions: Questions::default(),
            outbox: Mutex::default(),
            table: Mutex::default(),
            open_commands: AtomicU64::new(0),
            queued_commands: AtomicU64::new(0),
            commands_open_max: u64::from(Limits::default().commands_per_session_max),
            filled: Notify::new(),
            room: Notify::new(),
            ended: watch::Sender::new(false),
        }
    }

    /// The farm opened the session; gives the terms that hold, which are those of the first time.
    pub fn opened(&self, terms: Terms) -> Terms {
        *self.terms.get_or_init(|| terms)
    }

    /// Its id, once the farm has opened it.
    pub fn session(&self) -> Option<SessionId> {
        self.terms.get().map(|terms| terms.session)
    }

    /// Most bytes of contents inside a command. What is enqueued before the farm has told its own limit goes by the usual.
    pub fn inline_bytes_max(&self) -> u64 {
        let told =
            self.terms.get().map_or(Limits::default().inline_bytes_max, |terms| terms.inline_bytes_max);
        // Whatever the farm says, a command with contents must fit a frame.
        told.min(1 << 20)
    }

    // ---- on the way out ----

    /// Sends a request in order with the commands; `false` once the session is over.
    pub fn request(&self, request: ClientRequest) -> bool {
        let mut outbox = locked(&self.outbox);
        if outbox.closed.is_some() {
            return false;
        }
        outbox.items.push(Item::Request(request));
        drop(outbox);
        self.filled.notify_one();
        true
    }

    /// Sends what asks for the session's end; nothing goes out after it.
    pub fn request_close(&self) {
        let mut outbox = locked(&self.outbox);
        if outbox.closed.is_none() {
            outbox.items.push(Item::Request(ClientRequest::Close));
            outbox.closed = Some("it was closed by this client".to_owned());
            drop(outbox);
            self.filled.notify_one();
        }
    }

    pub fn create_buffer(&self, size_bytes: u64) -> BufferId {
        let mut outbox = locked(&self.outbox);
        outbox.last_buffer += 1;
        let buffer = BufferId(outbox.last_buffer);
        if outbox.closed.is_none() {
            outbox.items.push(Item::Request(ClientRequest::CreateBuffer { buffer, size_bytes }));
        }
        drop(outbox);
        self.filled.notify_one();
        buffer
    }

    pub fn create_program(&self, source: String, options: String) -> Arc<ProgramCell> {
        let mut table = locked(&self.table);
        let mut outbox = locked(&self.outbox);
        outbox.last_program += 1;
        let program = ProgramId(outbox.last_program);
        let cell = Arc::new(ProgramCell::new(program));
        let size_bytes = source.len().saturating_add(options.len()) as u64;
        if let Some(reason) = &outbox.closed {
            cell.settle(Err(CommandError::SessionClosed { reason: reason.clone() }));
        } else if size_bytes > batch::BATCH_BYTES_MAX {
            let error = CommandError::LimitExceeded {
                what: format!("program source and options of {size_bytes} bytes"),
                limit: Limits::default().program_source_bytes_max,
            };
            note(&mut table.program_failures, program, &error);
            cell.settle(Err(error));
        } else {
            table.programs.insert(program, Arc::downgrade(&cell));
            let request = ClientRequest::CreateProgram { program, source, options };
            outbox.items.push(Item::Request(request));
        }
        drop(outbox);
        drop(table);
        self.filled.notify_one();
        cell
    }

    pub fn release_program(&self, program: ProgramId) {
        locked(&self.table).programs.remove(&program);
        self.request(ClientRequest::ReleaseProgram { program });
    }

    /// Gives the command an id and sends it.
    pub fn enqueue(&self, mut draft: Draft) {
        bound(&mut draft);
        let after = self.predecessors(&mut draft);
        let mut outbox = locked(&self.outbox);
        if let Some(error) = self.refuse(&mut outbox, 1) {
            drop(outbox);
            draft.open.cell.settle(Err(error));
            return;
        }
        let id = outbox.next_command(&draft.open.cell);
        if is_empty_read(&draft.kind) {
            drop(outbox);
            draft.open.cell.settle(Ok(Outcome::nothing()));
            return;
        }
        let command = Command { id, after, label: draft.label, kind: draft.kind };
        self.open_commands.fetch_add(1, Ordering::Relaxed);
        self.queued_commands.fetch_add(1, Ordering::Relaxed);
        let was_empty = outbox.items.is_empty();
        outbox.items.push(Item::Command(command, draft.open));
        drop(outbox);
        if was_empty {
            self.filled.notify_one();
        }
    }

    /// Sends a whole graph, whose cells know their places; `Err` with the members when it cannot be
    /// split into frames.
    pub fn enqueue_graph(&self, mut drafts: Vec<Draft>) -> Result<(), Vec<Draft>> {
        let mut weights = Vec::with_capacity(drafts.len());
        let mut latest_after = Vec::with_capacity(drafts.len());
        for place in 0..drafts.len() {
            let named = drafts[place].after.iter().filter_map(|cell| {
                let draft = drafts.get(cell.place)?;
                Arc::ptr_eq(&draft.open.cell, cell).then_some(cell.place)
            });
            latest_after.push(named.max().unwrap_or(place).max(place));
            let draft = &mut drafts[place];
            bound(draft);
            weights.push(Weight::of_kind(&draft.kind, &draft.label, draft.after.len()));
        }
        let Some(cuts) = batch::split(&weights, &latest_after) else {
            return Err(drafts);
        };
        let mut outbox = locked(&self.outbox);
        if let Some(error) = self.refuse(&mut outbox, drafts.len() as u64) {
            drop(outbox);
            for draft in drafts {
                draft.open.cell.settle(Err(error.clone()));
            }
            return Ok(());
        }
        let ids: Vec<CommandId> = drafts.iter().map(|draft| outbox.next_command(&draft.open.cell)).collect();
        for draft in &drafts {
            if is_empty_read(&draft.kind) {
                // Before the others name their predecessors: they need not name this one then.
                draft.open.cell.settle(Ok(Outcome::nothing()));
            }
        }
        let parts = self.graph_parts(drafts, &ids, &cuts);
        let count = parts.iter().map(Vec::len).sum::<usize>() as u64;
        self.open_commands.fetch_add(count, Ordering::Relaxed);
        self.queued_commands.fetch_add(count, Ordering::Relaxed);
        outbox.items.push(Item::Graph(parts));
        drop(outbox);
        self.filled.notify_one();
        Ok(())
    }

    fn graph_parts(
        &self,
        drafts: Vec<Draft>,
        ids: &[CommandId],
        cuts: &[usize],
    ) -> Vec<Vec<(Command, Open)>> {
        let mut parts = Vec::with_capacity(cuts.len() + 1);
        let mut part = Vec::new();
        let mut cuts = cuts.iter().copied().peekable();
        for (place, (mut draft, id)) in drafts.into_iter().zip(ids).enumerate() {
            if cuts.next_if_eq(&place).is_some() {
                parts.push(std::mem::take(&mut part));
            }
            if is_empty_read(&draft.kind) {
                continue;
            }
            let after = self.predecessors(&mut draft);
            let command = Command { id: *id, after, label: draft.label, kind: draft.kind };
            part.push((command, draft.open));
        }
        parts.push(part);
        parts
    }

    /// The ids of those that the draft is to come after. What has succeeded needs no mention.
    fn predecessors(&self, draft: &mut Draft) -> Vec<CommandId> {
        let mut ids = Vec::with_capacity(draft.after.len());
        for cell in std::mem::take(&mut draft.after) {
            if cell.has_succeeded() {
                continue;
            }
            match cell.id() {
                Some(id) => ids.push(id),
                None => {
                    // A command that was never submitted: the farm refuses this id, and with it all
                    // that depends on the command.
                    ids.push(CommandId(u64::MAX));
                    draft.open.refusal.get_or_insert_with(|| {
                        Box::new(CommandError::Malformed {
                            what: "`after` names a member of a graph that has not been submitted; \
                                   submit the graph first"
                                .to_owned(),
                        })
                    });
                }
            }
        }
        ids
    }

    /// Why `count` more commands cannot go out.
    fn refuse(&self, outbox: &mut Outbox, count: u64) -> Option<CommandError> {
        if let Some(reason) = &outbox.closed {
            return Some(CommandError::SessionClosed { reason: reason.clone() });
        }
        let open = self.open_commands.load(Ordering::Relaxed).saturating_add(count);
        if outbox.is_overrun || open > self.commands_open_max {
            // Later commands are refused too until the caller has waited for room: they may count on
            // the effects of this one.
            outbox.is_overrun = true;
            return Some(CommandError::LimitExceeded {
                what: "unfinished commands of the session (await `Session::room` and go on)".to_owned(),
                limit: self.commands_open_max,
            });
        }
        None
    }

    /// Waits until commands go out without gathering here.
    pub async fn room(&self) {
        loop {
            let notified = self.room.notified();
            tokio::pin!(notified);
            notified.as_mut().enable();
            {
                let mut outbox = locked(&self.outbox);
                let queued = self.queued_commands.load(Ordering::Relaxed);
                let open = self.open_commands.load(Ordering::Relaxed);
                let has_room = queued < QUEUED_COMMANDS_ROOM && open <= self.commands_open_max / 2;
                if has_room || outbox.closed.is_some() {
                    outbox.is_overrun = false;
                    return;
                }
            }
            notified.await;
        }
    }

    /// Waits until there is something to send, and takes it as requests that fit a frame each.
    pub async fn take_requests(&self) -> Vec<ClientRequest> {
        loop {
            let requests = self.drain();
            if !requests.is_empty() {
                self.room.notify_waiters();
                return requests;
            }
            self.filled.notified().await;
        }
    }

    /// What there is to send by now, as requests that fit a frame each.
    pub fn drain(&self) -> Vec<ClientRequest> {
        let mut table = locked(&self.table);
        let items = std::mem::take(&mut locked(&self.outbox).items);
        let mut drained = Drained::default();
        let mut refused = Vec::new();
        for item in items {
            match item {
                Item::Request(request) => {
                    drained.finish_batch();
                    drained.requests.push(request);
                }
                Item::Command(command, open) => {
                    drained.push(command);
                    drained.open.push(open);
                }
                Item::Graph(parts) => {
                    drained.finish_batch();
                    for part in parts {
                        for (command, open) in part {
                            drained.commands.push(command);
                            drained.open.push(open);
                        }
                        drained.finish_batch();
                    }
                }
            }
        }
        drained.finish_batch();
        self.queued_commands.fetch_sub(drained.open.len() as u64, Ordering::Relaxed);
        for open in drained.open {
            match (&table.ended, open.cell.id()) {
                (None, Some(id)) => {
                    table.open.insert(id, open);
                }
                (Some(_), _) | (None, None) => refused.push(open),
            }
        }
        let reason = table.ended.clone();
        drop(table);
        for open in refused {
            let reason = reason.clone().unwrap_or_default();
            self.settle(&open.cell, Err(CommandError::SessionClosed { reason }));
        }
        drained.requests
    }

    // ---- on the way back ----

    /// A command finished, or a piece of a read.
    pub fn done(&self, command: CommandId, execution: Span) {
        let mut table = locked(&self.table);
        let Some(open) = table.open.get_mut(&command) else { return };
        match &mut open.purpose {
            Purpose::Read(assembly) => {
                assembly.execution = assembly.execution.max(execution);
            }
            Purpose::Plain | Purpose::Write(_) => {
                let Some(open) = table.open.remove(&command) else { return };
                if let Some(refusal) = open.refusal {
                    table.note_failure(command, &refusal);
                    drop(table);
                    self.settle(&open.cell, Err(*refusal));
                } else {
                    drop(table);
                    self.settle(&open.cell, Ok(Outcome { execution, bytes: Bytes::new() }));
                }
            }
        }
    }

    /// Whether these bytes are still wanted by a read.
    pub fn wants(&self, command: CommandId, offset_bytes: u64, size_bytes: u64) -> bool {
        locked(&self.table).open.get(&command).is_some_and(|open| match &open.purpose {
            Purpose::Read(assembly) => assembly.takes(offset_bytes, size_bytes),
            Purpose::Plain | Purpose::Write(_) => false,
        })
    }

    /// Bytes of a read came.
    pub fn data(&self, command: CommandId, offset_bytes: u64, bytes: &Bytes) {
        let mut table = locked(&self.table);
        let Some(open) = table.open.get_mut(&command) else { return };
        let Purpose::Read(assembly) = &mut open.purpose else { return };
        if !assembly.insert(offset_bytes, bytes) {
            tracing::warn!(%command, offset_bytes, "bytes outside the read were dropped");
            return;
        }
        if !assembly.is_complete() {
            return;
        }
        let Some(open) = table.open.remove(&command) else { return };
        // The pieces are joined outside the lock.
        drop(table);
        if let Purpose::Read(assembly) = open.purpose {
            let execution = assembly.execution;
            self.settle(&open.cell, Ok(Outcome { execution, bytes: assembly.into_bytes() }));
        }
    }

    /// A command failed.
    pub fn failed(&self, command: CommandId, error: CommandError) {
        let mut table = locked(&self.table);
        let Some(open) = table.open.remove(&command) else { return };
        let error = match open.refusal {
            Some(refusal) => {
                note(&mut table.refusals, command, &refusal);
                *refusal
            }
            None => table.explained(error),
        };
        table.note_failure(command, &error);
        drop(table);
        self.settle(&open.cell, Err(error));
    }

    /// A request that is no command failed.
    pub fn request_failed(&self, request: RequestName, error: CommandError) {
        let mut table = locked(&self.table);
        match request {
            RequestName::CreateBuffer(buffer) => note(&mut table.buffer_failures, buffer, &error),
            RequestName::CreateProgram(program) => {
                note(&mut table.program_failures, program, &error);
                let cell = table.programs.get(&program).and_then(Weak::upgrade);
                drop(table);
                if let Some(cell) = cell {
                    cell.settle(Err(error));
                }
            }
            RequestName::Open => {
                drop(table);
                self.end(&error.to_string());
            }
            RequestName::ReleaseBuffer(_) | RequestName::ReleaseProgram(_) => {
                tracing::warn!(?request, %error, "request failed");
            }
        }
    }

    /// A program built somewhere, or nowhere.
    pub fn program(&self, program: ProgramId, outcome: Result<ProgramFacts, CommandError>) {
        let cell = locked(&self.table).programs.get(&program).and_then(Weak::upgrade);
        if let Some(cell) = cell {
            cell.settle(outcome);
        }
    }

    /// The bytes of a write that has not ended.
    pub fn kept(&self, command: CommandId) -> Option<Bytes> {
        match &locked(&self.table).open.get(&command)?.purpose {
            Purpose::Write(bytes) => Some(bytes.clone()),
            Purpose::Plain | Purpose::Read(_) => None,
        }
    }

    /// Ends the session here: everything open fails with this reason.
    pub fn end(&self, reason: &str) {
        let mut table = locked(&self.table);
        if table.ended.is_some() {
            return;
        }
        table.ended = Some(reason.to_owned());
        let mut cells: Vec<Arc<CommandCell>> = table.open.drain().map(|(_, open)| open.cell).collect();
        let programs: Vec<_> = table.programs.values().filter_map(Weak::upgrade).collect();
        let mut outbox = locked(&self.outbox);
        outbox.closed = Some(reason.to_owned());
        let items = std::mem::take(&mut outbox.items);
        drop(outbox);
        drop(table);
        for item in items {
            match item {
                Item::Request(_) => {}
                Item::Command(_, open) => cells.push(open.cell),
                Item::Graph(parts) => {
                    cells.extend(parts.into_iter().flatten().map(|(_, open)| open.cell));
                }
            }
        }
        cells.sort_unstable_by_key(|cell| cell.id());
        for cell in cells {
            self.settle(&cell, Err(CommandError::SessionClosed { reason: reason.to_owned() }));
        }
        for program in programs {
            program.settle_if_open(CommandError::SessionClosed { reason: reason.to_owned() });
        }
        self.questions.end();
        self.room.notify_waiters();
        self.ended.send_replace(true);
    }

    /// Waits until the session is over.
    pub async fn wait_ended(&self) {
        // The sender lives in `self`, so that waiting cannot fail.
        let _ = self.ended.subscribe().wait_for(|has_ended| *has_ended).await;
    }

    pub fn closed_reason(&self) -> Option<String> {
        locked(&self.table).ended.clone()
    }

    /// Commands enqueued and not ended, by id.
    pub fn open_cells(&self) -> Vec<Arc<CommandCell>> {
        let table = locked(&self.table);
        let outbox = locked(&self.outbox);
        let mut cells: Vec<_> = table.open.values().map(|open| Arc::clone(&open.cell)).collect();
        for item in &outbox.items {
            match item {
                Item::Request(_) => {}
                Item::Command(_, open) => cells.push(Arc::clone(&open.cell)),
                Item::Graph(parts) => {
                    cells.extend(parts.iter().flatten().map(|(_, open)| Arc::clone(&open.cell)));
                }
            }
        }
        drop(outbox);
        drop(table);
        cells.sort_unstable_by_key(|cell| cell.id());
        cells
    }

    pub fn open_count(&self) -> u64 {
        self.open_commands.load(Ordering::Relaxed)
    }

    /// The earliest failure since this was last asked.
    pub fn take_first_failure(&self) -> Option<CommandError> {
        locked(&self.table).first_failure.take().map(|(_, error)| error)
    }

    fn settle(&self, cell: &CommandCell, outcome: Result<Outcome, CommandError>) {
        // Counted first: whoever sees the end must find the command no longer counted as open.
        let open = self.open_commands.fetch_sub(1, Ordering::Relaxed) - 1;
        cell.settle(outcome);
        if open == self.commands_open_max / 2 {
            self.room.notify_waiters();
        }
    }
}

impl Table {
    /// The reason why a buffer or program is unknown, where its creation failed.
    fn explained(&self, error: CommandError) -> CommandError {
        match error {
            CommandError::UnknownBuffer { buffer } => {
                self.buffer_failures.get(&buffer).cloned().unwrap_or(error)
            }
            CommandError::UnknownProgram { program } => {
                self.program_failures.get(&program).cloned().unwrap_or(error)
            }
            CommandError::Dependency { failed, cause } => match self.refusal(failed) {
                Some(refusal) => CommandError::of_dependent(failed, refusal),
                None => CommandError::of_dependent(failed, &self.explained(*cause)),
            },
            other => other,
        }
    }

    /// What the client itself found wrong with a command, whether it has ended or not.
    fn refusal(&self, command: CommandId) -> Option<&CommandError> {
        let of_open = self.open.get(&command).and_then(|open| open.refusal.as_deref());
        of_open.or_else(|| self.refusals.get(&command))
    }

    fn note_failure(&mut self, command: CommandId, error: &CommandError) {
        let is_wanted = match error {
            CommandError::Cancelled => true,
            CommandError::Dependency { cause, .. } => **cause == CommandError::Cancelled,
            _ => false,
        };
        let is_first = self.first_failure.as_ref().is_none_or(|(first, _)| command < *first);
        if !is_wanted && is_first {
            self.first_failure = Some((command, error.clone()));
        }
    }
}

/// Requests being made of what was in the outbox.
#[derive(Default)]
struct Drained {
    requests: Vec<ClientRequest>,
    open: Vec<Open>,
    commands: Vec<Command>,
    weight: Weight,
}

impl Drained {
    fn push(&mut self, command: Command) {
        let weight = Weight::of(&command);
        if !self.weight.plus(weight).fits() {
            self.finish_batch();
        }
        self.weight = self.weight.plus(weight);
        self.commands.push(command);
    }

    fn finish_batch(&mut self) {
        self.weight = Weight::default();
        if !self.commands.is_empty() {
            let commands = std::mem::take(&mut self.commands);
            self.requests.push(ClientRequest::Submit { commands });
        }
    }
}

fn is_empty_read(kind: &CommandKind) -> bool {
    matches!(kind, CommandKind::Read { size_bytes: 0, .. })
}

/// Keeps a failure for the commands that come to depend on it, up to the farm's own bound.
fn note<K: Ord>(failures: &mut BTreeMap<K, CommandError>, key: K, error: &CommandError) {
    failures.insert(key, error.clone());
    if failures.len() > Limits::default().failures_kept_max as usize {
        failures.pop_first();
    }
}

/// Makes sure that one command fits a frame. What had to go is refused by the farm's own bounds, so
/// that all that depends on the command fails with it.
fn bound(draft: &mut Draft) {
    if draft.label.len() > batch::LABEL_BYTES_MAX {
        shorten(&mut draft.label, batch::LABEL_BYTES_MAX);
    }
    if Weight::of_kind(&draft.kind, &draft.label, draft.after.len()).fits() {
        return;
    }
    let limit = batch::BATCH_BYTES_MAX;
    draft.open.refusal.get_or_insert_with(|| {
        Box::new(CommandError::LimitExceeded { what: "size of one command in bytes".to_owned(), limit })
    });
    draft.after.truncate(Limits::default().after_max as usize + 1);
    match &mut draft.kind {
        CommandKind::Launch(launch) => {
            shorten(&mut launch.kernel, batch::KERNEL_NAME_BYTES_MAX);
            let arguments_max = Limits::default().arguments_max as usize;
            launch.arguments.truncate(arguments_max + 1);
            for argument in &mut launch.arguments {
                if let isochrone_model::Argument::Scalar(bytes) = argument {
                    bytes.clear();
                }
            }
        }
        CommandKind::Write { .. }
        | CommandKind::Read { .. }
        | CommandKind::Copy { .. }
        | CommandKind::Fill { .. }
        | CommandKind::Barrier
        | CommandKind::Marker => {}
    }
}

/// Cuts a text to at most so many bytes, between two characters.
fn shorten(text: &mut String, bytes_max: usize) {
    let mut end = bytes_max.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.truncate(end);
}

#[cfg(test)]
mod tests;
