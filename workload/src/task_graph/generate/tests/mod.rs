mod counts;
mod patterns;
mod specs;

use super::*;
use crate::task_graph::formats::{GraphFormat, format_graph};
use crate::task_graph::{TaskCost, TaskGraph};

fn graph(spec: &str) -> TaskGraph {
    let spec: GeneratorSpec = spec.parse().unwrap();
    let graph = generate(&spec).unwrap();
    graph.validate().unwrap();
    assert_eq!(graph.name, spec.to_string());
    graph
}

fn refusal(spec: &str) -> GenerateError {
    generate(&spec.parse().unwrap()).unwrap_err()
}

/// The start of the SHA-256 of the native text.
fn digest(graph: &TaskGraph) -> String {
    use sha2::Digest;
    let text = format_graph(graph, GraphFormat::Native).unwrap().text;
    sha2::Sha256::digest(text.as_bytes())[..8].iter().map(|byte| format!("{byte:02x}")).collect()
}

/// These change only when a generator changes on purpose: then every study that used it has to say so.
#[test]
fn the_same_spec_gives_the_same_bytes_for_ever() {
    let expected = [
        ("chains(chains=2,length=5,spread=0.5,seed=1)", "921b975d5000c8d4"),
        ("cholesky(tiles=8,ccr=0.5,seed=3)", "d2f58966bc77c226"),
        ("cholesky(tiles=4,devices=3,beta=1,seed=3)", "f00aa7f8fa27cdd5"),
        ("diamond", "c50702783a73f1fe"),
        ("erdos-renyi(tasks=50,devices=2,beta=0.5,seed=7)", "30dacda559593c82"),
        ("fft(spread=1,seed=2)", "93d15ba94b7fe94f"),
        ("fork-join", "89ee5d8c4796196a"),
        ("gaussian-elimination", "ebc292e79c5328b5"),
        ("in-tree", "264f40ecc9d5c821"),
        ("laplace", "e4095769112832b7"),
        ("layered(seed=5)", "6bea27b7a6c4470c"),
        ("layered(alpha=0.5,out_degree=2,devices=4,beta=2,seed=6)", "659ce210196482e3"),
        ("lu", "00fc2de8fbdd0d3a"),
        ("map-reduce", "fb5902dd61fbc1b8"),
        ("out-tree(levels=4,arity=3)", "71c471c388003280"),
        ("stencil(radius=2)", "de96544930a259a5"),
        ("task-bench", "81df60ef53fce7d7"),
        ("task-bench(pattern=random_nearest,radix=5,seed=9)", "1e2100126c261531"),
    ];
    let found: Vec<(&str, String)> = expected.iter().map(|(spec, _)| (*spec, digest(&graph(spec)))).collect();
    let expected: Vec<(&str, String)> =
        expected.iter().map(|(spec, text)| (*spec, (*text).to_owned())).collect();
    assert_eq!(found, expected);
}

#[test]
fn another_seed_gives_another_graph() {
    for name in ["layered", "erdos-renyi", "task-bench(pattern=random_nearest,radix=9,", "chains(spread=1,"] {
        let open = if name.ends_with(',') { "" } else { "(" };
        let [first, second] = [1, 2].map(|seed| {
            let mut graph = graph(&format!("{name}{open}seed={seed})"));
            graph.name.clear();
            graph
        });
        assert_ne!(first, second, "{name}");
    }
}

#[test]
fn the_ratio_of_communication_to_computation_is_reached() {
    for info in GENERATORS.iter().filter(|info| info.parameters.iter().any(|known| known.name == "ccr")) {
        for (ccr, bandwidth) in [(0.1, 1_000_000_000_u64), (1.0, 125_000_000), (10.0, 1_000_000_000)] {
            for rest in ["", ",devices=3,beta=1", ",spread=0.5"] {
                let graph = graph(&format!("{}(ccr={ccr},bandwidth={bandwidth}{rest})", info.name));
                let reached = graph.ccr(bandwidth).unwrap();
                assert!((reached / ccr - 1.0).abs() < 1e-3, "{}: {reached}", graph.name);
            }
        }
        assert_eq!(graph(&format!("{}(ccr=0)", info.name)).communication().1, 0);
    }
}

#[test]
fn the_mean_work_is_that_asked_for() {
    for info in GENERATORS {
        let mut spec = GeneratorSpec::new(info.name).unwrap().with("work", "5000000").unwrap();
        if spec.has("spread") {
            spec = spec.with("spread", "0").unwrap();
        }
        let graph = generate(&spec).unwrap();
        let mean = graph.total_work_ns() as f64 / graph.tasks.len() as f64;
        assert!((mean / 5e6 - 1.0).abs() < 1e-6, "{spec}: {mean}");
    }
    let graph = graph("layered(tasks=20000)");
    let mean = graph.total_work_ns() as f64 / 20_000.0;
    assert!((mean / 1e6 - 1.0).abs() < 0.02, "{mean}");
}

