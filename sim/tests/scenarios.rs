//! Scenarios in virtual time, one for each thing that must hold when tasks fail or agents are lost. Each ends by
//! asserting silence; every invariant is checked after every step.

use bytes::Bytes;
use isochrone_model::message::{ClientRequest, Decision, WEIGHED_BY_SCHEDULER};
use isochrone_model::{
    Access, AgentId, Argument, BufferArgument, BufferId, BytesPerSecond, Command, CommandError, CommandId,
    CommandKind, Launch, Limits, NdRange, Payload, ProgramId, SessionId, Span, Timestamp,
};
use isochrone_sim::{Farm, FarmOptions, LinkTruth, Outcome, kernels};

const SESSION: SessionId = SessionId(1);
const PROGRAM: ProgramId = ProgramId(1);
const STEPS_MAX: u64 = 100_000;
const LATENCY: Span = Span::from_micros(1_000);

/// A farm whose first session is being written: commands are numbered as they are added.
struct Stage {
    farm: Farm,
    commands: Vec<Command>,
    submitted: usize,
}

impl Stage {
    /// A farm with one agent for each list of devices, which are known by their memory; each runs a work-item a
    /// microsecond.
    fn new(agents: &[&[u64]]) -> Self {
        Self::with_limits(agents, Limits::default())
    }

    fn with_limits(agents: &[&[u64]], limits: Limits) -> Self {
        let links = LinkTruth { latency: LATENCY, jitter: Span::ZERO, rate: BytesPerSecond(1_000_000_000) };
        let options = FarmOptions {
            seed: 1,
            policy: "eager".to_owned(),
            limits,
            streamed_bytes_min: None,
            links,
            are_backups_flaky: false,
            is_checked: true,
        };
        let mut farm = Farm::new(options).unwrap();
        for devices in agents {
            let device =
                |(place, memory): (usize, &u64)| Farm::device(&format!("device-{place}"), 1, *memory, 1);
            farm.add_agent(devices.iter().enumerate().map(device).collect(), 1 << 30);
        }
        farm.run(STEPS_MAX);
        farm.open_session(SESSION, "");
        let (source, options) = (kernels::SOURCE.to_owned(), String::new());
        farm.request(SESSION, ClientRequest::CreateProgram { program: PROGRAM, source, options });
        let mut stage = Self { farm, commands: Vec::new(), submitted: 0 };
        stage.run();
        stage
    }

    fn buffer(&mut self, buffer: u64, size_bytes: u64) {
        let request = ClientRequest::CreateBuffer { buffer: BufferId(buffer), size_bytes };
        self.farm.request(SESSION, request);
    }

    fn add(&mut self, kind: CommandKind, after: &[CommandId]) -> CommandId {
        let id = CommandId(self.commands.len() as u64 + 1);
        self.commands.push(Command { id, after: after.to_vec(), label: String::new(), kind });
        id
    }

    fn launch(
        &mut self,
        kernel: &str,
        items: u64,
        arguments: Vec<Argument>,
        after: &[CommandId],
    ) -> CommandId {
        let (kernel, range) = (kernel.to_owned(), NdRange::linear(items));
        self.add(CommandKind::Launch(Launch { program: PROGRAM, kernel, range, arguments }), after)
    }

    /// Writes a whole buffer on a device: from `salt` on, rising.
    fn store(&mut self, buffer: u64, size: u64, salt: u64, items: u64, after: &[CommandId]) -> CommandId {
        let arguments = vec![given(buffer, Some(Access::Write)), value(0), value(size), value(salt)];
        self.launch("store", items, arguments, after)
    }

    fn write(&mut self, buffer: u64, bytes: &[u8], after: &[CommandId]) -> CommandId {
        let payload = Payload::Inline(Bytes::copy_from_slice(bytes));
        self.add(CommandKind::Write { buffer: BufferId(buffer), offset_bytes: 0, payload }, after)
    }

    fn read(&mut self, buffer: u64, size_bytes: u64) -> CommandId {
        let kind = CommandKind::Read { buffer: BufferId(buffer), offset_bytes: 0, size_bytes };
        let id = self.add(kind, &[]);
        self.farm.expect_read(SESSION, id, size_bytes as usize);
        id
    }

