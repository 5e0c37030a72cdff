//! `cholesky`: the tiled factorisation of a symmetric positive definite matrix, right-looking.
//!
//! Every task makes a new version of the one tile that it changes; all readers of a version share it. Work is in
//! proportion to the operations of the kernels on tiles of one size: potrf 1/3, trsm 1, syrk 1, gemm 2.

use super::random::Random;
use super::sketch::{BANDWIDTH, BETA, CCR, DEVICES, SEED, SPREAD_OF_KINDS, Sketch, WORK, whole};
use super::{GenerateError, GeneratorInfo, GeneratorSpec};

pub(super) const INFO: GeneratorInfo = GeneratorInfo {
    name: "cholesky",
    summary: "the tiled Cholesky factorisation: potrf, trsm, syrk and gemm on tiles",
    source: "Buttari, Langou, Kurzak and Dongarra (2009), A class of parallel tiled linear algebra algorithms for multicore architectures",
    parameters: &[
        whole("tiles", "8", 1, 10_000, "rows and columns of tiles"),
        CCR,
        BANDWIDTH,
        WORK,
        SPREAD_OF_KINDS,
        DEVICES,
        BETA,
        SEED,
    ],
    size,
    make,
};

fn size(spec: &GeneratorSpec) -> (u128, u128) {
    let tiles = u128::from(spec.whole("tiles"));
    let pairs = |count: u128| count * count.saturating_sub(1) / 2;
    let triples = |count: u128| count * count.saturating_sub(1) * count.saturating_sub(2) / 6;
    // Panels to solves and solves to updates, then every version to the next.
    let edges = 2 * pairs(tiles) + 2 * triples(tiles);
    let versions = (tiles - 1) + 2 * pairs(tiles - 1) + triples(tiles - 1);
    (tiles * (tiles + 1) * (tiles + 2) / 6, edges + versions)
}

fn make(spec: &GeneratorSpec, _: &mut Random) -> Result<Sketch, GenerateError> {
    let mut sketch = Sketch::of_kernels();
    let tiles = spec.count("tiles");
    // The newest version of each tile of the lower half, row by row.
    let mut newest: Vec<Vec<usize>> = (0..tiles)
        .map(|row| (0..=row).map(|column| sketch.input(format!("a_{row}_{column}"), 1.0)).collect())
        .collect();
    let change = |sketch: &mut Sketch, task: usize, tile: &mut usize, name: String| {
        sketch.reads(task, *tile);
        *tile = sketch.output(task, name, 1.0);
    };
    for step in 0..tiles {
        let potrf = sketch.task(format!("potrf_{step}"), "potrf", 1.0);
        change(&mut sketch, potrf, &mut newest[step][step], format!("l_{step}_{step}"));
        for row in step + 1..tiles {
            let trsm = sketch.task(format!("trsm_{row}_{step}"), "trsm", 3.0);
            let panel = newest[step][step];
            sketch.reads(trsm, panel);
            change(&mut sketch, trsm, &mut newest[row][step], format!("l_{row}_{step}"));
        }
        for row in step + 1..tiles {
            for column in step + 1..=row {
                let update = if row == column {
                    sketch.task(format!("syrk_{row}_{step}"), "syrk", 3.0)
                } else {
                    sketch.task(format!("gemm_{row}_{column}_{step}"), "gemm", 6.0)
                };
                let (left, right) = (newest[row][step], newest[column][step]);
                sketch.reads(update, left);
                if right != left {
                    sketch.reads(update, right);
                }
                let name = format!("a_{row}_{column}:{}", step + 1);
                change(&mut sketch, update, &mut newest[row][column], name);
            }
        }
    }
    Ok(sketch)
}
