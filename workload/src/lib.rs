//! Crate `isochrone-workload`: graphs of OpenCL commands as files, and what belongs to them.
//!
//! Holds the graph file format, the data files that graphs read and write, the inputs of the shipped graphs, and the
//! reference computations that verify their outputs. Must never hold: OpenCL calls, networking, scheduling.

pub mod data_files;
pub mod graph_file;
pub mod inputs;
pub mod reference;
