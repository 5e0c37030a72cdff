//! The definitions of some planners, written down as plainly as can be: everything is computed anew at every step.

use isochrone_model::Span;
use isochrone_policies::planning::{Assignment, Problem, Schedule, topological_order};

pub struct Plain<'a> {
    problem: &'a Problem,
    schedule: Schedule,
}

type Choice = (usize, usize);

impl<'a> Plain<'a> {
    fn new(problem: &'a Problem) -> Self {
        Self { problem, schedule: Schedule::new(problem.tasks()) }
    }

    fn ready_tasks(&self) -> Vec<usize> {
        let is_placed = |task: usize| self.schedule.assignments[task].is_some();
        (0..self.problem.tasks())
            .filter(|task| !is_placed(*task))
            .filter(|task| self.problem.predecessors(*task).iter().all(|edge| is_placed(edge.task)))
            .collect()
    }

    fn on_slot(&self, slot: usize) -> Vec<(Span, Span)> {
        let here = self.schedule.assignments.iter().flatten().filter(|other| other.slot == slot);
        let mut here: Vec<(Span, Span)> = here.map(|other| (other.start, other.finish)).collect();
        here.sort_unstable();
        here
    }

    fn slot_end(&self, slot: usize) -> Span {
        self.on_slot(slot).last().map_or(Span::ZERO, |last| last.1).max(self.problem.slot_free(slot))
    }

    fn appended(&self, task: usize, slot: usize) -> Assignment {
        let start = self.schedule.ready(self.problem, task, slot).unwrap().max(self.slot_end(slot));
        Assignment { slot, start, finish: start + self.problem.execution(task, slot) }
    }

    fn inserted(&self, task: usize, slot: usize) -> Assignment {
        let ready = self.schedule.ready(self.problem, task, slot).unwrap();
        let execution = self.problem.execution(task, slot);
        let mut free = self.problem.slot_free(slot);
        for (start, finish) in self.on_slot(slot) {
            let first = ready.max(free);
            if free < start && first + execution <= start {
                return Assignment { slot, start: first, finish: first + execution };
            }
            free = finish;
        }
        let start = ready.max(free);
        Assignment { slot, start, finish: start + execution }
    }

    fn pairs(&self, tasks: &[usize]) -> Vec<Choice> {
        tasks.iter().flat_map(|task| self.problem.legal_slots(*task).map(|slot| (*task, slot))).collect()
    }

    fn completions(&self, task: usize) -> Vec<(Span, usize)> {
        let mut all: Vec<(Span, usize)> =
            self.problem.legal_slots(task).map(|slot| (self.appended(task, slot).finish, slot)).collect();
        all.sort_unstable();
        all
    }

    /// Appends what `choose` says of the ready tasks until nothing is ready.
    fn run(mut self, mut choose: impl FnMut(&Self, &[usize]) -> Choice) -> Schedule {
        loop {
            let ready = self.ready_tasks();
            if ready.is_empty() {
                return self.schedule;
            }
            let (task, slot) = choose(&self, &ready);
            self.schedule.assignments[task] = Some(self.appended(task, slot));
        }
    }

    /// The same, but ready tasks form a batch that is emptied first.
    fn run_batches(mut self, mut choose: impl FnMut(&Self, &[usize]) -> Choice) -> Schedule {
        loop {
            let mut batch = self.ready_tasks();
            if batch.is_empty() {
                return self.schedule;
            }
            while !batch.is_empty() {
                let (task, slot) = choose(&self, &batch);
                self.schedule.assignments[task] = Some(self.appended(task, slot));
                batch.retain(|other| *other != task);
            }
        }
    }

    /// Inserts ready tasks by falling rank where `choose` says.
    fn run_ranked(mut self, ranks: &[Span], choose: impl Fn(&Self, usize) -> Assignment) -> Schedule {
        loop {
            let ready = self.ready_tasks();
            let Some(task) = ready.iter().copied().rev().max_by_key(|task| ranks[*task]) else {
                return self.schedule;
            };
            self.schedule.assignments[task] = Some(choose(&self, task));
        }
    }

    fn earliest_finish(&self, task: usize) -> Assignment {
        let slots = self.problem.legal_slots(task);
        slots.map(|slot| self.inserted(task, slot)).min_by_key(|here| (here.finish, here.slot)).unwrap()
    }
}

