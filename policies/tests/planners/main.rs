//! Planners: published values, properties on random problems, and plain definitions beside what is made to be fast.
//!
//! A failure names its seed; `ISOCHRONE_SEED=N` runs that one alone, `ISOCHRONE_SEEDS=N` runs the first N.

mod instances;
mod references;

use instances::{Draws, Size, any, arabnejad, planners, topcuoglu};
use isochrone_model::{BytesPerSecond, Span};
use isochrone_policies as policies;
use isochrone_policies::planning::optimal::{OptimalLimits, OptimalSearch, SearchState, optimal};
use isochrone_policies::planning::{Batch, Planner, Problem, ProblemBuilder, Schedule, bounds};
use isochrone_policies::{Fixed, List, POLICIES, Rank, Selection};

const MEDIUM: Size = Size { tasks: 40, agents: 4, devices_each: 2, slots_each: 3 };
const SMALL: Size = Size { tasks: 7, agents: 3, devices_each: 2, slots_each: 2 };
const TINY: Size = Size { tasks: 4, agents: 2, devices_each: 2, slots_each: 2 };

fn seeds(count: u64) -> Vec<u64> {
    let variable = |name: &str| std::env::var(name).ok()?.parse::<u64>().ok();
    match variable("ISOCHRONE_SEED") {
        Some(seed) => vec![seed],
        None => (0..variable("ISOCHRONE_SEEDS").unwrap_or(count)).collect(),
    }
}

fn checked(name: &str, planner: &dyn Planner, problem: &Problem) -> Schedule {
    let schedule = planner.plan(problem);
    assert_eq!(schedule.check(problem), Ok(()), "{name}");
    schedule
}

#[test]
fn the_example_of_topcuoglu_et_al_has_the_published_makespans() {
    for unit in [1, 1_000] {
        let problem = topcuoglu(unit);
        let makespan = |name: &str, planner: &dyn Planner| checked(name, planner, &problem).makespan();
        assert_eq!(makespan("heft", &policies::Heft), Span(80 * unit));
        assert_eq!(makespan("cpop", &policies::Cpop), Span(86 * unit));
        assert_eq!(makespan("dls", &policies::Dls), Span(91 * unit));
        let outcome = optimal(&problem, OptimalLimits::default());
        assert_eq!(outcome.schedule.check(&problem), Ok(()));
        assert_eq!((outcome.schedule.makespan(), outcome.proven), (Span(73 * unit), true));
        assert_eq!((outcome.lower_bound, outcome.gap_millionths()), (Span(73 * unit), 0));
    }
}

#[test]
fn the_example_of_arabnejad_and_barbosa_has_the_published_makespans() {
    let unit = 1_000;
    let problem = arabnejad(unit);
    let makespan = |name: &str, planner: &dyn Planner| checked(name, planner, &problem).makespan();
    assert_eq!(makespan("heft", &policies::Heft), Span(133 * unit));
    assert_eq!(makespan("peft", &policies::Peft), Span(122 * unit));
    let outcome = optimal(&problem, OptimalLimits::default());
    assert_eq!((outcome.schedule.makespan(), outcome.proven), (Span(113 * unit), true));
}

#[test]
fn every_static_policy_is_tested_here() {
    let tested: Vec<&str> = planners().iter().map(|(name, _)| *name).collect();
    let is_static = |info: &&policies::PolicyInfo| info.summary.starts_with("static: ");
    let registered: Vec<&str> = POLICIES.iter().filter(is_static).map(|info| info.name).collect();
    assert_eq!(tested, registered);
    assert!(POLICIES.is_sorted_by_key(|info| info.name));
}

#[test]
fn every_planner_keeps_to_the_problem_and_the_bounds() {
    for seed in seeds(400) {
        let problem = any(seed, MEDIUM);
        let bound = bounds::lower_bound(&problem);
        for (name, planner) in planners() {
            let schedule = planner.plan(&problem);
            assert_eq!(schedule.check(&problem), Ok(()), "{name}, seed {seed}");
            assert!(schedule.makespan() >= bound, "{name} is below the lower bound, seed {seed}");
            assert_eq!(planner.plan(&problem), schedule, "{name} differs, seed {seed}");
        }
    }
}

