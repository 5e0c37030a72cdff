//! What the search of rows takes, counted and not timed, and that chains change nothing but that.

use isochrone_model::Span;

use super::{Measure, Rows};
use crate::planning::{Batch, Problem, ProblemBuilder, Schedule};
use crate::{MaxMin, Sufferage};

/// How what tasks take on slots comes about.
#[derive(Clone, Copy, Debug)]
enum Family {
    /// An amount of work over a speed.
    Related,
    /// The same, each time off by up to a quarter.
    Mixed,
    /// Whatever.
    Wide,
}

/// Tasks without edges.
fn problem(family: Family, tasks: usize, slots: usize) -> Problem {
    let mut state = 1_u64;
    let mut within = |low: u64, high: u64| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        low + (state >> 33) % (high - low + 1)
    };
    let places: Vec<(usize, usize)> = (0..slots).map(|slot| (slot, slot)).collect();
    let mut builder = ProblemBuilder::new(&places);
    let slowness: Vec<u64> = (0..slots).map(|_| within(100, 800)).collect();
    for _ in 0..tasks {
        let work = within(1_000_000, 50_000_000);
        let times: Vec<Span> = slowness
            .iter()
            .map(|slowness| match family {
                Family::Related => Span(work * slowness / 100),
                Family::Mixed => Span(work * slowness / 100 * within(75, 125) / 100),
                Family::Wide => Span(within(1_000_000, 50_000_000)),
            })
            .collect();
        builder.task(&times);
    }
    builder.build()
}

/// A plan, and what it took.
fn planned(measure: Measure, batch: Batch, problem: &Problem, chained_min: Option<usize>) -> (Schedule, u64) {
    let mut rows = Rows::new(problem, measure);
    rows.chained_min = chained_min.unwrap_or(rows.chained_min);
    let schedule = match measure {
        Measure::Completion => MaxMin { batch }.plan_by(&mut rows, problem),
        Measure::Sufferage => Sufferage { batch }.plan_by(&mut rows, problem),
    };
    (schedule, rows.looks)
}

const MEASURES: [Measure; 2] = [Measure::Completion, Measure::Sufferage];
const SLOTS: usize = 16;

/// How many times what a plan takes for twice the tasks, in hundredths.
fn growth_percent(measure: Measure, batch: Batch, family: Family) -> u64 {
    let looks = |tasks: usize| planned(measure, batch, &problem(family, tasks, SLOTS), None).1;
    looks(4_000) * 100 / looks(2_000)
}

#[test]
fn with_a_bound_what_a_plan_takes_grows_as_the_tasks_do() {
    for measure in MEASURES {
        for family in [Family::Related, Family::Mixed, Family::Wide] {
            let percent = growth_percent(measure, Batch::of(256), family);
            assert!((150..230).contains(&percent), "{measure:?}, {family:?}: {percent} %");
        }
    }
}

/// The count tells a plan that is quadratic in tasks from one that is not.
#[test]
fn without_a_bound_what_a_plan_takes_grows_faster() {
    for measure in MEASURES {
        let percent = growth_percent(measure, Batch::UNBOUNDED, Family::Mixed);
        assert!(percent > 280, "{measure:?}: {percent} %");
    }
}

#[test]
fn chains_change_what_a_plan_takes_and_not_the_plan() {
    for measure in MEASURES {
        for batch in [Batch::UNBOUNDED, Batch::of(200)] {
            let problem = problem(Family::Related, 1_000, SLOTS);
            let (chained, with) = planned(measure, batch, &problem, Some(16));
            let (plain, without) = planned(measure, batch, &problem, Some(usize::MAX));
            assert_eq!(chained, plain, "{measure:?}, {batch}");
            assert_ne!(with, without, "{measure:?}, {batch}: chains were made");
        }
    }
}
