//! `foresight`: many plans, judged twice, and few tasks let go until something is known of them.
//!
//! This project's own policy. What it does, and from where it is taken:
//!
//! 1. **A portfolio.** A dozen of the literature's planners plan the graph (no list heuristic is best everywhere: Coleman and
//!    Krishnamachari, "PISA", 2024). HEFT plans it again on the one, two, four, ... fastest agents alone, and on those that words reach
//!    first; and HEFT, PEFT and lookahead HEFT plan it again with links that cost what new connections cost, a third of that, or three times as
//!    much for each byte. So there are plans for links that are slow in each of these ways. Small graphs are planned in both of these ways
//!    together, and by lookahead HEFT on few agents. What an earlier plan said of the same tasks is a candidate too, and the first: a new plan
//!    must be better to take its place. Large graphs are planned by fewer.
//! 2. **Two judges.** Each plan is timed again with what most planners leave out: transfers of one host share its way in and out, contents
//!    that an agent has are not sent there twice, and contents that lie somewhere already, with the client for one, must come over the same links
//!    as all others. The first judge takes links at their rate; the second lets every pair of hosts shake hands and start slowly, as this
//!    project's transport does. Which of them the network will prove right is not known, so the plan with the smallest product of both
//!    makespans wins: it may lose a little under each, and much under none. The second has two votes.
//!    The best plans of small graphs are then improved by a local search (`planning/local_search.rs`).
//! 3. **Learning.** While nothing has run on a device, the device gets no more tasks than cover the word's way to it and back, so that what
//!    is learnt from the first decides about the rest. What was measured tells of all devices and kernels (`planning/guesses.rs`), and each
//!    measurement of what was a guess makes the rest be planned again, though not more often than 32 times a plan.
//! 4. **Doubt.** What is known of a link is drawn towards the mean of all links, as far as the two directions of pairs differ
//!    (`planning/likely_links.rs`; empirical Bayes: Efron and Morris, JASA 68(341), 1973). Otherwise the plan would win whose links are
//!    estimated too low. And where nothing is known of devices, lots decide among them, not their numbers.
//!
//! 5. **Backups**, with `hedge`. A kernel that is late runs on an idle slot of another agent as well (`planning/hedges.rs`). That is off by default: a kernel
//!    that is run twice must make the same bytes twice, which the farm cannot know of one that adds floating-point numbers in any order.
//!    Where that holds, 1 measures best (`results/latency-crossover/tried.md`).
//!
//! Where transfers never contend (the literature's model) there is one judge, who then agrees with the planners, and no doubt.
//! Ties: the plan that comes first. Work for one plan is bounded; it is never quadratic in tasks.
//!
//! Tried and left out, with figures in `results/latency-crossover/README.md`: plans timed under perturbed durations, a margin for the earlier plan,
//! candidates of `wba` and of HEFT without latency, and more.

use isochrone_model::{BytesPerSecond, Span};
use isochrone_sched_core::Policy;

use crate::planning::{
    Connections, Planned, PlannedOptions, Planner, Problem, Replay, Schedule, connection_cost, improve,
};
use crate::{Label, LabelError, PolicyInfo};

pub(crate) const INFO: PolicyInfo = PolicyInfo {
    name: "foresight",
    summary: "static: plans with a dozen planners, judges with shared and slow-starting links, takes the best; learns before it commits, and doubts estimates",
    parameters: &[
        PlannedOptions::PARAMETERS[0],
        PlannedOptions::PARAMETERS[1],
        (
            "hedge",
            "0",
            "run a kernel on an idle slot of another agent too when it has taken this many times what was expected, and as long again as it would take there; 0 never",
        ),
    ],
    make,
};

fn make(label: &Label) -> Result<Box<dyn Policy>, LabelError> {
    let options = PlannedOptions::of(label)?;
    let hedge: u64 = label.get("hedge", 0, "a whole number from 0")?;
    let text = match hedge {
        0 => format!("{}({})", INFO.name, options.text()),
        hedge => format!("{}({},hedge={hedge})", INFO.name, options.text()),
    };
    let reason = "planned: on the shortest of many plans";
    Ok(Box::new(Planned::new(text, reason, Foresight, options).hedging(hedge)))
}

/// The planner.
#[derive(Clone, Copy, Debug, Default)]
pub struct Foresight;

