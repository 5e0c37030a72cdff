//! `foresight`: many plans, judged twice.
//!
//! This project's own policy. What it does, and from where it is taken:
//!
//! 1. **A portfolio.** A dozen of the literature's planners plan the graph, and HEFT plans it again on the one,
//!    two, four, ... fastest agents alone, which is what pays when links are slow. (No list heuristic is best everywhere:
//!    Coleman and Krishnamachari, "PISA", 2024.) Large graphs are planned by fewer.
//! 2. **Two judges.** Each plan is timed again with what most planners leave out: transfers of one host share its way
//!    in and out, and contents that an agent has are not sent there twice. The first judge takes links at their rate;
//!    the second lets every pair of hosts shake hands and start slowly, as QUIC does (RFC 9002: a window of ten
//!    datagrams that doubles each round trip). Which of them the network will prove right is not known, so the plan with
//!    the smallest product of both makespans wins: it may lose a little under each, and much under none.
//! 3. **Improvement**, on demand. Tasks on the plan's critical path move to other slots, or before the task that holds
//!    them up, as long as that lowers the product by a sixteenth and until a fixed budget of timings is spent. It is off
//!    by default: on graphs in which many transfers meet (map-reduce) it finds plans that only the judges like.
//!
//! Where transfers never contend (the literature's model) there is one judge, who then agrees with the planners.
//! Ties: the plan that comes first in the portfolio; the lowest slot. Work for one plan is bounded by a budget that
//! falls with the size of the graph; it is never quadratic in tasks.

use isochrone_model::Span;
use isochrone_sched_core::Policy;

use crate::planning::{
    Assignment, Edge, Planned, PlannedOptions, Planner, Problem, Schedule, topological_order,
};
use crate::{Label, LabelError, PolicyInfo};

pub(crate) const INFO: PolicyInfo = PolicyInfo {
    name: "foresight",
    summary: "static: plans with a dozen planners, judges with shared and slow-starting links, takes the best",
    parameters: &[
        ("effort", "0", "percent of the usual work for improving the best plan; 0 leaves it as it is"),
        PlannedOptions::PARAMETERS[0],
        PlannedOptions::PARAMETERS[1],
    ],
    make,
};

fn make(label: &Label) -> Result<Box<dyn Policy>, LabelError> {
    let effort = label.get("effort", 0, "a whole number of percent")?;
    let options = PlannedOptions::of(label)?;
    let text = format!("{}(effort={effort},{})", INFO.name, options.text());
    let reason = "planned: on the shortest of many plans";
    Ok(Box::new(Planned::new(text, reason, Foresight::new(effort), options)))
}

/// The planner.
#[derive(Clone, Copy, Debug)]
pub struct Foresight {
    effort: u64,
}

impl Foresight {
    /// Spends `effort` percent of the usual work on improving the best plan.
    #[must_use]
    pub fn new(effort: u64) -> Self {
        Self { effort }
    }
}

/// Executions (tasks times slots) up to which all planners are asked.
const WHOLE_PORTFOLIO_MAX: usize = 400_000;
/// Tasks and edges looked at while improving, for an effort of 100.
const IMPROVING_WORK: u64 = 6_000_000;
/// A change must lower the product by more than one part in so many: less is within what the judges leave out.
const MARGIN: u128 = 16;

impl Planner for Foresight {
    fn plan(&self, problem: &Problem) -> Schedule {
        let mut best: Option<(u128, Replay)> = None;
        let mut consider = |schedule: Schedule| {
            let mut replay = Replay::of(problem, &schedule);
            let score = replay.judge(problem);
            if best.as_ref().is_none_or(|(lowest, _)| score < *lowest) {
                best = Some((score, replay));
            }
        };
        for planner in portfolio(problem) {
            consider(planner.plan(problem));
        }
        for slots in fewer_agents(problem) {
            if let Some(restricted) = problem.restricted(&slots) {
                consider(crate::Heft.plan(&restricted));
            }
        }
        let Some((score, mut replay)) = best else {
            return Schedule::new(problem.tasks());
        };
        self.improve(problem, &mut replay, score);
        replay.schedule(problem)
    }
}

