//! Ranks that several planners share. All are linear in tasks, edges and slots.

use isochrone_model::Span;

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
        ranks[task] = problem
            .predecessors(task)
            .iter()
            .map(|edge| {
                ranks[edge.task] + problem.mean_execution(edge.task) + problem.mean_transfer(edge.size_bytes)
            })
            .max()
            .unwrap_or(Span::ZERO);
    }
    ranks
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
