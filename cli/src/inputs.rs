//! `isochrone inputs`: the input files of the shipped graphs.
//!
//! Must never decide what an input holds.

use std::path::Path;

use anyhow::{Context, bail};
use isochrone_workload::inputs::{InputOptions, SHIPPED_INPUTS, write_inputs};

use crate::arguments::{InputArguments, InputSizes};
use crate::output;
use crate::values::ByteSize;

/// Writes the inputs asked for, or all.
pub fn inputs(arguments: &InputArguments) -> anyhow::Result<()> {
    let known: Vec<&str> = SHIPPED_INPUTS.iter().map(|shipped| shipped.graph).collect();
    if let Some(unknown) = arguments.names.iter().find(|name| !known.contains(&name.as_str())) {
        bail!("no graph named `{unknown}` is shipped; there are {}", known.join(", "));
    }
    for shipped in SHIPPED_INPUTS {
        let is_wanted =
            arguments.names.is_empty() || arguments.names.iter().any(|name| name == shipped.graph);
        if is_wanted {
            for line in write(shipped.graph, &arguments.directory, &arguments.sizes)? {
                output::line(line);
            }
        }
    }
    Ok(())
}

/// Writes the inputs of one graph; the answer is a line for each file.
pub fn write(graph: &str, directory: &Path, sizes: &InputSizes) -> anyhow::Result<Vec<String>> {
    let folder = directory.join(graph);
    if !folder.join("graph.toml").is_file() {
        bail!(
            "{} is not there; say with --directory where the folder `graphs` is (now {})",
            folder.join("graph.toml").display(),
            directory.display()
        );
    }
    let mut options = InputOptions::default();
    let wanted = [
        (&mut options.vector_length, sizes.vector_length),
        (&mut options.matrix_order, sizes.matrix_order),
        (&mut options.image_width, sizes.image_width),
        (&mut options.image_height, sizes.image_height),
    ];
    for (option, wanted) in wanted {
        *option = wanted.unwrap_or(*option);
    }
    options.seed = sizes.seed.unwrap_or(options.seed);
    let files = write_inputs(graph, &folder, &options)
        .with_context(|| format!("cannot write the inputs of {graph}"))?;
    let lines = files.iter().map(|file| {
        let bytes = file.metadata().map_or(0, |metadata| metadata.len());
        format!("{} ({})", file.display(), ByteSize(bytes))
    });
    Ok(lines.collect())
}
