//! Tasks of a graph as kernels that keep a device busy: OpenCL C for every shape of task, and what they write.
//!
//! A kernel's first work-item counts a number of rounds; all of them together write every byte of every output. What
//! they write depends on the task, on the place and on the first and last byte of each input, so that a lost, stale or
//! misplaced input shows in everything behind it, while the right bytes can be told without running anything.

use std::fmt::Write;

use super::{GraphError, KernelShape, TaskGraph};

/// Work-items of one launch. They share the writing of outputs.
pub const BUSY_ITEMS: u64 = 64;

/// The source of the kernels of these shapes.
///
/// The arguments of a kernel: its inputs, its outputs, its buffer to work in if it has one, the bytes of each input,
/// the bytes of each output (`ulong`), the rounds to count (`ulong`), the task's index (`uint`).
#[must_use]
pub fn busy_source(shapes: &[KernelShape]) -> String {
    let mut source = String::from("// Keeps a device busy for a number of rounds.\n");
    for shape in shapes {
        let _ = write!(source, "kernel void {}(", shape.name());
        for place in 0..shape.inputs {
            let _ = write!(source, "global const uchar *input{place}, ");
        }
        for place in 0..shape.outputs {
            let _ = write!(source, "global uchar *output{place}, ");
        }
        if shape.has_scratch {
            source.push_str("global uchar *scratch, ");
        }
        for place in 0..shape.inputs {
            let _ = write!(source, "ulong input{place}_bytes, ");
        }
        for place in 0..shape.outputs {
            let _ = write!(source, "ulong output{place}_bytes, ");
        }
        source.push_str("ulong rounds, uint task)\n{\n    uint seed = task * 2654435761u + 1u;\n");
        for place in 0..shape.inputs {
            let _ = writeln!(
                source,
                "    seed = seed * 31u + input{place}[0];\n    seed = seed * 31u + input{place}[input{place}_bytes - 1];"
            );
        }
        source.push_str(
            "    if (get_global_id(0) == 0) {\n        uint state = seed;\n        for (ulong round = 0; round < rounds; \
             ++round)\n            state = state * 1664525u + 1013904223u;\n        volatile uint sink = state;\n        \
             (void)sink;\n    }\n    seed ^= seed >> 16;\n",
        );
        for place in 0..shape.outputs {
            let _ = writeln!(
                source,
                "    for (ulong at = get_global_id(0); at < output{place}_bytes; at += get_global_size(0))\n        \
                 output{place}[at] = (uchar)(seed + {place}u * 7u + (uint)at);"
            );
        }
        source.push_str("}\n\n");
    }
    source
}

/// What busy kernels leave in the items of a graph.
#[derive(Clone, Debug)]
pub struct BusyBytes {
    /// By item, its first byte; the others count up from it.
    first: Vec<u8>,
}

impl BusyBytes {
    /// Of a graph. Inputs of the graph count up from their own place.
    ///
    /// # Errors
    /// When the graph's tasks wait for each other in a circle.
    pub fn new(graph: &TaskGraph) -> Result<Self, GraphError> {
        let mut first: Vec<u8> = (0..graph.items.len()).map(|place| place as u8).collect();
        for task in graph.topological_order()? {
            let mut seed = (task as u32).wrapping_mul(2_654_435_761).wrapping_add(1);
            let of = &graph.tasks[task];
            for item in of.inputs.iter().filter(|item| graph.items[**item].size_bytes > 0) {
                let last = first[*item].wrapping_add((graph.items[*item].size_bytes - 1) as u8);
                for byte in [first[*item], last] {
                    seed = seed.wrapping_mul(31).wrapping_add(u32::from(byte));
                }
            }
            seed ^= seed >> 16;
            let outputs = of.outputs.iter().filter(|item| graph.items[**item].size_bytes > 0);
            for (place, item) in outputs.enumerate() {
                first[*item] = seed.wrapping_add(place as u32 * 7) as u8;
            }
        }
        Ok(Self { first })
    }

    /// The byte of an item at a place.
    #[must_use]
    pub fn byte(&self, item: usize, at: u64) -> u8 {
        self.first[item].wrapping_add(at as u8)
    }

    /// All bytes of an item.
    #[must_use]
    pub fn bytes(&self, item: usize, size_bytes: u64) -> Vec<u8> {
        (0..size_bytes).map(|at| self.byte(item, at)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_shape_has_a_kernel_with_its_arguments() {
        let shapes = [
            KernelShape { class: 0, inputs: 0, outputs: 1, has_scratch: false },
            KernelShape { class: 1, inputs: 2, outputs: 0, has_scratch: true },
        ];
        let source = busy_source(&shapes);
        assert!(
            source.contains("kernel void task0_0x1(global uchar *output0, ulong output0_bytes, ulong rounds")
        );
        assert!(source.contains(
            "kernel void task1_2x0s(global const uchar *input0, global const uchar *input1, global uchar *scratch, \
             ulong input0_bytes, ulong input1_bytes, ulong rounds, uint task)"
        ));
        assert_eq!(source.matches("get_global_id(0);").count(), 1, "only what has outputs writes");
    }
}