#[test]
fn planners_are_what_their_definitions_say() {
    type Reference = fn(&Problem) -> Schedule;
    let pairs: [(&str, &dyn Planner, Reference); 19] = [
        ("heft", &policies::Heft, references::heft),
        ("cpop", &policies::Cpop, references::cpop),
        ("peft", &policies::Peft, references::peft),
        ("dls", &policies::Dls, references::dls),
        ("etf", &policies::Etf, references::etf),
        ("min-min", &policies::MinMin::default(), |problem| references::min_min(problem, usize::MAX)),
        ("max-min", &policies::MaxMin::default(), |problem| references::max_min(problem, usize::MAX)),
        ("sufferage", &policies::Sufferage::default(), |problem| references::sufferage(problem, usize::MAX)),
        ("bil", &policies::Bil, references::bil),
        ("hlfet", &policies::Hlfet, references::hlfet),
        ("mcp", &policies::Mcp, references::mcp),
        ("mct", &policies::Mct, references::mct),
        ("met", &policies::Met, references::met),
        ("olb", &policies::Olb, references::olb),
        ("fastest-device", &policies::FastestDevice, references::fastest_device),
        ("fcp", &policies::Fcp, references::fcp),
        ("flb", &policies::Flb, references::flb),
        ("lookahead-heft", &policies::Lookahead, references::lookahead),
        ("hbmct", &policies::Hbmct, references::hbmct),
    ];
    let size = Size { tasks: 18, ..MEDIUM };
    for seed in seeds(300) {
        let problem = any(seed, size);
        for (name, planner, reference) in pairs {
            assert_eq!(planner.plan(&problem), reference(&problem), "{name}, seed {seed}");
        }
    }
}

/// Rules that look at few of a task's slots where there are many, as long as those decide.
#[test]
fn with_many_slots_planners_are_what_their_definitions_say_too() {
    let size = Size { tasks: 60, agents: 8, devices_each: 4, slots_each: 2 };
    let mut widest = 0;
    for seed in seeds(60) {
        let problem = any(seed, size);
        widest = widest.max(problem.slots());
        assert_rows_are_as_defined(&problem, seed);
    }
    assert!(widest > 30, "some have many slots: {widest}");
}

/// Many ready tasks at once, so that most of them are never looked at between two placements: times that all differ, times
/// with many ties, and times that differ by a factor only; slots that are alike, and inputs that come late.
#[test]
fn with_many_ready_tasks_planners_are_what_their_definitions_say_too() {
    for seed in seeds(12) {
        let mut draws = Draws::new(seed);
        let (agents, slots_each) = (draws.within(1, 14) as usize, draws.within(1, 3) as usize);
        let places: Vec<(usize, usize)> =
            (0..agents * slots_each).map(|slot| (slot / slots_each, slot / slots_each)).collect();
        let mut builder = ProblemBuilder::new(&places);
        for slot in 0..places.len() {
            builder.slot_free(slot, Span(draws.within(0, 200)));
        }
        let speeds: Vec<u64> = (0..agents).map(|_| draws.within(1, 9)).collect();
        for _ in 0..200 {
            let work = draws.within(1, 1_000);
            let of_agent: Vec<Span> = (0..agents)
                .map(|agent| match seed % 3 {
                    _ if draws.within(0, 19) == 0 && agent > 0 => Problem::ILLEGAL,
                    0 => Span(draws.within(1, 100_000)),
                    1 => Span(draws.within(1, 6)),
                    _ => Span(work * speeds[agent]),
                })
                .collect();
            let executions: Vec<Span> = places.iter().map(|(agent, _)| of_agent[*agent]).collect();
            let task = builder.task(&executions);
            if seed % 4 > 1 {
                let arrivals: Vec<Span> = (0..agents).map(|_| Span(draws.within(0, 3_000))).collect();
                builder.task_outside_ready(task, &arrivals);
            }
        }
        let problem = builder.build();
        assert_rows_are_as_defined(&problem, seed);
    }
}