    /// What was added since the last time.
    fn batch(&mut self) -> ClientRequest {
        let commands = self.commands[self.submitted..].to_vec();
        self.submitted = self.commands.len();
        ClientRequest::Submit { commands }
    }

    fn submit(&mut self) -> Timestamp {
        let batch = self.batch();
        self.farm.request(SESSION, batch);
        self.farm.now()
    }

    fn submit_at(&mut self, at: Timestamp) {
        let batch = self.batch();
        self.farm.request_at(at, SESSION, batch);
    }

    fn cancel_at(&mut self, at: Timestamp, command: CommandId) {
        self.farm.request_at(at, SESSION, ClientRequest::Cancel { commands: vec![command] });
    }

    fn run(&mut self) {
        assert!(self.farm.run(STEPS_MAX), "the farm comes to rest");
    }

    fn is_done(&self, command: CommandId) {
        assert_eq!(self.farm.outcome(SESSION, command), Some(&Outcome::Done(None)), "{command}");
    }

    fn has_read(&self, command: CommandId, bytes: &[u8]) {
        let expected = Outcome::Done(Some(Bytes::copy_from_slice(bytes)));
        assert_eq!(self.farm.outcome(SESSION, command), Some(&expected), "{command}");
    }

    fn error_of(&self, command: CommandId) -> &CommandError {
        match self.farm.outcome(SESSION, command) {
            Some(Outcome::Failed(error)) => error,
            other => panic!("{command} should have failed: {other:?}"),
        }
    }

    fn ended_at(&self, command: CommandId) -> Timestamp {
        self.farm.ended_at(SESSION, command).unwrap()
    }

    fn assert_silence(&self) {
        self.farm.assert_silence();
    }
}

fn given(buffer: u64, access: Option<Access>) -> Argument {
    Argument::Buffer(BufferArgument { buffer: BufferId(buffer), part: None, access, touches: None })
}

fn value(value: u64) -> Argument {
    Argument::Scalar(Bytes::copy_from_slice(&(value as u32).to_le_bytes()))
}

fn rising(salt: u8, size: u8) -> Vec<u8> {
    (0..size).map(|place| salt.wrapping_add(place)).collect()
}

/// `eager` names no candidates: the scheduler weighs for it, as far as it may, and not at all where no decisions are kept.
#[test]
fn decisions_without_candidates_are_weighed_within_a_bound() {
    let weighed = |limits: Limits| {
        let mut stage = Stage::with_limits(&[&[1 << 20], &[1 << 20]], limits);
        let tasks: Vec<CommandId> = (0..4).map(|_| stage.launch("noop", 1_000, Vec::new(), &[])).collect();
        stage.submit();
        stage.run();
        stage.assert_silence();
        let explained = |task: &CommandId| stage.farm.scheduler().explain(SESSION, *task).unwrap().decision;
        tasks.iter().map(explained).collect::<Vec<_>>()
    };
    for decision in weighed(Limits::default()) {
        let decision = decision.unwrap();
        assert!(decision.candidates.len() == 2 && decision.is_weighed_by_scheduler(), "{decision:?}");
        assert!(decision.reason.len() > WEIGHED_BY_SCHEDULER.len(), "{decision:?}");
    }
    // Two slots each: enough for two tasks of the four that are placed at once, and not for a part of a third.
    let decisions = weighed(Limits { slots_weighed_per_plan_max: 5, ..Limits::default() });
    let counts = decisions.iter().flatten().map(|decision| decision.candidates.len());
    assert_eq!(counts.collect::<Vec<_>>(), [2, 2, 0, 0]);
    let marks = decisions.iter().flatten().map(Decision::is_weighed_by_scheduler);
    assert_eq!(marks.collect::<Vec<_>>(), [true, true, false, false]);
    let none = weighed(Limits { decisions_kept_max: 0, ..Limits::default() });
    assert!(none.iter().all(Option::is_none), "{none:?}");
}

