//! Programs: one for each distinct source and options, built wherever there is a device.

use isochrone_model::error::BuildLog;
use isochrone_model::message::{ClientReply, ProgramFacts};
use isochrone_model::order::{BuildOutcome, BuiltKernel};
use isochrone_model::{
    AgentId, Command, CommandError, CommandKind, DeviceId, DeviceIndex, Order, ProgramId, ProgramKey,
    SessionId, SharedList, Span, Timestamp,
};
use sha2::{Digest, Sha256};

use super::Scheduler;
use super::event::Action;
use super::state::{BuildState, ProgramRecord};
use crate::costs::KernelName;

/// The least time that slower compilers are given once the first device has built a program.
const BUILD_GRACE_MIN: Span = Span::from_secs(2);

impl Scheduler {
    pub(super) fn create_program(
        &mut self,
        session: SessionId,
        program: ProgramId,
        source: String,
        options: String,
    ) -> Result<(), CommandError> {
        let limits = &self.state.limits;
        let (programs_max, source_bytes_max) =
            (limits.programs_per_session_max, limits.program_source_bytes_max);
        let Some(record) = self.state.sessions.get_mut(&session) else {
            return Ok(());
        };
        if program <= record.last_program {
            return Err(CommandError::IdReused { what: program.to_string() });
        }
        record.last_program = program;
        if record.programs.len() >= programs_max as usize {
            return Err(CommandError::LimitExceeded {
                what: "the number of live programs of a session".to_owned(),
                limit: u64::from(programs_max),
            });
        }
        if source.len() as u64 > source_bytes_max {
            return Err(CommandError::LimitExceeded {
                what: "the size of a program's source in bytes".to_owned(),
                limit: source_bytes_max,
            });
        }
        let key = self.program_key(source, options);
        if let Some(record) = self.state.sessions.get_mut(&session) {
            record.programs.insert(program, key);
        }
        let record = &mut self.state.programs[key.index()];
        record.users += 1;
        record.waiting.push((session, program));
        if !record.is_live {
            record.is_live = true;
            record.started_at = self.state.now;
            record.first_built_at = None;
            for agent in self.state.present_agents().collect::<Vec<_>>() {
                self.order_build(key, agent);
            }
        }
        self.programs_may_be_decided();
        Ok(())
    }

    fn program_key(&mut self, source: String, options: String) -> ProgramKey {
        let pair = (source, options);
        if let Some(key) = self.state.program_keys.get(&pair) {
            return *key;
        }
        let key = ProgramKey::from_index(self.state.programs.len());
        let digest = program_digest(&pair.0, &pair.1);
        self.state.programs.push(ProgramRecord {
            source: pair.0.clone(),
            options: pair.1.clone(),
            digest,
            builds: vec![BuildState::Absent; self.state.devices.len()],
            kernels: SharedList::default(),
            by_name: Vec::new(),
            rows: Vec::new(),
            users: 0,
            started_at: self.state.now,
            first_built_at: None,
            waiting: Vec::new(),
            is_live: false,
        });
        self.state.program_keys.insert(pair, key);
        key
    }

    /// Orders a program to be built on all devices of an agent.
    pub(super) fn order_build(&mut self, key: ProgramKey, agent: AgentId) {
        let devices = self.state.agents[agent.index()].devices.clone();
        let record = &mut self.state.programs[key.index()];
        for device in devices {
            if record.builds.len() <= device.index() {
                record.builds.resize(device.index() + 1, BuildState::Absent);
            }
            record.builds[device.index()] = BuildState::Building;
        }
        let order =
            Order::Build { program: key, source: record.source.clone(), options: record.options.clone() };
        self.order(agent, order);
    }

