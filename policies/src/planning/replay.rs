//! A plan timed again with what most planners leave out: the way in and out of a host is shared, contents that an agent has are not
//! sent there twice, and, if asked, connections shake hands and start slowly, as QUIC's do.
//!
//! Transfers of one host follow each other in the order in which the plan takes the tasks that read them. That stands for a fair share of
//! the host's link, and errs where many meet.

use isochrone_model::Span;

use super::problem::{Edge, Problem};
use super::ranks::topological_order;
use super::schedule::{Assignment, Schedule};

/// How connections are taken to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Connections {
    /// There, and at their link's rate from the first byte on.
    Ready,
    /// New ones shake hands, and each direction starts with a small window that grows each round trip.
    SlowStart,
}

/// Round trips before the first byte on a new connection: QUIC's own, one for the exchange of preambles, and one for the second connection,
/// on which contents go (`transport/src/bulk_link.rs`).
const HANDSHAKE_ROUND_TRIPS: u64 = 3;
/// The window of a new connection: 48 datagrams of 1,200 bytes (`transport/src/short_queue.rs`).
const INITIAL_WINDOW_BYTES: u64 = 57_600;
/// What slow start makes of a window in a round trip, in quarters. Acknowledgements of paced datagrams come back spread out, so that it is less
/// than twice as much: 1.73 where timers tick each millisecond (`sim/src/network/sender.rs`).
const GROWTH_QUARTERS: u64 = 7;
/// A sender spreads a window over four fifths of a round trip (quinn's pacer: 1.25 windows a round trip).
const PACED_FIFTHS: u64 = 4;

/// What a transfer between two agents takes on a new connection beyond its time at the link's rate.
pub(crate) fn connection_cost(problem: &Problem, from: usize, to: usize, size_bytes: u64) -> Span {
    let latency = problem.latency_between_agents(from, to);
    let carrying = problem.transfer_between_agents(size_bytes, from, to).saturating_sub(latency);
    let back = problem.latency_between_agents(to, from);
    let mut path = Path { window: INITIAL_WINDOW_BYTES, free: Span::ZERO };
    (latency + back).saturating_mul(HANDSHAKE_ROUND_TRIPS)
        + path.slow_start(size_bytes, carrying, latency.saturating_mul(2))
}

/// A plan as an order of tasks and a slot for each.
#[derive(Clone, Debug)]
pub(crate) struct Replay {
    /// Tasks in the order in which their slots take them.
    order: Vec<usize>,
    slot_of: Vec<usize>,
    start: Vec<Span>,
    finish: Vec<Span>,
    scratch: Scratch,
}

/// What one timing needs; kept from one to the next.
#[derive(Clone, Debug, Default)]
struct Scratch {
    slot_free: Vec<Span>,
    /// By agent; the last is the client.
    up_free: Vec<Span>,
    down_free: Vec<Span>,
    /// By contents, then by agent: when they are there; zero where they have not been sent.
    there: Vec<Span>,
    sent: Vec<usize>,
    /// By sender, the last being the client, then by receiver; none when links start at their rate.
    paths: Vec<Path>,
}

/// Contents on their way.
#[derive(Clone, Copy, Debug)]
struct Sending {
    size_bytes: u64,
    from: usize,
    to: usize,
    latency: Span,
    carrying: Span,
}

/// One direction of a connection.
#[derive(Clone, Copy, Debug, Default)]
struct Path {
    /// Bytes that may be under way; 0 before there is a connection.
    window: u64,
    /// When it has sent what it was given.
    free: Span,
}

impl Replay {
    /// Of a schedule.
    pub fn of(problem: &Problem, schedule: &Schedule) -> Self {
        let mut order: Vec<(Span, usize, usize)> = topological_order(problem)
            .into_iter()
            .enumerate()
            .filter_map(|(place, task)| Some((schedule.assignments[task].as_ref()?.start, place, task)))
            .collect();
        order.sort_unstable();
        let slot = |task: usize| schedule.assignments[task].map_or(0, |assignment| assignment.slot);
        let slot_of = (0..problem.tasks()).map(slot).collect();
        Self::new(problem, order.into_iter().map(|(_, _, task)| task).collect(), slot_of)
    }

    /// Of the plan that the problem's tasks had before, if all of them had one that is still legal.
    pub fn earlier(problem: &Problem) -> Option<Self> {
        let mut order: Vec<(u32, usize)> = Vec::with_capacity(problem.tasks());
        let mut slot_of = Vec::with_capacity(problem.tasks());
        for task in 0..problem.tasks() {
            let (slot, place) = problem.earlier(task).filter(|(slot, _)| problem.is_legal(task, *slot))?;
            order.push((place, task));
            slot_of.push(slot);
        }
        order.sort_unstable();
        Some(Self::new(problem, order.into_iter().map(|(_, task)| task).collect(), slot_of))
    }