/// The two planners that look at all tasks by rows plan what their definitions say, whether or not a bound holds.
fn assert_rows_are_as_defined(problem: &Problem, seed: u64) {
    for bound in [usize::MAX, 48] {
        let batch = Batch::of(bound);
        let max_min = policies::MaxMin { batch }.plan(problem);
        assert_eq!(max_min, references::max_min(problem, bound), "max-min, {batch}, seed {seed}");
        let sufferage = policies::Sufferage { batch }.plan(problem);
        assert_eq!(sufferage, references::sufferage(problem, bound), "sufferage, {batch}, seed {seed}");
    }
}

/// Of the ready tasks only so many are considered, the first to become ready.
#[test]
fn with_a_bound_on_ready_tasks_planners_are_what_their_definitions_say_too() {
    let mut bound_ones = 0;
    let seeds = seeds(300);
    for seed in seeds.iter().copied() {
        let problem = any(seed, Size { tasks: 24, ..MEDIUM });
        let bound = 1 + seed as usize % 6;
        let batch = Batch::of(bound);
        let min_min = policies::MinMin { batch }.plan(&problem);
        let max_min = policies::MaxMin { batch }.plan(&problem);
        let sufferage = policies::Sufferage { batch }.plan(&problem);
        let duplex = policies::Duplex { batch }.plan(&problem);
        assert_eq!(min_min, references::min_min(&problem, bound), "min-min, {batch}, seed {seed}");
        assert_eq!(max_min, references::max_min(&problem, bound), "max-min, {batch}, seed {seed}");
        assert_eq!(sufferage, references::sufferage(&problem, bound), "sufferage, {batch}, seed {seed}");
        assert_eq!(duplex.makespan(), min_min.makespan().min(max_min.makespan()), "{batch}, seed {seed}");
        for schedule in [&min_min, &max_min, &sufferage, &duplex] {
            assert_eq!(schedule.check(&problem), Ok(()), "{batch}, seed {seed}");
            assert!(schedule.makespan() >= bounds::lower_bound(&problem), "{batch}, seed {seed}");
        }
        let unbounded = [
            policies::MinMin { batch: Batch::UNBOUNDED }.plan(&problem),
            policies::MaxMin { batch: Batch::UNBOUNDED }.plan(&problem),
            policies::Sufferage { batch: Batch::UNBOUNDED }.plan(&problem),
        ];
        bound_ones += usize::from(unbounded != [min_min, max_min, sufferage]);
    }
    assert!(seeds.len() < 50 || bound_ones > seeds.len() / 2, "{bound_ones} plans differ from those without");
}

/// Amounts of work on slots of different speeds, of which those that take longer everywhere are looked at first: rounded, of
/// several kinds, on slots that are all alike, with equal amounts; a second batch comes when the first is planned.
#[test]
fn with_amounts_of_work_planners_are_what_their_definitions_say_too() {
    for seed in seeds(40) {
        let mut draws = Draws::new(seed);
        let slots = draws.within(1, 9) as usize;
        let places: Vec<(usize, usize)> = (0..slots).map(|slot| (slot, slot)).collect();
        let mut builder = ProblemBuilder::new(&places);
        let kinds = draws.within(1, 3) as usize;
        let work_max = [12, 1_000, 1_000_000][draws.within(0, 2) as usize];
        let base = draws.within(0, 50);
        let speeds: Vec<Vec<u64>> = (0..kinds)
            .map(|_| (0..slots).map(|_| if seed % 4 == 0 { 100 } else { draws.within(20, 900) }).collect())
            .collect();
        for task in 0..130 {
            let (kind, work) = (task % kinds, draws.within(1, work_max));
            let of_slot = |speed: &u64| Span(base + work * speed / 100);
            builder.task(&speeds[kind].iter().map(of_slot).collect::<Vec<Span>>());
            if task >= 70 && seed % 2 == 0 {
                builder.edge(draws.within(0, 69) as usize, task, 0);
            }
        }
        let problem = builder.build();
        assert_rows_are_as_defined(&problem, seed);
    }
}

