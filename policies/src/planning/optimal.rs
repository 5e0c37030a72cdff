//! Branch and bound: the shortest schedule, and the proof that there is none shorter.
//!
//! **What is branched on.** A ready task and a slot, appended at the end of the slot's plan. Every schedule can be
//! shifted to the left until each task starts when its inputs are there or the one before it on its slot ends, and
//! such a schedule comes of appending its tasks in order of start. So only steps whose start is not before the last
//! step's are taken, of steps with equal starts only those in order of index (unless the second became ready by the
//! first, or follows it on its slot), and nothing that could be shortest is left out.
//!
//! **What is cut off.** A step that cannot lead below the best schedule known, which at first is the best of several
//! heuristics: by a longest path that knows what is assigned, and by the room that is left on the slots for the work
//! that is left (see `bounds::area`). Of slots that are alike in agent, execution times and end only the first is
//! tried. A state that was seen before, to the last time, is not entered again.
//!
//! **When it stops.** After a number of nodes, never by the clock: the same problem and limits give the same
//! outcome on every machine. [`OptimalSearch`] goes on from where it stopped, so that who reads the clock can end it.

use std::collections::HashSet;

use isochrone_model::Span;

use super::Planner;
use super::batch::Batch;
use super::bounds::{area_weights, lower_bound, shortest};
use super::partial::Partial;
use super::problem::Problem;
use super::ranks::topological_order;
use super::schedule::{Assignment, Schedule};

/// When the search stops without proof.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OptimalLimits {
    /// Steps that are looked into. A node costs time in proportion to edges, and to agents and slots squared.
    pub nodes: u64,
    /// A problem of more tasks is not searched; the best heuristic's schedule is the outcome.
    pub tasks: usize,
}

impl Default for OptimalLimits {
    fn default() -> Self {
        Self { nodes: 1_000_000, tasks: 64 }
    }
}

/// What a search found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OptimalOutcome {
    /// The shortest schedule found.
    pub schedule: Schedule,
    /// Whether there is none shorter.
    pub proven: bool,
    /// No schedule is shorter than this; the makespan itself when proven.
    pub lower_bound: Span,
    /// Steps that were looked into.
    pub nodes: u64,
}

impl OptimalOutcome {
    /// How much longer than the lower bound the schedule is, in millionths of the lower bound.
    #[must_use]
    pub fn gap_millionths(&self) -> u64 {
        let (bound, makespan) = (u128::from(self.lower_bound.0), u128::from(self.schedule.makespan().0));
        let gap = makespan.saturating_sub(bound) * 1_000_000 / bound.max(1);
        u64::try_from(gap).unwrap_or(u64::MAX)
    }
}

/// Searches for the shortest schedule.
#[must_use]
pub fn optimal(problem: &Problem, limits: OptimalLimits) -> OptimalOutcome {
    let schedule = best_heuristic(problem, limits);
    let bound = lower_bound(problem);
    let is_known = schedule.makespan() <= bound;
    if is_known || problem.tasks() > limits.tasks {
        return OptimalOutcome {
            lower_bound: bound.min(schedule.makespan()),
            schedule,
            proven: is_known,
            nodes: 0,
        };
    }
    let mut search = OptimalSearch::from(problem, schedule, bound);
    let _ = search.advance(limits.nodes);
    search.outcome()
}

/// Of larger problems only fast heuristics are asked.
const MORE_HEURISTICS_TASKS: usize = 1_000;

fn best_heuristic(problem: &Problem, limits: OptimalLimits) -> Schedule {
    let few: [&dyn Planner; 3] = [&crate::Heft, &crate::Peft, &crate::Cpop];
    let more: [&dyn Planner; 6] = [
        &crate::Lookahead,
        &crate::Dls,
        &crate::Hbmct,
        &crate::MinMin { batch: Batch::UNBOUNDED },
        &crate::Sufferage { batch: Batch::UNBOUNDED },
        &crate::FastestDevice,
    ];
    let is_small = problem.tasks() <= limits.tasks.min(MORE_HEURISTICS_TASKS);
    let planners = few.into_iter().chain(more.into_iter().filter(|_| is_small));
    planners
        .map(|planner| planner.plan(problem))
        .min_by_key(Schedule::makespan)
        .unwrap_or_else(|| Schedule::new(problem.tasks()))
}

/// One step that may be taken: a ready task on a slot.
#[derive(Clone, Copy, Debug)]
struct Step {
    bound: Span,
    start: Span,
    finish: Span,
    task: usize,
    slot: usize,
}

/// The steps of one state that are still to be taken, in reverse.
#[derive(Debug)]
struct Level {
    steps: Vec<Step>,
    /// How many there were.
    count: usize,
    taken: Option<Undo>,
}