    fn new(problem: &Problem, order: Vec<usize>, slot_of: Vec<usize>) -> Self {
        let tasks = problem.tasks();
        Self {
            order,
            slot_of,
            start: vec![Span::ZERO; tasks],
            finish: vec![Span::ZERO; tasks],
            scratch: Scratch::default(),
        }
    }

    /// Tasks in the order in which slots take them.
    pub fn order(&self) -> &[usize] {
        &self.order
    }

    /// The slot of a task.
    pub fn slot_of(&self, task: usize) -> usize {
        self.slot_of[task]
    }

    /// Puts a task on another slot; its place in the order stays.
    pub fn put(&mut self, task: usize, slot: usize) {
        self.slot_of[task] = slot;
    }

    /// Times the plan and gives its makespan.
    pub fn time(&mut self, problem: &Problem, connections: Connections) -> Span {
        let scratch = &mut self.scratch;
        scratch.reset(problem, connections);
        let mut makespan = Span::ZERO;
        for task in self.order.iter().copied() {
            let slot = self.slot_of[task];
            let agent = problem.agent_of(slot);
            let mut ready = if problem.is_contended() {
                problem.told(task, agent).max(scratch.outside(problem, task, agent))
            } else {
                problem.outside_ready(task, slot)
            };
            for edge in problem.predecessors(task) {
                let from = problem.agent_of(self.slot_of[edge.task]);
                ready = ready.max(scratch.arrival(problem, edge, self.finish[edge.task], from, agent));
            }
            let start = ready.max(scratch.slot_free[slot]);
            let finish = start + problem.execution(task, slot);
            self.start[task] = start;
            self.finish[task] = finish;
            scratch.slot_free[slot] = finish;
            makespan = makespan.max(finish);
        }
        makespan
    }

    /// The plan as last timed.
    pub fn schedule(&self, problem: &Problem) -> Schedule {
        let mut schedule = Schedule::new(problem.tasks());
        for task in self.order.iter().copied() {
            let (slot, start, finish) = (self.slot_of[task], self.start[task], self.finish[task]);
            schedule.assignments[task] = Some(Assignment { slot, start, finish });
        }
        schedule
    }
}

impl Scratch {
    fn reset(&mut self, problem: &Problem, connections: Connections) {
        let agents = problem.agents();
        self.slot_free.clear();
        self.slot_free.extend((0..problem.slots()).map(|slot| problem.slot_free(slot)));
        for free in [&mut self.up_free, &mut self.down_free] {
            free.clear();
            free.resize(agents + 1, Span::ZERO);
        }
        self.there.resize((problem.shared_contents() + problem.outside_contents()) * agents, Span::ZERO);
        for place in self.sent.drain(..) {
            self.there[place] = Span::ZERO;
        }
        self.paths.clear();
        if connections == Connections::SlowStart {
            let path = |from: usize, to: usize| {
                let sent = match from == agents {
                    true => problem.sent_by_client(to),
                    false => problem.sent_between(from, to),
                };
                let window = sent.map_or(0, |sent| INITIAL_WINDOW_BYTES.saturating_add(sent));
                Path { window, free: Span::ZERO }
            };
            self.paths.extend((0..(agents + 1) * agents).map(|index| path(index / agents, index % agents)));
        }
    }

    /// When what a task reads from outside of the problem is at an agent.
    fn outside(&mut self, problem: &Problem, task: usize, to: usize) -> Span {
        let mut ready = Span::ZERO;
        let mut inputs = problem.outside_inputs(task).peekable();
        while let Some(first) = inputs.next() {
            let (mut best, mut here) = (*first, (first.holder == to).then_some(first.ready));
            while let Some(next) = inputs.peek().filter(|next| next.contents == first.contents) {
                if next.holder == to {
                    here = Some(next.ready);
                } else if (next.ready, next.holder) < (best.ready, best.holder) {
                    best = **next;
                }
                inputs.next();
            }
            let place = (problem.shared_contents() + first.contents as usize) * problem.agents() + to;
            let arrival = match here {
                Some(there) => there,
                None if best.holder == problem.agents() => {
                    self.sent_by_client(problem, best.size_bytes, place, to)
                }
                None => self.transfer(problem, best.size_bytes, Some(place), best.ready, best.holder, to),
            };
            ready = ready.max(arrival);
        }
        ready
    }

    fn sent_by_client(&mut self, problem: &Problem, size_bytes: u64, place: usize, to: usize) -> Span {
        let (latency, carrying) = problem.from_client(size_bytes, to);
        let sending = Sending { size_bytes, from: problem.agents(), to, latency, carrying };
        self.send(problem, sending, Some(place), Span::ZERO)
    }

