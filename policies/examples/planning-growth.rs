//! `planning-growth`: how planning grows with tasks, slots and kinds of problems, and how good the plans are:
//! `cargo run --release -p isochrone-policies --example planning-growth -- 20000 40000 64 mixed once max-min`.
//!
//! `cargo bench -p isochrone-policies --bench planning` measures what is promised of planners; this looks further.
//!
//! Arguments: tasks, slots and names, in any order; without tasks 1,000, 10,000 and 100,000, without slots 16 and 64,
//! without names every planner. `wide` plans tasks without edges instead of a layered graph, `related` such tasks whose times
//! are an amount of work over a slot's speed, `mixed` that give or take a quarter, `kinds` tasks of 16 kinds whose times are
//! equal; `batch=N` bounds the ready tasks that are considered at one time, 0 for no bound. Each figure is the
//! shortest of three runs (of one where it takes more than 2 s, or with `once`). Prints milliseconds; asserts nothing of them.

#![expect(clippy::disallowed_methods, reason = "a benchmark reads the clock: that is what it is for")]

use std::time::Instant;

use isochrone_model::Span;
use isochrone_policies::planning::{Batch, bounds};

#[path = "../benches/planning/families.rs"]
mod families;
#[path = "../tests/planners/instances.rs"]
#[expect(dead_code, reason = "the tests use the rest")]
mod instances;

use families::{layered, related, wide};
use instances::planners_in;

/// Of tasks without edges.
const FAMILIES: [&str; 4] = ["wide", "related", "mixed", "kinds"];

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with("--")).collect();
    let numbers: Vec<usize> = arguments.iter().filter_map(|word| word.parse().ok()).collect();
    let or = |chosen: Vec<usize>, default: &[usize]| {
        if chosen.is_empty() { default.to_vec() } else { chosen }
    };
    let counts =
        or(numbers.iter().copied().filter(|number| *number >= 1_000).collect(), &[1_000, 10_000, 100_000]);
    let widths = or(numbers.iter().copied().filter(|number| *number < 1_000).collect(), &[16, 64]);
    let has = |wanted: &str| arguments.iter().any(|word| word == wanted);
    let bound = arguments.iter().find_map(|word| word.strip_prefix("batch=")?.parse().ok());
    let batch = bound.map_or(Batch::default(), |tasks_max| match tasks_max {
        0 => Batch::UNBOUNDED,
        tasks_max => Batch::of(tasks_max),
    });
    let is_other = |word: &str| FAMILIES.contains(&word) || word.starts_with("batch=") || word == "once";
    let is_name = |word: &&String| word.parse::<usize>().is_err() && !is_other(word);
    let names: Vec<&String> = arguments.iter().filter(is_name).collect();
    for tasks in counts {
        for slots in widths.iter().copied() {
            let problem = match FAMILIES.iter().copied().find(|family| has(family)) {
                Some("kinds") => wide(tasks, slots, 16),
                Some("related") => related(tasks, slots, 0),
                Some("mixed") => related(tasks, slots, 25),
                Some(_) => wide(tasks, slots, tasks),
                None => layered(tasks, slots),
            };
            let bound = bounds::lower_bound(&problem);
            println!("{tasks} tasks on {slots} slots, lower bound {bound}");
            for (name, planner) in planners_in(batch) {
                if !names.is_empty() && !names.iter().any(|wanted| *wanted == name) {
                    continue;
                }
                let mut shortest = f64::MAX;
                let mut makespan = Span::ZERO;
                for _ in 0..3 {
                    let start = Instant::now();
                    makespan = planner.plan(&problem).makespan();
                    shortest = shortest.min(start.elapsed().as_secs_f64());
                    if shortest > 2.0 || has("once") {
                        break;
                    }
                }
                let ratio = makespan.0 as f64 / bound.0.max(1) as f64;
                println!("  {name:15} {:10.1} ms   {ratio:6.2} times the lower bound", shortest * 1e3);
            }
        }
    }
}