/// Executions (tasks times slots) up to which all planners are asked.
const WHOLE_PORTFOLIO_MAX: usize = 400_000;
/// Up to which planners are asked that try pairs of slots.
const PAIRS_MAX: usize = WHOLE_PORTFOLIO_MAX / 16;

/// How many of the best plans are improved.
const IMPROVED: usize = 4;

impl Planner for Foresight {
    fn plan(&self, problem: &Problem) -> Schedule {
        let is_small = problem.tasks() * problem.slots() <= PAIRS_MAX;
        let is_improved = is_small && problem.is_contended();
        let kept = if is_improved { IMPROVED } else { 1 };
        // The best so far, of equal ones the first first.
        let mut best: Vec<(Score, Replay)> = Vec::new();
        let mut consider = |mut replay: Replay| {
            let score = score(problem, &mut replay);
            let place = best.partition_point(|(other, _)| *other <= score);
            if place < kept {
                best.truncate(kept - 1);
                best.insert(place, (score, replay));
            }
        };
        if let Some(earlier) = Replay::earlier(problem) {
            consider(earlier);
        }
        for planner in portfolio(problem) {
            consider(Replay::of(problem, &planner.plan(problem)));
        }
        for slots in fewer_agents(problem) {
            let Some(restricted) = problem.restricted(&slots) else { continue };
            consider(Replay::of(problem, &crate::Heft.plan(&restricted)));
            if is_small {
                consider(Replay::of(problem, &crate::Lookahead.plan(&restricted)));
                for slower in slower_links(&restricted) {
                    consider(Replay::of(problem, &crate::Heft.plan(&slower)));
                }
            }
        }
        for slower in slower_links(problem) {
            consider(Replay::of(problem, &crate::Heft.plan(&slower)));
            consider(Replay::of(problem, &crate::Peft.plan(&slower)));
            if is_small {
                consider(Replay::of(problem, &crate::Lookahead.plan(&slower)));
            }
        }
        if is_improved {
            for (score_now, replay) in &mut best {
                *score_now = improve(problem, replay, *score_now, score);
            }
        }
        let Some((_, mut replay)) = best.into_iter().min_by_key(|(score, _)| *score) else {
            return Schedule::new(problem.tasks());
        };
        replay.time(problem, Connections::Ready);
        replay.schedule(problem)
    }

    fn is_judge(&self) -> bool {
        true
    }
}

/// What a plan is worth, the lower the better: a whole number of 192 bits.
type Score = (u128, u64);

/// The makespan where connections start slowly, twice, times that where links are at their rate from the beginning. What slow connections cost without need is bounded by what one machine alone would take, what they cost
/// unforeseen is not: so the judge who foresees them has two votes.
fn score(problem: &Problem, replay: &mut Replay) -> Score {
    if !problem.is_contended() {
        return (0, replay.time(problem, Connections::Ready).0);
    }
    let slow = u128::from(replay.time(problem, Connections::SlowStart).0.max(1));
    let plain = u128::from(replay.time(problem, Connections::Ready).0.max(1));
    let squared = slow * slow;
    let low = (squared & u128::from(u64::MAX)) * plain;
    ((squared >> 64) * plain + (low >> 64), low as u64)
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
        planners.push(Box::new(crate::MinMin::default()));
        planners.push(Box::new(crate::MaxMin::default()));
        planners.push(Box::new(crate::Sufferage::default()));
    }
    planners.push(Box::new(crate::FastestDevice));
    if size <= PAIRS_MAX {
        planners.push(Box::new(crate::Lookahead));
    }
    planners
}

/// The slots of the one, two, four, ... agents that together run the graph fastest, and if it is small of those that words reach first.
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
    let mut fastest: Vec<usize> = (0..problem.agents()).collect();
    fastest.sort_by_key(|agent| (std::cmp::Reverse(rates[*agent]), *agent));
    let mut nearest = fastest.clone();
    nearest.sort_by_key(|agent| problem.word(*agent));
    let orders =
        if problem.tasks() * problem.slots() > PAIRS_MAX { vec![fastest] } else { vec![fastest, nearest] };
    let mut sets: Vec<Vec<bool>> = Vec::new();
    for agents in orders {
        let counts = std::iter::successors(Some(1), |count| Some(count * 2));
        for count in counts.take_while(|count| *count < agents.len()) {
            let chosen = &agents[..count];
            let set = (0..problem.slots()).map(|slot| chosen.contains(&problem.agent_of(slot))).collect();
            if !sets.contains(&set) {
                sets.push(set);
            }
        }
    }
    sets
}