    fn arrival(&mut self, problem: &Problem, edge: &Edge, finish: Span, from: usize, to: usize) -> Span {
        if from == to {
            return finish;
        }
        if !problem.is_contended() {
            return finish + problem.transfer_between_agents(edge.size_bytes, from, to);
        }
        if edge.size_bytes == 0 {
            let waiting = self.shake_hands(problem, from, to);
            return finish + waiting + problem.transfer_between_agents(0, from, to);
        }
        let place = edge.shared.map(|contents| contents as usize * problem.agents() + to);
        self.transfer(problem, edge.size_bytes, place, finish, from, to)
    }

    fn transfer(
        &mut self,
        problem: &Problem,
        size_bytes: u64,
        place: Option<usize>,
        ready: Span,
        from: usize,
        to: usize,
    ) -> Span {
        let latency = problem.latency_between_agents(from, to);
        let carrying = problem.transfer_between_agents(size_bytes, from, to).saturating_sub(latency);
        self.send(problem, Sending { size_bytes, from, to, latency, carrying }, place, ready)
    }

    /// When contents are there that can be sent from `ready` on; those that have been sent to their place are not sent again.
    fn send(&mut self, problem: &Problem, sending: Sending, place: Option<usize>, ready: Span) -> Span {
        let Sending { size_bytes, from, to, latency, carrying } = sending;
        if let Some(place) = place
            && self.there[place] > Span::ZERO
        {
            return self.there[place];
        }
        let mut begin = ready.max(self.up_free[from]).max(self.down_free[to]);
        let mut waiting = Span::ZERO;
        if !self.paths.is_empty() {
            begin = begin.max(self.paths[from * problem.agents() + to].free);
            waiting = self.shake_hands(problem, from, to);
            let path = &mut self.paths[from * problem.agents() + to];
            waiting += path.slow_start(size_bytes, carrying, latency.saturating_mul(2));
            path.free = begin + waiting + carrying;
        }
        self.up_free[from] = begin + carrying;
        self.down_free[to] = begin + carrying;
        let there = begin + waiting + carrying + latency;
        if let Some(place) = place {
            self.there[place] = there;
            self.sent.push(place);
        }
        there
    }

    /// What a first word or byte between two agents, or from the client, waits for a connection, which both directions then have.
    fn shake_hands(&mut self, problem: &Problem, from: usize, to: usize) -> Span {
        let agents = problem.agents();
        if self.paths.is_empty() || self.paths[from * agents + to].window > 0 {
            return Span::ZERO;
        }
        self.paths[from * agents + to].window = INITIAL_WINDOW_BYTES;
        if from == agents {
            return problem.from_client(0, to).0.saturating_mul(2 * HANDSHAKE_ROUND_TRIPS);
        }
        let back = &mut self.paths[to * agents + from].window;
        *back = (*back).max(INITIAL_WINDOW_BYTES);
        let there = problem.latency_between_agents(from, to);
        (there + problem.latency_between_agents(to, from)).saturating_mul(HANDSHAKE_ROUND_TRIPS)
    }
}

impl Path {
    /// What a transfer waits for acknowledgements beyond the time that its bytes take; opens the window.
    fn slow_start(&mut self, size_bytes: u64, carrying: Span, round_trip: Span) -> Span {
        // A window that covers a round trip at the link's rate never waits again.
        let enough = u128::from(size_bytes) * u128::from(round_trip.0) / u128::from(carrying.0.max(1));
        let mut waiting = Span::ZERO;
        let mut left = size_bytes;
        while left > self.window && u128::from(self.window) < enough {
            left -= self.window;
            self.window = self.window.saturating_mul(GROWTH_QUARTERS) / 4;
            waiting += round_trip;
        }
        if u128::from(self.window) < enough {
            // The last window's bytes are spread over a part of a round trip.
            let spread = u128::from(round_trip.0) * u128::from(left) * u128::from(PACED_FIFTHS)
                / (5 * u128::from(self.window.max(1)));
            waiting += Span(u64::try_from(spread).unwrap_or(u64::MAX)).saturating_sub(carrying);
            self.window = self.window.saturating_add(left);
        }
        waiting
    }
}

#[cfg(test)]
mod tests {
    use isochrone_model::BytesPerSecond;

    use super::super::problem::{OutsideInput, ProblemBuilder};
    use super::*;

    fn at(slot: usize, start: u64, finish: u64) -> Option<Assignment> {
        Some(Assignment { slot, start: Span(start), finish: Span(finish) })
    }

