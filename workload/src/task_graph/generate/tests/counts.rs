//! Tasks and edges against formulas that do not come from the generators.

use super::*;

/// The tasks and the pairs of tasks between which data goes.
fn counted(graph: &TaskGraph) -> (u128, u128) {
    assert_eq!(graph.predecessors().edge_count() as u64, graph.communication().0);
    (graph.tasks.len() as u128, u128::from(graph.communication().0))
}

#[test]
fn structured_families_have_the_sizes_of_their_papers() {
    let cases: [(&str, u128, u128); 25] = [
        ("chains(chains=3,length=7)", 21, 18),
        ("chains(length=1)", 1, 0),
        // t (t+1) (t+2) / 6 tasks: 1, 4, 10, 20, 120.
        ("cholesky(tiles=1)", 1, 0),
        ("cholesky(tiles=2)", 4, 3),
        ("cholesky(tiles=3)", 10, 12),
        ("cholesky(tiles=8)", 120, 56 + 112 + 7 + 42 + 35),
        ("diamond(order=1)", 1, 0),
        ("diamond(order=5)", 25, 40),
        ("fft(points=2)", 5, 6),
        // 2 (m-1) + 1 calls and m log m butterflies.
        ("fft(points=32)", 63 + 160, 62 + 320),
        ("fork-join(width=5,stages=3)", 19, 30),
        // (m^2 + m - 2) / 2 tasks.
        ("gaussian-elimination(order=2)", 2, 1),
        ("gaussian-elimination(order=5)", 14, 19),
        ("gaussian-elimination(order=20)", 209, 379),
        ("in-tree(levels=4,arity=3)", 40, 39),
        ("in-tree(levels=1)", 1, 0),
        ("out-tree(levels=5,arity=1)", 5, 4),
        ("out-tree(levels=5,arity=2)", 31, 30),
        ("laplace(order=3,sweeps=1)", 9, 12),
        ("laplace(order=3,sweeps=3)", 27, 3 * 12 + 2 * (9 + 12)),
        // The sum of squares.
        ("lu(tiles=1)", 1, 0),
        ("lu(tiles=4)", 30, 4 * 3 + 3 * 14),
        ("map-reduce(maps=5,reduces=3)", 8, 15),
        ("stencil(width=6,steps=4,radius=1)", 24, 3 * 16),
        ("stencil(width=3,steps=2,radius=9)", 6, 9),
    ];
    for (spec, tasks, edges) in cases {
        assert_eq!(counted(&graph(spec)), (tasks, edges), "{spec}");
    }
}

/// Edges, too, from closed forms of the papers' figures, over many orders; levels where the papers give them.
#[test]
fn structured_families_follow_their_closed_forms() {
    let levels = |graph: &TaskGraph| {
        let predecessors = graph.predecessors();
        let mut levels = vec![1_usize; graph.tasks.len()];
        for task in graph.topological_order().unwrap() {
            levels[task] = predecessors[task].iter().map(|&before| levels[before] + 1).max().unwrap_or(1);
        }
        levels.into_iter().max().unwrap()
    };
    for n in 2..=12_u128 {
        // A step has a pivot and an update for each later column; two levels a step.
        let gaussian = graph(&format!("gaussian-elimination(order={n})"));
        assert_eq!(counted(&gaussian), ((n * n + n - 2) / 2, n * n - n - 1));
        assert_eq!(levels(&gaussian) as u128, 2 * (n - 1));
        let laplace = graph(&format!("laplace(order={n},sweeps=1)"));
        assert_eq!(counted(&laplace), (n * n, 2 * n * (n - 1)));
        assert_eq!(levels(&laplace) as u128, 2 * n - 1);
        let cholesky = graph(&format!("cholesky(tiles={n})"));
        assert_eq!(cholesky.tasks.len() as u128, n * (n + 1) * (n + 2) / 6);
        assert_eq!(levels(&cholesky) as u128, 3 * n - 2);
        let lu = graph(&format!("lu(tiles={n})"));
        assert_eq!(lu.tasks.len() as u128, n * (n + 1) * (2 * n + 1) / 6);
        assert_eq!(levels(&lu) as u128, 3 * n - 2);
    }
    for stages in 1..=6_u128 {
        // Every way from the first call to a last butterfly is as long.
        let points = 1 << stages;
        let fft = graph(&format!("fft(points={points})"));
        let tasks = 2 * points - 1 + points * stages;
        assert_eq!(counted(&fft), (tasks, 2 * (points - 1) + 2 * points * stages));
        assert_eq!(levels(&fft) as u128, 2 * stages + 1);
        let last = fft.predecessors().iter().filter(|before| before.len() == 2).count();
        assert_eq!(last as u128, points * stages);
    }
}