#[test]
fn what_overwrites_a_failed_tasks_outputs_comes_after_those_before_it() {
    let mut stage = Stage::new(&[&[1 << 20], &[1 << 20]]);
    stage.buffer(1, 8);
    let first = stage.store(1, 8, 10, 20_000, &[]);
    let fails = stage.launch("fail", 1, Vec::new(), &[]);
    let dependent = stage.store(1, 8, 50, 1, &[fails]);
    let last = stage.write(1, &[7; 8], &[]);
    let read = stage.read(1, 8);
    stage.submit();
    stage.run();
    stage.is_done(first);
    assert!(matches!(stage.error_of(fails), CommandError::Device { .. }));
    assert!(matches!(stage.error_of(dependent), CommandError::Dependency { failed, .. } if *failed == fails));
    stage.is_done(last);
    stage.has_read(read, &[7; 8]);
    // The dependents of a failure hear of it at once; those behind it keep their turn.
    assert!(stage.ended_at(dependent) < stage.ended_at(first));
    assert!(stage.ended_at(first) < stage.ended_at(last));
    stage.assert_silence();
}

#[test]
fn commands_submitted_later_come_after_those_before_a_failed_one_too() {
    let mut stage = Stage::new(&[&[1 << 20], &[1 << 20]]);
    stage.buffer(1, 8);
    let first = stage.store(1, 8, 10, 20_000, &[]);
    let fails = stage.launch("fail", 1, Vec::new(), &[]);
    stage.store(1, 8, 50, 1, &[fails]);
    let begin = stage.submit();
    let last = stage.write(1, &[7; 8], &[]);
    let read = stage.read(1, 8);
    // By then the failure is known, and the first one still runs.
    stage.submit_at(begin + Span::from_micros(8_000));
    stage.run();
    assert!(stage.ended_at(fails) < begin + Span::from_micros(8_000));
    stage.is_done(first);
    stage.is_done(last);
    stage.has_read(read, &[7; 8]);
    assert!(stage.ended_at(first) < stage.ended_at(last));
    stage.assert_silence();
}

#[test]
fn a_task_cancelled_while_it_runs_holds_up_what_comes_after_it() {
    let mut stage = Stage::new(&[&[1 << 20, 1 << 20], &[1 << 20]]);
    stage.buffer(1, 8);
    let runs = stage.store(1, 8, 10, 20_000, &[]);
    let last = stage.store(1, 8, 90, 1, &[]);
    let read = stage.read(1, 8);
    let begin = stage.submit();
    stage.cancel_at(begin + Span::from_micros(8_000), runs);
    stage.run();
    assert_eq!(stage.error_of(runs), &CommandError::Cancelled);
    assert!(stage.ended_at(runs) < begin + Span::from_micros(12_000));
    stage.is_done(last);
    stage.has_read(read, &rising(90, 8));
    assert!(stage.ended_at(last) > begin + Span::from_micros(20_000));
    stage.assert_silence();
}

#[test]
fn a_barrier_that_fails_still_keeps_the_order() {
    for is_refused in [false, true] {
        let mut stage = Stage::new(&[&[1 << 20], &[1 << 20]]);
        stage.buffer(1, 8);
        let slow = stage.store(1, 8, 10, 20_000, &[]);
        let fails = stage.launch("fail", 1, Vec::new(), &[]);
        let begin = stage.submit();
        let barrier = stage.add(CommandKind::Barrier, &[fails]);
        let later = stage.launch("noop", 1, Vec::new(), &[]);
        // Refused if the failure is known by then, else failed by it.
        stage.submit_at(begin + Span::from_micros(if is_refused { 8_000 } else { 10 }));
        stage.run();
        assert!(matches!(stage.error_of(barrier), CommandError::Dependency { .. }), "refused: {is_refused}");
        stage.is_done(slow);
        stage.is_done(later);
        assert!(stage.ended_at(slow) < stage.ended_at(later), "refused: {is_refused}");
        stage.assert_silence();
    }
}

#[test]
fn a_session_that_closes_takes_the_places_of_failed_tasks_with_it() {
    let mut stage = Stage::new(&[&[1 << 20], &[1 << 20]]);
    stage.buffer(1, 8);
    let runs = stage.launch("noop", 20_000, Vec::new(), &[]);
    stage.store(1, 8, 50, 1, &[runs]);
    stage.write(1, &[7; 8], &[]);
    stage.add(CommandKind::Barrier, &[]);
    let begin = stage.submit();
    // One runs on, one keeps its place behind it, and two wait for that.
    stage.cancel_at(begin + Span::from_micros(8_000), runs);
    stage.farm.wake_at(begin + Span::from_micros(10_000));
    while stage.farm.now() < begin + Span::from_micros(10_000) {
        stage.farm.run(1);
    }
    assert!(stage.farm.scheduler().unfinished_tasks() == 4);
    stage.farm.close_session(SESSION);
    stage.run();
    assert!(stage.farm.is_closed(SESSION));
    stage.assert_silence();
    for agent in [AgentId(0), AgentId(1)] {
        assert_eq!(stage.farm.held_bytes(agent), 0, "a closed session leaves nothing on {agent}");
    }
}