/// The same problem with links whose latency holds what a new connection costs for contents of the mean size, or a third of it, since later
/// transfers find it open; and with links at a third of their rate, since transfers meet.
fn slower_links(problem: &Problem) -> Vec<Problem> {
    if !problem.is_contended() || problem.tasks() * problem.slots() > WHOLE_PORTFOLIO_MAX {
        return Vec::new();
    }
    let (mut sum, mut count) = (0_u128, 0_u128);
    for task in 0..problem.tasks() {
        for edge in problem.predecessors(task).iter().filter(|edge| edge.size_bytes > 0) {
            sum += u128::from(edge.size_bytes);
            count += 1;
        }
    }
    if count == 0 {
        return Vec::new();
    }
    let mean = u64::try_from(sum / count).unwrap_or(u64::MAX);
    let starting = |part: u64| {
        problem.with_links(|from, to, latency, rate| {
            (latency + Span(connection_cost(problem, from, to, mean).0 / part), rate)
        })
    };
    let crowded = problem.with_links(|_, _, latency, rate| (latency, BytesPerSecond((rate.0 / 3).max(1))));
    vec![starting(1), starting(3), crowded]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::planning::ProblemBuilder;

    /// A chain of two long tasks, and two slots joined by a link so slow that only one slot pays.
    fn chain(is_contended: bool) -> ProblemBuilder {
        let mut builder = ProblemBuilder::new(&[(0, 0), (1, 1)]);
        for (from, to) in [(0, 1), (1, 0)] {
            builder.link(from, to, Span(1_000_000), BytesPerSecond(1_000_000_000), Span(1_000_000));
        }
        builder.contended(is_contended);
        for _ in 0..2 {
            builder.task(&[Span(100_000), Span(90_000)]);
        }
        builder.edge(0, 1, 50_000);
        builder
    }

    #[test]
    fn plans_are_whole_and_never_worse_than_hefts() {
        for is_contended in [false, true] {
            let problem = chain(is_contended).build();
            let schedule = Foresight.plan(&problem);
            assert_eq!(schedule.check(&problem), Ok(()));
            assert_eq!(schedule.makespan(), Span(180_000), "both on the faster slot");
        }
    }

    #[test]
    fn an_earlier_plan_stays_until_another_is_better() {
        let mut builder = ProblemBuilder::new(&[(0, 0), (1, 1)]);
        builder.contended(true);
        builder.task(&[Span(100_000); 2]);
        builder.earlier(0, 1, 0);
        let schedule = Foresight.plan(&builder.build());
        assert_eq!(schedule.assignments[0].map(|assignment| assignment.slot), Some(1), "slot 0 is no better");
        let mut builder = chain(true);
        builder.earlier(0, 0, 0);
        builder.earlier(1, 1, 1);
        assert_eq!(Foresight.plan(&builder.build()).makespan(), Span(180_000), "the slow link is left");
    }

    #[test]
    fn a_fork_stays_on_one_host_where_connections_cost_more_than_the_work() {
        // Eight tasks of 5 ms fed by one, 100 KB each: at 1 Gbit/s that is soon there, over a new connection with 20 ms each way not.
        let mut builder = ProblemBuilder::new(&[(0, 0), (1, 1), (2, 2), (3, 3)]);
        let latency = Span::from_millis(20);
        for from in 0..4 {
            for to in (0..4).filter(|to| *to != from) {
                builder.link(from, to, latency, BytesPerSecond(125_000_000), latency);
            }
        }
        builder.contended(true);
        for _ in 0..9 {
            builder.task(&[Span::from_millis(5); 4]);
        }
        for task in 1..9 {
            builder.edge(0, task, 100_000);
        }
        let problem = builder.build();
        let slots: std::collections::BTreeSet<usize> =
            Foresight.plan(&problem).assignments.iter().flatten().map(|assignment| assignment.slot).collect();
        assert_eq!(slots.len(), 1, "{slots:?}");
    }
}