    pub(super) fn take_build(
        &mut self,
        agent: AgentId,
        program: ProgramKey,
        device: DeviceIndex,
        outcome: BuildOutcome,
    ) {
        let Some(device) = self.state.agents[agent.index()].devices.get(device.index()).copied() else {
            return;
        };
        let now = self.state.now;
        let Some(record) = self.state.programs.get_mut(program.index()) else {
            return;
        };
        if record.builds.len() <= device.index() {
            record.builds.resize(device.index() + 1, BuildState::Absent);
        }
        record.builds[device.index()] = record.build_state(&outcome);
        if let BuildOutcome::Built { kernels, .. } = outcome {
            record.first_built_at.get_or_insert(now);
            if record.kernels.is_empty() {
                record.list_kernels(kernels);
                let names: Vec<KernelName> = record
                    .kernels
                    .iter()
                    .map(|kernel| KernelName {
                        program_digest: record.digest.clone(),
                        kernel: kernel.signature.name.clone(),
                    })
                    .collect();
                record.rows = names.iter().map(|name| self.state.costs.row(name)).collect();
            } else if !record.kernels.is_same(&kernels) && !names_of(&record.kernels).eq(names_of(&kernels)) {
                // Its kernels would be called by the wrong place in the list.
                record.builds[device.index()] = BuildState::Failed {
                    log: "this device's compiler lists other kernels than the first one's".to_owned(),
                };
            }
        }
        self.state.legality_epoch += 1;
        self.programs_may_be_decided();
        self.is_placing_due = true;
    }

    /// Whether enough is known of every program that these commands launch.
    pub(super) fn programs_are_decided(&self, session: SessionId, commands: &[Command]) -> bool {
        let Some(record) = self.state.sessions.get(&session) else {
            return true;
        };
        let mut last_decided = None;
        commands.iter().all(|command| match &command.kind {
            CommandKind::Launch(launch) => {
                let is_decided = last_decided == Some(launch.program)
                    || record.programs.get(&launch.program).is_none_or(|key| self.is_decided(*key));
                last_decided = is_decided.then_some(launch.program);
                is_decided
            }
            CommandKind::Write { .. }
            | CommandKind::Read { .. }
            | CommandKind::Copy { .. }
            | CommandKind::Fill { .. }
            | CommandKind::Barrier
            | CommandKind::Marker => true,
        })
    }

    /// A program is decided when every device has answered, or the slow ones have had their grace.
    fn is_decided(&self, key: ProgramKey) -> bool {
        let record = &self.state.programs[key.index()];
        let is_building = self
            .state
            .present_agents()
            .flat_map(|agent| self.state.agents[agent.index()].devices.iter())
            .any(|device| record.builds.get(device.index()) == Some(&BuildState::Building));
        !is_building || self.grace_ends(record).is_some_and(|end| self.state.now >= end)
    }

    fn grace_ends(&self, record: &ProgramRecord) -> Option<Timestamp> {
        let built_at = record.first_built_at?;
        Some(built_at + built_at.since(record.started_at).max(BUILD_GRACE_MIN))
    }

    /// The next time at which a program is decided though some device still builds.
    pub(super) fn next_grace_end(&self) -> Option<Timestamp> {
        self.state
            .programs
            .iter()
            .enumerate()
            .filter(|(_, record)| record.is_live && !record.waiting.is_empty())
            .filter(|(index, _)| !self.is_decided(ProgramKey::from_index(*index)))
            .filter_map(|(_, record)| self.grace_ends(record))
            .min()
    }

    /// Why no launch of this program can run anywhere, if that is so.
    pub(super) fn program_error(&self, key: ProgramKey) -> Option<CommandError> {
        let record = &self.state.programs[key.index()];
        let mut logs = Vec::new();
        let mut has_device = false;
        for device in self.present_devices() {
            has_device = true;
            match record.builds.get(device.index()) {
                Some(BuildState::Failed { log }) => {
                    logs.push(BuildLog { device: self.state.device_name(device), log: log.clone() });
                }
                Some(BuildState::Built { .. } | BuildState::Building) => return None,
                Some(BuildState::Absent) | None => {}
            }
        }
        if !has_device {
            return Some(CommandError::NoDevice { reason: "the farm has no agent now".to_owned() });
        }
        Some(CommandError::BuildFailed { logs })
    }

