//! Task Bench's patterns against their definitions, point by point.

use std::collections::BTreeSet;

use super::*;

/// What the pattern's definition says, with signed numbers and no clipping but that to live points.
fn defined(pattern: &str, width: i64, steps: i64, radix: i64, period: i64) -> Vec<Vec<(i64, BTreeSet<i64>)>> {
    let live = |t: i64| match pattern {
        "dom" => {
            let first = 0.max(t + width - steps);
            first..first + width.min(t + 1).min(steps - t)
        }
        "tree" => 0..width.min(1 << t),
        _ => 0..width,
    };
    let reads = |t: i64, i: i64| -> Vec<i64> {
        match pattern {
            "trivial" => vec![],
            "no_comm" => vec![i],
            "stencil_1d" => vec![i - 1, i, i + 1],
            "dom" => vec![i - 1, i],
            "tree" => vec![i / 2],
            "fft" => {
                let n = (0..).find(|&n| 1 << n >= width).unwrap().max(1);
                let k = (t + n - 1) % n;
                vec![i - (1 << k), i, i + (1 << k)]
            }
            "all_to_all" => (0..width).collect(),
            "nearest" if radix == 0 => vec![],
            "nearest" => (i - radix / 2..=i + (radix - 1) / 2).collect(),
            "spread" => (0..radix)
                .map(|j| (i + j * width / radix + if j > 0 { t % period } else { 0 }) % width)
                .collect(),
            other => panic!("{other}"),
        }
    };
    (0..steps)
        .map(|t| {
            let before = if t == 0 { 0..0 } else { live(t - 1) };
            live(t)
                .map(|i| (i, reads(t, i).into_iter().filter(|other| before.contains(other)).collect()))
                .collect()
        })
        .collect()
}

/// The same from a graph: its names say step and point.
fn generated(graph: &TaskGraph, steps: i64) -> Vec<Vec<(i64, BTreeSet<i64>)>> {
    let place = |task: usize| {
        let mut parts = graph.tasks[task].name.split('_').skip(1).map(|part| part.parse::<i64>().unwrap());
        (parts.next().unwrap(), parts.next().unwrap())
    };
    let mut rows = vec![Vec::new(); steps as usize];
    for (task, before) in graph.predecessors().iter().enumerate() {
        let (step, point) = place(task);
        let points = before.iter().map(|&other| {
            let (other_step, other_point) = place(other);
            assert_eq!(other_step, step - 1);
            other_point
        });
        rows[step as usize].push((point, points.collect()));
    }
    rows
}

#[test]
fn every_pattern_is_as_defined() {
    let patterns =
        ["trivial", "no_comm", "stencil_1d", "dom", "tree", "fft", "all_to_all", "nearest", "spread"];
    let mut checked = 0;
    for pattern in patterns {
        for (width, steps, radix, period) in [
            (1, 1, 1, 1),
            (1, 4, 1, 1),
            (2, 5, 1, 2),
            (5, 9, 3, 2),
            (8, 8, 4, 2),
            (16, 5, 5, 3),
            (7, 16, 7, 1),
            (9, 3, 2, 4),
        ] {
            let spec = format!(
                "task-bench(pattern={pattern},width={width},steps={steps},radix={radix},period={period})"
            );
            let graph = graph(&spec);
            assert_eq!(generated(&graph, steps), defined(pattern, width, steps, radix, period), "{spec}");
            assert!(graph.items.iter().all(|item| item.size_bytes == 16));
            assert_eq!(graph.items.len(), graph.tasks.len(), "one output each");
            checked += 1;
        }
    }
    assert_eq!(checked, 72);
}

#[test]
fn sweep_is_dom() {
    let [mut sweep, mut dom] =
        ["sweep", "dom"].map(|pattern| graph(&format!("task-bench(pattern={pattern},width=4,steps=9)")));
    sweep.name.clear();
    dom.name.clear();
    assert_eq!(sweep, dom);
    let widths: Vec<usize> = generated(&dom, 9).iter().map(Vec::len).collect();
    assert_eq!(widths, [1, 2, 3, 4, 4, 4, 3, 2, 1]);
}

#[test]
fn random_nearest_keeps_a_fraction_and_itself_and_comes_again() {
    let (width, steps, radix) = (400, 13, 9);
    let graph = graph(&format!(
        "task-bench(pattern=random_nearest,width={width},steps={steps},radix={radix},period=4,fraction=0.25,seed=3)"
    ));
    let rows = generated(&graph, steps);
    let windows = defined("nearest", width, steps, radix, 1);
    let (mut kept, mut of) = (0, 0);
    for (row, window) in rows.iter().zip(&windows).skip(1) {
        for ((point, points), (_, window)) in row.iter().zip(window) {
            assert!(points.contains(point) && points.is_subset(window));
            kept += points.len() - 1;
            of += window.len() - 1;
        }
    }
    let fraction = kept as f64 / of as f64;
    assert!((fraction - 0.25).abs() < 0.02, "{fraction}");
    assert_eq!(rows[1], rows[5]);
    assert_eq!(rows[4], rows[12]);
    assert_ne!(rows[1], rows[2]);
}

#[test]
fn the_ends_of_the_ranges_hold() {
    let edges = |spec: &str| graph(spec).communication().0;
    assert_eq!(edges("task-bench(pattern=nearest,radix=0)"), 0);
    assert_eq!(edges("task-bench(pattern=random_nearest,radix=0)"), 0);
    assert_eq!(edges("task-bench(pattern=random_nearest,radix=3,fraction=1,width=4,steps=2)"), 10);
    assert_eq!(edges("task-bench(pattern=random_nearest,radix=3,fraction=0,width=4,steps=2)"), 4);
    assert_eq!(edges("task-bench(pattern=random_nearest,radix=3,period=1000,width=4,steps=2,fraction=0)"), 4);
    for (radix, period) in [(0, 1), (17, 1), (3, 7)] {
        let spec = format!("task-bench(pattern=spread,radix={radix},period={period})");
        assert_eq!(refusal(&spec), GenerateError::SpreadShape { width: 16, radix, period });
    }
    assert_eq!(edges("task-bench(pattern=spread,radix=3,period=6)"), 15 * 16 * 3);
    assert_eq!(edges("task-bench(output_bytes=0)"), 15 * (16 * 3 - 2));
}