#[test]
fn work_is_in_proportion_to_the_operations_of_kernels() {
    let graph = graph("cholesky(tiles=4,work=3000000)");
    let of = |kind: &str| {
        let task = graph.tasks.iter().find(|task| task.kind == kind).unwrap();
        task.cost.mean_ns() as f64
    };
    for (kind, times) in [("trsm", 3.0), ("syrk", 3.0), ("gemm", 6.0)] {
        assert!((of(kind) / of("potrf") - times).abs() < 1e-5, "{kind}");
    }
}

#[test]
fn heterogeneity_is_between_devices_and_by_kind() {
    let graph = graph("cholesky(tiles=5,devices=8,beta=0.5,work=1000000)");
    assert_eq!(graph.device_columns, ["D1", "D2", "D3", "D4", "D5", "D6", "D7", "D8"]);
    let abstract_graph = self::graph("cholesky(tiles=5,work=1000000)");
    let mut by_kind = std::collections::BTreeMap::new();
    for (task, same) in graph.tasks.iter().zip(&abstract_graph.tasks) {
        let TaskCost::PerDevice(durations_ns) = &task.cost else { panic!("{} has work", task.name) };
        let work_ns = same.cost.mean_ns() as f64;
        for duration_ns in durations_ns {
            let factor = *duration_ns as f64 / work_ns;
            assert!((0.7499..1.2501).contains(&factor), "{factor}");
        }
        assert_eq!(by_kind.entry(&task.kind).or_insert(durations_ns), &durations_ns);
    }
    assert_eq!(by_kind.len(), 4);
    assert_eq!(refusal("lu(beta=0.5)"), GenerateError::BetaWithoutDevices { beta: 0.5 });
}

#[test]
fn spread_makes_every_task_its_own_kind_unless_kinds_are_kernels() {
    let chain = graph("chains(length=50,spread=0.5)");
    assert!(chain.tasks.iter().all(|task| task.kind == task.name));
    assert!(chain.tasks.iter().all(|task| (500_000..=1_500_000).contains(&task.cost.mean_ns())));
    let transform = graph("fft(points=8,spread=0.5)");
    let kinds: std::collections::BTreeMap<&str, u64> =
        transform.tasks.iter().map(|task| (task.kind.as_str(), task.cost.mean_ns())).collect();
    assert_eq!(kinds.len(), 7, "four levels of calls, three of butterflies");
    assert!(transform.tasks.iter().all(|task| kinds[task.kind.as_str()] == task.cost.mean_ns()));
}

#[test]
fn readers_of_one_output_share_one_item() {
    let graph = graph("cholesky(tiles=4)");
    let consumers = graph.consumers();
    let readers_of = |name: &str| {
        let item = graph.items.iter().position(|item| item.name == name).unwrap();
        consumers[item].iter().map(|&task| graph.tasks[task].name.as_str()).collect::<Vec<_>>()
    };
    assert_eq!(readers_of("l_0_0"), ["trsm_1_0", "trsm_2_0", "trsm_3_0"]);
    assert_eq!(readers_of("l_2_0"), ["gemm_2_1_0", "syrk_2_0", "gemm_3_2_0"]);
    assert_eq!(readers_of("a_3_2:1"), ["gemm_3_2_1"]);
    assert_eq!(readers_of("l_3_3"), [""; 0], "a result");
    assert_eq!(graph.items.iter().filter(|item| item.producer.is_none()).count(), 10);
    let shuffle = self::graph("map-reduce(maps=3,reduces=2)");
    assert!(shuffle.consumers().iter().all(|readers| readers.len() <= 1), "parts are each for one reduction");
}

#[test]
fn what_is_too_large_is_refused_before_it_is_made() {
    assert!(matches!(refusal("cholesky(tiles=10000)"), GenerateError::TooLarge { .. }));
    assert!(matches!(refusal("erdos-renyi(tasks=10000000)"), GenerateError::TooLarge { .. }));
    assert!(matches!(refusal("in-tree(levels=64)"), GenerateError::TooLarge { .. }));
    assert!(matches!(refusal("out-tree(levels=64,arity=10000000)"), GenerateError::TooLarge { .. }));
    assert!(matches!(refusal("task-bench(width=10000000,steps=10000000)"), GenerateError::TooLarge { .. }));
    assert_eq!(
        refusal("map-reduce(maps=10000,reduces=20000)").to_string(),
        "the graph would have 30000 tasks and 200000000 edges; at most 10000000 and 100000000 are generated"
    );
    assert_eq!(refusal("fft(points=12)"), GenerateError::NotPowerOfTwo { parameter: "points", value: 12 });
    assert!(matches!(
        refusal("chains(length=3,ccr=1000000,work=1000000000000000,bandwidth=1000000000000000)"),
        GenerateError::Scale { source: ScaleError::TooLarge { .. } }
    ));
}