fn portfolio(problem: &Problem) -> Vec<Box<dyn Planner>> {
    let size = problem.tasks() * problem.slots();
    let mut planners: Vec<Box<dyn Planner>> = vec![Box::new(crate::Heft), Box::new(crate::Peft)];
    if size <= WHOLE_PORTFOLIO_MAX {
        planners.push(Box::new(crate::Cpop));
        planners.push(Box::new(crate::Dls));
        planners.push(Box::new(crate::Etf));
        planners.push(Box::new(crate::Bil));
        planners.push(Box::new(crate::Flb));
        planners.push(Box::new(crate::Hbmct));
        planners.push(Box::new(crate::MinMin));
        planners.push(Box::new(crate::MaxMin));
        planners.push(Box::new(crate::Sufferage));
        planners.push(Box::new(crate::FastestDevice));
    }
    if size <= WHOLE_PORTFOLIO_MAX / 16 {
        planners.push(Box::new(crate::Lookahead));
    }
    planners
}

/// The slots of the one, two, four, ... agents that together run the graph fastest.
fn fewer_agents(problem: &Problem) -> Vec<Vec<bool>> {
    if problem.tasks() * problem.slots() > WHOLE_PORTFOLIO_MAX {
        return Vec::new();
    }
    let mut rates = vec![0_u128; problem.agents()];
    for slot in 0..problem.slots() {
        let legal = (0..problem.tasks()).map(|task| problem.execution(task, slot));
        let (sum, count) = legal
            .filter(|execution| *execution != Problem::ILLEGAL)
            .fold((0_u128, 0_u128), |(sum, count), execution| (sum + u128::from(execution.0), count + 1));
        // Tasks a second: a slot that may run few tasks counts for little.
        rates[problem.agent_of(slot)] += count * count * 1_000_000_000 / sum.max(1);
    }
    let mut agents: Vec<usize> = (0..problem.agents()).collect();
    agents.sort_by_key(|agent| (std::cmp::Reverse(rates[*agent]), *agent));
    let mut sets = Vec::new();
    let mut count = 1;
    while count < agents.len() {
        let chosen = &agents[..count];
        sets.push((0..problem.slots()).map(|slot| chosen.contains(&problem.agent_of(slot))).collect());
        count *= 2;
    }
    sets
}

/// A plan as an order of tasks and a slot for each, timed with shared ways in and out of hosts.
#[derive(Clone, Debug)]
struct Replay {
    /// Tasks in the order in which their slots take them.
    order: Vec<usize>,
    slot_of: Vec<usize>,
    timed: Timed,
    scratch: Scratch,
}

/// What a timing found, by task.
#[derive(Clone, Debug, Default)]
struct Timed {
    start: Vec<Span>,
    finish: Vec<Span>,
    /// What its start waited for: the task before it on its slot or one that it reads from.
    held_by: Vec<Option<usize>>,
}

/// What one timing needs; kept from one to the next.
#[derive(Clone, Debug, Default)]
struct Scratch {
    slot_free: Vec<Span>,
    last_on_slot: Vec<Option<usize>>,
    up_free: Vec<Span>,
    down_free: Vec<Span>,
    /// By shared contents, then by agent: when they are there; zero where they have not been sent.
    there: Vec<Span>,
    sent: Vec<usize>,
    /// By sender, then by receiver: bytes that one may have under way to the other; 0 before they have shaken hands,
    /// and none at all when links start at their rate.
    windows: Vec<u64>,
}

const NOWHERE: usize = usize::MAX;