    fn present_devices(&self) -> impl Iterator<Item = DeviceId> + '_ {
        self.state.present_agents().flat_map(|agent| self.state.agents[agent.index()].devices.iter().copied())
    }

    /// Tells sessions of programs that have become decided, and takes in what waited for them.
    pub(super) fn programs_may_be_decided(&mut self) {
        for index in 0..self.state.programs.len() {
            let key = ProgramKey::from_index(index);
            if self.state.programs[index].waiting.is_empty() || !self.is_decided(key) {
                continue;
            }
            let outcome = match self.program_error(key) {
                Some(error) => Err(error),
                None => Ok(self.program_facts(key)),
            };
            for (session, program) in std::mem::take(&mut self.state.programs[index].waiting) {
                let reply = ClientReply::Program { program, outcome: outcome.clone() };
                self.actions.push(Action::Reply { session, reply });
            }
        }
        let waiting: Vec<SessionId> = self
            .state
            .sessions
            .iter()
            .filter(|(_, record)| !record.ingest.is_empty())
            .map(|(session, _)| *session)
            .collect();
        for session in waiting {
            if !self.is_ingesting {
                self.is_ingesting = true;
                self.advance_ingest(session);
                self.is_ingesting = false;
            }
        }
    }

    fn program_facts(&self, key: ProgramKey) -> ProgramFacts {
        let record = &self.state.programs[key.index()];
        let kernels = record.kernels.iter().map(|kernel| kernel.signature.clone()).collect();
        let mut facts = ProgramFacts { kernels, devices: 0, failures: Vec::new() };
        for device in self.present_devices() {
            match record.builds.get(device.index()) {
                Some(BuildState::Built { .. }) => facts.devices += 1,
                Some(BuildState::Failed { log }) => {
                    facts
                        .failures
                        .push(BuildLog { device: self.state.device_name(device), log: log.clone() });
                }
                Some(BuildState::Absent | BuildState::Building) | None => {}
            }
        }
        facts
    }

    pub(super) fn release_program(
        &mut self,
        session: SessionId,
        program: ProgramId,
    ) -> Result<(), CommandError> {
        let key = self.state.sessions.get_mut(&session).and_then(|record| record.programs.remove(&program));
        let key = key.ok_or(CommandError::UnknownProgram { program })?;
        let record = &mut self.state.programs[key.index()];
        record.waiting.retain(|waiting| *waiting != (session, program));
        record.users -= 1;
        // Built programs stay: sessions come back with the same source far more often than devices run out
        // of room for programs, and the number of distinct programs of a session is bounded.
        Ok(())
    }
}

fn names_of(kernels: &[BuiltKernel]) -> impl Iterator<Item = &str> {
    kernels.iter().map(|kernel| kernel.signature.name.as_str())
}

/// The digest of a program's source and options, by which kernels are known across restarts.
#[must_use]
pub fn program_digest(source: &str, options: &str) -> String {
    let mut hash = Sha256::new();
    hash.update((source.len() as u64).to_le_bytes());
    hash.update(source.as_bytes());
    hash.update(options.as_bytes());
    hash.finalize().iter().take(16).map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use isochrone_model::order::BuiltKernel;
    use isochrone_model::{KernelIndex, KernelSignature, SharedList};

    use super::super::state::{BuildState, ProgramRecord};
    use super::{BuildOutcome, Timestamp};

    fn built(names: impl Iterator<Item = String>) -> SharedList<BuiltKernel> {
        let signature = |name| KernelSignature { name, arguments: SharedList::default() };
        names.map(|name| BuiltKernel { signature: signature(name), work_group_size_max: 64 }).collect()
    }

    fn record() -> ProgramRecord {
        ProgramRecord {
            source: String::new(),
            options: String::new(),
            digest: String::new(),
            builds: Vec::new(),
            kernels: SharedList::default(),
            by_name: Vec::new(),
            rows: Vec::new(),
            users: 0,
            started_at: Timestamp::ZERO,
            first_built_at: None,
            waiting: Vec::new(),
            is_live: false,
        }
    }

    #[test]
    fn a_program_may_have_as_many_kernels_as_a_graph_has_tasks() {
        let mut record = record();
        record.list_kernels(built((0..70_000).map(|number| format!("k{number}"))));
        for number in [0, 9, 10, 69_999] {
            assert_eq!(record.kernel(&format!("k{number}")), Some(KernelIndex(number)));
        }
        assert_eq!(record.kernel("k70000"), None);
        // An agent may list what it likes.
        record.list_kernels(built(["b", "a", "b"].into_iter().map(str::to_owned)));
        assert_eq!(record.kernel("b"), Some(KernelIndex(0)), "the first of a name counts");
    }

    #[test]
    fn devices_that_build_alike_share_what_is_kept_of_it() {
        let mut record = record();
        let outcome =
            || BuildOutcome::Built { kernels: built(std::iter::once("k".to_owned())), log: String::new() };
        let first = record.build_state(&outcome());
        record.builds.push(first.clone());
        let BuildState::Built { work_group_size_max: first } = first else { panic!("it built") };
        let BuildState::Built { work_group_size_max } = record.build_state(&outcome()) else {
            panic!("it built")
        };
        assert!(work_group_size_max.is_same(&first));
    }
}