#[test]
fn the_optimum_is_that_of_trying_everything() {
    for seed in seeds(300) {
        let problem = any(seed, TINY);
        let outcome = optimal(&problem, OptimalLimits::default());
        assert!(outcome.proven, "seed {seed}");
        assert_eq!(outcome.schedule.check(&problem), Ok(()), "seed {seed}");
        assert_eq!(outcome.schedule.makespan(), references::shortest(&problem), "seed {seed}");
    }
}

#[test]
fn nothing_is_shorter_than_the_optimum() {
    for seed in seeds(300) {
        let problem = any(seed, SMALL);
        let outcome = optimal(&problem, OptimalLimits::default());
        assert!(outcome.proven, "seed {seed} after {} nodes", outcome.nodes);
        let shortest = outcome.schedule.makespan();
        assert!(bounds::lower_bound(&problem) <= shortest, "the lower bound, seed {seed}");
        assert!(bounds::critical_path(&problem) <= shortest, "the critical path, seed {seed}");
        assert!(bounds::area(&problem) <= shortest, "the area bound, seed {seed}");
        for (name, planner) in planners() {
            assert!(planner.plan(&problem).makespan() >= shortest, "{name}, seed {seed}");
        }
        let few = optimal(&problem, OptimalLimits { nodes: 3, ..OptimalLimits::default() });
        assert!(few.lower_bound <= shortest && few.schedule.makespan() >= shortest, "seed {seed}");
        assert_eq!(few.proven, few.lower_bound == few.schedule.makespan(), "seed {seed}");
        assert!(few.nodes <= 3);
    }
}

#[test]
fn a_search_in_pieces_is_the_search() {
    let mut in_pieces = 0;
    for seed in seeds(60) {
        let problem = any(seed, SMALL);
        let whole = optimal(&problem, OptimalLimits::default());
        let mut search = OptimalSearch::new(&problem);
        let mut known = search.outcome();
        while search.advance(3) == SearchState::Open {
            in_pieces += 1;
            let now = search.outcome();
            assert!(now.schedule.makespan() <= known.schedule.makespan(), "seed {seed}");
            assert!(now.lower_bound <= whole.schedule.makespan(), "seed {seed}");
            assert!(now.schedule.makespan() >= whole.schedule.makespan(), "seed {seed}");
            known = now;
        }
        assert_eq!(search.outcome(), whole, "seed {seed}");
        assert_eq!(search.advance(1), SearchState::Over);
    }
    assert!(in_pieces > 60, "{in_pieces} pieces");
}

#[test]
fn a_problem_too_large_to_be_proven_has_a_gap() {
    let mut draws = Draws::new(5);
    let places: Vec<(usize, usize)> = (0..3).map(|slot| (slot, slot)).collect();
    let mut builder = ProblemBuilder::new(&places);
    for _ in 0..150 {
        builder.task(&[0; 3].map(|_| Span(draws.within(1_000, 90_000))));
    }
    let problem = builder.build();
    let mut search = OptimalSearch::new(&problem);
    assert_eq!(search.advance(500), SearchState::Open);
    let outcome = search.outcome();
    assert_eq!((outcome.proven, outcome.nodes), (false, 500));
    assert!(outcome.gap_millionths() > 0 && outcome.lower_bound >= bounds::lower_bound(&problem));
    assert_eq!(outcome.schedule.check(&problem), Ok(()));
}

#[test]
fn settings_of_list_are_other_policies() {
    let list =
        |rank, selection, does_insert, does_reserve| List { rank, selection, does_insert, does_reserve };
    let settings: [(&str, &dyn Planner, List); 7] = [
        ("heft", &policies::Heft, list(Rank::Upward, Selection::Finish, true, false)),
        ("cpop", &policies::Cpop, list(Rank::Both, Selection::Finish, true, true)),
        ("hlfet", &policies::Hlfet, list(Rank::Level, Selection::Start, false, false)),
        ("mcp", &policies::Mcp, list(Rank::Alap, Selection::Start, true, false)),
        ("mct", &policies::Mct, list(Rank::Order, Selection::Finish, false, false)),
        ("met", &policies::Met, list(Rank::Order, Selection::Execution, false, false)),
        ("olb", &policies::Olb, list(Rank::Order, Selection::Free, false, false)),
    ];
    for seed in seeds(300) {
        let problem = any(seed, MEDIUM);
        for (name, planner, list) in &settings {
            assert_eq!(planner.plan(&problem), list.plan(&problem), "{name}, seed {seed}");
        }
    }
}

