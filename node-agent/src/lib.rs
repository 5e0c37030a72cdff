//! A node agent: the live driver of the `Agent` machine, with an OpenCL backend and a virtual one.
//!
//! Only `opencl/` names opencl3. Decisions are the machine's; this crate moves bytes, calls devices
//! and talks to peers.

pub mod backend;
pub mod opencl;

pub use backend::{Backend, BackendEvent, BackendSink};