#[derive(Debug)]
struct Undo {
    step: Step,
    end_before: Span,
}

/// How far a search has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SearchState {
    /// There is more to look into.
    Open,
    /// The best schedule is proven to be the shortest.
    Over,
    /// What would have to be kept in memory to go on is too much (some 500 MB).
    Full,
}

/// A search that is done piece by piece: the pieces together do what one search does.
#[derive(Debug)]
pub struct OptimalSearch<'a> {
    problem: &'a Problem,
    order: Vec<usize>,
    /// By task and slot, the least time from its end there to the end of everything behind it.
    tails: Vec<Span>,
    /// By slot, the first slot that is like it.
    class_of: Vec<usize>,
    /// Weights for the area bound: equal ones, and those of the best bound at the start.
    weightings: [Weighting; 2],
    best: Schedule,
    best_makespan: Span,
    root_bound: Span,
    nodes: u64,
    levels: Vec<Level>,
    /// In all levels, taken ones included.
    steps_kept: usize,
    assigned: Vec<Option<Assignment>>,
    waiting: Vec<usize>,
    can_be_placed: Vec<bool>,
    ends: Vec<Span>,
    steps_taken: Vec<Step>,
    seen: HashSet<Box<[u64]>>,
    seen_words: usize,
    /// By task and agent, the earliest end there; scratch of `bound`.
    finishes: Vec<Span>,
}

#[derive(Debug)]
struct Weighting {
    weights: Vec<u64>,
    /// By task, the smallest weight times execution.
    work: Vec<u128>,
    left: u128,
}

/// States that are remembered at most, and words of 8 bytes that they may take.
const SEEN_MAX: usize = 1 << 18;
const SEEN_WORDS_MAX: usize = 1 << 25;
/// Steps of some 50 bytes that are kept at most.
const STEPS_MAX: usize = 1 << 22;

impl<'a> OptimalSearch<'a> {
    /// Before its first step: the best schedule is that of the best of several heuristics. A problem of any size is taken;
    /// the tables take bytes in proportion to tasks times slots.
    #[must_use]
    pub fn new(problem: &'a Problem) -> Self {
        let limits = OptimalLimits { nodes: 0, tasks: usize::MAX };
        Self::from(problem, best_heuristic(problem, limits), lower_bound(problem))
    }

    fn from(problem: &'a Problem, best: Schedule, root_bound: Span) -> Self {
        let partial = Partial::new(problem);
        let can_be_placed: Vec<bool> = (0..problem.tasks()).map(|task| partial.can_be_placed(task)).collect();
        let order: Vec<usize> =
            topological_order(problem).into_iter().filter(|task| can_be_placed[*task]).collect();
        let weighting = |weights: Vec<u64>| {
            let work: Vec<u128> = (0..problem.tasks())
                .map(|task| {
                    let legal = problem.legal_slots(task);
                    let products = legal
                        .map(|slot| u128::from(problem.execution(task, slot).0) * u128::from(weights[slot]));
                    products.min().filter(|_| can_be_placed[task]).unwrap_or(0)
                })
                .collect();
            Weighting { left: work.iter().sum(), weights, work }
        };
        let mut search = Self {
            tails: tails(problem, &order),
            class_of: like_slots(problem),
            weightings: [weighting(vec![1; problem.slots()]), weighting(area_weights(problem).1)],
            best_makespan: best.makespan(),
            best,
            root_bound,
            nodes: 0,
            levels: Vec::new(),
            steps_kept: 0,
            assigned: vec![None; problem.tasks()],
            waiting: (0..problem.tasks()).map(|task| problem.predecessors(task).len()).collect(),
            ends: (0..problem.slots()).map(|slot| problem.slot_free(slot)).collect(),
            steps_taken: Vec::new(),
            seen: HashSet::new(),
            seen_words: 0,
            finishes: vec![Span::ZERO; problem.tasks() * problem.agents()],
            can_be_placed,
            order,
            problem,
        };
        search.root_bound = search.root_bound.max(search.bound());
        let steps = search.steps();
        search.enter(steps);
        search
    }

    /// Looks into so many steps more.
    pub fn advance(&mut self, nodes: u64) -> SearchState {
        let until = self.nodes.saturating_add(nodes);
        while let Some(level) = self.levels.last_mut() {
            if let Some(undo) = level.taken.take() {
                self.take_back(&undo);
            }
            let Some(level) = self.levels.last_mut() else { break };
            let step = level.steps.last().copied();
            let Some(step) = step.filter(|_| self.best_makespan > self.root_bound) else {
                self.steps_kept -= level.count;
                self.levels.pop();
                continue;
            };
            if step.bound < self.best_makespan && self.steps_kept > STEPS_MAX {
                return SearchState::Full;
            }
            if step.bound < self.best_makespan && self.nodes >= until {
                return SearchState::Open;
            }
            level.steps.pop();
            if step.bound < self.best_makespan {
                self.look_into(step);
            }
        }
        SearchState::Over
    }