    fn hosts(count: usize, latency: u64) -> ProblemBuilder {
        let slots: Vec<(usize, usize)> = (0..count).map(|host| (host, host)).collect();
        let mut builder = ProblemBuilder::new(&slots);
        for from in 0..count {
            for to in (0..count).filter(|to| *to != from) {
                builder.link(from, to, Span(latency), BytesPerSecond(1_000_000_000), Span(latency));
            }
        }
        builder.contended(true);
        builder
    }

    #[test]
    fn the_way_out_of_a_host_is_shared() {
        // One task feeds two others, which run at once only if one of them moves, and then its bytes take long.
        let mut builder = hosts(3, 0);
        builder.task(&[Span(10); 3]);
        for _ in 0..3 {
            builder.task(&[Span(100); 3]);
        }
        for task in 1..4 {
            builder.edge(0, task, 80);
        }
        let problem = builder.build();
        let mut schedule = Schedule::new(4);
        schedule.assignments = vec![at(0, 0, 10), at(0, 10, 110), at(1, 90, 190), at(2, 90, 190)];
        assert_eq!(schedule.check(&problem), Ok(()), "without sharing both transfers end at 90");
        let makespan = Replay::of(&problem, &schedule).time(&problem, Connections::Ready);
        assert_eq!(makespan, Span(270), "with sharing the second ends at 170");
    }

    #[test]
    fn a_new_connection_shakes_hands_and_waits_for_its_window() {
        let plan = |sent: Option<u64>| {
            let mut builder = hosts(2, 1_000_000);
            builder.task(&[Span(0), Problem::ILLEGAL]);
            builder.task(&[Problem::ILLEGAL, Span(0)]);
            builder.edge(0, 1, 158_400);
            if let Some(sent) = sent {
                builder.sent_between(0, 1, sent);
            }
            let problem = builder.build();
            let mut schedule = Schedule::new(2);
            schedule.assignments = vec![at(0, 0, 0), at(1, 0, 0)];
            Replay::of(&problem, &schedule).time(&problem, Connections::SlowStart)
        };
        // Three round trips of 2 ms, one more for the second window of 100,800, four fifths of one to send that, and the way there.
        assert_eq!(plan(None), Span(6_000_000 + 2_000_000 + 1_600_000 + 1_000_000));
        assert_eq!(plan(Some(100_800)), Span(1_600_000 + 1_000_000), "the window holds all of it");
        assert_eq!(
            plan(Some(1 << 30)),
            Span(158_400 + 1_000_000),
            "the window holds a round trip at the link's rate"
        );
    }

    #[test]
    fn the_client_shakes_hands_and_starts_slowly_too() {
        let plan = |sent: Option<u64>, connections| {
            let mut builder = hosts(2, 7_000_000);
            builder.task(&[Span(0); 2]);
            builder.outside_input(
                0,
                OutsideInput { contents: 0, size_bytes: 158_400, holder: 2, ready: Span::ZERO },
            );
            builder.task_told(&[Span::ZERO; 2]);
            for _ in 0..2 {
                builder.client_link(Span(1_000_000), BytesPerSecond(1_000_000_000));
            }
            if let Some(sent) = sent {
                builder.sent_by_client(1, sent);
            }
            let problem = builder.build();
            let mut schedule = Schedule::new(1);
            schedule.assignments = vec![at(1, 0, 0)];
            Replay::of(&problem, &schedule).time(&problem, connections)
        };
        let new = plan(None, Connections::SlowStart);
        assert_eq!(new, Span(6_000_000 + 2_000_000 + 1_600_000 + 1_000_000), "as between agents");
        assert_eq!(plan(Some(1 << 30), Connections::SlowStart), Span(158_400 + 1_000_000));
        assert_eq!(plan(None, Connections::Ready), Span(158_400 + 1_000_000));
    }

    #[test]
    fn what_lies_outside_moves_over_shared_links_and_only_once() {
        let mut builder = hosts(3, 0);
        for _ in 0..3 {
            builder.task(&[Problem::ILLEGAL, Span(1), Span(1)]);
        }
        let input = |contents| OutsideInput { contents, size_bytes: 100, holder: 0, ready: Span(5) };
        builder.outside_input(0, input(7));
        builder.outside_input(1, input(9));
        builder.outside_input(2, input(9));
        for _ in 0..3 {
            builder.task_told(&[Span::ZERO; 3]);
        }
        let problem = builder.build();
        let mut schedule = Schedule::new(3);
        schedule.assignments = vec![at(1, 0, 1), at(1, 1, 2), at(1, 2, 3)];
        let makespan = Replay::of(&problem, &schedule).time(&problem, Connections::Ready);
        assert_eq!(
            makespan,
            Span(5 + 100 + 100 + 2),
            "two contents, one after the other, and two tasks behind"
        );
    }
}