impl Replay {
    fn of(problem: &Problem, schedule: &Schedule) -> Self {
        let mut order: Vec<(Span, usize, usize)> = topological_order(problem)
            .into_iter()
            .enumerate()
            .filter_map(|(place, task)| Some((schedule.assignments[task].as_ref()?.start, place, task)))
            .collect();
        order.sort_unstable();
        let tasks = problem.tasks();
        let slot = |task: usize| schedule.assignments[task].map_or(NOWHERE, |assignment| assignment.slot);
        Self {
            order: order.into_iter().map(|(_, _, task)| task).collect(),
            slot_of: (0..tasks).map(slot).collect(),
            timed: Timed {
                start: vec![Span::ZERO; tasks],
                finish: vec![Span::ZERO; tasks],
                held_by: vec![None; tasks],
            },
            scratch: Scratch::default(),
        }
    }

    /// The product of the makespans that the two judges find; the first one's times stay.
    fn judge(&mut self, problem: &Problem) -> u128 {
        if !problem.is_contended() {
            return u128::from(self.time(problem, false).0);
        }
        let slow = self.time(problem, true);
        let plain = self.time(problem, false);
        u128::from(slow.0.max(1)) * u128::from(plain.0.max(1))
    }

    /// Times the plan and gives its makespan.
    fn time(&mut self, problem: &Problem, do_start_slowly: bool) -> Span {
        let agents = problem.agents();
        let scratch = &mut self.scratch;
        scratch.slot_free.clear();
        scratch.slot_free.extend((0..problem.slots()).map(|slot| problem.slot_free(slot)));
        scratch.last_on_slot.clear();
        scratch.last_on_slot.resize(problem.slots(), None);
        scratch.up_free.clear();
        scratch.up_free.resize(agents, Span::ZERO);
        scratch.down_free.clear();
        scratch.down_free.resize(agents, Span::ZERO);
        scratch.windows.clear();
        scratch.windows.resize(if do_start_slowly { agents * agents } else { 0 }, 0);
        scratch.there.resize(problem.shared_contents() * agents, Span::ZERO);
        for place in scratch.sent.drain(..) {
            scratch.there[place] = Span::ZERO;
        }
        let mut makespan = Span::ZERO;
        for task in &self.order {
            let (task, slot) = (*task, self.slot_of[*task]);
            let agent = problem.agent_of(slot);
            let (mut ready, mut held_by) = (problem.outside_ready(task, slot), None);
            for edge in problem.predecessors(task) {
                let from = problem.agent_of(self.slot_of[edge.task]);
                let finish = self.timed.finish[edge.task];
                let arrival = scratch.arrival(problem, edge, finish, from, agent);
                if arrival > ready {
                    (ready, held_by) = (arrival, Some(edge.task));
                }
            }
            if scratch.slot_free[slot] > ready {
                (ready, held_by) = (scratch.slot_free[slot], scratch.last_on_slot[slot]);
            }
            let finish = ready + problem.execution(task, slot);
            self.timed.start[task] = ready;
            self.timed.finish[task] = finish;
            self.timed.held_by[task] = held_by;
            scratch.slot_free[slot] = finish;
            scratch.last_on_slot[slot] = Some(task);
            makespan = makespan.max(finish);
        }
        makespan
    }

    /// The tasks that hold up the end, last first.
    fn critical(&self) -> Vec<usize> {
        let finish = &self.timed.finish;
        let last = self.order.iter().copied().max_by_key(|task| (finish[*task], std::cmp::Reverse(*task)));
        std::iter::successors(last, |task| self.timed.held_by[*task]).collect()
    }

    fn schedule(&self, problem: &Problem) -> Schedule {
        let mut schedule = Schedule::new(problem.tasks());
        for task in &self.order {
            let (slot, start, finish) =
                (self.slot_of[*task], self.timed.start[*task], self.timed.finish[*task]);
            schedule.assignments[*task] = Some(Assignment { slot, start, finish });
        }
        schedule
    }
}

