//! `lu`: the tiled factorisation of a matrix without pivoting, right-looking.
//!
//! Every task makes a new version of the one tile that it changes; all readers of a version share it. Work is in
//! proportion to the operations of the kernels on tiles of one size: getrf 2/3, trsm 1, gemm 2.

use super::random::Random;
use super::sketch::{BANDWIDTH, BETA, CCR, DEVICES, SEED, SPREAD_OF_KINDS, Sketch, WORK, whole};
use super::{GenerateError, GeneratorInfo, GeneratorSpec};

pub(super) const INFO: GeneratorInfo = GeneratorInfo {
    name: "lu",
    summary: "the tiled LU factorisation without pivoting: getrf, trsm and gemm on tiles",
    source: "Buttari, Langou, Kurzak and Dongarra (2009), A class of parallel tiled linear algebra algorithms for multicore architectures",
    parameters: &[
        whole("tiles", "6", 1, 10_000, "rows and columns of tiles"),
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
    let squares = |count: u128| count * (count + 1) * (2 * count + 1) / 6;
    // Panels to solves, two solves to each update, and every version to the next.
    (squares(tiles), tiles * (tiles - 1) + 3 * squares(tiles - 1))
}

fn make(spec: &GeneratorSpec, _: &mut Random) -> Result<Sketch, GenerateError> {
    let mut sketch = Sketch::of_kernels();
    let tiles = spec.count("tiles");
    // The newest version of each tile, row by row.
    let mut newest: Vec<Vec<usize>> = (0..tiles)
        .map(|row| (0..tiles).map(|column| sketch.input(format!("a_{row}_{column}"), 1.0)).collect())
        .collect();
    let change = |sketch: &mut Sketch, task: usize, tile: &mut usize, name: String| {
        sketch.reads(task, *tile);
        *tile = sketch.output(task, name, 1.0);
    };
    for step in 0..tiles {
        let getrf = sketch.task(format!("getrf_{step}"), "getrf", 2.0);
        change(&mut sketch, getrf, &mut newest[step][step], format!("lu_{step}_{step}"));
        let panel = newest[step][step];
        for (column, tile) in newest[step].iter_mut().enumerate().skip(step + 1) {
            let trsm = sketch.task(format!("trsm_{step}_{column}"), "trsm", 3.0);
            sketch.reads(trsm, panel);
            change(&mut sketch, trsm, tile, format!("u_{step}_{column}"));
        }
        for (row, tiles) in newest.iter_mut().enumerate().skip(step + 1) {
            let trsm = sketch.task(format!("trsm_{row}_{step}"), "trsm", 3.0);
            sketch.reads(trsm, panel);
            change(&mut sketch, trsm, &mut tiles[step], format!("l_{row}_{step}"));
        }
        for row in step + 1..tiles {
            for column in step + 1..tiles {
                let gemm = sketch.task(format!("gemm_{row}_{column}_{step}"), "gemm", 6.0);
                let (left, right) = (newest[row][step], newest[step][column]);
                sketch.reads(gemm, left);
                sketch.reads(gemm, right);
                let name = format!("a_{row}_{column}:{}", step + 1);
                change(&mut sketch, gemm, &mut newest[row][column], name);
            }
        }
    }
    Ok(sketch)
}