/// Steps through the kernels' definitions without versions: who wrote a tile last is who is waited for.
#[test]
fn factorisations_wait_for_the_last_writer_of_each_tile() {
    for (name, is_symmetric) in [("cholesky", true), ("lu", false)] {
        let tiles = 6_usize;
        let graph = graph(&format!("{name}(tiles={tiles})"));
        let mut writers = vec![vec![None; tiles]; tiles];
        let mut expected: Vec<Vec<usize>> = Vec::new();
        let run = |expected: &mut Vec<Vec<usize>>,
                   writers: &mut Vec<Vec<Option<usize>>>,
                   tiles: &[(usize, usize)]| {
            let mut before: Vec<usize> = tiles.iter().filter_map(|&(i, j)| writers[i][j]).collect();
            before.sort_unstable();
            before.dedup();
            // The last tile is the one that is written.
            let &(row, column) = tiles.last().unwrap();
            writers[row][column] = Some(expected.len());
            expected.push(before);
        };
        for k in 0..tiles {
            run(&mut expected, &mut writers, &[(k, k)]);
            if !is_symmetric {
                (k + 1..tiles).for_each(|j| run(&mut expected, &mut writers, &[(k, k), (k, j)]));
            }
            (k + 1..tiles).for_each(|i| run(&mut expected, &mut writers, &[(k, k), (i, k)]));
            for i in k + 1..tiles {
                for j in k + 1..if is_symmetric { i + 1 } else { tiles } {
                    let other = if is_symmetric { (j, k) } else { (k, j) };
                    run(&mut expected, &mut writers, &[(i, k), other, (i, j)]);
                }
            }
        }
        assert_eq!(
            graph.predecessors().iter().map(<[usize]>::to_vec).collect::<Vec<_>>(),
            expected,
            "{name}"
        );
    }
}

#[test]
fn the_expected_size_is_the_size() {
    for info in GENERATORS {
        let spec = GeneratorSpec::new(info.name).unwrap();
        let (tasks, edges) = counted(&generate(&spec).unwrap());
        let (expected_tasks, expected_edges) = expected_size(&spec);
        assert_eq!(tasks, expected_tasks, "{spec}");
        match info.name {
            "layered" | "task-bench" => assert!(edges <= expected_edges, "{spec}: {edges}"),
            "erdos-renyi" => assert!(edges.abs_diff(expected_edges) < 100, "{spec}: {edges}"),
            _ => assert_eq!(edges, expected_edges, "{spec}"),
        }
    }
}

#[test]
fn erdos_renyi_has_as_many_edges_as_is_likely() {
    assert_eq!(counted(&graph("erdos-renyi(tasks=40,probability=0)")), (40, 0));
    assert_eq!(counted(&graph("erdos-renyi(tasks=40,probability=1)")), (40, 780));
    assert_eq!(counted(&graph("erdos-renyi(tasks=1)")), (1, 0));
    for (tasks, probability) in [(2000, 0.01), (300, 0.5), (100, 0.9)] {
        let graph = graph(&format!("erdos-renyi(tasks={tasks},probability={probability},seed=4)"));
        let pairs = f64::from(tasks * (tasks - 1) / 2);
        let deviation = (pairs * probability * (1.0 - probability)).sqrt();
        let edges = counted(&graph).1 as f64;
        assert!((edges - pairs * probability).abs() < 4.0 * deviation, "{tasks} {probability}: {edges}");
        // The first and the last task have their share too.
        let (first, last) = (graph.successors()[0].len(), graph.predecessors()[tasks as usize - 1].len());
        let share = f64::from(tasks - 1) * probability;
        for found in [first, last] {
            assert!((found as f64 - share).abs() < 5.0 * share.sqrt() + 1.0, "{found} of {share}");
        }
    }
}

#[test]
fn layers_are_levels_and_as_wide_as_asked_for() {
    for (alpha, out_degree) in [(0.5, 1), (1.0, 3), (2.0, 5)] {
        let graph = graph(&format!("layered(tasks=10000,alpha={alpha},out_degree={out_degree},seed=8)"));
        let predecessors = graph.predecessors();
        let mut levels = vec![0_usize; graph.tasks.len()];
        for task in graph.topological_order().unwrap() {
            levels[task] = predecessors[task].iter().map(|&before| levels[before] + 1).max().unwrap_or(0);
        }
        for (task, level) in graph.tasks.iter().zip(&levels) {
            assert!(task.name.starts_with(&format!("task_{level}_")), "{} is at level {level}", task.name);
        }
        let height = levels.iter().max().unwrap() + 1;
        let expected = 100.0 / alpha;
        assert!((height as f64 / expected - 1.0).abs() < 0.25, "alpha {alpha}: {height} levels");
        let successors = graph.successors();
        let last = levels.iter().position(|&level| level + 1 == height).unwrap();
        for (task, list) in successors.iter().enumerate() {
            let available = graph.tasks.len() - 1 - task;
            if task < last {
                assert!(
                    list.len() >= out_degree.min(available.min(graph.tasks.len() - last)),
                    "{task}: {list:?}"
                );
            } else {
                assert!(list.is_empty());
            }
        }
    }
}
