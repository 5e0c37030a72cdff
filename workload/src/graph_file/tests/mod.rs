mod errors;
mod expansion;
mod limits;
mod schema;

use std::path::{Path, PathBuf};

use super::*;
use crate::data_files::{encode_npy, encode_png, write_atomically};

/// A folder with a program, a matrix `m.npy` (4 x 6 doubles, each its position), an image `p.png` (5 x 3, grey) and
/// `r.raw` (12 bytes).
struct Folder {
    folder: tempfile::TempDir,
}

impl Folder {
    fn new() -> Folder {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, bytes: &[u8]| write_atomically(&folder.path().join(name), bytes).unwrap();
        write("k.cl", b"__kernel void k(__global float *x) {}\n");
        write("latin1.cl", b"// \xe4\n");
        let numbers: Vec<u8> = (0..24).flat_map(|number| f64::from(number).to_le_bytes()).collect();
        write("m.npy", &encode_npy(ElementType::Float64, &[4, 6], &numbers));
        write("p.png", &encode_png(5, 3, 1, 8, &(0..15).collect::<Vec<u8>>()).unwrap());
        write("r.raw", &(1..=12).collect::<Vec<u8>>());
        Folder { folder }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn load(&self, text: &str, settings: &Settings) -> Result<GraphFile, GraphFileErrors> {
        GraphFile::from_text(&self.path("g.toml"), text, settings)
    }

    /// The errors as people see them, without the folder.
    fn errors(&self, text: &str, settings: &Settings) -> String {
        let errors = match self.load(text, settings) {
            Ok(graph_file) => panic!("accepted: {}", graph_file.summary()),
            Err(errors) => errors.to_string(),
        };
        errors.replace(&format!("{}/", self.folder.path().display()), "")
    }
}

/// A small correct graph file, to which tests add.
const HEAD: &str = "\
[graph]
name = \"g\"
[parameters]
n = 4
[programs.k]
file = \"k.cl\"
[buffers.x]
size = 1024
[buffers.y]
size = 1024
";

fn with_head(rest: &str) -> String {
    format!("{HEAD}{rest}")
}