/// By task, from the last to the first: `of` is given what follows.
fn from_behind<T: Clone + Default>(problem: &Problem, of: impl Fn(&[T], usize) -> T) -> Vec<T> {
    let mut all = vec![T::default(); problem.tasks()];
    for task in topological_order(problem).into_iter().rev() {
        all[task] = of(&all, task);
    }
    all
}

fn upward(problem: &Problem) -> Vec<Span> {
    from_behind(problem, |ranks: &[Span], task| {
        let behind = problem.successors(task).iter();
        let behind = behind.map(|edge| problem.mean_transfer(edge.size_bytes) + ranks[edge.task]);
        problem.mean_execution(task) + behind.max().unwrap_or(Span::ZERO)
    })
}

fn downward(problem: &Problem) -> Vec<Span> {
    let mut ranks = vec![Span::ZERO; problem.tasks()];
    for task in topological_order(problem) {
        let before = problem.predecessors(task).iter().map(|edge| {
            ranks[edge.task] + problem.mean_execution(edge.task) + problem.mean_transfer(edge.size_bytes)
        });
        ranks[task] = before.max().unwrap_or(Span::ZERO);
    }
    ranks
}

fn levels(problem: &Problem, execution: fn(&Problem, usize) -> Span) -> Vec<Span> {
    from_behind(problem, |levels: &[Span], task| {
        let behind = problem.successors(task).iter().map(|edge| levels[edge.task]);
        execution(problem, task) + behind.max().unwrap_or(Span::ZERO)
    })
}

/// By task and slot, the best imaginary level: the time there and the longest way behind.
fn imaginary_levels(problem: &Problem) -> Vec<Vec<Span>> {
    from_behind(problem, |levels: &[Vec<Span>], task| {
        let level = |slot: usize| {
            let behind = problem.successors(task).iter().map(|edge| {
                let there = problem.legal_slots(edge.task).map(|other| {
                    let is_near = problem.agent_of(slot) == problem.agent_of(other);
                    let moving = if is_near { Span::ZERO } else { problem.mean_transfer(edge.size_bytes) };
                    levels[edge.task][other] + moving
                });
                there.min().unwrap()
            });
            problem.execution(task, slot) + behind.max().unwrap_or(Span::ZERO)
        };
        (0..problem.slots()).map(level).collect()
    })
}

pub fn heft(problem: &Problem) -> Schedule {
    let ranks = upward(problem);
    Plain::new(problem).run_ranked(&ranks, Plain::earliest_finish)
}

pub fn cpop(problem: &Problem) -> Schedule {
    let ranks: Vec<Span> =
        upward(problem).into_iter().zip(downward(problem)).map(|(up, down)| up + down).collect();
    let entries = (0..problem.tasks()).filter(|task| problem.predecessors(*task).is_empty());
    let mut path: Vec<usize> = entries.rev().max_by_key(|task| ranks[*task]).into_iter().collect();
    while let Some(next) = path.last().and_then(|last| {
        let next = problem.successors(*last).iter().map(|edge| edge.task);
        next.filter(|next| ranks[*next] == ranks[path[0]]).min()
    }) {
        path.push(next);
    }
    let cost = |slot: usize| {
        let (mut missing, mut sum) = (0, 0);
        for task in &path {
            if problem.is_legal(*task, slot) {
                sum += problem.execution(*task, slot).0;
            } else {
                missing += 1;
            }
        }
        (missing, sum, slot)
    };
    let critical = (0..problem.slots()).min_by_key(|slot| cost(*slot)).unwrap();
    Plain::new(problem).run_ranked(&ranks, |plain, task| {
        if path.contains(&task) && problem.is_legal(task, critical) {
            plain.inserted(task, critical)
        } else {
            plain.earliest_finish(task)
        }
    })
}