    fn look_into(&mut self, step: Step) {
        self.nodes += 1;
        let undo = self.take(step);
        if let Some(level) = self.levels.last_mut() {
            level.taken = Some(undo);
        }
        if self.steps_taken.len() == self.order.len() {
            let makespan = self.assigned.iter().flatten().map(|assignment| assignment.finish).max();
            if let Some(makespan) = makespan.filter(|makespan| *makespan < self.best_makespan) {
                self.best_makespan = makespan;
                self.best = Schedule { assignments: self.assigned.clone() };
            }
            return;
        }
        let bound = self.bound();
        if bound >= self.best_makespan || !self.is_new() {
            return;
        }
        let mut steps = self.steps();
        for step in &mut steps {
            step.bound = step.bound.max(bound);
        }
        self.enter(steps);
    }

    fn enter(&mut self, steps: Vec<Step>) {
        self.steps_kept += steps.len();
        self.levels.push(Level { count: steps.len(), steps, taken: None });
    }

    /// What was found so far.
    #[must_use]
    pub fn outcome(&self) -> OptimalOutcome {
        let open = self.levels.iter().flat_map(|level| &level.steps).map(|step| step.bound).min();
        let lower_bound = open.unwrap_or(self.best_makespan).max(self.root_bound).min(self.best_makespan);
        OptimalOutcome {
            proven: lower_bound == self.best_makespan,
            schedule: self.best.clone(),
            lower_bound,
            nodes: self.nodes,
        }
    }

    /// The steps from here, the most promising last.
    fn steps(&self) -> Vec<Step> {
        let last = self.steps_taken.last();
        let mut steps = Vec::new();
        for task in 0..self.problem.tasks() {
            if !self.can_be_placed[task] || self.waiting[task] > 0 || self.assigned[task].is_some() {
                continue;
            }
            let is_behind_last =
                |last: &Step| self.problem.predecessors(task).iter().any(|edge| edge.task == last.task);
            for slot in self.problem.legal_slots(task) {
                let ready = self.ready(task, slot);
                if self.has_like_before(slot, ready) {
                    continue;
                }
                let start = ready.max(self.ends[slot]);
                let is_in_order = last.is_none_or(|last| {
                    start > last.start
                        || (start == last.start
                            && (task > last.task || slot == last.slot || is_behind_last(last)))
                });
                let finish = start + self.problem.execution(task, slot);
                let bound = finish + self.tails[task * self.problem.slots() + slot];
                if is_in_order && bound < self.best_makespan {
                    steps.push(Step { bound, start, finish, task, slot });
                }
            }
        }
        steps.sort_unstable_by_key(|step| {
            std::cmp::Reverse((step.bound, step.start, step.finish, step.task, step.slot))
        });
        steps
    }

    /// Whether a lower slot is the same in all that can matter from here on, for a task that is ready then.
    fn has_like_before(&self, slot: usize, ready: Span) -> bool {
        let (class, end) = (self.class_of[slot], self.ends[slot]);
        (class..slot).any(|other| {
            let is_as_free = self.ends[other] == end || self.ends[other].max(end) < ready;
            self.class_of[other] == class && is_as_free
        })
    }

    fn ready(&self, task: usize, slot: usize) -> Span {
        let mut ready = self.problem.outside_ready(task, slot);
        for edge in self.problem.predecessors(task) {
            if let Some(first) = &self.assigned[edge.task] {
                let moving = self.problem.transfer(edge.size_bytes, first.slot, slot);
                ready = ready.max(first.finish + moving);
            }
        }
        ready
    }

    fn take(&mut self, step: Step) -> Undo {
        let end_before = self.ends[step.slot];
        self.ends[step.slot] = step.finish;
        self.assigned[step.task] =
            Some(Assignment { slot: step.slot, start: step.start, finish: step.finish });
        for edge in self.problem.successors(step.task) {
            self.waiting[edge.task] -= 1;
        }
        for weighting in &mut self.weightings {
            weighting.left -= weighting.work[step.task];
        }
        self.steps_taken.push(step);
        Undo { step, end_before }
    }

    fn take_back(&mut self, undo: &Undo) {
        let step = undo.step;
        self.ends[step.slot] = undo.end_before;
        self.assigned[step.task] = None;
        for edge in self.problem.successors(step.task) {
            self.waiting[edge.task] += 1;
        }
        for weighting in &mut self.weightings {
            weighting.left += weighting.work[step.task];
        }
        self.steps_taken.pop();
    }

