//! `layered`: random graphs in layers, after the generator of Topcuoglu et al. (2002, section 5.2).
//!
//! Widths are drawn evenly about a mean of sqrt(tasks) x alpha until all tasks are placed, so that there are sqrt(tasks)
//! / alpha layers on average: alpha above 1 gives wide graphs, below 1 long ones. Each task hands data to `out_degree`
//! tasks drawn from all later layers (fewer where there are not so many); a task that got none from the layer before
//! its own is given one, so that layers are levels, which makes some out-degrees larger. Each edge has data of its own.
//! Work and sizes are drawn from 0 to twice their mean, `beta` is the paper's.

use super::random::Random;
use super::sketch::{BANDWIDTH, BETA, CCR, DEVICES, SEED, SPREAD_OF_ALL, Sketch, WORK, real, whole};
use super::{GenerateError, GeneratorInfo, GeneratorSpec};

pub(super) const INFO: GeneratorInfo = GeneratorInfo {
    name: "layered",
    summary: "random tasks in layers, with the parameters of the study that introduced HEFT",
    source: "Topcuoglu, Hariri and Wu (2002), Performance-effective and low-complexity task scheduling for heterogeneous computing",
    parameters: &[
        whole("tasks", "100", 1, 10_000_000, "the number of tasks"),
        real("alpha", "1", 0.001, 1000.0, "the shape: mean width is sqrt(tasks) x alpha"),
        whole("out_degree", "3", 1, 10_000, "the tasks that each task hands data to"),
        CCR,
        BANDWIDTH,
        WORK,
        SPREAD_OF_ALL,
        DEVICES,
        BETA,
        SEED,
    ],
    size,
    make,
};

/// The edges are an upper bound.
fn size(spec: &GeneratorSpec) -> (u128, u128) {
    let tasks = u128::from(spec.whole("tasks"));
    (tasks, tasks * u128::from(spec.whole("out_degree") + 1))
}

fn make(spec: &GeneratorSpec, random: &mut Random) -> Result<Sketch, GenerateError> {
    let mut sketch = Sketch::default();
    let tasks = spec.count("tasks");
    let mean = ((tasks as f64).sqrt() * spec.real("alpha")).max(1.0);
    // Evenly from 1 to 2 x mean - 1.
    let widths = (2.0 * mean - 1.0).round() as usize;
    let mut starts = vec![0];
    let mut placed = 0;
    while placed < tasks {
        placed = (placed + 1 + random.below(widths)).min(tasks);
        starts.push(placed);
    }
    for (layer, bounds) in starts.windows(2).enumerate() {
        for position in 0..bounds[1] - bounds[0] {
            let name = format!("task_{layer}_{position}");
            sketch.task(name.clone(), &name, 1.0);
        }
    }
    let mut children = Vec::new();
    // Of each task, whether it has data from the layer before its own.
    let mut is_served = vec![false; tasks];
    for bounds in starts.windows(3) {
        for task in bounds[0]..bounds[1] {
            draw_distinct(random, bounds[1]..tasks, spec.count("out_degree"), &mut children);
            for &child in &children {
                is_served[child] |= child < bounds[2];
                sketch.own_edge(task, child, 1.0);
            }
        }
        for (child, is_served) in is_served.iter().enumerate().take(bounds[2]).skip(bounds[1]) {
            if !is_served {
                let parent = bounds[0] + random.below(bounds[1] - bounds[0]);
                sketch.own_edge(parent, child, 1.0);
            }
        }
    }
    Ok(sketch)
}

/// Draws `count` different numbers of the range, or all when there are not so many; sorted upwards.
fn draw_distinct(random: &mut Random, range: std::ops::Range<usize>, count: usize, drawn: &mut Vec<usize>) {
    drawn.clear();
    if range.len() <= count {
        drawn.extend(range);
        return;
    }
    // Floyd's algorithm: `count` draws, whatever the range.
    for top in range.end - count..range.end {
        let number = range.start + random.below(top - range.start + 1);
        let number = if drawn.binary_search(&number).is_ok() { top } else { number };
        let place = drawn.partition_point(|&before| before < number);
        drawn.insert(place, number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draws_are_different_and_reach_everything() {
        let mut random = Random::new(1);
        let (mut drawn, mut seen) = (Vec::new(), [0; 12]);
        for _ in 0..2000 {
            draw_distinct(&mut random, 2..12, 4, &mut drawn);
            assert!(drawn.len() == 4 && drawn.windows(2).all(|pair| pair[0] < pair[1]), "{drawn:?}");
            drawn.iter().for_each(|&number| seen[number] += 1);
        }
        assert_eq!(seen[..2], [0, 0]);
        assert!(seen[2..].iter().all(|&count| (700..900).contains(&count)), "{seen:?}");
        draw_distinct(&mut random, 2..4, 4, &mut drawn);
        assert_eq!(drawn, [2, 3]);
    }
}