pub fn peft(problem: &Problem) -> Schedule {
    let levels = imaginary_levels(problem);
    let cost = |task: usize, slot: usize| Span(levels[task][slot].0 - problem.execution(task, slot).0);
    let ranks: Vec<Span> = (0..problem.tasks())
        .map(|task| {
            let costs: Vec<u64> = problem.legal_slots(task).map(|slot| cost(task, slot).0).collect();
            Span(costs.iter().sum::<u64>() / costs.len() as u64)
        })
        .collect();
    Plain::new(problem).run_ranked(&ranks, |plain, task| {
        let slots = problem.legal_slots(task).map(|slot| plain.inserted(task, slot));
        slots.min_by_key(|here| (here.finish + cost(task, here.slot), here.slot)).unwrap()
    })
}

pub fn dls(problem: &Problem) -> Schedule {
    let levels = levels(problem, Problem::median_execution);
    Plain::new(problem).run(|plain, ready| {
        let dynamic_level = |task: usize, slot: usize| {
            let saved = problem.median_execution(task).0 as i64 - problem.execution(task, slot).0 as i64;
            levels[task].0 as i64 - plain.appended(task, slot).start.0 as i64 + saved
        };
        let pairs = plain.pairs(ready).into_iter().rev();
        pairs.max_by_key(|(task, slot)| dynamic_level(*task, *slot)).unwrap()
    })
}

pub fn etf(problem: &Problem) -> Schedule {
    let levels = levels(problem, Problem::mean_execution);
    Plain::new(problem).run(|plain, ready| {
        let start = |task: usize, slot: usize| plain.appended(task, slot).start;
        let level = |task: usize| std::cmp::Reverse(levels[task]);
        let pairs = plain.pairs(ready).into_iter();
        pairs.min_by_key(|(task, slot)| (start(*task, *slot), level(*task))).unwrap()
    })
}

pub fn min_min(problem: &Problem) -> Schedule {
    Plain::new(problem).run_batches(|plain, batch| {
        let best = batch.iter().map(|task| (plain.completions(*task)[0], *task));
        let ((_, slot), task) = best.min_by_key(|((completion, _), task)| (*completion, *task)).unwrap();
        (task, slot)
    })
}

pub fn max_min(problem: &Problem) -> Schedule {
    Plain::new(problem).run_batches(|plain, batch| {
        let best = batch.iter().rev().map(|task| (plain.completions(*task)[0], *task));
        let ((_, slot), task) = best.max_by_key(|((completion, _), _)| *completion).unwrap();
        (task, slot)
    })
}

pub fn sufferage(problem: &Problem) -> Schedule {
    Plain::new(problem).run(|plain, ready| {
        let sufferage = |task: usize| match plain.completions(task)[..] {
            [first, second, ..] => second.0.0 - first.0.0,
            _ => u64::MAX,
        };
        let task = ready.iter().copied().rev().max_by_key(|task| sufferage(*task)).unwrap();
        (task, plain.completions(task)[0].1)
    })
}

/// The rule of `bil`, levels and all.
pub fn bil(problem: &Problem) -> Schedule {
    let levels = imaginary_levels(problem);
    Plain::new(problem).run(|plain, ready| {
        let count = ready.len();
        let makespan = |task: usize, slot: usize| plain.appended(task, slot).start + levels[task][slot];
        let priority = |task: usize| {
            let mut all: Vec<Span> = problem.legal_slots(task).map(|slot| makespan(task, slot)).collect();
            all.sort_unstable();
            all[count.min(all.len()) - 1]
        };
        let task = ready.iter().copied().rev().max_by_key(|task| priority(*task)).unwrap();
        let revised = |slot: usize| {
            let excess = count.saturating_sub(problem.slots()) as u64;
            makespan(task, slot).0 + problem.execution(task, slot).0 * excess / problem.slots() as u64
        };
        (task, problem.legal_slots(task).min_by_key(|slot| revised(*slot)).unwrap())
    })
}

/// The length of the shortest schedule: every order in which the graph allows the tasks, on every slot.
pub fn shortest(problem: &Problem) -> Span {
    fn search(plain: &mut Plain<'_>, best: &mut Span) {
        let ready = plain.ready_tasks();
        if ready.is_empty() {
            *best = (*best).min(plain.schedule.makespan());
        }
        for (task, slot) in plain.pairs(&ready) {
            plain.schedule.assignments[task] = Some(plain.appended(task, slot));
            search(plain, best);
            plain.schedule.assignments[task] = None;
        }
    }
    let mut best = Span(u64::MAX);
    search(&mut Plain::new(problem), &mut best);
    best
}
