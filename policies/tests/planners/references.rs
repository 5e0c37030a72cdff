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

    /// The same, but of the ready tasks at most `bound` are considered at one time, the first to become ready. If `is_emptied`, none joins
    /// them until all are placed; else those that wait join if they all fit, or when half of the bound is placed.
    fn run_bounded(
        mut self,
        bound: usize,
        is_emptied: bool,
        mut choose: impl FnMut(&Self, &[usize]) -> Choice,
    ) -> Schedule {
        let (mut waiting, mut considered): (Vec<usize>, Vec<usize>) = (Vec::new(), Vec::new());
        loop {
            let is_known = |task: &usize| waiting.contains(task) || considered.contains(task);
            let arrived: Vec<usize> = self.ready_tasks().into_iter().filter(|task| !is_known(task)).collect();
            waiting.extend(arrived);
            let do_fit = waiting.len() + considered.len() <= bound;
            let is_due =
                if is_emptied { considered.is_empty() } else { considered.len() <= bound / 2 || do_fit };
            while is_due && considered.len() < bound && !waiting.is_empty() {
                considered.push(waiting.remove(0));
            }
            considered.sort_unstable();
            if considered.is_empty() {
                return self.schedule;
            }
            let (task, slot) = choose(&self, &considered);
            self.schedule.assignments[task] = Some(self.appended(task, slot));
            considered.retain(|other| *other != task);
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

pub fn min_min(problem: &Problem, bound: usize) -> Schedule {
    Plain::new(problem).run_bounded(bound, true, |plain, batch| {
        let best = batch.iter().map(|task| (plain.completions(*task)[0], *task));
        let ((_, slot), task) = best.min_by_key(|((completion, _), task)| (*completion, *task)).unwrap();
        (task, slot)
    })
}

pub fn max_min(problem: &Problem, bound: usize) -> Schedule {
    Plain::new(problem).run_bounded(bound, true, |plain, batch| {
        let best = batch.iter().rev().map(|task| (plain.completions(*task)[0], *task));
        let ((_, slot), task) = best.max_by_key(|((completion, _), _)| *completion).unwrap();
        (task, slot)
    })
}

pub fn sufferage(problem: &Problem, bound: usize) -> Schedule {
    Plain::new(problem).run_bounded(bound, false, |plain, ready| {
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

/// The ready task that comes first by a key, and the slot that comes first by another; the lowest of equal ones.
fn run_keyed<T: Ord, S: Ord>(
    problem: &Problem,
    task_key: impl Fn(usize) -> T,
    slot_key: impl Fn(&Plain<'_>, usize, usize) -> S,
) -> Schedule {
    Plain::new(problem).run(|plain, ready| {
        let task = ready.iter().copied().min_by_key(|task| (task_key(*task), *task)).unwrap();
        let slots = problem.legal_slots(task);
        (task, slots.min_by_key(|slot| (slot_key(plain, task, *slot), *slot)).unwrap())
    })
}

pub fn hlfet(problem: &Problem) -> Schedule {
    let levels = levels(problem, Problem::mean_execution);
    run_keyed(
        problem,
        |task| std::cmp::Reverse(levels[task]),
        |plain, task, slot| plain.appended(task, slot).start,
    )
}

pub fn mct(problem: &Problem) -> Schedule {
    run_keyed(problem, |task| task, |plain, task, slot| plain.appended(task, slot).finish)
}

pub fn met(problem: &Problem) -> Schedule {
    run_keyed(problem, |task| task, |_, task, slot| problem.execution(task, slot))
}

pub fn olb(problem: &Problem) -> Schedule {
    run_keyed(problem, |task| task, |plain, _, slot| plain.slot_end(slot))
}

pub fn fastest_device(problem: &Problem) -> Schedule {
    let on_slot = |slot: usize| {
        let legal: Vec<u64> = (0..problem.tasks())
            .filter(|task| problem.is_legal(*task, slot))
            .map(|task| problem.execution(task, slot).0)
            .collect();
        (problem.tasks() - legal.len(), legal.iter().sum::<u64>(), problem.device_of(slot))
    };
    let (_, _, device) = (0..problem.slots()).map(on_slot).min().unwrap();
    run_keyed(
        problem,
        |task| task,
        |plain, task, slot| {
            let may_run_there = problem.legal_slots(task).any(|slot| problem.device_of(slot) == device);
            match (problem.device_of(slot) == device, may_run_there) {
                (true, _) => (0, plain.appended(task, slot).start),
                (false, true) => (1, Span::ZERO),
                (false, false) => (0, problem.execution(task, slot)),
            }
        },
    )
}

/// Latest starts that do not lengthen the mean critical path; then those of the successors, the earliest first.
pub fn mcp(problem: &Problem) -> Schedule {
    let length = upward(problem).into_iter().max().unwrap_or(Span::ZERO).0;
    let latest = from_behind(problem, |latest: &[u64], task| {
        let behind = problem.successors(task).iter();
        let end = behind.map(|edge| latest[edge.task] - problem.mean_transfer(edge.size_bytes).0).min();
        end.unwrap_or(length) - problem.mean_execution(task).0
    });
    let key = |task: usize| {
        let mut behind: Vec<u64> = problem.successors(task).iter().map(|edge| latest[edge.task]).collect();
        behind.sort_unstable();
        behind.push(u64::MAX);
        (latest[task], behind, task)
    };
    let mut plain = Plain::new(problem);
    while let Some(task) = plain.ready_tasks().into_iter().min_by_key(|task| key(*task)) {
        let slots = problem.legal_slots(task).map(|slot| plain.inserted(task, slot));
        plain.schedule.assignments[task] = slots.min_by_key(|here| (here.start, here.slot));
    }
    plain.schedule
}

/// The predecessor whose output comes last to another slot, in the mean: its slot, and when that is.
fn enabling(plain: &Plain<'_>, task: usize) -> Option<(usize, Span)> {
    let mut last: Option<(usize, Span)> = None;
    for edge in plain.problem.predecessors(task) {
        let first = plain.schedule.assignments[edge.task].unwrap();
        let arrival = first.finish + plain.problem.mean_transfer(edge.size_bytes);
        if last.is_none_or(|(_, latest)| arrival > latest) {
            last = Some((first.slot, arrival));
        }
    }
    last
}

fn first_free(plain: &Plain<'_>, task: usize) -> usize {
    plain.problem.legal_slots(task).min_by_key(|slot| (plain.slot_end(*slot), *slot)).unwrap()
}

/// The slot that is free first, or the enabling one if the task ends earlier there.
fn free_or_enabling(plain: &Plain<'_>, task: usize) -> usize {
    let free = first_free(plain, task);
    match enabling(plain, task) {
        Some((slot, _))
            if plain.problem.is_legal(task, slot)
                && plain.appended(task, slot).finish < plain.appended(task, free).finish =>
        {
            slot
        }
        _ => free,
    }
}

pub fn fcp(problem: &Problem) -> Schedule {
    let ranks = upward(problem);
    // In order of arrival; only the first ones, as many as slots, are compared.
    let mut sorted: Vec<usize> = Vec::new();
    let mut seen: Vec<usize> = Vec::new();
    Plain::new(problem).run(|plain, ready| {
        seen.extend(ready.iter().copied().filter(|task| !seen.contains(task)).collect::<Vec<_>>());
        sorted.retain(|task| ready.contains(task));
        for task in seen.iter().copied().filter(|task| ready.contains(task)) {
            if sorted.len() < problem.slots() && !sorted.contains(&task) {
                sorted.push(task);
            }
        }
        let task =
            sorted.iter().copied().min_by_key(|task| (std::cmp::Reverse(ranks[*task]), *task)).unwrap();
        (task, free_or_enabling(plain, task))
    })
}

pub fn flb(problem: &Problem) -> Schedule {
    let ranks = upward(problem);
    Plain::new(problem).run(|plain, ready| {
        let tie = |task: usize| (std::cmp::Reverse(ranks[task]), task);
        // By enabling slot the task whose inputs are there first; of all slots that which starts first.
        let mut by_slot: std::collections::BTreeMap<usize, (Span, (std::cmp::Reverse<Span>, usize))> =
            std::collections::BTreeMap::new();
        let mut others = Vec::new();
        for task in ready.iter().copied() {
            match enabling(plain, task) {
                Some((slot, elsewhere))
                    if problem.is_legal(task, slot) && elsewhere >= plain.slot_end(slot) =>
                {
                    let here = (plain.schedule.ready(problem, task, slot).unwrap(), tie(task));
                    let best = by_slot.entry(slot).or_insert(here);
                    *best = (*best).min(here);
                }
                Some((_, elsewhere)) => others.push((elsewhere, tie(task))),
                None => others.push((Span::ZERO, tie(task))),
            }
        }
        let enabled = by_slot.into_iter();
        let enabled = enabled.map(|(slot, (arrival, tie))| (arrival.max(plain.slot_end(slot)), tie)).min();
        let other = others.into_iter().min().map(|(_, (_, task))| task);
        let task = match (enabled, other) {
            (Some((start, (_, task))), Some(other)) => {
                let free = first_free(plain, other);
                if plain.appended(other, free).start <= start { other } else { task }
            }
            (enabled, other) => other.or(enabled.map(|(_, (_, task))| task)).unwrap(),
        };
        (task, free_or_enabling(plain, task))
    })
}

/// HEFT, but each slot is judged by when the last of the successors would end, put behind the task one after another.
pub fn lookahead(problem: &Problem) -> Schedule {
    let ranks = upward(problem);
    Plain::new(problem).run_ranked(&ranks, |plain, task| {
        let mut successors: Vec<usize> = problem.successors(task).iter().map(|edge| edge.task).collect();
        successors.sort_by_key(|next| (std::cmp::Reverse(ranks[*next]), *next));
        if successors.is_empty() {
            return plain.earliest_finish(task);
        }
        let last_end = |here: Assignment| {
            let mut trial = vec![here];
            for next in &successors {
                let best = problem.legal_slots(*next).map(|slot| on_trial(plain, task, &trial, *next, slot));
                trial.push(best.min_by_key(|best| (best.finish, best.slot)).unwrap());
            }
            trial[1..].iter().map(|one| one.finish).max().unwrap()
        };
        let slots = problem.legal_slots(task).map(|slot| plain.inserted(task, slot));
        slots.min_by_key(|here| (last_end(*here), here.slot)).unwrap()
    })
}

/// A successor of `task` on a slot beside what is planned and what is tried, `task` being the first of the latter.
fn on_trial(plain: &Plain<'_>, task: usize, trial: &[Assignment], next: usize, slot: usize) -> Assignment {
    let problem = plain.problem;
    let mut ready = problem.outside_ready(next, slot);
    for edge in problem.predecessors(next) {
        let first = if edge.task == task { Some(trial[0]) } else { plain.schedule.assignments[edge.task] };
        if let Some(first) = first {
            ready = ready.max(first.finish + problem.transfer(edge.size_bytes, first.slot, slot));
        }
    }
    let mut busy = plain.on_slot(slot);
    busy.extend(trial.iter().filter(|other| other.slot == slot).map(|other| (other.start, other.finish)));
    busy.sort_unstable();
    let (mut free, execution) = (problem.slot_free(slot), problem.execution(next, slot));
    for (start, finish) in busy {
        let first = ready.max(free);
        if free < start && first + execution <= start {
            return Assignment { slot, start: first, finish: first + execution };
        }
        free = free.max(finish);
    }
    let start = ready.max(free);
    Assignment { slot, start, finish: start + execution }
}

/// A group on its slots: by place in the group the slot; each slot's tasks in order of arrival.
fn lines(
    plain: &Plain<'_>,
    group: &[usize],
    slot_of: &[usize],
    slot: usize,
) -> Vec<(Span, usize, Assignment)> {
    let here = (0..group.len()).filter(|place| slot_of[*place] == slot);
    let mut here: Vec<(Span, usize)> =
        here.map(|place| (plain.schedule.ready(plain.problem, group[place], slot).unwrap(), place)).collect();
    here.sort_unstable();
    let mut end = plain.slot_end(slot);
    here.into_iter()
        .map(|(ready, place)| {
            let start = ready.max(end);
            end = start + plain.problem.execution(group[place], slot);
            (ready, place, Assignment { slot, start, finish: end })
        })
        .collect()
}

fn balance(plain: &mut Plain<'_>, group: &[usize]) {
    let problem = plain.problem;
    let fastest = |task: &usize| {
        problem.legal_slots(*task).min_by_key(|slot| (problem.execution(*task, *slot), *slot)).unwrap()
    };
    let mut slot_of: Vec<usize> = group.iter().map(fastest).collect();
    for _ in 0..4 * group.len() {
        let end = |slot_of: &[usize], slot: usize| {
            lines(plain, group, slot_of, slot).last().map(|(_, place, here)| (here.finish, *place))
        };
        let used = (0..problem.slots()).rev().filter_map(|slot| Some((end(&slot_of, slot)?, slot)));
        let Some(((latest, last), from)) = used.max_by_key(|((finish, _), _)| *finish) else { break };
        let mut moves = Vec::new();
        for to in (0..problem.slots()).filter(|to| *to != from) {
            let here = (0..group.len()).filter(|place| slot_of[*place] == from);
            let here = here.filter(|place| problem.is_legal(group[*place], to));
            let least = here.min_by_key(|place| (problem.execution(group[*place], to), *place));
            let last = Some(last).filter(|last| problem.is_legal(group[*last], to));
            for place in [least, last].into_iter().flatten() {
                let mut moved = slot_of.clone();
                moved[place] = to;
                moves.push((end(&moved, to).unwrap().0, to, place));
            }
        }
        match moves.into_iter().min() {
            Some((finish, to, place)) if finish < latest => slot_of[place] = to,
            _ => break,
        }
    }
    let all: Vec<(usize, Assignment)> = (0..problem.slots())
        .flat_map(|slot| lines(plain, group, &slot_of, slot))
        .map(|(_, place, here)| (group[place], here))
        .collect();
    for (task, here) in all {
        plain.schedule.assignments[task] = Some(here);
    }
}

pub fn hbmct(problem: &Problem) -> Schedule {
    let ranks = upward(problem);
    let mut order: Vec<usize> = Vec::new();
    while let Some(task) = (0..problem.tasks())
        .filter(|task| !order.contains(task))
        .filter(|task| problem.predecessors(*task).iter().all(|edge| order.contains(&edge.task)))
        .min_by_key(|task| (std::cmp::Reverse(ranks[*task]), *task))
    {
        order.push(task);
    }
    let mut plain = Plain::new(problem);
    let mut group: Vec<usize> = Vec::new();
    for task in order {
        if problem.predecessors(task).iter().any(|edge| group.contains(&edge.task)) {
            balance(&mut plain, &group);
            group.clear();
        }
        group.push(task);
    }
    balance(&mut plain, &group);
    plain.schedule
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