    /// No schedule from here is shorter.
    fn bound(&mut self) -> Span {
        let from = self.steps_taken.last().map_or(Span::ZERO, |step| step.start);
        let ends: Vec<Span> = self.ends.iter().map(|end| (*end).max(from)).collect();
        let mut bound = self.steps_taken.iter().map(|step| step.finish).max().unwrap_or(Span::ZERO);
        for weighting in &self.weightings {
            bound = bound.max(shortest(&ends, &weighting.weights, weighting.left));
        }
        bound.max(self.longest_path(&ends))
    }

    /// The longest path through what is not assigned; what is not assigned may be anywhere, apart from others.
    fn longest_path(&mut self, ends: &[Span]) -> Span {
        let (problem, agents) = (self.problem, self.problem.agents());
        let mut longest = Span::ZERO;
        let mut arrivals = vec![Span::ZERO; agents];
        for task in self.order.iter().copied().filter(|task| self.assigned[*task].is_none()) {
            arrivals.fill(Span::ZERO);
            for edge in problem.predecessors(task) {
                if let Some(first) = &self.assigned[edge.task] {
                    let from = problem.agent_of(first.slot);
                    problem.raise_arrivals(&mut arrivals, edge.size_bytes, from, first.finish);
                    continue;
                }
                for (to, arrival) in arrivals.iter_mut().enumerate() {
                    let earliest = (0..agents)
                        .map(|from| {
                            self.finishes[edge.task * agents + from]
                                + problem.transfer_between_agents(edge.size_bytes, from, to)
                        })
                        .min();
                    *arrival = (*arrival).max(earliest.unwrap_or(Span::ZERO));
                }
            }
            let finishes = &mut self.finishes[task * agents..(task + 1) * agents];
            finishes.fill(Span(u64::MAX));
            let mut shortest = Span(u64::MAX);
            for slot in problem.legal_slots(task) {
                let agent = problem.agent_of(slot);
                let ready = arrivals[agent].max(problem.outside_ready(task, slot)).max(ends[slot]);
                let finish = ready + problem.execution(task, slot);
                finishes[agent] = finishes[agent].min(finish);
                shortest = shortest.min(finish + self.tails[task * problem.slots() + slot]);
            }
            longest = longest.max(shortest);
        }
        longest
    }

    /// Remembers the state; whether it was not seen before.
    fn is_new(&mut self) -> bool {
        if self.seen.len() >= SEEN_MAX || self.seen_words >= SEEN_WORDS_MAX {
            return true;
        }
        let last = self.steps_taken.last();
        let mut state: Vec<u64> = self.ends.iter().map(|end| end.0).collect();
        state.extend(last.iter().flat_map(|step| [step.task as u64, step.slot as u64, step.start.0]));
        for (task, assignment) in self.assigned.iter().enumerate() {
            let Some(assignment) = assignment else {
                state.push(0);
                continue;
            };
            let is_needed =
                self.problem.successors(task).iter().any(|edge| self.assigned[edge.task].is_none());
            state.push(1 + u64::from(is_needed));
            if is_needed {
                state.push(self.problem.agent_of(assignment.slot) as u64);
                state.push(assignment.finish.0);
            }
        }
        self.seen_words += state.len();
        self.seen.insert(state.into_boxed_slice())
    }
}

/// By task and slot, the least time from the task's end there to the end of all behind it, communication counted and
/// each successor's slot chosen freely.
fn tails(problem: &Problem, order: &[usize]) -> Vec<Span> {
    let slots = problem.slots();
    let mut tails = vec![Span::ZERO; problem.tasks() * slots];
    let is_placed: HashSet<usize> = order.iter().copied().collect();
    for task in order.iter().rev().copied() {
        for slot in problem.legal_slots(task) {
            let behind = problem.successors(task).iter().filter(|edge| is_placed.contains(&edge.task));
            let longest = behind
                .filter_map(|edge| {
                    let next = edge.task;
                    let there = problem.legal_slots(next).map(|other| {
                        problem.transfer(edge.size_bytes, slot, other)
                            + problem.execution(next, other)
                            + tails[next * slots + other]
                    });
                    there.min()
                })
                .max();
            tails[task * slots + slot] = longest.unwrap_or(Span::ZERO);
        }
    }
    tails
}

/// By slot, the first slot of the same agent with the same times.
pub(super) fn like_slots(problem: &Problem) -> Vec<usize> {
    let is_like = |first: usize, second: usize| {
        problem.agent_of(first) == problem.agent_of(second)
            && (0..problem.tasks())
                .all(|task| problem.execution(task, first) == problem.execution(task, second))
    };
    (0..problem.slots()).map(|slot| (0..slot).find(|other| is_like(*other, slot)).unwrap_or(slot)).collect()
}