impl Scratch {
    fn arrival(&mut self, problem: &Problem, edge: &Edge, finish: Span, from: usize, to: usize) -> Span {
        if from == to {
            return finish;
        }
        let whole = problem.transfer_between_agents(edge.size_bytes, from, to);
        if edge.size_bytes == 0 || !problem.is_contended() {
            return finish + whole;
        }
        let place = edge.shared.map(|contents| contents as usize * problem.agents() + to);
        if let Some(place) = place
            && self.there[place] > Span::ZERO
        {
            return self.there[place];
        }
        let carrying = whole.saturating_sub(problem.latency_between_agents(from, to));
        let latency = problem.latency_between_agents(from, to);
        let waiting = self.slow_start(from * problem.agents() + to, edge.size_bytes, carrying, latency);
        let whole = whole + waiting;
        let begin = finish.max(self.up_free[from]).max(self.down_free[to]);
        self.up_free[from] = begin + carrying;
        self.down_free[to] = begin + carrying;
        if let Some(place) = place {
            self.there[place] = begin + whole;
            self.sent.push(place);
        }
        begin + whole
    }
}

/// The window of a new connection: ten datagrams (RFC 9002, section 7.2).
const INITIAL_WINDOW_BYTES: u64 = 14_720;

impl Scratch {
    /// What a transfer waits for handshake and acknowledgements beyond the time that its bytes take, and opens the
    /// pair's window.
    fn slow_start(&mut self, pair: usize, size_bytes: u64, carrying: Span, latency: Span) -> Span {
        let Some(window) = self.windows.get_mut(pair) else { return Span::ZERO };
        let round_trip = latency.saturating_mul(2);
        let mut waiting = Span::ZERO;
        if *window == 0 {
            *window = INITIAL_WINDOW_BYTES;
            waiting += round_trip;
        }
        let mut left = size_bytes;
        // A window that covers a round trip at the link's rate never waits again.
        let round_trip_bytes =
            u128::from(size_bytes) * u128::from(round_trip.0) / u128::from(carrying.0.max(1));
        while left > *window && u128::from(*window) < round_trip_bytes {
            left -= *window;
            *window = window.saturating_mul(2);
            waiting += round_trip;
        }
        waiting
    }
}

impl Foresight {
    /// Moves critical tasks while that shortens the plan and the budget lasts.
    fn improve(&self, problem: &Problem, replay: &mut Replay, score: u128) {
        let edges: usize = (0..problem.tasks()).map(|task| problem.predecessors(task).len()).sum();
        let each = (problem.tasks() + edges + problem.slots()).max(1) as u64;
        let mut left = IMPROVING_WORK / 100 * self.effort / each;
        let mut lowest = score;
        let mut tried = std::collections::BTreeSet::new();
        let mut timed = Timed::default();
        'improving: loop {
            for task in replay.critical() {
                for change in changes(problem, replay, task) {
                    if !tried.insert((task, change)) {
                        continue;
                    }
                    if left == 0 {
                        break 'improving;
                    }
                    left -= 1;
                    timed.clone_from(&replay.timed);
                    let Some(undo) = replay.apply(problem, task, change) else { continue };
                    let score = replay.judge(problem);
                    if score < lowest - lowest / MARGIN {
                        lowest = score;
                        tried.clear();
                        continue 'improving;
                    }
                    replay.undo(task, undo);
                    std::mem::swap(&mut replay.timed, &mut timed);
                }
            }
            break;
        }
    }
}

/// A way to change the plan at one task.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Move {
    /// To another slot, at the same place in the order.
    ToSlot(usize),
    /// Before the task that is before it on its slot.
    Before(usize),
}

fn changes(problem: &Problem, replay: &Replay, task: usize) -> Vec<Move> {
    let here = replay.slot_of[task];
    let mut slots: Vec<usize> = problem.legal_slots(task).filter(|slot| *slot != here).collect();
    slots.sort_by_key(|slot| (problem.execution(task, *slot), *slot));
    let mut changes: Vec<Move> = Vec::new();
    if let Some(first) = replay.timed.held_by[task]
        && replay.slot_of[first] == here
        && !problem.predecessors(task).iter().any(|edge| edge.task == first)
    {
        changes.push(Move::Before(first));
    }
    // The fastest, and all where its predecessors are.
    let near = |slot: usize| problem.predecessors(task).iter().any(|edge| replay.slot_of[edge.task] == slot);
    changes.extend(
        slots
            .iter()
            .enumerate()
            .filter(|(place, slot)| *place < 6 || near(**slot))
            .map(|(_, slot)| Move::ToSlot(*slot)),
    );
    changes
}