#[test]
fn every_setting_of_list_keeps_to_the_problem() {
    for seed in seeds(60) {
        let problem = any(seed, MEDIUM);
        for rank in Rank::ALL {
            for selection in Selection::ALL {
                for (does_insert, does_reserve) in
                    [(false, false), (false, true), (true, false), (true, true)]
                {
                    let list = List { rank, selection, does_insert, does_reserve };
                    assert_eq!(list.plan(&problem).check(&problem), Ok(()), "{list:?}, seed {seed}");
                }
            }
        }
    }
}

#[test]
fn duplex_is_the_better_of_two() {
    for seed in seeds(100) {
        let problem = any(seed, MEDIUM);
        let both = [policies::MinMin::default().plan(&problem), policies::MaxMin::default().plan(&problem)];
        let shorter = both.iter().map(Schedule::makespan).min().unwrap();
        assert_eq!(policies::Duplex::default().plan(&problem).makespan(), shorter, "seed {seed}");
    }
}

#[test]
fn a_task_without_a_slot_holds_back_only_what_follows_it() {
    for seed in seeds(60) {
        let mut draws = Draws::new(seed);
        let mut builder = ProblemBuilder::new(&[(0, 0), (1, 1)]);
        let nowhere = 3;
        for task in 0..9 {
            let time = if task == nowhere { Problem::ILLEGAL } else { Span(draws.within(0, 5)) };
            builder.task(&[time; 2]);
        }
        for (first, second) in [(0, 1), (1, 2), (3, 4), (4, 5), (0, 5), (6, 7), (7, 8)] {
            builder.edge(first, second, draws.within(0, 3));
        }
        let problem = builder.build();
        for (name, planner) in planners() {
            let schedule = planner.plan(&problem);
            for (task, assignment) in schedule.assignments.iter().enumerate() {
                assert_eq!(
                    assignment.is_none(),
                    [3, 4, 5].contains(&task),
                    "{name}, task {task}, seed {seed}"
                );
            }
            assert!(bounds::lower_bound(&problem) <= schedule.makespan(), "{name}, seed {seed}");
        }
    }
}

#[test]
fn nothing_to_plan_and_nowhere_to_go_are_no_trouble() {
    let empty = ProblemBuilder::new(&[(0, 0)]).build();
    let mut homeless = ProblemBuilder::new(&[]);
    homeless.task(&[]);
    homeless.task(&[]);
    homeless.edge(0, 1, 8);
    let homeless = homeless.build();
    for (name, planner) in planners() {
        assert_eq!(planner.plan(&empty).makespan(), Span::ZERO, "{name}");
        assert_eq!(planner.plan(&homeless), Schedule::new(2), "{name}");
    }
}

/// Many tasks, a barrier that waits for them all, and as many behind it.
#[test]
fn a_barrier_takes_no_time() {
    let mut builder = ProblemBuilder::new(&[(0, 0), (0, 0), (1, 1)]);
    for (from, to) in [(0, 1), (1, 0)] {
        builder.link(from, to, Span(2), BytesPerSecond(1_000_000_000), Span(1));
    }
    for _ in 0..8 {
        builder.task(&[Span(4); 3]);
    }
    let barrier = builder.task(&[Span::ZERO; 3]);
    for first in 0..8 {
        builder.edge(first, barrier, 0);
        let second = builder.task(&[Span(4); 3]);
        builder.edge(barrier, second, 0);
    }
    let problem = builder.build();
    for (name, planner) in planners() {
        let schedule = checked(name, &*planner, &problem);
        let barrier = schedule.assignments[barrier].unwrap();
        assert_eq!(barrier.start, barrier.finish, "{name}");
    }
    assert_eq!(checked("heft", &policies::Heft, &problem).makespan(), Span(24));
}