#[test]
fn what_overwrites_a_refused_commands_outputs_comes_after_those_before_it() {
    let mut stage = Stage::new(&[&[1 << 20], &[1 << 20]]);
    stage.buffer(1, 8);
    let slow = stage.launch("noop", 20_000, Vec::new(), &[]);
    let first = stage.store(1, 8, 10, 1, &[slow]);
    let refused = stage.launch("no such kernel", 1, vec![given(1, Some(Access::Write))], &[]);
    let last = stage.write(1, &[7; 8], &[]);
    let read = stage.read(1, 8);
    stage.submit();
    stage.run();
    stage.is_done(first);
    assert!(matches!(stage.error_of(refused), CommandError::UnknownKernel { .. }));
    stage.is_done(last);
    stage.has_read(read, &[7; 8]);
    assert!(stage.ended_at(first) <= stage.ended_at(last));
    stage.assert_silence();
}

#[test]
fn the_failure_of_a_lost_task_lets_nobody_go_who_waits_for_another() {
    let (small, large) = (1 << 12, 1 << 20);
    let mut stage = Stage::new(&[&[small], &[large]]);
    stage.buffer(1, 8);
    stage.buffer(2, 8);
    stage.buffer(3, 1 << 16);
    // Its contents, and the task that reads them, are on the first agent.
    let contents = stage.write(2, &[1; 8], &[]);
    let arguments = vec![given(2, None), given(1, None), value(0), value(0), value(8), value(0)];
    let reads = stage.launch("mix", 200_000, arguments, &[]);
    // Only the second agent has a device with room for this one.
    let elsewhere = stage.store(3, 8, 0, 200_000, &[]);
    let last = stage.store(1, 8, 30, 1, &[elsewhere]);
    let read = stage.read(1, 8);
    let begin = stage.submit();
    stage.farm.crash_at(AgentId(1), begin + Span::from_micros(20_000));
    stage.farm.crash_at(AgentId(0), begin + Span::from_micros(40_000));
    stage.farm.return_at(AgentId(0), begin + Span::from_micros(60_000));
    stage.farm.return_at(AgentId(1), begin + Span::from_micros(80_000));
    stage.run();
    stage.is_done(contents);
    assert!(matches!(stage.error_of(reads), CommandError::ContentLost { .. }));
    stage.is_done(elsewhere);
    stage.is_done(last);
    stage.has_read(read, &rising(30, 8));
    assert!(stage.ended_at(elsewhere) < stage.ended_at(last));
    stage.assert_silence();
}

#[test]
fn a_notice_that_a_lost_agent_should_have_sent_is_not_missed() {
    // When the first task ends on its agent is the same in every run: first, it is measured.
    let run = |times: Option<Timestamp>| {
        let mut stage = Stage::new(&[&[1 << 20], &[1 << 20]]);
        let first = stage.launch("noop", 10_000, Vec::new(), &[]);
        stage.submit();
        let dependent = times.map(|ends| {
            let dependent = stage.launch("noop", 1, Vec::new(), &[first]);
            // Ordered to the other agent before the report of the first one's end has come.
            stage.submit_at(ends - Span::from_micros(500));
            // The report is under way; the order to send a notice comes too late.
            stage.farm.crash_at(AgentId(0), ends + Span::from_micros(1_100));
            dependent
        });
        stage.run();
        stage.is_done(first);
        stage.assert_silence();
        (stage.ended_at(first) - LATENCY, dependent.map(|dependent| stage.ended_at(dependent)))
    };
    let (ends, _) = run(None);
    let (same, dependent_ended) = run(Some(ends));
    assert_eq!(ends, same);
    assert!(dependent_ended.unwrap() > ends + Span::from_micros(1_100));
}
