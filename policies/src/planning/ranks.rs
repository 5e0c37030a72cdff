//! Ranks that several planners share. All are linear in tasks, edges and slots.

use isochrone_model::Span;

use super::partial::Partial;
use super::problem::Problem;

/// The tasks in an order in which each comes after its predecessors; among those that could come next the
/// smallest index.
#[must_use]
pub fn topological_order(problem: &Problem) -> Vec<usize> {
    let mut waiting: Vec<usize> = (0..problem.tasks()).map(|task| problem.predecessors(task).len()).collect();
    let mut ready: std::collections::BinaryHeap<std::cmp::Reverse<usize>> =
        (0..problem.tasks()).filter(|task| waiting[*task] == 0).map(std::cmp::Reverse).collect();
    let mut order = Vec::with_capacity(problem.tasks());
    while let Some(std::cmp::Reverse(task)) = ready.pop() {
        order.push(task);
        for edge in problem.successors(task) {
            waiting[edge.task] -= 1;
            if waiting[edge.task] == 0 {
                ready.push(std::cmp::Reverse(edge.task));
            }
        }
    }
    order
}

/// Upward rank: mean execution, and the longest way behind with mean communication (Topcuoglu et al. 2002).
#[must_use]
pub fn upward_ranks(problem: &Problem) -> Vec<Span> {
    let mut ranks = vec![Span::ZERO; problem.tasks()];
    for task in topological_order(problem).into_iter().rev() {
        let behind = problem
            .successors(task)
            .iter()
            .map(|edge| ranks[edge.task] + problem.mean_transfer(edge.size_bytes))
            .max()
            .unwrap_or(Span::ZERO);
        ranks[task] = problem.mean_execution(task) + behind;
    }
    ranks
}

/// Downward rank: the longest way before, the predecessors' mean execution and mean communication counted
/// (Topcuoglu et al. 2002).
#[must_use]
pub fn downward_ranks(problem: &Problem) -> Vec<Span> {
    let mut ranks = vec![Span::ZERO; problem.tasks()];
    for task in topological_order(problem) {
        let from = ranks[task] + problem.mean_execution(task);
        for edge in problem.successors(task) {
            ranks[edge.task] = ranks[edge.task].max(from + problem.mean_transfer(edge.size_bytes));
        }
    }
    ranks
}

/// The critical path of mean costs: from the entry task of the largest sum of both ranks, each time to the successor
/// with the same sum. Ties: the smallest index.
#[must_use]
pub fn critical_path(problem: &Problem, upward: &[Span], downward: &[Span]) -> Vec<usize> {
    let sum = |task: usize| upward[task] + downward[task];
    let entries = (0..problem.tasks()).filter(|task| problem.predecessors(*task).is_empty());
    let Some(entry) = entries.max_by_key(|task| (sum(*task), std::cmp::Reverse(*task))) else {
        return Vec::new();
    };
    let mut path = vec![entry];
    let mut task = entry;
    while let Some(edge) = problem.successors(task).iter().find(|edge| sum(edge.task) == sum(entry)) {
        task = edge.task;
        path.push(task);
    }
    path
}

/// The slot on which the tasks of a path together take least, among those that may run the most of them. Ties: the
/// lowest slot.
#[must_use]
pub fn critical_slot(problem: &Problem, path: &[usize]) -> Option<usize> {
    (0..problem.slots()).min_by_key(|slot| {
        let legal = path.iter().filter(|task| problem.is_legal(**task, *slot));
        let (mut count, mut sum) = (0, 0_u128);
        for task in legal {
            count += 1;
            sum += u128::from(problem.execution(*task, *slot).0);
        }
        (path.len() - count, sum)
    })
}

/// By task, its place in the order of rising latest possible start; of equal ones that whose successors' latest starts,
/// from the smallest on, are smaller (none at all being largest), then that with the smallest index.
#[must_use]
pub fn alap_order(problem: &Problem) -> Vec<u32> {
    let upward = upward_ranks(problem);
    let behind: Vec<Vec<Span>> = (0..problem.tasks())
        .map(|task| {
            let mut ranks: Vec<Span> =
                problem.successors(task).iter().map(|edge| upward[edge.task]).collect();
            ranks.sort_unstable_by_key(|rank| std::cmp::Reverse(*rank));
            ranks
        })
        .collect();
    let mut order: Vec<usize> = (0..problem.tasks()).collect();
    order.sort_by(|first, second| {
        upward[*second].cmp(&upward[*first]).then_with(|| behind[*second].cmp(&behind[*first]))
    });
    let mut places = vec![0; problem.tasks()];
    for (place, task) in order.into_iter().enumerate() {
        places[task] = place as u32;
    }
    places
}

/// Static level: the longest way from a task to the end, communication left out. `execution` says what one task
/// counts for.
#[must_use]
pub fn static_levels(problem: &Problem, execution: impl Fn(usize) -> Span) -> Vec<Span> {
    let mut levels = vec![Span::ZERO; problem.tasks()];
    for task in topological_order(problem).into_iter().rev() {
        let behind = problem.successors(task).iter().map(|edge| levels[edge.task]).max();
        levels[task] = execution(task) + behind.unwrap_or(Span::ZERO);
    }
    levels
}

/// The optimistic cost table (Arabnejad and Barbosa 2014), by task and agent: the longest way behind a task that runs
/// there, each successor being on that agent or, mean communication counted, where it and all behind it take least.
/// It is also the best imaginary level (Oh and Ha 1996) less the task's own time.
#[must_use]
pub fn optimistic_costs(problem: &Problem) -> Vec<Span> {
    let agents = problem.agents();
    let partial = Partial::new(problem);
    let mut table = vec![Span::ZERO; problem.tasks() * agents];
    // By agent, the least that a task and all behind it take.
    let mut least = vec![Span::ZERO; agents];
    for task in topological_order(problem).into_iter().rev() {
        if !partial.can_be_placed(task) {
            continue;
        }
        least.fill(Span(u64::MAX));
        for slot in problem.legal_slots(task) {
            let agent = problem.agent_of(slot);
            let here = problem.execution(task, slot) + table[task * agents + agent];
            least[agent] = least[agent].min(here);
        }
        let anywhere = least.iter().copied().min().unwrap_or(Span::ZERO);
        for edge in problem.predecessors(task) {
            let moved = anywhere + problem.mean_transfer(edge.size_bytes);
            let row = &mut table[edge.task * agents..(edge.task + 1) * agents];
            for (entry, stays) in row.iter_mut().zip(&least) {
                *entry = (*entry).max(moved.min(*stays));
            }
        }
    }
    table
}