#[test]
fn latency_is_planned_with() {
    // A chain on two agents that are far apart, the second a little faster: it stays where it began.
    let mut builder = ProblemBuilder::new(&[(0, 0), (1, 1)]);
    for (from, to) in [(0, 1), (1, 0)] {
        builder.link(from, to, Span(1_000), BytesPerSecond(1_000_000_000), Span(500));
    }
    for task in 0..10 {
        builder.task(&[Span(10), if task == 0 { Span(20) } else { Span(9) }]);
        if task > 0 {
            builder.edge(task - 1, task, 1);
        }
    }
    let problem = builder.build();
    let latency_aware: [(&str, &dyn Planner); 3] =
        [("heft", &policies::Heft), ("lookahead-heft", &policies::Lookahead), ("peft", &policies::Peft)];
    for (name, planner) in latency_aware {
        assert_eq!(checked(name, planner, &problem).makespan(), Span(100), "{name}");
    }
    let outcome = optimal(&problem, OptimalLimits::default());
    assert_eq!((outcome.schedule.makespan(), outcome.proven), (Span(100), true));
}

#[test]
fn a_plan_given_as_a_file_is_that_plan() {
    for seed in seeds(200) {
        let problem = any(seed, MEDIUM);
        // Plans without use of gaps start each task when its slot and its inputs allow.
        let appending: [&dyn Planner; 3] = [&policies::Etf, &policies::MinMin::default(), &policies::Hbmct];
        for planner in appending {
            let schedule = planner.plan(&problem);
            let mut order: Vec<usize> = (0..problem.tasks()).collect();
            order.sort_by_key(|task| {
                let here = schedule.assignments[*task].unwrap();
                (here.slot, here.start, here.finish)
            });
            if has_zero_ties(&schedule, &order) {
                continue;
            }
            let fixed = Fixed::from_json(&policies::placement_file(&problem, &schedule)).unwrap();
            assert_eq!(fixed.plan(&problem), schedule, "seed {seed}");
        }
    }
}

/// Whether two tasks on one slot both start and end at one time, so that the order of them is not known.
fn has_zero_ties(schedule: &Schedule, order: &[usize]) -> bool {
    let here = |task: usize| schedule.assignments[task].unwrap();
    order.windows(2).any(|pair| here(pair[0]) == here(pair[1]))
}

#[test]
fn a_file_with_half_a_plan_leaves_the_rest_to_earliest_finish() {
    let problem = topcuoglu(1);
    let json = r#"{"tasks": [{"place": 9, "slot": "agent-2/device/0"}, {"place": 0, "slot": "agent-0/device/0/0"},
        {"place": 1, "slot": "agent-7/device/0"}]}"#;
    let schedule = checked("fixed", &Fixed::from_json(json).unwrap(), &problem);
    assert_eq!(schedule.assignments[9].unwrap().slot, 2);
    assert_eq!(schedule.assignments[0].unwrap().slot, 0);
}

#[test]
fn a_wrong_file_says_what_is_wrong() {
    let message = |json: &str| Fixed::from_json(json).unwrap_err().to_string();
    assert!(message("{\"tasks\": [}").starts_with("line 1, column 12: not of the form {\"tasks\""));
    assert!(
        message("{\"tasks\": [{\"place\": 1, \"slot\": \"agent-0/device/0\", \"x\": 1}]}").contains("line 1")
    );
    assert_eq!(
        message("{\"tasks\": [{\"place\": 1, \"slot\": \"gpu\"}]}"),
        "task 1: slot `gpu` is not of the form agent-A/device/D or agent-A/device/D/S"
    );
    let twice = "{\"tasks\": [{\"place\": 1, \"slot\": \"agent-0/device/0\"}, {\"place\": 1, \"slot\": \"agent-0/device/1\"}]}";
    assert_eq!(message(twice), "task 1 is listed twice");
    let message = policies::create("fixed(file=/nowhere/plan.json)").err().unwrap().to_string();
    assert!(message.starts_with("`fixed`: /nowhere/plan.json: cannot be read"), "{message}");
}
