//! Crate `isochrone-workload`: graphs of OpenCL commands as files, graphs of abstract tasks, and what belongs to them.
//!
//! Holds the graph file format, the data files that graphs read and write, the inputs of the shipped graphs, the
//! reference computations that verify their outputs, and task graphs for studies with their formats and generators. Must never hold: OpenCL calls, networking, scheduling.

pub mod data_files;
pub mod graph_file;
pub mod inputs;
pub mod reference;
pub mod task_graph;