/// How to take a change back.
#[derive(Clone, Copy, Debug)]
enum Undo {
    Slot(usize),
    Order { to: usize, from: usize },
}

impl Replay {
    /// Makes a change; `None` when it would put the task before one that it waits for.
    fn apply(&mut self, problem: &Problem, task: usize, change: Move) -> Option<Undo> {
        match change {
            Move::ToSlot(slot) => Some(Undo::Slot(std::mem::replace(&mut self.slot_of[task], slot))),
            Move::Before(first) => {
                let to = self.order.iter().position(|other| *other == first)?;
                let from = to + self.order[to..].iter().position(|other| *other == task)?;
                let before = &self.order[to..from];
                if problem.predecessors(task).iter().any(|edge| before.contains(&edge.task)) {
                    return None;
                }
                self.order[to..=from].rotate_right(1);
                Some(Undo::Order { to, from })
            }
        }
    }

    fn undo(&mut self, task: usize, undo: Undo) {
        match undo {
            Undo::Slot(slot) => self.slot_of[task] = slot,
            Undo::Order { to, from } => self.order[to..=from].rotate_left(1),
        }
    }
}

#[cfg(test)]
mod tests {
    use isochrone_model::BytesPerSecond;

    use super::*;
    use crate::planning::ProblemBuilder;

    /// A chain of two long tasks, and two slots joined by a link so slow that only one slot pays.
    fn chain(is_contended: bool) -> Problem {
        let mut builder = ProblemBuilder::new(&[(0, 0), (1, 1)]);
        for (from, to) in [(0, 1), (1, 0)] {
            builder.link(from, to, Span(1_000), BytesPerSecond(1_000_000_000), Span(1_000));
        }
        builder.contended(is_contended);
        for _ in 0..2 {
            builder.task(&[Span(100), Span(90)]);
        }
        builder.edge(0, 1, 50);
        builder.build()
    }

    #[test]
    fn plans_are_whole_and_never_worse_than_hefts() {
        for is_contended in [false, true] {
            let problem = chain(is_contended);
            let schedule = Foresight { effort: 100 }.plan(&problem);
            assert_eq!(schedule.check(&problem), Ok(()));
            assert_eq!(schedule.makespan(), Span(180), "both on the faster slot");
        }
    }

    #[test]
    fn the_way_out_of_a_host_is_shared() {
        // One task feeds two others, which run at once only if one of them moves, and then its bytes take long.
        let mut builder = ProblemBuilder::new(&[(0, 0), (1, 1), (2, 2)]);
        for from in 0..3 {
            for to in (0..3).filter(|to| *to != from) {
                builder.link(from, to, Span(0), BytesPerSecond(1_000_000_000), Span(0));
            }
        }
        builder.contended(true);
        builder.task(&[Span(10); 3]);
        for _ in 0..3 {
            builder.task(&[Span(100); 3]);
        }
        for task in 1..4 {
            builder.edge(0, task, 80);
        }
        let problem = builder.build();
        let mut schedule = Schedule::new(4);
        let at = |slot, start, finish| Some(Assignment { slot, start: Span(start), finish: Span(finish) });
        schedule.assignments = vec![at(0, 0, 10), at(0, 10, 110), at(1, 90, 190), at(2, 90, 190)];
        assert_eq!(schedule.check(&problem), Ok(()), "without sharing both transfers end at 90");
        assert_eq!(
            Replay::of(&problem, &schedule).time(&problem, false),
            Span(270),
            "with sharing the second ends at 170"
        );
    }
}
